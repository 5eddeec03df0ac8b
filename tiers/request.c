/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each operation does with what memory knows (begin) and with what a cold read brought (finish).
 * See request.h for the course of a request; runner.c has many of them under way.
 */
#include "tiers/durable.h"
#include "tiers/request.h"

#include <errno.h>

int request_check(const struct thermo_request *r)
{
	if (!r->space || r->sync > THERMO_SYNCED_WITHIN)
		return -EINVAL;
	if (cache_forked(r->space->cache))
		return -ECHILD;
	if (atomic_load_explicit(&r->space->state, memory_order_relaxed) != SPACE_OPEN)
		return -ENOENT;
	if (!r->key || r->key_len == 0 || r->key_len > THERMO_KEY_MAX)
		return -EINVAL;
	switch (r->op) {
	case THERMO_OP_GET:
		return r->capacity && !r->value ? -EINVAL : 0;
	case THERMO_OP_PUT:
	case THERMO_OP_CAS:
		if (r->value_len > THERMO_VALUE_MAX || (r->value_len && !r->value) ||
		    r->ttl_ms < THERMO_TTL_DEFAULT)
			return -EINVAL;
		return 0;
	case THERMO_OP_TOUCH:
		return r->ttl_ms < THERMO_TTL_DEFAULT ? -EINVAL : 0;
	case THERMO_OP_GET_REF:
		return r->value ? 0 : -EINVAL;
	case THERMO_OP_DELETE:
	case THERMO_OP_REMOVE:
	case THERMO_OP_EXISTS:
	case THERMO_OP_ERASE:
		return 0;
	default:
		return -EINVAL;
	}
}

static struct key request_key(const struct thermo_request *r)
{
	return key_make(r->space, r->key, r->key_len, 0);
}

static bool cold_live(struct thermo *c, const struct cold_get *get)
{
	return get->status == THERMO_OK && !(get->record.flags & COLD_TOMBSTONE) &&
	       (!get->record.expires_ms || get->record.expires_ms > cache_now_ms(c));
}

/* get: NULL, or a read that came back. One that failed tells nothing: a blind write goes on without. */
void request_knows(struct thermo *c, struct write *w, const struct cold_get *get, uint32_t stripe)
{
	if (!get)
		return;
	w->known_cold = get->status >= 0;
	w->forgets &= w->known_cold;
	w->stripe = stripe;
	w->cold_seq = get->status == THERMO_OK ? get->record.seq : 0;
	w->cold_live = cold_live(c, get);
}

/* Brings a cold record up, clean, if nothing has happened to its key since. Waits for room only if it is
 * hinted, and until then. */
static void promote(struct thermo *c, const struct key *key, const struct cold_get *get,
		    uint32_t stripe, uint64_t hinted)
{
	struct write w = {
		.key = *key,
		.value = get->record.value,
		.value_len = get->record.value_len,
		.flags = get->record.flags & COLD_HEAD ? RECORD_HEAD : 0,
		.expires_ms = get->record.expires_ms,
		.promote = true,
		.hinted = hinted,
	};
	request_knows(c, &w, get, stripe);
	if (record_bytes(key->len, w.value_len, true, true) > c->pool[THERMO_HOT].segment_bytes)
		return;
	if (write_record(c, &w) == THERMO_OK)
		atomic_fetch_add_explicit(&c->cold_promoted, 1, memory_order_relaxed);
}

/* ---- get ---- */

static int count_miss(struct thermo *c)
{
	counter_add(&cache_shard(c)->misses, 1);
	return THERMO_MISS;
}

/* The head of a large value, from memory. */
static bool memory_head(struct thermo *c, const struct key *key, struct large_head *head,
			uint64_t *version)
{
	struct found f;
	struct view v;
	bool ok = false;
	epoch_enter();
	if (c->lookup->find(c, key, &f)) {
		record_view(f.record, &v);
		if ((v.flags & RECORD_HEAD) && v.value_len == sizeof(*head)) {
			memcpy(head, v.value, sizeof(*head));
			*version = record_seq(place_segment(c, f.place), f.record);
			ok = true;
		}
	}
	epoch_exit();
	return ok;
}

static bool in_memory(struct thermo *c, const struct key *key)
{
	struct found f;
	epoch_enter();
	bool there = c->lookup->find(c, key, &f);
	epoch_exit();
	return there;
}

