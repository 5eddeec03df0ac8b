/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable spaces: what the engine does beside keeping their records, so that these survive a crash.
 *
 *   write      room in the log is reserved, then the record placed; its position is taken under the bucket's lock, with
 *              the sequence number, and filled after it (write.c)
 *   answer     the call, the batch or the queue waits for the log, once (runner.c, queue.c)
 *   move       a segment knows the oldest log file that it needs (segment.log_file); copies take that along
 *   trim       files that no segment needs go, oldest first; when the log is pressed, the segments that need the
 *              oldest file are emptied into cold (RECLAIM_FLUSH)
 *   open       the image that the last close left counts as the oldest file, number 0, until nobody needs it
 *
 * Why a replayed record never lies above a newer version in cold. Along one key the log has the order of sequence
 * numbers, and loses its oldest part only. So if a version's record is in the log, so are those of all newer versions
 * that were ever logged, and the replay ends with the newest. A version reaches cold only in a run, and before a run is
 * published everything that was logged is synced: what cold has, the log had too, behind the older one. The same
 * holds for tombstones and what they cover. Where that sync fails, the table of spaces says so before the run is
 * published, and the replay then asks cold about every key (`unsure`).
 */
#ifndef TIERS_DURABLE_H
#define TIERS_DURABLE_H

#include "tiers/cold/log.h"
#include "tiers/engine.h"

/* Finds the log's files. */
int durable_open(struct thermo *c, struct thermo_error *error);
/* Brings back what the log holds. Nothing else runs. */
int durable_replay(struct thermo *c, struct thermo_error *error);
/* The log takes records from now on; before the first durable space is used. */
int durable_start(struct thermo *c, struct thermo_error *error);
/* Is some space durable? */
bool durable_any(struct thermo *c);

/* ---- One write ---- */
/* Room for its record in the log: THERMO_OK, BUSY, -ENOSPC, -EROFS. May wait; not inside an epoch. */
int durable_reserve(struct thermo *c, struct write *w);
/* It was not used. */
void durable_cancel(struct thermo *c, struct write *w);
/* Under the bucket's lock, right after the sequence number w->version was given. segment: where the record lies, or NULL. */
void durable_take(struct thermo *c, struct write *w, struct segment *segment);
void durable_fill(struct thermo *c, struct write *w);
/* Nothing had to be written, and this rests on all that was. */
void durable_rests(struct thermo *c, struct write *w);

/* ---- The answer ---- */
/* The request's outcome depends on the log up to there. */
void durable_logged(struct thermo_request *request, const struct write *w);
static inline uint64_t durable_end(const struct thermo_request *request)
{
	return request->_state & REQUEST_LOGGED ? (uint64_t)(uintptr_t)request->_private : 0;
}
/* THERMO_OK: it may be answered. PENDING: not yet. -EIO: the log failed. */
int durable_state(struct thermo *c, const struct thermo_request *request);
/* Waits for one, or for all of a batch, once; their statuses are set. */
void durable_settle(struct thermo *c, struct thermo_request *requests, size_t n);

/* ---- Trimming ---- */
/* Trims what may be; true if something was. Not under migrate_lock. */
bool durable_trim(struct thermo *c);
/* Segments that need files up to *upto are to be emptied. */
bool durable_wants(struct thermo *c, uint64_t *upto);
/* Before a run is published: everything logged is synced, or the table says that it is not. */
int durable_before_publish(struct thermo *c);
/* No file of the log holds anything of before the call: OK, PENDING at timeout_ns, -errno. */
int durable_forget(struct thermo *c, int64_t timeout_ns);

#endif
