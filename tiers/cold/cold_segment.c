/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and verifying segment files; runs: see segment.h. */
#include "tiers/cold/cold_segment.h"

#include "alloc/check.h"
#include "alloc/error.h"
#include "tiers/cold/tier.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

void cold_segment_name(uint64_t number, char name[SEGMENT_NAME_BYTES])
{
	snprintf(name, SEGMENT_NAME_BYTES, "%016" PRIx64 ".seg", number);
}

void cold_segment_fences(struct cold_segment *segment)
{
	const struct segment_footer *footer = &segment->footer;
	segment->fences.start = segment->fences.separator + footer->blocks;
	segment->fences.blocks = footer->blocks;
	segment->fences.data_end = footer->data_end;
	segment->fences.spaces = segment->spaces;
	segment->fences.n_spaces =
		(uint32_t)(footer->spaces.bytes / sizeof(struct segment_space));
}

void cold_segment_range(struct cold_segment *segment)
{
	const struct segment_space *first = segment->spaces;
	const struct segment_space *last = &segment->spaces[segment->fences.n_spaces - 1];
	segment->first = (struct point){ first->first_hash, first->space };
	segment->last = (struct point){ last->last_hash, last->space };
}

void cold_segment_free(struct cold *cold, struct cold_segment *segment)
{
	struct memory *memory = &cold->memory;
	uint8_t *filter = atomic_load(&segment->filter);
	file_close(&segment->file);
	if (filter) {
		memory_free(memory, filter, segment->footer.filter.bytes);
		atomic_fetch_sub(&cold->filter_used, segment->footer.filter.bytes);
	}
	if (segment->fences.separator) {
		memory_free(memory, (void *)segment->fences.separator, segment->footer.fence.bytes);
		atomic_fetch_sub(&cold->filter_used, segment->footer.fence.bytes);
	}
	if (segment->spaces)
		memory_free(memory, segment->spaces, segment->footer.spaces.bytes);
	memory_free(memory, segment, sizeof(*segment));
}

