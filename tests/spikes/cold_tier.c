// SPDX-License-Identifier: Apache-2.0
/*
 * Spike: can a cold tier without an index keep its promises?
 *
 * Cold is a stack of sorted immutable runs; only filters and fences are in DRAM.  This program
 * plays compaction policies over sets of keys, with no data and no device, and prints what each
 * gives in reads a look-up, write amplification, space amplification, tombstones kept, and DRAM a
 * key.  The question is whether one policy meets all of these together:
 *
 *   reads of a cold hit      <= 1.02   false positives of the filters asked before the hit <= 0.02
 *   writes of a blob         <= 4      log 1 + flush 1 + compaction; so flush + compaction <= 3
 *   writes of a sequence     <= 3      log + window + one merge
 *   DRAM                     a stated number of bytes a key
 *
 * This file does blobs; cold_sequences.c does the last but one line.  Every key is put once, then
 * puts and deletes hit old keys, half of them uniformly, half with a Zipf law whose hottest percent
 * never leaves the tiers above.
 *
 *     cc -O2 -std=c17 cold_tier.c -lm && ./a.out [keys, default 100000000]
 *
 * A run is two bitmaps over the key numbers (values, tombstones), so a merge is an OR and all
 * counts are exact.  The false-positive rates are the measured ones of cold_filters.c, beside this
 * file.
 */
#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spike.h"

enum {
	RUNS_LIMIT = 192,
	LEVELS = 12,
	TURNOVERS = 3,
	LOOKUPS = 4000,
	CHUNK = 512, /* words merged at a time */
	AHEAD = 32,  /* keys drawn, and prefetched, before the first of them is written */
};

static const double value_bytes = 250; /* mean of 100 to 400, whatever the key's use */
static const double header_bytes = 24; /* record header and key; also what a tombstone takes */
static const double block_bytes = 4096;
static const double fence_bytes = 4; /* a block's first hash, 32 bits of it, in hash order */
static const double delete_share = 0.05;

/* Bits an entry and false positives, of the runs above the oldest and of the oldest. */
struct scheme {
	const char *name;
	double bits, rate;
	double oldest_bits, oldest_rate;
};

static const struct scheme schemes[] = {
	{"blocked bloom 12", 12, 4.44e-3, 12, 4.44e-3},
	{"blocked bloom 16", 16, 1.00e-3, 16, 1.00e-3},
	{"split block 16", 16, 1.31e-3, 16, 1.31e-3},
	{"fuse 8", 9.2, 3.91e-3, 9.2, 3.91e-3},
	{"fuse 12", 13.8, 2.44e-4, 13.8, 2.44e-4},
	{"fuse 16", 18.4, 1.53e-5, 18.4, 1.53e-5},
	{"fuse 16, oldest 8", 18.4, 1.53e-5, 9.2, 3.91e-3},
	{"fuse 16, oldest none", 18.4, 1.53e-5, 0, 1.0},
};
enum { SCHEMES = sizeof schemes / sizeof schemes[0] };

enum policy_kind { SIZE_TIERED, LAZY_LEVELING, LEVELED, BOUNDED };

struct policy {
	const char *name;
	enum policy_kind kind;
	uint32_t fan_in;   /* T; bounded: the most runs */
	double limit;      /* lazy: runs above / oldest that merges all; bounded: garbage / live */
	uint32_t flushes;  /* that together hold as many records as the space has keys */
	double zipf_share; /* of the keys drawn; the others are uniform */
};

/*
 * BOUNDED merges for two reasons only. Too much garbage: all runs become one. Too many runs: all
 * flushes since the last such merge become one run, so that R runs take up to R * R / 2 flushes and
 * a record is written once between its flush and the oldest run (after the binomial schedules of
 * Mathieu, Staelin, Young and Yousefi, "Bigtable merge compaction").
 */
