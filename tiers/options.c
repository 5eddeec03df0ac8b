/* SPDX-License-Identifier: Apache-2.0 */
/* Options: defaults, and the configuration text. Sizes, shares and names are checked at open. */
#include "alloc/error.h"
#include "include/thermocline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 65536u

void thermo_options_init(struct thermo_options *o)
{
	memset(o, 0, sizeof(*o));
	o->size = sizeof(*o);
	o->background_threads = 2;
	o->dram_bytes = UINT64_C(64) << 20;
	o->put_wait_ms = 10;
	o->pin_percent = 10;
	o->huge_pages = 1;
	o->scrub_days = 30;
}

void thermo_space_options_init(struct thermo_space_options *o)
{
	memset(o, 0, sizeof(*o));
	o->size = sizeof(*o);
	o->sync_ms = 10;
	memset(o->max_percent, 100, sizeof(o->max_percent));
}

/* Digits and at most one of K, M, G, T (then an optional "B" or "iB"). */
static bool parse_size(const char *text, uint64_t *bytes)
{
	uint64_t value = 0;
	const char *p = text;
	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(*p - '0');
	}
	unsigned shift = 0;
	switch (*p) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	case 't':
	case 'T':
		shift = 40;
		break;
	default:
		break;
	}
	if (shift) {
		p++;
		if (*p == 'i')
			p++;
		if (*p == 'B')
			p++;
	}
	if (*p || (shift && value > UINT64_MAX >> shift))
		return false;
	*bytes = value << shift;
	return true;
}

enum type { SIZE, NUMBER, TEXT, WARM, COLD };

static const struct field {
	const char *key;
	enum type type;
	size_t offset;
} fields[] = {
	{"background_threads", NUMBER, offsetof(struct thermo_options, background_threads)},
	{"dram", SIZE, offsetof(struct thermo_options, dram_bytes)},
	{"dram_max", SIZE, offsetof(struct thermo_options, dram_max_bytes)},
	{"dram_provider", TEXT, offsetof(struct thermo_options, dram)},
	{"warm", WARM, 0},
	{"warm_max", SIZE, offsetof(struct thermo_options, warm_max_bytes)},
	{"cold", COLD, 0},
	{"log", SIZE, offsetof(struct thermo_options, log_bytes)},
	{"policy", TEXT, offsetof(struct thermo_options, policy)},
	{"io", TEXT, offsetof(struct thermo_options, io)},
	{"heap", TEXT, offsetof(struct thermo_options, heap)},
	{"put_wait_ms", NUMBER, offsetof(struct thermo_options, put_wait_ms)},
	{"pin_percent", NUMBER, offsetof(struct thermo_options, pin_percent)},
	{"move_bytes_per_s", SIZE, offsetof(struct thermo_options, move_bytes_per_s)},
	{"cold_write_bytes_per_day", SIZE,
	 offsetof(struct thermo_options, cold_write_bytes_per_day)},
	{"scrub_days", NUMBER, offsetof(struct thermo_options, scrub_days)},
	{"filter", SIZE, offsetof(struct thermo_options, filter_bytes)},
	{"index_buckets", NUMBER, offsetof(struct thermo_options, index_buckets)},
	{"huge_pages", NUMBER, offsetof(struct thermo_options, huge_pages)},
};

static bool set_warm(struct thermo_options *o, char *value)
{
	char *at = strchr(value, '@');
	if (at)
		*at++ = '\0';
	if (!parse_size(value, &o->warm_bytes))
		return false;
	o->warm = at ? at : NULL;
	return true;
}

static bool set_cold(struct thermo_options *o, char *value)
{
	o->cold_bytes = 0;
	if (strcmp(value, "none") == 0) {
		o->cold_dir = NULL;
		return true;
	}
	/* A colon that a size follows separates it; any other belongs to the path. */
	char *colon = strrchr(value, ':');
	if (colon && parse_size(colon + 1, &o->cold_bytes))
		*colon = '\0';
	o->cold_dir = value;
	return *value != '\0';
}

static bool set_field(struct thermo_options *o, const struct field *f, char *value)
{
	char *member = (char *)o + f->offset;
	uint64_t number;
	switch (f->type) {
	case SIZE:
		if (!parse_size(value, &number))
			return false;
		memcpy(member, &number, sizeof(number));
		return true;
	case NUMBER:
		if (!parse_size(value, &number) || number > UINT32_MAX)
			return false;
		memcpy(member, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
		return true;
	case TEXT:
		memcpy(member, &value, sizeof(value));
		return *value != '\0';
	case WARM:
		return set_warm(o, value);
	case COLD:
		return set_cold(o, value);
	}
	return false;
}

static char *trim(char *text)
{
	while (*text == ' ' || *text == '\t' || *text == '\r')
		text++;
	char *end = text + strlen(text);
	while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		*--end = '\0';
	return text;
}

static int parse_pair(struct thermo_options *o, char *pair, unsigned line,
		      struct thermo_error *error)
{
	pair = trim(pair);
	if (!*pair)
		return 0;
	char *equals = strchr(pair, '=');
	if (!equals)
		return error_set(error, -EINVAL,
				 "configuration line %u: \"%.40s\" is not \"key = value\"", line,
				 pair);
	*equals = '\0';
	char *key = trim(pair), *value = trim(equals + 1);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(fields[i].key, key) != 0)
			continue;
		if (set_field(o, &fields[i], value))
			return 0;
		return error_set(error, -EINVAL, "configuration line %u: \"%.60s\" is no value for %s",
				 line, value, key);
	}
	return error_set(error, -EINVAL, "configuration line %u: no option is called \"%.40s\"",
			 line, key);
}

/* A text that was parsed; strings of options may point into it, also after another one was parsed. */
struct text {
	struct text *earlier;
	char bytes[];
};

int thermo_options_parse(struct thermo_options *options, const char *text,
			 struct thermo_error *error)
{
	size_t len = strnlen(text, TEXT_MAX + 1);
	if (len > TEXT_MAX)
		return error_set(error, -EINVAL, "configuration: longer than %u bytes", TEXT_MAX);
	struct text *copy = malloc(sizeof(*copy) + len + 1);
	if (!copy)
		return error_set(error, -ENOMEM, "configuration: no memory");
	memcpy(copy->bytes, text, len + 1);
	struct thermo_options parsed = *options;
	unsigned line = 1;
	int rc = 0;
	for (char *p = copy->bytes; *p && rc == 0; line++) {
		char *end = p + strcspn(p, "\n");
		char *next = *end ? end + 1 : end;
		*end = '\0';
		p[strcspn(p, "#")] = '\0';
		for (char *pair = p; pair && rc == 0;) {
			char *semicolon = strchr(pair, ';');
			if (semicolon)
				*semicolon++ = '\0';
			rc = parse_pair(&parsed, pair, line, error);
			pair = semicolon;
		}
		p = next;
	}
	if (rc) {
		free(copy);
		return rc;
	}
	copy->earlier = (struct text *)(void *)options->_text;
	parsed._text = (char *)copy;
	*options = parsed;
	return 0;
}

void thermo_options_free(struct thermo_options *options)
{
	struct text *t = (struct text *)(void *)options->_text;
	while (t) {
		struct text *earlier = t->earlier;
		free(t);
		t = earlier;
	}
	thermo_options_init(options);
}
