/* SPDX-License-Identifier: Apache-2.0 */
/* The policy: the counter byte, residency, the ghost, placement. */
#include "tiers/policy.h"

#include "alloc/budget.h"
#include "alloc/heap.h"
#include "alloc/pages.h"
#include "tests/suite.h"
#include "tiers/policy_ghost.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <pthread.h>

static struct budget budget;
static struct heap *heap;

static int setup(void)
{
	budget_init(&budget, UINT64_C(1) << 30);
	return heap_open("libc", NULL, 1 << 20, &budget, &heap, NULL);
}

static int teardown(void)
{
	heap_close(&heap);
	/* Whatever was charged has been given back. */
	return atomic_load(&budget.used) != 0;
}

static struct policy *open_policy(enum policy_kind kind, uint64_t hot, uint64_t warm)
{
	struct policy *policy = NULL;
	struct policy_options options = {
		.kind = kind,
		.hot = hot,
		.warm = warm,
		.ghost_objects = hot + warm,
		.heap = heap,
		.budget = &budget,
	};
	CU_ASSERT_EQUAL_FATAL(policy_open(&policy, &options), 0);
	return policy;
}

static uint64_t mixed(uint64_t n)
{
	n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	n = (n ^ n >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return n ^ n >> 32;
}

/* ---- The counter byte ---------------------------------------------------------------------- */

static void touched_fresh_counts_both(void)
{
	uint8_t counter = policy_counter(0, 1, 7);
	for (unsigned hit = 1; hit <= 20; hit++) {
		counter = policy_touched(counter, 7);
		CU_ASSERT_EQUAL(policy_reuse(counter), hit < 3 ? hit : 3);
		CU_ASSERT_EQUAL(policy_frequency(counter, 7), hit + 1 < 15 ? hit + 1 : 15);
	}
	/* Saturated within an epoch: the same byte, so that nothing need be stored. */
	CU_ASSERT_EQUAL(policy_touched(counter, 7), counter);
	CU_ASSERT_NOT_EQUAL(policy_touched(counter, 8), counter);
}

static void decayed_each_epoch_halves(void)
{
	for (unsigned frequency = 0; frequency < 16; frequency++) {
		for (uint32_t epoch = 0; epoch < 9; epoch++) {
			uint8_t counter = policy_counter(2, frequency, epoch);
			for (uint32_t later = 0; later < 4; later++) {
				CU_ASSERT_EQUAL(policy_frequency(counter, epoch + later),
						frequency >> later);
				uint8_t now = policy_decayed(counter, epoch + later);
				CU_ASSERT_EQUAL(policy_frequency(now, epoch + later),
						frequency >> later);
				CU_ASSERT_EQUAL(policy_reuse(now), 2);
			}
		}
	}
}

static void touched_after_epochs_decays_first(void)
{
	uint8_t counter = policy_touched(policy_counter(1, 12, 3), 5);
	CU_ASSERT_EQUAL(policy_frequency(counter, 5), 12 / 4 + 1);
	CU_ASSERT_EQUAL(policy_reuse(counter), 2);
}

/* ---- Options ------------------------------------------------------------------------------- */

static void parse_names_round_trip(void)
{
	enum policy_kind kind;
	for (unsigned i = 0; i <= POLICY_FIFO; i++) {
		CU_ASSERT_EQUAL(policy_parse(policy_name((enum policy_kind)i), &kind), 0);
		CU_ASSERT_EQUAL((unsigned)kind, i);
	}
	CU_ASSERT_EQUAL(policy_parse("arc", &kind), -EINVAL);
	CU_ASSERT_EQUAL(policy_parse("", &kind), -EINVAL);
}

static void open_bad_options_refused(void)
{
	struct policy *policy = NULL;
	struct policy_options options = {.heap = heap, .budget = &budget};
	CU_ASSERT_EQUAL(policy_open(&policy, &options), -EINVAL);
	options.hot = 100;
	options.small_permille = 1001;
	CU_ASSERT_EQUAL(policy_open(&policy, &options), -EINVAL);
	options.small_permille = 0;
	options.kind = (enum policy_kind)9;
	CU_ASSERT_EQUAL(policy_open(&policy, &options), -EINVAL);
	CU_ASSERT_PTR_NULL(policy);
}

static void *refuse(void *context, size_t bytes)
{
	unsigned *left = context;
	return (*left)-- ? malloc(bytes) : NULL;
}

static void *refuse_more(void *context, void *old, size_t bytes)
{
	(void)context;
	return realloc(old, bytes);
}

static void give_back(void *context, void *bytes)
{
	(void)context;
	free(bytes);
}

static void open_without_memory_fails_clean(void)
{
	bool opened = false;
	for (unsigned allowed = 1; !opened && allowed < 16; allowed++) {
		unsigned left = allowed;
		struct thermo_allocator allocator = {&left, refuse, refuse_more, give_back};
		struct heap *small = NULL;
		if (heap_open(NULL, &allocator, 1 << 20, NULL, &small, NULL))
			continue;
		struct policy *policy = NULL;
		struct policy_options options = {
			.hot = 100, .warm = 400, .heap = small, .budget = &budget};
		int rc = policy_open(&policy, &options);
		CU_ASSERT(rc == 0 || rc == -ENOMEM);
		CU_ASSERT_EQUAL(rc == 0, policy != NULL);
		opened = rc == 0;
		policy_close(&policy);
		CU_ASSERT_EQUAL(heap_used(small), 0);
		heap_close(&small);
	}
	CU_ASSERT_TRUE(opened);
}

static void small_target_is_the_lesser(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800);
	CU_ASSERT_EQUAL(policy_small_target(policy), 100);
	CU_ASSERT_EQUAL(policy_main_target(policy), 900);
	policy_resize(policy, 100, 900);
	CU_ASSERT_EQUAL(policy_small_target(policy), 50);
	policy_resize(policy, 1000, 0);
	CU_ASSERT_EQUAL(policy_small_target(policy), 100);
	policy_resize(policy, UINT64_C(1) << 50, UINT64_C(3) << 50);
	CU_ASSERT_EQUAL(policy_small_target(policy), (UINT64_C(1) << 52) / 10);
	policy_close(&policy);

	policy = open_policy(POLICY_LRU, 200, 800);
	CU_ASSERT_EQUAL(policy_small_target(policy), 0);
	CU_ASSERT_EQUAL(policy_main_target(policy), 1000);
	policy_close(&policy);
}

