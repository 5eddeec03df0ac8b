/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding and decoding of blocks: see block.h for the contracts, format.h for the bytes. */
#include "tiers/cold/block.h"

#include "alloc/check.h"
#include "tiers/cold/crc.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <errno.h>
#include <lz4.h>
#include <zstd.h>

/* ---- Varints ---- */

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
	while (value >= 0x80) {
		*at++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*at++ = (uint8_t)value;
	return at;
}

/* NULL if it does not end before `end` or does not fit 64 bits. */
static inline const uint8_t *get_varint(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
	if (likely(at < end && *at < 0x80)) {
		*value = *at;
		return at + 1;
	}
	uint64_t result = 0;
	for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
		uint8_t byte = *at++;
		if (shift == 63 && byte > 1)
			return NULL;
		result |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*value = result;
			return at;
		}
	}
	return NULL;
}

/* ---- Decoding ---- */

size_t block_decoder_bytes(void)
{
	return ZSTD_estimateDCtxSize();
}

int block_decoder_init(struct block_decoder *decoder, void *memory, size_t bytes)
{
	decoder->zstd = ZSTD_initStaticDCtx(memory, bytes);
	return decoder->zstd ? 0 : -EINVAL;
}

int block_header_check(const void *bytes, size_t len, struct block_header *header)
{
	if (len < sizeof(*header))
		return -EILSEQ;
	memcpy(header, bytes, sizeof(*header));
	if (header->stored > len - sizeof(*header) || !header->stored ||
	    header->stored > BLOCK_RAW_MAX || header->raw > BLOCK_RAW_MAX || !header->records ||
	    header->records > BLOCK_RECORDS_MAX || header->codec > BLOCK_ZSTD || header->flags)
		return -EILSEQ;
	if (header->codec == BLOCK_RAW && header->raw != header->stored)
		return -EILSEQ;
	return 0;
}

int block_check(const void *bytes, size_t len, uint64_t number, uint64_t offset,
		struct block_header *header)
{
	int status = block_header_check(bytes, len, header);
	if (status)
		return status;
	const uint8_t *covered = (const uint8_t *)bytes + sizeof(header->crc);
	size_t covered_len = sizeof(*header) - sizeof(header->crc) + header->stored;
	return crc_placed(number, offset, covered, covered_len) == header->crc ? 0 : -EILSEQ;
}

int block_unpack(struct block_decoder *decoder, const struct block_header *header,
		 const void *bytes, void *scratch, size_t scratch_bytes, const uint8_t **payload)
{
	const uint8_t *stored = (const uint8_t *)bytes + sizeof(*header);
	if (header->codec == BLOCK_RAW) {
		*payload = stored;
		return 0;
	}
	check(scratch_bytes >= header->raw);
	size_t got;
	if (header->codec == BLOCK_LZ4) {
		int n = LZ4_decompress_safe((const char *)stored, scratch, (int)header->stored,
					    (int)header->raw);
		got = n < 0 ? SIZE_MAX : (size_t)n;
	} else {
		got = ZSTD_decompressDCtx(decoder->zstd, scratch, header->raw, stored,
					  header->stored);
		if (ZSTD_isError(got))
			got = SIZE_MAX;
	}
	if (got != header->raw)
		return -EILSEQ;
	*payload = scratch;
	return 0;
}

int block_first(struct block_cursor *cursor, const uint8_t *payload, size_t len, uint32_t records)
{
	cursor->end = payload + len;
	cursor->left = records;
	cursor->ident = (struct ident){ cursor->key, 0, 0 };
	cursor->at = get_varint(payload, cursor->end, &cursor->base_seq);
	if (cursor->at)
		cursor->at = get_varint(cursor->at, cursor->end, &cursor->base_expires);
	return cursor->at ? 0 : -EILSEQ;
}

/* The fields before the identity's bytes; NULL if they are not a record's. */
static const uint8_t *next_head(struct block_cursor *cursor, uint64_t *shared, uint64_t *rest)
{
	const uint8_t *at = cursor->at, *end = cursor->end;
	uint64_t value_len, delta;
	if (at >= end)
		return NULL;
	uint8_t flags = *at++;
	if (flags & ~(unsigned)(BLOCK_EXPIRES | COLD_TOMBSTONE | COLD_CHUNK | COLD_HEAD))
		return NULL;
	if (!(at = get_varint(at, end, shared)) || !(at = get_varint(at, end, rest)) ||
	    !(at = get_varint(at, end, &value_len)) || !(at = get_varint(at, end, &delta)))
		return NULL;
	cursor->seq = cursor->base_seq + delta;
	cursor->expires_ms = 0;
	if (flags & BLOCK_EXPIRES) {
		if (!(at = get_varint(at, end, &delta)))
			return NULL;
		cursor->expires_ms = cursor->base_expires + delta;
	}
	if (value_len > COLD_VALUE_MAX || cursor->seq < cursor->base_seq)
		return NULL;
	cursor->value_len = (uint32_t)value_len;
	cursor->flags = flags & (COLD_TOMBSTONE | COLD_CHUNK | COLD_HEAD);
	return at;
}

