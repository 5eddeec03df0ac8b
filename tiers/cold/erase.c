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

/* The very same erasure, not a later one of the key. */
static bool same_erasure(const struct manifest_key *a, const struct manifest_key *b)
{
	return same_key(a, b) && a->below_seq == b->below_seq && a->ticket == b->ticket;
}

/* Changes the list of keys: with `add` (in place of an earlier one of its key), without `remove`. Under edit. */
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
		if (!(add && same_key(&old[i], add)) && !(remove && same_erasure(&old[i], remove)))
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

void erasure_make(struct cold_erasure *erasure, const struct manifest_key *key)
{
	erasure->ident = ident_make(erasure->bytes, key->space, key->key, key->key_len, key->flags);
	erasure->hash = ident_hash(&erasure->ident);
	erasure->below_seq = key->below_seq;
	erasure->ticket = key->ticket;
	erasure->numbered = key->flags & COLD_NUMBERED;
	erasure->numbers = 1;
	if (erasure->numbered)
		memcpy(&erasure->numbers, erasure->bytes + erasure->ident.len - 4, 4);
}

bool erasure_covers(const struct cold_erasure *erasure, const struct ident *ident, uint64_t hash,
		    uint64_t seq)
{
	uint32_t number;
	if (seq >= erasure->below_seq)
		return false;
	if (!erasure->numbered)
		return erasure->hash == hash && ident_equal(&erasure->ident, ident);
	if (ident->len != erasure->ident.len || ident->chunk != erasure->ident.chunk ||
	    memcmp(ident->bytes, erasure->bytes, ident->len - 4) != 0)
		return false;
	memcpy(&number, ident->bytes + ident->len - 4, 4);
	return number < erasure->numbers;
}

/* The i-th identity of it; its bytes are put into buffer. */
static struct ident nth(const struct cold_erasure *erasure, uint32_t i, uint8_t *buffer, uint64_t *hash)
{
	struct ident ident = { buffer, erasure->ident.len, erasure->ident.chunk };
	memcpy(buffer, erasure->bytes, ident.len);
	if (erasure->numbered)
		memcpy(buffer + ident.len - 4, &i, 4);
	*hash = ident_hash(&ident);
	return ident;
}

/* Is there a version of the identity in the run, counted or not? Marks the segment. */
static int mark_run(struct cold *cold, struct run_reader *reader, const struct run *run,
		    const struct ident *ident, uint64_t hash, uint64_t below_seq, bool *found)
{
	struct point point = { hash, ident->bytes[0] };
	struct cold_segment *segment = run->segment[0];
	uint64_t seq;
	/* What was merged away may still lie in the file that was cut. */
	if (point_before(point, run->from) && !point_before(point, segment->first)) {
		*found = true;
		mark(cold, segment);
		return 0;
	}
	if (run->min_seq >= below_seq || !set_may_hold(cold, run, point))
		return 0;
	int status = run_reader_find(cold, reader, run, ident, hash, &seq, &segment);
	if (status != THERMO_OK)
		return status < 0 ? status : 0;
	if (seq < below_seq) {
		*found = true;
		mark(cold, segment);
	}
	return 0;
}

static int mark_runs(struct cold *cold, struct run_reader *reader, const struct run_set *set,
		     const struct cold_erasure *erasure, bool *found)
{
	uint8_t buffer[IDENT_MAX];
	int status = 0;
	*found = false;
	for (uint32_t n = 0; n < erasure->numbers && !status; n++) {
		uint64_t hash;
		struct ident ident = nth(erasure, n, buffer, &hash);
		for (uint32_t i = 0; i < set->n && !status; i++)
			status = mark_run(cold, reader, set->runs[i], &ident, hash, erasure->below_seq,
					  found);
	}
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
				    .flags = (uint8_t)(erasure->ident.chunk |
						       (erasure->numbered ? COLD_NUMBERED : 0)),
				    .ticket = erasure->ticket };
	memcpy(key.key, erasure->bytes + 1, key.key_len);
	pthread_mutex_lock(&cold->edit);
	int status = change_keys(cold, NULL, &key);
	pthread_mutex_unlock(&cold->edit);
	return status;
}

