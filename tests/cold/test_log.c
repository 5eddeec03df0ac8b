/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead log by itself: what is replayed after anything that may have happened to its files. */
#include "tests/cold/fault_file.h"
#include "tests/cold/scratch.h"
#include "tests/suite.h"
#include "alloc/budget.h"
#include "alloc/heap.h"
#include "tiers/cold/log.h"
#include "tiers/cold/log_format.h"
#include "tiers/cold/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#define RECORD_MAX 4096u
#define SEEN_MAX 20000u

struct bench {
	struct scratch scratch;
	struct budget budget;
	struct heap *heap;
	struct memory memory;
	struct file dir;
	_Atomic uint64_t numbers;
	struct log_options options;
	struct log *log;
	struct thermo_error error;
	/* what the replay brought */
	uint32_t seen, wrong;
	uint64_t last_seq;
};

static void bench_init(struct bench *b, const struct file_ops *files)
{
	memset(b, 0, sizeof(*b));
	scratch_open(&b->scratch);
	budget_init(&b->budget, UINT64_C(64) << 20);
	CU_ASSERT_EQUAL_FATAL(heap_open("libc", NULL, 4 << 20, &b->budget, &b->heap, &b->error), 0);
	b->memory = (struct memory){b->heap, &b->budget};
	CU_ASSERT_EQUAL_FATAL(file_open_dir(files ? files : &file_ops_posix, b->scratch.path, &b->dir), 0);
	atomic_store(&b->numbers, 1);
	b->options = (struct log_options){
		.dir = &b->dir,
		.memory = &b->memory,
		.numbers = &b->numbers,
		.cap_bytes = log_cap_least(RECORD_MAX),
		.record_max = RECORD_MAX,
	};
}

static void bench_end(struct bench *b)
{
	log_close(&b->log);
	file_close(&b->dir);
	heap_close(&b->heap);
	scratch_close(&b->scratch);
}

/* Record i: key and value follow from i. */
static struct cold_record make_record(uint32_t i, char bytes[RECORD_MAX])
{
	uint32_t key_len = 4 + i % 13, value_len = i % 300;
	memset(bytes, (int)(i * 7 + 1) & 0xff, key_len + value_len);
	memcpy(bytes, &i, 4);
	return (struct cold_record){
		.key = bytes, .key_len = key_len, .value = bytes + key_len, .value_len = value_len,
		.space = 1, .seq = i + 1, .expires_ms = i % 5 ? 0 : i + 1,
	};
}

static int see(void *context, const struct cold_record *record, uint64_t file)
{
	struct bench *b = context;
	char bytes[RECORD_MAX];
	uint32_t i = (uint32_t)record->seq - 1;
	struct cold_record is = make_record(i, bytes);
	b->wrong += record->seq <= b->last_seq || file == 0 || record->key_len != is.key_len ||
		    record->value_len != is.value_len || memcmp(record->key, is.key, is.key_len) ||
		    (is.value_len && memcmp(record->value, is.value, is.value_len)) ||
		    record->expires_ms != is.expires_ms;
	b->last_seq = record->seq;
	b->seen++;
	return 0;
}

/* Opens and replays; the answer of the replay. */
static int reopen(struct bench *b)
{
	log_close(&b->log);
	b->seen = b->wrong = 0;
	b->last_seq = 0;
	int rc = log_open(&b->options, &b->log, &b->error);
	return rc ? rc : log_replay(b->log, see, b, &b->error);
}

static int append(struct bench *b, uint32_t i, uint64_t *end)
{
	char bytes[RECORD_MAX];
	struct cold_record record = make_record(i, bytes);
	uint32_t n = log_entry_bytes(record.key_len, record.value_len);
	int rc = log_reserve(b->log, n);
	if (rc)
		return rc;
	uint64_t at = log_take(b->log, n);
	log_fill(b->log, at, &record);
	*end = at + n;
	return 0;
}

/* Appends [from, to), a sync for each `group` of them. */
static int append_some(struct bench *b, uint32_t from, uint32_t to, uint32_t group)
{
	uint64_t end = 0;
	int rc = 0;
	for (uint32_t i = from; i < to && rc == 0; i++) {
		rc = append(b, i, &end);
		if (rc == 0 && ((i - from) % group == group - 1 || i + 1 == to))
			rc = log_wait(b->log, end, LOG_SYNCED, -1);
	}
	return rc;
}

static void started(struct bench *b, const struct file_ops *files)
{
	bench_init(b, files);
	CU_ASSERT_EQUAL_FATAL(reopen(b), 0);
	CU_ASSERT_EQUAL_FATAL(log_start(b->log, &b->error), 0);
}

