/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing: room in segments, and the mutations of what the index knows.
 *
 * A writer reserves bytes in its lane's open segment (a compare-and-swap on `used`), copies key and value
 * there, then locks the key's bucket, decides (sequence number, shadowing, conditions), completes the
 * head and publishes the place. What was reserved and not published is a dead record: a segment can
 * always be walked from its start. A segment is walked only when the epoch of its sealing has passed, and
 * writers hold an epoch from reservation to publication.
 */
#include "tiers/durable.h"

#include <errno.h>
#include <sched.h>

enum { TRY_NO_ROOM = 80, TRY_WIDE = 81 };

#define HOUR_MS UINT64_C(3600000)
#define EARLY_WAIT_NS UINT64_C(8000000)

static unsigned class_of(struct thermo *c, uint64_t expires_ms)
{
	if (!expires_ms)
		return 0;
	uint64_t now = cache_now_ms(c);
	uint64_t left = expires_ms > now ? expires_ms - now : 0;
	return left <= HOUR_MS ? 1 : left <= 24 * HOUR_MS ? 2 : 3;
}

uint64_t write_expiry(struct thermo *c, const struct thermo_space *space, int64_t ttl_ms)
{
	if (ttl_ms == THERMO_TTL_DEFAULT)
		ttl_ms = __atomic_load_n(&space->options.ttl_ms, __ATOMIC_RELAXED);
	if (ttl_ms <= 0)
		return 0;
	uint64_t now = cache_now_ms(c);
	return (uint64_t)ttl_ms > UINT64_MAX - now ? UINT64_MAX : now + (uint64_t)ttl_ms;
}

void write_dead(char *to, uint32_t bytes)
{
	uint64_t head = head_make(0, 1, bytes - 8 - 1, 0); /* space 0 is nobody's */
	memcpy(to, &head, 8);
}

void segment_note(struct segment *segment, uint64_t seq, uint64_t expires_ms)
{
	uint64_t last = expires_ms ? expires_ms : UINT64_MAX;
	uint64_t now = atomic_load_explicit(&segment->max_seq, memory_order_relaxed);
	while (now < seq && !atomic_compare_exchange_weak_explicit(&segment->max_seq, &now, seq,
								   memory_order_relaxed,
								   memory_order_relaxed))
		;
	now = atomic_load_explicit(&segment->expires_max, memory_order_relaxed);
	while (now < last && !atomic_compare_exchange_weak_explicit(
				     &segment->expires_max, &now, last, memory_order_relaxed,
				     memory_order_relaxed))
		;
}

void clock_reach(struct thermo *c, uint64_t seq)
{
	uint64_t clock = atomic_load(&c->clock);
	while (clock < seq && !atomic_compare_exchange_weak(&c->clock, &clock, seq))
		;
}

uint64_t record_head_wait(const char *record)
{
	uint64_t head;
	for (unsigned spins = 0; head_busy(head = record_head_now(record)); spins++) {
		if (spins > 128)
			sched_yield();
		else
			__builtin_ia32_pause();
	}
	return head;
}

/* ---- Segments, under lock ---- */

static void note_age(struct thermo *c, uint64_t ms)
{
	uint64_t clock = atomic_load(&c->clock);
	if (c->ages && c->age[c->ages - 1].clock == clock)
		return;
	if (c->ages == AGES) { /* thin out the older half */
		for (uint32_t i = 0; i < AGES / 4; i++)
			c->age[i] = c->age[2 * i];
		memmove(&c->age[AGES / 4], &c->age[AGES / 2], sizeof(c->age[0]) * (AGES / 2));
		c->ages -= AGES / 4;
	}
	c->age[c->ages].clock = clock;
	c->age[c->ages++].ms = ms;
}

void write_tick(struct thermo *c)
{
	uint64_t now = cache_now_ms(c);
	pthread_mutex_lock(&c->lock);
	if (c->ages && now >= c->age[c->ages - 1].ms + 1000) {
		atomic_fetch_add(&c->clock, 1);
		note_age(c, now);
	}
	pthread_mutex_unlock(&c->lock);
}

