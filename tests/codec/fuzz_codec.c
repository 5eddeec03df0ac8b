/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: the hot decoder, the cold decoder and the reader of models on any bytes. Byte 0
 * chooses which, byte 1 the schema and what is asked for; the rest is the block, the model, or
 * (bytes of a model before compression, with a length in front) both. Built with -Dfuzz=true and
 * clang; tests/codec/corpus/codec has seeds.
 */
#include "alloc/check.h"
#include "tests/codec/memory.h"
#include "tiers/codec/bits.h"

#include "tests/fuzz.h"

#include <zstd.h>

#define EVENTS_MAX 4096u
#define CAPACITY 65536u

static const struct codec_schema schemas[4] = {
	{2, {CODEC_INT64, CODEC_INT64}},
	{5, {CODEC_INT64, CODEC_INT64, CODEC_INT64, CODEC_DOUBLE, CODEC_BYTES}},
	{4, {CODEC_INT64, CODEC_BYTES, CODEC_FLOAT, CODEC_BYTES}},
	{6, {CODEC_INT64, CODEC_INT64, CODEC_INT64, CODEC_INT64, CODEC_INT64, CODEC_FLOAT}},
};

/* The model that cold blocks are decoded against: of events from a fixed seed. */
static struct model *fixed_model(unsigned which)
{
	static struct model *models[4];
	static struct test_memory counts;
	static int64_t words[6][256];
	static float floats[256];
	static uint8_t text[1024];
	static uint32_t offsets[257];
	struct codec_memory memory = test_memory(&counts);
	const struct codec_schema *schema = &schemas[which];
	struct codec_column columns[6] = {0};
	uint32_t starts[17];
	uint8_t *bytes;
	size_t len;
	if (models[which])
		return models[which];
	for (uint32_t i = 0; i < 256; i++) {
		for (uint32_t c = 0; c < 6; c++)
			words[c][i] = (int64_t)((i * 2654435761u >> (20 + c)) * (c ? 1 : i));
		floats[i] = (float)(i % 10) / 2;
		offsets[i + 1] = offsets[i] + i % 5;
		text[offsets[i]] = (uint8_t)('a' + i % 5);
	}
	for (uint32_t b = 0; b <= 16; b++)
		starts[b] = b * 16;
	for (uint32_t c = 0; c < schema->columns; c++) {
		columns[c].values = schema->type[c] == CODEC_BYTES   ? (void *)text
				    : schema->type[c] == CODEC_FLOAT ? (void *)floats
								     : (void *)words[c];
		columns[c].offsets = offsets;
	}
	struct model_sample sample = {columns, starts, 16};
	check(!model_build(schema, &sample, &memory, &bytes, &len));
	check(!model_open(schema, bytes, len, true, &memory, &models[which]));
	memory.free(memory.context, bytes, len);
	return models[which];
}

static void outputs_check(const struct codec_schema *schema, const struct codec_output *outputs,
			  uint64_t n)
{
	for (uint32_t c = 0; c < schema->columns; c++)
		for (uint64_t i = 0; outputs[c].values && schema->type[c] == CODEC_BYTES && i < n;
		     i++)
			check(outputs[c].offsets[i] <= outputs[c].offsets[i + 1] &&
			      outputs[c].offsets[i + 1] <= outputs[c].capacity);
}

