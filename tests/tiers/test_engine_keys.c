/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on one key: values and keys of every size, time-to-live, versions, refs. */
#include "tests/tiers/bed.h"

#include <inttypes.h>

/* Each case runs on a cache without and with a cold tier. */
static void in_both(void (*run)(struct bed *bed))
{
	for (int cold = 0; cold < 2; cold++) {
		struct bed bed;
		bed_make(&bed, true, cold);
		run(&bed);
		bed_end(&bed);
	}
}

/* All of memory to the tiers below (without a cold tier: as far as it goes). */
static void push_down(struct bed *bed)
{
	CU_ASSERT_EQUAL(thermo_drain(bed->cache, THERMO_HOT, INT64_C(10000000000), NULL), 0);
	if (bed->cold) {
		CU_ASSERT_EQUAL(thermo_drain(bed->cache, THERMO_WARM, INT64_C(10000000000), NULL),
				0);
		/* A drained DRAM keeps what its least size holds: newer records push that down. */
		for (uint32_t i = 0; i < 1600; i++)
			bed_put(bed->space, 900000 + i, 1, 10000);
	}
}

static enum thermo_tier tier_of(struct thermo_space *space, const char *key)
{
	struct thermo_info info;
	if (thermo_exists(space, key, strlen(key), &info) != THERMO_OK)
		return (enum thermo_tier)99;
	return info.tier;
}

/* ---- Sizes ---- */

static const size_t sizes[] = {0,     1,     7,     8,     9,      31,     32,    63,
			       64,    65,    255,   256,   257,    4095,   4096,  16383,
			       16384, 16385, 65535, 65536, 100000, 262143, 262144};

static void sizes_all_come_back(struct bed *bed)
{
	unsigned bad = 0;
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < SUITE_COUNT(sizes); i++) {
			uint64_t seed = (uint64_t)(round + 1) * 1000 + i;
			bad += bed_put(bed->space, i, seed, sizes[i]) != THERMO_OK;
			bad += bed_check(bed->space, i, seed, sizes[i]) != THERMO_OK;
		}
		for (uint32_t i = 0; i < SUITE_COUNT(sizes); i++)
			bad += bed_check(bed->space, i, (uint64_t)(round + 1) * 1000 + i,
					 sizes[i]) != THERMO_OK;
	}
	CU_ASSERT_EQUAL(bad, 0);
	push_down(bed);
	for (uint32_t i = 0; i < SUITE_COUNT(sizes); i++)
		bad += bed_check(bed->space, i, 3000 + i, sizes[i]) != THERMO_OK;
	CU_ASSERT_EQUAL(bad, 0);
}

static void put_get_every_size_comes_back(void)
{
	in_both(sizes_all_come_back);
}

static void keys_all_lengths(struct bed *bed)
{
	char key[THERMO_KEY_MAX + 1], value[16];
	size_t len;
	unsigned bad = 0;
	memset(key, 'k', sizeof(key));
	for (size_t n = 1; n <= THERMO_KEY_MAX; n++)
		bad += thermo_put(bed->space, key, n, &n, sizeof(n), 0) != THERMO_OK;
	for (int round = 0; round < 2; round++) {
		for (size_t n = 1; n <= THERMO_KEY_MAX; n++) {
			size_t got = 0;
			bad += thermo_get(bed->space, key, n, &got, sizeof(got), &len) != THERMO_OK;
			bad += got != n || len != sizeof(n);
		}
		push_down(bed);
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_EQUAL(thermo_put(bed->space, key, 0, "v", 1, 0), -EINVAL);
	CU_ASSERT_EQUAL(thermo_put(bed->space, key, THERMO_KEY_MAX + 1, "v", 1, 0), -EINVAL);
	CU_ASSERT_EQUAL(thermo_put(bed->space, NULL, 3, "v", 1, 0), -EINVAL);
	CU_ASSERT_EQUAL(thermo_put(NULL, key, 3, "v", 1, 0), -EINVAL);
	CU_ASSERT_EQUAL(thermo_put(bed->space, key, 3, NULL, 1, 0), -EINVAL);
	CU_ASSERT_EQUAL(thermo_put(bed->space, key, 3, "v", 1, -2), -EINVAL);
	CU_ASSERT_EQUAL(thermo_put(bed->space, key, 3, "v", (size_t)THERMO_VALUE_MAX + 1, 0),
			-EINVAL);
	CU_ASSERT_EQUAL(thermo_get(bed->space, key, 0, value, 16, &len), -EINVAL);
	CU_ASSERT_EQUAL(thermo_get(bed->space, key, THERMO_KEY_MAX + 1, value, 16, &len), -EINVAL);
	CU_ASSERT_EQUAL(thermo_get(bed->space, key, (size_t)1 << 40, value, 16, &len), -EINVAL);
	CU_ASSERT_EQUAL(thermo_get(bed->space, key, 3, NULL, 16, &len), -EINVAL);
	CU_ASSERT_EQUAL(thermo_delete(bed->space, key, 0), -EINVAL);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, NULL, 1, NULL), -EINVAL);
}

