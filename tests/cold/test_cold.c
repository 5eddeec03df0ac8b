/* SPDX-License-Identifier: Apache-2.0 */
/* The cold tier's contract, case by case. */
#include "tests/cold/bed.h"

#include <sys/stat.h>

static void get_published_found(void)
{
	struct bed bed;
	bed_open(&bed);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	CU_ASSERT_EQUAL(bed_put(&bed, "a", "one", 1), 0);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "one");
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "b"), "-");
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "aa"), "-");
	bed_close(&bed);
}

static void get_several_versions_newest(void)
{
	struct bed bed;
	bed_open(&bed);
	bed_put(&bed, "a", "one", 1);
	bed_put(&bed, "a", "two", 2);
	bed_put(&bed, "b", "three", 3);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "two");
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_runs, 3);
	CU_ASSERT_EQUAL(cold_max_seq(bed.cold), 3);
	bed_close(&bed);
}

static void get_tombstone_miss(void)
{
	struct bed bed;
	bed_open(&bed);
	bed_put(&bed, "a", "one", 1);
	bed_delete(&bed, "a", 2);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	bed_put(&bed, "a", "again", 3);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "again");
	bed_close(&bed);
}

static void get_expired_miss(void)
{
	struct bed bed;
	bed_open(&bed);
	bed_put(&bed, "a", "old", 1);
	struct cold_record record = bed_record(1, "a", 1, "short", 5, 2);
	record.expires_ms = bed.now_ms + 10;
	bed_publish(&bed, &record);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "short");
	bed.now_ms += 10;
	/* It hides the older version all the same. */
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	bed_close(&bed);
}

static void get_chunk_distinct(void)
{
	struct bed bed;
	char value[16];
	struct cold_record record, got;
	struct cold_writer *writer;
	bed_open(&bed);
	cold_writer_open(bed.cold, &writer);
	record = bed_record(1, "key", 3, "user", 4, 1);
	cold_writer_add(writer, &record);
	record = bed_record(1, "key", 3, "chunk", 5, 2);
	record.flags = COLD_CHUNK;
	record.hash = key_hash(1, "key", 3, 1);
	cold_writer_add(writer, &record);
	record = bed_record(2, "key", 3, "other", 5, 3);
	cold_writer_add(writer, &record);
	CU_ASSERT_EQUAL(cold_writer_records(writer), 3);
	CU_ASSERT_EQUAL(cold_writer_publish(&writer), 0);
	CU_ASSERT_PTR_NULL(writer);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 1, "key", 3, 0, value, 16, &got), THERMO_OK);
	CU_ASSERT_EQUAL(got.value_len, 4);
	CU_ASSERT_EQUAL(got.seq, 1);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 1, "key", 3, COLD_CHUNK, value, 16, &got), THERMO_OK);
	CU_ASSERT_EQUAL(got.value_len, 5);
	CU_ASSERT_EQUAL(got.flags, COLD_CHUNK);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 2, "key", 3, 0, value, 16, &got), THERMO_OK);
	CU_ASSERT_EQUAL(got.seq, 3);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 2, "key", 3, COLD_CHUNK, value, 16, &got), THERMO_MISS);
	bed_close(&bed);
}

static void get_greatest_record_found(void)
{
	struct bed bed;
	char key[THERMO_KEY_MAX];
	uint8_t *value = malloc(COLD_VALUE_MAX), *got = malloc(COLD_VALUE_MAX);
	uint64_t state = 7;
	struct cold_record record;
	bed_open(&bed);
	memset(key, 0xff, sizeof(key));
	for (uint32_t i = 0; i < COLD_VALUE_MAX; i++)
		value[i] = (uint8_t)bed_random(&state);
	struct cold_record big = bed_record(255, key, sizeof(key), value, COLD_VALUE_MAX, UINT64_MAX);
	big.expires_ms = UINT64_MAX;
	CU_ASSERT_EQUAL(bed_publish(&bed, &big), 0);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 255, key, sizeof(key), 0, got, COLD_VALUE_MAX, &record),
			THERMO_OK);
	CU_ASSERT_EQUAL(record.value_len, COLD_VALUE_MAX);
	CU_ASSERT_EQUAL(record.expires_ms, UINT64_MAX);
	CU_ASSERT_EQUAL(memcmp(got, value, COLD_VALUE_MAX), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).device_reads, 1);
	free(value);
	free(got);
	bed_close(&bed);
}