/* A chunk of a large value was not to be found: because another value has replaced it meanwhile? With
 * the stripe as it stood before the head was read in cold, or NULL: it was in memory. */
static bool head_replaced(struct thermo *c, const struct key *key, const struct large_head *head,
			  const uint32_t *stripe)
{
	struct large_head now;
	uint64_t version;
	if (memory_head(c, key, &now, &version))
		return memcmp(now.generation, head->generation, sizeof(now.generation)) != 0;
	/* Gone from memory, or another kind of record. */
	return in_memory(c, key) || !stripe || stripe_read(c, key->hash) != *stripe;
}

int request_cold_status(const struct thermo_space *space, int status)
{
	return status == -EIO && !space->durable ? THERMO_LOST : status;
}

/* What a read of cold that failed means to the caller, counted. */
static int cold_error(const struct thermo_space *space, int status)
{
	struct shard *shard = cache_shard(space->cache);
	status = request_cold_status(space, status);
	counter_add(status == THERMO_LOST ? &shard->lost : &shard->errors, 1);
	return status;
}

static int begin_get(struct thermo *c, struct thermo_request *r)
{
	struct key key = request_key(r);
	r->tier = -1;
	int rc = c->lookup->get_request(c, &key, r);
	if (rc == LOOKUP_LARGE) {
		struct large_head head;
		if (!memory_head(c, &key, &head, &r->version))
			return REQUEST_AGAIN;
		rc = large_get(c, r, &head);
		if (rc == THERMO_MISS)
			return head_replaced(c, &key, &head, NULL) ? REQUEST_AGAIN : count_miss(c);
		if (rc < 0)
			return cold_error(r->space, rc);
		counter_add(&cache_shard(c)->hits[r->tier == THERMO_WARM], 1);
		return rc;
	}
	if (rc != LOOKUP_ABSENT)
		return rc;
	return c->cold ? REQUEST_COLD : count_miss(c);
}

static int finish_get(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
		      uint32_t stripe)
{
	struct key key = request_key(r);
	if (get->status == THERMO_MISS || (get->status == THERMO_OK && !cold_live(c, get)))
		return count_miss(c);
	if (get->status != THERMO_OK)
		return cold_error(r->space, get->status);
	r->tier = THERMO_COLD;
	r->version = get->record.seq;
	if (get->record.flags & COLD_HEAD) {
		struct large_head head;
		if (get->record.value_len != sizeof(head))
			return cold_error(r->space, -EILSEQ);
		memcpy(&head, get->record.value, sizeof(head));
		promote(c, &key, get, stripe, 0);
		int rc = large_get(c, r, &head);
		if (rc == THERMO_MISS)
			return head_replaced(c, &key, &head, &stripe) ? REQUEST_AGAIN : count_miss(c);
		if (rc < 0)
			return cold_error(r->space, rc);
		counter_add(&cache_shard(c)->cold_hits, 1);
		return rc;
	}
	size_t len = get->record.value_len;
	size_t left = r->offset < len ? len - r->offset : 0;
	size_t n = left < r->capacity ? left : r->capacity;
	if (n)
		memcpy(r->value, (const char *)get->record.value + r->offset, n);
	r->value_len = len;
	counter_add(&cache_shard(c)->cold_hits, 1);
	promote(c, &key, get, stripe, 0);
	return n == left ? THERMO_OK : THERMO_TRUNCATED;
}

static int finish_hint(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
		       uint32_t stripe)
{
	struct key key = request_key(r);
	if (get->status == THERMO_OK && cold_live(c, get))
		promote(c, &key, get, stripe, r->offset);
	return get->status;
}

/* ---- get_ref ---- */

