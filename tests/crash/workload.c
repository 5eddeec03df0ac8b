/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random calls on a small cache, in one thread, so that a seed repeats. Each call is an event of the trace with
 * the number of file operations recorded before and after it.
 *
 * Small keys carry the versions that are compared; ballast, of which a dozen kilobytes each, pushes them
 * through the tiers, for the smallest pool that a cache may have holds 8 MiB.
 */
#include "tests/crash/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/engine.h"

#define MIB ((uint64_t)1 << 20)
#define BALLAST_BYTES 12000u
#define LARGE_BYTES 70000u /* in chunks */

struct workload_sums workload_sums;

static uint64_t last_seed;

void workload_versions_from(uint64_t seed)
{
	last_seed = value_mix(seed) & ~UINT64_C(0xfffffff);
}

uint64_t workload_next_seed(void)
{
	return ++last_seed;
}

static uint64_t clock_ms(void *context)
{
	(void)context;
	return UINT64_C(1700000000000);
}

void workload_cache_options(struct thermo_options *options, bool warm)
{
	thermo_options_init(options);
	options->background_threads = 0;
	options->dram_bytes = 28 * MIB;
	options->filter_bytes = 4 * MIB;
	options->warm_bytes = warm ? 8 * MIB : 0;
	options->warm = "dram";
	options->cold_dir = DISK_DIR;
	options->io = "pread"; /* its descriptors are not the kernel's */
	options->heap = "libc";
	options->put_wait_ms = 0;
	options->clock_ms = clock_ms;
}

struct run {
	struct disk *disk;
	const struct workload_options *options;
	struct trace *trace;
	struct chance chance;
	struct thermo *cache;
	struct thermo_space *space[MODEL_SPACES];
	char *value;
	bool wrong;
};

static size_t recorded(const struct run *run)
{
	return run->disk->record ? run->disk->record->n : 0;
}

static struct event *begin(struct run *run, enum event_kind kind, uint32_t space)
{
	struct trace *trace = run->trace;
	if (trace->n == trace->room) {
		trace->room = trace->room ? 2 * trace->room : 1024;
		trace->events = realloc(trace->events, trace->room * sizeof(trace->events[0]));
		if (!trace->events)
			abort();
	}
	struct event *e = &trace->events[trace->n++];
	*e = (struct event){.kind = kind, .space = (uint8_t)space, .begin = recorded(run)};
	workload_sums.events[kind]++;
	return e;
}

/* The call was answered: most answers are fine, an error is not. */
static int answered(struct run *run, struct event *e, int status)
{
	e->status = status;
	e->end = recorded(run);
	if (status < 0 && !run->wrong) {
		printf("  workload seed %llu: event %zu of kind %d: %s\n",
		       (unsigned long long)run->options->seed, run->trace->n, e->kind,
		       thermo_strerror(status));
		run->wrong = true;
	}
	return status;
}

static void open_cache(struct run *run)
{
	struct thermo_options options;
	struct thermo_error error = {.text = ""};
	workload_cache_options(&options, run->options->warm);
	struct event *e = begin(run, EVENT_OPEN, 0);
	if (answered(run, e, cache_open(&options, &run->disk->ops, &run->cache, &error)))
		printf("  open: %s\n", error.text);
}

static void open_space(struct run *run, uint32_t k)
{
	struct thermo_space_options options;
	struct thermo_error error = {.text = ""};
	char name[8];
	thermo_space_options_init(&options);
	snprintf(name, sizeof(name), "s%u", k);
	struct event *e = begin(run, EVENT_SPACE, k);
	e->durable = run->options->durable && k >= MODEL_SPACES / 2;
	options.durability = e->durable;
	if (answered(run, e, thermo_space_open(run->cache, name, &options, &run->space[k], &error)))
		printf("  space: %s\n", error.text);
}

static void open_spaces(struct run *run)
{
	for (uint32_t k = 0; k < MODEL_SPACES && !run->wrong; k++)
		open_space(run, k);
}

