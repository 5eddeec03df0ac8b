/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When what moves: which segment is reclaimed next and how, promotion, the sweep that measures how
 * often records are used, and the background threads.
 *
 * Residency: when both memory tiers are full, the oldest segment of the small FIFO (if that is
 * over its share) or of the main FIFO is scanned, whichever tier it lies in. Placement: when only
 * DRAM is full, its oldest main segment is scanned and what is not used often moves to warm.
 * Runs are written in batches: scanning begins while room is left (`high`), a run is published when it is
 * big enough or when free segments get few (`low`).
 */
#include "tiers/durable.h"
#include "tiers/reclaim.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#define SLICE_RECORDS 512
#define HELP_RECORDS 64      /* of a slice, for who finds no room ... */
#define HELP_NS (MS / 4)     /* ... and how long he goes on with them */
#define SAMPLE_BUCKETS 1024
#define PLACE_IN_VAIN (UINT64_C(8) << 20) /* bytes of segments, before the next count of heat */
#define MS UINT64_C(1000000)

/* Somebody found no room in DRAM. */
enum { WANTED_NOT, WANTED_FOR_USE, WANTED_FOR_HINT };

static bool epoch_is_passed(uint64_t epoch)
{
	return epoch_passed(epoch);
}

/* ---- Levels, under lock ---- */

static uint32_t segments_target(const struct pool *pool)
{
	return pool->extents_target * pool->per_extent;
}

static uint32_t level_low(const struct thermo *c, unsigned tier)
{
	return c->reserve[tier] + cache_margin(c, tier);
}

/* Free, or free when readers have moved on; what refs hold in limbo may stay for long and does not count. */
static uint32_t free_or_limbo(const struct pool *pool)
{
	uint32_t n = pool->free.count;
	for (const struct segment *s = pool->limbo.head; s; s = s->next)
		n += atomic_load_explicit(&s->pins, memory_order_relaxed) == 0;
	return n;
}

static uint32_t free_soon(const struct thermo *c, unsigned tier)
{
	return free_or_limbo(&c->pool[tier]) + c->reclaim->coming[tier];
}

static bool warm_has_room(const struct thermo *c)
{
	return c->pool[THERMO_WARM].extents_target &&
	       free_soon(c, THERMO_WARM) >= level_low(c, THERMO_WARM);
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

static uint64_t queue_bytes(const struct thermo *c, unsigned tier, unsigned queue)
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

/* The log is to lose its oldest files: a segment that needs one of them. *left: there is one. */
static struct segment *choose_pinned(struct thermo *c, enum reclaim_mode *mode, uint64_t upto, bool *left)
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
	if (now - c->reclaim->expiry_checked_ns < 200 * MS)
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
	uint64_t bytes = queue_bytes(c, THERMO_HOT, POLICY_MAIN) +
			 queue_bytes(c, THERMO_WARM, POLICY_MAIN);
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
		uint64_t hot_main = queue_bytes(c, THERMO_HOT, POLICY_MAIN);
		uint64_t hot_small = queue_bytes(c, THERMO_HOT, POLICY_SMALL);
		uint64_t small_hot = policy_small_hot(
			c->policy, hot_main + queue_bytes(c, THERMO_WARM, POLICY_MAIN));
		uint64_t hot = (uint64_t)segments_target(&c->pool[THERMO_HOT])
			       << c->pool[THERMO_HOT].segment_shift;
		bool idle = free_or_limbo(&c->pool[THERMO_HOT]) > level_low(c, THERMO_HOT);
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
	unsigned queue = queue_bytes(c, THERMO_HOT, POLICY_SMALL) > policy_small_target(c->policy)
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
		return queue_bytes(c, THERMO_HOT, POLICY_SMALL) > policy_small_target(c->policy)
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
		need += (uint64_t)level_low(c, tier) << c->pool[tier].segment_shift;
	}
	migrate_aim(c);
	if (soon <= need)
		return choose_eviction(c, mode);
	if (free_soon(c, THERMO_HOT) >= level_low(c, THERMO_HOT)) {
		atomic_store(&c->dram_wanted, WANTED_NOT);
		return NULL;
	}
	unsigned wanted = atomic_load(&c->dram_wanted);
	if (queue_bytes(c, THERMO_HOT, POLICY_SMALL) < policy_small_target(c->policy) && !wanted)
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

