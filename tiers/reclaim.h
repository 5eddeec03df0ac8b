/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What migrate.c (when and where) and reclaim.c (how a segment is emptied) share. All of it is under
 * migrate_lock.
 *
 *   SEALED --chosen--> SCANNING: every live record is kept (copied), moved, dropped, or added to the
 *   run in the making --> scanned list --run published--> what still points here is unlinked --> LIMBO
 */
#ifndef TIERS_RECLAIM_H
#define TIERS_RECLAIM_H

#include "tiers/engine.h"

/* What to do with the live records of a segment. */
enum reclaim_mode {
	RECLAIM_EVICT,    /* the policy's verdict: keep, or leave memory */
	RECLAIM_PLACE,    /* DRAM, main: stay in DRAM or move to warm, by frequency */
	RECLAIM_DEMOTE,   /* DRAM: all move to warm */
	RECLAIM_RELOCATE, /* all stay in memory, wherever there is room */
	RECLAIM_FLUSH,    /* the log needs it: what cold has not leaves memory, the rest stays */
	RECLAIM_DROP,     /* the space is dropped: all go, nothing is written */
};

struct reclaim {
	struct segment *victim;
	uint32_t offset; /* next record of the victim */
	enum reclaim_mode mode;
	bool dirty; /* some record of the victim is in the run in the making */
	uint32_t freed_bytes;
	uint64_t futile; /* bytes of segments that scans for placement in a row freed little of */
	uint64_t placed[QUEUES]; /* births of the last of them */
	uint64_t cold_retry; /* monotonic ns: not before */

	struct cold_writer *writer;
	bool writer_full; /* there was no memory for one more record of it */
	struct segment_list scanned; /* emptied but for what is in writer */
	_Atomic bool publishing;     /* one thread is at it, without migrate_lock */
	uint64_t runs_begun, runs_ended; /* of writers; in this order they are published, or given up */
	uint32_t coming[MEMORY_TIERS]; /* scanned or publishing: will be free */
	uint64_t writer_bytes;         /* a run is published at this size */

	uint64_t sweep_cursor;
	uint64_t population[16]; /* records by frequency, in ... */
	uint64_t counted;        /* ... so many buckets */
	uint64_t accesses_last;
	uint64_t move_tokens, move_filled_ns; /* bytes between DRAM and warm */
	uint64_t expiry_checked_ns;
};

/* Begins the segment; it must be SEALED and its writers gone. */
void reclaim_begin(struct thermo *c, struct segment *victim, enum reclaim_mode mode);
/* Up to `records` more of the victim, and no more than some 256 KiB of them. true: the victim is done (freed, or on the scanned list). */
bool reclaim_continue(struct thermo *c, unsigned records);
/* Publishes the run in the making and frees the scanned segments. Lets go of migrate_lock meanwhile.
 * THERMO_OK, THERMO_MISS (nothing to publish, or another is at it), or -errno (kept for a retry). */
int reclaim_publish(struct thermo *c);
/* Copies the warm record with this hash to DRAM; one on probation only if it was hinted. */
void reclaim_promote(struct thermo *c, uint64_t hash, bool hinted);
/* A record of the image, as it stood. */
struct restore {
	const void *key, *value;
	uint32_t key_len, value_len;
	uint64_t seq, expires_ms;
	uint8_t space, flags, tier, queue, counter;
	bool logged; /* the image must stay for it */
};
/* Brings it back; makes room by the policy where it does not fit. 0, -ENOMEM, or -ENOSPC: there is no room
 * for it, or its segments are smaller than it. */
int reclaim_restore(struct thermo *c, const struct restore *restore);
/* Seals the output segments of one tier or of a space (tier, space < 0: any). */
void reclaim_seal_outputs(struct thermo *c, int tier, int space);

#endif
