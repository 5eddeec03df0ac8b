/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before everything else (-include) in builds that look for races: atomic accesses are
 * followed by a random delay now and then, so that the few nanoseconds between two of them become a
 * window that other threads fall into.
 */
#ifndef TESTS_INDEX_CHAOS_H
#define TESTS_INDEX_CHAOS_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

static inline void chaos(void)
{
	static _Thread_local uint64_t state;
	state = state * UINT64_C(6364136223846793005) + (uintptr_t)&state;
	uint64_t r = state >> 33;
	if (__builtin_expect(r % 512, 1))
		return;
	if (r / 512 % 16 == 0) {
		sched_yield();
		return;
	}
	for (uint64_t i = r / 8192 % 300; i; i--)
		__asm__ volatile("pause" ::: "memory");
}

#ifdef __clang__
#define CHAOS_OPERATION(name) __c11_atomic_##name
#else
#define CHAOS_OPERATION(name) chaos_##name
#define chaos_load __atomic_load_n
#define chaos_store __atomic_store_n
#define chaos_fetch_add __atomic_fetch_add
#define chaos_fetch_or __atomic_fetch_or
#endif

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_or_explicit
#define atomic_load_explicit(at, order)                                                            \
	({                                                                                         \
		__auto_type chaos_value = CHAOS_OPERATION(load)(at, order);                        \
		chaos();                                                                           \
		chaos_value;                                                                       \
	})
#define atomic_store_explicit(at, value, order)                                                    \
	({                                                                                         \
		CHAOS_OPERATION(store)(at, value, order);                                          \
		chaos();                                                                           \
	})
#define atomic_fetch_add_explicit(at, value, order)                                                \
	({                                                                                         \
		__auto_type chaos_value = CHAOS_OPERATION(fetch_add)(at, value, order);            \
		chaos();                                                                           \
		chaos_value;                                                                       \
	})
#define atomic_fetch_or_explicit(at, value, order)                                                 \
	({                                                                                         \
		__auto_type chaos_value = CHAOS_OPERATION(fetch_or)(at, value, order);             \
		chaos();                                                                           \
		chaos_value;                                                                       \
	})

#endif
