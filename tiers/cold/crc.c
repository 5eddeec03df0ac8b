/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c. The table of the plain form is computed by the compiler's own arithmetic at each call of the
 * byte step (eight shifts), which is slow and needs no state; it runs only where SSE 4.2 is missing.
 */
#include "tiers/cold/crc.h"

#include <string.h>

static uint32_t step_byte(uint32_t crc, uint8_t byte)
{
	crc ^= byte;
	for (int bit = 0; bit < 8; bit++)
		crc = (crc >> 1) ^ (UINT32_C(0x82f63b78) & (0u - (crc & 1)));
	return crc;
}

uint32_t crc_update_plain(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	crc = ~crc;
	while (len--)
		crc = step_byte(crc, *at++);
	return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t update_sse(uint32_t crc, const void *bytes,
							      size_t len)
{
	const uint8_t *at = bytes;
	uint64_t state = (uint32_t)~crc;
	for (; len >= 8; len -= 8, at += 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		state = _mm_crc32_u64(state, word);
	}
	for (; len; len--, at++)
		state = _mm_crc32_u8((uint32_t)state, *at);
	return ~(uint32_t)state;
}

uint32_t crc_update(uint32_t crc, const void *bytes, size_t len)
{
	if (__builtin_cpu_supports("sse4.2"))
		return update_sse(crc, bytes, len);
	return crc_update_plain(crc, bytes, len);
}
#else
uint32_t crc_update(uint32_t crc, const void *bytes, size_t len)
{
	return crc_update_plain(crc, bytes, len);
}
#endif
