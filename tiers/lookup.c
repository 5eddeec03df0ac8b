/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot path: a get that finds its record in DRAM or the warm tier, alone or in a batch.
 *
 * Built once for each instruction set (LOOKUP_ISA names it; the compiler's flags choose how
 * index_match compares tags); lookup_choose() takes the best that the processor has. Nothing here
 * locks, waits or allocates. What a reader relies on: an entry is loaded with acquire, a record's bytes do not
 * change once an entry points to it, and its segment is not reused while the reader's epoch lasts.
 */
#include "tiers/engine.h"

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

static inline const char *find_record(const struct thermo *c, const struct key *key,
				      struct found *found)
{
	uint64_t view = index_view(c->index), again;
	for (;; view = again) {
		struct bucket *b = index_home(c->index, view, key->hash);
		for (; b; b = index_next(c->index, b)) {
			for (unsigned mask = index_match(b, key->hash); mask; mask &= mask - 1) {
				unsigned slot = (unsigned)__builtin_ctz(mask);
				uint64_t place = index_place(b, slot);
				if (unlikely(place == INDEX_NOWHERE))
					continue;
				const char *record = place_record(c, place);
				uint64_t head = load64(record);
				if (((head ^ key->identity) & HEAD_IDENTITY) == 0 &&
				    key_equal(record + head_bytes(head), key->bytes, key->len)) {
					found->record = record;
					found->place = place;
					found->at.bucket = b;
					found->at.slot = slot;
					return record;
				}
			}
		}
		again = index_view(c->index);
		if (likely(again == view))
			return NULL;
		/* Entries moved meanwhile: it may have been overlooked. */
	}
}

/* One hit: at most one relaxed store. A store that races with a split or a removal goes to an entry that
 * is another's: a byte of heat too much there, nothing worse. */
static inline uint8_t touch(const struct thermo *c, struct index_slot at)
{
	_Atomic uint8_t *counter = &at.bucket->counter[at.slot];
	unsigned epoch = atomic_load_explicit(&c->heat_epoch, memory_order_relaxed);
	uint8_t old = atomic_load_explicit(counter, memory_order_relaxed);
	uint8_t touched = policy_touched(old, epoch);
	if (touched != old)
		atomic_store_explicit(counter, touched, memory_order_relaxed);
	return touched;
}

/* Values are mostly small: whole vectors with an overlapping tail, no call. */
static inline void copy_value(char *to, const char *from, size_t n)
{
	if (likely(n >= 32 && n <= 256)) {
		size_t i = 0;
		for (; i + 32 <= n; i += 32)
			memcpy(to + i, from + i, 32);
		memcpy(to + n - 32, from + n - 32, 32);
	} else {
		memcpy(to, from, n);
	}
}

static inline int deliver(const struct view *v, void *value, size_t capacity, uint64_t offset,
			  size_t *value_len)
{
	size_t left = offset < v->value_len ? v->value_len - offset : 0;
	size_t n = left < capacity ? left : capacity;
	*value_len = v->value_len;
	if (n)
		copy_value(value, v->value + offset, n);
	return likely(n == left) ? THERMO_OK : THERMO_TRUNCATED;
}

static inline int found_get(struct thermo *c, const struct key *key, const struct found *f,
			    void *value, size_t capacity, uint64_t offset, size_t *value_len,
			    int16_t *tier_out, uint64_t *version)
{
	struct view v;
	unsigned tier = place_tier(f->place);
	struct shard *shard = cache_shard(c);
	record_view(f->record, &v);
	if (unlikely(v.flags & (RECORD_TOMBSTONE | RECORD_HEAD | RECORD_EXPIRES))) {
		if ((v.flags & RECORD_TOMBSTONE) ||
		    (v.expires_ms && v.expires_ms <= cache_now_ms(c))) {
			counter_add(&shard->misses, 1);
			return THERMO_MISS;
		}
		if (v.flags & RECORD_HEAD)
			return LOOKUP_LARGE;
	}
	uint8_t heat = touch(c, f->at);
	if (unlikely(tier == THERMO_WARM) &&
	    policy_place(c->policy, heat, key->hash, THERMO_WARM) == THERMO_HOT)
		migrate_candidate(c, key->hash);
	if (version) {
		*tier_out = (int16_t)tier;
		*version = record_seq(place_segment(c, f->place), f->record);
	}
	counter_add(&shard->hits[tier], 1);
	return deliver(&v, value, capacity, offset, value_len);
}

static int get(struct thermo *c, const struct key *key, void *value, size_t capacity,
	       uint64_t offset, size_t *value_len, int16_t *tier, uint64_t *version)
{
	struct found f;
	int rc = LOOKUP_ABSENT;
	epoch_enter();
	if (find_record(c, key, &f)) {
		if (unlikely(place_tier(f.place) == THERMO_WARM))
			provider_access(c->warm, capacity);
		rc = found_get(c, key, &f, value, capacity, offset, value_len, tier, version);
	}
	epoch_exit();
	return rc;
}

static bool find(const struct thermo *c, const struct key *key, struct found *found)
{
	return find_record(c, key, found) != NULL;
}

static void probe(struct thermo *c, struct thermo_request *const *requests, unsigned n,
		  struct probe *probes)
{
	uint64_t view = index_view(c->index);
	for (unsigned i = 0; i < n; i++) {
		const struct thermo_request *r = requests[i];
		probes[i].hash = key_hash(r->space->id, r->key, r->key_len, 0);
		probes[i].view = view;
		__builtin_prefetch(index_home(c->index, view, probes[i].hash));
	}
	for (unsigned i = 0; i < n; i++) {
		struct bucket *home = index_home(c->index, view, probes[i].hash);
		unsigned mask = index_match(home, probes[i].hash);
		requests[i]->status = THERMO_PENDING;
		if (likely(mask)) {
			uint64_t place = index_place(home, (unsigned)__builtin_ctz(mask));
			if (unlikely(place == INDEX_NOWHERE))
				continue;
			const char *record = place_record(c, place);
			__builtin_prefetch(record);
			__builtin_prefetch(record + 64);
		} else if (!index_next(c->index, home)) {
			requests[i]->status = LOOKUP_ABSENT;
		}
	}
}

static void fetch(struct thermo *c, struct thermo_request *const *requests, unsigned n,
		  struct probe *probes)
{
	size_t warm_bytes = 0;
	for (unsigned i = 0; i < n; i++) {
		struct thermo_request *r = requests[i];
		struct found f;
		if (unlikely(r->status == LOOKUP_ABSENT) &&
		    likely(index_view(c->index) == probes[i].view))
			continue;
		struct key key = {
			.bytes = r->key,
			.len = r->key_len,
			.space = r->space->id,
			.hash = probes[i].hash,
			.identity = head_make(r->space->id, r->key_len, 0, 0),
		};
		if (likely(find_record(c, &key, &f))) {
			if (unlikely(place_tier(f.place) == THERMO_WARM))
				warm_bytes += r->capacity + 64;
			r->status = found_get(c, &key, &f, r->value, r->capacity, r->offset,
					      &r->value_len, &r->tier, &r->version);
		} else {
			r->status = LOOKUP_ABSENT;
		}
	}
	if (unlikely(warm_bytes))
		provider_access(c->warm, warm_bytes); /* the misses of a batch overlap */
}

const struct lookup_ops PASTE(lookup_ops_, LOOKUP_ISA) = {
	.get = get,
	.find = find,
	.probe = probe,
	.fetch = fetch,
};
