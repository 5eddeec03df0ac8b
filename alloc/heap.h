/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control-plane heap: small bookkeeping, never records. One operations table, three fillings:
 * memkind over an extent of our own (a hard bound: answers NULL when full), libc, or the host's.
 * Thread-safe. Large tables take pages (pages.h) and charge the budget (budget.h) themselves.
 */
#ifndef ALLOC_HEAP_H
#define ALLOC_HEAP_H

#include "include/thermocline.h"

struct heap;
struct budget;

/* kind: "memkind" (also NULL) or "libc"; allocator, when not NULL, wins and is copied. max_bytes (not
 * 0; memkind rounds it up to EXTENT_BYTES and commits it here) bounds every filling and is charged to
 * the budget (may be NULL) while open. -EINVAL, -ENOMEM. */
int heap_open(const char *kind, const struct thermo_allocator *allocator, size_t max_bytes,
	      struct budget *budget, struct heap **heap, struct thermo_error *error);
/* Blocks that were not freed are gone with memkind and leak with the others. */
void heap_close(struct heap **heap);

/* Blocks are aligned to 16 bytes (smaller ones of memkind to their size) and belong to the caller. A
 * block of 0 bytes is one of 1 byte. NULL when full: nothing has changed, old is as it was. */
void *heap_alloc(struct heap *heap, size_t bytes);
void *heap_zalloc(struct heap *heap, size_t count, size_t bytes); /* zeroed; NULL on overflow too */
void *heap_realloc(struct heap *heap, void *old, size_t bytes);   /* old may be NULL */
char *heap_strdup(struct heap *heap, const char *text);
void heap_free(struct heap *heap, void *bytes); /* NULL is fine */
/* Bytes given out and not freed, each block with what the allocator's size class adds to it. */
uint64_t heap_used(const struct heap *heap);

#endif
