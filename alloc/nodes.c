/* SPDX-License-Identifier: Apache-2.0 */
/* See nodes.h. Node lists come from sysfs, because libnuma's are undefined where policies are
 * refused. */
#include "alloc/nodes.h"

#include <errno.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/sysfile.h"

#define WORD_BITS (8 * sizeof(unsigned long))
#define SAMPLE_PAGES 64
#define KIB_MAX ((uint64_t)1 << 42) /* all that 52 bits of physical address reach */

bool nodes_has(const struct node_set *set, unsigned node)
{
	return node < NODES_MAX && (set->words[node / WORD_BITS] >> (node % WORD_BITS) & 1);
}

void nodes_add(struct node_set *set, unsigned node)
{
	if (node < NODES_MAX)
		set->words[node / WORD_BITS] |= 1ul << (node % WORD_BITS);
}

unsigned nodes_count(const struct node_set *set)
{
	unsigned count = 0;

	for (size_t i = 0; i < NODES_MAX / WORD_BITS; i++)
		count += (unsigned)__builtin_popcountl(set->words[i]);
	return count;
}

int nodes_parse(const char *text, struct node_set *set)
{
	memset(set, 0, sizeof(*set));
	while (*text && *text != '\n') {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;
		if (end == text)
			return -EINVAL;
		if (*end == '-') {
			text = end + 1;
			last = strtoul(text, &end, 10);
			if (end == text)
				return -EINVAL;
		}
		if (last < first || last >= NODES_MAX)
			return -EINVAL;
		for (unsigned long node = first; node <= last; node++)
			nodes_add(set, (unsigned)node);
		if (*end == ',')
			end++;
		else if (*end && *end != '\n')
			return -EINVAL;
		text = end;
	}
	return 0;
}

int nodes_read(const char *root, const char *which, struct node_set *set)
{
	char path[64], text[4096];

	memset(set, 0, sizeof(*set));
	snprintf(path, sizeof(path), "/sys/devices/system/node/%s", which);
	int n = sysfile_read(root, path, text, sizeof(text));
	return n < 0 ? n : nodes_parse(text, set);
}

/* The sum of what the node's meminfo says in the fields, in bytes. UINT64_MAX if it says nothing,
 * or nothing that can be believed. */
static uint64_t meminfo_sum(const char *root, unsigned node, const char *const *fields, size_t n)
{
	char path[64], text[8192];
	uint64_t kib = 0;
	bool known = false;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node);
	if (sysfile_read(root, path, text, sizeof(text)) <= 0)
		return UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		const char *at = strstr(text, fields[i]);
		if (!at)
			continue;
		uint64_t value = strtoull(at + strlen(fields[i]), NULL, 10);
		if (value > KIB_MAX)
			return UINT64_MAX;
		kib += value;
		known = true;
	}
	return known ? kib << 10 : UINT64_MAX;
}

uint64_t nodes_size(const char *root, unsigned node)
{
	static const char *const fields[] = {"MemTotal:"};

	return meminfo_sum(root, node, fields, 1);
}

uint64_t nodes_available(const char *root, unsigned node)
{
	static const char *const fields[] = {
		"MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:"};

	return meminfo_sum(root, node, fields, sizeof(fields) / sizeof(fields[0]));
}

int nodes_bind(void *start, size_t bytes, unsigned node)
{
	struct node_set set = {0};

	if (node >= NODES_MAX)
		return -EINVAL;
	nodes_add(&set, node);
	/* The kernel reads maxnode - 1 bits. */
	return mbind(start, bytes, MPOL_BIND, set.words, NODES_MAX + 1, 0) ? -errno : 0;
}

int nodes_interleave(void *start, size_t bytes)
{
	struct node_set with_cpu, with_memory;
	int rc = nodes_read("", "has_cpu", &with_cpu);

	if (!rc)
		rc = nodes_read("", "has_memory", &with_memory);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (size_t i = 0; i < NODES_MAX / WORD_BITS; i++)
		with_cpu.words[i] &= with_memory.words[i];
	if (nodes_count(&with_cpu) < 2)
		return 0;
	return mbind(start, bytes, MPOL_INTERLEAVE, with_cpu.words, NODES_MAX + 1, 0) ? -errno : 0;
}

int nodes_verify(const void *start, size_t bytes, unsigned node, int *elsewhere)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = bytes / page;
	size_t n = pages < SAMPLE_PAGES ? pages : SAMPLE_PAGES;
	void *sample[SAMPLE_PAGES];
	int status[SAMPLE_PAGES];
	bool unknown = false;

	for (size_t i = 0; i < n; i++) {
		sample[i] = (char *)(uintptr_t)start + pages * i / n * page;
		status[i] = -EIO;
	}
	if (n == 0 || move_pages(0, n, sample, NULL, status, 0) != 0)
		return 1;
	for (size_t i = 0; i < n; i++) {
		if (status[i] >= 0 && (unsigned)status[i] != node) {
			*elsewhere = status[i];
			return -EXDEV;
		}
		unknown |= status[i] < 0;
	}
	return unknown;
}
