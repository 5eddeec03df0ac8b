/* SPDX-License-Identifier: Apache-2.0 */
/* What engines do when something is refused, slow, or shared: the second half of test_io.c. */
#include "tests/cold/test_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void open_unknown_kind_einval(void)
{
	if (!io_test_begin("pread", 1))
		return;
	struct io_engine *engine = io.engine;
	CU_ASSERT_EQUAL(io_test_engine("aio"), -EINVAL);
	io.engine = engine;
	io_test_end();
}

/* ---- Memory ---- */

struct limited {
	unsigned left; /* allocations that still succeed */
};

static void *limited_alloc(void *context, size_t bytes)
{
	struct limited *l = context;
	return l->left ? l->left--, malloc(bytes) : NULL;
}

static void *limited_realloc(void *context, void *old, size_t bytes)
{
	struct limited *l = context;
	return l->left ? l->left--, realloc(old, bytes) : NULL;
}

static void limited_free(void *context, void *bytes)
{
	(void)context;
	free(bytes);
}

static void every_failing_allocation(const char *kind)
{
	struct limited limit = {.left = UINT32_MAX};
	struct thermo_allocator allocator = {&limit, limited_alloc, limited_realloc, limited_free};
	struct thermo_error error;
	struct budget budget;
	struct heap *heap;
	budget_init(&budget, 64 << 20);
	CU_ASSERT_EQUAL_FATAL(heap_open(NULL, &allocator, 4 << 20, NULL, &heap, &error), 0);
	struct io_options options = {.kind = kind, .threads = 2, .heap = heap, .budget = &budget};
	unsigned failures = 0;
	for (unsigned n = 0;; n++) {
		struct io_engine *engine = NULL;
		struct io_queue *queue = NULL;
		limit.left = n;
		int rc = io_engine_open(&options, &engine, &error);
		if (rc == 0)
			rc = io_queue_open(engine, 4, IO_BUFFER_MIN, &queue);
		limit.left = UINT32_MAX;
		io_queue_close(&queue);
		io_engine_close(&engine);
		CU_ASSERT_EQUAL(heap_used(heap), 0);
		CU_ASSERT_EQUAL(atomic_load(&budget.used), 0);
		if (rc == 0)
			break;
		CU_ASSERT_EQUAL(rc, -ENOMEM);
		failures++;
		CU_ASSERT_FATAL(n < 100);
	}
	CU_ASSERT(failures >= 5);
	heap_close(&heap);
}

void open_every_failing_allocation_enomem(void)
{
	if (!io_test_begin("uring", 1)) {
		every_failing_allocation("pread");
		return;
	}
	io_test_end();
	every_failing_allocation("uring");
	every_failing_allocation("pread");
}

void open_budget_spent_enomem(void)
{
	if (!io_test_begin("pread", 4))
		return;
	struct io_queue *queue;
	uint64_t used = atomic_load(&io.budget.used);
	CU_ASSERT(used >= IO_BUFFER_MIN);
	atomic_store(&io.budget.cap, used + IO_BUFFER_MIN - 1);
	CU_ASSERT_EQUAL(io_queue_open(io.engine, 4, IO_BUFFER_MIN, &queue), -ENOMEM);
	CU_ASSERT_PTR_NULL(queue);
	CU_ASSERT_EQUAL(atomic_load(&io.budget.used), used);
	atomic_store(&io.budget.cap, used + IO_BUFFER_MIN);
	CU_ASSERT_EQUAL(io_queue_open(io.engine, 4, IO_BUFFER_MIN, &queue), 0);
	CU_ASSERT_EQUAL(atomic_load(&io.budget.used), used + IO_BUFFER_MIN);
	io_queue_close(&queue);
	CU_ASSERT_EQUAL(atomic_load(&io.budget.used), used);
	io_test_end();
}

/* ---- io_uring refused ---- */

