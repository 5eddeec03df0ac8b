/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the tests of alloc: calls to the system that can be made to fail (the linker redirects
 * them with --wrap, see meson.build), and asking whether an access faults.
 */
#ifndef TESTS_ALLOC_FAULTS_H
#define TESTS_ALLOC_FAULTS_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
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

/* Reads or writes one byte in a child: 1 if that kills it with SIGSEGV, 0 if it goes well. */
static inline int access_faults(volatile char *at, bool write)
{
	pid_t child = fork();

	if (child == 0) {
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL);
		if (write)
			*at = 1;
		else
			(void)*at;
		_exit(0);
	}
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	if (WIFEXITED(status))
		return WEXITSTATUS(status) == 0 ? 0 : -1;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV ? 1 : -1;
}

/* The same in this process, as what is not inherited faults in any child. Not thread-safe. */
static sigjmp_buf access_back;
static void access_caught(int signal_number)
{
	(void)signal_number;
	siglongjmp(access_back, 1);
}

static inline int access_faults_here(volatile char *at)
{
	struct sigaction old, catch = {.sa_handler = access_caught};
	volatile int faulted = 1;

	sigemptyset(&catch.sa_mask);
	sigaction(SIGSEGV, &catch, &old);
	if (sigsetjmp(access_back, 1) == 0) {
		(void)*at;
		faulted = 0;
	}
	sigaction(SIGSEGV, &old, NULL);
	return faulted;
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
