/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Erasing keys: an entry in the manifest makes all versions below a sequence number invisible at once
 * and for good; then every segment that holds one is rewritten without it; when none does, the entry goes,
 * and with it the last trace of the key. Survives a restart at any point.
 */
#include "tiers/cold/tier.h"

#include "alloc/check.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#define ERASURES_MAX 4096u

static bool same_key(const struct manifest_key *a, const struct manifest_key *b)
{
	return a->space == b->space && a->flags == b->flags && a->key_len == b->key_len &&
	       !memcmp(a->key, b->key, a->key_len);
}

/* Changes the list of keys: with `add` (or its number raised), without `remove`. Under edit. */
static int change_keys(struct cold *cold, const struct manifest_key *add,
		       const struct manifest_key *remove)
{
	struct manifest *manifest = &cold->manifest;
	struct manifest_key *old = manifest->keys, *keys = NULL;
	uint32_t old_n = manifest->n_keys, n = 0;
	if (old_n == ERASURES_MAX && add)
		return -ENOSPC;
	uint32_t room = old_n + 1;
	struct manifest_key *all = memory_alloc(&cold->memory, room * sizeof(all[0]));
	if (!all)
		return -ENOMEM;
	for (uint32_t i = 0; i < old_n; i++)
		if (!(add && same_key(&old[i], add)) && !(remove && same_key(&old[i], remove)))
			all[n++] = old[i];
	if (add)
		all[n++] = *add;
	/* manifest_clear frees by n_keys: exact size. */
	int status = 0;
	if (n) {
		keys = memory_alloc(&cold->memory, n * sizeof(keys[0]));
		if (keys)
			memcpy(keys, all, n * sizeof(keys[0]));
		else
			status = -ENOMEM;
	}
	memory_free(&cold->memory, all, room * sizeof(all[0]));
	if (status)
		return status;
	manifest->keys = keys;
	manifest->n_keys = n;
	status = set_reinstall(cold);
	if (status) {
		manifest->keys = old;
		manifest->n_keys = old_n;
		memory_free(&cold->memory, keys, n * sizeof(keys[0]));
	} else {
		memory_free(&cold->memory, old, old_n * sizeof(old[0]));
	}
	return status;
}

static void mark(struct cold *cold, struct cold_segment *segment)
{
	pthread_mutex_lock(&cold->edit);
	segment->rewrite = true;
	pthread_mutex_unlock(&cold->edit);
}

/* Is there a version in the run, counted or not? Marks the segment. */
static int mark_run(struct cold *cold, struct run_reader *reader, const struct run *run,
		    const struct cold_erasure *erasure, bool *found)
{
	struct point point = { erasure->hash, erasure->bytes[0] };
	struct cold_segment *segment = run->segment[0];
	uint64_t seq;
	/* What was merged away may still lie in the file that was cut. */
	if (point_before(point, run->from) && !point_before(point, segment->first)) {
		*found = true;
		mark(cold, segment);
		return 0;
	}
	if (run->min_seq >= erasure->below_seq || !set_may_hold(cold, run, point))
		return 0;
	int status = run_reader_find(cold, reader, run, &erasure->ident, erasure->hash, &seq,
				     &segment);
	if (status != THERMO_OK)
		return status < 0 ? status : 0;
	if (seq < erasure->below_seq) {
		*found = true;
		mark(cold, segment);
	}
	return 0;
}

static int mark_runs(struct cold *cold, struct run_reader *reader, const struct run_set *set,
		     const struct cold_erasure *erasure, bool *found)
{
	int status = 0;
	*found = false;
	for (uint32_t i = 0; i < set->n && !status; i++)
		status = mark_run(cold, reader, set->runs[i], erasure, found);
	return status;
}

static bool any_marked(struct cold *cold, const struct run_set *set)
{
	bool marked = false;
	pthread_mutex_lock(&cold->edit);
	for (uint32_t i = 0; i < set->n; i++)
		for (uint32_t k = 0; k < set->runs[i]->n; k++)
			marked |= set->runs[i]->segment[k]->rewrite;
	pthread_mutex_unlock(&cold->edit);
	return marked;
}

