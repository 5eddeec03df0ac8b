/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable puts beside what the disk allows, and beside RocksDB with its log synced, in turns, so that a neighbour's
 * noise falls on all of them: medians over the rounds, and of each round's ratio.
 *
 *	bench_durable DIR [ROUNDS [SECONDS [THREADS]]]
 */
#include "include/thermocline.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef BENCH_ROCKSDB
#include <rocksdb/c.h>
#endif

#define VALUE 256u
#define KEYS 100000u
#define ROUNDS_MAX 32
#define THREADS_MAX 64
#define SAMPLES (1u << 20)

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static _Atomic bool stop;
static _Atomic uint64_t stored, failures;
static struct thermo *cache;
static struct thermo_space *space;
static char value[VALUE];

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *state >> 33;
}

static void *put_thermo(void *argument)
{
	uint64_t state = (uint64_t)(uintptr_t)argument + 1;
	char key[17];
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		snprintf(key, sizeof(key), "%016llu", (unsigned long long)(next_random(&state) % KEYS));
		if (thermo_put(space, key, 16, value, VALUE, 0) == THERMO_OK)
			atomic_fetch_add_explicit(&stored, 1, memory_order_relaxed);
		else
			atomic_fetch_add(&failures, 1);
	}
	return NULL;
}

#ifdef BENCH_ROCKSDB
static rocksdb_t *db;
static rocksdb_writeoptions_t *write_options;

static void *put_rocksdb(void *argument)
{
	uint64_t state = (uint64_t)(uintptr_t)argument + 1;
	char key[17], *error = NULL;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		snprintf(key, sizeof(key), "%016llu", (unsigned long long)(next_random(&state) % KEYS));
		rocksdb_put(db, write_options, key, 16, value, VALUE, &error);
		if (!error)
			atomic_fetch_add_explicit(&stored, 1, memory_order_relaxed);
		else
			atomic_fetch_add(&failures, 1);
	}
	return NULL;
}
#endif

/* Puts a second of that many threads; while `meanwhile` runs, or sleeps. */
static double run_puts(void *(*put)(void *), unsigned threads, double seconds, double (*meanwhile)(double))
{
	pthread_t thread[THREADS_MAX];
	atomic_store(&stop, false);
	atomic_store(&stored, 0);
	double began = now();
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, put, (void *)(uintptr_t)i);
	meanwhile(seconds);
	double rate = (double)atomic_load(&stored) / (now() - began);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	return rate;
}

