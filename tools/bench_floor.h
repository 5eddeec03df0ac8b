/* SPDX-License-Identifier: Apache-2.0 */
/* The floor as a target of the benchmark. Only for values of one size. */
#ifndef TOOLS_BENCH_FLOOR_H
#define TOOLS_BENCH_FLOOR_H

#include "tools/bench_work.h"
#include "tools/floor.h"

/* Fills *target; bench_target_open follows. -ENOMEM and the like. */
int bench_floor_open(struct bench_target *target, const struct workload *work);
void bench_floor_close(struct bench_target *target); /* after bench_target_close */
/* Of the table, in bytes. */
uint64_t bench_floor_bytes(const struct bench_target *target);
const char *bench_floor_isa(const struct bench_target *target);

#endif
