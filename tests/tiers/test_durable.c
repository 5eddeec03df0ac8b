/* SPDX-License-Identifier: Apache-2.0 */
/* Durable spaces: what was acknowledged is there after the process ends without closing, and after the power goes. */
#include "tests/cold/fault_file.h"
#include "tests/tiers/bed.h"
#include "tiers/engine.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LEN 300u
#define LARGE 300000u

static void bed_durable(struct bed *bed)
{
	bed_init(bed, true, true);
	bed->options.log_bytes = 16 * MIB;
	bed->options.heap = "libc"; /* cases fork, and ThreadSanitizer cannot follow the other heap there */
	bed->options.put_wait_ms = 20000; /* a slow machine is no error */
}

static int open_space(struct bed *bed, const char *name, uint32_t durability, uint32_t sync,
		      struct thermo_space **space)
{
	struct thermo_space_options options;
	thermo_space_options_init(&options);
	options.durability = durability;
	options.sync = sync;
	options.sync_ms = 20;
	return thermo_space_open(bed->cache, name, &options, space, &bed->error);
}

static int open_with(struct bed *bed, const struct file_ops *files, uint32_t sync)
{
	int rc = cache_open(&bed->options, files ? files : &file_ops_posix, &bed->cache, &bed->error);
	if (rc == 0)
		rc = open_space(bed, "kept", THERMO_DURABLE, sync, &bed->space);
	if (rc)
		printf("  open: %d: %s\n", rc, bed->error.text);
	return rc;
}

static void must_open(struct bed *bed)
{
	if (open_with(bed, NULL, THERMO_SYNC_DEFAULT))
		CU_FAIL_FATAL("the cache does not open");
}

/* Runs `work` in a process that opens the cache, and ends without closing it. What it answers is 0 if all is well. */
static void crash_after(struct bed *bed, uint32_t sync, int (*work)(struct bed *bed))
{
	int status = 0;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		int rc = open_with(bed, NULL, sync);
		if (rc == 0)
			rc = work(bed);
		if (rc)
			printf("  in the child: %d\n", rc);
		fflush(stdout);
		_exit(rc ? 1 : 0);
	}
	CU_ASSERT_FATAL(child > 0);
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int put_some(struct bed *bed, uint32_t from, uint32_t to, uint64_t seed)
{
	for (uint32_t i = from; i < to; i++) {
		int rc = bed_put(bed->space, i, seed + i, LEN);
		if (rc)
			return rc;
	}
	return 0;
}

static int delete_key(struct thermo_space *space, uint32_t number)
{
	char key[32];
	return thermo_delete(space, key, bed_key(number, key));
}

static void expect(struct bed *bed, uint32_t from, uint32_t to, uint64_t seed, int outcome)
{
	uint32_t bad = 0;
	for (uint32_t i = from; i < to; i++) {
		int rc = bed_check(bed->space, i, seed + i, LEN);
		if (rc != outcome && !bad++)
			printf("  key %u: %d, expected %d\n", i, rc, outcome);
	}
	CU_ASSERT_EQUAL(bad, 0);
}

/* ---- What a killed process leaves ---- */

static int work_mixed(struct bed *bed)
{
	char key[32];
	uint64_t version = 0;
	int rc = put_some(bed, 0, 100, 1);
	if (rc == 0)
		rc = put_some(bed, 20, 40, 1000); /* overwritten */
	for (uint32_t i = 50; i < 60 && !rc; i++)
		rc = delete_key(bed->space, i);
	if (rc == 0)
		rc = thermo_cas(bed->space, "cas", 3, "one", 3, THERMO_TTL_NONE, 0, &version);
	if (rc == 0)
		rc = thermo_cas(bed->space, "cas", 3, "two", 3, THERMO_TTL_NONE, version, &version);
	if (rc == 0) /* there and deleted, back again */
		rc = bed_put(bed->space, 55, 2055, LEN);
	if (rc == 0)
		rc = thermo_touch(bed->space, key, bed_key(60, key), 5000);
	return rc;
}

