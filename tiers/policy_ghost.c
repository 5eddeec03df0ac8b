/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ghost of S3-FIFO: see policy_ghost.h for what it is.
 *
 * Invariants. A slot is 0 (empty) or fingerprint << 10 | tick modulo 1024, the fingerprint never 0.
 * A slot is live while its tick lies in [horizon, now]; now - horizon <= SPAN, and the sweep passes
 * the whole table in TICKS_PER_CAPACITY ticks, so a dead slot is cleared before `now` comes round
 * to it (SPAN + TICKS_PER_CAPACITY < TICKS). The cost of live slots is the sum over ticks; whoever
 * takes something out of a tick accounts for exactly what was there, so the sum does not drift.
 */
#include "tiers/policy_ghost.h"

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/heap.h"
#include "alloc/pages.h"

#include <errno.h>

#define SLOTS 16u
#define TICK_BITS 10
#define TICKS (1u << TICK_BITS)
#define TICKS_PER_CAPACITY 256u
#define SPAN 720u
#define FINGERPRINT_BITS 22
#define FINGERPRINT_MASK ((1u << FINGERPRINT_BITS) - 1)
#define GROWTH_BITS 8 /* the table may grow 256-fold */
#define FIRST_MIN 64u /* buckets; less only where the most is less */
#define BUCKETS_MAX (1u << 29)
#define OBJECTS_PER_BUCKET 11u /* at the most: the load at which a round of splits begins */
#define SPLITS 4u              /* a insertion, during a round */
#define SMALL_STEP ((uint64_t)64 << 10) /* bytes of a commit, up to one extent */
#define RETRY_INSERTS 4096u             /* after memory was refused */

struct slots {
	_Alignas(64) _Atomic uint32_t slot[SLOTS];
};

struct tick {
	_Atomic uint64_t cost;  /* of the live slots of this tick */
	_Atomic uint64_t count; /* of them */
};

struct ghost {
	/* const after open */
	struct heap *heap;
	struct budget *budget;
	struct slots *table;  /* reserved */
	uint64_t reserved;    /* bytes */
	uint32_t first_bits;  /* log2 of the first number of buckets */
	uint32_t buckets_max; /* a power of two */
	struct tick *ticks;   /* TICKS of them */

	/* atomic: written by the inserter, read by all */
	_Atomic uint32_t buckets; /* in use; 0 until the first insertion */
	_Atomic uint32_t now;     /* tick of insertions */
	_Atomic uint32_t horizon; /* oldest live tick */
	_Atomic uint64_t live_cost, live_count;
	_Atomic uint64_t committed; /* bytes */

	/* the inserter's */
	uint64_t capacity;    /* cost units */
	uint64_t tick_cost;   /* inserted cost that makes a tick */
	uint64_t tick_filled; /* so far in this one */
	uint32_t sweep;       /* next bucket */
	uint32_t splitting;   /* a round is under way */
	uint32_t retry;       /* insertions until memory is asked for again */
};

_Static_assert(sizeof(struct slots) == 64, "one cache line");
_Static_assert(SPAN + TICKS_PER_CAPACITY < TICKS, "dead slots are swept in time");

#define load(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define store(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

static uint32_t fingerprint(uint64_t hash)
{
	uint32_t bits = (uint32_t)hash & FINGERPRINT_MASK;
	return bits ? bits : 1;
}

static uint32_t log2_floor(uint32_t n)
{
	return 31 - (uint32_t)__builtin_clz(n);
}

/* Bits of the hash beside the fingerprint choose one of the first buckets, the fingerprint's lowest
 * the half, quarter, ... of it. */
static struct slots *bucket_of(const struct ghost *g, uint64_t hash, uint32_t buckets)
{
	uint32_t first = (uint32_t)(hash >> FINGERPRINT_BITS) & ((1u << g->first_bits) - 1);
	uint32_t bits = fingerprint(hash) << g->first_bits | first;
	uint32_t round = 1u << log2_floor(buckets);
	uint32_t at = bits & (2 * round - 1);
	return &g->table[at < buckets ? at : at - round];
}

static bool live(uint32_t slot, uint32_t horizon, uint32_t now)
{
	return slot && ((slot - horizon) & (TICKS - 1)) <= now - horizon;
}

/* Subtracts up to `most` and answers what was subtracted. */
static uint64_t take(_Atomic uint64_t *from, uint64_t most)
{
	uint64_t have = atomic_load_explicit(from, memory_order_relaxed), taken;
	do
		taken = have < most ? have : most;
	while (!atomic_compare_exchange_weak_explicit(from, &have, have - taken,
						      memory_order_relaxed, memory_order_relaxed));
	return taken;
}

/* A live slot was removed: its tick loses one slot of mean cost. */
static void account_removed(struct ghost *g, uint32_t slot)
{
	struct tick *tick = &g->ticks[slot & (TICKS - 1)];
	uint64_t count = load(tick->count), cost = load(tick->cost);
	if (!count || !take(&tick->count, 1))
		return;
	cost = take(&tick->cost, count == 1 ? UINT64_MAX : cost / count);
	atomic_fetch_sub_explicit(&g->live_count, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&g->live_cost, cost, memory_order_relaxed);
}

