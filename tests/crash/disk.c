/* SPDX-License-Identifier: Apache-2.0 */
/* The disk in memory as a filling of the table of file operations, and the record of what it is told. */
#include "tests/crash/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FD_FIRST 100000 /* no descriptor of the process */

const char *const disk_kind_names[DISK_KINDS] = {"create",   "write",  "truncate", "allocate",
						 "punch",    "rename", "unlink",   "sync",
						 "directory sync"};

static struct disk *disk_of(const struct file_ops *ops)
{
	return (struct disk *)(uintptr_t)ops; /* ops is its first member */
}

/* ---- The record ---- */

/* Does it, and keeps it when there is a record. data is copied. Under the lock. */
static void change(struct disk *disk, struct disk_op op, const struct iovec *pieces, int n)
{
	if (op.kind == DISK_WRITE) {
		op.data = malloc(op.bytes + 1);
		uint64_t at = 0;
		for (int i = 0; i < n && op.data; i++) {
			memcpy(op.data + at, pieces[i].iov_base, pieces[i].iov_len);
			at += pieces[i].iov_len;
		}
	}
	disk_apply(&disk->image, &op, TEAR_NONE, 0);
	struct disk_record *record = disk->record;
	if (!record) {
		free(op.data);
		return;
	}
	if (record->n == record->room) {
		record->room = record->room ? 2 * record->room : 256;
		record->ops = realloc(record->ops, record->room * sizeof(record->ops[0]));
		if (!record->ops)
			abort();
	}
	record->ops[record->n++] = op;
}

void disk_record_begin(struct disk *disk, struct disk_record *record)
{
	record->ops = NULL;
	record->n = record->room = 0;
	disk_image_copy(&record->before, &disk->image);
	disk->record = record;
}

void disk_record_end(struct disk *disk)
{
	disk->record = NULL;
}

void disk_record_free(struct disk_record *record)
{
	for (size_t i = 0; i < record->n; i++)
		free(record->ops[i].data);
	free(record->ops);
	disk_image_clear(&record->before);
}

/* ---- Names and descriptors ---- */

static const char *name_of(const struct disk *disk, uint32_t number)
{
	for (uint32_t i = 0; i < disk->image.n_names; i++)
		if (disk->image.names[i].number == number)
			return disk->image.names[i].name;
	return "";
}

static const struct disk_name *lookup(const struct disk *disk, const char *name)
{
	for (uint32_t i = 0; i < disk->image.n_names; i++)
		if (!strcmp(disk->image.names[i].name, name))
			return &disk->image.names[i];
	return NULL;
}

static struct disk_op op_make(const struct disk *disk, enum disk_kind kind, uint32_t number)
{
	struct disk_op op = {.kind = kind, .number = number};
	strcpy(op.name, name_of(disk, number));
	return op;
}

static int fd_new(struct disk *disk)
{
	for (unsigned i = 0; i < DISK_FDS; i++) {
		if (disk->fds[i].used)
			continue;
		memset(&disk->fds[i], 0, sizeof(disk->fds[i]));
		disk->fds[i].used = true;
		return (int)i;
	}
	return -EMFILE;
}

static struct disk_inode *fd_inode(struct disk *disk, int fd)
{
	for (uint32_t i = 0; i < disk->image.n_files; i++)
		if (disk->image.files[i].number == disk->fds[fd - FD_FIRST].number)
			return disk->image.files[i].inode;
	abort();
}

static bool fd_holds(void *context, uint32_t number)
{
	struct disk *disk = context;
	for (unsigned i = 0; i < DISK_FDS; i++)
		if (disk->fds[i].used && !disk->fds[i].directory && disk->fds[i].number == number)
			return true;
	return false;
}

static int open_name(struct disk *disk, const char *name, int flags)
{
	if (strlen(name) >= DISK_NAME_BYTES)
		return -ENAMETOOLONG;
	const struct disk_name *found = lookup(disk, name);
	uint32_t number = found ? found->number : 0;
	if (!found && !(flags & O_CREAT))
		return -ENOENT;
	if (found && flags & O_EXCL)
		return -EEXIST;
	int fd = fd_new(disk);
	if (fd < 0)
		return fd;
	if (!found) {
		struct disk_op op = {.kind = DISK_CREATE, .number = ++disk->next_number};
		strcpy(op.name, name);
		number = op.number;
		change(disk, op, NULL, 0);
	}
	disk->fds[fd].number = number;
	disk->fds[fd].direct = (flags & O_DIRECT) != 0;
	return fd + FD_FIRST;
}

