/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/replay_report.h"

#include <errno.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tools/cli.h"
#include "tools/command.h"
#include "tools/sizes.h"

static const char *const tier_names[THERMO_TIERS] = {"hot", "warm", "cold"};

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static uint64_t requests_of(const struct replay_counts *counts)
{
	return counts->gets + counts->sets + counts->deletes;
}

static uint64_t hits_of(const struct replay_counts *counts)
{
	return counts->hits[0] + counts->hits[1] + counts->hits[2];
}

/* ---- For people ---- */

/* 1234567 -> "1,234,567"; text must hold 32 bytes. */
static char *grouped(uint64_t n, char *text)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n), to = 0;
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			text[to++] = ',';
		text[to++] = digits[i];
	}
	text[to] = 0;
	return text;
}

static char *duration(uint64_t ns, char *text)
{
	double value = (double)ns;
	if (ns < 1000)
		snprintf(text, 24, "%.0f ns", value);
	else if (ns < 1000000)
		snprintf(text, 24, value < 1e5 ? "%.1f us" : "%.0f us", value / 1e3);
	else if (ns < 1000000000)
		snprintf(text, 24, value < 1e8 ? "%.1f ms" : "%.0f ms", value / 1e6);
	else
		snprintf(text, 24, "%.1f s", value / 1e9);
	return text;
}

static void print_latency(FILE *to, const struct histogram *latency)
{
	static const double percents[] = {50, 99, 99.9};
	char text[32];
	if (!latency->count) {
		fprintf(to, " %9s %9s %9s %9s", "-", "-", "-", "-");
		return;
	}
	for (int i = 0; i < 3; i++)
		fprintf(to, " %9s", duration(histogram_percentile(latency, percents[i]), text));
	fprintf(to, " %9s", duration(latency->max, text));
}

static void print_row(FILE *to, const char *name, uint64_t n, uint64_t of,
		      const struct histogram *latency)
{
	char count[32];
	fprintf(to, "%-6s %12s %6.1f%%", name, grouped(n, count), share(n, of) * 100);
	print_latency(to, latency);
}

static void print_tiers(FILE *to, const struct replay_result *result)
{
	const struct replay_counts *total = &result->total;
	const struct thermo_stats *stats = &result->stats;
	char used[32], cap[32];
	fprintf(to, "%-6s %12s %7s %9s %9s %9s %9s   %s\n", "", "gets", "share", "p50", "p99",
		"p99.9", "max", "resident / cap");
	for (int tier = 0; tier < THERMO_TIERS; tier++) {
		print_row(to, tier_names[tier], total->hits[tier], total->gets,
			  &result->latency[tier]);
		size_format(stats->tier[tier].used_bytes, used);
		size_format(stats->tier[tier].cap_bytes, cap);
		fprintf(to, "   %s / %s\n", used, stats->tier[tier].cap_bytes ? cap : "-");
	}
	print_row(to, "miss", total->misses, total->gets, &result->latency_miss);
	if (result->latency_batch.count) {
		fprintf(to, "\n%-6s %12s %7s", "batch", grouped(result->latency_batch.count, cap),
			"");
		print_latency(to, &result->latency_batch);
		fprintf(to, "   of %.1f gets each; the rows above time single gets",
			share(result->batched, result->latency_batch.count));
	}
	fprintf(to, "\n%-6s %12s %7s", "put", grouped(result->latency_put.count, cap), "");
	print_latency(to, &result->latency_put);
	fprintf(to, "\n");
}

static void print_phases(FILE *to, const struct replay_about *about,
			 const struct replay_result *result)
{
	char count[32];
	if (!about->phases || about->n_phases < 2)
		return;
	fprintf(to, "\n%-34s %12s %7s %7s %7s %7s\n", "phase", "requests", "hot", "warm", "cold",
		"miss");
	for (unsigned i = 0; i < about->n_phases; i++) {
		const struct replay_counts *phase = &result->phase[i];
		fprintf(to, "%-34s %12s", about->phases[i], grouped(requests_of(phase), count));
		for (int tier = 0; tier < THERMO_TIERS; tier++)
			fprintf(to, " %6.1f%%", share(phase->hits[tier], phase->gets) * 100);
		fprintf(to, " %6.1f%%\n", share(phase->misses, phase->gets) * 100);
	}
}

