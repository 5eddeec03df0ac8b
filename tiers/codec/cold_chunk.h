/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cold blocks are decoded some at a time, so that what happens once a column happens once for many
 * events. cold_decode.c cuts the chunks and writes the values out; cold_run.c, built for each
 * instruction set, goes from bits to where each value is.
 */
#ifndef TIERS_CODEC_COLD_CHUNK_H
#define TIERS_CODEC_COLD_CHUNK_H

#include "tiers/codec/model_private.h"

#define CHUNK_EVENTS 4096u /* unless one block has more */
#define CHUNK_BLOCKS 512u
#define CHUNK_TAIL 65536u /* bytes of unpacked tails, unless one block has more */

/* A column's values. Dictionary: index (a rank; entries + k: the k-th of others; NULL_INDEX).
 * Number: words. */
struct chunk_column {
	uint32_t *index;
	uint64_t *words;
	uint8_t *present; /* numbers */
	uint64_t *other_words;
	struct model_string *other_strings;
	uint32_t others;
	bool needed;
};

struct chunk_block {
	const uint8_t *bits, *bits_end;
	struct reader tail; /* .at NULL: none */
	bool has_tail;
	uint64_t time; /* the first */
};

struct cold_chunk {
	const struct model *model;
	const uint8_t *readable, *readable_end; /* bytes between them may be loaded */
	uint32_t blocks, events;
	uint32_t start[CHUNK_BLOCKS + 1]; /* the first event of each block, in the chunk */
	struct chunk_block block[CHUNK_BLOCKS];
	uint64_t *read[CODEC_COLUMNS_MAX]; /* by group: each event's joint symbol and raw bits */
	struct chunk_column column[CODEC_COLUMNS_MAX];
	uint64_t *values;  /* of the column at hand */
	uint32_t *special; /* its events that are no values */
};

#endif
