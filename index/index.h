/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: from a key's hash to the place of its hot or warm record. In DRAM, 64-byte buckets of
 * seven 8-byte entries, a byte of policy counters for each, and a byte of control.
 *
 *   entry:  63..42 tag (bits 37..16 of the hash, never all zero)  41 spare, 0  40 tier  39..0 unit
 *offset place:  tier (0 DRAM, 1 warm) and the record's offset in its tier's range, in 8-byte units
 *   link:   in slot 6 of a full bucket, a number of an overflow bucket; no look-up takes it for an
 *           entry, because bit 63 is zero
 *
 * An entry of 0 is empty. The index does not know keys: a match of the tag is a candidate and the
 *caller compares the record.
 *
 * Linear hashing (Litwin 1980): a bucket splits into itself and the one a power of two above, so
 *the table grows one bucket at a time, in a range that was reserved once. To keep buckets evenly
 *filled a round of splits starts at INDEX_START load and then splits faster than entries come until
 *it is over. The bucket number is the low bits of the hash; from 2^16 buckets on the bit that
 *decides a split is in the tag, and a split does not look at the records.
 *
 * Readers take no lock. They need an epoch around the look-up and whatever they do with the place:
 *
 *	epoch_enter();
 *	do {
 *		view = index_view(ix);
 *		for (b = index_home(ix, view, hash); b; b = index_next(ix, b))
 *			for (m = index_match(b, hash); m; m &= m - 1) {
 *				place = index_place(b, __builtin_ctz(m));
 *				if (place != INDEX_NOWHERE && key_is(record_at(place)))
 *					goto found;
 *			}
 *	} while (index_view(ix) != view);      (only then is it a miss)
 *
 * Writers of a key lock its home bucket (a bit of the control byte); the lock covers the overflow
 *chain and the split of that bucket. What moves an entry where a reader may overlook it (a split;
 *pulling a chain back into its home bucket) first puts the copy there, then changes the view, then
 *removes the original. So a reader that found nothing in an unchanged view has a true miss.
 *
 * An entry's slot changes under its home's lock only. A caller must not move a key by inserting it
 *anew and removing the old entry: use index_replace, or a reader may see neither.
 *
 * Lock order: home bucket, then the overflow lock inside index.c. Nobody locks two home buckets.
 */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "index/epoch.h"

#if defined(__SSE2__)
#include <immintrin.h>
#if !EPOCH_TSAN && !defined(INDEX_PORTABLE)
#define INDEX_SIMD 1
#endif
#endif

#define INDEX_SLOTS 7
#define INDEX_PLACE_BITS 41
#define INDEX_PLACE_MASK ((UINT64_C(1) << INDEX_PLACE_BITS) - 1)
#define INDEX_NOWHERE UINT64_MAX /* no place: the slot is empty, or a link, by now */

#define INDEX_ENTRY (UINT64_C(1) << 63) /* set in entries, not in links */
#define INDEX_TAG_SHIFT 42              /* in an entry, with INDEX_ENTRY above it */
#define INDEX_TAG_HASH_SHIFT 16         /* in the hash */
#define INDEX_TAG_MASK (~UINT64_C(0) << INDEX_TAG_SHIFT)

#define INDEX_BUCKETS_MIN UINT64_C(64)
#define INDEX_BUCKETS_MAX (UINT64_C(1) << 31)
#define INDEX_LOCK 1u /* in the control byte */
#define INDEX_STRIPES 64

struct bucket {
	_Alignas(64) _Atomic uint64_t entry[INDEX_SLOTS];
	_Atomic uint8_t counter[INDEX_SLOTS]; /* policy bytes; relaxed */
	_Atomic uint8_t control;              /* lock bit */
};

struct budget;

/* Where an entry is; valid while the home bucket is locked, or inside the epoch for its counter. */
struct index_slot {
	struct bucket *bucket;
	unsigned slot;
};

/* Hash of the key of the record at `place`; called inside an epoch, home bucket locked. */
typedef uint64_t (*index_hash_fn)(void *context, uint64_t place);
typedef void (*index_visit_fn)(void *context, struct bucket *bucket, unsigned slot, uint64_t place);

struct index_stripe {
	_Alignas(64) _Atomic int64_t delta; /* entries come and gone, not yet in `count` */
};

/* Open for the inline functions only; use the functions. */
struct index {
	/* The view: 0..31 last bucket in use, 32..39 its bit length, 40..63 times that a chain was
	 * pulled home. Changed by the grower and by holders of a home's lock, always with a
	 * read-modify-write. */
	_Alignas(64) _Atomic uint64_t view;
	struct bucket *buckets;  /* const after open */
	struct bucket *overflow; /* const after open; number 0 and some more are this struct */
	char *base[2];           /* const after open: where the tiers' ranges begin, or NULL */

