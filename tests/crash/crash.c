/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash enumerator: workloads on a disk in memory, every prefix of what they did to it, every state that the
 * disk may be in after the power went there; each is opened, read and compared with the model. From some
 * states another workload goes on, and its prefixes are looked at in turn: what recovery does is crashed too.
 *
 * usage: crash [--seed N] [--states N] [--seconds S] [--every N] [--durable] [--plant NAME] [--only] [--hashes FILE] [--verbose]
 *
 * Ends with status 0 when nothing was wrong, 1 when a state was, 2 on misuse.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/clock.h"
#include "tests/crash/model.h"
#include "tests/crash/plant.h"
#include "tests/crash/states.h"

#define DEPTH_MAX 2

struct options {
	uint64_t seed;
	uint64_t every;    /* of the states with something in doubt: one in so many is looked at */
	uint64_t states;   /* stop when so many distinct ones were checked; 0: no such end */
	double seconds;    /* or after so long; 0: no such end */
	bool durable, verbose, once;
	const char *plant, *hashes;
};

struct explorer {
	struct options options;
	struct seen *distinct, *shown;
	struct verdict verdict;
	struct chance chance;
	uint64_t workloads, deeper, cuts, new_states;
	uint64_t of_kind[DISK_KINDS];   /* distinct states with such an operation done last or in doubt */
	uint64_t ops_of_kind[DISK_KINDS];
	double began;
	bool failed;
};

static bool enough(const struct explorer *x)
{
	const struct options *o = &x->options;
	return x->failed || (o->states && seen_count(x->distinct) >= o->states) ||
	       (o->seconds > 0 && clock_real() - x->began > o->seconds);
}

/* One record on its way through its prefixes. */
struct pass {
	struct explorer *x;
	const struct disk_record *record;
	const struct trace *trace;
	struct model model;
	size_t next;
	uint64_t seed;
	bool warm;
	int depth;
	uint64_t epoch_base;
};

static void explore(struct explorer *x, const struct disk_image *base, const struct model *model,
		    uint64_t seed, bool warm, int depth);

static void print_op(const struct disk_op *op)
{
	printf("%s %s%s%s", disk_kind_names[op->kind], op->name, op->kind == DISK_RENAME ? " to " : "",
	       op->to);
	if (op->kind == DISK_WRITE)
		printf(" %" PRIu64 "+%" PRIu64, op->offset, op->bytes);
}

static void print_wrong(const struct pass *pass, const struct state *state)
{
	const struct disk_record *record = pass->record;
	printf("WRONG: workload seed %" PRIu64 "%s, after %zu of %zu operations, %s: %s\n", pass->seed,
	       pass->depth ? " (after a crash)" : "", state->cut, record->n, state->choice,
	       pass->x->verdict.wrong);
	for (size_t i = state->cut < 12 ? 0 : state->cut - 12; i < state->cut; i++) {
		printf("  %zu: ", i + 1);
		print_op(&record->ops[i]);
		printf("\n");
	}
	const struct model *model = &pass->model;
	printf("  phase %d, %zu calls under way%s\n", (int)model->phase, model->n_under_way,
	       model->untouched ? ", nothing changed since the open" : "");
}

static void count_state(struct explorer *x, const struct state *state)
{
	if (!state->is_new)
		return;
	x->new_states++;
	for (unsigned kind = 0; kind < DISK_KINDS; kind++)
		x->of_kind[kind] += state->kinds >> kind & 1;
}

static bool visit(void *context, struct state *state)
{
	struct pass *pass = context;
	struct explorer *x = pass->x;
	if (!state->choice) {
		model_follow(&pass->model, pass->trace, &pass->next, state->cut);
		state->epoch = pass->epoch_base + pass->model.epoch;
		x->cuts++;
		return !enough(x);
	}
	uint64_t draw = chance_next(&x->chance);
	struct check_options options = {.warm = pass->warm, .seed = draw, .go_on = draw % 16 == 0};
	bool deeper = pass->depth + 1 < DEPTH_MAX && draw / 16 % 400 == 0;
	struct model *observed = deeper ? malloc(sizeof(*observed)) : NULL;
	count_state(x, state);
	bool well = check_image(state->image, &pass->model, &options, &x->verdict, observed);
	if (!well) {
		print_wrong(pass, state);
		x->failed = true;
	} else if (observed) {
		struct disk_image copy;
		disk_image_copy(&copy, state->image);
		x->deeper++;
		explore(x, &copy, observed, value_mix(draw), pass->warm, pass->depth + 1);
		disk_image_clear(&copy);
	}
	free(observed);
	return !enough(x);
}

static void count_ops(struct explorer *x, const struct disk_record *record)
{
	for (size_t i = 0; i < record->n; i++)
		x->ops_of_kind[record->ops[i].kind]++;
}

