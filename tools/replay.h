/* SPDX-License-Identifier: Apache-2.0 */
/* What `thermo replay` was asked for, and its two ways of doing it. */
#ifndef TOOLS_REPLAY_H
#define TOOLS_REPLAY_H

#include "tools/cli.h"
#include "tools/progress.h"
#include "tools/trace.h"

struct replay_args {
	const char *command; /* whose complaints: "replay", "demo" */
	const char *path;    /* of the trace */
	enum trace_format format;
	const char *policy;
	struct tiers tiers;
	const char *value_size;
	const char *json; /* path, "-", or NULL: for people */
	const char *io;
	uint64_t threads, limit, batch;
	enum progress_mode progress;
	bool objects, verify, reopen, sets_as_gets;
};

/* Replays in the engine; in the planner's simulator. They answer an exit code. */
int replay_engine(const struct replay_args *args);
int replay_objects(const struct replay_args *args);

#endif
