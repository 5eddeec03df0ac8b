/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies of one kind of operation: sixteen buckets to each power of two of nanoseconds, so that a
 * quantile is at most 6 % above the truth. One thread writes; merge when it is done.
 */
#ifndef TOOLS_LATENCY_H
#define TOOLS_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS 976 /* of values below 2^64 */

struct latency {
	uint64_t count, sum, max;
	uint64_t bucket[LATENCY_BUCKETS];
};

static inline unsigned latency_bucket(uint64_t ns)
{
	if (ns < 16)
		return (unsigned)ns;
	unsigned power = 63 - (unsigned)__builtin_clzll(ns);
	return (power - 3) * 16 + (unsigned)(ns >> (power - 4) & 15);
}

static inline void latency_add(struct latency *latency, uint64_t ns)
{
	latency->count++;
	latency->sum += ns;
	if (ns > latency->max)
		latency->max = ns;
	latency->bucket[latency_bucket(ns)]++;
}

static inline void latency_merge(struct latency *into, const struct latency *from)
{
	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

/* The nanoseconds that a share of the operations stayed at or below, rounded up to a bucket's end; 0
 * if there were none. */
static inline uint64_t latency_quantile(const struct latency *latency, double share)
{
	uint64_t seen = 0;
	double wanted = share * (double)latency->count;
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		seen += latency->bucket[i];
		if (!seen || (double)seen < wanted)
			continue;
		uint64_t top = i;
		if (i >= 16) {
			unsigned shift = i / 16 - 1;
			top = ((UINT64_C(17) + i % 16) << shift) - 1;
		}
		return top < latency->max ? top : latency->max;
	}
	return latency->max;
}

#endif
