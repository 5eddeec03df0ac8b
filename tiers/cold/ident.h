/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record's identity as segments know it: the space's byte, then the key's bytes, and whether it is a
 * chunk; its hash; and the order of records: by point (space, hash), then bytes, length, chunk last.
 */
#ifndef TIERS_COLD_IDENT_H
#define TIERS_COLD_IDENT_H

#include "include/thermocline.h"
#include "tiers/cold/cold.h"
#include "tiers/record.h"

#include <string.h>

#define IDENT_MAX (THERMO_KEY_MAX + 1u)

struct ident {
	const uint8_t *bytes;
	uint32_t len;
	uint8_t chunk; /* COLD_CHUNK or 0 */
};

/* A place in the order of records. */
struct point {
	uint64_t hash;
	uint32_t space; /* 256: beyond all records */
};

#define POINT_FIRST ((struct point){ 0, 0 })
#define POINT_END ((struct point){ 0, 256 })

static inline bool point_before(struct point a, struct point b)
{
	return a.space != b.space ? a.space < b.space : a.hash < b.hash;
}

static inline bool ident_equal(const struct ident *a, const struct ident *b)
{
	return a->len == b->len && a->chunk == b->chunk && !memcmp(a->bytes, b->bytes, a->len);
}

/* The order among records of one point. */
static inline int ident_compare(const struct ident *a, const struct ident *b)
{
	uint32_t least = a->len < b->len ? a->len : b->len;
	int order = memcmp(a->bytes, b->bytes, least);
	if (order)
		return order;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return (int)a->chunk - (int)b->chunk;
}

/* Copies into buffer (IDENT_MAX bytes), which the answer points to. key_len <= THERMO_KEY_MAX. */
static inline struct ident ident_make(uint8_t *buffer, uint8_t space, const void *key,
				      uint32_t key_len, uint8_t flags)
{
	buffer[0] = space;
	if (key_len)
		memcpy(buffer + 1, key, key_len);
	return (struct ident){ buffer, key_len + 1, flags & COLD_CHUNK };
}

static inline uint64_t ident_hash(const struct ident *ident)
{
	return key_hash(ident->bytes[0], ident->bytes + 1, ident->len - 1, ident->chunk != 0);
}

/* How many leading bytes they share. */
static inline uint32_t ident_shared(const uint8_t *a, uint32_t a_len, const uint8_t *b,
				    uint32_t b_len)
{
	uint32_t least = a_len < b_len ? a_len : b_len, n = 0;
	while (n + 8 <= least) {
		uint64_t x, y;
		memcpy(&x, a + n, 8);
		memcpy(&y, b + n, 8);
		if (x != y)
			return n + (uint32_t)__builtin_ctzll(x ^ y) / 8;
		n += 8;
	}
	while (n < least && a[n] == b[n])
		n++;
	return n;
}

#endif
