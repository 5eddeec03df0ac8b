/* SPDX-License-Identifier: Apache-2.0 */
/* `thermo inspect`: what lies in a cold tier's directory, for people and for programs. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "tools/cli.h"
#include "tools/command.h"
#include "tiers/cold/cold_segment.h"
#include "tools/inspect_read.h"
#include "tools/sizes.h"

static const char help[] = "usage: thermo inspect DIR [options]\n"
			   "Explains the files of a cold tier. Reads only, takes no lock; a "
			   "directory in use may be looked at.\n"
			   "\n"
			   "  --verify          read every block of every segment and check it\n"
			   "  --json FILE|-     the same as JSON\n";

enum { OPT_VERIFY = 1000, OPT_JSON, OPT_HELP };

static const struct option long_options[] = {
	{"verify", no_argument, NULL, OPT_VERIFY},
	{"json", required_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

#define KEY_TEXT 80 /* bytes */

/* A key for people: its text if it is printable, else hexadecimal; long ones are cut. */
static const char *key_text(const struct inspect_key *key, char text[KEY_TEXT])
{
	uint32_t len = key->len ? key->len - 1u : 0, printable = 0;
	const uint8_t *bytes = key->bytes + 1;
	if (!key->len)
		return "?";
	while (printable < len && bytes[printable] > ' ' && bytes[printable] < 127)
		printable++;
	if (len && printable == len) {
		snprintf(text, KEY_TEXT, "%u:%.*s%s", key->bytes[0], len < 40 ? (int)len : 40,
			 (const char *)bytes, len > 40 ? "..." : "");
		return text;
	}
	int at = snprintf(text, KEY_TEXT, "%u:0x", key->bytes[0]);
	for (uint32_t i = 0; i < len && i < 20; i++)
		at += snprintf(text + at, (size_t)(KEY_TEXT - at), "%02x", bytes[i]);
	if (len > 20)
		snprintf(text + at, (size_t)(KEY_TEXT - at), "...");
	return text;
}

static const char *time_text(uint64_t ms, char text[32])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	if (!gmtime_r(&seconds, &tm) || !strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(text, 32, "%" PRIu64 " ms", ms);
	return text;
}

/* ---- For people ---- */

static void print_segment(const struct inspect_segment *segment)
{
	char a[80], b[80];
	const struct segment_footer *footer = &segment->footer;
	double records = footer->records ? (double)footer->records : 1;
	printf("  %016" PRIx64 ".seg  %s", segment->number, size_format(segment->file_bytes, a));
	if (!segment->footer_read) {
		printf("\n    PROBLEM   %s\n", segment->problem);
		return;
	}
	printf(", written %s%s\n", time_text(footer->created_ms, a),
	       segment->partial ? ", its beginning merged away" : "");
	printf("    records   %" PRIu64 ", of them tombstones %" PRIu64 ", expiring %" PRIu64
	       "; sequence %" PRIu64 " ... %" PRIu64 "\n",
	       footer->records, footer->tombstones, footer->expiring, footer->min_seq,
	       footer->max_seq);
	printf("    bytes     keys and values %s, blocks %s (%.2f of that), %u blocks\n",
	       size_format(footer->record_bytes, a), size_format(footer->data_end, b),
	       footer->record_bytes ? (double)footer->data_end / (double)footer->record_bytes : 0,
	       footer->blocks);
	printf("    keys      in order of hashes %s ... %s\n", key_text(&segment->first, a),
	       key_text(&segment->last, b));
	printf("    filter    %.2f bits a key in %u slices; fences %.2f bits a key\n",
	       (double)footer->filter.bytes * 8 / records, footer->slices,
	       (double)footer->fence.bytes * 8 / records);
	for (uint32_t i = 0; i < segment->n_spaces; i++)
		printf("    space %-3u %" PRIu64 " records, %u tombstones\n",
		       segment->spaces[i].space, segment->spaces[i].records,
		       segment->spaces[i].tombstones);
	if (segment->walked)
		printf("    verified  blocks: raw %" PRIu64 ", lz4 %" PRIu64 ", zstd %" PRIu64
		       "; %s packed to %s\n",
		       segment->blocks[BLOCK_RAW], segment->blocks[BLOCK_LZ4],
		       segment->blocks[BLOCK_ZSTD], size_format(segment->raw_bytes, a),
		       size_format(segment->stored_bytes, b));
	if (*segment->problem)
		printf("    PROBLEM   %s\n", segment->problem);
	for (uint32_t i = 0; i < segment->n_damage && i < INSPECT_DAMAGES; i++)
		printf("    DAMAGED   the block at byte %" PRIu64 ": keys of space %u with hashes %016" PRIx64
		       " ... %016" PRIx64 "\n",
		       segment->damage[i].at, segment->damage[i].space, segment->damage[i].from,
		       segment->damage[i].to);
	if (segment->n_damage > INSPECT_DAMAGES)
		printf("    and %u damaged blocks more\n", segment->n_damage - INSPECT_DAMAGES);
}

