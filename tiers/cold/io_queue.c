/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of reads: which read gets an op and a buffer when, and who owns it at the moment.
 *
 *   prepare          send            io_op_done         io_queue_wait        io_read_release
 *   ───────► WAITING ────► DEVICE ─────────────► FINISHED ───────────► GIVEN ───────► IDLE
 *
 * Buffers are runs of 4 KiB units of one region, found first-fit in a bitmap: a small read takes
 * one or two units, a large one as many as it needs, and the memory of a queue is fixed for its
 * life. Reads are sent strictly in the order in which they were prepared: a large one that waits
 * for its run is not overtaken, so it cannot starve.
 *
 * Invariants: units_free is the number of clear bits in taken, and none of them lies below lowest;
 * an op on the device, a finished and a given read each own a run; waiting reads own none;
 * something waits only if the head fits nowhere, no op is free, or nothing was sent since it was
 * prepared.
 */
#include "tiers/cold/io_private.h"

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/heap.h"
#include "alloc/pages.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- Lists
 * --------------------------------------------------------------------------------------- */

static void list_append(struct io_list *list, struct io_read *read)
{
	read->next = NULL;
	read->prev = list->tail;
	if (list->tail)
		list->tail->next = read;
	else
		list->head = read;
	list->tail = read;
	list->count++;
}

static void list_remove(struct io_list *list, struct io_read *read)
{
	if (read->prev)
		read->prev->next = read->next;
	else
		list->head = read->next;
	if (read->next)
		read->next->prev = read->prev;
	else
		list->tail = read->prev;
	read->next = read->prev = NULL;
	check(list->count > 0);
	list->count--;
}

/* ---- Buffers
 * ------------------------------------------------------------------------------------- */

static bool unit_taken(const struct io_queue *queue, uint32_t unit)
{
	return queue->taken[unit / 64] >> (unit % 64) & 1;
}

/* The first run of n clear bits; UINT32_MAX if there is none. */
static uint32_t run_search(const struct io_queue *queue, uint32_t n)
{
	uint32_t start = queue->lowest;
	for (uint32_t unit = start; unit < queue->units;) {
		if (unit % 64 == 0 && queue->taken[unit / 64] == UINT64_MAX) {
			unit += 64;
			start = unit;
			continue;
		}
		if (unit_taken(queue, unit))
			start = unit + 1;
		else if (unit + 1 - start == n)
			return start;
		unit++;
	}
	return UINT32_MAX;
}

static bool run_take(struct io_queue *queue, uint32_t n, uint32_t *first)
{
	if (n > queue->units_free)
		return false;
	uint32_t at = run_search(queue, n);
	if (at == UINT32_MAX)
		return false;
	for (uint32_t unit = at; unit < at + n; unit++)
		queue->taken[unit / 64] |= UINT64_C(1) << (unit % 64);
	queue->units_free -= n;
	if (at == queue->lowest)
		queue->lowest = at + n;
	*first = at;
	return true;
}

static void run_give(struct io_queue *queue, uint32_t first, uint32_t n)
{
	for (uint32_t unit = first; unit < first + n; unit++) {
		check(unit_taken(queue, unit));
		queue->taken[unit / 64] &= ~(UINT64_C(1) << (unit % 64));
	}
	queue->units_free += n;
	if (first < queue->lowest)
		queue->lowest = first;
}

/* ---- From waiting to finished
 * ---------------------------------------------------------------------- */

static void read_finish(struct io_queue *queue, struct io_read *read, int status)
{
	struct io_engine *engine = queue->engine;
	read->status = status;
	read->state = IO_FINISHED;
	list_append(&queue->finished, read);
	if (status)
		atomic_fetch_add_explicit(&engine->errors, 1, memory_order_relaxed);
}

static uint32_t read_align(const struct io_read *read)
{
	return read->file->direct ? read->file->align : 1;
}

/* Bytes from the rounded start, and of the rounded range. */
static uint32_t read_prefix(const struct io_read *read)
{
	return (uint32_t)(read->offset & (read_align(read) - 1));
}

static uint32_t read_rounded(const struct io_read *read)
{
	uint32_t align = read_align(read);
	return (read_prefix(read) + read->length + align - 1) & ~(align - 1);
}

static uint32_t read_units(const struct io_read *read)
{
	return (read_rounded(read) + IO_UNIT - 1) / IO_UNIT;
}