void cold_segment_unref(struct cold *cold, struct cold_segment *segment)
{
	if (atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_mutex_lock(&cold->dead_lock);
	segment->dead_next = cold->dead;
	cold->dead = segment;
	pthread_mutex_unlock(&cold->dead_lock);
}

void cold_segment_count_given(struct cold *cold, struct cold_segment *segment)
{
	struct file_stat stat;
	if (file_stat(&segment->file, &stat) || stat.allocated >= segment->file_bytes)
		return;
	uint64_t gone = segment->file_bytes - stat.allocated, before = atomic_load(&segment->given);
	if (gone <= before)
		return;
	atomic_store(&segment->given, gone);
	cold_give(cold, gone - before);
}

/* ---- Opening ---- */

/* Reads a section into `to`, through an aligned piece of memory, and compares its hash. */
static int read_section(struct cold *cold, const struct cold_segment *segment,
			const struct format_section *section, uint8_t *to)
{
	uint8_t *piece = memory_alloc(&cold->memory, FORMAT_PIECE), *at = to;
	if (!piece)
		return -ENOMEM;
	int status = 0;
	for (uint64_t done = 0; done < section->bytes && !status; done += FORMAT_PIECE) {
		size_t n = section->bytes - done;
		n = n < FORMAT_PIECE ? n : FORMAT_PIECE;
		size_t whole = (n + FORMAT_PAGE - 1) & ~(size_t)(FORMAT_PAGE - 1);
		status = file_read(&segment->file, piece, whole, section->at + done);
		if (!status)
			memcpy(at, piece, n);
		at += n;
	}
	memory_free(&cold->memory, piece, FORMAT_PIECE);
	if (!status && XXH3_64bits(to, section->bytes) != section->hash)
		status = -EILSEQ;
	return status;
}

static bool section_fits(const struct format_section *section, uint64_t from, uint64_t to)
{
	return section->at % FORMAT_PAGE == 0 && section->at >= from && section->at <= to &&
	       section->bytes <= to - section->at;
}

/* The sections lie in the file, in order, and have the sizes that the counts say. */
static bool sections_fit(const struct segment_footer *footer, uint64_t end)
{
	return footer->data_end >= sizeof(struct segment_header) && footer->data_end <= end &&
	       section_fits(&footer->filter, footer->data_end, end) &&
	       section_fits(&footer->fence, footer->filter.at + footer->filter.bytes, end) &&
	       section_fits(&footer->spaces, footer->fence.at + footer->fence.bytes, end) &&
	       footer->filter.bytes % 8 == 0 && footer->blocks && footer->slices &&
	       footer->fence.bytes == fence_bytes(footer->blocks) && footer->spaces.bytes &&
	       footer->spaces.bytes % sizeof(struct segment_space) == 0 &&
	       footer->spaces.bytes <= 256 * sizeof(struct segment_space) && footer->records;
}

/* The footer page's own checks. */
static int check_footer(const uint8_t *page, const struct manifest_segment *entry,
			struct segment_footer *footer, const char **why)
{
	uint64_t hash;
	memcpy(&hash, page + FORMAT_PAGE - sizeof(hash), sizeof(hash));
	memcpy(footer, page, sizeof(*footer));
	if (footer->magic != SEGMENT_FOOTER_MAGIC ||
	    XXH3_64bits(page, FORMAT_PAGE - sizeof(hash)) != hash) {
		*why = "its footer is damaged";
		return -EILSEQ;
	}
	if (footer->version != FORMAT_VERSION ||
	    (footer->features.incompat & ~FORMAT_INCOMPAT_KNOWN) ||
	    (footer->features.ro_compat & ~FORMAT_RO_COMPAT_KNOWN)) {
		*why = "its format version or a feature of it is unknown";
		return -EPROTO;
	}
	*why = "it is not the file that the manifest means";
	if (hash != entry->footer_hash || footer->number != entry->number ||
	    footer->file_bytes != entry->file_bytes)
		return -EILSEQ;
	*why = "its footer does not add up";
	return sections_fit(footer, entry->file_bytes - FORMAT_PAGE) ? 0 : -EILSEQ;
}

static int load_fences(struct cold *cold, struct cold_segment *segment, const char **why)
{
	const struct segment_footer *footer = &segment->footer;
	uint32_t *separator = memory_alloc(&cold->memory, footer->fence.bytes);
	if (!separator)
		return -ENOMEM;
	count(&cold->filter_used, footer->fence.bytes);
	segment->fences.separator = separator;
	segment->spaces = memory_alloc(&cold->memory, footer->spaces.bytes);
	if (!segment->spaces)
		return -ENOMEM;
	cold_segment_fences(segment);
	*why = "its fences or its list of spaces are damaged";
	int status = read_section(cold, segment, &footer->fence, (uint8_t *)separator);
	if (!status)
		status = read_section(cold, segment, &footer->spaces, (uint8_t *)segment->spaces);
	if (!status)
		status = fence_check(&segment->fences);
	if (!status)
		cold_segment_range(segment);
	return status;
}

int cold_segment_load_filter(struct cold *cold, struct cold_segment *segment)
{
	const struct segment_footer *footer = &segment->footer;
	if (atomic_load(&cold->filter_used) + footer->filter.bytes > cold->filter_bytes)
		return -ENOSPC;
	uint8_t *filter = memory_alloc(&cold->memory, footer->filter.bytes);
	if (!filter)
		return -ENOMEM;
	int status = read_section(cold, segment, &footer->filter, filter);
	if (!status)
		status = filter_check(filter, footer->filter.bytes, footer->slices);
	if (status) {
		memory_free(&cold->memory, filter, footer->filter.bytes);
		return status;
	}
	count(&cold->filter_used, footer->filter.bytes);
	atomic_store_explicit(&segment->filter, filter, memory_order_release);
	return 0;
}

static int load(struct cold *cold, struct cold_segment *segment, const struct manifest_segment *entry,
		const char **why)
{
	struct file_stat stat;
	*why = "it cannot be read";
	int status = file_stat(&segment->file, &stat);
	if (status)
		return status;
	if (stat.bytes != entry->file_bytes || entry->file_bytes % FORMAT_PAGE ||
	    entry->file_bytes < 2 * FORMAT_PAGE) {
		*why = "its length is not the manifest's";
		return -EILSEQ;
	}
	uint8_t *page = memory_alloc(&cold->memory, MEMORY_PAGES_FROM);
	if (!page)
		return -ENOMEM;
	status = file_read(&segment->file, page, FORMAT_PAGE, entry->file_bytes - FORMAT_PAGE);
	if (!status)
		status = check_footer(page, entry, &segment->footer, why);
	memory_free(&cold->memory, page, MEMORY_PAGES_FROM);
	if (!status)
		status = load_fences(cold, segment, why);
	if (status)
		return status;
	*why = "its filter is damaged";
	status = cold_segment_load_filter(cold, segment);
	/* Beyond the cap it stays in the file: a look-up that gets so far reads the block instead. */
	return status == -ENOSPC ? 0 : status;
}

int cold_segment_open(struct cold *cold, const struct manifest_segment *entry, struct cold_segment **out,
		 struct thermo_error *error)
{
	char name[SEGMENT_NAME_BYTES];
	const char *why = "it cannot be opened";
	cold_segment_name(entry->number, name);
	struct cold_segment *segment = memory_alloc(&cold->memory, sizeof(*segment));
	if (!segment)
		return error_set(error, -ENOMEM, "%s/%s: there is no memory for it", cold->dir.name,
				 name);
	segment->number = entry->number;
	segment->file_bytes = entry->file_bytes;
	segment->footer_hash = entry->footer_hash;
	segment->file.fd = -1;
	atomic_init(&segment->refs, 1);
	int status = file_open(&cold->dir, name, FILE_DIRECT, &segment->file);
	if (status == -ENOENT) {
		status = -EILSEQ;
		why = "it is missing, and the manifest names it";
	}
	if (status == -EMFILE || status == -ENFILE)
		why = "there are too many open files: raise the limit (ulimit -n)";
	if (!status)
		status = load(cold, segment, entry, &why);
	if (!status) {
		*out = segment;
		return 0;
	}
	cold_segment_free(cold, segment);
	if (status == -ENOMEM)
		why = "there is no memory for its filter and fences";
	return error_set(error, status, "%s/%s: %s; %s", cold->dir.name, name, why,
			 status == -EPROTO ? "open it with the version that wrote it" :
			 status == -EILSEQ ? "restore the directory from a copy, or empty it" :
			 status == -ENOMEM ? "raise the memory cap" : "see the system's log");
}

int cold_segment_open_damaged(struct cold *cold, const struct manifest_segment *entry,
			      struct cold_segment **out, bool *footer_good, bool *fences_good)
{
	char name[SEGMENT_NAME_BYTES];
	const char *why;
	*footer_good = *fences_good = false;
	cold_segment_name(entry->number, name);
	struct cold_segment *segment = memory_alloc(&cold->memory, sizeof(*segment));
	uint8_t *page = segment ? memory_alloc(&cold->memory, MEMORY_PAGES_FROM) : NULL;
	if (!page) {
		memory_free(&cold->memory, segment, sizeof(*segment));
		return -ENOMEM;
	}
	segment->number = entry->number;
	segment->file_bytes = entry->file_bytes;
	segment->file.fd = -1;
	atomic_init(&segment->refs, 1);
	int status = file_open(&cold->dir, name, FILE_DIRECT, &segment->file);
	if (!status && entry->file_bytes >= 2 * FORMAT_PAGE &&
	    !file_read(&segment->file, page, FORMAT_PAGE, entry->file_bytes - FORMAT_PAGE)) {
		*footer_good = !check_footer(page, entry, &segment->footer, &why);
		if (sections_fit(&segment->footer, entry->file_bytes - FORMAT_PAGE))
			*fences_good = !load_fences(cold, segment, &why);
		else
			segment->footer = (struct segment_footer){ 0 };
	}
	memory_free(&cold->memory, page, MEMORY_PAGES_FROM);
	if (status)
		cold_segment_free(cold, segment);
	else
		*out = segment;
	return status;
}

/* ---- Verifying ---- */

/* data_hash: the file's own bytes, whatever they mean. */
static int verify_data(struct cold *cold, const struct cold_segment *segment)
{
	uint8_t *piece = memory_alloc(&cold->memory, FORMAT_PIECE);
	uint64_t hash = 0, end = segment->footer.data_end;
	int status = piece ? 0 : -ENOMEM;
	for (uint64_t at = 0; at < end && !status; at += FORMAT_PIECE) {
		size_t n = end - at < FORMAT_PIECE ? end - at : FORMAT_PIECE;
		size_t whole = (n + FORMAT_PAGE - 1) & ~(size_t)(FORMAT_PAGE - 1);
		status = file_read(&segment->file, piece, whole, at);
		hash = XXH3_64bits_withSeed(piece, n, hash);
	}
	memory_free(&cold->memory, piece, FORMAT_PIECE);
	if (!status && hash != segment->footer.data_hash)
		status = -EILSEQ;
	return status;
}

int cold_segment_verify(struct cold *cold, const struct cold_segment *segment, struct thermo_error *error)
{
	char name[SEGMENT_NAME_BYTES];
	cold_segment_name(segment->number, name);
	int status = verify_data(cold, segment);
	if (status == -EILSEQ)
		error_set(error, status, "%s/%s: its records are damaged", cold->dir.name, name);
	else if (status)
		error_set(error, status, "%s/%s: it cannot be read (%s)", cold->dir.name, name,
			  strerrordesc_np(-status));
	return status;
}

/* ---- Runs ---- */

static size_t run_bytes(uint32_t n)
{
	return sizeof(struct run) + n * (sizeof(struct point) + sizeof(struct cold_segment *));
}

/* How much of the segment lies at or beyond `from`: 0 to 1, by hash. */
static double share_from(const struct cold_segment *segment, struct point from)
{
	if (!point_before(segment->first, from))
		return 1;
	double all = 0, left = 0;
	for (uint32_t i = 0; i < segment->fences.n_spaces; i++) {
		const struct segment_space *space = &segment->spaces[i];
		all += (double)space->records;
		if (space->space > from.space)
			left += (double)space->records;
		else if (space->space == from.space && from.hash <= space->last_hash)
			left += (double)space->records *
				((double)(space->last_hash - from.hash) + 1) /
				((double)(space->last_hash - space->first_hash) + 1);
	}
	return left < all ? left / all : 1;
}

static void add_sums(struct run *run, const struct cold_segment *segment)
{
	const struct segment_footer *footer = &segment->footer;
	double share = share_from(segment, run->from);
	run->bytes += (uint64_t)(share * (double)segment->file_bytes);
	run->records += (uint64_t)(share * (double)footer->records);
	run->tombstones += (uint64_t)(share * (double)footer->tombstones);
	run->record_bytes += (uint64_t)(share * (double)footer->record_bytes);
	run->expiring += (uint64_t)(share * (double)footer->expiring);
	run->min_expires = footer->min_expires < run->min_expires ? footer->min_expires :
								    run->min_expires;
	run->max_expires = footer->max_expires > run->max_expires ? footer->max_expires :
								    run->max_expires;
	run->min_seq = footer->min_seq < run->min_seq ? footer->min_seq : run->min_seq;
	run->max_seq = footer->max_seq > run->max_seq ? footer->max_seq : run->max_seq;
}

struct run *run_new(struct cold *cold, struct cold_segment *const *segments, uint32_t n,
		    struct point from, const struct run *like, bool *none)
{
	while (n && point_before(segments[0]->last, from)) {
		segments++;
		n--;
	}
	*none = !n;
	struct run *run = n ? memory_alloc(&cold->memory, run_bytes(n)) : NULL;
	if (!run)
		return NULL;
	atomic_init(&run->refs, 1);
	run->n = n;
	run->from = from;
	run->min_seq = run->min_expires = UINT64_MAX;
	run->first = (struct point *)(run + 1);
	run->segment = (struct cold_segment **)(run->first + n);
	if (like) {
		run->level = like->level;
		run->published = like->published;
		run->busy = like->busy;
	}
	for (uint32_t i = 0; i < n; i++) {
		atomic_fetch_add_explicit(&segments[i]->refs, 1, memory_order_relaxed);
		run->segment[i] = segments[i];
		run->first[i] = segments[i]->first;
		add_sums(run, segments[i]);
	}
	if (like && like->records)
		run->shadowed = (uint64_t)((double)like->shadowed * (double)run->records /
					   (double)like->records);
	return run;
}

void run_unref(struct cold *cold, struct run *run)
{
	if (!run || atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < run->n; i++)
		cold_segment_unref(cold, run->segment[i]);
	memory_free(&cold->memory, run, run_bytes(run->n));
}
