/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a segment is emptied: its records are walked once; those that the index still points to are
 * copied on, dropped, or written to cold; then nothing points into it and it is freed when no reader
 * can see it any more. See reclaim.h for the states. Everything here is under migrate_lock.
 */
#include "tiers/reclaim.h"

#include "tiers/durable.h"

#include <errno.h>

#define GROUP 16 /* records whose buckets are prefetched together */
#define SLICE_BYTES (256u << 10)

struct live {
	const char *record;
	struct view view;
	uint64_t place, hash;
	bool in_run; /* it may be: a copy shadows it */
};

/* The clock passes everything in the segment before any of it is unlinked. */
static void clock_pass(struct thermo *c, const struct segment *s)
{
	clock_reach(c, atomic_load(&s->max_seq) + 1);
}

void reclaim_begin(struct thermo *c, struct segment *victim, enum reclaim_mode mode)
{
	struct reclaim *r = c->reclaim;
	check(!r->victim);
	pthread_mutex_lock(&c->lock);
	segment_list_remove(&c->queue[victim->tier][victim->queue], victim);
	atomic_store(&victim->state, SEGMENT_SCANNING);
	pthread_mutex_unlock(&c->lock);
	clock_pass(c, victim);
	r->victim = victim;
	r->offset = 0;
	r->mode = mode;
	r->dirty = false;
	r->freed_bytes = 0;
}

static void retire(struct thermo *c, struct segment *s)
{
	uint64_t epoch = epoch_advance();
	pthread_mutex_lock(&c->lock);
	c->space[s->space].segments[s->tier]--;
	migrate_share(c, &c->space[s->space], s->tier);
	pool_retire(&c->pool[s->tier], s, epoch);
	pthread_mutex_unlock(&c->lock);
}

/* Is this record what its key stands for? */
static bool is_live(struct thermo *c, const struct live *live, struct found *f)
{
	struct key key = {
		.bytes = live->view.key,
		.len = live->view.key_len,
		.space = live->view.space,
		.chunk = (live->view.flags & RECORD_CHUNK) != 0,
		.hash = live->hash,
		.identity = live->view.head & HEAD_IDENTITY,
	};
	return c->lookup->find(c, &key, f) && f->place == live->place;
}

/* ---- Copying ---- */

static char *output_reserve(struct thermo *c, struct thermo_space *space, unsigned tier,
			    enum out out, uint32_t bytes, struct segment **segment)
{
	struct pool *pool = &c->pool[tier];
	struct segment *s = space->out[tier][out];
	uint32_t used = s ? atomic_load_explicit(&s->used, memory_order_relaxed) : 0;
	if (!s || used + bytes > pool->segment_bytes) {
		unsigned queue = out == OUT_SMALL ? POLICY_SMALL : POLICY_MAIN;
		pthread_mutex_lock(&c->lock);
		struct segment *next = segment_begin(c, space, tier, queue, 0, 0);
		if (next && out != OUT_MAIN_KEPT && c->reclaim->victim)
			next->born = c->reclaim->victim->born;
		if (next && s)
			segment_seal(c, s);
		pthread_mutex_unlock(&c->lock);
		if (!next)
			return NULL;
		space->out[tier][out] = s = next;
		used = 0;
	}
	atomic_store_explicit(&s->used, used + bytes, memory_order_relaxed);
	*segment = s;
	return segment_start(pool, s) + used;
}

enum copied { COPIED_NOT, COPIED, COPIED_STALE };