static void put_get_every_key_length_comes_back(void)
{
	in_both(keys_all_lengths);
}

static void short_buffers(struct bed *bed)
{
	char buffer[100], key[32];
	size_t len = 0, copied, wrong, key_len = bed_key(5, key);
	CU_ASSERT_EQUAL(bed_put(bed->space, 5, 5, 60), THERMO_OK);
	for (int round = 0; round < 2; round++) {
		CU_ASSERT_EQUAL(thermo_get(bed->space, key, key_len, buffer, 100, &len), THERMO_OK);
		CU_ASSERT_EQUAL(len, 60);
		CU_ASSERT_EQUAL(thermo_get(bed->space, key, key_len, buffer, 60, NULL), THERMO_OK);
		memset(buffer, 'z', sizeof(buffer));
		CU_ASSERT_EQUAL(thermo_get(bed->space, key, key_len, buffer, 59, &len),
				THERMO_TRUNCATED);
		CU_ASSERT_EQUAL(len, 60);
		CU_ASSERT(value_is(buffer, 0, 59, 5, &wrong));
		CU_ASSERT_EQUAL(buffer[59], 'z');
		CU_ASSERT_EQUAL(thermo_get(bed->space, key, key_len, NULL, 0, &len),
				THERMO_TRUNCATED);
		CU_ASSERT_EQUAL(len, 60);
		CU_ASSERT_EQUAL(
			thermo_get_range(bed->space, key, key_len, 50, buffer, 100, &copied, &len),
			THERMO_OK);
		CU_ASSERT_EQUAL(copied, 10);
		CU_ASSERT(value_is(buffer, 50, 10, 5, &wrong));
		CU_ASSERT_EQUAL(
			thermo_get_range(bed->space, key, key_len, 60, buffer, 100, &copied, &len),
			THERMO_OK);
		CU_ASSERT_EQUAL(copied, 0);
		CU_ASSERT_EQUAL(thermo_get_range(bed->space, key, key_len, UINT64_MAX, buffer, 100,
						 &copied, &len),
				THERMO_OK);
		CU_ASSERT_EQUAL(copied, 0);
		CU_ASSERT_EQUAL(thermo_get(bed->space, "none", 4, buffer, 100, &len), THERMO_MISS);
		CU_ASSERT_EQUAL(len, 0);
		push_down(bed);
	}
}

static void get_short_buffer_is_truncated(void)
{
	in_both(short_buffers);
}

