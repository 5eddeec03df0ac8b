/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between provider.c, which parses and dispatches, and the fillings. Each open function answers a
 * provider whose close operation frees everything, the struct included, or a negative errno with one
 * line in *error. extents is at least 1.
 */
#ifndef ALLOC_PROVIDER_FILLINGS_H
#define ALLOC_PROVIDER_FILLINGS_H

#include "alloc/provider.h"

struct delay;
struct memkind;

int provider_dram_open(uint64_t extents, int huge, struct provider **provider,
		       struct thermo_error *error);
int provider_node_open(unsigned node, uint64_t extents, int huge, struct provider **provider,
		       struct thermo_error *error);
/* bytes_per_ns (= GB/s): 0 = unlimited. */
int provider_emulate_open(uint32_t delay_ns, double bytes_per_ns, uint64_t extents, int huge,
			  struct provider **provider, struct thermo_error *error);
int provider_file_open(const char *path, uint64_t extents, struct provider **provider,
		       struct thermo_error *error);
int provider_kmem_open(uint64_t extents, int huge, struct provider **provider,
		       struct thermo_error *error);
/* The same over any kind, so that a test can run it where there is no such memory. */
int provider_kmem_open_kind(struct memkind *kind, uint64_t extents, int huge,
			    struct provider **provider, struct thermo_error *error);

/* Adds to p->note, after "; " if there is something already. What does not fit is cut. */
__attribute__((format(printf, 2, 3))) void provider_note(struct provider *p, const char *format, ...);
/* Notes it when huge pages are asked for and switched off in the kernel. root as in sysfile.h. */
void provider_note_huge(struct provider *p, const char *root);

#endif
