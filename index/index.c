/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See index.h. Two reserved ranges: home buckets, and overflow buckets with the struct index itself
 * in the room of the first of them. Memory is committed from the front of each and never given back
 * before close.
 *
 * A split, with the source bucket locked: the entries that move are copied into the new bucket,
 * which nobody can reach; the view announces it; the originals are removed. Writers that waited for
 * the lock see the new view and look for their home again.
 */
#include "index/index.h"

#include <errno.h>
#include <sched.h>

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/pages.h"
#include "index/chain.h"

#define MAGIC UINT64_C(0x6964785f74686d31)

/* A round begins at INDEX_START = 0.80 of 7 entries a bucket, 28/5 entries, and ends when the
 * entries are 1.25 times as many: 5/7 of a split per entry. Measured and computed in
 * tests/index/bench_index.c: 15.9 bytes an entry on average over a doubling, 18.8 at worst; of the
 * entries 6 % lie in overflow buckets on average, 11 % at worst. */
#define START_NUM 28
#define START_DEN 5
#define SPLITS_NUM 5
#define SPLITS_DEN 7

#define STEP_MAX 32  /* splits that are due before a grower starts: they share the cache misses */
#define BATCH_MAX 64 /* entries that a stripe keeps back */
#define BLOCKED_RETRY 256 /* calls of index_grow between two tries while growth is blocked */
#define SPINS 128         /* before a waiting writer yields */
#define AHEAD 8           /* buckets that are prefetched before they are split */
#define AHEAD_RECORDS 3   /* buckets whose records are, where they have to be hashed */

static uint64_t round_up_power(uint64_t n)
{
	return n <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(n - 1));
}

static unsigned log2_floor(uint64_t n)
{
	return 63 - (unsigned)__builtin_clzll(n);
}

static uint64_t view_of(uint64_t buckets)
{
	return (buckets - 1) | (uint64_t)(log2_floor(buckets - 1) + 1) << 32;
}

static uint64_t buckets_of(uint64_t view)
{
	return (uint64_t)(uint32_t)view + 1;
}

/* --- growth policy --- */

/* Entries at which the round begins that doubles `base` buckets. */
static int64_t round_start(uint64_t base)
{
	return (int64_t)(base * START_NUM / START_DEN);
}

static uint64_t buckets_wanted(int64_t count, uint64_t buckets)
{
	uint64_t base = UINT64_C(1) << log2_floor(buckets);
	int64_t over = count - round_start(base);
	if (over <= 0)
		return buckets;
	uint64_t wanted = base + (uint64_t)over * SPLITS_NUM / SPLITS_DEN;
	return wanted < 2 * base ? wanted : 2 * base;
}

static uint64_t clamp(uint64_t n, uint64_t least, uint64_t most)
{
	return n < least ? least : n > most ? most : n;
}

/* Sets when the next splits are due. */
static void aim(struct index *ix, uint64_t buckets)
{
	uint64_t base = UINT64_C(1) << log2_floor(buckets);
	uint64_t step = clamp(buckets / 64, 1, STEP_MAX);
	int64_t at = round_start(base) +
		     (int64_t)((buckets + step - base) * SPLITS_DEN / SPLITS_NUM) + 1;
	if (buckets == ix->buckets_max)
		at = INT64_MAX;
	atomic_store_explicit(&ix->grow_at, at, memory_order_relaxed);
	atomic_store_explicit(&ix->batch, (int64_t)clamp(buckets / 1024, 1, BATCH_MAX),
			      memory_order_relaxed);
}

/* --- life --- */

