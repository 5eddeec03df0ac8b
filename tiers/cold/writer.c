/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writers: records gathered in DRAM, published as one run.
 *
 * Versions and writers. Publications have tickets. A writer remembers the ticket of its opening; runs
 * with greater tickets may hold newer versions of its records, so those runs are asked (by filter,
 * then by reading) and records that they supersede are left out. This keeps the order that searches rely
 * on, whatever the order in which writers are published. Compaction in its turn keeps tombstones that a
 * writer may need that is older than they are.
 */
#include "tiers/cold/tier.h"

#include "alloc/check.h"
#include "tiers/cold/sort.h"

#include <errno.h>

#define ARENA_MAX ((size_t)4 << 30)   /* address space only */
#define ENTRIES_MAX ((size_t)1 << 30)
#define ARENA_STEP ((size_t)256 << 10)
#define ENTRIES_STEP ((size_t)16 << 10)

struct cold_writer {
	struct cold *cold;            /* const after open */
	struct memory_range arena, entries;
	size_t arena_used;
	uint64_t n;
	bool sorted;
	uint64_t checked;             /* publications up to this ticket were asked */
	uint64_t ticket;              /* const after open: of the last publication before it */
	struct cold_writer *prev, *next; /* under writers_lock */
};

int cold_writer_open(struct cold *cold, struct cold_writer **out)
{
	struct cold_writer *writer = memory_alloc(&cold->memory, sizeof(*writer));
	if (!writer)
		return -ENOMEM;
	int status = memory_range_open(&writer->arena, ARENA_MAX);
	if (status)
		goto free_writer;
	status = memory_range_open(&writer->entries, ENTRIES_MAX);
	if (status)
		goto close_arena;
	writer->cold = cold;
	pthread_mutex_lock(&cold->writers_lock);
	writer->ticket = writer->checked = atomic_load(&cold->ticket);
	writer->next = cold->writers;
	if (writer->next)
		writer->next->prev = writer;
	cold->writers = writer;
	pthread_mutex_unlock(&cold->writers_lock);
	*out = writer;
	return 0;
close_arena:
	memory_range_close(&cold->memory, &writer->arena);
free_writer:
	memory_free(&cold->memory, writer, sizeof(*writer));
	return status;
}

bool writers_all_after(struct cold *cold, uint64_t ticket)
{
	bool all = true;
	pthread_mutex_lock(&cold->writers_lock);
	for (struct cold_writer *writer = cold->writers; writer; writer = writer->next)
		all &= writer->ticket >= ticket;
	pthread_mutex_unlock(&cold->writers_lock);
	return all;
}

int cold_writer_add(struct cold_writer *writer, const struct cold_record *record)
{
	struct memory *memory = &writer->cold->memory;
	check(record->key_len && record->key_len <= THERMO_KEY_MAX);
	check(record->value_len <= COLD_VALUE_MAX);
	size_t bytes = sizeof(struct held) + 1 + (size_t)record->key_len + record->value_len;
	bytes = (bytes + 7) & ~(size_t)7;
	if (memory_range_need(memory, &writer->arena, writer->arena_used + bytes, ARENA_STEP) ||
	    memory_range_need(memory, &writer->entries,
			      (writer->n + 1) * sizeof(struct sort_entry), ENTRIES_STEP))
		return -ENOMEM;
	struct sort_entry *entry = (struct sort_entry *)writer->entries.base + writer->n;
	entry->hash = record->hash;
	entry->at = writer->arena_used | (uint64_t)record->space << 56;
	struct held *held = sort_held(writer->arena.base, entry);
	*held = (struct held){ .seq = record->seq,
			       .expires_ms = record->expires_ms,
			       .value_len = record->value_len,
			       .ident_len = (uint16_t)(record->key_len + 1),
			       .flags = record->flags };
	uint8_t *at = (uint8_t *)(held + 1);
	ident_make(at, record->space, record->key, record->key_len, record->flags);
	if (record->value_len)
		memcpy(at + held->ident_len, record->value, record->value_len);
	writer->arena_used += bytes;
	writer->n++;
	writer->sorted = false;
	return 0;
}

uint64_t cold_writer_bytes(const struct cold_writer *writer)
{
	return writer->arena_used + writer->n * sizeof(struct sort_entry);
}

uint64_t cold_writer_records(const struct cold_writer *writer)
{
	return writer->n;
}

