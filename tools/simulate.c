/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: see simulate.h.
 *
 * Every resident object is a node. It is in one residency queue (small or main; lru, sieve and fifo
 * use main only) and, if it is in DRAM and not in small, in the list of DRAM's main objects, oldest
 * first, from which demotions are chosen. A table of node numbers by key, open addressing, finds
 * them. Numbers of freed nodes are used again; NONE ends lists.
 *
 * The main queue's population by frequency is counted as the engine's migrator would: by walking
 * the nodes a little at every request.
 */
#include "tools/simulate.h"

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define NODES_FIRST 1024u
#define HEAP_BYTES ((size_t)1 << 20) /* of the policy's bookkeeping */
#define CLOCK_EVERY 64u              /* requests */
#define WALK_PER_REQUEST 2u          /* nodes counted for the population */
#define DEMOTE_TRIES 16u             /* objects looked at to make room in DRAM */

struct link {
	uint32_t older, younger;
};

struct list {
	uint32_t oldest, youngest;
	uint64_t cost, count;
};

struct node {
	uint64_t key, size;
	struct link queue; /* residency */
	struct link dram;  /* of main objects in DRAM */
	uint8_t counter;
	uint8_t in;   /* enum policy_queue */
	uint8_t tier; /* enum thermo_tier */
	uint8_t resident;
};

enum which { QUEUE, DRAM };

struct simulate {
	/* const after open */
	struct heap *heap;
	struct budget budget;
	struct policy *policy;
	enum policy_kind kind;
	bool promote_on_walk;
	uint64_t dram, all; /* capacities */

	struct node *nodes;
	uint32_t nodes_used, nodes_max, nodes_free; /* free ones are linked by queue.older */
	uint32_t *table;                            /* of 1 << table_bits */
	unsigned table_bits;

	struct list queue[2]; /* by enum policy_queue */
	struct list dram_main;
	uint32_t hand; /* sieve's */
	uint64_t used[2];

	uint32_t walk, walk_epoch;
	uint64_t population[16];

	struct simulate_stats stats;
	struct simulate_sample history[SIMULATE_HISTORY];
	size_t samples;
	uint64_t sample_gap; /* requests between samples, at least */
};

static uint64_t mix(uint64_t key)
{
	key ^= key >> 30;
	key *= UINT64_C(0xbf58476d1ce4e5b9);
	key ^= key >> 27;
	key *= UINT64_C(0x94d049bb133111eb);
	return key ^ key >> 31;
}

/* ---- Lists --------------------------------------------------------------------------------- */

static struct link *link_of(struct simulate *s, enum which which, uint32_t n)
{
	return which == QUEUE ? &s->nodes[n].queue : &s->nodes[n].dram;
}

static void list_push(struct simulate *s, struct list *list, enum which which, uint32_t n)
{
	struct link *link = link_of(s, which, n);
	link->younger = NONE;
	link->older = list->youngest;
	if (list->youngest != NONE)
		link_of(s, which, list->youngest)->younger = n;
	else
		list->oldest = n;
	list->youngest = n;
	list->cost += s->nodes[n].size;
	list->count++;
}

static void list_remove(struct simulate *s, struct list *list, enum which which, uint32_t n)
{
	struct link *link = link_of(s, which, n);
	if (link->older != NONE)
		link_of(s, which, link->older)->younger = link->younger;
	else
		list->oldest = link->younger;
	if (link->younger != NONE)
		link_of(s, which, link->younger)->older = link->older;
	else
		list->youngest = link->older;
	list->cost -= s->nodes[n].size;
	list->count--;
}

/* ---- Table of keys ------------------------------------------------------------------------- */

static uint32_t table_at(const struct simulate *s, uint64_t key)
{
	return (uint32_t)(mix(key) >> 8) & ((1u << s->table_bits) - 1);
}

