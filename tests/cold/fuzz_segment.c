/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files, through the tier's own readers: a directory whose manifest names the file under
 * test and one whole segment is opened; every key that is known is read, every space scanned (and
 * what a scan gives is read again), both runs are merged, a key erased, and the directory opened
 * once more. Nothing may crash, errors have a line, an open that fails changes nothing on disk, and
 * what opened once opens again.
 *
 * An input is a way (bits below) and pages of the file: u16 length, then that many bytes; zeroes
 * fill the page.
 */
#include "alloc/check.h"
#include "tests/cold/bed.h"
#include "tests/fuzz.h"
#include "tiers/cold/crc.h"
#include "tiers/cold/manifest.h"
#include "tiers/cold/tier.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <xxhash.h>

enum way {
	SEALED = 1,    /* checksums are put right, so that what lies behind them is reached */
	OLDER = 2,     /* the file under test is the older run of the two */
	NO_FILTER = 4, /* the cap keeps its filter out of DRAM */
	DROPPED = 8,   /* the manifest has drops and erasures */
	PARTLY = 16,   /* half of its records have been merged away */
};

#define PAGES_MAX 64u
#define TESTED 7u /* number of the file under test */
#define WHOLE 1u  /* of the other one */
#define KEYS 60

struct bytes {
	uint8_t *start;
	size_t len;
};

/* ---- Files ---- */

static void path_make(const struct bed *bed, const char *name, char path[512])
{
	snprintf(path, 512, "%s/%s", bed->scratch.path, name);
}

static void file_put(const struct bed *bed, const char *name, const struct bytes *bytes)
{
	char path[512];
	path_make(bed, name, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, bytes->start, bytes->len) == (ssize_t)bytes->len);
	close(fd);
}

static struct bytes file_take(const struct bed *bed, const char *name)
{
	char path[512];
	path_make(bed, name, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd >= 0);
	struct bytes bytes = {.len = (size_t)lseek(fd, 0, SEEK_END)};
	bytes.start = malloc(bytes.len + 1);
	check(bytes.start && pread(fd, bytes.start, bytes.len, 0) == (ssize_t)bytes.len);
	close(fd);
	return bytes;
}

static void file_same(const struct bed *bed, const char *name, const struct bytes *bytes)
{
	struct bytes now = file_take(bed, name);
	check(now.len == bytes->len && !memcmp(now.start, bytes->start, now.len));
	free(now.start);
}

static void name_of(uint64_t number, char name[SEGMENT_NAME_BYTES])
{
	cold_segment_name(number, name);
}

/* ---- Known contents ---- */

static void known_record(int k, struct cold_record *record, char key[16], char *value)
{
	snprintf(key, 16, "key%d", k);
	uint8_t space = (uint8_t)(1 + k % 3);
	size_t len = (size_t)snprintf(value, 64, "value %d and more that compresses %d", k, k);
	*record = bed_record(space, key, strlen(key), value, len, 1000 + (uint64_t)k);
	if (k % 7 == 0) {
		record->flags = COLD_TOMBSTONE;
		record->value_len = 0;
	}
	if (k % 11 == 1) {
		record->flags = COLD_CHUNK;
		record->hash = key_hash(space, key, strlen(key), 1);
	}
	if (k % 5 == 2)
		record->expires_ms = 900000 + (uint64_t)k * 10000;
}

/* A run of the keys from, from + step, ..., and, if large, of some long values. */
static struct bytes segment_make(int from, int step, bool large)
{
	struct bed bed;
	struct cold_writer *writer;
	struct cold_record record;
	char key[16], *value = malloc(20000), name[SEGMENT_NAME_BYTES];
	check(value);
	bed_open(&bed);
	check(cold_writer_open(bed.cold, &writer) == 0);
	for (int k = from; k < KEYS; k += step) {
		known_record(k, &record, key, value);
		check(cold_writer_add(writer, &record) == 0);
	}
	uint64_t random = 5;
	for (size_t i = 0; large && i < 20000; i++)
		value[i] = (char)bed_random(&random);
	for (int k = 0; large && k < 2; k++) {
		snprintf(key, sizeof(key), "long%d", k);
		record = bed_record(2, key, strlen(key), value, 9000, 50);
		check(cold_writer_add(writer, &record) == 0);
	}
	check(cold_writer_publish(&writer) == 0);
	bed_close_tier(&bed);
	name_of(WHOLE, name);
	struct bytes bytes = file_take(&bed, name);
	free(value);
	heap_close(&bed.heap);
	scratch_close(&bed.scratch);
	return bytes;
}

/* ---- An input as a file ---- */

static struct bytes unpack(const uint8_t *data, size_t size)
{
	struct bytes bytes = {calloc(PAGES_MAX, FORMAT_PAGE), 0};
	check(bytes.start);
	while (size >= 2 && bytes.len < PAGES_MAX * FORMAT_PAGE) {
		uint16_t n;
		memcpy(&n, data, 2);
		size_t take = n % (FORMAT_PAGE + 1);
		take = take < size - 2 ? take : size - 2;
		memcpy(bytes.start + bytes.len, data + 2, take);
		bytes.len += FORMAT_PAGE;
		data += 2 + take;
		size -= 2 + take;
	}
	return bytes;
}

