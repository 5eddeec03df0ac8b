/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, options, spaces, closing, what survives, forks. */
#include "index/epoch.h"
#include "tests/tiers/bed.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Read by ThreadSanitizer: memkind holds more locks around a fork than it can count. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "detect_deadlocks=0";
}

/* ---- Options as text ---- */

static void options_parse_every_key_is_taken(void)
{
	struct thermo_options o;
	struct thermo_error e = {{0}};
	thermo_options_init(&o);
	int rc = thermo_options_parse(&o,
				      "# a comment\n"
				      "background_threads = 3 ; dram = 256M\n"
				      "dram_max=1G\r\n"
				      "dram_provider = node:0\n"
				      "warm = 512M@emulate:300,20 # and another\n"
				      "\n"
				      "warm_max = 2G\n"
				      "cold = /var/cache/x:3T\n"
				      "policy = lru; io = pread; heap = libc\n"
				      "put_wait_ms = 7\n"
				      "pin_percent = 20\n"
				      "move_bytes_per_s = 100M\n"
				      "cold_write_bytes_per_day = 1T\n"
				      "filter = 24M\n"
				      "index_buckets = 4096\n"
				      "huge_pages = 0\n",
				      &e);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_EQUAL(o.background_threads, 3);
	CU_ASSERT_EQUAL(o.dram_bytes, 256 * MIB);
	CU_ASSERT_EQUAL(o.dram_max_bytes, 1024 * MIB);
	CU_ASSERT_STRING_EQUAL(o.dram, "node:0");
	CU_ASSERT_EQUAL(o.warm_bytes, 512 * MIB);
	CU_ASSERT_STRING_EQUAL(o.warm, "emulate:300,20");
	CU_ASSERT_EQUAL(o.warm_max_bytes, 2048 * MIB);
	CU_ASSERT_STRING_EQUAL(o.cold_dir, "/var/cache/x");
	CU_ASSERT_EQUAL(o.cold_bytes, (uint64_t)3 << 40);
	CU_ASSERT_STRING_EQUAL(o.policy, "lru");
	CU_ASSERT_STRING_EQUAL(o.io, "pread");
	CU_ASSERT_STRING_EQUAL(o.heap, "libc");
	CU_ASSERT_EQUAL(o.put_wait_ms, 7);
	CU_ASSERT_EQUAL(o.pin_percent, 20);
	CU_ASSERT_EQUAL(o.move_bytes_per_s, 100 * MIB);
	CU_ASSERT_EQUAL(o.cold_write_bytes_per_day, (uint64_t)1 << 40);
	CU_ASSERT_EQUAL(o.filter_bytes, 24 * MIB);
	CU_ASSERT_EQUAL(o.index_buckets, 4096);
	CU_ASSERT_EQUAL(o.huge_pages, 0);
	thermo_options_free(&o);
	CU_ASSERT_PTR_NULL(o.policy);
}

static void options_parse_again_replaces_and_keeps_others(void)
{
	struct thermo_options o;
	thermo_options_init(&o);
	CU_ASSERT_EQUAL(thermo_options_parse(&o, "dram = 32M", NULL), 0);
	CU_ASSERT_EQUAL(thermo_options_parse(&o, "cold=/a:b:c", NULL), 0);
	CU_ASSERT_EQUAL(o.dram_bytes, 32 * MIB);
	CU_ASSERT_STRING_EQUAL(o.cold_dir, "/a:b:c"); /* no size behind the colon: a path */
	CU_ASSERT_EQUAL(thermo_options_parse(&o, "cold = none; warm = 0", NULL), 0);
	CU_ASSERT_PTR_NULL(o.cold_dir);
	CU_ASSERT_EQUAL(o.warm_bytes, 0);
	CU_ASSERT_PTR_NULL(o.warm);
	thermo_options_free(&o);
}

