/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scrub: reads every file again, a piece at a time, and compares it with its checksums, so that damage is
 * known before somebody asks for what it took.
 *
 * A pass goes through the segments by number, from one chosen by the clock (a process that is often started
 * again does not always look at the same ones), and round. It has scrub_ms for it: a piece is due when less
 * has been read than that share of the pass's time. Reads go past the page cache where the file system lets
 * them, into a buffer of the scrub's own; nothing is decoded and nothing promoted.
 *
 * What is looked at of a segment: the blocks that count, each by its crc32c; if nothing was given back to the file
 * system, all bytes by data_hash; filter, fences and spaces by their hashes; the footer by what the
 * manifest says. A merge may take away what is being read: what seems bad is looked at once more with the
 * present set before it is believed.
 */
#include "tiers/cold/tier.h"

#include "alloc/check.h"

#define XXH_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#include <errno.h>
#include <inttypes.h>
#include <xxhash.h>

#define BUFFER_BYTES (FORMAT_PIECE + IO_LENGTH_MAX) /* a piece, and one long block */
#define PAUSE_MS 1000u                              /* after an error */

enum scrub_part { PART_DATA, PART_FILTER, PART_FENCES, PART_SPACES, PART_FOOTER, PARTS };

struct scrub {
	pthread_mutex_t lock;         /* only ever tried */
	/* under lock */
	struct cold_segment *segment; /* a reference, or NULL: the next one is to be chosen */
	uint8_t *buffer;              /* memory_alloc(BUFFER_BYTES) while there is a segment */
	enum scrub_part part;
	uint64_t at;                  /* of the part */
	uint64_t data_hash;
	XXH3_state_t section_hash;
	uint32_t block;               /* the next one to be checked */
	bool whole;                   /* nothing was given back before it began */
	uint32_t bad;                 /* found in this segment */
	uint64_t last_number;         /* of the segment that was scrubbed last */
	uint64_t first_number;        /* where the pass began */
	uint64_t end_number;          /* files from there on are younger than the pass: the next one's */
	bool begun, wrapped;          /* the pass has its numbers; it is round the end */
	uint64_t began_ms, pass_bytes, retry_ms;
};

int scrub_open(struct cold *cold)
{
	if (!cold->scrub_ms)
		return 0;
	struct scrub *scrub = memory_alloc(&cold->memory, sizeof(*scrub));
	if (!scrub)
		return -ENOMEM;
	pthread_mutex_init(&scrub->lock, NULL);
	scrub->began_ms = cold->clock_ms(cold->clock_context);
	/* Any number there is: numbers are given out one by one. */
	uint64_t numbers = atomic_load(&cold->next_number);
	scrub->last_number = XXH3_64bits(&scrub->began_ms, 8) % (numbers ? numbers : 1);
	cold->scrub = scrub;
	return 0;
}

static void leave_segment(struct cold *cold, struct scrub *scrub)
{
	if (scrub->segment)
		cold_segment_unref(cold, scrub->segment);
	memory_free(&cold->memory, scrub->buffer, BUFFER_BYTES);
	scrub->segment = NULL;
	scrub->buffer = NULL;
}

void scrub_close(struct cold *cold)
{
	struct scrub *scrub = cold->scrub;
	if (!scrub)
		return;
	leave_segment(cold, scrub);
	pthread_mutex_destroy(&scrub->lock);
	memory_free(&cold->memory, scrub, sizeof(*scrub));
	cold->scrub = NULL;
}

/* ---- Which segment ---- */

/* The segment with the least number in (after, end), and its run; NULL: none. */
static struct cold_segment *next_segment(const struct run_set *set, uint64_t after, uint64_t end,
					 const struct run **run)
{
	struct cold_segment *best = NULL;
	for (uint32_t i = 0; i < set->n; i++) {
		for (uint32_t k = 0; k < set->runs[i]->n; k++) {
			struct cold_segment *segment = set->runs[i]->segment[k];
			if (segment->number <= after || segment->number >= end ||
			    (best && segment->number >= best->number))
				continue;
			best = segment;
			*run = set->runs[i];
		}
	}
	return best;
}

