/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs: who holds a number back and for how long; slots; refused kernels (in forked children). */
#include "index/epoch.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <CUnit/Basic.h>

#include "tests/suite.h"

struct reader {
	pthread_t thread;
	_Atomic int order; /* what the reader is to do next: 1 enter, 2 exit, 3 end */
	_Atomic int done;
	struct epoch_slot *slot;
};

static void *reader_run(void *context)
{
	struct reader *reader = context;
	for (int next = 1;; next++) {
		while (atomic_load(&reader->order) < next)
			sched_yield();
		if (next == 1)
			epoch_enter();
		if (next == 2)
			epoch_exit();
		reader->slot = epoch_mine;
		atomic_store(&reader->done, next);
		if (next == 3)
			return NULL;
	}
}

static void reader_start(struct reader *reader)
{
	*reader = (struct reader){.order = 0};
	CU_ASSERT_EQUAL_FATAL(pthread_create(&reader->thread, NULL, reader_run, reader), 0);
}

static void reader_order(struct reader *reader, int order)
{
	atomic_store(&reader->order, order);
	while (atomic_load(&reader->done) < order)
		sched_yield();
}

static void reader_end(struct reader *reader)
{
	reader_order(reader, 3);
	pthread_join(reader->thread, NULL);
}

static void passed_nobody_inside_true(void)
{
	uint64_t n = epoch_advance();
	CU_ASSERT(epoch_passed(n));
	CU_ASSERT_EQUAL(epoch_advance(), n + 1);
	CU_ASSERT(epoch_passed(n));
	CU_ASSERT(epoch_passed(n + 1));
	epoch_wait(epoch_advance());
}

static void passed_reader_inside_false_until_exit(void)
{
	struct reader reader;
	reader_start(&reader);
	reader_order(&reader, 1);
	uint64_t n = epoch_advance();
	CU_ASSERT_FALSE(epoch_passed(n));
	uint64_t later = epoch_advance();
	CU_ASSERT_FALSE(epoch_passed(later));
	reader_order(&reader, 2);
	CU_ASSERT(epoch_passed(n));
	CU_ASSERT(epoch_passed(later));
	reader_end(&reader);
}

static void passed_reader_entered_after_advance_true(void)
{
	struct reader reader;
	reader_start(&reader);
	uint64_t n = epoch_advance();
	reader_order(&reader, 1);
	CU_ASSERT(epoch_passed(n));
	CU_ASSERT_FALSE(epoch_passed(epoch_advance()));
	reader_order(&reader, 2);
	reader_end(&reader);
}

static void exit_nested_holds_until_outermost(void)
{
	epoch_enter();
	epoch_enter();
	uint64_t n = epoch_advance();
	epoch_exit();
	CU_ASSERT_FALSE(epoch_passed(n));
	epoch_enter();
	epoch_exit();
	CU_ASSERT_FALSE(epoch_passed(n));
	epoch_exit();
	CU_ASSERT(epoch_passed(n));
}

static void enter_threads_one_by_one_share_a_slot(void)
{
	struct epoch_slot *seen = NULL;
	for (int i = 0; i < 600; i++) {
		struct reader reader;
		reader_start(&reader);
		reader_order(&reader, 1);
		reader_order(&reader, 2);
		CU_ASSERT_PTR_NOT_NULL(reader.slot);
		if (seen)
			CU_ASSERT_PTR_EQUAL(reader.slot, seen);
		seen = reader.slot;
		reader_end(&reader);
	}
}

static void enter_more_threads_than_a_chunk_all_hold(void)
{
	enum { N = 400 };
	static struct reader readers[N];
	for (int i = 0; i < N; i++) {
		reader_start(&readers[i]);
		reader_order(&readers[i], 1);
	}
	uint64_t n = epoch_advance();
	unsigned distinct = 0;
	for (int i = 0; i < N; i++) {
		CU_ASSERT_FALSE(epoch_passed(n));
		for (int j = 0; j < i; j++)
			distinct += readers[i].slot != readers[j].slot;
		reader_order(&readers[i], 2);
	}
	CU_ASSERT_EQUAL(distinct, N * (N - 1) / 2);
	CU_ASSERT(epoch_passed(n));
	for (int i = 0; i < N; i++)
		reader_end(&readers[i]);
}

/* A clean-up of the host's that runs after ours at thread exit and still reads. */
static _Atomic int late_result; /* 1: held while inside and free after */

static void late_cleanup(void *unused)
{
	(void)unused;
	bool ok = epoch_mine == NULL;
	epoch_enter();
	epoch_enter();
	uint64_t n = epoch_advance();
	ok &= epoch_mine == NULL && !epoch_passed(n);
	epoch_exit();
	ok &= !epoch_passed(n);
	epoch_exit();
	ok &= epoch_passed(n);
	ok &= epoch_register() == -ENOMEM;
	atomic_store(&late_result, ok ? 1 : -1);
}

static void *late_run(void *context)
{
	epoch_register();
	pthread_setspecific(*(pthread_key_t *)context, context);
	return NULL;
}

