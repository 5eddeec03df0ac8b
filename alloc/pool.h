/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool: the segments of one tier, cut from a provider's extents, under a hard cap.
 *
 *   ABSENT --extent committed--> FREE --pool_take--> OPEN --seal--> SEALED --migrator--> SCANNING
 *     ^                           ^                                                        |
 *     +--extent closed------------+------------- epoch passed, no pins ------- LIMBO <-----+
 *
 * A segment holds records of one space, appended one after another; its bookkeeping is here, in DRAM:
 * looking at a segment of slow memory must not touch that memory. Lists and states are under the
 * engine's lock (tiers/engine.h); `used`, `pins`, `max_seq` and `expires_max` are atomic.
 */
#ifndef ALLOC_POOL_H
#define ALLOC_POOL_H

#include "alloc/budget.h"
#include "alloc/provider.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct heap;

#define SEGMENT_BYTES_MIN ((uint32_t)64 << 10)
#define SEGMENT_UNLOGGED UINT64_MAX
#define SEGMENT_BYTES_MAX ((uint32_t)2 << 20)

enum segment_state {
	SEGMENT_ABSENT = 0,
	SEGMENT_FREE,
	SEGMENT_OPEN,
	SEGMENT_SEALED,
	SEGMENT_SCANNING,
	SEGMENT_LIMBO,
};

struct segment {
	/* Written by whoever took it, before it is OPEN; const until it is FREE again. */
	_Alignas(128) uint64_t base_seq; /* what record deltas count from */
	uint64_t born;                   /* place in the order of residency */
	uint64_t opened;                 /* stamp of its opening; born may be older */
	uint64_t born_ms;
	uint32_t number; /* const: index in its pool */
	uint8_t tier;    /* const: enum thermo_tier */
	uint8_t space;
	uint8_t queue; /* enum policy_queue */
	uint8_t klass; /* time-to-live class */
	uint8_t lane;  /* 1: writers fill it; 0: the migrator does. Under the engine's lock */
	/* atomic */
	_Atomic uint8_t state;
	_Atomic uint32_t used; /* bytes of records; only grows while OPEN */
	_Atomic uint32_t pins; /* refs and scans that hold it */
	_Atomic uint64_t max_seq;
	_Atomic uint64_t expires_max; /* the last expiry in it; UINT64_MAX: some never expire */
	/* The oldest log file that must stay for what is here and not in cold; SEGMENT_UNLOGGED: none. 0: the image. */
	_Atomic uint64_t log_file;
	_Atomic uint8_t shadowing;    /* copies of its records may lie in cold, whatever their flags say */
	/* under the engine's lock */
	struct segment *prev, *next;
	uint8_t stuck; /* some record could not leave: under migrate_lock */
	uint64_t limbo_epoch;
	uint64_t sealed_epoch; /* writers of it are gone when this has passed */
};

struct segment_list {
	struct segment *head, *tail; /* oldest first */
	uint32_t count;
};

struct pool {
	/* const after open */
	struct provider *provider;
	struct budget *budget; /* of DRAM: charged with the table of segments ... */
	bool is_dram;          /* ... and with the extents */
	char *base;
	uint32_t segment_bytes, segment_shift, per_extent;
	uint32_t segments_max;
	uint8_t tier;
	struct segment *segments; /* segments_max, in committed pages */
	/* under the engine's lock */
	struct segment_list free, limbo;
	uint32_t extents_present; /* committed */
	_Atomic uint32_t extents_target; /* what the cap allows; changed under the lock */
	uint32_t extents_high;    /* one past the highest ever present */
	uint8_t *extent_state;    /* enum extent_state, per extent */
	uint8_t *extent_free;     /* FREE segments, per extent */
	/* atomic */
	_Atomic uint32_t pinned_segments;
};

enum extent_state { EXTENT_ABSENT = 0, EXTENT_PRESENT, EXTENT_CLOSING };

/* Reserves for max_bytes; commits nothing. Takes the provider over only on success. */
int pool_open(struct pool *pool, uint8_t tier, struct provider *provider, struct budget *budget,
	      bool is_dram, struct heap *heap, uint64_t max_bytes, uint32_t segment_bytes);
void pool_close(struct pool *pool, struct heap *heap);

/* Takes closing extents back and commits others, up to the target; -ENOMEM when the budget or the provider has no more. */
int pool_grow(struct pool *pool, uint32_t extents_target);
/* Marks the highest extents as closing, so that no more than the target stay. Their free segments are
 * withdrawn at once; the others go as they are reclaimed. */
void pool_shrink(struct pool *pool, uint32_t extents_target);

/* A free segment, made OPEN, its counters reset, if more than `leave` are free; else NULL. */
struct segment *pool_take(struct pool *pool, uint32_t leave);
/* To limbo: unlinked everywhere, may still be seen by readers of earlier epochs. */
void pool_retire(struct pool *pool, struct segment *segment, uint64_t epoch);
/* Frees what is in limbo and unseen; the number freed. */
uint32_t pool_reclaim_limbo(struct pool *pool, bool (*passed)(uint64_t epoch));
/* Puts back a segment that was taken and never seen by anybody. */
void pool_untake(struct pool *pool, struct segment *segment);

void segment_list_append(struct segment_list *list, struct segment *segment);
/* Keeps the list ordered by `born`; looks from the tail. */
void segment_list_insert(struct segment_list *list, struct segment *segment);
void segment_list_remove(struct segment_list *list, struct segment *segment);

static inline bool pool_closing(const struct pool *pool, const struct segment *segment)
{
	return pool->extent_state[segment->number / pool->per_extent] == EXTENT_CLOSING;
}

static inline void segment_pin_log(struct segment *segment, uint64_t file)
{
	uint64_t now = atomic_load(&segment->log_file);
	while (file < now && !atomic_compare_exchange_weak(&segment->log_file, &now, file))
		;
}

static inline char *segment_start(const struct pool *pool, const struct segment *segment)
{
	return pool->base + ((uint64_t)segment->number << pool->segment_shift);
}

static inline struct segment *pool_segment(const struct pool *pool, uint64_t offset)
{
	return &pool->segments[offset >> pool->segment_shift];
}

#endif