static void print_runs(const struct inspect *inspect)
{
	const struct manifest *manifest = &inspect->manifest;
	const struct inspect_segment *segment = inspect->segments;
	if (manifest->n_runs)
		printf("runs, newest first; a search ends at the first that has the key:\n");
	for (uint32_t i = 0; i < manifest->n_runs; i++) {
		const struct manifest_run *run = &manifest->runs[i];
		uint64_t bytes = 0, records = 0;
		char a[80];
		for (uint32_t k = 0; k < run->segments; k++) {
			bytes += segment[k].file_bytes;
			records += segment[k].footer.records;
		}
		printf("\nrun %u: level %u, %u segment%s, %s, %" PRIu64 " records\n", i + 1,
		       run->level, run->segments, run->segments == 1 ? "" : "s",
		       size_format(bytes, a), records);
		for (uint32_t k = 0; k < run->segments; k++)
			print_segment(segment++);
	}
}

static void print_strays(const struct inspect *inspect)
{
	char a[80];
	uint32_t shown = sizeof(inspect->strays) / sizeof(inspect->strays[0]);
	shown = inspect->n_strays < shown ? inspect->n_strays : shown;
	if (shown)
		printf("\nnot in the manifest (the next open removes what is the cold tier's "
		       "own):\n");
	for (uint32_t i = 0; i < shown; i++)
		printf("  %s  %s\n", inspect->strays[i].name,
		       size_format(inspect->strays[i].bytes, a));
	if (inspect->n_strays > shown)
		printf("  and %u more\n", inspect->n_strays - shown);
}

static void print(const char *path, const struct inspect *inspect)
{
	const struct manifest *manifest = &inspect->manifest;
	char a[80];
	uint64_t bytes = inspect->manifest_bytes, records = 0, tombstones = 0;
	for (uint32_t i = 0; i < manifest->n_segments; i++) {
		bytes += inspect->segments[i].file_bytes;
		records += inspect->segments[i].footer.records;
		tombstones += inspect->segments[i].footer.tombstones;
	}
	printf("%s: a cold tier, %u runs of %u segments, %s, %" PRIu64 " records (%" PRIu64
	       " tombstones)\n",
	       path, manifest->n_runs, manifest->n_segments, size_format(bytes, a), records,
	       tombstones);
	printf("manifest: generation %" PRIu64 ", next file %016" PRIx64
	       ", greatest sequence %" PRIu64 ", %u bytes of the cache's own\n",
	       manifest->generation, manifest->next_number, manifest->max_seq,
	       manifest->meta_bytes);
	for (unsigned space = 0; space < 256; space++)
		if (manifest->below[space])
			printf("dropped:  space %u below sequence %" PRIu64 "\n", space,
			       manifest->below[space]);
	if (inspect->image_bytes)
		printf("image:    %s, the hot and warm records as of the last clean close\n",
		       size_format(inspect->image_bytes, a));
	else
		printf("image:    none: the cache is open, or did not close cleanly\n");
	if (*inspect->image_problem)
		printf("    PROBLEM   %s: the next open starts cache spaces empty\n",
		       inspect->image_problem);
	for (uint32_t i = 0; i < manifest->n_holes; i++)
		printf("hole:     %u:%016" PRIx64 " ... %u:%016" PRIx64 " (space:hash), versions below %" PRIu64
		       " are lost\n",
		       manifest->holes[i].from_space, manifest->holes[i].from_hash,
		       manifest->holes[i].to_space, manifest->holes[i].to_hash,
		       manifest->holes[i].below_seq);
	if (manifest->n_keys)
		printf("erasing:  %u keys\n", manifest->n_keys);
	print_runs(inspect);
	print_strays(inspect);
}

/* ---- For programs ---- */

static void add_number(cJSON *object, const char *name, uint64_t n)
{
	cJSON_AddNumberToObject(object, name, (double)n);
}

