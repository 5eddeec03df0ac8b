/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine's tests share: a small cache with a clock of its own, and a directory for its cold tier. */
#ifndef TESTS_TIERS_BED_H
#define TESTS_TIERS_BED_H

#include "include/thermocline.h"
#include "tests/cold/scratch.h"
#include "tests/model/value.h"
#include "tests/suite.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#define MIB ((uint64_t)1 << 20)
#define NO_LIMIT INT64_C(-1) /* of a time-out: how long things take is the machine's business */

/* Until another thread has brought the condition about; the test's time-out says that it never came. */
#define BED_AWAIT(condition) \
	do { \
		while (!(condition)) \
			sched_yield(); \
	} while (0)

struct bed {
	struct thermo_options options;
	struct thermo_error error;
	struct thermo *cache;
	struct thermo_space *space; /* "bed" */
	_Atomic uint64_t clock_ms;
	bool cold;
	struct scratch scratch;
};

static inline uint64_t bed_clock(void *context)
{
	struct bed *bed = context;
	return atomic_load(&bed->clock_ms);
}

/* Fills the options: all tiers as small as they may be, DRAM for the warm one. */
static inline void bed_init(struct bed *bed, bool warm, bool cold)
{
	memset(bed, 0, sizeof(*bed));
	atomic_store(&bed->clock_ms, UINT64_C(1700000000000));
	thermo_options_init(&bed->options);
	bed->options.dram_bytes = cold ? 40 * MIB : 20 * MIB;
	bed->options.filter_bytes = cold ? 10 * MIB : 0; /* and buffers for what a test does at once */
	bed->options.warm_bytes = warm ? 8 * MIB : 0;
	bed->options.warm = "dram";
	bed->options.clock_ms = bed_clock;
	bed->options.clock_context = bed;
	bed->options.put_wait_ms = 60000; /* until there is room, however slow the machine */
	bed->options.huge_pages = 0;
	bed->cold = cold;
	if (cold) {
		scratch_open(&bed->scratch);
		bed->options.cold_dir = bed->scratch.path;
	}
}

static inline int bed_open(struct bed *bed)
{
	int rc = thermo_open(&bed->options, &bed->cache, &bed->error);
	if (rc == 0)
		rc = thermo_space_open(bed->cache, "bed", NULL, &bed->space, &bed->error);
	if (rc)
		printf("  open: %d: %s\n", rc, bed->error.text);
	return rc;
}

/* init and open: what most cases want. A case cannot go on without. */
static inline void bed_make(struct bed *bed, bool warm, bool cold)
{
	bed_init(bed, warm, cold);
	if (bed_open(bed)) {
		CU_FAIL_FATAL("the cache does not open");
	}
}

static inline void bed_close(struct bed *bed)
{
	int rc = thermo_close(&bed->cache, 0, &bed->error);
	if (rc)
		printf("  close: %d: %s\n", rc, bed->error.text);
	CU_ASSERT_EQUAL(rc, 0);
	CU_ASSERT_PTR_NULL(bed->cache);
}

static inline void bed_reopen(struct bed *bed)
{
	bed_close(bed);
	if (bed_open(bed)) {
		CU_FAIL_FATAL("the cache does not open again");
	}
}

static inline void bed_end(struct bed *bed)
{
	if (bed->cache)
		bed_close(bed);
	if (bed->cold)
		scratch_close(&bed->scratch);
}

/* ---- Numbered keys with values that tell themselves apart ---- */

static inline size_t bed_key(uint32_t number, char key[32])
{
	return (size_t)snprintf(key, 32, "key-%08u", number);
}

static inline int bed_put(struct thermo_space *space, uint32_t number, uint64_t seed, size_t len)
{
	char key[32];
	size_t key_len = bed_key(number, key);
	char *value = malloc(len + 1);
	if (!value)
		return -ENOMEM;
	value_fill(value, len, seed);
	int rc = thermo_put(space, key, key_len, value, len, THERMO_TTL_NONE);
	free(value);
	return rc;
}

/* THERMO_OK: there and exactly this. THERMO_MISS: missing. -EILSEQ: another value. Or the get's error. */
static inline int bed_check(struct thermo_space *space, uint32_t number, uint64_t seed, size_t len)
{
	char key[32];
	size_t key_len = bed_key(number, key), got = 0, wrong;
	char *value = malloc(len + 1);
	if (!value)
		return -ENOMEM;
	int rc = thermo_get(space, key, key_len, value, len + 1, &got);
	if (rc == THERMO_OK && (got != len || !value_is(value, 0, len, seed, &wrong)))
		rc = -EILSEQ;
	free(value);
	return rc;
}

/* How many of the keys [0, n) hold what bed_put(space, i, i + 1, len) put there; wrong ones fail. */
static inline uint32_t bed_count(struct thermo_space *space, uint32_t n, size_t len)
{
	uint32_t there = 0, bad = 0;
	for (uint32_t i = 0; i < n; i++) {
		int rc = bed_check(space, i, i + 1, len);
		there += rc == THERMO_OK;
		bad += rc != THERMO_OK && rc != THERMO_MISS;
	}
	CU_ASSERT_EQUAL(bad, 0);
	return there;
}

/* Puts keys [0, n) so; all must be taken. */
static inline void bed_fill(struct thermo_space *space, uint32_t n, size_t len)
{
	uint32_t bad = 0;
	for (uint32_t i = 0; i < n; i++) {
		int rc = bed_put(space, i, i + 1, len);
		if (rc != THERMO_OK && !bad++)
			printf("  put of key %u: %d (%s)\n", i, rc, thermo_strerror(rc));
	}
	CU_ASSERT_EQUAL(bad, 0);
}

static inline struct thermo_stats bed_stats(struct bed *bed)
{
	struct thermo_stats s = {.size = sizeof(s)};
	CU_ASSERT_EQUAL(thermo_stats(bed->cache, &s), 0);
	return s;
}

#endif
