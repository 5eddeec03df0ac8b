/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on many keys: batches, queues, hints, iteration, many threads. */
#include "tests/tiers/bed.h"

#include <poll.h>
#include <pthread.h>

#define MANY 8000u
#define MANY_LEN 5000u
#define GROUP 200u

/* Two tiers' worth of records and more: they lie in all three. */
static void bed_make_full(struct bed *bed)
{
	bed_make(bed, true, true);
	bed_fill(bed->space, MANY, MANY_LEN);
}

struct group {
	struct thermo_request request[GROUP], *list[GROUP];
	char key[GROUP][32];
	char buffer[GROUP][MANY_LEN];
};

/* Every 37th key, every fifth of them one that is not there. */
static struct group *group_make_from(struct bed *bed, uint32_t first)
{
	struct group *g = calloc(1, sizeof(*g));
	CU_ASSERT_PTR_NOT_NULL_FATAL(g);
	for (uint32_t i = 0; i < GROUP; i++) {
		struct thermo_request *r = g->list[i] = &g->request[i];
		uint32_t number = first + i * 37 + (i % 5 == 4 ? 1000000 : 0);
		r->space = bed->space;
		r->key = g->key[i];
		r->key_len = (uint32_t)bed_key(number, g->key[i]);
		r->value = g->buffer[i];
		r->capacity = MANY_LEN;
		r->user_data = number;
	}
	return g;
}

static struct group *group_make(struct bed *bed)
{
	return group_make_from(bed, 0);
}

static unsigned wrong_answers(const struct group *g, bool may_pend)
{
	unsigned bad = 0;
	size_t wrong;
	for (uint32_t i = 0; i < GROUP; i++) {
		const struct thermo_request *r = &g->request[i];
		if (may_pend && r->status == THERMO_PENDING)
			continue;
		if (r->user_data >= MANY)
			bad += r->status != THERMO_MISS;
		else
			bad += r->status != THERMO_OK || r->value_len != MANY_LEN || r->tier < 0 ||
			       r->tier > THERMO_COLD || r->version == 0 ||
			       !value_is(r->value, 0, MANY_LEN, r->user_data + 1, &wrong);
		if (bad)
			printf("  request %u: status %d, %zu bytes, tier %d, version %llu\n", i, r->status,
			       r->value_len, r->tier, (unsigned long long)r->version);
		if (bad)
			break;
	}
	return bad;
}

/* ---- Batches ---- */

static void get_batch_hits_of_every_tier_and_misses(void)
{
	struct bed bed;
	unsigned tiers[THERMO_TIERS] = {0};
	bed_make_full(&bed);
	struct group *g = group_make(&bed);
	CU_ASSERT_EQUAL(thermo_get_batch(g->request, GROUP, -1), THERMO_OK);
	CU_ASSERT_EQUAL(wrong_answers(g, false), 0);
	for (uint32_t i = 0; i < GROUP; i++)
		if (g->request[i].tier >= 0)
			tiers[g->request[i].tier]++;
	CU_ASSERT(tiers[THERMO_HOT] && tiers[THERMO_WARM] && tiers[THERMO_COLD]);
	free(g);
	bed_end(&bed);
}

static void get_batch_deadline_leaves_pending_never_a_miss(void)
{
	struct bed bed;
	unsigned pending = 0;
	bed_make_full(&bed);
	/* The device takes more than no time, unless this thread was stopped meanwhile: other keys then. */
	for (uint32_t first = 0; first < 37 && !pending; first++) {
		struct group *g = group_make_from(&bed, first);
		CU_ASSERT_EQUAL(thermo_get_batch(g->request, GROUP, 0), THERMO_OK);
		CU_ASSERT_EQUAL(wrong_answers(g, true), 0);
		for (uint32_t i = 0; i < GROUP; i++)
			pending += g->request[i].status == THERMO_PENDING;
		CU_ASSERT_EQUAL(bed_stats(&bed).pending, pending);
		CU_ASSERT_EQUAL(thermo_get_batch(g->request, GROUP, NO_LIMIT), THERMO_OK);
		CU_ASSERT_EQUAL(wrong_answers(g, false), 0);
		free(g);
	}
	CU_ASSERT(pending > 0);
	bed_end(&bed);
}

