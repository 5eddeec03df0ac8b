/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model test: random operations on a cache whose tiers are all tiny, against a plain reference.
 *
 *   model.c       options, the world (opening, closing, resizing, dropping), threads, the summary
 *   reference.c   what a key must hold, checks of what came back, the report of a mismatch
 *   operations.c  operations on one key, refs, waits
 *   groups.c      operations on many: batches, queues, hints, iteration
 *
 * Every thread (actor) has keys of its own, so that it knows what they must hold; the cache is shared. What
 * changes the world for all (close and reopen, drop) is done under the write side of `turn`.
 *
 * With a cold tier nothing may be missing. Without, a record may be evicted; but what was missing once
 * stays missing until it is written again, and no get ever gives an older or another value.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include "include/thermocline.h"
#include "tests/model/value.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define ACTORS_MAX 16
#define SPACES 2
#define KEYS 1500 /* per actor and space */
#define REFS 8    /* held by an actor at a time */
#define TRACE 65536
#define LARGE_MAX ((size_t)1200 << 10)
#define INLINE_MAX ((size_t)8 << 10) /* values up to here are never in chunks, whatever the tiers' sizes */

enum certainty { MUST_MISS, MUST_HIT, EITHER };

/* What a key must hold. */
struct entry {
	bool present;
	uint32_t len;
	uint64_t seed;
	uint64_t expires_lo, expires_hi; /* the expiry is between; 0: never */
	uint64_t version;                /* 0: not known */
	uint64_t version_last;           /* greatest that was seen */
	uint64_t marked;                 /* number of the iteration that it was last met (or changed) in */
};

struct trace {
	uint64_t step;
	const char *what;
	int status;
	uint32_t key;
	uint8_t space;
};

struct held_ref {
	struct thermo_ref ref;
	uint64_t seed;
	uint32_t key;
	uint8_t space;
};

struct world;

struct actor {
	struct world *world;
	unsigned number;
	struct chance chance;
	uint64_t step;
	uint64_t iterations;
	const char *what; /* the operation under way */
	struct held_ref held[REFS];
	struct entry entry[SPACES][KEYS];
	struct trace trace[TRACE]; /* ring, by step */
	uint64_t traced;
	uint64_t hits[THERMO_TIERS], misses, busy, pending, pin_limit, no_memory;
	char *buffer; /* LARGE_MAX, for what is read */
	char *value;  /* LARGE_MAX, for what is written */
};

struct world {
	/* const */
	uint64_t seed;
	unsigned seconds, actors;
	const char *cold; /* NULL: no cold tier */
	bool warm;
	/* under turn */
	struct thermo *cache;
	struct thermo_space *space[SPACES];
	pthread_rwlock_t turn;
	_Atomic uint64_t clock_ms;
	_Atomic bool stop;
	uint64_t reopened, dropped, resized, drained;
	struct actor *actor[ACTORS_MAX];
};

/* ---- reference.c ---- */
/* The bytes of a key; returns their number. */
size_t key_make(const struct actor *a, uint32_t number, char key[THERMO_KEY_MAX]);
/* Its number, or KEYS if the key is not this actor's. */
uint32_t key_number(const struct actor *a, const char *key, size_t len);
uint64_t now_ms(const struct world *w);
enum certainty certainty(const struct actor *a, const struct entry *e, uint64_t before,
			 uint64_t after);
/* Checks the outcome of reading `capacity` bytes from offset on, begun at clock `before`. */
void check_read(struct actor *a, unsigned space, uint32_t key, int status, uint64_t before,
		const void *bytes, size_t capacity, uint64_t offset, size_t value_len);
/* The version that the key was found with (0: not told). */
void check_version(struct actor *a, unsigned space, uint32_t key, uint64_t version);
/* The key was missing where it may be. */
void note_missing(struct entry *e);
void note_put(struct actor *a, struct entry *e, uint64_t seed, size_t len, int64_t ttl_ms,
	      uint64_t before, uint64_t version);
/* Many threads at once may find no buffer under the small caps: -ENOMEM, and nothing has changed. */
bool refused(struct actor *a, int status);
void note_trace(struct actor *a, unsigned space, uint32_t key, int status);
void fail(struct actor *a, unsigned space, uint32_t key, int status, const char *format, ...)
	__attribute__((noreturn, format(printf, 5, 6)));

/* ---- operations.c ---- */
void operate(struct actor *a); /* one random operation */
size_t random_len(struct actor *a);
int64_t random_ttl(struct actor *a);
void verify_key(struct actor *a, unsigned space, uint32_t key);
void refs_release(struct actor *a); /* all, each verified */

/* ---- groups.c ---- */
void operate_batch(struct actor *a);
void operate_queue(struct actor *a);
void operate_hint(struct actor *a);
void operate_iterate(struct actor *a);

/* ---- model.c ---- */
/* Changes what is shared; called without turn. */
void world_change(struct actor *a);

#endif
