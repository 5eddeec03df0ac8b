/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loops of cold decoding, once for each instruction set (CODEC_ISA names it).
 *
 * First all bits: for each event and group one look-up in a Huffman table gives the joint symbol,
 * the code's length and how many raw bits follow. Then, column by column, the symbols to values. No
 * step trusts the one before: a symbol is one of the table's, a rank is compared with the
 * dictionary, a distance with the block.
 */
#include "tiers/codec/cold_chunk.h"

#ifdef __AVX512VBMI__
#include <immintrin.h>
#endif

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)
#define INLINE static inline __attribute__((always_inline))

/* The lowest `width` bits, which are fewer than 64: a model's are at most RAW_BITS_MAX. */
INLINE uint64_t lowest(uint64_t x, unsigned width)
{
	return x & ((UINT64_C(1) << (width & 63)) - 1);
}

/* ---- Bits ---- */

/*
 * One look-up waits for the one before it, since a code's length says where the next begins. So
 * some blocks are read at once, each in its lane, and the waits overlap.
 */
#define LANES 4u
#define LANES_GROUPS 4u /* with more, one after the other */

struct lane {
	uint64_t at, limit; /* bits from chunk->readable on */
	uint32_t event, left;
};

/* 57 bits at least from bit `at` on; zeros beyond what may be read. */
static uint64_t peek_near_end(const struct cold_chunk *chunk, uint64_t at)
{
	const uint8_t *end = chunk->readable_end;
	bool inside = at >> 3 < (uint64_t)(end - chunk->readable);
	return load64_until(inside ? chunk->readable + (at >> 3) : end, end) >> (at & 7);
}

/* One code and its raw bits out of x; how many bits they are. */
INLINE unsigned read_code(uint64_t x, const uint32_t *table, uint64_t mask, uint64_t *read)
{
	uint32_t e = table[x & mask];
	unsigned len = CODE_LEN(e), width = CODE_RAW(e);
	*read = lowest(x >> len, width) << READ_SYMBOL_BITS | CODE_SYMBOL(e);
	return len + width;
}

/* One lane to its block's end, at any place in memory. */
static bool lane_finish(struct cold_chunk *chunk, struct lane *lane)
{
	const struct model *model = chunk->model;
	for (; lane->left && lane->at <= lane->limit; lane->left--, lane->event++)
		for (unsigned g = 0; g < model->n_groups; g++)
			lane->at += read_code(peek_near_end(chunk, lane->at), model->group[g].table,
					      low_bits(model->group[g].bits),
					      &chunk->read[g][lane->event]);
	return lane->at <= lane->limit;
}

/* n events in each of the lanes; all loads are known to be in bounds. `width`, how many lanes, and
 * `groups` are constants where this is inlined. */
INLINE void lanes_run(const struct cold_chunk *chunk, struct lane *lanes, uint32_t n,
		      unsigned width, unsigned groups)
{
	const uint8_t *bytes = chunk->readable;
	uint64_t at[LANES], mask[LANES_GROUPS], *read[LANES_GROUPS];
	const uint32_t *table[LANES_GROUPS];
	size_t event[LANES];
	for (unsigned l = 0; l < width; l++) {
		at[l] = lanes[l].at;
		event[l] = lanes[l].event;
		lanes[l].event += n;
		lanes[l].left -= n;
	}
#pragma GCC unroll 4
	for (unsigned g = 0; g < groups; g++) { /* copies: nothing that is written can be these */
		table[g] = chunk->model->group[g].table;
		mask[g] = low_bits(chunk->model->group[g].bits);
		read[g] = chunk->read[g];
	}
	for (uint32_t i = 0; i < n; i++)
#pragma GCC unroll 4
		for (unsigned g = 0; g < groups; g++)
#pragma GCC unroll 4
			for (unsigned l = 0; l < width; l++) {
				uint64_t x = load64(bytes + (at[l] >> 3)) >> (at[l] & 7);
				at[l] += read_code(x, table[g], mask[g], &read[g][event[l] + i]);
			}
	for (unsigned l = 0; l < width; l++)
		lanes[l].at = at[l];
}

