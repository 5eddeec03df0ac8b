/* SPDX-License-Identifier: Apache-2.0 */
/* `thermo replay`: a recorded trace through the tiers, or through the simulator. */
#include "tools/replay.h"

#include <getopt.h>
#include <string.h>

#include "tools/command.h"
#include "tools/replay_report.h"
#include "tools/trace_source.h"

static const char help[] =
	"usage: thermo replay TRACE [options]\n"
	"A get, and on a miss a put; a set is a put; a del is a delete.\n"
	"\n"
	"  --format F        auto (default), csv, oracle, twitter, kv; .zst is read directly\n"
	"  --policy P        s3fifo (default), lru, sieve, fifo\n"
	"  --dram SIZE       cap of everything in DRAM (default 64M)\n"
	"  --warm SIZE[@P]   warm tier; P is emulate:NS (default emulate:250), node:N, file:PATH, "
	"kmem\n"
	"  --cold DIR[:SIZE] cold tier in a directory, or none (default)\n"
	"  --objects         simulate: sizes are numbers of objects, every object costs 1, and "
	"every get\n"
	"                    and set is one request\n"
	"  --value-size S    bytes of a value: N, trace (default; where the trace has none, as "
	"published),\n"
	"                    published, or dist:FILE (a CacheLib sizes file)\n"
	"  --sets-as-gets    treat a set as a get with a put on a miss, as simulators do\n"
	"  --threads N       workers; a key's requests stay in order (default 1)\n"
	"  --batch N         up to N gets that follow each other go out together (at most 64; "
	"default 1)\n"
	"  --limit N         stop after N requests\n"
	"  --verify          check every byte of every hit against what the key must hold\n"
	"  --reopen          with --verify and --cold: close, open, and read every key back\n"
	"  --io I            auto (default), uring, pread\n"
	"  --progress P      auto (default), json (one object a line on stderr), none\n"
	"  --json FILE|-     the report as JSON\n"
	"\n"
	"SIZE takes K, M, G, T (powers of 1024). Exit code: 0, 1 failed, 2 asked wrongly.\n";

enum {
	OPT_FORMAT = 1000,
	OPT_POLICY,
	OPT_DRAM,
	OPT_WARM,
	OPT_COLD,
	OPT_OBJECTS,
	OPT_VALUE_SIZE,
	OPT_SETS_AS_GETS,
	OPT_THREADS,
	OPT_BATCH,
	OPT_LIMIT,
	OPT_VERIFY,
	OPT_REOPEN,
	OPT_IO,
	OPT_PROGRESS,
	OPT_JSON,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"format", required_argument, NULL, OPT_FORMAT},
	{"policy", required_argument, NULL, OPT_POLICY},
	{"dram", required_argument, NULL, OPT_DRAM},
	{"warm", required_argument, NULL, OPT_WARM},
	{"cold", required_argument, NULL, OPT_COLD},
	{"objects", no_argument, NULL, OPT_OBJECTS},
	{"value-size", required_argument, NULL, OPT_VALUE_SIZE},
	{"sets-as-gets", no_argument, NULL, OPT_SETS_AS_GETS},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"batch", required_argument, NULL, OPT_BATCH},
	{"limit", required_argument, NULL, OPT_LIMIT},
	{"verify", no_argument, NULL, OPT_VERIFY},
	{"reopen", no_argument, NULL, OPT_REOPEN},
	{"io", required_argument, NULL, OPT_IO},
	{"progress", required_argument, NULL, OPT_PROGRESS},
	{"json", required_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static bool one_of(const char *text, const char *const *names)
{
	while (*names && strcmp(text, *names))
		names++;
	return *names != NULL;
}

static int parse_named(struct replay_args *args, int option, const char *value)
{
	static const char *const policies[] = {"s3fifo", "lru", "sieve", "fifo", NULL};
	static const char *const ios[] = {"auto", "uring", "pread", NULL};
	if (option == OPT_FORMAT && trace_format_parse(value, &args->format))
		return cli_misuse(args->command,
				  "--format: '%s' is not auto, csv, oracle, twitter or kv", value);
	if (option == OPT_PROGRESS && progress_parse(value, &args->progress))
		return cli_misuse(args->command, "--progress: '%s' is not auto, json or none",
				  value);
	if (option == OPT_POLICY) {
		if (!one_of(value, policies))
			return cli_misuse(args->command,
					  "--policy: '%s' is not s3fifo, lru, sieve or fifo",
					  value);
		args->policy = value;
	} else if (option == OPT_IO) {
		if (!one_of(value, ios))
			return cli_misuse(args->command, "--io: '%s' is not auto, uring or pread",
					  value);
		args->io = value;
	}
	return COMMAND_OK;
}

static int parse_option(struct replay_args *args, int option, const char *value)
{
	switch (option) {
	case OPT_DRAM:
		return tiers_parse_dram(&args->tiers, args->command, value);
	case OPT_WARM:
		return tiers_parse_warm(&args->tiers, args->command, value);
	case OPT_COLD:
		return tiers_parse_cold(&args->tiers, args->command, value);
	case OPT_THREADS:
		if (!cli_number(value, 1, REPLAY_THREADS_MAX, &args->threads))
			return cli_misuse(args->command,
					  "--threads: '%s' is not a number from 1 to %d", value,
					  REPLAY_THREADS_MAX);
		return COMMAND_OK;
	case OPT_BATCH:
		if (!cli_number(value, 1, 64, &args->batch))
			return cli_misuse(args->command,
					  "--batch: '%s' is not a number from 1 to 64", value);
		return COMMAND_OK;
	case OPT_LIMIT:
		if (!cli_number(value, 1, UINT64_MAX, &args->limit))
			return cli_misuse(args->command,
					  "--limit: '%s' is not a number of at least 1", value);
		return COMMAND_OK;
	case OPT_OBJECTS:
		args->objects = true;
		return COMMAND_OK;
	case OPT_SETS_AS_GETS:
		args->sets_as_gets = true;
		return COMMAND_OK;
	case OPT_VERIFY:
		args->verify = true;
		return COMMAND_OK;
	case OPT_REOPEN:
		args->reopen = true;
		return COMMAND_OK;
	case OPT_VALUE_SIZE:
		args->value_size = value;
		return COMMAND_OK;
	case OPT_JSON:
		args->json = value;
		return COMMAND_OK;
	default:
		return parse_named(args, option, value);
	}
}

/* Do the options go together? */
static int check_options(struct replay_args *args)
{
	if (args->objects && args->tiers.cold_dir)
		return cli_misuse(args->command, "--objects simulates: it has no --cold directory");
	if (args->objects && (args->verify || args->reopen))
		return cli_misuse(args->command, "--objects simulates: there are no bytes to %s",
				  args->verify ? "--verify" : "--reopen");
	if (args->objects && args->threads > 1)
		return cli_misuse(args->command, "--objects simulates on one thread");
	if (args->objects && args->value_size)
		return cli_misuse(args->command,
				  "--objects: every object costs 1, --value-size says else");
	if (args->objects && args->tiers.warm_given)
		return cli_misuse(args->command,
				  "--objects simulates: --warm takes a number, no provider");
	if (args->reopen && !(args->verify && args->tiers.cold_dir))
		return cli_misuse(args->command, "--reopen needs --verify and --cold DIR");
	if (!args->value_size)
		args->value_size = "trace";
	return COMMAND_OK;
}

static int parse(int argc, char **argv, struct replay_args *args, bool *helped)
{
	int option;
	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		if (option == '?' || option == ':')
			return cli_bad_option(args->command, option, argv);
		if (option == OPT_HELP || option == 'h') {
			fputs(help, stdout);
			*helped = true;
			return COMMAND_OK;
		}
		int status = parse_option(args, option, optarg);
		if (status)
			return status;
	}
	if (optind == argc)
		return cli_misuse(args->command, "which trace? (thermo replay TRACE [options])");
	if (optind + 1 < argc)
		return cli_misuse(args->command, "one trace at a time: '%s' is left over",
				  argv[optind + 1]);
	args->path = argv[optind];
	return check_options(args);
}

