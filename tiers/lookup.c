/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot path: a get that finds its record in DRAM or the warm tier, alone or in a batch; and a
 * put that overwrites one in place.
 *
 * Built once for each instruction set (LOOKUP_ISA names it; the compiler's flags choose how
 * index_match compares tags); lookup_choose() takes the best that the processor has. Nothing here
 * allocates, and no get locks. What a reader relies on: an entry is loaded with acquire, a record's
 * bytes do not change once an entry points to it unless its head does (overwrite.h), and its
 * segment is not reused while the reader's epoch lasts.
 *
 * Single gets are bound by how many of them the processor can overlap, so by their number of
 * instructions as much as by their two cache misses: hence few branches, all of them predictable.
 */
#include "tiers/request.h"

#include <errno.h>

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)
#define INLINE static inline __attribute__((always_inline))

#define HEAD_EXPIRES ((uint64_t)RECORD_EXPIRES << HEAD_FLAGS_SHIFT)
#define HEAD_SPECIAL                                                                               \
	((uint64_t)(RECORD_TOMBSTONE | RECORD_HEAD | RECORD_EXPIRES) << HEAD_FLAGS_SHIFT)

/* Bytes before the key, most often 8. */
INLINE uint32_t before_key(uint64_t head)
{
	if (likely(!(head & HEAD_EXPIRES) && head < HEAD_WIDE))
		return 8;
	return head_bytes(head);
}

INLINE const char *find_record(const struct thermo *c, uint64_t hash, uint64_t identity,
			       const char *key, uint32_t key_len, struct found *found)
{
	const struct index *ix = c->index;
	uint64_t view = index_view(ix), again;
	for (;; view = again) {
		struct bucket *b = index_home(ix, view, hash);
		do {
			for (unsigned mask = index_match(b, hash); mask; mask &= mask - 1) {
				unsigned slot = (unsigned)__builtin_ctz(mask);
				uint64_t place = index_place(b, slot);
				if (unlikely(place == INDEX_NOWHERE))
					continue;
				const char *record = place_record(c, place);
				uint64_t head = record_head_now(record);
				if (likely(((head ^ identity) & HEAD_IDENTITY) == 0 &&
					   key_equal(record + before_key(head), key, key_len))) {
					found->record = record;
					found->place = place;
					found->at.bucket = b;
					found->at.slot = slot;
					return record;
				}
			}
			b = index_next(ix, b);
		} while (unlikely(b != NULL));
		again = index_view(ix);
		if (likely(again == view))
			return NULL;
		/* Entries moved meanwhile: it may have been overlooked. */
	}
}

/* One hit: at most one relaxed store. A store that races with a split or a removal goes to an entry
 * that is another's: a byte of heat too much there, nothing worse. */
INLINE uint8_t touch(const struct thermo *c, struct index_slot at)
{
	_Atomic uint8_t *counter = &at.bucket->counter[at.slot];
	uint8_t old = atomic_load_explicit(counter, memory_order_relaxed);
	uint8_t touched = atomic_load_explicit(&c->touched[old], memory_order_relaxed);
	if (touched != old)
		atomic_store_explicit(counter, touched, memory_order_relaxed);
	return touched;
}

typedef char lump __attribute__((vector_size(32), aligned(1), may_alias));
typedef char half_lump __attribute__((vector_size(16), aligned(1), may_alias));

/* What is copied may be overwritten meanwhile: the caller looks at the head again. */
INLINE void copy_lump(char *to, const char *from)
{
	*(lump *)to = *(const lump *)from;
}

#define COPY_MOST 1024 /* from here on memcpy is better */

/* Values are mostly small: two overlapping vectors, or a few more, and no call up to COPY_MOST
 * bytes. */
INLINE void copy_value(char *to, const char *from, size_t n)
{
	if (EPOCH_TSAN) {
		record_copy(to, from, n);
	} else if (likely(n - 32 <= 32)) {
		lump head = *(const lump *)from, tail = *(const lump *)(from + n - 32);
		*(lump *)to = head;
		*(lump *)(to + n - 32) = tail;
	} else if (n > 64) {
		for (size_t at = 0; at < n - 32; at += 32)
			copy_lump(to + at, from + at);
		copy_lump(to + n - 32, from + n - 32);
	} else if (n >= 16) {
		half_lump head = *(const half_lump *)from;
		half_lump tail = *(const half_lump *)(from + n - 16);
		*(half_lump *)to = head;
		*(half_lump *)(to + n - 16) = tail;
	} else if (n >= 8) {
		uint64_t head = load64(from), tail = load64(from + n - 8);
		memcpy(to, &head, 8);
		memcpy(to + n - 8, &tail, 8);
	} else {
		for (size_t at = 0; at < n; at++)
			to[at] = from[at];
	}
}

