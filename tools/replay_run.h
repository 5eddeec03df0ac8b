/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays a stream of requests against a cache: a get, and on a miss a put; a set is a put; a del
 * is a delete. Where the requests come from (a trace, a generator) is behind struct replay_source.
 *
 * Life-cycle:  replay_run: open -> one reader (the calling thread) feeds N workers, a key's
 * requests always the same one and in order -> settle -> statistics -> close [-> open -> read every
 * key back -> close]
 */
#ifndef TOOLS_REPLAY_RUN_H
#define TOOLS_REPLAY_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "thermocline.h"
#include "tools/histogram.h"
#include "tools/payload.h"
#include "tools/progress.h"

#define REPLAY_SPACES_MAX 4
#define REPLAY_PHASES_MAX 8
#define REPLAY_THREADS_MAX 256

enum replay_verb { REPLAY_GET = 0, REPLAY_SET, REPLAY_DELETE };

struct replay_op {
	uint64_t id;        /* the key: these 8 bytes, and filler up to key_len */
	uint32_t value_len; /* bytes that a put of it writes */
	uint16_t key_len;   /* bytes, 8 to THERMO_KEY_MAX */
	uint32_t group; /* gets of one group that follow each other go out as a batch; 0: alone */
	uint8_t verb;   /* enum replay_verb */
	uint8_t space;
	uint8_t phase;
	uint8_t kind; /* enum payload_kind */
};

struct replay_source {
	/* 1 with the next request, 0 at the end, or a negative errno with *error filled. */
	int (*next)(struct replay_source *source, struct replay_op *op, struct thermo_error *error);
	/* The share of the requests that has been given out; negative if that is not known. */
	double (*done)(struct replay_source *source);
	const char *const *spaces; /* names */
	const char *const *phases; /* names; NULL when there is one phase */
	unsigned n_spaces;
	unsigned n_phases;
};

struct replay_config {
	const char *command; /* whose complaints these are: "replay", "demo" */
	struct thermo_options options;
	unsigned threads;
	uint64_t limit;    /* requests; 0 = all */
	bool verify;       /* check every byte of every hit */
	bool reopen;       /* close, open, and read every key back; needs verify */
	bool sets_as_gets; /* a set counts and acts as a get, as simulators have it */
	enum progress_mode progress;
};

struct replay_counts {
	uint64_t gets, sets, deletes;
	uint64_t hits[THERMO_TIERS];
	uint64_t misses;   /* gets that found nothing */
	uint64_t lost;     /* gets of a record that a bad block or bad memory took */
	uint64_t puts;     /* that took: sets and refills after a miss */
	uint64_t busy;     /* puts refused with THERMO_BUSY */
	uint64_t no_space; /* puts refused with -ENOSPC or -EROFS */
	uint64_t errors;   /* any other negative status */
	uint64_t get_bytes, put_bytes;
};

/* What --verify and --reopen found. */
struct replay_checks {
	uint64_t values, bytes; /* checked */
	uint64_t bad_bytes;
	uint64_t bad_values; /* with a bad byte or a wrong length */
	uint64_t unexpected; /* hits of keys that hold nothing */
};

struct replay_reopened {
	bool done;
	uint64_t keys; /* distinct keys that should hold a value */
	uint64_t hits[THERMO_TIERS];
	uint64_t missing; /* of them, those that were not there */
	uint64_t errors;
	struct replay_checks checks;
	double close_s, open_s, read_s;
};

struct replay_result {
	struct replay_counts total;
	struct replay_counts phase[REPLAY_PHASES_MAX];
	struct replay_checks checks;
	struct replay_reopened reopened;
	struct histogram latency[THERMO_TIERS]; /* of single gets that hit there */
	struct histogram latency_miss, latency_put, latency_delete;
	struct histogram latency_batch; /* of whole batches of gets */
	uint64_t batched;               /* gets in them */
	struct thermo_stats stats;      /* after everything settled */
	char *stats_json;               /* or NULL; free with replay_result_free */
	uint64_t process_bytes; /* resident, of the whole process, at the end of the requests */
	double seconds;
	double settle_s;
	char first_failure[320]; /* "" or what the first failed request or bad value was */
};

/* COMMAND_OK, or COMMAND_FAILED after a complaint: something could not be opened or read, a request
 * failed, cold storage was full, or a byte was not what it must be. *result holds what was counted
 * until then and is to be freed in any case; result->seconds is 0 if the requests did not run to
 * their end. While they run, SIGINT ends them early and the result is of what ran; a second one
 * ends the process. */
int replay_run(const struct replay_config *config, struct replay_source *source,
	       struct replay_result *result);
void replay_result_free(struct replay_result *result);

#endif
