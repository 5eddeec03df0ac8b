/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and verifying run files: see run.h. */
#include "tiers/cold/run.h"

#include "alloc/error.h"
#include "tiers/cold/tier.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#define READ_BYTES (256u << 10) /* sections are read in such pieces */

void run_name(uint64_t number, char name[RUN_NAME_BYTES])
{
	snprintf(name, RUN_NAME_BYTES, "%016" PRIx64 ".run", number);
}

struct run_filter *run_filter_alloc(struct cold *cold, uint64_t blocks)
{
	struct run_filter *filter = memory_alloc(&cold->memory, sizeof(*filter));
	if (!filter)
		return NULL;
	atomic_init(&filter->refs, 1);
	filter->blocks = blocks;
	filter->bytes = blocks * FILTER_BLOCK_BYTES;
	filter->block = memory_alloc(&cold->memory, filter->bytes);
	if (!filter->block) {
		memory_free(&cold->memory, filter, sizeof(*filter));
		return NULL;
	}
	count(&cold->filter_used, filter->bytes);
	return filter;
}

void run_filter_unref(struct cold *cold, struct run_filter *filter)
{
	if (!filter || atomic_fetch_sub_explicit(&filter->refs, 1, memory_order_acq_rel) != 1)
		return;
	atomic_fetch_sub(&cold->filter_used, filter->bytes);
	memory_free(&cold->memory, filter->block, filter->bytes);
	memory_free(&cold->memory, filter, sizeof(*filter));
}

const struct run_space *run_find_space(const struct run *run, uint8_t space)
{
	for (uint32_t i = 0; i < run->n_spaces; i++)
		if (run->spaces[i].space == space)
			return &run->spaces[i];
	return NULL;
}

void run_free(struct cold *cold, struct run *run)
{
	file_close(&run->file);
	run_filter_unref(cold, run->filter);
	if (run->fences) {
		memory_free(&cold->memory, run->fences, run->fence_room);
		atomic_fetch_sub(&cold->filter_used, run->fence_room);
	}
	if (run->spaces)
		memory_free(&cold->memory, run->spaces, run->n_spaces * sizeof(run->spaces[0]));
	memory_free(&cold->memory, run, sizeof(*run));
}

/* ---- Opening ---- */

/* Reads [at, at + bytes) of the file into `to`, through an aligned piece of memory. */
static int read_section(struct cold *cold, const struct run *run, uint64_t at, uint64_t bytes,
			uint8_t *to)
{
	uint8_t *piece = memory_alloc(&cold->memory, READ_BYTES);
	if (!piece)
		return -ENOMEM;
	int status = 0;
	while (bytes && !status) {
		size_t n = bytes < READ_BYTES ? bytes : READ_BYTES;
		size_t whole = (n + FORMAT_PAGE - 1) & ~(size_t)(FORMAT_PAGE - 1);
		status = file_read(&run->file, piece, whole, at);
		if (!status)
			memcpy(to, piece, n);
		at += n;
		to += n;
		bytes -= n;
	}
	memory_free(&cold->memory, piece, READ_BYTES);
	return status;
}

static bool section_fits(const struct format_section *section, uint64_t from, uint64_t to)
{
	return section->at % FORMAT_PAGE == 0 && section->at >= from && section->at <= to &&
	       section->bytes <= to - section->at;
}

