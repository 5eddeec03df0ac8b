/* SPDX-License-Identifier: Apache-2.0 */
/* The file layer: rights, links, short and interrupted transfers, syncs that fail, and the tests'
 * own fault filling with its record and replay, on which the crash tests stand. */
#include "tests/cold/fault_file.h"
#include "tests/cold/scratch.h"
#include "tests/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct scratch scratch;
static struct fault_file *fault;
static struct file dir; /* over the fault filling */

static void begin(void)
{
	scratch_open(&scratch);
	fault = fault_file_open(&file_ops_posix);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
	CU_ASSERT_EQUAL_FATAL(file_open_dir(fault_file_ops(fault), scratch.path, &dir), 0);
}

static void end(void)
{
	file_close(&dir);
	fault_file_close(fault);
	scratch_close(&scratch);
}

static void set(enum fault_kind kind, uint64_t nth, enum fault_action action, int error,
		bool sticky)
{
	fault_set(fault, &(struct fault_rule){.kind = kind,
					      .nth = nth,
					      .action = action,
					      .error = error,
					      .sticky = sticky});
}

static mode_t mode_of(const char *name)
{
	char path[512];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", scratch.path, name);
	return stat(path, &st) ? 0 : st.st_mode & 07777;
}

static void make_dir_new_is_private(void)
{
	begin();
	char path[512];
	mode_t mask = umask(0);
	snprintf(path, sizeof(path), "%s/sub//", scratch.path);
	CU_ASSERT_EQUAL(file_make_dir(fault_file_ops(fault), path), 0);
	umask(mask);
	CU_ASSERT_EQUAL(mode_of("sub"), 0700);
	CU_ASSERT_EQUAL(fault_count(fault, FAULT_SYNC), 1);
	CU_ASSERT_EQUAL(file_make_dir(fault_file_ops(fault), path), -EEXIST);
	CU_ASSERT_EQUAL(file_make_dir(fault_file_ops(fault), "/"), -EEXIST);
	CU_ASSERT_EQUAL(file_make_dir(fault_file_ops(fault), ""), -ENOENT);
	snprintf(path, sizeof(path), "%s/none/sub", scratch.path);
	CU_ASSERT_EQUAL(file_make_dir(fault_file_ops(fault), path), -ENOENT);
	rmdir(strcat(strcpy(path, scratch.path), "/sub"));
	end();
}

static void open_new_is_private_and_closed_on_exec(void)
{
	begin();
	struct file file;
	mode_t mask = umask(0);
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE, &file), 0);
	umask(mask);
	CU_ASSERT_EQUAL(mode_of("a"), 0600);
	CU_ASSERT_EQUAL(fcntl(file.fd, F_GETFD), FD_CLOEXEC);
	CU_ASSERT_EQUAL(fcntl(dir.fd, F_GETFD), FD_CLOEXEC);
	file_close(&file);
	file_close(&file);
	CU_ASSERT_EQUAL(file.fd, -1);
	CU_ASSERT_EQUAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE, &file), -EEXIST);
	CU_ASSERT_EQUAL(file_open(&dir, "b", FILE_WRITE, &file), -ENOENT);
	CU_ASSERT_EQUAL(file.fd, -1);
	CU_ASSERT_EQUAL(file_open(&dir, "a", FILE_WRITE | FILE_EXISTING_OR_NEW, &file), 0);
	file_close(&file);
	end();
}

static void open_symbolic_link_refused(void)
{
	begin();
	struct file file;
	char path[512], link[512];
	snprintf(link, sizeof(link), "%s/link", scratch.path);
	CU_ASSERT_EQUAL_FATAL(symlink("target", link), 0);
	CU_ASSERT_EQUAL(file_open(&dir, "link", FILE_WRITE | FILE_EXISTING_OR_NEW, &file), -ELOOP);
	unlink(link);
	snprintf(path, sizeof(path), "%s/..", scratch.path);
	CU_ASSERT_EQUAL_FATAL(symlink(path, link), 0);
	CU_ASSERT_EQUAL(file_open_dir(&file_ops_posix, link, &file), -ENOTDIR);
	CU_ASSERT_EQUAL(file.fd, -1);
	end();
}

