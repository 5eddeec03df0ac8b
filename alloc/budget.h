/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hard cap in bytes that many takers share: everything that costs DRAM (pool, index, filters,
 * buffers, heap) takes before it commits memory and gives back after. Lock-free.
 */
#ifndef ALLOC_BUDGET_H
#define ALLOC_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget {
	_Atomic uint64_t used;
	_Atomic uint64_t cap;
	/* const after init */
	struct budget *parent; /* NULL: none */
	uint64_t reserved;     /* of the parent, whatever is used */
};

static inline void budget_init(struct budget *b, uint64_t cap)
{
	atomic_init(&b->used, 0);
	atomic_init(&b->cap, cap);
	b->parent = NULL;
	b->reserved = 0;
}

/* Takes bytes of a budget without a parent. */
static inline bool budget_take_own(struct budget *b, uint64_t bytes)
{
	uint64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
	do {
		uint64_t cap = atomic_load_explicit(&b->cap, memory_order_relaxed);
		if (used > cap || bytes > cap - used)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&b->used, &used, used + bytes,
							memory_order_relaxed, memory_order_relaxed));
	return true;
}

/* What is the parent's of so many bytes in use. */
static inline uint64_t budget_beyond(const struct budget *b, uint64_t used)
{
	return used > b->reserved ? used - b->reserved : 0;
}

/* false, and nothing taken, if the cap would be passed, or the parent's. */
static inline bool budget_take(struct budget *b, uint64_t bytes)
{
	if (!b->parent)
		return budget_take_own(b, bytes);
	uint64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
	for (;;) {
		uint64_t cap = atomic_load_explicit(&b->cap, memory_order_relaxed);
		if (used > cap || bytes > cap - used)
			return false;
		uint64_t more = budget_beyond(b, used + bytes) - budget_beyond(b, used);
		if (more && !budget_take_own(b->parent, more))
			return false;
		if (atomic_compare_exchange_strong_explicit(&b->used, &used, used + bytes,
							    memory_order_relaxed, memory_order_relaxed))
			return true;
		atomic_fetch_sub_explicit(&b->parent->used, more, memory_order_relaxed);
	}
}

static inline void budget_give(struct budget *b, uint64_t bytes)
{
	uint64_t used = atomic_fetch_sub_explicit(&b->used, bytes, memory_order_relaxed);
	if (b->parent)
		atomic_fetch_sub_explicit(&b->parent->used,
					  budget_beyond(b, used) - budget_beyond(b, used - bytes),
					  memory_order_relaxed);
}

/* A part of the parent, which has no parent itself; false: the parent has not so much to reserve. */
static inline bool budget_init_part(struct budget *b, struct budget *parent, uint64_t reserved,
				    uint64_t cap)
{
	budget_init(b, cap);
	if (!budget_take_own(parent, reserved))
		return false;
	b->parent = parent;
	b->reserved = reserved;
	return true;
}

#endif
