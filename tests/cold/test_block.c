/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the cold tier: checksum, blocks, packer, fences, filters, sort, manifest. */
#include "tests/cold/bed.h"
#include "tiers/cold/block.h"
#include "tiers/cold/crc.h"
#include "tiers/cold/fence.h"
#include "tiers/cold/filter.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/memory.h"
#include "tiers/cold/pack.h"
#include "tiers/cold/sort.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static struct budget budget;
static struct memory memory;

static int setup(void)
{
	budget_init(&budget, 1u << 30);
	memory.budget = &budget;
	return heap_open("libc", NULL, 256u << 20, NULL, &memory.heap, NULL);
}

static int teardown(void)
{
	bool clean = !heap_used(memory.heap) && !atomic_load(&budget.used);
	heap_close(&memory.heap);
	return clean ? 0 : -1;
}

static void crc_known_answers(void)
{
	uint8_t bytes[4000];
	uint64_t random = 3;
	/* RFC 3720, B.4 */
	memset(bytes, 0, 32);
	CU_ASSERT_EQUAL(crc_update(0, bytes, 32), 0x8a9136aau);
	CU_ASSERT_EQUAL(crc_update_plain(0, bytes, 32), 0x8a9136aau);
	memset(bytes, 0xff, 32);
	CU_ASSERT_EQUAL(crc_update(0, bytes, 32), 0x62a8ab43u);
	CU_ASSERT_EQUAL(crc_update(0, "123456789", 9), 0xe3069283u);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)bed_random(&random);
	for (size_t len = 0; len < 300; len++)
		CU_ASSERT_EQUAL(crc_update(7, bytes + len % 8, len),
				crc_update_plain(7, bytes + len % 8, len));
	CU_ASSERT_EQUAL(crc_update(crc_update(0, bytes, 1001), bytes + 1001, 2999),
			crc_update(0, bytes, 4000));
}

/* ---- Records for tests: sorted identities of many shapes ---- */

#define ITEMS 600

struct items {
	struct block_item item[ITEMS];
	struct ident ident[ITEMS];
	uint32_t n;
	uint8_t *bytes;
};

static int by_ident(const void *a, const void *b)
{
	return ident_compare(a, b);
}

static uint32_t make_key(uint64_t *random, uint8_t *key)
{
	uint32_t len = 0;
	key[len++] = (uint8_t)(bed_random(random) % 3);
	switch (bed_random(random) % 4) {
	case 0:
		len += (uint32_t)sprintf((char *)key + 1, "user:%d", (int)(bed_random(random) % 900));
		break;
	case 1:
		memset(key + 1, (int)(bed_random(random) % 2) * 0xff, 1024);
		len += 1 + (uint32_t)(bed_random(random) % 1024);
		break;
	case 2:
		len += (uint32_t)sprintf((char *)key + 1, "u");
		while (len < 12 && bed_random(random) % 4)
			key[len++] = (uint8_t)(bed_random(random) % 2);
		break;
	default:
		for (uint32_t n = 1 + (uint32_t)(bed_random(random) % 20); n; n--)
			key[len++] = (uint8_t)bed_random(random);
	}
	return len;
}

