/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds, boiled down to what is reported; as JSON, for reports and for the line to the peers. */
#ifndef TOOLS_BENCH_SUMMARY_H
#define TOOLS_BENCH_SUMMARY_H

#include <cjson/cJSON.h>

#include "tools/bench_work.h"

/* Nanoseconds. */
struct latency_summary {
	uint64_t count, mean, p50, p99, p999, max;
};

struct round_summary {
	double ops_per_s, quiet_ops_per_s, seconds, cpu_seconds;
	struct bench_counts counts;
	struct latency_summary get, put, tier[BENCH_TIERS];
};

void round_summarise(const struct bench_round *round, struct round_summary *summary);
/* The caller's to delete; NULL when out of memory. */
cJSON *round_to_json(const struct round_summary *summary);
/* -EPROTO if it is not what round_to_json made. */
int round_from_json(const cJSON *json, struct round_summary *summary);

/* Of n values, 1 .. BENCH_ROUNDS_MAX; the order of values is not kept. */
double median_of(double *values, unsigned n);
/* Field by field, the median of n rounds; max is the greatest, counts are summed. */
void round_medians(const struct round_summary *rounds, unsigned n, struct round_summary *median);

#endif
