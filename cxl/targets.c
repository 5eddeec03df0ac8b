/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what was found to what can be used: who owns which node's memory, and the list of targets
 * with a reason for each that is not usable. Every byte of memory is a target once: a dax device
 * that is system RAM is its node, capacity that something stands on is that something.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "alloc/nodes.h"
#include "cxl/discover.h"

#define USEFUL ((uint64_t)2 << 20) /* bytes: an extent, the least that a tier can take */

/* ---- Owners ---- */

static void own(struct topology_node *node, const char *device, uint64_t size,
		enum topology_medium medium)
{
	discover_add_word(node->devices, sizeof(node->devices), device);
	if (size != TOPOLOGY_UNKNOWN)
		node->devices_size += size;
	if (medium != TOPOLOGY_OTHER)
		node->medium = medium;
}

/* The node that has the memory block at this physical address, or NULL. */
static struct topology_node *node_at(const char *root, struct topology *t, uint64_t address)
{
	char names[1][SYSFILE_NAME];

	if (!t->block || address == TOPOLOGY_UNKNOWN)
		return NULL;
	if (sysfile_list(root, "node", names, 1, "/sys/devices/system/memory/memory%llu",
			 (unsigned long long)(address / t->block)) < 1 ||
	    !names[0][0])
		return NULL;
	return discover_online(t, atoi(names[0] + strlen("node")));
}

/* Firmware may have set a region up and given it to the kernel as plain memory: no device of it. */
static void own_region(const char *root, struct topology *t, struct topology_region *region)
{
	for (int i = 0; i < t->n_dax; i++)
		region->used |= t->dax[i].medium == TOPOLOGY_CXL && !t->dax[i].persistent &&
				strcmp(t->dax[i].region, region->name) == 0;
	for (int i = 0; i < t->n_nd_regions; i++)
		region->used |= t->nd_regions[i].medium == TOPOLOGY_CXL &&
				region->start != TOPOLOGY_UNKNOWN &&
				t->nd_regions[i].start == region->start;
	struct topology_node *node = region->used ? NULL : node_at(root, t, region->start);
	if (node) {
		own(node, region->name, region->size, TOPOLOGY_CXL);
		region->used = true;
	}
}

/* A device of the kernel's whose node cannot be read has the one node without CPUs that is left, if
 * both are the only ones. */
static void own_the_rest(struct topology *t)
{
	struct topology_dax *lost = NULL;
	struct topology_node *left = NULL;
	int n_lost = 0, n_left = 0;

	for (int i = 0; i < t->n_dax; i++) {
		if (strcmp(t->dax[i].driver, "kmem") != 0 || t->dax[i].node >= 0)
			continue;
		lost = &t->dax[i];
		n_lost++;
	}
	for (int i = 0; i < t->n_nodes; i++) {
		if (t->nodes[i].has_cpu || t->nodes[i].devices[0])
			continue;
		left = &t->nodes[i];
		n_left++;
	}
	if (n_lost == 1 && n_left == 1) {
		lost->node = left->id;
		own(left, lost->name, lost->size, lost->medium);
	}
}

void discover_owners(const char *root, struct topology *t)
{
	for (int i = 0; i < t->n_dax; i++) {
		struct topology_dax *dax = &t->dax[i];
		struct topology_node *node = discover_online(t, dax->node);
		if (node && dax->node >= 0 && strcmp(dax->driver, "kmem") == 0)
			own(node, dax->name, dax->size, dax->medium);
	}
	for (int i = 0; i < t->n_regions; i++)
		own_region(root, t, &t->regions[i]);
	own_the_rest(t);
}

/* ---- Targets ---- */

static struct topology_target *target_add(struct topology *t, enum topology_kind kind,
					  enum topology_medium medium, const char *device)
{
	if (t->n_targets == TOPOLOGY_TARGETS_MAX) {
		t->left_out++;
		return NULL;
	}
	struct topology_target *target = &t->targets[t->n_targets++];
	target->kind = kind;
	target->medium = medium;
	target->node = -1;
	target->size = target->free = TOPOLOGY_UNKNOWN;
	target->usable = true;
	discover_text(target->device, sizeof(target->device), "%s", device);
	return target;
}

