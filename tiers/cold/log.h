/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write-ahead log: what durable spaces were given and cold does not hold yet.
 *
 * Life-cycle: log_open (finds the files) -> log_replay (their records, in the order of writing) -> log_start (new
 * files, from here on it takes records) -> log_close.
 *
 * An append has four steps, so that nobody waits under a bucket's lock and the order of positions is
 * that of sequence numbers along every key:
 *   log_reserve  room in the buffer and on the disk; may wait, takes no position
 *   log_take     a position: one addition, under the bucket's lock in which the sequence number is given
 *   log_fill     copies the record there and marks it complete
 *   log_wait     until it is written, or synced
 *
 * Group commit. One of those who wait leads: it makes one frame of everything complete, writes it and syncs once
 * for all; what comes meanwhile is the next one's. Positions here count bytes of records in the buffer, a ring;
 * positions on the disk (log_format.h) count frames.
 *
 * Files are made before they are needed: preallocated, header written and synced, directory synced.
 * A write or sync that fails is final: the log takes nothing more (log_failed), and what was not acknowledged
 * by then never will be.
 *
 * Threads: any, but open, replay, start, close. A thread of its own makes the next file, and syncs what was
 * promised within a time.
 */
#ifndef TIERS_COLD_LOG_H
#define TIERS_COLD_LOG_H

#include "tiers/cold/cold.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct file;
struct log;
struct memory;

struct log_options {
	struct file *dir;            /* open as long as the log */
	struct memory *memory;
	_Atomic uint64_t *numbers;   /* the next file number */
	uint64_t from;               /* files with smaller numbers are of no use any more: removed */
	uint64_t cap_bytes;          /* of all files */
	uint32_t record_max;         /* bytes of the largest record, log_entry_bytes */
	bool thread;                 /* start one */
	uint64_t (*clock_ms)(void *context);
	void *clock_context;
	void (*say)(void *context, const char *line);
	void *say_context;
};

/* Least cap for records of that size. */
uint64_t log_cap_least(uint32_t record_max);
/* Finds the files, and raises *numbers above theirs. */
int log_open(const struct log_options *options, struct log **log, struct thermo_error *error);
void log_close(struct log **log); /* syncs nothing: log_sync before */

/* Non-zero ends the replay and is its answer. file: where the record lies. */
typedef int (*log_apply_fn)(void *context, const struct cold_record *record, uint64_t file);
/* All records, oldest first. A torn tail ends it, and is counted; damage below what a later frame says was synced
 * is -EILSEQ with file, offset and extent in *error, and so is a file that is missing between others. */
int log_replay(struct log *log, log_apply_fn apply, void *context, struct thermo_error *error);
/* Files that are there, before log_start. */
unsigned log_files(const struct log *log);

int log_start(struct log *log, struct thermo_error *error);
bool log_started(const struct log *log);

enum { LOG_FULL = 70 };
/* 0, LOG_FULL (no file may be made under the cap: trim), -ENOSPC, -EROFS (it failed before), or -errno of
 * making a file. bytes: log_entry_bytes. Waits for the device at most, when the buffer is full. */
int log_reserve(struct log *log, uint32_t bytes);
void log_cancel(struct log *log, uint32_t bytes);
/* The file that what is taken from now on may lie in, or one after it. */
uint64_t log_current(const struct log *log);
/* After log_reserve of as many bytes; never waits. */
uint64_t log_take(struct log *log, uint32_t bytes);
/* Must follow soon: whoever leads waits for it. The key is record->key. */
void log_fill(struct log *log, uint64_t at, const struct cold_record *record);
/* Everything taken so far. */
uint64_t log_tail(const struct log *log);

enum log_level { LOG_WRITTEN, LOG_SYNCED };
bool log_reached(const struct log *log, uint64_t end, enum log_level level);
/* Until all below `end` is written or synced: THERMO_OK, PENDING at timeout_ns, or -EIO (the log failed). */
int log_wait(struct log *log, uint64_t end, enum log_level level, int64_t timeout_ns);
/* What was taken is to be synced within that time; by the log's thread, or by log_work. */
void log_promise(struct log *log, uint32_t ms);
/* The descriptor gets an eight-byte 1 as soon as all below `end` is synced, or the log has failed. One for each fd. */
struct log_watch {
	struct log_watch *next;
	uint64_t end;
	int fd;
	bool armed;
};
void log_watch(struct log *log, struct log_watch *watch, uint64_t end, int fd);
void log_unwatch(struct log *log, struct log_watch *watch);

/* What the thread does, for hosts that gave none: true if something was done. */
bool log_work(struct log *log);
/* Ends the present file: what is taken from now on lies in later ones. *file: the last one before. */
int log_rotate(struct log *log, uint64_t *file);
/* Removes files whose numbers are below `needed`, all but the present one. Their number. */
unsigned log_trim(struct log *log, uint64_t needed);
/* The oldest file; UINT64_MAX if there is none. */
uint64_t log_oldest(struct log *log);
/* Is it time to empty the oldest file? */
bool log_pressed(struct log *log);
int log_failed(const struct log *log); /* 0, or the -errno that was final */
/* Removes every file; the log is not used any more. */
int log_remove_all(struct log *log);

void log_stats(struct log *log, struct thermo_stats *stats);

#endif
