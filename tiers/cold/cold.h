/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cold tier: an LSM of immutable sorted runs on NVMe. Cold keys cost no index entry, only filter and
 * fence bytes in DRAM under a cap. A point get that hits costs one device read; one that misses
 * nearly always none.
 *
 * Life-cycle of a run:   writer (DRAM, unsorted) -> file written, synced, renamed -> manifest record ->
 * visible -> merged into another -> manifest record -> unlinked when the last snapshot lets go.
 *
 * Order of versions: the record with the greatest sequence number of a key is the truth; runs are
 * searched newest first and every run's range of sequence numbers is known, so the search ends at
 * the first record found. An unreadable block ends the search with an error: it never falls through
 * to an older version. Tombstones are dropped by compaction only when no older run can hold the key.
 *
 * Threads: cold_work may be called by several threads (each takes another piece); a writer, an io, a
 * scan belong to one thread at a time; everything else from any thread. No thread is started here but
 * those of the pread pool where io_uring is refused.
 */
#ifndef TIERS_COLD_COLD_H
#define TIERS_COLD_COLD_H

#include "include/thermocline.h"

struct budget;
struct file_ops;
struct heap;
struct cold;
struct cold_writer;
struct cold_io;
struct cold_scan;

#define COLD_VALUE_MAX (256u << 10) /* bytes; larger values come in chunks */

#define COLD_NUMBERS_MAX (1u << 20) /* COLD_NUMBERED */

enum cold_flag {
	COLD_TOMBSTONE = 1, /* the key was deleted; value_len is 0 */
	COLD_CHUNK = 2,     /* a piece of a large value: not a user's key, but distinct from one */
	COLD_HEAD = 4,      /* the head of a large value: carried, not interpreted */
	COLD_NUMBERED = 128, /* cold_erase only: see there */
};

/* Identity: (space, key bytes, COLD_CHUNK). Sorted by space, then hash, then key bytes, then COLD_CHUNK. */
struct cold_record {
	const void *key;
	const void *value;
	uint32_t key_len;
	uint32_t value_len;
	uint8_t space;
	uint8_t flags;
	uint64_t hash; /* of the identity: key_hash() in tiers/record.h */
	uint64_t seq;
	uint64_t expires_ms; /* 0 = never */
};

struct cold_options {
	const char *dir;        /* locked by cold_open */
	const char *io;         /* "auto", "uring", "pread" */
	uint64_t cap_bytes;     /* 0 = what the file system has */
	uint64_t filter_bytes;  /* cap of filters and fences in DRAM */
	uint64_t write_bytes_per_day; /* 0 = unlimited */
	uint64_t scrub_ms;      /* all files are read and checked once in that time; 0 = never */
	struct budget *budget;  /* DRAM */
	struct heap *heap;
	uint64_t (*clock_ms)(void *context);
	void *clock_context;
	void (*log)(void *context, const char *line);
	void *log_context;
	const struct file_ops *files; /* NULL: POSIX (tests put faults here: io.h) */
	/* 0 = chosen, all three */
	unsigned runs_max; /* when there are more runs, the youngest are merged; at most 100 */
	unsigned garbage_percent; /* all runs are merged when garbage is that much of what is live */
	uint64_t segment_bytes; /* files end at about this size */
};

/* Takes the directory's lock, reads the manifest, opens the runs, removes orphans.
 * -EBUSY, -ENOENT, -ENOTDIR, -EROFS, -EACCES, -EPROTO (unknown version), -EILSEQ (damaged), ... */
int cold_open(const struct cold_options *options, struct cold **cold, struct thermo_error *error);
/* Opens the directory as cold_open does, with what is damaged in its segments put right: every readable
 * record of a damaged file goes to a new one, what cannot be read becomes a hole of the manifest (keys that may
 * have been there answer -EIO, not a miss, until they are written again), the damaged file is renamed to
 * NUMBER.seg.bad. Sound files are not touched. Then the tier is closed again. options: dir, budget,
 * heap, filter_bytes, log (a line for each thing done) and files. dry_run: says what would be done. */
struct cold_repair {
	bool dry_run;           /* in */
	uint32_t segments, damaged, missing, holes;
	uint64_t blocks_lost, records_salvaged;
};
int cold_repair(const struct cold_options *options, struct cold_repair *repair,
		struct thermo_error *error);
/* Writers, ios and scans must be closed. Runs are durable already. */
void cold_close(struct cold **cold);

/* ---- Writing ---- */
/* A run in the making: records in any order, at most one of each identity. Buffers are charged to the
 * budget. */
int cold_writer_open(struct cold *cold, struct cold_writer **writer);
int cold_writer_add(struct cold_writer *writer, const struct cold_record *record); /* -ENOMEM */
uint64_t cold_writer_bytes(const struct cold_writer *writer); /* of memory that its records take */
uint64_t cold_writer_records(const struct cold_writer *writer);
/* Sorts, encodes, writes, syncs, records in the manifest, makes visible, frees the writer (NULLs it).
 * On -ENOSPC, -EIO, -ENOMEM nothing is visible and the writer is as it was: try again or abort. */
