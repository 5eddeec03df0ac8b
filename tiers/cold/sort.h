/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting what a writer holds, in place, without memory of its own. Pure. */
#ifndef TIERS_COLD_SORT_H
#define TIERS_COLD_SORT_H

#include "tiers/cold/ident.h"

/* A record in a writer's arena, at a multiple of 8; then the identity's bytes, then the value's. */
struct held {
	uint64_t seq;
	uint64_t expires_ms;
	uint64_t hash;
	uint32_t value_len;
	uint16_t ident_len;
	uint8_t flags; /* enum cold_flag */
	uint8_t gone;  /* superseded by what was published meanwhile */
};

struct sort_entry {
	uint64_t word; /* eight bytes of the identity, big-endian, from where the sort is */
	uint64_t at;   /* of the record in the arena */
};

static inline struct held *sort_held(char *arena, const struct sort_entry *entry)
{
	return (struct held *)(arena + entry->at);
}

/* By identity; equal ones by sequence number, the greatest first. */
void sort_entries(char *arena, struct sort_entry *entries, size_t n);

#endif