static void make_items(struct items *items, uint64_t *random, uint32_t value_max)
{
	items->n = 0;
	items->bytes = malloc(ITEMS * (size_t)(IDENT_MAX + value_max));
	CU_ASSERT_PTR_NOT_NULL_FATAL(items->bytes);
	uint8_t *at = items->bytes;
	for (int i = 0; i < ITEMS; i++) {
		items->ident[i] = (struct ident){ at, make_key(random, at),
						  bed_random(random) % 5 ? 0 : COLD_CHUNK };
		at += items->ident[i].len;
	}
	qsort(items->ident, ITEMS, sizeof(items->ident[0]), by_ident);
	for (int i = 0; i < ITEMS; i++) {
		if (items->n && !ident_compare(&items->ident[items->n - 1], &items->ident[i]))
			continue;
		struct ident ident = items->ident[items->n] = items->ident[i];
		struct block_item *item = &items->item[items->n++];
		*item = (struct block_item){ ident.bytes, at, ident.len, 0, ident.chunk,
					     bed_random(random) >> bed_random(random) % 64, 0 };
		if (bed_random(random) % 4)
			item->value_len = (uint32_t)(bed_random(random) % (value_max + 1));
		if (bed_random(random) % 3 == 0)
			item->expires_ms = bed_random(random) >> bed_random(random) % 64;
		for (uint32_t j = 0; j < item->value_len; j++)
			*at++ = (uint8_t)(j % 16 < 8 ? bed_random(random) : 'v');
	}
}

static void expect_item(const struct block_cursor *cursor, const struct block_item *item)
{
	CU_ASSERT_EQUAL_FATAL(cursor->ident.len, item->ident_len);
	CU_ASSERT_EQUAL_FATAL(memcmp(cursor->ident.bytes, item->ident, item->ident_len), 0);
	CU_ASSERT_EQUAL_FATAL(cursor->flags, item->flags);
	CU_ASSERT_EQUAL_FATAL(cursor->value_len, item->value_len);
	CU_ASSERT_EQUAL_FATAL(memcmp(cursor->value, item->value, item->value_len), 0);
	CU_ASSERT_EQUAL_FATAL(cursor->seq, item->seq);
	CU_ASSERT_EQUAL_FATAL(cursor->expires_ms, item->expires_ms);
}

/* Packs all items with room as in pages; every block is decoded and compared. */
static uint64_t pack_all(struct items *items, struct packer *packer)
{
	static uint8_t scratch[BLOCK_RAW_MAX], decoder_memory[256 << 10];
	static struct block_cursor cursor;
	struct block_decoder decoder;
	struct packed packed;
	uint64_t at = 64;
	uint32_t added = 0, seen = 0;
	CU_ASSERT_FATAL(block_decoder_bytes() <= sizeof(decoder_memory));
	CU_ASSERT_EQUAL_FATAL(block_decoder_init(&decoder, decoder_memory, sizeof(decoder_memory)), 0);
	packer_start(packer);
	while (seen < items->n) {
		while (added < items->n && !packer_ready(packer) &&
		       !packer_is_long(&items->item[added]))
			packer_add(packer, &items->item[added++]);
		uint32_t room = FORMAT_PAGE - at % FORMAT_PAGE;
		if (room < 512)
			at += room, room = FORMAT_PAGE;
		bool alone = !packer->n;
		if (alone)
			CU_ASSERT_EQUAL_FATAL(packer_long(packer, &items->item[added++], &packed), 0);
		if (!alone)
			packer_cut(packer, room, &packed);
		block_seal(packed.bytes, packed.codec, packed.stored, packed.raw, packed.records, 9, at);
		size_t len = packed.stored + sizeof(struct block_header);
		struct block_header header;
		const uint8_t *payload;
		CU_ASSERT_EQUAL_FATAL(block_check(packed.bytes, len, 9, at, &header), 0);
		CU_ASSERT_EQUAL(block_check(packed.bytes, len, 8, at, &header), -EILSEQ);
		CU_ASSERT_EQUAL(block_check(packed.bytes, len, 9, at + 1, &header), -EILSEQ);
		CU_ASSERT_EQUAL(block_check(packed.bytes, len - 1, 9, at, &header), -EILSEQ);
		CU_ASSERT_EQUAL_FATAL(block_unpack(&decoder, &header, packed.bytes, scratch,
						   sizeof(scratch), &payload), 0);
		CU_ASSERT_EQUAL_FATAL(block_first(&cursor, payload, header.raw, header.records), 0);
		for (uint32_t i = 0; i < packed.records; i++) {
			CU_ASSERT_EQUAL_FATAL(block_next(&cursor), THERMO_OK);
			expect_item(&cursor, &items->item[seen + i]);
		}
		CU_ASSERT_EQUAL_FATAL(block_next(&cursor), THERMO_MISS);
		CU_ASSERT(len <= room || packed.records == 1);
		/* Found by identity, or found missing. */
		uint32_t pick = seen + packed.records / 2;
		block_first(&cursor, payload, header.raw, header.records);
		CU_ASSERT_EQUAL(block_find(&cursor, &items->ident[pick]), THERMO_OK);
		expect_item(&cursor, &items->item[pick]);
		if (seen + packed.records < items->n) {
			block_first(&cursor, payload, header.raw, header.records);
			CU_ASSERT_EQUAL(block_find(&cursor, &items->ident[seen + packed.records]),
					THERMO_MISS);
		}
		at += len;
		seen += packed.records;
		if (!alone)
			packer_consume(packer, packed.records);
	}
	return at;
}

