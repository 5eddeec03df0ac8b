/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th allocation of the library's heap fails, for every n that a fixed sequence of calls gets to:
 * every call must answer with a clean status, what was acknowledged must be readable afterwards (and after
 * closing and opening again, where there is a cold tier), and no block may be left.
 *
 * THERMO_TEST_FULL=1 takes every n also where it takes long; else some are left out.
 */
#include "tests/tiers/bed.h"

#include <inttypes.h>
#include <pthread.h>

#define PAIRS 24u
#define LEN 3000u
#define LARGE ((size_t)300 << 10)
#define RUNS_MOST 120u

struct faulty {
	pthread_mutex_t lock;
	uint64_t allocations;
	uint64_t fail_at;   /* counted from 1; 0: none */
	bool fail_ever_after;
	int64_t blocks;
};

static bool fails(struct faulty *f)
{
	pthread_mutex_lock(&f->lock);
	uint64_t n = ++f->allocations;
	bool bad = f->fail_at && (f->fail_ever_after ? n >= f->fail_at : n == f->fail_at);
	pthread_mutex_unlock(&f->lock);
	return bad;
}

static void count_block(struct faulty *f, int by)
{
	pthread_mutex_lock(&f->lock);
	f->blocks += by;
	pthread_mutex_unlock(&f->lock);
}

static void *faulty_alloc(void *context, size_t bytes)
{
	void *block = fails(context) ? NULL : malloc(bytes);
	if (block)
		count_block(context, 1);
	return block;
}

static void *faulty_realloc(void *context, void *old, size_t bytes)
{
	void *block = fails(context) ? NULL : realloc(old, bytes);
	if (block && !old)
		count_block(context, 1);
	return block;
}

static void faulty_free(void *context, void *block)
{
	if (block)
		count_block(context, -1);
	free(block);
}

/* What is known of a key: its seed, 0 absent; or nothing, after a write that failed. */
struct known {
	uint64_t seed;
	size_t len;
	bool unsure;
};

struct course {
	struct bed bed;
	struct faulty faulty;
	struct thermo_allocator allocator;
	struct known known[2 * PAIRS];
	struct known large;
	unsigned refused; /* calls that answered -ENOMEM or BUSY */
	unsigned unclean;
};

/* Counts what is no clean answer. true: the call did what it was to do. */
static bool clean(struct course *c, const char *what, int rc)
{
	if (rc == THERMO_OK)
		return true;
	if (rc == -ENOMEM || rc == THERMO_BUSY || rc == THERMO_PENDING) {
		c->refused++;
		return false;
	}
	c->unclean++;
	printf("  allocation %" PRIu64 " failed, and %s answers %d (%s)\n", c->faulty.fail_at, what, rc,
	       thermo_strerror(rc));
	return false;
}

static void put(struct course *c, uint32_t key, uint64_t seed)
{
	int rc = bed_put(c->bed.space, key, seed, LEN);
	if (clean(c, "put", rc))
		c->known[key] = (struct known){seed, LEN, false};
}

static void take_away(struct course *c, uint32_t key)
{
	char bytes[32];
	size_t len = bed_key(key, bytes);
	bool there = c->known[key].seed != 0;
	int rc = thermo_remove(c->bed.space, bytes, len);
	if (rc == THERMO_MISS && !there)
		rc = THERMO_OK;
	if (clean(c, "remove", rc))
		c->known[key] = (struct known){0, 0, false};
}

static void look(struct course *c, uint32_t key)
{
	const struct known *k = &c->known[key];
	int rc = bed_check(c->bed.space, key, k->seed, k->seed ? k->len : LEN);
	if (!k->seed && rc == THERMO_MISS)
		return;
	clean(c, "get", rc);
}

static void touch_and_swap(struct course *c, uint32_t key)
{
	char bytes[32], value[LEN];
	size_t len = bed_key(key, bytes);
	struct thermo_info info;
	bool there = c->known[key].seed != 0;
	int rc = thermo_touch(c->bed.space, bytes, len, 100000000);
	clean(c, "touch", rc == THERMO_MISS && !there ? THERMO_OK : rc);
	rc = thermo_exists(c->bed.space, bytes, len, &info);
	clean(c, "exists", rc == THERMO_MISS && !there ? THERMO_OK : rc);
	if (rc != THERMO_OK)
		return;
	value_fill(value, LEN, 5000 + key);
	rc = thermo_cas(c->bed.space, bytes, len, value, LEN, 0, info.version, NULL);
	if (clean(c, "cas", rc))
		c->known[key] = (struct known){5000 + key, LEN, false};
}

