// SPDX-License-Identifier: Apache-2.0
/* What the cold tier's spikes share: a clock, random numbers, means, and allocation that ends the
 * program. */
#ifndef TESTS_SPIKES_SPIKE_H
#define TESTS_SPIKES_SPIKE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline uint64_t rng_next(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline double rng_unit(uint64_t *state)
{
	return (double)(rng_next(state) >> 11) * 0x1p-53;
}

static inline void *need(void *p)
{
	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return p;
}

struct mean {
	double sum, n, max;
};

static inline void mean_add(struct mean *m, double x)
{
	m->sum += x;
	m->n++;
	if (x > m->max)
		m->max = x;
}

static inline double mean_of(const struct mean *m)
{
	return m->n ? m->sum / m->n : 0;
}

#endif