int index_open(struct index **index, struct budget *budget, uint64_t buckets, uint64_t buckets_max,
	       int huge, index_hash_fn hash, void *context, char *const base[2])
{
	if (buckets > INDEX_BUCKETS_MAX || buckets_max > INDEX_BUCKETS_MAX)
		return -EINVAL;
	buckets = round_up_power(buckets < INDEX_BUCKETS_MIN ? INDEX_BUCKETS_MIN : buckets);
	buckets_max =
		round_up_power(buckets_max < INDEX_BUCKETS_MIN ? INDEX_BUCKETS_MIN : buckets_max);
	if (buckets > buckets_max)
		return -EINVAL;

	/* Everything the chain functions look at, until the struct has a place of its own. */
	struct index start = {.budget = budget, .huge = huge};
	uint64_t committed = clamp(buckets, COMMIT_BUCKETS_MIN, UINT64_MAX);
	uint64_t range = clamp(buckets_max, COMMIT_BUCKETS_MIN, UINT64_MAX);
	start.buckets = pages_reserve(range * sizeof(struct bucket));
	if (!start.buckets)
		return -ENOMEM;
	start.overflow_max = range + COMMIT_BUCKETS_MIN;
	start.overflow = pages_reserve(start.overflow_max * sizeof(struct bucket));
	if (!start.overflow)
		goto release_buckets;
	if (chain_commit(&start, start.buckets, committed))
		goto release_overflow;
	if (chain_commit(&start, start.overflow, COMMIT_BUCKETS_MIN))
		goto give_back;

	struct index *ix = (struct index *)(void *)start.overflow;
	_Static_assert(sizeof(*ix) <= COMMIT_MIN / 2, "the struct fits into the first step");
	ix->budget = budget;
	ix->huge = huge;
	ix->buckets = start.buckets;
	ix->overflow = start.overflow;
	ix->overflow_max = start.overflow_max;
	ix->overflow_committed = COMMIT_BUCKETS_MIN;
	ix->overflow_fresh = (sizeof(*ix) + sizeof(struct bucket) - 1) / sizeof(struct bucket);
	ix->buckets_max = buckets_max;
	ix->hash = hash;
	ix->context = context;
	ix->base[0] = base ? base[0] : NULL;
	ix->base[1] = base ? base[1] : NULL;
	atomic_init(&ix->committed, committed);
	atomic_init(&ix->view, view_of(buckets));
	pthread_mutex_init(&ix->overflow_lock, NULL); /* cannot fail on Linux */
	ix->magic = MAGIC;
	aim(ix, buckets);
	*index = ix;
	return 0;

give_back:
	budget_give(budget, committed * sizeof(struct bucket));
release_overflow:
	pages_release(start.overflow, start.overflow_max * sizeof(struct bucket));
release_buckets:
	pages_release(start.buckets, range * sizeof(struct bucket));
	return -ENOMEM;
}

void index_close(struct index **index)
{
	struct index *ix = *index;
	if (!ix)
		return;
	check(ix->magic == MAGIC);
	*index = NULL;
	budget_give(ix->budget, index_bytes(ix));
	pthread_mutex_destroy(&ix->overflow_lock);
	ix->magic = 0;
	uint64_t overflow_bytes = ix->overflow_max * sizeof(struct bucket);
	pages_release(ix->buckets, clamp(ix->buckets_max, COMMIT_BUCKETS_MIN, UINT64_MAX) *
					   sizeof(struct bucket));
	pages_release(ix->overflow, overflow_bytes);
}

/* --- writers --- */

void index_lock_wait(struct bucket *bucket)
{
	unsigned spins = 0;
	do {
		while (atomic_load_explicit(&bucket->control, memory_order_relaxed) & INDEX_LOCK) {
			if (++spins > SPINS)
				sched_yield();
			else
				__builtin_ia32_pause();
		}
	} while (atomic_fetch_or_explicit(&bucket->control, INDEX_LOCK, memory_order_acquire) &
		 INDEX_LOCK);
}

static void count_add(struct index *ix, int64_t n)
{
	uintptr_t slot = (uintptr_t)epoch_mine / sizeof(struct epoch_slot);
	_Atomic int64_t *delta = &ix->stripe[slot % INDEX_STRIPES].delta;
	int64_t batch = atomic_load_explicit(&ix->batch, memory_order_relaxed);
	int64_t now = atomic_fetch_add_explicit(delta, n, memory_order_relaxed) + n;
	if (now < batch && now > -batch)
		return;
	now = atomic_exchange_explicit(delta, 0, memory_order_relaxed);
	atomic_fetch_add_explicit(&ix->count, now, memory_order_relaxed);
}

int index_insert(struct index *ix, struct bucket *home, uint64_t hash, uint64_t place,
		 uint8_t counter, struct index_slot *out)
{
	check(place <= INDEX_PLACE_MASK);
	if (entry_is_link(entry_load(home, CHAIN_SLOT))) {
		unsigned empty = 0;
		for (unsigned i = 0; i < CHAIN_SLOT; i++)
			empty += !entry_load(home, i);
		if (empty >= 2)
			chain_tidy(ix, home);
	}
	int rc = chain_add(ix, home, (index_tag(hash) & INDEX_TAG_MASK) | place, counter, out);
	if (!rc)
		count_add(ix, 1);
	return rc;
}

void index_remove(struct index *ix, struct bucket *home, struct index_slot at)
{
	check(entry_is_record(entry_load(at.bucket, at.slot)));
	atomic_store_explicit(&at.bucket->entry[at.slot], 0, memory_order_release);
	if (at.bucket != home)
		chain_trim(ix, home);
	count_add(ix, -1);
}

