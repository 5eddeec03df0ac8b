/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments: immutable sorted files of records; how they are built; and runs, which are lists of them.
 *
 *   builder:  cold_build_open -> start -> add... -> finish -> struct cold_segment
 *                                     ^        any error -> abort
 *   segment:  built or opened (one reference) -> in runs, and in iterators -> the last reference goes ->
 *             the tier's list of the dead -> closed, and unlinked if it is obsolete (cold_work)
 *   run:      made from segments, never changed -> in run sets -> the last set goes -> freed
 *
 * A filter may go from DRAM while its segment stays: it is touched only inside the gate.
 */
#ifndef TIERS_COLD_COLD_SEGMENT_H
#define TIERS_COLD_COLD_SEGMENT_H

#include "tiers/cold/fence.h"
#include "tiers/cold/filter.h"
#include "tiers/cold/format.h"
#include "tiers/cold/io.h"
#include "tiers/cold/pack.h"

#include <stdatomic.h>

#define SEGMENT_NAME_BYTES 32 /* of "0123456789abcdef.seg.tmp" and NUL */

struct cold;

struct cold_segment {
	/* const once it is in a run */
	uint64_t number;
	uint64_t file_bytes;
	uint64_t footer_hash;
	struct segment_footer footer;
	struct file file;              /* open, O_DIRECT where possible */
	struct point first, last;      /* of its records */
	struct fences fences;          /* separator: memory_alloc(footer.fence.bytes) */
	struct segment_space *spaces;  /* memory_alloc(footer.spaces.bytes) */
	/* atomic */
	_Atomic(uint8_t *) filter;     /* memory_alloc(footer.filter.bytes); NULL: not in DRAM */
	_Atomic uint32_t refs;
	_Atomic uint64_t given;        /* bytes of the file that were given back to the cap */
	_Atomic uint64_t scrubbed_ms;  /* when it was last looked at as a whole; 0: not yet */
	_Atomic uint32_t scrub_bad;    /* blocks and sections that were found bad then */
	_Atomic bool obsolete;         /* unlink the file when the last reference goes */
	/* under edit */
	bool rewrite;                  /* holds a copy of an erased key */
	uint64_t punched;              /* file bytes before it were given back (but for the header) */
	/* under the tier's dead lock */
	struct cold_segment *dead_next;
};

/* Set segment->fences, and first and last, from footer and spaces. */
void cold_segment_fences(struct cold_segment *segment);
void cold_segment_range(struct cold_segment *segment);
void cold_segment_name(uint64_t number, char name[SEGMENT_NAME_BYTES]);
/* Opens and proves a segment of the manifest: footer, filter, fences, spaces; the records are proved
 * block by block when read. -EPROTO, -EILSEQ, -EIO, -ENOMEM with a line in *error. */
int cold_segment_open(struct cold *cold, const struct manifest_segment *entry,
		 struct cold_segment **segment, struct thermo_error *error);
/* Opens what is left of a damaged segment: -ENOENT if there is no file. *footer_good: its footer is the
 * manifest's. *fences_good: fences and spaces are proved, as far as the footer, good or not, led to them; first and
 * last then hold. The filter stays out. */
int cold_segment_open_damaged(struct cold *cold, const struct manifest_segment *entry,
			      struct cold_segment **segment, bool *footer_good, bool *fences_good);
/* After a hole was punched: gives back to the cap what the file system says is gone. */
void cold_segment_count_given(struct cold *cold, struct cold_segment *segment);
/* Frees the struct and closes the file; nobody refers to it any more. */
void cold_segment_free(struct cold *cold, struct cold_segment *segment);
void cold_segment_unref(struct cold *cold, struct cold_segment *segment);
/* Could it hold a record of that point, as far as DRAM knows? In two steps: false is certain, true is asked on
 * with filter_aim_test. mixed: filter_mix(point.hash, 0). Inside the gate. */
