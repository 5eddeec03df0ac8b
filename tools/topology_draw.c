/* SPDX-License-Identifier: Apache-2.0 */
/* See topology_draw.h. Lines are collected with their depth first: which branch is the last of its
 * parent is known only then. */
#include "tools/topology_draw.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "tools/sizes.h"

#define LINES_MAX 1024
#define LINE_TEXT 256
#define DEPTH_MAX 4

struct drawing {
	FILE *to;
	int n;
	uint8_t depth[LINES_MAX]; /* from 1 */
	char text[LINES_MAX][LINE_TEXT];
};

__attribute__((format(printf, 3, 4))) static void branch(struct drawing *d, int depth,
							 const char *format, ...)
{
	va_list arguments;

	if (d->n == LINES_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(d->text[d->n], LINE_TEXT, format, arguments);
	va_end(arguments);
	d->depth[d->n++] = (uint8_t)depth;
}

/* Does another branch of this depth follow before the parent's end? */
static bool followed(const struct drawing *d, int line, int depth)
{
	for (int i = line + 1; i < d->n && d->depth[i] >= depth; i++)
		if (d->depth[i] == depth)
			return true;
	return false;
}

static void print_branches(const struct drawing *d)
{
	for (int i = 0; i < d->n; i++) {
		for (int depth = 1; depth < d->depth[i]; depth++)
			fputs(followed(d, i, depth) ? "│  " : "   ", d->to);
		fprintf(d->to, "%s%s\n", followed(d, i, d->depth[i]) ? "├─ " : "└─ ", d->text[i]);
	}
	if (d->n == LINES_MAX)
		fprintf(d->to, "   ... and more (--json has all)\n");
}

static const char *bytes(uint64_t n, char text[24])
{
	return n == TOPOLOGY_UNKNOWN ? "size unknown" : size_format(n, text);
}

/* ", 302 ns, 16.0 GB/s", as far as it is known. */
static const char *speed_text(const struct topology_speed *speed, char text[64])
{
	int n = 0;

	text[0] = '\0';
	if (speed->read_latency_ns)
		n = snprintf(text, 64, ", %" PRIu64 " ns", speed->read_latency_ns);
	if (speed->read_bandwidth)
		snprintf(text + n, (size_t)(64 - n), ", %.1f GB/s",
			 (double)speed->read_bandwidth / 1e9);
	return text;
}

static const char *medium_text(enum topology_medium medium)
{
	static const char *const texts[] = {"memory of unknown kind", "DRAM", "CXL", "NVDIMM"};

	return texts[medium];
}

static const char *driver_text(const struct topology_dax *dax)
{
	if (strcmp(dax->driver, "kmem") == 0)
		return "system RAM";
	return strcmp(dax->driver, "device_dax") == 0 ? "devdax"
	       : dax->driver[0]                       ? dax->driver
						      : "no driver";
}

static void draw_dax(struct drawing *d, int depth, const struct topology_dax *dax)
{
	char size[24], node[32] = "";

	if (dax->node >= 0)
		snprintf(node, sizeof(node), ", node %d", dax->node);
	branch(d, depth, "%s: %s, %s%s%s", dax->name, bytes(dax->size, size),
	       dax->persistent && strcmp(dax->driver, "kmem") != 0 ? "persistent " : "",
	       driver_text(dax), node);
}

static void draw_node(struct drawing *d, const struct topology *t, const struct topology_node *node)
{
	char name[32], size[24], free[24], speed[64], tail[96] = "";
	int n = 0;

	snprintf(name, sizeof(name), node->id < 0 ? "memory" : "node %d", node->id);
	if (!node->has_cpu && node->distance)
		n = snprintf(tail, sizeof(tail), ", distance %u from node %d", node->distance,
			     node->nearest);
	if (node->tier >= 0)
		n += snprintf(tail + n, sizeof(tail) - (size_t)n, ", kernel tier %d", node->tier);
	if (node->weight)
		snprintf(tail + n, sizeof(tail) - (size_t)n, ", weight %u", node->weight);
	branch(d, 1, "%s: %s%s, %s (%s free), %s%s%s", name,
	       !node->has_cpu  ? "no CPUs"
	       : node->cpus[0] ? "CPUs "
			       : "CPUs",
	       node->has_cpu ? node->cpus : "", bytes(node->size, size), bytes(node->free, free),
	       medium_text(node->medium), speed_text(&node->speed, speed), tail);
	if (node->cache)
		branch(d, 2, "memory-side cache: %s", bytes(node->cache, size));
	for (int i = 0; i < t->n_dax; i++)
		if (node->id >= 0 && t->dax[i].node == node->id &&
		    strcmp(t->dax[i].driver, "kmem") == 0)
			draw_dax(d, 2, &t->dax[i]);
}

static void draw_region(struct drawing *d, const struct topology *t,
			const struct topology_region *region)
{
	char size[24], ways[64] = "";

	if (region->ways > 1)
		snprintf(ways, sizeof(ways), ", interleaved %" PRIu64 " ways by %" PRIu64 " B",
			 region->ways, region->granularity);
	branch(d, 2, "%s: %s of %s, on %s%s%s", region->name, bytes(region->size, size),
	       strcmp(region->mode, "pmem") == 0 ? "persistent memory" : "memory",
	       region->memdevs[0] ? region->memdevs : "no device", ways,
	       !region->committed ? ", not committed"
	       : !region->bound   ? ", not enabled"
				  : "");
	for (int i = 0; i < t->n_dax; i++)
		if (!t->dax[i].persistent && strcmp(t->dax[i].region, region->name) == 0)
			draw_dax(d, 3, &t->dax[i]);
}

static void draw_cxl(struct drawing *d, const struct topology *t)
{
	char a[24], b[24];

	for (int i = 0; i < t->n_memdevs; i++) {
		const struct topology_memdev *memdev = &t->memdevs[i];
		branch(d, 1, "CXL device %s at %s, serial %s: %s volatile, %s persistent",
		       memdev->name, memdev->pci[0] ? memdev->pci : "?",
		       memdev->serial[0] ? memdev->serial : "?", bytes(memdev->ram, a),
		       bytes(memdev->pmem, b));
	}
	for (int i = 0; i < t->n_windows; i++) {
		const struct topology_window *window = &t->windows[i];
		uint64_t left = window->size == TOPOLOGY_UNKNOWN ? window->size
				: window->size > window->used    ? window->size - window->used
								 : 0;
		branch(d, 1, "CXL window %s: %s, %s of it free", window->name,
		       bytes(window->size, a), bytes(left, b));
		for (int j = 0; j < t->n_regions; j++)
			if (strcmp(t->regions[j].window, window->name) == 0)
				draw_region(d, t, &t->regions[j]);
	}
}

static void draw_nvdimm(struct drawing *d, const struct topology *t,
			const struct topology_nd_region *region)
{
	char size[24];

	branch(d, 1, "persistent region %s (%s): %s%s%s", region->name,
	       region->bus[0] ? region->bus : medium_text(region->medium),
	       bytes(region->size, size), region->bound ? "" : ", not enabled",
	       region->bad_blocks ? ", with bad blocks" : "");
	for (int i = 0; i < t->n_namespaces; i++) {
		const struct topology_namespace *space = &t->namespaces[i];
		if (strcmp(space->region, region->name) != 0 || space->size == 0)
			continue;
		branch(d, 2, "%s: %s, %s%s%s%s%s", space->name, bytes(space->size, size),
		       strcmp(space->mode, "memory") == 0 ? "fsdax"
		       : strcmp(space->mode, "dax") == 0  ? "devdax"
							  : space->mode,
		       space->block[0] ? " as " : "", space->block,
		       space->mount[0] ? ", mounted at " : "", space->mount);
		for (int j = 0; j < t->n_dax; j++)
			if (t->dax[j].persistent && strcmp(t->dax[j].nd, space->holder) == 0 &&
			    strcmp(t->dax[j].region, region->name) == 0)
				draw_dax(d, 3, &t->dax[j]);
	}
}

/* Dax devices that hang on nothing that was drawn: soft-reserved memory, half-removed parents. */
static void draw_rest(struct drawing *d, const struct topology *t)
{
	for (int i = 0; i < t->n_dax; i++)
		if (!t->dax[i].region[0] && strcmp(t->dax[i].driver, "kmem") != 0)
			draw_dax(d, 1, &t->dax[i]);
}

/* ---- Targets ---- */

static void print_usable(FILE *to, const struct topology *t)
{
	char size[24], speed[64];
	int n = 0;

	fprintf(to, "\nThe warm tier can use\n");
	for (int i = 0; i < t->n_targets; i++) {
		const struct topology_target *target = &t->targets[i];
		if (!target->usable || target->kind == TOPOLOGY_DRAM)
			continue;
		n++;
		fprintf(to, "  --warm SIZE@%-20s %s of %s%s%s\n", target->warm,
			bytes(target->free == TOPOLOGY_UNKNOWN ? target->size : target->free, size),
			medium_text(target->medium), target->persistent ? ", persistent" : "",
			speed_text(&target->speed, speed));
		if (target->note[0])
			fprintf(to, "      %s\n", target->note);
	}
	if (!n)
		fprintf(to, "  nothing here but DRAM. --warm SIZE@emulate:250 makes DRAM as slow "
			    "as CXL, "
			    "to try things out\n");
}

static void print_unusable(FILE *to, const struct topology *t)
{
	char size[24], node[32];
	int n = 0;

	for (int i = 0; i < t->n_targets; i++) {
		const struct topology_target *target = &t->targets[i];
		if (target->usable)
			continue;
		if (!n++)
			fprintf(to, "\nIt cannot use\n");
		snprintf(node, sizeof(node), "node %d", target->node);
		fprintf(to, "  %s (%s, %s)\n      %s\n",
			target->device[0]   ? target->device
			: target->node >= 0 ? node
					    : "memory",
			topology_kind_name(target->kind), bytes(target->size, size),
			target->reason);
	}
}

void topology_draw(FILE *to, const char *root, const struct topology *t)
{
	static struct drawing d;

	d.to = to;
	d.n = 0;
	fprintf(to, "%s\n", *root ? root : "this machine");
	for (int i = 0; i < t->n_nodes; i++)
		draw_node(&d, t, &t->nodes[i]);
	draw_cxl(&d, t);
	for (int i = 0; i < t->n_nd_regions; i++)
		draw_nvdimm(&d, t, &t->nd_regions[i]);
	draw_rest(&d, t);
	print_branches(&d);
	print_usable(to, t);
	print_unusable(to, t);
	for (int i = 0; i < t->n_notes; i++)
		fprintf(to, "%sNote: %s\n", i ? "" : "\n", t->notes[i]);
}