static void enter_after_slot_was_freed_shares_and_holds(void)
{
	pthread_key_t key; /* after the library's own: its clean-up comes later */
	pthread_t thread;
	CU_ASSERT_EQUAL_FATAL(epoch_register(), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_key_create(&key, late_cleanup), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, late_run, &key), 0);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(atomic_load(&late_result), 1);
	pthread_key_delete(key);
}

/* From here on membarrier answers EPERM in this process. */
static int refuse_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

/* Runs `body` in a fresh process image of this program (the domain is as at start). */
static int child_status(const char *name)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "test_epoch", name, (char *)NULL);
		_exit(99);
	}
	int status = -1;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

/* The reader that is inside when the process forks is not there in the child. */
static void passed_in_a_fork_forgets_the_parents_threads(void)
{
	struct reader reader;
	int status = -1;
	reader_start(&reader);
	reader_order(&reader, 1);
	pid_t pid = fork();
	if (pid == 0) {
		bool before = epoch_passed(epoch_advance());
		epoch_forked();
		_exit(!before && epoch_passed(epoch_advance()) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
	reader_order(&reader, 2);
	reader_order(&reader, 3);
	pthread_join(reader.thread, NULL);
}

static int child_refused(void)
{
	if (refuse_membarrier())
		return SUITE_SKIPPED;
	epoch_enter();
	uint64_t n = epoch_advance();
	if (!atomic_load(&epoch_domain.fenced) || epoch_passed(n))
		return 1;
	epoch_exit();
	return epoch_passed(n) ? 0 : 2;
}

static int child_revoked(void)
{
	uint64_t n = epoch_advance();
	if (!epoch_passed(n))
		return 1;
	if (atomic_load(&epoch_domain.fenced))
		return SUITE_SKIPPED; /* this kernel never granted it */
	if (refuse_membarrier())
		return SUITE_SKIPPED;
	n = epoch_advance();
	if (epoch_passed(n) || !atomic_load(&epoch_domain.fenced))
		return 2; /* a reader may be entering without a fence */
	struct timespec grace = {.tv_sec = 1, .tv_nsec = 100000000};
	nanosleep(&grace, NULL);
	return epoch_passed(n) ? 0 : 3;
}

static void expect_child(const char *name)
{
	int status = child_status(name);
	if (status == SUITE_SKIPPED)
		suite_skip("no seccomp, or no membarrier to refuse");
	else
		CU_ASSERT_EQUAL(status, 0);
}

static void passed_membarrier_refused_readers_fence(void)
{
	expect_child("refused");
}

static void passed_membarrier_revoked_waits_then_fences(void)
{
	expect_child("revoked");
}

/* Readers follow a pointer to a word that a reclaimer exchanges and poisons after an epoch. */
static uint64_t words[2];
static _Atomic(uint64_t *) current;
static _Atomic bool stop;
static _Atomic uint64_t poisoned;

static void *chase(void *unused)
{
	(void)unused;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		epoch_enter();
		uint64_t *word = atomic_load_explicit(&current, memory_order_acquire);
		for (int i = 0; i < 100; i++)
			if (*(volatile uint64_t *)word != 1)
				atomic_fetch_add(&poisoned, 1);
		epoch_exit();
	}
	return NULL;
}

static void passed_stress_readers_never_see_reuse(void)
{
	pthread_t threads[3];
	words[0] = 1;
	atomic_store(&current, &words[0]);
	int n = 0;
	while (n < 3 && !pthread_create(&threads[n], NULL, chase, NULL))
		n++;
	CU_ASSERT_EQUAL(n, 3);
	/* A reader that is taken off its core inside holds the epoch for a slice: so a turn may
	 * take long. */
	for (unsigned turn = 1; turn < 1000; turn++) {
		words[turn % 2] = 1;
		atomic_store_explicit(&current, &words[turn % 2], memory_order_release);
		epoch_wait(epoch_advance());
		words[(turn - 1) % 2] = 0;
	}
	atomic_store(&stop, true);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT_EQUAL(atomic_load(&poisoned), 0);
}

int main(int argc, char **argv)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(passed_nobody_inside_true),
		SUITE_CASE(passed_reader_inside_false_until_exit),
		SUITE_CASE(passed_reader_entered_after_advance_true),
		SUITE_CASE(exit_nested_holds_until_outermost),
		SUITE_CASE(enter_threads_one_by_one_share_a_slot),
		SUITE_CASE(enter_more_threads_than_a_chunk_all_hold),
		SUITE_CASE(enter_after_slot_was_freed_shares_and_holds),
		SUITE_CASE(passed_in_a_fork_forgets_the_parents_threads),
		SUITE_CASE(passed_membarrier_refused_readers_fence),
		SUITE_CASE(passed_membarrier_revoked_waits_then_fences),
		SUITE_CASE(passed_stress_readers_never_see_reuse),
	};
	if (argc == 2)
		return strcmp(argv[1], "refused") == 0 ? child_refused() : child_revoked();
	return suite_run("epoch", NULL, NULL, cases, SUITE_COUNT(cases));
}
