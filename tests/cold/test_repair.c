/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repair: whatever part of a segment is damaged, afterwards the tier opens, every key answers the truth or -EIO,
 * never a miss and never the version below; damage to what can be made anew loses nothing; sound
 * files stay as they are. The same after merges, after a reopen, and for keys that are written again.
 */
#include "tests/cold/bed.h"
#include "tests/cold/fault_file.h"
#include "tiers/cold/format.h"

#include <fcntl.h>
#include <sys/stat.h>

#define KEYS 3000
#define VALUE 160
#define NEWEST "0000000000000002.seg"
#define OLDEST "0000000000000001.seg"

static uint8_t space_of(int k)
{
	return k % 2 ? 1 : 3;
}

static void value_of(int k, uint64_t seq, uint64_t *value)
{
	uint64_t random = seq * 1000003 + (uint64_t)k;
	value[0] = seq;
	for (int i = 1; i < VALUE / 8; i++)
		value[i] = bed_random(&random);
}

static void publish(struct bed *bed, int from, int step, uint64_t seq)
{
	struct cold_writer *writer;
	CU_ASSERT_EQUAL_FATAL(cold_writer_open(bed->cold, &writer), 0);
	for (int k = from; k < KEYS; k += step) {
		char key[16];
		uint64_t value[VALUE / 8];
		sprintf(key, "key%d", k);
		value_of(k, seq, value);
		struct cold_record record =
			bed_record(space_of(k), key, strlen(key), value, VALUE, seq + (uint64_t)k);
		CU_ASSERT_EQUAL_FATAL(cold_writer_add(writer, &record), 0);
	}
	CU_ASSERT_EQUAL_FATAL(cold_writer_publish(&writer), 0);
}

/* The version (1 for the first run, ...), 0: a miss, -1: an error. A wrong byte fails the test. */
static int64_t look(struct bed *bed, int k)
{
	char key[16];
	uint64_t got[VALUE / 8], value[VALUE / 8];
	struct cold_record record = { 0 };
	sprintf(key, "key%d", k);
	int status = bed_get_key(bed, space_of(k), key, strlen(key), 0, got, sizeof(got), &record);
	if (status)
		return status < 0 ? -1 : 0;
	value_of(k, got[0], value);
	CU_ASSERT_FATAL(record.value_len == VALUE && !memcmp(got, value, VALUE));
	return (int64_t)(got[0] / 10000);
}

/* Run 1 has every key, run 2 every third. */
static int64_t truth(int k)
{
	return k % 3 ? 1 : 2;
}

static void fill(struct bed *bed)
{
	bed_prepare(bed);
	bed->options.garbage_percent = 1000;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(bed), 0);
	publish(bed, 0, 1, 10000);
	publish(bed, 0, 3, 20000);
	CU_ASSERT_EQUAL_FATAL(cold_meta_set(bed->cold, "meta", 4), 0);
	bed_close_tier(bed);
}

static void path_of(const struct bed *bed, const char *name, char *path)
{
	sprintf(path, "%s/%s", bed->scratch.path, name);
}

static uint64_t hash_of(const struct bed *bed, const char *name)
{
	char path[600];
	uint64_t hash = 1469598103934665603u;
	path_of(bed, name, path);
	FILE *file = fopen(path, "r");
	for (int byte; file && (byte = fgetc(file)) != EOF;)
		hash = (hash ^ (uint64_t)byte) * 1099511628211u;
	if (file)
		fclose(file);
	return hash;
}

static void spoil(const struct bed *bed, const char *name, uint64_t at, size_t bytes)
{
	char path[600];
	uint8_t junk[8192];
	memset(junk, 0x77, sizeof(junk));
	path_of(bed, name, path);
	int fd = open(path, O_WRONLY);
	CU_ASSERT_EQUAL(pwrite(fd, junk, bytes, (off_t)at), (ssize_t)bytes);
	close(fd);
}

static struct segment_footer footer_of(const struct bed *bed, const char *name)
{
	char path[600];
	struct segment_footer footer;
	struct stat st;
	path_of(bed, name, path);
	int fd = open(path, O_RDONLY);
	CU_ASSERT_FATAL(fd >= 0 && !fstat(fd, &st));
	CU_ASSERT_EQUAL(pread(fd, &footer, sizeof(footer), st.st_size - FORMAT_PAGE),
			(ssize_t)sizeof(footer));
	close(fd);
	return footer;
}

