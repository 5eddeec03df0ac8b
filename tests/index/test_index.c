/* SPDX-License-Identifier: Apache-2.0 */
/* The index, one thread at a time: against a plain reference, and at its limits. Built once per way
 * to compare tags (see meson.build); skipped where the machine lacks the instructions. */
#include <errno.h>

#include <CUnit/Basic.h>

#include "alloc/budget.h"
#include "alloc/pages.h"
#include "index/index.h"
#include "lookup.h"
#include "tests/suite.h"

#define MIB ((uint64_t)1 << 20)

static uint64_t seed;

static struct budget budget;
static struct table table;

static uint64_t same_bucket(uint64_t key)
{
	return key << 40 | (key & 0xffff) << INDEX_TAG_HASH_SHIFT;
}

/* All in bucket 0 of 64, all in bucket 64 of more. */
static uint64_t moving_bucket(uint64_t key)
{
	return same_bucket(key) | 64;
}

static uint64_t same_hash(uint64_t key)
{
	(void)key;
	return 0; /* the tag of zero, too */
}

static void table_open(uint64_t records, uint64_t buckets, uint64_t buckets_max, uint64_t cap,
		       uint64_t (*hash)(uint64_t))
{
	budget_init(&budget, cap);
	table = (struct table){.hash = hash};
	table.records = calloc(records, sizeof(struct record));
	CU_ASSERT_PTR_NOT_NULL_FATAL(table.records);
	for (uint64_t i = 0; i < records; i++)
		table.records[i] = (struct record){.key = i, .magic = RECORD_ALIVE};
	char *const base[2] = {(char *)table.records, NULL};
	CU_ASSERT_EQUAL_FATAL(index_open(&table.index, &budget, buckets, buckets_max, 0,
					 table_hash_of, &table, base),
			      0);
}

static void table_close(void)
{
	index_close(&table.index);
	CU_ASSERT_PTR_NULL(table.index);
	CU_ASSERT_EQUAL(atomic_load(&budget.used), 0);
	free(table.records);
}

static int add(uint64_t key, uint8_t counter)
{
	struct index_slot at;
	epoch_enter();
	struct bucket *home = index_lock(table.index, table.hash(key));
	int rc = index_insert(table.index, home, table.hash(key), place_of(key), counter, &at);
	if (!rc)
		CU_ASSERT_EQUAL(index_place(at.bucket, at.slot), place_of(key));
	index_unlock(home);
	epoch_exit();
	return rc;
}

static bool delete (uint64_t key)
{
	struct index_slot at;
	struct bucket *home = index_lock(table.index, table.hash(key));
	bool found = table_find_locked(&table, home, key, &at);
	if (found)
		index_remove(table.index, home, at);
	index_unlock(home);
	return found;
}

static void grow(unsigned most)
{
	epoch_enter();
	index_grow(table.index, most);
	epoch_exit();
}

static bool has(uint64_t key, uint8_t counter)
{
	struct index_slot at;
	epoch_enter();
	const struct record *record = table_find(&table, key, &at);
	bool ok = record == &table.records[key] &&
		  atomic_load(&at.bucket->counter[at.slot]) == counter;
	epoch_exit();
	return ok;
}

static bool has_not(uint64_t key)
{
	struct index_slot at;
	epoch_enter();
	bool ok = table_find(&table, key, &at) == NULL;
	epoch_exit();
	return ok;
}

static void count_visit(void *context, struct bucket *bucket, unsigned slot, uint64_t place)
{
	CU_ASSERT_EQUAL(index_place(bucket, slot), place);
	((uint8_t *)context)[place / RECORD_UNITS]++;
}

/* --- tags --- */

