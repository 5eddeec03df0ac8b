/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing the cold tier; its directory, cap, metadata and statistics.
 *
 * Opening: directory, lock, manifest, runs, and only when all of it is proved: orphans are removed (what
 * the manifest does not name was never published, or is merged already). A directory that cannot be
 * opened is left as it is.
 */
#include "tiers/cold/tier.h"

#include "alloc/check.h"
#include "alloc/error.h"
#include "alloc/heap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOCK_NAME "LOCK"
#define FAN_IN_DEFAULT 4u

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

int cold_take(struct cold *cold, uint64_t bytes, bool merging)
{
	uint64_t cap = cold->cap_bytes;
	uint64_t used = atomic_fetch_add(&cold->used_bytes, bytes);
	/* The last eighth is for merges: without it a full tier could not even throw away. */
	uint64_t limit = merging ? cap : cap - cap / 8;
	if (!cap || used + bytes <= limit)
		return 0;
	atomic_fetch_sub(&cold->used_bytes, bytes);
	return -ENOSPC;
}

void cold_give(struct cold *cold, uint64_t bytes)
{
	atomic_fetch_sub(&cold->used_bytes, bytes);
}

uint64_t cold_records(struct cold *cold, uint64_t more)
{
	struct run_set *set = set_pin(cold);
	for (uint32_t i = 0; i < set->n; i++)
		more += set->runs[i]->footer.records;
	set_unpin(cold, set);
	return more;
}

/* ---- Opening ---- */

/* "0123456789abcdef.run", or that with ".tmp". */
static bool is_run_name(const char *name, uint64_t *number, bool *temporary)
{
	char expected[RUN_NAME_BYTES];
	char *end;
	*number = strtoull(name, &end, 16);
	run_name(*number, expected);
	size_t len = strlen(expected);
	if (strncmp(name, expected, len))
		return false;
	*temporary = !strcmp(name + len, ".tmp");
	return *temporary || !name[len];
}

static int visit_any_run(void *context, const char *name)
{
	uint64_t number;
	bool temporary;
	(void)context;
	return is_run_name(name, &number, &temporary) && !temporary ? 1 : 0;
}

