/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a cold tier's directory without being the cache: takes no lock, writes nothing, and goes on
 * past what is damaged. It follows docs/format.md, with the cold tier's pure decoders.
 */
#ifndef TOOLS_INSPECT_READ_H
#define TOOLS_INSPECT_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/budget.h"
#include "tiers/cold/format.h"
#include "tiers/cold/ident.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/memory.h"

struct inspect_key {
	uint16_t len; /* of bytes: the space, then the key; 0 = not known */
	uint8_t chunk;
	uint8_t bytes[IDENT_MAX];
};

/* A block that cannot be read, and where the keys that it may have held lie in the order of hashes. */
struct inspect_damage {
	uint64_t at;         /* byte in the file */
	uint64_t from, to;   /* hashes, both inclusive, about */
	uint8_t space;
};
#define INSPECT_DAMAGES 64

struct inspect_segment {
	uint64_t number;
	uint64_t file_bytes; /* as found */
	bool footer_read;    /* the fields below hold */
	struct segment_footer footer;
	struct segment_space spaces[256];
	uint32_t n_spaces;
	struct inspect_key first, last; /* in the order of hashes */
	bool partial; /* merged away below its run's start: what was there may be a hole by now */
	/* by reading every block, when asked to */
	bool walked;
	uint64_t blocks[3]; /* by enum block_codec */
	uint64_t stored_bytes, raw_bytes;
	struct inspect_damage damage[INSPECT_DAMAGES];
	uint32_t n_damage; /* may be more than fit */
	char problem[160]; /* "" or what is wrong with the file */
};

struct inspect_stray {
	char name[64];
	uint64_t bytes;
};

struct inspect {
	/* own */
	int dir;
	struct memory memory;
	struct heap *heap;
	struct budget budget;
	/* what was found */
	struct manifest manifest;
	uint64_t manifest_bytes;
	char image_problem[80]; /* "" or what is wrong with it, when asked to walk */
	uint64_t image_bytes; /* of the hot and warm records that a clean close kept; 0 = there is
				 none */
	struct inspect_segment *segments; /* manifest.n_segments of them: of the newest run first */
	struct inspect_stray strays[64];
	uint32_t n_strays; /* may be more than fit */
	unsigned problems; /* segments with one, and the image */
};

/* Reads the manifest and the head of every segment; walk: every block of each too. A negative
 * errno with *error when there is nothing to show: no such directory, no manifest, or one that
 * cannot be believed. What is wrong with a segment is in its problem. */
int inspect_read(const char *path, bool walk, struct inspect *inspect, struct thermo_error *error);
void inspect_free(struct inspect *inspect);

#endif