static void pack_random_items_decoded_same(void)
{
	static struct items items;
	uint64_t random = suite_seed();
	struct packer *packer;
	CU_ASSERT_EQUAL_FATAL(packer_open(&memory, &packer), 0);
	static const uint32_t sizes[] = { 0, 30, 300, 1000, 2100, 5000, 100000, COLD_VALUE_MAX };
	for (unsigned s = 0; s < 8; s++) {
		make_items(&items, &random, sizes[s]);
		pack_all(&items, packer);
		free(items.bytes);
	}
	packer_close(&packer);
}

/* Any bytes at all: an answer, and (under the sanitizers) no access out of bounds. */
static void decode_mutated_blocks_no_harm(void)
{
	static struct items items;
	static uint8_t payload[64 << 10], scratch[BLOCK_RAW_MAX], block[64 << 10];
	static uint8_t decoder_memory[256 << 10], coder_memory[4 << 20];
	static struct block_cursor cursor;
	struct block_decoder decoder;
	struct block_coder coder;
	uint64_t random = suite_seed(), ends = 0;
	CU_ASSERT_FATAL(block_coder_bytes() <= sizeof(coder_memory));
	block_decoder_init(&decoder, decoder_memory, sizeof(decoder_memory));
	CU_ASSERT_EQUAL_FATAL(block_coder_init(&coder, coder_memory, sizeof(coder_memory)), 0);
	make_items(&items, &random, 60);
	for (int round = 0; round < 30000; round++) {
		uint32_t first = (uint32_t)(bed_random(&random) % (items.n - 40));
		size_t raw = block_encode(&items.item[first], 20, payload);
		enum block_codec codec = (enum block_codec)(bed_random(&random) % 3);
		size_t stored = block_pack(&coder, codec, payload, raw, block + 16, sizeof(block) - 16);
		block_seal(block, codec, (uint32_t)stored, (uint32_t)raw, 20, 1, 1);
		for (uint64_t n = 1 + bed_random(&random) % 4; n; n--) {
			size_t at = bed_random(&random) % (stored + 16);
			if (bed_random(&random) % 4 == 0)
				at = bed_random(&random) % 24;
			block[at] = (uint8_t)bed_random(&random);
		}
		/* A copy of exactly that length, so that a sanitizer sees one byte too far. */
		uint8_t *exact = malloc(stored + 16);
		struct block_header header;
		const uint8_t *got;
		memcpy(exact, block, stored + 16);
		if (!block_header_check(exact, stored + 16, &header) &&
		    !block_unpack(&decoder, &header, exact, scratch, sizeof(scratch), &got) &&
		    !block_first(&cursor, got, header.raw, header.records)) {
			int status;
			volatile uint32_t n = 0; /* reads every value */
			while (!(status = block_next(&cursor)))
				n = n + (cursor.value_len ? cursor.value[cursor.value_len - 1] : 1u);
			CU_ASSERT(status == THERMO_MISS || status == -EILSEQ);
			ends++;
		}
		free(exact);
	}
	CU_ASSERT(ends > 1000);
	free(items.bytes);
}

