/* SPDX-License-Identifier: Apache-2.0 */
/* Spaces: named sets of keys. Their table is kept in the cold tier's manifest (see docs/format.md). */
#include "tiers/durable.h"
#include "tiers/image.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

/* Of no record: spaces are numbered from 1. */
#define IDENTITY_NONE UINT64_C(0)

void space_init(struct thermo *c, struct thermo_space *space, uint8_t id)
{
	space->cache = c;
	space->get = c->lookup->get;
	space->index = c->index;
	space->base = c->base[THERMO_HOT];
	space->hash_seed = key_hash_seed(id, 0);
	space->identity = head_make(id, 1, 0, 0);
	space->id = id;
}

void space_set_state(struct thermo_space *space, enum space_state state)
{
	atomic_store(&space->state, (uint8_t)state);
	atomic_store(&space->ready, state == SPACE_OPEN ? space->cache->generation : 0);
	atomic_store(&space->open_identity, state == SPACE_OPEN ? space->identity : IDENTITY_NONE);
}

static bool name_valid(const char *name)
{
	size_t len = name ? strnlen(name, THERMO_SPACE_NAME_MAX + 1) : 0;
	return len > 0 && len <= THERMO_SPACE_NAME_MAX;
}

static int options_check(const struct thermo *c, const struct thermo_space_options *o,
			 struct thermo_error *error)
{
	unsigned kind = o->kind, durability = o->durability;
	if (o->size != sizeof(*o))
		return error_set(error, -EINVAL,
				 "space options: size is %u, not %zu; use thermo_space_options_init",
				 o->size, sizeof(*o));
	if (kind != THERMO_BLOB || durability > THERMO_DURABLE || o->sync > THERMO_SYNCED_WITHIN)
		return error_set(error, -EINVAL,
				 "space options: kind %u with durability %u and sync %u is not offered",
				 kind, durability, o->sync);
	if (durability == THERMO_DURABLE && !c->cold)
		return error_set(error, -EINVAL,
				 "space options: a durable space needs a cold tier; set cold_dir");
	if (o->ttl_ms < 0)
		return error_set(error, -EINVAL, "space options: ttl_ms is negative");
	for (unsigned tier = 0; tier < THERMO_TIERS; tier++)
		if (o->min_percent[tier] > o->max_percent[tier] || o->max_percent[tier] > 100)
			return error_set(error, -EINVAL,
					 "space options: shares of tier %u must be min <= max <= 100",
					 tier);
	return 0;
}

static struct thermo_space *space_find(struct thermo *c, const char *name)
{
	for (unsigned id = 1; id <= THERMO_SPACES_MAX; id++)
		if (atomic_load(&c->space[id].state) == SPACE_OPEN &&
		    strcmp(c->space[id].name, name) == 0)
			return &c->space[id];
	return NULL;
}

static struct thermo_space *space_create(struct thermo *c, const char *name,
					 const struct thermo_space_options *options)
{
	for (unsigned id = 1; id <= THERMO_SPACES_MAX; id++) {
		struct thermo_space *s = &c->space[id];
		if (atomic_load(&s->state) != SPACE_NONE)
			continue;
		memset(s, 0, sizeof(*s));
		space_init(c, s, (uint8_t)id);
		snprintf(s->name, sizeof(s->name), "%s", name);
		s->options = *options;
		s->durable = options->durability == THERMO_DURABLE;
		if (atomic_load(&c->space_high) < id)
			atomic_store(&c->space_high, id);
		return s;
	}
	return NULL;
}

/* The shares that all spaces are promised must fit each tier; under lock. */
static bool shares_fit(const struct thermo *c, const struct thermo_space *but,
		       const struct thermo_space_options *options)
{
	for (unsigned tier = 0; tier < THERMO_TIERS; tier++) {
		unsigned sum = options->min_percent[tier];
		for (unsigned id = 1; id <= THERMO_SPACES_MAX; id++)
			if (&c->space[id] != but && atomic_load(&c->space[id].state) == SPACE_OPEN)
				sum += c->space[id].options.min_percent[tier];
		if (sum > 90)
			return false;
	}
	return true;
}

