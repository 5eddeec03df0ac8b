/* SPDX-License-Identifier: Apache-2.0 */
/* Trace readers: each format, plain and compressed, and each way in which a trace can be wrong. */
#include "tests/suite.h"
#include "tests/tools/reference.h"
#include "tools/trace.h"
#include "tools/trace_parse.h"
#include "tools/trace_stream.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define REQUESTS_MAX 64

static struct trace_request requests[REQUESTS_MAX];

/* Reads all of it: the number of requests, or the error of the open or of a request. */
static int read_all(const void *bytes, size_t n, enum trace_format format,
		    struct thermo_error *error)
{
	struct trace *trace;
	int rc = trace_open_memory(bytes, n, "t.csv", format, &trace, error), count = 0;
	if (rc)
		return rc;
	while ((rc = trace_next(trace, &requests[count % REQUESTS_MAX], error)) == THERMO_OK)
		count++;
	if (rc < 0) {
		/* The error stays. */
		struct thermo_error again;
		CU_ASSERT_EQUAL(trace_next(trace, &requests[0], &again), rc);
		CU_ASSERT_STRING_EQUAL(again.text, error->text);
	}
	trace_close(&trace);
	CU_ASSERT_PTR_NULL(trace);
	return rc == THERMO_MISS ? count : rc;
}

static int read_text(const char *text, enum trace_format format)
{
	struct thermo_error error;
	return read_all(text, strlen(text), format, &error);
}

/* The text must fail with a message that has these pieces. */
static void must_fail(const void *bytes, size_t n, enum trace_format format, const char *where,
		      const char *what)
{
	struct thermo_error error = {""};
	CU_ASSERT_EQUAL(read_all(bytes, n, format, &error), -EPROTO);
	bool said = strstr(error.text, where) && strstr(error.text, what);
	CU_ASSERT_TRUE(said);
	if (!said)
		printf("  \"%s\" lacks \"%s\" or \"%s\"\n", error.text, where, what);
}

static void text_must_fail(const char *text, enum trace_format format, const char *where,
			   const char *what)
{
	must_fail(text, strlen(text), format, where, what);
}

static void oracle_put(unsigned char *at, uint32_t time, uint64_t id, uint32_t size, int64_t next)
{
	for (unsigned i = 0; i < 4; i++) {
		at[i] = (unsigned char)(time >> 8 * i);
		at[12 + i] = (unsigned char)(size >> 8 * i);
	}
	for (unsigned i = 0; i < 8; i++) {
		at[4 + i] = (unsigned char)(id >> 8 * i);
		at[16 + i] = (unsigned char)((uint64_t)next >> 8 * i);
	}
}

/* ---- What is right ------------------------------------------------------------------------- */

static void csv_every_op_read(void)
{
	CU_ASSERT_EQUAL_FATAL(read_text("time,key,size,op\n1,18446744073709551615,10,get\n"
					"2,0,0,set\n3,7,1099511627776,DEL",
					TRACE_AUTO),
			      3);
	CU_ASSERT_EQUAL(requests[0].time, 1);
	CU_ASSERT_EQUAL(requests[0].key, UINT64_MAX);
	CU_ASSERT_EQUAL(requests[0].size, 10);
	CU_ASSERT_EQUAL(requests[0].op, TRACE_GET);
	CU_ASSERT_EQUAL(requests[0].count, 1);
	CU_ASSERT_EQUAL(requests[1].op, TRACE_SET);
	CU_ASSERT_EQUAL(requests[2].op, TRACE_DELETE);
	CU_ASSERT_EQUAL(requests[2].size, UINT64_C(1) << 40);
}

static void csv_other_columns_read(void)
{
	CU_ASSERT_EQUAL_FATAL(read_text("Key,colour\r\n5,red\r\n\r\n6,\r\n", TRACE_AUTO), 2);
	CU_ASSERT_EQUAL(requests[0].key, 5);
	CU_ASSERT_EQUAL(requests[0].op, TRACE_GET);
	CU_ASSERT_EQUAL(requests[1].key, 6);
	CU_ASSERT_EQUAL(read_text("time,key,size,op\n", TRACE_AUTO), 0);
	CU_ASSERT_EQUAL(read_text("time,key,size,op", TRACE_CSV), 0);
}