/* Bytes of all segments. */
static uint64_t all_bytes(const struct run_set *set)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < set->n; i++)
		bytes += set->runs[i]->bytes;
	return bytes;
}

static void end_pass(struct cold *cold, struct scrub *scrub)
{
	count(&cold->counters.scrub_passes, 1);
	scrub->begun = scrub->wrapped = false;
	scrub->pass_bytes = 0;
	scrub->began_ms += cold->scrub_ms;
	uint64_t now = cold->clock_ms(cold->clock_context);
	if (scrub->began_ms + cold->scrub_ms < now) /* it took too long: no race to catch up */
		scrub->began_ms = now;
}

/* Chooses the next segment. false: there is none, or the pass is through. */
static bool choose_segment(struct cold *cold, struct scrub *scrub, const struct run_set *set)
{
	const struct run *run = NULL;
	if (!scrub->begun) {
		scrub->begun = true;
		scrub->first_number = scrub->last_number;
		scrub->end_number = atomic_load(&cold->next_number);
	}
	struct cold_segment *segment =
		next_segment(set, scrub->last_number, scrub->end_number, &run);
	if (!segment && !scrub->wrapped) {
		scrub->wrapped = true;
		scrub->last_number = 0;
		segment = next_segment(set, 0, scrub->end_number, &run);
	}
	bool through = !segment || (scrub->wrapped && segment->number > scrub->first_number);
	if (through) {
		if (set->n)
			end_pass(cold, scrub);
		return false;
	}
	scrub->buffer = memory_alloc(&cold->memory, BUFFER_BYTES);
	if (!scrub->buffer)
		return false;
	atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
	scrub->segment = segment;
	scrub->last_number = segment->number;
	scrub->part = PART_DATA;
	scrub->at = scrub->data_hash = 0;
	scrub->block = scrub->bad = 0;
	scrub->whole = !point_before(segment->first, run->from);
	return true;
}

/* ---- What is bad ---- */

/* The first block of the segment that counts now; its number of blocks if none does. */
static uint32_t first_that_counts(struct cold *cold, const struct cold_segment *segment)
{
	struct run_set *set = set_pin(cold);
	uint32_t first = segment->fences.blocks;
	for (uint32_t i = 0; i < set->n; i++)
		for (uint32_t k = 0; k < set->runs[i]->n; k++)
			if (set->runs[i]->segment[k] == segment)
				first = fence_seek(&segment->fences, set->runs[i]->from);
	set_unpin(cold, set);
	return first;
}

static const struct segment_space *space_of(const struct cold_segment *segment, uint32_t block)
{
	const struct segment_space *space = segment->spaces;
	for (uint32_t i = 1; i < segment->fences.n_spaces; i++)
		if (segment->spaces[i].first_block <= block)
			space = &segment->spaces[i];
	return space;
}

static void report_block(struct cold *cold, struct scrub *scrub, uint32_t block)
{
	struct cold_segment *segment = scrub->segment;
	struct fence_place place = fence_place(&segment->fences, block);
	if (block < first_that_counts(cold, segment))
		return;
	if (!scrub->bad++ && !atomic_load(&segment->scrub_bad))
		cold_say(cold, "cold tier %s: %016" PRIx64 ".seg: the block at byte %" PRIu64
			       " is damaged; keys of space %u that it held are lost: close the cache, and "
			       "see `thermo inspect --verify` and `thermo repair`",
			 cold->dir.name, segment->number, place.start,
			 space_of(segment, block)->space);
}

static void report_part(struct cold *cold, struct scrub *scrub, const char *what)
{
	struct cold_segment *segment = scrub->segment;
	if (first_that_counts(cold, segment) == segment->fences.blocks)
		return; /* it goes anyway */
	if (!scrub->bad++ && !atomic_load(&segment->scrub_bad))
		cold_say(cold, "cold tier %s: %016" PRIx64 ".seg: %s: close the cache, and see `thermo "
			       "inspect --verify` and `thermo repair`",
			 cold->dir.name, segment->number, what);
}

