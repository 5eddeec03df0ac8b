/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace readers: recorded cache requests from a file, one at a time, in bounded memory.
 *
 *   csv      header "time,key,size,op" (any order; only key is needed), key a decimal 64-bit number
 *   oracle   libCacheSim's 24-byte records: u32 time, u64 id, u32 size, i64 next, little-endian
 *   twitter  seven columns, no header: time, key, key size, value size, client, operation, TTL in s
 *   kv       Meta's key-value traces for CacheLib: a header that names key and op_count or key_size
 *
 * Each plain or compressed with zstd, which is told by the content, not by the name. Keys that are
 * text become 64-bit numbers by hashing.
 *
 * Life: trace_open, trace_next until it answers THERMO_MISS or an error, trace_close. Bad input is
 * an error that says the file, the line (or record and byte offset), the field, and what to do;
 * after it, trace_next gives the same error again. One thread at a time.
 */
#ifndef TOOLS_TRACE_H
#define TOOLS_TRACE_H

#include "thermocline.h"

#define TRACE_LINE_MAX 4096u /* bytes, without the line's end */

enum trace_format { TRACE_AUTO = 0, TRACE_CSV, TRACE_ORACLE, TRACE_TWITTER, TRACE_KV };
enum trace_op { TRACE_GET = 0, TRACE_SET = 1, TRACE_DELETE = 2 };

struct trace_request {
	uint64_t time; /* the trace's own unit; 0 where it has none */
	uint64_t key;
	uint64_t size;     /* bytes of key and value together; 0 = not recorded */
	uint64_t ttl_s;    /* 0 = none */
	uint32_t key_size; /* bytes of the key, contained in size; 0 = not recorded */
	uint32_t count; /* how often it was made (kv: op_count), else 1; the caller may ignore it */
	enum trace_op op;
};

struct trace;

/* "auto", "csv", "oracle", "twitter", "kv"; -EINVAL */
int trace_format_parse(const char *name, enum trace_format *format);
const char *trace_format_name(enum trace_format format);

/* Opens the file and looks at its beginning (for TRACE_AUTO: at what it is). -ENOENT, -EACCES,
 * -EISDIR, -EIO; -EPROTO (not such a trace); -ENOMEM. *error is filled on every error; it may be
 * NULL. */
int trace_open(const char *path, enum trace_format format, struct trace **trace,
	       struct thermo_error *error);
/* The same from memory, which the caller keeps until trace_close. name: for messages. */
int trace_open_memory(const void *bytes, size_t n, const char *name, enum trace_format format,
		      struct trace **trace, struct thermo_error *error);
void trace_close(struct trace **trace);

/* THERMO_OK and a request, THERMO_MISS at the end, -EPROTO (malformed), -EIO. error may be NULL. */
int trace_next(struct trace *trace, struct trace_request *request, struct thermo_error *error);

/* What it was found to be; bytes of the file consumed and its size (0 = unknown), for progress. */
enum trace_format trace_format(const struct trace *trace);
uint64_t trace_position(const struct trace *trace);
uint64_t trace_size(const struct trace *trace);

/* "get", "set", ... of the formats above, in any case; -EINVAL. */
int trace_op_parse(const char *text, size_t len, enum trace_op *op);

#endif