/* COPIED_NOT: no room. COPIED_STALE: it was overwritten meanwhile, the copy is dead. */
static enum copied copy_version(struct thermo *c, const struct live *live, unsigned tier, enum out out,
				uint8_t counter)
{
	const struct view *v = &live->view;
	struct segment *from = place_segment(c, live->place), *to_segment;
	uint64_t seq = record_seq_of(from, live->record, v->head);
	uint32_t plain = v->bytes;
	bool expires = v->flags & RECORD_EXPIRES;
	if (!v->wide)
		plain = record_bytes(v->key_len, v->value_len, true, expires); /* at the most */
	char *to = output_reserve(c, &c->space[v->space], tier, out, plain, &to_segment);
	if (!to)
		return COPIED_NOT;
	bool wide = seq < to_segment->base_seq || seq - to_segment->base_seq >= RECORD_DELTA_MAX;
	uint32_t bytes = record_bytes(v->key_len, v->value_len, wide, expires);
	if (bytes < plain) /* give back what a full sequence number would have taken */
		atomic_fetch_sub_explicit(&to_segment->used, plain - bytes, memory_order_relaxed);
	uint64_t delta = wide ? RECORD_DELTA_MAX : seq - to_segment->base_seq;
	uint64_t head = (v->head & ((UINT64_C(1) << HEAD_DELTA_SHIFT) - 1)) |
			delta << HEAD_DELTA_SHIFT;
	if (c->cold && (live->in_run || atomic_load(&from->shadowing)))
		head |= (uint64_t)RECORD_SHADOWING << HEAD_FLAGS_SHIFT;
	char *at = to;
	memcpy(at, &head, 8);
	at += 8;
	if (wide) {
		memcpy(at, &seq, 8);
		at += 8;
	}
	if (expires) {
		memcpy(at, &v->expires_ms, 8);
		at += 8;
	}
	record_copy(at, v->key, v->key_len + v->value_len);
	segment_note(to_segment, seq, v->expires_ms);
	if (!(v->flags & RECORD_CLEAN))
		segment_pin_log(to_segment, atomic_load(&from->log_file));
	uint64_t place = place_make(tier, (uint64_t)(to - c->base[tier]));

	struct key key = {
		.bytes = v->key,
		.len = v->key_len,
		.space = v->space,
		.chunk = (v->flags & RECORD_CHUNK) != 0,
		.hash = live->hash,
		.identity = v->head & HEAD_IDENTITY,
	};
	struct found f;
	struct bucket *home = index_lock(c->index, live->hash);
	bool moved = c->lookup->find(c, &key, &f) && f.place == live->place;
	bool stale = moved && record_head(live->record) != v->head;
	if (moved && !stale) {
		index_replace(f.at, place);
		atomic_store_explicit(&f.at.bucket->counter[f.at.slot], counter,
				      memory_order_relaxed);
	}
	index_unlock(home);
	if (stale)
		return COPIED_STALE;
	if (!moved)
		return COPIED; /* another record stands for the key by now: the copy is dead */
	if (tier == THERMO_WARM && from->tier == THERMO_HOT) {
		atomic_fetch_add_explicit(&c->demoted, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->demoted_bytes, bytes, memory_order_relaxed);
	} else if (tier == THERMO_HOT && from->tier == THERMO_WARM) {
		atomic_fetch_add_explicit(&c->promoted, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->promoted_bytes, bytes, memory_order_relaxed);
	}
	return COPIED;
}

/* Copies a record and, if the index still points to it, lets it point to the copy. Its segment is
 * SCANNING, or in warm: hardly any writer can still be at it, so this ends. */
static bool copy_record(struct thermo *c, const struct live *from, unsigned tier, enum out out,
			uint8_t counter)
{
	struct live live = *from;
	enum copied copied;
	while ((copied = copy_version(c, &live, tier, out, counter)) == COPIED_STALE)
		record_view(live.record, &live.view);
	return copied == COPIED;
}

/* Copies to the tier that is wanted, else to the other. */
static bool keep_record(struct thermo *c, const struct live *live, unsigned tier, enum out out,
			uint8_t counter)
{
	unsigned other = tier ^ 1u;
	if (c->pool[tier].extents_target && copy_record(c, live, tier, out, counter))
		return true;
	return c->pool[other].segments && c->pool[other].extents_target &&
	       copy_record(c, live, other, out, counter);
}

/* ---- Leaving memory ---- */

static bool unlink_record(struct thermo *c, const struct live *live)
{
	struct key key = {
		.bytes = live->view.key,
		.len = live->view.key_len,
		.space = live->view.space,
		.chunk = (live->view.flags & RECORD_CHUNK) != 0,
		.hash = live->hash,
		.identity = live->view.head & HEAD_IDENTITY,
	};
	struct found f;
	struct bucket *home = index_lock(c->index, live->hash);
	bool mine = c->lookup->find(c, &key, &f) && f.place == live->place;
	if (mine) {
		/* It may have been overwritten after clock_pass. */
		clock_reach(c, record_seq(place_segment(c, live->place), live->record) + 1);
		stripe_bump(c, live->hash); /* first: who misses the entry sees it */
		index_remove(c->index, home, f.at);
	}
	index_unlock(home);
	return mine;
}

