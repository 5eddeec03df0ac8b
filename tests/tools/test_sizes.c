/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "tests/suite.h"
#include "tools/mix.h"
#include "tools/sizes.h"

static void parse_good_gives_bytes(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"1", 1},
		{"4096", 4096},
		{"64K", 65536},
		{"64k", 65536},
		{"1.5M", 1572864},
		{"2G", UINT64_C(2) << 30},
		{"1T", UINT64_C(1) << 40},
		{"3MiB", 3u << 20},
		{"3MB", 3u << 20},
		{"7B", 7},
		{"0.25G", 1u << 28},
		{"9223372036854775807", INT64_MAX},
	};
	for (size_t i = 0; i < SUITE_COUNT(good); i++) {
		uint64_t bytes = 99;
		CU_ASSERT_EQUAL(size_parse(good[i].text, &bytes), 0);
		CU_ASSERT_EQUAL(bytes, good[i].bytes);
	}
}

static void parse_bad_is_refused(void)
{
	static const char *const bad[] = {"",    " ",   "-1",    "+1",  "K",  "1KK", "1.",
					  "1.K", "1.5", "0x10",  "1 K", " 1", "1e6", "1P",
					  "1Ki", "1iB", "12,5M", "nan", "1BB"};
	for (size_t i = 0; i < SUITE_COUNT(bad); i++) {
		uint64_t bytes;
		CU_ASSERT_EQUAL(size_parse(bad[i], &bytes), -EINVAL);
	}
}

static void parse_too_large_is_told_apart(void)
{
	uint64_t bytes;
	CU_ASSERT_EQUAL(size_parse("9223372036854775808", &bytes), -ERANGE);
	CU_ASSERT_EQUAL(size_parse("99999999999999999999999", &bytes), -ERANGE);
	CU_ASSERT_EQUAL(size_parse("8388608T", &bytes), -ERANGE);
	CU_ASSERT_EQUAL(size_parse("8388607.9T", &bytes), 0);
}

static void format_picks_unit(void)
{
	char text[24];
	CU_ASSERT_STRING_EQUAL(size_format(0, text), "0 B");
	CU_ASSERT_STRING_EQUAL(size_format(1023, text), "1023 B");
	CU_ASSERT_STRING_EQUAL(size_format(1536, text), "1.5 KiB");
	CU_ASSERT_STRING_EQUAL(size_format(200u << 20, text), "200 MiB");
	CU_ASSERT(strlen(size_format(UINT64_MAX, text)) < 24);
}

static void draw_fixed_ignores_trace(void)
{
	struct size_model *model;
	struct thermo_error error;
	CU_ASSERT_EQUAL_FATAL(size_model_open("1K", &model, &error), 0);
	CU_ASSERT_EQUAL(size_model_draw(model, 7, 55), 1024);
	CU_ASSERT_FALSE(size_model_uses_trace(model));
	size_model_close(&model);
	CU_ASSERT_PTR_NULL(model);
	size_model_close(&model);
}

static void draw_trace_takes_its_word(void)
{
	struct size_model *model;
	struct thermo_error error;
	CU_ASSERT_EQUAL_FATAL(size_model_open("trace", &model, &error), 0);
	CU_ASSERT_EQUAL(size_model_draw(model, 7, 55), 55);
	CU_ASSERT_EQUAL(size_model_draw(model, 7, UINT64_C(1) << 40), THERMO_VALUE_MAX);
	CU_ASSERT(size_model_draw(model, 7, 0) >= 16);
	CU_ASSERT_EQUAL(size_model_draw(model, 7, 0), size_model_draw(model, 7, 0));
	size_model_close(&model);
}

/* The published median is 223 bytes and the mean 377. */
static void draw_published_keeps_its_shape(void)
{
	struct size_model *model;
	struct thermo_error error;
	CU_ASSERT_EQUAL_FATAL(size_model_open("published", &model, &error), 0);
	uint64_t sum = 0, below = 0, n = 200000;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t size = size_model_draw(model, mix64(i), 0);
		sum += size;
		below += size <= 223;
	}
	CU_ASSERT(sum / n > 350 && sum / n < 430);
	CU_ASSERT(below > n * 49 / 100 && below < n * 51 / 100);
	size_model_close(&model);
}

