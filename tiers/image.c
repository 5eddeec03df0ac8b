/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of spaces and the image of the memory tiers. docs/format.md has both byte by byte.
 *
 * Image: a header, blocks of records (each with its length and xxh3), a last block of length 0 with
 * the number of records. Written to a temporary name, synced, renamed, the directory synced; then
 * the table is saved as clean with the image's number. Oldest segments first, so that what is read
 * back stands in the same order of residency.
 */
#include "tiers/image.h"

#include "tiers/cold/log.h"

#include "alloc/pages.h"
#include "tiers/cold/io.h"
#include "tiers/reclaim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define TABLE_MAGIC UINT64_C(0x31424154454d4854) /* "THMETAB1" */
#define IMAGE_MAGIC UINT64_C(0x31474d49454d4854) /* "THMEIMG1" */
#define FORMAT_VERSION 1u
#define BLOCK_BYTES ((size_t)1 << 20)
#define IMAGE_NAME "memory.img"
#define IMAGE_TEMPORARY "memory.img.tmp"

struct table_head {
	uint64_t magic;
	uint32_t version;
	uint32_t flags; /* enum table_flag */
	uint64_t clock;
	uint64_t image; /* number of the image that belongs to it */
	uint64_t log_from; /* log files with smaller numbers are of no use */
	uint32_t spaces;
	uint32_t entry_bytes;
	uint64_t xxh3; /* of what follows */
};

enum table_flag {
	TABLE_CLEAN = 1,  /* closed; else in use, or the last process did not close */
	TABLE_KEPT = 2,   /* the image belongs to the log, as its oldest file */
	TABLE_UNSURE = 4, /* cold may have newer versions than the log */
	TABLE_FLAGS = 7,
};

struct table_entry {
	uint8_t id, kind, durability, has_large;
	uint8_t min_percent[THERMO_TIERS], max_percent[THERMO_TIERS];
	uint8_t sync;
	uint8_t _pad;
	uint32_t sync_ms;
	int64_t ttl_ms;
	char name[THERMO_SPACE_NAME_MAX + 1];
};

struct image_head {
	uint64_t magic;
	uint32_t version;
	uint32_t record_bytes; /* sizeof(struct image_record) */
	uint64_t image;
};

struct image_block {
	uint32_t bytes, records;
	uint64_t xxh3; /* of the bytes; in the last block: number of records */
};

struct image_record {
	uint64_t seq, expires_ms;
	uint32_t value_len;
	uint16_t key_len;
	uint8_t space, flags; /* flags: enum record_flag */
	uint8_t tier, queue, counter, _pad[5];
};

_Static_assert(sizeof(struct table_head) == 56, "on media");
_Static_assert(sizeof(struct table_entry) == 88, "on media");
_Static_assert(sizeof(struct image_head) == 24, "on media");
_Static_assert(sizeof(struct image_block) == 16, "on media");
_Static_assert(sizeof(struct image_record) == 32, "on media");

/* ---- The table ---- */

static uint32_t table_flags(struct thermo *c, bool clean)
{
	return (clean ? TABLE_CLEAN : 0u) | (atomic_load(&c->image_kept) ? TABLE_KEPT : 0u) |
	       (atomic_load(&c->log_unsure) ? TABLE_UNSURE : 0u);
}

/* Fills the buffer; its length. */
static size_t table_fill(struct thermo *c, bool clean, char *buffer)
{
	struct table_head head = {
		.magic = TABLE_MAGIC,
		.version = FORMAT_VERSION,
		.flags = table_flags(c, clean),
		.log_from = c->log_from,
		.clock = atomic_load(&c->clock),
		.image = c->nonce,
		.entry_bytes = sizeof(struct table_entry),
	};
	char *at = buffer + sizeof(head);
	pthread_mutex_lock(&c->lock);
	for (unsigned id = 1; id <= THERMO_SPACES_MAX; id++) {
		const struct thermo_space *s = &c->space[id];
		if (atomic_load(&s->state) != SPACE_OPEN)
			continue;
		struct table_entry e = {
			.id = (uint8_t)id,
			.kind = (uint8_t)s->options.kind,
			.durability = (uint8_t)s->options.durability,
			.has_large = atomic_load(&s->has_large),
			.sync = (uint8_t)s->options.sync,
			.sync_ms = s->options.sync_ms,
			.ttl_ms = s->options.ttl_ms,
		};
		memcpy(e.min_percent, s->options.min_percent, sizeof(e.min_percent));
		memcpy(e.max_percent, s->options.max_percent, sizeof(e.max_percent));
		memcpy(e.name, s->name, sizeof(e.name));
		memcpy(at, &e, sizeof(e));
		at += sizeof(e);
		head.spaces++;
	}
	pthread_mutex_unlock(&c->lock);
	head.xxh3 = XXH3_64bits(buffer + sizeof(head), (size_t)(at - buffer) - sizeof(head));
	memcpy(buffer, &head, sizeof(head));
	return (size_t)(at - buffer);
}

int image_save_table(struct thermo *c, bool clean, struct thermo_error *error)
{
	if (!c->cold)
		return 0;
	size_t bytes = sizeof(struct table_head) + THERMO_SPACES_MAX * sizeof(struct table_entry);
	char *buffer = heap_zalloc(c->heap, 1, bytes);
	if (!buffer)
		return error_set(error, -ENOMEM, "no memory to save the table of spaces");
	pthread_mutex_lock(&c->table_lock); /* the later state is saved later */
	int rc = cold_meta_set(c->cold, buffer, table_fill(c, clean, buffer));
	pthread_mutex_unlock(&c->table_lock);
	heap_free(c->heap, buffer);
	if (rc)
		error_set(error, rc, "%s: the table of spaces could not be saved: %s",
			  c->options.cold_dir, strerror(-rc));
	return rc;
}

static int table_entry_load(struct thermo *c, const char *bytes)
{
	struct table_entry e;
	memcpy(&e, bytes, sizeof(e));
	if (e.id == 0 || e.name[0] == '\0' || memchr(e.name, 0, sizeof(e.name)) == NULL ||
	    e.kind != THERMO_BLOB || e.durability > THERMO_DURABLE || e.sync > THERMO_SYNCED_WITHIN)
		return -EILSEQ;
	struct thermo_space *s = &c->space[e.id];
	if (atomic_load(&s->state) != SPACE_NONE)
		return -EILSEQ;
	space_init(c, s, e.id);
	memcpy(s->name, e.name, sizeof(s->name));
	thermo_space_options_init(&s->options);
	s->options.kind = e.kind;
	s->options.durability = e.durability;
	s->durable = e.durability == THERMO_DURABLE;
	s->options.sync = e.sync;
	s->options.sync_ms = e.sync_ms;
	s->options.ttl_ms = e.ttl_ms;
	memcpy(s->options.min_percent, e.min_percent, sizeof(e.min_percent));
	memcpy(s->options.max_percent, e.max_percent, sizeof(e.max_percent));
	atomic_store(&s->has_large, e.has_large);
	if (atomic_load(&c->space_high) < e.id)
		atomic_store(&c->space_high, e.id);
	space_set_state(s, SPACE_OPEN);
	return 0;
}

int image_load_table(struct thermo *c, bool *clean, struct thermo_error *error)
{
	struct table_head head;
	size_t most = sizeof(head) + THERMO_SPACES_MAX * sizeof(struct table_entry);
	*clean = true;
	char *buffer = heap_alloc(c->heap, most);
	if (!buffer)
		return error_set(error, -ENOMEM, "no memory to read the table of spaces");
	size_t bytes = cold_meta_get(c->cold, buffer, most);
	int rc = 0;
	if (bytes == 0)
		goto free_buffer; /* a new directory */
	rc = -EILSEQ;
	if (bytes < sizeof(head) || bytes > most)
		goto damaged;
	memcpy(&head, buffer, sizeof(head));
	if (head.magic != TABLE_MAGIC)
		goto damaged;
	if (head.version != FORMAT_VERSION) {
		rc = error_set(error, -EPROTO,
			       "%s: its table of spaces has version %u, this program reads %u",
			       c->options.cold_dir, head.version, FORMAT_VERSION);
		goto free_buffer;
	}
	if (head.entry_bytes != sizeof(struct table_entry) || head.flags > TABLE_FLAGS ||
	    bytes != sizeof(head) + (size_t)head.spaces * head.entry_bytes ||
	    head.xxh3 != XXH3_64bits(buffer + sizeof(head), bytes - sizeof(head)))
		goto damaged;
	for (uint32_t i = 0; i < head.spaces; i++) {
		rc = table_entry_load(c, buffer + sizeof(head) + i * head.entry_bytes);
		if (rc)
			goto damaged;
	}
	rc = 0;
	*clean = head.flags & TABLE_CLEAN;
	atomic_store(&c->image_kept, (head.flags & TABLE_KEPT) != 0);
	atomic_store(&c->log_unsure, (head.flags & TABLE_UNSURE) != 0);
	c->log_from = head.log_from;
	if (head.clock > atomic_load(&c->clock))
		atomic_store(&c->clock, head.clock);
	c->nonce = head.image;
	goto free_buffer;
damaged:
	error_set(error, rc, "%s: the table of spaces in its manifest is damaged",
		  c->options.cold_dir);
free_buffer:
	heap_free(c->heap, buffer);
	return rc;
}

/* ---- Writing the image ---- */

/* Pages of its own: the heap may be full, and what is in memory must not be lost for that. */
static char *block_make(void)
{
	char *block = pages_reserve(BLOCK_BYTES);
	if (block && pages_commit(block, BLOCK_BYTES, 0, 0)) {
		pages_release(block, BLOCK_BYTES);
		block = NULL;
	}
	return block;
}

static void block_free(char *block)
{
	if (block)
		pages_release(block, BLOCK_BYTES);
}

struct out_file {
	struct file file;
	int rc;
	char *block;
	size_t used;
	uint32_t records;
	uint64_t total;
	uint64_t at; /* bytes written */
};

static void write_all(struct out_file *f, const void *bytes, size_t n)
{
	if (!f->rc)
		f->rc = file_write(&f->file, bytes, n, f->at);
	f->at += n;
}

static void block_flush(struct out_file *f)
{
	struct image_block head = {
		.bytes = (uint32_t)f->used,
		.records = f->records,
		.xxh3 = XXH3_64bits(f->block, f->used),
	};
	if (!f->used)
		return;
	write_all(f, &head, sizeof(head));
	write_all(f, f->block, f->used);
	f->total += f->records;
	f->used = 0;
	f->records = 0;
}

static void record_out(struct thermo *c, struct out_file *f, const struct segment *s,
		       const char *record)
{
	struct view v;
	struct found found;
	record_view(record, &v);
	if (v.space != s->space)
		return;
	unsigned chunk = (v.flags & RECORD_CHUNK) != 0;
	struct key key = {
		.bytes = v.key,
		.len = v.key_len,
		.space = v.space,
		.chunk = (uint8_t)chunk,
		.hash = key_hash(v.space, v.key, v.key_len, chunk),
		.identity = v.head & HEAD_IDENTITY,
	};
	if (!c->lookup->find(c, &key, &found) || found.record != record)
		return;
	struct image_record r = {
		.seq = record_seq(s, record),
		.expires_ms = v.expires_ms,
		.value_len = v.value_len,
		.key_len = (uint16_t)v.key_len,
		.space = v.space,
		.flags = (uint8_t)(v.flags | (atomic_load(&s->shadowing) ? RECORD_SHADOWING : 0u)),
		.tier = s->tier,
		.queue = s->queue,
		.counter = atomic_load(&found.at.bucket->counter[found.at.slot]),
	};
	if (f->used + sizeof(r) + v.key_len + v.value_len > BLOCK_BYTES)
		block_flush(f);
	memcpy(f->block + f->used, &r, sizeof(r));
	memcpy(f->block + f->used + sizeof(r), v.key, v.key_len + v.value_len);
	f->used += sizeof(r) + v.key_len + v.value_len;
	f->records++;
}

static int by_birth(const void *a, const void *b)
{
	const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;
	return (x->born > y->born) - (x->born < y->born);
}

static void tier_out(struct thermo *c, struct out_file *f, unsigned tier)
{
	struct pool *pool = &c->pool[tier];
	uint32_t n = 0, most = pool->extents_high * pool->per_extent;
	struct segment **order = most ? heap_alloc(c->heap, most * sizeof(*order)) : NULL;
	if (most && !order)
		f->rc = -ENOMEM;
	for (uint32_t i = 0; i < most && order; i++) {
		uint8_t state = atomic_load(&pool->segments[i].state);
		if (state == SEGMENT_OPEN || state == SEGMENT_SEALED || state == SEGMENT_SCANNING)
			order[n++] = &pool->segments[i];
	}
	if (n)
		qsort(order, n, sizeof(*order), by_birth);
	for (uint32_t i = 0; i < n && !f->rc; i++) {
		const struct segment *s = order[i];
		const char *start = segment_start(pool, s);
		uint32_t used = atomic_load(&s->used), offset = 0;
		epoch_enter();
		while (offset < used && load64(start + offset)) {
			struct view v;
			record_view(start + offset, &v);
			record_out(c, f, s, start + offset);
			offset += v.bytes;
		}
		epoch_exit();
	}
	heap_free(c->heap, order);
}

/* Renames, or with `to` NULL unlinks, and makes that durable. */
static int name_set(struct thermo *c, const char *from, const char *to)
{
	struct file dir;
	int rc = file_open_dir(c->files, c->options.cold_dir, &dir);
	if (rc)
		return rc;
	rc = to ? file_rename(&dir, from, to) : file_unlink(&dir, from);
	if (rc == 0)
		rc = file_sync(&dir);
	file_close(&dir);
	return rc;
}

static int open_in(struct thermo *c, const char *name, unsigned flags, struct file *file)
{
	struct file dir;
	int rc = file_open_dir(c->files, c->options.cold_dir, &dir);
	file->fd = -1;
	if (rc)
		return rc;
	rc = file_open(&dir, name, flags, file);
	file_close(&dir);
	return rc;
}

/* The temporary file, empty: one that an earlier close left is of no use. */
static int begin_image(struct thermo *c, struct out_file *f)
{
	name_set(c, IMAGE_TEMPORARY, NULL);
	return open_in(c, IMAGE_TEMPORARY, FILE_WRITE | FILE_CREATE, &f->file);
}

int image_save(struct thermo *c, struct thermo_error *error)
{
	struct out_file f = {.block = block_make()};
	f.rc = begin_image(c, &f);
	if (!f.block && !f.rc)
		f.rc = -ENOMEM;
	if (f.rc)
		goto close_file;
	c->nonce++;
	struct image_head head = {
		.magic = IMAGE_MAGIC,
		.version = FORMAT_VERSION,
		.record_bytes = sizeof(struct image_record),
		.image = c->nonce,
	};
	write_all(&f, &head, sizeof(head));
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		tier_out(c, &f, tier);
	block_flush(&f);
	struct image_block end = {.xxh3 = f.total};
	write_all(&f, &end, sizeof(end));
	if (!f.rc)
		f.rc = file_sync_data(&f.file);
close_file:
	block_free(f.block);
	file_close(&f.file);
	if (!f.rc)
		f.rc = name_set(c, IMAGE_TEMPORARY, IMAGE_NAME);
	if (f.rc) {
		name_set(c, IMAGE_TEMPORARY, NULL);
		error_set(error, f.rc,
			  "%s/" IMAGE_NAME ": %s; what was in memory is lost, and the next open "
			  "starts empty",
			  c->options.cold_dir, strerror(-f.rc));
	}
	return f.rc;
}

void image_remove(struct thermo *c)
{
	name_set(c, IMAGE_TEMPORARY, NULL);
	name_set(c, IMAGE_NAME, NULL);
}

/* ---- Reading it ---- */

struct in_file {
	struct file file;
	uint64_t at, bytes; /* read so far; length */
};

static int read_all(struct in_file *f, void *bytes, size_t n)
{
	if (n > f->bytes - f->at)
		return -EILSEQ; /* it was cut */
	f->at += n;
	return file_read(&f->file, bytes, n, f->at - n);
}

/* A record that memory has no room for now (the caps are others, or its segments are smaller). */
static int spill(struct thermo *c, struct cold_writer **writer, const struct restore *from)
{
	unsigned chunk = (from->flags & RECORD_CHUNK) != 0;
	bool gone = from->flags & RECORD_TOMBSTONE;
	if (from->flags & RECORD_CLEAN)
		return 0; /* it lies in cold */
	struct cold_record record = {
		.key = from->key,
		.key_len = from->key_len,
		.value = from->value,
		.value_len = from->value_len,
		.space = from->space,
		.flags = (uint8_t)((chunk ? COLD_CHUNK : 0) | (gone ? COLD_TOMBSTONE : 0) |
				   (from->flags & RECORD_HEAD ? COLD_HEAD : 0)),
		.hash = key_hash(from->space, from->key, from->key_len, chunk),
		.seq = from->seq,
		.expires_ms = from->expires_ms,
	};
	int rc = *writer ? 0 : cold_writer_open(c->cold, writer);
	if (rc == 0)
		rc = cold_writer_add(*writer, &record);
	if (rc == 0 && cold_writer_bytes(*writer) >= c->reclaim->writer_bytes)
		rc = cold_writer_publish(writer);
	return rc;
}

