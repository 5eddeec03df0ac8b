/* SPDX-License-Identifier: Apache-2.0 */
/* `thermo topology`: what memory this machine has, for people and for programs. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tools/cli.h"
#include "tools/command.h"
#include "tools/ticks.h"
#include "tools/topology_draw.h"

static const char help[] =
	"usage: thermo topology [options]\n"
	"Shows the memory of this machine, DRAM, CXL and PMEM, and which of it the warm tier can "
	"use.\n"
	"\n"
	"  --root DIR        read DIR/sys and DIR/proc instead: a tree saved on another machine\n"
	"  --json FILE|-     the same as JSON\n";

enum { OPT_ROOT = 1000, OPT_JSON, OPT_HELP };

static const struct option long_options[] = {
	{"root", required_argument, NULL, OPT_ROOT},
	{"json", required_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

/* ---- As JSON: what is not known is null ---- */

static void add_bytes(cJSON *object, const char *name, uint64_t n)
{
	if (n == TOPOLOGY_UNKNOWN)
		cJSON_AddNullToObject(object, name);
	else
		cJSON_AddNumberToObject(object, name, (double)n);
}

/* For numbers of which 0 (nodes: -1) says unknown. */
static void add_known(cJSON *object, const char *name, uint64_t n)
{
	add_bytes(object, name, n ? n : TOPOLOGY_UNKNOWN);
}

static void add_id(cJSON *object, const char *name, int id)
{
	add_bytes(object, name, id < 0 ? TOPOLOGY_UNKNOWN : (uint64_t)id);
}

static void add_text(cJSON *object, const char *name, const char *text)
{
	if (*text)
		cJSON_AddStringToObject(object, name, text);
	else
		cJSON_AddNullToObject(object, name);
}

static void add_speed(cJSON *object, const struct topology_speed *speed)
{
	add_known(object, "latency_ns", speed->read_latency_ns);
	add_known(object, "bandwidth_bytes_per_s", speed->read_bandwidth);
	add_known(object, "write_latency_ns", speed->write_latency_ns);
	add_known(object, "write_bandwidth_bytes_per_s", speed->write_bandwidth);
}

/* An object of the list with its name. */
static cJSON *add_named(cJSON *list, const char *name)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddItemToArray(list, json);
	add_text(json, "name", name);
	return json;
}

static void json_targets(cJSON *list, const struct topology *t)
{
	for (int i = 0; i < t->n_targets; i++) {
		const struct topology_target *target = &t->targets[i];
		cJSON *json = cJSON_CreateObject();
		cJSON_AddItemToArray(list, json);
		cJSON_AddStringToObject(json, "kind", topology_kind_name(target->kind));
		cJSON_AddStringToObject(json, "medium", topology_medium_name(target->medium));
		add_text(json, "device", target->device);
		add_id(json, "node", target->node);
		add_known(json, "distance", target->distance);
		add_bytes(json, "size_bytes", target->size);
		add_bytes(json, "free_bytes", target->free);
		add_speed(json, &target->speed);
		cJSON_AddBoolToObject(json, "persistent", target->persistent);
		cJSON_AddBoolToObject(json, "usable", target->usable);
		add_text(json, "warm", target->warm);
		add_text(json, "reason", target->reason);
		add_text(json, "note", target->note);
	}
}

static void json_nodes(cJSON *list, const struct topology *t)
{
	for (int i = 0; i < t->n_nodes; i++) {
		const struct topology_node *node = &t->nodes[i];
		cJSON *json = cJSON_CreateObject();
		cJSON_AddItemToArray(list, json);
		add_id(json, "node", node->id);
		add_text(json, "cpus", node->cpus);
		cJSON_AddBoolToObject(json, "has_cpu", node->has_cpu);
		add_bytes(json, "size_bytes", node->size);
		add_bytes(json, "free_bytes", node->free);
		add_known(json, "distance", node->distance);
		add_id(json, "nearest_cpu_node", node->nearest);
		add_id(json, "memory_tier", node->tier);
		add_known(json, "interleave_weight", node->weight);
		add_known(json, "cache_bytes", node->cache);
		cJSON_AddStringToObject(json, "medium", topology_medium_name(node->medium));
		add_text(json, "devices", node->devices);
		add_speed(json, &node->speed);
	}
}

static void json_cxl(cJSON *cxl, const struct topology *t)
{
	cJSON *list = cJSON_AddArrayToObject(cxl, "memdevs");
	for (int i = 0; i < t->n_memdevs; i++) {
		const struct topology_memdev *memdev = &t->memdevs[i];
		cJSON *json = add_named(list, memdev->name);
		add_text(json, "pci", memdev->pci);
		add_text(json, "serial", memdev->serial);
		add_bytes(json, "volatile_bytes", memdev->ram);
		add_bytes(json, "persistent_bytes", memdev->pmem);
		add_bytes(json, "volatile_mapped_bytes", memdev->ram_used);
		add_bytes(json, "persistent_mapped_bytes", memdev->pmem_used);
	}
	list = cJSON_AddArrayToObject(cxl, "windows");
	for (int i = 0; i < t->n_windows; i++) {
		cJSON *json = add_named(list, t->windows[i].name);
		add_bytes(json, "size_bytes", t->windows[i].size);
		add_bytes(json, "used_bytes", t->windows[i].used);
		cJSON_AddBoolToObject(json, "volatile", t->windows[i].ram);
		cJSON_AddBoolToObject(json, "persistent", t->windows[i].pmem);
	}
	list = cJSON_AddArrayToObject(cxl, "regions");
	for (int i = 0; i < t->n_regions; i++) {
		const struct topology_region *region = &t->regions[i];
		cJSON *json = add_named(list, region->name);
		add_text(json, "window", region->window);
		add_text(json, "mode", region->mode);
		add_text(json, "memdevs", region->memdevs);
		add_bytes(json, "size_bytes", region->size);
		add_known(json, "interleave_ways", region->ways);
		add_known(json, "interleave_granularity", region->granularity);
		cJSON_AddBoolToObject(json, "committed", region->committed);
		cJSON_AddBoolToObject(json, "enabled", region->bound);
	}
}

