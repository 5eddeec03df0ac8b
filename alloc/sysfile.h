/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the small text files of /proc and /sys without allocating. Every call takes a root that is
 * put before the path ("" for the real files), so that tests bring a tree of their own.
 */
#ifndef ALLOC_SYSFILE_H
#define ALLOC_SYSFILE_H

#include <stddef.h>
#include <stdint.h>

/* Reads up to capacity - 1 bytes of root/path into text and ends them with NUL. Their number, or a
 * negative errno (text is then ""). */
int sysfile_read(const char *root, const char *path, char *text, size_t capacity);

/* Line by line. A line longer than the buffer is cut, the rest of it skipped. */
struct sysfile_lines {
	int fd;
	uint32_t begin, end; /* the bytes of buffer that are not given out yet */
	uint32_t cut; /* the line given out last goes on in the file: skip that */
	char buffer[8192];
};
int sysfile_lines_open(struct sysfile_lines *lines, const char *root, const char *path);
/* The next line without its newline, valid until the next call; NULL at the end. */
char *sysfile_lines_next(struct sysfile_lines *lines);
void sysfile_lines_close(struct sysfile_lines *lines);

#endif
