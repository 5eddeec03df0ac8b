/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB, as fast as it goes: a writable map, no syncs, no read-ahead. A worker reads in one
 * transaction for a block of requests (so it may see data as old as that), which it renews between
 * blocks; puts are one transaction each, or each batch.
 */
#include "tools/peer.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_loop.h"

#define LOAD_TRANSACTION 100000u /* puts */

struct store {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *loading; /* while keys are loaded; then NULL */
	unsigned pending; /* puts in it */
	bool loaded;
};

/* LMDB's own codes are no errno. */
static int to_errno(int code)
{
	return code > 0 ? -code : code == MDB_MAP_FULL ? -ENOSPC : code ? -EIO : 0;
}

static int open_worker(struct bench_worker *worker)
{
	(void)worker; /* its read transaction begins with its first block: in its own thread */
	return 0;
}

static void close_worker(struct bench_worker *worker)
{
	if (worker->context)
		mdb_txn_abort(worker->context);
	worker->context = NULL;
}

static int get(struct bench_worker *worker, const void *key, void *value)
{
	struct store *store = worker->target->context;
	MDB_val k = {worker->work->key_len, (void *)(uintptr_t)key}, v;

	int code = mdb_get(worker->context, store->dbi, &k, &v);
	if (code == MDB_NOTFOUND)
		return 0;
	if (code)
		return to_errno(code);
	memcpy(value, v.mv_data, v.mv_size);
	return 1;
}

static int get_batch(struct bench_worker *worker, const void *const *keys, void *const *values,
		     int *tiers, unsigned n)
{
	int hits = 0;
	(void)tiers;
	for (unsigned i = 0; i < n; i++) {
		int status = get(worker, keys[i], values[i]);
		if (status < 0)
			return status;
		hits += status;
	}
	return hits;
}

static int put_into(struct store *store, MDB_txn *txn, const void *key, uint32_t key_len,
		    const void *value, uint32_t len)
{
	MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {len, (void *)(uintptr_t)value};
	return mdb_put(txn, store->dbi, &k, &v, 0);
}

static int load_batch(struct store *store, const struct workload *work, const void *const *keys,
		      const void *const *values, const uint32_t *lens, unsigned n)
{
	int code = 0;
	if (!store->loading)
		code = mdb_txn_begin(store->env, NULL, 0, &store->loading);
	for (unsigned i = 0; i < n && !code; i++)
		code = put_into(store, store->loading, keys[i], work->key_len, values[i], lens[i]);
	store->pending += n;
	if (!code && store->pending >= LOAD_TRANSACTION) {
		code = mdb_txn_commit(store->loading);
		store->loading = NULL;
		store->pending = 0;
	}
	return to_errno(code);
}

static int put_batch(struct bench_worker *worker, const void *const *keys,
		     const void *const *values, const uint32_t *lens, unsigned n)
{
	struct store *store = worker->target->context;
	MDB_txn *txn;

	if (!store->loaded)
		return load_batch(store, worker->work, keys, values, lens, n);
	int code = mdb_txn_begin(store->env, NULL, 0, &txn);
	if (code)
		return to_errno(code);
	for (unsigned i = 0; i < n && !code; i++)
		code = put_into(store, txn, keys[i], worker->work->key_len, values[i], lens[i]);
	if (code) {
		mdb_txn_abort(txn);
		return to_errno(code);
	}
	return to_errno(mdb_txn_commit(txn));
}

static int put(struct bench_worker *worker, const void *key, const void *value, uint32_t len)
{
	return put_batch(worker, &key, &value, &len, 1);
}

/* A snapshot for the block that begins. */
static void begin_reads(struct bench_worker *worker)
{
	struct store *store = worker->target->context;
	MDB_txn *txn = worker->context;
	int code;

	if (txn)
		code = mdb_txn_renew(txn);
	else
		code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
	if (code) {
		fprintf(stderr, "thermo-peer-lmdb: %s\n", mdb_strerror(code));
		exit(EXIT_FAILURE);
	}
	worker->context = txn;
}

static void run(struct bench_worker *worker, uint64_t n)
{
	begin_reads(worker);
	bench_loop(worker, n, false, get, put, get_batch, put_batch);
	mdb_txn_reset(worker->context);
}

static void run_timed(struct bench_worker *worker, uint64_t n)
{
	begin_reads(worker);
	bench_loop(worker, n, true, get, put, get_batch, put_batch);
	mdb_txn_reset(worker->context);
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
	MDB_txn *txn;
	uint64_t record = work->key_len + work->value_most + 64;
	/* Large values take whole pages; a map is only address space. */
	uint64_t map =
		(uint64_t)1 << 30 | 4 * work->keys * (record < 1024 ? record : record + 4096);

	if (!store)
		return -ENOMEM;
	int code = mdb_env_create(&store->env);
	if (code)
		goto free_store;
	mdb_env_set_mapsize(store->env, map & ~(uint64_t)4095);
	mdb_env_set_maxreaders(store->env, BENCH_THREADS_MAX + 2);
	/* Read transactions outlive a round's thread: not bound to threads. */
	code = mdb_env_open(store->env, options->dir,
			    MDB_WRITEMAP | MDB_NOSYNC | MDB_NOMETASYNC | MDB_NORDAHEAD | MDB_NOTLS,
			    0600);
	if (code)
		goto close_env;
	code = mdb_txn_begin(store->env, NULL, 0, &txn);
	if (code)
		goto close_env;
	code = mdb_dbi_open(txn, NULL, 0, &store->dbi);
	if (code) {
		mdb_txn_abort(txn);
		goto close_env;
	}
	code = mdb_txn_commit(txn);
	if (code)
		goto close_env;
	target->ops = &ops;
	target->context = store;
	return 0;

close_env:
	mdb_env_close(store->env);
free_store:
	free(store);
	snprintf(reason, capacity, "LMDB in %s: %s", options->dir, mdb_strerror(code));
	return to_errno(code);
}

static int loaded(struct bench_target *target)
{
	struct store *store = target->context;
	int code = store->loading ? mdb_txn_commit(store->loading) : 0;
	store->loading = NULL;
	store->loaded = true;
	return to_errno(code);
}

static uint64_t bytes(struct bench_target *target)
{
	struct store *store = target->context;
	MDB_stat stat;
	if (mdb_env_stat(store->env, &stat))
		return 0;
	/* The tree's own pages: those that it has freed and will use again do not count. */
	return (uint64_t)(stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
	       stat.ms_psize;
}

static void close_store(struct bench_target *target)
{
	struct store *store = target->context;
	if (store->loading)
		mdb_txn_abort(store->loading);
	mdb_env_close(store->env);
	free(store);
}

static void version(struct bench_target *target, char *text, size_t capacity)
{
	int major, minor, patch;
	(void)target;
	mdb_version(&major, &minor, &patch);
	snprintf(text, capacity, "%d.%d.%d", major, minor, patch);
}

int main(int argc, char **argv)
{
	static const struct peer lmdb = {"lmdb", open_store, loaded, bytes, close_store, version};
	return peer_main(&lmdb, argc, argv);
}
