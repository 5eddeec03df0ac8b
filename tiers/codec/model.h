/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model of a cold segment: what its blocks have in common, said once. Built from all blocks
 * that will be coded, or from a sample of them (then what the sample has not shown costs more, but
 * is coded).
 *
 * Each event gives one symbol a column; what a symbol leaves open follows as raw bits. Columns are
 * coded as dictionary   distance back to the same value within the user's last events; "as the
 * parent says", where the value follows from another column's (category from item); rank in the
 * dictionary by frequency; or what is not in it: bits above a base, or the value itself number
 * magnitude of the value, or of the difference to the event before; floats as decimals Columns
 * whose symbols depend on each other, or say little, share one Huffman code of joint symbols: a
 * group. Which column is coded how, has which parent, and is in which group, is what came out
 * cheapest on the data.
 *
 * Life-cycle: model_build -> bytes, stored with the segment -> model_open -> codec -> model_close.
 * An open model is read-only and may be used by any number of threads.
 */
#ifndef TIERS_CODEC_MODEL_H
#define TIERS_CODEC_MODEL_H

#include "tiers/codec/codec.h"

#include <stdbool.h>

/* Where models get their memory: a table of two. alloc: at least 64 bytes' alignment, or NULL. */
struct codec_memory {
	void *(*alloc)(void *context, size_t bytes);
	void (*free)(void *context, void *start, size_t bytes);
	void *context;
};

#define MODEL_BYTES_MAX ((size_t)64 << 20) /* of a model before its own compression */

/* Events that the blocks to come look like: block b has events [starts[b], starts[b + 1]). */
struct model_sample {
	const struct codec_column *columns;
	const uint32_t *starts; /* [0] is 0 */
	uint32_t blocks;
};

/* Builds a model. *bytes come from memory and are the caller's. -EINVAL, -ENOMEM. */
int model_build(const struct codec_schema *schema, const struct model_sample *sample,
		const struct codec_memory *memory, uint8_t **bytes, size_t *len);
/* Opens a model that was built for this schema; bytes are not needed afterwards. encode: blocks
 * will be encoded with it, too. -EILSEQ: not a model, or another schema's; -EPROTO: of a version
 * that is not known; -ENOMEM. */
int model_open(const struct codec_schema *schema, const uint8_t *bytes, size_t len, bool encode,
	       const struct codec_memory *memory, struct model **model);
void model_close(struct model **model);
/* A line for each column: how it is coded. Returns the length, as snprintf does. */
int model_describe(const struct model *model, char *text, size_t size);

#endif
