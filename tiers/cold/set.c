/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run sets: the immutable view that readers have of the tier, and its replacement.
 *
 *   set_copy (what the manifest says, without runs) -> set_append... -> set_install: manifest durable,
 *   pointer swapped, readers of the old pointer gone -> set_unpin of the old set; readers that stayed
 *   hold it a while longer -> runs and segments that lost their last reference -> dead list -> cold_bury
 */
#include "tiers/cold/tier.h"

#include "alloc/check.h"

#include <errno.h>

struct run_set *set_pin(struct cold *cold)
{
	unsigned token = gate_enter(&cold->gate);
	struct run_set *set = atomic_load(&cold->set);
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	gate_exit(&cold->gate, token);
	return set;
}

static void set_free(struct cold *cold, struct run_set *set)
{
	for (uint32_t i = 0; i < set->n; i++)
		run_unref(cold, set->runs[i]);
	if (set->erasures)
		memory_free(&cold->memory, set->erasures, set->erasure_bytes);
	memory_free(&cold->memory, set, sizeof(*set));
}

void set_unpin(struct cold *cold, struct run_set *set)
{
	if (atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_mutex_lock(&cold->dead_lock);
	if (set->older)
		set->older->newer = set->newer;
	else
		cold->oldest_set = set->newer;
	if (set->newer)
		set->newer->older = set->older;
	pthread_mutex_unlock(&cold->dead_lock);
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
	for (uint32_t i = 0; i < manifest->n_keys; i++)
		erasure_make(&set->erasures[i], &manifest->keys[i]);
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

int set_append(struct run_set *set, struct run *run)
{
	if (set->n == COLD_RUNS_MAX)
		return -ENOSPC;
	atomic_fetch_add_explicit(&run->refs, 1, memory_order_relaxed);
	set->runs[set->n++] = run;
	return 0;
}

/* ---- Filters ---- */

/* Takes filters out of DRAM, those of the largest run first, until filters and fences fit their cap.
 * Under edit; the set is the present one. */
static void fit_filters(struct cold *cold, const struct run_set *set)
{
	uint8_t *out[256];
	size_t bytes[256];
	uint32_t n = 0;
	const struct run *largest = NULL;
	uint64_t used = atomic_load(&cold->filter_used);
	for (uint32_t i = 0; i < set->n; i++)
		if (!largest || set->runs[i]->records >= largest->records)
			largest = set->runs[i];
	for (uint32_t r = set->n + 1; r-- > 0 && used > cold->filter_bytes;) {
		const struct run *run = r == set->n ? largest : set->runs[r];
		for (uint32_t i = 0; run && i < run->n && n < 256; i++) {
			struct cold_segment *segment = run->segment[i];
			if (used <= cold->filter_bytes)
				break;
			uint8_t *filter = atomic_exchange(&segment->filter, NULL);
			if (!filter)
				continue;
			out[n] = filter;
			bytes[n] = segment->footer.filter.bytes;
			used -= bytes[n++];
		}
	}
	if (!n)
		return;
	if (!cold->filters_short)
		cold_say(cold, "cold tier %s: filters and fences need more than their %llu bytes: "
			       "look-ups that miss will read the device; raise the filter cap",
			 cold->dir.name, (unsigned long long)cold->filter_bytes);
	cold->filters_short = true;
	atomic_store(&cold->filters_out, 1);
	gate_wait(&cold->gate);
	while (n--) {
		memory_free(&cold->memory, out[n], bytes[n]);
		atomic_fetch_sub(&cold->filter_used, bytes[n]);
	}
}

int set_load_filters(struct cold *cold)
{
	int status = THERMO_MISS;
	bool all = true;
	if (!atomic_load(&cold->filters_out))
		return status;
	pthread_mutex_lock(&cold->edit);
	const struct run_set *set = atomic_load(&cold->set);
	for (uint32_t r = 0; r < set->n && status == THERMO_MISS; r++) {
		for (uint32_t i = 0; i < set->runs[r]->n; i++) {
			struct cold_segment *segment = set->runs[r]->segment[i];
			if (atomic_load(&segment->filter))
				continue;
			all = false;
			if (!cold_segment_load_filter(cold, segment)) {
				status = THERMO_OK;
				break;
			}
		}
	}
	if (all)
		atomic_store(&cold->filters_out, 0);
	pthread_mutex_unlock(&cold->edit);
	return status;
}

bool set_may_hold(struct cold *cold, const struct run *run, struct point point)
{
	unsigned token = gate_enter(&cold->gate);
	const struct cold_segment *segment = run_route(run, point);
	bool may = segment && cold_segment_may_hold(segment, point);
	gate_exit(&cold->gate, token);
	return may;
}

/* ---- Installing ---- */

/* The manifest's list of runs is the set's. */
static int list_runs(struct cold *cold, const struct run_set *set, struct manifest *manifest)
{
	uint32_t segments = 0, at = 0;
	manifest->runs = NULL;
	manifest->segments = NULL;
	manifest->n_runs = manifest->n_segments = 0;
	for (uint32_t i = 0; i < set->n; i++)
		segments += set->runs[i]->n;
	if (!set->n)
		return 0;
	manifest->runs = memory_alloc(&cold->memory, set->n * sizeof(manifest->runs[0]));
	manifest->segments = memory_alloc(&cold->memory, segments * sizeof(manifest->segments[0]));
	manifest->n_runs = set->n;
	manifest->n_segments = segments;
	if (!manifest->runs || !manifest->segments)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct run *run = set->runs[i];
		manifest->runs[i] = (struct manifest_run){ run->from.hash, run->shadowed, run->n,
							   (uint16_t)run->from.space, run->level };
		for (uint32_t k = 0; k < run->n; k++)
			manifest->segments[at++] = (struct manifest_segment){
				run->segment[k]->number, run->segment[k]->file_bytes,
				run->segment[k]->footer_hash
			};
	}
	return 0;
}

static void unlist_runs(struct cold *cold, struct manifest *manifest)
{
	if (manifest->runs)
		memory_free(&cold->memory, manifest->runs,
			    manifest->n_runs * sizeof(manifest->runs[0]));
	if (manifest->segments)
		memory_free(&cold->memory, manifest->segments,
			    manifest->n_segments * sizeof(manifest->segments[0]));
}

static int write_manifest(struct cold *cold, const struct run_set *set)
{
	struct manifest next = cold->manifest; /* arrays shared, but for the runs */
	uint64_t bytes = 0;
	bool unsure = false;
	int status = list_runs(cold, set, &next);
	next.generation++;
	next.next_number = atomic_load(&cold->next_number);
	for (uint32_t i = 0; i < set->n; i++)
		if (set->runs[i]->max_seq > next.max_seq)
			next.max_seq = set->runs[i]->max_seq;
	if (!status)
		status = manifest_write(&cold->memory, &cold->dir, &next, &bytes, &unsure);
	unlist_runs(cold, &next);
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
			       "check the device and reopen", cold->dir.name,
			 strerrordesc_np(-status));
	}
	return status;
}

