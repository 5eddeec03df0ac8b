/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues: requests submitted and polled for. What memory can answer is done at submission; the rest
 * waits for the device in the queue's runner, and writes of durable spaces then for the log. One descriptor tells that there is something to poll
 * for: an epoll set of the runner's device descriptor and an event counter for what is done already.
 */
#include "tiers/durable.h"
#include "tiers/request.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define UNDER_WAY_MAX 65536u

struct thermo_queue {
	struct thermo *cache;
	struct runner *runner;
	struct thermo_request *ready, *ready_tail;   /* to be polled, linked by _next */
	struct thermo_request *logged;               /* wait for the log, linked by _next */
	struct log_watch watch;                      /* of the log, while some do */
	uint32_t under_way; /* submitted and not polled */
	int event_fd;       /* readable while some are ready; the log makes it so, too */
	int epoll_fd;
	bool signalled;
};

static void make_ready(struct thermo_queue *q, struct thermo_request *r)
{
	r->_state &= ~REQUEST_LOGGED;
	r->_private = NULL;
	r->_next = NULL;
	if (q->ready)
		q->ready_tail->_next = r;
	else
		q->ready = r;
	q->ready_tail = r;
}

/* What the runner is done with, and what the log is: is ready, or has to wait. */
static void sift(struct thermo_queue *q)
{
	struct thermo_request **at = &q->logged, *r;
	while ((r = runner_done(q->runner))) {
		if (!(r->_state & REQUEST_LOGGED)) {
			make_ready(q, r);
			continue;
		}
		r->_next = q->logged;
		q->logged = r;
	}
	while ((r = *at)) {
		int rc = durable_state(q->cache, r);
		if (rc == THERMO_PENDING) {
			at = &r->_next;
			continue;
		}
		*at = r->_next;
		if (rc != THERMO_OK)
			r->status = rc;
		make_ready(q, r);
	}
}

/* The last position that a request waits for; 0: none does. */
static uint64_t logged_end(const struct thermo_queue *q)
{
	uint64_t end = 0;
	for (const struct thermo_request *r = q->logged; r; r = r->_next)
		if (end < durable_end(r))
			end = durable_end(r);
	return end;
}

/* The log's signal is taken first: what it says after that is seen later. */
static void take_signal(struct thermo_queue *q)
{
	uint64_t count;
	q->signalled = false;
	if (read(q->event_fd, &count, sizeof(count)) < 0)
		return; /* nobody has signalled */
}

static void signal_done(struct thermo_queue *q)
{
	bool wanted = q->ready != NULL;
	uint64_t count = 1;
	if (wanted == q->signalled)
		return;
	ssize_t n = wanted ? write(q->event_fd, &count, sizeof(count))
			   : read(q->event_fd, &count, sizeof(count));
	if (n == (ssize_t)sizeof(count))
		q->signalled = wanted;
}

int thermo_queue_open(struct thermo *c, struct thermo_queue **out)
{
	if (!c || !out)
		return -EINVAL;
	if (cache_forked(c))
		return -ECHILD;
	struct thermo_queue *q = heap_zalloc(c->heap, 1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->cache = c;
	uint64_t deadline = cache_deadline(c);
	int rc = runner_open(c, &q->runner);
	while (rc == -ENOMEM && migrate_make_memory(c, deadline))
		rc = runner_open(c, &q->runner);
	if (rc)
		goto free_queue;
	q->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rc = -errno;
	if (q->event_fd < 0)
		goto close_runner;
	q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = -errno;
	if (q->epoll_fd < 0)
		goto close_event;
	struct epoll_event event = {.events = EPOLLIN};
	rc = epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, q->event_fd, &event) ? -errno : 0;
	if (rc == 0 && q->runner->io &&
	    epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, cold_io_fd(q->runner->io), &event))
		rc = -errno;
	if (rc)
		goto close_epoll;
	atomic_fetch_add(&c->queues, 1);
	*out = q;
	return 0;
close_epoll:
	close(q->epoll_fd);
close_event:
	close(q->event_fd);
close_runner:
	runner_close(&q->runner);
free_queue:
	heap_free(c->heap, q);
	return rc;
}

int thermo_queue_close(struct thermo_queue **queue)
{
	if (!queue || !*queue)
		return -EINVAL;
	struct thermo_queue *q = *queue;
	struct thermo *c = q->cache;
	if (cache_forked(c))
		return -ECHILD;
	if (q->under_way)
		return -EBUSY;
	if (c->log)
		log_unwatch(c->log, &q->watch);
	close(q->epoll_fd);
	close(q->event_fd);
	runner_close(&q->runner);
	heap_free(c->heap, q);
	*queue = NULL;
	atomic_fetch_sub(&c->queues, 1);
	return 0;
}

int thermo_submit(struct thermo_queue *q, struct thermo_request *const *requests, size_t n)
{
	if (!q || (n && !requests))
		return -EINVAL;
	if (cache_forked(q->cache))
		return -ECHILD;
	if (n > UNDER_WAY_MAX - q->under_way)
		return -EAGAIN;
	for (size_t i = 0; i < n; i++) {
		if (!requests[i] || (requests[i]->space && requests[i]->space->cache != q->cache))
			return -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		struct thermo_request *r = requests[i];
		r->_private = NULL;
		r->_state = 0;
		int rc = request_check(r);
		if (rc)
			runner_finish(q->runner, r, rc);
		else
			runner_start(q->runner, r);
	}
	q->under_way += (uint32_t)n;
	runner_submit(q->runner);
	sift(q);
	signal_done(q);
	if (q->logged)
		log_watch(q->cache->log, &q->watch, logged_end(q), q->event_fd);
	return 0;
}

