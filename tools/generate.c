/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/generate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "tools/mix.h"
#include "tools/sizes.h"

/*
 * Published statistics of a short-video platform's behaviour log of 27 thousand users: 322,278,385
 * events on 32,038,693 videos. Here: how many videos had exactly so many exposures.
 */
#define LOG_EVENTS 322278385.0
static const struct {
	double exposures, videos;
} popularity[] = {
	{1, 17306814}, {2, 4341464}, {3, 2153872}, {4, 1371751}, {5, 941513}, {7, 533632},
	{10, 287324},  {15, 142480}, {20, 88412},  {30, 43773},  {50, 18109}, {100, 5273},
	{200, 1440},   {500, 247},   {1000, 34},   {2000, 5},
};
#define KNOTS (sizeof(popularity) / sizeof(popularity[0]))
#define EXPOSURES_MAX 60000.0

/* The same log's gaps between a user's events that are not zero, log-uniform within a bin. Zero
 * gaps, 83 % of all, are events of one visit: 5.9 events a visit on average. */
static const struct {
	double low_ms, high_ms, count;
} gaps[] = {
	{1000, 10000, 5.18},     {10000, 60000, 17.75},    {60000, 300000, 21.06},
	{300000, 1800000, 7.44}, {1800000, 7200000, 2.19}, {7200000, 86400000, 1.88},
};
#define GAPS (sizeof(gaps) / sizeof(gaps[0]))
#define EVENTS_MORE 0.83 /* chance that a visit has one more event */

/* Sequence lengths of that log are about log-normal. */
#define LENGTH_MEDIAN 8600.0
#define LENGTH_SIGMA 0.82
#define LENGTH_MIN 100.0
#define LENGTH_MAX 228000.0

/* Ours. Serving keeps the newest 128th of a user's log. */
#define LENGTH_KEPT 128
#define EVENT_BYTES 16u
#define EMBEDDING_BYTES 256u /* 64 float32 */
#define KEY_BYTES 16u
#define CANDIDATES 24u
#define SHOWN_MAX CANDIDATES
#define TASTE 0.5          /* share of the candidates from a category that the user likes */
#define RETRAIN 0.05       /* share of the shown items whose embedding the trainer rewrites */
#define VISITS_A_BIRTH 20u /* visits between two new items */

enum space { SPACE_USERS = 0, SPACE_EMBEDDINGS, SPACE_ITEMS };
static const char *const spaces[] = {"users", "embeddings", "items"};

enum phase { PHASE_LOAD = 0, PHASE_BEFORE, PHASE_SCAN, PHASE_AFTER, PHASE_END };
static const char *const phases[] = {"load: every user and item", "serve",
				     "serve while a scan reads all", "serve after the scan"};

struct visitor {
	double due_ms;
	uint32_t user;
};

/* A class of equally popular videos: ranks [rank, rank of the next) of LOG_VIDEOS, most popular
 * first. */
struct class
{
	double events_upto; /* share of the events, this class and those before it */
	double rank, videos;
};
#define CLASSES_MAX 512u

struct generate {
	struct replay_source source; /* must stay the first field */
	struct generate_options options;
	struct size_model *metadata; /* sizes */
	uint64_t random;
	uint32_t births; /* items born: how far popularity has drifted */
	uint32_t n_classes;
	struct class classes[CLASSES_MAX];
	struct visitor *heap; /* by due_ms; one for every user */
	uint32_t *lengths;    /* events of a user's log */
	enum phase phase;
	uint32_t at, upto;     /* visits of this phase: done, of so many; or keys loaded */
	uint32_t scanned;      /* items */
	uint32_t groups;       /* of gets that go out together: begun so far */
	uint64_t given, total; /* requests; total is an estimate */
	/* the requests of the visit under way */
	struct replay_op ops[4 * CANDIDATES + 64];
	uint32_t op_at, n_ops;
};

static double uniform(struct generate *g)
{
	return mix_unit(mix_next(&g->random));
}

static double normal(struct generate *g)
{
	double radius = sqrt(-2 * log(1 - uniform(g)));
	return radius * cos(6.283185307179586 * uniform(g));
}

