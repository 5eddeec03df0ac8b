/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See trace.h. The stream gives bytes, this file cuts them into lines or records and says where in
 * the file something was wrong, trace_parse.c makes requests of them.
 */
#include "tools/trace.h"

#include "tools/trace_parse.h"
#include "tools/trace_stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SHOWN 96 /* characters of the file's name in a message: its end */

struct trace {
	char *name;
	enum trace_format format;
	struct stream stream;
	struct trace_columns columns;
	uint64_t line;   /* of the text line last cut; from 1 */
	uint64_t record; /* oracle: of the record last cut; from 0 */
	int failed;      /* what went wrong, or 0 */
	struct thermo_error error;
};

static const char *const format_names[] = {"auto", "csv", "oracle", "twitter", "kv"};

int trace_format_parse(const char *name, enum trace_format *format)
{
	for (unsigned i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++) {
		if (!strcmp(name, format_names[i])) {
			*format = (enum trace_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *trace_format_name(enum trace_format format)
{
	return format_names[format];
}

/* The file's name, or its end. */
static const char *name_shown(const struct trace *t)
{
	size_t len = strlen(t->name);
	return len > NAME_SHOWN ? t->name + len - NAME_SHOWN : t->name;
}

/* Puts the file, and the line or record if one was cut, before the text of t->error. The trace
 * stays failed. */
static int failed_at(struct trace *t, int rc, bool in_line)
{
	struct thermo_error what = t->error;
	char where[64] = "";
	if (in_line && t->format == TRACE_ORACLE)
		snprintf(where, sizeof(where),
			 " record %llu (byte %llu):", (unsigned long long)t->record,
			 (unsigned long long)t->record * TRACE_ORACLE_RECORD);
	else if (in_line)
		snprintf(where, sizeof(where), "%llu:", (unsigned long long)t->line);
	snprintf(t->error.text, sizeof(t->error.text), "%s:%s %.120s", name_shown(t), where,
		 what.text);
	t->failed = rc;
	return rc;
}

static int failed_with(struct trace *t, int rc, bool in_line, const char *what)
{
	snprintf(t->error.text, sizeof(t->error.text), "%s", what);
	return failed_at(t, rc, in_line);
}

/* The next line without its end: THERMO_OK, THERMO_MISS at the end, or failed. */
static int line_next(struct trace *t, const char **line, size_t *len)
{
	struct stream *s = &t->stream;
	const char *end;
	for (size_t looked = 0;;) {
		size_t have = (size_t)(s->end - s->at);
		end = have > looked ? memchr(s->at + looked, '\n', have - looked) : NULL;
		size_t so_far = end ? (size_t)(end - s->at) : have;
		if (so_far > TRACE_LINE_MAX + 1) {
			t->line++;
			return failed_with(t, -EPROTO, true,
					   "longer than 4096 bytes; is this a text trace?");
		}
		if (end || s->finished)
			break;
		looked = have;
		int rc = trace_stream_fill(s, &t->error);
		if (rc)
			return failed_at(t, rc, false);
	}
	if (!end && s->at == s->end)
		return THERMO_MISS;
	*line = s->at;
	*len = (size_t)((end ? end : s->end) - s->at);
	s->at = end ? end + 1 : s->end;
	if (*len && (*line)[*len - 1] == '\r')
		--*len;
	t->line++;
	if (*len > TRACE_LINE_MAX)
		return failed_with(t, -EPROTO, true,
				   "longer than 4096 bytes; is this a text trace?");
	return THERMO_OK;
}

static int oracle_next(struct trace *t, struct trace_request *request)
{
	struct stream *s = &t->stream;
	while (!s->finished && (size_t)(s->end - s->at) < TRACE_ORACLE_RECORD) {
		int rc = trace_stream_fill(s, &t->error);
		if (rc)
			return failed_at(t, rc, false);
	}
	size_t have = (size_t)(s->end - s->at);
	if (!have)
		return THERMO_MISS;
	if (have < TRACE_ORACLE_RECORD) {
		snprintf(t->error.text, sizeof(t->error.text),
			 "cut off after %zu of 24 bytes; was the file copied whole?", have);
		return failed_at(t, -EPROTO, true);
	}
	int rc = trace_parse_oracle((const unsigned char *)s->at, request, &t->error);
	if (rc)
		return failed_at(t, rc, true);
	s->at += TRACE_ORACLE_RECORD;
	t->record++;
	return THERMO_OK;
}

static int text_next(struct trace *t, struct trace_request *request)
{
	const char *line;
	size_t len;
	int rc;
	do {
		rc = line_next(t, &line, &len);
		if (rc)
			return rc;
	} while (!len); /* empty lines say nothing */
	if (t->format == TRACE_TWITTER)
		rc = trace_parse_twitter(line, len, request, &t->error);
	else
		rc = trace_parse_line(&t->columns, line, len, request, &t->error);
	return rc ? failed_at(t, rc, true) : THERMO_OK;
}

int trace_next(struct trace *t, struct trace_request *request, struct thermo_error *error)
{
	int rc = t->failed;
	if (!rc)
		rc = t->format == TRACE_ORACLE ? oracle_next(t, request) : text_next(t, request);
	if (rc < 0 && error)
		*error = t->error;
	return rc;
}

/* Finds out or checks what the file is, and reads its header if it has one. */
static int begin(struct trace *t, enum trace_format format)
{
	struct stream *s = &t->stream;
	enum trace_format guess = TRACE_AUTO;
	const char *line;
	size_t len;

	while (!s->finished && (size_t)(s->end - s->at) <= TRACE_LINE_MAX) {
		int rc = trace_stream_fill(s, &t->error);
		if (rc)
			return failed_at(t, rc, false);
	}
	if (s->at == s->end)
		return failed_with(t, -EPROTO, false, "is empty; a trace is needed");
	int rc = trace_guess(s->at, (size_t)(s->end - s->at), &guess, &t->error);
	t->format = format == TRACE_AUTO ? guess : format;
	t->columns.format = t->format;
	if (format == TRACE_ORACLE) {
		if (rc || guess != TRACE_ORACLE)
			return failed_with(t, -EPROTO, false,
					   "is text, not records of 24 bytes; use --format "
					   "csv, twitter or kv");
		return 0;
	}
	if (t->format == TRACE_TWITTER || (!rc && t->format == TRACE_ORACLE))
		return 0;
	if (rc && format == TRACE_AUTO) {
		t->line = 1;
		return failed_at(t, rc, true);
	}
	rc = line_next(t, &line, &len);
	if (rc)
		return rc < 0 ? rc : failed_with(t, -EPROTO, false, "is empty; a trace is needed");
	rc = trace_parse_header(line, len, t->format, &t->columns, &t->error);
	return rc ? failed_at(t, rc, true) : 0;
}

static struct trace *trace_new(const char *name, struct thermo_error *error)
{
	struct trace *t = calloc(1, sizeof(*t));
	if (t)
		t->name = strdup(name);
	if (t && t->name)
		return t;
	free(t);
	if (error)
		snprintf(error->text, sizeof(error->text), "not enough memory to open a trace");
	return NULL;
}

static int trace_finish_open(struct trace *t, int rc, enum trace_format format, struct trace **out,
			     struct thermo_error *error)
{
	if (rc)
		failed_at(t, rc, false);
	else
		rc = begin(t, format);
	if (rc) {
		if (error)
			*error = t->error;
		trace_close(&t);
		return rc;
	}
	*out = t;
	return 0;
}

int trace_open(const char *path, enum trace_format format, struct trace **trace,
	       struct thermo_error *error)
{
	struct trace *t = trace_new(path, error);
	if (!t)
		return -ENOMEM;
	return trace_finish_open(t, trace_stream_open(&t->stream, path, &t->error), format, trace, error);
}

int trace_open_memory(const void *bytes, size_t n, const char *name, enum trace_format format,
		      struct trace **trace, struct thermo_error *error)
{
	struct trace *t = trace_new(name, error);
	if (!t)
		return -ENOMEM;
	return trace_finish_open(t, trace_stream_open_memory(&t->stream, bytes, n, &t->error), format,
				 trace, error);
}

void trace_close(struct trace **trace)
{
	struct trace *t = *trace;
	if (!t)
		return;
	*trace = NULL;
	trace_stream_close(&t->stream);
	free(t->name);
	free(t);
}

enum trace_format trace_format(const struct trace *t)
{
	return t->format;
}

uint64_t trace_position(const struct trace *t)
{
	return t->stream.position;
}

uint64_t trace_size(const struct trace *t)
{
	return t->stream.size;
}
