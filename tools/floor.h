/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: the speed of light that `thermo bench` holds the cache against. A plain open-addressing
 * table with keys and values of fixed sizes in place: no tiers, no eviction, no deletion, no
 * versions, no safety of any kind. It changes only in commits of its own.
 *
 * Threads. None of this is synchronised. Several threads may get, and overwrite keys that are there
 * with floor_put, and then read torn values: that is the price that the cache is measured against.
 * Inserting new keys is for one thread alone.
 */
#ifndef TOOLS_FLOOR_H
#define TOOLS_FLOOR_H

#include <stdbool.h>
#include <stdint.h>

#define FLOOR_BATCH_MAX 64

struct floor;

/* Room for n keys (at least 1) of key_len bytes with values of value_len bytes. -EINVAL (n or key_len
 * is 0), -EOVERFLOW, -ENOMEM. */
int floor_open(struct floor **table, uint64_t n, uint32_t key_len, uint32_t value_len);
void floor_close(struct floor **table);

/* Inserts, or overwrites in place. 0, or -ENOSPC when n keys are there. */
int floor_put(struct floor *table, const void *key, const void *value);
/* Copies the value; false if there is no such key. */
bool floor_get(const struct floor *table, const void *key, void *value);
/* The same for up to FLOOR_BATCH_MAX keys, with software prefetch. Bit i of the answer: key i was
 * there and its value copied to values[i]. */
uint64_t floor_get_batch(const struct floor *table, const void *const *keys, void *const *values,
			 unsigned n);
/* 0, or -ENOSPC: some of them were not stored. */
int floor_put_batch(struct floor *table, const void *const *keys, const void *const *values,
		    unsigned n);

uint64_t floor_count(const struct floor *table);
/* All the memory that the table takes, in bytes. */
uint64_t floor_bytes(const struct floor *table);
/* "avx512", "avx2", "sse2" or "plain": what it compares tags with. */
const char *floor_isa(const struct floor *table);

#endif
