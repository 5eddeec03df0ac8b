/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iteration over a space: first memory, bucket by bucket of the index, then the runs as they are when memory
 * is through.
 *
 * Nothing that stays is overlooked. In memory: entries move only to higher buckets (splits), or within a chain,
 * which shows in the index's view and is looked at again. Between memory and cold: what is demoted
 * meanwhile is in a run by the time the runs are pinned; what is promoted meanwhile lies in a segment that was
 * opened after the iteration began (what was open then was sealed), and is visited once more. What the scan
 * gives may be outdated by what left memory since it began: a key's stripe shows that, and it is read anew.
 */
#include "tiers/reclaim.h"
#include "tiers/request.h"

#include <errno.h>

struct thermo_iter {
	struct thermo *cache;
	struct thermo_space *space;
	uint64_t began;  /* stamp of segments */
	uint64_t bucket; /* next of the index */
	bool memory_done;
	struct cold_scan *scan;
	uint32_t *stripes; /* as they stood before the runs were pinned */
	/* keys of one bucket: u32 length and bytes, one after another */
	char *keys;
	size_t keys_len, keys_cap, keys_at;
	char *item; /* key and value of the item that was given last */
	size_t item_cap;
	int rc; /* of collecting */
	size_t prefix_len;
	char prefix[THERMO_KEY_MAX];
};

static bool reserve(struct thermo_iter *it, char **buffer, size_t *cap, size_t need)
{
	if (need <= *cap)
		return true;
	size_t size = *cap ? *cap : 4096;
	while (size < need)
		size *= 2;
	char *larger = heap_realloc(it->cache->heap, *buffer, size);
	if (!larger)
		return false;
	*buffer = larger;
	*cap = size;
	return true;
}

static void collect(void *context, struct bucket *bucket, unsigned slot, uint64_t place)
{
	struct thermo_iter *it = context;
	struct view v;
	(void)bucket;
	(void)slot;
	record_view(place_record(it->cache, place), &v);
	if (v.space != it->space->id || (v.flags & (RECORD_CHUNK | RECORD_TOMBSTONE)) ||
	    v.key_len < it->prefix_len || memcmp(v.key, it->prefix, it->prefix_len) != 0)
		return;
	if (!reserve(it, &it->keys, &it->keys_cap, it->keys_len + 4 + v.key_len)) {
		it->rc = -ENOMEM;
		return;
	}
	memcpy(it->keys + it->keys_len, &v.key_len, 4);
	memcpy(it->keys + it->keys_len + 4, v.key, v.key_len);
	it->keys_len += 4 + v.key_len;
}

/* The keys of the next bucket that has some; false at the end of the index. */
static bool next_bucket(struct thermo_iter *it)
{
	struct index *ix = it->cache->index;
	while (it->bucket < index_buckets(ix)) {
		uint64_t view;
		epoch_enter();
		do {
			uint64_t cursor = it->bucket;
			view = index_view(ix);
			it->keys_len = it->keys_at = 0;
			index_sweep(ix, &cursor, 1, collect, it);
		} while (index_view(ix) != view && it->rc == 0);
		epoch_exit();
		it->bucket++;
		if (it->keys_len || it->rc)
			return true;
	}
	return false;
}

static int give(struct thermo_iter *it, struct thermo_item *item, const struct view *v,
		enum thermo_tier tier, uint64_t version)
{
	struct large_head head;
	bool large = (v->flags & RECORD_HEAD) && v->value_len == sizeof(head);
	size_t value_len = large ? 0 : v->value_len;
	if (!reserve(it, &it->item, &it->item_cap, v->key_len + value_len + 1))
		return -ENOMEM;
	memcpy(it->item, v->key, v->key_len);
	if (value_len)
		record_copy(it->item + v->key_len, v->value, value_len);
	*item = (struct thermo_item){
		.key = it->item,
		.key_len = v->key_len,
		.value = it->item + v->key_len,
		.value_len = value_len,
		.version = version,
		.expires_ms = v->expires_ms,
		.tier = tier,
	};
	if (large) {
		memcpy(&head, v->value, sizeof(head));
		item->value = NULL;
		item->value_len = head.len;
	}
	return THERMO_OK;
}

