/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a replay notice what is wrong with a cache? It runs against a stand-in for the library,
 * defined here, that can be told to go wrong. What it prints on stderr is meant.
 */
#include <errno.h>
#include <pthread.h>

#include "tests/suite.h"
#include "tools/command.h"
#include "tools/mix.h"
#include "tools/replay_run.h"

/* ---- The stand-in ---- */

enum wrong {
	WRONG_NOTHING = 0,
	WRONG_BYTE,   /* a stored value has a flipped bit */
	WRONG_STALE,  /* an overwrite is forgotten */
	WRONG_LENGTH, /* a value comes back a byte shorter */
	WRONG_DELETE, /* a delete is forgotten */
	WRONG_KEY,    /* another key's value comes back */
	WRONG_REOPEN, /* a key is gone after closing */
	WRONG_GET,    /* a get answers -EIO */
	WRONG_FULL,   /* a put answers -ENOSPC */
	WRONG_BUSY,   /* a put answers BUSY */
	WRONG_CLOSE,  /* closing fails */
};

#define SLOTS 512u /* keys are numbers below this */
#define VALUE_MOST 600u

struct slot {
	bool present;
	size_t len;
	char value[VALUE_MOST];
};

static struct {
	pthread_mutex_t lock;
	struct slot slot[SLOTS];
	enum wrong wrong;
	uint64_t victim; /* the key that it happens to */
	unsigned closed;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

void thermo_options_init(struct thermo_options *options)
{
	memset(options, 0, sizeof(*options));
}

int thermo_open(const struct thermo_options *options, struct thermo **cache,
		struct thermo_error *error)
{
	(void)options, (void)error;
	*cache = (struct thermo *)&fake;
	return 0;
}

int thermo_close(struct thermo **cache, int64_t timeout_ns, struct thermo_error *error)
{
	(void)timeout_ns;
	fake.closed++;
	*cache = NULL;
	if (fake.wrong == WRONG_REOPEN)
		fake.slot[fake.victim].present = false;
	if (fake.wrong == WRONG_CLOSE)
		snprintf(error->text, sizeof(error->text), "the disk is on fire");
	return fake.wrong == WRONG_CLOSE ? -EIO : 0;
}

int thermo_space_open(struct thermo *cache, const char *name,
		      const struct thermo_space_options *options, struct thermo_space **space,
		      struct thermo_error *error)
{
	(void)cache, (void)name, (void)options, (void)error;
	*space = (struct thermo_space *)&fake;
	return 0;
}

static bool strikes(uint64_t id, enum wrong wrong)
{
	return fake.wrong == wrong && fake.victim == id;
}

int thermo_put(struct thermo_space *space, const void *key, size_t key_len, const void *value,
	       size_t value_len, int64_t ttl_ms)
{
	uint64_t id;
	(void)space, (void)ttl_ms;
	CU_ASSERT_EQUAL_FATAL(key_len, sizeof(id));
	memcpy(&id, key, sizeof(id));
	if (strikes(id, WRONG_FULL))
		return -ENOSPC;
	if (strikes(id, WRONG_BUSY))
		return THERMO_BUSY;
	pthread_mutex_lock(&fake.lock);
	struct slot *slot = &fake.slot[id];
	if (!(strikes(id, WRONG_STALE) && slot->present)) {
		memcpy(slot->value, value, value_len);
		slot->len = value_len;
		if (strikes(id, WRONG_BYTE))
			slot->value[value_len / 2] ^= 1;
	}
	slot->present = true;
	pthread_mutex_unlock(&fake.lock);
	return THERMO_OK;
}

static void get_one(struct thermo_request *request)
{
	uint64_t id;
	memcpy(&id, request->key, sizeof(id));
	const struct slot *slot = &fake.slot[strikes(id, WRONG_KEY) ? (id + 1) % SLOTS : id];
	request->status = slot->present ? THERMO_OK : THERMO_MISS;
	if (strikes(id, WRONG_GET))
		request->status = -EIO;
	if (request->status)
		return;
	request->value_len = slot->len - strikes(id, WRONG_LENGTH);
	request->tier = (int16_t)(id % THERMO_TIERS);
	if (request->value_len > request->capacity)
		request->status = THERMO_TRUNCATED;
	memcpy(request->value, slot->value,
	       request->value_len < request->capacity ? request->value_len : request->capacity);
}

int thermo_get_batch(struct thermo_request *requests, size_t n, int64_t deadline_ns)
{
	(void)deadline_ns;
	pthread_mutex_lock(&fake.lock);
	for (size_t i = 0; i < n; i++)
		get_one(&requests[i]);
	pthread_mutex_unlock(&fake.lock);
	return THERMO_OK;
}

int thermo_delete(struct thermo_space *space, const void *key, size_t key_len)
{
	uint64_t id;
	(void)space, (void)key_len;
	memcpy(&id, key, sizeof(id));
	pthread_mutex_lock(&fake.lock);
	fake.slot[id].present &= strikes(id, WRONG_DELETE);
	pthread_mutex_unlock(&fake.lock);
	return THERMO_OK;
}

int thermo_settle(struct thermo *cache, int64_t timeout_ns)
{
	(void)cache, (void)timeout_ns;
	return THERMO_OK;
}

int thermo_stats(struct thermo *cache, struct thermo_stats *stats)
{
	(void)cache;
	memset(stats, 0, sizeof(*stats));
	return 0;
}

int thermo_stats_json(struct thermo *cache, char *text, size_t capacity)
{
	(void)cache;
	return snprintf(text, capacity, "{}");
}

const char *thermo_strerror(int status)
{
	return status < 0 ? strerror(-status) : "outcome";
}

/* ---- Requests ---- */

struct requests {
	struct replay_source source; /* must stay the first field */
	uint64_t random;
	unsigned left;
	unsigned group_every; /* requests of one group; 0: alone */
};

#define REQUESTS 20000u
#define KEYS 300u

static int requests_next(struct replay_source *source, struct replay_op *op,
			 struct thermo_error *error)
{
	struct requests *requests = (struct requests *)source;
	(void)error;
	if (!requests->left)
		return 0;
	requests->left--;
	uint64_t random = mix_next(&requests->random);
	*op = (struct replay_op){
		.id = random % KEYS,
		.key_len = 8,
		.value_len = 10 + (uint32_t)(random >> 32) % 500,
		.verb = random >> 60 < 12   ? REPLAY_GET
			: random >> 60 < 15 ? REPLAY_SET
					    : REPLAY_DELETE,
	};
	if (requests->group_every)
		op->group = 1 + requests->left / requests->group_every;
	return 1;
}

static double requests_done(struct replay_source *source)
{
	return 1 - (double)((struct requests *)source)->left / REQUESTS;
}

static int run(enum wrong wrong, unsigned threads, unsigned group_every, bool reopen,
	       struct replay_result *result)
{
	static const char *const spaces[] = {"s"};
	struct requests requests = {
		.source = {.next = requests_next,
			   .done = requests_done,
			   .spaces = spaces,
			   .n_spaces = 1},
		.random = 42,
		.left = REQUESTS,
		.group_every = group_every,
	};
	struct replay_config config = {
		.command = "test",
		.threads = threads,
		.verify = true,
		.reopen = reopen,
		.progress = PROGRESS_NONE,
	};
	memset(fake.slot, 0, sizeof(fake.slot));
	fake.wrong = wrong;
	fake.victim = 7;
	fake.closed = 0;
	int code = replay_run(&config, &requests.source, result);
	replay_result_free(result);
	CU_ASSERT_EQUAL(fake.closed, reopen && wrong != WRONG_CLOSE ? 2 : 1);
	return code;
}

/* ---- Cases ---- */

static void run_sound_cache_finds_nothing(void)
{
	struct replay_result result;
	CU_ASSERT_EQUAL(run(WRONG_NOTHING, 1, 0, true, &result), COMMAND_OK);
	const struct replay_counts *total = &result.total;
	CU_ASSERT_EQUAL(total->gets + total->sets + total->deletes, REQUESTS);
	CU_ASSERT_EQUAL(total->hits[0] + total->hits[1] + total->hits[2] + total->misses,
			total->gets);
	CU_ASSERT_EQUAL(total->puts, total->sets + total->misses);
	CU_ASSERT_EQUAL(result.checks.values, total->gets - total->misses);
	CU_ASSERT(result.checks.values > REQUESTS / 2);
	CU_ASSERT_EQUAL(result.checks.bad_bytes, 0);
	CU_ASSERT(result.reopened.done);
	CU_ASSERT(result.reopened.keys > KEYS / 2 && result.reopened.keys <= KEYS);
	CU_ASSERT_EQUAL(result.reopened.checks.values, result.reopened.keys);
	CU_ASSERT_EQUAL(result.reopened.missing, 0);
}

/* A key's requests keep their order, so neither threads nor batches change what hits. */
static void run_threads_and_batches_count_the_same(void)
{
	struct replay_result one, many, grouped, both;
	CU_ASSERT_EQUAL(run(WRONG_NOTHING, 1, 0, false, &one), COMMAND_OK);
	CU_ASSERT_EQUAL(run(WRONG_NOTHING, 5, 0, false, &many), COMMAND_OK);
	CU_ASSERT_EQUAL(run(WRONG_NOTHING, 1, 40, false, &grouped), COMMAND_OK);
	CU_ASSERT_EQUAL(run(WRONG_NOTHING, 3, 1000, false, &both), COMMAND_OK);
	CU_ASSERT_EQUAL(memcmp(&one.total, &many.total, sizeof(one.total)), 0);
	CU_ASSERT_EQUAL(memcmp(&one.total, &grouped.total, sizeof(one.total)), 0);
	CU_ASSERT_EQUAL(memcmp(&one.total, &both.total, sizeof(one.total)), 0);
	CU_ASSERT_EQUAL(one.batched, 0);
	CU_ASSERT(grouped.batched > REQUESTS / 2);
}

/* Each kind of wrong answer is found, single and in batches, and the run fails. */
static void expect_found(enum wrong wrong)
{
	struct replay_result result;
	for (unsigned group = 0; group <= 40; group += 40) {
		CU_ASSERT_EQUAL(run(wrong, 1, group, false, &result), COMMAND_FAILED);
		CU_ASSERT(result.checks.bad_bytes + result.checks.unexpected > 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(result.first_failure, "key 7 "));
	}
}

static void run_flipped_bit_is_found(void)
{
	expect_found(WRONG_BYTE);
}

static void run_stale_value_is_found(void)
{
	expect_found(WRONG_STALE);
}

static void run_short_value_is_found(void)
{
	expect_found(WRONG_LENGTH);
}

static void run_other_keys_value_is_found(void)
{
	expect_found(WRONG_KEY);
}

static void run_hit_of_deleted_key_is_found(void)
{
	struct replay_result result;
	CU_ASSERT_EQUAL(run(WRONG_DELETE, 1, 0, false, &result), COMMAND_FAILED);
	CU_ASSERT(result.checks.unexpected > 0);
	CU_ASSERT_EQUAL(result.checks.bad_bytes, 0);
}

static void reopen_missing_key_fails(void)
{
	struct replay_result result;
	CU_ASSERT_EQUAL(run(WRONG_REOPEN, 2, 0, true, &result), COMMAND_FAILED);
	CU_ASSERT_EQUAL(result.reopened.missing, 1);
	CU_ASSERT_EQUAL(result.reopened.checks.bad_bytes, 0);
}

static void run_failing_get_fails(void)
{
	struct replay_result result;
	CU_ASSERT_EQUAL(run(WRONG_GET, 1, 16, false, &result), COMMAND_FAILED);
	CU_ASSERT(result.total.errors > 0);
}

static void run_full_cold_fails(void)
{
	struct replay_result result;
	CU_ASSERT_EQUAL(run(WRONG_FULL, 1, 0, false, &result), COMMAND_FAILED);
	CU_ASSERT(result.total.no_space > 0);
	CU_ASSERT_EQUAL(result.total.errors, 0);
}

/* A refused put changed nothing: the old value goes on being the right one. */
static void run_busy_put_is_counted(void)
{
	struct replay_result result;
	CU_ASSERT_EQUAL(run(WRONG_BUSY, 1, 0, false, &result), COMMAND_OK);
	CU_ASSERT(result.total.busy > 0);
	CU_ASSERT_EQUAL(result.checks.bad_bytes, 0);
}

static void run_failing_close_fails(void)
{
	struct replay_result result;
	CU_ASSERT_EQUAL(run(WRONG_CLOSE, 1, 0, true, &result), COMMAND_FAILED);
}

static const struct suite_case cases[] = {
	SUITE_CASE(run_sound_cache_finds_nothing),
	SUITE_CASE(run_threads_and_batches_count_the_same),
	SUITE_CASE(run_flipped_bit_is_found),
	SUITE_CASE(run_stale_value_is_found),
	SUITE_CASE(run_short_value_is_found),
	SUITE_CASE(run_other_keys_value_is_found),
	SUITE_CASE(run_hit_of_deleted_key_is_found),
	SUITE_CASE(reopen_missing_key_fails),
	SUITE_CASE(run_failing_get_fails),
	SUITE_CASE(run_full_cold_fails),
	SUITE_CASE(run_busy_put_is_counted),
	SUITE_CASE(run_failing_close_fails),
};

int main(void)
{
	return suite_run("replay", NULL, NULL, cases, SUITE_COUNT(cases));
}
