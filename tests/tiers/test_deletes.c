/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was deleted stays deleted, wherever its record is on its way to cold. The cache has no threads: the
 * test drives the migrator, and gets between two of its steps through the allocator of the host.
 */
#include "tests/tiers/bed.h"

#define KEYS_MOST 40000u
#define LEN 1000u

/* Calls `between` at the first allocation inside thermo_work. */
struct hooked {
	struct bed bed;
	struct thermo_allocator allocator;
	void (*between)(struct hooked *h);
	bool armed, fired;
	uint32_t keys; /* that were put */
	unsigned refused;
};

static void hook(struct hooked *h)
{
	if (!h->armed)
		return;
	h->armed = false;
	h->fired = true;
	h->between(h);
}

static void *hooked_alloc(void *context, size_t bytes)
{
	hook(context);
	return malloc(bytes);
}

static void *hooked_realloc(void *context, void *old, size_t bytes)
{
	return (void)context, realloc(old, bytes);
}

static void hooked_free(void *context, void *block)
{
	(void)context;
	free(block);
}

static void hooked_open(struct hooked *h, void (*between)(struct hooked *h))
{
	memset(h, 0, sizeof(*h));
	bed_init(&h->bed, false, true);
	h->allocator = (struct thermo_allocator){h, hooked_alloc, hooked_realloc, hooked_free};
	h->bed.options.allocator = &h->allocator;
	h->bed.options.background_threads = 0;
	h->between = between;
	if (bed_open(&h->bed))
		CU_FAIL_FATAL("the cache does not open");
}

static int delete_key(struct hooked *h, uint32_t number)
{
	char key[32];
	return thermo_delete(h->bed.space, key, bed_key(number, key));
}

static void delete_all(struct hooked *h)
{
	for (uint32_t i = 0; i < h->keys; i++)
		h->refused += delete_key(h, i) != THERMO_OK;
}

static void overwrite_and_delete_all(struct hooked *h)
{
	for (uint32_t i = 0; i < h->keys; i++) {
		h->refused += bed_put(h->bed.space, i, i + 2, 8) != THERMO_OK;
		h->refused += delete_key(h, i) != THERMO_OK;
	}
}

static uint32_t count_there(struct hooked *h)
{
	uint32_t there = 0;
	for (uint32_t i = 0; i < h->keys; i++) {
		char key[32];
		size_t len = bed_key(i, key);
		there += thermo_exists(h->bed.space, key, len, NULL) != THERMO_MISS;
	}
	return there;
}

/* Puts keys until the migrator begins its first run, and deletes all of them as it does so: the record in its
 * hands goes into that run, and must not come back from there. */
static void run_begun(void (*between)(struct hooked *h))
{
	static struct hooked h;
	hooked_open(&h, between);
	while (!h.fired && h.keys < KEYS_MOST) {
		CU_ASSERT_EQUAL_FATAL(bed_put(h.bed.space, h.keys, h.keys + 1, LEN), THERMO_OK);
		h.keys++;
		h.armed = true;
		thermo_work(h.bed.cache);
		h.armed = false;
	}
	CU_ASSERT(h.fired);
	CU_ASSERT_EQUAL(h.refused, 0);
	CU_ASSERT_EQUAL(count_there(&h), 0);
	/* Another key's records push the run out. */
	for (uint32_t i = 0; i < 3 * h.keys; i++) {
		CU_ASSERT_EQUAL_FATAL(bed_put(h.bed.space, KEYS_MOST + i, 1, LEN), THERMO_OK);
		thermo_work(h.bed.cache);
	}
	CU_ASSERT(bed_stats(&h.bed).cold_records > 0);
	CU_ASSERT_EQUAL(count_there(&h), 0);
	bed_reopen(&h.bed);
	CU_ASSERT_EQUAL(count_there(&h), 0);
	bed_end(&h.bed);
}

static void delete_as_a_run_begins_stays_deleted(void)
{
	run_begun(delete_all);
}

static void overwrite_and_delete_as_a_run_begins_stay_deleted(void)
{
	run_begun(overwrite_and_delete_all);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(delete_as_a_run_begins_stays_deleted),
		SUITE_CASE(overwrite_and_delete_as_a_run_begins_stay_deleted),
	};
	return suite_run("deletes", NULL, NULL, cases, SUITE_COUNT(cases));
}