INLINE void lanes_run_wide(const struct cold_chunk *chunk, struct lane *lanes, uint32_t n,
			   unsigned width, unsigned groups)
{
	if (groups == 1)
		lanes_run(chunk, lanes, n, width, 1);
	else if (groups == 2)
		lanes_run(chunk, lanes, n, width, 2);
	else if (groups == 3)
		lanes_run(chunk, lanes, n, width, 3);
	else
		lanes_run(chunk, lanes, n, width, 4);
}

/* Begins block b: its first time. */
static bool lane_begin(struct cold_chunk *chunk, uint32_t b, struct lane *lane)
{
	struct chunk_block *block = &chunk->block[b];
	const struct model *model = chunk->model;
	*lane = (struct lane){.at = (uint64_t)(block->bits - chunk->readable) * 8,
			      .limit = (uint64_t)(block->bits_end - chunk->readable) * 8,
			      .event = chunk->start[b],
			      .left = chunk->start[b + 1] - chunk->start[b]};
	uint64_t x = peek_near_end(chunk, lane->at++);
	if (x & 1) {
		const uint8_t *time = reader_take(&block->tail, 8);
		block->time = time ? load64(time) : 0;
		return time != NULL;
	}
	block->time =
		model->time_base + (x >> 1 & low_bits(model->time_width)) * model->column[0].unit;
	lane->at += model->time_width;
	return true;
}

/* How many events all of these lanes can read without a look at the bounds. */
static uint32_t lanes_safe(const struct cold_chunk *chunk, const struct lane *lanes, unsigned width)
{
	uint64_t each = 8 * (uint64_t)chunk->model->n_groups, n = UINT32_MAX, at = 0;
	uint64_t room = (uint64_t)(chunk->readable_end - chunk->readable);
	for (unsigned l = 0; l < width; l++) {
		n = lanes[l].left < n ? lanes[l].left : n;
		at = lanes[l].at >> 3 > at ? lanes[l].at >> 3 : at;
	}
	if (chunk->model->n_groups > LANES_GROUPS || room < at + 8)
		return 0;
	return (uint32_t)(n * each <= room - at - 8 ? n : (room - at - 8) / each);
}

static bool read_blocks(struct cold_chunk *chunk)
{
	unsigned groups = chunk->model->n_groups, full = 0;
	struct lane lanes[LANES];
	uint32_t b = 0;
	for (;;) {
		for (; full < LANES && b < chunk->blocks; full++, b++)
			if (!lane_begin(chunk, b, &lanes[full]))
				return false;
		if (!full)
			return true;
		unsigned width = full == LANES ? LANES : full >= 2 ? 2 : 1;
		uint32_t n = lanes_safe(chunk, lanes, width);
		if (!n && !lane_finish(chunk, &lanes[full - 1]))
			return false;
		if (n && width == LANES)
			lanes_run_wide(chunk, lanes, n, LANES, groups);
		else if (n && width == 2)
			lanes_run_wide(chunk, lanes, n, 2, groups);
		else if (n)
			lanes_run_wide(chunk, lanes, n, 1, groups);
		for (unsigned l = full; l-- > 0;) {
			if (lanes[l].at > lanes[l].limit)
				return false;
			if (!lanes[l].left)
				lanes[l] = lanes[--full];
		}
	}
}

/* ---- Symbols to values ---- */

/* A symbol of the column itself and its raw bits, from the tail. */
static struct part tail_part(struct reader *tail, const struct model_column *column,
			     uint64_t *value)
{
	uint64_t symbol = reader_varint(tail), raw = reader_varint(tail);
	struct part part = symbol_part(column, symbol < COLUMN_SYMBOLS_MAX ? (unsigned)symbol
									   : COLUMN_SYMBOLS_MAX);
	*value = ((uint64_t)part.leading << part.width) + (raw & low_bits(part.width));
	if (!tail->at)
		part.kind = PART_JOINT;
	return part;
}

static uint64_t tail_word(struct reader *tail, unsigned type)
{
	uint64_t word = 0;
	size_t bytes = type == CODEC_FLOAT ? 4 : 8;
	const uint8_t *from = reader_take(tail, bytes);
	if (from)
		memcpy(&word, from, bytes);
	return word;
}