static bool expired(struct thermo *c, const struct view *v)
{
	return v->expires_ms && v->expires_ms <= cache_now_ms(c);
}

static void count_left(struct thermo *c, const struct live *live, bool was_expired)
{
	unsigned tier = place_tier(live->place);
	if (was_expired) {
		atomic_fetch_add_explicit(&c->expired[tier], 1, memory_order_relaxed);
		return;
	}
	if (live->view.flags & RECORD_TOMBSTONE)
		return;
	policy_evicted(c->policy, (enum policy_queue)place_segment(c, live->place)->queue,
		       live->hash, live->view.bytes);
	if (!c->cold) {
		atomic_fetch_add_explicit(&c->dropped[tier], 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->dropped_bytes[tier], live->view.bytes,
					  memory_order_relaxed);
	}
}

/* Adds the record to the run in the making. THERMO_OK, or why not. */
static int write_cold(struct thermo *c, const struct live *live, bool was_expired)
{
	struct reclaim *r = c->reclaim;
	const struct view *v = &live->view;
	unsigned flags = (v->flags & RECORD_CHUNK ? COLD_CHUNK : 0) |
			 (v->flags & RECORD_HEAD ? COLD_HEAD : 0);
	bool gone = was_expired || (v->flags & RECORD_TOMBSTONE);
	struct cold_record record = {
		.key = v->key,
		.key_len = v->key_len,
		.value = gone ? NULL : v->value,
		.value_len = gone ? 0 : v->value_len,
		.space = v->space,
		.flags = (uint8_t)(gone ? (flags & COLD_CHUNK) | COLD_TOMBSTONE : flags),
		.hash = live->hash,
		.seq = record_seq(place_segment(c, live->place), live->record),
		.expires_ms = gone ? 0 : v->expires_ms,
	};
	if (atomic_load(&c->cold_failed) && monotonic_ns() < r->cold_retry)
		return -EAGAIN;
	if (!r->writer) {
		int rc = cold_writer_open(c->cold, &r->writer);
		if (rc)
			return rc;
		r->runs_begun++;
	}
	int rc = cold_writer_add(r->writer, &record);
	r->writer_full |= rc != 0;
	if (rc == 0) {
		r->dirty = true;
		atomic_fetch_add_explicit(&c->cold_demoted, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->demoted_cold_bytes[place_tier(live->place)], v->bytes,
					  memory_order_relaxed);
	}
	return rc;
}

/* Under the bucket's lock: a writer that took it before has published by now, and one that takes it after
 * sees that the segment is SCANNING, so that what it writes shadows this record in cold. */
static bool still_live(struct thermo *c, const struct live *live)
{
	struct found f;
	struct bucket *home = index_lock(c->index, live->hash);
	bool is = is_live(c, live, &f);
	index_unlock(home);
	return is;
}

/* THERMO_OK when the record is on its way out; else it must stay. */
static int leave_memory(struct thermo *c, const struct live *live)
{
	bool was_expired = expired(c, &live->view);
	bool below = (live->view.flags & RECORD_SHADOWING) ||
		     atomic_load(&place_segment(c, live->place)->shadowing);
	if (!c->cold || (live->view.flags & RECORD_CLEAN) || (was_expired && !below)) {
		if (!unlink_record(c, live))
			return THERMO_OK;
		if (live->view.flags & RECORD_CLEAN)
			atomic_fetch_add_explicit(&c->cold_clean_dropped, 1, memory_order_relaxed);
		count_left(c, live, was_expired);
		return THERMO_OK;
	}
	/* Before the look: whoever deletes the record after it must know that it may be in a run. */
	atomic_store(&c->demoting, 1);
	if (!still_live(c, live))
		return THERMO_OK;
	return write_cold(c, live, was_expired);
}

/* ---- The walk ---- */

static uint8_t counter_at(struct index_slot at)
{
	return atomic_load_explicit(&at.bucket->counter[at.slot], memory_order_relaxed);
}

