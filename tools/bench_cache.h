/* SPDX-License-Identifier: Apache-2.0 */
/* The cache itself as a target of the benchmark: a blob space named "bench". */
#ifndef TOOLS_BENCH_CACHE_H
#define TOOLS_BENCH_CACHE_H

#include "thermocline.h"
#include "tools/bench_work.h"

/* Fills *target; bench_target_open follows. Errors are the library's, with its line in *error. */
int bench_cache_open(struct bench_target *target, const struct thermo_options *options,
		     struct thermo_error *error);
/* After bench_target_close. 0, or the library's error and its line. */
int bench_cache_close(struct bench_target *target, struct thermo_error *error);
struct thermo *bench_cache_handle(const struct bench_target *target);
int bench_cache_stats(const struct bench_target *target, struct thermo_stats *stats);

#endif
