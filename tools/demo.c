/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `thermo demo`: shows the tiers at work in under a minute, in a directory of its own that it
 * removes. It generates a recommender's requests, or replays the trace that it is given.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/generate.h"
#include "tools/replay.h"
#include "tools/replay_report.h"
#include "tools/sizes.h"

static const char help[] =
	"usage: thermo demo [TRACE] [options]\n"
	"Generates a recommender's workload (behaviour sequences, embeddings, item metadata; "
	"popularity that\n"
	"drifts; a scan) and replays it through DRAM, an emulated CXL pool and compressed segments "
	"on disk,\n"
	"checking every byte; then closes, reopens and reads every key back. With a trace, replays "
	"that.\n"
	"\n"
	"  --dram SIZE       (default 64M)\n"
	"  --warm SIZE[@P]   (default 64M@emulate:250)\n"
	"  --dir DIR         where to make the temporary directory (default TMPDIR or /var/tmp)\n"
	"  --keep            leave the directory for `thermo inspect`\n"
	"  --seed N          of the generated requests (default 1)\n"
	"  --scale PERCENT   of users, items and visits (default 100)\n"
	"  --threads N       workers (default 1)\n"
	"  --progress P      auto (default), json, none\n"
	"  --json FILE|-     the report as JSON\n";

enum {
	OPT_DRAM = 1000,
	OPT_WARM,
	OPT_DIR,
	OPT_KEEP,
	OPT_SEED,
	OPT_SCALE,
	OPT_THREADS,
	OPT_PROGRESS,
	OPT_JSON,
	OPT_HELP
};

static const struct option long_options[] = {
	{"dram", required_argument, NULL, OPT_DRAM},
	{"warm", required_argument, NULL, OPT_WARM},
	{"dir", required_argument, NULL, OPT_DIR},
	{"keep", no_argument, NULL, OPT_KEEP},
	{"seed", required_argument, NULL, OPT_SEED},
	{"scale", required_argument, NULL, OPT_SCALE},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"progress", required_argument, NULL, OPT_PROGRESS},
	{"json", required_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

struct demo {
	struct replay_args args;
	const char *parent;
	uint64_t seed, scale;
	bool keep, helped;
};

static int parse_option(struct demo *demo, int option, const char *value)
{
	const char *command = demo->args.command;
	switch (option) {
	case OPT_DRAM:
		return tiers_parse_dram(&demo->args.tiers, command, value);
	case OPT_WARM:
		return tiers_parse_warm(&demo->args.tiers, command, value);
	case OPT_DIR:
		demo->parent = value;
		return COMMAND_OK;
	case OPT_KEEP:
		demo->keep = true;
		return COMMAND_OK;
	case OPT_SEED:
		if (!cli_number(value, 0, UINT64_MAX, &demo->seed))
			return cli_misuse(command, "--seed: '%s' is not a number", value);
		return COMMAND_OK;
	case OPT_SCALE:
		if (!cli_number(value, 1, 1000, &demo->scale))
			return cli_misuse(
				command, "--scale: '%s' is not a percentage from 1 to 1000", value);
		return COMMAND_OK;
	case OPT_THREADS:
		if (!cli_number(value, 1, REPLAY_THREADS_MAX, &demo->args.threads))
			return cli_misuse(command, "--threads: '%s' is not a number from 1 to %d",
					  value, REPLAY_THREADS_MAX);
		return COMMAND_OK;
	case OPT_PROGRESS:
		if (progress_parse(value, &demo->args.progress))
			return cli_misuse(command, "--progress: '%s' is not auto, json or none",
					  value);
		return COMMAND_OK;
	default:
		demo->args.json = value;
		return COMMAND_OK;
	}
}

static int parse(int argc, char **argv, struct demo *demo)
{
	int option;
	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		if (option == '?' || option == ':')
			return cli_bad_option(demo->args.command, option, argv);
		if (option == OPT_HELP || option == 'h') {
			fputs(help, stdout);
			demo->helped = true;
			return COMMAND_OK;
		}
		int status = parse_option(demo, option, optarg);
		if (status)
			return status;
	}
	if (optind + 1 < argc)
		return cli_misuse(demo->args.command, "one trace at a time: '%s' is left over",
				  argv[optind + 1]);
	demo->args.path = argv[optind];
	return COMMAND_OK;
}

