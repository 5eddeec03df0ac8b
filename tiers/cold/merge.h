/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going through runs in order: one run block by block with reading ahead, and several merged, each
 * identity once, with its newest version. For scans and compaction; belongs to one thread at a time.
 * The runs are held by the caller's pinned set.
 */
#ifndef TIERS_COLD_MERGE_H
#define TIERS_COLD_MERGE_H

#include "tiers/cold/tier.h"

#define MERGE_AHEAD ((size_t)128 << 10) /* bytes read at once of each run */

struct run_iter {
	struct cold *cold;
	const struct run *run;
	struct fence_cursor fence; /* the next block */
	uint8_t *buffer;           /* page-aligned: file bytes [from, from + filled) */
	size_t room;
	uint64_t from;
	size_t filled;
	uint8_t *scratch;
	size_t scratch_room;
	uint64_t read_bytes;       /* so far */
	struct block_cursor at;    /* the present record */
};

struct merge {
	struct cold *cold;
	uint32_t n;              /* runs; the first is the newest */
	uint32_t heap_n;
	uint32_t current;        /* whose record was given out; n: none */
	struct run_iter **iters; /* n of them */
	uint32_t *heap;          /* of the others that have a record: the least on top */
	void *decoder_memory;
	struct block_decoder decoder;
};

/* Merges the set's runs [first, first + n), from the first identity >= start on (NULL: from the
 * beginning). -ENOMEM, -EIO (a bad block), ... */
int merge_open(struct cold *cold, const struct run_set *set, uint32_t first, uint32_t n,
	       const struct ident *start, struct merge **merge);
/* The newest version of the next identity; valid until the next call. *run: which of the n it was in.
 * THERMO_OK, THERMO_MISS at the end, -EIO. */
int merge_next(struct merge *merge, const struct block_cursor **record, uint32_t *run);
uint64_t merge_read_bytes(const struct merge *merge);
void merge_close(struct merge **merge);

#endif