/* Deals with one live record. true: its bytes leave the tier. */
static bool keep_or_leave(struct thermo *c, const struct live *live, uint8_t counter)
{
	struct reclaim *r = c->reclaim;
	unsigned tier = r->victim->tier, to = tier;
	enum policy_queue queue = (enum policy_queue)r->victim->queue;
	enum out out = queue == POLICY_SMALL ? OUT_SMALL : OUT_MAIN_MOVED;
	uint8_t next = counter;
	bool keep = !expired(c, &live->view);

	if (r->mode == RECLAIM_DROP) {
		unlink_record(c, live);
		return true;
	}
	if (r->mode == RECLAIM_EVICT) {
		keep = keep && !(live->view.flags & RECORD_TOMBSTONE) &&
		       policy_scan(c->policy, queue, counter, &next) == POLICY_KEEP;
		to = (unsigned)policy_place(c->policy, counter, live->hash,
					      (enum thermo_tier)tier);
		out = OUT_MAIN_KEPT;
	} else if (r->mode == RECLAIM_FLUSH) {
		keep = keep && (live->view.flags & RECORD_CLEAN);
	} else if (r->mode == RECLAIM_DEMOTE) {
		to = THERMO_WARM;
	} else if (r->mode == RECLAIM_PLACE) {
		to = (unsigned)policy_place(c->policy, counter, live->hash, THERMO_HOT);
	}
	if (keep && keep_record(c, live, to, out, next)) {
		atomic_fetch_add_explicit(&c->scan_kept, 1, memory_order_relaxed);
		return to != tier;
	}
	if (leave_memory(c, live) == THERMO_OK) {
		atomic_fetch_add_explicit(&c->scan_evicted, 1, memory_order_relaxed);
		return true;
	}
	/* Cold refuses: stay in memory where there is room, else where it is. */
	if (!keep_record(c, live, tier, out, counter))
		r->victim->stuck = 1;
	return false;
}

/* The next group of records; the index is asked for all of them before any is dealt with. */
static unsigned gather(struct thermo *c, struct live *group, unsigned most)
{
	struct reclaim *r = c->reclaim;
	struct segment *s = r->victim;
	const struct pool *pool = &c->pool[s->tier];
	const char *start = segment_start(pool, s);
	unsigned n = 0;
	uint32_t from = r->offset;
	while (n < most && r->offset < pool->segment_bytes && r->offset - from < SLICE_BYTES) {
		const char *record = start + r->offset;
		if (record_head_now(record) == 0) {
			r->offset = pool->segment_bytes;
			break;
		}
		struct live *live = &group[n];
		record_view(record, &live->view);
		live->record = record;
		live->place = place_make(s->tier, (uint64_t)(record - pool->base));
		live->in_run = false;
		r->offset += live->view.bytes;
		check(r->offset <= pool->segment_bytes);
		if (live->view.space != s->space)
			continue; /* reserved and never used */
		live->hash = key_hash(s->space, live->view.key, live->view.key_len,
				      (live->view.flags & RECORD_CHUNK) != 0);
		index_prefetch(c->index, live->hash);
		n++;
	}
	return n;
}

/* The segment could not be emptied: it takes its turn again, as the youngest. */
static void put_back(struct thermo *c, struct segment *s)
{
	pthread_mutex_lock(&c->lock);
	s->stuck = 0;
	s->born = atomic_fetch_add(&c->order, 1) + 1;
	atomic_store(&s->state, SEGMENT_SEALED);
	segment_list_insert(&c->queue[s->tier][s->queue], s);
	pthread_mutex_unlock(&c->lock);
}

/* No run is in the making, and what the last one holds is found in cold by now. */
static void note_demoting(struct thermo *c)
{
	if (!c->reclaim->writer && !c->reclaim->publishing)
		atomic_store(&c->demoting, 0);
}

static void finish(struct thermo *c)
{
	struct reclaim *r = c->reclaim;
	struct segment *s = r->victim;
	r->victim = NULL;
	if (r->mode == RECLAIM_PLACE)
		r->futile = r->freed_bytes < c->pool[s->tier].segment_bytes / 8
				    ? r->futile + c->pool[s->tier].segment_bytes
				    : 0;
	if (r->dirty) {
		segment_list_append(&r->scanned, s);
		r->coming[s->tier]++;
	} else if (s->stuck) {
		put_back(c, s);
	} else {
		retire(c, s);
	}
	note_demoting(c);
}

