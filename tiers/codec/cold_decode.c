/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of cold blocks: heads, chunks, and the values into the caller's arrays. */
#include "tiers/codec/cold.h"
#include "tiers/codec/cold_chunk.h"
#include "tiers/codec/columns.h"
#include "tiers/codec/unpack.h"

#include <zstd.h>

#define GATHER 128u

/* A block's head. */
struct head {
	struct reader bits;
	const uint8_t *tail;
	size_t stored, bytes; /* of the tail; bytes: unpacked */
	uint32_t events;
	bool has_tail, packed;
};

static int read_head(const struct codec_blocks *blocks, uint32_t b, struct head *head)
{
	struct reader r = {blocks->bytes + blocks->offsets[b],
			   blocks->bytes + blocks->offsets[b + 1]};
	uint64_t n = reader_varint(&r), stored = 0, bytes;
	*head = (struct head){.has_tail = n & 1, .events = (uint32_t)(n >> 1)};
	if (!r.at || n >> 1 == 0 || n >> 1 > CODEC_EVENTS_MAX)
		return -EILSEQ;
	if (n & 1) {
		stored = reader_varint(&r);
		head->packed = stored & 1;
		stored >>= 1;
		bytes = head->packed ? reader_varint(&r) : stored;
		if (!r.at || stored > reader_left(&r) || bytes > 2 * (uint64_t)CODEC_BYTES_MAX)
			return -EILSEQ;
		head->bytes = bytes;
		head->stored = stored;
		head->tail = r.end - stored;
		r.end -= stored;
	}
	head->bits = r;
	return 0;
}

/* ---- Scratch ---- */

/* What chunks take: the rule by which they are cut. */
struct limits {
	uint32_t events;
	size_t tail;
};

static size_t column_scratch(const struct model_column *column, size_t events)
{
	return events * (column->coding == CODING_NUMBER ? 8 + 1
			 : column->type == CODEC_BYTES   ? 4 + sizeof(struct model_string)
							 : 4 + 8);
}

static size_t chunk_scratch(const struct model *model, const struct limits *limits)
{
	size_t bytes = sizeof(struct cold_chunk) + 64 + limits->tail;
	size_t events = ((size_t)limits->events + 63) & ~(size_t)63;
	for (uint32_t c = 0; c < model->schema.columns; c++)
		bytes += column_scratch(&model->column[c], events);
	return bytes + (model->n_groups * 8 + 12) * events;
}

static void limits_include(struct limits *limits, const struct head *head)
{
	limits->events = head->events > limits->events ? head->events : limits->events;
	if (head->packed)
		limits->tail = head->bytes > limits->tail ? head->bytes : limits->tail;
}

int cold_measure(const struct model *model, const struct codec_blocks *blocks, uint64_t *events,
		 size_t *scratch)
{
	struct limits limits = {CHUNK_EVENTS, CHUNK_TAIL};
	for (uint32_t b = 0; b < blocks->n; b++) {
		struct head head;
		int rc = read_head(blocks, b, &head);
		if (rc)
			return rc;
		*events += head.events;
		limits_include(&limits, &head);
	}
	*scratch = chunk_scratch(model, &limits);
	return 0;
}

static struct cold_chunk *chunk_place(const struct model *model, const struct limits *limits,
				      void *scratch, uint8_t **tails)
{
	struct cold_chunk *chunk = scratch;
	size_t events = ((size_t)limits->events + 63) & ~(size_t)63;
	uint8_t *at = (uint8_t *)scratch + ((sizeof(*chunk) + 63) & ~(size_t)63);
	chunk->model = model;
	for (unsigned g = 0; g < model->n_groups; g++) {
		chunk->read[g] = (uint64_t *)(void *)at;
		at += 8 * events;
	}
	for (uint32_t c = 0; c < model->schema.columns; c++) {
		struct chunk_column *column = &chunk->column[c];
		*column = (struct chunk_column){.words = (uint64_t *)(void *)at};
		column->present = at + 8 * events;
		column->index = (uint32_t *)(void *)at;
		column->other_words = (uint64_t *)(void *)(at + 4 * events);
		column->other_strings = (struct model_string *)(void *)(at + 4 * events);
		at += column_scratch(&model->column[c], events);
	}
	chunk->values = (uint64_t *)(void *)at;
	chunk->special = (uint32_t *)(void *)(at + 8 * events);
	*tails = at + 12 * events;
	return chunk;
}

