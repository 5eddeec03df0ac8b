/* SPDX-License-Identifier: Apache-2.0 */
/* See delay.h. */
#include "alloc/delay.h"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#define CALIBRATE_NS 5000000u /* how long the counter is compared with the clock */
#define ROUNDS 3
#define BATCHES 8 /* of waits in a round, to find out what a call really takes */
#define BATCH_NS 200000u
#define PAUSE_NS 2000 /* further from the end than this, let the core's other thread run */

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* 1 if the CPU's counter runs at a constant rate in all power states. */
static int counter_usable(void)
{
#if defined(__x86_64__)
	unsigned a, b, c, d;
	return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d >> 8 & 1);
#else
	return 0;
#endif
}

static inline uint64_t ticks(int counter)
{
#if defined(__x86_64__)
	if (counter)
		return __rdtsc();
#endif
	(void)counter;
	return clock_ns();
}

/* Loads that were issued before complete first: a delay is added to them, not hidden by them. */
static inline uint64_t ticks_after_loads(int counter)
{
#if defined(__x86_64__)
	_mm_lfence();
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
	return ticks(counter);
}

/* Both clocks at one moment: the best of a few tries, as a try may be interrupted in the middle. */
static void sample(uint64_t *counter, uint64_t *ns)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 16; i++) {
		uint64_t before = ticks(1), now = clock_ns(), after = ticks(1);
		if (after - before >= best)
			continue;
		best = after - before;
		*counter = before + best / 2;
		*ns = now;
	}
}

static double measure_rate(void)
{
	uint64_t counter0 = 0, counter1 = 0, ns0 = 0, ns1 = 0;

	sample(&counter0, &ns0);
	while (clock_ns() - ns0 < CALIBRATE_NS)
		;
	sample(&counter1, &ns1);
	return (double)(counter1 - counter0) / (double)(ns1 - ns0);
}

/* What a call takes, in ticks: the least mean of a few batches, as a batch may be interrupted. */
static double measure_wait(struct delay *delay, unsigned calls)
{
	double least = 1e18;

	for (int batch = 0; batch < BATCHES; batch++) {
		uint64_t start = ticks(delay->counter);
		for (unsigned i = 0; i < calls; i++)
			delay_wait(delay, 0);
		double mean = (double)(ticks(delay->counter) - start) / calls;
		if (mean < least)
			least = mean;
	}
	return least;
}

/* Corrects the latency by what the call itself and the steps of the loop add to it. */
static void calibrate(struct delay *delay, uint32_t latency_ns)
{
	double target = latency_ns * delay->ticks_per_ns, latency = target;
	unsigned calls = BATCH_NS / (latency_ns + 20) + 1;

	for (int round = 0; round < ROUNDS; round++) {
		latency -= measure_wait(delay, calls) - target;
		/* Never more than it says, nor less than half: then it was the measurement. */
		latency = latency > target ? target : latency < target / 2 ? target / 2 : latency;
		delay->latency = (uint64_t)latency;
	}
}

void delay_init(struct delay *delay, uint32_t latency_ns, double bytes_per_ns)
{
	delay->counter = counter_usable();
	delay->ticks_per_ns = delay->counter ? measure_rate() : 1.0;
	if (delay->ticks_per_ns <= 0.01) { /* a counter that stands still is none */
		delay->counter = 0;
		delay->ticks_per_ns = 1.0;
	}
	delay->latency = (uint64_t)(latency_ns * delay->ticks_per_ns);
	delay->ticks_per_byte = 0;
	atomic_init(&delay->next_free, 0);
	/* Long waits are exact enough, and measuring them would take long. */
	if (latency_ns > 0 && latency_ns <= BATCH_NS / 4)
		calibrate(delay, latency_ns);
	if (bytes_per_ns > 0)
		delay->ticks_per_byte = delay->ticks_per_ns / bytes_per_ns;
}

/* Takes a slot in the pipe and says when it ends. */
static uint64_t take_slot(struct delay *delay, uint64_t now, size_t bytes)
{
	uint64_t cost = (uint64_t)((double)bytes * delay->ticks_per_byte);
	uint64_t free_at = atomic_load_explicit(&delay->next_free, memory_order_relaxed);
	uint64_t end;

	do {
		end = (free_at > now ? free_at : now) + cost;
	} while (!atomic_compare_exchange_weak_explicit(
		&delay->next_free, &free_at, end, memory_order_relaxed, memory_order_relaxed));
	return end;
}

void delay_wait(struct delay *delay, size_t bytes)
{
	uint64_t now = ticks_after_loads(delay->counter);
	uint64_t end = now;

	if (delay->ticks_per_byte > 0)
		end = take_slot(delay, now, bytes);
	end += delay->latency;
#if defined(__x86_64__)
	uint64_t far = (uint64_t)(PAUSE_NS * delay->ticks_per_ns);
	while (now < end && end - now > far) {
		_mm_pause();
		now = ticks(delay->counter);
	}
#endif
	while (now < end)
		now = ticks(delay->counter);
}
