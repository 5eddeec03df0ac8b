/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the cold tier stand on: a scratch directory, memory that is counted, a clock that the test
 * sets, an open tier, and short forms of the calls. */
#ifndef TESTS_COLD_BED_H
#define TESTS_COLD_BED_H

#include "alloc/budget.h"
#include "alloc/heap.h"
#include "tests/cold/scratch.h"
#include "tests/suite.h"
#include "tiers/cold/cold.h"
#include "tiers/record.h"

#include <errno.h>
#include <stdatomic.h>

struct bed {
	struct scratch scratch;
	struct budget budget;
	struct heap *heap;
	struct cold *cold;
	struct cold_io *io;
	struct cold_options options;
	struct thermo_error error;
	uint64_t now_ms;
	char notice[320]; /* the last line of the log */
};

static inline uint64_t bed_clock(void *context)
{
	return ((struct bed *)context)->now_ms;
}

static inline void bed_log(void *context, const char *line)
{
	snprintf(((struct bed *)context)->notice, sizeof(((struct bed *)context)->notice), "%s",
		 line);
}

static inline int bed_open_tier(struct bed *bed)
{
	bed->error.text[0] = 0;
	int status = cold_open(&bed->options, &bed->cold, &bed->error);
	if (!status)
		status = cold_io_open(bed->cold, 32, &bed->io);
	return status;
}

static inline void bed_close_tier(struct bed *bed)
{
	cold_io_close(&bed->io);
	cold_close(&bed->cold);
}

/* A directory and options, the tier not open. */
static inline void bed_prepare(struct bed *bed)
{
	memset(bed, 0, sizeof(*bed));
	scratch_open(&bed->scratch);
	budget_init(&bed->budget, UINT64_C(1) << 30);
	if (heap_open("libc", NULL, 256u << 20, NULL, &bed->heap, NULL))
		abort();
	bed->now_ms = 1000000;
	bed->options = (struct cold_options){ .dir = bed->scratch.path,
					      .io = getenv("THERMO_TEST_IO"),
					      .filter_bytes = 64u << 20,
					      .budget = &bed->budget,
					      .heap = bed->heap,
					      .clock_ms = bed_clock,
					      .clock_context = bed,
					      .log = bed_log,
					      .log_context = bed };
}

static inline void bed_open(struct bed *bed)
{
	bed_prepare(bed);
	int status = bed_open_tier(bed);
	if (status) {
		printf("cold_open: %d %s\n", status, bed->error.text);
		abort();
	}
}

/* Everything goes, and all memory has come back. */
static inline void bed_close(struct bed *bed)
{
	bed_close_tier(bed);
	CU_ASSERT_EQUAL(atomic_load(&bed->budget.used), 0);
	CU_ASSERT_EQUAL(heap_used(bed->heap), 0);
	heap_close(&bed->heap);
	scratch_close(&bed->scratch);
}

static inline void bed_reopen(struct bed *bed)
{
	bed_close_tier(bed);
	int status = bed_open_tier(bed);
	if (status) {
		printf("cold_open: %d %s\n", status, bed->error.text);
		abort();
	}
}

static inline struct cold_record bed_record(uint8_t space, const void *key, size_t key_len,
					    const void *value, size_t value_len, uint64_t seq)
{
	return (struct cold_record){ .key = key,
				     .value = value,
				     .key_len = (uint32_t)key_len,
				     .value_len = (uint32_t)value_len,
				     .space = space,
				     .hash = key_hash(space, key, key_len, 0),
				     .seq = seq };
}

/* One record as a run of its own. */
static inline int bed_publish(struct bed *bed, const struct cold_record *record)
{
	struct cold_writer *writer;
	int status = cold_writer_open(bed->cold, &writer);
	if (!status)
		status = cold_writer_add(writer, record);
	if (!status)
		status = cold_writer_publish(&writer);
	if (status)
		cold_writer_abort(&writer);
	return status;
}

static inline int bed_put(struct bed *bed, const char *key, const char *value, uint64_t seq)
{
	struct cold_record record = bed_record(1, key, strlen(key), value, strlen(value), seq);
	return bed_publish(bed, &record);
}

static inline int bed_delete(struct bed *bed, const char *key, uint64_t seq)
{
	struct cold_record record = bed_record(1, key, strlen(key), "", 0, seq);
	record.flags = COLD_TOMBSTONE;
	return bed_publish(bed, &record);
}

/* The outcome; on OK up to capacity bytes of the value and its record. */
static inline int bed_get_key(struct bed *bed, uint8_t space, const void *key, size_t key_len,
			      uint8_t flags, void *value, size_t capacity,
			      struct cold_record *record)
{
	struct cold_get get = { .key = key,
				.key_len = (uint32_t)key_len,
				.space = space,
				.flags = flags,
				.hash = key_hash(space, key, key_len, (flags & COLD_CHUNK) != 0) };
	struct cold_get *done = &get;
	if (!cold_get_start(bed->io, &get)) {
		if (cold_io_wait(bed->io, &done, 1, -1) != 1 || done != &get)
			abort();
	}
	int status = get.status;
	if (status == THERMO_OK) {
		*record = get.record;
		memcpy(value, get.record.value,
		       get.record.value_len < capacity ? get.record.value_len : capacity);
	}
	cold_get_release(bed->io, &get);
	return status;
}

/* The value's text in a static buffer, "-" for a miss, "!" for an error. */
static inline const char *bed_get(struct bed *bed, const char *key)
{
	static char text[8192];
	struct cold_record record;
	int status = bed_get_key(bed, 1, key, strlen(key), 0, text, sizeof(text) - 1, &record);
	if (status)
		return status == THERMO_MISS ? "-" : "!";
	text[record.value_len] = 0;
	return text;
}

static inline struct thermo_stats bed_stats(struct bed *bed)
{
	struct thermo_stats stats = { .size = sizeof(stats) };
	cold_stats(bed->cold, &stats);
	return stats;
}

/* Until there is nothing left to do; the last answer if it is an error. */
static inline int bed_settle(struct bed *bed)
{
	int status;
	do {
		status = cold_work(bed->cold);
	} while (status == THERMO_OK);
	return status < 0 ? status : 0;
}

/* A generator that gives the same numbers everywhere. */
static inline uint64_t bed_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

#endif
