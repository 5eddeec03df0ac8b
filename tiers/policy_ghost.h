/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ghost: fingerprints of keys that left the small queue lately, oldest forgotten first once the
 * cost of those remembered passes a capacity. An unknown key is taken for a remembered one about
 * once in 400,000 times while the table is at its first size, once in 1,600 at its largest.
 *
 * A table of 64-byte buckets with 16 slots of four bytes: 22 bits of the hash and the time of the
 * insertion, modulo 1024 ticks; a tick is 1/256 of the capacity, in cost inserted. Per tick it is
 * known what it still holds, so that forgetting is moving a horizon over ticks; slots behind the
 * horizon count as empty and are swept before their time could be mistaken for a later one. A full
 * bucket forgets its oldest slot early.
 *
 * The table grows one bucket at a time by linear hashing (Litwin 1980), in rounds of doubling that
 * begin at 70 % load, in address space that was set aside at open: readers need no lock and nothing
 * they look at ever moves or goes. The bits that tell the halves of a bucket apart are the
 * fingerprint's, which is why it grows 256-fold at the most. A reader that races with a split may
 * overlook a key, or meet one again that was forgotten during the split; nothing else.
 *
 * Threads: ghost_forget from any thread, without a lock; ghost_insert, ghost_resize by one at a
 * time.
 */
#ifndef TIERS_POLICY_GHOST_H
#define TIERS_POLICY_GHOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget;
struct ghost;
struct heap;

/* capacity in cost units, objects: the most keys; memory is taken with the first insertions.
 * -ENOMEM. */
int ghost_open(struct ghost **ghost, struct heap *heap, struct budget *budget, uint64_t capacity,
	       uint64_t objects);
void ghost_close(struct ghost **ghost);
void ghost_resize(struct ghost *ghost, uint64_t capacity);

/* hash must be well mixed in its lower 52 bits. */
void ghost_insert(struct ghost *ghost, uint64_t hash, uint64_t cost);
/* true, and it is forgotten, if the key was remembered. */
bool ghost_forget(struct ghost *ghost, uint64_t hash);
void ghost_prefetch(const struct ghost *ghost, uint64_t hash);

uint64_t ghost_bytes(const struct ghost *ghost);   /* all of it */
uint64_t ghost_objects(const struct ghost *ghost); /* remembered; exact while nothing runs */
uint64_t ghost_cost(const struct ghost *ghost);    /* of those */

#endif
