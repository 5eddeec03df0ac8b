/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy: what stays in byte-addressable memory, and in which of its two tiers. Pure decisions,
 * no records: the engine (segment by segment) and the planner's simulator (object by object) run
 * the same code, so that a planned hit ratio and a measured one can agree.
 *
 * Residency is S3-FIFO (Yang et al., SOSP 2023) over hot and warm together. A new record enters the
 * small queue, or the main queue if the ghost remembers its key. Nothing leaves either queue before
 * hot and warm together are full. When room is needed, the caller scans the oldest records of main
 * if it is over policy_main_target() or small is empty, else of small, and asks policy_scan: from
 * the small queue a record that was used twice goes on to main, others leave and are remembered;
 * from the main queue a used record is reinserted with one use fewer.
 *
 * So the small queue is larger than its target until main has grown to its own. (Sending what small
 * has no room for to main instead was measured: up to 1.8 points more misses on block traces.)
 *
 * Placement: of the records in the main queue, those of the highest decayed frequency live in DRAM.
 * The threshold is where their population fills it; a record's hash splits the class of the
 * threshold, so that a fraction of a class can be in DRAM and it is always the same records.
 * Records of the small queue stay in the tier that they were put in: DRAM while those in DRAM cost
 * less than policy_small_hot(), else warm. At the target size all of them are in DRAM.
 *
 * When to ask policy_place: for promotion, of warm main records, either at a hit (the reader leaves
 * the migrator a note if the answer is hot) or in a background walk over the counters: they differ
 * by half a point of DRAM's share of hits, but asking only when a record is scanned loses 4 to 20
 * points. For demotion, when a record goes from small to main, and of the oldest of DRAM's main
 * records when DRAM is short.
 *
 * The counter byte that the caller keeps with each resident record:
 *   bits 0..1 reuse (0..3)   2..5 frequency (0..15), as of   6..7 decay epoch modulo 4
 * A hit stores policy_touched() if it differs. Decay is lazy: the frequency halves for each epoch
 * that has passed. A byte that nobody brings up to date for 4 epochs looks 4 epochs younger than it
 * is, so whoever walks the records for policy_population stores policy_decayed() back.
 *
 * The other kinds, for comparison, have no small queue and no ghost. In an engine that scans
 * segments `lru` and `sieve` are both CLOCK with one bit (a used record is reinserted, its uses
 * forgotten), `fifo` keeps nothing. (The simulator runs exact LRU, SIEVE and FIFO.)
 *
 * Threads. Inline functions and policy_admit: any thread, no lock. The rest: any thread, serialized
 * inside by a mutex that is held for well under a microsecond (policy_resize: microseconds).
 */
#ifndef TIERS_POLICY_H
#define TIERS_POLICY_H

#include "include/thermocline.h"

#include <stdatomic.h>

struct heap;
struct budget;
struct ghost;

enum policy_kind { POLICY_S3FIFO = 0, POLICY_LRU = 1, POLICY_SIEVE = 2, POLICY_FIFO = 3 };
enum policy_queue { POLICY_SMALL = 0, POLICY_MAIN = 1 };
enum policy_verdict { POLICY_EVICT = 0, POLICY_KEEP = 1 };

/* Cost units are the caller's: bytes, or objects. */
struct policy_options {
	enum policy_kind kind;
	uint64_t hot, warm;      /* capacity in cost units */
	uint64_t ghost_objects;  /* most keys to remember; sets address space aside, memory is taken
				  * as the ghost grows (6 to 12 bytes a key). 0: one per 64 cost
				  * units */
	uint32_t small_permille; /* small queue, of hot + warm; 0 = 100 */
	uint32_t decay_percent;  /* decay period in accesses per 100 resident objects; 0 = chosen */
	struct heap *heap;
	struct budget *budget; /* the ghost's pages are charged to it; when it refuses, the ghost
				* stays as it is and forgets its oldest keys earlier */
};

/* Fields are the policy's own; here for the inline functions only. */
struct policy {
	enum policy_kind kind;       /* const after open */
	_Atomic uint32_t epoch;      /* decay epoch */
	_Atomic uint32_t threshold;  /* of placement, in 1/256 of a frequency */
	_Atomic uint32_t hysteresis; /* likewise */
	_Atomic uint64_t hot, warm, small_target;
	struct ghost *ghost; /* const after open; NULL but for s3fifo */
};

#define POLICY_REUSE_MAX 3u
#define POLICY_FREQUENCY_MAX 15u
#define POLICY_REUSE_MASK 0x03u
#define POLICY_FREQUENCY_SHIFT 2
#define POLICY_EPOCH_SHIFT 6

/* "s3fifo", "lru", "sieve", "fifo"; -EINVAL */
int policy_parse(const char *name, enum policy_kind *kind);
const char *policy_name(enum policy_kind kind);

/* -EINVAL (hot and warm both 0, a ratio over 1), -ENOMEM. */
int policy_open(struct policy **policy, const struct policy_options *options);
void policy_close(struct policy **policy);
/* New capacities; what is remembered stays. */
void policy_resize(struct policy *policy, uint64_t hot, uint64_t warm);

/* ---- The counter byte ---------------------------------------------------------------------- */

static inline uint32_t policy_epoch(const struct policy *policy)
{
	return atomic_load_explicit(&policy->epoch, memory_order_relaxed);
}

