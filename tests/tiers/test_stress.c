/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers and writers on the same keys while everything moves. Every key has one writer, which
 * counts its writes; a value says its key and its count and can be checked to be whole. So what a
 * reader gets must be (1) whole, (2) that key's, (3) no older than what had been acknowledged
 * before the read began. Keys that are also deleted may be missing, but their deletions count as
 * well: an older value must not return. Every fourth key's values are of one length, so that they
 * are overwritten in place; in one case all are, of a few keys.
 */
#include "tests/tiers/bed.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>

#define STRESS_KEYS 3000u
#define WRITERS 2u
#define READERS 6u
#define BATCH 16u
#define ROOM ((size_t)128 << 10)
#define COUNT_BITS 36
#define ROUND_READS 2000u
#define ROUND_WRITES 500u
#define FEW_KEYS 32u /* of one length each: put there over and over */
#define PUTS 4u      /* in a batch */

struct stress {
	struct bed bed;
	struct thermo_space *space;
	uint32_t keys;
	_Atomic bool stop;
	_Atomic uint64_t acked[STRESS_KEYS]; /* count of the last acknowledged write */
	_Atomic uint64_t bad, reads, misses, writes, busy, failed;
	bool nothing_lost;
};

struct stress_thread {
	struct stress *stress;
	unsigned number;
	uint64_t seed;
};

static bool deletable(uint32_t key)
{
	return key % 8 == 0;
}

static size_t length_of(uint64_t seed)
{
	uint64_t key = seed >> COUNT_BITS, mixed = value_mix(seed ^ 77);
	if (key < FEW_KEYS || key % 4 == 1)
		return 16 + value_mix(key) % 1000;
	if (mixed % 64 == 0)
		return 16 + mixed / 64 % (ROOM - 16);
	return 16 + mixed / 64 % (mixed % 4 ? 600 : 15000); /* long copies are easily overtaken */
}

static void report(struct stress *s, const char *what, uint32_t key, uint64_t seed, uint64_t acked)
{
	if (atomic_fetch_add(&s->bad, 1) < 10)
		fprintf(stderr,
			"  stress: %s: key %u, value of key %" PRIu64 " count %" PRIu64
			", acknowledged %" PRIu64 "\n",
			what, key, seed >> COUNT_BITS, seed & ((UINT64_C(1) << COUNT_BITS) - 1),
			acked);
}

/* A value that a reader got. */
static void check_value(struct stress *s, uint32_t key, const char *value, size_t len,
			uint64_t acked)
{
	uint64_t seed = 0;
	size_t wrong;
	memcpy(&seed, value, len < 8 ? len : 8);
	atomic_fetch_add_explicit(&s->reads, 1, memory_order_relaxed);
	if (len < 16 || seed >> COUNT_BITS != key)
		report(s, "another key's value", key, seed, acked);
	else if (len != length_of(seed) || !value_is(value, 0, len, seed, &wrong))
		report(s, "a value that is not whole", key, seed, acked);
	else if ((seed & ((UINT64_C(1) << COUNT_BITS) - 1)) < acked)
		report(s, "a value older than what was acknowledged", key, seed, acked);
}

static void check_outcome(struct stress *s, uint32_t key, int status, const char *value, size_t len,
			  uint64_t acked)
{
	if (status == THERMO_OK) {
		check_value(s, key, value, len, acked);
	} else if (status == THERMO_MISS) {
		atomic_fetch_add_explicit(&s->misses, 1, memory_order_relaxed);
		if (s->nothing_lost && acked && !deletable(key))
			report(s, "a key is missing", key, 0, acked);
	} else if (status != THERMO_PIN_LIMIT && status != THERMO_BUSY && status != -EFBIG) {
		report(s, thermo_strerror(status), key, 0, acked);
	}
}

