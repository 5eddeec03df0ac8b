/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis over a Unix socket of its own, without persistence. One connection a worker; a batch of
 * gets is one MGET, a batch of puts one MSET.
 */
#include "tools/peer.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_loop.h"

struct store {
	int pid;
	char socket[108];
};

static int open_worker(struct bench_worker *worker)
{
	struct store *store = worker->target->context;
	struct timeval limit = {.tv_sec = 10};
	redisContext *redis = redisConnectUnixWithTimeout(store->socket, limit);

	if (!redis)
		return -ENOMEM;
	worker->context = redis;
	if (redis->err)
		return -ECONNREFUSED;
	redisSetTimeout(redis, limit);
	return 0;
}

static void close_worker(struct bench_worker *worker)
{
	if (worker->context)
		redisFree(worker->context);
	worker->context = NULL;
}

static redisReply *command(struct bench_worker *worker, int n, const char **words,
			   const size_t *lens)
{
	return redisCommandArgv(worker->context, n, words, lens);
}

static int take(const redisReply *reply, const struct workload *work, void *value)
{
	if (reply->type == REDIS_REPLY_NIL)
		return 0;
	if (reply->type != REDIS_REPLY_STRING)
		return -EIO;
	memcpy(value, reply->str, reply->len < work->value_most ? reply->len : work->value_most);
	return 1;
}

static int get_batch(struct bench_worker *worker, const void *const *keys, void *const *values,
		     int *tiers, unsigned n)
{
	const char *words[BENCH_BATCH_MAX + 1] = {n == 1 ? "GET" : "MGET"};
	size_t lens[BENCH_BATCH_MAX + 1] = {n == 1 ? 3 : 4};
	int hits = 0;

	(void)tiers;
	for (unsigned i = 0; i < n; i++) {
		words[i + 1] = keys[i];
		lens[i + 1] = worker->work->key_len;
	}
	redisReply *reply = command(worker, (int)n + 1, words, lens);
	if (!reply)
		return -EIO;
	if (n == 1) {
		hits = take(reply, worker->work, values[0]);
	} else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n) {
		hits = -EIO;
	} else {
		for (unsigned i = 0; i < n && hits >= 0; i++) {
			int status = take(reply->element[i], worker->work, values[i]);
			hits = status < 0 ? status : hits + status;
		}
	}
	freeReplyObject(reply);
	return hits;
}

static int put_batch(struct bench_worker *worker, const void *const *keys,
		     const void *const *values, const uint32_t *lens, unsigned n)
{
	const char *words[2 * BENCH_BATCH_MAX + 1] = {"MSET"};
	size_t word_lens[2 * BENCH_BATCH_MAX + 1] = {4};

	for (unsigned i = 0; i < n; i++) {
		words[2 * i + 1] = keys[i];
		word_lens[2 * i + 1] = worker->work->key_len;
		words[2 * i + 2] = values[i];
		word_lens[2 * i + 2] = lens[i];
	}
	redisReply *reply = command(worker, (int)(2 * n + 1), words, word_lens);
	if (!reply)
		return -EIO;
	int status = reply->type == REDIS_REPLY_STATUS ? 0 : -EIO;
	freeReplyObject(reply);
	return status;
}

static int get(struct bench_worker *worker, const void *key, void *value)
{
	return get_batch(worker, &key, &value, NULL, 1);
}

static int put(struct bench_worker *worker, const void *key, const void *value, uint32_t len)
{
	return put_batch(worker, &key, &value, &len, 1);
}

static void run(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, false, get, put, get_batch, put_batch);
}

static void run_timed(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, true, get, put, get_batch, put_batch);
}

static const struct bench_ops ops = {
	.worker_open = open_worker,
	.worker_close = close_worker,
	.put_batch = put_batch,
	.run = run,
	.run_timed = run_timed,
};

static int open_store(struct bench_target *target, const struct workload *work,
		      const struct peer_options *options, char *reason, size_t capacity)
{
	struct store *store = calloc(1, sizeof(*store));
	char *argv[] = {"redis-server",
			"--port",
			"0",
			"--unixsocket",
			NULL,
			"--save",
			"",
			"--appendonly",
			"no",
			"--dir",
			(char *)(uintptr_t)options->dir,
			NULL};

	(void)work;
	if (!store)
		return -ENOMEM;
	int n = snprintf(store->socket, sizeof(store->socket), "%s/redis.sock", options->dir);
	if (n < 0 || (size_t)n >= sizeof(store->socket)) {
		free(store);
		return -ENAMETOOLONG;
	}
	argv[4] = store->socket;
	store->pid = peer_server_start(argv, store->socket);
	if (store->pid < 0) {
		int status = store->pid;
		snprintf(reason, capacity, "redis-server: %s%s", strerror(-status),
			 status == -ENOENT ? " (install redis-server)" : "");
		free(store);
		return status;
	}
	target->ops = &ops;
	target->context = store;
	target->server_pid = store->pid;
	return 0;
}

static uint64_t bytes(struct bench_target *target)
{
	redisReply *reply = redisCommand(target->workers[0].context, "INFO memory");
	unsigned long long resident = 0;

	if (!reply)
		return 0;
	const char *line = reply->str ? strstr(reply->str, "used_memory_rss:") : NULL;
	if (line)
		sscanf(line, "used_memory_rss:%llu", &resident);
	freeReplyObject(reply);
	return resident;
}

static void close_store(struct bench_target *target)
{
	struct store *store = target->context;
	peer_server_stop(store->pid);
	free(store);
}

static void version(struct bench_target *target, char *text, size_t capacity)
{
	redisReply *reply = redisCommand(target->workers[0].context, "INFO server");
	if (!reply)
		return;
	const char *line = reply->str ? strstr(reply->str, "redis_version:") : NULL;
	if (line)
		snprintf(text, capacity, "%.*s", (int)strcspn(line + 14, "\r\n"), line + 14);
	freeReplyObject(reply);
}

int main(int argc, char **argv)
{
	static const struct peer redis = {"redis", open_store, NULL, bytes, close_store, version};
	return peer_main(&redis, argc, argv);
}
