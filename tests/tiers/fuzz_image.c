/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine keeps across a restart: the table of spaces (in the manifest) and the image of
 * the memory tiers, through thermo_open; then every space is read through and the cache is closed.
 *
 * An input is a way (1: checksums and numbers are put right), u16 length of the table, the table,
 * the image.
 */
#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/heap.h"
#include "tests/fuzz.h"
#include "tests/tiers/bed.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/memory.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

/* Where docs/format.md says that things are. */
#define TABLE_IMAGE 24u
#define TABLE_HASH 48u
#define TABLE_HEAD 56u
#define IMAGE_NUMBER 16u
#define IMAGE_HEAD 24u
#define BLOCK_HEAD 16u
#define NUMBER 5u

struct bytes {
	uint8_t *start;
	size_t len;
};

static struct bed *bed_ready(void)
{
	static struct bed bed;
	setenv("TMPDIR", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", 0);
	bed_init(&bed, true, true);
	bed.options.background_threads = 0;
	bed.options.heap = "libc";
	bed.options.put_wait_ms = 0;
	return &bed;
}

static void file_put(const struct bed *bed, const char *name, const struct bytes *bytes)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", bed->scratch.path, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, bytes->start, bytes->len) == (ssize_t)bytes->len);
	close(fd);
}

static struct bytes file_take(const struct bed *bed, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", bed->scratch.path, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd >= 0);
	struct bytes bytes = {.len = (size_t)lseek(fd, 0, SEEK_END)};
	bytes.start = malloc(bytes.len + 1);
	check(bytes.start && pread(fd, bytes.start, bytes.len, 0) == (ssize_t)bytes.len);
	close(fd);
	return bytes;
}

static void seal_table(struct bytes *table)
{
	uint64_t number = NUMBER;
	if (table->len < TABLE_HEAD)
		return;
	memcpy(table->start + TABLE_IMAGE, &number, 8);
	uint64_t hash = XXH3_64bits(table->start + TABLE_HEAD, table->len - TABLE_HEAD);
	memcpy(table->start + TABLE_HASH, &hash, 8);
}

static void seal_image(struct bytes *image)
{
	uint64_t number = NUMBER;
	if (image->len < IMAGE_HEAD)
		return;
	memcpy(image->start + IMAGE_NUMBER, &number, 8);
	for (size_t at = IMAGE_HEAD; at + BLOCK_HEAD <= image->len;) {
		uint32_t n;
		memcpy(&n, image->start + at, 4);
		if (!n || n > image->len - at - BLOCK_HEAD)
			return;
		uint64_t hash = XXH3_64bits(image->start + at + BLOCK_HEAD, n);
		memcpy(image->start + at + 8, &hash, 8);
		at += BLOCK_HEAD + n;
	}
}

static struct bytes manifest_make(const struct bytes *table)
{
	struct manifest manifest = {.generation = 1,
				    .next_number = 1,
				    .meta = table->start,
				    .meta_bytes = (uint32_t)table->len};
	struct bytes bytes = {.len = manifest_bytes(&manifest)};
	bytes.start = malloc(bytes.len);
	check(bytes.start);
	manifest_encode(&manifest, bytes.start);
	return bytes;
}

static volatile uint64_t sum; /* so that every byte is read */

static unsigned items;          /* that the last input brought back */

/* Every key of the space, by iteration and by get. */
static void space_read(struct thermo *cache, const char *name)
{
	struct thermo_space *space;
	struct thermo_iter *iter;
	struct thermo_item item;
	static char value[1 << 16];
	if (thermo_space_open(cache, name, NULL, &space, NULL))
		return;
	check(thermo_iter_open(space, NULL, 0, &iter) == THERMO_OK);
	int rc;
	while ((rc = thermo_iter_next(iter, &item)) == THERMO_OK) {
		size_t len = 0;
		items++;
		if (item.value)
			sum ^= XXH3_64bits(item.value, item.value_len);
		rc = thermo_get(space, item.key, item.key_len, value, sizeof(value), &len);
		check(rc >= THERMO_OK || rc == -EIO || rc == -EILSEQ);
	}
	check(rc == THERMO_MISS || rc == -EIO || rc == -EILSEQ);
	check(thermo_iter_close(&iter) == THERMO_OK);
	rc = thermo_put(space, "new", 3, "value", 5, THERMO_TTL_DEFAULT);
	check(rc == THERMO_OK || rc == THERMO_BUSY || rc == -ENOSPC);
}