/* ---- Pieces ---- */

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + FORMAT_PAGE - 1) & ~(uint64_t)(FORMAT_PAGE - 1);
}

static int read_bytes(struct cold *cold, struct scrub *scrub, uint8_t *to, uint64_t at, size_t bytes)
{
	int status = file_read(&scrub->segment->file, to, bytes, at);
	count(&cold->counters.scrub_bytes, bytes);
	scrub->pass_bytes += bytes;
	return status;
}

/* One block, from the piece that is in the buffer or, where it goes beyond, from the file. */
static int check_block(struct cold *cold, struct scrub *scrub, uint32_t block, uint64_t from,
		       uint64_t to)
{
	struct cold_segment *segment = scrub->segment;
	struct fence_place place = fence_place(&segment->fences, block);
	struct block_header header;
	uint64_t length = place.end - place.start < BLOCK_MAX ? place.end - place.start : BLOCK_MAX;
	const uint8_t *bytes = scrub->buffer + (place.start - from);
	if (place.start + length > to) {
		uint64_t first = place.start & ~(uint64_t)(FORMAT_PAGE - 1);
		uint8_t *more = scrub->buffer + FORMAT_PIECE;
		int status = read_bytes(cold, scrub, more, first,
					page_up(place.start + length) - first);
		if (status)
			return status;
		bytes = more + (place.start - first);
	}
	return block_check(bytes, length, segment->number, place.start, &header);
}

/* A piece of the blocks. An error of the device counts like damage: those bytes are not to be had. */
static void step_data(struct cold *cold, struct scrub *scrub)
{
	struct cold_segment *segment = scrub->segment;
	uint64_t end = segment->footer.data_end, from = scrub->at;
	uint64_t to = end - from < FORMAT_PIECE ? end : from + FORMAT_PIECE;
	int status = read_bytes(cold, scrub, scrub->buffer, from, page_up(to) - from);
	if (status)
		scrub->whole = false;
	else
		scrub->data_hash = XXH3_64bits_withSeed(scrub->buffer, to - from, scrub->data_hash);
	uint32_t counts = first_that_counts(cold, segment);
	for (; scrub->block < segment->fences.blocks; scrub->block++) {
		uint64_t start = segment->fences.start[scrub->block];
		if (start >= to)
			break;
		if (scrub->block >= counts &&
		    (status || check_block(cold, scrub, scrub->block, from, to)))
			report_block(cold, scrub, scrub->block);
	}
	scrub->at = to;
	if (to < end)
		return;
	pthread_mutex_lock(&cold->edit);
	scrub->whole &= !segment->punched;
	pthread_mutex_unlock(&cold->edit);
	/* Between the blocks: damage that took no record is damage all the same. */
	if (scrub->whole && !scrub->bad && scrub->data_hash != segment->footer.data_hash)
		report_part(cold, scrub, "its bytes have changed, though not those of a block");
}

static void step_section(struct cold *cold, struct scrub *scrub, const struct format_section *section,
			 const char *damaged)
{
	if (!scrub->at)
		XXH3_64bits_reset(&scrub->section_hash);
	uint64_t left = section->bytes - scrub->at;
	size_t n = left < FORMAT_PIECE ? left : FORMAT_PIECE;
	int status = n ? read_bytes(cold, scrub, scrub->buffer, section->at + scrub->at, page_up(n)) : 0;
	if (!status)
		XXH3_64bits_update(&scrub->section_hash, scrub->buffer, n);
	scrub->at += n;
	if (status || (scrub->at == section->bytes &&
		       XXH3_64bits_digest(&scrub->section_hash) != section->hash)) {
		scrub->at = section->bytes;
		report_part(cold, scrub, damaged);
	}
}