static void killed_with(uint32_t sync)
{
	struct bed bed;
	char value[8];
	size_t len;
	bed_durable(&bed);
	crash_after(&bed, sync, work_mixed);
	must_open(&bed);
	expect(&bed, 0, 20, 1, THERMO_OK);
	expect(&bed, 20, 40, 1000, THERMO_OK);
	expect(&bed, 40, 50, 1, THERMO_OK);
	expect(&bed, 50, 55, 1, THERMO_MISS);
	expect(&bed, 55, 56, 2000, THERMO_OK);
	expect(&bed, 56, 60, 1, THERMO_MISS);
	expect(&bed, 60, 100, 1, THERMO_OK);
	CU_ASSERT_EQUAL(thermo_get(bed.space, "cas", 3, value, sizeof(value), &len), THERMO_OK);
	CU_ASSERT(len == 3 && !memcmp(value, "two", 3));
	atomic_fetch_add(&bed.clock_ms, 6000);
	expect(&bed, 60, 61, 1, THERMO_MISS);
	CU_ASSERT(bed_stats(&bed).log_replayed > 100);
	bed_end(&bed);
}

static void synced_writes_survive_a_kill(void)
{
	killed_with(THERMO_SYNCED);
}

static void written_writes_survive_a_kill(void)
{
	killed_with(THERMO_WRITTEN);
}

static int work_then_sync(struct bed *bed)
{
	int rc = work_mixed(bed);
	return rc ? rc : thermo_sync(bed->cache, -1);
}

static int work_then_sleep(struct bed *bed)
{
	int rc = work_mixed(bed);
	for (int i = 0; i < 1000 && !rc; i++) { /* the promise is 20 ms; a slow machine takes longer */
		struct timespec t = {0, 10000000};
		nanosleep(&t, NULL);
		if (bed_stats(bed).log_syncs >= 2)
			break;
	}
	return rc ? rc : thermo_sync(bed->cache, -1);
}

static void promised_writes_survive_after_thermo_sync(void)
{
	struct bed bed;
	bed_durable(&bed);
	crash_after(&bed, THERMO_SYNCED_WITHIN, work_then_sync);
	must_open(&bed);
	expect(&bed, 0, 20, 1, THERMO_OK);
	expect(&bed, 56, 60, 1, THERMO_MISS);
	bed_end(&bed);
	bed_durable(&bed);
	crash_after(&bed, THERMO_SYNCED_WITHIN, work_then_sleep);
	must_open(&bed);
	expect(&bed, 0, 20, 1, THERMO_OK);
	bed_end(&bed);
}

static int work_two_spaces(struct bed *bed)
{
	struct thermo_space *cache;
	int rc = open_space(bed, "cache", THERMO_CACHE, 0, &cache);
	if (rc == 0)
		rc = put_some(bed, 0, 50, 1);
	if (rc == 0)
		rc = bed_put(cache, 1, 1, LEN);
	return rc;
}

static void cache_spaces_start_empty_beside_durable_ones(void)
{
	struct bed bed;
	struct thermo_space *cache;
	bed_durable(&bed);
	crash_after(&bed, 0, work_two_spaces);
	must_open(&bed);
	CU_ASSERT_EQUAL(open_space(&bed, "cache", THERMO_CACHE, 0, &cache), 0);
	CU_ASSERT_EQUAL(bed_check(cache, 1, 1, LEN), THERMO_MISS);
	expect(&bed, 0, 50, 1, THERMO_OK);
	bed_end(&bed);
}

/* ---- Batches and queues ---- */

#define BATCH 64u

