/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the tests of alloc: calls to the system that can be made to fail (the linker redirects
 * them with --wrap, see meson.build), and asking whether an access faults.
 */
#ifndef TESTS_ALLOC_FAULTS_H
#define TESTS_ALLOC_FAULTS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The call that fails: the fault_at-th wrapped one from now (0 = none). */
static uint64_t fault_calls, fault_at;

static inline bool fault_now(void)
{
	return ++fault_calls == fault_at;
}

static inline void fault_arm(uint64_t nth)
{
	fault_calls = 0;
	fault_at = nth;
}

/* Was the call that should fail ever made? */
static inline bool fault_hit(void)
{
	return fault_at && fault_calls >= fault_at;
}

/* Can a byte not be read here? The kernel is asked to: it answers EFAULT where we would be killed. */
static inline int access_faults_here(const volatile char *at)
{
	int ends[2], rc;

	if (pipe(ends))
		return -1;
	if (write(ends[1], (const char *)(uintptr_t)at, 1) == 1)
		rc = 0;
	else
		rc = errno == EFAULT ? 1 : -1;
	close(ends[0]);
	close(ends[1]);
	return rc;
}

/* Does a forked child have this page? The byte, which must not be 0, is compared too, as something else
 * may be mapped in a child's gap (a sanitizer does). */
static inline int inherited_by_child(const volatile char *at)
{
	int status = 0, value = *at;
	pid_t child = fork();

	if (child == 0)
		_exit(access_faults_here(at) == 0 && *at == value);
	if (value == 0 || child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* memkind takes more locks around a fork than ThreadSanitizer's deadlock detector can count. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "detect_deadlocks=0";
}

/* How many of the pages are in memory. */
static inline size_t pages_resident(void *start, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = bytes / page, resident = 0;
	unsigned char *map = malloc(n);

	if (map && mincore(start, bytes, map) == 0)
		for (size_t i = 0; i < n; i++)
			resident += map[i] & 1;
	free(map);
	return resident;
}

static inline bool all_bytes(const char *at, size_t bytes, char value)
{
	return bytes == 0 || (at[0] == value && memcmp(at, at + 1, bytes - 1) == 0);
}

#endif
