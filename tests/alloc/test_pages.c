/* SPDX-License-Identifier: Apache-2.0 */
/* Reserving, committing and giving back pages; what the kernel says about them afterwards. */
#include <inttypes.h>

#include "alloc/pages.h"
#include "tests/alloc/faults.h"
#include "tests/suite.h"

static bool no_populate; /* play a kernel before 5.14 */
static bool no_memory;
static bool no_more_mappings;

int __real_madvise(void *start, size_t bytes, int advice);
int __wrap_madvise(void *start, size_t bytes, int advice);
int __wrap_madvise(void *start, size_t bytes, int advice)
{
	if (advice == 23 && (no_populate || no_memory)) {
		errno = no_populate ? EINVAL : ENOMEM;
		return -1;
	}
	return __real_madvise(start, bytes, advice);
}

void *__real_mmap64(void *at, size_t bytes, int protection, int flags, int fd, int64_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, int64_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, int64_t offset)
{
	if (no_more_mappings) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap64(at, bytes, protection, flags, fd, offset);
}

/* The VmFlags of the mapping that holds an address, from smaps: " rd wr mr mw me dc dd " and so on. */
static void vm_flags(const void *at, char *flags, size_t capacity)
{
	char line[512];
	bool inside = false;
	FILE *smaps = fopen("/proc/self/smaps", "r");
	flags[0] = '\0';
	while (smaps && fgets(line, sizeof(line), smaps)) {
		uintptr_t from, to;
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
			inside = (uintptr_t)at >= from && (uintptr_t)at < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(flags, capacity, "%s", line + 8);
	}
	if (smaps)
		fclose(smaps);
}

static void reserve_any_size_aligned_and_untouchable(void)
{
	static const size_t sizes[] = {1, 4096, EXTENT_BYTES, 3 * EXTENT_BYTES + 1,
				       (size_t)1 << 36};
	for (size_t i = 0; i < SUITE_COUNT(sizes); i++) {
		char *base = pages_reserve(sizes[i]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(base);
		CU_ASSERT_EQUAL((uintptr_t)base % EXTENT_BYTES, 0);
		CU_ASSERT_EQUAL(access_faults_here(base), 1);
		CU_ASSERT_EQUAL(access_faults_here(base + sizes[i] - 1), 1);
		pages_release(base, sizes[i]);
	}
	pages_release(NULL, EXTENT_BYTES);
}

static void reserve_impossible_size_null(void)
{
	CU_ASSERT_PTR_NULL(pages_reserve(0));
	CU_ASSERT_PTR_NULL(pages_reserve(SIZE_MAX));
	CU_ASSERT_PTR_NULL(pages_reserve((size_t)1 << 60));
}

static void commit_piece_zeroed_and_populated(void)
{
	char *base = pages_reserve(4 * EXTENT_BYTES);
	char *piece = base + EXTENT_BYTES;
	for (int huge = 0; huge < 2; huge++) {
		CU_ASSERT_EQUAL(pages_commit(piece, EXTENT_BYTES, huge, 1), 0);
		CU_ASSERT_EQUAL(pages_resident(piece, EXTENT_BYTES), EXTENT_BYTES / 4096);
		CU_ASSERT_TRUE(all_bytes(piece, EXTENT_BYTES, 0));
		memset(piece, 0x5a, EXTENT_BYTES);
		CU_ASSERT_EQUAL(access_faults_here(piece - 1), 1);
		CU_ASSERT_EQUAL(access_faults_here(piece + EXTENT_BYTES), 1);
		pages_decommit(piece, EXTENT_BYTES);
		CU_ASSERT_EQUAL(access_faults_here(piece), 1);
		CU_ASSERT_EQUAL(pages_resident(piece, EXTENT_BYTES), 0);
	}
	pages_release(base, 4 * EXTENT_BYTES);
}

static void commit_odd_length_rounds_to_pages(void)
{
	char *base = pages_reserve(EXTENT_BYTES);
	CU_ASSERT_EQUAL(pages_commit(base, 5000, 1, 0), 0);
	CU_ASSERT_EQUAL(access_faults_here(base + 8191), 0);
	CU_ASSERT_EQUAL(access_faults_here(base + 8192), 1);
	pages_decommit(base, 5000);
	CU_ASSERT_EQUAL(access_faults_here(base + 8191), 1);
	pages_release(base, EXTENT_BYTES);
}

static void commit_advice_seen_by_kernel(void)
{
	char flags[512];
	char *base = pages_reserve(2 * EXTENT_BYTES);
	CU_ASSERT_EQUAL(pages_commit(base, EXTENT_BYTES, 1, 0), 0);
	vm_flags(base, flags, sizeof(flags));
	CU_ASSERT_PTR_NOT_NULL(strstr(flags, " dc")); /* not copied at fork */
	CU_ASSERT_PTR_NOT_NULL(strstr(flags, " dd")); /* not dumped */
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0)
		CU_ASSERT_PTR_NOT_NULL(strstr(flags, " hg"));
	base[0] = 1;
	CU_ASSERT_EQUAL(inherited_by_child(base), 0);
	pages_release(base, 2 * EXTENT_BYTES);
}

