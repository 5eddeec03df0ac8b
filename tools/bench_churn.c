/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `thermo bench --churn`: does resident memory stay under the caps while the sizes of values drift?
 * The middle of the sizes wanders between 32 bytes and 16 KiB and back, four times in the run; each
 * put draws from a quarter of it to four times it. Half of the requests are puts. This is what
 * makes allocators that sort by size fragment.
 */
#include "tools/bench.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/bench_proc.h"
#include "tools/command.h"
#include "tools/keys.h"
#include "tools/ticks.h"

#define COMMAND "bench"
#define SIZE_LEAST 32.0
#define SIZE_MOST 16384.0
#define CYCLES 4

struct churn {
	/* const while the threads run */
	const struct bench_settings *settings;
	struct thermo *cache;
	struct thermo_space *space;
	struct zipf zipf;
	uint64_t start_ns;
	/* atomic */
	_Atomic bool stop;
	_Atomic uint32_t middle; /* of the sizes, bytes */
	_Atomic uint64_t gets, hits, puts, put_bytes, refused, failed, wrong;
	_Atomic int error; /* the first */
	/* owned by the main thread */
	FILE *text;
	cJSON *samples;
	uint64_t resident_before;
	double worst; /* resident bytes to caps */
	double worst_second;
	uint64_t caps; /* as last seen, bytes */
};

static void churn_put(struct churn *churn, uint64_t number, const void *key, unsigned char *value,
		      uint64_t *random)
{
	struct zipf spread = {.n = 1 << 16};
	double exponent = (double)zipf_next(&spread, random) / (1 << 14) - 2; /* -2 .. 2 */
	double size = atomic_load_explicit(&churn->middle, memory_order_relaxed) * exp2(exponent);
	uint32_t len = (uint32_t)fmin(fmax(size, SIZE_LEAST), SIZE_MOST);

	keys_value_fill(number, value, len);
	int status = thermo_put(churn->space, key, churn->settings->work.key_len, value, len,
				THERMO_TTL_DEFAULT);
	atomic_fetch_add_explicit(&churn->puts, 1, memory_order_relaxed);
	if (status == THERMO_OK)
		atomic_fetch_add_explicit(&churn->put_bytes, len, memory_order_relaxed);
	if (status == THERMO_BUSY || status == -ENOSPC) {
		atomic_fetch_add_explicit(&churn->refused, 1, memory_order_relaxed);
	} else if (status < 0) {
		atomic_fetch_add_explicit(&churn->failed, 1, memory_order_relaxed);
		atomic_store(&churn->error, status);
	}
}

static void churn_get(struct churn *churn, uint64_t number, const void *key, unsigned char *value)
{
	size_t len = 0;
	int status = thermo_get(churn->space, key, churn->settings->work.key_len, value,
				(size_t)SIZE_MOST, &len);

	atomic_fetch_add_explicit(&churn->gets, 1, memory_order_relaxed);
	if (status == THERMO_OK) {
		atomic_fetch_add_explicit(&churn->hits, 1, memory_order_relaxed);
		if (!keys_value_check(number, value, (uint32_t)len))
			atomic_fetch_add_explicit(&churn->wrong, 1, memory_order_relaxed);
	} else if (status < 0) {
		atomic_fetch_add_explicit(&churn->failed, 1, memory_order_relaxed);
		atomic_store(&churn->error, status);
	}
}

struct churn_thread {
	struct churn *churn;
	pthread_t thread;
	uint64_t random;
};

