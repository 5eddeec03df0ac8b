/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and device reads of the cold tier. Two layers:
 *
 *   file    every operation on a file or directory, through one table (struct file_ops): POSIX in
 *           production, a filling that injects faults and records the sequence in tests.
 *   queue   asynchronous reads of blocks, many at a time: io_uring, or a pool of threads that
 *           call pread where io_uring is refused.
 *
 * Names are relative to an open directory; nothing follows a symbolic link in its last step; files
 * are 0600, directories 0700, descriptors close on exec. EINTR and short transfers never get out.
 * A failed sync is final: the handle remembers it and every later write or sync on it answers the
 * same error (the kernel may have dropped the dirty pages, so a second, successful sync would lie).
 *
 * Life of a read:  io_read_prepare -> waiting (no slot or buffer yet) -> on the device -> finished
 * -> given out by io_queue_wait -> io_read_release. io_read_cancel takes it out of any of these.
 */
#ifndef TIERS_COLD_IO_H
#define TIERS_COLD_IO_H

#include "include/thermocline.h"

#include <stdatomic.h>
#include <sys/types.h>
#include <sys/uio.h>

struct budget;
struct heap;

/* ---- Files -------------------------------------------------------------------------------------
 */

#define FILE_ALIGN                                                                                 \
	4096u /* offset, length and address for FILE_DIRECT writes; enough for every device */

struct file_stat {
	uint64_t bytes;        /* length */
	uint64_t allocated;    /* bytes taken on the device */
	uint32_t direct_align; /* of offsets and lengths past the page cache; 0 = cannot be */
	bool directory;
};

struct file_space {
	uint64_t free_bytes; /* that we may still take */
	uint64_t total_bytes;
};

/* One name in a directory, "." and ".." left out. Non-zero stops the listing and is its answer. */
typedef int (*file_list_fn)(void *context, const char *name);

/* The system calls, one slot each, every slot filled; answers are as the system call's, with -errno
 * for errors: short transfers and -EINTR may come out, the functions below deal with them. A
 * filling with state embeds this struct first. Any thread may call any slot. */
struct file_ops {
	const char *name;
	unsigned read_threads; /* that are of use to a pool of readers; 0 = as many as a device likes */
	int (*open)(const struct file_ops *ops, int dir_fd, const char *name, int flags,
		    mode_t mode);
	int (*close)(const struct file_ops *ops, int fd);
	ssize_t (*pread)(const struct file_ops *ops, int fd, void *to, size_t bytes,
			 uint64_t offset);
	ssize_t (*pwritev)(const struct file_ops *ops, int fd, const struct iovec *pieces, int n,
			   uint64_t offset);
	int (*datasync)(const struct file_ops *ops, int fd);
	int (*sync)(const struct file_ops *ops, int fd); /* directories too */
	int (*rename)(const struct file_ops *ops, int dir_fd, const char *from, const char *to);
	int (*unlink)(const struct file_ops *ops, int dir_fd, const char *name);
	int (*truncate)(const struct file_ops *ops, int fd, uint64_t bytes);
	int (*allocate)(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes);
	int (*punch)(const struct file_ops *ops, int fd, uint64_t offset, uint64_t bytes);
	int (*mkdir)(const struct file_ops *ops, int dir_fd, const char *name, mode_t mode);
	int (*list)(const struct file_ops *ops, int dir_fd, file_list_fn visit, void *context);
	int (*stat)(const struct file_ops *ops, int fd, struct file_stat *stat);
	int (*lock)(const struct file_ops *ops, int fd); /* exclusive, without waiting */
	int (*space)(const struct file_ops *ops, int fd, struct file_space *space);
	/* Sees (and may change) the outcome of a read that io_uring did, so without pread above:
	 * result is bytes or -errno, and so is the answer. */
	ssize_t (*read_done)(const struct file_ops *ops, int fd, void *to, ssize_t result,
			     uint64_t offset);
};

extern const struct file_ops file_ops_posix;

enum file_flag {
	FILE_WRITE = 1,           /* read and write; otherwise read only */
	FILE_CREATE = 2,          /* must not exist yet: -EEXIST */
	FILE_EXISTING_OR_NEW = 4, /* create if missing */
	FILE_DIRECT =
		8, /* past the page cache; buffered where the file system refuses: see direct */
};

