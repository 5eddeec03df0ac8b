/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a segment file: records -> packer -> blocks in pages -> pieces -> file; fences and the slices
 * of the filter grow beside it. The file has a temporary name until it is whole and synced.
 */
#include "tiers/cold/cold_segment.h"

#include "alloc/check.h"
#include "tiers/cold/tier.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

#define WASTE_MAX 512u /* bytes at a page's end that are left empty rather than begun a block in */

enum build_state { BUILD_IDLE, BUILD_TEMPORARY, BUILD_NAMED };

/* Memory that grows: `used` bytes of `room`. */
struct growing {
	uint8_t *bytes;
	size_t used, room;
};

struct cold_build {
	struct cold *cold;       /* const after open */
	struct packer *packer;   /* const after open */
	uint8_t *piece;          /* const after open: FORMAT_PIECE bytes */
	uint64_t *hashes;        /* const after open: FILTER_SLICE_KEYS of the present slice */
	void *scratch;           /* const after open: filter_scratch_bytes() */
	size_t fill;             /* bytes in piece */
	uint64_t at;             /* file offset of the next byte */
	uint64_t taken;          /* bytes of the tier's cap */
	struct file file;
	enum build_state state;
	bool merging, wide;
	bool in_data;            /* pieces that are written count into data_hash */
	uint32_t n_hashes;
	struct growing slices;   /* struct filter_slice[] */
	struct growing arrays;
	struct point slice_first;
	struct point last;       /* record added */
	struct segment_footer footer;
	uint32_t n_spaces;
	struct segment_space spaces[256];
	struct fence_builder fences;
};

int cold_build_open(struct cold *cold, struct cold_build **out)
{
	struct memory *memory = &cold->memory;
	struct cold_build *build = memory_alloc(memory, sizeof(*build));
	if (!build)
		return -ENOMEM;
	build->cold = cold;
	build->file.fd = -1;
	build->piece = memory_alloc(memory, FORMAT_PIECE);
	build->hashes = memory_alloc(memory, FILTER_SLICE_KEYS * sizeof(uint64_t));
	build->scratch = memory_alloc(memory, filter_scratch_bytes());
	if (!build->piece || !build->hashes || !build->scratch ||
	    packer_open(memory, &build->packer)) {
		cold_build_close(&build);
		return -ENOMEM;
	}
	*out = build;
	return 0;
}

void cold_build_close(struct cold_build **build)
{
	if (!*build)
		return;
	struct memory *memory = &(*build)->cold->memory;
	cold_build_abort(*build);
	packer_close(&(*build)->packer);
	memory_free(memory, (*build)->scratch, filter_scratch_bytes());
	memory_free(memory, (*build)->hashes, FILTER_SLICE_KEYS * sizeof(uint64_t));
	memory_free(memory, (*build)->piece, FORMAT_PIECE);
	memory_free(memory, *build, sizeof(**build));
	*build = NULL;
}

/* Room for more bytes at the end, zeroed or not; NULL: no memory. */
static void *grow(struct cold_build *build, struct growing *growing, size_t more)
{
	if (growing->used + more > growing->room) {
		size_t room = growing->room ? growing->room * 2 : 4096;
		while (room < growing->used + more)
			room *= 2;
		uint8_t *bytes = memory_grow(&build->cold->memory, growing->bytes, growing->room,
					     growing->used, room);
		if (!bytes)
			return NULL;
		growing->bytes = bytes;
		growing->room = room;
	}
	growing->used += more;
	return growing->bytes + growing->used - more;
}

static void grown_free(struct cold_build *build, struct growing *growing)
{
	memory_free(&build->cold->memory, growing->bytes, growing->room);
	*growing = (struct growing){ 0 };
}

static void temporary_name(uint64_t number, char name[SEGMENT_NAME_BYTES])
{
	cold_segment_name(number, name);
	strcat(name, ".tmp");
}

/* What belongs to one file only. */
static void clear(struct cold_build *build)
{
	grown_free(build, &build->slices);
	grown_free(build, &build->arrays);
	fence_clear(&build->fences);
	build->state = BUILD_IDLE;
}

void cold_build_abort(struct cold_build *build)
{
	char name[SEGMENT_NAME_BYTES];
	struct cold *cold = build->cold;
	if (build->state == BUILD_IDLE)
		return;
	file_close(&build->file);
	if (build->state == BUILD_TEMPORARY)
		temporary_name(build->footer.number, name);
	else
		cold_segment_name(build->footer.number, name);
	file_unlink(&cold->dir, name);
	cold_give(cold, build->taken);
	clear(build);
}

/* ---- Output ---- */

