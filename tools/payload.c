/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/payload.h"

#include <string.h>

#include "tools/mix.h"

uint64_t payload_seed(uint64_t key, uint32_t version)
{
	return mix64(key ^ mix64(version));
}

static const char vocabulary[32][9] = {
	"title=\"a", " short v",   "ideo of ",   "music\", ", "category", "=cooking", "=travel,",
	"=gaming,",  "author=u",   "ser_id, ",   "tags=[ne",  "w, popul", "ar, tren", "ding], l",
	"anguage=",  "en, regi",   "on=eu, d",   "uration=",  "00:00:30", "00:01:15", "likes=00",
	"views=00",  "{\"id\": 1", "\"score\":", "http://m",  "edia/pre", "view.jpg", "encoding",
	"=h264, w",  "idth=720",   ", height",   "=1280}, ",
};

static inline uint64_t word_of(enum payload_kind kind, uint64_t seed, uint64_t i)
{
	uint64_t random = mix64(seed + i * UINT64_C(0xd1342543de82ef95));
	uint64_t word;
	switch (kind) {
	case PAYLOAD_EVENTS:
		if (i & 1) /* item, action */
			return (random & 0x01ffffff) | (random >> 62 << 32);
		/* a time in ms: rises by some seconds an event */
		return UINT64_C(1649351999602) + (seed & 0xfffffff) + (i * 30000) +
		       (random & 0x3fff);
	case PAYLOAD_FLOATS: /* two floats whose magnitudes are in [0.5, 1) */
		return (random & UINT64_C(0x807fffff807fffff)) | UINT64_C(0x3f0000003f000000);
	case PAYLOAD_TEXT:
		if (random >> 61) { /* seven of eight words */
			memcpy(&word, vocabulary[random & 31], 8);
			return word;
		}
		/* eight decimal digits' worth of a number */
		return UINT64_C(0x3030303030303030) | (random & UINT64_C(0x0707070707070707));
	default:
		return random & UINT64_C(0x00000000ffffffff);
	}
}

void payload_fill(void *value, size_t len, enum payload_kind kind, uint64_t seed)
{
	char *to = value;
	uint64_t word;
	size_t words = len / 8;
	for (size_t i = 0; i < words; i++) {
		word = word_of(kind, seed, i);
		memcpy(to + i * 8, &word, 8);
	}
	word = word_of(kind, seed, words);
	memcpy(to + words * 8, &word, len % 8);
}

static unsigned bytes_differing(const char *value, uint64_t word, size_t n)
{
	char expected[8];
	unsigned differing = 0;
	memcpy(expected, &word, 8);
	for (size_t i = 0; i < n; i++)
		differing += value[i] != expected[i];
	return differing;
}

uint64_t payload_check(const void *value, size_t len, enum payload_kind kind, uint64_t seed)
{
	const char *from = value;
	uint64_t bad = 0, word, found;
	size_t words = len / 8;
	for (size_t i = 0; i < words; i++) {
		word = word_of(kind, seed, i);
		memcpy(&found, from + i * 8, 8);
		if (found != word)
			bad += bytes_differing(from + i * 8, word, 8);
	}
	return bad + bytes_differing(from + words * 8, word_of(kind, seed, words), len % 8);
}
