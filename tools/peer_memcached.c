/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memcached over a Unix socket of its own, in its binary protocol, which takes keys of any bytes.
 * One connection a worker; a batch is quiet gets (or sets) in one write, ended by a no-op.
 */
#include "tools/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/bench_loop.h"

#define KEY_MAX 250u /* bytes, of memcached */
#define VALUE_MOST (512u << 10)

enum { OP_GET = 0x00, OP_SET = 0x01, OP_GETQ = 0x09, OP_NOOP = 0x0a, OP_SETQ = 0x11 };
enum { STATUS_OK = 0, STATUS_MISSING = 1 };

/* Of a request (magic 0x80) and of an answer (0x81); big-endian. */
struct frame {
	uint8_t magic, op;
	uint16_t key_len;
	uint8_t extra_len, data_type;
	uint16_t status;   /* 0 in requests */
	uint32_t body_len; /* extra, key and value */
	uint32_t opaque;
	uint64_t cas;
};
_Static_assert(sizeof(struct frame) == 24, "a frame is 24 bytes");

struct connection {
	int fd;
	size_t capacity; /* of both buffers */
	unsigned char *out, *in;
	size_t out_len;
	size_t in_start, in_end; /* what has been received and not yet taken */
};

struct store {
	int pid;
	char socket[108];
};

static int open_worker(struct bench_worker *worker)
{
	struct store *store = worker->target->context;
	struct connection *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	worker->context = self;
	self->capacity = (BENCH_BATCH_MAX + 1) *
			 (sizeof(struct frame) + 8 + KEY_MAX + (size_t)worker->work->value_most);
	self->out = malloc(self->capacity);
	self->in = malloc(self->capacity);
	self->fd = peer_server_connect(store->socket);
	if (!self->out || !self->in)
		return -ENOMEM;
	return self->fd < 0 ? self->fd : 0;
}

static void close_worker(struct bench_worker *worker)
{
	struct connection *self = worker->context;
	if (!self)
		return;
	if (self->fd >= 0)
		close(self->fd);
	free(self->out);
	free(self->in);
	free(self);
	worker->context = NULL;
}

static void append(struct connection *self, const void *bytes, size_t len)
{
	memcpy(self->out + self->out_len, bytes, len);
	self->out_len += len;
}

static void append_frame(struct connection *self, uint8_t op, uint32_t opaque, const void *key,
			 uint32_t key_len, const void *value, uint32_t len)
{
	static const unsigned char zeroes[8]; /* of a set: flags, expiry */
	bool set = op == OP_SET || op == OP_SETQ;
	struct frame frame = {
		.magic = 0x80,
		.op = op,
		.key_len = htons((uint16_t)key_len),
		.extra_len = set ? 8 : 0,
		.body_len = htonl((set ? 8 : 0) + key_len + len),
		.opaque = htonl(opaque),
	};
	append(self, &frame, sizeof(frame));
	if (set)
		append(self, zeroes, 8);
	if (key_len)
		append(self, key, key_len);
	if (len)
		append(self, value, len);
}

static int send_all(struct connection *self)
{
	size_t sent = 0;
	while (sent < self->out_len) {
		ssize_t n = send(self->fd, self->out + sent, self->out_len - sent, MSG_NOSIGNAL);
		if (n <= 0)
			return -EIO;
		sent += (size_t)n;
	}
	self->out_len = 0;
	return 0;
}

/* The next answer: its frame in host order and where its body lies until the next call. */
static int receive(struct connection *self, struct frame *frame, unsigned char **body)
{
	size_t wanted = sizeof(*frame);
	for (bool whole = false;;) {
		size_t have = self->in_end - self->in_start;
		if (!whole && have >= wanted) {
			memcpy(frame, self->in + self->in_start, sizeof(*frame));
			frame->body_len = ntohl(frame->body_len);
			frame->opaque = ntohl(frame->opaque);
			frame->status = ntohs(frame->status);
			frame->key_len = ntohs(frame->key_len);
			wanted += frame->body_len;
			whole = true;
			if (frame->magic != 0x81 || wanted > self->capacity)
				return -EPROTO;
		}
		if (whole && have >= wanted)
			break;
		if (self->in_start) {
			memmove(self->in, self->in + self->in_start, have);
			self->in_start = 0;
			self->in_end = have;
		}
		ssize_t n = recv(self->fd, self->in + have, self->capacity - have, 0);
		if (n <= 0)
			return -EIO;
		self->in_end += (size_t)n;
	}
	*body = self->in + self->in_start + sizeof(*frame);
	self->in_start += wanted;
	return 0;
}

static int take(const struct frame *frame, const unsigned char *body, const struct workload *work,
		void *value)
{
	uint32_t before = (uint32_t)frame->extra_len + frame->key_len;
	if (frame->status == STATUS_MISSING)
		return 0;
	if (frame->status != STATUS_OK || before > frame->body_len)
		return -EIO;
	uint32_t len = frame->body_len - before;
	memcpy(value, body + before, len < work->value_most ? len : work->value_most);
	return 1;
}

