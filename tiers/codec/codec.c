/* SPDX-License-Identifier: Apache-2.0 */
/* The interface: checks of what callers pass, and the way to either codec. */
#include "tiers/codec/codec.h"
#include "tiers/codec/columns.h"

int codec_check(const struct codec_schema *schema)
{
	if (schema->columns < 2 || schema->columns > CODEC_COLUMNS_MAX ||
	    schema->type[0] != CODEC_INT64)
		return -EINVAL;
	for (uint32_t c = 0; c < schema->columns; c++)
		if (schema->type[c] > CODEC_BYTES)
			return -EINVAL;
	return 0;
}

/* Can a block hold these? */
static int columns_check(const struct codec_schema *schema, const struct codec_column *columns,
			 uint32_t n)
{
	uint64_t bytes = 0;
	if (!n || n > CODEC_EVENTS_MAX || codec_check(schema))
		return -EINVAL;
	for (uint32_t c = 0; c < schema->columns; c++) {
		if (schema->type[c] != CODEC_BYTES)
			continue;
		for (uint32_t i = 0; i < n; i++)
			if (columns[c].offsets[i] > columns[c].offsets[i + 1])
				return -EINVAL;
		bytes += column_size(&columns[c], n);
	}
	for (uint32_t i = 0; columns[0].present && i < n; i++)
		if (!columns[0].present[i])
			return -EINVAL;
	return bytes > CODEC_BYTES_MAX ? -EINVAL : 0;
}

size_t codec_bound(const struct codec *codec, const struct codec_column *columns, uint32_t n)
{
	if (columns_check(codec->schema, columns, n))
		return 0;
	return codec->model ? cold_bound(codec->model, columns, n)
			    : hot_bound(codec->schema, columns, n);
}

size_t codec_encode_scratch(const struct codec *codec, const struct codec_column *columns,
			    uint32_t n)
{
	return codec->model ? cold_encode_scratch(codec->model, columns, n) : 0;
}

int codec_encode(const struct codec *codec, const struct codec_column *columns, uint32_t n,
		 void *scratch, uint8_t *out, size_t *len)
{
	int rc = columns_check(codec->schema, columns, n);
	if (rc)
		return rc;
	return codec->model ? cold_encode(codec->model, columns, n, scratch, out, len)
			    : hot_encode(codec->schema, columns, n, out, len);
}

static int blocks_check(const struct codec_blocks *blocks)
{
	if (blocks->n && blocks->offsets[blocks->n] > blocks->size)
		return -EILSEQ;
	for (uint32_t b = 0; b < blocks->n; b++)
		if (blocks->offsets[b] > blocks->offsets[b + 1])
			return -EILSEQ;
	return 0;
}

int codec_measure(const struct codec *codec, const struct codec_blocks *blocks, uint64_t *events,
		  size_t *scratch)
{
	int rc = blocks_check(blocks);
	*events = *scratch = 0;
	if (rc || codec->model)
		return rc ? rc : cold_measure(codec->model, blocks, events, scratch);
	for (uint32_t b = 0; b < blocks->n && !rc; b++) {
		uint32_t n;
		rc = hot_count(blocks->bytes + blocks->offsets[b],
			       blocks->offsets[b + 1] - blocks->offsets[b], &n);
		*events += n;
	}
	return rc;
}

int codec_decode(const struct codec *codec, const struct codec_blocks *blocks, uint64_t from,
		 uint64_t count, const struct codec_output *outputs, void *scratch,
		 size_t scratch_bytes)
{
	uint64_t events;
	size_t need;
	int rc = codec_measure(codec, blocks, &events, &need);
	if (rc)
		return rc;
	if (from > events || count > events - from)
		return -EINVAL;
	for (uint32_t c = 0; c < codec->schema->columns; c++)
		if (outputs[c].values &&
		    (outputs[c].type > CODEC_BYTES ||
		     (outputs[c].type == CODEC_BYTES) != (codec->schema->type[c] == CODEC_BYTES)))
			return -EINVAL;
	if (need > scratch_bytes)
		return -ENOBUFS;
	return codec->model ? cold_decode(codec->model, blocks, from, count, outputs, scratch,
					  scratch_bytes)
			    : hot_decode(codec->schema, blocks, from, count, outputs);
}

/* ---- Number conversions ---- */

static inline double as_double(uint64_t word, unsigned type)
{
	return type == CODEC_INT64   ? (double)(int64_t)word
	       : type == CODEC_FLOAT ? (double)float_of_word(word)
				     : double_of_word(word);
}

static inline int64_t as_int(uint64_t word, unsigned type)
{
	if (type == CODEC_INT64)
		return (int64_t)word;
	double v = as_double(word, type);
	return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : 0;
}

static inline float as_float(uint64_t word, unsigned type)
{
	return type == CODEC_FLOAT   ? float_of_word(word)
	       : type == CODEC_INT64 ? (float)(int64_t)word
				     : (float)double_of_word(word);
}

void words_store(const uint64_t *words, uint32_t n, unsigned type,
		 const struct codec_output *output, uint64_t at)
{
	uint64_t *wide = (uint64_t *)output->values + at;
	float *narrow = (float *)output->values + at;
	if (words_as_wanted(type, output->type))
		memcpy(wide, words, (size_t)n * 8);
	else if (output->type == CODEC_INT64)
		for (uint32_t i = 0; i < n; i++)
			((int64_t *)wide)[i] = as_int(words[i], type);
	else if (output->type == CODEC_DOUBLE)
		for (uint32_t i = 0; i < n; i++)
			wide[i] = word_of_double(as_double(words[i], type));
	else if (type == CODEC_FLOAT)
		for (uint32_t i = 0; i < n; i++) /* the pattern: NaNs stay what they are */
			memcpy(narrow + i, words + i, 4);
	else
		for (uint32_t i = 0; i < n; i++)
			narrow[i] = as_float(words[i], type);
}
