/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: the plain reference of the crash tests, and the events of a workload that change it.
 *
 *   workload.c   makes calls at random, tells what was begun and what was answered
 *   model.c      follows those events up to a point of the record
 *   check.c      opens a state and compares it with the model of that point
 *
 * Of a durable space each key has the version that was acknowledged last, or that of the call under way.
 * A cache space is all there or empty: exactly what it held at a clean close until the next open, empty once
 * something was changed after it.
 */
#ifndef TESTS_CRASH_MODEL_H
#define TESTS_CRASH_MODEL_H

#include "include/thermocline.h"
#include "tests/crash/disk.h"
#include "tests/model/value.h"

#define MODEL_SPACES 4u
#define MODEL_KEYS 400u /* of a space; from MODEL_BALLAST on they are large: see workload.c */
#define MODEL_BALLAST 160u
#define MODEL_KEY_BYTES 24u

enum event_kind {
	EVENT_OPEN,
	EVENT_CLOSE,
	EVENT_SPACE,
	EVENT_DROP,
	EVENT_PUT,
	EVENT_DELETE,
	EVENT_ERASE,
	EVENT_OTHER, /* changes nothing that is compared: resizing, work, reading */
	EVENT_KINDS,
};

struct event {
	enum event_kind kind;
	uint8_t space;
	bool durable;      /* SPACE */
	uint32_t key, len;
	uint64_t seed;
	size_t begin, end; /* operations in the record when it was begun, when it was answered */
	int status;
};

struct trace {
	struct event *events;
	size_t n, room;
};

struct model_key {
	bool present;
	uint32_t len;
	uint64_t seed;
};

struct model_space {
	bool exists, durable;
	struct model_key key[MODEL_KEYS];
};

enum phase { PHASE_CLOSED, PHASE_OPENING, PHASE_OPEN, PHASE_CLOSING };

struct model {
	enum phase phase;
	bool untouched;             /* nothing was changed since the open */
	struct model_space space[MODEL_SPACES];
	const struct event *under_way; /* begun and not answered ... */
	size_t n_under_way;         /* ... so many: the requests of a batch */
	uint64_t epoch;             /* changes with what must hold */
};

void model_init(struct model *model);
/* Follows the events from *next on that were begun before the n-th operation; an event that was not answered
 * by then is under way. */
void model_follow(struct model *model, const struct trace *trace, size_t *next, size_t n);

size_t model_key_name(uint32_t space, uint32_t key, char name[MODEL_KEY_BYTES]);

/* ---- Workload ---- */

struct workload_options {
	uint64_t seed;
	unsigned steps;
	bool durable; /* spaces 2 and 3 are */
	bool warm;
	bool verbose;
};

/* Options of a small cache on the disk. */
void workload_cache_options(struct thermo_options *options, bool warm);
/* Seeds of values count from there: a workload writes the same whatever came before. */
void workload_versions_from(uint64_t seed);
uint64_t workload_next_seed(void);
/* thermo_put, with work in between while there is no room. */
int workload_put(struct thermo *cache, struct thermo_space *space, const char *name, size_t name_len,
		 const char *value, size_t len);
/* Runs on the disk, whose record is on; leaves the cache closed, or open and abandoned
 * (its memory is freed, nothing more is written). false: a call answered what it may not, and a line was
 * printed. */
bool workload_run(struct disk *disk, const struct workload_options *options, struct trace *trace);
/* What the workload did and the engine counted, added up. */
struct workload_sums {
	uint64_t events[EVENT_KINDS], demoted, compactions, device_reads, images;
};
extern struct workload_sums workload_sums;

/* ---- Check ---- */

struct verdict {
	uint64_t checked, opened_clean, opened_empty, continued;
	char wrong[512]; /* "" or what the last state did wrong */
};

struct check_options {
	bool warm;
	uint64_t seed;
	bool go_on; /* writes, closes cleanly and opens again */
};

/* Opens the image and compares; *observed (or NULL) becomes what was found, as a model of a closed cache. */
bool check_image(const struct disk_image *image, const struct model *model,
		 const struct check_options *options, struct verdict *verdict, struct model *observed);
/* A disk with that image. */
void check_disk(struct disk *disk, const struct disk_image *image);

#endif
