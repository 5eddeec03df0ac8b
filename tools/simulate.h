/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner's simulator: an object-granular cache of two tiers, DRAM and warm, above a cold one
 * that holds everything. It runs the policy code that the engine runs (tiers/policy.h), object by
 * object; lru, sieve and fifo are exact here, where the engine approximates them segment by
 * segment.
 *
 * Placement never changes residency: the same objects are resident however the capacity is split
 * between DRAM and warm, as long as the small queue has the same size (10 % of all bytes or half of
 * DRAM). One thread at a time.
 */
#ifndef TOOLS_SIMULATE_H
#define TOOLS_SIMULATE_H

#include "tiers/policy.h"

struct simulate_options {
	enum policy_kind kind;
	uint64_t dram, warm; /* capacities: bytes, or objects if every size is given as 1 */
	uint64_t objects;    /* distinct keys to expect; 0 = unknown, tables grow */
	uint32_t small_permille, decay_percent; /* as struct policy_options; 0 = default */
	bool promote_on_walk; /* warm objects are promoted by the background walk, not at their hits
			       */
};

struct simulate_stats {
	uint64_t requests;
	uint64_t hits[2]; /* by enum thermo_tier: hot, warm */
	uint64_t misses;
	uint64_t promoted, demoted;             /* objects moved warm -> DRAM, DRAM -> warm */
	uint64_t promoted_bytes, demoted_bytes; /* in cost units */
	uint64_t evicted, refused;              /* refused: too large to be admitted */
	uint64_t objects, used[2];              /* now; used in cost units */
	uint64_t epochs;
	uint64_t ghost_bytes, ghost_objects;
	unsigned threshold; /* policy_threshold now */
};

/* The threshold as it changed: at most SIMULATE_HISTORY samples over the whole run (when there are
 * more, every other one is dropped). */
#define SIMULATE_HISTORY 512u
struct simulate_sample {
	uint64_t request;
	uint32_t epoch;
	uint32_t threshold; /* in 1/256 of a frequency */
};

struct simulate;

/* -EINVAL (no capacity), -ENOMEM. */
int simulate_open(const struct simulate_options *options, struct simulate **simulate);
void simulate_close(struct simulate **simulate);

/* One get or set of `key` with `size` cost units (at least 1; on a hit the object keeps its size):
 * THERMO_HOT, THERMO_WARM where it was, THERMO_COLD for a miss (it is then admitted, unless it is
 * too large); -ENOMEM. */
int simulate_request(struct simulate *simulate, uint64_t key, uint64_t size);
/* Removes the key. Not a request. THERMO_OK or THERMO_MISS. */
int simulate_delete(struct simulate *simulate, uint64_t key);

void simulate_stats(const struct simulate *simulate, struct simulate_stats *stats);
/* Oldest first; valid until the next request. */
const struct simulate_sample *simulate_history(const struct simulate *simulate, size_t *n);

#endif
