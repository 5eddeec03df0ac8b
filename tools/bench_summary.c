/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_summary.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const tier_names[BENCH_TIERS] = {"hot", "warm", "cold"};

static void summarise(const struct histogram *ns, struct latency_summary *summary)
{
	summary->count = ns->count;
	summary->mean = ns->count ? ns->sum / ns->count : 0;
	summary->p50 = histogram_percentile(ns, 50);
	summary->p99 = histogram_percentile(ns, 99);
	summary->p999 = histogram_percentile(ns, 99.9);
	summary->max = ns->max;
}

void round_summarise(const struct bench_round *round, struct round_summary *summary)
{
	summary->ops_per_s = round->ops_per_s;
	summary->quiet_ops_per_s = round->quiet_ops_per_s;
	summary->seconds = round->seconds;
	summary->cpu_seconds = round->cpu_seconds;
	summary->counts = round->counts;
	summarise(&round->get_ns, &summary->get);
	summarise(&round->put_ns, &summary->put);
	for (unsigned i = 0; i < BENCH_TIERS; i++)
		summarise(&round->tier_ns[i], &summary->tier[i]);
}

/* ---- JSON ---------------------------------------------------------------------------------------
 */

static void put_latency(cJSON *json, const char *name, const struct latency_summary *latency)
{
	cJSON *object = cJSON_AddObjectToObject(json, name);
	cJSON_AddNumberToObject(object, "count", (double)latency->count);
	cJSON_AddNumberToObject(object, "mean", (double)latency->mean);
	cJSON_AddNumberToObject(object, "p50", (double)latency->p50);
	cJSON_AddNumberToObject(object, "p99", (double)latency->p99);
	cJSON_AddNumberToObject(object, "p999", (double)latency->p999);
	cJSON_AddNumberToObject(object, "max", (double)latency->max);
}

cJSON *round_to_json(const struct round_summary *summary)
{
	const struct bench_counts *counts = &summary->counts;
	cJSON *json = cJSON_CreateObject();

	cJSON_AddNumberToObject(json, "ops_per_s", summary->ops_per_s);
	cJSON_AddNumberToObject(json, "quiet_ops_per_s", summary->quiet_ops_per_s);
	cJSON_AddNumberToObject(json, "seconds", summary->seconds);
	cJSON_AddNumberToObject(json, "cpu_seconds", summary->cpu_seconds);
	cJSON_AddNumberToObject(json, "gets", (double)counts->gets);
	cJSON_AddNumberToObject(json, "hits", (double)counts->hits);
	cJSON_AddNumberToObject(json, "puts", (double)counts->puts);
	cJSON_AddNumberToObject(json, "failed", (double)counts->failed);
	cJSON_AddNumberToObject(json, "refused", (double)counts->refused);
	cJSON_AddNumberToObject(json, "wrong", (double)counts->wrong);
	cJSON_AddNumberToObject(json, "error", counts->error);
	put_latency(json, "get_ns", &summary->get);
	put_latency(json, "put_ns", &summary->put);
	for (unsigned i = 0; i < BENCH_TIERS; i++)
		if (summary->tier[i].count)
			put_latency(json, tier_names[i], &summary->tier[i]);
	return json;
}

static double number_in(const cJSON *json, const char *name, int *error)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
	if (!cJSON_IsNumber(item)) {
		*error = -EPROTO;
		return 0;
	}
	return item->valuedouble;
}

static uint64_t count_in(const cJSON *json, const char *name, int *error)
{
	double value = number_in(json, name, error);
	return value > 0 && value < 1e18 ? (uint64_t)value : 0;
}

static void take_latency(const cJSON *json, struct latency_summary *latency, int *error)
{
	latency->count = count_in(json, "count", error);
	latency->mean = count_in(json, "mean", error);
	latency->p50 = count_in(json, "p50", error);
	latency->p99 = count_in(json, "p99", error);
	latency->p999 = count_in(json, "p999", error);
	latency->max = count_in(json, "max", error);
}

