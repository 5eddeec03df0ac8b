/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache itself: what its files share.
 *
 *   cache.c    open and close          space.c    spaces, shares, dropping
 *   lookup.c   the hot path, built once per instruction set
 *   write.c    room in segments, put, delete, compare-and-set, touch on what is in memory
 *   request.c  one operation from start to end, cold reads included; single calls and batches
 *   queue.c    submit, poll, cancel    large.c    values in chunks
 *   durable.c  what durable spaces need of the log
 *   migrate.c  when what moves, the background threads   choose.c  which segment   heat.c  promotion
 *   reclaim.c  how a segment is emptied; runs
 *   iterate.c, image.c (what a clean close keeps), options.c, stats.c
 *
 * Sequence numbers are a Lamport clock: a mutation gets max(clock, the key's last + 1), and the clock
 * passes a segment's greatest number before any of its records is unlinked from the index. So they
 * grow along every key, through cold and back, without a counter that all writers share.
 *
 * Locks, in this order (a thread takes them downwards only):
 *   space_lock     opening and dropping of spaces
 *   migrate_lock   one slice of migration at a time; try-locked by puts that need room
 *   table_lock     one saving of the table of spaces at a time
 *   lock           pools, segment lists, lanes, spaces
 *   bucket locks   in the index; one at a time; never held across a wait, I/O or another lock
 * Readers take none. An epoch is never held across a wait or I/O.
 */
#ifndef TIERS_ENGINE_H
#define TIERS_ENGINE_H

#include "alloc/check.h"
#include "alloc/error.h"
#include "alloc/heap.h"
#include "alloc/pool.h"
#include "include/thermocline.h"
#include "index/epoch.h"
#include "index/index.h"
#include "tiers/cold/cold.h"
#include "tiers/overwrite.h"
#include "tiers/policy.h"
#include "tiers/record.h"

#include <pthread.h>

#define LANES_MAX 8
#define CLASSES 4 /* of time-to-live: none, an hour, a day, longer */
#define QUEUES 2  /* POLICY_SMALL, POLICY_MAIN */
#define MEMORY_TIERS 2
#define LANES_ALL (MEMORY_TIERS * QUEUES * CLASSES * LANES_MAX) /* of a space */
#define SHARDS (EPOCH_QUICK + 1)
#define STRIPES 4096 /* counters of unlinked keys */
#define RING 4096    /* candidates for promotion */
#define AGES 1024    /* samples of (clock, time) */

#define PLACE_TIER_SHIFT 40
#define PLACE_OFFSET_MASK ((UINT64_C(1) << PLACE_TIER_SHIFT) - 1)

/* Counters of one thread slot: plain stores while a slot has one thread, see counter_add. */
struct shard {
	_Alignas(128) _Atomic uint64_t hits[MEMORY_TIERS];
	_Atomic uint64_t misses, cold_hits, lost, errors, pending;
	_Atomic uint64_t puts, deletes, conflicts, busy, no_space;
	_Atomic uint64_t put_wait_ns, stalls;
};

enum space_state { SPACE_NONE = 0, SPACE_OPEN, SPACE_DROPPING };

/* Where the migrator copies to: what moves between tiers keeps its place in the order of residency. */
enum out { OUT_SMALL, OUT_MAIN_MOVED, OUT_MAIN_KEPT, OUTS };

struct lane {
	_Atomic(struct segment *) open;
};

struct thermo_space {
	/* Read on every call, a line of its own; const while open, all but ready. Copies of what is in
	 * cache, so that a get finds its way with fewer loads. */
	_Alignas(64) struct thermo *cache;
	int (*get)(struct thermo_space *space, const void *key, size_t key_len, void *value,
		   size_t capacity, size_t *value_len);
	struct index *index;
	char *base;             /* where the hot tier's range begins */
	uint64_t hash_seed;     /* key_hash_seed() of the space */
	uint64_t identity;      /* the space in HEAD_IDENTITY */
	/* The same while the space is open, else what no record has: spares get a question. */
	_Atomic uint64_t open_identity;
	_Atomic uint64_t ready; /* the cache's generation while state is SPACE_OPEN, else 0 */

	_Atomic uint8_t state; /* under space_set_state */
	_Atomic uint8_t full[MEMORY_TIERS]; /* 1: its share of the tier is used up */
	uint8_t id;
	bool durable; /* const while open */
	char name[THERMO_SPACE_NAME_MAX + 1];
	struct thermo_space_options options; /* under lock; ttl_ms read relaxed */
	uint32_t handles;                    /* under lock */
	struct lane lane[MEMORY_TIERS][QUEUES][CLASSES][LANES_MAX];
	struct segment *out[MEMORY_TIERS][OUTS]; /* under migrate_lock */
	uint32_t segments[MEMORY_TIERS];           /* under lock */
	_Atomic uint32_t calls;                    /* requests under way that wait for the device */
	_Atomic uint8_t has_large;                 /* values in chunks were ever stored */
};

/* What makes the fast path: one table per instruction set. */
struct lookup_ops;

struct log;
struct reclaim; /* reclaim.h */

/* Hashes of warm records that are to come to DRAM. Lossy: whoever is too fast overwrites the oldest. */
struct candidates {
	_Atomic uint64_t hash[RING];
	_Atomic uint32_t head;
	_Atomic uint32_t tail; /* written under migrate_lock */
};

struct thermo {
	/* const after open, read on every call */
	_Alignas(128) uint64_t generation; /* of fork: see cache.c */
	const struct lookup_ops *lookup;
	struct index *index;
	char *base[MEMORY_TIERS];
	uint32_t segment_shift[MEMORY_TIERS];
	struct pool pool[MEMORY_TIERS];
	struct provider *warm; /* == pool[1].provider, or NULL */
	struct policy *policy;
	struct cold *cold; /* NULL: no cold tier */
	struct log *log;   /* NULL: no cold tier */
	const struct file_ops *files; /* every operation on files goes through these */
	_Atomic uint32_t heat_epoch;    /* policy_epoch(), copied where readers see it */
	_Atomic uint8_t touched[256];   /* policy_touched() of every counter, in this epoch */
	uint32_t lanes;
	uint32_t chunk_bytes; /* values above come in chunks */
	struct heap *heap;
	uint64_t (*clock_fn)(void *context);
	void *clock_context;
	_Atomic uint64_t clock_last; /* greatest wall clock seen: steps back are clamped */

	_Alignas(128) _Atomic uint64_t clock; /* of sequence numbers */
	_Atomic uint64_t order;               /* of segments: `born` */
	_Atomic uint32_t cold_failed;         /* last write to cold failed: -errno */
	_Atomic uint32_t demoting;            /* a record may be in a run that is not visible yet */
	_Atomic uint8_t aim[QUEUES];          /* the tier that new records of a queue go to */
	_Atomic uint32_t hungry;              /* somebody waits for room */
	_Atomic uint32_t dram_wanted;         /* promotion found no room in DRAM: see migrate.h */
	_Atomic uint32_t starved;             /* index or cold wait for memory: the pool is to give some */

	_Alignas(128) pthread_mutex_t lock;
	struct segment_list queue[MEMORY_TIERS][QUEUES]; /* sealed, by born */
	_Atomic uint32_t open_segments; /* of lanes; changed under lock */
	uint32_t open_segments_max;
	uint32_t hot_extents_min, hot_extents_max; /* what balance may make of the pool's target */
	uint32_t reserve[MEMORY_TIERS]; /* free segments that puts leave to the migrator */
	pthread_cond_t room;            /* a segment came free */

	pthread_mutex_t migrate_lock;
	struct reclaim *reclaim;
	pthread_t *thread;
	uint32_t threads;
	pthread_mutex_t wake_lock;
	pthread_cond_t wake;
	bool stopping; /* under wake_lock */
	bool kicked;   /* under wake_lock */

	_Atomic uint32_t stripe[STRIPES]; /* keys of it that were unlinked: see request.c */
	struct candidates earned; /* warm records that are used often enough for DRAM */
	struct candidates hinted; /* warm records that will be asked for soon */
	struct {
		uint64_t clock, ms;
	} age[AGES]; /* under lock */
	uint32_t ages;

	struct budget budget;      /* all DRAM */
	struct budget cold_budget; /* filters and buffers: a part of it */
	struct shard shard[SHARDS];
	pthread_mutex_t runner_lock;
	pthread_cond_t runner_idle;
	uint32_t runners_out; /* taken and not given back, under runner_lock */
	struct runner *runners; /* idle ones, under runner_lock */
	uint64_t nonce;         /* number of the image on disk */
	uint64_t larges_nonce;  /* random, of this opening: names large values with a count */
	_Atomic uint64_t larges;
	struct forgotten *forgotten; /* under lock: large.c */
	struct {
		_Atomic uint64_t sum, max, bucket[THERMO_HISTOGRAM_BUCKETS];
	} wait; /* above 1 ms */
	pthread_mutex_t table_lock;
	_Atomic bool image_kept;  /* the image is the log's oldest file, number 0 */
	_Atomic bool log_unsure;  /* cold may have versions that the log has not */
	uint64_t log_from;        /* files with smaller numbers are of no use; changed by open and close */
	_Atomic uint64_t log_flush; /* files up to this one are to go: an erasure wants it */
	_Atomic uint64_t log_checked_ns;
	_Atomic uint64_t help_max_ns;
	pthread_mutex_t space_lock; /* opening and dropping of spaces; before migrate_lock */

	/* counters of the migrator, relaxed */
	_Atomic uint64_t promoted, demoted, promoted_bytes, demoted_bytes;
	_Atomic uint64_t cold_promoted, cold_demoted, cold_clean_dropped;
	_Atomic uint64_t dropped[MEMORY_TIERS], dropped_bytes[MEMORY_TIERS], expired[MEMORY_TIERS];
	_Atomic uint64_t demoted_cold_bytes[MEMORY_TIERS];
	_Atomic uint64_t scan_kept, scan_evicted, scan_dead;

	struct thermo_options options; /* strings copied into strings */
	char *string[6]; /* what the options point to */
	char notices[1024];
	_Atomic uint32_t refs, queues, iterators; /* handles that are open */
	_Atomic uint32_t space_high;              /* greatest id that was ever used */
	struct thermo_space space[THERMO_SPACES_MAX + 1]; /* by id; 0 unused */
};

/* ---- space.c ---- */

/* A space that was zeroed: what follows from its cache and its id. */
void space_init(struct thermo *c, struct thermo_space *space, uint8_t id);
void space_set_state(struct thermo_space *space, enum space_state state);

/* ---- Records in place ---- */

struct view {
	const char *key, *value;
	uint32_t key_len, value_len;
	uint32_t flags, bytes; /* bytes: as it lies, padding included */
	uint64_t head, expires_ms;
	uint8_t space;
	bool wide;
};

static inline uint32_t head_key_len(uint64_t head)
{
	return (uint32_t)(head >> HEAD_KEY_SHIFT & 0x3ff) + 1;
}

static inline uint32_t head_value_len(uint64_t head)
{
	return (uint32_t)(head >> HEAD_VALUE_SHIFT & 0x7ffff);
}

static inline uint32_t head_flags(uint64_t head)
{
	return (uint32_t)(head >> HEAD_FLAGS_SHIFT & 0x3f);
}

static inline bool head_wide(uint64_t head)
{
	return head >> HEAD_DELTA_SHIFT == RECORD_DELTA_MAX;
}

/* Bytes before the key. */
static inline uint32_t head_bytes(uint64_t head)
{
	return 8 + 8 * (uint32_t)head_wide(head) +
	       8 * (uint32_t)(head >> (HEAD_FLAGS_SHIFT + 5) & 1); /* RECORD_EXPIRES */
}

static inline uint64_t head_make(uint8_t space, size_t key_len, size_t value_len, uint32_t flags)
{
	return (uint64_t)(key_len - 1) << HEAD_KEY_SHIFT | (uint64_t)value_len << HEAD_VALUE_SHIFT |
	       (uint64_t)space << HEAD_SPACE_SHIFT | (uint64_t)flags << HEAD_FLAGS_SHIFT;
}

static inline uint32_t record_bytes(size_t key_len, size_t value_len, bool wide, bool expires)
{
	return (uint32_t)(8 + 8 * wide + 8 * expires + key_len + value_len + 7) & ~7u;
}

static inline uint64_t load64(const void *bytes)
{
	uint64_t value;
	memcpy(&value, bytes, 8);
	return value;
}

static inline void record_view_of(const char *record, uint64_t head, struct view *v)
{
	v->head = head;
	v->flags = head_flags(head);
	v->key_len = head_key_len(head);
	v->value_len = head_value_len(head);
	v->space = (uint8_t)(head >> HEAD_SPACE_SHIFT);
	v->wide = head_wide(head);
	v->key = record + head_bytes(head);
	v->value = v->key + v->key_len;
	v->expires_ms = v->flags & RECORD_EXPIRES ? load64(v->key - 8) : 0;
	v->bytes = record_bytes(v->key_len, v->value_len, v->wide, v->flags & RECORD_EXPIRES);
}

static inline void record_view(const char *record, struct view *v)
{
	record_view_of(record, record_head(record), v);
}

static inline unsigned place_tier(uint64_t place)
{
	return (unsigned)(place >> PLACE_TIER_SHIFT & 1);
}

static inline uint64_t place_offset(uint64_t place)
{
	return (place & PLACE_OFFSET_MASK) << 3;
}

static inline const char *place_record(const struct thermo *c, uint64_t place)
{
	return c->base[place_tier(place)] + place_offset(place);
}

static inline struct segment *place_segment(const struct thermo *c, uint64_t place)
{
	unsigned tier = place_tier(place);
	return &c->pool[tier].segments[place_offset(place) >> c->segment_shift[tier]];
}

static inline uint64_t place_make(unsigned tier, uint64_t offset)
{
	return (uint64_t)tier << PLACE_TIER_SHIFT | offset >> 3;
}

static inline uint64_t record_seq_of(const struct segment *segment, const char *record, uint64_t head)
{
	return head_wide(head) ? load64(record + 8) : segment->base_seq + (head >> HEAD_DELTA_SHIFT);
}

static inline uint64_t record_seq(const struct segment *segment, const char *record)
{
	return record_seq_of(segment, record, record_head(record));
}

/* ---- Who asks ---- */

/* An identity and what follows from it. */
struct key {
	const void *bytes;
	uint32_t len;
	uint8_t space;
	uint8_t chunk; /* 0 or 1 */
	uint64_t hash;
	uint64_t identity; /* as in a head, under HEAD_IDENTITY */
};

static inline struct key key_make(const struct thermo_space *space, const void *bytes, size_t len,
				  unsigned chunk)
{
	return (struct key){
		.bytes = bytes,
		.len = (uint32_t)len,
		.space = space->id,
		.chunk = (uint8_t)chunk,
		.hash = key_hash(space->id, bytes, len, chunk),
		.identity = head_make(space->id, len, 0, chunk ? RECORD_CHUNK : 0),
	};
}

static inline bool key_equal(const char *a, const char *b, uint32_t len)
{
	if (len == 16)
		return ((load64(a) ^ load64(b)) | (load64(a + 8) ^ load64(b + 8))) == 0;
	if (len == 8)
		return load64(a) == load64(b);
	return memcmp(a, b, len) == 0;
}

/* ---- lookup.c ---- */

enum { LOOKUP_ABSENT = 64, LOOKUP_LARGE = 65 }; /* beside outcomes: not in memory; head of a large value */

struct found {
	const char *record;
	uint64_t place;
	struct index_slot at;
};

#define PROBES 64 /* of a batch at a time */
struct probe {
	uint64_t hash;
	uint64_t view;  /* of the index, when its tags were compared */
	uint64_t place; /* of the first match, or INDEX_NOWHERE; as long as the epoch lasts */
	struct index_slot at;
};

struct lookup_ops {
	/* thermo_get with a space. */
	int (*get)(struct thermo_space *space, const void *key, size_t key_len, void *value,
		   size_t capacity, size_t *value_len);
	/* What memory knows: THERMO_OK, MISS (tombstone, expired), TRUNCATED, LOOKUP_ABSENT, LOOKUP_LARGE.
	 * Enters and leaves an epoch. */
	int (*get_request)(struct thermo *c, const struct key *key,
			   struct thermo_request *request);
	/* Inside an epoch. false if not in the index. */
	bool (*find)(const struct thermo *c, const struct key *key, struct found *found);
	/* Two halves of a batch of at most PROBES gets, each inside an epoch: probe hashes, prefetches
	 * and marks status LOOKUP_ABSENT where no tag matches, and tells how many those are; fetch does
	 * the rest, like get, and tells how many have no outcome yet (status >= LOOKUP_ABSENT). same: it
	 * is still the epoch of the probe. */
	unsigned (*probe)(struct thermo *c, struct thermo_request *const *requests, unsigned n,
			  struct probe *probes);
	unsigned (*fetch)(struct thermo *c, struct thermo_request *const *requests, unsigned n,
			  struct probe *probes, bool same);
	/* A put without expiry that may be done in place (overwrite.h), and was; else false, and nothing was
	 * done. The space's ready is the caller's to look at. */
	bool (*overwrite)(struct thermo_space *space, const void *key, size_t key_len,
			  const void *value, size_t value_len, uint64_t *version);
	/* The same for puts that were probed in this epoch: how many of them were done, up to the first
	 * that is not. */
	unsigned (*overwrite_some)(struct thermo *c, struct thermo_request *const *requests,
				   unsigned n, const struct probe *probes);
};
const struct lookup_ops *lookup_choose(void);

/* ---- cache.c ---- */
extern EPOCH_HIDDEN _Atomic uint64_t fork_generation;

static inline bool cache_forked(const struct thermo *c)
{
	return unlikely(c->generation !=
			atomic_load_explicit(&fork_generation, memory_order_relaxed));
}

/* thermo_open over another table of file operations: tests put faults and records of them there. */
int cache_open(const struct thermo_options *options, const struct file_ops *files,
	       struct thermo **cache, struct thermo_error *error);
uint64_t cache_now_ms(struct thermo *c);
/* Lets readers see the policy's epoch. */
void cache_heat(struct thermo *c);
/* Capacity for records, of a memory tier. */
uint64_t cache_tier_bytes(const struct thermo *c, unsigned tier);
/* Size at which a run is published. */
uint64_t cache_run_bytes(uint64_t dram);
uint64_t monotonic_ns(void);
/* When a caller that waits for room from now on gives up, monotonic. */
uint64_t cache_deadline(const struct thermo *c);
void cache_notice(struct thermo *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));



