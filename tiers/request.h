/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request from begin to end, and a runner that has many of them under way.
 *
 *   request_begin --(memory knows)--> status
 *        |  REQUEST_COLD                            ^
 *        v                                          |
 *   flight: stripe read, cold_get_start ... --> request_finish --(REQUEST_AGAIN)--> request_begin
 *
 * A runner is used by one thread at a time: the synchronous calls take one from the cache's idle ones, a
 * queue owns one.
 */
#ifndef TIERS_REQUEST_H
#define TIERS_REQUEST_H

#include "tiers/engine.h"

enum { REQUEST_COLD = 96, REQUEST_AGAIN = 97 };
/* Brings what is cold to DRAM, waiting for room until `offset` (monotonic ns); only ever begun as cold. */
enum { OP_HINT = 255 };

struct flight {
	struct cold_get get;
	struct thermo_request *request;
	uint32_t stripe;
	struct flight *prev, *next;
};

struct runner {
	struct thermo *cache;
	struct cold_io *io;     /* NULL without a cold tier */
	struct flight *idle;    /* linked by next */
	struct flight *airborne; /* doubly linked */
	uint32_t flights;       /* airborne */
	struct thermo_request *done_head, *done_tail; /* linked by _next */
	struct runner *next;    /* in the cache's list of idle runners */
};

int runner_open(struct thermo *c, struct runner **runner);
void runner_close(struct runner **runner); /* cancels what is airborne */
/* An idle one, or one more. NULL: no memory for its buffers within put_wait_ms. wait: for another to be given
 * back, if there is one; not by who holds one. Not inside an epoch. */
struct runner *runner_take(struct thermo *c, bool wait);
void runner_give(struct runner *runner);

/* thermo_get where memory alone does not answer. */
int runner_get(struct thermo_space *space, const void *key, size_t key_len, void *value,
	       size_t capacity, size_t *value_len);
/* Runs the request, or begins its device read; a finished one goes to the runner's done list. */
void runner_start(struct runner *runner, struct thermo_request *request);
/* The same for one that is known not to be in memory. */
void runner_start_cold(struct runner *runner, struct thermo_request *request);
void runner_submit(struct runner *runner);
/* One read of cold, to its end: to be released. Nothing is airborne. */
void runner_read(struct runner *runner, struct cold_get *get);
/* Waits up to timeout_ns for device reads and carries on what they were for. */
void runner_wait(struct runner *runner, int64_t timeout_ns);
/* Takes a request's read back: true, or false if it has none. */
bool runner_cancel(struct runner *runner, struct thermo_request *request);
/* Puts a request that has its status on the done list. */
void runner_finish(struct runner *runner, struct thermo_request *request, int status);
/* Waits for all that is airborne, and forgets who is done. */
void runner_finish_all(struct runner *runner);
struct thermo_request *runner_done(struct runner *runner); /* NULL: none */

int request_begin(struct thermo *c, struct thermo_request *request);
int request_finish(struct thermo *c, struct thermo_request *request, const struct cold_get *get,
		   uint32_t stripe);
/* A block that cannot be read took a cache's record with it: LOST; in a durable space it is the error that it is. */
int request_cold_status(const struct thermo_space *space, int status);
/* -EINVAL and the like, before anything is begun. */
int request_check(const struct thermo_request *request);

/* ---- large.c ---- */
/* Chunks first, then the head; get: what cold held of the key, or NULL. As request_finish. */
int large_put(struct thermo *c, struct thermo_request *request, const struct cold_get *get,
	      uint32_t stripe);
/* Reads [offset, offset + capacity) of the value that head describes, chunks from every tier. OK,
 * TRUNCATED, MISS (a chunk was evicted), or an error. */
int large_get(struct thermo *c, struct thermo_request *request, const struct large_head *head);
/* Lets the chunks live as long as the head is to. OK, MISS (a chunk was evicted), BUSY, or an error. */
int large_touch(struct thermo *c, struct thermo_request *request, const struct large_head *head,
		uint64_t expires_ms);
/* Removes the chunks of a head that is no longer reachable, now or (large_forget_more) when there is room. */
void large_forget(struct thermo *c, const struct key *key, const struct large_head *head);
/* All its chunks, as cold_erase_begin wants them. */
#define LARGE_CHUNK_KEY 20
struct cold_get large_chunks(struct thermo *c, uint8_t space, const struct large_head *head,
			     char bytes[LARGE_CHUNK_KEY]);
/* The head that a write has replaced, in memory or else in what cold held of the key (or NULL): request.c. */
bool request_replaced(const struct write *w, const struct cold_get *get, struct large_head *head);
/* What cold holds of a key, for a write that depends on it. */
void request_knows(struct thermo *c, struct write *w, const struct cold_get *get, uint32_t stripe);

#endif
