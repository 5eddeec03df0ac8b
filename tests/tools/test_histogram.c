/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/suite.h"
#include "tools/histogram.h"

static struct histogram histogram;

static void percentile_empty_zero(void)
{
	histogram_clear(&histogram);
	CU_ASSERT_EQUAL(histogram_percentile(&histogram, 50), 0);
	CU_ASSERT_EQUAL(histogram.max, 0);
}

static void percentile_small_values_exact(void)
{
	histogram_clear(&histogram);
	for (uint64_t i = 1; i <= 60; i++)
		histogram_add(&histogram, i);
	CU_ASSERT_EQUAL(histogram_percentile(&histogram, 50), 30);
	CU_ASSERT_EQUAL(histogram_percentile(&histogram, 100), 60);
	CU_ASSERT_EQUAL(histogram_percentile(&histogram, 0), 1);
	CU_ASSERT_EQUAL(histogram.sum, 1830);
}

static void percentile_of_thousand_counts_ranks(void)
{
	histogram_clear(&histogram);
	for (unsigned i = 0; i < 999; i++)
		histogram_add(&histogram, 10);
	histogram_add(&histogram, 1000000);
	CU_ASSERT_EQUAL(histogram_percentile(&histogram, 99.9), 10);
	CU_ASSERT_EQUAL(histogram_percentile(&histogram, 99.95), 1000000);
}

/* Against the sorted values themselves, over all sizes of numbers. */
static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void percentile_random_values_within_bucket(void)
{
	enum { COUNT = 20000 };
	static uint64_t values[COUNT];
	uint64_t state = suite_seed();

	histogram_clear(&histogram);
	for (unsigned i = 0; i < COUNT; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		values[i] = state >> (state >> 58);
		histogram_add(&histogram, values[i]);
	}
	qsort(values, COUNT, sizeof(values[0]), compare);
	for (unsigned p = 1; p <= 100; p++) {
		uint64_t truth = values[COUNT * p / 100 - 1];
		uint64_t said = histogram_percentile(&histogram, p);
		CU_ASSERT(said >= truth);
		CU_ASSERT(said - truth <= truth / 31);
	}
	CU_ASSERT_EQUAL(histogram_percentile(&histogram, 100), values[COUNT - 1]);
}

static void bucket_grows_with_value(void)
{
	unsigned last = 0;
	for (unsigned power = 0; power < 64; power++)
		for (uint64_t step = 0; step < 64; step++) {
			uint64_t value = (UINT64_C(1) << power) + (((UINT64_C(1) << power) / 64) * step);
			unsigned bucket = histogram_bucket(value);
			CU_ASSERT(bucket >= last || power < 6);
			last = bucket;
		}
	CU_ASSERT_EQUAL(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	CU_ASSERT_EQUAL(histogram_bucket(63) + 1, histogram_bucket(64));
}

static void merge_two_equals_one(void)
{
	static struct histogram a, b;
	histogram_clear(&a);
	histogram_clear(&b);
	histogram_clear(&histogram);
	for (uint64_t i = 0; i < 5000; i++) {
		histogram_add(i & 1 ? &a : &b, i * i);
		histogram_add(&histogram, i * i);
	}
	histogram_merge(&a, &b);
	CU_ASSERT_EQUAL(memcmp(&a, &histogram, sizeof(a)), 0);
}

static void merge_scaled_moves_percentiles(void)
{
	static struct histogram ticks;
	histogram_clear(&ticks);
	histogram_clear(&histogram);
	for (uint64_t i = 1; i <= 10000; i++)
		histogram_add(&ticks, i * 26);
	histogram_merge_scaled(&histogram, &ticks, 1 / 2.6);
	CU_ASSERT_EQUAL(histogram.count, 10000);
	CU_ASSERT_EQUAL(histogram.max, 100000);
	for (unsigned p = 5; p <= 100; p += 5) {
		double ratio = (double)histogram_percentile(&histogram, p) / (p * 1000.0);
		CU_ASSERT(ratio > 0.95 && ratio < 1.05);
	}
}

static const struct suite_case cases[] = {
	SUITE_CASE(percentile_empty_zero),
	SUITE_CASE(percentile_small_values_exact),
	SUITE_CASE(percentile_of_thousand_counts_ranks),
	SUITE_CASE(percentile_random_values_within_bucket),
	SUITE_CASE(bucket_grows_with_value),
	SUITE_CASE(merge_two_equals_one),
	SUITE_CASE(merge_scaled_moves_percentiles),
};

int main(void)
{
	return suite_run("histogram", NULL, NULL, cases, SUITE_COUNT(cases));
}
