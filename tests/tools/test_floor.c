/* SPDX-License-Identifier: Apache-2.0 */
/* The floor against a plain reference: an array of versions, indexed by the key's number. */
#include "tests/suite.h"
#include "tools/floor_table.h"

#include <errno.h>
#include <stdbool.h>

#define VALUE_MOST 512

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Keys that differ in their first four bytes only, the rest is the same for all. */
static void make_key(unsigned char *key, uint32_t len, uint32_t number)
{
	memset(key, 'k', len);
	memcpy(key, &number, len < 4 ? len : 4);
}

static void make_value(unsigned char *value, uint32_t len, uint32_t number, uint32_t version)
{
	for (uint32_t i = 0; i < len; i++)
		value[i] = (unsigned char)(number * 31 + version * 7 + i);
}

struct model {
	struct floor *table;
	uint32_t keys, key_len, value_len;
	uint32_t *versions; /* 0: not there */
	uint64_t random;
	uint64_t there, wrong;
};

static void model_put(struct model *model, uint32_t number)
{
	unsigned char key[64], value[VALUE_MOST];
	make_key(key, model->key_len, number);
	make_value(value, model->value_len, number, model->versions[number] + 1);
	model->wrong += floor_put(model->table, key, value) != 0;
	model->there += model->versions[number]++ == 0;
}

static void model_get(struct model *model, uint32_t number)
{
	unsigned char key[64], value[VALUE_MOST], wanted[VALUE_MOST];
	make_key(key, model->key_len, number);
	bool there = floor_get(model->table, key, value);
	make_value(wanted, model->value_len, number, model->versions[number]);
	model->wrong += there != (model->versions[number] != 0);
	model->wrong += there && memcmp(value, wanted, model->value_len) != 0;
}

static void model_batch(struct model *model, bool put)
{
	static unsigned char keys[FLOOR_BATCH_MAX][64], values[FLOOR_BATCH_MAX][VALUE_MOST];
	const void *key_at[FLOOR_BATCH_MAX], *from[FLOOR_BATCH_MAX];
	void *to[FLOOR_BATCH_MAX];
	uint32_t numbers[FLOOR_BATCH_MAX];
	unsigned char wanted[VALUE_MOST];
	unsigned n = 1 + (unsigned)(next_random(&model->random) % FLOOR_BATCH_MAX);

	for (unsigned i = 0; i < n; i++) {
		numbers[i] = (uint32_t)(next_random(&model->random) % model->keys);
		make_key(keys[i], model->key_len, numbers[i]);
		key_at[i] = keys[i];
		from[i] = to[i] = values[i];
		if (!put)
			continue;
		make_value(values[i], model->value_len, numbers[i], model->versions[numbers[i]] + 1);
		model->there += model->versions[numbers[i]]++ == 0;
	}
	if (put) {
		model->wrong += floor_put_batch(model->table, key_at, from, n) != 0;
		return;
	}
	uint64_t found = floor_get_batch(model->table, key_at, to, n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t version = model->versions[numbers[i]];
		make_value(wanted, model->value_len, numbers[i], version);
		model->wrong += (found >> i & 1) != (version != 0);
		model->wrong += version && memcmp(values[i], wanted, model->value_len) != 0;
	}
	model->wrong += n < 64 && found >> n != 0;
}

/* Random operations, then every key is asked for. */
static void run_model(const struct floor_ops *ops, uint32_t keys, uint32_t key_len, uint32_t value_len,
		      uint64_t seed)
{
	struct model model = {.keys = keys, .key_len = key_len, .value_len = value_len, .random = seed};
	CU_ASSERT_EQUAL_FATAL(floor_open(&model.table, keys, key_len, value_len), 0);
	model.table->ops = ops;
	model.versions = calloc(keys, sizeof(*model.versions));
	CU_ASSERT_PTR_NOT_NULL_FATAL(model.versions);
	for (uint32_t step = 0; step < 4 * keys + 64; step++) {
		uint64_t random = next_random(&model.random);
		uint32_t number = (uint32_t)(random >> 8) % keys;
		if ((random & 255) < 4)
			model_batch(&model, random & 1);
		else if (random & 4)
			model_put(&model, number);
		else
			model_get(&model, number);
	}
	for (uint32_t number = 0; number < keys; number++)
		model_get(&model, number);
	CU_ASSERT_EQUAL(model.wrong, 0);
	CU_ASSERT_EQUAL(floor_count(model.table), model.there);
	CU_ASSERT(model.there > keys / 2);
	free(model.versions);
	floor_close(&model.table);
	CU_ASSERT_PTR_NULL(model.table);
}