static void batch_bad_requests_have_their_own_status(void)
{
	struct bed bed, other;
	char value[8];
	bed_make(&bed, false, false);
	bed_make(&other, false, false);
	struct thermo_request r[4] = {
		{.space = bed.space, .key = "a", .key_len = 1, .value = (void *)"1", .value_len = 1},
		{.space = bed.space, .key = "b", .key_len = 0, .value = (void *)"1", .value_len = 1},
		{.space = NULL, .key = "c", .key_len = 1, .value = (void *)"1", .value_len = 1},
		{.space = bed.space, .key = "d", .key_len = 1, .value = NULL, .value_len = 1},
	};
	CU_ASSERT_EQUAL(thermo_put_batch(r, 4, -1), THERMO_OK);
	CU_ASSERT_EQUAL(r[0].status, THERMO_OK);
	CU_ASSERT(r[0].version > 0);
	CU_ASSERT_EQUAL(r[1].status, -EINVAL);
	CU_ASSERT_EQUAL(r[2].status, -EINVAL);
	CU_ASSERT_EQUAL(r[3].status, -EINVAL);
	r[1] = r[0];
	r[1].space = other.space;
	CU_ASSERT_EQUAL(thermo_put_batch(r, 2, -1), -EXDEV);
	CU_ASSERT_EQUAL(thermo_get_batch(NULL, 1, -1), -EINVAL);
	CU_ASSERT_EQUAL(thermo_get_batch(NULL, 0, -1), THERMO_OK);
	/* The same key twice in a batch. */
	r[0].value = value;
	r[0].capacity = 8;
	r[1] = r[0];
	CU_ASSERT_EQUAL(thermo_get_batch(r, 2, -1), THERMO_OK);
	CU_ASSERT(r[0].status == THERMO_OK && r[1].status == THERMO_OK);
	CU_ASSERT_EQUAL(thermo_delete_batch(r, 2, -1), THERMO_OK);
	CU_ASSERT(r[0].status == THERMO_OK && r[1].status == THERMO_OK);
	CU_ASSERT_EQUAL(thermo_exists(bed.space, "a", 1, NULL), THERMO_MISS);
	bed_end(&bed);
	bed_end(&other);
}

/* ---- Queues ---- */

static void submit_poll_every_operation(void)
{
	struct bed bed;
	struct thermo_queue *queue;
	struct thermo_request *done[16];
	struct thermo_info info;
	struct thermo_ref ref = {0};
	char value[16];
	bed_make(&bed, true, true);
	CU_ASSERT_EQUAL_FATAL(thermo_queue_open(bed.cache, &queue), THERMO_OK);
	struct thermo_request put = {.op = THERMO_OP_PUT, .value = (void *)"one", .value_len = 3};
	struct thermo_request get = {.op = THERMO_OP_GET, .value = value, .capacity = 16};
	struct thermo_request exists = {.op = THERMO_OP_EXISTS, .value = &info};
	struct thermo_request touch = {.op = THERMO_OP_TOUCH, .ttl_ms = 1000};
	struct thermo_request hold = {.op = THERMO_OP_GET_REF, .value = &ref};
	struct thermo_request cas = {.op = THERMO_OP_CAS, .value = (void *)"two", .value_len = 3};
	struct thermo_request erase = {.op = THERMO_OP_ERASE, .ttl_ms = 1000000000};
	struct thermo_request take = {.op = THERMO_OP_REMOVE}, wrong = {.op = 77};
	struct thermo_request *order[] = {&put, &get, &exists, &touch, &hold, &cas, &erase, &take, &wrong};
	static const int status[] = {THERMO_OK, THERMO_OK, THERMO_OK, THERMO_OK, THERMO_OK,
				     THERMO_CONFLICT, THERMO_OK, THERMO_MISS, -EINVAL};
	for (size_t i = 0; i < SUITE_COUNT(order); i++) {
		order[i]->space = bed.space;
		order[i]->key = "k";
		order[i]->key_len = 1;
		CU_ASSERT_EQUAL(thermo_submit(queue, &order[i], 1), 0);
		CU_ASSERT_EQUAL(thermo_poll(queue, done, 16, NO_LIMIT), 1);
		CU_ASSERT_PTR_EQUAL(done[0], order[i]);
		CU_ASSERT_EQUAL(order[i]->status, status[i]);
		if (order[i]->status != status[i])
			printf("  request %zu: %d\n", i, order[i]->status);
	}
	CU_ASSERT_EQUAL(memcmp(value, "one", 3), 0);
	CU_ASSERT_EQUAL(get.value_len, 3);
	CU_ASSERT_EQUAL(info.value_len, 3);
	CU_ASSERT(ref.len == 3 && memcmp(ref.data, "one", 3) == 0);
	CU_ASSERT_EQUAL(cas.version, ref.version);
	thermo_ref_release(&ref);
	CU_ASSERT_EQUAL(thermo_poll(queue, done, 16, 0), 0);
	CU_ASSERT_EQUAL(thermo_queue_close(&queue), THERMO_OK);
	CU_ASSERT_PTR_NULL(queue);
	bed_end(&bed);
}

