/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the cold tier, for the files of tiers/cold only.
 *
 * Locks, in the order in which they are taken:
 *   job->lock       one job's state; only ever tried, not waited for, by cold_work
 *   edit            the manifest, the list of runs and what decides it; held over the manifest's writes
 *   writers_lock    tickets of open writers
 *   dead_lock       the list of dead runs
 * Readers take none: they enter the gate, load the set, and count themselves into it if they stay.
 *
 * Order of runs. A set's runs go from the newest to the oldest, and for every identity the versions in
 * them go down in that order: a writer that holds a version older than what others published since it
 * was opened leaves that version out (writer.c), and merges take neighbours only. So the first
 * record found is the newest one.
 */
#ifndef TIERS_COLD_TIER_H
#define TIERS_COLD_TIER_H

#include "tiers/cold/cold.h"
#include "tiers/cold/gate.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/memory.h"
#include "tiers/cold/run.h"

#include <pthread.h>

#define COLD_RUNS_MAX 64u  /* in a set */
#define COLD_RUNS_HARD 40u /* publishing compacts before it goes beyond */
#define COLD_JOBS 3u

struct cold_erasure {
	struct ident ident;
	uint64_t hash;
	uint64_t below_seq;
	uint8_t bytes[IDENT_MAX];
};

/* What a reader sees: immutable once published. */
struct run_set {
	_Atomic uint32_t refs;  /* the tier's own, and readers that stay */
	uint32_t n;
	uint32_t n_erasures;
	size_t erasure_bytes;
	struct cold_erasure *erasures; /* memory_alloc(erasure_bytes) */
	uint64_t below[256];    /* by space: records with smaller sequence numbers are dropped */
	struct run_probe {
		const struct filter_block *block; /* NULL: not in DRAM */
		uint64_t blocks;
	} probe[COLD_RUNS_MAX];
	struct run *runs[COLD_RUNS_MAX];           /* a reference each */
	struct run_filter *filters[COLD_RUNS_MAX]; /* a reference each, or NULL */
};

/* All relaxed. */
struct cold_counters {
	_Atomic uint64_t gets, hits, false_positives;
	_Atomic uint64_t reads, read_bytes, writes, write_bytes;
	_Atomic uint64_t compactions, compaction_read_bytes, compaction_write_bytes;
	_Atomic uint64_t superseded, tombstones_dropped, expired_dropped;
};

struct merge_job;

struct cold {
	/* const after open */
	struct memory memory;
	struct file dir, lock_file;
	struct io_engine *engine;
	uint64_t cap_bytes, filter_bytes, write_bytes_per_day;
	uint64_t (*clock_ms)(void *context);
	void *clock_context;
	void (*log)(void *context, const char *line);
	void *log_context;
	unsigned fan_in;

	struct gate gate;
	_Atomic(struct run_set *) set;
	_Atomic uint64_t next_number;
	_Atomic uint64_t used_bytes;  /* of all files, those being written included */
	_Atomic uint64_t filter_used; /* bytes of filters and fences in DRAM */
	_Atomic uint32_t failed;      /* 1: the last write to the directory failed */
	struct cold_counters counters;
	_Atomic uint64_t ticket;      /* of the last publication; changed under edit */

	pthread_mutex_t edit;
	/* under edit */
	struct manifest manifest;     /* what lies on the device, but for the runs: those of the set */
	uint64_t manifest_bytes;
	bool filters_short;           /* said once: filters do not fit their cap */

	pthread_mutex_t writers_lock;
	struct cold_writer *writers;  /* under writers_lock: open ones */

	pthread_mutex_t dead_lock;
	struct run *dead;             /* under dead_lock */

	struct merge_job *jobs[COLD_JOBS]; /* const after open; their insides: compact.c */
	pthread_mutex_t bucket_lock;
	int64_t bucket;               /* under bucket_lock: device bytes that compaction may write */
	uint64_t bucket_ms;           /* under bucket_lock: when it was last filled */
	uint64_t bucket_written;      /* under bucket_lock: device bytes that it knows of */
};

static inline uint64_t count(_Atomic uint64_t *counter, uint64_t n)
{
	return atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- cold.c ---- */
/* Takes room for bytes more of files: -ENOSPC beyond the cap. Only merges may take its last part. */
int cold_take(struct cold *cold, uint64_t bytes, bool merging);
void cold_give(struct cold *cold, uint64_t bytes);
/* Records in all runs, and so many more. */
uint64_t cold_records(struct cold *cold, uint64_t more);
void cold_say(struct cold *cold, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- set.c: run sets ---- */
/* The present set with a reference: it and its runs stay until set_unpin. Any thread. */
struct run_set *set_pin(struct cold *cold);
void set_unpin(struct cold *cold, struct run_set *set);
/* A set with what the manifest says, but without runs, not published yet. Under edit. NULL: no memory. */
struct run_set *set_copy(struct cold *cold);
/* Takes one more reference to the run. */
void set_append(struct run_set *set, struct run *run);
/* Frees a set that was not published. */
void set_discard(struct cold *cold, struct run_set *set);
/* Writes the manifest for the set and, if that worked, publishes it and waits until nobody can come by
 * the old one. On errors nothing changed and the set is still the caller's. Under edit. */
int set_install(struct cold *cold, struct run_set *set);
/* Writes the manifest for the present set. Under edit. */
int set_save(struct cold *cold);
/* Is a found version visible? (neither of a dropped space nor erased; it may be a tombstone or expired) */
bool set_visible(const struct run_set *set, const struct ident *ident, uint64_t hash, uint64_t seq);
void run_unref(struct cold *cold, struct run *run);
/* Closes and unlinks dead runs. Their number. */
unsigned cold_bury(struct cold *cold);
/* Could the i-th run hold a record of that hash, as far as DRAM knows? */
static inline bool set_may_hold(const struct run_set *set, uint32_t i, uint64_t hash)
{
	const struct run_probe *probe = &set->probe[i];
	return !probe->block || filter_test(probe->block, probe->blocks, hash);
}

/* ---- read.c ---- */
/* One synchronous search of one run, with the calling thread. THERMO_OK: *seq is the version's. */
struct run_reader; /* its buffers */
int run_reader_open(struct cold *cold, struct run_reader **reader);
void run_reader_close(struct cold *cold, struct run_reader **reader);
int run_reader_find(struct cold *cold, struct run_reader *reader, const struct run *run,
		    const struct ident *ident, uint64_t *seq);

/* ---- writer.c ---- */
/* Every open writer was opened after the publication with that ticket. */
bool writers_all_after(struct cold *cold, uint64_t ticket);

/* ---- compact.c ---- */
int jobs_open(struct cold *cold);
void jobs_close(struct cold *cold);
/* As cold_work, whatever the write budget says. */
int cold_work_unbudgeted(struct cold *cold);
/* Compacts until there are fewer than that many runs; -ENOSPC, -EIO, ... if that does not work. */
int compact_below(struct cold *cold, uint32_t runs);

/* ---- erase.c ---- */
/* One step of erasing: marks runs that hold what is to be erased. OK: something to do was found. */
int erase_step(struct cold *cold);

#endif
