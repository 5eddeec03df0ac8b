/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tools/reference.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void path_of(char *path, size_t size, const char *data, const char *rest)
{
	snprintf(path, size, "%s/%s", data, rest);
}

const char *reference_data(void)
{
	char path[4096];
	const char *data = getenv("THERMO_DATA");
	if (!data || !*data)
		return NULL;
	path_of(path, sizeof(path), data, "reference/miss_ratios.csv");
	return access(path, R_OK) ? NULL : data;
}

static bool row_parse(const char *line, struct reference_row *row)
{
	char mode[8], policy[16];
	uint64_t requests, footprint;
	if (sscanf(line,
		   "%63[^,],%7[^,],%" SCNu64 ",%" SCNu64 ",%" SCNu64 ",%u,%" SCNu64 ",%15[^,],%lf",
		   row->trace, mode, &requests, &row->unique, &footprint, &row->percent,
		   &row->cache_size, policy, &row->miss_ratio) != 9)
		return false;
	row->bytes = !strcmp(mode, "byte");
	return policy_parse(policy, &row->kind) == 0;
}

int reference_rows(const char *data, struct reference_row **rows, size_t *n)
{
	char path[4096], line[512];
	struct reference_row row = {0};
	size_t most = 0;

	path_of(path, sizeof(path), data, "reference/miss_ratios.csv");
	FILE *file = fopen(path, "r");
	if (!file)
		return -errno;
	*rows = NULL;
	*n = 0;
	while (fgets(line, sizeof(line), file)) {
		if (!row_parse(line, &row))
			continue; /* the header, or a policy that we do not have */
		if (*n == most) {
			most = most ? 2 * most : 64;
			struct reference_row *more = realloc(*rows, most * sizeof(*more));
			if (!more) {
				free(*rows);
				fclose(file);
				return -ENOMEM;
			}
			*rows = more;
		}
		(*rows)[(*n)++] = row;
	}
	fclose(file);
	return 0;
}

static int trace_grow(struct reference_trace *trace)
{
	size_t most = trace->most ? 2 * trace->most : 1 << 16;
	uint64_t *keys = realloc(trace->keys, most * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	trace->keys = keys;
	uint64_t *sizes = realloc(trace->sizes, most * sizeof(*sizes));
	if (!sizes)
		return -ENOMEM;
	trace->sizes = sizes;
	trace->most = most;
	return 0;
}

int reference_trace_load(struct reference_trace *trace, const char *data, const char *name,
			 struct thermo_error *error)
{
	char path[4096], rest[128];
	struct trace_request request;
	struct trace *reader;

	if (!strcmp(trace->name, name))
		return 0;
	snprintf(rest, sizeof(rest), "traces/%s.csv.zst", name);
	path_of(path, sizeof(path), data, rest);
	int rc = trace_open(path, TRACE_AUTO, &reader, error);
	if (rc)
		return rc;
	trace->n = 0;
	trace->name[0] = 0;
	while ((rc = trace_next(reader, &request, error)) == THERMO_OK) {
		if (request.op == TRACE_DELETE)
			continue;
		if (trace->n == trace->most && trace_grow(trace)) {
			rc = -ENOMEM;
			break;
		}
		trace->keys[trace->n] = request.key;
		trace->sizes[trace->n++] = request.size;
	}
	trace_close(&reader);
	if (rc < 0)
		return rc;
	snprintf(trace->name, sizeof(trace->name), "%s", name);
	return 0;
}

void reference_trace_free(struct reference_trace *trace)
{
	free(trace->keys);
	free(trace->sizes);
	*trace = (struct reference_trace){0};
}

int reference_run(const struct reference_row *row, const struct reference_trace *trace,
		  unsigned dram_percent, bool promote_on_walk, struct simulate_stats *stats)
{
	uint64_t dram = (row->cache_size * dram_percent + 99) / 100;
	struct simulate_options options = {
		.kind = row->kind,
		.dram = dram,
		.warm = row->cache_size - dram,
		.objects = row->unique,
		.promote_on_walk = promote_on_walk,
	};
	struct simulate *simulate;
	int rc = simulate_open(&options, &simulate);
	if (rc)
		return rc;
	for (size_t i = 0; i < trace->n && rc >= 0; i++)
		rc = simulate_request(simulate, trace->keys[i], row->bytes ? trace->sizes[i] : 1);
	simulate_stats(simulate, stats);
	simulate_close(&simulate);
	return rc < 0 ? rc : 0;
}
