/* SPDX-License-Identifier: Apache-2.0 */
/* The hot codec: round trips, ranges, conversions, damage, and the same bytes by every instruction
 * set. */
#include "tests/codec/bed.h"

static const char *const isas[] = {"base", "avx2", "avx512"};

static uint32_t some_events(uint64_t *random)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 8, 9, 14, 127, 128, 129, 255, 256, 257, 1000};
	return sizes[bed_below(random, SUITE_COUNT(sizes))];
}

static void check_round_trip(const struct bed *bed, const struct codec *codec, uint32_t each)
{
	struct codec_output outputs[CODEC_COLUMNS_MAX];
	struct bed_blocks blocks;
	bed_encode(bed, codec, each, &blocks);
	bed_outputs(bed, bed->n, outputs);
	for (unsigned i = 0; i < SUITE_COUNT(isas); i++) {
		if (codec_isa_set(isas[i]))
			continue;
		CU_ASSERT_EQUAL_FATAL(bed_decode(codec, &blocks.blocks, 0, bed->n, outputs), 0);
		CU_ASSERT_FATAL(bed_same(bed, outputs, 0, bed->n));
	}
	(void)codec_isa_set(NULL);
	bed_outputs_free(bed, outputs);
	bed_blocks_free(&blocks);
}

static void decode_random_columns_same_by_all_isas(void)
{
	uint64_t random = suite_seed();
	for (int round = 0; round < 400; round++) {
		struct bed bed;
		bed_make(&bed, &random, some_events(&random));
		struct codec codec = {.schema = &bed.schema};
		check_round_trip(&bed, &codec, 1 + (uint32_t)bed_below(&random, bed.n));
		bed_free(&bed);
	}
}

static void decode_ranges_and_columns_only_these(void)
{
	uint64_t random = suite_seed();
	for (int round = 0; round < 200; round++) {
		struct bed bed;
		struct bed_blocks blocks;
		struct codec_output outputs[CODEC_COLUMNS_MAX], some[CODEC_COLUMNS_MAX];
		bed_make(&bed, &random, some_events(&random));
		struct codec codec = {.schema = &bed.schema};
		bed_encode(&bed, &codec, 1 + (uint32_t)bed_below(&random, bed.n), &blocks);
		uint32_t from = (uint32_t)bed_below(&random, bed.n + 1);
		uint32_t n = (uint32_t)bed_below(&random, bed.n - from + 1);
		bed_outputs(&bed, n, outputs);
		memcpy(some, outputs, sizeof(some));
		for (uint32_t c = 0; c < bed.schema.columns; c++)
			if (bed_below(&random, 2))
				some[c].values = NULL;
		CU_ASSERT_EQUAL_FATAL(bed_decode(&codec, &blocks.blocks, from, n, some), 0);
		CU_ASSERT(bed_same(&bed, some, from, n));
		CU_ASSERT_EQUAL(bed_decode(&codec, &blocks.blocks, from, bed.n - from + 1ull, some),
				-EINVAL);
		bed_outputs_free(&bed, outputs);
		bed_blocks_free(&blocks);
		bed_free(&bed);
	}
}

static void decode_asked_type_converted(void)
{
	int64_t time[4] = {1, 2, 3, 4}, ints[4] = {INT64_MIN, -5, 7, (INT64_C(1) << 53) + 1},
		as_int[4];
	double doubles[4] = {1.5, -2.25, 1e300, NAN}, as_double[4];
	float as_float[4];
	struct codec_schema schema = {3, {CODEC_INT64, CODEC_INT64, CODEC_DOUBLE}};
	struct codec_column columns[3] = {{.values = time}, {.values = ints}, {.values = doubles}};
	struct bed bed = {.schema = schema, .n = 4};
	memcpy(bed.columns, columns, sizeof(columns));
	struct codec codec = {.schema = &schema};
	struct bed_blocks blocks;
	bed_encode(&bed, &codec, 4, &blocks);
	struct codec_output outputs[3] = {
		{.values = as_float, .type = CODEC_FLOAT},
		{.values = as_double, .type = CODEC_DOUBLE},
		{.values = as_int, .type = CODEC_INT64},
	};
	CU_ASSERT_EQUAL(bed_decode(&codec, &blocks.blocks, 0, 4, outputs), 0);
	for (int i = 0; i < 4; i++) {
		CU_ASSERT(as_float[i] == (float)time[i]);
		CU_ASSERT(as_double[i] == (double)ints[i]);
	}
	CU_ASSERT(as_int[0] == 1 && as_int[1] == -2 && as_int[2] == 0 && as_int[3] == 0);
	outputs[0].type = CODEC_BYTES;
	CU_ASSERT_EQUAL(bed_decode(&codec, &blocks.blocks, 0, 4, outputs), -EINVAL);
	bed_blocks_free(&blocks);
}