/* ---- Chunks ---- */

/* Decoding in progress. */
struct decoding {
	const struct codec_blocks *blocks;
	const struct codec_output *outputs;
	struct limits limits;
	struct cold_chunk *chunk;
	uint8_t *tails;
	uint64_t from, to; /* the events wanted */
	uint64_t first;    /* the chunk's first event */
	uint32_t at;       /* block */
};

static int chunk_add(struct decoding *d, const struct head *head, size_t *tail_bytes)
{
	struct cold_chunk *chunk = d->chunk;
	struct chunk_block *block = &chunk->block[chunk->blocks];
	*block = (struct chunk_block){
		.bits = head->bits.at, .bits_end = head->bits.end, .has_tail = head->has_tail};
	if (head->has_tail)
		block->tail = (struct reader){head->tail, head->tail + head->stored};
	if (head->packed) {
		uint8_t *to = d->tails + *tail_bytes;
		size_t n = ZSTD_decompress(to, head->bytes, head->tail, head->stored);
		if (ZSTD_isError(n) || n != head->bytes)
			return -EILSEQ;
		block->tail = (struct reader){to, to + n};
		*tail_bytes += n;
	}
	chunk->start[chunk->blocks++] = chunk->events;
	chunk->events += head->events;
	chunk->start[chunk->blocks] = chunk->events;
	return 0;
}

/* Gathers the next blocks of which something is wanted. */
static int chunk_fill(struct decoding *d)
{
	size_t tail_bytes = 0;
	d->first += d->chunk->events;
	d->chunk->blocks = d->chunk->events = 0;
	while (d->at < d->blocks->n && d->chunk->blocks < CHUNK_BLOCKS) {
		struct head head;
		int rc = read_head(d->blocks, d->at, &head);
		if (rc)
			return rc;
		if (d->first + d->chunk->events >= d->to)
			break;
		if (!d->chunk->events && d->first + head.events <= d->from) {
			d->first += head.events;
			d->at++;
			continue;
		}
		if (d->chunk->events && (d->chunk->events + head.events > d->limits.events ||
					 (head.packed && tail_bytes + head.bytes > d->limits.tail)))
			break;
		rc = chunk_add(d, &head, &tail_bytes);
		if (rc)
			return rc;
		d->at++;
	}
	return 0;
}

/* Which columns must be resolved: with a tail all, since it is read in order. */
static void chunk_needs(struct decoding *d)
{
	const struct model *model = d->chunk->model;
	bool all = false;
	for (uint32_t b = 0; b < d->chunk->blocks; b++)
		all |= d->chunk->block[b].has_tail;
	for (uint32_t c = model->schema.columns; c-- > 0;) /* parents come before */
		d->chunk->column[c].needed = all || d->outputs[c].values;
	for (uint32_t c = model->schema.columns; c-- > 0;)
		if (d->chunk->column[c].needed && model->column[c].parent != NO_COLUMN)
			d->chunk->column[model->column[c].parent].needed = true;
}

/* ---- Values out ---- */

static void store_dictionary_words(const struct model_column *column,
				   const struct chunk_column *from, uint32_t lo, uint32_t hi,
				   const struct codec_output *output, uint64_t at)
{
	uint64_t gathered[GATHER];
	const uint64_t *words = column->words;
	uint32_t entries = column->entries;
	bool direct = words_as_wanted(column->type, output->type);
	while (lo < hi) {
		uint32_t n = hi - lo < GATHER ? hi - lo : GATHER;
		uint64_t *to = direct ? (uint64_t *)output->values + at : gathered;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t index = from->index[lo + i];
			if (__builtin_expect(index < entries, 1))
				to[i] = words[index];
			else
				to[i] = index == NULL_INDEX ? 0
							    : from->other_words[index - entries];
		}
		if (!direct)
			words_store(gathered, n, column->type, output, at);
		lo += n;
		at += n;
	}
}

