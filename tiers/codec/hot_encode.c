/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding of hot blocks: for each frame and column, the cheapest of a plain frame of reference and
 * differences, both patched: a field is as wide as the sum of all fields and of the exceptions,
 * which keep the bits above a field elsewhere, is least (after PFOR: Zukowski et al., 2006).
 */
#include "tiers/codec/columns.h"
#include "tiers/codec/hot.h"
#include "tiers/codec/unpack.h"

struct plan {
	uint64_t base, step;              /* step: delta only */
	unsigned width, exceptions, rest; /* rest: bits of an exception above the field */
	uint32_t bytes;
	bool delta;
};

/* The best width for k fields; fills plan's width, exceptions, rest and the bytes that these take.
 */
static void plan_width(struct plan *plan, const uint64_t *fields, unsigned k)
{
	uint8_t of[65] = {0};
	unsigned most = 0, above = 0;
	for (unsigned i = 0; i < k; i++) {
		unsigned width = bit_width(fields[i]);
		of[width]++;
		most = width > most ? width : most;
	}
	plan->width = most > PACK_WIDTH_MAX ? 64 : most;
	plan->exceptions = plan->rest = 0;
	plan->bytes = packed_bytes(plan->width, k);
	for (unsigned width = most; width-- > 0;) {
		above += of[width + 1];
		unsigned rest = most - width > PACK_WIDTH_MAX ? 64 : most - width;
		if (width > PACK_WIDTH_MAX)
			continue;
		uint32_t bytes = packed_bytes(width, k) + 3 + above + packed_bytes(rest, above);
		if (bytes < plan->bytes) {
			plan->width = width;
			plan->exceptions = above;
			plan->rest = rest;
			plan->bytes = bytes;
		}
	}
}

static void fields_of(const struct plan *plan, const uint64_t *words, unsigned n, uint64_t *fields)
{
	if (plan->delta) {
		for (unsigned i = 1; i < n; i++)
			fields[i - 1] = words[i] - words[i - 1] - plan->step;
	} else {
		for (unsigned i = 0; i < n; i++)
			fields[i] = words[i] - plan->base;
	}
}

static uint64_t least(const uint64_t *words, unsigned n)
{
	int64_t min = (int64_t)words[0];
	for (unsigned i = 1; i < n; i++)
		min = (int64_t)words[i] < min ? (int64_t)words[i] : min;
	return (uint64_t)min;
}

/* Takes the plan if it is cheaper than the best so far. */
static void consider(struct plan *best, struct plan plan, const uint64_t *words, unsigned n)
{
	uint64_t fields[HOT_FRAME];
	fields_of(&plan, words, n, fields);
	plan_width(&plan, fields, plan.delta ? n - 1 : n);
	plan.bytes += plan.base || plan.delta ? varint_bytes(zigzag(plan.base)) : 0;
	plan.bytes += plan.delta ? 1 + varint_bytes(zigzag(plan.step)) : 0;
	if (plan.bytes < best->bytes)
		*best = plan;
}

static void plan_numbers(struct plan *plan, const uint64_t *words, unsigned n, bool delta_too)
{
	uint64_t min = least(words, n), steps[HOT_FRAME];
	plan->bytes = UINT32_MAX;
	consider(plan, (struct plan){.base = 0}, words, n);
	if (min)
		consider(plan, (struct plan){.base = min}, words, n);
	if (!delta_too || n < 3)
		return;
	for (unsigned i = 1; i < n; i++)
		steps[i - 1] = words[i] - words[i - 1];
	consider(plan, (struct plan){.base = words[0], .step = least(steps, n - 1), .delta = true},
		 words, n);
}

/* Packs n fields of width bits; out has 8 bytes to spare. */
static uint8_t *pack(uint8_t *out, const uint64_t *fields, unsigned n, unsigned width)
{
	uint64_t mask = low_bits(width), held = 0;
	unsigned bits = 0;
	if (width == 64) {
		memcpy(out, fields, (size_t)n * 8);
		return out + (size_t)n * 8;
	}
	for (unsigned i = 0; i < n; i++) {
		held |= (fields[i] & mask) << bits; /* bits < 8, width <= 56 */
		bits += width;
		memcpy(out, &held, 8);
		out += bits >> 3;
		held >>= bits & ~7u;
		bits &= 7;
	}
	if (bits)
		*out++ = (uint8_t)held;
	return out;
}

