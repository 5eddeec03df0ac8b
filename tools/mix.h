/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded random numbers for workloads: the finalizer of SplitMix64 (Steele, Lea, Flood, 2014). */
#ifndef TOOLS_MIX_H
#define TOOLS_MIX_H

#include <stdint.h>

/* A bijection of 64-bit numbers whose outputs look random. */
static inline uint64_t mix64(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* The next number of the sequence that *state stands for. */
static inline uint64_t mix_next(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return mix64(*state);
}

/* To [0, 1). */
static inline double mix_unit(uint64_t random)
{
	return (double)(random >> 11) * 0x1p-53;
}

#endif
