/* SPDX-License-Identifier: Apache-2.0 */
/* The scrub: what is damaged is found within a pass, whatever it is; what is sound is not accused, also while
 * merges take files away under it; it keeps to its time and moves nothing. */
#include "tests/cold/bed.h"
#include "tiers/cold/format.h"

#include <fcntl.h>
#include <sys/stat.h>

#define KEYS 4000
#define DAY_MS UINT64_C(86400000)

static void fill_run(struct bed *bed, int from, uint64_t seq)
{
	struct cold_writer *writer;
	uint64_t random = seq;
	CU_ASSERT_EQUAL_FATAL(cold_writer_open(bed->cold, &writer), 0);
	for (int k = from; k < KEYS; k++) {
		char key[16];
		uint64_t value[25];
		for (int i = 0; i < 25; i++)
			value[i] = bed_random(&random);
		sprintf(key, "key%d", k);
		struct cold_record record = bed_record(k % 2 ? 1 : 2, key, strlen(key), value, sizeof(value),
						       seq + (uint64_t)k);
		CU_ASSERT_EQUAL_FATAL(cold_writer_add(writer, &record), 0);
	}
	CU_ASSERT_EQUAL_FATAL(cold_writer_publish(&writer), 0);
}

/* A day for a pass: ms of it pass, with as much work as there is at each step. */
static void pass_time(struct bed *bed, uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += DAY_MS / 200) {
		bed->now_ms += DAY_MS / 200;
		CU_ASSERT_EQUAL(bed_settle(bed), 0);
	}
}

static void scrub_bed(struct bed *bed)
{
	bed_prepare(bed);
	bed->options.scrub_ms = DAY_MS;
	bed->options.garbage_percent = 1000; /* the files stay */
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(bed), 0);
	fill_run(bed, 0, 1000);
	fill_run(bed, 100, 10000);
	bed->notice[0] = 0;
}

static void pass_sound_files_nothing_found(void)
{
	struct bed bed;
	scrub_bed(&bed);
	uint64_t reads = bed_stats(&bed).device_reads;
	pass_time(&bed, DAY_MS / 2);
	struct thermo_stats half = bed_stats(&bed);
	CU_ASSERT(half.scrub_bytes > half.cold_bytes / 4 && half.scrub_bytes < half.cold_bytes * 3 / 4);
	CU_ASSERT_EQUAL(half.scrub_passes, 0);
	pass_time(&bed, DAY_MS * 2);
	struct thermo_stats stats = bed_stats(&bed);
	CU_ASSERT(stats.scrub_passes >= 2 && stats.scrub_passes <= 3);
	CU_ASSERT(stats.scrub_bytes > stats.cold_bytes * 2 && stats.scrub_bytes < stats.cold_bytes * 4);
	CU_ASSERT_EQUAL(stats.scrub_bad_blocks, 0);
	CU_ASSERT(stats.scrub_oldest_ms <= DAY_MS + DAY_MS / 4);
	CU_ASSERT_EQUAL(stats.device_reads, reads);
	CU_ASSERT_STRING_EQUAL(bed.notice, "");
	bed_close(&bed);
}

static void pass_without_time_nothing_read(void)
{
	struct bed bed;
	scrub_bed(&bed);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).scrub_bytes, 0);
	bed_reopen(&bed);
	bed_close_tier(&bed);
	bed.options.scrub_ms = 0;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	pass_time(&bed, DAY_MS);
	CU_ASSERT_EQUAL(bed_stats(&bed).scrub_bytes, 0);
	bed_close(&bed);
}

static void flip(const struct bed *bed, const char *name, off_t at)
{
	char path[512];
	uint8_t byte;
	snprintf(path, sizeof(path), "%s/%s", bed->scratch.path, name);
	int fd = open(path, O_RDWR);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
	CU_ASSERT_EQUAL(fsync(fd), 0);
	close(fd);
}

static struct segment_footer footer_of(const struct bed *bed, const char *name)
{
	char path[512];
	struct segment_footer footer;
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", bed->scratch.path, name);
	int fd = open(path, O_RDONLY);
	CU_ASSERT_FATAL(fd >= 0 && !fstat(fd, &st));
	CU_ASSERT_EQUAL(pread(fd, &footer, sizeof(footer), st.st_size - FORMAT_PAGE),
			(ssize_t)sizeof(footer));
	close(fd);
	return footer;
}

/* One bit in each part of a file, in turn: found in the next pass, counted as one, named once; gone
 * again when it is put right. */
static void pass_flipped_bit_found(void)
{
	static const char name[] = "0000000000000002.seg";
	struct bed bed;
	scrub_bed(&bed);
	struct segment_footer footer = footer_of(&bed, name);
	off_t places[] = { 20, 70, (off_t)footer.data_end / 2, (off_t)footer.data_end - 20,
			   (off_t)footer.filter.at + 100, (off_t)footer.fence.at + 9,
			   (off_t)footer.spaces.at + 30, (off_t)footer.file_bytes - FORMAT_PAGE + 50,
			   (off_t)footer.file_bytes - 3 };
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		flip(&bed, name, places[i]);
		bed.notice[0] = 0;
		pass_time(&bed, DAY_MS * 9 / 4);
		CU_ASSERT_EQUAL(bed_stats(&bed).scrub_bad_blocks, 1);
		CU_ASSERT_PTR_NOT_NULL(strstr(bed.notice, name));
		bed.notice[0] = 0;
		pass_time(&bed, DAY_MS * 9 / 4); /* said once */
		CU_ASSERT_STRING_EQUAL(bed.notice, "");
		flip(&bed, name, places[i]);
		pass_time(&bed, DAY_MS * 9 / 4);
		CU_ASSERT_EQUAL(bed_stats(&bed).scrub_bad_blocks, 0);
	}
	bed_close(&bed);
}

/* Files come and go and are cut by merges while the scrub is at them. */
static void pass_under_merges_nothing_found(void)
{
	struct bed bed;
	bed_prepare(&bed);
	bed.options.scrub_ms = DAY_MS;
	bed.options.segment_bytes = 256 << 10;
	bed.options.runs_max = 4;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	for (uint64_t round = 1; round < 30; round++) {
		fill_run(&bed, (int)(round * 37 % 1000), round * 10000);
		for (int i = 0; i < 40; i++) {
			bed.now_ms += DAY_MS / 150;
			CU_ASSERT(cold_work(bed.cold) >= 0);
		}
	}
	struct thermo_stats stats = bed_stats(&bed);
	CU_ASSERT(stats.compactions > 0 && stats.scrub_passes > 0);
	CU_ASSERT(stats.scrub_bytes > 1 << 20);
	CU_ASSERT_EQUAL(stats.scrub_bad_blocks, 0);
	CU_ASSERT_PTR_NULL(strstr(bed.notice, "damaged"));
	bed_close(&bed);
}

static const struct suite_case cases[] = {
	SUITE_CASE(pass_sound_files_nothing_found),
	SUITE_CASE(pass_without_time_nothing_read),
	SUITE_CASE(pass_flipped_bit_found),
	SUITE_CASE(pass_under_merges_nothing_found),
};

int main(void)
{
	return suite_run("scrub", NULL, NULL, cases, SUITE_COUNT(cases));
}
