/* SPDX-License-Identifier: Apache-2.0 */
/* The cold codec: models of all blocks and of a sample, round trips, ranges, damage, failing
 * memory. */
#include "tests/codec/bed.h"
#include "tests/codec/memory.h"

static const char *const isas[] = {"base", "avx2", "avx512"};

/* A model, and the bed's blocks coded with it. */
struct cold_bed {
	struct bed bed;
	struct test_memory counts;
	struct codec_memory memory;
	struct model *model;
	uint8_t *bytes;
	size_t len;
	struct codec codec;
	struct bed_blocks blocks;
	uint32_t each;
};

/* Builds of events [0, sampled). */
static void cold_make(struct cold_bed *cold, uint64_t *random, uint32_t n, uint32_t each,
		      uint32_t sampled)
{
	uint32_t starts[2000], blocks = 0;
	bed_make(&cold->bed, random, n);
	sampled = sampled < n ? sampled : n;
	cold->each = each;
	cold->memory = test_memory(&cold->counts);
	starts[0] = 0;
	while (starts[blocks] < sampled) {
		uint32_t end = starts[blocks] + each;
		starts[++blocks] = end < sampled ? end : sampled;
	}
	struct model_sample sample = {cold->bed.columns, starts, blocks};
	CU_ASSERT_EQUAL_FATAL(
		model_build(&cold->bed.schema, &sample, &cold->memory, &cold->bytes, &cold->len),
		0);
	CU_ASSERT_EQUAL_FATAL(model_open(&cold->bed.schema, cold->bytes, cold->len, true,
					 &cold->memory, &cold->model),
			      0);
	cold->codec = (struct codec){&cold->bed.schema, cold->model};
	bed_encode(&cold->bed, &cold->codec, each, &cold->blocks);
}

static void cold_free(struct cold_bed *cold)
{
	bed_blocks_free(&cold->blocks);
	cold->memory.free(cold->memory.context, cold->bytes, cold->len);
	model_close(&cold->model);
	CU_ASSERT_EQUAL(cold->counts.out, 0);
	CU_ASSERT_PTR_NULL(cold->model);
	bed_free(&cold->bed);
}

static uint32_t some_events(uint64_t *random)
{
	static const uint32_t sizes[] = {1, 2, 3, 14, 64, 65, 200, 500, 1500, 3000};
	return sizes[bed_below(random, SUITE_COUNT(sizes))];
}

static void check_all(const struct cold_bed *cold)
{
	struct codec_output outputs[CODEC_COLUMNS_MAX];
	bed_outputs(&cold->bed, cold->bed.n, outputs);
	for (unsigned i = 0; i < SUITE_COUNT(isas); i++) {
		if (codec_isa_set(isas[i]))
			continue;
		CU_ASSERT_EQUAL_FATAL(
			bed_decode(&cold->codec, &cold->blocks.blocks, 0, cold->bed.n, outputs), 0);
		CU_ASSERT_FATAL(bed_same(&cold->bed, outputs, 0, cold->bed.n));
	}
	(void)codec_isa_set(NULL);
	bed_outputs_free(&cold->bed, outputs);
}

static void decode_random_columns_same(void)
{
	uint64_t random = suite_seed();
	for (int round = 0; round < 30; round++) {
		struct cold_bed cold;
		uint32_t n = some_events(&random),
			 each = 2 + n / 1000 + (uint32_t)bed_below(&random, n);
		cold_make(&cold, &random, n, each, n);
		check_all(&cold);
		cold_free(&cold);
	}
}

/* What the model has not seen is coded nevertheless. */
static void decode_model_of_a_sample_same(void)
{
	uint64_t random = suite_seed();
	for (int round = 0; round < 30; round++) {
		struct cold_bed cold;
		uint32_t n = some_events(&random),
			 each = 2 + n / 1000 + (uint32_t)bed_below(&random, n);
		cold_make(&cold, &random, n, each,
			  1 + (uint32_t)bed_below(&random, n < 20 ? n : n / 10));
		check_all(&cold);
		cold_free(&cold);
	}
}

