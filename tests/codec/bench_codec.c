/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and speeds of both codecs on behaviour logs, in blocks of a user's day, beside what they
 *are compared with, all in one run:
 *
 *	bench_codec [--data DIR] [--log NAME] [--events N] [--rounds R] [--describe]
 *
 * DIR has the logs (default: THERMO_DATA/behaviours); N: events of the generated logs; NAME: only
 *this one (the only way to short_video_sparse). What counts as cold size: blocks, the model, and
 *two bytes of a directory for each block. Exit status 1 if a value decodes wrongly.
 */
#include "tests/codec/bench.h"
#include "tests/codec/memory.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH_EVENTS 32768u /* decoded in one call, into the same arrays again */
#define DIRECTORY_BYTES 2.0
#define ROUNDS_MAX 64

struct settings {
	const char *data, *only;
	uint32_t events;
	int rounds;
	bool describe;
};

struct result {
	const char *name;
	uint32_t n, blocks;
	double protobuf, protobuf_zstd, parquet, entropy, hot, cold, model;
	double parse, zstd_parse, hot_decode, hot_encode, cold_decode, cold_encode, hot_large;
};

/* A codec's blocks of a log. */
struct coded {
	struct codec codec;
	uint8_t *bytes, *scratch;
	uint32_t *offsets;
	const uint32_t *starts;
	uint32_t blocks;
	double seconds;
};

static void slice(const struct log *log, uint32_t from, struct codec_column *columns)
{
	for (uint32_t c = 0; c < log->schema.columns; c++) {
		columns[c] = log->columns[c];
		if (log->schema.type[c] == CODEC_BYTES)
			columns[c].offsets += from;
		else
			columns[c].values =
				(const char *)columns[c].values + (size_t)from * log_width(log, c);
	}
}

static size_t encode_all(const struct log *log, struct coded *coded)
{
	size_t at = 0;
	for (uint32_t b = 0; b < coded->blocks; b++) {
		struct codec_column columns[LOG_COLUMNS_MAX];
		size_t len;
		slice(log, coded->starts[b], columns);
		if (codec_encode(&coded->codec, columns, coded->starts[b + 1] - coded->starts[b],
				 coded->scratch, coded->bytes + at, &len))
			exit(EXIT_FAILURE);
		at += len;
		coded->offsets[b + 1] = (uint32_t)at;
	}
	return at;
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_double);
	return v[n / 2];
}

static void encode_log(const struct log *log, struct coded *coded, int rounds)
{
	size_t bound = 0, scratch = 64;
	double seconds[ROUNDS_MAX];
	for (uint32_t b = 0; b < coded->blocks; b++) {
		struct codec_column columns[LOG_COLUMNS_MAX];
		uint32_t n = coded->starts[b + 1] - coded->starts[b];
		slice(log, coded->starts[b], columns);
		bound += codec_bound(&coded->codec, columns, n);
		size_t need = codec_encode_scratch(&coded->codec, columns, n);
		scratch = need > scratch ? need : scratch;
	}
	coded->bytes = malloc(bound);
	coded->offsets = calloc((size_t)coded->blocks + 1, sizeof(uint32_t));
	coded->scratch = aligned_alloc(64, (scratch + 127) & ~(size_t)63);
	for (int r = 0; r < rounds; r++) {
		double begin = bench_seconds();
		(void)encode_all(log, coded);
		seconds[r] = bench_seconds() - begin;
	}
	coded->seconds = median(seconds, rounds);
}

static void coded_free(struct coded *coded)
{
	free(coded->bytes);
	free(coded->offsets);
	free(coded->scratch);
}

static bool outputs_same(const struct log *log, const struct codec_output *outputs, uint32_t from,
			 uint32_t n)
{
	for (uint32_t c = 0; c < log->schema.columns; c++) {
		const struct codec_column *column = &log->columns[c];
		if (log->schema.type[c] != CODEC_BYTES) {
			size_t width = log_width(log, c);
			if (memcmp(outputs[c].values, (const char *)column->values + from * width,
				   n * width) != 0)
				return false;
			continue;
		}
		for (uint32_t i = 0; i <= n; i++)
			if (outputs[c].offsets[i] !=
			    column->offsets[from + i] - column->offsets[from])
				return false;
		if (memcmp(outputs[c].values, (const char *)column->values + column->offsets[from],
			   outputs[c].offsets[n]) != 0)
			return false;
	}
	return true;
}