static inline struct shard *cache_shard(struct thermo *c)
{
	return &c->shard[epoch_thread() % SHARDS];
}

/* Exact: a slot number is one live thread's while there are no more threads than shards. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	if (likely(epoch_thread() < SHARDS - 1))
		atomic_store_explicit(counter,
				      atomic_load_explicit(counter, memory_order_relaxed) + n,
				      memory_order_relaxed);
	else
		atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* A wait of the caller's: counted above 1 ms. */
void cache_waited(struct thermo *c, uint64_t ns);

/* ---- write.c ---- */

/* The value of a large value's own record: large.c. */
struct large_head {
	uint64_t len;
	uint64_t generation[2]; /* names its chunks: random at open, and counted */
	uint32_t chunk_bytes;
	uint32_t chunks;
};

struct write {
	struct key key;
	const void *value;
	uint32_t value_len;
	uint32_t flags;      /* TOMBSTONE, HEAD */
	uint64_t expires_ms; /* 0 = never */
	/* conditions */
	bool conditional;  /* compare-and-set: expected must be the version in memory */
	uint64_t expected;
	bool known_cold;     /* what cold holds of the key has been read ... */
	uint64_t cold_seq;   /* ... 0: nothing, not even a tombstone */
	bool cold_live;      /* and it is neither a tombstone nor expired */
	uint32_t stripe;     /* ... when its stripe stood here */
	bool promote;        /* not a mutation: this is cold_seq, brought up clean */
	bool replay;         /* not a mutation either: cold_seq from the log, unless something newer is there */
	uint64_t hinted;     /* promote: to DRAM, waiting for room until then (monotonic ns); 0: no */
	bool hurried;        /* does not wait for room */
	bool admitted;       /* `queue` is where it goes */
	uint8_t queue;       /* enum policy_queue */
	bool forgets;        /* the chunks of a large value that it replaces are to be forgotten: so what cold
			      * holds must be known where memory has nothing, as with `conditional` */
	/* out */
	uint64_t version;
	bool existed; /* a live version was in memory (or cold_seq is one) */
	uint64_t logged;     /* where its log record ends, or what its outcome rests on; 0: nothing */
	bool replaced_large;         /* forgets: the head of one was in memory ... */
	struct large_head replaced;  /* ... this one */
	/* durable.c's */
	uint32_t log_bytes;  /* reserved */
	uint64_t log_file;   /* replay: where it lies; else 0 */
};