int cold_writer_publish(struct cold_writer **writer);
void cold_writer_abort(struct cold_writer **writer);

/* ---- Point reads ---- */
struct cold_get {
	/* in */
	const void *key;
	uint64_t hash;
	uint32_t key_len;
	uint8_t space;
	uint8_t flags; /* COLD_CHUNK or 0: part of the identity */
	/* out, valid from done until cold_get_release */
	int status; /* THERMO_OK, THERMO_MISS, THERMO_LOST or a negative errno (-EIO: bad block) */
	struct cold_record record; /* key is the caller's; value points into this get's buffer */
	void *user;       /* the caller's */
	/* private */
	struct cold_get *next;
	void *state[6];
};

/* Could the key be in any run? Filters only, no device read; false is certain. */
bool cold_may_contain(struct cold *cold, uint8_t space, uint64_t hash);

int cold_io_open(struct cold *cold, unsigned depth, struct cold_io **io);
void cold_io_close(struct cold_io **io);
/* Pins the runs as of now, tests filters, queues the first read. 1: done at once (get->status is set; still
 * to be released), 0: under way. Reads go out at cold_io_submit, all in one submission. */
int cold_get_start(struct cold_io *io, struct cold_get *get);
void cold_io_submit(struct cold_io *io);
/* Collects up to max finished gets, waiting up to timeout_ns for the first. A false positive's next
 * read is sent by itself. */
unsigned cold_io_wait(struct cold_io *io, struct cold_get **done, unsigned max, int64_t timeout_ns);
/* Polls readable when cold_io_wait would return something. */
int cold_io_fd(struct cold_io *io);
void cold_get_release(struct cold_io *io, struct cold_get *get);
/* Abandons a get that is under way: its buffers are freed when the device is done with them, the get
 * itself is the caller's at once. */
void cold_get_cancel(struct cold_io *io, struct cold_get *get);

/* ---- Scans ---- */
/* Newest versions of a space's keys that begin with prefix, in the order of their hashes (so all of the
 * space is read), tombstones and expired records left out (chunks too), over the runs as of now. Reads
 * ahead sequentially; not through the point path. */
int cold_scan_open(struct cold *cold, uint8_t space, const void *prefix, size_t prefix_len,
		   struct cold_scan **scan);
int cold_scan_next(struct cold_scan *scan, struct cold_record *record); /* OK, MISS (end), -errno */
void cold_scan_close(struct cold_scan **scan);

/* ---- Upkeep ---- */
/* One bounded piece of compaction, of deletion of files, of expiry: THERMO_OK if something was done,
 * THERMO_MISS if idle, or a negative errno (it is retried later). */
int cold_work(struct cold *cold);
/* Every record of the space goes: invisible from now on, removed by compaction or whole. Returns when
 * that is recorded. A later user of the id is told apart by sequence numbers above below_seq. */
int cold_space_drop(struct cold *cold, uint8_t space, uint64_t below_seq);
/* Versions with smaller sequence numbers than below_seq are invisible from now on, those of writers that are open
 * included, and are removed by cold_work. OK: there are none; PENDING: that is recorded; or -errno. With
 * COLD_NUMBERED the key's last four bytes are a number, little-endian: all keys go that have a smaller one there. */
int cold_erase_begin(struct cold *cold, const struct cold_get *identity, uint64_t below_seq);
/* Rewrites whatever holds a copy until none does and the writers that were open at the begin are closed: OK, or
 * PENDING at timeout_ns: it goes on. */
int cold_erase_wait(struct cold *cold, const struct cold_get *identity, int64_t timeout_ns);
/* A block of bytes that the engine keeps in the manifest (its spaces, its clock): replaced whole,
 * durable on return. meta_get: copies up to capacity, returns the full length. */
int cold_meta_set(struct cold *cold, const void *bytes, size_t len);
size_t cold_meta_get(struct cold *cold, void *bytes, size_t capacity);
/* Fills the cold fields of stats (device_*, cold_*, filter_*, compaction*, scrub_*, uring). */
void cold_stats(struct cold *cold, struct thermo_stats *stats);
/* Greatest sequence number in any run. */
uint64_t cold_max_seq(struct cold *cold);
/* Records of the space with smaller sequence numbers were dropped with it. */
uint64_t cold_space_below(struct cold *cold, uint8_t space);
/* Fills in where a log beside the runs lies: directory, memory, numbers of files. */
/* The number that the next file gets. */
uint64_t cold_next_number(struct cold *cold);
struct log_options;
void cold_log_options(struct cold *cold, struct log_options *options);

#endif