static void hold(struct course *c, uint32_t key)
{
	char bytes[32];
	size_t len = bed_key(key, bytes), wrong;
	struct thermo_ref ref = {0};
	const struct known *k = &c->known[key];
	int rc = thermo_get_ref(c->bed.space, bytes, len, &ref);
	if (rc == THERMO_MISS && !k->seed)
		return;
	if (clean(c, "get_ref", rc) && !value_is(ref.data, 0, ref.len, k->seed, &wrong))
		c->unclean++;
	thermo_ref_release(&ref);
}

static void put_large(struct course *c)
{
	char *value = malloc(LARGE);
	if (!value)
		return;
	value_fill(value, LARGE, 99);
	int rc = thermo_put(c->bed.space, "large", 5, value, LARGE, THERMO_TTL_NONE);
	if (clean(c, "put of a large value", rc))
		c->large = (struct known){99, LARGE, false};
	free(value);
}

static void look_large(struct course *c)
{
	size_t len = 0, wrong;
	char *value = malloc(LARGE);
	if (!value)
		return;
	int rc = thermo_get(c->bed.space, "large", 5, value, LARGE, &len);
	if (rc != THERMO_MISS || c->large.seed) {
		if (clean(c, "get of a large value", rc) &&
		    (len != LARGE || !value_is(value, 0, LARGE, c->large.seed, &wrong)))
			c->unclean++;
	}
	free(value);
}

static void ask_many(struct course *c)
{
	static char buffer[PAIRS][LEN];
	char key[PAIRS][32];
	struct thermo_request r[PAIRS] = {{0}}, *list[PAIRS], *done[PAIRS];
	struct thermo_queue *queue;
	for (unsigned i = 0; i < PAIRS; i++) {
		list[i] = &r[i];
		r[i].space = c->bed.space;
		r[i].key = key[i];
		r[i].key_len = (uint32_t)bed_key(i, key[i]);
		r[i].value = buffer[i];
		r[i].capacity = LEN;
	}
	if (clean(c, "get_batch", thermo_get_batch(r, PAIRS, -1)))
		for (unsigned i = 0; i < PAIRS; i++)
			if (r[i].status != THERMO_MISS || c->known[i].seed)
				clean(c, "a get of a batch", r[i].status);
	if (!clean(c, "queue_open", thermo_queue_open(c->bed.cache, &queue)))
		return;
	if (clean(c, "submit", thermo_submit(queue, list, PAIRS))) {
		for (unsigned left = PAIRS; left;) {
			int n = thermo_poll(queue, done, PAIRS, -1);
			if (n <= 0)
				break;
			left -= (unsigned)n;
			for (int i = 0; i < n; i++)
				if (done[i]->status != THERMO_MISS)
					clean(c, "a get of a queue", done[i]->status);
		}
	}
	clean(c, "queue_close", thermo_queue_close(&queue));
}

static void iterate(struct course *c)
{
	struct thermo_iter *iter;
	struct thermo_item item;
	int rc = thermo_iter_open(c->bed.space, "key", 3, &iter);
	if (!clean(c, "iter_open", rc))
		return;
	while ((rc = thermo_iter_next(iter, &item)) == THERMO_OK)
		;
	if (rc != THERMO_MISS)
		clean(c, "iter_next", rc);
	clean(c, "iter_close", thermo_iter_close(&iter));
}

static void use(struct course *c)
{
	struct thermo_space *other;
	for (uint32_t i = 0; i < PAIRS; i++)
		put(c, i, i + 1);
	put_large(c);
	int rc = thermo_space_open(c->bed.cache, "other", NULL, &other, NULL);
	if (clean(c, "space_open", rc)) {
		clean(c, "put", bed_put(other, 1, 1, LEN));
		rc = thermo_space_drop(&other);
		clean(c, "space_drop", rc);
	}
	/* Down, tier by tier; nothing but these calls works in the background. */
	clean(c, "drain", thermo_drain(c->bed.cache, THERMO_HOT, 200000000, NULL));
	if (c->bed.options.warm_bytes)
		clean(c, "drain", thermo_drain(c->bed.cache, THERMO_WARM, 200000000, NULL));
	clean(c, "settle", thermo_settle(c->bed.cache, 200000000));
	for (uint32_t i = 0; i < PAIRS; i += 3)
		look(c, i);
	look_large(c);
	for (uint32_t i = 1; i < PAIRS; i += 3)
		take_away(c, i);
	for (uint32_t i = 2; i < PAIRS; i += 3)
		touch_and_swap(c, i);
	for (uint32_t i = PAIRS; i < 2 * PAIRS; i++)
		put(c, i, i + 1);
	hold(c, 3);
	hold(c, PAIRS + 3);
	ask_many(c);
	iterate(c);
}