static int work_batch(struct bed *bed)
{
	static struct thermo_request requests[BATCH];
	static char keys[BATCH][32], values[BATCH][LEN];
	for (uint32_t i = 0; i < BATCH; i++) {
		value_fill(values[i], LEN, 1 + i);
		requests[i] = (struct thermo_request){
			.space = bed->space, .key = keys[i], .key_len = (uint32_t)bed_key(i, keys[i]),
			.value = values[i], .value_len = LEN,
		};
	}
	uint64_t before = bed_stats(bed).log_syncs;
	int rc = thermo_put_batch(requests, BATCH, -1);
	for (uint32_t i = 0; i < BATCH && !rc; i++)
		rc = requests[i].status;
	if (rc == 0 && bed_stats(bed).log_syncs - before > 8) /* one, and what the thread did */
		rc = -E2BIG;
	if (rc == 0)
		rc = thermo_delete_batch(requests, BATCH / 2, -1);
	return rc;
}

static void batch_survives_with_one_sync(void)
{
	struct bed bed;
	bed_durable(&bed);
	crash_after(&bed, 0, work_batch);
	must_open(&bed);
	expect(&bed, 0, BATCH / 2, 1, THERMO_MISS);
	expect(&bed, BATCH / 2, BATCH, 1, THERMO_OK);
	bed_end(&bed);
}

static int work_queue(struct bed *bed)
{
	static struct thermo_request requests[BATCH];
	static char keys[BATCH][32], values[BATCH][LEN];
	struct thermo_request *list[BATCH], *done[BATCH];
	struct thermo_queue *queue;
	int rc = thermo_queue_open(bed->cache, &queue);
	for (uint32_t i = 0; i < BATCH; i++) {
		value_fill(values[i], LEN, 1 + i);
		requests[i] = (struct thermo_request){
			.space = bed->space, .key = keys[i], .key_len = (uint32_t)bed_key(i, keys[i]),
			.value = values[i], .value_len = LEN, .op = THERMO_OP_PUT,
			.sync = i % 3 == 1 ? THERMO_WRITTEN : THERMO_SYNC_DEFAULT,
		};
		list[i] = &requests[i];
	}
	if (rc == 0)
		rc = thermo_submit(queue, list, BATCH);
	for (uint32_t got = 0; got < BATCH && rc == 0;) {
		struct pollfd fd = {.fd = thermo_event_fd(queue), .events = POLLIN};
		if (poll(&fd, 1, 60000) != 1)
			return -ETIMEDOUT; /* nothing would ever have told the host */
		int n = thermo_poll(queue, done, BATCH, 0);
		for (int i = 0; i < n && !rc; i++)
			rc = done[i]->status;
		got += (uint32_t)(n > 0 ? n : 0);
	}
	return rc;
}

static void queue_acknowledges_what_survives(void)
{
	for (uint32_t threads = 0; threads < 3; threads += 2) {
		struct bed bed;
		bed_durable(&bed);
		bed.options.background_threads = threads;
		crash_after(&bed, 0, work_queue);
		must_open(&bed);
		expect(&bed, 0, BATCH, 1, THERMO_OK);
		bed_end(&bed);
	}
}

/* ---- Demotion, trimming, reopening ---- */

#define MANY 60000u /* with LEN, more than memory and more than the log hold */

static int work_many(struct bed *bed)
{
	int rc = put_some(bed, 0, MANY, 1);
	if (rc == 0)
		rc = put_some(bed, 0, 1000, 7000);
	for (uint32_t i = 2000; i < 3000 && !rc; i++)
		rc = delete_key(bed->space, i);
	struct thermo_stats s = bed_stats(bed);
	if (rc == 0 && (!s.log_trimmed || s.log_bytes > bed->options.log_bytes))
		rc = -ENOSPC;
	return rc;
}

static void expect_many(struct bed *bed)
{
	expect(bed, 0, 1000, 7000, THERMO_OK);
	expect(bed, 1000, 2000, 1, THERMO_OK);
	expect(bed, 2000, 3000, 1, THERMO_MISS);
	expect(bed, 3000, MANY, 1, THERMO_OK);
}

static void more_than_memory_and_log_survives(void)
{
	struct bed bed;
	bed_durable(&bed);
	crash_after(&bed, THERMO_WRITTEN, work_many);
	must_open(&bed);
	expect_many(&bed);
	bed_end(&bed);
}

