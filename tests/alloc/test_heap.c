/* SPDX-License-Identifier: Apache-2.0 */
/* The control-plane heap: bounds, accounting, failure of every allocation in turn. */
#include <pthread.h>
#include <stdbool.h>

#include "alloc/budget.h"
#include "alloc/heap.h"
#include "alloc/pages.h"
#include "tests/alloc/faults.h"
#include "tests/suite.h"

#define MIB ((size_t)1 << 20)

/* A host's allocator whose nth call to alloc or realloc fails. */
struct failing {
	uint64_t calls, fail_at;
	int64_t live;
};

static void *failing_alloc(void *context, size_t bytes)
{
	struct failing *f = context;
	if (++f->calls == f->fail_at)
		return NULL;
	f->live++;
	return malloc(bytes);
}

static void *failing_realloc(void *context, void *old, size_t bytes)
{
	struct failing *f = context;
	return ++f->calls == f->fail_at ? NULL : realloc(old, bytes);
}

static void failing_free(void *context, void *bytes)
{
	struct failing *f = context;
	f->live--;
	free(bytes);
}

static struct thermo_allocator failing_allocator(struct failing *f)
{
	return (struct thermo_allocator){f, failing_alloc, failing_realloc, failing_free};
}

/* Opens each filling in turn. */
#define FILLINGS 3
static struct failing never_fails;
static struct thermo_allocator host;

static struct heap *open_filling(int i, size_t bytes)
{
	struct heap *heap = NULL;
	struct thermo_error error = {""};
	never_fails = (struct failing){0};
	host = failing_allocator(&never_fails);
	int rc = heap_open(i == 0 ? "memkind" : "libc", i == 2 ? &host : NULL, bytes, NULL, &heap,
			   &error);
	if (rc)
		printf("  filling %d: %s\n", i, error.text);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(heap);
	return heap;
}

static void open_unknown_kind_einval(void)
{
	struct heap *heap = (struct heap *)&host;
	struct thermo_error error = {""};
	CU_ASSERT_EQUAL(heap_open("tcmalloc", NULL, MIB, NULL, &heap, &error), -EINVAL);
	CU_ASSERT_PTR_NULL(heap);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "tcmalloc"));
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "memkind, libc"));
	CU_ASSERT_EQUAL(heap_open("libc", NULL, 0, NULL, &heap, NULL), -EINVAL);
	struct thermo_allocator half = {.alloc = failing_alloc};
	CU_ASSERT_EQUAL(heap_open("libc", &half, MIB, NULL, &heap, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "realloc"));
}

static void open_over_budget_enomem(void)
{
	static const char *const kinds[] = {"memkind", "libc"};
	for (int i = 0; i < 2; i++) {
		struct budget budget;
		struct heap *heap;
		struct thermo_error error = {""};
		budget_init(&budget, 4 * MIB);
		CU_ASSERT_TRUE(budget_take(&budget, MIB));
		CU_ASSERT_EQUAL(heap_open(kinds[i], NULL, 4 * MIB, &budget, &heap, &error),
				-ENOMEM);
		CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "dram"));
		CU_ASSERT_EQUAL(budget.used, MIB);
		CU_ASSERT_EQUAL_FATAL(heap_open(kinds[i], NULL, 2 * MIB, &budget, &heap, &error),
				      0);
		CU_ASSERT_EQUAL(budget.used, 3 * MIB);
		heap_close(&heap);
		CU_ASSERT_PTR_NULL(heap);
		CU_ASSERT_EQUAL(budget.used, MIB);
	}
}

static void close_null_harmless(void)
{
	struct heap *heap = NULL;
	heap_close(&heap);
	CU_ASSERT_PTR_NULL(heap);
}

/* Takes blocks until the heap is full, writes them all, frees them all. How many there were. */
static size_t fill_and_free(struct heap *heap, size_t bytes)
{
	void *list = NULL;
	size_t n = 0;
	for (void **block; (block = heap_alloc(heap, bytes)); n++) {
		memset(block, (int)n, bytes);
		*block = list;
		list = block;
	}
	while (list) {
		void *next = *(void **)list;
		heap_free(heap, list);
		list = next;
	}
	return n;
}

