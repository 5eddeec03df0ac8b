/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk can do, measured without any code of the cold tier: the physical limit that
 * benchmarks are held against. A scratch file of incompressible bytes, O_DIRECT, 4 KiB reads at
 * random places.
 *
 * Life-cycle: disk_open writes the file (and so measures sequential writing), disk_reads any number
 * of times, disk_close. Not thread-safe. Nothing of the file stays.
 */
#ifndef TOOLS_DISK_H
#define TOOLS_DISK_H

#include <stdbool.h>
#include <stdint.h>

#define DISK_READ_BYTES 4096u
#define DISK_DEPTH_MAX 256u

struct disk {
	int fd;
	uint64_t bytes;  /* of the file */
	bool direct;     /* false: O_DIRECT is refused, so these figures are the page cache's */
	bool uring;      /* false: deep reads use threads */
	uint64_t random; /* state of the generator of places */
	double write_bytes_per_s;        /* sequential, 1 MiB each, until synced */
	double sync_p50_us, sync_p99_us; /* of an append of 4 KiB and its fdatasync */
};

struct disk_reads {
	double per_s;
	double p50_us, p99_us, mean_us; /* of a read, from its submission to its completion seen */
	uint64_t count;
};

/* A file of `bytes` (at least 1 MiB) in dir, its name gone at once. -ENOSPC, -EACCES, ... */
int disk_open(const char *dir, uint64_t bytes, struct disk *disk);
/* depth 1: pread by this thread. More: io_uring with registered buffers, else one thread a read. */
int disk_reads(struct disk *disk, unsigned depth, double seconds, struct disk_reads *out);
void disk_close(struct disk *disk);

#endif
