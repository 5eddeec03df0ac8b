/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often records are used: the sweep over the index's counters, which makes the placement threshold,
 * and the promotion of what has earned DRAM or was hinted.
 */
#include "tiers/migrate.h"

#define SAMPLE_BUCKETS 1024

struct sweep {
	struct thermo *cache;
	uint64_t *population;
};

static void sweep_visit(void *context, struct bucket *bucket, unsigned slot, uint64_t place)
{
	struct sweep *sweep = context;
	unsigned epoch =
		atomic_load_explicit(&sweep->cache->heat_epoch, memory_order_relaxed);
	uint8_t old = atomic_load_explicit(&bucket->counter[slot], memory_order_relaxed);
	uint8_t now = policy_decayed(old, epoch);
	if (now != old) /* visited at least once in an epoch, so that two bits of epoch suffice */
		atomic_store_explicit(&bucket->counter[slot], now, memory_order_relaxed);
	(void)place;
	sweep->population[policy_frequency(now, epoch)]++;
}

/* Hits on hot and warm records, since open. */
static uint64_t accesses(struct thermo *c)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];
		n += atomic_load_explicit(&s->hits[0], memory_order_relaxed) +
		     atomic_load_explicit(&s->hits[1], memory_order_relaxed);
	}
	return n;
}

/* Mean bytes of a record in memory. */
static uint64_t mean_bytes(struct thermo *c)
{
	uint64_t bytes = 0, records = index_records(c->index);
	pthread_mutex_lock(&c->lock);
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		for (unsigned queue = 0; queue < QUEUES; queue++)
			bytes += choose_queue_bytes(c, tier, queue);
	pthread_mutex_unlock(&c->lock);
	return records && bytes ? bytes / records + 1 : 64;
}

/* What was counted, scaled up to all records, makes the placement threshold. */
static void report_population(struct thermo *c)
{
	struct reclaim *r = c->reclaim;
	uint64_t seen = 0;
	for (unsigned i = 0; i < 16; i++)
		seen += r->population[i];
	double bytes = (double)mean_bytes(c) * (double)index_records(c->index);
	for (unsigned i = 0; i < 16 && seen; i++)
		r->population[i] = (uint64_t)((double)r->population[i] / (double)seen * bytes);
	policy_population(c->policy, r->population);
	r->futile = 0;
}

static void count_anew(struct reclaim *r)
{
	memset(r->population, 0, sizeof(r->population));
	r->counted = 0;
}

void heat_sweep(struct thermo *c, bool idle)
{
	struct reclaim *r = c->reclaim;
	uint64_t now = accesses(c), fresh = now - r->accesses_last;
	uint64_t buckets = index_buckets(c->index);
	uint64_t sample = buckets / 8 > SAMPLE_BUCKETS ? buckets / 8 : SAMPLE_BUCKETS;
	uint64_t most = idle ? 65536 : 8192;
	if (!fresh && policy_threshold(c->policy))
		return;
	if (!fresh) /* DRAM may have filled up without a hit */
		fresh = index_records(c->index) / 8;
	if (!fresh)
		return;
	r->accesses_last = now;
	policy_clock(c->policy, now, index_records(c->index));
	if (policy_epoch(c->policy) !=
	    atomic_load_explicit(&c->heat_epoch, memory_order_relaxed)) {
		cache_heat(c);
		count_anew(r); /* a sample is of one epoch */
	}
	struct sweep context = {c, r->population};
	for (uint64_t n = fresh + 16 < most ? fresh + 16 : most; n; n -= n < 64 ? n : 64) {
		epoch_enter();
		index_sweep(c->index, &r->sweep_cursor, n < 64 ? (unsigned)n : 64, sweep_visit,
			    &context);
		epoch_exit();
		r->counted += n < 64 ? n : 64;
		if (r->counted >= sample) {
			report_population(c);
			count_anew(r);
		}
	}
}

void migrate_candidate(struct candidates *to, uint64_t hash)
{
	uint32_t head = atomic_load_explicit(&to->head, memory_order_relaxed);
	atomic_store_explicit(&to->hash[head % RING], hash, memory_order_relaxed);
	atomic_store_explicit(&to->head, head + 1, memory_order_relaxed); /* lossy */
}

uint32_t migrate_hints_waiting(const struct thermo *c)
{
	return atomic_load_explicit(&c->hinted.head, memory_order_relaxed) -
	       atomic_load_explicit(&c->hinted.tail, memory_order_relaxed);
}

static bool move_allowed(struct thermo *c, uint64_t bytes)
{
	struct reclaim *r = c->reclaim;
	uint64_t rate = c->options.move_bytes_per_s;
	if (!rate)
		return true;
	uint64_t now = monotonic_ns();
	uint64_t most = rate / 4 + bytes;
	r->move_tokens += (uint64_t)((double)(now - r->move_filled_ns) * 1e-9 * (double)rate);
	r->move_filled_ns = now;
	if (r->move_tokens > most)
		r->move_tokens = most;
	if (r->move_tokens < bytes)
		return false;
	r->move_tokens -= bytes;
	return true;
}

/* For new records, under lock. */
static bool has_room(const struct thermo *c, unsigned tier)
{
	return c->pool[tier].free.count > c->reserve[tier];
}

bool heat_want_dram(struct thermo *c, uint32_t what_for)
{
	bool more = atomic_load_explicit(&c->dram_wanted, memory_order_relaxed) < what_for;
	if (more)
		atomic_store_explicit(&c->dram_wanted, what_for, memory_order_relaxed);
	return more;
}

static bool dram_has_room(struct thermo *c)
{
	pthread_mutex_lock(&c->lock);
	bool room = has_room(c, THERMO_HOT);
	pthread_mutex_unlock(&c->lock);
	return room;
}

/* As far as there is room and budget. */
static bool promote_candidates(struct thermo *c, struct candidates *from, bool hinted)
{
	uint32_t head = atomic_load_explicit(&from->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&from->tail, memory_order_relaxed);
	bool did = false;
	if (head - tail > RING)
		tail = head - RING;
	uint64_t mean = tail != head ? mean_bytes(c) : 0;
	for (unsigned n = 0; tail != head && n < 256; n++) {
		if (!dram_has_room(c)) {
			/* Worth another round; if that finds nothing to move, it is not worth the next. */
			did |= heat_want_dram(c, hinted ? WANTED_FOR_HINT : WANTED_FOR_USE) && hinted;
			break;
		}
		if (!move_allowed(c, mean))
			break;
		uint64_t hash = atomic_exchange_explicit(&from->hash[tail++ % RING], 0,
							 memory_order_relaxed);
		if (hash)
			reclaim_promote(c, hash, hinted);
		did = true;
	}
	atomic_store_explicit(&from->tail, tail, memory_order_relaxed);
	return did;
}

bool heat_promote(struct thermo *c)
{
	bool did = promote_candidates(c, &c->hinted, true);
	return promote_candidates(c, &c->earned, false) || did;
}
