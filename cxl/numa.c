/* SPDX-License-Identifier: Apache-2.0 */
/* NUMA nodes: CPUs, sizes, distances, advertised speed, memory tiers, caches and weights. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/nodes.h"
#include "cxl/discover.h"

#define NODE "/sys/devices/system/node"
#define TIERING "/sys/devices/virtual/memory_tiering"
#define DISTANCE_MAX 255u

/* No NUMA in this kernel, or no sysfs here: the machine as one node with CPUs. */
static void whole_machine(const char *root, struct topology *t, int rc)
{
	struct topology_node *node = &t->nodes[t->n_nodes++];
	struct sysfile_lines lines;
	unsigned long long kib;
	char *line;

	discover_note(t, "%s/online: %s; the machine is taken for one node", NODE,
		      rc ? sysfile_why(rc) : "it lists no node");
	*node = (struct topology_node){.id = -1,
				       .has_cpu = true,
				       .size = TOPOLOGY_UNKNOWN,
				       .free = TOPOLOGY_UNKNOWN,
				       .nearest = -1,
				       .tier = -1,
				       .medium = TOPOLOGY_RAM};
	if (sysfile_lines_open(&lines, root, "/proc/meminfo"))
		return;
	while ((line = sysfile_lines_next(&lines))) {
		if (sscanf(line, "MemTotal: %12llu", &kib) == 1 && kib <= TOPOLOGY_BYTES_MAX >> 10)
			node->size = kib << 10;
		if (sscanf(line, "MemAvailable: %12llu", &kib) == 1 &&
		    kib <= TOPOLOGY_BYTES_MAX >> 10)
			node->free = kib << 10;
	}
	sysfile_lines_close(&lines);
}

static void read_cache(const char *root, struct topology_node *node)
{
	char names[4][SYSFILE_NAME];
	uint64_t size;

	if (sysfile_list(root, "index", names, 4, NODE "/node%d/memory_side_cache", node->id) <= 0)
		return;
	for (int i = 0; i < 4 && names[i][0]; i++) {
		int rc = sysfile_number(root, &size, NODE "/node%d/memory_side_cache/%s/size",
					node->id, names[i]);
		if (!rc && size <= TOPOLOGY_BYTES_MAX && size > node->cache)
			node->cache = size;
	}
}

/* with_cpu: NULL if that list cannot be read. */
static void read_node(const char *root, struct topology_node *node, int id,
		      const struct node_set *with_cpu)
{
	char folder[96];
	uint64_t weight;

	*node = (struct topology_node){.id = id, .nearest = -1, .tier = -1};
	int n = sysfile_word(root, node->cpus, sizeof(node->cpus), NODE "/node%d/cpulist", id);
	if (n == sizeof(node->cpus) - 1)
		memcpy(node->cpus + sizeof(node->cpus) - 4, "...", 4);
	/* If nothing tells, then DRAM: slow memory must not be assumed. */
	node->has_cpu = with_cpu ? nodes_has(with_cpu, (unsigned)id) : n != 0;
	node->medium = node->has_cpu ? TOPOLOGY_RAM : TOPOLOGY_OTHER;
	node->size = nodes_size(root, (unsigned)id);
	node->free = nodes_available(root, (unsigned)id);
	if (node->size != TOPOLOGY_UNKNOWN && node->free != TOPOLOGY_UNKNOWN &&
	    node->free > node->size)
		node->free = node->size;
	/* Class 1 is as seen from the nearest CPUs, class 0 from any initiator. */
	discover_text(folder, sizeof(folder), NODE "/node%d/access1/initiators", id);
	if (!discover_speed(root, folder, &node->speed)) {
		discover_text(folder, sizeof(folder), NODE "/node%d/access0/initiators", id);
		discover_speed(root, folder, &node->speed);
	}
	read_cache(root, node);
	if (!sysfile_number(root, &weight, "/sys/kernel/mm/mempolicy/weighted_interleave/node%d",
			    id) &&
	    weight <= 255)
		node->weight = (unsigned)weight;
}

/* The row has one number for each online node, in their order, whatever their numbers. */
static void read_distance(const char *root, struct topology *t, struct topology_node *node)
{
	char text[1024];
	char *at = text;

	if (sysfile_word(root, text, sizeof(text), NODE "/node%d/distance", node->id) <= 0)
		return;
	for (int i = 0; i < t->n_nodes; i++) {
		char *end;
		unsigned long distance = strtoul(at, &end, 10);
		if (end == at)
			return;
		at = end;
		if (!t->nodes[i].has_cpu || distance == 0 || distance > DISTANCE_MAX)
			continue;
		if (!node->distance || distance < node->distance) {
			node->distance = (unsigned)distance;
			node->nearest = t->nodes[i].id;
		}
	}
}

static void read_tiers(const char *root, struct topology *t)
{
	char names[TOPOLOGY_DEVICES_MAX][SYSFILE_NAME], text[1024];
	struct node_set set;
	int n = discover_list(root, t, TIERING, "memory_tier", names);

	for (int i = 0; i < n; i++) {
		if (sysfile_word(root, text, sizeof(text), TIERING "/%s/nodelist", names[i]) < 0 ||
		    nodes_parse(text, &set))
			continue;
		unsigned long tier = strtoul(names[i] + strlen("memory_tier"), NULL, 10);
		for (int j = 0; j < t->n_nodes; j++)
			if (tier <= 100000 && t->nodes[j].id >= 0 &&
			    nodes_has(&set, (unsigned)t->nodes[j].id))
				t->nodes[j].tier = (int)tier;
	}
}

void discover_nodes(const char *root, struct topology *t)
{
	struct node_set online, with_cpu;
	char text[32];
	int rc = nodes_read(root, "online", &online);

	if (sysfile_word(root, text, sizeof(text), "/sys/devices/system/memory/block_size_bytes") >
	    0)
		t->block = strtoull(text, NULL, 16);
	if (t->block > TOPOLOGY_BYTES_MAX)
		t->block = 0;
	if (sysfile_word(root, text, sizeof(text), "/sys/kernel/mm/numa/demotion_enabled") > 0)
		t->demotion = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	if (rc || !nodes_count(&online)) {
		whole_machine(root, t, rc);
		return;
	}
	bool told = nodes_read(root, "has_cpu", &with_cpu) == 0;
	for (unsigned id = 0; id < NODES_MAX; id++) {
		if (!nodes_has(&online, id))
			continue;
		if (t->n_nodes == TOPOLOGY_NODES_MAX)
			t->left_out++;
		else
			read_node(root, &t->nodes[t->n_nodes++], (int)id, told ? &with_cpu : NULL);
	}
	for (int i = 0; i < t->n_nodes; i++)
		read_distance(root, t, &t->nodes[i]);
	read_tiers(root, t);
}