static void large_values(struct bed *bed)
{
	const size_t large = (size_t)3 * MIB + 12345;
	char *value = malloc(large), *got = malloc(large);
	size_t len = 0, copied = 0, wrong;
	CU_ASSERT_FATAL(value && got);
	value_fill(value, large, 77);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "large", 5, value, large, 0), THERMO_OK);
	for (int round = 0; round < 2; round++) {
		CU_ASSERT_EQUAL(thermo_get(bed->space, "large", 5, got, large, &len), THERMO_OK);
		CU_ASSERT_EQUAL(len, large);
		CU_ASSERT(value_is(got, 0, large, 77, &wrong));
		for (uint64_t at = 0; at < large; at += 400001) {
			CU_ASSERT_EQUAL(thermo_get_range(bed->space, "large", 5, at, got, 50000,
							 &copied, &len),
					large - at > 50000 ? THERMO_TRUNCATED : THERMO_OK);
			CU_ASSERT(value_is(got, at, copied, 77, &wrong));
		}
		if (bed->cold)
			push_down(bed);
	}
	struct thermo_info info;
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "large", 5, &info), THERMO_OK);
	CU_ASSERT_EQUAL(info.value_len, large);
	struct thermo_ref ref;
	CU_ASSERT_EQUAL(thermo_get_ref(bed->space, "large", 5, &ref), -EFBIG);
	/* Overwritten by a small one and back, then deleted: the chunks go, too. */
	CU_ASSERT_EQUAL(thermo_put(bed->space, "large", 5, "small", 5, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_get(bed->space, "large", 5, got, large, &len), THERMO_OK);
	CU_ASSERT_EQUAL(len, 5);
	value_fill(value, large, 78);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "large", 5, value, large - 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_get(bed->space, "large", 5, got, large, &len), THERMO_OK);
	CU_ASSERT(len == large - 1 && value_is(got, 0, len, 78, &wrong));
	CU_ASSERT_EQUAL(thermo_remove(bed->space, "large", 5), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_get(bed->space, "large", 5, got, large, &len), THERMO_MISS);
	free(value);
	free(got);
}

static void put_get_large_value_ranges_come_back(void)
{
	in_both(large_values);
}

static void touch_large_value_with_ttl_lives_longer(void)
{
	struct bed bed;
	size_t len = 0, wrong;
	char *value = malloc(MIB);
	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	bed_make(&bed, true, true);
	value_fill(value, MIB, 5);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "large", 5, value, MIB, 1000), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_touch(bed.space, "large", 5, 100000), THERMO_OK);
	atomic_fetch_add(&bed.clock_ms, 5000);
	push_down(&bed);
	CU_ASSERT_EQUAL(thermo_get(bed.space, "large", 5, value, MIB, &len), THERMO_OK);
	CU_ASSERT(len == MIB && value_is(value, 0, MIB, 5, &wrong));
	CU_ASSERT_EQUAL(thermo_touch(bed.space, "large", 5, THERMO_TTL_NONE), THERMO_OK);
	atomic_fetch_add(&bed.clock_ms, 1000000);
	push_down(&bed);
	CU_ASSERT_EQUAL(thermo_get(bed.space, "large", 5, value, MIB, &len), THERMO_OK);
	free(value);
	bed_end(&bed);
}

/* The greatest value that there may be, once, in a cache that has room for it. */
static void put_get_greatest_value_comes_back(void)
{
	struct bed bed;
	size_t len = 0, wrong;
	if (getenv("THERMO_TEST_SMALL")) {
		suite_skip("THERMO_TEST_SMALL is set: little memory");
		return;
	}
	bed_init(&bed, true, false);
	bed.options.dram_bytes = 360 * MIB;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	char *value = malloc(THERMO_VALUE_MAX);
	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	value_fill(value, THERMO_VALUE_MAX, 9);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "g", 1, value, THERMO_VALUE_MAX, 0), THERMO_OK);
	memset(value, 0, THERMO_VALUE_MAX);
	CU_ASSERT_EQUAL(thermo_get(bed.space, "g", 1, value, THERMO_VALUE_MAX, &len), THERMO_OK);
	CU_ASSERT(len == THERMO_VALUE_MAX && value_is(value, 0, len, 9, &wrong));
	free(value);
	bed_end(&bed);
}

/* ---- Overwriting and removing ---- */

static void overwrites(struct bed *bed)
{
	unsigned bad = 0;
	for (uint32_t round = 0; round < 3000; round++) {
		uint32_t k = round % 7;
		bad += bed_put(bed->space, k, round + 1, 1 + round % 900) != THERMO_OK;
		bad += bed_check(bed->space, k, round + 1, 1 + round % 900) != THERMO_OK;
		if (round % 1000 == 999)
			push_down(bed);
	}
	for (uint32_t k = 0; k < 7; k++)
		bad += thermo_delete(bed->space, "key-00000000", 12) != THERMO_OK;
	CU_ASSERT_EQUAL(bed_check(bed->space, 0, 1, 1), THERMO_MISS);
	CU_ASSERT_EQUAL(bad, 0);
}

