/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thermocline: a tiered caching layer for recommendation systems.
 *
 * Hot records live in DRAM, warm records in a CXL or PMEM pool, cold records in compressed segments
 * on NVMe, behind one key API. This is the only public header.
 *
 * Results. Every call answers an int: THERMO_OK (0), a positive outcome (enum thermo_outcome; a miss
 * is an outcome, never an error), or a negative errno. An error is never dressed as a miss.
 *
 * Threads. Every call on a cache, a space, or a ref may be made from any thread; no thread registers
 * itself. A queue, an iterator and a request belong to one thread at a time. A forked child may not
 * use a cache that its parent opened: calls there answer -ECHILD.
 *
 * Times. Expiry is absolute wall-clock milliseconds since 1970 (0 = never); time-to-live is relative
 * milliseconds; deadlines and time-outs are relative nanoseconds (negative = no limit).
 */
#ifndef THERMOCLINE_H
#define THERMOCLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define THERMO_API __attribute__((visibility("default")))
#else
#define THERMO_API
#endif

#define THERMO_KEY_MAX 1024u                 /* bytes; a key has at least 1 */
#define THERMO_VALUE_MAX (256u << 20)        /* bytes */
#define THERMO_SPACE_NAME_MAX 63u            /* bytes, without the terminating NUL */
#define THERMO_SPACES_MAX 255u               /* spaces in one cache */

enum thermo_outcome {
	THERMO_OK = 0,
	THERMO_MISS = 1,      /* no such key (or it has expired) */
	THERMO_PENDING = 2,   /* not known by the deadline; ask again. Never means a miss */
	THERMO_LOST = 3,      /* the record was here and a bad block or poisoned memory took it; in
			       * a durable space that is -EIO */
	THERMO_PIN_LIMIT = 4, /* too many bytes are pinned: copy with thermo_get instead */
	THERMO_BUSY = 5,      /* no room could be made within put_wait_ms; nothing was changed */
	THERMO_CONFLICT = 6,  /* compare-and-set: the key's version is another */
	THERMO_TRUNCATED = 7, /* the buffer is too small: it was filled, the full length is reported */
	THERMO_CANCELLED = 8, /* the request was cancelled before it had an effect */
};

enum thermo_tier { THERMO_HOT = 0, THERMO_WARM = 1, THERMO_COLD = 2 };
#define THERMO_TIERS 3

/* What went wrong, for people: one line, which field or file, and what to do about it. */
struct thermo_error {
	char text[256];
};

struct thermo;       /* an open cache */
struct thermo_space; /* a named set of keys in it */
struct thermo_queue; /* asynchronous requests and their completions */
struct thermo_iter;  /* an iteration over a space */

/* ---- Options ------------------------------------------------------------------------------- */

/* A heap for the library's own bookkeeping (never for records). All three must be thread-safe;
 * alloc answers NULL when full, and the library then answers -ENOMEM to its caller. */
struct thermo_allocator {
	void *context;
	void *(*alloc)(void *context, size_t bytes);
	void *(*realloc)(void *context, void *old, size_t bytes);
	void (*free)(void *context, void *bytes);
};

