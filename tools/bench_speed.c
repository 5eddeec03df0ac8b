/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The comparison: every store is loaded once, then they take turns, round by round, each round
 * beginning with the next one, so that what else the machine does meets all of them alike.
 */
#include "tools/bench.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_cache.h"
#include "tools/bench_floor.h"
#include "tools/bench_peer.h"
#include "tools/bench_proc.h"
#include "tools/command.h"
#include "tools/disk.h"
#include "tools/progress.h"
#include "tools/ticks.h"

#define COMMAND "bench"
#define LOAD_STEPS 64u
#define DISK_FILE_LEAST ((uint64_t)128 << 20) /* bytes of the file that the disk is measured with */
#define DISK_FILE_MOST ((uint64_t)1 << 30)
#define DISK_SECONDS 0.5 /* of each depth and round */
#define DISK_DEPTH 32u

struct speed {
	struct bench_settings *settings;
	struct bench_results *results;
	struct progress progress;
	struct stream stream;
	struct bench_round *round; /* scratch */
	struct bench_target floor, cache;
	bool has_floor, has_cache, has_disk;
	struct bench_peer peers[BENCH_PEERS_MAX];
	unsigned n_peers;
	struct bench_series *floor_series, *cache_series, *peer_series[BENCH_PEERS_MAX];
	struct disk disk;
	double disk_p50_us[BENCH_ROUNDS_MAX], disk_per_s[BENCH_ROUNDS_MAX];
	struct thermo_stats before; /* of the cache, before the first round */
};

static void show(struct speed *speed, double done, const char *what, const char *who)
{
	char text[128], json[160];
	if (!progress_due(&speed->progress))
		return;
	snprintf(text, sizeof(text), "%s %s", what, who);
	snprintf(json, sizeof(json), "\"doing\":\"%s\",\"store\":\"%s\"", what, who);
	progress_draw(&speed->progress, done, text, json);
}

static struct bench_series *add_series(struct bench_results *results, const char *name)
{
	struct bench_series *series = calloc(1, sizeof(*series));
	if (!series)
		return NULL;
	snprintf(series->name, sizeof(series->name), "%s", name);
	results->series[results->n++] = series;
	return series;
}

static int fail(struct speed *speed, const char *who, int status)
{
	progress_close(&speed->progress);
	return cli_fail(COMMAND, "%s: %s", who, strerror(-status));
}

/* ---- Loading
 * -------------------------------------------------------------------------------------- */

static int open_floor(struct speed *speed)
{
	const struct workload *work = &speed->settings->work;
	uint64_t start = ticks_clock_ns();

	show(speed, -1, "loading", "floor");
	int status = bench_floor_open(&speed->floor, work);
	if (status)
		return fail(speed, "floor", status);
	speed->has_floor = true;
	status = bench_target_open(&speed->floor, work, &speed->stream);
	if (!status)
		status = bench_load(&speed->floor, 0, work->keys);
	if (status)
		return fail(speed, "floor", status);
	speed->floor_series = add_series(speed->results, "floor");
	if (!speed->floor_series)
		return fail(speed, "floor", -ENOMEM);
	speed->floor_series->load_seconds = (double)(ticks_clock_ns() - start) / 1e9;
	speed->floor_series->bytes = bench_floor_bytes(&speed->floor);
	snprintf(speed->floor_series->version, sizeof(speed->floor_series->version), "%s",
		 bench_floor_isa(&speed->floor));
	return COMMAND_OK;
}

/* Of a tier's memory, what segments with records take: free ones are there for what comes next. */
static uint64_t tier_in_use(const struct thermo_tier_stats *tier)
{
	if (!tier->segments)
		return 0;
	return tier->used_bytes / tier->segments * (tier->segments - tier->segments_free);
}

