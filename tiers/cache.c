/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing a cache.
 *
 * Open:  options checked -> budget -> heap -> cold tier (the least of its memory set aside) -> policy, index ->
 *        pools populated -> table of spaces and image read -> marked as running -> threads.
 * Close: no handles left -> threads stopped -> image and table written -> everything given back.
 *
 * All of DRAM is one budget: what the index, filters, buffers and the heap do not take, the hot pool has.
 */
#include "alloc/error.h"
#include "alloc/memory_limit.h"
#include "tiers/cold/io.h"
#include "tiers/durable.h"
#include "tiers/image.h"
#include "tiers/reclaim.h"
#include "tiers/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define POOL_MIN (8 * MIB)
#define HEAP_MIN (4 * MIB)
#define CHUNK_HEAD 48u /* record_bytes() of a chunk's head and key, at the most */
#define DRAM_MIN (16 * MIB)
#define DRAM_MIN_COLD (24 * MIB)
#define COLD_WORK (6 * MIB) /* builders and buffers of a publication and a merge, and one thread's reads */

_Atomic uint64_t fork_generation = 1;
static _Atomic uint32_t caches; /* that are open */

static void forked_child(void)
{
	atomic_fetch_add(&fork_generation, 1);
	if (atomic_load(&caches))
		epoch_forked();
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, forked_child);
}

uint64_t monotonic_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t cache_deadline(const struct thermo *c)
{
	return monotonic_ns() + c->options.put_wait_ms * UINT64_C(1000000);
}

uint64_t cache_now_ms(struct thermo *c)
{
	uint64_t now;
	if (c->clock_fn) {
		now = c->clock_fn(c->clock_context);
	} else {
		struct timespec t;
		clock_gettime(CLOCK_REALTIME_COARSE, &t);
		now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	}
	uint64_t last = atomic_load_explicit(&c->clock_last, memory_order_relaxed);
	while (now > last &&
	       !atomic_compare_exchange_weak_explicit(&c->clock_last, &last, now,
						      memory_order_relaxed, memory_order_relaxed))
		;
	return now > last ? now : last; /* a step back is not followed */
}

void cache_heat(struct thermo *c)
{
	uint32_t epoch = policy_epoch(c->policy);
	atomic_store_explicit(&c->heat_epoch, epoch, memory_order_relaxed);
	for (unsigned i = 0; i < 256; i++)
		atomic_store_explicit(&c->touched[i], policy_touched((uint8_t)i, epoch),
				      memory_order_relaxed);
}