static void put_over_a_key_gives_the_last(void)
{
	in_both(overwrites);
}

static void removals(struct bed *bed)
{
	CU_ASSERT_EQUAL(thermo_delete(bed->space, "a", 1), THERMO_OK); /* blind */
	CU_ASSERT_EQUAL(thermo_remove(bed->space, "a", 1), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "a", 1, "1", 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_remove(bed->space, "a", 1), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_remove(bed->space, "a", 1), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "a", 1, "2", 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "b", 1, "2", 1, 1000), THERMO_OK);
	push_down(bed);
	atomic_fetch_add(&bed->clock_ms, 2000);
	CU_ASSERT_EQUAL(thermo_remove(bed->space, "b", 1), THERMO_MISS); /* it has expired */
	CU_ASSERT_EQUAL(thermo_remove(bed->space, "a", 1), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "a", 1, NULL), THERMO_MISS);
	push_down(bed);
	CU_ASSERT_EQUAL(thermo_remove(bed->space, "a", 1), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "a", 1, NULL), THERMO_MISS);
}

static void remove_in_every_tier_says_what_was_there(void)
{
	in_both(removals);
}

static void erase_in_every_tier_is_gone(void)
{
	struct bed bed;
	bed_make(&bed, true, true);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "hot", 3, "x", 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_erase(bed.space, "hot", 3, -1), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "hot", 3, NULL), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "cold", 4, "x", 1, 0), THERMO_OK);
	push_down(&bed);
	CU_ASSERT_EQUAL(tier_of(bed.space, "cold"), THERMO_COLD);
	CU_ASSERT_EQUAL(thermo_erase(bed.space, "cold", 4, -1), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "cold", 4, NULL), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_erase(bed.space, "never", 5, -1), THERMO_OK);
	/* It can be written again. */
	CU_ASSERT_EQUAL(thermo_put(bed.space, "cold", 4, "y", 1, 0), THERMO_OK);
	push_down(&bed);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "cold", 4, NULL), THERMO_OK);
	bed_end(&bed);
}

/* ---- Time-to-live ---- */

static void expiries(struct bed *bed)
{
	struct thermo_info info;
	uint64_t now = bed->clock_ms;
	CU_ASSERT_EQUAL(thermo_put(bed->space, "brief", 5, "x", 1, 100), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "long", 4, "x", 1, 10000), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "ever", 4, "x", 1, THERMO_TTL_NONE), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_put(bed->space, "most", 4, "x", 1, INT64_MAX), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "brief", 5, &info), THERMO_OK);
	CU_ASSERT_EQUAL(info.expires_ms, now + 100);
	push_down(bed);
	bed->clock_ms = now + 99;
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "brief", 5, NULL), THERMO_OK);
	bed->clock_ms = now + 100;
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "brief", 5, NULL), THERMO_MISS);
	bed->clock_ms = now + 50; /* a step back is not followed */
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "brief", 5, NULL), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_touch(bed->space, "brief", 5, 1000), THERMO_MISS);
	bed->clock_ms = now + 9000;
	CU_ASSERT_EQUAL(thermo_touch(bed->space, "long", 4, 5000), THERMO_OK);
	bed->clock_ms = now + 13999;
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "long", 4, &info), THERMO_OK);
	CU_ASSERT_EQUAL(info.expires_ms, now + 14000);
	bed->clock_ms = now + 14000;
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "long", 4, &info), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_touch(bed->space, "ever", 4, 10), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_touch(bed->space, "ever", 4, THERMO_TTL_NONE), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_touch(bed->space, "ever", 4, -7), -EINVAL);
	bed->clock_ms = now + UINT64_C(100000000000);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "ever", 4, NULL), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "most", 4, NULL), THERMO_OK);
	/* An expired key can be had again. */
	CU_ASSERT_EQUAL(thermo_put(bed->space, "brief", 5, "y", 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "brief", 5, NULL), THERMO_OK);
}