static void options_parse_strings_of_an_earlier_text_stay(void)
{
	struct thermo_options o;
	thermo_options_init(&o);
	CU_ASSERT_EQUAL(thermo_options_parse(&o, "policy = lru", NULL), 0);
	CU_ASSERT_EQUAL(thermo_options_parse(&o, "dram = 32M", NULL), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(o.policy);
	CU_ASSERT_STRING_EQUAL(o.policy, "lru");
	thermo_options_free(&o);
}

static void options_parse_bad_line_changes_nothing(void)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"dram = 1M\ndramm = 2M", "line 2"},
		{"dram", "line 1"},
		{"dram = ", "dram"},
		{"dram = 12Q", "12Q"},
		{"dram = -1", "dram"},
		{"dram = 99999999999999999999", "dram"},
		{"dram = 20000000T", "dram"},
		{"put_wait_ms = 5G", "put_wait_ms"},
		{"policy =", "policy"},
		{"warm = lots@dram", "warm"},
		{"cold =", "cold"},
		{"\n\n = 3", "line 3"},
		{"dram = 1M;; x = y", "\"x\""},
		{"dram = 5\r\x1b[2J", "5??[2J"}, /* one line, and nothing that a terminal would obey */
	};
	for (size_t i = 0; i < SUITE_COUNT(bad); i++) {
		struct thermo_options o, before;
		struct thermo_error e = {{0}};
		thermo_options_init(&o);
		before = o;
		CU_ASSERT_EQUAL(thermo_options_parse(&o, bad[i].text, &e), -EINVAL);
		CU_ASSERT_EQUAL(memcmp(&o, &before, sizeof(o)), 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.text, bad[i].says));
		if (!strstr(e.text, bad[i].says))
			printf("  \"%s\": %s\n", bad[i].text, e.text);
	}
}

/* ---- Opening ---- */

static void open_bad_options_says_which(void)
{
	static const struct {
		const char *text;
		int status;
		const char *says;
	} bad[] = {
		{"dram = 15M", -EINVAL, "dram"},
		{"dram = 20M; dram_max = 19M", -EINVAL, "dram_max"},
		{"warm = 7M@dram", -EINVAL, "warm"},
		{"warm = 16M@dram; warm_max = 15M", -EINVAL, "warm_max"},
		{"warm = 16M@tape", -EINVAL, "tape"},
		{"warm = 16M@node:77", 0, "node"},
		{"warm = 16M@file:/nowhere/at/all", 0, "/nowhere"},
		{"dram_provider = nude:0", -EINVAL, "nude"},
		{"pin_percent = 51", -EINVAL, "pin_percent"},
		{"background_threads = 65", -EINVAL, "background_threads"},
		{"policy = best", -EINVAL, "best"},
		{"io = carrier_pigeon", -EINVAL, "carrier"},
		{"heap = of_trouble", -EINVAL, "of_trouble"},
		{"dram = 1000T", -ENOMEM, "dram"},
		{"warm = 1000T@dram", -ENOMEM, "warm"},
		{"index_buckets = 1000M", -EINVAL, "dram"},
		{"cold = /nowhere/at/all", 0, "/nowhere"},
	};
	for (size_t i = 0; i < SUITE_COUNT(bad); i++) {
		struct thermo_options o;
		struct thermo_error e = {{0}};
		struct thermo *cache = NULL;
		thermo_options_init(&o);
		CU_ASSERT_EQUAL_FATAL(thermo_options_parse(&o, bad[i].text, &e), 0);
		int rc = thermo_open(&o, &cache, &e);
		bool well = rc < 0 && (!bad[i].status || rc == bad[i].status) &&
			    strstr(e.text, bad[i].says) && !cache;
		CU_ASSERT_TRUE(well);
		if (!well)
			printf("  \"%s\": %d: %s\n", bad[i].text, rc, e.text);
		if (cache)
			thermo_close(&cache, 0, NULL);
		thermo_options_free(&o);
	}
}

static void open_wrong_struct_size_is_refused(void)
{
	struct thermo_options o;
	struct thermo *cache = NULL;
	thermo_options_init(&o);
	o.size -= 8;
	CU_ASSERT_EQUAL(thermo_open(&o, &cache, NULL), -EINVAL);
	CU_ASSERT_EQUAL(thermo_open(NULL, &cache, NULL), -EINVAL);
	CU_ASSERT_EQUAL(thermo_open(&o, NULL, NULL), -EINVAL);
}

static void open_directory_that_is_a_file_or_in_use_is_refused(void)
{
	struct bed bed;
	struct thermo_error e = {{0}};
	struct thermo *second = NULL;
	bed_make(&bed, false, true);
	CU_ASSERT_EQUAL(thermo_open(&bed.options, &second, &e), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, bed.scratch.path));
	char file[400];
	snprintf(file, sizeof(file), "%s/plain", bed.scratch.path);
	int fd = open(file, O_CREAT | O_WRONLY, 0600);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	struct thermo_options o = bed.options;
	o.cold_dir = file;
	CU_ASSERT_EQUAL(thermo_open(&o, &second, &e), -ENOTDIR);
	CU_ASSERT_PTR_NULL(second);
	bed_end(&bed);
}

