/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the builds this processor runs best. */
#include "tiers/codec/codec.h"
#include "tiers/codec/unpack.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

extern const struct codec_ops codec_ops_base;
#ifdef __x86_64__
extern const struct codec_ops codec_ops_avx2, codec_ops_avx512;
#endif

/* Best first. */
static const struct codec_ops *const builds[] = {
#ifdef __x86_64__
	&codec_ops_avx512,
	&codec_ops_avx2,
#endif
	&codec_ops_base,
};
#define BUILDS (sizeof(builds) / sizeof(builds[0]))

static _Atomic(const struct codec_ops *) chosen; /* NULL: not yet */

static bool runs(const struct codec_ops *ops)
{
#ifdef __x86_64__
	__builtin_cpu_init();
	if (ops == &codec_ops_avx512)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
		       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
		       __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("bmi2");
	if (ops == &codec_ops_avx2)
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#endif
	return ops == &codec_ops_base;
}

int codec_isa_set(const char *name)
{
	for (unsigned i = 0; i < BUILDS; i++) {
		if ((name && strcmp(name, builds[i]->name) != 0) || !runs(builds[i]))
			continue;
		atomic_store_explicit(&chosen, builds[i], memory_order_relaxed);
		return 0;
	}
	return -ENOTSUP;
}

/* Two threads that both come first choose the same. */
const struct codec_ops *codec_ops(void)
{
	const struct codec_ops *ops = atomic_load_explicit(&chosen, memory_order_relaxed);
	if (__builtin_expect(!ops, 0)) {
		(void)codec_isa_set(NULL);
		ops = atomic_load_explicit(&chosen, memory_order_relaxed);
	}
	return ops;
}

const char *codec_isa(void)
{
	return codec_ops()->name;
}
