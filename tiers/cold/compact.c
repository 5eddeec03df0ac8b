/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction in bounded pieces: the jobs that carry out what pick.c chooses.
 *
 * A job goes through its runs in the order of records. Each time a segment of the output is complete, it is
 * installed: what comes out has the records below a point B, the runs that go in count from B on, their
 * segments below B go, and the bytes of a segment that B cuts are given back to the file system. So a merge
 * of any size needs room for a segment or two, and what it has done is kept whatever happens.
 *
 * What a merge leaves out: older versions; records of dropped spaces; erased keys; and tombstones (expired
 * records count as such) that no older run can hold a version for, as far as its filter knows, while
 * no writer is open that is older than they are.
 *
 * Life of a job: idle -> picked (its runs are busy) -> pieces, segments installed -> idle. An error makes it
 * idle at once; its runs are picked again after a pause.
 */
#include "tiers/cold/merge.h"

#include "alloc/check.h"

#include <errno.h>

#define PIECE_BYTES ((uint64_t)4 << 20) /* written or read in one piece */
#define PIECE_RECORDS 65536u
#define PAUSE_MS 1000u                  /* after an error */
#define BUCKET_MIN ((int64_t)64 << 20)

struct merge_job {
	pthread_mutex_t lock;
	_Atomic bool active;    /* changes under edit and lock */
	_Atomic uint64_t left;  /* bytes, about: the smallest job goes first */
	/* under lock */
	struct run **inputs;    /* memory_alloc(n pointers): a reference each; NULL: all of it is merged */
	uint32_t n;
	struct run *out;        /* what is installed so far, with a reference, or NULL */
	struct cold_segment **made;  /* memory_alloc(made_room pointers): not installed yet; a reference each */
	uint32_t n_made, made_room;
	struct merge *merge;
	struct cold_build *build;
	struct window window;   /* as picked; first and rewrite only then */
	struct cold_segment *rewrite; /* a reference, or NULL */
	bool wide;              /* the output is not the oldest run */
	bool tombstones_may_go;
	uint64_t published, shadowed;
	uint64_t expected;      /* bytes of the inputs */
	uint64_t counted;       /* bytes read that the counters know of */
	uint64_t retry_ms;      /* under edit: not before */
};