static uint8_t *put_exceptions(uint8_t *out, const struct plan *plan, const uint64_t *fields,
			       unsigned n)
{
	uint64_t high[HOT_FRAME];
	unsigned k = 0;
	*out++ = (uint8_t)plan->exceptions;
	*out++ = (uint8_t)plan->rest;
	for (unsigned i = 0; i < n; i++) {
		if (bit_width(fields[i]) <= plan->width)
			continue;
		*out++ = (uint8_t)i;
		high[k++] = fields[i] >> plan->width;
	}
	return pack(out, high, k, plan->rest);
}

/* A section of numbers; nulls: its bytes, or NULL; more: bits that the caller wants said. */
static uint8_t *put_numbers(uint8_t *out, const uint64_t *words, unsigned n, bool delta_too,
			    unsigned more, const uint8_t *nulls)
{
	uint64_t fields[HOT_FRAME];
	struct plan plan;
	plan_numbers(&plan, words, n, delta_too);
	bool based = plan.base || plan.delta;
	more |= (plan.delta ? HOT_DELTA : 0) | (plan.exceptions ? HOT_EXCEPTIONS : 0) |
		(nulls ? HOT_NULLS : 0);
	*out++ = (uint8_t)((plan.width == 64 ? HOT_WIDTH_64 : plan.width) | (based ? HOT_BASE : 0) |
			   (more ? HOT_MORE : 0));
	if (more)
		*out++ = (uint8_t)more;
	if (nulls) {
		memcpy(out, nulls, packed_bytes(1, n));
		out += packed_bytes(1, n);
	}
	if (based)
		out = varint_put(out, zigzag(plan.base));
	if (plan.delta)
		out = varint_put(out, zigzag(plan.step));
	unsigned k = plan.delta ? n - 1 : n;
	fields_of(&plan, words, n, fields);
	out = pack(out, fields, k, plan.width);
	return plan.exceptions ? put_exceptions(out, &plan, fields, k) : out;
}

/* The nulls' bits; false if there are none. */
static bool nulls_of(const struct codec_column *column, uint32_t from, unsigned n, uint8_t *nulls)
{
	bool any = false;
	memset(nulls, 0, HOT_FRAME / 8);
	for (unsigned i = 0; i < n; i++) {
		bool null = !column_present(column, from + i);
		nulls[i >> 3] |= (uint8_t)(null << (i & 7));
		any |= null;
	}
	return any;
}

/* Makes integers of floats, all with one power of ten. The power, or 0 if they stay what they are.
 */
static unsigned decimals(uint64_t *words, unsigned n, bool is_float)
{
	uint64_t integers[HOT_FRAME], differ = 0;
	for (unsigned i = 1; i < n; i++)
		differ |= words[i] ^ words[0];
	if (!differ)
		return 0;
	unsigned e = 0;
	for (unsigned i = 0; i < n; i++) {
		int64_t integer;
		while (!decimal_of(words[i], e, is_float, &integer))
			if (++e > DECIMAL_MAX)
				return 0;
	}
	for (unsigned i = 0; i < n; i++) {
		int64_t integer;
		if (!decimal_of(words[i], e, is_float, &integer))
			return 0; /* a number that only a smaller power makes */
		integers[i] = (uint64_t)integer;
	}
	memcpy(words, integers, n * sizeof(words[0]));
	return e + 1;
}

static uint8_t *put_number_column(uint8_t *out, const struct codec_column *column, unsigned type,
				  uint32_t from, unsigned n)
{
	uint64_t words[HOT_FRAME], last = 0;
	uint8_t nulls[HOT_FRAME / 8];
	bool some = nulls_of(column, from, n, nulls);
	unsigned first = 0;
	while (some && first < n - 1 && !column_present(column, from + first))
		first++;
	if (column_present(column, from + first))
		last = column_word(column, type, from + first);
	for (unsigned i = 0; i < n; i++) /* a null is as the value before it: it costs nothing */
		words[i] = last = column_present(column, from + i)
					  ? column_word(column, type, from + i)
					  : last;
	unsigned e = type == CODEC_INT64 ? 0 : decimals(words, n, type == CODEC_FLOAT);
	unsigned more = e ? HOT_DECIMAL | (e - 1) << HOT_DECIMAL_SHIFT : 0;
	return put_numbers(out, words, n, type == CODEC_INT64, more, some ? nulls : NULL);
}

/* ---- Bytes ---- */

