/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: columns whose symbols share one code. Two groups become one while that is cheaper, best
 * first: what depends on each other costs less jointly, and what says little no longer costs a bit
 * an event.
 */
#include "tiers/codec/model_build.h"

#include <math.h>
#include <stdlib.h>

#define JOINT_MAX 1500u /* different symbols of a group, while groups are tried */
#define JOINT_SLOTS 65536u

struct joint {
	uint64_t key, count;
};

/* Different joint symbols and how often they come. */
struct tally {
	struct joint *slot; /* JOINT_SLOTS; count 0: empty */
	uint64_t *counts, *scratch;
	uint8_t *lengths;
	uint32_t n;
};

static uint64_t event_key(const struct builder *builder, const struct model_group *group,
			  uint32_t i)
{
	uint64_t key = 0;
	for (unsigned k = group->columns; k-- > 0;)
		key = key << 12 | builder->symbol[group->column[k]][i];
	return key;
}

/* Counts over every stride-th block. False: more than `most` different ones. */
static bool tally_take(struct tally *tally, const struct builder *builder,
		       const struct model_group *group, uint32_t stride, uint32_t most)
{
	const struct model_sample *sample = builder->sample;
	memset(tally->slot, 0, JOINT_SLOTS * sizeof(*tally->slot));
	tally->n = 0;
	for (uint32_t b = 0; b < sample->blocks; b += stride)
		for (uint32_t i = sample->starts[b]; i < sample->starts[b + 1]; i++) {
			uint64_t key = event_key(builder, group, i);
			uint64_t at = hash_word(key) & (JOINT_SLOTS - 1);
			while (tally->slot[at].count && tally->slot[at].key != key)
				at = (at + 1) & (JOINT_SLOTS - 1);
			if (!tally->slot[at].count && tally->n++ == most)
				return false;
			tally->slot[at].key = key;
			tally->slot[at].count++;
		}
	return true;
}

static unsigned key_width(const struct builder *builder, const struct model_group *group,
			  uint64_t key)
{
	unsigned width = 0;
	for (unsigned k = 0; k < group->columns; k++)
		width += symbol_part(&builder->model->column[group->column[k]],
				     key >> (12 * k) & 4095)
				 .width;
	return width;
}

/* Bits of the group's codes for all events, and of its part in the model. */
static double group_cost(struct builder *builder, struct tally *tally,
			 const struct model_group *group)
{
	if (group->columns > GROUP_COLUMNS_MAX ||
	    !tally_take(tally, builder, group, builder->stride, JOINT_MAX))
		return INFINITY;
	unsigned n = 0;
	tally->counts[n++] = 1;
	for (uint32_t i = 0; i < JOINT_SLOTS; i++) {
		if (!tally->slot[i].count)
			continue;
		if (key_width(builder, group, tally->slot[i].key) > RAW_BITS_MAX)
			return INFINITY;
		tally->counts[n++] = tally->slot[i].count;
	}
	double bits = (double)huffman_lengths(tally->counts, n, tally->lengths, tally->scratch);
	return bits * builder->n / builder->trial + n * (5.0 + 6.0 * group->columns);
}

static struct model_group joined(const struct model_group *a, const struct model_group *b)
{
	struct model_group both = {.columns = (uint8_t)(a->columns + b->columns)};
	for (unsigned k = 0; k < both.columns && k < GROUP_COLUMNS_MAX; k++)
		both.column[k] = k < a->columns ? a->column[k] : b->column[k - a->columns];
	return both;
}