/* From now on the system call answers with this errno, in this process. */
static int refuse(long call, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = SUITE_COUNT(code), .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

#define CHILD_SKIP 77

/* In a child: "uring" fails with the error, "auto" reads all the same and says why. */
static int child_refused(long call, int error, const char *said)
{
	if (refuse(call, error))
		return CHILD_SKIP;
	struct io_engine *engine = io.engine;
	if (io_test_engine("uring") != -error)
		return 2;
	if (io_test_engine("auto") || io.notices != 1 || !strstr(io.notice, said))
		return 3;
	struct io_stats stats;
	io_engine_stats(io.engine, &stats);
	struct io_queue *queue;
	if (stats.uring || io_queue_open(io.engine, 4, IO_BUFFER_MIN, &queue))
		return 4;
	struct io_read read = io_test_read(777, 5000), *done;
	io_read_prepare(queue, &read);
	io_queue_submit(queue);
	if (io_queue_wait(queue, &done, 1, -1) != 1 || read.status || !io_test_right(&read))
		return 5;
	io_read_release(queue, &read);
	io_queue_close(&queue);
	io_engine_close(&io.engine);
	io.engine = engine;
	return 0;
}

static void refused(long call, int error, const char *said)
{
	if (!io_test_begin("pread", 1))
		return;
	/* The pool's threads do not live in a child: none may be needed there. */
	io_queue_close(&io.queue);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		_exit(child_refused(call, error, said));
	int status = 0;
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP)
		suite_skip("seccomp filters are refused here");
	else
		CU_ASSERT_EQUAL(status, 0);
	io_test_end();
}

void open_uring_refused_falls_back_and_says_so(void)
{
	if (SUITE_TSAN) {
		suite_skip("the thread sanitizer cannot start the pool in a child");
		return;
	}
	refused(SYS_io_uring_setup, EPERM, "seccomp");
	refused(SYS_io_uring_setup, ENOSYS, "kernel");
	refused(SYS_io_uring_setup, ENOMEM, "locked memory");
	refused(SYS_io_uring_enter, EPERM, "seccomp");
}

void open_unregistered_buffers_still_read(void)
{
	if (!io_test_begin("uring", 4))
		return;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		struct io_queue *queue;
		if (refuse(SYS_io_uring_register, ENOMEM))
			_exit(CHILD_SKIP);
		if (io_queue_open(io.engine, 4, IO_BUFFER_MIN, &queue))
			_exit(2);
		struct io_read read = io_test_read(777, 5000), *done;
		io_read_prepare(queue, &read);
		if (io_queue_wait(queue, &done, 1, -1) != 1 || !io_test_right(&read))
			_exit(3);
		io_queue_close(&queue);
		_exit(io.notices == 1 && strstr(io.notice, "ulimit -l") ? 0 : 4);
	}
	int status = 0;
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP)
		suite_skip("seccomp filters are refused here");
	else
		CU_ASSERT_EQUAL(status, 0);
	io_test_end();
}

/* In a child: the ring stops working under a queue that has reads on it. */
static int child_broken(void)
{
	struct io_queue *queue;
	struct io_read reads[8], *done;
	if (io_queue_open(io.engine, 2, IO_BUFFER_MIN, &queue))
		return 2;
	for (unsigned i = 0; i < 8; i++) {
		reads[i] = io_test_read(i * 5000, 5000);
		io_read_prepare(queue, &reads[i]);
	}
	if (refuse(SYS_io_uring_enter, EPERM))
		return CHILD_SKIP;
	for (unsigned i = 0; i < 3; i++)
		if (io_queue_wait(queue, &done, 1, i ? -1 : 1000000) != -EPERM)
			return 3;
	io_queue_submit(queue);
	io_read_cancel(queue, &reads[0]);
	io_read_cancel(queue, &reads[7]);
	io_queue_close(&queue); /* does not wait for what will never come */
	return queue ? 4 : 0;
}

