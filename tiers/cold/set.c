/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run sets: the immutable view that readers have of the tier, and its replacement.
 *
 *   set_copy (present one, without runs) -> set_append... -> set_install: manifest durable, pointer
 *   swapped, readers of the old pointer gone -> set_unpin of the old set; readers that stayed hold it
 *   a while longer -> runs that lost their last reference -> dead list -> cold_bury
 */
#include "tiers/cold/tier.h"

#include "alloc/check.h"
#include "alloc/error.h"

#include <errno.h>

struct run_set *set_pin(struct cold *cold)
{
	unsigned token = gate_enter(&cold->gate);
	struct run_set *set = atomic_load(&cold->set);
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	gate_exit(&cold->gate, token);
	return set;
}

void run_unref(struct cold *cold, struct run *run)
{
	if (atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_mutex_lock(&cold->dead_lock);
	run->dead_next = cold->dead;
	cold->dead = run;
	pthread_mutex_unlock(&cold->dead_lock);
}

static void set_free(struct cold *cold, struct run_set *set)
{
	for (uint32_t i = 0; i < set->n; i++) {
		run_filter_unref(cold, set->filters[i]);
		run_unref(cold, set->runs[i]);
	}
	if (set->erasures)
		memory_free(&cold->memory, set->erasures, set->erasure_bytes);
	memory_free(&cold->memory, set, sizeof(*set));
}

void set_unpin(struct cold *cold, struct run_set *set)
{
	if (atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) == 1)
		set_free(cold, set);
}

void set_discard(struct cold *cold, struct run_set *set)
{
	check(atomic_load(&set->refs) == 1);
	set_free(cold, set);
}

static int copy_erasures(struct cold *cold, struct run_set *set)
{
	const struct manifest *manifest = &cold->manifest;
	if (!manifest->n_keys)
		return 0;
	set->erasure_bytes = manifest->n_keys * sizeof(set->erasures[0]);
	set->erasures = memory_alloc(&cold->memory, set->erasure_bytes);
	if (!set->erasures)
		return -ENOMEM;
	set->n_erasures = manifest->n_keys;
	for (uint32_t i = 0; i < manifest->n_keys; i++) {
		const struct manifest_key *key = &manifest->keys[i];
		struct cold_erasure *erasure = &set->erasures[i];
		erasure->ident = ident_make(erasure->bytes, key->space, key->key, key->key_len,
					    key->flags);
		erasure->hash = ident_hash(&erasure->ident);
		erasure->below_seq = key->below_seq;
	}
	return 0;
}

struct run_set *set_copy(struct cold *cold)
{
	struct run_set *set = memory_alloc(&cold->memory, sizeof(*set));
	if (!set)
		return NULL;
	atomic_init(&set->refs, 1);
	memcpy(set->below, cold->manifest.below, sizeof(set->below));
	if (copy_erasures(cold, set)) {
		memory_free(&cold->memory, set, sizeof(*set));
		return NULL;
	}
	return set;
}

void set_append(struct run_set *set, struct run *run)
{
	check(set->n < COLD_RUNS_MAX);
	atomic_fetch_add_explicit(&run->refs, 1, memory_order_relaxed);
	set->runs[set->n] = run;
	if (run->filter) {
		atomic_fetch_add_explicit(&run->filter->refs, 1, memory_order_relaxed);
		set->filters[set->n] = run->filter;
		set->probe[set->n].block = run->filter->block;
		set->probe[set->n].blocks = run->filter->blocks;
	}
	set->n++;
}

/* Leaves out filters, the largest first, until filters and fences fit their cap. */
static void fit_filters(struct cold *cold, struct run_set *set)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < set->n; i++) {
		sum += set->runs[i]->fence_room;
		sum += set->filters[i] ? set->filters[i]->bytes : 0;
	}
	while (sum > cold->filter_bytes) {
		uint32_t largest = set->n;
		for (uint32_t i = 0; i < set->n; i++)
			if (set->filters[i] && (largest == set->n ||
						set->filters[i]->bytes >= set->filters[largest]->bytes))
				largest = i;
		if (!cold->filters_short) {
			cold->filters_short = true;
			cold_say(cold, "cold tier %s: filters and fences need more than their %llu bytes: "
				       "look-ups that miss will read the device; raise the filter cap",
				 cold->dir.name, (unsigned long long)cold->filter_bytes);
		}
		if (largest == set->n)
			return; /* fences alone are too large */
		sum -= set->filters[largest]->bytes;
		run_filter_unref(cold, set->filters[largest]);
		set->filters[largest] = NULL;
		set->probe[largest].block = NULL;
	}
}

