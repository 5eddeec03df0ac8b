/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this process may still take before the kernel kills something. */
#ifndef ALLOC_MEMORY_LIMIT_H
#define ALLOC_MEMORY_LIMIT_H

#include <stdint.h>

/*
 * Bytes: the least of MemAvailable (physical memory where that is not known) and, for every cgroup
 * from this process's up to the root, of version 1 and 2, its limit (memory.max and memory.high;
 * memory.limit_in_bytes) less what it uses beyond page cache that can be dropped. A snapshot: others
 * take memory too. Thread-safe; allocates nothing.
 */
uint64_t memory_limit(void);
/* The same, with root before the path of every file that is read. */
uint64_t memory_limit_under(const char *root);

#endif