static void *churn_main(void *argument)
{
	struct churn_thread *self = argument;
	struct churn *churn = self->churn;
	const struct workload *work = &churn->settings->work;
	unsigned char key[THERMO_KEY_MAX], *value = malloc((size_t)SIZE_MOST);
	struct zipf coin = {.n = 100};

	if (!value) {
		atomic_store(&churn->error, -ENOMEM);
		return NULL;
	}
	while (!atomic_load_explicit(&churn->stop, memory_order_relaxed)) {
		uint64_t rank = zipf_next(&churn->zipf, &self->random);
		uint64_t number = keys_scatter(rank, work->keys);
		keys_write(number, key, work->key_len);
		if (zipf_next(&coin, &self->random) < work->get_percent)
			churn_get(churn, number, key, value);
		else
			churn_put(churn, number, key, value, &self->random);
	}
	free(value);
	return NULL;
}

/* Up and down between the least and the most, evenly in powers of two. */
static uint32_t middle_at(double share)
{
	double phase = fmod(share * CYCLES, 1);
	double up = phase < 0.5 ? 2 * phase : 2 - 2 * phase;
	return (uint32_t)(SIZE_LEAST * pow(SIZE_MOST / SIZE_LEAST, up));
}

static int sample(struct churn *churn, double seconds)
{
	struct thermo_stats stats = {.size = sizeof(stats)};
	uint64_t resident = proc_resident_bytes(0);

	int status = thermo_stats(churn->cache, &stats);
	if (status)
		return status;
	uint64_t taken = resident > churn->resident_before ? resident - churn->resident_before : 0;
	uint64_t caps = stats.dram_cap_bytes + stats.tier[THERMO_WARM].cap_bytes;
	uint64_t used = stats.dram_used_bytes + stats.tier[THERMO_WARM].used_bytes;
	double ratio = (double)taken / (double)caps;
	churn->caps = caps;
	if (ratio > churn->worst) {
		churn->worst = ratio;
		churn->worst_second = seconds;
	}
	uint64_t gets = atomic_load(&churn->gets), hits = atomic_load(&churn->hits);
	if (churn->text)
		fprintf(churn->text, "%8.1f %8u %10.1f %10.1f %10.1f %7.4f %10llu %7.2f%% %9llu\n",
			seconds, atomic_load(&churn->middle), (double)caps / 1048576,
			(double)used / 1048576, (double)taken / 1048576, ratio,
			(unsigned long long)stats.index_records,
			gets ? 100.0 * (double)hits / (double)gets : 0,
			(unsigned long long)atomic_load(&churn->refused));
	cJSON *json = cJSON_CreateObject();
	cJSON_AddNumberToObject(json, "second", seconds);
	cJSON_AddNumberToObject(json, "value_size_middle", atomic_load(&churn->middle));
	cJSON_AddNumberToObject(json, "cap_bytes", (double)caps);
	cJSON_AddNumberToObject(json, "used_bytes", (double)used);
	cJSON_AddNumberToObject(json, "resident_bytes", (double)taken);
	cJSON_AddNumberToObject(json, "records", (double)stats.index_records);
	cJSON_AddItemToArray(churn->samples, json);
	return 0;
}

/* Samples until the time is over: sixty, but no more than one a second. */
static int watch(struct churn *churn)
{
	double length = churn->settings->churn_seconds;
	double every = length / 60 > 1 ? length / 60 : 1;
	int status = 0;

	if (churn->text)
		fprintf(churn->text, "%8s %8s %10s %10s %10s %7s %10s %8s %9s\n", "seconds",
			"middle B", "caps MiB", "used MiB", "resident", "ratio", "records", "hits",
			"refused");
	for (double due = every; !status; due += every) {
		double seconds;
		do {
			struct timespec nap = {.tv_nsec = 20000000};
			nanosleep(&nap, NULL);
			seconds = (double)(ticks_clock_ns() - churn->start_ns) / 1e9;
			atomic_store(&churn->middle, middle_at(fmin(seconds / length, 1)));
		} while (seconds < due && seconds < length);
		status = sample(churn, seconds);
		if (seconds >= length)
			break;
	}
	return status;
}

