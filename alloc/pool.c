/* SPDX-License-Identifier: Apache-2.0 */
/* Pools of segments: see pool.h for the life-cycle. Called under the engine's lock. */
#include "alloc/pool.h"

#include "alloc/check.h"
#include "alloc/heap.h"
#include "alloc/pages.h"

#include <errno.h>
#include <string.h>

void segment_list_append(struct segment_list *list, struct segment *segment)
{
	segment->prev = list->tail;
	segment->next = NULL;
	if (list->tail)
		list->tail->next = segment;
	else
		list->head = segment;
	list->tail = segment;
	list->count++;
}

void segment_list_insert(struct segment_list *list, struct segment *segment)
{
	struct segment *after = list->tail;
	while (after && after->born > segment->born)
		after = after->prev;
	if (after == list->tail) {
		segment_list_append(list, segment);
		return;
	}
	struct segment *before = after ? after->next : list->head;
	segment->prev = after;
	segment->next = before;
	before->prev = segment;
	if (after)
		after->next = segment;
	else
		list->head = segment;
	list->count++;
}

void segment_list_remove(struct segment_list *list, struct segment *segment)
{
	if (segment->prev)
		segment->prev->next = segment->next;
	else
		list->head = segment->next;
	if (segment->next)
		segment->next->prev = segment->prev;
	else
		list->tail = segment->prev;
	segment->prev = segment->next = NULL;
	check(list->count > 0);
	list->count--;
}

static uint64_t table_bytes(const struct pool *pool)
{
	uint64_t bytes = (uint64_t)pool->segments_max * sizeof(struct segment);
	return (bytes + EXTENT_BYTES - 1) & ~(uint64_t)(EXTENT_BYTES - 1);
}

/* Commits the table of segments as far as extents_high needs it. */
static uint64_t table_used(const struct pool *pool, uint32_t extents)
{
	uint64_t bytes = (uint64_t)extents * pool->per_extent * sizeof(struct segment);
	return (bytes + 4095) & ~UINT64_C(4095);
}

int pool_open(struct pool *pool, uint8_t tier, struct provider *provider, struct budget *budget,
	      bool is_dram, struct heap *heap, uint64_t max_bytes, uint32_t segment_bytes)
{
	uint64_t extents = (max_bytes + EXTENT_BYTES - 1) / EXTENT_BYTES;
	check((segment_bytes & (segment_bytes - 1)) == 0);
	check(segment_bytes >= SEGMENT_BYTES_MIN && segment_bytes <= SEGMENT_BYTES_MAX);
	if (extents == 0 || extents > (UINT64_C(1) << 22) || extents > provider->extents_max)
		return -EINVAL;
	memset(pool, 0, sizeof(*pool));
	pool->tier = tier;
	pool->budget = budget;
	pool->is_dram = is_dram;
	pool->segment_bytes = segment_bytes;
	pool->segment_shift = (uint32_t)__builtin_ctz(segment_bytes);
	pool->per_extent = (uint32_t)(EXTENT_BYTES / segment_bytes);
	pool->segments_max = (uint32_t)extents * pool->per_extent;
	pool->extent_state = heap_zalloc(heap, extents, 1);
	pool->extent_free = heap_zalloc(heap, extents, 1);
	if (!pool->extent_state || !pool->extent_free)
		goto free_states;
	pool->segments = pages_reserve(table_bytes(pool));
	if (!pool->segments)
		goto free_states;
	pool->provider = provider;
	pool->base = provider->base;
	return 0;
free_states:
	heap_free(heap, pool->extent_free);
	heap_free(heap, pool->extent_state);
	memset(pool, 0, sizeof(*pool));
	return -ENOMEM;
}

void pool_close(struct pool *pool, struct heap *heap)
{
	if (!pool->segments)
		return;
	budget_give(pool->budget, (pool->is_dram ? pool->extents_present * EXTENT_BYTES : 0) +
					  table_used(pool, pool->extents_high));
	pages_release(pool->segments, table_bytes(pool));
	heap_free(heap, pool->extent_free);
	heap_free(heap, pool->extent_state);
	provider_close(&pool->provider);
	memset(pool, 0, sizeof(*pool));
}

static int table_extend(struct pool *pool, uint32_t extents_high)
{
	uint64_t have = table_used(pool, pool->extents_high);
	uint64_t want = table_used(pool, extents_high);
	if (want > have) {
		if (!budget_take(pool->budget, want - have))
			return -ENOMEM;
		int rc = pages_commit((char *)pool->segments + have, want - have, 0, 0);
		if (rc) {
			budget_give(pool->budget, want - have);
			return rc;
		}
	}
	pool->extents_high = extents_high;
	return 0;
}

static void extent_publish(struct pool *pool, uint32_t extent)
{
	for (uint32_t i = 0; i < pool->per_extent; i++) {
		uint32_t number = extent * pool->per_extent + i;
		struct segment *segment = &pool->segments[number];
		memset(segment, 0, sizeof(*segment));
		segment->number = number;
		segment->tier = pool->tier;
		atomic_store(&segment->state, SEGMENT_FREE);
		segment_list_append(&pool->free, segment);
	}
	pool->extent_state[extent] = EXTENT_PRESENT;
	pool->extent_free[extent] = (uint8_t)pool->per_extent;
	pool->extents_present++;
}