void wait_broken_ring_says_so(void)
{
	if (!io_test_begin("uring", 1))
		return;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		_exit(child_broken());
	int status = 0;
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP)
		suite_skip("seccomp filters are refused here");
	else
		CU_ASSERT_EQUAL(status, 0);
	io_test_end();
}

/* ---- Files that are not direct ---- */

void read_buffered_file_notices_once(void)
{
	if (!io_test_begin("auto", 4))
		return;
	struct io_stats stats;
	unsigned before = io.notices;
	struct file plain;
	CU_ASSERT_EQUAL_FATAL(file_open(&io.dir, "data", 0, &plain), 0);
	plain.direct_refused = true; /* as file_open says where O_DIRECT is refused: test_file.c */
	for (unsigned i = 0; i < 3; i++) {
		struct io_read read = {.file = &plain, .offset = 777 + i, .length = 9000}, *done;
		io_read_prepare(io.queue, &read);
		CU_ASSERT_EQUAL(io_queue_wait(io.queue, &done, 1, -1), 1);
		CU_ASSERT(read.status == 0 && io_test_right(&read));
		io_read_release(io.queue, &read);
	}
	CU_ASSERT_EQUAL(io.notices, before + 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(io.notice, "O_DIRECT"));
	io_engine_stats(io.engine, &stats);
	CU_ASSERT(stats.buffered);
	CU_ASSERT_EQUAL(stats.read_bytes, 3 * 9000); /* nothing is rounded outwards */
	file_close(&plain);
	io_test_end();
}

void read_tmpfs_right(void)
{
	if (access("/dev/shm", W_OK)) {
		suite_skip("no /dev/shm to write to");
		return;
	}
	const char *old = getenv("TMPDIR");
	char *keep = old ? strdup(old) : NULL;
	setenv("TMPDIR", "/dev/shm", 1);
	bool begun = io_test_begin("auto", 4);
	if (keep)
		setenv("TMPDIR", keep, 1);
	else
		unsetenv("TMPDIR");
	free(keep);
	if (!begun)
		return;
	for (unsigned i = 0; i < 100; i++) {
		struct io_read read = io_test_read(i * 9973, 1 + i * 100), *done;
		io_read_prepare(io.queue, &read);
		CU_ASSERT_EQUAL(io_queue_wait(io.queue, &done, 1, -1), 1);
		CU_ASSERT(read.status == 0 && io_test_right(&read));
		io_read_release(io.queue, &read);
	}
	CU_ASSERT_EQUAL(io.file.direct, !io.file.direct_refused);
	io_test_end();
}

/* ---- Time and threads ---- */

struct collector {
	struct io_read *done;
	int n;
};

static void *collect(void *argument)
{
	struct collector *c = argument;
	c->n = io_queue_wait(io.queue, &c->done, 1, -1);
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A read that takes as long as we like: of an eventfd. */
void wait_time_out_then_another_thread_collects(void)
{
	if (!io_test_begin("uring", 4))
		return;
	struct file slow = {.ops = &file_ops_posix, .fd = eventfd(0, EFD_CLOEXEC), .align = 1};
	struct io_read read = {.file = &slow, .length = 8};
	io_read_prepare(io.queue, &read);
	struct collector c = {NULL, 0};
	uint64_t start = now_ns();
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, &c.done, 1, 20000000), 0);
	CU_ASSERT(now_ns() - start >= 20000000);
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, &c.done, 1, 0), 0); /* does not wait: nothing would come */
	CU_ASSERT_EQUAL(io_queue_pending(io.queue), 1);

	pthread_t thread;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, collect, &c), 0);
	usleep(10000);
	uint64_t seven = 7;
	CU_ASSERT_EQUAL(write(slow.fd, &seven, 8), 8);
	/* This thread, which sent the read, keeps out of the kernel for a while. */
	for (start = now_ns(); now_ns() - start < 50000000;)
		;
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL_FATAL(c.n, 1);
	CU_ASSERT_PTR_EQUAL(c.done, &read);
	CU_ASSERT_EQUAL(read.status, 0);
	CU_ASSERT(!memcmp(read.data, &seven, 8));
	io_read_release(io.queue, &read);
	close(slow.fd);
	io_test_end();
}