/* Puts of one length to some of the writer's keys at once. */
static void write_batch(struct stress *s, struct chance *chance, unsigned number, char *buffer)
{
	struct thermo_request r[PUTS] = {{0}};
	char key[PUTS][32];
	uint32_t n[PUTS], first = (uint32_t)chance_below(chance, FEW_KEYS / WRITERS / PUTS);
	uint64_t count[PUTS];
	for (unsigned i = 0; i < PUTS; i++) {
		n[i] = (first * PUTS + i) * WRITERS + number;
		count[i] = atomic_load(&s->acked[n[i]]) + 1;
		uint64_t seed = (uint64_t)n[i] << COUNT_BITS | count[i];
		r[i].space = s->space;
		r[i].key = key[i];
		r[i].key_len = (uint32_t)bed_key(n[i], key[i]);
		r[i].value = buffer + i * 2048;
		r[i].value_len = length_of(seed);
		value_fill(r[i].value, r[i].value_len, seed);
	}
	if (thermo_put_batch(r, PUTS, -1) != THERMO_OK)
		report(s, "a batch of puts failed", 0, 0, 0);
	for (unsigned i = 0; i < PUTS; i++) {
		int rc = r[i].status;
		if (rc == THERMO_OK)
			atomic_store(&s->acked[n[i]], count[i]);
		atomic_fetch_add(rc == THERMO_OK     ? &s->writes
				 : rc == THERMO_BUSY ? &s->busy
						     : &s->failed,
				 1);
	}
}

static void *write_all(void *argument)
{
	struct stress_thread *t = argument;
	struct stress *s = t->stress;
	struct chance chance = chance_make(t->seed);
	char *value = malloc(ROOM);
	while (value && !atomic_load(&s->stop)) {
		if (chance_below(&chance, 8) == 0) {
			write_batch(s, &chance, t->number, value);
			continue;
		}
		uint32_t n =
			(uint32_t)chance_below(&chance, s->keys / WRITERS) * WRITERS + t->number;
		char key[32];
		size_t key_len = bed_key(n, key);
		uint64_t count = atomic_load(&s->acked[n]) + 1;
		int rc;
		if (deletable(n) && chance_below(&chance, 2)) {
			rc = thermo_delete(s->space, key, key_len);
		} else {
			uint64_t seed = (uint64_t)n << COUNT_BITS | count;
			size_t len = length_of(seed);
			value_fill(value, len, seed);
			rc = thermo_put(s->space, key, key_len, value, len, THERMO_TTL_NONE);
		}
		if (rc == THERMO_OK)
			atomic_store(&s->acked[n], count);
		atomic_fetch_add(rc == THERMO_OK     ? &s->writes
				 : rc == THERMO_BUSY ? &s->busy
						     : &s->failed,
				 1);
	}
	free(value);
	return NULL;
}

static void read_batch(struct stress *s, struct chance *chance, char *buffer)
{
	struct thermo_request r[BATCH] = {{0}};
	char key[BATCH][32];
	uint32_t n[BATCH];
	uint64_t acked[BATCH];
	for (unsigned i = 0; i < BATCH; i++) {
		n[i] = (uint32_t)chance_below(chance, s->keys);
		acked[i] = atomic_load(&s->acked[n[i]]);
		r[i].space = s->space;
		r[i].key = key[i];
		r[i].key_len = (uint32_t)bed_key(n[i], key[i]);
		r[i].value = buffer + i * ROOM;
		r[i].capacity = ROOM;
	}
	if (thermo_get_batch(r, BATCH, -1) != THERMO_OK)
		report(s, "a batch failed", 0, 0, 0);
	for (unsigned i = 0; i < BATCH; i++)
		check_outcome(s, n[i], r[i].status, r[i].value, r[i].value_len, acked[i]);
}

/* The bytes under a ref must be the same after a while. */
static void read_ref(struct stress *s, struct chance *chance)
{
	char key[32];
	uint32_t n = (uint32_t)chance_below(chance, s->keys);
	size_t key_len = bed_key(n, key);
	struct thermo_ref ref = {0};
	uint64_t acked = atomic_load(&s->acked[n]);
	int rc = thermo_get_ref(s->space, key, key_len, &ref);
	check_outcome(s, n, rc, ref.data, ref.len, acked);
	if (rc != THERMO_OK)
		return;
	for (unsigned i = 0; i < 20; i++)
		sched_yield();
	check_value(s, n, ref.data, ref.len, acked);
	thermo_ref_release(&ref);
}

static void *read_all(void *argument)
{
	struct stress_thread *t = argument;
	struct stress *s = t->stress;
	struct chance chance = chance_make(t->seed);
	char *buffer = malloc(BATCH * ROOM);
	while (buffer && !atomic_load(&s->stop)) {
		uint64_t dice = chance_below(&chance, 64);
		if (dice < 8) {
			read_batch(s, &chance, buffer);
			continue;
		}
		if (dice == 8) { /* yields, so seldom */
			read_ref(s, &chance);
			continue;
		}
		char key[32];
		uint32_t n = (uint32_t)chance_below(
			&chance, dice < 40 && s->keys > FEW_KEYS ? s->keys / 16 : s->keys);
		size_t key_len = bed_key(n, key), len = 0;
		uint64_t acked = atomic_load(&s->acked[n]);
		int rc = thermo_get(s->space, key, key_len, buffer, ROOM, &len);
		check_outcome(s, n, rc, buffer, len, acked);
	}
	free(buffer);
	return NULL;
}

