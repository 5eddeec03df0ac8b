/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a replay knows that each key must hold: the model behind --verify. An open-addressing table
 * from (space, key) to the version and length that were last put. A key is a 64-bit number and a
 * length. One thread.
 */
#ifndef TOOLS_EXPECT_H
#define TOOLS_EXPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum expect_state {
	EXPECT_NEVER = 0, /* nothing was ever put */
	EXPECT_PRESENT,   /* the last put took */
	EXPECT_DELETED,
	EXPECT_UNKNOWN, /* a put failed in a way that leaves open what is there */
};

struct expect_entry {
	uint64_t id;
	uint32_t version;
	uint32_t value_len;
	uint16_t key_len; /* bytes; 0: the slot is free */
	uint8_t space;
	uint8_t state : 4; /* enum expect_state */
	uint8_t kind : 4;  /* enum payload_kind */
};

struct expect {
	struct expect_entry *entries;
	uint64_t mask;
	uint64_t count;
};

/* -ENOMEM. */
int expect_open(struct expect *expect);
void expect_close(struct expect *expect);
/* The entry of the key, made if there is none; NULL when out of memory. Valid until the next call.
 */
struct expect_entry *expect_get(struct expect *expect, uint8_t space, uint64_t id,
				uint16_t key_len);
/* Visits the entries: start with *at = 0; NULL at the end. */
struct expect_entry *expect_next(const struct expect *expect, uint64_t *at);

#endif