static void get_batch_each_once(void)
{
	enum { N = 300 };
	struct bed bed;
	struct cold_writer *writer;
	struct cold_get gets[N], *done[N];
	char keys[N][16];
	unsigned finished = 0, found = 0;
	bed_open(&bed);
	cold_writer_open(bed.cold, &writer);
	for (int i = 0; i < N; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key%d", i);
		struct cold_record record = bed_record(1, keys[i], strlen(keys[i]), keys[i],
						       strlen(keys[i]), (uint64_t)i + 1);
		if (i % 3)
			CU_ASSERT_EQUAL(cold_writer_add(writer, &record), 0);
	}
	CU_ASSERT_EQUAL(cold_writer_publish(&writer), 0);
	for (int i = 0; i < N; i++) {
		gets[i] = (struct cold_get){ .key = keys[i],
					     .key_len = (uint32_t)strlen(keys[i]),
					     .space = 1 };
		gets[i].hash = key_hash(1, keys[i], gets[i].key_len, 0);
		finished += (unsigned)cold_get_start(bed.io, &gets[i]);
	}
	cold_io_submit(bed.io);
	while (finished < N) {
		unsigned n = cold_io_wait(bed.io, done, N, -1);
		CU_ASSERT_NOT_EQUAL_FATAL(n, 0);
		finished += n;
	}
	for (int i = 0; i < N; i++) {
		CU_ASSERT_EQUAL(gets[i].status, i % 3 ? THERMO_OK : THERMO_MISS);
		if (!gets[i].status)
			found += !memcmp(gets[i].record.value, keys[i], strlen(keys[i]));
		cold_get_release(bed.io, &gets[i]);
	}
	CU_ASSERT_EQUAL(found, N / 3 * 2);
	CU_ASSERT_EQUAL(bed_stats(&bed).device_reads,
			found + bed_stats(&bed).filter_false_positives);
	bed_close(&bed);
}

static void cancel_under_way_callers_at_once(void)
{
	struct bed bed;
	bed_open(&bed);
	bed_put(&bed, "a", "one", 1);
	struct cold_get get = { .key = "a", .key_len = 1, .space = 1 }, *done;
	get.hash = key_hash(1, "a", 1, 0);
	for (int submitted = 0; submitted < 2; submitted++) {
		CU_ASSERT_EQUAL(cold_get_start(bed.io, &get), 0);
		if (submitted)
			cold_io_submit(bed.io);
		cold_get_cancel(bed.io, &get);
		CU_ASSERT_EQUAL(get.status, THERMO_CANCELLED);
		CU_ASSERT_EQUAL(cold_io_wait(bed.io, &done, 1, 1000000000), 0);
	}
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "one");
	/* Closed while under way. */
	CU_ASSERT_EQUAL(cold_get_start(bed.io, &get), 0);
	cold_io_submit(bed.io);
	bed_close(&bed);
}

static void get_while_merged_sees_pinned(void)
{
	struct bed bed;
	bed_open(&bed);
	for (uint64_t i = 1; i <= 8; i++)
		bed_put(&bed, i == 3 ? "kept" : "other", "value", i);
	struct cold_get get = { .key = "kept", .key_len = 4, .space = 1 }, *done;
	get.hash = key_hash(1, "kept", 4, 0);
	CU_ASSERT_EQUAL(cold_get_start(bed.io, &get), 0);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0); /* its run is merged and waits for the get */
	CU_ASSERT(bed_stats(&bed).compactions > 0);
	CU_ASSERT_EQUAL(cold_io_wait(bed.io, &done, 1, -1), 1);
	CU_ASSERT_EQUAL(get.status, THERMO_OK);
	cold_get_release(bed.io, &get);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "kept"), "value");
	bed_close(&bed);
}

