/* SPDX-License-Identifier: Apache-2.0 */
/* What the codecs are compared with: Protobuf rows, Parquet-like columns, entropy. */
#include "tests/codec/bench.h"
#include "tools/mix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zstd.h>

#define LEVEL 3
#define PAGE_ROWS 20000u
#define PAGE_HEADER 16u

double bench_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- Protobuf ---- */

static uint64_t word_at(const struct log *log, uint32_t c, uint32_t i)
{
	uint64_t word = 0;
	memcpy(&word, (const char *)log->columns[c].values + (size_t)i * log_width(log, c),
	       log_width(log, c));
	return word;
}

static size_t bytes_at(const struct log *log, uint32_t c, uint32_t i, const uint8_t **bytes)
{
	const uint32_t *offsets = log->columns[c].offsets;
	*bytes = (const uint8_t *)log->columns[c].values + offsets[i];
	return offsets[i + 1] - offsets[i];
}

/* One event as a length-delimited message: proto3, defaults left out, sint64 where values are
 * negative. */
static uint8_t *protobuf_row(const struct log *log, uint32_t i, uint8_t *out)
{
	static uint8_t body[1 << 16];
	uint8_t *at = body;
	for (uint32_t c = 0; c < log->schema.columns; c++) {
		unsigned tag = (c + 1) << 3;
		if (log->schema.type[c] == CODEC_BYTES) {
			const uint8_t *bytes;
			size_t len = bytes_at(log, c, i, &bytes);
			if (!len)
				continue;
			*at++ = (uint8_t)(tag | 2);
			at = varint_put(at, len);
			memcpy(at, bytes, len);
			at += len;
			continue;
		}
		uint64_t word = word_at(log, c, i);
		if (!word)
			continue;
		unsigned type = log->schema.type[c], width = log_width(log, c);
		*at++ = (uint8_t)(tag | (type == CODEC_INT64 ? 0 : width == 4 ? 5 : 1));
		if (type == CODEC_INT64) {
			at = varint_put(at, log->is_signed[c] ? zigzag(word) : word);
		} else {
			memcpy(at, &word, width);
			at += width;
		}
	}
	*out++ = 0x0a;
	out = varint_put(out, (uint64_t)(at - body));
	memcpy(out, body, (size_t)(at - body));
	return out + (at - body);
}

static size_t row_bound(const struct log *log)
{
	size_t bytes = 16;
	for (uint32_t c = 0; c < log->schema.columns; c++)
		bytes += 12;
	for (uint32_t c = 0; c < log->schema.columns; c++)
		for (uint32_t i = 0, most = 0; log->schema.type[c] == CODEC_BYTES && i < log->n;
		     i++) {
			uint32_t len = log->columns[c].offsets[i + 1] - log->columns[c].offsets[i];
			bytes += len > most ? len - most : 0;
			most = len > most ? len : most;
		}
	return bytes;
}

/* All blocks one after the other, with where each begins. */
static uint8_t *protobuf_blocks(const struct log *log, bool compressed, size_t *offsets)
{
	uint8_t *out = malloc((size_t)log->n * row_bound(log) + log->blocks * 64ull), *at = out;
	uint8_t *block = malloc((size_t)log->n * row_bound(log));
	ZSTD_CCtx *context = ZSTD_createCCtx();
	for (uint32_t b = 0; b < log->blocks; b++) {
		uint8_t *end = block;
		offsets[b] = (size_t)(at - out);
		for (uint32_t i = log->starts[b]; i < log->starts[b + 1]; i++)
			end = protobuf_row(log, i, end);
		size_t len = (size_t)(end - block);
		if (compressed)
			at += ZSTD_compressCCtx(context, at, ZSTD_compressBound(len), block, len,
						LEVEL);
		else
			memcpy(at, block, len), at += len;
	}
	offsets[log->blocks] = (size_t)(at - out);
	ZSTD_freeCCtx(context);
	free(block);
	return out;
}

double baseline_protobuf(const struct log *log, bool compressed)
{
	size_t *offsets = malloc((log->blocks + 1) * sizeof(*offsets));
	free(protobuf_blocks(log, compressed, offsets));
	double bytes = (double)offsets[log->blocks];
	free(offsets);
	return bytes / log->n;
}