/* The frequency as of `epoch`, 0..15. */
static inline unsigned policy_frequency(uint8_t counter, uint32_t epoch)
{
	unsigned age = (epoch - (counter >> POLICY_EPOCH_SHIFT)) & 3u;
	return ((counter >> POLICY_FREQUENCY_SHIFT) & POLICY_FREQUENCY_MAX) >> age;
}

static inline unsigned policy_reuse(uint8_t counter)
{
	return counter & POLICY_REUSE_MASK;
}

static inline uint8_t policy_counter(unsigned reuse, unsigned frequency, uint32_t epoch)
{
	return (uint8_t)(reuse | frequency << POLICY_FREQUENCY_SHIFT |
			 (epoch & 3u) << POLICY_EPOCH_SHIFT);
}

/* The byte brought up to date; the same byte if it is. */
static inline uint8_t policy_decayed(uint8_t counter, uint32_t epoch)
{
	return policy_counter(policy_reuse(counter), policy_frequency(counter, epoch), epoch);
}

/* The byte after one hit; the same byte when nothing changes, so that the store can be skipped. */
static inline uint8_t policy_touched(uint8_t counter, uint32_t epoch)
{
	unsigned reuse = policy_reuse(counter);
	unsigned frequency = policy_frequency(counter, epoch);
	return policy_counter(reuse + (reuse < POLICY_REUSE_MAX),
			      frequency + (frequency < POLICY_FREQUENCY_MAX), epoch);
}

/* The byte of a new record. (A put over a resident record is a hit: policy_touched of the old
 * byte.) */
static inline uint8_t policy_fresh(const struct policy *policy)
{
	return policy_counter(0, 1, policy_epoch(policy));
}

/* ---- Residency ----------------------------------------------------------------------------- */

/* Which queue a new record enters. Forgets the key if the ghost knew it: call once per record.
 * hash: as key_hash gives it, well mixed. */
enum policy_queue policy_admit(struct policy *policy, uint64_t hash, uint64_t cost);

/* Begins to fetch what policy_admit will look at: its one cache miss is most of its cost. */
void policy_admit_prefetch(const struct policy *policy, uint64_t hash);

/* What the small queue may hold once hot and warm are full, in cost units: 10 % of everything or
 * half of hot, whichever is less; 0 for kinds without a small queue. The main queue may hold the
 * rest. May be smaller than one segment: the caller rounds. */
static inline uint64_t policy_small_target(const struct policy *policy)
{
	return atomic_load_explicit(&policy->small_target, memory_order_relaxed);
}

/* What of the small queue may lie in DRAM while the main queue (in both tiers) costs main_cost: its
 * target, and what main does not need yet. */
static inline uint64_t policy_small_hot(const struct policy *policy, uint64_t main_cost)
{
	uint64_t hot = atomic_load_explicit(&policy->hot, memory_order_relaxed);
	uint64_t target = policy_small_target(policy);
	if (hot <= target)
		return hot;
	return main_cost < hot - target ? hot - main_cost : target;
}

static inline uint64_t policy_main_target(const struct policy *policy)
{
	return atomic_load_explicit(&policy->hot, memory_order_relaxed) +
	       atomic_load_explicit(&policy->warm, memory_order_relaxed) -
	       policy_small_target(policy);
}

/* The oldest record of `queue`: POLICY_EVICT (then call policy_evicted), or POLICY_KEEP: at the
 * young end of the *main* queue, where policy_place says, with counter *next. */
enum policy_verdict policy_scan(const struct policy *policy, enum policy_queue queue,
				uint8_t counter, uint8_t *next);

/* A record left hot and warm memory because policy_scan said so (not: was deleted, has expired). */
void policy_evicted(struct policy *policy, enum policy_queue queue, uint64_t hash, uint64_t cost);

/* Memory of the ghost in bytes, and keys that it remembers. */
uint64_t policy_ghost_bytes(const struct policy *policy);
uint64_t policy_ghost_objects(const struct policy *policy);

/* ---- Placement ----------------------------------------------------------------------------- */

/* Where a record of the main queue should be: THERMO_HOT or THERMO_WARM. now: where it is (one that
 * comes from below: THERMO_WARM, or simply where there is room, which is not a move). */
enum thermo_tier policy_place(const struct policy *policy, uint8_t counter, uint64_t hash,
			      enum thermo_tier now);

/* The byte of a record that will be asked for soon: as if it had been used often enough for DRAM. */
static inline uint8_t policy_hinted(const struct policy *policy, uint8_t counter)
{
	uint32_t epoch = policy_epoch(policy);
	uint32_t threshold = atomic_load_explicit(&policy->threshold, memory_order_relaxed);
	unsigned earns = (threshold + 255) / 256, frequency = policy_frequency(counter, epoch);
	earns = earns < POLICY_FREQUENCY_MAX ? earns : POLICY_FREQUENCY_MAX;
	return policy_counter(policy_reuse(counter), frequency > earns ? frequency : earns, epoch);
}

/* Cost of the main queue's records by present frequency (of all of them, or of a fair sample scaled
 * up): recomputes the threshold. Call a few times an epoch. */
void policy_population(struct policy *policy, const uint64_t cost_by_frequency[16]);

/* accesses: hits on hot and warm records since open, as a running total; objects: resident now.
 * Advances the epoch when its period is over. Call often (a few times an epoch at least; each call
 * advances by one epoch at most). */
void policy_clock(struct policy *policy, uint64_t accesses, uint64_t objects);

/* For statistics: the least whole frequency that earns DRAM, 0..16. */
unsigned policy_threshold(const struct policy *policy);

#endif
