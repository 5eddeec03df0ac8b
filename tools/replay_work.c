/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/replay_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096u

int worker_open(struct worker *worker, const struct replay_config *config,
		struct thermo_space **spaces)
{
	worker->config = config;
	worker->spaces = spaces;
	pthread_mutex_init(&worker->queue.lock, NULL);
	pthread_cond_init(&worker->queue.not_empty, NULL);
	pthread_cond_init(&worker->queue.not_full, NULL);
	worker->value_capacity = worker->buffer_capacity = FIRST_BYTES;
	worker->value = malloc(FIRST_BYTES);
	worker->buffer = malloc(FIRST_BYTES);
	worker->queue.ring = malloc(QUEUE_BATCHES * sizeof(*worker->queue.ring));
	worker->gets = calloc(1, sizeof(*worker->gets));
	if (!worker->value || !worker->buffer || !worker->queue.ring || !worker->gets)
		return -ENOMEM;
	return config->verify ? expect_open(&worker->expect) : 0;
}

void worker_close(struct worker *worker)
{
	expect_close(&worker->expect);
	gets_free(worker);
	free(worker->queue.ring);
	free(worker->buffer);
	free(worker->value);
	pthread_cond_destroy(&worker->queue.not_full);
	pthread_cond_destroy(&worker->queue.not_empty);
	pthread_mutex_destroy(&worker->queue.lock);
}

int worker_reserve(char **bytes, size_t *capacity, size_t needed)
{
	if (needed <= *capacity)
		return 0;
	size_t grown = *capacity * 2 > needed ? *capacity * 2 : needed;
	char *larger = realloc(*bytes, grown);
	if (!larger)
		return -ENOMEM;
	*bytes = larger;
	*capacity = grown;
	return 0;
}

/* Remembers the first thing that went wrong, for the closing line. */
static void remember(struct worker *worker, const struct replay_op *op, const char *what)
{
	char *text = worker->result.first_failure;
	size_t capacity = sizeof(worker->result.first_failure);
	if (*text)
		return;
	snprintf(text, capacity, "key %llu of space %u: %s", (unsigned long long)op->id, op->space,
		 what);
}

void worker_error(struct worker *worker, const struct replay_op *op, const char *verb, int status)
{
	char what[160];
	worker->result.total.errors++;
	worker->result.phase[op->phase].errors++;
	snprintf(what, sizeof(what), "%s answered %s", verb, thermo_strerror(status));
	remember(worker, op, what);
}

/* The key's bytes: its number, then filler that follows from it. */
const void *worker_key(struct worker *worker, const struct replay_op *op)
{
	memcpy(worker->key, &op->id, sizeof(op->id));
	if (op->key_len > sizeof(op->id))
		payload_fill(worker->key + sizeof(op->id), op->key_len - sizeof(op->id),
			     PAYLOAD_MIXED, op->id);
	return worker->key;
}

static uint32_t value_seed_version(const struct worker *worker)
{
	return worker->config->verify ? worker->version : 0;
}

void worker_put(struct worker *worker, const struct replay_op *op, struct expect_entry *entry)
{
	struct replay_counts *total = &worker->result.total;
	struct replay_counts *phase = &worker->result.phase[op->phase];
	if (worker_reserve(&worker->value, &worker->value_capacity, op->value_len)) {
		worker_error(worker, op, "put", -ENOMEM);
		return;
	}
	worker->version++;
	payload_fill(worker->value, op->value_len, op->kind,
		     payload_seed(op->id, value_seed_version(worker)));
	const void *key = worker_key(worker, op);
	uint64_t start = progress_now_ns();
	int status = thermo_put(worker->spaces[op->space], key, op->key_len, worker->value,
				op->value_len, THERMO_TTL_DEFAULT);
	histogram_add(&worker->result.latency_put, progress_now_ns() - start);
	if (status == THERMO_OK) {
		total->puts++, phase->puts++;
		total->put_bytes += op->value_len, phase->put_bytes += op->value_len;
		if (entry) {
			entry->state = EXPECT_PRESENT;
			entry->version = worker->version;
			entry->value_len = op->value_len;
			entry->kind = op->kind;
		}
	} else if (status == THERMO_BUSY) {
		total->busy++, phase->busy++;
	} else if (status == -ENOSPC || status == -EROFS) {
		total->no_space++, phase->no_space++;
	} else {
		if (entry)
			entry->state = EXPECT_UNKNOWN;
		worker_error(worker, op, "put", status);
	}
}

