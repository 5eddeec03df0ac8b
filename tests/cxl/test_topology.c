/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery over saved machines (fixtures/NAME.tree, answers in NAME.expected), over changed ones,
 * and over trees that are damaged in every way. THERMO_TEST_FIXTURES names the folder;
 * THERMO_TEST_WRITE=1 writes the answers anew, to be read before they are committed.
 */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "alloc/nodes.h"
#include "tests/cxl/tree.h"
#include "tests/suite.h"

#define NODE "/sys/devices/system/node"
#define CXL_ROOT "/sys/devices/platform/ACPI0017:00/root0"
#define CXL_REGION CXL_ROOT "/decoder0.0/region0"
#define ND_REGION "/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0"

static char root[64];
static char *text; /* of the fixture that was unpacked last */

static int fresh_tree(void)
{
	if (root[0])
		tree_remove(root);
	free(text);
	text = NULL;
	snprintf(root, sizeof(root), "%s/thermo-topology-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	return mkdtemp(root) ? 0 : -1;
}

static int end_tree(void)
{
	tree_remove(root);
	free(text);
	text = NULL;
	return 0;
}

static char *read_whole(const char *name, const char *suffix)
{
	char path[PATH_MAX];
	const char *folder = getenv("THERMO_TEST_FIXTURES");
	char *content = calloc(1, 1 << 16);

	snprintf(path, sizeof(path), "%s/%s.%s", folder ? folder : "tests/cxl/fixtures", name,
		 suffix);
	FILE *file = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(content);
	if (file) {
		content[fread(content, 1, (1 << 16) - 1, file)] = '\0';
		fclose(file);
	}
	return content;
}

static void unpack(const char *name)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	text = read_whole(name, "tree");
	CU_ASSERT_TRUE_FATAL(tree_unpack(root, text, strlen(text)) > 5);
}

static struct topology *discover(void)
{
	struct topology *t = NULL;

	CU_ASSERT_EQUAL_FATAL(topology_read(root, &t), 0);
	const char *wrong = topology_insane(t);
	if (wrong)
		printf("  %s\n", wrong);
	CU_ASSERT_PTR_NULL_FATAL(wrong);
	return t;
}

static int number(char *to, size_t capacity, const char *name, uint64_t n, uint64_t unknown)
{
	return n == unknown ? snprintf(to, capacity, " %s=?", name)
			    : snprintf(to, capacity, " %s=%llu", name, (unsigned long long)n);
}

/* All that a target says, one line each, then the notes. */
static void describe(const struct topology *t, char *to, size_t capacity)
{
	size_t n = 0;

	to[0] = '\0';
	for (int i = 0; i < t->n_targets; i++) {
		const struct topology_target *x = &t->targets[i];
		n += (size_t)snprintf(to + n, capacity - n, "%s %s [%s]",
				      topology_kind_name(x->kind), topology_medium_name(x->medium),
				      x->device);
		n += (size_t)number(to + n, capacity - n, "node", (uint64_t)x->node, (uint64_t)-1);
		n += (size_t)number(to + n, capacity - n, "size", x->size, TOPOLOGY_UNKNOWN);
		n += (size_t)number(to + n, capacity - n, "free", x->free, TOPOLOGY_UNKNOWN);
		n += (size_t)number(to + n, capacity - n, "distance", x->distance, 0);
		n += (size_t)number(to + n, capacity - n, "ns", x->speed.read_latency_ns, 0);
		n += (size_t)number(to + n, capacity - n, "B/s", x->speed.read_bandwidth, 0);
		n += (size_t)snprintf(to + n, capacity - n, "%s %s%s%s%s%s%s\n",
				      x->persistent ? " persistent" : "",
				      x->usable ? "usable warm=" : "unusable: ", x->warm, x->reason,
				      x->note[0] ? " (" : "", x->note, x->note[0] ? ")" : "");
	}
	for (int i = 0; i < t->n_notes; i++)
		n += (size_t)snprintf(to + n, capacity - n, "note: %s\n", t->notes[i]);
}