/* Joins groups while that pays. */
static void choose_groups(struct builder *builder, struct tally *tally)
{
	struct model *model = builder->model;
	struct model_group *group = model->group;
	double cost[CODEC_COLUMNS_MAX];
	static const double unknown = -1;
	double *saved =
		arena_alloc(&builder->arena, CODEC_COLUMNS_MAX * CODEC_COLUMNS_MAX, sizeof(double));
	if (!saved)
		return;
	for (unsigned g = 0; g < model->schema.columns; g++) {
		group[g] = (struct model_group){.columns = 1, .column = {(uint8_t)g}};
		cost[g] = group_cost(builder, tally, &group[g]);
		for (unsigned h = 0; h < CODEC_COLUMNS_MAX; h++)
			saved[g * CODEC_COLUMNS_MAX + h] = unknown;
	}
	model->n_groups = (uint8_t)model->schema.columns;
	for (;;) {
		double most = 0;
		unsigned first = 0, second = 0;
		for (unsigned a = 0; a < model->n_groups; a++)
			for (unsigned b = a + 1; b < model->n_groups; b++) {
				double *save = &saved[a * CODEC_COLUMNS_MAX + b];
				if (*save == unknown && isfinite(cost[a]) && isfinite(cost[b])) {
					struct model_group both = joined(&group[a], &group[b]);
					*save = fmax(0, cost[a] + cost[b] -
								group_cost(builder, tally, &both));
				}
				if (*save > most) {
					most = *save;
					first = a;
					second = b;
				}
			}
		if (most <= 0)
			return;
		group[first] = joined(&group[first], &group[second]);
		cost[first] += cost[second] - most;
		group[second] = group[--model->n_groups];
		cost[second] = cost[model->n_groups];
		for (unsigned h = 0; h < CODEC_COLUMNS_MAX; h++) {
			saved[first * CODEC_COLUMNS_MAX + h] =
				saved[h * CODEC_COLUMNS_MAX + first] = unknown;
			saved[second * CODEC_COLUMNS_MAX + h] =
				saved[h * CODEC_COLUMNS_MAX + second] = unknown;
		}
	}
}

static int by_count(const void *a, const void *b)
{
	const struct joint *x = a, *y = b;
	return x->count != y->count ? (x->count < y->count) - (x->count > y->count)
				    : (x->key > y->key) - (x->key < y->key);
}

static int by_key(const void *a, const void *b)
{
	const struct joint *x = a, *y = b;
	return (x->key > y->key) - (x->key < y->key);
}

/* The group's symbols: the most frequent ones, by key; what is left out comes as symbol 0. */
static int fill_group(struct builder *builder, struct tally *tally, struct model_group *group)
{
	struct arena *arena = &builder->model->arena;
	uint64_t others = 1;
	uint32_t n = 0, kept;
	bool all = tally_take(tally, builder, group, 1, JOINT_SLOTS / 2);
	for (uint32_t i = 0; i < JOINT_SLOTS; i++)
		if (tally->slot[i].count)
			tally->slot[n++] = tally->slot[i];
	qsort(tally->slot, n, sizeof(*tally->slot), by_count);
	for (kept = 0; kept < n && kept < GROUP_SYMBOLS_MAX - 1; kept++)
		if (key_width(builder, group, tally->slot[kept].key) > RAW_BITS_MAX)
			tally->slot[kept--] = tally->slot[--n];
	for (uint32_t i = kept; i < n; i++)
		others += tally->slot[i].count;
	others += all ? 0 : builder->n / 16;
	qsort(tally->slot, kept, sizeof(*tally->slot), by_key);
	group->symbols = kept + 1;
	group->len = arena_alloc(arena, group->symbols, 1);
	group->key = arena_alloc(arena, group->symbols, sizeof(uint64_t));
	if (!group->len || !group->key)
		return -ENOMEM;
	tally->counts[0] = others;
	for (uint32_t i = 0; i < kept; i++) {
		group->key[i + 1] = tally->slot[i].key;
		tally->counts[i + 1] = tally->slot[i].count;
	}
	(void)huffman_lengths(tally->counts, group->symbols, group->len, tally->scratch);
	return 0;
}

int build_groups(struct builder *builder)
{
	struct tally tally = {
		.slot = arena_alloc(&builder->arena, JOINT_SLOTS, sizeof(struct joint)),
		.counts = arena_alloc(&builder->arena, GROUP_SYMBOLS_MAX, sizeof(uint64_t)),
		.scratch = arena_alloc(&builder->arena, 4 * GROUP_SYMBOLS_MAX, sizeof(uint64_t)),
		.lengths = arena_alloc(&builder->arena, GROUP_SYMBOLS_MAX, 1),
	};
	if (builder->arena.failed)
		return -ENOMEM;
	choose_groups(builder, &tally);
	int rc = builder->arena.failed ? -ENOMEM : 0;
	for (unsigned g = 0; g < builder->model->n_groups && !rc; g++)
		rc = fill_group(builder, &tally, &builder->model->group[g]);
	return rc;
}
