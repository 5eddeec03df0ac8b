/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was deleted stays deleted, wherever its record is on its way to cold. The cache has no threads: the
 * test drives the migrator, and gets between two of its steps through the allocator of the host.
 */
#include "tests/tiers/bed.h"
#include "tiers/request.h"

#include <pthread.h>
#include <sys/stat.h>

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

/* ---- Large values ---- */

#define LARGE ((size_t)300 << 10)
#define OVERWRITERS 4u
#define OVERWRITES 60u

struct overwriter {
	struct thermo_space *space;
	unsigned number, bad;
};

static void *overwrite(void *argument)
{
	struct overwriter *o = argument;
	char *value = malloc(LARGE);
	for (unsigned i = 0; value && i < OVERWRITES; i++) {
		value_fill(value, LARGE, o->number * OVERWRITES + i);
		int rc = i % 8 == 7 ? thermo_delete(o->space, "large", 5)
				    : thermo_put(o->space, "large", 5, value, LARGE, 0);
		o->bad += rc != THERMO_OK;
	}
	free(value);
	return NULL;
}

static void overwrites_of_a_large_value_leave_no_chunk(void)
{
	struct bed bed;
	struct overwriter o[OVERWRITERS];
	pthread_t thread[OVERWRITERS];
	bed_make(&bed, false, false);
	for (unsigned i = 0; i < OVERWRITERS; i++) {
		o[i] = (struct overwriter){bed.space, i, 0};
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, overwrite, &o[i]), 0);
	}
	for (unsigned i = 0; i < OVERWRITERS; i++) {
		pthread_join(thread[i], NULL);
		CU_ASSERT_EQUAL(o[i].bad, 0);
	}
	CU_ASSERT_EQUAL(thermo_delete(bed.space, "large", 5), THERMO_OK);
	CU_ASSERT_EQUAL(bed_stats(&bed).index_records, 0); /* nothing was evicted that would hide one */
	bed_end(&bed);
}

/* The first bytes of the value's 16 KiB pieces that are found in the segments. */
static unsigned pieces_on_disk(const struct bed *bed, const char *value)
{
	unsigned found = 0;
	DIR *dir = opendir(bed->scratch.path);
	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[600];
		struct stat st;
		snprintf(path, sizeof(path), "%s/%s", bed->scratch.path, entry->d_name);
		FILE *file = strstr(entry->d_name, ".seg") ? fopen(path, "rb") : NULL;
		char *all = file && !stat(path, &st) ? malloc((size_t)st.st_size + 1) : NULL;
		size_t n = all ? fread(all, 1, (size_t)st.st_size, file) : 0;
		for (size_t at = 0; at < LARGE && n; at += (size_t)16 << 10)
			found += memmem(all, n, value + at, 32) != NULL;
		free(all);
		if (file)
			fclose(file);
	}
	closedir(dir);
	return found;
}

static void push_out(struct bed *bed)
{
	for (uint32_t i = 0; i < 40000; i++)
		CU_ASSERT_EQUAL_FATAL(bed_put(bed->space, i, i + 1, LEN), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_settle(bed->cache, -1), THERMO_OK);
}

static void erase_of_a_large_value_takes_its_chunks(void)
{
	struct bed bed;
	char *value = malloc(LARGE);
	struct thermo_info info;
	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	bed_make(&bed, false, true);
	value_fill(value, LARGE, UINT64_C(7) << 40); /* no other key has it */
	CU_ASSERT_EQUAL(thermo_put(bed.space, "large", 5, value, LARGE, 0), THERMO_OK);
	push_out(&bed);
	CU_ASSERT(pieces_on_disk(&bed, value) > 0);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "large", 5, &info), THERMO_OK);
	CU_ASSERT_EQUAL(info.tier, THERMO_COLD);
	CU_ASSERT_EQUAL(thermo_erase(bed.space, "large", 5, -1), THERMO_OK);
	CU_ASSERT_EQUAL(pieces_on_disk(&bed, value), 0);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "large", 5, NULL), THERMO_MISS);
	/* The same with the head in memory: its chunks are in cold all the same. */
	CU_ASSERT_EQUAL(thermo_put(bed.space, "large", 5, value, LARGE, 0), THERMO_OK);
	push_out(&bed);
	CU_ASSERT(pieces_on_disk(&bed, value) > 0);
	CU_ASSERT_EQUAL(thermo_touch(bed.space, "large", 5, 1000000), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_erase(bed.space, "large", 5, -1), THERMO_OK);
	CU_ASSERT_EQUAL(pieces_on_disk(&bed, value), 0);
	CU_ASSERT_EQUAL(bed_count(bed.space, 40000, LEN), 40000);
	bed_reopen(&bed);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "large", 5, NULL), THERMO_MISS);
	free(value);
	bed_end(&bed);
}

