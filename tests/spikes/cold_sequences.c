// SPDX-License-Identifier: Apache-2.0
/*
 * Spike: can cold keep behaviour sequences in time windows that are written once, merged once,
 * dropped whole?
 *
 * Plays compaction policies over the short-video log (lengths, batches and gaps as published) and
 * prints write amplification (at most 3: log + window + one merge), the device reads that the
 * newest 200 events of a returning user cost, the runs whose filters are asked for nothing, and
 * DRAM for filters and fences.
 *
 * A user's events gather in a head in memory, which is sealed every 256 events into a block.  The
 * block behind the head stays, older ones go to cold.  A user who pauses is sealed and demoted
 * whole; on return a new head starts, so that nothing demoted is ever rewritten but by the merge.
 * A filter has one entry for each user of a run.  No data, no device: a run is two counts for each
 * user.
 *
 *     cc -O2 -std=c17 cold_sequences.c -lm && ./a.out [users, default 27285]
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "spike.h"

static const double block_bytes = 4096;
static const double fence_bytes = 4;

enum {
	BLOCK_EVENTS = 256,
	NEWEST = 200,
	DAYS = 30,
	HOUR_MS = 3600000,
	READS_LIMIT = 64,
	SEQ_RUNS_LIMIT = 1024,
	FLUSHES_A_DAY = 16,
	GAP_BINS = 6,
	GAP_LONG = 3 /* the bins from here on are pauses, below is use */
};

static const double event_bytes = 6; /* columnar, delta-encoded, as measured by the codec spikes */
static const double block_header_bytes = 24;
static const double gap_zero = 0.8277; /* events that share the time of the one before */
static const struct {
	double from_ms, to_ms, count;
} gaps[GAP_BINS] = {
	{1e3, 1e4, 5.18e6},   {1e4, 6e4, 17.75e6},    {6e4, 3e5, 21.06e6},
	{3e5, 1.8e6, 7.44e6}, {1.8e6, 7.2e6, 2.19e6}, {7.2e6, 8.64e7, 1.88e6},
};

struct seq_policy {
	const char *name;
	int window_hours; /* 0: no windows, size-tiered with fan_in */
	bool merge;       /* a window that closes becomes one run */
	uint32_t fan_in;
	int idle_hours; /* a user who pauses this long is sealed and demoted */
};

static const struct seq_policy seq_policies[] = {
	{"day windows, one merge", 24, true, 0, 6},
	{"day windows, one merge, demoted after 1 h", 24, true, 0, 1},
	{"day windows, one merge, demoted after 24 h", 24, true, 0, 24},
	{"3-day windows, one merge", 72, true, 0, 6},
	{"7-day windows, one merge", 168, true, 0, 6},
	{"day windows, no merge", 24, false, 0, 6},
	{"size-tiered T=8", 0, false, 8, 6},
};
enum { SEQ_POLICIES = sizeof seq_policies / sizeof seq_policies[0] };

struct user {
	uint64_t rng;
	double next_ms, last_ms; /* of the next and of the newest event */
	/* Of the published gaps, so that the user's log spans all days. */
	double use_scale, pause_scale;
	uint32_t left;   /* events still to come */
	uint32_t head;   /* events in memory, in the head */
	uint32_t sealed; /* and in the one full block kept behind it */
	uint32_t cold;   /* events demoted */
};

struct seq_run {
	uint32_t *events; /* by user; owned */
	uint16_t *blocks;
	uint32_t level;
};

struct log {
	const struct seq_policy *policy;
	uint32_t users;
	struct user *user;
	struct seq_run run[SEQ_RUNS_LIMIT]; /* oldest first; [runs] is the one being gathered, still
					       in memory */
	uint32_t runs, closed;              /* closed: runs of windows that are over */
	double gathered, flush_bytes;
	double events, flushed, merged; /* events; bytes written */
	struct mean reads, misses, asked;
	uint64_t reads_of[READS_LIMIT];
};

/* Mean of a log-uniform gap over the bins [from, to), weighted, per event. */
static double gap_mean(int from, int to)
{
	double sum = 0, all = 0;
	for (int b = 0; b < GAP_BINS; b++) {
		all += gaps[b].count;
		if (b >= from && b < to)
			sum += gaps[b].count * (gaps[b].to_ms - gaps[b].from_ms) /
			       log(gaps[b].to_ms / gaps[b].from_ms);
	}
	return (1 - gap_zero) * sum / all;
}

static void user_open(struct user *u, uint64_t seed)
{
	*u = (struct user){.rng = seed * UINT64_C(0xd1342543de82ef95) + 1};
	double normal =
		sqrt(-2 * log(1 - rng_unit(&u->rng))) * cos(6.283185307179586 * rng_unit(&u->rng));
	u->left = (uint32_t)fmin(fmax(8600 * exp(0.82 * normal), 100), 228000);
	u->next_ms = rng_unit(&u->rng) * 24 * HOUR_MS;
	double use = gap_mean(0, GAP_LONG), pause = gap_mean(GAP_LONG, GAP_BINS);
	double target = (double)DAYS * 24 * HOUR_MS / u->left;
	bool dense = target < 2 * use; /* so busy that the gaps in use must shrink, too */
	u->use_scale = dense ? target / (2 * use) : 1;
	u->pause_scale = (target - use * u->use_scale) / pause;
}

