/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values over chunk_bytes: the key's record is a head (struct large_head), the bytes lie in records of their own,
 * named by the head's generation and their number. Chunks are written before their head and forgotten after it is
 * replaced, so a reader that has a head finds its chunks, or an evicted one (a miss), never another
 * value's bytes.
 */
#include "tiers/durable.h"
#include "tiers/image.h"
#include "tiers/request.h"

#include <errno.h>

#define WINDOW 16 /* cold chunks read at a time */

static struct key chunk_key(const struct thermo_space *space, const struct large_head *head,
			    uint32_t number, char bytes[LARGE_CHUNK_KEY])
{
	memcpy(bytes, head->generation, 16);
	memcpy(bytes + 16, &number, 4);
	return key_make(space, bytes, LARGE_CHUNK_KEY, 1);
}

/* Chunks of a value that is not reachable any more, still to be deleted. */
struct forgotten {
	struct large_head head;
	uint32_t chunk; /* the next one */
	uint8_t space;
	struct forgotten *next;
};

/* From f->chunk on. false: there is no room for a tombstone just now. */
static bool delete_chunks(struct thermo *c, struct forgotten *f, bool hurried)
{
	char bytes[LARGE_CHUNK_KEY];
	for (; f->chunk < f->head.chunks; f->chunk++) {
		struct write w = {
			.key = chunk_key(&c->space[f->space], &f->head, f->chunk, bytes),
			.hurried = hurried,
		};
		int rc = write_tombstone(c, &w);
		/* The space is gone, and they with it; or it takes no more, and they cost room. */
		if (rc == -ENOENT || rc == -EROFS || rc == -EIO)
			return true;
		if (rc != THERMO_OK)
			return false;
	}
	return true;
}

static void put_off(struct thermo *c, struct forgotten *f)
{
	pthread_mutex_lock(&c->lock);
	f->next = c->forgotten;
	c->forgotten = f;
	pthread_mutex_unlock(&c->lock);
}

void large_forget(struct thermo *c, const struct key *key, const struct large_head *head)
{
	struct forgotten now = {.head = *head, .space = key->space};
	if (delete_chunks(c, &now, false))
		return;
	struct forgotten *later = heap_alloc(c->heap, sizeof(*later));
	if (!later)
		return; /* they cost room from now on */
	*later = now;
	put_off(c, later);
}

bool large_forget_more(struct thermo *c)
{
	pthread_mutex_lock(&c->lock);
	bool room = c->pool[THERMO_HOT].free.count >
		    c->reserve[THERMO_HOT] + cache_margin(c, THERMO_HOT);
	struct forgotten *f = room ? c->forgotten : NULL;
	if (f)
		c->forgotten = f->next;
	pthread_mutex_unlock(&c->lock);
	if (!f)
		return false;
	/* Not waiting: it is the migrator who makes the room. */
	uint32_t before = f->chunk;
	bool done = delete_chunks(c, f, true), did = done || f->chunk != before;
	if (done)
		heap_free(c->heap, f);
	else
		put_off(c, f);
	return did;
}

void large_close(struct thermo *c)
{
	while (c->forgotten) {
		struct forgotten *f = c->forgotten;
		c->forgotten = f->next;
		heap_free(c->heap, f);
	}
}

struct cold_get large_chunks(struct thermo *c, uint8_t space, const struct large_head *head,
			     char bytes[LARGE_CHUNK_KEY])
{
	struct key key = chunk_key(&c->space[space], head, head->chunks, bytes);
	return (struct cold_get){
		.key = bytes,
		.key_len = LARGE_CHUNK_KEY,
		.space = space,
		.flags = COLD_CHUNK | COLD_NUMBERED,
		.hash = key.hash,
	};
}

static int put_chunks(struct thermo *c, struct thermo_request *r, struct large_head *head,
		      const struct write *whole)
{
	char bytes[LARGE_CHUNK_KEY];
	for (uint32_t i = 0; i < head->chunks; i++) {
		uint64_t offset = (uint64_t)i * head->chunk_bytes;
		uint64_t left = head->len - offset;
		struct write w = {
			.key = chunk_key(r->space, head, i, bytes),
			.value = (const char *)r->value + offset,
			.value_len = (uint32_t)(left < head->chunk_bytes ? left : head->chunk_bytes),
			.expires_ms = whole->expires_ms,
			.admitted = true,
			.queue = whole->queue,
		};
		int rc = write_record(c, &w);
		if (rc != THERMO_OK) {
			head->chunks = i;
			return rc;
		}
	}
	return THERMO_OK;
}

