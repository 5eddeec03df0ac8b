/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding of cold blocks: values to symbols, column by column; then the symbols of each group to
 * joint ones, whose codes and raw bits are written event by event; then the tail with what the
 * model has no symbol for.
 */
#include "tiers/codec/cold.h"
#include "tiers/codec/columns.h"
#include "tiers/codec/model_parts.h"

#include <zstd.h>

#define TAIL_LEVEL 3

/* ---- Values to symbols ---- */

/* The block's values that are not in the dictionary: hash of a value to 1 + its first event, and
 * its index. */
struct others {
	uint32_t *table, mask, n;
};

static uint32_t others_size(uint32_t n)
{
	uint32_t size = 32;
	while (size < 2 * n)
		size <<= 1;
	return size;
}

size_t symbols_scratch(uint32_t n)
{
	return (size_t)others_size(n) + 128;
}

static bool values_equal(const struct codec_column *values, unsigned type, uint32_t a, uint32_t b)
{
	if (type != CODEC_BYTES)
		return column_word(values, type, a) == column_word(values, type, b);
	uint32_t x, y;
	const uint8_t *p = column_bytes(values, a, &x), *q = column_bytes(values, b, &y);
	return x == y && (!x || memcmp(p, q, x) == 0);
}

static uint32_t others_index(struct others *others, const struct model_column *column,
			     const struct codec_column *values, uint32_t i, uint64_t hash,
			     const uint32_t *index)
{
	uint32_t at = (uint32_t)(hash >> 7) & others->mask;
	if (!others->n)
		memset(others->table, 0, (others->mask + (size_t)1) * sizeof(*others->table));
	for (; others->table[at]; at = (at + 1) & others->mask)
		if (values_equal(values, column->type, others->table[at] - 1, i))
			return index[others->table[at] - 1];
	others->table[at] = i + 1;
	return column->entries + others->n++;
}

/* Rank of event i's value in the dictionary; entries if it is not there. */
static inline uint32_t dictionary_rank(const struct model_column *column,
				       const struct codec_column *values, uint32_t i,
				       uint64_t *hash)
{
	uint64_t word = 0;
	uint32_t len = 0, rank, at;
	const uint8_t *bytes = NULL;
	if (column->type == CODEC_BYTES) {
		bytes = column_bytes(values, i, &len);
		*hash = hash_bytes(bytes, len);
	} else {
		word = column_word(values, column->type, i);
		*hash = hash_word(word);
	}
	for (at = (uint32_t)*hash & column->lookup_mask; (rank = column->lookup[at]);
	     at = (at + 1) & column->lookup_mask) {
		rank--;
		if (column->type == CODEC_BYTES
			    ? column->strings[rank].len == len &&
				      (!len || memcmp(column->strings[rank].bytes, bytes, len) == 0)
			    : column->words[rank] == word)
			return rank;
	}
	return column->entries;
}

/* Distance to the last event with this index, 0 if there is none near. */
static inline uint32_t distance_back(uint16_t *last, const uint32_t *index, uint32_t i)
{
	uint16_t *slot = &last[(index[i] * 0x9e3779b1u) >> 25];
	uint32_t distance = (i + 1 - *slot) & 0xffff;
	bool same = *slot && distance <= DISTANCE_MAX && index[i - distance] == index[i];
	*slot = (uint16_t)(i + 1);
	return same ? distance : 0;
}

/* The integer that stands for a word: itself, or a decimal of it. False: it is not such a number.
 */
static inline bool number_of(const struct model_column *column, uint64_t word, uint64_t *number)
{
	int64_t integer;
	*number = word;
	if (!column->decimal)
		return true;
	if (!near_decimal_of(word, column->decimal - 1u, column->type == CODEC_FLOAT, &integer))
		return false;
	*number = (uint64_t)integer;
	return true;
}

