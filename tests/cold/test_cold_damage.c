/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cold tier does with a directory that was damaged, with calls that fail, and after the power
 * went: a clear error or the truth, never a crash, never another value, nothing changed on disk by an
 * open that fails.
 */
#include "tests/cold/bed.h"
#include "tests/cold/fault_file.h"
#include "tiers/cold/format.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <sys/stat.h>
#include <xxhash.h>

#define KEYS 400
#define PATH_BYTES 1024

/* ---- A directory with known contents ---- */

static void value_of(int k, uint64_t seq, char *value)
{
	sprintf(value, "value %d of %llu, ", k, (unsigned long long)seq);
	for (int i = 0; i < k % 7; i++)
		strcat(value, "and more of the same that compresses; ");
}

/* Keys from, from + step, ... as one run, with seq + k. */
static int publish(struct bed *bed, int from, int step, uint64_t seq)
{
	struct cold_writer *writer;
	char key[16], value[512];
	int status = cold_writer_open(bed->cold, &writer);
	for (int k = from; k < KEYS && !status; k += step) {
		sprintf(key, "key%d", k);
		value_of(k, seq + (uint64_t)k, value);
		struct cold_record record = bed_record(1, key, strlen(key), value, strlen(value),
						       seq + (uint64_t)k);
		status = cold_writer_add(writer, &record);
	}
	if (!status)
		status = cold_writer_publish(&writer);
	cold_writer_abort(&writer);
	return status;
}

/* -1: an error; 0: a miss; else the sequence number of a right value; wrong bytes fail the test. */
static int64_t look(struct bed *bed, int k)
{
	char key[16], value[512], got[512];
	struct cold_record record = { 0 };
	sprintf(key, "key%d", k);
	int status = bed_get_key(bed, 1, key, strlen(key), 0, got, sizeof(got), &record);
	if (status < 0)
		return -1;
	if (status == THERMO_MISS)
		return 0;
	value_of(k, record.seq, value);
	CU_ASSERT_EQUAL_FATAL(record.value_len, strlen(value));
	CU_ASSERT_EQUAL_FATAL(memcmp(got, value, record.value_len), 0);
	return (int64_t)record.seq - k;
}

/* All of the truth: run 1000 has every key, run 5000 every third. */
static void check_truth(struct bed *bed)
{
	for (int k = 0; k < KEYS; k++)
		CU_ASSERT_EQUAL(look(bed, k), k % 3 ? 1000 : 5000);
}

static void fill(struct bed *bed)
{
	bed_open(bed);
	CU_ASSERT_EQUAL_FATAL(publish(bed, 0, 1, 1000), 0);
	CU_ASSERT_EQUAL_FATAL(publish(bed, 0, 3, 5000), 0);
	CU_ASSERT_EQUAL_FATAL(cold_meta_set(bed->cold, "meta", 4), 0);
	check_truth(bed);
	bed_close_tier(bed);
}

struct image {
	char name[64];
	uint8_t *bytes;
	size_t len;
};

static void path_of(const struct bed *bed, const char *name, char *path)
{
	snprintf(path, PATH_BYTES, "%s/%s", bed->scratch.path, name);
}

static void save(const struct bed *bed, const char *name, struct image *image)
{
	char path[PATH_BYTES];
	path_of(bed, name, path);
	FILE *file = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	snprintf(image->name, sizeof(image->name), "%s", name);
	fseek(file, 0, SEEK_END);
	image->len = (size_t)ftell(file);
	rewind(file);
	image->bytes = malloc(image->len + 1);
	CU_ASSERT_EQUAL_FATAL(fread(image->bytes, 1, image->len, file), image->len);
	fclose(file);
}

static void restore(const struct bed *bed, const struct image *image, size_t len)
{
	char path[PATH_BYTES];
	path_of(bed, image->name, path);
	FILE *file = fopen(path, "w");
	fwrite(image->bytes, 1, len, file);
	fclose(file);
}

static bool same_on_disk(const struct bed *bed, const struct image *image)
{
	struct image now;
	save(bed, image->name, &now);
	bool same = now.len == image->len && !memcmp(now.bytes, image->bytes, now.len);
	free(now.bytes);
	return same;
}

