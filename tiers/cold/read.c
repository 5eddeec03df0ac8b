/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Point reads. A get goes through the runs from the newest to the oldest:
 *
 *   filter says no -> next run        fences: below the first -> next run
 *   else one read of one block -> found: done; not there (a false positive): next run; bad: -EIO, done
 *   no run left: miss
 *
 * Life of an op: idle -> started (has the set) -> unsent -> the queue's -> finished, given to the
 * caller (the set is given back; it keeps the value) -> idle. A cancelled op becomes idle when its
 * read comes back.
 */
#include "tiers/cold/merge.h"

#include "alloc/check.h"

#include <errno.h>
#include <time.h>

#define VALUE_ROOM_MIN ((size_t)2048)
#define VALUE_ROOM_KEPT ((size_t)16 << 10) /* larger buffers are freed at release */
#define BATCH 64u

struct op {
	struct io_read read;
	struct cold_get *get;   /* NULL: cancelled */
	struct run_set *set;    /* pinned, or NULL */
	uint32_t position;      /* of the run that is being read */
	uint32_t block;         /* in its segment */
	struct cold_segment *segment;
	char *value;
	size_t value_room;
	struct op *next;        /* in idle or unsent */
	struct op *all_next;
};

struct cold_io {
	struct cold *cold;
	struct io_queue *queue;
	struct op *idle, *all;
	struct op *unsent, **unsent_end;
	unsigned n_unsent;
	struct block_decoder decoder;
	uint8_t *scratch;       /* for a block of usual size; for a long one it grows */
	size_t scratch_room;
	void *decoder_memory;
	struct block_cursor cursor;
};

int cold_io_open(struct cold *cold, unsigned depth, struct cold_io **out)
{
	if (!depth || depth > IO_DEPTH_MAX)
		return -EINVAL;
	struct cold_io *io = memory_alloc(&cold->memory, sizeof(*io));
	if (!io)
		return -ENOMEM;
	io->cold = cold;
	io->unsent_end = &io->unsent;
	int status = -ENOMEM;
	io->scratch_room = MERGE_SCRATCH;
	io->scratch = memory_alloc(&cold->memory, io->scratch_room);
	io->decoder_memory = memory_alloc(&cold->memory, block_decoder_bytes());
	if (!io->scratch || !io->decoder_memory)
		goto free_io;
	status = block_decoder_init(&io->decoder, io->decoder_memory, block_decoder_bytes());
	if (status)
		goto free_io;
	/* A read is one page or two; some of the room is for large values. */
	size_t buffers = (size_t)depth * 2 * IO_UNIT;
	if (buffers < IO_BUFFER_MIN)
		buffers = IO_BUFFER_MIN;
	status = io_queue_open(cold->engine, depth, buffers, &io->queue);
	if (status)
		goto free_io;
	*out = io;
	return 0;
free_io:
	memory_free(&cold->memory, io->decoder_memory, block_decoder_bytes());
	memory_free(&cold->memory, io->scratch, io->scratch_room);
	memory_free(&cold->memory, io, sizeof(*io));
	return status;
}

void cold_io_close(struct cold_io **out)
{
	struct cold_io *io = *out;
	if (!io)
		return;
	struct memory *memory = &io->cold->memory;
	io_queue_close(&io->queue);
	while (io->all) {
		struct op *op = io->all;
		io->all = op->all_next;
		if (op->set)
			set_unpin(io->cold, op->set);
		memory_free(memory, op->value, op->value_room);
		memory_free(memory, op, sizeof(*op));
	}
	memory_free(memory, io->decoder_memory, block_decoder_bytes());
	memory_free(memory, io->scratch, io->scratch_room);
	memory_free(memory, io, sizeof(*io));
	*out = NULL;
}

int cold_io_fd(struct cold_io *io)
{
	return io_queue_fd(io->queue);
}

/* ---- Filters ---- */

/* The first run from `from` on that may hold the point, and in which segment; set->n if there is none.
 * Inside the gate. */
static uint32_t next_candidate(const struct run_set *set, uint32_t from, struct point point,
			       struct cold_segment **segment)
{
	for (; from < set->n; from++) {
		*segment = run_route(set->runs[from], point);
		if (*segment && cold_segment_may_hold(*segment, point))
			break;
	}
	return from;
}

