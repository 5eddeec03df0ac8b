/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on the cold tier against a plain array: several writers published in any order,
 * deletes, expiry, dropped spaces, erased keys, compaction in pieces, scans, reopening.
 * THERMO_TEST_SEED repeats a run, THERMO_TEST_OPS sets its length.
 */
#include "tests/cold/bed.h"

#define SPACES 3
#define KEYS 250
#define WRITERS 3
#define VALUE_MAX (96u << 10)

struct version {
	uint64_t seq; /* 0: none */
	uint64_t expires_ms;
	uint32_t value_len;
	uint32_t value_seed;
	bool tombstone;
};

struct model_writer {
	struct cold_writer *writer;
	struct version held[SPACES][KEYS][2];
};

struct model {
	struct bed bed;
	uint64_t random;
	uint64_t seq;
	struct version truth[SPACES][KEYS][2]; /* [chunk] */
	uint64_t below[SPACES];
	uint8_t meta[64];
	size_t meta_len;
	struct model_writer writers[WRITERS];
	uint8_t value[VALUE_MAX];
	uint8_t got[VALUE_MAX];
	uint64_t gets, found;
};

static uint64_t draw(struct model *model, uint64_t n)
{
	return bed_random(&model->random) % n;
}

/* Keys of many lengths, some a prefix of others, some with zero bytes at the end. */
static uint32_t key_make(int k, uint8_t *key)
{
	int n = sprintf((char *)key, "user:%d:", k % 50);
	switch (k / 50) {
	case 0:
		return (uint32_t)n;
	case 1:
		key[n] = 0;
		return (uint32_t)n + 1;
	case 2:
		memset(key + n, 0, 9);
		return (uint32_t)n + 9;
	case 3:
		memset(key + n, 'x', 1000);
		return (uint32_t)n + 1000;
	default:
		memset(key, 0xff, (size_t)k - 190);
		return (uint32_t)k - 190;
	}
}

static void value_make(const struct version *version, uint8_t *value)
{
	uint64_t state = version->value_seed;
	for (uint32_t i = 0; i < version->value_len; i += 8) {
		/* Half of it compresses. */
		uint64_t word = i & 64 ? bed_random(&state) : version->value_seed;
		memcpy(value + i, &word, version->value_len - i < 8 ? version->value_len - i : 8);
	}
}

static bool visible(const struct model *model, int space, const struct version *version)
{
	return version->seq && version->seq >= model->below[space] && !version->tombstone &&
	       (!version->expires_ms || version->expires_ms > model->bed.now_ms);
}

static void add(struct model *model)
{
	struct model_writer *writer = &model->writers[draw(model, WRITERS)];
	int space = (int)draw(model, SPACES), k = (int)draw(model, KEYS), chunk = !draw(model, 8);
	uint8_t key[THERMO_KEY_MAX];
	if (!writer->writer)
		CU_ASSERT_EQUAL_FATAL(cold_writer_open(model->bed.cold, &writer->writer), 0);
	/* One of each identity; and where another writer has it too, that one's was written before. */
	struct version *held = &writer->held[space][k][chunk];
	if (held->seq)
		return;
	*held = (struct version){ .seq = ++model->seq, .value_seed = (uint32_t)draw(model, 1u << 30) };
	held->tombstone = !draw(model, 4);
	if (!draw(model, 6))
		held->expires_ms = model->bed.now_ms + draw(model, 2000);
	uint64_t size = draw(model, 100);
	held->value_len = (uint32_t)(size < 70   ? draw(model, 200) :
				     size < 95   ? draw(model, 3000) :
				     size < 99   ? draw(model, 9000) :
						   draw(model, VALUE_MAX));
	if (held->tombstone)
		held->value_len = 0, held->expires_ms = 0;
	value_make(held, model->value);
	struct cold_record record = bed_record((uint8_t)space, key, key_make(k, key), model->value,
					       held->value_len, held->seq);
	record.hash = key_hash((uint8_t)space, key, record.key_len, (unsigned)chunk);
	record.flags = (uint8_t)((held->tombstone ? COLD_TOMBSTONE : 0) | (chunk ? COLD_CHUNK : 0));
	record.expires_ms = held->expires_ms;
	CU_ASSERT_EQUAL_FATAL(cold_writer_add(writer->writer, &record), 0);
}

static void end_writer(struct model *model, struct model_writer *writer, bool publish)
{
	if (!writer->writer)
		return;
	if (publish)
		CU_ASSERT_EQUAL_FATAL(cold_writer_publish(&writer->writer), 0);
	cold_writer_abort(&writer->writer);
	for (int s = 0; s < SPACES && publish; s++)
		for (int k = 0; k < KEYS; k++)
			for (int c = 0; c < 2; c++)
				if (writer->held[s][k][c].seq > model->truth[s][k][c].seq)
					model->truth[s][k][c] = writer->held[s][k][c];
	memset(writer->held, 0, sizeof(writer->held));
}

