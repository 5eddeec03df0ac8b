/* SPDX-License-Identifier: Apache-2.0 */
/* Iterators over runs: see merge.h. */
#include "tiers/cold/merge.h"

#include "alloc/budget.h"
#include "alloc/check.h"

#include <errno.h>

/* ---- One run ---- */

static void iter_close(struct run_iter *iter)
{
	if (!iter)
		return;
	struct memory *memory = &iter->cold->memory;
	for (uint32_t i = iter->segment ? iter->next_segment - 1 : iter->next_segment; i < iter->n; i++)
		cold_segment_unref(iter->cold, iter->segments[i]);
	memory_free(memory, iter->segments, iter->n * sizeof(iter->segments[0]));
	if (iter->own_buffer)
		memory_free(memory, iter->buffer, iter->room);
	if (iter->own_scratch)
		memory_free(memory, iter->scratch, iter->scratch_room);
	memory_free(memory, iter, sizeof(*iter));
}

/* slab: its part of the merge's, a buffer of `ahead` bytes and a scratch. */
static struct run_iter *iter_open(struct cold *cold, const struct run *run, struct point start,
				  uint8_t *slab, size_t ahead)
{
	struct run_iter *iter = memory_alloc(&cold->memory, sizeof(*iter));
	if (!iter)
		return NULL;
	iter->cold = cold;
	iter->start = point_before(start, run->from) ? run->from : start;
	iter->room = ahead;
	iter->scratch_room = MERGE_SCRATCH;
	iter->buffer = slab;
	iter->scratch = slab + ahead;
	iter->segments = memory_alloc(&cold->memory, run->n * sizeof(iter->segments[0]));
	if (!iter->segments) {
		iter_close(iter);
		return NULL;
	}
	iter->n = run->n;
	for (uint32_t i = 0; i < run->n; i++) {
		iter->segments[i] = run->segment[i];
		atomic_fetch_add_explicit(&run->segment[i]->refs, 1, memory_order_relaxed);
	}
	return iter;
}

/* On to the next segment that has something from the start on. THERMO_MISS: there is none. */
static int iter_segment(struct run_iter *iter)
{
	if (iter->segment)
		cold_segment_unref(iter->cold, iter->segments[iter->next_segment - 1]);
	iter->segment = NULL;
	while (iter->next_segment < iter->n) {
		struct cold_segment *segment = iter->segments[iter->next_segment++];
		if (!point_before(segment->last, iter->start)) {
			iter->segment = segment;
			iter->block = fence_seek(&segment->fences, iter->start);
			iter->from = iter->filled = 0;
			return THERMO_OK;
		}
		cold_segment_unref(iter->cold, segment);
	}
	return THERMO_MISS;
}

/* Bytes of a buffer for a long record: they come in pages, and not in many sizes. */
static size_t long_room(size_t need, size_t most)
{
	size_t room = MEMORY_PAGES_FROM;
	while (room < need)
		room *= 2;
	return room < most ? room : most;
}

/* Brings the file's bytes [start, end) into the buffer, and what follows while there is room. */
static int iter_fill(struct run_iter *iter, uint64_t start, uint64_t end)
{
	if (start >= iter->from && end <= iter->from + iter->filled)
		return 0;
	uint64_t from = start & ~(uint64_t)(FORMAT_PAGE - 1);
	uint64_t last = (iter->segment->footer.data_end + FORMAT_PAGE - 1) &
			~(uint64_t)(FORMAT_PAGE - 1);
	size_t need = (end - from + FORMAT_PAGE - 1) & ~(size_t)(FORMAT_PAGE - 1);
	if (need > iter->room) {
		need = long_room(need, IO_LENGTH_MAX);
		uint8_t *buffer = memory_alloc(&iter->cold->memory, need);
		if (!buffer)
			return -ENOMEM;
		if (iter->own_buffer)
			memory_free(&iter->cold->memory, iter->buffer, iter->room);
		iter->own_buffer = true;
		iter->buffer = buffer;
		iter->room = need;
	}
	size_t bytes = last - from < iter->room ? last - from : iter->room;
	iter->filled = 0;
	int status = file_read(&iter->segment->file, iter->buffer, bytes, from);
	if (status)
		return status;
	iter->from = from;
	iter->filled = bytes;
	iter->read_bytes += bytes;
	return 0;
}

