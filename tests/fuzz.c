/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds, and, without libFuzzer, the main that tries a corpus: see fuzz.h. */
#include "tests/fuzz.h"

#include "alloc/check.h"
#include "tests/cold/scratch.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX ((size_t)16 << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	for (int i = 1; i + 1 < *argc; i++) {
		if (strcmp((*argv)[i], "--seeds") != 0)
			continue;
		fuzz_seeds((*argv)[i + 1]);
		exit(0);
	}
	return 0;
}

void fuzz_seed(const char *folder, const char *name, uint8_t way, const void *bytes, size_t len)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "wb");
	bool whole = file && fwrite(&way, 1, 1, file) == 1 && fwrite(bytes, 1, len, file) == len;
	if (!file || fclose(file) || !whole) {
		perror(path);
		exit(1);
	}
}

void fuzz_line(const char *text)
{
	check(*text && !strchr(text, '\n'));
}

#ifdef FUZZ_CORPUS

static void try_file(const char *path)
{
	static uint8_t bytes[INPUT_MAX];
	FILE *file = fopen(path, "rb");
	if (!file) {
		perror(path);
		exit(1);
	}
	size_t len = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	/* Of the exact size, so that reading past the end is seen. */
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		abort();
	memcpy(copy, bytes, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

/* How many there were; says which one it was that ended it. */
static unsigned try_folder(const char *name)
{
	unsigned files = 0;
	DIR *folder = opendir(name);
	if (!folder) {
		perror(name);
		exit(1);
	}
	for (struct dirent *entry; (entry = readdir(folder));) {
		char path[4096];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
		fprintf(stderr, "%s\n", path);
		try_file(path);
		files++;
	}
	closedir(folder);
	return files;
}

/* The seeds, as this build makes them, and the folders' files. */
int main(int argc, char **argv)
{
	struct scratch scratch;
	LLVMFuzzerInitialize(&argc, &argv);
	scratch_open(&scratch);
	fuzz_seeds(scratch.path);
	unsigned seeds = try_folder(scratch.path), kept = 0;
	scratch_close(&scratch);
	for (int i = 1; i < argc; i++)
		kept += try_folder(argv[i]);
	printf("%u seeds and %u kept files tried\n", seeds, kept);
	return seeds && kept ? 0 : 1;
}

#endif