/* ---- Popularity ---- */

/* Videos with about c exposures, by log-log interpolation between the published points. */
static double videos_with(double c)
{
	size_t i = 1;
	while (i < KNOTS - 1 && popularity[i].exposures < c)
		i++;
	double x0 = log(popularity[i - 1].exposures), x1 = log(popularity[i].exposures);
	double y0 = log(popularity[i - 1].videos), y1 = log(popularity[i].videos);
	return exp(y0 + (y1 - y0) * (log(c) - x0) / (x1 - x0));
}

/* Bins of exposures [low, high), 5 % wide; the tail beyond the published points falls as a power
 * law whose exponent leaves it the events that are left. Returns the events in all bins. */
static double fill_classes(struct generate *g, double exponent, double *events)
{
	double sum = 0;
	uint32_t n = 0;
	for (double low = 1, high; low < EXPOSURES_MAX && n < CLASSES_MAX; low = high, n++) {
		high = floor(low * 1.05) > low ? floor(low * 1.05) : low + 1;
		double middle = high - low > 1 ? sqrt(low * high) : low;
		double count =
			middle <= 2000 ? videos_with(middle) : 5 * pow(middle / 2000, exponent);
		g->classes[n].videos = count * (high - low);
		events[n] = g->classes[n].videos * middle;
		sum += events[n];
	}
	g->n_classes = n;
	return sum;
}

static void prepare_popularity(struct generate *g)
{
	double events[CLASSES_MAX], steep = -4, flat = -1, sum = 0;
	for (int i = 0; i < 50; i++) {
		double exponent = (steep + flat) / 2;
		sum = fill_classes(g, exponent, events);
		if (sum > LOG_EVENTS)
			flat = exponent;
		else
			steep = exponent;
	}
	/* The most popular class first. */
	for (uint32_t i = 0, j = g->n_classes - 1; i < j; i++, j--) {
		struct class swapped = g->classes[i];
		double swapped_events = events[i];
		g->classes[i] = g->classes[j];
		events[i] = events[j];
		g->classes[j] = swapped;
		events[j] = swapped_events;
	}
	double upto = 0, rank = 0;
	for (uint32_t i = 0; i < g->n_classes; i++) {
		upto += events[i];
		g->classes[i].events_upto = upto / sum;
		g->classes[i].rank = rank;
		rank += g->classes[i].videos;
	}
}

/* A rank in popularity, from 0 (most popular) to items - 1. */
static uint32_t draw_rank(struct generate *g)
{
	double at = uniform(g);
	uint32_t first = 0, last = g->n_classes - 1;
	while (first < last) {
		uint32_t middle = (first + last) / 2;
		if (at < g->classes[middle].events_upto)
			last = middle;
		else
			first = middle + 1;
	}
	double rank = g->classes[first].rank + uniform(g) * g->classes[first].videos;
	double total = g->classes[g->n_classes - 1].rank + g->classes[g->n_classes - 1].videos;
	uint32_t scaled = (uint32_t)(rank / total * g->options.items);
	return scaled < g->options.items ? scaled : g->options.items - 1;
}

/* The item that holds a rank now: with each birth every item falls by one rank, and the least
 * popular item's number goes to the newborn, which is the most popular. */
static uint32_t item_of_rank(const struct generate *g, uint32_t rank)
{
	uint32_t items = g->options.items;
	return (uint32_t)((rank + (uint64_t)items - g->births % items) % items);
}

static uint32_t draw_item(struct generate *g, uint32_t user)
{
	uint32_t item = item_of_rank(g, draw_rank(g));
	if (uniform(g) >= TASTE)
		return item;
	uint64_t liked = mix64(user * 3 + mix_next(&g->random) % 3) % GENERATE_CATEGORIES;
	return item - item % GENERATE_CATEGORIES + (uint32_t)liked;
}

/* ---- Users ---- */

