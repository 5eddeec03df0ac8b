/* SPDX-License-Identifier: Apache-2.0 */
/* See topology.h. The steps, and the reading that they share. */
#include "cxl/topology.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/nodes.h"
#include "cxl/discover.h"

#define LATENCY_MAX 1000000000u  /* ns; beyond a second it is no memory */
#define BANDWIDTH_MAX 100000000u /* MB/s */

int topology_read(const char *root, struct topology **topology)
{
	struct stat st;

	*topology = NULL;
	if (*root && stat(root, &st))
		return -errno;
	if (*root && !S_ISDIR(st.st_mode))
		return -ENOTDIR;
	struct topology *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	discover_nodes(root, t);
	discover_cxl(root, t);
	discover_nvdimms(root, t);
	discover_dax(root, t);
	discover_mounts(root, t);
	discover_owners(root, t);
	discover_targets(root, t);
	if (t->left_out)
		discover_note(t, "%llu entries are more than this looks at and were left out",
			      (unsigned long long)t->left_out);
	*topology = t;
	return 0;
}

void topology_free(struct topology **topology)
{
	free(*topology);
	*topology = NULL;
}

const char *topology_kind_name(enum topology_kind kind)
{
	static const char *const names[] = {
		"dram",      "node",          "devdax",     "fsdax",      "system-ram",
		"namespace", "nvdimm-region", "cxl-region", "cxl-memdev",
	};

	return names[kind];
}

const char *topology_medium_name(enum topology_medium medium)
{
	static const char *const names[] = {"unknown", "dram", "cxl", "nvdimm"};

	return names[medium];
}

void discover_text(char *text, size_t capacity, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, capacity, format, arguments);
	va_end(arguments);
}

void discover_note(struct topology *t, const char *format, ...)
{
	va_list arguments;

	if (t->n_notes == TOPOLOGY_NOTES_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(t->notes[t->n_notes++], sizeof(t->notes[0]), format, arguments);
	va_end(arguments);
}

int discover_list(const char *root, struct topology *t, const char *folder, const char *prefix,
		  char (*names)[SYSFILE_NAME])
{
	int found = sysfile_list(root, prefix, names, TOPOLOGY_DEVICES_MAX, "%s", folder);
	int kept = 0;

	if (found < 0) {
		if (found != -ENOENT)
			discover_note(t, "%s cannot be read: %s", folder, sysfile_why(found));
		return 0;
	}
	while (kept < TOPOLOGY_DEVICES_MAX && names[kept][0])
		kept++;
	t->left_out += (uint64_t)(found - kept);
	return kept;
}

int discover_present(const char *root, struct topology *t, const char *folder, const char *prefix,
		     char (*names)[SYSFILE_NAME])
{
	char path[PATH_MAX + 256]; /* root was a path that could be opened */
	int n = discover_list(root, t, folder, prefix, names), kept = 0;

	for (int i = 0; i < n; i++) {
		discover_text(path, sizeof(path), "%s%s/%s", root, folder, names[i]);
		if (access(path, F_OK) == 0)
			memmove(names[kept++], names[i], SYSFILE_NAME);
	}
	if (kept < n)
		discover_note(t,
			      "%d of %s/%s* are links to nothing: half removed, or this tree is "
			      "incomplete",
			      n - kept, folder, prefix);
	return kept;
}

void discover_size(const char *root, const char *folder, const char *file, uint64_t *size,
		   char broken[96])
{
	int rc = sysfile_number(root, size, "%s/%s", folder, file);

	if (!rc && *size <= TOPOLOGY_BYTES_MAX)
		return;
	*size = TOPOLOGY_UNKNOWN;
	if (broken && !broken[0])
		discover_text(broken, 96, "%s: %s", file, sysfile_why(rc ? rc : -ERANGE));
}

int discover_node(const char *root, const char *folder, const char *file)
{
	uint64_t node;

	/* "-1" is how sysfs says none: no number for us either. */
	if (sysfile_number(root, &node, "%s/%s", folder, file) || node >= NODES_MAX)
		return -1;
	return (int)node;
}

static uint64_t speed_of(const char *root, const char *folder, const char *file, uint64_t max)
{
	uint64_t value;

	return sysfile_number(root, &value, "%s/%s", folder, file) || value > max ? 0 : value;
}

bool discover_speed(const char *root, const char *folder, struct topology_speed *speed)
{
	speed->read_latency_ns = speed_of(root, folder, "read_latency", LATENCY_MAX);
	speed->write_latency_ns = speed_of(root, folder, "write_latency", LATENCY_MAX);
	speed->read_bandwidth = speed_of(root, folder, "read_bandwidth", BANDWIDTH_MAX) * 1000000;
	speed->write_bandwidth = speed_of(root, folder, "write_bandwidth", BANDWIDTH_MAX) * 1000000;
	return speed->read_latency_ns || speed->read_bandwidth;
}

void discover_component(const char *path, const char *prefix, char name[SYSFILE_NAME])
{
	size_t begins = strlen(prefix);

	name[0] = '\0';
	while (*path) {
		size_t len = strcspn(path, "/");
		if (len < SYSFILE_NAME && strncmp(path, prefix, begins) == 0 &&
		    isdigit((unsigned char)path[begins])) {
			memcpy(name, path, len);
			name[len] = '\0';
			return;
		}
		path += len;
		path += strspn(path, "/");
	}
}

void discover_link_name(const char *root, const char *link, int up, char name[SYSFILE_NAME])
{
	char text[1024];

	name[0] = '\0';
	if (sysfile_link(root, text, sizeof(text), "%s", link) < 0)
		return;
	for (char *slash; up > 0 && (slash = strrchr(text, '/')); up--)
		*slash = '\0';
	const char *last = strrchr(text, '/');
	discover_text(name, SYSFILE_NAME, "%.*s", SYSFILE_NAME - 1, last ? last + 1 : text);
}

void discover_add_word(char *list, size_t capacity, const char *word)
{
	size_t used = strlen(list), len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += len)
		if ((at == list || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
			return;
	if (!len || (used >= 3 && strcmp(list + used - 3, "...") == 0))
		return;
	if (used + len + 6 > capacity) /* a space, the word, " ..." and NUL */
		word = "...";
	discover_text(list + used, capacity - used, "%s%s", used ? " " : "", word);
}

struct topology_node *discover_online(struct topology *t, int node)
{
	for (int i = 0; i < t->n_nodes; i++)
		if (t->nodes[i].id == node)
			return &t->nodes[i];
	return NULL;
}
