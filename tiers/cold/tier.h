/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the cold tier, for the files of tiers/cold only.
 *
 * Locks, in the order in which they are taken:
 *   publish_lock    the builder of publications
 *   scrub->lock     the scrub's state; only ever tried
 *   job->lock       one job's state; only ever tried, not waited for
 *   edit            the manifest, the list of runs and what decides it; held over the manifest's writes
 *   writers_lock    tickets of open writers
 *   dead_lock       the lists of what is to be closed or given back, and of the sets that live
 * Readers take none: they enter the gate, load the set, and count themselves into it if they stay.
 *
 * Order of runs. A set's runs go from the newest to the oldest, and for every identity the versions in
 * them go down in that order: a writer that holds a version older than what others published since it
 * was opened leaves that version out (writer.c), and merges take neighbours only. So the first
 * record found is the newest one. Runs between which a merge is under way share the order of records:
 * what comes out has the records below a point, what goes in counts from that point on.
 */
#ifndef TIERS_COLD_TIER_H
#define TIERS_COLD_TIER_H

#include "tiers/cold/cold.h"
#include "tiers/cold/gate.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/memory.h"
#include "tiers/cold/cold_segment.h"

#include <pthread.h>

#define COLD_RUNS_MAX 128u /* in a set */
#define COLD_JOBS 3u
#define COLD_RUNS_DEFAULT 64u
#define COLD_RUNS_LEAST 16u
#define COLD_GARBAGE_DEFAULT 80u /* percent */

struct cold_erasure {
	struct ident ident;
	uint64_t hash;      /* if not numbered */
	uint64_t below_seq;
	uint64_t ticket;
	bool numbered;
	uint32_t numbers;   /* identities: 1 if not numbered */
	uint8_t bytes[IDENT_MAX];
};

/* What a reader sees: immutable once published. */
struct run_set {
	_Atomic uint32_t refs;  /* the tier's own, and readers that stay */
	uint32_t n;
	struct run *runs[COLD_RUNS_MAX]; /* a reference each; the newest first */
	uint64_t below[256];    /* by space: records with smaller sequence numbers are dropped */
	uint32_t n_erasures;
	size_t erasure_bytes;
	struct cold_erasure *erasures; /* memory_alloc(erasure_bytes) */
	uint64_t generation;           /* of the manifest; under dead_lock, as the two below */
	struct run_set *older, *newer; /* sets that live */
};

/* Bytes of a file that no run counts any more; given back when the sets that did are gone. */
struct punch {
	struct cold_segment *segment; /* a reference */
	uint64_t upto;
	uint64_t generation;     /* of the first set that does not need them */
	struct punch *next;
};

/* All relaxed. */
struct cold_counters {
	_Atomic uint64_t gets, hits, false_positives;
	_Atomic uint64_t point_reads; /* of gets; reads counts upkeep's and scans' too */
	_Atomic uint64_t reads, read_bytes, writes, write_bytes;
	_Atomic uint64_t compactions, compaction_read_bytes, compaction_write_bytes;
	_Atomic uint64_t superseded, tombstones_dropped, expired_dropped;
	_Atomic uint64_t scrub_bytes, scrub_passes;
};

struct merge_job;
struct scrub;

struct cold {
	/* const after open */
	struct memory memory;
	struct file dir, lock_file;
	struct io_engine *engine;
	uint64_t cap_bytes, filter_bytes, write_bytes_per_day, segment_bytes;
	uint64_t (*clock_ms)(void *context);
	void *clock_context;
	void (*log)(void *context, const char *line);
	void *log_context;
	unsigned runs_max, garbage_percent, jobs_max;
	struct cold_repair *repair;   /* NULL but while cold_repair opens it */
	uint64_t scrub_ms;            /* of a pass; 0: no scrub */
	struct scrub *scrub;          /* scrub.c; NULL: no scrub */

	struct gate gate;
	_Atomic(struct run_set *) set;
	_Atomic uint64_t next_number;
	_Atomic uint64_t used_bytes;  /* of all files, those being written included */
	_Atomic uint64_t filter_used; /* bytes of filters and fences in DRAM */
	_Atomic uint32_t failed;      /* 1: a sync of the directory failed: no more writes */
	_Atomic uint64_t ticket;      /* of the last publication or erasure; changed under edit */
	_Atomic uint32_t filters_out; /* 1: some segments' filters are not in DRAM */
	struct cold_counters counters;

	pthread_mutex_t edit;
	/* under edit */
	struct manifest manifest;     /* what lies on the device, but for the runs: those of the set. Its holes
				       * are const after open, and readers look at them. */
	uint64_t manifest_bytes;
	bool filters_short;           /* said once: filters do not fit their cap */
	uint64_t weighed_generation, weighed_ms; /* when garbage was last estimated */
	bool garbage_due;

	pthread_mutex_t publish_lock;
	struct cold_build *build;     /* under publish_lock */

	pthread_mutex_t writers_lock;
	struct cold_writer *writers;  /* under writers_lock: open ones */

	pthread_mutex_t dead_lock;
	/* under dead_lock */
	struct cold_segment *dead;
	struct punch *punches;
	struct run_set *oldest_set;

	struct merge_job *jobs[COLD_JOBS]; /* jobs_max of them; const after open; their insides: compact.c */
	pthread_mutex_t bucket_lock;
	/* under bucket_lock */
	int64_t bucket;               /* device bytes that compaction may write */
	uint64_t bucket_ms;           /* when it was last filled */
	uint64_t bucket_written;      /* device bytes that it knows of */
};