static void open_two_caches_are_independent(void)
{
	struct bed a, b;
	bed_make(&a, true, false);
	bed_make(&b, false, false);
	CU_ASSERT_EQUAL(bed_put(a.space, 1, 11, 100), THERMO_OK);
	CU_ASSERT_EQUAL(bed_check(b.space, 1, 11, 100), THERMO_MISS);
	CU_ASSERT_EQUAL(bed_check(a.space, 1, 11, 100), THERMO_OK);
	bed_end(&a);
	bed_end(&b);
}

/* ---- Closing ---- */

static void close_open_handles_is_busy(void)
{
	struct bed bed;
	struct thermo_ref ref;
	struct thermo_queue *queue;
	struct thermo_iter *iter;
	bed_make(&bed, true, false);
	CU_ASSERT_EQUAL(bed_put(bed.space, 1, 1, 100), THERMO_OK);
	char key[32];
	size_t len = bed_key(1, key);
	CU_ASSERT_EQUAL_FATAL(thermo_get_ref(bed.space, key, len, &ref), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_close(&bed.cache, 20000000, &bed.error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(bed.cache);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, "1 refs"));
	CU_ASSERT_EQUAL(bed_check(bed.space, 1, 1, 100), THERMO_OK); /* it stays usable */
	thermo_ref_release(&ref);
	thermo_ref_release(&ref); /* a second time does nothing */
	CU_ASSERT_EQUAL_FATAL(thermo_queue_open(bed.cache, &queue), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_close(&bed.cache, 0, &bed.error), -EBUSY);
	CU_ASSERT_EQUAL(thermo_queue_close(&queue), THERMO_OK);
	CU_ASSERT_EQUAL_FATAL(thermo_iter_open(bed.space, NULL, 0, &iter), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_close(&bed.cache, 0, &bed.error), -EBUSY);
	CU_ASSERT_EQUAL(thermo_iter_close(&iter), THERMO_OK);
	bed_end(&bed);
	CU_ASSERT_EQUAL(thermo_close(&bed.cache, 0, NULL), -EINVAL); /* NULL by now */
}

#define KEPT 3000u
#define KEPT_LEN 6000u

static void reopen_after_close_everything_is_there(void)
{
	struct bed bed;
	struct thermo_info before[3], after;
	bed_make(&bed, true, true);
	bed_fill(bed.space, KEPT, KEPT_LEN);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "ttl", 3, "x", 1, 60000), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "gone", 4, "x", 1, 0), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_delete(bed.space, "gone", 4), THERMO_OK);
	char key[32];
	for (uint32_t i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(thermo_exists(bed.space, key, bed_key(i * 1000, key), &before[i]), 0);
	for (int round = 0; round < 2; round++) {
		bed_reopen(&bed);
		CU_ASSERT_EQUAL(bed_count(bed.space, KEPT, KEPT_LEN), KEPT);
		CU_ASSERT_EQUAL(thermo_exists(bed.space, "gone", 4, NULL), THERMO_MISS);
		for (uint32_t i = 0; i < 3; i++) {
			CU_ASSERT_EQUAL(thermo_exists(bed.space, key, bed_key(i * 1000, key), &after),
					0);
			CU_ASSERT_EQUAL(after.version, before[i].version);
		}
	}
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "ttl", 3, NULL), THERMO_OK);
	atomic_fetch_add(&bed.clock_ms, 60000);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "ttl", 3, NULL), THERMO_MISS);
	bed_end(&bed);
}

static void reopen_with_less_memory_everything_is_there(void)
{
	struct bed bed;
	bed_make(&bed, true, true);
	bed_fill(bed.space, KEPT, KEPT_LEN);
	bed_close(&bed);
	bed.options.warm_bytes = 0;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, KEPT, KEPT_LEN), KEPT);
	bed_end(&bed);
}

