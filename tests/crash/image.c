/* SPDX-License-Identifier: Apache-2.0 */
/* Images of a disk: pages shared between them, changes applied whole or torn. */
#include "tests/crash/disk.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/model/value.h"

static void *must(void *p)
{
	if (!p)
		abort(); /* a test cannot go on without memory */
	return p;
}

/* ---- Pages and inodes ---- */

static void page_unref(struct disk_page *page)
{
	if (page && --page->refs == 0)
		free(page);
}

static struct disk_inode *inode_new(void)
{
	struct disk_inode *inode = must(calloc(1, sizeof(*inode)));
	inode->refs = 1;
	return inode;
}

static void inode_unref(struct disk_inode *inode)
{
	if (--inode->refs)
		return;
	for (uint32_t i = 0; i < inode->pages; i++)
		page_unref(inode->page[i]);
	free(inode->page);
	free(inode);
}

static struct disk_inode *inode_copy(const struct disk_inode *from)
{
	struct disk_inode *inode = inode_new();
	inode->bytes = from->bytes;
	inode->pages = from->pages;
	inode->page = must(calloc(from->pages + 1, sizeof(inode->page[0])));
	for (uint32_t i = 0; i < from->pages; i++) {
		inode->page[i] = from->page[i];
		if (inode->page[i])
			inode->page[i]->refs++;
	}
	return inode;
}

static void inode_room(struct disk_inode *inode, uint64_t bytes)
{
	uint32_t pages = (uint32_t)((bytes + DISK_PAGE - 1) / DISK_PAGE);
	if (pages <= inode->pages)
		return;
	uint32_t room = pages + pages / 2;
	inode->page = must(realloc(inode->page, room * sizeof(inode->page[0])));
	memset(inode->page + inode->pages, 0, (room - inode->pages) * sizeof(inode->page[0]));
	inode->pages = room;
}

/* A page that is this inode's alone. */
static struct disk_page *page_own(struct disk_inode *inode, uint64_t at)
{
	struct disk_page **slot = &inode->page[at / DISK_PAGE], *old = *slot;
	if (!old || old->refs > 1) {
		*slot = must(calloc(1, sizeof(**slot)));
		if (old) {
			memcpy((*slot)->bytes, old->bytes, DISK_PAGE);
			old->refs--;
		}
		(*slot)->refs = 1;
	}
	(*slot)->hashed = false;
	return *slot;
}

/* from NULL: zeroes. The length grows with it. */
static void inode_write(struct disk_inode *inode, const uint8_t *from, uint64_t offset,
			uint64_t bytes)
{
	inode_room(inode, offset + bytes);
	if (offset + bytes > inode->bytes)
		inode->bytes = offset + bytes;
	inode->hashed = false;
	while (bytes) {
		uint64_t skip = offset % DISK_PAGE, n = DISK_PAGE - skip;
		n = n < bytes ? n : bytes;
		struct disk_page *page = page_own(inode, offset);
		if (from)
			memcpy(page->bytes + skip, from, n);
		else
			memset(page->bytes + skip, 0, n);
		from = from ? from + n : NULL;
		offset += n;
		bytes -= n;
	}
}

static void inode_length(struct disk_inode *inode, uint64_t bytes)
{
	inode_room(inode, bytes);
	inode->hashed = false;
	if (bytes < inode->bytes) {
		uint64_t old = inode->bytes, page_end = (bytes + DISK_PAGE - 1) / DISK_PAGE;
		if (bytes % DISK_PAGE)
			inode_write(inode, NULL, bytes, page_end * DISK_PAGE - bytes);
		for (uint64_t i = page_end; i < (old + DISK_PAGE - 1) / DISK_PAGE; i++) {
			page_unref(inode->page[i]);
			inode->page[i] = NULL;
		}
	}
	inode->bytes = bytes;
}

static uint64_t page_hash(struct disk_page *page)
{
	static const uint8_t zeroes[DISK_PAGE];
	static uint64_t of_zeroes;
	if (!of_zeroes)
		of_zeroes = XXH3_64bits(zeroes, DISK_PAGE);
	if (!page)
		return of_zeroes;
	if (!page->hashed)
		page->hash = XXH3_64bits(page->bytes, DISK_PAGE);
	page->hashed = true;
	return page->hash;
}

static uint64_t inode_hash(struct disk_inode *inode)
{
	if (inode->hashed)
		return inode->hash;
	uint64_t hash = inode->bytes;
	for (uint64_t at = 0; at < inode->bytes; at += DISK_PAGE) {
		uint64_t both[2] = {hash, page_hash(inode->page[at / DISK_PAGE])};
		hash = XXH3_64bits(both, sizeof(both));
	}
	inode->hash = hash;
	inode->hashed = true;
	return hash;
}

/* ---- Images ---- */

void disk_image_copy(struct disk_image *to, const struct disk_image *from)
{
	to->n_names = from->n_names;
	to->n_files = from->n_files;
	memcpy(to->names, from->names, from->n_names * sizeof(from->names[0]));
	memcpy(to->files, from->files, from->n_files * sizeof(from->files[0]));
	for (uint32_t i = 0; i < to->n_files; i++)
		to->files[i].inode->refs++;
}

void disk_image_clear(struct disk_image *image)
{
	for (uint32_t i = 0; i < image->n_files; i++)
		inode_unref(image->files[i].inode);
	image->n_files = image->n_names = 0;
}

