/* SPDX-License-Identifier: Apache-2.0 */
/* `thermo bench`: its options. */
#include "tools/bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_peer.h"
#include "tools/command.h"
#include "tools/keys.h"
#include "tools/sizes.h"

#define COMMAND "bench"

enum option_id {
	OPT_KEYS = 256,
	OPT_KEY_SIZE,
	OPT_VALUE_SIZE,
	OPT_ZIPF,
	OPT_UNIFORM,
	OPT_GET_PUT,
	OPT_THREADS,
	OPT_BATCH,
	OPT_SECONDS,
	OPT_OPS,
	OPT_DRAM,
	OPT_WARM,
	OPT_COLD,
	OPT_BACKGROUND,
	OPT_ROUNDS,
	OPT_PEER,
	OPT_JSON,
	OPT_NO_FLOOR,
	OPT_NO_CACHE,
	OPT_FILL_ONLY,
	OPT_CHURN,
	OPT_BUSY,
	OPT_SEED,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"keys", required_argument, NULL, OPT_KEYS},
	{"key-size", required_argument, NULL, OPT_KEY_SIZE},
	{"value-size", required_argument, NULL, OPT_VALUE_SIZE},
	{"zipf", required_argument, NULL, OPT_ZIPF},
	{"uniform", no_argument, NULL, OPT_UNIFORM},
	{"get-put", required_argument, NULL, OPT_GET_PUT},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"batch", required_argument, NULL, OPT_BATCH},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"ops", required_argument, NULL, OPT_OPS},
	{"dram", required_argument, NULL, OPT_DRAM},
	{"warm", required_argument, NULL, OPT_WARM},
	{"cold", required_argument, NULL, OPT_COLD},
	{"background", required_argument, NULL, OPT_BACKGROUND},
	{"rounds", required_argument, NULL, OPT_ROUNDS},
	{"peer", required_argument, NULL, OPT_PEER},
	{"json", required_argument, NULL, OPT_JSON},
	{"no-floor", no_argument, NULL, OPT_NO_FLOOR},
	{"no-cache", no_argument, NULL, OPT_NO_CACHE},
	{"fill-only", no_argument, NULL, OPT_FILL_ONLY},
	{"churn", required_argument, NULL, OPT_CHURN},
	{"busy", no_argument, NULL, OPT_BUSY},
	{"seed", required_argument, NULL, OPT_SEED},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"usage: thermo bench [options]\n"
	"Speed of the cache against this machine's limit (the floor: a plain table without tiers,\n"
	"eviction or safety) and against other stores, all in turns in one run.\n"
	"\n"
	"  --keys N               how many (10000000)\n"
	"  --key-size N           bytes (16)\n"
	"  --value-size N|MIN-MAX bytes (64)\n"
	"  --zipf S, --uniform    how skewed the requests are (zipf 0.99)\n"
	"  --get-put PCT          share of gets, the rest are puts (100)\n"
	"  --threads N            (1)\n"
	"  --batch N              requests in a call, to 64 (1)\n"
	"  --seconds S, --ops N   length of a round (2 s), or requests of each thread in it\n"
	"  --rounds N             of each store; the medians are reported (5)\n"
	"  --dram SIZE            cap of DRAM (default: room for all keys; 64M with --cold)\n"
	"  --warm SIZE[@PROVIDER] the warm tier (none)\n"
	"  --cold DIR[:SIZE]|none the cold tier; the disk's own limit is measured beside it "
	"(none)\n"
	"  --background N         background threads (1)\n"
	"  --peer NAME            also run rocksdb, lmdb, memcached or redis; may be repeated\n"
	"  --no-floor, --no-cache leave these out\n"
	"  --fill-only            load, report memory an object, and end\n"
	"  --churn SECONDS        instead: value sizes drift; resident memory against the caps\n"
	"  --busy                 instead: latencies of gets while the cache migrates, compacts and\n"
	"                         grows against those when it does not\n"
	"  --seed N               of the requests (1)\n"
	"  --json FILE|-          the report as JSON\n";

static int take_number(const char *option, uint64_t least, uint64_t most, uint64_t *number)
{
	if (cli_number(optarg, least, most, number))
		return COMMAND_OK;
	return cli_misuse(COMMAND, "%s: '%s' is not a whole number from %llu to %llu", option,
			  optarg, (unsigned long long)least, (unsigned long long)most);
}

static int take_small(const char *option, uint64_t least, uint64_t most, uint32_t *number)
{
	uint64_t value = 0;
	int status = take_number(option, least, most, &value);
	if (!status)
		*number = (uint32_t)value;
	return status;
}