int block_next(struct block_cursor *cursor)
{
	uint64_t shared, rest;
	if (!cursor->left)
		return cursor->at == cursor->end ? THERMO_MISS : -EILSEQ;
	const uint8_t *at = next_head(cursor, &shared, &rest);
	struct ident *ident = &cursor->ident;
	if (!at || shared > ident->len || rest > IDENT_MAX - shared || shared + rest < 2 ||
	    rest + cursor->value_len > (uint64_t)(cursor->end - at))
		return -EILSEQ;
	memcpy(cursor->key + shared, at, rest);
	ident->len = (uint32_t)(shared + rest);
	ident->chunk = cursor->flags & COLD_CHUNK;
	cursor->value = at + rest;
	cursor->at = cursor->value + cursor->value_len;
	cursor->left--;
	return THERMO_OK;
}

int block_find(struct block_cursor *cursor, const struct ident *ident)
{
	for (;;) {
		int status = block_next(cursor);
		if (status)
			return status;
		if (ident_equal(&cursor->ident, ident))
			return THERMO_OK;
	}
}

/* ---- Encoding ---- */

size_t block_encode(const struct block_item *items, uint32_t n, uint8_t *out)
{
	check(n && n <= BLOCK_RECORDS_MAX);
	uint64_t base_seq = UINT64_MAX, base_expires = UINT64_MAX;
	for (uint32_t i = 0; i < n; i++) {
		if (items[i].seq < base_seq)
			base_seq = items[i].seq;
		if (items[i].expires_ms && items[i].expires_ms < base_expires)
			base_expires = items[i].expires_ms;
	}
	if (base_expires == UINT64_MAX)
		base_expires = 0;
	uint8_t *at = put_varint(put_varint(out, base_seq), base_expires);
	const uint8_t *before = NULL;
	uint32_t before_len = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct block_item *item = &items[i];
		uint32_t shared = ident_shared(before, before_len, item->ident, item->ident_len);
		*at++ = item->flags | (item->expires_ms ? BLOCK_EXPIRES : 0);
		at = put_varint(at, shared);
		at = put_varint(at, item->ident_len - shared);
		at = put_varint(at, item->value_len);
		at = put_varint(at, item->seq - base_seq);
		if (item->expires_ms)
			at = put_varint(at, item->expires_ms - base_expires);
		memcpy(at, item->ident + shared, item->ident_len - shared);
		at += item->ident_len - shared;
		if (item->value_len)
			memcpy(at, item->value, item->value_len);
		at += item->value_len;
		before = item->ident;
		before_len = item->ident_len;
	}
	return (size_t)(at - out);
}

/* Level 1 with small tables: blocks are a few KiB, and the few long ones lose little. */
static const ZSTD_compressionParameters zstd_parameters = {
	.windowLog = 15,
	.chainLog = 14,
	.hashLog = 14,
	.searchLog = 1,
	.minMatch = 5,
	.targetLength = 0,
	.strategy = ZSTD_fast,
};

static size_t zstd_bytes(void)
{
	return (ZSTD_estimateCCtxSize_usingCParams(zstd_parameters) + 63) & ~(size_t)63;
}

static bool zstd_set(ZSTD_CCtx *zstd)
{
	const ZSTD_compressionParameters *p = &zstd_parameters;
	return !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, (int)p->windowLog)) &&
	       !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_chainLog, (int)p->chainLog)) &&
	       !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_hashLog, (int)p->hashLog)) &&
	       !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_searchLog, (int)p->searchLog)) &&
	       !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_minMatch, (int)p->minMatch)) &&
	       !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_strategy, (int)p->strategy));
}

size_t block_coder_bytes(void)
{
	return zstd_bytes() + (size_t)LZ4_sizeofState();
}

int block_coder_init(struct block_coder *coder, void *memory, size_t bytes)
{
	if (bytes < block_coder_bytes())
		return -EINVAL;
	coder->zstd = ZSTD_initStaticCCtx(memory, zstd_bytes());
	coder->lz4 = (char *)memory + zstd_bytes();
	return coder->zstd && zstd_set(coder->zstd) ? 0 : -EINVAL;
}

size_t block_pack(struct block_coder *coder, enum block_codec codec, const uint8_t *payload,
		  size_t len, uint8_t *out, size_t capacity)
{
	switch (codec) {
	case BLOCK_LZ4: {
		int n = LZ4_compress_fast_extState(coder->lz4, (const char *)payload, (char *)out,
						   (int)len, (int)capacity, 1);
		return n > 0 ? (size_t)n : 0;
	}
	case BLOCK_ZSTD: {
		size_t n = ZSTD_compress2(coder->zstd, out, capacity, payload, len);
		return ZSTD_isError(n) ? 0 : n;
	}
	case BLOCK_RAW:
		if (len > capacity)
			return 0;
		memcpy(out, payload, len);
		return len;
	}
	return 0;
}

void block_seal(uint8_t *out, enum block_codec codec, uint32_t stored, uint32_t raw,
		uint32_t records, uint64_t number, uint64_t offset)
{
	struct block_header header = { .stored = stored, .raw = raw, .records = (uint16_t)records,
				       .codec = (uint8_t)codec };
	memcpy(out, &header, sizeof(header));
	header.crc = crc_placed(number, offset, out + sizeof(header.crc),
				sizeof(header) - sizeof(header.crc) + stored);
	memcpy(out, &header.crc, sizeof(header.crc));
}
