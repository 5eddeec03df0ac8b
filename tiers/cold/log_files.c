/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's files: found at open, made before they are needed, removed oldest first.
 *
 *   made (allocated, header, synced, its name synced) -> next -> present -> full -> trimmed
 *
 * Removal is durable one file after the other, so that what is left after a crash has no gap but the one at its
 * beginning: a tombstone never goes before what it covers.
 */
#include "tiers/cold/log_private.h"

#include "alloc/error.h"
#include "tiers/cold/crc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void log_file_name(uint64_t number, char name[LOG_NAME_BYTES])
{
	snprintf(name, LOG_NAME_BYTES, "%016" PRIx64 ".log", number);
}

/* ---- Finding ---- */

static bool is_log_name(const char *name, uint64_t *number)
{
	char expected[LOG_NAME_BYTES];
	*number = strtoull(name, NULL, 16);
	log_file_name(*number, expected);
	return strcmp(name, expected) == 0;
}

static int by_number(const void *a, const void *b)
{
	const struct log_listed *x = a, *y = b;
	return (x->number > y->number) - (x->number < y->number);
}

static int visit(void *context, const char *name)
{
	struct log *log = context;
	uint64_t number;
	if (!is_log_name(name, &number))
		return 0;
	if (atomic_load(log->options.numbers) <= number)
		atomic_store(log->options.numbers, number + 1);
	if (number < log->options.from)
		return file_unlink(log->options.dir, name);
	if (log->n_files == LOG_FILES_MAX)
		return -EMFILE;
	log->files[log->n_files++].number = number;
	return 0;
}

static int measure(struct log *log, struct log_listed *listed)
{
	char name[LOG_NAME_BYTES];
	struct file file;
	struct file_stat stat;
	log_file_name(listed->number, name);
	int rc = file_open(log->options.dir, name, 0, &file);
	if (rc)
		return rc;
	rc = file_stat(&file, &stat);
	file_close(&file);
	listed->bytes = rc ? 0 : stat.bytes;
	log->bytes += listed->bytes;
	return rc;
}