static int iter_unpack(struct run_iter *iter, struct block_decoder *decoder,
		       const struct fence_place *place)
{
	struct block_header header;
	const uint8_t *payload;
	const uint8_t *block = iter->buffer + (place->start - iter->from);
	int status = block_check(block, place->end - place->start, iter->segment->number, place->start,
				 &header);
	if (status)
		return -EIO;
	if (header.raw > iter->scratch_room) {
		size_t room = long_room(header.raw, BLOCK_RAW_MAX);
		uint8_t *scratch = memory_alloc(&iter->cold->memory, room);
		if (!scratch)
			return -ENOMEM;
		if (iter->own_scratch)
			memory_free(&iter->cold->memory, iter->scratch, iter->scratch_room);
		iter->own_scratch = true;
		iter->scratch = scratch;
		iter->scratch_room = room;
	}
	status = block_unpack(decoder, &header, block, iter->scratch, iter->scratch_room, &payload);
	if (!status)
		status = block_first(&iter->at, payload, header.raw, header.records);
	return status ? -EIO : 0;
}

/* Loads the next block. THERMO_MISS: there is none. */
static int iter_block(struct run_iter *iter, struct block_decoder *decoder)
{
	while (!iter->segment || iter->block == iter->segment->fences.blocks)
		if (iter_segment(iter))
			return THERMO_MISS;
	struct fence_place place = fence_place(&iter->segment->fences, iter->block);
	if (place.end - place.start > BLOCK_MAX + FORMAT_PAGE)
		return -EIO;
	int status = iter_fill(iter, place.start, place.end);
	if (!status)
		status = iter_unpack(iter, decoder, &place);
	iter->block += !status; /* what could not be read is not passed over */
	return status;
}

/* The next record, across blocks and segments, whatever the start. Records come in order, or -EIO. */
static int iter_any(struct run_iter *iter, struct block_decoder *decoder)
{
	for (;;) {
		int status = iter->at.end ? block_next(&iter->at) : THERMO_MISS;
		if (status == THERMO_OK) {
			struct point before = iter->point;
			iter->point.space = iter->at.ident.bytes[0];
			iter->point.hash = ident_hash(&iter->at.ident);
			iter->bad |= point_before(iter->point, before);
		}
		iter->bad |= status < 0;
		if (iter->bad)
			return -EIO;
		if (status == THERMO_OK)
			return THERMO_OK;
		iter->at.end = NULL;
		status = iter_block(iter, decoder);
		if (status)
			return status;
	}
}

/* The next record from the start on. */
static int iter_next(struct run_iter *iter, struct block_decoder *decoder)
{
	int status;
	do {
		status = iter_any(iter, decoder);
	} while (status == THERMO_OK && point_before(iter->point, iter->start));
	return status;
}

/* ---- Several ---- */

static bool iter_same(const struct run_iter *a, const struct run_iter *b)
{
	return a->point.hash == b->point.hash && ident_equal(&a->at.ident, &b->at.ident);
}

/* By point, then identity, then the newer run first. */
static bool iter_before(const struct merge *merge, uint32_t a, uint32_t b)
{
	const struct run_iter *x = merge->iters[a], *y = merge->iters[b];
	if (point_before(x->point, y->point))
		return true;
	if (point_before(y->point, x->point))
		return false;
	int order = ident_compare(&x->at.ident, &y->at.ident);
	return order ? order < 0 : a < b;
}

static void heap_down(struct merge *merge)
{
	uint32_t *heap = merge->heap, at = 0, entry = heap[0];
	for (uint32_t child; (child = 2 * at + 1) < merge->heap_n; at = child) {
		if (child + 1 < merge->heap_n && iter_before(merge, heap[child + 1], heap[child]))
			child++;
		if (iter_before(merge, entry, heap[child]))
			break;
		heap[at] = heap[child];
	}
	heap[at] = entry;
}

static void heap_push(struct merge *merge, uint32_t entry)
{
	uint32_t *heap = merge->heap, at = merge->heap_n++;
	while (at && iter_before(merge, entry, heap[(at - 1) / 2])) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = entry;
}

static uint32_t heap_pop(struct merge *merge)
{
	uint32_t top = merge->heap[0];
	merge->heap[0] = merge->heap[--merge->heap_n];
	if (merge->heap_n)
		heap_down(merge);
	return top;
}

void merge_close(struct merge **out)
{
	struct merge *merge = *out;
	if (!merge)
		return;
	struct memory *memory = &merge->cold->memory;
	for (uint32_t i = 0; merge->iters && i < merge->n; i++)
		iter_close(merge->iters[i]);
	if (merge->iters)
		memory_free(memory, merge->iters, COLD_RUNS_MAX * sizeof(merge->iters[0]));
	if (merge->heap)
		memory_free(memory, merge->heap, COLD_RUNS_MAX * sizeof(merge->heap[0]));
	memory_free(memory, merge->slab, merge->n * (merge->ahead + MERGE_SCRATCH) + FORMAT_PAGE);
	memory_free(memory, merge->decoder_memory, block_decoder_bytes());
	memory_free(memory, merge, sizeof(*merge));
	*out = NULL;
}