/* Fill with thermo_options_init, then change what matters. Strings are copied by thermo_open. */
struct thermo_options {
	uint32_t size; /* of this struct, set by thermo_options_init */
	uint32_t background_threads; /* default 2: the first migrates, others compact (one alone does
				      * both); 0: nothing runs unless the host calls thermo_work */
	uint64_t dram_bytes;         /* cap of everything in DRAM, index and buffers included: at least 16M,
				      * 24M with a cold tier */
	uint64_t dram_max_bytes;     /* how far thermo_resize may raise it; 0 = 4 x dram_bytes */
	uint64_t warm_bytes;         /* cap of the warm tier; 0 = no warm tier */
	uint64_t warm_max_bytes;     /* as dram_max_bytes */
	const char *warm;            /* "emulate:NS[,GB/s]", "node:N", "file:PATH", "kmem", "dram" */
	const char *dram;            /* "dram" (default) or "node:N" */
	const char *cold_dir;        /* directory of the cold tier; NULL = no cold tier */
	uint64_t cold_bytes;         /* cap of the cold tier; 0 = what the file system has */
	uint64_t log_bytes;          /* cap of the log of durable spaces, in cold_dir; 0 = dram + warm */
	const char *policy;          /* "s3fifo" (default), "lru", "sieve", "fifo" */
	const char *io;              /* "auto" (default), "uring", "pread" */
	const char *heap;            /* "memkind" (default), "libc"; ignored if allocator is set */
	const struct thermo_allocator *allocator; /* NULL, or it must outlive the cache */
	uint32_t put_wait_ms;        /* how long a put may wait for room; default 10 */
	uint32_t pin_percent;        /* share of a tier that refs may pin; default 10 */
	uint64_t move_bytes_per_s;   /* budget DRAM <-> warm; 0 = unlimited */
	uint64_t cold_write_bytes_per_day; /* budget of device writes; 0 = unlimited */
	uint32_t scrub_days;         /* everything cold is read and checked once in so many; 0: never */
	uint64_t filter_bytes;       /* cap of filters and fences in DRAM; 0 = 1/16 of dram_bytes */
	uint32_t index_buckets;      /* initial 64-byte buckets; 0 = chosen */
	uint32_t huge_pages;         /* 1 (default): ask for them */
	uint64_t (*clock_ms)(void *context); /* NULL, or the wall clock to use (tests) */
	void *clock_context;
	void (*log)(void *context, const char *line); /* NULL, or where one-line notices go */
	void *log_context;
	char *_text; /* the library's: what thermo_options_parse made */
};

/* Sets every field to its default. */
THERMO_API void thermo_options_init(struct thermo_options *options);

/*
 * Reads "key = value" lines (or ';'-separated pairs) into options; '#' starts a comment; sizes take
 * K, M, G, T (powers of 1024). The keys are the struct's field names without "_bytes" (and
 * dram_provider), and cold = DIR[:SIZE] or none, warm = SIZE[@PROVIDER]. Fields that the text does not
 * name keep their value, and all are unchanged on error. Strings point into memory that *options owns:
 * free it with thermo_options_free, after the last thermo_open that uses it.
 * -EINVAL with the line and the key in *error.
 */
THERMO_API int thermo_options_parse(struct thermo_options *options, const char *text,
				    struct thermo_error *error);
THERMO_API void thermo_options_free(struct thermo_options *options);

/* ---- Cache and spaces ------------------------------------------------------------------------ */

/* error may be NULL in every call that takes one. Everything under the caps is checked and populated
 * here, or the call fails: -EINVAL (an option), -ENOMEM (a cap does not fit the machine or cgroup),
 * -EBUSY (the directory is in use), -EROFS, -ENOTDIR, -EIO, -EPROTO (a file of unknown version). */
THERMO_API int thermo_open(const struct thermo_options *options, struct thermo **cache,
			   struct thermo_error *error);

/* Keeps everything for the next open when there is a cold directory (hot and warm records included),
 * and frees the rest. -EBUSY, and the cache stays usable, while refs, queues or iterators are open
 * and timeout_ns has passed: *error names the oldest. NULLs *cache on success. Spaces are freed with
 * the cache. On an I/O error the cache is closed all the same and what was lost is said. */
THERMO_API int thermo_close(struct thermo **cache, int64_t timeout_ns, struct thermo_error *error);

enum thermo_kind { THERMO_BLOB = 0 };

/* What a crash leaves. cache: nothing, the space starts empty rather than stale (a clean close keeps all).
 * durable: whatever was acknowledged, as far as `sync` says; needs a cold_dir. */
enum thermo_durability { THERMO_CACHE = 0, THERMO_DURABLE = 1 };

