/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_NS UINT64_C(100000000)
#define PLAIN_NS UINT64_C(5000000000)
#define JSON_NS UINT64_C(1000000000)

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t progress_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t interval_ns(const struct progress *progress)
{
	if (progress->mode == PROGRESS_JSON)
		return JSON_NS;
	return progress->terminal ? REDRAW_NS : PLAIN_NS;
}

int progress_parse(const char *text, enum progress_mode *mode)
{
	static const char *const names[] = {"auto", "json", "none"};
	for (int i = 0; i < 3; i++)
		if (!strcmp(text, names[i])) {
			*mode = (enum progress_mode)i;
			return 0;
		}
	return -EINVAL;
}

void progress_open(struct progress *progress, enum progress_mode mode)
{
	*progress = (struct progress){.mode = mode, .terminal = isatty(STDERR_FILENO)};
	progress->started_ns = progress_now_ns();
	progress->due_ns = progress->started_ns + interval_ns(progress);
}

bool progress_due(const struct progress *progress)
{
	return progress->mode != PROGRESS_NONE &&
	       clock_ns(CLOCK_MONOTONIC_COARSE) >= progress->due_ns;
}

static unsigned terminal_columns(void)
{
	struct winsize size;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col)
		return 80;
	return size.ws_col;
}

/* "[####......]  41 %  " or, when how much there is to do is not known, the time that has passed.
 */
static int draw_bar(char *line, size_t capacity, double done, double seconds)
{
	if (done < 0)
		return snprintf(line, capacity, "%6.1f s  ", seconds);
	if (done > 1)
		done = 1;
	char bar[21];
	int full = (int)(done * 20);
	memset(bar, '.', 20);
	memset(bar, '#', (size_t)full);
	bar[20] = 0;
	double left = done > 0.02 ? seconds / done - seconds : -1;
	if (left >= 0)
		return snprintf(line, capacity, "[%s] %3.0f %%  %3.0f s left  ", bar, done * 100,
				left);
	return snprintf(line, capacity, "[%s] %3.0f %%              ", bar, done * 100);
}

void progress_draw(struct progress *progress, double done, const char *text, const char *json)
{
	uint64_t now = progress_now_ns();
	double seconds = (double)(now - progress->started_ns) / 1e9;
	progress->due_ns = now + interval_ns(progress);
	if (progress->mode == PROGRESS_NONE)
		return;
	if (progress->mode == PROGRESS_JSON) {
		fprintf(stderr, "{\"seconds\":%.3f,\"done\":%.4f%s%s}\n", seconds,
			done < 0 ? 0.0 : done, *json ? "," : "", json);
		return;
	}
	char line[512];
	int len = draw_bar(line, sizeof(line), done, seconds);
	len += snprintf(line + len, sizeof(line) - (size_t)len, "%s", text);
	if (!progress->terminal) {
		fprintf(stderr, "%s\n", line);
		return;
	}
	unsigned columns = terminal_columns() - 1;
	unsigned drawn = (unsigned)len < columns ? (unsigned)len : columns;
	unsigned blank = progress->drawn > drawn ? progress->drawn - drawn : 0;
	fprintf(stderr, "\r%.*s%*s", (int)drawn, line, (int)blank, "");
	fflush(stderr);
	progress->drawn = drawn;
}

void progress_close(struct progress *progress)
{
	if (progress->terminal && progress->drawn)
		fprintf(stderr, "\r%*s\r", (int)progress->drawn, "");
	progress->drawn = 0;
	fflush(stderr);
}
