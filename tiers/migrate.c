/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When what moves: slices of reclaim and when a run is published, help by who finds no room, the background
 * threads, and what empties memory on request. Which segment is next is choose.c, promotion heat.c.
 *
 * Runs are written in batches: scanning begins while room is left, a run is published when it is
 * big enough or when free segments get few.
 */
#include "tiers/durable.h"
#include "tiers/migrate.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#define SLICE_RECORDS 512
#define HELP_RECORDS 64      /* of a slice, for who finds no room ... */
#define HELP_NS (MS / 4)     /* ... and how long he goes on with them */
#define MS UINT64_C(1000000)

static bool epoch_is_passed(uint64_t epoch)
{
	return epoch_passed(epoch);
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
		s = choose_segment(c, &mode);
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
					choose_free_or_limbo(pool) < choose_level_low(c, tier)))
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
	heat_sweep(c, !did);
	did |= heat_promote(c);
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
			heat_want_dram(c, WANTED_FOR_HINT);
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