static void add_sums(struct run *run)
{
	struct thermo_stats stats = {.size = sizeof(stats)};
	thermo_stats(run->cache, &stats);
	workload_sums.demoted += stats.cold_demoted;
	workload_sums.compactions += stats.compactions;
	workload_sums.device_reads += stats.device_reads;
}

static void close_cache(struct run *run)
{
	struct thermo_error error = {.text = ""};
	add_sums(run);
	struct event *e = begin(run, EVENT_CLOSE, 0);
	if (answered(run, e, thermo_close(&run->cache, 0, &error)))
		printf("  close: %s\n", error.text);
	workload_sums.images++;
}

static uint32_t small_len(struct run *run)
{
	return chance_below(&run->chance, 8) ? 8 + (uint32_t)chance_below(&run->chance, 600)
						       : LARGE_BYTES;
}

int workload_put(struct thermo *cache, struct thermo_space *space, const char *name, size_t name_len,
		 const char *value, size_t len)
{
	int status = THERMO_BUSY;
	/* No thread makes room here but this one. */
	for (unsigned i = 0; i < 1000 && status == THERMO_BUSY; i++) {
		status = thermo_put(space, name, name_len, value, len, 0);
		if (status == THERMO_BUSY) {
			int work = thermo_work(cache);
			status = work < 0 ? work : status;
		}
	}
	return status;
}

static void put(struct run *run, uint32_t space, uint32_t key, uint32_t len)
{
	char name[MODEL_KEY_BYTES];
	size_t name_len = model_key_name(space, key, name);
	struct event *e = begin(run, EVENT_PUT, space);
	e->key = key;
	e->len = len;
	e->seed = workload_next_seed();
	value_fill(run->value, len, e->seed);
	answered(run, e, workload_put(run->cache, run->space[space], name, name_len, run->value, len));
}

static void put_batch(struct run *run, uint32_t space)
{
	enum { N = 16 };
	struct thermo_request requests[N] = {{0}};
	char names[N][MODEL_KEY_BYTES], *values = malloc(N * 256);
	size_t first = run->trace->n;
	uint32_t from = (uint32_t)chance_below(&run->chance, MODEL_BALLAST - N);
	if (!values)
		abort();
	for (uint32_t i = 0; i < N; i++) {
		struct event *e = begin(run, EVENT_PUT, space);
		e->key = from + i;
		e->len = 8 + (uint32_t)chance_below(&run->chance, 248);
		e->seed = workload_next_seed();
		value_fill(values + i * 256, e->len, e->seed);
		requests[i] = (struct thermo_request){
			.space = run->space[space],
			.key = names[i],
			.key_len = (uint32_t)model_key_name(space, e->key, names[i]),
			.value = values + i * 256,
			.value_len = e->len,
		};
	}
	int status = thermo_put_batch(requests, N, -1);
	for (uint32_t i = 0; i < N; i++)
		answered(run, &run->trace->events[first + i], status ? status : requests[i].status);
	free(values);
}

static void forget(struct run *run, uint32_t space, bool erase)
{
	char name[MODEL_KEY_BYTES];
	uint32_t key = (uint32_t)chance_below(&run->chance, MODEL_BALLAST);
	size_t name_len = model_key_name(space, key, name);
	struct event *e = begin(run, erase ? EVENT_ERASE : EVENT_DELETE, space);
	e->key = key;
	answered(run, e, erase ? thermo_erase(run->space[space], name, name_len, -1)
			 : chance_below(&run->chance, 2)
				 ? thermo_delete(run->space[space], name, name_len)
				 : thermo_remove(run->space[space], name, name_len));
}

static void drop(struct run *run, uint32_t space)
{
	struct event *e = begin(run, EVENT_DROP, space);
	answered(run, e, thermo_space_drop(&run->space[space]));
	if (!run->wrong)
		open_space(run, space);
}

