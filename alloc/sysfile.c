/* SPDX-License-Identifier: Apache-2.0 */
/* See sysfile.h. */
#include "alloc/sysfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_under(const char *root, const char *path)
{
	char full[PATH_MAX];
	int n = snprintf(full, sizeof(full), "%s%s", root, path);

	if (n < 0 || (size_t)n >= sizeof(full))
		return -ENAMETOOLONG;
	int fd = open(full, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static ssize_t read_some(int fd, char *to, size_t capacity)
{
	ssize_t n;

	do {
		n = read(fd, to, capacity);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int sysfile_read(const char *root, const char *path, char *text, size_t capacity)
{
	size_t got = 0;
	ssize_t n = 0;

	text[0] = '\0';
	int fd = open_under(root, path);
	if (fd < 0)
		return fd;
	while (got < capacity - 1 && (n = read_some(fd, text + got, capacity - 1 - got)) > 0)
		got += (size_t)n;
	close(fd);
	if (n < 0)
		got = 0;
	text[got] = '\0';
	return n < 0 ? (int)n : (int)got;
}

int sysfile_lines_open(struct sysfile_lines *lines, const char *root, const char *path)
{
	lines->begin = lines->end = lines->cut = 0;
	lines->fd = open_under(root, path);
	return lines->fd < 0 ? lines->fd : 0;
}

/* Reads more behind what is there; 0 at the end of the file or when the buffer is full. */
static int fill(struct sysfile_lines *lines)
{
	memmove(lines->buffer, lines->buffer + lines->begin, lines->end - lines->begin);
	lines->end -= lines->begin;
	lines->begin = 0;
	size_t room = sizeof(lines->buffer) - 1 - lines->end;
	ssize_t n = room ? read_some(lines->fd, lines->buffer + lines->end, room) : 0;
	if (n > 0)
		lines->end += (uint32_t)n;
	return n > 0;
}

/* Drops bytes up to and with the next newline. */
static void skip_rest(struct sysfile_lines *lines)
{
	do {
		char *from = lines->buffer + lines->begin;
		char *newline = memchr(from, '\n', lines->end - lines->begin);
		if (newline) {
			lines->begin = (uint32_t)(newline + 1 - lines->buffer);
			return;
		}
		lines->begin = lines->end;
	} while (fill(lines));
}

char *sysfile_lines_next(struct sysfile_lines *lines)
{
	char *newline;

	if (lines->cut)
		skip_rest(lines);
	lines->cut = 0;
	while (!(newline = memchr(lines->buffer + lines->begin, '\n', lines->end - lines->begin)))
		if (!fill(lines))
			break;
	char *line = lines->buffer + lines->begin;
	if (newline) {
		*newline = '\0';
		lines->begin = (uint32_t)(newline + 1 - lines->buffer);
		return line;
	}
	if (lines->begin == lines->end)
		return NULL;
	line[lines->end - lines->begin] = '\0';
	if (lines->end < sizeof(lines->buffer) - 1) { /* the last line, without a newline */
		lines->begin = lines->end;
		return line;
	}
	lines->begin = lines->end; /* the buffer is full of one line: what follows is dropped */
	lines->cut = 1;
	return line;
}

void sysfile_lines_close(struct sysfile_lines *lines)
{
	close(lines->fd);
	lines->fd = -1;
}
