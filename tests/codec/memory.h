/* SPDX-License-Identifier: Apache-2.0 */
/* Models' memory for tests and the benchmark: libc's, of which the n-th piece can be made to fail.
 */
#ifndef TESTS_CODEC_MEMORY_H
#define TESTS_CODEC_MEMORY_H

#include "tiers/codec/model.h"

#include <stdlib.h>

struct test_memory {
	size_t out;   /* bytes not given back */
	size_t limit; /* a piece beyond it is refused; 0: none */
	long fail;    /* counts down; at 0 a piece is refused; negative: never */
};

static inline void *test_alloc(void *context, size_t bytes)
{
	struct test_memory *memory = context;
	void *start;
	if ((memory->limit && bytes > memory->limit) ||
	    (memory->fail >= 0 && memory->fail-- == 0) || posix_memalign(&start, 64, bytes))
		return NULL;
	memory->out += bytes;
	return start;
}

static inline void test_free(void *context, void *start, size_t bytes)
{
	struct test_memory *memory = context;
	memory->out -= bytes;
	free(start);
}

static inline struct codec_memory test_memory(struct test_memory *memory)
{
	*memory = (struct test_memory){.fail = -1};
	return (struct codec_memory){test_alloc, test_free, memory};
}

#endif
