/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loops of cold decoding, once for each instruction set (CODEC_ISA names it).
 *
 * First all bits: for each event and group one look-up in a Huffman table gives the joint symbol, the code's
 * length and how many raw bits follow. Then, column by column, the symbols to values. No step trusts the one
 * before: a symbol is one of the table's, a rank is compared with the dictionary, a distance with the block.
 */
#include "tiers/codec/cold_chunk.h"

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
 * One look-up waits for the one before it, since a code's length says where the next begins. So some blocks
 * are read at once, each in its lane, and the waits overlap.
 */
#define LANES 4u
#define LANES_GROUPS 4u /* with more, one after the other */

struct lane {
	const uint8_t *from;
	uint64_t at, limit; /* bits */
	uint32_t event, left;
};

/* What the loops need of the groups. */
struct tables {
	const uint32_t *table[CODEC_COLUMNS_MAX];
	uint64_t mask[CODEC_COLUMNS_MAX];
	uint16_t *joint[CODEC_COLUMNS_MAX];
	uint64_t *raw[CODEC_COLUMNS_MAX];
};

/* 57 bits at least from bit `at` on; zeros beyond what may be read. */
static uint64_t peek_near_end(const uint8_t *from, uint64_t at, const uint8_t *end)
{
	const uint8_t *byte = from + (at >> 3);
	return load64_until(byte < end ? byte : end, end) >> (at & 7);
}

/* One code and its raw bits out of x; how many bits they are. */
INLINE unsigned read_code(uint64_t x, const uint32_t *table, uint64_t mask, uint16_t *joint, uint64_t *raw)
{
	uint32_t e = table[x & mask];
	unsigned len = CODE_LEN(e), width = CODE_RAW(e);
	*joint = (uint16_t)e;
	*raw = lowest(x >> len, width);
	return len + width;
}

/* One lane to its block's end, at any place in memory. */
static bool lane_finish(struct cold_chunk *chunk, const struct tables *tables, struct lane *lane, unsigned groups)
{
	for (; lane->left && lane->at <= lane->limit; lane->left--, lane->event++)
		for (unsigned g = 0; g < groups; g++) {
			uint64_t x = peek_near_end(lane->from, lane->at, chunk->readable_end);
			lane->at += read_code(x, tables->table[g], tables->mask[g],
					      &tables->joint[g][lane->event], &tables->raw[g][lane->event]);
		}
	return lane->at <= lane->limit;
}

/* n events in each of the lanes; all loads are known to be in bounds. `width`, how many lanes, and `groups`
 * are constants where this is inlined. */
INLINE void lanes_run(const struct tables *tables, struct lane *lanes, uint32_t n, unsigned width,
		      unsigned groups)
{
	const uint8_t *from[LANES];
	uint64_t at[LANES];
	size_t event[LANES];
	struct { /* nothing that is written can be these */
		const uint32_t *table[4];
		uint64_t mask[4], *raw[4];
		uint16_t *joint[4];
	} own;
#pragma GCC unroll 4
	for (unsigned g = 0; g < groups; g++) {
		own.table[g] = tables->table[g];
		own.mask[g] = tables->mask[g];
		own.raw[g] = tables->raw[g];
		own.joint[g] = tables->joint[g];
	}
	for (unsigned l = 0; l < width; l++) {
		from[l] = lanes[l].from;
		at[l] = lanes[l].at;
		event[l] = lanes[l].event;
		lanes[l].event += n;
		lanes[l].left -= n;
	}
	for (uint32_t i = 0; i < n; i++)
#pragma GCC unroll 4
		for (unsigned g = 0; g < groups; g++) {
			uint16_t *joint = own.joint[g] + i;
			uint64_t *raw = own.raw[g] + i;
#pragma GCC unroll 4
			for (unsigned l = 0; l < width; l++) {
				uint64_t x = load64(from[l] + (at[l] >> 3)) >> (at[l] & 7);
				at[l] += read_code(x, own.table[g], own.mask[g], &joint[event[l]],
						   &raw[event[l]]);
			}
		}
	for (unsigned l = 0; l < width; l++)
		lanes[l].at = at[l];
}