/* The manifest's list of runs is the set's. */
static int list_runs(struct cold *cold, const struct run_set *set, struct manifest *manifest)
{
	manifest->runs = NULL;
	manifest->n_runs = 0;
	if (!set->n)
		return 0;
	manifest->runs = memory_alloc(&cold->memory, set->n * sizeof(manifest->runs[0]));
	if (!manifest->runs)
		return -ENOMEM;
	manifest->n_runs = set->n;
	for (uint32_t i = 0; i < set->n; i++)
		manifest->runs[i] = (struct manifest_run){ set->runs[i]->number,
							   set->runs[i]->file_bytes,
							   set->runs[i]->footer_hash };
	return 0;
}

static int write_manifest(struct cold *cold, const struct run_set *set)
{
	struct manifest next = cold->manifest; /* arrays shared, but for the runs */
	uint64_t bytes = 0;
	bool unsure = false;
	int status = list_runs(cold, set, &next);
	if (status)
		return status;
	next.generation++;
	next.next_number = atomic_load(&cold->next_number);
	for (uint32_t i = 0; i < set->n; i++)
		if (set->runs[i]->footer.max_seq > next.max_seq)
			next.max_seq = set->runs[i]->footer.max_seq;
	status = manifest_write(&cold->memory, &cold->dir, &next, &bytes, &unsure);
	if (!status) {
		cold->manifest.generation = next.generation;
		cold->manifest.max_seq = next.max_seq;
		count(&cold->counters.writes, 1);
		count(&cold->counters.write_bytes, bytes);
		atomic_fetch_add(&cold->used_bytes, bytes - cold->manifest_bytes);
		cold->manifest_bytes = bytes;
	} else if (unsure && !atomic_exchange(&cold->failed, 1)) {
		/* Either state may come up after a restart: no file may go that one of them names. */
		cold_say(cold, "cold tier %s: syncing the directory failed (%s): no more writes; "
			       "check the device and reopen", cold->dir.name, strerrordesc_np(-status));
	}
	if (next.runs)
		memory_free(&cold->memory, next.runs, next.n_runs * sizeof(next.runs[0]));
	return status;
}

int set_install(struct cold *cold, struct run_set *set)
{
	fit_filters(cold, set);
	int status = write_manifest(cold, set);
	if (status)
		return status;
	for (uint32_t i = 0; i < set->n; i++) {
		if (set->filters[i] || !set->runs[i]->filter)
			continue;
		run_filter_unref(cold, set->runs[i]->filter);
		set->runs[i]->filter = NULL;
	}
	struct run_set *old = atomic_exchange(&cold->set, set);
	if (old) {
		gate_wait(&cold->gate);
		set_unpin(cold, old);
	}
	return 0;
}

int set_save(struct cold *cold)
{
	return write_manifest(cold, atomic_load(&cold->set));
}

bool set_visible(const struct run_set *set, const struct ident *ident, uint64_t hash, uint64_t seq)
{
	if (seq < set->below[ident->bytes[0]])
		return false;
	for (uint32_t i = 0; i < set->n_erasures; i++) {
		const struct cold_erasure *erasure = &set->erasures[i];
		if (erasure->hash == hash && seq < erasure->below_seq &&
		    !ident_compare(&erasure->ident, ident))
			return false;
	}
	return true;
}

unsigned cold_bury(struct cold *cold)
{
	pthread_mutex_lock(&cold->dead_lock);
	struct run *run = cold->dead;
	cold->dead = NULL;
	pthread_mutex_unlock(&cold->dead_lock);
	unsigned n = 0;
	while (run) {
		struct run *next = run->dead_next;
		char name[RUN_NAME_BYTES];
		run_name(run->number, name);
		/* A file that cannot be unlinked is an orphan: the next open removes it. */
		if (atomic_load(&run->obsolete) && !atomic_load(&cold->failed)) {
			file_unlink(&cold->dir, name);
			cold_give(cold, run->file_bytes);
		}
		run_free(cold, run);
		run = next;
		n++;
	}
	return n;
}