/* A workload from that disk, and all states of its record. */
static void explore(struct explorer *x, const struct disk_image *base, const struct model *model,
		    uint64_t seed, bool warm, int depth)
{
	struct workload_options options = {
		.seed = seed,
		.steps = depth ? 4 : 20 + (unsigned)(seed % 50),
		.durable = x->options.durable,
		.warm = warm,
	};
	struct disk *disk = malloc(sizeof(*disk));
	struct pass *pass = calloc(1, sizeof(*pass));
	struct disk_record record;
	struct trace trace = {0};
	if (!disk || !pass)
		abort();
	check_disk(disk, base);
	clock_restart();
	workload_versions_from(seed);
	disk_record_begin(disk, &record);
	bool well = workload_run(disk, &options, &trace);
	disk_record_end(disk);
	x->workloads += !depth;
	count_ops(x, &record);
	plant_bug(x->options.plant, &record);
	if (x->options.verbose)
		printf("%*sseed %" PRIu64 ": %zu events, %zu operations, %.1f s, %zu states\n", depth * 2, "",
		       seed, trace.n, record.n, clock_real() - x->began, seen_count(x->distinct));
	*pass = (struct pass){.x = x, .record = &record, .trace = &trace, .model = *model,
			      .seed = seed, .warm = warm, .depth = depth,
			      .epoch_base = value_mix(seed)};
	struct states_options states = {.random_subsets = 8, .tears = 3, .every = x->options.every};
	if (well)
		states_all(&record, &states, x->distinct, x->shown, seed, visit, pass);
	else
		x->failed = true;
	disk_record_free(&record);
	free(trace.events);
	disk_clear(disk);
	free(disk);
	free(pass);
}

static void print_summary(const struct explorer *x)
{
	const struct verdict *v = &x->verdict;
	printf("crash: seed %" PRIu64 ": %" PRIu64 " workloads and %" PRIu64
	       " from states of theirs, %" PRIu64 " prefixes, %.0f s\n",
	       x->options.seed, x->workloads, x->deeper, x->cuts, clock_real() - x->began);
	if (x->options.every > 1)
		printf("  a sample: one state in %" PRIu64 " was made\n", x->options.every);
	printf("  distinct states %zu; opened and compared %" PRIu64
	       " (again where more had been acknowledged), gone on from %" PRIu64 "\n",
	       seen_count(x->distinct), v->checked, v->continued);
	printf("  cache spaces found whole %" PRIu64 ", empty %" PRIu64 "\n", v->opened_clean,
	       v->opened_empty);
	printf("  %-16s %12s %26s\n", "operation", "recorded", "states: last or in doubt");
	for (unsigned kind = 0; kind < DISK_KINDS; kind++)
		printf("  %-16s %12" PRIu64 " %26" PRIu64 "\n", disk_kind_names[kind],
		       x->ops_of_kind[kind], x->of_kind[kind]);
	const uint64_t *e = workload_sums.events;
	printf("  calls: %" PRIu64 " puts, %" PRIu64 " deletes, %" PRIu64 " erasures, %" PRIu64
	       " drops, %" PRIu64 " opens, %" PRIu64 " closes; %" PRIu64 " records to cold, %" PRIu64
	       " compactions\n",
	       e[EVENT_PUT], e[EVENT_DELETE], e[EVENT_ERASE], e[EVENT_DROP], e[EVENT_OPEN],
	       e[EVENT_CLOSE], workload_sums.demoted, workload_sums.compactions);
	printf("  verdict: %s\n", x->failed ? "WRONG" : "nothing lost, stale, torn or resurrected");
}

static int usage(void)
{
	fprintf(stderr, "usage: crash [--seed N] [--states N] [--seconds S] [--every N] [--durable] [--only] "
			"[--plant NAME] [--hashes FILE] [--verbose]\n  plants: %s\n", plant_names());
	return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{"seed", required_argument, NULL, 's'},    {"states", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 't'}, {"durable", no_argument, NULL, 'd'},
		{"only", no_argument, NULL, 'o'},          {"plant", required_argument, NULL, 'p'},
		{"verbose", no_argument, NULL, 'v'},       {"hashes", required_argument, NULL, 'h'},
		{"every", required_argument, NULL, 'e'},   {NULL, 0, NULL, 0},
	};
	int option;
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 's': o->seed = strtoull(optarg, NULL, 0); break;
		case 'n': o->states = strtoull(optarg, NULL, 0); break;
		case 't': o->seconds = strtod(optarg, NULL); break;
		case 'd': o->durable = true; break;
		case 'o': o->once = true; break;
		case 'p': o->plant = optarg; break;
		case 'e': o->every = strtoull(optarg, NULL, 0); break;
		case 'h': o->hashes = optarg; break;
		case 'v': o->verbose = true; break;
		default: return usage();
		}
	}
	return optind < argc || !o->every || (o->plant && !plant_known(o->plant)) ? usage() : 0;
}

int main(int argc, char **argv)
{
	struct explorer x = {.options = {.seed = 1, .every = 1}};
	int status = parse(argc, argv, &x.options);
	if (status)
		return status;
	if (!x.options.states && x.options.seconds <= 0)
		x.options.states = 1000;
	setvbuf(stdout, NULL, _IOLBF, 0);
	x.distinct = seen_open();
	x.shown = seen_open();
	x.chance = chance_make(x.options.seed);
	x.began = clock_real();
	struct disk_image empty = {0};
	struct model *model = malloc(sizeof(*model));
	model_init(model);
	for (uint64_t seed = x.options.seed; !enough(&x); seed++) {
		explore(&x, &empty, model, seed, seed % 4 == 3, 0);
		if (x.options.once)
			break;
	}
	print_summary(&x);
	if (x.options.hashes && !seen_save(x.distinct, x.options.hashes)) {
		fprintf(stderr, "crash: %s cannot be written\n", x.options.hashes);
		x.failed = true;
	}
	free(model);
	seen_close(x.distinct);
	seen_close(x.shown);
	return x.failed ? 1 : 0;
}
