/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the small text files of /proc and /sys without allocating. Every call takes a root that
 * is put before the path ("" for the real files), so that tests bring a tree of their own.
 */
#ifndef ALLOC_SYSFILE_H
#define ALLOC_SYSFILE_H

#include <stddef.h>
#include <stdint.h>

/* Reads up to capacity - 1 bytes of root/path into text and ends them with NUL. Their number, or a
 * negative errno (text is then ""). */
int sysfile_read(const char *root, const char *path, char *text, size_t capacity);

/* What follows formats the path itself. All answer a negative errno when it fails. */

/* The first line, without the spaces around it; bytes that are not printable ASCII become '?'. Its
 * length. */
__attribute__((format(printf, 4, 5))) int sysfile_word(const char *root, char *text,
						       size_t capacity, const char *format, ...);
/* A whole number, decimal or hexadecimal after "0x", alone in the file. -EINVAL, -ERANGE. */
__attribute__((format(printf, 3, 4))) int sysfile_number(const char *root, uint64_t *number,
							 const char *format, ...);
/* What a link says, not followed. Its length. */
__attribute__((format(printf, 4, 5))) int sysfile_link(const char *root, char *text,
						       size_t capacity, const char *format, ...);

#define SYSFILE_NAME 32       /* bytes of a name in a folder, with its NUL */
#define SYSFILE_ENTRIES 16384 /* of a folder that are looked at */
/* The names in a folder that are prefix and then a digit, in natural order (dax0.2 before dax0.10),
 * at most max of them. Their number, which may be more than max; names too long or with characters
 * that no kernel uses are counted and left out. */
__attribute__((format(printf, 5, 6))) int sysfile_list(const char *root, const char *prefix,
						       char (*names)[SYSFILE_NAME], int max,
						       const char *format, ...);
/* Words for the errno that one of these answered. */
const char *sysfile_why(int rc);

/* Line by line. A line longer than the buffer is cut, the rest of it skipped. */
struct sysfile_lines {
	int fd;
	uint32_t begin, end; /* the bytes of buffer that are not given out yet */
	uint32_t cut;        /* the line given out last goes on in the file: skip that */
	char buffer[8192];
};
int sysfile_lines_open(struct sysfile_lines *lines, const char *root, const char *path);
/* The next line without its newline, valid until the next call; NULL at the end. */
char *sysfile_lines_next(struct sysfile_lines *lines);
void sysfile_lines_close(struct sysfile_lines *lines);

#endif
