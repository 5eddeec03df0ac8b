/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a model: for each column the ways to code it are tried on part of the sample, with the
 * encoder's own first half, and the cheapest is taken: its symbols' entropy, raw bits, tails and
 * its part of the model.
 */
#include "tiers/codec/model_build.h"

#include <math.h>
#include <zstd.h>

#define SYMBOL_COST 16.0 /* bits that a symbol in use adds to the model, about */
#define WORTH 0.995      /* a more intricate way must save this much */

void builder_slice(const struct builder *builder, uint32_t c, uint32_t from,
		   struct codec_column *column)
{
	unsigned type = builder->model->schema.type[c];
	*column = builder->sample->columns[c];
	if (column->present)
		column->present += from;
	if (type == CODEC_BYTES)
		column->offsets += from;
	else
		column->values =
			(const char *)column->values + (size_t)from * (type == CODEC_FLOAT ? 4 : 8);
}

/* Symbols of block b, to where its events are in builder->symbol and ->index. */
static void block_symbols(struct builder *builder, uint32_t c, const struct model_column *column,
			  uint32_t b)
{
	uint32_t from = builder->sample->starts[b], n = builder->sample->starts[b + 1] - from;
	bool derived = column->parent != NO_COLUMN;
	struct codec_column values;
	struct symbols to = {builder->symbol[c] + from, builder->raw, builder->index[c] + from};
	builder_slice(builder, c, from, &values);
	column_symbols(column, &values, n, derived ? builder->index[column->parent] + from : NULL,
		       derived ? builder->model->column[column->parent].entries : 0, &to,
		       builder->scratch);
}

/* Bits that the values in tails take. */
static double escape_bits(const struct builder *builder, uint32_t c, uint32_t i)
{
	const struct codec_column *values = &builder->sample->columns[c];
	uint32_t len = 8;
	if (builder->model->schema.type[c] == CODEC_BYTES)
		(void)column_bytes(values, i, &len);
	return 8.0 * len + 12;
}

/* Bytes of the column in the model. */
static double column_size_in_model(struct builder *builder, const struct model_column *column)
{
	struct sink raw = {.memory = &builder->arena.memory}, packed = raw;
	model_write_column(&raw, builder->model, column);
	uint8_t *to = raw.failed ? NULL : sink_room(&packed, ZSTD_compressBound(raw.len));
	double bytes = (double)raw.len;
	if (to) {
		size_t n = ZSTD_compress(to, packed.cap, raw.bytes, raw.len, 3);
		bytes = ZSTD_isError(n) ? bytes : (double)n;
	}
	builder->arena.failed |= raw.failed | packed.failed;
	sink_clear(&raw);
	sink_clear(&packed);
	return bytes;
}

/* Bits that all events take if the column is coded so. */
static double trial_cost(struct builder *builder, uint32_t c, const struct model_column *column)
{
	uint32_t hist[COLUMN_SYMBOLS_MAX] = {0};
	double bits = 0, symbols = 0;
	for (uint32_t b = 0; b < builder->sample->blocks; b += builder->stride) {
		uint32_t from = builder->sample->starts[b], to = builder->sample->starts[b + 1];
		block_symbols(builder, c, column, b);
		for (uint32_t i = from; i < to; i++) {
			unsigned symbol = builder->symbol[c][i];
			hist[symbol]++;
			if (symbol == SYMBOL_ESCAPE)
				bits += escape_bits(builder, c, i);
		}
	}
	for (unsigned s = 0; s < COLUMN_SYMBOLS_MAX; s++) {
		if (!hist[s])
			continue;
		symbols++;
		bits += hist[s] *
			(log2((double)builder->trial / hist[s]) + symbol_part(column, s).width);
	}
	return bits * builder->n / builder->trial + symbols * SYMBOL_COST +
	       8 * column_size_in_model(builder, column);
}

static bool keep_better(struct builder *builder, uint32_t c, const struct model_column *trial,
			struct model_column *best, double *cost)
{
	double bits = trial_cost(builder, c, trial);
	if (bits >= *cost)
		return false;
	*best = *trial;
	*cost = bits;
	return true;
}

/* ---- Dictionaries ---- */

static void try_dictionary(struct builder *builder, uint32_t c, struct census *census,
			   const struct model_column *like, uint32_t least,
			   struct model_column *best, double *cost)
{
	struct model_column trial = *like;
	const struct arena_piece *mark = builder->arena.pieces;
	if (!build_dictionary(builder, &builder->arena, c, &trial, census, least) ||
	    !keep_better(builder, c, &trial, best, cost))
		arena_release(&builder->arena, mark);
}

