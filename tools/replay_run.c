/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/replay_run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/command.h"
#include "tools/mix.h"
#include "tools/replay_work.h"
#include "tools/sizes.h"

#define CLOSE_NS INT64_C(60000000000)
#define SETTLE_NS INT64_C(120000000000)

struct replay {
	const struct replay_config *config;
	struct replay_source *source;
	struct replay_result *result;
	struct thermo *cache;
	struct thermo_space *spaces[REPLAY_SPACES_MAX];
	struct worker *workers;
	unsigned n_workers; /* opened */
	struct progress progress;
	/* of the last progress line */
	uint64_t drawn_ns, drawn_requests;
};

static volatile sig_atomic_t interrupted; /* by the user, once: stop asking and report */

static void interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static double seconds_since(uint64_t start_ns)
{
	return (double)(progress_now_ns() - start_ns) / 1e9;
}

static int cache_open(struct replay *replay)
{
	const char *command = replay->config->command;
	struct thermo_error error = {.text = ""};
	struct thermo_options options = replay->config->options;
	if (replay->result->seconds > 0)
		options.log = NULL; /* opened again: its notices have been said */
	int status = thermo_open(&options, &replay->cache, &error);
	if (status)
		return cli_fail(command, "%s", *error.text ? error.text : thermo_strerror(status));
	for (unsigned i = 0; i < replay->source->n_spaces; i++) {
		status = thermo_space_open(replay->cache, replay->source->spaces[i], NULL,
					   &replay->spaces[i], &error);
		if (status)
			return cli_fail(command, "space %s: %s", replay->source->spaces[i],
					*error.text ? error.text : thermo_strerror(status));
	}
	return COMMAND_OK;
}

static int cache_close(struct replay *replay)
{
	struct thermo_error error = {.text = ""};
	if (!replay->cache)
		return COMMAND_OK;
	int status = thermo_close(&replay->cache, CLOSE_NS, &error);
	replay->cache = NULL;
	if (!status)
		return COMMAND_OK;
	return cli_fail(replay->config->command, "closing: %s",
			*error.text ? error.text : thermo_strerror(status));
}

static int workers_open(struct replay *replay)
{
	unsigned n = replay->config->threads;
	replay->workers = calloc(n, sizeof(*replay->workers));
	if (!replay->workers)
		return cli_fail(replay->config->command, "out of memory");
	for (unsigned i = 0; i < n; i++) {
		int status = worker_open(&replay->workers[i], replay->config, replay->spaces);
		replay->n_workers++;
		if (status)
			return cli_fail(replay->config->command, "out of memory");
	}
	for (unsigned i = 0; n > 1 && i < n; i++) {
		struct worker *worker = &replay->workers[i];
		int status = pthread_create(&worker->thread, NULL, worker_main, worker);
		if (status)
			return cli_fail(replay->config->command, "thread %u: %s", i,
					strerror(status));
		worker->started = true;
	}
	return COMMAND_OK;
}

static void workers_join(struct replay *replay)
{
	for (unsigned i = 0; i < replay->n_workers; i++) {
		if (!replay->workers[i].started)
			continue;
		queue_end(&replay->workers[i].queue);
		pthread_join(replay->workers[i].thread, NULL);
		replay->workers[i].started = false;
	}
}

static void draw(struct replay *replay)
{
	uint64_t requests = 0, misses = 0, bad = 0, hits[THERMO_TIERS] = {0};
	for (unsigned i = 0; i < replay->n_workers; i++) {
		struct work_live *live = &replay->workers[i].live;
		requests += atomic_load_explicit(&live->requests, memory_order_relaxed);
		misses += atomic_load_explicit(&live->misses, memory_order_relaxed);
		bad += atomic_load_explicit(&live->bad, memory_order_relaxed);
		for (int tier = 0; tier < THERMO_TIERS; tier++)
			hits[tier] += atomic_load_explicit(&live->hits[tier], memory_order_relaxed);
	}
	uint64_t now = progress_now_ns();
	double rate = (double)(requests - replay->drawn_requests) /
		      ((double)(now - replay->drawn_ns) / 1e9 + 1e-9);
	double gets = (double)(hits[0] + hits[1] + hits[2] + misses);
	double percent = gets > 0 ? 100 / gets : 0;
	struct thermo_stats stats = {.size = sizeof(stats)};
	if (thermo_stats(replay->cache, &stats))
		memset(&stats, 0, sizeof(stats));
	char text[320], json[320], used[THERMO_TIERS][24];
	for (int tier = 0; tier < THERMO_TIERS; tier++)
		size_format(stats.tier[tier].used_bytes, used[tier]);
	snprintf(text, sizeof(text),
		 "%.2f M  %4.0f k/s  hot %.1f%% %s  warm %.1f%% %s  cold %.1f%% %s  miss %.1f%%%s",
		 (double)requests / 1e6, rate / 1e3, (double)hits[0] * percent, used[0],
		 (double)hits[1] * percent, used[1], (double)hits[2] * percent, used[2],
		 (double)misses * percent, bad ? "  BAD BYTES" : "");
	snprintf(json, sizeof(json),
		 "\"requests\":%llu,\"hits\":{\"hot\":%llu,\"warm\":%llu,\"cold\":%llu},\"misses\":"
		 "%llu,"
		 "\"used_bytes\":{\"hot\":%llu,\"warm\":%llu,\"cold\":%llu},\"bad_bytes\":%llu",
		 (unsigned long long)requests, (unsigned long long)hits[0],
		 (unsigned long long)hits[1], (unsigned long long)hits[2],
		 (unsigned long long)misses, (unsigned long long)stats.tier[0].used_bytes,
		 (unsigned long long)stats.tier[1].used_bytes,
		 (unsigned long long)stats.tier[2].used_bytes, (unsigned long long)bad);
	double done = replay->source->done(replay->source);
	if (replay->config->limit && (double)requests / (double)replay->config->limit > done)
		done = (double)requests / (double)replay->config->limit;
	progress_draw(&replay->progress, done, text, json);
	replay->drawn_ns = now;
	replay->drawn_requests = requests;
}