/* When a put, delete or compare-and-set of a durable space is acknowledged. Readers see it at once. */
enum thermo_sync {
	THERMO_SYNC_DEFAULT = 0,  /* of a space: SYNCED; of a request: as the space says */
	THERMO_SYNCED = 1,        /* its log record is on stable storage: survives power loss */
	THERMO_WRITTEN = 2,       /* the system has it: survives the process, not the machine */
	THERMO_SYNCED_WITHIN = 3, /* at once; it is on stable storage sync_ms later: a crash of process or
				   * machine may take the last sync_ms, and never anything before them */
};

struct thermo_space_options {
	uint32_t size; /* of this struct, set by thermo_space_options_init */
	uint32_t kind;       /* enum thermo_kind */
	uint32_t durability; /* enum thermo_durability */
	uint32_t sync;       /* enum thermo_sync; durable spaces only */
	uint32_t sync_ms;    /* of THERMO_SYNCED_WITHIN; default 10 */
	uint32_t _reserved;
	int64_t ttl_ms;      /* default time-to-live of a put; 0 = none */
	uint8_t min_percent[THERMO_TIERS]; /* of each tier, that others may not take; default 0 */
	uint8_t max_percent[THERMO_TIERS]; /* of each tier, that this space may use; default 100 */
};
THERMO_API void thermo_space_options_init(struct thermo_space_options *options);

/* Opens the space, or creates it. options may be NULL: those it has, or the defaults. -EEXIST when
 * kind or durability differ from what it has; other settings are updated. Handles stay valid until
 * the cache closes or the space is dropped; opening twice gives the same handle. */
THERMO_API int thermo_space_open(struct thermo *cache, const char *name,
				 const struct thermo_space_options *options,
				 struct thermo_space **space, struct thermo_error *error);
/* Gives the handle back; the keys stay. */
THERMO_API int thermo_space_close(struct thermo_space **space);
/* Removes the space and every key in it, in all tiers. The handle is gone, for every holder; calls
 * that were under way finish first. */
THERMO_API int thermo_space_drop(struct thermo_space **space);

/* ---- Single keys ----------------------------------------------------------------------------- */

/* Passed as ttl_ms: the space's default, or none. */
#define THERMO_TTL_DEFAULT (-1)
#define THERMO_TTL_NONE 0

/* Stores a copy of the value; blind: no tier below DRAM is read. OK, BUSY, -EINVAL (key or value
 * size), -ENOSPC (nothing can make room), -EROFS (cold storage failed and the record may not be
 * dropped). In a durable space also BUSY (the log is full), -ENOSPC (the log gets no file), -EIO (the log failed now:
 * whether the value survives is unknown, readers see it) and -EROFS (it failed before: nothing was changed). */
THERMO_API int thermo_put(struct thermo_space *space, const void *key, size_t key_len,
			  const void *value, size_t value_len, int64_t ttl_ms);

/* Copies up to capacity bytes of the value; *value_len is its full length. OK, MISS, LOST,
 * TRUNCATED, or an error. A cold record costs one device read. value_len may be NULL. */
THERMO_API int thermo_get(struct thermo_space *space, const void *key, size_t key_len, void *value,
			  size_t capacity, size_t *value_len);

/* The same for bytes [offset, offset + capacity) of a value, of which only those chunks are read.
 * *copied is how many there were. */
THERMO_API int thermo_get_range(struct thermo_space *space, const void *key, size_t key_len,
				uint64_t offset, void *value, size_t capacity, size_t *copied,
				size_t *value_len);

/* A value in place: the bytes neither move nor change until it is released, from any thread. */
struct thermo_ref {
	const void *data;
	size_t len;
	uint64_t version;
	uintptr_t _pin[2]; /* the library's */
};
/* OK, MISS, LOST, PIN_LIMIT; -EFBIG for a value that is stored in chunks (use thermo_get_range): over a
 * quarter of a segment, which is 256 KiB in pools of 128 MiB or more and 16 KiB in the smallest. A
 * cold record is promoted first; BUSY if there is no room for it. */
THERMO_API int thermo_get_ref(struct thermo_space *space, const void *key, size_t key_len,
			      struct thermo_ref *ref);
THERMO_API void thermo_ref_release(struct thermo_ref *ref);