static unsigned save_all(const struct bed *bed, struct image *images)
{
	unsigned n = 0;
	DIR *dir = opendir(bed->scratch.path);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "LOCK"))
			save(bed, entry->d_name, &images[n++]);
	closedir(dir);
	return n;
}

static void free_all(struct image *images, unsigned n)
{
	while (n--)
		free(images[n].bytes);
}

/* Opens what may be damaged: refused with a line, or readable without a wrong byte. */
static int try_directory(struct bed *bed)
{
	int status = bed_open_tier(bed);
	if (status) {
		CU_ASSERT(status == -EILSEQ || status == -EPROTO);
		CU_ASSERT(strlen(bed->error.text) > 20);
		CU_ASSERT_PTR_NULL(strchr(bed->error.text, '\n'));
		CU_ASSERT_PTR_NOT_NULL(strstr(bed->error.text, bed->scratch.path));
		return status;
	}
	for (int k = 0; k < KEYS; k++) {
		int64_t seq = look(bed, k);
		/* Never the older version behind a bad block. */
		CU_ASSERT(seq == -1 || seq == (k % 3 ? 1000 : 5000));
	}
	bed_close_tier(bed);
	return 0;
}

static void open_flipped_bits_error_or_truth(void)
{
	struct bed bed;
	struct image images[8];
	fill(&bed);
	unsigned n = save_all(&bed, images);
	uint64_t random = suite_seed();
	unsigned refused = 0, opened = 0;
	CU_ASSERT_EQUAL_FATAL(n, 3);
	for (int round = 0; round < 600; round++) {
		struct image *image = &images[bed_random(&random) % n];
		size_t at = bed_random(&random) % image->len;
		/* Half of them where the structures are. */
		if (round & 1)
			at = image->len - 1 - bed_random(&random) % (image->len < 24576 ? image->len : 24576);
		uint8_t bit = (uint8_t)(1u << bed_random(&random) % 8);
		image->bytes[at] ^= bit;
		restore(&bed, image, image->len);
		if (try_directory(&bed)) {
			refused++;
			for (unsigned i = 0; i < n; i++)
				CU_ASSERT(same_on_disk(&bed, &images[i]));
		} else {
			opened++;
		}
		image->bytes[at] ^= bit;
		restore(&bed, image, image->len);
	}
	CU_ASSERT(refused > 50);
	CU_ASSERT(opened > 50);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	check_truth(&bed);
	free_all(images, n);
	bed_close(&bed);
}

static void open_cut_files_refused(void)
{
	struct bed bed;
	struct image images[8];
	fill(&bed);
	unsigned n = save_all(&bed, images);
	for (unsigned i = 0; i < n; i++) {
		size_t lengths[] = { 0, 1, images[i].len / 2, images[i].len - 1 };
		for (unsigned l = 0; l < 4; l++) {
			restore(&bed, &images[i], lengths[l]);
			CU_ASSERT_EQUAL(try_directory(&bed), -EILSEQ);
		}
		char path[PATH_BYTES];
		path_of(&bed, images[i].name, path);
		unlink(path);
		CU_ASSERT_EQUAL(try_directory(&bed), -EILSEQ);
		restore(&bed, &images[i], images[i].len);
	}
	free_all(images, n);
	bed_close(&bed);
}

static void open_exchanged_files_refused(void)
{
	struct bed bed;
	struct image images[8], other;
	fill(&bed);
	unsigned n = save_all(&bed, images), a = n, b = n;
	for (unsigned i = 0; i < n; i++)
		if (strstr(images[i].name, ".seg"))
			*(a == n ? &a : &b) = i;
	other = images[a];
	memcpy(other.name, images[b].name, sizeof(other.name));
	restore(&bed, &other, other.len);
	CU_ASSERT_EQUAL(try_directory(&bed), -EILSEQ);
	free_all(images, n);
	bed_close(&bed);
}

static void rehash(uint8_t *page, size_t len)
{
	uint64_t hash = XXH3_64bits(page, len - 8);
	memcpy(page + len - 8, &hash, 8);
}

