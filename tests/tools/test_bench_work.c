/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's own counting, with the floor as the store. */
#include "tests/suite.h"
#include "tools/bench_floor.h"
#include "tools/bench_summary.h"
#include "tools/keys.h"

#include <errno.h>
#include <math.h>

#define OPS (64u * BENCH_BLOCK)

static struct stream stream;
static struct bench_target target;
static struct bench_round round_1;

static struct workload workload(void)
{
	return (struct workload){.keys = 20000,
				 .key_len = 16,
				 .value_least = 64,
				 .value_most = 64,
				 .zipf = 0.99,
				 .get_percent = 100,
				 .threads = 1,
				 .batch = 1,
				 .ops = OPS,
				 .seed = 7};
}

/* Loads the first `loaded` keys and runs one round. */
static void run_round(const struct workload *work, uint64_t loaded)
{
	CU_ASSERT_EQUAL_FATAL(work_stream_open(&stream, work), 0);
	CU_ASSERT_EQUAL_FATAL(bench_floor_open(&target, work), 0);
	CU_ASSERT_EQUAL_FATAL(bench_target_open(&target, work, &stream), 0);
	CU_ASSERT_EQUAL(bench_load(&target, 0, loaded), 0);
	CU_ASSERT_EQUAL_FATAL(bench_run(&target, 1, &round_1), 0);
}

static void close_round(void)
{
	bench_target_close(&target);
	bench_floor_close(&target);
	work_stream_close(&stream);
}

static void run_all_loaded_all_hits(void)
{
	static const unsigned batches[] = {1, 7, 32, 64};
	for (unsigned i = 0; i < 4; i++) {
		struct workload work = workload();
		work.batch = batches[i];
		run_round(&work, work.keys);
		CU_ASSERT_EQUAL(round_1.counts.gets, OPS);
		CU_ASSERT_EQUAL(round_1.counts.hits, OPS);
		CU_ASSERT_EQUAL(round_1.counts.puts, 0);
		CU_ASSERT_EQUAL(round_1.counts.wrong, 0);
		CU_ASSERT_EQUAL(round_1.counts.failed, 0);
		CU_ASSERT(round_1.ops_per_s > 0);
		CU_ASSERT(round_1.quiet_ops_per_s > 0);
		/* One request, or one batch, in 32. */
		double timed = (double)round_1.get_ns.count * work.batch * 32 / OPS;
		CU_ASSERT(timed > 0.9 && timed < 1.1);
		close_round();
	}
}

static void run_two_threads_each_does_its_ops(void)
{
	struct workload work = workload();
	work.threads = 2;
	run_round(&work, work.keys);
	CU_ASSERT_EQUAL(round_1.counts.gets, 2 * OPS);
	CU_ASSERT_EQUAL(round_1.counts.hits, 2 * OPS);
	close_round();
}

static void run_each_timed_times_all(void)
{
	struct workload work = workload();
	work.each = true;
	run_round(&work, work.keys);
	CU_ASSERT_EQUAL(round_1.get_ns.count, OPS);
	CU_ASSERT_EQUAL(round_1.counts.wrong, 0);
	close_round();
}

static void run_some_loaded_counts_misses(void)
{
	for (unsigned batch = 1; batch <= 32; batch += 31) {
		struct workload work = workload();
		work.batch = batch;
		work.zipf = 0;
		run_round(&work, work.keys / 4);
		double hits = (double)round_1.counts.hits / (double)round_1.counts.gets;
		CU_ASSERT(hits > 0.23 && hits < 0.27);
		CU_ASSERT_EQUAL(round_1.counts.wrong, 0);
		close_round();
	}
}

static void run_half_puts_puts_half(void)
{
	for (unsigned batch = 1; batch <= 32; batch += 31) {
		struct workload work = workload();
		work.batch = batch;
		work.get_percent = 50;
		run_round(&work, work.keys);
		double puts = (double)round_1.counts.puts / OPS;
		CU_ASSERT(puts > 0.48 && puts < 0.52);
		CU_ASSERT_EQUAL(round_1.counts.puts + round_1.counts.gets, OPS);
		CU_ASSERT_EQUAL(round_1.counts.hits, round_1.counts.gets);
		CU_ASSERT_EQUAL(round_1.counts.wrong, 0);
		CU_ASSERT(round_1.put_ns.count > 0);
		close_round();
	}
}

static void run_store_refuses_counts_refused(void)
{
	struct workload work = workload();
	work.get_percent = 0;
	struct workload small = work;
	small.keys = 100;
	CU_ASSERT_EQUAL_FATAL(work_stream_open(&stream, &work), 0);
	CU_ASSERT_EQUAL_FATAL(bench_floor_open(&target, &small), 0);
	CU_ASSERT_EQUAL_FATAL(bench_target_open(&target, &work, &stream), 0);
	CU_ASSERT_EQUAL(bench_load(&target, 0, 200), -ENOSPC);
	CU_ASSERT_EQUAL_FATAL(bench_run(&target, 1, &round_1), 0);
	CU_ASSERT_EQUAL(round_1.counts.puts, OPS);
	CU_ASSERT(round_1.counts.refused > 0 && round_1.counts.refused < OPS);
	CU_ASSERT_EQUAL(round_1.counts.failed, 0);
	close_round();
}

