/* SPDX-License-Identifier: Apache-2.0 */
/* The report of `thermo bench`, for people and as JSON. */
#include "tools/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/sizes.h"

/* 1234 -> "1.23 us"; text holds 24 bytes. */
static char *duration(uint64_t ns, char *text)
{
	if (ns < 1000)
		snprintf(text, 24, "%llu ns", (unsigned long long)ns);
	else if (ns < 1000000)
		snprintf(text, 24, "%.3g us", (double)ns / 1e3);
	else
		snprintf(text, 24, "%.3g ms", (double)ns / 1e6);
	return text;
}

static char *rate(double per_s, char *text)
{
	if (per_s >= 1e6)
		snprintf(text, 24, "%.2f M/s", per_s / 1e6);
	else if (per_s >= 1e3)
		snprintf(text, 24, "%.1f k/s", per_s / 1e3);
	else
		snprintf(text, 24, "%.1f /s", per_s);
	return text;
}

static void print_head(FILE *to, const struct workload *work, const struct bench_settings *settings)
{
	char dram[24], warm[24];

	fprintf(to, "%llu keys of %u bytes, values of %u", (unsigned long long)work->keys,
		work->key_len, work->value_least);
	if (work->value_most != work->value_least)
		fprintf(to, " to %u", work->value_most);
	if (work->zipf > 0)
		fprintf(to, " bytes, Zipf %g", work->zipf);
	else
		fprintf(to, " bytes, uniform");
	fprintf(to, ", %u %% gets, %u thread%s, ", work->get_percent, work->threads,
		work->threads == 1 ? "" : "s");
	if (work->batch == 1)
		fprintf(to, "single requests\n");
	else
		fprintf(to, "batches of %u\n", work->batch);
	if (settings->no_cache)
		return;
	fprintf(to, "DRAM %s", size_format(settings->tiers.dram_bytes, dram));
	if (settings->tiers.warm_bytes)
		fprintf(to, ", warm %s (%s)", size_format(settings->tiers.warm_bytes, warm),
			settings->tiers.warm);
	fprintf(to, ", cold %s\n", settings->tiers.cold_dir ? settings->tiers.cold_dir : "none");
}

/* Bytes of memory that a key costs beyond itself and its value. */
static double extra_of(const struct bench_series *series, const struct bench_settings *settings)
{
	const struct workload *work = &settings->work;
	return (double)series->bytes / (double)work->keys - work->key_len - bench_value_mean(work);
}

static void print_latencies(FILE *to, const struct latency_summary *latency)
{
	char text[24];
	fprintf(to, " %9s", duration(latency->p50, text));
	fprintf(to, " %9s", duration(latency->p99, text));
	fprintf(to, " %9s", duration(latency->p999, text));
	fprintf(to, " %9s", duration(latency->max, text));
}

static void print_ratio(FILE *to, double ratio)
{
	if (ratio > 0)
		fprintf(to, " %7.3f", ratio);
	else
		fprintf(to, " %7s", "-");
}

static void print_series(FILE *to, const struct bench_series *series,
			 const struct bench_settings *settings, const struct bench_results *results)
{
	const struct round_summary *median = &series->median;
	const struct latency_summary *latency =
		settings->work.get_percent ? &median->get : &median->put;
	char text[24];

	fprintf(to, "%-12s %12s", series->name, rate(median->ops_per_s, text));
	print_ratio(to, series->ratio);
	if (median->quiet_ops_per_s > 0)
		fprintf(to, " %12s", rate(median->quiet_ops_per_s, text));
	else
		fprintf(to, " %12s", "-");
	print_ratio(to, series->quiet_ratio);
	print_latencies(to, latency);
	uint64_t gets = median->counts.gets;
	fprintf(to, " %6.2f%%", gets ? 100.0 * (double)median->counts.hits / (double)gets : 0.0);
	fprintf(to, " %5.2f", median->seconds > 0 ? median->cpu_seconds / median->seconds : 0);
	if (settings->work.each)
		fprintf(to, " %8s\n", "-");
	else if (!strcmp(series->name, "thermocline"))
		fprintf(to, " %8.1f\n", results->memory.extra_bytes);
	else if (extra_of(series, settings) < 0)
		fprintf(to, " %8s\n", "on disk");
	else
		fprintf(to, " %8.1f\n", extra_of(series, settings));
	if (settings->work.get_percent && settings->work.get_percent < 100) {
		fprintf(to, "%-12s %12s %7s %12s %7s", "  puts", "", "", "", "");
		print_latencies(to, &median->put);
		if (median->counts.refused)
			fprintf(to, "  %llu refused", (unsigned long long)median->counts.refused);
		fputc('\n', to);
	}
}

