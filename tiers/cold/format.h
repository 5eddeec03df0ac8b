/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies on the device: segment files and the manifest. docs/format.md has the prose. Everything is
 * little-endian, fixed width, checksummed.
 *
 *   segment    NUMBER.seg (16 hex digits)
 *     header     64 bytes
 *     blocks     of records, in order; a block lies inside one 4 KiB page where it can
 *     filter     slices of binary fuse filters, at a page
 *     fences     for each block, 32 bits of its first record's hash and its offset, at a page
 *     spaces     for every space that has records here, at a page
 *     footer     the last 4 KiB page
 *
 *   manifest   MANIFEST, written anew for every edit (temporary file, rename): either the old state
 *              or the new one is there, never a mixture. It alone is believed.
 *
 * Order of records: by space, then hash of the identity (key_hash in tiers/record.h), then key bytes,
 * then COLD_CHUNK. A run is a list of segments, one after the other in that order.
 *
 * History: version 1, the first.
 *
 * Feature bits. compat: may be ignored. ro_compat: whoever does not know one may read, not write.
 * incompat: whoever does not know one must not touch the file. What every version has in common: the
 * first 16 bytes of struct segment_footer and struct manifest_head, and an xxh3 in the last eight bytes
 * of the footer page and of the manifest, over all bytes before it.
 */
#ifndef TIERS_COLD_FORMAT_H
#define TIERS_COLD_FORMAT_H

#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "on-media structs are used in place");

#define FORMAT_VERSION 1u
#define FORMAT_PAGE 4096u
#define FORMAT_COMPAT_KNOWN UINT64_C(0)
#define FORMAT_RO_COMPAT_KNOWN UINT64_C(0)
#define FORMAT_INCOMPAT_HOLES UINT64_C(1) /* manifest: it ends with a list of holes */
#define FORMAT_INCOMPAT_KNOWN FORMAT_INCOMPAT_HOLES

#define SEGMENT_HEADER_MAGIC UINT64_C(0x4745535f4f4d5254) /* "TRMO_SEG" */
#define SEGMENT_FOOTER_MAGIC UINT64_C(0x444e455f4f4d5254) /* "TRMO_END" */
#define MANIFEST_MAGIC UINT64_C(0x4e414d5f4f4d5254)       /* "TRMO_MAN" */

struct format_features {
	uint64_t compat;
	uint64_t ro_compat;
	uint64_t incompat;
};

/* ---- Blocks ---- */

enum block_codec { BLOCK_RAW = 0, BLOCK_LZ4 = 1, BLOCK_ZSTD = 2 };

/*
 * Then `stored` bytes, which decode to `raw` bytes:
 *   varint base_seq, varint base_expires, then each record:
 *   u8 flags (enum cold_flag, BLOCK_EXPIRES), varint shared, varint rest, varint value_len,
 *   varint seq - base_seq, [varint expires_ms - base_expires], `rest` bytes, value
 * shared: how many bytes the identity (space, key bytes) has in common with the one before; rest: how
 * many follow. Varints are LEB128, at most 10 bytes. A block has records of one space.
 */
struct block_header {
	uint32_t crc;    /* crc32c of the segment's number, the block's offset, and all that follows */
	uint32_t stored;
	uint32_t raw;
	uint16_t records; /* at least 1 */
	uint8_t codec;
	uint8_t flags;   /* 0 */
};
_Static_assert(sizeof(struct block_header) == 16, "media");

#define BLOCK_EXPIRES 0x80u /* record flag: expires_ms is there */
#define BLOCK_RAW_MAX ((256u << 10) + 2048u) /* one record of the greatest size and its head */
#define BLOCK_MAX (BLOCK_RAW_MAX + (uint32_t)sizeof(struct block_header))
#define BLOCK_RECORDS_MAX 1024u

/* ---- Filter ---- */

/*
 * The section: struct filter_slice[], whose number the footer has, then their arrays of fingerprints.
 * A slice covers the records from its first one up to the next slice's. See filter.h for the hashing.
 */
struct filter_slice {
	uint64_t hash;    /* of its first record */
	uint64_t seed;
	uint32_t at;      /* of its array, from the section's beginning; a multiple of 8 */
	uint32_t part;    /* fingerprints in a part: a power of two */
	uint32_t parts;   /* the array has parts + 2 of them */
	uint8_t space;    /* of its first record */
	uint8_t bytes;    /* of a fingerprint: 1 or 2; 0: no array, every key may be there */
	uint16_t _zero;
};
_Static_assert(sizeof(struct filter_slice) == 32, "media");

/* ---- Fences and spaces ---- */

