/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is merged, and when. Two reasons, no others (docs/decisions.md has the simulation):
 *
 *   garbage   when records that are replaced, deleted, expired or dropped come to garbage_percent of those
 *             that are not, all runs become one
 *   runs      when there are more than runs_max, the flushes since the last such merge become one run of
 *             level 1; when there are fewer than two of those, the runs of level 1 with them become one
 *             of level 2; and so on
 *
 * And segments that hold an erased key are rewritten, as soon as they are known.
 */
#include "tiers/cold/tier.h"

#include "alloc/check.h"

#include <errno.h>

#define WEIGH_MS 1000u /* between estimates, if nothing else changes */

/* ---- Garbage ---- */

/* Records of the segment that belong to dropped spaces, about. */
static double dropped_in(const struct cold_segment *segment, const struct run_set *set)
{
	double sum = 0;
	for (uint32_t i = 0; i < segment->fences.n_spaces; i++) {
		const struct segment_space *space = &segment->spaces[i];
		uint64_t below = set->below[space->space];
		if (below > space->max_seq)
			sum += (double)space->records;
		else if (below > space->min_seq)
			sum += (double)space->records * (double)(below - space->min_seq) /
			       ((double)(space->max_seq - space->min_seq) + 1);
	}
	return sum;
}

static double expired_in(const struct run *run, uint64_t now)
{
	uint64_t until = run->max_expires; /* UINT64_MAX if some never expire: look at those that do */
	if (!run->expiring || now < run->min_expires)
		return 0;
	if (until == UINT64_MAX)
		until = now + (now - run->min_expires) + 1;
	if (now >= until)
		return (double)run->expiring;
	return (double)run->expiring * (double)(now - run->min_expires) /
	       (double)(until - run->min_expires);
}

static bool weigh(struct cold *cold, const struct run_set *set, uint64_t now)
{
	double records = 0, garbage = 0;
	bool any_dropped = false;
	uint64_t published = 0;
	for (unsigned i = 0; i < 256; i++)
		any_dropped |= set->below[i] != 0;
	for (uint32_t i = 0; i < set->n; i++)
		published = set->runs[i]->published > published ? set->runs[i]->published : published;
	/* A writer that is open may need tombstones: a merge would keep them. */
	bool tombstones = writers_all_after(cold, published);
	for (uint32_t i = 0; i < set->n; i++) {
		const struct run *run = set->runs[i];
		records += (double)run->records;
		garbage += (double)run->shadowed;
		if (tombstones)
			garbage += (double)run->tombstones + expired_in(run, now);
		for (uint32_t k = 0; any_dropped && k < run->n; k++)
			garbage += dropped_in(run->segment[k], set);
	}
	double live = records > garbage ? records - garbage : 0;
	return garbage >= 1 && garbage * 100 >= live * cold->garbage_percent;
}

/* The estimate, renewed when the set has changed or a while has passed. */
static bool garbage_due(struct cold *cold, const struct run_set *set)
{
	uint64_t now = cold->clock_ms(cold->clock_context);
	if (cold->weighed_generation != cold->manifest.generation ||
	    now - cold->weighed_ms >= WEIGH_MS) {
		cold->garbage_due = weigh(cold, set, now);
		cold->weighed_generation = cold->manifest.generation;
		cold->weighed_ms = now;
	}
	return cold->garbage_due;
}

/* ---- Windows ---- */

static bool pick_rewrite(const struct run_set *set, struct window *window)
{
	for (uint32_t i = 0; i < set->n && set->n_erasures; i++) {
		const struct run *run = set->runs[i];
		for (uint32_t k = 0; k < run->n && !run->busy; k++) {
			if (!run->segment[k]->rewrite)
				continue;
			*window = (struct window){ i, 1, run->level, false, run->segment[k] };
			return true;
		}
	}
	return false;
}

/* How many of the newest runs are free and not above the level. */
static uint32_t newest_up_to(const struct run_set *set, unsigned level)
{
	uint32_t n = 0;
	while (n < set->n && !set->runs[n]->busy && set->runs[n]->level <= level)
		n++;
	return n;
}

static bool pick_newest(const struct run_set *set, struct window *window)
{
	unsigned highest = 0;
	for (uint32_t i = 0; i < set->n; i++)
		highest = set->runs[i]->level > highest ? set->runs[i]->level : highest;
	for (unsigned level = 0; level <= highest; level++) {
		uint32_t n = newest_up_to(set, level);
		if (n < 2)
			continue;
		*window = (struct window){ 0, n, (uint16_t)(level + 1), n == set->n, NULL };
		return true;
	}
	return false;
}

