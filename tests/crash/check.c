/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a state of the disk as the next process would, reads everything, and compares it with the model. */
#include "tests/crash/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/engine.h"

#define VALUE_MAX ((size_t)80000)

struct look {
	const struct model *model;
	const struct check_options *options;
	struct verdict *verdict;
	struct thermo *cache;
	struct thermo_space *space[MODEL_SPACES];
	struct model_space *found; /* [MODEL_SPACES]: what was read */
	char *value;
};

#define WRONG(look, ...) snprintf((look)->verdict->wrong, sizeof((look)->verdict->wrong), __VA_ARGS__)

void check_disk(struct disk *disk, const struct disk_image *image)
{
	disk_init(disk);
	disk_image_copy(&disk->image, image);
	for (uint32_t i = 0; i < image->n_files; i++)
		if (image->files[i].number > disk->next_number)
			disk->next_number = image->files[i].number;
}

/* ---- Reading ---- */

/* It is, or the call under way makes it so. */
static bool opened_durable(const struct model *model, uint32_t k)
{
	return model->space[k].durable ||
	       (model->n_under_way && model->under_way->kind == EVENT_SPACE &&
		model->under_way->space == k && model->under_way->durable);
}

static bool open_cache(struct look *look, struct disk *disk)
{
	struct thermo_options options;
	struct thermo_error error = {.text = ""};
	workload_cache_options(&options, look->options->warm);
	int status = cache_open(&options, &disk->ops, &look->cache, &error);
	if (status) {
		WRONG(look, "cannot be opened: %d, %s", status, error.text);
		return false;
	}
	for (uint32_t k = 0; k < MODEL_SPACES; k++) {
		struct thermo_space_options space;
		char name[8];
		snprintf(name, sizeof(name), "s%u", k);
		thermo_space_options_init(&space);
		space.durability = opened_durable(look->model, k);
		status = thermo_space_open(look->cache, name, &space, &look->space[k], &error);
		if (status) {
			WRONG(look, "space %s cannot be opened: %d, %s", name, status, error.text);
			return false;
		}
	}
	return true;
}

static bool read_key(struct look *look, uint32_t k, uint32_t key)
{
	char name[MODEL_KEY_BYTES];
	size_t name_len = model_key_name(k, key, name), len = 0, wrong;
	struct model_key *found = &look->found[k].key[key];
	*found = (struct model_key){0};
	int status = thermo_get(look->space[k], name, name_len, look->value, VALUE_MAX, &len);
	if (status == THERMO_MISS)
		return true;
	if (status != THERMO_OK) {
		WRONG(look, "error: %s: %s", name, thermo_strerror(status));
		return false;
	}
	*found = (struct model_key){.present = true, .len = (uint32_t)len};
	memcpy(&found->seed, look->value, 8);
	if (len < 8 || !value_is(look->value, 0, len, found->seed, &wrong)) {
		WRONG(look, "torn: %s has bytes of no value", name);
		return false;
	}
	return true;
}

/* ---- Comparing ---- */

static bool same(const struct model_key *a, const struct model_key *b)
{
	return a->present == b->present && (!a->present || (a->len == b->len && a->seed == b->seed));
}

/* A call under way makes the key so. */
static bool may_be(const struct model *model, uint32_t k, uint32_t key, const struct model_key *is)
{
	for (size_t i = 0; i < model->n_under_way; i++) {
		const struct event *e = &model->under_way[i];
		struct model_key next = {.present = false};
		if (e->space != k || e->key != key)
			continue;
		if (e->kind == EVENT_PUT)
			next = (struct model_key){true, e->len, e->seed};
		if ((e->kind == EVENT_PUT || e->kind == EVENT_DELETE || e->kind == EVENT_ERASE) &&
		    same(&next, is))
			return true;
	}
	return false;
}

/* Each key is as acknowledged, or as a call under way makes it. */
static bool compare_exact(struct look *look, uint32_t k)
{
	for (uint32_t key = 0; key < MODEL_KEYS; key++) {
		const struct model_key *must = &look->model->space[k].key[key];
		const struct model_key *is = &look->found[k].key[key];
		if (same(must, is) || may_be(look->model, k, key, is))
			continue;
		WRONG(look, "%s: space %u key %u: must be %s %llu (%u bytes), is %s %llu (%u bytes)",
		      !must->present ? "resurrected" : is->present ? "stale" : "lost", k, key,
		      must->present ? "version" : "absent", (unsigned long long)must->seed, must->len,
		      is->present ? "version" : "absent", (unsigned long long)is->seed, is->len);
		return false;
	}
	return true;
}

static bool is_empty(const struct model_space *space)
{
	for (uint32_t key = 0; key < MODEL_KEYS; key++)
		if (space->key[key].present)
			return false;
	return true;
}

static bool compare_cache(struct look *look, uint32_t k)
{
	const struct model *model = look->model;
	bool may_be_empty = model->phase != PHASE_CLOSED;
	bool may_be_whole = model->phase != PHASE_OPEN || model->untouched;
	if (may_be_empty && is_empty(&look->found[k])) {
		look->verdict->opened_empty++;
		return true;
	}
	if (may_be_whole) {
		look->verdict->opened_clean++;
		return compare_exact(look, k);
	}
	for (uint32_t key = 0; key < MODEL_KEYS; key++)
		if (look->found[k].key[key].present) {
			WRONG(look, "stale: cache space %u has key %u, version %llu, after a crash", k,
			      key, (unsigned long long)look->found[k].key[key].seed);
			break;
		}
	return false;
}