static void horizon_advance(struct ghost *g)
{
	uint32_t at = load(g->horizon);
	struct tick *tick = &g->ticks[at & (TICKS - 1)];
	store(g->horizon, at + 1);
	uint64_t count = atomic_exchange_explicit(&tick->count, 0, memory_order_relaxed);
	uint64_t cost = atomic_exchange_explicit(&tick->cost, 0, memory_order_relaxed);
	atomic_fetch_sub_explicit(&g->live_count, count, memory_order_relaxed);
	atomic_fetch_sub_explicit(&g->live_cost, cost, memory_order_relaxed);
}

static void bucket_sweep(struct slots *bucket, uint32_t horizon, uint32_t now)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		uint32_t slot = load(bucket->slot[i]);
		if (slot && !live(slot, horizon, now))
			store(bucket->slot[i], 0);
	}
}

static void table_sweep(struct ghost *g)
{
	uint32_t buckets = load(g->buckets), horizon = load(g->horizon), now = load(g->now);
	uint32_t n = buckets / TICKS_PER_CAPACITY + 1;
	for (uint32_t i = 0; i < n; i++) {
		if (g->sweep >= buckets)
			g->sweep = 0;
		bucket_sweep(&g->table[g->sweep++], horizon, now);
	}
}

static void tick_advance(struct ghost *g)
{
	g->tick_filled -= g->tick_cost;
	store(g->now, load(g->now) + 1);
	while (load(g->now) - load(g->horizon) > SPAN)
		horizon_advance(g);
	table_sweep(g);
}

/* Commits memory for `buckets` buckets in all; false if the budget or the machine has none. */
static bool table_commit(struct ghost *g, uint32_t buckets)
{
	uint64_t have = load(g->committed), need = (uint64_t)buckets * sizeof(struct slots);
	while (have < need) {
		uint64_t step = have < EXTENT_BYTES ? SMALL_STEP : EXTENT_BYTES;
		if (!budget_take(g->budget, step))
			return false;
		if (pages_commit((char *)g->table + have, step, step == EXTENT_BYTES, 0)) {
			budget_give(g->budget, step);
			return false;
		}
		have += step;
		store(g->committed, have);
	}
	return true;
}

/* Splits the next bucket: slots of the upper half go to the new one before the new number is
 * published, and leave the old one after it. */
static bool table_split(struct ghost *g)
{
	uint32_t buckets = load(g->buckets);
	uint32_t round_bits = log2_floor(buckets);
	uint32_t upper = 1u << (TICK_BITS + round_bits - g->first_bits);
	struct slots *old = &g->table[buckets - (1u << round_bits)];
	struct slots *new = &g->table[buckets];

	if (buckets == g->buckets_max || !table_commit(g, buckets + 1))
		return false;
	bucket_sweep(old, load(g->horizon), load(g->now));
	for (unsigned i = 0; i < SLOTS; i++) {
		uint32_t slot = load(old->slot[i]);
		store(new->slot[i], slot & upper ? slot : 0);
	}
	/* Pairs with the acquire of ghost_forget: who sees the number sees the slots. */
	atomic_store_explicit(&g->buckets, buckets + 1, memory_order_release);
	for (unsigned i = 0; i < SLOTS; i++)
		if (load(old->slot[i]) & upper)
			store(old->slot[i], 0);
	return true;
}

/* true if the table can be written to. */
static bool table_grow(struct ghost *g)
{
	uint32_t buckets = load(g->buckets);
	if (g->retry) {
		g->retry--;
		return buckets != 0;
	}
	if (!buckets) {
		if (!table_commit(g, 1u << g->first_bits)) {
			g->retry = RETRY_INSERTS;
			return false;
		}
		atomic_store_explicit(&g->buckets, 1u << g->first_bits, memory_order_release);
		return true;
	}
	if (!g->splitting && buckets < g->buckets_max)
		g->splitting = load(g->live_count) >= (uint64_t)buckets * OBJECTS_PER_BUCKET;
	for (unsigned i = 0; i < SPLITS && g->splitting; i++) {
		if (!table_split(g)) {
			g->retry = RETRY_INSERTS;
			break;
		}
		buckets = load(g->buckets);
		g->splitting = (buckets & (buckets - 1)) != 0;
	}
	return true;
}

/* The slot to write to: the key's own, a free one, else the oldest. */
static unsigned slot_choose(const struct slots *bucket, uint32_t print, uint32_t horizon,
			    uint32_t now)
{
	unsigned best = 0;
	uint32_t best_age = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint32_t slot = load(bucket->slot[i]);
		uint32_t age = live(slot, horizon, now) ? (now - slot) & (TICKS - 1) : TICKS;
		if (age < TICKS && slot >> TICK_BITS == print)
			return i;
		if (age >= best_age) {
			best = i;
			best_age = age;
		}
	}
	return best;
}

