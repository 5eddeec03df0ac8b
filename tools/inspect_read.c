/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/inspect_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "alloc/heap.h"
#include "tiers/cold/block.h"
#include "tiers/cold/fence.h"
#include "tiers/cold/filter.h"
#include "tiers/cold/cold_segment.h"

#define IMAGE_NAME "memory.img"        /* of tiers/image.c */
#define MEMORY_MAX (UINT64_C(1) << 30) /* bytes, of decoded manifests */

static int fail(struct thermo_error *error, int status, const char *what, const char *why)
{
	snprintf(error->text, sizeof(error->text), "%.150s: %.100s", what, why);
	return status;
}

static int problem(struct inspect_segment *segment, const char *why)
{
	if (!*segment->problem)
		snprintf(segment->problem, sizeof(segment->problem), "%s", why);
	return -EILSEQ;
}

/* All of it, or -errno; -EIO where the file ends. */
static int read_at(int file, void *to, size_t bytes, uint64_t offset)
{
	char *at = to;
	while (bytes) {
		ssize_t n = pread(file, at, bytes, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* ---- One segment ---- */

struct reader {
	struct inspect_segment *segment;
	int file;
	uint32_t *fence_bytes;
	struct fences fences;
	struct point from; /* of its run: what is before it does not count */
	struct block_decoder decoder;
	void *decoder_memory;
	uint8_t *block, *scratch; /* BLOCK_MAX bytes each */
};

static int read_footer(struct reader *reader, const struct manifest_segment *entry)
{
	struct inspect_segment *segment = reader->segment;
	struct segment_footer *footer = &segment->footer;
	uint8_t page[FORMAT_PAGE];
	uint64_t hash;
	if (segment->file_bytes != entry->file_bytes || segment->file_bytes < 2 * FORMAT_PAGE)
		return problem(segment, "its length is not the one in the manifest");
	if (read_at(reader->file, page, sizeof(page), segment->file_bytes - FORMAT_PAGE))
		return problem(segment, "its footer cannot be read");
	memcpy(footer, page, sizeof(*footer));
	memcpy(&hash, page + FORMAT_PAGE - sizeof(hash), sizeof(hash));
	if (footer->magic != SEGMENT_FOOTER_MAGIC ||
	    XXH3_64bits(page, FORMAT_PAGE - sizeof(hash)) != hash)
		return problem(segment, "its footer is damaged");
	if (footer->version != FORMAT_VERSION ||
	    (footer->features.incompat & ~FORMAT_INCOMPAT_KNOWN))
		return problem(segment, "its format version is unknown; open it with the version that wrote it");
	if (hash != entry->footer_hash || footer->number != entry->number)
		return problem(segment, "it is not the file that the manifest means");
	segment->footer_read = true;
	return 0;
}

/* A section's bytes, checked, in memory of malloc; NULL after a problem. */
static void *read_section(struct reader *reader, const struct format_section *section, size_t unit,
			  const char *damaged)
{
	struct inspect_segment *segment = reader->segment;
	if (!section->bytes || section->bytes % unit || section->at > segment->file_bytes ||
	    section->bytes > segment->file_bytes - section->at) {
		problem(segment, damaged);
		return NULL;
	}
	void *bytes = malloc(section->bytes);
	if (!bytes) {
		problem(segment, "there is no memory to read it");
		return NULL;
	}
	if (read_at(reader->file, bytes, section->bytes, section->at) ||
	    XXH3_64bits(bytes, section->bytes) != section->hash) {
		problem(segment, damaged);
		free(bytes);
		return NULL;
	}
	return bytes;
}

static int read_spaces(struct reader *reader)
{
	struct inspect_segment *segment = reader->segment;
	struct segment_space *spaces = read_section(
		reader, &segment->footer.spaces, sizeof(*spaces), "its list of spaces is damaged");
	if (!spaces)
		return -EILSEQ;
	segment->n_spaces = (uint32_t)(segment->footer.spaces.bytes / sizeof(*spaces));
	if (segment->n_spaces <= 256)
		memcpy(segment->spaces, spaces, segment->n_spaces * sizeof(*spaces));
	free(spaces);
	if (segment->n_spaces <= 256)
		return 0;
	segment->n_spaces = 0;
	return problem(segment, "its list of spaces is damaged");
}

static int read_sections(struct reader *reader)
{
	struct inspect_segment *segment = reader->segment;
	const struct segment_footer *footer = &segment->footer;
	if (read_spaces(reader))
		return -EILSEQ;
	if (footer->filter.bytes) {
		void *filter = read_section(reader, &footer->filter, 1, "its filter is damaged");
		if (!filter)
			return -EILSEQ;
		free(filter);
	}
	if (!footer->blocks || footer->fence.bytes != fence_bytes(footer->blocks))
		return problem(segment, "its fences are damaged");
	reader->fence_bytes =
		read_section(reader, &footer->fence, fence_bytes(1), "its fences are damaged");
	if (!reader->fence_bytes)
		return -EILSEQ;
	reader->fences = (struct fences){
		.separator = reader->fence_bytes,
		.start = reader->fence_bytes + footer->blocks,
		.spaces = segment->spaces,
		.blocks = footer->blocks,
		.n_spaces = segment->n_spaces,
		.data_end = footer->data_end,
	};
	if (fence_check(&reader->fences))
		return problem(segment, "its fences do not add up");
	segment->partial =
		segment->n_spaces && point_before((struct point){segment->spaces[0].first_hash,
								 segment->spaces[0].space},
						  reader->from);
	return 0;
}

/* Reads the block at a place and stands on its first record. */
static int open_block(struct reader *reader, const struct fence_place *place,
		      struct block_header *header, struct block_cursor *cursor)
{
	const uint8_t *payload;
	uint64_t len = place->end - place->start;
	if (len > BLOCK_MAX)
		len = BLOCK_MAX;
	if (read_at(reader->file, reader->block, len, place->start) ||
	    block_check(reader->block, len, reader->segment->number, place->start, header) ||
	    block_unpack(&reader->decoder, header, reader->block, reader->scratch, BLOCK_MAX,
			 &payload) ||
	    block_first(cursor, payload, header->raw, header->records) ||
	    block_next(cursor) != THERMO_OK) {
		struct inspect_segment *segment = reader->segment;
		if (!*segment->problem)
			snprintf(segment->problem, sizeof(segment->problem),
				 "the block at byte %" PRIu64 " is damaged", place->start);
		return -EILSEQ;
	}
	return 0;
}

static void keep(struct inspect_key *key, const struct block_cursor *cursor)
{
	key->len = (uint16_t)cursor->ident.len;
	key->chunk = cursor->ident.chunk;
	memcpy(key->bytes, cursor->ident.bytes, cursor->ident.len);
}

static int keep_last(struct reader *reader, struct block_cursor *cursor)
{
	int status;
	do {
		keep(&reader->segment->last, cursor);
		status = block_next(cursor);
	} while (status == THERMO_OK);
	return status == THERMO_MISS ? 0 : problem(reader->segment, "its last block is damaged");
}

/* The first record and the last one that count. */
static int read_ends(struct reader *reader)
{
	struct block_header header;
	struct block_cursor cursor;
	uint32_t first = fence_seek(&reader->fences, reader->from);
	if (first >= reader->fences.blocks)
		return problem(reader->segment, "none of its records count");
	struct fence_place place = fence_place(&reader->fences, first);
	if (open_block(reader, &place, &header, &cursor))
		return -EILSEQ;
	keep(&reader->segment->first, &cursor);
	place = fence_place(&reader->fences, reader->fences.blocks - 1);
	if (open_block(reader, &place, &header, &cursor))
		return -EILSEQ;
	return keep_last(reader, &cursor);
}

/* The records of one block that was opened: their order, and that they are where their hash says.
 */
static int walk_block(struct reader *reader, struct block_cursor *cursor, struct point *before,
		      uint64_t *records, uint64_t *tombstones)
{
	int status;
	do {
		struct point point = {ident_hash(&cursor->ident), cursor->ident.bytes[0]};
		if (point_before(point, *before))
			return problem(reader->segment, "a record is out of order");
		*before = point;
		++*records;
		*tombstones += (cursor->flags & COLD_TOMBSTONE) != 0;
		status = block_next(cursor);
	} while (status == THERMO_OK);
	return status == THERMO_MISS ? 0 : problem(reader->segment, "a record is damaged");
}

static uint64_t separator_hash(const struct fences *fences, const struct segment_space *space, uint32_t block)
{
	return space->first_hash + ((uint64_t)fences->separator[block] << space->shift);
}

/* One block is lost: which keys may have been in it? */
static void note_damage(struct reader *reader, uint32_t block)
{
	struct inspect_segment *segment = reader->segment;
	const struct fences *fences = &reader->fences;
	uint32_t k = 0;
	while (k + 1 < segment->n_spaces && segment->spaces[k + 1].first_block <= block)
		k++;
	const struct segment_space *space = &segment->spaces[k];
	uint32_t end = k + 1 < segment->n_spaces ? segment->spaces[k + 1].first_block : fences->blocks;
	struct inspect_damage damage = {
		.at = fences->start[block],
		.from = separator_hash(fences, space, block),
		.to = block + 1 < end ? separator_hash(fences, space, block + 1) +
						((UINT64_C(1) << space->shift) - 1)
				      : space->last_hash,
		.space = space->space,
	};
	if (damage.to > space->last_hash || damage.to < damage.from)
		damage.to = space->last_hash;
	if (segment->n_damage < INSPECT_DAMAGES)
		segment->damage[segment->n_damage] = damage;
	segment->n_damage++;
}

/* Every block that counts; goes on past those that are damaged. */
static int walk_blocks(struct reader *reader)
{
	struct inspect_segment *segment = reader->segment;
	struct block_header header;
	struct block_cursor cursor;
	struct point before = POINT_FIRST;
	uint64_t records = 0, tombstones = 0;
	uint32_t block = fence_seek(&reader->fences, reader->from);
	for (; block < reader->fences.blocks; block++) {
		struct fence_place place = fence_place(&reader->fences, block);
		if (open_block(reader, &place, &header, &cursor) ||
		    walk_block(reader, &cursor, &before, &records, &tombstones)) {
			note_damage(reader, block);
			continue;
		}
		segment->blocks[header.codec]++;
		segment->stored_bytes += sizeof(header) + header.stored;
		segment->raw_bytes += header.raw;
	}
	if (segment->n_damage)
		return -EILSEQ;
	if (!segment->partial &&
	    (records != segment->footer.records || tombstones != segment->footer.tombstones))
		return problem(segment, "it holds another number of records than its footer says");
	segment->walked = true;
	return 0;
}

/* The bytes from the file's start to the end of the blocks, between blocks too. */
static int check_data(struct reader *reader)
{
	struct inspect_segment *segment = reader->segment;
	uint64_t hash = 0, end = segment->footer.data_end;
	uint8_t *piece = malloc(FORMAT_PIECE);
	int status = piece ? 0 : problem(segment, "there is no memory to read it");
	for (uint64_t at = 0; at < end && !status; at += FORMAT_PIECE) {
		size_t n = end - at < FORMAT_PIECE ? end - at : FORMAT_PIECE;
		if (read_at(reader->file, piece, n, at))
			status = problem(segment, "its records cannot be read");
		hash = XXH3_64bits_withSeed(piece, n, hash);
	}
	free(piece);
	if (!status && hash != segment->footer.data_hash)
		status = problem(segment, "its records are damaged");
	return status;
}

static int reader_open(struct reader *reader)
{
	size_t bytes = block_decoder_bytes();
	reader->decoder_memory = malloc(bytes);
	reader->block = malloc(BLOCK_MAX);
	reader->scratch = malloc(BLOCK_MAX);
	if (!reader->decoder_memory || !reader->block || !reader->scratch ||
	    block_decoder_init(&reader->decoder, reader->decoder_memory, bytes))
		return problem(reader->segment, "there is no memory to read it");
	return 0;
}

static int read_file(struct reader *reader, const struct manifest_segment *entry, bool walk)
{
	int status = read_footer(reader, entry);
	if (!status)
		status = reader_open(reader);
	if (!status)
		status = read_sections(reader);
	if (!status && walk)
		status = walk_blocks(reader);
	if (!status)
		status = read_ends(reader);
	if (!status && walk && !reader->segment->partial)
		status = check_data(reader);
	return status;
}

static void read_segment(struct inspect *inspect, const struct manifest_segment *entry,
			 struct point from, bool walk, struct inspect_segment *segment)
{
	struct reader reader = {.segment = segment, .file = -1, .from = from};
	struct stat stat;
	char name[SEGMENT_NAME_BYTES];
	segment->number = entry->number;
	cold_segment_name(entry->number, name);
	reader.file = openat(inspect->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (reader.file < 0 || fstat(reader.file, &stat)) {
		problem(segment, errno == ENOENT ? "it is missing" : "it cannot be opened");
	} else {
		segment->file_bytes = (uint64_t)stat.st_size;
		read_file(&reader, entry, walk);
	}
	free(reader.fence_bytes);
	free(reader.decoder_memory);
	free(reader.block);
	free(reader.scratch);
	if (reader.file >= 0)
		close(reader.file);
	inspect->problems += *segment->problem != 0;
}

/* ---- The directory ---- */

static int read_manifest(struct inspect *inspect, const char *path, struct thermo_error *error)
{
	struct stat stat;
	const char *why = "it cannot be read";
	char name[160];
	snprintf(name, sizeof(name), "%.140s/" MANIFEST_NAME, path);
	int file = openat(inspect->dir, MANIFEST_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0)
		return errno == ENOENT
			       ? fail(error, -ENOENT, path,
				      "no cold tier lies here (there is no " MANIFEST_NAME ")")
			       : fail(error, -errno, name, strerror(errno));
	int status = fstat(file, &stat) ? -errno : 0;
	uint8_t *bytes = NULL;
	if (!status && (stat.st_size < 1 || stat.st_size > (off_t)MANIFEST_BYTES_MAX)) {
		status = -EILSEQ;
		why = "its length is impossible";
	}
	if (!status) {
		inspect->manifest_bytes = (uint64_t)stat.st_size;
		bytes = malloc(inspect->manifest_bytes);
		status = bytes ? read_at(file, bytes, inspect->manifest_bytes, 0) : -ENOMEM;
	}
	if (!status)
		status = manifest_decode(&inspect->memory, bytes, inspect->manifest_bytes,
					 &inspect->manifest, &why);
	free(bytes);
	close(file);
	if (!status)
		return 0;
	char advice[128];
	snprintf(advice, sizeof(advice), "%s%s", why,
		 status == -EPROTO   ? "; open it with the version that wrote it" :
		 status == -EILSEQ ? "; restore the directory from a copy, or empty it" : "");
	return fail(error, status, name, advice);
}

/* The image's blocks, each by its hash: docs/format.md. */
static void read_image(struct inspect *inspect)
{
	struct {
		uint32_t bytes, records;
		uint64_t xxh3;
	} head;
	uint64_t at = 24, records = 0;
	const char *why = "it is damaged";
	uint8_t *block = malloc(1 << 20);
	int file = openat(inspect->dir, IMAGE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0 && errno == ENOENT)
		why = NULL;
	while (file >= 0 && block && !read_at(file, &head, sizeof(head), at)) {
		at += sizeof(head);
		if (!head.bytes) {
			why = head.xxh3 == records ? NULL : why;
			break;
		}
		if (head.bytes > 1 << 20 || read_at(file, block, head.bytes, at) ||
		    XXH3_64bits(block, head.bytes) != head.xxh3)
			break;
		at += head.bytes;
		records += head.records;
	}
	free(block);
	if (file >= 0)
		close(file);
	if (why)
		snprintf(inspect->image_problem, sizeof(inspect->image_problem), "%s", why);
	inspect->problems += why != NULL;
}

/* Files that the manifest does not name. */
static int list_strays(struct inspect *inspect)
{
	int copy = dup(inspect->dir);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	if (!dir) {
		if (copy >= 0)
			close(copy);
		return -errno;
	}
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;
		struct stat stat = {0};
		char known[SEGMENT_NAME_BYTES];
		bool stray = strcmp(name, ".") && strcmp(name, "..") &&
			     strcmp(name, MANIFEST_NAME) && strcmp(name, "LOCK") &&
			     strcmp(name, IMAGE_NAME);
		if (!strcmp(name, IMAGE_NAME) &&
		    !fstatat(inspect->dir, name, &stat, AT_SYMLINK_NOFOLLOW))
			inspect->image_bytes = (uint64_t)stat.st_size;
		for (uint32_t i = 0; stray && i < inspect->manifest.n_segments; i++) {
			cold_segment_name(inspect->manifest.segments[i].number, known);
			stray = strcmp(name, known) != 0;
		}
		if (!stray)
			continue;
		if (inspect->n_strays < sizeof(inspect->strays) / sizeof(inspect->strays[0])) {
			struct inspect_stray *to = &inspect->strays[inspect->n_strays];
			fstatat(inspect->dir, name, &stat, AT_SYMLINK_NOFOLLOW);
			snprintf(to->name, sizeof(to->name), "%.63s", name);
			to->bytes = (uint64_t)stat.st_size;
		}
		inspect->n_strays++;
	}
	closedir(dir);
	return 0;
}

int inspect_read(const char *path, bool walk, struct inspect *inspect, struct thermo_error *error)
{
	memset(inspect, 0, sizeof(*inspect));
	budget_init(&inspect->budget, MEMORY_MAX);
	inspect->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (inspect->dir < 0)
		return fail(error, -errno, path, strerror(errno));
	int status = heap_open("libc", NULL, MEMORY_MAX, &inspect->budget, &inspect->heap, error);
	if (status)
		goto free_all;
	inspect->memory = (struct memory){inspect->heap, &inspect->budget};
	status = read_manifest(inspect, path, error);
	if (status)
		goto free_all;
	const struct manifest *manifest = &inspect->manifest;
	inspect->segments = calloc(manifest->n_segments + 1u, sizeof(*inspect->segments));
	status = inspect->segments ? list_strays(inspect) : -ENOMEM;
	if (status) {
		fail(error, status, path, strerror(-status));
		goto free_all;
	}
	if (walk)
		read_image(inspect);
	for (uint32_t run = 0, at = 0; run < manifest->n_runs; run++) {
		struct point from = {manifest->runs[run].from_hash, manifest->runs[run].from_space};
		for (uint32_t i = 0; i < manifest->runs[run].segments; i++, at++)
			read_segment(inspect, &manifest->segments[at], from, walk,
				     &inspect->segments[at]);
	}
	return 0;
free_all:
	inspect_free(inspect);
	return status;
}

void inspect_free(struct inspect *inspect)
{
	free(inspect->segments);
	inspect->segments = NULL;
	if (inspect->heap) {
		manifest_clear(&inspect->memory, &inspect->manifest);
		heap_close(&inspect->heap);
	}
	if (inspect->dir >= 0)
		close(inspect->dir);
	inspect->dir = -1;
}
