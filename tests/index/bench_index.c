/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the index costs. Not a test. One process, one set of keys:
 *
 *   - look-ups per second, single and in batches of 32, against a plain open-addressing table that
 * stores key and value in its slots; records are 8 + 16 + 64 bytes, keys Zipf 0.99 (or uniform);
 * medians of 5
 *   - inserts into a table that grows, against one that was made large enough, and the longest
 * single index_grow(ix, 64)
 *   - bytes an entry and entries in overflow buckets while the table grows from 1 M to the end
 *
 * usage: bench_index [KEYS [uniform]]    (10 M keys take 2.3 GB)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "alloc/budget.h"
#include "index/index.h"

#define VALUE 64
#define BATCH 32
#define ROUNDS 150

struct key {
	uint64_t a, b;
};

struct record {
	uint64_t head;
	struct key key;
	uint8_t value[VALUE];
};

struct floor_slot {
	struct key key;
	uint8_t value[VALUE];
};

static uint64_t n_keys = 10000000, n_queries, slice, first; /* queries, of a turn, its first */
static struct floor_slot *plain;
static uint64_t plain_slots;
static struct record *records;
static struct index *ix;
static uint32_t *queries;
static uint8_t out[BATCH][VALUE];

/* This thread's: other work on the machine takes cache and bandwidth from us, but not time. */
static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static inline struct key key_of(uint32_t i)
{
	return (struct key){mix(i + 1), mix(i + 77) ^ i};
}

