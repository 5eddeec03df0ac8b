/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot block on the byte level; docs/format.md has the prose.
 *
 *   block    u8 HOT_VERSION, varint events, frames of HOT_FRAME events (the last may have fewer)
 *   frame    a section for each column
 *   section  u8 head, [u8 more], [nulls: a bit for each event], then numbers or bytes
 *
 * numbers: [varint base], [varint step], packed fields, [exceptions]
 * bytes:   lengths (numbers), or with HOT_DICTIONARY u8 distinct - 1, their lengths (numbers), and
 *          each event's index (numbers); then the bytes
 */
#ifndef TIERS_CODEC_HOT_H
#define TIERS_CODEC_HOT_H

#define HOT_VERSION 1u
#define HOT_FRAME 128u

/* head */
#define HOT_WIDTH 0x3fu /* 0 to 56 bits a field; HOT_WIDTH_64 */
#define HOT_WIDTH_64 57u
#define HOT_BASE 0x40u /* fields are relative to a base (zigzag) */
#define HOT_MORE 0x80u /* u8 more follows */

/* more */
#define HOT_DELTA                                                                                  \
	0x01u /* the base is the first value; n - 1 fields: differences, less the step (zigzag) */
#define HOT_EXCEPTIONS                                                                             \
	0x02u /* u8 count (not 0), u8 width, u8 field[count], packed: what lies above a field */
#define HOT_NULLS 0x04u
#define HOT_DICTIONARY 0x08u
#define HOT_DECIMAL 0x08u /* numbers: they are integers / 10^(more >> 4) */
#define HOT_DECIMAL_SHIFT 4u

#endif