/* Strings of the dictionary may be read 16 bytes at a time. */
static int store_strings(const struct model_column *column, const struct chunk_column *from,
			 uint32_t lo, uint32_t hi, const struct codec_output *output, uint64_t at)
{
	uint32_t end = output->offsets[at];
	for (uint32_t i = lo; i < hi; i++) {
		uint32_t index = from->index[i];
		bool known = index < column->entries;
		struct model_string s = known ? column->strings[index]
					: index == NULL_INDEX
						? (struct model_string){NULL, 0}
						: from->other_strings[index - column->entries];
		if (s.len > output->capacity - end)
			return -ENOBUFS;
		if (known && s.len <= 16 && output->capacity - end >= 16)
			memcpy((uint8_t *)output->values + end, s.bytes, 16);
		else if (s.len)
			memcpy((uint8_t *)output->values + end, s.bytes, s.len);
		end += s.len;
		output->offsets[++at] = end;
	}
	return 0;
}

static int store_column(const struct decoding *d, uint32_t c, uint32_t lo, uint32_t hi, uint64_t at)
{
	const struct model_column *column = &d->chunk->model->column[c];
	const struct chunk_column *from = &d->chunk->column[c];
	const struct codec_output *output = &d->outputs[c];
	bool dictionary = column->coding == CODING_DICTIONARY;
	if (!output->values)
		return 0;
	if (output->present && !dictionary)
		memcpy(output->present + at, from->present + lo, hi - lo);
	for (uint32_t i = lo; output->present && dictionary && i < hi; i++)
		output->present[at + (i - lo)] = from->index[i] != NULL_INDEX;
	if (column->type == CODEC_BYTES)
		return store_strings(column, from, lo, hi, output, at);
	if (dictionary)
		store_dictionary_words(column, from, lo, hi, output, at);
	else
		words_store(from->words + lo, hi - lo, column->type, output, at);
	return 0;
}

static int chunk_store(const struct decoding *d)
{
	uint32_t lo = d->from > d->first ? (uint32_t)(d->from - d->first) : 0;
	uint32_t hi = d->to - d->first < d->chunk->events ? (uint32_t)(d->to - d->first)
							  : d->chunk->events;
	for (uint32_t c = 0; c < d->chunk->model->schema.columns; c++) {
		int rc = store_column(d, c, lo, hi, d->first + lo - d->from);
		if (rc)
			return rc;
	}
	return 0;
}

int cold_decode(const struct model *model, const struct codec_blocks *blocks, uint64_t from,
		uint64_t count, const struct codec_output *outputs, void *scratch,
		size_t scratch_bytes)
{
	struct decoding d = {.blocks = blocks,
			     .outputs = outputs,
			     .from = from,
			     .to = from + count,
			     .limits = {CHUNK_EVENTS, CHUNK_TAIL}};
	for (uint32_t b = 0; b < blocks->n; b++) {
		struct head head;
		int rc = read_head(blocks, b, &head);
		if (rc)
			return rc;
		limits_include(&d.limits, &head);
	}
	if (chunk_scratch(model, &d.limits) > scratch_bytes)
		return -ENOBUFS;
	d.chunk = chunk_place(model, &d.limits, scratch, &d.tails);
	d.chunk->readable = blocks->bytes;
	d.chunk->readable_end = blocks->bytes + blocks->size;
	d.chunk->events = 0;
	for (uint32_t c = 0; c < model->schema.columns; c++)
		if (model->schema.type[c] == CODEC_BYTES && outputs[c].values)
			outputs[c].offsets[0] = 0;
	while (d.first + d.chunk->events < d.to) {
		int rc = chunk_fill(&d);
		if (rc || !d.chunk->events)
			return rc;
		chunk_needs(&d);
		rc = codec_ops()->cold(d.chunk);
		rc = rc ? rc : chunk_store(&d);
		if (rc)
			return rc;
	}
	return 0;
}