static uint64_t torn(struct bench *b)
{
	struct thermo_stats s = {.size = sizeof(s)};
	log_stats(b->log, &s);
	return s.log_torn;
}

static void replay_brings_all_back_in_order_twice(void)
{
	struct bench b;
	started(&b, NULL);
	CU_ASSERT_EQUAL(append_some(&b, 0, 500, 7), 0);
	for (int twice = 0; twice < 2; twice++) {
		CU_ASSERT_EQUAL(reopen(&b), 0);
		CU_ASSERT(b.seen == 500 && b.wrong == 0 && torn(&b) == 0);
	}
	/* It goes on after that, in another file. */
	CU_ASSERT_EQUAL_FATAL(log_start(b.log, &b.error), 0);
	CU_ASSERT_EQUAL(append_some(&b, 500, 600, 9), 0);
	CU_ASSERT_EQUAL(reopen(&b), 0);
	CU_ASSERT(b.seen == 600 && b.wrong == 0 && torn(&b) == 0);
	bench_end(&b);
}

static void files_turn_and_are_trimmed(void)
{
	struct bench b;
	uint64_t end;
	uint32_t i = 0;
	int rc = 0;
	started(&b, NULL);
	uint64_t first = log_oldest(b.log);
	for (; rc == 0 && i < 200000; i++)
		rc = append(&b, i, &end);
	CU_ASSERT_EQUAL(rc, LOG_FULL);
	uint32_t n = i - 1;
	CU_ASSERT(log_pressed(b.log));
	CU_ASSERT_EQUAL(log_wait(b.log, log_tail(b.log), LOG_SYNCED, -1), THERMO_OK);
	CU_ASSERT_EQUAL(log_trim(b.log, first), 0);
	CU_ASSERT_EQUAL(log_trim(b.log, first + 1), 1);
	CU_ASSERT_EQUAL(append(&b, n, &end), 0);
	CU_ASSERT_EQUAL(log_wait(b.log, end, LOG_SYNCED, -1), THERMO_OK);
	CU_ASSERT_EQUAL(reopen(&b), 0);
	CU_ASSERT(b.wrong == 0 && b.last_seq == n + 1 && b.seen < n && b.seen > n / 2);
	bench_end(&b);
}

/* ---- Damage ---- */

static int file_of(struct bench *b, uint64_t number, int flags)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/%016llx.log", b->scratch.path, (unsigned long long)number);
	int fd = open(path, flags);
	CU_ASSERT_FATAL(fd >= 0);
	return fd;
}

/* The last frame, cut at every byte: it is not there, what is before it is, and that is no damage. */
static void torn_tail_at_every_byte_ends_the_replay(void)
{
	struct bench b;
	struct thermo_stats s = {.size = sizeof(s)};
	static char bytes[4096], zeroes[4096];
	started(&b, NULL);
	uint64_t number = log_current(b.log);
	CU_ASSERT_EQUAL(append_some(&b, 0, 20, 5), 0);
	log_stats(b.log, &s);
	off_t at = FORMAT_PAGE + (off_t)s.log_write_bytes;
	CU_ASSERT_EQUAL(append_some(&b, 20, 23, 3), 0);
	log_stats(b.log, &s);
	size_t n = (size_t)(FORMAT_PAGE + (off_t)s.log_write_bytes - at), used = sizeof(struct log_frame);
	CU_ASSERT_FATAL(n <= sizeof(bytes));
	for (uint32_t i = 20; i < 23; i++) {
		struct cold_record record = make_record(i, zeroes);
		used += log_entry_bytes(record.key_len, record.value_len);
	}
	memset(zeroes, 0, sizeof(zeroes));
	log_close(&b.log);
	int fd = file_of(&b, number, O_RDWR);
	CU_ASSERT_EQUAL(pread(fd, bytes, n, at), (ssize_t)n);
	unsigned bad = 0;
	for (size_t cut = 0; cut <= used; cut++) {
		size_t nonzero = cut;
		CU_ASSERT_EQUAL(pwrite(fd, bytes, cut, at), (ssize_t)cut);
		CU_ASSERT_EQUAL(pwrite(fd, zeroes, n - cut, at + (off_t)cut), (ssize_t)(n - cut));
		while (nonzero && !bytes[nonzero - 1])
			nonzero--;
		bool whole = memcmp(bytes + cut, zeroes, n - cut) == 0; /* zeroes are cut off anyhow */
		bad += reopen(&b) != 0 || b.wrong || b.seen != (whole ? 23 : 20) ||
		       torn(&b) != (!whole && nonzero ? 1u : 0u);
	}
	CU_ASSERT_EQUAL(bad, 0);
	close(fd);
	bench_end(&b);
}

