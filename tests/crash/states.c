/* SPDX-License-Identifier: Apache-2.0 */
/* Enumerating the states of a record: see states.h. */
#include "tests/crash/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/value.h"

/* ---- Hashes that were met ---- */

struct seen {
	uint64_t *slot; /* 0: free */
	size_t n, room; /* room is a power of two */
};

struct seen *seen_open(void)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	if (!seen)
		abort();
	seen->room = 1 << 16;
	seen->slot = calloc(seen->room, sizeof(uint64_t));
	if (!seen->slot)
		abort();
	return seen;
}

void seen_close(struct seen *seen)
{
	free(seen->slot);
	free(seen);
}

size_t seen_count(const struct seen *seen)
{
	return seen->n;
}

bool seen_save(const struct seen *seen, const char *path)
{
	FILE *file = fopen(path, "w");
	if (!file)
		return false;
	for (size_t i = 0; i < seen->room; i++)
		if (seen->slot[i])
			fprintf(file, "%016llx\n", (unsigned long long)seen->slot[i]);
	return fclose(file) == 0;
}

static bool seen_put(struct seen *seen, uint64_t hash)
{
	hash += !hash;
	size_t at = hash & (seen->room - 1);
	while (seen->slot[at] && seen->slot[at] != hash)
		at = (at + 1) & (seen->room - 1);
	bool is_new = !seen->slot[at];
	seen->slot[at] = hash;
	seen->n += is_new;
	return is_new;
}

static bool seen_add(struct seen *seen, uint64_t hash)
{
	if (2 * seen->n >= seen->room) {
		struct seen more = {.room = 2 * seen->room};
		more.slot = calloc(more.room, sizeof(uint64_t));
		if (!more.slot)
			abort();
		for (size_t i = 0; i < seen->room; i++)
			if (seen->slot[i])
				seen_put(&more, seen->slot[i]);
		free(seen->slot);
		*seen = more;
	}
	return seen_put(seen, hash);
}

/* ---- One prefix ---- */

struct walk {
	const struct disk_record *record;
	const struct states_options *options;
	struct seen *distinct, *shown;
	uint64_t epoch;
	struct chance chance;
	state_visit visit;
	void *context;
	struct disk_image durable;
	const struct disk_op *doubt[DOUBT_MAX]; /* in the order in which they were done */
	uint32_t n;
	size_t cut;
	struct disk_image image; /* of the state in hand */
	char choice[96];
};

static bool is_name(const struct disk_op *op)
{
	return op->kind == DISK_CREATE || op->kind == DISK_RENAME || op->kind == DISK_UNLINK;
}

static bool in_doubt(void *context, uint32_t number)
{
	struct walk *walk = context;
	for (uint32_t i = 0; i < walk->n; i++)
		if (walk->doubt[i]->number == number)
			return true;
	return false;
}

/* A sync: what it covers is applied for good. */
static void settle(struct walk *walk, const struct disk_op *sync)
{
	uint32_t left = 0;
	for (uint32_t i = 0; i < walk->n; i++) {
		const struct disk_op *op = walk->doubt[i];
		bool covered = sync->kind == DISK_SYNC_DIR
				       ? is_name(op)
				       : !is_name(op) && op->number == sync->number;
		if (covered)
			disk_apply(&walk->durable, op, TEAR_NONE, 0);
		else
			walk->doubt[left++] = op;
	}
	walk->n = left;
	disk_image_collect(&walk->durable, in_doubt, walk);
}

struct choice {
	uint64_t keep[DOUBT_MAX / 64];
	uint32_t torn; /* index of the torn write, or DOUBT_MAX */
	enum disk_tear tear;
	uint64_t seed;
};

static bool chosen(const struct choice *choice, uint32_t i)
{
	return choice->keep[i / 64] >> i % 64 & 1;
}

static void set(struct choice *choice, uint32_t i, bool keep)
{
	uint64_t bit = UINT64_C(1) << i % 64;
	choice->keep[i / 64] = keep ? choice->keep[i / 64] | bit : choice->keep[i / 64] & ~bit;
}

static uint32_t kinds_of(const struct walk *walk)
{
	uint32_t kinds = walk->cut ? 1u << walk->record->ops[walk->cut - 1].kind : 0;
	for (uint32_t i = 0; i < walk->n; i++)
		kinds |= 1u << walk->doubt[i]->kind;
	return kinds;
}