/* A value that is not in the dictionary, from the tail. */
static uint32_t tail_other(struct reader *tail, const struct model_column *column,
			   struct chunk_column *to)
{
	if (column->type == CODEC_BYTES) {
		uint64_t len = reader_varint(tail);
		to->other_strings[to->others].bytes = reader_take(tail, len);
		to->other_strings[to->others].len = (uint32_t)len;
	} else {
		to->other_words[to->others] = tail_word(tail, column->type);
	}
	return column->entries + to->others++;
}

/* A symbol's part for the column, and its value. */
INLINE struct part part_of(const struct part *parts, uint64_t read, uint64_t *v)
{
	struct part part = parts[READ_SYMBOL(read)];
	*v = ((uint64_t)part.leading << part.width) + lowest(read >> part.shift, part.width);
	return part;
}

/*
 * What symbols and raw bits of the events [i, end) say, as if all were values: 0 for those that are
 * something else, whose numbers go to special. Returns how many these are.
 */
#ifdef __AVX512VBMI__

static uint32_t expand(const struct part *parts, const uint64_t *read, uint32_t i, uint32_t end,
		       uint64_t *values, uint32_t *special)
{
	const __m512i byte = _mm512_set1_epi64(255), one = _mm512_set1_epi64(1);
	const __m512i symbols = _mm512_set1_epi64(GROUP_SYMBOLS_MAX - 1);
	const __m512i kinds = _mm512_set1_epi64(INT64_C(255) << 48);
	const __m512i low = _mm512_set1_epi64(UINT32_MAX);
	__m256i number = _mm256_add_epi32(_mm256_set1_epi32((int)i),
					  _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
	uint32_t n = 0;
	for (; i < end; i += 8, number = _mm256_add_epi32(number, _mm256_set1_epi32(8))) {
		__mmask8 some = (__mmask8)low_bits(end - i < 8 ? end - i : 8);
		__m512i x = _mm512_maskz_loadu_epi64(some, read + i);
		__m512i p = _mm512_i64gather_epi64(_mm512_and_si512(x, symbols), parts, 8);
		__m512i shift = _mm512_and_si512(_mm512_srli_epi64(p, 32), byte);
		__m512i width = _mm512_and_si512(_mm512_srli_epi64(p, 40), byte);
		__m512i mask = _mm512_sub_epi64(_mm512_sllv_epi64(one, width), one);
		__m512i v = _mm512_sllv_epi64(_mm512_and_si512(p, low), width);
		v = _mm512_add_epi64(v, _mm512_and_si512(_mm512_srlv_epi64(x, shift), mask));
		__m512i sign = _mm512_sub_epi64(_mm512_setzero_si512(), _mm512_srli_epi64(p, 56));
		v = _mm512_sub_epi64(_mm512_xor_si512(v, sign), sign);
		__mmask8 other = _mm512_mask_test_epi64_mask(some, p, kinds);
		_mm512_mask_storeu_epi64(values + i, some,
					 _mm512_maskz_mov_epi64((__mmask8)~other, v));
		if (__builtin_expect(other, 0)) {
			_mm256_mask_compressstoreu_epi32(special + n, other, number);
			n += (uint32_t)__builtin_popcount(other);
		}
	}
	return n;
}

#else

static uint32_t expand(const struct part *parts, const uint64_t *read, uint32_t i, uint32_t end,
		       uint64_t *values, uint32_t *special)
{
	uint32_t n = 0;
	for (; i < end; i++) {
		uint64_t v;
		struct part part = part_of(parts, read[i], &v);
		uint64_t sign = 0 - (uint64_t)part.negative;
		values[i] = part.kind == PART_VALUE ? (v ^ sign) - sign : 0;
		special[n] = i;
		n += part.kind != PART_VALUE;
	}
	return n;
}

#endif

/* One event that is no rank. False: it cannot be. */
static bool dictionary_event(struct cold_chunk *chunk, uint32_t c, uint32_t b, uint32_t i)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	uint32_t *index = to->index, parent = 0, distance = i - chunk->start[b];
	uint64_t v;
	struct part part = part_of(column->parts, chunk->read[column->group][i], &v);
	if (part.kind == PART_JOINT)
		part = tail_part(&chunk->block[b].tail, column, &v);
	switch (part.kind) {
	case PART_VALUE:
		index[i] = (uint32_t)v;
		return v < column->entries;
	case PART_BACK:
		index[i] = index[v <= distance ? i - v : i];
		return v <= distance;
	case PART_DERIVED:
		parent = chunk->column[column->parent].index[i];
		if (parent >= chunk->model->column[column->parent].entries)
			return false;
		index[i] = column->derived[parent];
		return true;
	case PART_FIT:
		v += column->fit_base;
		if (column->decimal)
			v = near_decimal_word((int64_t)v, column->decimal - 1u,
					      column->type == CODEC_FLOAT);
		to->other_words[to->others] = v;
		index[i] = column->entries + to->others++;
		return true;
	case PART_NULL:
		index[i] = NULL_INDEX;
		return true;
	case PART_ESCAPE:
		index[i] = tail_other(&chunk->block[b].tail, column, to);
		return true;
	default:
		return false;
	}
}

