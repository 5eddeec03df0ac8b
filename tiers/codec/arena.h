/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of the caller's memory that are given back all at once. */
#ifndef TIERS_CODEC_ARENA_H
#define TIERS_CODEC_ARENA_H

#include "tiers/codec/model.h"

#include <stdbool.h>
#include <string.h>

struct arena_piece {
	struct arena_piece *next;
	size_t bytes;
	_Alignas(64) char start[];
};

struct arena {
	struct codec_memory memory;
	struct arena_piece *pieces;
	bool failed; /* an allocation has failed: the caller may ask once, at the end */
};

/* Zeroed, at 64 bytes' alignment within what the caller's memory gives; NULL when full. */
static inline void *arena_alloc(struct arena *arena, size_t count, size_t each)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, each, &bytes) || bytes > SIZE_MAX / 2) {
		arena->failed = true;
		return NULL;
	}
	bytes += sizeof(struct arena_piece);
	struct arena_piece *piece = arena->memory.alloc(arena->memory.context, bytes);
	if (!piece) {
		arena->failed = true;
		return NULL;
	}
	memset(piece, 0, bytes);
	piece->next = arena->pieces;
	piece->bytes = bytes;
	arena->pieces = piece;
	return piece->start;
}

/* Gives back what was allocated since arena->pieces was `mark`. */
static inline void arena_release(struct arena *arena, const struct arena_piece *mark)
{
	while (arena->pieces != mark) {
		struct arena_piece *piece = arena->pieces;
		arena->pieces = piece->next;
		arena->memory.free(arena->memory.context, piece, piece->bytes);
	}
}

static inline void arena_clear(struct arena *arena)
{
	arena_release(arena, NULL);
}

#endif