/* A bit anywhere in what a later frame says was synced: reported, with the place. */
static void damage_below_the_synced_position_is_reported(void)
{
	struct bench b;
	struct thermo_stats s = {.size = sizeof(s)};
	unsigned bad = 0;
	started(&b, NULL);
	uint64_t number = log_current(b.log);
	CU_ASSERT_EQUAL(append_some(&b, 0, 10, 5), 0);
	log_stats(b.log, &s);
	off_t end = FORMAT_PAGE + (off_t)s.log_write_bytes;
	CU_ASSERT_EQUAL(append_some(&b, 10, 15, 5), 0);
	log_close(&b.log);
	int fd = file_of(&b, number, O_RDWR);
	for (off_t at = FORMAT_PAGE; at < end; at += 3) {
		char byte, flipped;
		CU_ASSERT_EQUAL(pread(fd, &byte, 1, at), 1);
		flipped = (char)(byte ^ 0x10);
		CU_ASSERT_EQUAL(pwrite(fd, &flipped, 1, at), 1);
		int rc = reopen(&b);
		bool padding = rc == 0 && b.seen == 15 && b.wrong == 0;
		bad += !padding && (rc != -EILSEQ || !strstr(b.error.text, ".log: damaged at ") || b.wrong);
		CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_EQUAL(reopen(&b), 0);
	CU_ASSERT_EQUAL(b.seen, 15);
	/* A header that is gone is no empty file. */
	char byte = 0;
	CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, 0), 1);
	CU_ASSERT_EQUAL(reopen(&b), -EILSEQ);
	close(fd);
	bench_end(&b);
}

static void missing_file_between_others_is_reported(void)
{
	struct bench b;
	uint64_t file;
	started(&b, NULL);
	for (uint32_t i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(append_some(&b, i * 10, i * 10 + 10, 10), 0);
		if (i == 1)
			CU_ASSERT(log_current(b.log) == 2);
		if (i < 2)
			CU_ASSERT_EQUAL(log_rotate(b.log, &file), 0);
	}
	log_close(&b.log);
	char path[400];
	snprintf(path, sizeof(path), "%s/%016x.log", b.scratch.path, 2);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(reopen(&b), -EILSEQ);
	CU_ASSERT_EQUAL(b.seen, 10);
	bench_end(&b);
}

/* After a torn tail was cut off, what is written later is not mistaken for what proves it damage. */
static void torn_tail_stays_cut_off(void)
{
	struct bench b;
	static const char rubbish[700] = {1, 2, 3};
	struct thermo_stats s = {.size = sizeof(s)};
	started(&b, NULL);
	CU_ASSERT_EQUAL(append_some(&b, 0, 10, 5), 0);
	log_stats(b.log, &s);
	int fd = file_of(&b, log_current(b.log), O_RDWR);
	CU_ASSERT_EQUAL(pwrite(fd, rubbish, sizeof(rubbish), FORMAT_PAGE + (off_t)s.log_write_bytes),
			(ssize_t)sizeof(rubbish));
	close(fd);
	CU_ASSERT_EQUAL(reopen(&b), 0);
	CU_ASSERT(b.seen == 10 && torn(&b) == 1);
	CU_ASSERT_EQUAL_FATAL(log_start(b.log, &b.error), 0);
	CU_ASSERT_EQUAL(append_some(&b, 10, 20, 5), 0);
	CU_ASSERT_EQUAL(reopen(&b), 0);
	CU_ASSERT(b.seen == 20 && torn(&b) == 0);
	bench_end(&b);
}

/* ---- Failing operations ---- */

/* Each operation fails in turn: what was acknowledged is replayed, whatever else happens. */
static void failing_operations_lose_nothing_acknowledged(void)
{
	unsigned bad = 0;
	uint64_t n = 1;
	for (bool hit = true; hit && n < 200; n++) {
		struct bench b;
		struct fault_file *fault = fault_file_open(&file_ops_posix);
		uint32_t acknowledged = 0;
		CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
		bench_init(&b, fault_file_ops(fault));
		fault_set(fault, &(struct fault_rule){.kind = FAULT_CHANGE, .nth = n,
						      .action = FAULT_ERROR, .error = n % 2 ? EIO : ENOSPC});
		int rc = reopen(&b);
		if (rc == 0)
			rc = log_start(b.log, &b.error);
		uint64_t file;
		for (uint32_t i = 0; i < 12 && rc == 0; i++) {
			rc = append_some(&b, i, i + 1, 1);
			acknowledged += rc == 0;
			if (i == 6 && rc == 0)
				log_rotate(b.log, &file);
			if (i == 9 && rc == 0)
				log_trim(b.log, 1); /* nothing */
		}
		if (rc)
			CU_ASSERT(rc == -EIO || rc == -ENOSPC || rc == -EROFS);
		hit = fault_hits(fault) != 0;
		fault_clear(fault);
		if (b.log)
			log_close(&b.log);
		file_close(&b.dir);
		CU_ASSERT_EQUAL(file_open_dir(&file_ops_posix, b.scratch.path, &b.dir), 0);
		bad += reopen(&b) != 0 || b.wrong || b.seen < acknowledged;
		bench_end(&b);
		fault_file_close(fault);
	}
	printf("  %llu operations failed in turn\n", (unsigned long long)n - 2);
	CU_ASSERT(n > 20 && n < 200);
	CU_ASSERT_EQUAL(bad, 0);
}