static void compare(struct model *model, int space, int k, int chunk, int status,
		    const struct cold_record *record)
{
	const struct version *version = &model->truth[space][k][chunk];
	bool expected = visible(model, space, version);
	if (status != (expected ? THERMO_OK : THERMO_MISS))
		printf("  space %d, key %d, chunk %d: %d, and the model has seq %llu, tombstone %d, "
		       "expires %llu at %llu; found seq %llu\n", space, k, chunk, status,
		       (unsigned long long)version->seq, version->tombstone,
		       (unsigned long long)version->expires_ms,
		       (unsigned long long)model->bed.now_ms, (unsigned long long)record->seq);
	CU_ASSERT_EQUAL_FATAL(status, expected ? THERMO_OK : THERMO_MISS);
	model->gets++;
	if (!expected)
		return;
	model->found++;
	if (record->seq != version->seq)
		printf("  space %d, key %d, chunk %d: seq %llu, and the model has %llu\n", space, k, chunk,
		       (unsigned long long)record->seq, (unsigned long long)version->seq);
	CU_ASSERT_EQUAL_FATAL(record->seq, version->seq);
	CU_ASSERT_EQUAL_FATAL(record->expires_ms, version->expires_ms);
	CU_ASSERT_EQUAL_FATAL(record->value_len, version->value_len);
	value_make(version, model->value);
	CU_ASSERT_EQUAL_FATAL(memcmp(model->value, record->value, version->value_len), 0);
}

static void get_one(struct model *model, int space, int k, int chunk)
{
	uint8_t key[THERMO_KEY_MAX];
	struct cold_record record = { 0 };
	uint32_t len = key_make(k, key);
	int status = bed_get_key(&model->bed, (uint8_t)space, key, len, chunk ? COLD_CHUNK : 0,
				 model->got, VALUE_MAX, &record);
	record.value = model->got;
	compare(model, space, k, chunk, status, &record);
	if (!status)
		CU_ASSERT(cold_may_contain(model->bed.cold, (uint8_t)space,
					   key_hash((uint8_t)space, key, len, (unsigned)chunk)));
}

static void get_many(struct model *model)
{
	enum { N = 40 };
	struct cold_get gets[N], *done[N];
	static uint8_t keys[N][THERMO_KEY_MAX];
	int space[N], k[N];
	unsigned finished = 0, most = (unsigned)draw(model, N) + 1;
	for (int i = 0; i < N; i++) {
		space[i] = (int)draw(model, SPACES);
		k[i] = (int)draw(model, KEYS);
		gets[i] = (struct cold_get){ .key = keys[i], .space = (uint8_t)space[i] };
		gets[i].key_len = key_make(k[i], keys[i]);
		gets[i].hash = key_hash(gets[i].space, keys[i], gets[i].key_len, 0);
		finished += (unsigned)cold_get_start(model->bed.io, &gets[i]);
	}
	cold_io_submit(model->bed.io);
	while (finished < N) {
		/* The number of turns depends on the device: they must not use up numbers. */
		unsigned n = cold_io_wait(model->bed.io, done, most, -1);
		CU_ASSERT_NOT_EQUAL_FATAL(n, 0);
		finished += n;
	}
	for (int i = 0; i < N; i++) {
		compare(model, space[i], k[i], 0, gets[i].status, &gets[i].record);
		cold_get_release(model->bed.io, &gets[i]);
	}
}

static void scan(struct model *model)
{
	struct cold_scan *cursor;
	struct cold_record record;
	int space = (int)draw(model, SPACES), prefix_of = (int)draw(model, KEYS * 2), seen = 0;
	uint8_t prefix[THERMO_KEY_MAX], key[THERMO_KEY_MAX];
	size_t len = prefix_of < KEYS ? key_make(prefix_of, prefix) : 0;
	if (len)
		len = draw(model, len + 1);
	int expected = 0;
	for (int k = 0; k < KEYS; k++) {
		uint32_t n = key_make(k, key);
		expected += n >= len && !memcmp(key, prefix, len) &&
			    visible(model, space, &model->truth[space][k][0]);
	}
	CU_ASSERT_EQUAL_FATAL(cold_scan_open(model->bed.cold, (uint8_t)space, prefix, len, &cursor), 0);
	bool met[KEYS] = { false };
	int status;
	while (!(status = cold_scan_next(cursor, &record))) {
		for (int k = 0; k < KEYS; k++) {
			if (key_make(k, key) != record.key_len ||
			    memcmp(key, record.key, record.key_len))
				continue;
			CU_ASSERT_FATAL(!met[k]);
			met[k] = true;
			compare(model, space, k, 0, THERMO_OK, &record);
		}
		seen++;
	}
	CU_ASSERT_EQUAL_FATAL(status, THERMO_MISS);
	CU_ASSERT_EQUAL_FATAL(seen, expected);
	cold_scan_close(&cursor);
}

