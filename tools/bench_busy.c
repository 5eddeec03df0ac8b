/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `thermo bench --busy`: do gets notice what goes on in the background? One thread gets hot keys
 * and times each get, in rounds that alternate: nothing else happens, or another thread writes new
 * keys as fast as it can, so that records move from DRAM to warm and cold, runs are merged and the
 * index grows. Records get smaller from round to round: more of them fit, which is what makes an
 * index grow that was full. The getter has a CPU of its own if there are two; writer and background
 * threads share the rest.
 */
#include "tools/bench.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "tools/command.h"
#include "tools/histogram.h"
#include "tools/keys.h"
#include "tools/ticks.h"

#define COMMAND "bench"
#define HOT_KEYS 4096u
#define HOT_BYTES 256u
#define SIZE_LEAST 200.0
#define SIZE_MOST 1000.0
#define LATELY 50000u /* puts, of which every fourth is followed by a get */
#define SETTLE_NS INT64_C(60000000000)

/* What must go on in busy rounds, by the statistics. */
static const struct work {
	const char *name, *json;
	size_t offset;
} works[] = {
	{"records DRAM to warm", "demoted", offsetof(struct thermo_stats, demoted)},
	{"records to cold", "cold_demoted", offsetof(struct thermo_stats, cold_demoted)},
	{"compaction bytes written", "compaction_write_bytes",
	 offsetof(struct thermo_stats, compaction_write_bytes)},
	{"device bytes written", "device_write_bytes",
	 offsetof(struct thermo_stats, device_write_bytes)},
	{"index buckets split", "index_grown", offsetof(struct thermo_stats, index_grown)},
};
#define WORKS (sizeof(works) / sizeof(*works))

enum figure { P50, P99, P999, MAX, FIGURES };
static const char *const figure_names[FIGURES] = {"p50", "p99", "p999", "max"};
enum kind { IDLE, BUSY, KINDS };
static const char *const kind_names[KINDS] = {"idle", "busy"};

struct busy {
	/* const while the writer runs */
	const struct bench_settings *settings;
	struct thermo *cache;
	struct thermo_space *space;
	cpu_set_t rest; /* for all but the getter */
	bool apart;     /* the getter has a CPU of its own */
	uint32_t size;  /* of values written in this round */
	/* atomic */
	_Atomic bool stop;
	/* the writer's; the main thread's when none runs */
	uint64_t next, puts, refused;
	int error; /* of the writer, the first */
	/* owned by the main thread, which is the getter */
	double tick_ns;
	uint64_t random, gets, misses, wrong, unsettled;
	struct histogram ticks;                          /* of this round */
	double rounds[KINDS][FIGURES][BENCH_ROUNDS_MAX]; /* ns */
	uint64_t work[WORKS];
	unsigned work_rounds[WORKS]; /* in which there was any */
	struct thermo_stats last;
};

/* The first CPU allowed is the getter's, if there are others. */
static void place_threads(struct busy *busy)
{
	cpu_set_t own;
	int cpu = 0;

	if (sched_getaffinity(0, sizeof(busy->rest), &busy->rest) || CPU_COUNT(&busy->rest) < 2)
		return;
	while (!CPU_ISSET(cpu, &busy->rest))
		cpu++;
	CPU_ZERO(&own);
	CPU_SET(cpu, &own);
	CPU_CLR(cpu, &busy->rest);
	busy->apart = !pthread_setaffinity_np(pthread_self(), sizeof(own), &own);
}

/* Of the n-th put by the writer. */
static uint64_t written_key(const struct busy *busy, uint64_t n)
{
	return HOT_KEYS + n % (busy->settings->work.keys - HOT_KEYS);
}

static int put(struct busy *busy, uint64_t number, uint32_t len)
{
	unsigned char key[THERMO_KEY_MAX], value[(size_t)SIZE_MOST];

	keys_write(number, key, busy->settings->work.key_len);
	keys_value_fill(number, value, len);
	return thermo_put(busy->space, key, busy->settings->work.key_len, value, len,
			  THERMO_TTL_DEFAULT);
}

/* Of what was written lately, so that some records are worth memory, but not DRAM. */
static int get_again(struct busy *busy, struct zipf *lately, uint64_t *random)
{
	unsigned char key[THERMO_KEY_MAX], value[(size_t)SIZE_MOST];
	uint64_t back = 1 + zipf_next(lately, random);

	if (back > busy->next)
		return 0;
	keys_write(written_key(busy, busy->next - back), key, busy->settings->work.key_len);
	int status = thermo_get(busy->space, key, busy->settings->work.key_len, value,
				sizeof(value), NULL);
	return status < 0 ? status : 0;
}

static void *write_main(void *argument)
{
	struct busy *busy = argument;
	struct zipf lately = {.n = LATELY};
	uint64_t random = busy->settings->work.seed;

	if (busy->apart)
		pthread_setaffinity_np(pthread_self(), sizeof(busy->rest), &busy->rest);
	while (!atomic_load_explicit(&busy->stop, memory_order_relaxed)) {
		int status = put(busy, written_key(busy, busy->next++), busy->size);
		busy->puts++;
		if (status == THERMO_BUSY || status == -ENOSPC)
			busy->refused++;
		else if (status && !busy->error)
			busy->error = status;
		status = busy->next % 4 ? 0 : get_again(busy, &lately, &random);
		if (status && !busy->error)
			busy->error = status;
	}
	return NULL;
}

