/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cold block on the byte level; docs/format.md has the prose.
 *
 *   varint events * 2 + tail
 *   [varint stored * 2 + packed, [varint bytes of the tail unpacked]]     with a tail
 *   bits: 1: the first time is in the tail; else time_width bits of it;
 *         for each event, for each group: a code, and the raw bits of its columns
 *   tail: the last `stored` bytes (zstd if packed): [i64 first time], then for each column, for
 * each event [varint symbol, varint raw bits] if its joint symbol is 0, [the value] if its symbol
 * is escape
 */
#ifndef TIERS_CODEC_COLD_H
#define TIERS_CODEC_COLD_H

#define COLD_TAIL_PACKED_FROM 64u /* bytes; smaller tails stay as they are */

#endif
