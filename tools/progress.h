/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of long work, on stderr: one line redrawn ten times a second where a person watches, a
 * plain line every five seconds where a file does, one JSON object a line for programs, or nothing.
 * One thread.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_mode { PROGRESS_AUTO, PROGRESS_JSON, PROGRESS_NONE };

struct progress {
	enum progress_mode mode;
	bool terminal;
	uint64_t started_ns;
	uint64_t due_ns; /* when the next line may be drawn */
	unsigned drawn;  /* columns that the last redrawn line took */
};

/* "auto", "json", "none"; -EINVAL otherwise. */
int progress_parse(const char *text, enum progress_mode *mode);
void progress_open(struct progress *progress, enum progress_mode mode);
/* Is it time for another line? Cheap: asks the coarse clock. */
bool progress_due(const struct progress *progress);
/* Draws a line: done is a share of the whole (negative if unknown), text is for people, json is the
 * members of an object, without its braces, for programs. */
void progress_draw(struct progress *progress, double done, const char *text, const char *json);
/* Takes the redrawn line away. */
void progress_close(struct progress *progress);

/* The monotonic clock. */
uint64_t progress_now_ns(void);

#endif
