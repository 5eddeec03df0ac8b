/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: every trace reader on any bytes. The first byte chooses the format that is
 * asked for and whether the pure parsers get the rest as one line instead.
 */
#include "alloc/check.h"
#include "tests/fuzz.h"
#include "tools/trace.h"
#include "tools/trace_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

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
	for (unsigned i = 0; i < 2000; i++) {
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

/* ---- Seeds ---- */

enum { LINE = TRACE_KV + 1 };

static void seed(const char *folder, const char *name, uint8_t way, const char *text)
{
	fuzz_seed(folder, name, way, text, strlen(text));
}

/* The same as it comes compressed, `frames` times one after the other. */
static void seed_packed(const char *folder, const char *name, uint8_t way, const void *bytes,
			size_t len, unsigned frames)
{
	char packed[4096];
	size_t all = 0;
	for (unsigned i = 0; i < frames; i++) {
		size_t n = ZSTD_compress(packed + all, sizeof(packed) - all, bytes, len, 1);
		check(!ZSTD_isError(n));
		all += n;
	}
	fuzz_seed(folder, name, way, packed, all);
}

static size_t oracle_make(uint8_t *to)
{
	static const struct {
		uint32_t time;
		uint64_t id;
		uint32_t size;
		int64_t next;
	} records[] = {{1, 11, 100, 2}, {2, 12, 1, -1}, {3, 11, 100, -1}};
	for (size_t i = 0; i < 3; i++, to += TRACE_ORACLE_RECORD) {
		memcpy(to, &records[i].time, 4);
		memcpy(to + 4, &records[i].id, 8);
		memcpy(to + 12, &records[i].size, 4);
		memcpy(to + 16, &records[i].next, 8);
	}
	return 3 * TRACE_ORACLE_RECORD;
}

void fuzz_seeds(const char *folder)
{
	static const char csv[] =
		"time,key,size,op\n1,18446744073709551615,10,get\n2,5,0,set\r\n\n3,5,1,del";
	static const char twitter[] = "0,nz:u:eeW511W3dcH3de3d15ec,22,304,14,get,0\n"
				      "3,with,comma,10,5,1,set,86400\n";
	static const char kv[] =
		"op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase\n"
		"604038471,82131353f9ddc8c6,48,GET,1,87,1,0,366387042,3003229276\n"
		"604038471,a key,24,SET,3,0,0,60,699950563,699950563\n";
	uint8_t oracle[3 * TRACE_ORACLE_RECORD];
	size_t oracle_len = oracle_make(oracle);
	seed(folder, "csv", TRACE_AUTO, csv);
	seed(folder, "csv_asked", TRACE_CSV, csv);
	seed(folder, "csv_no_header", TRACE_CSV, "1,2,3,get\n");
	seed_packed(folder, "csv_zst", TRACE_AUTO, csv, strlen(csv), 1);
	seed_packed(folder, "csv_zst_twice", TRACE_AUTO, csv, strlen(csv), 2);
	seed(folder, "twitter", TRACE_AUTO, twitter);
	seed(folder, "twitter_line", LINE, "0,nz:u:eeW511W3dcH3de3d15ec,22,304,14,get,0");
	seed(folder, "kv", TRACE_AUTO, kv);
	seed(folder, "kv_asked", TRACE_KV, kv);
	seed(folder, "kv_lines", LINE, kv);
	seed_packed(folder, "kv_zst", TRACE_KV, kv, strlen(kv), 1);
	fuzz_seed(folder, "oracle", TRACE_AUTO, oracle, oracle_len);
	fuzz_seed(folder, "oracle_cut", TRACE_ORACLE, oracle, oracle_len - 5);
	seed_packed(folder, "oracle_zst", TRACE_ORACLE, oracle, oracle_len, 1);
	fuzz_seed(folder, "gzip", TRACE_AUTO, "\x1f\x8b\x08\0\0\0\0\0", 8);
}
