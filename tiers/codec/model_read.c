/* SPDX-License-Identifier: Apache-2.0 */
/* Opening models: from bytes that may be anything, to tables that a decoder can trust. */
#include "tiers/codec/model_parts.h"

#include <stdio.h>
#include <zstd.h>

struct part symbol_part(const struct model_column *column, unsigned symbol)
{
	const struct part none = {.kind = PART_JOINT};
	bool dictionary = column->coding == CODING_DICTIONARY;
	struct part part = {.kind = PART_VALUE};
	unsigned width = 0, bucket;
	if (symbol <= SYMBOL_NULL)
		return (struct part){.kind = symbol == SYMBOL_NULL ? PART_NULL : PART_ESCAPE};
	if (symbol >= COLUMN_SYMBOLS_MAX)
		return none;
	if (dictionary && symbol == SYMBOL_FIT) {
		part = (struct part){0, 0, column->fit_width, PART_FIT, 0};
		return column->fit_width ? part : none;
	}
	if (dictionary && symbol == SYMBOL_DERIVED)
		return column->parent != NO_COLUMN ? (struct part){.kind = PART_DERIVED} : none;
	if (dictionary && symbol < SYMBOL_RANK) {
		width = symbol - SYMBOL_BACK;
		part = (struct part){1, 0, (uint8_t)width, PART_BACK, 0};
		return column->back ? part : none;
	}
	bucket = dictionary ? symbol - SYMBOL_RANK : (symbol - SYMBOL_NUMBER) >> 1;
	if (bucket >> column->mantissa > 64u - column->mantissa)
		return none;
	part.negative = !dictionary && (symbol & 1);
	part.leading = bucket_leading(bucket, column->mantissa, &width);
	part.width = (uint8_t)width;
	bool there = !dictionary || (uint64_t)part.leading << width < column->entries;
	return width <= RAW_BITS_MAX && there ? part : none;
}

/* ---- Columns ---- */

static void read_words(struct reader *r, uint64_t *words, uint32_t n)
{
	words[0] = unzigzag(reader_varint(r));
	unsigned low = reader_byte(r);
	if (low > 56)
		reader_fail(r);
	for (uint32_t i = 1; i < n; i++) {
		uint64_t high = reader_varint(r);
		words[i] = high << (low & 63);
	}
	const uint8_t *packed = reader_take(r, ((uint64_t)(n - 1) * low + 7) / 8);
	for (uint32_t i = 1; packed && i < n; i++) {
		uint64_t bit = (uint64_t)(i - 1) * low;
		uint64_t gap =
			load64_until(packed + (bit >> 3), r->at) >> (bit & 7) & low_bits(low);
		words[i] = words[i - 1] + (words[i] | gap);
	}
}

/* Strings are put together in bytes of the arena's; the writer's order: all shared, all rests, all
 * bytes. */
static void read_strings(struct reader *r, struct model *model, struct model_string *strings,
			 uint32_t n)
{
	uint64_t all = 0;
	const uint8_t *begin = r->at;
	struct reader rests = *r;
	for (uint32_t i = 0; i < n; i++)
		(void)reader_varint(&rests);
	struct reader bytes = rests;
	for (uint32_t i = 0, last = 0; begin && rests.at && i < n; i++) {
		uint64_t shared = reader_varint(r), rest = reader_varint(&rests);
		if (shared > last || rest > MODEL_BYTES_MAX || shared + rest > MODEL_BYTES_MAX)
			reader_fail(&rests);
		strings[i].len = last = (uint32_t)(shared + rest);
		all += shared + rest;
		if (all > MODEL_BYTES_MAX - model->string_bytes)
			reader_fail(&rests);
	}
	model->string_bytes += rests.at ? all : 0;
	uint8_t *to = rests.at ? arena_alloc(&model->arena, all + 16, 1) : NULL;
	bytes = rests;
	struct reader again = {begin, rests.end};
	for (uint32_t i = 0; to && i < n; i++) {
		uint64_t shared = reader_varint(&again), rest = strings[i].len - shared;
		const uint8_t *from = reader_take(&bytes, rest);
		if (!from)
			break;
		strings[i].bytes = to;
		if (shared)
			memcpy(to, strings[i - 1].bytes, shared);
		memcpy(to + shared, from, rest);
		to += strings[i].len;
	}
	*r = to ? bytes : (struct reader){NULL, NULL};
}

