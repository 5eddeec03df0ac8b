/* SPDX-License-Identifier: Apache-2.0 */
/* Tiers while running: resize, drain, shares, no threads, no room, statistics. */
#include "tests/tiers/bed.h"

#include <inttypes.h>
#include <pthread.h>

/* ---- Resizing and draining ---- */

static void resize_within_limits_moves_the_cap(void)
{
	struct bed bed;
	bed_init(&bed, true, true);
	bed.options.dram_max_bytes = 64 * MIB;
	bed.options.warm_max_bytes = 32 * MIB;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	bed_fill(bed.space, 6000, 5000);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_WARM, 32 * MIB, NO_LIMIT, &bed.error), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).tier[THERMO_WARM].used_bytes, 32 * MIB);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 64 * MIB, NO_LIMIT, &bed.error), 0);
	CU_ASSERT(bed_stats(&bed).dram_used_bytes <= 64 * MIB);
	CU_ASSERT(bed_stats(&bed).tier[THERMO_HOT].used_bytes > 32 * MIB);
	CU_ASSERT_EQUAL(bed_count(bed.space, 6000, 5000), 6000);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_WARM, 8 * MIB, NO_LIMIT, &bed.error), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).tier[THERMO_WARM].used_bytes, 8 * MIB);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 40 * MIB, NO_LIMIT, &bed.error), 0);
	CU_ASSERT(bed_stats(&bed).dram_used_bytes <= 40 * MIB);
	CU_ASSERT_EQUAL(bed_stats(&bed).dram_cap_bytes, 40 * MIB);
	CU_ASSERT_EQUAL(bed_count(bed.space, 6000, 5000), 6000);
	bed_end(&bed);
}

static void resize_out_of_limits_is_refused(void)
{
	struct bed bed;
	bed_make(&bed, true, false);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 500 * MIB, 0, &bed.error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, "maximum"));
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 4 * MIB, 0, &bed.error), -EINVAL);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_WARM, 4 * MIB, 0, &bed.error), -EINVAL);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_COLD, 64 * MIB, 0, &bed.error), -EINVAL);
	CU_ASSERT_EQUAL(thermo_resize(NULL, THERMO_HOT, 64 * MIB, 0, &bed.error), -EINVAL);
	CU_ASSERT_EQUAL(thermo_drain(bed.cache, THERMO_COLD, 0, &bed.error), -EINVAL);
	bed_end(&bed);
	bed_make(&bed, false, false);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_WARM, 16 * MIB, 0, &bed.error), -EINVAL);
	CU_ASSERT_EQUAL(thermo_drain(bed.cache, THERMO_WARM, 0, &bed.error), -EINVAL);
	bed_end(&bed);
}

static void drain_warm_empties_it_and_keeps_all(void)
{
	struct bed bed;
	bed_make(&bed, true, true);
	bed_fill(bed.space, 6000, 5000);
	CU_ASSERT(bed_stats(&bed).tier[THERMO_WARM].record_bytes > 0);
	CU_ASSERT_EQUAL(thermo_drain(bed.cache, THERMO_WARM, NO_LIMIT, &bed.error), 0);
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT_EQUAL(s.tier[THERMO_WARM].used_bytes, 0);
	CU_ASSERT_EQUAL(s.tier[THERMO_WARM].record_bytes, 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, 6000, 5000), 6000);
	bed_fill(bed.space, 6000, 5000); /* it goes on without */
	CU_ASSERT_EQUAL(bed_stats(&bed).tier[THERMO_WARM].used_bytes, 0);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_WARM, 8 * MIB, NO_LIMIT, &bed.error), 0);
	bed_fill(bed.space, 6000, 5000);
	CU_ASSERT(bed_stats(&bed).tier[THERMO_WARM].record_bytes > 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, 6000, 5000), 6000);
	bed_end(&bed);
}

struct user {
	struct bed *bed;
	_Atomic bool stop;
	_Atomic uint64_t bad, read, written, busy;
};