static void fixture_check(const char *name)
{
	static char got[1 << 16];

	unpack(name);
	struct topology *t = discover();
	describe(t, got, sizeof(got));
	topology_free(&t);
	CU_ASSERT_PTR_NULL(t);
	if (getenv("THERMO_TEST_WRITE")) {
		char path[PATH_MAX];
		snprintf(path, sizeof(path), "%s/%s.expected", getenv("THERMO_TEST_FIXTURES"),
			 name);
		FILE *file = fopen(path, "w");
		CU_ASSERT_PTR_NOT_NULL_FATAL(file);
		fputs(got, file);
		fclose(file);
	}
	char *expected = read_whole(name, "expected");
	if (strcmp(got, expected) != 0)
		printf("  %s: expected\n%s  got\n%s", name, expected, got);
	CU_ASSERT_STRING_EQUAL(got, expected);
	free(expected);
}

#define FIXTURE(function, name)                                                                    \
	static void function(void)                                                                 \
	{                                                                                          \
		fixture_check(name);                                                               \
	}
FIXTURE(fixture_cxl_devdax_expected_answer, "cxl-ram-devdax")
FIXTURE(fixture_cxl_interleaved_expected_answer, "cxl-ram-interleave2-devdax")
FIXTURE(fixture_cxl_node_expected_answer, "cxl-ram-kmem")
FIXTURE(fixture_cxl_node_hole_expected_answer, "cxl-ram-kmem-gport-hmat")
FIXTURE(fixture_cxl_pmem_expected_answer, "cxl-pmem-fsdax+devdax")
FIXTURE(fixture_nvdimm_devdax_expected_answer, "nvdimm-devdax")
FIXTURE(fixture_nvdimm_node_expected_answer, "nvdimm-kmem")
FIXTURE(fixture_hmat_expected_answer, "hmat-2node")
FIXTURE(fixture_plain_expected_answer, "plain-1node")

/* ---- The machine, not only the targets ---- */

static void discover_interleaved_devices_in_region(void)
{
	unpack("cxl-ram-interleave2-devdax");
	struct topology *t = discover();
	CU_ASSERT_EQUAL_FATAL(t->n_regions, 1);
	CU_ASSERT_EQUAL(t->regions[0].ways, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(t->regions[0].memdevs, "mem0"));
	CU_ASSERT_PTR_NOT_NULL(strstr(t->regions[0].memdevs, "mem1"));
	CU_ASSERT_EQUAL_FATAL(t->n_memdevs, 2);
	CU_ASSERT_EQUAL(t->memdevs[0].ram_used, 512ull << 20);
	CU_ASSERT_STRING_EQUAL(t->memdevs[0].pci, "0000:0d:00.0");
	CU_ASSERT_STRING_EQUAL(t->memdevs[1].serial, "0x65");
	CU_ASSERT_EQUAL_FATAL(t->n_windows, 1);
	CU_ASSERT_EQUAL(t->windows[0].size, 4ull << 30);
	CU_ASSERT_EQUAL(t->windows[0].used, 1ull << 30);
	topology_free(&t);
}

static void discover_nodes_distances_tiers_weights_caches(void)
{
	unpack("cxl-ram-kmem-gport-hmat");
	tree_put(root, "/sys/kernel/mm/mempolicy/weighted_interleave/node2", "3\n");
	tree_put(root, NODE "/node2/memory_side_cache/index1/size", "4194304\n");
	struct topology *t = discover();
	CU_ASSERT_EQUAL_FATAL(t->n_nodes, 2);
	CU_ASSERT_EQUAL(t->nodes[1].id, 2);
	CU_ASSERT_FALSE(t->nodes[1].has_cpu);
	CU_ASSERT_EQUAL(t->nodes[1].distance, 20);
	CU_ASSERT_EQUAL(t->nodes[1].nearest, 0);
	CU_ASSERT_EQUAL(t->nodes[1].tier, 126);
	CU_ASSERT_EQUAL(t->nodes[1].weight, 3);
	CU_ASSERT_EQUAL(t->nodes[1].cache, 4 << 20);
	CU_ASSERT_EQUAL(t->nodes[1].speed.write_latency_ns, 402);
	CU_ASSERT_STRING_EQUAL(t->nodes[0].cpus, "0-1");
	CU_ASSERT_EQUAL(t->nodes[0].tier, 4);
	CU_ASSERT_EQUAL(t->block, 128 << 20);
	CU_ASSERT_PTR_NOT_NULL(strstr(t->targets[1].note, "memory-side cache of 4 MiB"));
	topology_free(&t);
}

/* ---- Changed machines: the reason and its remedy ---- */