/* The first reason is the one that is told. */
__attribute__((format(printf, 2, 3))) static void refuse(struct topology_target *target,
							 const char *format, ...)
{
	va_list arguments;

	if (!target->usable)
		return;
	target->usable = false;
	target->warm[0] = '\0';
	va_start(arguments, format);
	vsnprintf(target->reason, sizeof(target->reason), format, arguments);
	va_end(arguments);
}

/* Whether this process may have memory of the node, as far as is known. */
static bool node_allowed(const char *root, int node)
{
	struct sysfile_lines lines;
	struct node_set set;
	bool allowed = true;
	char *line;

	if (sysfile_lines_open(&lines, root, "/proc/self/status"))
		return true;
	while ((line = sysfile_lines_next(&lines)))
		if (strncmp(line, "Mems_allowed_list:", 18) == 0 &&
		    !nodes_parse(line + 18 + strspn(line + 18, " \t"), &set))
			allowed = nodes_has(&set, (unsigned)node);
	sysfile_lines_close(&lines);
	return allowed;
}

static void note_node(const struct topology *t, const struct topology_node *node,
		      struct topology_target *target)
{
	const unsigned long long mib = 1 << 20;

	if (t->block && node->devices_size > node->size &&
	    node->devices_size - node->size >= t->block)
		discover_text(
			target->note, sizeof(target->note),
			"%llu of %llu MiB of %s are online: system RAM comes in blocks of %llu "
			"MiB; whole ones that are offline: daxctl online-memory",
			node->size / mib, node->devices_size / mib, node->devices, t->block / mib);
	else if (node->cache >= USEFUL)
		discover_text(target->note, sizeof(target->note),
			      "behind a memory-side cache of %llu MiB: how fast it is depends on "
			      "what is in there",
			      node->cache / mib);
}

static void judge_node(const char *root, const struct topology *t, const struct topology_node *node,
		       struct topology_target *target)
{
	target->node = node->id;
	target->size = node->size;
	target->free = node->free;
	target->distance = node->distance;
	target->speed = node->speed;
	if (node->id >= 0)
		discover_text(target->warm, sizeof(target->warm), "node:%d", node->id);
	if (node->size == TOPOLOGY_UNKNOWN)
		refuse(target,
		       "its size cannot be read from node%d/meminfo: the node is half removed, "
		       "or this tree is incomplete",
		       node->id);
	if (node->id >= 0 && !node_allowed(root, node->id))
		refuse(target,
		       "this process may not use node %d: add it to cpuset.mems of its cgroup "
		       "(or of the container: --cpuset-mems)",
		       node->id);
	if (node->free < USEFUL)
		refuse(target,
		       "no memory of node %d is free: see who uses it (numastat -m, numactl -H)",
		       node->id);
	if (target->usable)
		note_node(t, node, target);
}

static void nodes_judge(const char *root, struct topology *t, bool with_cpu)
{
	for (int i = 0; i < t->n_nodes; i++) {
		const struct topology_node *node = &t->nodes[i];
		if (node->has_cpu != with_cpu || node->size == 0)
			continue; /* a node without memory is no target */
		struct topology_target *target = target_add(
			t, with_cpu ? TOPOLOGY_DRAM : TOPOLOGY_NODE, node->medium, node->devices);
		if (target)
			judge_node(root, t, node, target);
	}
}

/* If the tree has a /dev, the device must be in it, and open to us. */
static void judge_file(const char *root, const char *name, struct topology_target *target)
{
	char path[PATH_MAX + 256]; /* root was a path that could be opened */
	struct stat st;

	discover_text(path, sizeof(path), "%s/dev", root);
	if (stat(path, &st))
		return;
	discover_text(path, sizeof(path), "%s/dev/%s", root, name);
	if (access(path, F_OK))
		refuse(target,
		       "/dev/%s is not there: pass the device into this container "
		       "(--device /dev/%s), or see why udev did not make it",
		       name, name);
	else if (access(path, R_OK | W_OK))
		refuse(target, "/dev/%s may not be opened: run as root, or chown it to this user",
		       name);
}

static const struct topology_region *region_named(const struct topology *t, const char *name)
{
	for (int i = 0; i < t->n_regions; i++)
		if (strcmp(t->regions[i].name, name) == 0)
			return &t->regions[i];
	return NULL;
}