/* Holds a value against what its key must hold. */
void worker_check(struct worker *worker, struct replay_checks *checks, const struct replay_op *op,
		  const struct expect_entry *entry, const void *value, size_t len)
{
	char what[160];
	if (entry->state == EXPECT_UNKNOWN)
		return;
	checks->values++;
	checks->bytes += len;
	if (entry->state != EXPECT_PRESENT) {
		checks->unexpected++;
		snprintf(what, sizeof(what), "a hit, but the key %s",
			 entry->state == EXPECT_NEVER ? "was never put" : "was deleted");
		remember(worker, op, what);
		return;
	}
	size_t shared = len < entry->value_len ? len : entry->value_len;
	size_t longer = len < entry->value_len ? entry->value_len : len;
	uint64_t bad = payload_check(value, shared, (enum payload_kind)entry->kind,
				     payload_seed(entry->id, entry->version));
	bad += longer - shared;
	if (!bad)
		return;
	checks->bad_bytes += bad;
	checks->bad_values++;
	snprintf(what, sizeof(what), "%llu of %zu bytes are not what was put (%u bytes)",
		 (unsigned long long)bad, len, entry->value_len);
	remember(worker, op, what);
}

/* Asks for the value, with a buffer that holds it. Answers the request's status. */
static int fetch(struct worker *worker, const struct replay_op *op, struct thermo_request *request,
		 uint64_t *took_ns)
{
	const void *key = worker_key(worker, op);
	size_t needed = op->value_len;
	int status = 0;
	do {
		if (worker_reserve(&worker->buffer, &worker->buffer_capacity, needed))
			return -ENOMEM;
		*request = (struct thermo_request){
			.space = worker->spaces[op->space],
			.key = key,
			.key_len = op->key_len,
			.value = worker->buffer,
			.capacity = worker->buffer_capacity,
			.tier = -1,
		};
		uint64_t start = progress_now_ns();
		status = thermo_get_batch(request, 1, -1);
		*took_ns = progress_now_ns() - start;
		if (!status)
			status = request->status;
		needed = request->value_len;
	} while (status == THERMO_TRUNCATED && needed > worker->buffer_capacity);
	if (!status && (request->tier < 0 || request->tier >= THERMO_TIERS))
		return -EPROTO; /* a hit that names no tier */
	return status;
}

void worker_got(struct worker *worker, const struct replay_op *op, struct expect_entry *entry,
		const struct thermo_request *request, int status)
{
	struct replay_counts *total = &worker->result.total;
	struct replay_counts *phase = &worker->result.phase[op->phase];
	total->gets++, phase->gets++;
	if (status == THERMO_OK) {
		total->hits[request->tier]++, phase->hits[request->tier]++;
		total->get_bytes += request->value_len, phase->get_bytes += request->value_len;
		if (entry)
			worker_check(worker, &worker->result.checks, op, entry, request->value,
				     request->value_len);
		return;
	}
	if (status == THERMO_MISS) {
		total->misses++, phase->misses++;
	} else if (status == THERMO_LOST) {
		total->lost++, phase->lost++;
	} else {
		worker_error(worker, op, "get", status);
		return;
	}
	worker_put(worker, op, entry);
}

void worker_get(struct worker *worker, const struct replay_op *op, struct expect_entry *entry)
{
	struct thermo_request request;
	uint64_t took_ns = 0;
	int status = fetch(worker, op, &request, &took_ns);
	if (status == THERMO_OK)
		histogram_add(&worker->result.latency[request.tier], took_ns);
	else if (status == THERMO_MISS)
		histogram_add(&worker->result.latency_miss, took_ns);
	worker_got(worker, op, entry, &request, status);
}