static void print_movement(FILE *to, const struct replay_result *result)
{
	const struct thermo_stats *stats = &result->stats;
	char a[32], b[32], c[32], d[32];
	uint64_t requests = requests_of(&result->total);
	fprintf(to, "\nmoved      DRAM to warm %s, warm to DRAM %s records: %.3f a request\n",
		grouped(stats->demoted, a), grouped(stats->promoted, b),
		share(stats->demoted + stats->promoted, requests));
	fprintf(to, "           to cold %s, back %s records; already there %s\n",
		grouped(stats->cold_demoted, a), grouped(stats->cold_promoted, b),
		grouped(stats->cold_clean_dropped, c));
	uint64_t dropped = 0;
	for (int tier = 0; tier < THERMO_TIERS; tier++)
		dropped += stats->tier[tier].records_dropped;
	fprintf(to, "dropped    %s records\n", grouped(dropped, a));
	if (stats->tier[THERMO_COLD].cap_bytes || stats->device_reads || stats->device_writes)
		fprintf(to, "device     %s reads (%s), %s writes (%s); %.3f reads a cold hit; %s\n",
			grouped(stats->device_reads, a), size_format(stats->device_read_bytes, b),
			grouped(stats->device_writes, c), size_format(stats->device_write_bytes, d),
			share(stats->device_reads, result->total.hits[THERMO_COLD]),
			stats->uring ? "io_uring" : "pread threads");
}

static void print_memory(FILE *to, const struct replay_result *result)
{
	const struct thermo_stats *stats = &result->stats;
	char a[32], b[32], c[32], d[32], e[32];
	fprintf(to, "memory     DRAM %s of %s: index %s, filters %s, buffers and heap %s; ",
		size_format(stats->dram_used_bytes, a), size_format(stats->dram_cap_bytes, b),
		size_format(stats->index_bytes, c), size_format(stats->filter_bytes, d),
		size_format(stats->buffer_bytes + stats->heap_bytes, e));
	fprintf(to, "the process %s\n", size_format(result->process_bytes, a));
}

static void print_checks(FILE *to, const struct replay_config *config,
			 const struct replay_result *result)
{
	char a[32], b[32], c[32];
	const struct replay_checks *checks = &result->checks;
	const struct replay_reopened *reopened = &result->reopened;
	if (config->verify)
		fprintf(to,
			"verified   %s values, %s: %s bad bytes, %llu hits of keys that hold "
			"nothing\n",
			grouped(checks->values, a), size_format(checks->bytes, b),
			grouped(checks->bad_bytes, c), (unsigned long long)checks->unexpected);
	if (!reopened->done)
		return;
	fprintf(to, "reopened   closed in %.2f s, opened in %.2f s; %s keys read back in %.2f s: ",
		reopened->close_s, reopened->open_s, grouped(reopened->keys, a), reopened->read_s);
	fprintf(to, "%s missing, %s bad bytes\n", grouped(reopened->missing, a),
		grouped(reopened->checks.bad_bytes, b));
	fprintf(to, "           from hot %s, warm %s, cold %s\n", grouped(reopened->hits[0], a),
		grouped(reopened->hits[1], b), grouped(reopened->hits[2], c));
}

static void print_all(FILE *to, const struct replay_about *about,
		      const struct replay_config *config, const struct replay_result *result)
{
	const struct replay_counts *total = &result->total;
	char a[32], b[32], c[32], d[32];
	fprintf(to, "%s, policy %s, %u thread%s\n", about->trace, about->policy, config->threads,
		config->threads == 1 ? "" : "s");
	fprintf(to, "%s requests in %.2f s (%s/s): %s gets, %s sets, ",
		grouped(requests_of(total), a), result->seconds,
		grouped((uint64_t)((double)requests_of(total) / result->seconds), b),
		grouped(total->gets, c), grouped(total->sets, d));
	fprintf(to, "%s deletes; miss ratio %.4f\n", grouped(total->deletes, a),
		share(total->misses, total->gets));
	if (about->unrecorded)
		fprintf(to,
			"the trace gives no size for %s requests: values drawn from a published "
			"distribution (--value-size)\n",
			grouped(about->unrecorded, a));
	if (result->stats.emulated_warm)
		fprintf(to, "the warm tier is EMULATED: DRAM made slow (%s)\n", about->warm);
	fprintf(to, "\n");
	print_tiers(to, result);
	print_phases(to, about, result);
	print_movement(to, result);
	print_memory(to, result);
	if (total->busy || total->lost || total->no_space || total->errors)
		fprintf(to, "refused    %s puts busy, %s no space; %s lost, %s failed\n",
			grouped(total->busy, a), grouped(total->no_space, b),
			grouped(total->lost, c), grouped(total->errors, d));
	print_checks(to, config, result);
}

