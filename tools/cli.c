/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"
#include "tools/sizes.h"

static void complain(const char *command, const char *format, va_list args)
{
	char line[1024];
	vsnprintf(line, sizeof(line), format, args);
	for (char *c = line; *c; c++) /* one line, whatever is quoted in it */
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	fflush(stdout);
	fprintf(stderr, "thermo%s%s: %s\n", *command ? " " : "", command, line);
}

int cli_fail(const char *command, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	complain(command, format, args);
	va_end(args);
	return COMMAND_FAILED;
}

int cli_misuse(const char *command, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	complain(command, format, args);
	va_end(args);
	return COMMAND_USAGE;
}

int cli_bad_option(const char *command, int answer, char **argv)
{
	/* After a long option getopt has moved on; inside a cluster of short ones it has not. */
	const char *word = optind > 0 && argv[optind - 1] ? argv[optind - 1] : "";
	if (answer == ':')
		return cli_misuse(command, "option %s needs a value", word);
	if (optopt > ' ' && optopt < 127)
		return cli_misuse(command, "unknown option -%c (thermo %s --help lists them)",
				  optopt, command);
	return cli_misuse(command, "unknown option %s (thermo %s --help lists them)", word,
			  command);
}

void cli_log(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
}

bool cli_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
	if (*text < '0' || *text > '9')
		return false;
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno || *end || value < least || value > most)
		return false;
	*number = value;
	return true;
}

void tiers_init(struct tiers *tiers)
{
	memset(tiers, 0, sizeof(*tiers));
	tiers->dram_bytes = 64u << 20;
}

void tiers_free(struct tiers *tiers)
{
	free(tiers->warm);
	free(tiers->cold_dir);
	tiers->warm = tiers->cold_dir = NULL;
}

static int parse_size(const char *command, const char *option, const char *text, uint64_t *bytes)
{
	int error = size_parse(text, bytes);
	if (error == -ERANGE)
		return cli_misuse(command, "%s: %s is more than can be counted", option, text);
	if (error)
		return cli_misuse(command, "%s: '%s' is not a size (such as 65536, 64K, 1.5G)",
				  option, text);
	return COMMAND_OK;
}

int tiers_parse_dram(struct tiers *tiers, const char *command, const char *text)
{
	int status = parse_size(command, "--dram", text, &tiers->dram_bytes);
	if (!status && !tiers->dram_bytes)
		return cli_misuse(command, "--dram: the hot tier cannot be empty");
	return status;
}

int tiers_parse_warm(struct tiers *tiers, const char *command, const char *text)
{
	const char *at = strchr(text, '@');
	size_t len = at ? (size_t)(at - text) : strlen(text);
	char size[64];
	if (len >= sizeof(size))
		return cli_misuse(command, "--warm: '%s' is not SIZE[@PROVIDER]", text);
	memcpy(size, text, len);
	size[len] = 0;
	int status = parse_size(command, "--warm", size, &tiers->warm_bytes);
	if (status)
		return status;
	const char *provider = at ? at + 1 : "emulate:250";
	if (strncmp(provider, "emulate:", 8) && strncmp(provider, "node:", 5) &&
	    strncmp(provider, "file:", 5) && strcmp(provider, "kmem") && strcmp(provider, "dram"))
		return cli_misuse(
			command,
			"--warm: '%s' is no provider (emulate:NS, node:N, file:PATH, kmem, dram)",
			provider);
	free(tiers->warm);
	tiers->warm = strdup(provider);
	tiers->warm_given = at != NULL;
	return tiers->warm ? COMMAND_OK : cli_fail(command, "out of memory");
}

int tiers_parse_cold(struct tiers *tiers, const char *command, const char *text)
{
	free(tiers->cold_dir);
	tiers->cold_dir = NULL;
	tiers->cold_bytes = 0;
	if (!strcmp(text, "none"))
		return COMMAND_OK;
	if (!*text)
		return cli_misuse(command, "--cold: which directory? (or none)");
	tiers->cold_dir = strdup(text);
	if (!tiers->cold_dir)
		return cli_fail(command, "out of memory");
	/* A directory may hold a colon: only what reads as a size after the last one is a size. */
	char *colon = strrchr(tiers->cold_dir, ':');
	if (!colon || strchr(colon, '/'))
		return COMMAND_OK;
	if (colon == tiers->cold_dir)
		return cli_misuse(command, "--cold: '%s' names no directory", text);
	int status = parse_size(command, "--cold", colon + 1, &tiers->cold_bytes);
	if (status)
		return status;
	if (!tiers->cold_bytes)
		return cli_misuse(command,
				  "--cold: a cap of 0 bytes holds nothing (use --cold none)");
	*colon = 0;
	return COMMAND_OK;
}

void tiers_apply(const struct tiers *tiers, struct thermo_options *options)
{
	options->dram_bytes = tiers->dram_bytes;
	options->warm_bytes = tiers->warm_bytes;
	options->warm = tiers->warm_bytes ? tiers->warm : NULL;
	options->cold_dir = tiers->cold_dir;
	options->cold_bytes = tiers->cold_bytes;
}

FILE *cli_output_open(const char *command, const char *path)
{
	if (!strcmp(path, "-"))
		return stdout;
	FILE *file = fopen(path, "we");
	if (!file)
		cli_fail(command, "%s: %s", path, strerror(errno));
	return file;
}

int cli_output_close(const char *command, const char *path, FILE *file)
{
	int bad = ferror(file);
	bad |= file == stdout ? fflush(file) : fclose(file);
	return bad ? cli_fail(command, "%s: the report was not written whole", path) : COMMAND_OK;
}