static const struct policy policies[] = {
	{"size-tiered T=4", SIZE_TIERED, 4, 0, 256, 0.5},
	{"size-tiered T=8", SIZE_TIERED, 8, 0, 256, 0.5},
	{"lazy leveling T=4, oldest 4:1", LAZY_LEVELING, 4, 0.25, 256, 0.5},
	{"lazy leveling T=8, oldest 2:1", LAZY_LEVELING, 8, 0.5, 256, 0.5},
	{"lazy leveling T=8, oldest 1:1", LAZY_LEVELING, 8, 1.0, 256, 0.5},
	{"lazy leveling T=16, oldest 1:1", LAZY_LEVELING, 16, 1.0, 256, 0.5},
	{"leveled T=10", LEVELED, 10, 0, 256, 0.5},
	{"bounded, 32 runs, garbage 1.0", BOUNDED, 32, 1.0, 256, 0.5},
	{"bounded, 64 runs, garbage 1.0", BOUNDED, 64, 1.0, 256, 0.5},
	{"bounded, 64 runs, garbage 0.8", BOUNDED, 64, 0.8, 256, 0.5},
	{"bounded, 64 runs, garbage 1.0, small flush", BOUNDED, 64, 1.0, 1024, 0.5},
	{"bounded, 64 runs, garbage 1.0, tiny flush", BOUNDED, 64, 1.0, 2048, 0.5},
	{"bounded, 64 runs, garbage 0.7, large flush", BOUNDED, 64, 0.7, 96, 0.5},
	{"bounded, 64 runs, garbage 0.5 (no log)", BOUNDED, 64, 0.5, 256, 0.5},
	{"bounded, 64 runs, garbage 0.8, all uniform", BOUNDED, 64, 0.8, 256, 0.0},
	{"bounded, 64 runs, garbage 0.8, all Zipf", BOUNDED, 64, 0.8, 256, 1.0},
	{"bounded, 64 runs, garbage 0.8, flush 1/512", BOUNDED, 64, 0.8, 512, 0.5},
};
enum { POLICIES = sizeof policies / sizeof policies[0] };

struct run {
	uint64_t *put, *tomb; /* owned; disjoint */
	uint64_t puts, tombs;
	uint32_t level;
	uint32_t first_flush, last_flush; /* what it was merged from */
};

struct written {
	double flushed, merged;
};

struct tree {
	const struct policy *policy;
	uint32_t keys;
	size_t words;
	uint32_t flush_records;
	struct run run[RUNS_LIMIT]; /* oldest first */
	uint32_t runs;
	uint32_t flush; /* number of flushes so far */
	uint64_t *live; /* the truth: which keys have a value */
	uint64_t live_keys;
	uint16_t *deleted;               /* flush of a key's newest delete */
	uint64_t *spare[2 * RUNS_LIMIT]; /* zeroed bitmaps, to be used again */
	uint32_t spares;
	struct written bytes; /* since the last reset */
	struct written first; /* the same at the first merge that rebuilt the oldest run */
	struct written last;  /* and at the last such merge */
	uint32_t rebuilt;     /* such merges */
	struct mean tomb_age; /* in flushes, at the drop */
};

struct figures {
	struct mean runs, space, tombs;
	struct mean upper_entries, oldest_entries; /* a live key */
	struct mean misses;      /* filters that should say no, look-up of an existing key */
	struct mean absent_runs; /* runs above the oldest, look-up of an absent key */
};

static double run_bytes(const struct run *r)
{
	return (double)r->puts * (value_bytes + header_bytes) + (double)r->tombs * header_bytes;
}

static bool bit_get(const uint64_t *map, uint32_t key)
{
	return map[key >> 6] >> (key & 63) & 1;
}

static void bit_set(uint64_t *map, uint32_t key)
{
	map[key >> 6] |= UINT64_C(1) << (key & 63);
}

static void bit_clear(uint64_t *map, uint32_t key)
{
	map[key >> 6] &= ~(UINT64_C(1) << (key & 63));
}

static uint64_t *bitmap_take(struct tree *t)
{
	return t->spares ? t->spare[--t->spares] : need(calloc(t->words, sizeof(uint64_t)));
}

static void bitmap_return(struct tree *t, uint64_t *map)
{
	memset(map, 0, t->words * sizeof *map);
	t->spare[t->spares++] = map;
}

/* Tombstones of word w that no older run can need any more are dropped; returns those that stay. */
static uint64_t tombs_drop(struct tree *t, uint32_t from, const struct run *out, size_t w,
			   uint64_t tombs)
{
	uint64_t below = 0;
	for (uint32_t i = 0; i < from && tombs & ~below; i++)
		below |= t->run[i].put[w] | t->run[i].tomb[w];
	for (uint64_t gone = tombs & ~below; gone; gone &= gone - 1) {
		uint32_t deleted = t->deleted[w * 64 + (size_t)__builtin_ctzll(gone)];
		/* Outside, it was deleted again since. */
		if (deleted >= out->first_flush && deleted <= out->last_flush)
			mean_add(&t->tomb_age, t->flush - deleted);
	}
	return tombs & below;
}

/* Adds what an older run holds of keys that are not yet in put or tomb. */
static void chunk_lay_under(uint64_t put[CHUNK], uint64_t tomb[CHUNK],
			    const uint64_t older_put[CHUNK], const uint64_t older_tomb[CHUNK])
{
	for (size_t w = 0; w < CHUNK; w++) {
		uint64_t free = ~(put[w] | tomb[w]);
		put[w] |= older_put[w] & free;
		tomb[w] |= older_tomb[w] & free;
	}
}