/* Blind: OK also when there was no such key. */
THERMO_API int thermo_delete(struct thermo_space *space, const void *key, size_t key_len);
/* Says whether there was one: OK or MISS, or LOST (nothing was done). May cost one device read. */
THERMO_API int thermo_remove(struct thermo_space *space, const void *key, size_t key_len);
/* Removes every copy, cold segments included, before it returns or within timeout_ns: PENDING if
 * some copy was still there by then (it is not readable in any case, and removal goes on). Chunks of large values that the
 * key held earlier are deleted, and go with the merges of cold. */
THERMO_API int thermo_erase(struct thermo_space *space, const void *key, size_t key_len,
			    int64_t timeout_ns);
/* Changes the time-to-live, counted from now. OK, MISS or LOST. */
THERMO_API int thermo_touch(struct thermo_space *space, const void *key, size_t key_len,
			    int64_t ttl_ms);

struct thermo_info {
	enum thermo_tier tier;
	uint32_t _reserved;
	uint64_t value_len;
	uint64_t version;    /* changes with every mutation of the key, never goes back while it lives */
	uint64_t expires_ms; /* 0 = never */
	uint64_t age_ms;     /* since it was written; exact to the time a segment takes to fill */
};
/* OK, MISS or LOST. info may be NULL. Does not count as an access. */
THERMO_API int thermo_exists(struct thermo_space *space, const void *key, size_t key_len,
			     struct thermo_info *info);

/* Stores only if the key's version is `expected` (0: only if there is no such key). OK with the new
 * *version, CONFLICT with the present one (0 if none), BUSY, LOST or an error. version may be NULL. */
THERMO_API int thermo_cas(struct thermo_space *space, const void *key, size_t key_len,
			  const void *value, size_t value_len, int64_t ttl_ms, uint64_t expected,
			  uint64_t *version);

/* ---- Batches and asynchronous requests --------------------------------------------------------- */

enum thermo_op {
	THERMO_OP_GET = 0,
	THERMO_OP_PUT = 1,
	THERMO_OP_DELETE = 2,
	THERMO_OP_REMOVE = 3,
	THERMO_OP_TOUCH = 4,
	THERMO_OP_EXISTS = 5, /* value: a struct thermo_info, or NULL */
	THERMO_OP_CAS = 6,    /* version: expected in, present out */
	THERMO_OP_GET_REF = 7, /* value: a struct thermo_ref */
	THERMO_OP_ERASE = 8,
};

/* One operation. Zero it, fill what the operation needs. After thermo_submit, the request, its key
 * and its buffer belong to the library until thermo_poll returns it or thermo_cancel succeeds. */
struct thermo_request {
	struct thermo_space *space;
	const void *key;
	void *value;        /* put, cas: the value (not written to); get: the buffer */
	size_t value_len;   /* put, cas: its length; get: the buffer's capacity in `capacity` below */
	size_t capacity;    /* get: bytes in the buffer; value_len is then the value's length, out */
	uint64_t offset;    /* get: where in the value to begin */
	uint64_t version;   /* get, put: out; cas: in and out */
	int64_t ttl_ms;     /* put, cas, touch */
	uint64_t user_data; /* yours */
	uint32_t key_len;
	uint8_t op;         /* enum thermo_op */
	uint8_t sync;       /* enum thermo_sync: of this operation on a durable space */
	int16_t tier;       /* get: where it was found (enum thermo_tier), or -1 */
	int32_t status;     /* outcome or negative errno */
	uint32_t _state;    /* the library's */
	struct thermo_request *_next;
	void *_private;
};

/* Each answers OK when every request has its status, else the first error that concerns the whole
 * batch (then no request was begun). Each key is atomic, the batch is not. Requests that are not
 * done when deadline_ns has passed get PENDING: a get may be asked again, a put of which PENDING is
 * said had no effect. On return every buffer is the caller's again. The op field is set by the call. */
THERMO_API int thermo_get_batch(struct thermo_request *requests, size_t n, int64_t deadline_ns);
THERMO_API int thermo_put_batch(struct thermo_request *requests, size_t n, int64_t deadline_ns);
THERMO_API int thermo_delete_batch(struct thermo_request *requests, size_t n, int64_t deadline_ns);