static int forget(struct cold *cold, const struct cold_erasure *erasure)
{
	struct manifest_key key = { .below_seq = erasure->below_seq,
				    .key_len = (uint16_t)(erasure->ident.len - 1),
				    .space = erasure->bytes[0],
				    .flags = erasure->ident.chunk };
	memcpy(key.key, erasure->bytes + 1, key.key_len);
	pthread_mutex_lock(&cold->edit);
	int status = change_keys(cold, NULL, &key);
	pthread_mutex_unlock(&cold->edit);
	return status;
}

/* Looks for what is to be erased, when all that was found has been rewritten. */
int erase_step(struct cold *cold)
{
	struct run_set *set = set_pin(cold);
	struct run_reader *reader = NULL;
	int status = THERMO_MISS;
	if (!set->n_erasures || any_marked(cold, set))
		goto unpin; /* first what is known */
	status = run_reader_open(cold, &reader);
	for (uint32_t i = 0; i < set->n_erasures && !status; i++) {
		bool found;
		status = mark_runs(cold, reader, set, &set->erasures[i], &found);
		if (!status && !found) {
			status = forget(cold, &set->erasures[i]);
			break; /* the set is another one now */
		}
		if (found)
			break;
	}
	run_reader_close(cold, &reader);
unpin:
	set_unpin(cold, set);
	return status;
}

static bool pending(struct cold *cold, const struct manifest_key *key)
{
	bool found = false;
	pthread_mutex_lock(&cold->edit);
	for (uint32_t i = 0; i < cold->manifest.n_keys; i++)
		found |= same_key(&cold->manifest.keys[i], key);
	pthread_mutex_unlock(&cold->edit);
	return found;
}

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int cold_erase(struct cold *cold, const struct cold_get *identity, int64_t timeout_ns)
{
	struct manifest_key key = { .key_len = (uint16_t)identity->key_len,
				    .space = identity->space,
				    .flags = identity->flags & COLD_CHUNK };
	int64_t until = now_ns() + timeout_ns;
	check(identity->key_len && identity->key_len <= THERMO_KEY_MAX);
	memcpy(key.key, identity->key, identity->key_len);
	if (!cold_may_contain(cold, identity->space, identity->hash))
		return THERMO_OK;
	pthread_mutex_lock(&cold->edit);
	key.below_seq = cold->manifest.max_seq + 1;
	int status = atomic_load(&cold->failed) ? -EROFS : change_keys(cold, &key, NULL);
	pthread_mutex_unlock(&cold->edit);
	if (status)
		return status;
	while (pending(cold, &key)) {
		if (timeout_ns >= 0 && now_ns() >= until)
			return THERMO_PENDING;
		status = cold_work_unbudgeted(cold);
		if (status < 0)
			return status;
		if (status == THERMO_MISS)
			sched_yield(); /* another thread is at it */
	}
	cold_bury(cold);
	return THERMO_OK;
}

/* ---- Spaces ---- */

int cold_space_drop(struct cold *cold, uint8_t space, uint64_t below_seq)
{
	struct manifest *manifest = &cold->manifest;
	pthread_mutex_lock(&cold->edit);
	uint64_t old = manifest->below[space], old_max = manifest->max_seq;
	int status = 0;
	if (atomic_load(&cold->failed))
		status = -EROFS;
	if (status || below_seq <= old)
		goto unlock;
	manifest->below[space] = below_seq;
	/* Numbers below it must not come again, even if no run has one that large. */
	if (below_seq - 1 > manifest->max_seq)
		manifest->max_seq = below_seq - 1;
	status = set_reinstall(cold);
	if (status) {
		manifest->below[space] = old;
		manifest->max_seq = old_max;
	}
unlock:
	pthread_mutex_unlock(&cold->edit);
	return status;
}
