/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing the cold tier; its directory, cap, metadata and statistics.
 *
 * Opening: directory, lock, manifest, runs, and only when all of it is proved: orphans are removed (what
 * the manifest does not name was never published, or is merged already). A directory that cannot be
 * opened is left as it is.
 */
#include "tiers/cold/tier.h"

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/error.h"
#include "alloc/heap.h"
#include "tiers/cold/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOCK_NAME "LOCK"
#define RUN_MEMORY ((uint64_t)256 << 10)
#define JOB_MEMORY ((uint64_t)16 << 20)
#define SEGMENT_BYTES_MIN (UINT64_C(4) << 20)
#define SEGMENT_BYTES_MAX (UINT64_C(256) << 20)

void cold_say(struct cold *cold, const char *format, ...)
{
	char line[320];
	va_list arguments;
	if (!cold->log)
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	cold->log(cold->log_context, line);
}

static uint64_t wall_clock(void *context)
{
	struct timespec ts;
	(void)context;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- The cap ---- */

/* Room that only merges may take: a segment or two for each job. */
static uint64_t reserve(struct cold *cold)
{
	uint64_t bytes = (cold->jobs_max + 1) * cold_file_bytes(cold);
	return bytes < cold->cap_bytes / 4 ? bytes : cold->cap_bytes / 4;
}

int cold_take(struct cold *cold, uint64_t bytes, bool merging)
{
	uint64_t cap = cold->cap_bytes;
	uint64_t used = atomic_fetch_add(&cold->used_bytes, bytes);
	uint64_t limit = merging ? cap : cap - reserve(cold);
	if (!cap || used + bytes <= limit)
		return 0;
	atomic_fetch_sub(&cold->used_bytes, bytes);
	return -ENOSPC;
}

void cold_give(struct cold *cold, uint64_t bytes)
{
	atomic_fetch_sub(&cold->used_bytes, bytes);
}

/* Files are many enough that a merge needs little room, and few enough to be kept open. */
uint64_t cold_file_bytes(struct cold *cold)
{
	if (cold->segment_bytes)
		return cold->segment_bytes;
	uint64_t all = cold->cap_bytes ? cold->cap_bytes : atomic_load(&cold->used_bytes);
	uint64_t bytes = all / 128;
	return bytes < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN :
	       bytes > SEGMENT_BYTES_MAX ? SEGMENT_BYTES_MAX : bytes;
}

/* ---- Opening ---- */

/* "0123456789abcdef.seg", or that with ".tmp". */
static bool is_segment_name(const char *name, uint64_t *number, bool *temporary)
{
	char expected[SEGMENT_NAME_BYTES];
	char *end;
	*number = strtoull(name, &end, 16);
	cold_segment_name(*number, expected);
	size_t len = strlen(expected);
	if (strncmp(name, expected, len))
		return false;
	*temporary = !strcmp(name + len, ".tmp");
	return *temporary || !name[len];
}

static int visit_any_segment(void *context, const char *name)
{
	uint64_t number;
	bool temporary;
	(void)context;
	return is_segment_name(name, &number, &temporary) && !temporary ? 1 : 0;
}

/* What is known of the segment after this one in its run: where it begins. */
static struct point next_first(struct cold *cold, const struct manifest_segment *entry, bool last)
{
	struct cold_segment *segment;
	struct point first = POINT_END;
	bool footer_good, fences_good;
	if (last || cold_segment_open_damaged(cold, entry + 1, &segment, &footer_good, &fences_good))
		return first;
	if (fences_good)
		first = segment->first;
	cold_segment_free(cold, segment);
	return first;
}

static int visit_orphan(void *context, const char *name)
{
	struct cold *cold = context;
	uint64_t number;
	bool temporary;
	bool orphan = !strcmp(name, MANIFEST_NAME ".tmp");
	if (is_segment_name(name, &number, &temporary)) {
		orphan = true;
		for (uint32_t i = 0; i < cold->manifest.n_segments && !temporary; i++)
			orphan &= cold->manifest.segments[i].number != number;
	}
	return orphan ? file_unlink(&cold->dir, name) : 0;
}

/* Reads the manifest; where the directory is empty, a new one comes into being at the end of opening. */
static int read_manifest(struct cold *cold, bool *fresh, struct thermo_error *error)
{
	*fresh = false;
	int status = manifest_read(&cold->memory, &cold->dir, &cold->manifest,
				   &cold->manifest_bytes, error);
	if (status != -ENOENT)
		return status;
	int found = file_list(&cold->dir, visit_any_segment, NULL);
	if (found < 0)
		return error_set(error, found, "%s: the directory cannot be listed (%s)",
				 cold->dir.name, strerrordesc_np(-found));
	if (found)
		return error_set(error, -EILSEQ,
				 "%s/" MANIFEST_NAME ": it is missing, and there are segments; "
				 "restore the directory from a copy, or empty it", cold->dir.name);
	*fresh = true;
	cold->manifest.next_number = 1;
	return 0;
}

/* Opens the segments of the manifest's i-th run, the first of them being number `at` of all. */
static int open_run(struct cold *cold, uint32_t i, uint32_t at, struct run_set *set,
		    struct thermo_error *error)
{
	const struct manifest_run *entry = &cold->manifest.runs[i];
	struct point from = { entry->from_hash, entry->from_space };
	size_t bytes = entry->segments * sizeof(struct cold_segment *);
	struct cold_segment **segments = memory_alloc(&cold->memory, bytes);
	struct run *run = NULL;
	uint32_t n = 0;
	bool none = false;
	int status = segments ? 0 : error_set(error, -ENOMEM, "%s: there is no memory for its runs",
					      cold->dir.name);
	for (uint32_t k = 0; k < entry->segments && !status; k++) {
		const struct manifest_segment *what = &cold->manifest.segments[at + k];
		segments[n] = NULL;
		if (cold->repair)
			status = repair_segment(cold, what, from, n ? segments[n - 1]->last : POINT_FIRST,
						next_first(cold, what, k + 1 == entry->segments),
						&segments[n], error);
		else
			status = cold_segment_open(cold, what, &segments[n], error);
		if (status)
			break;
		if (!segments[n])
			continue; /* nothing was left of it */
		atomic_fetch_add(&cold->used_bytes, segments[n]->file_bytes);
		if (n && !point_before(segments[n - 1]->last, segments[n]->first))
			status = error_set(error, -EILSEQ, "%s/" MANIFEST_NAME ": its segments are "
					   "out of order; restore the directory from a copy, or "
					   "empty it", cold->dir.name);
		n++;
	}
	if (!status && (n || !cold->repair))
		run = run_new(cold, segments, n, from, NULL, &none);
	if (!status && !run && (n || !cold->repair))
		status = none ? error_set(error, -EILSEQ, "%s/" MANIFEST_NAME ": one of its runs is "
					  "empty; restore the directory from a copy, or empty it",
					  cold->dir.name) :
				error_set(error, -ENOMEM, "%s: there is no memory for its runs",
					  cold->dir.name);
	if (run) {
		run->level = entry->level;
		run->shadowed = entry->shadowed;
		if (point_before(run->segment[0]->first, from))
			cold_segment_count_given(cold, run->segment[0]);
		set_append(set, run);
		run_unref(cold, run); /* the set has its own */
	}
	while (n--)
		cold_segment_unref(cold, segments[n]);
	memory_free(&cold->memory, segments, bytes);
	return status;
}

static int open_runs(struct cold *cold, struct run_set *set, struct thermo_error *error)
{
	uint32_t at = 0;
	if (cold->manifest.n_runs > COLD_RUNS_MAX)
		return error_set(error, -EPROTO, "%s/" MANIFEST_NAME ": %" PRIu32 " runs are more "
				 "than this version can open", cold->dir.name,
				 cold->manifest.n_runs);
	for (uint32_t i = 0; i < cold->manifest.n_runs; i++) {
		int status = open_run(cold, i, at, set, error);
		if (status)
			return status;
		at += cold->manifest.runs[i].segments;
	}
	return 0;
}

static int open_dir(struct cold *cold, const struct file_ops *ops, const char *path,
		    struct thermo_error *error)
{
	int status = file_open_dir(ops, path, &cold->dir);
	if (status == -ENOENT) {
		status = file_make_dir(ops, path);
		if (!status)
			status = file_open_dir(ops, path, &cold->dir);
	}
	if (status)
		return error_set(error, status, "%s: the directory of the cold tier cannot be opened "
				 "(%s); name one that can", path, strerrordesc_np(-status));
	status = file_open(&cold->dir, LOCK_NAME, FILE_WRITE | FILE_EXISTING_OR_NEW,
			   &cold->lock_file);
	if (status)
		return error_set(error, status, "%s/" LOCK_NAME ": it cannot be opened (%s); "
				 "the cold tier must be able to write to its directory", path,
				 strerrordesc_np(-status));
	status = file_lock(&cold->lock_file);
	if (status == -EBUSY)
		return error_set(error, status, "%s: the directory is in use by another cache; "
				 "close it, or name another directory", path);
	if (status)
		return error_set(error, status, "%s/" LOCK_NAME ": it cannot be locked (%s)", path,
				 strerrordesc_np(-status));
	return 0;
}

/* Manifest, runs, the first set; then what is left over goes. */
static int open_state(struct cold *cold, struct thermo_error *error)
{
	bool fresh;
	int status = read_manifest(cold, &fresh, error);
	if (status)
		return status;
	atomic_store(&cold->next_number, cold->manifest.next_number);
	atomic_fetch_add(&cold->used_bytes, cold->manifest_bytes);
	struct run_set *set = set_copy(cold);
	if (!set)
		return error_set(error, -ENOMEM, "%s: there is no memory", cold->dir.name);
	status = open_runs(cold, set, error);
	if (status) {
		set_discard(cold, set);
		return status;
	}
	set_begin(cold, set);
	if (cold->repair)
		return 0; /* what the manifest does not name may be of use to somebody */
	status = file_list(&cold->dir, visit_orphan, cold);
	if (!status && fresh) {
		pthread_mutex_lock(&cold->edit);
		status = set_save(cold);
		pthread_mutex_unlock(&cold->edit);
	}
	if (status)
		error_set(error, status, "%s: the directory cannot be written (%s)",
			  cold->dir.name, strerrordesc_np(-status));
	return status;
}

/* A merge has a buffer for each run, and each job a builder: less of both where there is little memory. */
static void choose_sizes(struct cold *cold, const struct cold_options *options)
{
	uint64_t cap = atomic_load(&options->budget->cap);
	uint64_t runs = cap / RUN_MEMORY, jobs = cap / JOB_MEMORY;
	cold->runs_max = runs < COLD_RUNS_LEAST ? COLD_RUNS_LEAST :
			 runs > COLD_RUNS_DEFAULT ? COLD_RUNS_DEFAULT : (unsigned)runs;
	if (options->runs_max)
		cold->runs_max = options->runs_max;
	cold->jobs_max = jobs < 1 ? 1 : jobs > COLD_JOBS ? COLD_JOBS : (unsigned)jobs;
}

static void take_options(struct cold *cold, const struct cold_options *options)
{
	cold->memory = (struct memory){ options->heap, options->budget };
	cold->dir.fd = cold->lock_file.fd = -1;
	cold->cap_bytes = options->cap_bytes;
	cold->filter_bytes = options->filter_bytes;
	cold->write_bytes_per_day = options->write_bytes_per_day;
	cold->scrub_ms = options->scrub_ms;
	cold->clock_ms = options->clock_ms ? options->clock_ms : wall_clock;
	cold->clock_context = options->clock_context;
	cold->log = options->log;
	cold->log_context = options->log_context;
	choose_sizes(cold, options);
	cold->garbage_percent = options->garbage_percent ? options->garbage_percent :
							   COLD_GARBAGE_DEFAULT;
	cold->segment_bytes = options->segment_bytes;
	cold->bucket_ms = cold->clock_ms(cold->clock_context);
	cold->bucket = (int64_t)(cold->write_bytes_per_day / 24);
	pthread_mutex_init(&cold->edit, NULL);
	pthread_mutex_init(&cold->publish_lock, NULL);
	pthread_mutex_init(&cold->writers_lock, NULL);
	pthread_mutex_init(&cold->dead_lock, NULL);
	pthread_mutex_init(&cold->bucket_lock, NULL);
}

static int open_tier(const struct cold_options *options, struct cold_repair *repair,
		     struct cold **out, struct thermo_error *error)
{
	struct memory memory = { options->heap, options->budget };
	if (options->runs_max > COLD_RUNS_MAX - 28)
		return error_set(error, -EINVAL, "runs_max: %u is more than %u", options->runs_max,
				 COLD_RUNS_MAX - 28);
	struct cold *cold = memory_alloc(&memory, sizeof(*cold));
	if (!cold)
		return error_set(error, -ENOMEM, "cold tier: there is no memory");
	take_options(cold, options);
	cold->repair = repair;
	const struct file_ops *ops = options->files ? options->files : &file_ops_posix;
	int status = open_dir(cold, ops, options->dir, error);
	if (!status && (jobs_open(cold) || cold_build_open(cold, &cold->build)))
		status = error_set(error, -ENOMEM, "cold tier: there is no memory");
	if (!status)
		status = open_state(cold, error);
	if (!status) {
		struct io_options io = { .kind = options->io ? options->io : "auto",
					 .threads = ops->read_threads,
					 .heap = options->heap,
					 .budget = options->budget,
					 .log = options->log,
					 .log_context = options->log_context };
		status = io_engine_open(&io, &cold->engine, error);
	}
	if (!status && scrub_open(cold))
		status = error_set(error, -ENOMEM, "cold tier: there is no memory");
	if (status)
		cold_close(&cold);
	else
		*out = cold;
	return status;
}

int cold_open(const struct cold_options *options, struct cold **out, struct thermo_error *error)
{
	return open_tier(options, NULL, out, error);
}

int cold_repair(const struct cold_options *options, struct cold_repair *repair,
		struct thermo_error *error)
{
	struct cold *cold = NULL;
	*repair = (struct cold_repair){ .dry_run = repair->dry_run };
	int status = open_tier(options, repair, &cold, error);
	if (status)
		return status;
	if (!repair->dry_run && repair->damaged)
		status = repair_save(cold);
	if (status)
		error_set(error, status, "%s: what was repaired cannot be recorded (%s); nothing was "
			  "changed", cold->dir.name, strerrordesc_np(-status));
	cold_close(&cold);
	return status;
}

void cold_close(struct cold **out)
{
	struct cold *cold = *out;
	if (!cold)
		return;
	check(!cold->writers);
	scrub_close(cold);
	jobs_close(cold);
	cold_build_close(&cold->build);
	struct run_set *set = atomic_load(&cold->set);
	if (set) {
		check(atomic_load(&set->refs) == 1); /* ios and scans are closed */
		set_unpin(cold, set);
	}
	while (cold_bury(cold))
		continue;
	if (cold->engine)
		io_engine_close(&cold->engine);
	manifest_clear(&cold->memory, &cold->manifest);
	file_close(&cold->lock_file);
	file_close(&cold->dir);
	pthread_mutex_destroy(&cold->edit);
	pthread_mutex_destroy(&cold->publish_lock);
	pthread_mutex_destroy(&cold->writers_lock);
	pthread_mutex_destroy(&cold->dead_lock);
	pthread_mutex_destroy(&cold->bucket_lock);
	struct memory memory = cold->memory;
	memory_free(&memory, cold, sizeof(*cold));
	*out = NULL;
}

/* ---- Metadata ---- */

int cold_meta_set(struct cold *cold, const void *bytes, size_t len)
{
	struct manifest *manifest = &cold->manifest;
	uint8_t *meta = NULL;
	if (len > MANIFEST_BYTES_MAX / 2)
		return -EFBIG;
	if (len) {
		meta = memory_alloc(&cold->memory, len);
		if (!meta)
			return -ENOMEM;
		memcpy(meta, bytes, len);
	}
	pthread_mutex_lock(&cold->edit);
	uint8_t *old = manifest->meta;
	uint32_t old_len = manifest->meta_bytes;
	manifest->meta = meta;
	manifest->meta_bytes = (uint32_t)len;
	int status = atomic_load(&cold->failed) ? -EROFS : set_save(cold);
	if (status) {
		manifest->meta = old;
		manifest->meta_bytes = old_len;
		old = meta;
		old_len = (uint32_t)len;
	}
	pthread_mutex_unlock(&cold->edit);
	memory_free(&cold->memory, old, old_len);
	return status;
}

size_t cold_meta_get(struct cold *cold, void *bytes, size_t capacity)
{
	pthread_mutex_lock(&cold->edit);
	size_t len = cold->manifest.meta_bytes;
	if (len && capacity)
		memcpy(bytes, cold->manifest.meta, capacity < len ? capacity : len);
	pthread_mutex_unlock(&cold->edit);
	return len;
}

uint64_t cold_max_seq(struct cold *cold)
{
	pthread_mutex_lock(&cold->edit);
	uint64_t seq = cold->manifest.max_seq;
	pthread_mutex_unlock(&cold->edit);
	return seq;
}

uint64_t cold_space_below(struct cold *cold, uint8_t space)
{
	pthread_mutex_lock(&cold->edit);
	uint64_t below = cold->manifest.below[space];
	pthread_mutex_unlock(&cold->edit);
	return below;
}

uint64_t cold_next_number(struct cold *cold)
{
	return atomic_load(&cold->next_number);
}

void cold_log_options(struct cold *cold, struct log_options *options)
{
	options->dir = &cold->dir;
	options->memory = &cold->memory;
	options->numbers = &cold->next_number;
}

/* ---- Statistics ---- */

static uint64_t value(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void cold_stats(struct cold *cold, struct thermo_stats *stats)
{
	struct cold_counters *counters = &cold->counters;
	struct io_stats io;
	struct thermo_tier_stats *tier = &stats->tier[THERMO_COLD];
	io_engine_stats(cold->engine, &io);
	stats->uring = io.uring;
	stats->device_reads = value(&counters->reads);
	stats->device_read_bytes = value(&counters->read_bytes);
	stats->device_writes = value(&counters->writes);
	stats->device_write_bytes = value(&counters->write_bytes);
	stats->cold_gets = value(&counters->gets);
	stats->cold_hits = value(&counters->hits);
	stats->cold_point_reads = value(&counters->point_reads);
	stats->filter_false_positives = value(&counters->false_positives);
	stats->compactions = value(&counters->compactions);
	stats->compaction_read_bytes = value(&counters->compaction_read_bytes);
	stats->compaction_write_bytes = value(&counters->compaction_write_bytes);
	stats->filter_bytes = value(&cold->filter_used);
	stats->cold_failed = atomic_load(&cold->failed);
	stats->cold_bytes = value(&cold->used_bytes);
	stats->cold_records = stats->cold_tombstones = tier->record_bytes = 0;
	uint64_t segments = 0;
	struct run_set *set = set_pin(cold);
	stats->cold_runs = set->n;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct run *run = set->runs[i];
		stats->cold_records += run->records;
		stats->cold_tombstones += run->tombstones;
		tier->record_bytes += run->record_bytes;
		segments += run->n;
	}
	set_unpin(cold, set);
	tier->cap_bytes = cold->cap_bytes;
	tier->used_bytes = stats->cold_bytes;
	tier->segments = segments;
	tier->hits = stats->cold_hits;
	tier->records_expired = value(&counters->expired_dropped);
	scrub_stats(cold, stats);
}