static unsigned segment_files(const struct bed *bed)
{
	unsigned n = 0;
	DIR *dir = opendir(bed->scratch.path);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += strstr(entry->d_name, ".seg") != NULL;
	closedir(dir);
	return n;
}

static void reopen_keeps_everything(void)
{
	struct bed bed;
	char meta[16] = "";
	bed_open(&bed);
	bed_put(&bed, "a", "one", 1);
	bed_put(&bed, "b", "two", 2);
	bed_delete(&bed, "a", 7);
	CU_ASSERT_EQUAL(cold_meta_set(bed.cold, "engine", 6), 0);
	CU_ASSERT_EQUAL(cold_space_drop(bed.cold, 9, 100), 0);
	bed_reopen(&bed);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "b"), "two");
	CU_ASSERT_EQUAL(cold_meta_get(bed.cold, meta, sizeof(meta)), 6);
	CU_ASSERT_STRING_EQUAL(meta, "engine");
	CU_ASSERT_EQUAL(cold_max_seq(bed.cold), 99);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_records, 3);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_tombstones, 1);
	bed_close(&bed);
}

static void open_orphans_removed(void)
{
	struct bed bed;
	char path[400];
	bed_open(&bed);
	bed_put(&bed, "a", "one", 1);
	bed_close_tier(&bed);
	const char *names[] = { "00000000000000aa.seg", "00000000000000ab.seg.tmp", "MANIFEST.tmp",
				"notes.txt" };
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", bed.scratch.path, names[i]);
		fclose(fopen(path, "w"));
	}
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	CU_ASSERT_EQUAL(segment_files(&bed), 1);
	CU_ASSERT_EQUAL(access(path, F_OK), 0); /* not ours */
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "one");
	bed_close(&bed);
}

static void open_in_use_busy(void)
{
	struct bed bed;
	struct cold *second = NULL;
	struct thermo_error error;
	bed_open(&bed);
	CU_ASSERT_EQUAL(cold_open(&bed.options, &second, &error), -EBUSY);
	CU_ASSERT_PTR_NULL(second);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "in use"));
	bed_close(&bed);
}

static void open_missing_directory_made(void)
{
	struct bed bed;
	char path[320];
	struct stat stat_of;
	bed_prepare(&bed);
	snprintf(path, sizeof(path), "%s/cold", bed.scratch.path);
	bed.options.dir = path;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	CU_ASSERT_EQUAL(stat(path, &stat_of), 0);
	CU_ASSERT_EQUAL(stat_of.st_mode & 0777, 0700);
	bed_put(&bed, "a", "one", 1);
	bed_close_tier(&bed);
	/* One level only. */
	snprintf(path, sizeof(path), "%s/x/y", bed.scratch.path);
	CU_ASSERT_EQUAL(cold_open(&bed.options, &bed.cold, &bed.error), -ENOENT);
	CU_ASSERT(strlen(bed.error.text) > 0);
	char removed[400];
	snprintf(removed, sizeof(removed), "rm -r '%s/cold'", bed.scratch.path);
	CU_ASSERT_EQUAL(system(removed), 0);
	bed_close(&bed);
}

static void open_not_a_directory_refused(void)
{
	struct bed bed;
	char path[320];
	bed_prepare(&bed);
	snprintf(path, sizeof(path), "%s/file", bed.scratch.path);
	fclose(fopen(path, "w"));
	bed.options.dir = path;
	CU_ASSERT_EQUAL(cold_open(&bed.options, &bed.cold, &bed.error), -ENOTDIR);
	CU_ASSERT_PTR_NOT_NULL(strstr(bed.error.text, path));
	bed_close(&bed);
}

static void merge_tombstone_dropped_when_nothing_older(void)
{
	struct bed bed;
	bed_open(&bed);
	bed_put(&bed, "a", "one", 1);
	bed_put(&bed, "b", "one", 2);
	bed_delete(&bed, "a", 3);
	bed_delete(&bed, "never", 4);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	struct thermo_stats stats = bed_stats(&bed);
	CU_ASSERT_EQUAL(stats.cold_runs, 1);
	CU_ASSERT_EQUAL(stats.cold_records, 1);
	CU_ASSERT_EQUAL(stats.cold_tombstones, 0);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "b"), "one");
	CU_ASSERT_EQUAL(segment_files(&bed), 1);
	bed_close(&bed);
}

