/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/expect.h"

#include <errno.h>
#include <stdlib.h>

#include "tools/mix.h"

#define FIRST_SLOTS 4096u

int expect_open(struct expect *expect)
{
	*expect = (struct expect){.mask = FIRST_SLOTS - 1};
	expect->entries = calloc(FIRST_SLOTS, sizeof(*expect->entries));
	return expect->entries ? 0 : -ENOMEM;
}

void expect_close(struct expect *expect)
{
	free(expect->entries);
	*expect = (struct expect){0};
}

static uint64_t slot_of(uint8_t space, uint64_t id)
{
	return mix64(id + ((uint64_t)space << 56));
}

static int grow(struct expect *expect)
{
	uint64_t slots = (expect->mask + 1) * 2;
	struct expect_entry *entries = calloc(slots, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (uint64_t i = 0; i <= expect->mask; i++) {
		if (!expect->entries[i].key_len)
			continue;
		uint64_t to =
			slot_of(expect->entries[i].space, expect->entries[i].id) & (slots - 1);
		while (entries[to].key_len)
			to = (to + 1) & (slots - 1);
		entries[to] = expect->entries[i];
	}
	free(expect->entries);
	expect->entries = entries;
	expect->mask = slots - 1;
	return 0;
}

struct expect_entry *expect_get(struct expect *expect, uint8_t space, uint64_t id, uint16_t key_len)
{
	if (expect->count >= (expect->mask + 1) / 4 * 3 && grow(expect))
		return NULL;
	uint64_t at = slot_of(space, id) & expect->mask;
	struct expect_entry *entry;
	for (; (entry = &expect->entries[at])->key_len; at = (at + 1) & expect->mask)
		if (entry->id == id && entry->space == space && entry->key_len == key_len)
			return entry;
	*entry = (struct expect_entry){.id = id, .key_len = key_len, .space = space};
	expect->count++;
	return entry;
}

struct expect_entry *expect_next(const struct expect *expect, uint64_t *at)
{
	while (*at <= expect->mask) {
		struct expect_entry *entry = &expect->entries[(*at)++];
		if (entry->key_len)
			return entry;
	}
	return NULL;
}