static void commit_old_kernel_populated_by_touching(void)
{
	char *base = pages_reserve(EXTENT_BYTES);
	no_populate = true;
	CU_ASSERT_EQUAL(pages_commit(base, EXTENT_BYTES, 0, 0), 0);
	no_populate = false;
	CU_ASSERT_EQUAL(pages_resident(base, EXTENT_BYTES), EXTENT_BYTES / 4096);
	CU_ASSERT_TRUE(all_bytes(base, EXTENT_BYTES, 0));
	pages_release(base, EXTENT_BYTES);
}

static void commit_no_memory_enomem_and_nothing_committed(void)
{
	char *base = pages_reserve(EXTENT_BYTES);
	no_memory = true;
	CU_ASSERT_EQUAL(pages_commit(base, EXTENT_BYTES, 1, 0), -ENOMEM);
	no_memory = false;
	CU_ASSERT_EQUAL(access_faults_here(base), 1);
	CU_ASSERT_EQUAL(pages_commit(base, EXTENT_BYTES, 1, 0), 0);
	CU_ASSERT_EQUAL(access_faults_here(base), 0);
	pages_release(base, EXTENT_BYTES);
}

/* The kernel's own refusal: more private writable memory than the limit allows. */
static void commit_over_rlimit_enomem(void)
{
	size_t bytes = (size_t)16 << 30;
	char *base = pages_reserve(bytes);
	struct rlimit old, limit = {(rlim_t)4 << 30, (rlim_t)4 << 30};
	CU_ASSERT_EQUAL(getrlimit(RLIMIT_DATA, &old), 0);
	limit.rlim_max = old.rlim_max;
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_DATA, &limit), 0);
	CU_ASSERT_EQUAL(pages_commit(base, bytes, 1, 0), -ENOMEM);
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_DATA, &old), 0);
	CU_ASSERT_EQUAL(access_faults_here(base), 1);
	pages_release(base, bytes);
}

static void decommit_no_mapping_left_pages_gone(void)
{
	char *base = pages_reserve(EXTENT_BYTES);
	CU_ASSERT_EQUAL(pages_commit(base, EXTENT_BYTES, 0, 0), 0);
	memset(base, 1, EXTENT_BYTES);
	no_more_mappings = true;
	pages_decommit(base, EXTENT_BYTES);
	no_more_mappings = false;
	CU_ASSERT_EQUAL(pages_resident(base, EXTENT_BYTES), 0);
	CU_ASSERT_EQUAL(pages_commit(base, EXTENT_BYTES, 0, 0), 0);
	CU_ASSERT_TRUE(all_bytes(base, EXTENT_BYTES, 0));
	pages_release(base, EXTENT_BYTES);
}

static const struct suite_case cases[] = {
	SUITE_CASE(reserve_any_size_aligned_and_untouchable),
	SUITE_CASE(reserve_impossible_size_null),
	SUITE_CASE(commit_piece_zeroed_and_populated),
	SUITE_CASE(commit_odd_length_rounds_to_pages),
	SUITE_CASE(commit_advice_seen_by_kernel),
	SUITE_CASE(commit_old_kernel_populated_by_touching),
	SUITE_CASE(commit_no_memory_enomem_and_nothing_committed),
	SUITE_CASE(commit_over_rlimit_enomem),
	SUITE_CASE(decommit_no_mapping_left_pages_gone),
};

int main(void)
{
	return suite_run("pages", NULL, NULL, cases, SUITE_COUNT(cases));
}
