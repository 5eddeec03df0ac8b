/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/plant.h"

#include <stdlib.h>
#include <string.h>

static bool has(const struct disk_op *op, const char *part)
{
	return strstr(op->name, part) != NULL;
}

/* An operation that does nothing: numbers of operations stay as the trace knows them. */
static void erase(struct disk_op *op)
{
	free(op->data);
	*op = (struct disk_op){.kind = DISK_SYNC};
}

static void skip_segment_sync(struct disk_record *record)
{
	for (size_t i = 0; i < record->n; i++)
		if (record->ops[i].kind == DISK_SYNC && has(&record->ops[i], ".seg"))
			erase(&record->ops[i]);
}

static void skip_image_sync(struct disk_record *record)
{
	for (size_t i = 0; i < record->n; i++)
		if (record->ops[i].kind == DISK_SYNC && has(&record->ops[i], "memory.img"))
			erase(&record->ops[i]);
}

static void skip_log_sync(struct disk_record *record)
{
	for (size_t i = 0; i < record->n; i++)
		if (record->ops[i].kind == DISK_SYNC && has(&record->ops[i], ".log"))
			erase(&record->ops[i]);
}

static void skip_directory_sync(struct disk_record *record)
{
	for (size_t i = 0; i < record->n; i++)
		if (record->ops[i].kind == DISK_SYNC_DIR)
			erase(&record->ops[i]);
}

static void exchange(struct disk_op *a, struct disk_op *b)
{
	struct disk_op op = *a;
	*a = *b;
	*b = op;
}

/* The manifest is renamed, and its directory synced, before its bytes are. */
static void rename_before_sync(struct disk_record *record)
{
	for (size_t i = 0; i + 2 < record->n; i++) {
		struct disk_op *op = &record->ops[i];
		if (op->kind != DISK_SYNC || !has(op, "MANIFEST") || op[1].kind != DISK_RENAME)
			continue;
		exchange(op, op + 1);
		if (op[2].kind == DISK_SYNC_DIR)
			exchange(op + 1, op + 2);
		i += 2;
	}
}

/* The manifest that names a segment comes before the segment has its name. */
static void manifest_before_segment(struct disk_record *record)
{
	for (size_t i = 0; i < record->n; i++) {
		if (record->ops[i].kind != DISK_RENAME || !has(&record->ops[i], ".seg"))
			continue;
		for (size_t at = i; at + 1 < record->n; at++) {
			bool manifest = record->ops[at + 1].kind == DISK_RENAME &&
					has(&record->ops[at + 1], "MANIFEST");
			exchange(&record->ops[at], &record->ops[at + 1]);
			if (!manifest)
				continue;
			if (at + 2 < record->n && record->ops[at + 2].kind == DISK_SYNC_DIR)
				exchange(&record->ops[at + 1], &record->ops[at + 2]);
			break;
		}
	}
}

/* The image of the memory tiers is renamed after the table says that the cache was closed. */
static void image_after_table(struct disk_record *record)
{
	for (size_t i = 0; i + 1 < record->n; i++) {
		struct disk_op *op = &record->ops[i];
		if (op->kind != DISK_RENAME || !has(op, "memory.img"))
			continue;
		size_t at = i;
		while (at + 1 < record->n && !(record->ops[at].kind == DISK_RENAME &&
					       has(&record->ops[at], "MANIFEST"))) {
			exchange(&record->ops[at], &record->ops[at + 1]);
			at++;
			if (record->ops[at - 1].kind == DISK_RENAME)
				break;
		}
		if (at + 1 < record->n && record->ops[at + 1].kind == DISK_SYNC_DIR)
			exchange(&record->ops[at], &record->ops[at + 1]);
		i = at + 1;
	}
}

static const struct {
	const char *name;
	void (*plant)(struct disk_record *record);
} plants[] = {
	{"skip_segment_sync", skip_segment_sync},
	{"skip_image_sync", skip_image_sync},
	{"skip_log_sync", skip_log_sync},
	{"skip_directory_sync", skip_directory_sync},
	{"rename_before_sync", rename_before_sync},
	{"manifest_before_segment", manifest_before_segment},
	{"image_after_table", image_after_table},
};

void plant_bug(const char *name, struct disk_record *record)
{
	for (size_t i = 0; name && i < sizeof(plants) / sizeof(plants[0]); i++)
		if (!strcmp(name, plants[i].name))
			plants[i].plant(record);
}

bool plant_known(const char *name)
{
	for (size_t i = 0; i < sizeof(plants) / sizeof(plants[0]); i++)
		if (!strcmp(name, plants[i].name))
			return true;
	return false;
}

const char *plant_names(void)
{
	static char names[512];
	names[0] = 0;
	for (size_t i = 0; i < sizeof(plants) / sizeof(plants[0]); i++) {
		strcat(names, i ? " " : "");
		strcat(names, plants[i].name);
	}
	return names;
}