static int memory_open(const struct file_ops *ops, int dir_fd, const char *name, int flags,
		       mode_t mode)
{
	struct disk *disk = disk_of(ops);
	int fd;
	(void)mode;
	pthread_mutex_lock(&disk->lock);
	if (dir_fd == AT_FDCWD) {
		fd = fd_new(disk);
		if (fd >= 0)
			disk->fds[fd].directory = true;
		fd = fd < 0 ? fd : fd + FD_FIRST;
	} else {
		fd = open_name(disk, name, flags);
	}
	pthread_mutex_unlock(&disk->lock);
	return fd;
}

static int memory_close(const struct file_ops *ops, int fd)
{
	struct disk *disk = disk_of(ops);
	pthread_mutex_lock(&disk->lock);
	disk->fds[fd - FD_FIRST].used = false;
	disk_image_collect(&disk->image, fd_holds, disk);
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

/* ---- Bytes ---- */

/* What O_DIRECT asks for: a caller that forgets it fails here as it does on a real disk. */
static bool misaligned(const struct disk *disk, int fd, const void *memory, uint64_t a, uint64_t b)
{
	return disk->fds[fd - FD_FIRST].direct && (((uintptr_t)memory | a | b) & 511);
}

static ssize_t memory_pread(const struct file_ops *ops, int fd, void *to, size_t bytes,
			    uint64_t offset)
{
	struct disk *disk = disk_of(ops);
	ssize_t got = -EINVAL;
	pthread_mutex_lock(&disk->lock);
	struct disk_inode *inode = fd_inode(disk, fd);
	if (!misaligned(disk, fd, to, bytes, offset)) {
		uint64_t left = offset < inode->bytes ? inode->bytes - offset : 0;
		got = (ssize_t)(bytes < left ? bytes : left);
	}
	for (ssize_t at = 0; at < got;) {
		uint64_t skip = (offset + (uint64_t)at) % DISK_PAGE;
		const struct disk_page *page = inode->page[(offset + (uint64_t)at) / DISK_PAGE];
		ssize_t n = (ssize_t)(DISK_PAGE - skip) < got - at ? (ssize_t)(DISK_PAGE - skip)
								   : got - at;
		if (page)
			memcpy((char *)to + at, page->bytes + skip, (size_t)n);
		else
			memset((char *)to + at, 0, (size_t)n);
		at += n;
	}
	pthread_mutex_unlock(&disk->lock);
	return got;
}

static ssize_t memory_pwritev(const struct file_ops *ops, int fd, const struct iovec *pieces, int n,
			      uint64_t offset)
{
	struct disk *disk = disk_of(ops);
	uint64_t bytes = 0;
	bool bad = false;
	pthread_mutex_lock(&disk->lock);
	for (int i = 0; i < n; i++) {
		bad |= misaligned(disk, fd, pieces[i].iov_base, pieces[i].iov_len, offset);
		bytes += pieces[i].iov_len;
	}
	if (!bad) {
		struct disk_op op = op_make(disk, DISK_WRITE, disk->fds[fd - FD_FIRST].number);
		op.offset = offset;
		op.bytes = bytes;
		change(disk, op, pieces, n);
	}
	pthread_mutex_unlock(&disk->lock);
	return bad ? -EINVAL : (ssize_t)bytes;
}

static int memory_sync(const struct file_ops *ops, int fd)
{
	struct disk *disk = disk_of(ops);
	pthread_mutex_lock(&disk->lock);
	bool directory = disk->fds[fd - FD_FIRST].directory;
	change(disk, op_make(disk, directory ? DISK_SYNC_DIR : DISK_SYNC,
			     disk->fds[fd - FD_FIRST].number), NULL, 0);
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

static int range(const struct file_ops *ops, int fd, enum disk_kind kind, uint64_t offset,
		 uint64_t bytes)
{
	struct disk *disk = disk_of(ops);
	pthread_mutex_lock(&disk->lock);
	struct disk_op op = op_make(disk, kind, disk->fds[fd - FD_FIRST].number);
	op.offset = offset;
	op.bytes = bytes;
	change(disk, op, NULL, 0);
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

static int memory_truncate(const struct file_ops *ops, int fd, uint64_t bytes)
{
	return range(ops, fd, DISK_TRUNCATE, 0, bytes);
}

static int memory_allocate(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes)
{
	return range(ops, fd, DISK_ALLOCATE, offset, bytes);
}

static int memory_punch(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes)
{
	return range(ops, fd, DISK_PUNCH, offset, bytes);
}

/* ---- The directory ---- */

static int memory_rename(const struct file_ops *ops, int dir_fd, const char *from, const char *to)
{
	struct disk *disk = disk_of(ops);
	(void)dir_fd;
	pthread_mutex_lock(&disk->lock);
	const struct disk_name *found = lookup(disk, from);
	if (found) {
		struct disk_op op = {.kind = DISK_RENAME, .number = found->number};
		strcpy(op.name, from);
		strcpy(op.to, to);
		change(disk, op, NULL, 0);
		disk_image_collect(&disk->image, fd_holds, disk);
	}
	pthread_mutex_unlock(&disk->lock);
	return found ? 0 : -ENOENT;
}

static int memory_unlink(const struct file_ops *ops, int dir_fd, const char *name)
{
	struct disk *disk = disk_of(ops);
	(void)dir_fd;
	pthread_mutex_lock(&disk->lock);
	const struct disk_name *found = lookup(disk, name);
	if (found) {
		change(disk, op_make(disk, DISK_UNLINK, found->number), NULL, 0);
		disk_image_collect(&disk->image, fd_holds, disk);
	}
	pthread_mutex_unlock(&disk->lock);
	return found ? 0 : -ENOENT;
}

static int memory_mkdir(const struct file_ops *ops, int dir_fd, const char *name, mode_t mode)
{
	(void)ops;
	(void)dir_fd;
	(void)name;
	(void)mode;
	return -EEXIST;
}

static int memory_list(const struct file_ops *ops, int dir_fd, file_list_fn visit, void *context)
{
	struct disk *disk = disk_of(ops);
	(void)dir_fd;
	pthread_mutex_lock(&disk->lock);
	uint32_t n = disk->image.n_names;
	struct disk_name *names = malloc((n + 1) * sizeof(*names));
	if (!names)
		abort();
	memcpy(names, disk->image.names, n * sizeof(*names));
	pthread_mutex_unlock(&disk->lock);
	int rc = 0;
	for (uint32_t i = 0; i < n && !rc; i++)
		rc = visit(context, names[i].name);
	free(names);
	return rc;
}

static int memory_stat(const struct file_ops *ops, int fd, struct file_stat *stat)
{
	struct disk *disk = disk_of(ops);
	pthread_mutex_lock(&disk->lock);
	*stat = (struct file_stat){.directory = disk->fds[fd - FD_FIRST].directory};
	if (!stat->directory) {
		stat->bytes = stat->allocated = fd_inode(disk, fd)->bytes;
		stat->direct_align = 512;
	}
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

static int memory_lock(const struct file_ops *ops, int fd)
{
	struct disk *disk = disk_of(ops);
	bool taken = false;
	pthread_mutex_lock(&disk->lock);
	for (unsigned i = 0; i < DISK_FDS; i++)
		taken |= disk->fds[i].used && disk->fds[i].locked &&
			 disk->fds[i].number == disk->fds[fd - FD_FIRST].number;
	if (!taken)
		disk->fds[fd - FD_FIRST].locked = true;
	pthread_mutex_unlock(&disk->lock);
	return taken ? -EAGAIN : 0;
}

static int memory_space(const struct file_ops *ops, int fd, struct file_space *space)
{
	(void)ops;
	(void)fd;
	*space = (struct file_space){UINT64_C(1) << 40, UINT64_C(1) << 40};
	return 0;
}

static ssize_t memory_read_done(const struct file_ops *ops, int fd, void *to, ssize_t result,
				uint64_t offset)
{
	(void)ops;
	(void)fd;
	(void)to;
	(void)offset;
	return result;
}

void disk_init(struct disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->ops = (struct file_ops){
		.name = "memory",
		.read_threads = 1,
		.open = memory_open,
		.close = memory_close,
		.pread = memory_pread,
		.pwritev = memory_pwritev,
		.datasync = memory_sync,
		.sync = memory_sync,
		.rename = memory_rename,
		.unlink = memory_unlink,
		.truncate = memory_truncate,
		.allocate = memory_allocate,
		.punch = memory_punch,
		.mkdir = memory_mkdir,
		.list = memory_list,
		.stat = memory_stat,
		.lock = memory_lock,
		.space = memory_space,
		.read_done = memory_read_done,
	};
	pthread_mutex_init(&disk->lock, NULL);
}

void disk_clear(struct disk *disk)
{
	disk_image_clear(&disk->image);
	pthread_mutex_destroy(&disk->lock);
}
