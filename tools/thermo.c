/* SPDX-License-Identifier: Apache-2.0 */
/* `thermo`: the tool for people. Finds the command; each command parses its own options. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "thermocline.h"
#include "tools/cli.h"
#include "tools/command.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{"demo", demo_main, "a recommender's workload through three tiers, in under a minute"},
	{"replay", replay_main, "a recorded trace through the tiers, or through the simulator"},
	{"bench", bench_main, "speed against this machine's limit, and against other stores"},
	{"topology", topology_main, "what memory there is, and which of it the warm tier can use"},
	{"inspect", inspect_main, "what lies in a cold tier's directory"},
	{"repair", repair_main, "salvages what damaged files still hold"},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
	fprintf(to, "usage: thermo COMMAND [options]\n\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fprintf(to, "\n  thermo COMMAND --help, thermo --version\n");
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* a reader that went away is a failed write, said once */
	signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow (ulimit -f) */
	if (argc < 2) {
		usage(stderr);
		return COMMAND_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return COMMAND_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("thermo %s\n", thermo_version());
		return COMMAND_OK;
	}
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return cli_misuse("", "unknown command '%s' (thermo --help lists them)", argv[1]);
}
