/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics: one struct, and the same as JSON from one table of its fields. */
#include "tiers/cold/log.h"
#include "tiers/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define RELAXED(x) atomic_load_explicit(&(x), memory_order_relaxed)

static void memory_tier(struct thermo *c, unsigned tier, struct thermo_tier_stats *t)
{
	const struct pool *pool = &c->pool[tier];
	pthread_mutex_lock(&c->lock);
	t->cap_bytes = (uint64_t)pool->extents_target * EXTENT_BYTES;
	t->used_bytes = (uint64_t)pool->extents_present * EXTENT_BYTES;
	t->segments = (uint64_t)pool->extents_present * pool->per_extent;
	t->segments_free = pool->free.count + pool->limbo.count;
	for (uint32_t i = 0; i < pool->extents_high * pool->per_extent; i++) {
		const struct segment *s = &pool->segments[i];
		uint8_t state = atomic_load(&s->state);
		if (state == SEGMENT_OPEN || state == SEGMENT_SEALED || state == SEGMENT_SCANNING)
			t->record_bytes += RELAXED(s->used);
	}
	pthread_mutex_unlock(&c->lock);
	t->pinned_bytes = (uint64_t)RELAXED(pool->pinned_segments) << pool->segment_shift;
	t->records_dropped = RELAXED(c->dropped[tier]);
	t->bytes_dropped = RELAXED(c->dropped_bytes[tier]);
	t->records_expired = RELAXED(c->expired[tier]);
	t->read_latency_ns = pool->provider ? pool->provider->delay_ns : 0;
}

static void calls(struct thermo *c, struct thermo_stats *s)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		const struct shard *x = &c->shard[i];
		for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
			s->tier[tier].hits += RELAXED(x->hits[tier]);
		s->tier[THERMO_COLD].hits += RELAXED(x->cold_hits);
		s->misses += RELAXED(x->misses);
		s->lost += RELAXED(x->lost);
		s->errors += RELAXED(x->errors);
		s->pending += RELAXED(x->pending);
		s->puts += RELAXED(x->puts);
		s->deletes += RELAXED(x->deletes);
		s->conflicts += RELAXED(x->conflicts);
		s->busy += RELAXED(x->busy);
		s->no_space += RELAXED(x->no_space);
		s->put_wait_ns += RELAXED(x->put_wait_ns);
		s->stalls += RELAXED(x->stalls);
	}
	for (unsigned tier = 0; tier < THERMO_TIERS; tier++)
		s->hits += s->tier[tier].hits;
	s->gets = s->hits + s->misses + s->lost + s->errors + s->pending;
}

static void movement(struct thermo *c, struct thermo_stats *s)
{
	s->promoted = RELAXED(c->promoted);
	s->demoted = RELAXED(c->demoted);
	s->cold_promoted = RELAXED(c->cold_promoted);
	s->cold_demoted = RELAXED(c->cold_demoted);
	s->cold_clean_dropped = RELAXED(c->cold_clean_dropped);
	s->scan_kept = RELAXED(c->scan_kept);
	s->scan_evicted = RELAXED(c->scan_evicted);
	s->scan_dead = RELAXED(c->scan_dead);
	struct thermo_tier_stats *hot = &s->tier[THERMO_HOT], *warm = &s->tier[THERMO_WARM];
	hot->records_in = s->puts + s->promoted + s->cold_promoted;
	hot->records_out = s->demoted;
	hot->bytes_out = RELAXED(c->demoted_bytes) + RELAXED(c->demoted_cold_bytes[THERMO_HOT]);
	hot->bytes_in = RELAXED(c->promoted_bytes);
	warm->records_in = s->demoted;
	warm->records_out = s->promoted;
	warm->bytes_in = RELAXED(c->demoted_bytes);
	warm->bytes_out = RELAXED(c->promoted_bytes) + RELAXED(c->demoted_cold_bytes[THERMO_WARM]);
}

