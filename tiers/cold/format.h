/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies on the device: run files and the manifest. docs/format.md has the prose. Everything is
 * little-endian, fixed width, checksummed.
 *
 *   run file   NUMBER.run (16 hex digits)
 *     header     64 bytes
 *     blocks     of records, sorted; a block lies inside one 4 KiB page where it can
 *     filter     64-byte blocks of a split-block bloom filter, at a page
 *     fences     4 KiB pages of separators: which block could hold a key
 *     spaces     32 bytes for every space that has records here, at a page
 *     footer     the last 4 KiB page
 *
 *   manifest   MANIFEST, written anew for every edit (temporary file, rename): either the old state
 *              or the new one is there, never a mixture. It alone is believed.
 *
 * History: version 1, the first.
 *
 * Feature bits. compat: may be ignored. ro_compat: whoever does not know one may read, not write.
 * incompat: whoever does not know one must not touch the file. What every version has in common: the
 * first 16 bytes of struct run_footer and struct manifest_head, and an xxh3 in the last eight bytes
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
#define FORMAT_INCOMPAT_KNOWN UINT64_C(0)

#define RUN_HEADER_MAGIC UINT64_C(0x4e55525f4f4d5254)   /* "TRMO_RUN" */
#define RUN_FOOTER_MAGIC UINT64_C(0x444e455f4f4d5254)   /* "TRMO_END" */
#define MANIFEST_MAGIC UINT64_C(0x4e414d5f4f4d5254)     /* "TRMO_MAN" */

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
 * shared: how many bytes the identity (space, key bytes) has in common with the one before, the longest
 * there are; rest: how many follow. Varints are LEB128, at most 10 bytes.
 */
struct block_header {
	uint32_t crc;    /* crc32c of the run's number, the block's offset, and all that follows */
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
#define BLOCK_RECORDS_MAX 2048u

/* ---- Fences ---- */

/*
 * Then `common` bytes that all separators of the page begin with, then struct fence_entry[entries],
 * then the separators' remaining bytes, one after the other up to `used`. A separator is greater than
 * every identity of the block before and not greater than any of its own block; the run's first one
 * is its first identity in full.
 */
struct fence_page {
	uint32_t crc;      /* crc32c of the run's number, the page's number, and the page after crc */
	uint16_t entries;  /* at least 1 */
	uint16_t common;
	uint64_t base;     /* offset in the file of the first block */
	uint32_t span;     /* bytes from base to the end of the last block */
	uint16_t used;     /* bytes of the page; the rest is 0 */
	uint16_t _zero;
};
_Static_assert(sizeof(struct fence_page) == 24, "media");

struct fence_entry {
	uint16_t start_low; /* of the block, relative to base */
	uint16_t start_high;
	uint16_t key_at;    /* 0..12 where in the page the separator's rest begins; 15 its COLD_CHUNK */
};
_Static_assert(sizeof(struct fence_entry) == 6, "media");
#define FENCE_CHUNK 0x8000u
#define FENCE_AT 0x1fffu

/* ---- Run ---- */

struct run_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size;   /* of this struct; the first block follows */
	struct format_features features;
	uint64_t number;
	uint64_t created_ms;
	uint64_t hash;   /* xxh3 of the bytes before */
};
_Static_assert(sizeof(struct run_header) == 64, "media");

struct format_section {
	uint64_t at;
	uint64_t bytes;
	uint64_t hash; /* xxh3 */
};

struct run_space {
	uint64_t records;
	uint64_t min_seq;
	uint64_t max_seq;
	uint32_t tombstones; /* saturates */
	uint8_t space;
	uint8_t _zero[3];
};
_Static_assert(sizeof(struct run_space) == 32, "media");

struct run_footer {
	uint64_t magic;
	uint32_t version;
	uint32_t size;       /* of this struct */
	struct format_features features;
	uint64_t number;
	uint64_t file_bytes;
	uint64_t data_end;   /* blocks lie in [sizeof(struct run_header), data_end) */
	uint64_t data_hash;  /* [0, data_end) in pieces of 1 MiB: h = xxh3(piece, seed h), from 0 */
	struct format_section filter, fence, spaces;
	uint64_t blocks;
	uint64_t records;
	uint64_t tombstones;
	uint64_t record_bytes; /* of keys and values */
	uint64_t min_seq;
	uint64_t max_seq;
	uint64_t max_expires;  /* UINT64_MAX if a record never expires (tombstones do not) */
	uint64_t expiring;     /* records that expire */
	uint64_t created_ms;
};
_Static_assert(sizeof(struct run_footer) == 216, "media");

/* ---- Manifest ---- */

/* Then struct manifest_run[runs], newest first; struct manifest_drop[drops]; erases: struct
 * manifest_erase and key bytes, padded to 8, each; meta_bytes bytes, padded to 8; u64 xxh3. */
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
	uint64_t number;
	uint64_t file_bytes;
	uint64_t footer_hash; /* the last eight bytes of the file */
};
_Static_assert(sizeof(struct manifest_run) == 24, "media");

struct manifest_drop {
	uint64_t below_seq; /* records of the space below it are gone */
	uint64_t space;
};
_Static_assert(sizeof(struct manifest_drop) == 16, "media");

struct manifest_erase {
	uint64_t below_seq; /* versions below it are gone */
	uint16_t key_len;
	uint8_t space;
	uint8_t flags; /* COLD_CHUNK or 0 */
	uint32_t _zero;
};
_Static_assert(sizeof(struct manifest_erase) == 16, "media");

#define MANIFEST_BYTES_MAX (64u << 20)
#define MANIFEST_RUNS_MAX 4096u

#endif