static void twitter_columns_read(void)
{
	CU_ASSERT_EQUAL_FATAL(read_text("0,nz:u:eeW511W3dcH3de3d15ec,22,304,14,get,0\n"
					"3,with,comma,10,5,1,set,86400\n"
					"3,82131353f9ddc8c6,16,0,9,delete,0\n",
					TRACE_AUTO),
			      3);
	CU_ASSERT_EQUAL(requests[0].size, 326);
	CU_ASSERT_EQUAL(requests[0].key_size, 22);
	CU_ASSERT_EQUAL(requests[0].op, TRACE_GET);
	CU_ASSERT_EQUAL(requests[1].time, 3);
	CU_ASSERT_EQUAL(requests[1].ttl_s, 86400);
	CU_ASSERT_EQUAL(requests[1].op, TRACE_SET);
	CU_ASSERT_NOT_EQUAL(requests[0].key, requests[1].key);
	CU_ASSERT_EQUAL(requests[2].key, UINT64_C(0x82131353f9ddc8c6));
	CU_ASSERT_EQUAL(requests[2].op, TRACE_DELETE);
}

static void kv_columns_read(void)
{
	const char *text =
		"op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase\n"
		"604038471,82131353f9ddc8c6,48,GET,1,87,1,0,366387042,3003229276\n"
		"604038472,some key,24,SET,3,10,0,60,699950563,699950563\n";
	CU_ASSERT_EQUAL_FATAL(read_text(text, TRACE_AUTO), 2);
	CU_ASSERT_EQUAL(requests[0].key, UINT64_C(9372856500883409094));
	CU_ASSERT_EQUAL(requests[0].size, 135);
	CU_ASSERT_EQUAL(requests[0].key_size, 48);
	CU_ASSERT_EQUAL(requests[1].count, 3);
	CU_ASSERT_EQUAL(requests[1].ttl_s, 60);
	CU_ASSERT_EQUAL(requests[1].op, TRACE_SET);
	CU_ASSERT_EQUAL(read_text(text, TRACE_KV), 2);
	CU_ASSERT_EQUAL(read_text("key,op,size,op_count,key_size\na,GET,1,1,1\n", TRACE_AUTO), 1);
}

static void oracle_records_read(void)
{
	unsigned char bytes[3 * TRACE_ORACLE_RECORD];
	struct thermo_error error;
	oracle_put(bytes, 1, 11, 100, 2);
	oracle_put(bytes + 24, UINT32_MAX, UINT64_MAX, UINT32_MAX, INT64_MAX);
	oracle_put(bytes + 48, 3, 11, 0, -1);
	for (unsigned format = TRACE_AUTO; format <= TRACE_ORACLE; format += TRACE_ORACLE) {
		CU_ASSERT_EQUAL_FATAL(
			read_all(bytes, sizeof(bytes), (enum trace_format)format, &error), 3);
		CU_ASSERT_EQUAL(requests[0].key, 11);
		CU_ASSERT_EQUAL(requests[0].size, 100);
		CU_ASSERT_EQUAL(requests[1].time, UINT32_MAX);
		CU_ASSERT_EQUAL(requests[1].key, UINT64_MAX);
		CU_ASSERT_EQUAL(requests[1].size, UINT32_MAX);
	}
}

static void op_names_of_all_sources_known(void)
{
	enum trace_op op;
	CU_ASSERT_EQUAL(trace_op_parse("GET_LEASE", 9, &op), 0);
	CU_ASSERT_EQUAL(op, TRACE_GET);
	CU_ASSERT_EQUAL(trace_op_parse("incr", 4, &op), 0);
	CU_ASSERT_EQUAL(op, TRACE_SET);
	CU_ASSERT_EQUAL(trace_op_parse("fetch", 5, &op), -EINVAL);
	CU_ASSERT_EQUAL(trace_op_parse("get ", 4, &op), -EINVAL);
	CU_ASSERT_EQUAL(trace_op_parse("", 0, &op), -EINVAL);
}

static void format_names_round_trip(void)
{
	enum trace_format format;
	for (unsigned i = TRACE_AUTO; i <= TRACE_KV; i++) {
		CU_ASSERT_EQUAL(
			trace_format_parse(trace_format_name((enum trace_format)i), &format), 0);
		CU_ASSERT_EQUAL((unsigned)format, i);
	}
	CU_ASSERT_EQUAL(trace_format_parse("arff", &format), -EINVAL);
}

