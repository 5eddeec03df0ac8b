/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of `thermo` share: one-line complaints, checked numbers, and the three tier
 * options (--dram, --warm, --cold) that become struct thermo_options.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "thermocline.h"

/* One line to stderr, "thermo COMMAND: ...". They answer COMMAND_FAILED and COMMAND_USAGE. */
int cli_fail(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int cli_misuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The complaint for what getopt_long answered '?' or ':' to (opterr must be 0 and the short options
 * begin with ':'). */
int cli_bad_option(const char *command, int answer, char **argv);

/* For struct thermo_options: the library's notices, a line each on stderr. */
void cli_log(void *context, const char *line);

/* A whole decimal number in [least, most]; false if text is anything else. */
bool cli_number(const char *text, uint64_t least, uint64_t most, uint64_t *number);

/* Where --dram, --warm and --cold put things. Strings are the argument vector's or own the bytes
 * that tiers_free gives back. */
struct tiers {
	uint64_t dram_bytes;
	uint64_t warm_bytes;
	uint64_t cold_bytes;
	char *warm;     /* provider: "emulate:250", "node:1", "file:PATH" */
	char *cold_dir; /* NULL: no cold tier */
	bool warm_given;
};

void tiers_init(struct tiers *tiers);
void tiers_free(struct tiers *tiers);
/* SIZE, SIZE[@PROVIDER], DIR[:SIZE]|none. COMMAND_OK, or COMMAND_USAGE after a complaint. */
int tiers_parse_dram(struct tiers *tiers, const char *command, const char *text);
int tiers_parse_warm(struct tiers *tiers, const char *command, const char *text);
int tiers_parse_cold(struct tiers *tiers, const char *command, const char *text);
/* Fills options, whose strings stay this struct's. */
void tiers_apply(const struct tiers *tiers, struct thermo_options *options);

/* Where a report goes: "-" is stdout. NULL after a complaint; close with cli_output_close, which
 * says when what was written did not arrive. */
FILE *cli_output_open(const char *command, const char *path);
int cli_output_close(const char *command, const char *path, FILE *file);

#endif