static double gap_draw(struct user *u)
{
	double x = rng_unit(&u->rng), all = 0;
	if (x < gap_zero)
		return 0;
	for (int i = 0; i < GAP_BINS; i++)
		all += gaps[i].count;
	x = (x - gap_zero) / (1 - gap_zero) * all;
	int b = 0;
	while (b < GAP_BINS - 1 && x >= gaps[b].count)
		x -= gaps[b++].count;
	double gap =
		gaps[b].from_ms * exp(rng_unit(&u->rng) * log(gaps[b].to_ms / gaps[b].from_ms));
	return gap * (b < GAP_LONG ? u->use_scale : u->pause_scale);
}

static double seq_bytes(const struct seq_run *r, uint32_t users)
{
	double sum = 0;
	for (uint32_t i = 0; i < users; i++)
		sum += r->events[i] * event_bytes + r->blocks[i] * block_header_bytes;
	return sum;
}

static void run_gather(struct log *l)
{
	if (l->runs >= SEQ_RUNS_LIMIT) {
		fprintf(stderr, "more than %d runs\n", SEQ_RUNS_LIMIT);
		exit(1);
	}
	l->run[l->runs] = (struct seq_run){need(calloc(l->users, sizeof(uint32_t))),
					   need(calloc(l->users, sizeof(uint16_t))), 0};
	l->gathered = 0;
}

/* Runs [from, to) become one; a user's pieces become whole blocks. What was only gathered is not
 * written twice. */
static void seq_merge(struct log *l, uint32_t from, uint32_t to, uint32_t level)
{
	struct seq_run *out = &l->run[from];
	for (uint32_t u = 0; u < l->users; u++) {
		for (uint32_t i = from + 1; i < to; i++)
			out->events[u] += l->run[i].events[u];
		out->blocks[u] = (uint16_t)((out->events[u] + BLOCK_EVENTS - 1) / BLOCK_EVENTS);
	}
	for (uint32_t i = from + 1; i < to; i++) {
		free(l->run[i].events);
		free(l->run[i].blocks);
	}
	out->level = level;
	l->merged += seq_bytes(out, l->users);
}

/* The gathered run is written and becomes visible; without windows, as many runs of one level merge
 * as T. */
static void seq_flush(struct log *l)
{
	l->flushed += seq_bytes(&l->run[l->runs], l->users);
	l->runs++;
	for (uint32_t n = 0, t = l->policy->fan_in; t && l->runs >= t;) {
		uint32_t level = l->run[l->runs - 1].level;
		for (n = 1; n < t && l->run[l->runs - 1 - n].level == level;)
			n++;
		if (n < t)
			break;
		seq_merge(l, l->runs - t, l->runs, level + 1);
		l->runs -= t - 1;
	}
	run_gather(l);
}

/* The window's runs and what was gathered since its last flush become one run. */
static void window_close(struct log *l)
{
	if (!l->policy->merge || l->closed == l->runs) {
		seq_flush(l);
	} else {
		seq_merge(l, l->closed, l->runs + 1, 1);
		l->runs = l->closed + 1;
		run_gather(l);
	}
	l->closed = l->runs;
}

static void demote(struct log *l, uint32_t id, uint32_t events)
{
	struct seq_run *r = &l->run[l->runs];
	r->events[id] += events;
	r->blocks[id]++;
	l->user[id].cold += events;
	l->gathered += events * event_bytes + block_header_bytes;
	if (l->gathered >= l->flush_bytes)
		seq_flush(l);
}

/* A user comes back whose events are all cold: the newest 200, from the newest run to the oldest.
 * One read takes what a run has of them, for it lies together; what is still being gathered is in
 * memory. */
static void read_newest(struct log *l, uint32_t id)
{
	uint32_t want = l->user[id].cold < NEWEST ? l->user[id].cold : NEWEST, reads = 0,
		 misses = 0;
	for (uint32_t i = l->runs + 1, got = 0; i-- > 0 && got < want;) {
		uint32_t has = l->run[i].events[id];
		got += has;
		if (i < l->runs)
			*(has ? &reads : &misses) += 1;
	}
	mean_add(&l->reads, reads);
	mean_add(&l->misses, misses);
	mean_add(&l->asked, l->runs);
	l->reads_of[reads < READS_LIMIT ? reads : READS_LIMIT - 1]++;
}

static void user_append(struct log *l, uint32_t id)
{
	struct user *u = &l->user[id];
	if (u->head + u->sealed == 0 && u->cold > 0)
		read_newest(l, id);
	if (++u->head == BLOCK_EVENTS) {
		if (u->sealed)
			demote(l, id, u->sealed);
		u->sealed = u->head;
		u->head = 0;
	}
	u->last_ms = u->next_ms;
	u->next_ms += gap_draw(u);
	u->left--;
	l->events++;
}