static void read_dictionary(struct reader *r, struct model *model, struct model_column *column)
{
	uint64_t entries = reader_varint(r);
	if (!r->at || entries > reader_left(r)) {
		reader_fail(r); /* each takes a byte at least */
		return;
	}
	column->entries = (uint32_t)entries;
	if (column->type == CODEC_BYTES)
		column->strings = arena_alloc(&model->arena, entries + 1, sizeof(*column->strings));
	else
		column->words = arena_alloc(&model->arena, entries + 1, sizeof(*column->words));
	for (uint32_t at = 0, n; r->at && !model->arena.failed && at < column->entries; at += n) {
		n = bucket_run(column, at);
		if (column->type == CODEC_BYTES)
			read_strings(r, model, column->strings + at, n);
		else
			read_words(r, column->words + at, n);
	}
	if (column->parent == NO_COLUMN || !r->at)
		return;
	uint32_t n = model->column[column->parent].entries;
	column->derived = arena_alloc(&model->arena, (size_t)n + 1, sizeof(uint32_t));
	for (uint32_t i = 0; column->derived && i < n; i++) {
		uint64_t to = reader_varint(r);
		if (to >= entries)
			reader_fail(r);
		column->derived[i] = (uint32_t)to;
	}
}

static void read_column(struct reader *r, struct model *model, uint32_t c)
{
	struct model_column *column = &model->column[c];
	unsigned type = reader_byte(r), how = reader_byte(r);
	column->type = (uint8_t)type;
	column->time = c == 0;
	column->coding = how & 1;
	column->back = how >> 1 & 1;
	column->delta = how >> 2 & 1;
	column->mantissa = reader_byte(r);
	column->parent = reader_byte(r);
	column->decimal = reader_byte(r);
	column->fit_width = reader_byte(r);
	column->fit_base = unzigzag(reader_varint(r));
	column->unit = reader_varint(r);
	column->start = unzigzag(reader_varint(r));
	bool dictionary = column->coding == CODING_DICTIONARY;
	bool parent = column->parent != NO_COLUMN;
	if (type != model->schema.type[c] || how > 7 || column->mantissa > 16 ||
	    column->fit_width > RAW_BITS_MAX || column->decimal > DECIMAL_MAX + 1 ||
	    !column->unit || (column->decimal && (type == CODEC_INT64 || type == CODEC_BYTES)) ||
	    (!dictionary && type == CODEC_BYTES) || (c == 0 && (dictionary || !column->delta)) ||
	    (parent && (!dictionary || column->parent >= c ||
			model->column[column->parent].coding != CODING_DICTIONARY)))
		reader_fail(r);
	if (dictionary && r->at)
		read_dictionary(r, model, column);
}

bool model_index_column(struct arena *arena, struct model_column *column)
{
	uint32_t size = 64;
	while (size < 3 * (uint64_t)column->entries)
		size <<= 1;
	column->lookup_mask = size - 1;
	column->lookup = arena_alloc(arena, size, sizeof(uint32_t));
	for (uint32_t i = 0; column->lookup && i < column->entries; i++) {
		uint64_t at = column->type == CODEC_BYTES
				      ? hash_bytes(column->strings[i].bytes, column->strings[i].len)
				      : hash_word(column->words[i]);
		for (at &= column->lookup_mask; column->lookup[at];
		     at = (at + 1) & column->lookup_mask)
			;
		column->lookup[at] = i + 1;
	}
	return column->lookup != NULL;
}

/* ---- Groups ---- */

static void read_group(struct reader *r, struct model *model, unsigned g, bool *seen)
{
	struct model_group *group = &model->group[g];
	group->columns = reader_byte(r);
	for (unsigned k = 0; r->at && k < group->columns; k++) {
		unsigned c = reader_byte(r);
		if (k >= GROUP_COLUMNS_MAX || c >= model->schema.columns || seen[c]) {
			reader_fail(r);
			return;
		}
		seen[c] = true;
		group->column[k] = (uint8_t)c;
		model->column[c].group = (uint8_t)g;
	}
	uint64_t symbols = reader_varint(r);
	if (!r->at || !group->columns || !symbols || symbols > GROUP_SYMBOLS_MAX) {
		reader_fail(r);
		return;
	}
	const uint8_t *lens = reader_take(r, symbols);
	group->symbols = (uint32_t)symbols;
	group->len = arena_alloc(&model->arena, symbols, 1);
	group->key = arena_alloc(&model->arena, symbols, sizeof(uint64_t));
	if (lens && group->len)
		memcpy(group->len, lens, symbols);
	for (unsigned k = 0; group->key && k < group->columns; k++)
		for (uint32_t s = 1; s < symbols; s++) {
			uint64_t symbol = reader_varint(r);
			if (symbol >= COLUMN_SYMBOLS_MAX)
				reader_fail(r);
			group->key[s] |= (symbol & 4095) << (12 * k);
		}
}

