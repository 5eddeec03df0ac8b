/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: which runs there are, newest first, which spaces and keys are gone, the engine's own
 * bytes, and the next file number. One small file, written anew for every edit to a temporary name,
 * synced, and renamed: what is read is one edit's state in full. (A log of edits would save bytes that
 * nobody misses and could not tell a torn last record from a damaged one.)
 */
#ifndef TIERS_COLD_MANIFEST_H
#define TIERS_COLD_MANIFEST_H

#include "tiers/cold/format.h"
#include "tiers/cold/ident.h"

#include <stdbool.h>

struct file;
struct memory;

struct manifest_key {
	uint64_t below_seq;
	uint16_t key_len;
	uint8_t space;
	uint8_t flags;   /* COLD_CHUNK, COLD_NUMBERED */
	uint64_t ticket; /* not on the device: writers that were opened before it may hold a version */
	uint8_t key[THERMO_KEY_MAX];
};

/* Decoded. The arrays are memory_alloc'ed: manifest_clear. */
struct manifest {
	uint64_t generation, next_number, max_seq;
	uint64_t below[256];
	struct manifest_run *runs;
	struct manifest_segment *segments; /* of all runs, one run after the other */
	uint32_t n_runs, n_segments;
	struct manifest_key *keys; /* to be erased */
	uint32_t n_keys;
	struct manifest_hole *holes;
	uint32_t n_holes;
	uint8_t *meta;
	uint32_t meta_bytes;
};

void manifest_clear(struct memory *memory, struct manifest *manifest);
/* Pure, for any bytes at all: 0, -EILSEQ, -EPROTO (unknown version or feature), -ENOMEM; *why is what is
 * wrong. */
int manifest_decode(struct memory *memory, const void *bytes, size_t len,
		    struct manifest *manifest, const char **why);
/* Length that it encodes to. */
size_t manifest_bytes(const struct manifest *manifest);
void manifest_encode(const struct manifest *manifest, void *bytes);

#define MANIFEST_NAME "MANIFEST"
/* -ENOENT: there is none. */
int manifest_read(struct memory *memory, const struct file *dir, struct manifest *manifest,
		  uint64_t *file_bytes, struct thermo_error *error);
/* Durable on 0. On errors the one before is still in force, now and after a restart, unless *unsure:
 * then the directory's sync failed and either may come up after a restart. */
int manifest_write(struct memory *memory, struct file *dir, const struct manifest *manifest,
		   uint64_t *file_bytes, bool *unsure);

#endif
