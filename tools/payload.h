/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values whose every byte follows from a seed, so that a reader who knows the seed can check them
 * all. A value is a run of 8-byte words; word i depends on the seed and on i alone.
 */
#ifndef TOOLS_PAYLOAD_H
#define TOOLS_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

/* How well the bytes compress, after what such values are in a recommender. */
enum payload_kind {
	PAYLOAD_MIXED = 0, /* fields: about half of the bytes are random */
	PAYLOAD_EVENTS, /* a behaviour sequence: 16-byte events, times that rise, 32-bit item ids */
	PAYLOAD_FLOATS, /* an embedding: float32 with random mantissas, does not compress */
	PAYLOAD_TEXT,   /* metadata: words of a small vocabulary */
};

/* The seed of a key's value as of its version. */
uint64_t payload_seed(uint64_t key, uint32_t version);
void payload_fill(void *value, size_t len, enum payload_kind kind, uint64_t seed);
/* How many of the len bytes are not what payload_fill would have written. */
uint64_t payload_check(const void *value, size_t len, enum payload_kind kind, uint64_t seed);

#endif
