/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address space and pages: reserve a range once (PROT_NONE, costs nothing), commit and decommit
 * pieces of it. Ranges never move, so a place in a pool or a table is base + offset for ever.
 */
#ifndef ALLOC_PAGES_H
#define ALLOC_PAGES_H

#include <stddef.h>
#include <stdint.h>

#define EXTENT_BYTES ((size_t)2 << 20) /* one huge page; the unit of commit, mbind and drain */

/* Thread-safe as long as no two calls name the same pages. Starts are page aligned; lengths are rounded
 * up to pages (a reservation's to EXTENT_BYTES). */

/* 2 MiB aligned; MADV_DONTFORK and MADV_DONTDUMP once committed. NULL when there is no room. */
void *pages_reserve(size_t bytes);
/* bytes: as they were reserved. Committed pieces go with it. */
void pages_release(void *base, size_t bytes);
/* Zeroed, populated memory in pages that are not committed; asks for huge pages if huge. interleave:
 * over the CPU nodes, where that is allowed. -ENOMEM, and nothing is committed then. */
int pages_commit(void *start, size_t bytes, int huge, int interleave);
/* The same, bound to a NUMA node. Also -EPERM, -ENOSYS or -EINVAL as mbind answers. */
int pages_commit_node(void *start, size_t bytes, int huge, unsigned node);
/* The memory goes back to the system now; touching it is a fault. */
void pages_decommit(void *start, size_t bytes);

#endif
