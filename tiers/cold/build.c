/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a run file: records -> packer -> blocks in pages -> 1 MiB pieces -> file; fences and filter grow
 * beside it. The file has a temporary name until it is whole and synced.
 */
#include "tiers/cold/run.h"

#include "alloc/check.h"
#include "tiers/cold/tier.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

#define WASTE_MAX 512u /* bytes at a page's end that are left empty rather than begun a block in */

enum build_state { BUILD_IDLE, BUILD_TEMPORARY, BUILD_NAMED };

struct run_build {
	struct cold *cold;       /* const after open */
	struct packer *packer;   /* const after open */
	uint8_t *piece;          /* const after open: RUN_PIECE bytes */
	size_t fill;             /* bytes in piece */
	uint64_t at;             /* file offset of the next byte */
	uint64_t taken;          /* bytes of the tier's cap */
	uint64_t planned;        /* records that the filter is laid out for */
	struct run_filter *filter;
	struct file file;
	enum build_state state;
	bool merging;
	bool in_data;            /* pieces that are written count into data_hash */
	bool any_last;
	struct ident last;       /* of the block before; bytes: last_key */
	struct run_footer footer;
	struct run_space spaces[256];
	struct fence_builder fences;
	uint8_t last_key[IDENT_MAX];
};

int run_build_open(struct cold *cold, struct run_build **out)
{
	struct run_build *build = memory_alloc(&cold->memory, sizeof(*build));
	if (!build)
		return -ENOMEM;
	build->cold = cold;
	build->file.fd = -1;
	build->piece = memory_alloc(&cold->memory, RUN_PIECE);
	if (!build->piece || packer_open(&cold->memory, &build->packer)) {
		run_build_close(&build);
		return -ENOMEM;
	}
	*out = build;
	return 0;
}

void run_build_close(struct run_build **build)
{
	if (!*build)
		return;
	struct memory *memory = &(*build)->cold->memory;
	run_build_abort(*build);
	packer_close(&(*build)->packer);
	memory_free(memory, (*build)->piece, RUN_PIECE);
	memory_free(memory, *build, sizeof(**build));
	*build = NULL;
}

static void temporary_name(uint64_t number, char name[RUN_NAME_BYTES])
{
	run_name(number, name);
	strcat(name, ".tmp");
}

void run_build_abort(struct run_build *build)
{
	char name[RUN_NAME_BYTES];
	struct cold *cold = build->cold;
	if (build->state == BUILD_IDLE)
		return;
	file_close(&build->file);
	if (build->state == BUILD_TEMPORARY)
		temporary_name(build->footer.number, name);
	else
		run_name(build->footer.number, name);
	file_unlink(&cold->dir, name);
	cold_give(cold, build->taken);
	run_filter_unref(cold, build->filter);
	build->filter = NULL;
	fence_abort(&build->fences);
	build->state = BUILD_IDLE;
}

/* ---- Output ---- */

static int write_piece(struct run_build *build)
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
static int append(struct run_build *build, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	while (len) {
		size_t n = RUN_PIECE - build->fill < len ? RUN_PIECE - build->fill : len;
		if (from) {
			memcpy(build->piece + build->fill, from, n);
			from += n;
		} else {
			memset(build->piece + build->fill, 0, n);
		}
		build->fill += n;
		build->at += n;
		len -= n;
		if (build->fill == RUN_PIECE) {
			int status = write_piece(build);
			if (status)
				return status;
		}
	}
	return 0;
}

static uint32_t page_room(const struct run_build *build)
{
	return FORMAT_PAGE - (uint32_t)(build->at % FORMAT_PAGE);
}

static int pad_page(struct run_build *build)
{
	uint32_t room = page_room(build);
	return room < FORMAT_PAGE ? append(build, NULL, room) : 0;
}

/* ---- Records ---- */

