/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains of overflow buckets, and the store that they come from: committed from the front of the
 * overflow range, then reused through a free list that runs through entry[0].
 *
 * A bucket that was cut off a chain may be reused at once, although readers may still be in it and
 * will then follow another home's chain. What they find there are live entries, which the caller
 * tells from its own by the record; and what they miss they would have missed anyway: either the
 * bucket was empty and the last of its chain, or the view changed before it was cut off and they
 * look again.
 */
#include "index/chain.h"

#include <errno.h>
#include <sched.h>

#include "alloc/budget.h"
#include "alloc/check.h"
#include "alloc/pages.h"

uint64_t chain_commit_step(uint64_t committed, uint64_t most)
{
	uint64_t step = EXTENT_BYTES / sizeof(struct bucket);
	if (step > committed)
		step = committed;
	return step < most - committed ? step : most - committed;
}

int chain_commit(struct index *ix, struct bucket *start, uint64_t n)
{
	uint64_t bytes = n * sizeof(struct bucket);
	if (!budget_take(ix->budget, bytes))
		return -ENOMEM;
	int rc = pages_commit(start, bytes, ix->huge, 1);
	if (rc)
		budget_give(ix->budget, bytes);
	return rc;
}

/* --- the store of overflow buckets; under overflow_lock --- */

static uint64_t number_take(struct index *ix)
{
	uint64_t number = ix->free_list;
	if (number) {
		ix->free_list = entry_load(&ix->overflow[number], 0);
		return number;
	}
	while (ix->overflow_fresh == ix->overflow_committed && ix->overflow_ahead) {
		pthread_mutex_unlock(&ix->overflow_lock);
		sched_yield();
		pthread_mutex_lock(&ix->overflow_lock);
	}
	if (ix->overflow_fresh == ix->overflow_committed) {
		uint64_t more = chain_commit_step(ix->overflow_committed, ix->overflow_max);
		if (!more || chain_commit(ix, ix->overflow + ix->overflow_committed, more))
			return 0;
		ix->overflow_committed += more;
	}
	return ix->overflow_fresh++;
}

int chain_ahead(struct index *ix)
{
	pthread_mutex_lock(&ix->overflow_lock);
	uint64_t committed = ix->overflow_committed;
	uint64_t more = chain_commit_step(committed, ix->overflow_max);
	bool near = !ix->free_list && committed - ix->overflow_fresh < more / 8;
	if (!near || ix->overflow_ahead) {
		pthread_mutex_unlock(&ix->overflow_lock);
		return 0;
	}
	ix->overflow_ahead = true;
	pthread_mutex_unlock(&ix->overflow_lock);

	int rc = chain_commit(ix, ix->overflow + committed, more);

	pthread_mutex_lock(&ix->overflow_lock);
	ix->overflow_ahead = false;
	if (!rc)
		ix->overflow_committed += more;
	pthread_mutex_unlock(&ix->overflow_lock);
	return rc;
}

/* An empty overflow bucket, or NULL. */
static struct bucket *bucket_take(struct index *ix)
{
	pthread_mutex_lock(&ix->overflow_lock);
	uint64_t number = number_take(ix);
	ix->overflow_used += number != 0;
	pthread_mutex_unlock(&ix->overflow_lock);
	if (!number)
		return NULL;
	struct bucket *bucket = &ix->overflow[number];
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		atomic_store_explicit(&bucket->entry[i], 0, memory_order_relaxed);
	return bucket;
}

static void bucket_give(struct index *ix, struct bucket *bucket)
{
	uint64_t number = (uint64_t)(bucket - ix->overflow);
	pthread_mutex_lock(&ix->overflow_lock);
	check(number < ix->overflow_fresh && ix->overflow_used > 0);
	ix->overflow_used--;
	/* A late reader takes the number for no entry. */
	atomic_store_explicit(&bucket->entry[0], ix->free_list, memory_order_relaxed);
	ix->free_list = number;
	pthread_mutex_unlock(&ix->overflow_lock);
}

/* --- chains; under the home bucket's lock --- */

