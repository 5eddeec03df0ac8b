/* SPDX-License-Identifier: Apache-2.0 */
/* Fences: see fence.h for the contracts, format.h for the bytes. */
#include "tiers/cold/fence.h"

#include "alloc/check.h"
#include "tiers/cold/crc.h"
#include "tiers/cold/memory.h"

#include <errno.h>

/* ---- Reading ---- */

static struct fence_page page_head(const uint8_t *page)
{
	struct fence_page head;
	memcpy(&head, page, sizeof(head));
	return head;
}

static struct fence_entry page_entry(const uint8_t *page, uint32_t common, uint32_t i)
{
	struct fence_entry entry;
	memcpy(&entry, page + sizeof(struct fence_page) + common + i * sizeof(entry), sizeof(entry));
	return entry;
}

static uint32_t entry_start(const struct fence_entry *entry)
{
	return (uint32_t)entry->start_high << 16 | entry->start_low;
}

/* Compares the page's i-th separator, of a proved page, with the identity. */
static int compare_entry(const uint8_t *page, const struct fence_page *head, uint32_t i,
			 const struct ident *ident)
{
	uint32_t common = head->common;
	const uint8_t *prefix = page + sizeof(*head);
	int order = memcmp(prefix, ident->bytes, common < ident->len ? common : ident->len);
	if (order || ident->len < common)
		return order ? order : 1;
	struct fence_entry entry = page_entry(page, common, i);
	uint32_t from = entry.key_at & FENCE_AT, to = head->used;
	if (i + 1u < head->entries)
		to = page_entry(page, common, i + 1).key_at & FENCE_AT;
	struct ident rest = { ident->bytes + common, ident->len - common, ident->chunk };
	struct ident separator = { page + from, to - from, entry.key_at & FENCE_CHUNK ? COLD_CHUNK : 0 };
	return ident_compare(&separator, &rest);
}

/* The separator in full, into buffer (IDENT_MAX). */
static struct ident entry_ident(const uint8_t *page, const struct fence_page *head, uint32_t i,
				uint8_t *buffer)
{
	struct fence_entry entry = page_entry(page, head->common, i);
	uint32_t from = entry.key_at & FENCE_AT, to = head->used;
	if (i + 1u < head->entries)
		to = page_entry(page, head->common, i + 1).key_at & FENCE_AT;
	memcpy(buffer, page + sizeof(*head), head->common);
	memcpy(buffer + head->common, page + from, to - from);
	return (struct ident){ buffer, head->common + to - from,
			       entry.key_at & FENCE_CHUNK ? COLD_CHUNK : 0 };
}

/* One page's own bounds: entries and separators lie inside it, offsets rise. */
static int check_page(const uint8_t *page, uint64_t from, uint64_t to)
{
	struct fence_page head = page_head(page);
	size_t keys_at = sizeof(head) + head.common + head.entries * sizeof(struct fence_entry);
	if (!head.entries || head.used > FORMAT_PAGE || keys_at > head.used ||
	    head.base < from || head.base > to || head.span > to - head.base)
		return -EILSEQ;
	uint32_t key_before = (uint32_t)keys_at, start_before = 0;
	for (uint32_t i = 0; i < head.entries; i++) {
		struct fence_entry entry = page_entry(page, head.common, i);
		uint32_t key_at = entry.key_at & FENCE_AT, start = entry_start(&entry);
		uint32_t next = head.used;
		if (i + 1u < head.entries)
			next = page_entry(page, head.common, i + 1).key_at & FENCE_AT;
		if (key_at < key_before || next < key_at || next > head.used ||
		    head.common + next - key_at > IDENT_MAX || (i ? start <= start_before : start))
			return -EILSEQ;
		key_before = key_at;
		start_before = start;
	}
	return start_before < head.span ? 0 : -EILSEQ;
}

int fence_check(const uint8_t *pages, uint64_t n, uint64_t number, uint64_t from, uint64_t to)
{
	uint8_t keys[2][IDENT_MAX];
	struct ident before = { 0 };
	unsigned turn = 0;
	for (uint64_t p = 0; p < n; p++) {
		const uint8_t *page = pages + p * FORMAT_PAGE;
		struct fence_page head = page_head(page);
		if (head.crc != crc_placed(number, p, page + sizeof(head.crc),
					   FORMAT_PAGE - sizeof(head.crc)) ||
		    check_page(page, from, to))
			return -EILSEQ;
		for (uint32_t i = 0; i < head.entries; i++, turn ^= 1) {
			struct ident now = entry_ident(page, &head, i, keys[turn]);
			if (!now.len || (before.len && ident_compare(&before, &now) >= 0))
				return -EILSEQ;
			before = now;
		}
		from = head.base + head.span;
	}
	return 0;
}

