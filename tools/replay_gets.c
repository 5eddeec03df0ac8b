/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's gets in batches: requests of one group, and reading everything back at the end. */
#include "tools/replay_work.h"

#include <stdlib.h>
#include <string.h>

#define READ_BACK_BYTES (4u << 20) /* of values in a batch, unless one alone is larger */

static void gets_push(struct work_gets *gets, const struct replay_op *op)
{
	gets->ops[gets->n++] = *op;
	gets->value_bytes += op->value_len;
}

/* Asks for all of them: each request has its status, its value lies in the buffer. */
static void gets_ask(struct worker *worker)
{
	struct work_gets *gets = worker->gets;
	size_t at = 0;
	int status = worker_reserve(&gets->buffer, &gets->buffer_capacity, gets->value_bytes + 1);
	for (unsigned i = 0; i < gets->n; i++) {
		const struct replay_op *op = &gets->ops[i];
		memcpy(gets->keys[i], worker_key(worker, op), op->key_len);
		gets->requests[i] = (struct thermo_request){
			.space = worker->spaces[op->space],
			.key = gets->keys[i],
			.key_len = op->key_len,
			.value = gets->buffer + at,
			.capacity = op->value_len,
			.tier = -1,
		};
		at += op->value_len;
	}
	if (!status)
		status = thermo_get_batch(gets->requests, gets->n, -1);
	for (unsigned i = 0; status && i < gets->n; i++)
		gets->requests[i].status = status;
}

static void gets_clear(struct work_gets *gets)
{
	gets->n = 0;
	gets->value_bytes = 0;
}

void gets_flush(struct worker *worker)
{
	struct work_gets *gets = worker->gets;
	if (!gets->n)
		return;
	uint64_t start = progress_now_ns();
	gets_ask(worker);
	histogram_add(&worker->result.latency_batch, progress_now_ns() - start);
	worker->result.batched += gets->n;
	for (unsigned i = 0; i < gets->n; i++) {
		const struct replay_op *op = &gets->ops[i];
		const struct thermo_request *request = &gets->requests[i];
		struct expect_entry *entry = worker_entry(worker, op);
		if (worker->config->verify && !entry)
			continue;
		/* Longer than the trace says that it is now: once more, with a buffer that holds
		 * it. */
		if (request->status == THERMO_TRUNCATED)
			worker_get(worker, op, entry);
		else
			worker_got(worker, op, entry, request, request->status);
	}
	gets_clear(gets);
}

void gets_add(struct worker *worker, const struct replay_op *op)
{
	struct work_gets *gets = worker->gets;
	bool full = gets->n == GETS_MAX || (gets->n && gets->ops[0].group != op->group);
	for (unsigned i = 0; !full && i < gets->n; i++)
		full = gets->ops[i].id == op->id && gets->ops[i].space == op->space;
	if (full)
		gets_flush(worker);
	gets_push(gets, op);
}

void gets_free(struct worker *worker)
{
	if (worker->gets)
		free(worker->gets->buffer);
	free(worker->gets);
	worker->gets = NULL;
}

/* ---- Reading back ---- */

static void read_back_one(struct worker *worker, const struct replay_op *op,
			  const struct thermo_request *request)
{
	struct replay_reopened *reopened = &worker->result.reopened;
	const struct expect_entry *entry = worker_entry(worker, op);
	int status = request->status;
	if (!entry)
		return;
	reopened->keys += entry->state == EXPECT_PRESENT;
	if (status == THERMO_TRUNCATED) {
		/* Longer than what was put: every byte beyond is a bad one. The buffer has the
		 * beginning. */
		reopened->checks.values++;
		reopened->checks.bad_values++;
		reopened->checks.bad_bytes += request->value_len - op->value_len;
	} else if (status == THERMO_OK) {
		reopened->hits[request->tier]++;
		worker_check(worker, &reopened->checks, op, entry, request->value,
			     request->value_len);
	} else if (status == THERMO_MISS) {
		reopened->missing += entry->state == EXPECT_PRESENT;
	} else {
		reopened->errors++;
		worker_error(worker, op, "get after reopening", status);
	}
}

static void read_back_batch(struct worker *worker)
{
	struct work_gets *gets = worker->gets;
	if (!gets->n)
		return;
	gets_ask(worker);
	for (unsigned i = 0; i < gets->n; i++)
		read_back_one(worker, &gets->ops[i], &gets->requests[i]);
	gets_clear(gets);
}

void worker_read_back(struct worker *worker)
{
	struct work_gets *gets = worker->gets;
	const struct expect_entry *entry;
	uint64_t at = 0;
	while ((entry = expect_next(&worker->expect, &at))) {
		struct replay_op op = {
			.id = entry->id,
			.key_len = entry->key_len,
			.value_len = entry->value_len,
			.space = entry->space,
			.kind = entry->kind,
		};
		if (gets->n == GETS_MAX || gets->value_bytes + op.value_len > READ_BACK_BYTES)
			read_back_batch(worker);
		gets_push(gets, &op);
	}
	read_back_batch(worker);
}