static void alloc_full_null_then_works_again(void)
{
	for (int i = 0; i < FILLINGS; i++) {
		struct heap *heap = open_filling(i, 4 * MIB);
		size_t first = fill_and_free(heap, 64);
		CU_ASSERT_EQUAL(heap_used(heap), 0);
		CU_ASSERT_TRUE(first >= 4 * MIB / 128);
		CU_ASSERT_TRUE(first <= 4 * MIB / 64);
		CU_ASSERT_TRUE(fill_and_free(heap, 64) >= first);
		heap_close(&heap);
	}
}

/* What memkind's default decay gets wrong: see heap.c. */
static void alloc_large_after_small_were_freed_succeeds(void)
{
	for (int i = 0; i < FILLINGS; i++) {
		struct heap *heap = open_filling(i, 8 * MIB);
		for (int round = 0; round < 3; round++)
			for (size_t bytes = 64; bytes <= MIB; bytes *= 16) {
				size_t n = fill_and_free(heap, bytes);
				if (n * bytes < 4 * MIB)
					printf("  filling %d: %zu blocks of %zu\n", i, n, bytes);
				CU_ASSERT_TRUE(n * bytes >= 4 * MIB);
				CU_ASSERT_TRUE(n * bytes <= 8 * MIB);
			}
		heap_close(&heap);
	}
}

static void alloc_zero_bytes_gives_block(void)
{
	for (int i = 0; i < FILLINGS; i++) {
		struct heap *heap = open_filling(i, 2 * MIB);
		char *a = heap_alloc(heap, 0), *b = heap_zalloc(heap, 0, 8);
		CU_ASSERT_PTR_NOT_NULL(a);
		CU_ASSERT_PTR_NOT_NULL(b);
		CU_ASSERT_PTR_NOT_EQUAL(a, b);
		heap_free(heap, heap_realloc(heap, a, 0));
		heap_free(heap, b);
		heap_free(heap, NULL);
		CU_ASSERT_EQUAL(heap_used(heap), 0);
		heap_close(&heap);
	}
}

static void zalloc_overflow_null(void)
{
	for (int i = 0; i < FILLINGS; i++) {
		struct heap *heap = open_filling(i, 2 * MIB);
		CU_ASSERT_PTR_NULL(heap_zalloc(heap, SIZE_MAX / 2 + 1, 2));
		CU_ASSERT_PTR_NULL(heap_zalloc(heap, (size_t)1 << 33, (size_t)1 << 33));
		CU_ASSERT_PTR_NULL(heap_alloc(heap, SIZE_MAX));
		CU_ASSERT_PTR_NULL(heap_alloc(heap, SIZE_MAX - 8));
		CU_ASSERT_EQUAL(heap_used(heap), 0);
		heap_close(&heap);
	}
}

static void zalloc_reused_block_zeroed(void)
{
	for (int i = 0; i < FILLINGS; i++) {
		struct heap *heap = open_filling(i, 2 * MIB);
		char *dirty = heap_alloc(heap, 4096);
		CU_ASSERT_PTR_NOT_NULL_FATAL(dirty);
		memset(dirty, 0xa5, 4096);
		heap_free(heap, dirty);
		for (int j = 0; j < 16; j++) {
			char *clean = heap_zalloc(heap, 64, 64);
			CU_ASSERT_PTR_NOT_NULL_FATAL(clean);
			CU_ASSERT_TRUE(clean[0] == 0 && memcmp(clean, clean + 1, 4095) == 0);
			heap_free(heap, clean);
		}
		heap_close(&heap);
	}
}

