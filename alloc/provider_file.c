/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file:PATH: a file, preallocated (a hole is a SIGBUS when the disk is full) and mapped whole at open
 * through libpmem2, which knows whether stores are durable after a cache-line flush (DAX) or only
 * after msync. Extents need no commit or decommit. What is in the file stays in it.
 *
 * The file is locked against a second user for as long as it is open. One that exists must be empty
 * or a multiple of the extent size, as a pool always is: a mistyped path does not cost someone a
 * document. A failed open leaves the disk as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/check.h"
#include "alloc/error.h"
#include "alloc/provider_fillings.h"

struct file {
	struct provider provider;
	/* const after open */
	int fd;
	int pages; /* 1: no DAX, durable after msync */
	struct pmem2_source *source;
	struct pmem2_map *map;
	pmem2_persist_fn flush; /* unless pages */
};

static struct file *file_of(struct provider *p)
{
	return (struct file *)p;
}

static int file_commit(struct provider *p, uint64_t first, uint64_t n)
{
	check(first <= p->extents_max && n <= p->extents_max - first);
	return 0;
}

/* libpmem2's own function for page granularity aborts the process when msync fails: call msync. */
static int file_persist(struct provider *p, const void *start, size_t bytes)
{
	struct file *file = file_of(p);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t before = (uintptr_t)start & (page - 1);

	check((const char *)start >= p->base &&
	      bytes <= (size_t)(p->base + p->extents_max * EXTENT_BYTES - (const char *)start));
	if (!file->pages) {
		file->flush(start, bytes);
		return 0;
	}
	return msync((char *)(uintptr_t)start - before, bytes + before, MS_SYNC) ? -errno : 0;
}

static void file_close(struct provider *p)
{
	struct file *file = file_of(p);

	check(pmem2_map_delete(&file->map) == 0);
	pmem2_source_delete(&file->source);
	close(file->fd); /* and the lock with it */
	free(file);
}

static const struct provider_ops file_ops = {
	.name = "file",
	.commit = file_commit,
	.decommit = file_commit,
	.persist = file_persist,
	.close = file_close,
};

/* Opens or creates; *created says which. */
static int open_file(const char *path, int *fd, int *created, struct thermo_error *error)
{
	int flags =
		O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK; /* a fifo shall not make us wait */

	*created = 0;
	*fd = open(path, flags);
	if (*fd < 0 && errno == ENOENT) {
		*fd = open(path, flags | O_CREAT | O_EXCL, 0600);
		*created = *fd >= 0;
	}
	if (*fd >= 0)
		return 0;
	if (errno == ELOOP)
		return error_set(error, -ELOOP,
				 "file:%.120s: is a symbolic link; name the file itself", path);
	return error_set(error, -errno, "file:%.120s: %s", path, strerror(errno));
}

/* Takes the lock, looks at what it is, and gives it all its blocks. */
static int claim_file(const char *path, int fd, uint64_t bytes, struct thermo_error *error)
{
	struct stat st;
	int rc;

	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return error_set(error, -EBUSY, "file:%.120s: in use by another cache",
					 path);
		return error_set(error, -errno, "file:%.120s: cannot be locked: %s", path,
				 strerror(errno));
	}
	if (fstat(fd, &st))
		return error_set(error, -errno, "file:%.120s: %s", path, strerror(errno));
	if (S_ISCHR(st.st_mode)) /* devdax: libpmem2 looks at it; there is nothing to allocate */
		return 0;
	if (!S_ISREG(st.st_mode))
		return error_set(error, -EINVAL, "file:%.120s: neither a file nor a devdax device",
				 path);
	if ((uint64_t)st.st_size % EXTENT_BYTES)
		return error_set(error, -EINVAL,
				 "file:%.120s: not a pool of ours (its size is no "
				 "multiple of 2 MiB); remove it or name another",
				 path);
	do {
		rc = posix_fallocate(fd, 0, (off_t)bytes);
	} while (rc == EINTR);
	if (rc == 0)
		return 0;
	if ((uint64_t)st.st_size < bytes && ftruncate(fd, st.st_size))
		rc = errno;
	return error_set(error, -rc, "file:%.120s: cannot preallocate %llu MiB: %s", path,
			 (unsigned long long)(bytes >> 20), strerror(rc));
}

/* libpmem2's codes are negative errnos, or below -100000 for its own. */
static int pmem2_failed(const char *path, int rc, struct thermo_error *error)
{
	int code = rc > -4096 ? rc : rc == PMEM2_E_MAP_RANGE ? -ENOSPC : -EINVAL;

	return error_set(error, code, "file:%.120s: libpmem2: %.90s", path, pmem2_errormsg());
}

static int map_file(const char *path, struct file *file, uint64_t bytes, struct thermo_error *error)
{
	struct pmem2_config *config;
	int rc = pmem2_config_new(&config);

	if (rc)
		return pmem2_failed(path, rc, error);
	rc = pmem2_source_from_fd(&file->source, file->fd);
	if (rc)
		goto delete_config;
	rc = pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
	if (!rc)
		rc = pmem2_config_set_length(config, bytes);
	if (!rc)
		rc = pmem2_map_new(&file->map, config, file->source);
	if (rc)
		pmem2_source_delete(&file->source);
delete_config:
	pmem2_config_delete(&config);
	return rc ? pmem2_failed(path, rc, error) : 0;
}

int provider_file_open(const char *path, uint64_t extents, struct provider **provider,
		       struct thermo_error *error)
{
	uint64_t bytes = extents * EXTENT_BYTES;
	int created, rc;
	struct file *file = calloc(1, sizeof(*file));

	if (!file)
		return error_set(error, -ENOMEM, "file:%.120s: out of memory", path);
	rc = open_file(path, &file->fd, &created, error);
	if (rc)
		goto free_file;
	rc = claim_file(path, file->fd, bytes, error);
	if (rc)
		goto close_fd;
	rc = map_file(path, file, bytes, error);
	if (rc)
		goto close_fd;

	struct provider *p = &file->provider;
	p->ops = &file_ops;
	p->base = pmem2_map_get_address(file->map);
	p->extents_max = extents;
	p->persistent = 1;
	p->state = file;
	check(((uintptr_t)p->base & 4095) == 0);
	(void)madvise(p->base, bytes, MADV_DONTFORK);
	(void)madvise(p->base, bytes, MADV_DONTDUMP);
	file->pages = pmem2_map_get_store_granularity(file->map) == PMEM2_GRANULARITY_PAGE;
	file->flush = pmem2_get_persist_fn(file->map);
	if (file->pages)
		provider_note(
			p, "no DAX: page cache and msync; put the file on fsdax or give a devdax "
			   "device for cache-line persistence");
	*provider = p;
	return 0;

close_fd:
	if (created)
		unlink(path);
	close(file->fd);
free_file:
	free(file);
	return rc;
}
