/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions for our own bugs (never for the world's): on in every build, but for hot paths. */
#ifndef ALLOC_CHECK_H
#define ALLOC_CHECK_H

#include <assert.h>
#include <stdint.h>

_Noreturn void check_failed(const char *what, const char *file, int line);

#define check(condition)                                                                           \
	((__builtin_expect(!(condition), 0)) ? check_failed(#condition, __FILE__, __LINE__) : (void)0)

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#endif