static inline uint64_t count(_Atomic uint64_t *counter, uint64_t n)
{
	return atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- cold.c ---- */
/* Takes room for bytes more of files: -ENOSPC beyond the cap. Only merges may take its last part. */
int cold_take(struct cold *cold, uint64_t bytes, bool merging);
void cold_give(struct cold *cold, uint64_t bytes);
/* Bytes at which a segment is ended. */
uint64_t cold_file_bytes(struct cold *cold);
void cold_say(struct cold *cold, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- set.c: run sets ---- */
/* The present set with a reference: it and its runs stay until set_unpin. Any thread. */
struct run_set *set_pin(struct cold *cold);
void set_unpin(struct cold *cold, struct run_set *set);
/* A set with what the manifest says, but without runs, not published yet. Under edit. NULL: no memory. */
struct run_set *set_copy(struct cold *cold);
/* Takes one more reference to the run. -ENOSPC: there are too many. */
int set_append(struct run_set *set, struct run *run);
/* Frees a set that was not published. */
void set_discard(struct cold *cold, struct run_set *set);
/* The first set of a tier that is being opened: as the manifest says. */
void set_begin(struct cold *cold, struct run_set *set);
/* Writes the manifest for the set and, if that worked, publishes it and waits until nobody can come by
 * the old one. On errors nothing changed and the set is still the caller's. Under edit. */
int set_install(struct cold *cold, struct run_set *set);
/* The same with the present runs, for changes of the manifest's other parts. */
int set_reinstall(struct cold *cold);
/* Writes the manifest for the present set. Under edit. */
int set_save(struct cold *cold);
/* Is a found version visible? (neither of a dropped space nor erased; it may be a tombstone or expired) */
bool set_visible(const struct run_set *set, const struct ident *ident, uint64_t hash, uint64_t seq);
/* Would a version of the point with a number above seq lie in a hole that repair left? Then what has seq (0:
 * there is nothing) is not the truth. */
bool set_lost(const struct cold *cold, const struct run_set *set, struct point point, uint64_t seq);
/* Could the run hold a record of the point, as far as DRAM knows? Enters the gate. */
bool set_may_hold(struct cold *cold, const struct run *run, struct point point);
/* The file's bytes before `upto` (and after its header's page) count for no set from the present one on;
 * the segment stays. Under edit. */
void set_punch_later(struct cold *cold, struct cold_segment *segment, uint64_t upto);
/* Closes and unlinks dead segments, gives back punched bytes. How many things it did. */
unsigned cold_bury(struct cold *cold);
/* Brings a filter that is out of DRAM back in, if it fits. OK or MISS. */
int set_load_filters(struct cold *cold);

/* ---- read.c ---- */
/* One synchronous search of one run, with the calling thread. THERMO_OK: *seq is the version's, *segment
 * (if not NULL) where it is. */
struct run_reader; /* its buffers */
int run_reader_open(struct cold *cold, struct run_reader **reader);
void run_reader_close(struct cold *cold, struct run_reader **reader);
int run_reader_find(struct cold *cold, struct run_reader *reader, const struct run *run,
		    const struct ident *ident, uint64_t hash, uint64_t *seq,
		    struct cold_segment **segment);

/* ---- writer.c ---- */
/* Every open writer was opened after the publication with that ticket. */
bool writers_all_after(struct cold *cold, uint64_t ticket);

/* ---- pick.c: what is to be merged ---- */
struct window {
	uint32_t first, n;        /* of the set's runs */
	uint16_t level;           /* of what comes out */
	bool full;                /* all runs: garbage goes */
	struct cold_segment *rewrite;  /* not NULL: this segment of that one run only */
};
/* Under edit. forced: whatever costs the least, to have fewer runs. */
bool pick_window(struct cold *cold, const struct run_set *set, bool forced, struct window *window);
/* Takes whole runs and segments out that are of no use, and joins runs that follow one another in the
 * order of records. THERMO_OK if there were some, MISS, -errno. */
int pick_tidy(struct cold *cold);

/* ---- compact.c ---- */
int jobs_open(struct cold *cold);
void jobs_close(struct cold *cold);
/* As cold_work, whatever the write budget says. */
int cold_work_unbudgeted(struct cold *cold);
/* Compacts until there are fewer than that many runs; -ENOSPC, -EIO, ... if that does not work. */
int compact_below(struct cold *cold, uint32_t runs);

/* ---- scrub.c ---- */
int scrub_open(struct cold *cold); /* -ENOMEM */
void scrub_close(struct cold *cold);
/* A piece, if one is due: THERMO_OK, or THERMO_MISS. */
int scrub_step(struct cold *cold);
void scrub_stats(struct cold *cold, struct thermo_stats *stats);

/* ---- repair.c ---- */
/* The entry's segment as it is if nothing is wrong with it, else a new one with what could be salvaged, and
 * holes for the rest; *segment NULL: nothing could. before, after: what is known of the neighbours in the run,
 * POINT_FIRST and POINT_END at its ends. */
int repair_segment(struct cold *cold, const struct manifest_segment *entry, struct point from,
		   struct point before, struct point after, struct cold_segment **segment,
		   struct thermo_error *error);

/* Records the repaired runs and the holes in the manifest, then sets the damaged files aside. */
int repair_save(struct cold *cold);

/* ---- erase.c ---- */
void erasure_make(struct cold_erasure *erasure, const struct manifest_key *key);
/* Is it the version of an identity that is to go? */
bool erasure_covers(const struct cold_erasure *erasure, const struct ident *ident, uint64_t hash,
		    uint64_t seq);
/* One step of erasing: marks segments that hold what is to be erased. OK: something was done. */
int erase_step(struct cold *cold);

#endif