int run_build_start(struct run_build *build, uint64_t records, bool merging)
{
	struct cold *cold = build->cold;
	char name[RUN_NAME_BYTES];
	check(build->state == BUILD_IDLE && records);
	if (atomic_load(&cold->failed))
		return -EROFS;
	build->footer = (struct run_footer){ .magic = RUN_FOOTER_MAGIC,
					     .version = FORMAT_VERSION,
					     .size = sizeof(struct run_footer),
					     .number = atomic_fetch_add(&cold->next_number, 1),
					     .min_seq = UINT64_MAX,
					     .created_ms = cold->clock_ms(cold->clock_context) };
	memset(build->spaces, 0, sizeof(build->spaces));
	build->fill = 0;
	build->at = build->taken = 0;
	build->merging = merging;
	build->in_data = true;
	build->any_last = false;
	build->planned = records;
	unsigned bits = filter_bits(records, cold_records(cold, merging ? 0 : records));
	build->filter = run_filter_alloc(cold, filter_blocks(records, bits));
	if (!build->filter && !merging)
		return -ENOMEM;
	if (!build->filter)
		cold_say(cold, "cold tier %s: no memory for the filter of a run of %llu records: "
			       "look-ups that miss will read it; raise the memory cap",
			 cold->dir.name, (unsigned long long)records);
	packer_start(build->packer);
	fence_start(&build->fences, &cold->memory, build->footer.number);
	temporary_name(build->footer.number, name);
	build->state = BUILD_TEMPORARY;
	int status = file_open(&cold->dir, name, FILE_WRITE | FILE_CREATE | FILE_DIRECT,
			       &build->file);
	if (status)
		return status;
	struct run_header header = { .magic = RUN_HEADER_MAGIC,
				     .version = FORMAT_VERSION,
				     .size = sizeof(header),
				     .number = build->footer.number,
				     .created_ms = build->footer.created_ms };
	header.hash = XXH3_64bits(&header, offsetof(struct run_header, hash));
	return append(build, &header, sizeof(header));
}

/* Cuts one block of what is pending and appends it. */
static int cut_block(struct run_build *build)
{
	struct packer *packer = build->packer;
	struct packed packed;
	if (page_room(build) < WASTE_MAX) {
		int status = pad_page(build);
		if (status)
			return status;
	}
	packer_cut(packer, page_room(build), &packed);
	uint64_t start = build->at;
	block_seal(packed.bytes, packed.codec, packed.stored, packed.raw, packed.records,
		   build->footer.number, start);
	size_t len = sizeof(struct block_header) + packed.stored;
	const struct block_item *first = &packer->items[0];
	const struct block_item *last = &packer->items[packed.records - 1];
	struct ident first_ident = { first->ident, first->ident_len, first->flags & COLD_CHUNK };
	int status = fence_add(&build->fences, build->any_last ? &build->last : NULL, &first_ident,
			       start, start + len);
	if (status)
		return status;
	memcpy(build->last_key, last->ident, last->ident_len);
	build->last = (struct ident){ build->last_key, last->ident_len, last->flags & COLD_CHUNK };
	build->any_last = true;
	build->footer.blocks++;
	packer_consume(packer, packed.records);
	return append(build, packed.bytes, len);
}

int run_build_add(struct run_build *build, const struct block_item *item, uint64_t hash)
{
	struct run_footer *footer = &build->footer;
	while (packer_ready(build->packer)) {
		int status = cut_block(build);
		if (status)
			return status;
	}
	packer_add(build->packer, item);
	if (build->filter)
		filter_add(build->filter->block, build->filter->blocks, hash);
	struct run_space *space = &build->spaces[item->ident[0]];
	if (!space->records++)
		space->min_seq = UINT64_MAX;
	if (item->seq < space->min_seq)
		space->min_seq = item->seq;
	if (item->seq > space->max_seq)
		space->max_seq = item->seq;
	if (item->seq < footer->min_seq)
		footer->min_seq = item->seq;
	if (item->seq > footer->max_seq)
		footer->max_seq = item->seq;
	footer->records++;
	footer->record_bytes += item->ident_len - 1 + item->value_len;
	check(footer->records <= build->planned);
	if (item->flags & COLD_TOMBSTONE) {
		footer->tombstones++;
		space->tombstones += space->tombstones < UINT32_MAX;
		return 0;
	}
	uint64_t expires = item->expires_ms ? item->expires_ms : UINT64_MAX;
	footer->expiring += item->expires_ms != 0;
	if (expires > footer->max_expires)
		footer->max_expires = expires;
	return 0;
}

uint64_t run_build_records(const struct run_build *build)
{
	return build->footer.records;
}

uint64_t run_build_written(const struct run_build *build)
{
	return build->at;
}

/* ---- Completion ---- */

static int append_section(struct run_build *build, const void *bytes, size_t len,
			  struct format_section *section)
{
	int status = pad_page(build);
	section->at = build->at;
	section->bytes = len;
	section->hash = XXH3_64bits(bytes, len);
	return status ? status : append(build, bytes, len);
}

