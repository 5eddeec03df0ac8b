/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See memory_limit.h. /proc/self/cgroup says which cgroup, /proc/self/mountinfo where its files are.
 * Inside a container the path of the first may begin above what is mounted: the mount's own root is
 * taken off it, and a directory that is not there is skipped on the way up.
 */
#include "alloc/memory_limit.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/sysfile.h"

#define UNLIMITED UINT64_MAX

/* The file names of one version of cgroups. */
struct version {
	const char *limits[2]; /* NULL = no second one */
	const char *usage;
	const char *reclaimable[3]; /* fields of memory.stat that count as free */
};

static const struct version version1 = {
	.limits = {"memory.limit_in_bytes", NULL},
	.usage = "memory.usage_in_bytes",
	.reclaimable = {"total_inactive_file", "total_active_file", NULL},
};

static const struct version version2 = {
	.limits = {"memory.max", "memory.high"},
	.usage = "memory.current",
	.reclaimable = {"inactive_file", "active_file", "slab_reclaimable"},
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A number in a file of its own; fallback when there is none ("max", or no such file). */
static uint64_t read_number(const char *root, const char *folder, const char *name,
			    uint64_t fallback)
{
	char path[PATH_MAX], text[64], *end;
	int n = snprintf(path, sizeof(path), "%s/%s", folder, name);

	if (n < 0 || (size_t)n >= sizeof(path) || sysfile_read(root, path, text, sizeof(text)) <= 0)
		return fallback;
	uint64_t number = strtoull(text, &end, 10);
	return end == text ? fallback : number;
}

static uint64_t read_reclaimable(const char *root, const char *folder,
				 const struct version *version)
{
	struct sysfile_lines lines;
	char path[PATH_MAX], *line;
	uint64_t bytes = 0;
	int n = snprintf(path, sizeof(path), "%s/memory.stat", folder);

	if (n < 0 || (size_t)n >= sizeof(path) || sysfile_lines_open(&lines, root, path))
		return 0;
	while ((line = sysfile_lines_next(&lines)))
		for (int i = 0; i < 3 && version->reclaimable[i]; i++) {
			size_t length = strlen(version->reclaimable[i]);
			if (strncmp(line, version->reclaimable[i], length) == 0 &&
			    line[length] == ' ')
				bytes += strtoull(line + length, NULL, 10);
		}
	sysfile_lines_close(&lines);
	return bytes;
}

/* What one cgroup leaves. */
static uint64_t group_limit(const char *root, const char *folder, const struct version *version)
{
	uint64_t limit = UNLIMITED;

	for (int i = 0; i < 2 && version->limits[i]; i++)
		limit = least(limit, read_number(root, folder, version->limits[i], UNLIMITED));
	if (limit >= (uint64_t)INT64_MAX - (1u << 20)) /* version 1's way to say none */
		return UNLIMITED;
	uint64_t used = read_number(root, folder, version->usage, 0);
	uint64_t reclaimable = read_reclaimable(root, folder, version);
	used -= least(used, reclaimable);
	return limit - least(limit, used);
}

/* Every cgroup from mount_point/path up to mount_point. path begins with '/', or is empty. */
static uint64_t walk_up(const char *root, const char *mount_point, const char *path,
			const struct version *version)
{
	char folder[PATH_MAX];
	uint64_t limit = UNLIMITED;
	size_t top = strlen(mount_point);
	int n = snprintf(folder, sizeof(folder), "%s%s", mount_point, path);

	if (n < 0 || (size_t)n >= sizeof(folder))
		return UNLIMITED;
	for (size_t length = (size_t)n; length > top && folder[length - 1] == '/'; length--)
		folder[length - 1] = '\0';
	for (;;) {
		limit = least(limit, group_limit(root, folder, version));
		char *slash = strrchr(folder, '/');
		if (strlen(folder) <= top || !slash)
			return limit;
		*slash = '\0';
	}
}

/* This process's cgroup: the line of the memory controller (version 1), or "0::" (version 2). */
static bool own_path(const char *root, bool second, char *path, size_t capacity)
{
	struct sysfile_lines lines;
	bool found = false;
	char *line;

	if (sysfile_lines_open(&lines, root, "/proc/self/cgroup"))
		return false;
	while (!found && (line = sysfile_lines_next(&lines))) {
		char *controllers = strchr(line, ':');
		char *at = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!at)
			continue;
		*at = '\0';
		controllers++;
		if (at[1] != '/')
			continue;
		if (second) {
			found = strncmp(line, "0:", 2) == 0 && *controllers == '\0';
		} else {
			for (char *rest, *one = strtok_r(controllers, ",", &rest); one && !found;
			     one = strtok_r(NULL, ",", &rest))
				found = strcmp(one, "memory") == 0;
		}
		if (found)
			snprintf(path, capacity, "%s", at + 1);
	}
	sysfile_lines_close(&lines);
	return found;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* One line of mountinfo: is it the hierarchy that we want? Its root and where it is mounted. */
static bool parse_mount(char *line, bool second, char **mount_root, char **mount_point)
{
	char *rest, *tail = strstr(line, " - ");

	if (!tail)
		return false;
	*tail = '\0';
	char *type = strtok_r(tail + 3, " ", &rest);
	(void)strtok_r(NULL, " ", &rest); /* the device */
	char *options = strtok_r(NULL, " ", &rest);
	if (!type || strcmp(type, second ? "cgroup2" : "cgroup") != 0)
		return false;
	bool found = second;
	for (char *more, *one = second || !options ? NULL : strtok_r(options, ",", &more);
	     one && !found; one = strtok_r(NULL, ",", &more))
		found = strcmp(one, "memory") == 0;
	if (!found)
		return false;
	for (int field = 0; field < 3; field++) /* ids and device number */
		if (!strtok_r(field ? NULL : line, " ", &rest))
			return false;
	*mount_root = strtok_r(NULL, " ", &rest);
	*mount_point = strtok_r(NULL, " ", &rest);
	if (!*mount_root || !*mount_point)
		return false;
	unescape(*mount_root);
	unescape(*mount_point);
	return true;
}

/* The path below the mount: without the mount's root, if it lies under that; else none of it. */
static const char *below_root(const char *path, const char *mount_root)
{
	size_t length = strlen(mount_root);

	if (strcmp(mount_root, "/") == 0)
		return strncmp(path, "/..", 3) == 0 ? "" : path;
	if (strncmp(path, mount_root, length) == 0 && (path[length] == '/' || !path[length]))
		return path + length;
	return "";
}

static uint64_t hierarchy_limit(const char *root, bool second)
{
	struct sysfile_lines lines;
	char path[PATH_MAX], *line, *mount_root, *mount_point;
	uint64_t limit = UNLIMITED;

	if (!own_path(root, second, path, sizeof(path)) ||
	    sysfile_lines_open(&lines, root, "/proc/self/mountinfo"))
		return UNLIMITED;
	while ((line = sysfile_lines_next(&lines)))
		if (parse_mount(line, second, &mount_root, &mount_point))
			limit = least(limit,
				      walk_up(root, mount_point, below_root(path, mount_root),
					      second ? &version2 : &version1));
	sysfile_lines_close(&lines);
	return limit;
}

static uint64_t machine_limit(const char *root)
{
	struct sysfile_lines lines;
	uint64_t total = UNLIMITED, available = UNLIMITED;
	char *line;

	if (sysfile_lines_open(&lines, root, "/proc/meminfo") == 0) {
		while ((line = sysfile_lines_next(&lines))) {
			if (strncmp(line, "MemTotal:", 9) == 0)
				total = strtoull(line + 9, NULL, 10) << 10;
			else if (strncmp(line, "MemAvailable:", 13) == 0)
				available = strtoull(line + 13, NULL, 10) << 10;
		}
		sysfile_lines_close(&lines);
	}
	if (total == UNLIMITED)
		total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	return least(total, available);
}

uint64_t memory_limit_under(const char *root)
{
	uint64_t limit = machine_limit(root);

	limit = least(limit, hierarchy_limit(root, false));
	return least(limit, hierarchy_limit(root, true));
}

uint64_t memory_limit(void)
{
	return memory_limit_under("");
}
