/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See heap.h. Over every filling lies the same accounting: max_bytes is kept with a struct budget of
 * the heap's own, so that libc's memory is bounded as memkind's is. The struct heap itself comes from
 * the filling and is not counted.
 *
 * The memkind filling is one fixed kind over extents of ours, committed at open. Facts about memkind
 * 1.14 that shape it:
 *  - Its default of four arenas a CPU splits a region of a few MiB into pieces that cannot help each
 *    other out; the number can be set only through the environment, while the kind is made.
 *  - Pages of freed small blocks stay tied to their size for ten seconds, and in a full region no
 *    larger block can be had: after 16 MiB of 64-byte blocks, all freed, not one of 16 KiB. Immediate
 *    decay cures it; the call that sets it is exported but in no public header, hence weak.
 *  - malloc(0) answers NULL, and calloc does not look for overflow.
 * The region is inherited by forked children, unlike record memory: a child must be able to look at a
 * handle to find out that it may not use it.
 */
#include "alloc/heap.h"

#include <errno.h>
#include <malloc.h>
#include <memkind.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/error.h"
#include "alloc/pages.h"

#define ARENAS_VARIABLE "MEMKIND_ARENA_NUM_PER_KIND"

extern int memkind_arena_update_memory_usage_policy(struct memkind *kind,
						    memkind_mem_usage_policy policy)
	__attribute__((weak));

/* bytes is never 0. size answers what a block costs. */
struct heap_ops {
	void *(*alloc)(struct heap *heap, size_t bytes);
	void *(*realloc)(struct heap *heap, void *old, size_t bytes);
	void (*free)(struct heap *heap, void *block);
	size_t (*size)(struct heap *heap, void *block);
	void (*close)(struct heap *heap); /* frees the struct too */
};

struct heap {
	/* const after open */
	const struct heap_ops *ops;
	struct thermo_allocator host;
	memkind_t kind;
	void *region;
	struct budget *budget; /* charged with `charged` while open; may be NULL */
	uint64_t charged;
	/* atomic */
	struct budget own;
};

/* ---- memkind ---- */

static void *memkind_heap_alloc(struct heap *heap, size_t bytes)
{
	return memkind_malloc(heap->kind, bytes);
}

static void *memkind_heap_realloc(struct heap *heap, void *old, size_t bytes)
{
	return memkind_realloc(heap->kind, old, bytes);
}

static void memkind_heap_free(struct heap *heap, void *block)
{
	memkind_free(heap->kind, block);
}

static size_t memkind_heap_size(struct heap *heap, void *block)
{
	return memkind_malloc_usable_size(heap->kind, block);
}

static void memkind_heap_close(struct heap *heap)
{
	memkind_t kind = heap->kind;
	void *region = heap->region;
	uint64_t bytes = heap->charged;

	check(memkind_destroy_kind(kind) == MEMKIND_SUCCESS);
	pages_release(region, bytes); /* and the struct, which lies in it */
}

static const struct heap_ops memkind_heap_ops = {
	memkind_heap_alloc, memkind_heap_realloc, memkind_heap_free,
	memkind_heap_size,  memkind_heap_close,
};

/* ---- libc ---- */

static void *libc_heap_alloc(struct heap *heap, size_t bytes)
{
	(void)heap;
	return malloc(bytes);
}

static void *libc_heap_realloc(struct heap *heap, void *old, size_t bytes)
{
	(void)heap;
	return realloc(old, bytes);
}

static void libc_heap_free(struct heap *heap, void *block)
{
	(void)heap;
	free(block);
}

static size_t libc_heap_size(struct heap *heap, void *block)
{
	(void)heap;
	return malloc_usable_size(block);
}

static void libc_heap_close(struct heap *heap)
{
	free(heap);
}

static const struct heap_ops libc_heap_ops = {
	libc_heap_alloc, libc_heap_realloc, libc_heap_free, libc_heap_size, libc_heap_close,
};

/* ---- the host's: it cannot be asked for a block's size, so that stands before the block ---- */

struct host_block {
	_Alignas(16) size_t bytes; /* of what follows */
};