void cold_writer_abort(struct cold_writer **out)
{
	struct cold_writer *writer = *out;
	if (!writer)
		return;
	struct cold *cold = writer->cold;
	pthread_mutex_lock(&cold->writers_lock);
	if (writer->prev)
		writer->prev->next = writer->next;
	else
		cold->writers = writer->next;
	if (writer->next)
		writer->next->prev = writer->prev;
	pthread_mutex_unlock(&cold->writers_lock);
	memory_range_close(&cold->memory, &writer->entries);
	memory_range_close(&cold->memory, &writer->arena);
	memory_free(&cold->memory, writer, sizeof(*writer));
	*out = NULL;
}

/* ---- Publishing ---- */

static struct sort_entry *writer_entries(const struct cold_writer *writer)
{
	return (struct sort_entry *)writer->entries.base;
}

/* Marks the records of which this run holds a newer version. */
static int ask_run(struct cold_writer *writer, const struct run *run, struct run_reader *reader,
		   uint64_t *marked)
{
	struct cold *cold = writer->cold;
	for (uint64_t k = 0; k < writer->n; k++) {
		const struct sort_entry *entry = &writer_entries(writer)[k];
		struct held *held = sort_held(writer->arena.base, entry);
		if (held->gone || held->seq > run->max_seq ||
		    !set_may_hold(cold, run, sort_point(entry)))
			continue;
		struct ident ident = sort_ident(held);
		uint64_t seq;
		int status = run_reader_find(cold, reader, run, &ident, entry->hash, &seq, NULL);
		if (status < 0)
			return status;
		if (status == THERMO_OK && seq >= held->seq) {
			held->gone = 1;
			++*marked;
		}
	}
	return 0;
}

/* Asks all runs that were published since the last time. *marked: records newly left out. */
static int ask_newer(struct cold_writer *writer, uint64_t *marked)
{
	struct cold *cold = writer->cold;
	struct run_reader *reader = NULL;
	*marked = 0;
	uint64_t ticket = atomic_load(&cold->ticket);
	if (ticket == writer->checked)
		return 0;
	struct run_set *set = set_pin(cold);
	int status = run_reader_open(cold, &reader);
	for (uint32_t i = 0; i < set->n && !status; i++)
		if (set->runs[i]->published > writer->checked)
			status = ask_run(writer, set->runs[i], reader, marked);
	run_reader_close(cold, &reader);
	set_unpin(cold, set);
	count(&cold->counters.superseded, *marked);
	if (!status)
		writer->checked = ticket;
	return status;
}

/* What a publication is made of. */
struct product {
	struct cold_segment **segments; /* memory_alloc(room pointers); a reference each */
	uint32_t n, room;
	uint64_t shadowed;         /* about how many records in older runs are replaced */
};

static void product_clear(struct cold *cold, struct product *product, bool obsolete)
{
	for (uint32_t i = 0; i < product->n; i++) {
		atomic_store(&product->segments[i]->obsolete, obsolete);
		cold_segment_unref(cold, product->segments[i]);
	}
	memory_free(&cold->memory, product->segments, product->room * sizeof(struct cold_segment *));
	*product = (struct product){ 0 };
	if (obsolete)
		cold_bury(cold);
}

static int product_end_segment(struct cold *cold, struct product *product)
{
	if (product->n == product->room) {
		uint32_t room = product->room ? product->room * 2 : 4;
		struct cold_segment **segments =
			memory_grow(&cold->memory, product->segments,
				    product->room * sizeof(*segments),
				    product->n * sizeof(*segments), room * sizeof(*segments));
		if (!segments)
			return -ENOMEM;
		product->segments = segments;
		product->room = room;
	}
	int status = cold_build_finish(cold->build, &product->segments[product->n]);
	product->n += !status;
	return status;
}

/* One record in SAMPLE, chosen by hash, stands for all: does an older run seem to have its key? */
#define SAMPLE 64u
#define SAMPLE_FROM 4096u /* records; fewer are all asked */

static uint64_t count_shadowed(struct cold *cold, const struct run_set *set, struct point point,
			       uint64_t records)
{
	uint64_t weight = records < SAMPLE_FROM ? 1 : SAMPLE, n = 0;
	if (weight > 1 && point.hash % SAMPLE)
		return 0;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct cold_segment *segment = run_route(set->runs[i], point);
		if (segment && atomic_load(&segment->filter))
			n += set_may_hold(cold, set->runs[i], point);
	}
	return n ? weight : 0;
}

