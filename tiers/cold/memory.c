/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the cold tier: see memory.h. */
#include "tiers/cold/memory.h"

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/heap.h"
#include "alloc/pages.h"

#include <errno.h>
#include <string.h>

#define PAGE ((size_t)4096)
#define LINE ((uintptr_t)64)

static size_t round_page(size_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

static void pages_free(struct memory *memory, void *start, size_t bytes)
{
	pages_release(start, bytes);
	budget_give(memory->budget, bytes);
}

static void *pages_alloc(struct memory *memory, size_t bytes)
{
	if (!budget_take(memory->budget, bytes))
		return NULL;
	char *start = pages_reserve(bytes);
	if (start && !pages_commit(start, bytes, bytes >= EXTENT_BYTES, 0))
		return start;
	if (start)
		pages_release(start, bytes);
	budget_give(memory->budget, bytes);
	return NULL;
}

/* What to free lies just before what is given out (at least sizeof(origin) are there): the heap's piece, or
 * pages, with this bit set. */
#define IN_PAGES ((uintptr_t)1)

static void *small_give_out(uintptr_t piece, uintptr_t in_pages)
{
	uintptr_t aligned = (piece + LINE) & ~(LINE - 1), origin = piece | in_pages;
	check(aligned - piece >= sizeof(origin));
	memcpy((void *)(aligned - sizeof(origin)), &origin, sizeof(origin));
	return (void *)aligned;
}

void *memory_alloc(struct memory *memory, size_t bytes)
{
	check(bytes);
	if (bytes >= MEMORY_PAGES_FROM)
		return pages_alloc(memory, round_page(bytes));
	char *piece = heap_zalloc(memory->heap, 1, bytes + LINE);
	if (piece)
		return small_give_out((uintptr_t)piece, 0);
	piece = pages_alloc(memory, round_page(bytes + LINE));
	return piece ? small_give_out((uintptr_t)piece, IN_PAGES) : NULL;
}

void memory_free(struct memory *memory, void *start, size_t bytes)
{
	if (!start)
		return;
	if (bytes >= MEMORY_PAGES_FROM) {
		pages_free(memory, start, round_page(bytes));
		return;
	}
	uintptr_t origin;
	memcpy(&origin, (char *)start - sizeof(origin), sizeof(origin));
	if (origin & IN_PAGES)
		pages_free(memory, (void *)(origin & ~IN_PAGES), round_page(bytes + LINE));
	else
		heap_free(memory->heap, (void *)origin);
}

void *memory_grow(struct memory *memory, void *old, size_t old_bytes, size_t used, size_t bytes)
{
	check(used <= old_bytes && old_bytes <= bytes);
	void *start = memory_alloc(memory, bytes);
	if (!start)
		return NULL;
	if (used)
		memcpy(start, old, used);
	memory_free(memory, old, old_bytes);
	return start;
}

int memory_range_open(struct memory_range *range, size_t bytes)
{
	*range = (struct memory_range){ .base = pages_reserve(bytes), .reserved = bytes };
	return range->base ? 0 : -ENOMEM;
}

int memory_range_need(struct memory *memory, struct memory_range *range, size_t bytes, size_t step)
{
	if (bytes <= range->committed)
		return 0;
	size_t more = round_page(bytes - range->committed);
	if (more < step)
		more = step;
	if (more > range->reserved - range->committed)
		more = range->reserved - range->committed;
	if (bytes > range->committed + more || !budget_take(memory->budget, more))
		return -ENOMEM;
	if (pages_commit(range->base + range->committed, more, 0, 0)) {
		budget_give(memory->budget, more);
		return -ENOMEM;
	}
	range->committed += more;
	return 0;
}

void memory_range_close(struct memory *memory, struct memory_range *range)
{
	if (!range->base)
		return;
	pages_release(range->base, range->reserved);
	budget_give(memory->budget, range->committed);
	range->base = NULL;
}