/* A handle; the caller supplies the memory and does not copy it while open. fd is -1 when closed.
 */
struct file {
	const struct file_ops *ops; /* const while open */
	int fd;                     /* const while open */
	bool direct;                /* const while open: O_DIRECT is in force */
	bool direct_refused; /* const while open: FILE_DIRECT was asked for and is not in force */
	uint32_t align;      /* const while open: of direct offsets and lengths; 1 if buffered */
	_Atomic int failed;  /* 0, or the -errno of the sync that failed: final */
	char name[64];       /* const while open: for messages; a long path keeps its tail */
};

/* 0700. -EEXIST if the name is taken (by whatever). The parent is synced. */
int file_make_dir(const struct file_ops *ops, const char *path);
/* -ENOENT, -ENOTDIR (a symbolic link too), -EACCES, ... On errors *dir is closed. */
int file_open_dir(const struct file_ops *ops, const char *path, struct file *dir);
/* flags: enum file_flag. -ELOOP: a symbolic link. A new file's name is durable only after
 * file_sync(dir). */
int file_open(const struct file *dir, const char *name, unsigned flags, struct file *file);
/* Fine on a closed handle. Locks go with it. */
void file_close(struct file *file);

/* All of it or an error; -EIO where the file ends early. Any thread. file->direct: FILE_ALIGN. */
int file_read(const struct file *file, void *to, size_t bytes, uint64_t offset);
/* All of it or an error (-ENOSPC, -EIO, ...): then any part may have been written. */
int file_write(struct file *file, const void *from, size_t bytes, uint64_t offset);
/* The pieces one after the other, in as few system calls as possible (an append to a log). n <= 64.
 */
int file_write_pieces(struct file *file, const struct iovec *pieces, unsigned n, uint64_t offset);
/* Contents and length are durable (fdatasync). Failure is final. */
int file_sync_data(struct file *file);
/* Contents and all metadata; of a directory: its names. Failure is final. */
int file_sync(struct file *file);

int file_rename(const struct file *dir, const char *from, const char *to); /* replaces `to` */
int file_unlink(const struct file *dir, const char *name);
int file_truncate(struct file *file, uint64_t bytes);
/* Takes the blocks and extends the length. -ENOSPC; -EOPNOTSUPP where the file system cannot. */
int file_allocate(struct file *file, uint64_t offset, uint64_t bytes);
/* 0, what visit stopped with, or -errno. visit may unlink what it is shown. */
/* Gives the range's blocks back to the file system; it reads as zeroes, the length stays. The name is
 * opened for it: the handle may be read only. -EOPNOTSUPP where the file system cannot. */
int file_punch(const struct file *dir, const char *name, uint64_t offset, uint64_t bytes);
int file_list(const struct file *dir, file_list_fn visit, void *context);
int file_stat(const struct file *file, struct file_stat *stat);
/* -EBUSY: another process, or another handle of this one, holds it. Released by file_close. */
int file_lock(struct file *file);
int file_space(const struct file *file, struct file_space *space);

/* ---- Device reads -------------------------------------------------------------------------------
 */

#define IO_LENGTH_MAX                                                                              \
	((264u << 10) + 2 * FILE_ALIGN) /* bytes of one read, after rounding outwards */
#define IO_UNIT 4096u                   /* buffers are runs of these */
#define IO_BUFFER_MIN (512u << 10)      /* least buffer_bytes of a queue */
#define IO_DEPTH_MAX 1024u

struct io_engine;
struct io_queue;

struct io_options {
	const char *kind;      /* "auto", "uring", "pread" */
	unsigned threads;      /* of the pread pool, started when first needed; 0 = 32 */
	struct heap *heap;     /* bookkeeping */
	struct budget *budget; /* buffers and stacks are charged to it */
	void (*log)(void *context, const char *line); /* NULL, or where one-line notices go */
	void *log_context;
};

struct io_stats {
	uint64_t reads;      /* finished, failed ones included */
	uint64_t read_bytes; /* moved from the device */
	uint64_t errors;
	bool uring;    /* false: queues opened from now on use the pread pool */
	bool buffered; /* a file was read that refused O_DIRECT */
};

