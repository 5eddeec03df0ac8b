/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index under threads, while it grows from the smallest size, again and again. Checked all the
 * time:
 *
 *   settled keys    are inserted once and replaced ever after: a reader must find each of them, at
 * a version that is not older than the one that was there when it began to look flapping keys   are
 * inserted, replaced and removed by their owner: where their state did not change during a look-up,
 * the look-up must agree with it records         that were replaced or removed are poisoned and
 * reused once an epoch has passed: nobody inside an epoch may come upon poison counters travel with
 * their entries: each is a function of its key
 *
 * usage: stress_index [SECONDS [WRITERS [READERS [KEYS]]]]; KEYS: settled ones of each writer in
 * one table; THERMO_TEST_SEED repeats the choice of keys. Ends with status 1 at the first thing
 * that is wrong. tests/index/mutants.py shows what it catches.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc/budget.h"
#include "lookup.h"

enum {
	KEYS_SETTLED = 60000, /* of each writer, at most */
	KEYS_FLAPPING = 400,  /* of each writer */
	WRITERS_MAX = 8,
	READERS_MAX = 8,
	RETIRED_MAX = 1024,
	RECORDS = KEYS_SETTLED + KEYS_FLAPPING + 3 * RETIRED_MAX, /* of each writer */
};

#define POISON UINT64_C(0xdeaddeaddeaddead)
#define FLAPPING (UINT64_C(1) << 40) /* in a key */

/* What is true of a key; written by its owner. Settled: version. Flapping: odd while it is present;
 * changes before and after the index does, so that equal values mean that nothing happened. */
struct truth {
	_Atomic uint64_t version;
	_Atomic uint64_t changing;
};

struct retired {
	uint64_t record[RETIRED_MAX];
	unsigned n;
	uint64_t epoch;
};

struct writer {
	pthread_t thread;
	unsigned number;
	uint64_t random;
	uint64_t version;
	_Atomic uint64_t settled; /* keys below this are there */
	uint64_t *free_records;
	uint64_t n_free;
	struct retired gathering, waiting;
	struct truth *settled_truth, *flapping_truth;
	uint64_t *settled_record, *flapping_record;
};

static struct table table;
static struct writer writers[WRITERS_MAX];
static unsigned n_writers = 2, n_readers = 2;
static uint64_t n_keys = KEYS_SETTLED;
static _Atomic bool stop;
static _Atomic uint64_t lookups, misses, changes, again, swept;

static _Noreturn void wrong(const char *what, uint64_t key, uint64_t a, uint64_t b)
{
	fprintf(stderr, "WRONG: %s: key %llx (%llu, %llu), %llu buckets\n", what,
		(unsigned long long)key, (unsigned long long)a, (unsigned long long)b,
		(unsigned long long)index_buckets(table.index));
	_exit(1);
}

static uint64_t key_of(unsigned writer, uint64_t n)
{
	return (uint64_t)(writer + 1) << 48 | n;
}

static uint8_t counter_of(uint64_t key)
{
	return (uint8_t)mix(key ^ 99);
}

/* --- records --- */

static void reclaim(struct writer *w)
{
	if (w->waiting.n && !epoch_passed(w->waiting.epoch))
		return;
	for (unsigned i = 0; i < w->waiting.n; i++) {
		struct record *record = &table.records[w->waiting.record[i]];
		record->key = POISON;
		record->version = POISON;
		record->magic = POISON;
		w->free_records[w->n_free++] = w->waiting.record[i];
	}
	w->waiting = w->gathering;
	w->waiting.epoch = epoch_advance();
	w->gathering.n = 0;
}

static void retire(struct writer *w, uint64_t record)
{
	w->gathering.record[w->gathering.n++] = record;
	while (w->gathering.n == RETIRED_MAX) {
		reclaim(w);
		sched_yield();
	}
}

static uint64_t record_make(struct writer *w, uint64_t key, uint64_t version)
{
	while (!w->n_free)
		reclaim(w);
	uint64_t record = w->free_records[--w->n_free];
	table.records[record] =
		(struct record){.key = key, .version = version, .magic = RECORD_ALIVE};
	return record;
}

/* --- look-ups --- */

/* The version of the key, 0 if it is not there. */
static uint64_t look(uint64_t key)
{
	struct index_slot at;
	const struct record *record = table_find(&table, key, &at);
	if (!record)
		return 0;
	if (record->key != key || record->magic != RECORD_ALIVE)
		wrong("poisoned record", key, record->key, record->magic);
	return record->version;
}

static void look_settled(struct writer *owner, uint64_t n)
{
	uint64_t key = key_of(owner->number, n);
	uint64_t least = atomic_load(&owner->settled_truth[n].version);
	epoch_enter();
	uint64_t version = look(key);
	epoch_exit();
	if (!version)
		wrong("settled key not found", key, least, n);
	if (version < least)
		wrong("settled key is stale", key, version, least);
}

