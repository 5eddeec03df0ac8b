/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: size-tiered merges of neighbouring runs, in bounded pieces.
 *
 * A run's level is the logarithm of its size to the base fan_in. Neighbours, none above level L, of which
 * there are at least fan_in, are merged: lowest L first. So each record is rewritten about once a level,
 * and there are fewer than fan_in runs on each, some 5 levels to the terabyte.
 *
 * What a merge leaves out: older versions; records of dropped spaces; erased keys; and tombstones (expired
 * records count as such) that no older run can hold a version for, as far as its filter knows, while
 * no writer is open that is older than they are.
 *
 * Life of a job: idle -> picked (its runs are busy, a set is pinned) -> pieces -> installed -> idle.
 * An error makes it idle at once; it is picked again after a pause.
 */
#include "tiers/cold/merge.h"

#include "alloc/check.h"

#include <errno.h>

#define PIECE_BYTES ((uint64_t)4 << 20) /* written or read in one piece */
#define PIECE_RECORDS 65536u
#define WINDOW_MAX 16u
#define RUNS_SOFT 24u                   /* beyond it merges need not fit a level */
#define PAUSE_MS 1000u                  /* after an error */
#define BUCKET_MIN ((int64_t)64 << 20)

struct merge_job {
	pthread_mutex_t lock;
	_Atomic bool active;    /* changes under edit and lock */
	/* under lock */
	struct run_set *set;    /* pinned */
	uint32_t first, n;      /* its runs [first, first + n) */
	struct merge *merge;
	struct run_build *build;
	bool tombstones_may_go;
	uint64_t expected;      /* bytes of the inputs */
	uint64_t counted;       /* bytes read that the counters know of */
	_Atomic uint64_t left;  /* bytes, about: the smallest job goes first */
	uint64_t retry_ms;      /* under edit: not before */
};

int jobs_open(struct cold *cold)
{
	for (unsigned i = 0; i < COLD_JOBS; i++) {
		cold->jobs[i] = memory_alloc(&cold->memory, sizeof(struct merge_job));
		if (!cold->jobs[i])
			return -ENOMEM;
		pthread_mutex_init(&cold->jobs[i]->lock, NULL);
	}
	return 0;
}

/* ---- The write budget ---- */

static bool bucket_open(struct cold *cold)
{
	if (!cold->write_bytes_per_day)
		return true;
	uint64_t now = cold->clock_ms(cold->clock_context);
	uint64_t written = atomic_load_explicit(&cold->counters.write_bytes, memory_order_relaxed);
	pthread_mutex_lock(&cold->bucket_lock);
	uint64_t passed = now > cold->bucket_ms ? now - cold->bucket_ms : 0;
	int64_t burst = (int64_t)(cold->write_bytes_per_day / 24);
	if (burst < BUCKET_MIN)
		burst = BUCKET_MIN;
	double more = (double)cold->write_bytes_per_day * (double)passed / 86400e3;
	if (more >= 4096) { /* less would be lost in rounding: let it gather */
		cold->bucket += more < (double)burst ? (int64_t)more : burst;
		cold->bucket_ms = now;
	}
	cold->bucket -= (int64_t)(written - cold->bucket_written);
	cold->bucket_written = written;
	if (cold->bucket > burst)
		cold->bucket = burst;
	bool open = cold->bucket > 0;
	pthread_mutex_unlock(&cold->bucket_lock);
	return open;
}

/* ---- Picking ---- */

static unsigned level(const struct cold *cold, const struct run *run)
{
	unsigned level = 0;
	for (uint64_t size = run->file_bytes >> 18; size >= cold->fan_in; size /= cold->fan_in)
		level++;
	return level;
}

struct window {
	uint32_t first, n;
	uint64_t bytes;
};

static uint64_t room_left(struct cold *cold)
{
	uint64_t used = atomic_load(&cold->used_bytes);
	if (!cold->cap_bytes)
		return UINT64_MAX;
	return used < cold->cap_bytes ? cold->cap_bytes - used : 0;
}

/* Takes the window if it has at least `least` runs that fit the room; gives up its oldest runs, the
 * large ones, where it does not. */
static bool window_fits(const struct run_set *set, struct window *window, uint32_t least,
			uint64_t room)
{
	window->bytes = 0;
	for (uint32_t i = 0; i < window->n; i++)
		window->bytes += set->runs[window->first + i]->file_bytes;
	while (window->n >= least && window->bytes > room) {
		window->n--;
		window->bytes -= set->runs[window->first + window->n]->file_bytes;
	}
	return window->n >= least;
}

