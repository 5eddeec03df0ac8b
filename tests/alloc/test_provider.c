/* SPDX-License-Identifier: Apache-2.0 */
/* Every provider: what it refuses and how it says so, what it hands out, and each system call failing. */
#include <dirent.h>
#include <fcntl.h>
#include <memkind.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "alloc/delay.h"
#include "alloc/nodes.h"
#include "alloc/provider.h"
#include "alloc/provider_fillings.h"
#include "tests/alloc/faults.h"
#include "tests/suite.h"

static char folder[64];

/* ---- The system, as it may answer ---- */

static int mbind_error, move_pages_node = -1, move_pages_error, fallocate_error, msync_error;

#define WRAP(type, name, parameters, arguments, failed, code)                                      \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		if (fault_now()) {                                                                 \
			errno = (code);                                                            \
			return (failed);                                                           \
		}                                                                                  \
		return __real_##name arguments;                                                    \
	}

WRAP(void *, calloc, (size_t n, size_t bytes), (n, bytes), NULL, ENOMEM)
WRAP(void *, mmap64, (void *at, size_t n, int prot, int flags, int fd, int64_t offset),
     (at, n, prot, flags, fd, offset), MAP_FAILED, ENOMEM)
WRAP(int, mprotect, (void *at, size_t n, int prot), (at, n, prot), -1, ENOMEM)
WRAP(int, madvise, (void *at, size_t n, int advice), (at, n, advice), -1, ENOMEM)
WRAP(int, flock, (int fd, int operation), (fd, operation), -1, ENOLCK)
WRAP(int, fstat64, (int fd, struct stat *st), (fd, st), -1, EIO)

int __real_posix_fallocate64(int fd, int64_t offset, int64_t bytes);
int __wrap_posix_fallocate64(int fd, int64_t offset, int64_t bytes);
int __wrap_posix_fallocate64(int fd, int64_t offset, int64_t bytes)
{
	int rc = fault_now() ? ENOSPC : fallocate_error;
	/* A disk that fills up half way leaves the file longer. */
	if (rc)
		return ftruncate(fd, offset + bytes / 2) ? EIO : rc;
	return __real_posix_fallocate64(fd, offset, bytes);
}

long __real_mbind(void *at, unsigned long n, int mode, const unsigned long *mask, unsigned long max,
		  unsigned flags);
long __wrap_mbind(void *at, unsigned long n, int mode, const unsigned long *mask, unsigned long max,
		  unsigned flags);
long __wrap_mbind(void *at, unsigned long n, int mode, const unsigned long *mask, unsigned long max,
		  unsigned flags)
{
	if (fault_now() || mbind_error) {
		errno = mbind_error ? mbind_error : ENOMEM;
		return -1;
	}
	return __real_mbind(at, n, mode, mask, max, flags);
}

long __real_move_pages(int pid, unsigned long n, void **pages, const int *nodes, int *status,
		       int flags);
long __wrap_move_pages(int pid, unsigned long n, void **pages, const int *nodes, int *status,
		       int flags);
long __wrap_move_pages(int pid, unsigned long n, void **pages, const int *nodes, int *status,
		       int flags)
{
	if (fault_now() || move_pages_error) {
		errno = EPERM;
		return -1;
	}
	long rc = __real_move_pages(pid, n, pages, nodes, status, flags);
	if (move_pages_node >= 0)
		status[n - 1] = move_pages_node;
	return rc;
}

int __real_msync(void *at, size_t bytes, int flags);
int __wrap_msync(void *at, size_t bytes, int flags);
int __wrap_msync(void *at, size_t bytes, int flags)
{
	if (msync_error) {
		errno = msync_error;
		return -1;
	}
	return __real_msync(at, bytes, flags);
}

/* ---- Helpers ---- */

static int make_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/thermo-provider-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static const char *file_spec(const char *name)
{
	static char spec[160];
	snprintf(spec, sizeof(spec), "file:%s", path_of(name));
	return spec;
}