static void reopen_settings_of_a_space_are_kept(void)
{
	struct bed bed;
	struct thermo_space_options o;
	struct thermo_space *space;
	struct thermo_info info;
	bed_make(&bed, false, true);
	thermo_space_options_init(&o);
	o.ttl_ms = 5000;
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "brief", &o, &space, &bed.error), 0);
	bed_reopen(&bed);
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "brief", NULL, &space, &bed.error), 0);
	CU_ASSERT_EQUAL(thermo_put(space, "k", 1, "v", 1, THERMO_TTL_DEFAULT), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(space, "k", 1, &info), THERMO_OK);
	CU_ASSERT_EQUAL(info.expires_ms, bed.clock_ms + 5000);
	bed_end(&bed);
}

/* ---- Crashes and forks ---- */

/* In a child: does what `what` says and ends without closing. */
static void in_crashing_child(struct bed *bed, void (*what)(struct bed *bed))
{
	fflush(stdout);
	pid_t child = fork();
	CU_ASSERT_FATAL(child >= 0);
	if (child == 0) {
		if (bed_open(bed))
			_exit(3);
		what(bed);
		_exit(0);
	}
	int status = 0;
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void overwrite_half(struct bed *bed)
{
	for (uint32_t i = 0; i < KEPT; i += 2)
		bed_put(bed->space, i, i + 5000000, KEPT_LEN);
	thermo_delete(bed->space, "key-00000001", 12);
	thermo_settle(bed->cache, 1000000000);
}

static void fill_and_settle(struct bed *bed)
{
	for (uint32_t i = 0; i < KEPT; i++)
		bed_put(bed->space, i, i + 1, KEPT_LEN);
	thermo_settle(bed->cache, 1000000000);
}

static void reopen_after_crash_starts_empty_never_stale(void)
{
	struct bed bed;
	if (EPOCH_TSAN) {
		suite_skip("ThreadSanitizer does not follow children that start threads");
		return;
	}
	bed_init(&bed, true, true);
	in_crashing_child(&bed, fill_and_settle);
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, KEPT, KEPT_LEN), 0);
	bed_fill(bed.space, KEPT, KEPT_LEN);
	CU_ASSERT_EQUAL(bed_count(bed.space, KEPT, KEPT_LEN), KEPT);
	bed_close(&bed);
	/* A clean state, then changes, then a crash: neither the old nor the new values. */
	in_crashing_child(&bed, overwrite_half);
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	uint32_t there = 0;
	char key[32];
	for (uint32_t i = 0; i < KEPT; i++)
		there += thermo_exists(bed.space, key, bed_key(i, key), NULL) != THERMO_MISS;
	CU_ASSERT_EQUAL(there, 0);
	struct thermo_iter *iter;
	struct thermo_item item;
	CU_ASSERT_EQUAL_FATAL(thermo_iter_open(bed.space, NULL, 0, &iter), 0);
	CU_ASSERT_EQUAL(thermo_iter_next(iter, &item), THERMO_MISS);
	thermo_iter_close(&iter);
	bed_end(&bed);
}

static void reopen_without_the_image_starts_empty(void)
{
	struct bed bed;
	char file[400];
	bed_make(&bed, true, true);
	bed_fill(bed.space, KEPT, KEPT_LEN);
	bed_close(&bed);
	snprintf(file, sizeof(file), "%s/memory.img", bed.scratch.path);
	CU_ASSERT_EQUAL(unlink(file), 0);
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, KEPT, KEPT_LEN), 0);
	char notice[2000];
	thermo_stats_json(bed.cache, notice, sizeof(notice));
	bed_end(&bed);
}

static void reopen_with_a_damaged_image_starts_empty(void)
{
	struct bed bed;
	char file[400];
	bed_make(&bed, true, true);
	bed_fill(bed.space, KEPT, KEPT_LEN);
	bed_close(&bed);
	snprintf(file, sizeof(file), "%s/memory.img", bed.scratch.path);
	int fd = open(file, O_RDWR);
	CU_ASSERT_FATAL(fd >= 0);
	struct stat st;
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	char byte;
	CU_ASSERT_EQUAL(pread(fd, &byte, 1, st.st_size / 2), 1);
	byte ^= 0x10;
	CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, st.st_size / 2), 1);
	close(fd);
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, KEPT, KEPT_LEN), 0);
	bed_end(&bed);
}

