/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing the manifest: see manifest.h for the contracts, format.h for the bytes. */
#include "tiers/cold/manifest.h"

#include "alloc/check.h"
#include "alloc/error.h"
#include "tiers/cold/io.h"
#include "tiers/cold/memory.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <xxhash.h>

#define MANIFEST_TMP MANIFEST_NAME ".tmp"

static size_t round_8(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

void manifest_clear(struct memory *memory, struct manifest *manifest)
{
	if (manifest->runs)
		memory_free(memory, manifest->runs, manifest->n_runs * sizeof(manifest->runs[0]));
	if (manifest->segments)
		memory_free(memory, manifest->segments,
			    manifest->n_segments * sizeof(manifest->segments[0]));
	if (manifest->keys)
		memory_free(memory, manifest->keys, manifest->n_keys * sizeof(manifest->keys[0]));
	if (manifest->holes)
		memory_free(memory, manifest->holes, manifest->n_holes * sizeof(manifest->holes[0]));
	if (manifest->meta)
		memory_free(memory, manifest->meta, manifest->meta_bytes);
	*manifest = (struct manifest){ 0 };
}

/* ---- Decoding ---- */

/* What is left of the file's bytes between its head and its hash. */
struct rest {
	const uint8_t *at;
	size_t len;
};

static const void *take(struct rest *rest, size_t bytes)
{
	if (bytes > rest->len)
		return NULL;
	const void *at = rest->at;
	rest->at += bytes;
	rest->len -= bytes;
	return at;
}

/* The runs' heads and, in a second pass over the same bytes, their segments. */
static int decode_runs(struct memory *memory, struct rest *rest, uint32_t n,
		       struct manifest *manifest)
{
	struct rest again = *rest;
	struct manifest_run run;
	uint64_t segments = 0;
	for (uint32_t i = 0; i < n; i++) {
		const void *from = take(rest, sizeof(run));
		if (!from)
			return -EILSEQ;
		memcpy(&run, from, sizeof(run));
		if (!run.segments || run.from_space > 255 ||
		    !take(rest, run.segments * sizeof(struct manifest_segment)))
			return -EILSEQ;
		segments += run.segments;
	}
	if (!n)
		return 0;
	manifest->runs = memory_alloc(memory, n * sizeof(run));
	if (!manifest->runs)
		return -ENOMEM;
	manifest->n_runs = n;
	manifest->segments = memory_alloc(memory, segments * sizeof(struct manifest_segment));
	if (!manifest->segments)
		return -ENOMEM;
	manifest->n_segments = (uint32_t)segments;
	struct manifest_segment *to = manifest->segments;
	for (uint32_t i = 0; i < n; i++) {
		struct manifest_run *into = &manifest->runs[i];
		memcpy(into, take(&again, sizeof(*into)), sizeof(*into));
		memcpy(to, take(&again, into->segments * sizeof(*to)), into->segments * sizeof(*to));
		to += into->segments;
	}
	for (uint64_t i = 0; i < segments; i++)
		if (manifest->segments[i].number >= manifest->next_number)
			return -EILSEQ;
	return 0;
}

static int decode_drops(struct rest *rest, uint32_t n, struct manifest *manifest)
{
	for (uint32_t i = 0; i < n; i++) {
		struct manifest_drop drop;
		const void *from = take(rest, sizeof(drop));
		if (!from)
			return -EILSEQ;
		memcpy(&drop, from, sizeof(drop));
		if (drop.space > 255)
			return -EILSEQ;
		manifest->below[drop.space] = drop.below_seq;
	}
	return 0;
}

static bool numbers_fit(const struct manifest_erase *erase, const uint8_t *key)
{
	uint32_t numbers = 0;
	if (!(erase->flags & COLD_NUMBERED))
		return true;
	if (erase->key_len < sizeof(numbers))
		return false;
	memcpy(&numbers, key + erase->key_len - sizeof(numbers), sizeof(numbers));
	return numbers <= COLD_NUMBERS_MAX;
}

static int decode_keys(struct memory *memory, struct rest *rest, uint32_t n,
		       struct manifest *manifest)
{
	if (!n)
		return 0;
	if (n > rest->len / sizeof(struct manifest_erase))
		return -EILSEQ;
	manifest->keys = memory_alloc(memory, n * sizeof(struct manifest_key));
	if (!manifest->keys)
		return -ENOMEM;
	manifest->n_keys = n;
	for (uint32_t i = 0; i < n; i++) {
		struct manifest_erase erase;
		const void *from = take(rest, sizeof(erase));
		if (!from)
			return -EILSEQ;
		memcpy(&erase, from, sizeof(erase));
		from = take(rest, round_8(erase.key_len));
		if (!from || !erase.key_len || erase.key_len > THERMO_KEY_MAX ||
		    erase.flags & ~(COLD_CHUNK | COLD_NUMBERED) || !numbers_fit(&erase, from))
			return -EILSEQ;
		struct manifest_key *key = &manifest->keys[i];
		*key = (struct manifest_key){ erase.below_seq, erase.key_len, erase.space,
					      erase.flags, 0, { 0 } };
		memcpy(key->key, from, erase.key_len);
	}
	return 0;
}

static int decode_meta(struct memory *memory, struct rest *rest, uint32_t bytes,
		       struct manifest *manifest)
{
	const void *from = take(rest, round_8(bytes));
	if (!from)
		return -EILSEQ;
	if (!bytes)
		return 0;
	manifest->meta = memory_alloc(memory, bytes);
	if (!manifest->meta)
		return -ENOMEM;
	manifest->meta_bytes = bytes;
	memcpy(manifest->meta, from, bytes);
	return 0;
}

static int decode_holes(struct memory *memory, struct rest *rest, struct manifest *manifest)
{
	uint64_t n;
	const void *from = take(rest, sizeof(n));
	if (!from)
		return -EILSEQ;
	memcpy(&n, from, sizeof(n));
	if (!n || n > rest->len / sizeof(struct manifest_hole))
		return -EILSEQ;
	size_t bytes = n * sizeof(struct manifest_hole);
	manifest->holes = memory_alloc(memory, bytes);
	if (!manifest->holes)
		return -ENOMEM;
	manifest->n_holes = (uint32_t)n;
	memcpy(manifest->holes, take(rest, bytes), bytes);
	for (uint64_t i = 0; i < n; i++)
		if (manifest->holes[i].from_space > 256 || manifest->holes[i].to_space > 256)
			return -EILSEQ;
	return 0;
}

/* What every version has in common, then what this one knows. */
static int check_head(const uint8_t *bytes, size_t len, const struct manifest_head *head,
		      const char **why)
{
	uint64_t hash;
	if (head->magic != MANIFEST_MAGIC) {
		*why = "it is not a manifest (magic number)";
		return -EILSEQ;
	}
	memcpy(&hash, bytes + len - sizeof(hash), sizeof(hash));
	if (head->bytes != len || XXH3_64bits(bytes, len - sizeof(hash)) != hash) {
		*why = "its checksum is wrong: bytes were damaged";
		return -EILSEQ;
	}
	if (head->version != FORMAT_VERSION) {
		*why = "its format version is unknown";
		return -EPROTO;
	}
	if ((head->features.incompat & ~FORMAT_INCOMPAT_KNOWN) ||
	    (head->features.ro_compat & ~FORMAT_RO_COMPAT_KNOWN)) {
		*why = "it uses features that this version does not know";
		return -EPROTO;
	}
	return 0;
}

int manifest_decode(struct memory *memory, const void *bytes, size_t len,
		    struct manifest *manifest, const char **why)
{
	struct manifest_head head;
	*manifest = (struct manifest){ 0 };
	if (len < sizeof(head) + sizeof(uint64_t) || len > MANIFEST_BYTES_MAX) {
		*why = "its length is impossible";
		return -EILSEQ;
	}
	memcpy(&head, bytes, sizeof(head));
	int status = check_head(bytes, len, &head, why);
	if (status)
		return status;
	manifest->generation = head.generation;
	manifest->next_number = head.next_number;
	manifest->max_seq = head.max_seq;
	struct rest rest = { (const uint8_t *)bytes + sizeof(head),
			     len - sizeof(head) - sizeof(uint64_t) };
	status = decode_runs(memory, &rest, head.runs, manifest);
	if (!status)
		status = decode_drops(&rest, head.drops, manifest);
	if (!status)
		status = decode_keys(memory, &rest, head.erases, manifest);
	if (!status)
		status = decode_meta(memory, &rest, head.meta_bytes, manifest);
	if (!status && head.features.incompat & FORMAT_INCOMPAT_HOLES)
		status = decode_holes(memory, &rest, manifest);
	if (!status && rest.len)
		status = -EILSEQ;
	if (status) {
		*why = status == -ENOMEM ? "there is no memory" : "its parts do not add up";
		manifest_clear(memory, manifest);
	}
	return status;
}

/* ---- Encoding ---- */

static uint32_t drops(const struct manifest *manifest)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < 256; i++)
		n += manifest->below[i] != 0;
	return n;
}