/* A run that holds "big0".. and the given key. */
static void publish_large(struct bed *bed, const char *key, uint64_t seq)
{
	struct cold_writer *writer;
	uint64_t state = seq;
	char name[32];
	uint64_t value[512];
	cold_writer_open(bed->cold, &writer);
	for (int i = 0; i < 1000; i++) {
		for (int j = 0; j < 512; j++)
			value[j] = bed_random(&state);
		snprintf(name, sizeof(name), "big%d", i);
		struct cold_record record = bed_record(1, name, strlen(name), value, 4096,
						       seq + (uint64_t)i);
		CU_ASSERT_EQUAL(cold_writer_add(writer, &record), 0);
	}
	struct cold_record record = bed_record(1, key, strlen(key), "old", 3, seq + 1000);
	CU_ASSERT_EQUAL(cold_writer_add(writer, &record), 0);
	CU_ASSERT_EQUAL(cold_writer_publish(&writer), 0);
}

/* A tier with one old run, "a" in it; four more runs would be merged by themselves. */
static void open_with_old_run(struct bed *bed)
{
	bed_prepare(bed);
	bed->options.runs_max = 2;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(bed), 0);
	publish_large(bed, "a", 1);
	bed_put(bed, "w", "1", 1500);
	bed_put(bed, "w", "1", 1501);
	CU_ASSERT_EQUAL(bed_settle(bed), 0);
	CU_ASSERT_EQUAL(bed_stats(bed).cold_runs, 1);
}

static void merge_tombstone_kept_over_older_version(void)
{
	struct bed bed;
	open_with_old_run(&bed);
	bed_put(&bed, "x", "1", 2001);
	bed_delete(&bed, "a", 2002);
	bed_delete(&bed, "nowhere", 2003);
	bed_put(&bed, "y", "1", 2004);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	struct thermo_stats stats = bed_stats(&bed);
	CU_ASSERT_EQUAL(stats.cold_runs, 2);
	CU_ASSERT_EQUAL(stats.cold_tombstones, 1); /* that of "a"; "nowhere" is in no older run */
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	bed_close(&bed);
}

static void merge_expired_hides_older_version(void)
{
	struct bed bed;
	open_with_old_run(&bed);
	struct cold_record record = bed_record(1, "a", 1, "short", 5, 2000);
	record.expires_ms = bed.now_ms + 10;
	bed_publish(&bed, &record);
	for (uint64_t i = 1; i < 4; i++)
		bed_put(&bed, "x", "1", 2000 + i);
	bed.now_ms += 100;
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_runs, 2);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_tombstones, 1);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	bed_close(&bed);
}

static void work_all_expired_file_goes(void)
{
	struct bed bed;
	bed_open(&bed);
	struct cold_record record = bed_record(1, "a", 1, "short", 5, 1);
	record.expires_ms = bed.now_ms + 10;
	bed_publish(&bed, &record);
	CU_ASSERT_EQUAL(cold_work(bed.cold), THERMO_MISS);
	bed.now_ms += 10;
	CU_ASSERT_EQUAL(cold_work(bed.cold), THERMO_OK);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_runs, 0);
	CU_ASSERT_EQUAL(segment_files(&bed), 0);
	bed_close(&bed);
}

static void publish_late_writer_superseded(void)
{
	struct bed bed;
	struct cold_writer *early;
	bed_open(&bed);
	cold_writer_open(bed.cold, &early);
	struct cold_record record = bed_record(1, "a", 1, "old", 3, 1);
	cold_writer_add(early, &record);
	record = bed_record(1, "b", 1, "only", 4, 2);
	cold_writer_add(early, &record);
	bed_put(&bed, "a", "new", 3);
	CU_ASSERT_EQUAL(cold_writer_publish(&early), 0);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "new");
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "b"), "only");
	bed_close(&bed);
}