static void *use(void *argument)
{
	struct user *u = argument;
	struct chance chance = chance_make(4);
	while (!atomic_load(&u->stop)) {
		uint32_t k = (uint32_t)chance_below(&chance, 5000);
		bool get = chance_below(&chance, 3);
		int rc = get ? bed_check(u->bed->space, k, k + 1, 5000)
			     : bed_put(u->bed->space, k, k + 1, 5000);
		u->busy += rc == THERMO_BUSY;
		u->bad += rc != THERMO_OK && (get || rc != THERMO_BUSY);
		u->read += get;
		u->written += !get && rc == THERMO_OK;
	}
	return NULL;
}

/* Until that many more reads and writes have been done: both go on, whatever happens to the tiers. */
static void await_use(struct user *u, uint64_t reads, uint64_t writes)
{
	uint64_t read = u->read, written = u->written;
	BED_AWAIT(u->read >= read + reads && u->written >= written + writes);
}

static void resize_and_drain_while_used_lose_nothing(void)
{
	struct bed bed;
	pthread_t thread;
	struct user user = {.bed = &bed};
	bed_make(&bed, true, true);
	bed_fill(bed.space, 5000, 5000);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, use, &user), 0);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(thermo_drain(bed.cache, THERMO_WARM, NO_LIMIT, &bed.error), 0);
		CU_ASSERT_EQUAL(thermo_drain(bed.cache, THERMO_HOT, NO_LIMIT, &bed.error), 0);
		CU_ASSERT(bed_stats(&bed).tier[THERMO_HOT].used_bytes <= 8 * MIB);
		await_use(&user, 20, 5); /* in what a drained tier keeps */
		CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 48 * MIB, NO_LIMIT, &bed.error), 0);
		CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_WARM, 16 * MIB, NO_LIMIT, &bed.error), 0);
		await_use(&user, 50, 20);
		CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 38 * MIB, NO_LIMIT, &bed.error), 0);
	}
	atomic_store(&user.stop, true);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(user.bad, 0);
	printf("  %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64 " busy\n", user.read, user.written,
	       user.busy);
	CU_ASSERT_EQUAL(bed_count(bed.space, 5000, 5000), 5000);
	bed_end(&bed);
}

static void shrink_with_a_pin_is_pending_until_released(void)
{
	struct bed bed;
	struct thermo_ref ref[40];
	unsigned held = 0;
	char key[32];
	bed_init(&bed, true, false);
	bed.options.dram_bytes = 40 * MIB;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	bed_fill(bed.space, 5000, 5000);
	/* One in each extent of DRAM, so that none of them can go. */
	for (uint32_t i = 0; i < 5000 && held < 40; i++) {
		size_t len = bed_key(i, key);
		if (thermo_get_ref(bed.space, key, len, &ref[held]) != THERMO_OK)
			continue;
		bool new = true;
		for (unsigned j = 0; j < held; j++)
			new &= (uintptr_t)ref[j].data / (2 * MIB) != (uintptr_t)ref[held].data / (2 * MIB);
		if (new)
			held++;
		else
			thermo_ref_release(&ref[held]);
	}
	CU_ASSERT(held > 8);
	CU_ASSERT_EQUAL(thermo_drain(bed.cache, THERMO_HOT, 300000000, &bed.error), THERMO_PENDING);
	for (unsigned i = 0; i < held; i++) {
		uint64_t seed;
		size_t wrong;
		memcpy(&seed, ref[i].data, 8);
		CU_ASSERT(value_is(ref[i].data, 0, ref[i].len, seed, &wrong));
		thermo_ref_release(&ref[i]);
	}
	CU_ASSERT_EQUAL(thermo_drain(bed.cache, THERMO_HOT, NO_LIMIT, &bed.error), THERMO_OK);
	/* Back while it is still shrinking: the tier has its size again. */
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 40 * MIB, NO_LIMIT, &bed.error), 0);
	uint64_t full = bed_stats(&bed).tier[THERMO_HOT].used_bytes;
	bed_fill(bed.space, 5000, 5000);
	CU_ASSERT_EQUAL(thermo_get_ref(bed.space, key, bed_key(4999, key), &ref[0]), THERMO_OK);
	int rc = thermo_drain(bed.cache, THERMO_HOT, 0, &bed.error);
	CU_ASSERT(rc == THERMO_PENDING || rc == THERMO_OK);
	CU_ASSERT_EQUAL(thermo_resize(bed.cache, THERMO_HOT, 40 * MIB, NO_LIMIT, &bed.error), 0);
	CU_ASSERT(bed_stats(&bed).tier[THERMO_HOT].used_bytes + 2 * MIB >= full);
	thermo_ref_release(&ref[0]);
	bed_end(&bed);
}