static bool cold_refuses(const struct thermo *c)
{
	return atomic_load(&c->cold_failed) && monotonic_ns() < c->reclaim->cold_retry;
}

static bool begin_next(struct thermo *c)
{
	enum reclaim_mode mode = RECLAIM_EVICT;
	uint64_t upto;
	bool left, wants = durable_wants(c, &upto) && !cold_refuses(c);
	pthread_mutex_lock(&c->lock);
	struct segment *s = wants ? choose_pinned(c, &mode, upto, &left) : NULL;
	if (!s)
		s = choose_closing(c, &mode);
	if (!s)
		s = choose_over_share(c, &mode);
	if (!s)
		s = choose_room(c, &mode);
	if (!s)
		s = choose_expired(c, &mode);
	pthread_mutex_unlock(&c->lock);
	if (s)
		reclaim_begin(c, s, mode);
	return s != NULL;
}

static bool free_limbo(struct thermo *c)
{
	uint32_t freed = 0;
	pthread_mutex_lock(&c->lock);
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		if (c->pool[tier].limbo.count)
			freed += pool_reclaim_limbo(&c->pool[tier], epoch_is_passed);
	if (freed)
		pthread_cond_broadcast(&c->room);
	pthread_mutex_unlock(&c->lock);
	return freed != 0;
}

/* The run in the making has no room for another segment's records. */
static bool writer_full(const struct thermo *c)
{
	const struct reclaim *r = c->reclaim;
	return r->writer && (r->writer_full || cold_writer_bytes(r->writer) +
				    c->pool[THERMO_HOT].segment_bytes > r->writer_bytes);
}

/* Is a run to be published now: it is full, or segments wait for it and there are few others? */
static bool publish_due(struct thermo *c)
{
	struct reclaim *r = c->reclaim;
	if (!r->writer || r->publishing || r->victim)
		return false;
	if (writer_full(c))
		return true;
	bool due = false;
	uint64_t upto;
	bool wants = durable_wants(c, &upto), left;
	pthread_mutex_lock(&c->lock);
	if (wants) { /* the log waits for this run, once all that it needs is in it */
		enum reclaim_mode mode;
		due = !choose_pinned(c, &mode, upto, &left) && !left;
	}
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++) {
		const struct pool *pool = &c->pool[tier];
		if (r->coming[tier] && (pool->extents_present > pool->extents_target ||
					free_or_limbo(pool) < level_low(c, tier)))
			due = true;
	}
	pthread_mutex_unlock(&c->lock);
	return due;
}

/* One slice, under migrate_lock. true: something was done. */
static bool slice(struct thermo *c, unsigned records, bool may_publish)
{
	struct reclaim *r = c->reclaim;
	bool did = free_limbo(c);
	if (r->victim) {
		reclaim_continue(c, records);
		free_limbo(c);
		return true;
	}
	if (publish_due(c)) {
		if (!may_publish)
			return did;
		return reclaim_publish(c) == THERMO_OK || did;
	}
	if (r->publishing && writer_full(c))
		return did; /* one run on its way and the next one full: wait */
	return begin_next(c) || did;
}

/* ---- Heat ---- */

struct sweep {
	struct thermo *cache;
	uint64_t *population;
};

static void sweep_visit(void *context, struct bucket *bucket, unsigned slot, uint64_t place)
{
	struct sweep *sweep = context;
	unsigned epoch =
		atomic_load_explicit(&sweep->cache->heat_epoch, memory_order_relaxed);
	uint8_t old = atomic_load_explicit(&bucket->counter[slot], memory_order_relaxed);
	uint8_t now = policy_decayed(old, epoch);
	if (now != old) /* visited at least once in an epoch, so that two bits of epoch suffice */
		atomic_store_explicit(&bucket->counter[slot], now, memory_order_relaxed);
	(void)place;
	sweep->population[policy_frequency(now, epoch)]++;
}