static void publish_late_writer_tombstone_waits(void)
{
	struct bed bed;
	struct cold_writer *early;
	bed_open(&bed);
	cold_writer_open(bed.cold, &early);
	struct cold_record record = bed_record(1, "a", 1, "old", 3, 1);
	cold_writer_add(early, &record);
	bed_delete(&bed, "a", 2);
	for (uint64_t i = 3; i < 7; i++)
		bed_put(&bed, "x", "1", i);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_tombstones, 1);
	CU_ASSERT_EQUAL(cold_writer_publish(&early), 0);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "-");
	bed_close(&bed);
}

static void publish_empty_nothing(void)
{
	struct bed bed;
	struct cold_writer *writer;
	bed_open(&bed);
	CU_ASSERT_EQUAL(cold_writer_open(bed.cold, &writer), 0);
	CU_ASSERT_EQUAL(cold_writer_publish(&writer), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_runs, 0);
	bed_close(&bed);
}

static void publish_beyond_cap_no_space(void)
{
	struct bed bed;
	struct cold_writer *writer;
	uint64_t value[512], state = 1;
	bed_prepare(&bed);
	bed.options.cap_bytes = 4u << 20;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	bed_put(&bed, "a", "one", 1);
	cold_writer_open(bed.cold, &writer);
	for (uint64_t i = 0; i < 1000; i++) {
		for (int j = 0; j < 512; j++)
			value[j] = bed_random(&state);
		struct cold_record record = bed_record(1, &i, sizeof(i), value, sizeof(value), i + 2);
		CU_ASSERT_EQUAL(cold_writer_add(writer, &record), 0);
	}
	CU_ASSERT_EQUAL(cold_writer_publish(&writer), -ENOSPC);
	CU_ASSERT_PTR_NOT_NULL_FATAL(writer);
	CU_ASSERT_EQUAL(cold_writer_records(writer), 1000);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_runs, 1);
	CU_ASSERT_EQUAL(segment_files(&bed), 1);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "one");
	cold_writer_abort(&writer);
	bed_close(&bed);
}

static void drop_space_invisible_and_removed(void)
{
	struct bed bed;
	char value[16];
	struct cold_record record, got;
	bed_open(&bed);
	record = bed_record(5, "a", 1, "gone", 4, 1);
	bed_publish(&bed, &record);
	bed_put(&bed, "a", "stays", 2);
	CU_ASSERT_EQUAL(cold_space_drop(bed.cold, 5, 3), 0);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 5, "a", 1, 0, value, 16, &got), THERMO_MISS);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "stays");
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_runs, 1);
	/* The id's next user is told apart. */
	record = bed_record(5, "a", 1, "new", 3, 4);
	bed_publish(&bed, &record);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 5, "a", 1, 0, value, 16, &got), THERMO_OK);
	bed_reopen(&bed);
	CU_ASSERT_EQUAL(bed_get_key(&bed, 5, "a", 1, 0, value, 16, &got), THERMO_OK);
	bed_close(&bed);
}

/* Does any file of the directory hold these bytes? */
static bool bytes_on_disk(const struct bed *bed, const char *bytes)
{
	bool found = false;
	DIR *dir = opendir(bed->scratch.path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[600];
		snprintf(path, sizeof(path), "%s/%s", bed->scratch.path, entry->d_name);
		FILE *file = fopen(path, "r");
		static char all[8 << 20];
		size_t n = file ? fread(all, 1, sizeof(all), file) : 0;
		found |= n && memmem(all, n, bytes, strlen(bytes));
		if (file)
			fclose(file);
	}
	closedir(dir);
	return found;
}

