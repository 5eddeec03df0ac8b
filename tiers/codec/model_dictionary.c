/* SPDX-License-Identifier: Apache-2.0 */
/* Dictionaries of a model: which values come how often, and in which order they get their ranks. */
#include "tiers/codec/model_build.h"

#include <stdlib.h>

/* ---- Census ---- */

struct counting {
	struct builder *builder;
	const struct codec_column *column;
	unsigned type;
	uint32_t *table, mask; /* hash to number of a value + 1 */
	uint32_t cap;
};

static uint64_t value_hash(const struct counting *counting, uint32_t i)
{
	uint32_t len;
	if (counting->type != CODEC_BYTES)
		return hash_word(column_word(counting->column, counting->type, i));
	const uint8_t *bytes = column_bytes(counting->column, i, &len);
	return hash_bytes(bytes, len);
}

static bool value_same(const struct counting *counting, uint32_t a, uint32_t b)
{
	uint32_t x, y;
	if (counting->type != CODEC_BYTES)
		return column_word(counting->column, counting->type, a) ==
		       column_word(counting->column, counting->type, b);
	const uint8_t *p = column_bytes(counting->column, a, &x),
		      *q = column_bytes(counting->column, b, &y);
	return x == y && (!x || memcmp(p, q, x) == 0);
}

static struct census_value *census_find(struct counting *counting, struct census *census,
					uint32_t i)
{
	uint32_t at = (uint32_t)value_hash(counting, i) & counting->mask;
	for (; counting->table[at]; at = (at + 1) & counting->mask)
		if (value_same(counting, census->value[counting->table[at] - 1].event, i))
			return &census->value[counting->table[at] - 1];
	census->value[census->n] = (struct census_value){.event = i, .last = UINT32_MAX};
	counting->table[at] = ++census->n;
	return &census->value[census->n - 1];
}

bool census_take(struct builder *builder, uint32_t c, struct census *census)
{
	const struct model_sample *sample = builder->sample;
	struct counting counting = {
		builder, &sample->columns[c], builder->model->schema.type[c], NULL, 63, 0};
	while (counting.mask < 2 * (uint64_t)builder->n)
		counting.mask = 2 * counting.mask + 1;
	counting.table = arena_alloc(&builder->arena, (size_t)counting.mask + 1, sizeof(uint32_t));
	census->value =
		arena_alloc(&builder->arena, (size_t)builder->n + 1, sizeof(*census->value));
	census->n = 0;
	if (!counting.table || !census->value)
		return false;
	for (uint32_t b = 0; b < sample->blocks; b++)
		for (uint32_t i = sample->starts[b]; i < sample->starts[b + 1]; i++) {
			if (!column_present(counting.column, i))
				continue;
			struct census_value *value = census_find(&counting, census, i);
			bool near = value->last != UINT32_MAX && value->last >= sample->starts[b] &&
				    i - value->last <= DISTANCE_MAX;
			value->count++;
			value->fresh += !near;
			value->last = i;
		}
	return true;
}

/* ---- Ranks ---- */

static int by_count(const void *a, const void *b)
{
	const struct census_value *x = a, *y = b;
	return x->count != y->count ? (x->count < y->count) - (x->count > y->count)
				    : (x->event > y->event) - (x->event < y->event);
}

static int by_fresh(const void *a, const void *b)
{
	const struct census_value *x = a, *y = b;
	return x->fresh != y->fresh ? (x->fresh < y->fresh) - (x->fresh > y->fresh)
				    : by_count(a, b);
}

