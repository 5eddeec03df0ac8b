/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of device reads, every case with io_uring and with the pread pool. */
#include "tests/cold/test_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

struct io_test io;

/* ---- The fixture ---- */

static void note(void *context, const char *line)
{
	struct io_test *t = context;
	(void)line;
	t->notices++;
	snprintf(t->notice, sizeof(t->notice), "%s", line);
}

unsigned char io_byte(uint64_t offset)
{
	uint64_t x = (offset >> 3) * UINT64_C(0x9e3779b97f4a7c15);
	return (unsigned char)(x >> (8 * (offset & 7)));
}

static void fill_file(void)
{
	static char chunk[64 << 10];
	struct file file;
	CU_ASSERT_EQUAL_FATAL(file_open(&io.dir, "data", FILE_WRITE | FILE_CREATE, &file), 0);
	for (uint64_t at = 0; at < IO_TEST_BYTES; at += sizeof(chunk)) {
		for (size_t i = 0; i < sizeof(chunk); i++)
			chunk[i] = (char)io_byte(at + i);
		CU_ASSERT_EQUAL_FATAL(file_write(&file, chunk, sizeof(chunk), at), 0);
	}
	CU_ASSERT_EQUAL(file_truncate(&file, IO_TEST_BYTES), 0);
	CU_ASSERT_EQUAL(file_sync_data(&file), 0);
	file_close(&file);
}

int io_test_engine(const char *kind)
{
	struct thermo_error error = {""};
	struct io_options options = {.kind = kind,
				     .threads = 8,
				     .heap = io.heap,
				     .budget = &io.budget,
				     .log = note,
				     .log_context = &io};
	int rc = io_engine_open(&options, &io.engine, &error);
	CU_ASSERT((rc == 0) == (error.text[0] == 0));
	CU_ASSERT((rc == 0) == (io.engine != NULL));
	return rc;
}

bool io_test_begin(const char *kind, unsigned depth)
{
	struct thermo_error error;
	memset(&io, 0, sizeof(io));
	budget_init(&io.budget, 64 << 20);
	CU_ASSERT_EQUAL_FATAL(heap_open("libc", NULL, 4 << 20, NULL, &io.heap, &error), 0);
	int rc = io_test_engine(kind);
	if (rc == -EPERM || rc == -ENOSYS) {
		suite_skip("io_uring is refused here");
		heap_close(&io.heap);
		return false;
	}
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	scratch_open(&io.scratch);
	io.fault = fault_file_open(&file_ops_posix);
	CU_ASSERT_EQUAL_FATAL(file_open_dir(fault_file_ops(io.fault), io.scratch.path, &io.dir), 0);
	fill_file();
	CU_ASSERT_EQUAL_FATAL(file_open(&io.dir, "data", FILE_DIRECT, &io.file), 0);
	CU_ASSERT_EQUAL_FATAL(io_queue_open(io.engine, depth, IO_BUFFER_MIN, &io.queue), 0);
	return true;
}

void io_test_end(void)
{
	io_queue_close(&io.queue);
	CU_ASSERT_PTR_NULL(io.queue);
	file_close(&io.file);
	file_close(&io.dir);
	io_engine_close(&io.engine);
	CU_ASSERT_PTR_NULL(io.engine);
	CU_ASSERT_EQUAL(heap_used(io.heap), 0);
	CU_ASSERT_EQUAL(atomic_load(&io.budget.used), 0);
	heap_close(&io.heap);
	fault_file_close(io.fault);
	scratch_close(&io.scratch);
}

bool io_test_right(const struct io_read *read)
{
	for (uint32_t i = 0; i < read->length; i++)
		if ((unsigned char)read->data[i] != io_byte(read->offset + i))
			return false;
	return true;
}

struct io_read io_test_read(uint64_t offset, uint32_t length)
{
	return (struct io_read){.file = &io.file, .offset = offset, .length = length};
}

/* Waits for one read and says whether it was this one. */
static int wait_one(struct io_read *read)
{
	struct io_read *done[2];
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 2, -1), 1);
	CU_ASSERT_PTR_EQUAL(done[0], read);
	return read->status;
}

