/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk's own 4 KiB random reads beside the same reads through the queues of both engines, in
 *turns, so that a neighbour's noise falls on all of them: medians over the rounds, and of each
 *round's ratio.
 *
 *	bench_disk [--dir DIR] [--size MIB] [--seconds S] [--rounds N] [--depth D]
 */
#include "alloc/budget.h"
#include "alloc/heap.h"
#include "tiers/cold/io.h"
#include "tools/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define ROUNDS_MAX 64
#define SAMPLES_MAX (1u << 20)

struct result {
	double p50_us, p99_us, per_s, cpu_us; /* cpu: of the process, a read */
};

enum row {
	DISK_ONE,
	NOW_ONE,
	URING_ONE,
	PREAD_ONE,
	DISK_DEEP,
	URING_DEEP,
	PREAD_DEEP,
	ROWS,
};

static const char *const row_names[ROWS] = {
	"disk: pread, depth 1",  "io_read_now, depth 1", "queue, uring, depth 1",
	"queue, pread, depth 1", "disk: deep",           "queue, uring, deep",
	"queue, pread, deep",
};

struct bench {
	const char *dir;
	uint64_t bytes;
	double seconds;
	unsigned rounds, depth;
	struct disk disk;
	struct file file;
	struct budget budget;
	struct heap *heap;
	struct io_engine *uring, *pread;
	uint64_t random;
	uint32_t *ns;
};

static uint64_t clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static double cpu_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t place(struct bench *b)
{
	b->random = b->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (b->random >> 20) % (b->disk.bytes / 4096) * 4096;
}

static int compare_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void summarize(uint32_t *ns, uint64_t count, uint64_t took_ns, double cpu, struct result *r)
{
	size_t kept = count < SAMPLES_MAX ? count : SAMPLES_MAX;
	qsort(ns, kept, sizeof(*ns), compare_ns);
	r->p50_us = ns[kept / 2] / 1000.0;
	r->p99_us = ns[kept * 99 / 100] / 1000.0;
	r->per_s = (double)count * 1e9 / (double)took_ns;
	r->cpu_us = cpu / (double)count;
}

static int disk_row(struct bench *b, unsigned depth, struct result *r)
{
	struct disk_reads reads;
	double cpu = cpu_us();
	int rc = disk_reads(&b->disk, depth, b->seconds, &reads);
	if (rc)
		return rc;
	*r = (struct result){reads.p50_us, reads.p99_us, reads.per_s,
			     (cpu_us() - cpu) / (double)reads.count};
	return 0;
}

static int now_row(struct bench *b, struct result *r)
{
	struct io_queue *queue;
	int rc = io_queue_open(b->uring ? b->uring : b->pread, 1, IO_BUFFER_MIN, &queue);
	if (rc)
		return rc;
	double cpu = cpu_us();
	uint64_t start = clock_ns(), until = start + (uint64_t)(b->seconds * 1e9), count = 0;
	uint64_t began = start, now = start;
	while (now < until && rc == 0) {
		struct io_read read = {.file = &b->file, .offset = place(b), .length = 4096};
		rc = io_read_now(queue, &read);
		if (rc == 0)
			rc = read.status;
		io_read_release(queue, &read);
		now = clock_ns();
		b->ns[count++ % SAMPLES_MAX] = (uint32_t)(now - began);
		began = now;
	}
	summarize(b->ns, count, now - start, cpu_us() - cpu, r);
	io_queue_close(&queue);
	return rc;
}

static int queue_row(struct bench *b, struct io_engine *engine, unsigned depth, struct result *r)
{
	struct io_queue *queue;
	struct io_read reads[DISK_DEPTH_MAX], *done[DISK_DEPTH_MAX];
	uint64_t sent[DISK_DEPTH_MAX];
	int rc = io_queue_open(engine, depth, IO_BUFFER_MIN + depth * IO_UNIT, &queue);
	if (rc)
		return rc;
	double cpu = cpu_us();
	uint64_t start = clock_ns(), until = start + (uint64_t)(b->seconds * 1e9), count = 0;
	uint64_t now = start;
	for (unsigned i = 0; i < depth; i++) {
		reads[i] = (struct io_read){.file = &b->file, .offset = place(b), .length = 4096};
		sent[i] = now;
		io_read_prepare(queue, &reads[i]);
	}
	while (rc == 0 && io_queue_pending(queue) > 0) {
		int n = io_queue_wait(queue, done, depth, -1);
		rc = n < 0 ? n : 0;
		now = clock_ns();
		for (int i = 0; i < n; i++) {
			size_t at = (size_t)(done[i] - reads);
			rc = rc ? rc : done[i]->status;
			b->ns[count++ % SAMPLES_MAX] = (uint32_t)(now - sent[at]);
			io_read_release(queue, done[i]);
			if (now < until) {
				done[i]->offset = place(b);
				sent[at] = now;
				io_read_prepare(queue, done[i]);
			}
		}
	}
	summarize(b->ns, count, now - start, cpu_us() - cpu, r);
	io_queue_close(&queue);
	return rc;
}

