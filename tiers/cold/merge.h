/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going through runs in order: one run block by block with reading ahead, and several merged, each
 * identity once, with its newest version. For scans and compaction; belongs to one thread at a time.
 * An iterator holds the segments that it has not passed yet, so the caller need not pin anything.
 */
#ifndef TIERS_COLD_MERGE_H
#define TIERS_COLD_MERGE_H

#include "tiers/cold/tier.h"

#define MERGE_AHEAD_MIN ((size_t)24 << 10) /* bytes read at once of each run: any block of PACK_LONG bytes */
#define MERGE_AHEAD_MAX ((size_t)128 << 10)
#define MERGE_SCRATCH ((size_t)20 << 10)   /* bytes for a block of usual size */

struct run_iter {
	struct cold *cold;
	struct cold_segment **segments; /* memory_alloc(n pointers); a reference each from next_segment - 1 on */
	uint32_t n;
	uint32_t next_segment;     /* the present one is that before */
	const struct cold_segment *segment; /* the present one; NULL before the first and after the last */
	uint32_t block;            /* the next block of it */
	struct point start;        /* nothing before it is given out */
	uint8_t *buffer;           /* page-aligned: file bytes [from, from + filled) */
	size_t room;
	uint64_t from;
	size_t filled;
	uint8_t *scratch;
	size_t scratch_room;
	bool own_buffer, own_scratch; /* in memory_alloc of their own: for long records */
	bool bad;                  /* a block that passed its check was wrong: nothing more comes */
	uint64_t read_bytes;       /* so far */
	struct point point;        /* of the present record */
	struct block_cursor at;    /* the present record */
};

struct merge {
	struct cold *cold;
	uint32_t n;              /* runs; the first is the newest */
	uint32_t heap_n;
	uint32_t current;        /* whose record was given out; n: none */
	uint32_t next;           /* whose record comes next, when older versions of it have been passed; n: none */
	struct run_iter **iters; /* n of them */
	uint32_t *heap;          /* of the others that have a record: the least on top */
	uint64_t duplicates;
	uint8_t *slab;           /* the iterators' buffers and scratches, of usual size */
	size_t ahead;            /* bytes of a buffer in it */
	void *decoder_memory;
	struct block_decoder decoder;
};

/* Merges n runs, the first the newest, from the point `start` (and from each run's own `from`) on.
 * -ENOMEM, -EIO (a bad block), ... */
int merge_open(struct cold *cold, struct run *const *runs, uint32_t n, struct point start,
	       struct merge **merge);
/* The newest version of the next identity; valid until the next call. THERMO_OK, THERMO_MISS at the end,
 * -EIO, -ENOMEM: no record was passed over, the next call tries again. */
int merge_next(struct merge *merge, const struct run_iter **record);
/* Older versions that merge_next passed over, so far. */
uint64_t merge_duplicates(const struct merge *merge);
uint64_t merge_read_bytes(const struct merge *merge);
void merge_close(struct merge **merge);

#endif