static void look_flapping(struct writer *owner, uint64_t n)
{
	struct truth *truth = &owner->flapping_truth[n];
	uint64_t key = key_of(owner->number, n) | FLAPPING;
	uint64_t changing = atomic_load(&truth->changing);
	uint64_t expect = atomic_load(&truth->version);
	epoch_enter();
	uint64_t version = look(key);
	epoch_exit();
	if (changing & 1 || atomic_load(&truth->changing) != changing)
		return;
	if (version != expect)
		wrong("flapping key differs", key, version, expect);
	if (!version)
		atomic_fetch_add_explicit(&misses, 1, memory_order_relaxed);
}

static void visit(void *context, struct bucket *bucket, unsigned slot, uint64_t place)
{
	const struct record *record = record_at(&table, place);
	(void)bucket;
	(void)slot;
	if (record->magic != RECORD_ALIVE)
		wrong("sweep met poison", record->key, place, 0);
	++*(uint64_t *)context;
}

static void *reader_run(void *context)
{
	uint64_t random = (uintptr_t)context, cursor = 0, n = 0, seen = 0;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		struct writer *w = &writers[random_next(&random) % n_writers];
		uint64_t settled = atomic_load_explicit(&w->settled, memory_order_acquire);
		uint64_t r = random_next(&random);
		/* The newest ones now and then: their buckets split soonest. */
		if (settled)
			look_settled(w, r & 1 ? r / 2 % settled
					      : settled - 1 - r / 2 % (settled / 8 + 1));
		look_flapping(w, r / 2 % KEYS_FLAPPING);
		n += 2;
		if (n % 1024 == 0) {
			epoch_enter();
			index_sweep(table.index, &cursor, 16, visit, &seen);
			epoch_exit();
		}
	}
	atomic_fetch_add(&lookups, n);
	atomic_fetch_add(&swept, seen);
	return NULL;
}

/* --- writers --- */

static void insert(struct writer *w, uint64_t key, uint64_t record)
{
	struct index_slot at;
	epoch_enter();
	struct bucket *home = index_lock(table.index, table.hash(key));
	if (table_find_locked(&table, home, key, &at))
		wrong("key is there already", key, 0, 0);
	if (index_insert(table.index, home, table.hash(key), place_of(record), counter_of(key),
			 &at))
		wrong("no overflow bucket", key, 0, 0);
	index_unlock(home);
	index_grow(table.index, 64);
	epoch_exit();
	(void)w;
}

/* Replaces the key's record, or removes the key if `record` is UINT64_MAX. */
static void change(uint64_t key, uint64_t record)
{
	struct index_slot at;
	epoch_enter();
	struct bucket *home = index_lock(table.index, table.hash(key));
	if (!table_find_locked(&table, home, key, &at))
		wrong("writer does not find its key", key, 0, 0);
	if (atomic_load(&at.bucket->counter[at.slot]) != counter_of(key))
		wrong("counter did not travel", key, at.slot, 0);
	if (record == UINT64_MAX)
		index_remove(table.index, home, at);
	else
		index_replace(at, place_of(record));
	index_unlock(home);
	epoch_exit();
}

static void settle_one(struct writer *w)
{
	uint64_t n = atomic_load_explicit(&w->settled, memory_order_relaxed);
	uint64_t key = key_of(w->number, n);
	if (n == n_keys)
		return;
	w->settled_record[n] = record_make(w, key, ++w->version);
	insert(w, key, w->settled_record[n]);
	atomic_store(&w->settled_truth[n].version, w->version);
	atomic_store_explicit(&w->settled, n + 1, memory_order_release);
}

static void replace_one(struct writer *w, uint64_t r)
{
	uint64_t settled = atomic_load_explicit(&w->settled, memory_order_relaxed);
	uint64_t n = r & 1 ? r / 2 % settled : settled - 1 - r / 2 % (settled / 8 + 1);
	uint64_t old = w->settled_record[n], key = key_of(w->number, n);
	w->settled_record[n] = record_make(w, key, ++w->version);
	change(key, w->settled_record[n]);
	atomic_store(&w->settled_truth[n].version, w->version);
	retire(w, old);
}

static void flap_one(struct writer *w, uint64_t n, bool remove)
{
	struct truth *truth = &w->flapping_truth[n];
	uint64_t key = key_of(w->number, n) | FLAPPING, old = w->flapping_record[n];
	uint64_t version = atomic_load(&truth->version);
	atomic_fetch_add(&truth->changing, 1);
	if (!version) {
		w->flapping_record[n] = record_make(w, key, ++w->version);
		insert(w, key, w->flapping_record[n]);
		atomic_store(&truth->version, w->version);
	} else if (remove) {
		change(key, UINT64_MAX);
		atomic_store(&truth->version, 0);
	} else {
		w->flapping_record[n] = record_make(w, key, ++w->version);
		change(key, w->flapping_record[n]);
		atomic_store(&truth->version, w->version);
	}
	atomic_fetch_add(&truth->changing, 1);
	if (version)
		retire(w, old);
}

