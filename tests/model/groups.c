/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on many keys at a time: batches, queues, hints, iteration. */
#include "tests/model/model.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#define GROUP 48
#define ROOM ((size_t)64 << 10) /* of each request's buffer */

struct group {
	struct thermo_request request[GROUP];
	char key[GROUP][THERMO_KEY_MAX];
	uint32_t number[GROUP];
	uint8_t space[GROUP];
	uint64_t seed[GROUP];
	uint64_t before;
	unsigned n;
	char *buffer; /* GROUP * ROOM */
};

/* Different keys, so that the order of a group's requests does not matter. */
static void group_keys(struct actor *a, struct group *g)
{
	g->n = 1 + (unsigned)chance_below(&a->chance, GROUP);
	uint32_t at = (uint32_t)chance_below(&a->chance, KEYS);
	uint32_t step = 1 + (uint32_t)chance_below(&a->chance, KEYS / GROUP - 1);
	unsigned s = (unsigned)chance_below(&a->chance, SPACES);
	memset(g->request, 0, sizeof(g->request));
	g->before = now_ms(a->world);
	for (unsigned i = 0; i < g->n; i++, at = (at + step) % KEYS) {
		g->number[i] = at;
		g->space[i] = (uint8_t)(s ^ (i & 1));
		g->request[i].space = a->world->space[g->space[i]];
		g->request[i].key = g->key[i];
		g->request[i].key_len = (uint32_t)key_make(a, at, g->key[i]);
		g->request[i].user_data = i;
		g->request[i].tier = -1;
	}
}

static void ask_get(struct actor *a, struct group *g, unsigned i)
{
	g->request[i].op = THERMO_OP_GET;
	g->request[i].value = g->buffer + i * ROOM;
	g->request[i].capacity = chance_below(&a->chance, 8) ? ROOM : 100;
}

static void ask_put(struct actor *a, struct group *g, unsigned i)
{
	size_t len = random_len(a);
	g->request[i].op = THERMO_OP_PUT;
	g->request[i].value_len = len < ROOM ? len : ROOM;
	g->request[i].value = g->buffer + i * ROOM;
	g->request[i].ttl_ms = random_ttl(a);
	g->seed[i] = chance_next(&a->chance);
	value_fill(g->request[i].value, g->request[i].value_len, g->seed[i]);
}

/* What a finished request means for the reference. may_pend: PENDING or CANCELLED is an outcome. */
static void finished(struct actor *a, struct group *g, unsigned i, bool may_pend)
{
	struct thermo_request *r = &g->request[i];
	unsigned s = g->space[i];
	uint32_t k = g->number[i];
	struct entry *e = &a->entry[s][k];
	note_trace(a, s, k, r->status);
	if (may_pend && (r->status == THERMO_PENDING || r->status == THERMO_CANCELLED)) {
		a->pending++;
		return;
	}
	if (r->status == THERMO_BUSY && r->op != THERMO_OP_GET) {
		a->busy++;
		return;
	}
	if (refused(a, r->status))
		return;
	switch (r->op) {
	case THERMO_OP_GET:
		check_read(a, s, k, r->status, g->before, r->value, r->capacity, r->offset,
			   r->value_len);
		if (r->status == THERMO_OK || r->status == THERMO_TRUNCATED)
			check_version(a, s, k, r->version);
		if (r->tier >= 0 && r->tier < THERMO_TIERS)
			a->hits[r->tier]++;
		return;
	case THERMO_OP_PUT:
		if (r->status != THERMO_OK)
			fail(a, s, k, r->status, "a put in a group failed");
		if (r->version <= e->version_last)
			fail(a, s, k, r->status, "put gave version %" PRIu64, r->version);
		note_put(a, e, g->seed[i], r->value_len, r->ttl_ms, g->before, r->version);
		return;
	case THERMO_OP_REMOVE:
		if (r->status != THERMO_OK && r->status != THERMO_MISS)
			fail(a, s, k, r->status, "a remove in a group failed");
		enum certainty must = certainty(a, e, g->before, now_ms(a->world));
		if ((r->status == THERMO_MISS && must == MUST_HIT) ||
		    (r->status == THERMO_OK && must == MUST_MISS))
			fail(a, s, k, r->status, "remove errs");
		break;
	default:
		if (r->status != THERMO_OK)
			fail(a, s, k, r->status, "a delete in a group failed");
		break;
	}
	e->present = false;
	e->marked = a->iterations;
}