/* Hits on hot and warm records, since open. */
static uint64_t accesses(struct thermo *c)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];
		n += atomic_load_explicit(&s->hits[0], memory_order_relaxed) +
		     atomic_load_explicit(&s->hits[1], memory_order_relaxed);
	}
	return n;
}

/* Mean bytes of a record in memory. */
static uint64_t mean_bytes(struct thermo *c)
{
	uint64_t bytes = 0, records = index_records(c->index);
	pthread_mutex_lock(&c->lock);
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		for (unsigned queue = 0; queue < QUEUES; queue++)
			bytes += queue_bytes(c, tier, queue);
	pthread_mutex_unlock(&c->lock);
	return records && bytes ? bytes / records + 1 : 64;
}

/* What was counted, scaled up to all records, makes the placement threshold. */
static void report_population(struct thermo *c)
{
	struct reclaim *r = c->reclaim;
	uint64_t seen = 0;
	for (unsigned i = 0; i < 16; i++)
		seen += r->population[i];
	double bytes = (double)mean_bytes(c) * (double)index_records(c->index);
	for (unsigned i = 0; i < 16 && seen; i++)
		r->population[i] = (uint64_t)((double)r->population[i] / (double)seen * bytes);
	policy_population(c->policy, r->population);
	r->futile = 0;
}

static void count_anew(struct reclaim *r)
{
	memset(r->population, 0, sizeof(r->population));
	r->counted = 0;
}

/* Looks at the counters of part of the index, as much as there was traffic. The index is in the order of
 * hashes, so every eighth of it is a fair sample. */
static void sweep(struct thermo *c, bool idle)
{
	struct reclaim *r = c->reclaim;
	uint64_t now = accesses(c), fresh = now - r->accesses_last;
	uint64_t buckets = index_buckets(c->index);
	uint64_t sample = buckets / 8 > SAMPLE_BUCKETS ? buckets / 8 : SAMPLE_BUCKETS;
	uint64_t most = idle ? 65536 : 8192;
	if (!fresh && policy_threshold(c->policy))
		return;
	if (!fresh) /* DRAM may have filled up without a hit */
		fresh = index_records(c->index) / 8;
	if (!fresh)
		return;
	r->accesses_last = now;
	policy_clock(c->policy, now, index_records(c->index));
	if (policy_epoch(c->policy) !=
	    atomic_load_explicit(&c->heat_epoch, memory_order_relaxed)) {
		cache_heat(c);
		count_anew(r); /* a sample is of one epoch */
	}
	struct sweep context = {c, r->population};
	for (uint64_t n = fresh + 16 < most ? fresh + 16 : most; n; n -= n < 64 ? n : 64) {
		epoch_enter();
		index_sweep(c->index, &r->sweep_cursor, n < 64 ? (unsigned)n : 64, sweep_visit,
			    &context);
		epoch_exit();
		r->counted += n < 64 ? n : 64;
		if (r->counted >= sample) {
			report_population(c);
			count_anew(r);
		}
	}
}

void migrate_candidate(struct candidates *to, uint64_t hash)
{
	uint32_t head = atomic_load_explicit(&to->head, memory_order_relaxed);
	atomic_store_explicit(&to->hash[head % RING], hash, memory_order_relaxed);
	atomic_store_explicit(&to->head, head + 1, memory_order_relaxed); /* lossy */
}

uint32_t migrate_hints_waiting(const struct thermo *c)
{
	return atomic_load_explicit(&c->hinted.head, memory_order_relaxed) -
	       atomic_load_explicit(&c->hinted.tail, memory_order_relaxed);
}

static bool move_allowed(struct thermo *c, uint64_t bytes)
{
	struct reclaim *r = c->reclaim;
	uint64_t rate = c->options.move_bytes_per_s;
	if (!rate)
		return true;
	uint64_t now = monotonic_ns();
	uint64_t most = rate / 4 + bytes;
	r->move_tokens += (uint64_t)((double)(now - r->move_filled_ns) * 1e-9 * (double)rate);
	r->move_filled_ns = now;
	if (r->move_tokens > most)
		r->move_tokens = most;
	if (r->move_tokens < bytes)
		return false;
	r->move_tokens -= bytes;
	return true;
}

