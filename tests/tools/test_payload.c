/* SPDX-License-Identifier: Apache-2.0 */
#include <zstd.h>

#include "tests/suite.h"
#include "tools/payload.h"

#define MOST 300u

static void check_filled_finds_nothing(void)
{
	char value[MOST];
	for (int kind = PAYLOAD_MIXED; kind <= PAYLOAD_TEXT; kind++)
		for (size_t len = 0; len <= MOST; len++) {
			uint64_t seed = payload_seed(len, (uint32_t)kind);
			payload_fill(value, len, (enum payload_kind)kind, seed);
			CU_ASSERT_EQUAL(payload_check(value, len, (enum payload_kind)kind, seed),
					0);
		}
}

static void check_any_flipped_bit_counts_one_byte(void)
{
	char value[61];
	for (int kind = PAYLOAD_MIXED; kind <= PAYLOAD_TEXT; kind++) {
		payload_fill(value, sizeof(value), (enum payload_kind)kind, 5);
		for (size_t bit = 0; bit < sizeof(value) * 8; bit++) {
			value[bit / 8] = (char)(value[bit / 8] ^ 1 << bit % 8);
			CU_ASSERT_EQUAL(
				payload_check(value, sizeof(value), (enum payload_kind)kind, 5), 1);
			value[bit / 8] = (char)(value[bit / 8] ^ 1 << bit % 8);
		}
	}
}

static void fill_shorter_writes_no_further(void)
{
	char value[MOST];
	for (size_t len = 0; len < MOST; len++) {
		memset(value, 0x5a, sizeof(value));
		payload_fill(value, len, PAYLOAD_MIXED, len);
		for (size_t i = len; i < MOST; i++)
			CU_ASSERT_EQUAL_FATAL(value[i], 0x5a);
	}
}

/* A stale version of a value, or another key's, must not pass for it. */
static void check_other_seed_finds_most_bytes(void)
{
	char value[MOST];
	for (int kind = PAYLOAD_MIXED; kind <= PAYLOAD_TEXT; kind++) {
		payload_fill(value, MOST, (enum payload_kind)kind, payload_seed(1, 1));
		CU_ASSERT(payload_check(value, MOST, (enum payload_kind)kind, payload_seed(1, 2)) >
			  MOST / 16);
		CU_ASSERT(payload_check(value, MOST, (enum payload_kind)kind, payload_seed(2, 1)) >
			  MOST / 16);
	}
}

static size_t compressed(enum payload_kind kind)
{
	static char value[64 << 10], to[80 << 10];
	payload_fill(value, sizeof(value), kind, 9);
	size_t size = ZSTD_compress(to, sizeof(to), value, sizeof(value), 1);
	CU_ASSERT_FATAL(!ZSTD_isError(size));
	return size * 100 / sizeof(value);
}

static void fill_kinds_compress_as_described(void)
{
	CU_ASSERT(compressed(PAYLOAD_MIXED) > 40 && compressed(PAYLOAD_MIXED) < 75);
	CU_ASSERT(compressed(PAYLOAD_EVENTS) < 75);
	CU_ASSERT(compressed(PAYLOAD_FLOATS) > 85);
	CU_ASSERT(compressed(PAYLOAD_TEXT) < 40);
}

static const struct suite_case cases[] = {
	SUITE_CASE(check_filled_finds_nothing),
	SUITE_CASE(check_any_flipped_bit_counts_one_byte),
	SUITE_CASE(fill_shorter_writes_no_further),
	SUITE_CASE(check_other_seed_finds_most_bytes),
	SUITE_CASE(fill_kinds_compress_as_described),
};

int main(void)
{
	return suite_run("payload", NULL, NULL, cases, SUITE_COUNT(cases));
}