static struct group *group_make(struct actor *a)
{
	struct group *g = malloc(sizeof(*g));
	char *buffer = malloc(GROUP * ROOM);
	if (!g || !buffer)
		fail(a, 0, KEYS, -ENOMEM, "the test has no memory");
	g->buffer = buffer;
	group_keys(a, g);
	return g;
}

static void group_free(struct group *g)
{
	free(g->buffer);
	free(g);
}

void operate_batch(struct actor *a)
{
	struct group *g = group_make(a);
	uint64_t dice = chance_below(&a->chance, 10);
	int64_t deadline = -1;
	if (chance_below(&a->chance, 3) == 0)
		deadline = (int64_t)chance_below(&a->chance, 2000000);
	int rc;
	if (dice < 7) {
		a->what = "get_batch";
		for (unsigned i = 0; i < g->n; i++)
			ask_get(a, g, i);
		rc = thermo_get_batch(g->request, g->n, deadline);
	} else if (dice < 9) {
		a->what = "put_batch";
		for (unsigned i = 0; i < g->n; i++)
			ask_put(a, g, i);
		rc = thermo_put_batch(g->request, g->n, deadline);
	} else {
		a->what = "delete_batch";
		if (g->n > 8)
			g->n = 8;
		rc = thermo_delete_batch(g->request, g->n, deadline);
	}
	if (rc != THERMO_OK)
		fail(a, 0, KEYS, rc, "a batch failed");
	for (unsigned i = 0; i < g->n; i++)
		finished(a, g, i, deadline >= 0);
	group_free(g);
}

static void collect(struct actor *a, struct group *g, struct thermo_queue *queue, unsigned left)
{
	while (left) {
		struct thermo_request *done[16];
		struct pollfd p = {.fd = thermo_event_fd(queue), .events = POLLIN};
		if (chance_below(&a->chance, 2) && poll(&p, 1, 120000) != 1)
			fail(a, 0, KEYS, 0, "%u requests are under way and the descriptor is silent", left);
		int n = thermo_poll(queue, done, 1 + chance_below(&a->chance, 16), -1);
		if (n <= 0 || (unsigned)n > left)
			fail(a, 0, KEYS, n, "poll gave %d of %u", n, left);
		left -= (unsigned)n;
		for (int i = 0; i < n; i++)
			finished(a, g, (unsigned)done[i]->user_data, false);
	}
}

void operate_queue(struct actor *a)
{
	struct group *g = group_make(a);
	struct thermo_request *list[GROUP];
	struct thermo_queue *queue;
	a->what = "queue";
	int rc = thermo_queue_open(a->world->cache, &queue);
	if (refused(a, rc)) {
		group_free(g);
		return;
	}
	if (rc != THERMO_OK)
		fail(a, 0, KEYS, rc, "queue_open failed");
	for (unsigned i = 0; i < g->n; i++) {
		uint64_t dice = chance_below(&a->chance, 10);
		list[i] = &g->request[i];
		if (dice < 6)
			ask_get(a, g, i);
		else if (dice < 8)
			ask_put(a, g, i);
		else
			g->request[i].op = dice == 8 ? THERMO_OP_REMOVE : THERMO_OP_DELETE;
	}
	rc = thermo_submit(queue, list, g->n);
	if (rc != THERMO_OK)
		fail(a, 0, KEYS, rc, "submit failed");
	unsigned left = g->n;
	for (unsigned i = 0; i < g->n && chance_below(&a->chance, 4) == 0; i++) {
		rc = thermo_cancel(queue, list[i]);
		if (rc == THERMO_OK) {
			if (g->request[i].status != THERMO_CANCELLED)
				fail(a, g->space[i], g->number[i], rc, "cancelled, but its status is %d",
				     g->request[i].status);
			finished(a, g, i, true);
			left--;
		} else if (rc != -EALREADY) {
			fail(a, g->space[i], g->number[i], rc, "cancel failed");
		}
	}
	collect(a, g, queue, left);
	rc = thermo_queue_close(&queue);
	if (rc != THERMO_OK)
		fail(a, 0, KEYS, rc, "queue_close failed");
	group_free(g);
}