/* The chunks' tombstones find no room: they are put off, and not forgotten. */
static void forget_without_room_takes_the_chunks_later(void)
{
	struct bed bed;
	size_t len = (size_t)8 << 20;
	char *value = calloc(1, len);
	struct large_head head;
	struct found found;
	struct view view;
	int rc;
	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	bed_init(&bed, false, true);
	bed.options.background_threads = 0;
	bed.options.put_wait_ms = 1;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	struct thermo *c = bed.cache;
	for (unsigned tries = 0; (rc = thermo_put(bed.space, "large", 5, value, len, 0)) && tries < 1000; tries++)
		thermo_work(c);
	CU_ASSERT_EQUAL(rc, THERMO_OK);
	for (uint32_t i = 0; i < 40000; i++) { /* to cold with it */
		CU_ASSERT_EQUAL_FATAL(bed_put(bed.space, i, i + 1, LEN), THERMO_OK);
		thermo_work(c);
	}
	CU_ASSERT_EQUAL(thermo_touch(bed.space, "large", 5, 1000000), THERMO_OK); /* the head is in memory */
	struct key key = key_make(bed.space, "large", 5, 0);
	epoch_enter();
	CU_ASSERT_FATAL(c->lookup->find(c, &key, &found));
	record_view(found.record, &view);
	CU_ASSERT_EQUAL_FATAL(view.value_len, sizeof(head));
	memcpy(&head, view.value, sizeof(head));
	epoch_exit();
	c->reserve[THERMO_HOT] += 1000; /* nobody gets a segment */
	for (uint32_t i = 0; i < 1000 && rc == THERMO_OK; i++)
		rc = bed_put(bed.space, 100000 + i, 1, LEN);
	CU_ASSERT_EQUAL(rc, THERMO_BUSY);
	large_forget(c, &key, &head);
	CU_ASSERT_PTR_NOT_NULL(c->forgotten);
	c->reserve[THERMO_HOT] -= 1000;
	CU_ASSERT_EQUAL(thermo_settle(c, -1), THERMO_OK);
	CU_ASSERT_PTR_NULL(c->forgotten);
	for (size_t at = 0; at < len; at += c->chunk_bytes) {
		size_t copied;
		CU_ASSERT_EQUAL(thermo_get_range(bed.space, "large", 5, at, value, 1, &copied, NULL), THERMO_MISS);
	}
	free(value);
	bed_end(&bed);
}

/* Erases all keys as the first run begins: what is in it must go as well. */
static void erase_all(struct hooked *h)
{
	for (uint32_t i = 0; i < h->keys; i++) {
		char key[32];
		size_t len = bed_key(i, key);
		int rc = thermo_erase(h->bed.space, key, len, 0);
		h->refused += rc != THERMO_OK && rc != THERMO_PENDING;
		if (rc == THERMO_PENDING && i >= 64)
			break; /* each is an edit of the manifest */
	}
}

static void erase_as_a_run_begins_takes_what_is_in_it(void)
{
	static struct hooked h;
	hooked_open(&h, delete_all);
	while (!h.fired && h.keys < KEYS_MOST) {
		CU_ASSERT_EQUAL_FATAL(bed_put(h.bed.space, h.keys, h.keys + 1, LEN), THERMO_OK);
		h.keys++;
		h.armed = true;
		thermo_work(h.bed.cache);
		h.armed = false;
	}
	CU_ASSERT(h.fired);
	h.keys = 200;
	erase_all(&h);
	CU_ASSERT_EQUAL(h.refused, 0);
	CU_ASSERT_EQUAL(thermo_erase(h.bed.space, "key-00000000", 12, -1), THERMO_OK);
	CU_ASSERT_EQUAL(count_there(&h), 0);
	bed_end(&h.bed);
}

/* ---- Spaces ---- */

/* A key that was written many times has a greater number than the clock; where the next opening has no room for
 * its record, that goes to cold with it. */
static void drop_after_spill_keeps_nothing(void)
{
	struct bed bed;
	size_t len = (size_t)200 << 10;
	char *value = calloc(1, len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(value);
	bed_init(&bed, false, true);
	bed.options.dram_bytes = 256 * MIB;
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	for (unsigned i = 0; i < 500; i++)
		CU_ASSERT_EQUAL(thermo_put(bed.space, "key", 3, value, i + 1 < 500 ? 10 : len, 0), THERMO_OK);
	bed_close(&bed);
	bed.options.dram_bytes = 40 * MIB; /* whose segments are smaller than the record */
	CU_ASSERT_EQUAL_FATAL(bed_open(&bed), 0);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "key", 3, NULL), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_space_drop(&bed.space), THERMO_OK);
	CU_ASSERT_EQUAL_FATAL(thermo_space_open(bed.cache, "bed", NULL, &bed.space, &bed.error), 0);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "key", 3, NULL), THERMO_MISS);
	free(value);
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(delete_as_a_run_begins_stays_deleted),
		SUITE_CASE(overwrite_and_delete_as_a_run_begins_stay_deleted),
		SUITE_CASE(overwrites_of_a_large_value_leave_no_chunk),
		SUITE_CASE(erase_of_a_large_value_takes_its_chunks),
		SUITE_CASE(forget_without_room_takes_the_chunks_later),
		SUITE_CASE(erase_as_a_run_begins_takes_what_is_in_it),
		SUITE_CASE(drop_after_spill_keeps_nothing),
	};
	return suite_run("deletes", NULL, NULL, cases, SUITE_COUNT(cases));
}
