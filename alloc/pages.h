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

/* 2 MiB aligned; MADV_DONTFORK and MADV_DONTDUMP once committed. NULL when there is no room. */
void *pages_reserve(size_t bytes);
void pages_release(void *base, size_t bytes);
/* Zeroed, populated memory; asks for huge pages if huge. interleave: over the CPU nodes. -ENOMEM. */
int pages_commit(void *start, size_t bytes, int huge, int interleave);
void pages_decommit(void *start, size_t bytes);

#endif
