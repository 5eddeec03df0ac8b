/* SPDX-License-Identifier: Apache-2.0 */
/* What the builder, the writer and the reader of models share. */
#ifndef TIERS_CODEC_MODEL_PARTS_H
#define TIERS_CODEC_MODEL_PARTS_H

#include "tiers/codec/model_private.h"
#include "tiers/codec/sink.h"

/* How many ranks from `at` on are in one bucket. */
static inline uint32_t bucket_run(const struct model_column *column, uint32_t at)
{
	unsigned width, bucket = bucket_of(at, column->mantissa, &width);
	uint64_t last = ((uint64_t)bucket_leading(bucket, column->mantissa, &width) << width) +
			low_bits(width);
	return last >= column->entries ? column->entries - at : (uint32_t)(last - at) + 1;
}

void model_write_column(struct sink *sink, const struct model *model,
			const struct model_column *column);
int model_write(const struct model *model, const struct codec_memory *memory, uint8_t **bytes,
		size_t *len);

/* Makes a column's lookup of its dictionary. False: no memory. */
bool model_index_column(struct arena *arena, struct model_column *column);
/* Makes a group's codes, tables and its columns' parts. 0, -EILSEQ, -ENOMEM. */
int model_index_group(struct model *model, unsigned g, bool encode);

/* ---- The encoder's first half, with which the builder counts ---- */

/* A column's symbols: for each event its symbol, raw bits, and (dictionary) where its value is: a
 * rank, or entries + k for the k-th other value of the block. */
struct symbols {
	uint16_t *symbol;
	uint64_t *raw;
	uint32_t *index;
};

/* Words of scratch that column_symbols takes for n events. */
size_t symbols_scratch(uint32_t n);
void column_symbols(const struct model_column *column, const struct codec_column *values,
		    uint32_t n, const uint32_t *parent, uint32_t parent_entries,
		    const struct symbols *to, uint32_t *scratch);

#endif