int thermo_stats(struct thermo *c, struct thermo_stats *out)
{
	if (!c || !out || out->size < 8)
		return -EINVAL;
	if (cache_forked(c))
		return -ECHILD;
	struct thermo_stats s = {.size = sizeof(s), .version = 1};
	calls(c, &s);
	for (unsigned tier = 0; tier < MEMORY_TIERS; tier++)
		if (c->pool[tier].segments)
			memory_tier(c, tier, &s.tier[tier]);
	movement(c, &s);
	s.dram_cap_bytes = RELAXED(c->budget.cap);
	s.dram_used_bytes = RELAXED(c->budget.used);
	s.index_bytes = index_bytes(c->index);
	s.index_records = index_records(c->index);
	s.index_grown = index_splits(c->index);
	s.heap_bytes = heap_used(c->heap);
	s.ghost_bytes = policy_ghost_bytes(c->policy);
	s.placement_threshold = policy_threshold(c->policy);
	s.emulated_warm = c->warm && c->warm->emulated;
	s.huge_pages = c->pool[THERMO_HOT].provider->huge;
	s.cold_failed = RELAXED(c->cold_failed) != 0;
	if (c->cold) {
		s.buffer_bytes = RELAXED(c->cold_budget.used);
		cold_stats(c->cold, &s);
		log_stats(c->log, &s);
		struct thermo_tier_stats *cold = &s.tier[THERMO_COLD];
		cold->cap_bytes = c->options.cold_bytes;
		cold->used_bytes = cold->record_bytes = s.cold_bytes;
		cold->records_in = s.cold_demoted;
		cold->records_out = s.cold_promoted;
	}
	for (unsigned i = 0; i < THERMO_HISTOGRAM_BUCKETS; i++) {
		s.wait.bucket[i] = RELAXED(c->wait.bucket[i]);
		s.wait.count += s.wait.bucket[i];
	}
	s.help_max_ns = RELAXED(c->help_max_ns);
	s.wait.sum = RELAXED(c->wait.sum);
	s.wait.max = RELAXED(c->wait.max);
	uint32_t size = out->size < sizeof(s) ? out->size : (uint32_t)sizeof(s);
	s.size = size;
	memcpy(out, &s, size);
	return 0;
}

/* ---- JSON ---- */

struct field {
	const char *name;
	size_t offset;
	uint8_t bytes;
};

#define FIELD(type, member) {#member, offsetof(struct type, member), sizeof(((struct type *)0)->member)}
#define STAT(member) FIELD(thermo_stats, member)
#define TIER(member) FIELD(thermo_tier_stats, member)

static const struct field stat_fields[] = {
	STAT(version), STAT(gets), STAT(hits), STAT(misses), STAT(lost), STAT(errors), STAT(pending),
	STAT(puts), STAT(deletes), STAT(conflicts), STAT(busy), STAT(no_space),
	STAT(dram_cap_bytes), STAT(dram_used_bytes), STAT(index_bytes), STAT(index_records),
	STAT(index_grown), STAT(heap_bytes), STAT(filter_bytes),
	STAT(buffer_bytes), STAT(ghost_bytes), STAT(promoted), STAT(demoted), STAT(cold_promoted),
	STAT(cold_demoted), STAT(cold_clean_dropped), STAT(device_reads), STAT(device_read_bytes),
	STAT(device_writes), STAT(device_write_bytes), STAT(cold_gets), STAT(cold_hits),
	STAT(cold_point_reads),
	STAT(filter_false_positives), STAT(cold_runs), STAT(cold_records), STAT(cold_tombstones),
	STAT(cold_bytes), STAT(compactions), STAT(compaction_read_bytes),
	STAT(compaction_write_bytes), STAT(scrub_bytes), STAT(scrub_passes), STAT(scrub_bad_blocks),
	STAT(scrub_oldest_ms), STAT(put_wait_ns), STAT(stalls), STAT(help_max_ns), STAT(scan_kept),
	STAT(scan_evicted), STAT(scan_dead), STAT(placement_threshold), STAT(emulated_warm),
	STAT(uring), STAT(huge_pages), STAT(cold_failed),
	STAT(log_bytes), STAT(log_appends), STAT(log_append_bytes), STAT(log_writes),
	STAT(log_write_bytes), STAT(log_syncs), STAT(log_replayed), STAT(log_torn),
	STAT(log_trimmed), STAT(log_failed),
};

