/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fences: which one block of a segment could hold a point. Eight bytes a block, used in DRAM as they lie
 * in the file. Hashes are spread evenly, so 32 bits of them, scaled to the segment's range, tell blocks
 * apart but for a chance in millions; then the block before may hold the record too (fence_again).
 *
 * Life-cycle: a builder takes a segment's blocks in order; fence_check proves what was read from a file;
 * only that may be searched. Searching is thread-safe.
 */
#ifndef TIERS_COLD_FENCE_H
#define TIERS_COLD_FENCE_H

#include "tiers/cold/format.h"
#include "tiers/cold/ident.h"

struct memory;

struct fences {
	const uint32_t *separator; /* [blocks]; start[] follows */
	const uint32_t *start;
	const struct segment_space *spaces;
	uint32_t blocks;
	uint32_t n_spaces;
	uint64_t data_end;
};

/* Where a block is: it begins at start and ends before end (with padding). */
struct fence_place {
	uint64_t start;
	uint64_t end;
};

/* 0 or -EILSEQ. */
int fence_check(const struct fences *fences);
/* The block that could hold the point: THERMO_OK, or THERMO_MISS: it is in none. */
int fence_find(const struct fences *fences, struct point point, uint32_t *block);
/* The point was not found in the block: could it be in the one before? */
bool fence_again(const struct fences *fences, struct point point, uint32_t block);
/* The first block that could hold the point or one after it; fences->blocks if there is none. */
uint32_t fence_seek(const struct fences *fences, struct point point);
struct fence_place fence_place(const struct fences *fences, uint32_t block);

/* ---- Building ---- */

struct fence_block {
	uint64_t hash; /* of its first record */
	uint64_t start;
};

struct fence_builder {
	struct memory *memory;
	struct fence_block *block;
	uint32_t n, room;
};

void fence_start(struct fence_builder *builder, struct memory *memory);
int fence_add(struct fence_builder *builder, uint64_t hash, uint64_t start); /* -ENOMEM */
/* Fills the shift of the spaces, which are complete but for it, and separators and starts at `to`
 * (fence_bytes). */
void fence_finish(const struct fence_builder *builder, struct segment_space *spaces,
		  uint32_t n_spaces, uint32_t *to);
static inline size_t fence_bytes(uint32_t blocks)
{
	return (size_t)blocks * 8;
}
/* Frees what the builder has; it can start again. */
void fence_clear(struct fence_builder *builder);

#endif