/* The first target of a kind must be unusable, its reason holding both texts. */
static void refused(enum topology_kind kind, const char *why, const char *remedy)
{
	struct topology *t = discover();
	const struct topology_target *found = NULL;

	for (int i = 0; i < t->n_targets && !found; i++)
		if (t->targets[i].kind == kind)
			found = &t->targets[i];
	CU_ASSERT_PTR_NOT_NULL_FATAL(found);
	if (found->usable || !strstr(found->reason, why) || !strstr(found->reason, remedy))
		printf("  %s: \"%s\" is not about \"%s\" and \"%s\"\n", found->device,
		       found->reason, why, remedy);
	CU_ASSERT_FALSE(found->usable);
	CU_ASSERT_PTR_NOT_NULL(strstr(found->reason, why));
	CU_ASSERT_PTR_NOT_NULL(strstr(found->reason, remedy));
	topology_free(&t);
}

static const struct topology_target *target_of(const struct topology *t, enum topology_kind kind)
{
	for (int i = 0; i < t->n_targets; i++)
		if (t->targets[i].kind == kind)
			return &t->targets[i];
	CU_FAIL_FATAL("no such target");
	return NULL;
}

static void node_no_free_memory_refused(void)
{
	unpack("cxl-ram-kmem");
	tree_put(root, NODE "/node1/meminfo",
		 "Node 1 MemTotal: 1048576 kB\nNode 1 MemFree: 12 kB\n");
	refused(TOPOLOGY_NODE, "no memory of node 1 is free", "numa");
}

static void node_outside_cpuset_refused(void)
{
	unpack("cxl-ram-kmem");
	tree_put(root, "/proc/self/status", "Name: x\nMems_allowed_list:\t0\n");
	refused(TOPOLOGY_NODE, "may not use node 1", "cpuset.mems");
	tree_put(root, "/proc/self/status", "Name: x\nMems_allowed_list:\t0-1\n");
	struct topology *t = discover();
	CU_ASSERT_TRUE(target_of(t, TOPOLOGY_NODE)->usable);
	topology_free(&t);
}

static void node_partly_online_noted(void)
{
	unpack("cxl-ram-kmem");
	tree_put(root, NODE "/node1/meminfo",
		 "Node 1 MemTotal: 524288 kB\nNode 1 MemFree: 524288 kB\n");
	struct topology *t = discover();
	const struct topology_target *node = target_of(t, TOPOLOGY_NODE);
	CU_ASSERT_TRUE(node->usable);
	CU_ASSERT_PTR_NOT_NULL(strstr(node->note, "512 of 1024 MiB of dax0.0"));
	topology_free(&t);
}

static void dax_system_ram_offline_refused(void)
{
	unpack("cxl-ram-kmem");
	tree_put(root, NODE "/online", "0\n");
	tree_put(root, NODE "/node1", NULL);
	refused(TOPOLOGY_SYSTEM_RAM, "node 1", "daxctl online-memory dax0.0");
}

static void dax_no_driver_refused(void)
{
	unpack("cxl-ram-devdax");
	tree_put(root, CXL_REGION "/dax_region0/dax0.0/driver", NULL);
	tree_put(root, "/sys/bus/dax/drivers", NULL);
	refused(TOPOLOGY_DEVDAX, "no driver", "daxctl reconfigure-device");
}

static void dax_half_removed_refused(void)
{
	unpack("cxl-ram-devdax");
	tree_put(root, CXL_REGION "/dax_region0/dax0.0/size", NULL);
	refused(TOPOLOGY_DEVDAX, "half removed", "size: No such file");
	tree_put(root, CXL_REGION "/dax_region0/dax0.0/size", "lots\n");
	refused(TOPOLOGY_DEVDAX, "half removed", "size: not a number");
	tree_put(root, CXL_REGION "/dax_region0/dax0.0/size", "99999999999999999999999\n");
	refused(TOPOLOGY_DEVDAX, "half removed", "size: a number beyond reason");
	tree_put(root, CXL_REGION "/dax_region0/dax0.0", NULL);
	refused(TOPOLOGY_DEVDAX, "half removed", "size: No such file");
}

static void dax_file_missing_refused(void)
{
	unpack("cxl-ram-devdax");
	tree_folder(root, "/dev");
	refused(TOPOLOGY_DEVDAX, "/dev/dax0.0 is not there", "--device");
	tree_put(root, "/dev/dax0.0", "");
	struct topology *t = discover();
	CU_ASSERT_TRUE(target_of(t, TOPOLOGY_DEVDAX)->usable);
	topology_free(&t);
}

