/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a trace, plain or decompressed from zstd, through one buffer of fixed size. One
 * thread. Life: trace_stream_open or trace_stream_open_memory, look at stream->at .. stream->end, advance `at`,
 * trace_stream_fill for more, trace_stream_close.
 */
#ifndef TOOLS_TRACE_STREAM_H
#define TOOLS_TRACE_STREAM_H

#include "thermocline.h"

#include <zstd.h>

#define STREAM_BUFFER ((size_t)128 << 10)
#define STREAM_WINDOW_LOG 27 /* largest zstd window: 128 MiB */

struct stream {
	const char *at, *end; /* bytes that were read and not used */
	bool finished;        /* there are no more than these */

	/* the stream's own */
	int fd; /* -1: memory */
	const char *memory, *memory_end;
	uint64_t size;      /* of the file; 0 = unknown */
	uint64_t position;  /* of it, read */
	ZSTD_DStream *zstd; /* NULL: plain */
	bool frame_open;    /* the last frame is not complete yet */
	char *raw;          /* compressed bytes, when there is zstd */
	ZSTD_inBuffer input;
	char *buffer;
};

/* -ENOENT, -EACCES, -EISDIR, -EIO, -ENOMEM, -EPROTO (compressed otherwise). *error without the
 * name. */
int trace_stream_open(struct stream *stream, const char *path, struct thermo_error *error);
int trace_stream_open_memory(struct stream *stream, const void *bytes, size_t n,
		       struct thermo_error *error);
void trace_stream_close(struct stream *stream);

/* Adds bytes after end (what is left moves to the buffer's start) until at least one was added, the
 * buffer is full or the stream finished. -EIO, -EPROTO (damaged or truncated zstd). */
int trace_stream_fill(struct stream *stream, struct thermo_error *error);

#endif
