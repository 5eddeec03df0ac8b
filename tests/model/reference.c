/* SPDX-License-Identifier: Apache-2.0 */
/* What a key must hold, and the report when it does not. */
#include "tests/model/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#define DIGITS 3

/* One byte for the actor, three base-26 digits, then filler to a length that depends on the number. Number 0
 * is the actor's byte alone: the shortest key. */
size_t key_make(const struct actor *a, uint32_t number, char key[THERMO_KEY_MAX])
{
	key[0] = (char)('a' + a->number);
	if (number == 0)
		return 1;
	uint32_t rest = number;
	for (unsigned i = DIGITS; i > 0; i--, rest /= 26)
		key[i] = (char)('A' + rest % 26);
	uint64_t mixed = value_mix(number);
	size_t len = 1 + DIGITS;
	if (mixed % 64 == 0)
		len = THERMO_KEY_MAX;
	else if (mixed % 8)
		len = 1 + DIGITS + mixed / 8 % 36;
	memset(key + 1 + DIGITS, '.', len - 1 - DIGITS);
	return len;
}

uint32_t key_number(const struct actor *a, const char *key, size_t len)
{
	char same[THERMO_KEY_MAX];
	uint32_t number = 0;
	if (len < 1 || key[0] != (char)('a' + a->number))
		return KEYS;
	for (unsigned i = 1; len > 1 && i <= DIGITS; i++)
		number = number * 26 + (uint32_t)(key[i] - 'A');
	if (number >= KEYS || key_make(a, number, same) != len || memcmp(same, key, len) != 0)
		return KEYS;
	return number;
}

uint64_t now_ms(const struct world *w)
{
	return atomic_load(&w->clock_ms);
}

enum certainty certainty(const struct actor *a, const struct entry *e, uint64_t before,
			 uint64_t after)
{
	if (!e->present || (e->expires_hi && e->expires_hi <= before))
		return MUST_MISS;
	if (!a->world->cold || (e->expires_lo && e->expires_lo <= after))
		return EITHER;
	return MUST_HIT;
}

bool refused(struct actor *a, int status)
{
	if (status != -ENOMEM || a->world->actors == 1)
		return false;
	a->no_memory++;
	return true;
}

void note_missing(struct entry *e)
{
	/* Of a large value some chunk may be gone and others not: it may be met again in part. */
	if (e->len <= INLINE_MAX)
		e->present = false;
}

void note_put(struct actor *a, struct entry *e, uint64_t seed, size_t len, int64_t ttl_ms,
	      uint64_t before, uint64_t version)
{
	e->present = true;
	e->seed = seed;
	e->len = (uint32_t)len;
	e->expires_lo = ttl_ms > 0 ? before + (uint64_t)ttl_ms : 0;
	e->expires_hi = ttl_ms > 0 ? now_ms(a->world) + (uint64_t)ttl_ms : 0;
	e->version = 0;
	e->marked = a->iterations;
	if (!version)
		return;
	e->version = version;
	e->version_last = version;
}

void note_trace(struct actor *a, unsigned space, uint32_t key, int status)
{
	a->trace[a->traced++ % TRACE] = (struct trace){
		.step = a->step,
		.what = a->what,
		.status = status,
		.key = key,
		.space = (uint8_t)space,
	};
}

static void print_trace(const struct actor *a, unsigned space, uint32_t key)
{
	uint64_t from = a->traced > TRACE ? a->traced - TRACE : 0;
	fprintf(stderr, "  what this key went through:\n");
	for (uint64_t i = from; i < a->traced; i++) {
		const struct trace *t = &a->trace[i % TRACE];
		if (t->key == KEYS || (t->key == key && t->space == space))
			fprintf(stderr, "    step %" PRIu64 ": %s -> %d (%s)\n", t->step, t->what,
				t->status, thermo_strerror(t->status));
	}
}

void fail(struct actor *a, unsigned space, uint32_t key, int status, const char *format, ...)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	const struct entry *e = key < KEYS ? &a->entry[space][key] : NULL;
	char bytes[THERMO_KEY_MAX];
	struct thermo_info info;
	va_list arguments;
	pthread_mutex_lock(&once); /* for good: we abort */
	fprintf(stderr, "model: MISMATCH seed %" PRIu64 " thread %u step %" PRIu64 " in %s: ",
		a->world->seed, a->number, a->step, a->what);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n  status %d (%s), clock %" PRIu64 "\n", status, thermo_strerror(status),
		now_ms(a->world));
	if (e) {
		size_t len = key_make(a, key, bytes);
		fprintf(stderr,
			"  space %u key %u \"%.*s\" of %zu bytes\n  expected: %s, %u bytes, seed %016" PRIx64
			", version %" PRIu64 " (last %" PRIu64 "), expires %" PRIu64 "..%" PRIu64 "\n",
			space, key, 8, bytes, len, e->present ? "present" : "absent", e->len, e->seed,
			e->version, e->version_last, e->expires_lo, e->expires_hi);
		print_trace(a, space, key);
		int rc = thermo_exists(a->world->space[space], bytes, len, &info);
		fprintf(stderr, "  thermo_exists now says %d (%s)", rc, thermo_strerror(rc));
		if (rc == THERMO_OK)
			fprintf(stderr, ": tier %d, %" PRIu64 " bytes, version %" PRIu64 ", expires %" PRIu64,
				(int)info.tier, info.value_len, info.version, info.expires_ms);
		fprintf(stderr, "\n");
	}
	abort();
}

void check_version(struct actor *a, unsigned space, uint32_t key, uint64_t version)
{
	struct entry *e = &a->entry[space][key];
	if (e->version && version != e->version)
		fail(a, space, key, 0, "version %" PRIu64 " was expected, not %" PRIu64, e->version,
		     version);
	if (!e->version && version <= e->version_last)
		fail(a, space, key, 0, "version %" PRIu64 " does not exceed an earlier one, %" PRIu64,
		     version, e->version_last);
	e->version = e->version_last = version;
}

void check_read(struct actor *a, unsigned space, uint32_t key, int status, uint64_t before,
		const void *bytes, size_t capacity, uint64_t offset, size_t value_len)
{
	struct entry *e = &a->entry[space][key];
	enum certainty must = certainty(a, e, before, now_ms(a->world));
	if (refused(a, status))
		return;
	if (status == THERMO_MISS) {
		if (must == MUST_HIT)
			fail(a, space, key, status, "a value is missing");
		note_missing(e);
		a->misses++;
		return;
	}
	if (status != THERMO_OK && status != THERMO_TRUNCATED)
		fail(a, space, key, status, "a read failed");
	if (must == MUST_MISS)
		fail(a, space, key, status, "a key is there that was deleted, has expired, was missing, or "
		     "never was (%zu bytes)", value_len);
	if (value_len != e->len)
		fail(a, space, key, status, "%zu bytes, not %u", value_len, e->len);
	size_t left = offset < e->len ? e->len - offset : 0, n = left < capacity ? left : capacity;
	if ((status == THERMO_OK) != (n == left))
		fail(a, space, key, status, "%zu of %zu bytes fit, and the outcome says otherwise", n,
		     left);
	size_t wrong = 0;
	if (!value_is(bytes, offset, n, e->seed, &wrong)) {
		uint64_t first = 0;
		memcpy(&first, bytes, n < 8 ? n : 8);
		fail(a, space, key, status, "byte %zu from %" PRIu64 " on is wrong; the first word is %016"
		     PRIx64, wrong, offset, first);
	}
}
