/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bit-unpacking, once for each instruction set (CODEC_ISA names it). Eight fields of w bits are w
 * bytes, so that every eight begin at a byte, and the places of their bits are the same in all of
 * them.
 */
#include "tiers/codec/bits.h"
#include "tiers/codec/unpack.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

static inline void add_base(uint64_t *out, const uint8_t *from, unsigned n, uint64_t base)
{
	for (unsigned i = 0; i < n; i++)
		out[i] = load64(from + (size_t)8 * i) + base;
}

static inline void fill(uint64_t *out, unsigned n, uint64_t base)
{
	for (unsigned i = 0; i < n; i++)
		out[i] = base;
}

#ifdef __AVX512VBMI__

static void unpack(const uint8_t *from, unsigned width, unsigned n, uint64_t base, uint64_t *out)
{
	if (width > PACK_WIDTH_MAX) {
		add_base(out, from, n, base);
		return;
	}
	const __m512i lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
	__m512i bit = _mm512_mullo_epi64(lane, _mm512_set1_epi64(width));
	__m512i shift = _mm512_and_si512(bit, _mm512_set1_epi64(7));
	/* The byte where each field begins, in all 8 bytes of its lane, plus 0 to 7. */
	__m512i place = _mm512_add_epi8(
		_mm512_shuffle_epi8(_mm512_srli_epi64(bit, 3),
				    _mm512_set4_epi32(0x08080808, 0x08080808, 0, 0)),
		_mm512_set1_epi64(0x0706050403020100));
	__m512i mask = _mm512_set1_epi64((int64_t)low_bits(width));
	__m512i add = _mm512_set1_epi64((int64_t)base);
	__mmask64 eight = (__mmask64)low_bits(width);
	for (; n >= 8; n -= 8, from += width, out += 8) {
		__m512i x = _mm512_permutexvar_epi8(place, _mm512_maskz_loadu_epi8(eight, from));
		x = _mm512_and_si512(_mm512_srlv_epi64(x, shift), mask);
		_mm512_storeu_si512(out, _mm512_add_epi64(x, add));
	}
	if (n) {
		__mmask64 bytes = (__mmask64)low_bits(packed_bytes(width, n));
		__m512i x = _mm512_permutexvar_epi8(place, _mm512_maskz_loadu_epi8(bytes, from));
		x = _mm512_and_si512(_mm512_srlv_epi64(x, shift), mask);
		_mm512_mask_storeu_epi64(out, (__mmask8)low_bits(n), _mm512_add_epi64(x, add));
	}
	(void)fill;
}

static void sum(uint64_t *v, unsigned n, uint64_t start)
{
	const __m512i zero = _mm512_setzero_si512(), last = _mm512_set1_epi64(7);
	__m512i carry = _mm512_set1_epi64((int64_t)start);
	for (unsigned i = 0; i < n; i += 8) {
		__mmask8 some = (__mmask8)low_bits(n - i < 8 ? n - i : 8);
		__m512i x = _mm512_maskz_loadu_epi64(some, v + i);
		x = _mm512_add_epi64(x, _mm512_alignr_epi64(x, zero, 7));
		x = _mm512_add_epi64(x, _mm512_alignr_epi64(x, zero, 6));
		x = _mm512_add_epi64(x, _mm512_alignr_epi64(x, zero, 4));
		x = _mm512_add_epi64(x, carry);
		_mm512_mask_storeu_epi64(v + i, some, x);
		carry = _mm512_permutexvar_epi64(last, x);
	}
}

#else

static void unpack(const uint8_t *from, unsigned width, unsigned n, uint64_t base, uint64_t *out)
{
	if (!width || width > PACK_WIDTH_MAX) {
		if (width)
			add_base(out, from, n, base);
		else
			fill(out, n, base);
		return;
	}
	const uint8_t *end = from + packed_bytes(width, n);
	uint64_t mask = low_bits(width);
	unsigned i = 0;
#ifdef __AVX2__
	const __m256i w = _mm256_set1_epi64x(width), seven = _mm256_set1_epi64x(7);
	__m256i bit0 = _mm256_mul_epu32(w, _mm256_set_epi64x(3, 2, 1, 0));
	__m256i bit1 = _mm256_mul_epu32(w, _mm256_set_epi64x(7, 6, 5, 4));
	__m256i at0 = _mm256_srli_epi64(bit0, 3), at1 = _mm256_srli_epi64(bit1, 3);
	__m256i shift0 = _mm256_and_si256(bit0, seven), shift1 = _mm256_and_si256(bit1, seven);
	__m256i all = _mm256_set1_epi64x((int64_t)mask), add = _mm256_set1_epi64x((int64_t)base);
	for (; i + 8 <= n && from + (7 * width >> 3) + 8 <= end; i += 8, from += width) {
		__m256i x = _mm256_i64gather_epi64((const long long *)(const void *)from, at0, 1);
		__m256i y = _mm256_i64gather_epi64((const long long *)(const void *)from, at1, 1);
		x = _mm256_and_si256(_mm256_srlv_epi64(x, shift0), all);
		y = _mm256_and_si256(_mm256_srlv_epi64(y, shift1), all);
		_mm256_storeu_si256((__m256i *)(void *)(out + i), _mm256_add_epi64(x, add));
		_mm256_storeu_si256((__m256i *)(void *)(out + i + 4), _mm256_add_epi64(y, add));
	}
#endif
	/* `from` is where field i begins, at a byte. */
	size_t bit = 0;
	for (; i < n && from + (bit >> 3) + 8 <= end; i++, bit += width)
		out[i] = (load64(from + (bit >> 3)) >> (bit & 7) & mask) + base;
	for (; i < n; i++, bit += width)
		out[i] = (load64_until(from + (bit >> 3), end) >> (bit & 7) & mask) + base;
}

static void sum(uint64_t *v, unsigned n, uint64_t start)
{
	for (unsigned i = 0; i < n; i++)
		v[i] = start += v[i];
}

#endif

int PASTE(cold_run_, CODEC_ISA)(struct cold_chunk *chunk);
extern const struct codec_ops PASTE(codec_ops_, CODEC_ISA);
#define STRING2(a) #a
#define STRING(a) STRING2(a)
const struct codec_ops PASTE(codec_ops_, CODEC_ISA) = {
	.name = STRING(CODEC_ISA),
	.unpack = unpack,
	.sum = sum,
	.cold = PASTE(cold_run_, CODEC_ISA),
};
