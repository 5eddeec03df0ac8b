/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on one key. */
#include "tests/model/model.h"

#include <errno.h>
#include <inttypes.h>

size_t random_len(struct actor *a)
{
	uint64_t dice = chance_below(&a->chance, 1000);
	if (dice < 550)
		return chance_below(&a->chance, 1000);
	if (dice < 830)
		return chance_below(&a->chance, INLINE_MAX + 1);
	if (dice < 990)
		return chance_below(&a->chance, 48 << 10);
	return chance_below(&a->chance, dice < 998 ? 300 << 10 : LARGE_MAX);
}

int64_t random_ttl(struct actor *a)
{
	uint64_t dice = chance_below(&a->chance, 10);
	if (dice < 7)
		return THERMO_TTL_NONE;
	if (dice < 9)
		return 1 + (int64_t)chance_below(&a->chance, 20000);
	return 1 + (int64_t)chance_below(&a->chance, 4000000);
}

/* A key of the actor; some are picked more often, so that some are hot. */
static uint32_t random_key(struct actor *a, unsigned *space)
{
	*space = (unsigned)chance_below(&a->chance, SPACES);
	uint64_t most = chance_below(&a->chance, 3) ? KEYS : KEYS / 16;
	return (uint32_t)chance_below(&a->chance, most);
}

static void put(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key), len = random_len(a);
	uint64_t seed = chance_next(&a->chance), before = now_ms(a->world);
	int64_t ttl = random_ttl(a);
	value_fill(a->value, len, seed);
	int rc = thermo_put(a->world->space[s], key, key_len, a->value, len, ttl);
	note_trace(a, s, k, rc);
	if (rc == THERMO_OK)
		note_put(a, &a->entry[s][k], seed, len, ttl, before, 0);
	else if (rc == THERMO_BUSY)
		a->busy++;
	else if (!refused(a, rc))
		fail(a, s, k, rc, "a put of %zu bytes failed", len);
}

void verify_key(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key), value_len = 0;
	uint64_t before = now_ms(a->world);
	int rc = thermo_get(a->world->space[s], key, key_len, a->buffer, LARGE_MAX, &value_len);
	note_trace(a, s, k, rc);
	check_read(a, s, k, rc, before, a->buffer, LARGE_MAX, 0, value_len);
}

static void get_part(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key), value_len = 0, copied = 0;
	uint64_t before = now_ms(a->world);
	uint32_t len = a->entry[s][k].len;
	uint64_t offset = chance_below(&a->chance, (uint64_t)len + 8);
	size_t capacity = chance_below(&a->chance, (uint64_t)len + 8);
	int rc = thermo_get_range(a->world->space[s], key, key_len, offset, a->buffer, capacity,
				  &copied, &value_len);
	note_trace(a, s, k, rc);
	check_read(a, s, k, rc, before, a->buffer, capacity, offset, value_len);
	size_t left = offset < value_len ? value_len - offset : 0;
	if (rc != THERMO_MISS && copied != (left < capacity ? left : capacity))
		fail(a, s, k, rc, "get_range says that it copied %zu bytes", copied);
}

static void discard(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key);
	struct entry *e = &a->entry[s][k];
	struct thermo_space *space = a->world->space[s];
	uint64_t before = now_ms(a->world), dice = chance_below(&a->chance, 100);
	int rc;
	if (dice < 50) {
		a->what = "delete";
		rc = thermo_delete(space, key, key_len);
	} else if (dice < 99) {
		a->what = "remove";
		rc = thermo_remove(space, key, key_len);
		enum certainty must = certainty(a, e, before, now_ms(a->world));
		if ((rc == THERMO_MISS && must == MUST_HIT) || (rc == THERMO_OK && must == MUST_MISS))
			fail(a, s, k, rc, "remove errs");
		if (rc == THERMO_MISS)
			rc = THERMO_OK;
	} else {
		a->what = "erase";
		do /* refused, it may or may not have deleted */
			rc = thermo_erase(space, key, key_len, INT64_C(100000000));
		while (refused(a, rc));
		if (rc == THERMO_PENDING) {
			a->pending++;
			rc = THERMO_OK; /* not readable in any case */
		}
	}
	note_trace(a, s, k, rc);
	if (rc == THERMO_BUSY) {
		a->busy++;
		return;
	}
	if (refused(a, rc))
		return;
	if (rc != THERMO_OK)
		fail(a, s, k, rc, "%s failed", a->what);
	e->present = false;
	e->marked = a->iterations;
}