static void small_hot_shrinks_as_main_grows(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800);
	CU_ASSERT_EQUAL(policy_small_hot(policy, 0), 200);
	CU_ASSERT_EQUAL(policy_small_hot(policy, 30), 170);
	CU_ASSERT_EQUAL(policy_small_hot(policy, 100), 100);
	CU_ASSERT_EQUAL(policy_small_hot(policy, 900), 100);
	policy_close(&policy);
}

/* ---- Residency
 * ------------------------------------------------------------------------------------ */

static void scan_s3fifo_follows_uses(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800);
	uint32_t epoch = policy_epoch(policy);
	uint8_t next;
	for (unsigned reuse = 0; reuse < 4; reuse++) {
		uint8_t counter = policy_counter(reuse, 9, epoch);
		CU_ASSERT_EQUAL(policy_scan(policy, POLICY_SMALL, counter, &next),
				reuse >= 2 ? POLICY_KEEP : POLICY_EVICT);
		CU_ASSERT_EQUAL(policy_reuse(next), 0);
		CU_ASSERT_EQUAL(policy_frequency(next, epoch), 9);
		CU_ASSERT_EQUAL(policy_scan(policy, POLICY_MAIN, counter, &next),
				reuse >= 1 ? POLICY_KEEP : POLICY_EVICT);
		CU_ASSERT_EQUAL(policy_reuse(next), reuse ? reuse - 1 : 0);
	}
	policy_close(&policy);
}