static void erase_key_no_byte_left(void)
{
	struct bed bed;
	bed_open(&bed);
	publish_large(&bed, "secret-key", 1);
	bed_put(&bed, "x", "1", 2000);
	bed_put(&bed, "secret-key", "secret-value", 2001);
	CU_ASSERT(bytes_on_disk(&bed, "secret-key"));
	struct cold_get get = { .key = "secret-key", .key_len = 10, .space = 1 };
	get.hash = key_hash(1, "secret-key", 10, 0);
	CU_ASSERT_EQUAL(cold_erase_begin(bed.cold, &get, 2002), THERMO_PENDING);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "secret-key"), "-");
	bed_reopen(&bed); /* it goes on after a restart */
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "secret-key"), "-");
	CU_ASSERT_EQUAL(cold_erase_wait(bed.cold, &get, 0), THERMO_PENDING);
	CU_ASSERT_EQUAL(cold_erase_wait(bed.cold, &get, -1), THERMO_OK);
	CU_ASSERT_EQUAL(cold_erase_begin(bed.cold, &get, 2002), THERMO_OK);
	CU_ASSERT(!bytes_on_disk(&bed, "secret"));
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "x"), "1");
	CU_ASSERT_STRING_NOT_EQUAL(bed_get(&bed, "big7"), "-");
	/* A later version of the key is another matter. */
	bed_put(&bed, "secret-key", "again", 3000);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "secret-key"), "again");
	bed_close(&bed);
}

static void scan_prefix_newest_once(void)
{
	struct bed bed;
	struct cold_scan *scan;
	struct cold_record record;
	bool seen[256] = { false };
	int n = 0;
	bed_open(&bed);
	bed_put(&bed, "ab1", "old", 1);
	bed_put(&bed, "ab3", "c", 2);
	bed_put(&bed, "b", "no", 3);
	bed_put(&bed, "ab1", "a", 4);
	bed_put(&bed, "ab2", "gone", 5);
	bed_delete(&bed, "ab2", 6);
	bed_put(&bed, "ab", "_", 7);
	bed_put(&bed, "a", "no", 8);
	record = bed_record(2, "ab1", 3, "no", 2, 9);
	bed_publish(&bed, &record);
	record = bed_record(1, "ab9", 3, "no", 2, 10);
	record.flags = COLD_CHUNK;
	record.hash = key_hash(1, "ab9", 3, 1);
	bed_publish(&bed, &record);
	CU_ASSERT_EQUAL_FATAL(cold_scan_open(bed.cold, 1, "ab", 2, &scan), 0);
	while (cold_scan_next(scan, &record) == THERMO_OK) {
		seen[*(const uint8_t *)record.value] = true;
		CU_ASSERT_EQUAL(record.hash, key_hash(1, record.key, record.key_len, 0));
		n++;
	}
	CU_ASSERT_EQUAL(n, 3);
	CU_ASSERT(seen['_'] && seen['a'] && seen['c']);
	CU_ASSERT_EQUAL(cold_scan_next(scan, &record), THERMO_MISS);
	cold_scan_close(&scan);
	CU_ASSERT_PTR_NULL(scan);
	bed_close(&bed);
}

/* n records with values of 1,000 random bytes, keys and sequence numbers from `from` on. */
static int publish_many(struct bed *bed, uint64_t from, uint64_t n, uint64_t seq)
{
	struct cold_writer *writer;
	uint64_t value[125], state = seq;
	int status = cold_writer_open(bed->cold, &writer);
	for (uint64_t k = from; k < from + n && !status; k++) {
		for (int j = 0; j < 125; j++)
			value[j] = bed_random(&state);
		struct cold_record record = bed_record(1, &k, sizeof(k), value, sizeof(value), seq + k);
		status = cold_writer_add(writer, &record);
	}
	if (!status)
		status = cold_writer_publish(&writer);
	cold_writer_abort(&writer);
	return status;
}

static uint64_t bytes_in_directory(const struct bed *bed)
{
	uint64_t sum = 0;
	DIR *dir = opendir(bed->scratch.path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat stat_of;
		if (!fstatat(dirfd(dir), entry->d_name, &stat_of, 0) && S_ISREG(stat_of.st_mode))
			sum += (uint64_t)stat_of.st_blocks * 512;
	}
	closedir(dir);
	return sum;
}