THERMO_API int thermo_queue_open(struct thermo *cache, struct thermo_queue **queue);
/* -EBUSY while requests are under way. */
THERMO_API int thermo_queue_close(struct thermo_queue **queue);
/* Begins n requests of any operations; -EAGAIN (nothing begun) if more than 64 Ki are under way. */
THERMO_API int thermo_submit(struct thermo_queue *queue, struct thermo_request *const *requests,
			     size_t n);
/* Drives the queue and gives up to max finished requests; waits up to timeout_ns for the first one.
 * Returns their number, or a negative errno. */
THERMO_API int thermo_poll(struct thermo_queue *queue, struct thermo_request **done, size_t max,
			   int64_t timeout_ns);
/* A descriptor that polls readable when thermo_poll would have something to do. It is the queue's. */
THERMO_API int thermo_event_fd(struct thermo_queue *queue);
/* OK: the request is the caller's again with status CANCELLED and had no effect. -EALREADY: it will
 * come out of thermo_poll. */
THERMO_API int thermo_cancel(struct thermo_queue *queue, struct thermo_request *request);

/* These keys will be asked for soon: cold and warm ones are brought to DRAM in the background, as
 * budgets allow. Keys are counted pointers; nothing is kept of them after the call. */
THERMO_API int thermo_hint(struct thermo_space *space, const void *const *keys,
			   const size_t *key_lens, size_t n);

/* ---- Iteration ---------------------------------------------------------------------------------- */

struct thermo_item {
	const void *key; /* valid until the next call on the iterator */
	size_t key_len;
	const void *value; /* NULL for a value that is stored in chunks, see thermo_get_ref */
	size_t value_len;
	uint64_t version;
	uint64_t expires_ms;
	enum thermo_tier tier;
};
/* Visits the keys that begin with prefix, in no order. Every key that is there from the first call to
 * the last is visited at least once; one that is written or moves between tiers meanwhile may be
 * visited twice. Does not count as an access and does not disturb what is hot. */
THERMO_API int thermo_iter_open(struct thermo_space *space, const void *prefix, size_t prefix_len,
				struct thermo_iter **iter);
THERMO_API int thermo_iter_next(struct thermo_iter *iter, struct thermo_item *item); /* MISS: end */
THERMO_API int thermo_iter_close(struct thermo_iter **iter);

/* ---- Running it --------------------------------------------------------------------------------- */

/* Changes a tier's cap while running. Shrinking moves or evicts what does not fit and returns when it
 * is done, or PENDING at timeout_ns (it goes on in the background). -EINVAL below the minimum or above
 * the tier's maximum. */
THERMO_API int thermo_resize(struct thermo *cache, enum thermo_tier tier, uint64_t bytes,
			     int64_t timeout_ns, struct thermo_error *error);
/* Empties the hot or warm tier to the one below and gives its memory back, while serving. The tier
 * takes records again after thermo_resize. DRAM keeps its oldest 8 MiB, in which puts go on. */
THERMO_API int thermo_drain(struct thermo *cache, enum thermo_tier tier, int64_t timeout_ns,
			    struct thermo_error *error);
/* One bounded piece of background work, for hosts that gave no thread: OK if something was done, MISS
 * if there is nothing to do. */
THERMO_API int thermo_work(struct thermo *cache);
/* Makes durable, synced, whatever was acknowledged so far in durable spaces. OK, PENDING at timeout_ns, or -EIO: the
 * log failed, and what it had not synced is lost with the process. */
THERMO_API int thermo_sync(struct thermo *cache, int64_t timeout_ns);
/* Waits until nothing is left to migrate, flush or compact: PENDING at timeout_ns. */
THERMO_API int thermo_settle(struct thermo *cache, int64_t timeout_ns);

#define THERMO_HISTOGRAM_BUCKETS 64
/* Bucket i counts values in [2^(i/2), 2^((i+1)/2)) nanoseconds, half powers of two. */
struct thermo_histogram {
	uint64_t count, sum, max;
	uint64_t bucket[THERMO_HISTOGRAM_BUCKETS];
};