static void region_states_refused(void)
{
	unpack("cxl-ram-devdax");
	tree_put(root, "/sys/bus/dax", NULL);
	refused(TOPOLOGY_CXL_REGION, "no dax device", "modprobe dax_cxl");
	tree_put(root, CXL_REGION "/dax_region0/dax_region/available_size", "1073741824\n");
	refused(TOPOLOGY_CXL_REGION, "this part of region0", "daxctl create-device -r region0");
	tree_put(root, CXL_REGION "/driver", NULL);
	refused(TOPOLOGY_CXL_REGION, "not enabled", "cxl enable-region region0");
	tree_put(root, CXL_REGION "/commit", "0\n");
	refused(TOPOLOGY_CXL_REGION, "not committed", "cxl destroy-region region0");
	tree_put(root, CXL_REGION "/size", "-3\n");
	refused(TOPOLOGY_CXL_REGION, "half removed", "size: not a number");
}

/* Firmware set the region up, and its memory came with the boot: no dax device. */
static void region_made_by_firmware_owns_node(void)
{
	unpack("cxl-ram-kmem");
	tree_put(root, "/sys/bus/dax", NULL);
	tree_folder(root, "/sys/devices/system/memory/memory306/node1");
	struct topology *t = discover();
	CU_ASSERT_EQUAL_FATAL(t->n_targets, 2);
	CU_ASSERT_EQUAL(t->targets[1].kind, TOPOLOGY_NODE);
	CU_ASSERT_EQUAL(t->targets[1].medium, TOPOLOGY_CXL);
	CU_ASSERT_STRING_EQUAL(t->targets[1].device, "region0");
	topology_free(&t);
}

static void memdev_states_refused(void)
{
	unpack("cxl-ram-devdax");
	tree_put(root, "/sys/bus/dax", NULL);
	tree_put(root, CXL_REGION, NULL);
	tree_put(root, "/sys/bus/cxl/devices/region0", NULL);
	tree_put(root, CXL_ROOT "/port1/endpoint2/decoder2.0/dpa_size", "0x0\n");
	refused(TOPOLOGY_MEMDEV, "no region", "cxl create-region -t ram -m -d decoder0.0 mem0");
	tree_put(root, CXL_ROOT "/decoder0.0/cap_ram", "0\n");
	refused(TOPOLOGY_MEMDEV, "no window", "CFMWS");
	tree_put(root, "/sys/bus/cxl/devices/endpoint2", NULL);
	refused(TOPOLOGY_MEMDEV, "no endpoint", "cxl enable-memdev mem0");
}

#define PMEM_MOUNT "36 25 259:0 / /mnt/warm\\040one rw,relatime shared:1 - ext4 /dev/pmem0.1 "

static void fsdax_mounts_told_apart(void)
{
	unpack("nvdimm-devdax");
	tree_folder(root, "/mnt/warm one");
	tree_put(root, "/proc/self/mountinfo", "x\n" PMEM_MOUNT "rw,dax=always,nodiscard\n");
	struct topology *t = discover();
	const struct topology_target *fsdax = target_of(t, TOPOLOGY_FSDAX);
	CU_ASSERT_TRUE(fsdax->usable);
	CU_ASSERT_TRUE(fsdax->persistent);
	CU_ASSERT_NOT_EQUAL(fsdax->free, TOPOLOGY_UNKNOWN);
	CU_ASSERT_STRING_EQUAL(fsdax->warm, "pmem:/mnt/warm one/warm");
	topology_free(&t);
	tree_put(root, "/proc/self/mountinfo", PMEM_MOUNT "rw,dax=never\n");
	refused(TOPOLOGY_FSDAX, "without dax", "mount -o dax=always");
	tree_put(root, "/proc/self/mountinfo", PMEM_MOUNT "ro,dax=always\n");
	refused(TOPOLOGY_FSDAX, "read-only", "remount,rw");
	tree_put(root, "/proc/self/mountinfo",
		 "36 25 259:0 / /mnt rw - ext4 /dev/pmem0.12 rw,dax=always\n");
	refused(TOPOLOGY_FSDAX, "no file system", "mkfs");
}