/* Builds the state and shows it if it is new. */
static bool show(struct walk *walk, const struct choice *choice, const char *what)
{
	struct state state = {.cut = walk->cut, .image = &walk->image, .in_doubt = walk->n};
	if (walk->n && walk->options->every > 1 && chance_below(&walk->chance, walk->options->every))
		return true;
	disk_image_copy(&walk->image, &walk->durable);
	for (uint32_t i = 0; i < walk->n; i++) {
		if (!chosen(choice, i))
			continue;
		disk_apply(&walk->image, walk->doubt[i],
			   i == choice->torn ? choice->tear : TEAR_NONE, choice->seed);
		state.kept++;
	}
	disk_image_collect(&walk->image, NULL, NULL);
	state.hash = disk_image_hash(&walk->image);
	state.is_new = seen_add(walk->distinct, state.hash);
	state.epoch = walk->epoch;
	bool go_on = true;
	if (seen_add(walk->shown, state.hash ^ value_mix(walk->epoch))) {
		int at = snprintf(walk->choice, sizeof(walk->choice), "%s of %u in doubt", what,
				  walk->n);
		if (choice->torn < DOUBT_MAX)
			at += snprintf(walk->choice + at, sizeof(walk->choice) - (size_t)at,
				       ", write %u torn (%d)", choice->torn, choice->tear);
		for (uint32_t i = 0; i < walk->n && walk->n <= 20 && at < 90; i++)
			at += snprintf(walk->choice + at, sizeof(walk->choice) - (size_t)at, "%s%c",
				       i ? "" : ": ", chosen(choice, i) ? '1' : '0');
		state.choice = walk->choice;
		state.kinds = kinds_of(walk);
		go_on = walk->visit(walk->context, &state);
	}
	disk_image_clear(&walk->image);
	return go_on;
}

static struct choice choice_make(const struct walk *walk, bool keep)
{
	struct choice choice = {.torn = DOUBT_MAX};
	for (uint32_t i = 0; i < walk->n; i++)
		set(&choice, i, keep);
	return choice;
}

static bool show_subsets(struct walk *walk)
{
	bool go_on = true;
	struct choice choice = choice_make(walk, false);
	if (walk->n <= SUBSETS_ALL) {
		for (uint64_t bits = 0; bits < UINT64_C(1) << walk->n && go_on; bits++) {
			choice.keep[0] = bits;
			go_on = show(walk, &choice, "a subset");
		}
		return go_on;
	}
	go_on = show(walk, &choice, "none");
	for (uint32_t i = 0; i < walk->n && go_on; i++) {
		choice = choice_make(walk, false);
		set(&choice, i, true);
		go_on = show(walk, &choice, "one");
		set(&choice, i, false);
		choice = choice_make(walk, true);
		set(&choice, i, false);
		go_on = go_on && show(walk, &choice, "all but one");
	}
	choice = choice_make(walk, true);
	go_on = go_on && show(walk, &choice, "all");
	for (unsigned k = 0; k < walk->options->random_subsets && go_on; k++) {
		for (uint32_t i = 0; i < walk->n; i++)
			set(&choice, i, chance_next(&walk->chance) & 1);
		go_on = show(walk, &choice, "a random subset");
	}
	return go_on;
}

/* Each write in doubt torn, the others all there, all gone or by chance. */
static bool show_tears(struct walk *walk)
{
	bool go_on = true;
	for (uint32_t i = 0; i < walk->n; i++) {
		if (walk->doubt[i]->kind != DISK_WRITE || walk->doubt[i]->bytes <= DISK_SECTOR)
			continue;
		for (unsigned k = 0; k < walk->options->tears && go_on; k++) {
			struct choice choice = choice_make(walk, k & 1);
			for (uint32_t o = 0; o < walk->n && k > 1; o++)
				set(&choice, o, chance_next(&walk->chance) & 1);
			set(&choice, i, true);
			choice.torn = i;
			choice.tear = 1 + (enum disk_tear)(chance_next(&walk->chance) % (TEARS - 1));
			choice.seed = chance_next(&walk->chance) >> 1;
			go_on = show(walk, &choice, "a subset");
		}
	}
	return go_on;
}

static bool show_cut(struct walk *walk)
{
	struct state boundary = {.cut = walk->cut};
	if (!walk->visit(walk->context, &boundary))
		return false;
	walk->epoch = boundary.epoch;
	return show_subsets(walk) && show_tears(walk);
}

void states_all(const struct disk_record *record, const struct states_options *options,
		struct seen *distinct, struct seen *shown, uint64_t seed, state_visit visit, void *context)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	if (!walk)
		abort();
	walk->record = record;
	walk->options = options;
	walk->distinct = distinct;
	walk->shown = shown;
	walk->chance = chance_make(seed);
	walk->visit = visit;
	walk->context = context;
	disk_image_copy(&walk->durable, &record->before);
	bool go_on = show_cut(walk);
	for (size_t i = 0; i < record->n && go_on; i++) {
		const struct disk_op *op = &record->ops[i];
		walk->cut = i + 1;
		if (op->kind == DISK_SYNC || op->kind == DISK_SYNC_DIR) {
			settle(walk, op);
		} else {
			if (walk->n == DOUBT_MAX)
				abort();
			walk->doubt[walk->n++] = op;
		}
		go_on = show_cut(walk);
	}
	disk_image_clear(&walk->durable);
	free(walk);
}
