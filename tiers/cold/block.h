/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of records, the unit of a read: see format.h. Everything here is pure: no tier, no file. The
 * decoding half takes any bytes at all: it never reads or writes out of bounds, never allocates, and
 * answers -EILSEQ for what is not a block. Not thread-safe: one struct per thread.
 */
#ifndef TIERS_COLD_BLOCK_H
#define TIERS_COLD_BLOCK_H

#include "tiers/cold/format.h"
#include "tiers/cold/ident.h"

/* ---- Decoding ---- */

/* The decoder's working memory, which the caller supplies: block_decoder_bytes() at 8 bytes' alignment. */
struct block_decoder {
	void *zstd; /* in that memory */
};
size_t block_decoder_bytes(void);
int block_decoder_init(struct block_decoder *decoder, void *memory, size_t bytes);

/* Is there a whole block at bytes, by its header? Does not look at the checksum. On 0 *header is a copy,
 * its fields in range, and header->stored bytes follow it within len. */
int block_header_check(const void *bytes, size_t len, struct block_header *header);
/* The header and the checksum, which knows the segment's number and the offset. */
int block_check(const void *bytes, size_t len, uint64_t number, uint64_t offset,
		struct block_header *header);
/* Unpacks the block at bytes, whose header was checked. *payload: header->raw bytes, in bytes itself
 * or in scratch, which has at least header->raw. */
int block_unpack(struct block_decoder *decoder, const struct block_header *header,
		 const void *bytes, void *scratch, size_t scratch_bytes, const uint8_t **payload);

/* Walks a payload. ident.bytes is key[]; value points into the payload. */
struct block_cursor {
	const uint8_t *at, *end;
	uint32_t left;
	uint64_t base_seq, base_expires;
	struct ident ident;
	const uint8_t *value;
	uint32_t value_len;
	uint8_t flags; /* enum cold_flag */
	uint64_t seq, expires_ms;
	uint8_t key[IDENT_MAX];
};
int block_first(struct block_cursor *cursor, const uint8_t *payload, size_t len,
		uint32_t records);
/* THERMO_OK: the cursor is on the next record (their order is for the caller to check). THERMO_MISS: no
 * more. -EILSEQ. */
int block_next(struct block_cursor *cursor);
/* Moves to the record of that identity: THERMO_OK, THERMO_MISS, -EILSEQ. After block_first. */
int block_find(struct block_cursor *cursor, const struct ident *ident);

/* ---- Encoding ---- */

struct block_item {
	const uint8_t *ident; /* space, key */
	const uint8_t *value;
	uint32_t ident_len;
	uint32_t value_len;
	uint8_t flags;
	uint64_t seq, expires_ms;
};

/* Most bytes that the record takes in a payload; the payload's own head takes BLOCK_HEAD_MAX. */
static inline size_t block_item_max(const struct block_item *item)
{
	return 1 + 3 + 3 + 4 + 10 + 10 + (size_t)item->ident_len + item->value_len;
}
#define BLOCK_HEAD_MAX 20u

/* Writes the payload of n items (1 .. BLOCK_RECORDS_MAX), which are in order. out has room for their
 * block_item_max and BLOCK_HEAD_MAX. Returns its length. */
size_t block_encode(const struct block_item *items, uint32_t n, uint8_t *out);

/* The compressors' working memory, as the decoder's. */
struct block_coder {
	void *zstd;
	void *lz4;
};
size_t block_coder_bytes(void);
int block_coder_init(struct block_coder *coder, void *memory, size_t bytes);
/* Packs payload into at most capacity bytes of out. Its length, or 0 where that is not enough. */
size_t block_pack(struct block_coder *coder, enum block_codec codec, const uint8_t *payload,
		  size_t len, uint8_t *out, size_t capacity);
/* Fills in the header of a packed block that will lie at offset: out begins with room for it. */
void block_seal(uint8_t *out, enum block_codec codec, uint32_t stored, uint32_t raw,
		uint32_t records, uint64_t number, uint64_t offset);

#endif