/* Hands the batch to its worker and gives the next one to fill. */
static struct work_batch *batch_send(struct replay *replay, struct worker *worker,
				     struct work_batch *batch)
{
	if (replay->n_workers == 1) {
		worker_apply(worker, batch);
		return batch;
	}
	queue_push(&worker->queue);
	return queue_claim(&worker->queue);
}

static int feed(struct replay *replay)
{
	struct replay_source *source = replay->source;
	struct work_batch *open[REPLAY_THREADS_MAX];
	struct thermo_error error = {.text = ""};
	struct replay_op op;
	uint64_t n = 0;
	int status = 0;
	for (unsigned i = 0; i < replay->n_workers; i++)
		open[i] = queue_claim(&replay->workers[i].queue);
	while (!interrupted && (!replay->config->limit || n < replay->config->limit)) {
		status = source->next(source, &op, &error);
		if (status <= 0)
			break;
		unsigned to = replay->n_workers == 1
				      ? 0
				      : (unsigned)(mix64(op.id + op.space) % replay->n_workers);
		open[to]->ops[open[to]->n++] = op;
		if (open[to]->n == BATCH_OPS)
			open[to] = batch_send(replay, &replay->workers[to], open[to]);
		if (!(++n % BATCH_OPS) && progress_due(&replay->progress))
			draw(replay);
	}
	for (unsigned i = 0; i < replay->n_workers; i++)
		if (open[i]->n)
			batch_send(replay, &replay->workers[i], open[i]);
	if (status < 0) {
		progress_close(&replay->progress);
		return cli_fail(replay->config->command, "%s",
				*error.text ? error.text : thermo_strerror(status));
	}
	return COMMAND_OK;
}

static void counts_merge(struct replay_counts *into, const struct replay_counts *from)
{
	/* Every field is a count. */
	uint64_t *to = (uint64_t *)into;
	const uint64_t *add = (const uint64_t *)from;
	for (size_t i = 0; i < sizeof(*into) / sizeof(*to); i++)
		to[i] += add[i];
}

static void checks_merge(struct replay_checks *into, const struct replay_checks *from)
{
	into->values += from->values;
	into->bytes += from->bytes;
	into->bad_bytes += from->bad_bytes;
	into->bad_values += from->bad_values;
	into->unexpected += from->unexpected;
}

static void result_merge(struct replay_result *into, const struct replay_result *from)
{
	counts_merge(&into->total, &from->total);
	for (int i = 0; i < REPLAY_PHASES_MAX; i++)
		counts_merge(&into->phase[i], &from->phase[i]);
	checks_merge(&into->checks, &from->checks);
	into->reopened.keys += from->reopened.keys;
	into->reopened.missing += from->reopened.missing;
	into->reopened.errors += from->reopened.errors;
	checks_merge(&into->reopened.checks, &from->reopened.checks);
	for (int tier = 0; tier < THERMO_TIERS; tier++) {
		into->reopened.hits[tier] += from->reopened.hits[tier];
		histogram_merge(&into->latency[tier], &from->latency[tier]);
	}
	histogram_merge(&into->latency_miss, &from->latency_miss);
	histogram_merge(&into->latency_batch, &from->latency_batch);
	into->batched += from->batched;
	histogram_merge(&into->latency_put, &from->latency_put);
	histogram_merge(&into->latency_delete, &from->latency_delete);
	if (!*into->first_failure)
		memcpy(into->first_failure, from->first_failure, sizeof(into->first_failure));
}

