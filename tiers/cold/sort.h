/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting what a writer holds, in place, without memory of its own. Pure. */
#ifndef TIERS_COLD_SORT_H
#define TIERS_COLD_SORT_H

#include "tiers/cold/ident.h"

/* A record in a writer's arena, at a multiple of 8; then the identity's bytes, then the value's. */
struct held {
	uint64_t seq;
	uint64_t expires_ms;
	uint32_t value_len;
	uint16_t ident_len;
	uint8_t flags; /* enum cold_flag */
	uint8_t gone;  /* superseded by what was published meanwhile */
};

struct sort_entry {
	uint64_t hash;
	uint64_t at; /* of the record in the arena; bits 63..56: its space */
};

#define SORT_AT_MASK ((UINT64_C(1) << 56) - 1)

static inline struct held *sort_held(char *arena, const struct sort_entry *entry)
{
	return (struct held *)(arena + (entry->at & SORT_AT_MASK));
}

static inline struct point sort_point(const struct sort_entry *entry)
{
	return (struct point){ entry->hash, (uint32_t)(entry->at >> 56) };
}

static inline struct ident sort_ident(const struct held *held)
{
	return (struct ident){ (const uint8_t *)(held + 1), held->ident_len,
			       held->flags & COLD_CHUNK };
}

/* By point, then identity; equal ones by sequence number, the greatest first. */
void sort_entries(char *arena, struct sort_entry *entries, size_t n);

#endif