static uint32_t table_find(const struct simulate *s, uint64_t key)
{
	uint32_t mask = (1u << s->table_bits) - 1;
	for (uint32_t at = table_at(s, key);; at = (at + 1) & mask) {
		uint32_t n = s->table[at];
		if (n == NONE || s->nodes[n].key == key)
			return n;
	}
}

static void table_insert(struct simulate *s, uint32_t n)
{
	uint32_t mask = (1u << s->table_bits) - 1;
	uint32_t at = table_at(s, s->nodes[n].key);
	while (s->table[at] != NONE)
		at = (at + 1) & mask;
	s->table[at] = n;
}

/* Removes and closes the gap, so that no tombstones are needed. */
static void table_remove(struct simulate *s, uint32_t n)
{
	uint32_t mask = (1u << s->table_bits) - 1;
	uint32_t at = table_at(s, s->nodes[n].key);
	while (s->table[at] != n)
		at = (at + 1) & mask;
	for (uint32_t next = (at + 1) & mask; s->table[next] != NONE; next = (next + 1) & mask) {
		uint32_t home = table_at(s, s->nodes[s->table[next]].key);
		if (((next - home) & mask) < ((next - at) & mask))
			continue;
		s->table[at] = s->table[next];
		at = next;
	}
	s->table[at] = NONE;
}

