/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory providers: where the extents of a tier come from. A provider owns one reserved address range
 * from `base`; extents of EXTENT_BYTES are committed and decommitted in it by number.
 *
 *   dram           anonymous memory, huge pages when possible
 *   node:N         the same, bound to NUMA node N with mbind, verified by asking the kernel
 *   file:PATH      a preallocated file mapped through libpmem2
 *   kmem           a memkind DAX_KMEM kind
 *   emulate:NS[,GB/s]  DRAM with NS of added latency per dependent miss and a bandwidth limit
 *
 * Every operations slot is filled. commit and decommit are called by one thread at a time;
 * provider_access from any.
 */
#ifndef ALLOC_PROVIDER_H
#define ALLOC_PROVIDER_H

#include "alloc/pages.h"
#include "include/thermocline.h"

struct provider;

struct provider_ops {
	const char *name;
	int (*commit)(struct provider *p, uint64_t first, uint64_t n); /* zeroed or not: unspecified */
	int (*decommit)(struct provider *p, uint64_t first, uint64_t n);
	int (*persist)(struct provider *p, const void *start, size_t bytes); /* 0 where volatile */
	void (*close)(struct provider *p);
};

struct provider {
	const struct provider_ops *ops;
	char *base;            /* const after open */
	uint64_t extents_max;  /* const after open: of the reserved range */
	uint32_t delay_ns;     /* const after open: emulated extra latency, 0 = real memory */
	uint32_t emulated;     /* const after open */
	uint32_t persistent;   /* const after open */
	uint32_t huge;         /* const after open: huge pages were asked for */
	char note[160];        /* const after open: how it is degraded and what to do; "" if not */
	void *state;           /* the filling's own */
};

/* Parses spec, reserves max_bytes, commits nothing yet (file: preallocates max_bytes).
 * -EINVAL (spec), -ENODEV (no such node, node without memory, no kmem), -ENOSPC, -EACCES, ... */
int provider_open(const char *spec, uint64_t max_bytes, int huge, struct provider **provider,
		  struct thermo_error *error);
/* NULLs *provider. Memory in the range is gone; a file keeps its bytes. */
void provider_close(struct provider **provider);

/* The wait of an emulated provider (p->emulated must be set). Thread-safe. */
void provider_delay(const struct provider *p, size_t bytes);

/* Called once per dependent access to the tier's memory (once for a batch whose misses overlap) with
 * the bytes touched: makes emulated memory as slow as it claims to be. */
static inline void provider_access(const struct provider *p, size_t bytes)
{
	if (__builtin_expect(p->emulated, 0))
		provider_delay(p, bytes);
}

#endif