void ghost_insert(struct ghost *g, uint64_t hash, uint64_t cost)
{
	if (cost > g->capacity || !table_grow(g))
		return;
	while (g->tick_filled >= g->tick_cost)
		tick_advance(g);
	while (load(g->live_cost) + cost > g->capacity && load(g->horizon) != load(g->now))
		horizon_advance(g);

	uint32_t now = load(g->now), horizon = load(g->horizon);
	uint32_t print = fingerprint(hash);
	struct slots *bucket = bucket_of(g, hash, load(g->buckets));
	unsigned at = slot_choose(bucket, print, horizon, now);
	uint32_t old = atomic_exchange_explicit(
		&bucket->slot[at], print << TICK_BITS | (now & (TICKS - 1)), memory_order_relaxed);
	if (live(old, horizon, now))
		account_removed(g, old);

	struct tick *tick = &g->ticks[now & (TICKS - 1)];
	atomic_fetch_add_explicit(&g->live_cost, cost, memory_order_relaxed);
	atomic_fetch_add_explicit(&g->live_count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&tick->cost, cost, memory_order_relaxed);
	atomic_fetch_add_explicit(&tick->count, 1, memory_order_relaxed);
	g->tick_filled += cost;
}

bool ghost_forget(struct ghost *g, uint64_t hash)
{
	uint32_t buckets = atomic_load_explicit(&g->buckets, memory_order_acquire);
	if (!buckets)
		return false;
	uint32_t print = fingerprint(hash);
	struct slots *bucket = bucket_of(g, hash, buckets);
	for (unsigned i = 0; i < SLOTS; i++) {
		uint32_t slot = load(bucket->slot[i]);
		if (slot >> TICK_BITS != print || !live(slot, load(g->horizon), load(g->now)))
			continue;
		if (!atomic_compare_exchange_strong_explicit(
			    &bucket->slot[i], &slot, 0, memory_order_relaxed, memory_order_relaxed))
			return false;
		account_removed(g, slot);
		return true;
	}
	return false;
}

void ghost_prefetch(const struct ghost *g, uint64_t hash)
{
	uint32_t buckets = atomic_load_explicit(&g->buckets, memory_order_acquire);
	if (buckets)
		__builtin_prefetch(bucket_of(g, hash, buckets), 1);
}

void ghost_resize(struct ghost *g, uint64_t capacity)
{
	g->capacity = capacity;
	g->tick_cost = capacity / TICKS_PER_CAPACITY ? capacity / TICKS_PER_CAPACITY : 1;
	if (g->tick_filled > g->tick_cost)
		g->tick_filled = g->tick_cost;
	while (load(g->live_cost) > capacity && load(g->horizon) != load(g->now))
		horizon_advance(g);
}

int ghost_open(struct ghost **out, struct heap *heap, struct budget *budget, uint64_t capacity,
	       uint64_t objects)
{
	struct ghost *g = heap_zalloc(heap, 1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->ticks = heap_zalloc(heap, TICKS, sizeof(*g->ticks));
	if (!g->ticks)
		goto free_ghost;

	g->buckets_max = 1;
	while (g->buckets_max < BUCKETS_MAX &&
	       (uint64_t)g->buckets_max * OBJECTS_PER_BUCKET < objects)
		g->buckets_max *= 2;
	uint32_t first = g->buckets_max >> GROWTH_BITS;
	if (first < FIRST_MIN)
		first = g->buckets_max < FIRST_MIN ? g->buckets_max : FIRST_MIN;
	g->first_bits = log2_floor(first);
	g->reserved = (uint64_t)g->buckets_max * sizeof(struct slots);
	g->reserved = (g->reserved + EXTENT_BYTES - 1) / EXTENT_BYTES * EXTENT_BYTES;
	g->table = pages_reserve(g->reserved);
	if (!g->table)
		goto free_ticks;
	g->heap = heap;
	g->budget = budget;
	ghost_resize(g, capacity);
	*out = g;
	return 0;

free_ticks:
	heap_free(heap, g->ticks);
free_ghost:
	heap_free(heap, g);
	return -ENOMEM;
}

void ghost_close(struct ghost **ghost)
{
	struct ghost *g = *ghost;
	if (!g)
		return;
	*ghost = NULL;
	budget_give(g->budget, load(g->committed));
	pages_release(g->table, g->reserved);
	heap_free(g->heap, g->ticks);
	heap_free(g->heap, g);
}

uint64_t ghost_bytes(const struct ghost *g)
{
	return load(g->committed) + sizeof(*g) + TICKS * sizeof(*g->ticks);
}

uint64_t ghost_objects(const struct ghost *g)
{
	return load(g->live_count);
}

uint64_t ghost_cost(const struct ghost *g)
{
	return load(g->live_cost);
}