/* The record of the key itself. What cold holds of the key is read anew where it may have changed since `get`: putting
 * the chunks takes long, and is not to be done again for that. */
static int put_head(struct thermo *c, struct write *w, const struct cold_get *get,
		    struct large_head *old, bool *replaced)
{
	struct runner *runner = NULL;
	struct cold_get anew;
	int rc = write_record(c, w);
	while (rc == WRITE_NEEDS_COLD || rc == WRITE_AGAIN) {
		if (runner)
			cold_get_release(runner->io, &anew);
		else if (!(runner = runner_take(c, false))) /* the caller may hold one */
			return -ENOMEM;
		anew = (struct cold_get){
			.key = w->key.bytes,
			.key_len = w->key.len,
			.hash = w->key.hash,
			.space = w->key.space,
		};
		get = &anew;
		uint32_t stripe = stripe_read(c, w->key.hash);
		runner_read(runner, &anew);
		request_knows(c, w, get, stripe);
		rc = w->conditional && anew.status < 0 ? anew.status : write_record(c, w);
	}
	*replaced = rc == THERMO_OK && request_replaced(w, get, old);
	if (runner) {
		cold_get_release(runner->io, &anew);
		runner_give(runner);
	}
	return request_cold_status(&c->space[w->key.space], rc);
}

int large_put(struct thermo *c, struct thermo_request *r, const struct cold_get *get,
	      uint32_t stripe)
{
	struct large_head head = {
		.len = r->value_len,
		.generation = {c->larges_nonce, atomic_fetch_add(&c->larges, 1) + 1},
		.chunk_bytes = c->chunk_bytes,
		.chunks = (uint32_t)((r->value_len + c->chunk_bytes - 1) / c->chunk_bytes),
	};
	struct write w = {
		.key = key_make(r->space, r->key, r->key_len, 0),
		.value = &head,
		.value_len = sizeof(head),
		.flags = RECORD_HEAD,
		.expires_ms = write_expiry(c, r->space, r->ttl_ms),
		.conditional = r->op == THERMO_OP_CAS,
		.expected = r->version,
		.forgets = true,
	};
	struct large_head old;
	bool replaced = false;
	int rc = THERMO_OK;
	request_knows(c, &w, get, stripe);
	if (!atomic_exchange(&r->space->has_large, 1) && r->space->durable)
		rc = image_save_table(c, false, NULL); /* a crash must not forget it */
	/* Chunks have new names: it is the value's key that is known, or not, for all of them. */
	w.admitted = true;
	w.queue = (uint8_t)write_admit(c, &w.key, sizeof(head));
	if (rc == THERMO_OK)
		rc = put_chunks(c, r, &head, &w);
	else
		head.chunks = 0;
	if (rc == THERMO_OK)
		rc = put_head(c, &w, get, &old, &replaced);
	if (rc != THERMO_OK)
		large_forget(c, &w.key, &head);
	if (rc == THERMO_OK || rc == THERMO_CONFLICT)
		r->version = w.version;
	if (rc == THERMO_OK) {
		counter_add(&cache_shard(c)->puts, 1);
		durable_logged(r, &w);
		if (replaced)
			large_forget(c, &w.key, &old);
	}
	return rc;
}

/* A part of one chunk that the caller wants. */
struct piece {
	struct cold_get get;
	char key[LARGE_CHUNK_KEY];
	struct key identity;
	char *to;
	uint32_t offset, len; /* in the chunk */
};

/* THERMO_OK, THERMO_MISS (it was deleted: what cold has of it does not count), or LOOKUP_ABSENT. */
static int memory_piece(struct thermo *c, const struct piece *p, int16_t *tier)
{
	struct found f;
	struct view v;
	int rc = LOOKUP_ABSENT;
	epoch_enter();
	if (c->lookup->find(c, &p->identity, &f)) {
		record_view(f.record, &v);
		rc = THERMO_MISS;
		if (!(v.flags & RECORD_TOMBSTONE) && v.value_len >= p->offset + p->len) {
			if (place_tier(f.place) == THERMO_WARM)
				provider_access(c->warm, p->len);
			memcpy(p->to, v.value + p->offset, p->len);
			_Atomic uint8_t *counter = &f.at.bucket->counter[f.at.slot];
			atomic_store_explicit(
				counter,
				policy_touched(atomic_load_explicit(counter, memory_order_relaxed),
					       atomic_load_explicit(&c->heat_epoch,
								    memory_order_relaxed)),
				memory_order_relaxed);
			if (*tier < (int16_t)place_tier(f.place))
				*tier = (int16_t)place_tier(f.place);
			rc = THERMO_OK;
		}
	}
	epoch_exit();
	return rc;
}