/* With memory to be had again, everything that was acknowledged is there. */
static unsigned lost(struct course *c)
{
	unsigned bad = 0;
	size_t len = 0;
	c->faulty.fail_at = 0;
	for (uint32_t i = 0; i < 2 * PAIRS; i++) {
		const struct known *k = &c->known[i];
		int rc = bed_check(c->bed.space, i, k->seed, k->seed ? k->len : LEN);
		if (rc != (k->seed ? THERMO_OK : THERMO_MISS)) {
			printf("  key %u, %s: %d\n", i, k->seed ? "acknowledged" : "removed", rc);
			bad++;
		}
	}
	char first;
	int rc = thermo_get(c->bed.space, "large", 5, &first, 1, &len);
	if (c->large.seed ? rc != THERMO_TRUNCATED || len != LARGE : rc != THERMO_MISS) {
		printf("  large value: %d\n", rc);
		bad++;
	}
	return bad;
}

/* The sequence with the n-th allocation failing; returns how many there were, or 0 after a failure. */
static uint64_t course_run(bool cold, uint64_t n, bool ever_after)
{
	static struct course course;
	struct course *c = &course;
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->faulty.lock, NULL);
	bed_init(&c->bed, cold, cold); /* without cold nothing may be evicted: DRAM alone has room */
	c->allocator = (struct thermo_allocator){&c->faulty, faulty_alloc, faulty_realloc, faulty_free};
	c->bed.options.allocator = &c->allocator;
	c->bed.options.background_threads = 0;
	c->bed.options.put_wait_ms = 0;
	c->faulty.fail_at = n;
	c->faulty.fail_ever_after = ever_after;
	unsigned bad = 0;
	int rc = thermo_open(&c->bed.options, &c->bed.cache, &c->bed.error);
	if (rc) {
		bad += rc != -ENOMEM || c->bed.cache != NULL || c->bed.error.text[0] == '\0';
		if (bad)
			printf("  allocation %" PRIu64 ": open answers %d: %s\n", n, rc,
			       c->bed.error.text);
		goto done;
	}
	rc = thermo_space_open(c->bed.cache, "bed", NULL, &c->bed.space, &c->bed.error);
	if (rc == THERMO_OK)
		use(c);
	bad += c->unclean;
	uint64_t allocations = c->faulty.allocations;
	if (rc == THERMO_OK)
		bad += lost(c);
	c->faulty.fail_at = 0;
	rc = thermo_close(&c->bed.cache, 0, &c->bed.error);
	bad += rc != THERMO_OK;
	if (!bad && cold) {
		if (bed_open(&c->bed))
			bad++;
		else
			bad += lost(c);
		if (c->bed.cache)
			bad += thermo_close(&c->bed.cache, 0, &c->bed.error) != THERMO_OK;
	}
	c->faulty.allocations = allocations;
done:
	bed_end(&c->bed);
	if (c->faulty.blocks) {
		printf("  allocation %" PRIu64 ": %" PRId64 " blocks are left\n", n, c->faulty.blocks);
		bad++;
	}
	pthread_mutex_destroy(&c->faulty.lock);
	if (bad)
		printf("  allocation %" PRIu64 "%s: %u failures\n", n, ever_after ? " and on" : "", bad);
	CU_ASSERT_EQUAL(bad, 0);
	return bad ? 0 : c->faulty.allocations;
}

static void every(bool cold, bool ever_after)
{
	uint64_t all = course_run(cold, 0, false), step = 1, runs = 0;
	CU_ASSERT_FATAL(all > 0);
	if (!getenv("THERMO_TEST_FULL") && all > RUNS_MOST)
		step = all / RUNS_MOST + 1;
	for (uint64_t n = 1; n <= all + 1; n += step, runs++)
		course_run(cold, n, ever_after);
	printf("  %" PRIu64 " allocations, %" PRIu64 " of them made fail in turn\n", all, runs);
}

static void use_one_failed_allocation_memory_only_is_refused(void)
{
	every(false, false);
}

static void use_no_more_allocations_memory_only_is_refused(void)
{
	every(false, true);
}

static void use_one_failed_allocation_with_cold_is_refused(void)
{
	every(true, false);
}

static void use_no_more_allocations_with_cold_is_refused(void)
{
	every(true, true);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(use_one_failed_allocation_memory_only_is_refused),
		SUITE_CASE(use_no_more_allocations_memory_only_is_refused),
		SUITE_CASE(use_one_failed_allocation_with_cold_is_refused),
		SUITE_CASE(use_no_more_allocations_with_cold_is_refused),
	};
	return suite_run("alloc_fail", NULL, NULL, cases, SUITE_COUNT(cases));
}
