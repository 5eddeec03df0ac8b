/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that are built once for each instruction set; codec_ops is the best that this processor
 * runs. */
#ifndef TIERS_CODEC_UNPACK_H
#define TIERS_CODEC_UNPACK_H

#include <stdint.h>

#define PACK_WIDTH_MAX 56u /* bits; beyond it, 64 */

struct cold_chunk;

struct codec_ops {
	const char *name;
	/* n fields of `width` bits (0 to 56, or 64), first field in the lowest bits, to out, each
	 * plus base. Reads (n * width + 7) / 8 bytes. */
	void (*unpack)(const uint8_t *from, unsigned width, unsigned n, uint64_t base,
		       uint64_t *out);
	/* Sums of v[0 ... i] plus start, in place. */
	void (*sum)(uint64_t *v, unsigned n, uint64_t start);
	/* Decodes the chunk's blocks up to where each column's values are (cold_chunk.h). 0 or
	 * -EILSEQ. */
	int (*cold)(struct cold_chunk *chunk);
};

const struct codec_ops *codec_ops(void);

static inline unsigned packed_bytes(unsigned width, unsigned n)
{
	return (n * width + 7) / 8;
}

#endif