static void submit_many_descriptor_tells_when_done(void)
{
	struct bed bed;
	struct thermo_queue *queue;
	struct thermo_request *done[16];
	unsigned left = GROUP, rounds = 0;
	bed_make_full(&bed);
	struct group *g = group_make(&bed);
	CU_ASSERT_EQUAL_FATAL(thermo_queue_open(bed.cache, &queue), THERMO_OK);
	struct pollfd p = {.fd = thermo_event_fd(queue), .events = POLLIN};
	CU_ASSERT_EQUAL(poll(&p, 1, 0), 0); /* nothing to do yet */
	CU_ASSERT_EQUAL(thermo_submit(queue, g->list, GROUP), 0);
	CU_ASSERT_EQUAL(thermo_queue_close(&queue), -EBUSY);
	while (left && rounds++ < 100000) {
		CU_ASSERT_EQUAL_FATAL(poll(&p, 1, -1), 1);
		int n = thermo_poll(queue, done, 16, 0);
		CU_ASSERT_FATAL(n >= 0 && (unsigned)n <= left);
		left -= (unsigned)n;
	}
	CU_ASSERT_EQUAL(left, 0);
	CU_ASSERT_EQUAL(wrong_answers(g, false), 0);
	/* The kernel may raise the descriptor for a read after it was collected: a poll puts it down. */
	if (poll(&p, 1, 10))
		CU_ASSERT_EQUAL(thermo_poll(queue, done, 16, 0), 0);
	CU_ASSERT_EQUAL(poll(&p, 1, 0), 0);
	CU_ASSERT_EQUAL(thermo_queue_close(&queue), THERMO_OK);
	free(g);
	bed_end(&bed);
}

static void cancel_under_way_or_done_says_which(void)
{
	struct bed bed;
	struct thermo_queue *queue;
	struct thermo_request *done[GROUP];
	unsigned cancelled = 0, come = 0;
	bed_make_full(&bed);
	struct group *g = group_make(&bed);
	CU_ASSERT_EQUAL_FATAL(thermo_queue_open(bed.cache, &queue), THERMO_OK);
	CU_ASSERT_EQUAL(thermo_submit(queue, g->list, GROUP), 0);
	for (uint32_t i = 0; i < GROUP; i++) {
		int rc = thermo_cancel(queue, g->list[i]);
		CU_ASSERT(rc == THERMO_OK || rc == -EALREADY);
		if (rc != THERMO_OK)
			continue;
		cancelled++;
		CU_ASSERT_EQUAL(g->request[i].status, THERMO_CANCELLED);
		memset(g->buffer[i], 'c', MANY_LEN); /* ours again: nobody writes there */
	}
	CU_ASSERT(cancelled > 0);
	while (come + cancelled < GROUP) {
		int n = thermo_poll(queue, done, GROUP, NO_LIMIT);
		CU_ASSERT_FATAL(n > 0);
		for (int i = 0; i < n; i++)
			CU_ASSERT(done[i]->status != THERMO_CANCELLED);
		come += (unsigned)n;
	}
	struct timespec t = {0, 50000000};
	nanosleep(&t, NULL);
	for (uint32_t i = 0; i < GROUP; i++)
		if (g->request[i].status == THERMO_CANCELLED)
			for (size_t at = 0; at < MANY_LEN; at += 512)
				CU_ASSERT_EQUAL(g->buffer[i][at], 'c');
	CU_ASSERT_EQUAL(thermo_queue_close(&queue), THERMO_OK);
	free(g);
	bed_end(&bed);
}

