/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of the cold tier that cannot be read: the keys that they held are lost, and said to be; they are neither missing
 * nor back in an older version, and can be written and deleted again. */
#include "tests/tiers/bed.h"

#include <fcntl.h>
#include <sys/stat.h>

#define KEYS 30000u
#define LEN 700u
#define PAGE ((size_t)4096)

static size_t read_key(struct bed *bed, uint32_t number, int *rc)
{
	char key[32], value[LEN];
	size_t len = 0;
	*rc = thermo_get(bed->space, key, bed_key(number, key), value, sizeof(value), &len);
	return len;
}

/* Spoils every page of the segments but the first and the last: DRAM has what else is read of them. */
static void spoil(const struct bed *bed)
{
	char page[PAGE];
	unsigned files = 0;
	DIR *dir = opendir(bed->scratch.path);
	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	memset(page, 0x5a, sizeof(page));
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st;
		if (!strstr(entry->d_name, ".seg"))
			continue;
		int fd = openat(dirfd(dir), entry->d_name, O_WRONLY);
		CU_ASSERT_FATAL(fd >= 0 && !fstat(fd, &st));
		for (off_t at = (off_t)PAGE; at < st.st_size - (off_t)PAGE; at += (off_t)PAGE)
			CU_ASSERT_EQUAL(pwrite(fd, page, PAGE, at), (ssize_t)PAGE);
		CU_ASSERT_EQUAL(fsync(fd), 0);
		close(fd);
		files++;
	}
	closedir(dir);
	CU_ASSERT(files > 0);
}

/* A key whose only readable copy was in a block that is gone by now. */
static uint32_t find_lost(struct bed *bed)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		int rc;
		read_key(bed, i, &rc);
		if (rc == THERMO_LOST)
			return i;
	}
	CU_FAIL_FATAL("no key was lost");
	return 0;
}

static void lost_open(struct bed *bed, bool durable)
{
	struct thermo_space_options options;
	bed_init(bed, false, true);
	bed->options.background_threads = 0; /* nothing moves but what the test moves */
	if (bed_open(bed))
		CU_FAIL_FATAL("the cache does not open");
	thermo_space_options_init(&options);
	options.durability = THERMO_DURABLE;
	options.sync = THERMO_WRITTEN;
	if (durable && thermo_space_open(bed->cache, "durable", &options, &bed->space, &bed->error))
		CU_FAIL_FATAL("the durable space does not open");
	for (unsigned round = 0; round < 2; round++) { /* so that there are older versions below */
		for (uint32_t i = 0; i < KEYS; i++) {
			CU_ASSERT_EQUAL_FATAL(bed_put(bed->space, i, i + 1 + round, LEN), THERMO_OK);
			thermo_work(bed->cache);
		}
	}
	spoil(bed);
}

static void get_from_a_bad_block_is_lost(void)
{
	struct bed bed;
	uint32_t lost = 0, there = 0, other = 0;
	lost_open(&bed, false);
	for (uint32_t i = 0; i < KEYS; i++) {
		int rc = bed_check(bed.space, i, i + 2, LEN);
		lost += rc == THERMO_LOST;
		there += rc == THERMO_OK;
		other += rc != THERMO_LOST && rc != THERMO_OK; /* a miss, an older version, an error */
	}
	CU_ASSERT_EQUAL(other, 0);
	CU_ASSERT(lost > KEYS / 4);
	CU_ASSERT(there > 0); /* in memory */
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT_EQUAL(s.lost, lost);
	CU_ASSERT_EQUAL(s.misses, 0);
	bed_end(&bed);
}

static void get_from_a_bad_block_of_a_durable_space_is_an_error(void)
{
	struct bed bed;
	uint32_t errors = 0, there = 0, other = 0;
	lost_open(&bed, true);
	for (uint32_t i = 0; i < KEYS; i++) {
		int rc = bed_check(bed.space, i, i + 2, LEN);
		errors += rc == -EIO;
		there += rc == THERMO_OK;
		other += rc != -EIO && rc != THERMO_OK; /* a miss, an older version */
	}
	CU_ASSERT_EQUAL(other, 0);
	CU_ASSERT(errors > KEYS / 4);
	CU_ASSERT(there > 0);
	struct thermo_stats s = bed_stats(&bed);
	CU_ASSERT_EQUAL(s.errors, errors);
	CU_ASSERT_EQUAL(s.lost, 0);
	bed_end(&bed);
}