/* ---- Compressed
 * ---------------------------------------------------------------------------------- */

/* A csv of n requests; the caller frees. */
static char *csv_make(unsigned n, size_t *len)
{
	size_t most = 64 + (size_t)n * 48, at = 0;
	char *text = malloc(most);
	at += (size_t)snprintf(text, most, "time,key,size,op\n");
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, most - at, "%u,%llu,%u,%s\n", i,
				       (unsigned long long)i * 7919, i % 1000,
				       i % 3 ? "get" : "set");
	*len = at;
	return text;
}

static char *compress(const char *bytes, size_t n, size_t *len)
{
	size_t most = ZSTD_compressBound(n);
	char *packed = malloc(most);
	*len = ZSTD_compress(packed, most, bytes, n, 3);
	CU_ASSERT_FALSE_FATAL(ZSTD_isError(*len));
	return packed;
}

static void zstd_large_reads_like_plain(void)
{
	const unsigned n = 200000;
	size_t len, packed_len;
	char *text = csv_make(n, &len), *packed = compress(text, len, &packed_len);
	struct trace *plain, *small;
	struct trace_request a, b;
	unsigned same = 0;
	CU_ASSERT_EQUAL_FATAL(trace_open_memory(text, len, "a", TRACE_AUTO, &plain, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(trace_open_memory(packed, packed_len, "b", TRACE_AUTO, &small, NULL),
			      0);
	CU_ASSERT_EQUAL(trace_format(small), TRACE_CSV);
	CU_ASSERT_EQUAL(trace_size(small), packed_len);
	while (trace_next(plain, &a, NULL) == 0 && trace_next(small, &b, NULL) == 0)
		same += a.key == b.key && a.time == b.time && a.size == b.size && a.op == b.op;
	CU_ASSERT_EQUAL(same, n);
	CU_ASSERT_EQUAL(trace_next(small, &b, NULL), THERMO_MISS);
	CU_ASSERT_EQUAL(trace_next(plain, &a, NULL), THERMO_MISS);
	CU_ASSERT_EQUAL(trace_position(small), packed_len);
	trace_close(&plain);
	trace_close(&small);
	free(packed);
	free(text);
}

/* What compresses very well: one read of input gives many buffers of output, to the last of them.
 */
static void zstd_dense_reads_to_end(void)
{
	const unsigned n = 100000;
	size_t len = 0, packed_len;
	char *text = malloc(32 + 8 * (size_t)n);
	len += (size_t)sprintf(text, "key\n");
	for (unsigned i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "1234567\n");
	char *packed = compress(text, len, &packed_len);
	struct thermo_error error;
	CU_ASSERT(packed_len < 1000);
	CU_ASSERT_EQUAL(read_all(packed, packed_len, TRACE_AUTO, &error), (int)n);
	free(packed);
	free(text);
}

static void zstd_frames_in_a_row_read(void)
{
	const char *one = "time,key,size,op\n1,2,3,get\n", *two = "2,3,4,set\n";
	size_t a_len, b_len;
	char *a = compress(one, strlen(one), &a_len), *b = compress(two, strlen(two), &b_len);
	char both[512];
	struct thermo_error error;
	memcpy(both, a, a_len);
	memcpy(both + a_len, b, b_len);
	CU_ASSERT_EQUAL(read_all(both, a_len + b_len, TRACE_AUTO, &error), 2);
	free(a);
	free(b);
}

static void zstd_cut_off_said(void)
{
	size_t len, packed_len;
	char *text = csv_make(20000, &len), *packed = compress(text, len, &packed_len);
	must_fail(packed, packed_len - 5, TRACE_AUTO, "t.csv:", "end too early");
	must_fail(packed, 4, TRACE_AUTO, "t.csv:", "end too early");
	packed[packed_len / 2] ^= 0x55;
	struct thermo_error error = {""};
	CU_ASSERT(read_all(packed, packed_len, TRACE_AUTO, &error) < 0);
	free(packed);
	free(text);
}

static void other_compression_said(void)
{
	must_fail("\x1f\x8b\x08\0\0\0\0\0", 8, TRACE_AUTO, "t.csv:", "gzip");
	must_fail("\xfd"
		  "7zXZ\0\0\0",
		  8, TRACE_CSV, "t.csv:", "xz");
}

/* ---- What is wrong
 * -------------------------------------------------------------------------------- */

static void csv_bad_field_said(void)
{
	text_must_fail("time,key,size,op\n1,2,3,get\n1,x2,3,get\n", TRACE_AUTO,
		       "t.csv:3:", "key \"x2\"");
	text_must_fail("time,key,size,op\n1,18446744073709551616,3,get\n", TRACE_AUTO,
		       "t.csv:2:", "key");
	text_must_fail("time,key,size,op\n1,-5,3,get\n", TRACE_AUTO, "t.csv:2:", "key \"-5\"");
	text_must_fail("time,key,size,op\n1,,3,get\n", TRACE_AUTO, "t.csv:2:", "key \"\"");
	text_must_fail("time,key,size,op\n1,2,1099511627777,get\n", TRACE_AUTO, "t.csv:2:", "size");
	text_must_fail("time,key,size,op\n1,2,3.5,get\n", TRACE_AUTO, "t.csv:2:", "size \"3.5\"");
	text_must_fail("time,key,size,op\n1,2,3,fetch\n", TRACE_AUTO, "t.csv:2:", "op \"fetch\"");
	text_must_fail("time,key,size,op\nnow,2,3,get\n", TRACE_AUTO, "t.csv:2:", "time \"now\"");
	text_must_fail("time,key,size,op\n1,2,3\n", TRACE_AUTO,
		       "t.csv:2:", "3 fields where the header has 4");
	text_must_fail("time,key,size,op\n\n1,2,3,get,5\n", TRACE_AUTO,
		       "t.csv:3:", "more than the header's 4");
	must_fail("time,key,size,op\n1,2\0,3,get\n", 29, TRACE_AUTO, "t.csv:2:", "key \"2?\"");
}

static void csv_bad_header_said(void)
{
	text_must_fail("1,2,3,get\n", TRACE_AUTO, "t.csv:1:", "no column \"key\"");
	text_must_fail("1,2,3,get\n", TRACE_CSV, "t.csv:1:", "time,key,size,op");
	text_must_fail("time,key,key,op\n", TRACE_AUTO, "t.csv:1:", "\"key\" is there twice");
	text_must_fail("op_time,key,op_count,op\n", TRACE_CSV, "t.csv:1:", "kv");
	text_must_fail("key,op_count\n", TRACE_AUTO, "t.csv:1:", "\"op\"");
	text_must_fail("\n1,2,3,get\n", TRACE_AUTO, "t.csv:1:", "header");
	text_must_fail("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,1,2,3,4,5,6,key\n",
		       TRACE_AUTO, "t.csv:1:", "more than 32 columns");
	text_must_fail("", TRACE_AUTO, "t.csv:", "is empty");
	text_must_fail("", TRACE_ORACLE, "t.csv:", "is empty");
}

static void long_line_said(void)
{
	char text[3 * TRACE_LINE_MAX];
	memset(text, '1', sizeof(text));
	memcpy(text, "key\n", 4);
	must_fail(text, sizeof(text), TRACE_AUTO, "t.csv:2:", "longer than 4096");
	must_fail(text, 4 + TRACE_LINE_MAX + 1, TRACE_AUTO, "t.csv:2:", "longer than 4096");
	text[4 + TRACE_LINE_MAX + 1] = '\n';
	must_fail(text, sizeof(text), TRACE_AUTO, "t.csv:2:", "longer than 4096");
	must_fail(text + 4, TRACE_LINE_MAX + 500, TRACE_AUTO, "t.csv:1:", "longer than 4096");

	/* One of exactly the most is read. */
	char fits[TRACE_LINE_MAX + 16];
	memset(fits, 'x', sizeof(fits));
	memcpy(fits, "key,a\n1,", 8);
	fits[6 + TRACE_LINE_MAX] = '\n';
	struct thermo_error error = {""};
	CU_ASSERT_EQUAL(read_all(fits, 6 + TRACE_LINE_MAX + 1, TRACE_AUTO, &error), 1);
}

static void twitter_bad_line_said(void)
{
	text_must_fail("0,k,1,2,3,get,0\n0,k,1,2,3,get\n", TRACE_AUTO, "t.csv:2:", "fields");
	text_must_fail("0,k,1,2,3,get,0\nnothing\n", TRACE_AUTO, "t.csv:2:", "1 fields");
	text_must_fail("0,k,1,2,3,get,0\n0,,1,2,3,get,0\n", TRACE_TWITTER,
		       "t.csv:2:", "key: is empty");
	text_must_fail("0,k,1,2,3,what,0\n", TRACE_AUTO, "t.csv:1:", "op \"what\"");
	text_must_fail("0,k,1,2,3,get,-1\n", TRACE_AUTO, "t.csv:1:", "TTL \"-1\"");
	text_must_fail("0,k,9999999,2,3,get,1\n", TRACE_AUTO, "t.csv:1:", "key size");
	text_must_fail("0,k,9,2,c,get,1\n", TRACE_AUTO, "t.csv:1:", "client");
}

static void kv_bad_line_said(void)
{
	text_must_fail("key,op,size,op_count\nk,GET,1,0\n", TRACE_AUTO,
		       "t.csv:2:", "op_count \"0\"");
	text_must_fail("key,op,size,op_count\n,GET,1,1\n", TRACE_AUTO, "t.csv:2:", "key: is empty");
	text_must_fail("key,op,size,op_count,ttl\nk,GET,1,1,99999999999\n", TRACE_AUTO,
		       "t.csv:2:", "ttl");
}

static void oracle_cut_off_said(void)
{
	unsigned char bytes[3 * TRACE_ORACLE_RECORD];
	oracle_put(bytes, 1, 11, 100, 2);
	oracle_put(bytes + 24, 2, 12, 100, -1);
	oracle_put(bytes + 48, 3, 13, 100, -2);
	must_fail(bytes, 47, TRACE_AUTO, "t.csv: record 1 (byte 24):", "cut off after 23");
	must_fail(bytes, 10, TRACE_ORACLE, "record 0 (byte 0):", "cut off after 10");
	must_fail(bytes, 72, TRACE_ORACLE, "record 2 (byte 48):", "next -2");
	text_must_fail("time,key,size,op\n1,2,3,get\n", TRACE_ORACLE, "t.csv:", "is text");
}

static void long_name_keeps_message(void)
{
	char name[3000];
	struct trace *trace = NULL;
	struct thermo_error error;
	memset(name, 'd', sizeof(name));
	strcpy(name + sizeof(name) - 8, "/x.csv");
	CU_ASSERT_EQUAL(trace_open_memory("1,2\n", 4, name, TRACE_CSV, &trace, &error), -EPROTO);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "/x.csv:1: header: no column \"key\""));
	CU_ASSERT_PTR_NULL(trace);
}