static int nodes_grow(struct simulate *s, uint32_t most)
{
	struct node *nodes = realloc(s->nodes, (size_t)most * sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	s->nodes = nodes;
	unsigned bits = s->table_bits;
	while ((UINT64_C(1) << bits) < 2 * (uint64_t)most)
		bits++;
	if (bits != s->table_bits) {
		uint32_t *table = malloc(sizeof(*table) << bits);
		if (!table)
			return -ENOMEM;
		memset(table, 0xff, sizeof(*table) << bits);
		free(s->table);
		s->table = table;
		s->table_bits = bits;
		for (uint32_t n = 0; n < s->nodes_used; n++)
			if (s->nodes[n].resident)
				table_insert(s, n);
	}
	s->nodes_max = most;
	return 0;
}

static int node_new(struct simulate *s, uint32_t *out)
{
	if (s->nodes_free != NONE) {
		*out = s->nodes_free;
		s->nodes_free = s->nodes[*out].queue.older;
		return 0;
	}
	if (s->nodes_used == s->nodes_max) {
		if (s->nodes_max > UINT32_MAX / 4)
			return -ENOMEM;
		int rc = nodes_grow(s, s->nodes_max * 2);
		if (rc)
			return rc;
	}
	*out = s->nodes_used++;
	return 0;
}

/* ---- Placement ----------------------------------------------------------------------------- */

static void tier_enter(struct simulate *s, uint32_t n, enum thermo_tier tier)
{
	struct node *node = &s->nodes[n];
	node->tier = (uint8_t)tier;
	s->used[tier] += node->size;
	if (tier == THERMO_HOT && node->in == POLICY_MAIN)
		list_push(s, &s->dram_main, DRAM, n);
}

static void tier_leave(struct simulate *s, uint32_t n)
{
	struct node *node = &s->nodes[n];
	s->used[node->tier] -= node->size;
	if (node->tier == THERMO_HOT && node->in == POLICY_MAIN)
		list_remove(s, &s->dram_main, DRAM, n);
}

static void demote(struct simulate *s, uint32_t n)
{
	tier_leave(s, n);
	tier_enter(s, n, THERMO_WARM);
	s->stats.demoted++;
	s->stats.demoted_bytes += s->nodes[n].size;
}

static uint64_t small_in_dram(const struct simulate *s)
{
	return s->used[THERMO_HOT] - s->dram_main.cost;
}

/* Room in DRAM for one more object, of main or of small: the oldest of DRAM's main objects that
 * placement gives up go to warm. main_cost: the main queue's once the object is in. */
static bool room_make(struct simulate *s, uint64_t size, enum policy_queue queue,
		      uint64_t main_cost)
{
	unsigned tries = DEMOTE_TRIES;
	if (size > s->dram)
		return false;
	uint64_t main_most = s->dram - size; /* of DRAM's main objects so far */
	if (queue == POLICY_MAIN) {
		uint64_t small_hot = policy_small_hot(s->policy, main_cost);
		main_most = main_most > small_hot ? main_most - small_hot : 0;
	}
	while (s->used[THERMO_HOT] + size > s->dram || s->dram_main.cost > main_most) {
		uint32_t n = s->dram_main.oldest;
		if (n == NONE)
			return false;
		struct node *node = &s->nodes[n];
		bool stays = policy_place(s->policy, node->counter, mix(node->key), THERMO_HOT) ==
			     THERMO_HOT;
		if (!stays) {
			demote(s, n);
		} else if (tries) {
			tries--;
			list_remove(s, &s->dram_main, DRAM, n);
			list_push(s, &s->dram_main, DRAM, n);
		} else {
			return false;
		}
	}
	return true;
}

/* A warm object of the main queue goes to DRAM if it has earned it and there is room. */
static void promote_maybe(struct simulate *s, uint32_t n)
{
	struct node *node = &s->nodes[n];
	if (node->tier != THERMO_WARM || node->in != POLICY_MAIN)
		return;
	if (policy_place(s->policy, node->counter, mix(node->key), THERMO_WARM) != THERMO_HOT)
		return;
	if (!room_make(s, node->size, POLICY_MAIN, s->queue[POLICY_MAIN].cost))
		return;
	tier_leave(s, n);
	tier_enter(s, n, THERMO_HOT);
	s->stats.promoted++;
	s->stats.promoted_bytes += node->size;
}

/* ---- Residency ----------------------------------------------------------------------------- */

static void node_drop(struct simulate *s, uint32_t n)
{
	struct node *node = &s->nodes[n];
	if (s->hand == n)
		s->hand = node->queue.younger;
	tier_leave(s, n);
	list_remove(s, &s->queue[node->in], QUEUE, n);
	table_remove(s, n);
	node->resident = 0;
	node->queue.older = s->nodes_free;
	s->nodes_free = n;
	s->stats.objects--;
}

static void node_evict(struct simulate *s, uint32_t n)
{
	struct node *node = &s->nodes[n];
	policy_evicted(s->policy, node->in, mix(node->key), node->size);
	node_drop(s, n);
	s->stats.evicted++;
}

/* From small to the young end of main. */
static void node_graduate(struct simulate *s, uint32_t n, uint8_t counter)
{
	struct node *node = &s->nodes[n];
	enum thermo_tier tier = node->tier;
	tier_leave(s, n);
	list_remove(s, &s->queue[POLICY_SMALL], QUEUE, n);
	node->in = POLICY_MAIN;
	node->counter = counter;
	list_push(s, &s->queue[POLICY_MAIN], QUEUE, n);
	tier_enter(s, n, tier);
	if (tier == THERMO_HOT &&
	    policy_place(s->policy, counter, mix(node->key), THERMO_HOT) == THERMO_WARM)
		demote(s, n);
}

/* One step of S3-FIFO: an object is evicted, or goes (back) to main. */
static void s3fifo_step(struct simulate *s)
{
	bool from_main = s->queue[POLICY_MAIN].cost > policy_main_target(s->policy) ||
			 s->queue[POLICY_SMALL].oldest == NONE;
	enum policy_queue in = from_main ? POLICY_MAIN : POLICY_SMALL;
	uint32_t n = s->queue[in].oldest;
	struct node *node = &s->nodes[n];
	uint8_t next;
	if (policy_scan(s->policy, in, node->counter, &next) == POLICY_EVICT) {
		node_evict(s, n);
	} else if (in == POLICY_SMALL) {
		node_graduate(s, n, next);
	} else {
		node->counter = next;
		list_remove(s, &s->queue[in], QUEUE, n);
		list_push(s, &s->queue[in], QUEUE, n);
	}
}

/* SIEVE (Zhang et al., NSDI 2024): the hand moves from old to young and over the youngest back to
 * the oldest; used objects are spared, and stay where they are. */
static void sieve_evict(struct simulate *s)
{
	struct list *queue = &s->queue[POLICY_MAIN];
	uint32_t n = s->hand;
	for (;; n = s->nodes[n].queue.younger) {
		if (n == NONE)
			n = queue->oldest;
		uint8_t counter = s->nodes[n].counter;
		if (!policy_reuse(counter))
			break;
		s->nodes[n].counter = counter & (uint8_t)~POLICY_REUSE_MASK;
	}
	s->hand = n;
	node_evict(s, n);
}

static void room_evict(struct simulate *s, uint64_t size)
{
	while (s->used[THERMO_HOT] + s->used[THERMO_WARM] + size > s->all) {
		if (s->kind == POLICY_S3FIFO)
			s3fifo_step(s);
		else if (s->kind == POLICY_SIEVE)
			sieve_evict(s);
		else
			node_evict(s, s->queue[POLICY_MAIN].oldest);
	}
}

static int node_admit(struct simulate *s, uint64_t key, uint64_t size)
{
	uint64_t most = s->kind == POLICY_S3FIFO ? policy_small_target(s->policy) : s->all;
	enum policy_queue in = policy_admit(s->policy, mix(key), size);
	uint32_t n;
	if (size > most) {
		s->stats.refused++;
		return 0;
	}
	int rc = node_new(s, &n);
	if (rc)
		return rc;
	room_evict(s, size);

	struct node *node = &s->nodes[n];
	*node = (struct node){.key = key, .size = size, .in = (uint8_t)in, .resident = 1};
	node->counter = policy_fresh(s->policy);
	table_insert(s, n);
	list_push(s, &s->queue[in], QUEUE, n);
	/* A new object is not a move, wherever it goes: main takes DRAM that lies idle. */
	uint64_t main_cost = s->queue[POLICY_MAIN].cost;
	uint64_t small_hot = policy_small_hot(s->policy, main_cost);
	bool hot;
	if (in == POLICY_SMALL)
		hot = small_in_dram(s) + size <= small_hot && room_make(s, size, in, main_cost);
	else
		hot = s->used[THERMO_HOT] + size <= s->dram &&
		      s->dram_main.cost + size <= s->dram - small_hot;
	tier_enter(s, n, hot ? THERMO_HOT : THERMO_WARM);
	s->stats.objects++;
	return 0;
}

/* ---- Requests ------------------------------------------------------------------------------ */

static void walk(struct simulate *s)
{
	uint32_t epoch = policy_epoch(s->policy);
	if (epoch != s->walk_epoch) { /* what was counted is of another age */
		s->walk_epoch = epoch;
		s->walk = 0;
		memset(s->population, 0, sizeof(s->population));
	}
	for (unsigned i = 0; i < WALK_PER_REQUEST; i++) {
		if (s->walk >= s->nodes_used) {
			if (s->nodes_used)
				policy_population(s->policy, s->population);
			s->walk = 0;
			memset(s->population, 0, sizeof(s->population));
			return;
		}
		struct node *node = &s->nodes[s->walk++];
		if (!node->resident)
			continue;
		node->counter = policy_decayed(node->counter, epoch);
		if (node->in == POLICY_MAIN)
			s->population[policy_frequency(node->counter, epoch)] += node->size;
		if (s->promote_on_walk)
			promote_maybe(s, s->walk - 1);
	}
}

static void sample(struct simulate *s)
{
	uint32_t threshold = atomic_load_explicit(&s->policy->threshold, memory_order_relaxed);
	struct simulate_sample *last = s->samples ? &s->history[s->samples - 1] : NULL;
	if (last &&
	    (last->threshold == threshold || s->stats.requests - last->request < s->sample_gap))
		return;
	if (s->samples == SIMULATE_HISTORY) {
		for (size_t i = 0; i < SIMULATE_HISTORY / 2; i++)
			s->history[i] = s->history[2 * i];
		s->samples = SIMULATE_HISTORY / 2;
		s->sample_gap *= 2;
	}
	s->history[s->samples++] = (struct simulate_sample){
		.request = s->stats.requests,
		.epoch = policy_epoch(s->policy),
		.threshold = threshold,
	};
}

int simulate_request(struct simulate *s, uint64_t key, uint64_t size)
{
	int tier = THERMO_COLD;
	uint32_t n = table_find(s, key);
	if (!size)
		size = 1;
	if (n != NONE) {
		struct node *node = &s->nodes[n];
		tier = node->tier;
		s->stats.hits[tier]++;
		node->counter = policy_touched(node->counter, policy_epoch(s->policy));
		if (s->kind == POLICY_LRU) {
			list_remove(s, &s->queue[POLICY_MAIN], QUEUE, n);
			list_push(s, &s->queue[POLICY_MAIN], QUEUE, n);
		}
		if (!s->promote_on_walk)
			promote_maybe(s, n);
	} else {
		s->stats.misses++;
		int rc = node_admit(s, key, size);
		if (rc)
			return rc;
	}
	if (++s->stats.requests % CLOCK_EVERY == 0) {
		policy_clock(s->policy, s->stats.hits[0] + s->stats.hits[1], s->stats.objects);
		sample(s);
	}
	walk(s);
	return tier;
}

int simulate_delete(struct simulate *s, uint64_t key)
{
	uint32_t n = table_find(s, key);
	if (n == NONE)
		return THERMO_MISS;
	node_drop(s, n);
	return THERMO_OK;
}

void simulate_stats(const struct simulate *s, struct simulate_stats *stats)
{
	*stats = s->stats;
	stats->used[THERMO_HOT] = s->used[THERMO_HOT];
	stats->used[THERMO_WARM] = s->used[THERMO_WARM];
	stats->epochs = policy_epoch(s->policy);
	stats->ghost_bytes = policy_ghost_bytes(s->policy);
	stats->ghost_objects = policy_ghost_objects(s->policy);
	stats->threshold = policy_threshold(s->policy);
}

const struct simulate_sample *simulate_history(const struct simulate *s, size_t *n)
{
	*n = s->samples;
	return s->history;
}

int simulate_open(const struct simulate_options *options, struct simulate **simulate)
{
	struct simulate *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;
	if (!s)
		return rc;
	budget_init(&s->budget, UINT64_MAX);
	s->kind = options->kind;
	s->promote_on_walk = options->promote_on_walk;
	s->dram = options->dram;
	s->all = options->dram + options->warm;
	s->nodes_free = s->hand = NONE;
	s->queue[0].oldest = s->queue[0].youngest = NONE;
	s->queue[1] = s->dram_main = s->queue[0];
	s->sample_gap = 1;
	rc = heap_open("libc", NULL, HEAP_BYTES, &s->budget, &s->heap, NULL);
	if (rc)
		goto free_simulate;

	struct policy_options policy = {
		.kind = options->kind,
		.hot = options->dram,
		.warm = options->warm,
		.ghost_objects = options->objects ? options->objects : s->all,
		.small_permille = options->small_permille,
		.decay_percent = options->decay_percent,
		.heap = s->heap,
		.budget = &s->budget,
	};
	rc = policy_open(&s->policy, &policy);
	if (rc)
		goto close_heap;
	rc = nodes_grow(s, NODES_FIRST);
	if (rc)
		goto close_policy;
	*simulate = s;
	return 0;

close_policy:
	free(s->nodes);
	policy_close(&s->policy);
close_heap:
	heap_close(&s->heap);
free_simulate:
	free(s);
	return rc;
}

void simulate_close(struct simulate **simulate)
{
	struct simulate *s = *simulate;
	if (!s)
		return;
	*simulate = NULL;
	policy_close(&s->policy);
	heap_close(&s->heap);
	free(s->table);
	free(s->nodes);
	free(s);
}