static struct disk_name *name_find(struct disk_image *image, const char *name)
{
	for (uint32_t i = 0; i < image->n_names; i++)
		if (!strcmp(image->names[i].name, name))
			return &image->names[i];
	return NULL;
}

static void name_drop(struct disk_image *image, const char *name)
{
	struct disk_name *at = name_find(image, name);
	if (at)
		*at = image->names[--image->n_names];
}

static void name_set(struct disk_image *image, const char *name, uint32_t number)
{
	struct disk_name *at = name_find(image, name);
	if (!at) {
		if (image->n_names == DISK_NAMES)
			abort();
		at = &image->names[image->n_names++];
		strcpy(at->name, name);
	}
	at->number = number;
}

/* The file with that number, made if it is not there; its inode is this image's alone if `own`. */
static struct disk_inode *file_inode(struct disk_image *image, uint32_t number, bool own)
{
	struct disk_file *file = NULL;
	for (uint32_t i = 0; i < image->n_files && !file; i++)
		if (image->files[i].number == number)
			file = &image->files[i];
	if (!file) {
		if (image->n_files == DISK_FILES)
			abort();
		file = &image->files[image->n_files++];
		*file = (struct disk_file){number, inode_new()};
	}
	if (own && file->inode->refs > 1) {
		struct disk_inode *copy = inode_copy(file->inode);
		inode_unref(file->inode);
		file->inode = copy;
	}
	return file->inode;
}

struct disk_inode *disk_image_find(struct disk_image *image, const char *name)
{
	const struct disk_name *at = name_find(image, name);
	return at ? file_inode(image, at->number, false) : NULL;
}

void disk_image_collect(struct disk_image *image, bool (*keep)(void *context, uint32_t number),
			void *context)
{
	for (uint32_t i = 0; i < image->n_files;) {
		bool named = keep && keep(context, image->files[i].number);
		for (uint32_t k = 0; k < image->n_names && !named; k++)
			named = image->names[k].number == image->files[i].number;
		if (named) {
			i++;
			continue;
		}
		inode_unref(image->files[i].inode);
		image->files[i] = image->files[--image->n_files];
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct disk_name *)a)->name, ((const struct disk_name *)b)->name);
}

uint64_t disk_image_hash(struct disk_image *image)
{
	uint64_t hash = 0;
	qsort(image->names, image->n_names, sizeof(image->names[0]), by_name);
	for (uint32_t i = 0; i < image->n_names; i++) {
		const struct disk_name *name = &image->names[i];
		uint64_t parts[3] = {hash, XXH3_64bits(name->name, strlen(name->name)),
				     inode_hash(file_inode(image, name->number, false))};
		hash = XXH3_64bits(parts, sizeof(parts));
	}
	return hash;
}

/* ---- Changes ---- */

static bool sector_there(enum disk_tear tear, uint64_t sector, uint64_t sectors, uint64_t seed)
{
	switch (tear) {
	case TEAR_HEAD:
		return sector < 1 + seed % (sectors - 1);
	case TEAR_TAIL:
		return sector >= 1 + seed % (sectors - 1);
	case TEAR_RANDOM:
		return value_mix(seed + sector) & 1;
	default:
		return false;
	}
}

static void write_torn(struct disk_inode *inode, const struct disk_op *op, enum disk_tear tear,
		       uint64_t seed)
{
	uint64_t first = op->offset / DISK_SECTOR, end = op->offset + op->bytes;
	uint64_t sectors = (end + DISK_SECTOR - 1) / DISK_SECTOR - first;
	if (tear == TEAR_LENGTH_ONLY && end > inode->bytes)
		inode_length(inode, end);
	for (uint64_t i = 0; i < sectors && sectors > 1; i++) {
		if (!sector_there(tear, i, sectors, seed))
			continue;
		uint64_t from = (first + i) * DISK_SECTOR, to = from + DISK_SECTOR;
		from = from < op->offset ? op->offset : from;
		to = to > end ? end : to;
		inode_write(inode, op->data + (from - op->offset), from, to - from);
	}
}

static void punch(struct disk_inode *inode, uint64_t offset, uint64_t bytes)
{
	if (offset >= inode->bytes)
		return;
	if (bytes > inode->bytes - offset)
		bytes = inode->bytes - offset;
	inode_write(inode, NULL, offset, bytes);
}

void disk_apply(struct disk_image *image, const struct disk_op *op, enum disk_tear tear,
		uint64_t seed)
{
	struct disk_inode *inode;
	switch (op->kind) {
	case DISK_CREATE:
		file_inode(image, op->number, false);
		name_set(image, op->name, op->number);
		break;
	case DISK_RENAME:
		file_inode(image, op->number, false);
		name_drop(image, op->name);
		name_set(image, op->to, op->number);
		break;
	case DISK_UNLINK:
		name_drop(image, op->name);
		break;
	case DISK_WRITE:
		inode = file_inode(image, op->number, true);
		if (tear == TEAR_NONE)
			inode_write(inode, op->data, op->offset, op->bytes);
		else
			write_torn(inode, op, tear, seed);
		break;
	case DISK_TRUNCATE:
		inode_length(file_inode(image, op->number, true), op->bytes);
		break;
	case DISK_ALLOCATE:
		inode = file_inode(image, op->number, true);
		if (op->offset + op->bytes > inode->bytes)
			inode_length(inode, op->offset + op->bytes);
		break;
	case DISK_PUNCH:
		punch(file_inode(image, op->number, true), op->offset, op->bytes);
		break;
	default:
		break;
	}
}
