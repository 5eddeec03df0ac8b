/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: discovery over a tree of sysfs made from the input, in the format of pack.sh.
 * The first byte means nothing; more seeds: tests/cxl/fixtures. Trees are made under TMPDIR
 * (/dev/shm is fast).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/check.h"
#include "tests/cxl/tree.h"
#include "tests/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char root[256];
	struct topology *t;

	if (!size)
		return 0;
	if (!root[0])
		snprintf(root, sizeof(root), "%s/thermo-fuzz-topology-%d",
			 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
	check(mkdir(root, 0700) == 0);
	tree_unpack(root, (const char *)data + 1, size - 1);
	check(topology_read(root, &t) == 0);
	const char *wrong = topology_insane(t);
	if (wrong)
		fprintf(stderr, "%s\n", wrong);
	check(!wrong);
	topology_free(&t);
	tree_remove(root);
	return 0;
}

void fuzz_seeds(const char *folder)
{
	fuzz_seed(folder, "empty", 0, "", 0);
}