static void calls_on_a_lost_key_say_so_and_writes_go_through(void)
{
	struct bed bed;
	char key[32], value[LEN];
	lost_open(&bed, false);
	uint32_t n = find_lost(&bed);
	size_t len = bed_key(n, key);
	uint64_t version = 0;
	struct thermo_ref ref;
	CU_ASSERT_EQUAL(thermo_exists(bed.space, key, len, NULL), THERMO_LOST);
	CU_ASSERT_EQUAL(thermo_touch(bed.space, key, len, 1000), THERMO_LOST);
	CU_ASSERT_EQUAL(thermo_remove(bed.space, key, len), THERMO_LOST);
	CU_ASSERT_EQUAL(thermo_get_ref(bed.space, key, len, &ref), THERMO_LOST);
	CU_ASSERT_EQUAL(thermo_cas(bed.space, key, len, "x", 1, 0, 0, &version), THERMO_LOST);
	struct thermo_request r = {.space = bed.space, .key = key, .key_len = (uint32_t)len,
				   .value = value, .capacity = sizeof(value)};
	CU_ASSERT_EQUAL(thermo_get_batch(&r, 1, -1), THERMO_OK);
	CU_ASSERT_EQUAL(r.status, THERMO_LOST);
	CU_ASSERT_EQUAL(bed_put(bed.space, n, 99, LEN), THERMO_OK);
	CU_ASSERT_EQUAL(bed_check(bed.space, n, 99, LEN), THERMO_OK);
	n = find_lost(&bed);
	CU_ASSERT_EQUAL(thermo_delete(bed.space, key, bed_key(n, key)), THERMO_OK);
	CU_ASSERT_EQUAL(bed_check(bed.space, n, 0, LEN), THERMO_MISS);
	/* The same in a space that has large values, where a write looks at what it replaces. */
	char *large = calloc(1, (size_t)300 << 10);
	CU_ASSERT_PTR_NOT_NULL_FATAL(large);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "large", 5, large, (size_t)300 << 10, 0), THERMO_OK);
	n = find_lost(&bed);
	CU_ASSERT_EQUAL(bed_put(bed.space, n, 98, LEN), THERMO_OK);
	CU_ASSERT_EQUAL(bed_check(bed.space, n, 98, LEN), THERMO_OK);
	n = find_lost(&bed);
	len = bed_key(n, key);
	CU_ASSERT_EQUAL(thermo_put(bed.space, key, len, large, (size_t)300 << 10, 0), THERMO_OK);
	n = find_lost(&bed);
	CU_ASSERT_EQUAL(thermo_delete(bed.space, key, bed_key(n, key)), THERMO_OK);
	free(large);
	bed_end(&bed);
}

static void iteration_over_a_bad_block_is_an_error(void)
{
	struct bed bed;
	struct thermo_iter *iter;
	struct thermo_item item;
	int rc;
	lost_open(&bed, false);
	CU_ASSERT_EQUAL_FATAL(thermo_iter_open(bed.space, NULL, 0, &iter), 0);
	while ((rc = thermo_iter_next(iter, &item)) == THERMO_OK)
		;
	CU_ASSERT_EQUAL(rc, -EIO);
	CU_ASSERT_EQUAL(thermo_iter_next(iter, &item), -EIO); /* it does not go on behind it */
	CU_ASSERT_EQUAL(thermo_iter_close(&iter), 0);
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(get_from_a_bad_block_is_lost),
		SUITE_CASE(get_from_a_bad_block_of_a_durable_space_is_an_error),
		SUITE_CASE(calls_on_a_lost_key_say_so_and_writes_go_through),
		SUITE_CASE(iteration_over_a_bad_block_is_an_error),
	};
	return suite_run("lost", NULL, NULL, cases, SUITE_COUNT(cases));
}