static int take_real(const char *option, double least, double most, double *number)
{
	char *end;
	errno = 0;
	double value = strtod(optarg, &end);
	if (errno || end == optarg || *end || !(value >= least && value <= most))
		return cli_misuse(COMMAND, "%s: '%s' is not a number from %g to %g", option, optarg,
				  least, most);
	*number = value;
	return COMMAND_OK;
}

static int take_value_size(struct workload *work)
{
	char text[64];
	uint64_t least = 0, most = 0;
	const char *dash = strchr(optarg, '-');

	if (strlen(optarg) < sizeof(text)) {
		strcpy(text, optarg);
		if (dash)
			text[dash - optarg] = 0;
		if (!size_parse(text, &least) && !size_parse(dash ? dash + 1 : text, &most) &&
		    least <= most && most <= BENCH_VALUE_MAX) {
			work->value_least = (uint32_t)least;
			work->value_most = (uint32_t)most;
			return COMMAND_OK;
		}
	}
	return cli_misuse(COMMAND, "--value-size: '%s' is not N or MIN-MAX bytes, to %u", optarg,
			  BENCH_VALUE_MAX);
}

static int take_peer(struct bench_settings *settings)
{
	if (!bench_peer_known(optarg))
		return cli_misuse(
			COMMAND, "--peer: '%s' is none of rocksdb, lmdb, memcached, redis", optarg);
	for (unsigned i = 0; i < settings->n_peers; i++)
		if (!strcmp(settings->peers[i], optarg))
			return cli_misuse(COMMAND, "--peer %s: once is enough", optarg);
	settings->peers[settings->n_peers++] = optarg;
	return COMMAND_OK;
}

static int take_workload(int option, struct bench_settings *settings)
{
	struct workload *work = &settings->work;

	switch (option) {
	case OPT_KEYS:
		return take_number("--keys", 1, UINT32_MAX, &work->keys);
	case OPT_KEY_SIZE:
		return take_small("--key-size", 1, THERMO_KEY_MAX, &work->key_len);
	case OPT_VALUE_SIZE:
		return take_value_size(work);
	case OPT_ZIPF:
		return take_real("--zipf", 0, 10, &work->zipf);
	case OPT_UNIFORM:
		work->zipf = 0;
		return COMMAND_OK;
	case OPT_GET_PUT:
		return take_small("--get-put", 0, 100, &work->get_percent);
	case OPT_THREADS:
		return take_small("--threads", 1, BENCH_THREADS_MAX, &work->threads);
	case OPT_BATCH:
		return take_small("--batch", 1, BENCH_BATCH_MAX, &work->batch);
	case OPT_SECONDS:
		return take_real("--seconds", 0.01, 86400, &work->seconds);
	case OPT_OPS:
		return take_number("--ops", 1, UINT64_C(1) << 40, &work->ops);
	default:
		return take_number("--seed", 0, UINT64_C(1) << 50, &work->seed);
	}
}

static int take(int option, struct bench_settings *settings)
{
	uint32_t rounds = 0;
	int status;

	switch (option) {
	case OPT_DRAM:
		settings->dram_given = true;
		return tiers_parse_dram(&settings->tiers, COMMAND, optarg);
	case OPT_WARM:
		return tiers_parse_warm(&settings->tiers, COMMAND, optarg);
	case OPT_COLD:
		return tiers_parse_cold(&settings->tiers, COMMAND, optarg);
	case OPT_BACKGROUND:
		return take_small("--background", 0, 64, &settings->background_threads);
	case OPT_ROUNDS:
		status = take_small("--rounds", 1, BENCH_ROUNDS_MAX, &rounds);
		settings->rounds = rounds;
		return status;
	case OPT_PEER:
		return take_peer(settings);
	case OPT_JSON:
		settings->json = optarg;
		return COMMAND_OK;
	case OPT_NO_FLOOR:
		settings->no_floor = true;
		return COMMAND_OK;
	case OPT_NO_CACHE:
		settings->no_cache = true;
		return COMMAND_OK;
	case OPT_FILL_ONLY:
		settings->fill_only = true;
		return COMMAND_OK;
	case OPT_CHURN:
		return take_real("--churn", 1, 86400 * 30.0, &settings->churn_seconds);
	case OPT_BUSY:
		settings->busy = true;
		return COMMAND_OK;
	default:
		return take_workload(option, settings);
	}
}