/* A device that answers when it is told to. */
static _Atomic unsigned asked;
static _Atomic bool answers;

static ssize_t slow_pread(const struct file_ops *ops, int fd, void *to, size_t bytes,
			  uint64_t offset)
{
	atomic_fetch_add(&asked, 1);
	while (!atomic_load(&answers))
		usleep(1000);
	return file_ops_posix.pread(ops, fd, to, bytes, offset);
}

void pool_wait_slow_device_times_out(void)
{
	if (!io_test_begin("pread", 4))
		return;
	struct file_ops ops = file_ops_posix;
	ops.pread = slow_pread;
	struct file slow = {
		.ops = &ops, .fd = io.file.fd, .align = io.file.align, .direct = io.file.direct};
	struct io_read reads[5], *done[5];
	atomic_store(&asked, 0);
	atomic_store(&answers, false);
	for (unsigned i = 0; i < 5; i++) {
		reads[i] = io_test_read(i * 1000, 100);
		reads[i].file = &slow;
		io_read_prepare(io.queue, &reads[i]);
	}
	uint64_t start = now_ns();
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 5, 10000000), 0);
	CU_ASSERT(now_ns() - start >= 10000000);
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 5, 0), 0);
	/* As many at a time as the queue is deep: the fifth comes when one of the four is through. */
	while (atomic_load(&asked) < 4)
		usleep(1000);
	usleep(10000);
	CU_ASSERT_EQUAL(atomic_load(&asked), 4);
	atomic_store(&answers, true);
	unsigned seen = 0;
	while (seen < 5) {
		int n = io_queue_wait(io.queue, done, 5, -1);
		CU_ASSERT_FATAL(n > 0);
		for (int i = 0; i < n; i++) {
			CU_ASSERT(done[i]->status == 0 && io_test_right(done[i]));
			io_read_release(io.queue, done[i]);
		}
		seen += (unsigned)n;
	}
	CU_ASSERT_EQUAL(atomic_load(&asked), 5);
	io_test_end();
}

static void *read_many(void *argument)
{
	struct io_queue *queue;
	uintptr_t *wrong = argument;
	*wrong = 0;
	if (io_queue_open(io.engine, 8, IO_BUFFER_MIN, &queue)) {
		*wrong = 1;
		return NULL;
	}
	struct io_read reads[16], *done[16];
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 16; i++) {
			reads[i] = io_test_read((round * 16 + i) * 1999, 1 + i * 500);
			io_read_prepare(queue, &reads[i]);
		}
		if (round % 3 == 0)
			io_queue_submit(queue);
		for (unsigned seen = 0; seen < 16;) {
			int n = io_queue_wait(queue, done, 16, round % 2 ? -1 : INT64_C(3600000000000));
			if (n <= 0) {
				++*wrong;
				break;
			}
			for (int i = 0; i < n; i++) {
				*wrong += done[i]->status || !io_test_right(done[i]);
				io_read_release(queue, done[i]);
			}
			seen += (unsigned)n;
		}
	}
	io_queue_close(&queue);
	return NULL;
}

static void many_threads(const char *kind)
{
	pthread_t threads[6];
	uintptr_t wrong[6];
	struct io_stats stats;
	if (!io_test_begin(kind, 1))
		return;
	for (unsigned i = 0; i < 6; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, read_many, &wrong[i]), 0);
	for (unsigned i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
		CU_ASSERT_EQUAL(wrong[i], 0);
	}
	io_engine_stats(io.engine, &stats);
	CU_ASSERT_EQUAL(stats.reads, 6 * 60 * 16);
	CU_ASSERT_EQUAL(stats.errors, 0);
	io_test_end();
}

void queues_many_threads_right(void)
{
	many_threads("uring");
	many_threads("pread");
}
