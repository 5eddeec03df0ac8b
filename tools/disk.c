/* SPDX-License-Identifier: Apache-2.0 */
/* See disk.h. The loops are as short as they can be: this is the limit, not an engine. */
#include "tools/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WRITE_BYTES ((size_t)1 << 20)
#define SYNCS 64
#define SAMPLES_MAX (1u << 20)

static uint64_t clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static off_t random_place(const struct disk *disk, uint64_t *state)
{
	return (off_t)(random_next(state) % (disk->bytes / DISK_READ_BYTES) * DISK_READ_BYTES);
}

/* ---- Latencies ---- */

struct samples {
	uint32_t *ns;
	uint32_t count;       /* kept */
	uint64_t seen, added; /* all; those in sum_ns */
	double sum_ns;
};

static int samples_open(struct samples *s)
{
	memset(s, 0, sizeof(*s));
	s->ns = malloc(SAMPLES_MAX * sizeof(*s->ns));
	return s->ns ? 0 : -ENOMEM;
}

static void samples_add(struct samples *s, uint64_t ns)
{
	s->seen++;
	s->added++;
	s->sum_ns += (double)ns;
	if (s->count < SAMPLES_MAX)
		s->ns[s->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static int compare_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static double samples_us(struct samples *s, double share)
{
	if (s->count == 0)
		return 0;
	qsort(s->ns, s->count, sizeof(*s->ns), compare_ns);
	return s->ns[(uint32_t)(share * (s->count - 1))] / 1000.0;
}

static void samples_report(struct samples *s, uint64_t took_ns, struct disk_reads *out)
{
	out->count = s->seen;
	out->per_s = (double)s->seen * 1e9 / (double)took_ns;
	out->p50_us = samples_us(s, 0.5);
	out->p99_us = samples_us(s, 0.99);
	out->mean_us = s->added ? s->sum_ns / (double)s->added / 1000.0 : 0;
}

/* ---- Writing ---- */

static int write_all(int fd, const char *from, size_t bytes, uint64_t offset)
{
	while (bytes > 0) {
		ssize_t put = pwrite(fd, from, bytes, (off_t)offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		from += put;
		bytes -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

static int fill(struct disk *disk, char *chunk)
{
	uint64_t start = clock_ns();
	for (uint64_t at = 0; at < disk->bytes; at += WRITE_BYTES) {
		/* New bytes for every page, so that nothing below can compress or fold them. */
		for (size_t i = 0; i < WRITE_BYTES; i += 64) {
			uint64_t x = random_next(&disk->random);
			memcpy(chunk + i, &x, sizeof(x));
		}
		int rc = write_all(disk->fd, chunk, WRITE_BYTES, at);
		if (rc)
			return rc;
	}
	if (fdatasync(disk->fd))
		return -errno;
	disk->write_bytes_per_s = (double)disk->bytes * 1e9 / (double)(clock_ns() - start);
	return 0;
}

static int append_and_sync(struct disk *disk, const char *chunk)
{
	struct samples samples;
	int rc = samples_open(&samples);
	for (unsigned i = 0; rc == 0 && i < SYNCS; i++) {
		uint64_t start = clock_ns();
		rc = write_all(disk->fd, chunk, DISK_READ_BYTES, disk->bytes + i * DISK_READ_BYTES);
		if (rc == 0 && fdatasync(disk->fd))
			rc = -errno;
		samples_add(&samples, clock_ns() - start);
	}
	if (rc == 0) {
		disk->sync_p50_us = samples_us(&samples, 0.5);
		disk->sync_p99_us = samples_us(&samples, 0.99);
	}
	free(samples.ns);
	return rc;
}

int disk_open(const char *dir, uint64_t bytes, struct disk *disk)
{
	char path[4096];
	memset(disk, 0, sizeof(*disk));
	disk->fd = -1;
	disk->bytes = bytes & ~(uint64_t)(WRITE_BYTES - 1);
	disk->random = 1;
	int n = snprintf(path, sizeof(path), "%s/disk-XXXXXX", dir);
	if (disk->bytes == 0 || n < 0 || (size_t)n >= sizeof(path))
		return -EINVAL;
	disk->fd = mkostemp(path, O_CLOEXEC);
	if (disk->fd < 0)
		return -errno;
	unlink(path);
	int flags = fcntl(disk->fd, F_GETFL);
	disk->direct = fcntl(disk->fd, F_SETFL, flags | O_DIRECT) == 0;
	char *chunk = aligned_alloc(DISK_READ_BYTES, WRITE_BYTES);
	int rc = -ENOMEM;
	if (chunk) {
		for (size_t i = 0; i < WRITE_BYTES; i += 8) {
			uint64_t x = random_next(&disk->random);
			memcpy(chunk + i, &x, sizeof(x));
		}
		rc = fill(disk, chunk);
		if (rc == 0)
			rc = append_and_sync(disk, chunk);
	}
	free(chunk);
	if (rc)
		disk_close(disk);
	return rc;
}

void disk_close(struct disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
}

/* ---- Reading ---- */

static int read_one(const struct disk *disk, char *to, uint64_t *random)
{
	ssize_t got = pread(disk->fd, to, DISK_READ_BYTES, random_place(disk, random));
	return got == DISK_READ_BYTES ? 0 : got < 0 ? -errno : -EIO;
}

static int reads_single(struct disk *disk, char *to, uint64_t until, struct samples *samples)
{
	uint64_t start = clock_ns(), now = start;
	while (now < until) {
		int rc = read_one(disk, to, &disk->random);
		if (rc)
			return rc;
		now = clock_ns();
		samples_add(samples, now - start);
		start = now;
	}
	return 0;
}

struct reader {
	pthread_t thread;
	struct disk *disk;
	char *to;
	uint64_t until, random;
	uint64_t count;
	uint32_t *ns; /* SAMPLES_MAX / DISK_DEPTH_MAX of them */
	int rc;
};

static void *reader_main(void *argument)
{
	struct reader *r = argument;
	uint64_t start = clock_ns();
	while (r->rc == 0 && start < r->until) {
		r->rc = read_one(r->disk, r->to, &r->random);
		uint64_t now = clock_ns();
		if (r->count < SAMPLES_MAX / DISK_DEPTH_MAX)
			r->ns[r->count] = (uint32_t)(now - start);
		r->count++;
		start = now;
	}
	return NULL;
}

static int reads_threads(struct disk *disk, char *to, unsigned depth, uint64_t until,
			 struct samples *samples)
{
	enum { KEPT = SAMPLES_MAX / DISK_DEPTH_MAX };
	struct reader *readers = calloc(depth, sizeof(*readers));
	uint32_t *ns = malloc((size_t)depth * KEPT * sizeof(*ns));
	unsigned started = 0;
	int rc = readers && ns ? 0 : -ENOMEM;
	while (rc == 0 && started < depth) {
		struct reader *r = &readers[started];
		*r = (struct reader){.disk = disk,
				     .to = to + (size_t)started * DISK_READ_BYTES,
				     .until = until,
				     .random = random_next(&disk->random),
				     .ns = ns + (size_t)started * KEPT};
		rc = -pthread_create(&r->thread, NULL, reader_main, r);
		started += rc == 0;
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(readers[i].thread, NULL);
		rc = rc ? rc : readers[i].rc;
		uint64_t unkept = readers[i].count;
		for (unsigned k = 0; k < KEPT && k < readers[i].count; k++, unkept--)
			samples_add(samples, ns[(size_t)i * KEPT + k]);
		samples->seen += unkept;
	}
	free(ns);
	free(readers);
	return rc;
}

static void send_read(struct io_uring *ring, struct disk *disk, char *to, unsigned slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	io_uring_prep_read_fixed(sqe, disk->fd, to + (size_t)slot * DISK_READ_BYTES,
				 DISK_READ_BYTES, (uint64_t)random_place(disk, &disk->random), 0);
	io_uring_sqe_set_data64(sqe, slot);
}

static int reads_ring(struct disk *disk, struct io_uring *ring, char *to, unsigned depth,
		      uint64_t until, struct samples *samples)
{
	uint64_t sent[DISK_DEPTH_MAX];
	unsigned under_way = 0;
	int rc = 0;
	uint64_t now = clock_ns();
	for (; under_way < depth; under_way++) {
		sent[under_way] = now;
		send_read(ring, disk, to, under_way);
	}
	while (under_way > 0) {
		int submitted = io_uring_submit_and_wait(ring, 1);
		if (submitted < 0 && submitted != -EINTR)
			return submitted;
		struct io_uring_cqe *cqe;
		now = clock_ns();
		while (io_uring_peek_cqe(ring, &cqe) == 0) {
			unsigned slot = (unsigned)io_uring_cqe_get_data64(cqe);
			if (cqe->res != (int)DISK_READ_BYTES && rc == 0)
				rc = cqe->res < 0 ? cqe->res : -EIO;
			io_uring_cqe_seen(ring, cqe);
			samples_add(samples, now - sent[slot]);
			under_way--;
			if (now < until && rc == 0) {
				sent[slot] = now;
				send_read(ring, disk, to, slot);
				under_way++;
			}
		}
	}
	return rc;
}

static int reads_deep(struct disk *disk, char *to, unsigned depth, uint64_t until,
		      struct samples *samples)
{
	struct io_uring ring;
	disk->uring = io_uring_queue_init(depth, &ring, 0) == 0;
	if (!disk->uring)
		return reads_threads(disk, to, depth, until, samples);
	struct iovec buffers = {to, (size_t)depth * DISK_READ_BYTES};
	int rc = io_uring_register_buffers(&ring, &buffers, 1);
	if (rc == 0)
		rc = reads_ring(disk, &ring, to, depth, until, samples);
	io_uring_queue_exit(&ring);
	return rc;
}

int disk_reads(struct disk *disk, unsigned depth, double seconds, struct disk_reads *out)
{
	if (depth == 0 || depth > DISK_DEPTH_MAX || seconds <= 0)
		return -EINVAL;
	struct samples samples;
	char *to = aligned_alloc(DISK_READ_BYTES, (size_t)depth * DISK_READ_BYTES);
	int rc = samples_open(&samples);
	if (!to && rc == 0)
		rc = -ENOMEM;
	if (rc == 0) {
		uint64_t start = clock_ns();
		uint64_t until = start + (uint64_t)(seconds * 1e9);
		rc = depth == 1 ? reads_single(disk, to, until, &samples)
				: reads_deep(disk, to, depth, until, &samples);
		samples_report(&samples, clock_ns() - start, out);
	}
	free(samples.ns);
	free(to);
	return rc;
}
