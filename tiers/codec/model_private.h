/* SPDX-License-Identifier: Apache-2.0 */
/* The open model, and the symbols of columns. */
#ifndef TIERS_CODEC_MODEL_PRIVATE_H
#define TIERS_CODEC_MODEL_PRIVATE_H

#include "tiers/codec/arena.h"
#include "tiers/codec/bits.h"
#include "tiers/codec/model.h"

#define MODEL_VERSION 1u
#define CODE_BITS_MAX 12u /* of a Huffman code */
#define RAW_BITS_MAX 45u  /* after it: both fit into what one load of 64 bits gives at any bit */
#define GROUP_COLUMNS_MAX 5u
#define GROUP_SYMBOLS_MAX 2048u
#define COLUMN_SYMBOLS_MAX 4096u /* 12 bits each: the symbols of a group fit into 64 */
#define DISTANCE_MAX 63u
#define NO_COLUMN 255u
#define NULL_INDEX UINT32_MAX
#define ENTRIES_MAX (UINT32_C(1) << 28)

enum coding { CODING_DICTIONARY = 0, CODING_NUMBER = 1 };

/* What a symbol of a column means. */
enum part_kind {
	PART_VALUE,   /* rank in the dictionary; or the number, or difference */
	PART_BACK,    /* distance to the same value */
	PART_DERIVED, /* as the parent's value says */
	PART_FIT,     /* the value, less fit_base, which is not in the dictionary */
	PART_NULL,
	PART_ESCAPE, /* the value is in the tail */
	PART_JOINT,  /* the joint symbol is not known: symbol and raw bits are in the tail */
};

/* v = (leading << width) + raw bits */
struct part {
	uint32_t leading;
	uint8_t shift; /* of its raw bits in what is read (READ_SYMBOL_BITS) */
	uint8_t width;
	uint8_t kind;
	uint8_t negative; /* numbers: the value is -v */
};
_Static_assert(sizeof(struct part) == 8, "one load");

/* Symbols of a column. Dictionary: 0 escape, 1 null, 2 fit, 3 derived, 4 to 9 back, from 10 on
 * buckets of ranks. Number: 0 escape, 1 null, from 2 on buckets of magnitudes, two for each:
 * positive and negative. */
enum {
	SYMBOL_ESCAPE = 0,
	SYMBOL_NULL = 1,
	SYMBOL_FIT = 2,
	SYMBOL_DERIVED = 3,
	SYMBOL_BACK = 4,
	SYMBOL_RANK = 10,
	SYMBOL_NUMBER = 2,
};

/*
 * Buckets of numbers: below 2^m each has its own; above, a bucket is one power of two split into
 * 2^m, its members told apart by raw bits.
 */
static inline unsigned bucket_of(uint64_t v, unsigned m, unsigned *width)
{
	unsigned bits = bit_width(v), over = bits > m ? bits - m : 0;
	*width = over - (over != 0);
	return (over << m) + (unsigned)(v >> *width & ((1u << m) - 1));
}

/* What stands above a bucket's raw bits. */
static inline uint32_t bucket_leading(unsigned bucket, unsigned m, unsigned *width)
{
	unsigned power = bucket >> m;
	*width = power ? power - 1 : 0;
	return power ? 1u << m | (uint32_t)(bucket & low_bits(m)) : bucket;
}

struct model_string {
	const uint8_t *bytes;
	uint32_t len;
};

