/* SPDX-License-Identifier: Apache-2.0 */
/* memory_limit, nodes and sysfile over trees of files made here: machines that we do not have. */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/memory_limit.h"
#include "alloc/nodes.h"
#include "alloc/sysfile.h"
#include "tests/suite.h"

static char root[64];

static void remove_tree(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	if (root[0] && system(command) != 0)
		printf("  %s stays\n", root);
	root[0] = '\0';
}

static int fresh_tree(void)
{
	remove_tree();
	snprintf(root, sizeof(root), "/tmp/thermo-limit-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int end_tree(void)
{
	remove_tree();
	return 0;
}

/* Writes root/path, making the directories. */
static void put(const char *path, const char *text)
{
	char full[PATH_MAX];
	int n = snprintf(full, sizeof(full), "%s%s", root, path);
	CU_ASSERT_TRUE_FATAL(n > 0 && (size_t)n < sizeof(full));
	for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	FILE *file = fopen(full, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs(text, file);
	fclose(file);
}

#define GIB ((uint64_t)1 << 30)
#define MEMINFO "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:   8388608 kB\n"
#define MOUNT2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT1                                                                                     \
	"33 30 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"                              \
	"35 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

static void limit_no_cgroup_available_memory(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	put("/proc/meminfo", MEMINFO);
	CU_ASSERT_EQUAL(memory_limit_under(root), 8 * GIB);
	put("/proc/meminfo", "MemTotal: 1048576 kB\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB);
}

static void limit_no_files_physical_memory(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	CU_ASSERT_EQUAL(memory_limit_under(root),
			(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void limit_version2_least_of_the_hierarchy(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup", "0::/a/b/c\n");
	put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/root rw\n" MOUNT2);
	put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), 8 * GIB);
	put("/sys/fs/cgroup/a/memory.max", "2147483648\n"); /* b has no file at all */
	CU_ASSERT_EQUAL(memory_limit_under(root), 2 * GIB);
	put("/sys/fs/cgroup/a/b/c/memory.max", "3221225472\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), 2 * GIB);
	put("/sys/fs/cgroup/a/b/c/memory.high", "1073741824\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB);
	put("/sys/fs/cgroup/memory.max", "536870912\n"); /* the top counts too */
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB / 2);
	put("/sys/fs/cgroup/memory.max", "0\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), 0);
}

static void limit_version2_usage_taken_off_without_cache(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup", "0::/a\n");
	put("/proc/self/mountinfo", MOUNT2);
	put("/sys/fs/cgroup/a/memory.max", "4294967296\n");
	put("/sys/fs/cgroup/a/memory.current", "3221225472\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB);
	put("/sys/fs/cgroup/a/memory.stat", "anon 1\nfile 9999999999\ninactive_file 1073741824\n"
					    "active_file 536870912\nslab_reclaimable 536870912\n"
					    "active_file_more 7777777777\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), 3 * GIB);
	put("/sys/fs/cgroup/a/memory.stat", "inactive_file 99999999999\n"); /* more than is used */
	CU_ASSERT_EQUAL(memory_limit_under(root), 4 * GIB);
	put("/sys/fs/cgroup/a/memory.stat", "");
	put("/sys/fs/cgroup/a/memory.current", "5368709120\n"); /* over the limit already */
	CU_ASSERT_EQUAL(memory_limit_under(root), 0);
}

static void limit_version1_memory_controller_only(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup",
	    "9:name=systemd:/s\n5:cpu,cpuacct:/p\n4:hugetlb,memory:/m/n\n0::/\n");
	put("/proc/self/mountinfo", MOUNT1);
	put("/sys/fs/cgroup/memory/m/n/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/cpu/p/memory.limit_in_bytes", "1\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), 8 * GIB);
	put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "2147483648\n");
	put("/sys/fs/cgroup/memory/m/memory.usage_in_bytes", "1610612736\n");
	put("/sys/fs/cgroup/memory/m/memory.stat",
	    "inactive_file 5\ntotal_inactive_file 536870912\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB);
}

/* A container: the path begins above the mount, or is said from the host's point of view. */
static void limit_container_paths_still_found(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup", "4:memory:/docker/abc/inner\n");
	put("/proc/self/mountinfo",
	    "35 30 0:32 /docker/abc /sys/fs/cgroup/mem\\040ory ro - cgroup cgroup rw,memory\n");
	put("/sys/fs/cgroup/mem ory/memory.limit_in_bytes", "2147483648\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), 2 * GIB);
	put("/sys/fs/cgroup/mem ory/inner/memory.limit_in_bytes", "1073741824\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB);
	put("/proc/self/cgroup", "4:memory:/docker/abcdef\n"); /* not below that root */
	CU_ASSERT_EQUAL(memory_limit_under(root), 2 * GIB);
	put("/proc/self/cgroup", "0::/../outside\n");
	put("/proc/self/mountinfo", MOUNT2);
	put("/sys/fs/cgroup/memory.max", "1073741824\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB);
}

static void limit_damaged_files_ignored(void)
{
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup", "\n:\n0:\n::::\n0::/a\n");
	put("/proc/self/mountinfo",
	    "\n - \n - cgroup2\n1 - cgroup2 x rw\n1 2 3 - cgroup2 x rw\n" MOUNT2);
	put("/sys/fs/cgroup/a/memory.max", "plenty\n");
	CU_ASSERT_EQUAL(memory_limit_under(root), 8 * GIB);
	put("/sys/fs/cgroup/a/memory.max", "1073741824");
	CU_ASSERT_EQUAL(memory_limit_under(root), GIB);
}

static void limit_this_machine_plausible(void)
{
	uint64_t limit = memory_limit();
	printf("  memory_limit: %llu MiB\n", (unsigned long long)(limit >> 20));
	CU_ASSERT_TRUE(limit > (16u << 20));
	CU_ASSERT_TRUE(limit <=
		       (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void lines_long_line_cut_rest_skipped(void)
{
	static char text[40000];
	struct sysfile_lines lines;
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	memset(text, 'x', 30000);
	strcpy(text + 30000, "\nshort\n\nlast");
	put("/file", text);
	CU_ASSERT_EQUAL_FATAL(sysfile_lines_open(&lines, root, "/file"), 0);
	char *line = sysfile_lines_next(&lines);
	CU_ASSERT_TRUE(line && strlen(line) > 4000 && strspn(line, "x") == strlen(line));
	CU_ASSERT_STRING_EQUAL(sysfile_lines_next(&lines), "short");
	CU_ASSERT_STRING_EQUAL(sysfile_lines_next(&lines), "");
	CU_ASSERT_STRING_EQUAL(sysfile_lines_next(&lines), "last");
	CU_ASSERT_PTR_NULL(sysfile_lines_next(&lines));
	CU_ASSERT_PTR_NULL(sysfile_lines_next(&lines));
	sysfile_lines_close(&lines);
	CU_ASSERT_EQUAL(sysfile_lines_open(&lines, root, "/none"), -ENOENT);
}

/* Every length of a line around the size of the buffer, to the end of the file. */
static void lines_every_length_near_buffer_read_back(void)
{
	static char text[20000];
	struct sysfile_lines lines;
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	for (size_t length = 8180; length < 8200; length++) {
		memset(text, 'y', length);
		strcpy(text + length, length & 1 ? "\nz\n" : "\nz");
		put("/file", text);
		CU_ASSERT_EQUAL_FATAL(sysfile_lines_open(&lines, root, "/file"), 0);
		char *line = sysfile_lines_next(&lines);
		CU_ASSERT_EQUAL(strlen(line), length < 8191 ? length : 8191);
		CU_ASSERT_STRING_EQUAL(sysfile_lines_next(&lines), "z");
		CU_ASSERT_PTR_NULL(sysfile_lines_next(&lines));
		sysfile_lines_close(&lines);
	}
}

static void read_larger_file_cut(void)
{
	char text[8];
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	put("/file", "0123456789");
	CU_ASSERT_EQUAL(sysfile_read(root, "/file", text, sizeof(text)), 7);
	CU_ASSERT_STRING_EQUAL(text, "0123456");
	CU_ASSERT_EQUAL(sysfile_read(root, "/none", text, sizeof(text)), -ENOENT);
	CU_ASSERT_STRING_EQUAL(text, "");
	CU_ASSERT_EQUAL(sysfile_read(root, "/", text, sizeof(text)), -EISDIR);
}

static void nodes_lists_parsed_or_refused(void)
{
	static const char *const bad[] = {"x",      "1-",          "3-1", "1,,2",
					  "0-1024", "99999999999", "1 2", "-1"};
	struct node_set set;
	CU_ASSERT_EQUAL(nodes_parse("0-3,8,64-65\n", &set), 0);
	CU_ASSERT_EQUAL(nodes_count(&set), 7);
	CU_ASSERT_TRUE(nodes_has(&set, 3) && nodes_has(&set, 8) && nodes_has(&set, 65));
	CU_ASSERT_FALSE(nodes_has(&set, 4) || nodes_has(&set, 66) || nodes_has(&set, 100000));
	CU_ASSERT_EQUAL(nodes_parse("\n", &set), 0);
	CU_ASSERT_EQUAL(nodes_count(&set), 0);
	CU_ASSERT_EQUAL(nodes_parse("0-1023", &set), 0);
	CU_ASSERT_EQUAL(nodes_count(&set), 1024);
	for (size_t i = 0; i < SUITE_COUNT(bad); i++)
		CU_ASSERT_EQUAL(nodes_parse(bad[i], &set), -EINVAL);
}

static void nodes_free_memory_counts_page_cache(void)
{
	struct node_set set;
	CU_ASSERT_EQUAL_FATAL(fresh_tree(), 0);
	CU_ASSERT_EQUAL(nodes_available(root, 1), UINT64_MAX);
	CU_ASSERT_EQUAL(nodes_read(root, "online", &set), -ENOENT);
	put("/sys/devices/system/node/has_memory", "0,2\n");
	CU_ASSERT_EQUAL(nodes_read(root, "has_memory", &set), 0);
	CU_ASSERT_TRUE(nodes_has(&set, 2) && !nodes_has(&set, 1));
	put("/sys/devices/system/node/node1/meminfo",
	    "Node 1 MemTotal:  4096 kB\nNode 1 MemFree:   1000 kB\nNode 1 Active(file):  20 kB\n"
	    "Node 1 Inactive(file):  4 kB\n");
	CU_ASSERT_EQUAL(nodes_available(root, 1), 1024 << 10);
}

static const struct suite_case cases[] = {
	SUITE_CASE(limit_no_cgroup_available_memory),
	SUITE_CASE(limit_no_files_physical_memory),
	SUITE_CASE(limit_version2_least_of_the_hierarchy),
	SUITE_CASE(limit_version2_usage_taken_off_without_cache),
	SUITE_CASE(limit_version1_memory_controller_only),
	SUITE_CASE(limit_container_paths_still_found),
	SUITE_CASE(limit_damaged_files_ignored),
	SUITE_CASE(limit_this_machine_plausible),
	SUITE_CASE(lines_long_line_cut_rest_skipped),
	SUITE_CASE(lines_every_length_near_buffer_read_back),
	SUITE_CASE(read_larger_file_cut),
	SUITE_CASE(nodes_lists_parsed_or_refused),
	SUITE_CASE(nodes_free_memory_counts_page_cache),
};

int main(void)
{
	return suite_run("memory_limit", NULL, end_tree, cases, SUITE_COUNT(cases));
}
