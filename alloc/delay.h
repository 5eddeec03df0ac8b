/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting a few hundred nanoseconds, precisely: the latency and the bandwidth of emulated memory. A
 * caller spins, as a core stalls on real memory. Time is the CPU's own counter where that is constant
 * and synchronous, else clock_gettime.
 *
 * Bandwidth is one pipe for all threads: next_free is when it has carried all that was asked of it. A
 * caller queues behind that, pays for its bytes, and then waits the latency (which overlaps with the
 * transfers of others). Time in which nobody asked is not saved up.
 */
#ifndef ALLOC_DELAY_H
#define ALLOC_DELAY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct delay {
	/* const after delay_init */
	uint64_t latency;        /* counter ticks to spin, the cost of the call itself taken off */
	double ticks_per_ns;
	double ticks_per_byte;   /* 0 = no bandwidth limit */
	int counter;             /* 1: the CPU's counter; 0: clock_gettime */
	char _pad0[64];
	_Atomic uint64_t next_free; /* ticks */
	char _pad1[64];
};

/* latency_ns is added to each call; bytes_per_ns (= GB/s), 0 = unlimited, is shared by all threads.
 * Calibrates, which takes some 10 ms. */
void delay_init(struct delay *delay, uint32_t latency_ns, double bytes_per_ns);
/* Thread-safe, no system call where the CPU's counter is usable. */
void delay_wait(struct delay *delay, size_t bytes);

#endif
