/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What memory there is: NUMA nodes, CXL devices, dax devices and NVDIMMs as sysfs tells of them,
 * and from these the list of memory targets: what the warm tier could be put on, with which
 * `warm=`, and for what cannot be used the reason and the remedy, in words for an operator.
 *
 * Reads only; needs no privilege, no daemon and no library of the devices' own. Everything read
 * comes from under a root, so that a tree saved on another machine answers the same. Nothing in it
 * is trusted: numbers have limits, strings are cut and printable, lists have a length, and what
 * does not fit is counted in `left_out`. Nothing is remembered between calls; any thread may call.
 */
#ifndef CXL_TOPOLOGY_H
#define CXL_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/sysfile.h"

#define TOPOLOGY_UNKNOWN UINT64_MAX            /* a size that could not be read */
#define TOPOLOGY_BYTES_MAX ((uint64_t)1 << 52) /* what x86-64 can address */
#define TOPOLOGY_NODES_MAX 128
#define TOPOLOGY_DEVICES_MAX                                                                       \
	128 /* of each kind: memdevs, regions, dax devices, namespaces, ...                        \
	     */
#define TOPOLOGY_TARGETS_MAX 256
#define TOPOLOGY_NOTES_MAX 16

/* As firmware (HMAT, CDAT) advertises it to the kernel. 0: it says nothing, which is usual. */
struct topology_speed {
	uint64_t read_latency_ns, write_latency_ns;
	uint64_t read_bandwidth, write_bandwidth; /* bytes/s */
};

enum topology_medium { TOPOLOGY_OTHER, TOPOLOGY_RAM, TOPOLOGY_CXL, TOPOLOGY_NVDIMM };

/* An online NUMA node. Numbers may have holes. */
struct topology_node {
	int id;
	bool has_cpu;
	char cpus[64];       /* "0-15"; cut if long */
	uint64_t size, free; /* bytes, or TOPOLOGY_UNKNOWN; free: free and page cache */
	unsigned distance;   /* from the nearest node with CPUs (10: itself); 0 = unknown */
	int nearest;         /* that node; -1 = unknown */
	int tier;            /* the kernel's memory tier, a lower one is faster; -1 = none */
	unsigned weight;     /* of weighted interleave; 0 = this kernel has none */
	uint64_t cache;      /* bytes of the memory-side cache in front of it */
	struct topology_speed speed;
	enum topology_medium medium;
	uint64_t devices_size;          /* of the dax devices whose memory it is */
	char devices[4 * SYSFILE_NAME]; /* their names, or the CXL region's: "dax0.0 dax1.0" */
};

struct topology_memdev {
	char name[SYSFILE_NAME], pci[SYSFILE_NAME], serial[SYSFILE_NAME];
	uint64_t ram, pmem;           /* bytes that the device has */
	uint64_t ram_used, pmem_used; /* of them in endpoint decoders */
	bool attached;                /* it has an endpoint: its decoders can be reached */
	char broken[96];              /* which attribute could not be read, and why; "" if well */
};

/* A root decoder: physical addresses that the platform keeps for CXL. */
struct topology_window {
	char name[SYSFILE_NAME];
	uint64_t size, used;
	bool ram, pmem;
};

struct topology_region {
	char name[SYSFILE_NAME], window[SYSFILE_NAME], mode[SYSFILE_NAME];
	char memdevs[4 * SYSFILE_NAME]; /* "mem0 mem1" */
	uint64_t start, size, dax_free; /* dax_free: bytes that no dax device has */
	uint64_t ways, granularity;
	bool committed, bound;
	bool used; /* by a dax device, an NVDIMM region or a node */
	struct topology_speed speed;
	char broken[96];
};

struct topology_dax {
	char name[SYSFILE_NAME], driver[SYSFILE_NAME]; /* "device_dax", "kmem", "" = none */
	char region[SYSFILE_NAME];                     /* CXL or NVDIMM region that it is part of */
	char nd[SYSFILE_NAME];                         /* the NVDIMM dax instance that made it */
	uint64_t size;
	int node; /* target node: the one that its memory is or would be; -1 = none */
	enum topology_medium medium;
	bool persistent;
	char broken[96];
};