	_Alignas(64) _Atomic int64_t count; /* entries, but for the stripes' deltas */
	_Atomic int64_t grow_at;            /* count from which index_grow has something to do */
	_Atomic int64_t batch;              /* delta that a stripe hands over */
	_Atomic bool blocked;               /* growth is due and refused */
	_Atomic bool growing;               /* try-lock of the grower */
	_Atomic uint32_t tries;             /* calls of index_grow while blocked */
	_Atomic uint64_t splits;

	_Alignas(64) struct index_stripe stripe[INDEX_STRIPES]; /* by thread */

	_Alignas(64) struct budget *budget; /* const after open, as the next five */
	index_hash_fn hash;
	void *context;
	uint64_t buckets_max;
	uint64_t overflow_max; /* numbers are below this */
	int huge;
	_Atomic uint64_t committed; /* buckets; the grower's */

	_Alignas(64) pthread_mutex_t overflow_lock;
	uint64_t overflow_committed; /* under overflow_lock, as all that follows */
	uint64_t overflow_fresh;     /* first number that was never used */
	uint64_t overflow_used;      /* buckets in chains */
	bool overflow_ahead;         /* index_ahead commits what is behind overflow_committed */
	uint64_t free_list;          /* a number, 0 = none; entry[0] there holds the next one */
	uint64_t magic;
};

/* buckets: at the start, buckets_max: how far it may grow; both are rounded up to powers of two, at
 * least INDEX_BUCKETS_MIN and at most INDEX_BUCKETS_MAX. Address space for buckets_max is reserved;
 * memory is committed and charged to the budget as it is used. base: where each tier's range
 * begins, to prefetch records with before they are hashed; NULL (either) for no prefetching.
 * -EINVAL: buckets or buckets_max out of range, -ENOMEM. */
int index_open(struct index **index, struct budget *budget, uint64_t buckets, uint64_t buckets_max,
	       int huge, index_hash_fn hash, void *context, char *const base[2]);
/* No other thread may be using it. Gives everything back to the budget. */
void index_close(struct index **index);

/* --- readers: inside an epoch, no lock --- */

static inline uint64_t index_view(const struct index *ix)
{
	return atomic_load_explicit(&ix->view, memory_order_acquire);
}

static inline uint64_t index_low_bits(uint64_t hash, uint64_t bits)
{
#if defined(__BMI2__) && defined(INDEX_SIMD)
	return _bzhi_u64(hash, (unsigned)bits); /* looks at the low byte of bits */
#else
	return hash & ~(~UINT64_C(0) << (uint8_t)bits);
#endif
}

static inline struct bucket *index_home(const struct index *ix, uint64_t view, uint64_t hash)
{
	uint64_t bits = view >> 32;
	/* One bit less for a bucket that is not split yet in this round. No branch: it would be
	 * guessed wrong half of the time while the table grows. */
	bits -= (uint32_t)view < index_low_bits(hash, bits);
	struct bucket *home = ix->buckets + index_low_bits(hash, bits);
	if (!home)
		__builtin_unreachable();
	return home;
}

/* Brings the home bucket near; harmless with any hash. */
static inline void index_prefetch(const struct index *ix, uint64_t hash)
{
	__builtin_prefetch(index_home(ix, index_view(ix), hash));
}

/* The hash's tag where it stands in an entry; what is below it is not zero. */
static inline uint64_t index_tag(uint64_t hash)
{
	return hash << (INDEX_TAG_SHIFT - INDEX_TAG_HASH_SHIFT) | INDEX_ENTRY;
}

/* Bit i is set if slot i has the hash's tag. Links and empty slots never match, nor does the eighth
 * word: its highest bit is one of `control` that is always zero. */