/* A record in memory, which may be overwritten meanwhile. */
static int give_whole(struct thermo_iter *it, struct thermo_item *item, const struct found *f,
		      struct view *v)
{
	const struct segment *s = place_segment(it->cache, f->place);
	for (;;) {
		int rc = give(it, item, v, (enum thermo_tier)place_tier(f->place),
			      record_seq_of(s, f->record, v->head));
		if (rc != THERMO_OK || record_is_still(f->record, v->head))
			return rc;
		record_view(f->record, v);
	}
}

/* What memory holds of the key: THERMO_OK (given), THERMO_MISS (nothing), THERMO_CONFLICT (a tombstone, or
 * expired: the key is not there), THERMO_BUSY (unchanged since the iteration began, if `unless_old`). */
static int from_memory(struct thermo_iter *it, const void *bytes, size_t len,
		       struct thermo_item *item, bool unless_old)
{
	struct thermo *c = it->cache;
	struct key key = key_make(it->space, bytes, len, 0);
	struct found f;
	struct view v;
	int rc = THERMO_MISS;
	epoch_enter();
	if (c->lookup->find(c, &key, &f)) {
		struct segment *s = place_segment(c, f.place);
		record_view(f.record, &v);
		if ((v.flags & RECORD_TOMBSTONE) ||
		    (v.expires_ms && v.expires_ms <= cache_now_ms(c)))
			rc = THERMO_CONFLICT;
		else if (unless_old && s->opened <= it->began)
			rc = THERMO_BUSY;
		else
			rc = give_whole(it, item, &f, &v);
	}
	epoch_exit();
	return rc;
}

static int next_in_memory(struct thermo_iter *it, struct thermo_item *item)
{
	for (;;) {
		while (it->keys_at < it->keys_len) {
			uint32_t len;
			memcpy(&len, it->keys + it->keys_at, 4);
			const char *key = it->keys + it->keys_at + 4;
			it->keys_at += 4 + len;
			int rc = from_memory(it, key, len, item, false);
			if (rc == THERMO_OK || rc < 0)
				return rc; /* else it is gone, or in cold by now */
		}
		if (!next_bucket(it))
			return THERMO_MISS;
		if (it->rc)
			return it->rc;
	}
}

static int give_cold(struct thermo_iter *it, struct thermo_item *item, const struct cold_record *r)
{
	struct view v = {
		.key = r->key,
		.key_len = r->key_len,
		.value = r->value,
		.value_len = r->value_len,
		.flags = r->flags & COLD_HEAD ? RECORD_HEAD : 0,
		.expires_ms = r->expires_ms,
	};
	return give(it, item, &v, THERMO_COLD, r->seq);
}

/* The key from the runs of now: THERMO_OK (given), THERMO_MISS, or an error. */
static int from_cold(struct thermo_iter *it, const struct cold_record *record,
		     struct thermo_item *item)
{
	struct runner *runner = runner_take(it->cache, true);
	if (!runner)
		return -ENOMEM;
	struct cold_get get = {
		.key = record->key,
		.key_len = record->key_len,
		.hash = key_make(it->space, record->key, record->key_len, 0).hash,
		.space = it->space->id,
	};
	runner_read(runner, &get);
	int rc = get.status;
	if (rc == THERMO_OK)
		rc = (get.record.flags & COLD_TOMBSTONE) ||
				     (get.record.expires_ms &&
				      get.record.expires_ms <= cache_now_ms(it->cache))
			     ? THERMO_MISS
			     : give_cold(it, item, &get.record);
	cold_get_release(runner->io, &get);
	runner_give(runner);
	return rc;
}

