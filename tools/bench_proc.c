/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_proc.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static FILE *open_proc(int pid, const char *name)
{
	char path[64];
	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	else
		snprintf(path, sizeof(path), "/proc/self/%s", name);
	return fopen(path, "re");
}

uint64_t proc_resident_bytes(int pid)
{
	unsigned long long size, resident = 0;
	FILE *file = open_proc(pid, "statm");
	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

double proc_cpu_seconds(int pid)
{
	if (!pid) {
		struct rusage usage;
		if (getrusage(RUSAGE_SELF, &usage))
			return 0;
		return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
		       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	}
	char line[1024];
	unsigned long long user = 0, system = 0;
	FILE *file = open_proc(pid, "stat");
	if (!file)
		return 0;
	size_t n = fread(line, 1, sizeof(line) - 1, file);
	fclose(file);
	line[n] = 0;
	/* The name in brackets may hold anything: fields count from its end. */
	const char *end = strrchr(line, ')');
	if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			   &system) != 2)
		return 0;
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

uint64_t proc_memory_available(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *file = fopen("/proc/meminfo", "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	fclose(file);
	return (uint64_t)kib << 10;
}