bool reclaim_continue(struct thermo *c, unsigned records)
{
	struct reclaim *r = c->reclaim;
	struct live group[GROUP];
	uint32_t from = r->offset;
	while (r->offset < c->pool[r->victim->tier].segment_bytes && records &&
	       r->offset - from < SLICE_BYTES) {
		epoch_enter();
		unsigned n = gather(c, group, GROUP);
		for (unsigned i = 0; i < n; i++) {
			struct found f;
			bool leaves = true;
			if (is_live(c, &group[i], &f))
				leaves = keep_or_leave(c, &group[i], counter_at(f.at));
			else
				atomic_fetch_add_explicit(&c->scan_dead, 1, memory_order_relaxed);
			if (leaves)
				r->freed_bytes += group[i].view.bytes;
		}
		epoch_exit();
		records = records > GROUP ? records - GROUP : 0;
	}
	if (r->offset < c->pool[r->victim->tier].segment_bytes)
		return false;
	finish(c);
	return true;
}

/* ---- Promotion ---- */

void reclaim_promote(struct thermo *c, uint64_t hash, bool hinted)
{
	struct live live;
	uint8_t counter = 0;
	bool is = false;
	epoch_enter();
	struct bucket *b = index_home(c->index, index_view(c->index), hash);
	for (; b && !is; b = index_next(c->index, b)) {
		for (unsigned mask = index_match(b, hash); mask && !is; mask &= mask - 1) {
			unsigned slot = (unsigned)__builtin_ctz(mask);
			live.place = index_place(b, slot);
			if (live.place == INDEX_NOWHERE || place_tier(live.place) != THERMO_WARM)
				continue;
			bool leaving = atomic_load(&place_segment(c, live.place)->state) ==
				       SEGMENT_SCANNING;
			if (leaving && !hinted)
				continue;
			live.record = place_record(c, live.place);
			record_view(live.record, &live.view);
			live.in_run = leaving;
			live.hash = key_hash(live.view.space, live.view.key, live.view.key_len,
					     (live.view.flags & RECORD_CHUNK) != 0);
			counter = atomic_load_explicit(&b->counter[slot], memory_order_relaxed);
			is = live.hash == hash;
		}
	}
	/* What is still on probation stays; what is past it would be copied to main sooner or later. */
	bool small = is && place_segment(c, live.place)->queue == POLICY_SMALL;
	uint8_t next = counter;
	enum out out = OUT_MAIN_KEPT;
	if (small && policy_scan(c->policy, POLICY_SMALL, counter, &next) != POLICY_KEEP) {
		out = OUT_SMALL;
		next = counter;
		is = is && hinted;
	}
	if (hinted)
		next = policy_hinted(c->policy, next);
	if (is && !expired(c, &live.view))
		copy_record(c, &live, THERMO_HOT, out, next);
	epoch_exit();
}

int reclaim_restore(struct thermo *c, const struct restore *from)
{
	bool expires = from->flags & RECORD_EXPIRES;
	uint32_t bytes = record_bytes(from->key_len, from->value_len, true, expires);
	enum out out = from->queue == POLICY_SMALL ? OUT_SMALL : OUT_MAIN_KEPT;
	struct segment *segment;
	char *to = NULL;
	if (bytes > c->pool[THERMO_HOT].segment_bytes)
		return -ENOSPC;
	unsigned tier = from->tier;
	for (unsigned tries = 0; !to && tries < 100000; tries++) {
		if (c->pool[tier].extents_target &&
		    c->pool[tier].free.count > c->reserve[tier])
			to = output_reserve(c, &c->space[from->space], tier, out, bytes, &segment);
		else if (c->pool[tier].extents_target && c->space[from->space].out[tier][out] &&
			 atomic_load(&c->space[from->space].out[tier][out]->used) + bytes <=
				 c->pool[tier].segment_bytes)
			to = output_reserve(c, &c->space[from->space], tier, out, bytes, &segment);
		if (!to && tier == THERMO_WARM)
			tier = THERMO_HOT;
		else if (!to)
			migrate_work(c);
	}
	if (!to)
		return -ENOSPC;
	uint64_t head = head_make(from->space, from->key_len, from->value_len, from->flags) |
			RECORD_DELTA_MAX << HEAD_DELTA_SHIFT;
	uint64_t delta = from->seq - segment->base_seq;
	char *at = to + 8;
	if (from->seq >= segment->base_seq && delta < RECORD_DELTA_MAX) {
		head = (head & ((UINT64_C(1) << HEAD_DELTA_SHIFT) - 1)) | delta << HEAD_DELTA_SHIFT;
		uint32_t less = record_bytes(from->key_len, from->value_len, false, expires);
		atomic_fetch_sub(&segment->used, bytes - less);
	} else {
		memcpy(at, &from->seq, 8);
		at += 8;
	}
	memcpy(to, &head, 8);
	if (expires) {
		memcpy(at, &from->expires_ms, 8);
		at += 8;
	}
	memcpy(at, from->key, from->key_len);
	memcpy(at + from->key_len, from->value, from->value_len);
	segment_note(segment, from->seq, from->expires_ms);
	if (from->logged)
		segment_pin_log(segment, 0); /* the image */
	uint64_t hash = key_hash(from->space, from->key, from->key_len,
				 (from->flags & RECORD_CHUNK) != 0);
	struct index_slot slot;
	epoch_enter();
	struct bucket *home = index_lock(c->index, hash);
	int rc = index_insert(c->index, home, hash,
			      place_make(tier, (uint64_t)(to - c->base[tier])), from->counter,
			      &slot);
	index_unlock(home);
	index_grow(c->index, 8);
	epoch_exit();
	return rc;
}

