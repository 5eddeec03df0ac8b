/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NUMA nodes: which there are (sysfs), what they have left, and whether this process may set memory
 * policies at all (numa_available() overlooks EPERM, so it is tried). No state; thread-safe.
 * root is put before the path of every file read ("" for the real ones).
 */
#ifndef ALLOC_NODES_H
#define ALLOC_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODES_MAX 1024

struct node_set {
	unsigned long words[NODES_MAX / (8 * sizeof(unsigned long))]; /* as mbind wants it */
};

/* which: "online", "has_memory", "has_cpu". 0, or a negative errno (-ENOENT: no NUMA in sysfs, or
 * sysfs is not mounted). */
int nodes_read(const char *root, const char *which, struct node_set *set);
/* Parses a list such as "0-3,8". -EINVAL. */
int nodes_parse(const char *text, struct node_set *set);
bool nodes_has(const struct node_set *set, unsigned node);
void nodes_add(struct node_set *set, unsigned node);
unsigned nodes_count(const struct node_set *set);

/* Bytes of memory the node has. UINT64_MAX if unknown. */
uint64_t nodes_size(const char *root, unsigned node);
/* Bytes that could be taken from the node without swapping: free and page cache. UINT64_MAX if
 * unknown. */
uint64_t nodes_available(const char *root, unsigned node);

/* Binds pages that are not populated yet to the node. 0, -EPERM or -ENOSYS (policies are refused
 * here), -EINVAL (no such node, or one that this process's cpuset does not have), -ENOMEM. */
int nodes_bind(void *start, size_t bytes, unsigned node);
/* Spreads them over the nodes that have CPUs and memory; 0 also when there is only one such node.
 */
int nodes_interleave(void *start, size_t bytes);
/* Asks the kernel where some 64 pages of a populated range lie. 0: all on the node; 1: it cannot be
 * asked; -EXDEV: *elsewhere is a node that holds one of them. */
int nodes_verify(const void *start, size_t bytes, unsigned node, int *elsewhere);

#endif