/* Parts of all columns of the group for its symbol s, and the raw bits of all of them. */
static int group_parts(struct model *model, struct model_group *group, uint32_t s, unsigned *raw)
{
	*raw = 0;
	for (unsigned k = 0; k < group->columns; k++) {
		struct model_column *column = &model->column[group->column[k]];
		struct part part = {.kind = PART_JOINT};
		if (s) {
			part = symbol_part(column, group->key[s] >> (12 * k) & 4095);
			if (part.kind == PART_JOINT)
				return -EILSEQ;
		}
		part.shift = (uint8_t)(READ_SYMBOL_BITS + *raw);
		*raw += part.width;
		column->parts[s] = part;
	}
	return *raw <= RAW_BITS_MAX ? 0 : -EILSEQ;
}

static int group_lookup(struct model *model, struct model_group *group)
{
	uint32_t size = 64;
	while (size < 4 * group->symbols)
		size <<= 1;
	group->lookup_mask = size - 1;
	group->lookup = arena_alloc(&model->arena, size, sizeof(uint32_t));
	for (uint32_t s = 1; group->lookup && s < group->symbols; s++) {
		uint64_t at = hash_word(group->key[s]) & group->lookup_mask;
		if (!group->len[s])
			continue;
		while (group->lookup[at])
			at = (at + 1) & group->lookup_mask;
		group->lookup[at] = s;
	}
	return group->lookup ? 0 : -ENOMEM;
}

/* Tables for what needs no look at the parts: most columns of few values, and those that follow
 * from others. */
static void direct_tables(struct model *model, struct model_column *column, uint32_t symbols)
{
	bool values = !column->delta, derived = true,
	     dictionary = column->coding == CODING_DICTIONARY;
	for (uint32_t s = 1; s < symbols; s++) {
		const struct part *part = &column->parts[s];
		values &= part->kind == PART_VALUE && !part->width;
		derived &= part->kind == PART_DERIVED;
	}
	column->all_derived = derived && symbols > 1;
	if (values && dictionary)
		column->direct_index = arena_alloc(&model->arena, symbols, sizeof(uint32_t));
	else if (values)
		column->direct_word = arena_alloc(&model->arena, symbols, sizeof(uint64_t));
	for (uint32_t s = 1; values && s < symbols; s++) {
		const struct part *part = &column->parts[s];
		uint64_t v = part->leading * column->unit;
		v = column->start + (part->negative ? 0 - v : v);
		if (column->direct_index)
			column->direct_index[s] = part->leading;
		if (column->direct_word)
			column->direct_word[s] =
				column->decimal
					? near_decimal_word((int64_t)v, column->decimal - 1u,
							    column->type == CODEC_FLOAT)
					: v;
	}
}

int model_index_group(struct model *model, unsigned g, bool encode)
{
	struct model_group *group = &model->group[g];
	for (unsigned k = 0; k < group->columns; k++) {
		struct model_column *column = &model->column[group->column[k]];
		column->group = (uint8_t)g;
		column->parts = arena_alloc(&model->arena, group->symbols, sizeof(struct part));
	}
	group->code = arena_alloc(&model->arena, group->symbols, sizeof(uint16_t));
	if (model->arena.failed)
		return -ENOMEM;
	if (!group->len[0] || !huffman_codes(group->len, group->symbols, group->code))
		return -EILSEQ;
	group->bits = 0;
	for (uint32_t s = 0; s < group->symbols; s++)
		group->bits = group->len[s] > group->bits ? group->len[s] : group->bits;
	uint32_t size = 1u << group->bits;
	group->table = arena_alloc(&model->arena, size, sizeof(uint32_t));
	if (!group->table)
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++) /* what is no code reads as "in the tail" */
		group->table[i] = CODE_ENTRY(0, group->bits, 0);
	for (uint32_t s = 0; s < group->symbols; s++) {
		unsigned raw;
		int rc = group_parts(model, group, s, &raw);
		if (rc)
			return rc;
		for (uint32_t i = group->code[s]; group->len[s] && i < size;
		     i += 1u << group->len[s])
			group->table[i] = CODE_ENTRY(s, group->len[s], raw);
	}
	for (unsigned k = 0; k < group->columns; k++)
		direct_tables(model, &model->column[group->column[k]], group->symbols);
	if (model->arena.failed)
		return -ENOMEM;
	return encode ? group_lookup(model, group) : 0;
}