static void user_play(struct log *l, uint32_t id, double until_ms)
{
	struct user *u = &l->user[id];
	while (u->left > 0 && u->next_ms < until_ms)
		user_append(l, id);
	if (until_ms - u->last_ms < (double)l->policy->idle_hours * HOUR_MS)
		return;
	if (u->sealed)
		demote(l, id, u->sealed);
	if (u->head)
		demote(l, id, u->head);
	u->sealed = u->head = 0;
}

static uint32_t reads_quantile(const struct log *l, double q)
{
	double below = 0;
	for (uint32_t i = 0; i < READS_LIMIT; i++)
		if ((below += (double)l->reads_of[i]) >= q * l->reads.n)
			return i;
	return READS_LIMIT;
}

static void print_seq(const struct log *l, double took)
{
	double held = 0, filtered = 0, pieces = 0, cold = 0, closed = 0;
	for (uint32_t i = 0; i < l->runs; i++)
		for (uint32_t u = 0; u < l->users; u++) {
			filtered += l->run[i].events[u] > 0;
			pieces += l->run[i].blocks[u];
			cold += l->run[i].events[u];
			closed += i < l->closed ? l->run[i].events[u] : 0;
		}
	/* What is still in memory, or in a window still open, has yet to be flushed, or merged. */
	double flush = l->flushed / (cold * event_bytes);
	double merge = l->merged / ((l->policy->window_hours ? closed : cold) * event_bytes);
	held = cold * event_bytes + pieces * block_header_bytes;
	printf("\n%s  [%.0f M events, %.0f s]\n", l->policy->name, l->events / 1e6, took);
	printf("  writes: log %.2f + flush %.2f + merge %.2f = %.2f   space %.3f   events a block "
	       "%.0f\n",
	       1.0, flush, merge, 1 + flush + merge, held / (cold * event_bytes), cold / pieces);
	printf("  newest %d of a user who returns: reads %.2f mean %u median %u p99 %.0f max; "
	       "filters that say no %.1f mean %.0f"
	       " max; runs %.1f mean %.0f max\n",
	       NEWEST, mean_of(&l->reads), reads_quantile(l, 0.5), reads_quantile(l, 0.99),
	       l->reads.max, mean_of(&l->misses), l->misses.max, mean_of(&l->asked), l->asked.max);
	printf("  whole history: %.1f reads a user   FP of the newest: split block 16 %.4f, fuse 8 "
	       "%.4f, fuse 12 %.5f, fuse 16"
	       " %.6f\n",
	       filtered / l->users, mean_of(&l->misses) * 1.31e-3, mean_of(&l->misses) * 3.91e-3,
	       mean_of(&l->misses) * 2.44e-4, mean_of(&l->misses) * 1.53e-5);
	printf("  DRAM a block: filter (fuse 16, one entry a user and run) %.2f B, fences %.2f B; "
	       "together %.4f B an event\n",
	       filtered * 2.3 / pieces, held / block_bytes * fence_bytes / pieces,
	       (filtered * 2.3 + held / block_bytes * fence_bytes) / cold);
	fflush(stdout);
}

static void seq_play(const struct seq_policy *p, uint32_t users)
{
	double began = now_s(), events = 0;
	struct log *l = need(calloc(1, sizeof *l));
	l->policy = p;
	l->users = users;
	l->user = need(calloc(users, sizeof *l->user));
	for (uint32_t u = 0; u < users; u++) {
		user_open(&l->user[u], u);
		events += l->user[u].left;
	}
	l->flush_bytes = events * event_bytes / (DAYS * FLUSHES_A_DAY);
	run_gather(l);
	for (int hour = 1; hour <= DAYS * 24; hour++) {
		for (uint32_t u = 0; u < users; u++)
			user_play(l, u, (double)hour * HOUR_MS);
		if (p->window_hours && hour % p->window_hours == 0)
			window_close(l);
	}
	print_seq(l, now_s() - began);
	for (uint32_t i = 0; i <= l->runs; i++) {
		free(l->run[i].events);
		free(l->run[i].blocks);
	}
	free(l->user);
	free(l);
}

int main(int argc, char **argv)
{
	long users = argc > 1 ? strtol(argv[1], NULL, 10) : 27285;
	if (users < 100 || users > 200000) {
		fprintf(stderr, "usage: %s [users, 100 to 200000]\n", argv[0]);
		return 2;
	}
	printf("Sequences: %ld users, %d days, blocks of %d events, %.0f bytes an event, %d "
	       "flushes a day\n",
	       users, DAYS, BLOCK_EVENTS, event_bytes, FLUSHES_A_DAY);
	for (int i = 0; i < SEQ_POLICIES; i++)
		seq_play(&seq_policies[i], (uint32_t)users);
	return 0;
}
