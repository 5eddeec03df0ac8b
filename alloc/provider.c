/* SPDX-License-Identifier: Apache-2.0 */
/* Provider specs: which filling, with which arguments. See provider.h for the forms. */
#include "alloc/provider.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/check.h"
#include "alloc/delay.h"
#include "alloc/error.h"
#include "alloc/nodes.h"
#include "alloc/provider_fillings.h"
#include "alloc/sysfile.h"

#define FORMS "dram, node:N, file:PATH, kmem, emulate:NS[,GB/s]"
#define DELAY_NS_MAX 1000000u         /* beyond a millisecond it is a disk */
#define BANDWIDTH_MAX 100000.0        /* GB/s */
#define BYTES_MAX ((uint64_t)1 << 46) /* half of the address space of a process */

void provider_note(struct provider *p, const char *format, ...)
{
	size_t used = strlen(p->note);
	va_list arguments;

	if (used && used + 2 < sizeof(p->note)) {
		memcpy(p->note + used, "; ", 3);
		used += 2;
	}
	va_start(arguments, format);
	vsnprintf(p->note + used, sizeof(p->note) - used, format, arguments);
	va_end(arguments);
}

void provider_note_huge(struct provider *p, const char *root)
{
	char text[128];
	int n = sysfile_read(root, "/sys/kernel/mm/transparent_hugepage/enabled", text,
			     sizeof(text));

	if (p->huge && (n <= 0 || strstr(text, "[never]")))
		provider_note(p, "no huge pages: echo madvise > %s",
			      "/sys/kernel/mm/transparent_hugepage/enabled");
}

/* Reads digits only: no sign, no space. The end of them, or NULL if there are none or too many. */
static const char *parse_number(const char *text, uint64_t max, uint64_t *number)
{
	const char *at = text;

	*number = 0;
	for (; isdigit((unsigned char)*at); at++) {
		*number = *number * 10 + (uint64_t)(*at - '0');
		if (*number > max)
			return NULL;
	}
	return at == text ? NULL : at;
}

/* Digits with at most one point, whatever the locale's decimal point is. */
static const char *parse_decimal(const char *text, double max, double *number)
{
	const char *at = text;
	double unit = 1;
	int digits = 0, point = 0;

	*number = 0;
	for (; isdigit((unsigned char)*at) || (*at == '.' && !point); at++) {
		if (*at == '.') {
			point = 1;
			continue;
		}
		digits++;
		if (point)
			*number += (*at - '0') * (unit /= 10);
		else
			*number = *number * 10 + (*at - '0');
		if (*number > max)
			return NULL;
	}
	return digits ? at : NULL;
}

static int bad_spec(const char *spec, const char *why, struct thermo_error *error)
{
	return error_set(error, -EINVAL, "provider \"%.80s\": %s; one of %s", spec, why, FORMS);
}

static int open_node(const char *spec, const char *rest, uint64_t extents, int huge,
		     struct provider **provider, struct thermo_error *error)
{
	uint64_t node;
	const char *end = parse_number(rest, NODES_MAX - 1, &node);

	if (!end || *end)
		return bad_spec(spec, "a node is a number from 0 to 1023", error);
	return provider_node_open((unsigned)node, extents, huge, provider, error);
}

static int open_emulate(const char *spec, const char *rest, uint64_t extents, int huge,
			struct provider **provider, struct thermo_error *error)
{
	uint64_t ns;
	double bandwidth = 0;
	const char *end = parse_number(rest, DELAY_NS_MAX, &ns);

	if (!end || (*end && *end != ','))
		return bad_spec(spec, "the latency is 0 to 1000000 whole nanoseconds", error);
	if (*end == ',') {
		end = parse_decimal(end + 1, BANDWIDTH_MAX, &bandwidth);
		if (!end || *end || bandwidth < 0.001)
			return bad_spec(spec, "the bandwidth is 0.001 to 100000 GB/s", error);
	}
	return provider_emulate_open((uint32_t)ns, bandwidth, extents, huge, provider, error);
}

int provider_open(const char *spec, uint64_t max_bytes, int huge, struct provider **provider,
		  struct thermo_error *error)
{
	*provider = NULL;
	if (!spec || !*spec)
		return bad_spec("", "nothing is named", error);
	if (max_bytes == 0 || max_bytes > BYTES_MAX)
		return error_set(error, -EINVAL,
				 "provider \"%.80s\": its size must be from 1 byte to 64 TiB",
				 spec);
	uint64_t extents = (max_bytes + EXTENT_BYTES - 1) / EXTENT_BYTES;

	if (strcmp(spec, "dram") == 0)
		return provider_dram_open(extents, huge, provider, error);
	if (strcmp(spec, "kmem") == 0)
		return provider_kmem_open(extents, huge, provider, error);
	if (strncmp(spec, "node:", 5) == 0)
		return open_node(spec, spec + 5, extents, huge, provider, error);
	if (strncmp(spec, "emulate:", 8) == 0)
		return open_emulate(spec, spec + 8, extents, huge, provider, error);
	if (strncmp(spec, "file:", 5) == 0) {
		if (!spec[5])
			return bad_spec(spec, "the path is missing", error);
		return provider_file_open(spec + 5, extents, provider, error);
	}
	return bad_spec(spec, "no such provider", error);
}

void provider_close(struct provider **provider)
{
	if (*provider)
		(*provider)->ops->close(*provider);
	*provider = NULL;
}

void provider_delay(const struct provider *p, size_t bytes)
{
	check(p->emulated);
	delay_wait(p->state, bytes);
}