static void put_with_ttl_expires_to_the_millisecond(void)
{
	in_both(expiries);
}

static void put_with_ttl_over_a_cold_version_does_not_uncover_it(void)
{
	struct bed bed;
	bed_make(&bed, true, true);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "k", 1, "old", 3, 0), THERMO_OK);
	push_down(&bed);
	CU_ASSERT_EQUAL(tier_of(bed.space, "k"), THERMO_COLD);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "k", 1, "new", 3, 100), THERMO_OK);
	bed.clock_ms += 1000;
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "k", 1, NULL), THERMO_MISS);
	push_down(&bed);
	push_down(&bed);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "k", 1, NULL), THERMO_MISS);
	bed_reopen(&bed);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "k", 1, NULL), THERMO_MISS);
	bed_end(&bed);
}

static void put_expired_records_give_their_room_back(void)
{
	struct bed bed;
	bed_make(&bed, false, false);
	char value[4000] = {0}, key[32];
	unsigned bad = 0;
	for (uint32_t i = 0; i < 1500; i++)
		bad += thermo_put(bed.space, key, bed_key(i, key), value, sizeof(value), 1000) != 0;
	bed.clock_ms += 2000;
	struct thermo_stats s = bed_stats(&bed);
	/* By itself, however long that takes here. */
	BED_AWAIT((s = bed_stats(&bed)).tier[THERMO_HOT].records_expired >= 1000);
	CU_ASSERT_EQUAL(bad, 0);
	bed_end(&bed);
}

/* ---- Versions ---- */

static void versions(struct bed *bed)
{
	uint64_t v1 = 0, v2 = 0, v3 = 0;
	struct thermo_info info;
	char value[8];
	size_t len;
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "1", 1, 0, 5, &v1), THERMO_CONFLICT);
	CU_ASSERT_EQUAL(v1, 0);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "1", 1, 0, 0, &v1), THERMO_OK);
	CU_ASSERT(v1 > 0);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "2", 1, 0, 0, &v2), THERMO_CONFLICT);
	CU_ASSERT_EQUAL(v2, v1);
	push_down(bed);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "2", 1, 0, v1 + 1, &v2), THERMO_CONFLICT);
	CU_ASSERT_EQUAL(v2, v1);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "2", 1, 0, v1, &v2), THERMO_OK);
	CU_ASSERT(v2 > v1);
	CU_ASSERT_EQUAL(thermo_get(bed->space, "k", 1, value, 8, &len), THERMO_OK);
	CU_ASSERT_EQUAL(value[0], '2');
	CU_ASSERT_EQUAL(thermo_put(bed->space, "k", 1, "3", 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "4", 1, 0, v2, &v3), THERMO_CONFLICT);
	CU_ASSERT(v3 > v2);
	CU_ASSERT_EQUAL(thermo_touch(bed->space, "k", 1, 1000), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed->space, "k", 1, &info), THERMO_OK);
	CU_ASSERT(info.version > v3);
	bed->clock_ms += 5000; /* expired: as if there were none */
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "5", 1, 0, info.version, NULL),
			THERMO_CONFLICT);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "5", 1, 0, 0, &v1), THERMO_OK);
	CU_ASSERT(v1 > info.version);
	CU_ASSERT_EQUAL(thermo_delete(bed->space, "k", 1), THERMO_OK);
	push_down(bed);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "6", 1, 0, v1, &v2), THERMO_CONFLICT);
	CU_ASSERT_EQUAL(v2, 0);
	CU_ASSERT_EQUAL(thermo_cas(bed->space, "k", 1, "6", 1, 0, 0, &v2), THERMO_OK);
	CU_ASSERT(v2 > v1);
}

static void cas_every_state_keeps_its_rules(void)
{
	in_both(versions);
}