void reclaim_seal_outputs(struct thermo *c, int tier, int space)
{
	pthread_mutex_lock(&c->lock);
	for (int id = 1; id <= (int)atomic_load(&c->space_high); id++)
		for (int t = 0; t < MEMORY_TIERS; t++)
			for (int o = 0; o < OUTS; o++) {
				struct segment **out = &c->space[id].out[t][o];
				if (!*out || (tier >= 0 && t != tier) || (space >= 0 && id != space))
					continue;
				segment_seal(c, *out);
				*out = NULL;
			}
	pthread_mutex_unlock(&c->lock);
}

/* ---- The run ---- */

/* After its run is published: what still points into the segment lies in cold now. */
static void unlink_segment(struct thermo *c, struct segment *s)
{
	const struct pool *pool = &c->pool[s->tier];
	const char *start = segment_start(pool, s);
	uint32_t offset = 0;
	while (offset < pool->segment_bytes && record_head_now(start + offset)) {
		struct live live = {0};
		record_view(start + offset, &live.view);
		live.record = start + offset;
		live.place = place_make(s->tier, (uint64_t)(live.record - pool->base));
		offset += live.view.bytes;
		if (live.view.space != s->space)
			continue;
		live.hash = key_hash(s->space, live.view.key, live.view.key_len,
				     (live.view.flags & RECORD_CHUNK) != 0);
		epoch_enter();
		if (unlink_record(c, &live))
			count_left(c, &live, expired(c, &live.view));
		epoch_exit();
	}
}

int reclaim_publish(struct thermo *c)
{
	struct reclaim *r = c->reclaim;
	if (!r->writer || r->publishing || (r->victim && r->dirty))
		return THERMO_MISS;
	struct cold_writer *writer = r->writer;
	struct segment_list list = r->scanned;
	r->writer = NULL;
	r->writer_full = false;
	memset(&r->scanned, 0, sizeof(r->scanned));
	r->publishing = true;
	pthread_mutex_unlock(&c->migrate_lock);

	int rc = durable_before_publish(c);
	if (rc == 0)
		rc = cold_writer_publish(&writer);

	pthread_mutex_lock(&c->migrate_lock);
	r->publishing = false;
	r->runs_ended++;
	if (rc) {
		atomic_store(&c->cold_failed, (uint32_t)-rc);
		r->cold_retry = monotonic_ns() + (rc == -ENOMEM ? UINT64_C(20000000)
								: UINT64_C(1000000000));
		/* Nothing is lost: the records stay where they are and are scanned again. */
		cold_writer_abort(&writer);
	} else {
		atomic_store(&c->cold_failed, 0);
	}
	while (list.head) {
		struct segment *s = list.head;
		segment_list_remove(&list, s);
		r->coming[s->tier]--;
		if (rc || s->stuck) {
			if (!rc) /* some of its records are in the run, and stay here as well */
				atomic_store(&s->shadowing, 1);
			put_back(c, s);
		} else {
			unlink_segment(c, s);
			retire(c, s);
		}
	}
	note_demoting(c);
	return rc;
}
