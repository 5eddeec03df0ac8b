/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packer cuts a sorted stream of records into blocks that fill 4 KiB pages: it takes as many
 * records as compress into the room that is left, so that a look-up reads one page. The codec (raw, lz4,
 * zstd) is the one that paid when it was last measured, which is every PACK_SAMPLE blocks.
 *
 * Life-cycle: open, then for each file: packer_start, { packer_add while not ready, packer_cut while
 * ready }, packer_cut until empty; a record of more than PACK_LONG bytes goes by packer_long, when nothing
 * is pending. Belongs to one thread at a time.
 */
#ifndef TIERS_COLD_PACK_H
#define TIERS_COLD_PACK_H

#include "tiers/cold/block.h"

struct memory;

#define PACK_RAW_SOFT (8u << 10)   /* bytes of records in a block of several: bounds the decoding time */
#define PACK_PENDING (16u << 10)   /* bytes of records that are looked at before a block is cut */
#define PACK_LONG (16u << 10)      /* bytes of key and value of a record that goes alone */
#define PACK_SAMPLE 64u            /* blocks between measurements */

struct packer {
	struct memory *memory;    /* const after open */
	uint8_t *space;           /* const after open: one piece of memory for all below */
	uint8_t *arena;           /* pending identities and values, one after the other */
	uint8_t *payload;         /* of a block from the arena */
	uint8_t *out[2];          /* FORMAT_PAGE each: trials take turns */
	uint8_t *single;          /* a block of one record that fits no page; and for measuring */
	uint8_t *long_payload;    /* BLOCK_RAW_MAX, and long_out BLOCK_MAX: when first needed */
	uint8_t *long_out;
	struct block_coder coder;
	struct block_item *items; /* BLOCK_RECORDS_MAX pending records */
	uint32_t n;
	size_t arena_used;
	enum block_codec codec;
	double ratio;             /* stored / raw lately */
	uint32_t until_sample;    /* blocks */
};

/* A block that was cut: `bytes` with room for the header in front, not sealed. */
struct packed {
	uint8_t *bytes;
	uint32_t stored, raw, records;
	enum block_codec codec;
};

int packer_open(struct memory *memory, struct packer **packer); /* -ENOMEM */
void packer_close(struct packer **packer);
void packer_start(struct packer *packer);

/* Enough is pending for a block: cut before adding. */
static inline bool packer_ready(const struct packer *packer)
{
	return packer->arena_used >= PACK_PENDING || packer->n == BLOCK_RECORDS_MAX;
}
/* Takes a copy of the record. */
void packer_add(struct packer *packer, const struct block_item *item);
static inline bool packer_is_long(const struct block_item *item)
{
	return item->ident_len + item->value_len > PACK_LONG;
}
/* A block of the record alone, however long. -ENOMEM. */
int packer_long(struct packer *packer, const struct block_item *item, struct packed *packed);
/* Makes a block of the first pending records, which stay until packer_consume. room: bytes left in the
 * page, header included; a block that cannot be made to fit has one record and is longer. n > 0. */
void packer_cut(struct packer *packer, uint32_t room, struct packed *packed);
void packer_consume(struct packer *packer, uint32_t records);

#endif