/* What the tiers in memory take, of what, for how many records. */
static int measure_memory(struct speed *speed, uint64_t resident_before)
{
	struct bench_memory *memory = &speed->results->memory;
	const struct workload *work = &speed->settings->work;
	struct thermo_stats stats;

	int status = bench_cache_stats(&speed->cache, &stats);
	if (status)
		return status;
	uint64_t resident = proc_resident_bytes(0);
	memory->resident_bytes = resident > resident_before ? resident - resident_before : 0;
	const struct thermo_tier_stats *hot = &stats.tier[THERMO_HOT];
	memory->used_bytes = stats.dram_used_bytes - hot->used_bytes + tier_in_use(hot) +
			     tier_in_use(&stats.tier[THERMO_WARM]);
	memory->cap_bytes = stats.dram_cap_bytes + stats.tier[THERMO_WARM].cap_bytes;
	memory->records = stats.index_records;
	memory->evicted = !work->each && stats.index_records < work->keys;
	if (memory->records)
		memory->extra_bytes = (double)memory->used_bytes / (double)memory->records -
				      work->key_len - bench_value_mean(work);
	return 0;
}

static int load_cache(struct speed *speed, uint64_t resident_before)
{
	struct bench_memory *memory = &speed->results->memory;
	uint64_t keys = speed->settings->work.keys;
	double sum = 0;
	unsigned seen = 0;

	for (unsigned step = 0; step < LOAD_STEPS; step++) {
		uint64_t from = keys * step / LOAD_STEPS, to = keys * (step + 1) / LOAD_STEPS;
		show(speed, (double)step / LOAD_STEPS, "loading", "thermocline");
		int status = bench_load(&speed->cache, from, to);
		if (status && status != -ENOSPC)
			return status;
		status = measure_memory(speed, resident_before);
		if (status)
			return status;
		if (step < LOAD_STEPS / 2)
			continue;
		sum += memory->extra_bytes;
		seen++;
		if (memory->extra_bytes > memory->extra_worst)
			memory->extra_worst = memory->extra_bytes;
	}
	memory->extra_mean = seen ? sum / seen : 0;
	return 0;
}

static int open_cache(struct speed *speed)
{
	struct bench_settings *settings = speed->settings;
	uint64_t resident = proc_resident_bytes(0), start = ticks_clock_ns();
	struct thermo_options options;
	struct thermo_error error = {{0}};

	bench_cache_options(settings, &options);
	show(speed, -1, "opening", "thermocline");
	int status = bench_cache_open(&speed->cache, &options, &error);
	if (status) {
		progress_close(&speed->progress);
		return cli_fail(COMMAND, "%s", *error.text ? error.text : thermo_strerror(status));
	}
	speed->has_cache = true;
	status = bench_target_open(&speed->cache, &settings->work, &speed->stream);
	if (!status)
		status = load_cache(speed, resident);
	if (!status && settings->work.each) {
		show(speed, -1, "settling", "thermocline");
		status = thermo_settle(bench_cache_handle(&speed->cache), -1);
	}
	if (!status)
		status = measure_memory(speed, resident);
	if (status)
		return fail(speed, "thermocline", status);
	speed->cache_series = add_series(speed->results, "thermocline");
	if (!speed->cache_series)
		return fail(speed, "thermocline", -ENOMEM);
	speed->cache_series->load_seconds = (double)(ticks_clock_ns() - start) / 1e9;
	speed->cache_series->bytes = speed->results->memory.used_bytes;
	snprintf(speed->cache_series->version, sizeof(speed->cache_series->version), "%s",
		 thermo_version());
	return COMMAND_OK;
}