static double draw_gap(struct generate *g, bool in_progress)
{
	/* A gap that is in progress at the start is one of the bins weighed by their length. */
	double weights[GAPS], total = 0;
	for (size_t i = 0; i < GAPS; i++) {
		weights[i] = gaps[i].count;
		if (in_progress)
			weights[i] *= (gaps[i].high_ms - gaps[i].low_ms) /
				      log(gaps[i].high_ms / gaps[i].low_ms);
		total += weights[i];
	}
	double at = uniform(g) * total;
	size_t bin = 0;
	while (bin < GAPS - 1 && at >= weights[bin])
		at -= weights[bin++];
	double gap = gaps[bin].low_ms * pow(gaps[bin].high_ms / gaps[bin].low_ms, uniform(g));
	return in_progress ? gap * uniform(g) : gap;
}

/* Users with long logs come more often. */
static double gap_of(struct generate *g, uint32_t user, bool in_progress)
{
	return draw_gap(g, in_progress) * LENGTH_MEDIAN / g->lengths[user];
}

static void heap_sink(struct generate *g, uint32_t at)
{
	struct visitor sinking = g->heap[at];
	for (;;) {
		uint64_t child = (uint64_t)at * 2 + 1;
		if (child >= g->options.users)
			break;
		if (child + 1 < g->options.users &&
		    g->heap[child + 1].due_ms < g->heap[child].due_ms)
			child++;
		if (g->heap[child].due_ms >= sinking.due_ms)
			break;
		g->heap[at] = g->heap[child];
		at = (uint32_t)child;
	}
	g->heap[at] = sinking;
}

static void prepare_users(struct generate *g)
{
	for (uint32_t user = 0; user < g->options.users; user++) {
		double length = LENGTH_MEDIAN * exp(LENGTH_SIGMA * normal(g));
		g->lengths[user] = (uint32_t)fmin(fmax(length, LENGTH_MIN), LENGTH_MAX);
		g->heap[user] = (struct visitor){gap_of(g, user, true), user};
	}
	for (uint32_t i = g->options.users / 2; i-- > 0;)
		heap_sink(g, i);
}

/* ---- Requests ---- */

static struct replay_op make(const struct generate *g, enum replay_verb verb, enum space space,
			     uint32_t id)
{
	struct replay_op op = {.id = id,
			       .key_len = KEY_BYTES,
			       .verb = (uint8_t)verb,
			       .space = (uint8_t)space,
			       .phase = (uint8_t)g->phase};
	if (space == SPACE_USERS) {
		op.value_len = (g->lengths[id] / LENGTH_KEPT + 1) * EVENT_BYTES;
		op.kind = PAYLOAD_EVENTS;
	} else if (space == SPACE_EMBEDDINGS) {
		op.value_len = EMBEDDING_BYTES;
		op.kind = PAYLOAD_FLOATS;
	} else {
		op.value_len = size_model_draw(g->metadata, mix64(id), 0);
		op.kind = PAYLOAD_TEXT;
	}
	return op;
}

static void ask(struct generate *g, enum replay_verb verb, enum space space, uint32_t id)
{
	g->ops[g->n_ops++] = make(g, verb, space, id);
}

/* A get that goes out with the others of the group that was begun last. */
static void ask_together(struct generate *g, enum space space, uint32_t id)
{
	ask(g, REPLAY_GET, space, id);
	g->ops[g->n_ops - 1].group = g->groups;
}

/* One visit of the user whose turn it is, as up to 4 * CANDIDATES requests. */
static void visit(struct generate *g)
{
	uint32_t user = g->heap[0].user, shown = 1, items[CANDIDATES];
	while (shown < SHOWN_MAX && uniform(g) < EVENTS_MORE)
		shown++;
	if (g->at % VISITS_A_BIRTH == 0) {
		g->births++;
		ask(g, REPLAY_SET, SPACE_EMBEDDINGS, item_of_rank(g, 0));
		ask(g, REPLAY_SET, SPACE_ITEMS, item_of_rank(g, 0));
	}
	ask(g, REPLAY_GET, SPACE_USERS, user);
	g->groups++;
	for (uint32_t i = 0; i < CANDIDATES; i++) {
		items[i] = draw_item(g, user);
		ask_together(g, SPACE_EMBEDDINGS, items[i]);
	}
	g->groups++;
	for (uint32_t i = 0; i < shown; i++)
		ask_together(g, SPACE_ITEMS, items[i]);
	for (uint32_t i = 0; i < shown; i++)
		if (uniform(g) < RETRAIN)
			ask(g, REPLAY_SET, SPACE_EMBEDDINGS, items[i]);
	ask(g, REPLAY_SET, SPACE_USERS, user);
	g->heap[0].due_ms += gap_of(g, user, false);
	heap_sink(g, 0);
}

