/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end of a queue: threads that call pread, for where io_uring is refused. One pool an engine,
 * shared by its queues, started with the first of them. All signals are blocked in its threads.
 *
 * An op goes  batch (the owner's) -> pool list -> a thread -> seat (where its queue collects it).
 * A queue that is about to wait without a limit reads the last op of its batch itself: a lone read
 * then costs no hand-over at all.
 *
 * Locks: pool->lock and seat->lock are leaves and never held together.
 */
#include "tiers/cold/io_private.h"

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/heap.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES ((size_t)512 << 10)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_BYTES ((size_t)512 << 10)
#endif
#endif
#ifndef STACK_BYTES
#define STACK_BYTES ((size_t)64 << 10) /* beside the thread's static TLS */
#endif

struct io_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct io_op *head, *tail; /* under lock */
	unsigned idle;             /* under lock: threads waiting for work */
	bool stop;                 /* under lock */
	unsigned threads;          /* const after open */
	uint64_t charged;          /* const after open */
	pthread_t *thread;         /* const after open */
};

/* A queue's side of the pool. */
struct io_seat {
	struct io_pool *pool;             /* const after open */
	struct io_op *batch, *batch_tail; /* the owner's: sent, not flushed; newest last */
	unsigned batch_count;
	unsigned awaited; /* the owner's: handed to the pool and not collected */
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct io_op *head; /* under lock: done */
	bool sleeping;      /* under lock: the owner waits for `done` */
	int event_fd;       /* under lock: -1, or written when the list begins */
};

static int op_read(struct io_op *op)
{
	int rc;
	do
		rc = io_op_moved(op, op->ops->pread(op->ops, op->fd, op->to + op->done,
						    op->bytes - op->done, op->offset + op->done));
	while (rc > 0 && !atomic_load_explicit(&op->skip, memory_order_relaxed));
	return rc > 0 ? -ECANCELED : rc;
}

/* After the unlock the queue may be closed: the seat is not touched again. */
static void seat_put(struct io_seat *seat, struct io_op *op)
{
	uint64_t one = 1;
	pthread_mutex_lock(&seat->lock);
	bool first = !seat->head;
	op->next = seat->head;
	seat->head = op;
	if (seat->sleeping)
		pthread_cond_signal(&seat->done);
	if (first && seat->event_fd >= 0) {
		ssize_t put = write(seat->event_fd, &one, sizeof(one));
		(void)put; /* EAGAIN: it is readable already */
	}
	pthread_mutex_unlock(&seat->lock);
}

