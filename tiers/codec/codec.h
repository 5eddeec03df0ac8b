/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codecs of behaviour events: a block holds one user's events as columns. Column 0 is the time,
 * column 1 the item, both as the schema says; then any others. Two codecs behind one interface:
 *
 *   hot    for DRAM and the warm tier: frames of 128 events, bit-packed, each frame by itself, so
 * that a range or some columns are decoded at little more than the cost of writing them cold   for
 * segments on NVMe: against a model that was made once for the whole segment (model.h), so that a
 * block of a dozen events costs nearly what they would cost in a large one
 *
 * Pure functions: no state, no locks, no knowledge of tiers; memory is the caller's. They may be
 * called from any thread. Bytes are the same whatever the instruction set. Decoders take any bytes:
 * what is not a block answers -EILSEQ, and nothing is read or written outside of what the caller
 * passed; whether the bytes are the right ones is for the caller's checksum to say. docs/format.md
 * has the layout.
 */
#ifndef TIERS_CODEC_CODEC_H
#define TIERS_CODEC_CODEC_H

#include <stddef.h>
#include <stdint.h>

struct model;

#define CODEC_COLUMNS_MAX 64u
#define CODEC_EVENTS_MAX 65535u             /* in a block */
#define CODEC_BYTES_MAX (UINT32_C(1) << 30) /* of one bytes column in a block */

enum codec_type { CODEC_INT64 = 0, CODEC_FLOAT = 1, CODEC_DOUBLE = 2, CODEC_BYTES = 3 };

struct codec_schema {
	uint32_t columns;                /* at least 2 */
	uint8_t type[CODEC_COLUMNS_MAX]; /* enum codec_type; [0], the time, is CODEC_INT64 */
};

/* A column to encode. A value that is not present is not looked at. */
struct codec_column {
	const void *values; /* int64_t, float or double for each event; bytes: all of them */
	const uint32_t *
		offsets; /* bytes: events + 1, ascending: value i is [offsets[i], offsets[i + 1]) */
	const uint8_t *present; /* for each event 0 or 1; NULL: all are. The time always is. */
};

/* Where to decode a column to. Numbers come in any number type, as a C conversion gives it (what
 * does not fit into int64_t comes as 0); what is not present comes as 0 or empty. */
struct codec_output {
	void *values;      /* NULL: the column is not wanted */
	uint32_t *offsets; /* bytes: one more than the events wanted; from 0 */
	uint8_t *present;  /* may be NULL */
	uint32_t capacity; /* bytes: of values */
	uint8_t type;      /* enum codec_type; CODEC_BYTES for a bytes column and for no other */
};

/* Blocks one after the other, of one model: block i is [offsets[i], offsets[i + 1]) of bytes. */
struct codec_blocks {
	const uint8_t *bytes;
	size_t size;
	const uint32_t *offsets;
	uint32_t n;
};

/* model NULL: hot. */
struct codec {
	const struct codec_schema *schema;
	const struct model *model;
};

/* 0 or -EINVAL: a schema that no codec takes. */
int codec_check(const struct codec_schema *schema);

/* An upper bound of a block's bytes; 0: no block can hold these (too many events or bytes). */
size_t codec_bound(const struct codec *codec, const struct codec_column *columns, uint32_t n);
/* Bytes of scratch memory that encoding takes. */
size_t codec_encode_scratch(const struct codec *codec, const struct codec_column *columns,
			    uint32_t n);
/* Encodes n events (1 to CODEC_EVENTS_MAX), in any order of time. out has codec_bound bytes,
 * scratch is aligned to 64. 0, -EINVAL for what no block can hold. */
int codec_encode(const struct codec *codec, const struct codec_column *columns, uint32_t n,
		 void *scratch, uint8_t *out, size_t *len);

/* The events of all blocks together, and scratch memory to decode them. 0, -EILSEQ. */
int codec_measure(const struct codec *codec, const struct codec_blocks *blocks, uint64_t *events,
		  size_t *scratch);
/* Decodes events [from, from + count) of all blocks, counted through. outputs: one for each column
 * of the schema. -EILSEQ: not blocks of this codec; -ENOBUFS: a bytes column's capacity is too
 * small, or the scratch (aligned to 64); -EINVAL: the range or a type cannot be had. After an error
 * the outputs hold anything. */
int codec_decode(const struct codec *codec, const struct codec_blocks *blocks, uint64_t from,
		 uint64_t count, const struct codec_output *outputs, void *scratch,
		 size_t scratch_bytes);

/* What this processor runs: "base", "avx2" or "avx512". Tests ask for one by name: 0, or -ENOTSUP
 * where the processor has not got it; NULL goes back to the best. Not while another thread decodes.
 */
const char *codec_isa(void);
int codec_isa_set(const char *name);

#endif