/* The symbol of a value that is coded by itself. */
static inline unsigned value_symbol(const struct model_column *column,
				    const struct codec_column *values, uint32_t i, uint32_t index,
				    uint64_t *raw)
{
	unsigned width, symbol;
	if (index < column->entries) {
		symbol = SYMBOL_RANK + bucket_of(index, column->mantissa, &width);
		*raw = index & low_bits(width);
		return symbol;
	}
	if (column->fit_width && number_of(column, column_word(values, column->type, i), raw)) {
		*raw -= column->fit_base;
		if (bit_width(*raw) <= column->fit_width)
			return SYMBOL_FIT;
	}
	*raw = 0;
	return SYMBOL_ESCAPE;
}

static void dictionary_symbols(const struct model_column *column, const struct codec_column *values,
			       uint32_t n, const uint32_t *parent, uint32_t parent_entries,
			       const struct symbols *to, uint32_t *scratch)
{
	uint16_t *last = (uint16_t *)scratch;
	struct others others = {scratch + 128, others_size(n) - 1, 0};
	if (column->back)
		memset(last, 0, 128 * sizeof(*last));
	for (uint32_t i = 0; i < n; i++) {
		uint64_t hash;
		to->raw[i] = 0;
		if (!column_present(values, i)) {
			to->index[i] = NULL_INDEX;
			to->symbol[i] = SYMBOL_NULL;
			continue;
		}
		to->index[i] = dictionary_rank(column, values, i, &hash);
		if (to->index[i] == column->entries && column->back)
			to->index[i] = others_index(&others, column, values, i, hash, to->index);
		uint32_t distance = column->back ? distance_back(last, to->index, i) : 0;
		if (parent && parent[i] < parent_entries &&
		    column->derived[parent[i]] == to->index[i]) {
			to->symbol[i] = SYMBOL_DERIVED;
		} else if (distance) {
			unsigned width = bit_width(distance) - 1;
			to->symbol[i] = (uint16_t)(SYMBOL_BACK + width);
			to->raw[i] = distance & low_bits(width);
		} else {
			to->symbol[i] = (uint16_t)value_symbol(column, values, i, to->index[i],
							       &to->raw[i]);
		}
	}
}

static void number_symbols(const struct model_column *column, const struct codec_column *values,
			   uint32_t n, const struct symbols *to)
{
	uint64_t before = column->time ? column_word(values, CODEC_INT64, 0) : column->start;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t number;
		unsigned symbol = SYMBOL_ESCAPE, width;
		to->raw[i] = 0;
		if (!column_present(values, i)) {
			to->symbol[i] = SYMBOL_NULL;
			continue;
		}
		if (number_of(column, column_word(values, column->type, i), &number)) {
			uint64_t v = number - before;
			bool negative = (int64_t)v < 0;
			v = negative ? 0 - v : v;
			bool whole = true;
			if (column->unit != 1) {
				whole = v % column->unit == 0;
				v /= column->unit;
			}
			if (whole) {
				symbol = SYMBOL_NUMBER + negative +
					 2 * bucket_of(v, column->mantissa, &width);
				if (symbol >= COLUMN_SYMBOLS_MAX || width > RAW_BITS_MAX)
					symbol = SYMBOL_ESCAPE;
				else
					to->raw[i] = v & low_bits(width);
			}
			before = column->delta ? number : before;
		}
		to->symbol[i] = (uint16_t)symbol;
	}
}

void column_symbols(const struct model_column *column, const struct codec_column *values,
		    uint32_t n, const uint32_t *parent, uint32_t parent_entries,
		    const struct symbols *to, uint32_t *scratch)
{
	if (column->coding == CODING_DICTIONARY)
		dictionary_symbols(column, values, n, parent, parent_entries, to, scratch);
	else
		number_symbols(column, values, n, to);
}

/* ---- Symbols to bits ---- */

struct bits {
	uint8_t *at;
	uint64_t held;
	unsigned n; /* less than 8 */
};

static inline void put_bits(struct bits *bits, uint64_t value, unsigned width)
{
	bits->held |= value << bits->n; /* at most 57 bits */
	bits->n += width;
	memcpy(bits->at, &bits->held, 8);
	bits->at += bits->n >> 3;
	bits->held >>= bits->n & ~7u;
	bits->n &= 7;
}