static const struct topology_nd_region *nd_region_named(const struct topology *t, const char *name)
{
	for (int i = 0; i < t->n_nd_regions; i++)
		if (strcmp(t->nd_regions[i].name, name) == 0)
			return &t->nd_regions[i];
	return NULL;
}

/* What a device advertises: its node if that is online, or else its CXL region. */
static void tell_place(const struct topology *t, int id, const struct topology_region *region,
		       struct topology_target *target)
{
	target->node = id;
	for (int i = 0; i < t->n_nodes && id >= 0; i++) {
		if (t->nodes[i].id != id)
			continue;
		target->distance = t->nodes[i].distance;
		target->speed = t->nodes[i].speed;
	}
	if (region && !target->speed.read_latency_ns && !target->speed.read_bandwidth)
		target->speed = region->speed;
}

/* What the NVDIMM region below it does to a target. */
static void judge_persistence(const struct topology *t, const char *name,
			      struct topology_target *target)
{
	const struct topology_nd_region *region = nd_region_named(t, name);

	target->persistent = true;
	if (!region)
		return;
	if (region->read_only)
		refuse(target,
		       "%s is read-only: ndctl list -R tells why; echo 0 > "
		       "/sys/bus/nd/devices/%s/read_only if it is well",
		       name, name);
	if (target->usable && region->bad_blocks)
		discover_text(target->note, sizeof(target->note),
			      "%s has bad blocks (ndctl list -RM): what lies there is lost", name);
	else if (target->usable && strstr(region->bus, "e820"))
		discover_text(
			target->note, sizeof(target->note),
			"reserved by the kernel's command line (memmap=): if it is DRAM, a power "
			"cut "
			"empties it");
}

static void judge_dax(const char *root, const struct topology *t, const struct topology_dax *dax,
		      struct topology_target *target)
{
	target->size = target->free = dax->size;
	tell_place(t, dax->node, dax->persistent ? NULL : region_named(t, dax->region), target);
	if (dax->broken[0])
		refuse(target, "%s is half removed, or this tree is incomplete (%s)", dax->name,
		       dax->broken);
	if (!dax->driver[0])
		refuse(target,
		       "no driver has %s: modprobe device_dax, then daxctl reconfigure-device "
		       "-f -m devdax %s",
		       dax->name, dax->name);
	if (strcmp(dax->driver, "device_dax") != 0)
		refuse(target, "the driver of %s is %s: daxctl reconfigure-device -f -m devdax %s",
		       dax->name, dax->driver, dax->name);
	if (dax->size < USEFUL)
		refuse(target,
		       "%s is smaller than 2 MiB: make it larger (daxctl destroy-device, "
		       "create-device)",
		       dax->name);
	if (dax->persistent)
		judge_persistence(t, dax->region, target);
	judge_file(root, dax->name, target);
	if (target->usable)
		discover_text(target->warm, sizeof(target->warm), "dax:/dev/%s", dax->name);
}

/* A device that the kernel took: all there is to use is its node. */
static void judge_system_ram(const struct topology_dax *dax, struct topology_target *target)
{
	target->size = dax->size;
	target->node = dax->node;
	if (dax->node < 0)
		refuse(target,
		       "%s is system RAM of a node that sysfs does not tell: use the node "
		       "without CPUs that has it (numactl -H)",
		       dax->name);
	else
		refuse(target,
		       "%s is system RAM of node %d, but none of it is online: daxctl "
		       "online-memory %s",
		       dax->name, dax->node, dax->name);
}

static void dax_judge(const char *root, struct topology *t, bool system_ram)
{
	for (int i = 0; i < t->n_dax; i++) {
		const struct topology_dax *dax = &t->dax[i];
		bool kmem = strcmp(dax->driver, "kmem") == 0;
		const struct topology_node *node =
			kmem && dax->node >= 0 ? discover_online(t, dax->node) : NULL;
		if (kmem != system_ram || (node && node->size))
			continue;
		struct topology_target *target = target_add(
			t, kmem ? TOPOLOGY_SYSTEM_RAM : TOPOLOGY_DEVDAX, dax->medium, dax->name);
		if (target && kmem)
			judge_system_ram(dax, target);
		else if (target)
			judge_dax(root, t, dax, target);
	}
}