/* The same from the beginning, with the filters' memory asked for ahead. */
#define PREFETCH 16u

static uint32_t first_candidate(const struct run_set *set, struct point point,
				struct cold_segment **segment)
{
	uint64_t mixed = filter_mix(point.hash, 0);
	for (uint32_t from = 0; from < set->n; from += PREFETCH) {
		struct cold_segment *ahead[PREFETCH];
		struct filter_aim aim[PREFETCH];
		uint32_t n = set->n - from < PREFETCH ? set->n - from : PREFETCH;
		for (uint32_t i = 0; i < n; i++) {
			ahead[i] = run_route(set->runs[from + i], point);
			if (ahead[i] && !cold_segment_aim(ahead[i], point, mixed, &aim[i]))
				ahead[i] = NULL;
		}
		for (uint32_t i = 0; i < n; i++) {
			*segment = ahead[i];
			if (ahead[i] && filter_aim_test(&aim[i]))
				return from + i;
		}
	}
	return set->n;
}

bool cold_may_contain(struct cold *cold, uint8_t space, uint64_t hash)
{
	struct cold_segment *segment;
	unsigned token = gate_enter(&cold->gate);
	const struct run_set *set = atomic_load(&cold->set);
	struct point point = { hash, space };
	bool may = first_candidate(set, point, &segment) < set->n || set_lost(cold, set, point, 0);
	gate_exit(&cold->gate, token);
	return may;
}

/* ---- A get's steps ---- */

static struct op *op_take(struct cold_io *io)
{
	struct op *op = io->idle;
	if (op) {
		io->idle = op->next;
		return op;
	}
	op = memory_alloc(&io->cold->memory, sizeof(*op));
	if (!op)
		return NULL;
	op->value = memory_alloc(&io->cold->memory, VALUE_ROOM_MIN);
	if (!op->value) {
		memory_free(&io->cold->memory, op, sizeof(*op));
		return NULL;
	}
	op->value_room = VALUE_ROOM_MIN;
	op->all_next = io->all;
	io->all = op;
	return op;
}

/* The op needs the set no longer. */
static void op_unpin(struct cold_io *io, struct op *op)
{
	if (op->set)
		set_unpin(io->cold, op->set);
	op->set = NULL;
}

static void op_idle(struct cold_io *io, struct op *op)
{
	op_unpin(io, op);
	if (op->value_room > VALUE_ROOM_KEPT) {
		char *value = memory_alloc(&io->cold->memory, VALUE_ROOM_MIN);
		if (value) {
			memory_free(&io->cold->memory, op->value, op->value_room);
			op->value = value;
			op->value_room = VALUE_ROOM_MIN;
		}
	}
	op->get = NULL;
	op->next = io->idle;
	io->idle = op;
}

static struct ident get_ident(const struct cold_get *get, uint8_t *buffer)
{
	return ident_make(buffer, get->space, get->key, get->key_len, get->flags);
}

static struct point get_point(const struct cold_get *get)
{
	return (struct point){ get->hash, get->space };
}

static void op_aim(struct op *op, uint32_t block)
{
	struct fence_place place = fence_place(&op->segment->fences, block);
	uint64_t length = place.end - place.start;
	op->block = block;
	op->read.file = &op->segment->file;
	op->read.offset = place.start;
	op->read.length = length < BLOCK_MAX ? (uint32_t)length : BLOCK_MAX;
	op->read.user = op;
}

/* op->position and op->segment are a candidate, or there is none: sets up the read of the block that may
 * hold the key. THERMO_OK: it is to be sent. THERMO_MISS: no run is left. */
static int op_candidate(struct cold_io *io, struct op *op)
{
	struct run_set *set = op->set;
	struct point point = get_point(op->get);
	uint32_t block;
	while (op->position < set->n) {
		if (fence_find(&op->segment->fences, point, &block) == THERMO_OK) {
			op_aim(op, block);
			return THERMO_OK;
		}
		unsigned token = gate_enter(&io->cold->gate);
		op->position = next_candidate(set, op->position + 1, point, &op->segment);
		gate_exit(&io->cold->gate, token);
	}
	return THERMO_MISS;
}

