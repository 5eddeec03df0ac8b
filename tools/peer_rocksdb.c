/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RocksDB, set up for point look-ups: no compression, no log, a full bloom filter, hashed data
 * blocks, everything compacted into one level after loading. In memory: a block cache that holds
 * everything. With --direct: direct reads and a block cache of the size that the cache's memory
 * tiers have.
 */
#include "tools/peer.h"

#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_loop.h"

struct store {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_cache_t *cache;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write;
	rocksdb_column_family_handle_t *family;
};

static int failed(char *error)
{
	if (!error)
		return 0;
	fprintf(stderr, "thermo-peer-rocksdb: %s\n", error);
	rocksdb_free(error);
	return -EIO;
}

static bool take(rocksdb_pinnableslice_t *slice, const struct workload *work, void *value)
{
	size_t len;
	if (!slice)
		return false;
	const char *bytes = rocksdb_pinnableslice_value(slice, &len);
	memcpy(value, bytes, len < work->value_most ? len : work->value_most);
	rocksdb_pinnableslice_destroy(slice);
	return true;
}

static int get(struct bench_worker *worker, const void *key, void *value)
{
	struct store *store = worker->target->context;
	char *error = NULL;
	rocksdb_pinnableslice_t *slice =
		rocksdb_get_pinned(store->db, store->read, key, worker->work->key_len, &error);
	if (error)
		return failed(error);
	return take(slice, worker->work, value);
}

static int put(struct bench_worker *worker, const void *key, const void *value, uint32_t len)
{
	struct store *store = worker->target->context;
	char *error = NULL;
	rocksdb_put(store->db, store->write, key, worker->work->key_len, value, len, &error);
	return failed(error);
}

static int get_batch(struct bench_worker *worker, const void *const *keys, void *const *values,
		     int *tiers, unsigned n)
{
	struct store *store = worker->target->context;
	size_t lens[BENCH_BATCH_MAX] = {0};
	rocksdb_pinnableslice_t *slices[BENCH_BATCH_MAX];
	char *errors[BENCH_BATCH_MAX];
	int hits = 0, status = 0;

	(void)tiers;
	for (unsigned i = 0; i < n; i++)
		lens[i] = worker->work->key_len;
	rocksdb_batched_multi_get_cf(store->db, store->read, store->family, n,
				     (const char *const *)keys, lens, slices, errors, false);
	for (unsigned i = 0; i < n; i++) {
		if (errors[i])
			status = failed(errors[i]);
		else
			hits += take(slices[i], worker->work, values[i]);
	}
	return status ? status : hits;
}

static int put_batch(struct bench_worker *worker, const void *const *keys,
		     const void *const *values, const uint32_t *lens, unsigned n)
{
	struct store *store = worker->target->context;
	char *error = NULL;
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();

	for (unsigned i = 0; i < n; i++)
		rocksdb_writebatch_put(batch, keys[i], worker->work->key_len, values[i], lens[i]);
	rocksdb_write(store->db, store->write, batch, &error);
	rocksdb_writebatch_destroy(batch);
	return failed(error);
}

static void run(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, false, get, put, get_batch, put_batch);
}

static void run_timed(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, true, get, put, get_batch, put_batch);
}

static const struct bench_ops ops = {.put_batch = put_batch, .run = run, .run_timed = run_timed};

static void set_options(struct store *store, const struct workload *work,
			const struct peer_options *given)
{
	uint64_t data = work->keys * ((uint64_t)work->key_len + work->value_most + 32);

	store->cache = rocksdb_cache_create_lru(given->direct ? given->cache_bytes : 2 * data);
	store->table = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(store->table, store->cache);
	rocksdb_block_based_options_set_filter_policy(store->table,
						      rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_block_based_options_set_data_block_index_type(
		store->table,
		rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
	rocksdb_block_based_options_set_data_block_hash_ratio(store->table, 0.75);
	store->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(store->options, 1);
	rocksdb_options_set_compression(store->options, rocksdb_no_compression);
	rocksdb_options_set_block_based_table_factory(store->options, store->table);
	rocksdb_options_set_write_buffer_size(store->options, (size_t)128 << 20);
	rocksdb_options_increase_parallelism(store->options, 2);
	rocksdb_options_set_use_direct_reads(store->options, given->direct);
	rocksdb_options_set_use_direct_io_for_flush_and_compaction(store->options, given->direct);
	store->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(store->read, given->direct);
	store->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(store->write, 1);
}

static void free_options(struct store *store)
{
	rocksdb_writeoptions_destroy(store->write);
	rocksdb_readoptions_destroy(store->read);
	rocksdb_options_destroy(store->options);
	rocksdb_block_based_options_destroy(store->table);
	rocksdb_cache_destroy(store->cache);
}

static int open_store(struct bench_target *target, const struct workload *work,
		      const struct peer_options *options, char *reason, size_t capacity)
{
	struct store *store = calloc(1, sizeof(*store));
	char *error = NULL;

	if (!store)
		return -ENOMEM;
	set_options(store, work, options);
	const char *family = "default";
	const rocksdb_options_t *family_options = store->options;
	store->db = rocksdb_open_column_families(store->options, options->dir, 1, &family,
						 &family_options, &store->family, &error);
	if (error) {
		snprintf(reason, capacity, "RocksDB: %s", error);
		rocksdb_free(error);
		free_options(store);
		free(store);
		return -EIO;
	}
	target->ops = &ops;
	target->context = store;
	return 0;
}

static int loaded(struct bench_target *target)
{
	struct store *store = target->context;
	rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
	char *error = NULL;

	rocksdb_flush(store->db, flush, &error);
	rocksdb_flushoptions_destroy(flush);
	if (error)
		return failed(error);
	rocksdb_compact_range(store->db, NULL, 0, NULL, 0);
	return 0;
}

static void close_store(struct bench_target *target)
{
	struct store *store = target->context;
	rocksdb_column_family_handle_destroy(store->family);
	rocksdb_close(store->db);
	free_options(store);
	free(store);
}

static void version(struct bench_target *target, char *text, size_t capacity)
{
	(void)target;
	snprintf(text, capacity, "%s", PEER_VERSION);
}

int main(int argc, char **argv)
{
	static const struct peer rocksdb = {"rocksdb", open_store,  loaded,
					    NULL,      close_store, version};
	return peer_main(&rocksdb, argc, argv);
}
