/* SPDX-License-Identifier: Apache-2.0 */
/* The codecs' benchmark: logs as columns in order of user and time, cut into blocks of a user's
 * day. */
#ifndef TESTS_CODEC_BENCH_H
#define TESTS_CODEC_BENCH_H

#include "tiers/codec/bits.h"
#include "tiers/codec/codec.h"

#define LOG_COLUMNS_MAX 12u

struct log {
	const char *name;
	struct codec_schema schema;
	struct codec_column columns[LOG_COLUMNS_MAX];
	bool is_signed[LOG_COLUMNS_MAX]; /* integers below 0 occur */
	uint32_t n, blocks;
	uint32_t *starts; /* blocks + 1 */
};

/* Reads DIR/NAME.tsv.zst; false, and a line on standard error, if it cannot be read. */
bool log_read(struct log *log, const char *dir, const char *name);
/*
 * n events of a short-video platform; hashed: item ids of 64 bits. The number of videos with so
 * many exposures is the published one, scaled to n events; sparse: all published videos, so that
 * nearly each is seen once.
 */
void log_generate(struct log *log, const char *name, uint32_t n, bool sparse, bool hashed);
void log_free(struct log *log);

/* Bytes an event of what the codecs are compared with. */
double baseline_protobuf(const struct log *log, bool compressed);
double baseline_parquet(const struct log *log);
/* Order-0 entropy of the columns by themselves (time: differences in a block, and first times). */
double baseline_entropy(const struct log *log);
/* Millions of events a second: parsing Protobuf rows, and after zstd. */
double baseline_protobuf_speed(const struct log *log, bool compressed);

static inline unsigned log_width(const struct log *log, uint32_t c)
{
	return log->schema.type[c] == CODEC_FLOAT ? 4 : 8;
}

double bench_seconds(void);

#endif