static int read_one(uint64_t offset, uint32_t length)
{
	struct io_read read = io_test_read(offset, length);
	io_read_prepare(io.queue, &read);
	int rc = wait_one(&read);
	if (rc == 0)
		CU_ASSERT(io_test_right(&read));
	io_read_release(io.queue, &read);
	return rc;
}

static void set(uint64_t nth, enum fault_action action, int error, bool sticky)
{
	fault_set(io.fault, &(struct fault_rule){.kind = FAULT_READ,
						 .nth = nth,
						 .action = action,
						 .error = error,
						 .sticky = sticky});
}

/* ---- Cases, run with either engine ---- */

static void read_any_range_right(const char *kind)
{
	if (!io_test_begin(kind, 4))
		return;
	static const uint64_t offsets[] = {0, 1, 511, 512, 4095, 4096, 5000, 100001};
	static const uint32_t lengths[] = {1, 7, 512, 4096, 4097, 8192, 70000, 264 << 10};
	for (unsigned o = 0; o < SUITE_COUNT(offsets); o++)
		for (unsigned l = 0; l < SUITE_COUNT(lengths); l++)
			CU_ASSERT_EQUAL(read_one(offsets[o], lengths[l]), 0);
	struct io_stats stats;
	io_engine_stats(io.engine, &stats);
	CU_ASSERT_EQUAL(stats.reads, SUITE_COUNT(offsets) * SUITE_COUNT(lengths));
	CU_ASSERT(stats.read_bytes >= stats.reads);
	CU_ASSERT_EQUAL(stats.errors, 0);
	CU_ASSERT_EQUAL(stats.uring, !strcmp(kind, "uring"));
	io_test_end();
}

static void read_at_end_of_file_right_past_it_eio(const char *kind)
{
	if (!io_test_begin(kind, 4))
		return;
	CU_ASSERT_EQUAL(read_one(IO_TEST_BYTES - 1, 1), 0);
	CU_ASSERT_EQUAL(read_one(IO_TEST_BYTES - 5000, 5000), 0);
	CU_ASSERT_EQUAL(read_one(IO_TEST_BYTES - 5000, 5001), -EIO);
	CU_ASSERT_EQUAL(read_one(IO_TEST_BYTES, 1), -EIO);
	CU_ASSERT_EQUAL(read_one(IO_TEST_BYTES + 1000000, 4096), -EIO);
	struct io_stats stats;
	io_engine_stats(io.engine, &stats);
	CU_ASSERT_EQUAL(stats.errors, 3);
	io_test_end();
}

static void read_bad_arguments_come_out_as_status(const char *kind)
{
	if (!io_test_begin(kind, 4))
		return;
	CU_ASSERT_EQUAL(read_one(0, 0), -EINVAL);
	CU_ASSERT_EQUAL(read_one(0, IO_LENGTH_MAX + 1), -EINVAL);
	CU_ASSERT_EQUAL(read_one(0, UINT32_MAX), -EINVAL);
	CU_ASSERT_EQUAL(read_one(UINT64_MAX, 1), -EINVAL);
	CU_ASSERT_EQUAL(read_one(0, IO_LENGTH_MAX), 0);
	struct file closed = {.fd = -1};
	struct io_read read = {.file = &closed, .length = 1};
	io_read_prepare(io.queue, &read);
	CU_ASSERT_EQUAL(wait_one(&read), -EBADF);
	io_read_release(io.queue, &read);
	struct io_queue *none;
	CU_ASSERT_EQUAL(io_queue_open(io.engine, 0, IO_BUFFER_MIN, &none), -EINVAL);
	CU_ASSERT_EQUAL(io_queue_open(io.engine, IO_DEPTH_MAX + 1, IO_BUFFER_MIN, &none), -EINVAL);
	CU_ASSERT_EQUAL(io_queue_open(io.engine, 1, IO_BUFFER_MIN - 1, &none), -EINVAL);
	io_test_end();
}

