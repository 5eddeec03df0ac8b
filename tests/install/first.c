/* SPDX-License-Identifier: Apache-2.0 */
/* The first program in C: built against the installed library only. */
#include <stdio.h>
#include <thermocline.h>

int main(void)
{
	struct thermo_options options;
	struct thermo_error error;
	struct thermo *cache;
	struct thermo_space *space;
	char value[64];
	size_t len = 0;
	thermo_options_init(&options);
	options.dram_bytes = 64 << 20;
	if (thermo_open(&options, &cache, &error))
		return fprintf(stderr, "%s\n", error.text), 1;
	if (thermo_space_open(cache, "first", NULL, &space, &error))
		return fprintf(stderr, "%s\n", error.text), 1;
	if (thermo_put(space, "user:7", 6, "liked 42", 8, THERMO_TTL_DEFAULT) != THERMO_OK)
		return 1;
	if (thermo_get(space, "user:7", 6, value, sizeof(value), &len) != THERMO_OK)
		return 1;
	printf("%.*s\n", (int)len, value);
	return thermo_close(&cache, 0, &error) ? 1 : 0;
}
