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

/* kind: "memkind" or "libc"; allocator, when not NULL, wins. max_bytes bounds the memkind filling and
 * is charged to the budget while open. -EINVAL, -ENOMEM. */
int heap_open(const char *kind, const struct thermo_allocator *allocator, size_t max_bytes,
	      struct budget *budget, struct heap **heap, struct thermo_error *error);
void heap_close(struct heap **heap);

void *heap_alloc(struct heap *heap, size_t bytes);               /* NULL when full */
void *heap_zalloc(struct heap *heap, size_t count, size_t bytes); /* zeroed; NULL on overflow too */
void *heap_realloc(struct heap *heap, void *old, size_t bytes);
char *heap_strdup(struct heap *heap, const char *text);
void heap_free(struct heap *heap, void *bytes); /* NULL is fine */
uint64_t heap_used(const struct heap *heap);     /* bytes asked for and not freed */

#endif