static int pin(struct thermo *c, const struct key *key, struct thermo_ref *ref)
{
	struct found f;
	struct view v;
	int rc = LOOKUP_ABSENT;
	epoch_enter();
	/* Under the bucket's lock: whoever would overwrite the record in place sees the pin, or is done. */
	struct bucket *home = index_lock(c->index, key->hash);
	if (!c->lookup->find(c, key, &f))
		goto leave;
	record_view(f.record, &v);
	rc = THERMO_MISS;
	if ((v.flags & RECORD_TOMBSTONE) || (v.expires_ms && v.expires_ms <= cache_now_ms(c)))
		goto leave;
	rc = -EFBIG;
	if (v.flags & RECORD_HEAD)
		goto leave;
	/* The entry was there in this epoch, so the segment is freed only after it, and only without pins. */
	struct segment *segment = place_segment(c, f.place);
	struct pool *pool = &c->pool[segment->tier];
	if (atomic_fetch_add(&segment->pins, 1) == 0) {
		uint64_t segments = (uint64_t)pool->extents_target * pool->per_extent;
		uint64_t most = segments * c->options.pin_percent / 100;
		if (atomic_fetch_add(&pool->pinned_segments, 1) >= (most ? most : 1)) {
			/* If others pinned it meanwhile, the count stays for them. */
			if (atomic_fetch_sub(&segment->pins, 1) == 1)
				atomic_fetch_sub(&pool->pinned_segments, 1);
			rc = THERMO_PIN_LIMIT;
			goto leave;
		}
	}
	ref->data = v.value;
	ref->len = v.value_len;
	ref->version = record_seq(segment, f.record);
	ref->_pin[0] = (uintptr_t)segment;
	ref->_pin[1] = (uintptr_t)c;
	atomic_fetch_add(&c->refs, 1);
	counter_add(&cache_shard(c)->hits[segment->tier], 1);
	rc = THERMO_OK;
leave:
	index_unlock(home);
	epoch_exit();
	return rc;
}

void thermo_ref_release(struct thermo_ref *ref)
{
	if (!ref || !ref->_pin[0])
		return;
	struct segment *segment = (struct segment *)ref->_pin[0];
	struct thermo *c = (struct thermo *)ref->_pin[1];
	unsigned tier = segment->tier;
	if (atomic_fetch_sub(&segment->pins, 1) == 1)
		atomic_fetch_sub(&c->pool[tier].pinned_segments, 1);
	memset(ref, 0, sizeof(*ref));
	atomic_fetch_sub(&c->refs, 1);
}

static int begin_ref(struct thermo *c, struct thermo_request *r)
{
	struct key key = request_key(r);
	int rc = pin(c, &key, r->value);
	if (rc == LOOKUP_ABSENT)
		return c->cold ? REQUEST_COLD : count_miss(c);
	return rc == THERMO_MISS ? count_miss(c) : rc;
}

static int finish_ref(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
		      uint32_t stripe)
{
	struct key key = request_key(r);
	if (get->status == THERMO_MISS || (get->status == THERMO_OK && !cold_live(c, get)))
		return count_miss(c);
	if (get->status != THERMO_OK)
		return cold_error(r->space, get->status);
	if (get->record.flags & COLD_HEAD)
		return -EFBIG;
	promote(c, &key, get, stripe, 0);
	int rc = pin(c, &key, r->value);
	if (rc != LOOKUP_ABSENT)
		return rc;
	/* No room in DRAM for it just now, or its key moved on: once more, a few times. */
	if (++r->_state > 64)
		return THERMO_BUSY;
	migrate_make_room(c, false, false, monotonic_ns() + 1000000);
	return REQUEST_AGAIN;
}

/* ---- writes ---- */

/* A blind write need not know what it replaces, unless that may be a large value in cold: better known before
 * than when the write is half done. */
static bool must_look(struct thermo *c, const struct key *key)
{
	return c->cold &&
	       atomic_load_explicit(&c->space[key->space].has_large, memory_order_relaxed) &&
	       !in_memory(c, key) && cold_may_contain(c->cold, key->space, key->hash);
}

bool request_replaced(const struct write *w, const struct cold_get *get, struct large_head *head)
{
	if (w->replaced_large) {
		*head = w->replaced;
		return true;
	}
	if (!get || get->status != THERMO_OK || !(get->record.flags & COLD_HEAD) ||
	    get->record.value_len != sizeof(*head))
		return false;
	memcpy(head, get->record.value, sizeof(*head));
	return true;
}