int fence_find(const uint8_t *pages, uint64_t n, const struct ident *ident,
	       struct fence_cursor *cursor)
{
	/* The last page whose first separator is not above ident, then the last such entry in it. */
	uint64_t low = 0, high = n;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const uint8_t *page = pages + middle * FORMAT_PAGE;
		struct fence_page head = page_head(page);
		if (compare_entry(page, &head, 0, ident) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return THERMO_MISS;
	cursor->page = low - 1;
	const uint8_t *page = pages + cursor->page * FORMAT_PAGE;
	struct fence_page head = page_head(page);
	uint32_t a = 1, b = head.entries;
	while (a < b) {
		uint32_t middle = a + (b - a) / 2;
		if (compare_entry(page, &head, middle, ident) <= 0)
			a = middle + 1;
		else
			b = middle;
	}
	cursor->entry = a - 1;
	return THERMO_OK;
}

int fence_place(const uint8_t *pages, uint64_t n, const struct fence_cursor *cursor,
		struct fence_place *place)
{
	if (cursor->page >= n)
		return THERMO_MISS;
	const uint8_t *page = pages + cursor->page * FORMAT_PAGE;
	struct fence_page head = page_head(page);
	struct fence_entry entry = page_entry(page, head.common, cursor->entry);
	place->start = head.base + entry_start(&entry);
	place->end = head.base + head.span;
	if (cursor->entry + 1u < head.entries) {
		entry = page_entry(page, head.common, cursor->entry + 1);
		place->end = head.base + entry_start(&entry);
	}
	return THERMO_OK;
}

void fence_step(const uint8_t *pages, struct fence_cursor *cursor)
{
	struct fence_page head = page_head(pages + cursor->page * FORMAT_PAGE);
	if (++cursor->entry == head.entries) {
		cursor->entry = 0;
		cursor->page++;
	}
}

/* ---- Building ---- */

void fence_start(struct fence_builder *builder, struct memory *memory, uint64_t number)
{
	builder->memory = memory;
	builder->pages = NULL;
	builder->n = builder->room = builder->end = 0;
	builder->number = number;
	builder->entries = builder->keys_len = builder->common = 0;
}

static int page_room(struct fence_builder *builder)
{
	if (builder->n < builder->room)
		return 0;
	uint64_t room = builder->room ? builder->room * 2 : 1;
	uint8_t *pages = memory_grow(builder->memory, builder->pages, builder->room * FORMAT_PAGE,
				     builder->n * FORMAT_PAGE, room * FORMAT_PAGE);
	if (!pages)
		return -ENOMEM;
	builder->pages = pages;
	builder->room = room;
	return 0;
}

/* Writes the pending separators as one page. */
static int flush_page(struct fence_builder *builder)
{
	int status = page_room(builder);
	if (status)
		return status;
	uint8_t *page = builder->pages + builder->n * FORMAT_PAGE;
	uint32_t common = builder->common;
	struct fence_page head = { .entries = (uint16_t)builder->entries,
				   .common = (uint16_t)common,
				   .base = builder->pending[0].start };
	head.span = (uint32_t)(builder->end - head.base);
	uint8_t *entry_at = page + sizeof(head) + common;
	uint32_t at = (uint32_t)(sizeof(head) + common +
				 builder->entries * sizeof(struct fence_entry));
	memset(page, 0, FORMAT_PAGE);
	memcpy(page + sizeof(head), builder->keys + builder->pending[0].key_at, common);
	for (uint32_t i = 0; i < builder->entries; i++) {
		const struct fence_pending *pending = &builder->pending[i];
		uint32_t start = (uint32_t)(pending->start - head.base);
		struct fence_entry entry = { (uint16_t)start, (uint16_t)(start >> 16),
					     (uint16_t)(at | (pending->chunk ? FENCE_CHUNK : 0)) };
		memcpy(entry_at + i * sizeof(entry), &entry, sizeof(entry));
		memcpy(page + at, builder->keys + pending->key_at + common,
		       pending->key_len - common);
		at += pending->key_len - common;
	}
	check(at <= FORMAT_PAGE);
	head.used = (uint16_t)at;
	memcpy(page, &head, sizeof(head));
	head.crc = crc_placed(builder->number, builder->n, page + sizeof(head.crc),
			      FORMAT_PAGE - sizeof(head.crc));
	memcpy(page, &head.crc, sizeof(head.crc));
	builder->n++;
	builder->entries = builder->keys_len = builder->common = 0;
	return 0;
}

int fence_add(struct fence_builder *builder, const struct ident *last, const struct ident *first,
	      uint64_t start, uint64_t end)
{
	struct ident separator = *first;
	if (last) {
		uint32_t shared = ident_shared(last->bytes, last->len, first->bytes, first->len);
		if (shared < first->len)
			separator = (struct ident){ first->bytes, shared + 1, 0 };
	}
	uint32_t common = separator.len;
	if (builder->entries) {
		common = ident_shared(builder->keys, builder->common, separator.bytes, separator.len);
		size_t page = sizeof(struct fence_page) + common + builder->keys_len +
			      separator.len - (builder->entries + 1) * common +
			      (builder->entries + 1) * sizeof(struct fence_entry);
		if (page > FORMAT_PAGE || builder->keys_len + separator.len > sizeof(builder->keys) ||
		    builder->entries == FENCE_ENTRIES_MAX) {
			int status = flush_page(builder);
			if (status)
				return status;
			common = separator.len;
		}
	}
	builder->common = common;
	builder->pending[builder->entries++] = (struct fence_pending){
		start, builder->keys_len, (uint16_t)separator.len, separator.chunk
	};
	memcpy(builder->keys + builder->keys_len, separator.bytes, separator.len);
	builder->keys_len += separator.len;
	builder->end = end;
	return 0;
}

int fence_finish(struct fence_builder *builder)
{
	return builder->entries ? flush_page(builder) : 0;
}

void fence_abort(struct fence_builder *builder)
{
	memory_free(builder->memory, builder->pages, builder->room * FORMAT_PAGE);
	builder->pages = NULL;
	builder->n = builder->room = 0;
}
