/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration text: thermo_options_parse on any text, and a second one on top of it. */
#include "alloc/check.h"
#include "include/thermocline.h"
#include "tests/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static volatile size_t sum; /* so that every string is read */

static void string_read(const char *text)
{
	if (text)
		sum += strlen(text);
}

/* 0 and strings that can be read, or -EINVAL, a line, and nothing changed. */
static void parse(struct thermo_options *o, const char *text)
{
	struct thermo_options before = *o;
	struct thermo_error error = {""};
	int rc = thermo_options_parse(o, text, &error);
	if (rc) {
		check(rc == -EINVAL);
		fuzz_line(error.text);
		check(memcmp(&before, o, sizeof(before)) == 0);
		return;
	}
	check(o->size == sizeof(*o));
	string_read(o->warm);
	string_read(o->dram);
	string_read(o->cold_dir);
	string_read(o->policy);
	string_read(o->io);
	string_read(o->heap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	char *text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	struct thermo_options o;
	thermo_options_init(&o);
	if (data[0] & 1)
		parse(&o, "dram = 20M; cold = /nowhere:1G; policy = lru\nwarm=8M@emulate:250");
	parse(&o, text);
	if (data[0] & 2)
		parse(&o, text);
	if (data[0] & 4)
		parse(&o, text + strlen(text) / 2);
	thermo_options_free(&o);
	check(!o.cold_dir && !o._text);
	free(text);
	return 0;
}

void fuzz_seeds(const char *folder)
{
	static const char *const texts[] = {
		"",
		"dram = 64M\nwarm = 256M@emulate:250,4\ncold = /var/cache/thermo:10G\npolicy = "
		"s3fifo\n",
		"dram=1G;dram_max=2GiB;warm=8MB@node:1;warm_max=16m;cold=none;io=uring;heap=libc",
		"# comment\n\tbackground_threads = 0 # another\r\nput_wait_ms=10\npin_percent = "
		"10\n"
		"move_bytes_per_s = 100M\ncold_write_bytes_per_day = 1T\nfilter = 10M\n"
		"index_buckets = 1024\nhuge_pages = 0\ndram_provider = node:0\n",
		"cold = C:\\a:b:5x\nwarm = 18446744073709551615\n",
		"dram 64M\n",
		"no_such = 5",
		"dram = 99999999999T",
		"policy =",
	};
	char name[16];
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		name[0] = (char)('a' + i);
		name[1] = '\0';
		fuzz_seed(folder, name, (uint8_t)i, texts[i], strlen(texts[i]));
	}
}