static uint64_t process_resident(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void statistics(struct replay *replay)
{
	struct replay_result *result = replay->result;
	result->process_bytes = process_resident();
	uint64_t start = progress_now_ns();
	thermo_settle(replay->cache, SETTLE_NS);
	result->settle_s = seconds_since(start);
	result->stats.size = sizeof(result->stats);
	if (thermo_stats(replay->cache, &result->stats))
		memset(&result->stats, 0, sizeof(result->stats));
	int len = thermo_stats_json(replay->cache, NULL, 0);
	if (len <= 0)
		return;
	size_t capacity = (size_t)len + 4096; /* numbers may grow between the two calls */
	result->stats_json = malloc(capacity);
	if (!result->stats_json)
		return;
	len = thermo_stats_json(replay->cache, result->stats_json, capacity);
	if (len < 0 || (size_t)len >= capacity) {
		free(result->stats_json);
		result->stats_json = NULL;
	}
}

static int run_requests(struct replay *replay)
{
	progress_open(&replay->progress, replay->config->progress);
	uint64_t start = replay->drawn_ns = progress_now_ns();
	int status = workers_open(replay);
	if (!status)
		status = feed(replay);
	workers_join(replay);
	double seconds = seconds_since(start);
	progress_close(&replay->progress);
	if (status)
		return status;
	replay->result->seconds = seconds;
	statistics(replay);
	return COMMAND_OK;
}

static int reopen(struct replay *replay)
{
	struct replay_reopened *reopened = &replay->result->reopened;
	uint64_t start = progress_now_ns();
	int status = cache_close(replay);
	if (status)
		return status;
	reopened->close_s = seconds_since(start);
	start = progress_now_ns();
	status = cache_open(replay);
	if (status)
		return status;
	reopened->open_s = seconds_since(start);
	start = progress_now_ns();
	for (unsigned i = 0; i < replay->n_workers; i++)
		worker_read_back(&replay->workers[i]);
	reopened->read_s = seconds_since(start);
	reopened->done = true;
	return COMMAND_OK;
}

static uint64_t records_dropped(const struct thermo_stats *stats)
{
	uint64_t dropped = 0;
	for (int tier = 0; tier < THERMO_TIERS; tier++)
		dropped += stats->tier[tier].records_dropped;
	return dropped;
}

/* The closing line where something was wrong. */
static int verdict(const struct replay_config *config, const struct replay_result *result)
{
	const struct replay_checks *checks = &result->checks;
	const struct replay_reopened *reopened = &result->reopened;
	unsigned long long bad = checks->bad_bytes + reopened->checks.bad_bytes;
	unsigned long long unexpected = checks->unexpected + reopened->checks.unexpected;
	if (bad || unexpected)
		return cli_fail(config->command,
				"%llu bad bytes, %llu hits of keys that hold nothing; first: %s",
				bad, unexpected, result->first_failure);
	if (result->total.errors || reopened->errors)
		return cli_fail(config->command, "%llu requests failed; first: %s",
				(unsigned long long)(result->total.errors + reopened->errors),
				result->first_failure);
	if (result->total.no_space)
		return cli_fail(
			config->command,
			"%llu puts were refused: cold storage is full or failing (raise --cold "
			"DIR:SIZE, or free room)",
			(unsigned long long)result->total.no_space);
	if (reopened->done && reopened->missing > records_dropped(&result->stats))
		return cli_fail(
			config->command,
			"after reopening %llu of %llu keys are gone, but only %llu records were "
			"dropped",
			(unsigned long long)reopened->missing, (unsigned long long)reopened->keys,
			(unsigned long long)records_dropped(&result->stats));
	return COMMAND_OK;
}

int replay_run(const struct replay_config *config, struct replay_source *source,
	       struct replay_result *result)
{
	struct replay replay = {.config = config, .source = source, .result = result};
	memset(result, 0, sizeof(*result));
	struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND}, before;
	int status = cache_open(&replay);
	sigaction(SIGINT, &action, &before);
	if (!status)
		status = run_requests(&replay);
	sigaction(SIGINT, &before, NULL);
	if (!status && config->reopen)
		status = reopen(&replay);
	int closed = cache_close(&replay);
	for (unsigned i = 0; i < replay.n_workers; i++) {
		result_merge(result, &replay.workers[i].result);
		worker_close(&replay.workers[i]);
	}
	free(replay.workers);
	if (status || closed)
		return status ? status : closed;
	return verdict(config, result);
}

void replay_result_free(struct replay_result *result)
{
	free(result->stats_json);
	result->stats_json = NULL;
}