/* --- splits; one grower at a time --- */

static bool entry_moves(const struct index *ix, uint64_t entry, unsigned level)
{
	uint64_t bits = entry >> INDEX_TAG_SHIFT << INDEX_TAG_HASH_SHIFT;
	if (level < INDEX_TAG_HASH_SHIFT)
		bits = ix->hash(ix->context, entry & INDEX_PLACE_MASK);
	return bits >> level & 1;
}

/* Copies the entries that move into `target`, which nobody can reach. -ENOMEM: it is empty again.
 */
static int copy_movers(struct index *ix, const struct bucket *source, struct bucket *target,
		       unsigned level)
{
	struct index_slot at;
	for (const struct bucket *b = source; b; b = index_next(ix, b)) {
		for (unsigned i = 0; i < INDEX_SLOTS; i++) {
			uint64_t entry = entry_load(b, i);
			if (!entry_is_record(entry) || !entry_moves(ix, entry, level))
				continue;
			if (chain_add(ix, target, entry,
				      atomic_load_explicit(&b->counter[i], memory_order_relaxed),
				      &at)) {
				chain_discard(ix, target);
				return -ENOMEM;
			}
		}
	}
	return 0;
}

/* Removes from `source` what was copied to `target`: there it lies in the same order. */
static void remove_movers(struct index *ix, struct bucket *source, const struct bucket *target)
{
	unsigned slot = 0;
	uint64_t next = entry_load(target, slot);
	for (struct bucket *b = source; b; b = index_next(ix, b)) {
		for (unsigned i = 0; i < INDEX_SLOTS; i++) {
			if (!next || entry_load(b, i) != next)
				continue;
			atomic_store_explicit(&b->entry[i], 0, memory_order_release);
			next = ++slot < INDEX_SLOTS ? entry_load(target, slot) : 0;
			if (entry_is_link(next)) {
				target = ix->overflow + next;
				slot = 0;
				next = entry_load(target, slot);
			}
		}
	}
	check(!next);
}

static void bucket_lock(struct bucket *bucket)
{
	if (atomic_fetch_or_explicit(&bucket->control, INDEX_LOCK, memory_order_acquire) &
	    INDEX_LOCK)
		index_lock_wait(bucket);
}

static int commit_more(struct index *ix)
{
	uint64_t committed = atomic_load_explicit(&ix->committed, memory_order_relaxed);
	uint64_t more = chain_commit_step(committed, ix->buckets_max);
	if (chain_commit(ix, ix->buckets + committed, more))
		return -ENOMEM;
	atomic_store_explicit(&ix->committed, committed + more, memory_order_relaxed);
	return 0;
}

/* Adds one bucket; there are less than buckets_max. -ENOMEM: nothing changed. */
static int split(struct index *ix)
{
	uint64_t view = index_view(ix);
	uint64_t buckets = buckets_of(view);
	unsigned level = log2_floor(buckets);
	struct bucket *source = ix->buckets + (buckets - (UINT64_C(1) << level));
	struct bucket *target = ix->buckets + buckets;

	if (buckets == atomic_load_explicit(&ix->committed, memory_order_relaxed) &&
	    commit_more(ix))
		return -ENOMEM;
	bucket_lock(source);
	atomic_store_explicit(&target->control, INDEX_LOCK, memory_order_relaxed);
	int rc = copy_movers(ix, source, target, level);
	if (!rc) {
		/* Others add to the view's upper bits meanwhile. */
		atomic_fetch_add_explicit(&ix->view, view_of(buckets + 1) - view_of(buckets),
					  memory_order_acq_rel);
		remove_movers(ix, source, target);
		chain_tidy(ix, source);
	}
	index_unlock(target);
	index_unlock(source);
	return rc;
}

static void prefetch_records(const struct index *ix, const struct bucket *bucket)
{
	for (unsigned i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = entry_load(bucket, i);
		const char *base = ix->base[entry >> (INDEX_PLACE_BITS - 1) & 1];
		if (base && entry_is_record(entry))
			__builtin_prefetch(base + (entry & (INDEX_PLACE_MASK >> 1)) * 8);
	}
}