static inline unsigned index_match(const struct bucket *bucket, uint64_t hash)
{
	/* A wide load of words that others store to one by one: each word is whole, their order is
	 * not needed (see the head), and a plain load on x86 acquires. */
#if defined(INDEX_SIMD) && defined(__AVX512F__)
	__m512i words = _mm512_load_si512((const void *)bucket);
	words = _mm512_xor_si512(words, _mm512_set1_epi64((long long)index_tag(hash)));
	unsigned match =
		_mm512_testn_epi64_mask(words, _mm512_set1_epi64((long long)INDEX_TAG_MASK));
	atomic_signal_fence(memory_order_acquire);
#elif defined(INDEX_SIMD) && defined(__AVX2__)
	const __m256i *half = (const __m256i *)(const void *)bucket;
	__m256i tag = _mm256_set1_epi64x((long long)(index_tag(hash) >> INDEX_TAG_SHIFT));
	__m256i low = _mm256_srli_epi64(_mm256_load_si256(half), INDEX_TAG_SHIFT);
	__m256i high = _mm256_srli_epi64(_mm256_load_si256(half + 1), INDEX_TAG_SHIFT);
	low = _mm256_cmpeq_epi64(low, tag);
	high = _mm256_cmpeq_epi64(high, tag);
	unsigned match = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(low)) |
			 (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(high)) << 4;
	atomic_signal_fence(memory_order_acquire);
#elif defined(INDEX_SIMD)
	/* SSE2 compares no 64-bit words: the tags lie in the upper halves, so compare those. */
	const __m128i *pair = (const __m128i *)(const void *)bucket;
	__m128i tag = _mm_set1_epi32((int)(index_tag(hash) >> INDEX_TAG_SHIFT));
	__m128 p0 = _mm_castsi128_ps(_mm_load_si128(pair));
	__m128 p1 = _mm_castsi128_ps(_mm_load_si128(pair + 1));
	__m128 p2 = _mm_castsi128_ps(_mm_load_si128(pair + 2));
	__m128 p3 = _mm_castsi128_ps(_mm_load_si128(pair + 3));
	__m128i low = _mm_castps_si128(_mm_shuffle_ps(p0, p1, _MM_SHUFFLE(3, 1, 3, 1)));
	__m128i high = _mm_castps_si128(_mm_shuffle_ps(p2, p3, _MM_SHUFFLE(3, 1, 3, 1)));
	low = _mm_cmpeq_epi32(_mm_srli_epi32(low, INDEX_TAG_SHIFT - 32), tag);
	high = _mm_cmpeq_epi32(_mm_srli_epi32(high, INDEX_TAG_SHIFT - 32), tag);
	unsigned match = (unsigned)_mm_movemask_epi8(
		_mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128()));
	atomic_signal_fence(memory_order_acquire);
#else
	uint64_t tag = index_tag(hash);
	unsigned match = 0;
	for (unsigned i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = atomic_load_explicit(&bucket->entry[i], memory_order_acquire);
		match |= (unsigned)(((entry ^ tag) & INDEX_TAG_MASK) == 0) << i;
	}
#endif
	return match;
}

/* The place in a slot that matched, or INDEX_NOWHERE if the entry has gone since. The record's
 * bytes, written before index_insert or index_replace, are visible. It may by now be another key's.
 */
static inline uint64_t index_place(const struct bucket *bucket, unsigned slot)
{
	uint64_t entry = atomic_load_explicit(&bucket->entry[slot], memory_order_acquire);
	if (__builtin_expect(!(entry & INDEX_ENTRY), 0))
		return INDEX_NOWHERE;
	return entry & INDEX_PLACE_MASK;
}

#define INDEX_TIER (UINT64_C(1) << (INDEX_PLACE_BITS - 1)) /* in a place: not tier 0 */

/* The first slot with the hash's tag and a place in tier 0, and that place; false if there is none. As
 * index_match and index_place, in fewer steps: the place comes out of the comparison. */
static inline bool index_first(const struct bucket *bucket, uint64_t hash, size_t *slot,
			       uint64_t *place)
{
#if defined(INDEX_SIMD) && defined(__AVX512F__)
	__m512i words = _mm512_load_si512((const void *)bucket);
	words = _mm512_xor_si512(
		words, _mm512_set1_epi64((long long)(index_tag(hash) & INDEX_TAG_MASK)));
	__mmask8 match = _mm512_testn_epi64_mask(
		words, _mm512_set1_epi64((long long)(INDEX_TAG_MASK | INDEX_TIER)));
	atomic_signal_fence(memory_order_acquire);
	size_t matches = match;
	__asm__("" : "+r"(matches)); /* in a register once, for both uses */
	if (__builtin_expect(!matches, 0))
		return false;
	/* What is left of an entry whose tag fits is its place. */
	__m512i first = _mm512_maskz_compress_epi64(match, words);
	*place = (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(first));
	*slot = (size_t)__builtin_ctzll(matches);
	return true;
#else
	unsigned match = index_match(bucket, hash);
	if (__builtin_expect(!match, 0))
		return false;
	*slot = (size_t)__builtin_ctz(match);
	*place = index_place(bucket, (unsigned)*slot);
	return *place < INDEX_TIER;
#endif
}

