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

/* ---- Bits ---- */

/* 57 bits at least from bit `at` on; zeros beyond what may be read. */
INLINE uint64_t peek(const uint8_t *from, uint64_t at, const uint8_t *end)
{
	const uint8_t *byte = from + (at >> 3);
	if (__builtin_expect(byte + 8 <= end, 1))
		return load64(byte) >> (at & 7);
	return load64_until(byte < end ? byte : end, end) >> (at & 7);
}

/* `groups` is a constant where this is inlined. */
INLINE bool read_events(struct cold_chunk *chunk, uint32_t b, uint64_t at, unsigned groups)
{
	const struct model *model = chunk->model;
	const uint8_t *from = chunk->block[b].bits, *end = chunk->readable_end;
	uint64_t limit = (uint64_t)(chunk->block[b].bits_end - from) * 8;
	for (uint32_t i = chunk->start[b]; i < chunk->start[b + 1]; i++) {
		for (unsigned g = 0; g < groups; g++) {
			const struct model_group *group = &model->group[g];
			uint64_t x = peek(from, at, end);
			struct code_entry e = group->table[x & low_bits(group->bits)];
			chunk->joint[g][i] = e.symbol;
			chunk->raw[g][i] = x >> e.len & low_bits(e.raw);
			at += (unsigned)e.len + e.raw;
		}
		if (__builtin_expect(at > limit, 0))
			return false;
	}
	return true;
}

static bool read_block(struct cold_chunk *chunk, uint32_t b)
{
	struct chunk_block *block = &chunk->block[b];
	const struct model *model = chunk->model;
	uint64_t x = peek(block->bits, 0, chunk->readable_end), at = 1;
	if (block->bits >= block->bits_end)
		return false;
	if (x & 1) {
		const uint8_t *time = reader_take(&block->tail, 8);
		if (!time)
			return false;
		block->time = load64(time);
	} else {
		block->time = model->time_base + (x >> 1 & low_bits(model->time_width)) * model->column[0].unit;
		at += model->time_width;
	}
	switch (model->n_groups) {
	case 1:
		return read_events(chunk, b, at, 1);
	case 2:
		return read_events(chunk, b, at, 2);
	case 3:
		return read_events(chunk, b, at, 3);
	case 4:
		return read_events(chunk, b, at, 4);
	default:
		return read_events(chunk, b, at, model->n_groups);
	}
}

/* ---- Symbols to values ---- */

/* A symbol of the column itself and its raw bits, from the tail. */
static struct part tail_part(struct reader *tail, const struct model_column *column, uint64_t *value)
{
	uint64_t symbol = reader_varint(tail), raw = reader_varint(tail);
	struct part part = symbol_part(column, symbol < COLUMN_SYMBOLS_MAX ? (unsigned)symbol
									   : COLUMN_SYMBOLS_MAX);
	*value = part.base + (raw & low_bits(part.width));
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

static bool dictionary_values(struct cold_chunk *chunk, uint32_t c)
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
	to->others = 0;
	for (uint32_t b = 0; b < chunk->blocks; b++) {
		uint32_t start = chunk->start[b], end = chunk->start[b + 1];
		for (uint32_t i = start; i < end; i++) {
			struct part part = parts[joint[i]];
			uint64_t v = part.base + (raw[i] >> part.shift & low_bits(part.width));
			if (__builtin_expect(part.kind == PART_JOINT, 0))
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
		if (chunk->block[b].has_tail && !chunk->block[b].tail.at)
			return false;
	}
	return !bad;
}

/* `decimal` and `delta` are constants where this is inlined. */
INLINE bool number_values_as(struct cold_chunk *chunk, uint32_t c, bool decimal, bool delta)
{
	const struct model_column *column = &chunk->model->column[c];
	struct chunk_column *to = &chunk->column[c];
	const uint16_t *joint = chunk->joint[column->group];
	const uint64_t *raw = chunk->raw[column->group];
	bool is_float = column->type == CODEC_FLOAT;
	unsigned power = decimal ? column->decimal - 1u : 0;
	for (uint32_t b = 0; b < chunk->blocks; b++) {
		uint64_t before = column->time ? chunk->block[b].time : column->start, word;
		for (uint32_t i = chunk->start[b]; i < chunk->start[b + 1]; i++) {
			struct part part = column->parts[joint[i]];
			uint64_t v = part.base + (raw[i] >> part.shift & low_bits(part.width));
			int64_t integer;
			if (__builtin_expect(part.kind != PART_VALUE, 0)) {
				if (part.kind == PART_JOINT)
					part = tail_part(&chunk->block[b].tail, column, &v);
				if (part.kind == PART_JOINT)
					return false;
			}
			to->present[i] = part.kind != PART_NULL;
			if (__builtin_expect(part.kind == PART_VALUE, 1)) {
				v *= column->unit;
				v = before + (part.negative ? 0 - v : v);
				before = delta ? v : before;
				to->words[i] = decimal ? near_decimal_word((int64_t)v, power, is_float) : v;
				continue;
			}
			word = part.kind == PART_ESCAPE ? tail_word(&chunk->block[b].tail, column->type) : 0;
			to->words[i] = word;
			if (!delta || part.kind != PART_ESCAPE)
				continue;
			if (!decimal)
				before = word;
			else if (near_decimal_of(word, power, is_float, &integer))
				before = (uint64_t)integer;
		}
		if (chunk->block[b].has_tail && !chunk->block[b].tail.at)
			return false;
	}
	return true;
}

static bool number_values(struct cold_chunk *chunk, uint32_t c)
{
	const struct model_column *column = &chunk->model->column[c];
	if (column->decimal)
		return column->delta ? number_values_as(chunk, c, true, true)
				     : number_values_as(chunk, c, true, false);
	return column->delta ? number_values_as(chunk, c, false, true)
			     : number_values_as(chunk, c, false, false);
}

int PASTE(cold_run_, CODEC_ISA)(struct cold_chunk *chunk);
int PASTE(cold_run_, CODEC_ISA)(struct cold_chunk *chunk)
{
	for (uint32_t b = 0; b < chunk->blocks; b++)
		if (!read_block(chunk, b))
			return -EILSEQ;
	for (uint32_t c = 0; c < chunk->model->schema.columns; c++) {
		if (!chunk->column[c].needed)
			continue;
		bool well = chunk->model->column[c].coding == CODING_DICTIONARY
				    ? dictionary_values(chunk, c)
				    : number_values(chunk, c);
		if (!well)
			return -EILSEQ;
	}
	return 0;
}