static int scan_begin(struct thermo_iter *it)
{
	if (!it->stripes)
		it->stripes = heap_alloc(it->cache->heap, STRIPES * sizeof(*it->stripes));
	if (!it->stripes)
		return -ENOMEM;
	for (uint64_t i = 0; i < STRIPES; i++)
		it->stripes[i] = stripe_read(it->cache, i);
	return cold_scan_open(it->cache->cold, it->space->id, it->prefix, it->prefix_len,
			      &it->scan);
}

/* The scan's next record; its buffers may have to wait for the pool to give memory. */
static int scan_next(struct thermo_iter *it, struct cold_record *record)
{
	struct thermo *c = it->cache;
	uint64_t deadline = 0;
	for (;;) {
		int rc = it->scan ? THERMO_OK : scan_begin(it);
		if (rc == THERMO_OK)
			rc = cold_scan_next(it->scan, record);
		if (rc != -ENOMEM)
			return rc;
		if (!deadline)
			deadline = cache_deadline(c);
		if (!migrate_make_memory(c, deadline))
			return rc;
	}
}

static int next_in_cold(struct thermo_iter *it, struct thermo_item *item)
{
	struct cold_record record;
	for (;;) {
		int rc = scan_next(it, &record);
		if (rc != THERMO_OK)
			return rc;
		rc = from_memory(it, record.key, record.key_len, item, true);
		if (rc == THERMO_OK || rc < 0)
			return rc;
		if (rc != THERMO_MISS)
			continue;
		/* A newer version may have left memory for a run that the scan does not know. */
		uint64_t hash = key_make(it->space, record.key, record.key_len, 0).hash;
		if (stripe_read(it->cache, hash) == it->stripes[hash & (STRIPES - 1)])
			return give_cold(it, item, &record);
		rc = from_cold(it, &record, item);
		if (rc != THERMO_MISS)
			return rc;
	}
}

int thermo_iter_next(struct thermo_iter *it, struct thermo_item *item)
{
	if (!it || !item)
		return -EINVAL;
	if (cache_forked(it->cache))
		return -ECHILD;
	if (atomic_load(&it->space->state) != SPACE_OPEN)
		return -ENOENT;
	if (!it->memory_done) {
		int rc = next_in_memory(it, item);
		if (rc != THERMO_MISS)
			return rc;
		it->memory_done = true;
	}
	if (!it->cache->cold)
		return THERMO_MISS;
	return next_in_cold(it, item);
}

int thermo_iter_open(struct thermo_space *space, const void *prefix, size_t prefix_len,
		     struct thermo_iter **out)
{
	if (!space || !out || prefix_len > THERMO_KEY_MAX || (prefix_len && !prefix))
		return -EINVAL;
	struct thermo *c = space->cache;
	if (cache_forked(c))
		return -ECHILD;
	if (atomic_load(&space->state) != SPACE_OPEN)
		return -ENOENT;
	struct thermo_iter *it = heap_zalloc(c->heap, 1, sizeof(*it));
	if (!it)
		return -ENOMEM;
	it->cache = c;
	it->space = space;
	it->prefix_len = prefix_len;
	if (prefix_len)
		memcpy(it->prefix, prefix, prefix_len);
	/* What is opened from here on counts as new; what was open is sealed, and its writers are gone. */
	it->began = atomic_load(&c->order);
	pthread_mutex_lock(&c->migrate_lock);
	migrate_seal_space(c, space);
	pthread_mutex_unlock(&c->migrate_lock);
	epoch_wait(epoch_advance());
	atomic_fetch_add(&c->iterators, 1);
	*out = it;
	return 0;
}

int thermo_iter_close(struct thermo_iter **iter)
{
	if (!iter || !*iter)
		return -EINVAL;
	struct thermo_iter *it = *iter;
	struct thermo *c = it->cache;
	if (cache_forked(c))
		return -ECHILD;
	if (it->scan)
		cold_scan_close(&it->scan);
	heap_free(c->heap, it->stripes);
	heap_free(c->heap, it->keys);
	heap_free(c->heap, it->item);
	heap_free(c->heap, it);
	*iter = NULL;
	atomic_fetch_sub(&c->iterators, 1);
	return 0;
}