static void version_moving_between_tiers_stays(void)
{
	struct bed bed;
	struct thermo_info before, after;
	bed_make(&bed, true, true);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "k", 1, "1", 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "k", 1, &before), THERMO_OK);
	CU_ASSERT_EQUAL(before.tier, THERMO_HOT);
	bed.clock_ms += 60000;
	push_down(&bed);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "k", 1, &after), THERMO_OK);
	CU_ASSERT_EQUAL(after.tier, THERMO_COLD);
	CU_ASSERT_EQUAL(after.version, before.version);
	CU_ASSERT(after.age_ms >= 50000 && after.age_ms <= 70000);
	char value[4];
	CU_ASSERT_EQUAL(thermo_get(bed.space, "k", 1, value, 4, NULL), THERMO_OK); /* comes up */
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "k", 1, &after), THERMO_OK);
	CU_ASSERT_EQUAL(after.tier, THERMO_HOT);
	CU_ASSERT_EQUAL(after.version, before.version);
	CU_ASSERT(after.age_ms >= 50000);
	bed_end(&bed);
}

/* ---- Overwriting in place ---- */

static void overwrite_takes_no_room_and_counts(void)
{
	struct bed bed;
	struct thermo_info info;
	char key[32];
	size_t key_len = bed_key(5000, key);
	uint64_t version = 0;
	bed_make(&bed, false, false);
	bed_fill(bed.space, 2000, 100);
	struct thermo_stats before = bed_stats(&bed);
	for (uint32_t i = 0; i < 1500000; i++) { /* beyond what a record's delta can count */
		CU_ASSERT_EQUAL_FATAL(thermo_put(bed.space, key, key_len, &i, sizeof(i), 0),
				      THERMO_OK);
		if (i % 50000 == 0) {
			CU_ASSERT_EQUAL(thermo_exists(bed.space, key, key_len, &info), THERMO_OK);
			CU_ASSERT(info.version > version);
			CU_ASSERT_EQUAL(
				thermo_cas(bed.space, key, key_len, "late", 4, 0, version, NULL),
				THERMO_CONFLICT);
			version = info.version;
		}
	}
	for (uint32_t i = 0; i < 2000; i++)
		CU_ASSERT_EQUAL(bed_put(bed.space, i, i + 1, 100), THERMO_OK);
	struct thermo_stats after = bed_stats(&bed);
	CU_ASSERT(after.tier[THERMO_HOT].record_bytes <
		  before.tier[THERMO_HOT].record_bytes + 100000);
	CU_ASSERT_EQUAL(after.puts - before.puts, 1500000 + 2000);
	uint32_t last = 0;
	size_t len;
	CU_ASSERT_EQUAL(thermo_get(bed.space, key, key_len, &last, sizeof(last), &len), THERMO_OK);
	CU_ASSERT_EQUAL(last, 1499999);
	CU_ASSERT_EQUAL(bed_count(bed.space, 2000, 100), 2000);
	bed_end(&bed);
}

static void overwrite_makes_the_record_young(void)
{
	struct bed bed;
	struct thermo_info info;
	char key[32];
	size_t key_len = bed_key(1, key);
	bed_init(&bed, false, false);
	bed.options.background_threads = 0;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	CU_ASSERT_EQUAL(bed_put(bed.space, 1, 5, 100), THERMO_OK);
	bed.clock_ms += 3600000;
	CU_ASSERT(thermo_work(bed.cache) >= 0);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, key, key_len, &info), THERMO_OK);
	CU_ASSERT(info.age_ms >= 3600000);
	CU_ASSERT_EQUAL(bed_put(bed.space, 1, 6, 100), THERMO_OK);
	bed.clock_ms += 60000;
	CU_ASSERT_EQUAL(thermo_exists(bed.space, key, key_len, &info), THERMO_OK);
	CU_ASSERT(info.age_ms >= 60000 && info.age_ms <= 62000);
	bed_end(&bed);
}