static void *writer_run(void *context)
{
	struct writer *w = context;
	uint64_t n = 0;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t r = random_next(&w->random);
		if (r % 4 < 2 || n == 0)
			settle_one(w);
		else if (r % 4 == 2)
			replace_one(w, r >> 8);
		else
			flap_one(w, (r >> 8) % KEYS_FLAPPING, r >> 4 & 1);
		n++;
	}
	atomic_fetch_add(&changes, n);
	return NULL;
}

static void writer_init(struct writer *w, unsigned number, uint64_t seed)
{
	*w = (struct writer){.number = number, .random = seed + number};
	w->free_records = calloc(RECORDS, 8);
	w->settled_truth = calloc(KEYS_SETTLED, sizeof(struct truth));
	w->flapping_truth = calloc(KEYS_FLAPPING, sizeof(struct truth));
	w->settled_record = calloc(KEYS_SETTLED, 8);
	w->flapping_record = calloc(KEYS_FLAPPING, 8);
	for (uint64_t i = 0; i < RECORDS; i++)
		w->free_records[w->n_free++] = number * (uint64_t)RECORDS + i;
}

static void writer_free(struct writer *w)
{
	free(w->free_records);
	free(w->settled_truth);
	free(w->flapping_truth);
	free(w->settled_record);
	free(w->flapping_record);
}

static void final_check(void)
{
	uint64_t expect = 0, records = index_records(table.index);
	for (unsigned i = 0; i < n_writers; i++) {
		struct writer *w = &writers[i];
		for (uint64_t n = 0; n < atomic_load(&w->settled); n++, expect++)
			look_settled(w, n);
		for (uint64_t n = 0; n < KEYS_FLAPPING; n++) {
			look_flapping(w, n);
			expect += atomic_load(&w->flapping_truth[n].version) != 0;
		}
	}
	if (records != expect)
		wrong("number of records", 0, records, expect);
}

/* One table from the smallest size to its last key, or to the end of time. */
static void round_run(uint64_t seed, double seconds)
{
	struct timespec tick = {.tv_nsec = 2000000};
	struct budget budget;
	pthread_t readers[READERS_MAX];

	budget_init(&budget, UINT64_C(1) << 30);
	table.hash = mix;
	table.records = calloc((uint64_t)RECORDS * n_writers, sizeof(struct record));
	char *const base[2] = {(char *)table.records, NULL};
	if (index_open(&table.index, &budget, 64, 1 << 20, 0, table_hash_of, &table, base))
		wrong("open", 0, 0, 0);
	atomic_store(&stop, false);
	for (unsigned i = 0; i < n_writers; i++)
		writer_init(&writers[i], i, seed);
	for (unsigned i = 0; i < n_writers; i++)
		pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]);
	for (uintptr_t i = 0; i < n_readers; i++)
		pthread_create(&readers[i], NULL, reader_run, (void *)(seed + 100 + i));
	for (double at = 0; at < seconds; at += 0.002) {
		bool full = true;
		nanosleep(&tick, NULL);
		if (index_ahead(table.index))
			wrong("no memory ahead", 0, 0, 0);
		for (unsigned i = 0; i < n_writers; i++)
			full &= atomic_load(&writers[i].settled) == n_keys;
		if (full)
			break;
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < n_writers; i++)
		pthread_join(writers[i].thread, NULL);
	for (unsigned i = 0; i < n_readers; i++)
		pthread_join(readers[i], NULL);
	final_check();
	atomic_fetch_add(&again, index_splits(table.index));
	index_close(&table.index);
	for (unsigned i = 0; i < n_writers; i++)
		writer_free(&writers[i]);
	free(table.records);
	if (atomic_load(&budget.used))
		wrong("budget not given back", 0, atomic_load(&budget.used), 0);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	const char *text = getenv("THERMO_TEST_SEED");
	double seconds = argc > 1 ? atof(argv[1]) : 5, end = now() + seconds;
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) << 20;
	unsigned rounds = 0;

	if (argc > 2)
		n_writers = (unsigned)atoi(argv[2]);
	if (argc > 3)
		n_readers = (unsigned)atoi(argv[3]);
	if (argc > 4)
		n_keys = strtoull(argv[4], NULL, 0);
	if (!n_keys || n_keys > KEYS_SETTLED || !n_writers || n_writers > WRITERS_MAX ||
	    n_readers > READERS_MAX) {
		fprintf(stderr,
			"usage: stress_index [SECONDS [WRITERS 1-8 [READERS 0-8 [KEYS]]]]\n");
		return 2;
	}
	printf("THERMO_TEST_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	for (; now() < end; rounds++)
		round_run(seed + rounds * 1000, end - now());
	printf("%u rounds, %.1f M look-ups, %.1f M true misses, %.1f M changes, %.0f k splits, "
	       "%.1f M swept: nothing wrong\n",
	       rounds, (double)lookups / 1e6, (double)misses / 1e6, (double)changes / 1e6,
	       (double)again / 1e3, (double)swept / 1e6);
	return 0;
}
