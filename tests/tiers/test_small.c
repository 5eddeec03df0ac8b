/* SPDX-License-Identifier: Apache-2.0 */
/* Caches with a cold tier whose DRAM is the least that there may be, or a little more: everything works. */
#include "tests/tiers/bed.h"

#include <pthread.h>

#define KEYS 60000u
#define LEN 900u
#define THREADS 4u
#define QUEUES 4u
#define LARGE ((size_t)1 << 20)

static void small_init(struct bed *bed, uint64_t dram, uint64_t warm)
{
	bed_init(bed, warm != 0, true);
	bed->options.dram_bytes = dram;
	bed->options.filter_bytes = 0; /* the default */
	bed->options.warm_bytes = warm;
}

static void open_below_the_least_is_refused_in_a_line(void)
{
	struct bed bed;
	small_init(&bed, 24 * MIB - 1, 0);
	CU_ASSERT_EQUAL(thermo_open(&bed.options, &bed.cache, &bed.error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, "24M"));
	CU_ASSERT_PTR_NULL(strchr(bed.error.text, '\n'));
	bed.options.dram_bytes = 32 * MIB;
	bed.options.filter_bytes = 20 * MIB; /* leaves too little */
	CU_ASSERT_EQUAL(thermo_open(&bed.options, &bed.cache, &bed.error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, "dram: 32M is too little"));
	bed.options.filter_bytes = 60 * MIB;
	CU_ASSERT_EQUAL(thermo_open(&bed.options, &bed.cache, &bed.error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, "dram: 32M is too little"));
	bed.options.filter_bytes = 0;
	bed.options.dram_bytes = 24 * MIB;
	CU_ASSERT_EQUAL(bed_open(&bed), 0);
	bed_end(&bed);
}

struct reader {
	struct bed *bed;
	unsigned number;
	uint32_t there, bad;
};

static void *read_all(void *argument)
{
	struct reader *r = argument;
	for (uint32_t i = r->number; i < KEYS; i += THREADS) {
		int rc = bed_check(r->bed->space, i, i + 1, LEN);
		r->there += rc == THERMO_OK;
		r->bad += rc != THERMO_OK && rc != THERMO_MISS;
	}
	return NULL;
}

static void threads_find_all(struct bed *bed)
{
	struct reader reader[THREADS];
	pthread_t thread[THREADS];
	uint32_t there = 0, bad = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		reader[i] = (struct reader){bed, i, 0, 0};
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, read_all, &reader[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		there += reader[i].there;
		bad += reader[i].bad;
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_EQUAL(there, KEYS);
}

static void queues_open_together(struct bed *bed)
{
	struct thermo_queue *queue[QUEUES] = {NULL};
	for (unsigned i = 0; i < QUEUES; i++)
		CU_ASSERT_EQUAL(thermo_queue_open(bed->cache, &queue[i]), 0);
	for (unsigned i = 0; i < QUEUES && queue[i]; i++) {
		char key[32], value[LEN];
		struct thermo_request r = {.space = bed->space, .op = THERMO_OP_GET, .key = key,
					   .key_len = (uint32_t)bed_key(i, key), .value = value,
					   .capacity = sizeof(value)};
		struct thermo_request *list = &r, *done = NULL;
		CU_ASSERT_EQUAL(thermo_submit(queue[i], &list, 1), 0);
		CU_ASSERT_EQUAL(thermo_poll(queue[i], &done, 1, -1), 1);
		CU_ASSERT_EQUAL(r.status, THERMO_OK);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		CU_ASSERT(queue[i] && thermo_queue_close(&queue[i]) == 0);
}

static void iteration_visits_all(struct bed *bed)
{
	struct thermo_iter *iter;
	struct thermo_item item;
	uint32_t n = 0;
	int rc;
	CU_ASSERT_EQUAL_FATAL(thermo_iter_open(bed->space, "key-", 4, &iter), 0);
	while ((rc = thermo_iter_next(iter, &item)) == THERMO_OK)
		n++;
	CU_ASSERT_EQUAL(rc, THERMO_MISS);
	CU_ASSERT(n >= KEYS);
	CU_ASSERT_EQUAL(thermo_iter_close(&iter), 0);
}

static void large_values_work(struct bed *bed)
{
	size_t len, wrong;
	char *value = malloc(LARGE);
	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	for (unsigned i = 0; i < 24; i++) {
		char key[16];
		size_t key_len = (size_t)snprintf(key, sizeof(key), "large-%u", i);
		value_fill(value, LARGE, i);
		CU_ASSERT_EQUAL(thermo_put(bed->space, key, key_len, value, LARGE, 0), THERMO_OK);
	}
	for (unsigned i = 0; i < 24; i++) {
		char key[16];
		size_t key_len = (size_t)snprintf(key, sizeof(key), "large-%u", i);
		CU_ASSERT_EQUAL(thermo_get(bed->space, key, key_len, value, LARGE, &len), THERMO_OK);
		CU_ASSERT(len == LARGE && value_is(value, 0, LARGE, i, &wrong));
	}
	free(value);
}

static void everything_works(uint64_t dram, uint64_t warm)
{
	struct bed bed;
	small_init(&bed, dram, warm);
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	bed_fill(bed.space, KEYS, LEN);
	threads_find_all(&bed);
	queues_open_together(&bed);
	iteration_visits_all(&bed);
	large_values_work(&bed);
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT(s.dram_used_bytes <= dram);
	CU_ASSERT(s.cold_records > 0);
	CU_ASSERT_EQUAL(s.no_space, 0);
	CU_ASSERT_EQUAL(s.errors, 0);
	int rc = thermo_drain(bed.cache, THERMO_HOT, NO_LIMIT, &bed.error);
	CU_ASSERT_EQUAL(rc, THERMO_OK);
	bed_reopen(&bed);
	threads_find_all(&bed);
	bed_end(&bed);
}

static void least_without_warm_everything_works(void)
{
	everything_works(24 * MIB, 0);
}

static void least_with_warm_everything_works(void)
{
	everything_works(24 * MIB, 8 * MIB);
}

static void little_without_warm_everything_works(void)
{
	everything_works(32 * MIB, 0);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(open_below_the_least_is_refused_in_a_line),
		SUITE_CASE(least_without_warm_everything_works),
		SUITE_CASE(least_with_warm_everything_works),
		SUITE_CASE(little_without_warm_everything_works),
	};
	return suite_run("small", NULL, NULL, cases, SUITE_COUNT(cases));
}