/* The oldest stretch of neighbours up to that level with at least fan_in of them. */
static bool pick_level(struct cold *cold, const struct run_set *set, unsigned most, uint64_t room,
		       struct window *window)
{
	uint32_t n = 0;
	for (uint32_t i = set->n; i-- > 0;) {
		bool in = !set->runs[i]->busy && level(cold, set->runs[i]) <= most;
		n = in ? n + 1 : 0;
		/* Complete when the next newer one does not belong to it. */
		bool more = in && i && !set->runs[i - 1]->busy &&
			    level(cold, set->runs[i - 1]) <= most && n < WINDOW_MAX;
		if (n < cold->fan_in || more)
			continue;
		*window = (struct window){ i, n, 0 };
		if (window_fits(set, window, 2, room))
			return true;
		n = 0;
	}
	return false;
}

/* Too many runs: the fan_in neighbours that cost the least. */
static bool pick_cheapest(struct cold *cold, const struct run_set *set, uint64_t room,
			  struct window *best)
{
	best->bytes = UINT64_MAX;
	for (uint32_t n = cold->fan_in; n >= 2 && best->bytes == UINT64_MAX; n--) {
		for (uint32_t first = 0; first + n <= set->n; first++) {
			struct window window = { first, n, 0 };
			bool busy = false;
			for (uint32_t i = 0; i < n; i++)
				busy |= set->runs[first + i]->busy;
			if (!busy && window_fits(set, &window, n, room) &&
			    window.bytes < best->bytes)
				*best = window;
		}
	}
	return best->bytes != UINT64_MAX;
}

/* Under edit. */
static bool pick(struct cold *cold, const struct run_set *set, bool forced, struct window *window)
{
	uint64_t room = room_left(cold);
	unsigned highest = 0;
	for (uint32_t i = 0; i < set->n; i++) {
		*window = (struct window){ i, 1, 0 };
		if (set->runs[i]->rewrite && !set->runs[i]->busy &&
		    window_fits(set, window, 1, room))
			return true;
		unsigned of_run = level(cold, set->runs[i]);
		highest = of_run > highest ? of_run : highest;
	}
	for (unsigned most = 0; most <= highest; most++)
		if (pick_level(cold, set, most, room, window))
			return true;
	return (forced || set->n > RUNS_SOFT) && pick_cheapest(cold, set, room, window);
}

/* ---- A job ---- */

static void job_end(struct cold *cold, struct merge_job *job)
{
	merge_close(&job->merge);
	run_build_close(&job->build);
	if (job->set)
		set_unpin(cold, job->set);
	job->set = NULL;
}

/* Under edit and the job's lock. The runs are no longer busy, whether merged or not. */
static void job_idle(struct merge_job *job)
{
	for (uint32_t i = 0; i < job->n; i++)
		job->set->runs[job->first + i]->busy = false;
	atomic_store(&job->left, 0);
	job->active = false;
}

/* Everything a picked job needs. */
static int job_start(struct cold *cold, struct merge_job *job)
{
	uint64_t records = 0, published = 0;
	for (uint32_t i = 0; i < job->n; i++) {
		const struct run *run = job->set->runs[job->first + i];
		records += run->footer.records;
		if (run->published > published)
			published = run->published;
	}
	job->tombstones_may_go = writers_all_after(cold, published);
	job->counted = 0;
	int status = run_build_open(cold, &job->build);
	if (!status)
		status = merge_open(cold, job->set, job->first, job->n, NULL, &job->merge);
	if (!status)
		status = run_build_start(job->build, records, true);
	return status;
}

/* A job that was idle: picks its work. THERMO_OK: started. THERMO_MISS: there is none. */
static int job_pick(struct cold *cold, struct merge_job *job, bool forced)
{
	struct window window;
	uint64_t now = cold->clock_ms(cold->clock_context);
	pthread_mutex_lock(&cold->edit);
	struct run_set *set = atomic_load(&cold->set);
	bool found = (forced || now >= job->retry_ms) && !atomic_load(&cold->failed) &&
		     pick(cold, set, forced, &window);
	if (found) {
		job->set = set_pin(cold); /* the same: edit is held */
		job->first = window.first;
		job->n = window.n;
		job->expected = window.bytes;
		atomic_store(&job->left, window.bytes);
		for (uint32_t i = 0; i < window.n; i++)
			set->runs[window.first + i]->busy = true;
		job->active = true;
	}
	pthread_mutex_unlock(&cold->edit);
	return found ? THERMO_OK : THERMO_MISS;
}

static void job_fail(struct cold *cold, struct merge_job *job)
{
	pthread_mutex_lock(&cold->edit);
	job_idle(job);
	job->retry_ms = cold->clock_ms(cold->clock_context) + PAUSE_MS;
	pthread_mutex_unlock(&cold->edit);
	job_end(cold, job);
}

/* No run that is older than the job's may hold the hash. */
static bool none_older(const struct merge_job *job, uint64_t hash)
{
	for (uint32_t i = job->first + job->n; i < job->set->n; i++)
		if (set_may_hold(job->set, i, hash))
			return false;
	return true;
}