static void resize(struct run *run)
{
	struct thermo_error error;
	uint64_t bytes = (32 + 4 * chance_below(&run->chance, 4)) * MIB;
	struct event *e = begin(run, EVENT_OTHER, 0);
	int status = thermo_resize(run->cache, THERMO_HOT, bytes, 0, &error);
	answered(run, e, status < 0 ? THERMO_OK : status); /* below what is in use now: refused */
}

static void work(struct run *run)
{
	unsigned n = 1 + (unsigned)chance_below(&run->chance, 40);
	for (unsigned i = 0; i < n; i++) {
		struct event *e = begin(run, EVENT_OTHER, 0);
		if (answered(run, e, thermo_work(run->cache)) != THERMO_OK)
			break;
	}
}

static void read_some(struct run *run, uint32_t space)
{
	struct thermo_iter *iter;
	struct thermo_item item;
	struct event *e = begin(run, EVENT_OTHER, 0);
	int status = thermo_iter_open(run->space[space], "s", 1, &iter);
	for (unsigned i = 0; i < 200 && status == THERMO_OK; i++)
		status = thermo_iter_next(iter, &item);
	thermo_iter_close(&iter);
	for (unsigned i = 0; i < 30 && status >= 0; i++) {
		char name[MODEL_KEY_BYTES];
		uint32_t key = (uint32_t)chance_below(&run->chance, MODEL_BALLAST);
		size_t name_len = model_key_name(space, key, name);
		status = thermo_get(run->space[space], name, name_len, run->value, LARGE_BYTES,
				    NULL);
	}
	answered(run, e, status);
}

/* Enough to push what is in memory down. */
static void push(struct run *run)
{
	uint32_t n = 150 + (uint32_t)chance_below(&run->chance, 400);
	for (uint32_t i = 0; i < n && !run->wrong; i++) {
		uint32_t space = (uint32_t)chance_below(&run->chance, MODEL_SPACES);
		uint32_t key = MODEL_BALLAST +
			       (uint32_t)chance_below(&run->chance, MODEL_KEYS - MODEL_BALLAST);
		put(run, space, key, BALLAST_BYTES);
	}
}

static void step(struct run *run)
{
	uint32_t what = (uint32_t)chance_below(&run->chance, 100);
	uint32_t space = (uint32_t)chance_below(&run->chance, MODEL_SPACES);
	if (what < 30) {
		for (unsigned i = 0; i < 12 && !run->wrong; i++)
			put(run, space, (uint32_t)chance_below(&run->chance, MODEL_BALLAST),
			    small_len(run));
	} else if (what < 40) {
		put_batch(run, space);
	} else if (what < 52) {
		for (unsigned i = 0; i < 8 && !run->wrong; i++)
			forget(run, space, false);
	} else if (what < 74) {
		push(run);
	} else if (what < 82) {
		work(run);
	} else if (what < 85) {
		forget(run, space, true);
	} else if (what < 88) {
		drop(run, space);
	} else if (what < 90) {
		resize(run);
	} else if (what < 92) {
		read_some(run, space);
	} else {
		close_cache(run);
		if (!run->wrong)
			open_cache(run);
		if (!run->wrong)
			open_spaces(run);
	}
}

bool workload_run(struct disk *disk, const struct workload_options *options, struct trace *trace)
{
	struct run run = {.disk = disk, .options = options, .trace = trace};
	run.chance = chance_make(options->seed);
	run.value = malloc(LARGE_BYTES);
	if (!run.value)
		abort();
	open_cache(&run);
	if (!run.wrong)
		open_spaces(&run);
	for (unsigned i = 0; i < options->steps && !run.wrong; i++)
		step(&run);
	bool leave = chance_below(&run.chance, 3) == 0; /* as a process that is killed does */
	if (run.cache && leave && !run.wrong) {
		add_sums(&run);
		disk_record_end(disk);
	}
	if (run.cache && !run.wrong && !leave)
		close_cache(&run);
	else if (run.cache)
		thermo_close(&run.cache, 0, NULL);
	free(run.value);
	return !run.wrong;
}