/* Parses the rows of a block into arrays; strings as their places. */
static uint32_t protobuf_parse(const struct log *log, const uint8_t *at, const uint8_t *end,
			       uint64_t **out, uint32_t i)
{
	for (; at < end; i++) {
		struct reader r = {at + 1, end};
		uint64_t len = reader_varint(&r);
		const uint8_t *stop = r.at + len;
		for (uint32_t c = 0; c < log->schema.columns; c++)
			out[c][i] = 0;
		while (r.at < stop) {
			unsigned tag = *r.at++, c = (tag >> 3) - 1;
			uint64_t v = 0;
			if ((tag & 7) == 0) {
				v = reader_varint(&r);
				v = log->is_signed[c] ? unzigzag(v) : v;
			} else if ((tag & 7) == 2) {
				len = reader_varint(&r);
				v = (uint64_t)(uintptr_t)r.at;
				r.at += len;
			} else {
				memcpy(&v, r.at, (tag & 7) == 1 ? 8 : 4);
				r.at += (tag & 7) == 1 ? 8 : 4;
			}
			out[c][i] = v;
		}
		at = stop;
	}
	return i;
}

double baseline_protobuf_speed(const struct log *log, bool compressed)
{
	size_t *offsets = malloc((log->blocks + 1) * sizeof(*offsets));
	uint8_t *bytes = protobuf_blocks(log, compressed, offsets);
	size_t room = 1, row = row_bound(log);
	for (uint32_t b = 0; b < log->blocks; b++) {
		size_t events = log->starts[b + 1] - log->starts[b];
		room = events * row > room ? events * row : room;
	}
	uint8_t *block = malloc(room);
	uint64_t *out[LOG_COLUMNS_MAX];
	for (uint32_t c = 0; c < log->schema.columns; c++)
		out[c] = malloc(((size_t)log->n + 1) * 8);
	ZSTD_DCtx *context = ZSTD_createDCtx();
	double best = 1e9;
	for (int round = 0; round < 5; round++) {
		double begin = bench_seconds();
		for (uint32_t b = 0; b < log->blocks; b++) {
			const uint8_t *from = bytes + offsets[b];
			size_t len = offsets[b + 1] - offsets[b];
			if (compressed) {
				len = ZSTD_decompressDCtx(context, block, room, from, len);
				from = block;
			}
			(void)protobuf_parse(log, from, from + len, out, log->starts[b] & 16383);
		}
		double took = bench_seconds() - begin;
		best = took < best ? took : best;
	}
	ZSTD_freeDCtx(context);
	for (uint32_t c = 0; c < log->schema.columns; c++)
		free(out[c]);
	free(block);
	free(bytes);
	free(offsets);
	return log->n / best / 1e6;
}

/* ---- Parquet-like: each column as the best of its encodings, pages of 20,000 rows, zstd ---- */

static size_t packed(const void *bytes, size_t len)
{
	uint8_t *out = malloc(ZSTD_compressBound(len));
	size_t n = ZSTD_compress(out, ZSTD_compressBound(len), bytes, len, LEVEL);
	free(out);
	return n + PAGE_HEADER;
}

/* A value's number among the distinct ones, by hash (collisions of 64 bits are neglected). */
struct distinct {
	uint64_t *key;
	uint32_t *number, mask, n;
	size_t plain; /* bytes of the distinct values */
	uint8_t *bytes;
};

static uint64_t value_key(const struct log *log, uint32_t c, uint32_t i)
{
	if (log->schema.type[c] != CODEC_BYTES)
		return mix64(word_at(log, c, i));
	const uint8_t *bytes;
	uint64_t hash = bytes_at(log, c, i, &bytes), len = hash;
	for (size_t k = 0; k < len; k += 8)
		hash = mix64(hash ^ load64_until(bytes + k, bytes + len));
	return hash;
}