/* ---- Fences ---- */

#define BLOCKS 500

struct fence_bed {
	struct point first[BLOCKS], last[BLOCKS]; /* of each block's records */
	uint64_t start[BLOCKS + 1];
	struct segment_space spaces[256];
	uint32_t tables[2 * BLOCKS];
	struct fences fences;
};

/* Blocks of three spaces; hashes over a range of 2^bits, so that narrow ones have equal separators. */
static void make_fences(struct fence_bed *bed, uint64_t *random, unsigned bits)
{
	struct fence_builder builder;
	uint64_t at = 64, hash = bed_random(random) >> 1;
	uint32_t spaces = 0;
	fence_start(&builder, &memory);
	memset(bed->spaces, 0, sizeof(bed->spaces));
	for (uint32_t b = 0; b < BLOCKS; b++) {
		uint32_t space = b < 100 ? 3 : b < 101 ? 7 : 200;
		if (b == 100 || b == 101)
			hash = bed_random(random) >> 1;
		hash += bed_random(random) >> (64 - bits) >> 10;
		bed->first[b] = (struct point){ hash, space };
		hash += bed_random(random) >> (64 - bits) >> 10;
		bed->last[b] = (struct point){ hash, space };
		bed->start[b] = at;
		CU_ASSERT_EQUAL_FATAL(fence_add(&builder, bed->first[b].hash, at), 0);
		at += 1 + bed_random(random) % 9000;
		if (!spaces || bed->spaces[spaces - 1].space != space)
			bed->spaces[spaces++] = (struct segment_space){ .records = 1,
									.first_hash = bed->first[b].hash,
									.first_block = b,
									.space = (uint8_t)space };
		bed->spaces[spaces - 1].last_hash = bed->last[b].hash;
	}
	bed->start[BLOCKS] = at;
	fence_finish(&builder, bed->spaces, spaces, bed->tables);
	fence_clear(&builder);
	bed->fences = (struct fences){ bed->tables, bed->tables + BLOCKS, bed->spaces, BLOCKS,
				       spaces, at };
}

/* Does the search come by the block, and how many blocks does it read? */
static uint32_t fence_reads(const struct fences *fences, struct point point, uint32_t wanted)
{
	uint32_t block, reads = 1;
	CU_ASSERT_EQUAL_FATAL(fence_find(fences, point, &block), THERMO_OK);
	while (block != wanted && fence_again(fences, point, block)) {
		block--;
		reads++;
	}
	CU_ASSERT_EQUAL_FATAL(block, wanted);
	return reads;
}

static void fence_random_blocks_right_one_found(void)
{
	static struct fence_bed bed;
	uint64_t random = suite_seed(), reads = 0, searches = 0;
	for (unsigned round = 0; round < 100; round++) {
		unsigned bits = round % 2 ? 60 : 14 + round % 30;
		make_fences(&bed, &random, bits);
		CU_ASSERT_EQUAL_FATAL(fence_check(&bed.fences), 0);
		for (uint32_t b = 0; b < BLOCKS; b++) {
			struct fence_place place = fence_place(&bed.fences, b);
			CU_ASSERT_EQUAL(place.start, bed.start[b]);
			CU_ASSERT_EQUAL(place.end, bed.start[b + 1]);
			uint32_t n = fence_reads(&bed.fences, bed.first[b], b) +
				     fence_reads(&bed.fences, bed.last[b], b);
			if (bits == 60) {
				reads += n;
				searches += 2;
			}
			uint32_t from = fence_seek(&bed.fences, bed.first[b]);
			CU_ASSERT_FATAL(from <= b);
			CU_ASSERT(from + 1 >= b || bits < 60);
		}
		uint32_t block;
		struct point outside[] = { { 5, 0 }, { 5, 201 }, { 0, 3 }, { UINT64_MAX, 3 }, { 9, 8 } };
		for (unsigned i = 0; i < 5; i++)
			CU_ASSERT_EQUAL(fence_find(&bed.fences, outside[i], &block), THERMO_MISS);
		CU_ASSERT_EQUAL(fence_seek(&bed.fences, outside[0]), 0);
		CU_ASSERT_EQUAL(fence_seek(&bed.fences, outside[1]), BLOCKS);
		CU_ASSERT_EQUAL(fence_seek(&bed.fences, outside[2]), 0);
		CU_ASSERT_EQUAL(fence_seek(&bed.fences, outside[3]), 100);
		CU_ASSERT_EQUAL(fence_seek(&bed.fences, outside[4]), 101);
	}
	CU_ASSERT_EQUAL(reads, searches); /* spread evenly: never a second block */
}