static int get(struct busy *busy, uint64_t number)
{
	unsigned char key[THERMO_KEY_MAX], value[HOT_BYTES];
	size_t len = 0;

	keys_write(number, key, busy->settings->work.key_len);
	uint64_t start = ticks_now();
	int status =
		thermo_get(busy->space, key, busy->settings->work.key_len, value, HOT_BYTES, &len);
	histogram_add(&busy->ticks, ticks_now() - start);
	busy->gets++;
	if (status == THERMO_OK)
		busy->wrong += len != HOT_BYTES || !keys_value_check(number, value, HOT_BYTES);
	else if (status > 0)
		busy->misses++;
	return status < 0 ? status : 0;
}

/* round < 0: one that does not count. */
static int get_round(struct busy *busy, enum kind kind, int round)
{
	static const double percents[FIGURES] = {50, 99, 99.9, 100};
	uint64_t start_ns = ticks_clock_ns();
	uint64_t length_ns = (uint64_t)(busy->settings->work.seconds * 1e9);
	struct zipf hot = {.n = HOT_KEYS};
	int status = 0;

	histogram_clear(&busy->ticks);
	do
		for (unsigned i = 0; i < 256 && !status; i++)
			status = get(busy, zipf_next(&hot, &busy->random));
	while (!status && ticks_clock_ns() - start_ns < length_ns);
	for (unsigned i = 0; i < FIGURES && round >= 0; i++)
		busy->rounds[kind][i][round] =
			busy->tick_ns * (double)histogram_percentile(&busy->ticks, percents[i]);
	return status;
}

static int count_work(struct busy *busy, bool counts)
{
	struct thermo_stats now = {.size = sizeof(now)};
	int status = thermo_stats(busy->cache, &now);

	for (unsigned i = 0; i < WORKS && counts && !status; i++) {
		uint64_t done = *(uint64_t *)((char *)&now + works[i].offset) -
				*(uint64_t *)((char *)&busy->last + works[i].offset);
		busy->work[i] += done;
		busy->work_rounds[i] += done > 0;
	}
	busy->last = now;
	return status;
}

static int idle_then_busy(struct busy *busy, int round)
{
	pthread_t writer;
	int status = thermo_settle(busy->cache, SETTLE_NS);

	busy->unsettled += status == THERMO_PENDING;
	if (status >= 0)
		status = get_round(busy, IDLE, round);
	if (!status)
		status = count_work(busy, false);
	if (status)
		return status;
	double done = (double)(round + 1) / busy->settings->rounds;
	busy->size = (uint32_t)(SIZE_MOST * pow(SIZE_LEAST / SIZE_MOST, done));
	atomic_store(&busy->stop, false);
	status = -pthread_create(&writer, NULL, write_main, busy);
	if (status)
		return status;
	status = get_round(busy, BUSY, round);
	int counted = count_work(busy, round >= 0);
	atomic_store(&busy->stop, true);
	pthread_join(writer, NULL);
	status = status ? status : busy->error;
	return status ? status : counted;
}

static int run(struct busy *busy)
{
	int status = 0;

	for (unsigned i = 0; i < HOT_KEYS && !status; i++)
		status = put(busy, i, HOT_BYTES);
	for (int round = -1; round < (int)busy->settings->rounds && !status; round++)
		status = idle_then_busy(busy, round);
	return status;
}

/* The medians of the rounds, but the greatest of the maxima; ratios[i] are medians of ratios. */
static void summarise(struct busy *busy, double figures[KINDS][FIGURES], double *ratios)
{
	unsigned n = busy->settings->rounds;

	for (unsigned i = 0; i < FIGURES; i++) {
		double each[BENCH_ROUNDS_MAX];
		for (unsigned r = 0; r < n; r++)
			each[r] = busy->rounds[BUSY][i][r] / fmax(busy->rounds[IDLE][i][r], 1);
		ratios[i] = median_of(each, n);
		for (unsigned kind = 0; kind < KINDS; kind++) {
			double *all = busy->rounds[kind][i];
			figures[kind][i] = median_of(all, n);
			for (unsigned r = 0; r < n && i == MAX; r++)
				figures[kind][i] = fmax(figures[kind][i], all[r]);
		}
	}
}

