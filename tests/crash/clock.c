/* SPDX-License-Identifier: Apache-2.0 */
/* In this program time is a count of questions and chance a constant, so that a seed repeats: the engine cuts
 * its slices of work by the monotonic clock, and names large values with a random number. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/clock.h"

static uint64_t asked; /* of one thread's; readers of the disk do not ask */

int clock_gettime(clockid_t id, struct timespec *time)
{
	if (id != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, id, time);
	asked += 2000; /* nanoseconds */
	time->tv_sec = (time_t)(1000 + asked / 1000000000);
	time->tv_nsec = (long)(asked % 1000000000);
	return 0;
}

ssize_t getrandom(void *bytes, size_t n, unsigned flags)
{
	(void)flags;
	memset(bytes, 0x5a, n);
	return (ssize_t)n;
}

void clock_restart(void)
{
	asked = 0;
}

double clock_real(void)
{
	struct timespec t;
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