static void step_footer(struct cold *cold, struct scrub *scrub)
{
	const struct cold_segment *segment = scrub->segment;
	uint64_t hash, at = segment->file_bytes - FORMAT_PAGE;
	int status = read_bytes(cold, scrub, scrub->buffer, at, FORMAT_PAGE);
	memcpy(&hash, scrub->buffer + FORMAT_PAGE - sizeof(hash), sizeof(hash));
	if (status || hash != segment->footer_hash ||
	    XXH3_64bits(scrub->buffer, FORMAT_PAGE - sizeof(hash)) != hash)
		report_part(cold, scrub, "its footer is damaged");
}

/* One piece of the segment in hand; at its end it is left. */
static void step(struct cold *cold, struct scrub *scrub)
{
	struct cold_segment *segment = scrub->segment;
	const struct segment_footer *footer = &segment->footer;
	uint64_t end = 0;
	switch (scrub->part) {
	case PART_DATA:
		step_data(cold, scrub);
		end = footer->data_end;
		break;
	case PART_FILTER:
		step_section(cold, scrub, &footer->filter, "its filter is damaged");
		end = footer->filter.bytes;
		break;
	case PART_FENCES:
		step_section(cold, scrub, &footer->fence, "its fences are damaged");
		end = footer->fence.bytes;
		break;
	case PART_SPACES:
		step_section(cold, scrub, &footer->spaces, "its list of spaces is damaged");
		end = footer->spaces.bytes;
		break;
	default:
		step_footer(cold, scrub);
	}
	if (scrub->at < end)
		return;
	scrub->at = 0;
	if (++scrub->part < PARTS)
		return;
	atomic_store(&segment->scrub_bad, scrub->bad);
	atomic_store(&segment->scrubbed_ms, cold->clock_ms(cold->clock_context));
	leave_segment(cold, scrub);
}

/* Is a piece due? Bytes read in this pass against the share of its time. */
static bool due(struct cold *cold, const struct scrub *scrub, const struct run_set *set)
{
	uint64_t now = cold->clock_ms(cold->clock_context);
	uint64_t passed = now > scrub->began_ms ? now - scrub->began_ms : 0;
	if (now < scrub->retry_ms || !passed)
		return false;
	double share = (double)passed / (double)cold->scrub_ms;
	return (double)scrub->pass_bytes < share * (double)all_bytes(set);
}

int scrub_step(struct cold *cold)
{
	struct scrub *scrub = cold->scrub;
	int status = THERMO_MISS;
	if (!scrub || pthread_mutex_trylock(&scrub->lock))
		return status;
	struct run_set *set = set_pin(cold);
	if (due(cold, scrub, set)) {
		bool some = scrub->segment || choose_segment(cold, scrub, set);
		if (some) {
			step(cold, scrub);
			status = THERMO_OK;
		} else {
			scrub->retry_ms = cold->clock_ms(cold->clock_context) + PAUSE_MS;
		}
	}
	set_unpin(cold, set);
	pthread_mutex_unlock(&scrub->lock);
	return status;
}

void scrub_stats(struct cold *cold, struct thermo_stats *stats)
{
	uint64_t now = cold->clock_ms(cold->clock_context), oldest = now;
	struct run_set *set = set_pin(cold);
	stats->scrub_bad_blocks = 0;
	for (uint32_t i = 0; i < set->n; i++) {
		for (uint32_t k = 0; k < set->runs[i]->n; k++) {
			struct cold_segment *segment = set->runs[i]->segment[k];
			uint64_t when = atomic_load(&segment->scrubbed_ms);
			when = when ? when : segment->footer.created_ms;
			oldest = when < oldest ? when : oldest;
			stats->scrub_bad_blocks += atomic_load(&segment->scrub_bad);
		}
	}
	set_unpin(cold, set);
	stats->scrub_oldest_ms = now - oldest;
	stats->scrub_bytes = atomic_load_explicit(&cold->counters.scrub_bytes, memory_order_relaxed);
	stats->scrub_passes = atomic_load_explicit(&cold->counters.scrub_passes, memory_order_relaxed);
}