static struct cold_repair repair(struct bed *bed, bool dry_run)
{
	struct cold_repair what = { .dry_run = dry_run };
	bed->error.text[0] = 0;
	int status = cold_repair(&bed->options, &what, &bed->error);
	if (status)
		printf("  repair: %s\n", bed->error.text);
	CU_ASSERT_EQUAL_FATAL(status, 0);
	return what;
}

/* Truth or an error for every key; how many are lost. */
static int count_lost(struct bed *bed)
{
	int lost = 0, wrong = 0;
	for (int k = 0; k < KEYS; k++) {
		int64_t version = look(bed, k);
		lost += version == -1;
		wrong += version != -1 && version != truth(k);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	return lost;
}

/* Damages, repairs, and looks: through a reopen, a merge of everything, and writing again what was lost. */
static int lost_after_repair(struct bed *bed, uint64_t at, size_t bytes, const char *name)
{
	const char *other = strcmp(name, NEWEST) ? NEWEST : OLDEST;
	char path[600];
	fill(bed);
	if (bytes) {
		spoil(bed, name, at, bytes);
	} else {
		path_of(bed, name, path);
		unlink(path);
	}
	uint64_t before = hash_of(bed, name), sound = hash_of(bed, other);
	uint64_t manifest = hash_of(bed, "MANIFEST");
	CU_ASSERT_EQUAL(repair(bed, true).damaged, 1);
	CU_ASSERT(hash_of(bed, name) == before && hash_of(bed, "MANIFEST") == manifest);
	CU_ASSERT_EQUAL(repair(bed, false).damaged, 1);
	CU_ASSERT_EQUAL(hash_of(bed, other), sound);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(bed), 0);
	int lost = count_lost(bed);
	bed_reopen(bed);
	CU_ASSERT_EQUAL(count_lost(bed), lost);
	bed_close_tier(bed);
	CU_ASSERT_EQUAL(repair(bed, false).damaged, 0);
	bed->options.garbage_percent = 1;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(bed), 0);
	publish(bed, KEYS - 1, 1, 10000 * (uint64_t)truth(KEYS - 1)); /* a run more, to be merged */
	CU_ASSERT_EQUAL(bed_settle(bed), 0);
	CU_ASSERT(bed_stats(bed).compactions > 0 || bed_stats(bed).cold_runs <= 2);
	CU_ASSERT_EQUAL(count_lost(bed), lost);
	for (int k = 0; k < KEYS; k++) {
		if (look(bed, k) != -1)
			continue;
		char key[16];
		sprintf(key, "key%d", k);
		CU_ASSERT(cold_may_contain(bed->cold, space_of(k), key_hash(space_of(k), key, strlen(key), 0)));
	}
	return lost;
}

static void repair_block_its_keys_lost(void)
{
	struct bed bed;
	fill(&bed);
	struct segment_footer footer = footer_of(&bed, NEWEST);
	bed_close(&bed);
	/* First, middle, last block: a page of each, and two pages. */
	uint64_t places[] = { 64, footer.data_end / 2, footer.data_end - 100 };
	for (unsigned i = 0; i < 3; i++) {
		int lost = lost_after_repair(&bed, places[i], 90, NEWEST);
		CU_ASSERT(lost > 0 && lost < 300);
		bed_close(&bed);
	}
	int lost = lost_after_repair(&bed, 8192, 8192, OLDEST);
	CU_ASSERT(lost > 20 && lost < 400);
	bed_close(&bed);
}

static void repair_what_can_be_made_anew_nothing_lost(void)
{
	struct bed bed;
	fill(&bed);
	struct segment_footer footer = footer_of(&bed, NEWEST);
	bed_close(&bed);
	uint64_t places[] = { 20 /* header */, footer.filter.at + 50, footer.fence.at + 8,
			      footer.spaces.at + 9, footer.file_bytes - FORMAT_PAGE + 1000 };
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		CU_ASSERT_EQUAL(lost_after_repair(&bed, places[i], 3, NEWEST), 0);
		bed_close(&bed);
	}
}

/* Both the fences and the footer: where the blocks end is not known, so what follows the last may be lost. */
static void repair_fences_and_footer_records_kept(void)
{
	struct bed bed;
	fill(&bed);
	struct segment_footer footer = footer_of(&bed, NEWEST);
	spoil(&bed, NEWEST, footer.fence.at, 16);
	spoil(&bed, NEWEST, footer.file_bytes - FORMAT_PAGE, 300);
	CU_ASSERT(repair(&bed, false).records_salvaged == (KEYS + 2) / 3);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	CU_ASSERT(count_lost(&bed) < KEYS / 50);
	bed_close(&bed);
}

