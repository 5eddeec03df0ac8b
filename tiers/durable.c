/* SPDX-License-Identifier: Apache-2.0 */
/* Durable spaces. See durable.h. */
#include "tiers/durable.h"

#include "tiers/cold/log_format.h"
#include "tiers/image.h"
#include "tiers/reclaim.h"
#include "tiers/request.h"

#include <errno.h>
#include <time.h>

#define MS UINT64_C(1000000)
#define CHECK_NS (10 * MS)

/* ---- Opening ---- */

bool durable_any(struct thermo *c)
{
	for (unsigned id = 1; id <= atomic_load(&c->space_high); id++)
		if (atomic_load(&c->space[id].state) == SPACE_OPEN && c->space[id].durable)
			return true;
	return false;
}

int durable_open(struct thermo *c, struct thermo_error *error)
{
	struct log_options options = {
		.from = c->log_from,
		.record_max = log_entry_bytes(THERMO_KEY_MAX, c->chunk_bytes),
		.cap_bytes = c->options.log_bytes,
		.thread = c->options.background_threads != 0,
		.clock_ms = c->options.clock_ms,
		.clock_context = c->options.clock_context,
		.say = c->options.log,
		.say_context = c->options.log_context,
	};
	uint64_t least = log_cap_least(options.record_max);
	if (options.cap_bytes && options.cap_bytes < least)
		return error_set(error, -EINVAL, "log: %llu bytes is below the least with this dram, %lluK",
				 (unsigned long long)options.cap_bytes, (unsigned long long)(least >> 10));
	if (!options.cap_bytes)
		options.cap_bytes = c->options.dram_bytes + c->options.warm_bytes;
	if (options.cap_bytes < least)
		options.cap_bytes = least;
	cold_log_options(c->cold, &options);
	return log_open(&options, &c->log, error);
}

int durable_start(struct thermo *c, struct thermo_error *error)
{
	uint64_t deadline = monotonic_ns() + 1000 * MS;
	int rc = log_start(c->log, error);
	while (rc == -ENOMEM && migrate_make_memory(c, deadline))
		rc = log_start(c->log, error);
	if (rc == -ENOMEM)
		error_set(error, rc, "dram: there is no memory for the buffer of the log");
	return rc;
}

/* Has cold something newer of the key than the log? Asked only where the log had not all that went to cold. */
static bool newer_in_cold(struct thermo *c, const struct cold_record *record)
{
	if (!atomic_load(&c->log_unsure) || !cold_may_contain(c->cold, record->space, record->hash))
		return false;
	struct runner *runner = runner_take(c, false);
	if (!runner)
		return false;
	struct cold_get get = {
		.key = record->key,
		.key_len = record->key_len,
		.hash = record->hash,
		.space = record->space,
		.flags = record->flags & COLD_CHUNK,
	};
	runner_read(runner, &get);
	bool newer = get.status == THERMO_OK && get.record.seq >= record->seq;
	cold_get_release(runner->io, &get);
	runner_give(runner);
	return newer;
}

static bool in_index(struct thermo *c, const struct key *key)
{
	struct found f;
	epoch_enter();
	bool is = c->lookup->find(c, key, &f);
	epoch_exit();
	return is;
}

static int apply(void *context, const struct cold_record *record, uint64_t file)
{
	struct thermo *c = context;
	struct thermo_space *space = &c->space[record->space];
	uint64_t clock = atomic_load(&c->clock);
	if (clock <= record->seq)
		atomic_store(&c->clock, record->seq + 1);
	if (atomic_load(&space->state) != SPACE_OPEN || !space->durable ||
	    record->seq < cold_space_below(c->cold, record->space))
		return 0; /* dropped since */
	bool gone = record->flags & COLD_TOMBSTONE;
	struct write w = {
		.key = key_make(space, record->key, record->key_len, (record->flags & COLD_CHUNK) != 0),
		.value = record->value,
		.value_len = record->value_len,
		.flags = (gone ? RECORD_TOMBSTONE : 0u) | (record->flags & COLD_HEAD ? RECORD_HEAD : 0u),
		.expires_ms = record->expires_ms,
		.cold_seq = record->seq,
		.replay = true,
		.log_file = file,
	};
	if (record->flags & (COLD_HEAD | COLD_CHUNK))
		atomic_store(&space->has_large, 1);
	bool known = in_index(c, &w.key);
	if (!known && gone && !cold_may_contain(c->cold, w.key.space, w.key.hash))
		return 0;
	if (!known && newer_in_cold(c, record))
		return 0;
	int rc = write_record(c, &w);
	for (unsigned tries = 0; rc == THERMO_BUSY && tries < 100000; tries++) {
		migrate_work(c);
		rc = write_record(c, &w);
	}
	return rc == THERMO_CONFLICT ? 0 : rc == THERMO_BUSY ? -ENOSPC : rc;
}