static void json_dax(cJSON *list, const struct topology *t)
{
	for (int i = 0; i < t->n_dax; i++) {
		const struct topology_dax *dax = &t->dax[i];
		cJSON *json = add_named(list, dax->name);
		add_text(json, "driver", dax->driver);
		add_text(json, "region", dax->region);
		add_bytes(json, "size_bytes", dax->size);
		add_id(json, "node", dax->node);
		cJSON_AddStringToObject(json, "medium", topology_medium_name(dax->medium));
		cJSON_AddBoolToObject(json, "persistent", dax->persistent);
	}
}

static void json_nvdimm(cJSON *nvdimm, const struct topology *t)
{
	cJSON *list = cJSON_AddArrayToObject(nvdimm, "dimms");
	for (int i = 0; i < t->n_dimms; i++) {
		cJSON *json = add_named(list, t->dimms[i].name);
		add_text(json, "state", t->dimms[i].state);
		add_text(json, "flags", t->dimms[i].flags);
		add_text(json, "security", t->dimms[i].security);
	}
	list = cJSON_AddArrayToObject(nvdimm, "regions");
	for (int i = 0; i < t->n_nd_regions; i++) {
		const struct topology_nd_region *region = &t->nd_regions[i];
		cJSON *json = add_named(list, region->name);
		add_text(json, "provider", region->bus);
		add_bytes(json, "size_bytes", region->size);
		add_bytes(json, "free_bytes", region->free);
		add_text(json, "persistence_domain", region->persistence);
		cJSON_AddBoolToObject(json, "enabled", region->bound);
		cJSON_AddBoolToObject(json, "read_only", region->read_only);
		cJSON_AddBoolToObject(json, "bad_blocks", region->bad_blocks);
	}
	list = cJSON_AddArrayToObject(nvdimm, "namespaces");
	for (int i = 0; i < t->n_namespaces; i++) {
		const struct topology_namespace *space = &t->namespaces[i];
		cJSON *json = add_named(list, space->name);
		add_text(json, "region", space->region);
		add_text(json, "mode", space->mode);
		add_bytes(json, "size_bytes", space->size);
		add_text(json, "block_device", space->block);
		add_text(json, "mount", space->mount);
	}
}

static bool print_json(FILE *to, const char *root, const struct topology *t, uint64_t us)
{
	cJSON *json = cJSON_CreateObject();

	add_text(json, "root", *root ? root : "/");
	cJSON_AddNumberToObject(json, "discovery_us", (double)us);
	json_targets(cJSON_AddArrayToObject(json, "targets"), t);
	json_nodes(cJSON_AddArrayToObject(json, "nodes"), t);
	json_cxl(cJSON_AddObjectToObject(json, "cxl"), t);
	json_dax(cJSON_AddArrayToObject(json, "dax"), t);
	json_nvdimm(cJSON_AddObjectToObject(json, "nvdimm"), t);
	add_known(json, "memory_block_bytes", t->block);
	cJSON_AddBoolToObject(json, "kernel_demotion", t->demotion);
	cJSON *notes = cJSON_AddArrayToObject(json, "notes");
	for (int i = 0; i < t->n_notes; i++)
		cJSON_AddItemToArray(notes, cJSON_CreateString(t->notes[i]));
	char *text = cJSON_Print(json);
	if (text)
		fprintf(to, "%s\n", text);
	cJSON_Delete(json);
	cJSON_free(text);
	return text != NULL;
}

static int report(const char *root, const char *path)
{
	struct topology *t;
	uint64_t begin = ticks_clock_ns();
	int rc = topology_read(root, &t);
	uint64_t us = (ticks_clock_ns() - begin) / 1000;

	if (rc)
		return cli_fail("topology", "%s: %s", *root ? root : "/", strerror(-rc));
	int result = COMMAND_OK;
	if (!path || strcmp(path, "-") != 0) {
		topology_draw(stdout, root, t);
		result = cli_output_close("topology", "stdout", stdout);
	}
	if (path) {
		FILE *to = cli_output_open("topology", path);
		if (!to)
			result = COMMAND_FAILED;
		else if (!print_json(to, root, t, us))
			result = cli_fail("topology", "out of memory");
		if (to && cli_output_close("topology", path, to))
			result = COMMAND_FAILED;
	}
	topology_free(&t);
	return result;
}

int topology_main(int argc, char **argv)
{
	const char *root = "", *json = NULL;
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_ROOT:
			if (!*optarg)
				return cli_misuse("topology", "--root: which directory?");
			root = optarg;
			break;
		case OPT_JSON:
			json = optarg;
			break;
		case OPT_HELP:
		case 'h':
			fputs(help, stdout);
			return COMMAND_OK;
		default:
			return cli_bad_option("topology", option, argv);
		}
	}
	if (optind < argc)
		return cli_misuse("topology", "'%s' is left over", argv[optind]);
	return report(strcmp(root, "/") ? root : "", json);
}