int thermo_space_open(struct thermo *c, const char *name, const struct thermo_space_options *options,
		      struct thermo_space **out, struct thermo_error *error)
{
	struct thermo_space_options defaults;
	if (!c || !out)
		return error_set(error, -EINVAL, "thermo_space_open: an argument is NULL");
	if (cache_forked(c))
		return error_set(error, -ECHILD, "this process is a fork of the cache's owner");
	if (!name_valid(name))
		return error_set(error, -EINVAL, "a space's name has 1 to %u bytes",
				 THERMO_SPACE_NAME_MAX);
	thermo_space_options_init(&defaults);
	int rc = options_check(c, options ? options : &defaults, error);
	if (rc)
		return rc;
	bool fresh = false;
	pthread_mutex_lock(&c->space_lock);
	if (options && options->durability == THERMO_DURABLE)
		rc = durable_start(c, error);
	if (rc) {
		pthread_mutex_unlock(&c->space_lock);
		return rc;
	}
	pthread_mutex_lock(&c->lock);
	struct thermo_space *s = space_find(c, name);
	if (options && !shares_fit(c, s, options))
		rc = error_set(error, -EINVAL,
			       "space %s: the least shares of all spaces exceed 90 %% of a tier", name);
	if (rc == 0 && !s) {
		fresh = true;
		s = space_create(c, name, options ? options : &defaults);
		if (!s)
			rc = error_set(error, -ENOSPC, "there are %u spaces already",
				       THERMO_SPACES_MAX);
	} else if (rc == 0 && options && options->durability != s->options.durability) {
		rc = error_set(error, -EEXIST, "space %s: it is %s, and stays so until it is dropped", name,
			       s->durable ? "durable" : "a cache");
	} else if (rc == 0 && options) {
		s->options = *options;
		for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
			migrate_share(c, s, tier);
	}
	if (rc == 0 && fresh && s)
		space_set_state(s, SPACE_OPEN);
	pthread_mutex_unlock(&c->lock);
	if (rc == 0 && (fresh || options))
		rc = image_save_table(c, false, error);
	if (rc && fresh && s)
		space_set_state(s, SPACE_NONE);
	if (rc == 0) {
		s->handles++;
		*out = s;
	}
	pthread_mutex_unlock(&c->space_lock);
	return rc;
}

int thermo_space_close(struct thermo_space **space)
{
	if (!space || !*space)
		return -EINVAL;
	struct thermo_space *s = *space;
	if (cache_forked(s->cache))
		return -ECHILD;
	pthread_mutex_lock(&s->cache->space_lock);
	if (s->handles)
		s->handles--;
	pthread_mutex_unlock(&s->cache->space_lock);
	*space = NULL;
	return THERMO_OK;
}

int thermo_space_drop(struct thermo_space **space)
{
	if (!space || !*space)
		return -EINVAL;
	struct thermo_space *s = *space;
	struct thermo *c = s->cache;
	if (cache_forked(c))
		return -ECHILD;
	uint8_t open = SPACE_OPEN;
	if (!atomic_compare_exchange_strong(&s->state, &open, SPACE_DROPPING))
		return -ENOENT;
	atomic_store(&s->ready, 0);
	atomic_store(&s->open_identity, IDENTITY_NONE);
	*space = NULL;
	/* Who saw it open is inside an epoch, or waits for the device and is counted. */
	epoch_wait(epoch_advance());
	while (atomic_load(&s->calls))
		sched_yield();
	pthread_mutex_lock(&c->space_lock);
	migrate_purge(c, s);
	int rc = 0;
	if (c->cold)
		rc = cold_space_drop(c->cold, s->id, atomic_load(&c->clock) + 1);
	if (rc == 0) {
		atomic_fetch_add(&c->clock, 2);
		space_set_state(s, SPACE_NONE);
		rc = image_save_table(c, false, NULL);
	}
	pthread_mutex_unlock(&c->space_lock);
	return rc;
}
