/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of durations (or any 64-bit values): exact below 64, then 32 buckets to each power of
 * two, so that a percentile is at most 3.2 % above the truth and never above the maximum. It needs no
 * set-up but zeroes. One thread writes; merge when it is done.
 */
#ifndef TOOLS_HISTOGRAM_H
#define TOOLS_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (64 + 58 * 32)

struct histogram {
	uint64_t count, sum, max;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* The bucket of a value. */
static inline unsigned histogram_bucket(uint64_t value)
{
	if (value < 64)
		return (unsigned)value;
	unsigned power = 63 - (unsigned)__builtin_clzll(value); /* 6 to 63 */
	return 64 + (power - 6) * 32 + (unsigned)(value >> (power - 5) & 31);
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->bucket[histogram_bucket(value)]++;
}

void histogram_clear(struct histogram *histogram);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* Merges with every value multiplied by factor (ticks to nanoseconds): each bucket by its middle, so
 * that this adds at most half a bucket's error. */
void histogram_merge_scaled(struct histogram *into, const struct histogram *from, double factor);
/* The least value that `percent` of all (0 to 100) do not exceed, rounded up to the end of its bucket;
 * 0 if there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif
