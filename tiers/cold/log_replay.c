/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay. Files in the order of their numbers, each from its first frame to the position at which the next one
 * that has frames begins. What is not a frame before that, or before a position that a later frame says was synced,
 * is damage and is reported. What is not a frame otherwise was being written when the process or the machine went: a torn
 * tail.
 *
 * What is replayed may lie in the page cache only, if it was the process that went: the last file is synced before new
 * frames say that it was.
 */
#include "tiers/cold/log_private.h"

#include "alloc/error.h"
#include "alloc/pages.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define WINDOW (2 * (size_t)LOG_FRAME_MAX)

/* One file being read, a window of it in memory. */
struct reading {
	struct log *log;
	struct file file;
	uint64_t number, salt, bytes; /* of the file */
	bool headed; /* its header is sound */
	char *window;
	uint64_t start; /* of the window in the file */
	size_t len;
};

static int window_at(struct reading *r, uint64_t offset, size_t need)
{
	if (offset >= r->start && offset + need <= r->start + r->len)
		return 0;
	r->start = offset;
	r->len = r->bytes - offset < WINDOW ? (size_t)(r->bytes - offset) : WINDOW;
	int rc = file_read(&r->file, r->window, r->len, offset);
	if (rc)
		r->len = 0;
	return rc;
}

/* Is there a whole frame at the offset? 0, -EILSEQ, or -errno of reading. */
static int frame_at(struct reading *r, uint64_t offset, struct log_frame *frame, const char **payload)
{
	uint64_t left = r->bytes - offset;
	if (offset + sizeof(*frame) > r->bytes)
		return -EILSEQ;
	int rc = window_at(r, offset, LOG_SECTOR < left ? LOG_SECTOR : (size_t)left);
	if (rc)
		return rc;
	memcpy(frame, r->window + (offset - r->start), sizeof(*frame));
	if (frame->magic != LOG_FRAME_MAGIC || frame->number != r->number || frame->bytes > LOG_PAYLOAD_MAX)
		return -EILSEQ;
	size_t whole = sizeof(*frame) + frame->bytes;
	if (whole > left)
		return -EILSEQ;
	rc = window_at(r, offset, whole);
	if (rc)
		return rc;
	*payload = r->window + (offset - r->start) + sizeof(*frame);
	return log_frame_parse(r->window + (offset - r->start), whole, r->number, r->salt, !r->headed,
			       frame);
}

static int reading_open(struct reading *r, struct log *log, uint32_t i, char *window)
{
	char name[LOG_NAME_BYTES];
	struct log_header header;
	*r = (struct reading){.log = log, .number = log->files[i].number, .bytes = log->files[i].bytes,
			      .window = window};
	log_file_name(r->number, name);
	int rc = file_open(log->options.dir, name, FILE_WRITE, &r->file);
	if (rc)
		return rc;
	if (r->bytes < FORMAT_PAGE)
		return 0;
	rc = window_at(r, 0, sizeof(header));
	if (rc == 0)
		rc = log_header_parse(r->window, r->len, &header);
	r->headed = rc == 0 && header.number == r->number;
	r->salt = r->headed ? header.salt : 0;
	if (rc && rc != -EILSEQ)
		file_close(&r->file);
	return rc == -EILSEQ ? 0 : rc;
}

/* The first sound frame from the offset on. *dirty: something that is no zero lies before it. */
static int find_frame(struct reading *r, uint64_t *offset, struct log_frame *frame, bool *dirty)
{
	static const char zeroes[LOG_SECTOR];
	const char *payload;
	*dirty = false;
	for (; *offset + LOG_SECTOR <= r->bytes; *offset += LOG_SECTOR) {
		int rc = frame_at(r, *offset, frame, &payload);
		if (rc != -EILSEQ)
			return rc;
		rc = window_at(r, *offset, LOG_SECTOR);
		if (rc)
			return rc;
		*dirty |= memcmp(r->window + (*offset - r->start), zeroes, LOG_SECTOR) != 0;
	}
	return -ENOENT;
}

/* Where a file begins: known from any sound frame. */
struct begin {
	uint64_t position;
	bool any;   /* there is one */
	bool dirty; /* there is none, but something else */
};

static int find_begin(struct log *log, uint32_t i, char *window, struct begin *begin)
{
	struct reading r;
	struct log_frame frame;
	uint64_t offset = FORMAT_PAGE;
	int rc = reading_open(&r, log, i, window);
	if (rc)
		return rc;
	rc = find_frame(&r, &offset, &frame, &begin->dirty);
	begin->any = rc == 0;
	if (begin->any)
		begin->position = frame.position - (offset - FORMAT_PAGE);
	file_close(&r.file);
	return rc == -ENOENT ? 0 : rc;
}

static int damaged(struct reading *r, uint64_t from, uint64_t to, struct thermo_error *error)
{
	char name[LOG_NAME_BYTES];
	log_file_name(r->number, name);
	return error_set(error, -EILSEQ, "%s/%s: damaged at %" PRIu64 ", %" PRIu64 " bytes, below what was synced: "
			 "records of durable spaces are lost; restore the directory from a copy", r->log->options.dir->name, name, from, to - from);
}

