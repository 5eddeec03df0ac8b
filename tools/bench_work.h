/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work that `thermo bench` gives to each store, and how it is timed. The cache, the floor and the
 * peers all get it from here: the same stream of requests, made beforehand, through the same loop.
 *
 *   workload   what was asked for: how many keys, how large, how skewed, how many threads
 *   stream     the requests themselves: keys, one after another in memory, and which are puts
 *   target     a store under test: how to put and get
 *   worker     one thread's place in the stream, its buffers and counters
 *   round      all workers run for a while; rounds of different targets take turns
 *
 * Timing. Workers go through the stream in blocks. Fifteen blocks of sixteen run with nothing but the
 * clock read at their ends: their time is the throughput. In the sixteenth every other request is timed
 * by itself and its answer checked: these are the latencies, one in 32 of all requests (a batch counts
 * as one), and the time of this block counts nowhere else. The median time of a block, some 10 to 100
 * microseconds, gives a second throughput, which what else runs on the machine hardly touches; nor do the
 * store's own rare stalls.
 */
#ifndef TOOLS_BENCH_WORK_H
#define TOOLS_BENCH_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/histogram.h"

#define BENCH_BATCH_MAX 64u
#define BENCH_THREADS_MAX 64u
#define BENCH_BLOCK 1024u /* requests between two looks at the clock; a multiple of every batch */
#define BENCH_BLOCKS_KEPT 32768u
#define BENCH_TIERS 3
#define BENCH_ROUNDS_MAX 64u
#define BENCH_VALUE_MAX (16u << 20) /* bytes */

struct workload {
	uint64_t keys;
	uint32_t key_len;
	uint32_t value_least, value_most; /* bytes */
	double zipf;                      /* 0 = uniform */
	uint32_t get_percent;             /* the rest are puts of keys that are there */
	uint32_t threads, batch;
	double seconds; /* of a round; or */
	uint64_t ops;   /* requests of a round and thread, if not 0 */
	uint64_t seed;
	bool each;      /* every request is timed by itself: for stores that wait for a disk */
};

/* Const after open; all threads read it. */
struct stream {
	uint64_t n;        /* requests; a multiple of BENCH_BLOCK */
	unsigned char *keys; /* key_len bytes each */
	uint32_t *numbers; /* which key it is */
	unsigned char *puts; /* 1: a put. NULL if there are none */
	uint64_t bytes;    /* of memory taken */
};

/* -ENOMEM. */
int work_stream_open(struct stream *stream, const struct workload *work);
void work_stream_close(struct stream *stream);

struct bench_target;

struct bench_counts {
	uint64_t gets, hits, puts;
	uint64_t failed; /* requests with an error */
	uint64_t refused; /* puts that found no room */
	uint64_t wrong;  /* values that were not the key's, among the checked */
	int error;       /* the first error's -errno */
};

/* One thread's part. Owned by that thread during a round. */
struct bench_worker {
	struct bench_target *target;
	const struct workload *work;
	const struct stream *stream;
	unsigned number;
	uint64_t at;     /* next request in the stream */
	uint64_t blocks; /* done so far */
	void *context;   /* the target's, per worker */
	int tier;        /* where the last get was found, if the target knows; else -1 */

	/* const after open */
	unsigned char *buffer;
	void *values[BENCH_BATCH_MAX]; /* value_most bytes each, for gets */
	unsigned char *put_values;     /* BENCH_BATCH_MAX of them, for puts, value_most bytes each */

	struct bench_counts counts;
	uint64_t sum; /* of bytes read, so that reads are not optimised away */
	uint64_t fast_requests, fast_ticks;
	uint32_t *block_ticks; /* of the last BENCH_BLOCKS_KEPT blocks without single timing */
	uint64_t fast_blocks;
	struct histogram get_ticks, put_ticks; /* a batch is one entry */
	struct histogram tier_ticks[BENCH_TIERS];
};

/* Answers of get: 1 a hit, 0 a miss; of puts: 0 or -ENOSPC, refused. Negative errno: failed.
 * get_batch: number of hits. tiers[i] (for get_batch) as worker->tier, if the target knows. */
struct bench_ops {
	/* NULL where there is nothing to do. */
	int (*worker_open)(struct bench_worker *worker);
	void (*worker_close)(struct bench_worker *worker);
	/* Used while loading, by one worker. */
	int (*put_batch)(struct bench_worker *worker, const void *const *keys,
			 const void *const *values, const uint32_t *lens, unsigned n);
	/* n requests from worker->at on: instances of bench_loop (bench_loop.h). */
	void (*run)(struct bench_worker *worker, uint64_t n);
	void (*run_timed)(struct bench_worker *worker, uint64_t n);
};

struct bench_target {
	const char *name;
	const struct bench_ops *ops;
	void *context;   /* the target's */
	int server_pid;  /* a process whose CPU time counts too; 0 = none */
	const struct workload *work;
	const struct stream *stream;
	struct bench_worker *workers; /* work->threads of them */
};

/* The outcome of one round. */
struct bench_round {
	double ops_per_s; /* a request of a batch is one */
	double quiet_ops_per_s; /* by the median block; 0 if there were none */
	double seconds;
	double cpu_seconds; /* of the process and of the server, all threads */
	struct bench_counts counts;
	struct histogram get_ns, put_ns; /* large: allocate */
	struct histogram tier_ns[BENCH_TIERS];
};

/* Makes the workers. -ENOMEM or what worker_open answers. */
int bench_target_open(struct bench_target *target, const struct workload *work,
		      const struct stream *stream);
void bench_target_close(struct bench_target *target);
/* Puts keys [from, to). 0, -ENOSPC if some were refused (it goes on all the same), or an error. */
int bench_load(struct bench_target *target, uint64_t from, uint64_t to);
/* One round of `seconds`, or of work->ops if that is set. Threads are pinned where there are as many
 * CPUs. 0 or -EAGAIN (no threads). */
int bench_run(struct bench_target *target, double seconds, struct bench_round *round);

#endif
