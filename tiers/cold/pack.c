/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting a sorted stream into blocks: see pack.h. */
#include "tiers/cold/pack.h"

#include "alloc/check.h"
#include "tiers/cold/memory.h"

#include <errno.h>

#define ARENA_BYTES (PACK_PENDING + PACK_LONG)
/* Of PACK_RAW_SOFT bytes of records or a single one, with the heads of as many as there may be. */
#define PAYLOAD_BYTES (PACK_LONG + BLOCK_RECORDS_MAX * 32u + 64u)
#define HEADER ((uint32_t)sizeof(struct block_header))
#define RECORD_HEAD 8u /* bytes of a record's head in a payload, about */
#define TRIALS 5

static size_t round_line(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t space_bytes(void)
{
	return round_line(sizeof(struct block_item) * BLOCK_RECORDS_MAX) + round_line(ARENA_BYTES) +
	       round_line(PAYLOAD_BYTES) + 2 * FORMAT_PAGE +
	       round_line(PAYLOAD_BYTES + HEADER) +
	       round_line(block_coder_bytes());
}

int packer_open(struct memory *memory, struct packer **out)
{
	struct packer *packer = memory_alloc(memory, sizeof(*packer));
	if (!packer)
		return -ENOMEM;
	packer->memory = memory;
	packer->space = memory_alloc(memory, space_bytes());
	if (!packer->space) {
		memory_free(memory, packer, sizeof(*packer));
		return -ENOMEM;
	}
	uint8_t *at = packer->space;
	/* The coder first: it needs the alignment. */
	check(!block_coder_init(&packer->coder, at, block_coder_bytes()));
	at += round_line(block_coder_bytes());
	packer->items = (struct block_item *)at;
	at += round_line(sizeof(struct block_item) * BLOCK_RECORDS_MAX);
	packer->arena = at;
	at += round_line(ARENA_BYTES);
	packer->payload = at;
	at += round_line(PAYLOAD_BYTES);
	packer->out[0] = at;
	packer->out[1] = at + FORMAT_PAGE;
	packer->single = at + 2 * FORMAT_PAGE;
	packer_start(packer);
	*out = packer;
	return 0;
}

void packer_close(struct packer **packer)
{
	if (!*packer)
		return;
	struct memory *memory = (*packer)->memory;
	memory_free(memory, (*packer)->long_payload, BLOCK_RAW_MAX);
	memory_free(memory, (*packer)->long_out, BLOCK_MAX);
	memory_free(memory, (*packer)->space, space_bytes());
	memory_free(memory, *packer, sizeof(**packer));
	*packer = NULL;
}

void packer_start(struct packer *packer)
{
	packer->n = 0;
	packer->arena_used = 0;
	packer->codec = BLOCK_RAW;
	packer->ratio = 1;
	packer->until_sample = 0;
}

void packer_add(struct packer *packer, const struct block_item *item)
{
	check(!packer_ready(packer) && !packer_is_long(item));
	check(packer->arena_used + item->ident_len + item->value_len <= ARENA_BYTES);
	uint8_t *at = packer->arena + packer->arena_used;
	struct block_item *copy = &packer->items[packer->n++];
	*copy = *item;
	memcpy(at, item->ident, item->ident_len);
	if (item->value_len)
		memcpy(at + item->ident_len, item->value, item->value_len);
	copy->ident = at;
	copy->value = at + item->ident_len;
	packer->arena_used += item->ident_len + item->value_len;
}

void packer_consume(struct packer *packer, uint32_t records)
{
	check(records && records <= packer->n);
	const struct block_item *last = &packer->items[records - 1];
	size_t gone = (size_t)(last->value + last->value_len - packer->arena);
	packer->n -= records;
	packer->arena_used -= gone;
	memmove(packer->arena, packer->arena + gone, packer->arena_used);
	memmove(packer->items, packer->items + records, packer->n * sizeof(packer->items[0]));
	for (uint32_t i = 0; i < packer->n; i++) {
		packer->items[i].ident -= gone;
		packer->items[i].value -= gone;
	}
}

/* Pending records, from the first one, whose bytes together stay within the limit; at least one. */
static uint32_t count_within(const struct packer *packer, size_t limit)
{
	size_t sum = 0;
	for (uint32_t i = 0; i < packer->n; i++) {
		const struct block_item *item = &packer->items[i];
		sum += (size_t)item->ident_len + item->value_len + RECORD_HEAD;
		if (sum > limit)
			return i ? i : 1;
	}
	return packer->n;
}

/* Compresses what is pending with each codec and keeps the one that pays. */
static void sample(struct packer *packer, uint32_t records)
{
	size_t raw = block_encode(packer->items, records, packer->payload);
	size_t lz4 = block_pack(&packer->coder, BLOCK_LZ4, packer->payload, raw, packer->single,
				PAYLOAD_BYTES);
	size_t zstd = block_pack(&packer->coder, BLOCK_ZSTD, packer->payload, raw, packer->single,
				 PAYLOAD_BYTES);
	if (!lz4 || lz4 > raw)
		lz4 = raw;
	if (!zstd || zstd > raw)
		zstd = raw;
	/* zstd decodes several times slower than lz4, and that inside somebody's get: it must save a
	 * fifth more. Neither is worth it for less than a tenth. */
	packer->codec = zstd < lz4 - lz4 / 5 ? BLOCK_ZSTD : BLOCK_LZ4;
	size_t stored = packer->codec == BLOCK_ZSTD ? zstd : lz4;
	if (stored > raw - raw / 10)
		packer->codec = BLOCK_RAW;
	packer->ratio = packer->codec == BLOCK_RAW ? 1 : (double)stored / (double)raw;
	packer->until_sample = PACK_SAMPLE;
}

/* As many records as fit uncompressed; 0 if not even one does. */
static uint32_t cut_raw(struct packer *packer, uint32_t capacity, struct packed *packed)
{
	uint32_t records = count_within(packer, capacity);
	size_t raw = block_encode(packer->items, records, packer->payload);
	while (raw > capacity) {
		if (!--records)
			return 0;
		raw = block_encode(packer->items, records, packer->payload);
	}
	/* Shared beginnings make records shorter than thought: more while they fit. */
	while (records < packer->n &&
	       raw + packer->items[records].value_len + RECORD_HEAD <= capacity) {
		size_t more = block_encode(packer->items, records + 1, packer->payload);
		if (more > capacity) {
			raw = block_encode(packer->items, records, packer->payload);
			break;
		}
		records++;
		raw = more;
	}
	memcpy(packer->out[0] + HEADER, packer->payload, raw);
	*packed = (struct packed){ packer->out[0], (uint32_t)raw, (uint32_t)raw, records, BLOCK_RAW };
	return records;
}

/* The next number of records to try, between those that fit and those that do not. */
static uint32_t next_trial(const struct packed *best, uint32_t capacity, uint32_t low, uint32_t high)
{
	uint32_t guess;
	if (low)
		guess = low + (capacity - best->stored) * low / best->stored;
	else
		guess = high - high / 6;
	if (guess >= high)
		guess = high - 1;
	return guess > low ? guess : low + 1;
}

/* As many records as compress into capacity; 0 if not even one does. */
static uint32_t cut_compressed(struct packer *packer, uint32_t capacity, struct packed *best)
{
	uint32_t limit = count_within(packer, PACK_RAW_SOFT);
	uint32_t low = 0, high = limit + 1, turn = 0;
	uint32_t records = count_within(packer, (size_t)(capacity / packer->ratio));
	if (records > limit)
		records = limit;
	for (int trial = 0; trial < TRIALS || (!low && high > 1); trial++) {
		size_t raw = block_encode(packer->items, records, packer->payload);
		size_t stored = block_pack(&packer->coder, packer->codec, packer->payload, raw,
					   packer->out[turn] + HEADER, capacity);
		if (!stored) {
			high = records;
		} else {
			low = records;
			*best = (struct packed){ packer->out[turn], (uint32_t)stored, (uint32_t)raw,
						 records, packer->codec };
			turn ^= 1;
			packer->ratio += ((double)stored / (double)raw - packer->ratio) / 8;
			if (capacity - stored < capacity / 16)
				break;
		}
		if (low + 1 >= high)
			break;
		records = next_trial(best, capacity, low, high);
	}
	return low;
}

/* One record: payload and out have room for it. */
static void cut_single(struct packer *packer, const struct block_item *item, uint8_t *payload,
		       uint8_t *out, struct packed *packed)
{
	size_t raw = block_encode(item, 1, payload);
	enum block_codec codec = packer->codec == BLOCK_RAW ? BLOCK_LZ4 : packer->codec;
	size_t stored = block_pack(&packer->coder, codec, payload, raw, out + HEADER, raw - raw / 10);
	if (!stored) {
		codec = BLOCK_RAW;
		stored = raw;
		memcpy(out + HEADER, payload, raw);
	}
	*packed = (struct packed){ out, (uint32_t)stored, (uint32_t)raw, 1, codec };
}

int packer_long(struct packer *packer, const struct block_item *item, struct packed *packed)
{
	check(!packer->n);
	if (!packer->long_payload)
		packer->long_payload = memory_alloc(packer->memory, BLOCK_RAW_MAX);
	if (!packer->long_out)
		packer->long_out = memory_alloc(packer->memory, BLOCK_MAX);
	if (!packer->long_payload || !packer->long_out)
		return -ENOMEM;
	cut_single(packer, item, packer->long_payload, packer->long_out, packed);
	return 0;
}

void packer_cut(struct packer *packer, uint32_t room, struct packed *packed)
{
	check(packer->n && room > HEADER && room <= FORMAT_PAGE);
	uint32_t capacity = room - HEADER, got;
	if (!packer->until_sample)
		sample(packer, count_within(packer, PACK_RAW_SOFT));
	packer->until_sample--;
	got = packer->codec == BLOCK_RAW ? cut_raw(packer, capacity, packed) :
					   cut_compressed(packer, capacity, packed);
	if (!got)
		cut_single(packer, packer->items, packer->payload, packer->single, packed);
}