static void operations_random_match_model(void)
{
	const struct floor_ops *common[] = {&floor_plain_16_64, NULL, NULL};
	const struct floor_ops *any[] = {&floor_plain_any, NULL, NULL};
	uint64_t seed = suite_seed();
	unsigned n = 1;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2")) {
		common[n] = &floor_avx2_16_64;
		any[n++] = &floor_avx2_any;
	}
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
		common[n] = &floor_avx512_16_64;
		any[n++] = &floor_avx512_any;
	}
#endif
	for (unsigned i = 0; i < n; i++) {
		run_model(common[i], 50000, 16, 64, seed + i);
		run_model(any[i], 50000, 16, 64, seed + i);
		run_model(any[i], 20000, 4, 7, seed + i);
		run_model(any[i], 200, 1, 0, seed + i);
		run_model(any[i], 5000, 31, 500, seed + i);
		run_model(any[i], 1, 9, 8, seed + i);
	}
}

static void open_common_sizes_uses_common_code(void)
{
	struct floor *table;
	CU_ASSERT_EQUAL_FATAL(floor_open(&table, 10, 16, 64), 0);
	const struct floor_ops *common = table->ops;
	floor_close(&table);
	CU_ASSERT_EQUAL_FATAL(floor_open(&table, 10, 16, 65), 0);
	CU_ASSERT_STRING_EQUAL(floor_isa(table), common->isa);
	CU_ASSERT_PTR_NOT_EQUAL(table->ops, common);
	floor_close(&table);
}

static void open_impossible_sizes_fails(void)
{
	struct floor *table;
	CU_ASSERT_EQUAL(floor_open(&table, 0, 16, 64), -EINVAL);
	CU_ASSERT_EQUAL(floor_open(&table, 1, 0, 64), -EINVAL);
	CU_ASSERT_EQUAL(floor_open(&table, UINT64_MAX, 16, 64), -EOVERFLOW);
	CU_ASSERT_EQUAL(floor_open(&table, UINT64_C(1) << 39, 16, 4000), -EOVERFLOW);
}

static void put_full_no_space(void)
{
	struct floor *table;
	unsigned char key[16], value[64] = {0};
	CU_ASSERT_EQUAL_FATAL(floor_open(&table, 1000, 16, 64), 0);
	for (uint32_t i = 0; i < 1000; i++) {
		make_key(key, 16, i);
		CU_ASSERT_EQUAL(floor_put(table, key, value), 0);
	}
	make_key(key, 16, 1000);
	const void *keys[] = {key}, *values[] = {value};
	CU_ASSERT_EQUAL(floor_put(table, key, value), -ENOSPC);
	CU_ASSERT_EQUAL(floor_put_batch(table, keys, values, 1), -ENOSPC);
	CU_ASSERT_FALSE(floor_get(table, key, value));
	make_key(key, 16, 999);
	CU_ASSERT_EQUAL(floor_put(table, key, value), 0);
	CU_ASSERT_EQUAL(floor_count(table), 1000);
	floor_close(&table);
}

static void bytes_million_keys_under_28_each(void)
{
	struct floor *table;
	CU_ASSERT_EQUAL_FATAL(floor_open(&table, 1000000, 16, 64), 0);
	CU_ASSERT(floor_bytes(table) >= 82000000);
	CU_ASSERT(floor_bytes(table) < (80 + 28) * 1000000u);
	floor_close(&table);
}

static const struct suite_case cases[] = {
	SUITE_CASE(operations_random_match_model),
	SUITE_CASE(open_common_sizes_uses_common_code),
	SUITE_CASE(open_impossible_sizes_fails),
	SUITE_CASE(put_full_no_space),
	SUITE_CASE(bytes_million_keys_under_28_each),
};

int main(void)
{
	return suite_run("floor", NULL, NULL, cases, SUITE_COUNT(cases));
}