static void open_long_path_keeps_tail_of_name(void)
{
	struct file file;
	char path[300];
	memset(path, 'x', sizeof(path));
	strcpy(path + 200, "/the-end");
	CU_ASSERT_EQUAL(file_open_dir(&file_ops_posix, path, &file), -ENOENT);
	CU_ASSERT_EQUAL(strlen(file.name), sizeof(file.name) - 1);
	CU_ASSERT_STRING_EQUAL(file.name + strlen(file.name) - 8, "/the-end");
}

/* Writes three pieces under a fault and reads them back under another. */
static void transfer(enum fault_action action)
{
	begin();
	struct file file;
	char out[3000], in[3000];
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 + i / 251);
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE, &file), 0);
	struct iovec pieces[] = {{out, 10}, {out + 10, 0}, {out + 10, 1990}, {out + 2000, 1000}};
	set(FAULT_WRITE, 1, action, 0, true);
	CU_ASSERT_EQUAL(file_write_pieces(&file, pieces, 4, 5), 0);
	CU_ASSERT(fault_hits(fault) > 0);
	CU_ASSERT(fault_count(fault, FAULT_WRITE) > 1);
	set(FAULT_READ, 1, action, 0, true);
	memset(in, 0, sizeof(in));
	CU_ASSERT_EQUAL(file_read(&file, in, sizeof(in), 5), 0);
	CU_ASSERT(fault_hits(fault) > 0);
	CU_ASSERT(!memcmp(in, out, sizeof(in)));
	file_close(&file);
	end();
}

static void transfer_short_completes(void)
{
	transfer(FAULT_SHORT);
}

static void transfer_interrupted_retries(void)
{
	transfer(FAULT_INTERRUPT);
}

static void write_no_space_reported(void)
{
	begin();
	struct file file;
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE, &file), 0);
	set(FAULT_WRITE, 1, FAULT_ERROR, ENOSPC, false);
	CU_ASSERT_EQUAL(file_write(&file, "abc", 3, 0), -ENOSPC);
	CU_ASSERT_EQUAL(file_write(&file, "abc", 3, 0), 0); /* not final */
	file_close(&file);
	end();
}

static void read_past_end_eio(void)
{
	begin();
	struct file file;
	char in[8];
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE, &file), 0);
	CU_ASSERT_EQUAL(file_write(&file, "abcd", 4, 0), 0);
	CU_ASSERT_EQUAL(file_read(&file, in, 4, 0), 0);
	CU_ASSERT_EQUAL(file_read(&file, in, 5, 0), -EIO);
	CU_ASSERT_EQUAL(file_read(&file, in, 1, 100), -EIO);
	CU_ASSERT_EQUAL(file_read(&file, in, 0, 100), 0);
	file_close(&file);
	end();
}

static void sync_failed_is_final(void)
{
	begin();
	struct file file, other;
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE, &file), 0);
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "b", FILE_WRITE | FILE_CREATE, &other), 0);
	CU_ASSERT_EQUAL(file_write(&file, "abcd", 4, 0), 0);
	set(FAULT_DATASYNC, 1, FAULT_ERROR, EIO, false);
	CU_ASSERT_EQUAL(file_sync_data(&file), -EIO);
	fault_clear(fault);
	uint64_t syncs = fault_count(fault, FAULT_DATASYNC);
	CU_ASSERT_EQUAL(file_sync_data(&file), -EIO);
	CU_ASSERT_EQUAL(file_sync(&file), -EIO);
	CU_ASSERT_EQUAL(file_write(&file, "abcd", 4, 0), -EIO);
	CU_ASSERT_EQUAL(fault_count(fault, FAULT_DATASYNC), syncs); /* not asked again */
	CU_ASSERT_EQUAL(file_sync_data(&other), 0);
	set(FAULT_DATASYNC, 1, FAULT_INTERRUPT, 0, false);
	CU_ASSERT_EQUAL(file_sync_data(&other), 0);
	CU_ASSERT_EQUAL(fault_hits(fault), 1);
	set(FAULT_SYNC, 1, FAULT_ERROR, ENOSPC, false);
	CU_ASSERT_EQUAL(file_sync(&dir), -ENOSPC);
	CU_ASSERT_EQUAL(file_sync(&dir), -ENOSPC);
	file_close(&file);
	file_close(&other);
	end();
}