int round_from_json(const cJSON *json, struct round_summary *summary)
{
	struct bench_counts *counts = &summary->counts;
	int error = 0;

	memset(summary, 0, sizeof(*summary));
	summary->ops_per_s = number_in(json, "ops_per_s", &error);
	summary->quiet_ops_per_s = number_in(json, "quiet_ops_per_s", &error);
	summary->seconds = number_in(json, "seconds", &error);
	summary->cpu_seconds = number_in(json, "cpu_seconds", &error);
	counts->gets = count_in(json, "gets", &error);
	counts->hits = count_in(json, "hits", &error);
	counts->puts = count_in(json, "puts", &error);
	counts->failed = count_in(json, "failed", &error);
	counts->refused = count_in(json, "refused", &error);
	counts->wrong = count_in(json, "wrong", &error);
	counts->error = (int)number_in(json, "error", &error);
	take_latency(cJSON_GetObjectItemCaseSensitive(json, "get_ns"), &summary->get, &error);
	take_latency(cJSON_GetObjectItemCaseSensitive(json, "put_ns"), &summary->put, &error);
	for (unsigned i = 0; i < BENCH_TIERS; i++) {
		const cJSON *tier = cJSON_GetObjectItemCaseSensitive(json, tier_names[i]);
		if (tier)
			take_latency(tier, &summary->tier[i], &error);
	}
	return error;
}

/* ---- Medians ------------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

double median_of(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare);
	return n & 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double median_real(const struct round_summary *rounds, unsigned n, size_t offset)
{
	double values[BENCH_ROUNDS_MAX];
	for (unsigned i = 0; i < n; i++)
		memcpy(&values[i], (const char *)&rounds[i] + offset, sizeof(double));
	return median_of(values, n);
}

static uint64_t median_whole(const struct round_summary *rounds, unsigned n, size_t offset)
{
	double values[BENCH_ROUNDS_MAX];
	for (unsigned i = 0; i < n; i++) {
		uint64_t value;
		memcpy(&value, (const char *)&rounds[i] + offset, sizeof(value));
		values[i] = (double)value;
	}
	return (uint64_t)median_of(values, n);
}

/* offset: of a struct latency_summary in a round. Rounds that saw nothing do not count. */
static void median_latency(const struct round_summary *rounds, unsigned n, size_t offset,
			   struct latency_summary *median)
{
	struct round_summary seen[BENCH_ROUNDS_MAX];
	unsigned m = 0;

	memset(median, 0, sizeof(*median));
	for (unsigned i = 0; i < n; i++) {
		const struct latency_summary *latency =
			(const void *)((const char *)&rounds[i] + offset);
		if (!latency->count)
			continue;
		seen[m++] = rounds[i];
		median->count += latency->count;
		if (latency->max > median->max)
			median->max = latency->max;
	}
	if (!m)
		return;
	median->mean = median_whole(seen, m, offset + offsetof(struct latency_summary, mean));
	median->p50 = median_whole(seen, m, offset + offsetof(struct latency_summary, p50));
	median->p99 = median_whole(seen, m, offset + offsetof(struct latency_summary, p99));
	median->p999 = median_whole(seen, m, offset + offsetof(struct latency_summary, p999));
}

void round_medians(const struct round_summary *rounds, unsigned n, struct round_summary *median)
{
	memset(median, 0, sizeof(*median));
	median->ops_per_s = median_real(rounds, n, offsetof(struct round_summary, ops_per_s));
	median->quiet_ops_per_s =
		median_real(rounds, n, offsetof(struct round_summary, quiet_ops_per_s));
	median->seconds = median_real(rounds, n, offsetof(struct round_summary, seconds));
	median->cpu_seconds = median_real(rounds, n, offsetof(struct round_summary, cpu_seconds));
	for (unsigned i = 0; i < n; i++) {
		const struct bench_counts *counts = &rounds[i].counts;
		median->counts.gets += counts->gets;
		median->counts.hits += counts->hits;
		median->counts.puts += counts->puts;
		median->counts.failed += counts->failed;
		median->counts.refused += counts->refused;
		median->counts.wrong += counts->wrong;
		if (!median->counts.error)
			median->counts.error = counts->error;
	}
	median_latency(rounds, n, offsetof(struct round_summary, get), &median->get);
	median_latency(rounds, n, offsetof(struct round_summary, put), &median->put);
	for (unsigned i = 0; i < BENCH_TIERS; i++)
		median_latency(rounds, n, offsetof(struct round_summary, tier[i]),
			       &median->tier[i]);
}
