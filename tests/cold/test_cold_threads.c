/* SPDX-License-Identifier: Apache-2.0 */
/* Readers, publishers and compaction at once: every read sees a version at least as new as what was
 * acknowledged before it began. Worth most under ThreadSanitizer. */
#include "tests/cold/bed.h"

#include <pthread.h>

#define KEYS 500
#define READERS 2
#define WORKERS 2
#define ROUNDS 60

static struct bed bed;
static _Atomic uint64_t acknowledged[KEYS]; /* round of the last published version of the key */
static _Atomic bool stop;
static _Atomic uint64_t reads, scans, failures;

static void fail(const char *what, int k)
{
	printf("  %s: key %d\n", what, k);
	atomic_fetch_add(&failures, 1);
}

/* One get through an io of the thread's own. */
static void read_key(struct cold_io *io, int k)
{
	uint64_t least = atomic_load(&acknowledged[k]), round = 0;
	struct cold_get get = { .key = &k, .key_len = sizeof(k), .space = 1 }, *done;
	get.hash = key_hash(1, &k, sizeof(k), 0);
	if (least && !cold_may_contain(bed.cold, 1, get.hash))
		fail("filtered", k);
	if (!cold_get_start(io, &get) && cold_io_wait(io, &done, 1, -1) != 1)
		fail("no answer", k);
	if (get.status == THERMO_OK)
		memcpy(&round, get.record.value, sizeof(round));
	else if (get.status < 0 || least)
		fail("lost", k);
	if (round < least)
		fail("older than acknowledged", k);
	cold_get_release(io, &get);
	atomic_fetch_add(&reads, 1);
}

static void *reader(void *context)
{
	struct cold_io *io = NULL;
	uint64_t random = (uintptr_t)context;
	if (cold_io_open(bed.cold, 8, &io))
		fail("cold_io_open", 0);
	while (!atomic_load(&stop))
		read_key(io, (int)(bed_random(&random) % KEYS));
	cold_io_close(&io);
	return NULL;
}

static void *scanner(void *context)
{
	(void)context;
	while (!atomic_load(&stop)) {
		struct cold_scan *scan;
		struct cold_record record;
		uint64_t least[KEYS];
		int status, seen = 0, expected = 0;
		for (int k = 0; k < KEYS; k++)
			expected += (least[k] = atomic_load(&acknowledged[k])) != 0;
		if (cold_scan_open(bed.cold, 1, NULL, 0, &scan)) {
			fail("cold_scan_open", 0);
			break;
		}
		while (!(status = cold_scan_next(scan, &record))) {
			int k;
			uint64_t round;
			memcpy(&k, record.key, sizeof(k));
			memcpy(&round, record.value, sizeof(round));
			if (round < least[k])
				fail("scan: older than acknowledged", k);
			seen += least[k] != 0;
		}
		if (status < 0 || seen < expected)
			fail("scan: keys are missing", seen);
		cold_scan_close(&scan);
		atomic_fetch_add(&scans, 1);
	}
	return NULL;
}

static void *worker(void *context)
{
	(void)context;
	while (!atomic_load(&stop)) {
		int status = cold_work(bed.cold);
		if (status < 0)
			fail("cold_work", status);
		if (status == THERMO_MISS)
			sched_yield();
	}
	return NULL;
}

/* Two publishers share the keys, even and odd. */
static void *publisher(void *context)
{
	static _Atomic uint64_t seq;
	int parity = (int)(uintptr_t)context;
	uint64_t random = 77 + (uint64_t)parity;
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		struct cold_writer *writer;
		uint64_t value[8] = { round };
		int from = (int)(bed_random(&random) % KEYS / 2) * 2 + parity;
		int to = from + 200 < KEYS ? from + 200 : KEYS;
		if (cold_writer_open(bed.cold, &writer)) {
			fail("cold_writer_open", 0);
			break;
		}
		for (int k = from; k < to; k += 2) {
			struct cold_record record = bed_record(1, &k, sizeof(k), value, sizeof(value),
							       atomic_fetch_add(&seq, 1) + 1);
			if (cold_writer_add(writer, &record))
				fail("cold_writer_add", k);
		}
		int status = cold_writer_publish(&writer);
		if (status)
			fail("cold_writer_publish", status);
		cold_writer_abort(&writer);
		for (int k = from; k < to && !status; k += 2)
			atomic_store(&acknowledged[k], round);
	}
	return NULL;
}

static void everything_at_once_acknowledged_seen(void)
{
	pthread_t threads[READERS + WORKERS + 1], publishers[2];
	unsigned n = 0;
	bed_open(&bed);
	for (uintptr_t i = 0; i < READERS; i++)
		pthread_create(&threads[n++], NULL, reader, (void *)(i + 1));
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&threads[n++], NULL, worker, NULL);
	pthread_create(&threads[n++], NULL, scanner, NULL);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&publishers[i], NULL, publisher, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(publishers[i], NULL);
	/* Threads that had no turn yet get one: what was published is merged, read and scanned. */
	while (!atomic_load(&failures) && (bed_stats(&bed).compactions <= 3 || !atomic_load(&reads) ||
					   !atomic_load(&scans)))
		sched_yield();
	atomic_store(&stop, true);
	while (n--)
		pthread_join(threads[n], NULL);
	CU_ASSERT_EQUAL(atomic_load(&failures), 0);
	printf("  %llu reads, %llu scans, %llu compactions\n", (unsigned long long)reads,
	       (unsigned long long)scans, (unsigned long long)bed_stats(&bed).compactions);
	for (int k = 0; k < KEYS; k++)
		read_key(bed.io, k);
	CU_ASSERT_EQUAL(atomic_load(&failures), 0);
	bed_close(&bed);
}

static const struct suite_case cases[] = {
	SUITE_CASE(everything_at_once_acknowledged_seen),
};

int main(void)
{
	return suite_run("cold_threads", NULL, NULL, cases, SUITE_COUNT(cases));
}