static void directory_try(struct bed *bed, const struct bytes *manifest)
{
	static const char *const names[] = {"bed", "other", "third"};
	items = 0;
	int rc = thermo_open(&bed->options, &bed->cache, &bed->error);
	if (rc) {
		fuzz_line(bed->error.text);
		check(rc == -EILSEQ || rc == -EPROTO);
		struct bytes now = file_take(bed, MANIFEST_NAME);
		check(now.len == manifest->len && !memcmp(now.start, manifest->start, now.len));
		free(now.start);
		return;
	}
	for (size_t i = 0; i < SUITE_COUNT(names); i++)
		space_read(bed->cache, names[i]);
	rc = thermo_close(&bed->cache, 0, &bed->error);
	check(rc == 0 && !bed->cache);
	/* What we wrote ourselves is whole. */
	check(thermo_open(&bed->options, &bed->cache, &bed->error) == 0);
	check(thermo_close(&bed->cache, 0, &bed->error) == 0);
}

/* From the length of the table on. */
static void files_try(bool sealed, const uint8_t *data, size_t size)
{
	uint16_t len;
	memcpy(&len, data, 2);
	size_t rest = size - 2, of_table = len < rest ? len : rest;
	uint8_t *copy = malloc(rest + 1);
	check(copy);
	memcpy(copy, data + 2, rest);
	struct bytes table = {copy, of_table}, image = {copy + of_table, rest - of_table};
	if (sealed) {
		seal_table(&table);
		seal_image(&image);
	}
	struct bed *bed = bed_ready();
	struct bytes manifest = manifest_make(&table);
	file_put(bed, MANIFEST_NAME, &manifest);
	file_put(bed, "memory.img", &image);
	directory_try(bed, &manifest);
	scratch_close(&bed->scratch);
	free(manifest.start);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size >= 3)
		files_try(data[0] & 1, data + 1, size - 1);
	return 0;
}

/* The files that a small cache leaves behind. */
static struct bytes left_behind(unsigned records, bool more)
{
	struct bed *bed = bed_ready();
	struct budget budget;
	struct memory memory = {.budget = &budget};
	struct manifest manifest;
	struct thermo_space *space;
	const char *why;
	check(bed_open(bed) == 0);
	for (uint32_t i = 0; i < records; i++)
		check(bed_put(bed->space, i, i + 1, 40) == THERMO_OK);
	if (more) {
		char large[40000] = "large";
		check(thermo_space_open(bed->cache, "other", NULL, &space, NULL) == 0);
		check(thermo_put(space, "k", 1, "v", 1, 5000) == THERMO_OK);
		check(thermo_put(space, "gone", 4, "", 0, 0) == THERMO_OK);
		check(thermo_put(space, "large", 5, large, sizeof(large), 0) == THERMO_OK);
		check(thermo_delete(space, "gone", 4) == THERMO_OK);
	}
	check(thermo_close(&bed->cache, 0, &bed->error) == 0);
	struct bytes file = file_take(bed, MANIFEST_NAME), image = file_take(bed, "memory.img");
	budget_init(&budget, UINT64_C(1) << 30);
	check(heap_open("libc", NULL, 1u << 20, NULL, &memory.heap, NULL) == 0);
	check(manifest_decode(&memory, file.start, file.len, &manifest, &why) == 0);
	uint16_t len = (uint16_t)manifest.meta_bytes;
	struct bytes all = {malloc(2 + len + image.len), 2 + len + image.len};
	check(all.start);
	memcpy(all.start, &len, 2);
	memcpy(all.start + 2, manifest.meta, len);
	memcpy(all.start + 2 + len, image.start, image.len);
	manifest_clear(&memory, &manifest);
	heap_close(&memory.heap);
	free(file.start);
	free(image.start);
	scratch_close(&bed->scratch);
	return all;
}

void fuzz_seeds(const char *folder)
{
	static const struct {
		const char *name;
		unsigned records;
		bool more;
		unsigned items;
	} seeds[] = {{"empty", 0, false, 0}, {"few", 4, false, 4}, {"more", 2, true, 4}};
	for (size_t i = 0; i < SUITE_COUNT(seeds); i++) {
		struct bytes all = left_behind(seeds[i].records, seeds[i].more);
		fuzz_seed(folder, seeds[i].name, 1, all.start, all.len);
		files_try(true, all.start, all.len);
		check(items == seeds[i].items); /* what is whole comes back */
		free(all.start);
	}
}