static inline bool cold_segment_aim(const struct cold_segment *segment, struct point point,
				    uint64_t mixed, struct filter_aim *aim)
{
	if (point_before(point, segment->first) || point_before(segment->last, point))
		return false;
	struct filter filter = { atomic_load_explicit(&segment->filter, memory_order_acquire),
				 segment->footer.slices };
	if (!filter.section) {
		aim->bytes = 0;
		return true;
	}
	const struct filter_slice *slice = filter_find(&filter, point);
	if (slice)
		*aim = filter_aim_at(&filter, slice, point.hash, mixed);
	return slice != NULL;
}
static inline bool cold_segment_may_hold(const struct cold_segment *segment, struct point point)
{
	struct filter_aim aim;
	return cold_segment_aim(segment, point, filter_mix(point.hash, 0), &aim) && filter_aim_test(&aim);
}
/* Loads the filter from the file if it fits the cap. Under edit. 0, or an error: it stays out. */
int cold_segment_load_filter(struct cold *cold, struct cold_segment *segment);
/* Reads all of it and compares with all checksums, for inspection; punched: bytes that are known to be gone
 * are left out, and so is data_hash. 0, or -EILSEQ, -EIO, ... and a line. */
int cold_segment_verify(struct cold *cold, const struct cold_segment *segment, struct thermo_error *error);

/* ---- Runs ---- */

struct run {
	_Atomic uint32_t refs;
	/* const */
	uint32_t n;                 /* segments, at least 1; in order, ranges disjoint */
	struct point from;          /* records below it do not count: they were merged away */
	uint16_t level;
	uint64_t shadowed;          /* about how many older records its records replace */
	uint64_t published;         /* ticket: see writer.c. Greatest of those merged into it */
	uint64_t bytes;             /* of files, without what was merged away, about */
	uint64_t records, tombstones, record_bytes; /* in the same way */
	uint64_t expiring, min_expires, max_expires;
	uint64_t min_seq, max_seq;
	struct point *first;        /* [n]: of each segment */
	struct cold_segment **segment;   /* [n]: a reference each */
	/* under edit */
	bool busy;                  /* a job works on it */
};

/* Takes a reference to each segment that has records from `from` on. One reference. NULL: no memory, or,
 * with *none, no such segment. */
struct run *run_new(struct cold *cold, struct cold_segment *const *segments, uint32_t n,
		    struct point from, const struct run *like, bool *none);
void run_unref(struct cold *cold, struct run *run);
/* The segment that could hold the point; NULL if there is none. */
static inline struct cold_segment *run_route(const struct run *run, struct point point)
{
	if (point_before(point, run->from))
		return NULL;
	uint32_t low = 0, high = run->n;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (point_before(point, run->first[middle]))
			high = middle;
		else
			low = middle + 1;
	}
	return low ? run->segment[low - 1] : NULL;
}

/* ---- Building ---- */

struct cold_build;

/* All working memory that does not depend on the number of records. -ENOMEM. */
int cold_build_open(struct cold *cold, struct cold_build **build);
void cold_build_close(struct cold_build **build);
/* Begins a file. merging: bytes count as compaction's. wide: 16-bit fingerprints in the filter. */
int cold_build_start(struct cold_build *build, bool merging, bool wide);
bool cold_build_started(const struct cold_build *build);
/* Records come in order, each identity once. hash: its identity's. */
int cold_build_add(struct cold_build *build, const struct block_item *item, uint64_t hash);
uint64_t cold_build_records(const struct cold_build *build);
uint64_t cold_build_written(const struct cold_build *build); /* bytes of the file so far */
/* May the file end before a record of that point? (Records of one point stay in one segment.) */
bool cold_build_may_end(const struct cold_build *build, struct point next);
/* Completes the file and makes it durable under its name; *segment has one reference. At least one record
 * came. On errors the caller aborts. */
int cold_build_finish(struct cold_build *build, struct cold_segment **segment);
/* Removes the file; the builder can start again. Fine when nothing was started. */
void cold_build_abort(struct cold_build *build);

#endif