static int work_nothing(struct bed *bed)
{
	(void)bed;
	return 0;
}

static int work_few(struct bed *bed)
{
	int rc = put_some(bed, 0, 10, 9000);
	for (uint32_t i = 10; i < 20 && !rc; i++)
		rc = delete_key(bed->space, i);
	struct timespec t = {0, 300000000}; /* the migrator looks at what may be trimmed */
	nanosleep(&t, NULL);
	return rc;
}

/* What a clean close left in the image outlives crashes after it, as often as they come. */
static void image_outlives_crashes(void)
{
	struct bed bed;
	bed_durable(&bed);
	must_open(&bed);
	CU_ASSERT_EQUAL(put_some(&bed, 0, 2000, 1), 0);
	bed_close(&bed);
	crash_after(&bed, 0, work_nothing);
	crash_after(&bed, 0, work_few);
	crash_after(&bed, 0, work_nothing);
	must_open(&bed);
	expect(&bed, 0, 10, 9000, THERMO_OK);
	expect(&bed, 10, 20, 1, THERMO_MISS);
	expect(&bed, 20, 2000, 1, THERMO_OK);
	bed_close(&bed);
	must_open(&bed);
	expect(&bed, 0, 10, 9000, THERMO_OK);
	expect(&bed, 10, 20, 1, THERMO_MISS);
	expect(&bed, 20, 2000, 1, THERMO_OK);
	bed_end(&bed);
}

static void image_goes_when_cold_has_it(void)
{
	struct bed bed;
	char path[600];
	bed_durable(&bed);
	must_open(&bed);
	CU_ASSERT_EQUAL(put_some(&bed, 0, 2000, 1), 0);
	bed_close(&bed);
	snprintf(path, sizeof(path), "%s/memory.img", bed.scratch.path);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	crash_after(&bed, THERMO_WRITTEN, work_many);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	must_open(&bed);
	expect_many(&bed);
	bed_end(&bed);
}

static void missing_image_is_no_silence(void)
{
	struct bed bed;
	char path[600];
	bed_durable(&bed);
	must_open(&bed);
	CU_ASSERT_EQUAL(put_some(&bed, 0, 200, 1), 0);
	bed_close(&bed);
	snprintf(path, sizeof(path), "%s/memory.img", bed.scratch.path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(thermo_open(&bed.options, &bed.cache, &bed.error), -EILSEQ);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, "restore it from a copy"));
	bed.cache = NULL;
	bed_end(&bed);
}

/* ---- Large values, drops, erasures ---- */

static int work_large(struct bed *bed)
{
	int rc = bed_put(bed->space, 1, 11, LARGE);
	if (rc == 0)
		rc = bed_put(bed->space, 2, 12, LARGE);
	if (rc == 0)
		rc = bed_put(bed->space, 2, 13, LARGE + 5000);
	if (rc == 0)
		rc = bed_put(bed->space, 3, 14, LARGE);
	return rc ? rc : delete_key(bed->space, 3);
}

static void large_values_survive(void)
{
	struct bed bed;
	bed_durable(&bed);
	crash_after(&bed, 0, work_large);
	must_open(&bed);
	CU_ASSERT_EQUAL(bed_check(bed.space, 1, 11, LARGE), THERMO_OK);
	CU_ASSERT_EQUAL(bed_check(bed.space, 2, 13, LARGE + 5000), THERMO_OK);
	CU_ASSERT_EQUAL(bed_check(bed.space, 3, 14, LARGE), THERMO_MISS);
	bed_end(&bed);
}

static int work_drop(struct bed *bed)
{
	int rc = put_some(bed, 0, 500, 1);
	if (rc == 0)
		rc = thermo_space_drop(&bed->space);
	if (rc == 0)
		rc = open_space(bed, "kept", THERMO_DURABLE, 0, &bed->space);
	return rc ? rc : put_some(bed, 100, 200, 5000);
}