static void do_delete(struct worker *worker, const struct replay_op *op, struct expect_entry *entry)
{
	const void *key = worker_key(worker, op);
	uint64_t start = progress_now_ns();
	int status = thermo_delete(worker->spaces[op->space], key, op->key_len);
	histogram_add(&worker->result.latency_delete, progress_now_ns() - start);
	worker->result.total.deletes++;
	worker->result.phase[op->phase].deletes++;
	if (status == THERMO_OK && entry)
		entry->state = EXPECT_DELETED;
	if (status == THERMO_BUSY) {
		worker->result.total.busy++;
		worker->result.phase[op->phase].busy++;
	} else if (status == -ENOSPC || status == -EROFS) {
		worker->result.total.no_space++;
		worker->result.phase[op->phase].no_space++;
	} else if (status != THERMO_OK) {
		if (entry)
			entry->state = EXPECT_UNKNOWN;
		worker_error(worker, op, "delete", status);
	}
}

struct expect_entry *worker_entry(struct worker *worker, const struct replay_op *op)
{
	struct expect_entry *entry = NULL;
	if (worker->config->verify) {
		entry = expect_get(&worker->expect, op->space, op->id, op->key_len);
		if (!entry)
			worker_error(worker, op, "the checking table", -ENOMEM);
	}
	return entry;
}

static void apply_one(struct worker *worker, const struct replay_op *op)
{
	struct expect_entry *entry = worker_entry(worker, op);
	if (worker->config->verify && !entry)
		return;
	if (op->verb == REPLAY_GET) {
		worker_get(worker, op, entry);
	} else if (op->verb == REPLAY_SET) {
		worker->result.total.sets++;
		worker->result.phase[op->phase].sets++;
		worker_put(worker, op, entry);
	} else {
		do_delete(worker, op, entry);
	}
}

void worker_apply(struct worker *worker, struct work_batch *batch)
{
	const struct replay_counts *total = &worker->result.total;
	struct work_live *live = &worker->live;
	for (unsigned i = 0; i < batch->n; i++) {
		struct replay_op *op = &batch->ops[i];
		if (op->verb == REPLAY_SET && worker->config->sets_as_gets)
			op->verb = REPLAY_GET;
		if (op->verb == REPLAY_GET && op->group) {
			gets_add(worker, op);
			continue;
		}
		gets_flush(worker);
		apply_one(worker, op);
	}
	gets_flush(worker);
	atomic_fetch_add_explicit(&live->requests, batch->n, memory_order_relaxed);
	for (int tier = 0; tier < THERMO_TIERS; tier++)
		atomic_store_explicit(&live->hits[tier], total->hits[tier], memory_order_relaxed);
	atomic_store_explicit(&live->misses, total->misses, memory_order_relaxed);
	atomic_store_explicit(&live->bad,
			      worker->result.checks.bad_bytes + worker->result.checks.unexpected,
			      memory_order_relaxed);
	batch->n = 0;
}

struct work_batch *queue_claim(struct work_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	while (queue->filled == QUEUE_BATCHES)
		pthread_cond_wait(&queue->not_full, &queue->lock);
	struct work_batch *batch = &queue->ring[(queue->head + queue->filled) % QUEUE_BATCHES];
	pthread_mutex_unlock(&queue->lock);
	batch->n = 0;
	return batch;
}

void queue_push(struct work_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->filled++;
	pthread_cond_signal(&queue->not_empty);
	pthread_mutex_unlock(&queue->lock);
}

void queue_end(struct work_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->ended = true;
	pthread_cond_signal(&queue->not_empty);
	pthread_mutex_unlock(&queue->lock);
}

void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct work_queue *queue = &worker->queue;
	pthread_mutex_lock(&queue->lock);
	for (;;) {
		while (!queue->filled && !queue->ended)
			pthread_cond_wait(&queue->not_empty, &queue->lock);
		if (!queue->filled)
			break;
		struct work_batch *batch = &queue->ring[queue->head];
		pthread_mutex_unlock(&queue->lock);
		worker_apply(worker, batch);
		pthread_mutex_lock(&queue->lock);
		queue->head = (queue->head + 1) % QUEUE_BATCHES;
		queue->filled--;
		pthread_cond_signal(&queue->not_full);
	}
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}