static void pack(const char *folder, const char *name, uint8_t way, const struct bytes *file)
{
	uint8_t *packed = malloc(file->len + file->len / FORMAT_PAGE * 2);
	size_t len = 0;
	check(packed && file->len % FORMAT_PAGE == 0);
	for (size_t at = 0; at < file->len; at += FORMAT_PAGE) {
		uint16_t n = FORMAT_PAGE;
		while (n && !file->start[at + n - 1])
			n--;
		memcpy(packed + len, &n, 2);
		memcpy(packed + len + 2, file->start + at, n);
		len += 2u + n;
	}
	fuzz_seed(folder, name, way, packed, len);
	free(packed);
}

static void seal_section(const struct bytes *file, struct format_section *section)
{
	if (section->at <= file->len && section->bytes <= file->len - section->at)
		section->hash = XXH3_64bits(file->start + section->at, section->bytes);
}

static void seal_blocks(const struct bytes *file, const struct segment_footer *footer)
{
	if (footer->fence.at > file->len || footer->fence.bytes > file->len - footer->fence.at ||
	    footer->fence.bytes != (uint64_t)footer->blocks * 8)
		return;
	const uint8_t *starts = file->start + footer->fence.at + (size_t)footer->blocks * 4;
	for (uint32_t b = 0; b < footer->blocks; b++) {
		struct block_header header;
		uint32_t at;
		memcpy(&at, starts + (size_t)b * 4, sizeof(at));
		if (at > file->len - sizeof(header))
			continue;
		memcpy(&header, file->start + at, sizeof(header));
		if (header.stored > file->len - sizeof(header) - at)
			continue;
		header.crc = crc_placed(TESTED, at, file->start + at + sizeof(header.crc),
					sizeof(header) - sizeof(header.crc) + header.stored);
		memcpy(file->start + at, &header.crc, sizeof(header.crc));
	}
}

/* Every checksum, the number and the length as they must be; all else stays as it is. */
static void seal(const struct bytes *file)
{
	uint8_t *page = file->start + file->len - FORMAT_PAGE;
	struct segment_footer footer;
	memcpy(&footer, page, sizeof(footer));
	footer.number = TESTED;
	footer.file_bytes = file->len;
	seal_blocks(file, &footer);
	seal_section(file, &footer.filter);
	seal_section(file, &footer.fence);
	seal_section(file, &footer.spaces);
	uint64_t hash = 0;
	for (uint64_t at = 0; at < footer.data_end && footer.data_end <= file->len;
	     at += FORMAT_PIECE) {
		uint64_t n =
			footer.data_end - at < FORMAT_PIECE ? footer.data_end - at : FORMAT_PIECE;
		hash = XXH3_64bits_withSeed(file->start + at, n, hash);
	}
	footer.data_hash = hash;
	memcpy(page, &footer, sizeof(footer));
	hash = XXH3_64bits(page, FORMAT_PAGE - sizeof(hash));
	memcpy(page + FORMAT_PAGE - sizeof(hash), &hash, sizeof(hash));
}

static struct manifest_segment entry_of(uint64_t number, const struct bytes *file)
{
	struct manifest_segment entry = {.number = number, .file_bytes = file->len};
	memcpy(&entry.footer_hash, file->start + file->len - 8, 8);
	return entry;
}

static struct bytes manifest_make(uint8_t way, const struct bytes *tested,
				  const struct bytes *whole)
{
	unsigned at = way & OLDER ? 1 : 0;
	struct manifest_run runs[2] = {{.segments = 1}, {.segments = 1}};
	struct manifest_segment segments[2];
	struct manifest_key keys[3] = {
		{.below_seq = 1010, .key_len = 4, .space = 2, .key = "key4"},
		{.below_seq = 9999, .key_len = 4, .space = 3, .key = "key8"},
		{.below_seq = 9999,
		 .key_len = 5,
		 .space = 2,
		 .flags = COLD_NUMBERED,
		 .key = "k\3"},
	};
	segments[at] = entry_of(TESTED, tested);
	segments[!at] = entry_of(WHOLE, whole);
	if (way & PARTLY)
		runs[at].from_space = 2;
	struct manifest manifest = {.generation = 1,
				    .next_number = TESTED + 1,
				    .max_seq = 5000,
				    .runs = runs,
				    .n_runs = 2,
				    .segments = segments,
				    .n_segments = 2};
	if (way & DROPPED) {
		manifest.below[1] = 1030;
		manifest.keys = keys;
		manifest.n_keys = 3;
	}
	struct bytes bytes = {.len = manifest_bytes(&manifest)};
	bytes.start = malloc(bytes.len);
	check(bytes.start);
	manifest_encode(&manifest, bytes.start);
	return bytes;
}

/* ---- What is done with it ---- */

static void outcome_check(int status)
{
	check(status == THERMO_OK || status == THERMO_MISS || status == THERMO_LOST ||
	      status == -EIO || status == -EILSEQ);
}

