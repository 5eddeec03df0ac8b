/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parsers of trace formats: pure functions from bytes to requests, apart from files so that a
 * fuzzer can drive them. Lines come without their end. What is wrong is said in *error as "field:
 * what", without file and line, which the caller adds; every error is -EPROTO. Nothing is allocated
 * or kept.
 */
#ifndef TOOLS_TRACE_PARSE_H
#define TOOLS_TRACE_PARSE_H

#include "tools/trace.h"

#define TRACE_COLUMNS_MAX 32u
#define TRACE_ORACLE_RECORD 24u            /* bytes */
#define TRACE_SIZE_MAX (UINT64_C(1) << 40) /* bytes of an object */
#define TRACE_KEY_SIZE_MAX (1u << 20)      /* bytes of a key */
#define TRACE_COUNT_MAX 1000000000u

enum trace_column {
	COLUMN_IGNORED = 0,
	COLUMN_TIME,
	COLUMN_KEY,
	COLUMN_SIZE,
	COLUMN_OP,
	COLUMN_KEY_SIZE,
	COLUMN_COUNT,
	COLUMN_TTL,
};

/* What the columns of csv or kv lines are. */
struct trace_columns {
	enum trace_format format; /* TRACE_CSV or TRACE_KV */
	unsigned n;
	uint8_t is[TRACE_COLUMNS_MAX]; /* enum trace_column */
};

/* What the first n bytes of a file look like. If THERMO_OK then *format is one of the four. */
int trace_guess(const void *bytes, size_t n, enum trace_format *format, struct thermo_error *error);

/* format: TRACE_CSV, TRACE_KV, or TRACE_AUTO for whichever it is. */
int trace_parse_header(const char *line, size_t len, enum trace_format format,
		       struct trace_columns *columns, struct thermo_error *error);
int trace_parse_line(const struct trace_columns *columns, const char *line, size_t len,
		     struct trace_request *request, struct thermo_error *error);
int trace_parse_twitter(const char *line, size_t len, struct trace_request *request,
			struct thermo_error *error);
int trace_parse_oracle(const unsigned char record[TRACE_ORACLE_RECORD],
		       struct trace_request *request, struct thermo_error *error);

#endif
