/* SPDX-License-Identifier: Apache-2.0 */
/* Each peer that was built and is installed: loads, runs rounds of all kinds, finds what was put.
 */
#include "tests/suite.h"
#include "tools/bench_peer.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static struct workload workload(void)
{
	return (struct workload){.keys = 3000,
				 .key_len = 16,
				 .value_least = 10,
				 .value_most = 300,
				 .zipf = 0.9,
				 .get_percent = 100,
				 .threads = 1,
				 .batch = 1,
				 .ops = 16 * BENCH_BLOCK,
				 .seed = 3};
}

/* False: it is not there, and the case is skipped. */
static bool run_peer(const char *name, const struct workload *work, bool direct,
		     struct round_summary *round)
{
	struct bench_peer peer;
	struct bench_peer_options options = {.cache_bytes = 8 << 20, .direct = direct};

	int status = bench_peer_open(&peer, name, work, &options);
	if (status) {
		suite_skip(peer.failure);
		return false;
	}
	CU_ASSERT(peer.bytes > 0);
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL_FATAL(bench_peer_run(&peer, 1, round), 0);
		CU_ASSERT_EQUAL(round->counts.gets + round->counts.puts, work->ops * work->threads);
		CU_ASSERT_EQUAL(round->counts.hits, round->counts.gets);
		CU_ASSERT_EQUAL(round->counts.wrong, 0);
		CU_ASSERT_EQUAL(round->counts.failed, 0);
		CU_ASSERT_EQUAL(round->counts.refused, 0);
		CU_ASSERT(round->ops_per_s > 0);
	}
	char dir[1024];
	snprintf(dir, sizeof(dir), "%s", peer.dir);
	CU_ASSERT_EQUAL(access(dir, F_OK), 0);
	bench_peer_close(&peer);
	CU_ASSERT_NOT_EQUAL(access(dir, F_OK), 0);
	return true;
}

static void try_all_ways(const char *name)
{
	struct workload work = workload();
	struct round_summary round;

	if (!run_peer(name, &work, false, &round))
		return;
	CU_ASSERT_EQUAL(round.counts.puts, 0);
	CU_ASSERT(round.get.count > 0);
	work.batch = 32;
	run_peer(name, &work, false, &round);
	work.get_percent = 50;
	work.threads = 2;
	run_peer(name, &work, false, &round);
	CU_ASSERT(round.counts.puts > 0);
	CU_ASSERT(round.put.count > 0);
	work.batch = 1;
	work.each = true;
	run_peer(name, &work, true, &round);
	CU_ASSERT_EQUAL(round.get.count, round.counts.gets);
}

static void run_rocksdb_all_hits(void)
{
	try_all_ways("rocksdb");
}

static void run_lmdb_all_hits(void)
{
	try_all_ways("lmdb");
}

static void run_redis_all_hits(void)
{
	try_all_ways("redis");
}

static void run_memcached_all_hits(void)
{
	try_all_ways("memcached");
}

static void open_unknown_peer_says_so(void)
{
	struct workload work = workload();
	struct bench_peer_options options = {0};
	struct bench_peer peer;

	CU_ASSERT_FALSE(bench_peer_known("oracle"));
	CU_ASSERT_TRUE(bench_peer_known("redis"));
	CU_ASSERT_EQUAL(bench_peer_open(&peer, "oracle", &work, &options), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(peer.failure, "thermo-peer-oracle"));
}

static void run_peer_that_died_is_an_error(void)
{
	struct workload work = workload();
	struct bench_peer_options options = {0};
	struct bench_peer peer;
	struct round_summary round;

	if (bench_peer_open(&peer, "lmdb", &work, &options)) {
		suite_skip(peer.failure);
		return;
	}
	kill(peer.pid, SIGKILL);
	CU_ASSERT(bench_peer_run(&peer, 1, &round) < 0);
	CU_ASSERT(strlen(peer.failure) > 0);
	bench_peer_close(&peer);
}

static const struct suite_case cases[] = {
	SUITE_CASE(run_rocksdb_all_hits),      SUITE_CASE(run_lmdb_all_hits),
	SUITE_CASE(run_redis_all_hits),        SUITE_CASE(run_memcached_all_hits),
	SUITE_CASE(open_unknown_peer_says_so), SUITE_CASE(run_peer_that_died_is_an_error),
};

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return suite_run("bench_peer", NULL, NULL, cases, SUITE_COUNT(cases));
}