/* ---- Files
 * ----------------------------------------------------------------------------------------- */

static void open_missing_file_said(void)
{
	struct trace *trace = NULL;
	struct thermo_error error;
	CU_ASSERT_EQUAL(trace_open("/nowhere/t.csv", TRACE_AUTO, &trace, &error), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "/nowhere/t.csv: No such file"));
	CU_ASSERT_EQUAL(trace_open("/", TRACE_AUTO, &trace, &error), -EISDIR);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "directory"));
	CU_ASSERT_EQUAL(trace_open("/nowhere/t.csv", TRACE_AUTO, &trace, NULL), -ENOENT);
	CU_ASSERT_PTR_NULL(trace);
}

static void open_file_and_pipe_read(void)
{
	char path[] = "/tmp/test_trace_XXXXXX";
	struct trace *trace;
	struct trace_request request;
	size_t len;
	char *text = csv_make(1000, &len);
	int fd = mkstemp(path), ends[2];
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, text, len), (ssize_t)len);
	close(fd);
	CU_ASSERT_EQUAL_FATAL(trace_open(path, TRACE_AUTO, &trace, NULL), 0);
	CU_ASSERT_EQUAL(trace_size(trace), len);
	for (unsigned i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(trace_next(trace, &request, NULL), THERMO_OK);
	CU_ASSERT_EQUAL(trace_next(trace, &request, NULL), THERMO_MISS);
	trace_close(&trace);
	unlink(path);

	CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
	CU_ASSERT_EQUAL(write(ends[1], text, len), (ssize_t)len); /* fits the pipe */
	close(ends[1]);
	snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
	CU_ASSERT_EQUAL_FATAL(trace_open(path, TRACE_AUTO, &trace, NULL), 0);
	CU_ASSERT_EQUAL(trace_size(trace), 0);
	CU_ASSERT_EQUAL(trace_next(trace, &request, NULL), THERMO_OK);
	trace_close(&trace);
	close(ends[0]);
	free(text);
}

