/* SPDX-License-Identifier: Apache-2.0 */
/* Columns in and out: what both codecs do with the caller's arrays. */
#ifndef TIERS_CODEC_COLUMNS_H
#define TIERS_CODEC_COLUMNS_H

#include "tiers/codec/bits.h"
#include "tiers/codec/codec.h"

static inline bool column_present(const struct codec_column *column, uint32_t i)
{
	return !column->present || column->present[i];
}

/* A number as 64 bits: an int64_t, or the pattern of a float or double. */
static inline uint64_t column_word(const struct codec_column *column, unsigned type, uint32_t i)
{
	if (type == CODEC_FLOAT)
		return word_of_float(((const float *)column->values)[i]);
	return ((const uint64_t *)column->values)[i];
}

static inline const uint8_t *column_bytes(const struct codec_column *column, uint32_t i,
					  uint32_t *len)
{
	*len = column->offsets[i + 1] - column->offsets[i];
	return (const uint8_t *)column->values + column->offsets[i];
}

/* Bytes of all values of a bytes column. */
static inline uint64_t column_size(const struct codec_column *column, uint32_t n)
{
	return (uint64_t)column->offsets[n] - column->offsets[0];
}

/* Are words of this type what the caller's array holds, so that they can be written there at once?
 */
static inline bool words_as_wanted(unsigned type, unsigned wanted)
{
	return type == wanted && type != CODEC_FLOAT;
}

/* Writes n words of a number column to output->values from event `at` on, converted. */
void words_store(const uint64_t *words, uint32_t n, unsigned type,
		 const struct codec_output *output, uint64_t at);

/* ---- The two codecs ---- */

size_t hot_bound(const struct codec_schema *schema, const struct codec_column *columns, uint32_t n);
int hot_encode(const struct codec_schema *schema, const struct codec_column *columns, uint32_t n,
	       uint8_t *out, size_t *len);
int hot_count(const uint8_t *block, size_t size, uint32_t *events);
int hot_decode(const struct codec_schema *schema, const struct codec_blocks *blocks, uint64_t from,
	       uint64_t count, const struct codec_output *outputs);

size_t cold_bound(const struct model *model, const struct codec_column *columns, uint32_t n);
size_t cold_encode_scratch(const struct model *model, const struct codec_column *columns,
			   uint32_t n);
int cold_encode(const struct model *model, const struct codec_column *columns, uint32_t n,
		void *scratch, uint8_t *out, size_t *len);
int cold_measure(const struct model *model, const struct codec_blocks *blocks, uint64_t *events,
		 size_t *scratch);
int cold_decode(const struct model *model, const struct codec_blocks *blocks, uint64_t from,
		uint64_t count, const struct codec_output *outputs, void *scratch,
		size_t scratch_bytes);

#endif