/* For new records, under lock. */
static bool has_room(const struct thermo *c, unsigned tier)
{
	return c->pool[tier].free.count > c->reserve[tier];
}

/* true: nobody wanted that much yet. */
static bool want_dram(struct thermo *c, uint32_t what_for)
{
	bool more = atomic_load_explicit(&c->dram_wanted, memory_order_relaxed) < what_for;
	if (more)
		atomic_store_explicit(&c->dram_wanted, what_for, memory_order_relaxed);
	return more;
}

static bool dram_has_room(struct thermo *c)
{
	pthread_mutex_lock(&c->lock);
	bool room = has_room(c, THERMO_HOT);
	pthread_mutex_unlock(&c->lock);
	return room;
}

/* As far as there is room and budget. */
static bool promote_candidates(struct thermo *c, struct candidates *from, bool hinted)
{
	uint32_t head = atomic_load_explicit(&from->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&from->tail, memory_order_relaxed);
	bool did = false;
	if (head - tail > RING)
		tail = head - RING;
	uint64_t mean = tail != head ? mean_bytes(c) : 0;
	for (unsigned n = 0; tail != head && n < 256; n++) {
		if (!dram_has_room(c)) {
			/* Worth another round; if that finds nothing to move, it is not worth the next. */
			did |= want_dram(c, hinted ? WANTED_FOR_HINT : WANTED_FOR_USE) && hinted;
			break;
		}
		if (!move_allowed(c, mean))
			break;
		uint64_t hash = atomic_exchange_explicit(&from->hash[tail++ % RING], 0,
							 memory_order_relaxed);
		if (hash)
			reclaim_promote(c, hash, hinted);
		did = true;
	}
	atomic_store_explicit(&from->tail, tail, memory_order_relaxed);
	return did;
}

/* DRAM that nobody has taken is the hot pool's, but for an extent or two that the index and the ghost grow
 * into; when less is left, the pool gives an extent. */
static void balance_dram(struct thermo *c)
{
	struct pool *hot = &c->pool[THERMO_HOT];
	uint64_t cap = atomic_load(&c->budget.cap), used = atomic_load(&c->budget.used);
	uint64_t spare = cap > used ? cap - used : 0;
	bool blocked = index_growth_blocked(c->index) || atomic_exchange(&c->starved, 0);
	pthread_mutex_lock(&c->lock);
	bool steady = hot->extents_present == hot->extents_target;
	if ((blocked || spare < EXTENT_BYTES) && steady && spare < 2 * EXTENT_BYTES &&
	    hot->extents_target > c->hot_extents_min)
		pool_shrink(hot, hot->extents_target - 1);
	else if (!blocked && steady && hot->extents_target < c->hot_extents_max &&
		 spare > cap / 32 + 4 * EXTENT_BYTES)
		pool_grow(hot, hot->extents_target + 1);
	pthread_mutex_unlock(&c->lock);
	if (blocked && spare >= EXTENT_BYTES) {
		epoch_enter();
		index_grow_now(c->index, 64);
		epoch_exit();
	}
}

/* ---- Running ---- */

static bool round_of_work(struct thermo *c)
{
	bool did = false;
	uint64_t until = monotonic_ns() + 5 * MS;
	write_tick(c);
	pthread_mutex_lock(&c->migrate_lock);
	balance_dram(c);
	while (slice(c, SLICE_RECORDS, true)) {
		did = true;
		if (monotonic_ns() > until)
			break;
	}
	sweep(c, !did);
	did |= promote_candidates(c, &c->hinted, true);
	did |= promote_candidates(c, &c->earned, false);
	pthread_mutex_unlock(&c->migrate_lock);
	return durable_trim(c) || did;
}