/* Blocks [b, last): first all as ranks, then those events that are none. */
static bool dictionary_blocks(struct cold_chunk *chunk, uint32_t c, uint32_t b, uint32_t last)
{
	const struct model_column *column = &chunk->model->column[c];
	uint32_t start = chunk->start[b], end = chunk->start[last], *index = chunk->column[c].index;
	uint64_t *values = chunk->values, limit = column->entries ? column->entries : 1;
	bool bad = false;
	uint32_t n = expand(column->parts, chunk->read[column->group], start, end, values,
			    chunk->special);
	for (uint32_t i = start; i < end; i++) {
		bad |= values[i] >= limit;
		index[i] = (uint32_t)values[i];
	}
	for (uint32_t k = 0; k < n && !bad; k++) {
		while (chunk->special[k] >= chunk->start[b + 1])
			b++;
		bad = !dictionary_event(chunk, c, b, chunk->special[k]);
	}
	return !bad;
}

/* `decimal` and `delta` are constants where this is inlined. */
INLINE bool number_block_as(struct cold_chunk *chunk, uint32_t c, uint32_t b, bool decimal,
			    bool delta)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	const struct part *parts = column->parts;
	const uint64_t *read = chunk->read[column->group];
	uint64_t before = column->time ? chunk->block[b].time : column->start, unit = column->unit,
		 v, other;
	uint64_t *words = to->words;
	uint8_t *present = to->present;
	bool is_float = column->type == CODEC_FLOAT;
	unsigned power = decimal ? column->decimal - 1u : 0;
	for (uint32_t i = chunk->start[b], end = chunk->start[b + 1]; i < end; i++) {
		struct part part = part_of(parts, read[i], &v);
		int64_t integer;
		if (__builtin_expect(part.kind == PART_JOINT, 0)) {
			part = tail_part(&chunk->block[b].tail, column, &other);
			v = other;
			if (part.kind == PART_JOINT)
				return false;
		}
		present[i] = part.kind != PART_NULL;
		if (__builtin_expect(part.kind == PART_VALUE, 1)) {
			uint64_t sign = 0 - (uint64_t)part.negative;
			v = before + ((v * unit ^ sign) - sign);
			before = delta ? v : before;
			words[i] = decimal ? near_decimal_word((int64_t)v, power, is_float) : v;
			continue;
		}
		words[i] = v = part.kind == PART_ESCAPE
				       ? tail_word(&chunk->block[b].tail, column->type)
				       : 0;
		if (!delta || part.kind != PART_ESCAPE)
			continue;
		if (!decimal)
			before = v;
		else if (near_decimal_of(v, power, is_float, &integer))
			before = (uint64_t)integer;
	}
	return true;
}

static bool number_block(struct cold_chunk *chunk, uint32_t c, uint32_t b)
{
	const struct model_column *column = &chunk->model->column[c];
	if (column->decimal)
		return column->delta ? number_block_as(chunk, c, b, true, true)
				     : number_block_as(chunk, c, b, true, false);
	return column->delta ? number_block_as(chunk, c, b, false, true)
			     : number_block_as(chunk, c, b, false, false);
}