static void nvdimm_states_refused(void)
{
	unpack("nvdimm-devdax");
	tree_put(root, "/sys/bus/dax", NULL);
	refused(TOPOLOGY_NAMESPACE, "no driver has namespace0.0", "ndctl enable-namespace");
	tree_put(root, ND_REGION "/namespace0.0/mode", "raw\n");
	refused(TOPOLOGY_NAMESPACE, "mode \"raw\"", "ndctl create-namespace -f -e namespace0.0");
	refused(TOPOLOGY_ND_REGION, "no namespace", "ndctl create-namespace -r region0");
	tree_put(root, ND_REGION "/driver", NULL);
	refused(TOPOLOGY_ND_REGION, "not enabled", "ndctl enable-region region0");
	tree_put(root, "/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/nmem0/security",
		 "locked\n");
	refused(TOPOLOGY_ND_REGION, "nmem0 is locked", "ndctl load-keys");
}

static void nvdimm_read_only_bad_blocks_told(void)
{
	unpack("nvdimm-devdax");
	tree_put(root, ND_REGION "/badblocks", "8 1\n");
	struct topology *t = discover();
	CU_ASSERT_PTR_NOT_NULL(strstr(target_of(t, TOPOLOGY_DEVDAX)->note, "bad blocks"));
	topology_free(&t);
	tree_put(root, ND_REGION "/read_only", "1\n");
	refused(TOPOLOGY_DEVDAX, "read-only", "ndctl");
}

/* ---- Trees that are no machine's ---- */

static void read_empty_tree_one_node(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	struct topology *t = discover();
	CU_ASSERT_EQUAL_FATAL(t->n_targets, 1);
	CU_ASSERT_FALSE(t->targets[0].usable);
	CU_ASSERT_EQUAL(t->n_notes, 1);
	topology_free(&t);
	tree_put(root, "/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 524288 kB\n");
	t = discover();
	CU_ASSERT_TRUE(t->targets[0].usable);
	CU_ASSERT_EQUAL(t->targets[0].size, 1 << 30);
	CU_ASSERT_EQUAL(t->targets[0].free, 512 << 20);
	topology_free(&t);
}

static void read_no_folder_error(void)
{
	struct topology *t;

	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	tree_put(root, "/file", "");
	strcat(root, "/file");
	CU_ASSERT_EQUAL(topology_read(root, &t), -ENOTDIR);
	CU_ASSERT_PTR_NULL(t);
	CU_ASSERT_EQUAL(topology_read("/nothing/there", &t), -ENOENT);
	root[strlen(root) - strlen("/file")] = '\0';
}

static void read_many_entries_limited(void)
{
	char path[128], list[1024] = "0-999\n";

	unpack("cxl-ram-devdax");
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "/sys/bus/dax/devices/dax9.%d", i);
		tree_folder(root, path);
	}
	tree_put(root, NODE "/online", list);
	struct topology *t = discover();
	CU_ASSERT_EQUAL(t->n_dax, TOPOLOGY_DEVICES_MAX);
	CU_ASSERT_EQUAL(t->n_nodes, TOPOLOGY_NODES_MAX);
	CU_ASSERT_TRUE(t->left_out >= 301 - TOPOLOGY_DEVICES_MAX + 1000 - TOPOLOGY_NODES_MAX);
	CU_ASSERT_PTR_NOT_NULL(strstr(t->notes[t->n_notes - 1], "left out"));
	topology_free(&t);
}

static void read_odd_names_left_out(void)
{
	unpack("cxl-ram-devdax");
	tree_folder(root, "/sys/bus/dax/devices/dax0.1\033[2J");
	tree_folder(root, "/sys/bus/dax/devices/dax0000000000000000000000000000000000000000000.1");
	struct topology *t = discover();
	CU_ASSERT_EQUAL(t->n_dax, 1);
	CU_ASSERT_EQUAL(t->left_out, 2);
	topology_free(&t);
}

enum { GONE, EMPTY, HUGE_NUMBER, NEGATIVE, WORDS, BYTES, FOLDER, LOOP, UP, PIPE, LONG, DAMAGES };

static void damage(const char *path, int how)
{
	static char big[40000];

	switch (how) {
	case GONE:
		tree_put(root, path, NULL);
		break;
	case EMPTY:
		tree_put(root, path, "");
		break;
	case HUGE_NUMBER:
		tree_put(root, path, "0xffffffffffffffff\n");
		break;
	case NEGATIVE:
		tree_put(root, path, "-1\n");
		break;
	case WORDS:
		tree_put(root, path, "kmem dax=always 3-1,,7 ndbus0/region0\n");
		break;
	case BYTES:
		tree_put(root, path, "\033]0;\xff\xfe%s%n\t1\r");
		break;
	case FOLDER:
		tree_folder(root, path);
		break;
	case LOOP:
		tree_link(root, path, strrchr(path, '/') + 1);
		break;
	case UP:
		tree_link(root, path, "..");
		break;
	case PIPE:
		tree_pipe(root, path);
		break;
	default:
		memset(big, '9', sizeof(big) - 1);
		tree_put(root, path, big);
	}
}

