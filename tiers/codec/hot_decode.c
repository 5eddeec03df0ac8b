/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of hot blocks. Every section is walked by a reader that fails once and for all at the
 * first length that does not fit; sections that nobody wants are stepped over.
 */
#include "tiers/codec/columns.h"
#include "tiers/codec/hot.h"
#include "tiers/codec/unpack.h"

/* What a number section's heads say. */
struct section {
	const uint8_t *nulls; /* NULL: none */
	const uint8_t *fields, *exception, *high;
	uint64_t base, step;
	unsigned width, k, exceptions, rest, decimal; /* k: fields; decimal: power + 1 */
	bool delta;
};

/* The rare part of a section's head. */
static void read_more(struct reader *r, struct section *s, unsigned head, unsigned n, bool numbers)
{
	unsigned more = reader_byte(r);
	if (!numbers && more & ~(HOT_DELTA | HOT_EXCEPTIONS))
		reader_fail(r);
	if (more & HOT_NULLS)
		s->nulls = reader_take(r, packed_bytes(1, n));
	if (more & HOT_DECIMAL) {
		s->decimal = (more >> HOT_DECIMAL_SHIFT) + 1;
		if (s->decimal > DECIMAL_MAX + 1)
			reader_fail(r);
	}
	if (head & HOT_BASE)
		s->base = unzigzag(reader_varint(r));
	if (more & HOT_DELTA) {
		s->delta = true;
		s->step = unzigzag(reader_varint(r));
		s->k = n - 1;
	}
	s->fields = reader_take(r, packed_bytes(s->width, s->k));
	if (!(more & HOT_EXCEPTIONS))
		return;
	s->exceptions = reader_byte(r);
	s->rest = reader_byte(r);
	s->exception = reader_take(r, s->exceptions);
	bool rest_well = s->rest <= PACK_WIDTH_MAX || s->rest == 64;
	if (s->exceptions > s->k || !rest_well || s->width > PACK_WIDTH_MAX)
		reader_fail(r);
	s->high = reader_take(r, packed_bytes(s->rest, s->exceptions));
}

/* Steps over a section of n numbers. If the reader is well afterwards, so is the section.
 * numbers: of a number column; else of a bytes column's lengths or indices. */
static inline void read_section(struct reader *r, struct section *s, unsigned n, bool numbers)
{
	unsigned head = reader_byte(r), width = head & HOT_WIDTH;
	s->nulls = NULL;
	s->base = 0;
	s->exceptions = s->decimal = 0;
	s->delta = false;
	s->k = n;
	s->width = width == HOT_WIDTH_64 ? 64 : width;
	if (width > HOT_WIDTH_64)
		reader_fail(r);
	if (head & HOT_MORE) {
		read_more(r, s, head, n, numbers);
		return;
	}
	if (head & HOT_BASE)
		s->base = unzigzag(reader_varint(r));
	s->fields = reader_take(r, packed_bytes(s->width, n));
}

/* The section's n words. False if an exception is beyond them. */
static inline bool section_words(const struct codec_ops *ops, const struct section *s, unsigned n,
				 uint64_t *out)
{
	uint64_t *to = s->delta ? out + 1 : out;
	ops->unpack(s->fields, s->width, s->k, s->delta ? s->step : s->base, to);
	if (s->exceptions) {
		uint64_t high[255];
		ops->unpack(s->high, s->rest, s->exceptions, 0, high);
		for (unsigned i = 0; i < s->exceptions; i++) {
			if (s->exception[i] >= s->k)
				return false;
			to[s->exception[i]] += high[i] << s->width;
		}
	}
	if (s->delta) {
		out[0] = s->base;
		ops->sum(to, n - 1, s->base);
	}
	return true;
}

static inline bool is_null(const uint8_t *nulls, unsigned i)
{
	return nulls[i >> 3] >> (i & 7) & 1;
}

static void store_present(const uint8_t *nulls, unsigned lo, unsigned hi, uint8_t *present)
{
	if (!nulls) {
		memset(present, 1, hi - lo);
		return;
	}
	for (unsigned i = lo; i < hi; i++)
		present[i - lo] = !is_null(nulls, i);
}

/* Part of a frame: events [lo, hi) of its n go to event `at` of the outputs. */
struct part {
	unsigned n, lo, hi;
	uint64_t at;
};

static int decode_numbers(const struct codec_ops *ops, struct reader *r, unsigned type,
			  const struct part *part, const struct codec_output *output)
{
	struct section s;
	uint64_t words[HOT_FRAME], *to = words;
	read_section(r, &s, part->n, true);
	if (!r->at || (s.decimal && type == CODEC_INT64))
		return -EILSEQ;
	if (!output->values || part->lo >= part->hi)
		return 0;
	bool direct = words_as_wanted(type, output->type) && part->hi - part->lo == part->n;
	if (direct)
		to = (uint64_t *)output->values + part->at;
	if (!section_words(ops, &s, part->n, to))
		return -EILSEQ;
	for (unsigned i = 0; s.decimal && i < part->n; i++)
		to[i] = decimal_word((int64_t)to[i], s.decimal - 1, type == CODEC_FLOAT);
	for (unsigned i = 0; s.nulls && i < part->n; i++)
		to[i] = is_null(s.nulls, i) ? 0 : to[i];
	if (!direct)
		words_store(to + part->lo, part->hi - part->lo, type, output, part->at);
	if (output->present)
		store_present(s.nulls, part->lo, part->hi, output->present + part->at);
	return 0;
}

