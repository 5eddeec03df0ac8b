/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Residency and placement: see policy.h for what is decided and who calls what.
 *
 * What readers look at (epoch, threshold, capacities) are relaxed atomics: each stands for itself,
 * and a decision made with a value that is a moment old is as good.
 */
#include "tiers/policy.h"

#include "alloc/heap.h"
#include "tiers/policy_ghost.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SMALL_PERMILLE 100u /* of hot + warm */
#define DECAY_PERCENT 500u  /* accesses an epoch, per 100 resident objects */
#define DECAY_MIN 1024u     /* accesses an epoch, at least */
#define SMALL_USES 2u       /* that take a record from small to main */
#define HYSTERESIS 256u     /* 1/256 of a frequency, above the threshold, to come to DRAM */
#define COST_UNITS_PER_OBJECT 64u
#define CLASSES (POLICY_FREQUENCY_MAX + 1)

/* struct policy, and what only this file touches. */
struct policy_state {
	struct policy shared; /* first: a policy is its state */
	struct heap *heap;    /* const after open */
	uint32_t small_permille, decay_percent;

	pthread_mutex_t lock;
	/* under lock */
	uint64_t population[CLASSES]; /* as last reported, halved since with the epochs */
	uint64_t epoch_began;         /* accesses when this epoch began */
};

#define load(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define store(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

static const char *const names[] = {"s3fifo", "lru", "sieve", "fifo"};