static int open_text(const char *text, struct size_model **model, struct thermo_error *error)
{
	char path[] = "/tmp/thermo-sizes-XXXXXX", spec[64];
	int file = mkstemp(path);
	CU_ASSERT_FATAL(file >= 0);
	CU_ASSERT_EQUAL_FATAL(write(file, text, strlen(text)), (ssize_t)strlen(text));
	close(file);
	snprintf(spec, sizeof(spec), "dist:%s", path);
	int status = size_model_open(spec, model, error);
	unlink(path);
	return status;
}

static void open_distribution_draws_by_weight(void)
{
	struct size_model *model;
	struct thermo_error error;
	CU_ASSERT_EQUAL_FATAL(open_text("{\"valSizeRange\":[10,20,30],"
					"\"valSizeRangeProbability\":[1,0,3]}",
					&model, &error),
			      0);
	uint64_t count[31] = {0}, n = 100000;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t size = size_model_draw(model, mix64(i), 0);
		CU_ASSERT_FATAL(size == 10 || size == 30);
		count[size]++;
	}
	CU_ASSERT(count[10] > n * 24 / 100 && count[10] < n * 26 / 100);
	size_model_close(&model);
}

static void open_ranges_draws_inside(void)
{
	struct size_model *model;
	struct thermo_error error;
	CU_ASSERT_EQUAL_FATAL(
		open_text("{\"valSizeRange\":[10,20],\"valSizeRangeProbability\":[5]}", &model,
			  &error),
		0);
	uint32_t least = UINT32_MAX, most = 0;
	for (uint64_t i = 0; i < 1000; i++) {
		uint32_t size = size_model_draw(model, mix64(i), 0);
		least = size < least ? size : least;
		most = size > most ? size : most;
	}
	CU_ASSERT_EQUAL(least, 10);
	CU_ASSERT_EQUAL(most, 20);
	size_model_close(&model);
}

static void open_malformed_says_why(void)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"valSizeRange\":[1]}",
		"{\"valSizeRange\":[1,2,3],\"valSizeRangeProbability\":[1]}",
		"{\"valSizeRange\":[],\"valSizeRangeProbability\":[]}",
		"{\"valSizeRange\":[-1],\"valSizeRangeProbability\":[1]}",
		"{\"valSizeRange\":[1e99],\"valSizeRangeProbability\":[1]}",
		"{\"valSizeRange\":[\"a\"],\"valSizeRangeProbability\":[1]}",
		"{\"valSizeRange\":[1],\"valSizeRangeProbability\":[-1]}",
		"{\"valSizeRange\":[1],\"valSizeRangeProbability\":[0]}",
		"{\"valSizeRange\":[1],\"valSizeRangeProbability\":[1e999]}",
		"{\"valSizeRange\":[20,10],\"valSizeRangeProbability\":[1]}",
		"{\"valSizeRange\":5,\"valSizeRangeProbability\":[1]}",
	};
	for (size_t i = 0; i < SUITE_COUNT(bad); i++) {
		struct size_model *model = NULL;
		struct thermo_error error = {.text = ""};
		CU_ASSERT(open_text(bad[i], &model, &error) < 0);
		CU_ASSERT(strlen(error.text) > 10);
		CU_ASSERT_PTR_NULL(model);
	}
}

static void open_missing_file_names_it(void)
{
	struct size_model *model;
	struct thermo_error error;
	CU_ASSERT_EQUAL(size_model_open("dist:/nonexistent/sizes.json", &model, &error), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "/nonexistent/sizes.json"));
	CU_ASSERT_EQUAL(size_model_open("big", &model, &error), -EINVAL);
	CU_ASSERT_EQUAL(size_model_open("257M", &model, &error), -EINVAL);
}

static const struct suite_case cases[] = {
	SUITE_CASE(parse_good_gives_bytes),         SUITE_CASE(parse_bad_is_refused),
	SUITE_CASE(parse_too_large_is_told_apart),  SUITE_CASE(format_picks_unit),
	SUITE_CASE(draw_fixed_ignores_trace),       SUITE_CASE(draw_trace_takes_its_word),
	SUITE_CASE(draw_published_keeps_its_shape), SUITE_CASE(open_distribution_draws_by_weight),
	SUITE_CASE(open_ranges_draws_inside),       SUITE_CASE(open_malformed_says_why),
	SUITE_CASE(open_missing_file_names_it),
};

int main(void)
{
	return suite_run("sizes", NULL, NULL, cases, SUITE_COUNT(cases));
}