INLINE void lanes_run_wide(const struct tables *tables, struct lane *lanes, uint32_t n, unsigned width,
			   unsigned groups)
{
	if (groups == 1)
		lanes_run(tables, lanes, n, width, 1);
	else if (groups == 2)
		lanes_run(tables, lanes, n, width, 2);
	else if (groups == 3)
		lanes_run(tables, lanes, n, width, 3);
	else
		lanes_run(tables, lanes, n, width, 4);
}

/* Begins block b: its first time. */
static bool lane_begin(struct cold_chunk *chunk, uint32_t b, struct lane *lane)
{
	struct chunk_block *block = &chunk->block[b];
	const struct model *model = chunk->model;
	uint64_t x = peek_near_end(block->bits, 0, chunk->readable_end);
	*lane = (struct lane){ .from = block->bits, .at = 1, .event = chunk->start[b],
			       .left = chunk->start[b + 1] - chunk->start[b],
			       .limit = (uint64_t)(block->bits_end - block->bits) * 8 };
	if (x & 1) {
		const uint8_t *time = reader_take(&block->tail, 8);
		block->time = time ? load64(time) : 0;
		return time != NULL;
	}
	block->time = model->time_base + (x >> 1 & low_bits(model->time_width)) * model->column[0].unit;
	lane->at += model->time_width;
	return true;
}

/* How many events all lanes can read without a look at the bounds. */
static uint32_t lanes_safe(const struct cold_chunk *chunk, const struct lane *lanes, unsigned width,
			   unsigned groups)
{
	uint64_t n = groups <= LANES_GROUPS ? UINT32_MAX : 0;
	for (unsigned l = 0; l < width; l++) {
		uint64_t room = (uint64_t)(chunk->readable_end - lanes[l].from), at = lanes[l].at >> 3;
		uint64_t events = room > at + 8 ? (room - at - 8) / (8 * groups) : 0;
		n = events < n ? events : n;
		n = lanes[l].left < n ? lanes[l].left : n;
	}
	return (uint32_t)n;
}