static void open_unknown_version_protocol_error(void)
{
	struct bed bed;
	struct image images[8];
	fill(&bed);
	unsigned n = save_all(&bed, images);
	for (unsigned i = 0; i < n; i++) {
		bool manifest = !strcmp(images[i].name, "MANIFEST");
		uint8_t *page = images[i].bytes + (manifest ? 0 : images[i].len - FORMAT_PAGE);
		size_t len = manifest ? images[i].len : FORMAT_PAGE;
		if (!manifest)
			continue; /* its hash is in the manifest: another file altogether */
		size_t fields[] = { offsetof(struct manifest_head, version),
				    offsetof(struct manifest_head, features.ro_compat),
				    offsetof(struct manifest_head, features.incompat) };
		for (unsigned f = 0; f < 3; f++) {
			page[fields[f]] ^= 0x40;
			rehash(page, len);
			restore(&bed, &images[i], images[i].len);
			CU_ASSERT_EQUAL(try_directory(&bed), -EPROTO);
			page[fields[f]] ^= 0x40;
			rehash(page, len);
		}
		/* What may be ignored is. */
		page[offsetof(struct manifest_head, features.compat)] ^= 0x40;
		rehash(page, len);
		restore(&bed, &images[i], images[i].len);
		CU_ASSERT_EQUAL(try_directory(&bed), 0);
	}
	free_all(images, n);
	bed_close(&bed);
}

/* ---- Calls that fail ---- */

static void open_faulty(struct bed *bed, struct fault_file **fault)
{
	bed_prepare(bed);
	*fault = fault_file_open(&file_ops_posix);
	bed->options.files = fault_file_ops(*fault);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(bed), 0);
	CU_ASSERT_EQUAL_FATAL(publish(bed, 0, 1, 1000), 0);
}

/* The n-th change fails while a writer publishes: nothing is visible, the writer is as it was; once the
 * fault is gone it can be published, unless a sync failed (that is final until the tier is reopened). */
static void publish_failing_call_nothing_visible(void)
{
	static const int errors[] = { EIO, ENOSPC };
	for (unsigned e = 0; e < 2; e++) {
		bool reached = true;
		for (uint64_t nth = 1; reached; nth++) {
			struct bed bed;
			struct fault_file *fault;
			struct cold_writer *writer;
			open_faulty(&bed, &fault);
			struct cold_record record = bed_record(1, "key0", 4, "", 0, 9000);
			value_of(0, 9000, bed.notice);
			record.value = bed.notice;
			record.value_len = (uint32_t)strlen(bed.notice);
			CU_ASSERT_EQUAL_FATAL(cold_writer_open(bed.cold, &writer), 0);
			CU_ASSERT_EQUAL_FATAL(cold_writer_add(writer, &record), 0);
			fault_set(fault, &(struct fault_rule){ FAULT_CHANGE, nth, FAULT_ERROR,
							       errors[e], false });
			int status = cold_writer_publish(&writer);
			reached = fault_hits(fault) > 0;
			fault_clear(fault);
			if (status) {
				CU_ASSERT(reached);
				CU_ASSERT_PTR_NOT_NULL_FATAL(writer);
				CU_ASSERT_EQUAL(cold_writer_records(writer), 1);
				CU_ASSERT_EQUAL(look(&bed, 0), 1000);
				status = cold_writer_publish(&writer);
				CU_ASSERT_EQUAL(look(&bed, 0), status ? 1000 : 9000);
			} else {
				CU_ASSERT_EQUAL(look(&bed, 0), 9000);
			}
			int64_t before = look(&bed, 0);
			bool unsure = bed_stats(&bed).cold_failed;
			cold_writer_abort(&writer);
			bed_reopen(&bed);
			int64_t after = look(&bed, 0);
			CU_ASSERT(after == before || (unsure && after == 9000));
			for (int k = 1; k < KEYS; k++)
				CU_ASSERT_EQUAL(look(&bed, k), 1000);
			bed.options.files = NULL;
			bed_close(&bed);
			fault_file_close(fault);
			CU_ASSERT_FATAL(nth < 100);
		}
	}
}