static void submit_too_many_is_refused_whole(void)
{
	struct bed bed;
	struct thermo_queue *queue;
	const size_t most = 65536;
	struct thermo_request *r = calloc(most + 1, sizeof(*r)), *done[64];
	struct thermo_request **list = calloc(most + 1, sizeof(struct thermo_request *));
	CU_ASSERT_FATAL(r && list);
	bed_make(&bed, false, false);
	CU_ASSERT_EQUAL_FATAL(thermo_queue_open(bed.cache, &queue), THERMO_OK);
	for (size_t i = 0; i <= most; i++) {
		list[i] = &r[i];
		r[i] = (struct thermo_request){.space = bed.space, .key = "k", .key_len = 1};
	}
	CU_ASSERT_EQUAL(thermo_submit(queue, list, most + 1), -EAGAIN);
	CU_ASSERT_EQUAL(thermo_poll(queue, done, 64, 0), 0);
	CU_ASSERT_EQUAL(thermo_submit(queue, list, most), 0);
	CU_ASSERT_EQUAL(thermo_submit(queue, list + most, 1), -EAGAIN);
	size_t come = 0;
	for (int n; (n = thermo_poll(queue, done, 64, 0)) > 0;)
		come += (size_t)n;
	CU_ASSERT_EQUAL(come, most);
	CU_ASSERT_EQUAL(thermo_queue_close(&queue), THERMO_OK);
	free(r);
	free(list);
	bed_end(&bed);
}

/* ---- Iteration ---- */

static uint32_t iterate(struct bed *bed, const char *prefix, uint8_t *seen, uint32_t n)
{
	struct thermo_iter *iter;
	struct thermo_item item;
	uint32_t visits = 0;
	size_t wrong;
	/* Nothing here is fatal: the caller may have a thread to stop. */
	int rc = thermo_iter_open(bed->space, prefix, strlen(prefix), &iter);
	CU_ASSERT_EQUAL(rc, THERMO_OK);
	if (rc != THERMO_OK)
		return 0;
	while ((rc = thermo_iter_next(iter, &item)) == THERMO_OK) {
		char text[33] = "";
		memcpy(text, item.key, item.key_len < 32 ? item.key_len : 32);
		uint32_t k = (uint32_t)strtoul(text + 4, NULL, 10);
		CU_ASSERT_EQUAL(strncmp(text, prefix, strlen(prefix)), 0);
		CU_ASSERT_PTR_NOT_NULL(item.value);
		if (item.value)
			CU_ASSERT(item.value_len == MANY_LEN &&
				  value_is(item.value, 0, MANY_LEN, (uint64_t)k + 1, &wrong));
		if (k < n)
			seen[k] = 1;
		visits++;
	}
	CU_ASSERT_EQUAL(rc, THERMO_MISS);
	if (rc != THERMO_MISS)
		printf("  iteration ends with %d\n", rc);
	CU_ASSERT_EQUAL(thermo_iter_close(&iter), THERMO_OK);
	CU_ASSERT_PTR_NULL(iter);
	return visits;
}

static void iterate_all_and_by_prefix_in_every_tier(void)
{
	struct bed bed;
	static uint8_t seen[MANY];
	uint32_t sum = 0;
	bed_make_full(&bed);
	CU_ASSERT(iterate(&bed, "", seen, MANY) >= MANY);
	for (uint32_t i = 0; i < MANY; i++)
		sum += seen[i];
	CU_ASSERT_EQUAL(sum, MANY);
	struct thermo_stats before = bed_stats(&bed);
	memset(seen, 0, sizeof(seen));
	iterate(&bed, "key-0000123", seen, MANY);
	for (uint32_t i = 0; i < MANY; i++)
		CU_ASSERT_EQUAL(seen[i], i / 10 == 123);
	CU_ASSERT_EQUAL(iterate(&bed, "nothing", seen, MANY), 0);
	struct thermo_stats after = bed_stats(&bed);
	CU_ASSERT_EQUAL(before.gets, after.gets); /* no access */
	struct thermo_iter *iter;
	CU_ASSERT_EQUAL(thermo_iter_open(bed.space, NULL, 1, &iter), -EINVAL);
	bed_end(&bed);
}

struct churn {
	struct bed *bed;
	_Atomic bool stop;
};

static void *write_others(void *argument)
{
	struct churn *churn = argument;
	for (uint32_t i = 0; !atomic_load(&churn->stop); i++)
		bed_put(churn->bed->space, MANY + i % 3000, (uint64_t)MANY + i % 3000 + 1, MANY_LEN);
	return NULL;
}

static void iterate_while_others_write_misses_nothing_that_stays(void)
{
	struct bed bed;
	static uint8_t seen[MANY];
	pthread_t thread;
	struct churn churn = {.bed = &bed};
	bed_make_full(&bed);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, write_others, &churn), 0);
	for (int round = 0; round < 5; round++) {
		uint32_t sum = 0;
		memset(seen, 0, sizeof(seen));
		iterate(&bed, "", seen, MANY);
		for (uint32_t i = 0; i < MANY; i++)
			sum += seen[i];
		CU_ASSERT_EQUAL(sum, MANY);
	}
	atomic_store(&churn.stop, true);
	pthread_join(thread, NULL);
	bed_end(&bed);
}