struct segment *segment_begin(struct thermo *c, struct thermo_space *space, unsigned tier,
			     unsigned queue, unsigned klass, uint32_t leave)
{
	struct segment *s = pool_take(&c->pool[tier], leave);
	if (!s)
		return NULL;
	uint64_t clock = atomic_load(&c->clock);
	s->base_seq = clock > RECORD_DELTA_MAX / 2 ? clock - RECORD_DELTA_MAX / 2 : 0;
	s->born = s->opened = atomic_fetch_add(&c->order, 1) + 1;
	s->born_ms = cache_now_ms(c);
	s->space = space->id;
	s->queue = (uint8_t)queue;
	s->klass = (uint8_t)klass;
	s->lane = 0;
	s->limbo_epoch = 0;
	s->sealed_epoch = UINT64_MAX;
	space->segments[tier]++;
	migrate_share(c, space, tier);
	note_age(c, s->born_ms);
	return s;
}

void segment_seal(struct thermo *c, struct segment *s)
{
	struct pool *pool = &c->pool[s->tier];
	uint32_t used = atomic_exchange(&s->used, pool->segment_bytes);
	if (used < pool->segment_bytes) /* a head of zero ends the walk */
		memset(segment_start(pool, s) + used, 0, 8);
	/* The clock moves on with every segment, so that ages can be told from sequence numbers. */
	atomic_fetch_add(&c->clock, 1);
	s->sealed_epoch = epoch_advance();
	atomic_store(&s->state, SEGMENT_SEALED);
	segment_list_insert(&c->queue[s->tier][s->queue], s);
	atomic_fetch_sub_explicit(&c->open_segments, s->lane, memory_order_relaxed);
	s->lane = 0;
}

/* Seals the open segment that was opened first, of all lanes, so that open ones stay few. */
static void seal_oldest_lane(struct thermo *c)
{
	struct lane *oldest = NULL;
	uint64_t born = UINT64_MAX;
	for (unsigned id = 1; id <= atomic_load(&c->space_high); id++) {
		struct thermo_space *space = &c->space[id];
		if (atomic_load(&space->state) == SPACE_NONE)
			continue;
		struct lane *lanes = &space->lane[0][0][0][0];
		for (unsigned i = 0; i < LANES_ALL; i++) {
			struct segment *s = atomic_load(&lanes[i].open);
			if (s && s->born < born) {
				born = s->born;
				oldest = &lanes[i];
			}
		}
	}
	if (oldest)
		segment_seal(c, atomic_exchange(&oldest->open, NULL));
}

/* Every space has a first lane in each queue beyond the limit, while all of that is a small part of the pool:
 * else spaces that are written in turn would seal each other's segments, hardly begun. */
static bool too_many_open(const struct thermo *c, bool first)
{
	uint32_t open = atomic_load_explicit(&c->open_segments, memory_order_relaxed);
	uint32_t most = c->pool[THERMO_HOT].extents_target * c->pool[THERMO_HOT].per_extent / 4;
	return open >= (first && most > c->open_segments_max ? most : c->open_segments_max);
}

uint32_t cache_margin(const struct thermo *c, unsigned tier)
{
	uint32_t part = c->pool[tier].extents_target * c->pool[tier].per_extent / (c->cold ? 24 : 64);
	uint32_t least = c->cold ? 8 : 2;
	return part > least ? part : least;
}

/* Free segments that a put leaves alone. While a run is on its way to cold, the last ones last until it is there
 * if who takes one of them waits a little before: without that, the next ones would have to wait too long. */
static uint32_t segments_left(const struct thermo *c, unsigned tier, bool early)
{
	bool slow = early && tier == THERMO_HOT && atomic_load(&c->demoting);
	return c->reserve[tier] + (slow ? cache_margin(c, tier) : 0);
}

static bool lane_refill(struct thermo *c, struct thermo_space *space, struct lane *lane,
			struct segment *full, unsigned tier, unsigned queue, unsigned klass, bool early)
{
	bool ok = true;
	pthread_mutex_lock(&c->lock);
	if (atomic_load(&lane->open) == full) {
		if (!full && too_many_open(c, lane == &space->lane[tier][queue][0][0]))
			seal_oldest_lane(c);
		struct segment *s =
			segment_begin(c, space, tier, queue, klass, segments_left(c, tier, early));
		ok = s != NULL;
		if (ok) {
			if (full)
				segment_seal(c, full);
			s->lane = 1;
			atomic_fetch_add_explicit(&c->open_segments, 1, memory_order_relaxed);
			atomic_store_explicit(&lane->open, s, memory_order_release);
		}
	}
	migrate_aim(c);
	bool low = c->pool[tier].free.count <= c->reserve[tier] * 2;
	pthread_mutex_unlock(&c->lock);
	if (low)
		migrate_kick(c);
	return ok;
}