static void encode_what_no_block_holds_refused(void)
{
	int64_t values[2] = {1, 2};
	uint8_t present[2] = {1, 0}, out[4096];
	uint32_t offsets[3] = {0, 5, 3};
	size_t len;
	struct codec_schema schema = {2, {CODEC_INT64, CODEC_INT64}};
	struct codec_column columns[2] = {{.values = values}, {.values = values}};
	struct codec codec = {.schema = &schema};
	CU_ASSERT_EQUAL(codec_encode(&codec, columns, 0, NULL, out, &len), -EINVAL);
	CU_ASSERT_EQUAL(codec_encode(&codec, columns, CODEC_EVENTS_MAX + 1, NULL, out, &len),
			-EINVAL);
	CU_ASSERT_EQUAL(codec_bound(&codec, columns, CODEC_EVENTS_MAX + 1), 0);
	columns[0].present = present;
	CU_ASSERT_EQUAL(codec_encode(&codec, columns, 2, NULL, out, &len), -EINVAL);
	columns[0].present = NULL;
	CU_ASSERT_EQUAL(codec_encode(&codec, columns, 2, NULL, out, &len), 0);
	schema.type[1] = CODEC_BYTES;
	columns[1].offsets = offsets;
	CU_ASSERT_EQUAL(codec_encode(&codec, columns, 2, NULL, out, &len), -EINVAL);
	schema.type[1] = 4;
	CU_ASSERT_EQUAL(codec_check(&schema), -EINVAL);
	schema = (struct codec_schema){2, {CODEC_DOUBLE, CODEC_INT64}};
	CU_ASSERT_EQUAL(codec_check(&schema), -EINVAL);
	schema = (struct codec_schema){1, {CODEC_INT64}};
	CU_ASSERT_EQUAL(codec_check(&schema), -EINVAL);
}

static void decode_strings_without_room_nobufs(void)
{
	uint64_t random = suite_seed();
	struct bed bed;
	do {
		bed_make(&bed, &random, 200);
		if (bed.schema.type[1] == CODEC_BYTES && bed.columns[1].offsets[200] > 1000 &&
		    !bed.columns[1].present)
			break;
		bed_free(&bed);
	} while (true);
	struct codec codec = {.schema = &bed.schema};
	struct bed_blocks blocks;
	struct codec_output outputs[CODEC_COLUMNS_MAX];
	bed_encode(&bed, &codec, 50, &blocks);
	bed_outputs(&bed, 200, outputs);
	outputs[1].capacity--;
	CU_ASSERT_EQUAL(bed_decode(&codec, &blocks.blocks, 0, 200, outputs), -ENOBUFS);
	outputs[1].capacity++;
	CU_ASSERT_EQUAL(bed_decode(&codec, &blocks.blocks, 0, 200, outputs), 0);
	bed_outputs_free(&bed, outputs);
	bed_blocks_free(&blocks);
	bed_free(&bed);
}

/* Every truncation, and random bit flips, of a block in memory of exactly its size. */
static void decode_damaged_block_error_or_harmless(void)
{
	uint64_t random = suite_seed(), refused = 0;
	for (int round = 0; round < 300; round++) {
		struct bed bed;
		struct bed_blocks blocks;
		struct codec_output outputs[CODEC_COLUMNS_MAX];
		bed_make(&bed, &random, 1 + (uint32_t)bed_below(&random, 300));
		struct codec codec = {.schema = &bed.schema};
		bed_encode(&bed, &codec, bed.n, &blocks);
		bed_outputs(&bed, bed.n, outputs);
		for (int damage = 0; damage < 60 && blocks.blocks.size < 100000; damage++) {
			uint32_t cut = damage % 3
					       ? (uint32_t)blocks.blocks.size
					       : (uint32_t)bed_below(&random, blocks.blocks.size);
			uint32_t offsets[2] = {0, cut};
			uint8_t *bytes = malloc(cut ? cut : 1);
			memcpy(bytes, blocks.bytes, cut);
			if (damage % 3)
				bytes[bed_below(&random, cut < 40     ? cut
							 : damage % 2 ? 40
								      : cut)] ^=
					(uint8_t)(1u << bed_below(&random, 8));
			struct codec_blocks bad = {bytes, cut, offsets, 1};
			int rc = bed_decode(&codec, &bad, 0, bed.n, outputs);
			CU_ASSERT(!rc || rc == -EILSEQ || rc == -ENOBUFS || rc == -EINVAL);
			CU_ASSERT(damage % 3 || rc);
			refused += rc != 0;
			free(bytes);
		}
		bed_outputs_free(&bed, outputs);
		bed_blocks_free(&blocks);
		bed_free(&bed);
	}
	CU_ASSERT(refused > 1000);
}

static void encode_plain_columns_small(void)
{
	enum { N = 1280 };
	int64_t time[N], item[N], outlier[N];
	uint64_t random = suite_seed();
	for (int i = 0; i < N; i++) {
		time[i] = (i ? time[i - 1] : 1600000000) + (int64_t)bed_below(&random, 60);
		item[i] = (int64_t)bed_below(&random, 1000);
		outlier[i] = i % 100 ? (int64_t)bed_below(&random, 4) : INT64_MAX;
	}
	struct bed bed = {.schema = {3, {0}}, .n = N};
	bed.columns[0].values = time;
	bed.columns[1].values = item;
	bed.columns[2].values = outlier;
	struct codec codec = {.schema = &bed.schema};
	struct bed_blocks blocks;
	bed_encode(&bed, &codec, N, &blocks);
	/* 6 + 10 + 2 bits, two outliers of some 9 bytes and some 20 bytes of heads a frame */
	CU_ASSERT(blocks.blocks.size < N * 18 / 8 + N / 128 * 45);
	bed_blocks_free(&blocks);
}

static const struct suite_case cases[] = {
	SUITE_CASE(decode_random_columns_same_by_all_isas),
	SUITE_CASE(decode_ranges_and_columns_only_these),
	SUITE_CASE(decode_asked_type_converted),
	SUITE_CASE(encode_what_no_block_holds_refused),
	SUITE_CASE(decode_strings_without_room_nobufs),
	SUITE_CASE(decode_damaged_block_error_or_harmless),
	SUITE_CASE(encode_plain_columns_small),
};

int main(void)
{
	return suite_run("hot", NULL, NULL, cases, SUITE_COUNT(cases));
}