/* The set lives. */
static void set_enlist(struct cold *cold, struct run_set *set, struct run_set *before)
{
	pthread_mutex_lock(&cold->dead_lock);
	set->generation = cold->manifest.generation;
	set->older = before;
	if (before)
		before->newer = set;
	else
		cold->oldest_set = set;
	pthread_mutex_unlock(&cold->dead_lock);
}

void set_begin(struct cold *cold, struct run_set *set)
{
	set_enlist(cold, set, NULL);
	atomic_store(&cold->set, set);
}

int set_install(struct cold *cold, struct run_set *set)
{
	int status = write_manifest(cold, set);
	if (status)
		return status;
	struct run_set *old = atomic_load(&cold->set);
	set_enlist(cold, set, old);
	atomic_store(&cold->set, set);
	gate_wait(&cold->gate);
	set_unpin(cold, old);
	if (atomic_load(&cold->filter_used) > cold->filter_bytes)
		fit_filters(cold, set);
	return 0;
}

int set_reinstall(struct cold *cold)
{
	const struct run_set *old = atomic_load(&cold->set);
	struct run_set *set = set_copy(cold);
	if (!set)
		return -ENOMEM;
	for (uint32_t i = 0; i < old->n; i++)
		set_append(set, old->runs[i]);
	int status = set_install(cold, set);
	if (status)
		set_discard(cold, set);
	return status;
}

