/* SPDX-License-Identifier: Apache-2.0 */
/* The model as bytes; model_read.c reads them. docs/format.md has the prose. */
#include "tiers/codec/model_parts.h"

#include <zstd.h>

#define MODEL_LEVEL 12

/* Ranks of one bucket cost the same whatever their order: they are sorted, so that only the gaps
 * are kept. */
static void write_words(struct sink *sink, const uint64_t *words, uint32_t n)
{
	uint64_t mean = n > 1 ? (words[n - 1] - words[0]) / (n - 1) : 0;
	unsigned low = bit_width(mean) > 7 ? bit_width(mean) - 6 : 0, bits = 0, held = 0;
	low = low > 56 ? 56 : low;
	sink_varint(sink, zigzag(words[0]));
	sink_byte(sink, low);
	for (uint32_t i = 1; i < n; i++)
		sink_varint(sink, (words[i] - words[i - 1]) >> low);
	for (uint32_t i = 1; i < n; i++) {
		uint64_t gap = (words[i] - words[i - 1]) & low_bits(low);
		for (unsigned b = 0; b < low; b += 8) { /* byte by byte: held stays small */
			unsigned take = low - b < 8 ? low - b : 8;
			held |= (unsigned)(gap >> b & low_bits(take)) << bits;
			bits += take;
			if (bits >= 8) {
				sink_byte(sink, held);
				held >>= 8;
				bits -= 8;
			}
		}
	}
	if (bits)
		sink_byte(sink, held);
}

static void write_strings(struct sink *sink, const struct model_string *strings, uint32_t n)
{
	for (int pass = 0; pass < 3; pass++)
		for (uint32_t i = 0; i < n; i++) {
			uint32_t shared = 0, most = i ? strings[i - 1].len : 0;
			most = most < strings[i].len ? most : strings[i].len;
			while (shared < most &&
			       strings[i - 1].bytes[shared] == strings[i].bytes[shared])
				shared++;
			if (pass == 0)
				sink_varint(sink, shared);
			else if (pass == 1)
				sink_varint(sink, strings[i].len - shared);
			else
				sink_put(sink, strings[i].bytes + shared, strings[i].len - shared);
		}
}

void model_write_column(struct sink *sink, const struct model *model,
			const struct model_column *column)
{
	sink_byte(sink, column->type);
	sink_byte(sink, column->coding | column->back << 1 | column->delta << 2);
	sink_byte(sink, column->mantissa);
	sink_byte(sink, column->parent);
	sink_byte(sink, column->decimal);
	sink_byte(sink, column->fit_width);
	sink_varint(sink, zigzag(column->fit_base));
	sink_varint(sink, column->unit);
	sink_varint(sink, zigzag(column->start));
	if (column->coding != CODING_DICTIONARY)
		return;
	sink_varint(sink, column->entries);
	for (uint32_t at = 0, n; at < column->entries; at += n) {
		n = bucket_run(column, at);
		if (column->type == CODEC_BYTES)
			write_strings(sink, column->strings + at, n);
		else
			write_words(sink, column->words + at, n);
	}
	for (uint32_t i = 0;
	     column->parent != NO_COLUMN && i < model->column[column->parent].entries; i++)
		sink_varint(sink, column->derived[i]);
}

static void write_group(struct sink *sink, const struct model_group *group)
{
	sink_byte(sink, group->columns);
	sink_put(sink, group->column, group->columns);
	sink_varint(sink, group->symbols);
	sink_put(sink, group->len, group->symbols);
	for (unsigned k = 0; k < group->columns; k++)
		for (uint32_t s = 1; s < group->symbols; s++)
			sink_varint(sink, group->key[s] >> (12 * k) & 4095);
}

int model_write(const struct model *model, const struct codec_memory *memory, uint8_t **bytes,
		size_t *len)
{
	struct sink raw = {.memory = memory}, out = {.memory = memory};
	sink_varint(&raw, model->schema.columns);
	sink_varint(&raw, zigzag(model->time_base));
	sink_byte(&raw, model->time_width);
	for (uint32_t c = 0; c < model->schema.columns; c++)
		model_write_column(&raw, model, &model->column[c]);
	sink_byte(&raw, model->n_groups);
	for (unsigned g = 0; g < model->n_groups; g++)
		write_group(&raw, &model->group[g]);
	sink_byte(&out, MODEL_VERSION);
	sink_varint(&out, raw.len);
	uint8_t *to = sink_room(&out, ZSTD_compressBound(raw.len));
	int rc = raw.failed || !to ? -ENOMEM : raw.len > MODEL_BYTES_MAX ? -EINVAL : 0;
	if (!rc) {
		size_t n = ZSTD_compress(to, out.cap - out.len, raw.bytes, raw.len, MODEL_LEVEL);
		rc = ZSTD_isError(n) ? -ENOMEM : 0;
		out.len += rc ? 0 : n;
	}
	sink_clear(&raw);
	*len = out.len;
	*bytes = rc ? NULL : memory->alloc(memory->context, out.len);
	rc = !rc && !*bytes ? -ENOMEM : rc;
	if (!rc)
		memcpy(*bytes, out.bytes, out.len);
	sink_clear(&out);
	return rc;
}
