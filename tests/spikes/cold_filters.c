// SPDX-License-Identifier: Apache-2.0
/*
 * Spike: which filter should an immutable cold run carry?
 *
 * Builds each candidate with real bits over the same random 64-bit key hashes, and prints for each
 * the bits a key, the false-positive rate by formula and as counted over absent keys, the time to
 * build and the time to probe.  Then builds a whole stack of small runs and prints what a look-up
 * pays for asking all of them, which is what limits the number of runs once false positives no
 * longer do.
 *
 * The hashes are given in ascending order, because a cold run is written in hash order.  The fuse
 * filters depend on that for their build speed: a key's place follows its rank.
 *
 *     cc -O2 -std=c17 cold_filters.c -lm && ./a.out [keys, default 10000000]
 *
 * Sources: blocked bloom (Putze, Sanders, Singler 2007); split block (Apache Parquet); binary fuse
 * (Graf, Lemire 2022); homogeneous ribbon (Dillinger, Huebschle-Schneider, Sanders, Walzer 2022).
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

__extension__ typedef unsigned __int128 u128;

enum { LINE_BITS = 512, SPLIT_LANES = 8, WORD_K = 4, RIBBON_WIDTH = 128, FUSE_TRIES = 64 };

struct filter {
	const struct candidate *kind; /* const after build */
	uint8_t *bits;                /* owned */
	size_t bytes;
	uint64_t units;   /* lines, words, fuse start places or ribbon starts */
	uint64_t seed;    /* fuse only: changes when a build has to be repeated */
	uint32_t segment; /* fuse only: length of a segment, a power of two */
};