struct thermo_tier_stats {
	uint64_t cap_bytes;      /* the hard cap */
	uint64_t used_bytes;     /* taken from the system under it, slack included */
	uint64_t record_bytes;   /* of records, dead ones not yet reclaimed included */
	uint64_t segments, segments_free;
	uint64_t pinned_bytes;
	uint64_t hits;
	uint64_t records_in, bytes_in;     /* moved or written in */
	uint64_t records_out, bytes_out;   /* moved out to another tier */
	uint64_t records_dropped, bytes_dropped; /* evicted: left the cache */
	uint64_t records_expired;
	uint64_t read_latency_ns; /* as measured or emulated, a record */
};

struct thermo_stats {
	uint32_t size;    /* in: sizeof of the caller's struct; out: bytes filled */
	uint32_t version; /* 1 */
	uint64_t gets, hits, misses, lost, errors, pending;
	uint64_t puts, deletes, conflicts, busy, no_space;
	struct thermo_tier_stats tier[THERMO_TIERS];
	uint64_t dram_cap_bytes, dram_used_bytes; /* all in: pool, index, filters, buffers, heap */
	uint64_t index_bytes, index_records, index_grown;
	uint64_t heap_bytes, filter_bytes, buffer_bytes, ghost_bytes;
	uint64_t promoted, demoted;       /* records between DRAM and warm */
	uint64_t cold_promoted, cold_demoted, cold_clean_dropped;
	uint64_t device_reads, device_read_bytes, device_writes, device_write_bytes;
	uint64_t cold_gets, cold_hits, filter_false_positives, cold_runs, cold_records, cold_tombstones;
	uint64_t cold_bytes, compactions, compaction_read_bytes, compaction_write_bytes;
	uint64_t put_wait_ns, stalls;     /* stalls: waits above 1 ms, all causes */
	uint64_t scrub_bytes, scrub_passes;
	uint64_t scrub_bad_blocks; /* blocks and sections of files in use that the last look found damaged */
	uint64_t scrub_oldest_ms;  /* since the file that waits longest was written or looked at */
	uint64_t scan_kept, scan_evicted, scan_dead;
	uint32_t placement_threshold;     /* least decayed frequency that earns DRAM */
	uint32_t emulated_warm;           /* 1: the warm tier is DRAM made slow */
	uint32_t uring;                   /* 1: io_uring; 0: pread threads */
	uint32_t huge_pages;              /* 1: asked for and granted where seen */
	uint32_t cold_failed;             /* 1: cold storage refuses writes; hot and warm go on */
	uint32_t _reserved;
	struct thermo_histogram wait;     /* waits above 1 ms */
	uint64_t help_max_ns; /* most CPU time of one call's help with reclaim, when it found no room */
	/* The log of durable spaces. */
	uint64_t log_bytes;               /* of its files */
	uint64_t log_appends, log_append_bytes;
	uint64_t log_writes, log_write_bytes, log_syncs;
	uint64_t log_replayed, log_torn;  /* at open: records brought back; torn tails, each cut off */
	uint64_t log_trimmed;             /* files */
	uint32_t log_failed;              /* 1: a write or sync failed: durable spaces are read-only */
	uint32_t _reserved2;
	uint64_t cold_point_reads; /* device reads of gets: without those of upkeep and scans */
};
/* A snapshot; the counters are exact once nothing runs. stats->size must be set. */
THERMO_API int thermo_stats(struct thermo *cache, struct thermo_stats *stats);
/* The same as JSON, with the notices of every fall-back. Returns the length without NUL that the whole
 * needs (as snprintf does), or a negative errno. */
THERMO_API int thermo_stats_json(struct thermo *cache, char *text, size_t capacity);

/* "OK", "miss", or strerror's text. */
THERMO_API const char *thermo_strerror(int status);
THERMO_API const char *thermo_version(void);

#ifdef __cplusplus
}
#endif
#endif