static int directory_make(struct demo *demo)
{
	const char *parent = demo->parent ? demo->parent : getenv("TMPDIR");
	if (!parent || !*parent)
		parent = "/var/tmp";
	char *path;
	if (asprintf(&path, "%s/thermocline-demo.XXXXXX", parent) < 0)
		return cli_fail(demo->args.command, "out of memory");
	if (!mkdtemp(path)) {
		int status =
			cli_fail(demo->args.command, "%s: %s (use --dir)", parent, strerror(errno));
		free(path);
		return status;
	}
	demo->args.tiers.cold_dir = path;
	return COMMAND_OK;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
	(void)info, (void)type, (void)at;
	return remove(path);
}

static void directory_remove(const struct demo *demo)
{
	const char *path = demo->args.tiers.cold_dir;
	if (demo->keep)
		fprintf(stderr, "kept %s\n", path);
	else if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT))
		fprintf(stderr, "thermo demo: %s is left behind: %s\n", path, strerror(errno));
}

static void introduce(const struct demo *demo, const struct generate_options *options)
{
	char dram[24], warm[24];
	size_format(demo->args.tiers.dram_bytes, dram);
	size_format(demo->args.tiers.warm_bytes, warm);
	fprintf(stderr,
		"A recommender's workload, generated (seed %llu): %u users, %u items,\n"
		"%u visits: each reads a behaviour sequence, 24 embeddings and some items' "
		"metadata, and "
		"writes the sequence back.\n"
		"  hot   DRAM, %s        warm   %s, %s\n"
		"  cold  compressed segments in %s\n\n",
		(unsigned long long)options->seed, options->users, options->items,
		options->visits[0] + options->visits[1] + options->visits[2], dram,
		demo->args.tiers.warm_bytes ? demo->args.tiers.warm : "none", warm,
		demo->args.tiers.cold_dir);
}

static int report(const struct demo *demo, const struct replay_config *config,
		  const struct replay_source *source, const struct replay_result *result)
{
	const struct replay_args *args = &demo->args;
	struct replay_about about = {
		.trace = "generated recommender workload",
		.policy = args->policy,
		.warm = args->tiers.warm_bytes ? args->tiers.warm : NULL,
		.phases = source->phases,
		.n_phases = source->n_phases,
	};
	return replay_report(&about, config, result, args->json);
}

static int run_generated(const struct demo *demo)
{
	uint32_t scale = (uint32_t)demo->scale;
	struct generate_options generated = {
		.seed = demo->seed,
		.users = 80 * scale,
		.items = 1600 * scale,
		.visits = {60 * scale, 40 * scale, 40 * scale},
	};
	struct replay_config config = {
		.command = demo->args.command,
		.threads = (unsigned)demo->args.threads,
		.verify = true,
		.reopen = true,
		.progress = demo->args.progress,
	};
	struct generate *generate;
	struct replay_result result;
	if (generate_open(&generated, &generate))
		return cli_fail(demo->args.command, "out of memory");
	thermo_options_init(&config.options);
	tiers_apply(&demo->args.tiers, &config.options);
	config.options.policy = demo->args.policy;
	config.options.log = cli_log;
	introduce(demo, &generated);
	int exit_code = replay_run(&config, generate_source(generate), &result);
	if (result.seconds > 0) {
		int reported = report(demo, &config, generate_source(generate), &result);
		exit_code = exit_code ? exit_code : reported;
	}
	replay_result_free(&result);
	generate_close(&generate);
	return exit_code;
}

int demo_main(int argc, char **argv)
{
	struct demo demo = {
		.args = {.command = "demo",
			 .policy = "s3fifo",
			 .io = "auto",
			 .threads = 1,
			 .value_size = "trace",
			 .verify = true,
			 .reopen = true},
		.seed = 1,
		.scale = 100,
	};
	tiers_init(&demo.args.tiers);
	int exit_code = tiers_parse_warm(&demo.args.tiers, "demo", "64M@emulate:250");
	if (!exit_code)
		exit_code = parse(argc, argv, &demo);
	if (!exit_code && !demo.helped) {
		exit_code = directory_make(&demo);
		if (!exit_code) {
			exit_code =
				demo.args.path ? replay_engine(&demo.args) : run_generated(&demo);
			directory_remove(&demo);
		}
	}
	tiers_free(&demo.args.tiers);
	return exit_code;
}
