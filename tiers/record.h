/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record as it lies in a hot or warm segment, at a multiple of 8 bytes:
 *
 *   u64 head | [u64 seq] | [u64 expires_ms] | key | value | padding to 8
 *
 *   head:  0..9 key length - 1   10..28 value length   29..36 space   37..42 flags   43..63 seq delta
 *
 * Its sequence number is the segment's base plus the delta, or stands in full (a wide record) where that
 * does not fit. Once its place is in the index a record's bytes do not change, with one exception: see
 * "Overwriting in place" in overwrite.h.
 */
#ifndef TIERS_RECORD_H
#define TIERS_RECORD_H

#include "include/thermocline.h"

#include <stdbool.h>
#include <string.h>

#define RECORD_VALUE_MAX (256u << 10)
/* Deltas are below this. As a delta it says that the record is wide, and the one above it that the record
 * is not, and is being overwritten: one bit, the highest, tells that it is one of the two. */
#define RECORD_DELTA_MAX (UINT64_C(1) << 20)
#define RECORD_DELTA_BUSY (RECORD_DELTA_MAX + 1)

enum record_flag {
	RECORD_TOMBSTONE = 1 << 0,
	RECORD_CHUNK = 1 << 1,   /* a piece of a large value; part of the identity */
	RECORD_HEAD = 1 << 2,    /* the head of a large value: value is a struct large_head */
	RECORD_SHADOWING = 1 << 3, /* an older version may lie in cold: must reach it before it goes */
	RECORD_CLEAN = 1 << 4,   /* this very version lies in cold: may go without a write */
	RECORD_EXPIRES = 1 << 5, /* expires_ms is there */
};

#define HEAD_KEY_SHIFT 0
#define HEAD_VALUE_SHIFT 10
#define HEAD_SPACE_SHIFT 29
#define HEAD_FLAGS_SHIFT 37
#define HEAD_DELTA_SHIFT 43
#define HEAD_DELTA_BITS (~UINT64_C(0) << HEAD_DELTA_SHIFT)
#define HEAD_BUSY (RECORD_DELTA_BUSY << HEAD_DELTA_SHIFT)
#define HEAD_WIDE (RECORD_DELTA_MAX << HEAD_DELTA_SHIFT)
/* What of the head is the key's identity: key length, space, RECORD_CHUNK. */
#define HEAD_IDENTITY                                                                              \
	((UINT64_C(0x3ff) << HEAD_KEY_SHIFT) | (UINT64_C(0xff) << HEAD_SPACE_SHIFT) |              \
	 ((uint64_t)RECORD_CHUNK << HEAD_FLAGS_SHIFT))

/* 64-bit hash of an identity: what the index, the filters and the ghost know a key by. chunk: 0 or 1.
 * Seedless, so it may be stored on disk (format.md); wyhash-like mixing of 16-byte steps. */
static inline uint64_t key_mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t key_hash_seed(uint8_t space, unsigned chunk)
{
	return ((uint64_t)space << 8 | chunk) * UINT64_C(0x8ebc6af09c88c6e3);
}

static inline uint64_t key_hash_seeded(uint64_t seed, const void *key, size_t len)
{
	const uint64_t p0 = UINT64_C(0xa0761d6478bd642f), p1 = UINT64_C(0xe7037ed1a0b428db);
	const unsigned char *bytes = key;
	seed += p0 ^ len;
	uint64_t a, b;
	if (len >= 16) {
		size_t left = len;
		while (left > 16) {
			memcpy(&a, bytes, 8);
			memcpy(&b, bytes + 8, 8);
			seed = key_mix(a ^ p1, b ^ seed);
			bytes += 16;
			left -= 16;
		}
		memcpy(&a, bytes + left - 16, 8);
		memcpy(&b, bytes + left - 8, 8);
	} else if (len >= 4) {
		uint32_t x, y, z, w;
		size_t step = (len >> 3) << 2;
		memcpy(&x, bytes, 4);
		memcpy(&y, bytes + step, 4);
		memcpy(&z, bytes + len - 4, 4);
		memcpy(&w, bytes + len - 4 - step, 4);
		a = (uint64_t)x << 32 | y;
		b = (uint64_t)z << 32 | w;
	} else {
		a = len ? (uint64_t)bytes[0] << 16 | (uint64_t)bytes[len >> 1] << 8 | bytes[len - 1] : 0;
		b = 0;
	}
	uint64_t mixed = key_mix(a ^ p1, b ^ seed);
	return key_mix(mixed ^ p0, seed ^ p1);
}

static inline uint64_t key_hash(uint8_t space, const void *key, size_t len, unsigned chunk)
{
	return key_hash_seeded(key_hash_seed(space, chunk), key, len);
}

#endif