static const struct field tier_fields[] = {
	TIER(cap_bytes), TIER(used_bytes), TIER(record_bytes), TIER(segments), TIER(segments_free),
	TIER(pinned_bytes), TIER(hits), TIER(records_in), TIER(bytes_in), TIER(records_out),
	TIER(bytes_out), TIER(records_dropped), TIER(bytes_dropped), TIER(records_expired),
	TIER(read_latency_ns),
};

struct text {
	char *at;
	size_t left, len;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(t->left ? t->at : NULL, t->left, format, arguments);
	va_end(arguments);
	if (n < 0)
		return;
	t->len += (size_t)n;
	size_t step = (size_t)n < t->left ? (size_t)n : t->left;
	if (t->left) {
		t->at += step;
		t->left -= step;
	}
}

static void put_fields(struct text *t, const struct field *fields, size_t n, const void *from)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 0;
		memcpy(&value, (const char *)from + fields[i].offset, fields[i].bytes);
		put(t, "%s\"%s\":%" PRIu64, i ? "," : "", fields[i].name, value);
	}
}

static void put_string(struct text *t, const char *s, size_t n)
{
	put(t, "\"");
	for (size_t i = 0; i < n; i++) {
		unsigned char ch = (unsigned char)s[i];
		if (ch == '"' || ch == '\\')
			put(t, "\\%c", ch);
		else if (ch < 0x20)
			put(t, "\\u%04x", ch);
		else
			put(t, "%c", ch);
	}
	put(t, "\"");
}

int thermo_stats_json(struct thermo *c, char *text, size_t capacity)
{
	static const char *const names[THERMO_TIERS] = {"hot", "warm", "cold"};
	struct thermo_stats s = {.size = sizeof(s)};
	int rc = thermo_stats(c, &s);
	if (rc)
		return rc;
	if (capacity && !text)
		return -EINVAL;
	struct text t = {text, capacity, 0};
	put(&t, "{");
	put_fields(&t, stat_fields, sizeof(stat_fields) / sizeof(stat_fields[0]), &s);
	put(&t, ",\"tiers\":{");
	for (unsigned tier = 0; tier < THERMO_TIERS; tier++) {
		put(&t, "%s\"%s\":{", tier ? "," : "", names[tier]);
		put_fields(&t, tier_fields, sizeof(tier_fields) / sizeof(tier_fields[0]),
			   &s.tier[tier]);
		put(&t, "}");
	}
	put(&t, "},\"wait\":{\"count\":%" PRIu64 ",\"sum_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64 "}",
	    s.wait.count, s.wait.sum, s.wait.max);
	put(&t, ",\"notices\":[");
	bool first = true;
	for (const char *p = c->notices; *p;) {
		size_t n = strcspn(p, "\n");
		put(&t, "%s", first ? "" : ",");
		put_string(&t, p, n);
		first = false;
		p += n + (p[n] == '\n');
	}
	put(&t, "]}");
	return (int)t.len;
}

const char *thermo_strerror(int status)
{
	static const char *const outcomes[] = {
		"OK",       "miss",     "pending",   "lost",
		"too many bytes are pinned", "busy: no room just now", "conflict: another version",
		"truncated: the buffer is too small", "cancelled",
	};
	if (status >= 0)
		return (size_t)status < sizeof(outcomes) / sizeof(outcomes[0]) ? outcomes[status]
									       : "unknown outcome";
	return strerror(-status);
}

const char *thermo_version(void)
{
	return THERMO_VERSION;
}