static double rest(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	nanosleep(&t, NULL);
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double p99_us;

/* One thread of gets; sets p99_us. */
static double gets(double seconds)
{
	static double sample[SAMPLES];
	uint64_t state = 77;
	char key[17], got[VALUE];
	size_t len;
	unsigned n = 0;
	double end = now() + seconds;
	while (n < SAMPLES && now() < end) {
		snprintf(key, sizeof(key), "%016llu", (unsigned long long)(next_random(&state) % KEYS));
		double began = now();
		if (thermo_get(space, key, 16, got, sizeof(got), &len) != THERMO_OK)
			atomic_fetch_add(&failures, 1);
		sample[n++] = (now() - began) * 1e6;
	}
	qsort(sample, n, sizeof(sample[0]), by_value);
	p99_us = sample[(uint64_t)n * 99 / 100];
	return 0;
}

/* Appends of so many bytes, each synced, a second: by one thread, in a file like the log's. */
static double disk(const char *dir, size_t bytes, double seconds)
{
	char path[500];
	static char block[1 << 16];
	snprintf(path, sizeof(path), "%s/disk.tmp", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned n = 0;
	if (fd < 0 || posix_fallocate(fd, 0, 64 << 20))
		return 0;
	double began = now();
	for (; now() < began + seconds; n++)
		if (pwrite(fd, block, bytes, (off_t)(n * bytes % (48 << 20))) < 0 || fdatasync(fd))
			break;
	double rate = n / (now() - began);
	close(fd);
	unlink(path);
	return rate;
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}

static void open_all(const char *dir)
{
	struct thermo_options options;
	struct thermo_space_options kept;
	struct thermo_error error;
	static char cold[500];
	thermo_options_init(&options);
	options.dram_bytes = UINT64_C(256) << 20;
	options.put_wait_ms = 1000;
	snprintf(cold, sizeof(cold), "%s/thermo", dir);
	options.cold_dir = cold;
	thermo_space_options_init(&kept);
	kept.durability = THERMO_DURABLE;
	if (thermo_open(&options, &cache, &error) ||
	    thermo_space_open(cache, "kept", &kept, &space, &error)) {
		printf("%s\n", error.text);
		exit(1);
	}
	kept.sync = THERMO_SYNCED_WITHIN; /* the loading */
	thermo_space_open(cache, "kept", &kept, &space, &error);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[17];
		snprintf(key, sizeof(key), "%016u", i);
		thermo_put(space, key, 16, value, VALUE, 0);
	}
	thermo_sync(cache, -1);
	kept.sync = THERMO_SYNCED;
	thermo_space_open(cache, "kept", &kept, &space, &error);
#ifdef BENCH_ROCKSDB
	char *failure = NULL;
	snprintf(cold, sizeof(cold), "%s/rocksdb", dir);
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_write_buffer_size(o, (size_t)128 << 20);
	rocksdb_options_increase_parallelism(o, 2);
	db = rocksdb_open(o, cold, &failure);
	write_options = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(write_options, 1);
	if (failure) {
		printf("RocksDB: %s\n", failure);
		exit(1);
	}
#endif
}

int main(int argc, char **argv)
{
	double share[ROUNDS_MAX], whole[ROUNDS_MAX], peer[ROUNDS_MAX], slower[ROUNDS_MAX];
	if (argc < 2)
		return fprintf(stderr, "bench_durable DIR [ROUNDS [SECONDS [THREADS]]]\n"), 2;
	unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 5, threads = argc > 4 ? (unsigned)atoi(argv[4]) : 16;
	double seconds = argc > 3 ? atof(argv[3]) : 2;
	if (rounds < 1 || rounds > ROUNDS_MAX || threads < 1 || threads > THREADS_MAX)
		return fprintf(stderr, "bench_durable: rounds 1 to 32, threads 1 to 64\n"), 2;
	memset(value, 7, sizeof(value));
	open_all(argv[1]);
	printf("round  puts/s  batch  syncs/s  disk: syncs/s of a batch  RocksDB puts/s  p99 of gets, us: alone, meanwhile\n");
	for (unsigned i = 0; i < rounds; i++) {
		struct thermo_stats a = {.size = sizeof(a)}, b = {.size = sizeof(b)};
		gets(seconds / 2);
		double alone = p99_us;
		double before = disk(argv[1], threads * 304u, seconds / 2);
		thermo_stats(cache, &a);
		double began = now();
		double rate = run_puts(put_thermo, threads, seconds, rest);
		double syncs = now() - began;
		thermo_stats(cache, &b);
		double batch = (double)(b.log_appends - a.log_appends) / (double)(b.log_syncs - a.log_syncs);
		syncs = (double)(b.log_syncs - a.log_syncs) / syncs;
		double rocks = 0;
#ifdef BENCH_ROCKSDB
		rocks = run_puts(put_rocksdb, threads, seconds, rest);
#endif
		double after = disk(argv[1], threads * 304u, seconds / 2);
		run_puts(put_thermo, threads, seconds / 2, gets);
		double fdatasyncs = (before + after) / 2;
		share[i] = rate / (fdatasyncs * batch);
		whole[i] = rate / (fdatasyncs * threads);
		peer[i] = rocks ? rate / rocks : 0;
		slower[i] = p99_us / alone;
		printf("%5u  %6.0f  %5.1f  %7.0f  %24.0f  %14.0f  %8.1f %8.1f\n", i, rate, batch, syncs, fdatasyncs,
		       rocks, alone, p99_us);
		fflush(stdout);
	}
	printf("medians: %.2f of fdatasyncs x batch, %.2f of fdatasyncs x threads, %.2f x RocksDB, p99 of gets %.2f x; "
	       "%llu failures\n",
	       median(share, rounds), median(whole, rounds), median(peer, rounds), median(slower, rounds),
	       (unsigned long long)atomic_load(&failures));
	struct thermo_error error;
	return thermo_close(&cache, -1, &error) ? 1 : 0;
}