struct strings {
	const uint8_t *bytes[HOT_FRAME];
	uint64_t len[HOT_FRAME];
	uint64_t index[HOT_FRAME]; /* into the distinct ones */
	uint8_t first[HOT_FRAME];  /* of each distinct one */
	unsigned distinct;
};

/* Finds what is equal by a small table of hashes. */
static void strings_of(struct strings *s, const struct codec_column *column, uint32_t from,
		       unsigned n)
{
	uint8_t table[256] = {0}; /* 1 + number of the distinct one */
	s->distinct = 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = 0;
		s->bytes[i] = column_present(column, from + i)
				      ? column_bytes(column, from + i, &len)
				      : NULL;
		s->len[i] = len;
		uint64_t hash = len * UINT64_C(0x9e3779b97f4a7c15);
		for (uint32_t j = 0; j < len; j += 8)
			hash = (hash ^ load64_until(s->bytes[i] + j, s->bytes[i] + len)) *
			       UINT64_C(0xff51afd7ed558ccd);
		unsigned at = (unsigned)(hash >> 56);
		for (;; at = (at + 1) & 255) {
			unsigned f = table[at] ? s->first[table[at] - 1] : i;
			if (!table[at]) {
				s->first[s->distinct++] = (uint8_t)i;
				table[at] = (uint8_t)s->distinct;
			} else if (s->len[f] != len ||
				   (len && memcmp(s->bytes[f], s->bytes[i], len) != 0)) {
				continue;
			}
			s->index[i] = table[at] - 1u;
			break;
		}
	}
}

static uint8_t *put_bytes_column(uint8_t *out, const struct codec_column *column, uint32_t from,
				 unsigned n)
{
	struct strings s;
	uint8_t nulls[HOT_FRAME / 8];
	bool some = nulls_of(column, from, n, nulls);
	strings_of(&s, column, from, n);
	bool dictionary = s.distinct < n;
	unsigned more = (some ? HOT_NULLS : 0) | (dictionary ? HOT_DICTIONARY : 0);
	*out++ = more ? HOT_MORE : 0;
	if (more)
		*out++ = (uint8_t)more;
	if (some) {
		memcpy(out, nulls, packed_bytes(1, n));
		out += packed_bytes(1, n);
	}
	if (!dictionary) {
		out = put_numbers(out, s.len, n, false, 0, NULL);
	} else {
		uint64_t lens[HOT_FRAME];
		for (unsigned i = 0; i < s.distinct; i++)
			lens[i] = s.len[s.first[i]];
		*out++ = (uint8_t)(s.distinct - 1);
		out = put_numbers(out, lens, s.distinct, false, 0, NULL);
		out = put_numbers(out, s.index, n, false, 0, NULL);
	}
	for (unsigned i = 0; i < (dictionary ? s.distinct : n); i++) {
		unsigned f = dictionary ? s.first[i] : i;
		if (s.len[f])
			memcpy(out, s.bytes[f], s.len[f]);
		out += s.len[f];
	}
	return out;
}

/* ---- Block ---- */

size_t hot_bound(const struct codec_schema *schema, const struct codec_column *columns, uint32_t n)
{
	/* For each frame and column: heads, counts, nulls, base, step, fields; at most two lists of
	 * numbers for strings. The 16: what pack writes ahead. */
	size_t frames = (n + HOT_FRAME - 1) / HOT_FRAME, bytes = 16;
	for (uint32_t c = 0; c < schema->columns; c++) {
		bytes += frames * 2 * (8 + HOT_FRAME / 8 + (size_t)2 * VARINT_MAX) +
			 (size_t)n * (schema->type[c] == CODEC_BYTES ? 16 : 8);
		if (schema->type[c] == CODEC_BYTES)
			bytes += column_size(&columns[c], n);
	}
	return bytes + 1 + VARINT_MAX;
}

int hot_encode(const struct codec_schema *schema, const struct codec_column *columns, uint32_t n,
	       uint8_t *out, size_t *len)
{
	uint8_t *at = out;
	*at++ = HOT_VERSION;
	at = varint_put(at, n);
	for (uint32_t from = 0; from < n; from += HOT_FRAME) {
		unsigned k = n - from < HOT_FRAME ? n - from : HOT_FRAME;
		for (uint32_t c = 0; c < schema->columns; c++)
			at = schema->type[c] == CODEC_BYTES
				     ? put_bytes_column(at, &columns[c], from, k)
				     : put_number_column(at, &columns[c], schema->type[c], from, k);
	}
	*len = (size_t)(at - out);
	return 0;
}