static int write_piece(struct cold_build *build)
{
	struct cold *cold = build->cold;
	size_t bytes = build->fill;
	check(bytes % FORMAT_PAGE == 0);
	if (build->in_data)
		build->footer.data_hash =
			XXH3_64bits_withSeed(build->piece, bytes, build->footer.data_hash);
	int status = cold_take(cold, bytes, build->merging);
	if (status)
		return status;
	build->taken += bytes;
	status = file_write(&build->file, build->piece, bytes, build->at - bytes);
	if (status)
		return status;
	build->fill = 0;
	count(&cold->counters.writes, 1);
	count(&cold->counters.write_bytes, bytes);
	if (build->merging)
		count(&cold->counters.compaction_write_bytes, bytes);
	return 0;
}

/* bytes NULL: zeroes. */
static int append(struct cold_build *build, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	while (len) {
		size_t n = FORMAT_PIECE - build->fill < len ? FORMAT_PIECE - build->fill : len;
		if (from) {
			memcpy(build->piece + build->fill, from, n);
			from += n;
		} else {
			memset(build->piece + build->fill, 0, n);
		}
		build->fill += n;
		build->at += n;
		len -= n;
		if (build->fill == FORMAT_PIECE) {
			int status = write_piece(build);
			if (status)
				return status;
		}
	}
	return 0;
}

static uint32_t page_room(const struct cold_build *build)
{
	return FORMAT_PAGE - (uint32_t)(build->at % FORMAT_PAGE);
}

static int pad_page(struct cold_build *build)
{
	uint32_t room = page_room(build);
	return room < FORMAT_PAGE ? append(build, NULL, room) : 0;
}

/* ---- Records ---- */

int cold_build_start(struct cold_build *build, bool merging, bool wide)
{
	struct cold *cold = build->cold;
	char name[SEGMENT_NAME_BYTES];
	check(build->state == BUILD_IDLE);
	if (atomic_load(&cold->failed))
		return -EROFS;
	build->footer = (struct segment_footer){ .magic = SEGMENT_FOOTER_MAGIC,
						 .version = FORMAT_VERSION,
						 .size = sizeof(struct segment_footer),
						 .number = atomic_fetch_add(&cold->next_number, 1),
						 .min_seq = UINT64_MAX,
						 .min_expires = UINT64_MAX };
	build->footer.created_ms = cold->clock_ms(cold->clock_context);
	build->fill = 0;
	build->at = build->taken = 0;
	build->merging = merging;
	build->wide = wide;
	build->in_data = true;
	build->n_hashes = build->n_spaces = 0;
	packer_start(build->packer);
	fence_start(&build->fences, &cold->memory);
	temporary_name(build->footer.number, name);
	build->state = BUILD_TEMPORARY;
	int status = file_open(&cold->dir, name, FILE_WRITE | FILE_CREATE | FILE_DIRECT,
			       &build->file);
	if (status)
		return status;
	struct segment_header header = { .magic = SEGMENT_HEADER_MAGIC,
					 .version = FORMAT_VERSION,
					 .size = sizeof(header),
					 .number = build->footer.number,
					 .created_ms = build->footer.created_ms };
	header.hash = XXH3_64bits(&header, offsetof(struct segment_header, hash));
	return append(build, &header, sizeof(header));
}

bool cold_build_started(const struct cold_build *build)
{
	return build->state != BUILD_IDLE;
}

/* Seals a block and appends it; first: its first record. */
static int append_block(struct cold_build *build, const struct packed *packed,
			const struct block_item *first)
{
	uint64_t start = build->at;
	struct ident ident = { first->ident, first->ident_len, first->flags & COLD_CHUNK };
	int status = fence_add(&build->fences, ident_hash(&ident), start);
	if (status)
		return status;
	block_seal(packed->bytes, packed->codec, packed->stored, packed->raw, packed->records,
		   build->footer.number, start);
	build->footer.blocks++;
	return append(build, packed->bytes, sizeof(struct block_header) + packed->stored);
}

/* A page with too little room is left. */
static int begin_block(struct cold_build *build)
{
	return page_room(build) < WASTE_MAX ? pad_page(build) : 0;
}

/* Cuts one block of what is pending. */
static int cut_block(struct cold_build *build)
{
	struct packed packed;
	int status = begin_block(build);
	if (status)
		return status;
	packer_cut(build->packer, page_room(build), &packed);
	status = append_block(build, &packed, &build->packer->items[0]);
	if (!status)
		packer_consume(build->packer, packed.records);
	return status;
}

static int cut_all(struct cold_build *build)
{
	int status = 0;
	while (build->packer->n && !status)
		status = cut_block(build);
	return status;
}

