/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_floor.h"

#include "tools/bench_loop.h"

static struct floor *table_of(struct bench_worker *worker)
{
	return worker->context;
}

static int open_worker(struct bench_worker *worker)
{
	worker->context = worker->target->context;
	return 0;
}

static int get(struct bench_worker *worker, const void *key, void *value)
{
	return floor_get(table_of(worker), key, value);
}

static int put(struct bench_worker *worker, const void *key, const void *value, uint32_t len)
{
	(void)len;
	return floor_put(table_of(worker), key, value);
}

static int get_batch(struct bench_worker *worker, const void *const *keys, void *const *values,
		     int *tiers, unsigned n)
{
	(void)tiers;
	return __builtin_popcountll(floor_get_batch(table_of(worker), keys, values, n));
}

static int put_batch(struct bench_worker *worker, const void *const *keys,
		     const void *const *values, const uint32_t *lens, unsigned n)
{
	(void)lens;
	return floor_put_batch(table_of(worker), keys, values, n);
}

static void run(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, false, get, put, get_batch, put_batch);
}

static void run_timed(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, true, get, put, get_batch, put_batch);
}

static const struct bench_ops floor_bench_ops = {
	.worker_open = open_worker,
	.put_batch = put_batch,
	.run = run,
	.run_timed = run_timed,
};

int bench_floor_open(struct bench_target *target, const struct workload *work)
{
	struct floor *table;
	int error = floor_open(&table, work->keys, work->key_len, work->value_most);
	if (error)
		return error;
	target->name = "floor";
	target->ops = &floor_bench_ops;
	target->context = table;
	return 0;
}

void bench_floor_close(struct bench_target *target)
{
	struct floor *table = target->context;
	floor_close(&table);
	target->context = NULL;
}

uint64_t bench_floor_bytes(const struct bench_target *target)
{
	return floor_bytes(target->context);
}

const char *bench_floor_isa(const struct bench_target *target)
{
	return floor_isa(target->context);
}