/* Decodes all blocks in batches; with `check`, compares. */
static void decode_all(const struct log *log, const struct coded *coded,
		       const struct codec_output *outputs, uint8_t *scratch, size_t room,
		       bool check)
{
	for (uint32_t b = 0, end; b < coded->blocks; b = end) {
		for (end = b + 1; end < coded->blocks &&
				  coded->starts[end + 1] - coded->starts[b] <= BATCH_EVENTS;
		     end++)
			;
		struct codec_blocks blocks = {coded->bytes, coded->offsets[coded->blocks],
					      coded->offsets + b, end - b};
		uint32_t from = coded->starts[b], n = coded->starts[end] - from;
		int rc = codec_decode(&coded->codec, &blocks, 0, n, outputs, scratch, room);
		if (rc || (check && !outputs_same(log, outputs, from, n))) {
			fprintf(stderr, "bench_codec: %s: events %u to %u decode wrongly (%d)\n",
				log->name, from, from + n, rc);
			exit(EXIT_FAILURE);
		}
	}
}

static double decode_log(const struct log *log, const struct coded *coded, int rounds)
{
	struct codec_output outputs[LOG_COLUMNS_MAX] = {0};
	uint32_t most = BATCH_EVENTS;
	double seconds[ROUNDS_MAX];
	struct codec_blocks blocks = {coded->bytes, coded->offsets[coded->blocks], coded->offsets,
				      coded->blocks};
	uint64_t events;
	size_t room;
	if (codec_measure(&coded->codec, &blocks, &events, &room) || events != log->n)
		exit(EXIT_FAILURE);
	for (uint32_t b = 0; b < coded->blocks; b++)
		most = coded->starts[b + 1] - coded->starts[b] > most
			       ? coded->starts[b + 1] - coded->starts[b]
			       : most;
	for (uint32_t c = 0; c < log->schema.columns; c++) {
		outputs[c].type = log->schema.type[c];
		outputs[c].capacity = log->schema.type[c] == CODEC_BYTES ? 200 * most : 0;
		outputs[c].offsets = malloc((most + 1) * sizeof(uint32_t));
		outputs[c].values = malloc((size_t)most * 8 + outputs[c].capacity);
	}
	uint8_t *scratch = aligned_alloc(64, (room + 127) & ~(size_t)63);
	decode_all(log, coded, outputs, scratch, room, true);
	for (int r = 0; r < rounds; r++) {
		double begin = bench_seconds();
		decode_all(log, coded, outputs, scratch, room, false);
		seconds[r] = bench_seconds() - begin;
	}
	free(scratch);
	for (uint32_t c = 0; c < log->schema.columns; c++) {
		free(outputs[c].offsets);
		free(outputs[c].values);
	}
	return log->n / median(seconds, rounds) / 1e6;
}

static void measure_hot(const struct log *log, struct result *result, int rounds)
{
	struct coded coded = {
		.codec = {&log->schema, NULL}, .starts = log->starts, .blocks = log->blocks};
	encode_log(log, &coded, rounds);
	result->hot = (double)coded.offsets[coded.blocks] / log->n;
	result->hot_encode = log->n / coded.seconds / 1e6;
	result->hot_decode = decode_log(log, &coded, rounds);
	coded_free(&coded);
	/* The same in blocks of 4,096 events, as a long sequence's. */
	uint32_t *starts = calloc(log->n / 4096 + 2, sizeof(uint32_t)), blocks = 0;
	for (uint32_t i = 0; i < log->n; i += 4096)
		starts[blocks++] = i;
	starts[blocks] = log->n;
	coded.starts = starts;
	coded.blocks = blocks;
	encode_log(log, &coded, 1);
	result->hot_large = decode_log(log, &coded, rounds);
	coded_free(&coded);
	free(starts);
}

static void measure_cold(const struct log *log, struct result *result,
			 const struct settings *settings)
{
	struct test_memory counts;
	struct codec_memory memory = test_memory(&counts);
	struct model_sample sample = {log->columns, log->starts, log->blocks};
	struct coded coded = {
		.codec = {&log->schema, NULL}, .starts = log->starts, .blocks = log->blocks};
	struct model *model;
	uint8_t *bytes;
	size_t len;
	double begin = bench_seconds();
	if (model_build(&log->schema, &sample, &memory, &bytes, &len) ||
	    model_open(&log->schema, bytes, len, true, &memory, &model))
		exit(EXIT_FAILURE);
	if (settings->describe) {
		char text[4096];
		(void)model_describe(model, text, sizeof(text));
		printf("%s: model of %zu bytes, %.1f s\n%s\n", log->name, len,
		       bench_seconds() - begin, text);
	}
	coded.codec.model = model;
	encode_log(log, &coded, settings->rounds);
	result->model = (double)len / log->n;
	result->cold = (double)coded.offsets[coded.blocks] / log->n + result->model +
		       DIRECTORY_BYTES * log->blocks / log->n;
	result->cold_encode = log->n / coded.seconds / 1e6;
	result->cold_decode = decode_log(log, &coded, settings->rounds);
	coded_free(&coded);
	memory.free(memory.context, bytes, len);
	model_close(&model);
}