enum { WRITE_NEEDS_COLD = 66, WRITE_AGAIN = 67 };
#define REQUEST_LOGGED 0x80000000u /* of request._state: _private is a position of the log */

/* THERMO_OK, CONFLICT, BUSY, -ENOSPC, -ENOMEM, -EROFS; WRITE_NEEDS_COLD (conditional or forgets, and cold
 * may hold the key), WRITE_AGAIN (the stripe moved on: read cold anew). Waits at most put_wait_ms for room. */
int write_record(struct thermo *c, struct write *w);
/* Deletes; as write_record. With `conditional`, w->existed says whether there was a live version, and
 * WRITE_NEEDS_COLD and WRITE_AGAIN, that this takes a (newer) look at cold; then nothing was done. */
int write_tombstone(struct thermo *c, struct write *w);
/* The queue that a record of this key goes to. Forgets that the ghost knew it, so once for a value. */
unsigned write_admit(struct thermo *c, const struct key *key, uint32_t bytes);
uint64_t write_expiry(struct thermo *c, const struct thermo_space *space, int64_t ttl_ms);
/* Room for bytes in the writer's lane; inside an epoch. early: not of the margin, while a run is on its way.
 * NULL: no free segment. */
char *write_reserve(struct thermo *c, struct thermo_space *space, unsigned tier, unsigned queue,
		    unsigned klass, uint32_t bytes, bool early, struct segment **segment);