/* The block does not have it: on to the next one that may. */
static int op_advance(struct cold_io *io, struct op *op)
{
	struct point point = get_point(op->get);
	if (fence_again(&op->segment->fences, point, op->block)) {
		op_aim(op, op->block - 1);
		return THERMO_OK;
	}
	unsigned token = gate_enter(&io->cold->gate);
	op->position = next_candidate(op->set, op->position + 1, point, &op->segment);
	gate_exit(&io->cold->gate, token);
	return op_candidate(io, op);
}

static void op_queue(struct cold_io *io, struct op *op)
{
	op->next = NULL;
	*io->unsent_end = op;
	io->unsent_end = &op->next;
	io->n_unsent++;
}

static int value_room(struct cold_io *io, struct op *op, size_t bytes)
{
	if (bytes <= op->value_room)
		return 0;
	size_t room = op->value_room;
	while (room < bytes)
		room *= 2;
	char *value = memory_alloc(&io->cold->memory, room);
	if (!value)
		return -ENOMEM;
	memory_free(&io->cold->memory, op->value, op->value_room);
	op->value = value;
	op->value_room = room;
	return 0;
}

/* The cursor is on the record: the outcome of the get. */
static int op_found(struct cold_io *io, struct op *op, const struct ident *ident)
{
	struct cold_get *get = op->get;
	const struct block_cursor *cursor = &io->cursor;
	if (set_lost(io->cold, op->set, get_point(get), cursor->seq))
		return -EIO;
	if (!set_visible(op->set, ident, get->hash, cursor->seq) ||
	    (cursor->flags & COLD_TOMBSTONE) ||
	    (cursor->expires_ms &&
	     cursor->expires_ms <= io->cold->clock_ms(io->cold->clock_context)))
		return THERMO_MISS;
	if (value_room(io, op, cursor->value_len))
		return -ENOMEM;
	memcpy(op->value, cursor->value, cursor->value_len);
	get->record = (struct cold_record){ .key = get->key,
					    .value = op->value,
					    .key_len = get->key_len,
					    .value_len = cursor->value_len,
					    .space = get->space,
					    .flags = cursor->flags,
					    .hash = get->hash,
					    .seq = cursor->seq,
					    .expires_ms = cursor->expires_ms };
	count(&io->cold->counters.hits, 1);
	return THERMO_OK;
}

static int scratch_room(struct cold_io *io, size_t bytes)
{
	if (bytes <= io->scratch_room)
		return 0;
	uint8_t *scratch = memory_alloc(&io->cold->memory, BLOCK_RAW_MAX);
	if (!scratch)
		return -ENOMEM;
	memory_free(&io->cold->memory, io->scratch, io->scratch_room);
	io->scratch = scratch;
	io->scratch_room = BLOCK_RAW_MAX;
	return 0;
}

/* No run is left that may have it: a miss, if nothing that is lost could be it. */
static int op_missed(struct cold_io *io, const struct op *op, int status)
{
	bool lost = status == THERMO_MISS && set_lost(io->cold, op->set, get_point(op->get), 0);
	return lost ? -EIO : status;
}

/* A block came. 1: the get has its status; 0: another read has been queued. */
static int op_block(struct cold_io *io, struct op *op)
{
	uint8_t buffer[IDENT_MAX];
	struct cold_get *get = op->get;
	struct ident ident = get_ident(get, buffer);
	struct block_header header;
	const uint8_t *payload;
	count(&io->cold->counters.reads, 1);
	count(&io->cold->counters.point_reads, 1);
	count(&io->cold->counters.read_bytes, op->read.length);
	int status = op->read.status;
	if (!status)
		status = block_check(op->read.data, op->read.length, op->segment->number,
				     op->read.offset, &header);
	if (!status)
		status = scratch_room(io, header.raw);
	if (!status)
		status = block_unpack(&io->decoder, &header, op->read.data, io->scratch,
				      io->scratch_room, &payload);
	if (!status)
		status = block_first(&io->cursor, payload, header.raw, header.records);
	if (!status)
		status = block_find(&io->cursor, &ident);
	if (status == THERMO_OK) {
		get->status = op_found(io, op, &ident);
		return 1;
	}
	if (status == THERMO_MISS) {
		count(&io->cold->counters.false_positives, 1);
		status = op_advance(io, op);
		if (status == THERMO_OK) {
			op_queue(io, op);
			return 0;
		}
		get->status = op_missed(io, op, status);
		return 1;
	}
	/* Never on to an older version: what was here may have been the truth. */
	get->status = status == -ENOMEM ? status : -EIO;
	return 1;
}