static void run_wrong_values_are_seen(void)
{
	for (unsigned batch = 1; batch <= 32; batch += 31) {
		struct workload work = workload();
		unsigned char key[16], value[64] = {0};
		work.batch = batch;
		CU_ASSERT_EQUAL_FATAL(work_stream_open(&stream, &work), 0);
		CU_ASSERT_EQUAL_FATAL(bench_floor_open(&target, &work), 0);
		CU_ASSERT_EQUAL_FATAL(bench_target_open(&target, &work, &stream), 0);
		for (uint64_t i = 0; i < work.keys; i++) {
			keys_write(i, key, 16);
			floor_put(target.context, key, value);
		}
		CU_ASSERT_EQUAL_FATAL(bench_run(&target, 1, &round_1), 0);
		CU_ASSERT_EQUAL(round_1.counts.hits, OPS);
		CU_ASSERT(round_1.counts.wrong >= OPS / 32);
		close_round();
	}
}

static void stream_same_seed_same_requests(void)
{
	struct workload work = workload();
	struct stream again;
	work.get_percent = 70;
	CU_ASSERT_EQUAL_FATAL(work_stream_open(&stream, &work), 0);
	CU_ASSERT_EQUAL_FATAL(work_stream_open(&again, &work), 0);
	CU_ASSERT_EQUAL(stream.n, again.n);
	CU_ASSERT_EQUAL(stream.n % BENCH_BLOCK, 0);
	CU_ASSERT_EQUAL(memcmp(stream.keys, again.keys, stream.n * 16), 0);
	CU_ASSERT_EQUAL(memcmp(stream.puts, again.puts, stream.n), 0);
	uint64_t bad = 0, puts = 0;
	for (uint64_t i = 0; i < stream.n; i++) {
		unsigned char key[16];
		keys_write(stream.numbers[i], key, 16);
		bad += stream.numbers[i] >= work.keys || memcmp(key, stream.keys + i * 16, 16) != 0;
		puts += stream.puts[i];
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT(fabs((double)puts / (double)stream.n - 0.3) < 0.01);
	work_stream_close(&stream);
	work_stream_close(&again);
	CU_ASSERT_PTR_NULL(stream.keys);
}

static void summary_json_comes_back(void)
{
	struct round_summary a, b;
	struct workload work = workload();
	work.get_percent = 50;
	run_round(&work, work.keys);
	histogram_add(&round_1.tier_ns[2], 77000);
	round_summarise(&round_1, &a);
	CU_ASSERT(a.get.p50 <= a.get.p99 && a.get.p99 <= a.get.p999 && a.get.p999 <= a.get.max);
	cJSON *json = round_to_json(&a);
	CU_ASSERT_EQUAL(round_from_json(json, &b), 0);
	CU_ASSERT_EQUAL(a.ops_per_s, b.ops_per_s);
	CU_ASSERT_EQUAL(a.quiet_ops_per_s, b.quiet_ops_per_s);
	CU_ASSERT_EQUAL(memcmp(&a.get, &b.get, sizeof(a.get)), 0);
	CU_ASSERT_EQUAL(memcmp(&a.tier, &b.tier, sizeof(a.tier)), 0);
	CU_ASSERT_EQUAL(memcmp(&a.counts, &b.counts, sizeof(a.counts)), 0);
	cJSON_DeleteItemFromObject(json, "hits");
	CU_ASSERT_EQUAL(round_from_json(json, &b), -EPROTO);
	cJSON_Delete(json);
	CU_ASSERT_EQUAL(round_from_json(NULL, &b), -EPROTO);
	close_round();
}

static void medians_of_rounds_field_by_field(void)
{
	static struct round_summary rounds[3];
	struct round_summary median;
	double even[] = {4, 1, 3, 2};
	CU_ASSERT_EQUAL(median_of(even, 4), 2.5);
	for (unsigned i = 0; i < 3; i++) {
		rounds[i].ops_per_s = (double)((i * 2) % 3); /* 0 2 1 */
		rounds[i].get.count = 10;
		rounds[i].get.p50 = 100 * i;              /* 0 100 200 */
		rounds[i].get.max = 1000 * ((i + 1) % 3); /* 1000 2000 0 */
		rounds[i].counts.hits = 5;
	}
	rounds[1].put.count = 1;
	rounds[1].put.p99 = 9; /* the only round with puts */
	round_medians(rounds, 3, &median);
	CU_ASSERT_EQUAL(median.ops_per_s, 1);
	CU_ASSERT_EQUAL(median.get.p50, 100);
	CU_ASSERT_EQUAL(median.get.max, 2000);
	CU_ASSERT_EQUAL(median.get.count, 30);
	CU_ASSERT_EQUAL(median.counts.hits, 15);
	CU_ASSERT_EQUAL(median.put.p99, 9);
}

static const struct suite_case cases[] = {
	SUITE_CASE(run_all_loaded_all_hits),   SUITE_CASE(run_two_threads_each_does_its_ops),
	SUITE_CASE(run_each_timed_times_all),  SUITE_CASE(run_some_loaded_counts_misses),
	SUITE_CASE(run_half_puts_puts_half),   SUITE_CASE(run_store_refuses_counts_refused),
	SUITE_CASE(run_wrong_values_are_seen), SUITE_CASE(stream_same_seed_same_requests),
	SUITE_CASE(summary_json_comes_back),   SUITE_CASE(medians_of_rounds_field_by_field),
};

int main(void)
{
	return suite_run("bench_work", NULL, NULL, cases, SUITE_COUNT(cases));
}
