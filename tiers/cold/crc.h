/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c (Castagnoli), with the processor's instruction where there is one. Pure; any thread. */
#ifndef TIERS_COLD_CRC_H
#define TIERS_COLD_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continues from crc (0 to begin). */
uint32_t crc_update(uint32_t crc, const void *bytes, size_t len);
/* The same in plain C, for machines without it and for tests. */
uint32_t crc_update_plain(uint32_t crc, const void *bytes, size_t len);

/* What blocks and fence pages are protected by: the bytes and where they belong. */
static inline uint32_t crc_placed(uint64_t number, uint64_t place, const void *bytes, size_t len)
{
	uint64_t where[2] = { number, place };
	return crc_update(crc_update(0, where, sizeof(where)), bytes, len);
}

#endif