static void judge_fsdax(const char *root, const struct topology *t,
			const struct topology_namespace *space, struct topology_target *target)
{
	char path[PATH_MAX + 256]; /* root was a path that could be opened */
	struct statvfs st;

	target->size = space->size;
	tell_place(t, space->node, NULL, target);
	judge_persistence(t, space->region, target);
	if (!space->mount[0])
		refuse(target,
		       "no file system of it is mounted: mkfs.ext4 /dev/%s && mount -o "
		       "dax=always /dev/%s /mnt, then give warm=pmem:/mnt/FILE",
		       space->block, space->block);
	if (!space->mounted_dax)
		refuse(target,
		       "%s is mounted at %s without dax, so a page cache is in between: unmount "
		       "it and mount -o dax=always",
		       space->block, space->mount);
	if (space->mounted_read_only)
		refuse(target, "%s is mounted read-only: mount -o remount,rw %s", space->mount,
		       space->mount);
	discover_text(path, sizeof(path), "%s%s", root, space->mount);
	if (!space->mount[0] || statvfs(path, &st))
		target->free = TOPOLOGY_UNKNOWN;
	else
		target->free = (uint64_t)st.f_bavail * st.f_frsize;
	if (target->free < USEFUL)
		refuse(target, "the file system at %s is full: free some of it", space->mount);
	if (target->usable)
		discover_text(target->warm, sizeof(target->warm), "pmem:%s/warm", space->mount);
}

static bool namespace_has_dax(const struct topology *t, const struct topology_namespace *space)
{
	for (int i = 0; i < t->n_dax; i++)
		if (t->dax[i].persistent && strcmp(t->dax[i].nd, space->holder) == 0)
			return true;
	return false;
}

static void judge_namespace(const struct topology_namespace *space, struct topology_target *target)
{
	target->size = space->size;
	target->node = space->node;
	target->persistent = true;
	if (space->broken[0])
		refuse(target, "%s is half removed, or this tree is incomplete (%s)", space->name,
		       space->broken);
	if (strcmp(space->mode, "memory") == 0 || strcmp(space->mode, "dax") == 0)
		refuse(target,
		       "no driver has %s: modprobe nd_pmem dax_pmem device_dax, then ndctl "
		       "enable-namespace %s",
		       space->name, space->name);
	refuse(target,
	       "%s is in mode \"%s\", which cannot be mapped: ndctl create-namespace -f -e %s -m "
	       "devdax (its contents are lost)",
	       space->name, space->mode, space->name);
}

static void namespaces_judge(const char *root, struct topology *t, bool fsdax)
{
	for (int i = 0; i < t->n_namespaces; i++) {
		const struct topology_namespace *space = &t->namespaces[i];
		bool is_fsdax = space->block[0] && strcmp(space->mode, "memory") == 0;
		/* Of size 0 is the template of the next one; "dax" is the device that it made. */
		if (is_fsdax != fsdax || space->size == 0 ||
		    (strcmp(space->mode, "dax") == 0 && namespace_has_dax(t, space)))
			continue;
		struct topology_target *target =
			target_add(t, fsdax ? TOPOLOGY_FSDAX : TOPOLOGY_NAMESPACE, space->medium,
				   fsdax ? space->block : space->name);
		if (target && fsdax)
			judge_fsdax(root, t, space, target);
		else if (target)
			judge_namespace(space, target);
	}
}

static void nd_regions_judge(struct topology *t)
{
	for (int i = 0; i < t->n_nd_regions; i++) {
		const struct topology_nd_region *region = &t->nd_regions[i];
		if (region->bound && region->free < USEFUL && !region->broken[0])
			continue;
		struct topology_target *target =
			target_add(t, TOPOLOGY_ND_REGION, region->medium, region->name);
		if (!target)
			continue;
		target->size = region->bound && !region->broken[0] ? region->free : region->size;
		target->persistent = true;
		for (int j = 0; j < t->n_dimms && !region->bound; j++)
			if (strcmp(t->dimms[j].security, "locked") == 0)
				refuse(target,
				       "%s is locked by its passphrase: ndctl load-keys, then "
				       "ndctl enable-region %s",
				       t->dimms[j].name, region->name);
		if (region->broken[0])
			refuse(target, "%s is half removed, or this tree is incomplete (%s)",
			       region->name, region->broken);
		if (!region->bound)
			refuse(target, "%s is not enabled: ndctl enable-region %s", region->name,
			       region->name);
		refuse(target,
		       "this part of %s has no namespace: ndctl create-namespace -r %s -m devdax",
		       region->name, region->name);
	}
}