static uint32_t distinct_number(struct distinct *d, uint64_t key, bool *is_new)
{
	uint32_t at = (uint32_t)key & d->mask;
	while (d->number[at] && d->key[at] != key)
		at = (at + 1) & d->mask;
	*is_new = !d->number[at];
	if (*is_new) {
		d->key[at] = key;
		d->number[at] = ++d->n;
	}
	return d->number[at] - 1;
}

static unsigned plain_width(const struct log *log, uint32_t c)
{
	if (log->schema.type[c] != CODEC_INT64)
		return log_width(log, c);
	for (uint32_t i = 0; i < log->n; i++)
		if ((int64_t)word_at(log, c, i) != (int32_t)word_at(log, c, i))
			return 8;
	return 4;
}

static size_t plain_put(const struct log *log, uint32_t c, uint32_t i, unsigned width, uint8_t *out)
{
	const uint8_t *bytes;
	if (log->schema.type[c] != CODEC_BYTES) {
		uint64_t word = word_at(log, c, i);
		memcpy(out, &word, width);
		return width;
	}
	size_t len = bytes_at(log, c, i, &bytes);
	uint32_t head = (uint32_t)len;
	memcpy(out, &head, 4);
	memcpy(out + 4, bytes, len);
	return len + 4;
}

static size_t bits_put(uint8_t *out, const uint32_t *v, uint32_t n, unsigned width)
{
	memset(out, 0, ((size_t)n * width + 7) / 8 + 8);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t x, bit = (uint64_t)i * width;
		memcpy(&x, out + (bit >> 3), 8);
		x |= (uint64_t)v[i] << (bit & 7);
		memcpy(out + (bit >> 3), &x, 8);
	}
	return ((size_t)n * width + 7) / 8;
}

/* Runs of eight and more, and bit-packed groups of eight. */
static size_t hybrid_put(uint8_t *out, const uint32_t *v, uint32_t n, unsigned width)
{
	uint8_t *at = out;
	for (uint32_t i = 0; i < n;) {
		uint32_t run = 1, literal = i;
		while (i + run < n && v[i + run] == v[i])
			run++;
		if (run >= 8) {
			at = varint_put(at, (uint64_t)run << 1);
			memcpy(at, &v[i], 4);
			at += (width + 7) / 8;
			i += run;
			continue;
		}
		do { /* groups of eight until a run begins */
			i = i + 8 < n ? i + 8 : n;
			run = 1;
			while (i + run < n && run < 8 && v[i + run] == v[i])
				run++;
		} while (i < n && run < 8 && i - literal < 504);
		at = varint_put(at, (i - literal + 7) / 8 << 1 | 1);
		at += bits_put(at, v + literal, i - literal, width);
	}
	return (size_t)(at - out);
}

/* DELTA_BINARY_PACKED: blocks of 128, four miniblocks. */
static size_t delta_put(uint8_t *out, const struct log *log, uint32_t c, uint32_t from, uint32_t n)
{
	uint8_t *at = out;
	for (uint32_t i = 1; i < n; i += 128) {
		uint64_t d[128];
		uint32_t k = n - i < 128 ? n - i : 128;
		int64_t min = INT64_MAX;
		for (uint32_t j = 0; j < k; j++) {
			d[j] = word_at(log, c, from + i + j) - word_at(log, c, from + i + j - 1);
			min = (int64_t)d[j] < min ? (int64_t)d[j] : min;
		}
		at = varint_put(at, zigzag((uint64_t)min));
		uint8_t *widths = at;
		at += 4;
		for (uint32_t m = 0; m < 4; m++) {
			unsigned width = 0;
			for (uint32_t j = m * 32; j < m * 32 + 32 && j < k; j++)
				width = bit_width(d[j] - (uint64_t)min) > width
						? bit_width(d[j] - (uint64_t)min)
						: width;
			widths[m] = (uint8_t)width;
			uint8_t bits[32 * 8 + 8] = {0};
			for (uint32_t j = m * 32; j < m * 32 + 32 && j < k; j++)
				for (unsigned b = 0; b < width; b++)
					if ((d[j] - (uint64_t)min) >> b & 1) {
						unsigned bit = (j - m * 32) * width + b;
						bits[bit >> 3] |= (uint8_t)(1u << (bit & 7));
					}
			if (m * 32 < k) {
				memcpy(at, bits, 4 * width);
				at += 4 * width;
			}
		}
	}
	return (size_t)(at - out);
}