static void prepare_more_than_buffers_all_finish(const char *kind)
{
	enum { N = 400 };
	static struct io_read reads[N];
	if (!io_test_begin(kind, 8))
		return;
	for (unsigned i = 0; i < N; i++) {
		uint32_t length = i % 10 == 3 ? 264 << 10 : 1 + i * 37 % 9000;
		reads[i] = io_test_read((uint64_t)i * 7919 % (IO_TEST_BYTES - (264 << 10)), length);
		reads[i].user = &reads[i];
		io_read_prepare(io.queue, &reads[i]);
	}
	CU_ASSERT_EQUAL(io_queue_pending(io.queue), N);
	io_queue_submit(io.queue);
	unsigned seen = 0;
	while (seen < N) {
		struct io_read *done[7];
		int n = io_queue_wait(io.queue, done, 7, -1);
		CU_ASSERT_FATAL(n > 0 && n <= 7);
		for (int i = 0; i < n; i++) {
			CU_ASSERT_EQUAL(done[i]->status, 0);
			CU_ASSERT_PTR_EQUAL(done[i]->user, done[i]);
			CU_ASSERT(io_test_right(done[i]));
			io_read_release(io.queue, done[i]);
			seen++;
		}
	}
	struct io_read *done;
	CU_ASSERT_EQUAL(io_queue_pending(io.queue), 0);
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, &done, 1, -1), 0);
	io_test_end();
}

static void wait_buffers_held_deadlock_said(const char *kind)
{
	enum { N = 3 };
	struct io_read reads[N], *done[N];
	if (!io_test_begin(kind, 8))
		return;
	for (unsigned i = 0; i < N; i++) {
		reads[i] = io_test_read(i * 4096, 200 << 10);
		io_read_prepare(io.queue, &reads[i]);
	}
	unsigned given = 0;
	while (given < 2) {
		int n = io_queue_wait(io.queue, done + given, N - given, -1);
		CU_ASSERT_FATAL(n > 0);
		given += (unsigned)n;
	}
	CU_ASSERT_EQUAL(given, 2);
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done + 2, 1, -1), -EDEADLK);
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done + 2, 1, 1000000), -EDEADLK);
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done + 2, 1, 0), 0);
	struct io_read now = io_test_read(0, 1);
	CU_ASSERT_EQUAL(io_read_now(io.queue, &now), -EAGAIN); /* not before those that wait */
	io_read_release(io.queue, done[0]);
	CU_ASSERT_EQUAL_FATAL(io_queue_wait(io.queue, done + 2, 1, -1), 1);
	CU_ASSERT(io_test_right(done[1])); /* held all the time, and untouched */
	CU_ASSERT(io_test_right(done[2]));
	io_read_release(io.queue, done[1]);
	io_read_release(io.queue, done[2]);
	io_test_end();
}

static void now_reads_like_the_queue(const char *kind)
{
	if (!io_test_begin(kind, 4))
		return;
	struct io_read read = io_test_read(12345, 5000);
	CU_ASSERT_EQUAL(io_read_now(io.queue, &read), 0);
	CU_ASSERT_EQUAL(read.status, 0);
	CU_ASSERT(io_test_right(&read));
	io_read_release(io.queue, &read);
	read = io_test_read(IO_TEST_BYTES, 1);
	CU_ASSERT_EQUAL(io_read_now(io.queue, &read), 0);
	CU_ASSERT_EQUAL(read.status, -EIO);
	io_read_release(io.queue, &read);
	set(1, FAULT_SHORT, 0, true);
	read = io_test_read(4096, 60000);
	CU_ASSERT_EQUAL(io_read_now(io.queue, &read), 0);
	CU_ASSERT_EQUAL(read.status, 0);
	CU_ASSERT(io_test_right(&read));
	CU_ASSERT(fault_hits(io.fault) > 1);
	io_read_cancel(io.queue, &read);
	CU_ASSERT_EQUAL(io_queue_pending(io.queue), 0);
	io_test_end();
}