static void use_in_a_forked_child_is_refused(void)
{
	struct bed bed;
	struct thermo_ref ref;
	struct thermo_queue *queue;
	struct thermo_iter *iter;
	bed_make(&bed, true, false);
	CU_ASSERT_EQUAL(bed_put(bed.space, 1, 1, 100), THERMO_OK);
	CU_ASSERT_EQUAL_FATAL(thermo_queue_open(bed.cache, &queue), THERMO_OK);
	CU_ASSERT_EQUAL_FATAL(thermo_iter_open(bed.space, NULL, 0, &iter), THERMO_OK);
	fflush(stdout);
	pid_t child = fork();
	CU_ASSERT_FATAL(child >= 0);
	if (child == 0) {
		struct thermo_stats s = {.size = sizeof(s)};
		struct thermo_request r = {.space = bed.space, .key = "k", .key_len = 1};
		struct thermo_request *list[1] = {&r};
		struct thermo_item item;
		const void *key = "k";
		size_t one = 1;
		char c;
		unsigned bad = 0;
		bad += thermo_get(bed.space, "k", 1, &c, 1, NULL) != -ECHILD;
		bad += thermo_put(bed.space, "k", 1, "v", 1, 0) != -ECHILD;
		bad += thermo_delete(bed.space, "k", 1) != -ECHILD;
		bad += thermo_get_ref(bed.space, "k", 1, &ref) != -ECHILD;
		bad += thermo_exists(bed.space, "k", 1, NULL) != -ECHILD;
		bad += thermo_get_batch(&r, 1, -1) != -ECHILD;
		bad += thermo_submit(queue, list, 1) != -ECHILD;
		bad += thermo_poll(queue, list, 1, 0) != -ECHILD;
		bad += thermo_queue_close(&queue) != -ECHILD;
		bad += thermo_iter_next(iter, &item) != -ECHILD;
		bad += thermo_hint(bed.space, &key, &one, 1) != -ECHILD;
		bad += thermo_stats(bed.cache, &s) != -ECHILD;
		bad += thermo_work(bed.cache) != -ECHILD;
		bad += thermo_settle(bed.cache, 0) != -ECHILD;
		bad += thermo_space_drop(&bed.space) != -ECHILD;
		bad += thermo_resize(bed.cache, THERMO_HOT, 32 * MIB, 0, NULL) != -ECHILD;
		bad += thermo_close(&bed.cache, 0, NULL) != -ECHILD;
		_exit((int)bad);
	}
	int status = 0;
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
	CU_ASSERT_EQUAL(bed_check(bed.space, 1, 1, 100), THERMO_OK);
	thermo_iter_close(&iter);
	thermo_queue_close(&queue);
	bed_end(&bed);
}

/* ---- Spaces ---- */

static void space_open_names_and_options_are_checked(void)
{
	struct bed bed;
	struct thermo_space *space = NULL, *again = NULL;
	struct thermo_space_options o;
	char name[THERMO_SPACE_NAME_MAX + 2];
	bed_make(&bed, true, false);
	memset(name, 'n', sizeof(name));
	name[THERMO_SPACE_NAME_MAX + 1] = '\0';
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, name, NULL, &space, &bed.error), -EINVAL);
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "", NULL, &space, &bed.error), -EINVAL);
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, NULL, NULL, &space, &bed.error), -EINVAL);
	name[THERMO_SPACE_NAME_MAX] = '\0';
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, name, NULL, &space, &bed.error), 0);
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, name, NULL, &again, &bed.error), 0);
	CU_ASSERT_PTR_EQUAL(space, again);
	CU_ASSERT_EQUAL(thermo_space_close(&again), 0);
	CU_ASSERT_PTR_NULL(again);
	thermo_space_options_init(&o);
	o.min_percent[THERMO_HOT] = 60;
	o.max_percent[THERMO_HOT] = 50;
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "x", &o, &again, &bed.error), -EINVAL);
	o.max_percent[THERMO_HOT] = 100;
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "x", &o, &again, &bed.error), 0);
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "y", &o, &again, &bed.error), -EINVAL);
	thermo_space_options_init(&o);
	o.ttl_ms = -5;
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "z", &o, &again, &bed.error), -EINVAL);
	thermo_space_options_init(&o);
	o.size = 3;
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "z", &o, &again, &bed.error), -EINVAL);
	bed_end(&bed);
}