/* One read. The caller supplies the memory; in fields are not changed. */
struct io_read {
	/* in */
	const struct file *file; /* open until the read is given out or cancelled */
	uint64_t offset;         /* any: the queue rounds outwards to the file's alignment */
	uint32_t length;         /* bytes, 1 .. IO_LENGTH_MAX after rounding */
	void *user;              /* the caller's */
	/* out, from io_queue_wait until io_read_release */
	int status; /* 0, or -EIO (device error, or the file ends before the range) or -errno */
	char *data; /* length bytes, if status is 0; the caller may scribble there */
	/* private */
	struct io_read *next, *prev;
	uint32_t first, units;
	uint32_t op;
	uint32_t state;
};

/* Thread-safe. "auto": io_uring if the kernel lets us, else the pool and one line through log that
 * says why and what to do. -EINVAL (kind), -ENOMEM, for "uring" also -EPERM, -ENOSYS, ... */
int io_engine_open(const struct io_options *options, struct io_engine **engine,
		   struct thermo_error *error);
/* Queues must be closed. */
void io_engine_close(struct io_engine **engine);
void io_engine_stats(struct io_engine *engine, struct io_stats *stats); /* any thread */

/* A queue belongs to one thread at a time; it may be handed on, best with nothing under way.
 * depth: reads on the device at once, 1 .. IO_DEPTH_MAX. buffer_bytes (>= IO_BUFFER_MIN, rounded up
 * to IO_UNIT): all there is for reads on the device and reads not yet released. -ENOMEM, -EINVAL,
 * -EMFILE. */
int io_queue_open(struct io_engine *engine, unsigned depth, size_t buffer_bytes,
		  struct io_queue **queue);
/* Cancels what is under way and waits until the device has let go of the buffers. Reads that were
 * given out and not released lose their data. */
void io_queue_close(struct io_queue **queue);

/* Queues the read; it is the queue's until io_queue_wait gives it out or io_read_cancel. Never
 * fails: errors come out as its status. Nothing goes to the device yet. */
void io_read_prepare(struct io_queue *queue, struct io_read *read);
/* Sends what is prepared, as far as depth and buffers allow, in one system call; the rest goes out
 * in order as reads finish and are released. */
void io_queue_submit(struct io_queue *queue);
/* Gives out up to max finished reads (in any order), waiting up to timeout_ns (< 0: no limit) for
 * the first one. Submits what is prepared first, in the same system call: a caller who is going to
 * wait anyway need not call io_queue_submit. Their number; 0 on time-out or when nothing is under
 * way; -EDEADLK (not with timeout_ns = 0) when the buffers that are missing are held by reads that
 * the caller has not released; any other -errno: the ring is broken, cancel what is under way and
 * close. */
int io_queue_wait(struct io_queue *queue, struct io_read **done, unsigned max, int64_t timeout_ns);
/* Reads that are the queue's: waiting, on the device (cancelled ones too), or finished and not
 * given out. */
unsigned io_queue_pending(const struct io_queue *queue);
/* An eventfd that polls readable when io_queue_wait(timeout 0) would have something to give out;
 * sometimes a wait finds nothing. The wait clears it. It is the queue's. -errno. */
int io_queue_fd(struct io_queue *queue);

/* The buffer goes back. After this data is void and the struct may be used again. Any given-out
 * read. */
void io_read_release(struct io_queue *queue, struct io_read *read);
/* Takes a read that was prepared out of whatever state it is in, released reads excepted: the
 * struct is the caller's at once, its buffer follows when the device is done with it. The file may
 * be closed at once: the ring holds it by itself; a thread of the pool may then read from a
 * descriptor that is closed or another file's by now, and what it reads is thrown away. */
void io_read_cancel(struct io_queue *queue, struct io_read *read);
/* One synchronous read with the calling thread, for the lowest latency of a lone read: as prepare,
 * wait and given out. 0 (read->status says how it went) or -EAGAIN: no buffer free, nothing done.
 */
int io_read_now(struct io_queue *queue, struct io_read *read);

#endif
