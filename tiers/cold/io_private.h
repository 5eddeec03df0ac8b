/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What io_queue.c (states of reads, buffers), io_ring.c (io_uring) and io_pool.c (threads) share.
 *
 * The queue decides which read gets an op and a buffer; a back end only moves ops to the device and
 * back: it is given an op (send), told to get going (flush), asked to wait, and hands every op back
 * through io_op_done exactly once, in the owner's thread.
 */
#ifndef TIERS_COLD_IO_PRIVATE_H
#define TIERS_COLD_IO_PRIVATE_H

#include "tiers/cold/io.h"

#include <pthread.h>

struct io_ring;
struct io_seat;

#define IO_RETRIES 64u /* times that a read which made no progress (EINTR, EAGAIN) is sent again   \
			*/

enum io_state {
	IO_IDLE = 0,
	IO_WAITING,  /* in queue->waiting */
	IO_DEVICE,   /* ops[read->op] is its own */
	IO_FINISHED, /* in queue->finished */
	IO_GIVEN,    /* the caller's, with a buffer */
};

/* A read on the device. The owner's but for what a pool thread is said to touch. */
struct io_op {
	struct io_read *read; /* NULL: cancelled, only the buffer is awaited */
	const struct file_ops *ops;
	struct io_seat *seat; /* pool: where it goes when done */
	struct io_op *next;   /* pool: in the pool's list, then in the seat's; under their locks */
	char *to;
	uint64_t offset;
	int fd;
	uint32_t bytes; /* asked for, rounded outwards */
	uint32_t need;  /* less than this is a short read */
	uint32_t done;  /* moved so far; pool: the thread's until it is done */
	uint32_t align;
	uint32_t first, units; /* of the buffer */
	uint32_t retries;
	int result;        /* pool: 0 or -errno */
	_Atomic bool skip; /* pool: cancelled before a thread took it */
};

struct io_list {
	struct io_read *head, *tail;
	unsigned count;
};

struct io_backend {
	const char *name;
	int (*open)(struct io_queue *queue);
	/* Nothing is on the device, or the back end is broken. */
	void (*close)(struct io_queue *queue);
	void (*send)(struct io_queue *queue, struct io_op *op);
	/* 0, or -errno: nothing more can be sent or received, ever. */
	int (*flush)(struct io_queue *queue);
	/* Takes back what is done, without a wait or a system call where possible. */
	void (*reap)(struct io_queue *queue);
	/* Flushes, then waits until something is done or timeout_ns (< 0: for ever) has passed; may
	 * return early. 0, -ETIME, or as flush. */
	int (*wait)(struct io_queue *queue, int64_t timeout_ns);
	/* Makes event_fd readable whenever something is done from now on. */
	int (*watch)(struct io_queue *queue);
};

extern const struct io_backend io_backend_ring, io_backend_pool;

struct io_queue {
	struct io_engine *engine;         /* const after open */
	const struct io_backend *backend; /* const after open */
	struct io_ring *ring;             /* const after open; the back end's */
	struct io_seat *seat;             /* const after open; the back end's */
	char *buffers;                    /* const after open */
	size_t reserved;                  /* const after open: of address space at buffers */
	uint64_t charged;                 /* const after open: bytes taken from the budget */
	unsigned depth;                   /* const after open: ops */
	uint32_t units;                   /* const after open: IO_UNITs in buffers */
	uint32_t units_free;
	uint32_t lowest; /* no unit below it is free */
	uint64_t *taken; /* a bit for each unit */
	struct io_op *ops;
	uint32_t *free_ops; /* a stack of indices into ops */
	unsigned free_ops_count;
	unsigned cancelled; /* ops whose read was cancelled */
	struct io_list waiting, finished;
	int event_fd; /* -1 until asked for */
	int broken;   /* 0, or the -errno of the back end */
};

struct io_engine {
	struct heap *heap;     /* const after open */
	struct budget *budget; /* const after open */
	void (*log)(void *context, const char *line);
	void *log_context;
	unsigned threads_wanted; /* const after open */
	bool fall_back;          /* const after open: "auto" */
	_Atomic bool uring;      /* queues to be opened use io_uring */
	_Atomic bool buffered;
	_Atomic bool unregistered; /* said that buffers could not be registered */
	_Atomic uint64_t reads, read_bytes, errors;
	_Atomic unsigned queues;
	struct io_pool *pool; /* under pool_lock until set, then const */
	pthread_mutex_t pool_lock;
};

__attribute__((format(printf, 2, 3))) void io_notice(const struct io_engine *engine,
						     const char *format, ...);
/* From now on queues are opened with the pool; says once why. */
void io_engine_fall_back(struct io_engine *engine, int error);
/* The engine's pool, started at the first call. -ENOMEM, -EAGAIN. */
int io_engine_pool(struct io_engine *engine, struct io_pool **pool);

/* 0, or why io_uring cannot be used here. */
int io_ring_probe(void);

int io_pool_open(struct io_engine *engine, unsigned threads, struct io_pool **pool);
void io_pool_close(struct io_engine *engine, struct io_pool **pool);

static inline unsigned io_on_device(const struct io_queue *queue)
{
	return queue->depth - queue->free_ops_count;
}

/* The op's outcome, 0 or -errno, in the owner's thread. The op is free afterwards. */
void io_op_done(struct io_queue *queue, struct io_op *op, int result);

/* What a transfer of an op that answered `moved` (bytes or -errno) means: 1 = send the rest, 0 =
 * all is there, -errno = failed for good. Advances op->done. */
int io_op_moved(struct io_op *op, ssize_t moved);

#endif