/* ---- Recorded traces
 * -------------------------------------------------------------------------------- */

/* Two forms of the same trace must give the same requests. */
static void recorded_kv_same_as_csv(void)
{
	const char *data = reference_data();
	char path[4096];
	struct trace *kv, *csv;
	struct trace_request a, b;
	unsigned n = 0;
	if (!data) {
		suite_skip("THERMO_DATA names no folder with recorded traces");
		return;
	}
	snprintf(path, sizeof(path), "%s/raw/cachelib/kv_traces_1.csv", data);
	CU_ASSERT_EQUAL_FATAL(trace_open(path, TRACE_AUTO, &kv, NULL), 0);
	snprintf(path, sizeof(path), "%s/traces/meta_kv_1.csv.zst", data);
	CU_ASSERT_EQUAL_FATAL(trace_open(path, TRACE_AUTO, &csv, NULL), 0);
	CU_ASSERT_EQUAL(trace_format(kv), TRACE_KV);
	for (; trace_next(kv, &a, NULL) == 0 && trace_next(csv, &b, NULL) == 0; n++)
		CU_ASSERT(a.key == b.key && a.size == b.size && a.op == b.op && a.time == b.time);
	CU_ASSERT_EQUAL(n, 99);
	trace_close(&kv);
	trace_close(&csv);
}