/* A key that is overwritten all the time has driven the clock so far that new records would soon be wide. */
static bool segment_stale(const struct thermo *c, const struct segment *s)
{
	return atomic_load_explicit(&c->clock, memory_order_relaxed) - s->base_seq >
	       RECORD_DELTA_MAX / 4 * 3;
}

/* Few open segments: where the limit is reached, time-to-live classes and threads share. */
static struct lane *choose_lane(struct thermo *c, struct thermo_space *space, unsigned tier,
				unsigned queue, unsigned *klass)
{
	unsigned number = c->lanes > 1 ? (unsigned)sched_getcpu() % c->lanes : 0;
	struct lane *lane = &space->lane[tier][queue][*klass][number];
	if (likely(atomic_load_explicit(&lane->open, memory_order_relaxed) != NULL) ||
	    atomic_load_explicit(&c->open_segments, memory_order_relaxed) < c->open_segments_max)
		return lane;
	*klass = 0;
	return &space->lane[tier][queue][0][0];
}

char *write_reserve(struct thermo *c, struct thermo_space *space, unsigned tier, unsigned queue,
		    unsigned klass, uint32_t bytes, bool early, struct segment **segment)
{
	const uint32_t cap = c->pool[tier].segment_bytes;
	check(bytes <= cap);
	struct lane *lane = choose_lane(c, space, tier, queue, &klass);
	for (bool tried = false;; tried = true) {
		struct segment *s = atomic_load_explicit(&lane->open, memory_order_acquire);
		bool stale = s && !tried && segment_stale(c, s);
		if (likely(s && !stale)) {
			uint32_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
			while (used + bytes <= cap)
				if (atomic_compare_exchange_weak_explicit(
					    &s->used, &used, used + bytes, memory_order_relaxed,
					    memory_order_relaxed)) {
					*segment = s;
					return segment_start(&c->pool[tier], s) + used;
				}
		}
		if (!lane_refill(c, space, lane, s, tier, queue, klass, early) && !stale)
			return NULL;
	}
}

void stripe_bump(struct thermo *c, uint64_t hash)
{
	atomic_fetch_add_explicit(&c->stripe[hash & (STRIPES - 1)], 1, memory_order_release);
}

/* ---- Mutations ---- */

/* What stands under a key, its bucket locked. */
struct standing {
	struct found found;
	struct view view;
	uint64_t seq;
	bool in_index;
	bool live;     /* in the index, no tombstone, not expired */
	bool copied;   /* its segment is, or was, being reclaimed: a copy may be in cold or on its way */
};

static void stand(struct thermo *c, const struct key *key, struct standing *old)
{
	memset(old, 0, sizeof(*old));
	old->in_index = c->lookup->find(c, key, &old->found);
	if (!old->in_index)
		return;
	struct segment *segment = place_segment(c, old->found.place);
	record_view(old->found.record, &old->view);
	old->seq = record_seq(segment, old->found.record);
	old->copied = atomic_load(&segment->state) == SEGMENT_SCANNING ||
		      atomic_load(&segment->shadowing);
	old->live = !(old->view.flags & RECORD_TOMBSTONE) &&
		    (!old->view.expires_ms || old->view.expires_ms > cache_now_ms(c));
}

static bool cold_empty(struct thermo *c)
{
	return !c->cold || (!atomic_load(&c->demoting) && cold_max_seq(c->cold) == 0);
}

/* Is there, or will there be, a version in cold below what stands? */
static bool shadows(struct thermo *c, const struct write *w, const struct standing *old)
{
	if (!c->cold)
		return false;
	if (!old->in_index)
		return w->known_cold ? w->cold_seq != 0 : !cold_empty(c);
	return old->copied || (old->view.flags & (RECORD_SHADOWING | RECORD_CLEAN));
}

static bool must_know(const struct thermo *c, const struct write *w)
{
	return w->forgets && c->cold && atomic_load(&c->space[w->key.space].has_large);
}

/* The conditions of a compare-and-set or a promotion, and whether it is known what is replaced: THERMO_OK to go
 * on. */
