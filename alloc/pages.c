/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pages.h. A reserved page is a PROT_NONE mapping without swap reservation. Committing makes it
 * writable, sets its NUMA policy before the first fault, and faults everything in at once: what fails
 * must fail here, not later in the middle of a put.
 */
#include "alloc/pages.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/check.h"
#include "alloc/nodes.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define NOWHERE (-1)

static size_t round_up(size_t bytes, size_t unit)
{
	return (bytes + unit - 1) & ~(unit - 1);
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

void *pages_reserve(size_t bytes)
{
	if (bytes == 0 || bytes > SIZE_MAX - 2 * EXTENT_BYTES)
		return NULL;
	bytes = round_up(bytes, EXTENT_BYTES);
	char *got = mmap(NULL, bytes + EXTENT_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (got == MAP_FAILED)
		return NULL;
	size_t head = round_up((uintptr_t)got, EXTENT_BYTES) - (uintptr_t)got;
	if (head)
		munmap(got, head);
	munmap(got + head + bytes, EXTENT_BYTES - head);
	return got + head;
}

void pages_release(void *base, size_t bytes)
{
	if (base)
		check(munmap(base, round_up(bytes, EXTENT_BYTES)) == 0);
}

/* Faults every page in. Kernels before 5.14 do not know the call: touch the pages instead. */
static int populate(char *start, size_t bytes, size_t page)
{
	int rc;

	do {
		rc = madvise(start, bytes, MADV_POPULATE_WRITE) ? errno : 0;
	} while (rc == EINTR || rc == EAGAIN);
	if (rc != EINVAL)
		return rc ? -ENOMEM : 0;
	for (size_t at = 0; at < bytes; at += page)
		*(volatile char *)(start + at) = 0;
	return 0;
}

static int commit(char *start, size_t bytes, int huge, int interleave, int node)
{
	size_t page = page_size();
	int rc = 0;

	check(((uintptr_t)start & (page - 1)) == 0 && bytes > 0);
	bytes = round_up(bytes, page);
	if (mprotect(start, bytes, PROT_READ | PROT_WRITE))
		return -ENOMEM;
	if (node != NOWHERE)
		rc = nodes_bind(start, bytes, (unsigned)node);
	else if (interleave)
		(void)nodes_interleave(start, bytes); /* placement only: local memory serves too */
	if (!rc) {
		/* Hints: each may be refused (no THP in this kernel), none changes what is stored. */
		if (huge)
			(void)madvise(start, bytes, MADV_HUGEPAGE);
		(void)madvise(start, bytes, MADV_DONTFORK);
		(void)madvise(start, bytes, MADV_DONTDUMP);
		rc = populate(start, bytes, page);
	}
	if (rc)
		pages_decommit(start, bytes);
	return rc;
}

int pages_commit(void *start, size_t bytes, int huge, int interleave)
{
	return commit(start, bytes, huge, interleave, NOWHERE);
}

int pages_commit_node(void *start, size_t bytes, int huge, unsigned node)
{
	check(node < NODES_MAX);
	return commit(start, bytes, huge, 0, (int)node);
}

void pages_decommit(void *start, size_t bytes)
{
	bytes = round_up(bytes, page_size());
	void *got = mmap(start, bytes, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (got != MAP_FAILED)
		return;
	/* The process has as many mappings as it may have. The pages must go, and be zero when they are
	 * committed again; that they stay accessible until then is harmless. */
	check(madvise(start, bytes, MADV_DONTNEED) == 0);
}
