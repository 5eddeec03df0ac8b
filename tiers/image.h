/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives the process beside the runs: the table of spaces with the engine's clock (in the
 * cold tier's manifest), and, after a clean close, the image of the memory tiers (memory.img).
 *
 * While a cache is open the table says so. Found in that state at open, the last process did not close:
 * cache spaces then start empty, for an older version in cold may be all that is left of a key.
 */
#ifndef TIERS_IMAGE_H
#define TIERS_IMAGE_H

#include "tiers/engine.h"

/* Durable on return; any thread. clean: the image beside it is complete. */
int image_save_table(struct thermo *c, bool clean, struct thermo_error *error);
/* Reads the table; *clean says how the last process ended (true for a new directory). */
int image_load_table(struct thermo *c, bool *clean, struct thermo_error *error);
/* Writes every record of the memory tiers; nothing else runs. */
int image_save(struct thermo *c, struct thermo_error *error);
/* Brings them back, -ENOENT if there is no image. Nothing else runs. crashed: only what belongs to the log. */
int image_load(struct thermo *c, bool crashed, struct thermo_error *error);
void image_remove(struct thermo *c);

#endif
