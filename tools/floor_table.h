/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor's insides, for floor.c and for floor_probe.c, which is built once per instruction set.
 *
 * Layout: groups of 32 slots. A group's 32 tags of 16 bits are one cache line, and one AVX-512 compare;
 * tag 0 is an empty slot. The slots (key, then value) lie in an array of their own, in the same order.
 * A key goes to the first empty slot of its group, counted from its home slot with XOR; if the group
 * is full, to the next group. So a search reads one line of tags, as a rule, and one slot, whose
 * address depends on the tags; a single get prefetches its home pair at once, and is right in most
 * cases, so that both misses overlap.
 *
 * Chosen by measurement (10 M keys of 16 B, 64 B values, load 0.78, Zipf 0.99, one core of a Zen 5,
 * million gets/s, single and in batches of 32):
 *   slots with inline keys, linear probing           17    29
 *   lines of 4 keys and their 4 values               18    38
 *   the same, keys and values in separate arrays     17    39
 *   8-bit tags in groups of 16                       18    47
 *   8-bit tags in groups of 64                       16    42
 *   16-bit tags in groups of 32                      19    50
 *   the same, home slot prefetched                   23    55
 *   the same, home pair prefetched                   24    55
 * A branch on "is it the home slot" instead of the prefetch, or prefetching four slots, gave nothing.
 */
#ifndef TOOLS_FLOOR_TABLE_H
#define TOOLS_FLOOR_TABLE_H

#include "tools/floor.h"

#include <stddef.h>

#define FLOOR_GROUP 32u
#define FLOOR_LOAD 0.80 /* of the slots, when n keys are there */

struct floor_ops {
	const char *isa;
	bool (*get)(const struct floor *table, const void *key, void *value);
	int (*put)(struct floor *table, const void *key, const void *value);
	uint64_t (*get_batch)(const struct floor *table, const void *const *keys,
			      void *const *values, unsigned n);
	int (*put_batch)(struct floor *table, const void *const *keys, const void *const *values,
			 unsigned n);
};

struct floor {
	/* const after open */
	const struct floor_ops *ops;
	uint64_t groups;
	uint16_t *tags;
	unsigned char *slots;
	uint64_t stride; /* bytes from slot to slot */
	uint32_t key_len, value_len;
	uint64_t most; /* keys that it was opened for */
	size_t tag_bytes, slot_bytes;
	/* owned by the thread that inserts */
	uint64_t count;
};

/* Two of each: keys of 16 bytes with values of 64, and any sizes. */
extern const struct floor_ops floor_plain_16_64, floor_plain_any;
extern const struct floor_ops floor_avx2_16_64, floor_avx2_any;
extern const struct floor_ops floor_avx512_16_64, floor_avx512_any;

#endif