static void overwrite_under_a_ref_leaves_it(void)
{
	struct bed bed;
	struct thermo_ref ref;
	size_t wrong;
	char key[32];
	size_t key_len = bed_key(1, key);
	bed_make(&bed, false, false);
	for (uint32_t round = 0; round < 2; round++) {
		CU_ASSERT_EQUAL(bed_put(bed.space, 1, 5, 100), THERMO_OK);
		CU_ASSERT_EQUAL_FATAL(thermo_get_ref(bed.space, key, key_len, &ref), THERMO_OK);
		CU_ASSERT_EQUAL(bed_put(bed.space, 1, 6, 100), THERMO_OK);
		CU_ASSERT(value_is(ref.data, 0, 100, 5, &wrong));
		CU_ASSERT_EQUAL(bed_check(bed.space, 1, 6, 100), THERMO_OK);
		thermo_ref_release(&ref);
	}
	bed_end(&bed);
}

static void overwrite_in_a_batch_the_last_stands(void)
{
	struct bed bed;
	struct thermo_request r[64] = {{0}};
	uint32_t value[64];
	char key[64][32];
	bed_make(&bed, false, false);
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 64; i++) { /* old keys, new ones, and each twice */
			value[i] = round * 1000 + i;
			r[i].space = bed.space;
			r[i].key = key[i];
			r[i].key_len = (uint32_t)bed_key(i % 32 + round * (i % 5 == 0), key[i]);
			r[i].value = &value[i];
			r[i].value_len = sizeof(value[i]);
		}
		CU_ASSERT_EQUAL(thermo_put_batch(r, 64, -1), THERMO_OK);
		for (uint32_t i = 0; i < 64; i++) {
			uint32_t got = 0, last = i;
			size_t len;
			for (uint32_t j = i; j < 64; j++)
				if (r[j].key_len == r[i].key_len &&
				    !memcmp(key[j], key[i], r[i].key_len))
					last = j;
			CU_ASSERT_EQUAL(r[i].status, THERMO_OK);
			CU_ASSERT(r[last].version >= r[i].version);
			CU_ASSERT_EQUAL(thermo_get(bed.space, key[i], r[i].key_len, &got, 4, &len),
					THERMO_OK);
			CU_ASSERT_EQUAL(got, value[last]);
		}
	}
	bed_end(&bed);
}

/* ---- Refs ---- */

static void refs_stay(struct bed *bed)
{
	struct thermo_ref ref;
	size_t wrong;
	char key[32];
	size_t key_len = bed_key(1, key);
	CU_ASSERT_EQUAL(bed_put(bed->space, 1, 5, 4000), THERMO_OK);
	CU_ASSERT_EQUAL_FATAL(thermo_get_ref(bed->space, key, key_len, &ref), THERMO_OK);
	CU_ASSERT_EQUAL(ref.len, 4000);
	const void *data = ref.data;
	CU_ASSERT_EQUAL(bed_put(bed->space, 1, 6, 4000), THERMO_OK);
	CU_ASSERT(value_is(ref.data, 0, 4000, 5, &wrong));
	CU_ASSERT_EQUAL(thermo_delete(bed->space, key, key_len), THERMO_OK);
	for (uint32_t i = 100; i < 12000; i++) /* several times all of memory */
		CU_ASSERT_EQUAL(bed_put(bed->space, i % 5000, i, 4000), THERMO_OK);
	CU_ASSERT_PTR_EQUAL(ref.data, data);
	CU_ASSERT(value_is(ref.data, 0, 4000, 5, &wrong));
	struct thermo_stats s = bed_stats(bed);
	CU_ASSERT(s.tier[THERMO_HOT].pinned_bytes > 0);
	thermo_ref_release(&ref);
	CU_ASSERT_PTR_NULL(ref.data);
	s = bed_stats(bed);
	CU_ASSERT_EQUAL(s.tier[THERMO_HOT].pinned_bytes, 0);
	CU_ASSERT_EQUAL(thermo_get_ref(bed->space, "none", 4, &ref), THERMO_MISS);
	CU_ASSERT_EQUAL(thermo_get_ref(bed->space, "none", 4, NULL), -EINVAL);
}

static void ref_survives_overwrite_deletion_and_churn(void)
{
	in_both(refs_stay);
}