static int permitted(struct thermo *c, struct write *w, const struct standing *old)
{
	w->existed = old->live;
	if (w->replay)
		return old->in_index && old->seq >= w->cold_seq ? THERMO_CONFLICT : THERMO_OK;
	if (!w->conditional && !w->promote && (old->in_index || !must_know(c, w)))
		return THERMO_OK;
	if (old->in_index) {
		if (w->promote)
			return THERMO_CONFLICT;
		w->version = old->live ? old->seq : 0;
		return w->version == w->expected ? THERMO_OK : THERMO_CONFLICT;
	}
	if (!w->known_cold) {
		if (c->cold && cold_may_contain(c->cold, w->key.space, w->key.hash))
			return WRITE_NEEDS_COLD;
		w->version = 0;
		return w->expected == 0 || !w->conditional ? THERMO_OK : THERMO_CONFLICT;
	}
	if (stripe_read(c, w->key.hash) != w->stripe)
		return WRITE_AGAIN;
	if (!w->conditional)
		return THERMO_OK;
	w->existed = w->expected != 0 && w->cold_live;
	w->version = w->cold_live ? w->cold_seq : 0;
	return w->version == w->expected ? THERMO_OK : THERMO_CONFLICT;
}

/* Under the bucket's lock, so that each head is forgotten by the one write that replaces it. */
static void note_replaced(struct write *w, const struct standing *old)
{
	w->replaced_large = w->forgets && old->in_index && (old->view.flags & RECORD_HEAD) &&
			    old->view.value_len == sizeof(w->replaced);
	if (w->replaced_large)
		memcpy(&w->replaced, old->view.value, sizeof(w->replaced));
}

static int publish(struct thermo *c, struct write *w, const struct standing *old,
		   struct bucket *home, struct segment *segment, char *to, bool wide)
{
	uint32_t flags = w->flags | (w->key.chunk ? RECORD_CHUNK : 0) |
			 (w->expires_ms ? RECORD_EXPIRES : 0);
	uint64_t seq = w->cold_seq;
	if (w->promote) {
		flags |= RECORD_CLEAN;
	} else if (w->replay) {
		flags |= shadows(c, w, old) ? RECORD_SHADOWING : 0u;
	} else {
		seq = atomic_load_explicit(&c->clock, memory_order_acquire);
		if (old->in_index && old->seq >= seq)
			seq = old->seq + 1;
		if (w->known_cold && w->cold_seq >= seq)
			seq = w->cold_seq + 1;
		if (shadows(c, w, old))
			flags |= RECORD_SHADOWING;
	}
	bool fits = seq >= segment->base_seq && seq - segment->base_seq < RECORD_DELTA_MAX;
	if (!wide && !fits) {
		clock_reach(c, seq);
		return TRY_WIDE;
	}
	uint64_t delta = wide ? RECORD_DELTA_MAX : seq - segment->base_seq;
	uint64_t head = head_make(w->key.space, w->key.len, w->value_len, flags) |
			delta << HEAD_DELTA_SHIFT;
	memcpy(to, &head, 8);
	if (wide)
		memcpy(to + 8, &seq, 8);
	segment_note(segment, seq, w->expires_ms);
	w->version = seq;
	uint64_t place = place_make(segment->tier, (uint64_t)(to - c->base[segment->tier]));
	if (old->in_index) {
		struct index_slot at = old->found.at;
		uint8_t counter =
			atomic_load_explicit(&at.bucket->counter[at.slot], memory_order_relaxed);
		index_replace(at, place);
		atomic_store_explicit(
			&at.bucket->counter[at.slot],
			policy_touched(counter, atomic_load_explicit(&c->heat_epoch,
								     memory_order_relaxed)),
			memory_order_relaxed);
		return THERMO_OK;
	}
	struct index_slot at;
	uint8_t counter = policy_fresh(c->policy);
	if (w->hinted)
		counter = policy_hinted(c->policy, counter);
	return index_insert(c->index, home, w->key.hash, place, counter, &at);
}

unsigned write_admit(struct thermo *c, const struct key *key, uint32_t bytes)
{
	struct found found;
	epoch_enter();
	unsigned queue = c->lookup->find(c, key, &found) ? place_segment(c, found.place)->queue
							 : policy_admit(c->policy, key->hash, bytes);
	epoch_exit();
	return queue;
}