/* The path of a line of the fixture. */
static const char *line_path(const char *line, char path[512])
{
	snprintf(path, 512, "%.*s", (int)strcspn(line + 2, " \n"), line + 2);
	return path;
}

/* One entry at a time is damaged in every way; nothing may crash, hang or make no sense. */
static void damage_each_entry(const char *name)
{
	char path[512];
	unsigned refusals = 0;

	unpack(name);
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
		for (int how = 0; how < DAMAGES; how++) {
			damage(line_path(line, path), how);
			struct topology *t = discover();
			for (int i = 0; i < t->n_targets; i++)
				refusals += !t->targets[i].usable;
			topology_free(&t);
		}
		tree_put(root, path, NULL);
		CU_ASSERT_TRUE(tree_make(root, line, strcspn(line, "\n")));
	}
	CU_ASSERT_TRUE(refusals > 0);
	fixture_check(name);
}

static void damaged_cxl_entries_sane(void)
{
	damage_each_entry("cxl-ram-kmem-gport-hmat");
}

static void damaged_pmem_entries_sane(void)
{
	damage_each_entry("cxl-pmem-fsdax+devdax");
}

static void damaged_nvdimm_entries_sane(void)
{
	damage_each_entry("nvdimm-devdax");
}

static void damaged_at_random_sane(void)
{
	static const char *const names[] = {"cxl-ram-kmem-gport-hmat", "cxl-pmem-fsdax+devdax",
					    "nvdimm-devdax", "cxl-ram-interleave2-devdax"};
	uint64_t seed = suite_seed();
	char path[512];

	srand48((long)seed);
	for (int round = 0; round < 60; round++) {
		unpack(names[round % 4]);
		long lines = 0;
		for (const char *at = text; *at; at++)
			lines += *at == '\n';
		for (long n = 1 + lrand48() % 12; n > 0; n--) {
			const char *line = text;
			for (long skip = lrand48() % lines; skip > 0; skip--)
				line += strcspn(line, "\n") + 1;
			line_path(line, path);
			/* The entry itself, or some folder above it. */
			for (char *slash; lrand48() % 4 == 0 && (slash = strrchr(path + 1, '/'));)
				*slash = '\0';
			damage(path, (int)(lrand48() % DAMAGES));
		}
		struct topology *t = discover();
		topology_free(&t);
	}
}

/* ---- The reader below ---- */

static void sysfile_numbers_strict(void)
{
	static const struct {
		const char *content;
		int rc;
		uint64_t number;
	} cases[] = {{"12\n", 0, 12},
		     {" 0x1f \n", 0, 31},
		     {"007", 0, 7},
		     {"", -EINVAL, 0},
		     {"-1\n", -EINVAL, 0},
		     {"+1\n", -EINVAL, 0},
		     {"12 13", -EINVAL, 0},
		     {"0x", -EINVAL, 0},
		     {"1f", -EINVAL, 0},
		     {"18446744073709551615", 0, UINT64_MAX},
		     {"18446744073709551616", -ERANGE, 0}};
	uint64_t n;

	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	for (size_t i = 0; i < SUITE_COUNT(cases); i++) {
		tree_put(root, "/n", cases[i].content);
		CU_ASSERT_EQUAL(sysfile_number(root, &n, "/%s", "n"), cases[i].rc);
		CU_ASSERT_EQUAL(n, cases[i].number);
	}
	CU_ASSERT_EQUAL(sysfile_number(root, &n, "/none"), -ENOENT);
	tree_pipe(root, "/n");
	CU_ASSERT_EQUAL(sysfile_number(root, &n, "/n"), -EINVAL);
	tree_link(root, "/n", "n");
	CU_ASSERT_EQUAL(sysfile_number(root, &n, "/n"), -ELOOP);
}