/* The record's fate in this merge: written as it is, as a tombstone, or not at all. */
static int job_record(struct cold *cold, struct merge_job *job, const struct run_set *now_set,
		      uint64_t now, const struct block_cursor *record)
{
	uint64_t hash = ident_hash(&record->ident);
	if (!set_visible(now_set, &record->ident, hash, record->seq))
		return 0;
	bool expired = record->expires_ms && record->expires_ms <= now;
	bool tombstone = expired || (record->flags & COLD_TOMBSTONE);
	if (tombstone && job->tombstones_may_go && none_older(job, hash)) {
		count(expired ? &cold->counters.expired_dropped :
				&cold->counters.tombstones_dropped, 1);
		return 0;
	}
	struct block_item item = { record->ident.bytes, record->value,
				   record->ident.len,   record->value_len,
				   record->flags,       record->seq,
				   record->expires_ms };
	if (expired) {
		item.flags = (uint8_t)((record->flags & COLD_CHUNK) | COLD_TOMBSTONE);
		item.value_len = 0;
		item.expires_ms = 0;
	}
	return run_build_add(job->build, &item, hash);
}

static void count_reads(struct cold *cold, struct merge_job *job)
{
	uint64_t bytes = merge_read_bytes(job->merge);
	count(&cold->counters.compaction_read_bytes, bytes - job->counted);
	job->counted = bytes;
	atomic_store(&job->left, job->expected > bytes ? job->expected - bytes : 0);
}

/* The runs of the job give way to the one that came out, or to none. Under edit. */
static int install(struct cold *cold, struct merge_job *job, struct run *run)
{
	const struct run_set *old = atomic_load(&cold->set);
	struct run_set *set = set_copy(cold);
	if (!set)
		return -ENOMEM;
	uint32_t met = 0;
	for (uint32_t i = 0; i < old->n; i++) {
		struct run *of_old = old->runs[i];
		bool merged = met < job->n && of_old == job->set->runs[job->first + met];
		if (merged && !met++ && run)
			set_append(set, run);
		if (!merged)
			set_append(set, of_old);
	}
	check(met == job->n);
	int status = set_install(cold, set);
	if (status) {
		set_discard(cold, set);
		return status;
	}
	for (uint32_t i = 0; i < job->n; i++)
		atomic_store(&job->set->runs[job->first + i]->obsolete, true);
	count(&cold->counters.compactions, 1);
	return 0;
}

/* All records went through. */
static int job_finish(struct cold *cold, struct merge_job *job)
{
	struct run *run = NULL;
	if (run_build_records(job->build)) {
		int status = run_build_finish(job->build, &run);
		if (status)
			return status;
		for (uint32_t i = 0; i < job->n; i++) {
			uint64_t published = job->set->runs[job->first + i]->published;
			run->published = published > run->published ? published : run->published;
		}
	}
	pthread_mutex_lock(&cold->edit);
	int status = install(cold, job, run);
	if (!status)
		job_idle(job);
	pthread_mutex_unlock(&cold->edit);
	if (status && run)
		atomic_store(&run->obsolete, true);
	if (run)
		run_unref(cold, run);
	if (!status)
		job_end(cold, job);
	return status;
}

/* One piece. The job's lock is held. */
static int job_step(struct cold *cold, struct merge_job *job)
{
	int status = job->merge ? 0 : job_start(cold, job);
	if (status) {
		job_fail(cold, job);
		return status;
	}
	struct run_set *now_set = set_pin(cold);
	uint64_t now = cold->clock_ms(cold->clock_context);
	uint64_t written = run_build_written(job->build), read = job->counted;
	for (uint32_t i = 0; i < PIECE_RECORDS && !status; i++) {
		const struct block_cursor *record;
		uint32_t run;
		status = merge_next(job->merge, &record, &run);
		if (!status)
			status = job_record(cold, job, now_set, now, record);
		if (run_build_written(job->build) - written >= PIECE_BYTES ||
		    merge_read_bytes(job->merge) - read >= 2 * PIECE_BYTES)
			break;
	}
	set_unpin(cold, now_set);
	count_reads(cold, job);
	if (status == THERMO_MISS)
		status = job_finish(cold, job);
	if (status < 0)
		job_fail(cold, job);
	return status;
}

/* The active job with the least left to do whose lock is free, locked; NULL if there is none. */
static struct merge_job *job_lock_smallest(struct cold *cold)
{
	struct merge_job *best = NULL;
	for (unsigned i = 0; i < COLD_JOBS; i++) {
		struct merge_job *job = cold->jobs[i];
		if (pthread_mutex_trylock(&job->lock))
			continue;
		bool better = job->active &&
			      (!best || atomic_load(&job->left) < atomic_load(&best->left));
		struct merge_job *loser = better ? best : job;
		if (better)
			best = job;
		if (loser)
			pthread_mutex_unlock(&loser->lock);
	}
	return best;
}

