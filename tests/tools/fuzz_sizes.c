/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes: the text of a size, and a sizes file as `thermo replay --value-size dist:FILE` reads it.
 */
#include "alloc/check.h"
#include "tests/fuzz.h"
#include "tools/sizes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void model_try(const char *spec)
{
	struct thermo_error error = {""};
	struct size_model *model = NULL;
	int rc = size_model_open(spec, &model, &error);
	if (rc) {
		check(rc == -EINVAL && !model && *error.text);
		return;
	}
	for (uint64_t key = 0; key < 64; key++) {
		uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
		uint32_t size = size_model_draw(model, hash, key);
		check(size <= THERMO_VALUE_MAX && size == size_model_draw(model, hash, key));
	}
	size_model_close(&model);
}

static void file_try(const uint8_t *data, size_t size)
{
	char spec[64];
	int fd = memfd_create("sizes", MFD_CLOEXEC);
	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(spec, sizeof(spec), "dist:/proc/self/fd/%d", fd);
	model_try(spec);
	close(fd);
}

static void text_try(const uint8_t *data, size_t size)
{
	uint64_t bytes = 0;
	char shown[24], *text = malloc(size + 1);
	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	int rc = size_parse(text, &bytes);
	check(rc == 0 || rc == -EINVAL || rc == -ERANGE);
	if (rc == 0)
		check(bytes <= INT64_MAX && strlen(size_format(bytes, shown)) < sizeof(shown));
	if (strncmp(text, "dist:", 5) != 0)
		model_try(text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		text_try(data + 1, size - 1);
	else
		file_try(data + 1, size - 1);
	return 0;
}

void fuzz_seeds(const char *folder)
{
	static const char *const texts[] = {
		("{\"valSizeRange\":[1,32,10240.0,409200],\"valSizeRangeProbability\":[0.1,0.3,0.6]"
		"}"),
		"64M",
		"{\"valSizeRange\": [0, 268435456],\n \"valSizeRangeProbability\": [1e-3, 7]}",
		"1.5GiB",
		"{\"valSizeRange\":[5],\"valSizeRangeProbability\":[0]}",
		"published",
		"{\"valSizeRange\":[5,4,3],\"valSizeRangeProbability\":[1,1]}",
		"9223372036854775808",
		"{\"keySizeRange\":{\"a\":[null,true,\"\\u00e9\"]},",
	};
	char name[2] = "a";
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++, name[0]++)
		fuzz_seed(folder, name, (uint8_t)i, texts[i], strlen(texts[i]));
}