size_t manifest_bytes(const struct manifest *manifest)
{
	size_t bytes = sizeof(struct manifest_head) + sizeof(uint64_t);
	bytes += manifest->n_runs * sizeof(struct manifest_run);
	bytes += manifest->n_segments * sizeof(struct manifest_segment);
	bytes += drops(manifest) * sizeof(struct manifest_drop);
	for (uint32_t i = 0; i < manifest->n_keys; i++)
		bytes += sizeof(struct manifest_erase) + round_8(manifest->keys[i].key_len);
	if (manifest->n_holes)
		bytes += sizeof(uint64_t) + manifest->n_holes * sizeof(struct manifest_hole);
	return bytes + round_8(manifest->meta_bytes);
}

static uint8_t *encode_runs(const struct manifest *manifest, uint8_t *at)
{
	const struct manifest_segment *segment = manifest->segments;
	for (uint32_t i = 0; i < manifest->n_runs; i++) {
		const struct manifest_run *run = &manifest->runs[i];
		memcpy(at, run, sizeof(*run));
		at += sizeof(*run);
		memcpy(at, segment, run->segments * sizeof(*segment));
		at += run->segments * sizeof(*segment);
		segment += run->segments;
	}
	return at;
}

void manifest_encode(const struct manifest *manifest, void *bytes)
{
	size_t len = manifest_bytes(manifest);
	uint8_t *at = bytes;
	struct manifest_head head = { .magic = MANIFEST_MAGIC,
				      .version = FORMAT_VERSION,
				      .bytes = (uint32_t)len,
				      .generation = manifest->generation,
				      .next_number = manifest->next_number,
				      .max_seq = manifest->max_seq,
				      .runs = manifest->n_runs,
				      .drops = drops(manifest),
				      .erases = manifest->n_keys,
				      .meta_bytes = manifest->meta_bytes };
	if (manifest->n_holes)
		head.features.incompat = FORMAT_INCOMPAT_HOLES;
	memset(bytes, 0, len);
	memcpy(at, &head, sizeof(head));
	at += sizeof(head);
	at = encode_runs(manifest, at);
	for (unsigned i = 0; i < 256; i++) {
		struct manifest_drop drop = { manifest->below[i], i };
		if (!drop.below_seq)
			continue;
		memcpy(at, &drop, sizeof(drop));
		at += sizeof(drop);
	}
	for (uint32_t i = 0; i < manifest->n_keys; i++) {
		const struct manifest_key *key = &manifest->keys[i];
		struct manifest_erase erase = { key->below_seq, key->key_len, key->space,
						key->flags, 0 };
		memcpy(at, &erase, sizeof(erase));
		memcpy(at + sizeof(erase), key->key, key->key_len);
		at += sizeof(erase) + round_8(key->key_len);
	}
	if (manifest->meta_bytes)
		memcpy(at, manifest->meta, manifest->meta_bytes);
	at += round_8(manifest->meta_bytes);
	if (manifest->n_holes) {
		uint64_t n = manifest->n_holes;
		memcpy(at, &n, sizeof(n));
		memcpy(at + sizeof(n), manifest->holes, n * sizeof(manifest->holes[0]));
		at += sizeof(n) + n * sizeof(manifest->holes[0]);
	}
	uint64_t hash = XXH3_64bits(bytes, len - sizeof(hash));
	memcpy(at, &hash, sizeof(hash));
	check(at + sizeof(hash) == (uint8_t *)bytes + len);
}