static bool compare(struct look *look, uint32_t k)
{
	const struct event *e = look->model->under_way;
	bool dropping = look->model->n_under_way && e->kind == EVENT_DROP && e->space == k;
	if (!look->model->space[k].durable)
		return compare_cache(look, k);
	return (dropping && is_empty(&look->found[k])) || compare_exact(look, k);
}

/* Iterating shows the keys that gets show, and no others. */
static bool compare_iteration(struct look *look, uint32_t k)
{
	struct thermo_iter *iter;
	struct thermo_item item;
	uint32_t met = 0, must = 0;
	bool seen[MODEL_KEYS] = {false};
	int status = thermo_iter_open(look->space[k], "s", 1, &iter);
	while (status == THERMO_OK && (status = thermo_iter_next(iter, &item)) == THERMO_OK) {
		uint32_t space, key;
		char text[MODEL_KEY_BYTES + 1] = {0};
		memcpy(text, item.key, item.key_len < MODEL_KEY_BYTES ? item.key_len : MODEL_KEY_BYTES);
		if (sscanf(text, "s%u/key-%u", &space, &key) != 2 || space != k || key >= MODEL_KEYS ||
		    !look->found[k].key[key].present) {
			WRONG(look, "iteration: \"%s\" in space %u, which a get does not find", text, k);
			status = -EILSEQ;
			break;
		}
		met += !seen[key];
		seen[key] = true;
	}
	thermo_iter_close(&iter);
	for (uint32_t key = 0; key < MODEL_KEYS; key++)
		must += look->found[k].key[key].present;
	if (status == THERMO_MISS && met == must)
		return true;
	if (status != -EILSEQ)
		WRONG(look, "iteration: space %u: %u of %u keys, %s", k, met, must,
		      thermo_strerror(status));
	return false;
}

static bool read_all(struct look *look)
{
	for (uint32_t k = 0; k < MODEL_SPACES; k++)
		for (uint32_t key = 0; key < MODEL_KEYS; key++)
			if (!read_key(look, k, key))
				return false;
	return true;
}

/* ---- Going on ---- */

/* New versions in each space, then a clean close: the next open must have exactly them and what was there. */
static bool write_on(struct look *look, struct model *after)
{
	struct chance chance = chance_make(look->options->seed);
	bool much = chance_below(&chance, 4) == 0;
	for (uint32_t i = 0; i < (much ? 1500u : 24u); i++) {
		char name[MODEL_KEY_BYTES];
		uint32_t k = (uint32_t)chance_below(&chance, MODEL_SPACES);
		uint32_t key = (uint32_t)chance_below(&chance, MODEL_KEYS);
		uint32_t len = much ? 12000 : 8 + (uint32_t)chance_below(&chance, 500);
		uint64_t seed = workload_next_seed();
		value_fill(look->value, len, seed);
		size_t name_len = model_key_name(k, key, name);
		int status = workload_put(look->cache, look->space[k], name, name_len, look->value,
					  len);
		if (status == THERMO_BUSY)
			continue;
		if (status) {
			WRONG(look, "a put after it: %s", thermo_strerror(status));
			return false;
		}
		after->space[k].key[key] = (struct model_key){true, len, seed};
	}
	for (unsigned i = 0; i < 20; i++) {
		int status = thermo_work(look->cache);
		if (status < 0) {
			WRONG(look, "work after it: %s", thermo_strerror(status));
			return false;
		}
	}
	return true;
}

static bool go_on(struct look *look, struct disk *disk)
{
	struct model *after = calloc(1, sizeof(*after));
	struct thermo_error error = {.text = ""};
	if (!after)
		abort();
	look->verdict->continued++;
	for (uint32_t k = 0; k < MODEL_SPACES; k++) {
		after->space[k] = look->found[k];
		after->space[k].exists = true;
		after->space[k].durable = opened_durable(look->model, k);
	}
	bool well = write_on(look, after);
	if (well && thermo_close(&look->cache, 0, &error)) {
		WRONG(look, "a clean close after it: %s", error.text);
		well = false;
	}
	look->model = after;
	well = well && open_cache(look, disk) && read_all(look);
	for (uint32_t k = 0; k < MODEL_SPACES && well; k++)
		well = compare_exact(look, k);
	if (!well && !strstr(look->verdict->wrong, "after it")) {
		char text[400];
		snprintf(text, sizeof(text), "%.380s", look->verdict->wrong);
		WRONG(look, "after going on and a clean close: %s", text);
	}
	free(after);
	return well;
}

static void observe(const struct look *look, struct model *observed)
{
	model_init(observed);
	for (uint32_t k = 0; k < MODEL_SPACES; k++) {
		observed->space[k] = look->found[k];
		observed->space[k].exists = true;
		observed->space[k].durable = opened_durable(look->model, k);
	}
}

bool check_image(const struct disk_image *image, const struct model *model,
		 const struct check_options *options, struct verdict *verdict, struct model *observed)
{
	struct disk disk;
	struct look look = {.model = model, .options = options, .verdict = verdict};
	look.found = calloc(MODEL_SPACES, sizeof(*look.found));
	look.value = malloc(VALUE_MAX);
	if (!look.found || !look.value)
		abort();
	verdict->checked++;
	check_disk(&disk, image);
	bool well = open_cache(&look, &disk) && read_all(&look);
	for (uint32_t k = 0; k < MODEL_SPACES && well; k++)
		well = compare(&look, k) && compare_iteration(&look, k);
	if (well && observed)
		observe(&look, observed);
	if (well && options->go_on)
		well = go_on(&look, &disk);
	if (look.cache)
		thermo_close(&look.cache, 0, NULL);
	disk_clear(&disk);
	free(look.found);
	free(look.value);
	return well;
}