static void lock_held_busy(void)
{
	begin();
	struct file first, second;
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "lock", FILE_WRITE | FILE_CREATE, &first), 0);
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "lock", FILE_WRITE, &second), 0);
	CU_ASSERT_EQUAL(file_lock(&first), 0);
	CU_ASSERT_EQUAL(file_lock(&second), -EBUSY);
	file_close(&first);
	CU_ASSERT_EQUAL(file_lock(&second), 0);
	file_close(&second);
	end();
}

static int count_names(void *context, const char *name)
{
	unsigned *n = context;
	(void)name;
	++*n;
	return 0;
}

static int unlink_name(void *context, const char *name)
{
	(void)context;
	return file_unlink(&dir, name);
}

static int stop_at_first(void *context, const char *name)
{
	(void)context;
	(void)name;
	return 7;
}

static void list_visit_may_unlink(void)
{
	begin();
	struct file file;
	char name[16];
	unsigned n = 0;
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CU_ASSERT_EQUAL_FATAL(file_open(&dir, name, FILE_WRITE | FILE_CREATE, &file), 0);
		file_close(&file);
	}
	CU_ASSERT_EQUAL(file_list(&dir, count_names, &n), 0);
	CU_ASSERT_EQUAL(n, 500);
	CU_ASSERT_EQUAL(file_list(&dir, stop_at_first, NULL), 7);
	CU_ASSERT_EQUAL(file_list(&dir, unlink_name, NULL), 0);
	n = 0;
	CU_ASSERT_EQUAL(file_list(&dir, count_names, &n), 0);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(file_unlink(&dir, "f1"), -ENOENT);
	set(FAULT_LIST, 1, FAULT_ERROR, EACCES, false);
	CU_ASSERT_EQUAL(file_list(&dir, count_names, &n), -EACCES);
	end();
}

static void allocate_truncate_rename_change_what_they_say(void)
{
	begin();
	struct file file;
	struct file_stat stat;
	struct file_space space;
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE, &file), 0);
	int rc = file_allocate(&file, 0, 100000);
	CU_ASSERT(rc == 0 || rc == -EOPNOTSUPP);
	if (rc == 0) {
		CU_ASSERT_EQUAL(file_stat(&file, &stat), 0);
		CU_ASSERT_EQUAL(stat.bytes, 100000);
		CU_ASSERT(stat.allocated >= 100000);
		CU_ASSERT(!stat.directory);
	}
	CU_ASSERT_EQUAL(file_truncate(&file, 5000), 0);
	CU_ASSERT_EQUAL(file_stat(&file, &stat), 0);
	CU_ASSERT_EQUAL(stat.bytes, 5000);
	CU_ASSERT_EQUAL(file_stat(&dir, &stat), 0);
	CU_ASSERT(stat.directory);
	CU_ASSERT_EQUAL(file_rename(&dir, "a", "b"), 0);
	CU_ASSERT_EQUAL(mode_of("a"), 0);
	CU_ASSERT_EQUAL(mode_of("b"), 0600);
	CU_ASSERT_EQUAL(file_rename(&dir, "a", "b"), -ENOENT);
	CU_ASSERT_EQUAL(file_space(&dir, &space), 0);
	CU_ASSERT(space.free_bytes > 0 && space.free_bytes <= space.total_bytes);
	file_close(&file);
	end();
}

/* A file system that makes the file and then refuses O_DIRECT. */
static int open_no_direct(const struct file_ops *ops, int dir_fd, const char *name, int flags,
			  mode_t mode)
{
	int fd = file_ops_posix.open(ops, dir_fd, name, flags & ~O_DIRECT, mode);
	if (fd < 0 || !(flags & O_DIRECT))
		return fd;
	close(fd);
	return -EINVAL;
}