/* put and compare-and-set. get: what cold held, or NULL. */
static int store(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
		 uint32_t stripe)
{
	struct shard *shard = cache_shard(c);
	if (r->value_len > c->chunk_bytes)
		return large_put(c, r, get, stripe);
	struct write w = {
		.key = request_key(r),
		.value = r->value,
		.value_len = (uint32_t)r->value_len,
		.expires_ms = write_expiry(c, r->space, r->ttl_ms),
		.conditional = r->op == THERMO_OP_CAS,
		.expected = r->version,
		.forgets = true,
	};
	struct large_head old;
	request_knows(c, &w, get, stripe);
	int rc = write_record(c, &w);
	if (rc == WRITE_NEEDS_COLD || rc == WRITE_AGAIN)
		return REQUEST_COLD;
	if (rc == THERMO_OK || rc == THERMO_CONFLICT)
		r->version = w.version;
	if (rc == THERMO_OK) {
		counter_add(&shard->puts, 1);
		durable_logged(r, &w);
		if (request_replaced(&w, get, &old))
			large_forget(c, &w.key, &old);
	} else if (rc == THERMO_CONFLICT) {
		counter_add(&shard->conflicts, 1);
	}
	return rc;
}

static int begin_store(struct thermo *c, struct thermo_request *r)
{
	if (unlikely(atomic_load_explicit(&r->space->has_large, memory_order_relaxed)) &&
	    r->op == THERMO_OP_PUT) {
		struct key key = request_key(r);
		if (must_look(c, &key))
			return REQUEST_COLD;
	}
	return store(c, r, NULL, 0);
}

/* What is left of a call's time. */
static int64_t time_left(uint64_t began, int64_t timeout_ns)
{
	uint64_t spent = monotonic_ns() - began;
	if (timeout_ns < 0)
		return timeout_ns;
	return spent < (uint64_t)timeout_ns ? timeout_ns - (int64_t)spent : 0;
}

/* Removes what is deleted by now from cold, and the chunks of the large value that it was (or NULL). What a run in
 * the making has of it leaves memory with that run, which is therefore published. */
static int erase(struct thermo *c, struct thermo_request *r, const struct write *w,
		 const struct large_head *head)
{
	uint64_t began = monotonic_ns();
	char bytes[LARGE_CHUNK_KEY];
	struct cold_get identity[2] = { {
		.key = r->key,
		.key_len = r->key_len,
		.hash = w->key.hash,
		.space = r->space->id,
	} };
	int rc[2] = {THERMO_OK, THERMO_OK};
	if (head)
		identity[1] = large_chunks(c, r->space->id, head, bytes);
	if (w->version)
		rc[0] = cold_erase_begin(c->cold, &identity[0], w->version + 1);
	if (head) /* nobody writes chunks of that name any more */
		rc[1] = cold_erase_begin(c->cold, &identity[1], UINT64_MAX);
	if (rc[0] == THERMO_PENDING || rc[1] == THERMO_PENDING) {
		int flushed = migrate_flush(c, r->ttl_ms);
		if (flushed != THERMO_OK)
			return flushed;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (rc[i] == THERMO_PENDING)
			rc[i] = cold_erase_wait(c->cold, &identity[i], time_left(began, r->ttl_ms));
	}
	if (rc[0] < 0 || rc[1] < 0)
		return rc[0] < 0 ? rc[0] : rc[1];
	if (rc[0] == THERMO_OK && rc[1] == THERMO_OK && r->space->durable)
		return durable_forget(c, time_left(began, r->ttl_ms));
	return rc[0] == THERMO_OK ? rc[1] : rc[0];
}

/* delete, remove, erase. */
static int discard(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
		   uint32_t stripe)
{
	struct write w = {
		.key = request_key(r),
		.conditional = r->op == THERMO_OP_REMOVE,
		.forgets = true,
	};
	struct large_head old;
	request_knows(c, &w, get, stripe);
	int rc = write_tombstone(c, &w);
	if (rc == WRITE_NEEDS_COLD || rc == WRITE_AGAIN)
		return REQUEST_COLD;
	if (rc != THERMO_OK)
		return rc;
	counter_add(&cache_shard(c)->deletes, 1);
	durable_logged(r, &w);
	bool large = request_replaced(&w, get, &old);
	if (large)
		large_forget(c, &w.key, &old);
	if (r->op == THERMO_OP_ERASE && c->cold)
		return erase(c, r, &w, large ? &old : NULL);
	if (r->op == THERMO_OP_REMOVE)
		return w.existed ? THERMO_OK : THERMO_MISS;
	return THERMO_OK;
}

