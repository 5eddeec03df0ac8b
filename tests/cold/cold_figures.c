/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of the cold tier (not a test): loads keys, overwrites them at random, with compaction in between,
 * and prints what they cost.
 *
 *   cold_figures [keys] [value bytes] [compressible percent] [records a run] [turnovers] [runs_max] [garbage]
 *
 * turnovers: how many times as many records are overwritten as there are keys. Afterwards more runs are published, without compaction, up to runs_max, so that reads a hit are those at
 * the largest number of runs. TMPDIR chooses the device.
 */
#include "tests/cold/bed.h"

#include <fcntl.h>

static double seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Of this thread's CPU: other work on the machine does not count. */
static double cpu_seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise)
{
	return argc > i ? strtoull(argv[i], NULL, 0) : otherwise;
}

static size_t key_of(uint64_t id, char *key)
{
	return (size_t)sprintf(key, "user:%011llu", (unsigned long long)(key_mix(id, 0x9e3779b97f4a7c15) % 99999999999ull));
}

static struct bed bed;
static uint64_t value_len, compressible, seq, random_state;
static double publish_seconds;
static uint64_t published_bytes, publish_device_bytes;

/* n records: new keys from `first` on, or, with 0, any of the ids. */
static void publish(uint64_t first, uint64_t n, uint64_t ids)
{
	struct cold_writer *writer;
	static uint8_t value[COLD_VALUE_MAX];
	char key[40];
	if (cold_writer_open(bed.cold, &writer))
		abort();
	for (uint64_t i = 0; i < n; i++) {
		uint64_t id = first ? first + i : 1 + bed_random(&random_state) % ids;
		for (uint64_t j = 0; j < value_len; j += 8) {
			uint64_t word = bed_random(&random_state);
			if (j % 200 < 2 * compressible)
				word = 0x3030303030303030 + (word & 0x0707);
			memcpy(value + j, &word, 8);
		}
		struct cold_record record = bed_record(1, key, key_of(id, key), value, value_len, ++seq);
		if (cold_writer_add(writer, &record))
			abort();
	}
	uint64_t before = bed_stats(&bed).device_write_bytes;
	published_bytes += cold_writer_bytes(writer);
	double start = cpu_seconds();
	int status = cold_writer_publish(&writer);
	publish_seconds += cpu_seconds() - start;
	publish_device_bytes += bed_stats(&bed).device_write_bytes - before;
	if (status) {
		printf("publish: %s\n", strerrordesc_np(-status));
		exit(1);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void measure_gets(uint64_t ids, bool hits)
{
	enum { N = 20000 };
	static double latency[N];
	struct thermo_stats before = bed_stats(&bed);
	char key[40];
	uint64_t found = 0;
	for (int i = 0; i < N; i++) {
		struct cold_record record;
		static char value[COLD_VALUE_MAX];
		uint64_t id = 1 + bed_random(&random_state) % ids + (hits ? 0 : ids * 4);
		size_t len = key_of(id, key);
		double start = seconds();
		found += !bed_get_key(&bed, 1, key, len, 0, value, sizeof(value), &record);
		latency[i] = seconds() - start;
	}
	struct thermo_stats stats = bed_stats(&bed);
	qsort(latency, N, sizeof(latency[0]), by_value);
	printf("%s: found %llu of %d, device reads %.4f a get, false positives %.4f a get, "
	       "p50 %.1f us, p99 %.1f us\n", hits ? "gets of keys that are there" : "gets of others",
	       (unsigned long long)found, N,
	       (double)(stats.device_reads - before.device_reads) / N,
	       (double)(stats.filter_false_positives - before.filter_false_positives) / N,
	       latency[N / 2] * 1e6, latency[N - N / 100] * 1e6);
}

static void measure_device(void)
{
	enum { N = 5000 };
	static double latency[N];
	char path[600] = "";
	off_t largest = 0;
	DIR *dir = opendir(bed.scratch.path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		char name[600];
		snprintf(name, sizeof(name), "%s/%s", bed.scratch.path, entry->d_name);
		int fd = open(name, O_RDONLY);
		off_t size = lseek(fd, 0, SEEK_END);
		close(fd);
		if (size > largest && strstr(name, ".seg")) {
			largest = size;
			memcpy(path, name, sizeof(path));
		}
	}
	closedir(dir);
	int fd = open(path, O_RDONLY | O_DIRECT);
	if (fd < 0)
		return;
	void *page = aligned_alloc(4096, 4096);
	for (int i = 0; i < N; i++) {
		off_t at = (off_t)(bed_random(&random_state) % (uint64_t)(largest / 4096)) * 4096;
		double start = seconds();
		if (pread(fd, page, 4096, at) != 4096)
			break;
		latency[i] = seconds() - start;
	}
	qsort(latency, N, sizeof(latency[0]), by_value);
	printf("device's own 4 KiB read: p50 %.1f us, p99 %.1f us\n", latency[N / 2] * 1e6,
	       latency[N - N / 100] * 1e6);
	free(page);
	close(fd);
}

static void measure_may_contain(uint64_t ids)
{
	enum { N = 1000000 };
	uint64_t yes = 0;
	double start = cpu_seconds();
	for (int i = 0; i < N; i++)
		yes += cold_may_contain(bed.cold, 1, bed_random(&random_state));
	printf("cold_may_contain: %.0f ns, wrong %.5f, with %llu runs\n",
	       (cpu_seconds() - start) / N * 1e9, (double)yes / N,
	       (unsigned long long)bed_stats(&bed).cold_runs);
	(void)ids;
}

int main(int argc, char **argv)
{
	uint64_t records = argument(argc, argv, 1, 1000000);
	value_len = argument(argc, argv, 2, 200);
	compressible = argument(argc, argv, 3, 50);
	uint64_t run = argument(argc, argv, 4, 50000);
	uint64_t turnovers = argument(argc, argv, 5, 0);
	bed_prepare(&bed);
	bed.options.filter_bytes = 1u << 30;
	bed.options.runs_max = (unsigned)argument(argc, argv, 6, 64);
	bed.options.garbage_percent = (unsigned)argument(argc, argv, 7, 0);
	if (bed_open_tier(&bed))
		return 1;
	double work_seconds = 0;
	uint64_t most = 0, most_bytes = 0, ids = records;
	struct thermo_stats filled = { 0 };
	for (uint64_t at = 0; at < records * (1 + turnovers); at += run) {
		if (at >= records && !filled.device_writes) {
			filled = bed_stats(&bed);
			publish_device_bytes = 0;
		}
		publish(at < records ? at + 1 : 0, run, ids);
		double start = cpu_seconds();
		int status = bed_settle(&bed);
		if (status) {
			printf("cold_work: %s\n", strerrordesc_np(-status));
			return 1;
		}
		work_seconds += cpu_seconds() - start;
		struct thermo_stats now = bed_stats(&bed);
		most = now.cold_runs > most ? now.cold_runs : most;
		most_bytes = now.cold_bytes > most_bytes ? now.cold_bytes : most_bytes;
		bed.now_ms += 1000;
	}
	struct thermo_stats stats = bed_stats(&bed);
	uint64_t n = stats.cold_records, files = stats.cold_bytes;
	printf("%llu records of 16 + %llu bytes, %llu%% compressible; %.1f MB; %llu runs (at most %llu)\n",
	       (unsigned long long)n, (unsigned long long)value_len, (unsigned long long)compressible,
	       (double)published_bytes / 1e6, (unsigned long long)stats.cold_runs,
	       (unsigned long long)most);
	printf("files: %.3f of keys and values, at most %.2f times that of one version of each key; "
	       "filters and fences %.2f bytes a record\n",
	       (double)files / (double)stats.tier[THERMO_COLD].record_bytes,
	       (double)most_bytes / ((double)files / (double)n * (double)records),
	       (double)stats.filter_bytes / (double)n);
	printf("write amplification%s: %.2f\n", turnovers ? ", turning over" : "",
	       (double)(stats.device_write_bytes - filled.device_write_bytes) /
		       (double)publish_device_bytes);
	printf("a second of CPU: publishes %.0f MB of keys and values, compacts %.0f MB read\n",
	       (double)published_bytes / publish_seconds / 1e6,
	       (double)stats.compaction_read_bytes / (work_seconds + 1e-9) / 1e6);
	measure_may_contain(ids);
	measure_gets(ids, true);
	for (uint64_t i = stats.cold_runs; i < (bed.options.runs_max ? bed.options.runs_max : 64); i++)
		publish(0, run, ids);
	measure_may_contain(ids);
	measure_gets(ids, true);
	measure_gets(ids, false);
	measure_device();
	bed_close_tier(&bed);
	heap_close(&bed.heap);
	scratch_close(&bed.scratch);
	return 0;
}