static void scan_others_are_clock_and_fifo(void)
{
	for (unsigned kind = POLICY_LRU; kind <= POLICY_FIFO; kind++) {
		struct policy *policy = open_policy((enum policy_kind)kind, 200, 800);
		uint8_t next;
		CU_ASSERT_EQUAL(policy_admit(policy, mixed(1), 1), POLICY_MAIN);
		CU_ASSERT_EQUAL(policy_scan(policy, POLICY_MAIN, policy_counter(3, 4, 0), &next),
				kind == POLICY_FIFO ? POLICY_EVICT : POLICY_KEEP);
		CU_ASSERT_EQUAL(policy_reuse(next), 0);
		CU_ASSERT_EQUAL(policy_scan(policy, POLICY_MAIN, policy_counter(0, 4, 0), &next),
				POLICY_EVICT);
		policy_evicted(policy, POLICY_MAIN, mixed(1), 1);
		CU_ASSERT_EQUAL(policy_ghost_bytes(policy), 0);
		policy_close(&policy);
	}
}

static void admit_remembered_goes_to_main_once(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800);
	CU_ASSERT_EQUAL(policy_admit(policy, mixed(1), 1), POLICY_SMALL);
	policy_evicted(policy, POLICY_SMALL, mixed(1), 1);
	policy_evicted(policy, POLICY_MAIN, mixed(2), 1); /* was in main: not remembered */
	CU_ASSERT_EQUAL(policy_ghost_objects(policy), 1);
	CU_ASSERT_EQUAL(policy_admit(policy, mixed(2), 1), POLICY_SMALL);
	CU_ASSERT_EQUAL(policy_admit(policy, mixed(1), 1), POLICY_MAIN);
	CU_ASSERT_EQUAL(policy_admit(policy, mixed(1), 1), POLICY_SMALL);
	CU_ASSERT_EQUAL(policy_ghost_objects(policy), 0);
	policy_close(&policy);
}

/* ---- The ghost
 * ------------------------------------------------------------------------------------ */

static struct ghost *open_ghost(uint64_t capacity, uint64_t objects)
{
	struct ghost *ghost = NULL;
	CU_ASSERT_EQUAL_FATAL(ghost_open(&ghost, heap, &budget, capacity, objects), 0);
	return ghost;
}

/* How many of [first, first + n) are remembered; forgets them. */
static unsigned remembered(struct ghost *ghost, uint64_t first, unsigned n)
{
	unsigned count = 0;
	for (unsigned i = 0; i < n; i++)
		count += ghost_forget(ghost, mixed(first + i));
	return count;
}

static void ghost_over_capacity_forgets_oldest(void)
{
	struct ghost *ghost = open_ghost(10000, 10000);
	for (uint64_t i = 0; i < 50000; i++)
		ghost_insert(ghost, mixed(i), 1);
	CU_ASSERT(ghost_cost(ghost) <= 10000 && ghost_cost(ghost) > 9900);
	CU_ASSERT_EQUAL(ghost_objects(ghost), ghost_cost(ghost));
	CU_ASSERT(remembered(ghost, 0, 39900) < 10); /* false memories at the most */
	CU_ASSERT(remembered(ghost, 40100, 9900) > 9700);
	ghost_close(&ghost);
}

static void ghost_forgotten_gives_room(void)
{
	/* Slots that are forgotten do not count: with half of them gone, twice the time is
	 * remembered. */
	struct ghost *ghost = open_ghost(4000, 8000);
	for (uint64_t i = 0; i < 20000; i++) {
		ghost_insert(ghost, mixed(i), 1);
		if (i % 2)
			CU_ASSERT_TRUE(ghost_forget(ghost, mixed(i)));
	}
	unsigned count = 0;
	for (uint64_t i = 12200; i < 20000; i += 2)
		count += ghost_forget(ghost, mixed(i));
	CU_ASSERT(count > 3800);
	ghost_close(&ghost);
}

