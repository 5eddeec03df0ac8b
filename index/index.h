/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: from a key's hash to the place of its hot or warm record. In DRAM, 64-byte buckets of
 * seven 8-byte entries, a byte of policy counters for each, and a byte of control.
 *
 *   entry:  63..42 tag (22 bits of the hash, never all zero)   41 spare   40 tier   39..0 unit offset
 *   place:  tier (0 DRAM, 1 warm) and the record's offset in its tier's range, in 8-byte units
 *
 * An entry of 0 is empty. The index does not know keys: a match of the tag is a candidate and the caller
 * compares the record.
 *
 * Linear hashing (Litwin 1980): a bucket splits into itself and the one a power of two above, so the
 * table grows one bucket at a time, in a range that was reserved once. To keep buckets evenly filled
 * a round of splits starts at START load and then splits faster than entries come until it is over.
 * A full bucket gives its last entry to a link to an overflow bucket.
 *
 * Readers take no lock. They need an epoch around the look-up and whatever they do with the place.
 * Writers of a key lock its home bucket (a bit of the control byte); the lock covers the overflow chain
 * and the split of that bucket. Entries move only in splits: first published in the new bucket, then
 * the split is announced, then removed from the old one. So a reader that found nothing looks
 * again if its home has changed meanwhile (index_home differs), and otherwise the miss is true.
 */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define INDEX_SLOTS 7
#define INDEX_PLACE_BITS 41
#define INDEX_PLACE_MASK ((UINT64_C(1) << INDEX_PLACE_BITS) - 1)

struct bucket {
	_Alignas(64) _Atomic uint64_t entry[INDEX_SLOTS];
	_Atomic uint8_t counter[INDEX_SLOTS]; /* policy bytes; relaxed */
	_Atomic uint8_t control;              /* lock bit, link bit */
};

struct index;
struct budget;

/* Where an entry is; valid while the home bucket is locked, or inside the epoch for its counter. */
struct index_slot {
	struct bucket *bucket;
	unsigned slot;
};

/* Hash of the key of the record at `place`; called inside an epoch, home bucket locked. */
typedef uint64_t (*index_hash_fn)(void *context, uint64_t place);

/* The index helper completes this header with:
 *
 * int  index_open(struct index **, struct budget *, uint64_t buckets, uint64_t buckets_max, int huge,
 *                 index_hash_fn, void *context);
 * void index_close(struct index **);
 *
 * inline, for readers:
 *   struct bucket *index_home(const struct index *, uint64_t hash);
 *   unsigned index_match(const struct bucket *, uint64_t hash);     7-bit mask of slots with the tag
 *   struct bucket *index_next(const struct index *, const struct bucket *);   overflow or NULL
 *   uint64_t index_place(const struct bucket *, unsigned slot)      acquire load, masked
 *   void index_prefetch(const struct index *, uint64_t hash);
 *
 * for writers:
 *   struct bucket *index_lock(struct index *, uint64_t hash);       home, locked
 *   void index_unlock(struct bucket *home);
 *   int  index_insert(struct index *, struct bucket *home, uint64_t hash, uint64_t place,
 *                     uint8_t counter, struct index_slot *out);     -ENOMEM: no overflow bucket to be had
 *   void index_replace(struct index_slot, uint64_t place);          keeps tag and counter; release
 *   void index_remove(struct index *, struct bucket *home, struct index_slot);
 *
 * growth: after an insert, with no lock held and inside an epoch:
 *   void index_grow(struct index *, unsigned most);   splits up to `most` buckets if the load asks for it;
 *                                                     returns at once if another thread is at it
 *
 * uint64_t index_records(), index_bytes(), index_buckets(), index_splits()
 */

#endif
