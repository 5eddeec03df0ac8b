/* SPDX-License-Identifier: Apache-2.0 */
/* Scans of a space's keys: the merged runs of one pinned set, less what is not there. */
#include "tiers/cold/merge.h"

#include <errno.h>

struct cold_scan {
	struct cold *cold;
	struct run_set *set;
	struct merge *merge;
	uint32_t prefix_len; /* of the space's byte and the caller's prefix */
	uint8_t prefix[IDENT_MAX];
	uint64_t counted;    /* bytes that the counters know of */
};

int cold_scan_open(struct cold *cold, uint8_t space, const void *prefix, size_t prefix_len,
		   struct cold_scan **out)
{
	if (prefix_len > THERMO_KEY_MAX)
		return -EINVAL;
	struct cold_scan *scan = memory_alloc(&cold->memory, sizeof(*scan));
	if (!scan)
		return -ENOMEM;
	scan->cold = cold;
	scan->set = set_pin(cold);
	scan->prefix_len = ident_make(scan->prefix, space, prefix, (uint32_t)prefix_len, 0).len;
	struct point start = { 0, space };
	int status = merge_open(cold, scan->set->runs, scan->set->n, start, &scan->merge);
	if (status) {
		cold_scan_close(&scan);
		return status;
	}
	*out = scan;
	return 0;
}

static bool listed(struct cold_scan *scan, const struct block_cursor *record, uint64_t hash)
{
	if (record->flags & (COLD_TOMBSTONE | COLD_CHUNK))
		return false;
	if (record->expires_ms &&
	    record->expires_ms <= scan->cold->clock_ms(scan->cold->clock_context))
		return false;
	struct point point = { hash, record->ident.bytes[0] };
	return set_visible(scan->set, &record->ident, hash, record->seq) &&
	       !set_lost(scan->cold, scan->set, point, record->seq);
}

static void count_reads(struct cold_scan *scan)
{
	uint64_t bytes = merge_read_bytes(scan->merge);
	if (bytes == scan->counted)
		return;
	count(&scan->cold->counters.reads,
	      (bytes - scan->counted + scan->merge->ahead - 1) / scan->merge->ahead);
	count(&scan->cold->counters.read_bytes, bytes - scan->counted);
	scan->counted = bytes;
}

int cold_scan_next(struct cold_scan *scan, struct cold_record *out)
{
	const struct run_iter *iter;
	for (;;) {
		int status = merge_next(scan->merge, &iter);
		if (status)
			return status;
		const struct block_cursor *record = &iter->at;
		const struct ident *ident = &record->ident;
		uint64_t hash = iter->point.hash;
		if (ident->bytes[0] != scan->prefix[0])
			return THERMO_MISS;
		if (ident->len < scan->prefix_len ||
		    memcmp(ident->bytes, scan->prefix, scan->prefix_len) ||
		    !listed(scan, record, hash))
			continue;
		count_reads(scan);
		*out = (struct cold_record){ .key = ident->bytes + 1,
					     .value = record->value,
					     .key_len = ident->len - 1,
					     .value_len = record->value_len,
					     .space = ident->bytes[0],
					     .flags = record->flags,
					     .hash = hash,
					     .seq = record->seq,
					     .expires_ms = record->expires_ms };
		return THERMO_OK;
	}
}

void cold_scan_close(struct cold_scan **out)
{
	struct cold_scan *scan = *out;
	if (!scan)
		return;
	if (scan->merge)
		count_reads(scan);
	merge_close(&scan->merge);
	set_unpin(scan->cold, scan->set);
	memory_free(&scan->cold->memory, scan, sizeof(*scan));
	*out = NULL;
}