/* ---- Threads ---- */

#define CROWD 8u

struct one {
	struct thermo_space *space;
	uint32_t number;
	uint32_t bad;
};

/* Own keys, every kind of call. */
static void *crowd(void *argument)
{
	struct one *one = argument;
	struct thermo_space *space = one->space;
	struct chance chance = chance_make(one->number);
	char key[32], value[2000];
	uint64_t seed[200] = {0};
	for (uint32_t i = 0; i < 8000; i++) {
		uint32_t k = (uint32_t)chance_below(&chance, 200);
		size_t len = bed_key(one->number * 1000 + k, key), got, wrong;
		uint64_t dice = chance_below(&chance, 10);
		int rc;
		if (dice < 4) {
			uint64_t fresh = chance_next(&chance);
			value_fill(value, sizeof(value), fresh);
			rc = thermo_put(space, key, len, value, sizeof(value), 0);
			if (rc == THERMO_OK)
				seed[k] = fresh;
			one->bad += rc != THERMO_OK && rc != THERMO_BUSY;
		} else if (dice < 8) {
			rc = thermo_get(space, key, len, value, sizeof(value), &got);
			one->bad += rc != THERMO_OK && rc != THERMO_MISS;
			one->bad += rc == THERMO_OK && (!seed[k] || !value_is(value, 0, got, seed[k], &wrong));
		} else if (dice < 9) {
			rc = thermo_delete(space, key, len);
			one->bad += rc != THERMO_OK;
			seed[k] = 0;
		} else {
			struct thermo_ref ref;
			rc = thermo_get_ref(space, key, len, &ref);
			one->bad += rc == THERMO_OK &&
				    (!seed[k] || !value_is(ref.data, 0, ref.len, seed[k], &wrong));
			if (rc == THERMO_OK)
				thermo_ref_release(&ref);
		}
	}
	return NULL;
}

static void use_by_many_threads_keeps_everyones_values(void)
{
	struct bed bed;
	struct one one[CROWD];
	pthread_t thread[CROWD];
	bed_make(&bed, true, false);
	uint32_t n = 0;
	for (; n < CROWD; n++) {
		one[n] = (struct one){bed.space, n + 1, 0};
		if (pthread_create(&thread[n], NULL, crowd, &one[n]))
			break;
	}
	CU_ASSERT_EQUAL(n, CROWD);
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(thread[i], NULL);
		CU_ASSERT_EQUAL(one[i].bad, 0);
	}
	bed_end(&bed);
}

static void *a_few_calls(void *argument)
{
	struct one *one = argument;
	for (uint32_t i = 0; i < 20; i++)
		one->bad += bed_put(one->space, 5000000 + i, i + 1, 100) != THERMO_OK ||
			    bed_check(one->space, 5000000 + i, i + 1, 100) != THERMO_OK;
	return NULL;
}

/* Threads that come and go use up no slots. */
static void use_by_many_short_threads_works(void)
{
	struct bed bed;
	bed_make(&bed, false, false);
	for (uint32_t i = 0; i < 300; i++) {
		struct one one = {bed.space, i + 1, 0};
		pthread_t thread;
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, i % 50 ? a_few_calls : crowd,
						     &one), 0);
		pthread_join(thread, NULL);
		CU_ASSERT_EQUAL(one.bad, 0);
	}
	bed_end(&bed);
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(get_batch_hits_of_every_tier_and_misses),
		SUITE_CASE(get_batch_deadline_leaves_pending_never_a_miss),
		SUITE_CASE(batch_bad_requests_have_their_own_status),
		SUITE_CASE(submit_poll_every_operation),
		SUITE_CASE(submit_many_descriptor_tells_when_done),
		SUITE_CASE(cancel_under_way_or_done_says_which),
		SUITE_CASE(submit_too_many_is_refused_whole),
		SUITE_CASE(iterate_all_and_by_prefix_in_every_tier),
		SUITE_CASE(iterate_while_others_write_misses_nothing_that_stays),
		SUITE_CASE(use_by_many_threads_keeps_everyones_values),
		SUITE_CASE(use_by_many_short_threads_works),
	};
	return suite_run("engine_many", NULL, NULL, cases, SUITE_COUNT(cases));
}
