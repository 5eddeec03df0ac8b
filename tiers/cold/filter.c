/* SPDX-License-Identifier: Apache-2.0 */
/* Building and proving binary fuse filters: see filter.h. */
#include "tiers/cold/filter.h"

#include "alloc/check.h"

#include <errno.h>
#include <math.h>

#define TRIES 64 /* seeds; each fails for a few sets in a hundred */

int filter_check(const uint8_t *section, size_t bytes, uint32_t slices)
{
	struct filter filter = { section, slices };
	struct point before = { 0 };
	size_t least = (size_t)slices * sizeof(struct filter_slice);
	if (least > bytes)
		return -EILSEQ;
	for (uint32_t i = 0; i < slices; i++) {
		const struct filter_slice *slice = &filter_slices(&filter)[i];
		struct point first = { slice->hash, slice->space };
		if (i && !point_before(before, first))
			return -EILSEQ;
		before = first;
		if (!slice->bytes)
			continue;
		uint64_t fingerprints = ((uint64_t)slice->parts + 2) * slice->part;
		if (slice->bytes > 2 || !slice->parts || slice->parts > FILTER_SLICE_KEYS * 4 ||
		    !slice->part || slice->part > FILTER_SLICE_KEYS * 4 ||
		    (slice->part & (slice->part - 1)) || slice->at % 8 || slice->at < least ||
		    slice->at > bytes || fingerprints > (bytes - slice->at) / slice->bytes)
			return -EILSEQ;
	}
	return 0;
}

/* The paper's sizes for three parts. */
static void choose_size(uint32_t keys, uint32_t *part, uint32_t *parts)
{
	double n = keys < 2 ? 2 : keys;
	*part = UINT32_C(1) << (unsigned)(log(n) / log(3.33) + 2.25);
	double factor = fmax(1.125, 0.875 + 0.25 * log(1e6) / log(n));
	uint32_t room = (uint32_t)round(n * factor);
	uint32_t all = (room + *part - 1) / *part;
	*parts = all > 2 ? all - 2 : 1;
}

size_t filter_array_bytes(uint32_t keys, uint8_t bytes)
{
	uint32_t part, parts;
	choose_size(keys, &part, &parts);
	return ((size_t)(parts + 2) * part * bytes + 7) & ~(size_t)7;
}

#define SLOTS_MAX (FILTER_SLICE_KEYS + FILTER_SLICE_KEYS / 4 + 2048)
_Static_assert(SLOTS_MAX < 65536, "slots are numbered in 16 bits");

struct scratch {
	uint64_t mixed[SLOTS_MAX];  /* of a slot: the exclusive or of the mixed hashes that fall on it */
	uint64_t peeled[FILTER_SLICE_KEYS];
	uint16_t at[FILTER_SLICE_KEYS]; /* of a peeled hash: the slot that it had to itself */
	uint16_t queue[SLOTS_MAX];
	uint8_t count[SLOTS_MAX];   /* of a slot: hashes that fall on it */
};

size_t filter_scratch_bytes(void)
{
	return sizeof(struct scratch);
}

/* Peels: takes hashes that have a slot to themselves until none is left. The number peeled; 0 also where too
 * many hashes fall on one slot. */
static uint32_t peel(const uint64_t *hashes, uint32_t n, const struct filter_slice *slice,
		     uint32_t slots, struct scratch *scratch)
{
	memset(scratch->mixed, 0, slots * sizeof(scratch->mixed[0]));
	memset(scratch->count, 0, slots * sizeof(scratch->count[0]));
	for (uint32_t i = 0; i < n; i++) {
		uint64_t m = filter_mix(hashes[i], slice->seed);
		struct filter_probe probe = filter_probe_mixed(slice, m);
		for (unsigned k = 0; k < 3; k++) {
			scratch->mixed[probe.at[k]] ^= m;
			if (!++scratch->count[probe.at[k]])
				return 0;
		}
	}
	uint32_t queued = 0, done = 0;
	for (uint32_t s = 0; s < slots; s++)
		if (scratch->count[s] == 1)
			scratch->queue[queued++] = (uint16_t)s;
	while (queued) {
		uint32_t s = scratch->queue[--queued];
		if (scratch->count[s] != 1)
			continue;
		uint64_t m = scratch->mixed[s];
		struct filter_probe probe = filter_probe_mixed(slice, m);
		scratch->peeled[done] = m;
		scratch->at[done++] = (uint16_t)s;
		for (unsigned k = 0; k < 3; k++) {
			uint32_t slot = probe.at[k];
			scratch->mixed[slot] ^= m;
			if (--scratch->count[slot] == 1 && slot != s)
				scratch->queue[queued++] = (uint16_t)slot;
		}
	}
	return done;
}

static uint32_t get_fingerprint(const void *array, uint32_t at, uint8_t bytes)
{
	return bytes == 2 ? ((const uint16_t *)array)[at] : ((const uint8_t *)array)[at];
}

static void fill(const struct filter_slice *slice, const struct scratch *scratch, uint32_t n,
		 void *array, size_t array_bytes)
{
	memset(array, 0, array_bytes);
	while (n--) {
		struct filter_probe probe = filter_probe_mixed(slice, scratch->peeled[n]);
		uint32_t value = probe.fingerprint, at = scratch->at[n];
		for (unsigned k = 0; k < 3; k++)
			if (probe.at[k] != at)
				value ^= get_fingerprint(array, probe.at[k], slice->bytes);
		if (slice->bytes == 2)
			((uint16_t *)array)[at] = (uint16_t)value;
		else
			((uint8_t *)array)[at] = (uint8_t)value;
	}
}

void filter_build(uint64_t *hashes, uint32_t n, uint8_t bytes, void *scratch,
		  struct filter_slice *slice, void *array)
{
	check(n && n <= FILTER_SLICE_KEYS);
	uint32_t unique = 1;
	for (uint32_t i = 1; i < n; i++) /* equal ones are neighbours, but for a chance in 2^64 */
		if (hashes[i] != hashes[unique - 1])
			hashes[unique++] = hashes[i];
	choose_size(n, &slice->part, &slice->parts);
	uint32_t slots = (slice->parts + 2) * slice->part;
	check(slots <= SLOTS_MAX);
	slice->bytes = bytes;
	for (slice->seed = 0; slice->seed < TRIES; slice->seed++) {
		if (peel(hashes, unique, slice, slots, scratch) == unique) {
			fill(slice, scratch, unique, array, filter_array_bytes(n, bytes));
			return;
		}
	}
	slice->bytes = 0;
}