static void judge_region(const struct topology_region *region, struct topology_target *target)
{
	bool pmem = strcmp(region->mode, "pmem") == 0;

	target->persistent = pmem;
	target->size = region->used ? region->dax_free : region->size;
	target->speed = region->speed;
	if (region->broken[0])
		refuse(target, "%s is half removed, or this tree is incomplete (%s)", region->name,
		       region->broken);
	if (!region->committed)
		refuse(target,
		       "%s is not committed, its set-up was not finished: cxl destroy-region %s, "
		       "then create it again (cxl create-region)",
		       region->name, region->name);
	if (!region->bound)
		refuse(target, "%s is not enabled: cxl enable-region %s", region->name,
		       region->name);
	if (pmem)
		refuse(target,
		       "%s has no NVDIMM region: modprobe cxl_pmem nd_pmem, then ndctl list -R",
		       region->name);
	if (region->dax_free)
		refuse(target, "this part of %s has no device: daxctl create-device -r %s",
		       region->name, region->name);
	refuse(target, "%s has no dax device: modprobe dax_cxl device_dax, then daxctl list",
	       region->name);
}

static void regions_judge(struct topology *t)
{
	for (int i = 0; i < t->n_regions; i++) {
		const struct topology_region *region = &t->regions[i];
		if (region->used && region->dax_free < USEFUL)
			continue;
		struct topology_target *target =
			target_add(t, TOPOLOGY_CXL_REGION, TOPOLOGY_CXL, region->name);
		if (target)
			judge_region(region, target);
	}
}

/* A window that could take a region of this kind, or NULL. */
static const struct topology_window *window_for(const struct topology *t, bool pmem)
{
	for (int i = 0; i < t->n_windows; i++) {
		const struct topology_window *window = &t->windows[i];
		if ((pmem ? window->pmem : window->ram) && window->size != TOPOLOGY_UNKNOWN &&
		    window->used < window->size)
			return window;
	}
	return NULL;
}

static void judge_memdev(const struct topology *t, const struct topology_memdev *memdev, bool pmem,
			 struct topology_target *target)
{
	const struct topology_window *window = window_for(t, pmem);
	const char *what = pmem ? "persistent" : "volatile";

	target->persistent = pmem;
	if (memdev->broken[0])
		refuse(target, "%s is half removed, or this tree is incomplete (%s)", memdev->name,
		       memdev->broken);
	if (!memdev->attached)
		refuse(target,
		       "%s has no endpoint, its link or its decoders failed: cxl enable-memdev "
		       "%s, and see dmesg for cxl",
		       memdev->name, memdev->name);
	if (!window)
		refuse(target,
		       "the platform has no window of addresses left for %s CXL memory: let "
		       "firmware make one (CFMWS), or remove a region (cxl list -RD)",
		       what);
	else
		refuse(target,
		       "no region maps this %s memory of %s: cxl create-region -t %s -m -d %s %s%s",
		       what, memdev->name, pmem ? "pmem" : "ram", window->name, memdev->name,
		       pmem ? ", then ndctl create-namespace -m devdax" : "");
}

static void memdevs_judge(struct topology *t)
{
	for (int i = 0; i < 2 * t->n_memdevs; i++) {
		const struct topology_memdev *memdev = &t->memdevs[i / 2];
		bool pmem = i % 2;
		uint64_t size = pmem ? memdev->pmem : memdev->ram;
		uint64_t used = pmem ? memdev->pmem_used : memdev->ram_used;
		if (size != TOPOLOGY_UNKNOWN && (size <= used || size - used < USEFUL))
			continue;
		struct topology_target *target =
			target_add(t, TOPOLOGY_MEMDEV, TOPOLOGY_CXL, memdev->name);
		if (!target)
			continue;
		target->size = size == TOPOLOGY_UNKNOWN ? size : size - used;
		judge_memdev(t, memdev, pmem, target);
	}
}

void discover_targets(const char *root, struct topology *t)
{
	nodes_judge(root, t, true);
	nodes_judge(root, t, false);
	dax_judge(root, t, false);
	namespaces_judge(root, t, true);
	dax_judge(root, t, true);
	namespaces_judge(root, t, false);
	nd_regions_judge(t);
	regions_judge(t);
	memdevs_judge(t);
}