/* A peer that is not there is no failure of the whole: a line says so. */
static int open_peer(struct speed *speed, const char *name)
{
	struct bench_settings *settings = speed->settings;
	struct bench_results *results = speed->results;
	struct bench_peer *peer = &speed->peers[speed->n_peers];
	char *copy = settings->tiers.cold_dir ? strdup(settings->tiers.cold_dir) : NULL;
	struct bench_peer_options options = {
		/* On the same disk as the cold tier, beside its directory. */
		.base_dir = copy ? dirname(copy) : NULL,
		.cache_bytes = settings->tiers.dram_bytes + settings->tiers.warm_bytes,
		.direct = settings->tiers.cold_dir != NULL,
	};

	show(speed, -1, "loading", name);
	int status = bench_peer_open(peer, name, &settings->work, &options);
	free(copy);
	if (status) {
		snprintf(results->failures[results->n_failures++], sizeof(results->failures[0]),
			 "peer %s: %s", name, peer->failure);
		return COMMAND_OK;
	}
	struct bench_series *series = add_series(results, name);
	speed->peer_series[speed->n_peers++] = series;
	if (!series)
		return fail(speed, name, -ENOMEM);
	series->load_seconds = peer->load_seconds;
	series->bytes = peer->bytes;
	snprintf(series->version, sizeof(series->version), "%s", peer->version);
	return COMMAND_OK;
}

static int open_disk(struct speed *speed)
{
	const struct workload *work = &speed->settings->work;
	double bytes = (double)work->keys * (work->key_len + bench_value_mean(work));

	if (bytes < (double)DISK_FILE_LEAST)
		bytes = (double)DISK_FILE_LEAST;
	if (bytes > (double)DISK_FILE_MOST)
		bytes = (double)DISK_FILE_MOST;
	show(speed, -1, "writing a file on", "the disk");
	int status = disk_open(speed->settings->tiers.cold_dir, (uint64_t)bytes, &speed->disk);
	if (status)
		return fail(speed, speed->settings->tiers.cold_dir, status);
	speed->has_disk = true;
	return COMMAND_OK;
}

/* ---- Rounds
 * --------------------------------------------------------------------------------------- */

static int run_target(struct speed *speed, struct bench_target *target, struct bench_series *series,
		      double seconds, bool counts)
{
	int status = bench_run(target, seconds, speed->round);
	if (status)
		return fail(speed, target->name, status);
	const struct bench_counts *seen = &speed->round->counts;
	if (seen->failed)
		return fail(speed, target->name, seen->error);
	if (seen->wrong) {
		progress_close(&speed->progress);
		return cli_fail(COMMAND, "%s: %llu values were not what the key must hold",
				target->name, (unsigned long long)seen->wrong);
	}
	if (counts)
		round_summarise(speed->round, &series->rounds[series->n++]);
	return COMMAND_OK;
}

static int run_peer(struct speed *speed, unsigned i, double seconds, bool counts)
{
	struct bench_peer *peer = &speed->peers[i];
	struct bench_series *series = speed->peer_series[i];
	struct round_summary round;

	if (bench_peer_run(peer, seconds, &round)) {
		progress_close(&speed->progress);
		return cli_fail(COMMAND, "peer %s: %s", peer->name, peer->failure);
	}
	if (round.counts.failed || round.counts.wrong) {
		progress_close(&speed->progress);
		return cli_fail(COMMAND, "peer %s: %llu requests failed, %llu values were wrong",
				peer->name, (unsigned long long)round.counts.failed,
				(unsigned long long)round.counts.wrong);
	}
	series->bytes = peer->bytes;
	if (counts)
		series->rounds[series->n++] = round;
	return COMMAND_OK;
}

static int run_disk(struct speed *speed, int round)
{
	struct disk_reads shallow, deep;

	if (round < 0)
		return COMMAND_OK;
	int status = disk_reads(&speed->disk, 1, DISK_SECONDS, &shallow);
	if (!status)
		status = disk_reads(&speed->disk, DISK_DEPTH, DISK_SECONDS, &deep);
	if (status)
		return fail(speed, "the disk", status);
	speed->disk_p50_us[round] = shallow.p50_us;
	speed->disk_per_s[round] = deep.per_s;
	return COMMAND_OK;
}

