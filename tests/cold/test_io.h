/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture of the tests of device reads: a file whose every byte is known, an engine, a queue.
 */
#ifndef TESTS_COLD_TEST_IO_H
#define TESTS_COLD_TEST_IO_H

#include "alloc/budget.h"
#include "alloc/heap.h"
#include "tests/cold/fault_file.h"
#include "tests/cold/scratch.h"
#include "tests/suite.h"

/* Not a multiple of any alignment: the end of the file is in the middle of a sector. */
#define IO_TEST_BYTES ((UINT64_C(2) << 20) - 1234)

struct io_test {
	struct budget budget;
	struct heap *heap;
	struct scratch scratch;
	struct fault_file *fault;
	struct file dir, file; /* over the fault filling */
	struct io_engine *engine;
	struct io_queue *queue;
	unsigned notices;
	char notice[256];
};

extern struct io_test io;

/* false: it was refused and the case is skipped. Buffers: IO_BUFFER_MIN. */
bool io_test_begin(const char *kind, unsigned depth);
void io_test_end(void); /* checks that memory and budget came back */
int io_test_engine(const char *kind);
unsigned char io_byte(uint64_t offset);
bool io_test_right(const struct io_read *read);
struct io_read io_test_read(uint64_t offset, uint32_t length);

/* test_io_engine.c */
void open_unknown_kind_einval(void);
void open_every_failing_allocation_enomem(void);
void open_budget_spent_enomem(void);
void open_uring_refused_falls_back_and_says_so(void);
void open_unregistered_buffers_still_read(void);
void wait_broken_ring_says_so(void);
void read_buffered_file_notices_once(void);
void read_tmpfs_right(void);
void wait_time_out_then_another_thread_collects(void);
void pool_wait_slow_device_times_out(void);
void queues_many_threads_right(void);

#endif
