/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *const known[] = {"rocksdb", "lmdb", "memcached", "redis"};

bool bench_peer_known(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i], name))
			return true;
	return false;
}

/* The peers' programs lie where THERMO_PEER_DIR says, beside `thermo` in the build folder, or where
 * they were installed. */
static int find_program(const char *name, char *path, size_t capacity)
{
	char self[512];
	const char *given = getenv("THERMO_PEER_DIR");
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = NULL;

	if (given && *given) {
		snprintf(path, capacity, "%s/thermo-peer-%s", given, name);
		return access(path, X_OK) ? -ENOENT : 0;
	}
	if (n > 0) {
		self[n] = 0;
		slash = strrchr(self, '/');
	}
	if (slash) {
		*slash = 0;
		snprintf(path, capacity, "%s/thermo-peer-%s", self, name);
		if (!access(path, X_OK))
			return 0;
	}
	snprintf(path, capacity, "%s/thermo-peer-%s", BENCH_PEER_DIR, name);
	return access(path, X_OK) ? -ENOENT : 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
	(void)stat;
	(void)type;
	(void)walk;
	return remove(path);
}

/* pipes[0]: what the child reads; pipes[1]: what it writes. */
static int spawn(struct bench_peer *peer, char *const *argv, int child_in, int child_out)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, child_in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, child_out, STDOUT_FILENO);
	pid_t pid;
	int error = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	peer->pid = error ? 0 : pid;
	return -error;
}

static int start(struct bench_peer *peer, char *const *argv)
{
	int down[2], up[2];

	if (pipe2(down, O_CLOEXEC))
		return -errno;
	if (pipe2(up, O_CLOEXEC)) {
		int error = errno;
		close(down[0]);
		close(down[1]);
		return -error;
	}
	int status = spawn(peer, argv, down[0], up[1]);
	close(down[0]);
	close(up[1]);
	peer->to = fdopen(down[1], "w");
	peer->from = fdopen(up[0], "r");
	if (!peer->to || !peer->from)
		return -ENOMEM;
	return status;
}

/* The next line of JSON, NULL if the peer has failed: then peer->failure says how. */
static cJSON *hear(struct bench_peer *peer)
{
	char *line = NULL;
	size_t capacity = 0;
	cJSON *json = NULL;

	if (getline(&line, &capacity, peer->from) > 0)
		json = cJSON_Parse(line);
	free(line);
	const cJSON *failure = cJSON_GetObjectItemCaseSensitive(json, "failure");
	if (json && !failure)
		return json;
	snprintf(peer->failure, sizeof(peer->failure), "%s",
		 cJSON_IsString(failure) ? failure->valuestring : "it ended without a word");
	cJSON_Delete(json);
	return NULL;
}

static void take_bytes(struct bench_peer *peer, const cJSON *json)
{
	const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(json, "bytes");
	if (cJSON_IsNumber(bytes) && bytes->valuedouble >= 0)
		peer->bytes = (uint64_t)bytes->valuedouble;
}

/* The option's value as text, in a row of buffers. */
struct words {
	char text[16][32];
	char *argv[40];
	unsigned texts, n;
};

static void add_number(struct words *words, const char *option, double value)
{
	char *text = words->text[words->texts++];
	snprintf(text, sizeof(words->text[0]), "%.17g", value);
	words->argv[words->n++] = (char *)(uintptr_t)option;
	words->argv[words->n++] = text;
}

static void make_words(struct words *words, char *program, char *dir, const struct workload *work,
		       const struct bench_peer_options *options)
{
	memset(words, 0, sizeof(*words));
	words->argv[words->n++] = program;
	add_number(words, "--keys", (double)work->keys);
	add_number(words, "--key-size", work->key_len);
	add_number(words, "--value-least", work->value_least);
	add_number(words, "--value-most", work->value_most);
	add_number(words, "--zipf", work->zipf);
	add_number(words, "--get-put", work->get_percent);
	add_number(words, "--threads", work->threads);
	add_number(words, "--batch", work->batch);
	add_number(words, "--ops", (double)work->ops);
	add_number(words, "--seed", (double)work->seed);
	add_number(words, "--cache", (double)options->cache_bytes);
	words->argv[words->n++] = "--dir";
	words->argv[words->n++] = dir;
	if (work->each)
		words->argv[words->n++] = "--each";
	if (options->direct)
		words->argv[words->n++] = "--direct";
}

static int make_dir(struct bench_peer *peer, const char *base)
{
	const char *temporary = getenv("TMPDIR");
	if (!base)
		base = temporary && *temporary ? temporary : "/tmp";
	int n = snprintf(peer->dir, sizeof(peer->dir), "%s/thermo-peer-XXXXXX", base);
	if (n < 0 || (size_t)n >= sizeof(peer->dir))
		return -ENAMETOOLONG;
	if (!mkdtemp(peer->dir)) {
		*peer->dir = 0;
		return -errno;
	}
	return 0;
}

int bench_peer_open(struct bench_peer *peer, const char *name, const struct workload *work,
		    const struct bench_peer_options *options)
{
	char program[600];
	struct words words;

	memset(peer, 0, sizeof(*peer));
	snprintf(peer->name, sizeof(peer->name), "%s", name);
	if (find_program(name, program, sizeof(program))) {
		snprintf(peer->failure, sizeof(peer->failure),
			 "thermo-peer-%s was not built: its development package was not there",
			 name);
		return -ENOENT;
	}
	int status = make_dir(peer, options->base_dir);
	if (status) {
		snprintf(peer->failure, sizeof(peer->failure), "no directory for it: %s",
			 strerror(-status));
		return status;
	}
	make_words(&words, program, peer->dir, work, options);
	status = start(peer, words.argv);
	cJSON *json = status ? NULL : hear(peer);
	if (!json) {
		if (status)
			snprintf(peer->failure, sizeof(peer->failure), "%s", strerror(-status));
		bench_peer_close(peer);
		return status ? status : -EIO;
	}
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(json, "version");
	const cJSON *seconds = cJSON_GetObjectItemCaseSensitive(json, "load_seconds");
	if (cJSON_IsString(version))
		snprintf(peer->version, sizeof(peer->version), "%s", version->valuestring);
	peer->load_seconds = cJSON_IsNumber(seconds) ? seconds->valuedouble : 0;
	take_bytes(peer, json);
	cJSON_Delete(json);
	return 0;
}

int bench_peer_run(struct bench_peer *peer, double seconds, struct round_summary *round)
{
	if (fprintf(peer->to, "%.6f\n", seconds) < 0 || fflush(peer->to)) {
		snprintf(peer->failure, sizeof(peer->failure), "it has ended");
		return -EPIPE;
	}
	cJSON *json = hear(peer);
	if (!json)
		return -EIO;
	int status = round_from_json(json, round);
	if (status)
		snprintf(peer->failure, sizeof(peer->failure), "it answered with something else");
	take_bytes(peer, json);
	cJSON_Delete(json);
	return status;
}

void bench_peer_close(struct bench_peer *peer)
{
	if (peer->to)
		fclose(peer->to);
	if (peer->from)
		fclose(peer->from); /* what it still says has nowhere to go */
	peer->to = peer->from = NULL;
	if (peer->pid)
		waitpid(peer->pid, NULL, 0);
	peer->pid = 0;
	if (*peer->dir)
		nftw(peer->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	*peer->dir = 0;
}