static void dropped_spaces_stay_gone(void)
{
	struct bed bed;
	bed_durable(&bed);
	crash_after(&bed, 0, work_drop);
	must_open(&bed);
	expect(&bed, 0, 100, 1, THERMO_MISS);
	expect(&bed, 100, 200, 5000, THERMO_OK);
	expect(&bed, 200, 500, 1, THERMO_MISS);
	bed_end(&bed);
}

static bool on_disk(const struct bed *bed, const char *needle)
{
	bool found = false;
	DIR *dir = opendir(bed->scratch.path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		struct stat st;
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY);
		if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		char *bytes = malloc((size_t)st.st_size + 1);
		ssize_t n = bytes ? pread(fd, bytes, (size_t)st.st_size, 0) : 0;
		found |= n > 0 && memmem(bytes, (size_t)n, needle, strlen(needle));
		free(bytes);
		close(fd);
	}
	closedir(dir);
	return found;
}

static void erase_leaves_nothing_in_the_log(void)
{
	static const char secret[] = "a secret that has to go, whatever else is said about durability";
	struct bed bed;
	bed_durable(&bed);
	must_open(&bed);
	CU_ASSERT_EQUAL(put_some(&bed, 0, 200, 1), 0);
	CU_ASSERT_EQUAL(thermo_put(bed.space, "key", 3, secret, strlen(secret), 0), THERMO_OK);
	CU_ASSERT(on_disk(&bed, secret));
	CU_ASSERT_EQUAL(thermo_erase(bed.space, "key", 3, -1), THERMO_OK);
	CU_ASSERT_FALSE(on_disk(&bed, secret));
	expect(&bed, 0, 200, 1, THERMO_OK);
	bed_end(&bed);
}

static int work_erase(struct bed *bed)
{
	int rc = put_some(bed, 0, 200, 1);
	char key[32];
	return rc ? rc : thermo_erase(bed->space, key, bed_key(7, key), -1);
}

static void erased_keys_stay_gone(void)
{
	struct bed bed;
	bed_durable(&bed);
	crash_after(&bed, 0, work_erase);
	must_open(&bed);
	expect(&bed, 0, 7, 1, THERMO_OK);
	expect(&bed, 7, 8, 1, THERMO_MISS);
	expect(&bed, 8, 200, 1, THERMO_OK);
	bed_end(&bed);
}

/* ---- Options ---- */

static void durable_without_cold_is_refused(void)
{
	struct bed bed;
	struct thermo_space *space;
	bed_make(&bed, false, false);
	CU_ASSERT_EQUAL(open_space(&bed, "kept", THERMO_DURABLE, 0, &space), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, "cold_dir"));
	bed_end(&bed);
}

static void durability_cannot_be_changed(void)
{
	struct bed bed;
	struct thermo_space *space;
	bed_durable(&bed);
	must_open(&bed);
	CU_ASSERT_EQUAL(open_space(&bed, "kept", THERMO_CACHE, 0, &space), -EEXIST);
	CU_ASSERT_EQUAL(open_space(&bed, "kept", THERMO_DURABLE, 9, &space), -EINVAL);
	bed_close(&bed);
	bed.options.log_bytes = 1 * MIB;
	CU_ASSERT_EQUAL(thermo_open(&bed.options, &bed.cache, &bed.error), -EINVAL);
	bed.options.log_bytes = 0;
	must_open(&bed);
	bed_end(&bed);
}

/* ---- Failing files ---- */