/* Carries on what waits for a device, for the time at most. false: nothing does. */
static bool drive(struct thermo_queue *q, int64_t timeout_ns)
{
	struct thermo *c = q->cache;
	bool alone = !c->options.background_threads; /* nobody else syncs */
	if (!q->runner->flights && !q->logged)
		return false;
	if (q->runner->flights)
		runner_wait(q->runner, q->logged ? 0 : timeout_ns);
	if (q->logged && (timeout_ns || alone))
		log_wait(c->log, logged_end(q), LOG_SYNCED, timeout_ns && !alone ? timeout_ns : -1);
	return true;
}

int thermo_poll(struct thermo_queue *q, struct thermo_request **done, size_t max,
		int64_t timeout_ns)
{
	if (!q || !done || max > INT32_MAX)
		return -EINVAL;
	if (cache_forked(q->cache))
		return -ECHILD;
	uint64_t began = timeout_ns > 0 ? monotonic_ns() : 0;
	take_signal(q);
	if (!q->runner->flights && q->runner->io)
		runner_wait(q->runner, 0); /* a signal that came after its read was collected */
	sift(q);
	for (;;) {
		int64_t left = timeout_ns;
		if (timeout_ns > 0) {
			uint64_t spent = monotonic_ns() - began;
			left = spent < (uint64_t)timeout_ns ? timeout_ns - (int64_t)spent : 0;
		}
		if (!drive(q, q->ready ? 0 : left))
			break;
		sift(q);
		if (q->ready || left == 0)
			break;
	}
	size_t n = 0;
	while (n < max && q->ready) {
		done[n] = q->ready;
		q->ready = q->ready->_next;
		done[n++]->_next = NULL;
	}
	if (q->logged)
		log_watch(q->cache->log, &q->watch, logged_end(q), q->event_fd);
	q->under_way -= (uint32_t)n;
	signal_done(q);
	return (int)n;
}

int thermo_event_fd(struct thermo_queue *q)
{
	return q ? q->epoll_fd : -EINVAL;
}

int thermo_cancel(struct thermo_queue *q, struct thermo_request *request)
{
	if (!q || !request)
		return -EINVAL;
	if (cache_forked(q->cache))
		return -ECHILD;
	if (!runner_cancel(q->runner, request))
		return -EALREADY;
	request->status = THERMO_CANCELLED;
	q->under_way--;
	return THERMO_OK;
}

/* ---- Hints ---- */

#define HINTS 16 /* keys that are read together */
#define HINT_WAIT_NS UINT64_C(10000000) /* for room in DRAM, of a whole call ... */
#define HINT_WORK_NS UINT64_C(10000000000) /* ... and without threads */

/* Where the key is: a warm record is left to the migrator. true: it may be cold. */
static bool hint_memory(struct thermo *c, const struct key *key)
{
	struct found f;
	epoch_enter();
	bool here = c->lookup->find(c, key, &f);
	bool warm = here && place_tier(f.place) == THERMO_WARM;
	epoch_exit();
	if (warm)
		migrate_candidate(&c->hinted, key->hash);
	return !here && c->cold;
}

static int hint_some(struct thermo_space *space, const void *const *keys, const size_t *lens,
		     size_t n, uint64_t until, struct runner **runner)
{
	struct thermo *c = space->cache;
	struct thermo_request requests[HINTS] = {{0}};
	int rc = THERMO_OK;
	for (size_t i = 0; i < n; i++) {
		struct key key = key_make(space, keys[i], lens[i], 0);
		if (!hint_memory(c, &key))
			continue;
		if (!*runner)
			*runner = runner_take(c, true);
		if (!*runner) {
			rc = -ENOMEM;
			break;
		}
		requests[i] = (struct thermo_request){
			.space = space,
			.op = OP_HINT,
			.key = keys[i],
			.key_len = (uint32_t)lens[i],
			.offset = until,
		};
		runner_start_cold(*runner, &requests[i]);
	}
	if (*runner)
		runner_finish_all(*runner);
	return rc;
}

int thermo_hint(struct thermo_space *space, const void *const *keys, const size_t *key_lens,
		size_t n)
{
	if (!space || (n && (!keys || !key_lens)))
		return -EINVAL;
	struct thermo *c = space->cache;
	if (cache_forked(c))
		return -ECHILD;
	if (atomic_load(&space->state) != SPACE_OPEN)
		return -ENOENT;
	for (size_t i = 0; i < n; i++)
		if (!keys[i] || !key_lens[i] || key_lens[i] > THERMO_KEY_MAX)
			return -EINVAL;
	/* Who has no threads makes the room himself, runs and all. */
	uint64_t until = monotonic_ns() + (c->threads ? HINT_WAIT_NS : HINT_WORK_NS);
	struct runner *runner = NULL;
	int rc = THERMO_OK;
	for (size_t from = 0; from < n && rc == THERMO_OK; from += HINTS) {
		/* The list of hints is finite: whoever has many helps. */
		if (migrate_hints_waiting(c) > RING / 2)
			migrate_work(c);
		rc = hint_some(space, keys + from, key_lens + from,
			       n - from < HINTS ? n - from : HINTS, until, &runner);
	}
	if (runner)
		runner_give(runner);
	migrate_kick(c);
	return rc;
}