static void match_random_buckets_as_defined(void)
{
	uint64_t state = seed;
	struct bucket bucket;
	for (int turn = 0; turn < 200000; turn++) {
		uint64_t tags[4], hashes[4];
		for (int i = 0; i < 4; i++) {
			uint64_t hash = random_next(&state);
			if (turn % 3 == 0) /* near zero, where links and empty slots are */
				hash &= ~(UINT64_C(0x1fffff) << INDEX_TAG_HASH_SHIFT) |
					(uint64_t)(i & 1) << INDEX_TAG_HASH_SHIFT;
			hashes[i] = hash;
			tags[i] = index_tag(hash) & INDEX_TAG_MASK;
			CU_ASSERT(tags[i] >> 42 == ((hash >> 16 & 0x1fffff) | 0x200000));
		}
		unsigned expect = 0;
		for (unsigned i = 0; i < 8; i++) {
			uint64_t r = random_next(&state), word = r & INDEX_PLACE_MASK;
			unsigned kind = r >> 60 & 3;
			if (kind == 1)
				word = 0;
			else if (kind > 1)
				word |= tags[r >> 58 & 3];
			if (i < 7)
				atomic_store(&bucket.entry[i], word);
			else
				memcpy((void *)&bucket.counter, &word, 8);
			if (i == 7)
				atomic_store(&bucket.control, (uint8_t)(r >> 57 & INDEX_LOCK));
			if (i < 7 && word && (word & INDEX_TAG_MASK) == tags[0])
				expect |= 1u << i;
		}
		CU_ASSERT_EQUAL_FATAL(index_match(&bucket, hashes[0]), expect);
	}
}

