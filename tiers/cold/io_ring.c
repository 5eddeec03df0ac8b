/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end of a queue: a ring of io_uring of its own.
 *
 * A queue may be handed from thread to thread, so SINGLE_ISSUER and DEFER_TASKRUN are out, and so
 * is a registered ring descriptor (all three tie the ring to one thread). COOP_TASKRUN saves the
 * interrupt of the submitting thread; TASKRUN_FLAG tells us when a system call is needed to see
 * completions. If a queue is handed on with reads on the device, their completions run in the old
 * thread when it next enters the kernel, a timer tick at the latest.
 *
 * SQEs never run out: there are at least as many as ops. All reads but those that found no room to
 * be registered go to the one registered buffer.
 */
#include "tiers/cold/io_private.h"

#include "alloc/check.h"
#include "alloc/heap.h"

#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <string.h>

#define REAP_BATCH 32

struct io_ring {
	struct io_uring ring;
	bool registered; /* const after open: the buffers are */
};

static int ring_init(unsigned entries, struct io_uring *ring)
{
	static const unsigned flags[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0, /* before 5.19 */
	};
	int rc = -EINVAL;
	for (unsigned i = 0; rc == -EINVAL && i < sizeof(flags) / sizeof(flags[0]); i++)
		rc = io_uring_queue_init(entries, ring, flags[i]);
	if (rc)
		return rc;
	if (!(ring->features & IORING_FEAT_EXT_ARG)) {
		/* Without it a wait with a time-out costs an entry of the ring. */
		io_uring_queue_exit(ring);
		return -EOPNOTSUPP;
	}
	io_uring_ring_dontfork(ring);
	return 0;
}

int io_ring_probe(void)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	int rc = ring_init(2, &ring);
	if (rc)
		return rc;
	/* A filter may allow io_uring_setup and refuse io_uring_enter. */
	io_uring_prep_nop(io_uring_get_sqe(&ring));
	do
		rc = io_uring_submit_and_wait(&ring, 1);
	while (rc == -EINTR);
	if (rc >= 0)
		rc = io_uring_peek_cqe(&ring, &cqe);
	io_uring_queue_exit(&ring);
	return rc;
}

static int ring_open(struct io_queue *queue)
{
	struct io_engine *engine = queue->engine;
	struct io_ring *ring = heap_zalloc(engine->heap, 1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	int rc = ring_init(queue->depth, &ring->ring);
	if (rc) {
		heap_free(engine->heap, ring);
		return rc;
	}
	struct iovec buffers = {.iov_base = queue->buffers, .iov_len = queue->reserved};
	rc = io_uring_register_buffers(&ring->ring, &buffers, 1);
	ring->registered = rc == 0;
	if (rc && !atomic_exchange(&engine->unregistered, true))
		io_notice(engine,
			  "cold reads: buffers cannot be registered with io_uring (%s), each read "
			  "costs some "
			  "more CPU; raise the limit of locked memory (ulimit -l)",
			  strerror(-rc));
	queue->ring = ring;
	return 0;
}

static void ring_close(struct io_queue *queue)
{
	/* If the ring is broken, the kernel holds the pages of what is still on the device by
	 * itself. */
	io_uring_queue_exit(&queue->ring->ring);
	heap_free(queue->engine->heap, queue->ring);
	queue->ring = NULL;
}

static void ring_send(struct io_queue *queue, struct io_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring->ring);
	check(sqe);
	char *to = op->to + op->done;
	unsigned bytes = op->bytes - op->done;
	if (queue->ring->registered)
		io_uring_prep_read_fixed(sqe, op->fd, to, bytes, op->offset + op->done, 0);
	else
		io_uring_prep_read(sqe, op->fd, to, bytes, op->offset + op->done);
	io_uring_sqe_set_data(sqe, op);
}

/* 0 for what another try may mend. */
static int ring_error(int rc)
{
	if (rc == -EAGAIN || rc == -EBUSY)
		sched_yield(); /* no memory for requests just now, or completions to be reaped first
				*/
	else if (rc != -EINTR && rc < 0)
		return rc;
	return 0;
}

static int ring_flush(struct io_queue *queue)
{
	if (io_uring_sq_ready(&queue->ring->ring) == 0)
		return 0;
	return ring_error(io_uring_submit(&queue->ring->ring));
}

static void ring_reap(struct io_queue *queue)
{
	struct io_uring *ring = &queue->ring->ring;
	struct io_uring_cqe *cqes[REAP_BATCH];
	unsigned n;
	do {
		n = io_uring_peek_batch_cqe(ring, cqes, REAP_BATCH);
		for (unsigned i = 0; i < n; i++) {
			struct io_op *op = io_uring_cqe_get_data(cqes[i]);
			ssize_t moved = op->ops->read_done(op->ops, op->fd, op->to + op->done,
							   cqes[i]->res, op->offset + op->done);
			int rc = io_op_moved(op, moved);
			if (rc > 0 && op->read)
				ring_send(queue, op);
			else
				io_op_done(queue, op, rc);
		}
		io_uring_cq_advance(ring, n);
	} while (n == REAP_BATCH);
}

static int ring_wait(struct io_queue *queue, int64_t timeout_ns)
{
	struct io_uring *ring = &queue->ring->ring;
	struct io_uring_cqe *cqe;
	if (timeout_ns < 0)
		return ring_error(io_uring_submit_and_wait(ring, 1));
	struct __kernel_timespec timeout = {.tv_sec = timeout_ns / 1000000000,
					    .tv_nsec = timeout_ns % 1000000000};
	int rc = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL);
	return rc == -ETIME ? rc : ring_error(rc);
}

static int ring_watch(struct io_queue *queue)
{
	return io_uring_register_eventfd(&queue->ring->ring, queue->event_fd);
}

const struct io_backend io_backend_ring = {
	.name = "uring",
	.open = ring_open,
	.close = ring_close,
	.send = ring_send,
	.flush = ring_flush,
	.reap = ring_reap,
	.wait = ring_wait,
	.watch = ring_watch,
};
