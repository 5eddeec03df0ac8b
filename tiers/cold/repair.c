/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repair: what a damaged segment still has goes to a new one, and what it may have had becomes a hole.
 *
 *   segment of the manifest -> sound: as it is
 *                           -> damaged: block by block, by its fences where they are sound, else by trying every
 *                              page; readable records -> a new segment; between two readable records
 *                              with something unreadable in between -> a hole
 *                           -> missing: a hole from the segment before it to the one after it
 *
 * A hole says: versions with numbers below below_seq may have been here. A look-up that finds none that is
 * newer answers -EIO (set_lost). It goes with the space, and is passed over by what is written later.
 */
#include "tiers/cold/tier.h"

#include "alloc/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct salvage {
	struct cold *cold;
	struct cold_segment *segment; /* what is left of the damaged one */
	struct point from;            /* records before it do not count */
	uint8_t *buffer;              /* memory_alloc(IO_LENGTH_MAX) */
	uint8_t *scratch;             /* memory_alloc(BLOCK_RAW_MAX) */
	void *decoder_memory;
	struct block_decoder decoder;
	struct block_cursor cursor;
	struct point last;            /* of the records that were read */
	bool any;                     /* there was one; else `last` is the neighbour's */
	bool gap;                     /* something unreadable came since */
	uint64_t below_seq;
	uint64_t records, blocks_lost;
};

/* ---- Holes ---- */

static struct point after_point(struct point point)
{
	if (++point.hash == 0)
		point.space++;
	return point;
}

static struct point before_point(struct point point)
{
	if (point.hash-- == 0)
		point.space--;
	return point;
}

/* Between the two, which are known to be there (or are POINT_FIRST, POINT_END). */
static int add_hole(struct cold *cold, struct point last, bool any, struct point next,
		    uint64_t below_seq)
{
	struct manifest *manifest = &cold->manifest;
	struct point from = any ? after_point(last) : last;
	struct point to = next.space == 256 ? next : before_point(next);
	if (point_before(to, from))
		return 0;
	uint32_t n = manifest->n_holes;
	struct manifest_hole *holes = memory_alloc(&cold->memory, (n + 1) * sizeof(*holes));
	if (!holes)
		return -ENOMEM;
	if (n) {
		memcpy(holes, manifest->holes, n * sizeof(*holes));
		memory_free(&cold->memory, manifest->holes, n * sizeof(*holes));
	}
	holes[n] = (struct manifest_hole){ .from_hash = from.hash,
					   .to_hash = to.hash,
					   .below_seq = below_seq,
					   .from_space = (uint16_t)from.space,
					   .to_space = (uint16_t)to.space };
	manifest->holes = holes;
	manifest->n_holes = n + 1;
	cold->repair->holes++;
	cold_say(cold, "  hole: hashes from %u:%016" PRIx64 " to %u:%016" PRIx64
		       ", versions below %" PRIu64 " (space:hash)",
		 from.space, from.hash, to.space, to.hash, below_seq);
	return 0;
}

/* ---- Blocks ---- */

/* Stands on the first record of the block at `start`, which ends before `end`. *bytes: what it takes. */
static int open_block(struct salvage *salvage, uint64_t start, uint64_t end, uint64_t *bytes)
{
	struct block_header header;
	const uint8_t *payload;
	uint64_t page = start & ~(uint64_t)(FORMAT_PAGE - 1);
	uint64_t length = end - start < BLOCK_MAX ? end - start : BLOCK_MAX;
	uint64_t whole = (start + length - page + FORMAT_PAGE - 1) & ~(uint64_t)(FORMAT_PAGE - 1);
	const uint8_t *at = salvage->buffer + (start - page);
	if (whole > IO_LENGTH_MAX)
		return -EILSEQ;
	int status = file_read(&salvage->segment->file, salvage->buffer, whole, page);
	if (status)
		memset(salvage->buffer, 0xff, FORMAT_PAGE); /* no padding */
	else
		status = block_check(at, length, salvage->segment->number, start, &header);
	if (!status)
		status = block_unpack(&salvage->decoder, &header, at, salvage->scratch, BLOCK_RAW_MAX,
				      &payload);
	if (!status)
		status = block_first(&salvage->cursor, payload, header.raw, header.records);
	if (!status)
		*bytes = sizeof(header) + header.stored;
	return status;
}

