/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fences: which one block of a run could hold an identity. 4 KiB pages of truncated separators, used in
 * DRAM as they lie in the file; pages are searched by their first separator, then a page by halving.
 *
 * Life-cycle: a builder takes the blocks of a run in order; fence_check proves pages that were read from
 * a file; only proved pages may be searched. Searching is thread-safe.
 */
#ifndef TIERS_COLD_FENCE_H
#define TIERS_COLD_FENCE_H

#include "tiers/cold/format.h"
#include "tiers/cold/ident.h"

struct memory;

/* Where a block is: it begins at start and ends before end (with padding, the last page of it included). */
struct fence_place {
	uint64_t start;
	uint64_t end;
};

/* A position in the fences, for going through all blocks in order. */
struct fence_cursor {
	uint64_t page;
	uint32_t entry;
};

/* Proves n pages: in bounds, in order, offsets rising, blocks within [from, to). 0 or -EILSEQ. */
int fence_check(const uint8_t *pages, uint64_t n, uint64_t number, uint64_t from, uint64_t to);
/* The block that could hold the identity: THERMO_OK, or THERMO_MISS (it is below the first). */
int fence_find(const uint8_t *pages, uint64_t n, const struct ident *ident,
	       struct fence_cursor *cursor);
/* The block at the cursor: THERMO_OK, or THERMO_MISS past the last. */
int fence_place(const uint8_t *pages, uint64_t n, const struct fence_cursor *cursor,
		struct fence_place *place);
void fence_step(const uint8_t *pages, struct fence_cursor *cursor);

/* ---- Building ---- */

#define FENCE_ENTRIES_MAX ((FORMAT_PAGE - sizeof(struct fence_page)) / sizeof(struct fence_entry))

struct fence_pending {
	uint64_t start;
	uint32_t key_at; /* in keys[] */
	uint16_t key_len;
	uint8_t chunk;
};

struct fence_builder {
	struct memory *memory;
	uint8_t *pages;     /* memory_alloc(room pages); the caller may take it after fence_finish */
	uint64_t n, room;   /* pages filled, pages there is memory for */
	uint64_t number;    /* of the run */
	uint64_t end;       /* of the last block */
	uint32_t entries;   /* pending */
	uint32_t keys_len;  /* bytes of pending separators */
	uint32_t common;    /* bytes that all of them share */
	struct fence_pending pending[FENCE_ENTRIES_MAX];
	uint8_t keys[FORMAT_PAGE * 8];
};

void fence_start(struct fence_builder *builder, struct memory *memory, uint64_t number);
/* A block at start whose first identity is `first`, after one whose last identity was `last` (NULL: the
 * first block). -ENOMEM. */
int fence_add(struct fence_builder *builder, const struct ident *last, const struct ident *first,
	      uint64_t start, uint64_t end);
/* The last page; then pages[0 .. n * FORMAT_PAGE) are whole. -ENOMEM. */
int fence_finish(struct fence_builder *builder);
void fence_abort(struct fence_builder *builder);

#endif
