/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See epoch.h. The slots lie in a list of chunks that only grows: a static first one, then pages. A
 * slot is taken and freed with its `taken` flag; a chunk remembers how many of its slots were ever
 * taken, so that looking at them all costs no more than there were threads at a time.
 *
 * The domain has no life-cycle: it is there from load to the end of the process. (The library is
 * linked with -z nodelete, so a thread that ends after dlclose still finds the clean-up function.)
 */
#include "index/epoch.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "alloc/check.h"

#define FIRST_SLOTS 256
#define CHUNK_BYTES 4096
#define CHUNK_SLOTS (CHUNK_BYTES / sizeof(struct epoch_slot) - 1) /* the head takes one's room */

/* What a grace period is worth, in milliseconds, when the kernel stops granting membarrier after it
 * had granted it (a seccomp filter installed late): readers that were entering without a fence at
 * that moment have long drained their store buffers. */
#define REVOKED_GRACE_MS 1000

struct chunk {
	_Alignas(64) _Atomic(struct chunk *) next;
	struct epoch_slot *slots;
	unsigned n;
	_Atomic unsigned high; /* slots from here on were never taken */
	unsigned base;         /* const: number of its first slot */
};

static struct epoch_slot first_slots[FIRST_SLOTS];
static struct chunk first = {.slots = first_slots, .n = FIRST_SLOTS};

struct epoch_domain epoch_domain = {.now = 1, .fenced = true};
_Thread_local struct epoch_slot *epoch_mine;

static struct epoch_slot always_entered = {.entered = 1}; /* in no chunk: no reclaimer sees it */
_Thread_local struct epoch_slot *epoch_quick = &always_entered;

static _Atomic bool forked;

static _Thread_local uint32_t shared_depth; /* this thread's share of shared_readers */
static _Thread_local bool over;             /* this thread's slot was freed: it is ending */
static _Atomic uint32_t shared_readers;

static _Atomic uint64_t passed_upto; /* all numbers up to here have passed */
static _Atomic uint64_t revoked_ms;  /* when membarrier was first refused after all; 0 = never */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;        /* const after once */
static bool have_membarrier; /* const after once */

static int membarrier(int command)
{
	return (int)syscall(__NR_membarrier, command, 0, 0);
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* At thread exit. What the thread's other clean-ups still read goes through the shared count. */
static void slot_free(void *mine)
{
	struct epoch_slot *slot = mine;
	epoch_mine = NULL;
	epoch_quick = &always_entered;
	over = true;
	slot->depth = 0;
	atomic_store_explicit(&slot->entered, 0, memory_order_release);
	atomic_store_explicit(&slot->taken, 0, memory_order_release);
}

static void domain_init(void)
{
	have_key = pthread_key_create(&key, slot_free) == 0;
	if (!EPOCH_TSAN && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0) {
		have_membarrier = true;
		atomic_store(&epoch_domain.fenced, false);
	}
}

void epoch_forked(void)
{
	atomic_store_explicit(&forked, true, memory_order_relaxed);
	epoch_quick = &always_entered;
	for (struct chunk *chunk = &first; chunk; chunk = atomic_load(&chunk->next))
		for (unsigned i = 0; i < chunk->n; i++) {
			struct epoch_slot *slot = &chunk->slots[i];
			if (slot == epoch_mine)
				continue;
			slot->depth = 0;
			atomic_store(&slot->entered, 0);
			atomic_store(&slot->taken, 0);
		}
	atomic_store(&shared_readers, shared_depth != 0);
}

static struct epoch_slot *chunk_take(struct chunk *chunk)
{
	for (unsigned i = 0; i < chunk->n; i++) {
		struct epoch_slot *slot = &chunk->slots[i];
		uint32_t is_free = 0;
		if (atomic_load_explicit(&slot->taken, memory_order_relaxed))
			continue;
		if (!atomic_compare_exchange_strong(&slot->taken, &is_free, 1))
			continue;
		/* Sequentially consistent: a reclaimer that looks at fewer slots has looked before
		 * this, so its unlinking comes before whatever we are going to read. */
		slot->number = chunk->base + i;
		unsigned high = atomic_load(&chunk->high);
		while (high <= i && !atomic_compare_exchange_weak(&chunk->high, &high, i + 1))
			;
		return slot;
	}
	return NULL;
}

/* The chunk after `last`, added if there is none. NULL: no memory. */
static struct chunk *chunk_next(struct chunk *last)
{
	struct chunk *next = atomic_load(&last->next);
	if (next)
		return next;
	struct chunk *fresh =
		mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fresh == MAP_FAILED)
		return NULL;
	fresh->base = last->base + last->n;
	fresh->slots = (struct epoch_slot *)((char *)fresh + sizeof(struct epoch_slot));
	fresh->n = CHUNK_SLOTS;
	if (atomic_compare_exchange_strong(&last->next, &next, fresh))
		return fresh;
	munmap(fresh, CHUNK_BYTES);
	return next;
}

