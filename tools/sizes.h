/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes: text such as "64M", and the model that says how long a key's value is. A model's draw
 * depends on the key alone, so a key has the same size in every run and on every thread.
 */
#ifndef TOOLS_SIZES_H
#define TOOLS_SIZES_H

#include <stdint.h>

#include "thermocline.h"

/* Digits, perhaps a fraction, perhaps one of K M G T (powers of 1024) and perhaps "B" or "iB".
 * -EINVAL, or -ERANGE over 2^63 - 1. */
int size_parse(const char *text, uint64_t *bytes);
/* 1536 -> "1.5 KiB"; text must hold 24 bytes. Returns text. */
char *size_format(uint64_t bytes, char *text);

struct size_model;

/*
 * "N": every value is N bytes. "trace": as the trace says, or as "published" where it says nothing.
 * "dist:FILE": drawn from a CacheLib sizes file (valSizeRange, valSizeRangeProbability).
 * "published": drawn from quantiles of a published production distribution, which are built in.
 * -EINVAL (spec or file), -ENOENT and the like (file), -ENOMEM; *error says which and where.
 */
int size_model_open(const char *spec, struct size_model **model, struct thermo_error *error);
void size_model_close(struct size_model **model);
/* The size in bytes of the value of the key with this hash; recorded is what the trace says, 0 if
 * nothing. At most THERMO_VALUE_MAX. Any thread. */
uint32_t size_model_draw(const struct size_model *model, uint64_t key_hash, uint64_t recorded);
/* Does it take the trace's word? Then sizes of 0 mean that the trace has none. */
int size_model_uses_trace(const struct size_model *model);

#endif
