/* SPDX-License-Identifier: Apache-2.0 */
/* `thermo repair`: salvages what damaged files of a cold tier still hold. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "alloc/budget.h"
#include "alloc/heap.h"
#include "tiers/cold/cold.h"
#include "tools/cli.h"
#include "tools/command.h"

static const char help[] =
	"usage: thermo repair DIR [--dry-run]\n"
	"Reads every file of a cold tier that no cache has open. Every readable record of a damaged\n"
	"segment goes to a new one; keys that may have been in what cannot be read answer \"lost\" (or\n"
	"an I/O error) from then on, until they are written again, and not \"no such key\". Damaged\n"
	"files are set aside as NUMBER.seg.bad; sound ones are not touched.\n"
	"\n"
	"  --dry-run         say what would be done, and do nothing\n";

enum { OPT_DRY_RUN = 1000, OPT_HELP };

static const struct option long_options[] = {
	{"dry-run", no_argument, NULL, OPT_DRY_RUN},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

#define MEMORY_BYTES (UINT64_C(1) << 30)

static void say(void *context, const char *line)
{
	(void)context;
	printf("%s\n", line);
}

static int report(const char *path, const struct cold_repair *repair)
{
	printf("%s: %u segments, %u damaged (%u of them missing)", path, repair->segments,
	       repair->damaged, repair->missing);
	if (!repair->damaged) {
		printf("; nothing to do\n");
		return COMMAND_OK;
	}
	printf("; %" PRIu64 " records %s, %" PRIu64 " blocks lost, %u holes%s\n",
	       repair->records_salvaged, repair->dry_run ? "can be salvaged" : "salvaged",
	       repair->blocks_lost, repair->holes,
	       repair->dry_run ? " (a dry run: nothing was changed)" : "");
	return COMMAND_OK;
}

static int run(const char *path, bool dry_run)
{
	struct thermo_error error = {.text = ""};
	struct cold_repair repair = {.dry_run = dry_run};
	struct budget budget;
	struct heap *heap;
	budget_init(&budget, MEMORY_BYTES);
	if (heap_open("libc", NULL, MEMORY_BYTES / 4, NULL, &heap, &error))
		return cli_fail("repair", "%s", error.text);
	struct cold_options options = {
		.dir = path,
		.io = "pread",
		.filter_bytes = MEMORY_BYTES / 2,
		.budget = &budget,
		.heap = heap,
		.log = say,
	};
	int status = cold_repair(&options, &repair, &error);
	heap_close(&heap);
	if (status)
		return cli_fail("repair", "%s", error.text);
	return report(path, &repair);
}

int repair_main(int argc, char **argv)
{
	bool dry_run = false;
	int option;
	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_DRY_RUN:
			dry_run = true;
			break;
		case OPT_HELP:
		case 'h':
			fputs(help, stdout);
			return COMMAND_OK;
		default:
			return cli_bad_option("repair", option, argv);
		}
	}
	if (optind == argc)
		return cli_misuse("repair", "which directory? (thermo repair DIR)");
	if (optind + 1 < argc)
		return cli_misuse("repair", "one directory at a time: '%s' is left over",
				  argv[optind + 1]);
	return run(argv[optind], dry_run);
}
