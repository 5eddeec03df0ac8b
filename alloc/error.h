/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a struct thermo_error in the same statement that returns the code. */
#ifndef ALLOC_ERROR_H
#define ALLOC_ERROR_H

#include "include/thermocline.h"

/* Formats one line into *error (which may be NULL; text that is too long is cut) and returns code. */
__attribute__((format(printf, 3, 4))) int error_set(struct thermo_error *error, int code,
						    const char *format, ...);

#endif
