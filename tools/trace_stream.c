/* SPDX-License-Identifier: Apache-2.0 */
/* See trace_stream.h. */
#include "tools/trace_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAW_BUFFER ((size_t)64 << 10)

static int failed(struct thermo_error *error, int rc, const char *what)
{
	if (error)
		snprintf(error->text, sizeof(error->text), "%s", what);
	return rc;
}

/* Up to n bytes of the file; 0 at its end. */
static ssize_t raw_read(struct stream *s, char *to, size_t n)
{
	ssize_t got;
	if (s->fd < 0) {
		size_t left = (size_t)(s->memory_end - s->memory);
		if (n > left)
			n = left;
		if (n)
			memcpy(to, s->memory, n);
		s->memory += n;
		got = (ssize_t)n;
	} else {
		do
			got = read(s->fd, to, n);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			return -errno;
	}
	s->position += (uint64_t)got;
	return got;
}

static int zstd_fill(struct stream *s, ZSTD_outBuffer *output, struct thermo_error *error)
{
	size_t had = output->pos;
	bool at_end = false;
	if (s->input.pos == s->input.size) {
		ssize_t got = raw_read(s, s->raw, RAW_BUFFER);
		if (got < 0)
			return failed(error, (int)got, "cannot be read");
		s->input = (ZSTD_inBuffer){s->raw, (size_t)got, 0};
		at_end = !got;
		s->finished = at_end && !s->frame_open;
		if (s->finished)
			return 0;
	}
	size_t rc = ZSTD_decompressStream(s->zstd, output, &s->input);
	if (ZSTD_isError(rc)) {
		if (error)
			snprintf(error->text, sizeof(error->text),
				 "the compressed data are damaged at about byte %llu (%s)",
				 (unsigned long long)(s->position - (s->input.size - s->input.pos)),
				 ZSTD_getErrorName(rc));
		return -EPROTO;
	}
	s->frame_open = rc != 0;
	/* At the end of the file zstd may still hold output; if not, the frame lacks its end. */
	if (at_end && s->frame_open && output->pos == had)
		return failed(error, -EPROTO,
			      "the compressed data end too early; was the file copied "
			      "whole? (zstd -t checks it)");
	return 0;
}

int trace_stream_fill(struct stream *s, struct thermo_error *error)
{
	size_t left = (size_t)(s->end - s->at);
	if (left)
		memmove(s->buffer, s->at, left);
	s->at = s->buffer;
	s->end = s->buffer + left;
	while (!s->finished && left < STREAM_BUFFER && s->end == s->buffer + left) {
		if (!s->zstd) {
			ssize_t got = raw_read(s, s->buffer + left, STREAM_BUFFER - left);
			if (got < 0)
				return failed(error, (int)got, "cannot be read");
			s->finished = got == 0;
			s->end += got;
			continue;
		}
		ZSTD_outBuffer output = {s->buffer, STREAM_BUFFER, left};
		int rc = zstd_fill(s, &output, error);
		if (rc)
			return rc;
		s->end = s->buffer + output.pos;
	}
	return 0;
}

/* Looks at the first bytes, which become the beginning of the raw or of the plain buffer. */
static int stream_begin(struct stream *s, struct thermo_error *error)
{
	unsigned char magic[8] = {0};
	ssize_t got;
	size_t have = 0;

	s->buffer = malloc(STREAM_BUFFER);
	if (!s->buffer)
		return failed(error, -ENOMEM, "not enough memory to read it");
	do {
		got = raw_read(s, s->buffer + have, STREAM_BUFFER - have);
		if (got < 0)
			return failed(error, (int)got, "cannot be read");
		have += (size_t)got;
	} while (got && have < RAW_BUFFER);
	s->at = s->buffer;
	s->end = s->buffer + have;
	memcpy(magic, s->buffer, have < sizeof(magic) ? have : sizeof(magic));

	if (magic[0] == 0x1f && magic[1] == 0x8b)
		return failed(error, -EPROTO,
			      "is compressed with gzip; use zstd, or unpack it first");
	if (!memcmp(magic,
		    "\xfd"
		    "7zXZ",
		    6))
		return failed(error, -EPROTO,
			      "is compressed with xz; use zstd, or unpack it first");
	bool frame = !memcmp(magic, "\x28\xb5\x2f\xfd", 4);
	bool skippable = (magic[0] & 0xf0) == 0x50 && !memcmp(magic + 1, "\x2a\x4d\x18", 3);
	if (!frame && !skippable)
		return 0;

	s->zstd = ZSTD_createDStream();
	s->raw = malloc(STREAM_BUFFER);
	if (!s->zstd || !s->raw)
		return failed(error, -ENOMEM, "not enough memory to decompress it");
	ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, STREAM_WINDOW_LOG);
	memcpy(s->raw, s->buffer, have);
	s->input = (ZSTD_inBuffer){s->raw, have, 0};
	s->frame_open = true;
	s->end = s->at;
	return 0;
}

int trace_stream_open_memory(struct stream *s, const void *bytes, size_t n, struct thermo_error *error)
{
	*s = (struct stream){.fd = -1, .memory = bytes, .size = n};
	s->memory_end = n ? s->memory + n : s->memory;
	int rc = stream_begin(s, error);
	if (rc)
		trace_stream_close(s);
	return rc;
}

int trace_stream_open(struct stream *s, const char *path, struct thermo_error *error)
{
	struct stat stat;
	*s = (struct stream){.fd = open(path, O_RDONLY | O_CLOEXEC)};
	if (s->fd < 0 || fstat(s->fd, &stat)) {
		int rc = -errno;
		trace_stream_close(s);
		return failed(error, rc, strerror(-rc));
	}
	int rc = 0;
	if (S_ISDIR(stat.st_mode)) {
		rc = failed(error, -EISDIR, "is a directory; name a trace file");
	} else {
		s->size = S_ISREG(stat.st_mode) ? (uint64_t)stat.st_size : 0;
		rc = stream_begin(s, error);
	}
	if (rc)
		trace_stream_close(s);
	return rc;
}

void trace_stream_close(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	ZSTD_freeDStream(s->zstd);
	free(s->raw);
	free(s->buffer);
	*s = (struct stream){.fd = -1};
}
