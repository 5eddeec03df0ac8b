/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the engine's miss ratios, real segments and real sizes, beside the `byte` rows of the
 * reference:
 *
 *	compare_engine DATA [--trace TEXT] [--policy NAME] [--threads N] [--any]
 *
 * The cap is the row's size, all in (index, ghost and heap come out of it; keys, which the reference
 * does not count, too), DRAM:warm 1:4. Rows whose fifth is below the least DRAM are left out; with
 * --any they run with the least DRAM and what is left as warm. Without --threads the migrator runs
 * between requests, so runs agree to about 0.1 point. Exits 1 if an s3fifo row at 1:4 is off by over a point.
 */
#include "tests/tools/reference.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define DRAM_LEAST (16 * MIB)
#define WARM_LEAST (8 * MIB)
#define WORK_EVERY 64 /* requests */
#define ALLOWED 0.01

struct choice {
	const char *data, *trace, *policy;
	unsigned threads;
	bool any;
};

struct run {
	uint64_t requests, misses, refused;
	struct thermo_stats stats;
};

static bool choice_parse(int argc, char **argv, struct choice *choice)
{
	*choice = (struct choice){.policy = "s3fifo"};
	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;
		if (!strcmp(argv[i], "--any"))
			choice->any = true;
		else if (!strcmp(argv[i], "--trace") && more)
			choice->trace = argv[++i];
		else if (!strcmp(argv[i], "--policy") && more)
			choice->policy = argv[++i];
		else if (!strcmp(argv[i], "--threads") && more)
			choice->threads = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (argv[i][0] != '-' && !choice->data)
			choice->data = argv[i];
		else
			return false;
	}
	return choice->data != NULL;
}

/* DRAM of the row; 0: the engine cannot run it. */
static uint64_t dram_of(const struct reference_row *row, bool any)
{
	uint64_t dram = row->cache_size / 5;
	if (dram >= DRAM_LEAST)
		return dram;
	return any && row->cache_size >= DRAM_LEAST + WARM_LEAST ? DRAM_LEAST : 0;
}

static bool wanted(const struct choice *choice, const struct reference_row *row)
{
	return row->bytes && (!choice->trace || strstr(row->trace, choice->trace)) &&
	       !strcmp(policy_name(row->kind), choice->policy) && dram_of(row, choice->any);
}

static int replay(struct thermo *cache, const struct choice *choice,
		  const struct reference_trace *trace, char *value, size_t capacity,
		  struct run *run)
{
	struct thermo_space *space;
	int rc = thermo_space_open(cache, "trace", NULL, &space, NULL);
	for (size_t i = 0; i < trace->n && rc >= 0; i++) {
		size_t len = trace->sizes[i] ? trace->sizes[i] : 1;
		run->requests++;
		rc = thermo_get(space, &trace->keys[i], 8, value, capacity, NULL);
		if (rc == THERMO_MISS) {
			run->misses++;
			rc = thermo_put(space, &trace->keys[i], 8, value, len, THERMO_TTL_NONE);
			run->refused += rc != THERMO_OK;
		}
		if (!choice->threads && i % WORK_EVERY == 0)
			while (thermo_work(cache) == THERMO_OK)
				;
	}
	run->stats.size = sizeof(run->stats);
	return rc < 0 ? rc : thermo_stats(cache, &run->stats);
}

static int row_run(const struct reference_row *row, const struct choice *choice,
		   const struct reference_trace *trace, struct run *run,
		   struct thermo_error *error)
{
	struct thermo_options options;
	struct thermo *cache;
	size_t most = 1;
	for (size_t i = 0; i < trace->n; i++)
		most = trace->sizes[i] > most ? trace->sizes[i] : most;
	char *value = calloc(1, most);
	if (!value)
		return -ENOMEM;
	thermo_options_init(&options);
	options.dram_bytes = dram_of(row, choice->any);
	options.warm_bytes = row->cache_size - options.dram_bytes;
	options.warm = "dram";
	options.policy = choice->policy;
	options.background_threads = choice->threads;
	int rc = thermo_open(&options, &cache, error);
	if (rc == 0) {
		rc = replay(cache, choice, trace, value, most, run);
		int closed = thermo_close(&cache, 0, error);
		rc = rc ? rc : closed;
	}
	free(value);
	return rc;
}

static void row_print(const struct reference_row *row, const struct run *run, bool fifth)
{
	const struct thermo_stats *s = &run->stats;
	double requests = (double)run->requests;
	double hot = (double)s->tier[THERMO_HOT].hits, warm = (double)s->tier[THERMO_WARM].hits;
	double miss_ratio = (double)run->misses / requests;
	double cap = (double)row->cache_size;
	printf("%-30s %3u %10llu %s %9.4f %9.4f %+9.4f %8.3f %8.3f %8.3f %8.3f %8llu\n", row->trace,
	       row->percent, (unsigned long long)row->cache_size, fifth ? " 1:4" : "  - ",
	       row->miss_ratio, miss_ratio, miss_ratio - row->miss_ratio,
	       hot + warm > 0 ? hot / (hot + warm) : 0,
	       (double)(s->promoted + s->demoted) / requests,
	       (double)(s->dram_used_bytes - s->tier[0].used_bytes) / cap,
	       (double)(s->tier[0].segments_free + s->tier[1].segments_free) /
		       (double)(s->tier[0].segments + s->tier[1].segments),
	       (unsigned long long)run->refused);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct choice choice;
	struct reference_row *rows;
	struct reference_trace trace = {0};
	struct thermo_error error = {""};
	int status = EXIT_SUCCESS;
	size_t n;

	if (!choice_parse(argc, argv, &choice)) {
		fprintf(stderr,
			"usage: %s DATA [--trace TEXT] [--policy NAME] [--threads N] [--any]\n",
			argv[0]);
		return 2;
	}
	int rc = reference_rows(choice.data, &rows, &n);
	if (rc) {
		fprintf(stderr, "%s/reference/miss_ratios.csv: %s\n", choice.data, strerror(-rc));
		return EXIT_FAILURE;
	}
	printf("%-30s %3s %10s %4s %9s %9s %9s %8s %8s %8s %8s %8s\n", "trace", "%", "size", "DRAM",
	       "reference", "ours", "ours-ref", "DRAM hit", "moves/rq", "book", "free", "refused");
	for (size_t i = 0; i < n; i++) {
		struct run run = {0};
		if (!wanted(&choice, &rows[i]))
			continue;
		rc = reference_trace_load(&trace, choice.data, rows[i].trace, &error);
		if (!rc)
			rc = row_run(&rows[i], &choice, &trace, &run, &error);
		if (rc) {
			fprintf(stderr, "%s: %s\n", rows[i].trace,
				*error.text ? error.text : thermo_strerror(rc));
			status = EXIT_FAILURE;
			break;
		}
		bool fifth = rows[i].cache_size / 5 >= DRAM_LEAST;
		row_print(&rows[i], &run, fifth);
		double off = (double)run.misses / (double)run.requests - rows[i].miss_ratio;
		if (fifth && rows[i].kind == POLICY_S3FIFO && off > ALLOWED)
			status = EXIT_FAILURE;
	}
	reference_trace_free(&trace);
	free(rows);
	return status;
}
