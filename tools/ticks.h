/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clock for single operations: the processor's time-stamp counter, fenced so that the operation
 * between two readings neither begins before the first nor ends after the second. Elsewhere than on
 * x86-64, the monotonic clock.
 */
#ifndef TOOLS_TICKS_H
#define TOOLS_TICKS_H

#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t ticks_clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t ticks_now(void)
{
#if defined(__x86_64__)
	_mm_lfence();
	uint64_t ticks = __rdtsc();
	_mm_lfence();
	return ticks;
#else
	return ticks_clock_ns();
#endif
}

/* Nanoseconds in one tick, measured over `ns` nanoseconds of waiting. */
static inline double ticks_calibrate(uint64_t ns)
{
	uint64_t start_ns = ticks_clock_ns(), start = ticks_now(), now_ns;
	do
		now_ns = ticks_clock_ns();
	while (now_ns - start_ns < ns);
	return (double)(now_ns - start_ns) / (double)(ticks_now() - start);
}

#endif
