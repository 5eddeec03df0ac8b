/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the cold tier: small pieces from the control-plane heap, large ones in pages that are charged
 * to the budget. Thread-safe. The caller remembers the size. Where the heap is full, small pieces come in
 * pages too: the budget has a share for filters and for what builds runs, whatever their sizes, and a merge
 * that could not get it would be begun for ever.
 */
#ifndef TIERS_COLD_MEMORY_H
#define TIERS_COLD_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct budget;
struct heap;

struct memory {
	struct heap *heap;
	struct budget *budget;
};

#define MEMORY_PAGES_FROM ((size_t)64 << 10) /* bytes; smaller pieces come from the heap while it has room */

/* Zeroed, at 64 bytes' alignment (from MEMORY_PAGES_FROM on at 4 KiB's). NULL when full; bytes > 0. */
void *memory_alloc(struct memory *memory, size_t bytes);
/* NULL is fine. bytes as in the alloc. */
void memory_free(struct memory *memory, void *start, size_t bytes);
/* A larger piece with the same first `used` bytes; the old one is freed. NULL when full: the old one stays. */
void *memory_grow(struct memory *memory, void *old, size_t old_bytes, size_t used, size_t bytes);

/* A range that grows at its end and never moves. */
struct memory_range {
	char *base;        /* NULL: closed */
	size_t reserved;
	size_t committed;  /* charged to the budget */
};
/* Reserves address space. -ENOMEM. */
int memory_range_open(struct memory_range *range, size_t bytes);
/* Makes the first `bytes` usable; step: how much more at least, a multiple of 4 KiB. -ENOMEM. */
int memory_range_need(struct memory *memory, struct memory_range *range, size_t bytes, size_t step);
void memory_range_close(struct memory *memory, struct memory_range *range);

#endif