static void failed_sync_is_final(void)
{
	struct bed bed;
	struct thermo_space *cache;
	struct fault_file *fault = fault_file_open(&file_ops_posix);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
	bed_durable(&bed);
	CU_ASSERT_EQUAL_FATAL(open_with(&bed, fault_file_ops(fault), 0), 0);
	CU_ASSERT_EQUAL(open_space(&bed, "cache", THERMO_CACHE, 0, &cache), 0);
	CU_ASSERT_EQUAL(put_some(&bed, 0, 100, 1), 0);
	fault_set(fault, &(struct fault_rule){.kind = FAULT_DATASYNC, .nth = 1,
					      .action = FAULT_ERROR, .error = EIO});
	CU_ASSERT_EQUAL(bed_put(bed.space, 500, 1, LEN), -EIO);
	fault_clear(fault);
	CU_ASSERT_EQUAL(bed_put(bed.space, 501, 1, LEN), -EROFS);
	CU_ASSERT_EQUAL(delete_key(bed.space, 5), -EROFS);
	CU_ASSERT_EQUAL(bed_stats(&bed).log_failed, 1);
	expect(&bed, 0, 100, 1, THERMO_OK);
	CU_ASSERT_EQUAL(bed_put(cache, 1, 1, LEN), THERMO_OK);
	CU_ASSERT_EQUAL(bed_check(cache, 1, 1, LEN), THERMO_OK);
	bed_close(&bed);
	must_open(&bed); /* the close wrote the image */
	expect(&bed, 0, 100, 1, THERMO_OK);
	CU_ASSERT_EQUAL(bed_put(bed.space, 501, 1, LEN), THERMO_OK);
	bed_end(&bed);
	fault_file_close(fault);
}

static void full_disk_is_said_and_passes(void)
{
	struct bed bed;
	struct fault_file *fault = fault_file_open(&file_ops_posix);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
	bed_durable(&bed);
	bed.options.put_wait_ms = 20;
	CU_ASSERT_EQUAL_FATAL(open_with(&bed, fault_file_ops(fault), THERMO_WRITTEN), 0);
	fault_set(fault, &(struct fault_rule){.kind = FAULT_ALLOCATE, .nth = 1, .action = FAULT_ERROR,
					      .error = ENOSPC, .sticky = true});
	uint32_t n = 0;
	int rc = 0;
	for (; n < MANY && rc == 0; n++)
		rc = bed_put(bed.space, n, 1 + n, LEN);
	CU_ASSERT(rc == -ENOSPC || rc == THERMO_BUSY);
	uint32_t taken = n - 1;
	fault_clear(fault);
	for (unsigned tries = 0; tries < 1000 && rc; tries++) {
		rc = bed_put(bed.space, taken, 1 + taken, LEN);
		thermo_settle(bed.cache, 10000000);
	}
	CU_ASSERT_EQUAL(rc, THERMO_OK);
	expect(&bed, 0, taken + 1, 1, THERMO_OK);
	bed_end(&bed);
	fault_file_close(fault);
}

/* The power goes at any moment: what was acknowledged by then is there, in the last version or one that was under
 * way, and nothing else. */
#define POWER_KEYS 24u

struct moment {
	size_t events;
	uint64_t seed[POWER_KEYS]; /* 0: not there */
};

static void power_goes_at_any_moment(void)
{
	enum { OPS = 150 };
	static struct moment moments[OPS + 1];
	struct bed bed, after;
	const struct fault_event *events;
	uint64_t seed = suite_seed(), random = seed;
	struct fault_file *fault = fault_file_open(&file_ops_posix);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
	bed_durable(&bed);
	memset(moments, 0, sizeof(moments));
	fault_record(fault);
	CU_ASSERT_EQUAL_FATAL(open_with(&bed, fault_file_ops(fault), 0), 0);
	moments[0].events = fault_events(fault, &events);
	for (unsigned i = 1; i <= OPS; i++) {
		struct moment *m = &moments[i];
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		uint32_t key = (uint32_t)(random >> 33) % POWER_KEYS;
		memcpy(m->seed, m[-1].seed, sizeof(m->seed));
		m->seed[key] = random >> 60 < 4 ? 0 : 1000 + i;
		int rc = m->seed[key] ? bed_put(bed.space, key, m->seed[key], LEN)
				      : delete_key(bed.space, key);
		CU_ASSERT_EQUAL(rc, THERMO_OK);
		m->events = fault_events(fault, &events);
	}
	unsigned bad = 0;
	for (unsigned i = 0; i < OPS; i += 3) {
		const struct moment *m = &moments[i];
		for (size_t n = m->events; n <= m[1].events && !bad; n++) {
			for (unsigned loss = FAULT_LOSE_NOTHING; loss <= FAULT_LOSE_SOME; loss++) {
				bed_durable(&after);
				after.options.background_threads = 0;
				CU_ASSERT_EQUAL(fault_replay(fault, n, (enum fault_loss)loss, seed + n,
							     after.scratch.path), 0);
				if (open_with(&after, NULL, 0))
					bad++;
				for (uint32_t k = 0; k < POWER_KEYS && after.cache; k++) {
					uint64_t old = m->seed[k], new = m[1].seed[k];
					int rc = bed_check(after.space, k, old, LEN);
					bool ok = old ? rc == THERMO_OK : rc == THERMO_MISS;
					rc = new != old ? bed_check(after.space, k, new, LEN) : rc;
					ok |= new != old && (new ? rc == THERMO_OK : rc == THERMO_MISS);
					if (!ok)
						printf("  seed %llu, operation %u, event %zu, loss %u, key %u\n",
						       (unsigned long long)seed, i, n, loss, k);
					bad += !ok;
				}
				bed_end(&after);
			}
		}
	}
	CU_ASSERT_EQUAL(bad, 0);
	bed_end(&bed);
	fault_file_close(fault);
}