void cache_notice(struct thermo *c, const char *format, ...)
{
	char line[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	size_t used = strlen(c->notices);
	snprintf(c->notices + used, sizeof(c->notices) - used, "%s%s", used ? "\n" : "", line);
	if (c->options.log)
		c->options.log(c->options.log_context, line);
}

void cache_waited(struct thermo *c, uint64_t ns)
{
	struct shard *s = cache_shard(c);
	counter_add(&s->put_wait_ns, ns);
	if (ns < 1000000)
		return;
	counter_add(&s->stalls, 1);
	/* Half powers of two, see struct thermo_histogram. */
	unsigned log = 63 - (unsigned)__builtin_clzll(ns);
	unsigned half = (unsigned)(ns >> (log ? log - 1 : 0) & 1);
	unsigned bucket = 2 * log + half;
	if (bucket >= THERMO_HISTOGRAM_BUCKETS)
		bucket = THERMO_HISTOGRAM_BUCKETS - 1;
	atomic_fetch_add_explicit(&c->wait.bucket[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->wait.sum, ns, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&c->wait.max, memory_order_relaxed);
	while (max < ns && !atomic_compare_exchange_weak(&c->wait.max, &max, ns))
		;
}

/* ---- Checks ---- */

static int options_check(const struct thermo_options *o, struct thermo_error *error)
{
	if (!o || o->size != sizeof(*o))
		return error_set(error, -EINVAL,
				 "options: size is %u, not %zu; use thermo_options_init",
				 o ? o->size : 0, sizeof(*o));
	if (o->dram_bytes < DRAM_MIN)
		return error_set(error, -EINVAL, "dram: %llu bytes is below the least, 16M",
				 (unsigned long long)o->dram_bytes);
	if (o->cold_dir && o->dram_bytes < DRAM_MIN_COLD)
		return error_set(error, -EINVAL, "dram: %llu bytes is below the least with a cold tier, "
				 "24M", (unsigned long long)o->dram_bytes);
	if (o->warm_bytes && o->warm_bytes < POOL_MIN)
		return error_set(error, -EINVAL, "warm: %llu bytes is below the least, 8M (or 0)",
				 (unsigned long long)o->warm_bytes);
	if (o->dram_max_bytes && o->dram_max_bytes < o->dram_bytes)
		return error_set(error, -EINVAL, "dram_max is below dram");
	if (o->warm_max_bytes && o->warm_max_bytes < o->warm_bytes)
		return error_set(error, -EINVAL, "warm_max is below warm");
	if (o->pin_percent > 50)
		return error_set(error, -EINVAL, "pin_percent: %u is over 50", o->pin_percent);
	if (o->background_threads > 64)
		return error_set(error, -EINVAL, "background_threads: %u is over 64",
				 o->background_threads);
	if (o->policy && strcmp(o->policy, "s3fifo") && strcmp(o->policy, "lru") &&
	    strcmp(o->policy, "sieve") && strcmp(o->policy, "fifo"))
		return error_set(error, -EINVAL,
				 "policy: \"%.20s\" is none of s3fifo, lru, sieve, fifo", o->policy);
	if (o->io && strcmp(o->io, "auto") && strcmp(o->io, "uring") && strcmp(o->io, "pread"))
		return error_set(error, -EINVAL, "io: \"%.20s\" is none of auto, uring, pread", o->io);
	if (o->heap && strcmp(o->heap, "memkind") && strcmp(o->heap, "libc"))
		return error_set(error, -EINVAL, "heap: \"%.20s\" is none of memkind, libc", o->heap);
	return 0;
}

static bool warm_is_dram(const struct thermo_options *o)
{
	return !o->warm || strncmp(o->warm, "emulate", 7) == 0 || strncmp(o->warm, "dram", 4) == 0;
}

static int memory_check(const struct thermo_options *o, struct thermo_error *error)
{
	uint64_t limit = memory_limit();
	uint64_t wanted = o->dram_bytes + (warm_is_dram(o) ? o->warm_bytes : 0);
	if (wanted < o->dram_bytes || wanted > limit)
		return error_set(error, -ENOMEM,
				 "dram %lluM and warm %lluM do not fit: this process may have %lluM "
				 "(memory available, and its cgroup's limit)",
				 (unsigned long long)(o->dram_bytes / MIB),
				 (unsigned long long)((wanted - o->dram_bytes) / MIB),
				 (unsigned long long)(limit / MIB));
	return 0;
}

static int copy_options(struct thermo *c, const struct thermo_options *o)
{
	const char **strings[] = {&c->options.warm, &c->options.dram,   &c->options.cold_dir,
				  &c->options.policy, &c->options.io, &c->options.heap};
	c->options = *o;
	c->options._text = NULL;
	if (!c->options.warm)
		c->options.warm = "emulate:250";
	if (!c->options.dram)
		c->options.dram = "dram";
	if (!c->options.policy)
		c->options.policy = "s3fifo";
	if (!c->options.io)
		c->options.io = "auto";
	if (!c->options.heap)
		c->options.heap = "memkind";
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		if (!*strings[i])
			continue;
		*strings[i] = c->string[i] = heap_strdup(c->heap, *strings[i]);
		if (!c->string[i])
			return -ENOMEM;
	}
	if (!c->options.dram_max_bytes)
		c->options.dram_max_bytes = 4 * c->options.dram_bytes;
	if (!c->options.warm_max_bytes)
		c->options.warm_max_bytes = 4 * c->options.warm_bytes;
	if (!c->options.filter_bytes)
		c->options.filter_bytes = c->options.dram_bytes / 16;
	return 0;
}

/* ---- Parts ---- */

static uint64_t record_hash(void *context, uint64_t place)
{
	struct thermo *c = context;
	struct view v;
	record_view(place_record(c, place), &v);
	return key_hash(v.space, v.key, v.key_len, (v.flags & RECORD_CHUNK) != 0);
}

/* A segment is at most 1/128 of its pool. */
static uint32_t segment_bytes(uint64_t pool)
{
	uint32_t bytes = SEGMENT_BYTES_MAX;
	while (bytes > SEGMENT_BYTES_MIN && bytes > pool / 128)
		bytes /= 2;
	return bytes;
}

uint64_t cache_run_bytes(uint64_t dram)
{
	uint64_t bytes = dram / 32;
	return bytes < 24 * MIB ? bytes : 24 * MIB;
}

static int open_cold(struct thermo *c, struct thermo_error *error)
{
	const struct thermo_options *o = &c->options;
	if (!o->cold_dir)
		return 0;
	uint64_t runs = cache_run_bytes(o->dram_bytes);
	uint64_t buffers = o->dram_bytes / 16 > 10 * MIB ? o->dram_bytes / 16 : 10 * MIB;
	if (buffers > 64 * MIB)
		buffers = 64 * MIB;
	/* Set aside is what records need to leave memory: one run in the making, one being published and its
	 * encoded form. The other buffers are taken from what the pool leaves, or gives, when they are needed. */
	uint64_t least = o->filter_bytes + runs * 5 / 2 + COLD_WORK, all = least + buffers;
	if (!budget_init_part(&c->cold_budget, &c->budget, least, all))
		return error_set(error, -EINVAL, "dram: %lluM is too little: cold needs %lluM for filters "
				 "and buffers", (unsigned long long)(o->dram_bytes / MIB),
				 (unsigned long long)(least / MIB + 1));
	/* A scan and a merge hold buffers of every run: few runs where memory is scarce. */
	uint64_t runs_max = all / MIB < 16 ? 16 : all / MIB > 64 ? 64 : all / MIB;
	struct cold_options cold = {
		.dir = o->cold_dir,
		.runs_max = (unsigned)runs_max,
		.io = o->io,
		.cap_bytes = o->cold_bytes,
		.filter_bytes = o->filter_bytes,
		.write_bytes_per_day = o->cold_write_bytes_per_day,
		.scrub_ms = (uint64_t)o->scrub_days * 86400000,
		.budget = &c->cold_budget,
		.heap = c->heap,
		.clock_ms = o->clock_ms,
		.clock_context = o->clock_context,
		.log = o->log,
		.log_context = o->log_context,
		.files = c->files,
	};
	return cold_open(&cold, &c->cold, error);
}

static int open_pool(struct thermo *c, unsigned tier, uint64_t bytes, uint64_t max_bytes,
		     struct thermo_error *error)
{
	const char *spec = tier == THERMO_HOT ? c->options.dram : c->options.warm;
	struct pool *pool = &c->pool[tier];
	struct provider *provider;
	max_bytes = (max_bytes + EXTENT_BYTES - 1) & ~(uint64_t)(EXTENT_BYTES - 1);
	int rc = provider_open(spec, max_bytes, (int)c->options.huge_pages, &provider, error);
	if (rc)
		return rc;
	rc = pool_open(pool, (uint8_t)tier, provider, &c->budget, tier == THERMO_HOT, c->heap,
		       max_bytes, segment_bytes(bytes));
	if (rc) {
		provider_close(&provider);
		return error_set(error, rc, "%s: no memory for its segments",
				 tier == THERMO_HOT ? "dram" : "warm");
	}
	if (provider->note[0])
		cache_notice(c, "%s: %s", tier == THERMO_HOT ? "dram" : "warm", provider->note);
	rc = pool_grow(pool, (uint32_t)(bytes / EXTENT_BYTES));
	if (rc)
		return error_set(error, rc, "%s: %lluM could not be had: %s",
				 tier == THERMO_HOT ? "dram" : "warm",
				 (unsigned long long)(bytes / MIB), strerror(-rc));
	uint32_t segments = pool->extents_present * pool->per_extent;
	c->reserve[tier] = segments / 256 > 3 ? segments / 256 : 3;
	c->base[tier] = pool->base;
	c->segment_shift[tier] = pool->segment_shift;
	return 0;
}

/* The table of segments that a pool of so many bytes needs in DRAM. */
static uint64_t table_bytes(uint64_t pool)
{
	return pool / segment_bytes(pool) * sizeof(struct segment) + 4096;
}

static int open_memory(struct thermo *c, struct thermo_error *error)
{
	const struct thermo_options *o = &c->options;
	int rc = 0;
	if (o->warm_bytes) {
		rc = open_pool(c, THERMO_WARM, o->warm_bytes & ~(uint64_t)(EXTENT_BYTES - 1),
			       o->warm_max_bytes, error);
		if (rc)
			return rc;
		c->warm = c->pool[THERMO_WARM].provider;
	}
	uint64_t most = (o->dram_max_bytes + o->warm_max_bytes) / 64;
	uint64_t buckets = o->index_buckets ? o->index_buckets
					    : (o->dram_bytes + o->warm_bytes) / 1024 / 5;
	uint64_t used = atomic_load(&c->budget.used);
	uint64_t left = o->dram_bytes > used ? o->dram_bytes - used : 0;
	if (left < POOL_MIN + buckets * 64)
		return error_set(error, -EINVAL,
				 "dram: %lluM is too little: %lluM are bookkeeping, and 8M must be "
				 "left for records",
				 (unsigned long long)(o->dram_bytes / MIB),
				 (unsigned long long)((used + buckets * 64) / MIB));
	struct policy_options policy = {
		.hot = left,
		.warm = o->warm_bytes,
		.heap = c->heap,
		.budget = &c->budget,
	};
	if (policy_parse(o->policy, &policy.kind))
		return error_set(error, -EINVAL, "policy: %s", o->policy);
	rc = policy_open(&c->policy, &policy);
	if (rc)
		return error_set(error, rc, "policy %s: %s", o->policy, strerror(-rc));
	cache_heat(c);
	rc = index_open(&c->index, &c->budget, buckets < 64 ? 64 : buckets,
			most < 1024 ? 1024 : most, (int)o->huge_pages, record_hash, c, NULL);
	if (rc)
		return error_set(error, rc, "index: %s", strerror(-rc));
	used = atomic_load(&c->budget.used);
	left = o->dram_bytes - used;
	uint64_t slack = table_bytes(left) + left / 32; /* for the ghost and the index's first growth */
	left = left > slack + POOL_MIN ? left - slack : POOL_MIN;
	rc = open_pool(c, THERMO_HOT, left & ~(uint64_t)(EXTENT_BYTES - 1), o->dram_max_bytes, error);
	if (rc)
		return rc;
	c->hot_extents_min = POOL_MIN / EXTENT_BYTES;
	c->hot_extents_max = c->pool[THERMO_HOT].extents_target;
	policy_resize(c->policy, cache_tier_bytes(c, THERMO_HOT), cache_tier_bytes(c, THERMO_WARM));
	return 0;
}

/* What of a tier can hold records while the migrator keeps its reserve. */
uint64_t cache_tier_bytes(const struct thermo *c, unsigned tier)
{
	const struct pool *pool = &c->pool[tier];
	return (uint64_t)pool->extents_target * EXTENT_BYTES;
}

static void settle_sizes(struct thermo *c)
{
	uint32_t hot = c->pool[THERMO_HOT].extents_present * c->pool[THERMO_HOT].per_extent;
	uint32_t chunk = c->pool[THERMO_HOT].segment_bytes;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (c->warm && c->pool[THERMO_WARM].segment_bytes < chunk)
		chunk = c->pool[THERMO_WARM].segment_bytes;
	/* Four of them, with their heads and keys, fill a segment. */
	chunk = chunk / 4 - CHUNK_HEAD;
	c->chunk_bytes = chunk < RECORD_VALUE_MAX ? chunk : RECORD_VALUE_MAX;
	c->open_segments_max = hot * 3 / 100 > 4 ? hot * 3 / 100 : 4;
	c->lanes = cpus < 1 ? 1 : cpus > LANES_MAX ? LANES_MAX : (uint32_t)cpus;
	if (c->lanes > c->open_segments_max / 4)
		c->lanes = c->open_segments_max / 4;
}

/* The clock passes all that lies in cold. */
static void pass_cold(struct thermo *c)
{
	if (atomic_load(&c->clock) <= cold_max_seq(c->cold))
		atomic_store(&c->clock, cold_max_seq(c->cold) + 1);
}

/* The image, after a clean close: everything; after a crash: what the log rests on, if it does. *clean: whether cache
 * spaces are as they were. */
static int open_image(struct thermo *c, bool *clean, struct thermo_error *error)
{
	bool kept = atomic_load(&c->image_kept);
	struct thermo_error why = {{0}};
	if (!*clean) {
		cache_notice(c, "%s: was not closed: cache spaces start empty", c->options.cold_dir);
		if (!kept)
			return 0;
	}
	int rc = image_load(c, !*clean, &why);
	if (rc == -ENOENT && !kept && !c->nonce)
		return 0;
	if (rc == -ENOENT)
		snprintf(why.text, sizeof(why.text), "%s: its image of the memory tiers is gone",
			 c->options.cold_dir);
	if (rc && kept)
		return error_set(error, rc == -ENOENT ? -EILSEQ : rc,
				 "%.150s: records of durable spaces are in it; "
				 "restore it from a copy", why.text);
	if (rc)
		cache_notice(c, "%s: cache spaces start empty", why.text);
	*clean &= rc == 0;
	return 0;
}

/* After a crash, or without the image: older versions in cold may be all that is left of a key. */
static int empty_cache_spaces(struct thermo *c, struct thermo_error *error)
{
	for (unsigned id = 1; id <= THERMO_SPACES_MAX; id++) {
		if (atomic_load(&c->space[id].state) != SPACE_OPEN || c->space[id].durable)
			continue;
		migrate_purge(c, &c->space[id]);
		int rc = cold_space_drop(c->cold, (uint8_t)id, atomic_load(&c->clock) + 1);
		if (rc)
			return error_set(error, rc, "%s: %s", c->options.cold_dir, strerror(-rc));
	}
	return 0;
}

static int open_content(struct thermo *c, struct thermo_error *error)
{
	bool clean = true;
	atomic_store(&c->clock, 1);
	if (!c->cold)
		return 0;
	int rc = image_load_table(c, &clean, error);
	if (rc == 0)
		rc = durable_open(c, error);
	if (rc)
		return rc;
	pass_cold(c);
	rc = open_image(c, &clean, error);
	pass_cold(c); /* some of the image may have gone there */
	if (rc == 0 && !clean)
		rc = empty_cache_spaces(c, error);
	if (rc == 0)
		rc = durable_replay(c, error);
	if (rc)
		return rc;
	pass_cold(c);
	atomic_fetch_add(&c->clock, 2);
	rc = image_save_table(c, false, error);
	if (rc == 0 && !atomic_load(&c->image_kept))
		image_remove(c);
	if (rc == 0 && (durable_any(c) || log_files(c->log)))
		rc = durable_start(c, error);
	return rc;
}

/* ---- Open ---- */

static void locks_init(struct thermo *c)
{
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&c->space_lock, NULL);
	pthread_mutex_init(&c->table_lock, NULL);
	pthread_mutex_init(&c->migrate_lock, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->wake_lock, NULL);
	pthread_mutex_init(&c->runner_lock, NULL);
	pthread_cond_init(&c->runner_idle, NULL);
	pthread_cond_init(&c->room, &monotonic);
	pthread_cond_init(&c->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

static void close_runners(struct thermo *c)
{
	while (c->runners) {
		struct runner *r = c->runners;
		c->runners = r->next;
		runner_close(&r);
	}
}

/* Frees whatever open got; threads are not running. */
static void release(struct thermo *c)
{
	close_runners(c);
	migrate_close(c);
	large_close(c);
	log_close(&c->log);
	if (c->cold)
		cold_close(&c->cold);
	if (c->index)
		index_close(&c->index);
	if (c->policy)
		policy_close(&c->policy);
	if (c->heap) {
		for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
			pool_close(&c->pool[tier], c->heap);
		for (size_t i = 0; i < sizeof(c->string) / sizeof(c->string[0]); i++)
			heap_free(c->heap, c->string[i]);
		heap_close(&c->heap);
	}
	munmap(c, sizeof(*c));
	atomic_fetch_sub(&caches, 1);
}

static int open_parts(struct thermo *c, const struct thermo_options *options,
		      struct thermo_error *error)
{
	/* With a cold tier the filters of its runs, and what builds and merges runs, are in the heap; without, what
	 * is kept here grows with segments and handles only. */
	uint64_t heap_bytes = options->dram_bytes / (options->cold_dir ? 12 : 256);
	uint64_t least = HEAP_MIN;
	if (options->cold_dir) /* every thread that waits for the device has reads and their values here */
		least = options->dram_bytes / 8 < 2 * HEAP_MIN ? HEAP_MIN : 2 * HEAP_MIN;
	if (heap_bytes < least)
		heap_bytes = least;
	if (heap_bytes > 64 * MIB)
		heap_bytes = 64 * MIB;
	heap_bytes &= ~(uint64_t)(EXTENT_BYTES - 1);
	int rc = heap_open(options->heap ? options->heap : "memkind", options->allocator, heap_bytes,
			   &c->budget, &c->heap, error);
	if (rc)
		return rc;
	rc = copy_options(c, options);
	if (rc)
		return error_set(error, rc, "no memory for the options");
	rc = open_cold(c, error);
	if (rc == 0)
		rc = open_memory(c, error);
	if (rc)
		return rc;
	settle_sizes(c);
	rc = migrate_open(c);
	if (rc)
		return error_set(error, rc, "no memory for the migrator");
	rc = open_content(c, error);
	if (rc)
		return rc;
	rc = migrate_start(c);
	if (rc)
		return error_set(error, rc, "background threads: %s", strerror(-rc));
	return 0;
}

int thermo_open(const struct thermo_options *options, struct thermo **out,
		struct thermo_error *error)
{
	return cache_open(options, &file_ops_posix, out, error);
}

int cache_open(const struct thermo_options *options, const struct file_ops *files,
	       struct thermo **out, struct thermo_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	if (!out)
		return error_set(error, -EINVAL, "thermo_open: an argument is NULL");
	int rc = options_check(options, error);
	if (rc == 0)
		rc = memory_check(options, error);
	if (rc)
		return rc;
	pthread_once(&once, watch_forks);
	struct thermo *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		return error_set(error, -ENOMEM, "no memory");
	budget_init(&c->budget, options->dram_bytes);
	budget_take(&c->budget, sizeof(*c));
	c->generation = atomic_load(&fork_generation);
	c->files = files;
	c->lookup = lookup_choose();
	c->clock_fn = options->clock_ms;
	c->clock_context = options->clock_context;
	if (getrandom(&c->nonce, sizeof(c->nonce), 0) != (ssize_t)sizeof(c->nonce))
		c->nonce = monotonic_ns() ^ (uint64_t)(uintptr_t)c;
	c->larges_nonce = c->nonce;
	c->nonce = 0;
	locks_init(c);
	atomic_fetch_add(&caches, 1);
	rc = open_parts(c, options, error);
	if (rc) {
		release(c);
		return rc;
	}
	*out = c;
	return 0;
}

/* ---- Close ---- */

static int wait_for_handles(struct thermo *c, int64_t timeout_ns, struct thermo_error *error)
{
	uint64_t began = monotonic_ns();
	for (;;) {
		uint32_t refs = atomic_load(&c->refs), queues = atomic_load(&c->queues);
		uint32_t iterators = atomic_load(&c->iterators);
		if (!refs && !queues && !iterators)
			return 0;
		if (timeout_ns >= 0 && monotonic_ns() - began >= (uint64_t)timeout_ns)
			return error_set(error, -EBUSY,
					 "still open: %u refs, %u queues, %u iterators; release them "
					 "and close again", refs, queues, iterators);
		struct timespec t = {0, 1000000};
		nanosleep(&t, NULL);
	}
}

/* The image holds all; from then on the log is of no use. Until then, it is as after a crash. */
static int save_content(struct thermo *c, struct thermo_error *error)
{
	if (c->reclaim->writer) /* its records are in memory still, and go into the image */
		cold_writer_abort(&c->reclaim->writer);
	thermo_sync(c, -1); /* should the image fail */
	int rc = image_save(c, error);
	if (rc)
		return rc;
	atomic_store(&c->image_kept, durable_any(c));
	atomic_store(&c->log_unsure, false);
	c->log_from = cold_next_number(c->cold);
	rc = image_save_table(c, true, error);
	if (rc == 0)
		log_remove_all(c->log); /* what stays is removed at the next open */
	return rc;
}

int thermo_close(struct thermo **cache, int64_t timeout_ns, struct thermo_error *error)
{
	if (!cache || !*cache)
		return error_set(error, -EINVAL, "thermo_close: an argument is NULL");
	struct thermo *c = *cache;
	if (cache_forked(c))
		return error_set(error, -ECHILD, "this process is a fork of the cache's owner");
	int rc = wait_for_handles(c, timeout_ns, error);
	if (rc)
		return rc;
	migrate_stop(c);
	close_runners(c); /* their memory is for the image now */
	if (c->cold)
		rc = save_content(c, error);
	*cache = NULL;
	release(c);
	return rc;
}

/* ---- Sizes while running ---- */

static uint64_t not_pool(struct thermo *c)
{
	pthread_mutex_lock(&c->lock);
	uint64_t pool = c->pool[THERMO_HOT].extents_present * (uint64_t)EXTENT_BYTES;
	pthread_mutex_unlock(&c->lock);
	uint64_t used = atomic_load(&c->budget.used);
	return used > pool ? used - pool : 0;
}

static int resize_to(struct thermo *c, unsigned tier, uint32_t extents, int64_t timeout_ns,
		     struct thermo_error *error)
{
	struct pool *pool = &c->pool[tier];
	int rc = THERMO_OK;
	pthread_mutex_lock(&c->lock);
	bool grow = extents >= pool->extents_target;
	if (tier == THERMO_HOT)
		c->hot_extents_max = extents;
	if (grow)
		rc = pool_grow(pool, extents);
	bool over = pool->extents_present > extents;
	pthread_mutex_unlock(&c->lock);
	if (rc)
		error_set(error, rc, "only part of the memory could be had: %s", strerror(-rc));
	if (rc == THERMO_OK && over)
		rc = migrate_shrink(c, tier, extents, timeout_ns);
	policy_resize(c->policy, cache_tier_bytes(c, THERMO_HOT), cache_tier_bytes(c, THERMO_WARM));
	return rc;
}

int thermo_resize(struct thermo *c, enum thermo_tier tier, uint64_t bytes, int64_t timeout_ns,
		  struct thermo_error *error)
{
	if (!c || (tier != THERMO_HOT && tier != THERMO_WARM))
		return error_set(error, -EINVAL, "resize: only hot and warm have a cap to change");
	if (cache_forked(c))
		return -ECHILD;
	uint64_t most = tier == THERMO_HOT ? c->options.dram_max_bytes : c->options.warm_max_bytes;
	if (bytes > most)
		return error_set(error, -EINVAL, "resize: %lluM is over the tier's maximum, %lluM",
				 (unsigned long long)(bytes / MIB), (unsigned long long)(most / MIB));
	if (tier == THERMO_WARM) {
		if (!c->warm || bytes < POOL_MIN)
			return error_set(error, -EINVAL, "resize: warm must be at least 8M");
		return resize_to(c, tier, (uint32_t)(bytes / EXTENT_BYTES), timeout_ns, error);
	}
	uint64_t other = not_pool(c);
	if (bytes < other + POOL_MIN)
		return error_set(error, -EINVAL, "resize: dram needs at least %lluM now",
				 (unsigned long long)((other + POOL_MIN) / MIB + 1));
	uint64_t cap = atomic_load(&c->budget.cap);
	if (bytes > cap)
		atomic_store(&c->budget.cap, bytes);
	int rc = resize_to(c, tier, (uint32_t)((bytes - other) / EXTENT_BYTES), timeout_ns, error);
	if (bytes < cap) /* from now on; what is still there above it is on its way out */
		atomic_store(&c->budget.cap, bytes);
	return rc;
}

int thermo_drain(struct thermo *c, enum thermo_tier tier, int64_t timeout_ns,
		 struct thermo_error *error)
{
	if (!c || (tier != THERMO_HOT && tier != THERMO_WARM) || (tier == THERMO_WARM && !c->warm))
		return error_set(error, -EINVAL, "drain: only hot and warm can be drained");
	if (cache_forked(c))
		return -ECHILD;
	/* DRAM keeps what open segments need, so that puts go on. */
	uint32_t extents = tier == THERMO_HOT ? POOL_MIN / EXTENT_BYTES : 0;
	return resize_to(c, tier, extents, timeout_ns, error);
}

int thermo_work(struct thermo *c)
{
	if (!c)
		return -EINVAL;
	return cache_forked(c) ? -ECHILD : migrate_work(c);
}

int thermo_settle(struct thermo *c, int64_t timeout_ns)
{
	if (!c)
		return -EINVAL;
	return cache_forked(c) ? -ECHILD : migrate_settle(c, timeout_ns);
}