static int report(const struct replay_args *args, const struct replay_config *config,
		  const struct replay_result *result, const struct trace_source *source)
{
	struct replay_about about = {
		.trace = args->path,
		.policy = args->policy,
		.unrecorded = source->unrecorded,
		.warm = args->tiers.warm_bytes ? args->tiers.warm : NULL,
	};
	return replay_report(&about, config, result, args->json);
}

int replay_engine(const struct replay_args *args)
{
	struct thermo_error error = {.text = ""};
	struct replay_config config = {
		.command = args->command,
		.threads = (unsigned)args->threads,
		.limit = args->limit,
		.verify = args->verify,
		.reopen = args->reopen,
		.sets_as_gets = args->sets_as_gets,
		.progress = args->progress,
	};
	struct size_model *sizes = NULL;
	struct trace_source source;
	struct replay_result result;
	if (size_model_open(args->value_size, &sizes, &error)) {
		bool file = !strncmp(args->value_size, "dist:", 5);
		cli_misuse(args->command, "--value-size: %s", error.text);
		return file ? COMMAND_FAILED : COMMAND_USAGE;
	}
	thermo_options_init(&config.options);
	tiers_apply(&args->tiers, &config.options);
	config.options.policy = args->policy;
	config.options.io = args->io;
	config.options.log = cli_log;
	int exit_code = COMMAND_FAILED;
	if (trace_source_open(&source, args->path, args->format, sizes, (uint32_t)args->batch,
			      &error)) {
		cli_fail(args->command, "%s", error.text);
		goto close_sizes;
	}
	exit_code = replay_run(&config, &source.source, &result);
	/* A run that failed is reported too as long as it ran: its counts say what happened. */
	if (result.seconds > 0) {
		int reported = report(args, &config, &result, &source);
		exit_code = exit_code ? exit_code : reported;
	}
	replay_result_free(&result);
	trace_source_close(&source);
close_sizes:
	size_model_close(&sizes);
	return exit_code;
}

int replay_main(int argc, char **argv)
{
	struct replay_args args = {
		.command = "replay", .policy = "s3fifo", .io = "auto", .threads = 1};
	bool helped = false;
	tiers_init(&args.tiers);
	int exit_code = parse(argc, argv, &args, &helped);
	if (!exit_code && !helped)
		exit_code = args.objects ? replay_objects(&args) : replay_engine(&args);
	tiers_free(&args.tiers);
	return exit_code;
}