static inline uint64_t hash_of(struct key key)
{
	__uint128_t m = (__uint128_t)(key.a ^ UINT64_C(0x9e3779b97f4a7c15)) *
			(key.b ^ UINT64_C(0xd6e8feb86659fd93));
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline bool key_is(const struct key *at, struct key key)
{
	return at->a == key.a && at->b == key.b;
}

static void *pages(size_t bytes)
{
	const size_t huge = (size_t)2 << 20;
	bytes = (bytes + huge - 1) & ~(huge - 1);
	char *got = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (got == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	got = (char *)(((uintptr_t)got + huge - 1) & ~(uintptr_t)(huge - 1));
	madvise(got, bytes, MADV_HUGEPAGE);
	memset(got, 0, bytes);
	return got;
}

/* --- the plain table --- */

static inline uint64_t plain_home(uint64_t hash)
{
	return (uint64_t)((__uint128_t)hash * plain_slots >> 64);
}

static void plain_put(uint32_t i)
{
	struct key key = key_of(i);
	uint64_t at = plain_home(hash_of(key));
	while (plain[at].key.a | plain[at].key.b)
		at = at + 1 == plain_slots ? 0 : at + 1;
	plain[at].key = key;
	memset(plain[at].value, (uint8_t)i, VALUE);
}

static inline bool plain_get(struct key key, uint64_t hash, uint8_t *to)
{
	for (uint64_t at = plain_home(hash);; at = at + 1 == plain_slots ? 0 : at + 1) {
		if (key_is(&plain[at].key, key)) {
			memcpy(to, plain[at].value, VALUE);
			return true;
		}
		if (!(plain[at].key.a | plain[at].key.b))
			return false;
	}
}

static uint64_t plain_single(void)
{
	uint64_t hits = 0;
	for (uint64_t i = first; i < first + slice; i++) {
		struct key key = key_of(queries[i]);
		hits += plain_get(key, hash_of(key), out[0]);
	}
	return hits;
}

static uint64_t plain_batch(void)
{
	uint64_t hits = 0, hash[BATCH];
	struct key key[BATCH];
	for (uint64_t i = first; i < first + slice; i += BATCH) {
		for (unsigned j = 0; j < BATCH; j++) {
			key[j] = key_of(queries[i + j]);
			hash[j] = hash_of(key[j]);
			const char *slot = (const char *)&plain[plain_home(hash[j])];
			__builtin_prefetch(slot);
			__builtin_prefetch(slot + 64);
		}
		for (unsigned j = 0; j < BATCH; j++)
			hits += plain_get(key[j], hash[j], out[j]);
	}
	return hits;
}

/* --- the index --- */

static inline struct record *record_at(uint64_t place)
{
	return (struct record *)(void *)((char *)records + place * 8);
}

static uint64_t hash_at(void *context, uint64_t place)
{
	(void)context;
	return hash_of(record_at(place)->key);
}

/* counters: a hit counts up to 3, as the policy would. */
static inline bool index_get(const struct index *table, struct key key, uint64_t hash, uint8_t *to,
			     bool counters)
{
	uint64_t view;
	do {
		view = index_view(table);
		for (struct bucket *b = index_home(table, view, hash); b;
		     b = index_next(table, b)) {
			for (unsigned m = index_match(b, hash); m; m &= m - 1) {
				unsigned slot = (unsigned)__builtin_ctz(m);
				uint64_t place = index_place(b, slot);
				if (place == INDEX_NOWHERE)
					continue;
				const struct record *record = record_at(place);
				if (!key_is(&record->key, key))
					continue;
				if (counters) {
					uint8_t c = atomic_load_explicit(&b->counter[slot],
									 memory_order_relaxed);
					if (c < 3)
						atomic_store_explicit(&b->counter[slot],
								      (uint8_t)(c + 1),
								      memory_order_relaxed);
				}
				memcpy(to, record->value, VALUE);
				return true;
			}
		}
	} while (index_view(table) != view);
	return false;
}

static uint64_t single_bare(void)
{
	const struct index *table = ix;
	uint64_t hits = 0;
	for (uint64_t i = first; i < first + slice; i++) {
		struct key key = key_of(queries[i]);
		hits += index_get(table, key, hash_of(key), out[0], false);
	}
	return hits;
}

static uint64_t single_epoch(void)
{
	const struct index *table = ix;
	uint64_t hits = 0;
	for (uint64_t i = first; i < first + slice; i++) {
		struct key key = key_of(queries[i]);
		struct epoch_slot *begun = epoch_begin();
		hits += index_get(table, key, hash_of(key), out[0], false);
		epoch_end(begun);
	}
	return hits;
}

static uint64_t single_full(void)
{
	const struct index *table = ix;
	uint64_t hits = 0;
	for (uint64_t i = first; i < first + slice; i++) {
		struct key key = key_of(queries[i]);
		struct epoch_slot *begun = epoch_begin();
		hits += index_get(table, key, hash_of(key), out[0], true);
		epoch_end(begun);
	}
	return hits;
}

static uint64_t batch_full(void)
{
	uint64_t hits = 0, hash[BATCH];
	struct key key[BATCH];
	struct bucket *home[BATCH];
	for (uint64_t i = first; i < first + slice; i += BATCH) {
		epoch_enter();
		uint64_t view = index_view(ix);
		for (unsigned j = 0; j < BATCH; j++) {
			key[j] = key_of(queries[i + j]);
			hash[j] = hash_of(key[j]);
			home[j] = index_home(ix, view, hash[j]);
			__builtin_prefetch(home[j]);
		}
		for (unsigned j = 0; j < BATCH; j++) {
			unsigned m = index_match(home[j], hash[j]);
			if (!m)
				continue;
			uint64_t place = index_place(home[j], (unsigned)__builtin_ctz(m));
			const char *record = (const char *)record_at(place);
			if (place == INDEX_NOWHERE)
				continue;
			__builtin_prefetch(record);
			__builtin_prefetch(record + 64);
		}
		for (unsigned j = 0; j < BATCH; j++)
			hits += index_get(ix, key[j], hash[j], out[j], true);
		epoch_exit();
	}
	return hits;
}

static void put(uint32_t i)
{
	struct index_slot at;
	struct key key = key_of(i);
	uint64_t hash = hash_of(key);
	epoch_enter();
	struct bucket *home = index_lock(ix, hash);
	if (index_insert(ix, home, hash, i * (sizeof(struct record) / 8), 0, &at))
		exit(1);
	index_unlock(home);
	epoch_exit();
}

/* --- what is measured --- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void look_ups(const char *name)
{
	static const struct {
		const char *name;
		uint64_t (*run)(void);
		int floor;
	} modes[] = {
		{"plain table, single", plain_single, 0},
		{"index, single, bare", single_bare, 0},
		{"  + epoch", single_epoch, 0},
		{"  + epoch + counter", single_full, 0},
		{"plain table, batch", plain_batch, 4},
		{"index, batch, epoch + counter", batch_full, 4},
	};
	enum { N = sizeof(modes) / sizeof(modes[0]) };
	static double rate[N][ROUNDS], share[N][ROUNDS];
	for (int r = 0; r < ROUNDS; r++) {
		for (int m = 0; m < N; m++) {
			first = slice * (uint64_t)((r * N + m) * 7 % ROUNDS);
			double t = now();
			uint64_t hits = modes[m].run();
			rate[m][r] = (double)slice / (now() - t) / 1e6;
			share[m][r] = rate[m][r] / rate[modes[m].floor][r];
			if (hits != slice)
				printf("WRONG: %s: %llu hits\n", modes[m].name,
				       (unsigned long long)hits);
		}
	}
	printf("%s, %llu M keys, M look-ups/s: median (quartiles); share of the plain table\n",
	       name, (unsigned long long)(n_keys / 1000000));
	for (int m = 0; m < N; m++) {
		qsort(rate[m], ROUNDS, sizeof(double), by_value);
		qsort(share[m], ROUNDS, sizeof(double), by_value);
		printf("  %-32s %6.2f (%.2f, %.2f)  %.2f (%.2f, %.2f)\n", modes[m].name,
		       rate[m][ROUNDS / 2], rate[m][ROUNDS / 4], rate[m][ROUNDS * 3 / 4],
		       share[m][ROUNDS / 2], share[m][ROUNDS / 4], share[m][ROUNDS * 3 / 4]);
	}
}

static void inserts(struct budget *budget, uint64_t buckets, bool ahead, const char *name)
{
	double worst = 0, grown = 0, sum = 0, most = 0, over = 0, ahead_sum = 0, t = now();
	double clock = now();
	uint64_t steps = 0;
	for (int i = 0; i < 1000; i++)
		(void)now();
	clock = (now() - clock) / 1001;
	char *const base[2] = {(char *)records, NULL};
	if (index_open(&ix, budget, buckets, UINT64_C(1) << 26, 1, hash_at, NULL, base))
		exit(1);
	for (uint32_t i = 0; i < n_keys; i++) {
		put(i);
		if (ahead && i % 1024 == 0) {
			double from = now();
			index_ahead(ix); /* a background thread's work */
			ahead_sum += now() - from;
		}
		if (atomic_load_explicit(&ix->count, memory_order_relaxed) >=
		    atomic_load_explicit(&ix->grow_at, memory_order_relaxed)) {
			double from = now();
			epoch_enter();
			index_grow(ix, 64);
			epoch_exit();
			double took = now() - from - clock;
			worst = took > worst ? took : worst;
			grown += took;
		}
		if (i < 1000000 || i % 50000)
			continue;
		double each = (double)index_bytes(ix) / i;
		sum += each;
		most = each > most ? each : most;
		over += (double)index_overflow(ix) / (double)index_buckets(ix);
		steps++;
	}
	t = now() - t - ahead_sum;
	printf("%s: %.0f ns an insert, of it growth %.1f ns; longest index_grow(64) %.0f us; "
	       "%llu splits, %llu buckets, %llu overflow\n",
	       name, t / (double)n_keys * 1e9, grown / (double)n_keys * 1e9, worst * 1e6,
	       (unsigned long long)index_splits(ix), (unsigned long long)index_buckets(ix),
	       (unsigned long long)index_overflow(ix));
	printf("  bytes an entry, all committed memory: mean %.2f, worst %.2f, at the end %.2f; "
	       "overflow buckets a home bucket: mean %.3f\n",
	       sum / (double)steps, most, (double)index_bytes(ix) / (double)n_keys,
	       over / (double)steps);
}

