/* SPDX-License-Identifier: Apache-2.0 */
/* The log's buffer and group commit. See log.h. */
#include "tiers/cold/log_private.h"

#include "alloc/check.h"
#include "tiers/cold/crc.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define GATHER_NS_MAX (MS / 2)
#define PATIENCE 4096 /* turns for room that others have reserved */

uint64_t log_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void log_say(struct log *log, const char *format, ...)
{
	char line[320];
	va_list arguments;
	if (!log->options.say)
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	log->options.say(log->options.say_context, line);
}

void log_fail(struct log *log, int status, const char *what)
{
	int none = 0;
	if (atomic_compare_exchange_strong(&log->failed, &none, status))
		log_say(log, "%s: %s the log failed (%s): durable spaces are read-only from now on; "
			     "check the device and reopen", log->options.dir->name, what,
			strerrordesc_np(-status));
}

int log_failed(const struct log *log)
{
	return atomic_load(&log->failed);
}

bool log_started(const struct log *log)
{
	return atomic_load(&log->started);
}

uint64_t log_current(const struct log *log)
{
	return atomic_load(&log->current);
}

uint64_t log_tail(const struct log *log)
{
	return atomic_load(&log->tail);
}

bool log_reached(const struct log *log, uint64_t end, enum log_level level)
{
	return atomic_load(level == LOG_SYNCED ? &log->synced : &log->written) >= end;
}

/* ---- Appending ---- */

int log_reserve(struct log *log, uint32_t bytes)
{
	if (atomic_load_explicit(&log->failed, memory_order_relaxed))
		return -EROFS;
	if (!atomic_load_explicit(&log->admits, memory_order_relaxed)) {
		int rc = log_prepare(log);
		if (rc)
			return rc;
	}
	int64_t room = atomic_load_explicit(&log->room, memory_order_relaxed);
	for (unsigned turns = 0;;) {
		if (room >= (int64_t)bytes) {
			if (atomic_compare_exchange_weak(&log->room, &room, room - (int64_t)bytes))
				return 0;
			continue;
		}
		/* What was taken makes room when it is written; what is only reserved, soon. */
		if (log_wait(log, log_tail(log), LOG_WRITTEN, -1) < 0)
			return -EROFS;
		if (++turns > PATIENCE)
			return LOG_FULL;
		if (turns > 1)
			sched_yield();
		room = atomic_load(&log->room);
	}
}

void log_cancel(struct log *log, uint32_t bytes)
{
	atomic_fetch_add(&log->room, (int64_t)bytes);
}

uint64_t log_take(struct log *log, uint32_t bytes)
{
	return atomic_fetch_add(&log->tail, bytes);
}

/* The ring's end may lie inside. */
static void ring_put(struct log *log, uint64_t at, const void *bytes, size_t n)
{
	size_t offset = at & (log->ring_bytes - 1);
	size_t first = log->ring_bytes - offset < n ? log->ring_bytes - offset : n;
	if (n == 0)
		return;
	memcpy(log->ring + offset, bytes, first);
	memcpy(log->ring, (const char *)bytes + first, n - first);
}

/* The first word of what lies at a position: 0 until it is complete. */
static _Atomic uint64_t *ring_mark(struct log *log, uint64_t at)
{
	return (_Atomic uint64_t *)(void *)(log->ring + (at & (log->ring_bytes - 1)));
}

void log_fill(struct log *log, uint64_t at, const struct cold_record *record)
{
	struct log_entry entry = {
		.bytes = log_entry_bytes(record->key_len, record->value_len),
		.key_len = (uint16_t)record->key_len,
		.space = record->space,
		.flags = record->flags,
		.seq = record->seq,
		.expires_ms = record->expires_ms,
		.value_len = record->value_len,
	};
	uint64_t mark;
	memcpy(&mark, &entry, sizeof(mark));
	ring_put(log, at + sizeof(mark), (const char *)&entry + sizeof(mark), sizeof(entry) - sizeof(mark));
	ring_put(log, at + sizeof(entry), record->key, record->key_len);
	ring_put(log, at + sizeof(entry) + record->key_len, record->value, record->value_len);
	atomic_fetch_add_explicit(&log->appends, 1, memory_order_relaxed);
	atomic_store_explicit(ring_mark(log, at), mark, memory_order_release);
}

/* ---- Leading: one thread at a time ---- */

