/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the log's parsers on any bytes. The first byte chooses; a frame gets the checksum that it needs,
 * so that what is behind it is reached. Build with -Dfuzz=true and clang. */
#include "alloc/check.h"
#include "tests/fuzz.h"
#include "tiers/cold/cold.h"
#include "tiers/cold/crc.h"
#include "tiers/cold/log_format.h"

#include <stdlib.h>
#include <string.h>

static uint64_t sum; /* reads every byte that a record points to */

static void entries_try(const char *payload, size_t len)
{
	struct cold_record record;
	size_t at = 0, before = 0;
	while (at < len && log_entry_parse(payload, len, &at, &record) == 0) {
		const char *key = record.key, *value = record.value;
		check(at > before && at <= len && at % 8 == 0);
		check(key >= payload && value + record.value_len <= payload + len);
		for (uint32_t i = 0; i < record.key_len; i++)
			sum += (unsigned char)key[i];
		for (uint32_t i = 0; i < record.value_len; i++)
			sum += (unsigned char)value[i];
		before = at;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t from = offsetof(struct log_frame, number);
	struct log_header header;
	struct log_frame frame;
	if (!size)
		return 0;
	size--;
	char *copy = malloc(size + 1); /* of exactly that length: reading beyond it shows */
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size);
	log_header_parse(copy, size, &header);
	if (data[0] & 1 && size >= sizeof(frame)) {
		memcpy(&frame, copy, sizeof(frame));
		frame.magic = LOG_FRAME_MAGIC;
		frame.number = 1;
		frame.bytes = (uint32_t)(size - sizeof(frame));
		memcpy(copy, &frame, sizeof(frame));
		frame.crc = crc_update(0, copy + from, size - from);
		memcpy(copy, &frame, sizeof(frame));
	}
	if (log_frame_parse(copy, size, 1, 0, true, &frame) == 0) {
		check(frame.bytes + sizeof(frame) <= size);
		entries_try(copy + sizeof(frame), frame.bytes);
	}
	entries_try(copy, size);
	free(copy);
	return 0;
}

/* One record, bare and in a frame. */
void fuzz_seeds(const char *folder)
{
	char bytes[sizeof(struct log_frame) + 40] = {0};
	struct log_entry entry = {.bytes = 40, .key_len = 3, .space = 1, .seq = 5, .value_len = 5};
	memcpy(bytes + sizeof(struct log_frame), &entry, sizeof(entry));
	memcpy(bytes + sizeof(struct log_frame) + sizeof(entry), "keyvalue", 8);
	fuzz_seed(folder, "frame", 1, bytes, sizeof(bytes));
	fuzz_seed(folder, "entry", 0, bytes + sizeof(struct log_frame), 40);
}
