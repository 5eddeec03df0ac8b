/* SPDX-License-Identifier: Apache-2.0 */
/* A trace file as a stream of replay requests, sized by a size model. */
#ifndef TOOLS_TRACE_SOURCE_H
#define TOOLS_TRACE_SOURCE_H

#include "tools/replay_run.h"
#include "tools/sizes.h"
#include "tools/trace.h"

struct trace_source {
	struct replay_source source;    /* pass this; it must stay the first field */
	struct trace *trace;            /* closed by trace_source_close */
	const struct size_model *sizes; /* the caller's */
	uint32_t batch;                 /* gets that go out together; 0 or 1: each alone */
	uint64_t given;                 /* requests */
	uint64_t unrecorded;            /* requests for which the trace said no size */
	struct replay_op repeated;      /* given out again... */
	uint32_t repeats;               /* ...this often */
};

/* As trace_open. */
int trace_source_open(struct trace_source *source, const char *path, enum trace_format format,
		      const struct size_model *sizes, uint32_t batch, struct thermo_error *error);
void trace_source_close(struct trace_source *source);

/* The share of the file that has been read; negative if that is not known. */
double trace_done(const struct trace *trace);

#endif
