/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory: a filling of the table of file operations that keeps one directory, and a record of
 * everything that changed it or made it durable. states.h builds from the record what such a disk
 * may hold after the power went.
 *
 * Contents are pages with counts of references, shared by all images and copied when written to, so that
 * an image of another state costs what differs. One thread changes images; others may read a live disk.
 */
#ifndef TESTS_CRASH_DISK_H
#define TESTS_CRASH_DISK_H

#include "tiers/cold/io.h"

#include <pthread.h>

#define DISK_PAGE 4096u
#define DISK_SECTOR 512u /* what a disk writes whole or not at all */
#define DISK_NAMES 160u
#define DISK_FILES 320u
#define DISK_FDS 512u
#define DISK_NAME_BYTES 40u

struct disk_page {
	uint32_t refs;
	bool hashed;
	uint64_t hash;
	uint8_t bytes[DISK_PAGE];
};

struct disk_inode {
	uint32_t refs;
	uint32_t pages;           /* room in page[]; NULL reads as zeroes */
	uint64_t bytes;
	bool hashed;
	uint64_t hash;
	struct disk_page **page;
};

struct disk_file {
	uint32_t number; /* of the file, through renames; never used again */
	struct disk_inode *inode;
};

struct disk_name {
	char name[DISK_NAME_BYTES];
	uint32_t number;
};

/* What a disk holds. */
struct disk_image {
	uint32_t n_names, n_files;
	struct disk_name names[DISK_NAMES];
	struct disk_file files[DISK_FILES];
};

enum disk_kind {
	DISK_CREATE,
	DISK_WRITE,
	DISK_TRUNCATE,
	DISK_ALLOCATE,
	DISK_PUNCH,
	DISK_RENAME,
	DISK_UNLINK,
	DISK_SYNC,     /* of a file: its bytes and length are durable */
	DISK_SYNC_DIR, /* its names are durable */
	DISK_KINDS,
};
extern const char *const disk_kind_names[DISK_KINDS];

struct disk_op {
	enum disk_kind kind;
	uint32_t number;                 /* of the file */
	char name[DISK_NAME_BYTES];      /* the file's, when it was done; rename: from */
	char to[DISK_NAME_BYTES];
	uint64_t offset, bytes;
	uint8_t *data;                   /* WRITE */
};

struct disk_record {
	struct disk_op *ops;
	size_t n, room;
	struct disk_image before; /* as it was when the record began, all of it durable */
};

struct disk {
	struct file_ops ops; /* first: the table is how the filling finds itself */
	pthread_mutex_t lock;
	/* under lock */
	struct disk_image image;
	uint32_t next_number;
	struct {
		bool used, directory, direct, locked;
		uint32_t number;
	} fds[DISK_FDS];
	struct disk_record *record; /* NULL: nothing is recorded */
};

/* The path of the directory in it, for thermo_options.cold_dir. */
#define DISK_DIR "/disk"

void disk_init(struct disk *disk);
void disk_clear(struct disk *disk);
/* From now on, until disk_record_end. The record is the caller's to free. */
void disk_record_begin(struct disk *disk, struct disk_record *record);
void disk_record_end(struct disk *disk);
void disk_record_free(struct disk_record *record);

/* ---- Images ---- */
void disk_image_copy(struct disk_image *to, const struct disk_image *from);
void disk_image_clear(struct disk_image *image);
/* Forgets files that have no name and that `keep` (or NULL) does not want. */
void disk_image_collect(struct disk_image *image, bool (*keep)(void *context, uint32_t number),
			void *context);
uint64_t disk_image_hash(struct disk_image *image);
struct disk_inode *disk_image_find(struct disk_image *image, const char *name);

/* How much of a write is there. */
enum disk_tear { TEAR_NONE, TEAR_HEAD, TEAR_TAIL, TEAR_RANDOM, TEAR_LENGTH_ONLY, TEARS };
/* Applies a change; tear and seed matter for writes of more than a sector. */
void disk_apply(struct disk_image *image, const struct disk_op *op, enum disk_tear tear,
		uint64_t seed);

#endif