static void ghost_costs_differ_ages_by_cost(void)
{
	struct ghost *ghost = open_ghost(1 << 20, 100000);
	for (uint64_t i = 0; i < 4000; i++)
		ghost_insert(ghost, mixed(i), 256); /* 1 MiB in all */
	CU_ASSERT(ghost_objects(ghost) > 3900);
	ghost_insert(ghost, mixed(9999), 512 << 10);
	CU_ASSERT(ghost_cost(ghost) <= 1 << 20);
	CU_ASSERT(remembered(ghost, 0, 1900) < 10);
	CU_ASSERT(remembered(ghost, 2100, 1900) > 1850);
	CU_ASSERT_TRUE(ghost_forget(ghost, mixed(9999)));
	ghost_insert(ghost, mixed(5), (1 << 20) + 1); /* larger than everything: not remembered */
	CU_ASSERT_FALSE(ghost_forget(ghost, mixed(5)));
	ghost_close(&ghost);
}

static void ghost_grows_and_keeps(void)
{
	struct ghost *ghost = open_ghost(1 << 20, 1 << 20);
	uint64_t first = 0;
	for (uint64_t i = 0; i < 400000; i++) {
		ghost_insert(ghost, mixed(i), 1);
		if (i == 0)
			first = ghost_bytes(ghost);
	}
	CU_ASSERT(ghost_bytes(ghost) > 4 * first);
	CU_ASSERT(ghost_bytes(ghost) < 400000 * 12 + first);
	CU_ASSERT(ghost_objects(ghost) > 388000); /* at most 3 % lost to full buckets */
	CU_ASSERT(remembered(ghost, 1000000, 100000) < 100);
	CU_ASSERT(remembered(ghost, 0, 400000) > 388000);
	CU_ASSERT(ghost_objects(ghost) < 100);
	ghost_close(&ghost);
}

static void ghost_budget_refuses_stays_bounded(void)
{
	uint64_t cap = atomic_load(&budget.cap), used = atomic_load(&budget.used);
	struct ghost *ghost = open_ghost(1 << 20, 1 << 20);
	atomic_store(&budget.cap, used); /* not even a first page */
	for (uint64_t i = 0; i < 1000; i++)
		ghost_insert(ghost, mixed(i), 1);
	CU_ASSERT_EQUAL(ghost_objects(ghost), 0);
	CU_ASSERT_EQUAL(remembered(ghost, 0, 1000), 0);

	atomic_store(&budget.cap, used + (256 << 10));
	for (uint64_t i = 0; i < 300000; i++)
		ghost_insert(ghost, mixed(i), 1);
	CU_ASSERT(atomic_load(&budget.used) <= used + (256 << 10));
	CU_ASSERT(ghost_objects(ghost) > 40000); /* of 65,536 slots */
	CU_ASSERT(remembered(ghost, 290000, 10000) > 9000);
	atomic_store(&budget.cap, cap);
	ghost_close(&ghost);
	CU_ASSERT_EQUAL(atomic_load(&budget.used), used);
}

static void ghost_resize_smaller_forgets(void)
{
	struct ghost *ghost = open_ghost(100000, 100000);
	for (uint64_t i = 0; i < 100000; i++)
		ghost_insert(ghost, mixed(i), 1);
	ghost_resize(ghost, 1000);
	CU_ASSERT(ghost_cost(ghost) <= 1000);
	for (uint64_t i = 100000; i < 110000; i++)
		ghost_insert(ghost, mixed(i), 1);
	CU_ASSERT(remembered(ghost, 0, 108000) < 20);
	ghost_resize(ghost, 100000);
	for (uint64_t i = 110000; i < 150000; i++)
		ghost_insert(ghost, mixed(i), 1);
	CU_ASSERT(remembered(ghost, 110000, 40000) > 39500);
	ghost_close(&ghost);
}

/* Ages wrap around many times; what is remembered stays right, and what is summed does not drift.
 */