/* A filter for many fewer records than planned is folded and moved to less memory. */
static void shrink_filter(struct run_build *build)
{
	uint64_t blocks = build->filter->blocks, planned = build->planned;
	while (blocks % 2 == 0 && build->footer.records <= planned / 2) {
		blocks = filter_fold(build->filter->block, blocks);
		planned /= 2;
	}
	if (blocks == build->filter->blocks)
		return;
	struct run_filter *less = run_filter_alloc(build->cold, blocks);
	if (!less) { /* all of it is valid still, only large */
		build->filter->blocks = blocks;
		return;
	}
	memcpy(less->block, build->filter->block, less->bytes);
	run_filter_unref(build->cold, build->filter);
	build->filter = less;
}

/* Gives back the memory that the growing fences did not need. */
static void shrink_fences(struct fence_builder *fences)
{
	if (fences->n == fences->room)
		return;
	uint8_t *less = memory_alloc(fences->memory, fences->n * FORMAT_PAGE);
	if (!less)
		return;
	memcpy(less, fences->pages, fences->n * FORMAT_PAGE);
	memory_free(fences->memory, fences->pages, fences->room * FORMAT_PAGE);
	fences->pages = less;
	fences->room = fences->n;
}

static int append_spaces(struct run_build *build)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < 256; i++) {
		if (!build->spaces[i].records)
			continue;
		struct run_space space = build->spaces[i];
		space.space = (uint8_t)i;
		build->spaces[n++] = space;
	}
	return append_section(build, build->spaces, n * sizeof(struct run_space),
			      &build->footer.spaces);
}

/* All that follows the blocks. *hash is the footer page's. */
static int append_rest(struct run_build *build, uint64_t *hash)
{
	struct run_footer *footer = &build->footer;
	uint8_t page[FORMAT_PAGE] = { 0 };
	footer->data_end = build->at;
	if (build->fill)
		footer->data_hash = XXH3_64bits_withSeed(build->piece, build->fill,
							 footer->data_hash);
	build->in_data = false;
	int status = fence_finish(&build->fences);
	if (!status && build->filter) {
		shrink_filter(build);
		status = append_section(build, build->filter->block,
					build->filter->blocks * FILTER_BLOCK_BYTES, &footer->filter);
	} else if (!status) {
		status = pad_page(build);
		footer->filter.at = build->at;
	}
	if (!status)
		status = append_section(build, build->fences.pages, build->fences.n * FORMAT_PAGE,
					&footer->fence);
	if (!status)
		status = append_spaces(build);
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
static int name_file(struct run_build *build, struct file *file)
{
	struct cold *cold = build->cold;
	char from[RUN_NAME_BYTES], to[RUN_NAME_BYTES];
	temporary_name(build->footer.number, from);
	run_name(build->footer.number, to);
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

int run_build_finish(struct run_build *build, struct run **out)
{
	struct cold *cold = build->cold;
	uint64_t hash = 0;
	int status = 0;
	check(build->footer.records);
	while (build->packer->n && !status)
		status = cut_block(build);
	if (!status)
		status = append_rest(build, &hash);
	if (status)
		return status;
	struct run *run = memory_alloc(&cold->memory, sizeof(*run));
	if (!run)
		return -ENOMEM;
	run->n_spaces = (uint32_t)(build->footer.spaces.bytes / sizeof(struct run_space));
	run->spaces = memory_alloc(&cold->memory, build->footer.spaces.bytes);
	status = run->spaces ? name_file(build, &run->file) : -ENOMEM;
	if (status) {
		if (run->spaces)
			memory_free(&cold->memory, run->spaces, build->footer.spaces.bytes);
		memory_free(&cold->memory, run, sizeof(*run));
		return status;
	}
	memcpy(run->spaces, build->spaces, build->footer.spaces.bytes);
	shrink_fences(&build->fences);
	run->number = build->footer.number;
	run->file_bytes = build->footer.file_bytes;
	run->footer_hash = hash;
	run->footer = build->footer;
	run->filter = build->filter;
	run->fences = build->fences.pages;
	run->fence_pages = build->fences.n;
	run->fence_room = build->fences.room * FORMAT_PAGE;
	atomic_init(&run->refs, 1);
	count(&cold->filter_used, run->fence_room);
	build->filter = NULL;
	build->fences.pages = NULL;
	build->state = BUILD_IDLE;
	*out = run;
	return 0;
}