/* ---- Shares ---- */

static void share_of_a_space_is_kept(void)
{
	struct bed bed;
	struct thermo_space_options o;
	struct thermo_space *greedy, *safe;
	bed_make(&bed, false, false);
	thermo_space_options_init(&o);
	o.max_percent[THERMO_HOT] = 30;
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "greedy", &o, &greedy, NULL), 0);
	thermo_space_options_init(&o);
	o.min_percent[THERMO_HOT] = 40;
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "safe", &o, &safe, NULL), 0);
	bed_fill(safe, 500, 5000); /* 2.5 of some 10 MiB: within what it is promised */
	bed_fill(bed.space, 6000, 5000);
	CU_ASSERT_EQUAL(bed_count(safe, 500, 5000), 500);
	for (uint32_t i = 0; i < 6000; i++)
		bed_put(greedy, i, i + 1, 5000);
	thermo_settle(bed.cache, NO_LIMIT);
	uint64_t greedy_bytes = bed_count(greedy, 6000, 5000) * UINT64_C(5000);
	CU_ASSERT(greedy_bytes > MIB);
	CU_ASSERT(greedy_bytes < bed_stats(&bed).tier[THERMO_HOT].cap_bytes * 35 / 100);
	CU_ASSERT_EQUAL(bed_count(safe, 500, 5000), 500);
	bed_end(&bed);
}

/* Bytes of DRAM and warm that keys of the space lie in, as thermo_exists tells. */
static void tier_bytes(struct thermo_space *space, uint32_t n, uint32_t len, uint64_t bytes[2])
{
	struct thermo_info info;
	char key[32];
	bytes[0] = bytes[1] = 0;
	for (uint32_t i = 0; i < n; i++)
		if (thermo_exists(space, key, bed_key(i, key), &info) == THERMO_OK &&
		    info.tier != THERMO_COLD)
			bytes[info.tier] += len;
}

/* Three spaces in two tiers: one is promised something of both, one may have little of DRAM, and all are
 * flooded in turn. */
static void shares_of_both_tiers_are_kept_in_a_flood(void)
{
	struct bed bed;
	struct thermo_space_options o;
	struct thermo_space *capped, *safe;
	uint64_t in[2];
	bed_init(&bed, true, false);
	bed.options.warm_bytes = 16 * MIB;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	thermo_space_options_init(&o);
	o.max_percent[THERMO_HOT] = 20;
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "capped", &o, &capped, NULL), 0);
	thermo_space_options_init(&o);
	o.min_percent[THERMO_HOT] = 30;
	o.min_percent[THERMO_WARM] = 30;
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "safe", &o, &safe, NULL), 0);
	bed_fill(safe, 600, 5000); /* 3 MB: within 30 % of either tier */
	for (uint32_t i = 0; i < 12000; i++) {
		bed_put(bed.space, i, i + 1, 5000);
		bed_put(capped, i, i + 1, 5000);
	}
	thermo_settle(bed.cache, NO_LIMIT);
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT_EQUAL(bed_count(safe, 600, 5000), 600);
	tier_bytes(capped, 12000, 5000, in);
	CU_ASSERT(in[0] <= s.tier[THERMO_HOT].cap_bytes * 20 / 100);
	CU_ASSERT(in[1] > 0); /* what DRAM has no share for is warm */
	/* The promise is what is kept, no more: beyond it the space is like any other. */
	for (uint32_t i = 0; i < 12000; i++)
		bed_put(safe, 1000 + i, i + 1, 5000);
	for (uint32_t i = 0; i < 12000; i++)
		bed_put(bed.space, i, i + 1, 5000);
	thermo_settle(bed.cache, NO_LIMIT);
	s = bed_stats(&bed);
	tier_bytes(safe, 13000, 5000, in);
	printf("  of the promised tiers %llu and %llu KiB are used\n", (unsigned long long)in[0] / 1024,
	       (unsigned long long)in[1] / 1024);
	uint64_t all = s.tier[THERMO_HOT].cap_bytes + s.tier[THERMO_WARM].cap_bytes;
	CU_ASSERT(in[0] + in[1] > all * 20 / 100);
	CU_ASSERT(in[0] + in[1] < all * 40 / 100);
	bed_end(&bed);
}

