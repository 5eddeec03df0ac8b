/* SPDX-License-Identifier: Apache-2.0 */
/* The drawing of `thermo topology`: the machine as a tree, then what of it the warm tier can use.
 */
#ifndef TOOLS_TOPOLOGY_DRAW_H
#define TOOLS_TOPOLOGY_DRAW_H

#include <stdio.h>

#include "cxl/topology.h"

/* root is only named. */
void topology_draw(FILE *to, const char *root, const struct topology *t);

#endif
