/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of log files: pure functions. See log_format.h. */
#include "tiers/cold/log_format.h"

#include "tiers/cold/cold.h"
#include "tiers/cold/crc.h"
#include "tiers/record.h"

#include <errno.h>

int log_header_parse(const void *bytes, size_t len, struct log_header *header)
{
	if (len < sizeof(*header))
		return -EILSEQ;
	memcpy(header, bytes, sizeof(*header));
	if (header->magic != LOG_HEADER_MAGIC)
		return -EILSEQ;
	if (header->crc != crc_update(0, header, offsetof(struct log_header, crc)))
		return -EILSEQ;
	if (header->version != FORMAT_VERSION || header->bytes != sizeof(*header) ||
	    (header->features.incompat & ~FORMAT_INCOMPAT_KNOWN) ||
	    (header->features.ro_compat & ~FORMAT_RO_COMPAT_KNOWN))
		return -EPROTO;
	return 0;
}

int log_frame_parse(const void *bytes, size_t len, uint64_t number, uint64_t salt, bool any_salt,
		    struct log_frame *frame)
{
	const size_t from = offsetof(struct log_frame, number);
	if (len < sizeof(*frame))
		return -EILSEQ;
	memcpy(frame, bytes, sizeof(*frame));
	if (frame->magic != LOG_FRAME_MAGIC || frame->number != number ||
	    (frame->salt != salt && !any_salt) || frame->synced > frame->position ||
	    frame->bytes > LOG_PAYLOAD_MAX || frame->bytes > len - sizeof(*frame))
		return -EILSEQ;
	uint32_t crc = crc_update(0, (const char *)bytes + from, sizeof(*frame) - from + frame->bytes);
	return crc == frame->crc ? 0 : -EILSEQ;
}

int log_entry_parse(const void *payload, size_t len, size_t *at, struct cold_record *record)
{
	struct log_entry entry;
	if (len < *at || len - *at < sizeof(entry))
		return -EILSEQ;
	const char *start = (const char *)payload + *at;
	memcpy(&entry, start, sizeof(entry));
	if (entry.key_len == 0 || entry.key_len > THERMO_KEY_MAX || entry.value_len > RECORD_VALUE_MAX ||
	    entry.space == 0 || entry.seq == 0 || entry._zero ||
	    (entry.flags & ~(COLD_TOMBSTONE | COLD_CHUNK | COLD_HEAD)) ||
	    ((entry.flags & COLD_TOMBSTONE) && entry.value_len) ||
	    entry.bytes != log_entry_bytes(entry.key_len, entry.value_len) || entry.bytes > len - *at)
		return -EILSEQ;
	*record = (struct cold_record){
		.key = start + sizeof(entry),
		.value = start + sizeof(entry) + entry.key_len,
		.key_len = entry.key_len,
		.value_len = entry.value_len,
		.space = entry.space,
		.flags = entry.flags,
		.hash = key_hash(entry.space, start + sizeof(entry), entry.key_len,
				 (entry.flags & COLD_CHUNK) != 0),
		.seq = entry.seq,
		.expires_ms = entry.expires_ms,
	};
	*at += entry.bytes;
	return 0;
}