static void try_dictionaries(struct builder *builder, uint32_t c, struct model_column *best,
			     double *cost)
{
	struct model_column like = {.type = builder->model->schema.type[c],
				    .coding = CODING_DICTIONARY,
				    .back = 1,
				    .parent = NO_COLUMN,
				    .mantissa = UINT8_MAX,
				    .unit = 1};
	struct census census;
	uint32_t least = 1;
	double least_cost = INFINITY;
	if (!census_take(builder, c, &census))
		return;
	for (uint32_t k = 1; k <= 8; k *= 2) {
		struct model_column own = like;
		double own_cost = INFINITY;
		try_dictionary(builder, c, &census, &like, k, &own, &own_cost);
		if (own_cost < least_cost) {
			least = k;
			least_cost = own_cost;
			like.mantissa = own.mantissa;
			if (own_cost < *cost) {
				*best = own;
				*cost = own_cost;
			}
		}
		like.mantissa = UINT8_MAX;
	}
	like.back = 0;
	try_dictionary(builder, c, &census, &like, least, best, cost);
	if (best->coding != CODING_DICTIONARY || best->mantissa == 8)
		return;
	for (uint8_t m = 0; m <= 5; m++) {
		like = *best;
		like.mantissa = m;
		if (m != 2)
			try_dictionary(builder, c, &census, &like, least, best, cost);
	}
}

/* ---- Numbers ---- */

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* The least power of ten that makes integers of nearly all floats, + 1; 0: none. */
static unsigned decimal_power_of(const struct builder *builder, uint32_t c)
{
	const struct codec_column *values = &builder->sample->columns[c];
	unsigned type = builder->model->schema.type[c];
	for (unsigned e = 0; e <= DECIMAL_MAX; e++) {
		uint32_t present = 0, well = 0;
		for (uint32_t i = 0; i < builder->n; i += 1 + builder->n / 20000) {
			int64_t integer;
			if (!column_present(values, i))
				continue;
			present++;
			well += near_decimal_of(column_word(values, type, i), e,
						type == CODEC_FLOAT, &integer);
		}
		if (well >= present - present / 50)
			return e + 1;
	}
	return 0;
}

/* Finds the unit and the least value. */
static void number_range(const struct builder *builder, uint32_t c, struct model_column *column)
{
	const struct codec_column *values = &builder->sample->columns[c];
	uint64_t first = 0, divisor = 0;
	bool any = false;
	int64_t min = INT64_MAX, integer;
	for (uint32_t i = 0; i < builder->n; i++) {
		if (!column_present(values, i))
			continue;
		uint64_t word = column_word(values, column->type, i);
		if (column->decimal) {
			if (!near_decimal_of(word, column->decimal - 1u,
					     column->type == CODEC_FLOAT, &integer))
				continue;
			word = (uint64_t)integer;
		}
		first = any ? first : word;
		any = true;
		uint64_t gap = (int64_t)word > (int64_t)first ? word - first : first - word;
		divisor = divisor == 1 ? 1 : common_divisor(gap, divisor);
		min = (int64_t)word < min ? (int64_t)word : min;
	}
	column->unit = divisor ? divisor : 1;
	column->start = any ? (uint64_t)min : 0;
}

static void try_numbers(struct builder *builder, uint32_t c, struct model_column *best,
			double *cost)
{
	struct model_column trial = {.type = builder->model->schema.type[c],
				     .coding = CODING_NUMBER,
				     .parent = NO_COLUMN,
				     .time = c == 0};
	if (trial.type != CODEC_INT64)
		trial.decimal = (uint8_t)decimal_power_of(builder, c);
	number_range(builder, c, &trial);
	struct model_column zero = trial;
	zero.start = 0;
	for (uint8_t m = 0; m <= 6; m++) {
		trial.mantissa = zero.mantissa = m;
		for (uint8_t delta = c == 0; delta <= 1; delta++) {
			trial.delta = delta;
			keep_better(builder, c, &trial, best, cost);
		}
		if (c && zero.unit == 1 && trial.start)
			keep_better(builder, c, &zero, best, cost);
	}
}

/* ---- Parents ---- */

/* For each of the parent's entries the value that comes with it most (Boyer and Moore's vote,
 * 1981). */
static uint32_t *vote(struct builder *builder, uint32_t c, uint32_t parent, uint32_t entries)
{
	uint32_t parents = builder->model->column[parent].entries;
	uint32_t *winner =
		arena_alloc(&builder->model->arena, (size_t)parents + 1, sizeof(uint32_t));
	uint32_t *votes = arena_alloc(&builder->arena, (size_t)parents + 1, sizeof(uint32_t));
	for (uint32_t i = 0; winner && votes && i < builder->n; i++) {
		uint32_t p = builder->index[parent][i], v = builder->index[c][i];
		if (p >= parents || v >= entries)
			continue;
		if (!votes[p])
			winner[p] = v;
		votes[p] += winner[p] == v ? 1 : UINT32_MAX;
	}
	return votes ? winner : NULL;
}