static void print_memory(FILE *to, const struct bench_settings *settings,
			 const struct bench_results *results)
{
	const struct bench_memory *memory = &results->memory;
	char used[24], cap[24], resident[24];

	if (settings->no_cache || (settings->work.each && !settings->fill_only))
		return;
	fprintf(to,
		"memory: %llu records in DRAM and warm use %s of %s (resident %s more): "
		"%.1f bytes each beyond key and value%s\n",
		(unsigned long long)memory->records, size_format(memory->used_bytes, used),
		size_format(memory->cap_bytes, cap), size_format(memory->resident_bytes, resident),
		memory->extra_bytes, memory->evicted ? "; not all keys fit" : "");
	if (settings->fill_only)
		fprintf(to, "        while the second half was loaded: mean %.1f, worst %.1f\n",
			memory->extra_mean, memory->extra_worst);
}

static void print_disk(FILE *to, const struct bench_settings *settings,
		       const struct bench_results *results)
{
	static const char *const names[BENCH_TIERS] = {"hot", "warm", "cold"};
	const struct bench_disk *disk = &results->disk;
	char text[24];

	if (!disk->there)
		return;
	for (unsigned i = 0; i < results->n; i++) {
		const struct bench_series *series = results->series[i];
		for (unsigned t = 0; t < BENCH_TIERS; t++) {
			const struct latency_summary *latency = &series->median.tier[t];
			if (!latency->count)
				continue;
			fprintf(to, "  %-4s hits %10llu, latency", names[t],
				(unsigned long long)latency->count);
			print_latencies(to, latency);
			fputc('\n', to);
		}
	}
	fprintf(to, "disk: 4 KiB reads%s: %.1f us (p50, depth 1), %s at depth 32\n",
		disk->direct ? "" : " (through the page cache: O_DIRECT is refused)", disk->p50_us,
		rate(disk->reads_per_s, text));
	if (disk->cold_p50_ratio > 0)
		fprintf(to, "      a cold hit's p50 is %.2f of the disk's\n", disk->cold_p50_ratio);
	if (disk->cold_hits)
		fprintf(to,
			"      %.3f point reads a cold hit (%llu of %llu, %llu false positives), all "
			"%llu device reads at %.2f of the disk's rate\n",
			disk->reads_per_hit, (unsigned long long)disk->point_reads,
			(unsigned long long)disk->cold_hits,
			(unsigned long long)disk->false_positives,
			(unsigned long long)disk->device_reads, disk->share);
	if (disk->of_allowed > 0 && settings->work.batch > 1)
		fprintf(to,
			"      %.2f of the requests that the disk allows (its rate at depth 32 / share "
			"of cold hits), with %.1f cold hits a batch\n",
			disk->of_allowed, disk->cold_a_batch);
	else if (disk->of_allowed > 0)
		fprintf(to,
			"      %.2f of the requests that the disk allows (threads / its p50 at depth 1 / "
			"share of cold hits)\n",
			disk->of_allowed);
}

void bench_report_text(FILE *to, const struct bench_settings *settings,
		       const struct bench_results *results)
{
	const struct workload *work = &settings->work;

	print_head(to, work, settings);
	if (!settings->fill_only) {
		if (work->ops)
			fprintf(to, "medians of %u rounds of %llu requests a thread\n\n",
				settings->rounds, (unsigned long long)work->ops);
		else
			fprintf(to, "medians of %u rounds of %g s\n\n", settings->rounds,
				work->seconds);
		fprintf(to, "%-12s %12s %7s %12s %7s %9s %9s %9s %9s %7s %5s %8s\n", "store",
			"requests", "floor=1", "quiet", "floor=1", "p50", "p99", "p99.9", "max",
			"hits", "CPUs", "B/object");
		for (unsigned i = 0; i < results->n; i++)
			print_series(to, results->series[i], settings, results);
		if (work->batch > 1)
			fprintf(to, "(latencies are of whole batches)\n");
		fputc('\n', to);
	}
	print_memory(to, settings, results);
	print_disk(to, settings, results);
	for (unsigned i = 0; i < results->n_failures; i++)
		fprintf(to, "%s\n", results->failures[i]);
}

/* ---- JSON
 * ----------------------------------------------------------------------------------------- */