static int begin_discard(struct thermo *c, struct thermo_request *r)
{
	struct key key = request_key(r);
	if (r->op == THERMO_OP_REMOVE) {
		if (c->cold && !in_memory(c, &key) &&
		    cold_may_contain(c->cold, key.space, key.hash))
			return REQUEST_COLD;
	} else if (must_look(c, &key)) {
		return REQUEST_COLD;
	}
	return discard(c, r, NULL, 0);
}

static int finish_discard(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
			  uint32_t stripe)
{
	if (r->op == THERMO_OP_REMOVE && get->status < 0)
		return cold_error(r->space, get->status);
	if (r->op == THERMO_OP_REMOVE && !cold_live(c, get)) {
		struct key key = request_key(r);
		if (!in_memory(c, &key))
			return THERMO_MISS;
	}
	return discard(c, r, get, stripe);
}

/* touch: the record again, with another expiry, on condition that it is still that version. */
static int retouch(struct thermo *c, struct thermo_request *r, const struct view *v,
		   uint64_t version, const struct cold_get *get, uint32_t stripe)
{
	struct large_head head;
	struct write w = {
		.key = request_key(r),
		.value = v->value,
		.value_len = v->value_len,
		.flags = v->flags & RECORD_HEAD,
		.expires_ms = write_expiry(c, r->space, r->ttl_ms),
		.conditional = true,
		.expected = version,
	};
	request_knows(c, &w, get, stripe);
	int rc = THERMO_OK;
	if (w.flags && v->value_len == sizeof(head)) {
		memcpy(&head, v->value, sizeof(head));
		if (w.expires_ms == 0 || (v->expires_ms && w.expires_ms > v->expires_ms))
			rc = large_touch(c, r, &head, w.expires_ms);
		if (rc == THERMO_MISS && head_replaced(c, &w.key, &head, get ? &stripe : NULL))
			return REQUEST_AGAIN;
		if (rc == -EIO)
			return cold_error(r->space, rc);
		if (rc != THERMO_OK)
			return rc;
	}
	rc = write_record(c, &w);
	if (rc == THERMO_CONFLICT || rc == WRITE_AGAIN || rc == WRITE_NEEDS_COLD) {
		if (w.flags && head_replaced(c, &w.key, &head, get ? &stripe : NULL))
			large_forget(c, &w.key, &head);
		return REQUEST_AGAIN;
	}
	if (rc == THERMO_OK) {
		r->version = w.version;
		durable_logged(r, &w);
	}
	return rc;
}

static int begin_touch(struct thermo *c, struct thermo_request *r)
{
	struct key key = request_key(r);
	struct found f;
	struct view v;
	char *copy = NULL;
	uint64_t version = 0;
	int rc = REQUEST_COLD;
	epoch_enter();
	if (c->lookup->find(c, &key, &f)) {
		record_view(f.record, &v);
		rc = THERMO_MISS;
		if (!(v.flags & RECORD_TOMBSTONE) &&
		    (!v.expires_ms || v.expires_ms > cache_now_ms(c))) {
			rc = -ENOMEM;
			copy = heap_alloc(c->heap, v.value_len + 1);
		}
		if (copy) {
			record_copy(copy, v.value, v.value_len);
			while (!record_is_still(f.record, v.head)) { /* as long as it was */
				record_view(f.record, &v);
				record_copy(copy, v.value, v.value_len);
			}
			v.value = copy;
			version = record_seq_of(place_segment(c, f.place), f.record, v.head);
		}
	} else if (!c->cold) {
		rc = THERMO_MISS;
	}
	epoch_exit();
	if (copy) {
		rc = retouch(c, r, &v, version, NULL, 0);
		heap_free(c->heap, copy);
	}
	return rc;
}

static int finish_touch(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
			uint32_t stripe)
{
	if (get->status == THERMO_MISS || (get->status == THERMO_OK && !cold_live(c, get)))
		return THERMO_MISS;
	if (get->status != THERMO_OK)
		return cold_error(r->space, get->status);
	struct view v = {
		.value = get->record.value,
		.value_len = get->record.value_len,
		.flags = get->record.flags & COLD_HEAD ? RECORD_HEAD : 0,
		.expires_ms = get->record.expires_ms,
	};
	return retouch(c, r, &v, get->record.seq, get, stripe);
}

