/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest: manifest_decode on any bytes; what it takes says the same after encoding and
 * decoding. Way 1: the length and the checksum are put right first, so that what lies behind them
 * is reached. */
#include "alloc/check.h"
#include "alloc/heap.h"
#include "alloc/budget.h"
#include "tests/fuzz.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/memory.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static struct budget budget;
static struct memory memory = {.budget = &budget};

static void memory_ready(void)
{
	if (memory.heap)
		return;
	budget_init(&budget, UINT64_C(1) << 30);
	check(heap_open("libc", NULL, 256u << 20, NULL, &memory.heap, NULL) == 0);
}

static void seal(uint8_t *bytes, size_t len)
{
	uint32_t all = (uint32_t)len;
	if (len < sizeof(struct manifest_head) + 8)
		return;
	memcpy(bytes + offsetof(struct manifest_head, bytes), &all, sizeof(all));
	uint64_t hash = XXH3_64bits(bytes, len - sizeof(hash));
	memcpy(bytes + len - sizeof(hash), &hash, sizeof(hash));
}

static void compare(const struct manifest *a, const struct manifest *b)
{
	check(a->generation == b->generation && a->next_number == b->next_number);
	check(a->max_seq == b->max_seq && !memcmp(a->below, b->below, sizeof(a->below)));
	check(a->n_runs == b->n_runs && a->n_segments == b->n_segments && a->n_keys == b->n_keys);
	check(a->meta_bytes == b->meta_bytes);
	check(!a->n_runs || !memcmp(a->runs, b->runs, a->n_runs * sizeof(*a->runs)));
	check(!a->n_segments ||
	      !memcmp(a->segments, b->segments, a->n_segments * sizeof(*a->segments)));
	check(!a->n_keys || !memcmp(a->keys, b->keys, a->n_keys * sizeof(*a->keys)));
	check(!a->meta_bytes || !memcmp(a->meta, b->meta, a->meta_bytes));
}

static void again(const struct manifest *manifest)
{
	struct manifest second;
	const char *why = NULL;
	size_t len = manifest_bytes(manifest);
	uint8_t *bytes = malloc(len);
	check(bytes);
	manifest_encode(manifest, bytes);
	check(manifest_decode(&memory, bytes, len, &second, &why) == 0);
	compare(manifest, &second);
	manifest_clear(&memory, &second);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest manifest;
	const char *why = NULL;
	if (!size)
		return 0;
	memory_ready();
	uint8_t *bytes = malloc(size);
	check(bytes);
	memcpy(bytes, data + 1, size - 1);
	if (data[0] & 1)
		seal(bytes, size - 1);
	int rc = manifest_decode(&memory, bytes, size - 1, &manifest, &why);
	if (rc) {
		check(rc == -EILSEQ || rc == -EPROTO);
		fuzz_line(why);
	} else {
		again(&manifest);
	}
	manifest_clear(&memory, &manifest);
	check(heap_used(memory.heap) == 0 && atomic_load(&budget.used) == 0);
	free(bytes);
	return 0;
}

static void seed(const char *folder, const char *name, uint8_t way, const struct manifest *manifest)
{
	size_t len = manifest_bytes(manifest);
	uint8_t *bytes = malloc(len);
	check(bytes);
	manifest_encode(manifest, bytes);
	fuzz_seed(folder, name, way, bytes, len);
	free(bytes);
}

void fuzz_seeds(const char *folder)
{
	struct manifest_run runs[2] = {{.segments = 2, .level = 1},
				       {.segments = 1, .from_hash = 5, .from_space = 1}};
	struct manifest_segment segments[3] = {{7, 65536, 11}, {8, 32768, 12}, {2, 20480, 13}};
	struct manifest_key keys[3] = {
		{.below_seq = 3, .key_len = 3, .space = 1, .key = "key"},
		{.below_seq = 4, .key_len = 9, .space = 2, .flags = 2, .key = "chunk key"},
		{.below_seq = 5, .key_len = 4, .space = 2, .flags = COLD_NUMBERED, .key = "\7"}};
	uint8_t meta[5] = "meta";
	struct manifest manifest = {.generation = 3, .next_number = 9, .max_seq = 100};
	seed(folder, "empty", 0, &manifest);
	manifest.runs = runs;
	manifest.n_runs = 2;
	manifest.segments = segments;
	manifest.n_segments = 3;
	seed(folder, "runs", 1, &manifest);
	manifest.below[4] = 77;
	manifest.keys = keys;
	manifest.n_keys = 3;
	manifest.meta = meta;
	manifest.meta_bytes = sizeof(meta);
	seed(folder, "all", 1, &manifest);
}