static size_t parquet_column(const struct log *log, uint32_t c)
{
	unsigned width = log->schema.type[c] == CODEC_BYTES ? 0 : plain_width(log, c);
	size_t value = width ? width : row_bound(log), plain = 0, dictionary, delta = 0,
	       delta_z = 0, split = 0;
	uint8_t *page = malloc(PAGE_ROWS * (value + 16) + 4096);
	uint32_t *numbers = malloc(log->n * sizeof(*numbers));
	struct distinct d = {.mask = 63};
	while (d.mask < 2 * log->n)
		d.mask = 2 * d.mask + 1;
	d.key = calloc((size_t)d.mask + 1, 8);
	d.number = calloc((size_t)d.mask + 1, 4);
	d.bytes = malloc((size_t)log->n * value + 16);
	for (uint32_t i = 0; i < log->n; i++) {
		bool is_new;
		numbers[i] = distinct_number(&d, value_key(log, c, i), &is_new);
		if (is_new)
			d.plain += plain_put(log, c, i, width, d.bytes + d.plain);
	}
	dictionary = packed(d.bytes, d.plain);
	for (uint32_t from = 0; from < log->n; from += PAGE_ROWS) {
		uint32_t n = log->n - from < PAGE_ROWS ? log->n - from : PAGE_ROWS;
		size_t len = 0;
		for (uint32_t i = 0; i < n; i++)
			len += plain_put(log, c, from + i, width, page + len);
		plain += packed(page, len);
		len = hybrid_put(page, numbers + from, n, d.n > 1 ? bit_width(d.n - 1) : 1);
		dictionary += packed(page, len);
		if (!width)
			continue;
		for (unsigned b = 0; b < width; b++)
			for (uint32_t i = 0; i < n; i++)
				page[b * n + i] = (uint8_t)(word_at(log, c, from + i) >> (8 * b));
		split += packed(page, (size_t)n * width);
		if (log->schema.type[c] != CODEC_INT64)
			continue;
		len = delta_put(page, log, c, from, n);
		delta += len + 24;
		delta_z += packed(page, len);
	}
	size_t best = plain < dictionary ? plain : dictionary;
	best = width && split < best ? split : best;
	best = delta && delta < best ? delta : best;
	best = delta && delta_z < best ? delta_z : best;
	free(d.key);
	free(d.number);
	free(d.bytes);
	free(numbers);
	free(page);
	return best;
}

double baseline_parquet(const struct log *log)
{
	size_t bytes = 0;
	for (uint32_t c = 0; c < log->schema.columns; c++)
		bytes += parquet_column(log, c);
	return (double)bytes / log->n;
}

/* ---- Entropy ---- */

static int by_word(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Bits of n values, sorted here. */
static double entropy(uint64_t *v, uint32_t n)
{
	double bits = 0;
	qsort(v, n, sizeof(*v), by_word);
	for (uint32_t i = 0, j; i < n; i = j) {
		for (j = i; j < n && v[j] == v[i]; j++)
			;
		bits += (j - i) * log2((double)n / (j - i));
	}
	return bits;
}

double baseline_entropy(const struct log *log)
{
	uint64_t *v = malloc((size_t)log->n * 8 + 8);
	double bits = 0;
	uint32_t n = 0;
	for (uint32_t b = 0; b < log->blocks; b++)
		v[b] = word_at(log, 0, log->starts[b]);
	bits += entropy(v, log->blocks);
	for (uint32_t b = 0; b < log->blocks; b++)
		for (uint32_t i = log->starts[b] + 1; i < log->starts[b + 1]; i++)
			v[n++] = word_at(log, 0, i) - word_at(log, 0, i - 1);
	bits += entropy(v, n);
	for (uint32_t c = 1; c < log->schema.columns; c++) {
		for (uint32_t i = 0; i < log->n; i++)
			v[i] = value_key(log, c, i);
		bits += entropy(v, log->n);
	}
	free(v);
	return bits / 8 / log->n;
}