struct topology_dimm {
	char name[SYSFILE_NAME], state[SYSFILE_NAME], flags[64], security[SYSFILE_NAME];
	bool bound;
};

struct topology_nd_region {
	char name[SYSFILE_NAME], bus[SYSFILE_NAME], persistence[SYSFILE_NAME];
	uint64_t start, size, free;
	enum topology_medium medium;
	bool bound, read_only, bad_blocks;
	char broken[96];
};

struct topology_namespace {
	char name[SYSFILE_NAME], mode[SYSFILE_NAME], holder[SYSFILE_NAME], region[SYSFILE_NAME];
	char block[SYSFILE_NAME]; /* "pmem0", the block device of fsdax */
	char mount[128];          /* where a file system on it is mounted */
	bool mounted_dax, mounted_read_only;
	uint64_t size; /* usable bytes, where the kernel tells */
	int node;
	enum topology_medium medium;
	char broken[96];
};

/* How the memory is offered. The first four can be usable, the others always lack a step. */
enum topology_kind {
	TOPOLOGY_DRAM,       /* a node with CPUs: the hot tier's */
	TOPOLOGY_NODE,       /* a node without CPUs */
	TOPOLOGY_DEVDAX,     /* a character device to map */
	TOPOLOGY_FSDAX,      /* a file system on persistent memory */
	TOPOLOGY_SYSTEM_RAM, /* a dax device given to the kernel, whose memory is not online */
	TOPOLOGY_NAMESPACE,  /* an NVDIMM namespace in another mode, or without a driver */
	TOPOLOGY_ND_REGION,  /* NVDIMM capacity without a namespace */
	TOPOLOGY_CXL_REGION, /* a CXL region without a device */
	TOPOLOGY_MEMDEV,     /* CXL capacity without a region */
};

struct topology_target {
	enum topology_kind kind;
	enum topology_medium medium;
	char device[4 * SYSFILE_NAME]; /* "dax0.0", "pmem0", "mem0"; of a node what it is made of,
					  or "" */
	int node;                      /* -1 = none or unknown */
	uint64_t size, free;           /* bytes, or TOPOLOGY_UNKNOWN */
	unsigned distance;             /* 0 = unknown */
	struct topology_speed speed;
	bool persistent, usable;
	char warm[192];   /* the warm= that uses it; "" if not usable */
	char reason[320]; /* why it is not usable, and what to do; "" if usable */
	char note[192];   /* worth knowing of a usable one; mostly "" */
};

struct topology {
	struct topology_node nodes[TOPOLOGY_NODES_MAX];
	struct topology_memdev memdevs[TOPOLOGY_DEVICES_MAX];
	struct topology_window windows[TOPOLOGY_DEVICES_MAX];
	struct topology_region regions[TOPOLOGY_DEVICES_MAX];
	struct topology_dax dax[TOPOLOGY_DEVICES_MAX];
	struct topology_dimm dimms[TOPOLOGY_DEVICES_MAX];
	struct topology_nd_region nd_regions[TOPOLOGY_DEVICES_MAX];
	struct topology_namespace namespaces[TOPOLOGY_DEVICES_MAX];
	struct topology_target
		targets[TOPOLOGY_TARGETS_MAX]; /* in the order of enum topology_kind */
	int n_nodes, n_memdevs, n_windows, n_regions, n_dax, n_dimms, n_nd_regions, n_namespaces;
	int n_targets;
	uint64_t left_out; /* entries beyond the limits above */
	bool demotion;     /* the kernel demotes pages by itself */
	uint64_t block;    /* bytes of a memory block, the grain of system RAM; 0 = unknown */
	char notes[TOPOLOGY_NOTES_MAX][192]; /* what is odd about the tree as a whole */
	int n_notes;
};

/* Reads what is under root ("" for this machine). 0 also if there is nothing to be found, which
 * targets and notes tell; -ENOMEM; -ENOTDIR or the like if root itself cannot be read. */
int topology_read(const char *root, struct topology **topology);
/* NULLs *topology. */
void topology_free(struct topology **topology);

/* "dram", "node", "devdax", ... and "dram", "cxl", "nvdimm", "unknown". */
const char *topology_kind_name(enum topology_kind kind);
const char *topology_medium_name(enum topology_medium medium);

#endif