static void all_symbols(struct builder *builder, uint32_t c, const struct model_column *column)
{
	for (uint32_t b = 0; b < builder->sample->blocks; b++)
		block_symbols(builder, c, column, b);
}

static void try_parents(struct builder *builder, uint32_t c, struct model_column *best,
			double *cost)
{
	struct model_column alone = *best;
	if (!alone.entries)
		return;
	*cost *= WORTH;
	for (uint32_t p = 1; p < c; p++) {
		const struct model_column *parent = &builder->model->column[p];
		if (parent->coding != CODING_DICTIONARY || parent->entries < 2)
			continue;
		struct model_column trial = alone;
		all_symbols(builder, c, &alone);
		trial.parent = (uint8_t)p;
		trial.derived = vote(builder, c, p, trial.entries);
		for (int back = 0; trial.derived && back <= alone.back; back++) {
			trial.back = (uint8_t)back;
			keep_better(builder, c, &trial, best, cost);
		}
	}
}

/* ---- Model ---- */

static void build_column(struct builder *builder, uint32_t c)
{
	struct model_column best = {.unit = 1, .parent = NO_COLUMN}, dictionary = best;
	double cost = INFINITY, dictionary_cost = INFINITY;
	if (builder->model->schema.type[c] != CODEC_BYTES)
		try_numbers(builder, c, &best, &cost);
	if (c)
		try_dictionaries(builder, c, &dictionary, &dictionary_cost);
	if (c && !builder->arena.failed)
		try_parents(builder, c, &dictionary, &dictionary_cost);
	if (builder->arena.failed || builder->model->arena.failed)
		return;
	if (dictionary_cost < cost)
		best = dictionary;
	builder->model->column[c] = best;
	all_symbols(builder, c, &best);
}

static void first_times(struct builder *builder)
{
	const int64_t *time = builder->sample->columns[0].values;
	uint64_t unit = builder->model->column[0].unit;
	int64_t min = INT64_MAX, max = INT64_MIN;
	for (uint32_t b = 0; b < builder->sample->blocks; b++) {
		int64_t first = time[builder->sample->starts[b]];
		min = first < min ? first : min;
		max = first > max ? first : max;
	}
	builder->model->time_base = (uint64_t)min;
	unsigned width = bit_width(((uint64_t)max - (uint64_t)min) / unit);
	builder->model->time_width = (uint8_t)(width > RAW_BITS_MAX ? RAW_BITS_MAX : width);
}

static int builder_begin(struct builder *builder)
{
	const struct model_sample *sample = builder->sample;
	builder->n = sample->starts[sample->blocks];
	builder->stride = builder->n / TRIAL_EVENTS + 1;
	for (uint32_t b = 0; b < sample->blocks; b++) {
		uint32_t n = sample->starts[b + 1] - sample->starts[b];
		if (sample->starts[b + 1] <= sample->starts[b] || n > CODEC_EVENTS_MAX)
			return -EINVAL;
		builder->longest = n > builder->longest ? n : builder->longest;
		builder->trial += b % builder->stride ? 0 : n;
	}
	builder->raw = arena_alloc(&builder->arena, builder->longest, sizeof(uint64_t));
	builder->scratch =
		arena_alloc(&builder->arena, symbols_scratch(builder->longest), sizeof(uint32_t));
	for (uint32_t c = 0; c < builder->model->schema.columns; c++) {
		builder->symbol[c] = arena_alloc(&builder->arena, builder->n, sizeof(uint16_t));
		builder->index[c] = arena_alloc(&builder->arena, builder->n, sizeof(uint32_t));
	}
	return builder->arena.failed ? -ENOMEM : 0;
}

int model_build(const struct codec_schema *schema, const struct model_sample *sample,
		const struct codec_memory *memory, uint8_t **bytes, size_t *len)
{
	struct builder builder = {.sample = sample, .arena = {.memory = *memory}};
	*bytes = NULL;
	if (codec_check(schema) || !sample->blocks || sample->starts[0])
		return -EINVAL;
	builder.model = memory->alloc(memory->context, sizeof(*builder.model));
	if (!builder.model)
		return -ENOMEM;
	memset(builder.model, 0, sizeof(*builder.model));
	builder.model->arena.memory = *memory;
	builder.model->schema = *schema;
	int rc = builder_begin(&builder);
	for (uint32_t c = 0; !rc && c < schema->columns; c++) {
		build_column(&builder, c);
		rc = builder.arena.failed || builder.model->arena.failed ? -ENOMEM : 0;
	}
	if (!rc)
		first_times(&builder);
	rc = rc ? rc : build_groups(&builder);
	rc = rc ? rc : model_write(builder.model, memory, bytes, len);
	arena_clear(&builder.arena);
	model_close(&builder.model);
	return rc;
}
