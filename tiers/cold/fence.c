/* SPDX-License-Identifier: Apache-2.0 */
/* Fences: see fence.h for the contracts, format.h for the bytes. */
#include "tiers/cold/fence.h"

#include "alloc/check.h"
#include "tiers/cold/memory.h"

#include <errno.h>

#define BUILDER_ROOM 256u /* blocks, at first */

/* ---- Reading ---- */

/* The last space of the segment that is not above; NULL if there is none. */
static const struct segment_space *space_at_most(const struct fences *fences, uint32_t space)
{
	uint32_t low = 0, high = fences->n_spaces;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (fences->spaces[middle].space <= space)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &fences->spaces[low - 1] : NULL;
}

static uint32_t space_end(const struct fences *fences, const struct segment_space *space)
{
	return space + 1 < fences->spaces + fences->n_spaces ? space[1].first_block : fences->blocks;
}

static uint32_t scale(const struct segment_space *space, uint64_t hash)
{
	return (uint32_t)((hash - space->first_hash) >> space->shift);
}

/* The last block of the space whose separator is not above; there is one. */
static uint32_t find_block(const struct fences *fences, const struct segment_space *space,
			   uint32_t scaled)
{
	uint32_t low = space->first_block, high = space_end(fences, space);
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (fences->separator[middle] <= scaled)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int fence_find(const struct fences *fences, struct point point, uint32_t *block)
{
	const struct segment_space *space = space_at_most(fences, point.space);
	if (!space || space->space != point.space || point.hash < space->first_hash ||
	    point.hash > space->last_hash)
		return THERMO_MISS;
	*block = find_block(fences, space, scale(space, point.hash));
	return THERMO_OK;
}

bool fence_again(const struct fences *fences, struct point point, uint32_t block)
{
	const struct segment_space *space = space_at_most(fences, point.space);
	return block > space->first_block && fences->separator[block] == scale(space, point.hash);
}

uint32_t fence_seek(const struct fences *fences, struct point point)
{
	const struct segment_space *space = space_at_most(fences, point.space);
	if (!space)
		return 0;
	if (space->space != point.space || point.hash > space->last_hash)
		return space_end(fences, space);
	if (point.hash <= space->first_hash)
		return space->first_block;
	uint32_t block = find_block(fences, space, scale(space, point.hash));
	while (fence_again(fences, point, block))
		block--;
	return block;
}

struct fence_place fence_place(const struct fences *fences, uint32_t block)
{
	struct fence_place place = { fences->start[block], fences->data_end };
	if (block + 1 < fences->blocks)
		place.end = fences->start[block + 1];
	return place;
}

static int check_space(const struct fences *fences, const struct segment_space *space)
{
	uint32_t end = space_end(fences, space);
	if (end > fences->blocks || space->first_block >= end ||
	    space->last_hash < space->first_hash || space->shift > 63 ||
	    (space->last_hash - space->first_hash) >> space->shift > UINT32_MAX ||
	    fences->separator[space->first_block])
		return -EILSEQ;
	uint32_t most = scale(space, space->last_hash);
	for (uint32_t b = space->first_block; b < end; b++)
		if (fences->separator[b] > most ||
		    (b > space->first_block && fences->separator[b] < fences->separator[b - 1]))
			return -EILSEQ;
	return 0;
}

int fence_check(const struct fences *fences)
{
	uint64_t least = sizeof(struct segment_header);
	if (!fences->blocks || !fences->n_spaces || fences->spaces[0].first_block ||
	    fences->data_end > UINT32_MAX)
		return -EILSEQ;
	for (uint32_t b = 0; b < fences->blocks; b++) {
		if (fences->start[b] < least || fences->start[b] >= fences->data_end)
			return -EILSEQ;
		least = fences->start[b] + UINT64_C(1);
	}
	for (uint32_t i = 0; i < fences->n_spaces; i++) {
		const struct segment_space *space = &fences->spaces[i];
		if ((i && space->space <= space[-1].space) || check_space(fences, space))
			return -EILSEQ;
	}
	return 0;
}

/* ---- Building ---- */

void fence_start(struct fence_builder *builder, struct memory *memory)
{
	*builder = (struct fence_builder){ .memory = memory };
}

int fence_add(struct fence_builder *builder, uint64_t hash, uint64_t start)
{
	if (builder->n == builder->room) {
		uint32_t room = builder->room ? builder->room * 2 : BUILDER_ROOM;
		struct fence_block *block =
			memory_grow(builder->memory, builder->block,
				    builder->room * sizeof(*block), builder->n * sizeof(*block),
				    room * sizeof(*block));
		if (!block)
			return -ENOMEM;
		builder->block = block;
		builder->room = room;
	}
	builder->block[builder->n++] = (struct fence_block){ hash, start };
	return 0;
}

void fence_finish(const struct fence_builder *builder, struct segment_space *spaces,
		  uint32_t n_spaces, uint32_t *to)
{
	for (uint32_t i = 0; i < n_spaces; i++) {
		struct segment_space *space = &spaces[i];
		uint32_t end = i + 1 < n_spaces ? spaces[i + 1].first_block : builder->n;
		uint64_t width = space->last_hash - space->first_hash;
		space->shift = width >> 32 ? (uint8_t)(32 - __builtin_clzll(width)) : 0;
		for (uint32_t b = space->first_block; b < end; b++) {
			to[b] = scale(space, builder->block[b].hash);
			to[builder->n + b] = (uint32_t)builder->block[b].start;
		}
	}
}

void fence_clear(struct fence_builder *builder)
{
	memory_free(builder->memory, builder->block, builder->room * sizeof(builder->block[0]));
	builder->block = NULL;
	builder->n = builder->room = 0;
}