/* LOOKUP_LARGE or THERMO_MISS for what is no plain live value, else THERMO_OK. */
static __attribute__((noinline)) int special(struct thermo *c, const char *record)
{
	struct view v;
	record_view(record, &v);
	if ((v.flags & RECORD_TOMBSTONE) || (v.expires_ms && v.expires_ms <= cache_now_ms(c))) {
		counter_add(&cache_shard(c)->misses, 1);
		return THERMO_MISS;
	}
	return v.flags & RECORD_HEAD ? LOOKUP_LARGE : THERMO_OK;
}

static __attribute__((noinline)) void warm_hit(struct thermo *c, uint8_t heat, uint64_t hash)
{
	if (policy_place(c->policy, heat, hash, THERMO_WARM) == THERMO_HOT)
		migrate_candidate(&c->earned, hash);
}

/* What a get does with the record that it found, but for the epoch. version: NULL, or of these
 * bytes. */
INLINE int hit(struct thermo *c, const struct found *f, uint64_t hash, uint32_t key_len,
	       void *value, size_t capacity, uint64_t offset, size_t *value_len, uint64_t *version)
{
	uint64_t head = record_head(f->record);
	unsigned tier = place_tier(f->place);
	if (unlikely(head & HEAD_SPECIAL)) {
		int rc = special(c, f->record);
		if (rc != THERMO_OK)
			return rc;
	}
	uint8_t heat = touch(c, f->at);
	if (unlikely(tier == THERMO_WARM))
		warm_hit(c, heat, hash);
	counter_add(&cache_shard(c)->hits[tier], 1);
	const char *from = f->record + before_key(head) + key_len;
	size_t len = head_value_len(head); /* stays, whatever is overwritten */
	*value_len = len;
	if (unlikely(offset > len))
		offset = len;
	from += offset;
	len -= offset;
	size_t n = likely(len <= capacity) ? len : capacity;
	for (;;) {
		if (likely(n <= COPY_MOST))
			copy_value(value, from, n);
		else
			record_copy(value, from, n);
		if (likely(record_is_still(f->record, head)))
			break;
		head = record_head(f->record);
	}
	if (version)
		*version = record_seq_of(place_segment(c, f->place), f->record, head);
	return likely(n == len) ? THERMO_OK : THERMO_TRUNCATED;
}

/* thermo_get: whatever the fast path does not do. */
static __attribute__((noinline)) int get_slow(struct thermo_space *space, const void *key,
					      size_t key_len, void *value, size_t capacity,
					      size_t *value_len)
{
	struct thermo *c = space->cache;
	size_t unused;
	struct found f;
	int rc = LOOKUP_ABSENT;
	if (key_len - 1 >= THERMO_KEY_MAX || !key || !value || cache_forked(c) ||
	    atomic_load_explicit(&space->state, memory_order_relaxed) != SPACE_OPEN)
		return runner_get(space, key, key_len, value, capacity, value_len);
	uint64_t hash = key_hash(space->id, key, key_len, 0);
	epoch_enter();
	if (find_record(c, hash, head_make(space->id, key_len, 0, 0), key, (uint32_t)key_len, &f)) {
		if (place_tier(f.place) == THERMO_WARM)
			provider_access(c->warm, capacity);
		rc = hit(c, &f, hash, (uint32_t)key_len, value, capacity, 0,
			 value_len ? value_len : &unused, NULL);
	}
	epoch_exit();
	if (rc < LOOKUP_ABSENT)
		return rc;
	return runner_get(space, key, key_len, value, capacity, value_len);
}

INLINE size_t value_len_of(uint64_t head)
{
#if defined(__AVX512F__)
	return _pext_u64(head, UINT64_C(0x7ffff)
				       << HEAD_VALUE_SHIFT); /* one step, where it is fast */
#else
	return head_value_len(head);
#endif
}

/* Two questions with a branch each: a compiler would rather gather the answers and branch once,
 * which costs more instructions. */