static void space_open_more_than_there_may_be_is_refused(void)
{
	struct bed bed;
	struct thermo_space *space[THERMO_SPACES_MAX + 1];
	unsigned open = 1; /* the bed's */
	char name[32];
	bed_make(&bed, false, false);
	for (unsigned i = 1; i <= THERMO_SPACES_MAX; i++) {
		snprintf(name, sizeof(name), "space %u", i);
		int rc = thermo_space_open(bed.cache, name, NULL, &space[i], &bed.error);
		open += rc == 0;
		CU_ASSERT(rc == 0 || (rc == -ENOSPC && i == THERMO_SPACES_MAX));
	}
	CU_ASSERT_EQUAL(open, THERMO_SPACES_MAX);
	/* One that goes makes room. */
	CU_ASSERT_EQUAL(thermo_space_drop(&space[7]), 0);
	CU_ASSERT_EQUAL(thermo_space_open(bed.cache, "another", NULL, &space[7], &bed.error), 0);
	bed_end(&bed);
}

static void put_same_keys_in_two_spaces_are_distinct(void)
{
	struct bed bed;
	struct thermo_space *other;
	bed_make(&bed, true, true);
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "other", NULL, &other, NULL), 0);
	bed_fill(bed.space, 2000, 5000);
	uint32_t bad = 0;
	for (uint32_t i = 0; i < 2000; i++)
		bad += bed_put(other, i, i + 7777, 4000) != THERMO_OK;
	for (uint32_t i = 0; i < 2000; i++)
		bad += bed_check(other, i, i + 7777, 4000) != THERMO_OK;
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, 2000, 5000), 2000);
	CU_ASSERT_EQUAL(thermo_space_drop(&other), 0);
	CU_ASSERT_PTR_NULL(other);
	CU_ASSERT_EQUAL(bed_count(bed.space, 2000, 5000), 2000);
	/* The same name again is a new space. */
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "other", NULL, &other, NULL), 0);
	for (uint32_t i = 0; i < 2000; i++)
		bad += bed_check(other, i, i + 7777, 4000) != THERMO_MISS;
	CU_ASSERT_EQUAL(bad, 0);
	bed_reopen(&bed);
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "other", NULL, &other, NULL), 0);
	for (uint32_t i = 0; i < 2000; i++)
		bad += bed_check(other, i, i + 7777, 4000) != THERMO_MISS;
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, 2000, 5000), 2000);
	bed_end(&bed);
}

static void drop_second_holder_is_told(void)
{
	struct bed bed;
	struct thermo_space *copy;
	bed_make(&bed, false, false);
	copy = bed.space;
	CU_ASSERT_EQUAL(thermo_space_drop(&bed.space), 0);
	CU_ASSERT_EQUAL(bed_put(copy, 1, 1, 10), -ENOENT);
	CU_ASSERT_EQUAL(bed_check(copy, 1, 1, 10), -ENOENT);
	CU_ASSERT_EQUAL(thermo_space_drop(&copy), -ENOENT);
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(options_parse_every_key_is_taken),
		SUITE_CASE(options_parse_again_replaces_and_keeps_others),
		SUITE_CASE(options_parse_strings_of_an_earlier_text_stay),
		SUITE_CASE(options_parse_bad_line_changes_nothing),
		SUITE_CASE(open_bad_options_says_which),
		SUITE_CASE(open_wrong_struct_size_is_refused),
		SUITE_CASE(open_directory_that_is_a_file_or_in_use_is_refused),
		SUITE_CASE(open_two_caches_are_independent),
		SUITE_CASE(close_open_handles_is_busy),
		SUITE_CASE(reopen_after_close_everything_is_there),
		SUITE_CASE(reopen_with_less_memory_everything_is_there),
		SUITE_CASE(reopen_settings_of_a_space_are_kept),
		SUITE_CASE(reopen_after_crash_starts_empty_never_stale),
		SUITE_CASE(reopen_without_the_image_starts_empty),
		SUITE_CASE(reopen_with_a_damaged_image_starts_empty),
		SUITE_CASE(use_in_a_forked_child_is_refused),
		SUITE_CASE(space_open_names_and_options_are_checked),
		SUITE_CASE(space_open_more_than_there_may_be_is_refused),
		SUITE_CASE(put_same_keys_in_two_spaces_are_distinct),
		SUITE_CASE(drop_second_holder_is_told),
	};
	return suite_run("engine_open", NULL, NULL, cases, SUITE_COUNT(cases));
}
