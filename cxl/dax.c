/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dax devices, and NVDIMMs with their regions and namespaces, CXL's persistent memory among them.
 * What a device descends from is read from the link to it, which names all its ancestors and is
 * there even when the device itself is half removed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cxl/discover.h"

#define DAX "/sys/bus/dax"
#define ND "/sys/bus/nd/devices"

/* The link's own attribute, or the driver's list of its devices. */
static void read_driver(const char *root, struct topology_dax *dax)
{
	static const char *const drivers[] = {"device_dax", "kmem", "fsdev_dax"};
	char path[128], text[1024];

	discover_text(path, sizeof(path), DAX "/devices/%s/driver", dax->name);
	discover_link_name(root, path, 0, dax->driver);
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]) && !dax->driver[0]; i++)
		if (sysfile_link(root, text, sizeof(text), DAX "/drivers/%s/%s", drivers[i],
				 dax->name) > 0)
			discover_text(dax->driver, sizeof(dax->driver), "%s", drivers[i]);
}

static void read_dax(const char *root, struct topology_dax *dax, const char *name)
{
	char folder[64], link[1024];

	discover_text(dax->name, sizeof(dax->name), "%s", name);
	discover_text(folder, sizeof(folder), DAX "/devices/%s", name);
	read_driver(root, dax);
	discover_size(root, folder, "size", &dax->size, dax->broken);
	dax->node = discover_node(root, folder, "target_node");
	int n = sysfile_link(root, link, sizeof(link), "%s", folder);
	if (n < 0) {
		discover_text(dax->broken, sizeof(dax->broken), "no link to it: %s",
			      sysfile_why(n));
		return;
	}
	discover_component(link, "region", dax->region);
	dax->persistent = strstr(link, "/ndbus") != NULL;
	if (dax->persistent) {
		discover_link_name(root, folder, 1, dax->nd);
		dax->medium = strstr(link, "/nvdimm-bridge") ? TOPOLOGY_CXL : TOPOLOGY_NVDIMM;
		/* Below a CXL root there may be two: the NVDIMM's region comes last. */
		discover_component(strstr(link, "/ndbus"), "region", dax->region);
	} else if (strstr(link, "/dax_region")) {
		dax->medium = TOPOLOGY_CXL;
	}
}

void discover_dax(const char *root, struct topology *t)
{
	char names[TOPOLOGY_DEVICES_MAX][SYSFILE_NAME];

	t->n_dax = discover_list(root, t, DAX "/devices", "dax", names);
	for (int i = 0; i < t->n_dax; i++)
		read_dax(root, &t->dax[i], names[i]);
}

static bool has_driver(const char *root, const char *folder)
{
	char path[128], driver[SYSFILE_NAME];

	discover_text(path, sizeof(path), "%s/driver", folder);
	discover_link_name(root, path, 0, driver);
	return driver[0] != '\0';
}

static void read_dimm(const char *root, struct topology_dimm *dimm, const char *name)
{
	char folder[64];

	discover_text(dimm->name, sizeof(dimm->name), "%s", name);
	discover_text(folder, sizeof(folder), ND "/%s", name);
	sysfile_word(root, dimm->state, sizeof(dimm->state), "%s/state", folder);
	sysfile_word(root, dimm->flags, sizeof(dimm->flags), "%s/nfit/flags", folder);
	sysfile_word(root, dimm->security, sizeof(dimm->security), "%s/security", folder);
	dimm->bound = has_driver(root, folder);
}

static void read_nd_region(const char *root, struct topology_nd_region *region, const char *name)
{
	char folder[64], text[1024], bus[SYSFILE_NAME];
	uint64_t read_only;

	discover_text(region->name, sizeof(region->name), "%s", name);
	discover_text(folder, sizeof(folder), ND "/%s", name);
	discover_size(root, folder, "size", &region->size, region->broken);
	discover_size(root, folder, "available_size", &region->free, NULL);
	if (region->free == TOPOLOGY_UNKNOWN)
		region->free = 0;
	discover_size(root, folder, "resource", &region->start, NULL);
	sysfile_word(root, region->persistence, sizeof(region->persistence),
		     "%s/persistence_domain", folder);
	region->bad_blocks = sysfile_word(root, text, sizeof(text), "%s/badblocks", folder) > 0;
	region->read_only = !sysfile_number(root, &read_only, "%s/read_only", folder) && read_only;
	region->bound = has_driver(root, folder);
	sysfile_link(root, text, sizeof(text), "%s", folder);
	region->medium = strstr(text, "/nvdimm-bridge") ? TOPOLOGY_CXL : TOPOLOGY_NVDIMM;
	discover_component(text, "ndbus", bus);
	if (bus[0])
		sysfile_word(root, region->bus, sizeof(region->bus), ND "/%s/provider", bus);
}

