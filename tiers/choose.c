/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which segment is reclaimed next, and how; where new records are aimed at.
 *
 * Residency: when both memory tiers are full, the oldest segment of the small FIFO (if that is
 * over its share) or of the main FIFO is scanned, whichever tier it lies in. Placement: when only
 * DRAM is full, its oldest main segment is scanned and what is not used often moves to warm.
 */
#include "tiers/durable.h"
#include "tiers/migrate.h"

#define PLACE_IN_VAIN (UINT64_C(8) << 20) /* bytes of segments, before the next count of heat */

/* ---- Levels, under lock ---- */

static uint32_t segments_target(const struct pool *pool)
{
	return pool->extents_target * pool->per_extent;
}

uint32_t choose_level_low(const struct thermo *c, unsigned tier)
{
	return c->reserve[tier] + cache_margin(c, tier);
}

uint32_t choose_free_or_limbo(const struct pool *pool)
{
	uint32_t n = pool->free.count;
	for (const struct segment *s = pool->limbo.head; s; s = s->next)
		n += atomic_load_explicit(&s->pins, memory_order_relaxed) == 0;
	return n;
}

static uint32_t free_soon(const struct thermo *c, unsigned tier)
{
	return choose_free_or_limbo(&c->pool[tier]) + c->reclaim->coming[tier];
}

static bool warm_has_room(const struct thermo *c)
{
	return c->pool[THERMO_WARM].extents_target &&
	       free_soon(c, THERMO_WARM) >= choose_level_low(c, THERMO_WARM);
}

/* ---- Which segment, under lock ---- */

static uint64_t share_most(const struct thermo *c, const struct thermo_space *space, unsigned tier)
{
	uint64_t most = (uint64_t)segments_target(&c->pool[tier]) *
			space->options.max_percent[tier] / 100;
	return space->options.max_percent[tier] >= 100 ? UINT64_MAX : most ? most : 1;
}

static bool over_share(const struct thermo *c, const struct thermo_space *space, unsigned tier)
{
	return space->segments[tier] > share_most(c, space, tier);
}

void migrate_share(const struct thermo *c, struct thermo_space *space, unsigned tier)
{
	atomic_store_explicit(&space->full[tier],
			      space->segments[tier] >= share_most(c, space, tier),
			      memory_order_relaxed);
}

static bool protected_share(const struct thermo *c, const struct segment *s)
{
	const struct thermo_space *space = &c->space[s->space];
	uint64_t all = segments_target(&c->pool[s->tier]);
	return space->segments[s->tier] <= all * space->options.min_percent[s->tier] / 100;
}

static struct segment *oldest(const struct thermo *c, unsigned tier, unsigned queue)
{
	struct segment *s = c->queue[tier][queue].head;
	for (; s; s = s->next) /* the first one, but for spaces with a least share */
		if (!protected_share(c, s) && epoch_passed(s->sealed_epoch))
			return s;
	return NULL;
}

static struct segment *older(struct segment *a, struct segment *b)
{
	if (!a || !b)
		return a ? a : b;
	return a->born <= b->born ? a : b;
}

uint64_t choose_queue_bytes(const struct thermo *c, unsigned tier, unsigned queue)
{
	return (uint64_t)c->queue[tier][queue].count << c->pool[tier].segment_shift;
}

/* Seals lanes and outputs that lie in extents which are to go. */
static void seal_closing(struct thermo *c, unsigned tier)
{
	for (unsigned id = 1; id <= atomic_load(&c->space_high); id++) {
		struct thermo_space *space = &c->space[id];
		if (atomic_load(&space->state) == SPACE_NONE)
			continue;
		for (unsigned o = 0; o < OUTS; o++) {
			struct segment *s = space->out[tier][o];
			if (s && pool_closing(&c->pool[tier], s)) {
				space->out[tier][o] = NULL;
				segment_seal(c, s);
			}
		}
		struct lane *lanes = &space->lane[tier][0][0][0];
		for (unsigned i = 0; i < LANES_ALL / MEMORY_TIERS; i++) {
			struct segment *s = atomic_load(&lanes[i].open);
			if (s && pool_closing(&c->pool[tier], s)) {
				atomic_store(&lanes[i].open, NULL);
				segment_seal(c, s);
			}
		}
	}
}

static bool pinned(const struct segment *s, uint64_t upto)
{
	return atomic_load_explicit(&s->log_file, memory_order_relaxed) <= upto;
}

