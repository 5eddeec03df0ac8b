/* SPDX-License-Identifier: Apache-2.0 */
/* The model test: see model.h. This file has the options, what changes the world, and the threads. */
#include "tests/model/model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define WARM (8 * MIB)

/* Every thread that waits for the device needs buffers. */
static uint64_t dram_bytes(const struct world *w)
{
	return (28 + 10 * w->actors) * MIB;
}

static uint64_t injected(void *context)
{
	struct world *w = context;
	return atomic_load(&w->clock_ms);
}

static void die(const char *what, int rc, const struct thermo_error *error)
{
	fprintf(stderr, "model: %s: %d (%s): %s\n", what, rc, thermo_strerror(rc),
		error ? error->text : "");
	abort();
}

static void spaces_open(struct world *w)
{
	static const char *const names[SPACES] = {"left", "right"};
	struct thermo_error error;
	for (unsigned s = 0; s < SPACES; s++) {
		int rc = thermo_space_open(w->cache, names[s], NULL, &w->space[s], &error);
		if (rc)
			die("space_open", rc, &error);
	}
}

static void cache_open(struct world *w)
{
	struct thermo_options o;
	struct thermo_error error;
	thermo_options_init(&o);
	o.dram_bytes = dram_bytes(w);
	o.filter_bytes = (2 + 6 * w->actors) * MIB;
	o.warm_bytes = w->warm ? WARM : 0;
	o.warm = "dram";
	o.cold_dir = w->cold;
	o.clock_ms = injected;
	o.clock_context = w;
	o.put_wait_ms = 2000; /* a device may be slow; BUSY is to be rare */
	o.huge_pages = 0;
	int rc = thermo_open(&o, &w->cache, &error);
	if (rc)
		die("open", rc, &error);
	spaces_open(w);
}

static void forget(struct world *w, unsigned space)
{
	for (unsigned i = 0; i < w->actors; i++)
		for (uint32_t k = 0; k < KEYS; k++)
			w->actor[i]->entry[space][k].present = false;
}

/* ---- What concerns everybody: under the write side of turn ---- */

static void note_all(struct world *w, const char *what, int rc)
{
	for (unsigned i = 0; i < w->actors; i++) {
		const char *before = w->actor[i]->what;
		w->actor[i]->what = what;
		note_trace(w->actor[i], 0, KEYS, rc);
		w->actor[i]->what = before;
	}
}

static void reopen(struct world *w)
{
	struct thermo_error error;
	for (unsigned i = 0; i < w->actors; i++)
		refs_release(w->actor[i]);
	int rc = thermo_close(&w->cache, 0, &error);
	if (rc || w->cache)
		die("close", rc, &error);
	cache_open(w);
	w->reopened++;
	note_all(w, "reopen", 0);
	if (w->cold)
		return;
	for (unsigned s = 0; s < SPACES; s++)
		forget(w, s);
	for (unsigned i = 0; i < w->actors; i++) /* a new cache counts anew */
		for (unsigned s = 0; s < SPACES; s++)
			for (uint32_t k = 0; k < KEYS; k++)
				w->actor[i]->entry[s][k].version_last = 0;
}

static void drop(struct world *w, unsigned space)
{
	int rc = thermo_space_drop(&w->space[space]);
	if (rc || w->space[space])
		die("drop", rc, NULL);
	forget(w, space);
	spaces_open(w);
	w->dropped++;
	note_all(w, "drop", 0);
}

/* ---- Resizing: while everybody works ---- */

static void resize(struct actor *a)
{
	struct world *w = a->world;
	struct thermo_error error;
	bool hot = !w->warm || chance_below(&a->chance, 2);
	uint64_t bytes = hot ? dram_bytes(w) - 4 * MIB + chance_below(&a->chance, 16) * MIB
			     : WARM + chance_below(&a->chance, 12) * MIB;
	int64_t timeout = (int64_t)chance_below(&a->chance, 2) * INT64_C(300000000);
	a->what = hot ? "resize hot" : "resize warm";
	int rc = thermo_resize(w->cache, hot ? THERMO_HOT : THERMO_WARM, bytes, timeout, &error);
	note_trace(a, 0, KEYS, rc);
	if (rc != THERMO_OK && rc != THERMO_PENDING && !(hot && rc == -EINVAL))
		die("resize", rc, &error);
	w->resized++;
}

