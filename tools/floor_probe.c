/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor's searches. Built three times, with FLOOR_NAME as avx512, avx2 and plain and the compiler's
 * flags to match. Every function that takes sizes is inlined with constants for the common pair.
 */
#include "tools/floor_table.h"

#include <errno.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define JOIN2(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN2(a, b, c)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)
#define inlined static inline __attribute__((always_inline))
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

inlined uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

inlined uint64_t hash_key(const void *key, uint32_t len)
{
	const uint64_t p0 = UINT64_C(0x9e3779b97f4a7c15), p1 = UINT64_C(0xd6e8feb86659fd93);
	const unsigned char *bytes = key;
	uint64_t a, b, hash = 0;

	if (len == 16) {
		memcpy(&a, bytes, 8);
		memcpy(&b, bytes + 8, 8);
		return fold(a ^ p0, b ^ p1);
	}
	for (; len >= 16; len -= 16, bytes += 16) {
		memcpy(&a, bytes, 8);
		memcpy(&b, bytes + 8, 8);
		hash = fold(a ^ p0 ^ hash, b ^ p1);
	}
	a = b = 0;
	memcpy(&a, bytes, len < 8 ? len : 8);
	if (len > 8)
		memcpy(&b, bytes + 8, len - 8);
	return fold(a ^ p0 ^ hash, b ^ p1 ^ len);
}

inlined uint64_t group_of(const struct floor *table, uint64_t hash)
{
	return (uint64_t)(((__uint128_t)hash * table->groups) >> 64);
}

inlined uint16_t tag_of(uint64_t hash)
{
	uint16_t tag = (uint16_t)hash;
	return tag ? tag : 1;
}

inlined unsigned home_of(uint64_t hash)
{
	return (unsigned)(hash >> 16) % FLOOR_GROUP;
}

/* Bit i: slot i of the group has this tag. */
inlined uint32_t match(const struct floor *table, uint64_t group, uint16_t tag)
{
	const uint16_t *tags = table->tags + group * FLOOR_GROUP;
#if defined(__AVX512BW__)
	return _mm512_cmpeq_epi16_mask(_mm512_load_si512((const void *)tags),
				       _mm512_set1_epi16((short)tag));
#elif defined(__AVX2__)
	__m256i wanted = _mm256_set1_epi16((short)tag);
	__m256i low = _mm256_cmpeq_epi16(_mm256_load_si256((const __m256i *)tags), wanted);
	__m256i high = _mm256_cmpeq_epi16(_mm256_load_si256((const __m256i *)tags + 1), wanted);
	__m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
	return (uint32_t)_mm256_movemask_epi8(both);
#elif defined(__SSE2__)
	__m128i wanted = _mm_set1_epi16((short)tag);
	const __m128i *line = (const __m128i *)tags;
	__m128i low = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_load_si128(line), wanted),
				      _mm_cmpeq_epi16(_mm_load_si128(line + 1), wanted));
	__m128i high = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_load_si128(line + 2), wanted),
				       _mm_cmpeq_epi16(_mm_load_si128(line + 3), wanted));
	return (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
#else
	uint32_t mask = 0;
	for (unsigned i = 0; i < FLOOR_GROUP; i++)
		mask |= (uint32_t)(tags[i] == tag) << i;
	return mask;
#endif
}

inlined unsigned char *slot_at(const struct floor *table, uint64_t group, unsigned slot,
			       uint64_t stride)
{
	return table->slots + (group * FLOOR_GROUP + slot) * stride;
}

inlined bool same_key(const unsigned char *slot, const void *key, uint32_t len)
{
	if (len == 16) {
		uint64_t a[2], b[2];
		memcpy(a, slot, 16);
		memcpy(b, key, 16);
		return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
	}
	return memcmp(slot, key, len) == 0;
}

inlined void copy_value(void *to, const void *from, uint32_t len)
{
#if defined(__AVX512F__)
	if (__builtin_constant_p(len) && len == 64) {
		_mm512_storeu_si512(to, _mm512_loadu_si512(from));
		return;
	}
#endif
	memcpy(to, from, len);
}

/* The lines of a run of `bytes` that begins at a multiple of it; the first KiB is enough for the
 * hardware to go on by itself. */
inlined void prefetch_run(const unsigned char *start, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes && at < 1024; at += 64)
		__builtin_prefetch(start + at);
	if (bytes % 64 > (bytes & -bytes))
		__builtin_prefetch(start + bytes - 1);
}

/* The pair of slots where the key most likely is. */
inlined void prefetch_home(const struct floor *table, uint64_t hash, uint64_t group, uint64_t stride)
{
	if (stride <= 128)
		prefetch_run(slot_at(table, group, home_of(hash) & ~1u, stride), 2 * stride);
	else
		prefetch_run(slot_at(table, group, home_of(hash), stride), stride);
}

inlined unsigned char *find(const struct floor *table, const void *key, uint64_t hash,
			    uint64_t group, uint32_t key_len, uint64_t stride)
{
	for (;;) {
		uint32_t mask = match(table, group, tag_of(hash));
		while (likely(mask)) {
			unsigned char *slot =
				slot_at(table, group, (unsigned)__builtin_ctz(mask), stride);
			if (likely(same_key(slot, key, key_len)))
				return slot;
			mask &= mask - 1;
		}
		if (likely(match(table, group, 0)))
			return NULL;
		group = group + 1 == table->groups ? 0 : group + 1;
	}
}

