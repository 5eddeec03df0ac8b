/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of events for the codecs' tests: random and adversarial ones from a seed, and a round
 * trip that is compared bit for bit. */
#ifndef TESTS_CODEC_BED_H
#define TESTS_CODEC_BED_H

#include "tests/suite.h"
#include "tiers/codec/bits.h"
#include "tiers/codec/codec.h"
#include "tools/mix.h"

#include <math.h>

struct bed {
	struct codec_schema schema;
	struct codec_column columns[CODEC_COLUMNS_MAX];
	uint32_t n;
};

static inline uint64_t bed_below(uint64_t *random, uint64_t limit)
{
	return mix_next(random) % limit;
}

/* What an integer column is made of. */
enum bed_ints {
	INTS_CONSTANT,
	INTS_SMALL,
	INTS_RISING,
	INTS_STEPS,
	INTS_EXTREME,
	INTS_RANDOM,
	INTS_SKEWED,
	INTS_IDS,
	INTS_KINDS
};

static inline int64_t bed_int(uint64_t *random, unsigned kind, int64_t last)
{
	static const int64_t extreme[] = {INT64_MIN,     INT64_MAX,    0, -1, 1,
					  INT64_MIN + 1, INT64_MAX - 1};
	uint64_t r = mix_next(random);
	switch (kind) {
	case INTS_CONSTANT:
		return -7;
	case INTS_SMALL:
		return (int64_t)(r % 5) - 2;
	case INTS_RISING:
		return last + (int64_t)(r % 3 ? 0 : r >> 20 & 0xffff);
	case INTS_STEPS: /* mostly forward, at times far back */
		return (int64_t)((uint64_t)last + (r % 50 ? r % 100 * 60 : (uint64_t) - (r >> 40)));
	case INTS_EXTREME:
		return extreme[r % 7];
	case INTS_SKEWED:
		return (int64_t)(r >> 8 >> (r % 56));
	case INTS_IDS:
		return (int64_t)mix64(r % 50);
	default:
		return (int64_t)r;
	}
}

static inline double bed_number(uint64_t *random, unsigned kind)
{
	uint64_t r = mix_next(random);
	switch (kind % 5) {
	case 0:
		return (double)(r % 10) / 2;
	case 1:
		return (double)(r % 100000) / 100;
	case 2:
		return ldexp(mix_unit(r), (int)(r % 100) - 50);
	case 3: /* signs of zero, infinities, NaNs with payloads */
		return double_of_word(r % 3 ? r | UINT64_C(0x7ff0000000000000) : r % 2 << 63);
	default:
		return double_of_word(r);
	}
}

static inline void bed_strings(struct codec_column *column, uint64_t *random, uint32_t n,
			       unsigned kind)
{
	uint32_t *offsets = malloc((n + 1) * sizeof(*offsets));
	size_t cap = 1 << 16, len;
	uint8_t *bytes = malloc(cap);
	offsets[0] = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t r = mix_next(random), seed = kind % 2 ? r : r % 20;
		len = kind == 0 ? 0 : kind == 4 && i % 37 == 5 ? 1 << 20 : seed % 30;
		if (offsets[i] + len > cap)
			bytes = realloc(bytes, cap = (offsets[i] + len) * 2);
		for (size_t j = 0; j < len; j++)
			bytes[offsets[i] + j] = kind % 3 ? (uint8_t)('a' + (seed >> j % 8) % 7)
							 : (uint8_t)mix64(seed + j);
		offsets[i + 1] = offsets[i] + (uint32_t)len;
	}
	column->values = bytes;
	column->offsets = offsets;
}

static inline void bed_column(struct bed *bed, uint32_t c, uint64_t *random, uint32_t n)
{
	struct codec_column *column = &bed->columns[c];
	unsigned type = bed->schema.type[c], kind = (unsigned)bed_below(random, 64);
	uint8_t *present = malloc(n);
	unsigned nulls =
		c ? (unsigned)bed_below(random, 4) : 0; /* 0, 1: none; 2: some; 3: at times all */
	for (uint32_t i = 0; i < n; i++)
		present[i] = nulls < 2 || (nulls == 2 ? bed_below(random, 3) != 0 : kind % 3 == 0);
	*column = (struct codec_column){.present = nulls ? present : NULL};
	if (!nulls)
		free(present);
	if (type == CODEC_BYTES) {
		bed_strings(column, random, n, kind % 8 == 4 && kind < 48 ? 5 : kind % 8);
		return;
	}
	void *values = malloc((size_t)n * 8);
	int64_t last = 1600000000;
	for (uint32_t i = 0; i < n; i++) {
		if (type == CODEC_INT64)
			((int64_t *)values)[i] = last = bed_int(random, kind % INTS_KINDS, last);
		else if (type == CODEC_DOUBLE)
			((double *)values)[i] = bed_number(random, kind);
		else
			((float *)values)[i] = (float)bed_number(random, kind);
	}
	column->values = values;
}

/* n events of 2 to 9 columns. */
static inline void bed_make(struct bed *bed, uint64_t *random, uint32_t n)
{
	memset(bed, 0, sizeof(*bed));
	bed->n = n;
	bed->schema.columns = 2 + (uint32_t)bed_below(random, 8);
	for (uint32_t c = 1; c < bed->schema.columns; c++)
		bed->schema.type[c] = (uint8_t)bed_below(random, 4);
	for (uint32_t c = 0; c < bed->schema.columns; c++)
		bed_column(bed, c, random, n);
}

static inline void bed_free(struct bed *bed)
{
	for (uint32_t c = 0; c < bed->schema.columns; c++) {
		free((void *)(uintptr_t)bed->columns[c].values);
		free((void *)(uintptr_t)bed->columns[c].offsets);
		free((void *)(uintptr_t)bed->columns[c].present);
	}
}

