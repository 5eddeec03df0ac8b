/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers: other people's stores, run beside the cache by `thermo bench --peer NAME`. Each is a program of
 * its own, thermo-peer-NAME, so that neither the library nor `thermo` needs what they need, and so that
 * their memory can be told apart. They run the same stream through the same loop.
 *
 * A peer gets the workload as options, loads, writes one line of JSON, and then runs one round for each
 * line "SECONDS\n" that it reads, each answered with a line of JSON. The end of its input ends it.
 */
#ifndef TOOLS_PEER_H
#define TOOLS_PEER_H

#include "tools/bench_work.h"

#include <stddef.h>

struct peer_options {
	const char *dir;      /* private, empty, and there */
	uint64_t cache_bytes; /* memory that the store may use as its cache */
	bool direct;          /* the data is larger than memory should be: no page cache */
};

struct peer {
	const char *name;
	/* Fills *target (ops, context, server_pid). On an error *reason is one line. */
	int (*open)(struct bench_target *target, const struct workload *work,
		    const struct peer_options *options, char *reason, size_t capacity);
	/* After the last key was put; may be NULL. */
	int (*loaded)(struct bench_target *target);
	/* Memory of the store with all its keys, in bytes; NULL: what is resident more than before. */
	uint64_t (*bytes)(struct bench_target *target);
	void (*close)(struct bench_target *target);
	void (*version)(struct bench_target *target, char *text, size_t capacity);
};

/* The program; answers its exit status. */
int peer_main(const struct peer *peer, int argc, char **argv);

/* ---- Peers that are servers ------------------------------------------------------------------------ */

/* Starts argv[0], found on the PATH, without output, to be ended with this process; waits until it
 * listens on the Unix socket. Its process id, or -ENOENT (no such program), -ETIMEDOUT, ... */
int peer_server_start(char *const *argv, const char *socket_path);
void peer_server_stop(int pid);
/* A connected descriptor with a time-out of 10 s for each transfer, or -errno. */
int peer_server_connect(const char *socket_path);

#endif