int jobs_open(struct cold *cold)
{
	for (unsigned i = 0; i < cold->jobs_max; i++) {
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
	if (written > cold->bucket_written) {
		cold->bucket -= (int64_t)(written - cold->bucket_written);
		cold->bucket_written = written;
	}
	if (cold->bucket > burst)
		cold->bucket = burst;
	bool open = cold->bucket > 0;
	pthread_mutex_unlock(&cold->bucket_lock);
	return open;
}

/* ---- A job begins and ends ---- */

static void job_clear(struct cold *cold, struct merge_job *job)
{
	struct memory *memory = &cold->memory;
	merge_close(&job->merge);
	cold_build_close(&job->build);
	for (uint32_t i = 0; i < job->n_made; i++) {
		atomic_store(&job->made[i]->obsolete, true); /* not installed */
		cold_segment_unref(cold, job->made[i]);
	}
	memory_free(memory, job->made, job->made_room * sizeof(job->made[0]));
	for (uint32_t i = 0; i < job->n; i++)
		run_unref(cold, job->inputs[i]);
	memory_free(memory, job->inputs, job->n * sizeof(job->inputs[0]));
	run_unref(cold, job->out);
	if (job->rewrite)
		cold_segment_unref(cold, job->rewrite);
	job->made = NULL;
	job->inputs = NULL;
	job->out = NULL;
	job->rewrite = NULL;
	job->n = job->n_made = job->made_room = 0;
}

/* Under edit and the job's lock: its runs are no longer busy, whether merged or not. */
static void job_idle(struct merge_job *job)
{
	for (uint32_t i = 0; i < job->n; i++)
		if (job->inputs[i])
			job->inputs[i]->busy = false;
	if (job->out)
		job->out->busy = false;
	atomic_store(&job->left, 0);
	atomic_store(&job->active, false);
}

static void job_fail(struct cold *cold, struct merge_job *job)
{
	pthread_mutex_lock(&cold->edit);
	job_idle(job);
	job->retry_ms = cold->clock_ms(cold->clock_context) + PAUSE_MS;
	pthread_mutex_unlock(&cold->edit);
	job_clear(cold, job);
	cold_bury(cold);
}

/* Takes the window's runs. Under edit. */
static int job_take(struct cold *cold, struct merge_job *job, const struct run_set *set)
{
	const struct window *window = &job->window;
	job->inputs = memory_alloc(&cold->memory, window->n * sizeof(job->inputs[0]));
	if (!job->inputs)
		return -ENOMEM;
	job->n = window->n;
	job->published = job->shadowed = job->expected = job->counted = 0;
	for (uint32_t i = 0; i < window->n; i++) {
		struct run *run = set->runs[window->first + i];
		atomic_fetch_add(&run->refs, 1);
		run->busy = true;
		job->inputs[i] = run;
		job->expected += run->bytes;
		job->shadowed += run->shadowed;
		job->published = run->published > job->published ? run->published : job->published;
	}
	if (window->rewrite) {
		job->rewrite = window->rewrite;
		atomic_fetch_add(&job->rewrite->refs, 1);
		job->expected = job->rewrite->file_bytes;
	}
	job->wide = window->first + window->n < set->n;
	job->tombstones_may_go = writers_all_after(cold, job->published);
	atomic_store(&job->left, job->expected);
	atomic_store(&job->active, true);
	return 0;
}

/* A job that was idle: picks its work. THERMO_OK: it has some. THERMO_MISS: there is none. */
static int job_pick(struct cold *cold, struct merge_job *job, bool forced)
{
	uint64_t now = cold->clock_ms(cold->clock_context);
	int status = THERMO_MISS;
	pthread_mutex_lock(&cold->edit);
	const struct run_set *set = atomic_load(&cold->set);
	if ((forced || now >= job->retry_ms) && !atomic_load(&cold->failed) &&
	    pick_window(cold, set, forced, &job->window))
		status = job_take(cold, job, set);
	pthread_mutex_unlock(&cold->edit);
	return status;
}

/* Opens what a picked job works with. */
static int job_start(struct cold *cold, struct merge_job *job)
{
	int status = cold_build_open(cold, &job->build);
	if (status)
		return status;
	if (!job->rewrite)
		return merge_open(cold, job->inputs, job->n, POINT_FIRST, &job->merge);
	bool none;
	struct run *alone = run_new(cold, &job->rewrite, 1, job->inputs[0]->from, NULL, &none);
	if (!alone)
		return -ENOMEM;
	status = merge_open(cold, &alone, 1, POINT_FIRST, &job->merge);
	run_unref(cold, alone);
	return status;
}

/* ---- Installing ---- */

/* The runs that stand for the job's after an installation. */
struct after {
	struct run **inputs; /* [n] */
	struct run *out;
};

static void after_clear(struct cold *cold, struct merge_job *job, struct after *after)
{
	for (uint32_t i = 0; after->inputs && i < job->n; i++)
		run_unref(cold, after->inputs[i]);
	memory_free(&cold->memory, after->inputs, job->n * sizeof(after->inputs[0]));
	run_unref(cold, after->out);
}

/* The output with what was made since, and what is left of the inputs from the bound on. */
static int after_make(struct cold *cold, struct merge_job *job, struct point bound,
		      struct after *after)
{
	bool none;
	uint32_t old = job->out ? job->out->n : 0, n = old + job->n_made;
	*after = (struct after){ memory_alloc(&cold->memory, job->n * sizeof(struct run *)), NULL };
	if (!after->inputs)
		return -ENOMEM;
	for (uint32_t i = 0; i < job->n; i++) {
		struct run *in = job->inputs[i];
		if (!in)
			continue;
		/* A merge that was cut off before this one may have gone further. */
		struct point from = point_before(bound, in->from) ? in->from : bound;
		after->inputs[i] = run_new(cold, in->segment, in->n, from, in, &none);
		if (!after->inputs[i] && !none)
			return -ENOMEM;
	}
	if (!n)
		return 0;
	struct cold_segment **all = memory_alloc(&cold->memory, n * sizeof(*all));
	if (!all)
		return -ENOMEM;
	if (old)
		memcpy(all, job->out->segment, old * sizeof(*all));
	if (job->n_made)
		memcpy(all + old, job->made, job->n_made * sizeof(*all));
	after->out = run_new(cold, all, n, POINT_FIRST, NULL, &none);
	memory_free(&cold->memory, all, n * sizeof(*all));
	if (!after->out)
		return -ENOMEM;
	after->out->level = job->window.level;
	after->out->published = job->published;
	after->out->busy = true;
	if (bound.space == 256 && !job->window.full) {
		uint64_t gone = merge_duplicates(job->merge);
		after->out->shadowed = job->shadowed > gone ? job->shadowed - gone : 0;
	}
	return 0;
}

/* For the rewriting of one segment: the run with what was made in that segment's place. */
static int after_rewrite(struct cold *cold, struct merge_job *job, struct after *after)
{
	struct run *in = job->inputs[0];
	uint32_t n = in->n - 1 + job->n_made, k = 0;
	bool none = !n;
	*after = (struct after){ memory_alloc(&cold->memory, sizeof(struct run *)), NULL };
	if (!after->inputs)
		return -ENOMEM;
	if (!n)
		return 0;
	struct cold_segment **all = memory_alloc(&cold->memory, n * sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (uint32_t i = 0; i < in->n; i++) {
		if (in->segment[i] != job->rewrite) {
			all[k++] = in->segment[i];
			continue;
		}
		for (uint32_t m = 0; m < job->n_made; m++)
			all[k++] = job->made[m];
	}
	after->out = run_new(cold, all, n, in->from, in, &none);
	memory_free(&cold->memory, all, n * sizeof(*all));
	return after->out || none ? 0 : -ENOMEM;
}

static bool of_job(const struct merge_job *job, const struct run *run)
{
	bool found = run == job->out;
	for (uint32_t i = 0; i < job->n; i++)
		found |= run == job->inputs[i];
	return found;
}

/* The present set with `after` in place of the job's runs: inputs, then output. Under edit. */
static struct run_set *set_after(struct cold *cold, const struct merge_job *job,
				 const struct after *after)
{
	const struct run_set *old = atomic_load(&cold->set);
	struct run_set *set = set_copy(cold);
	bool placed = false, fits = true;
	for (uint32_t i = 0; i < old->n && set; i++) {
		if (!of_job(job, old->runs[i])) {
			fits &= !set_append(set, old->runs[i]);
			continue;
		}
		for (uint32_t k = 0; k < job->n && !placed; k++)
			if (after->inputs[k])
				fits &= !set_append(set, after->inputs[k]);
		if (!placed && after->out)
			fits &= !set_append(set, after->out);
		placed = true;
	}
	if (set && !fits) {
		set_discard(cold, set);
		return NULL;
	}
	return set;
}

static bool run_has(const struct run *run, const struct cold_segment *segment)
{
	for (uint32_t i = 0; run && i < run->n; i++)
		if (run->segment[i] == segment)
			return true;
	return false;
}

/* Segments of the inputs that nothing refers to any more; bytes of those that the bound cuts. Under edit,
 * the old runs are held. */
static void give_back(struct cold *cold, struct merge_job *job, const struct after *after,
		      struct point bound)
{
	for (uint32_t i = 0; i < job->n; i++) {
		const struct run *in = job->inputs[i], *rest = after->inputs[i];
		for (uint32_t k = 0; in && k < in->n; k++) {
			bool kept = job->rewrite ? run_has(after->out, in->segment[k]) :
						   rest && k + rest->n >= in->n;
			if (!kept)
				atomic_store(&in->segment[k]->obsolete, true);
		}
		if (!rest || job->rewrite)
			continue;
		struct cold_segment *cut = rest->segment[0];
		uint32_t block = fence_seek(&cut->fences, bound);
		if (block < cut->fences.blocks)
			set_punch_later(cold, cut, cut->fences.start[block]);
	}
}

/* Makes visible and durable what was made; the inputs count from the bound on (POINT_END: not at all). */
static int job_install(struct cold *cold, struct merge_job *job, struct point bound)
{
	struct after after;
	pthread_mutex_lock(&cold->edit);
	int status = job->rewrite ? after_rewrite(cold, job, &after) :
				    after_make(cold, job, bound, &after);
	struct run_set *set = status ? NULL : set_after(cold, job, &after);
	if (!status)
		status = set ? set_install(cold, set) : -ENOMEM;
	if (status && set)
		set_discard(cold, set);
	if (!status) {
		give_back(cold, job, &after, bound);
		struct run **inputs = job->inputs;
		struct run *out = job->out;
		job->inputs = after.inputs;
		job->out = after.out;
		after = (struct after){ inputs, out };
		for (uint32_t i = 0; i < job->n_made; i++)
			cold_segment_unref(cold, job->made[i]); /* the output has its own */
		job->n_made = 0;
	}
	after_clear(cold, job, &after);
	if (!status && bound.space == 256)
		job_idle(job);
	pthread_mutex_unlock(&cold->edit);
	return status;
}

/* ---- Pieces ---- */

/* No run older than the job's may hold the point. */
static bool none_older(struct cold *cold, const struct merge_job *job, const struct run_set *set,
		       struct point point)
{
	uint32_t i = set->n;
	if (set_lost(cold, set, point, 0))
		return false;
	while (i && !of_job(job, set->runs[i - 1]))
		if (set_may_hold(cold, set->runs[--i], point))
			return false;
	return true;
}

static int job_end_segment(struct cold *cold, struct merge_job *job)
{
	if (job->n_made == job->made_room) {
		uint32_t room = job->made_room ? job->made_room * 2 : 4;
		struct cold_segment **made = memory_grow(&cold->memory, job->made,
						    job->made_room * sizeof(*made),
						    job->n_made * sizeof(*made),
						    room * sizeof(*made));
		if (!made)
			return -ENOMEM;
		job->made = made;
		job->made_room = room;
	}
	int status = cold_build_finish(job->build, &job->made[job->n_made]);
	job->n_made += !status;
	return status;
}

/* Adds the record to the output, after ending the segment before it where that is large enough. */
static int job_write(struct cold *cold, struct merge_job *job, const struct block_item *item,
		     struct point point)
{
	int status = 0;
	if (cold_build_started(job->build) &&
	    cold_build_written(job->build) >= cold_file_bytes(cold) &&
	    cold_build_may_end(job->build, point)) {
		status = job_end_segment(cold, job);
		if (!status && !job->rewrite)
			status = job_install(cold, job, point);
	}
	if (!status && !cold_build_started(job->build))
		status = cold_build_start(job->build, true, job->wide);
	return status ? status : cold_build_add(job->build, item, point.hash);
}

/* The record's fate in this merge: written as it is, as a tombstone, or not at all. */
static int job_record(struct cold *cold, struct merge_job *job, const struct run_set *set,
		      uint64_t now, const struct run_iter *iter)
{
	const struct block_cursor *record = &iter->at;
	if (!set_visible(set, &record->ident, iter->point.hash, record->seq))
		return 0;
	bool expired = record->expires_ms && record->expires_ms <= now;
	bool tombstone = expired || (record->flags & COLD_TOMBSTONE);
	if (tombstone && job->tombstones_may_go && none_older(cold, job, set, iter->point)) {
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
	return job_write(cold, job, &item, iter->point);
}

static void count_reads(struct cold *cold, struct merge_job *job)
{
	uint64_t bytes = merge_read_bytes(job->merge);
	count(&cold->counters.compaction_read_bytes, bytes - job->counted);
	job->counted = bytes;
	atomic_store(&job->left, job->expected > bytes ? job->expected - bytes : 0);
}

/* All records went through. */
static int job_finish(struct cold *cold, struct merge_job *job)
{
	int status = 0;
	if (cold_build_started(job->build))
		status = job_end_segment(cold, job);
	if (!status)
		status = job_install(cold, job, POINT_END);
	if (status)
		return status;
	count(&cold->counters.compactions, 1);
	job_clear(cold, job);
	return 0;
}

/* One piece. The job's lock is held. */
static int job_step(struct cold *cold, struct merge_job *job)
{
	int status = job->merge ? 0 : job_start(cold, job);
	if (status) {
		job_fail(cold, job);
		return status;
	}
	struct run_set *set = set_pin(cold);
	uint64_t now = cold->clock_ms(cold->clock_context);
	uint64_t written = atomic_load(&cold->counters.compaction_write_bytes), read = job->counted;
	const struct run *out = job->out;
	for (uint32_t i = 0; i < PIECE_RECORDS && !status; i++) {
		const struct run_iter *iter;
		status = merge_next(job->merge, &iter);
		if (!status)
			status = job_record(cold, job, set, now, iter);
		/* An installation makes the pinned set an old one. */
		if (job->out != out ||
		    atomic_load(&cold->counters.compaction_write_bytes) - written >= PIECE_BYTES ||
		    merge_read_bytes(job->merge) - read >= 2 * PIECE_BYTES)
			break;
	}
	set_unpin(cold, set);
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
	for (unsigned i = 0; i < cold->jobs_max; i++) {
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
	for (unsigned i = 0; i < cold->jobs_max; i++) {
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

static int start_and_step(struct cold *cold, bool forced)
{
	int started = start_some(cold, forced), status = step_some(cold);
	return status == THERMO_MISS && started < 0 ? started : status;
}

void jobs_close(struct cold *cold)
{
	for (unsigned i = 0; i < cold->jobs_max; i++) {
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

/* ---- Entry points ---- */

static int work(struct cold *cold, bool budgeted)
{
	bool did = cold_bury(cold) > 0;
	did |= scrub_step(cold) == THERMO_OK;
	int status = erase_step(cold);
	if (status == THERMO_MISS)
		status = pick_tidy(cold);
	if (status < 0)
		return status;
	did |= status == THERMO_OK;
	if (!budgeted || bucket_open(cold)) {
		status = start_and_step(cold, false);
	} else {
		status = THERMO_MISS;
	}
	if (status == THERMO_MISS && !did)
		status = set_load_filters(cold);
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
		int status = start_and_step(cold, true);
		if (status < 0)
			return status;
		if (status == THERMO_MISS) {
			/* Other threads have all the jobs, or no two neighbours are free. */
			bool active = false;
			for (unsigned i = 0; i < cold->jobs_max; i++)
				active |= atomic_load(&cold->jobs[i]->active);
			if (!active)
				return -ENOSPC;
			sched_yield();
		}
		cold_bury(cold);
	}
	return 0;
}
