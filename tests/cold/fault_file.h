/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filling of the table of file operations that lies between the cold tier and the real one: it
 * makes chosen operations fail, records what is done, and builds from the record what a disk may
 * hold after the power went at any point of it.
 *
 * Thread-safe but for open, close, and reading the record (nothing may run then).
 */
#ifndef TESTS_COLD_FAULT_FILE_H
#define TESTS_COLD_FAULT_FILE_H

#include "tiers/cold/io.h"

enum fault_kind {
	FAULT_OPEN,
	FAULT_READ, /* pread, and reads that io_uring did */
	FAULT_WRITE,
	FAULT_DATASYNC,
	FAULT_SYNC,
	FAULT_RENAME,
	FAULT_UNLINK,
	FAULT_TRUNCATE,
	FAULT_ALLOCATE,
	FAULT_MKDIR,
	FAULT_LIST,
	FAULT_STAT,
	FAULT_LOCK,
	FAULT_SPACE,
	FAULT_KINDS,
	FAULT_CHANGE, /* in rules and counts: any that changes the disk or makes it durable */
	FAULT_ANY,    /* in rules and counts: any */
	FAULT_ALL_KINDS,
};

enum fault_action {
	FAULT_ERROR, /* not done; answers -error */
	FAULT_SHORT, /* reads, writes: half of it, at least a byte. Others: as FAULT_ERROR with EIO
		      */
	FAULT_INTERRUPT, /* not done; -EINTR, this once even if sticky */
	FAULT_FLIP,      /* reads: one bit of what was read is wrong. Others: nothing */
	FAULT_STOP, /* as if the process died just before: this and all later ones answer -EIO */
};

struct fault_rule {
	enum fault_kind kind;
	uint64_t nth; /* from 1, of this kind since fault_set */
	enum fault_action action;
	int error;   /* positive errno */
	bool sticky; /* that one and all later ones of the kind */
};

/* A change in the record. */
struct fault_event {
	enum fault_kind
		kind;  /* OPEN (a file that was created), WRITE, DATASYNC, SYNC, RENAME, ... */
	uint64_t file; /* which file, through renames; 0 for a directory */
	char name[64]; /* OPEN, RENAME (from), UNLINK */
	char to[64];   /* RENAME */
	uint64_t offset, bytes;
	void *data; /* WRITE: what was written */
};

enum fault_loss {
	FAULT_LOSE_NOTHING,  /* the process died: everything done is there */
	FAULT_LOSE_UNSYNCED, /* the power went: only what was synced is there */
	FAULT_LOSE_SOME,     /* any part of what was not synced is there, torn writes included */
};

struct fault_file;

/* Lies over `under`, usually &file_ops_posix. NULL: no memory. */
struct fault_file *fault_file_open(const struct file_ops *under);
void fault_file_close(struct fault_file *fault);
const struct file_ops *fault_file_ops(struct fault_file *fault);

void fault_set(struct fault_file *fault, const struct fault_rule *rule); /* counts start at 0 */
void fault_clear(struct fault_file *fault);
uint64_t fault_hits(struct fault_file *fault); /* operations that the rule changed */
uint64_t fault_count(struct fault_file *fault, enum fault_kind kind); /* since open or fault_set */

/* From now on changes are kept, of one directory that is empty now. */
void fault_record(struct fault_file *fault);
size_t fault_events(struct fault_file *fault, const struct fault_event **events);
/* Fills the empty directory `dir` with what the disk holds if the power goes after the first n
 * events. A name is durable once its directory was synced after it changed, a file's bytes once the
 * file was synced. 0 or -errno. */
int fault_replay(const struct fault_file *fault, size_t n, enum fault_loss loss, uint64_t seed,
		 const char *dir);

#endif