static int take_record(struct salvage *salvage, struct point point)
{
	struct cold *cold = salvage->cold;
	const struct block_cursor *cursor = &salvage->cursor;
	struct block_item item = { cursor->ident.bytes, cursor->value, cursor->ident.len,
				   cursor->value_len,   cursor->flags, cursor->seq,
				   cursor->expires_ms };
	int status = 0;
	if (salvage->gap)
		status = add_hole(cold, salvage->last, salvage->any, point, salvage->below_seq);
	salvage->gap = false;
	salvage->any = true;
	salvage->last = point;
	salvage->records++;
	if (status || cold->repair->dry_run)
		return status;
	if (!cold_build_started(cold->build))
		status = cold_build_start(cold->build, true, true);
	return status ? status : cold_build_add(cold->build, &item, point.hash);
}

/* The records of an opened block. What is wrong inside a block that passed its check is a gap like another. */
static int take_block(struct salvage *salvage)
{
	int status;
	while ((status = block_next(&salvage->cursor)) == THERMO_OK) {
		struct point point = { ident_hash(&salvage->cursor.ident),
				       salvage->cursor.ident.bytes[0] };
		if (point_before(point, salvage->from))
			continue;
		if (salvage->any && point_before(point, salvage->last)) {
			status = -EILSEQ;
			break;
		}
		status = take_record(salvage, point);
		if (status)
			return status;
	}
	if (status < 0) {
		salvage->gap = true;
		salvage->blocks_lost++;
	}
	return 0;
}

static int by_fences(struct salvage *salvage)
{
	const struct fences *fences = &salvage->segment->fences;
	int status = 0;
	for (uint32_t i = fence_seek(fences, salvage->from); i < fences->blocks && !status; i++) {
		struct fence_place place = fence_place(fences, i);
		uint64_t bytes;
		int bad = open_block(salvage, place.start, place.end, &bytes);
		if (bad == -ENOMEM)
			return bad;
		salvage->gap |= bad != 0;
		salvage->blocks_lost += bad != 0;
		if (!bad)
			status = take_block(salvage);
	}
	return status;
}

/* Without fences: a block follows a block, or begins a page. */
static int by_trying(struct salvage *salvage, uint64_t end)
{
	uint64_t at = sizeof(struct segment_header), bytes;
	int status = 0;
	while (at + sizeof(struct block_header) < end && !status) {
		if (!open_block(salvage, at, end, &bytes)) {
			status = take_block(salvage);
			at += bytes;
			continue;
		}
		uint64_t page = at & ~(uint64_t)(FORMAT_PAGE - 1), in_page = at - page;
		uint8_t zeroes[FORMAT_PAGE] = { 0 };
		/* Blocks are followed by zeroes up to the page's end. */
		bool padding = in_page && !memcmp(salvage->buffer + in_page, zeroes, FORMAT_PAGE - in_page);
		salvage->gap |= !padding;
		salvage->blocks_lost += !padding;
		at = page + FORMAT_PAGE;
	}
	return status;
}

/* ---- A segment ---- */

static int salvage_open(struct salvage *salvage)
{
	struct memory *memory = &salvage->cold->memory;
	salvage->buffer = memory_alloc(memory, IO_LENGTH_MAX);
	salvage->scratch = memory_alloc(memory, BLOCK_RAW_MAX);
	salvage->decoder_memory = memory_alloc(memory, block_decoder_bytes());
	if (!salvage->buffer || !salvage->scratch || !salvage->decoder_memory)
		return -ENOMEM;
	return block_decoder_init(&salvage->decoder, salvage->decoder_memory, block_decoder_bytes());
}

static void salvage_close(struct salvage *salvage)
{
	struct memory *memory = &salvage->cold->memory;
	memory_free(memory, salvage->buffer, IO_LENGTH_MAX);
	memory_free(memory, salvage->scratch, BLOCK_RAW_MAX);
	memory_free(memory, salvage->decoder_memory, block_decoder_bytes());
}

/* Bytes of the file, or 0. */
static uint64_t file_length(const struct cold_segment *segment)
{
	struct file_stat stat;
	return file_stat(&segment->file, &stat) ? 0 : stat.bytes;
}

/* Reads what there is of the damaged segment, and ends what is built of it. */
static int salvage_all(struct salvage *salvage, bool footer_good, bool fences_good,
		       struct point after, struct cold_segment **segment)
{
	struct cold *cold = salvage->cold;
	uint64_t end = footer_good ? salvage->segment->footer.data_end : file_length(salvage->segment);
	int status = salvage_open(salvage);
	if (!status)
		status = fences_good ? by_fences(salvage) : by_trying(salvage, end);
	/* Where the blocks end is known, or nothing after the last one that was read is. */
	salvage->gap |= !footer_good && !fences_good;
	if (!status && salvage->gap)
		status = add_hole(cold, salvage->last, salvage->any, after, salvage->below_seq);
	if (!status && cold_build_started(cold->build))
		status = cold_build_finish(cold->build, segment);
	if (status)
		cold_build_abort(cold->build);
	salvage_close(salvage);
	return status;
}