static void ref_of_a_cold_record_is_promoted(void)
{
	struct bed bed;
	struct thermo_ref ref;
	size_t wrong;
	bed_make(&bed, true, true);
	CU_ASSERT_EQUAL(bed_put(bed.space, 1, 5, 4000), THERMO_OK);
	push_down(&bed);
	CU_ASSERT_EQUAL(tier_of(bed.space, "key-00000001"), THERMO_COLD);
	CU_ASSERT_EQUAL_FATAL(thermo_get_ref(bed.space, "key-00000001", 12, &ref), THERMO_OK);
	CU_ASSERT(ref.len == 4000 && value_is(ref.data, 0, 4000, 5, &wrong));
	CU_ASSERT_EQUAL(tier_of(bed.space, "key-00000001"), THERMO_HOT);
	thermo_ref_release(&ref);
	bed_end(&bed);
}

/* Refs spread over memory: from some number on the answer is PIN_LIMIT; released, they can be had
 * again. */
static void ref_too_many_bytes_is_the_pin_limit(void)
{
	struct bed bed;
	static struct thermo_ref ref[2000];
	uint32_t held = 0, limited = 0;
	char key[32];
	size_t wrong;
	bed_make(&bed, false, false);
	bed_fill(bed.space, 1500, 4000);
	for (uint32_t i = 0; i < 1500; i++) {
		int rc = thermo_get_ref(bed.space, key, bed_key(i, key), &ref[held]);
		held += rc == THERMO_OK;
		limited += rc == THERMO_PIN_LIMIT;
		CU_ASSERT(rc == THERMO_OK || rc == THERMO_PIN_LIMIT || rc == THERMO_MISS);
	}
	CU_ASSERT(held > 50);
	CU_ASSERT(limited > 500);
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT(s.tier[THERMO_HOT].pinned_bytes <= s.tier[THERMO_HOT].cap_bytes / 10);
	/* The others can be written meanwhile. */
	for (uint32_t i = 5000; i < 10000; i++)
		CU_ASSERT_EQUAL(bed_put(bed.space, i, i, 4000), THERMO_OK);
	for (uint32_t i = 0; i < held; i++) {
		uint64_t seed;
		memcpy(&seed, ref[i].data, 8);
		CU_ASSERT(value_is(ref[i].data, 0, ref[i].len, seed, &wrong));
		thermo_ref_release(&ref[i]);
	}
	s = bed_stats(&bed);
	CU_ASSERT_EQUAL(s.tier[THERMO_HOT].pinned_bytes, 0);
	CU_ASSERT_EQUAL(thermo_get_ref(bed.space, key, bed_key(9999, key), &ref[0]), THERMO_OK);
	thermo_ref_release(&ref[0]);
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(put_get_every_size_comes_back),
		SUITE_CASE(put_get_every_key_length_comes_back),
		SUITE_CASE(get_short_buffer_is_truncated),
		SUITE_CASE(put_get_large_value_ranges_come_back),
		SUITE_CASE(touch_large_value_with_ttl_lives_longer),
		SUITE_CASE(put_get_greatest_value_comes_back),
		SUITE_CASE(put_over_a_key_gives_the_last),
		SUITE_CASE(remove_in_every_tier_says_what_was_there),
		SUITE_CASE(erase_in_every_tier_is_gone),
		SUITE_CASE(put_with_ttl_expires_to_the_millisecond),
		SUITE_CASE(put_with_ttl_over_a_cold_version_does_not_uncover_it),
		SUITE_CASE(put_expired_records_give_their_room_back),
		SUITE_CASE(cas_every_state_keeps_its_rules),
		SUITE_CASE(version_moving_between_tiers_stays),
		SUITE_CASE(overwrite_takes_no_room_and_counts),
		SUITE_CASE(overwrite_makes_the_record_young),
		SUITE_CASE(overwrite_under_a_ref_leaves_it),
		SUITE_CASE(overwrite_in_a_batch_the_last_stands),
		SUITE_CASE(ref_survives_overwrite_deletion_and_churn),
		SUITE_CASE(ref_of_a_cold_record_is_promoted),
		SUITE_CASE(ref_too_many_bytes_is_the_pin_limit),
	};
	return suite_run("engine_keys", NULL, NULL, cases, SUITE_COUNT(cases));
}