/* One round of every store; round -1 warms up and does not count. */
static int run_all(struct speed *speed, int round)
{
	double seconds = speed->settings->work.seconds;
	unsigned n = 3 + speed->n_peers;
	bool counts = round >= 0;
	int status = COMMAND_OK;

	if (!counts)
		seconds = seconds > 1 ? 1 : seconds;
	for (unsigned i = 0; i < n && !status; i++) {
		unsigned who = (i + (unsigned)(round + 1)) % n;
		double done = (round + (double)i / n) / speed->settings->rounds;
		if (who == 0 && speed->has_floor) {
			show(speed, counts ? done : 0, "running", "floor");
			status = run_target(speed, &speed->floor, speed->floor_series, seconds,
					    counts);
		} else if (who == 1 && speed->has_cache) {
			show(speed, counts ? done : 0, "running", "thermocline");
			status = run_target(speed, &speed->cache, speed->cache_series, seconds,
					    counts);
		} else if (who == 2 && speed->has_disk) {
			show(speed, counts ? done : 0, "reading", "the disk");
			status = run_disk(speed, round);
		} else if (who > 2) {
			show(speed, counts ? done : 0, "running", speed->peers[who - 3].name);
			status = run_peer(speed, who - 3, seconds, counts);
		}
	}
	return status;
}

/* The cache's requests a second over what the disk allows at the share of them that were cold hits.
 */
static void conclude_allowed(struct speed *speed, const struct bench_series *series)
{
	const struct workload *work = &speed->settings->work;
	struct bench_disk *disk = &speed->results->disk;
	double ratios[BENCH_ROUNDS_MAX], shares[BENCH_ROUNDS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < speed->settings->rounds; i++) {
		const struct round_summary *round = &series->rounds[i];
		double all = 0, cold = (double)round->tier[THERMO_COLD].count;
		double rate = work->batch > 1 ? speed->disk_per_s[i]
					      : work->threads * 1e6 / speed->disk_p50_us[i];
		for (unsigned t = 0; t < BENCH_TIERS; t++)
			all += (double)round->tier[t].count;
		if (all <= 0 || cold <= 0 || rate <= 0)
			continue;
		shares[n] = cold / all;
		ratios[n++] = round->ops_per_s * (cold / all) / rate;
	}
	if (!n)
		return;
	disk->of_allowed = median_of(ratios, n);
	disk->cold_a_batch = work->batch * median_of(shares, n);
}

static void conclude_disk(struct speed *speed)
{
	struct bench_disk *disk = &speed->results->disk;
	const struct bench_series *series = speed->cache_series;
	double ratios[BENCH_ROUNDS_MAX], seconds = 0;
	unsigned n = 0, rounds = speed->settings->rounds;
	struct thermo_stats after;

	if (!speed->has_disk)
		return;
	disk->there = true;
	disk->direct = speed->disk.direct;
	for (unsigned i = 0; series && i < rounds; i++) {
		const struct latency_summary *cold = &series->rounds[i].tier[THERMO_COLD];
		seconds += series->rounds[i].seconds;
		if (cold->count && speed->disk_p50_us[i] > 0 && speed->settings->work.batch == 1)
			ratios[n++] = (double)cold->p50 / 1000 / speed->disk_p50_us[i];
	}
	if (n)
		disk->cold_p50_ratio = median_of(ratios, n);
	disk->p50_us = median_of(speed->disk_p50_us, rounds);
	disk->reads_per_s = median_of(speed->disk_per_s, rounds);
	if (series)
		conclude_allowed(speed, series);
	if (!series || bench_cache_stats(&speed->cache, &after))
		return;
	disk->point_reads = after.cold_point_reads - speed->before.cold_point_reads;
	disk->false_positives =
		after.filter_false_positives - speed->before.filter_false_positives;
	disk->device_reads = after.device_reads - speed->before.device_reads;
	disk->cold_hits = after.cold_hits - speed->before.cold_hits;
	if (disk->cold_hits)
		disk->reads_per_hit = (double)disk->point_reads / (double)disk->cold_hits;
	if (seconds > 0 && disk->reads_per_s > 0)
		disk->share = (double)disk->device_reads / seconds / disk->reads_per_s;
}