static void work_failing_call_everything_readable(void)
{
	bool reached = true;
	for (uint64_t nth = 1; reached; nth++) {
		struct bed bed;
		struct fault_file *fault;
		open_faulty(&bed, &fault);
		for (uint64_t i = 2; i < 6; i++)
			CU_ASSERT_EQUAL_FATAL(publish(&bed, (int)i, 1, i * 1000), 0);
		fault_set(fault, &(struct fault_rule){ FAULT_CHANGE, nth, FAULT_ERROR, EIO, false });
		int status = bed_settle(&bed);
		reached = fault_hits(fault) > 0;
		CU_ASSERT(reached || !status);
		fault_clear(fault);
		for (int k = 0; k < KEYS; k++)
			CU_ASSERT_EQUAL(look(&bed, k), k < 2 ? 1000 : k < 6 ? k * 1000 : 5000);
		bed.now_ms += 10000;
		bed_settle(&bed);
		bed_reopen(&bed);
		for (int k = 0; k < KEYS; k++)
			CU_ASSERT_EQUAL(look(&bed, k), k < 2 ? 1000 : k < 6 ? k * 1000 : 5000);
		CU_ASSERT_EQUAL(bed_settle(&bed), 0);
		bed_close(&bed);
		fault_file_close(fault);
		CU_ASSERT_FATAL(nth < 200);
	}
}

static void get_failing_read_error_not_older(void)
{
	struct bed bed;
	struct fault_file *fault;
	open_faulty(&bed, &fault);
	CU_ASSERT_EQUAL(publish(&bed, 0, 3, 5000), 0);
	for (int action = FAULT_ERROR; action <= FAULT_FLIP; action += FAULT_FLIP - FAULT_ERROR) {
		for (int k = 0; k < 30; k += 3) {
			fault_set(fault, &(struct fault_rule){ FAULT_READ, 1, (enum fault_action)action,
							       EIO, true });
			int64_t seq = look(&bed, k);
			/* A flipped bit may lie in the page's other bytes. */
			CU_ASSERT(seq == -1 || (action == FAULT_FLIP && seq == 5000));
			if (action == FAULT_ERROR)
				CU_ASSERT_EQUAL(seq, -1);
			fault_clear(fault);
			CU_ASSERT_EQUAL(look(&bed, k), 5000);
		}
	}
	bed_close(&bed);
	fault_file_close(fault);
}

/* Overwrites what the newest segment has of records; its tables are in DRAM. */
static void spoil_newest(const struct bed *bed)
{
	char path[PATH_BYTES], name[32], bytes[4096];
	struct stat st;
	unsigned newest = 0;
	for (unsigned number = 1; number < 16; number++) {
		sprintf(name, "%016x.seg", number);
		path_of(bed, name, path);
		if (!stat(path, &st))
			newest = number;
	}
	sprintf(name, "%016x.seg", newest);
	path_of(bed, name, path);
	int fd = open(path, O_WRONLY);
	CU_ASSERT_FATAL(fd >= 0 && !fstat(fd, &st));
	memset(bytes, 0x5a, sizeof(bytes));
	for (off_t at = 64; at < st.st_size - 4096; at += 4032)
		CU_ASSERT_EQUAL(pwrite(fd, bytes, 4032, at), 4032);
	CU_ASSERT_EQUAL(fsync(fd), 0);
	close(fd);
}

/* Every third key is in the run that was spoiled, and in an older one: it must not be found there. */
static void check_lost(struct bed *bed)
{
	for (int k = 0; k < KEYS; k++) {
		int64_t seq = look(bed, k);
		CU_ASSERT(k % 3 ? seq == 1000 || seq == -1 : seq == -1); /* -1 also by a false positive */
	}
}

static int scan_all(struct bed *bed)
{
	struct cold_scan *scan;
	struct cold_record record;
	int status = cold_scan_open(bed->cold, 1, "", 0, &scan);
	if (status)
		return status;
	while (!(status = cold_scan_next(scan, &record)))
		CU_ASSERT_NOT_EQUAL(record.seq % 1000 % 3, 0); /* seq 1000 + k */
	if (status < 0)
		CU_ASSERT_EQUAL(cold_scan_next(scan, &record), status); /* it does not go on behind it */
	cold_scan_close(&scan);
	return status;
}

