/* SPDX-License-Identifier: Apache-2.0 */
/* What the peers' programs share: options, the talk with `thermo bench`, servers. */
#include "tools/peer.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench_proc.h"
#include "tools/bench_summary.h"
#include "tools/ticks.h"

static const struct option options[] = {
	{"keys", required_argument, NULL, 'k'},
	{"key-size", required_argument, NULL, 'K'},
	{"value-least", required_argument, NULL, 'v'},
	{"value-most", required_argument, NULL, 'V'},
	{"zipf", required_argument, NULL, 'z'},
	{"get-put", required_argument, NULL, 'g'},
	{"threads", required_argument, NULL, 't'},
	{"batch", required_argument, NULL, 'b'},
	{"ops", required_argument, NULL, 'o'},
	{"seed", required_argument, NULL, 's'},
	{"each", no_argument, NULL, 'e'},
	{"dir", required_argument, NULL, 'd'},
	{"cache", required_argument, NULL, 'c'},
	{"direct", no_argument, NULL, 'D'},
	{NULL, 0, NULL, 0},
};

static int take(int option, struct workload *work, struct peer_options *peer)
{
	uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
	switch (option) {
	case 'k':
		work->keys = number;
		break;
	case 'K':
		work->key_len = (uint32_t)number;
		break;
	case 'v':
		work->value_least = (uint32_t)number;
		break;
	case 'V':
		work->value_most = (uint32_t)number;
		break;
	case 'z':
		work->zipf = strtod(optarg, NULL);
		break;
	case 'g':
		work->get_percent = (uint32_t)number;
		break;
	case 't':
		work->threads = (uint32_t)number;
		break;
	case 'b':
		work->batch = (uint32_t)number;
		break;
	case 'o':
		work->ops = number;
		break;
	case 's':
		work->seed = number;
		break;
	case 'e':
		work->each = true;
		break;
	case 'd':
		peer->dir = optarg;
		break;
	case 'c':
		peer->cache_bytes = number;
		break;
	case 'D':
		peer->direct = true;
		break;
	default:
		return -EINVAL;
	}
	return 0;
}

/* `thermo bench` is the only caller: what is wrong here is its mistake, or a person's who typed. */
static int parse(int argc, char **argv, struct workload *work, struct peer_options *peer)
{
	int option, status = 0;
	while (!status && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		status = take(option, work, peer);
	bool sound = !status && work->keys && work->key_len &&
		     work->value_least <= work->value_most && work->value_most <= BENCH_VALUE_MAX &&
		     work->get_percent <= 100 && work->threads &&
		     work->threads <= BENCH_THREADS_MAX && work->batch &&
		     work->batch <= BENCH_BATCH_MAX && peer->dir && optind == argc;
	return sound ? 0 : -EINVAL;
}

/* One line of JSON to `thermo bench`; deletes it. */
static int say(cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);
	int status = !text || puts(text) == EOF || fflush(stdout) ? -EPIPE : 0;
	free(text);
	cJSON_Delete(json);
	return status;
}

static int say_failure(const char *reason)
{
	cJSON *json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "failure", reason);
	say(json);
	return EXIT_FAILURE;
}

static uint64_t resident(const struct bench_target *target)
{
	return proc_resident_bytes(0) +
	       (target->server_pid ? proc_resident_bytes(target->server_pid) : 0);
}

static uint64_t bytes_of(const struct peer *peer, struct bench_target *target, uint64_t before)
{
	uint64_t now = resident(target);
	if (peer->bytes)
		return peer->bytes(target);
	return now > before ? now - before : 0;
}

static int load(const struct peer *peer, struct bench_target *target, uint64_t before)
{
	char version[64] = "";
	uint64_t start = ticks_clock_ns();

	int status = bench_load(target, 0, target->work->keys);
	if (!status && peer->loaded)
		status = peer->loaded(target);
	if (status)
		return status;
	cJSON *json = cJSON_CreateObject();
	cJSON_AddNumberToObject(json, "load_seconds", (double)(ticks_clock_ns() - start) / 1e9);
	cJSON_AddNumberToObject(json, "bytes", (double)bytes_of(peer, target, before));
	if (peer->version)
		peer->version(target, version, sizeof(version));
	cJSON_AddStringToObject(json, "version", version);
	return say(json);
}

static int serve_rounds(const struct peer *peer, struct bench_target *target, uint64_t before)
{
	static struct bench_round round;
	struct round_summary summary;
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		int status = bench_run(target, strtod(line, NULL), &round);
		if (status)
			return status;
		round_summarise(&round, &summary);
		cJSON *json = round_to_json(&summary);
		cJSON_AddNumberToObject(json, "bytes", (double)bytes_of(peer, target, before));
		status = say(json);
		if (status)
			return status;
	}
	return 0;
}

int peer_main(const struct peer *peer, int argc, char **argv)
{
	struct workload work = {.batch = 1, .threads = 1, .get_percent = 100};
	struct peer_options given = {0};
	struct bench_target target = {.name = peer->name};
	struct stream stream;
	char reason[256] = "";

	signal(SIGPIPE, SIG_IGN);
	if (parse(argc, argv, &work, &given)) {
		fprintf(stderr, "thermo-peer-%s is run by thermo bench --peer %s\n", peer->name,
			peer->name);
		return 2;
	}
	int status = work_stream_open(&stream, &work);
	if (status)
		return say_failure(strerror(-status));
	status = peer->open(&target, &work, &given, reason, sizeof(reason));
	if (status)
		goto close_stream;
	status = bench_target_open(&target, &work, &stream);
	uint64_t before = resident(&target);
	if (!status)
		status = load(peer, &target, before);
	if (!status)
		status = serve_rounds(peer, &target, before);
	bench_target_close(&target);
	peer->close(&target);
close_stream:
	work_stream_close(&stream);
	if (!status)
		return EXIT_SUCCESS;
	return say_failure(*reason ? reason : strerror(-status));
}

/* ---- Servers
 * -------------------------------------------------------------------------------------- */

int peer_server_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 10};

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		int error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

int peer_server_start(char *const *argv, const char *path)
{
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		int null = open("/dev/null", O_RDWR);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || null < 0)
			_exit(126);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	for (unsigned tries = 0; tries < 1000; tries++) {
		int status, fd = peer_server_connect(path);
		if (fd >= 0) {
			close(fd);
			return pid;
		}
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -ECHILD;
		usleep(10000);
	}
	peer_server_stop(pid);
	return -ETIMEDOUT;
}

void peer_server_stop(int pid)
{
	kill(pid, SIGKILL); /* it keeps nothing */
	waitpid(pid, NULL, 0);
}