static bool exists(const char *name)
{
	struct stat st;
	return lstat(path_of(name), &st) == 0;
}

static struct provider *open_well(const char *spec, uint64_t extents)
{
	struct provider *p = NULL;
	struct thermo_error error = {""};
	int rc = provider_open(spec, extents * EXTENT_BYTES, 1, &p, &error);
	if (rc)
		printf("  %s: %d %s\n", spec, rc, error.text);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	CU_ASSERT_EQUAL(p->extents_max, extents);
	CU_ASSERT_EQUAL((uintptr_t)p->base % EXTENT_BYTES, 0);
	return p;
}

/* Opening fails with that code, and says a text. */
static void open_badly(const char *spec, int code, const char *text)
{
	struct provider *p = (struct provider *)folder;
	struct thermo_error error = {""};
	int rc = provider_open(spec, EXTENT_BYTES, 1, &p, &error);
	if (rc != code || !strstr(error.text, text))
		printf("  %s: %d \"%s\"\n", spec, rc, error.text);
	CU_ASSERT_EQUAL(rc, code);
	CU_ASSERT_PTR_NULL(p);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, text));
	CU_ASSERT_PTR_NULL(strchr(error.text, '\n'));
	CU_ASSERT_EQUAL(provider_open(spec, EXTENT_BYTES, 1, &p, NULL), code);
}