static void ghost_random_matches_model(void)
{
	enum { KEYS = 3000, CAPACITY = 700 };
	static uint64_t inserted[KEYS]; /* at which total cost; 0 = not remembered */
	uint64_t random = suite_seed() | 1, total = 0;
	unsigned wrong = 0, sure = 0;
	struct ghost *ghost = open_ghost(CAPACITY, 4 * CAPACITY);
	memset(inserted, 0, sizeof(inserted));
	for (unsigned step = 0; step < 1000000; step++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		unsigned key = (unsigned)(random >> 20) % KEYS;
		if (random >> 40 & 1) {
			ghost_insert(ghost, mixed(key), 1);
			inserted[key] = ++total;
			continue;
		}
		/* Forgetting only widens what is remembered: within CAPACITY is sure, beyond 720
		 * ticks is sure not (with what little ends early: full buckets). */
		bool known = ghost_forget(ghost, mixed(key));
		bool young = inserted[key] && total - inserted[key] < CAPACITY / 2;
		bool old = !inserted[key] || total - inserted[key] > CAPACITY * 4;
		sure += young || old;
		wrong += (young && !known) || (old && known);
		if (known)
			inserted[key] = 0;
	}
	CU_ASSERT(sure > 100000);
	CU_ASSERT(wrong < sure / 200);
	CU_ASSERT(ghost_cost(ghost) <= CAPACITY);
	for (unsigned key = 0; key < KEYS; key++)
		ghost_forget(ghost, mixed(key));
	CU_ASSERT(ghost_objects(ghost) < 10);
	ghost_close(&ghost);
}

struct admitter {
	struct policy *policy;
	_Atomic bool *stop;
	uint64_t random, from_ghost;
};

static void *admit_in_thread(void *argument)
{
	struct admitter *a = argument;
	while (!atomic_load_explicit(a->stop, memory_order_relaxed)) {
		a->random = mixed(a->random);
		a->from_ghost +=
			policy_admit(a->policy, mixed(a->random % 200000), 1) == POLICY_MAIN;
	}
	return NULL;
}

static void admit_beside_evictions_consistent(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 20000, 80000);
	_Atomic bool stop = false;
	struct admitter admitters[2];
	pthread_t threads[2];
	for (unsigned i = 0; i < 2; i++) {
		admitters[i] = (struct admitter){policy, &stop, i, 0};
		pthread_create(&threads[i], NULL, admit_in_thread, &admitters[i]);
	}
	for (uint64_t i = 0; i < 600000; i++) {
		policy_evicted(policy, POLICY_SMALL, mixed(i % 200000), 1);
		if (i % 100000 == 0)
			policy_resize(policy, 20000, 40000 + i % 300000 / 5);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT(admitters[0].from_ghost + admitters[1].from_ghost > 1000);
	CU_ASSERT(policy_ghost_objects(policy) <= 200000);
	for (uint64_t i = 0; i < 200000; i++)
		policy_admit(policy, mixed(i), 1);
	/* Races may leave a handful of slots that are counted twice or not at all. */
	CU_ASSERT(policy_ghost_objects(policy) < 2000);
	policy_close(&policy);
}

/* ---- Placement
 * ------------------------------------------------------------------------------------ */

static void place_follows_population(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800); /* 100 of DRAM are main's */
	uint64_t population[16] = {0};
	uint32_t epoch = policy_epoch(policy);
	population[15] = 20;
	population[9] = 60;
	population[4] = 40; /* of these, half have room */
	population[1] = 700;
	policy_population(policy, population);
	CU_ASSERT_EQUAL(policy_threshold(policy), 5);

	unsigned hot = 0;
	for (uint64_t i = 0; i < 1000; i++) {
		CU_ASSERT_EQUAL(
			policy_place(policy, policy_counter(0, 9, epoch), mixed(i), THERMO_WARM),
			THERMO_HOT);
		CU_ASSERT_EQUAL(
			policy_place(policy, policy_counter(0, 1, epoch), mixed(i), THERMO_HOT),
			THERMO_WARM);
		bool up = policy_place(policy, policy_counter(0, 4, epoch), mixed(i),
				       THERMO_WARM) == THERMO_HOT;
		bool stay = policy_place(policy, policy_counter(0, 4, epoch), mixed(i),
					 THERMO_HOT) == THERMO_HOT;
		CU_ASSERT(stay || !up); /* hysteresis: what would go up would not come down */
		hot += stay;
	}
	CU_ASSERT(hot > 400 && hot < 600); /* half stay */
	policy_close(&policy);
}