static void work_overwritten_space_bounded(void)
{
	struct bed bed;
	char value[8];
	struct cold_record got;
	uint64_t most = 0, most_cold = 0;
	bed_prepare(&bed);
	bed.options.segment_bytes = 1u << 20;
	bed.options.garbage_percent = 50;
	bed.options.cap_bytes = 24u << 20;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	/* 10 MB of keys, written over and over, 2 MB at a time: room for half as much again, and some. */
	for (uint64_t i = 0; i < 40; i++) {
		CU_ASSERT_EQUAL_FATAL(publish_many(&bed, i % 5 * 2000, 2000, i * 10000 + 1), 0);
		int status;
		do {
			status = cold_work(bed.cold);
			uint64_t bytes = bytes_in_directory(&bed);
			most = bytes > most ? bytes : most;
			bytes = bed_stats(&bed).cold_bytes;
			most_cold = bytes > most_cold ? bytes : most_cold;
		} while (status == THERMO_OK);
		CU_ASSERT_EQUAL(status, THERMO_MISS);
	}
	printf("  at most %.1f MB on disk, %.1f counted\n", (double)most / 1e6, (double)most_cold / 1e6);
	CU_ASSERT(most < 22000000);
	CU_ASSERT(most_cold < 22000000);
	for (uint64_t k = 0; k < 10000; k++)
		CU_ASSERT_EQUAL(bed_get_key(&bed, 1, &k, sizeof(k), 0, value, 8, &got), THERMO_OK);
	bed_close(&bed);
}

static void merge_interrupted_everything_there(void)
{
	struct bed bed;
	char value[8];
	struct cold_record got;
	bed_prepare(&bed);
	bed.options.segment_bytes = 1u << 20;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	for (uint64_t i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(publish_many(&bed, 0, 8000, i * 10000 + 1), 0);
	uint64_t before = bed_stats(&bed).cold_bytes;
	for (int round = 0; round < 3; round++) { /* a few segments of the output each time */
		for (int i = 0; i < 4; i++)
			CU_ASSERT_EQUAL(cold_work(bed.cold), THERMO_OK);
		for (uint64_t k = 0; k < 8000; k += 17) {
			CU_ASSERT_EQUAL(bed_get_key(&bed, 1, &k, sizeof(k), 0, value, 8, &got), THERMO_OK);
			CU_ASSERT_EQUAL(got.seq, 30001 + k);
		}
		bed_reopen(&bed);
		CU_ASSERT(bed_stats(&bed).cold_bytes < before);
	}
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_records, 8000);
	CU_ASSERT_EQUAL(bed_stats(&bed).cold_runs, 1);
	CU_ASSERT(bed_stats(&bed).tier[THERMO_COLD].segments >= 8);
	for (uint64_t k = 0; k < 8000; k++)
		CU_ASSERT_EQUAL(bed_get_key(&bed, 1, &k, sizeof(k), 0, value, 8, &got), THERMO_OK);
	bed_close(&bed);
}

static void runs_beyond_most_merged(void)
{
	struct bed bed;
	char value[8];
	struct cold_record got;
	bed_prepare(&bed);
	bed.options.runs_max = 6;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	for (uint64_t i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL_FATAL(publish_many(&bed, i * 20, 20, 1), 0);
		CU_ASSERT_EQUAL(bed_settle(&bed), 0);
		CU_ASSERT(bed_stats(&bed).cold_runs <= 6);
	}
	CU_ASSERT(bed_stats(&bed).compactions >= 8);
	/* Each record was written a few times, not fifty. */
	CU_ASSERT(bed_stats(&bed).compaction_read_bytes < 2000 * 1000 * 8);
	for (uint64_t k = 0; k < 2000; k++)
		CU_ASSERT_EQUAL(bed_get_key(&bed, 1, &k, sizeof(k), 0, value, 8, &got), THERMO_OK);
	/* More at once than the default, for the merge's buffers. */
	bed.options.runs_max = 0;
	bed_reopen(&bed);
	for (uint64_t i = 0; i < 70; i++)
		CU_ASSERT_EQUAL_FATAL(publish_many(&bed, 5000 + i, 1, 1), 0);
	CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	CU_ASSERT(bed_stats(&bed).cold_runs <= 64);
	/* Without anybody who works, publishing sees to it that there are not too many. */
	for (uint64_t i = 0; i < 300; i++)
		CU_ASSERT_EQUAL_FATAL(publish_many(&bed, i, 1, 10000), 0);
	CU_ASSERT(bed_stats(&bed).cold_runs <= 128);
	bed_close(&bed);
}