static void *pool_thread(void *argument)
{
	struct io_pool *pool = argument;
	pthread_setname_np(pthread_self(), "thermo-read");
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while (!pool->head && !pool->stop) {
			pool->idle++;
			pthread_cond_wait(&pool->work, &pool->lock);
			pool->idle--;
		}
		if (!pool->head)
			break;
		struct io_op *op = pool->head;
		pool->head = op->next;
		if (!pool->head)
			pool->tail = NULL;
		pthread_mutex_unlock(&pool->lock);
		op->result = atomic_load_explicit(&op->skip, memory_order_relaxed) ? -ECANCELED
										   : op_read(op);
		seat_put(op->seat, op);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* As many as can be had; at least one. */
static int pool_start(struct io_pool *pool, unsigned threads)
{
	pthread_attr_t attributes;
	sigset_t all, old;
	int rc = -pthread_attr_init(&attributes);
	if (rc)
		return rc;
	long least = sysconf(_SC_THREAD_STACK_MIN); /* with static TLS, so not a constant */
	pthread_attr_setstacksize(&attributes, STACK_BYTES + (least > 0 ? (size_t)least : 0));
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	while (rc == 0 && pool->threads < threads) {
		rc = -pthread_create(&pool->thread[pool->threads], &attributes, pool_thread, pool);
		if (rc == 0)
			pool->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	return pool->threads > 0 ? 0 : rc;
}

int io_pool_open(struct io_engine *engine, unsigned threads, struct io_pool **out)
{
	struct io_pool *pool = heap_zalloc(engine->heap, 1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	int rc = -ENOMEM;
	pool->thread = heap_zalloc(engine->heap, threads, sizeof(*pool->thread));
	if (!pool->thread)
		goto free_pool;
	if (!budget_take(engine->budget, threads * STACK_BYTES))
		goto free_threads;
	pool->charged = threads * STACK_BYTES;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	rc = pool_start(pool, threads);
	if (rc)
		goto destroy_lock;
	if (pool->threads < threads)
		io_notice(engine,
			  "cold reads: only %u of %u pread threads could be started; raise the "
			  "limit of "
			  "processes (ulimit -u)",
			  pool->threads, threads);
	*out = pool;
	return 0;
destroy_lock:
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	budget_give(engine->budget, pool->charged);
free_threads:
	heap_free(engine->heap, pool->thread);
free_pool:
	heap_free(engine->heap, pool);
	return rc;
}

void io_pool_close(struct io_engine *engine, struct io_pool **out)
{
	struct io_pool *pool = *out;
	pthread_mutex_lock(&pool->lock);
	check(!pool->head);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads; i++)
		pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	budget_give(engine->budget, pool->charged);
	heap_free(engine->heap, pool->thread);
	heap_free(engine->heap, pool);
	*out = NULL;
}

static int pool_open(struct io_queue *queue)
{
	struct io_pool *pool;
	int rc = io_engine_pool(queue->engine, &pool);
	if (rc)
		return rc;
	struct io_seat *seat = heap_zalloc(queue->engine->heap, 1, sizeof(*seat));
	if (!seat)
		return -ENOMEM;
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&seat->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&seat->lock, NULL);
	seat->pool = pool;
	seat->event_fd = -1;
	queue->seat = seat;
	return 0;
}

static void pool_close(struct io_queue *queue)
{
	struct io_seat *seat = queue->seat;
	check(!seat->batch && seat->awaited == 0);
	pthread_cond_destroy(&seat->done);
	pthread_mutex_destroy(&seat->lock);
	heap_free(queue->engine->heap, seat);
	queue->seat = NULL;
}

static void pool_send(struct io_queue *queue, struct io_op *op)
{
	struct io_seat *seat = queue->seat;
	op->seat = seat;
	op->next = NULL;
	if (seat->batch_tail)
		seat->batch_tail->next = op;
	else
		seat->batch = op;
	seat->batch_tail = op;
	seat->batch_count++;
}

static int pool_flush(struct io_queue *queue)
{
	struct io_seat *seat = queue->seat;
	struct io_pool *pool = seat->pool;
	if (!seat->batch)
		return 0;
	pthread_mutex_lock(&pool->lock);
	if (pool->tail)
		pool->tail->next = seat->batch;
	else
		pool->head = seat->batch;
	pool->tail = seat->batch_tail;
	unsigned wake = seat->batch_count < pool->idle ? seat->batch_count : pool->idle;
	for (unsigned i = 0; i < wake; i++)
		pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	seat->awaited += seat->batch_count;
	seat->batch = seat->batch_tail = NULL;
	seat->batch_count = 0;
	return 0;
}

static void pool_collect(struct io_queue *queue, struct io_op *list)
{
	/* The list is newest first; callers see what was done first, first. */
	struct io_op *ordered = NULL;
	while (list) {
		struct io_op *next = list->next;
		list->next = ordered;
		ordered = list;
		list = next;
	}
	while (ordered) {
		struct io_op *op = ordered;
		ordered = op->next;
		check(queue->seat->awaited > 0);
		queue->seat->awaited--;
		io_op_done(queue, op, op->result);
	}
}

static void pool_reap(struct io_queue *queue)
{
	struct io_seat *seat = queue->seat;
	if (seat->awaited == 0)
		return;
	pthread_mutex_lock(&seat->lock);
	struct io_op *list = seat->head;
	seat->head = NULL;
	pthread_mutex_unlock(&seat->lock);
	pool_collect(queue, list);
}

/* The last op of the batch, taken out of it. */
static struct io_op *batch_take(struct io_seat *seat)
{
	struct io_op *op = seat->batch_tail;
	if (seat->batch == op) {
		seat->batch = seat->batch_tail = NULL;
	} else {
		struct io_op *before = seat->batch;
		while (before->next != op)
			before = before->next;
		before->next = NULL;
		seat->batch_tail = before;
	}
	seat->batch_count--;
	return op;
}

static struct timespec deadline_in(int64_t timeout_ns)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += timeout_ns / 1000000000;
	at.tv_nsec += timeout_ns % 1000000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	return at;
}

static int pool_wait(struct io_queue *queue, int64_t timeout_ns)
{
	struct io_seat *seat = queue->seat;
	struct io_op *own = timeout_ns < 0 && seat->batch ? batch_take(seat) : NULL;
	pool_flush(queue);
	if (own) {
		bool skip = atomic_load_explicit(&own->skip, memory_order_relaxed);
		io_op_done(queue, own, skip ? -ECANCELED : op_read(own));
		return 0;
	}
	int rc = 0;
	struct timespec deadline = deadline_in(timeout_ns < 0 ? 0 : timeout_ns);
	pthread_mutex_lock(&seat->lock);
	seat->sleeping = true;
	while (!seat->head && rc == 0)
		rc = timeout_ns < 0 ? pthread_cond_wait(&seat->done, &seat->lock)
				    : pthread_cond_timedwait(&seat->done, &seat->lock, &deadline);
	seat->sleeping = false;
	struct io_op *list = seat->head;
	seat->head = NULL;
	pthread_mutex_unlock(&seat->lock);
	pool_collect(queue, list);
	return rc ? -ETIME : 0;
}

static int pool_watch(struct io_queue *queue)
{
	struct io_seat *seat = queue->seat;
	pthread_mutex_lock(&seat->lock);
	seat->event_fd = queue->event_fd;
	pthread_mutex_unlock(&seat->lock);
	return 0;
}

const struct io_backend io_backend_pool = {
	.name = "pread",
	.open = pool_open,
	.close = pool_close,
	.send = pool_send,
	.flush = pool_flush,
	.reap = pool_reap,
	.wait = pool_wait,
	.watch = pool_watch,
};
