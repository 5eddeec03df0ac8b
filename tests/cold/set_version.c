/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a directory of the cold tier look as if another version had written it, checksums and all,
 * for the tests of the tools: set_version DIRECTORY segment|manifest VERSION. Of the segments, the
 * newest run's first.
 */
#include "alloc/budget.h"
#include "alloc/heap.h"
#include "tiers/cold/cold_segment.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/memory.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static uint64_t seal(uint8_t *bytes, size_t len)
{
	uint64_t hash = XXH3_64bits(bytes, len - sizeof(hash));
	memcpy(bytes + len - sizeof(hash), &hash, sizeof(hash));
	return hash;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_in(const char *directory, const char *name, size_t *len)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	*len = (size_t)lseek(fd, 0, SEEK_END);
	return fd;
}

/* Changes the footer of the file that the entry means, and the entry with it. */
static void set_segment(const char *directory, struct manifest_segment *entry, uint32_t version)
{
	char name[SEGMENT_NAME_BYTES];
	uint8_t page[FORMAT_PAGE];
	size_t len;
	cold_segment_name(entry->number, name);
	int fd = open_in(directory, name, &len);
	off_t at = (off_t)(len - FORMAT_PAGE);
	if (pread(fd, page, sizeof(page), at) != sizeof(page))
		fail(name);
	memcpy(page + offsetof(struct segment_footer, version), &version, sizeof(version));
	entry->footer_hash = seal(page, sizeof(page));
	if (pwrite(fd, page, sizeof(page), at) != sizeof(page))
		fail(name);
	close(fd);
}

int main(int argc, char **argv)
{
	struct budget budget;
	struct memory memory = {.budget = &budget};
	struct manifest manifest;
	const char *why = "";
	size_t len;
	if (argc != 4)
		return 2;
	uint32_t version = (uint32_t)strtoul(argv[3], NULL, 10);
	int fd = open_in(argv[1], MANIFEST_NAME, &len);
	uint8_t *bytes = malloc(len);
	budget_init(&budget, UINT64_C(1) << 30);
	if (!bytes || heap_open("libc", NULL, 64u << 20, NULL, &memory.heap, NULL) ||
	    pread(fd, bytes, len, 0) != (ssize_t)len)
		fail(MANIFEST_NAME);
	if (manifest_decode(&memory, bytes, len, &manifest, &why) || !manifest.n_segments) {
		fprintf(stderr, "%s: %s\n", argv[1], why);
		return 1;
	}
	if (!strcmp(argv[2], "segment"))
		set_segment(argv[1], &manifest.segments[0], version);
	manifest_encode(&manifest, bytes);
	if (!strcmp(argv[2], "manifest")) {
		memcpy(bytes + offsetof(struct manifest_head, version), &version, sizeof(version));
		seal(bytes, len);
	}
	if (pwrite(fd, bytes, len, 0) != (ssize_t)len)
		fail(MANIFEST_NAME);
	manifest_clear(&memory, &manifest);
	heap_close(&memory.heap);
	free(bytes);
	close(fd);
	return 0;
}
