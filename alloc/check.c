/* SPDX-License-Identifier: Apache-2.0 */
/* What a failed check() does: one line on stderr, then abort, so that a core shows the state. */
#include "alloc/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "thermocline: %s:%d: check failed: %s\n", file, line, what);
	abort();
}
