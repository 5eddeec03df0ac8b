/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference miss ratios (DATA/reference/miss_ratios.csv, from libCacheSim) and our simulator
 * beside them, on the same traces (DATA/traces), DRAM:warm 1:4.
 */
#ifndef TESTS_TOOLS_REFERENCE_H
#define TESTS_TOOLS_REFERENCE_H

#include "tools/simulate.h"
#include "tools/trace.h"

struct reference_row {
	char trace[64];
	bool bytes; /* sizes as recorded, 0 counted as 1; else every object costs 1 */
	uint64_t unique, cache_size;
	unsigned percent;
	enum policy_kind kind;
	double miss_ratio;
};

struct reference_trace {
	char name[64];
	uint64_t *keys, *sizes;
	size_t n, most;
};

/* $THERMO_DATA, or NULL if it is not set or holds no reference. */
const char *reference_data(void);

/* Rows of the policies that we have; the caller frees *rows. 0 or a negative errno. */
int reference_rows(const char *data, struct reference_row **rows, size_t *n);

/* Reads DATA/traces/NAME.csv.zst into *trace (gets and sets) if it is not in it already. Zero it
 * first. */
int reference_trace_load(struct reference_trace *trace, const char *data, const char *name,
			 struct thermo_error *error);
void reference_trace_free(struct reference_trace *trace);

/* Runs the row; dram_percent of the cache is DRAM. */
int reference_run(const struct reference_row *row, const struct reference_trace *trace,
		  unsigned dram_percent, bool promote_on_walk, struct simulate_stats *stats);

#endif