static void drain(struct actor *a)
{
	struct world *w = a->world;
	struct thermo_error error;
	bool hot = !w->warm || chance_below(&a->chance, 2);
	a->what = hot ? "drain hot" : "drain warm";
	int rc = thermo_drain(w->cache, hot ? THERMO_HOT : THERMO_WARM, INT64_C(300000000), &error);
	note_trace(a, 0, KEYS, rc);
	if (rc != THERMO_OK && rc != THERMO_PENDING)
		die("drain", rc, &error);
	if (chance_below(&a->chance, 2)) { /* else later, by resize */
		rc = thermo_resize(w->cache, hot ? THERMO_HOT : THERMO_WARM, hot ? dram_bytes(w) : WARM,
				   INT64_C(300000000), &error);
		if (rc != THERMO_OK && rc != THERMO_PENDING)
			die("resize after drain", rc, &error);
	}
	w->drained++;
}

void world_change(struct actor *a)
{
	struct world *w = a->world;
	uint64_t dice = chance_below(&a->chance, 100);
	a->step++;
	if (dice < 50) {
		pthread_rwlock_rdlock(&w->turn);
		resize(a);
		pthread_rwlock_unlock(&w->turn);
		return;
	}
	if (dice < 80) {
		pthread_rwlock_rdlock(&w->turn);
		drain(a);
		pthread_rwlock_unlock(&w->turn);
		return;
	}
	pthread_rwlock_wrlock(&w->turn);
	if (dice < 92) {
		a->what = "reopen";
		reopen(w);
	} else {
		a->what = "drop";
		drop(w, (unsigned)chance_below(&a->chance, SPACES));
	}
	pthread_rwlock_unlock(&w->turn);
}

/* ---- Threads ---- */

static void *act(void *argument)
{
	struct actor *a = argument;
	struct world *w = a->world;
	uint64_t until = 0;
	while (!atomic_load(&w->stop)) {
		if (a->number == 0 && a->step >= until) {
			if (until)
				world_change(a);
			until = a->step + 100 + chance_below(&a->chance, 500);
		}
		pthread_rwlock_rdlock(&w->turn);
		for (unsigned i = 0; i < 16; i++)
			operate(a);
		pthread_rwlock_unlock(&w->turn);
	}
	return NULL;
}

static void verify_all(struct world *w, const char *when)
{
	for (unsigned i = 0; i < w->actors; i++) {
		w->actor[i]->what = when;
		for (unsigned s = 0; s < SPACES; s++)
			for (uint32_t k = 0; k < KEYS; k++)
				verify_key(w->actor[i], s, k);
	}
}

static struct actor *actor_make(struct world *w, unsigned number)
{
	struct actor *a = calloc(1, sizeof(*a));
	if (!a || !(a->buffer = malloc(LARGE_MAX)) || !(a->value = malloc(LARGE_MAX)))
		die("memory of the test", -ENOMEM, NULL);
	a->world = w;
	a->number = number;
	a->chance = chance_make(w->seed * 31 + number);
	a->what = "start";
	return a;
}

static void print_summary(const struct world *w)
{
	struct thermo_stats s = {.size = sizeof(s)};
	uint64_t steps = 0, busy = 0, pending = 0, pins = 0, no_memory = 0;
	for (unsigned i = 0; i < w->actors; i++) {
		steps += w->actor[i]->step;
		busy += w->actor[i]->busy;
		pending += w->actor[i]->pending;
		pins += w->actor[i]->pin_limit;
		no_memory += w->actor[i]->no_memory;
	}
	int rc = thermo_stats(w->cache, &s);
	if (rc)
		die("stats", rc, NULL);
	printf("model: seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " busy, %" PRIu64
	       " pending, %" PRIu64 " pin limits, %" PRIu64 " no memory; %" PRIu64 " reopened, %" PRIu64 " dropped, %" PRIu64
	       " resized, %" PRIu64 " drained\n",
	       w->seed, steps, busy, pending, pins, no_memory, w->reopened, w->dropped, w->resized, w->drained);
	printf("  since the last open: hits %" PRIu64 " %" PRIu64 " %" PRIu64 ", misses %" PRIu64
	       ", demoted %" PRIu64 ", promoted %" PRIu64 ", to cold %" PRIu64 ", from cold %" PRIu64
	       ", clean drops %" PRIu64 ", compactions %" PRIu64 "\n",
	       s.tier[0].hits, s.tier[1].hits, s.tier[2].hits, s.misses, s.demoted, s.promoted,
	       s.cold_demoted, s.cold_promoted, s.cold_clean_dropped, s.compactions);
}