/* ---- Model ---- */

static int read_model(struct model *model, struct reader *r, bool encode)
{
	bool seen[CODEC_COLUMNS_MAX] = {false};
	uint64_t columns = reader_varint(r);
	model->time_base = unzigzag(reader_varint(r));
	model->time_width = reader_byte(r);
	if (!r->at || columns != model->schema.columns || model->time_width > RAW_BITS_MAX)
		return -EILSEQ;
	for (uint32_t c = 0; r->at && c < columns; c++)
		read_column(r, model, c);
	model->n_groups = reader_byte(r);
	if (model->n_groups > columns)
		reader_fail(r);
	for (unsigned g = 0; r->at && g < model->n_groups; g++)
		read_group(r, model, g, seen);
	for (uint32_t c = 0; r->at && c < columns; c++)
		if (!seen[c])
			reader_fail(r);
	if (model->arena.failed)
		return -ENOMEM;
	if (!r->at || r->at != r->end)
		return -EILSEQ;
	int rc = 0;
	for (unsigned g = 0; g < model->n_groups && !rc; g++)
		rc = model_index_group(model, g, encode);
	for (uint32_t c = 0; encode && c < columns && !rc; c++)
		if (model->column[c].coding == CODING_DICTIONARY &&
		    !model_index_column(&model->arena, &model->column[c]))
			rc = -ENOMEM;
	return rc;
}

static int unpack_model(struct model *model, struct reader *r, bool encode)
{
	if (reader_byte(r) != MODEL_VERSION && r->at)
		return -EPROTO;
	uint64_t bytes = reader_varint(r);
	if (!r->at || !bytes || bytes > MODEL_BYTES_MAX ||
	    ZSTD_getFrameContentSize(r->at, reader_left(r)) != bytes)
		return -EILSEQ;
	const struct codec_memory *memory = &model->arena.memory;
	uint8_t *raw = memory->alloc(memory->context, bytes);
	if (!raw)
		return -ENOMEM;
	size_t got = ZSTD_decompress(raw, bytes, r->at, reader_left(r));
	struct reader inner = {raw, raw + bytes};
	int rc = ZSTD_isError(got) || got != bytes ? -EILSEQ : read_model(model, &inner, encode);
	memory->free(memory->context, raw, bytes);
	return rc;
}

int model_open(const struct codec_schema *schema, const uint8_t *bytes, size_t len, bool encode,
	       const struct codec_memory *memory, struct model **out)
{
	struct reader r = {bytes, bytes + len};
	*out = NULL;
	if (codec_check(schema))
		return -EINVAL;
	struct model *model = memory->alloc(memory->context, sizeof(*model));
	if (!model)
		return -ENOMEM;
	memset(model, 0, sizeof(*model));
	model->arena.memory = *memory;
	model->schema = *schema;
	int rc = unpack_model(model, &r, encode);
	if (rc)
		model_close(&model);
	*out = model;
	return rc;
}

void model_close(struct model **model)
{
	if (!*model)
		return;
	struct codec_memory memory = (*model)->arena.memory;
	arena_clear(&(*model)->arena);
	memory.free(memory.context, *model, sizeof(**model));
	*model = NULL;
}

int model_describe(const struct model *model, char *text, size_t size)
{
	size_t at = 0;
	for (uint32_t c = 0; c < model->schema.columns; c++) {
		const struct model_column *column = &model->column[c];
		char parent[24] = "";
		if (column->parent != NO_COLUMN)
			snprintf(parent, sizeof(parent), ", follows from %u", column->parent);
		int n = column->coding == CODING_DICTIONARY
				? snprintf(at < size ? text + at : NULL, at < size ? size - at : 0,
					   "column %u: group %u, dictionary of %u%s%s, buckets "
					   "2^%u, fit %u bits\n",
					   c, column->group, column->entries,
					   column->back ? ", back" : "", parent, column->mantissa,
					   column->fit_width)
				: snprintf(at < size ? text + at : NULL, at < size ? size - at : 0,
					   "column %u: group %u, number%s%s, unit %llu, buckets "
					   "2^%u\n",
					   c, column->group, column->delta ? ", difference" : "",
					   column->decimal ? ", decimal" : "",
					   (unsigned long long)column->unit, column->mantissa);
		at += n > 0 ? (size_t)n : 0;
	}
	return (int)at;
}