/* The scan's share between two visits. */
static void scan(struct generate *g)
{
	uint32_t target = (uint32_t)((uint64_t)g->options.items * (g->at + 1) / g->upto);
	g->groups++;
	for (int i = 0; g->scanned < target && i < 60; i++)
		ask_together(g, SPACE_EMBEDDINGS, g->scanned++);
}

/* Every user, then every item's embedding and metadata. */
static void load(struct generate *g)
{
	uint32_t users = g->options.users;
	if (g->at < users) {
		ask(g, REPLAY_SET, SPACE_USERS, g->at);
	} else {
		ask(g, REPLAY_SET, SPACE_EMBEDDINGS, g->at - users);
		ask(g, REPLAY_SET, SPACE_ITEMS, g->at - users);
	}
}

static void enter(struct generate *g, enum phase phase)
{
	g->phase = phase;
	g->at = 0;
	if (phase == PHASE_LOAD)
		g->upto = g->options.users + g->options.items;
	else if (phase < PHASE_END)
		g->upto = g->options.visits[phase - PHASE_BEFORE];
}

static int generate_next(struct replay_source *source, struct replay_op *op,
			 struct thermo_error *error)
{
	struct generate *g = (struct generate *)source;
	(void)error;
	while (g->op_at == g->n_ops) {
		g->op_at = g->n_ops = 0;
		while (g->phase < PHASE_END && g->at == g->upto)
			enter(g, (enum phase)(g->phase + 1));
		if (g->phase == PHASE_END)
			return 0;
		if (g->phase == PHASE_LOAD) {
			load(g);
		} else {
			visit(g);
			if (g->phase == PHASE_SCAN)
				scan(g);
		}
		g->at++;
	}
	*op = g->ops[g->op_at++];
	g->given++;
	return 1;
}

static double generate_done(struct replay_source *source)
{
	struct generate *g = (struct generate *)source;
	return (double)g->given / (double)g->total;
}

static uint64_t estimate(const struct generate_options *o)
{
	uint64_t visits = (uint64_t)o->visits[0] + o->visits[1] + o->visits[2];
	uint64_t scanned = (uint64_t)o->visits[1] * 60;
	scanned = scanned < o->items ? scanned : o->items;
	/* A visit: the user twice, the candidates, 5.9 items, and what the trainer and births add.
	 */
	return o->users + 2 * (uint64_t)o->items + scanned + visits * (2 + CANDIDATES + 6) +
	       visits * 2 / 5 + 1;
}

int generate_open(const struct generate_options *options, struct generate **out)
{
	struct thermo_error error;
	struct generate *g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->options = *options;
	g->options.items -= options->items % GENERATE_CATEGORIES;
	g->source = (struct replay_source){
		.next = generate_next,
		.done = generate_done,
		.spaces = spaces,
		.phases = phases,
		.n_spaces = 3,
		.n_phases = PHASE_END,
	};
	g->random = options->seed;
	g->heap = calloc(options->users, sizeof(*g->heap));
	g->lengths = calloc(options->users, sizeof(*g->lengths));
	if (!g->heap || !g->lengths || size_model_open("published", &g->metadata, &error)) {
		generate_close(&g);
		return -ENOMEM;
	}
	prepare_popularity(g);
	prepare_users(g);
	g->total = estimate(&g->options);
	enter(g, PHASE_LOAD);
	*out = g;
	return 0;
}

void generate_close(struct generate **generate)
{
	if (!*generate)
		return;
	size_model_close(&(*generate)->metadata);
	free((*generate)->heap);
	free((*generate)->lengths);
	free(*generate);
	*generate = NULL;
}

struct replay_source *generate_source(struct generate *generate)
{
	return &generate->source;
}