/* Seals lanes and outputs that need one of these log files; pinned: one is left that is not being emptied. */
static bool seal_pinned(struct thermo *c, uint64_t upto)
{
	bool any = false;
	for (unsigned id = 1; id <= atomic_load(&c->space_high); id++) {
		struct thermo_space *space = &c->space[id];
		if (atomic_load(&space->state) == SPACE_NONE || !space->durable)
			continue;
		struct segment **out = &space->out[0][0];
		for (unsigned i = 0; i < MEMORY_TIERS * OUTS; i++)
			if (out[i] && pinned(out[i], upto)) {
				segment_seal(c, out[i]);
				out[i] = NULL;
				any = true;
			}
		struct lane *lanes = &space->lane[0][0][0][0];
		for (unsigned i = 0; i < LANES_ALL; i++) {
			struct segment *s = atomic_load(&lanes[i].open);
			if (!s || !pinned(s, upto))
				continue;
			atomic_store(&lanes[i].open, NULL);
			segment_seal(c, s);
			any = true;
		}
	}
	return any;
}

struct segment *choose_pinned(struct thermo *c, enum reclaim_mode *mode, uint64_t upto, bool *left)
{
	*left = seal_pinned(c, upto);
	*mode = RECLAIM_FLUSH;
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		for (unsigned queue = 0; queue < QUEUES; queue++)
			for (struct segment *s = c->queue[tier][queue].head; s; s = s->next) {
				if (!pinned(s, upto))
					continue;
				*left = true;
				if (epoch_passed(s->sealed_epoch))
					return s;
			}
	return NULL;
}

static struct segment *choose_closing(struct thermo *c, enum reclaim_mode *mode)
{
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++) {
		struct pool *pool = &c->pool[tier];
		if (pool->extents_present <= pool->extents_target)
			continue;
		seal_closing(c, tier);
		*mode = pool->free.count > c->reserve[tier] ? RECLAIM_RELOCATE : RECLAIM_EVICT;
		for (unsigned queue = 0; queue < QUEUES; queue++)
			for (struct segment *s = c->queue[tier][queue].head; s; s = s->next)
				if (pool_closing(pool, s) && epoch_passed(s->sealed_epoch))
					return s;
	}
	return NULL;
}

/* Over its share of DRAM, a space moves on to warm if there is room for it. */
static struct segment *choose_over_share(struct thermo *c, enum reclaim_mode *mode)
{
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		for (unsigned id = 1; id <= atomic_load(&c->space_high); id++) {
			struct thermo_space *space = &c->space[id];
			if (atomic_load(&space->state) == SPACE_NONE || !over_share(c, space, tier))
				continue;
			bool moves = tier == THERMO_HOT && warm_has_room(c) &&
				     !atomic_load(&space->full[THERMO_WARM]);
			*mode = moves ? RECLAIM_DEMOTE : RECLAIM_EVICT;
			for (unsigned queue = 0; queue < QUEUES; queue++)
				for (struct segment *s = c->queue[tier][queue].head; s; s = s->next)
					if (s->space == id && epoch_passed(s->sealed_epoch))
						return s;
		}
	return NULL;
}

/* Segments in which everything has expired, looked for now and then. */
static struct segment *choose_expired(struct thermo *c, enum reclaim_mode *mode)
{
	uint64_t now = monotonic_ns();
	if (now - c->reclaim->expiry_checked_ns < UINT64_C(200000000))
		return NULL;
	*mode = RECLAIM_EVICT;
	uint64_t wall = cache_now_ms(c);
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		for (unsigned queue = 0; queue < QUEUES; queue++)
			for (struct segment *s = c->queue[tier][queue].head; s; s = s->next)
				if (atomic_load(&s->expires_max) <= wall &&
				    epoch_passed(s->sealed_epoch))
					return s;
	c->reclaim->expiry_checked_ns = now;
	return NULL;
}

static struct segment *choose_eviction(struct thermo *c, enum reclaim_mode *mode)
{
	struct segment *small =
		older(oldest(c, THERMO_HOT, POLICY_SMALL), oldest(c, THERMO_WARM, POLICY_SMALL));
	struct segment *main =
		older(oldest(c, THERMO_HOT, POLICY_MAIN), oldest(c, THERMO_WARM, POLICY_MAIN));
	uint64_t bytes = choose_queue_bytes(c, THERMO_HOT, POLICY_MAIN) +
			 choose_queue_bytes(c, THERMO_WARM, POLICY_MAIN);
	*mode = RECLAIM_EVICT;
	if (main && (!small || bytes > policy_main_target(c->policy)))
		return main;
	return small;
}

/* As the simulator does: small has its share of DRAM, and there is made room for it; main, and what small
 * has beyond its share, take what lies idle; the rest is warm. Where the tier that is aimed at has no
 * room, writers take the other one. */