static void fence_mutated_refused_or_harmless(void)
{
	static struct fence_bed bed;
	uint64_t random = suite_seed(), proved = 0;
	for (int round = 0; round < 3000; round++) {
		make_fences(&bed, &random, 60);
		if (round % 2)
			((uint8_t *)bed.tables)[bed_random(&random) % sizeof(bed.tables)] ^=
				(uint8_t)(1u << bed_random(&random) % 8);
		else
			((uint8_t *)bed.spaces)[bed_random(&random) % (3 * sizeof(bed.spaces[0]))] ^=
				(uint8_t)(1u << bed_random(&random) % 8);
		if (fence_check(&bed.fences))
			continue;
		proved++;
		for (uint32_t b = 0; b < BLOCKS; b += 9) {
			uint32_t block;
			if (!fence_find(&bed.fences, bed.first[b], &block))
				CU_ASSERT(fence_place(&bed.fences, block).end <= bed.fences.data_end);
			CU_ASSERT(fence_seek(&bed.fences, bed.last[b]) <= BLOCKS);
		}
	}
	CU_ASSERT(proved < 3000);
}

/* ---- Filters ---- */

struct made_filter {
	uint8_t *section;
	struct filter filter;
	size_t bytes;
};

static void make_filter(struct made_filter *made, uint64_t *hashes, uint32_t n, uint8_t bytes)
{
	size_t array = filter_array_bytes(n, bytes);
	void *scratch = malloc(filter_scratch_bytes());
	made->bytes = sizeof(struct filter_slice) + array;
	made->section = malloc(made->bytes);
	struct filter_slice *slice = (struct filter_slice *)made->section;
	*slice = (struct filter_slice){ .at = sizeof(*slice) };
	filter_build(hashes, n, bytes, scratch, slice, made->section + sizeof(*slice));
	made->filter = (struct filter){ made->section, 1 };
	free(scratch);
}

static double measure_filter(uint32_t n, uint8_t bytes)
{
	struct made_filter made;
	uint64_t *hashes = malloc(n * sizeof(uint64_t)), random = n, wrong = 0;
	const uint64_t tries = 4000000;
	for (uint32_t i = 0; i < n; i++)
		hashes[i] = key_hash(1, &i, 4, 0);
	make_filter(&made, hashes, n, bytes);
	CU_ASSERT_EQUAL(filter_check(made.section, made.bytes, 1), 0);
	const struct filter_slice *slice = filter_find(&made.filter, POINT_FIRST);
	CU_ASSERT_EQUAL(slice->bytes, bytes);
	for (uint32_t i = 0; i < n; i++)
		if (!filter_test(&made.filter, slice, key_hash(1, &i, 4, 0)))
			CU_FAIL("a key is not found");
	for (uint64_t i = 0; i < tries; i++)
		wrong += filter_test(&made.filter, slice, bed_random(&random));
	printf("  %u keys, %u bytes: %.2f bits a key, %.6f false\n", n, bytes,
	       (double)made.bytes * 8 / n, (double)wrong / (double)tries);
	free(made.section);
	free(hashes);
	return (double)wrong / (double)tries;
}