/* Blocks [b, last), which have no tail: what is no number is a null. */
static bool number_blocks(struct cold_chunk *chunk, uint32_t c, uint32_t b, uint32_t last)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	const uint64_t *read = chunk->read[column->group];
	uint32_t start = chunk->start[b], end = chunk->start[last];
	uint64_t *words = to->words, unit = column->unit;
	uint32_t n = expand(column->parts, read, start, end, words, chunk->special);
	memset(to->present + start, 1, end - start);
	for (uint32_t i = start; unit != 1 && i < end; i++)
		words[i] *= unit;
	for (uint32_t i = start; !column->delta && i < end; i++)
		words[i] += column->start;
	for (; column->delta && b < last; b++) {
		uint64_t sum = column->time ? chunk->block[b].time : column->start;
		for (uint32_t i = chunk->start[b]; i < chunk->start[b + 1]; i++)
			words[i] = sum += words[i];
	}
	for (uint32_t i = start; column->decimal && i < end; i++)
		words[i] = near_decimal_word((int64_t)words[i], column->decimal - 1u,
					     column->type == CODEC_FLOAT);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = chunk->special[k];
		if (column->parts[READ_SYMBOL(read[i])].kind != PART_NULL)
			return false;
		to->present[i] = 0;
		words[i] = 0;
	}
	return true;
}

/* The events [i, end) of a column whose symbols say all. Without a tail none of them can be 0. */
static bool direct_values(const struct model_column *column, struct chunk_column *to,
			  const uint64_t *read, const uint32_t *parent, uint32_t parent_entries,
			  uint32_t i, uint32_t end)
{
	const uint32_t *direct_index = column->direct_index, *derived = column->derived;
	const uint64_t *direct_word = column->direct_word;
	uint32_t *index = to->index;
	uint64_t *words = to->words;
	bool bad = false;
	if (direct_index) {
		for (; i < end; i++) {
			bad |= !READ_SYMBOL(read[i]);
			index[i] = direct_index[READ_SYMBOL(read[i])];
		}
	} else if (direct_word) {
		memset(to->present + i, 1, end - i);
		for (; i < end; i++) {
			bad |= !READ_SYMBOL(read[i]);
			words[i] = direct_word[READ_SYMBOL(read[i])];
		}
	} else {
		for (; i < end; i++) {
			bool known = READ_SYMBOL(read[i]) && parent[i] < parent_entries;
			bad |= !known;
			index[i] = derived[known ? parent[i] : 0];
		}
	}
	return !bad;
}

static bool column_values(struct cold_chunk *chunk, uint32_t c)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	bool direct = column->direct_index || column->direct_word || column->all_derived,
	     well = true;
	bool derived = column->parent != NO_COLUMN;
	const uint32_t *parent = derived ? chunk->column[column->parent].index : NULL;
	uint32_t parent_entries = derived ? chunk->model->column[column->parent].entries : 0;
	to->others = 0;
	for (uint32_t b = 0, end; b < chunk->blocks && well; b = end) {
		end = b + 1;
		while (!chunk->block[b].has_tail && end < chunk->blocks &&
		       !chunk->block[end].has_tail)
			end++; /* all that have none */
		if (direct && !chunk->block[b].has_tail)
			well = direct_values(column, to, chunk->read[column->group], parent,
					     parent_entries, chunk->start[b], chunk->start[end]);
		else if (column->coding == CODING_DICTIONARY)
			well = dictionary_blocks(chunk, c, b, end);
		else if (chunk->block[b].has_tail)
			well = number_block(chunk, c, b);
		else
			well = number_blocks(chunk, c, b, end);
		well &= !chunk->block[b].has_tail || chunk->block[b].tail.at;
	}
	return well;
}

int PASTE(cold_run_, CODEC_ISA)(struct cold_chunk *chunk);
int PASTE(cold_run_, CODEC_ISA)(struct cold_chunk *chunk)
{
	if (!read_blocks(chunk))
		return -EILSEQ;
	for (uint32_t c = 0; c < chunk->model->schema.columns; c++) {
		if (!chunk->column[c].needed)
			continue;
		if (!column_values(chunk, c))
			return -EILSEQ;
	}
	return 0;
}
