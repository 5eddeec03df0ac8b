/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bugs that can be planted without touching the product: they change the record as if the engine had left out
 * or exchanged operations, while the engine itself saw them done.
 */
#ifndef TESTS_CRASH_PLANT_H
#define TESTS_CRASH_PLANT_H

#include "tests/crash/disk.h"

/* name NULL: none. */
void plant_bug(const char *name, struct disk_record *record);
bool plant_known(const char *name);
const char *plant_names(void);

#endif