void migrate_aim(struct thermo *c)
{
	uint8_t small = THERMO_HOT, main = THERMO_HOT;
	if (c->pool[THERMO_WARM].extents_target) {
		uint64_t hot_main = choose_queue_bytes(c, THERMO_HOT, POLICY_MAIN);
		uint64_t hot_small = choose_queue_bytes(c, THERMO_HOT, POLICY_SMALL);
		uint64_t small_hot = policy_small_hot(
			c->policy, hot_main + choose_queue_bytes(c, THERMO_WARM, POLICY_MAIN));
		uint64_t hot = (uint64_t)segments_target(&c->pool[THERMO_HOT])
			       << c->pool[THERMO_HOT].segment_shift;
		bool idle = choose_free_or_limbo(&c->pool[THERMO_HOT]) > choose_level_low(c, THERMO_HOT);
		if (hot_small >= policy_small_target(c->policy) &&
		    (!idle || hot_small >= small_hot))
			small = THERMO_WARM;
		if (!idle || hot_main + small_hot >= hot)
			main = THERMO_WARM;
	}
	atomic_store_explicit(&c->aim[POLICY_SMALL], small, memory_order_relaxed);
	atomic_store_explicit(&c->aim[POLICY_MAIN], main, memory_order_relaxed);
}

/* The next segment of DRAM to look through for what has not earned its place: of small if it has more than
 * its share, else of main; round and round, since what stays keeps its birth. */
static struct segment *choose_placement(struct thermo *c)
{
	struct reclaim *r = c->reclaim;
	struct segment *first = NULL;
	if (r->futile >= PLACE_IN_VAIN || !policy_threshold(c->policy))
		return NULL;
	unsigned queue = choose_queue_bytes(c, THERMO_HOT, POLICY_SMALL) > policy_small_target(c->policy)
				 ? POLICY_SMALL
				 : POLICY_MAIN;
	for (struct segment *s = c->queue[THERMO_HOT][queue].head; s; s = s->next) {
		if (protected_share(c, s) || !epoch_passed(s->sealed_epoch))
			continue;
		if (s->born > r->placed[queue]) {
			r->placed[queue] = s->born;
			return s;
		}
		first = first ? first : s;
	}
	r->placed[queue] = first ? first->born : 0;
	return first;
}

/* A hint is worth more than what has been in DRAM the longest. */
static struct segment *choose_demotion(struct thermo *c)
{
	struct segment *small = oldest(c, THERMO_HOT, POLICY_SMALL);
	struct segment *main = oldest(c, THERMO_HOT, POLICY_MAIN);
	if (small && main)
		return choose_queue_bytes(c, THERMO_HOT, POLICY_SMALL) > policy_small_target(c->policy)
			       ? small
			       : main;
	return small ? small : main;
}

/* When the tiers together are short of room, something is evicted. When only DRAM is, and somebody wants it,
 * something of it moves to warm. */
static struct segment *choose_room(struct thermo *c, enum reclaim_mode *mode)
{
	uint64_t soon = 0, need = c->cold ? c->reclaim->writer_bytes : 0;
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++) {
		if (!c->pool[tier].extents_target)
			continue;
		soon += (uint64_t)free_soon(c, tier) << c->pool[tier].segment_shift;
		need += (uint64_t)choose_level_low(c, tier) << c->pool[tier].segment_shift;
	}
	migrate_aim(c);
	if (soon <= need)
		return choose_eviction(c, mode);
	if (free_soon(c, THERMO_HOT) >= choose_level_low(c, THERMO_HOT)) {
		atomic_store(&c->dram_wanted, WANTED_NOT);
		return NULL;
	}
	unsigned wanted = atomic_load(&c->dram_wanted);
	if (choose_queue_bytes(c, THERMO_HOT, POLICY_SMALL) < policy_small_target(c->policy) && !wanted)
		wanted = WANTED_FOR_USE;
	if (!wanted || !warm_has_room(c))
		return NULL;
	*mode = RECLAIM_PLACE;
	struct segment *s = choose_placement(c);
	if (!s && wanted == WANTED_FOR_HINT) {
		*mode = RECLAIM_DEMOTE;
		s = choose_demotion(c);
	}
	return s;
}

struct segment *choose_segment(struct thermo *c, enum reclaim_mode *mode)
{
	struct segment *s = choose_closing(c, mode);
	if (!s)
		s = choose_over_share(c, mode);
	if (!s)
		s = choose_room(c, mode);
	return s ? s : choose_expired(c, mode);
}
