/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that are being written, in the caller's memory, and grow. */
#ifndef TIERS_CODEC_SINK_H
#define TIERS_CODEC_SINK_H

#include "tiers/codec/bits.h"
#include "tiers/codec/model.h"

struct sink {
	const struct codec_memory *memory;
	uint8_t *bytes;
	size_t len, cap;
	bool failed;
};

/* Room for n bytes more, and where they go; NULL when memory is full. */
static inline uint8_t *sink_room(struct sink *sink, size_t n)
{
	if (sink->failed)
		return NULL;
	if (sink->cap - sink->len >= n)
		return sink->bytes + sink->len;
	size_t cap = (sink->len + n) * 2 + 256;
	uint8_t *bytes = sink->memory->alloc(sink->memory->context, cap);
	if (!bytes) {
		sink->failed = true;
		return NULL;
	}
	if (sink->bytes) {
		memcpy(bytes, sink->bytes, sink->len);
		sink->memory->free(sink->memory->context, sink->bytes, sink->cap);
	}
	sink->bytes = bytes;
	sink->cap = cap;
	return bytes + sink->len;
}

static inline void sink_put(struct sink *sink, const void *bytes, size_t n)
{
	uint8_t *to = sink_room(sink, n);
	if (to && n)
		memcpy(to, bytes, n);
	sink->len += to ? n : 0;
}

static inline void sink_byte(struct sink *sink, unsigned byte)
{
	uint8_t b = (uint8_t)byte;
	sink_put(sink, &b, 1);
}

static inline void sink_varint(struct sink *sink, uint64_t v)
{
	uint8_t *to = sink_room(sink, VARINT_MAX);
	if (to)
		sink->len += (size_t)(varint_put(to, v) - to);
}

static inline void sink_clear(struct sink *sink)
{
	if (sink->bytes)
		sink->memory->free(sink->memory->context, sink->bytes, sink->cap);
	*sink = (struct sink){.memory = sink->memory};
}

#endif