static int run_row(struct bench *b, enum row row, struct result *r)
{
	switch (row) {
	case DISK_ONE:
		return disk_row(b, 1, r);
	case NOW_ONE:
		return now_row(b, r);
	case URING_ONE:
	case URING_DEEP:
		if (!b->uring)
			return 0;
		return queue_row(b, b->uring, row == URING_ONE ? 1 : b->depth, r);
	case PREAD_ONE:
	case PREAD_DEEP:
		return queue_row(b, b->pread, row == PREAD_ONE ? 1 : b->depth, r);
	default:
		return disk_row(b, b->depth, r);
	}
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare_double);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void print_row(struct bench *b, struct result results[][ROWS], enum row row)
{
	double p50[ROUNDS_MAX], p99[ROUNDS_MAX], per_s[ROUNDS_MAX], cpu[ROUNDS_MAX];
	double ratio[ROUNDS_MAX];
	bool deep = row >= DISK_DEEP;
	if (results[0][row].per_s == 0) {
		printf("%-24s refused here\n", row_names[row]);
		return;
	}
	for (unsigned i = 0; i < b->rounds; i++) {
		const struct result *r = &results[i][row];
		p50[i] = r->p50_us;
		p99[i] = r->p99_us;
		per_s[i] = r->per_s;
		cpu[i] = r->cpu_us;
		ratio[i] = deep ? r->per_s / results[i][DISK_DEEP].per_s
				: r->p50_us / results[i][DISK_ONE].p50_us;
	}
	printf("%-24s p50 %7.1f us  p99 %8.1f us  %8.0f reads/s  cpu %5.2f us/read  %s %.3f of the "
	       "disk's\n",
	       row_names[row], median(p50, b->rounds), median(p99, b->rounds),
	       median(per_s, b->rounds), median(cpu, b->rounds), deep ? "rate" : "p50",
	       median(ratio, b->rounds));
}

static int run(struct bench *b)
{
	static struct result results[ROUNDS_MAX][ROWS];
	printf("%s: %llu MiB, %s\n", b->dir, (unsigned long long)(b->disk.bytes >> 20),
	       b->disk.direct ? "O_DIRECT"
			      : "O_DIRECT refused: these are the page cache's figures");
	printf("sequential write         %.0f MB/s until synced; 4 KiB append and fdatasync p50 "
	       "%.0f us, "
	       "p99 %.0f us\n",
	       b->disk.write_bytes_per_s / 1e6, b->disk.sync_p50_us, b->disk.sync_p99_us);
	for (unsigned round = 0; round < b->rounds; round++)
		for (int row = 0; row < ROWS; row++) {
			int rc = run_row(b, (enum row)row, &results[round][row]);
			if (rc) {
				fprintf(stderr, "%s: %s\n", row_names[row], strerror(-rc));
				return rc;
			}
		}
	for (int row = 0; row < ROWS; row++)
		print_row(b, results, (enum row)row);
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
		"bench_disk [--dir DIR] [--size MIB] [--seconds S] [--rounds 1..%d] "
		"[--depth 1..%u]\n",
		ROUNDS_MAX, DISK_DEPTH_MAX);
	return 2;
}

static int parse(int argc, char **argv, struct bench *b)
{
	if (argc % 2 == 0)
		return -EINVAL;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--dir"))
			b->dir = argv[i + 1];
		else if (!strcmp(argv[i], "--size"))
			b->bytes = strtoull(argv[i + 1], NULL, 10) << 20;
		else if (!strcmp(argv[i], "--seconds"))
			b->seconds = strtod(argv[i + 1], NULL);
		else if (!strcmp(argv[i], "--rounds"))
			b->rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--depth"))
			b->depth = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else
			return -EINVAL;
	}
	bool good = b->bytes > 0 && b->seconds > 0 && b->rounds > 0 && b->rounds <= ROUNDS_MAX &&
		    b->depth > 0 && b->depth <= DISK_DEPTH_MAX;
	return good ? 0 : -EINVAL;
}

static void say(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
	struct thermo_error error = {""};
	struct bench b = {.dir = ".", .bytes = 1 << 30, .seconds = 1, .rounds = 5, .depth = 32};
	if (parse(argc, argv, &b))
		return usage();
	budget_init(&b.budget, UINT64_C(256) << 20);
	b.ns = malloc(SAMPLES_MAX * sizeof(*b.ns));
	if (!b.ns || heap_open("libc", NULL, 16 << 20, NULL, &b.heap, &error))
		return 1;
	struct io_options options = {.heap = b.heap, .budget = &b.budget, .log = say};
	int rc = disk_open(b.dir, b.bytes, &b.disk);
	if (rc) {
		fprintf(stderr, "%s: %s\n", b.dir, strerror(-rc));
		return 1;
	}
	b.file = (struct file){.ops = &file_ops_posix,
			       .fd = b.disk.fd,
			       .direct = b.disk.direct,
			       .align = b.disk.direct ? FILE_ALIGN : 1};
	options.kind = "pread";
	options.threads = b.depth;
	rc = io_engine_open(&options, &b.pread, &error);
	options.kind = "uring";
	if (rc == 0 && io_engine_open(&options, &b.uring, &error))
		fprintf(stderr, "%s\n", error.text);
	rc = rc ? rc : run(&b);
	io_engine_close(&b.uring);
	io_engine_close(&b.pread);
	disk_close(&b.disk);
	heap_close(&b.heap);
	free(b.ns);
	return rc ? 1 : 0;
}
