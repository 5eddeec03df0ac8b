/* SPDX-License-Identifier: Apache-2.0 */
/* See sysfile.h. */
#include "alloc/sysfile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_under(const char *root, const char *path)
{
	char full[PATH_MAX];
	int n = snprintf(full, sizeof(full), "%s%s", root, path);

	if (n < 0 || (size_t)n >= sizeof(full))
		return -ENAMETOOLONG;
	/* Not waiting: a tree that somebody saved or made up may hold a pipe. */
	int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
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

/* root and the formatted path in full. 0 or -ENAMETOOLONG. */
__attribute__((format(printf, 3, 0))) static int path_of(char full[PATH_MAX], const char *root,
							 const char *format, va_list arguments)
{
	int n = snprintf(full, PATH_MAX, "%s", root);

	if (n < 0 || n >= PATH_MAX)
		return -ENAMETOOLONG;
	int m = vsnprintf(full + n, (size_t)(PATH_MAX - n), format, arguments);
	return m < 0 || m >= PATH_MAX - n ? -ENAMETOOLONG : 0;
}

/* Cuts text to its first line without spaces around it. */
static int tidy(char *text)
{
	char *from = text;
	size_t len = strcspn(text, "\n");

	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	text[len] = '\0';
	while (isspace((unsigned char)*from))
		from++;
	len -= (size_t)(from - text);
	memmove(text, from, len + 1);
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
	return (int)len;
}

int sysfile_word(const char *root, char *text, size_t capacity, const char *format, ...)
{
	char full[PATH_MAX];
	va_list arguments;

	text[0] = '\0';
	va_start(arguments, format);
	int rc = path_of(full, root, format, arguments);
	va_end(arguments);
	if (!rc)
		rc = sysfile_read("", full, text, capacity);
	return rc < 0 ? rc : tidy(text);
}

int sysfile_number(const char *root, uint64_t *number, const char *format, ...)
{
	char full[PATH_MAX], text[64], *end;
	va_list arguments;

	*number = 0;
	va_start(arguments, format);
	int rc = path_of(full, root, format, arguments);
	va_end(arguments);
	if (!rc)
		rc = sysfile_read("", full, text, sizeof(text));
	if (rc < 0)
		return rc;
	tidy(text);
	int hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hexadecimal ? text + 2 : text;
	if (!isxdigit((unsigned char)*digits))
		return -EINVAL;
	errno = 0;
	unsigned long long value = strtoull(digits, &end, hexadecimal ? 16 : 10);
	if (*end || end == digits)
		return -EINVAL;
	if (errno == ERANGE)
		return -ERANGE;
	*number = value;
	return 0;
}

int sysfile_link(const char *root, char *text, size_t capacity, const char *format, ...)
{
	char full[PATH_MAX];
	va_list arguments;

	text[0] = '\0';
	va_start(arguments, format);
	int rc = path_of(full, root, format, arguments);
	va_end(arguments);
	if (rc)
		return rc;
	ssize_t n = readlink(full, text, capacity);
	if (n < 0 || (size_t)n >= capacity) {
		rc = n < 0 ? -errno : -ENAMETOOLONG;
		text[0] = '\0';
		return rc;
	}
	text[n] = '\0';
	return tidy(text);
}

static int by_number(const void *a, const void *b)
{
	return strverscmp(a, b);
}

static int name_plain(const char *name)
{
	return strlen(name) < SYSFILE_NAME &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				 "._:-")] == '\0';
}

int sysfile_list(const char *root, const char *prefix, char (*names)[SYSFILE_NAME], int max,
		 const char *format, ...)
{
	char full[PATH_MAX];
	size_t begins = strlen(prefix);
	int found = 0, kept = 0;
	va_list arguments;

	va_start(arguments, format);
	int rc = path_of(full, root, format, arguments);
	va_end(arguments);
	if (rc)
		return rc;
	DIR *folder = opendir(full);
	if (!folder)
		return -errno;
	for (int seen = 0; seen < SYSFILE_ENTRIES; seen++) {
		const struct dirent *entry = readdir(folder);
		if (!entry)
			break;
		if (strncmp(entry->d_name, prefix, begins) != 0 ||
		    !isdigit((unsigned char)entry->d_name[begins]))
			continue;
		found++;
		if (kept < max && name_plain(entry->d_name))
			strcpy(names[kept++], entry->d_name);
	}
	closedir(folder);
	qsort(names, (size_t)kept, SYSFILE_NAME, by_number);
	for (int i = kept; i < max; i++)
		names[i][0] = '\0';
	return found;
}

const char *sysfile_why(int rc)
{
	switch (-rc) {
	case EINVAL:
		return "not a number";
	case ERANGE:
		return "a number beyond reason";
	default:
		return strerrordesc_np(-rc) ? strerrordesc_np(-rc) : "unreadable";
	}
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
