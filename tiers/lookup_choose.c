/* SPDX-License-Identifier: Apache-2.0 */
/* Which of lookup.c's builds this processor runs best. */
#include "tiers/engine.h"

#include <stdlib.h>

extern const struct lookup_ops lookup_ops_base;
#ifdef LOOKUP_X86
extern const struct lookup_ops lookup_ops_avx2, lookup_ops_avx512;
#endif

const struct lookup_ops *lookup_choose(void)
{
#ifdef LOOKUP_X86
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
		return &lookup_ops_avx512;
	if (__builtin_cpu_supports("avx2"))
		return &lookup_ops_avx2;
#endif
	return &lookup_ops_base;
}