static cJSON *workload_json(const struct bench_settings *settings)
{
	const struct workload *work = &settings->work;
	cJSON *json = cJSON_CreateObject();

	cJSON_AddNumberToObject(json, "keys", (double)work->keys);
	cJSON_AddNumberToObject(json, "key_size", work->key_len);
	cJSON_AddNumberToObject(json, "value_size_least", work->value_least);
	cJSON_AddNumberToObject(json, "value_size_most", work->value_most);
	cJSON_AddNumberToObject(json, "zipf", work->zipf);
	cJSON_AddNumberToObject(json, "get_percent", work->get_percent);
	cJSON_AddNumberToObject(json, "threads", work->threads);
	cJSON_AddNumberToObject(json, "batch", work->batch);
	cJSON_AddNumberToObject(json, "rounds", settings->rounds);
	cJSON_AddNumberToObject(json, "seed", (double)work->seed);
	cJSON_AddNumberToObject(json, "dram_bytes", (double)settings->tiers.dram_bytes);
	cJSON_AddNumberToObject(json, "warm_bytes", (double)settings->tiers.warm_bytes);
	cJSON_AddBoolToObject(json, "cold", settings->tiers.cold_dir != NULL);
	return json;
}

static cJSON *series_json(const struct bench_series *series, const struct bench_settings *settings)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "store", series->name);
	cJSON_AddStringToObject(json, "version", series->version);
	cJSON_AddNumberToObject(json, "load_seconds", series->load_seconds);
	cJSON_AddNumberToObject(json, "bytes", (double)series->bytes);
	cJSON_AddNumberToObject(json, "extra_bytes_per_key", extra_of(series, settings));
	if (series->ratio > 0)
		cJSON_AddNumberToObject(json, "ratio_to_floor", series->ratio);
	if (series->quiet_ratio > 0)
		cJSON_AddNumberToObject(json, "quiet_ratio_to_floor", series->quiet_ratio);
	if (!series->n)
		return json;
	cJSON_AddItemToObject(json, "median", round_to_json(&series->median));
	cJSON *rounds = cJSON_AddArrayToObject(json, "rounds");
	for (unsigned i = 0; i < series->n; i++)
		cJSON_AddItemToArray(rounds, round_to_json(&series->rounds[i]));
	return json;
}

static cJSON *memory_json(const struct bench_memory *memory, bool fill_only)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddNumberToObject(json, "records", (double)memory->records);
	cJSON_AddNumberToObject(json, "used_bytes", (double)memory->used_bytes);
	cJSON_AddNumberToObject(json, "cap_bytes", (double)memory->cap_bytes);
	cJSON_AddNumberToObject(json, "resident_bytes", (double)memory->resident_bytes);
	cJSON_AddNumberToObject(json, "extra_bytes_per_record", memory->extra_bytes);
	if (fill_only) {
		cJSON_AddNumberToObject(json, "extra_bytes_mean", memory->extra_mean);
		cJSON_AddNumberToObject(json, "extra_bytes_worst", memory->extra_worst);
	}
	cJSON_AddBoolToObject(json, "evicted", memory->evicted);
	return json;
}

static cJSON *disk_json(const struct bench_disk *disk)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddBoolToObject(json, "direct", disk->direct);
	cJSON_AddNumberToObject(json, "read_p50_us", disk->p50_us);
	cJSON_AddNumberToObject(json, "reads_per_s_depth_32", disk->reads_per_s);
	cJSON_AddNumberToObject(json, "cold_hit_p50_ratio", disk->cold_p50_ratio);
	cJSON_AddNumberToObject(json, "device_reads", (double)disk->device_reads);
	cJSON_AddNumberToObject(json, "point_reads", (double)disk->point_reads);
	cJSON_AddNumberToObject(json, "false_positives", (double)disk->false_positives);
	cJSON_AddNumberToObject(json, "ratio_to_disk_allowed", disk->of_allowed);
	cJSON_AddNumberToObject(json, "cold_hits_per_batch", disk->cold_a_batch);
	cJSON_AddNumberToObject(json, "cold_hits", (double)disk->cold_hits);
	cJSON_AddNumberToObject(json, "reads_per_cold_hit", disk->reads_per_hit);
	cJSON_AddNumberToObject(json, "share_of_disk_rate", disk->share);
	return json;
}

int bench_report_json(FILE *to, const struct bench_settings *settings,
		      const struct bench_results *results)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddItemToObject(json, "workload", workload_json(settings));
	cJSON *stores = cJSON_AddArrayToObject(json, "stores");
	for (unsigned i = 0; i < results->n; i++)
		cJSON_AddItemToArray(stores, series_json(results->series[i], settings));
	if (!settings->no_cache)
		cJSON_AddItemToObject(json, "memory",
				      memory_json(&results->memory, settings->fill_only));
	if (results->disk.there)
		cJSON_AddItemToObject(json, "disk", disk_json(&results->disk));
	cJSON *missing = cJSON_AddArrayToObject(json, "missing");
	for (unsigned i = 0; i < results->n_failures; i++)
		cJSON_AddItemToArray(missing, cJSON_CreateString(results->failures[i]));
	char *text = cJSON_Print(json);
	cJSON_Delete(json);
	if (!text)
		return -ENOMEM;
	fprintf(to, "%s\n", text);
	free(text);
	return 0;
}