static void op_fill(struct io_queue *queue, struct io_op *op, struct io_read *read, uint32_t first)
{
	uint32_t prefix = read_prefix(read);
	op->read = read;
	op->ops = read->file->ops;
	op->fd = read->file->fd;
	op->align = read_align(read);
	op->to = queue->buffers + (size_t)first * IO_UNIT;
	op->offset = read->offset - prefix;
	op->bytes = read_rounded(read);
	op->need = prefix + read->length;
	op->done = 0;
	op->retries = 0;
	op->result = 0;
	op->first = first;
	op->units = read_units(read);
	atomic_store_explicit(&op->skip, false, memory_order_relaxed);
	read->data = op->to + prefix;
	read->first = first;
	read->units = op->units;
}

/* Sends waiting reads, in order, as far as ops and buffers go. */
static void dispatch(struct io_queue *queue)
{
	while (queue->waiting.head && queue->free_ops_count > 0 && !queue->broken) {
		struct io_read *read = queue->waiting.head;
		uint32_t first;
		if (!run_take(queue, read_units(read), &first))
			return;
		list_remove(&queue->waiting, read);
		read->op = queue->free_ops[--queue->free_ops_count];
		read->state = IO_DEVICE;
		struct io_op *op = &queue->ops[read->op];
		op_fill(queue, op, read, first);
		queue->backend->send(queue, op);
	}
}

static void flush(struct io_queue *queue)
{
	if (!queue->broken)
		queue->broken = queue->backend->flush(queue);
}

int io_op_moved(struct io_op *op, ssize_t moved)
{
	if (moved == -EINTR || moved == -EAGAIN)
		return ++op->retries > IO_RETRIES ? -EIO : 1;
	if (moved < 0)
		return (int)moved;
	op->done += (uint32_t)moved;
	check(op->done <= op->bytes);
	if (op->done >= op->need)
		return 0;
	/* Direct reads come short in the middle of a sector only where the file ends. */
	if (moved == 0 || op->done % op->align)
		return -EIO;
	return 1;
}

static void count_read(struct io_engine *engine, uint32_t bytes)
{
	atomic_fetch_add_explicit(&engine->reads, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&engine->read_bytes, bytes, memory_order_relaxed);
}

void io_op_done(struct io_queue *queue, struct io_op *op, int result)
{
	struct io_read *read = op->read;
	count_read(queue->engine, op->done);
	if (read) {
		read_finish(queue, read, result);
	} else {
		check(queue->cancelled > 0);
		queue->cancelled--;
		run_give(queue, op->first, op->units);
	}
	op->read = NULL;
	queue->free_ops[queue->free_ops_count++] = (uint32_t)(op - queue->ops);
	check(queue->free_ops_count <= queue->depth);
}

/* ---- What callers do
 * ------------------------------------------------------------------------------- */

static int read_check(struct io_queue *queue, struct io_read *read)
{
	read->status = 0;
	read->data = NULL;
	read->units = 0;
	if (read->file->fd < 0)
		return -EBADF;
	if (read->length == 0 || read->length > IO_LENGTH_MAX || read_rounded(read) > IO_LENGTH_MAX)
		return -EINVAL;
	if (read->offset > INT64_MAX - 2 * (uint64_t)IO_LENGTH_MAX)
		return -EINVAL;
	if (read->file->direct_refused && !atomic_exchange(&queue->engine->buffered, true))
		io_notice(queue->engine,
			  "cold reads: the file system of \"%s\" refuses O_DIRECT, so the page "
			  "cache takes "
			  "memory beyond the caps; put the cold tier on ext4 or XFS",
			  read->file->name);
	return 0;
}

void io_read_prepare(struct io_queue *queue, struct io_read *read)
{
	int rc = read_check(queue, read);
	if (rc) {
		read_finish(queue, read, rc);
		return;
	}
	read->state = IO_WAITING;
	list_append(&queue->waiting, read);
}

/* The event fd tells of the back end's completions; what is finished otherwise must be told here.
 */
static void event_raise(struct io_queue *queue)
{
	uint64_t one = 1;
	if (queue->event_fd >= 0 && queue->finished.count > 0) {
		ssize_t put = write(queue->event_fd, &one, sizeof(one));
		(void)put; /* EAGAIN: it is readable already */
	}
}

static void event_clear(struct io_queue *queue)
{
	uint64_t count;
	if (queue->event_fd >= 0) {
		ssize_t got = read(queue->event_fd, &count, sizeof(count));
		(void)got;
	}
}

