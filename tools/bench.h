/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `thermo bench`: what was asked for, and what came out. bench.c reads the options, bench_speed.c,
 * bench_churn.c and bench_busy.c do the work, bench_report.c prints.
 */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include <stdio.h>

#include "thermocline.h"
#include "tools/bench_summary.h"
#include "tools/cli.h"

#define BENCH_PEERS_MAX 4u
#define BENCH_BUSY_KEYS 10000u /* --busy: the least, some of them hot */
#define BENCH_SERIES_MAX (BENCH_PEERS_MAX + 2)

struct bench_settings {
	struct workload work;
	struct tiers tiers;
	bool dram_given;
	uint32_t background_threads;
	unsigned rounds;
	const char *json; /* file, "-", or NULL */
	bool no_floor, no_cache, fill_only;
	double churn_seconds; /* 0: no churn */
	bool busy;
	const char *peers[BENCH_PEERS_MAX];
	unsigned n_peers;
};

/* One store's rounds. */
struct bench_series {
	char name[16];
	char version[64];
	double load_seconds;
	uint64_t bytes; /* of memory with all keys */
	unsigned n;     /* rounds */
	struct round_summary rounds[BENCH_ROUNDS_MAX];
	struct round_summary median;
	double ratio; /* to the floor: median of the ratios of each round; 0 = no floor */
	double quiet_ratio; /* the same by the median blocks */
};

/* The cache's memory after loading. */
struct bench_memory {
	uint64_t resident_bytes; /* more than before it was opened */
	uint64_t used_bytes; /* DRAM and warm, all in, less the segments that are free */
	uint64_t cap_bytes;
	uint64_t records;
	double extra_bytes;    /* an object beyond key and value: used_bytes / records */
	double extra_worst;    /* --fill-only: the worst while the second half was loaded */
	double extra_mean;     /* --fill-only: the mean of the same */
	bool evicted;          /* not everything fits: records and bytes are of what stayed */
};

/* The disk under the cold tier, and the cache's use of it. */
struct bench_disk {
	bool there, direct;
	double p50_us;         /* 4 KiB at depth 1, median of the rounds */
	double reads_per_s;    /* at depth 32 */
	double cold_p50_ratio; /* single requests: a cold hit's p50 to the disk's, median of the ratios
				* of each round */
	double share;          /* device reads a second to reads_per_s */
	double of_allowed;     /* requests a second to what the disk allows (disk rate / cold share), median
				* of each round's; the disk's rate is that at depth 32 for batches, else
				* threads / its p50 at depth 1 */
	double cold_a_batch;   /* cold hits of a batch: the depth that it can have */
	double reads_per_hit;  /* reads of gets to cold hits, all rounds */
	uint64_t device_reads, point_reads, false_positives, cold_hits;
};

struct bench_results {
	struct bench_series *series[BENCH_SERIES_MAX];
	unsigned n;
	struct bench_memory memory;
	struct bench_disk disk;
	char failures[BENCH_PEERS_MAX][320]; /* peers that could not take part: a line each */
	unsigned n_failures;
};

/* Bytes of a value, on average. */
double bench_value_mean(const struct workload *work);
/* The library's options as the settings say; fills in the DRAM cap where none was given. The strings
 * stay the settings'. */
void bench_cache_options(struct bench_settings *settings, struct thermo_options *options);

/* All of these answer an exit status and complain themselves. */
int bench_speed(struct bench_settings *settings, struct bench_results *results);
int bench_churn(struct bench_settings *settings, FILE *json);
int bench_busy(struct bench_settings *settings, FILE *json);

void bench_report_text(FILE *to, const struct bench_settings *settings,
		       const struct bench_results *results);
/* 0 or -ENOMEM; that writing failed shows in the file. */
int bench_report_json(FILE *to, const struct bench_settings *settings,
		      const struct bench_results *results);

#endif