/* The bed's events [from, from + n) as columns of their own; nothing is copied. */
static inline void bed_slice(const struct bed *bed, uint32_t from, struct codec_column *columns)
{
	for (uint32_t c = 0; c < bed->schema.columns; c++) {
		unsigned type = bed->schema.type[c];
		columns[c] = bed->columns[c];
		if (columns[c].present)
			columns[c].present += from;
		if (type == CODEC_BYTES)
			columns[c].offsets += from;
		else
			columns[c].values = (const char *)columns[c].values +
					    (size_t)from * (type == CODEC_FLOAT ? 4 : 8);
	}
}

/* Outputs for n events in the schema's own types. */
static inline void bed_outputs(const struct bed *bed, uint32_t n, struct codec_output *outputs)
{
	memset(outputs, 0, CODEC_COLUMNS_MAX * sizeof(*outputs));
	for (uint32_t c = 0; c < bed->schema.columns; c++) {
		outputs[c] = (struct codec_output){.type = bed->schema.type[c]};
		outputs[c].present = malloc(n + 1);
		if (bed->schema.type[c] == CODEC_BYTES) {
			outputs[c].capacity =
				bed->columns[c].offsets[bed->n] - bed->columns[c].offsets[0];
			outputs[c].values = malloc(outputs[c].capacity + 1u);
			outputs[c].offsets = malloc((n + 1) * sizeof(uint32_t));
		} else {
			outputs[c].values = malloc((size_t)n * 8 + 1);
		}
	}
}

static inline void bed_outputs_free(const struct bed *bed, struct codec_output *outputs)
{
	for (uint32_t c = 0; c < bed->schema.columns; c++) {
		free(outputs[c].values);
		free(outputs[c].offsets);
		free(outputs[c].present);
	}
}

/* Is event i of the outputs event `of` of the bed? */
static inline bool bed_event_same(const struct bed *bed, const struct codec_output *outputs,
				  uint32_t i, uint32_t of)
{
	for (uint32_t c = 0; c < bed->schema.columns; c++) {
		const struct codec_column *column = &bed->columns[c];
		const struct codec_output *output = &outputs[c];
		unsigned type = bed->schema.type[c], bytes = type == CODEC_FLOAT ? 4 : 8;
		bool present = !column->present || column->present[of];
		if (!output->values)
			continue;
		if (output->present && output->present[i] != present)
			return false;
		if (type == CODEC_BYTES) {
			uint32_t len = present ? column->offsets[of + 1] - column->offsets[of] : 0;
			if (output->offsets[i + 1] - output->offsets[i] != len ||
			    memcmp((char *)output->values + output->offsets[i],
				   (const char *)column->values + column->offsets[of], len) != 0)
				return false;
		} else if (memcmp((char *)output->values + (size_t)i * bytes,
				  present ? (const char *)column->values + (size_t)of * bytes
					  : "\0\0\0\0\0\0\0\0",
				  bytes) != 0) {
			return false;
		}
	}
	return true;
}

static inline bool bed_same(const struct bed *bed, const struct codec_output *outputs,
			    uint32_t from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!bed_event_same(bed, outputs, i, from + i))
			return false;
	return true;
}

/* Encoded bytes of the bed's events in blocks of `each`. */
struct bed_blocks {
	struct codec_blocks blocks;
	uint8_t *bytes;
	uint32_t *offsets;
};

static inline void bed_encode(const struct bed *bed, const struct codec *codec, uint32_t each,
			      struct bed_blocks *to)
{
	struct codec_column columns[CODEC_COLUMNS_MAX];
	uint32_t n_blocks = (bed->n + each - 1) / each;
	size_t at = 0;
	*to = (struct bed_blocks){.offsets = calloc(n_blocks + 1, sizeof(uint32_t))};
	for (uint32_t b = 0; b < n_blocks; b++) {
		uint32_t from = b * each, n = bed->n - from < each ? bed->n - from : each;
		bed_slice(bed, from, columns);
		size_t bound = codec_bound(codec, columns, n), len = 0;
		size_t need = (codec_encode_scratch(codec, columns, n) + 127) & ~(size_t)63;
		void *scratch = aligned_alloc(64, need);
		uint8_t *out = malloc(bound); /* exactly, so that one byte more is seen */
		CU_ASSERT_FATAL(bound > 0);
		CU_ASSERT_EQUAL_FATAL(codec_encode(codec, columns, n, scratch, out, &len), 0);
		CU_ASSERT_FATAL(len <= bound);
		to->bytes = realloc(to->bytes, at + len);
		memcpy(to->bytes + at, out, len);
		at += len;
		to->offsets[b + 1] = (uint32_t)at;
		free(out);
		free(scratch);
	}
	to->blocks = (struct codec_blocks){to->bytes, at, to->offsets, n_blocks};
}

static inline void bed_blocks_free(struct bed_blocks *blocks)
{
	free(blocks->bytes);
	free(blocks->offsets);
}

/* Decodes with scratch of exactly the size asked for. */
static inline int bed_decode(const struct codec *codec, const struct codec_blocks *blocks,
			     uint64_t from, uint64_t count, const struct codec_output *outputs)
{
	uint64_t events;
	size_t need;
	int rc = codec_measure(codec, blocks, &events, &need);
	if (rc)
		return rc;
	if (need > (size_t)256 << 20)
		return -ENOMEM;
	char *scratch = NULL;
	if (posix_memalign((void **)&scratch, 64, need + 1))
		return -ENOMEM;
	rc = codec_decode(codec, blocks, from, count, outputs, scratch, need);
	free(scratch);
	return rc;
}

#endif
