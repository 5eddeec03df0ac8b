/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the log, for tiers/cold/log*.c only.
 *
 * Locks: files_lock (the list of files, the making and removing of them; held over the device), then lock (who
 * leads, who waits, promises; held over nothing).
 */
#ifndef TIERS_COLD_LOG_PRIVATE_H
#define TIERS_COLD_LOG_PRIVATE_H

#include "tiers/cold/io.h"
#include "tiers/cold/log.h"
#include "tiers/cold/log_format.h"
#include "tiers/cold/memory.h"

#include <pthread.h>

#define LOG_NAME_BYTES 24
#define LOG_FILES_MAX 256u

struct log_listed {
	uint64_t number, bytes;
};

struct log_open_file {
	struct file file; /* fd -1: there is none */
	uint64_t number, salt;
	uint64_t used; /* bytes; the next frame begins here */
};

struct log {
	struct log_options options; /* const after open */
	/* const after start */
	uint64_t file_bytes;
	uint32_t ring_bytes; /* a power of two */
	char *ring;          /* zero where nothing is */

	/* Apart, so that writers do not share lines more than they must; the heap aligns to 16 bytes only. */
	char _apart[128];
	_Atomic uint64_t tail; /* of positions given */
	_Atomic uint64_t appends;
	char _apart_room[128];
	_Atomic int64_t room; /* bytes of the ring that nobody reserved */
	char _apart_written[128];
	_Atomic uint64_t written, synced;
	_Atomic int failed;
	_Atomic uint32_t admits;  /* what fits the ring fits the files */
	_Atomic uint64_t left;    /* bytes of the present file */
	_Atomic bool has_next;
	_Atomic uint64_t current; /* number of the present file */
	_Atomic bool started;
	/* Who sets it leads. Who waits sleeps on `turn`, a futex that goes up when somebody has led: whom the sync served
	 * goes on without a lock, so that a group does not wake up in single file. */
	_Atomic uint32_t leading, turn;

	pthread_mutex_t lock;
	pthread_cond_t wake; /* the thread */
	/* under lock */
	bool stopping;
	uint64_t due_ns; /* monotonic; 0: nothing was promised */
	struct log_watch *watches;
	pthread_t thread;
	bool threaded;

	/* owned by who leads */
	struct log_open_file file;
	uint64_t position;        /* of the next frame */
	uint64_t synced_position;
	uint64_t flushed;         /* records in frames */
	uint64_t batch;           /* of the last sync */
	uint64_t sync_ns;         /* that one takes, smoothed */

	pthread_mutex_t files_lock;
	/* under files_lock */
	struct log_listed files[LOG_FILES_MAX]; /* oldest first; the present and the next one included */
	uint32_t n_files;
	uint64_t bytes; /* of all */
	struct log_open_file next;

	_Atomic uint64_t writes, syncs, write_bytes, replayed, torn, trimmed;
};

void log_say(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t log_now_ns(void);
/* The first who fails gives the reason. */
void log_fail(struct log *log, int status, const char *what);

/* ---- log_files.c ---- */
void log_file_name(uint64_t number, char name[LOG_NAME_BYTES]);
/* Makes the next file if there is none: 0, LOG_FULL, or -errno. */
int log_prepare(struct log *log);
/* Takes the next file for the present one; what was written is synced by then. For who leads. */
int log_turn(struct log *log);
void log_admit(struct log *log);

#endif
