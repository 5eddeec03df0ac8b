/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hard cap in bytes that many takers share: everything that costs DRAM (pool, index, filters,
 * buffers, heap) takes before it commits memory and gives back after. Lock-free.
 */
#ifndef ALLOC_BUDGET_H
#define ALLOC_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
	_Atomic uint64_t used;
	_Atomic uint64_t cap;
};

static inline void budget_init(struct budget *b, uint64_t cap)
{
	atomic_init(&b->used, 0);
	atomic_init(&b->cap, cap);
}

/* false, and nothing taken, if the cap would be passed. */
static inline bool budget_take(struct budget *b, uint64_t bytes)
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

static inline void budget_give(struct budget *b, uint64_t bytes)
{
	atomic_fetch_sub_explicit(&b->used, bytes, memory_order_relaxed);
}

#endif
