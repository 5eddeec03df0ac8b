/* SPDX-License-Identifier: Apache-2.0 */
/* The fault-injecting filling: rules, counts and the record. The replay is in fault_replay.c. */
#include "tests/cold/fault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fault_file *fault_of(const struct file_ops *ops)
{
	return (struct fault_file *)(uintptr_t)ops; /* ops is its first member */
}

/* What is to happen with this operation: -1 = it is done as usual, else enum fault_action; *error
 * is set for those that are not done at all. `change`: it changes the disk or makes it durable. */
static int fault_enter(struct fault_file *f, enum fault_kind kind, bool change, int *error)
{
	const struct fault_rule *rule = &f->rule;
	int action = -1;
	*error = 0;
	pthread_mutex_lock(&f->lock);
	f->counts[kind]++;
	f->counts[FAULT_ANY]++;
	if (change)
		f->counts[FAULT_CHANGE]++;
	bool matches = rule->kind == kind || rule->kind == FAULT_ANY ||
		       (rule->kind == FAULT_CHANGE && change);
	if (f->stopped) {
		*error = -EIO;
	} else if (f->armed && matches) {
		uint64_t at = f->counts[rule->kind];
		if (at == rule->nth || (rule->sticky && at > rule->nth)) {
			f->hits++;
			action = (int)rule->action;
			if (action == FAULT_STOP)
				f->stopped = true;
			if (action == FAULT_INTERRUPT) {
				f->armed = false;
				*error = -EINTR;
			} else if (action == FAULT_STOP) {
				*error = -EIO;
			} else if (action == FAULT_ERROR) {
				*error = -rule->error;
			} else if (action == FAULT_SHORT && kind != FAULT_READ &&
				   kind != FAULT_WRITE) {
				*error = -EIO;
			}
		}
	}
	pthread_mutex_unlock(&f->lock);
	return action;
}

static struct fault_event *record_begin(struct fault_file *f, enum fault_kind kind)
{
	if (f->events_count == f->events_room) {
		f->events_room = f->events_room ? 2 * f->events_room : 256;
		f->events = realloc(f->events, f->events_room * sizeof(*f->events));
		if (!f->events)
			abort(); /* a test cannot go on without its record */
	}
	struct fault_event *event = &f->events[f->events_count++];
	memset(event, 0, sizeof(*event));
	event->kind = kind;
	return event;
}

/* Which file a descriptor is, through dup-less life; 0: a directory or one from before the record.
 */
static uint64_t file_of(struct fault_file *f, int fd)
{
	return fd >= 0 && fd < FAULT_FDS ? f->file_of_fd[fd] : 0;
}

static uint64_t *name_find(struct fault_file *f, const char *name)
{
	for (unsigned i = 0; i < f->names_count; i++)
		if (!strcmp(f->names[i].name, name))
			return &f->names[i].file;
	return NULL;
}

static void name_put(struct fault_file *f, const char *name, uint64_t file)
{
	uint64_t *at = name_find(f, name);
	if (at) {
		*at = file;
		return;
	}
	if (f->names_count == FAULT_NAMES)
		abort();
	struct fault_name *entry = &f->names[f->names_count++];
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->file = file;
}

static void name_drop(struct fault_file *f, const char *name)
{
	for (unsigned i = 0; i < f->names_count; i++)
		if (!strcmp(f->names[i].name, name))
			f->names[i--] = f->names[--f->names_count];
}

static int fault_open(const struct file_ops *ops, int dir_fd, const char *name, int flags,
		      mode_t mode)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_OPEN, (flags & O_CREAT) != 0, &error);
	if (error)
		return error;
	int fd = f->under->open(f->under, dir_fd, name, flags, mode);
	if (fd < 0 || fd >= FAULT_FDS)
		return fd;
	pthread_mutex_lock(&f->lock);
	f->file_of_fd[fd] = 0;
	if (f->recording && !(flags & O_DIRECTORY)) {
		uint64_t *known = name_find(f, name);
		if (!known && flags & O_CREAT) {
			uint64_t file = ++f->files;
			struct fault_event *event = record_begin(f, FAULT_OPEN);
			event->file = file;
			snprintf(event->name, sizeof(event->name), "%s", name);
			name_put(f, name, file);
			known = name_find(f, name);
		}
		f->file_of_fd[fd] = known ? *known : 0;
	}
	pthread_mutex_unlock(&f->lock);
	return fd;
}

static int fault_close(const struct file_ops *ops, int fd)
{
	struct fault_file *f = fault_of(ops);
	return f->under->close(f->under, fd);
}