int cold_get_start(struct cold_io *io, struct cold_get *get)
{
	struct cold *cold = io->cold;
	count(&cold->counters.gets, 1);
	get->state[0] = NULL;
	get->status = THERMO_MISS;
	unsigned token = gate_enter(&cold->gate);
	struct run_set *set = atomic_load(&cold->set);
	struct cold_segment *segment = NULL;
	uint32_t position = first_candidate(set, get_point(get), &segment);
	bool none = position == set->n;
	if (none && set_lost(cold, set, get_point(get), 0))
		get->status = -EIO;
	if (!none)
		atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	gate_exit(&cold->gate, token);
	if (none)
		return 1;
	struct op *op = op_take(io);
	if (!op) {
		set_unpin(cold, set);
		get->status = -ENOMEM;
		return 1;
	}
	op->set = set;
	op->get = get;
	op->position = position;
	op->segment = segment;
	get->state[0] = op;
	get->status = op_missed(io, op, op_candidate(io, op));
	if (get->status) {
		op_unpin(io, op);
		return 1;
	}
	op_queue(io, op);
	return 0;
}

/* ---- The queue ---- */

static void send_unsent(struct cold_io *io)
{
	struct op *op = io->unsent;
	io->unsent = NULL;
	io->unsent_end = &io->unsent;
	io->n_unsent = 0;
	while (op) {
		struct op *next = op->next;
		if (op->get)
			io_read_prepare(io->queue, &op->read);
		else
			op_idle(io, op); /* cancelled meanwhile */
		op = next;
	}
}

void cold_io_submit(struct cold_io *io)
{
	if (!io->n_unsent)
		return;
	send_unsent(io);
	io_queue_submit(io->queue);
}

/* A read is back. true: the get is finished. */
static bool op_back(struct cold_io *io, struct op *op)
{
	int finished = op->get ? op_block(io, op) : 0;
	io_read_release(io->queue, &op->read);
	if (!op->get) {
		op_idle(io, op);
		return false;
	}
	if (finished)
		op_unpin(io, op);
	return finished;
}

/* The only read there is: with this thread, for the lowest latency. Answers as op_back; -EAGAIN. */
static int read_alone(struct cold_io *io)
{
	struct op *op = io->unsent;
	if (!op->get)
		return -EAGAIN;
	int status = io_read_now(io->queue, &op->read);
	if (status)
		return status;
	io->unsent = NULL;
	io->unsent_end = &io->unsent;
	io->n_unsent = 0;
	return op_back(io, op);
}

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

unsigned cold_io_wait(struct cold_io *io, struct cold_get **done, unsigned max, int64_t timeout_ns)
{
	struct io_read *reads[BATCH];
	unsigned n = 0;
	int64_t until = timeout_ns > 0 ? now_ns() + timeout_ns : 0;
	while (!n && max) {
		/* A time-out cannot end a read with this thread. */
		if (io->n_unsent == 1 && timeout_ns < 0 && !io_queue_pending(io->queue)) {
			struct cold_get *get = io->unsent->get;
			int finished = read_alone(io);
			if (finished == 1)
				done[n++] = get;
			if (finished >= 0)
				continue;
		}
		send_unsent(io);
		int got = io_queue_wait(io->queue, reads, max < BATCH ? max : BATCH, timeout_ns);
		if (got < 0)
			break;
		for (int i = 0; i < got; i++) {
			struct op *op = reads[i]->user;
			struct cold_get *get = op->get;
			if (op_back(io, op))
				done[n++] = get;
		}
		if (io->n_unsent && n)
			cold_io_submit(io);
		if (timeout_ns > 0) {
			timeout_ns = until - now_ns();
			if (timeout_ns <= 0)
				timeout_ns = 0;
		}
		if (!got && !io->n_unsent && (timeout_ns >= 0 || !io_queue_pending(io->queue)))
			break;
	}
	return n;
}