/* A sixteenth of the tier's memory for all buffers together. Answers the bytes of the slab, which are so
 * many that it comes in pages: buffers are aligned as O_DIRECT asks. */
static size_t choose_ahead(struct merge *merge)
{
	uint64_t all = atomic_load(&merge->cold->memory.budget->cap) / 16;
	uint64_t each = merge->n ? all / merge->n & ~(uint64_t)(FORMAT_PAGE - 1) : 0;
	merge->ahead = each < MERGE_AHEAD_MIN ? MERGE_AHEAD_MIN :
		       each > MERGE_AHEAD_MAX ? MERGE_AHEAD_MAX : (size_t)each;
	size_t bytes = merge->n * (merge->ahead + MERGE_SCRATCH) + FORMAT_PAGE;
	if (bytes >= MEMORY_PAGES_FROM)
		return bytes;
	merge->ahead = MEMORY_PAGES_FROM;
	return merge->n * (merge->ahead + MERGE_SCRATCH) + FORMAT_PAGE;
}

static int merge_start(struct merge *merge, struct run *const *runs, struct point start)
{
	struct cold *cold = merge->cold;
	size_t slab_bytes = choose_ahead(merge);
	uint8_t *at = merge->slab = memory_alloc(&cold->memory, slab_bytes);
	merge->iters = memory_alloc(&cold->memory, COLD_RUNS_MAX * sizeof(merge->iters[0]));
	merge->heap = memory_alloc(&cold->memory, COLD_RUNS_MAX * sizeof(merge->heap[0]));
	merge->decoder_memory = memory_alloc(&cold->memory, block_decoder_bytes());
	if (!merge->slab || !merge->iters || !merge->heap || !merge->decoder_memory)
		return -ENOMEM;
	if (block_decoder_init(&merge->decoder, merge->decoder_memory, block_decoder_bytes()))
		return -ENOMEM;
	for (uint32_t i = 0; i < merge->n; i++) {
		merge->iters[i] = iter_open(cold, runs[i], start, at, merge->ahead);
		at += merge->ahead + MERGE_SCRATCH;
		if (!merge->iters[i])
			return -ENOMEM;
		int status = iter_next(merge->iters[i], &merge->decoder);
		if (status < 0)
			return status;
		if (status == THERMO_OK)
			heap_push(merge, i);
	}
	return 0;
}

int merge_open(struct cold *cold, struct run *const *runs, uint32_t n, struct point start,
	       struct merge **out)
{
	struct merge *merge = memory_alloc(&cold->memory, sizeof(*merge));
	if (!merge)
		return -ENOMEM;
	check(n <= COLD_RUNS_MAX);
	merge->cold = cold;
	merge->n = merge->current = merge->next = n;
	int status = merge_start(merge, runs, start);
	if (status)
		merge_close(&merge);
	else
		*out = merge;
	return status;
}

int merge_next(struct merge *merge, const struct run_iter **record)
{
	if (merge->current < merge->n) {
		int status = iter_next(merge->iters[merge->current], &merge->decoder);
		if (status < 0)
			return status;
		if (status == THERMO_OK)
			heap_push(merge, merge->current);
		merge->current = merge->n;
	}
	if (merge->next == merge->n && !merge->heap_n)
		return THERMO_MISS;
	if (merge->next == merge->n)
		merge->next = heap_pop(merge);
	uint32_t top = merge->next;
	/* Older versions of it: their iterators move on. */
	while (merge->heap_n && iter_same(merge->iters[merge->heap[0]], merge->iters[top])) {
		int status = iter_next(merge->iters[merge->heap[0]], &merge->decoder);
		if (status < 0)
			return status;
		if (status == THERMO_OK)
			heap_down(merge);
		else
			heap_pop(merge);
		merge->duplicates++;
	}
	merge->current = top;
	merge->next = merge->n;
	*record = merge->iters[top];
	return THERMO_OK;
}

uint64_t merge_duplicates(const struct merge *merge)
{
	return merge->duplicates;
}

uint64_t merge_read_bytes(const struct merge *merge)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < merge->n; i++)
		sum += merge->iters[i] ? merge->iters[i]->read_bytes : 0;
	return sum;
}
