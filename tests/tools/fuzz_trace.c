/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: every trace reader on any bytes. The first byte chooses the format that is
 * asked for and whether the pure parsers get the rest as one line instead. Build with -Dfuzz=true
 * and clang; run with tests/tools/corpus as the seed corpus.
 */
#include "alloc/check.h"
#include "tools/trace.h"
#include "tools/trace_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request_check(const struct trace_request *request)
{
	check(request->count >= 1 && request->count <= TRACE_COUNT_MAX);
	check(request->size <= TRACE_SIZE_MAX + TRACE_KEY_SIZE_MAX);
	check(request->size >= request->key_size);
	check(request->op <= TRACE_DELETE);
}

static void file_try(const uint8_t *data, size_t size, enum trace_format format)
{
	struct thermo_error error = {""};
	struct trace_request request;
	struct trace *trace = NULL;
	int rc = trace_open_memory(data, size, "fuzz", format, &trace, &error);
	if (rc) {
		check(rc == -EPROTO || rc == -ENOMEM);
		check(*error.text && !trace);
		return;
	}
	/* Compressed bytes may hold a great many lines: some are enough. */
	for (unsigned i = 0; i < 100000; i++) {
		rc = trace_next(trace, &request, &error);
		if (rc)
			break;
		request_check(&request);
	}
	check(rc == THERMO_OK || rc == THERMO_MISS || rc == -EPROTO);
	check(rc != -EPROTO || *error.text);
	trace_close(&trace);
}

static void line_try(const char *text, size_t size)
{
	struct thermo_error error;
	struct trace_columns columns;
	struct trace_request request;
	enum trace_format format;
	const char *end = memchr(text, '\n', size);
	size_t header = end ? (size_t)(end - text) : size;

	(void)trace_guess(text, size, &format, &error);
	if (!trace_parse_twitter(text, size, &request, &error))
		request_check(&request);
	if (size >= TRACE_ORACLE_RECORD &&
	    !trace_parse_oracle((const unsigned char *)text, &request, &error))
		request_check(&request);
	if (trace_parse_header(text, header, TRACE_AUTO, &columns, &error) || !end)
		return;
	check(columns.n >= 1 && columns.n <= TRACE_COLUMNS_MAX);
	if (!trace_parse_line(&columns, end + 1, size - header - 1, &request, &error))
		request_check(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	/* A copy of the exact size, so that reading past the end is seen. */
	uint8_t *copy = malloc(size - 1 ? size - 1 : 1);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	if (data[0] % 8 <= TRACE_KV)
		file_try(copy, size - 1, (enum trace_format)(data[0] % 8));
	else
		line_try((const char *)copy, size - 1);
	free(copy);
	return 0;
}
