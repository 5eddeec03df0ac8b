/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs: immutable sorted files of records, and how they are built.
 *
 *   builder:  run_build_open -> run_build_start -> run_build_add... -> run_build_finish -> struct run
 *                                      ^                 any error -> run_build_abort
 *   run:      built or opened (one reference) -> in run sets and in reads under way -> the last reference
 *             goes -> the tier's list of dead runs -> closed, and unlinked if it is obsolete (cold_work)
 *
 * A run's fields are const once it is in a run set, but for those that say otherwise. What is left of a
 * filter's bits and fences in DRAM is charged to the tier's filter bytes.
 */
#ifndef TIERS_COLD_RUN_H
#define TIERS_COLD_RUN_H

#include "tiers/cold/fence.h"
#include "tiers/cold/filter.h"
#include "tiers/cold/format.h"
#include "tiers/cold/io.h"
#include "tiers/cold/pack.h"

#include <stdatomic.h>

#define RUN_NAME_BYTES 32 /* of "0123456789abcdef.run.tmp" and NUL */
#define RUN_PIECE ((size_t)1 << 20) /* unit of data_hash */

struct cold;

/* A filter in DRAM. Run sets refer to it, so that it can go while its run stays. */
struct run_filter {
	_Atomic uint32_t refs;
	uint64_t blocks;
	size_t bytes; /* of memory_alloc */
	struct filter_block *block;
};

struct run {
	uint64_t number;
	uint64_t file_bytes;
	uint64_t footer_hash;
	struct run_footer footer;
	struct file file;            /* open, O_DIRECT where possible */
	struct run_filter *filter;   /* under the edit lock: NULL = not in DRAM; one reference */
	uint8_t *fences;             /* footer.fence.bytes, in memory_alloc(fence_room) */
	size_t fence_room;
	uint64_t fence_pages;
	struct run_space *spaces;    /* of the file, sorted by space; n_spaces of them in memory_alloc */
	uint32_t n_spaces;
	uint64_t published;          /* ticket: see writer.c. Greatest of those merged into it */
	_Atomic uint32_t refs;
	_Atomic bool obsolete;       /* unlink the file when the last reference goes */
	bool busy;                   /* under the edit lock: a job works on it */
	bool rewrite;                /* under the edit lock: holds a copy of an erased key */
	struct run *dead_next;       /* under the tier's dead lock */
};

void run_name(uint64_t number, char name[RUN_NAME_BYTES]);
/* Opens and proves a run of the manifest: footer, filter, fences, spaces; the data are proved block by
 * block when read. -EPROTO, -EILSEQ, -EIO, -ENOENT, -ENOMEM with a line in *error. */
int run_open(struct cold *cold, const struct manifest_run *entry, struct run **run,
	     struct thermo_error *error);
/* Frees the struct and closes the file; nobody refers to it any more. */
void run_free(struct cold *cold, struct run *run);
/* Zeroed, one reference, charged to the tier's filter bytes. NULL: no memory. */
struct run_filter *run_filter_alloc(struct cold *cold, uint64_t blocks);
void run_filter_unref(struct cold *cold, struct run_filter *filter); /* NULL is fine */
/* The space's entry, or NULL: no record of it here. */
const struct run_space *run_find_space(const struct run *run, uint8_t space);

/* Reads everything and compares with all checksums; for inspection. 0, or -EILSEQ, -EIO, ... and a line. */
int run_verify(struct cold *cold, const struct run *run, struct thermo_error *error);

/* ---- Building ---- */

struct run_build;

/* All working memory that does not depend on the number of records. -ENOMEM. */
int run_build_open(struct cold *cold, struct run_build **build);
void run_build_close(struct run_build **build);
/* Begins a file. At most `records` records will come; merging: bytes count as compaction's. */
int run_build_start(struct run_build *build, uint64_t records, bool merging);
/* Records come in order, each identity once. hash: its identity's. */
int run_build_add(struct run_build *build, const struct block_item *item, uint64_t hash);
uint64_t run_build_records(const struct run_build *build);
uint64_t run_build_written(const struct run_build *build); /* bytes of the file so far */
/* Completes the file and makes it durable under its name; *run has one reference. At least one record came.
 * On errors the caller aborts. */
int run_build_finish(struct run_build *build, struct run **run);
/* Removes the file; the builder can start again. Fine when nothing was started. */
void run_build_abort(struct run_build *build);

#endif
