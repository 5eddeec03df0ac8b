/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: lets readers use what an atomic pointer leads to without a lock, and lets the one who
 * swapped the pointer wait until nobody uses the old one. No thread registers. Readers never wait.
 *
 * A reader counts itself in one of two counters of a stripe, then loads the pointer. Both in the single
 * total order of seq_cst: a reader that loaded the old pointer counted itself before the pointer was
 * swapped, so a waiter that afterwards sees each counter at zero once has seen that reader leave. The
 * phase only sends new readers to the other counter, so that each one does get to zero.
 * Nothing that can block may stand between enter and exit.
 */
#ifndef TIERS_COLD_GATE_H
#define TIERS_COLD_GATE_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#define GATE_STRIPES 32u

struct gate {
	struct {
		_Alignas(64) _Atomic uint64_t inside[2];
	} stripe[GATE_STRIPES];
	_Alignas(64) _Atomic unsigned phase;
};

/* Answers a token for gate_exit. */
static inline unsigned gate_enter(struct gate *gate)
{
	/* Threads have different stacks: a cheap way to spread them. */
	uintptr_t stack = (uintptr_t)__builtin_frame_address(0) >> 13;
	unsigned stripe = (unsigned)((stack * UINT64_C(0x9e3779b97f4a7c15)) >> 59) % GATE_STRIPES;
	unsigned phase = atomic_load_explicit(&gate->phase, memory_order_relaxed) & 1;
	atomic_fetch_add(&gate->stripe[stripe].inside[phase], 1);
	return stripe * 2 + phase;
}

static inline void gate_exit(struct gate *gate, unsigned token)
{
	/* Release: all that was read lies before what the waiter does after seeing zero. */
	atomic_fetch_sub_explicit(&gate->stripe[token / 2].inside[token % 2], 1,
				  memory_order_release);
}

/* Returns when no reader is inside that entered before the call. One caller at a time. */
static inline void gate_wait(struct gate *gate)
{
	for (int round = 0; round < 2; round++) {
		unsigned old = atomic_fetch_xor(&gate->phase, 1) & 1;
		for (unsigned s = 0; s < GATE_STRIPES; s++)
			while (atomic_load(&gate->stripe[s].inside[old]))
				sched_yield();
	}
}

#endif