static void realloc_too_large_keeps_old(void)
{
	for (int i = 0; i < FILLINGS; i++) {
		struct heap *heap = open_filling(i, 2 * MIB);
		char *block = heap_strdup(heap, "thermocline");
		CU_ASSERT_PTR_NOT_NULL_FATAL(block);
		uint64_t used = heap_used(heap);
		CU_ASSERT_PTR_NULL(heap_realloc(heap, block, 64 * MIB));
		CU_ASSERT_PTR_NULL(heap_realloc(heap, block, SIZE_MAX - 4));
		CU_ASSERT_STRING_EQUAL(block, "thermocline");
		CU_ASSERT_EQUAL(heap_used(heap), used);
		char *grown = heap_realloc(heap, block, 100000);
		CU_ASSERT_PTR_NOT_NULL_FATAL(grown);
		CU_ASSERT_STRING_EQUAL(grown, "thermocline");
		CU_ASSERT_TRUE(heap_used(heap) >= 100000);
		grown = heap_realloc(heap, grown, 12);
		CU_ASSERT_STRING_EQUAL(grown, "thermocline");
		CU_ASSERT_TRUE(heap_used(heap) < 100000);
		heap_free(heap, grown);
		CU_ASSERT_EQUAL(heap_used(heap), 0);
		heap_close(&heap);
	}
}

static void alloc_any_size_aligned(void)
{
	for (int i = 0; i < FILLINGS; i++) {
		struct heap *heap = open_filling(i, 4 * MIB);
		for (size_t bytes = 16; bytes < 70000; bytes = bytes * 3 / 2 + 1) {
			void *block = heap_alloc(heap, bytes);
			CU_ASSERT_PTR_NOT_NULL(block);
			CU_ASSERT_EQUAL((uintptr_t)block % 16, 0);
			heap_free(heap, block);
		}
		heap_close(&heap);
	}
}

/* One pass over everything that allocates; each step copes with NULL. */
static void use_everything(struct heap *heap)
{
	char *name = heap_strdup(heap, "space");
	uint32_t *table = heap_zalloc(heap, 100, sizeof(*table));
	char *text = heap_alloc(heap, 32);
	if (table)
		table[99] = 7;
	char *grown = text ? strcpy(text, "kept"), heap_realloc(heap, text, 5000) : NULL;
	if (text && !grown)
		grown = text;
	CU_ASSERT_TRUE(!grown || strcmp(grown, "kept") == 0);
	CU_ASSERT_TRUE(!name || strcmp(name, "space") == 0);
	heap_free(heap, grown);
	heap_free(heap, name);
	heap_free(heap, table);
	CU_ASSERT_EQUAL(heap_used(heap), 0);
}

static void use_nth_allocation_fails_state_intact(void)
{
	bool failed = true;
	for (uint64_t nth = 1; failed; nth++) {
		struct failing f = {.fail_at = nth};
		struct thermo_allocator allocator = failing_allocator(&f);
		struct budget budget;
		struct heap *heap;
		struct thermo_error error = {""};
		budget_init(&budget, 8 * MIB);
		int rc = heap_open(NULL, &allocator, MIB, &budget, &heap, &error);
		if (rc) {
			CU_ASSERT_EQUAL(rc, -ENOMEM);
			CU_ASSERT_EQUAL(nth, 1);
			CU_ASSERT_PTR_NULL(heap);
			CU_ASSERT_TRUE(error.text[0] != '\0');
		} else {
			use_everything(heap);
			heap_close(&heap);
		}
		CU_ASSERT_EQUAL(budget.used, 0);
		CU_ASSERT_EQUAL(f.live, 0);
		failed = f.calls >= nth;
		CU_ASSERT_TRUE_FATAL(nth < 100);
	}
}

static void open_memkind_environment_unchanged(void)
{
	static const char name[] = "MEMKIND_ARENA_NUM_PER_KIND";
	char before[32] = "";
	bool set = getenv(name) != NULL;
	if (set)
		snprintf(before, sizeof(before), "%s", getenv(name));
	struct heap *heap = open_filling(0, 2 * MIB);
	CU_ASSERT_EQUAL(getenv(name) != NULL, set);
	if (set)
		CU_ASSERT_STRING_EQUAL(getenv(name), before);
	heap_close(&heap);
}

static void open_many_times_each_works(void)
{
	struct heap *other = open_filling(0, 2 * MIB);
	char *kept = heap_strdup(other, "kept");
	for (int i = 0; i < 200; i++) {
		struct heap *heap = open_filling(0, 2 * MIB);
		void *block = heap_alloc(heap, 1000);
		CU_ASSERT_PTR_NOT_NULL_FATAL(block);
		memset(block, 1, 1000);
		heap_close(&heap); /* with the block in it */
	}
	CU_ASSERT_STRING_EQUAL(kept, "kept");
	heap_close(&other);
}

