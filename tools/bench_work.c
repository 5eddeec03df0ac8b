/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, workers, loading, and rounds. */
#include "tools/bench_work.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tools/bench_proc.h"
#include "tools/keys.h"
#include "tools/ticks.h"

#define STREAM_REQUESTS_MAX (UINT64_C(1) << 23)
#define STREAM_BYTES_MAX (UINT64_C(1) << 29)
#define HUGE_BYTES ((size_t)2 << 20)

static void *map_bytes(uint64_t bytes)
{
	bytes = (bytes + HUGE_BYTES - 1) & ~(uint64_t)(HUGE_BYTES - 1);
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	madvise(map, bytes, MADV_HUGEPAGE);
	return map;
}

static void unmap_bytes(void *map, uint64_t bytes)
{
	if (map)
		munmap(map, (bytes + HUGE_BYTES - 1) & ~(uint64_t)(HUGE_BYTES - 1));
}

int work_stream_open(struct stream *stream, const struct workload *work)
{
	uint64_t each = work->key_len + sizeof(*stream->numbers) + 1;
	uint64_t n = STREAM_BYTES_MAX / each;
	struct zipf zipf, even;
	uint64_t state = work->seed, coin = ~work->seed;

	if (n > STREAM_REQUESTS_MAX)
		n = STREAM_REQUESTS_MAX;
	/* No more than a round takes. */
	if (work->ops && work->ops < n / work->threads)
		n = work->ops * work->threads + BENCH_BLOCK - 1;
	n -= n % BENCH_BLOCK;
	memset(stream, 0, sizeof(*stream));
	stream->n = n;
	stream->keys = map_bytes(n * work->key_len);
	stream->numbers = map_bytes(n * sizeof(*stream->numbers));
	if (work->get_percent < 100)
		stream->puts = map_bytes(n);
	if (!stream->keys || !stream->numbers || (work->get_percent < 100 && !stream->puts)) {
		stream->bytes = n * each;
		unmap_bytes(stream->keys, n * work->key_len);
		unmap_bytes(stream->numbers, n * sizeof(*stream->numbers));
		memset(stream, 0, sizeof(*stream));
		return -ENOMEM;
	}
	stream->bytes = n * each;

	zipf_init(&zipf, work->keys, work->zipf);
	zipf_init(&even, 100, 0);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t number = keys_scatter(zipf_next(&zipf, &state), work->keys);
		stream->numbers[i] = (uint32_t)number;
		keys_write(number, stream->keys + i * work->key_len, work->key_len);
		if (stream->puts)
			stream->puts[i] = zipf_next(&even, &coin) >= work->get_percent;
	}
	return 0;
}

void work_stream_close(struct stream *stream)
{
	if (!stream->n)
		return;
	uint64_t key_len = stream->bytes / stream->n - sizeof(*stream->numbers) - 1;
	unmap_bytes(stream->keys, stream->n * key_len);
	unmap_bytes(stream->numbers, stream->n * sizeof(*stream->numbers));
	unmap_bytes(stream->puts, stream->n);
	memset(stream, 0, sizeof(*stream));
}

static int worker_open(struct bench_worker *worker, struct bench_target *target, unsigned number)
{
	const struct workload *work = target->work;
	uint64_t value = work->value_most ? work->value_most : 1;

	worker->target = target;
	worker->work = work;
	worker->stream = target->stream;
	worker->number = number;
	worker->tier = -1;
	/* Threads begin at different places of the stream. */
	worker->at = target->stream->n / work->threads * number;
	worker->at -= worker->at % BENCH_BLOCK;
	worker->buffer = map_bytes(2 * BENCH_BATCH_MAX * value);
	worker->block_ticks = calloc(BENCH_BLOCKS_KEPT, sizeof(*worker->block_ticks));
	if (!worker->buffer || !worker->block_ticks)
		return -ENOMEM;
	for (unsigned i = 0; i < BENCH_BATCH_MAX; i++)
		worker->values[i] = worker->buffer + i * value;
	worker->put_values = worker->buffer + BENCH_BATCH_MAX * value;
	for (unsigned i = 0; i < BENCH_BATCH_MAX; i++)
		keys_value_fill(i, worker->put_values + (uint64_t)i * work->value_most,
				work->value_most);
	return target->ops->worker_open ? target->ops->worker_open(worker) : 0;
}

static void worker_close(struct bench_worker *worker)
{
	free(worker->block_ticks);
	worker->block_ticks = NULL;
	if (!worker->buffer)
		return;
	if (worker->target->ops->worker_close)
		worker->target->ops->worker_close(worker);
	unmap_bytes(worker->buffer,
		    2 * BENCH_BATCH_MAX *
			    (uint64_t)(worker->work->value_most ? worker->work->value_most : 1));
	worker->buffer = NULL;
}