int set_save(struct cold *cold)
{
	return write_manifest(cold, atomic_load(&cold->set));
}

bool set_visible(const struct run_set *set, const struct ident *ident, uint64_t hash, uint64_t seq)
{
	if (seq < set->below[ident->bytes[0]])
		return false;
	for (uint32_t i = 0; i < set->n_erasures; i++)
		if (erasure_covers(&set->erasures[i], ident, hash, seq))
			return false;
	return true;
}

bool set_lost(const struct cold *cold, const struct run_set *set, struct point point, uint64_t seq)
{
	for (uint32_t i = 0; i < cold->manifest.n_holes; i++) {
		const struct manifest_hole *hole = &cold->manifest.holes[i];
		struct point from = { hole->from_hash, hole->from_space };
		struct point to = { hole->to_hash, hole->to_space };
		if (seq < hole->below_seq && set->below[point.space] < hole->below_seq &&
		    !point_before(point, from) && !point_before(to, point))
			return true;
	}
	return false;
}

/* ---- What is of no use any more ---- */

#define PUNCH_MIN (128u << 10) /* bytes */

void set_punch_later(struct cold *cold, struct cold_segment *segment, uint64_t upto)
{
	upto &= ~(uint64_t)(FORMAT_PAGE - 1);
	uint64_t from = segment->punched > FORMAT_PAGE ? segment->punched : FORMAT_PAGE;
	if (upto < from + PUNCH_MIN)
		return; /* not worth it */
	struct punch *punch = memory_alloc(&cold->memory, sizeof(*punch));
	if (!punch)
		return; /* the bytes go with the file */
	atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
	segment->punched = upto;
	*punch = (struct punch){ segment, upto, cold->manifest.generation, NULL };
	pthread_mutex_lock(&cold->dead_lock);
	struct punch **end = &cold->punches;
	while (*end)
		end = &(*end)->next;
	*end = punch;
	pthread_mutex_unlock(&cold->dead_lock);
}

/* Those whose sets are gone; they are in the order of generations. */
static unsigned bury_punches(struct cold *cold)
{
	unsigned n = 0;
	for (;;) {
		pthread_mutex_lock(&cold->dead_lock);
		struct punch *punch = cold->punches;
		uint64_t oldest = cold->oldest_set ? cold->oldest_set->generation : UINT64_MAX;
		if (punch && punch->generation > oldest)
			punch = NULL;
		if (punch)
			cold->punches = punch->next;
		pthread_mutex_unlock(&cold->dead_lock);
		if (!punch)
			return n;
		char name[SEGMENT_NAME_BYTES];
		cold_segment_name(punch->segment->number, name);
		if (!atomic_load(&cold->failed) &&
		    !file_punch(&cold->dir, name, FORMAT_PAGE, punch->upto - FORMAT_PAGE))
			cold_segment_count_given(cold, punch->segment);
		cold_segment_unref(cold, punch->segment);
		memory_free(&cold->memory, punch, sizeof(*punch));
		n++;
	}
}

unsigned cold_bury(struct cold *cold)
{
	unsigned n = bury_punches(cold);
	pthread_mutex_lock(&cold->dead_lock);
	struct cold_segment *segment = cold->dead;
	cold->dead = NULL;
	pthread_mutex_unlock(&cold->dead_lock);
	while (segment) {
		struct cold_segment *next = segment->dead_next;
		char name[SEGMENT_NAME_BYTES];
		cold_segment_name(segment->number, name);
		/* A file that cannot be unlinked is an orphan: the next open removes it. */
		if (atomic_load(&segment->obsolete) && !atomic_load(&cold->failed)) {
			file_unlink(&cold->dir, name);
			cold_give(cold, segment->file_bytes - atomic_load(&segment->given));
		}
		cold_segment_free(cold, segment);
		segment = next;
		n++;
	}
	return n;
}