struct candidate {
	const char *name;
	double bits; /* bits a key asked for; for fuse and ribbon the fingerprint's width */
	int hashes;  /* bits set a key, blocked bloom only */
	int (*build)(struct filter *f, const uint64_t *hash, size_t n);
	bool (*probe)(const struct filter *f, uint64_t h);
	void (*prefetch)(const struct filter *f, uint64_t h);
	double (*analytic)(const struct candidate *c);
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t scale(uint64_t h, uint64_t n)
{
	return (uint64_t)((u128)h * n >> 64);
}

/* Zeroed, on a cache line, and with room behind the end for an unaligned load. NULL when out of
 * memory. */
static uint8_t *bits_alloc(size_t bytes)
{
	uint8_t *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
	if (p)
		memset(p, 0, (bytes + 127) / 64 * 64);
	return p;
}

static int filter_alloc(struct filter *f, uint64_t units, size_t bytes)
{
	f->units = units;
	f->bytes = bytes;
	f->bits = bits_alloc(bytes);
	return f->bits ? 0 : -1;
}

/* ---- bloom filters whose bits for one key lie in one cache line, half a line, or one word ---- */

/* Expected rate when a block holds a Poisson number of keys and `rate(i)` is the rate at i keys. */
static double poisson_mean(double load, double (*rate)(int keys, int hashes), int hashes)
{
	double sum = 0;
	for (int i = 1; i < 40 + 4 * (int)load; i++)
		sum += exp(i * log(load) - load - lgamma(i + 1.0)) * rate(i, hashes);
	return sum;
}

static double line_rate(int keys, int hashes)
{
	return pow(1 - pow(1 - 1.0 / LINE_BITS, (double)keys * hashes), hashes);
}
static double split_rate(int keys, int hashes)
{
	(void)hashes;
	return pow(1 - pow(1 - 1.0 / 32, keys), SPLIT_LANES);
}
static double word_rate(int keys, int hashes)
{
	return pow(1 - pow(1 - 1.0 / 64, (double)keys * hashes), hashes);
}

static double line_analytic(const struct candidate *c)
{
	return poisson_mean(LINE_BITS / c->bits, line_rate, c->hashes);
}
static double split_analytic(const struct candidate *c)
{
	return poisson_mean(256 / c->bits, split_rate, 0);
}
static double word_analytic(const struct candidate *c)
{
	return poisson_mean(64 / c->bits, word_rate, WORD_K);
}

static int line_build(struct filter *f, const uint64_t *hash, size_t n)
{
	uint64_t lines = (uint64_t)((double)n * f->kind->bits / LINE_BITS) + 1;
	if (filter_alloc(f, lines, lines * 64))
		return -1;
	for (size_t i = 0; i < n; i++) {
		uint8_t *line = f->bits + scale(hash[i], lines) * 64;
		uint64_t g = mix(hash[i]);
		for (int k = 0; k < f->kind->hashes; k++, g = g >> 9 | g << 55)
			line[(g & 511) >> 3] |= (uint8_t)(1u << (g & 7));
	}
	return 0;
}

static bool line_probe(const struct filter *f, uint64_t h)
{
	const uint8_t *line = f->bits + scale(h, f->units) * 64;
	uint64_t g = mix(h);
	for (int k = 0; k < f->kind->hashes; k++, g = g >> 9 | g << 55)
		if (!(line[(g & 511) >> 3] >> (g & 7) & 1))
			return false;
	return true;
}

static void line_prefetch(const struct filter *f, uint64_t h)
{
	__builtin_prefetch(f->bits + scale(h, f->units) * 64);
}

static const uint32_t split_salt[SPLIT_LANES] = {
	0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du,
	0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u,
};

static int split_build(struct filter *f, const uint64_t *hash, size_t n)
{
	uint64_t blocks = (uint64_t)((double)n * f->kind->bits / 256) + 1;
	if (filter_alloc(f, blocks, blocks * 32))
		return -1;
	for (size_t i = 0; i < n; i++) {
		uint32_t *lane = (uint32_t *)(void *)(f->bits + scale(hash[i], blocks) * 32);
		uint32_t g = (uint32_t)mix(hash[i]);
		for (int k = 0; k < SPLIT_LANES; k++)
			lane[k] |= 1u << (g * split_salt[k] >> 27);
	}
	return 0;
}

static bool split_probe(const struct filter *f, uint64_t h)
{
	const uint32_t *lane = (const uint32_t *)(const void *)(f->bits + scale(h, f->units) * 32);
	uint32_t g = (uint32_t)mix(h), missing = 0;
	for (int k = 0; k < SPLIT_LANES; k++)
		missing |= ~lane[k] & 1u << (g * split_salt[k] >> 27);
	return !missing;
}

static void split_prefetch(const struct filter *f, uint64_t h)
{
	__builtin_prefetch(f->bits + scale(h, f->units) * 32);
}

static uint64_t word_mask(uint64_t h)
{
	uint64_t g = mix(h);
	return UINT64_C(1) << (g & 63) | UINT64_C(1) << (g >> 6 & 63) |
	       UINT64_C(1) << (g >> 12 & 63) | UINT64_C(1) << (g >> 18 & 63);
}

static int word_build(struct filter *f, const uint64_t *hash, size_t n)
{
	uint64_t words = (uint64_t)((double)n * f->kind->bits / 64) + 1;
	if (filter_alloc(f, words, words * 8))
		return -1;
	for (size_t i = 0; i < n; i++)
		((uint64_t *)(void *)f->bits)[scale(hash[i], words)] |= word_mask(hash[i]);
	return 0;
}

static bool word_probe(const struct filter *f, uint64_t h)
{
	uint64_t mask = word_mask(h);
	return (((const uint64_t *)(const void *)f->bits)[scale(h, f->units)] & mask) == mask;
}

static void word_prefetch(const struct filter *f, uint64_t h)
{
	__builtin_prefetch(f->bits + scale(h, f->units) * 8);
}

/* ---- binary fuse: a key's fingerprint is the xor of three places in neighbouring segments ---- */

static double fuse_analytic(const struct candidate *c)
{
	return exp2(-c->bits);
}

/* Writes the three places of hash h and returns the word its fingerprint is cut from. */
static inline uint64_t fuse_places(const struct filter *f, uint64_t h, uint32_t at[3])
{
	uint64_t g = mix(h ^ f->seed);
	uint32_t mask = f->segment - 1, first = (uint32_t)scale(h, f->units);
	at[0] = first;
	at[1] = (first + f->segment) ^ (uint32_t)(g & mask);
	at[2] = (first + 2 * f->segment) ^ (uint32_t)(g >> 18 & mask);
	return g >> 40;
}

/* A fingerprint of 8 to 16 bits, packed: at most three bytes hold it. */
static inline uint32_t packed_get(const uint8_t *p, uint64_t i, uint32_t width)
{
	uint64_t bit = i * width;
	uint32_t v;
	memcpy(&v, p + (bit >> 3), sizeof v);
	return v >> (bit & 7) & ((1u << width) - 1);
}

static inline void packed_xor(uint8_t *p, uint64_t i, uint32_t width, uint32_t value)
{
	uint64_t bit = i * width;
	uint32_t v;
	memcpy(&v, p + (bit >> 3), sizeof v);
	v ^= value << (bit & 7);
	memcpy(p + (bit >> 3), &v, sizeof v);
}

/* Sizes after the paper; returns the number of places in the array. */
static uint64_t fuse_size(struct filter *f, size_t n)
{
	double ln = log((double)(n > 2 ? n : 2));
	int log2_segment = (int)floor(ln / log(3.33) + 2.25);
	f->segment = 1u << (log2_segment > 18 ? 18 : log2_segment);
	double factor = fmax(1.125, 0.875 + 0.25 * log(1e6) / ln);
	uint64_t segments = ((uint64_t)((double)n * factor) + f->segment - 1) / f->segment;
	segments = segments > 3 ? segments - 2 : 1;
	f->units = segments * f->segment;
	return f->units + 2 * (uint64_t)f->segment;
}

struct fuse_cell {
	uint64_t sum; /* xor of the hashes that have this place */
	uint32_t count;
};

/*
 * Takes away, one after another, keys that are alone in one of their places.  Writes the order to
 * `peeled` and the free place to `place`; returns how many keys went, n on success.
 */
static size_t fuse_peel(const struct filter *f, struct fuse_cell *cell, uint64_t cells,
			uint64_t *peeled, uint32_t *place)
{
	size_t done = 0;
	for (uint64_t c = 0; c < cells; c++) {
		uint32_t next = (uint32_t)c;
		size_t top = done; /* place[done..top) is the stack of lonely places yet to visit */
		if (cell[next].count == 1)
			place[top++] = next;
		while (top > done) {
			next = place[--top];
			if (cell[next].count != 1)
				continue;
			uint64_t h = cell[next].sum;
			uint32_t at[3];
			fuse_places(f, h, at);
			uint32_t others[3];
			int lonely = 0;
			for (int k = 0; k < 3; k++) {
				cell[at[k]].count--;
				cell[at[k]].sum ^= h;
				if (cell[at[k]].count == 1)
					others[lonely++] = at[k];
			}
			/* The stack moves up by one to make room for this key's place below it. */
			if (top > done)
				place[top] = place[done];
			top++;
			peeled[done] = h;
			place[done++] = next;
			for (int k = 0; k < lonely; k++)
				place[top++] = others[k];
		}
	}
	return done;
}

static int fuse_build(struct filter *f, const uint64_t *hash, size_t n)
{
	uint32_t width = (uint32_t)f->kind->bits;
	uint64_t cells = fuse_size(f, n), starts = f->units;
	if (filter_alloc(f, starts, (cells * width + 7) / 8))
		return -1;
	struct fuse_cell *cell = malloc(cells * sizeof *cell);
	uint64_t *peeled = malloc(n * sizeof *peeled);
	uint32_t *place = malloc((n + cells) * sizeof *place);
	size_t done = 0;
	for (int try = 0; cell && peeled && place && done < n && try < FUSE_TRIES; try++) {
		f->seed = mix((uint64_t)try + 1);
		memset(cell, 0, cells * sizeof *cell);
		for (size_t i = 0; i < n; i++) {
			uint32_t at[3];
			fuse_places(f, hash[i], at);
			for (int k = 0; k < 3; k++) {
				cell[at[k]].count++;
				cell[at[k]].sum ^= hash[i];
			}
		}
		done = fuse_peel(f, cell, cells, peeled, place);
	}
	for (size_t i = done; done == n && i-- > 0;) {
		uint32_t at[3], v = (uint32_t)fuse_places(f, peeled[i], at) & ((1u << width) - 1);
		for (int k = 0; k < 3; k++)
			v ^= packed_get(f->bits, at[k], width);
		packed_xor(f->bits, place[i], width, v);
	}
	free(cell);
	free(peeled);
	free(place);
	return done == n ? 0 : -1;
}

static bool fuse_probe(const struct filter *f, uint64_t h)
{
	uint32_t at[3], width = (uint32_t)f->kind->bits;
	uint32_t v = (uint32_t)fuse_places(f, h, at) & ((1u << width) - 1);
	if (width == 8)
		return v == (uint32_t)(f->bits[at[0]] ^ f->bits[at[1]] ^ f->bits[at[2]]);
	if (width == 16) {
		const uint16_t *p = (const uint16_t *)(const void *)f->bits;
		return v == (uint32_t)(p[at[0]] ^ p[at[1]] ^ p[at[2]]);
	}
	return v == (packed_get(f->bits, at[0], width) ^ packed_get(f->bits, at[1], width) ^
		     packed_get(f->bits, at[2], width));
}

static void fuse_prefetch(const struct filter *f, uint64_t h)
{
	uint32_t at[3];
	fuse_places(f, h, at);
	for (int k = 0; k < 3; k++)
		__builtin_prefetch(f->bits + (uint64_t)at[k] * (uint32_t)f->kind->bits / 8);
}

/* ---- homogeneous ribbon, width 128: each key is an equation over 128 neighbouring rows, all equal
 * 0 ---- */

static u128 ribbon_row(uint64_t h)
{
	return (u128)mix(h) << 64 | mix(h + UINT64_C(0x9e3779b97f4a7c15)) | 1;
}

static int ctz128(u128 v)
{
	return (uint64_t)v ? __builtin_ctzll((uint64_t)v)
			   : 64 + __builtin_ctzll((uint64_t)(v >> 64));
}

static int parity128(u128 v)
{
	return __builtin_parityll((uint64_t)v ^ (uint64_t)(v >> 64));
}

static int ribbon_build(struct filter *f, const uint64_t *hash, size_t n)
{
	uint32_t width = (uint32_t)f->kind->bits;
	uint64_t rows = ((uint64_t)((double)n * 1.06) / RIBBON_WIDTH + 2) * RIBBON_WIDTH;
	if (filter_alloc(f, rows - RIBBON_WIDTH, rows / 8 * width))
		return -1;
	u128 *row = calloc(rows, sizeof *row);
	if (!row)
		return -1;
	for (size_t i = 0; i < n; i++) {
		uint64_t at = scale(hash[i], f->units);
		u128 c = ribbon_row(hash[i]);
		while (row[at]) {
			c ^= row[at];
			if (!c)
				break;
			int zeros = ctz128(c);
			at += (uint64_t)zeros;
			c >>= zeros;
		}
		if (c)
			row[at] = c;
	}
	/* Back substitution; column j of 128 rows is one u128, the columns of a group lie together.
	 */
	u128 *out = (u128 *)(void *)f->bits, column[16] = {0};
	for (uint64_t i = rows; i-- > 0;) {
		for (uint32_t j = 0; j < width; j++) {
			u128 s = column[j] << 1;
			column[j] = s | (unsigned)(row[i] ? parity128(row[i] & s)
							  : (int)(mix(i * 16 + j) & 1));
			if (i % RIBBON_WIDTH == 0)
				out[i / RIBBON_WIDTH * width + j] = column[j];
		}
	}
	free(row);
	return 0;
}

static bool ribbon_probe(const struct filter *f, uint64_t h)
{
	uint32_t width = (uint32_t)f->kind->bits;
	uint64_t at = scale(h, f->units), shift = at % RIBBON_WIDTH;
	const u128 *group = (const u128 *)(const void *)f->bits + at / RIBBON_WIDTH * width;
	u128 c = ribbon_row(h), low = c << shift, high = shift ? c >> (RIBBON_WIDTH - shift) : 0;
	for (uint32_t j = 0; j < width; j++)
		if (parity128((group[j] & low) ^ (group[width + j] & high)))
			return false;
	return true;
}

static void ribbon_prefetch(const struct filter *f, uint64_t h)
{
	const uint8_t *group =
		f->bits + scale(h, f->units) / RIBBON_WIDTH * (uint64_t)f->kind->bits * 16;
	for (int line = 0; line < 4; line++)
		__builtin_prefetch(group + line * 64);
}

/* ---- the experiment ---- */

static const struct candidate candidates[] = {
	{"blocked bloom, 512 bits, k=5", 10, 5, line_build, line_probe, line_prefetch,
	 line_analytic},
	{"blocked bloom, 512 bits, k=6", 12, 6, line_build, line_probe, line_prefetch,
	 line_analytic},
	{"blocked bloom, 512 bits, k=7", 16, 7, line_build, line_probe, line_prefetch,
	 line_analytic},
	{"split block, 8 x 32 bits", 12, 8, split_build, split_probe, split_prefetch,
	 split_analytic},
	{"split block, 8 x 32 bits", 16, 8, split_build, split_probe, split_prefetch,
	 split_analytic},
	{"register bloom, 64 bits, k=4", 12, 4, word_build, word_probe, word_prefetch,
	 word_analytic},
	{"register bloom, 64 bits, k=4", 16, 4, word_build, word_probe, word_prefetch,
	 word_analytic},
	{"binary fuse, 8-bit", 8, 0, fuse_build, fuse_probe, fuse_prefetch, fuse_analytic},
	{"binary fuse, 10-bit", 10, 0, fuse_build, fuse_probe, fuse_prefetch, fuse_analytic},
	{"binary fuse, 12-bit", 12, 0, fuse_build, fuse_probe, fuse_prefetch, fuse_analytic},
	{"binary fuse, 16-bit", 16, 0, fuse_build, fuse_probe, fuse_prefetch, fuse_analytic},
	{"ribbon, 128 wide, 8-bit", 8, 0, ribbon_build, ribbon_probe, ribbon_prefetch,
	 fuse_analytic},
	{"ribbon, 128 wide, 12-bit", 12, 0, ribbon_build, ribbon_probe, ribbon_prefetch,
	 fuse_analytic},
	{"ribbon, 128 wide, 16-bit", 16, 0, ribbon_build, ribbon_probe, ribbon_prefetch,
	 fuse_analytic},
};
enum { CANDIDATES = sizeof candidates / sizeof candidates[0], BATCH = 16 };

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* The i-th key of a stream; streams share no key (mix is a bijection). */
static uint64_t key_hash(uint64_t stream, uint64_t i)
{
	return mix((stream << 40 | i) + UINT64_C(0x632be59bd9b4e019));
}

static uint64_t *sorted_hashes(uint64_t stream, size_t n)
{
	uint64_t *h = malloc(n * sizeof *h);
	for (size_t i = 0; h && i < n; i++)
		h[i] = key_hash(stream, i);
	if (h)
		qsort(h, n, sizeof *h, by_value);
	return h;
}

/* One filter, probed with keys in no order; absent probes go in batches that prefetch, as the
 * engine's do. */
static int measure_one(const struct candidate *c, const uint64_t *hash, size_t n)
{
	struct filter f = {.kind = c};
	double t0 = now_s();
	if (c->build(&f, hash, n)) {
		fprintf(stderr, "%s: not built\n", c->name);
		return 1;
	}
	double build = now_s() - t0;
	size_t probes = 4 * n, lost = 0, wrong = 0, batched = 0;
	t0 = now_s();
	for (size_t i = 0; i < n; i++)
		lost += !c->probe(&f, key_hash(1, i));
	double hit = now_s() - t0;
	t0 = now_s();
	for (size_t i = 0; i < probes; i++)
		wrong += c->probe(&f, key_hash(2, i));
	double miss = now_s() - t0;
	t0 = now_s();
	for (size_t i = 0; i + BATCH <= n; i += BATCH) {
		uint64_t h[BATCH];
		for (int b = 0; b < BATCH; b++)
			c->prefetch(&f, h[b] = key_hash(3, i + (size_t)b));
		for (int b = 0; b < BATCH; b++)
			batched += c->probe(&f, h[b]);
	}
	double batch = now_s() - t0;
	printf("%-29s %6.2f  %9.5f  %9.5f  %7.1f  %6.1f %6.1f %6.1f%s%s\n", c->name,
	       8.0 * (double)f.bytes / (double)n, 100 * c->analytic(c),
	       100 * (double)wrong / (double)probes, 1e9 * build / (double)n, 1e9 * hit / (double)n,
	       1e9 * miss / (double)probes, 1e9 * batch / (double)n, lost ? "  LOST KEYS" : "",
	       batched > n ? "?" : "");
	free(f.bits);
	return lost != 0;
}

/* `runs` filters of n keys each; an absent key asks all of them, prefetching the whole stack first.
 */
static int measure_stack(const struct candidate *c, int runs, size_t n)
{
	struct filter *f = calloc((size_t)runs, sizeof *f);
	int rc = f ? 0 : -1;
	for (int r = 0; r < runs && !rc; r++) {
		uint64_t *hash = sorted_hashes(16 + (uint64_t)r, n);
		f[r].kind = c;
		rc = hash ? c->build(&f[r], hash, n) : -1;
		free(hash);
	}
	size_t lookups = 8000000 / (size_t)runs, wrong = 0, bytes = 0;
	double t0 = now_s();
	for (size_t i = 0; i < lookups && !rc; i++) {
		uint64_t h = key_hash(4, i);
		for (int r = 0; r < runs; r++)
			c->prefetch(&f[r], h);
		for (int r = 0; r < runs; r++)
			wrong += c->probe(&f[r], h);
	}
	double t = now_s() - t0;
	for (int r = 0; f && r < runs; r++) {
		bytes += f[r].bytes;
		free(f[r].bits);
	}
	free(f);
	if (!rc)
		printf("%-29s %5d  %7.1f  %8.2f  %8.0f  %9.4f\n", c->name, runs,
		       (double)bytes / 1e6, 8.0 * (double)bytes / ((double)n * runs),
		       1e9 * t / (double)lookups, 100.0 * (double)wrong / (double)lookups);
	return rc;
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
	if (n < 1000 || n > 100000000) {
		fprintf(stderr, "usage: %s [keys, 1000 to 100000000]\n", argv[0]);
		return 2;
	}
	uint64_t *hash = sorted_hashes(1, n);
	if (!hash) {
		fprintf(stderr, "out of memory\n");
		return 1;
	}
	int failed = 0;
	printf("One filter over %zu keys; false positives in percent; ns a key, independent "
	       "probes\n",
	       n);
	printf("%-29s %6s  %9s  %9s  %7s  %6s %6s %6s\n", "filter", "bits", "FP calc", "FP seen",
	       "build", "hit", "miss", "batch");
	for (int i = 0; i < CANDIDATES; i++)
		failed |= measure_one(&candidates[i], hash, n);
	free(hash);

	static const int stacks[] = {16, 32, 64, 128};
	static const int kinds[] = {4, 9, 10};
	printf("\nA look-up of an absent key that asks every run of %zu keys\n", n / 25);
	printf("%-29s %5s  %7s  %8s  %8s  %9s\n", "filter", "runs", "MB", "bits/key", "ns",
	       "FP %, sum");
	for (int k = 0; k < 3; k++)
		for (int s = 0; s < 4; s++)
			failed |= measure_stack(&candidates[kinds[k]], stacks[s], n / 25) != 0;
	return failed;
}
