/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary fuse filters of three parts (Graf and Lemire, "Binary fuse filters: fast and smaller than Xor
 * filters", 2022): 16-bit fingerprints (one false positive in 65,536) or 8-bit ones (one in 256), about
 * 1.2 fingerprints a key. Static: built from all hashes at once, so a segment has one for each slice of
 * at most FILTER_SLICE_KEYS records; records come in hash order, so a slice is complete as soon
 * as it is full and building needs little memory.
 *
 * Part of the format: m = filter_mix(hash, seed); with `part` fingerprints in a part and `parts` parts,
 *   p0 = high 64 bits of m * (parts * part);  p1 = (p0 + part) ^ ((m >> 18) & (part - 1));
 *   p2 = (p0 + 2 * part) ^ (m & (part - 1));  fingerprint = low bits of m ^ (m >> 32);
 * a key is there if array[p0] ^ array[p1] ^ array[p2] is its fingerprint.
 *
 * Pure: the caller owns the memory.
 */
#ifndef TIERS_COLD_FILTER_H
#define TIERS_COLD_FILTER_H

#include "tiers/cold/format.h"
#include "tiers/cold/ident.h"

#include <stdbool.h>

#define FILTER_SLICE_KEYS 16384u

static inline uint64_t filter_mix(uint64_t hash, uint64_t seed)
{
	uint64_t x = hash + seed;
	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

struct filter_probe {
	uint32_t at[3];
	uint16_t fingerprint;
};

static inline struct filter_probe filter_probe_mixed(const struct filter_slice *slice, uint64_t m)
{
	uint64_t room = (uint64_t)slice->parts * slice->part;
	uint32_t p0 = (uint32_t)(((__uint128_t)m * room) >> 64), mask = slice->part - 1;
	return (struct filter_probe){ { p0, (p0 + slice->part) ^ ((uint32_t)(m >> 18) & mask),
					(p0 + 2 * slice->part) ^ ((uint32_t)m & mask) },
				      (uint16_t)(m ^ m >> 32) };
}

/* A filter section in memory, proved by filter_check. */
struct filter {
	const uint8_t *section;            /* slices, then arrays */
	uint32_t slices;
};

static inline const struct filter_slice *filter_slices(const struct filter *filter)
{
	return (const struct filter_slice *)filter->section;
}

/* The slice that the point falls into; NULL if it lies before the first. */
static inline const struct filter_slice *filter_find(const struct filter *filter, struct point point)
{
	const struct filter_slice *slices = filter_slices(filter);
	uint32_t low = 0, high = filter->slices;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		struct point first = { slices[middle].hash, slices[middle].space };
		if (point_before(point, first))
			high = middle;
		else
			low = middle + 1;
	}
	return low ? &slices[low - 1] : NULL;
}

/* Where in memory a hash is looked for: in two steps, so that the memory can be asked for ahead. */
struct filter_aim {
	const uint8_t *array;
	struct filter_probe probe;
	uint8_t bytes; /* of a fingerprint; 0: it may be there */
};

/* mixed: filter_mix(hash, 0), since nearly all seeds are 0. */
static inline struct filter_aim filter_aim_at(const struct filter *filter,
					      const struct filter_slice *slice, uint64_t hash,
					      uint64_t mixed)
{
	struct filter_aim aim = { filter->section + slice->at, { { 0 }, 0 }, slice->bytes };
	if (!aim.bytes)
		return aim;
	aim.probe = filter_probe_mixed(slice, slice->seed ? filter_mix(hash, slice->seed) : mixed);
	for (unsigned i = 0; i < 3; i++)
		__builtin_prefetch(aim.array + (size_t)aim.probe.at[i] * aim.bytes);
	return aim;
}

static inline bool filter_aim_test(const struct filter_aim *aim)
{
	const uint32_t *at = aim->probe.at;
	const uint16_t *wide = (const uint16_t *)aim->array;
	if (aim->bytes == 2)
		return (wide[at[0]] ^ wide[at[1]] ^ wide[at[2]]) == aim->probe.fingerprint;
	if (aim->bytes == 1)
		return (aim->array[at[0]] ^ aim->array[at[1]] ^ aim->array[at[2]]) ==
		       (uint8_t)aim->probe.fingerprint;
	return true;
}

static inline bool filter_test(const struct filter *filter, const struct filter_slice *slice,
			       uint64_t hash)
{
	struct filter_aim aim = filter_aim_at(filter, slice, hash, filter_mix(hash, 0));
	return filter_aim_test(&aim);
}

/* Proves a section of so many bytes: slices in order, arrays inside it. 0 or -EILSEQ. */
int filter_check(const uint8_t *section, size_t bytes, uint32_t slices);

/* ---- Building ---- */

/* Bytes of the array for so many keys, a multiple of 8. */
size_t filter_array_bytes(uint32_t keys, uint8_t bytes);
/* Working memory of filter_build, at 8 bytes' alignment. */
size_t filter_scratch_bytes(void);
/* Fills slice (but for hash, space and at) and the array, filter_array_bytes of it. n <= FILTER_SLICE_KEYS
 * hashes, which may be equal: they are reordered. Where no seed serves, slice->bytes is 0 and the
 * array is not used. */
void filter_build(uint64_t *hashes, uint32_t n, uint8_t bytes, void *scratch,
		  struct filter_slice *slice, void *array);

#endif