static int get(struct bench_worker *worker, const void *key, void *value)
{
	struct connection *self = worker->context;
	struct frame frame;
	unsigned char *body;

	append_frame(self, OP_GET, 0, key, worker->work->key_len, NULL, 0);
	int status = send_all(self);
	if (!status)
		status = receive(self, &frame, &body);
	return status ? status : take(&frame, body, worker->work, value);
}

static int put(struct bench_worker *worker, const void *key, const void *value, uint32_t len)
{
	struct connection *self = worker->context;
	struct frame frame;
	unsigned char *body;

	append_frame(self, OP_SET, 0, key, worker->work->key_len, value, len);
	int status = send_all(self);
	if (!status)
		status = receive(self, &frame, &body);
	if (status)
		return status;
	return frame.status == STATUS_OK ? 0 : -ENOSPC;
}

static int get_batch(struct bench_worker *worker, const void *const *keys, void *const *values,
		     int *tiers, unsigned n)
{
	struct connection *self = worker->context;
	struct frame frame;
	unsigned char *body;
	int hits = 0, status;

	(void)tiers;
	for (unsigned i = 0; i < n; i++)
		append_frame(self, OP_GETQ, i, keys[i], worker->work->key_len, NULL, 0);
	append_frame(self, OP_NOOP, n, NULL, 0, NULL, 0);
	status = send_all(self);
	while (!status) {
		status = receive(self, &frame, &body);
		if (status || frame.op == OP_NOOP)
			break;
		int hit = frame.opaque < n ? take(&frame, body, worker->work, values[frame.opaque])
					   : -EPROTO;
		if (hit < 0)
			status = hit;
		hits += hit > 0;
	}
	return status ? status : hits;
}

static int put_batch(struct bench_worker *worker, const void *const *keys,
		     const void *const *values, const uint32_t *lens, unsigned n)
{
	struct connection *self = worker->context;
	struct frame frame;
	unsigned char *body;
	int status, answer = 0;

	for (unsigned i = 0; i < n; i++)
		append_frame(self, OP_SETQ, i, keys[i], worker->work->key_len, values[i], lens[i]);
	append_frame(self, OP_NOOP, n, NULL, 0, NULL, 0);
	status = send_all(self);
	while (!status) {
		status = receive(self, &frame, &body);
		if (status || frame.op == OP_NOOP)
			break;
		answer = -ENOSPC; /* a quiet set speaks only when it was refused */
	}
	return status ? status : answer;
}

static void run(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, false, get, put, get_batch, put_batch);
}

static void run_timed(struct bench_worker *worker, uint64_t n)
{
	bench_loop(worker, n, true, get, put, get_batch, put_batch);
}

static const struct bench_ops ops = {
	.worker_open = open_worker,
	.worker_close = close_worker,
	.put_batch = put_batch,
	.run = run,
	.run_timed = run_timed,
};

/* Buckets for all keys from the start, so that it does not grow its table while it is measured. */
static unsigned hash_power(uint64_t keys)
{
	unsigned power = 16;
	while (power < 30 && (UINT64_C(1) << power) < keys)
		power++;
	return power;
}

static int open_store(struct bench_target *target, const struct workload *work,
		      const struct peer_options *options, char *reason, size_t capacity)
{
	char megabytes[32], threads[16], tuning[64];
	struct store *store;

	if (work->key_len > KEY_MAX || work->value_most > VALUE_MOST) {
		snprintf(reason, capacity, "memcached takes keys to %u and values to %u bytes here",
			 KEY_MAX, VALUE_MOST);
		return -EINVAL;
	}
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	int n = snprintf(store->socket, sizeof(store->socket), "%s/memcached.sock", options->dir);
	if (n < 0 || (size_t)n >= sizeof(store->socket)) {
		free(store);
		return -ENAMETOOLONG;
	}
	uint64_t data = work->keys * ((uint64_t)work->key_len + work->value_most + 80);
	snprintf(megabytes, sizeof(megabytes), "%llu",
		 (unsigned long long)((data + data / 2) >> 20) + 256);
	snprintf(threads, sizeof(threads), "%u", work->threads);
	snprintf(tuning, sizeof(tuning), "hashpower=%u,no_lru_crawler", hash_power(work->keys));
	char *argv[] = {"memcached", "-s", store->socket, "-m", megabytes, "-t",
			threads,     "-B", "binary",      "-o", tuning,    geteuid() ? NULL : "-u",
			"root",      NULL};
	store->pid = peer_server_start(argv, store->socket);
	if (store->pid < 0) {
		int status = store->pid;
		snprintf(reason, capacity, "memcached: %s%s", strerror(-status),
			 status == -ENOENT ? " (install memcached)" : "");
		free(store);
		return status;
	}
	target->ops = &ops;
	target->context = store;
	target->server_pid = store->pid;
	return 0;
}

static void close_store(struct bench_target *target)
{
	struct store *store = target->context;
	peer_server_stop(store->pid);
	free(store);
}

int main(int argc, char **argv)
{
	static const struct peer memcached = {"memcached", open_store,  NULL,
					      NULL,        close_store, NULL};
	return peer_main(&memcached, argc, argv);
}