/* Complete records from `written` on: their bytes, up to a frame's. It waits for those below `upto`. */
static uint32_t collect(struct log *log, uint64_t tail, uint64_t upto, uint32_t *records)
{
	uint64_t from = atomic_load(&log->written), at = from;
	uint32_t most = log->ring_bytes / 4 < LOG_PAYLOAD_MAX / 2 ? log->ring_bytes / 4 : LOG_PAYLOAD_MAX / 2;
	*records = 0;
	while (at < tail && at - from < most) {
		uint64_t mark = atomic_load_explicit(ring_mark(log, at), memory_order_acquire);
		if (!mark && at >= upto)
			break;
		if (!mark) {
			sched_yield();
			continue;
		}
		at += (uint32_t)mark; /* log_entry.bytes */
		++*records;
	}
	return (uint32_t)(at - from);
}

static int write_frame(struct log *log, uint32_t bytes, uint32_t records)
{
	static const char zeroes[LOG_SECTOR];
	uint64_t all = log_frame_bytes(bytes), from = atomic_load(&log->written);
	size_t offset = from & (log->ring_bytes - 1);
	size_t first = log->ring_bytes - offset < bytes ? log->ring_bytes - offset : bytes;
	if (log->file.used + all > log->file_bytes) {
		int rc = log_turn(log);
		if (rc)
			return rc;
	}
	struct log_frame frame = {
		.magic = LOG_FRAME_MAGIC,
		.number = log->file.number,
		.salt = log->file.salt,
		.position = log->position,
		.synced = log->synced_position,
		.bytes = bytes,
		.records = records,
	};
	const size_t covered = offsetof(struct log_frame, number);
	frame.crc = crc_update(0, (const char *)&frame + covered, sizeof(frame) - covered);
	frame.crc = crc_update(frame.crc, log->ring + offset, first);
	frame.crc = crc_update(frame.crc, log->ring, bytes - first);
	struct iovec pieces[] = {
		{&frame, sizeof(frame)},
		{log->ring + offset, first},
		{log->ring, bytes - first},
		{(void *)(uintptr_t)zeroes, all - sizeof(frame) - bytes},
	};
	int rc = file_write_pieces(&log->file.file, pieces, 4, log->file.used);
	if (rc) {
		log_fail(log, rc, "a write of");
		return rc;
	}
	log->file.used += all;
	atomic_store(&log->left, log->file_bytes - log->file.used);
	log->position += all;
	log->flushed += records;
	log_admit(log);
	memset(log->ring + offset, 0, first);
	memset(log->ring, 0, bytes - first);
	atomic_store(&log->written, from + bytes);
	atomic_fetch_add(&log->room, bytes);
	atomic_fetch_add_explicit(&log->writes, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&log->write_bytes, all, memory_order_relaxed);
	return 0;
}

/* Those whom the last sync released come back at once: one that begins before they have come syncs for the few
 * who were left, and the next again for all the others. So it waits for as many, a small part of its own time. */
static void gather(struct log *log)
{
	uint64_t most = log->sync_ns / 8 < GATHER_NS_MAX ? log->sync_ns / 8 : GATHER_NS_MAX;
	uint64_t began = log_now_ns();
	while (atomic_load(&log->appends) - log->flushed < log->batch && log_now_ns() - began < most)
		sched_yield();
}

static int sync_written(struct log *log)
{
	uint64_t written = atomic_load(&log->written), position = log->position;
	if (atomic_load(&log->synced) >= written)
		return 0;
	uint64_t began = log_now_ns();
	int rc = file_sync_data(&log->file.file);
	if (rc) {
		log_fail(log, rc, "a sync of");
		return rc;
	}
	log->sync_ns = (log->sync_ns * 7 + (log_now_ns() - began)) / 8;
	log->synced_position = position;
	atomic_store(&log->synced, written);
	atomic_fetch_add_explicit(&log->syncs, 1, memory_order_relaxed);
	return 0;
}

static void lead(struct log *log, uint64_t upto, enum log_level level)
{
	uint64_t flushed = log->flushed;
	if (level == LOG_SYNCED && log->batch > 1)
		gather(log);
	uint64_t tail = log_tail(log);
	while (!log_failed(log) && atomic_load(&log->written) < tail) {
		uint32_t records, bytes = collect(log, tail, upto, &records);
		if (!bytes || write_frame(log, bytes, records))
			break;
	}
	if (level == LOG_SYNCED && !log_failed(log) && sync_written(log) == 0)
		log->batch = log->flushed - flushed;
}