static void place_all_fits_is_hot(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800);
	uint64_t population[16] = {[0] = 50, [3] = 50};
	policy_population(policy, population);
	CU_ASSERT_EQUAL(policy_threshold(policy), 0);
	CU_ASSERT_EQUAL(policy_place(policy, policy_counter(0, 1, 0), mixed(1), THERMO_WARM),
			THERMO_HOT);
	policy_close(&policy);
}

static void place_none_fits_is_warm(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800);
	uint64_t population[16] = {[15] = UINT64_C(1) << 60};
	policy_population(policy, population);
	CU_ASSERT_EQUAL(policy_threshold(policy), 16);
	CU_ASSERT_EQUAL(policy_place(policy, policy_counter(0, 15, 0), mixed(1) & ~(0xffull << 44),
				     THERMO_HOT),
			THERMO_WARM);
	policy_close(&policy);
}

static void place_one_tier_is_that(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 0);
	CU_ASSERT_EQUAL(policy_place(policy, policy_counter(0, 0, 0), 0, THERMO_HOT), THERMO_HOT);
	policy_resize(policy, 0, 200);
	CU_ASSERT_EQUAL(policy_place(policy, policy_counter(0, 15, 0), 0, THERMO_HOT), THERMO_WARM);
	policy_close(&policy);
}

static void clock_period_over_advances(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 20000, 80000);
	uint64_t population[16] = {[8] = 1000000};
	policy_population(policy, population);
	CU_ASSERT_EQUAL(policy_threshold(policy), 9);
	policy_clock(policy, 40000, 10000); /* the period is five accesses an object */
	CU_ASSERT_EQUAL(policy_epoch(policy), 0);
	policy_clock(policy, 50000, 10000);
	CU_ASSERT_EQUAL(policy_epoch(policy), 1);
	CU_ASSERT_EQUAL(policy_threshold(policy), 5); /* halves with the frequencies */
	policy_clock(policy, 99999, 10000);
	CU_ASSERT_EQUAL(policy_epoch(policy), 1);
	policy_clock(policy, 100000, 10000);
	CU_ASSERT_EQUAL(policy_epoch(policy), 2);
	policy_close(&policy);
}

static void clock_few_objects_is_slow(void)
{
	struct policy *policy = open_policy(POLICY_S3FIFO, 200, 800);
	policy_clock(policy, 1000, 1);
	CU_ASSERT_EQUAL(policy_epoch(policy), 0);
	policy_clock(policy, 1024, 1);
	CU_ASSERT_EQUAL(policy_epoch(policy), 1);
	policy_close(&policy);
}

static const struct suite_case cases[] = {
	SUITE_CASE(touched_fresh_counts_both),
	SUITE_CASE(decayed_each_epoch_halves),
	SUITE_CASE(touched_after_epochs_decays_first),
	SUITE_CASE(parse_names_round_trip),
	SUITE_CASE(open_bad_options_refused),
	SUITE_CASE(open_without_memory_fails_clean),
	SUITE_CASE(small_target_is_the_lesser),
	SUITE_CASE(small_hot_shrinks_as_main_grows),
	SUITE_CASE(scan_s3fifo_follows_uses),
	SUITE_CASE(scan_others_are_clock_and_fifo),
	SUITE_CASE(admit_remembered_goes_to_main_once),
	SUITE_CASE(ghost_over_capacity_forgets_oldest),
	SUITE_CASE(ghost_forgotten_gives_room),
	SUITE_CASE(ghost_costs_differ_ages_by_cost),
	SUITE_CASE(ghost_grows_and_keeps),
	SUITE_CASE(ghost_budget_refuses_stays_bounded),
	SUITE_CASE(ghost_resize_smaller_forgets),
	SUITE_CASE(ghost_random_matches_model),
	SUITE_CASE(admit_beside_evictions_consistent),
	SUITE_CASE(place_follows_population),
	SUITE_CASE(place_all_fits_is_hot),
	SUITE_CASE(place_none_fits_is_warm),
	SUITE_CASE(place_one_tier_is_that),
	SUITE_CASE(clock_period_over_advances),
	SUITE_CASE(clock_few_objects_is_slow),
};

int main(void)
{
	return suite_run("policy", setup, teardown, cases, SUITE_COUNT(cases));
}
