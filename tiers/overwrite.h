/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overwriting in place: a put whose value is as long as the one that stands, up to OVERWRITE_MOST
 * bytes, in a plain record (no expiry, no tombstone, no chunk, not wide, not clean) of a DRAM
 * segment that is neither pinned nor being scanned. Everything else appends a record.
 *
 * The head is the record's sequence lock: its delta grows with every version and never returns
 * while an epoch lasts that has seen the record, so an equal head means equal bytes.
 *
 *   writer, the key's bucket locked          reader, inside an epoch
 *     1  head := busy                          a  head; if busy, wait for 4
 *     2  value                                 b  copy the value
 *     3  (release)                             c  the head again: if it is another, from a
 *     4  head := with the new delta
 *
 * 1 before 2 is ordered by a release fence, a before b by an acquire load, b before c by an acquire
 * fence. Who copied a byte of 2 therefore sees at c the head of 1, of 4, or a later one: none is
 * what it saw at a. If a saw 4, it is ordered after 2. On x86 all of this is the compiler's order
 * only.
 *
 * Who must not meet a change at all takes the bucket's lock:
 *   refs      pin the segment under it; the writer looks at `pins` under it, so one sees the other;
 *   migrator  marks the segment SCANNING, and decides about a record under its bucket's lock: a
 * writer that had the lock before has finished, and shows in the head; one that has it later sees
 * SCANNING.
 */
#ifndef TIERS_OVERWRITE_H
#define TIERS_OVERWRITE_H

#include "index/epoch.h"
#include "tiers/record.h"

#define OVERWRITE_MOST 1024

static inline bool head_busy(uint64_t head)
{
	return head >= HEAD_BUSY;
}

/* As it stands, busy or not. */
static inline uint64_t record_head_now(const char *record)
{
	return __atomic_load_n((const uint64_t *)(const void *)record, __ATOMIC_ACQUIRE);
}

/* Waits until a writer that was met has done: it copies a few bytes. */
uint64_t record_head_wait(const char *record);

/* Of a version that is whole. */
static inline uint64_t record_head(const char *record)
{
	uint64_t head = record_head_now(record);
	return __builtin_expect(head_busy(head), 0) ? record_head_wait(record) : head;
}

/* After the value was copied: is it what stood under this head? */
static inline bool record_is_still(const char *record, uint64_t head)
{
#if EPOCH_TSAN
	return __atomic_load_n((const uint64_t *)(const void *)record, __ATOMIC_ACQUIRE) == head;
#else
	atomic_thread_fence(memory_order_acquire);
	return __atomic_load_n((const uint64_t *)(const void *)record, __ATOMIC_RELAXED) == head;
#endif
}

/* Copies from a record that may be overwritten meanwhile. ThreadSanitizer is told byte by byte. */
static inline void record_copy(void *to, const void *from, size_t n)
{
#if EPOCH_TSAN
	for (size_t i = 0; i < n; i++)
		((char *)to)[i] = __atomic_load_n((const char *)from + i, __ATOMIC_RELAXED);
#else
	memcpy(to, from, n);
#endif
}

#endif