static void *host_heap_alloc(struct heap *heap, size_t bytes)
{
	struct host_block *block;

	if (bytes > SIZE_MAX - sizeof(*block))
		return NULL;
	block = heap->host.alloc(heap->host.context, sizeof(*block) + bytes);
	if (!block)
		return NULL;
	block->bytes = bytes;
	return block + 1;
}

static void *host_heap_realloc(struct heap *heap, void *old, size_t bytes)
{
	struct host_block *block = (struct host_block *)old - 1;

	if (bytes > SIZE_MAX - sizeof(*block))
		return NULL;
	block = heap->host.realloc(heap->host.context, block, sizeof(*block) + bytes);
	if (!block)
		return NULL;
	block->bytes = bytes;
	return block + 1;
}

static void host_heap_free(struct heap *heap, void *block)
{
	heap->host.free(heap->host.context, (struct host_block *)block - 1);
}

static size_t host_heap_size(struct heap *heap, void *block)
{
	(void)heap;
	return ((struct host_block *)block - 1)->bytes + sizeof(struct host_block);
}

static void host_heap_close(struct heap *heap)
{
	struct thermo_allocator host = heap->host;

	host.free(host.context, heap);
}

static const struct heap_ops host_heap_ops = {
	host_heap_alloc, host_heap_realloc, host_heap_free, host_heap_size, host_heap_close,
};

/* ---- opening ---- */

/* Makes a kind with one arena, unless the user has set another number. The environment is the
 * process's: our variable is added last and taken away again, which moves no other one. */
static int create_kind(void *region, size_t bytes, memkind_t *kind)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	bool ours = !getenv(ARENAS_VARIABLE) && setenv(ARENAS_VARIABLE, "1", 0) == 0;
	int rc = memkind_create_fixed(region, bytes, kind);
	if (ours)
		unsetenv(ARENAS_VARIABLE);
	pthread_mutex_unlock(&lock);
	if (rc)
		return -ENOMEM;
	if (memkind_arena_update_memory_usage_policy)
		(void)memkind_arena_update_memory_usage_policy(
			*kind, MEMKIND_MEM_USAGE_POLICY_CONSERVATIVE);
	return 0;
}

static int open_memkind(size_t bytes, struct heap **result, struct thermo_error *error)
{
	memkind_t kind;
	void *region = pages_reserve(bytes);

	if (!region)
		return error_set(error, -ENOMEM, "heap: no address space for %zu MiB", bytes >> 20);
	if (pages_commit(region, bytes, 0, 0)) {
		error_set(error, -ENOMEM, "heap: no memory for its %zu MiB", bytes >> 20);
		goto release_region;
	}
	(void)madvise(region, bytes, MADV_DOFORK);
	if (create_kind(region, bytes, &kind)) {
		error_set(error, -ENOMEM, "heap: memkind cannot make a kind of %zu MiB",
			  bytes >> 20);
		goto release_region;
	}
	struct heap *heap = memkind_malloc(kind, sizeof(*heap));
	if (!heap) {
		error_set(error, -ENOMEM, "heap: %zu MiB are too small for memkind", bytes >> 20);
		goto destroy_kind;
	}
	memset(heap, 0, sizeof(*heap));
	heap->ops = &memkind_heap_ops;
	heap->kind = kind;
	heap->region = region;
	*result = heap;
	return 0;

destroy_kind:
	(void)memkind_destroy_kind(kind);
release_region:
	pages_release(region, bytes);
	return -ENOMEM;
}

/* Over libc, or over the host's functions when there are such. */
static int open_plain(const struct thermo_allocator *host, struct heap **result,
		      struct thermo_error *error)
{
	struct heap *heap =
		host ? host->alloc(host->context, sizeof(*heap)) : malloc(sizeof(*heap));

	if (!heap)
		return error_set(error, -ENOMEM, "heap: %s",
				 host ? "the allocator given answers NULL" : "out of memory");
	memset(heap, 0, sizeof(*heap));
	heap->ops = host ? &host_heap_ops : &libc_heap_ops;
	if (host)
		heap->host = *host;
	*result = heap;
	return 0;
}