static void drop(struct model *model)
{
	int space = (int)draw(model, SPACES);
	model->below[space] = ++model->seq;
	CU_ASSERT_EQUAL_FATAL(cold_space_drop(model->bed.cold, (uint8_t)space, model->seq), 0);
}

static void erase(struct model *model)
{
	int space = (int)draw(model, SPACES), k = (int)draw(model, KEYS);
	uint8_t key[THERMO_KEY_MAX];
	bool open = false; /* it would be waited for them */
	for (int w = 0; w < WRITERS; w++)
		open |= model->writers[w].writer != NULL;
	struct cold_get get = { .key = key, .key_len = key_make(k, key), .space = (uint8_t)space };
	get.hash = key_hash(get.space, key, get.key_len, 0);
	int status = cold_erase_begin(model->bed.cold, &get, model->seq + 1);
	CU_ASSERT_FATAL(status == THERMO_PENDING || (status == THERMO_OK && !open));
	if (draw(model, 2) && !open)
		CU_ASSERT_EQUAL_FATAL(cold_erase_wait(model->bed.cold, &get, -1), THERMO_OK);
	model->truth[space][k][0].seq = 0;
	for (int w = 0; w < WRITERS; w++) /* what is published later is gone as well */
		model->writers[w].held[space][k][0].seq = 0;
}

static void reopen(struct model *model)
{
	uint8_t meta[64];
	for (int w = 0; w < WRITERS; w++)
		end_writer(model, &model->writers[w], draw(model, 2));
	bed_reopen(&model->bed);
	CU_ASSERT_EQUAL_FATAL(cold_meta_get(model->bed.cold, meta, sizeof(meta)), model->meta_len);
	CU_ASSERT_EQUAL_FATAL(memcmp(meta, model->meta, model->meta_len), 0);
	CU_ASSERT_FATAL(cold_max_seq(model->bed.cold) <= model->seq);
}

static void set_meta(struct model *model)
{
	model->meta_len = draw(model, sizeof(model->meta) + 1);
	memset(model->meta, (int)draw(model, 256), sizeof(model->meta));
	CU_ASSERT_EQUAL_FATAL(cold_meta_set(model->bed.cold, model->meta, model->meta_len), 0);
}

static void check_all(struct model *model)
{
	for (int s = 0; s < SPACES; s++)
		for (int k = 0; k < KEYS; k++)
			for (int c = 0; c < 2; c++)
				get_one(model, s, k, c);
}

static void work(struct model *model)
{
	CU_ASSERT_FATAL(cold_work(model->bed.cold) >= 0);
}

static void one_operation(struct model *model)
{
	uint64_t what = draw(model, 1000);
	if (what < 700)
		add(model);
	else if (what < 730)
		end_writer(model, &model->writers[draw(model, WRITERS)], draw(model, 10) != 0);
	else if (what < 780)
		work(model);
	else if (what < 900)
		get_one(model, (int)draw(model, SPACES), (int)draw(model, KEYS), !draw(model, 8));
	else if (what < 960)
		get_many(model);
	else if (what < 975)
		model->bed.now_ms += draw(model, 500);
	else if (what < 985)
		scan(model);
	else if (what < 989)
		erase(model);
	else if (what < 990)
		drop(model);
	else if (what < 994)
		set_meta(model);
	else if (what < 996)
		reopen(model);
	else if (what < 997)
		check_all(model);
}

static void operations_random_agree_with_model(void)
{
	struct model *model = calloc(1, sizeof(*model));
	if (!model)
		abort();
	const char *text = getenv("THERMO_TEST_OPS");
	uint64_t operations = text ? strtoull(text, NULL, 0) : 20000;
	bed_prepare(&model->bed);
	model->random = suite_seed();
	model->bed.options.runs_max = 2 + (unsigned)draw(model, 30);
	model->bed.options.garbage_percent = 20 + (unsigned)draw(model, 400);
	model->bed.options.segment_bytes = UINT64_C(1) << (13 + draw(model, 12));
	if (!draw(model, 4))
		model->bed.options.filter_bytes = 16384;
	CU_ASSERT_EQUAL_FATAL(bed_open_tier(&model->bed), 0);
	for (uint64_t i = 0; i < operations; i++)
		one_operation(model);
	check_all(model);
	struct thermo_stats stats = bed_stats(&model->bed);
	CU_ASSERT(stats.cold_runs <= 128);
	printf("  %llu gets, %llu found, %llu runs, %llu segments, %llu compactions since reopened\n",
	       (unsigned long long)model->gets, (unsigned long long)model->found,
	       (unsigned long long)stats.cold_runs,
	       (unsigned long long)stats.tier[THERMO_COLD].segments,
	       (unsigned long long)stats.compactions);
	for (int w = 0; w < WRITERS; w++)
		end_writer(model, &model->writers[w], false);
	bed_close(&model->bed);
	free(model);
}

static const struct suite_case cases[] = {
	SUITE_CASE(operations_random_agree_with_model),
};

int main(void)
{
	return suite_run("cold_model", NULL, NULL, cases, SUITE_COUNT(cases));
}