/* Bits set, without the instruction that plain x86-64 lacks. */
static uint64_t chunk_count(const uint64_t map[CHUNK])
{
	uint64_t sum = 0;
	for (size_t w = 0; w < CHUNK; w++) {
		uint64_t x = map[w];
		x -= x >> 1 & UINT64_C(0x5555555555555555);
		x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
		x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
		sum += x * UINT64_C(0x0101010101010101) >> 56;
	}
	return sum;
}

/* Runs [from, to) become one, in place of the oldest of them. */
static void tree_merge(struct tree *t, uint32_t from, uint32_t to, uint32_t level)
{
	assert(from < to && to <= t->runs);
	struct run *out = &t->run[from];
	out->last_flush = t->run[to - 1].last_flush;
	out->level = level;
	out->puts = out->tombs = 0;
	for (size_t base = 0; base < t->words; base += CHUNK) {
		uint64_t put[CHUNK] = {0}, tomb[CHUNK] = {0};
		for (uint32_t i = to; i-- > from;)
			chunk_lay_under(put, tomb, t->run[i].put + base, t->run[i].tomb + base);
		for (size_t w = 0; w < CHUNK; w++)
			if (tomb[w])
				tomb[w] = tombs_drop(t, from, out, base + w, tomb[w]);
		memcpy(out->put + base, put, sizeof put);
		memcpy(out->tomb + base, tomb, sizeof tomb);
		out->puts += chunk_count(put);
		out->tombs += chunk_count(tomb);
	}
	t->bytes.merged += run_bytes(out);
	if (from == 0) {
		t->last = t->bytes;
		if (!t->rebuilt++)
			t->first = t->bytes;
	}
	for (uint32_t i = from + 1; i < to; i++) {
		bitmap_return(t, t->run[i].put);
		bitmap_return(t, t->run[i].tomb);
	}
	memmove(&t->run[from + 1], &t->run[to], (t->runs - to) * sizeof t->run[0]);
	t->runs -= to - from - 1;
}

static uint64_t entries(const struct tree *t, uint32_t from, uint32_t to)
{
	uint64_t sum = 0;
	for (uint32_t i = from; i < to; i++)
		sum += t->run[i].puts + t->run[i].tombs;
	return sum;
}

/* The newest T runs of one level become one run of the next. */
static bool compact_tiers(struct tree *t, uint32_t fan_in)
{
	if (t->runs < fan_in)
		return false;
	uint32_t level = t->run[t->runs - 1].level;
	for (uint32_t i = t->runs - fan_in; i < t->runs; i++)
		if (t->run[i].level != level)
			return false;
	tree_merge(t, t->runs - fan_in, t->runs, level + 1);
	return true;
}

static bool compact_lazy(struct tree *t)
{
	const struct policy *p = t->policy;
	if (t->runs > 1 && (double)entries(t, 1, t->runs) >= p->limit * (double)entries(t, 0, 1)) {
		tree_merge(t, 0, t->runs, LEVELS);
		return false;
	}
	return compact_tiers(t, p->fan_in);
}

/*
 * Four flushes merge with level 1; a level that outgrows 4 T^(i-1) flushes merges whole with the
 * next, which writes less than the usual way, a file at a time into a level that is always full.
 */
static bool compact_leveled(struct tree *t)
{
	uint32_t flushes = 0;
	while (flushes < t->runs && t->run[t->runs - 1 - flushes].level == 0)
		flushes++;
	if (flushes >= 4) {
		uint32_t from = t->runs - flushes;
		tree_merge(t, from - (from > 0 && t->run[from - 1].level == 1), t->runs, 1);
		return true;
	}
	double cap = 4.0 * t->flush_records;
	for (uint32_t level = 1; level < LEVELS; level++, cap *= t->policy->fan_in)
		for (uint32_t i = 0; i < t->runs; i++)
			if (t->run[i].level == level && (double)entries(t, i, i + 1) > cap) {
				tree_merge(t, i - (i > 0 && t->run[i - 1].level == level + 1),
					   i + 1, level + 1);
				return true;
			}
	return false;
}