/* The footer page's own checks, and whether its sections lie in the file, in order. */
static int footer_check(const uint8_t *page, const struct manifest_run *entry,
			struct run_footer *footer, const char **why)
{
	uint64_t hash;
	memcpy(&hash, page + FORMAT_PAGE - sizeof(hash), sizeof(hash));
	memcpy(footer, page, sizeof(*footer));
	if (footer->magic != RUN_FOOTER_MAGIC ||
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
	uint64_t end = entry->file_bytes - FORMAT_PAGE;
	*why = "it is not the file that the manifest means";
	if (hash != entry->footer_hash || footer->number != entry->number ||
	    footer->file_bytes != entry->file_bytes)
		return -EILSEQ;
	*why = "its footer does not add up";
	if (footer->data_end < sizeof(struct run_header) || footer->data_end > end ||
	    !section_fits(&footer->filter, footer->data_end, end) ||
	    !section_fits(&footer->fence, footer->filter.at + footer->filter.bytes, end) ||
	    !section_fits(&footer->spaces, footer->fence.at + footer->fence.bytes, end) ||
	    footer->filter.bytes % FILTER_BLOCK_BYTES || !footer->fence.bytes ||
	    footer->fence.bytes % FORMAT_PAGE || !footer->spaces.bytes ||
	    footer->spaces.bytes % sizeof(struct run_space) ||
	    footer->spaces.bytes > 256 * sizeof(struct run_space) || !footer->records)
		return -EILSEQ;
	return 0;
}

static int load_fences(struct cold *cold, struct run *run, const char **why)
{
	const struct format_section *section = &run->footer.fence;
	run->fences = memory_alloc(&cold->memory, section->bytes);
	if (!run->fences)
		return -ENOMEM;
	run->fence_room = section->bytes;
	run->fence_pages = section->bytes / FORMAT_PAGE;
	count(&cold->filter_used, run->fence_room);
	int status = read_section(cold, run, section->at, section->bytes, run->fences);
	*why = "its fences are damaged";
	if (!status && (XXH3_64bits(run->fences, section->bytes) != section->hash ||
			fence_check(run->fences, run->fence_pages, run->number,
				    sizeof(struct run_header), run->footer.data_end)))
		status = -EILSEQ;
	return status;
}

static int load_filter(struct cold *cold, struct run *run, const char **why)
{
	const struct format_section *section = &run->footer.filter;
	if (!section->bytes)
		return 0;
	/* Beyond the cap it stays in the file: a look-up that gets so far reads the block instead. */
	if (atomic_load(&cold->filter_used) + section->bytes > cold->filter_bytes)
		return 0;
	run->filter = run_filter_alloc(cold, section->bytes / FILTER_BLOCK_BYTES);
	if (!run->filter)
		return -ENOMEM;
	int status = read_section(cold, run, section->at, section->bytes,
				  (uint8_t *)run->filter->block);
	*why = "its filter is damaged";
	if (!status && XXH3_64bits(run->filter->block, section->bytes) != section->hash)
		status = -EILSEQ;
	return status;
}

static int load_spaces(struct cold *cold, struct run *run, const char **why)
{
	const struct format_section *section = &run->footer.spaces;
	run->spaces = memory_alloc(&cold->memory, section->bytes);
	if (!run->spaces)
		return -ENOMEM;
	run->n_spaces = (uint32_t)(section->bytes / sizeof(struct run_space));
	int status = read_section(cold, run, section->at, section->bytes, (uint8_t *)run->spaces);
	*why = "its list of spaces is damaged";
	if (!status && XXH3_64bits(run->spaces, section->bytes) != section->hash)
		status = -EILSEQ;
	return status;
}

static int load(struct cold *cold, struct run *run, const struct manifest_run *entry,
		const char **why)
{
	struct file_stat stat;
	*why = "it cannot be read";
	int status = file_stat(&run->file, &stat);
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
	status = file_read(&run->file, page, FORMAT_PAGE, entry->file_bytes - FORMAT_PAGE);
	if (!status)
		status = footer_check(page, entry, &run->footer, why);
	memory_free(&cold->memory, page, MEMORY_PAGES_FROM);
	if (!status)
		status = load_fences(cold, run, why);
	if (!status)
		status = load_spaces(cold, run, why);
	if (!status)
		status = load_filter(cold, run, why);
	return status;
}

int run_open(struct cold *cold, const struct manifest_run *entry, struct run **out,
	     struct thermo_error *error)
{
	char name[RUN_NAME_BYTES];
	const char *why = "it cannot be opened";
	run_name(entry->number, name);
	struct run *run = memory_alloc(&cold->memory, sizeof(*run));
	if (!run)
		return error_set(error, -ENOMEM, "%s/%s: there is no memory for it", cold->dir.name,
				 name);
	run->number = entry->number;
	run->file_bytes = entry->file_bytes;
	run->footer_hash = entry->footer_hash;
	run->file.fd = -1;
	atomic_init(&run->refs, 1);
	int status = file_open(&cold->dir, name, FILE_DIRECT, &run->file);
	if (status == -ENOENT) {
		status = -EILSEQ;
		why = "it is missing, and the manifest names it";
	}
	if (!status)
		status = load(cold, run, entry, &why);
	if (!status) {
		*out = run;
		return 0;
	}
	run_free(cold, run);
	if (status == -ENOMEM)
		why = "there is no memory for its filter and fences";
	return error_set(error, status, "%s/%s: %s; %s", cold->dir.name, name, why,
			 status == -EPROTO ? "open it with the version that wrote it" :
			 status == -EILSEQ ? "restore the directory from a copy, or empty it" :
			 status == -ENOMEM ? "raise the memory cap" : "see the system's log");
}

/* ---- Verifying ---- */

/* data_hash: the file's own bytes, whatever they mean. */
static int verify_data(struct cold *cold, const struct run *run)
{
	uint8_t *piece = memory_alloc(&cold->memory, RUN_PIECE);
	uint64_t hash = 0, end = run->footer.data_end;
	int status = piece ? 0 : -ENOMEM;
	for (uint64_t at = 0; at < end && !status; at += RUN_PIECE) {
		size_t n = end - at < RUN_PIECE ? end - at : RUN_PIECE;
		size_t whole = (n + FORMAT_PAGE - 1) & ~(size_t)(FORMAT_PAGE - 1);
		status = file_read(&run->file, piece, whole, at);
		hash = XXH3_64bits_withSeed(piece, n, hash);
	}
	memory_free(&cold->memory, piece, RUN_PIECE);
	if (!status && hash != run->footer.data_hash)
		status = -EILSEQ;
	return status;
}

int run_verify(struct cold *cold, const struct run *run, struct thermo_error *error)
{
	char name[RUN_NAME_BYTES];
	run_name(run->number, name);
	int status = verify_data(cold, run);
	if (status == -EILSEQ)
		error_set(error, status, "%s/%s: its records are damaged", cold->dir.name, name);
	else if (status)
		error_set(error, status, "%s/%s: it cannot be read (%s)", cold->dir.name, name,
			  strerrordesc_np(-status));
	return status;
}