/* Spaces that are written in turn do not seal each other's segments away. */
static void put_several_spaces_in_turn_wastes_little(void)
{
	struct bed bed;
	struct thermo_space *space[6];
	char name[16];
	uint32_t there = 0;
	bed_make(&bed, false, false);
	for (uint32_t s = 0; s < 6; s++) {
		snprintf(name, sizeof(name), "s%u", s);
		CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, name, NULL, &space[s], NULL), 0);
	}
	for (uint32_t i = 0; i < 3000; i++) /* 3 MiB of 10 */
		CU_ASSERT_EQUAL(bed_put(space[i % 6], i / 6, i / 6 + 1, 1000), THERMO_OK);
	for (uint32_t s = 0; s < 6; s++)
		there += bed_count(space[s], 500, 1000);
	CU_ASSERT(there > 2700);
	printf("  %u of 3000 are there\n", there);
	bed_end(&bed);
}

/* ---- Without threads; without room ---- */

static void work_without_threads_is_the_hosts(void)
{
	struct bed bed;
	bed_init(&bed, true, true);
	bed.options.background_threads = 0;
	bed.options.put_wait_ms = 0;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	uint32_t busy = 0, bad = 0;
	for (uint32_t i = 0; i < 8000; i++) {
		int rc;
		for (int tries = 0; (rc = bed_put(bed.space, i, i + 1, 5000)) == THERMO_BUSY && tries < 10000;
		     tries++) {
			busy++;
			thermo_work(bed.cache);
		}
		bad += rc != THERMO_OK;
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT(busy > 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, 8000, 5000), 8000);
	CU_ASSERT_EQUAL(thermo_settle(bed.cache, NO_LIMIT), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_work(bed.cache), THERMO_MISS); /* nothing left to do */
	CU_ASSERT_EQUAL(thermo_work(NULL), -EINVAL);
	CU_ASSERT_EQUAL(bed_stats(&bed).busy, busy);
	bed_end(&bed);
}

static void put_full_cold_is_told_and_reads_go_on(void)
{
	struct bed bed;
	uint32_t taken = 0, no_space = 0, i;
	bed_init(&bed, true, true);
	bed.options.cold_bytes = 16 * MIB;
	bed.options.put_wait_ms = 1; /* there are thousands of waits in here */
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	char key[32], *value = malloc(8000);
	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	struct chance chance = chance_make(3); /* what does not compress */
	for (i = 0; taken < 20000 && no_space < 20; i++) {
		for (size_t at = 0; at < 8000; at += 8) {
			uint64_t word = chance_next(&chance);
			memcpy(value + at, &word, 8);
		}
		memcpy(value, &i, sizeof(i));
		int rc = thermo_put(bed.space, key, bed_key(taken, key), value, 8000, 0);
		CU_ASSERT(rc == THERMO_OK || rc == -ENOSPC || rc == THERMO_BUSY);
		taken += rc == THERMO_OK;
		no_space += rc == -ENOSPC;
	}
	CU_ASSERT_EQUAL(no_space, 20);
	CU_ASSERT(taken > 2000);
	uint32_t missing = 0;
	for (i = 0; i < taken; i++)
		missing += thermo_get(bed.space, key, bed_key(i, key), value, 8000, NULL) != THERMO_OK;
	CU_ASSERT_EQUAL(missing, 0); /* nothing dirty was dropped */
	CU_ASSERT(bed_stats(&bed).no_space >= 20);
	/* Deleting makes room again; a tombstone that finds none is refused like a put, after put_wait_ms. */
	int rc = THERMO_OK;
	for (i = 0; i < taken; i++) {
		rc = thermo_delete(bed.space, key, bed_key(i, key));
		CU_ASSERT(rc == THERMO_OK || rc == -ENOSPC || rc == THERMO_BUSY);
	}
	rc = -1;
	for (i = 0; i < 500 && rc != THERMO_OK; i++) {
		rc = thermo_put(bed.space, "again", 5, value, 8000, 0);
		thermo_settle(bed.cache, 100000000);
	}
	CU_ASSERT_EQUAL(rc, THERMO_OK);
	free(value);
	bed_end(&bed);
}

