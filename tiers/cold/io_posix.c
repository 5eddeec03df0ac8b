/* SPDX-License-Identifier: Apache-2.0 */
/* The POSIX filling of the table of file operations: one system call a slot, -errno for errors. */
#include "tiers/cold/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int posix_open(const struct file_ops *ops, int dir_fd, const char *name, int flags,
		      mode_t mode)
{
	(void)ops;
	int fd = openat(dir_fd, name, flags, mode);
	return fd < 0 ? -errno : fd;
}

static int posix_close(const struct file_ops *ops, int fd)
{
	(void)ops;
	return close(fd) ? -errno : 0;
}

static ssize_t posix_pread(const struct file_ops *ops, int fd, void *to, size_t bytes,
			   uint64_t offset)
{
	(void)ops;
	ssize_t got = pread(fd, to, bytes, (off_t)offset);
	return got < 0 ? -errno : got;
}

static ssize_t posix_pwritev(const struct file_ops *ops, int fd, const struct iovec *pieces, int n,
			     uint64_t offset)
{
	(void)ops;
	ssize_t put = pwritev(fd, pieces, n, (off_t)offset);
	return put < 0 ? -errno : put;
}

static int posix_datasync(const struct file_ops *ops, int fd)
{
	(void)ops;
	return fdatasync(fd) ? -errno : 0;
}

static int posix_sync(const struct file_ops *ops, int fd)
{
	(void)ops;
	return fsync(fd) ? -errno : 0;
}

static int posix_rename(const struct file_ops *ops, int dir_fd, const char *from, const char *to)
{
	(void)ops;
	return renameat(dir_fd, from, dir_fd, to) ? -errno : 0;
}

static int posix_unlink(const struct file_ops *ops, int dir_fd, const char *name)
{
	(void)ops;
	return unlinkat(dir_fd, name, 0) ? -errno : 0;
}

static int posix_truncate(const struct file_ops *ops, int fd, uint64_t bytes)
{
	(void)ops;
	return ftruncate(fd, (off_t)bytes) ? -errno : 0;
}

static int posix_allocate(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes)
{
	(void)ops;
	/* Not posix_fallocate: where the file system cannot, that one writes zeros byte by byte. */
	return fallocate(fd, 0, (off_t)offset, (off_t)bytes) ? -errno : 0;
}

static int posix_punch(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes)
{
	(void)ops;
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			 (off_t)bytes)
		       ? -errno
		       : 0;
}

static int posix_mkdir(const struct file_ops *ops, int dir_fd, const char *name, mode_t mode)
{
	(void)ops;
	return mkdirat(dir_fd, name, mode) ? -errno : 0;
}

static int posix_list(const struct file_ops *ops, int dir_fd, file_list_fn visit, void *context)
{
	(void)ops;
	/* A description of our own: the position is not shared with other listings. */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	DIR *stream = fdopendir(fd);
	if (!stream) {
		int error = errno;
		close(fd);
		return -error;
	}
	int rc = 0;
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(stream);
		if (!entry) {
			rc = -errno;
			break;
		}
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		rc = visit(context, entry->d_name);
		if (rc)
			break;
	}
	closedir(stream);
	return rc;
}

/* What the file system says about direct transfers; a kernel that does not say gets FILE_ALIGN. */
static uint32_t direct_align(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx x;
	memset(&x, 0, sizeof(x));
	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 && x.stx_mask & STATX_DIOALIGN)
		return x.stx_dio_mem_align <= FILE_ALIGN ? x.stx_dio_offset_align : 0;
#else
	(void)fd;
#endif
	return FILE_ALIGN;
}

static int posix_stat(const struct file_ops *ops, int fd, struct file_stat *out)
{
	(void)ops;
	struct stat st;
	if (fstat(fd, &st))
		return -errno;
	out->bytes = (uint64_t)st.st_size;
	out->allocated = (uint64_t)st.st_blocks * 512;
	out->directory = S_ISDIR(st.st_mode);
	out->direct_align = out->directory ? 0 : direct_align(fd);
	return 0;
}

static int posix_lock(const struct file_ops *ops, int fd)
{
	(void)ops;
	return flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0;
}

static int posix_space(const struct file_ops *ops, int fd, struct file_space *space)
{
	(void)ops;
	struct statvfs fs;
	if (fstatvfs(fd, &fs))
		return -errno;
	space->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	space->total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	return 0;
}

static ssize_t posix_read_done(const struct file_ops *ops, int fd, void *to, ssize_t result,
			       uint64_t offset)
{
	(void)ops;
	(void)fd;
	(void)to;
	(void)offset;
	return result;
}

const struct file_ops file_ops_posix = {
	.name = "posix",
	.open = posix_open,
	.close = posix_close,
	.pread = posix_pread,
	.pwritev = posix_pwritev,
	.datasync = posix_datasync,
	.sync = posix_sync,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.truncate = posix_truncate,
	.allocate = posix_allocate,
	.punch = posix_punch,
	.mkdir = posix_mkdir,
	.list = posix_list,
	.stat = posix_stat,
	.lock = posix_lock,
	.space = posix_space,
	.read_done = posix_read_done,
};
