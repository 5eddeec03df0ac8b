/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for one test case, under $TMPDIR or /tmp. Files in it (no directories) go with it. */
#ifndef TESTS_COLD_SCRATCH_H
#define TESTS_COLD_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scratch {
	char path[256];
};

static inline void scratch_open_in(struct scratch *scratch, const char *parent)
{
	snprintf(scratch->path, sizeof(scratch->path), "%s/thermo-test-XXXXXX", parent);
	if (!mkdtemp(scratch->path)) {
		perror(scratch->path);
		exit(1);
	}
}

static inline void scratch_open(struct scratch *scratch)
{
	const char *parent = getenv("TMPDIR");
	scratch_open_in(scratch, parent && *parent ? parent : "/tmp");
}

static inline void scratch_close(struct scratch *scratch)
{
	DIR *dir = opendir(scratch->path);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(scratch->path);
}

#endif