/* Anywhere: the two neighbours that cost the least. */
static bool pick_cheapest(const struct run_set *set, struct window *window)
{
	uint64_t least = UINT64_MAX;
	for (uint32_t i = 0; i + 1 < set->n; i++) {
		const struct run *a = set->runs[i], *b = set->runs[i + 1];
		if (a->busy || b->busy || a->bytes + b->bytes >= least)
			continue;
		least = a->bytes + b->bytes;
		uint16_t level = a->level > b->level ? a->level : b->level;
		*window = (struct window){ i, 2, level, set->n == 2, NULL };
	}
	return least != UINT64_MAX;
}

bool pick_window(struct cold *cold, const struct run_set *set, bool forced, struct window *window)
{
	bool busy = false;
	if (pick_rewrite(set, window))
		return true;
	for (uint32_t i = 0; i < set->n; i++)
		busy |= set->runs[i]->busy;
	if (set->n && !busy && garbage_due(cold, set)) {
		uint16_t level = 1;
		for (uint32_t i = 0; i < set->n; i++)
			level = set->runs[i]->level > level ? set->runs[i]->level : level;
		*window = (struct window){ 0, set->n, level, true, NULL };
		return true;
	}
	if ((forced || set->n > cold->runs_max) && pick_newest(set, window))
		return true;
	return forced && pick_cheapest(set, window);
}

/* ---- What is of no use ---- */

/* Nothing in it is visible, and nothing in it hides anything. last: of the oldest run. */
static bool useless(struct cold *cold, const struct run_set *set, const struct run *run,
		    const struct cold_segment *segment, uint64_t now)
{
	bool dropped = true;
	for (uint32_t i = 0; i < segment->fences.n_spaces; i++)
		dropped &= segment->spaces[i].max_seq < set->below[segment->spaces[i].space];
	if (dropped)
		return true;
	return run == set->runs[set->n - 1] && segment->footer.max_expires <= now &&
	       writers_all_after(cold, run->published);
}

/* The run without its useless segments: the same one with one more reference if it has none, or a new
 * one; NULL if there is no memory, or, with *none, nothing is left. */
static struct run *tidied(struct cold *cold, const struct run_set *set, struct run *run,
			  uint64_t now, bool *none)
{
	uint32_t n = 0;
	*none = false;
	for (uint32_t i = 0; i < run->n && !run->busy; i++)
		n += !useless(cold, set, run, run->segment[i], now);
	if (run->busy || n == run->n) {
		atomic_fetch_add(&run->refs, 1);
		return run;
	}
	*none = !n;
	struct cold_segment **kept = n ? memory_alloc(&cold->memory, n * sizeof(*kept)) : NULL;
	if (!kept)
		return NULL;
	uint32_t k = 0;
	for (uint32_t i = 0; i < run->n; i++)
		if (!useless(cold, set, run, run->segment[i], now))
			kept[k++] = run->segment[i];
	struct run *less = run_new(cold, kept, n, run->from, run, none);
	memory_free(&cold->memory, kept, n * sizeof(*kept));
	return less;
}

static void mark_obsolete(const struct run *run, const struct run *less)
{
	for (uint32_t i = 0, k = 0; i < run->n; i++) {
		if (less && k < less->n && less->segment[k] == run->segment[i])
			k++;
		else
			atomic_store(&run->segment[i]->obsolete, true);
	}
}

int pick_tidy(struct cold *cold)
{
	uint64_t now = cold->clock_ms(cold->clock_context);
	struct run *instead[COLD_RUNS_MAX]; /* of each old run; NULL: none is left */
	int status = THERMO_MISS;
	uint32_t n = 0;
	bool changed = false;
	pthread_mutex_lock(&cold->edit);
	struct run_set *old = set_pin(cold), *set = NULL;
	for (; n < old->n && !atomic_load(&cold->failed); n++) {
		bool none;
		instead[n] = tidied(cold, old, old->runs[n], now, &none);
		changed |= instead[n] != old->runs[n];
		if (!instead[n] && !none)
			status = -ENOMEM;
	}
	if (changed && status == THERMO_MISS) {
		set = set_copy(cold);
		for (uint32_t i = 0; i < n && set; i++)
			if (instead[i])
				set_append(set, instead[i]);
		status = set ? set_install(cold, set) : -ENOMEM;
		if (status && set)
			set_discard(cold, set);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!status && instead[i] != old->runs[i])
			mark_obsolete(old->runs[i], instead[i]); /* old is pinned: they live yet */
		run_unref(cold, instead[i]);
	}
	set_unpin(cold, old);
	pthread_mutex_unlock(&cold->edit);
	return status;
}
