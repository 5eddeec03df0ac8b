/* SPDX-License-Identifier: Apache-2.0 */
/* Which tier a record is in: what is used often, what is hinted, what is new. No threads, so a run is the
 * same every time. */
#include "tests/tiers/bed.h"

#define LEN 1000
#define WORK_EVERY 16
#define HINTED 100

/* Until there is nothing left to do. */
static void settle(struct bed *bed)
{
	while (thermo_work(bed->cache) == THERMO_OK)
		;
}

static void make(struct bed *bed, bool cold)
{
	bed_init(bed, true, cold);
	bed->options.background_threads = 0;
	bed->options.put_wait_ms = 0;
	CU_ASSERT_EQUAL_FATAL(bed_open(bed), 0);
}

static void put_all(struct bed *bed, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		int rc;
		for (int tries = 0; (rc = bed_put(bed->space, i, i + 1, LEN)) == THERMO_BUSY && tries < 10000;
		     tries++)
			thermo_work(bed->cache);
		CU_ASSERT_EQUAL_FATAL(rc, THERMO_OK);
	}
	settle(bed);
}

static int tier_of(struct bed *bed, uint32_t k)
{
	struct thermo_info info;
	char key[32];
	int rc = thermo_exists(bed->space, key, bed_key(k, key), &info);
	return rc == THERMO_OK ? (int)info.tier : -1;
}

/* Gets of one key in ten, over and over. */
static void use_some(struct bed *bed, uint32_t n, unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++)
		for (uint32_t i = 0; i < n; i += 10) {
			bed_check(bed->space, i, i + 1, LEN);
			if (i / 10 % WORK_EVERY == 0)
				settle(bed);
		}
}

static void use_often_brings_to_dram_and_stays(void)
{
	struct bed bed;
	make(&bed, false);
	put_all(&bed, 18000); /* some 18 MiB: DRAM and most of warm */
	use_some(&bed, 18000, 12);
	struct thermo_stats before = bed_stats(&bed);
	use_some(&bed, 18000, 20);
	struct thermo_stats after = bed_stats(&bed);
	uint64_t hot = after.tier[THERMO_HOT].hits - before.tier[THERMO_HOT].hits;
	uint64_t warm = after.tier[THERMO_WARM].hits - before.tier[THERMO_WARM].hits;
	uint64_t moves = after.promoted + after.demoted - before.promoted - before.demoted;
	printf("  hits: %llu hot, %llu warm; moves: %llu at first, %llu then\n", (unsigned long long)hot,
	       (unsigned long long)warm, (unsigned long long)(before.promoted + before.demoted),
	       (unsigned long long)moves);
	CU_ASSERT(before.promoted > 100);
	CU_ASSERT(hot > 9 * warm);
	CU_ASSERT(moves * 20 < hot + warm); /* what has found its place stays there */
	bed_end(&bed);
}

static void put_of_new_keys_moves_nothing(void)
{
	struct bed bed;
	make(&bed, false);
	put_all(&bed, 60000); /* three times what there is room for */
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT(s.tier[THERMO_HOT].records_dropped + s.tier[THERMO_WARM].records_dropped > 30000);
	CU_ASSERT((s.promoted + s.demoted) * 100 < 60000);
	bed_end(&bed);
}

/* Hints the youngest keys that lie in `from`. */
static void hint_from(struct bed *bed, uint32_t n, int from)
{
	static char key[HINTED][32];
	const void *keys[HINTED];
	size_t lens[HINTED];
	uint32_t number[HINTED], found = 0, hot = 0;
	for (uint32_t i = n; i-- > 0 && found < HINTED;) {
		if (tier_of(bed, i) != from)
			continue;
		lens[found] = bed_key(i, key[found]);
		keys[found] = key[found];
		number[found++] = i;
	}
	CU_ASSERT_EQUAL_FATAL(found, HINTED);
	CU_ASSERT_EQUAL(thermo_hint(bed->space, keys, lens, HINTED), THERMO_OK);
	settle(bed);
	for (unsigned i = 0; i < HINTED; i++)
		hot += tier_of(bed, number[i]) == THERMO_HOT;
	printf("  %u of %u hinted in tier %d came to DRAM\n", hot, HINTED, from);
	CU_ASSERT_EQUAL(hot, HINTED);
}

static void hint_in_a_full_cache_brings_all_to_dram(void)
{
	struct bed bed;
	make(&bed, true);
	put_all(&bed, 60000);
	struct thermo_stats before = bed_stats(&bed);
	hint_from(&bed, 60000, THERMO_COLD);
	hint_from(&bed, 60000, THERMO_WARM);
	struct thermo_stats after = bed_stats(&bed);
	CU_ASSERT_EQUAL(after.gets, before.gets); /* a hint is no access */
	CU_ASSERT_EQUAL(after.misses, before.misses);
	CU_ASSERT_EQUAL(bed_count(bed.space, 60000, LEN), 60000);
	bed_end(&bed);
	make(&bed, false);
	put_all(&bed, 60000);
	use_some(&bed, 60000, 4);
	hint_from(&bed, 60000, THERMO_WARM);
	bed_end(&bed);
}

/* What is hinted while its segment waits for a run to be published is in that run as well, beneath its copy. */
static void hint_of_what_is_being_demoted_then_delete_stays_deleted(void)
{
	struct bed bed;
	unsigned deleted = 0, back = 0;
	make(&bed, true);
	put_all(&bed, 60000);
	for (uint32_t i = 0; i < 60000; i++) {
		char text[32];
		const void *key = text;
		size_t len = bed_key(i, text);
		if (tier_of(&bed, i) != THERMO_WARM)
			continue;
		CU_ASSERT_EQUAL(thermo_hint(bed.space, &key, &len, 1), THERMO_OK);
		thermo_work(bed.cache);
		if (tier_of(&bed, i) != THERMO_HOT)
			continue;
		CU_ASSERT_EQUAL(thermo_delete(bed.space, text, len), THERMO_OK);
		deleted++;
		back += tier_of(&bed, i) >= 0;
	}
	printf("  %u deleted after a hint\n", deleted);
	CU_ASSERT(deleted > 1000);
	CU_ASSERT_EQUAL(back, 0);
	CU_ASSERT_EQUAL(thermo_settle(bed.cache, NO_LIMIT), THERMO_OK);
	CU_ASSERT_EQUAL(bed_count(bed.space, 60000, LEN), 60000 - deleted);
	bed_end(&bed);
}

static void hint_of_unknown_keys_is_ok_and_of_bad_ones_is_refused(void)
{
	struct bed bed;
	const void *keys[2] = {"nobody", "b"};
	size_t lens[2] = {6, 0};
	make(&bed, true);
	CU_ASSERT_EQUAL(thermo_hint(bed.space, keys, lens, 1), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_hint(bed.space, keys, lens, 2), -EINVAL);
	CU_ASSERT_EQUAL(thermo_hint(bed.space, NULL, NULL, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_hint(bed.space, NULL, lens, 1), -EINVAL);
	CU_ASSERT_EQUAL(thermo_hint(NULL, keys, lens, 1), -EINVAL);
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(use_often_brings_to_dram_and_stays),
		SUITE_CASE(put_of_new_keys_moves_nothing),
		SUITE_CASE(hint_in_a_full_cache_brings_all_to_dram),
		SUITE_CASE(hint_of_what_is_being_demoted_then_delete_stays_deleted),
		SUITE_CASE(hint_of_unknown_keys_is_ok_and_of_bad_ones_is_refused),
	};
	return suite_run("engine_place", NULL, NULL, cases, SUITE_COUNT(cases));
}
