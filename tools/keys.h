/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synthetic keys and values for benchmarks, and who is asked for how often. Everything follows from a
 * key's number, so that two processes with the same settings see the same keys and values.
 */
#ifndef TOOLS_KEYS_H
#define TOOLS_KEYS_H

#include <stdbool.h>
#include <stdint.h>

/* How many different keys of len bytes there can be (at most 2^32). */
uint64_t keys_most(uint32_t len);
/* Writes the len bytes of a key. The bits are mixed, so that neighbours in number are none in bytes;
 * different numbers below keys_most(len) give different keys. */
void keys_write(uint64_t number, void *key, uint32_t len);

/* The length of the key's value, spread evenly over [least, most]. */
uint32_t keys_value_len(uint64_t number, uint32_t least, uint32_t most);
/* Fills a value. Every other word is random and the rest repeats, so that it compresses to about
 * half. */
void keys_value_fill(uint64_t number, void *value, uint32_t len);
/* Writes no more than the first bytes that keys_value_check looks at. */
void keys_value_stamp(uint64_t number, void *value, uint32_t len);
/* Is this the key's value, as far as its first 8 bytes say? */
bool keys_value_check(uint64_t number, const void *value, uint32_t len);

/*
 * Who is asked for: ranks in [0, n), rank 0 the most often, with probability proportional to
 * 1 / (rank + 1)^s; uniform if s is 0. Exact for every s >= 0, by rejection-inversion (Hörmann and
 * Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions", 1996).
 */
struct zipf {
	uint64_t n;
	double s;
	double at_first, at_last, shortcut; /* of the integral's inverse */
};
/* n at least 1; s at least 0. */
void zipf_init(struct zipf *zipf, uint64_t n, double s);
/* *state is any number; each call moves it on. */
uint64_t zipf_next(const struct zipf *zipf, uint64_t *state);
/* A fixed permutation of [0, n): scatters the ranks over the keys' numbers. */
uint64_t keys_scatter(uint64_t rank, uint64_t n);

#endif