#define APART() __asm__ volatile("")

/* thermo_get where nothing is unusual: a thread that has its slot and is outside, a space that is
 * open, the first tag match is the key, its record is plain and in DRAM, the value fits. Calls
 * nothing, so that little is saved; inlined with a key length that is constant. */
INLINE int get_quick(struct thermo_space *space, const void *key, size_t key_len, void *value,
		     size_t capacity, size_t *value_len)
{
	struct epoch_slot *me = epoch_quick;
	if (unlikely(key_len - 1 >= THERMO_KEY_MAX))
		goto slow;
	if (unlikely(!key))
		goto slow;
	APART();
	if (unlikely(!value))
		goto slow;
	APART();
	if (unlikely(!value_len))
		goto slow;
	if (unlikely(!epoch_quick_enter(me)))
		goto slow;
	uint64_t hash = key_hash_seeded(space->hash_seed, key, key_len), place;
	size_t most = capacity < COPY_MOST ? capacity : COPY_MOST, slot;
	const struct index *ix = space->index;
	struct bucket *b = index_home(ix, index_view(ix), hash);
	while (unlikely(!index_first(b, hash, &slot, &place))) {
		b = index_next(ix, b);
		if (!b)
			goto leave;
	}
	const char *record = space->base + (place << 3);
	/* The value's end is known from the record's head only; do not wait for it. */
	__builtin_prefetch(record + 64);
	uint64_t head = record_head_now(record);
	uint64_t identity =
		key_len - 1 + atomic_load_explicit(&space->open_identity, memory_order_relaxed);
	if (unlikely((head ^ identity) & (HEAD_IDENTITY | HEAD_SPECIAL | HEAD_WIDE)))
		goto leave;
	APART();
	if (key_len == 16) {
		if (unlikely(load64(record + 8) != load64(key)))
			goto leave;
		APART();
		if (unlikely(load64(record + 16) != load64((const char *)key + 8)))
			goto leave;
	} else if (unlikely(!key_equal(record + 8, key, (uint32_t)key_len))) {
		goto leave;
	}
	size_t len = value_len_of(head);
	if (unlikely(len > most))
		goto leave;
	*value_len = len;
	copy_value(value, record + 8 + key_len, len);
	if (unlikely(!record_is_still(record, head)))
		goto leave;
	struct thermo *c = space->cache;
	_Atomic uint8_t *counter = &b->counter[slot];
	uint8_t old = atomic_load_explicit(counter, memory_order_relaxed);
	uint8_t touched = atomic_load_explicit(&c->touched[old], memory_order_relaxed);
	counter = touched != old ? counter : &me->nowhere;
	atomic_store_explicit(counter, touched, memory_order_relaxed);
	_Atomic uint64_t *hits = &c->shard[me->number].hits[THERMO_HOT];
	atomic_store_explicit(hits, atomic_load_explicit(hits, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	epoch_quick_exit(me);
	return THERMO_OK;
leave:
	epoch_quick_exit(me);
slow:
	return get_slow(space, key, key_len, value, capacity, value_len);
}

static __attribute__((noinline)) int get_any(struct thermo_space *space, const void *key,
					     size_t key_len, void *value, size_t capacity,
					     size_t *value_len)
{
	return get_quick(space, key, key_len, value, capacity, value_len);
}

static int get(struct thermo_space *space, const void *key, size_t key_len, void *value,
	       size_t capacity, size_t *value_len)
{
	if (unlikely(key_len != 16))
		return get_any(space, key, key_len, value, capacity, value_len);
	return get_quick(space, key, 16, value, capacity, value_len);
}

static int get_request(struct thermo *c, const struct key *key, struct thermo_request *r)
{
	struct found f;
	int rc = LOOKUP_ABSENT;
	epoch_enter();
	if (find_record(c, key->hash, key->identity, key->bytes, key->len, &f)) {
		if (unlikely(place_tier(f.place) == THERMO_WARM))
			provider_access(c->warm, r->capacity);
		r->tier = (int16_t)place_tier(f.place);
		rc = hit(c, &f, key->hash, key->len, r->value, r->capacity, r->offset,
			 &r->value_len, &r->version);
		if (rc == LOOKUP_LARGE)
			r->version = record_seq(place_segment(c, f.place), f.record);
	}
	epoch_exit();
	return rc;
}

static bool find(const struct thermo *c, const struct key *key, struct found *found)
{
	return find_record(c, key->hash, key->identity, key->bytes, key->len, found) != NULL;
}

/* From the head to the end of what is wanted; the number of lines depends on sizes only, so that
 * the loop's end is guessed right. */
INLINE void prefetch_record(const char *record, size_t wanted)
{
	__builtin_prefetch(record);
	__builtin_prefetch(record + 64);
	__builtin_prefetch(record + wanted - 1);
	for (size_t at = 128; unlikely(at < wanted); at += 64)
		__builtin_prefetch(record + at);
}

/* Takes the bucket's first match, if it has one, and brings its record near. */
INLINE bool take_match(struct thermo *c, const struct thermo_request *r, struct probe *p)
{
	unsigned mask = index_match(p->at.bucket, p->hash);
	if (unlikely(!mask))
		return false;
	p->at.slot = (unsigned)__builtin_ctz(mask);
	p->place = index_place(p->at.bucket, p->at.slot);
	size_t wanted = r->op == THERMO_OP_GET ? r->capacity : r->value_len;
	if (likely(p->place != INDEX_NOWHERE))
		prefetch_record(place_record(c, p->place),
				8 + r->key_len + (wanted < 256 ? wanted : 256));
	return true;
}

static unsigned probe(struct thermo *c, struct thermo_request *const *requests, unsigned n,
		      struct probe *probes)
{
	const struct index *ix = c->index;
	uint64_t view = index_view(ix);
	unsigned absent = 0, chained = 0;
	uint8_t chain[PROBES];
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(requests[i]->key);
	for (unsigned i = 0; i < n; i++) {
		const struct thermo_request *r = requests[i];
		uint64_t seed = r->space->hash_seed, hash;
		hash = likely(r->key_len == 16) ? key_hash_seeded(seed, r->key, 16)
						: key_hash_seeded(seed, r->key, r->key_len);
		struct bucket *home = index_home(ix, view, hash);
		__builtin_prefetch(home);
		probes[i].hash = hash;
		probes[i].view = view;
		probes[i].place = INDEX_NOWHERE;
		probes[i].at.bucket = home;
	}
	for (unsigned i = 0; i < n; i++) {
		struct probe *p = &probes[i];
		requests[i]->status = THERMO_PENDING;
		if (likely(take_match(c, requests[i], p)))
			continue;
		/* One in ten lies in an overflow bucket; these wait for it together. */
		struct bucket *next = index_next(ix, p->at.bucket);
		if (next) {
			__builtin_prefetch(next);
			p->at.bucket = next;
			chain[chained++] = (uint8_t)i;
		} else {
			requests[i]->status = LOOKUP_ABSENT;
			absent++;
		}
	}
	for (unsigned k = 0; k < chained; k++) {
		struct probe *p = &probes[chain[k]];
		struct thermo_request *r = requests[chain[k]];
		while (!take_match(c, r, p)) {
			p->at.bucket = index_next(ix, p->at.bucket);
			if (!p->at.bucket) {
				r->status = LOOKUP_ABSENT;
				absent++;
				break;
			}
		}
	}
	return absent;
}

/* One get of a batch whose record is elsewhere than the probe said, or is not plain, or not in
 * DRAM, or does not fit. Adds to *warm_bytes what it reads there. */
static __attribute__((noinline)) int fetch_slow(struct thermo *c, struct thermo_request *r,
						const struct probe *p, size_t *warm_bytes)
{
	struct found f;
	if (r->status == LOOKUP_ABSENT && index_view(c->index) == p->view)
		return LOOKUP_ABSENT;
	if (!find_record(c, p->hash, r->space->identity + (r->key_len - 1), r->key, r->key_len, &f))
		return LOOKUP_ABSENT;
	r->tier = (int16_t)place_tier(f.place);
	if (r->tier == THERMO_WARM)
		*warm_bytes += r->capacity + 64;
	return hit(c, &f, p->hash, r->key_len, r->value, r->capacity, r->offset, &r->value_len,
		   &r->version);
}

/* The same where the probe's first match is the key, its record plain and in DRAM, and the value
 * fits; else false, and nothing is done. */
INLINE bool fetch_quick(struct thermo *c, struct thermo_request *r, const struct probe *p)
{
	uint64_t place = p->place, identity = r->space->identity + (r->key_len - 1);
	if (unlikely(place >> PLACE_TIER_SHIFT)) /* warm, or nowhere */
		return false;
	const char *record = c->base[THERMO_HOT] + (place << 3);
	uint64_t head = record_head_now(record);
	size_t len = head_value_len(head);
	if (unlikely(((head ^ identity) & (HEAD_IDENTITY | HEAD_SPECIAL)) || head >= HEAD_WIDE ||
		     !key_equal(record + 8, r->key, r->key_len) || len > r->capacity ||
		     len > COPY_MOST || r->offset))
		return false;
	copy_value(r->value, record + 8 + r->key_len, len);
	if (unlikely(!record_is_still(record, head)))
		return false;
	r->value_len = len;
	r->version = place_segment(c, place)->base_seq + (head >> HEAD_DELTA_SHIFT);
	r->tier = THERMO_HOT;
	r->status = THERMO_OK;
	touch(c, p->at);
	return true;
}

static unsigned fetch(struct thermo *c, struct thermo_request *const *requests, unsigned n,
		      struct probe *probes, bool same)
{
	size_t warm_bytes = 0;
	unsigned open = 0, hits = 0;
	for (unsigned i = 0; i < n; i++) {
		struct thermo_request *r = requests[i];
		if (likely(same && fetch_quick(c, r, &probes[i]))) {
			hits++;
			continue;
		}
		r->status = fetch_slow(c, r, &probes[i], &warm_bytes);
		open += r->status >= LOOKUP_ABSENT;
	}
	if (likely(hits))
		counter_add(&cache_shard(c)->hits[THERMO_HOT], hits);
	if (unlikely(warm_bytes))
		provider_access(c->warm, warm_bytes); /* the misses of a batch overlap */
	return open;
}

/* ---- Overwriting in place ---- */

#define HEAD_VALUE (UINT64_C(0x7ffff) << HEAD_VALUE_SHIFT)
/* What must be equal, value length included, or zero. */
#define HEAD_PLAIN                                                                                 \
	(HEAD_IDENTITY | HEAD_VALUE | HEAD_SPECIAL | HEAD_WIDE |                                   \
	 (uint64_t)RECORD_CLEAN << HEAD_FLAGS_SHIFT)

INLINE void store_head(char *record, uint64_t head, int order)
{
	__atomic_store_n((uint64_t *)(void *)record, head, order);
}

/* The other side of overwrite.h; the bucket is locked. */
INLINE void overwrite_value(char *record, uint64_t busy, uint64_t next, char *to, const char *value,
			    size_t len)
{
	store_head(record, busy, __ATOMIC_RELAXED);
#if EPOCH_TSAN
	for (size_t i = 0; i < len; i++)
		__atomic_store_n(to + i, value[i], __ATOMIC_RELAXED);
#else
	atomic_thread_fence(memory_order_release);
	copy_value(to, value, len);
#endif
	store_head(record, next, __ATOMIC_RELEASE);
}

/* What is wanted, and where it may stand. */
struct overwrite {
	uint64_t hash, head; /* head: of a record that may be overwritten, in HEAD_PLAIN */
	uint64_t place;
	struct index_slot at;
	const void *key, *value;
	uint32_t key_len, value_len;
};

/* The record at o->place was the key's in this epoch, so it is as long as its entry points there.
 */
INLINE bool overwrite_locked(struct thermo *c, const struct overwrite *o, uint64_t *version)
{
	char *record = c->base[THERMO_HOT] + (o->place << 3);
	const struct segment *s = place_segment(c, o->place);
	if (unlikely(index_place(o->at.bucket, o->at.slot) != o->place))
		return false;
	uint64_t head = record_head_now(record);
	uint8_t state = atomic_load_explicit(&s->state, memory_order_acquire);
	if (unlikely(((head ^ o->head) & HEAD_PLAIN) ||
		     (state != SEGMENT_SEALED && state != SEGMENT_OPEN) ||
		     atomic_load_explicit(&s->pins, memory_order_acquire)))
		return false;
	/* The clock tells ages; the order along the key is kept without it, where it has run too far ahead. */
	uint64_t delta = (head >> HEAD_DELTA_SHIFT) + 1;
	uint64_t clock = atomic_load_explicit(&c->clock, memory_order_relaxed) - s->base_seq;
	if (clock > delta && clock < RECORD_DELTA_MAX)
		delta = clock;
	if (unlikely(delta >= RECORD_DELTA_MAX))
		return false;
	uint64_t rest = head & ~HEAD_DELTA_BITS;
	overwrite_value(record, rest | HEAD_BUSY, rest | delta << HEAD_DELTA_SHIFT,
			record + 8 + o->key_len, o->value, o->value_len);
	*version = s->base_seq + delta;
	touch(c, o->at);
	return true;
}

/* Locks the key's bucket and overwrites, if all is still as it was found. */
INLINE bool overwrite_found(struct thermo *c, const struct overwrite *o, uint64_t *version)
{
	struct index *ix = c->index;
	const char *record = c->base[THERMO_HOT] + (o->place << 3);
	if (unlikely(((record_head_now(record) ^ o->head) & HEAD_PLAIN) ||
		     !key_equal(record + 8, o->key, o->key_len)))
		return false;
	struct bucket *home = index_lock(ix, o->hash);
	bool done = overwrite_locked(c, o, version);
	index_unlock(home);
	return done;
}

INLINE bool overwrite_quick(struct thermo_space *space, const void *key, size_t key_len,
			    const void *value, size_t value_len, uint64_t *version)
{
	struct epoch_slot *me = epoch_quick;
	struct thermo *c = space->cache;
	bool done = false;
	size_t slot;
	struct overwrite o = {
		.key = key,
		.value = value,
		.key_len = (uint32_t)key_len,
		.value_len = (uint32_t)value_len,
	};
	if (unlikely(key_len - 1 >= THERMO_KEY_MAX || !key || !value ||
		     value_len > OVERWRITE_MOST || !epoch_quick_enter(me)))
		return false;
	o.hash = key_hash_seeded(space->hash_seed, key, key_len);
	o.head = (key_len - 1) | (uint64_t)value_len << HEAD_VALUE_SHIFT |
		 atomic_load_explicit(&space->open_identity, memory_order_relaxed);
	const struct index *ix = space->index;
	struct bucket *b = index_home(ix, index_view(ix), o.hash);
	while (unlikely(!index_first(b, o.hash, &slot, &o.place))) {
		b = index_next(ix, b);
		if (!b)
			goto leave;
	}
	o.at.bucket = b;
	o.at.slot = (unsigned)slot;
	__builtin_prefetch(space->base + (o.place << 3) + 64, 1);
	done = overwrite_found(c, &o, version);
	if (likely(done)) {
		_Atomic uint64_t *puts = &c->shard[me->number].puts;
		atomic_store_explicit(puts, atomic_load_explicit(puts, memory_order_relaxed) + 1,
				      memory_order_relaxed);
	}
leave:
	epoch_quick_exit(me);
	return done;
}

static bool overwrite(struct thermo_space *space, const void *key, size_t key_len,
		      const void *value, size_t value_len, uint64_t *version)
{
	if (likely(key_len == 16))
		return overwrite_quick(space, key, 16, value, value_len, version);
	return overwrite_quick(space, key, key_len, value, value_len, version);
}

static unsigned overwrite_some(struct thermo *c, struct thermo_request *const *requests, unsigned n,
			       const struct probe *probes)
{
	unsigned i;
	for (i = 0; i < n; i++) {
		struct thermo_request *r = requests[i];
		struct overwrite o = {
			.hash = probes[i].hash,
			.head = (r->key_len - 1) | (uint64_t)r->value_len << HEAD_VALUE_SHIFT |
				atomic_load_explicit(&r->space->open_identity,
						     memory_order_relaxed),
			.place = probes[i].place,
			.at = probes[i].at,
			.key = r->key,
			.value = r->value,
			.key_len = r->key_len,
			.value_len = (uint32_t)r->value_len,
		};
		if (unlikely(o.place >> PLACE_TIER_SHIFT || r->value_len > OVERWRITE_MOST ||
			     !r->value || !overwrite_found(c, &o, &r->version)))
			break;
		r->status = THERMO_OK;
	}
	if (likely(i))
		counter_add(&cache_shard(c)->puts, i);
	return i;
}

const struct lookup_ops PASTE(lookup_ops_, LOOKUP_ISA) = {
	.get = get,
	.get_request = get_request,
	.find = find,
	.probe = probe,
	.fetch = fetch,
	.overwrite = overwrite,
	.overwrite_some = overwrite_some,
};
