/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/suite.h"
#include "tools/generate.h"
#include "tools/mix.h"

static const struct generate_options small = {
	.seed = 3, .users = 500, .items = 20000, .visits = {3000, 1000, 500}};

struct tally {
	uint64_t n, digest, phase[4], verb[3], space[3];
	uint32_t *reads; /* of each item's embedding, in the first phase of visits */
	uint32_t scanned;
	double done;
};

static void run(const struct generate_options *options, struct tally *tally)
{
	struct generate *generate;
	struct replay_op op;
	struct thermo_error error;
	memset(tally, 0, sizeof(*tally));
	tally->reads = calloc(options->items, sizeof(*tally->reads));
	CU_ASSERT_EQUAL_FATAL(generate_open(options, &generate), 0);
	struct replay_source *source = generate_source(generate);
	CU_ASSERT_EQUAL(source->n_spaces, 3);
	CU_ASSERT_EQUAL(source->n_phases, 4);
	int status;
	while ((status = source->next(source, &op, &error)) == 1) {
		CU_ASSERT_FATAL(op.phase < 4 && op.verb < 3 && op.space < 3);
		CU_ASSERT_FATAL(op.key_len >= 8 && op.value_len > 0);
		CU_ASSERT_FATAL(op.id < (op.space == 0 ? options->users : options->items));
		tally->n++;
		tally->phase[op.phase]++;
		tally->verb[op.verb]++;
		tally->space[op.space]++;
		tally->digest = mix64(tally->digest ^ op.id ^ (uint64_t)op.verb << 40 ^
				      (uint64_t)op.space << 44 ^ (uint64_t)op.value_len << 48);
		if (op.phase == 1 && op.space == 1 && op.verb == REPLAY_GET)
			tally->reads[op.id]++;
	}
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(source->next(source, &op, &error), 0);
	tally->done = source->done(source);
	generate_close(&generate);
	CU_ASSERT_PTR_NULL(generate);
}

static void next_same_seed_same_requests(void)
{
	struct tally a, b, c;
	struct generate_options other = small;
	other.seed++;
	run(&small, &a);
	run(&small, &b);
	run(&other, &c);
	CU_ASSERT_EQUAL(a.n, b.n);
	CU_ASSERT_EQUAL(a.digest, b.digest);
	CU_ASSERT_NOT_EQUAL(a.digest, c.digest);
	free(a.reads), free(b.reads), free(c.reads);
}

static void next_load_covers_every_key_once(void)
{
	struct tally tally;
	run(&small, &tally);
	CU_ASSERT_EQUAL(tally.phase[0], 500 + 2 * (20000 - 20000 % GENERATE_CATEGORIES));
	free(tally.reads);
}

/* A visit is the user's sequence twice, 24 embeddings, and 5.9 items less what the cut takes. */
static void next_visits_have_the_published_size(void)
{
	struct tally tally;
	run(&small, &tally);
	double a_visit = (double)tally.phase[1] / small.visits[0];
	CU_ASSERT(a_visit > 31 && a_visit < 33.5);
	CU_ASSERT_EQUAL(tally.verb[REPLAY_DELETE], 0);
	CU_ASSERT(tally.done > 0.97 && tally.done < 1.03);
	free(tally.reads);
}

/* In the published log the most exposed 1 % of the videos have 40 % of the events or so, and many
 * are seen once. */
static void next_popularity_is_skewed(void)
{
	struct generate_options options = small;
	struct tally tally;
	options.visits[0] = 10000;
	options.visits[1] = options.visits[2] = 0;
	run(&options, &tally);
	uint64_t total = 0, top = 0, n = options.items - options.items % GENERATE_CATEGORIES;
	uint64_t histogram[1000] = {0};
	for (uint32_t i = 0; i < n; i++) {
		uint32_t reads = tally.reads[i] < 999 ? tally.reads[i] : 999;
		histogram[reads]++;
		total += tally.reads[i];
	}
	uint64_t left = n / 100;
	for (int reads = 999; reads > 0 && left; reads--) {
		uint64_t items = histogram[reads] < left ? histogram[reads] : left;
		top += items * (uint64_t)reads;
		left -= items;
	}
	double share = (double)top / (double)total;
	CU_ASSERT(share > 0.2 && share < 0.6);
	free(tally.reads);
}

static void next_without_visits_only_loads(void)
{
	struct generate_options options = {.seed = 1, .users = 1, .items = 64};
	struct tally tally;
	run(&options, &tally);
	CU_ASSERT_EQUAL(tally.n, 1 + 2 * 64);
	free(tally.reads);
}

static const struct suite_case cases[] = {
	SUITE_CASE(next_same_seed_same_requests),
	SUITE_CASE(next_load_covers_every_key_once),
	SUITE_CASE(next_visits_have_the_published_size),
	SUITE_CASE(next_popularity_is_skewed),
	SUITE_CASE(next_without_visits_only_loads),
};

int main(void)
{
	return suite_run("generate", NULL, NULL, cases, SUITE_COUNT(cases));
}
