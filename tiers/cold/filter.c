/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes of the bloom filters: see filter.h. */
#include "tiers/cold/filter.h"

#include "alloc/check.h"

uint64_t filter_blocks(uint64_t keys, unsigned bits)
{
	uint64_t blocks = (keys * bits + FILTER_BLOCK_BYTES * 8 - 1) / (FILTER_BLOCK_BYTES * 8);
	return blocks ? (blocks + 7) & ~UINT64_C(7) : 8;
}

/*
 * False positives of these filters by bits a key, keys spread over blocks by chance (measured by
 * tests/cold/test_block.c). A run gets false positives in proportion to its share of the keys, which
 * costs the least memory for a given sum (Dayan, Athanassoulis, Idreos, "Monkey", 2017), and never more
 * than 0.002: while a tier grows, many runs of the greatest size may wait for their merge.
 */
static const struct {
	unsigned bits;
	double false_positives;
} sizes[] = {
	{ 14, 1.9e-3 }, { 15, 1.3e-3 }, { 16, 9.1e-4 }, { 17, 6.5e-4 }, { 18, 4.8e-4 },
	{ 20, 2.6e-4 }, { 22, 1.6e-4 }, { 24, 1.0e-4 }, { 28, 4.0e-5 },
};

#define FALSE_POSITIVES_ALL 0.012

unsigned filter_bits(uint64_t keys, uint64_t total)
{
	const unsigned n = sizeof(sizes) / sizeof(sizes[0]);
	double allowed = FALSE_POSITIVES_ALL * (double)keys / (double)(total ? total : 1);
	for (unsigned i = 0; i < n; i++)
		if (sizes[i].false_positives <= allowed)
			return sizes[i].bits;
	return sizes[n - 1].bits;
}

uint64_t filter_fold(struct filter_block *filter, uint64_t blocks)
{
	check(blocks && blocks % 2 == 0);
	for (uint64_t i = 0; i < blocks / 2; i++)
		for (unsigned w = 0; w < FILTER_WORDS; w++)
			filter[i].word[w] = filter[2 * i].word[w] | filter[2 * i + 1].word[w];
	return blocks / 2;
}
