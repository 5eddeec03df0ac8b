/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/suite.h"
#include "tools/keys.h"

#include <math.h>

static int compare_words(const void *a, const void *b)
{
	return memcmp(a, b, 8);
}

static void write_short_keys_all_different(void)
{
	static unsigned char seen[1 << 16];
	for (uint32_t len = 1; len <= 2; len++) {
		uint64_t twice = 0;
		memset(seen, 0, sizeof(seen));
		CU_ASSERT_EQUAL(keys_most(len), UINT64_C(1) << (8 * len));
		for (uint64_t i = 0; i < keys_most(len); i++) {
			uint16_t key = 0;
			keys_write(i, &key, len);
			twice += seen[key]++;
		}
		CU_ASSERT_EQUAL(twice, 0);
	}
}

static void write_eight_bytes_different_and_mixed(void)
{
	enum { COUNT = 200000 };
	uint64_t *keys = malloc(COUNT * sizeof(*keys));
	uint64_t flips = 0, twice = 0;
	CU_ASSERT_PTR_NOT_NULL_FATAL(keys);
	for (uint64_t i = 0; i < COUNT; i++) {
		keys_write(i, &keys[i], 8);
		if (i)
			flips += (uint64_t)__builtin_popcountll(keys[i] ^ keys[i - 1]);
	}
	/* Neighbours differ in half of the bits. */
	CU_ASSERT(flips > COUNT * 31 && flips < COUNT * 33ull);
	qsort(keys, COUNT, sizeof(*keys), compare_words);
	for (uint64_t i = 1; i < COUNT; i++)
		twice += keys[i] == keys[i - 1];
	CU_ASSERT_EQUAL(twice, 0);
	free(keys);
}

static void write_longer_key_stays_in_length(void)
{
	for (uint32_t len = 1; len <= 100; len++) {
		unsigned char a[104], b[104];
		memset(a, 0, sizeof(a));
		memset(b, 0xff, sizeof(b));
		keys_write(12345, a, len);
		keys_write(12345, b, len);
		CU_ASSERT_EQUAL(memcmp(a, b, len), 0);
		CU_ASSERT_EQUAL(a[len], 0);
		CU_ASSERT_EQUAL(b[len], 0xff);
	}
}

static void value_len_range_even(void)
{
	unsigned seen[11] = {0};
	for (uint64_t i = 0; i < 11000; i++) {
		uint32_t len = keys_value_len(i, 10, 20);
		CU_ASSERT_FATAL(len >= 10 && len <= 20);
		seen[len - 10]++;
	}
	for (unsigned i = 0; i < 11; i++)
		CU_ASSERT(seen[i] > 850 && seen[i] < 1150);
	CU_ASSERT_EQUAL(keys_value_len(7, 64, 64), 64);
}

static void value_filled_or_stamped_is_checked(void)
{
	unsigned char value[104];
	for (uint32_t len = 0; len <= 100; len++) {
		memset(value, 0x77, sizeof(value));
		keys_value_fill(99, value, len);
		CU_ASSERT(keys_value_check(99, value, len));
		CU_ASSERT_EQUAL(value[len], 0x77);
		memset(value, 0x77, sizeof(value));
		keys_value_stamp(98, value, len);
		CU_ASSERT(keys_value_check(98, value, len));
		CU_ASSERT_EQUAL(value[len], 0x77);
		if (len >= 4)
			CU_ASSERT_FALSE(keys_value_check(99, value, len));
	}
}

static void scatter_any_n_is_permutation(void)
{
	static unsigned char seen[5000];
	for (uint64_t n = 1; n <= 5000; n = n * 3 / 2 + 1) {
		uint64_t bad = 0;
		memset(seen, 0, sizeof(seen));
		for (uint64_t rank = 0; rank < n; rank++) {
			uint64_t number = keys_scatter(rank, n);
			bad += number >= n || seen[number]++;
		}
		CU_ASSERT_EQUAL(bad, 0);
	}
}

/* Pearson's chi-square of the draws against the distribution itself, ranks that are rare put together;
 * by Wilson and Hilferty, (chi2/df)^(1/3) is close to normal. */
static double zipf_deviation(uint64_t n, double s, uint64_t draws, uint64_t seed)
{
	uint64_t *seen = calloc(n, sizeof(*seen));
	struct zipf zipf;
	double sum = 0, chi2 = 0, df = -1, expected = 0, got = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(seen);
	zipf_init(&zipf, n, s);
	for (uint64_t i = 0; i < draws; i++) {
		uint64_t rank = zipf_next(&zipf, &seed);
		CU_ASSERT_FATAL(rank < n);
		seen[rank]++;
	}
	for (uint64_t i = 1; i <= n; i++)
		sum += pow((double)i, -s);
	for (uint64_t i = 0; i < n; i++) {
		expected += (double)draws * pow((double)i + 1, -s) / sum;
		got += (double)seen[i];
		if (expected < 20 && i + 1 < n)
			continue;
		chi2 += (got - expected) * (got - expected) / expected;
		df++;
		expected = got = 0;
	}
	free(seen);
	if (df < 1)
		return 0;
	double v = 2 / (9 * df);
	return (cbrt(chi2 / df) - (1 - v)) / sqrt(v);
}

static void zipf_many_skews_match_distribution(void)
{
	static const double skews[] = {0, 0.2, 0.5, 0.9, 0.99, 0.9999999, 1, 1.2, 2, 3.5};
	uint64_t seed = suite_seed();
	for (unsigned i = 0; i < sizeof(skews) / sizeof(skews[0]); i++) {
		double small = zipf_deviation(10, skews[i], 200000, seed + i);
		double large = zipf_deviation(20000, skews[i], 400000, seed + i);
		if (fabs(small) > 5 || fabs(large) > 5)
			printf("  s %g: %g and %g standard deviations\n", skews[i], small, large);
		CU_ASSERT(fabs(small) <= 5);
		CU_ASSERT(fabs(large) <= 5);
	}
}

static void zipf_one_key_always_first(void)
{
	struct zipf zipf;
	uint64_t state = 1;
	for (unsigned s = 0; s < 3; s++) {
		zipf_init(&zipf, 1, s * 0.99);
		for (unsigned i = 0; i < 100; i++)
			CU_ASSERT_EQUAL(zipf_next(&zipf, &state), 0);
	}
}

static const struct suite_case cases[] = {
	SUITE_CASE(write_short_keys_all_different),
	SUITE_CASE(write_eight_bytes_different_and_mixed),
	SUITE_CASE(write_longer_key_stays_in_length),
	SUITE_CASE(value_len_range_even),
	SUITE_CASE(value_filled_or_stamped_is_checked),
	SUITE_CASE(scatter_any_n_is_permutation),
	SUITE_CASE(zipf_many_skews_match_distribution),
	SUITE_CASE(zipf_one_key_always_first),
};

int main(void)
{
	return suite_run("keys", NULL, NULL, cases, SUITE_COUNT(cases));
}