/* ---- For programs ---- */

static void add_count(cJSON *object, const char *name, uint64_t n)
{
	cJSON_AddNumberToObject(object, name, (double)n);
}

static void add_hits(cJSON *object, const uint64_t hits[THERMO_TIERS])
{
	cJSON *json = cJSON_AddObjectToObject(object, "hits");
	for (int tier = 0; tier < THERMO_TIERS; tier++)
		add_count(json, tier_names[tier], hits[tier]);
}

static void add_latency(cJSON *object, const char *name, const struct histogram *latency)
{
	cJSON *json = cJSON_AddObjectToObject(object, name);
	add_count(json, "count", latency->count);
	cJSON_AddNumberToObject(json, "mean", share(latency->sum, latency->count));
	add_count(json, "p50", histogram_percentile(latency, 50));
	add_count(json, "p99", histogram_percentile(latency, 99));
	add_count(json, "p99.9", histogram_percentile(latency, 99.9));
	add_count(json, "max", latency->max);
}

static void add_counts(cJSON *object, const struct replay_counts *counts)
{
	add_count(object, "requests", requests_of(counts));
	add_count(object, "gets", counts->gets);
	add_count(object, "sets", counts->sets);
	add_count(object, "deletes", counts->deletes);
	add_hits(object, counts->hits);
	add_count(object, "misses", counts->misses);
	cJSON_AddNumberToObject(object, "miss_ratio", share(counts->misses, counts->gets));
	cJSON_AddNumberToObject(object, "hit_ratio", share(hits_of(counts), counts->gets));
	add_count(object, "puts", counts->puts);
	add_count(object, "lost", counts->lost);
	add_count(object, "busy", counts->busy);
	add_count(object, "no_space", counts->no_space);
	add_count(object, "errors", counts->errors);
	add_count(object, "get_bytes", counts->get_bytes);
	add_count(object, "put_bytes", counts->put_bytes);
}

static void add_tiers(cJSON *root, const struct thermo_stats *stats)
{
	cJSON *resident = cJSON_AddObjectToObject(root, "resident_bytes");
	cJSON *cap = cJSON_AddObjectToObject(root, "cap_bytes");
	cJSON *moved = cJSON_AddObjectToObject(root, "moved");
	for (int tier = 0; tier < THERMO_TIERS; tier++) {
		const struct thermo_tier_stats *from = &stats->tier[tier];
		add_count(resident, tier_names[tier], from->used_bytes);
		add_count(cap, tier_names[tier], from->cap_bytes);
		cJSON *json = cJSON_AddObjectToObject(moved, tier_names[tier]);
		add_count(json, "records_in", from->records_in);
		add_count(json, "bytes_in", from->bytes_in);
		add_count(json, "records_out", from->records_out);
		add_count(json, "bytes_out", from->bytes_out);
		add_count(json, "records_dropped", from->records_dropped);
		add_count(json, "bytes_dropped", from->bytes_dropped);
		add_count(json, "records_expired", from->records_expired);
	}
	add_count(resident, "dram_all_in", stats->dram_used_bytes);
	add_count(cap, "dram_all_in", stats->dram_cap_bytes);
	add_count(moved, "promoted", stats->promoted);
	add_count(moved, "demoted", stats->demoted);
	add_count(moved, "cold_promoted", stats->cold_promoted);
	add_count(moved, "cold_demoted", stats->cold_demoted);
	add_count(moved, "cold_clean_dropped", stats->cold_clean_dropped);
}

static void add_device(cJSON *root, const struct replay_result *result)
{
	const struct thermo_stats *stats = &result->stats;
	cJSON *json = cJSON_AddObjectToObject(root, "device");
	add_count(json, "reads", stats->device_reads);
	add_count(json, "read_bytes", stats->device_read_bytes);
	add_count(json, "writes", stats->device_writes);
	add_count(json, "write_bytes", stats->device_write_bytes);
	cJSON_AddNumberToObject(json, "reads_per_cold_hit",
				share(stats->device_reads, result->total.hits[THERMO_COLD]));
	cJSON_AddStringToObject(json, "io", stats->uring ? "uring" : "pread");
}

