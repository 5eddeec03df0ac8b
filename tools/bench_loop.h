/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop over the stream, to be inlined into each target with that target's own functions, so
 * that no target pays for an indirect call that another does not.
 */
#ifndef TOOLS_BENCH_LOOP_H
#define TOOLS_BENCH_LOOP_H

#include <errno.h>

#include "tools/bench_work.h"
#include "tools/keys.h"
#include "tools/ticks.h"

#define BENCH_INLINE static inline __attribute__((always_inline))

typedef int bench_get_fn(struct bench_worker *worker, const void *key, void *value);
typedef int bench_put_fn(struct bench_worker *worker, const void *key, const void *value,
			 uint32_t len);
/* values: as many buffers of value_most bytes. */
typedef int bench_get_batch_fn(struct bench_worker *worker, const void *const *keys,
			       void *const *values, int *tiers, unsigned n);
typedef int bench_put_batch_fn(struct bench_worker *worker, const void *const *keys,
			       const void *const *values, const uint32_t *lens, unsigned n);

BENCH_INLINE uint32_t bench_value_len(const struct workload *work, uint32_t number)
{
	if (work->value_least == work->value_most)
		return work->value_most;
	return keys_value_len(number, work->value_least, work->value_most);
}

BENCH_INLINE const void *bench_value(struct bench_worker *worker, uint32_t number, unsigned slot,
				     uint32_t len)
{
	unsigned char *value = worker->put_values + (uint64_t)slot * worker->work->value_most;
	if (worker->work->each)
		keys_value_fill(number, value, len); /* what goes to disk must not repeat */
	else
		keys_value_stamp(number, value, len);
	return value;
}

BENCH_INLINE void bench_count_error(struct bench_worker *worker, int status, unsigned n)
{
	if (status == -ENOSPC) {
		worker->counts.refused += n;
		return;
	}
	worker->counts.failed += n;
	if (!worker->counts.error)
		worker->counts.error = status;
}

BENCH_INLINE void bench_one(struct bench_worker *worker, uint64_t at, bool timed, bool check,
			    bench_get_fn *get, bench_put_fn *put)
{
	const struct stream *stream = worker->stream;
	const void *key = stream->keys + at * worker->work->key_len;
	uint64_t start = 0;

	if (timed)
		start = ticks_now();
	if (stream->puts && stream->puts[at]) {
		uint32_t number = stream->numbers[at], len = bench_value_len(worker->work, number);
		int status = put(worker, key, bench_value(worker, number, at % 16, len), len);
		if (timed)
			histogram_add(&worker->put_ticks, ticks_now() - start);
		worker->counts.puts++;
		if (__builtin_expect(status < 0, 0))
			bench_count_error(worker, status, 1);
		return;
	}
	int status = get(worker, key, worker->values[0]);
	worker->counts.gets++;
	if (timed) {
		uint64_t ticks = ticks_now() - start;
		histogram_add(&worker->get_ticks, ticks);
		if (status > 0 && worker->tier >= 0)
			histogram_add(&worker->tier_ticks[worker->tier], ticks);
	}
	if (__builtin_expect(status <= 0, 0)) {
		if (status < 0)
			bench_count_error(worker, status, 1);
		return;
	}
	worker->counts.hits++;
	worker->sum += *(unsigned char *)worker->values[0];
	if (check) {
		uint32_t number = stream->numbers[at], len = bench_value_len(worker->work, number);
		worker->counts.wrong += !keys_value_check(number, worker->values[0], len);
	}
}

BENCH_INLINE void bench_put_some(struct bench_worker *worker, const uint64_t *at, unsigned n,
				 bool timed, bench_put_batch_fn *put_batch)
{
	const void *keys[BENCH_BATCH_MAX], *values[BENCH_BATCH_MAX];
	uint32_t lens[BENCH_BATCH_MAX];

	for (unsigned i = 0; i < n; i++) {
		uint32_t number = worker->stream->numbers[at[i]];
		keys[i] = worker->stream->keys + at[i] * worker->work->key_len;
		lens[i] = bench_value_len(worker->work, number);
		values[i] = bench_value(worker, number, i, lens[i]);
	}
	uint64_t start = timed ? ticks_now() : 0;
	int status = put_batch(worker, keys, values, lens, n);
	if (timed)
		histogram_add(&worker->put_ticks, ticks_now() - start);
	worker->counts.puts += n;
	if (__builtin_expect(status < 0, 0))
		bench_count_error(worker, status, n);
}

/* A batch of requests: its puts, then its gets. */
BENCH_INLINE void bench_some(struct bench_worker *worker, uint64_t first, unsigned n, bool timed,
			     bool check, bench_get_batch_fn *get_batch,
			     bench_put_batch_fn *put_batch)
{
	const struct stream *stream = worker->stream;
	const void *keys[BENCH_BATCH_MAX];
	uint64_t put_at[BENCH_BATCH_MAX], get_at[BENCH_BATCH_MAX];
	int tiers[BENCH_BATCH_MAX];
	unsigned gets = 0, puts = 0;

	if (!stream->puts) {
		for (; gets < n; gets++) {
			keys[gets] = stream->keys + (first + gets) * worker->work->key_len;
			if (check)
				get_at[gets] = first + gets;
		}
	} else {
		for (uint64_t at = first; at < first + n; at++) {
			if (stream->puts[at]) {
				put_at[puts++] = at;
			} else {
				keys[gets] = stream->keys + at * worker->work->key_len;
				get_at[gets++] = at;
			}
		}
	}
	if (puts)
		bench_put_some(worker, put_at, puts, timed, put_batch);
	if (!gets)
		return;
	for (unsigned i = 0; check && i < gets; i++)
		tiers[i] = -1;
	uint64_t start = timed ? ticks_now() : 0;
	int hits = get_batch(worker, keys, worker->values, check ? tiers : NULL, gets);
	uint64_t ticks = timed ? ticks_now() - start : 0;
	if (timed)
		histogram_add(&worker->get_ticks, ticks);
	worker->counts.gets += gets;
	if (__builtin_expect(hits < 0, 0)) {
		bench_count_error(worker, hits, gets);
		return;
	}
	worker->counts.hits += (unsigned)hits;
	worker->sum += *(unsigned char *)worker->values[gets - 1];
	for (unsigned i = 0; check && i < gets; i++) {
		uint32_t number = stream->numbers[get_at[i]];
		/* A miss leaves another key's value, or none: only where all were hits can all be
		 * checked. */
		if ((unsigned)hits == gets)
			worker->counts.wrong += !keys_value_check(
				number, worker->values[i], bench_value_len(worker->work, number));
		if (timed && tiers[i] >= 0)
			histogram_add(&worker->tier_ticks[tiers[i]], ticks);
	}
}

/* n requests from worker->at on, which do not wrap around the stream's end. */
BENCH_INLINE void bench_loop(struct bench_worker *worker, uint64_t n, bool timed, bench_get_fn *get,
			     bench_put_fn *put, bench_get_batch_fn *get_batch,
			     bench_put_batch_fn *put_batch)
{
	uint64_t at = worker->at, end = at + n;
	unsigned batch = worker->work->batch;
	bool each = worker->work->each;

	if (batch == 1) {
		for (; at < end; at++)
			bench_one(worker, at, timed && (each || (at & 1)), timed, get, put);
	} else {
		for (bool odd = true; at < end; odd = !odd) {
			unsigned some = end - at < batch ? (unsigned)(end - at) : batch;
			bench_some(worker, at, some, timed && (each || odd), timed, get_batch,
				   put_batch);
			at += some;
		}
	}
	worker->at = end;
}

#endif