/* One that takes O_DIRECT at open and says in statx that it cannot. */
static int stat_no_direct(const struct file_ops *ops, int fd, struct file_stat *stat)
{
	int rc = file_ops_posix.stat(ops, fd, stat);
	stat->direct_align = 0;
	return rc;
}

static void direct_refused(struct file_ops *ops)
{
	struct file file, at;
	scratch_open(&scratch);
	CU_ASSERT_EQUAL_FATAL(file_open_dir(ops, scratch.path, &at), 0);
	unsigned flags = FILE_WRITE | FILE_CREATE | FILE_DIRECT;
	CU_ASSERT_EQUAL_FATAL(file_open(&at, "a", flags, &file), 0);
	CU_ASSERT(!file.direct && file.direct_refused);
	CU_ASSERT_EQUAL(file.align, 1);
	CU_ASSERT_EQUAL(fcntl(file.fd, F_GETFL) & O_DIRECT, 0);
	CU_ASSERT_EQUAL(file_write(&file, "abc", 3, 1), 0);
	file_close(&file);
	CU_ASSERT_EQUAL(file_open(&at, "a", flags, &file), -EEXIST);
	CU_ASSERT_EQUAL(file_open(&at, "a", FILE_DIRECT, &file), 0);
	CU_ASSERT(file.direct_refused);
	file_close(&file);
	CU_ASSERT_EQUAL(file_open(&at, "b", FILE_DIRECT, &file), -ENOENT);
	CU_ASSERT(!file.direct_refused);
	file_close(&at);
	scratch_close(&scratch);
}

static void open_direct_refused_at_open_buffered(void)
{
	struct file_ops ops = file_ops_posix;
	ops.open = open_no_direct;
	direct_refused(&ops);
}

static void open_direct_refused_by_stat_buffered(void)
{
	struct file_ops ops = file_ops_posix;
	ops.stat = stat_no_direct;
	direct_refused(&ops);
}

static void open_direct_stat_fails_closed(void)
{
	begin();
	struct file file;
	set(FAULT_STAT, 1, FAULT_ERROR, EIO, false);
	CU_ASSERT_EQUAL(file_open(&dir, "a", FILE_WRITE | FILE_CREATE | FILE_DIRECT, &file), -EIO);
	CU_ASSERT_EQUAL(file.fd, -1);
	end();
}

/* ---- The fault filling ---- */

/* What every durable replacement does: new file, write, sync, rename, sync the directory. */
static int replace(const char *text)
{
	struct file file;
	int rc = file_open(&dir, "new", FILE_WRITE | FILE_CREATE, &file);
	if (rc == 0) {
		rc = file_write(&file, text, strlen(text), 0);
		if (rc == 0)
			rc = file_sync_data(&file);
		file_close(&file);
	}
	if (rc == 0)
		rc = file_rename(&dir, "new", "current");
	return rc ? rc : file_sync(&dir);
}

static void content(const char *path, char *text, size_t room)
{
	char name[512];
	snprintf(name, sizeof(name), "%s/current", path);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, text, room - 1);
	text[got < 0 ? 0 : got] = 0;
	if (fd < 0)
		strcpy(text, "none");
	else
		close(fd);
}

static void replay_of_replacement_is_old_or_new(void)
{
	static const enum fault_loss losses[] = {FAULT_LOSE_NOTHING, FAULT_LOSE_UNSYNCED,
						 FAULT_LOSE_SOME};
	uint64_t seed = suite_seed();
	begin();
	fault_record(fault);
	CU_ASSERT_EQUAL_FATAL(replace("old"), 0);
	const struct fault_event *events;
	size_t first = fault_events(fault, &events);
	CU_ASSERT_EQUAL(first, 5);
	CU_ASSERT_EQUAL_FATAL(replace("new!"), 0);
	size_t last = fault_events(fault, &events);
	CU_ASSERT_EQUAL(last, 10);
	unsigned old = 0, new = 0;
	for (size_t n = first; n <= last; n++)
		for (unsigned i = 0; i < 12; i++) {
			struct scratch after;
			char text[32];
			scratch_open(&after);
			CU_ASSERT_EQUAL(fault_replay(fault, n, losses[i % 3], seed + i, after.path),
					0);
			content(after.path, text, sizeof(text));
			scratch_close(&after);
			old += !strcmp(text, "old");
			new += !strcmp(text, "new!");
			if (n == last)
				CU_ASSERT_STRING_EQUAL(text, "new!");
		}
	CU_ASSERT_EQUAL(old + new, 12 * (last - first + 1));
	CU_ASSERT(old > 0);
	end();
}