static void timed(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns)
{
	struct timespec t = {(time_t)(until_ns / (1000 * MS)), (long)(until_ns % (1000 * MS))};
	pthread_cond_timedwait(cond, lock, &t);
}

/* Under lock. */
static void tell_watches(struct log *log)
{
	struct log_watch **at = &log->watches;
	bool all = log_failed(log) != 0 || !log->threaded; /* who has no thread is to poll */
	while (*at) {
		struct log_watch *watch = *at;
		if (!all && !log_reached(log, watch->end, LOG_SYNCED)) {
			at = &watch->next;
			continue;
		}
		uint64_t one = 1;
		*at = watch->next;
		watch->armed = false;
		if (write(watch->fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
			continue; /* it is readable already */
	}
}

/* Sleeps until somebody has led since `turn` was read, or until then. */
static void sleep_turn(struct log *log, uint32_t turn, uint64_t until_ns)
{
	struct timespec t = {(time_t)(until_ns / (1000 * MS)), (long)(until_ns % (1000 * MS))};
	syscall(SYS_futex, &log->turn, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, turn,
		until_ns == UINT64_MAX ? NULL : &t, NULL, FUTEX_BITSET_MATCH_ANY);
}

static bool lead_begin(struct log *log)
{
	return !atomic_load(&log->leading) && !atomic_exchange(&log->leading, 1);
}

static void lead_end(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	tell_watches(log);
	pthread_mutex_unlock(&log->lock);
	atomic_store(&log->leading, 0);
	atomic_fetch_add(&log->turn, 1);
	syscall(SYS_futex, &log->turn, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, NULL, NULL, 0);
}

int log_wait(struct log *log, uint64_t end, enum log_level level, int64_t timeout_ns)
{
	uint64_t until = timeout_ns < 0 ? UINT64_MAX : log_now_ns() + (uint64_t)timeout_ns;
	for (;;) {
		uint32_t turn = atomic_load(&log->turn);
		if (log_reached(log, end, level))
			return THERMO_OK;
		if (log_failed(log))
			return -EIO;
		if (timeout_ns >= 0 && log_now_ns() >= until)
			return THERMO_PENDING;
		if (!lead_begin(log)) {
			sleep_turn(log, turn, until);
			continue;
		}
		if (!log_reached(log, end, level))
			lead(log, end, level);
		lead_end(log);
	}
}

int log_rotate(struct log *log, uint64_t *file)
{
	int rc = log_wait(log, log_tail(log), LOG_SYNCED, -1);
	if (rc == 0)
		rc = log_prepare(log);
	if (rc)
		return rc;
	uint32_t turn = atomic_load(&log->turn);
	for (; !lead_begin(log); turn = atomic_load(&log->turn))
		sleep_turn(log, turn, log_now_ns() + MS);
	*file = log_current(log);
	rc = log_failed(log) ? -EIO : log_turn(log);
	lead_end(log);
	return rc;
}

/* ---- Promises ---- */

void log_promise(struct log *log, uint32_t ms)
{
	uint64_t now = log_now_ns(), due = now + ms * MS;
	pthread_mutex_lock(&log->lock);
	bool late = log->due_ns && log->due_ns < now;
	bool first = !log->due_ns || due < log->due_ns;
	if (first)
		log->due_ns = due;
	if (first && log->threaded)
		pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	if (late) /* whose word it was is busy, or not there */
		log_wait(log, log_tail(log), LOG_SYNCED, -1);
}

void log_watch(struct log *log, struct log_watch *watch, uint64_t end, int fd)
{
	pthread_mutex_lock(&log->lock);
	watch->end = end;
	watch->fd = fd;
	if (!watch->armed) {
		watch->next = log->watches;
		log->watches = watch;
		watch->armed = true;
	}
	if (log->threaded) {
		log->due_ns = 1;
		pthread_cond_signal(&log->wake);
	}
	tell_watches(log);
	pthread_mutex_unlock(&log->lock);
}

void log_unwatch(struct log *log, struct log_watch *watch)
{
	pthread_mutex_lock(&log->lock);
	for (struct log_watch **at = &log->watches; *at; at = &(*at)->next)
		if (*at == watch) {
			*at = watch->next;
			break;
		}
	watch->armed = false;
	pthread_mutex_unlock(&log->lock);
}

/* Keeps what was promised by now. */
static bool keep_promises(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	bool due = log->due_ns && log->due_ns <= log_now_ns();
	if (due)
		log->due_ns = 0;
	pthread_mutex_unlock(&log->lock);
	return due && log_wait(log, log_tail(log), LOG_SYNCED, -1) == THERMO_OK;
}

bool log_work(struct log *log)
{
	bool did = keep_promises(log);
	if (!log_failed(log) && log_started(log))
		log_prepare(log);
	return did;
}

static void *run(void *argument)
{
	struct log *log = argument;
	pthread_mutex_lock(&log->lock);
	while (!log->stopping) {
		uint64_t now = log_now_ns(), until = now + 100 * MS;
		if (log->due_ns && log->due_ns < until)
			until = log->due_ns;
		if (until > now)
			timed(&log->wake, &log->lock, until);
		pthread_mutex_unlock(&log->lock);
		log_work(log);
		pthread_mutex_lock(&log->lock);
	}
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

/* ---- Starting and stopping ---- */

static uint32_t ring_least(uint32_t record_max)
{
	uint32_t bytes = 64 << 10;
	while (bytes < 4 * record_max)
		bytes *= 2;
	return bytes;
}

/* A file holds what the ring does, however small its frames, and the header. */
#define RINGS 16u

uint64_t log_cap_least(uint32_t record_max)
{
	return 4 * RINGS * (uint64_t)ring_least(record_max);
}

static void choose_sizes(struct log *log)
{
	uint32_t ring = ring_least(log->options.record_max);
	while (ring < (4u << 20) && 8 * RINGS * 2 * (uint64_t)ring <= log->options.cap_bytes)
		ring *= 2;
	log->ring_bytes = ring;
	log->file_bytes = RINGS * (uint64_t)ring;
}

/* Is there, after this, room for all that the ring can hold, in frames of a record each? */
void log_admit(struct log *log)
{
	/* Glances: whoever changes one of them comes here after. */
	bool next = atomic_load(&log->has_next);
	uint64_t left = atomic_load(&log->left);
	atomic_store(&log->admits, next || left >= (RINGS - 2) * (uint64_t)log->ring_bytes);
}

int log_start(struct log *log, struct thermo_error *error)
{
	if (log_started(log))
		return 0;
	choose_sizes(log);
	if (!log->ring)
		log->ring = memory_alloc(log->options.memory, log->ring_bytes);
	if (!log->ring)
		return -ENOMEM; /* the caller makes some */
	int rc = log_prepare(log);
	if (rc == LOG_FULL)
		rc = -ENOSPC;
	if (rc == 0)
		rc = log_turn(log);
	if (rc) {
		snprintf(error->text, sizeof(error->text), "%s: the log's file could not be made: %s",
			 log->options.dir->name, strerrordesc_np(-rc));
		return rc;
	}
	atomic_store(&log->room, log->ring_bytes);
	if (log->options.thread && pthread_create(&log->thread, NULL, run, log) == 0) {
		pthread_mutex_lock(&log->lock);
		log->threaded = true;
		pthread_mutex_unlock(&log->lock);
	}
	atomic_store(&log->started, true);
	return 0;
}

void log_close(struct log **out)
{
	struct log *log = *out;
	if (!log)
		return;
	if (log->threaded) {
		pthread_mutex_lock(&log->lock);
		log->stopping = true;
		pthread_cond_signal(&log->wake);
		pthread_mutex_unlock(&log->lock);
		pthread_join(log->thread, NULL);
	}
	file_close(&log->file.file);
	file_close(&log->next.file);
	if (log->ring)
		memory_free(log->options.memory, log->ring, log->ring_bytes);
	pthread_mutex_destroy(&log->lock);
	pthread_mutex_destroy(&log->files_lock);
	pthread_cond_destroy(&log->wake);
	struct memory *memory = log->options.memory;
	memory_free(memory, log, sizeof(*log));
	*out = NULL;
}

void log_stats(struct log *log, struct thermo_stats *stats)
{
	stats->log_appends = atomic_load(&log->appends);
	stats->log_append_bytes = atomic_load(&log->tail);
	stats->log_writes = atomic_load(&log->writes);
	stats->log_write_bytes = atomic_load(&log->write_bytes);
	stats->log_syncs = atomic_load(&log->syncs);
	stats->log_replayed = atomic_load(&log->replayed);
	stats->log_torn = atomic_load(&log->torn);
	stats->log_trimmed = atomic_load(&log->trimmed);
	stats->log_failed = log_failed(log) != 0;
	pthread_mutex_lock(&log->files_lock);
	stats->log_bytes = log->bytes;
	pthread_mutex_unlock(&log->files_lock);
}