static void sysfile_words_links_lists(void)
{
	char word[16], names[3][SYSFILE_NAME];

	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	tree_put(root, "/w", "  two words \t\nmore\n");
	CU_ASSERT_EQUAL(sysfile_word(root, word, sizeof(word), "/w"), 9);
	CU_ASSERT_STRING_EQUAL(word, "two words");
	tree_put(root, "/w", "a\033b\xc3\xa4");
	sysfile_word(root, word, sizeof(word), "/w");
	CU_ASSERT_STRING_EQUAL(word, "a?b??");
	tree_link(root, "/l", "0123456789abcdef");
	CU_ASSERT_EQUAL(sysfile_link(root, word, sizeof(word), "/l"), -ENAMETOOLONG);
	CU_ASSERT_EQUAL(sysfile_link(root, word, sizeof(word), "/w"), -EINVAL);
	tree_folder(root, "/d/dax0.10");
	tree_folder(root, "/d/dax0.2");
	tree_folder(root, "/d/daxx");
	CU_ASSERT_EQUAL(sysfile_list(root, "dax", names, 3, "/%c", 'd'), 2);
	CU_ASSERT_STRING_EQUAL(names[0], "dax0.2");
	CU_ASSERT_STRING_EQUAL(names[1], "dax0.10");
	CU_ASSERT_STRING_EQUAL(names[2], "");
	CU_ASSERT_EQUAL(sysfile_list(root, "dax", names, 1, "/d"), 2);
	CU_ASSERT_EQUAL(sysfile_list(root, "dax", names, 1, "/w"), -ENOTDIR);
}

static void nodes_unbelievable_meminfo_unknown(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	tree_put(root, NODE "/node3/meminfo", "Node 3 MemTotal: 18446744073709551615 kB\n");
	CU_ASSERT_EQUAL(nodes_size(root, 3), UINT64_MAX);
	CU_ASSERT_EQUAL(nodes_available(root, 3), UINT64_MAX);
	tree_put(root, NODE "/node3/meminfo", "Node 3 MemTotal: 2 kB\nNode 3 MemFree: 1 kB\n");
	CU_ASSERT_EQUAL(nodes_size(root, 3), 2048);
	CU_ASSERT_EQUAL(nodes_available(root, 3), 1024);
}

static const struct suite_case cases[] = {
	SUITE_CASE(fixture_cxl_devdax_expected_answer),
	SUITE_CASE(fixture_cxl_interleaved_expected_answer),
	SUITE_CASE(fixture_cxl_node_expected_answer),
	SUITE_CASE(fixture_cxl_node_hole_expected_answer),
	SUITE_CASE(fixture_cxl_pmem_expected_answer),
	SUITE_CASE(fixture_nvdimm_devdax_expected_answer),
	SUITE_CASE(fixture_nvdimm_node_expected_answer),
	SUITE_CASE(fixture_hmat_expected_answer),
	SUITE_CASE(fixture_plain_expected_answer),
	SUITE_CASE(discover_interleaved_devices_in_region),
	SUITE_CASE(discover_nodes_distances_tiers_weights_caches),
	SUITE_CASE(node_no_free_memory_refused),
	SUITE_CASE(node_outside_cpuset_refused),
	SUITE_CASE(node_partly_online_noted),
	SUITE_CASE(dax_system_ram_offline_refused),
	SUITE_CASE(dax_no_driver_refused),
	SUITE_CASE(dax_half_removed_refused),
	SUITE_CASE(dax_file_missing_refused),
	SUITE_CASE(region_states_refused),
	SUITE_CASE(region_made_by_firmware_owns_node),
	SUITE_CASE(memdev_states_refused),
	SUITE_CASE(fsdax_mounts_told_apart),
	SUITE_CASE(nvdimm_states_refused),
	SUITE_CASE(nvdimm_read_only_bad_blocks_told),
	SUITE_CASE(read_empty_tree_one_node),
	SUITE_CASE(read_no_folder_error),
	SUITE_CASE(read_many_entries_limited),
	SUITE_CASE(read_odd_names_left_out),
	SUITE_CASE(damaged_cxl_entries_sane),
	SUITE_CASE(damaged_pmem_entries_sane),
	SUITE_CASE(damaged_nvdimm_entries_sane),
	SUITE_CASE(damaged_at_random_sane),
	SUITE_CASE(sysfile_numbers_strict),
	SUITE_CASE(sysfile_words_links_lists),
	SUITE_CASE(nodes_unbelievable_meminfo_unknown),
};

int main(void)
{
	return suite_run("topology", fresh_tree, end_tree, cases, SUITE_COUNT(cases));
}