int epoch_register(void)
{
	struct epoch_slot *slot = NULL;

	_Static_assert(sizeof(struct chunk) <= sizeof(struct epoch_slot), "the head fits");
	if (epoch_mine)
		return 0;
	pthread_once(&once, domain_init);
	/* Without a clean-up the slot would never be freed; a shared reader must leave as one. */
	if (over || !have_key || shared_depth)
		return -ENOMEM;
	for (struct chunk *chunk = &first; chunk && !slot; chunk = slot ? NULL : chunk_next(chunk))
		slot = chunk_take(chunk);
	if (!slot)
		return -ENOMEM;
	if (pthread_setspecific(key, slot)) {
		atomic_store_explicit(&slot->taken, 0, memory_order_release);
		return -ENOMEM;
	}
	epoch_mine = slot;
	if (slot->number < EPOCH_QUICK &&
	    !atomic_load_explicit(&forked, memory_order_relaxed))
		epoch_quick = slot;
	return 0;
}

struct epoch_slot *epoch_enter_slow(void)
{
	/* A thread that is among the shared readers stays there until it has left. */
	if (shared_depth == 0 && epoch_register() == 0) {
		epoch_slot_enter(epoch_mine);
		return epoch_mine;
	}
	if (shared_depth++ == 0)
		atomic_fetch_add(&shared_readers, 1); /* a full fence on every machine we run on */
	return NULL;
}

void epoch_exit_slow(void)
{
	check(shared_depth > 0);
	if (--shared_depth == 0)
		atomic_fetch_sub_explicit(&shared_readers, 1, memory_order_release);
}

uint64_t epoch_advance(void)
{
	return atomic_fetch_add(&epoch_domain.now, 1) + 1;
}

/* The oldest number that some reader entered with; `none` if nobody is inside. */
static uint64_t oldest_reader(uint64_t none)
{
	uint64_t oldest = none;
	if (atomic_load(&shared_readers))
		return 0;
	for (struct chunk *chunk = &first; chunk; chunk = atomic_load(&chunk->next)) {
		unsigned high = atomic_load(&chunk->high);
		for (unsigned i = 0; i < high; i++) {
			uint64_t entered = atomic_load(&chunk->slots[i].entered);
			if (entered && entered < oldest)
				oldest = entered;
		}
	}
	return oldest;
}

/* Orders the caller's earlier stores against every reader's enter. false: cannot say yet. */
static bool readers_barrier(void)
{
	if (EPOCH_TSAN)
		return true; /* the stores of enter are sequentially consistent, so are our loads */
	if (have_membarrier) {
		if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
			return true;
		uint64_t since = 0, now = now_ms();
		atomic_store(&epoch_domain.fenced, true);
		if (atomic_compare_exchange_strong(&revoked_ms, &since, now))
			return false;
		if (now - since < REVOKED_GRACE_MS)
			return false;
	}
	atomic_thread_fence(memory_order_seq_cst);
	return true;
}

bool epoch_passed(uint64_t number)
{
	uint64_t upto = atomic_load_explicit(&passed_upto, memory_order_acquire);
	if (upto >= number)
		return true;
	pthread_once(&once, domain_init);
	uint64_t now = atomic_load(&epoch_domain.now);
	check(number <= now);
	if (oldest_reader(now) < number)
		return false; /* seen inside without any barrier: it is inside */
	if (!readers_barrier())
		return false;
	/* Whoever enters from here on sees everything that was unlinked before `now` was read. */
	uint64_t oldest = oldest_reader(now);
	while (upto < oldest &&
	       !atomic_compare_exchange_weak_explicit(&passed_upto, &upto, oldest,
						      memory_order_acq_rel, memory_order_acquire))
		;
	return oldest >= number;
}

void epoch_wait(uint64_t number)
{
	const struct timespec pause = {.tv_nsec = 50000};
	check(shared_depth == 0 && (!epoch_mine || epoch_mine->depth == 0));
	for (unsigned tries = 0; !epoch_passed(number); tries++) {
		if (tries < 64)
			sched_yield();
		else
			nanosleep(&pause, NULL);
	}
}
