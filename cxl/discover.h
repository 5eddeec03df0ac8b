/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of topology_read, in the order in which they run, and what they share. */
#ifndef CXL_DISCOVER_H
#define CXL_DISCOVER_H

#include "cxl/topology.h"

void discover_nodes(const char *root, struct topology *t);
void discover_cxl(const char *root, struct topology *t);
void discover_nvdimms(const char *root, struct topology *t);
void discover_dax(const char *root, struct topology *t);
void discover_mounts(const char *root, struct topology *t);
void discover_owners(const char *root, struct topology *t); /* which node is made of which device */
void discover_targets(const char *root, struct topology *t);

/* Formats; what does not fit is cut. */
__attribute__((format(printf, 3, 4))) void discover_text(char *text, size_t capacity,
							 const char *format, ...);
/* A line for notes; beyond the limit it is dropped. */
__attribute__((format(printf, 2, 3))) void discover_note(struct topology *t, const char *format,
							 ...);
/* sysfile_list into names, with what does not fit added to left_out. How many there are in names.
 */
int discover_list(const char *root, struct topology *t, const char *folder, const char *prefix,
		  char (*names)[SYSFILE_NAME]);
/* The same without links to nothing, which become a note. */
int discover_present(const char *root, struct topology *t, const char *folder, const char *prefix,
		     char (*names)[SYSFILE_NAME]);
/* Folder and file of a size in bytes, into *size, TOPOLOGY_UNKNOWN if it cannot be read or
 * believed; then *broken (if not NULL, the first time) says why. */
void discover_size(const char *root, const char *folder, const char *file, uint64_t *size,
		   char broken[96]);
/* A node's number, -1 if there is none. */
int discover_node(const char *root, const char *folder, const char *file);
/* Latency and bandwidth from the attributes in folder; false if it has none. */
bool discover_speed(const char *root, const char *folder, struct topology_speed *speed);
/* The first component of path that is prefix and a digit, or else "". */
void discover_component(const char *path, const char *prefix, char name[SYSFILE_NAME]);
/* The last component but `up` of what the link says, or "". */
void discover_link_name(const char *root, const char *link, int up, char name[SYSFILE_NAME]);
/* Adds a word to a list of words, once; what does not fit becomes "...". */
void discover_add_word(char *list, size_t capacity, const char *word);
/* The online node of that number, or NULL. */
struct topology_node *discover_online(struct topology *t, int node);

#endif