static int build_record(struct cold_writer *writer, const struct run_set *set,
			const struct sort_entry *entry, struct product *product)
{
	struct cold *cold = writer->cold;
	const struct held *held = sort_held(writer->arena.base, entry);
	struct ident ident = sort_ident(held);
	struct point point = sort_point(entry);
	int status = 0;
	if (cold_build_started(cold->build) &&
	    cold_build_written(cold->build) >= cold_file_bytes(cold) &&
	    cold_build_may_end(cold->build, point))
		status = product_end_segment(cold, product);
	if (!status && !cold_build_started(cold->build))
		status = cold_build_start(cold->build, false, true);
	if (status)
		return status;
	product->shadowed += count_shadowed(cold, set, point, writer->n);
	struct block_item item = { ident.bytes, ident.bytes + ident.len, ident.len,
				   held->value_len, held->flags, held->seq, held->expires_ms };
	return cold_build_add(cold->build, &item, entry->hash);
}

/* The writer's records as segments; none if no record is left. */
static int build_all(struct cold_writer *writer, struct product *product)
{
	struct cold *cold = writer->cold;
	struct run_set *set = set_pin(cold);
	const struct held *before = NULL;
	int status = 0;
	for (uint64_t k = 0; k < writer->n && !status; k++) {
		const struct sort_entry *entry = &writer_entries(writer)[k];
		const struct held *held = sort_held(writer->arena.base, entry);
		struct ident ident = sort_ident(held);
		if (held->gone || !set_visible(set, &ident, entry->hash, held->seq))
			continue;
		if (before) { /* an older version of the same identity? */
			struct ident newer = sort_ident(before);
			if (ident_equal(&newer, &ident))
				continue;
		}
		before = held;
		status = build_record(writer, set, entry, product);
	}
	set_unpin(cold, set);
	if (!status && cold_build_started(cold->build))
		status = product_end_segment(cold, product);
	if (status) {
		cold_build_abort(cold->build);
		product_clear(cold, product, true);
	}
	return status;
}

/* Puts the run before all others. Under edit. */
static int install_newest(struct cold *cold, struct run *run)
{
	const struct run_set *old = atomic_load(&cold->set);
	if (old->n == COLD_RUNS_MAX)
		return -ENOSPC;
	struct run_set *set = set_copy(cold);
	if (!set)
		return -ENOMEM;
	run->published = atomic_load(&cold->ticket) + 1;
	set_append(set, run);
	for (uint32_t i = 0; i < old->n; i++)
		set_append(set, old->runs[i]);
	int status = set_install(cold, set);
	if (status)
		set_discard(cold, set);
	else
		atomic_fetch_add(&cold->ticket, 1);
	return status;
}

/* -EAGAIN: others published meanwhile, and what they hold has to be asked first. */
static int install(struct cold_writer *writer, const struct product *product)
{
	struct cold *cold = writer->cold;
	bool none;
	struct run *run = run_new(cold, product->segments, product->n, POINT_FIRST, NULL, &none);
	if (!run)
		return -ENOMEM;
	run->shadowed = product->shadowed;
	pthread_mutex_lock(&cold->edit);
	int status = -EAGAIN;
	if (atomic_load(&cold->ticket) == writer->checked)
		status = install_newest(cold, run);
	pthread_mutex_unlock(&cold->edit);
	run_unref(cold, run);
	return status;
}

/* Builds and installs, again where others came first. */
static int publish(struct cold_writer *writer)
{
	struct cold *cold = writer->cold;
	struct product product = { 0 };
	uint64_t marked;
	int status = ask_newer(writer, &marked);
	if (!status)
		status = build_all(writer, &product);
	while (!status && product.n) {
		status = install(writer, &product);
		if (status != -EAGAIN)
			break;
		status = ask_newer(writer, &marked);
		if (!status && marked) {
			product_clear(cold, &product, true);
			status = build_all(writer, &product);
		}
	}
	product_clear(cold, &product, status != 0);
	return status;
}

int cold_writer_publish(struct cold_writer **out)
{
	struct cold_writer *writer = *out;
	struct cold *cold = writer->cold;
	int status = 0;
	if (atomic_load(&cold->failed))
		return -EROFS;
	if (writer->n) {
		status = compact_below(cold, COLD_RUNS_MAX - COLD_JOBS);
		if (!status && !writer->sorted)
			sort_entries(writer->arena.base, writer_entries(writer), writer->n);
		writer->sorted = !status;
		/* One at a time: the builder was made when the tier was opened, so that a full budget
		 * cannot keep records from leaving. */
		if (!status) {
			pthread_mutex_lock(&cold->publish_lock);
			status = publish(writer);
			pthread_mutex_unlock(&cold->publish_lock);
		}
	}
	if (!status)
		cold_writer_abort(out);
	return status;
}
