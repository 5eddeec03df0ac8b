/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: chooses between io_uring and the pool of threads, and owns what queues share.
 *
 * "auto" tries a small ring at open; a queue whose ring is refused later (limits on locked memory
 * or descriptors) makes the engine fall back from then on. Either way one notice is logged.
 */
#include "tiers/cold/io_private.h"

#include "alloc/check.h"
#include "alloc/heap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define THREADS_DEFAULT 32u
#define THREADS_MAX 256u

void io_notice(const struct io_engine *engine, const char *format, ...)
{
	char line[256];
	if (!engine->log)
		return;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	engine->log(engine->log_context, line);
}

static const char *advice(int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return "allow io_uring_setup, _enter and _register in the container's seccomp "
		       "profile, "
		       "and set kernel.io_uring_disabled=0";
	case -ENOSYS:
	case -EOPNOTSUPP:
		return "use a kernel of 5.11 or later with CONFIG_IO_URING";
	case -ENOMEM:
		return "raise the limit of locked memory (ulimit -l)";
	case -EMFILE:
	case -ENFILE:
		return "raise the limit of open files (ulimit -n)";
	default:
		return "see io_uring_setup(2)";
	}
}

void io_engine_fall_back(struct io_engine *engine, int error)
{
	if (!atomic_exchange(&engine->uring, false))
		return;
	io_notice(engine,
		  "cold reads: io_uring refused (%s), using %u pread threads instead, which costs "
		  "more CPU "
		  "a read; to change that, %s",
		  strerror(-error), engine->threads_wanted, advice(error));
}

int io_engine_pool(struct io_engine *engine, struct io_pool **pool)
{
	int rc = 0;
	pthread_mutex_lock(&engine->pool_lock);
	if (!engine->pool)
		rc = io_pool_open(engine, engine->threads_wanted, &engine->pool);
	*pool = engine->pool;
	pthread_mutex_unlock(&engine->pool_lock);
	return rc;
}

int io_engine_open(const struct io_options *options, struct io_engine **out,
		   struct thermo_error *error)
{
	*out = NULL;
	bool fall_back = !strcmp(options->kind, "auto");
	bool pread = !strcmp(options->kind, "pread");
	if (!fall_back && !pread && strcmp(options->kind, "uring")) {
		snprintf(error->text, sizeof(error->text),
			 "io: \"%.32s\" is none of \"auto\", \"uring\", \"pread\"", options->kind);
		return -EINVAL;
	}
	if (options->threads > THREADS_MAX) {
		snprintf(error->text, sizeof(error->text), "io: %u pread threads are more than %u",
			 options->threads, THREADS_MAX);
		return -EINVAL;
	}
	struct io_engine *engine = heap_zalloc(options->heap, 1, sizeof(*engine));
	if (!engine) {
		snprintf(error->text, sizeof(error->text),
			 "io: no memory for the engine: raise the DRAM cap");
		return -ENOMEM;
	}
	engine->heap = options->heap;
	engine->budget = options->budget;
	engine->log = options->log;
	engine->log_context = options->log_context;
	engine->threads_wanted = options->threads ? options->threads : THREADS_DEFAULT;
	engine->fall_back = fall_back;
	atomic_init(&engine->uring, !pread);
	pthread_mutex_init(&engine->pool_lock, NULL);
	int rc = pread ? 0 : io_ring_probe();
	if (rc && !fall_back) {
		snprintf(error->text, sizeof(error->text), "io: io_uring refused (%s): %s",
			 strerror(-rc), advice(rc));
		pthread_mutex_destroy(&engine->pool_lock);
		heap_free(options->heap, engine);
		return rc;
	}
	if (rc)
		io_engine_fall_back(engine, rc);
	*out = engine;
	return 0;
}

void io_engine_close(struct io_engine **out)
{
	struct io_engine *engine = *out;
	if (!engine)
		return;
	check(atomic_load(&engine->queues) == 0);
	if (engine->pool)
		io_pool_close(engine, &engine->pool);
	pthread_mutex_destroy(&engine->pool_lock);
	heap_free(engine->heap, engine);
	*out = NULL;
}

void io_engine_stats(struct io_engine *engine, struct io_stats *stats)
{
	stats->reads = atomic_load_explicit(&engine->reads, memory_order_relaxed);
	stats->read_bytes = atomic_load_explicit(&engine->read_bytes, memory_order_relaxed);
	stats->errors = atomic_load_explicit(&engine->errors, memory_order_relaxed);
	stats->uring = atomic_load_explicit(&engine->uring, memory_order_relaxed);
	stats->buffered = atomic_load_explicit(&engine->buffered, memory_order_relaxed);
}