/* ---- Threads ---- */

static _Atomic uint32_t next_key;
static _Atomic int thread_rc;

static void *writer(void *argument)
{
	struct bed *bed = argument;
	for (uint32_t i; (i = atomic_fetch_add(&next_key, 1)) < 2000;) {
		int rc = bed_put(bed->space, i, 1 + i, LEN);
		if (rc == 0 && i % 7 == 3)
			rc = delete_key(bed->space, i);
		if (rc)
			atomic_store(&thread_rc, rc);
	}
	return NULL;
}

static int work_threads(struct bed *bed)
{
	pthread_t threads[8];
	for (unsigned i = 0; i < 8; i++)
		if (pthread_create(&threads[i], NULL, writer, bed))
			return -EAGAIN;
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	struct thermo_stats s = bed_stats(bed);
	if (s.log_syncs > s.log_appends) /* they shared them */
		return -E2BIG;
	return atomic_load(&thread_rc);
}

static void threads_share_syncs(void)
{
	struct bed bed;
	uint32_t bad = 0;
	bed_durable(&bed);
	crash_after(&bed, 0, work_threads);
	must_open(&bed);
	for (uint32_t i = 0; i < 2000; i++) {
		int rc = bed_check(bed.space, i, 1 + i, LEN);
		bad += rc != (i % 7 == 3 ? THERMO_MISS : THERMO_OK);
	}
	CU_ASSERT_EQUAL(bad, 0);
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(synced_writes_survive_a_kill),
		SUITE_CASE(written_writes_survive_a_kill),
		SUITE_CASE(promised_writes_survive_after_thermo_sync),
		SUITE_CASE(cache_spaces_start_empty_beside_durable_ones),
		SUITE_CASE(batch_survives_with_one_sync),
		SUITE_CASE(queue_acknowledges_what_survives),
		SUITE_CASE(more_than_memory_and_log_survives),
		SUITE_CASE(image_outlives_crashes),
		SUITE_CASE(image_goes_when_cold_has_it),
		SUITE_CASE(missing_image_is_no_silence),
		SUITE_CASE(large_values_survive),
		SUITE_CASE(dropped_spaces_stay_gone),
		SUITE_CASE(erase_leaves_nothing_in_the_log),
		SUITE_CASE(erased_keys_stay_gone),
		SUITE_CASE(durable_without_cold_is_refused),
		SUITE_CASE(durability_cannot_be_changed),
		SUITE_CASE(failed_sync_is_final),
		SUITE_CASE(full_disk_is_said_and_passes),
		SUITE_CASE(power_goes_at_any_moment),
		SUITE_CASE(threads_share_syncs),
	};
	return suite_run("durable", NULL, NULL, cases, sizeof(cases) / sizeof(cases[0]));
}