static void repair_missing_file_all_lost(void)
{
	struct bed bed;
	/* The newer one may have held any key: even what lies in the older one may be stale. */
	CU_ASSERT_EQUAL(lost_after_repair(&bed, 0, 0, NEWEST), KEYS);
	bed_close(&bed);
	/* The older one: those of the newer one are the truth. */
	fill(&bed);
	char path[600];
	path_of(&bed, OLDEST, path);
	unlink(path);
	CU_ASSERT_EQUAL(repair(&bed, false).missing, 1);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	for (int k = 0; k < KEYS; k++)
		CU_ASSERT(look(&bed, k) == (k % 3 ? -1 : 2) || look(&bed, k) == -1);
	/* A space that is dropped has nothing to lose; what is written again is there. */
	publish(&bed, 0, 1, 30000);
	for (int k = 0; k < KEYS; k++)
		CU_ASSERT_EQUAL(look(&bed, k), 3);
	CU_ASSERT_EQUAL(cold_space_drop(bed.cold, 1, 50000), 0);
	CU_ASSERT_EQUAL(look(&bed, 1), 0);
	bed_close(&bed);
}

static void repair_truncated_file_rest_kept(void)
{
	struct bed bed;
	char path[600];
	fill(&bed);
	path_of(&bed, OLDEST, path);
	CU_ASSERT_EQUAL(truncate(path, (off_t)footer_of(&bed, OLDEST).data_end / 2 & ~4095), 0);
	CU_ASSERT(repair(&bed, false).records_salvaged > KEYS / 3);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	int lost = 0;
	for (int k = 0; k < KEYS; k++)
		lost += look(&bed, k) == -1;
	CU_ASSERT(lost > KEYS / 4 && lost < KEYS * 3 / 4);
	bed_close(&bed);
}

static void repair_directory_in_use_refused(void)
{
	struct bed bed;
	struct cold_repair what = { .dry_run = false };
	fill(&bed);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	CU_ASSERT_EQUAL(cold_repair(&bed.options, &what, &bed.error), -EBUSY);
	bed_close_tier(&bed);
	uint64_t manifest = hash_of(&bed, "MANIFEST");
	CU_ASSERT_EQUAL(repair(&bed, false).damaged, 0);
	CU_ASSERT_EQUAL(hash_of(&bed, "MANIFEST"), manifest);
	spoil(&bed, "MANIFEST", 100, 4);
	CU_ASSERT_EQUAL(cold_repair(&bed.options, &what, &bed.error), -EILSEQ);
	bed_close(&bed);
}

/* Any change of the disk failing: the directory is as it was, or repaired; a second try repairs it. */
static void repair_failing_call_repeats(void)
{
	bool reached = true;
	for (uint64_t nth = 1; reached; nth++) {
		struct bed bed;
		struct cold_repair what = { .dry_run = false };
		fill(&bed);
		spoil(&bed, NEWEST, 8192, 50);
		struct fault_file *fault = fault_file_open(&file_ops_posix);
		bed.options.files = fault_file_ops(fault);
		fault_set(fault, &(struct fault_rule){ FAULT_CHANGE, nth, FAULT_ERROR, EIO, false });
		int status = cold_repair(&bed.options, &what, &bed.error);
		reached = fault_hits(fault) > 0;
		CU_ASSERT(!status || reached);
		fault_clear(fault);
		repair(&bed, false);
		CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
		CU_ASSERT(count_lost(&bed) < 300);
		bed_close(&bed);
		fault_file_close(fault);
		CU_ASSERT_FATAL(nth < 60);
	}
}

static const struct suite_case cases[] = {
	SUITE_CASE(repair_block_its_keys_lost),
	SUITE_CASE(repair_what_can_be_made_anew_nothing_lost),
	SUITE_CASE(repair_fences_and_footer_records_kept),
	SUITE_CASE(repair_missing_file_all_lost),
	SUITE_CASE(repair_truncated_file_rest_kept),
	SUITE_CASE(repair_directory_in_use_refused),
	SUITE_CASE(repair_failing_call_repeats),
};

int main(void)
{
	return suite_run("repair", NULL, NULL, cases, SUITE_COUNT(cases));
}