static void spoiled_block_error_everywhere(void)
{
	struct bed bed;
	struct cold_writer *writer;
	bed_prepare(&bed);
	bed.options.runs_max = 1;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	CU_ASSERT_EQUAL_FATAL(publish(&bed, 0, 1, 1000), 0);
	CU_ASSERT_EQUAL_FATAL(cold_writer_open(bed.cold, &writer), 0);
	CU_ASSERT_EQUAL_FATAL(publish(&bed, 0, 3, 5000), 0);
	spoil_newest(&bed);
	check_lost(&bed);
	CU_ASSERT_EQUAL(scan_all(&bed), -EIO);
	/* A merge fails, again and again, and leaves everything as it is. */
	for (int round = 0; round < 4; round++) {
		CU_ASSERT_EQUAL(bed_settle(&bed), -EIO);
		bed.now_ms += 2000;
		check_lost(&bed);
	}
	/* What a writer holds may be older than what cannot be read: it is not published. */
	struct cold_record record = bed_record(1, "key0", 4, "older", 5, 3000);
	CU_ASSERT_EQUAL(cold_writer_add(writer, &record), 0);
	CU_ASSERT(cold_writer_publish(&writer) < 0);
	cold_writer_abort(&writer);
	CU_ASSERT_EQUAL(look(&bed, 0), -1);
	/* Nor is a copy of a key taken to be gone. */
	struct cold_get get = { .key = "key3", .key_len = 4, .space = 1, .hash = key_hash(1, "key3", 4, 0) };
	CU_ASSERT_EQUAL(cold_erase_begin(bed.cold, &get, 9000), THERMO_PENDING);
	CU_ASSERT(cold_erase_wait(bed.cold, &get, -1) < 0);
	CU_ASSERT_EQUAL(look(&bed, 3), -1);
	bed_close(&bed);
}

/* ---- The power goes ---- */

struct milestone {
	size_t events; /* when that was acknowledged */
	uint64_t seq;  /* what key k must then have at least, for k >= from */
	int from;
};

static void restart_after_power_loss_acknowledged_there(void)
{
	struct bed bed;
	struct fault_file *fault;
	struct milestone milestones[16];
	const struct fault_event *events;
	unsigned n = 0;
	bed_prepare(&bed);
	fault = fault_file_open(&file_ops_posix);
	bed.options.files = fault_file_ops(fault);
	fault_record(fault);
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&bed), 0);
	for (uint64_t i = 1; i <= 9; i++) {
		CU_ASSERT_EQUAL_FATAL(publish(&bed, (int)i * 10, 1, i * 1000), 0);
		milestones[n].from = (int)i * 10;
		milestones[n].seq = i * 1000;
		milestones[n++].events = fault_events(fault, &events);
		if (i % 3 == 0)
			CU_ASSERT_EQUAL(bed_settle(&bed), 0);
	}
	CU_ASSERT(bed_stats(&bed).compactions > 0);
	size_t all = fault_events(fault, &events);
	bed_close_tier(&bed);
	uint64_t random = suite_seed();
	for (int round = 0; round < 150; round++) {
		struct bed after;
		size_t cut = bed_random(&random) % (all + 1);
		bed_prepare(&after);
		CU_ASSERT_EQUAL_FATAL(fault_replay(fault, cut, (enum fault_loss)(round % 3),
						   bed_random(&random), after.scratch.path), 0);
		int status = bed_open_tier(&after);
		CU_ASSERT_EQUAL_FATAL(status, 0);
		for (unsigned m = 0; m < n && milestones[m].events <= cut; m++)
			for (int k = milestones[m].from; k < KEYS; k += 7)
				CU_ASSERT(look(&after, k) >= (int64_t)milestones[m].seq);
		CU_ASSERT_EQUAL(publish(&after, 0, 1, 20000), 0);
		CU_ASSERT_EQUAL(look(&after, 5), 20000);
		bed_close(&after);
	}
	bed_close(&bed);
	fault_file_close(fault);
}

static const struct suite_case cases[] = {
	SUITE_CASE(open_flipped_bits_error_or_truth),
	SUITE_CASE(open_cut_files_refused),
	SUITE_CASE(open_exchanged_files_refused),
	SUITE_CASE(open_unknown_version_protocol_error),
	SUITE_CASE(publish_failing_call_nothing_visible),
	SUITE_CASE(work_failing_call_everything_readable),
	SUITE_CASE(get_failing_read_error_not_older),
	SUITE_CASE(spoiled_block_error_everywhere),
	SUITE_CASE(restart_after_power_loss_acknowledged_there),
};

int main(void)
{
	return suite_run("cold_damage", NULL, NULL, cases, SUITE_COUNT(cases));
}
