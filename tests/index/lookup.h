/* SPDX-License-Identifier: Apache-2.0 */
/* What the index's tests share: small records, and the look-up loop that index/index.h describes.
 */
#ifndef TESTS_INDEX_LOOKUP_H
#define TESTS_INDEX_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "index/index.h"

#define RECORD_ALIVE UINT64_C(0x616c697665616c69)
#define RECORD_UNITS (sizeof(struct record) / 8)

struct record {
	uint64_t key;
	uint64_t version;
	uint64_t magic;
};

/* Records by place; `base` is what index_open gets, too. */
struct table {
	struct index *index;
	struct record *records;
	uint64_t (*hash)(uint64_t key);
	_Atomic uint64_t hashed; /* calls of table_hash_of */
};

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static inline uint64_t random_next(uint64_t *state)
{
	return mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint64_t place_of(uint64_t record)
{
	return record * RECORD_UNITS;
}

static inline struct record *record_at(const struct table *table, uint64_t place)
{
	return table->records + place / RECORD_UNITS;
}

static uint64_t table_hash_of(void *context, uint64_t place)
{
	struct table *table = context;
	atomic_fetch_add_explicit(&table->hashed, 1, memory_order_relaxed);
	return table->hash(record_at(table, place)->key);
}

/* A reader's look-up; inside an epoch. The record, and where its entry was; NULL: a true miss. */
static inline const struct record *table_find(const struct table *table, uint64_t key,
					      struct index_slot *at)
{
	const struct index *ix = table->index;
	uint64_t hash = table->hash(key), view;
	*at = (struct index_slot){0};
	do {
		view = index_view(ix);
		struct bucket *b = index_home(ix, view, hash);
		for (; b; b = index_next(ix, b)) {
			for (unsigned m = index_match(b, hash); m; m &= m - 1) {
				unsigned slot = (unsigned)__builtin_ctz(m);
				uint64_t place = index_place(b, slot);
				if (place == INDEX_NOWHERE)
					continue;
				const struct record *record = record_at(table, place);
				if (record->key != key)
					continue;
				*at = (struct index_slot){b, slot};
				return record;
			}
		}
	} while (index_view(ix) != view);
	return NULL;
}

/* A writer's: the home bucket is locked. */
static inline bool table_find_locked(const struct table *table, struct bucket *home, uint64_t key,
				     struct index_slot *at)
{
	uint64_t hash = table->hash(key);
	*at = (struct index_slot){0};
	for (struct bucket *b = home; b; b = index_next(table->index, b)) {
		for (unsigned m = index_match(b, hash); m; m &= m - 1) {
			*at = (struct index_slot){b, (unsigned)__builtin_ctz(m)};
			if (record_at(table, index_place(b, at->slot))->key == key)
				return true;
		}
	}
	return false;
}

#endif