static void flip(struct fault_file *f, void *data, size_t bytes)
{
	pthread_mutex_lock(&f->lock);
	uint64_t at = f->hits * UINT64_C(0x9e3779b97f4a7c15) % (bytes * 8);
	pthread_mutex_unlock(&f->lock);
	((unsigned char *)data)[at / 8] ^= (unsigned char)(1u << (at % 8));
}

static ssize_t fault_pread(const struct file_ops *ops, int fd, void *to, size_t bytes,
			   uint64_t offset)
{
	struct fault_file *f = fault_of(ops);
	int error;
	int action = fault_enter(f, FAULT_READ, false, &error);
	if (error)
		return error;
	ssize_t got = f->under->pread(f->under, fd, to, bytes, offset);
	if (got > 1 && action == FAULT_SHORT)
		got = got > 1024 ? got / 2 & ~(ssize_t)511 : got / 2;
	if (got > 0 && action == FAULT_FLIP)
		flip(f, to, (size_t)got);
	return got;
}

static ssize_t fault_read_done(const struct file_ops *ops, int fd, void *to, ssize_t result,
			       uint64_t offset)
{
	struct fault_file *f = fault_of(ops);
	int error;
	int action = fault_enter(f, FAULT_READ, false, &error);
	if (error)
		return error;
	if (result > 1 && action == FAULT_SHORT)
		result = result > 1024 ? result / 2 & ~(ssize_t)511 : result / 2;
	if (result > 0 && action == FAULT_FLIP)
		flip(f, to, (size_t)result);
	return f->under->read_done(f->under, fd, to, result, offset);
}

/* What was written, as one event. Called under the lock. */
static void record_write(struct fault_file *f, int fd, const struct iovec *pieces, int n,
			 uint64_t offset, size_t bytes)
{
	struct fault_event *event = record_begin(f, FAULT_WRITE);
	event->file = file_of(f, fd);
	event->offset = offset;
	event->bytes = bytes;
	event->data = malloc(bytes ? bytes : 1);
	if (!event->data)
		abort();
	size_t at = 0;
	for (int i = 0; i < n && at < bytes; i++) {
		size_t take = pieces[i].iov_len < bytes - at ? pieces[i].iov_len : bytes - at;
		memcpy((char *)event->data + at, pieces[i].iov_base, take);
		at += take;
	}
}

static ssize_t fault_pwritev(const struct file_ops *ops, int fd, const struct iovec *pieces, int n,
			     uint64_t offset)
{
	struct fault_file *f = fault_of(ops);
	struct iovec half = pieces[0];
	int error;
	int action = fault_enter(f, FAULT_WRITE, true, &error);
	if (error)
		return error;
	if (action == FAULT_SHORT && half.iov_len > 1) {
		half.iov_len =
			half.iov_len > 8192 ? half.iov_len / 2 & ~(size_t)4095 : half.iov_len / 2;
		pieces = &half;
		n = 1;
	}
	ssize_t put = f->under->pwritev(f->under, fd, pieces, n, offset);
	if (put >= 0) {
		pthread_mutex_lock(&f->lock);
		if (f->recording)
			record_write(f, fd, pieces, n, offset, (size_t)put);
		pthread_mutex_unlock(&f->lock);
	}
	return put;
}

/* Records a change of a file that carries two numbers at most. */
static int changed(struct fault_file *f, int rc, enum fault_kind kind, int fd, uint64_t offset,
		   uint64_t bytes)
{
	pthread_mutex_lock(&f->lock);
	if (rc == 0 && f->recording) {
		struct fault_event *event = record_begin(f, kind);
		event->file = file_of(f, fd);
		event->offset = offset;
		event->bytes = bytes;
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fault_datasync(const struct file_ops *ops, int fd)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_DATASYNC, true, &error);
	return error ? error
		     : changed(f, f->under->datasync(f->under, fd), FAULT_DATASYNC, fd, 0, 0);
}

static int fault_sync(const struct file_ops *ops, int fd)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_SYNC, true, &error);
	return error ? error : changed(f, f->under->sync(f->under, fd), FAULT_SYNC, fd, 0, 0);
}

static int fault_truncate(const struct file_ops *ops, int fd, uint64_t bytes)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_TRUNCATE, true, &error);
	return error ? error
		     : changed(f, f->under->truncate(f->under, fd, bytes), FAULT_TRUNCATE, fd, 0,
			       bytes);
}

static int fault_allocate(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_ALLOCATE, true, &error);
	return error ? error
		     : changed(f, f->under->allocate(f->under, fd, offset, bytes), FAULT_ALLOCATE,
			       fd, offset, bytes);
}