int migrate_work(struct thermo *c)
{
	bool did = round_of_work(c);
	if (c->log && log_started(c->log) && !c->options.background_threads)
		did |= log_work(c->log);
	did |= large_forget_more(c);
	if (c->cold && cold_work(c->cold) == THERMO_OK)
		did = true;
	return did ? THERMO_OK : THERMO_MISS;
}

static void timed_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	uint64_t end = (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec + ns;
	t.tv_sec = (time_t)(end / (1000 * MS));
	t.tv_nsec = (long)(end % (1000 * MS));
	pthread_cond_timedwait(cond, mutex, &t);
}

/* under lock */
static bool room_made(const struct thermo *c, bool in_dram, bool margin)
{
	for (unsigned tier = 0; tier < (in_dram ? 1u : MEMORY_TIERS); tier++)
		if (c->pool[tier].free.count > c->reserve[tier] + (margin ? cache_margin(c, tier) : 0))
			return true;
	return false;
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* What a caller did for others, in CPU time: what he waited for is counted elsewhere. */
static void helped(struct thermo *c, uint64_t began)
{
	uint64_t ns = thread_cpu_ns() - began;
	uint64_t most = atomic_load_explicit(&c->help_max_ns, memory_order_relaxed);
	while (most < ns && !atomic_compare_exchange_weak(&c->help_max_ns, &most, ns))
		;
}

/* Slices by the caller, under migrate_lock. true: there is room; *did: there was something to do. */
static bool help_migrate(struct thermo *c, bool in_dram, bool margin, bool *did)
{
	uint64_t began = thread_cpu_ns(), until = monotonic_ns() + HELP_NS;
	bool room = false;
	*did = true;
	while (*did && !room && monotonic_ns() < until) {
		if (in_dram)
			want_dram(c, WANTED_FOR_HINT);
		*did = slice(c, HELP_RECORDS, in_dram && !c->threads);
		pthread_mutex_lock(&c->lock);
		room = room_made(c, in_dram, margin);
		pthread_mutex_unlock(&c->lock);
	}
	helped(c, began);
	return room;
}

bool migrate_make_room(struct thermo *c, bool in_dram, bool margin, uint64_t deadline)
{
	migrate_kick(c);
	if (pthread_mutex_trylock(&c->migrate_lock) == 0) {
		bool did, room = help_migrate(c, in_dram, margin, &did);
		pthread_mutex_unlock(&c->migrate_lock);
		if (room)
			return true;
		if (did)
			return false; /* there is more to do: the caller comes back */
	}
	uint64_t now = monotonic_ns();
	if (now >= deadline)
		return false;
	pthread_mutex_lock(&c->lock);
	if (!room_made(c, in_dram, margin))
		timed_wait(&c->room, &c->lock, deadline - now < MS ? deadline - now : MS);
	pthread_mutex_unlock(&c->lock);
	return true;
}

bool migrate_make_memory(struct thermo *c, uint64_t deadline)
{
	if (monotonic_ns() >= deadline)
		return false;
	atomic_store(&c->starved, 1);
	migrate_kick(c);
	if (pthread_mutex_trylock(&c->migrate_lock) == 0) {
		uint64_t began = thread_cpu_ns(), until = monotonic_ns() + HELP_NS;
		balance_dram(c);
		while (slice(c, HELP_RECORDS, false) && monotonic_ns() < until)
			;
		helped(c, began);
		pthread_mutex_unlock(&c->migrate_lock);
	}
	struct timespec t = {0, 50000};
	nanosleep(&t, NULL);
	return true;
}

bool migrate_make_log_room(struct thermo *c, uint64_t deadline)
{
	uint64_t now = monotonic_ns();
	if (now >= deadline)
		return false;
	migrate_kick(c);
	if (pthread_mutex_trylock(&c->migrate_lock) == 0) {
		uint64_t began = thread_cpu_ns();
		while (slice(c, HELP_RECORDS, !c->threads) && monotonic_ns() < now + HELP_NS)
			;
		helped(c, began);
		pthread_mutex_unlock(&c->migrate_lock);
	}
	if (!durable_trim(c)) {
		struct timespec t = {0, 100000};
		nanosleep(&t, NULL);
	}
	return true;
}

void migrate_kick(struct thermo *c)
{
	if (atomic_exchange_explicit(&c->hungry, 1, memory_order_relaxed))
		return;
	pthread_mutex_lock(&c->wake_lock);
	c->kicked = true;
	pthread_cond_broadcast(&c->wake); /* the migrator is not the only one who waits */
	pthread_mutex_unlock(&c->wake_lock);
}

/* The first thread migrates; with a second one, compaction has its own. */
static void *background(void *argument)
{
	struct thermo *c = argument;
	pthread_mutex_lock(&c->wake_lock); /* until all have been started */
	bool first = pthread_equal(pthread_self(), c->thread[0]), alone = c->threads == 1;
	pthread_mutex_unlock(&c->wake_lock);
	uint64_t idle_ns = MS;
	for (;;) {
		atomic_store_explicit(&c->hungry, 0, memory_order_relaxed);
		bool did = first && round_of_work(c);
		did |= first && large_forget_more(c);
		/* Alone, compaction waits while somebody waits for room. */
		bool compact = !first || (alone && !atomic_load(&c->hungry));
		if (c->cold && compact && cold_work(c->cold) == THERMO_OK)
			did = true;
		idle_ns = did ? MS / 4 : idle_ns < 20 * MS ? idle_ns * 2 : idle_ns;
		pthread_mutex_lock(&c->wake_lock);
		if (c->stopping) {
			pthread_mutex_unlock(&c->wake_lock);
			return NULL;
		}
		if (!c->kicked || !first)
			timed_wait(&c->wake, &c->wake_lock, idle_ns);
		if (first)
			c->kicked = false;
		pthread_mutex_unlock(&c->wake_lock);
	}
}

int migrate_open(struct thermo *c)
{
	struct reclaim *r = heap_zalloc(c->heap, 1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->writer_bytes = cache_run_bytes(c->options.dram_bytes);
	if (r->writer_bytes < 2 * (uint64_t)c->pool[0].segment_bytes)
		r->writer_bytes = 2 * (uint64_t)c->pool[0].segment_bytes;
	r->move_filled_ns = monotonic_ns();
	c->reclaim = r;
	return 0;
}

int migrate_start(struct thermo *c)
{
	uint32_t n = c->options.background_threads;
	c->stopping = false;
	if (!n)
		return 0;
	c->thread = heap_zalloc(c->heap, n, sizeof(*c->thread));
	if (!c->thread)
		return -ENOMEM;
	pthread_mutex_lock(&c->wake_lock); /* thread[0] is known before the first looks */
	for (c->threads = 0; c->threads < n; c->threads++) {
		int rc = pthread_create(&c->thread[c->threads], NULL, background, c);
		if (rc) {
			pthread_mutex_unlock(&c->wake_lock);
			migrate_stop(c);
			return -rc;
		}
	}
	pthread_mutex_unlock(&c->wake_lock);
	return 0;
}

void migrate_stop(struct thermo *c)
{
	pthread_mutex_lock(&c->wake_lock);
	c->stopping = true;
	pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->wake_lock);
	for (uint32_t i = 0; i < c->threads; i++)
		pthread_join(c->thread[i], NULL);
	c->threads = 0;
	heap_free(c->heap, c->thread);
	c->thread = NULL;
}

void migrate_close(struct thermo *c)
{
	if (!c->reclaim)
		return;
	if (c->reclaim->writer)
		cold_writer_abort(&c->reclaim->writer);
	heap_free(c->heap, c->reclaim);
	c->reclaim = NULL;
}

static bool past(uint64_t began, int64_t timeout_ns)
{
	return timeout_ns >= 0 && monotonic_ns() - began >= (uint64_t)timeout_ns;
}

int migrate_shrink(struct thermo *c, unsigned tier, uint32_t extents, int64_t timeout_ns)
{
	uint64_t began = monotonic_ns();
	pthread_mutex_lock(&c->lock);
	pool_shrink(&c->pool[tier], extents);
	pthread_mutex_unlock(&c->lock);
	for (;;) {
		pthread_mutex_lock(&c->lock);
		bool done = c->pool[tier].extents_present <= c->pool[tier].extents_target;
		pthread_mutex_unlock(&c->lock);
		if (done)
			return THERMO_OK;
		if (past(began, timeout_ns))
			return THERMO_PENDING;
		if (!round_of_work(c)) {
			struct timespec t = {0, 200000};
			nanosleep(&t, NULL);
		}
	}
}

int migrate_settle(struct thermo *c, int64_t timeout_ns)
{
	uint64_t began = monotonic_ns();
	while (migrate_work(c) == THERMO_OK || atomic_load(&c->reclaim->publishing))
		if (past(began, timeout_ns))
			return THERMO_PENDING;
	return THERMO_OK;
}

/* One step of it, under migrate_lock. true: the first `target` runs are published. */
static bool flush_step(struct thermo *c, uint64_t target, int *rc)
{
	struct reclaim *r = c->reclaim;
	*rc = THERMO_OK;
	if (r->runs_ended >= target)
		return true;
	while (r->victim && r->dirty)
		reclaim_continue(c, SLICE_RECORDS);
	*rc = reclaim_publish(c);
	return r->runs_ended >= target;
}

int migrate_flush(struct thermo *c, int64_t timeout_ns)
{
	uint64_t began = monotonic_ns();
	pthread_mutex_lock(&c->migrate_lock);
	uint64_t target = c->reclaim->runs_begun;
	pthread_mutex_unlock(&c->migrate_lock);
	for (;;) {
		int rc;
		pthread_mutex_lock(&c->migrate_lock);
		bool done = flush_step(c, target, &rc);
		pthread_mutex_unlock(&c->migrate_lock);
		if (rc < 0)
			return rc;
		if (done)
			return THERMO_OK;
		if (past(began, timeout_ns))
			return THERMO_PENDING;
		struct timespec t = {0, 200000}; /* another thread is at it */
		nanosleep(&t, NULL);
	}
}

/* One segment of the space, wherever it is in its life. */
static bool purge_one(struct thermo *c, struct thermo_space *space)
{
	struct reclaim *r = c->reclaim;
	while (r->victim)
		reclaim_continue(c, SLICE_RECORDS);
	if (r->scanned.head && reclaim_publish(c) != THERMO_OK && r->scanned.head)
		return false;
	if (r->victim) /* another thread began one during the publication */
		return true;
	pthread_mutex_lock(&c->lock);
	struct segment *found = NULL;
	for (unsigned tier = 0; tier < MEMORY_TIERS && !found; tier++)
		for (unsigned queue = 0; queue < QUEUES && !found; queue++)
			for (struct segment *s = c->queue[tier][queue].head; s; s = s->next)
				if (s->space == space->id && epoch_passed(s->sealed_epoch)) {
					found = s;
					break;
				}
	pthread_mutex_unlock(&c->lock);
	if (found) {
		reclaim_begin(c, found, RECLAIM_DROP);
		while (!reclaim_continue(c, SLICE_RECORDS))
			;
	}
	return true;
}

void migrate_seal_space(struct thermo *c, struct thermo_space *space)
{
	reclaim_seal_outputs(c, -1, space->id);
	pthread_mutex_lock(&c->lock);
	struct lane *lanes = &space->lane[0][0][0][0];
	for (unsigned i = 0; i < LANES_ALL; i++) {
		struct segment *s = atomic_exchange(&lanes[i].open, NULL);
		if (s)
			segment_seal(c, s);
	}
	pthread_mutex_unlock(&c->lock);
}

void migrate_purge(struct thermo *c, struct thermo_space *space)
{
	for (;;) {
		pthread_mutex_lock(&c->migrate_lock);
		migrate_seal_space(c, space);
		purge_one(c, space);
		pthread_mutex_unlock(&c->migrate_lock);
		pthread_mutex_lock(&c->lock);
		bool empty = !space->segments[0] && !space->segments[1];
		pthread_mutex_unlock(&c->lock);
		if (empty)
			return;
		sched_yield();
	}
}
