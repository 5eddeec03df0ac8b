/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overflow buckets and the chains they form behind a home bucket; inside the index only. All chain
 * functions want the home bucket's lock, or a bucket that nobody else can reach yet.
 */
#ifndef INDEX_CHAIN_H
#define INDEX_CHAIN_H

#include "index/index.h"

#define CHAIN_SLOT (INDEX_SLOTS - 1)    /* where a full bucket keeps its link */
#define VIEW_PULLED (UINT64_C(1) << 40) /* added to the view for each chain pulled home */
#define COMMIT_MIN ((uint64_t)64 << 10) /* bytes; a multiple of every page size in use */
#define COMMIT_BUCKETS_MIN (COMMIT_MIN / sizeof(struct bucket))

static inline bool entry_is_record(uint64_t entry)
{
	return entry & INDEX_ENTRY;
}

static inline bool entry_is_link(uint64_t entry)
{
	return entry && !(entry & INDEX_ENTRY);
}

static inline uint64_t entry_load(const struct bucket *bucket, unsigned slot)
{
	return atomic_load_explicit(&bucket->entry[slot], memory_order_relaxed);
}

/* Puts an entry into the first empty slot of the chain, which becomes longer if there is none.
 * -ENOMEM: no overflow bucket to be had; nothing changed. */
int chain_add(struct index *index, struct bucket *home, uint64_t entry, uint8_t counter,
	      struct index_slot *out);

/* Pulls what lies behind the home bucket into it, if everything fits beside the link; otherwise
 * unlinks the empty buckets at the chain's end. Readers may be about. */
void chain_tidy(struct index *index, struct bucket *home);

/* Unlinks the empty buckets at the chain's end. Moves nothing. Readers may be about. */
void chain_trim(struct index *index, struct bucket *home);

/* Empties a bucket, and frees its chain, that was never to be seen by anybody. */
void chain_discard(struct index *index, struct bucket *home);

/* Commits more overflow buckets if few are left; no lock held. 0; -ENOMEM. */
int chain_ahead(struct index *index);

/* How many buckets more to commit when there are `committed`: doubles up to 2 MiB, then 2 MiB. */
uint64_t chain_commit_step(uint64_t committed, uint64_t most);

/* Takes the memory of `n` buckets from `start` from the budget and the system. -ENOMEM. */
int chain_commit(struct index *index, struct bucket *start, uint64_t n);

#endif
