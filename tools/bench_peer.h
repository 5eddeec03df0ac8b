/* SPDX-License-Identifier: Apache-2.0 */
/* The peers as `thermo bench` sees them: child processes that run rounds (peer.h). One thread. */
#ifndef TOOLS_BENCH_PEER_H
#define TOOLS_BENCH_PEER_H

#include <stdio.h>

#include "tools/bench_summary.h"

struct bench_peer {
	char name[16];
	char version[64];
	char dir[1024]; /* private; removed at the end */
	int pid;
	FILE *to, *from;
	double load_seconds;
	uint64_t bytes; /* of memory, with all keys, as of the last round */
	char failure[256]; /* one line, if something failed */
};

struct bench_peer_options {
	const char *base_dir; /* where its private directory is made; NULL: the temporary directory */
	uint64_t cache_bytes;
	bool direct;
};

/* Is this the name of a peer that there could be? */
bool bench_peer_known(const char *name);
/* Starts it and waits until it has loaded. 0, -ENOENT (it was not built or its server is not
 * installed), or another error; *peer holds the line and needs no close then. */
int bench_peer_open(struct bench_peer *peer, const char *name, const struct workload *work,
		    const struct bench_peer_options *options);
/* 0 or an error, after which only bench_peer_close is left. */
int bench_peer_run(struct bench_peer *peer, double seconds, struct round_summary *round);
void bench_peer_close(struct bench_peer *peer);

#endif