static void add_checks(cJSON *object, const struct replay_checks *checks)
{
	add_count(object, "values", checks->values);
	add_count(object, "bytes", checks->bytes);
	add_count(object, "bad_bytes", checks->bad_bytes);
	add_count(object, "bad_values", checks->bad_values);
	add_count(object, "unexpected_hits", checks->unexpected);
}

static void add_reopened(cJSON *root, const struct replay_reopened *reopened)
{
	if (!reopened->done)
		return;
	cJSON *json = cJSON_AddObjectToObject(root, "reopened");
	add_count(json, "keys", reopened->keys);
	add_hits(json, reopened->hits);
	add_count(json, "missing", reopened->missing);
	add_count(json, "errors", reopened->errors);
	add_checks(json, &reopened->checks);
	cJSON_AddNumberToObject(json, "close_seconds", reopened->close_s);
	cJSON_AddNumberToObject(json, "open_seconds", reopened->open_s);
	cJSON_AddNumberToObject(json, "read_seconds", reopened->read_s);
}

static void add_latencies(cJSON *root, const struct replay_result *result)
{
	cJSON *json = cJSON_AddObjectToObject(root, "latency_ns");
	for (int tier = 0; tier < THERMO_TIERS; tier++)
		add_latency(json, tier_names[tier], &result->latency[tier]);
	add_latency(json, "batch", &result->latency_batch);
	add_latency(json, "miss", &result->latency_miss);
	add_latency(json, "put", &result->latency_put);
	add_latency(json, "delete", &result->latency_delete);
}

static void add_phases(cJSON *root, const struct replay_about *about,
		       const struct replay_result *result)
{
	if (!about->phases)
		return;
	cJSON *list = cJSON_AddArrayToObject(root, "phases");
	for (unsigned i = 0; i < about->n_phases; i++) {
		cJSON *json = cJSON_CreateObject();
		cJSON_AddStringToObject(json, "name", about->phases[i]);
		add_counts(json, &result->phase[i]);
		cJSON_AddItemToArray(list, json);
	}
}

static int json_all(FILE *to, const struct replay_about *about, const struct replay_config *config,
		    const struct replay_result *result)
{
	const struct thermo_stats *stats = &result->stats;
	cJSON *root = cJSON_CreateObject();
	if (!root)
		return -ENOMEM;
	uint64_t requests = requests_of(&result->total);
	cJSON_AddStringToObject(root, "trace", about->trace);
	cJSON_AddStringToObject(root, "mode", "engine");
	cJSON_AddStringToObject(root, "policy", about->policy);
	if (about->warm)
		cJSON_AddStringToObject(root, "warm", about->warm);
	cJSON_AddBoolToObject(root, "emulated_warm", stats->emulated_warm);
	add_count(root, "threads", config->threads);
	cJSON_AddNumberToObject(root, "seconds", result->seconds);
	cJSON_AddNumberToObject(root, "settle_seconds", result->settle_s);
	cJSON_AddNumberToObject(root, "requests_per_second",
				result->seconds > 0 ? (double)requests / result->seconds : 0);
	add_counts(root, &result->total);
	add_count(root, "sizes_not_recorded", about->unrecorded);
	add_latencies(root, result);
	add_count(root, "gets_in_batches", result->batched);
	cJSON_AddNumberToObject(root, "moves_per_request",
				share(stats->promoted + stats->demoted, requests));
	add_tiers(root, stats);
	add_count(root, "process_resident_bytes", result->process_bytes);
	add_count(root, "device_reads", stats->device_reads);
	add_device(root, result);
	if (config->verify)
		add_checks(cJSON_AddObjectToObject(root, "verify"), &result->checks);
	add_reopened(root, &result->reopened);
	add_phases(root, about, result);
	cJSON *engine = result->stats_json ? cJSON_Parse(result->stats_json) : NULL;
	if (engine)
		cJSON_AddItemToObject(root, "engine", engine);
	char *text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	fprintf(to, "%s\n", text);
	cJSON_free(text);
	return 0;
}

int replay_report(const struct replay_about *about, const struct replay_config *config,
		  const struct replay_result *result, const char *json_path)
{
	if (!json_path || strcmp(json_path, "-"))
		print_all(stdout, about, config, result);
	if (!json_path)
		return COMMAND_OK;
	FILE *to = cli_output_open(config->command, json_path);
	if (!to)
		return COMMAND_FAILED;
	int failed = json_all(to, about, config, result);
	int status = cli_output_close(config->command, json_path, to);
	return failed ? cli_fail(config->command, "out of memory") : status;
}