static int extent_commit(struct pool *pool, uint32_t extent)
{
	int rc = -ENOMEM;
	if (pool->is_dram && !budget_take(pool->budget, EXTENT_BYTES))
		return rc;
	if (extent >= pool->extents_high) {
		rc = table_extend(pool, extent + 1);
		if (rc)
			goto give_back;
	}
	rc = pool->provider->ops->commit(pool->provider, extent, 1);
	if (rc)
		goto give_back;
	extent_publish(pool, extent);
	return 0;
give_back:
	if (pool->is_dram)
		budget_give(pool->budget, EXTENT_BYTES);
	return rc;
}

/* Present and not on their way out. */
static uint32_t extents_staying(const struct pool *pool)
{
	uint32_t stay = 0;
	for (uint32_t e = 0; e < pool->extents_high; e++)
		stay += pool->extent_state[e] == EXTENT_PRESENT;
	return stay;
}

/* Takes back one that was to go: its free segments had been withdrawn. */
static void extent_reopen(struct pool *pool, uint32_t extent)
{
	pool->extent_state[extent] = EXTENT_PRESENT;
	for (uint32_t i = 0; i < pool->per_extent; i++) {
		struct segment *s = &pool->segments[extent * pool->per_extent + i];
		if (atomic_load(&s->state) == SEGMENT_FREE)
			segment_list_append(&pool->free, s);
	}
}

int pool_grow(struct pool *pool, uint32_t extents_target)
{
	uint32_t extents_max = pool->segments_max / pool->per_extent;
	if (extents_target > extents_max)
		return -EINVAL;
	pool->extents_target = extents_target;
	uint32_t stay = extents_staying(pool);
	for (uint32_t e = 0; e < pool->extents_high && stay < extents_target; e++) {
		if (pool->extent_state[e] == EXTENT_CLOSING) {
			extent_reopen(pool, e);
			stay++;
		}
	}
	for (uint32_t e = 0; e < extents_max && stay < extents_target; e++) {
		if (pool->extent_state[e] == EXTENT_ABSENT) {
			int rc = extent_commit(pool, e);
			if (rc)
				return rc;
			stay++;
		}
	}
	return 0;
}

/* An extent whose last segment came free while closing goes back to the system. */
static void extent_try_close(struct pool *pool, uint32_t extent)
{
	if (pool->extent_state[extent] != EXTENT_CLOSING ||
	    pool->extent_free[extent] != pool->per_extent)
		return;
	for (uint32_t i = 0; i < pool->per_extent; i++)
		atomic_store(&pool->segments[extent * pool->per_extent + i].state, SEGMENT_ABSENT);
	pool->extent_state[extent] = EXTENT_ABSENT;
	pool->extent_free[extent] = 0;
	pool->extents_present--;
	pool->provider->ops->decommit(pool->provider, extent, 1);
	if (pool->is_dram)
		budget_give(pool->budget, EXTENT_BYTES);
}

void pool_shrink(struct pool *pool, uint32_t extents_target)
{
	uint32_t stay = extents_staying(pool);
	pool->extents_target = extents_target;
	for (uint32_t e = pool->extents_high; e-- > 0 && stay > extents_target;) {
		if (pool->extent_state[e] != EXTENT_PRESENT)
			continue;
		pool->extent_state[e] = EXTENT_CLOSING;
		stay--;
		for (uint32_t i = 0; i < pool->per_extent; i++) {
			struct segment *s = &pool->segments[e * pool->per_extent + i];
			if (atomic_load(&s->state) == SEGMENT_FREE)
				segment_list_remove(&pool->free, s);
		}
		extent_try_close(pool, e);
	}
}

struct segment *pool_take(struct pool *pool, uint32_t leave)
{
	struct segment *segment = pool->free.head;
	if (pool->free.count <= leave || !segment)
		return NULL;
	segment_list_remove(&pool->free, segment);
	pool->extent_free[segment->number / pool->per_extent]--;
	atomic_store_explicit(&segment->used, 0, memory_order_relaxed);
	atomic_store_explicit(&segment->max_seq, 0, memory_order_relaxed);
	atomic_store_explicit(&segment->shadowing, 0, memory_order_relaxed);
	atomic_store_explicit(&segment->log_file, SEGMENT_UNLOGGED, memory_order_relaxed);
	atomic_store_explicit(&segment->expires_max, 0, memory_order_relaxed);
	check(atomic_load(&segment->pins) == 0);
	atomic_store_explicit(&segment->state, SEGMENT_OPEN, memory_order_release);
	return segment;
}

static void make_free(struct pool *pool, struct segment *segment)
{
	uint32_t extent = segment->number / pool->per_extent;
	atomic_store(&segment->state, SEGMENT_FREE);
	pool->extent_free[extent]++;
	if (pool->extent_state[extent] == EXTENT_CLOSING)
		extent_try_close(pool, extent);
	else
		segment_list_append(&pool->free, segment);
}

void pool_untake(struct pool *pool, struct segment *segment)
{
	check(atomic_load(&segment->used) == 0);
	make_free(pool, segment);
}

void pool_retire(struct pool *pool, struct segment *segment, uint64_t epoch)
{
	atomic_store(&segment->state, SEGMENT_LIMBO);
	segment->limbo_epoch = epoch;
	segment_list_append(&pool->limbo, segment);
}

uint32_t pool_reclaim_limbo(struct pool *pool, bool (*passed)(uint64_t epoch))
{
	uint32_t freed = 0;
	for (struct segment *s = pool->limbo.head, *next; s; s = next) {
		next = s->next;
		if (!passed(s->limbo_epoch))
			break; /* the list is in the order of epochs */
		if (atomic_load(&s->pins))
			continue;
		segment_list_remove(&pool->limbo, s);
		make_free(pool, s);
		freed++;
	}
	return freed;
}