/* ---- Files ---- */

int manifest_read(struct memory *memory, const struct file *dir, struct manifest *manifest,
		  uint64_t *file_bytes, struct thermo_error *error)
{
	struct file file;
	struct file_stat stat;
	const char *why = "it cannot be read";
	uint8_t *bytes = NULL;
	int status = file_open(dir, MANIFEST_NAME, 0, &file);
	if (status == -ENOENT)
		return status;
	if (status)
		return error_set(error, status, "%s/" MANIFEST_NAME ": %s", dir->name, why);
	status = file_stat(&file, &stat);
	if (!status && (!stat.bytes || stat.bytes > MANIFEST_BYTES_MAX)) {
		why = "its length is impossible";
		status = -EILSEQ;
	}
	if (!status) {
		bytes = memory_alloc(memory, stat.bytes);
		status = bytes ? file_read(&file, bytes, stat.bytes, 0) : -ENOMEM;
	}
	if (!status) {
		status = manifest_decode(memory, bytes, stat.bytes, manifest, &why);
		*file_bytes = stat.bytes;
	}
	if (bytes)
		memory_free(memory, bytes, stat.bytes);
	file_close(&file);
	if (!status)
		return 0;
	return error_set(error, status, "%s/" MANIFEST_NAME ": %s; %s", dir->name, why,
			 status == -EPROTO ? "open it with the version that wrote it" :
			 status == -EILSEQ ? "restore the directory from a copy, or empty it" :
					     "see the system's log");
}

int manifest_write(struct memory *memory, struct file *dir, const struct manifest *manifest,
		   uint64_t *file_bytes, bool *unsure)
{
	struct file file;
	size_t len = manifest_bytes(manifest);
	*unsure = false;
	if (len > MANIFEST_BYTES_MAX)
		return -EFBIG;
	uint8_t *bytes = memory_alloc(memory, len);
	if (!bytes)
		return -ENOMEM;
	manifest_encode(manifest, bytes);
	int status = file_unlink(dir, MANIFEST_TMP);
	if (status && status != -ENOENT)
		goto free_bytes;
	status = file_open(dir, MANIFEST_TMP, FILE_WRITE | FILE_CREATE, &file);
	if (status)
		goto free_bytes;
	status = file_write(&file, bytes, len, 0);
	if (!status)
		status = file_sync_data(&file);
	file_close(&file);
	if (!status)
		status = file_rename(dir, MANIFEST_TMP, MANIFEST_NAME);
	if (status) {
		file_unlink(dir, MANIFEST_TMP);
		goto free_bytes;
	}
	status = file_sync(dir);
	*unsure = status != 0;
	*file_bytes = len;
free_bytes:
	memory_free(memory, bytes, len);
	return status;
}
