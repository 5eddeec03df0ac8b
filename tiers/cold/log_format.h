/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a log file, NUMBER.log (16 hex digits), and the pure functions that read it. docs/format.md
 * has the prose. Little-endian, fixed width.
 *
 *   header   the first page
 *   frames   one for each write of the log, each at a multiple of LOG_SECTOR, so that what was synced is never
 *            written again: header, records, zeroes up to the next sector
 *
 * Positions count the bytes of all frames that were ever written, whatever file they lie in: a frame's
 * position is that of the frame before it plus its bytes. A file's header does not say where it begins, its
 * first frame does: files are made before they are needed.
 *
 * History: version 1, the first.
 */
#ifndef TIERS_COLD_LOG_FORMAT_H
#define TIERS_COLD_LOG_FORMAT_H

#include "tiers/cold/format.h"

#include <stdbool.h>

#define LOG_HEADER_MAGIC UINT64_C(0x474f4c5f4f4d5254) /* "TRMO_LOG" */
#define LOG_FRAME_MAGIC UINT32_C(0x4d415246)          /* "FRAM" */
#define LOG_SECTOR 512u
#define LOG_PAYLOAD_MAX (1u << 20) /* bytes of a frame's records */
#define LOG_FRAME_MAX (LOG_PAYLOAD_MAX + LOG_SECTOR)

struct log_header {
	uint64_t magic;
	uint32_t version;
	uint32_t bytes; /* of this struct */
	struct format_features features;
	uint64_t number;
	uint64_t salt; /* random: frames of another life of the number are told by it */
	uint64_t created_ms;
	uint32_t _zero;
	uint32_t crc; /* crc32c of the bytes before it */
};
_Static_assert(sizeof(struct log_header) == 72, "media");

struct log_frame {
	uint32_t magic;
	uint32_t crc; /* crc32c of what follows in the header, and of the records */
	uint64_t number, salt; /* the file's */
	uint64_t position;     /* of this frame */
	uint64_t synced;       /* everything below it was on stable storage when this was written */
	uint32_t bytes;        /* of records */
	uint32_t records;
};
_Static_assert(sizeof(struct log_frame) == 48, "media");

/* Then the key, the value, and zeroes up to 8 bytes. */
struct log_entry {
	uint32_t bytes; /* all in, a multiple of 8 */
	uint16_t key_len;
	uint8_t space;
	uint8_t flags; /* enum cold_flag */
	uint64_t seq;
	uint64_t expires_ms; /* 0: never */
	uint32_t value_len;
	uint32_t _zero;
};
_Static_assert(sizeof(struct log_entry) == 32, "media");

static inline uint32_t log_entry_bytes(uint32_t key_len, uint32_t value_len)
{
	return ((uint32_t)sizeof(struct log_entry) + key_len + value_len + 7) & ~7u;
}

/* All that a frame takes. */
static inline uint64_t log_frame_bytes(uint64_t payload)
{
	return (sizeof(struct log_frame) + payload + LOG_SECTOR - 1) & ~(uint64_t)(LOG_SECTOR - 1);
}

struct cold_record;

/* ---- log_parse.c: for any bytes at all ---- */

/* 0, -EILSEQ (no header), or -EPROTO (another version, or features that are not known). */
int log_header_parse(const void *bytes, size_t len, struct log_header *header);
/* A whole and sound frame of the file at the beginning of the bytes: 0, or -EILSEQ. any_salt: whatever its salt. */
int log_frame_parse(const void *bytes, size_t len, uint64_t number, uint64_t salt, bool any_salt,
		    struct log_frame *frame);
/* The record at *at of a frame's records, which moves on; key and value point into it. 0, or -EILSEQ. */
int log_entry_parse(const void *payload, size_t len, size_t *at, struct cold_record *record);

#endif