static cJSON *json_segment(const struct inspect_segment *segment)
{
	const struct segment_footer *footer = &segment->footer;
	char name[SEGMENT_NAME_BYTES], text[KEY_TEXT];
	cJSON *json = cJSON_CreateObject();
	cold_segment_name(segment->number, name);
	cJSON_AddStringToObject(json, "file", name);
	add_number(json, "file_bytes", segment->file_bytes);
	if (*segment->problem)
		cJSON_AddStringToObject(json, "problem", segment->problem);
	add_number(json, "damaged_blocks", segment->n_damage);
	if (!segment->footer_read)
		return json;
	cJSON_AddBoolToObject(json, "partly_merged_away", segment->partial);
	add_number(json, "created_ms", footer->created_ms);
	add_number(json, "records", footer->records);
	add_number(json, "tombstones", footer->tombstones);
	add_number(json, "expiring", footer->expiring);
	add_number(json, "record_bytes", footer->record_bytes);
	add_number(json, "data_bytes", footer->data_end);
	add_number(json, "blocks", footer->blocks);
	add_number(json, "filter_bytes", footer->filter.bytes);
	add_number(json, "filter_slices", footer->slices);
	add_number(json, "fence_bytes", footer->fence.bytes);
	add_number(json, "min_seq", footer->min_seq);
	add_number(json, "max_seq", footer->max_seq);
	cJSON_AddStringToObject(json, "first_key", key_text(&segment->first, text));
	cJSON_AddStringToObject(json, "last_key", key_text(&segment->last, text));
	cJSON *spaces = cJSON_AddArrayToObject(json, "spaces");
	for (uint32_t i = 0; i < segment->n_spaces; i++) {
		cJSON *space = cJSON_CreateObject();
		add_number(space, "space", segment->spaces[i].space);
		add_number(space, "records", segment->spaces[i].records);
		add_number(space, "tombstones", segment->spaces[i].tombstones);
		cJSON_AddItemToArray(spaces, space);
	}
	if (segment->walked) {
		cJSON *verified = cJSON_AddObjectToObject(json, "verified");
		add_number(verified, "raw_blocks", segment->blocks[BLOCK_RAW]);
		add_number(verified, "lz4_blocks", segment->blocks[BLOCK_LZ4]);
		add_number(verified, "zstd_blocks", segment->blocks[BLOCK_ZSTD]);
		add_number(verified, "unpacked_bytes", segment->raw_bytes);
		add_number(verified, "packed_bytes", segment->stored_bytes);
	}
	return json;
}

static cJSON *json_run(const struct manifest_run *run, const struct inspect_segment *segments)
{
	cJSON *json = cJSON_CreateObject();
	add_number(json, "level", run->level);
	cJSON *list = cJSON_AddArrayToObject(json, "segments");
	for (uint32_t i = 0; i < run->segments; i++)
		cJSON_AddItemToArray(list, json_segment(&segments[i]));
	return json;
}

static int write_json(const char *path, const char *to_path, const struct inspect *inspect)
{
	const struct manifest *manifest = &inspect->manifest;
	FILE *to = cli_output_open("inspect", to_path);
	if (!to)
		return COMMAND_FAILED;
	cJSON *root = cJSON_CreateObject();
	cJSON_AddStringToObject(root, "directory", path);
	add_number(root, "generation", manifest->generation);
	add_number(root, "next_number", manifest->next_number);
	add_number(root, "max_seq", manifest->max_seq);
	add_number(root, "manifest_bytes", inspect->manifest_bytes);
	add_number(root, "image_bytes", inspect->image_bytes);
	add_number(root, "meta_bytes", manifest->meta_bytes);
	add_number(root, "keys_being_erased", manifest->n_keys);
	add_number(root, "files_not_in_manifest", inspect->n_strays);
	add_number(root, "holes", manifest->n_holes);
	if (*inspect->image_problem)
		cJSON_AddStringToObject(root, "image_problem", inspect->image_problem);
	add_number(root, "problems", inspect->problems);
	cJSON *runs = cJSON_AddArrayToObject(root, "runs");
	const struct inspect_segment *segments = inspect->segments;
	for (uint32_t i = 0; i < manifest->n_runs; segments += manifest->runs[i++].segments)
		cJSON_AddItemToArray(runs, json_run(&manifest->runs[i], segments));
	char *text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	if (text)
		fprintf(to, "%s\n", text);
	cJSON_free(text);
	int status = cli_output_close("inspect", to_path, to);
	return text ? status : cli_fail("inspect", "out of memory");
}

static int report(const char *path, const char *json, bool verify)
{
	struct thermo_error error = {.text = ""};
	struct inspect inspect;
	int status = COMMAND_OK;
	if (inspect_read(path, verify, &inspect, &error))
		return cli_fail("inspect", "%s", error.text);
	if (!json || strcmp(json, "-"))
		print(path, &inspect);
	if (json)
		status = write_json(path, json, &inspect);
	for (uint32_t i = 0; !status && i < inspect.manifest.n_segments; i++)
		if (*inspect.segments[i].problem)
			status = cli_fail(
				"inspect",
				"%s/%016" PRIx64 ".seg: %s (%u of %u files have a problem; "
				"restore them from a copy, or see thermo repair)",
				path, inspect.segments[i].number, inspect.segments[i].problem,
				inspect.problems, inspect.manifest.n_segments + 1);
	if (!status && *inspect.image_problem)
		status = cli_fail("inspect", "%s/memory.img: %s; the next open starts cache spaces empty",
				  path, inspect.image_problem);
	inspect_free(&inspect);
	return status;
}

int inspect_main(int argc, char **argv)
{
	const char *json = NULL;
	bool verify = false;
	int option;
	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_VERIFY:
			verify = true;
			break;
		case OPT_JSON:
			json = optarg;
			break;
		case OPT_HELP:
		case 'h':
			fputs(help, stdout);
			return COMMAND_OK;
		default:
			return cli_bad_option("inspect", option, argv);
		}
	}
	if (optind == argc)
		return cli_misuse("inspect", "which directory? (thermo inspect DIR)");
	if (optind + 1 < argc)
		return cli_misuse("inspect", "one directory at a time: '%s' is left over",
				  argv[optind + 1]);
	return report(argv[optind], json, verify);
}