struct model_column {
	uint8_t type, coding, group, parent; /* parent: an earlier column, or NO_COLUMN */
	uint8_t mantissa;                    /* m of its buckets */
	uint8_t back;                        /* distances are coded */
	uint8_t time;    /* is column 0: the first event's value is in the block's head */
	uint8_t delta;   /* number: difference to the event before */
	uint8_t decimal; /* of floats, a number or what fits: power of ten + 1; 0: the pattern */
	uint8_t fit_width;
	uint64_t fit_base;
	uint64_t unit;  /* number: coded in multiples of it */
	uint64_t start; /* number: what is subtracted; of differences, what is before the first
			   event */
	uint32_t entries;
	uint64_t *words;              /* of a dictionary of numbers */
	struct model_string *strings; /* of one of bytes; up to 16 bytes may be read beyond each */
	uint32_t *derived;            /* for each of the parent's entries, one of this dictionary */
	struct part *parts;           /* for each symbol of its group */
	/* If every joint symbol says all about this column: the rank, or the word of a number, for
	 * each. */
	uint32_t *direct_index;
	uint64_t *direct_word;
	bool all_derived; /* every joint symbol says: as the parent */
	uint32_t *lookup; /* encode: hash of a value to rank + 1 */
	uint32_t lookup_mask;
};

/* An entry of a Huffman table: symbol, length of the code, raw bits that follow. */
#define CODE_ENTRY(symbol, len, raw)                                                               \
	((uint32_t)(symbol) | (uint32_t)(len) << 16 | (uint32_t)(raw) << 24)
#define CODE_SYMBOL(entry) ((entry)&0xffff)
#define CODE_LEN(entry) ((entry) >> 16 & 255)
#define CODE_RAW(entry) ((entry) >> 24)

/* What is read of an event and group: the joint symbol, and above it the raw bits. */
#define READ_SYMBOL_BITS 11u
#define READ_SYMBOL(read) ((read) & (GROUP_SYMBOLS_MAX - 1))
_Static_assert(GROUP_SYMBOLS_MAX == 1u << READ_SYMBOL_BITS, "symbols fit");
_Static_assert(RAW_BITS_MAX + READ_SYMBOL_BITS <= 64, "raw bits fit");

struct model_group {
	uint32_t symbols; /* [0] says that the real one is in the tail */
	uint8_t columns, column[GROUP_COLUMNS_MAX];
	uint8_t bits;    /* of the table */
	uint32_t *table; /* 2^bits entries */
	uint8_t *len;
	uint16_t *code;
	uint64_t *key;    /* the columns' symbols, 12 bits each, first lowest */
	uint32_t *lookup; /* encode: hash of a key to symbol; 0: none */
	uint32_t lookup_mask;
};

struct model {
	struct arena arena;
	struct codec_schema schema;
	uint64_t time_base;
	uint64_t string_bytes; /* of all dictionaries, at most MODEL_BYTES_MAX */
	uint8_t time_width;    /* of a block's first time: (time - time_base) / unit of column 0 */
	uint8_t n_groups;
	struct model_column column[CODEC_COLUMNS_MAX];
	struct model_group group[CODEC_COLUMNS_MAX];
};

static inline uint64_t hash_word(uint64_t word)
{
	word ^= word >> 32;
	word *= UINT64_C(0x9e3779b97f4a7c15);
	return word ^ word >> 29;
}

static inline uint64_t hash_bytes(const uint8_t *bytes, uint32_t len)
{
	uint64_t hash = len * UINT64_C(0x9e3779b97f4a7c15);
	for (uint32_t i = 0; i < len; i += 8)
		hash = hash_word(hash ^ load64_until(bytes + i, bytes + len));
	return hash_word(hash);
}

/* What a symbol of a column means; kind PART_JOINT if there is no such symbol. */
struct part symbol_part(const struct model_column *column, unsigned symbol);
/* Lengths of at most CODE_BITS_MAX for counts (0: no code), n <= GROUP_SYMBOLS_MAX; scratch: 4 n
 * words. Returns the bits that all of them take. */
uint64_t huffman_lengths(const uint64_t *counts, unsigned n, uint8_t *lengths, uint64_t *scratch);
/* Codes for lengths, lowest bit first. False if they do not make a code. */
bool huffman_codes(const uint8_t *lengths, unsigned n, uint16_t *codes);

#endif