static bool compact_bounded(struct tree *t)
{
	const struct policy *p = t->policy;
	if ((double)entries(t, 0, t->runs) >= (1 + p->limit) * (double)t->live_keys &&
	    t->live_keys) {
		tree_merge(t, 0, t->runs, LEVELS);
		return false;
	}
	if (t->runs <= p->fan_in)
		return false;
	for (uint32_t level = 0; level < LEVELS; level++) {
		uint32_t from = t->runs;
		while (from > 0 && t->run[from - 1].level <= level)
			from--;
		if (from + 2 <= t->runs) {
			tree_merge(t, from, t->runs, level + 1);
			break;
		}
	}
	return false;
}

static void tree_compact(struct tree *t)
{
	bool more = true;
	while (more) {
		switch (t->policy->kind) {
		case SIZE_TIERED:
			more = compact_tiers(t, t->policy->fan_in);
			break;
		case LAZY_LEVELING:
			more = compact_lazy(t);
			break;
		case LEVELED:
			more = compact_leveled(t);
			break;
		case BOUNDED:
			more = compact_bounded(t);
			break;
		}
	}
}

/* Writes one key's put or delete into the run being gathered; a later write of the same key
 * replaces it. */
static void run_write(struct tree *t, struct run *r, uint32_t key, bool put)
{
	bool had_put = bit_get(r->put, key), had_tomb = !had_put && bit_get(r->tomb, key);
	r->puts += put - (uint64_t)had_put;
	r->tombs += !put - (uint64_t)had_tomb;
	(put ? bit_set : bit_clear)(r->put, key);
	(put ? bit_clear : bit_set)(r->tomb, key);
	t->live_keys += put - (uint64_t)bit_get(t->live, key);
	(put ? bit_set : bit_clear)(t->live, key);
	if (!put)
		t->deleted[key] = (uint16_t)t->flush;
}

static uint32_t draw_key(const struct tree *t, uint64_t *rng)
{
	if (rng_unit(rng) >= t->policy->zipf_share)
		return (uint32_t)(rng_unit(rng) * t->keys);
	/* Zipf with exponent 1 over ranks 1 % to 100 %: the logarithm of the rank is uniform. */
	return (uint32_t)(0.01 * t->keys * exp(rng_unit(rng) * log(99.9)));
}

static void prefetch_key(const struct tree *t, const struct run *r, uint32_t key)
{
	__builtin_prefetch(&r->put[key >> 6], 1);
	__builtin_prefetch(&r->tomb[key >> 6], 1);
	__builtin_prefetch(&t->live[key >> 6], 1);
}

/* `loaded` counts the keys put so far while the space is being filled: each once. */
static void tree_flush(struct tree *t, uint64_t *rng, uint32_t *loaded)
{
	assert(t->runs < RUNS_LIMIT);
	struct run *r = &t->run[t->runs];
	*r = (struct run){.put = bitmap_take(t),
			  .tomb = bitmap_take(t),
			  .first_flush = t->flush,
			  .last_flush = t->flush};
	while (r->puts + r->tombs < t->flush_records) {
		uint32_t key[AHEAD];
		bool loading = *loaded < t->keys;
		for (int i = 0; i < AHEAD; i++) {
			key[i] = loading ? (*loaded)++ % t->keys : draw_key(t, rng);
			prefetch_key(t, r, key[i]);
		}
		for (int i = 0; i < AHEAD; i++)
			run_write(t, r, key[i], loading || rng_unit(rng) >= delete_share);
	}
	t->bytes.flushed += run_bytes(r);
	t->runs++;
	tree_compact(t);
	t->flush++;
	assert(t->flush < UINT16_MAX);
}

/* Look-ups of existing keys, each equally likely: how many filters must say no first? */
static void sample_lookups(const struct tree *t, uint64_t *rng, struct figures *f)
{
	for (int n = 0; n < LOOKUPS;) {
		uint32_t key = (uint32_t)(rng_unit(rng) * t->keys), i = t->runs;
		if (!bit_get(t->live, key))
			continue;
		while (i-- > 0 && !bit_get(t->run[i].put, key))
			assert(!bit_get(t->run[i].tomb, key));
		assert(i < t->runs);
		mean_add(&f->misses, t->runs - 1 - i);
		n++;
	}
}

static void sample(const struct tree *t, uint64_t *rng, struct figures *f)
{
	double bytes = 0, tombs = 0, live = (double)t->live_keys;
	for (uint32_t i = 0; i < t->runs; i++) {
		bytes += run_bytes(&t->run[i]);
		tombs += (double)t->run[i].tombs;
	}
	mean_add(&f->runs, t->runs);
	mean_add(&f->space, bytes / (live * (value_bytes + header_bytes)));
	mean_add(&f->tombs, tombs / live);
	mean_add(&f->oldest_entries, (double)entries(t, 0, 1) / live);
	mean_add(&f->upper_entries, (double)entries(t, 1, t->runs) / live);
	mean_add(&f->absent_runs, t->runs - 1);
	sample_lookups(t, rng, f);
}

