/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multikey quicksort with eight cached bytes (after Bentley and Sedgewick 1997, and Ng and Kakehi 2007):
 * entries are split in three by their cached word; the middle part, whose words are equal, goes on with
 * the next eight bytes. Long common prefixes are so looked at once a level, not once a comparison.
 */
#include "tiers/cold/sort.h"

#define SMALL 12 /* entries that insertion sort takes */

static struct ident held_ident(const struct held *held)
{
	return (struct ident){ (const uint8_t *)(held + 1), held->ident_len,
			       held->flags & COLD_CHUNK };
}

/* In full, whatever is cached. */
static int compare(char *arena, const struct sort_entry *a, const struct sort_entry *b)
{
	const struct held *x = sort_held(arena, a), *y = sort_held(arena, b);
	struct ident p = held_ident(x), q = held_ident(y);
	int order = ident_compare(&p, &q);
	if (order)
		return order;
	return x->seq > y->seq ? -1 : x->seq < y->seq;
}

/* Bytes beyond the identity's end count as zero; the caller tells such words apart by length. */
static uint64_t word_at(const struct held *held, uint32_t depth)
{
	const uint8_t *bytes = (const uint8_t *)(held + 1);
	uint64_t word = 0;
	if (depth + 8 <= held->ident_len) {
		memcpy(&word, bytes + depth, 8);
		return __builtin_bswap64(word);
	}
	for (uint32_t i = depth; i < depth + 8; i++)
		word = word << 8 | (i < held->ident_len ? bytes[i] : 0);
	return word;
}

static void insertion_sort(char *arena, struct sort_entry *entries, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct sort_entry entry = entries[i];
		size_t j = i;
		for (; j && compare(arena, &entries[j - 1], &entry) > 0; j--)
			entries[j] = entries[j - 1];
		entries[j] = entry;
	}
}

static void sift(char *arena, struct sort_entry *entries, size_t at, size_t n)
{
	struct sort_entry entry = entries[at];
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && compare(arena, &entries[child], &entries[child + 1]) < 0)
			child++;
		if (compare(arena, &entry, &entries[child]) >= 0)
			break;
		entries[at] = entries[child];
	}
	entries[at] = entry;
}

static void heap_sort(char *arena, struct sort_entry *entries, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift(arena, entries, i, n);
	while (n > 1) {
		struct sort_entry last = entries[--n];
		entries[n] = entries[0];
		entries[0] = last;
		sift(arena, entries, 0, n);
	}
}

static uint64_t median(uint64_t a, uint64_t b, uint64_t c)
{
	if (a > b) {
		uint64_t t = a;
		a = b;
		b = t;
	}
	return c <= a ? a : c >= b ? b : c;
}

/* Splits by the words' pivot: below [0, *low), equal [*low, *high), above [*high, n). */
static void split(struct sort_entry *entries, size_t n, size_t *low, size_t *high)
{
	uint64_t pivot = median(entries[0].word, entries[n / 2].word, entries[n - 1].word);
	size_t below = 0, at = 0, above = n;
	while (at < above) {
		struct sort_entry entry = entries[at];
		if (entry.word < pivot) {
			entries[at++] = entries[below];
			entries[below++] = entry;
		} else if (entry.word > pivot) {
			entries[at] = entries[--above];
			entries[above] = entry;
		} else {
			at++;
		}
	}
	*low = below;
	*high = above;
}

static void sort_words(char *arena, struct sort_entry *entries, size_t n, uint32_t depth,
		       unsigned budget);

/* Entries that agree in all bytes before depth. */
static void sort_from(char *arena, struct sort_entry *entries, size_t n, uint32_t depth)
{
	if (n < 2)
		return;
	for (size_t i = 0; i < n; i++)
		entries[i].word = word_at(sort_held(arena, &entries[i]), depth);
	sort_words(arena, entries, n, depth, 2 * (64 - (unsigned)__builtin_clzll(n)));
}

/* Words that are equal and reach beyond nobody's end go on; others are compared in full. */
static void sort_equal(char *arena, struct sort_entry *entries, size_t n, uint32_t depth)
{
	for (size_t i = 0; i < n; i++) {
		if (sort_held(arena, &entries[i])->ident_len < depth + 8) {
			heap_sort(arena, entries, n);
			return;
		}
	}
	sort_from(arena, entries, n, depth + 8);
}

/* budget: splits that may go badly before heap sort takes over. */
static void sort_words(char *arena, struct sort_entry *entries, size_t n, uint32_t depth,
		       unsigned budget)
{
	while (n > SMALL) {
		size_t low, high;
		if (!budget--) {
			heap_sort(arena, entries, n);
			return;
		}
		split(entries, n, &low, &high);
		sort_equal(arena, entries + low, high - low, depth);
		if (low < n - high) {
			sort_words(arena, entries, low, depth, budget);
			entries += high;
			n -= high;
		} else {
			sort_words(arena, entries + high, n - high, depth, budget);
			n = low;
		}
	}
	insertion_sort(arena, entries, n);
}

void sort_entries(char *arena, struct sort_entry *entries, size_t n)
{
	sort_from(arena, entries, n, 0);
}