static void read_faults_are_mended_or_reported(const char *kind)
{
	if (!io_test_begin(kind, 4))
		return;
	set(2, FAULT_ERROR, EIO, false);
	CU_ASSERT_EQUAL(read_one(0, 100), 0);
	CU_ASSERT_EQUAL(read_one(0, 100), -EIO);
	CU_ASSERT_EQUAL(read_one(0, 100), 0);
	set(1, FAULT_SHORT, 0, true);
	CU_ASSERT_EQUAL(read_one(1000, 100000), 0);
	CU_ASSERT(fault_hits(io.fault) > 1);
	set(1, FAULT_INTERRUPT, 0, false);
	CU_ASSERT_EQUAL(read_one(1000, 100000), 0);
	CU_ASSERT_EQUAL(fault_hits(io.fault), 1);
	set(1, FAULT_ERROR, EAGAIN, true); /* for ever: given up */
	CU_ASSERT_EQUAL(read_one(1000, 100), -EIO);
	fault_clear(io.fault);
	set(1, FAULT_FLIP, 0, false);
	struct io_read read = io_test_read(0, 4096);
	io_read_prepare(io.queue, &read);
	CU_ASSERT_EQUAL(wait_one(&read), 0);
	CU_ASSERT(!io_test_right(&read));
	io_read_release(io.queue, &read);
	io_test_end();
}

static void cancel_in_every_state_returns_buffer(const char *kind)
{
	struct io_read reads[40], *done[40];
	if (!io_test_begin(kind, 4))
		return;
	for (unsigned round = 0; round < 50; round++) {
		unsigned n = 0, cancelled = 0;
		for (unsigned i = 0; i < 40; i++) {
			reads[i] = io_test_read(i * 5000, 1 + i % 7 * 12000);
			reads[i].user = &reads[i];
			io_read_prepare(io.queue, &reads[i]);
			if (i == 20)
				io_queue_submit(io.queue);
		}
		for (unsigned i = round % 3; i < 40; i += 3) { /* waiting or on the device */
			io_read_cancel(io.queue, &reads[i]);
			memset(&reads[i], 0xff, sizeof(reads[i])); /* it is ours again at once */
			cancelled++;
		}
		int given = io_queue_wait(io.queue, done, 2, -1);
		CU_ASSERT_FATAL(given > 0);
		for (int i = 0; i < given; i++, n++) {
			CU_ASSERT(done[i]->status == 0 && io_test_right(done[i]));
			io_read_cancel(io.queue, done[i]); /* given out */
		}
		while ((given = io_queue_wait(io.queue, done, 40, -1)) > 0)
			for (int i = 0; i < given; i++, n++) {
				CU_ASSERT(done[i]->status == 0 && io_test_right(done[i]));
				io_read_release(io.queue, done[i]);
			}
		CU_ASSERT_EQUAL(given, 0);
		CU_ASSERT_EQUAL(n, 40 - cancelled);
	}
	/* All buffers are back: two of the largest fit at once. */
	while (io_queue_pending(io.queue) > 0)
		CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 40, 0), 0);
	reads[0] = io_test_read(0, 250 << 10);
	reads[1] = io_test_read(0, 250 << 10);
	CU_ASSERT_EQUAL(io_read_now(io.queue, &reads[0]), 0);
	CU_ASSERT_EQUAL(io_read_now(io.queue, &reads[1]), 0);
	io_read_release(io.queue, &reads[0]);
	io_read_release(io.queue, &reads[1]);
	io_test_end();
}

static void cancel_finished_returns_buffer(const char *kind)
{
	struct io_read reads[8], *done[8];
	if (!io_test_begin(kind, 8))
		return;
	for (unsigned i = 0; i < 8; i++) {
		reads[i] = io_test_read(i * 5000, 60 << 10);
		io_read_prepare(io.queue, &reads[i]);
	}
	/* Until all are finished, giving out one. */
	CU_ASSERT_EQUAL_FATAL(io_queue_wait(io.queue, done, 1, -1), 1);
	struct io_read *first = done[0];
	usleep(20000);
	for (unsigned i = 0; i < 8; i++)
		if (&reads[i] != first)
			io_read_cancel(io.queue, &reads[i]);
	io_read_release(io.queue, first);
	while (io_queue_pending(io.queue) > 0)
		CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 8, 0), 0);
	io_test_end();
}