/* Records leave memory, and runs are merged, although the control plane has filled the heap. */
static void full_heap_published_and_merged(void)
{
	struct bed bed;
	struct thermo_stats stats;
	void *blocks[4096], *fill;
	unsigned n = 0;
	bed_prepare(&bed);
	heap_close(&bed.heap);
	CU_ASSERT_EQUAL_FATAL(heap_open("libc", NULL, 4u << 20, NULL, &bed.heap, NULL), 0);
	bed.options.heap = bed.heap;
	bed.options.runs_max = 4;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	for (size_t bytes = 64 << 10; bytes >= 64; bytes /= 2)
		while (n < 4096 && (fill = heap_alloc(bed.heap, bytes)))
			blocks[n++] = fill;
	CU_ASSERT_PTR_NULL_FATAL(heap_alloc(bed.heap, 64));
	for (uint64_t i = 0; i < 12; i++)
		CU_ASSERT_EQUAL_FATAL(publish_many(&bed, i * 10000, 5000, 1 + i * 10000), 0);
	int status;
	while ((status = cold_work(bed.cold)) == THERMO_OK)
		;
	CU_ASSERT_EQUAL(status, THERMO_MISS);
	stats = bed_stats(&bed);
	CU_ASSERT(stats.compactions > 0);
	CU_ASSERT(stats.cold_runs <= 4);
	CU_ASSERT_EQUAL(stats.cold_records, 60000);
	while (n)
		heap_free(bed.heap, blocks[--n]);
	bed_close(&bed);
}

static void filters_beyond_cap_one_read(void)
{
	struct bed bed;
	bed_prepare(&bed);
	bed.options.filter_bytes = 4096;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	publish_large(&bed, "a", 1);
	CU_ASSERT(strlen(bed.notice) > 0);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "old");
	CU_ASSERT_EQUAL(bed_stats(&bed).device_reads, 1);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "big5x"), "-");
	CU_ASSERT_EQUAL(bed_stats(&bed).device_reads, 2);
	bed_reopen(&bed);
	CU_ASSERT_STRING_EQUAL(bed_get(&bed, "a"), "old");
	bed_close(&bed);
}

static const struct suite_case cases[] = {
	SUITE_CASE(get_published_found),
	SUITE_CASE(get_several_versions_newest),
	SUITE_CASE(get_tombstone_miss),
	SUITE_CASE(get_expired_miss),
	SUITE_CASE(get_chunk_distinct),
	SUITE_CASE(get_greatest_record_found),
	SUITE_CASE(get_batch_each_once),
	SUITE_CASE(cancel_under_way_callers_at_once),
	SUITE_CASE(get_while_merged_sees_pinned),
	SUITE_CASE(reopen_keeps_everything),
	SUITE_CASE(open_orphans_removed),
	SUITE_CASE(open_in_use_busy),
	SUITE_CASE(open_missing_directory_made),
	SUITE_CASE(open_not_a_directory_refused),
	SUITE_CASE(merge_tombstone_dropped_when_nothing_older),
	SUITE_CASE(merge_tombstone_kept_over_older_version),
	SUITE_CASE(merge_expired_hides_older_version),
	SUITE_CASE(work_all_expired_file_goes),
	SUITE_CASE(publish_late_writer_superseded),
	SUITE_CASE(publish_late_writer_tombstone_waits),
	SUITE_CASE(publish_empty_nothing),
	SUITE_CASE(publish_beyond_cap_no_space),
	SUITE_CASE(drop_space_invisible_and_removed),
	SUITE_CASE(erase_key_no_byte_left),
	SUITE_CASE(scan_prefix_newest_once),
	SUITE_CASE(work_overwritten_space_bounded),
	SUITE_CASE(merge_interrupted_everything_there),
	SUITE_CASE(runs_beyond_most_merged),
	SUITE_CASE(full_heap_published_and_merged),
	SUITE_CASE(filters_beyond_cap_one_read),
};

int main(void)
{
	return suite_run("cold", NULL, NULL, cases, SUITE_COUNT(cases));
}