void cold_get_release(struct cold_io *io, struct cold_get *get)
{
	struct op *op = get->state[0];
	if (op)
		op_idle(io, op);
	get->state[0] = NULL;
}

void cold_get_cancel(struct cold_io *io, struct cold_get *get)
{
	struct op *op = get->state[0];
	(void)io;
	if (op)
		op->get = NULL; /* becomes idle when its read is back, or when it would be sent */
	get->state[0] = NULL;
	get->status = THERMO_CANCELLED;
}

/* ---- One run, synchronously ---- */

struct run_reader {
	uint8_t *buffer;  /* IO_LENGTH_MAX, aligned */
	uint8_t *scratch; /* BLOCK_RAW_MAX */
	void *decoder_memory;
	struct block_decoder decoder;
	struct block_cursor cursor;
};

int run_reader_open(struct cold *cold, struct run_reader **out)
{
	struct run_reader *reader = memory_alloc(&cold->memory, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	reader->buffer = memory_alloc(&cold->memory, IO_LENGTH_MAX);
	reader->scratch = memory_alloc(&cold->memory, BLOCK_RAW_MAX);
	reader->decoder_memory = memory_alloc(&cold->memory, block_decoder_bytes());
	if (!reader->buffer || !reader->scratch || !reader->decoder_memory ||
	    block_decoder_init(&reader->decoder, reader->decoder_memory, block_decoder_bytes())) {
		run_reader_close(cold, &reader);
		return -ENOMEM;
	}
	*out = reader;
	return 0;
}

void run_reader_close(struct cold *cold, struct run_reader **out)
{
	struct run_reader *reader = *out;
	if (!reader)
		return;
	memory_free(&cold->memory, reader->buffer, IO_LENGTH_MAX);
	memory_free(&cold->memory, reader->scratch, BLOCK_RAW_MAX);
	memory_free(&cold->memory, reader->decoder_memory, block_decoder_bytes());
	memory_free(&cold->memory, reader, sizeof(*reader));
	*out = NULL;
}

/* Reads one block; the cursor stands on the record. */
static int find_in_block(struct cold *cold, struct run_reader *reader,
			 const struct cold_segment *segment, const struct ident *ident, uint32_t block)
{
	struct fence_place place = fence_place(&segment->fences, block);
	struct block_header header;
	const uint8_t *payload;
	uint64_t from = place.start & ~(uint64_t)(FORMAT_PAGE - 1);
	size_t length = place.end - place.start < BLOCK_MAX ? place.end - place.start : BLOCK_MAX;
	size_t bytes = (place.start + length - from + FORMAT_PAGE - 1) & ~(size_t)(FORMAT_PAGE - 1);
	const uint8_t *at = reader->buffer + (place.start - from);
	int status = file_read(&segment->file, reader->buffer, bytes, from);
	count(&cold->counters.reads, 1);
	count(&cold->counters.read_bytes, bytes);
	if (!status)
		status = block_check(at, length, segment->number, place.start, &header);
	if (!status)
		status = block_unpack(&reader->decoder, &header, at, reader->scratch, BLOCK_RAW_MAX,
				      &payload);
	if (!status)
		status = block_first(&reader->cursor, payload, header.raw, header.records);
	return status ? status : block_find(&reader->cursor, ident);
}

int run_reader_find(struct cold *cold, struct run_reader *reader, const struct run *run,
		    const struct ident *ident, uint64_t hash, uint64_t *seq, struct cold_segment **out)
{
	struct point point = { hash, ident->bytes[0] };
	struct cold_segment *segment = run_route(run, point);
	uint32_t block;
	if (!segment || fence_find(&segment->fences, point, &block))
		return THERMO_MISS;
	int status = find_in_block(cold, reader, segment, ident, block);
	while (status == THERMO_MISS && fence_again(&segment->fences, point, block))
		status = find_in_block(cold, reader, segment, ident, --block);
	if (status == THERMO_OK)
		*seq = reader->cursor.seq;
	if (out)
		*out = segment;
	return status;
}