static void measure(const struct log *log, struct result *result, const struct settings *settings)
{
	*result = (struct result){.name = log->name, .n = log->n, .blocks = log->blocks};
	result->protobuf = baseline_protobuf(log, false);
	result->protobuf_zstd = baseline_protobuf(log, true);
	result->parquet = baseline_parquet(log);
	result->entropy = baseline_entropy(log);
	result->parse = baseline_protobuf_speed(log, false);
	result->zstd_parse = baseline_protobuf_speed(log, true);
	measure_hot(log, result, settings->rounds);
	measure_cold(log, result, settings);
}

static void print_results(const struct result *results, int n)
{
	double rows = 0, columns = 0;
	printf("Bytes an event, without the user's id; blocks of a user's day\n\n");
	printf("%-24s %8s %7s %8s %8s %8s %7s %6s %6s  %6s %8s %8s %8s\n", "log", "events",
	       "a block", "protobuf", "+zstd-3", "parquet", "entropy", "hot", "cold", "model",
	       "-rows", "-parquet", "+entropy");
	for (int i = 0; i < n; i++) {
		const struct result *r = &results[i];
		rows += 1 - r->cold / r->protobuf_zstd;
		columns += 1 - r->cold / r->parquet;
		printf("%-24s %8u %7.1f %8.2f %8.2f %8.2f %7.2f %6.2f %6.2f  %6.3f %7.1f%% %7.1f%% "
		       "%7.1f%%\n",
		       r->name, r->n, (double)r->n / r->blocks, r->protobuf, r->protobuf_zstd,
		       r->parquet, r->entropy, r->hot, r->cold, r->model,
		       100 * (1 - r->cold / r->protobuf_zstd), 100 * (1 - r->cold / r->parquet),
		       100 * (r->cold / r->entropy - 1));
	}
	printf("%-24s %89s %7.1f%% %7.1f%%\n\n", "mean", "", 100 * rows / n, 100 * columns / n);
	printf("Millions of events a second, one core, all columns (%s)\n\n", codec_isa());
	printf("%-24s %9s %9s %9s %9s %9s %9s %9s\n", "log", "protobuf", "zstd+pb", "hot dec",
	       "hot 4096", "hot enc", "cold dec", "cold enc");
	for (int i = 0; i < n; i++) {
		const struct result *r = &results[i];
		printf("%-24s %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", r->name, r->parse,
		       r->zstd_parse, r->hot_decode, r->hot_large, r->hot_encode, r->cold_decode,
		       r->cold_encode);
	}
}

static bool parse(int argc, char **argv, struct settings *settings)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--describe") == 0)
			settings->describe = true;
		else if (i + 1 < argc && strcmp(argv[i], "--data") == 0)
			settings->data = argv[++i];
		else if (i + 1 < argc && strcmp(argv[i], "--log") == 0)
			settings->only = argv[++i];
		else if (i + 1 < argc && strcmp(argv[i], "--events") == 0)
			settings->events = (uint32_t)strtoul(argv[++i], NULL, 10);
		else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
			settings->rounds = atoi(argv[++i]);
		else
			return false;
	}
	return settings->events > 0 && settings->rounds > 0 && settings->rounds <= ROUNDS_MAX;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"ml_latest_small", "online_retail",
					    "obd_men",         "short_video",
					    "short_video_ids", "short_video_sparse"};
	struct settings settings = {.events = 1000000, .rounds = 7};
	struct result results[5];
	char folder[4096];
	int n = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getenv("THERMO_DATA")) {
		snprintf(folder, sizeof(folder), "%s/behaviours", getenv("THERMO_DATA"));
		settings.data = folder;
	}
	if (!parse(argc, argv, &settings)) {
		fprintf(stderr, "usage: bench_codec [--data DIR] [--log NAME] [--events N] "
				"[--rounds R] [--describe]\n");
		return EXIT_FAILURE;
	}
	for (int i = 0; i < 6; i++) {
		struct log log;
		if (settings.only ? strcmp(settings.only, names[i]) != 0 : i == 5)
			continue;
		if (i < 3 && (!settings.data || !log_read(&log, settings.data, names[i])))
			continue;
		if (i >= 3)
			log_generate(&log, names[i], settings.events, i == 5, i == 4);
		measure(&log, &results[n++], &settings);
		log_free(&log);
	}
	print_results(results, n);
	return EXIT_SUCCESS;
}
