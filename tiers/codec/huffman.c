/* SPDX-License-Identifier: Apache-2.0 */
/* Length-limited canonical Huffman codes. */
#include "tiers/codec/model_private.h"

#include <stdlib.h>

static int by_count(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* Depths of the leaves, which are sorted by weight, lightest first, in place (Moffat and
 * Katajainen, 1995). */
static void minimum_redundancy(uint64_t *a, unsigned n)
{
	unsigned root = 0, leaf = 2, next;
	a[0] += a[1];
	for (next = 1; next < n - 1; next++) {
		if (leaf >= n || a[root] < a[leaf]) {
			a[next] = a[root];
			a[root++] = next;
		} else {
			a[next] = a[leaf++];
		}
		if (leaf >= n || (root < next && a[root] < a[leaf])) {
			a[next] += a[root];
			a[root++] = next;
		} else {
			a[next] += a[leaf++];
		}
	}
	a[n - 2] = 0;
	for (unsigned i = n - 2; i-- > 0;)
		a[i] = a[a[i]] + 1;
	unsigned available = 1, used = 0, depth = 0, at = n;
	int inner = (int)n - 2;
	while (available > 0) {
		while (inner >= 0 && a[inner] == depth) {
			used++;
			inner--;
		}
		while (available > used) {
			a[--at] = depth;
			available--;
		}
		available = 2 * used;
		depth++;
		used = 0;
	}
}

/* Cuts depths (heaviest leaf last) at the limit, then lengthens the lightest that can be until it
 * is a code. */
static void limit_depths(uint64_t *depth, unsigned n)
{
	uint64_t kraft = 0, full = UINT64_C(1) << CODE_BITS_MAX;
	for (unsigned i = 0; i < n; i++) {
		depth[i] = depth[i] > CODE_BITS_MAX ? CODE_BITS_MAX : depth[i];
		kraft += full >> depth[i];
	}
	for (unsigned i = 0; kraft > full && i < n; i++)
		while (depth[i] < CODE_BITS_MAX && kraft > full) {
			depth[i]++;
			kraft -= full >> depth[i];
		}
	for (unsigned i = n; i-- > 0;) /* what is left over goes to the heaviest */
		while (depth[i] > 1 && kraft + (full >> depth[i]) <= full) {
			kraft += full >> depth[i];
			depth[i]--;
		}
}

uint64_t huffman_lengths(const uint64_t *counts, unsigned n, uint8_t *lengths, uint64_t *scratch)
{
	uint64_t *weight = scratch, *order = scratch + n, bits = 0;
	unsigned k = 0;
	memset(lengths, 0, n);
	for (unsigned i = 0; i < n; i++) {
		if (!counts[i])
			continue;
		order[2 * k] = counts[i];
		order[2 * k++ + 1] = i;
	}
	qsort(order, k, 2 * sizeof(order[0]), by_count);
	for (unsigned i = 0; i < k; i++)
		weight[i] = order[2 * i];
	if (k == 1)
		weight[0] = 1;
	else if (k > 1)
		minimum_redundancy(weight, k);
	limit_depths(weight, k);
	for (unsigned i = 0; i < k; i++) {
		lengths[order[2 * i + 1]] = (uint8_t)weight[i];
		bits += order[2 * i] * weight[i];
	}
	return bits;
}

bool huffman_codes(const uint8_t *lengths, unsigned n, uint16_t *codes)
{
	uint32_t of[CODE_BITS_MAX + 2] = {0}, next = 0, kraft = 0;
	for (unsigned i = 0; i < n; i++) {
		if (lengths[i] > CODE_BITS_MAX)
			return false;
		if (lengths[i]) {
			of[lengths[i] + 1]++;
			kraft += 1u << (CODE_BITS_MAX - lengths[i]);
		}
	}
	if (kraft > 1u << CODE_BITS_MAX)
		return false;
	for (unsigned len = 1; len <= CODE_BITS_MAX; len++) {
		next = (next + of[len]) << 1;
		uint32_t code = next;
		for (unsigned i = 0; i < n; i++) {
			if (lengths[i] != len)
				continue;
			uint32_t turned = 0;
			for (unsigned b = 0; b < len; b++)
				turned |= (code >> b & 1) << (len - 1 - b);
			codes[i] = (uint16_t)turned;
			code++;
		}
	}
	return true;
}