int bench_target_open(struct bench_target *target, const struct workload *work,
		      const struct stream *stream)
{
	target->work = work;
	target->stream = stream;
	target->workers = calloc(work->threads, sizeof(*target->workers));
	if (!target->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < work->threads; i++) {
		int error = worker_open(&target->workers[i], target, i);
		if (error) {
			bench_target_close(target);
			return error;
		}
	}
	return 0;
}

void bench_target_close(struct bench_target *target)
{
	if (!target->workers)
		return;
	for (unsigned i = 0; i < target->work->threads; i++)
		worker_close(&target->workers[i]);
	free(target->workers);
	target->workers = NULL;
}

/* Where there is a tier below, a put that found no room will find some soon. */
static int put_patiently(struct bench_worker *worker, const void *const *keys,
			 const void *const *values, const uint32_t *lens, unsigned n)
{
	int status = worker->target->ops->put_batch(worker, keys, values, lens, n);

	for (unsigned tries = 0; status == -ENOSPC && worker->work->each && tries < 5000; tries++) {
		struct timespec nap = {.tv_nsec = 2000000};
		nanosleep(&nap, NULL);
		status = worker->target->ops->put_batch(worker, keys, values, lens, n);
	}
	return status;
}

int bench_load(struct bench_target *target, uint64_t from, uint64_t to)
{
	const struct workload *work = target->work;
	struct bench_worker *worker = &target->workers[0];
	uint64_t pitch = (uint64_t)work->key_len;
	const void *keys[32], *values[32];
	uint32_t lens[32];
	int status = 0;

	unsigned char *key_bytes = malloc(32 * pitch);
	if (!key_bytes)
		return -ENOMEM;
	while (from < to && (!status || status == -ENOSPC)) {
		unsigned n = to - from < 32 ? (unsigned)(to - from) : 32;
		for (unsigned i = 0; i < n; i++) {
			unsigned char *value = worker->put_values + (uint64_t)i * work->value_most;
			lens[i] = keys_value_len(from + i, work->value_least, work->value_most);
			keys_write(from + i, key_bytes + i * pitch, work->key_len);
			keys_value_fill(from + i, value, lens[i]);
			keys[i] = key_bytes + i * pitch;
			values[i] = value;
		}
		int answer = put_patiently(worker, keys, values, lens, n);
		if (answer < 0 && status != answer)
			status = answer;
		from += n;
	}
	free(key_bytes);
	return status;
}

/* ---- A round ------------------------------------------------------------------------------------
 */

/* Holds the threads back until all are there. */
struct round_gate {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int state; /* under mutex: 0 wait, 1 go, -1 go home */
};

struct round_thread {
	struct bench_worker *worker;
	pthread_t thread;
	struct round_gate *gate;
	double seconds;
	int cpu;        /* -1: anywhere */
	uint64_t ticks; /* that the round took */
	uint64_t requests;
};

static void pin_to(int cpu)
{
	cpu_set_t set;
	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* One block, a full one or what is left of the round; every sixteenth is timed request by request.
 */
static void run_block(struct bench_worker *worker, uint64_t n, uint64_t full)
{
	const struct bench_ops *ops = worker->target->ops;

	if (worker->at + n > worker->stream->n)
		worker->at = 0;
	if (worker->work->each || worker->blocks++ % 16 == 15) {
		ops->run_timed(worker, n);
		if (!worker->work->each)
			return;
	} else {
		uint64_t start = ticks_now();
		ops->run(worker, n);
		uint64_t ticks = ticks_now() - start;
		worker->fast_ticks += ticks;
		worker->fast_requests += n;
		if (n == full)
			worker->block_ticks[worker->fast_blocks++ % BENCH_BLOCKS_KEPT] =
				ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
	}
}

static int gate_wait(struct round_gate *gate)
{
	pthread_mutex_lock(&gate->mutex);
	while (!gate->state)
		pthread_cond_wait(&gate->changed, &gate->mutex);
	int state = gate->state;
	pthread_mutex_unlock(&gate->mutex);
	return state;
}

static void gate_open(struct round_gate *gate, int state)
{
	pthread_mutex_lock(&gate->mutex);
	gate->state = state;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->mutex);
}