inlined int insert(struct floor *table, const void *key, uint64_t hash, const void *value,
		   uint32_t key_len, uint32_t value_len, uint64_t stride)
{
	uint64_t group = group_of(table, hash);
	uint32_t mask;

	if (table->count == table->most)
		return -ENOSPC;
	while (!(mask = match(table, group, 0)))
		group = group + 1 == table->groups ? 0 : group + 1;
	unsigned at = home_of(hash);
	for (unsigned i = 1; !(mask >> at & 1); i++)
		at = home_of(hash) ^ i;
	unsigned char *slot = slot_at(table, group, at, stride);
	memcpy(slot, key, key_len);
	copy_value(slot + key_len, value, value_len);
	table->tags[group * FLOOR_GROUP + at] = tag_of(hash);
	table->count++;
	return 0;
}

inlined bool get_sized(const struct floor *table, const void *key, void *value, uint32_t key_len,
		       uint32_t value_len, uint64_t stride)
{
	uint64_t hash = hash_key(key, key_len), group = group_of(table, hash);
	prefetch_home(table, hash, group, stride);
	unsigned char *slot = find(table, key, hash, group, key_len, stride);
	if (unlikely(!slot))
		return false;
	copy_value(value, slot + key_len, value_len);
	return true;
}

inlined int put_sized(struct floor *table, const void *key, const void *value, uint32_t key_len,
		      uint32_t value_len, uint64_t stride)
{
	uint64_t hash = hash_key(key, key_len), group = group_of(table, hash);
	prefetch_home(table, hash, group, stride);
	unsigned char *slot = find(table, key, hash, group, key_len, stride);
	if (unlikely(!slot))
		return insert(table, key, hash, value, key_len, value_len, stride);
	copy_value(slot + key_len, value, value_len);
	return 0;
}

/* Hashes, prefetches the tags, then the slots that the tags point at. */
inlined void prefetch_batch(const struct floor *table, const void *const *keys, unsigned n,
			    uint32_t key_len, uint64_t stride, uint64_t *hashes, uint64_t *groups)
{
	for (unsigned i = 0; i < n; i++) {
		hashes[i] = hash_key(keys[i], key_len);
		groups[i] = group_of(table, hashes[i]);
		__builtin_prefetch(table->tags + groups[i] * FLOOR_GROUP);
	}
	for (unsigned i = 0; i < n; i++) {
		uint32_t mask = match(table, groups[i], tag_of(hashes[i]));
		if (likely(mask))
			prefetch_run(slot_at(table, groups[i], (unsigned)__builtin_ctz(mask), stride),
				      stride);
	}
}

inlined uint64_t get_batch_sized(const struct floor *table, const void *const *keys,
				 void *const *values, unsigned n, uint32_t key_len,
				 uint32_t value_len, uint64_t stride)
{
	uint64_t hashes[FLOOR_BATCH_MAX], groups[FLOOR_BATCH_MAX], found = 0;

	prefetch_batch(table, keys, n, key_len, stride, hashes, groups);
	for (unsigned i = 0; i < n; i++) {
		unsigned char *slot = find(table, keys[i], hashes[i], groups[i], key_len, stride);
		if (unlikely(!slot))
			continue;
		copy_value(values[i], slot + key_len, value_len);
		found |= UINT64_C(1) << i;
	}
	return found;
}

inlined int put_batch_sized(struct floor *table, const void *const *keys, const void *const *values,
			    unsigned n, uint32_t key_len, uint32_t value_len, uint64_t stride)
{
	uint64_t hashes[FLOOR_BATCH_MAX], groups[FLOOR_BATCH_MAX];
	int status = 0;

	prefetch_batch(table, keys, n, key_len, stride, hashes, groups);
	for (unsigned i = 0; i < n; i++) {
		unsigned char *slot = find(table, keys[i], hashes[i], groups[i], key_len, stride);
		if (likely(slot))
			copy_value(slot + key_len, values[i], value_len);
		else if (insert(table, keys[i], hashes[i], values[i], key_len, value_len, stride))
			status = -ENOSPC;
	}
	return status;
}

static bool get_16_64(const struct floor *table, const void *key, void *value)
{
	return get_sized(table, key, value, 16, 64, 80);
}

static int put_16_64(struct floor *table, const void *key, const void *value)
{
	return put_sized(table, key, value, 16, 64, 80);
}

static uint64_t get_batch_16_64(const struct floor *table, const void *const *keys,
				void *const *values, unsigned n)
{
	return get_batch_sized(table, keys, values, n, 16, 64, 80);
}

static int put_batch_16_64(struct floor *table, const void *const *keys, const void *const *values,
			   unsigned n)
{
	return put_batch_sized(table, keys, values, n, 16, 64, 80);
}

static bool get_any(const struct floor *table, const void *key, void *value)
{
	return get_sized(table, key, value, table->key_len, table->value_len, table->stride);
}

static int put_any(struct floor *table, const void *key, const void *value)
{
	return put_sized(table, key, value, table->key_len, table->value_len, table->stride);
}

static uint64_t get_batch_any(const struct floor *table, const void *const *keys,
			      void *const *values, unsigned n)
{
	return get_batch_sized(table, keys, values, n, table->key_len, table->value_len,
			       table->stride);
}

static int put_batch_any(struct floor *table, const void *const *keys, const void *const *values,
			 unsigned n)
{
	return put_batch_sized(table, keys, values, n, table->key_len, table->value_len,
			       table->stride);
}

const struct floor_ops JOIN(floor_, FLOOR_NAME, _16_64) = {
	TEXT(FLOOR_NAME), get_16_64, put_16_64, get_batch_16_64, put_batch_16_64,
};

const struct floor_ops JOIN(floor_, FLOOR_NAME, _any) = {
	TEXT(FLOOR_NAME), get_any, put_any, get_batch_any, put_batch_any,
};
