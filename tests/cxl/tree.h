/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of sysfs that tests bring along: made from text (the format is in pack.sh), changed,
 * removed. */
#ifndef TESTS_CXL_TREE_H
#define TESTS_CXL_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "cxl/topology.h"

#define TREE_ENTRIES_MAX 4096

/* Makes a line's entry under root. False if it is no line of the format, or would lead out of root.
 */
bool tree_make(const char *root, const char *line, size_t len);
/* Makes the entries of all lines; how many could be made. */
int tree_unpack(const char *root, const char *text, size_t len);
/* Removes what is there, whole folders too, and makes this in its place: content NULL is nothing.
 */
void tree_put(const char *root, const char *path, const char *content);
void tree_link(const char *root, const char *path, const char *target);
void tree_folder(const char *root, const char *path);
void tree_pipe(const char *root, const char *path);
/* Removes the tree itself. */
void tree_remove(const char *root);

/* What must hold whatever was read: NULL, or what does not. */
const char *topology_insane(const struct topology *t);

#endif