static void close_with_reads_under_way_waits(const char *kind)
{
	static struct io_read reads[100];
	if (!io_test_begin(kind, 32))
		return;
	struct io_read *done;
	for (unsigned i = 0; i < 100; i++) {
		reads[i] = io_test_read(i * 4096, 1 + i % 5 * 30000);
		io_read_prepare(io.queue, &reads[i]);
		if (i == 60)
			io_queue_submit(io.queue);
	}
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, &done, 1, -1), 1); /* and never released */
	io_test_end();
	CU_ASSERT_EQUAL(reads[99].state, 0);
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, timeout_ms) == 1;
}

static void event_fd_follows_what_is_finished(const char *kind)
{
	struct io_read reads[20], *done[20];
	if (!io_test_begin(kind, 4))
		return;
	reads[0] = io_test_read(0, 100);
	io_read_prepare(io.queue, &reads[0]);
	io_queue_submit(io.queue);
	usleep(20000); /* done before anyone watches */
	int fd = io_queue_fd(io.queue);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(io_queue_fd(io.queue), fd);
	CU_ASSERT(readable(fd, -1));
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 20, 0), 1);
	io_read_release(io.queue, done[0]);
	CU_ASSERT(!readable(fd, 0));
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 20; i++) {
			reads[i] = io_test_read(i * 5000, 1 + i % 4 * 60000);
			io_read_prepare(io.queue, &reads[i]);
		}
		io_queue_submit(io.queue);
		unsigned seen = 0, calls = 0;
		while (seen < 20) {
			CU_ASSERT_FATAL(
				readable(fd, -1)); /* never stuck, whatever is left over */
			int n = io_queue_wait(io.queue, done, 1 + round % 3, 0);
			CU_ASSERT_FATAL(n >= 0);
			for (int i = 0; i < n; i++) {
				CU_ASSERT(done[i]->status == 0 && io_test_right(done[i]));
				io_read_release(io.queue, done[i]);
			}
			seen += (unsigned)n;
			CU_ASSERT_FATAL(++calls < 1000);
		}
	}
	reads[0] = io_test_read(0, 0); /* never goes to the device */
	io_read_prepare(io.queue, &reads[0]);
	io_queue_submit(io.queue);
	CU_ASSERT(readable(fd, 0));
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 20, 0), 1);
	CU_ASSERT_EQUAL(done[0]->status, -EINVAL);
	io_read_release(io.queue, done[0]);
	CU_ASSERT(!readable(fd, 0));
	io_test_end();
}

static void release_of_last_buffer_sends_the_waiting(const char *kind)
{
	struct io_read reads[2], *done[2];
	if (!io_test_begin(kind, 4))
		return;
	int fd = io_queue_fd(io.queue);
	for (unsigned i = 0; i < 2; i++) {
		reads[i] = io_test_read(i, IO_LENGTH_MAX - 8192);
		io_read_prepare(io.queue, &reads[i]);
	}
	io_queue_submit(io.queue);
	CU_ASSERT_FATAL(readable(fd, 5000));
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 2, 0), 1);
	CU_ASSERT(!readable(fd, 0));
	io_read_release(io.queue, done[0]); /* the caller goes straight back to its poll */
	CU_ASSERT(readable(fd, -1));
	CU_ASSERT_EQUAL(io_queue_wait(io.queue, done, 2, 0), 1);
	io_read_release(io.queue, done[0]);
	io_test_end();
}