int heap_open(const char *kind, const struct thermo_allocator *allocator, size_t max_bytes,
	      struct budget *budget, struct heap **heap, struct thermo_error *error)
{
	bool is_memkind = !allocator && (!kind || strcmp(kind, "memkind") == 0);
	uint64_t charge = max_bytes;
	int rc;

	*heap = NULL;
	if (!allocator && !is_memkind && strcmp(kind, "libc") != 0)
		return error_set(error, -EINVAL, "heap \"%.40s\": one of memkind, libc", kind);
	if (allocator && (!allocator->alloc || !allocator->realloc || !allocator->free))
		return error_set(error, -EINVAL,
				 "allocator: alloc, realloc and free must all be set");
	if (max_bytes == 0 || max_bytes > (size_t)1 << 46)
		return error_set(error, -EINVAL, "heap: its size must be from 1 byte to 64 TiB");
	if (is_memkind)
		charge = (charge + EXTENT_BYTES - 1) & ~(uint64_t)(EXTENT_BYTES - 1);
	if (budget && !budget_take(budget, charge))
		return error_set(error, -ENOMEM,
				 "heap: its %llu KiB do not fit under the DRAM cap: raise dram",
				 (unsigned long long)(charge >> 10));
	rc = is_memkind ? open_memkind(charge, heap, error) : open_plain(allocator, heap, error);
	if (rc) {
		if (budget)
			budget_give(budget, charge);
		return rc;
	}
	(*heap)->budget = budget;
	(*heap)->charged = charge;
	budget_init(&(*heap)->own, charge);
	return 0;
}

void heap_close(struct heap **heap)
{
	if (!*heap)
		return;
	struct budget *budget = (*heap)->budget;
	uint64_t charged = (*heap)->charged;

	(*heap)->ops->close(*heap);
	*heap = NULL;
	if (budget)
		budget_give(budget, charged);
}

/* ---- use ---- */

void *heap_alloc(struct heap *heap, size_t bytes)
{
	bytes += bytes == 0;
	if (bytes > heap->charged)
		return NULL;
	void *block = heap->ops->alloc(heap, bytes);
	if (!block)
		return NULL;
	if (!budget_take(&heap->own, heap->ops->size(heap, block))) {
		heap->ops->free(heap, block);
		return NULL;
	}
	return block;
}

void *heap_zalloc(struct heap *heap, size_t count, size_t bytes)
{
	size_t all;

	if (__builtin_mul_overflow(count, bytes, &all))
		return NULL;
	void *block = heap_alloc(heap, all);
	if (block)
		memset(block, 0, all);
	return block;
}

void *heap_realloc(struct heap *heap, void *old, size_t bytes)
{
	if (!old)
		return heap_alloc(heap, bytes);
	bytes += bytes == 0;
	if (bytes > heap->charged)
		return NULL;
	/* Growth is taken before, as a block that has moved cannot be put back; what the size class adds
	 * is only counted. */
	size_t size = heap->ops->size(heap, old);
	size_t growth = bytes > size ? bytes - size : 0;
	if (!budget_take(&heap->own, growth))
		return NULL;
	void *block = heap->ops->realloc(heap, old, bytes);
	if (!block) {
		budget_give(&heap->own, growth);
		return NULL;
	}
	/* Unsigned arithmetic: the difference may be negative. */
	atomic_fetch_add_explicit(&heap->own.used,
				  (uint64_t)heap->ops->size(heap, block) - size - growth,
				  memory_order_relaxed);
	return block;
}

char *heap_strdup(struct heap *heap, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = heap_alloc(heap, bytes);

	return copy ? memcpy(copy, text, bytes) : NULL;
}

void heap_free(struct heap *heap, void *bytes)
{
	if (!bytes)
		return;
	budget_give(&heap->own, heap->ops->size(heap, bytes));
	heap->ops->free(heap, bytes);
}

uint64_t heap_used(const struct heap *heap)
{
	return atomic_load_explicit(&heap->own.used, memory_order_relaxed);
}
