/* SPDX-License-Identifier: Apache-2.0 */
/* See tree.h. */
#include "tests/cxl/tree.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FULL_MAX (2 * PATH_MAX)

/* root/path in full, its folders made. */
static void full_path(char full[FULL_MAX], const char *root, const char *path)
{
	size_t begins = strlen(root);

	snprintf(full, FULL_MAX, "%s%s", root, path);
	for (char *slash = strchr(full + begins + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	(void)remove(path);
	return 0;
}

static void clear(char full[FULL_MAX], const char *root, const char *path)
{
	full_path(full, root, path);
	tree_remove(full);
}

void tree_remove(const char *root)
{
	struct stat st;

	if (lstat(root, &st) == 0 && S_ISDIR(st.st_mode))
		nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	else
		unlink(root);
}

static void write_file(const char *full, const char *content, size_t len)
{
	int fd = open(full, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return;
	if (write(fd, content, len) < 0)
		perror(full);
	close(fd);
}

void tree_put(const char *root, const char *path, const char *content)
{
	char full[FULL_MAX];

	clear(full, root, path);
	if (content)
		write_file(full, content, strlen(content));
}

void tree_link(const char *root, const char *path, const char *target)
{
	char full[FULL_MAX];

	clear(full, root, path);
	(void)!symlink(target, full);
}

void tree_folder(const char *root, const char *path)
{
	char full[FULL_MAX];

	clear(full, root, path);
	mkdir(full, 0700);
}

void tree_pipe(const char *root, const char *path)
{
	char full[FULL_MAX];

	clear(full, root, path);
	(void)mkfifo(full, 0600); /* not where a file was put in place of a folder */
}

/* Is it a path of plain components, none of them ".."? */
static bool path_plain(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && path[1] && len < 512 && !strstr(path, "/../") &&
	       !strstr(path, "//") && (len < 3 || strcmp(path + len - 3, "/..") != 0);
}

/* Does a relative link from here stay under root? */
static bool link_inside(const char *path, const char *target)
{
	int depth = -1;

	for (; *path; path++)
		depth += *path == '/';
	if (*target == '/' || !*target)
		return false;
	for (const char *at = target; *at; at += strspn(at, "/")) {
		size_t len = strcspn(at, "/");
		depth += len == 2 && at[0] == '.' && at[1] == '.' ? -1 : 1;
		if (depth < 0)
			return false;
		at += len;
	}
	return true;
}

/* "\n" and "\\" become what they stand for. In place; the new length. */
static size_t unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++) {
		if (at[0] == '\\' && (at[1] == 'n' || at[1] == '\\'))
			*to++ = *++at == 'n' ? '\n' : '\\';
		else
			*to++ = *at;
	}
	*to = '\0';
	return (size_t)(to - text);
}

bool tree_make(const char *root, const char *line, size_t len)
{
	char copy[8192], full[FULL_MAX];

	if (len < 4 || len >= sizeof(copy) || line[1] != ' ')
		return false;
	memcpy(copy, line, len);
	copy[len] = '\0';
	char *path = copy + 2, *rest = strchr(path, ' ');
	if (rest)
		*rest++ = '\0';
	if (!path_plain(path) || strlen(root) + strlen(path) >= PATH_MAX)
		return false;
	full_path(full, root, path);
	if (copy[0] == 'd')
		return mkdir(full, 0700) == 0;
	if (copy[0] == 'l' && rest)
		return link_inside(path, rest) && symlink(rest, full) == 0;
	if (copy[0] != 'f' || !rest)
		return false;
	write_file(full, rest, unescape(rest));
	return true;
}

int tree_unpack(const char *root, const char *text, size_t len)
{
	int made = 0;

	for (int n = 0; len && n < TREE_ENTRIES_MAX; n++) {
		const char *newline = memchr(text, '\n', len);
		size_t line = newline ? (size_t)(newline - text) : len;
		made += tree_make(root, text, line);
		line += newline != NULL;
		text += line;
		len -= line;
	}
	return made;
}

static bool printable(const char *text, size_t capacity)
{
	size_t len = strnlen(text, capacity);

	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return len < capacity;
}
#define PRINTABLE(field) printable(field, sizeof(field))

static const char *target_insane(const struct topology_target *target)
{
	if (!PRINTABLE(target->device) || !PRINTABLE(target->warm) || !PRINTABLE(target->reason) ||
	    !PRINTABLE(target->note))
		return "a target's text is cut wrongly or not printable";
	if (target->usable != !target->reason[0])
		return "a reason and usable do not fit";
	/* The machine as a whole, where there are no nodes, is no spec of its own. */
	bool whole = target->kind == TOPOLOGY_DRAM && target->node < 0;
	if (!whole && target->usable != (target->warm[0] != '\0'))
		return "usable without warm=, or the reverse";
	if (target->usable && !whole &&
	    (target->size == 0 || target->size == TOPOLOGY_UNKNOWN ||
	     target->kind > TOPOLOGY_FSDAX))
		return "usable, but what is it?";
	if (target->size != TOPOLOGY_UNKNOWN && target->size > TOPOLOGY_BYTES_MAX)
		return "a size beyond reason";
	return target->node < -1 || target->node >= 1024 ? "a node beyond reason" : NULL;
}

const char *topology_insane(const struct topology *t)
{
	const char *wrong = NULL;
	int lists[] = {t->n_memdevs, t->n_windows,    t->n_regions,    t->n_dax,
		       t->n_dimms,   t->n_nd_regions, t->n_namespaces, t->n_nodes};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (lists[i] < 0 || lists[i] > TOPOLOGY_DEVICES_MAX)
			return "a list is too long";
	if (t->n_targets > TOPOLOGY_TARGETS_MAX || t->n_notes > TOPOLOGY_NOTES_MAX)
		return "too many targets or notes";
	for (int i = 0; i < t->n_targets && !wrong; i++)
		wrong = target_insane(&t->targets[i]);
	for (int i = 0; i < t->n_notes && !wrong; i++)
		wrong = PRINTABLE(t->notes[i]) && t->notes[i][0] ? NULL : "a note";
	for (int i = 0; i < t->n_nodes && !wrong; i++)
		wrong = PRINTABLE(t->nodes[i].cpus) && PRINTABLE(t->nodes[i].devices) ? NULL
										      : "a node";
	for (int i = 0; i < t->n_dax && !wrong; i++)
		wrong = PRINTABLE(t->dax[i].driver) && PRINTABLE(t->dax[i].broken) ? NULL
										   : "a dax device";
	for (int i = 0; i < t->n_namespaces && !wrong; i++)
		wrong = PRINTABLE(t->namespaces[i].mode) && PRINTABLE(t->namespaces[i].mount)
				? NULL
				: "a namespace";
	return wrong;
}
