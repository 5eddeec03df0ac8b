/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/keys.h"

#include <math.h>
#include <string.h>

/* The finalizer of SplitMix64 (Steele, Lea, Flood, 2014): a bijection. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t next_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(*state);
}

/* A bijection of [0, 2^bits): steps that each can be undone. */
static uint64_t mix_bits(uint64_t x, unsigned bits)
{
	uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	unsigned half = bits / 2 ? bits / 2 : 1;

	x = (x + UINT64_C(0x9e3779b97f4a7c15)) & mask;
	for (unsigned round = 0; round < 3; round++) {
		x = (x * UINT64_C(0xbf58476d1ce4e5b9)) & mask;
		x ^= x >> half;
		x = (x * UINT64_C(0x94d049bb133111eb)) & mask;
		x ^= x >> (half > 2 ? half - 2 : 1);
	}
	return x;
}

uint64_t keys_most(uint32_t len)
{
	return len >= 4 ? UINT64_C(1) << 32 : UINT64_C(1) << (8 * len);
}

void keys_write(uint64_t number, void *key, uint32_t len)
{
	unsigned char *bytes = key;
	uint32_t first = len < 8 ? len : 8;
	uint64_t word = mix_bits(number, 8 * first);

	memcpy(bytes, &word, first);
	for (uint32_t at = 8; at < len; at += 8) {
		word = mix(number * 128 + at / 8);
		memcpy(bytes + at, &word, len - at < 8 ? len - at : 8);
	}
}

uint32_t keys_value_len(uint64_t number, uint32_t least, uint32_t most)
{
	return least + (uint32_t)(mix(number + UINT64_C(0x5bd1e995)) % ((uint64_t)most - least + 1));
}

void keys_value_fill(uint64_t number, void *value, uint32_t len)
{
	unsigned char *bytes = value;
	uint64_t state = number, word = 0;

	for (uint32_t at = 0; at < len; at += 8) {
		word = at & 8 ? number & 0xff : next_random(&state);
		memcpy(bytes + at, &word, len - at < 8 ? len - at : 8);
	}
	keys_value_stamp(number, value, len);
}

static uint64_t stamp_of(uint64_t number)
{
	return mix(number ^ UINT64_C(0xa5a5a5a55a5a5a5a));
}

void keys_value_stamp(uint64_t number, void *value, uint32_t len)
{
	uint64_t stamp = stamp_of(number);
	if (len >= 8)
		memcpy(value, &stamp, 8);
	else
		memcpy(value, &stamp, len);
}

bool keys_value_check(uint64_t number, const void *value, uint32_t len)
{
	uint64_t stamp = stamp_of(number);
	return memcmp(value, &stamp, len < 8 ? len : 8) == 0;
}

/* The integral of x^-s from 1 to x, and its inverse; both well-behaved where s is 1 or close to it. */
static double integral(double x, double s)
{
	double log_x = log(x), t = (1 - s) * log_x;
	return fabs(t) < 1e-8 ? log_x * (1 + t / 2) : log_x * expm1(t) / t;
}

static double integral_inverse(double y, double s)
{
	double t = y * (1 - s);
	if (t < -1)
		t = -1;
	return exp(fabs(t) < 1e-8 ? y * (1 - t / 2) : y * log1p(t) / t);
}

void zipf_init(struct zipf *zipf, uint64_t n, double s)
{
	zipf->n = n;
	zipf->s = s;
	zipf->at_first = integral(1.5, s) - 1;
	zipf->at_last = integral((double)n + 0.5, s);
	zipf->shortcut = 2 - integral_inverse(integral(2.5, s) - pow(2, -s), s);
}

uint64_t zipf_next(const struct zipf *zipf, uint64_t *state)
{
	if (zipf->s == 0)
		return (uint64_t)(((__uint128_t)next_random(state) * zipf->n) >> 64);
	for (;;) {
		double unit = (double)(next_random(state) >> 11) * 0x1p-53;
		double y = zipf->at_last + unit * (zipf->at_first - zipf->at_last);
		double x = integral_inverse(y, zipf->s);
		double k = floor(x + 0.5);
		if (k < 1)
			k = 1;
		else if (k > (double)zipf->n)
			k = (double)zipf->n;
		if (k - x <= zipf->shortcut ||
		    y >= integral(k + 0.5, zipf->s) - pow(k, -zipf->s))
			return (uint64_t)k - 1;
	}
}

uint64_t keys_scatter(uint64_t rank, uint64_t n)
{
	unsigned bits = n < 2 ? 1 : 64 - (unsigned)__builtin_clzll(n - 1);
	do
		rank = mix_bits(rank, bits);
	while (rank >= n);
	return rank;
}