int policy_parse(const char *name, enum policy_kind *kind)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(name, names[i])) {
			*kind = (enum policy_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *policy_name(enum policy_kind kind)
{
	return names[kind];
}

static struct policy_state *state(struct policy *policy)
{
	return (struct policy_state *)policy;
}

static void capacities_set(struct policy_state *s, uint64_t hot, uint64_t warm)
{
	struct policy *p = &s->shared;
	uint64_t small = 0;
	if (p->kind == POLICY_S3FIFO) {
		uint64_t all = hot + warm;
		small = all / 1000 * s->small_permille + all % 1000 * s->small_permille / 1000;
		if (hot && warm && small > hot / 2)
			small = hot / 2;
	}
	store(p->hot, hot);
	store(p->warm, warm);
	store(p->small_target, small);
}

int policy_open(struct policy **policy, const struct policy_options *options)
{
	if (!options->hot && !options->warm)
		return -EINVAL;
	if ((unsigned)options->kind > POLICY_FIFO || options->small_permille > 1000)
		return -EINVAL;
	struct policy_state *s = heap_zalloc(options->heap, 1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	struct policy *p = &s->shared;
	p->kind = options->kind;
	s->heap = options->heap;
	s->small_permille = options->small_permille ? options->small_permille : SMALL_PERMILLE;
	s->decay_percent = options->decay_percent ? options->decay_percent : DECAY_PERCENT;
	capacities_set(s, options->hot, options->warm);
	store(p->hysteresis, HYSTERESIS);
	pthread_mutex_init(&s->lock, NULL);
	if (p->kind == POLICY_S3FIFO) {
		uint64_t objects = options->ghost_objects;
		if (!objects)
			objects = (options->hot + options->warm) / COST_UNITS_PER_OBJECT + 1;
		int rc = ghost_open(&p->ghost, options->heap, options->budget,
				    policy_main_target(p), objects);
		if (rc) {
			pthread_mutex_destroy(&s->lock);
			heap_free(options->heap, s);
			return rc;
		}
	}
	*policy = p;
	return 0;
}

void policy_close(struct policy **policy)
{
	if (!*policy)
		return;
	struct policy_state *s = state(*policy);
	*policy = NULL;
	if (s->shared.ghost)
		ghost_close(&s->shared.ghost);
	pthread_mutex_destroy(&s->lock);
	heap_free(s->heap, s);
}

/* ---- Residency ----------------------------------------------------------------------------- */

enum policy_queue policy_admit(struct policy *p, uint64_t hash, uint64_t cost)
{
	(void)cost;
	if (p->kind != POLICY_S3FIFO || ghost_forget(p->ghost, hash))
		return POLICY_MAIN;
	return POLICY_SMALL;
}

void policy_admit_prefetch(const struct policy *p, uint64_t hash)
{
	if (p->ghost)
		ghost_prefetch(p->ghost, hash);
}

enum policy_verdict policy_scan(const struct policy *p, enum policy_queue queue, uint8_t counter,
				uint8_t *next)
{
	uint32_t epoch = policy_epoch(p);
	unsigned reuse = policy_reuse(counter), frequency = policy_frequency(counter, epoch);
	unsigned left = 0;
	bool keep;

	switch (p->kind) {
	case POLICY_S3FIFO:
		keep = reuse >= (queue == POLICY_SMALL ? SMALL_USES : 1);
		left = queue == POLICY_SMALL || !reuse ? 0 : reuse - 1;
		break;
	case POLICY_LRU:
	case POLICY_SIEVE:
		keep = reuse > 0;
		break;
	default:
		keep = false;
		break;
	}
	*next = policy_counter(left, frequency, epoch);
	return keep ? POLICY_KEEP : POLICY_EVICT;
}

void policy_evicted(struct policy *p, enum policy_queue queue, uint64_t hash, uint64_t cost)
{
	if (p->kind != POLICY_S3FIFO || queue != POLICY_SMALL)
		return;
	struct policy_state *s = state(p);
	pthread_mutex_lock(&s->lock);
	ghost_insert(p->ghost, hash, cost);
	pthread_mutex_unlock(&s->lock);
}

uint64_t policy_ghost_bytes(const struct policy *p)
{
	return p->ghost ? ghost_bytes(p->ghost) : 0;
}

uint64_t policy_ghost_objects(const struct policy *p)
{
	return p->ghost ? ghost_objects(p->ghost) : 0;
}

/* ---- Placement ----------------------------------------------------------------------------- */

enum thermo_tier policy_place(const struct policy *p, uint8_t counter, uint64_t hash,
			      enum thermo_tier now)
{
	if (!load(p->warm))
		return THERMO_HOT;
	if (!load(p->hot))
		return THERMO_WARM;
	uint32_t threshold = load(p->threshold), hysteresis = load(p->hysteresis);
	uint32_t score = policy_frequency(counter, policy_epoch(p)) * 256 + (hash >> 44 & 0xff);
	if (now == THERMO_HOT)
		return score >= threshold ? THERMO_HOT : THERMO_WARM;
	return score >= threshold + hysteresis ? THERMO_HOT : THERMO_WARM;
}

/* The threshold at which the population fills the main queue's share of DRAM: the class in which it
 * becomes too much, and of that class the fraction that there is room for. */
static void threshold_set(struct policy_state *s)
{
	uint64_t hot = load(s->shared.hot), small = load(s->shared.small_target);
	uint64_t room = hot > small ? hot - small : 0;
	unsigned class = CLASSES;
	while (class && s->population[class - 1] <= room)
		room -= s->population[--class];
	uint32_t threshold = class * 256;
	if (class)
		threshold -= (uint32_t)(256.0 * (double)room / (double)s->population[class - 1]);
	store(s->shared.threshold, threshold);
}

void policy_population(struct policy *p, const uint64_t cost_by_frequency[CLASSES])
{
	struct policy_state *s = state(p);
	pthread_mutex_lock(&s->lock);
	memcpy(s->population, cost_by_frequency, sizeof(s->population));
	threshold_set(s);
	pthread_mutex_unlock(&s->lock);
}

void policy_clock(struct policy *p, uint64_t accesses, uint64_t objects)
{
	struct policy_state *s = state(p);
	pthread_mutex_lock(&s->lock);
	uint64_t period = objects / 100 * s->decay_percent + objects % 100 * s->decay_percent / 100;
	if (period < DECAY_MIN)
		period = DECAY_MIN;
	if (accesses - s->epoch_began >= period) {
		s->epoch_began = accesses;
		/* Every frequency halves, the reported population with them. */
		for (unsigned i = 1; i < CLASSES; i++) {
			uint64_t cost = s->population[i];
			s->population[i] = 0;
			s->population[i / 2] += cost;
		}
		threshold_set(s);
		store(p->epoch, load(p->epoch) + 1);
	}
	pthread_mutex_unlock(&s->lock);
}

unsigned policy_threshold(const struct policy *p)
{
	return (load(p->threshold) + 255) / 256;
}

void policy_resize(struct policy *p, uint64_t hot, uint64_t warm)
{
	struct policy_state *s = state(p);
	pthread_mutex_lock(&s->lock);
	capacities_set(s, hot, warm);
	if (p->ghost)
		ghost_resize(p->ghost, policy_main_target(p));
	threshold_set(s);
	pthread_mutex_unlock(&s->lock);
}