/* A block that is being encoded. The arrays are the scratch. */
struct encoding {
	const struct model *model;
	const struct codec_column *columns;
	uint32_t n;
	struct symbols symbols[CODEC_COLUMNS_MAX];
	uint16_t *joint[CODEC_COLUMNS_MAX]; /* by group */
	uint32_t *scratch;
	uint8_t *tail;
	size_t tail_len;
};

static uint32_t joint_symbol(const struct model_group *group, uint64_t key)
{
	uint64_t at = hash_word(key) & group->lookup_mask;
	uint32_t symbol;
	while ((symbol = group->lookup[at]) && group->key[symbol] != key)
		at = (at + 1) & group->lookup_mask;
	return symbol;
}

static bool join_group(struct encoding *e, unsigned g)
{
	const struct model_group *group = &e->model->group[g];
	bool tail = false;
	for (uint32_t i = 0; i < e->n; i++) {
		uint64_t key = 0;
		for (unsigned k = group->columns; k-- > 0;)
			key = key << 12 | e->symbols[group->column[k]].symbol[i];
		e->joint[g][i] = (uint16_t)joint_symbol(group, key);
		tail |= !e->joint[g][i];
	}
	return tail;
}

static void tail_put(struct encoding *e, const void *bytes, size_t n)
{
	if (n)
		memcpy(e->tail + e->tail_len, bytes, n);
	e->tail_len += n;
}

static void tail_column(struct encoding *e, uint32_t c)
{
	const struct model_column *column = &e->model->column[c];
	const uint16_t *joint = e->joint[column->group];
	for (uint32_t i = 0; i < e->n; i++) {
		unsigned symbol = e->symbols[c].symbol[i];
		if (!joint[i]) {
			uint8_t *end = varint_put(e->tail + e->tail_len, symbol);
			end = varint_put(end, e->symbols[c].raw[i]);
			e->tail_len = (size_t)(end - e->tail);
		}
		if (symbol != SYMBOL_ESCAPE)
			continue;
		if (column->type == CODEC_BYTES) {
			uint32_t len;
			const uint8_t *bytes = column_bytes(&e->columns[c], i, &len);
			e->tail_len = (size_t)(varint_put(e->tail + e->tail_len, len) - e->tail);
			tail_put(e, bytes, len);
		} else {
			uint64_t word = column_word(&e->columns[c], column->type, i);
			tail_put(e, &word, column->type == CODEC_FLOAT ? 4 : 8);
		}
	}
}

/* The first time's bits; false if the model has not enough of them. */
static bool first_time(const struct encoding *e, uint64_t *bits)
{
	uint64_t unit = e->model->column[0].unit;
	uint64_t v = column_word(&e->columns[0], CODEC_INT64, 0) - e->model->time_base;
	*bits = v / unit;
	return v % unit == 0 && bit_width(*bits) <= e->model->time_width;
}

static uint8_t *put_events(const struct encoding *e, uint8_t *out)
{
	const struct model *model = e->model;
	struct bits bits = {.at = out};
	uint64_t time;
	bool fits = first_time(e, &time);
	put_bits(&bits, !fits, 1);
	put_bits(&bits, fits ? time : 0, fits ? model->time_width : 0);
	for (uint32_t i = 0; i < e->n; i++) {
		for (unsigned g = 0; g < model->n_groups; g++) {
			const struct model_group *group = &model->group[g];
			unsigned symbol = e->joint[g][i], width = group->len[symbol];
			uint64_t value = group->code[symbol];
			for (unsigned k = 0; symbol && k < group->columns; k++) {
				unsigned c = group->column[k];
				value |= e->symbols[c].raw[i] << width;
				width += model->column[c].parts[symbol].width;
			}
			put_bits(&bits, value, width);
		}
	}
	return bits.at + (bits.n > 0);
}

/* The tail, compressed if that helps. */
static uint8_t *put_tail(const struct encoding *e, uint8_t *out, size_t stored,
			 const uint8_t *packed)
{
	memcpy(out, packed ? packed : e->tail, stored);
	return out + stored;
}

