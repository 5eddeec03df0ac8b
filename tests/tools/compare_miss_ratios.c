/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the simulator's figures beside the reference miss ratios, as the table of the README:
 *
 *	compare_miss_ratios DATA [--trace TEXT] [--policy NAME] [--dram PERCENT] [--walk]
 *
 * Exits 1 if an s3fifo row of at least 1,000 objects misses 0.3 points more than the reference.
 */
#include "tests/tools/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOT_NS 100.0 /* for the mean cost of a hit, as the spikes counted it */
#define WARM_NS 250.0
#define ALLOWED 0.003

struct choice {
	const char *data, *trace, *policy;
	unsigned dram_percent;
	bool walk;
};

static bool choice_parse(int argc, char **argv, struct choice *choice)
{
	*choice = (struct choice){.dram_percent = 20};
	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;
		if (!strcmp(argv[i], "--walk"))
			choice->walk = true;
		else if (!strcmp(argv[i], "--trace") && more)
			choice->trace = argv[++i];
		else if (!strcmp(argv[i], "--policy") && more)
			choice->policy = argv[++i];
		else if (!strcmp(argv[i], "--dram") && more)
			choice->dram_percent = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (argv[i][0] != '-' && !choice->data)
			choice->data = argv[i];
		else
			return false;
	}
	return choice->data && choice->dram_percent <= 100;
}

static bool wanted(const struct choice *choice, const struct reference_row *row)
{
	return (!choice->trace || strstr(row->trace, choice->trace)) &&
	       (!choice->policy || !strcmp(policy_name(row->kind), choice->policy));
}

static void row_print(const struct reference_row *row, const struct simulate_stats *stats)
{
	double requests = (double)stats->requests, hot = (double)stats->hits[0];
	double hits = hot + (double)stats->hits[1];
	double miss_ratio = (double)stats->misses / requests;
	printf("%-30s %-4s %3u %10llu %-7s %9.4f %9.4f %+9.4f %8.3f %8.3f %8.1f %8.1f\n",
	       row->trace, row->bytes ? "byte" : "obj", row->percent,
	       (unsigned long long)row->cache_size, policy_name(row->kind), row->miss_ratio,
	       miss_ratio, miss_ratio - row->miss_ratio, hits ? hot / hits : 0,
	       (double)(stats->promoted + stats->demoted) / requests,
	       hits ? (hot * HOT_NS + (hits - hot) * WARM_NS) / hits : 0,
	       stats->ghost_objects ? (double)stats->ghost_bytes / (double)stats->ghost_objects
				    : 0);
}

int main(int argc, char **argv)
{
	struct choice choice;
	struct reference_row *rows;
	struct reference_trace trace = {0};
	struct thermo_error error = {""};
	struct simulate_stats stats;
	double worst[4] = {0};
	size_t n;
	int status = EXIT_SUCCESS;

	if (!choice_parse(argc, argv, &choice)) {
		fprintf(stderr,
			"usage: %s DATA [--trace TEXT] [--policy NAME] [--dram PERCENT] "
			"[--walk]\n",
			argv[0]);
		return 2;
	}
	int rc = reference_rows(choice.data, &rows, &n);
	if (rc) {
		fprintf(stderr, "%s/reference/miss_ratios.csv: %s\n", choice.data, strerror(-rc));
		return EXIT_FAILURE;
	}
	printf("%-30s %-4s %3s %10s %-7s %9s %9s %9s %8s %8s %8s %8s\n", "trace", "mode", "%",
	       "size", "policy", "reference", "ours", "ours-ref", "DRAM", "moves/rq", "ns/hit",
	       "ghost B");
	for (size_t i = 0; i < n; i++) {
		if (!wanted(&choice, &rows[i]))
			continue;
		rc = reference_trace_load(&trace, choice.data, rows[i].trace, &error);
		if (!rc)
			rc = reference_run(&rows[i], &trace, choice.dram_percent, choice.walk,
					   &stats);
		if (rc) {
			fprintf(stderr, "%s: %s\n", rows[i].trace,
				*error.text ? error.text : strerror(-rc));
			status = EXIT_FAILURE;
			break;
		}
		row_print(&rows[i], &stats);
		double off = (double)stats.misses / (double)stats.requests - rows[i].miss_ratio;
		if (rows[i].cache_size < 1000)
			continue;
		double size = off < 0 ? -off : off;
		worst[rows[i].kind] = size > worst[rows[i].kind] ? size : worst[rows[i].kind];
		if (rows[i].kind == POLICY_S3FIFO && off > ALLOWED)
			status = EXIT_FAILURE;
	}
	printf("largest deviation at 1,000 objects and more: s3fifo %.4f, lru %.4f, sieve %.4f, "
	       "fifo "
	       "%.4f\n",
	       worst[POLICY_S3FIFO], worst[POLICY_LRU], worst[POLICY_SIEVE], worst[POLICY_FIFO]);
	reference_trace_free(&trace);
	free(rows);
	return status;
}