void operate_hint(struct actor *a)
{
	struct group *g = group_make(a);
	const void *keys[GROUP];
	size_t lens[GROUP];
	a->what = "hint";
	for (unsigned i = 0; i < g->n; i++) {
		keys[i] = g->key[i];
		lens[i] = g->request[i].key_len;
	}
	int rc = thermo_hint(a->world->space[0], keys, lens, g->n);
	if (rc != THERMO_OK && !refused(a, rc))
		fail(a, 0, KEYS, rc, "hint failed");
	group_free(g);
}

/* An item of this actor: right, unless the iteration's own writes changed it meanwhile. */
static void check_item(struct actor *a, unsigned s, const struct thermo_item *item, uint64_t before)
{
	uint32_t k = key_number(a, item->key, item->key_len);
	if (k == KEYS)
		fail(a, s, KEYS, 0, "iteration gave a key that nobody wrote: \"%.*s\"",
		     (int)(item->key_len < 16 ? item->key_len : 16), (const char *)item->key);
	struct entry *e = &a->entry[s][k];
	note_trace(a, s, k, (int)item->tier);
	if (certainty(a, e, before, now_ms(a->world)) == MUST_MISS)
		fail(a, s, k, 0, "iteration gave an absent key, version %" PRIu64 ", tier %d",
		     item->version, (int)item->tier);
	if (item->value_len != e->len || item->expires_ms < e->expires_lo ||
	    item->expires_ms > e->expires_hi)
		fail(a, s, k, 0, "iteration gave %zu bytes, expires %" PRIu64 ", version %" PRIu64,
		     item->value_len, item->expires_ms, item->version);
	size_t wrong;
	if (item->value ? !value_is(item->value, 0, item->value_len, e->seed, &wrong)
			: item->value_len <= INLINE_MAX)
		fail(a, s, k, 0, "iteration gave a wrong value");
	check_version(a, s, k, item->version);
	e->marked = a->iterations;
}

void operate_iterate(struct actor *a)
{
	unsigned s = (unsigned)chance_below(&a->chance, SPACES);
	char prefix[2] = {(char)('a' + a->number), (char)('A' + chance_below(&a->chance, 3))};
	size_t prefix_len = 1 + chance_below(&a->chance, 2);
	struct thermo_iter *iter;
	struct thermo_item item;
	uint64_t began = now_ms(a->world);
	a->what = "iterate";
	a->iterations++;
	int rc = thermo_iter_open(a->world->space[s], prefix, prefix_len, &iter);
	if (refused(a, rc))
		return;
	if (rc != THERMO_OK)
		fail(a, s, KEYS, rc, "iter_open failed");
	for (;;) {
		uint64_t before = now_ms(a->world);
		rc = thermo_iter_next(iter, &item);
		if (rc != THERMO_OK)
			break;
		check_item(a, s, &item, before);
		if (chance_below(&a->chance, 16) == 0) { /* it may go on while others write */
			verify_key(a, s, (uint32_t)chance_below(&a->chance, KEYS));
			struct group *g = group_make(a);
			for (unsigned i = 0; i < g->n; i++)
				ask_put(a, g, i);
			g->n = 1 + g->n / 8;
			rc = thermo_put_batch(g->request, g->n, -1);
			for (unsigned i = 0; i < g->n && rc == THERMO_OK; i++)
				finished(a, g, i, false);
			group_free(g);
		}
	}
	bool cut = refused(a, rc);
	if (rc != THERMO_MISS && !cut)
		fail(a, s, KEYS, rc, "iteration failed");
	rc = thermo_iter_close(&iter);
	if (rc != THERMO_OK)
		fail(a, s, KEYS, rc, "iter_close failed");
	if (cut)
		return;
	for (uint32_t k = 0; k < KEYS; k++) {
		char key[THERMO_KEY_MAX];
		size_t len = key_make(a, k, key);
		if (len < prefix_len || memcmp(key, prefix, prefix_len) != 0)
			continue;
		if (a->entry[s][k].marked != a->iterations &&
		    certainty(a, &a->entry[s][k], began, now_ms(a->world)) == MUST_HIT)
			fail(a, s, k, 0, "iteration %" PRIu64 " overlooked a key", a->iterations);
	}
}