/* Where a record that is overwritten goes: what writes it anew moves it for nothing. */
static unsigned place_again(struct thermo *c, const struct found *found, uint64_t hash,
			    unsigned *queue)
{
	unsigned tier = place_tier(found->place);
	uint8_t next, counter = atomic_load_explicit(&found->at.bucket->counter[found->at.slot],
						     memory_order_relaxed);
	*queue = place_segment(c, found->place)->queue;
	if (*queue == POLICY_SMALL) {
		if (policy_scan(c->policy, POLICY_SMALL, counter, &next) != POLICY_KEEP)
			return tier;
		*queue = POLICY_MAIN;
	}
	return c->warm ? (unsigned)policy_place(c->policy, counter, hash, (enum thermo_tier)tier)
		       : tier;
}

static int try_write(struct thermo *c, struct thermo_space *space, struct write *w, bool wide,
		     bool early)
{
	struct standing old;
	struct segment *segment;
	struct found found;
	uint32_t bytes = record_bytes(w->key.len, w->value_len, wide, w->expires_ms != 0);
	unsigned queue, tier;
	int rc = TRY_NO_ROOM;
	bool logs = w->log_bytes || w->log_file;

	epoch_enter();
	/* Whoever drops the space waits for epochs that began before it was marked. */
	if (unlikely(atomic_load(&space->state) != SPACE_OPEN)) {
		rc = -ENOENT;
		goto leave;
	}
	if (!w->admitted && c->lookup->find(c, &w->key, &found)) {
		tier = place_again(c, &found, w->key.hash, &queue);
	} else {
		queue = w->admitted ? w->queue : policy_admit(c->policy, w->key.hash, bytes);
		tier = atomic_load_explicit(&c->aim[queue], memory_order_relaxed);
	}
	if (unlikely(w->hinted))
		tier = THERMO_HOT;
	else if (unlikely(atomic_load_explicit(&space->full[tier], memory_order_relaxed)) &&
		 c->warm && !atomic_load_explicit(&space->full[tier ^ 1u], memory_order_relaxed))
		tier ^= 1u;
	unsigned klass = class_of(c, w->expires_ms);
	char *to = write_reserve(c, space, tier, queue, klass, bytes, early, &segment);
	if (unlikely(!to) && c->warm && !w->hinted) /* better the other tier than none */
		to = write_reserve(c, space, tier ^ 1u, queue, klass, bytes, early, &segment);
	if (!to)
		goto leave;
	char *key = to + 8 + 8 * wide;
	if (w->expires_ms) {
		memcpy(key, &w->expires_ms, 8);
		key += 8;
	}
	memcpy(key, w->key.bytes, w->key.len);
	if (w->value_len)
		memcpy(key + w->key.len, w->value, w->value_len);

	struct bucket *home = index_lock(c->index, w->key.hash);
	stand(c, &w->key, &old);
	rc = permitted(c, w, &old);
	if (rc == THERMO_OK)
		note_replaced(w, &old);
	if (rc == THERMO_OK)
		rc = publish(c, w, &old, home, segment, to, wide);
	if (unlikely(logs) && rc == THERMO_OK)
		durable_take(c, w, segment);
	index_unlock(home);
	if (rc != THERMO_OK)
		write_dead(to, bytes);
	else if (!old.in_index)
		index_grow(c->index, 8);
	if (unlikely(logs) && rc == THERMO_OK)
		durable_fill(c, w);
leave:
	epoch_exit();
	return rc;
}

/* Why there is no room, when waiting did not help. */
static int no_room(struct thermo *c)
{
	int failed = -(int)atomic_load(&c->cold_failed);
	struct shard *shard = cache_shard(c);
	if (failed && failed != -ENOMEM) { /* memory comes back: a matter of time, as room is */
		counter_add(&shard->no_space, 1);
		return failed == -ENOSPC ? -ENOSPC : -EROFS;
	}
	counter_add(&shard->busy, 1);
	return THERMO_BUSY;
}

static int place(struct thermo *c, struct write *w)
{
	struct thermo_space *space = &c->space[w->key.space];
	uint64_t began = 0;
	bool wide = false, again = false, early = true;
	for (;;) {
		int rc = try_write(c, space, w, wide, early);
		if (rc == TRY_WIDE) { /* a new segment has another base: but once */
			wide = again;
			again = true;
			continue;
		}
		bool wait = rc == TRY_NO_ROOM || rc == -ENOMEM; /* the index waits for the pool too */
		if (!wait || w->hurried || (w->promote && !w->hinted)) {
			if (began)
				cache_waited(c, monotonic_ns() - began);
			return rc == TRY_NO_ROOM ? THERMO_BUSY : rc;
		}
		uint64_t now = monotonic_ns();
		if (!began)
			began = now;
		uint64_t wait_ns = c->options.put_wait_ms * UINT64_C(1000000);
		if (rc == TRY_NO_ROOM && early) {
			uint64_t little = wait_ns / 4 * 3;
			little = little < EARLY_WAIT_NS ? little : EARLY_WAIT_NS;
			early = now < began + little;
			if (early)
				migrate_make_room(c, w->hinted != 0, true, began + little);
			continue;
		}
		uint64_t deadline = w->hinted ? w->hinted : began + wait_ns;
		if (now >= deadline) {
			cache_waited(c, now - began);
			return w->hinted ? THERMO_BUSY : no_room(c);
		}
		if (rc == -ENOMEM)
			migrate_make_memory(c, deadline);
		else
			migrate_make_room(c, w->hinted != 0, false, deadline);
	}
}

