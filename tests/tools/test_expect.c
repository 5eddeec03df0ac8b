/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/suite.h"
#include "tools/expect.h"
#include "tools/mix.h"

static void get_new_key_is_empty(void)
{
	struct expect expect;
	CU_ASSERT_EQUAL_FATAL(expect_open(&expect), 0);
	struct expect_entry *entry = expect_get(&expect, 0, 0, 8);
	CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
	CU_ASSERT_EQUAL(entry->state, EXPECT_NEVER);
	CU_ASSERT_EQUAL(expect.count, 1);
	expect_close(&expect);
}

static void get_differs_by_space_and_length(void)
{
	struct expect expect;
	CU_ASSERT_EQUAL_FATAL(expect_open(&expect), 0);
	expect_get(&expect, 0, 5, 8)->version = 1;
	expect_get(&expect, 1, 5, 8)->version = 2;
	expect_get(&expect, 0, 5, 9)->version = 3;
	CU_ASSERT_EQUAL(expect_get(&expect, 0, 5, 8)->version, 1);
	CU_ASSERT_EQUAL(expect_get(&expect, 1, 5, 8)->version, 2);
	CU_ASSERT_EQUAL(expect_get(&expect, 0, 5, 9)->version, 3);
	CU_ASSERT_EQUAL(expect.count, 3);
	expect_close(&expect);
}

static void get_grown_table_keeps_entries(void)
{
	struct expect expect;
	uint32_t n = 100000;
	CU_ASSERT_EQUAL_FATAL(expect_open(&expect), 0);
	for (uint32_t i = 0; i < n; i++)
		expect_get(&expect, (uint8_t)(i % 3), mix64(i), 8)->version = i + 1;
	for (uint32_t i = 0; i < n; i++)
		CU_ASSERT_EQUAL_FATAL(expect_get(&expect, (uint8_t)(i % 3), mix64(i), 8)->version,
				      i + 1);
	CU_ASSERT_EQUAL(expect.count, n);
	expect_close(&expect);
}

static void next_visits_each_once(void)
{
	struct expect expect;
	struct expect_entry *entry;
	uint64_t at = 0, sum = 0, n = 0;
	CU_ASSERT_EQUAL_FATAL(expect_open(&expect), 0);
	for (uint64_t i = 1; i <= 10000; i++)
		expect_get(&expect, 0, i, 8);
	while ((entry = expect_next(&expect, &at))) {
		sum += entry->id;
		n++;
	}
	CU_ASSERT_EQUAL(n, 10000);
	CU_ASSERT_EQUAL(sum, 10000 * 10001 / 2);
	expect_close(&expect);
}

static const struct suite_case cases[] = {
	SUITE_CASE(get_new_key_is_empty),
	SUITE_CASE(get_differs_by_space_and_length),
	SUITE_CASE(get_grown_table_keeps_entries),
	SUITE_CASE(next_visits_each_once),
};

int main(void)
{
	return suite_run("expect", NULL, NULL, cases, SUITE_COUNT(cases));
}