/* Flush and compaction over flush; between two rebuilds of the oldest run where there were two, for
 * they come in gulps. */
static double write_amplification(const struct tree *t)
{
	struct written from = {0}, to = t->bytes;
	if (t->rebuilt > 1) {
		from = t->first;
		to = t->last;
	}
	return 1 + (to.merged - from.merged) / (to.flushed - from.flushed);
}

static void print_blob(const struct tree *t, const struct figures *f, double load_wa, double took)
{
	double wa = write_amplification(t);
	double per_turnover = 1.0 / t->policy->flushes;
	double held = mean_of(&f->upper_entries) + mean_of(&f->oldest_entries);
	double fences = held * fence_bytes * (value_bytes + header_bytes) /
			(block_bytes - 0.5 * (value_bytes + header_bytes));
	printf("\n%s  [flush 1/%u of the keys, %.0f s]\n", t->policy->name, t->policy->flushes,
	       took);
	printf("  writes: flush + compaction %.2f, with log %.2f (while filling %.2f)   space %.2f "
	       "mean %.2f max\n",
	       wa, wa + 1, load_wa, mean_of(&f->space), f->space.max);
	printf("  runs %.1f mean %.0f max   tombstones a live key %.4f mean %.4f max, dropped "
	       "after %.2f mean %.2f max"
	       " turnovers\n",
	       mean_of(&f->runs), f->runs.max, mean_of(&f->tombs), f->tombs.max,
	       mean_of(&t->tomb_age) * per_turnover, t->tomb_age.max * per_turnover);
	printf("  %-22s %12s %12s %14s %14s %14s\n", "filter", "filter B/key", "with fences",
	       "FP of a hit", "most runs", "FP of absent");
	for (int s = 0; s < SCHEMES; s++) {
		const struct scheme *c = &schemes[s];
		double filter = (mean_of(&f->upper_entries) * c->bits +
				 mean_of(&f->oldest_entries) * c->oldest_bits) /
				8;
		printf("  %-22s %12.2f %12.2f %14.5f %14.5f %14.5f\n", c->name, filter,
		       filter + fences, mean_of(&f->misses) * c->rate, (f->runs.max - 1) * c->rate,
		       mean_of(&f->absent_runs) * c->rate + c->oldest_rate);
	}
	fflush(stdout);
}

static void blob_play(const struct policy *p, uint32_t keys)
{
	double began = now_s();
	struct tree *t = need(calloc(1, sizeof *t));
	struct figures f = {0};
	uint64_t rng = 42;
	uint32_t loaded = 0;
	t->policy = p;
	t->keys = keys;
	t->words = ((size_t)keys / 64 + CHUNK) / CHUNK * CHUNK;
	t->flush_records = keys / p->flushes;
	t->live = need(calloc(t->words, sizeof *t->live));
	t->deleted = need(calloc(keys + 64u, sizeof *t->deleted));
	while (loaded < keys)
		tree_flush(t, &rng, &loaded);
	double load_wa = 1 + t->bytes.merged / t->bytes.flushed;
	/* One turnover to forget the filling, then TURNOVERS are measured. */
	for (uint32_t i = 0; i < (TURNOVERS + 1) * p->flushes; i++) {
		if (i == p->flushes) {
			t->bytes = (struct written){0};
			t->rebuilt = 0;
			t->tomb_age = (struct mean){0};
		}
		tree_flush(t, &rng, &loaded);
		if (i >= p->flushes && i % (p->flushes / 64) == 0)
			sample(t, &rng, &f);
	}
	print_blob(t, &f, load_wa, now_s() - began);
	while (t->runs > 0) {
		t->runs--;
		free(t->run[t->runs].put);
		free(t->run[t->runs].tomb);
	}
	while (t->spares > 0)
		free(t->spare[--t->spares]);
	free(t->live);
	free(t->deleted);
	free(t);
}

int main(int argc, char **argv)
{
	long keys = argc > 1 ? strtol(argv[1], NULL, 10) : 100000000;
	if (keys < 100000 || keys > 200000000) {
		fprintf(stderr, "usage: %s [keys, 100000 to 200000000]\n", argv[0]);
		return 2;
	}
	printf("Blobs: %ld keys, values of %.0f bytes and %.0f of header and key, %.0f %% "
	       "deletes\n",
	       keys, value_bytes, header_bytes, 100 * delete_share);
	for (int i = 0; i < POLICIES; i++)
		blob_play(&policies[i], (uint32_t)keys);
	return 0;
}
