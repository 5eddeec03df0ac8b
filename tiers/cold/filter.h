/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split-block bloom filter: 64-byte blocks of eight words; a key's hash chooses the block (its upper
 * half, by multiplication) and one bit in each word (its lower half, by eight odd multipliers). One
 * cache line a probe. After Putze, Sanders, Singler, "Cache-, hash- and space-efficient Bloom filters"
 * (2007), with wider blocks. Filling can go on record by record, so a merge needs no second pass.
 *
 * Pure: the caller owns the memory. Probing is thread-safe once the filter is filled.
 */
#ifndef TIERS_COLD_FILTER_H
#define TIERS_COLD_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#define FILTER_BLOCK_BYTES 64u
#define FILTER_WORDS 8u

struct filter_block {
	_Alignas(64) uint64_t word[FILTER_WORDS];
};

/* Part of the format: the multipliers of words 0 .. 7. */
#define FILTER_MULTIPLIERS                                                                         \
	{                                                                                          \
		0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du, 0x705495c7u, 0x2df1424bu,      \
			0x9efc4947u, 0x5c6bfb31u                                                   \
	}

static inline uint64_t filter_block_of(uint64_t blocks, uint64_t hash)
{
	return (uint64_t)(((__uint128_t)hash * blocks) >> 64);
}

static inline void filter_add(struct filter_block *filter, uint64_t blocks, uint64_t hash)
{
	static const uint32_t multiplier[FILTER_WORDS] = FILTER_MULTIPLIERS;
	uint64_t *word = filter[filter_block_of(blocks, hash)].word;
	for (unsigned i = 0; i < FILTER_WORDS; i++)
		word[i] |= UINT64_C(1) << (((uint32_t)hash * multiplier[i]) >> 26);
}

static inline bool filter_test(const struct filter_block *filter, uint64_t blocks, uint64_t hash)
{
	static const uint32_t multiplier[FILTER_WORDS] = FILTER_MULTIPLIERS;
	const uint64_t *word = filter[filter_block_of(blocks, hash)].word;
	uint64_t all = 1;
	for (unsigned i = 0; i < FILTER_WORDS; i++)
		all &= word[i] >> (((uint32_t)hash * multiplier[i]) >> 26);
	return all;
}

static inline void filter_prefetch(const struct filter_block *filter, uint64_t blocks,
				   uint64_t hash)
{
	__builtin_prefetch(&filter[filter_block_of(blocks, hash)]);
}

/* Blocks for that many keys at so many bits each; a multiple of 8, so that it can be folded. */
uint64_t filter_blocks(uint64_t keys, unsigned bits);
/* Bits a key that a run should spend whose keys are this share (keys of total) of the tier's: the false
 * positives of all runs together stay under 0.02. */
unsigned filter_bits(uint64_t keys, uint64_t total);
/* Halves the filter in place: neighbours are united. blocks is even; returns the new number. For a
 * filter that was laid out for many more keys than came. */
uint64_t filter_fold(struct filter_block *filter, uint64_t blocks);

#endif