/* Looks for what is to be erased, when all that was found has been rewritten. */
int erase_step(struct cold *cold)
{
	struct run_reader *reader = NULL;
	struct run_set *set = set_pin(cold);
	int status = THERMO_MISS;
	if (!set->n_erasures || any_marked(cold, set))
		goto unpin; /* first what is known */
	status = run_reader_open(cold, &reader);
	bool marked = false;
	for (uint32_t i = 0; i < set->n_erasures && !status; i++) {
		const struct cold_erasure *erasure = &set->erasures[i];
		/* If so, and the pinned runs are the present ones, what such a writer held is in them, or nowhere. */
		bool settled = writers_all_after(cold, erasure->ticket) &&
			       atomic_load(&cold->set) == set;
		bool found;
		status = mark_runs(cold, reader, set, erasure, &found);
		marked |= found;
		if (status || found || !settled)
			continue;
		status = forget(cold, erasure);
		marked = true;
		break; /* the set is another one now */
	}
	run_reader_close(cold, &reader);
	if (!status)
		status = marked ? THERMO_OK : THERMO_MISS;
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

/* No run can hold a version, and there is no writer that might. */
static bool nowhere(struct cold *cold, const struct cold_erasure *erasure)
{
	uint8_t buffer[IDENT_MAX];
	bool may = !writers_all_after(cold, atomic_load(&cold->ticket) + 1);
	for (uint32_t n = 0; n < erasure->numbers && !may; n++) {
		uint64_t hash;
		struct ident ident = nth(erasure, n, buffer, &hash);
		may = cold_may_contain(cold, ident.bytes[0], hash);
	}
	return !may;
}

/* Writes it down. */
static int erase_begin(struct cold *cold, struct manifest_key *key)
{
	pthread_mutex_lock(&cold->edit);
	key->ticket = atomic_load(&cold->ticket) + 1;
	for (uint32_t i = 0; i < cold->manifest.n_keys; i++) {
		const struct manifest_key *other = &cold->manifest.keys[i];
		if (same_key(other, key) && other->below_seq > key->below_seq)
			key->below_seq = other->below_seq;
	}
	int status = atomic_load(&cold->failed) ? -EROFS : change_keys(cold, key, NULL);
	if (!status)
		atomic_store(&cold->ticket, key->ticket);
	pthread_mutex_unlock(&cold->edit);
	return status;
}

static struct manifest_key key_of(const struct cold_get *identity)
{
	struct manifest_key key = { .key_len = (uint16_t)identity->key_len,
				    .space = identity->space,
				    .flags = identity->flags & (COLD_CHUNK | COLD_NUMBERED) };
	check(identity->key_len && identity->key_len <= THERMO_KEY_MAX);
	memcpy(key.key, identity->key, identity->key_len);
	return key;
}

int cold_erase_begin(struct cold *cold, const struct cold_get *identity, uint64_t below_seq)
{
	struct manifest_key key = key_of(identity);
	struct cold_erasure erasure;
	key.below_seq = below_seq;
	erasure_make(&erasure, &key);
	check(erasure.numbers <= COLD_NUMBERS_MAX);
	if (nowhere(cold, &erasure))
		return THERMO_OK;
	int status = erase_begin(cold, &key);
	return status ? status : THERMO_PENDING;
}

int cold_erase_wait(struct cold *cold, const struct cold_get *identity, int64_t timeout_ns)
{
	struct manifest_key key = key_of(identity);
	int64_t until = now_ns() + timeout_ns;
	while (pending(cold, &key)) {
		if (timeout_ns >= 0 && now_ns() >= until)
			return THERMO_PENDING;
		int status = cold_work_unbudgeted(cold);
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