static void get(struct bed *bed, const struct cold_record *like)
{
	struct cold_record record;
	static char value[4096];
	outcome_check(bed_get_key(bed, like->space, like->key, like->key_len,
				  like->flags & COLD_CHUNK, value, sizeof(value), &record));
}

static void get_known(struct bed *bed)
{
	char key[16], value[64];
	struct cold_record record;
	for (int k = 0; k < KEYS; k++) {
		known_record(k, &record, key, value);
		get(bed, &record);
	}
	record = bed_record(2, "long1", 5, NULL, 0, 0);
	get(bed, &record);
}

static volatile uint64_t sum; /* so that every byte is read */

static void scan(struct bed *bed, uint8_t space)
{
	struct cold_scan *scan;
	struct cold_record record;
	int status = cold_scan_open(bed->cold, space, NULL, 0, &scan);
	if (status) {
		outcome_check(status);
		return;
	}
	for (unsigned i = 0; i < 5000 && !(status = cold_scan_next(scan, &record)); i++) {
		check(record.space == space && record.key_len && record.key_len <= THERMO_KEY_MAX);
		sum ^= XXH3_64bits(record.value, record.value_len);
		if (i < 100)
			get(bed, &record);
	}
	outcome_check(status);
	cold_scan_close(&scan);
}

static void use(struct bed *bed)
{
	get_known(bed);
	for (unsigned space = 1; space <= 3; space++)
		scan(bed, (uint8_t)space);
	for (unsigned i = 0; i < 40 && cold_work(bed->cold) == THERMO_OK; i++)
		;
	struct cold_get identity = {.key = "key5", .key_len = 4, .space = 3};
	identity.hash = key_hash(3, "key5", 4, 0);
	int status = cold_erase_begin(bed->cold, &identity, 2000);
	if (status == THERMO_PENDING)
		status = cold_erase_wait(bed->cold, &identity, 0);
	check(status <= THERMO_OK || status == THERMO_PENDING);
	get_known(bed);
}

/* The outcome of opening it. */
static int directory_try(struct bed *bed, const struct bytes *tested, const struct bytes *whole,
			 const struct bytes *manifest)
{
	char name[SEGMENT_NAME_BYTES];
	int status = bed_open_tier(bed);
	if (status) {
		check(status == -EILSEQ || status == -EPROTO);
		fuzz_line(bed->error.text);
		bed_close_tier(bed);
		name_of(TESTED, name);
		file_same(bed, name, tested);
		name_of(WHOLE, name);
		file_same(bed, name, whole);
		file_same(bed, MANIFEST_NAME, manifest);
		return status;
	}
	use(bed);
	bed_close_tier(bed);
	check(bed_open_tier(bed) == 0);
	bed_close_tier(bed);
	return 0;
}

static int file_try(uint8_t way, const struct bytes *tested)
{
	static struct bytes whole;
	struct bed bed;
	char name[SEGMENT_NAME_BYTES];
	if (!whole.start) {
		setenv("TMPDIR", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", 0);
		whole = segment_make(1, 2, false);
	}
	if (way & SEALED)
		seal(tested);
	struct bytes manifest = manifest_make(way, tested, &whole);
	bed_prepare(&bed);
	bed.options.runs_max = 1;
	bed.options.garbage_percent = 1;
	if (way & NO_FILTER)
		bed.options.filter_bytes = 2000;
	name_of(TESTED, name);
	file_put(&bed, name, tested);
	name_of(WHOLE, name);
	file_put(&bed, name, &whole);
	file_put(&bed, MANIFEST_NAME, &manifest);
	int status = directory_try(&bed, tested, &whole, &manifest);
	check(atomic_load(&bed.budget.used) == 0 && heap_used(bed.heap) == 0);
	heap_close(&bed.heap);
	scratch_close(&bed.scratch);
	free(manifest.start);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	struct bytes tested = unpack(data + 1, size - 1);
	file_try(data[0], &tested);
	free(tested.start);
	return 0;
}

/* What is whole opens, however it is put beside the other run. */
static void seed(const char *folder, const char *name, uint8_t way, const struct bytes *file)
{
	pack(folder, name, way, file);
	check(file_try(way, file) == 0);
}

void fuzz_seeds(const char *folder)
{
	struct bytes few = segment_make(0, 2, false), all = segment_make(0, 1, true);
	struct bytes one = segment_make(4, KEYS, false);
	seed(folder, "few", SEALED, &few);
	seed(folder, "few_older", SEALED | OLDER | DROPPED, &few);
	seed(folder, "all", SEALED, &all);
	seed(folder, "all_older", SEALED | OLDER, &all);
	seed(folder, "no_filter", SEALED | NO_FILTER, &all);
	seed(folder, "partly", SEALED | PARTLY | DROPPED, &all);
	seed(folder, "one", SEALED, &one);
	pack(folder, "one_unsealed", 0, &one); /* its number is the other's */
	few.len -= FORMAT_PAGE;
	pack(folder, "cut", 0, &few);
	free(few.start);
	free(all.start);
	free(one.start);
}