static void conclude(struct speed *speed)
{
	const struct bench_series *floor = speed->floor_series;

	for (unsigned i = 0; i < speed->results->n; i++) {
		struct bench_series *series = speed->results->series[i];
		double ratios[BENCH_ROUNDS_MAX], quiet[BENCH_ROUNDS_MAX];
		unsigned quiets = 0;
		round_medians(series->rounds, series->n, &series->median);
		for (unsigned r = 0; floor && r < series->n; r++) {
			const struct round_summary *mine = &series->rounds[r];
			const struct round_summary *its = &floor->rounds[r];
			ratios[r] = mine->ops_per_s / its->ops_per_s;
			if (mine->quiet_ops_per_s > 0 && its->quiet_ops_per_s > 0)
				quiet[quiets++] = mine->quiet_ops_per_s / its->quiet_ops_per_s;
		}
		if (floor)
			series->ratio = median_of(ratios, series->n);
		if (quiets)
			series->quiet_ratio = median_of(quiet, quiets);
	}
	conclude_disk(speed);
}

static int run_rounds(struct speed *speed)
{
	int status = run_all(speed, -1);
	if (!status && speed->has_cache) {
		int error = bench_cache_stats(&speed->cache, &speed->before);
		if (error)
			status = fail(speed, "thermocline", error);
	}
	for (unsigned i = 0; i < speed->settings->rounds && !status; i++)
		status = run_all(speed, (int)i);
	if (!status)
		conclude(speed);
	return status;
}

/* ---- All of it
 * ------------------------------------------------------------------------------------ */

static int open_all(struct speed *speed)
{
	struct bench_settings *settings = speed->settings;
	const struct workload *work = &settings->work;
	int status = COMMAND_OK;

	/* A table of fixed slots has nothing to say about values of many sizes, nor about disks. */
	if (!settings->no_floor && !settings->fill_only && !work->each &&
	    work->value_least == work->value_most)
		status = open_floor(speed);
	if (!status && !settings->no_cache)
		status = open_cache(speed);
	for (unsigned i = 0; i < settings->n_peers && !status; i++)
		status = open_peer(speed, settings->peers[i]);
	if (!status && work->each && !settings->fill_only)
		status = open_disk(speed);
	return status;
}

static int close_all(struct speed *speed)
{
	struct thermo_error error = {{0}};
	int status = COMMAND_OK;

	if (speed->has_disk)
		disk_close(&speed->disk);
	for (unsigned i = 0; i < speed->n_peers; i++)
		bench_peer_close(&speed->peers[i]);
	bench_target_close(&speed->floor);
	if (speed->has_floor)
		bench_floor_close(&speed->floor);
	bench_target_close(&speed->cache);
	if (speed->has_cache && bench_cache_close(&speed->cache, &error))
		status = cli_fail(COMMAND, "closing the cache: %s", error.text);
	work_stream_close(&speed->stream);
	free(speed->round);
	return status;
}

int bench_speed(struct bench_settings *settings, struct bench_results *results)
{
	struct speed speed = {.settings = settings, .results = results};
	int status;

	settings->work.each = settings->tiers.cold_dir != NULL;
	progress_open(&speed.progress, PROGRESS_AUTO);
	show(&speed, -1, "making", "the requests");
	speed.round = malloc(sizeof(*speed.round));
	status = speed.round ? work_stream_open(&speed.stream, &settings->work) : -ENOMEM;
	if (status) {
		free(speed.round);
		return fail(&speed, "requests", status);
	}
	status = open_all(&speed);
	if (!status && !results->n) {
		progress_close(&speed.progress);
		for (unsigned i = 0; i < results->n_failures; i++)
			cli_fail(COMMAND, "%s", results->failures[i]);
		status = cli_fail(COMMAND, "nothing is left to run");
	}
	if (!status && !settings->fill_only)
		status = run_rounds(&speed);
	progress_close(&speed.progress);
	int closed = close_all(&speed);
	return status ? status : closed;
}
