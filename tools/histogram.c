/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/histogram.h"

#include <math.h>
#include <string.h>

/* The largest value of a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
	if (bucket < 64)
		return bucket;
	unsigned shift = (bucket - 64) / 32 + 1;
	uint64_t start = (uint64_t)(32 + (bucket - 64) % 32) << shift;
	return start + (UINT64_C(1) << shift) - 1;
}

void histogram_clear(struct histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

void histogram_merge_scaled(struct histogram *into, const struct histogram *from, double factor)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (!from->bucket[i])
			continue;
		uint64_t start = i ? bucket_end(i - 1) + 1 : 0, end = bucket_end(i);
		if (end > from->max)
			end = from->max;
		uint64_t middle = start + (end - start) / 2;
		into->bucket[histogram_bucket((uint64_t)((double)middle * factor))] +=
			from->bucket[i];
	}
	uint64_t max = (uint64_t)((double)from->max * factor + 0.5);
	into->count += from->count;
	into->sum += (uint64_t)((double)from->sum * factor);
	if (max > into->max)
		into->max = max;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	/* Less a hair, so that 99.9 % of 1000 is the 999th and not, by rounding, the 1000th. */
	double wanted = ceil((double)histogram->count * percent / 100 - 1e-6);
	uint64_t seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->bucket[i];
		if (!seen || (double)seen < wanted)
			continue;
		uint64_t end = bucket_end(i);
		return end < histogram->max ? end : histogram->max;
	}
	return histogram->max;
}