static bool read_blocks(struct cold_chunk *chunk)
{
	const struct model *model = chunk->model;
	unsigned groups = model->n_groups, full = 0;
	struct lane lanes[LANES];
	struct tables tables;
	uint32_t b = 0;
	for (unsigned g = 0; g < groups; g++) {
		tables.table[g] = model->group[g].table;
		tables.mask[g] = low_bits(model->group[g].bits);
		tables.joint[g] = chunk->joint[g];
		tables.raw[g] = chunk->raw[g];
	}
	for (;;) {
		for (; full < LANES && b < chunk->blocks; full++, b++)
			if (!lane_begin(chunk, b, &lanes[full]))
				return false;
		if (!full)
			return true;
		unsigned width = full == LANES ? LANES : full >= 2 ? 2 : 1;
		uint32_t n = lanes_safe(chunk, lanes, width, groups);
		if (!n && !lane_finish(chunk, &tables, &lanes[full - 1], groups))
			return false;
		if (n && width == LANES)
			lanes_run_wide(&tables, lanes, n, LANES, groups);
		else if (n && width == 2)
			lanes_run_wide(&tables, lanes, n, 2, groups);
		else if (n)
			lanes_run_wide(&tables, lanes, n, 1, groups);
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
static struct part tail_part(struct reader *tail, const struct model_column *column, uint64_t *value)
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
static uint32_t tail_other(struct reader *tail, const struct model_column *column, struct chunk_column *to)
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
INLINE struct part part_of(const struct part *parts, unsigned symbol, uint64_t raw, uint64_t *v)
{
	struct part part = parts[symbol];
	*v = ((uint64_t)part.leading << part.width) + lowest(raw >> part.shift, part.width);
	return part;
}

static bool dictionary_block(struct cold_chunk *chunk, uint32_t c, uint32_t b)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	const struct part *parts = column->parts;
	const uint16_t *joint = chunk->joint[column->group];
	const uint64_t *raw = chunk->raw[column->group];
	bool derived = column->parent != NO_COLUMN, bad = false;
	const uint32_t *parent = derived ? chunk->column[column->parent].index : NULL;
	uint32_t parent_entries = derived ? chunk->model->column[column->parent].entries : 0;
	uint32_t *index = to->index, entries = column->entries;
	uint32_t start = chunk->start[b], end = chunk->start[b + 1];
	for (uint32_t i = start; i < end; i++) {
		uint64_t v;
		struct part part = part_of(parts, joint[i], raw[i], &v);
		if (__builtin_expect(part.kind == PART_VALUE, 1)) {
			bad |= v >= entries;
			index[i] = (uint32_t)v;
			continue;
		}
		if (part.kind == PART_JOINT)
			part = tail_part(&chunk->block[b].tail, column, &v);
		switch (part.kind) {
		case PART_VALUE:
			bad |= v >= entries;
			index[i] = (uint32_t)v;
			break;
		case PART_BACK:
			bad |= v > i - start;
			index[i] = index[i - (v > i - start ? 0 : v)];
			break;
		case PART_DERIVED:
			bad |= parent[i] >= parent_entries;
			index[i] = column->derived[parent[i] < parent_entries ? parent[i] : 0];
			break;
		case PART_FIT:
			v += column->fit_base;
			if (column->decimal)
				v = near_decimal_word((int64_t)v, column->decimal - 1u,
						      column->type == CODEC_FLOAT);
			to->other_words[to->others] = v;
			index[i] = entries + to->others++;
			break;
		case PART_NULL:
			index[i] = NULL_INDEX;
			break;
		case PART_ESCAPE:
			index[i] = tail_other(&chunk->block[b].tail, column, to);
			break;
		default:
			return false;
		}
	}
	return !bad;
}

/* `decimal` and `delta` are constants where this is inlined. */
INLINE bool number_block_as(struct cold_chunk *chunk, uint32_t c, uint32_t b, bool decimal, bool delta)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	const struct part *parts = column->parts;
	const uint16_t *joint = chunk->joint[column->group];
	const uint64_t *raw = chunk->raw[column->group];
	uint64_t before = column->time ? chunk->block[b].time : column->start, unit = column->unit, v;
	uint64_t *words = to->words;
	uint8_t *present = to->present;
	bool is_float = column->type == CODEC_FLOAT;
	unsigned power = decimal ? column->decimal - 1u : 0;
	for (uint32_t i = chunk->start[b], end = chunk->start[b + 1]; i < end; i++) {
		struct part part = part_of(parts, joint[i], raw[i], &v);
		int64_t integer;
		if (__builtin_expect(part.kind == PART_JOINT, 0)) {
			part = tail_part(&chunk->block[b].tail, column, &v);
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
		words[i] = v = part.kind == PART_ESCAPE ? tail_word(&chunk->block[b].tail, column->type) : 0;
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

/* The events [i, end) of a column whose symbols say all. Without a tail none of them can be 0. */
static bool direct_values(const struct model_column *column, struct chunk_column *to, const uint16_t *joint,
			  const uint32_t *parent, uint32_t parent_entries, uint32_t i, uint32_t end)
{
	bool bad = false;
	for (uint32_t k = i; k < end; k++)
		bad |= !joint[k];
	if (column->direct_index) {
		for (; i < end; i++)
			to->index[i] = column->direct_index[joint[i]];
	} else if (column->direct_word) {
		memset(to->present + i, 1, end - i);
		for (; i < end; i++)
			to->words[i] = column->direct_word[joint[i]];
	} else {
		for (; i < end && !bad; i++) {
			bad = parent[i] >= parent_entries;
			to->index[i] = bad ? 0 : column->derived[parent[i]];
		}
	}
	return !bad;
}

static bool column_values(struct cold_chunk *chunk, uint32_t c)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	bool direct = column->direct_index || column->direct_word || column->all_derived, well = true;
	bool derived = column->parent != NO_COLUMN;
	const uint32_t *parent = derived ? chunk->column[column->parent].index : NULL;
	uint32_t parent_entries = derived ? chunk->model->column[column->parent].entries : 0;
	to->others = 0;
	for (uint32_t b = 0, end; b < chunk->blocks && well; b = end) {
		end = b + 1;
		if (direct && !chunk->block[b].has_tail) {
			while (end < chunk->blocks && !chunk->block[end].has_tail)
				end++;
			well = direct_values(column, to, chunk->joint[column->group], parent, parent_entries,
					     chunk->start[b], chunk->start[end]);
			continue;
		}
		well = column->coding == CODING_DICTIONARY ? dictionary_block(chunk, c, b)
							   : number_block(chunk, c, b);
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
