/* SPDX-License-Identifier: Apache-2.0 */
/* The floor's memory, and the choice of its instruction set. The searches are in floor_probe.c. */
#include "tools/floor_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)

/* Zeroed and populated memory at a multiple of 2 MiB, huge pages if the kernel gives them. NULL when
 * there is none. *bytes is rounded up to what was taken. */
static void *map_huge(size_t *bytes)
{
	size_t want = (*bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
	char *map = mmap(NULL, want + HUGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	size_t before = (HUGE_BYTES - ((uintptr_t)map & (HUGE_BYTES - 1))) & (HUGE_BYTES - 1);
	if (before)
		munmap(map, before);
	if (HUGE_BYTES - before)
		munmap(map + before + want, HUGE_BYTES - before);
	map += before;
	/* Without huge pages it is slower, and right all the same. */
	madvise(map, want, MADV_HUGEPAGE);
	memset(map, 0, want);
	*bytes = want;
	return map;
}

static const struct floor_ops *choose_ops(bool common)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
		return common ? &floor_avx512_16_64 : &floor_avx512_any;
	if (__builtin_cpu_supports("avx2"))
		return common ? &floor_avx2_16_64 : &floor_avx2_any;
#endif
	return common ? &floor_plain_16_64 : &floor_plain_any;
}

int floor_open(struct floor **out, uint64_t n, uint32_t key_len, uint32_t value_len)
{
	if (!n || !key_len)
		return -EINVAL;
	uint64_t stride = ((uint64_t)key_len + value_len + 7) & ~UINT64_C(7);
	if (n > ((uint64_t)1 << 40) || stride > ((uint64_t)1 << 46) / n)
		return -EOVERFLOW;

	struct floor *table = calloc(1, sizeof(*table));
	if (!table)
		return -ENOMEM;
	table->groups = (uint64_t)((double)n / FLOOR_LOAD / FLOOR_GROUP) + 1;
	table->key_len = key_len;
	table->value_len = value_len;
	table->stride = stride;
	table->most = n;
	table->ops = choose_ops(key_len == 16 && value_len == 64);

	table->tag_bytes = table->groups * FLOOR_GROUP * sizeof(*table->tags);
	table->slot_bytes = table->groups * FLOOR_GROUP * stride;
	table->tags = map_huge(&table->tag_bytes);
	if (!table->tags)
		goto free_table;
	table->slots = map_huge(&table->slot_bytes);
	if (!table->slots)
		goto unmap_tags;
	*out = table;
	return 0;

unmap_tags:
	munmap(table->tags, table->tag_bytes);
free_table:
	free(table);
	return -ENOMEM;
}

void floor_close(struct floor **pointer)
{
	struct floor *table = *pointer;
	if (!table)
		return;
	munmap(table->tags, table->tag_bytes);
	munmap(table->slots, table->slot_bytes);
	free(table);
	*pointer = NULL;
}

int floor_put(struct floor *table, const void *key, const void *value)
{
	return table->ops->put(table, key, value);
}

bool floor_get(const struct floor *table, const void *key, void *value)
{
	return table->ops->get(table, key, value);
}

uint64_t floor_get_batch(const struct floor *table, const void *const *keys, void *const *values,
			 unsigned n)
{
	return table->ops->get_batch(table, keys, values, n);
}

int floor_put_batch(struct floor *table, const void *const *keys, const void *const *values,
		    unsigned n)
{
	return table->ops->put_batch(table, keys, values, n);
}

uint64_t floor_count(const struct floor *table)
{
	return table->count;
}

uint64_t floor_bytes(const struct floor *table)
{
	return sizeof(*table) + table->tag_bytes + table->slot_bytes;
}

const char *floor_isa(const struct floor *table)
{
	return table->ops->isa;
}