static void filter_all_sizes_false_positives_as_planned(void)
{
	for (uint32_t n = 1; n < 300; n += 7)
		CU_ASSERT(measure_filter(n, 2) < 1e-4);
	CU_ASSERT(measure_filter(FILTER_SLICE_KEYS, 2) < 3e-5);
	CU_ASSERT(measure_filter(FILTER_SLICE_KEYS - 1, 1) < 4.5e-3);
	CU_ASSERT(measure_filter(6000, 2) < 3e-5);
}

static void filter_equal_hashes_still_found(void)
{
	struct made_filter made;
	uint64_t hashes[2000];
	for (int i = 0; i < 2000; i++)
		hashes[i] = (uint64_t)(i / 7) * 1000;
	make_filter(&made, hashes, 2000, 2);
	for (uint64_t i = 0; i < 2000 / 7; i++)
		CU_ASSERT(filter_test(&made.filter, filter_slices(&made.filter), i * 1000));
	free(made.section);
}

static void filter_mutated_refused_or_harmless(void)
{
	struct made_filter made;
	uint64_t hashes[500], random = suite_seed(), refused = 0;
	for (int i = 0; i < 500; i++)
		hashes[i] = bed_random(&random);
	make_filter(&made, hashes, 500, 2);
	uint8_t *copy = malloc(made.bytes);
	for (int round = 0; round < 20000; round++) {
		memcpy(copy, made.section, made.bytes);
		for (uint64_t n = 1 + bed_random(&random) % 2; n; n--)
			copy[bed_random(&random) % 32] = (uint8_t)bed_random(&random);
		struct filter filter = { copy, 1 };
		if (filter_check(copy, made.bytes, 1)) {
			refused++;
			continue;
		}
		const struct filter_slice *slice = filter_find(&filter, (struct point){ UINT64_MAX, 255 });
		for (int i = 0; slice && i < 100; i++)
			filter_test(&filter, slice, bed_random(&random));
	}
	CU_ASSERT(refused > 1000);
	free(copy);
	free(made.section);
}

/* ---- Sort ---- */

static void sort_random_entries_ordered(void)
{
	static struct items items;
	uint64_t random = suite_seed();
	for (int round = 0; round < 20; round++) {
		make_items(&items, &random, 0);
		char *arena = malloc(2 * ITEMS * (sizeof(struct held) + IDENT_MAX + 8));
		struct sort_entry entries[2 * ITEMS];
		size_t at = 0, n = 0;
		for (uint32_t i = 0; i < items.n * (1 + (round & 1u)); i++) {
			const struct block_item *item = &items.item[i % items.n];
			/* In some rounds hashes collide, in some all of them. */
			uint64_t hash = round % 5 == 4 ? 1 : ident_hash(&items.ident[i % items.n]);
			entries[n].hash = round % 5 == 3 ? hash & 7 : hash;
			entries[n].at = at | (uint64_t)item->ident[0] << 56;
			struct held *held = sort_held(arena, &entries[n++]);
			*held = (struct held){ .seq = i + 1, .ident_len = (uint16_t)item->ident_len,
					       .flags = item->flags };
			memcpy(held + 1, item->ident, item->ident_len);
			at += (sizeof(*held) + item->ident_len + 7) & ~(size_t)7;
		}
		sort_entries(arena, entries, n);
		for (size_t i = 1; i < n; i++) {
			struct point p = sort_point(&entries[i - 1]), q = sort_point(&entries[i]);
			const struct held *a = sort_held(arena, &entries[i - 1]);
			const struct held *b = sort_held(arena, &entries[i]);
			struct ident x = sort_ident(a), y = sort_ident(b);
			int order = ident_compare(&x, &y);
			CU_ASSERT_FATAL(!point_before(q, p));
			CU_ASSERT_FATAL(point_before(p, q) || order < 0 || (!order && a->seq > b->seq));
		}
		free(arena);
		free(items.bytes);
	}
}