/* Free segments, beyond the migrator's reserve, that are for what is put while a run is being published. */
uint32_t cache_margin(const struct thermo *c, unsigned tier);
/* A record at `to` that nothing points to: what was reserved and not used. */
void write_dead(char *to, uint32_t bytes);
/* Copies a record into an output segment with the delta of its own base; returns bytes, 0 if none. */
void segment_note(struct segment *segment, uint64_t seq, uint64_t expires_ms);
/* Seals what is open in the lane; under lock. */
void segment_seal(struct thermo *c, struct segment *segment);
struct segment *segment_begin(struct thermo *c, struct thermo_space *space, unsigned tier,
			     unsigned queue, unsigned klass, uint32_t leave);
void stripe_bump(struct thermo *c, uint64_t hash);
/* The clock is at least seq from now on. */
void clock_reach(struct thermo *c, uint64_t seq);
/* Now and then: puts that overwrite in place seal no segments, and ages are to be told all the same. */
void write_tick(struct thermo *c);

static inline uint32_t stripe_read(struct thermo *c, uint64_t hash)
{
	return atomic_load_explicit(&c->stripe[hash & (STRIPES - 1)], memory_order_acquire);
}

/* ---- large.c ---- */
/* Deletes chunks of a value that was replaced when there was no room for their tombstones. true: there were some. */
bool large_forget_more(struct thermo *c);
void large_close(struct thermo *c);