static int cold_pieces(struct thermo *c, struct piece *pieces, unsigned n)
{
	int rc = THERMO_OK;
	struct runner *runner = runner_take(c, false); /* the caller may hold one */
	if (!runner)
		return -ENOMEM;
	unsigned left = n;
	for (unsigned i = 0; i < n; i++) {
		struct piece *p = &pieces[i];
		p->get.key = p->key;
		p->get.key_len = LARGE_CHUNK_KEY;
		p->get.hash = p->identity.hash;
		p->get.space = p->identity.space;
		p->get.flags = COLD_CHUNK;
		p->get.user = cold_get_start(runner->io, &p->get) == 1 ? p : NULL;
	}
	cold_io_submit(runner->io);
	for (unsigned i = 0; i < n; i++)
		left -= pieces[i].get.user != NULL;
	while (left) {
		struct cold_get *done[WINDOW];
		left -= cold_io_wait(runner->io, done, WINDOW, -1);
	}
	for (unsigned i = 0; i < n; i++) {
		struct piece *p = &pieces[i];
		const struct cold_record *record = &p->get.record;
		if (p->get.status != THERMO_OK)
			rc = rc == THERMO_OK ? p->get.status : rc;
		else if ((record->flags & COLD_TOMBSTONE) || record->value_len < p->offset + p->len)
			rc = THERMO_MISS;
		else
			memcpy(p->to, (const char *)record->value + p->offset, p->len);
		cold_get_release(runner->io, &p->get);
	}
	runner_give(runner);
	return rc;
}

int large_get(struct thermo *c, struct thermo_request *r, const struct large_head *head)
{
	struct piece window[WINDOW];
	unsigned n = 0;
	if (!head->chunk_bytes || head->chunk_bytes > RECORD_VALUE_MAX)
		return -EILSEQ;
	r->value_len = head->len;
	uint64_t left = r->offset < head->len ? head->len - r->offset : 0;
	uint64_t want = left < r->capacity ? left : r->capacity, done = 0;
	int rc = THERMO_OK;
	while (done < want && rc == THERMO_OK) {
		uint64_t at = r->offset + done;
		struct piece *p = &window[n];
		memset(&p->get, 0, sizeof(p->get));
		p->identity = chunk_key(r->space, head, (uint32_t)(at / head->chunk_bytes), p->key);
		p->offset = (uint32_t)(at % head->chunk_bytes);
		p->to = (char *)r->value + done;
		uint64_t rest = head->chunk_bytes - p->offset;
		p->len = (uint32_t)(rest < want - done ? rest : want - done);
		done += p->len;
		int here = memory_piece(c, p, &r->tier);
		if (here == THERMO_MISS || (here == LOOKUP_ABSENT && !c->cold))
			return THERMO_MISS;
		if (here == LOOKUP_ABSENT) {
			p->identity.bytes = p->key;
			r->tier = THERMO_COLD;
			n++;
		}
		if (n == WINDOW || (done == want && n)) {
			rc = cold_pieces(c, window, n);
			n = 0;
		}
	}
	if (rc != THERMO_OK)
		return rc;
	return want == left ? THERMO_OK : THERMO_TRUNCATED;
}

/* Each chunk again, with the other expiry: they may have to be read from cold. */
int large_touch(struct thermo *c, struct thermo_request *r, const struct large_head *head,
		uint64_t expires_ms)
{
	char bytes[LARGE_CHUNK_KEY];
	int rc = THERMO_OK;
	char *chunk = heap_alloc(c->heap, head->chunk_bytes);
	if (!chunk)
		return -ENOMEM;
	for (uint32_t i = 0; i < head->chunks && rc == THERMO_OK; i++) {
		uint64_t offset = (uint64_t)i * head->chunk_bytes;
		uint64_t left = head->len - offset;
		struct thermo_request part = {
			.space = r->space,
			.key = r->key,
			.key_len = r->key_len,
			.value = chunk,
			.offset = offset,
			.capacity = left < head->chunk_bytes ? left : head->chunk_bytes,
			.tier = -1,
		};
		rc = large_get(c, &part, head);
		if (rc != THERMO_OK && rc != THERMO_TRUNCATED)
			break;
		struct write w = {
			.key = chunk_key(r->space, head, i, bytes),
			.value = chunk,
			.value_len = (uint32_t)part.capacity,
			.expires_ms = expires_ms,
		};
		rc = write_record(c, &w);
	}
	heap_free(c->heap, chunk);
	return rc;
}
