/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CXL: memory devices, root decoders (windows of physical addresses), regions in them, and the
 * endpoint decoders that say which device's capacity is in which region.
 */
#include <stdio.h>
#include <string.h>

#include "cxl/discover.h"

#define CXL "/sys/bus/cxl/devices"
#define DECODERS_MAX 32 /* the specification's limit for one device */
#define ROOTS_MAX 16

static void read_memdev(const char *root, struct topology_memdev *memdev, const char *name)
{
	char folder[64];

	discover_text(memdev->name, sizeof(memdev->name), "%s", name);
	discover_text(folder, sizeof(folder), CXL "/%s", name);
	discover_size(root, folder, "ram/size", &memdev->ram, memdev->broken);
	discover_size(root, folder, "pmem/size", &memdev->pmem, memdev->broken);
	sysfile_word(root, memdev->serial, sizeof(memdev->serial), "%s/serial", folder);
	discover_link_name(root, folder, 1, memdev->pci);
}

static bool read_flag(const char *root, const char *folder, const char *file)
{
	uint64_t value;

	return !sysfile_number(root, &value, "%s/%s", folder, file) && value != 0;
}

static void read_window(const char *root, struct topology_window *window, const char *folder,
			const char *name)
{
	discover_text(window->name, sizeof(window->name), "%s", name);
	discover_size(root, folder, "size", &window->size, NULL);
	window->ram = read_flag(root, folder, "cap_ram");
	window->pmem = read_flag(root, folder, "cap_pmem");
}

static void read_region(const char *root, struct topology_region *region, const char *name)
{
	char folder[64], path[128], driver[SYSFILE_NAME], file[64];

	discover_text(region->name, sizeof(region->name), "%s", name);
	discover_text(folder, sizeof(folder), CXL "/%s", name);
	discover_link_name(root, folder, 1, region->window);
	discover_size(root, folder, "size", &region->size, region->broken);
	discover_size(root, folder, "resource", &region->start, NULL);
	if (sysfile_word(root, region->mode, sizeof(region->mode), "%s/mode", folder) < 0)
		region->mode[0] = '\0';
	sysfile_number(root, &region->ways, "%s/interleave_ways", folder);
	sysfile_number(root, &region->granularity, "%s/interleave_granularity", folder);
	region->committed = read_flag(root, folder, "commit");
	discover_text(path, sizeof(path), "%s/driver", folder);
	discover_link_name(root, path, 0, driver);
	region->bound = driver[0] != '\0';
	discover_text(file, sizeof(file), "dax_%s/dax_region/available_size", name);
	discover_size(root, folder, file, &region->dax_free, NULL);
	if (region->dax_free == TOPOLOGY_UNKNOWN)
		region->dax_free = 0;
	discover_text(path, sizeof(path), "%s/access1", folder);
	if (!discover_speed(root, path, &region->speed)) {
		discover_text(path, sizeof(path), "%s/access0", folder);
		discover_speed(root, path, &region->speed);
	}
}

static struct topology_region *region_named(struct topology *t, const char *name)
{
	for (int i = 0; i < t->n_regions; i++)
		if (name[0] && strcmp(t->regions[i].name, name) == 0)
			return &t->regions[i];
	return NULL;
}

static struct topology_memdev *memdev_named(struct topology *t, const char *name)
{
	for (int i = 0; i < t->n_memdevs; i++)
		if (name[0] && strcmp(t->memdevs[i].name, name) == 0)
			return &t->memdevs[i];
	return NULL;
}

/* What a decoder of the device maps is in use. */
static void read_decoder(const char *root, struct topology *t, struct topology_memdev *memdev,
			 const char *folder)
{
	char text[SYSFILE_NAME];
	uint64_t size;

	discover_size(root, folder, "dpa_size", &size, NULL);
	if (size == 0 || size == TOPOLOGY_UNKNOWN)
		return;
	sysfile_word(root, text, sizeof(text), "%s/mode", folder);
	if (strcmp(text, "ram") == 0)
		memdev->ram_used += size;
	if (strcmp(text, "pmem") == 0)
		memdev->pmem_used += size;
	sysfile_word(root, text, sizeof(text), "%s/region", folder);
	struct topology_region *region = region_named(t, text);
	if (region)
		discover_add_word(region->memdevs, sizeof(region->memdevs), memdev->name);
}

/* Which device hangs on an endpoint is in a link: their numbers have nothing in common. */
static void read_endpoint(const char *root, struct topology *t, const char *endpoint)
{
	char path[128], name[SYSFILE_NAME], decoders[DECODERS_MAX][SYSFILE_NAME];

	discover_text(path, sizeof(path), CXL "/%s/uport", endpoint);
	discover_link_name(root, path, 0, name);
	struct topology_memdev *memdev = memdev_named(t, name);
	if (!memdev)
		return;
	memdev->attached = true;
	int n = sysfile_list(root, "decoder", decoders, DECODERS_MAX, CXL "/%s", endpoint);
	for (int i = 0; i < DECODERS_MAX && i < n && decoders[i][0]; i++) {
		discover_text(path, sizeof(path), CXL "/%s/%s", endpoint, decoders[i]);
		read_decoder(root, t, memdev, path);
	}
}

static void read_windows(const char *root, struct topology *t, const char *port)
{
	char folder[64], path[128], names[TOPOLOGY_DEVICES_MAX][SYSFILE_NAME];

	discover_text(folder, sizeof(folder), CXL "/%s", port);
	int n = discover_list(root, t, folder, "decoder", names);
	for (int i = 0; i < n; i++) {
		discover_text(path, sizeof(path), "%s/%s", folder, names[i]);
		if (t->n_windows == TOPOLOGY_DEVICES_MAX)
			t->left_out++;
		else
			read_window(root, &t->windows[t->n_windows++], path, names[i]);
	}
}

void discover_cxl(const char *root, struct topology *t)
{
	char names[TOPOLOGY_DEVICES_MAX][SYSFILE_NAME];

	t->n_memdevs = discover_present(root, t, CXL, "mem", names);
	for (int i = 0; i < t->n_memdevs; i++)
		read_memdev(root, &t->memdevs[i], names[i]);
	t->n_regions = discover_present(root, t, CXL, "region", names);
	for (int i = 0; i < t->n_regions; i++)
		read_region(root, &t->regions[i], names[i]);
	int n = discover_present(root, t, CXL, "endpoint", names);
	for (int i = 0; i < n; i++)
		read_endpoint(root, t, names[i]);
	n = discover_present(root, t, CXL, "root", names);
	for (int i = 0; i < n && i < ROOTS_MAX; i++)
		read_windows(root, t, names[i]);
	for (int i = 0; i < t->n_regions; i++)
		for (int j = 0; j < t->n_windows; j++)
			if (strcmp(t->regions[i].window, t->windows[j].name) == 0 &&
			    t->regions[i].size != TOPOLOGY_UNKNOWN)
				t->windows[j].used += t->regions[i].size;
}