static int run_threads(struct churn *churn)
{
	unsigned threads = churn->settings->work.threads, started = 0;
	struct churn_thread all[BENCH_THREADS_MAX];
	int status = 0;

	for (; started < threads && !status; started++) {
		all[started].churn = churn;
		all[started].random = churn->settings->work.seed + started * 1000003;
		status = -pthread_create(&all[started].thread, NULL, churn_main, &all[started]);
		if (status)
			break;
	}
	if (!status)
		status = watch(churn);
	atomic_store(&churn->stop, true);
	for (unsigned i = 0; i < started; i++)
		pthread_join(all[i].thread, NULL);
	return status ? status : atomic_load(&churn->error);
}

static int report(struct churn *churn, FILE *json_file)
{
	uint64_t wrong = atomic_load(&churn->wrong);
	double turnovers = (double)atomic_load(&churn->put_bytes) / (double)(churn->caps + 1);

	if (churn->text)
		fprintf(churn->text,
			"resident memory was at most %.4f of the caps (after %.0f s); %llu gets, "
			"%llu "
			"puts (%.0f times the caps in bytes), %llu refused, %llu wrong values\n",
			churn->worst, churn->worst_second,
			(unsigned long long)atomic_load(&churn->gets),
			(unsigned long long)atomic_load(&churn->puts), turnovers,
			(unsigned long long)atomic_load(&churn->refused),
			(unsigned long long)wrong);
	if (json_file) {
		cJSON *json = cJSON_CreateObject();
		cJSON_AddNumberToObject(json, "worst_resident_to_caps", churn->worst);
		cJSON_AddNumberToObject(json, "gets", (double)atomic_load(&churn->gets));
		cJSON_AddNumberToObject(json, "hits", (double)atomic_load(&churn->hits));
		cJSON_AddNumberToObject(json, "puts", (double)atomic_load(&churn->puts));
		cJSON_AddNumberToObject(json, "turnovers", turnovers);
		cJSON_AddNumberToObject(json, "refused", (double)atomic_load(&churn->refused));
		cJSON_AddNumberToObject(json, "wrong", (double)wrong);
		cJSON_AddItemReferenceToObject(json, "samples", churn->samples);
		char *text = cJSON_Print(json);
		cJSON_Delete(json);
		if (!text)
			return cli_fail(COMMAND, "out of memory");
		fprintf(json_file, "%s\n", text);
		free(text);
	}
	return wrong ? cli_fail(COMMAND, "%llu values were not what the key must hold",
				(unsigned long long)wrong)
		     : COMMAND_OK;
}

int bench_churn(struct bench_settings *settings, FILE *json)
{
	struct churn churn = {.settings = settings, .text = json == stdout ? NULL : stdout};
	struct thermo_options options;
	struct thermo_error error = {{0}};
	int status, closed;

	if (settings->work.get_percent == 100)
		settings->work.get_percent = 50;
	zipf_init(&churn.zipf, settings->work.keys, settings->work.zipf);
	atomic_store(&churn.middle, (uint32_t)SIZE_LEAST);
	churn.samples = cJSON_CreateArray();
	bench_cache_options(settings, &options);
	churn.resident_before = proc_resident_bytes(0);
	status = thermo_open(&options, &churn.cache, &error);
	if (status) {
		status =
			cli_fail(COMMAND, "%s", *error.text ? error.text : thermo_strerror(status));
		goto free_samples;
	}
	status = thermo_space_open(churn.cache, "churn", NULL, &churn.space, &error);
	if (!status) {
		churn.start_ns = ticks_clock_ns();
		status = run_threads(&churn);
	}
	if (status)
		status =
			cli_fail(COMMAND, "%s", *error.text ? error.text : thermo_strerror(status));
	else
		status = report(&churn, json);
	closed = thermo_close(&churn.cache, INT64_C(60000000000), &error);
	if (closed && !status)
		status = cli_fail(COMMAND, "closing the cache: %s", error.text);
free_samples:
	cJSON_Delete(churn.samples);
	return status;
}