static void *round_main(void *argument)
{
	struct round_thread *self = argument;
	struct bench_worker *worker = self->worker;
	uint64_t limit_ns = (uint64_t)(self->seconds * 1e9), left = worker->work->ops;
	/* Slow stores look at the clock more often. */
	uint64_t block = worker->work->each ? BENCH_BATCH_MAX : BENCH_BLOCK;

	pin_to(self->cpu);
	block -= block % worker->work->batch;
	if (gate_wait(self->gate) < 0)
		return NULL;
	uint64_t start_ns = ticks_clock_ns(), start = ticks_now();
	for (;;) {
		uint64_t n = left && left < block ? left : block;
		run_block(worker, n, block);
		self->requests += n;
		if (left) {
			left -= n;
			if (!left)
				break;
		} else if (ticks_clock_ns() - start_ns >= limit_ns) {
			break;
		}
	}
	self->ticks = ticks_now() - start;
	return NULL;
}

static void clear_counters(struct bench_worker *worker)
{
	memset(&worker->counts, 0, sizeof(worker->counts));
	worker->fast_requests = worker->fast_ticks = worker->fast_blocks = 0;
	histogram_clear(&worker->get_ticks);
	histogram_clear(&worker->put_ticks);
	for (unsigned i = 0; i < BENCH_TIERS; i++)
		histogram_clear(&worker->tier_ticks[i]);
}

static int compare_ticks(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* Requests a tick, by the median block; 0 if there was none. */
static double quiet_rate(const struct bench_worker *worker)
{
	uint64_t n =
		worker->fast_blocks < BENCH_BLOCKS_KEPT ? worker->fast_blocks : BENCH_BLOCKS_KEPT;
	if (!n)
		return 0;
	qsort(worker->block_ticks, n, sizeof(*worker->block_ticks), compare_ticks);
	uint32_t median = worker->block_ticks[n / 2];
	uint64_t block = BENCH_BLOCK - BENCH_BLOCK % worker->work->batch;
	return (double)block / (median ? median : 1);
}

static void add_worker(struct bench_round *round, const struct round_thread *thread, double tick_ns)
{
	const struct bench_worker *worker = thread->worker;
	const struct bench_counts *counts = &worker->counts;

	/* Short rounds may not have seen a block without timing. */
	bool fast = worker->fast_requests && !worker->work->each;
	uint64_t requests = fast ? worker->fast_requests : thread->requests;
	uint64_t ticks = fast ? worker->fast_ticks : thread->ticks;
	round->ops_per_s += (double)requests / ((double)ticks * tick_ns) * 1e9;
	round->quiet_ops_per_s += quiet_rate(worker) / tick_ns * 1e9;
	if ((double)thread->ticks * tick_ns / 1e9 > round->seconds)
		round->seconds = (double)thread->ticks * tick_ns / 1e9;
	round->counts.gets += counts->gets;
	round->counts.hits += counts->hits;
	round->counts.puts += counts->puts;
	round->counts.failed += counts->failed;
	round->counts.refused += counts->refused;
	round->counts.wrong += counts->wrong;
	if (!round->counts.error)
		round->counts.error = counts->error;
	histogram_merge_scaled(&round->get_ns, &worker->get_ticks, tick_ns);
	histogram_merge_scaled(&round->put_ns, &worker->put_ticks, tick_ns);
	for (unsigned i = 0; i < BENCH_TIERS; i++)
		histogram_merge_scaled(&round->tier_ns[i], &worker->tier_ticks[i], tick_ns);
}

/* The CPU of thread i, or -1 if there are fewer CPUs than threads. */
static int cpu_of(unsigned i, unsigned threads)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) || (unsigned)CPU_COUNT(&set) < threads)
		return -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && i-- == 0)
			return cpu;
	return -1;
}

static double cpu_seconds(const struct bench_target *target)
{
	return proc_cpu_seconds(0) +
	       (target->server_pid ? proc_cpu_seconds(target->server_pid) : 0);
}

int bench_run(struct bench_target *target, double seconds, struct bench_round *round)
{
	static double tick_ns; /* of this machine; only the main thread comes here */
	unsigned threads = target->work->threads, started = 0;
	struct round_thread all[BENCH_THREADS_MAX] = {0};
	struct round_gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

	if (tick_ns == 0)
		tick_ns = ticks_calibrate(50000000);
	memset(round, 0, sizeof(*round));
	for (; started < threads; started++) {
		struct round_thread *thread = &all[started];
		thread->worker = &target->workers[started];
		thread->gate = &gate;
		thread->seconds = seconds;
		thread->cpu = cpu_of(started, threads);
		clear_counters(thread->worker);
		if (pthread_create(&thread->thread, NULL, round_main, thread))
			break;
	}
	double cpu = cpu_seconds(target);
	gate_open(&gate, started == threads ? 1 : -1);
	for (unsigned i = 0; i < started; i++)
		pthread_join(all[i].thread, NULL);
	if (started < threads)
		return -EAGAIN;
	round->cpu_seconds = cpu_seconds(target) - cpu;
	for (unsigned i = 0; i < threads; i++)
		add_worker(round, &all[i], tick_ns);
	return 0;
}