static struct bucket *behind(const struct index *ix, const struct bucket *bucket)
{
	uint64_t link = entry_load(bucket, CHAIN_SLOT);
	return entry_is_link(link) ? ix->overflow + link : NULL;
}

static void entry_put(struct bucket *bucket, unsigned slot, uint64_t entry, uint8_t counter)
{
	atomic_store_explicit(&bucket->counter[slot], counter, memory_order_relaxed);
	atomic_store_explicit(&bucket->entry[slot], entry, memory_order_release);
}

int chain_add(struct index *ix, struct bucket *home, uint64_t entry, uint8_t counter,
	      struct index_slot *out)
{
	struct bucket *last = home, *more;
	for (struct bucket *b = home; b; last = b, b = behind(ix, b)) {
		for (unsigned i = 0; i < INDEX_SLOTS; i++) {
			if (entry_load(b, i))
				continue;
			entry_put(b, i, entry, counter);
			*out = (struct index_slot){b, i};
			return 0;
		}
	}
	more = bucket_take(ix);
	if (!more)
		return -ENOMEM;
	/* The entry in the link's slot is copied behind first: a reader sees it here or follows the
	 * link. */
	entry_put(more, 0, entry_load(last, CHAIN_SLOT),
		  atomic_load_explicit(&last->counter[CHAIN_SLOT], memory_order_relaxed));
	entry_put(more, 1, entry, counter);
	atomic_store_explicit(&last->entry[CHAIN_SLOT], (uint64_t)(more - ix->overflow),
			      memory_order_release);
	*out = (struct index_slot){more, 1};
	return 0;
}

static bool is_empty(const struct bucket *bucket)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		any |= entry_load(bucket, i);
	return !any;
}

void chain_trim(struct index *ix, struct bucket *home)
{
	for (;;) {
		struct bucket *before = home, *last = behind(ix, home);
		if (!last)
			return;
		for (struct bucket *b = behind(ix, last); b; b = behind(ix, b)) {
			before = last;
			last = b;
		}
		if (!is_empty(last))
			return;
		/* A reader in it finds nothing, and nothing is behind it. */
		atomic_store_explicit(&before->entry[CHAIN_SLOT], 0, memory_order_release);
		bucket_give(ix, last);
	}
}

static bool fits_home(const struct index *ix, const struct bucket *home)
{
	unsigned n = 0;
	for (const struct bucket *b = home; b; b = behind(ix, b)) {
		for (unsigned i = 0; i < INDEX_SLOTS; i++)
			n += entry_is_record(entry_load(b, i));
		if (n > CHAIN_SLOT)
			return false;
	}
	return true;
}

static void copy_home(struct bucket *home, const struct bucket *from)
{
	unsigned to = 0;
	for (unsigned i = 0; i < INDEX_SLOTS; i++) {
		uint64_t entry = entry_load(from, i);
		if (!entry_is_record(entry))
			continue;
		while (entry_load(home, to))
			to++;
		check(to < CHAIN_SLOT);
		entry_put(home, to, entry,
			  atomic_load_explicit(&from->counter[i], memory_order_relaxed));
	}
}

void chain_tidy(struct index *ix, struct bucket *home)
{
	struct bucket *first = behind(ix, home);
	if (!first)
		return;
	if (!fits_home(ix, home)) {
		chain_trim(ix, home);
		return;
	}
	for (const struct bucket *b = first; b; b = behind(ix, b))
		copy_home(home, b);
	/* A reader that passed the home bucket before the copies and comes to the chain after they
	 * were cut off must look again: the view changes in between. */
	atomic_fetch_add_explicit(&ix->view, VIEW_PULLED, memory_order_acq_rel);
	atomic_store_explicit(&home->entry[CHAIN_SLOT], 0, memory_order_release);
	while (first) {
		struct bucket *next = behind(ix, first);
		bucket_give(ix, first);
		first = next;
	}
}

void chain_discard(struct index *ix, struct bucket *home)
{
	struct bucket *first = behind(ix, home);
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		atomic_store_explicit(&home->entry[i], 0, memory_order_relaxed);
	while (first) {
		struct bucket *next = behind(ix, first);
		bucket_give(ix, first);
		first = next;
	}
}