static void init(struct log *log, const struct log_options *options)
{
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	log->options = *options;
	log->file.file.fd = log->next.file.fd = -1;
	pthread_mutex_init(&log->lock, NULL);
	pthread_mutex_init(&log->files_lock, NULL);
	pthread_cond_init(&log->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

int log_open(const struct log_options *options, struct log **out, struct thermo_error *error)
{
	struct log *log = memory_alloc(options->memory, sizeof(*log));
	if (!log)
		return error_set(error, -ENOMEM, "the log: there is no memory");
	init(log, options);
	int rc = file_list(options->dir, visit, log);
	qsort(log->files, log->n_files, sizeof(log->files[0]), by_number);
	for (uint32_t i = 0; i < log->n_files && !rc; i++)
		rc = measure(log, &log->files[i]);
	if (rc) {
		error_set(error, rc, "%s: the log's files cannot be read (%s)", options->dir->name,
			  strerrordesc_np(-rc));
		log_close(&log);
		return rc;
	}
	*out = log;
	return 0;
}

unsigned log_files(const struct log *log)
{
	return log->n_files;
}

/* ---- Making ---- */

/* Where blocks cannot be set aside, zeroes take them. */
static int allocate(struct log *log, struct file *file)
{
	int rc = file_allocate(file, 0, log->file_bytes);
	if (rc != -EOPNOTSUPP)
		return rc;
	static const char zeroes[64 << 10];
	rc = 0;
	for (uint64_t at = 0; at < log->file_bytes && !rc; at += sizeof(zeroes))
		rc = file_write(file, zeroes, sizeof(zeroes), at);
	return rc;
}

static int write_header(struct log *log, struct log_open_file *made)
{
	char page[FORMAT_PAGE] = {0};
	struct log_header header = {
		.magic = LOG_HEADER_MAGIC,
		.version = FORMAT_VERSION,
		.bytes = sizeof(header),
		.number = made->number,
		.salt = made->salt,
		.created_ms = log->options.clock_ms ?
				      log->options.clock_ms(log->options.clock_context) : 0,
	};
	header.crc = crc_update(0, &header, offsetof(struct log_header, crc));
	memcpy(page, &header, sizeof(header));
	int rc = file_write(&made->file, page, sizeof(page), 0);
	return rc ? rc : file_sync(&made->file);
}

static int make(struct log *log, struct log_open_file *made)
{
	char name[LOG_NAME_BYTES];
	made->number = atomic_fetch_add(log->options.numbers, 1);
	made->used = FORMAT_PAGE;
	if (getrandom(&made->salt, sizeof(made->salt), 0) != (ssize_t)sizeof(made->salt))
		made->salt = log_now_ns() ^ made->number << 32;
	log_file_name(made->number, name);
	int rc = file_open(log->options.dir, name, FILE_WRITE | FILE_CREATE, &made->file);
	if (rc)
		return rc;
	rc = allocate(log, &made->file);
	if (rc == 0)
		rc = write_header(log, made);
	if (rc == 0)
		rc = file_sync(log->options.dir);
	if (rc) {
		file_close(&made->file);
		file_unlink(log->options.dir, name);
	}
	return rc;
}

int log_prepare(struct log *log)
{
	int rc = 0;
	if (atomic_load(&log->has_next)) {
		log_admit(log);
		return 0;
	}
	pthread_mutex_lock(&log->files_lock);
	if (log->next.file.fd >= 0)
		goto unlock;
	rc = LOG_FULL;
	if (log->bytes + log->file_bytes > log->options.cap_bytes || log->n_files == LOG_FILES_MAX)
		goto unlock;
	rc = make(log, &log->next);
	if (rc)
		goto unlock;
	log->files[log->n_files++] = (struct log_listed){log->next.number, log->file_bytes};
	log->bytes += log->file_bytes;
	atomic_store(&log->has_next, true);
unlock:
	pthread_mutex_unlock(&log->files_lock);
	if (rc == 0)
		log_admit(log);
	return rc;
}

int log_turn(struct log *log)
{
	int rc = log->file.file.fd >= 0 ? file_sync_data(&log->file.file) : 0;
	if (rc) {
		log_fail(log, rc, "a sync of");
		return rc;
	}
	log->synced_position = log->position;
	atomic_store(&log->synced, atomic_load(&log->written));
	pthread_mutex_lock(&log->files_lock);
	if (log->next.file.fd >= 0) {
		file_close(&log->file.file);
		log->file = log->next;
		log->next.file.fd = -1;
		atomic_store(&log->has_next, false);
		atomic_store(&log->current, log->file.number);
		atomic_store(&log->left, log->file_bytes - log->file.used);
	} else {
		rc = -ENOSPC; /* log_admit keeps it from coming to this */
	}
	pthread_mutex_unlock(&log->files_lock);
	if (rc)
		log_fail(log, rc, "the next file of");
	log_admit(log);
	pthread_mutex_lock(&log->lock);
	if (log->threaded)
		pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	return rc;
}

/* ---- Removing ---- */

static int remove_first(struct log *log)
{
	char name[LOG_NAME_BYTES];
	log_file_name(log->files[0].number, name);
	int rc = file_unlink(log->options.dir, name);
	if (rc == 0)
		rc = file_sync(log->options.dir);
	if (rc)
		return rc;
	log->bytes -= log->files[0].bytes;
	log->n_files--;
	memmove(&log->files[0], &log->files[1], log->n_files * sizeof(log->files[0]));
	return 0;
}

unsigned log_trim(struct log *log, uint64_t needed)
{
	unsigned n = 0;
	pthread_mutex_lock(&log->files_lock);
	uint64_t current = log_current(log);
	while (log->n_files && log->files[0].number < needed && log->files[0].number < current &&
	       remove_first(log) == 0)
		n++;
	pthread_mutex_unlock(&log->files_lock);
	atomic_fetch_add(&log->trimmed, n);
	return n;
}

uint64_t log_oldest(struct log *log)
{
	pthread_mutex_lock(&log->files_lock);
	uint64_t number = log->n_files ? log->files[0].number : UINT64_MAX;
	pthread_mutex_unlock(&log->files_lock);
	return number;
}

bool log_pressed(struct log *log)
{
	pthread_mutex_lock(&log->files_lock);
	uint64_t next = atomic_load(&log->has_next) ? 0 : log->file_bytes;
	bool pressed = log->n_files && log->files[0].number < log_current(log) &&
		       log->bytes + next > log->options.cap_bytes / 2;
	pthread_mutex_unlock(&log->files_lock);
	return pressed;
}

int log_remove_all(struct log *log)
{
	int rc = 0;
	pthread_mutex_lock(&log->files_lock);
	file_close(&log->file.file);
	file_close(&log->next.file);
	while (log->n_files && !rc)
		rc = remove_first(log);
	pthread_mutex_unlock(&log->files_lock);
	return rc;
}