/* The slice's filter. */
static int end_slice(struct cold_build *build)
{
	uint8_t bytes = build->wide ? 2 : 1;
	size_t array_bytes = filter_array_bytes(build->n_hashes, bytes);
	struct filter_slice *slice = grow(build, &build->slices, sizeof(*slice));
	void *array = slice ? grow(build, &build->arrays, array_bytes) : NULL;
	if (!array)
		return -ENOMEM;
	*slice = (struct filter_slice){ .hash = build->slice_first.hash,
					.space = (uint8_t)build->slice_first.space,
					.at = (uint32_t)(build->arrays.used - array_bytes) };
	filter_build(build->hashes, build->n_hashes, bytes, build->scratch, slice, array);
	if (!slice->bytes)
		build->arrays.used -= array_bytes;
	build->n_hashes = 0;
	return 0;
}

static int add_to_filter(struct cold_build *build, struct point point)
{
	bool same = build->n_hashes && point.space == build->last.space &&
		    point.hash == build->last.hash;
	if (same)
		return 0;
	if (build->n_hashes == FILTER_SLICE_KEYS) {
		int status = end_slice(build);
		if (status)
			return status;
	}
	if (!build->n_hashes)
		build->slice_first = point;
	build->hashes[build->n_hashes++] = point.hash;
	return 0;
}

/* The table of spaces; a new space begins a new block. */
static int add_to_space(struct cold_build *build, const struct block_item *item,
			struct point point)
{
	struct segment_space *space = build->n_spaces ? &build->spaces[build->n_spaces - 1] : NULL;
	if (!space || space->space != point.space) {
		int status = cut_all(build);
		if (status)
			return status;
		space = &build->spaces[build->n_spaces++];
		*space = (struct segment_space){ .min_seq = UINT64_MAX,
						 .first_hash = point.hash,
						 .first_block = build->footer.blocks,
						 .space = (uint8_t)point.space };
	}
	space->records++;
	space->last_hash = point.hash;
	space->tombstones += item->flags & COLD_TOMBSTONE && space->tombstones < UINT32_MAX;
	space->min_seq = item->seq < space->min_seq ? item->seq : space->min_seq;
	space->max_seq = item->seq > space->max_seq ? item->seq : space->max_seq;
	return 0;
}

static void add_to_footer(struct segment_footer *footer, const struct block_item *item)
{
	footer->records++;
	footer->record_bytes += item->ident_len - 1 + item->value_len;
	footer->min_seq = item->seq < footer->min_seq ? item->seq : footer->min_seq;
	footer->max_seq = item->seq > footer->max_seq ? item->seq : footer->max_seq;
	if (item->flags & COLD_TOMBSTONE) {
		footer->tombstones++;
	} else if (!item->expires_ms) {
		footer->max_expires = UINT64_MAX;
	} else {
		uint64_t expires = item->expires_ms;
		footer->expiring++;
		footer->min_expires = expires < footer->min_expires ? expires : footer->min_expires;
		footer->max_expires = expires > footer->max_expires ? expires : footer->max_expires;
	}
}

static int add_long(struct cold_build *build, const struct block_item *item)
{
	struct packed packed;
	int status = cut_all(build);
	if (!status)
		status = begin_block(build);
	if (!status)
		status = packer_long(build->packer, item, &packed);
	return status ? status : append_block(build, &packed, item);
}

int cold_build_add(struct cold_build *build, const struct block_item *item, uint64_t hash)
{
	struct point point = { hash, item->ident[0] };
	check(!build->footer.records || !point_before(point, build->last));
	int status = 0;
	while (packer_ready(build->packer) && !status)
		status = cut_block(build);
	if (!status)
		status = add_to_space(build, item, point);
	if (!status)
		status = add_to_filter(build, point);
	if (status)
		return status;
	status = packer_is_long(item) ? add_long(build, item) : 0;
	if (status)
		return status;
	if (!packer_is_long(item))
		packer_add(build->packer, item);
	add_to_footer(&build->footer, item);
	build->last = point;
	return 0;
}

uint64_t cold_build_records(const struct cold_build *build)
{
	return build->state == BUILD_IDLE ? 0 : build->footer.records;
}

uint64_t cold_build_written(const struct cold_build *build)
{
	return build->state == BUILD_IDLE ? 0 : build->at;
}

bool cold_build_may_end(const struct cold_build *build, struct point next)
{
	return point_before(build->last, next);
}

/* ---- Completion ---- */

static int append_section(struct cold_build *build, const void *bytes, size_t len,
			  struct format_section *section)
{
	int status = pad_page(build);
	section->at = build->at;
	section->bytes = len;
	section->hash = XXH3_64bits(bytes, len);
	return status ? status : append(build, bytes, len);
}

