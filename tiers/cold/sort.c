/* SPDX-License-Identifier: Apache-2.0 */
/*
 * American flag sort (McIlroy, Bostic, McIlroy, "Engineering radix sort", 1993) by the space's byte and
 * then the hash's, highest first: hashes are spread evenly, so two or three passes leave buckets that
 * insertion sort finishes.
 */
#include "tiers/cold/sort.h"

#define SMALL 24   /* entries that insertion sort takes */
#define BYTES 9u   /* space, then hash */

static unsigned byte_of(const struct sort_entry *entry, unsigned depth)
{
	return depth ? entry->hash >> (64 - 8 * depth) & 0xff : (unsigned)(entry->at >> 56);
}

static int compare(char *arena, const struct sort_entry *a, const struct sort_entry *b)
{
	struct point p = sort_point(a), q = sort_point(b);
	if (point_before(p, q))
		return -1;
	if (point_before(q, p))
		return 1;
	const struct held *x = sort_held(arena, a), *y = sort_held(arena, b);
	struct ident i = sort_ident(x), j = sort_ident(y);
	int order = ident_compare(&i, &j);
	if (order)
		return order;
	return x->seq > y->seq ? -1 : x->seq < y->seq;
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

/* Where there are many of one point (the same key again and again). */
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

/* Brings every entry into its byte's bucket; end[b] is where bucket b ends. */
static void flag(struct sort_entry *entries, size_t n, unsigned depth, size_t end[256])
{
	size_t next[256], count[256] = { 0 }, at = 0;
	for (size_t i = 0; i < n; i++)
		count[byte_of(&entries[i], depth)]++;
	for (unsigned b = 0; b < 256; b++) {
		next[b] = at;
		at += count[b];
		end[b] = at;
	}
	for (unsigned b = 0; b < 256; b++) {
		while (next[b] < end[b]) {
			struct sort_entry entry = entries[next[b]];
			unsigned to = byte_of(&entry, depth);
			entries[next[b]] = entries[next[to]];
			entries[next[to]++] = entry;
		}
	}
}

static void sort_from(char *arena, struct sort_entry *entries, size_t n, unsigned depth)
{
	size_t end[256], begin = 0;
	if (n <= SMALL) {
		insertion_sort(arena, entries, n);
		return;
	}
	if (depth == BYTES) {
		heap_sort(arena, entries, n);
		return;
	}
	flag(entries, n, depth, end);
	for (unsigned b = 0; b < 256; b++) {
		sort_from(arena, entries + begin, end[b] - begin, depth + 1);
		begin = end[b];
	}
}

void sort_entries(char *arena, struct sort_entry *entries, size_t n)
{
	sort_from(arena, entries, n, 0);
}