static void queries_make(bool uniform)
{
	uint32_t *order = malloc(4 * n_keys);
	uint64_t s = 42;
	queries = malloc(4 * n_queries);
	for (uint32_t i = 0; i < n_keys; i++)
		order[i] = i;
	for (uint32_t i = (uint32_t)n_keys - 1; i; i--) {
		s = s * UINT64_C(6364136223846793005) + 1;
		uint32_t j = (uint32_t)((s >> 32) % (i + 1)), t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	/* Gray et al., "Quickly generating billion-record synthetic databases" */
	double theta = .99, zeta = 0, zeta2 = 1 + pow(2, -theta), alpha = 1 / (1 - theta);
	for (uint64_t i = 1; i <= n_keys; i++)
		zeta += pow((double)i, -theta);
	double eta = (1 - pow(2.0 / (double)n_keys, 1 - theta)) / (1 - zeta2 / zeta);
	s = 7;
	for (uint64_t i = 0; i < n_queries; i++) {
		s = mix(s + UINT64_C(0x9e3779b97f4a7c15));
		double u = (double)(s >> 11) * 0x1p-53, uz = u * zeta;
		uint64_t rank =
			uz < 1       ? 0
			: uz < zeta2 ? 1
				     : (uint64_t)((double)n_keys * pow(eta * u - eta + 1, alpha));
		queries[i] =
			uniform ? (uint32_t)(s % n_keys) : order[rank < n_keys ? rank : n_keys - 1];
	}
	free(order);
}

int main(int argc, char **argv)
{
	struct budget budget;
#if defined(__AVX512F__)
	const char *name = "AVX-512";
#elif defined(__AVX2__)
	const char *name = "AVX2";
#elif defined(INDEX_SIMD)
	const char *name = "SSE2";
#else
	const char *name = "portable";
#endif
	if (argc > 1)
		n_keys = strtoull(argv[1], NULL, 0);
	if (n_keys < 1000 || n_keys > UINT32_MAX) {
		fprintf(stderr, "usage: bench_index [KEYS [uniform]]\n");
		return 2;
	}
	slice = n_keys / 50 / BATCH * BATCH;
	n_queries = slice * ROUNDS;
	budget_init(&budget, UINT64_MAX);
	records = pages(n_keys * sizeof(struct record));
	for (uint32_t i = 0; i < n_keys; i++) {
		records[i].key = key_of(i);
		memset(records[i].value, (uint8_t)i, VALUE);
	}
	inserts(&budget, UINT64_C(1) << 21, false, "large enough");
	index_close(&ix);
	inserts(&budget, 64, false, "from 64 buckets");
	index_close(&ix);
	inserts(&budget, 64, true, "from 64 buckets, memory ahead");
	plain_slots = (uint64_t)((double)n_keys / 0.78);
	plain = pages(plain_slots * sizeof(struct floor_slot));
	for (uint32_t i = 0; i < n_keys; i++)
		plain_put(i);
	queries_make(argc > 2);
	look_ups(name);
	index_close(&ix);
	return 0;
}