/* Brings near what the next splits touch. Buckets beyond the round's are harmless to prefetch. */
static void prefetch_ahead(const struct index *ix, uint64_t buckets)
{
	unsigned level = log2_floor(buckets);
	const struct bucket *source = ix->buckets + (buckets - (UINT64_C(1) << level));
	__builtin_prefetch(source + AHEAD, 1);
	__builtin_prefetch(ix->buckets + buckets + AHEAD, 1);
	if (level < INDEX_TAG_HASH_SHIFT && buckets + AHEAD_RECORDS < UINT64_C(2) << level)
		prefetch_records(ix, source + AHEAD_RECORDS);
}

void index_grow_due(struct index *ix, unsigned most)
{
	if (atomic_load_explicit(&ix->blocked, memory_order_relaxed) &&
	    atomic_fetch_add_explicit(&ix->tries, 1, memory_order_relaxed) % BLOCKED_RETRY)
		return;
	index_grow_now(ix, most);
}

void index_grow_now(struct index *ix, unsigned most)
{
	if (atomic_exchange_explicit(&ix->growing, true, memory_order_acquire))
		return;
	uint64_t before = index_buckets(ix), buckets = before;
	int64_t count = atomic_load_explicit(&ix->count, memory_order_relaxed);
	int rc = 0;
	while (buckets - before < most && buckets < ix->buckets_max &&
	       buckets < buckets_wanted(count, buckets)) {
		prefetch_ahead(ix, buckets);
		rc = split(ix);
		if (rc)
			break;
		buckets++;
	}
	aim(ix, buckets);
	atomic_fetch_add_explicit(&ix->splits, buckets - before, memory_order_relaxed);
	atomic_store_explicit(&ix->blocked, rc != 0, memory_order_relaxed);
	atomic_store_explicit(&ix->growing, false, memory_order_release);
}

int index_ahead(struct index *ix)
{
	int rc = 0;
	if (atomic_exchange_explicit(&ix->growing, true, memory_order_acquire))
		return 0; /* a grower commits what it needs itself */
	uint64_t buckets = index_buckets(ix);
	uint64_t committed = atomic_load_explicit(&ix->committed, memory_order_relaxed);
	uint64_t base = UINT64_C(1) << log2_floor(buckets);
	int64_t soon = round_start(base) - round_start(base) / 16;
	bool near = buckets > base || atomic_load_explicit(&ix->count, memory_order_relaxed) > soon;
	if (near && committed < ix->buckets_max &&
	    committed - buckets < chain_commit_step(committed, ix->buckets_max))
		rc = commit_more(ix);
	atomic_store_explicit(&ix->growing, false, memory_order_release);
	int chain_rc = chain_ahead(ix);
	return rc ? rc : chain_rc;
}

bool index_growth_blocked(const struct index *ix)
{
	if (index_buckets(ix) == ix->buckets_max)
		return atomic_load_explicit(&ix->count, memory_order_relaxed) >
		       round_start(ix->buckets_max);
	return atomic_load_explicit(&ix->blocked, memory_order_relaxed);
}

/* --- sweep and figures --- */

void index_sweep(const struct index *ix, uint64_t *cursor, unsigned buckets, index_visit_fn visit,
		 void *context)
{
	while (buckets--) {
		if (*cursor >= index_buckets(ix))
			*cursor = 0;
		struct bucket *b = ix->buckets + (*cursor)++;
		for (; b; b = index_next(ix, b)) {
			for (unsigned i = 0; i < INDEX_SLOTS; i++) {
				uint64_t place = index_place(b, i);
				if (place != INDEX_NOWHERE)
					visit(context, b, i, place);
			}
		}
	}
}

uint64_t index_records(const struct index *ix)
{
	int64_t n = atomic_load_explicit(&ix->count, memory_order_relaxed);
	for (unsigned i = 0; i < INDEX_STRIPES; i++)
		n += atomic_load_explicit(&ix->stripe[i].delta, memory_order_relaxed);
	return n > 0 ? (uint64_t)n : 0;
}

uint64_t index_bytes(struct index *ix)
{
	pthread_mutex_lock(&ix->overflow_lock);
	uint64_t n = ix->overflow_committed;
	pthread_mutex_unlock(&ix->overflow_lock);
	n += atomic_load_explicit(&ix->committed, memory_order_relaxed);
	return n * sizeof(struct bucket);
}

uint64_t index_buckets(const struct index *ix)
{
	return buckets_of(index_view(ix));
}

uint64_t index_overflow(struct index *ix)
{
	pthread_mutex_lock(&ix->overflow_lock);
	uint64_t n = ix->overflow_used;
	pthread_mutex_unlock(&ix->overflow_lock);
	return n;
}

uint64_t index_splits(const struct index *ix)
{
	return atomic_load_explicit(&ix->splits, memory_order_relaxed);
}
