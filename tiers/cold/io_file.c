/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file layer: what the system calls leave to be done by hand (EINTR, short transfers, O_DIRECT
 * that is refused, syncs that failed) is done here once, above the table of operations, so that a
 * filling that injects faults exercises it.
 */
#include "tiers/cold/io.h"

#include "alloc/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define PIECES_MAX 64

static void name_set(struct file *file, const char *path)
{
	size_t length = strlen(path);
	if (length < sizeof(file->name))
		memcpy(file->name, path, length + 1);
	else
		snprintf(file->name, sizeof(file->name), "...%s",
			 path + length - (sizeof(file->name) - 4));
}

static void file_clear(struct file *file, const struct file_ops *ops, const char *path)
{
	memset(file, 0, sizeof(*file));
	file->ops = ops;
	file->fd = -1;
	file->align = 1;
	atomic_init(&file->failed, 0);
	name_set(file, path);
}

static int open_retry(const struct file_ops *ops, int dir_fd, const char *name, int flags,
		      mode_t mode)
{
	int fd;
	do
		fd = ops->open(ops, dir_fd, name, flags | O_CLOEXEC | O_NOCTTY, mode);
	while (fd == -EINTR);
	return fd;
}

static int sync_retry(const struct file_ops *ops, int fd,
		      int (*sync)(const struct file_ops *ops, int fd))
{
	int rc;
	do
		rc = sync(ops, fd);
	while (rc == -EINTR);
	return rc;
}