/* Puts with nobody in the background: all reclaim is done by the calls, each a little. CPU time, so that a
 * busy machine does not matter; where code is instrumented it takes more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(NDEBUG)
#define HELP_MOST_NS 20000000u
#else
#define HELP_MOST_NS 1000000u
#endif
#define HELP_MOST_BUCKETS 64

/* bed_fill, and the most buckets that one of the first puts splits. */
static uint64_t fill_counting_splits(struct bed *bed, uint32_t n, size_t len)
{
	uint32_t counted = n < 60000 ? n : 60000;
	uint64_t most = 0, before = 0;
	for (uint32_t i = 0; i < counted; i++) {
		bed_put(bed->space, i, 0, len);
		uint64_t now = bed_stats(bed).index_grown;
		most = now - before > most ? now - before : most;
		before = now;
	}
	bed_fill(bed->space, n, len);
	return most;
}

static void put_that_finds_no_room_helps_a_little(void)
{
	static const uint32_t lens[] = {100, 1000, 15000, 60000};
	for (unsigned i = 0; i < 4; i++) {
		struct bed bed;
		uint32_t puts = (uint32_t)(60 * MIB / lens[i]);
		bed_init(&bed, true, false);
		bed.options.background_threads = 0;
		bed.options.index_buckets = HELP_MOST_BUCKETS;
		CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
		uint64_t splits = fill_counting_splits(&bed, puts, lens[i]);
		CU_ASSERT(splits > 0);
		CU_ASSERT(splits <= HELP_MOST_BUCKETS);
		struct thermo_stats s = bed_stats(&bed);
		printf("  values of %u bytes: a call helps for at most %llu us, splits %llu buckets\n", lens[i],
		       (unsigned long long)s.help_max_ns / 1000, (unsigned long long)splits);
		CU_ASSERT(s.help_max_ns > 0);
		CU_ASSERT(s.help_max_ns <= HELP_MOST_NS);
		bed_end(&bed);
	}
}

/* ---- Statistics ---- */

static void stats_after_known_calls_are_exact(void)
{
	struct bed bed;
	char key[32], value[100];
	bed_make(&bed, true, true);
	for (uint32_t i = 0; i < 100; i++)
		bed_put(bed.space, i, i + 1, 50);
	for (uint32_t i = 0; i < 150; i++)
		thermo_get(bed.space, key, bed_key(i, key), value, 100, NULL);
	for (uint32_t i = 0; i < 10; i++)
		thermo_delete(bed.space, key, bed_key(i, key));
	thermo_cas(bed.space, "c", 1, "x", 1, 0, 0, NULL);
	thermo_cas(bed.space, "c", 1, "x", 1, 0, 999999, NULL);
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT_EQUAL(s.version, 1);
	CU_ASSERT_EQUAL(s.puts, 101);
	CU_ASSERT_EQUAL(s.gets, 150);
	CU_ASSERT_EQUAL(s.hits, 100);
	CU_ASSERT_EQUAL(s.misses, 50);
	CU_ASSERT_EQUAL(s.deletes, 10);
	CU_ASSERT_EQUAL(s.conflicts, 1);
	CU_ASSERT_EQUAL(s.tier[THERMO_HOT].hits, 100);
	CU_ASSERT_EQUAL(s.index_records, 91);
	CU_ASSERT_EQUAL(s.dram_cap_bytes, 40 * MIB);
	CU_ASSERT(s.dram_used_bytes <= s.dram_cap_bytes);
	CU_ASSERT_EQUAL(s.busy + s.no_space + s.lost + s.errors + s.pending, 0);
	/* An older program's smaller struct, and a NULL one. */
	struct thermo_stats part = {.size = 40};
	CU_ASSERT_EQUAL(thermo_stats(bed.cache, &part), 0);
	CU_ASSERT_EQUAL(part.size, 40);
	CU_ASSERT_EQUAL(part.busy, 0);
	CU_ASSERT_EQUAL(thermo_stats(bed.cache, NULL), -EINVAL);
	part.size = 0;
	CU_ASSERT_EQUAL(thermo_stats(bed.cache, &part), -EINVAL);
	bed_end(&bed);
}