int write_record(struct thermo *c, struct write *w)
{
	if (likely(!c->space[w->key.space].durable) || w->promote || w->replay)
		return place(c, w);
	int rc = durable_reserve(c, w);
	if (rc != THERMO_OK)
		return rc;
	rc = place(c, w);
	if (rc != THERMO_OK)
		durable_cancel(c, w);
	return rc;
}

/* Under the bucket's lock, in a durable space: the log has a tombstone, memory needs none. The clock passes it. */
static void log_tombstone(struct thermo *c, struct write *w, uint64_t old_seq)
{
	uint64_t clock = atomic_load(&c->clock), seq;
	do
		seq = clock > old_seq ? clock : old_seq + 1;
	while (!atomic_compare_exchange_weak(&c->clock, &clock, seq + 1));
	w->version = seq;
	durable_take(c, w, NULL);
}

/* What of a deletion is done where it stands. *stays: a tombstone is to be written. */
static int unlink_standing(struct thermo *c, struct write *w, bool *stays)
{
	struct standing old;
	int rc = THERMO_OK;
	epoch_enter();
	struct bucket *home = index_lock(c->index, w->key.hash);
	stand(c, &w->key, &old);
	w->existed = old.in_index ? old.live : w->known_cold && w->cold_live;
	w->version = old.seq;
	w->replaced_large = false;
	if (!old.in_index && (w->conditional || must_know(c, w))) { /* whether there was one, or which */
		if (w->known_cold ? stripe_read(c, w->key.hash) != w->stripe
				  : c->cold && cold_may_contain(c->cold, w->key.space, w->key.hash)) {
			rc = w->known_cold ? WRITE_AGAIN : WRITE_NEEDS_COLD;
			goto done;
		}
	}
	if (c->cold && old.in_index && (old.view.flags & RECORD_TOMBSTONE))
		goto done;
	if (c->cold && (!old.in_index || shadows(c, w, &old)))
		/* A run on its way holds only keys that are, or were, in the index. */
		*stays = (old.in_index && (atomic_load(&c->demoting) ||
					  (old.view.flags & RECORD_CLEAN))) ||
			cold_may_contain(c->cold, w->key.space, w->key.hash);
	if (!*stays && old.in_index) {
		/* The clock passes what is forgotten, so that a later version is greater. */
		clock_reach(c, old.seq + 1);
		note_replaced(w, &old);
		if (w->log_bytes)
			log_tombstone(c, w, old.seq);
		stripe_bump(c, w->key.hash);
		index_remove(c->index, home, old.found.at);
	}
done:
	index_unlock(home);
	epoch_exit();
	return rc;
}

int write_tombstone(struct thermo *c, struct write *w)
{
	bool stays = false, durable = c->space[w->key.space].durable;
	w->value_len = 0;
	int rc = durable ? durable_reserve(c, w) : THERMO_OK;
	if (rc != THERMO_OK)
		return rc;
	rc = unlink_standing(c, w, &stays);
	if (durable && w->logged) {
		uint64_t seq = w->version;
		w->flags = RECORD_TOMBSTONE;
		durable_fill(c, w);
		w->version = seq;
	} else if (durable) {
		durable_cancel(c, w);
		if (!stays && rc == THERMO_OK)
			durable_rests(c, w);
	}
	if (!stays)
		return rc;
	w->conditional = false;
	w->known_cold &= must_know(c, w); /* else nobody would look whether it is still so */
	bool existed = w->existed;
	w->flags = RECORD_TOMBSTONE;
	w->expires_ms = 0;
	rc = write_record(c, w);
	w->existed = existed;
	return rc;
}
