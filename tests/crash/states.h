/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk may hold after the power went, for every prefix of a record.
 *
 * Durable are: a file's bytes and length as of its last sync, the directory's names as of its last sync.
 * Of what came later (the operations in doubt) any subset may have reached the disk, in any order: each
 * change of a file, each change of a name by itself (a rename is one change: it happens whole or not), a
 * write torn at any sectors, or its new length without its bytes. Syncing a file says nothing about its
 * name. Up to SUBSETS_ALL operations in doubt: all subsets; more: none, all, each one alone, all but each
 * one, and random subsets.
 */
#ifndef TESTS_CRASH_STATES_H
#define TESTS_CRASH_STATES_H

#include "tests/crash/disk.h"

#define SUBSETS_ALL 6u
#define DOUBT_MAX 512u

struct states_options {
	unsigned random_subsets; /* where there are too many for all */
	unsigned tears;          /* torn variants of each write in doubt */
	uint64_t every;          /* a sample: of states with something in doubt, one in so many; 1: all */
};

/* One state, as it was chosen. */
struct state {
	size_t cut;             /* operations that were done */
	struct disk_image *image;
	uint64_t hash;
	bool is_new;            /* no state before had these bytes */
	uint64_t epoch;         /* set by the visit of a prefix: what must hold has this number */
	uint32_t in_doubt, kept; /* operations */
	uint32_t kinds;         /* 1 << disk_kind of those in doubt, and of the last one done */
	const char *choice;     /* for people: "all", "torn head of 3", ... */
};

/* Answers false to stop. The image is the visitor's to read and copy. */
typedef bool (*state_visit)(void *context, struct state *state);

/* Every state of every prefix. A prefix begins with a visit without image, which sets the epoch; then each
 * state is shown once an epoch: the same bytes have to be looked at again when more must hold. */
struct seen; /* a set of hashes */
struct seen *seen_open(void);
void seen_close(struct seen *seen);
size_t seen_count(const struct seen *seen);
/* One a line, in hexadecimal. */
bool seen_save(const struct seen *seen, const char *path);

void states_all(const struct disk_record *record, const struct states_options *options,
		struct seen *distinct, struct seen *shown, uint64_t seed, state_visit visit, void *context);

#endif