static void read_in_child_same_bytes(void)
{
	struct heap *heap = open_filling(0, 2 * MIB);
	char *block = heap_strdup(heap, "inherited");
	CU_ASSERT_EQUAL(inherited_by_child(block), 1);
	CU_ASSERT_EQUAL(inherited_by_child(block + 8), 1);
	heap_close(&heap);
}

#define WORKERS 4
#define SLOTS 64
struct worker {
	struct heap *heap;
	uint64_t random;
	uint64_t bad, full;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool holds(const unsigned char *block, size_t bytes, unsigned char fill)
{
	return block[0] == fill && block[bytes / 2] == fill && block[bytes - 1] == fill;
}

static void *work(void *argument)
{
	struct worker *w = argument;
	unsigned char *block[SLOTS] = {NULL};
	size_t bytes[SLOTS] = {0};
	for (int i = 0; i < 30000; i++) {
		uint64_t r = next_random(&w->random);
		unsigned s = r % SLOTS;
		size_t want = 1 + (r >> 8) % ((r >> 40) % 2 ? 40000 : 500);
		unsigned char fill = (unsigned char)(s + (w->random & 0x80));
		if (block[s] && !holds(block[s], bytes[s], block[s][0]))
			w->bad++;
		if (block[s] && (r >> 50) % 2) {
			heap_free(w->heap, block[s]);
			block[s] = NULL;
			continue;
		}
		unsigned char *got = heap_realloc(w->heap, block[s], want);
		if (!got) {
			w->full++;
			continue;
		}
		block[s] = memset(got, fill, want);
		bytes[s] = want;
	}
	for (int s = 0; s < SLOTS; s++)
		heap_free(w->heap, block[s]);
	return NULL;
}

static void use_many_threads_blocks_intact(void)
{
	uint64_t seed = suite_seed();
	for (int i = 0; i < 2; i++) {
		/* Small enough that it is full at times. */
		struct heap *heap = open_filling(i, 2 * MIB);
		pthread_t thread[WORKERS];
		struct worker worker[WORKERS];
		uint64_t full = 0;
		for (int t = 0; t < WORKERS; t++) {
			worker[t] = (struct worker){
				heap, (seed + (uint64_t)t * 0x9e3779b97f4a7c15u) | 1, 0, 0};
			CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[t], NULL, work, &worker[t]),
					      0);
		}
		for (int t = 0; t < WORKERS; t++) {
			pthread_join(thread[t], NULL);
			CU_ASSERT_EQUAL(worker[t].bad, 0);
			full += worker[t].full;
		}
		printf("  filling %d: full %llu times\n", i, (unsigned long long)full);
		CU_ASSERT_EQUAL(heap_used(heap), 0);
		CU_ASSERT_TRUE(fill_and_free(heap, 256) >= 2 * MIB / 512);
		heap_close(&heap);
	}
}

static const struct suite_case cases[] = {
	SUITE_CASE(open_unknown_kind_einval),
	SUITE_CASE(open_over_budget_enomem),
	SUITE_CASE(close_null_harmless),
	SUITE_CASE(alloc_full_null_then_works_again),
	SUITE_CASE(alloc_large_after_small_were_freed_succeeds),
	SUITE_CASE(alloc_zero_bytes_gives_block),
	SUITE_CASE(zalloc_overflow_null),
	SUITE_CASE(zalloc_reused_block_zeroed),
	SUITE_CASE(realloc_too_large_keeps_old),
	SUITE_CASE(alloc_any_size_aligned),
	SUITE_CASE(use_nth_allocation_fails_state_intact),
	SUITE_CASE(open_memkind_environment_unchanged),
	SUITE_CASE(open_many_times_each_works),
	SUITE_CASE(read_in_child_same_bytes),
	SUITE_CASE(use_many_threads_blocks_intact),
};

int main(void)
{
	return suite_run("heap", NULL, NULL, cases, SUITE_COUNT(cases));
}