static void place_emptied_slot_nowhere(void)
{
	struct index_slot at;
	table_open(4, 64, 64, MIB, mix);
	CU_ASSERT_EQUAL(add(1, 0), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(table_find(&table, 1, &at));
	CU_ASSERT(delete (1));
	CU_ASSERT_EQUAL(index_place(at.bucket, at.slot), INDEX_NOWHERE);
	atomic_store(&at.bucket->entry[at.slot], 77); /* a link */
	CU_ASSERT_EQUAL(index_place(at.bucket, at.slot), INDEX_NOWHERE);
	atomic_store(&at.bucket->entry[at.slot], 0);
	table_close();
}

/* --- open --- */

static void open_bad_sizes_einval(void)
{
	struct index *ix = NULL;
	budget_init(&budget, 1 << 30);
	CU_ASSERT_EQUAL(index_open(&ix, &budget, 1024, 64, 0, NULL, NULL, NULL), -EINVAL);
	CU_ASSERT_EQUAL(index_open(&ix, &budget, 64, INDEX_BUCKETS_MAX + 1, 0, NULL, NULL, NULL),
			-EINVAL);
	CU_ASSERT_EQUAL(index_open(&ix, &budget, INDEX_BUCKETS_MAX + 1, INDEX_BUCKETS_MAX + 1, 0,
				   NULL, NULL, NULL),
			-EINVAL);
	CU_ASSERT_PTR_NULL(ix);
	index_close(&ix);
}

static void open_budget_too_small_enomem_takes_nothing(void)
{
	struct index *ix = NULL;
	for (uint64_t cap = 0; cap < 1024 * 1024 + 64 * 1024; cap += 32 * 1024) {
		budget_init(&budget, cap);
		CU_ASSERT_EQUAL(index_open(&ix, &budget, 16384, 1 << 20, 0, NULL, NULL, NULL),
				-ENOMEM);
		CU_ASSERT_EQUAL(atomic_load(&budget.used), 0);
	}
	budget_init(&budget, 1024 * 1024 + 64 * 1024);
	CU_ASSERT_EQUAL(index_open(&ix, &budget, 16384, 1 << 20, 0, NULL, NULL, NULL), 0);
	CU_ASSERT_EQUAL(index_bytes(ix), atomic_load(&budget.used));
	CU_ASSERT_EQUAL(index_buckets(ix), 16384);
	index_close(&ix);
	CU_ASSERT_EQUAL(atomic_load(&budget.used), 0);
}

static void open_odd_sizes_rounded_up(void)
{
	struct index *ix = NULL;
	budget_init(&budget, 1 << 30);
	CU_ASSERT_EQUAL(index_open(&ix, &budget, 0, 0, 0, NULL, NULL, NULL), 0);
	CU_ASSERT_EQUAL(index_buckets(ix), INDEX_BUCKETS_MIN);
	index_close(&ix);
	CU_ASSERT_EQUAL(index_open(&ix, &budget, 1025, 5000, 1, NULL, NULL, NULL), 0);
	CU_ASSERT_EQUAL(index_buckets(ix), 2048);
	index_close(&ix);
}

/* --- entries --- */

static void replace_entry_keeps_tag_and_counter(void)
{
	struct index_slot at;
	table_open(8, 64, 64, MIB, mix);
	CU_ASSERT_EQUAL(add(3, 200), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(table_find(&table, 3, &at));
	table.records[5].key = 3;
	index_replace(at, place_of(5));
	CU_ASSERT_PTR_EQUAL(table_find(&table, 3, &at), &table.records[5]);
	CU_ASSERT_EQUAL(atomic_load(&at.bucket->counter[at.slot]), 200);
	uint64_t top = (UINT64_C(1) << (INDEX_PLACE_BITS - 1)) | 9; /* warm tier */
	index_replace(at, top);
	CU_ASSERT_EQUAL(index_place(at.bucket, at.slot), top);
	table_close();
}

static void insert_one_bucket_chains_and_unchains(void)
{
	enum { N = 100 };
	table_open(N, 64, 64, MIB, same_bucket);
	for (uint64_t k = 0; k < N; k++) {
		CU_ASSERT_EQUAL(add(k, (uint8_t)k), 0);
		for (uint64_t j = 0; j <= k; j++)
			CU_ASSERT(has(j, (uint8_t)j));
	}
	CU_ASSERT_EQUAL(index_records(table.index), N);
	/* 6 entries a bucket, the last one 7 */
	CU_ASSERT_EQUAL(index_overflow(table.index), (N - 7 + 5) / 6);
	uint64_t state = seed, left = N;
	bool gone[N] = {0};
	while (left) {
		uint64_t k = random_next(&state) % N;
		CU_ASSERT_EQUAL(delete (k), !gone[k]);
		left -= !gone[k];
		gone[k] = true;
		for (uint64_t j = 0; j < N; j++)
			CU_ASSERT(gone[j] ? has_not(j) : has(j, (uint8_t)j));
	}
	CU_ASSERT_EQUAL(index_records(table.index), 0);
	CU_ASSERT_EQUAL(index_overflow(table.index), 0);
	table_close();
}

static void insert_equal_hashes_all_found(void)
{
	enum { N = 40 };
	table_open(N, 64, 1 << 12, MIB, same_hash);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT_EQUAL(add(k, 7), 0);
	for (uint64_t k = 0; k < N; k += 2)
		CU_ASSERT(delete (k));
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT(k % 2 ? has(k, 7) : has_not(k));
	table_close();
}

static void insert_short_chain_pulled_home(void)
{
	table_open(20, 64, 64, MIB, same_bucket);
	for (uint64_t k = 0; k < 9; k++)
		CU_ASSERT_EQUAL(add(k, (uint8_t)k), 0);
	CU_ASSERT_EQUAL(index_overflow(table.index), 1);
	for (uint64_t k = 0; k < 4; k++)
		CU_ASSERT(delete (k));
	uint64_t view = index_view(table.index);
	CU_ASSERT_EQUAL(add(10, 10), 0);
	CU_ASSERT_EQUAL(index_overflow(table.index), 0);
	CU_ASSERT_NOT_EQUAL(index_view(table.index), view);
	for (uint64_t k = 4; k < 9; k++)
		CU_ASSERT(has(k, (uint8_t)k));
	CU_ASSERT(has(10, 10));
	table_close();
}

/* Churn of one chain: overflow buckets come back once an epoch has passed. */
static void insert_churned_chain_reuses_overflow(void)
{
	table_open(16, 64, 64, MIB, same_bucket);
	uint64_t before = index_bytes(table.index);
	for (int turn = 0; turn < 20000; turn++) {
		for (uint64_t k = 0; k < 8; k++)
			CU_ASSERT_EQUAL_FATAL(add(k, 0), 0);
		for (uint64_t k = 0; k < 8; k++)
			CU_ASSERT(delete (k));
	}
	CU_ASSERT_EQUAL(index_bytes(table.index), before);
	table_close();
}

static void insert_no_overflow_enomem_changes_nothing(void)
{
	/* 64 KiB of home buckets and 64 KiB of overflow, of which the struct index takes some */
	table_open(20000, 64, 64, 128 * 1024, same_bucket);
	uint64_t n = 0;
	int rc;
	while ((rc = add(n, 1)) == 0)
		n++;
	CU_ASSERT_EQUAL(rc, -ENOMEM);
	CU_ASSERT(n > 5000 && n < 7000);
	CU_ASSERT_EQUAL(add(n, 1), -ENOMEM);
	CU_ASSERT_EQUAL(index_records(table.index), n);
	for (uint64_t k = 0; k < n; k += 97)
		CU_ASSERT(has(k, 1));
	CU_ASSERT(has_not(n));
	atomic_store(&budget.cap, MIB);
	CU_ASSERT_EQUAL(add(n, 1), 0);
	CU_ASSERT(has(n, 1));
	table_close();
}

/* --- growth --- */

/* Random inserts, deletes, counters, grown from the smallest table over the size at which records
 * are no longer read; checked against an array at every doubling. */
static void grow_random_operations_equal_reference(void)
{
	enum { N = 700000 };
	uint64_t state = seed;
	uint8_t *reference = calloc(N, 2); /* 0 absent, else 1 + counter */
	table_open(N, 64, 1 << 20, 256 * MIB, mix);
	uint64_t last = 64, n = 0;
	for (uint64_t turn = 0; turn < 2 * N; turn++) {
		uint64_t k = random_next(&state) % (turn / 2 + 10 < N ? turn / 2 + 10 : N);
		uint8_t counter = (uint8_t)(random_next(&state) % 255);
		if (reference[k] && turn % 4 == 0) {
			CU_ASSERT(delete (k));
			reference[k] = 0;
			n--;
		} else if (!reference[k]) {
			CU_ASSERT_EQUAL(add(k, counter), 0);
			reference[k] = (uint8_t)(1 + counter);
			n++;
		}
		uint64_t splits = index_splits(table.index);
		grow(64);
		CU_ASSERT(index_splits(table.index) - splits <= 64);
		if (index_buckets(table.index) < 2 * last && turn != 2 * N - 1)
			continue;
		last = index_buckets(table.index);
		CU_ASSERT_EQUAL(index_records(table.index), n);
		for (uint64_t j = 0; j < N; j++) {
			bool ok = reference[j] ? has(j, (uint8_t)(reference[j] - 1)) : has_not(j);
			if (!ok)
				CU_FAIL_FATAL(
					"an entry was lost, or came back, or its counter changed");
		}
	}
	CU_ASSERT(index_buckets(table.index) > 1 << 16);
	CU_ASSERT_FALSE(index_growth_blocked(table.index));
	free(reference);
	table_close();
}

static void grow_large_table_reads_no_records(void)
{
	enum { N = 700000 };
	table_open(N, 1 << 16, 1 << 20, 256 * MIB, mix);
	for (uint64_t k = 0; k < N; k++) {
		CU_ASSERT_EQUAL(add(k, (uint8_t)k), 0);
		grow(64);
	}
	CU_ASSERT_EQUAL(index_buckets(table.index), 1 << 17);
	CU_ASSERT_EQUAL(atomic_load(&table.hashed), 0);
	for (uint64_t k = 0; k < N; k++)
		if (!has(k, (uint8_t)k))
			CU_FAIL_FATAL("lost");
	table_close();
}

static void grow_over_doublings_memory_within_bounds(void)
{
	enum { N = 1600000, FIRST = 100000 };
	double sum = 0, worst = 0;
	table_open(N, 64, 1 << 20, 256 * MIB, mix);
	for (uint64_t k = 0; k < N; k++) {
		CU_ASSERT_EQUAL(add(k, 0), 0);
		grow(64);
		if (k < FIRST)
			continue;
		double each = (double)(index_buckets(table.index) + index_overflow(table.index)) *
			      sizeof(struct bucket) / (double)(k + 1);
		sum += each;
		worst = each > worst ? each : worst;
	}
	printf("  bytes an entry: mean %.2f, worst %.2f\n", sum / (N - FIRST), worst);
	CU_ASSERT(sum / (N - FIRST) <= 16.2);
	CU_ASSERT(worst <= 22);
	table_close();
}

static void grow_budget_refuses_blocked_then_resumes(void)
{
	enum { N = 30000 };
	/* room for 64 KiB of home buckets and some overflow, not for a second 64 KiB */
	table_open(N + 2000, 64, 1 << 16, 128 * 1024, mix);
	uint64_t n = 0;
	for (; n < 6000; n++) {
		CU_ASSERT_EQUAL(add(n, (uint8_t)n), 0);
		grow(64);
	}
	CU_ASSERT_EQUAL(index_buckets(table.index), 1024);
	CU_ASSERT(index_growth_blocked(table.index));
	atomic_store(&budget.cap, 16 * MIB);
	for (; n < N; n++) {
		CU_ASSERT_EQUAL(add(n, (uint8_t)n), 0);
		grow(64);
	}
	CU_ASSERT_FALSE(index_growth_blocked(table.index));
	CU_ASSERT(index_buckets(table.index) >= 4096);
	for (uint64_t k = 0; k < n; k++)
		if (!has(k, (uint8_t)k))
			CU_FAIL_FATAL("lost");
	table_close();
}

static void grow_at_buckets_max_stops_and_says_so(void)
{
	enum { N = 3000 };
	table_open(N, 64, 256, 16 * MIB, mix);
	for (uint64_t n = 0; n < N; n++) {
		CU_ASSERT_EQUAL(add(n, (uint8_t)n), 0);
		grow(64);
		if (n == 1000)
			CU_ASSERT_FALSE(index_growth_blocked(table.index));
	}
	CU_ASSERT_EQUAL(index_buckets(table.index), 256);
	CU_ASSERT(index_growth_blocked(table.index));
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT(has(k, (uint8_t)k));
	table_close();
}

/* Memory that is near its use is there before the call that needs it. */
static void ahead_every_insert_growth_commits_nothing(void)
{
	enum { N = 500000 };
	unsigned steps = 0;
	table_open(N, 64, 1 << 20, 256 * MIB, mix);
	for (uint64_t k = 0; k < N; k++) {
		uint64_t bytes = index_bytes(table.index);
		CU_ASSERT_EQUAL(index_ahead(table.index), 0);
		uint64_t after = index_bytes(table.index);
		steps += after != bytes;
		CU_ASSERT_EQUAL(add(k, 0), 0);
		grow(64);
		CU_ASSERT_EQUAL(index_bytes(table.index), after);
		if (k % 1024 == 0) /* far from half of it unused */
			CU_ASSERT(index_bytes(table.index) < 26 * (k + 1) + MIB * 5);
	}
	CU_ASSERT(steps > 8);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT(has(k, 0));
	table_close();
}

static void ahead_budget_refuses_enomem(void)
{
	table_open(6000, 64, 1 << 16, 128 * 1024, mix);
	int rc = 0;
	for (uint64_t k = 0; k < 6000 && !rc; k++) {
		CU_ASSERT_EQUAL(add(k, 0), 0);
		grow(64);
		rc = index_ahead(table.index);
	}
	CU_ASSERT_EQUAL(rc, -ENOMEM);
	CU_ASSERT_EQUAL(index_bytes(table.index), 128 * 1024);
	table_close();
}

/* A split whose new bucket needs a chain, and there are no overflow buckets for it. */
static void grow_split_without_overflow_changes_nothing(void)
{
	enum { N = 3500 };
	table_open(N, 64, 128, 128 * 1024, moving_bucket);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT_EQUAL_FATAL(add(k, (uint8_t)k), 0);
	uint64_t overflow = index_overflow(table.index);
	grow(64);
	CU_ASSERT(index_growth_blocked(table.index));
	CU_ASSERT_EQUAL(index_buckets(table.index), 64);
	CU_ASSERT_EQUAL(index_overflow(table.index), overflow);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT(has(k, (uint8_t)k));

	atomic_store(&budget.cap, MIB);
	epoch_enter();
	index_grow_now(table.index, 64);
	epoch_exit();
	CU_ASSERT(index_buckets(table.index) > 64);
	CU_ASSERT_EQUAL(index_overflow(table.index), overflow);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT(has(k, (uint8_t)k));
	table_close();
}

/* --- sweep --- */

static void sweep_quiet_table_each_once_then_wraps(void)
{
	enum { N = 5000 };
	uint8_t *seen = calloc(N, 1);
	uint64_t cursor = 0;
	table_open(N, 512, 1024, 16 * MIB, mix);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT_EQUAL(add(k, 0), 0);
	CU_ASSERT(index_overflow(table.index) > 100);
	epoch_enter();
	for (int i = 0; i < 511; i++)
		index_sweep(table.index, &cursor, 1, count_visit, seen);
	uint64_t sum = 0;
	for (uint64_t k = 0; k < N; k++)
		sum += seen[k];
	CU_ASSERT(sum < N);
	index_sweep(table.index, &cursor, 1, count_visit, seen);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT_EQUAL(seen[k], 1);
	index_sweep(table.index, &cursor, 512, count_visit, seen);
	for (uint64_t k = 0; k < N; k++)
		CU_ASSERT_EQUAL(seen[k], 2);
	epoch_exit();
	free(seen);
	table_close();
}

static int cpu_supported(void)
{
#if defined(__AVX512F__)
	return __builtin_cpu_supports("avx512f");
#elif defined(__AVX2__)
	return __builtin_cpu_supports("avx2");
#else
	return 1;
#endif
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(match_random_buckets_as_defined),
		SUITE_CASE(place_emptied_slot_nowhere),
		SUITE_CASE(open_bad_sizes_einval),
		SUITE_CASE(open_budget_too_small_enomem_takes_nothing),
		SUITE_CASE(open_odd_sizes_rounded_up),
		SUITE_CASE(replace_entry_keeps_tag_and_counter),
		SUITE_CASE(insert_one_bucket_chains_and_unchains),
		SUITE_CASE(insert_equal_hashes_all_found),
		SUITE_CASE(insert_short_chain_pulled_home),
		SUITE_CASE(insert_churned_chain_reuses_overflow),
		SUITE_CASE(insert_no_overflow_enomem_changes_nothing),
		SUITE_CASE(grow_random_operations_equal_reference),
		SUITE_CASE(grow_large_table_reads_no_records),
		SUITE_CASE(grow_over_doublings_memory_within_bounds),
		SUITE_CASE(grow_budget_refuses_blocked_then_resumes),
		SUITE_CASE(grow_at_buckets_max_stops_and_says_so),
		SUITE_CASE(ahead_every_insert_growth_commits_nothing),
		SUITE_CASE(ahead_budget_refuses_enomem),
		SUITE_CASE(grow_split_without_overflow_changes_nothing),
		SUITE_CASE(sweep_quiet_table_each_once_then_wraps),
	};
	if (!cpu_supported()) {
		printf("this machine lacks the instructions\n");
		return SUITE_SKIPPED;
	}
	seed = suite_seed();
	return suite_run("index", NULL, NULL, cases, SUITE_COUNT(cases));
}