/* Counts as an allocation. Not recorded: what is punched is not needed, whether the hole lasts or not. */
static int fault_punch(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_ALLOCATE, true, &error);
	return error ? error : f->under->punch(f->under, fd, offset, bytes);
}

static int fault_rename(const struct file_ops *ops, int dir_fd, const char *from, const char *to)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_RENAME, true, &error);
	if (error)
		return error;
	int rc = f->under->rename(f->under, dir_fd, from, to);
	pthread_mutex_lock(&f->lock);
	uint64_t *file = name_find(f, from);
	if (rc == 0 && f->recording && file) {
		struct fault_event *event = record_begin(f, FAULT_RENAME);
		event->file = *file;
		snprintf(event->name, sizeof(event->name), "%s", from);
		snprintf(event->to, sizeof(event->to), "%s", to);
		name_put(f, to, event->file);
		name_drop(f, from);
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fault_unlink(const struct file_ops *ops, int dir_fd, const char *name)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_UNLINK, true, &error);
	if (error)
		return error;
	int rc = f->under->unlink(f->under, dir_fd, name);
	pthread_mutex_lock(&f->lock);
	if (rc == 0 && f->recording) {
		struct fault_event *event = record_begin(f, FAULT_UNLINK);
		snprintf(event->name, sizeof(event->name), "%s", name);
		name_drop(f, name);
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fault_mkdir(const struct file_ops *ops, int dir_fd, const char *name, mode_t mode)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_MKDIR, true, &error);
	return error ? error : f->under->mkdir(f->under, dir_fd, name, mode);
}

static int fault_list(const struct file_ops *ops, int dir_fd, file_list_fn visit, void *context)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_LIST, false, &error);
	return error ? error : f->under->list(f->under, dir_fd, visit, context);
}

static int fault_stat(const struct file_ops *ops, int fd, struct file_stat *stat)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_STAT, false, &error);
	return error ? error : f->under->stat(f->under, fd, stat);
}

static int fault_lock(const struct file_ops *ops, int fd)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_LOCK, false, &error);
	return error ? error : f->under->lock(f->under, fd);
}

static int fault_space(const struct file_ops *ops, int fd, struct file_space *space)
{
	struct fault_file *f = fault_of(ops);
	int error;
	fault_enter(f, FAULT_SPACE, false, &error);
	return error ? error : f->under->space(f->under, fd, space);
}

struct fault_file *fault_file_open(const struct file_ops *under)
{
	struct fault_file *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->ops = (struct file_ops){
		.name = "fault",
		.open = fault_open,
		.close = fault_close,
		.pread = fault_pread,
		.pwritev = fault_pwritev,
		.datasync = fault_datasync,
		.sync = fault_sync,
		.rename = fault_rename,
		.unlink = fault_unlink,
		.truncate = fault_truncate,
		.allocate = fault_allocate,
		.punch = fault_punch,
		.mkdir = fault_mkdir,
		.list = fault_list,
		.stat = fault_stat,
		.lock = fault_lock,
		.space = fault_space,
		.read_done = fault_read_done,
	};
	f->under = under;
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

void fault_file_close(struct fault_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->events_count; i++)
		free(f->events[i].data);
	free(f->events);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

const struct file_ops *fault_file_ops(struct fault_file *f)
{
	return &f->ops;
}

void fault_set(struct fault_file *f, const struct fault_rule *rule)
{
	pthread_mutex_lock(&f->lock);
	f->rule = *rule;
	f->armed = true;
	f->stopped = false;
	f->hits = 0;
	memset(f->counts, 0, sizeof(f->counts));
	pthread_mutex_unlock(&f->lock);
}

void fault_clear(struct fault_file *f)
{
	pthread_mutex_lock(&f->lock);
	f->armed = f->stopped = false;
	pthread_mutex_unlock(&f->lock);
}

uint64_t fault_hits(struct fault_file *f)
{
	pthread_mutex_lock(&f->lock);
	uint64_t hits = f->hits;
	pthread_mutex_unlock(&f->lock);
	return hits;
}

uint64_t fault_count(struct fault_file *f, enum fault_kind kind)
{
	pthread_mutex_lock(&f->lock);
	uint64_t count = f->counts[kind];
	pthread_mutex_unlock(&f->lock);
	return count;
}

void fault_record(struct fault_file *f)
{
	pthread_mutex_lock(&f->lock);
	f->recording = true;
	pthread_mutex_unlock(&f->lock);
}

size_t fault_events(struct fault_file *f, const struct fault_event **events)
{
	*events = f->events;
	return f->events_count;
}