/* What fits together. */
static int check_settings(const struct bench_settings *settings)
{
	const struct workload *work = &settings->work;

	if (work->keys > keys_most(work->key_len))
		return cli_misuse(COMMAND, "--keys: there are no %llu different keys of %u bytes",
				  (unsigned long long)work->keys, work->key_len);
	if (settings->no_cache && (settings->fill_only || settings->churn_seconds > 0))
		return cli_misuse(COMMAND,
				  "--no-cache: --fill-only and --churn are about the cache");
	if (settings->no_cache && settings->no_floor && !settings->n_peers)
		return cli_misuse(COMMAND, "--no-cache --no-floor: nothing is left to run");
	if (settings->fill_only && settings->n_peers)
		return cli_misuse(COMMAND, "--fill-only: --peer has no part in it");
	if (settings->churn_seconds > 0 && (settings->n_peers || settings->fill_only))
		return cli_misuse(COMMAND, "--churn: --peer and --fill-only have no part in it");
	if (settings->churn_seconds > 0 && !settings->dram_given)
		return cli_misuse(COMMAND, "--churn: needs --dram, the cap that is to be held");
	if (settings->busy && (settings->n_peers || settings->fill_only || settings->no_cache ||
			       settings->churn_seconds > 0))
		return cli_misuse(COMMAND, "--busy: --peer, --fill-only, --no-cache and --churn "
					   "have no part in it");
	if (settings->busy && (!settings->tiers.cold_dir || !settings->tiers.warm_bytes))
		return cli_misuse(COMMAND, "--busy: needs --warm and --cold, to move records to");
	if (settings->busy && work->keys < BENCH_BUSY_KEYS)
		return cli_misuse(COMMAND, "--busy: needs --keys of %u at least", BENCH_BUSY_KEYS);
	return COMMAND_OK;
}

/* COMMAND_OK, an exit status, or -1: help was asked for. */
static int parse(int argc, char **argv, struct bench_settings *settings)
{
	int option, status = COMMAND_OK;

	opterr = 0;
	optind = 1;
	while (!status && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		if (option == '?' || option == ':')
			return cli_bad_option(COMMAND, option, argv);
		if (option == 'h' || option == OPT_HELP)
			return -1;
		status = take(option, settings);
	}
	if (!status && optind < argc)
		status = cli_misuse(COMMAND, "'%s' is not an option", argv[optind]);
	return status ? status : check_settings(settings);
}

double bench_value_mean(const struct workload *work)
{
	return ((double)work->value_least + work->value_most) / 2;
}

void bench_cache_options(struct bench_settings *settings, struct thermo_options *options)
{
	const struct workload *work = &settings->work;

	thermo_options_init(options);
	/* Room for everything, so that a get is a hit: the data, its index, and slack. */
	double object = work->key_len + bench_value_mean(work) + 48;
	if (!settings->dram_given && !settings->tiers.cold_dir && !settings->tiers.warm_bytes)
		settings->tiers.dram_bytes =
			(uint64_t)((double)work->keys * object * 1.25) + ((uint64_t)96 << 20);
	tiers_apply(&settings->tiers, options);
	options->background_threads = settings->background_threads;
	options->log = cli_log;
}

static int run(struct bench_settings *settings)
{
	struct bench_results *results = NULL;
	FILE *json = NULL;
	int status;

	if (settings->json) {
		json = cli_output_open(COMMAND, settings->json);
		if (!json)
			return COMMAND_FAILED;
	}
	if (settings->churn_seconds > 0 || settings->busy) {
		status = settings->busy ? bench_busy(settings, json) : bench_churn(settings, json);
		goto close_json;
	}
	results = calloc(1, sizeof(*results));
	if (!results) {
		status = cli_fail(COMMAND, "out of memory");
		goto close_json;
	}
	status = bench_speed(settings, results);
	if (!status && json != stdout)
		bench_report_text(stdout, settings, results);
	if (!status && json && bench_report_json(json, settings, results))
		status = cli_fail(COMMAND, "out of memory");
	for (unsigned i = 0; i < results->n; i++)
		free(results->series[i]);
	free(results);
close_json:
	if (json) {
		int closed = cli_output_close(COMMAND, settings->json, json);
		status = status ? status : closed;
	}
	return status;
}

int bench_main(int argc, char **argv)
{
	struct bench_settings settings = {
		.work = {.keys = 10000000,
			 .key_len = 16,
			 .value_least = 64,
			 .value_most = 64,
			 .zipf = 0.99,
			 .get_percent = 100,
			 .threads = 1,
			 .batch = 1,
			 .seconds = 2,
			 .seed = 1},
		.background_threads = 1,
		.rounds = 5,
	};

	tiers_init(&settings.tiers);
	int status = parse(argc, argv, &settings);
	if (status < 0) {
		fputs(usage, stdout);
		status = COMMAND_OK;
	} else if (!status) {
		status = run(&settings);
	}
	tiers_free(&settings.tiers);
	return status;
}