/*
 * The fences: u32 separator[blocks], then u32 start[blocks], each block's offset in the file. A separator
 * is (first record's hash - first_hash) >> shift of the space.
 */
struct segment_space {
	uint64_t records;
	uint64_t min_seq;
	uint64_t max_seq;
	uint64_t first_hash;
	uint64_t last_hash;
	uint32_t first_block; /* its blocks go on to the next space's first */
	uint32_t tombstones;
	uint8_t space;
	uint8_t shift;        /* the least with (last_hash - first_hash) >> shift < 2^32 */
	uint8_t _zero[6];
};
_Static_assert(sizeof(struct segment_space) == 56, "media");

/* ---- Segment ---- */

struct segment_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size;   /* of this struct; the first block follows */
	struct format_features features;
	uint64_t number;
	uint64_t created_ms;
	uint64_t hash;   /* xxh3 of the bytes before */
};
_Static_assert(sizeof(struct segment_header) == 64, "media");

struct format_section {
	uint64_t at;
	uint64_t bytes;
	uint64_t hash; /* xxh3 */
};

#define FORMAT_PIECE (128u << 10) /* bytes; unit of data_hash */

struct segment_footer {
	uint64_t magic;
	uint32_t version;
	uint32_t size;       /* of this struct */
	struct format_features features;
	uint64_t number;
	uint64_t file_bytes;
	uint64_t data_end;   /* blocks lie in [sizeof(struct segment_header), data_end) */
	uint64_t data_hash;  /* [0, data_end) in pieces of FORMAT_PIECE: h = xxh3(piece, seed h), from 0 */
	struct format_section filter, fence, spaces;
	uint32_t slices;
	uint32_t blocks;
	uint64_t records;
	uint64_t tombstones;
	uint64_t record_bytes; /* of keys and values */
	uint64_t min_seq;
	uint64_t max_seq;
	uint64_t min_expires;  /* of records that expire; UINT64_MAX if none does */
	uint64_t max_expires;  /* UINT64_MAX if a record never expires (tombstones do not count) */
	uint64_t expiring;     /* records that expire */
	uint64_t created_ms;
};
_Static_assert(sizeof(struct segment_footer) == 224, "media");

/* ---- Manifest ---- */

/* Then the runs, newest first: struct manifest_run, and its struct manifest_segment[segments]; struct
 * manifest_drop[drops]; the erases: struct manifest_erase and key bytes, padded to 8, each; meta_bytes
 * bytes, padded to 8; with FORMAT_INCOMPAT_HOLES u64 number of holes and struct manifest_hole[]; u64 xxh3. */
struct manifest_head {
	uint64_t magic;
	uint32_t version;
	uint32_t bytes;      /* of the whole file */
	struct format_features features;
	uint64_t generation; /* counts edits */
	uint64_t next_number; /* no file has this number or a higher one */
	uint64_t max_seq;    /* greatest sequence number that ever was in a run */
	uint32_t runs;
	uint32_t drops;
	uint32_t erases;
	uint32_t meta_bytes;
};
_Static_assert(sizeof(struct manifest_head) == 80, "media");

struct manifest_run {
	uint64_t from_hash;  /* records below (from_space, from_hash) have been merged away */
	uint64_t shadowed;   /* about how many older records its records replace */
	uint32_t segments;   /* at least 1 */
	uint16_t from_space;
	uint16_t level;      /* merges that its records went through, about */
};
_Static_assert(sizeof(struct manifest_run) == 24, "media");

struct manifest_segment {
	uint64_t number;
	uint64_t file_bytes;
	uint64_t footer_hash; /* the last eight bytes of the file */
};
_Static_assert(sizeof(struct manifest_segment) == 24, "media");

struct manifest_drop {
	uint64_t below_seq; /* records of the space below it are gone */
	uint64_t space;
};
_Static_assert(sizeof(struct manifest_drop) == 16, "media");

struct manifest_erase {
	uint64_t below_seq; /* versions below it are gone */
	uint16_t key_len;
	uint8_t space;
	uint8_t flags; /* COLD_CHUNK, COLD_NUMBERED */
	uint32_t _zero;
};
_Static_assert(sizeof(struct manifest_erase) == 16, "media");

/* What a damaged file held and could not be salvaged: versions below below_seq of identities in
 * [(from_space, from_hash), (to_space, to_hash)]. */
struct manifest_hole {
	uint64_t from_hash;
	uint64_t to_hash;
	uint64_t below_seq;
	uint16_t from_space;
	uint16_t to_space;
	uint32_t _zero;
};
_Static_assert(sizeof(struct manifest_hole) == 32, "media");

#define MANIFEST_BYTES_MAX (64u << 20)

#endif