static void replay_without_sync_shows_the_bug(void)
{
	begin();
	struct file file;
	bool lost = false;
	fault_record(fault);
	CU_ASSERT_EQUAL_FATAL(file_open(&dir, "current", FILE_WRITE | FILE_CREATE, &file), 0);
	CU_ASSERT_EQUAL(file_write(&file, "text", 4, 0), 0);
	CU_ASSERT_EQUAL(file_sync(&dir), 0); /* the name, but not the bytes */
	for (uint64_t seed = 0; seed < 32; seed++) {
		struct scratch after;
		char text[32];
		scratch_open(&after);
		CU_ASSERT_EQUAL(fault_replay(fault, 9, FAULT_LOSE_SOME, seed, after.path), 0);
		content(after.path, text, sizeof(text));
		CU_ASSERT(!strcmp(text, "") || !strcmp(text, "text"));
		lost |= !strcmp(text, "");
		scratch_close(&after);
	}
	CU_ASSERT(lost);
	file_close(&file);
	end();
}

static void stop_at_every_operation_leaves_old_or_new(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(replace("old"), 0);
	uint64_t n = 0;
	for (;;) {
		char text[32];
		set(FAULT_ANY, ++n, FAULT_STOP, 0, false);
		int rc = replace("new!");
		uint64_t hits = fault_hits(fault);
		content(scratch.path, text, sizeof(text));
		fault_clear(fault);
		if (hits == 0) {
			CU_ASSERT_EQUAL(rc, 0);
			CU_ASSERT_STRING_EQUAL(text, "new!");
			break;
		}
		CU_ASSERT_EQUAL(rc, -EIO);
		CU_ASSERT(!strcmp(text, "old") || !strcmp(text, "new!"));
		file_unlink(&dir, "new");
		CU_ASSERT_FATAL(n < 100);
		/* The directory's handle has failed for good if its sync was the one: reopen. */
		file_close(&dir);
		CU_ASSERT_EQUAL_FATAL(file_open_dir(fault_file_ops(fault), scratch.path, &dir), 0);
	}
	CU_ASSERT_EQUAL(n, 6); /* open, write, sync, rename, sync: five places to stop */
	end();
}

int main(void)
{
	static const struct suite_case cases[] = {
		SUITE_CASE(make_dir_new_is_private),
		SUITE_CASE(open_new_is_private_and_closed_on_exec),
		SUITE_CASE(open_symbolic_link_refused),
		SUITE_CASE(open_long_path_keeps_tail_of_name),
		SUITE_CASE(transfer_short_completes),
		SUITE_CASE(transfer_interrupted_retries),
		SUITE_CASE(write_no_space_reported),
		SUITE_CASE(read_past_end_eio),
		SUITE_CASE(sync_failed_is_final),
		SUITE_CASE(lock_held_busy),
		SUITE_CASE(list_visit_may_unlink),
		SUITE_CASE(allocate_truncate_rename_change_what_they_say),
		SUITE_CASE(open_direct_refused_at_open_buffered),
		SUITE_CASE(open_direct_refused_by_stat_buffered),
		SUITE_CASE(open_direct_stat_fails_closed),
		SUITE_CASE(replay_of_replacement_is_old_or_new),
		SUITE_CASE(replay_without_sync_shows_the_bug),
		SUITE_CASE(stop_at_every_operation_leaves_old_or_new),
	};
	return suite_run("file", NULL, NULL, cases, SUITE_COUNT(cases));
}
