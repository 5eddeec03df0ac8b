/* SPDX-License-Identifier: Apache-2.0 */
/* A replay's result for people and for programs. */
#ifndef TOOLS_REPLAY_REPORT_H
#define TOOLS_REPLAY_REPORT_H

#include "tools/replay_run.h"

struct replay_about {
	const char *trace; /* what was replayed */
	const char *policy;
	const char *warm;          /* provider */
	const char *const *phases; /* names; NULL when there is one phase */
	unsigned n_phases;
	uint64_t unrecorded; /* requests whose size the trace did not say */
};

/* Prints the report, and writes it as JSON to json_path ("-": to stdout and nothing else) unless
 * that is NULL. An exit code, after a complaint. */
int replay_report(const struct replay_about *about, const struct replay_config *config,
		  const struct replay_result *result, const char *json_path);

#endif
