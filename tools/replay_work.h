/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker of a replay: applies batches of requests to the cache, measures and checks them. The
 * reader fills batches; with one thread it also applies them, with more each worker has a thread
 * and a queue.
 */
#ifndef TOOLS_REPLAY_WORK_H
#define TOOLS_REPLAY_WORK_H

#include <pthread.h>
#include <stdatomic.h>

#include "tools/expect.h"
#include "tools/replay_run.h"

#define BATCH_OPS 256u
#define QUEUE_BATCHES 8u

struct work_batch {
	unsigned n;
	struct replay_op ops[BATCH_OPS];
};

#define GETS_MAX 64u /* requests of one thermo_get_batch */

/* Gets that go out together. */
struct work_gets {
	unsigned n;
	size_t value_bytes; /* of all of them */
	char *buffer;       /* for the values */
	size_t buffer_capacity;
	struct replay_op ops[GETS_MAX];
	struct thermo_request requests[GETS_MAX];
	char keys[GETS_MAX][THERMO_KEY_MAX];
};

/* A ring of batches between the reader and a worker. Lock: a leaf. */
struct work_queue {
	pthread_mutex_t lock;
	pthread_cond_t not_empty;
	pthread_cond_t not_full;
	unsigned head, filled;   /* under lock */
	bool ended;              /* under lock */
	struct work_batch *ring; /* QUEUE_BATCHES of them; a filled one belongs to the worker */
};

/* Counters for the progress line: written by the worker once a batch, read by the reader. */
struct work_live {
	_Atomic uint64_t requests;
	_Atomic uint64_t hits[THERMO_TIERS];
	_Atomic uint64_t misses;
	_Atomic uint64_t bad;
};

struct worker {
	/* const after worker_open */
	const struct replay_config *config;
	struct thermo_space **spaces; /* the replay's; they change when it reopens */
	/* the worker's own */
	struct replay_result result;            /* counts, latencies and checks of this worker */
	struct expect expect;                   /* used with verify only */
	struct work_gets *gets; /* that wait to go out */
	char *value;                            /* what is put */
	char *buffer;                           /* what is read */
	size_t value_capacity, buffer_capacity; /* bytes */
	char key[THERMO_KEY_MAX];               /* the key of the request under way */
	uint32_t version; /* of the worker's last put: no two puts have the same */
	/* shared */
	struct work_queue queue;
	struct work_live live;
	pthread_t thread;
	bool started;
	uint64_t pad[8]; /* keeps neighbours' counters apart */
};

/* -ENOMEM. */
int worker_open(struct worker *worker, const struct replay_config *config,
		struct thermo_space **spaces);
void worker_close(struct worker *worker);
/* Applies the requests of one batch. */
void worker_apply(struct worker *worker, struct work_batch *batch);
/* Reads every key back, in batches, counting into result.reopened. */
void worker_read_back(struct worker *worker);

/* Between the files of the worker (replay_work.c, replay_gets.c). Entries are NULL without
 * --verify. */
int worker_reserve(char **bytes, size_t *capacity, size_t needed); /* -ENOMEM */
/* The key's bytes, in worker->key. */
const void *worker_key(struct worker *worker, const struct replay_op *op);
/* What is known of the key; NULL without --verify, or after the error of having no memory was
 * counted. */
struct expect_entry *worker_entry(struct worker *worker, const struct replay_op *op);
void worker_error(struct worker *worker, const struct replay_op *op, const char *verb, int status);
/* Holds a value against what its key must hold. */
void worker_check(struct worker *worker, struct replay_checks *checks, const struct replay_op *op,
		  const struct expect_entry *entry, const void *value, size_t len);
void worker_put(struct worker *worker, const struct replay_op *op, struct expect_entry *entry);
void worker_get(struct worker *worker, const struct replay_op *op, struct expect_entry *entry);
/* Counts and checks a get that was answered; puts what was missing. */
void worker_got(struct worker *worker, const struct replay_op *op, struct expect_entry *entry,
		const struct thermo_request *request, int status);
/* Adds a get to those that wait; sends them first if it is of another group or asks for a key
 * again. */
void gets_add(struct worker *worker, const struct replay_op *op);
/* Sends those that wait, and deals with the answers. */
void gets_flush(struct worker *worker);
void gets_free(struct worker *worker);

/* The reader's end of the queue: a batch to fill (waits for one), and handing it over. */
struct work_batch *queue_claim(struct work_queue *queue);
void queue_push(struct work_queue *queue);
void queue_end(struct work_queue *queue);
/* The worker's thread: applies batches until the end. */
void *worker_main(void *worker);

#endif