static void report_text(const struct busy *busy, double figures[KINDS][FIGURES],
			const double *ratios)
{
	unsigned n = busy->settings->rounds;

	printf("gets of hot keys, ns      p50      p99    p99.9          max\n");
	for (unsigned kind = 0; kind < KINDS; kind++)
		printf("%-18s %10.0f %8.0f %8.0f %12.0f\n", kind_names[kind], figures[kind][P50],
		       figures[kind][P99], figures[kind][P999], figures[kind][MAX]);
	printf("busy / idle        %10.2f %8.2f %8.2f   (medians of %u ratios)\n", ratios[P50],
	       ratios[P99], ratios[P999], n);
	printf("%s\n", busy->apart ? "the getter had a CPU of its own"
				   : "no CPU was free: the getter shared its own");
	for (unsigned i = 0; i < WORKS; i++)
		printf("%-25s %14llu, in %u of %u busy rounds%s\n", works[i].name,
		       (unsigned long long)busy->work[i], busy->work_rounds[i], n,
		       busy->work_rounds[i] < n ? ": did not always run" : "");
	printf("%llu gets, %llu misses, %llu wrong values; %llu puts, %llu refused; %llu idle "
	       "rounds began unsettled\n",
	       (unsigned long long)busy->gets, (unsigned long long)busy->misses,
	       (unsigned long long)busy->wrong, (unsigned long long)busy->puts,
	       (unsigned long long)busy->refused, (unsigned long long)busy->unsettled);
	printf("most help of one call %.3f ms of CPU; %llu waits of puts above 1 ms, the longest "
	       "%.1f ms\n",
	       (double)busy->last.help_max_ns / 1e6, (unsigned long long)busy->last.stalls,
	       (double)busy->last.wait.max / 1e6);
}

static int report_json(const struct busy *busy, double figures[KINDS][FIGURES],
		       const double *ratios, FILE *to)
{
	cJSON *json = cJSON_CreateObject();

	for (unsigned kind = 0; kind < KINDS; kind++) {
		cJSON *of = cJSON_AddObjectToObject(json, kind_names[kind]);
		for (unsigned i = 0; i < FIGURES; i++)
			cJSON_AddNumberToObject(of, figure_names[i], figures[kind][i]);
	}
	cJSON *ratio = cJSON_AddObjectToObject(json, "busy_to_idle");
	for (unsigned i = 0; i < MAX; i++)
		cJSON_AddNumberToObject(ratio, figure_names[i], ratios[i]);
	cJSON *work = cJSON_AddObjectToObject(json, "work");
	cJSON *in_rounds = cJSON_AddObjectToObject(json, "work_in_rounds");
	for (unsigned i = 0; i < WORKS; i++) {
		cJSON_AddNumberToObject(work, works[i].json, (double)busy->work[i]);
		cJSON_AddNumberToObject(in_rounds, works[i].json, busy->work_rounds[i]);
	}
	cJSON_AddNumberToObject(json, "rounds", busy->settings->rounds);
	cJSON_AddBoolToObject(json, "own_cpu", busy->apart);
	cJSON_AddNumberToObject(json, "gets", (double)busy->gets);
	cJSON_AddNumberToObject(json, "misses", (double)busy->misses);
	cJSON_AddNumberToObject(json, "wrong", (double)busy->wrong);
	cJSON_AddNumberToObject(json, "puts", (double)busy->puts);
	cJSON_AddNumberToObject(json, "refused", (double)busy->refused);
	cJSON_AddNumberToObject(json, "unsettled", (double)busy->unsettled);
	cJSON_AddNumberToObject(json, "help_max_ns", (double)busy->last.help_max_ns);
	cJSON_AddNumberToObject(json, "stalls", (double)busy->last.stalls);
	cJSON_AddNumberToObject(json, "wait_max_ns", (double)busy->last.wait.max);
	char *text = cJSON_Print(json);
	cJSON_Delete(json);
	if (!text)
		return cli_fail(COMMAND, "out of memory");
	fprintf(to, "%s\n", text);
	free(text);
	return COMMAND_OK;
}

static int report(struct busy *busy, FILE *json)
{
	double figures[KINDS][FIGURES], ratios[FIGURES];
	int status = COMMAND_OK;

	summarise(busy, figures, ratios);
	if (json != stdout)
		report_text(busy, figures, ratios);
	if (json)
		status = report_json(busy, figures, ratios, json);
	return busy->wrong ? cli_fail(COMMAND, "%llu values were not what the key must hold",
				      (unsigned long long)busy->wrong)
			   : status;
}

int bench_busy(struct bench_settings *settings, FILE *json)
{
	struct busy *busy = calloc(1, sizeof(*busy));
	struct thermo_options options;
	struct thermo_error error = {{0}};
	int status, closed;

	if (!busy)
		return cli_fail(COMMAND, "out of memory");
	busy->settings = settings;
	busy->random = settings->work.seed;
	bench_cache_options(settings, &options);
	options.index_buckets = 64; /* so that it has to grow */
	place_threads(busy);
	status = thermo_open(&options, &busy->cache, &error);
	if (!status)
		status = thermo_space_open(busy->cache, "busy", NULL, &busy->space, &error);
	if (!status) {
		busy->tick_ns = ticks_calibrate(20000000);
		status = run(busy);
	}
	if (status)
		status =
			cli_fail(COMMAND, "%s", *error.text ? error.text : thermo_strerror(status));
	else
		status = report(busy, json);
	if (busy->cache) {
		closed = thermo_close(&busy->cache, SETTLE_NS, &error);
		if (closed && !status)
			status = cli_fail(COMMAND, "closing the cache: %s", error.text);
	}
	free(busy);
	return status;
}
