/* SPDX-License-Identifier: Apache-2.0 */
/* Requests under way, and the synchronous calls built on them. See request.h. */
#include "tiers/durable.h"
#include "tiers/request.h"

#include <errno.h>

#define DEPTH 64 /* device reads at a time */

int runner_open(struct thermo *c, struct runner **out)
{
	struct runner *r = heap_zalloc(c->heap, 1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->cache = c;
	if (c->cold) {
		int rc = cold_io_open(c->cold, DEPTH, &r->io);
		if (rc) {
			heap_free(c->heap, r);
			return rc;
		}
	}
	*out = r;
	return 0;
}

void runner_close(struct runner **runner)
{
	struct runner *r = *runner;
	while (r->airborne)
		runner_cancel(r, r->airborne->request);
	while (r->idle) {
		struct flight *flight = r->idle;
		r->idle = flight->next;
		heap_free(r->cache->heap, flight);
	}
	if (r->io)
		cold_io_close(&r->io);
	heap_free(r->cache->heap, r);
	*runner = NULL;
}

/* An idle one; or NULL, and whether there is one to wait for. */
static struct runner *take_idle(struct thermo *c, bool *others)
{
	pthread_mutex_lock(&c->runner_lock);
	struct runner *r = c->runners;
	if (r) {
		c->runners = r->next;
		c->runners_out++;
	}
	*others = c->runners_out != 0;
	pthread_mutex_unlock(&c->runner_lock);
	return r;
}

static void wait_for_idle(struct thermo *c)
{
	pthread_mutex_lock(&c->runner_lock);
	while (!c->runners && c->runners_out)
		pthread_cond_wait(&c->runner_idle, &c->runner_lock);
	pthread_mutex_unlock(&c->runner_lock);
}

struct runner *runner_take(struct thermo *c, bool wait)
{
	uint64_t deadline = 0;
	for (;;) {
		bool others;
		struct runner *r = take_idle(c, &others);
		if (!r && runner_open(c, &r) == 0) {
			pthread_mutex_lock(&c->runner_lock);
			c->runners_out++;
			pthread_mutex_unlock(&c->runner_lock);
		}
		if (r) {
			r->next = NULL;
			return r;
		}
		/* No memory for its buffers: whoever holds one gives it back soon; else the pool gives some. */
		if (!deadline)
			deadline = cache_deadline(c);
		if (wait && others)
			wait_for_idle(c);
		else if (!migrate_make_memory(c, deadline))
			return NULL;
	}
}

void runner_give(struct runner *r)
{
	struct thermo *c = r->cache;
	check(!r->airborne && !r->done_head);
	pthread_mutex_lock(&c->runner_lock);
	c->runners_out--;
	r->next = c->runners;
	c->runners = r;
	pthread_cond_signal(&c->runner_idle);
	pthread_mutex_unlock(&c->runner_lock);
}

void runner_finish(struct runner *r, struct thermo_request *request, int status)
{
	request->status = status;
	request->_next = NULL;
	if (!(request->_state & REQUEST_LOGGED))
		request->_private = NULL;
	if (r->done_tail)
		r->done_tail->_next = request;
	else
		r->done_head = request;
	r->done_tail = request;
}

struct thermo_request *runner_done(struct runner *r)
{
	struct thermo_request *request = r->done_head;
	if (request) {
		r->done_head = request->_next;
		if (!r->done_head)
			r->done_tail = NULL;
		request->_next = NULL;
	}
	return request;
}

static struct flight *flight_take(struct runner *r)
{
	struct flight *f = r->idle;
	if (f)
		r->idle = f->next;
	else
		f = heap_alloc(r->cache->heap, sizeof(*f));
	if (!f)
		return NULL;
	memset(f, 0, sizeof(*f));
	f->next = r->airborne;
	if (f->next)
		f->next->prev = f;
	r->airborne = f;
	r->flights++;
	return f;
}

static void flight_end(struct runner *r, struct flight *f)
{
	if (f->prev)
		f->prev->next = f->next;
	else
		r->airborne = f->next;
	if (f->next)
		f->next->prev = f->prev;
	r->flights--;
	atomic_fetch_sub(&f->request->space->calls, 1);
	f->next = r->idle;
	r->idle = f;
}

/* A cold read has ended: what it was for goes on. */
static void carry_on(struct runner *r, struct flight *f)
{
	struct thermo_request *request = f->request;
	request->_private = NULL; /* the log's from here on */
	int rc = request_finish(r->cache, request, &f->get, f->stripe);
	cold_get_release(r->io, &f->get);
	flight_end(r, f);
	if (rc == REQUEST_COLD)
		runner_start_cold(r, request);
	else if (rc == REQUEST_AGAIN)
		runner_start(r, request);
	else
		runner_finish(r, request, rc);
}

void runner_start_cold(struct runner *r, struct thermo_request *request)
{
	/* Counted first, then looked at: whoever drops the space does it the other way round. */
	atomic_fetch_add(&request->space->calls, 1);
	bool open = atomic_load(&request->space->state) == SPACE_OPEN;
	struct flight *f = open ? flight_take(r) : NULL;
	if (!f) {
		atomic_fetch_sub(&request->space->calls, 1);
		runner_finish(r, request, open ? -ENOMEM : -ENOENT);
		return;
	}
	struct key key = key_make(request->space, request->key, request->key_len, 0);
	f->request = request;
	request->_private = f;
	request->status = THERMO_PENDING;
	f->get.key = request->key;
	f->get.key_len = request->key_len;
	f->get.hash = key.hash;
	f->get.space = key.space;
	f->get.user = f;
	/* Read before the runs are pinned: whatever is unlinked later shows. */
	f->stripe = stripe_read(r->cache, key.hash);
	if (cold_get_start(r->io, &f->get) == 1)
		carry_on(r, f);
}

void runner_start(struct runner *r, struct thermo_request *request)
{
	int rc;
	do {
		rc = request_begin(r->cache, request);
	} while (rc == REQUEST_AGAIN);
	if (rc == REQUEST_COLD)
		runner_start_cold(r, request);
	else
		runner_finish(r, request, rc);
}

void runner_submit(struct runner *r)
{
	if (r->io && r->flights)
		cold_io_submit(r->io);
}

void runner_read(struct runner *r, struct cold_get *get)
{
	struct cold_get *done;
	check(!r->flights);
	if (cold_get_start(r->io, get) == 1)
		return;
	cold_io_submit(r->io);
	while (cold_io_wait(r->io, &done, 1, -1) == 0)
		;
}

void runner_wait(struct runner *r, int64_t timeout_ns)
{
	struct cold_get *done[32];
	unsigned n = cold_io_wait(r->io, done, 32, timeout_ns);
	for (unsigned i = 0; i < n; i++)
		carry_on(r, done[i]->user);
	if (n)
		runner_submit(r);
}

bool runner_cancel(struct runner *r, struct thermo_request *request)
{
	struct flight *f = request->_private;
	if (!f || (request->_state & REQUEST_LOGGED))
		return false;
	cold_get_cancel(r->io, &f->get);
	flight_end(r, f);
	request->_private = NULL;
	return true;
}

/* Until nothing is airborne, or the deadline: what is left then is PENDING. */
static void run_out(struct runner *r, uint64_t began, int64_t deadline_ns)
{
	runner_submit(r);
	while (r->flights) {
		int64_t left = -1;
		if (deadline_ns >= 0) {
			uint64_t spent = monotonic_ns() - began;
			left = spent < (uint64_t)deadline_ns ? deadline_ns - (int64_t)spent : 0;
		}
		runner_wait(r, left);
		if (left == 0 && r->flights)
			break;
	}
	while (r->airborne) {
		struct thermo_request *request = r->airborne->request;
		runner_cancel(r, request);
		counter_add(&cache_shard(r->cache)->pending, 1);
		request->status = THERMO_PENDING;
	}
	while (runner_done(r))
		;
}

void runner_finish_all(struct runner *r)
{
	run_out(r, 0, -1);
}

/* Carries one request to its end, but for what the log has to do. */
static int run_unlogged(struct thermo_request *request)
{
	int rc = request_check(request);
	if (rc)
		return rc;
	struct thermo *c = request->space->cache;
	request->_private = NULL;
	request->_state = 0;
	do {
		rc = request_begin(c, request);
	} while (rc == REQUEST_AGAIN);
	if (rc != REQUEST_COLD)
		return rc;
	struct runner *r = runner_take(c, true);
	if (!r)
		return -ENOMEM;
	uint64_t began = monotonic_ns();
	runner_start_cold(r, request);
	run_out(r, began, -1);
	runner_give(r);
	return request->status;
}

static int run_one(struct thermo_request *request)
{
	request->status = run_unlogged(request);
	if (unlikely(request->_state & REQUEST_LOGGED))
		durable_settle(request->space->cache, request, 1);
	return request->status;
}

/* ---- Single keys ---- */

int runner_get(struct thermo_space *space, const void *key, size_t key_len, void *value,
	       size_t capacity, size_t *value_len)
{
	return thermo_get_range(space, key, key_len, 0, value, capacity, NULL, value_len);
}

int thermo_get(struct thermo_space *space, const void *key, size_t key_len, void *value,
	       size_t capacity, size_t *value_len)
{
	if (unlikely(!space))
		return -EINVAL;
	return space->get(space, key, key_len, value, capacity, value_len);
}

int thermo_get_range(struct thermo_space *space, const void *key, size_t key_len, uint64_t offset,
		     void *value, size_t capacity, size_t *copied, size_t *value_len)
{
	struct thermo_request r = {
		.space = space,
		.op = THERMO_OP_GET,
		.key = key,
		.key_len = key_len > THERMO_KEY_MAX ? 0 : (uint32_t)key_len,
		.value = value,
		.capacity = capacity,
		.offset = offset,
	};
	int rc = run_one(&r);
	bool ok = rc == THERMO_OK || rc == THERMO_TRUNCATED;
	if (value_len)
		*value_len = ok ? r.value_len : 0;
	if (copied) {
		size_t left = ok && offset < r.value_len ? r.value_len - offset : 0;
		*copied = left < capacity ? left : capacity;
	}
	return rc;
}

static struct thermo_request plain(struct thermo_space *space, enum thermo_op op, const void *key,
				   size_t key_len)
{
	return (struct thermo_request){
		.space = space,
		.op = (uint16_t)op,
		.key = key,
		.key_len = key_len > THERMO_KEY_MAX ? 0 : (uint32_t)key_len,
	};
}

int thermo_get_ref(struct thermo_space *space, const void *key, size_t key_len,
		   struct thermo_ref *ref)
{
	struct thermo_request r = plain(space, THERMO_OP_GET_REF, key, key_len);
	r.value = ref;
	return run_one(&r);
}

/* May a put with this time-to-live overwrite in place: does the new record not expire, and no log hear of it? */
static inline bool put_plain(const struct thermo_space *space, int64_t ttl_ms)
{
	return !space->durable &&
	       (ttl_ms == THERMO_TTL_NONE ||
	        (ttl_ms == THERMO_TTL_DEFAULT &&
		__atomic_load_n(&space->options.ttl_ms, __ATOMIC_RELAXED) <= 0));
}

int thermo_put(struct thermo_space *space, const void *key, size_t key_len, const void *value,
	       size_t value_len, int64_t ttl_ms)
{
	uint64_t version;
	if (likely(space && put_plain(space, ttl_ms)) &&
	    likely(space->cache->lookup->overwrite(space, key, key_len, value, value_len,
						   &version)))
		return THERMO_OK;
	struct thermo_request r = plain(space, THERMO_OP_PUT, key, key_len);
	r.value = (void *)(uintptr_t)value;
	r.value_len = value_len;
	r.ttl_ms = ttl_ms;
	return run_one(&r);
}

int thermo_delete(struct thermo_space *space, const void *key, size_t key_len)
{
	struct thermo_request r = plain(space, THERMO_OP_DELETE, key, key_len);
	return run_one(&r);
}

int thermo_remove(struct thermo_space *space, const void *key, size_t key_len)
{
	struct thermo_request r = plain(space, THERMO_OP_REMOVE, key, key_len);
	return run_one(&r);
}

int thermo_erase(struct thermo_space *space, const void *key, size_t key_len, int64_t timeout_ns)
{
	struct thermo_request r = plain(space, THERMO_OP_ERASE, key, key_len);
	r.ttl_ms = timeout_ns;
	return run_one(&r);
}

int thermo_touch(struct thermo_space *space, const void *key, size_t key_len, int64_t ttl_ms)
{
	struct thermo_request r = plain(space, THERMO_OP_TOUCH, key, key_len);
	r.ttl_ms = ttl_ms;
	return run_one(&r);
}

int thermo_exists(struct thermo_space *space, const void *key, size_t key_len,
		  struct thermo_info *info)
{
	struct thermo_request r = plain(space, THERMO_OP_EXISTS, key, key_len);
	r.value = info;
	return run_one(&r);
}

int thermo_cas(struct thermo_space *space, const void *key, size_t key_len, const void *value,
	       size_t value_len, int64_t ttl_ms, uint64_t expected, uint64_t *version)
{
	struct thermo_request r = plain(space, THERMO_OP_CAS, key, key_len);
	r.value = (void *)(uintptr_t)value;
	r.value_len = value_len;
	r.ttl_ms = ttl_ms;
	r.version = expected;
	int rc = run_one(&r);
	if (version && (rc == THERMO_OK || rc == THERMO_CONFLICT))
		*version = r.version;
	return rc;
}

/* ---- Batches ---- */

/* Up to PROBES gets of one cache: cold reads go out before DRAM is touched. */
static void get_group(struct thermo *c, struct thermo_request **group, unsigned n,
		      struct runner **runner)
{
	struct probe probes[PROBES];
	struct epoch_slot *begun = epoch_begin();
	unsigned absent = c->lookup->probe(c, group, n, probes);
	bool same = !absent || !c->cold;
	if (!same) {
		epoch_end(begun); /* starting reads may wait */
		unsigned stay = 0;
		for (unsigned i = 0; i < n; i++) {
			if (group[i]->status != LOOKUP_ABSENT) {
				probes[stay] = probes[i];
				group[stay++] = group[i];
				continue;
			}
			if (!*runner)
				*runner = runner_take(c, true);
			if (*runner)
				runner_start(*runner, group[i]); /* looks once more: it may have come */
			else
				group[i]->status = -ENOMEM;
		}
		n = stay;
		if (*runner)
			runner_submit(*runner);
		begun = epoch_begin();
	}
	unsigned open = c->lookup->fetch(c, group, n, probes, same);
	epoch_end(begun);
	if (likely(!open))
		return;
	for (unsigned i = 0; i < n; i++) {
		struct thermo_request *r = group[i];
		if (likely(r->status < LOOKUP_ABSENT))
			continue;
		if (r->status == LOOKUP_ABSENT && !c->cold) {
			counter_add(&cache_shard(c)->misses, 1);
			r->status = THERMO_MISS;
			continue;
		}
		if (!*runner)
			*runner = runner_take(c, true);
		if (*runner)
			runner_start(*runner, r);
		else
			r->status = -ENOMEM;
	}
}

/* A get or put that request_check would let pass, at less cost; false: ask it. */
static inline bool batch_sound(const struct thermo_request *r)
{
	return (r->op == THERMO_OP_GET ||
		(r->op == THERMO_OP_PUT && r->value_len <= OVERWRITE_MOST &&
		 r->ttl_ms >= THERMO_TTL_DEFAULT)) &&
	       r->space && r->key && r->value &&
	       r->key_len - 1 < THERMO_KEY_MAX &&
	       atomic_load_explicit(&r->space->ready, memory_order_relaxed) ==
		       atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

static int batch_check(struct thermo_request *requests, size_t n, enum thermo_op op)
{
	for (size_t i = 0; i < n; i++) {
		requests[i].op = (uint16_t)op;
		requests[i]._private = NULL;
		requests[i]._state = 0;
		requests[i].status = batch_sound(&requests[i]) ? 0 : request_check(&requests[i]);
		if (unlikely(requests[i].status == -ECHILD))
			return -ECHILD;
		if (requests[i].space && requests[0].space &&
		    requests[i].space->cache != requests[0].space->cache)
			return -EXDEV;
	}
	return 0;
}

int thermo_get_batch(struct thermo_request *requests, size_t n, int64_t deadline_ns)
{
	if (n && !requests)
		return -EINVAL;
	int rc = batch_check(requests, n, THERMO_OP_GET);
	if (rc || !n)
		return rc;
	uint64_t began = deadline_ns >= 0 ? monotonic_ns() : 0;
	struct runner *runner = NULL;
	struct thermo *c = NULL;
	for (size_t i = 0; i < n;) {
		struct thermo_request *group[PROBES];
		unsigned m = 0;
		for (; i < n && m < PROBES; i++) {
			struct thermo_request *r = &requests[i];
			if (unlikely(r->status))
				continue;
			r->tier = -1;
			c = r->space->cache;
			group[m++] = r;
		}
		if (m)
			get_group(c, group, m, &runner);
	}
	if (runner) {
		run_out(runner, began, deadline_ns);
		runner_give(runner);
	}
	return THERMO_OK;
}

/* Overwrites in place as many of the puts as come before the first that cannot be: how many those are. */
static size_t overwrite_group(struct thermo_request *requests, size_t n)
{
	struct thermo_request *group[PROBES];
	struct probe probes[PROBES];
	unsigned m = 0;
	for (; m < PROBES && m < n; m++) {
		struct thermo_request *r = &requests[m];
		if (r->status || !put_plain(r->space, r->ttl_ms))
			break;
		group[m] = r;
	}
	if (!m)
		return 0;
	struct thermo *c = requests[0].space->cache;
	struct epoch_slot *begun = epoch_begin();
	c->lookup->probe(c, group, m, probes);
	unsigned done = c->lookup->overwrite_some(c, group, m, probes);
	epoch_end(begun);
	for (unsigned i = done; i < m; i++)
		requests[i].status = 0;
	return done;
}

/* One put or deletion of a batch. */
static int write_one(struct thermo_request *r)
{
	if (r->op == THERMO_OP_PUT && put_plain(r->space, r->ttl_ms) &&
	    r->space->cache->lookup->overwrite(r->space, r->key, r->key_len, r->value, r->value_len,
					       &r->version))
		return THERMO_OK;
	return run_unlogged(r);
}

#define NEW_KEYS 16 /* after a put that does not overwrite, this many are not probed for it */

static int write_batch(struct thermo_request *requests, size_t n, enum thermo_op op,
		       int64_t deadline_ns)
{
	if (n && !requests)
		return -EINVAL;
	int rc = batch_check(requests, n, op);
	if (rc || !n)
		return rc;
	uint64_t began = deadline_ns >= 0 ? monotonic_ns() : 0;
	struct thermo *logged = NULL; /* some of them wait for its log */
	size_t probe_from = op == THERMO_OP_PUT ? 0 : n;
	for (size_t i = 0; i < n; i++) {
		if (i >= probe_from) {
			size_t done = overwrite_group(&requests[i], n - i);
			i += done;
			probe_from = i + (done ? 1 : NEW_KEYS);
			if (i == n)
				break;
		}
		struct thermo_request *r = &requests[i];
		if (i + 8 < n && requests[i + 8].status == 0) {
			struct thermo_request *ahead = &requests[i + 8];
			index_prefetch(ahead->space->cache->index,
				       key_hash(ahead->space->id, ahead->key, ahead->key_len, 0));
		}
		if (r->status)
			continue;
		if (deadline_ns >= 0 && monotonic_ns() - began > (uint64_t)deadline_ns)
			r->status = THERMO_PENDING;
		else
			r->status = write_one(r);
		if (r->_state & REQUEST_LOGGED)
			logged = r->space->cache;
	}
	if (logged)
		durable_settle(logged, requests, n);
	return THERMO_OK;
}

int thermo_put_batch(struct thermo_request *requests, size_t n, int64_t deadline_ns)
{
	return write_batch(requests, n, THERMO_OP_PUT, deadline_ns);
}

int thermo_delete_batch(struct thermo_request *requests, size_t n, int64_t deadline_ns)
{
	return write_batch(requests, n, THERMO_OP_DELETE, deadline_ns);
}