static size_t pack_tail(struct encoding *e, uint8_t **packed, size_t room)
{
	*packed = NULL;
	if (e->tail_len < COLD_TAIL_PACKED_FROM)
		return e->tail_len;
	uint8_t *to = e->tail + e->tail_len;
	size_t n = ZSTD_compress(to, room - e->tail_len, e->tail, e->tail_len, TAIL_LEVEL);
	if (ZSTD_isError(n) || n >= e->tail_len)
		return e->tail_len;
	*packed = to;
	return n;
}

/* Bytes of a tail at most. */
static size_t tail_bound(const struct model *model, const struct codec_column *columns, uint32_t n)
{
	size_t bytes = 8;
	for (uint32_t c = 0; c < model->schema.columns; c++)
		bytes += (size_t)n * (2 + VARINT_MAX + 8) +
			 (model->schema.type[c] == CODEC_BYTES ? column_size(&columns[c], n) : 0);
	return bytes;
}

size_t cold_bound(const struct model *model, const struct codec_column *columns, uint32_t n)
{
	/* Heads, first time, 57 bits a group and event, the tail; 8 that put_bits writes ahead. */
	return 3 * VARINT_MAX + 16 + ((size_t)n * model->n_groups * 57 + 7) / 8 + 8 +
	       tail_bound(model, columns, n);
}

size_t cold_encode_scratch(const struct model *model, const struct codec_column *columns,
			   uint32_t n)
{
	size_t tail = tail_bound(model, columns, n), each = ((size_t)n + 31) & ~(size_t)31;
	return each * (14 * (size_t)model->schema.columns + 2 * (size_t)model->n_groups) +
	       symbols_scratch(n) * 4 + tail + ZSTD_compressBound(tail) + 64;
}

static size_t encoding_begin(struct encoding *e, void *scratch)
{
	size_t each = ((size_t)e->n + 31) & ~(size_t)31;
	uint8_t *at = scratch;
	for (uint32_t c = 0; c < e->model->schema.columns; c++) {
		e->symbols[c].raw = (uint64_t *)(void *)at;
		e->symbols[c].index = (uint32_t *)(void *)(at + 8 * each);
		e->symbols[c].symbol = (uint16_t *)(void *)(at + 12 * each);
		at += 14 * each;
	}
	for (unsigned g = 0; g < e->model->n_groups; g++, at += 2 * each)
		e->joint[g] = (uint16_t *)(void *)at;
	e->scratch = (uint32_t *)(void *)at;
	e->tail = at + 4 * symbols_scratch(e->n);
	size_t tail = tail_bound(e->model, e->columns, e->n);
	return tail + ZSTD_compressBound(tail);
}

int cold_encode(const struct model *model, const struct codec_column *columns, uint32_t n,
		void *scratch, uint8_t *out, size_t *len)
{
	struct encoding e = {.model = model, .columns = columns, .n = n};
	size_t room = encoding_begin(&e, scratch), stored = 0;
	uint64_t time;
	uint8_t *packed = NULL, *at = out;
	bool tail = !first_time(&e, &time);
	for (uint32_t c = 0; c < model->schema.columns; c++) {
		unsigned parent = model->column[c].parent;
		bool derived = parent != NO_COLUMN;
		column_symbols(
			&model->column[c], &columns[c], n, derived ? e.symbols[parent].index : NULL,
			derived ? model->column[parent].entries : 0, &e.symbols[c], e.scratch);
		for (uint32_t i = 0; i < n; i++)
			tail |= e.symbols[c].symbol[i] == SYMBOL_ESCAPE;
	}
	for (unsigned g = 0; g < model->n_groups; g++)
		tail |= join_group(&e, g);
	if (tail) {
		if (!first_time(&e, &time))
			tail_put(&e, columns[0].values, 8);
		for (uint32_t c = 0; c < model->schema.columns; c++)
			tail_column(&e, c);
		stored = pack_tail(&e, &packed, room);
	}
	at = varint_put(at, (uint64_t)n << 1 | tail);
	if (tail) {
		at = varint_put(at, (uint64_t)stored << 1 | (packed != NULL));
		if (packed)
			at = varint_put(at, e.tail_len);
	}
	at = put_events(&e, at);
	if (tail)
		at = put_tail(&e, at, stored, packed);
	*len = (size_t)(at - out);
	return 0;
}