/* No frame at the offset of the last file: torn, or damage? */
static int judge_tail(struct reading *r, uint64_t begin, uint64_t offset, struct thermo_error *error)
{
	struct log_frame frame;
	uint64_t at = offset, position = begin + (offset - FORMAT_PAGE);
	bool torn = false, dirty;
	for (;;) {
		int rc = find_frame(r, &at, &frame, &dirty);
		torn |= dirty;
		if (rc == -ENOENT)
			break;
		if (rc)
			return rc;
		if (frame.position == begin + (at - FORMAT_PAGE) && frame.synced > position)
			return damaged(r, offset, at, error);
		torn = true;
		at += LOG_SECTOR;
	}
	if (torn)
		atomic_fetch_add(&r->log->torn, 1);
	return 0;
}

static int apply_frame(struct reading *r, const struct log_frame *frame, const char *payload,
		       log_apply_fn apply, void *context, uint64_t offset, struct thermo_error *error)
{
	size_t at = 0;
	uint32_t n = 0;
	while (at < frame->bytes) {
		struct cold_record record;
		if (log_entry_parse(payload, frame->bytes, &at, &record))
			return damaged(r, offset, offset + log_frame_bytes(frame->bytes), error);
		int rc = apply(context, &record, r->number);
		if (rc)
			return error_set(error, rc, "%s: a record of the log could not be brought back (%s)",
					 r->log->options.dir->name, thermo_strerror(rc));
		n++;
	}
	atomic_fetch_add(&r->log->replayed, n);
	return n == frame->records ? 0 : damaged(r, offset, offset + log_frame_bytes(frame->bytes), error);
}

/* One file; next: where the next one begins, UINT64_MAX if it is the last. */
static int replay_file(struct reading *r, uint64_t begin, uint64_t next, log_apply_fn apply, void *context,
		       struct thermo_error *error)
{
	uint64_t offset = FORMAT_PAGE;
	for (;;) {
		struct log_frame frame;
		const char *payload;
		uint64_t position = begin + (offset - FORMAT_PAGE);
		r->log->position = position;
		if (position == next)
			return 0;
		int rc = frame_at(r, offset, &frame, &payload);
		if (rc == 0 && frame.position != position)
			rc = -EILSEQ;
		if (rc == -EILSEQ && next == UINT64_MAX)
			return judge_tail(r, begin, offset, error);
		if (rc == -EILSEQ || position > next)
			return damaged(r, offset, next > position ? offset + (next - position) : r->bytes, error);
		if (rc == 0)
			rc = apply_frame(r, &frame, payload, apply, context, offset, error);
		if (rc)
			return rc;
		offset += log_frame_bytes(frame.bytes);
	}
}

/* The last files, as far as they have no frames: made and not needed yet. */
static int remove_unused(struct log *log, const struct begin *begins)
{
	int rc = 0;
	while (log->n_files && !begins[log->n_files - 1].any && !rc) {
		char name[LOG_NAME_BYTES];
		const struct log_listed *last = &log->files[--log->n_files];
		atomic_fetch_add(&log->torn, begins[log->n_files].dirty);
		log_file_name(last->number, name);
		log->bytes -= last->bytes;
		rc = file_unlink(log->options.dir, name);
	}
	return rc;
}

static int replay_files(struct log *log, const struct begin *begins, char *window, log_apply_fn apply,
			void *context, struct thermo_error *error)
{
	for (uint32_t i = 0; i < log->n_files; i++) {
		struct reading r;
		uint64_t next = i + 1 < log->n_files ? begins[i + 1].position : UINT64_MAX;
		int rc = reading_open(&r, log, i, window);
		if (rc)
			return rc;
		if (!r.headed || !begins[i].any)
			rc = damaged(&r, 0, begins[i].any ? FORMAT_PAGE : r.bytes, error);
		if (rc == 0)
			rc = replay_file(&r, begins[i].position, next, apply, context, error);
		if (rc == 0 && next == UINT64_MAX)
			rc = file_sync_data(&r.file);
		file_close(&r.file);
		if (rc)
			return rc;
	}
	return 0;
}

int log_replay(struct log *log, log_apply_fn apply, void *context, struct thermo_error *error)
{
	struct memory *memory = log->options.memory;
	size_t begins_bytes = (log->n_files + 1) * sizeof(struct begin);
	if (!log->n_files)
		return 0;
	error->text[0] = '\0';
	char *window = pages_reserve(WINDOW); /* given back before anything runs */
	struct begin *begins = memory_alloc(memory, begins_bytes);
	int rc = window && begins ? pages_commit(window, WINDOW, 0, 0) : -ENOMEM;
	for (uint32_t i = 0; i < log->n_files && !rc; i++)
		rc = find_begin(log, i, window, &begins[i]);
	if (rc == 0)
		rc = remove_unused(log, begins);
	if (rc == 0)
		rc = replay_files(log, begins, window, apply, context, error);
	log->synced_position = log->position;
	if (begins)
		memory_free(memory, begins, begins_bytes);
	if (window)
		pages_release(window, WINDOW);
	if (rc && !error->text[0])
		error_set(error, rc, "%s: the log cannot be read (%s)", log->options.dir->name,
			  rc == -EPROTO ? "written by another version" : strerrordesc_np(-rc));
	return rc;
}