struct crowd {
	struct stress_thread t[WRITERS + READERS];
	pthread_t thread[WRITERS + READERS];
	unsigned n;
};

static void crowd_start(struct crowd *crowd, struct stress *s, uint64_t seed)
{
	for (crowd->n = 0; crowd->n < WRITERS + READERS; crowd->n++) {
		unsigned i = crowd->n;
		crowd->t[i] = (struct stress_thread){s, i, seed + i};
		if (pthread_create(&crowd->thread[i], NULL, i < WRITERS ? write_all : read_all, &crowd->t[i]))
			break;
	}
	CU_ASSERT_EQUAL(crowd->n, WRITERS + READERS);
}

/* Rounds are made of work done, not of time: a slow machine takes longer and sees as much. */
static void crowd_watch(const struct crowd *crowd, struct stress *s, unsigned rounds)
{
	for (unsigned i = 0; i < rounds && crowd->n == WRITERS + READERS; i++) {
		uint64_t reads = s->reads + ROUND_READS, writes = s->writes + ROUND_WRITES;
		BED_AWAIT(s->bad || (s->reads >= reads && s->writes >= writes));
		uint64_t bytes = s->bed.options.dram_bytes - (i & 1) * 4 * MIB;
		int rc = thermo_resize(s->bed.cache, THERMO_HOT, bytes, 100000000, &s->bed.error);
		CU_ASSERT(rc == THERMO_OK || rc == THERMO_PENDING);
	}
}

static void crowd_stop(struct crowd *crowd, struct stress *s)
{
	atomic_store(&s->stop, true);
	while (crowd->n)
		pthread_join(crowd->thread[--crowd->n], NULL);
}

static void stress_run(uint32_t keys, bool warm, bool cold, unsigned rounds)
{
	struct stress *s = calloc(1, sizeof(*s));
	struct crowd crowd;
	uint64_t seed = suite_seed();
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	bed_init(&s->bed, warm, cold);
	if (cold) { /* buffers for every thread that waits for the device */
		s->bed.options.dram_bytes = 72 * MIB;
		s->bed.options.filter_bytes = 20 * MIB;
	}
	if (bed_open(&s->bed))
		CU_FAIL_FATAL("the cache does not open");
	s->space = s->bed.space;
	s->keys = keys;
	s->nothing_lost = cold;
	crowd_start(&crowd, s, seed);
	crowd_watch(&crowd, s, rounds);
	crowd_stop(&crowd, s);
	struct thermo_stats stats = bed_stats(&s->bed);
	printf("  %" PRIu64 " reads, %" PRIu64 " misses, %" PRIu64 " writes, %" PRIu64
	       " busy; %" PRIu64 " demoted, %" PRIu64 " promoted, %" PRIu64 " to cold\n",
	       s->reads, s->misses, s->writes, s->busy, stats.demoted, stats.promoted,
	       stats.cold_demoted);
	CU_ASSERT_EQUAL(s->bad, 0);
	CU_ASSERT_EQUAL(s->failed, 0);
	if (warm && keys > FEW_KEYS)
		CU_ASSERT(stats.demoted > 0);
	if (cold && keys > FEW_KEYS)
		CU_ASSERT(stats.cold_demoted > 0);
	bed_end(&s->bed);
	free(s);
}

static void read_while_written_two_tiers_is_whole_and_new(void)
{
	stress_run(STRESS_KEYS, true, false, 12);
}

static void read_while_written_dram_only_is_whole_and_new(void)
{
	stress_run(STRESS_KEYS, false, false, 8);
}

static void read_while_written_three_tiers_is_whole_new_and_there(void)
{
	stress_run(STRESS_KEYS, true, true, 20);
}

static void read_while_overwritten_in_place_is_whole_and_new(void)
{
	stress_run(FEW_KEYS, false, false, 8);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(read_while_written_two_tiers_is_whole_and_new),
		SUITE_CASE(read_while_written_dram_only_is_whole_and_new),
		SUITE_CASE(read_while_written_three_tiers_is_whole_new_and_there),
		SUITE_CASE(read_while_overwritten_in_place_is_whole_and_new),
	};
	return suite_run("stress", NULL, NULL, cases, SUITE_COUNT(cases));
}