static void touch(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key);
	struct entry *e = &a->entry[s][k];
	uint64_t before = now_ms(a->world);
	int64_t ttl = random_ttl(a);
	int rc = thermo_touch(a->world->space[s], key, key_len, ttl);
	note_trace(a, s, k, rc);
	enum certainty must = certainty(a, e, before, now_ms(a->world));
	if ((rc == THERMO_MISS && must == MUST_HIT) || (rc == THERMO_OK && must == MUST_MISS))
		fail(a, s, k, rc, "touch errs");
	if (rc == THERMO_OK)
		note_put(a, e, e->seed, e->len, ttl, before, 0);
	else if (rc == THERMO_MISS)
		note_missing(e);
	else if (rc == THERMO_BUSY)
		a->busy++;
	else if (!refused(a, rc))
		fail(a, s, k, rc, "touch failed");
}

static void exists(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key);
	struct entry *e = &a->entry[s][k];
	struct thermo_info info;
	uint64_t before = now_ms(a->world);
	int rc = thermo_exists(a->world->space[s], key, key_len, &info);
	note_trace(a, s, k, rc);
	enum certainty must = certainty(a, e, before, now_ms(a->world));
	if (refused(a, rc))
		return;
	if (rc != THERMO_OK && rc != THERMO_MISS)
		fail(a, s, k, rc, "exists failed");
	if ((rc == THERMO_MISS && must == MUST_HIT) || (rc == THERMO_OK && must == MUST_MISS))
		fail(a, s, k, rc, "exists errs");
	if (rc == THERMO_MISS) {
		note_missing(e);
		return;
	}
	a->hits[info.tier]++;
	if (info.value_len != e->len || info.expires_ms < e->expires_lo ||
	    info.expires_ms > e->expires_hi)
		fail(a, s, k, rc, "exists says %" PRIu64 " bytes, expires %" PRIu64, info.value_len,
		     info.expires_ms);
	e->expires_lo = e->expires_hi = info.expires_ms;
	check_version(a, s, k, info.version);
}

static void cas(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key), len = random_len(a);
	struct entry *e = &a->entry[s][k];
	uint64_t seed = chance_next(&a->chance), version = 0;
	bool right = chance_below(&a->chance, 4) != 0;
	if (right && e->present)
		exists(a, s, k); /* learns the version, or that it is gone */
	if (right && e->present && !e->version)
		return; /* nothing was learnt */
	a->what = "cas";
	uint64_t before = now_ms(a->world), expected = e->present ? e->version : 0;
	if (!right)
		expected = e->present ? e->version_last + 1 + chance_below(&a->chance, 3) : 7;
	int64_t ttl = random_ttl(a);
	value_fill(a->value, len, seed);
	int rc = thermo_cas(a->world->space[s], key, key_len, a->value, len, ttl, expected, &version);
	note_trace(a, s, k, rc);
	enum certainty must = certainty(a, e, before, now_ms(a->world));
	if (rc == THERMO_BUSY) {
		a->busy++;
	} else if (rc == THERMO_OK) {
		if (expected == 0 && must == MUST_HIT)
			fail(a, s, k, rc, "cas stored over a key that it took to be absent");
		if (expected != 0 && must == MUST_MISS)
			fail(a, s, k, rc, "cas stored over version %" PRIu64 " of an absent key", expected);
		if (!right && e->version && expected != e->version)
			fail(a, s, k, rc, "cas stored in spite of another version");
		if (version <= e->version_last)
			fail(a, s, k, rc, "cas gave version %" PRIu64, version);
		note_put(a, e, seed, len, ttl, before, version);
	} else if (rc == THERMO_CONFLICT) {
		if (version == 0 && must == MUST_HIT)
			fail(a, s, k, rc, "cas found no version");
		if (version != 0 && must == MUST_MISS)
			fail(a, s, k, rc, "cas found version %" PRIu64 " of an absent key", version);
		if (version != 0)
			check_version(a, s, k, version);
		if (version == expected || (right && must == MUST_HIT))
			fail(a, s, k, rc, "cas: conflict though the version is right");
		if (version == 0)
			note_missing(e);
	} else if (!refused(a, rc)) {
		fail(a, s, k, rc, "cas failed");
	}
}

static void ref_check(struct actor *a, struct held_ref *h)
{
	size_t wrong = 0;
	if (!value_is(h->ref.data, 0, h->ref.len, h->seed, &wrong))
		fail(a, h->space, h->key, 0, "byte %zu under a ref has changed", wrong);
	thermo_ref_release(&h->ref);
}

void refs_release(struct actor *a)
{
	for (unsigned i = 0; i < REFS; i++)
		if (a->held[i].ref.data)
			ref_check(a, &a->held[i]);
}