/* ---- migrate.c, choose.c, heat.c ---- */
int migrate_open(struct thermo *c);
void migrate_close(struct thermo *c);
/* Makes room in memory, or in DRAM: slices of reclaim by the caller, then waits until deadline (monotonic
 * ns). margin: it must not be of the margin. true: a segment may be free. */
bool migrate_make_room(struct thermo *c, bool in_dram, bool margin, uint64_t deadline);
/* The same when it is the index, or a buffer of cold, that the budget has no memory for. false: it is past
 * the deadline. Not inside an epoch. */
bool migrate_make_memory(struct thermo *c, uint64_t deadline);
/* The same for the log, which is full: a slice, then a short wait. false: past the deadline. */
bool migrate_make_log_room(struct thermo *c, uint64_t deadline);
void migrate_kick(struct thermo *c);
/* Sets space->full by its share of the tier; under lock, whenever its segments change. */
void migrate_share(const struct thermo *c, struct thermo_space *space, unsigned tier);
/* Sets c->aim by what the tiers hold; under lock, whenever that has changed. */
void migrate_aim(struct thermo *c);
void migrate_candidate(struct candidates *to, uint64_t hash);
/* Hints that have not been dealt with yet. */
uint32_t migrate_hints_waiting(const struct thermo *c);
int migrate_work(struct thermo *c);
int migrate_start(struct thermo *c); /* the background threads */
void migrate_stop(struct thermo *c);
/* Gives extents back until no more than these are there. OK or PENDING. */
int migrate_shrink(struct thermo *c, unsigned tier, uint32_t extents, int64_t timeout_ns);
int migrate_settle(struct thermo *c, int64_t timeout_ns);
/* Publishes the runs that may be in the making by now, each of them once. OK, PENDING at timeout_ns, or -errno. */
int migrate_flush(struct thermo *c, int64_t timeout_ns);
/* Everything of the space out of memory; the space is DROPPING and nobody calls. */
void migrate_purge(struct thermo *c, struct thermo_space *space);
/* Seals what is open of the space; under migrate_lock. */
void migrate_seal_space(struct thermo *c, struct thermo_space *space);

#endif