/* Where each string begins in `bytes`, from their lengths: starts[n + 1]. */
static bool starts_of(const struct codec_ops *ops, const struct section *s, unsigned n,
		      struct reader *r, const uint8_t **bytes, uint64_t *starts)
{
	if (!section_words(ops, s, n, starts + 1))
		return false;
	starts[0] = 0;
	for (unsigned i = 1; i <= n; i++) {
		if (starts[i] > reader_left(r))
			return false;
		starts[i] += starts[i - 1];
	}
	*bytes = reader_take(r, starts[n]);
	return *bytes != NULL;
}

static int copy_strings(const struct part *part, const uint8_t *bytes, const uint64_t *starts,
			const uint64_t *index, const struct codec_output *output)
{
	uint64_t end = output->offsets[part->at];
	for (unsigned i = part->lo; i < part->hi; i++) {
		uint64_t which = index ? index[i] : i, len = starts[which + 1] - starts[which];
		if (len > output->capacity - end)
			return -ENOBUFS;
		if (len)
			memcpy((uint8_t *)output->values + end, bytes + starts[which], len);
		end += len;
		output->offsets[part->at + (i - part->lo) + 1] = (uint32_t)end;
	}
	return 0;
}

static int decode_bytes(const struct codec_ops *ops, struct reader *r, const struct part *part,
			const struct codec_output *output)
{
	struct section lens, index;
	uint64_t starts[HOT_FRAME + 1], indices[HOT_FRAME];
	const uint8_t *nulls = NULL, *bytes;
	unsigned head = reader_byte(r), more = head & HOT_MORE ? reader_byte(r) : 0;
	if ((head & ~HOT_MORE) || (more & ~(HOT_NULLS | HOT_DICTIONARY)))
		return -EILSEQ;
	if (more & HOT_NULLS)
		nulls = reader_take(r, packed_bytes(1, part->n));
	unsigned distinct = more & HOT_DICTIONARY ? reader_byte(r) + 1u : part->n;
	read_section(r, &lens, distinct, false);
	if (more & HOT_DICTIONARY)
		read_section(r, &index, part->n, false);
	if (!r->at || distinct > part->n || !starts_of(ops, &lens, distinct, r, &bytes, starts))
		return -EILSEQ;
	if (!output->values || part->lo >= part->hi)
		return 0;
	if (more & HOT_DICTIONARY) {
		if (!section_words(ops, &index, part->n, indices))
			return -EILSEQ;
		for (unsigned i = 0; i < part->n; i++)
			if (indices[i] >= distinct)
				return -EILSEQ;
	}
	if (output->present)
		store_present(nulls, part->lo, part->hi, output->present + part->at);
	return copy_strings(part, bytes, starts, more & HOT_DICTIONARY ? indices : NULL, output);
}

static uint32_t read_head(struct reader *r)
{
	unsigned version = reader_byte(r);
	uint64_t n = reader_varint(r);
	return !r->at || version != HOT_VERSION || n > CODEC_EVENTS_MAX ? 0 : (uint32_t)n;
}

int hot_count(const uint8_t *block, size_t size, uint32_t *events)
{
	struct reader r = {block, block + size};
	*events = read_head(&r);
	return *events ? 0 : -EILSEQ;
}

/* Events [from, to) of all blocks are wanted; the block's first is event `first` of them. */
static int decode_block(const struct codec_schema *schema, struct reader *r, uint64_t first,
			uint64_t from, uint64_t to, const struct codec_output *outputs)
{
	const struct codec_ops *ops = codec_ops();
	uint32_t n = read_head(r);
	for (uint64_t at = first; at < first + n && at < to; at += HOT_FRAME) {
		uint64_t left = first + n - at;
		struct part part = {.n = left < HOT_FRAME ? (unsigned)left : HOT_FRAME};
		part.lo = at >= from ? 0 : from - at < part.n ? (unsigned)(from - at) : part.n;
		part.hi = to - at < part.n ? (unsigned)(to - at) : part.n;
		part.at = at + part.lo - from;
		for (uint32_t c = 0; c < schema->columns; c++) {
			int rc = schema->type[c] == CODEC_BYTES
					 ? decode_bytes(ops, r, &part, &outputs[c])
					 : decode_numbers(ops, r, schema->type[c], &part,
							  &outputs[c]);
			if (rc)
				return rc;
		}
	}
	return 0;
}

int hot_decode(const struct codec_schema *schema, const struct codec_blocks *blocks, uint64_t from,
	       uint64_t count, const struct codec_output *outputs)
{
	uint64_t first = 0;
	for (uint32_t c = 0; c < schema->columns; c++)
		if (schema->type[c] == CODEC_BYTES && outputs[c].values)
			outputs[c].offsets[0] = 0;
	for (uint32_t b = 0; b < blocks->n && first < from + count; b++) {
		struct reader r = {blocks->bytes + blocks->offsets[b],
				   blocks->bytes + blocks->offsets[b + 1]};
		uint32_t n;
		int rc = hot_count(r.at, reader_left(&r), &n);
		if (!rc && first + n > from)
			rc = decode_block(schema, &r, first, from, from + count, outputs);
		if (rc)
			return rc;
		first += n;
	}
	return 0;
}