static void read_namespace(const char *root, struct topology_namespace *space, const char *name)
{
	char folder[64], blocks[1][SYSFILE_NAME], link[1024];
	uint64_t sectors;

	discover_text(space->name, sizeof(space->name), "%s", name);
	discover_text(folder, sizeof(folder), ND "/%s", name);
	discover_size(root, folder, "size", &space->size, space->broken);
	sysfile_word(root, space->mode, sizeof(space->mode), "%s/mode", folder);
	sysfile_word(root, space->holder, sizeof(space->holder), "%s/holder", folder);
	space->node = discover_node(root, folder, "target_node");
	sysfile_link(root, link, sizeof(link), "%s", folder);
	space->medium = strstr(link, "/nvdimm-bridge") ? TOPOLOGY_CXL : TOPOLOGY_NVDIMM;
	discover_component(link, "region", space->region);
	if (strchr(space->holder, '/'))
		space->holder[0] = '\0';
	if (sysfile_list(root, "pmem", blocks, 1, ND "/%s/block",
			 space->holder[0] ? space->holder : name) < 1 ||
	    !blocks[0][0])
		return;
	discover_text(space->block, sizeof(space->block), "%s", blocks[0]);
	if (!sysfile_number(root, &sectors, ND "/%s/block/%s/size",
			    space->holder[0] ? space->holder : name, space->block) &&
	    sectors <= TOPOLOGY_BYTES_MAX / 512)
		space->size = sectors * 512;
}

void discover_nvdimms(const char *root, struct topology *t)
{
	char names[TOPOLOGY_DEVICES_MAX][SYSFILE_NAME];

	t->n_dimms = discover_present(root, t, ND, "nmem", names);
	for (int i = 0; i < t->n_dimms; i++)
		read_dimm(root, &t->dimms[i], names[i]);
	t->n_nd_regions = discover_present(root, t, ND, "region", names);
	for (int i = 0; i < t->n_nd_regions; i++)
		read_nd_region(root, &t->nd_regions[i], names[i]);
	t->n_namespaces = discover_present(root, t, ND, "namespace", names);
	for (int i = 0; i < t->n_namespaces; i++)
		read_namespace(root, &t->namespaces[i], names[i]);
}

/* Is the mounted source this block device, or a partition of it ("pmem0p1")? */
static bool same_device(const char *source, const char *block)
{
	size_t len = strlen(block);

	if (strncmp(source, "/dev/", 5) != 0 || strncmp(source + 5, block, len) != 0)
		return false;
	source += 5 + len;
	return !*source ||
	       (*source == 'p' && source[1] && !source[1 + strspn(source + 1, "0123456789")]);
}

/* Has the comma-separated list of options this one, perhaps with a value? */
static bool has_option(const char *list, const char *option)
{
	size_t len = strlen(option);

	for (const char *at = list; *at; at += *at == ',') {
		size_t n = strcspn(at, ",");
		if (n == len && strncmp(at, option, len) == 0)
			return true;
		at += n;
	}
	return false;
}

/* Blanks in mountinfo's names are octal: "\\040". In place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; to++) {
		unsigned code;
		if (at[0] == '\\' && sscanf(at + 1, "%3o", &code) == 1 && code > 0 && code < 127) {
			*to = (char)code;
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
	for (char *at = text; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

/* mountinfo: id parent major:minor root MOUNT OPTIONS [optional ...] - type SOURCE SUPER-OPTIONS.
 */
static void read_mount(struct topology *t, char *line)
{
	char mount[256], options[256], source[256], super[512];
	char *second = strstr(line, " - ");

	if (!second || sscanf(line, "%*s %*s %*s %*s %255s %255s", mount, options) != 2 ||
	    sscanf(second + 3, "%*s %255s %511s", source, super) != 2)
		return;
	for (int i = 0; i < t->n_namespaces; i++) {
		struct topology_namespace *space = &t->namespaces[i];
		if (!space->block[0] || space->mount[0] || !same_device(source, space->block) ||
		    strlen(mount) >= sizeof(space->mount))
			continue;
		discover_text(space->mount, sizeof(space->mount), "%.127s", mount);
		unescape(space->mount);
		/* "dax" alone and "dax=always" are the same; "dax=inode" is up to each file. */
		space->mounted_dax = has_option(super, "dax") || has_option(super, "dax=always");
		space->mounted_read_only = has_option(options, "ro") || has_option(super, "ro");
	}
}

void discover_mounts(const char *root, struct topology *t)
{
	struct sysfile_lines lines;
	char *line;
	bool any = false;

	for (int i = 0; i < t->n_namespaces; i++)
		any |= t->namespaces[i].block[0] != '\0';
	if (!any || sysfile_lines_open(&lines, root, "/proc/self/mountinfo"))
		return;
	for (int n = 0; n < SYSFILE_ENTRIES && (line = sysfile_lines_next(&lines)); n++)
		read_mount(t, line);
	sysfile_lines_close(&lines);
}
