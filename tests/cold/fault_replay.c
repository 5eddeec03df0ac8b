/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the record of changes to what a disk may hold after the power went.
 *
 * The model: a file's bytes and length are durable as of its last sync; a directory's names as of
 * its last sync. Of what came later, any subset may have reached the disk (FAULT_LOSE_SOME draws
 * one with the seed), a write in any of its 512-byte sectors by itself. Name changes stay in order:
 * journals keep them so. A file whose name is durable but whose bytes were never synced may be
 * there, empty or torn.
 */
#include "tests/cold/fault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512u

struct image {
	char *data;
	uint64_t bytes, room;
};

struct replay {
	struct image *files; /* by number */
	struct fault_name *names;
	unsigned names_count;
	uint64_t random;
	enum fault_loss loss;
};

static bool toss(struct replay *r)
{
	r->random += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = r->random;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) & 1;
}

static void image_resize(struct image *image, uint64_t bytes)
{
	if (bytes > image->room) {
		image->room = bytes * 2;
		image->data = realloc(image->data, image->room);
		if (!image->data)
			abort();
	}
	if (bytes > image->bytes)
		memset(image->data + image->bytes, 0, bytes - image->bytes);
	image->bytes = bytes;
}

static void image_write(struct replay *r, struct image *image, const struct fault_event *event,
			bool torn)
{
	uint64_t end = event->offset + event->bytes;
	if (!torn) {
		if (end > image->bytes)
			image_resize(image, end);
		memcpy(image->data + event->offset, event->data, event->bytes);
		return;
	}
	for (uint64_t at = event->offset; at < end;) {
		uint64_t stop = (at / SECTOR + 1) * SECTOR < end ? (at / SECTOR + 1) * SECTOR : end;
		if (toss(r)) {
			if (stop > image->bytes)
				image_resize(image, stop);
			memcpy(image->data + at, (char *)event->data + (at - event->offset),
			       stop - at);
		}
		at = stop;
	}
}

/* Whether a later sync, before the end, makes event i durable. */
static bool is_durable(const struct fault_file *f, size_t i, size_t n)
{
	const struct fault_event *event = &f->events[i];
	bool name = event->kind == FAULT_OPEN || event->kind == FAULT_RENAME ||
		    event->kind == FAULT_UNLINK;
	for (size_t later = i + 1; later < n; later++) {
		const struct fault_event *e = &f->events[later];
		if (name ? e->kind == FAULT_SYNC && e->file == 0
			 : (e->kind == FAULT_SYNC || e->kind == FAULT_DATASYNC) &&
				    e->file == event->file)
			return true;
	}
	return false;
}

static void name_remove(struct replay *r, const char *name)
{
	for (unsigned i = 0; i < r->names_count; i++)
		if (!strcmp(r->names[i].name, name))
			r->names[i--] = r->names[--r->names_count];
}

static void name_add(struct replay *r, const char *name, uint64_t file)
{
	name_remove(r, name);
	if (r->names_count == FAULT_NAMES)
		abort();
	struct fault_name *entry = &r->names[r->names_count++];
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->file = file;
}

static void apply(struct replay *r, const struct fault_event *event, bool torn)
{
	struct image *image = &r->files[event->file];
	switch (event->kind) {
	case FAULT_OPEN:
		name_add(r, event->name, event->file);
		break;
	case FAULT_RENAME:
		name_remove(r, event->name);
		name_add(r, event->to, event->file);
		break;
	case FAULT_UNLINK:
		name_remove(r, event->name);
		break;
	case FAULT_WRITE:
		image_write(r, image, event, torn);
		break;
	case FAULT_TRUNCATE:
		image_resize(image, event->bytes);
		break;
	case FAULT_ALLOCATE:
		if (event->offset + event->bytes > image->bytes)
			image_resize(image, event->offset + event->bytes);
		break;
	default:
		break;
	}
}

static int write_out(const struct replay *r, const char *dir)
{
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < r->names_count; i++) {
		const struct image *image = &r->files[r->names[i].file];
		int fd = openat(dir_fd, r->names[i].name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
				0600);
		if (fd < 0) {
			rc = -errno;
			break;
		}
		for (uint64_t at = 0; rc == 0 && at < image->bytes;) {
			ssize_t put = write(fd, image->data + at, image->bytes - at);
			if (put < 0)
				rc = -errno;
			else
				at += (uint64_t)put;
		}
		close(fd);
	}
	close(dir_fd);
	return rc;
}

int fault_replay(const struct fault_file *f, size_t n, enum fault_loss loss, uint64_t seed,
		 const char *dir)
{
	struct replay r = {.random = seed, .loss = loss};
	r.files = calloc(f->files + 1, sizeof(*r.files));
	r.names = calloc(FAULT_NAMES, sizeof(*r.names));
	if (!r.files || !r.names)
		abort();
	if (n > f->events_count)
		n = f->events_count;
	bool names_lost = false; /* a change of names was lost, so all later ones are */
	for (size_t i = 0; i < n; i++) {
		const struct fault_event *event = &f->events[i];
		bool name = event->kind == FAULT_OPEN || event->kind == FAULT_RENAME ||
			    event->kind == FAULT_UNLINK;
		if (loss == FAULT_LOSE_NOTHING || is_durable(f, i, n)) {
			apply(&r, event, false);
		} else if (loss == FAULT_LOSE_SOME) {
			if (name)
				names_lost = names_lost || toss(&r);
			if (name ? !names_lost : event->kind == FAULT_WRITE || toss(&r))
				apply(&r, event, true);
		}
	}
	int rc = write_out(&r, dir);
	for (uint64_t i = 0; i <= f->files; i++)
		free(r.files[i].data);
	free(r.files);
	free(r.names);
	return rc;
}