static int visit_orphan(void *context, const char *name)
{
	struct cold *cold = context;
	uint64_t number;
	bool temporary;
	bool orphan = !strcmp(name, MANIFEST_NAME ".tmp");
	if (is_run_name(name, &number, &temporary)) {
		orphan = true;
		for (uint32_t i = 0; i < cold->manifest.n_runs && !temporary; i++)
			orphan &= cold->manifest.runs[i].number != number;
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
	int found = file_list(&cold->dir, visit_any_run, NULL);
	if (found < 0)
		return error_set(error, found, "%s: the directory cannot be listed (%s)",
				 cold->dir.name, strerrordesc_np(-found));
	if (found)
		return error_set(error, -EILSEQ,
				 "%s/" MANIFEST_NAME ": it is missing, and there are run files; "
				 "restore the directory from a copy, or empty it", cold->dir.name);
	*fresh = true;
	cold->manifest.next_number = 1;
	return 0;
}

static int open_runs(struct cold *cold, struct run_set *set, struct thermo_error *error)
{
	if (cold->manifest.n_runs > COLD_RUNS_MAX)
		return error_set(error, -EPROTO, "%s/" MANIFEST_NAME ": %" PRIu32 " runs are more "
				 "than this version can open", cold->dir.name,
				 cold->manifest.n_runs);
	for (uint32_t i = 0; i < cold->manifest.n_runs; i++) {
		struct run *run;
		int status = run_open(cold, &cold->manifest.runs[i], &run, error);
		if (status)
			return status;
		set_append(set, run);
		run_unref(cold, run); /* the set has its own */
		atomic_fetch_add(&cold->used_bytes, run->file_bytes);
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
	atomic_store(&cold->set, set);
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

static void take_options(struct cold *cold, const struct cold_options *options)
{
	cold->memory = (struct memory){ options->heap, options->budget };
	cold->dir.fd = cold->lock_file.fd = -1;
	cold->cap_bytes = options->cap_bytes;
	cold->filter_bytes = options->filter_bytes;
	cold->write_bytes_per_day = options->write_bytes_per_day;
	cold->clock_ms = options->clock_ms ? options->clock_ms : wall_clock;
	cold->clock_context = options->clock_context;
	cold->log = options->log;
	cold->log_context = options->log_context;
	cold->fan_in = options->fan_in ? options->fan_in : FAN_IN_DEFAULT;
	cold->bucket_ms = cold->clock_ms(cold->clock_context);
	cold->bucket = (int64_t)(cold->write_bytes_per_day / 24);
	pthread_mutex_init(&cold->edit, NULL);
	pthread_mutex_init(&cold->writers_lock, NULL);
	pthread_mutex_init(&cold->dead_lock, NULL);
	pthread_mutex_init(&cold->bucket_lock, NULL);
}

int cold_open(const struct cold_options *options, struct cold **out, struct thermo_error *error)
{
	struct memory memory = { options->heap, options->budget };
	if (options->fan_in == 1 || options->fan_in > 16)
		return error_set(error, -EINVAL, "fan_in: %u is not in 2..16", options->fan_in);
	struct cold *cold = memory_alloc(&memory, sizeof(*cold));
	if (!cold)
		return error_set(error, -ENOMEM, "cold tier: there is no memory");
	take_options(cold, options);
	const struct file_ops *ops = options->files ? options->files : &file_ops_posix;
	int status = open_dir(cold, ops, options->dir, error);
	if (!status && jobs_open(cold))
		status = error_set(error, -ENOMEM, "cold tier: there is no memory");
	if (!status)
		status = open_state(cold, error);
	if (!status) {
		struct io_options io = { .kind = options->io ? options->io : "auto",
					 .heap = options->heap,
					 .budget = options->budget,
					 .log = options->log,
					 .log_context = options->log_context };
		status = io_engine_open(&io, &cold->engine, error);
	}
	if (status)
		cold_close(&cold);
	else
		*out = cold;
	return status;
}

void cold_close(struct cold **out)
{
	struct cold *cold = *out;
	if (!cold)
		return;
	check(!cold->writers);
	jobs_close(cold);
	struct run_set *set = atomic_load(&cold->set);
	if (set) {
		check(atomic_load(&set->refs) == 1); /* ios and scans are closed */
		set_unpin(cold, set);
	}
	cold_bury(cold);
	if (cold->engine)
		io_engine_close(&cold->engine);
	manifest_clear(&cold->memory, &cold->manifest);
	file_close(&cold->lock_file);
	file_close(&cold->dir);
	pthread_mutex_destroy(&cold->edit);
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
	stats->filter_false_positives = value(&counters->false_positives);
	stats->compactions = value(&counters->compactions);
	stats->compaction_read_bytes = value(&counters->compaction_read_bytes);
	stats->compaction_write_bytes = value(&counters->compaction_write_bytes);
	stats->filter_bytes = value(&cold->filter_used);
	stats->cold_failed = atomic_load(&cold->failed);
	stats->cold_bytes = value(&cold->used_bytes);
	stats->cold_records = stats->cold_tombstones = tier->record_bytes = 0;
	struct run_set *set = set_pin(cold);
	stats->cold_runs = set->n;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct run_footer *footer = &set->runs[i]->footer;
		stats->cold_records += footer->records;
		stats->cold_tombstones += footer->tombstones;
		tier->record_bytes += footer->record_bytes;
	}
	set_unpin(cold, set);
	tier->cap_bytes = cold->cap_bytes;
	tier->used_bytes = stats->cold_bytes;
	tier->segments = stats->cold_runs;
	tier->hits = stats->cold_hits;
	tier->records_expired = value(&counters->expired_dropped);
}