static void run(struct world *w)
{
	pthread_t thread[ACTORS_MAX];
	pthread_rwlock_init(&w->turn, NULL);
	atomic_store(&w->clock_ms, UINT64_C(1700000000000));
	for (unsigned i = 0; i < w->actors; i++)
		w->actor[i] = actor_make(w, i);
	cache_open(w);
	for (unsigned i = 0; i < w->actors; i++)
		if (pthread_create(&thread[i], NULL, act, w->actor[i]))
			die("pthread_create", -EAGAIN, NULL);
	struct timespec t = {w->seconds, 0};
	while (nanosleep(&t, &t))
		;
	atomic_store(&w->stop, true);
	for (unsigned i = 0; i < w->actors; i++)
		pthread_join(thread[i], NULL);
	print_summary(w);
	verify_all(w, "last look");
	for (unsigned i = 0; i < w->actors; i++)
		refs_release(w->actor[i]);
	reopen(w);
	verify_all(w, "last look after reopening");
	struct thermo_error error;
	int rc = thermo_close(&w->cache, 0, &error);
	if (rc)
		die("close", rc, &error);
	pthread_rwlock_destroy(&w->turn);
	for (unsigned i = 0; i < w->actors; i++) {
		free(w->actor[i]->buffer);
		free(w->actor[i]->value);
		free(w->actor[i]);
	}
}

/* ---- Options ---- */

static void scratch_remove(const char *path)
{
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

static int usage(void)
{
	fprintf(stderr, "usage: model [--seed N] [--seconds S] [--threads T] [--cold DIR|none|tmp] "
			"[--warm yes|no]\n  tmp (default): a directory of its own under $TMPDIR\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct world w = {
		.seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
		.seconds = 15,
		.actors = 1,
		.cold = "tmp",
		.warm = true,
	};
	for (int i = 1; i + 1 < argc; i += 2) {
		const char *value = argv[i + 1];
		if (!strcmp(argv[i], "--seed"))
			w.seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--seconds"))
			w.seconds = (unsigned)strtoul(value, NULL, 0);
		else if (!strcmp(argv[i], "--threads"))
			w.actors = (unsigned)strtoul(value, NULL, 0);
		else if (!strcmp(argv[i], "--cold"))
			w.cold = value;
		else if (!strcmp(argv[i], "--warm"))
			w.warm = strcmp(value, "no") != 0;
		else
			return usage();
	}
	if (argc % 2 == 0 || w.actors < 1 || w.actors > ACTORS_MAX)
		return usage();
	printf("model: seed %" PRIu64 ", %u seconds, %u threads, cold %s, warm %s\n", w.seed, w.seconds,
	       w.actors, w.cold, w.warm ? "yes" : "no");
	fflush(stdout);
	char scratch[256] = "";
	const char *parent = getenv("TMPDIR");
	if (!strcmp(w.cold, "none")) {
		w.cold = NULL;
	} else if (!strcmp(w.cold, "tmp")) {
		snprintf(scratch, sizeof(scratch), "%s/thermo-model-XXXXXX",
			 parent && *parent ? parent : "/tmp");
		if (!mkdtemp(scratch)) {
			perror(scratch);
			return 1;
		}
		w.cold = scratch;
	}
	run(&w);
	if (scratch[0])
		scratch_remove(scratch);
	return 0;
}