static int by_word(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static int by_bytes(const void *a, const void *b)
{
	const struct model_string *x = a, *y = b;
	uint32_t len = x->len < y->len ? x->len : y->len;
	int order = len ? memcmp(x->bytes, y->bytes, len) : 0;
	return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* The least power of ten that makes integers of nearly all floats that are not in the dictionary,
 * + 1. */
static uint8_t rest_decimal(const struct model_column *column, const struct codec_column *values,
			    const struct census *census)
{
	uint32_t rest = census->n - column->entries, step = 1 + rest / 5000;
	for (uint8_t e = 0; e <= DECIMAL_MAX; e++) {
		uint32_t tried = 0, well = 0;
		for (uint32_t i = column->entries; i < census->n; i += step) {
			int64_t integer;
			uint64_t word = column_word(values, column->type, census->value[i].event);
			tried++;
			well += near_decimal_of(word, e, column->type == CODEC_FLOAT, &integer);
		}
		if (well >= tried - tried / 50)
			return e + 1;
	}
	return 0;
}

/* Numbers that are not in the dictionary: if they fit into a few bits above a base, these are what
 * is coded. */
static void fit_rest(struct model_column *column, const struct codec_column *values,
		     const struct census *census)
{
	int64_t min = INT64_MAX, max = INT64_MIN, v;
	bool is_float = column->type == CODEC_FLOAT;
	column->fit_width = column->decimal = 0;
	if (column->type == CODEC_BYTES || column->entries == census->n)
		return;
	if (column->type != CODEC_INT64 &&
	    !(column->decimal = rest_decimal(column, values, census)))
		return;
	for (uint32_t i = column->entries; i < census->n; i++) {
		uint64_t word = column_word(values, column->type, census->value[i].event);
		v = (int64_t)word;
		if (column->decimal && !near_decimal_of(word, column->decimal - 1u, is_float, &v))
			continue;
		min = v < min ? v : min;
		max = v > max ? v : max;
	}
	if (min > max)
		return;
	unsigned width = bit_width((uint64_t)max - (uint64_t)min);
	width = width ? width : 1;
	if (width > RAW_BITS_MAX)
		return;
	column->fit_base = (uint64_t)min;
	column->fit_width = (uint8_t)width;
}

static bool fill_strings(struct arena *arena, struct model_column *column,
			 const struct codec_column *values, const struct census *census)
{
	column->strings = arena_alloc(arena, column->entries + 1, sizeof(*column->strings));
	uint64_t all = 0;
	for (uint32_t i = 0; column->strings && i < column->entries; i++) {
		struct model_string *s = &column->strings[i];
		s->bytes = column_bytes(values, census->value[i].event, &s->len);
		all += s->len;
		if (all > MODEL_BYTES_MAX / 2) /* the rest goes to the tails */
			column->entries = i;
	}
	for (uint32_t at = 0, n; column->strings && at < column->entries; at += n) {
		n = bucket_run(column, at);
		qsort(column->strings + at, n, sizeof(*column->strings), by_bytes);
	}
	return column->strings != NULL;
}

bool build_dictionary(struct builder *builder, struct arena *arena, uint32_t c,
		      struct model_column *column, struct census *census, uint32_t least)
{
	const struct codec_column *values = &builder->sample->columns[c];
	qsort(census->value, census->n, sizeof(*census->value), column->back ? by_fresh : by_count);
	column->entries = 0;
	while (column->entries < census->n && column->entries < ENTRIES_MAX &&
	       (column->back ? census->value[column->entries].fresh
			     : census->value[column->entries].count) >= least)
		column->entries++;
	if (column->mantissa == UINT8_MAX)
		column->mantissa = column->entries <= 250 ? 8 : 2;
	fit_rest(column, values, census);
	if (column->type == CODEC_BYTES)
		return fill_strings(arena, column, values, census) &&
		       model_index_column(arena, column);
	column->words = arena_alloc(arena, column->entries + 1, sizeof(uint64_t));
	for (uint32_t i = 0; column->words && i < column->entries; i++)
		column->words[i] = column_word(values, column->type, census->value[i].event);
	for (uint32_t at = 0, n; column->words && at < column->entries; at += n) {
		n = bucket_run(column, at);
		qsort(column->words + at, n, sizeof(uint64_t), by_word);
	}
	return column->words && model_index_column(arena, column);
}