static void decode_ranges_and_columns_only_these(void)
{
	uint64_t random = suite_seed();
	for (int round = 0; round < 30; round++) {
		struct cold_bed cold;
		struct codec_output outputs[CODEC_COLUMNS_MAX], some[CODEC_COLUMNS_MAX];
		uint32_t n = some_events(&random),
			 each = 2 + n / 1000 + (uint32_t)bed_below(&random, n);
		cold_make(&cold, &random, n, each, n);
		uint32_t from = (uint32_t)bed_below(&random, n + 1);
		uint32_t count = (uint32_t)bed_below(&random, n - from + 1);
		bed_outputs(&cold.bed, count, outputs);
		memcpy(some, outputs, sizeof(some));
		for (uint32_t c = 0; c < cold.bed.schema.columns; c++)
			if (bed_below(&random, 2))
				some[c].values = NULL;
		CU_ASSERT_EQUAL_FATAL(
			bed_decode(&cold.codec, &cold.blocks.blocks, from, count, some), 0);
		CU_ASSERT(bed_same(&cold.bed, some, from, count));
		bed_outputs_free(&cold.bed, outputs);
		cold_free(&cold);
	}
}

/* Every truncation, and random bit flips, of a block in memory of exactly its size. */
static void decode_damaged_block_error_or_harmless(void)
{
	uint64_t random = suite_seed(), refused = 0;
	for (int round = 0; round < 30; round++) {
		struct cold_bed cold;
		struct codec_output outputs[CODEC_COLUMNS_MAX];
		cold_make(&cold, &random, 1 + (uint32_t)bed_below(&random, 300), 300, 1);
		bed_outputs(&cold.bed, cold.bed.n, outputs);
		size_t size = cold.blocks.blocks.size;
		for (int damage = 0; damage < 200 && size < 100000; damage++) {
			uint32_t cut =
				damage % 3 ? (uint32_t)size : (uint32_t)bed_below(&random, size);
			uint32_t offsets[2] = {0, cut};
			uint8_t *bytes = malloc(cut ? cut : 1);
			memcpy(bytes, cold.blocks.bytes, cut);
			if (damage % 3)
				bytes[bed_below(&random, cut < 40     ? cut
							 : damage % 2 ? 40
								      : cut)] ^=
					(uint8_t)(1u << bed_below(&random, 8));
			struct codec_blocks bad = {bytes, cut, offsets, 1};
			int rc = bed_decode(&cold.codec, &bad, 0, cold.bed.n, outputs);
			CU_ASSERT(!rc || rc == -EILSEQ || rc == -ENOBUFS || rc == -EINVAL ||
				  rc == -ENOMEM);
			refused += rc != 0;
			free(bytes);
		}
		bed_outputs_free(&cold.bed, outputs);
		cold_free(&cold);
	}
	CU_ASSERT(refused > 1000);
}

static void open_damaged_model_refused_or_harmless(void)
{
	uint64_t random = suite_seed(), refused = 0;
	for (int round = 0; round < 10; round++) {
		struct cold_bed cold;
		struct codec_output outputs[CODEC_COLUMNS_MAX];
		cold_make(&cold, &random, 1 + (uint32_t)bed_below(&random, 300), 300, 300);
		bed_outputs(&cold.bed, cold.bed.n, outputs);
		for (int damage = 0; damage < 200; damage++) {
			size_t cut = damage % 3 ? cold.len : bed_below(&random, cold.len);
			uint8_t *bytes = malloc(cut ? cut : 1);
			struct model *model;
			memcpy(bytes, cold.bytes, cut);
			if (damage % 3)
				bytes[bed_below(&random, cut)] ^=
					(uint8_t)(1u << bed_below(&random, 8));
			int rc = model_open(&cold.bed.schema, bytes, cut, damage % 2, &cold.memory,
					    &model);
			CU_ASSERT(!rc || rc == -EILSEQ || rc == -EPROTO);
			CU_ASSERT((rc != 0) == (model == NULL));
			refused += rc != 0;
			if (model) {
				struct codec codec = {&cold.bed.schema, model};
				(void)bed_decode(&codec, &cold.blocks.blocks, 0, cold.bed.n,
						 outputs);
			}
			model_close(&model);
			free(bytes);
		}
		bed_outputs_free(&cold.bed, outputs);
		cold_free(&cold);
	}
	CU_ASSERT(refused > 1000);
}

static void open_other_schema_or_version_refused(void)
{
	uint64_t random = suite_seed();
	struct cold_bed cold;
	struct model *model;
	cold_make(&cold, &random, 100, 10, 100);
	struct codec_schema other = cold.bed.schema;
	other.type[1] = (other.type[1] + 1) % 4;
	CU_ASSERT_EQUAL(model_open(&other, cold.bytes, cold.len, true, &cold.memory, &model),
			-EILSEQ);
	other = cold.bed.schema;
	other.columns++;
	CU_ASSERT_EQUAL(model_open(&other, cold.bytes, cold.len, true, &cold.memory, &model),
			-EILSEQ);
	cold.bytes[0]++;
	CU_ASSERT_EQUAL(
		model_open(&cold.bed.schema, cold.bytes, cold.len, true, &cold.memory, &model),
		-EPROTO);
	cold_free(&cold);
}

