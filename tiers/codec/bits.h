/* SPDX-License-Identifier: Apache-2.0 */
/* Bits, varints (LEB128) and number conversions that both codecs share. Little-endian machines
 * only. */
#ifndef TIERS_CODEC_BITS_H
#define TIERS_CODEC_BITS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are read in place");

#define VARINT_MAX 10u

static inline unsigned bit_width(uint64_t v)
{
	return 63u - (unsigned)__builtin_clzll(v | 1) + (v != 0); /* no branch */
}

static inline uint64_t low_bits(unsigned width)
{
	return width >= 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}

/* The bytes from at on, as many of the 8 as lie before end; the others are 0. */
static inline uint64_t load64_until(const uint8_t *at, const uint8_t *end)
{
	uint64_t v = 0;
	if (at + 8 <= end)
		return load64(at);
	if (at < end)
		memcpy(&v, at, (size_t)(end - at));
	return v;
}

static inline uint64_t zigzag(uint64_t v)
{
	return (v << 1) ^ (uint64_t)((int64_t)v >> 63);
}

static inline uint64_t unzigzag(uint64_t v)
{
	return (v >> 1) ^ (0 - (v & 1));
}

static inline unsigned varint_bytes(uint64_t v)
{
	return v ? (bit_width(v) + 6) / 7 : 1;
}

static inline uint8_t *varint_put(uint8_t *to, uint64_t v)
{
	while (v > 127) {
		*to++ = (uint8_t)(v | 128);
		v >>= 7;
	}
	*to++ = (uint8_t)v;
	return to;
}

/* Bytes that are being read: whatever fails leaves `at` NULL, and every later read fails too. */
struct reader {
	const uint8_t *at, *end;
};

static inline void reader_fail(struct reader *r)
{
	r->at = r->end = NULL;
}

static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

/* The next n bytes, or NULL. */
static inline const uint8_t *reader_take(struct reader *r, size_t n)
{
	const uint8_t *from = r->at;
	if (!from || reader_left(r) < n) {
		reader_fail(r);
		return NULL;
	}
	r->at += n;
	return from;
}

static inline uint8_t reader_byte(struct reader *r)
{
	const uint8_t *p = reader_take(r, 1);
	return p ? *p : 0;
}

static inline uint64_t reader_varint(struct reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (!r->at || r->at >= r->end)
			break;
		uint64_t byte = *r->at++;
		if (shift == 63 && byte > 1)
			break;
		v |= (byte & 127) << shift;
		if (byte < 128)
			return v;
	}
	reader_fail(r);
	return 0;
}

/* ---- Decimal numbers: v == (double)integer / 10^e to the last bit (after ALP: Afroozeh, Boncz,
 * 2023) ---- */

#define DECIMAL_MAX 14u
#define DECIMAL_LIMIT (INT64_C(1) << 53)

static const double decimal_power[DECIMAL_MAX + 1] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
};

/* A number column's value as 64 bits: an int64_t, or the pattern of a float or a double. */
static inline uint64_t word_of_double(double v)
{
	uint64_t word;
	memcpy(&word, &v, 8);
	return word;
}

static inline double double_of_word(uint64_t word)
{
	double v;
	memcpy(&v, &word, 8);
	return v;
}

static inline uint64_t word_of_float(float v)
{
	uint32_t word;
	memcpy(&word, &v, 4);
	return word;
}

static inline float float_of_word(uint64_t word)
{
	uint32_t low = (uint32_t)word;
	float v;
	memcpy(&v, &low, 4);
	return v;
}

static inline uint64_t decimal_word(int64_t integer, unsigned e, bool is_float)
{
	double v = (double)integer / decimal_power[e];
	return is_float ? word_of_float((float)v) : word_of_double(v);
}

/* Is the pattern integer / 10^e? */
static inline bool decimal_of(uint64_t word, unsigned e, bool is_float, int64_t *integer)
{
	double v = is_float ? (double)float_of_word(word) : double_of_word(word);
	double scaled = v * decimal_power[e];
	if (!(scaled > -(double)DECIMAL_LIMIT && scaled < (double)DECIMAL_LIMIT))
		return false;
	*integer = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
	return decimal_word(*integer, e, is_float) == word;
}

/*
 * The same for numbers that are at most one in the last place beside a decimal (sums and products
 * of decimals often are): 3 * integer + 1 + that difference. What only has exact ones has a common
 * divisor.
 */
static inline uint64_t near_decimal_word(int64_t near, unsigned e, bool is_float)
{
	int64_t integer = near / 3 - (near % 3 < 0);
	uint64_t off = (uint64_t)near - 3 * (uint64_t)integer - 1; /* of 64 bits: near may be anything */
	return decimal_word(integer, e, is_float) + off;
}

static inline bool near_decimal_of(uint64_t word, unsigned e, bool is_float, int64_t *near)
{
	double v = is_float ? (double)float_of_word(word) : double_of_word(word);
	double scaled = v * decimal_power[e];
	if (!(scaled > -(double)DECIMAL_LIMIT && scaled < (double)DECIMAL_LIMIT))
		return false;
	int64_t integer = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
	uint64_t off = word - decimal_word(integer, e, is_float) + 1;
	*near = 3 * integer + (int64_t)off;
	return off <= 2 && near_decimal_word(*near, e, is_float) == word;
}

#endif
