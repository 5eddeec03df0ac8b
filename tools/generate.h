/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recommender's requests, generated. Users come back in sessions; each visit reads the user's
 * behaviour sequence, the embeddings of the candidates, the metadata of the items that are shown,
 * and writes the sequence back with the new events. What is popular drifts: new items are born
 * popular and age. A scan reads every embedding once, as a nightly job does.
 *
 * The same seed gives the same requests. One thread.
 */
#ifndef TOOLS_GENERATE_H
#define TOOLS_GENERATE_H

#include "tools/replay_run.h"

struct generate_options {
	uint64_t seed;
	uint32_t users;
	uint32_t items;     /* rounded to a multiple of GENERATE_CATEGORIES */
	uint32_t visits[3]; /* before, during and after the scan */
};

#define GENERATE_CATEGORIES 64u

struct generate;

/* -ENOMEM. */
int generate_open(const struct generate_options *options, struct generate **generate);
void generate_close(struct generate **generate);
/* The stream of requests; it belongs to the generator. */
struct replay_source *generate_source(struct generate *generate);

#endif