static void build_and_open_without_memory_nomem(void)
{
	uint64_t random = suite_seed();
	struct cold_bed cold;
	uint32_t starts[3] = {0, 30, 60};
	cold_make(&cold, &random, 60, 30, 60);
	struct model_sample sample = {cold.bed.columns, starts, 2};
	for (long fail = 0, rc = -ENOMEM; rc; fail++) {
		struct test_memory counts;
		struct codec_memory memory = test_memory(&counts);
		uint8_t *bytes = NULL;
		size_t len = 0;
		counts.fail = fail;
		rc = model_build(&cold.bed.schema, &sample, &memory, &bytes, &len);
		CU_ASSERT(!rc || rc == -ENOMEM);
		CU_ASSERT((rc != 0) == (bytes == NULL));
		if (bytes)
			memory.free(memory.context, bytes, len);
		CU_ASSERT_EQUAL(counts.out, 0);
	}
	for (long fail = 0, rc = -ENOMEM; rc; fail++) {
		struct model *model;
		cold.counts.fail = fail;
		size_t before = cold.counts.out;
		rc = model_open(&cold.bed.schema, cold.bytes, cold.len, true, &cold.memory, &model);
		CU_ASSERT(!rc || rc == -ENOMEM);
		model_close(&model);
		CU_ASSERT_EQUAL(cold.counts.out, before);
	}
	cold.counts.fail = -1;
	cold_free(&cold);
}

/* A log in which roles can be found: the category follows from the item, the flag from the action.
 */
static void build_dependent_columns_roles_found(void)
{
	enum { N = 20000, EACH = 20 };
	int64_t *column[5];
	uint64_t random = suite_seed();
	struct bed bed = {.schema = {5, {0}}, .n = N};
	uint32_t starts[N / EACH + 1];
	for (int c = 0; c < 5; c++)
		bed.columns[c].values = column[c] = malloc(N * sizeof(int64_t));
	for (uint32_t i = 0; i < N; i++) {
		uint64_t r = mix_next(&random);
		column[0][i] = i % EACH && r % 4 ? column[0][i - 1]
						 : (i % EACH ? column[0][i - 1] : 0) +
							   (int64_t)(r >> 8 & 0xfff) * 60;
		column[1][i] = (int64_t)mix64(bed_below(&random, 1 + bed_below(&random, 1000)));
		column[2][i] = column[1][i] & 31;
		column[3][i] = r >> 30 & 3;
		column[4][i] = column[3][i] == 2;
	}
	for (uint32_t b = 0; b <= N / EACH; b++)
		starts[b] = b * EACH;
	struct test_memory counts;
	struct codec_memory memory = test_memory(&counts);
	struct model_sample sample = {bed.columns, starts, N / EACH};
	struct model *model;
	struct bed_blocks blocks;
	char text[1024];
	uint8_t *bytes;
	size_t len;
	CU_ASSERT_EQUAL_FATAL(model_build(&bed.schema, &sample, &memory, &bytes, &len), 0);
	CU_ASSERT_EQUAL_FATAL(model_open(&bed.schema, bytes, len, true, &memory, &model), 0);
	CU_ASSERT(model_describe(model, text, sizeof(text)) < (int)sizeof(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "unit 60"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "column 2: group"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "follows from 1"));
	struct codec codec = {&bed.schema, model};
	bed_encode(&bed, &codec, EACH, &blocks);
	printf("  %.2f bytes an event, model %.2f\n%s", (double)blocks.blocks.size / N,
	       (double)len / N, text);
	/* Item 9.2 bits of entropy, time 0.8 + 3, action 2; columns 2 and 4 nothing */
	CU_ASSERT(blocks.blocks.size < N * 20 / 8);
	bed_blocks_free(&blocks);
	model_close(&model);
	memory.free(memory.context, bytes, len);
	for (int c = 0; c < 5; c++)
		free(column[c]);
}

static const struct suite_case cases[] = {
	SUITE_CASE(decode_random_columns_same),
	SUITE_CASE(decode_model_of_a_sample_same),
	SUITE_CASE(decode_ranges_and_columns_only_these),
	SUITE_CASE(decode_damaged_block_error_or_harmless),
	SUITE_CASE(open_damaged_model_refused_or_harmless),
	SUITE_CASE(open_other_schema_or_version_refused),
	SUITE_CASE(build_and_open_without_memory_nomem),
	SUITE_CASE(build_dependent_columns_roles_found),
};

int main(void)
{
	return suite_run("cold codec", NULL, NULL, cases, SUITE_COUNT(cases));
}