/* The overflow bucket behind this one, or NULL. */
static inline struct bucket *index_next(const struct index *ix, const struct bucket *bucket)
{
	uint64_t link = atomic_load_explicit(&bucket->entry[INDEX_SLOTS - 1], memory_order_acquire);
	if (__builtin_expect(link == 0 || link & INDEX_ENTRY, 1))
		return NULL;
	return ix->overflow + link;
}

/* Visits the entries of the next `buckets` home buckets and their chains and moves the cursor on
 * (from 0; wraps). No lock, inside an epoch: an entry that moves meanwhile may be seen twice or not
 * at all. */
void index_sweep(const struct index *index, uint64_t *cursor, unsigned buckets,
		 index_visit_fn visit, void *context);

/* --- writers: inside an epoch --- */

/* The lock was taken: spins, then yields, until it is ours. */
void index_lock_wait(struct bucket *bucket);

/* The home bucket of the hash, locked. Holds up to a split or another writer of the bucket only. */
static inline struct bucket *index_lock(struct index *ix, uint64_t hash)
{
	for (;;) {
		struct bucket *home = index_home(ix, index_view(ix), hash);
		/* It is the byte's only bit; an exchange is one instruction, where an `or` is a loop. */
		if (__builtin_expect(atomic_exchange_explicit(&home->control, INDEX_LOCK,
							      memory_order_acquire),
				     0))
			index_lock_wait(home);
		/* It may have split while we waited. */
		if (__builtin_expect(index_home(ix, index_view(ix), hash) == home, 1))
			return home;
		atomic_store_explicit(&home->control, 0, memory_order_release);
	}
}

static inline void index_unlock(struct bucket *home)
{
	atomic_store_explicit(&home->control, 0, memory_order_release);
}

/* Adds an entry; that the key has none yet is the caller's business. place: INDEX_PLACE_BITS bits.
 * The record must be complete: readers find it at once. May move other entries of the home bucket,
 * so slots found before are void. -ENOMEM: no overflow bucket to be had; nothing changed. */
int index_insert(struct index *index, struct bucket *home, uint64_t hash, uint64_t place,
		 uint8_t counter, struct index_slot *out);

/* Gives the entry another place; keeps tag and counter. The record there must be complete. The old
 * record may be reused once an epoch taken after this has passed. */
static inline void index_replace(struct index_slot at, uint64_t place)
{
	_Atomic uint64_t *entry = &at.bucket->entry[at.slot];
	uint64_t tag = atomic_load_explicit(entry, memory_order_relaxed) & INDEX_TAG_MASK;
	atomic_store_explicit(entry, tag | place, memory_order_release);
}

/* Empties the slot; other entries stay where they are. */
void index_remove(struct index *index, struct bucket *home, struct index_slot at);

/* --- growth --- */

/* Splits up to `most` buckets if the load asks for it; inside an epoch, no lock held. Returns at
 * once if another thread is at it. Commits memory if index_ahead has not done so in time. */
void index_grow_now(struct index *index, unsigned most);
/* The same, but for most of the calls nothing while growth is blocked. */
void index_grow_due(struct index *index, unsigned most);

/* After an insert: index_grow_now where there is something to do. Cheap where there is not. */
static inline void index_grow(struct index *ix, unsigned most)
{
	if (__builtin_expect(atomic_load_explicit(&ix->count, memory_order_relaxed) >=
				     atomic_load_explicit(&ix->grow_at, memory_order_relaxed),
			     0))
		index_grow_due(ix, most);
}

/* For a background thread, every millisecond or so, outside any epoch: commits the memory that
 * growth will need next, if it is near, so that no index_grow or index_insert has to (the system
 * can take milliseconds for a huge page). Growth by others pauses meanwhile, they do not. 0;
 * -ENOMEM (budget or system). */
int index_ahead(struct index *index);

/* Growth is due, but the budget, the system or buckets_max refuses: chains get longer, look-ups
 * slower. Tried again every so many calls of index_grow, and by index_grow_now. */
bool index_growth_blocked(const struct index *index);

/* --- figures: any thread; exact only while nobody writes --- */

uint64_t index_records(const struct index *index); /* entries */
uint64_t index_bytes(struct index *index);         /* charged to the budget */
uint64_t index_buckets(const struct index *index); /* home buckets in use */
uint64_t index_overflow(struct index *index);      /* overflow buckets in chains */
uint64_t index_splits(const struct index *index);  /* since open */

#endif