/* ---- exists ---- */

/* When the clock of sequence numbers stood there. */
static uint64_t age_of(struct thermo *c, uint64_t seq)
{
	uint64_t now = cache_now_ms(c), written = now;
	pthread_mutex_lock(&c->lock);
	for (uint32_t low = 0, high = c->ages; low < high;) {
		uint32_t middle = low + (high - low) / 2;
		if (c->age[middle].clock <= seq) {
			written = c->age[middle].ms;
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (c->ages && seq < c->age[0].clock)
		written = c->age[0].ms;
	pthread_mutex_unlock(&c->lock);
	return now > written ? now - written : 0;
}

static void describe(struct thermo *c, struct thermo_info *info, enum thermo_tier tier,
		     const void *value, uint64_t value_len, bool head, uint64_t version,
		     uint64_t expires_ms)
{
	if (!info)
		return;
	memset(info, 0, sizeof(*info));
	info->tier = tier;
	info->value_len = value_len;
	if (head && value_len == sizeof(struct large_head)) {
		struct large_head large;
		memcpy(&large, value, sizeof(large));
		info->value_len = large.len;
	}
	info->version = version;
	info->expires_ms = expires_ms;
	info->age_ms = age_of(c, version);
}

static int begin_exists(struct thermo *c, struct thermo_request *r)
{
	struct key key = request_key(r);
	struct found f;
	struct view v;
	int rc = c->cold ? REQUEST_COLD : THERMO_MISS;
	epoch_enter();
	if (c->lookup->find(c, &key, &f)) {
		record_view(f.record, &v);
		rc = THERMO_MISS;
		if (!(v.flags & RECORD_TOMBSTONE) &&
		    (!v.expires_ms || v.expires_ms > cache_now_ms(c))) {
			describe(c, r->value, (enum thermo_tier)place_tier(f.place), v.value,
				 v.value_len, v.flags & RECORD_HEAD,
				 record_seq(place_segment(c, f.place), f.record), v.expires_ms);
			rc = THERMO_OK;
		}
	}
	epoch_exit();
	return rc;
}

static int finish_exists(struct thermo *c, struct thermo_request *r, const struct cold_get *get)
{
	if (get->status == THERMO_MISS || (get->status == THERMO_OK && !cold_live(c, get)))
		return THERMO_MISS;
	if (get->status != THERMO_OK)
		return cold_error(r->space, get->status);
	describe(c, r->value, THERMO_COLD, get->record.value, get->record.value_len,
		 get->record.flags & COLD_HEAD, get->record.seq, get->record.expires_ms);
	return THERMO_OK;
}

/* ---- the course ---- */

int request_begin(struct thermo *c, struct thermo_request *r)
{
	switch (r->op) {
	case THERMO_OP_GET:
		return begin_get(c, r);
	case THERMO_OP_PUT:
	case THERMO_OP_CAS:
		return begin_store(c, r);
	case THERMO_OP_DELETE:
	case THERMO_OP_REMOVE:
	case THERMO_OP_ERASE:
		return begin_discard(c, r);
	case THERMO_OP_TOUCH:
		return begin_touch(c, r);
	case THERMO_OP_EXISTS:
		return begin_exists(c, r);
	case THERMO_OP_GET_REF:
		return begin_ref(c, r);
	default:
		return -EINVAL;
	}
}

int request_finish(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
		   uint32_t stripe)
{
	switch (r->op) {
	case THERMO_OP_GET:
		return finish_get(c, r, get, stripe);
	case THERMO_OP_PUT:
	case THERMO_OP_CAS:
		if (r->op == THERMO_OP_CAS && get->status < 0)
			return cold_error(r->space, get->status);
		return store(c, r, get, stripe);
	case THERMO_OP_DELETE:
	case THERMO_OP_REMOVE:
	case THERMO_OP_ERASE:
		return finish_discard(c, r, get, stripe);
	case THERMO_OP_TOUCH:
		return finish_touch(c, r, get, stripe);
	case THERMO_OP_EXISTS:
		return finish_exists(c, r, get);
	case THERMO_OP_GET_REF:
		return finish_ref(c, r, get, stripe);
	case OP_HINT:
		return finish_hint(c, r, get, stripe);
	default:
		return -EINVAL;
	}
}