static int repair_damaged(struct cold *cold, const struct manifest_segment *entry, struct point from,
			  struct point before, struct point after, struct cold_segment **segment)
{
	struct salvage salvage = { .cold = cold, .from = from };
	bool footer_good, fences_good;
	salvage.below_seq = cold->manifest.max_seq + 1;
	salvage.last = point_before(before, from) ? from : before;
	/* The segment before it ends with a record; a run's beginning is no record. */
	salvage.any = before.hash || before.space;
	int status = cold_segment_open_damaged(cold, entry, &salvage.segment, &footer_good,
					       &fences_good);
	if (status == -ENOENT) {
		cold->repair->missing++;
		return add_hole(cold, salvage.last, salvage.any, after, salvage.below_seq);
	}
	if (status)
		return status;
	if (footer_good)
		salvage.below_seq = salvage.segment->footer.max_seq + 1;
	status = salvage_all(&salvage, footer_good, fences_good, after, segment);
	cold->repair->records_salvaged += salvage.records;
	cold->repair->blocks_lost += salvage.blocks_lost;
	cold_say(cold, "  %" PRIu64 " records %s salvaged, %" PRIu64 " blocks lost", salvage.records,
		 cold->repair->dry_run ? "can be" : "were", salvage.blocks_lost);
	cold_segment_free(cold, salvage.segment);
	return status;
}

/* Is all that counts of an opened segment readable? */
static int check_blocks(struct cold *cold, struct cold_segment *segment, struct point from)
{
	struct salvage salvage = { .cold = cold, .segment = segment, .from = from };
	int status = salvage_open(&salvage);
	uint32_t block = fence_seek(&segment->fences, from);
	for (; block < segment->fences.blocks && !status; block++) {
		struct fence_place place = fence_place(&segment->fences, block);
		uint64_t bytes;
		status = open_block(&salvage, place.start, place.end, &bytes);
		while (!status)
			status = block_next(&salvage.cursor);
		status = status == THERMO_MISS ? 0 : status;
	}
	salvage_close(&salvage);
	return status;
}

int repair_segment(struct cold *cold, const struct manifest_segment *entry, struct point from,
		   struct point before, struct point after, struct cold_segment **segment,
		   struct thermo_error *error)
{
	struct thermo_error why = { .text = "" };
	cold->repair->segments++;
	int status = cold_segment_open(cold, entry, segment, &why);
	if (!status && (check_blocks(cold, *segment, from) ||
			(!point_before((*segment)->first, from) &&
			 cold_segment_verify(cold, *segment, &why)))) {
		if (!why.text[0])
			snprintf(why.text, sizeof(why.text), "%s/%016" PRIx64 ".seg: its records are damaged",
				 cold->dir.name, entry->number);
		cold_segment_free(cold, *segment);
		*segment = NULL;
		status = -EILSEQ;
	}
	if (status != -EILSEQ && status != -EIO)
		return status ? error_set(error, status, "%s", why.text) : 0;
	cold->repair->damaged++;
	char *advice = strchr(why.text, ';');
	if (advice)
		*advice = 0;
	cold_say(cold, "%s", why.text);
	status = repair_damaged(cold, entry, from, before, after, segment);
	if (status)
		return error_set(error, status, "%s/%016" PRIx64 ".seg: it cannot be repaired (%s)",
				 cold->dir.name, entry->number, strerrordesc_np(-status));
	return 0;
}

/* ---- The directory ---- */

static bool still_named(const struct run_set *set, uint64_t number)
{
	for (uint32_t i = 0; i < set->n; i++)
		for (uint32_t k = 0; k < set->runs[i]->n; k++)
			if (set->runs[i]->segment[k]->number == number)
				return true;
	return false;
}

int repair_save(struct cold *cold)
{
	const struct run_set *set = atomic_load(&cold->set);
	pthread_mutex_lock(&cold->edit);
	int status = set_save(cold);
	pthread_mutex_unlock(&cold->edit);
	for (uint32_t i = 0; i < cold->manifest.n_segments && !status; i++) {
		char name[SEGMENT_NAME_BYTES], bad[SEGMENT_NAME_BYTES + 4];
		uint64_t number = cold->manifest.segments[i].number;
		if (still_named(set, number))
			continue;
		cold_segment_name(number, name);
		snprintf(bad, sizeof(bad), "%s.bad", name);
		/* It is not needed any more, whatever comes of this. */
		if (!file_rename(&cold->dir, name, bad))
			cold_say(cold, "%s: renamed to %s", name, bad);
	}
	return status ? status : file_sync(&cold->dir);
}