/* Is it to be brought back? After a crash only what the log needs: durable, and not in cold. */
static bool wanted(struct thermo *c, const struct image_record *r, bool crashed)
{
	const struct thermo_space *space = &c->space[r->space];
	if (atomic_load(&space->state) != SPACE_OPEN)
		return false; /* dropped in its last moments */
	return !crashed || (space->durable && !(r->flags & RECORD_CLEAN) &&
			    r->seq >= cold_space_below(c->cold, r->space));
}

static int block_in(struct thermo *c, const char *block, const struct image_block *head, bool crashed,
		    struct cold_writer **writer)
{
	size_t at = 0;
	for (uint32_t i = 0; i < head->records; i++) {
		struct image_record r;
		if (head->bytes - at < sizeof(r))
			return -EILSEQ;
		memcpy(&r, block + at, sizeof(r));
		at += sizeof(r);
		if (r.key_len == 0 || r.key_len > THERMO_KEY_MAX ||
		    r.value_len > RECORD_VALUE_MAX || r.tier >= MEMORY_TIERS ||
		    r.queue >= QUEUES || r.space == 0 || r.flags > 0x3f ||
		    head->bytes - at < r.key_len + r.value_len)
			return -EILSEQ;
		const char *key = block + at;
		at += r.key_len + r.value_len;
		if (!wanted(c, &r, crashed))
			continue;
		if (crashed && atomic_load(&c->clock) <= r.seq)
			atomic_store(&c->clock, r.seq + 1);
		struct restore restore = {
			.key = key,
			.value = key + r.key_len,
			.key_len = r.key_len,
			.value_len = r.value_len,
			.seq = r.seq,
			.expires_ms = r.expires_ms,
			.space = r.space,
			/* What of it had reached cold by the crash is not known. */
			.flags = (uint8_t)(r.flags | (crashed ? RECORD_SHADOWING : 0u)),
			.logged = c->space[r.space].durable && !(r.flags & RECORD_CLEAN),
			.tier = r.tier,
			.queue = r.queue,
			.counter = r.counter,
		};
		int rc = reclaim_restore(c, &restore);
		if (rc == -ENOSPC)
			rc = spill(c, writer, &restore);
		if (rc)
			return rc;
	}
	return at == head->bytes ? 0 : -EILSEQ;
}

static int blocks_in(struct thermo *c, struct in_file *f, char *block, bool crashed,
		     struct cold_writer **writer)
{
	uint64_t total = 0;
	for (;;) {
		struct image_block head;
		int rc = read_all(f, &head, sizeof(head));
		if (rc)
			return rc;
		if (head.bytes == 0)
			return head.xxh3 == total ? 0 : -EILSEQ;
		if (head.bytes > BLOCK_BYTES)
			return -EILSEQ;
		rc = read_all(f, block, head.bytes);
		if (rc == 0 && XXH3_64bits(block, head.bytes) != head.xxh3)
			rc = -EILSEQ;
		if (rc == 0)
			rc = block_in(c, block, &head, crashed, writer);
		if (rc)
			return rc;
		total += head.records;
	}
}

int image_load(struct thermo *c, bool crashed, struct thermo_error *error)
{
	struct image_head head;
	struct in_file f = {.at = 0};
	struct file_stat stat = {.bytes = 0};
	int rc = open_in(c, IMAGE_NAME, 0, &f.file);
	if (rc == -ENOENT)
		return rc;
	struct cold_writer *writer = NULL;
	char *block = NULL;
	if (rc == 0)
		rc = file_stat(&f.file, &stat);
	if (rc)
		goto done;
	f.bytes = stat.bytes;
	rc = -ENOMEM;
	block = block_make();
	if (!block)
		goto done;
	rc = read_all(&f, &head, sizeof(head));
	if (rc)
		goto done;
	rc = -EILSEQ;
	if (head.magic != IMAGE_MAGIC || head.record_bytes != sizeof(struct image_record) ||
	    (head.image != c->nonce && !(crashed && head.image == c->nonce + 1)))
		goto done;
	c->nonce = head.image; /* a close that did not get as far as the table has written a later one */
	rc = -EPROTO;
	if (head.version == FORMAT_VERSION)
		rc = blocks_in(c, &f, block, crashed, &writer);
	if (rc == 0 && writer)
		rc = cold_writer_publish(&writer);
done:
	if (writer)
		cold_writer_abort(&writer);
	block_free(block);
	file_close(&f.file);
	if (rc)
		error_set(error, rc, "%s/" IMAGE_NAME ": %s", c->options.cold_dir,
			  rc == -EPROTO   ? "written by another version"
			  : rc == -EILSEQ ? "damaged"
					  : strerror(-rc));
	return rc;
}