static void hold(struct actor *a, unsigned s, uint32_t k)
{
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key);
	struct entry *e = &a->entry[s][k];
	struct held_ref *h = &a->held[chance_below(&a->chance, REFS)];
	if (h->ref.data) {
		ref_check(a, h);
		return;
	}
	uint64_t before = now_ms(a->world);
	int rc = thermo_get_ref(a->world->space[s], key, key_len, &h->ref);
	note_trace(a, s, k, rc);
	if (rc == THERMO_PIN_LIMIT) {
		a->pin_limit++;
		return;
	}
	if (rc == THERMO_BUSY) { /* it is cold, and DRAM has no room for it just now */
		a->busy++;
		return;
	}
	if (rc == -EFBIG && e->len > INLINE_MAX)
		return;
	check_read(a, s, k, rc, before, h->ref.data, h->ref.len, 0, h->ref.len);
	if (rc != THERMO_OK)
		return;
	check_version(a, s, k, h->ref.version);
	h->seed = e->seed;
	h->key = k;
	h->space = (uint8_t)s;
	/* An empty value has an address too, so that it is known to be held. */
	if (!h->ref.data)
		fail(a, s, k, rc, "a ref without an address");
}

static void pass_time(struct actor *a)
{
	/* Only the first actor moves the clock; mostly a little. */
	if (a->number == 0)
		atomic_fetch_add(&a->world->clock_ms,
				 chance_below(&a->chance, 50) ? chance_below(&a->chance, 50)
							      : chance_below(&a->chance, 20000));
}

/* The clock goes back for the time of one operation: what had expired stays so. */
static void step_back(struct actor *a, unsigned s, uint32_t k)
{
	uint64_t back = 1 + chance_below(&a->chance, 5000);
	if (a->world->actors > 1)
		return;
	exists(a, s, k);
	put(a, s, k ? k - 1 : KEYS - 1); /* perhaps with a time-to-live: then the cache has seen the clock */
	char key[THERMO_KEY_MAX];
	size_t key_len = key_make(a, k, key);
	/* A write with a time-to-live certainly makes it look. */
	value_fill(a->value, 10, 1);
	uint64_t before = now_ms(a->world);
	int rc = thermo_put(a->world->space[s], key, key_len, a->value, 10, 1000000);
	if (rc == THERMO_OK)
		note_put(a, &a->entry[s][k], 1, 10, 1000000, before, 0);
	note_trace(a, s, k, rc);
	if (rc != THERMO_OK)
		return;
	atomic_fetch_sub(&a->world->clock_ms, back);
	size_t value_len = 0;
	k = random_key(a, &s);
	key_len = key_make(a, k, key);
	rc = thermo_get(a->world->space[s], key, key_len, a->buffer, LARGE_MAX, &value_len);
	atomic_fetch_add(&a->world->clock_ms, back);
	note_trace(a, s, k, rc);
	check_read(a, s, k, rc, now_ms(a->world), a->buffer, LARGE_MAX, 0, value_len);
}

static void settle(struct actor *a)
{
	int rc = thermo_settle(a->world->cache, INT64_C(20000000));
	if (rc != THERMO_OK && rc != THERMO_PENDING)
		fail(a, 0, KEYS, rc, "settle failed");
}

void operate(struct actor *a)
{
	unsigned s;
	uint32_t k = random_key(a, &s);
	uint64_t dice = chance_below(&a->chance, 1000);
	a->step++;
	if (dice < 300) {
		a->what = "put";
		put(a, s, k);
	} else if (dice < 480) {
		a->what = "get";
		verify_key(a, s, k);
	} else if (dice < 550) {
		a->what = "get_range";
		get_part(a, s, k);
	} else if (dice < 640) {
		discard(a, s, k);
	} else if (dice < 680) {
		a->what = "touch";
		touch(a, s, k);
	} else if (dice < 740) {
		a->what = "exists";
		exists(a, s, k);
	} else if (dice < 800) {
		cas(a, s, k);
	} else if (dice < 860) {
		a->what = "get_ref";
		hold(a, s, k);
	} else if (dice < 930) {
		operate_batch(a);
	} else if (dice < 955) {
		operate_queue(a);
	} else if (dice < 965) {
		operate_hint(a);
	} else if (dice < 985) {
		a->what = "time";
		pass_time(a);
	} else if (dice < 995) {
		a->what = "step back";
		step_back(a, s, k);
	} else if (dice < 998) {
		a->what = "settle";
		settle(a);
	} else {
		operate_iterate(a);
	}
}