/* Decodes the bytes as two blocks, cut at `cut`, or as one. */
static void decode(const struct codec *codec, const uint8_t *bytes, size_t size, uint8_t how)
{
	uint32_t cut = size ? how % (uint32_t)size : 0, offsets[3] = {0, cut, (uint32_t)size};
	struct codec_blocks blocks = {bytes, size, how & 1 ? offsets : offsets + 1,
				      how & 1 ? 2 : 1};
	struct codec_output outputs[6] = {0};
	uint64_t events;
	size_t need;
	int rc = codec_measure(codec, &blocks, &events, &need);
	check(!rc || rc == -EILSEQ);
	if (rc || need > (size_t)32 << 20 || events > EVENTS_MAX)
		return;
	uint64_t from = how % 3 ? 0 : events / 3, n = how % 5 ? events - from : (events - from) / 2;
	for (uint32_t c = 0; c < codec->schema->columns; c++) {
		outputs[c].type = codec->schema->type[c] == CODEC_BYTES ? CODEC_BYTES
									: (uint8_t)(how + c) % 3;
		outputs[c].capacity = CAPACITY;
		outputs[c].offsets = malloc((n + 1) * sizeof(uint32_t));
		outputs[c].present = malloc(n + 1);
		if (how % 7 != c)
			outputs[c].values = malloc(
				codec->schema->type[c] == CODEC_BYTES ? CAPACITY : n * 8 + 1);
	}
	void *scratch;
	check(!posix_memalign(&scratch, 64, need + 1));
	rc = codec_decode(codec, &blocks, from, n, outputs, scratch, need);
	check(!rc || rc == -EILSEQ || rc == -ENOBUFS);
	if (!rc)
		outputs_check(codec->schema, outputs, n);
	free(scratch);
	for (uint32_t c = 0; c < codec->schema->columns; c++) {
		free(outputs[c].values);
		free(outputs[c].offsets);
		free(outputs[c].present);
	}
}

/* A model of these bytes, compressed here so that the fuzzer reaches what is inside; then decodes
 * with it. */
static void model_try(const struct codec_schema *schema, const uint8_t *bytes, size_t size,
		      bool raw, uint8_t how)
{
	struct test_memory counts;
	struct codec_memory memory = test_memory(&counts);
	struct model *model;
	counts.limit = (size_t)64 << 20;
	size_t inner = size > 2 ? (size_t)bytes[0] | (size_t)bytes[1] << 8 : 0,
	       cap = ZSTD_compressBound(size) + 16;
	inner = size > 2 && inner > size - 2 ? size - 2 : inner;
	uint8_t *packed = malloc(cap), *at = packed;
	*at++ = 1;
	at = varint_put(at, inner);
	if (raw && inner)
		at += ZSTD_compress(at, cap - 11, bytes + 2, inner, 1);
	int rc = raw ? model_open(schema, packed, (size_t)(at - packed), how & 1, &memory, &model)
		     : model_open(schema, bytes, size, how & 1, &memory, &model);
	check(!rc || rc == -EILSEQ || rc == -EPROTO || rc == -ENOMEM);
	check((rc != 0) == (model == NULL));
	if (model && raw) {
		struct codec codec = {schema, model};
		uint8_t *block = malloc(size - 2 - inner + 1);
		memcpy(block, bytes + 2 + inner, size - 2 - inner);
		decode(&codec, block, size - 2 - inner, how);
		free(block);
	}
	model_close(&model);
	check(counts.out == 0);
	free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const isas[] = {"base", "avx2", "avx512"};
	if (size < 2)
		return 0;
	const struct codec_schema *schema = &schemas[data[1] % 4];
	struct codec codec = {schema, data[0] % 4 == 1 ? fixed_model(data[1] % 4) : NULL};
	/* A copy of the exact size, so that reading past the end is seen. */
	uint8_t *copy = malloc(size - 2 ? size - 2 : 1);
	memcpy(copy, data + 2, size - 2);
	if (codec_isa_set(isas[data[0] / 4 % 3]))
		(void)codec_isa_set(NULL);
	if (data[0] % 4 < 2)
		decode(&codec, copy, size - 2, data[1] / 4);
	else
		model_try(schema, copy, size - 2, data[0] % 4 == 3, data[1] / 4);
	free(copy);
	return 0;
}

void fuzz_seeds(const char *folder)
{
	for (uint8_t way = 0; way < 4; way++) {
		char name[] = {'w', (char)('0' + way), 0};
		fuzz_seed(folder, name, way, "\0\0", 2);
	}
}