/* Starts a job if one is idle and there is something to do. */
static int start_some(struct cold *cold, bool forced)
{
	for (unsigned i = 0; i < COLD_JOBS; i++) {
		struct merge_job *job = cold->jobs[i];
		if (pthread_mutex_trylock(&job->lock))
			continue;
		bool idle = !job->active;
		int status = idle ? job_pick(cold, job, forced) : THERMO_MISS;
		pthread_mutex_unlock(&job->lock);
		if (idle)
			return status;
	}
	return THERMO_MISS;
}

static int step_some(struct cold *cold)
{
	struct merge_job *job = job_lock_smallest(cold);
	if (!job)
		return THERMO_MISS;
	int status = job_step(cold, job);
	pthread_mutex_unlock(&job->lock);
	return status;
}

void jobs_close(struct cold *cold)
{
	for (unsigned i = 0; i < COLD_JOBS; i++) {
		struct merge_job *job = cold->jobs[i];
		if (!job)
			continue;
		if (job->active)
			job_fail(cold, job);
		pthread_mutex_destroy(&job->lock);
		memory_free(&cold->memory, job, sizeof(*job));
		cold->jobs[i] = NULL;
	}
}

/* ---- Whole runs that are of no use ---- */

/* Nothing in it is visible, and nothing in it hides anything. last: no run is older. Under edit. */
static bool useless(struct cold *cold, const struct run_set *set, const struct run *run, bool last,
		    uint64_t now)
{
	bool dropped = true;
	for (uint32_t i = 0; i < run->n_spaces; i++)
		dropped &= run->spaces[i].max_seq < set->below[run->spaces[i].space];
	if (dropped)
		return true;
	return last && run->footer.max_expires <= now && writers_all_after(cold, run->published);
}

/* Takes such runs out. THERMO_OK if there were some. */
static int drop_useless(struct cold *cold)
{
	uint64_t now = cold->clock_ms(cold->clock_context);
	struct run *dropped[COLD_RUNS_MAX];
	uint32_t n = 0;
	int status = THERMO_MISS;
	pthread_mutex_lock(&cold->edit);
	const struct run_set *old = atomic_load(&cold->set);
	for (uint32_t i = 0; i < old->n; i++)
		if (!old->runs[i]->busy && useless(cold, old, old->runs[i], i + 1 == old->n, now))
			dropped[n++] = old->runs[i];
	if (!n || atomic_load(&cold->failed))
		goto unlock;
	struct run_set *set = set_copy(cold);
	status = -ENOMEM;
	if (!set)
		goto unlock;
	for (uint32_t i = 0, d = 0; i < old->n; i++) {
		if (d < n && old->runs[i] == dropped[d])
			d++;
		else
			set_append(set, old->runs[i]);
	}
	for (uint32_t i = 0; i < n; i++) /* ours, over the old set's end */
		atomic_fetch_add(&dropped[i]->refs, 1);
	status = set_install(cold, set);
	if (status)
		set_discard(cold, set);
	for (uint32_t i = 0; i < n; i++) {
		if (!status)
			atomic_store(&dropped[i]->obsolete, true);
		run_unref(cold, dropped[i]);
	}
unlock:
	pthread_mutex_unlock(&cold->edit);
	return status;
}

/* ---- Entry points ---- */

static int work(struct cold *cold, bool budgeted)
{
	bool did = cold_bury(cold) > 0;
	int status = erase_step(cold);
	if (status == THERMO_MISS)
		status = drop_useless(cold);
	if (status < 0)
		return status;
	did |= status == THERMO_OK;
	if (budgeted && !bucket_open(cold))
		return did ? THERMO_OK : THERMO_MISS;
	start_some(cold, false);
	status = step_some(cold);
	return status == THERMO_MISS && did ? THERMO_OK : status;
}

int cold_work(struct cold *cold)
{
	return work(cold, true);
}

int cold_work_unbudgeted(struct cold *cold)
{
	return work(cold, false);
}

static uint32_t runs_now(struct cold *cold)
{
	struct run_set *set = set_pin(cold);
	uint32_t n = set->n;
	set_unpin(cold, set);
	return n;
}

int compact_below(struct cold *cold, uint32_t runs)
{
	while (runs_now(cold) >= runs) {
		start_some(cold, true);
		int status = step_some(cold);
		if (status < 0)
			return status;
		if (status == THERMO_MISS) {
			/* Other threads have all the jobs, or no two neighbours fit the room. */
			bool active = false;
			for (unsigned i = 0; i < COLD_JOBS; i++)
				active |= cold->jobs[i]->active;
			if (!active)
				return -ENOSPC;
			sched_yield();
		}
		cold_bury(cold);
	}
	return 0;
}
