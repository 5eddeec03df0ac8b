/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that can be recognised: a value is made from a seed and told whole, wrong or another's by it.
 * Layout: the seed itself, then a stream that follows from it; shorter values are cut. So a reader
 * that does not know which version it got can still tell whether it is one, and whole.
 */
#ifndef TESTS_MODEL_VALUE_H
#define TESTS_MODEL_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t value_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The eight bytes at index i of a value's stream; the first ones are the seed. */
static inline uint64_t value_word(uint64_t seed, uint64_t i)
{
	return i ? (value_mix(seed) | 1) * (i + 0x5851f42d) : seed;
}

static inline void value_fill(char *to, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = value_word(seed, i / 8);
		memcpy(to + i, &word, len - i < 8 ? len - i : 8);
	}
}

/* Are the n bytes at `from` those that a value with this seed has from `offset` on? Where not: *wrong. */
static inline bool value_is(const char *from, size_t offset, size_t n, uint64_t seed, size_t *wrong)
{
	for (size_t i = 0; i < n;) {
		size_t at = offset + i, skip = at % 8;
		size_t step = 8 - skip < n - i ? 8 - skip : n - i;
		uint64_t word = value_word(seed, at / 8);
		if (memcmp(from + i, (const char *)&word + skip, step) != 0) {
			*wrong = i;
			return false;
		}
		i += step;
	}
	return true;
}

/* A small generator: xorshift64*. */
struct chance {
	uint64_t state;
};

static inline struct chance chance_make(uint64_t seed)
{
	return (struct chance){value_mix(seed) | 1};
}

static inline uint64_t chance_next(struct chance *c)
{
	c->state ^= c->state >> 12;
	c->state ^= c->state << 25;
	c->state ^= c->state >> 27;
	return c->state * UINT64_C(2685821657736338717);
}

static inline uint64_t chance_below(struct chance *c, uint64_t n)
{
	return (uint64_t)((__uint128_t)chance_next(c) * n >> 64);
}

#endif