/* Commits, writes and reads extents, and gives them back. */
static void use_extents(struct provider *p, bool gone_after)
{
	char *second = p->base + EXTENT_BYTES;
	for (int round = 0; round < 2; round++) {
		CU_ASSERT_EQUAL(p->ops->commit(p, 0, 0), 0);
		CU_ASSERT_EQUAL(p->ops->commit(p, 1, 2), 0);
		memset(second, 0x31 + round, 2 * EXTENT_BYTES);
		CU_ASSERT_TRUE(all_bytes(second, 2 * EXTENT_BYTES, (char)(0x31 + round)));
		CU_ASSERT_EQUAL(p->ops->persist(p, second + 100, EXTENT_BYTES), 0);
		provider_access(p, 64);
		CU_ASSERT_EQUAL(p->ops->decommit(p, 1, 1), 0);
		CU_ASSERT_EQUAL(second[EXTENT_BYTES], 0x31 + round);
		CU_ASSERT_EQUAL(p->ops->decommit(p, 2, 1), 0);
		CU_ASSERT_EQUAL(p->ops->decommit(p, 0, 0), 0);
		if (gone_after)
			CU_ASSERT_EQUAL(pages_resident(second, 2 * EXTENT_BYTES), 0);
	}
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* ---- Specs ---- */

static void open_bad_spec_einval_with_forms(void)
{
	static const char *const bad[] = {"",
					  "dra",
					  "dram:",
					  "dram ",
					  "DRAM",
					  "node",
					  "node:",
					  "node:x",
					  "node:-1",
					  "node:1x",
					  "node: 1",
					  "node:1024",
					  "node:99999999999999999999",
					  "file:",
					  "file",
					  "kmem:",
					  "kmem0",
					  "emulate",
					  "emulate:",
					  "emulate:x",
					  "emulate:-5",
					  "emulate:250,",
					  "emulate:250,x",
					  "emulate:250,0",
					  "emulate:250,-1",
					  "emulate:250,1.2.3",
					  "emulate:250,.",
					  "emulate:250 ",
					  "emulate:2000000",
					  "emulate:250,nan",
					  "emulate:250,1e3",
					  "emulate:2.5",
					  "emulate:250,200000"};
	for (size_t i = 0; i < SUITE_COUNT(bad); i++) {
		open_badly(bad[i], -EINVAL, "emulate:NS[,GB/s]");
		open_badly(bad[i], -EINVAL, bad[i]);
	}
	struct provider *p;
	CU_ASSERT_EQUAL(provider_open(NULL, EXTENT_BYTES, 1, &p, NULL), -EINVAL);
	provider_close(&p);
}

static void open_bad_size_einval(void)
{
	struct provider *p;
	struct thermo_error error = {""};
	CU_ASSERT_EQUAL(provider_open("dram", 0, 1, &p, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "64 TiB"));
	CU_ASSERT_EQUAL(provider_open("dram", UINT64_MAX, 1, &p, &error), -EINVAL);
	CU_ASSERT_EQUAL_FATAL(provider_open("dram", EXTENT_BYTES + 1, 1, &p, &error), 0);
	CU_ASSERT_EQUAL(p->extents_max, 2);
	provider_close(&p);
	CU_ASSERT_PTR_NULL(p);
}

static void note_too_long_cut(void)
{
	struct provider p = {.note = ""};
	for (int i = 0; i < 50; i++)
		provider_note(&p, "reason %d", i);
	CU_ASSERT_EQUAL(strlen(p.note), sizeof(p.note) - 1);
	CU_ASSERT_EQUAL(strncmp(p.note, "reason 0; reason 1; ", 20), 0);
}

static void note_huge_pages_off_said(void)
{
	struct provider p = {.note = "", .huge = 1};
	provider_note_huge(&p, folder); /* a kernel without them */
	CU_ASSERT_PTR_NOT_NULL(strstr(p.note, "no huge pages"));
	p = (struct provider){.note = "", .huge = 0};
	provider_note_huge(&p, folder); /* not asked for */
	CU_ASSERT_STRING_EQUAL(p.note, "");
}

/* ---- dram and nodes ---- */

static void dram_commit_extents_usable_and_given_back(void)
{
	struct provider *p = open_well("dram", 4);
	CU_ASSERT_STRING_EQUAL(p->ops->name, "dram");
	CU_ASSERT_EQUAL(p->emulated + p->persistent + p->delay_ns, 0);
	CU_ASSERT_EQUAL(p->huge, 1);
	CU_ASSERT_EQUAL(access_faults_here(p->base), 1);
	use_extents(p, true);
	CU_ASSERT_EQUAL(access_faults_here(p->base + EXTENT_BYTES), 1);
	provider_close(&p);
}

static bool node0_missing(void)
{
	struct node_set set;
	if (nodes_read("", "has_memory", &set) == 0 && nodes_has(&set, 0) &&
	    !nodes_bind(NULL, 0, 0))
		return false;
	suite_skip("no NUMA node 0 that may be bound");
	return true;
}

static void node_existing_bound_and_verified(void)
{
	int elsewhere = -1;
	if (node0_missing())
		return;
	struct provider *p = open_well("node:0", 4);
	CU_ASSERT_PTR_NULL(strstr(p->note, "bound"));
	use_extents(p, true);
	CU_ASSERT_EQUAL(p->ops->commit(p, 0, 1), 0);
	CU_ASSERT_EQUAL(nodes_verify(p->base, EXTENT_BYTES, 0, &elsewhere), 0);
	CU_ASSERT_EQUAL(nodes_verify(p->base, EXTENT_BYTES, 1, &elsewhere), -EXDEV);
	CU_ASSERT_EQUAL(elsewhere, 0);
	provider_close(&p);
}

static void node_absent_enodev(void)
{
	open_badly("node:1023", -ENODEV, "node:1023");
}

static void node_mbind_refused_unbound_and_said(void)
{
	static const int refusals[] = {EPERM, ENOSYS, EACCES};
	if (node0_missing())
		return;
	for (size_t i = 0; i < SUITE_COUNT(refusals); i++) {
		mbind_error = refusals[i];
		struct provider *p = open_well("node:0", 4);
		CU_ASSERT_PTR_NOT_NULL(strstr(p->note, "node:0 is not bound"));
		use_extents(p, true);
		mbind_error = 0;
		provider_close(&p);
	}
}

static void node_outside_cpuset_enodev(void)
{
	if (node0_missing())
		return;
	mbind_error = EINVAL;
	open_badly("node:0", -ENODEV, "Mems_allowed");
	mbind_error = 0;
}

static void node_pages_elsewhere_enodev(void)
{
	if (node0_missing())
		return;
	move_pages_node = 5;
	open_badly("node:0", -ENODEV, "node 5");
	move_pages_node = -1;
	struct provider *p = open_well("node:0", 2);
	move_pages_node = 5;
	CU_ASSERT_EQUAL(p->ops->commit(p, 0, 2), -ENODEV);
	move_pages_node = -1;
	CU_ASSERT_EQUAL(access_faults_here(p->base), 1);
	CU_ASSERT_EQUAL(p->ops->commit(p, 0, 2), 0);
	provider_close(&p);
}

static void node_unverifiable_said(void)
{
	if (node0_missing())
		return;
	move_pages_error = EPERM;
	struct provider *p = open_well("node:0", 4);
	CU_ASSERT_PTR_NOT_NULL(strstr(p->note, "not verified"));
	use_extents(p, true);
	move_pages_error = 0;
	provider_close(&p);
}

/* More than the node has: refused before the kernel looks for somebody to kill. */
static void node_too_small_commit_enomem(void)
{
	if (node0_missing() || nodes_available("", 0) == UINT64_MAX)
		return;
	struct provider *p = open_well("node:0", nodes_available("", 0) / EXTENT_BYTES + 1024);
	CU_ASSERT_EQUAL(p->ops->commit(p, 0, p->extents_max), -ENOMEM);
	CU_ASSERT_EQUAL(p->ops->commit(p, 0, 1), 0);
	provider_close(&p);
}

/* ---- emulate ---- */

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The least mean of some batches, as others use this machine too: at least 40, then until one comes by
 * that was not disturbed. */
static double mean_access_ns(struct provider *p, size_t bytes, double enough)
{
	double least = 1e18;
	for (int batch = 0; batch < 40 || (least > enough && batch < (SUITE_ASAN || SUITE_TSAN ? 40 : 40000)); batch++) {
		uint64_t start = now_ns();
		for (int i = 0; i < 100; i++)
			provider_access(p, bytes);
		double mean = (double)(now_ns() - start) / 100;
		least = mean < least ? mean : least;
	}
	return least;
}

/* Opens it, which calibrates the delay, and measures: true if the two agree. */
static bool emulate_agrees(unsigned delay)
{
	char spec[32];
	snprintf(spec, sizeof(spec), "emulate:%u", delay);
	struct provider *p = open_well(spec, 4);
	CU_ASSERT_EQUAL(p->delay_ns, delay);
	CU_ASSERT_EQUAL(p->emulated, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(p->note, "emulated"));
	double mean = mean_access_ns(p, 64, 1.3 * delay);
	printf("  emulate:%u: mean %.1f ns\n", delay, mean);
	use_extents(p, true);
	provider_close(&p);
	return mean >= 0.9 * delay && (SUITE_ASAN || SUITE_TSAN || mean <= 1.3 * delay);
}

/* Whoever is stopped while it calibrates is off: not every time. */
static void emulate_access_as_slow_as_it_says(void)
{
	static const unsigned delays[] = {100, 250, 1000};
	for (size_t i = 0; i < SUITE_COUNT(delays); i++) {
		bool agrees = false;
		for (int opening = 0; opening < 20 && !agrees; opening++)
			agrees = emulate_agrees(delays[i]);
		CU_ASSERT_TRUE(agrees);
	}
}

static void emulate_zero_delay_still_emulated(void)
{
	struct provider *p = open_well("emulate:0", 4);
	CU_ASSERT_EQUAL(p->emulated, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(p->note, "emulated"));
	use_extents(p, true);
	provider_close(&p);
}

#define PIPE_CALLS 2000
#define PIPE_BYTES 4096
static void *stream(void *argument)
{
	struct provider *p = argument;
	for (int i = 0; i < PIPE_CALLS; i++)
		provider_access(p, PIPE_BYTES);
	return NULL;
}

/* GB/s of three threads. */
static double stream_by_three(struct provider *p)
{
	pthread_t thread[3];
	int n = 0;
	uint64_t start = now_ns();
	while (n < 3 && !pthread_create(&thread[n], NULL, stream, p))
		n++;
	for (int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	CU_ASSERT_EQUAL(n, 3);
	return 3.0 * PIPE_CALLS * PIPE_BYTES / (double)(now_ns() - start);
}

/* Never faster than the pipe, however many there are; and as fast for one whom nobody disturbs. */
static void emulate_bandwidth_shared_by_threads(void)
{
	struct provider *p = open_well("emulate:0,0.5", 1);
	double access_ns = PIPE_BYTES / 0.5;
	CU_ASSERT_PTR_NOT_NULL(strstr(p->note, "0.5 GB/s"));
	double rate = stream_by_three(p), mean = mean_access_ns(p, PIPE_BYTES, 2 * access_ns);
	printf("  3 threads through 0.5 GB/s: %.3f GB/s; an access of %d bytes: %.0f ns\n", rate,
	       PIPE_BYTES, mean);
	CU_ASSERT_TRUE(rate <= 0.51);
	CU_ASSERT_TRUE(SUITE_ASAN || SUITE_TSAN || mean <= 2 * access_ns);
	provider_close(&p);
}

/* Latencies of different threads overlap, only their bytes queue. */
static void emulate_idle_pipe_saves_nothing_up(void)
{
	struct provider *p = open_well("emulate:0,1", 1);
	usleep(20000);
	uint64_t start = now_ns();
	for (int i = 0; i < 100; i++)
		provider_access(p, 20000);
	CU_ASSERT_TRUE(now_ns() - start >= 1900000);
	provider_close(&p);
}

/* ---- file ---- */

static void file_fresh_private_and_preallocated(void)
{
	struct stat st;
	struct provider *p = open_well(file_spec("pool"), 4);
	CU_ASSERT_EQUAL_FATAL(stat(path_of("pool"), &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL(st.st_size, 4 * EXTENT_BYTES);
	CU_ASSERT_TRUE((uint64_t)st.st_blocks * 512 >= 4 * EXTENT_BYTES);
	CU_ASSERT_EQUAL(p->persistent, 1);
	CU_ASSERT_EQUAL(p->emulated, 0);
	use_extents(p, false);
	p->base[0] = 1;
	CU_ASSERT_EQUAL(inherited_by_child(p->base), 0);
	provider_close(&p);
	CU_ASSERT_TRUE(exists("pool"));
}

static void file_reopened_same_bytes(void)
{
	struct provider *p = open_well(file_spec("kept"), 2);
	memset(p->base, 0x42, 2 * EXTENT_BYTES);
	CU_ASSERT_EQUAL(p->ops->persist(p, p->base, 2 * EXTENT_BYTES), 0);
	provider_close(&p);
	p = open_well(file_spec("kept"), 3); /* grown */
	CU_ASSERT_TRUE(all_bytes(p->base, 2 * EXTENT_BYTES, 0x42));
	CU_ASSERT_TRUE(all_bytes(p->base + 2 * EXTENT_BYTES, EXTENT_BYTES, 0));
	provider_close(&p);
	p = open_well(file_spec("kept"), 1); /* less than there is: the rest stays */
	p->base[0] = 0x43;
	provider_close(&p);
	p = open_well(file_spec("kept"), 3);
	CU_ASSERT_EQUAL(p->base[0], 0x43);
	CU_ASSERT_EQUAL(p->base[2 * EXTENT_BYTES - 1], 0x42);
	provider_close(&p);
}

static void file_in_use_ebusy(void)
{
	struct provider *p = open_well(file_spec("busy"), 1);
	open_badly(file_spec("busy"), -EBUSY, "in use");
	provider_close(&p);
	p = open_well(file_spec("busy"), 1);
	provider_close(&p);
}

static void file_symbolic_link_eloop(void)
{
	struct provider *p = open_well(file_spec("target"), 1);
	char target[128];
	provider_close(&p);
	snprintf(target, sizeof(target), "%s", path_of("target"));
	CU_ASSERT_EQUAL_FATAL(symlink(target, path_of("link")), 0);
	open_badly(file_spec("link"), -ELOOP, "symbolic link");
}

static void file_bad_places_refused(void)
{
	open_badly(file_spec("no/such/folder"), -ENOENT, "No such file");
	open_badly(file_spec(""), -EISDIR, "directory");
	CU_ASSERT_EQUAL_FATAL(mkfifo(path_of("fifo"), 0600), 0);
	open_badly(file_spec("fifo"), -EINVAL, "neither a file");
	open_badly("file:/dev/null", -EINVAL, "/dev/null");
}

static void file_foreign_content_untouched(void)
{
	char text[32] = "";
	int fd = open(path_of("letter"), O_CREAT | O_RDWR, 0644);
	CU_ASSERT_EQUAL_FATAL(write(fd, "dear reader", 11), 11);
	open_badly(file_spec("letter"), -EINVAL, "not a pool");
	CU_ASSERT_EQUAL(pread(fd, text, sizeof(text), 0), 11);
	CU_ASSERT_STRING_EQUAL(text, "dear reader");
	close(fd);
}

static void file_disk_full_leaves_disk_as_it_was(void)
{
	struct stat st;
	struct thermo_error error = {""};
	struct provider *p;
	fallocate_error = ENOSPC;
	open_badly(file_spec("full"), -ENOSPC, "preallocate");
	CU_ASSERT_FALSE(exists("full"));
	fallocate_error = 0;
	p = open_well(file_spec("half"), 1);
	provider_close(&p);
	fallocate_error = ENOSPC;
	CU_ASSERT_EQUAL(provider_open(file_spec("half"), 64 * EXTENT_BYTES, 1, &p, &error),
			-ENOSPC);
	fallocate_error = 0;
	CU_ASSERT_EQUAL_FATAL(stat(path_of("half"), &st), 0);
	CU_ASSERT_EQUAL(st.st_size, EXTENT_BYTES);
}

static void file_persist_failing_disk_error(void)
{
	struct provider *p = open_well(file_spec("eio"), 1);
	if (!strstr(p->note, "no DAX")) {
		suite_skip("the temporary directory is on DAX");
	} else {
		msync_error = EIO;
		CU_ASSERT_EQUAL(p->ops->persist(p, p->base + 5, 10), -EIO);
		msync_error = 0;
		CU_ASSERT_EQUAL(p->ops->persist(p, p->base + EXTENT_BYTES - 1, 1), 0);
	}
	provider_close(&p);
}

/* ---- kmem ---- */

static void kmem_missing_enodev_or_usable(void)
{
	if (memkind_check_available(MEMKIND_DAX_KMEM)) {
		open_badly("kmem", -ENODEV, "system-ram");
		return;
	}
	struct provider *p = open_well("kmem", 4);
	CU_ASSERT_STRING_EQUAL(p->ops->name, "kmem");
	use_extents(p, true);
	provider_close(&p);
}

static void kmem_other_kind_extents_usable_and_given_back(void)
{
	struct provider *p = NULL;
	struct thermo_error error = {""};
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL_FATAL(
			provider_kmem_open_kind(MEMKIND_DEFAULT, 4, i & 1, &p, &error), 0);
		use_extents(p, true);
		CU_ASSERT_EQUAL(p->ops->commit(p, 0, 4), 0);
		CU_ASSERT_EQUAL(pages_resident(p->base, 4 * EXTENT_BYTES), 4 * EXTENT_BYTES / 4096);
		p->base[0] = 1;
		CU_ASSERT_EQUAL(inherited_by_child(p->base), 0);
		provider_close(&p);
	}
	CU_ASSERT_EQUAL(provider_kmem_open_kind(MEMKIND_DEFAULT, (uint64_t)1 << 40, 1, &p, &error),
			-ENOMEM);
}

/* ---- Every call failing in turn ---- */

/* Opens, commits and closes with the nth call failing, for every n. Failure is clean, or harmless. */
static void fail_each_call(const char *spec, const char *file)
{
	unsigned descriptors = open_descriptors();
	unsigned failures = 0;
	for (uint64_t nth = 1;; nth++) {
		struct provider *p = NULL;
		struct thermo_error error = {""};
		fault_arm(nth);
		int rc = provider_open(spec, 2 * EXTENT_BYTES, 1, &p, &error);
		if (rc) {
			failures++;
			CU_ASSERT_TRUE(rc < 0);
			CU_ASSERT_PTR_NULL(p);
			CU_ASSERT_TRUE(error.text[0] != '\0');
			if (file)
				CU_ASSERT_FALSE(exists(file));
		} else if (p->ops->commit(p, 0, 2) == 0) {
			memset(p->base, 1, 2 * EXTENT_BYTES);
		} else {
			failures++;
		}
		bool hit = fault_hit();
		fault_arm(0);
		if (p && p->ops->commit == NULL)
			CU_FAIL("a slot is empty");
		provider_close(&p);
		if (file)
			unlink(path_of(file));
		CU_ASSERT_EQUAL(open_descriptors(), descriptors);
		if (!hit)
			break;
		CU_ASSERT_TRUE_FATAL(nth < 1000);
	}
	CU_ASSERT_TRUE(failures > 0);
}

static void open_nth_call_fails_nothing_left(void)
{
	fail_each_call("dram", NULL);
	fail_each_call("emulate:100", NULL);
	fail_each_call(file_spec("nth"), "nth");
	if (!node0_missing())
		fail_each_call("node:0", NULL);
}

static const struct suite_case cases[] = {
	SUITE_CASE(open_bad_spec_einval_with_forms),
	SUITE_CASE(open_bad_size_einval),
	SUITE_CASE(note_too_long_cut),
	SUITE_CASE(note_huge_pages_off_said),
	SUITE_CASE(dram_commit_extents_usable_and_given_back),
	SUITE_CASE(node_existing_bound_and_verified),
	SUITE_CASE(node_absent_enodev),
	SUITE_CASE(node_mbind_refused_unbound_and_said),
	SUITE_CASE(node_outside_cpuset_enodev),
	SUITE_CASE(node_pages_elsewhere_enodev),
	SUITE_CASE(node_unverifiable_said),
	SUITE_CASE(node_too_small_commit_enomem),
	SUITE_CASE(emulate_access_as_slow_as_it_says),
	SUITE_CASE(emulate_zero_delay_still_emulated),
	SUITE_CASE(emulate_bandwidth_shared_by_threads),
	SUITE_CASE(emulate_idle_pipe_saves_nothing_up),
	SUITE_CASE(file_fresh_private_and_preallocated),
	SUITE_CASE(file_reopened_same_bytes),
	SUITE_CASE(file_in_use_ebusy),
	SUITE_CASE(file_symbolic_link_eloop),
	SUITE_CASE(file_bad_places_refused),
	SUITE_CASE(file_foreign_content_untouched),
	SUITE_CASE(file_disk_full_leaves_disk_as_it_was),
	SUITE_CASE(file_persist_failing_disk_error),
	SUITE_CASE(kmem_missing_enodev_or_usable),
	SUITE_CASE(kmem_other_kind_extents_usable_and_given_back),
	SUITE_CASE(open_nth_call_fails_nothing_left),
};

int main(void)
{
	return suite_run("provider", make_folder, remove_folder, cases, SUITE_COUNT(cases));
}