static void random_calls_match_the_file(const char *kind)
{
	enum { N = 64 };
	static struct io_read reads[N];
	enum { FREE, QUEUED, HELD } state[N] = {0};
	struct io_read *done[N];
	uint64_t seed = suite_seed();
	struct drand48_data random;
	srand48_r((long)seed, &random);
	if (!io_test_begin(kind, 1 + (unsigned)(seed % 12)))
		return;
	for (unsigned step = 0; step < 6000; step++) {
		long a, b, c;
		lrand48_r(&random, &a);
		lrand48_r(&random, &b);
		lrand48_r(&random, &c);
		unsigned i = (unsigned)a % N;
		if (b % 16 == 0) {
			int n = io_queue_wait(io.queue, done, (unsigned)c % N + 1,
					      c % 3   ? 0
					      : c % 2 ? -1
						      : 1000000);
			CU_ASSERT_FATAL(n >= 0 || n == -EDEADLK);
			for (int k = 0; k < n; k++) {
				CU_ASSERT_EQUAL_FATAL(state[done[k] - reads], QUEUED);
				CU_ASSERT_EQUAL(done[k]->status, 0);
				state[done[k] - reads] = HELD;
			}
		} else if (b % 16 == 1) {
			io_queue_submit(io.queue);
		} else if (state[i] == FREE) {
			reads[i] = io_test_read((uint64_t)c % (IO_TEST_BYTES - (100 << 10)),
						c % 11 ? 1 + (uint32_t)b % 8000
						       : 1 + (uint32_t)b % (100 << 10));
			if (b % 16 == 2) {
				int rc = io_read_now(io.queue, &reads[i]);
				CU_ASSERT(rc == 0 || rc == -EAGAIN);
				state[i] = rc ? FREE : HELD;
			} else {
				io_read_prepare(io.queue, &reads[i]);
				state[i] = QUEUED;
			}
		} else if (state[i] == HELD) {
			CU_ASSERT(io_test_right(&reads[i]));
			io_read_release(io.queue, &reads[i]);
			state[i] = FREE;
		} else if (b % 16 < 5) {
			io_read_cancel(io.queue, &reads[i]);
			state[i] = FREE;
		}
	}
	io_test_end();
}

/* ---- Both engines ---- */

#define BOTH(name)                                                                                 \
	static void uring_##name(void)                                                             \
	{                                                                                          \
		name("uring");                                                                     \
	}                                                                                          \
	static void pread_##name(void)                                                             \
	{                                                                                          \
		name("pread");                                                                     \
	}
#define BOTH_CASES(name) SUITE_CASE(uring_##name), SUITE_CASE(pread_##name)

BOTH(read_any_range_right)
BOTH(read_at_end_of_file_right_past_it_eio)
BOTH(read_bad_arguments_come_out_as_status)
BOTH(prepare_more_than_buffers_all_finish)
BOTH(wait_buffers_held_deadlock_said)
BOTH(now_reads_like_the_queue)
BOTH(read_faults_are_mended_or_reported)
BOTH(cancel_in_every_state_returns_buffer)
BOTH(cancel_finished_returns_buffer)
BOTH(close_with_reads_under_way_waits)
BOTH(event_fd_follows_what_is_finished)
BOTH(release_of_last_buffer_sends_the_waiting)
BOTH(random_calls_match_the_file)

int main(void)
{
	static const struct suite_case cases[] = {
		BOTH_CASES(read_any_range_right),
		BOTH_CASES(read_at_end_of_file_right_past_it_eio),
		BOTH_CASES(read_bad_arguments_come_out_as_status),
		BOTH_CASES(prepare_more_than_buffers_all_finish),
		BOTH_CASES(wait_buffers_held_deadlock_said),
		BOTH_CASES(now_reads_like_the_queue),
		BOTH_CASES(read_faults_are_mended_or_reported),
		BOTH_CASES(cancel_in_every_state_returns_buffer),
		BOTH_CASES(cancel_finished_returns_buffer),
		BOTH_CASES(close_with_reads_under_way_waits),
		BOTH_CASES(event_fd_follows_what_is_finished),
		BOTH_CASES(release_of_last_buffer_sends_the_waiting),
		BOTH_CASES(random_calls_match_the_file),
		SUITE_CASE(open_unknown_kind_einval),
		SUITE_CASE(open_every_failing_allocation_enomem),
		SUITE_CASE(open_budget_spent_enomem),
		SUITE_CASE(open_uring_refused_falls_back_and_says_so),
		SUITE_CASE(open_unregistered_buffers_still_read),
		SUITE_CASE(wait_broken_ring_says_so),
		SUITE_CASE(read_buffered_file_notices_once),
		SUITE_CASE(read_tmpfs_right),
		SUITE_CASE(wait_time_out_then_another_thread_collects),
		SUITE_CASE(pool_wait_slow_device_times_out),
		SUITE_CASE(queues_many_threads_right),
	};
	return suite_run("io", NULL, NULL, cases, SUITE_COUNT(cases));
}
