/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_loop.h"

#define CLOSE_WAIT_NS INT64_C(60000000000)

struct cache_target {
	struct thermo *cache;
	struct thermo_space *space;
};

/* A worker's requests; what does not change from batch to batch is set once. */
struct cache_worker {
	struct thermo_space *space;
	struct thermo_request gets[BENCH_BATCH_MAX];
	struct thermo_request puts[BENCH_BATCH_MAX];
};

static int open_worker(struct bench_worker *worker)
{
	const struct cache_target *target = worker->target->context;
	struct cache_worker *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	self->space = target->space;
	for (unsigned i = 0; i < BENCH_BATCH_MAX; i++) {
		struct thermo_request *get = &self->gets[i], *put = &self->puts[i];
		get->space = put->space = target->space;
		get->key_len = put->key_len = worker->work->key_len;
		get->value = worker->values[i];
		get->capacity = worker->work->value_most;
		put->ttl_ms = THERMO_TTL_DEFAULT;
	}
	worker->context = self;
	return 0;
}

static void close_worker(struct bench_worker *worker)
{
	free(worker->context);
	worker->context = NULL;
}

/* An outcome as the benchmark counts it. */
static int hit_of(int status)
{
	return status == THERMO_OK ? 1 : status < 0 ? status : 0;
}

static int put_of(int status)
{
	return status == THERMO_BUSY ? -ENOSPC : status;
}

static int get(struct bench_worker *worker, const void *key, void *value)
{
	struct cache_worker *self = worker->context;
	const struct workload *work = worker->work;
	size_t len;

	return hit_of(thermo_get(self->space, key, work->key_len, value, work->value_most, &len));
}

/* A get that says which tier it was found in. */
static int get_with_tier(struct bench_worker *worker, const void *key, void *value)
{
	struct cache_worker *self = worker->context;
	struct thermo_request *request = &self->gets[0];

	(void)value;
	request->key = key;
	int status = thermo_get_batch(request, 1, -1);
	if (status)
		return hit_of(status);
	worker->tier = request->tier;
	return hit_of(request->status);
}

static int put(struct bench_worker *worker, const void *key, const void *value, uint32_t len)
{
	struct cache_worker *self = worker->context;

	return put_of(thermo_put(self->space, key, worker->work->key_len, value, len,
				 THERMO_TTL_DEFAULT));
}

static int get_batch(struct bench_worker *worker, const void *const *keys, void *const *values,
		     int *tiers, unsigned n)
{
	struct cache_worker *self = worker->context;
	int hits = 0, error = 0;

	(void)values; /* they are in the requests */
	for (unsigned i = 0; i < n; i++)
		self->gets[i].key = keys[i];
	int status = thermo_get_batch(self->gets, n, -1);
	if (status)
		return status < 0 ? status : -EIO;
	for (unsigned i = 0; i < n; i++) {
		status = self->gets[i].status;
		if (__builtin_expect(status == THERMO_OK, 1))
			hits++;
		else if (status < 0)
			error = status;
		if (tiers)
			tiers[i] = self->gets[i].tier;
	}
	return error ? error : hits;
}

static int put_batch(struct bench_worker *worker, const void *const *keys,
		     const void *const *values, const uint32_t *lens, unsigned n)
{
	struct cache_worker *self = worker->context;
	int answer = 0;

	for (unsigned i = 0; i < n; i++) {
		self->puts[i].key = keys[i];
		/* The library does not write to the value of a put. */
		self->puts[i].value = (void *)(uintptr_t)values[i];
		self->puts[i].value_len = lens[i];
	}
	int status = thermo_put_batch(self->puts, n, -1);
	if (status)
		return put_of(status);
	for (unsigned i = 0; i < n; i++) {
		status = put_of(self->puts[i].status);
		if (status < 0 && (!answer || answer == -ENOSPC))
			answer = status;
	}
	return answer;
}

static void run(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, false, get, put, get_batch, put_batch);
}

static void run_timed(struct bench_worker *worker, uint64_t n)
{
	if (worker->work->each)
		bench_loop(worker, n, true, get_with_tier, put, get_batch, put_batch);
	else
		bench_loop(worker, n, true, get, put, get_batch, put_batch);
}

static const struct bench_ops cache_ops = {
	.worker_open = open_worker,
	.worker_close = close_worker,
	.put_batch = put_batch,
	.run = run,
	.run_timed = run_timed,
};

int bench_cache_open(struct bench_target *target, const struct thermo_options *options,
		     struct thermo_error *error)
{
	struct cache_target *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	int status = thermo_open(options, &self->cache, error);
	if (status)
		goto free_self;
	status = thermo_space_open(self->cache, "bench", NULL, &self->space, error);
	if (status)
		goto close_cache;
	target->name = "thermocline";
	target->ops = &cache_ops;
	target->context = self;
	return 0;

close_cache:
	thermo_close(&self->cache, CLOSE_WAIT_NS, NULL);
free_self:
	free(self);
	return status;
}

int bench_cache_close(struct bench_target *target, struct thermo_error *error)
{
	struct cache_target *self = target->context;
	int status = thermo_close(&self->cache, CLOSE_WAIT_NS, error);

	if (status == -EBUSY)
		return status;
	free(self);
	target->context = NULL;
	return status;
}

struct thermo *bench_cache_handle(const struct bench_target *target)
{
	const struct cache_target *self = target->context;
	return self->cache;
}

int bench_cache_stats(const struct bench_target *target, struct thermo_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->size = sizeof(*stats);
	return thermo_stats(bench_cache_handle(target), stats);
}