int durable_replay(struct thermo *c, struct thermo_error *error)
{
	struct thermo_error why = {{0}};
	int rc = log_replay(c->log, apply, c, &why);
	return rc ? error_set(error, rc, "%s", why.text) : 0;
}

/* ---- One write ---- */

static int no_log(struct thermo *c, int rc)
{
	struct shard *shard = cache_shard(c);
	counter_add(rc == LOG_FULL ? &shard->busy : &shard->no_space, 1);
	return rc == LOG_FULL ? THERMO_BUSY : rc;
}

int durable_reserve(struct thermo *c, struct write *w)
{
	uint32_t bytes = log_entry_bytes(w->key.len, w->value_len);
	int rc = log_reserve(c->log, bytes);
	w->logged = 0;
	if (unlikely(rc == LOG_FULL)) {
		uint64_t began = monotonic_ns(), deadline = cache_deadline(c);
		while (rc == LOG_FULL && migrate_make_log_room(c, deadline))
			rc = log_reserve(c->log, bytes);
		cache_waited(c, monotonic_ns() - began);
	}
	if (unlikely(rc))
		return no_log(c, rc);
	w->log_bytes = bytes;
	return THERMO_OK;
}

void durable_cancel(struct thermo *c, struct write *w)
{
	log_cancel(c->log, w->log_bytes);
	w->log_bytes = 0;
}

void durable_take(struct thermo *c, struct write *w, struct segment *segment)
{
	if (w->log_file) { /* replayed: there already */
		segment_pin_log(segment, w->log_file);
		return;
	}
	/* First the pin, then the position: whoever sees the record in a file sees that it is needed. */
	if (segment)
		segment_pin_log(segment, log_current(c->log));
	w->logged = log_take(c->log, w->log_bytes) + w->log_bytes;
}

void durable_fill(struct thermo *c, struct write *w)
{
	if (!w->log_bytes)
		return;
	struct cold_record record = {
		.key = w->key.bytes,
		.key_len = w->key.len,
		.value = w->value,
		.value_len = w->value_len,
		.space = w->key.space,
		.flags = (uint8_t)((w->key.chunk ? COLD_CHUNK : 0) |
				   (w->flags & RECORD_TOMBSTONE ? COLD_TOMBSTONE : 0) |
				   (w->flags & RECORD_HEAD ? COLD_HEAD : 0)),
		.seq = w->version,
		.expires_ms = w->expires_ms,
	};
	log_fill(c->log, w->logged - w->log_bytes, &record);
	w->log_bytes = 0;
}

void durable_rests(struct thermo *c, struct write *w)
{
	w->logged = log_tail(c->log);
}

/* ---- The answer ---- */

void durable_logged(struct thermo_request *request, const struct write *w)
{
	if (!w->logged)
		return;
	request->_private = (void *)(uintptr_t)w->logged;
	request->_state |= REQUEST_LOGGED;
}

static enum thermo_sync sync_of(const struct thermo_request *request)
{
	unsigned sync = request->sync;
	if (sync == THERMO_SYNC_DEFAULT)
		sync = __atomic_load_n(&request->space->options.sync, __ATOMIC_RELAXED);
	return sync == THERMO_SYNC_DEFAULT ? THERMO_SYNCED : (enum thermo_sync)sync;
}

static enum log_level level_of(enum thermo_sync sync)
{
	return sync == THERMO_WRITTEN ? LOG_WRITTEN : LOG_SYNCED;
}

int durable_state(struct thermo *c, const struct thermo_request *request)
{
	uint64_t end = durable_end(request);
	enum thermo_sync sync = sync_of(request);
	if (!end || log_reached(c->log, end, level_of(sync)))
		return THERMO_OK;
	if (log_failed(c->log))
		return -EIO;
	if (sync != THERMO_SYNCED_WITHIN)
		return THERMO_PENDING;
	log_promise(c->log, __atomic_load_n(&request->space->options.sync_ms, __ATOMIC_RELAXED));
	return THERMO_OK;
}

void durable_settle(struct thermo *c, struct thermo_request *requests, size_t n)
{
	uint64_t end[2] = {0, 0}; /* by log_level */
	for (size_t i = 0; i < n; i++) {
		if (!durable_end(&requests[i]) || durable_state(c, &requests[i]) != THERMO_PENDING)
			continue;
		enum log_level level = level_of(sync_of(&requests[i]));
		if (end[level] < durable_end(&requests[i]))
			end[level] = durable_end(&requests[i]);
	}
	for (unsigned level = LOG_WRITTEN; level <= LOG_SYNCED; level++)
		if (end[level])
			log_wait(c->log, end[level], (enum log_level)level, -1);
	for (size_t i = 0; i < n; i++) {
		if (!durable_end(&requests[i]))
			continue;
		int rc = durable_state(c, &requests[i]);
		if (rc != THERMO_OK)
			requests[i].status = rc;
		requests[i]._state &= ~REQUEST_LOGGED;
		requests[i]._private = NULL;
	}
}