/* The filter section in memory of its own: slices, then arrays. */
static uint8_t *join_filter(struct cold_build *build, size_t *bytes)
{
	*bytes = build->slices.used + build->arrays.used;
	uint8_t *section = memory_alloc(&build->cold->memory, *bytes);
	if (!section)
		return NULL;
	struct filter_slice *slices = (struct filter_slice *)section;
	build->footer.slices = (uint32_t)(build->slices.used / sizeof(*slices));
	memcpy(section, build->slices.bytes, build->slices.used);
	if (build->arrays.used)
		memcpy(section + build->slices.used, build->arrays.bytes, build->arrays.used);
	for (uint32_t i = 0; i < build->footer.slices; i++)
		slices[i].at += (uint32_t)build->slices.used;
	count(&build->cold->filter_used, *bytes);
	return section;
}

/* Filter, fences and spaces as the segment keeps them in DRAM. */
static int make_tables(struct cold_build *build, struct cold_segment *segment)
{
	struct cold *cold = build->cold;
	struct segment_footer *footer = &build->footer;
	size_t spaces_bytes = build->n_spaces * sizeof(struct segment_space);
	int status = end_slice(build);
	if (status)
		return status;
	uint8_t *filter = join_filter(build, &footer->filter.bytes);
	if (!filter)
		return -ENOMEM;
	atomic_store(&segment->filter, filter);
	uint32_t *separator = memory_alloc(&cold->memory, fence_bytes(footer->blocks));
	segment->spaces = memory_alloc(&cold->memory, spaces_bytes);
	segment->fences.separator = separator;
	if (separator)
		count(&cold->filter_used, fence_bytes(footer->blocks));
	footer->fence.bytes = fence_bytes(footer->blocks);
	footer->spaces.bytes = spaces_bytes;
	if (!separator || !segment->spaces)
		return -ENOMEM;
	fence_finish(&build->fences, build->spaces, build->n_spaces, separator);
	memcpy(segment->spaces, build->spaces, spaces_bytes);
	return 0;
}

/* All that follows the blocks. *hash is the footer page's. */
static int append_rest(struct cold_build *build, const struct cold_segment *segment, uint64_t *hash)
{
	struct segment_footer *footer = &build->footer;
	uint8_t page[FORMAT_PAGE] = { 0 };
	footer->data_end = build->at;
	if (build->fill)
		footer->data_hash = XXH3_64bits_withSeed(build->piece, build->fill,
							 footer->data_hash);
	build->in_data = false;
	int status = append_section(build, atomic_load(&segment->filter), footer->filter.bytes,
				    &footer->filter);
	if (!status)
		status = append_section(build, segment->fences.separator, footer->fence.bytes,
					&footer->fence);
	if (!status)
		status = append_section(build, segment->spaces, footer->spaces.bytes,
					&footer->spaces);
	if (!status)
		status = pad_page(build);
	if (status)
		return status;
	footer->file_bytes = build->at + FORMAT_PAGE;
	memcpy(page, footer, sizeof(*footer));
	*hash = XXH3_64bits(page, FORMAT_PAGE - sizeof(*hash));
	memcpy(page + FORMAT_PAGE - sizeof(*hash), hash, sizeof(*hash));
	status = append(build, page, FORMAT_PAGE);
	return !status && build->fill ? write_piece(build) : status;
}

/* Synced, under its name, open for reading. */
static int name_file(struct cold_build *build, struct file *file)
{
	struct cold *cold = build->cold;
	char from[SEGMENT_NAME_BYTES], to[SEGMENT_NAME_BYTES];
	temporary_name(build->footer.number, from);
	cold_segment_name(build->footer.number, to);
	int status = file_sync_data(&build->file);
	file_close(&build->file);
	if (!status)
		status = file_rename(&cold->dir, from, to);
	if (status)
		return status;
	build->state = BUILD_NAMED;
	status = file_sync(&cold->dir);
	return status ? status : file_open(&cold->dir, to, FILE_DIRECT, file);
}

int cold_build_finish(struct cold_build *build, struct cold_segment **out)
{
	struct cold *cold = build->cold;
	check(build->footer.records);
	struct cold_segment *segment = memory_alloc(&cold->memory, sizeof(*segment));
	if (!segment)
		return -ENOMEM;
	segment->file.fd = -1;
	atomic_init(&segment->refs, 1);
	int status = cut_all(build);
	if (!status)
		status = make_tables(build, segment);
	if (!status)
		status = append_rest(build, segment, &segment->footer_hash);
	if (!status)
		status = name_file(build, &segment->file);
	segment->footer = build->footer; /* its sizes are what segment_free needs */
	if (status) {
		cold_segment_free(cold, segment);
		return status;
	}
	segment->number = build->footer.number;
	segment->file_bytes = build->footer.file_bytes;
	cold_segment_fences(segment);
	cold_segment_range(segment);
	clear(build);
	*out = segment;
	return 0;
}