/* ---- Manifest ---- */

static void manifest_mutated_error_or_same(void)
{
	struct manifest_run runs[2] = { { 77, 5, 2, 3, 1 }, { 0, 0, 1, 0, 0 } };
	struct manifest_segment segments[3] = { { 4, 8192, 1 }, { 2, 8192, 2 }, { 3, 12288, 3 } };
	struct manifest_key keys[2] = { { 9, 3, 1, 0, 0, "abc" },
				       { 8, 8, 2, COLD_CHUNK, 0, "12345678" } };
	struct manifest manifest = { .generation = 5, .next_number = 7, .max_seq = 99,
				     .runs = runs, .n_runs = 2, .segments = segments,
				     .n_segments = 3, .keys = keys, .n_keys = 2,
				     .meta = (uint8_t *)"metadata!", .meta_bytes = 9 }, got;
	const char *why;
	uint8_t bytes[1024];
	uint64_t random = suite_seed();
	manifest.below[7] = 70;
	size_t len = manifest_bytes(&manifest);
	CU_ASSERT_FATAL(len <= sizeof(bytes));
	manifest_encode(&manifest, bytes);
	CU_ASSERT_EQUAL_FATAL(manifest_decode(&memory, bytes, len, &got, &why), 0);
	CU_ASSERT_EQUAL(got.max_seq, 99);
	CU_ASSERT_EQUAL(got.below[7], 70);
	CU_ASSERT_EQUAL(memcmp(got.runs, runs, sizeof(runs)), 0);
	CU_ASSERT_EQUAL(got.n_segments, 3);
	CU_ASSERT_EQUAL(memcmp(got.segments, segments, sizeof(segments)), 0);
	CU_ASSERT_EQUAL(got.keys[1].key_len, 8);
	CU_ASSERT_EQUAL(memcmp(got.meta, "metadata!", 9), 0);
	manifest_clear(&memory, &got);
	for (int round = 0; round < 20000; round++) {
		uint8_t bad[1024];
		memcpy(bad, bytes, len);
		size_t cut = round % 3 ? len : bed_random(&random) % (len + 1);
		bad[bed_random(&random) % len] ^= (uint8_t)(1u << bed_random(&random) % 8);
		if (round % 2 && cut >= 8) { /* past the checksum, to the parts */
			uint64_t hash = XXH3_64bits(bad, cut - 8);
			uint32_t as_said = (uint32_t)cut;
			memcpy(bad + 12, &as_said, 4);
			hash = XXH3_64bits(bad, cut - 8);
			memcpy(bad + cut - 8, &hash, 8);
		}
		int status = manifest_decode(&memory, bad, cut, &got, &why);
		CU_ASSERT(round % 2 || status == -EILSEQ);
		CU_ASSERT(!status || status == -EILSEQ || status == -EPROTO);
		manifest_clear(&memory, &got);
	}
}

static const struct suite_case cases[] = {
	SUITE_CASE(crc_known_answers),
	SUITE_CASE(pack_random_items_decoded_same),
	SUITE_CASE(decode_mutated_blocks_no_harm),
	SUITE_CASE(fence_random_blocks_right_one_found),
	SUITE_CASE(fence_mutated_refused_or_harmless),
	SUITE_CASE(filter_all_sizes_false_positives_as_planned),
	SUITE_CASE(filter_equal_hashes_still_found),
	SUITE_CASE(filter_mutated_refused_or_harmless),
	SUITE_CASE(sort_random_entries_ordered),
	SUITE_CASE(manifest_mutated_error_or_same),
};

int main(void)
{
	return suite_run("block", setup, teardown, cases, SUITE_COUNT(cases));
}