int file_open_dir(const struct file_ops *ops, const char *path, struct file *dir)
{
	file_clear(dir, ops, path);
	int fd = open_retry(ops, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	dir->fd = fd;
	return 0;
}

int file_make_dir(const struct file_ops *ops, const char *path)
{
	char parent[PATH_MAX];
	size_t length = strlen(path);
	while (length > 1 && path[length - 1] == '/')
		length--;
	if (length == 0)
		return -ENOENT;
	if (length >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, path, length);
	parent[length] = 0;
	char *slash = strrchr(parent, '/');
	const char *leaf = slash ? slash + 1 : parent;
	const char *above = slash == parent ? "/" : slash ? parent : ".";
	if (*leaf == 0)
		return -EEXIST; /* the root */
	char name[NAME_MAX + 1];
	if (strlen(leaf) > NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(name, leaf);
	if (slash && slash != parent)
		*slash = 0;
	int fd = open_retry(ops, AT_FDCWD, above, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	int rc = ops->mkdir(ops, fd, name, 0700);
	if (rc == 0)
		rc = sync_retry(ops, fd, ops->sync);
	ops->close(ops, fd);
	return rc;
}

/* Finds out how direct transfers must be aligned; reopens buffered if they turn out impossible. */
static int direct_settle(const struct file *dir, const char *name, int flags, struct file *file)
{
	struct file_stat stat;
	int rc = file->ops->stat(file->ops, file->fd, &stat);
	if (rc == 0 && stat.direct_align > 0 && stat.direct_align <= FILE_ALIGN) {
		file->align = stat.direct_align;
		return 0;
	}
	file->ops->close(file->ops, file->fd);
	file->fd = -1;
	file->direct = false;
	if (rc)
		return rc;
	/* The name exists by now, whether we made it or not. */
	int fd = open_retry(dir->ops, dir->fd, name, flags & ~(O_DIRECT | O_CREAT | O_EXCL), 0);
	if (fd < 0)
		return fd;
	file->fd = fd;
	file->direct_refused = true;
	return 0;
}

int file_open(const struct file *dir, const char *name, unsigned flags, struct file *file)
{
	check(dir->fd >= 0);
	file_clear(file, dir->ops, name);
	int os = O_NOFOLLOW | (flags & FILE_WRITE ? O_RDWR : O_RDONLY);
	if (flags & FILE_CREATE)
		os |= O_CREAT | O_EXCL;
	else if (flags & FILE_EXISTING_OR_NEW)
		os |= O_CREAT;
	if (flags & FILE_DIRECT) {
		os |= O_DIRECT;
		file->direct = true;
	}
	int fd = open_retry(dir->ops, dir->fd, name, os, 0600);
	if (fd == -EINVAL && file->direct) {
		/* Some file systems create the file before they refuse O_DIRECT. */
		os &= ~O_DIRECT;
		file->direct = false;
		file->direct_refused = true;
		fd = open_retry(dir->ops, dir->fd, name, os, 0600);
		if (fd == -EEXIST && flags & FILE_CREATE)
			fd = open_retry(dir->ops, dir->fd, name, os & ~(O_CREAT | O_EXCL), 0);
	}
	if (fd < 0) {
		file->direct = file->direct_refused = false;
		return fd;
	}
	file->fd = fd;
	return file->direct ? direct_settle(dir, name, os, file) : 0;
}

void file_close(struct file *file)
{
	if (file->fd < 0)
		return;
	/* After EINTR Linux has closed it all the same: never again. */
	file->ops->close(file->ops, file->fd);
	file->fd = -1;
}

int file_read(const struct file *file, void *to, size_t bytes, uint64_t offset)
{
	check(file->fd >= 0);
	char *at = to;
	while (bytes > 0) {
		ssize_t got = file->ops->pread(file->ops, file->fd, at, bytes, offset);
		if (got == -EINTR)
			continue;
		if (got < 0)
			return (int)got;
		if (got == 0)
			return -EIO;
		check((size_t)got <= bytes);
		at += got;
		offset += (uint64_t)got;
		bytes -= (size_t)got;
	}
	return 0;
}

int file_write_pieces(struct file *file, const struct iovec *pieces, unsigned n, uint64_t offset)
{
	struct iovec left[PIECES_MAX];
	check(file->fd >= 0 && n <= PIECES_MAX);
	int failed = atomic_load_explicit(&file->failed, memory_order_acquire);
	if (failed)
		return failed;
	memcpy(left, pieces, n * sizeof(*pieces));
	unsigned first = 0;
	for (;;) {
		while (first < n && left[first].iov_len == 0)
			first++;
		if (first == n)
			return 0;
		ssize_t put = file->ops->pwritev(file->ops, file->fd, left + first,
						 (int)(n - first), offset);
		if (put == -EINTR)
			continue;
		if (put < 0)
			return (int)put;
		if (put == 0)
			return -EIO;
		offset += (uint64_t)put;
		for (size_t gone = (size_t)put; gone > 0;) {
			check(first < n);
			size_t take = gone < left[first].iov_len ? gone : left[first].iov_len;
			left[first].iov_base = (char *)left[first].iov_base + take;
			left[first].iov_len -= take;
			gone -= take;
			if (left[first].iov_len == 0)
				first++;
		}
	}
}

int file_write(struct file *file, const void *from, size_t bytes, uint64_t offset)
{
	struct iovec piece = {.iov_base = (void *)(uintptr_t)from, .iov_len = bytes};
	return file_write_pieces(file, &piece, 1, offset);
}

static int sync_once(struct file *file, int (*sync)(const struct file_ops *ops, int fd))
{
	check(file->fd >= 0);
	int failed = atomic_load_explicit(&file->failed, memory_order_acquire);
	if (failed)
		return failed;
	int rc = sync_retry(file->ops, file->fd, sync);
	if (rc < 0) {
		int none = 0;
		atomic_compare_exchange_strong(&file->failed, &none, rc);
	}
	return rc;
}

int file_sync_data(struct file *file)
{
	return sync_once(file, file->ops->datasync);
}

int file_sync(struct file *file)
{
	return sync_once(file, file->ops->sync);
}

int file_rename(const struct file *dir, const char *from, const char *to)
{
	check(dir->fd >= 0);
	return dir->ops->rename(dir->ops, dir->fd, from, to);
}

int file_unlink(const struct file *dir, const char *name)
{
	check(dir->fd >= 0);
	return dir->ops->unlink(dir->ops, dir->fd, name);
}

int file_truncate(struct file *file, uint64_t bytes)
{
	check(file->fd >= 0);
	int rc;
	do
		rc = file->ops->truncate(file->ops, file->fd, bytes);
	while (rc == -EINTR);
	return rc;
}

int file_allocate(struct file *file, uint64_t offset, uint64_t bytes)
{
	check(file->fd >= 0);
	int rc;
	do
		rc = file->ops->allocate(file->ops, file->fd, offset, bytes);
	while (rc == -EINTR);
	return rc;
}

int file_punch(const struct file *dir, const char *name, uint64_t offset, uint64_t bytes)
{
	struct file file;
	int rc = file_open(dir, name, FILE_WRITE, &file);
	if (rc)
		return rc;
	do
		rc = file.ops->punch(file.ops, file.fd, offset, bytes);
	while (rc == -EINTR);
	file_close(&file);
	return rc;
}

int file_list(const struct file *dir, file_list_fn visit, void *context)
{
	check(dir->fd >= 0);
	return dir->ops->list(dir->ops, dir->fd, visit, context);
}

int file_stat(const struct file *file, struct file_stat *stat)
{
	check(file->fd >= 0);
	return file->ops->stat(file->ops, file->fd, stat);
}

int file_lock(struct file *file)
{
	check(file->fd >= 0);
	int rc;
	do
		rc = file->ops->lock(file->ops, file->fd);
	while (rc == -EINTR);
	return rc == -EAGAIN ? -EBUSY : rc;
}

int file_space(const struct file *file, struct file_space *space)
{
	check(file->fd >= 0);
	return file->ops->space(file->ops, file->fd, space);
}
