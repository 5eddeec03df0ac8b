/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `thermo replay --objects`: the trace through the planner's simulator. Every object costs 1, every
 * get and every set is one request, a hit if the key is present, so that its miss ratios can be
 * laid beside those of other simulators.
 */
#include <errno.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tools/command.h"
#include "tools/replay.h"
#include "tools/simulate.h"
#include "tools/trace_source.h"

#define PROGRESS_MASK 0x3fffu

static void draw(struct progress *progress, const struct trace *trace,
		 const struct simulate *simulate)
{
	struct simulate_stats stats;
	char text[160], json[160];
	simulate_stats(simulate, &stats);
	double requests = stats.requests ? (double)stats.requests : 1;
	snprintf(text, sizeof(text), "%.2f M  hot %.1f%%  warm %.1f%%  miss %.1f%%", requests / 1e6,
		 (double)stats.hits[0] / requests * 100, (double)stats.hits[1] / requests * 100,
		 (double)stats.misses / requests * 100);
	snprintf(json, sizeof(json), "\"requests\":%llu,\"misses\":%llu",
		 (unsigned long long)stats.requests, (unsigned long long)stats.misses);
	progress_draw(progress, trace_done(trace), text, json);
}

static int simulate_trace(const struct replay_args *args, struct trace *trace,
			  struct simulate *simulate)
{
	struct thermo_error error = {.text = ""};
	struct trace_request request;
	struct progress progress;
	uint64_t n = 0;
	int status = 0;
	progress_open(&progress, args->progress);
	while (!args->limit || n < args->limit) {
		status = trace_next(trace, &request, &error);
		if (status)
			break;
		uint32_t times = request.count ? request.count : 1;
		for (uint32_t i = 0; i < times && (!args->limit || n < args->limit); i++, n++) {
			if (request.op == TRACE_DELETE)
				status = simulate_delete(simulate, request.key);
			else
				status = simulate_request(simulate, request.key, 1);
			if (status < 0)
				goto stop;
		}
		if (!(n & PROGRESS_MASK) && progress_due(&progress))
			draw(&progress, trace, simulate);
	}
stop:
	progress_close(&progress);
	if (status >= 0)
		return COMMAND_OK;
	return cli_fail(args->command, "%s", *error.text ? error.text : thermo_strerror(status));
}

static void add_tiers(cJSON *root, const char *name, uint64_t hot, uint64_t warm)
{
	cJSON *json = cJSON_AddObjectToObject(root, name);
	cJSON_AddNumberToObject(json, "hot", (double)hot);
	cJSON_AddNumberToObject(json, "warm", (double)warm);
	cJSON_AddNumberToObject(json, "cold", 0);
}

static int write_json(const struct replay_args *args, const struct simulate_stats *stats,
		      double seconds)
{
	double requests = stats->requests ? (double)stats->requests : 1;
	FILE *to = cli_output_open(args->command, args->json);
	if (!to)
		return COMMAND_FAILED;
	cJSON *root = cJSON_CreateObject();
	cJSON_AddStringToObject(root, "trace", args->path);
	cJSON_AddStringToObject(root, "mode", "objects");
	cJSON_AddStringToObject(root, "policy", args->policy);
	cJSON_AddNumberToObject(root, "seconds", seconds);
	cJSON_AddNumberToObject(root, "requests", (double)stats->requests);
	cJSON_AddNumberToObject(root, "misses", (double)stats->misses);
	cJSON_AddNumberToObject(root, "miss_ratio", (double)stats->misses / requests);
	add_tiers(root, "hits", stats->hits[0], stats->hits[1]);
	cJSON_AddNumberToObject(root, "promoted", (double)stats->promoted);
	cJSON_AddNumberToObject(root, "demoted", (double)stats->demoted);
	cJSON_AddNumberToObject(root, "evicted", (double)stats->evicted);
	cJSON_AddNumberToObject(root, "moves_per_request",
				(double)(stats->promoted + stats->demoted) / requests);
	add_tiers(root, "resident_objects", stats->used[0], stats->used[1]);
	add_tiers(root, "cap_objects", args->tiers.dram_bytes, args->tiers.warm_bytes);
	cJSON_AddNumberToObject(root, "ghost_objects", (double)stats->ghost_objects);
	cJSON_AddNumberToObject(root, "ghost_bytes", (double)stats->ghost_bytes);
	char *text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	if (text)
		fprintf(to, "%s\n", text);
	cJSON_free(text);
	int status = cli_output_close(args->command, args->json, to);
	return text ? status : cli_fail(args->command, "out of memory");
}

static void print(const struct replay_args *args, const struct simulate_stats *stats,
		  double seconds)
{
	double requests = stats->requests ? (double)stats->requests : 1;
	printf("%s, policy %s, simulated: every object costs 1\n", args->path, args->policy);
	printf("%llu requests in %.2f s (%.0f/s)\n", (unsigned long long)stats->requests, seconds,
	       seconds > 0 ? requests / seconds : 0);
	printf("%-6s %12s %8s   %s\n", "", "requests", "share", "resident / cap (objects)");
	printf("%-6s %12llu %7.2f%%   %llu / %llu\n", "hot", (unsigned long long)stats->hits[0],
	       (double)stats->hits[0] / requests * 100, (unsigned long long)stats->used[0],
	       (unsigned long long)args->tiers.dram_bytes);
	printf("%-6s %12llu %7.2f%%   %llu / %llu\n", "warm", (unsigned long long)stats->hits[1],
	       (double)stats->hits[1] / requests * 100, (unsigned long long)stats->used[1],
	       (unsigned long long)args->tiers.warm_bytes);
	printf("%-6s %12llu %7.2f%%\n", "miss", (unsigned long long)stats->misses,
	       (double)stats->misses / requests * 100);
	printf("moved between DRAM and warm: %.4f objects a request\n",
	       (double)(stats->promoted + stats->demoted) / requests);
}

int replay_objects(const struct replay_args *args)
{
	struct simulate_options options = {.dram = args->tiers.dram_bytes,
					   .warm = args->tiers.warm_bytes};
	struct thermo_error error = {.text = ""};
	struct trace *trace = NULL;
	struct simulate *simulate = NULL;
	struct simulate_stats stats;
	int exit_code = COMMAND_FAILED;
	if (policy_parse(args->policy, &options.kind))
		return cli_misuse(args->command, "--policy: '%s' is not s3fifo, lru, sieve or fifo",
				  args->policy);
	int status = trace_open(args->path, args->format, &trace, &error);
	if (status)
		return cli_fail(args->command, "%s", error.text);
	status = simulate_open(&options, &simulate);
	if (status) {
		cli_fail(args->command, "%llu + %llu objects: %s", (unsigned long long)options.dram,
			 (unsigned long long)options.warm, thermo_strerror(status));
		goto close_trace;
	}
	uint64_t start = progress_now_ns();
	exit_code = simulate_trace(args, trace, simulate);
	double seconds = (double)(progress_now_ns() - start) / 1e9;
	simulate_stats(simulate, &stats);
	if (!exit_code) {
		if (args->json)
			exit_code = write_json(args, &stats, seconds);
		else
			print(args, &stats, seconds);
	}
	simulate_close(&simulate);
close_trace:
	trace_close(&trace);
	return exit_code;
}
