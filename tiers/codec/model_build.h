/* SPDX-License-Identifier: Apache-2.0 */
/* A model under construction. */
#ifndef TIERS_CODEC_MODEL_BUILD_H
#define TIERS_CODEC_MODEL_BUILD_H

#include "tiers/codec/columns.h"
#include "tiers/codec/model_parts.h"

#define TRIAL_EVENTS 150000u /* on which alternatives are compared, about */

struct builder {
	const struct model_sample *sample;
	struct model *model;
	struct arena arena;                  /* what only the building takes */
	uint32_t n, longest;                 /* events; of a block */
	uint32_t stride;                     /* trials look at every stride-th block */
	uint32_t trial;                      /* events that these have */
	uint16_t *symbol[CODEC_COLUMNS_MAX]; /* of each event, once the column is decided */
	uint32_t *index[CODEC_COLUMNS_MAX];  /* dictionary */
	uint64_t *raw;                       /* scratch, for the longest block */
	uint32_t *scratch;
};

/* A column's values, distinct, as the sample has them. */
struct census_value {
	uint32_t event; /* where it is first */
	uint32_t count; /* events */
	uint32_t fresh; /* events to which none near before is equal */
	uint32_t last;
};

struct census {
	struct census_value *value;
	uint32_t n;
};

/* The columns [from, from + n) of the sample. */
void builder_slice(const struct builder *builder, uint32_t c, uint32_t from,
		   struct codec_column *column);
/* Sorts the census by how often a value is coded and makes a dictionary of those that come `least`
 * times. False: no memory. */
bool build_dictionary(struct builder *builder, struct arena *arena, uint32_t c,
		      struct model_column *column, struct census *census, uint32_t least);
bool census_take(struct builder *builder, uint32_t c, struct census *census);
/* Puts columns into groups and makes their codes. 0, -ENOMEM. */
int build_groups(struct builder *builder);

#endif