void io_queue_submit(struct io_queue *queue)
{
	dispatch(queue);
	flush(queue);
	event_raise(queue);
}

static int64_t clock_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Reads that will still be finished, if the caller releases buffers. */
static unsigned reads_coming(const struct io_queue *queue)
{
	return queue->waiting.count + io_on_device(queue) - queue->cancelled;
}

/* Until something is finished. 0, -ETIME (also: nothing is coming), -EDEADLK, or the ring's error.
 */
static int wait_finished(struct io_queue *queue, int64_t timeout_ns)
{
	int64_t deadline = 0;
	for (;;) {
		queue->backend->reap(queue);
		dispatch(queue);
		if (queue->finished.count > 0) {
			flush(queue);
			return 0;
		}
		if (queue->broken)
			return queue->broken;
		if (reads_coming(queue) == 0)
			return -ETIME;
		if (timeout_ns == 0) {
			flush(queue);
			queue->backend->reap(queue);
			return queue->finished.count > 0 ? 0 : -ETIME;
		}
		if (io_on_device(queue) == 0)
			return -EDEADLK;
		int64_t left = -1;
		if (timeout_ns > 0) {
			int64_t now = clock_now();
			if (deadline == 0)
				deadline =
					now > INT64_MAX - timeout_ns ? INT64_MAX : now + timeout_ns;
			left = deadline - now;
			if (left <= 0)
				return -ETIME;
		}
		int rc = queue->backend->wait(queue, left);
		if (rc && rc != -ETIME)
			queue->broken = rc;
	}
}

int io_queue_wait(struct io_queue *queue, struct io_read **done, unsigned max, int64_t timeout_ns)
{
	event_clear(queue);
	int rc = wait_finished(queue, timeout_ns);
	unsigned n = 0;
	while (n < max && queue->finished.head) {
		struct io_read *read = queue->finished.head;
		list_remove(&queue->finished, read);
		read->state = IO_GIVEN;
		done[n++] = read;
	}
	event_raise(queue);
	if (n > 0 || rc == 0 || rc == -ETIME)
		return (int)n;
	return rc;
}

unsigned io_queue_pending(const struct io_queue *queue)
{
	return queue->waiting.count + io_on_device(queue) + queue->finished.count;
}

int io_queue_fd(struct io_queue *queue)
{
	if (queue->event_fd >= 0)
		return queue->event_fd;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	queue->event_fd = fd;
	int rc = queue->backend->watch(queue);
	if (rc) {
		queue->event_fd = -1;
		close(fd);
		return rc;
	}
	/* What was done before the watch began raised nothing. */
	queue->backend->reap(queue);
	event_raise(queue);
	return fd;
}

static void buffer_give(struct io_queue *queue, struct io_read *read)
{
	if (read->units > 0)
		run_give(queue, read->first, read->units);
	read->units = 0;
	read->data = NULL;
	read->state = IO_IDLE;
	/* With nothing on the device no completion will send the waiting ones: it is done here. */
	if (queue->waiting.count > 0 && io_on_device(queue) == 0)
		io_queue_submit(queue);
}

void io_read_release(struct io_queue *queue, struct io_read *read)
{
	check(read->state == IO_GIVEN);
	buffer_give(queue, read);
}

void io_read_cancel(struct io_queue *queue, struct io_read *read)
{
	switch (read->state) {
	case IO_WAITING:
		list_remove(&queue->waiting, read);
		read->state = IO_IDLE;
		return;
	case IO_DEVICE: {
		struct io_op *op = &queue->ops[read->op];
		check(op->read == read);
		op->read = NULL;
		atomic_store_explicit(&op->skip, true, memory_order_relaxed);
		queue->cancelled++;
		read->units = 0;
		read->data = NULL;
		read->state = IO_IDLE;
		return;
	}
	case IO_FINISHED:
		list_remove(&queue->finished, read);
		break;
	default:
		check(read->state == IO_GIVEN);
	}
	buffer_give(queue, read);
}

