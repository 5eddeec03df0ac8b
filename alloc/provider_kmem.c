/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kmem: PMEM or CXL memory that the kernel has taken in as system RAM, found by memkind
 * (MEMKIND_DAX_KMEM: the nearest such node of the CPU at hand). One block of the kind is taken at open
 * and is the provider's range; committing populates extents of it, decommitting gives their pages
 * back while the block stays. The fork and dump advice is undone before memkind gets it back.
 */
#include <errno.h>
#include <memkind.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/check.h"
#include "alloc/error.h"
#include "alloc/provider_fillings.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static char *range(const struct provider *p, uint64_t first, uint64_t n)
{
	check(first <= p->extents_max && n <= p->extents_max - first);
	return p->base + first * EXTENT_BYTES;
}

static int kmem_commit(struct provider *p, uint64_t first, uint64_t n)
{
	char *start = range(p, first, n);
	size_t bytes = n * EXTENT_BYTES;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int rc;

	if (n == 0)
		return 0;
	do {
		rc = madvise(start, bytes, MADV_POPULATE_WRITE) ? errno : 0;
	} while (rc == EINTR || rc == EAGAIN);
	if (rc == EINVAL) { /* a kernel before 5.14 */
		for (size_t at = 0; at < bytes; at += page)
			*(volatile char *)(start + at) = 0;
		return 0;
	}
	if (rc)
		(void)madvise(start, bytes, MADV_DONTNEED);
	return rc ? -ENOMEM : 0;
}

static int kmem_decommit(struct provider *p, uint64_t first, uint64_t n)
{
	char *start = range(p, first, n);

	if (n && madvise(start, n * EXTENT_BYTES, MADV_DONTNEED))
		return -errno;
	return 0;
}

static int kmem_persist(struct provider *p, const void *start, size_t bytes)
{
	(void)p;
	(void)start;
	(void)bytes;
	return 0;
}

static void kmem_close(struct provider *p)
{
	size_t bytes = p->extents_max * EXTENT_BYTES;

	(void)madvise(p->base, bytes, MADV_DONTNEED);
	(void)madvise(p->base, bytes, MADV_DOFORK);
	(void)madvise(p->base, bytes, MADV_DODUMP);
	memkind_free(p->state, p->base);
	free(p);
}

static const struct provider_ops kmem_ops = {
	.name = "kmem",
	.commit = kmem_commit,
	.decommit = kmem_decommit,
	.persist = kmem_persist,
	.close = kmem_close,
};

int provider_kmem_open_kind(struct memkind *kind, uint64_t extents, int huge,
			    struct provider **provider, struct thermo_error *error)
{
	size_t bytes = extents * EXTENT_BYTES;
	void *base;
	struct provider *p = calloc(1, sizeof(*p));

	if (!p)
		return error_set(error, -ENOMEM, "provider kmem: out of memory");
	if (memkind_posix_memalign(kind, &base, EXTENT_BYTES, bytes) || !base) {
		free(p);
		return error_set(error, -ENOMEM,
				 "provider kmem: memkind has no %llu MiB of that kind",
				 (unsigned long long)(bytes >> 20));
	}
	p->ops = &kmem_ops;
	p->base = base;
	p->extents_max = extents;
	p->huge = huge != 0;
	p->state = kind;
	if (huge)
		(void)madvise(base, bytes, MADV_HUGEPAGE);
	(void)madvise(base, bytes, MADV_DONTFORK);
	(void)madvise(base, bytes, MADV_DONTDUMP);
	provider_note_huge(p, "");
	*provider = p;
	return 0;
}

int provider_kmem_open(uint64_t extents, int huge, struct provider **provider,
		       struct thermo_error *error)
{
	if (memkind_check_available(MEMKIND_DAX_KMEM))
		return error_set(
			error, -ENODEV,
			"provider kmem: memkind finds no memory-only node of a dax device "
			"(daxctl reconfigure-device --mode=system-ram makes one); or give node:N");
	return provider_kmem_open_kind(MEMKIND_DAX_KMEM, extents, huge, provider, error);
}