static void failed_sync_takes_nothing_more(void)
{
	struct bench b;
	struct fault_file *fault = fault_file_open(&file_ops_posix);
	uint64_t end;
	started(&b, fault_file_ops(fault));
	CU_ASSERT_EQUAL(append_some(&b, 0, 5, 1), 0);
	fault_set(fault, &(struct fault_rule){.kind = FAULT_DATASYNC, .nth = 1, .action = FAULT_ERROR,
					      .error = EIO});
	CU_ASSERT_EQUAL(append_some(&b, 5, 6, 1), -EIO);
	fault_clear(fault);
	CU_ASSERT_EQUAL(log_failed(b.log), -EIO);
	CU_ASSERT_EQUAL(append(&b, 6, &end), -EROFS);
	CU_ASSERT_EQUAL(log_wait(b.log, log_tail(b.log), LOG_SYNCED, -1), -EIO);
	bench_end(&b);
	fault_file_close(fault);
}

/* ---- Threads ---- */

#define THREADS 8u
#define EACH 1000u

static struct bench shared;
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t shared_next;
static _Atomic uint32_t shared_bad;

static void *shared_writer(void *argument)
{
	(void)argument;
	for (unsigned n = 0; n < EACH; n++) {
		char bytes[RECORD_MAX];
		if (log_reserve(shared.log, RECORD_MAX)) {
			atomic_fetch_add(&shared_bad, 1);
			continue;
		}
		pthread_mutex_lock(&shared_lock); /* stands for a bucket's: number and position together */
		struct cold_record record = make_record(shared_next++, bytes);
		uint32_t size = log_entry_bytes(record.key_len, record.value_len);
		uint64_t at = log_take(shared.log, size);
		pthread_mutex_unlock(&shared_lock);
		log_cancel(shared.log, RECORD_MAX - size);
		log_fill(shared.log, at, &record);
		enum log_level level = n % 3 ? LOG_SYNCED : LOG_WRITTEN;
		if (log_wait(shared.log, at + size, level, -1) ||
		    !log_reached(shared.log, at + size, level))
			atomic_fetch_add(&shared_bad, 1);
	}
	return NULL;
}

static void threads_commit_in_groups(void)
{
	pthread_t threads[THREADS];
	struct thermo_stats s = {.size = sizeof(s)};
	bench_init(&shared, NULL);
	shared.options.thread = true;
	CU_ASSERT_EQUAL_FATAL(reopen(&shared), 0);
	CU_ASSERT_EQUAL_FATAL(log_start(shared.log, &shared.error), 0);
	for (unsigned i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, shared_writer, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT_EQUAL(log_wait(shared.log, log_tail(shared.log), LOG_SYNCED, -1), THERMO_OK);
	log_stats(shared.log, &s);
	printf("  %llu records, %llu frames, %llu syncs\n", (unsigned long long)s.log_appends,
	       (unsigned long long)s.log_writes, (unsigned long long)s.log_syncs);
	CU_ASSERT(s.log_syncs < s.log_appends);
	CU_ASSERT_EQUAL(atomic_load(&shared_bad), 0);
	CU_ASSERT_EQUAL(reopen(&shared), 0);
	CU_ASSERT(shared.seen == THREADS * EACH && shared.wrong == 0);
	bench_end(&shared);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(replay_brings_all_back_in_order_twice),
		SUITE_CASE(files_turn_and_are_trimmed),
		SUITE_CASE(torn_tail_at_every_byte_ends_the_replay),
		SUITE_CASE(damage_below_the_synced_position_is_reported),
		SUITE_CASE(missing_file_between_others_is_reported),
		SUITE_CASE(torn_tail_stays_cut_off),
		SUITE_CASE(failing_operations_lose_nothing_acknowledged),
		SUITE_CASE(failed_sync_takes_nothing_more),
		SUITE_CASE(threads_commit_in_groups),
	};
	return suite_run("log", NULL, NULL, cases, sizeof(cases) / sizeof(cases[0]));
}