static void stats_under_pressure_add_up(void)
{
	struct bed bed;
	bed_make(&bed, true, true);
	bed_fill(bed.space, 9000, 5000);
	CU_ASSERT_EQUAL(bed_count(bed.space, 9000, 5000), 9000);
	thermo_settle(bed.cache, NO_LIMIT);
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT_EQUAL(s.hits, s.tier[0].hits + s.tier[1].hits + s.tier[2].hits);
	CU_ASSERT_EQUAL(s.gets, s.hits + s.misses + s.lost + s.errors + s.pending);
	CU_ASSERT_EQUAL(s.hits, 9000);
	CU_ASSERT(s.cold_demoted > 0 && s.cold_bytes > 0 && s.cold_runs > 0);
	CU_ASSERT(s.device_reads > 0 && s.device_writes > 0);
	CU_ASSERT_EQUAL(s.tier[THERMO_HOT].records_dropped + s.tier[THERMO_WARM].records_dropped, 0);
	for (int tier = 0; tier < 2; tier++) {
		CU_ASSERT(s.tier[tier].used_bytes <= s.tier[tier].cap_bytes);
		CU_ASSERT(s.tier[tier].record_bytes <= s.tier[tier].used_bytes);
		CU_ASSERT(s.tier[tier].segments_free <= s.tier[tier].segments);
	}
	CU_ASSERT(s.dram_used_bytes <= s.dram_cap_bytes);
	CU_ASSERT_EQUAL(s.cold_failed, 0);
	bed_end(&bed);
}

static void stats_json_is_whole_or_cut(void)
{
	struct bed bed;
	char text[16384], little[50];
	bed_make(&bed, true, true);
	int n = thermo_stats_json(bed.cache, text, sizeof(text));
	CU_ASSERT(n > 500 && n < (int)sizeof(text));
	CU_ASSERT_EQUAL((int)strlen(text), n);
	CU_ASSERT_EQUAL(text[0], '{');
	CU_ASSERT_EQUAL(text[n - 1], '}');
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"puts\":0"));
	CU_ASSERT_EQUAL(thermo_stats_json(bed.cache, NULL, 0), n);
	CU_ASSERT_EQUAL(thermo_stats_json(bed.cache, little, sizeof(little)), n);
	CU_ASSERT_EQUAL(strlen(little), sizeof(little) - 1);
	CU_ASSERT_EQUAL(memcmp(little, text, sizeof(little) - 1), 0);
	CU_ASSERT_EQUAL(thermo_stats_json(bed.cache, NULL, 9), -EINVAL);
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(resize_within_limits_moves_the_cap),
		SUITE_CASE(resize_out_of_limits_is_refused),
		SUITE_CASE(drain_warm_empties_it_and_keeps_all),
		SUITE_CASE(resize_and_drain_while_used_lose_nothing),
		SUITE_CASE(shrink_with_a_pin_is_pending_until_released),
		SUITE_CASE(share_of_a_space_is_kept),
		SUITE_CASE(shares_of_both_tiers_are_kept_in_a_flood),
		SUITE_CASE(put_several_spaces_in_turn_wastes_little),
		SUITE_CASE(work_without_threads_is_the_hosts),
		SUITE_CASE(put_full_cold_is_told_and_reads_go_on),
		SUITE_CASE(put_that_finds_no_room_helps_a_little),
		SUITE_CASE(stats_after_known_calls_are_exact),
		SUITE_CASE(stats_under_pressure_add_up),
		SUITE_CASE(stats_json_is_whole_or_cut),
	};
	return suite_run("engine_tiers", NULL, NULL, cases, SUITE_COUNT(cases));
}
