/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets, and budgets that are parts of others. */
#include "alloc/budget.h"
#include "tests/suite.h"

#include <pthread.h>

static uint64_t used(struct budget *b)
{
	return atomic_load(&b->used);
}

static void take_up_to_the_cap(void)
{
	struct budget b;
	budget_init(&b, 100);
	CU_ASSERT_TRUE(budget_take(&b, 60));
	CU_ASSERT_FALSE(budget_take(&b, 41));
	CU_ASSERT_TRUE(budget_take(&b, 40));
	atomic_store(&b.cap, 50);
	CU_ASSERT_FALSE(budget_take(&b, 0));
	budget_give(&b, 60);
	CU_ASSERT_TRUE(budget_take(&b, 10));
	CU_ASSERT_EQUAL(used(&b), 50);
}

static void part_has_its_own_and_takes_more(void)
{
	struct budget all, part;
	budget_init(&all, 100);
	CU_ASSERT_FALSE(budget_init_part(&part, &all, 101, 200));
	CU_ASSERT_EQUAL(used(&all), 0);
	CU_ASSERT_TRUE(budget_init_part(&part, &all, 30, 80));
	CU_ASSERT_EQUAL(used(&all), 30);
	CU_ASSERT_TRUE(budget_take(&all, 60));
	CU_ASSERT_TRUE(budget_take(&part, 20)); /* of its own */
	CU_ASSERT_EQUAL(used(&all), 90);
	CU_ASSERT_FALSE(budget_take(&part, 21)); /* 11 beyond its own, and 10 are left */
	CU_ASSERT_EQUAL(used(&part), 20);
	CU_ASSERT_EQUAL(used(&all), 90);
	CU_ASSERT_TRUE(budget_take(&part, 20));
	CU_ASSERT_EQUAL(used(&all), 100);
	budget_give(&all, 60);
	CU_ASSERT_FALSE(budget_take(&part, 41)); /* its cap */
	CU_ASSERT_TRUE(budget_take(&part, 40));
	CU_ASSERT_EQUAL(used(&all), 80);
	budget_give(&part, 70);
	CU_ASSERT_EQUAL(used(&all), 30); /* its own stay its own */
	budget_give(&part, 10);
	CU_ASSERT_EQUAL(used(&all), 30);
	CU_ASSERT_EQUAL(used(&part), 0);
}

#define THREADS 4
#define ROUNDS 200000

struct taker {
	struct budget *part, *all;
	uint64_t random;
	unsigned over;
};

static void *take_and_give(void *argument)
{
	struct taker *t = argument;
	uint64_t held = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		t->random = t->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		uint64_t bytes = t->random >> 33 & 31;
		if (t->random >> 63 && held >= bytes) {
			budget_give(t->part, bytes);
			held -= bytes;
		} else if (budget_take(t->part, bytes)) {
			held += bytes;
		}
		t->over += used(t->all) > atomic_load(&t->all->cap);
	}
	budget_give(t->part, held);
	return NULL;
}

static void part_shared_by_threads_adds_up(void)
{
	struct budget all, part;
	pthread_t thread[THREADS];
	struct taker taker[THREADS];
	budget_init(&all, 300);
	CU_ASSERT_TRUE_FATAL(budget_init_part(&part, &all, 100, 1000));
	for (unsigned i = 0; i < THREADS; i++) {
		taker[i] = (struct taker){ &part, &all, i + 1, 0 };
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, take_and_give, &taker[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		CU_ASSERT_EQUAL(taker[i].over, 0);
	}
	CU_ASSERT_EQUAL(used(&part), 0);
	CU_ASSERT_EQUAL(used(&all), 100);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(take_up_to_the_cap),
		SUITE_CASE(part_has_its_own_and_takes_more),
		SUITE_CASE(part_shared_by_threads_adds_up),
	};
	return suite_run("budget", NULL, NULL, cases, SUITE_COUNT(cases));
}