int thermo_sync(struct thermo *c, int64_t timeout_ns)
{
	if (!c)
		return -EINVAL;
	if (cache_forked(c))
		return -ECHILD;
	if (!c->log || !log_started(c->log))
		return THERMO_OK;
	return log_wait(c->log, log_tail(c->log), LOG_SYNCED, timeout_ns);
}

/* ---- Trimming ---- */

static uint64_t oldest(struct thermo *c)
{
	return atomic_load(&c->image_kept) ? 0 : log_oldest(c->log);
}

bool durable_wants(struct thermo *c, uint64_t *upto)
{
	if (!c->log || !log_started(c->log))
		return false;
	uint64_t first = oldest(c);
	bool pressed = log_pressed(c->log);
	*upto = atomic_load(&c->log_flush); /* 0: nobody wants it; the image alone is no reason */
	if (pressed && *upto < first)
		*upto = first;
	return (pressed || *upto) && first <= *upto;
}

/* The oldest file that a segment needs. Under migrate_lock: nothing moves. */
static uint64_t needed(struct thermo *c)
{
	uint64_t least = SEGMENT_UNLOGGED;
	pthread_mutex_lock(&c->lock);
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++) {
		const struct pool *pool = &c->pool[tier];
		for (uint32_t i = 0; i < pool->extents_high * pool->per_extent; i++) {
			const struct segment *s = &pool->segments[i];
			uint8_t state = atomic_load(&s->state);
			uint64_t file = atomic_load(&s->log_file);
			if (state != SEGMENT_OPEN && state != SEGMENT_SEALED && state != SEGMENT_SCANNING)
				continue;
			if (file < least)
				least = file;
		}
	}
	pthread_mutex_unlock(&c->lock);
	return least;
}

static bool forget_image(struct thermo *c)
{
	atomic_store(&c->image_kept, false);
	if (image_save_table(c, false, NULL)) {
		atomic_store(&c->image_kept, true);
		return false;
	}
	image_remove(c);
	return true;
}

bool durable_trim(struct thermo *c)
{
	uint64_t now = monotonic_ns(), upto;
	if (!c->log || !log_started(c->log) || log_failed(c->log))
		return false;
	bool kept = atomic_load(&c->image_kept);
	if (!kept && log_oldest(c->log) >= log_current(c->log))
		return false;
	if (now - atomic_load(&c->log_checked_ns) < CHECK_NS && !durable_wants(c, &upto))
		return false;
	atomic_store(&c->log_checked_ns, now);
	pthread_mutex_lock(&c->migrate_lock);
	uint64_t least = needed(c);
	pthread_mutex_unlock(&c->migrate_lock);
	if (least == 0 || (!kept && least <= log_oldest(c->log)))
		return false;
	/* What made older records dead is synced before these go. */
	if (log_wait(c->log, log_tail(c->log), LOG_SYNCED, -1) != THERMO_OK)
		return false;
	if (kept && !forget_image(c))
		return false;
	return log_trim(c->log, least) != 0 || kept;
}

int durable_before_publish(struct thermo *c)
{
	if (!c->log || !log_started(c->log) || atomic_load(&c->log_unsure) ||
	    log_wait(c->log, log_tail(c->log), LOG_SYNCED, -1) == THERMO_OK)
		return 0;
	atomic_store(&c->log_unsure, true);
	int rc = image_save_table(c, false, NULL);
	if (rc)
		atomic_store(&c->log_unsure, false);
	return rc;
}

int durable_forget(struct thermo *c, int64_t timeout_ns)
{
	uint64_t began = monotonic_ns(), file = 0;
	int rc = LOG_FULL;
	for (;;) {
		if (rc == LOG_FULL)
			rc = log_rotate(c->log, &file);
		if (rc && rc != LOG_FULL)
			return rc;
		if (rc == LOG_FULL) /* what there is before it makes room for the next file */
			file = log_current(c->log) - 1;
		uint64_t flush = atomic_load(&c->log_flush);
		while (flush < file && !atomic_compare_exchange_weak(&c->log_flush, &flush, file))
			;
		if (rc == 0 && oldest(c) > file)
			return THERMO_OK;
		if (timeout_ns >= 0 && monotonic_ns() - began >= (uint64_t)timeout_ns)
			return THERMO_PENDING;
		migrate_kick(c);
		if (migrate_work(c) != THERMO_OK) {
			struct timespec t = {0, 200000};
			nanosleep(&t, NULL);
		}
	}
}