/* Every reader must survive every prefix and every changed byte of a small trace. */
static void damaged_anywhere_never_crashes(void)
{
	uint64_t random = suite_seed() | 1;
	const char *text =
		"op_time,key,key_size,op,op_count,size,ttl\n1,ab,2,GET,1,8,0\n2,c,1,SET,1,8,9\n";
	size_t n = strlen(text), packed_len;
	char *packed = compress(text, n, &packed_len), copy[512];
	struct thermo_error error;
	CU_ASSERT_FATAL(packed_len < sizeof(copy));
	for (unsigned i = 0; i < 20000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		bool small = random & 1;
		size_t len = small ? packed_len : n;
		memcpy(copy, small ? packed : text, len);
		copy[(random >> 8) % len] = (char)(random >> 40);
		if (random >> 60 == 0)
			len = (random >> 20) % len;
		int rc = read_all(copy, len, (enum trace_format)(random >> 50 & 3), &error);
		CU_ASSERT(rc >= 0 || rc == -EPROTO);
	}
	free(packed);
}

static const struct suite_case cases[] = {
	SUITE_CASE(csv_every_op_read),
	SUITE_CASE(csv_other_columns_read),
	SUITE_CASE(twitter_columns_read),
	SUITE_CASE(kv_columns_read),
	SUITE_CASE(oracle_records_read),
	SUITE_CASE(op_names_of_all_sources_known),
	SUITE_CASE(format_names_round_trip),
	SUITE_CASE(zstd_large_reads_like_plain),
	SUITE_CASE(zstd_dense_reads_to_end),
	SUITE_CASE(zstd_frames_in_a_row_read),
	SUITE_CASE(zstd_cut_off_said),
	SUITE_CASE(other_compression_said),
	SUITE_CASE(csv_bad_field_said),
	SUITE_CASE(csv_bad_header_said),
	SUITE_CASE(long_line_said),
	SUITE_CASE(twitter_bad_line_said),
	SUITE_CASE(kv_bad_line_said),
	SUITE_CASE(oracle_cut_off_said),
	SUITE_CASE(long_name_keeps_message),
	SUITE_CASE(open_missing_file_said),
	SUITE_CASE(open_file_and_pipe_read),
	SUITE_CASE(recorded_kv_same_as_csv),
	SUITE_CASE(damaged_anywhere_never_crashes),
};

int main(void)
{
	return suite_run("trace", NULL, NULL, cases, SUITE_COUNT(cases));
}