int io_read_now(struct io_queue *queue, struct io_read *read)
{
	uint32_t first;
	int rc = read_check(queue, read);
	if (rc == 0) {
		/* Never before those that wait for buffers. */
		if (queue->waiting.count > 0 || !run_take(queue, read_units(read), &first))
			return -EAGAIN;
		struct io_op op;
		op_fill(queue, &op, read, first);
		do
			rc = io_op_moved(&op,
					 op.ops->pread(op.ops, op.fd, op.to + op.done,
						       op.bytes - op.done, op.offset + op.done));
		while (rc > 0);
		count_read(queue->engine, op.done);
	}
	if (rc)
		atomic_fetch_add_explicit(&queue->engine->errors, 1, memory_order_relaxed);
	read->status = rc;
	read->state = IO_GIVEN;
	return 0;
}

/* ---- Opening and closing
 * --------------------------------------------------------------------------- */

static void queue_free(struct io_queue *queue)
{
	struct io_engine *engine = queue->engine;
	pages_release(queue->buffers, queue->reserved);
	if (queue->charged)
		budget_give(engine->budget, queue->charged);
	heap_free(engine->heap, queue->free_ops);
	heap_free(engine->heap, queue->ops);
	heap_free(engine->heap, queue->taken);
	heap_free(engine->heap, queue);
}

static int queue_alloc(struct io_engine *engine, unsigned depth, size_t buffer_bytes,
		       struct io_queue **out)
{
	struct io_queue *queue = heap_zalloc(engine->heap, 1, sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	queue->engine = engine;
	queue->event_fd = -1;
	queue->depth = depth;
	queue->units = (uint32_t)((buffer_bytes + IO_UNIT - 1) / IO_UNIT);
	queue->units_free = queue->units;
	queue->reserved = (size_t)queue->units * IO_UNIT;
	uint32_t words = (queue->units + 63) / 64;
	queue->taken = heap_zalloc(engine->heap, words, sizeof(*queue->taken));
	queue->ops = heap_zalloc(engine->heap, depth, sizeof(*queue->ops));
	queue->free_ops = heap_zalloc(engine->heap, depth, sizeof(*queue->free_ops));
	if (!queue->taken || !queue->ops || !queue->free_ops)
		goto free;
	if (!budget_take(engine->budget, queue->reserved))
		goto free;
	queue->charged = queue->reserved;
	queue->buffers = pages_reserve(queue->reserved);
	if (!queue->buffers || pages_commit(queue->buffers, queue->reserved, 0, 0))
		goto free;
	for (unsigned i = 0; i < depth; i++)
		queue->free_ops[queue->free_ops_count++] = depth - 1 - i;
	*out = queue;
	return 0;
free:
	queue_free(queue);
	return -ENOMEM;
}

int io_queue_open(struct io_engine *engine, unsigned depth, size_t buffer_bytes,
		  struct io_queue **out)
{
	struct io_queue *queue;
	*out = NULL;
	if (depth == 0 || depth > IO_DEPTH_MAX || buffer_bytes < IO_BUFFER_MIN ||
	    buffer_bytes > (size_t)1 << 30)
		return -EINVAL;
	int rc = queue_alloc(engine, depth, buffer_bytes, &queue);
	if (rc)
		return rc;
	if (atomic_load(&engine->uring)) {
		queue->backend = &io_backend_ring;
		rc = queue->backend->open(queue);
		if (rc == 0)
			goto opened;
		if (!engine->fall_back)
			goto free;
		io_engine_fall_back(engine, rc);
	}
	queue->backend = &io_backend_pool;
	rc = queue->backend->open(queue);
	if (rc)
		goto free;
opened:
	atomic_fetch_add(&engine->queues, 1);
	*out = queue;
	return 0;
free:
	queue_free(queue);
	return rc;
}

void io_queue_close(struct io_queue **out)
{
	struct io_queue *queue = *out;
	if (!queue)
		return;
	while (queue->waiting.head)
		io_read_cancel(queue, queue->waiting.head);
	for (unsigned i = 0; i < queue->depth; i++)
		if (queue->ops[i].read)
			io_read_cancel(queue, queue->ops[i].read);
	while (queue->finished.head)
		io_read_cancel(queue, queue->finished.head);
	while (io_on_device(queue) > 0 && !queue->broken) {
		int rc = queue->backend->wait(queue, -1);
		queue->backend->reap(queue);
		if (rc && rc != -ETIME)
			queue->broken = rc;
	}
	queue->backend->close(queue);
	if (queue->event_fd >= 0)
		close(queue->event_fd);
	atomic_fetch_sub(&queue->engine->queues, 1);
	queue_free(queue);
	*out = NULL;
}
