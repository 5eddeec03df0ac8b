/* SPDX-License-Identifier: Apache-2.0 */
/* What migrate.c (when) asks of choose.c (which segment) and heat.c (which records). */
#ifndef TIERS_MIGRATE_H
#define TIERS_MIGRATE_H

#include "tiers/reclaim.h"

/* Somebody found no room in DRAM: c->dram_wanted. */
enum { WANTED_NOT, WANTED_FOR_USE, WANTED_FOR_HINT };

/* ---- choose.c; all under lock ---- */

/* The segment to begin next and what to do with it, or NULL. */
struct segment *choose_segment(struct thermo *c, enum reclaim_mode *mode);
/* The log is to lose its oldest files: a segment that needs one of them. *left: there is one. */
struct segment *choose_pinned(struct thermo *c, enum reclaim_mode *mode, uint64_t upto, bool *left);
/* Segments that a tier is to have free: below that, runs are published and segments reclaimed. */
uint32_t choose_level_low(const struct thermo *c, unsigned tier);
/* Free, or free when readers have moved on; what refs hold in limbo may stay for long and does not count. */
uint32_t choose_free_or_limbo(const struct pool *pool);
uint64_t choose_queue_bytes(const struct thermo *c, unsigned tier, unsigned queue);

/* ---- heat.c ---- */

/* Looks at the counters of part of the index, as much as there was traffic; under migrate_lock. The index is
 * in the order of hashes, so every eighth of it is a fair sample. */
void heat_sweep(struct thermo *c, bool idle);
/* Brings up hinted records, then those that have earned it, as far as there is room and budget; under
 * migrate_lock. true: something was done. */
bool heat_promote(struct thermo *c);
/* true: nobody wanted that much yet. */
bool heat_want_dram(struct thermo *c, uint32_t what_for);

#endif
