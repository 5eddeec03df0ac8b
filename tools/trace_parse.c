/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See trace_parse.h. A field is a pair of pointers into the line; every loop is bounded by the
 * line, which the reader bounds by TRACE_LINE_MAX.
 */
#include "tools/trace_parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct field {
	const char *text;
	size_t len;
};

/* Answers -EPROTO, so that it can be returned. */
__attribute__((format(printf, 2, 3))) static int wrong(struct thermo_error *error,
						       const char *format, ...)
{
	if (error) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(error->text, sizeof(error->text), format, arguments);
		va_end(arguments);
	}
	return -EPROTO;
}

/* The field as it can be shown: its beginning, without what would upset a terminal. */
struct shown {
	char text[32];
};

static struct shown show(struct field field)
{
	struct shown shown;
	size_t most = sizeof(shown.text) - 4, n = field.len < most ? field.len : most;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)field.text[i];
		shown.text[i] = c < 0x20 || c > 0x7e ? '?' : (char)c;
	}
	strcpy(shown.text + n, field.len > n ? "..." : "");
	return shown;
}

static bool field_is(struct field field, const char *name)
{
	return strlen(name) == field.len && strncasecmp(field.text, name, field.len) == 0;
}

/* The next field of [*at, end), up to a comma; false after the last. */
static bool field_next(const char **at, const char *end, struct field *field)
{
	if (!*at)
		return false;
	const char *comma = memchr(*at, ',', (size_t)(end - *at));
	field->text = *at;
	field->len = (size_t)((comma ? comma : end) - *at);
	*at = comma ? comma + 1 : NULL;
	return true;
}

static int number(struct field field, const char *name, uint64_t least, uint64_t most,
		  uint64_t *value, struct thermo_error *error)
{
	uint64_t sum = 0;
	bool fits = field.len > 0;
	for (size_t i = 0; i < field.len && fits; i++) {
		unsigned digit = (unsigned)(unsigned char)field.text[i] - '0';
		fits = digit <= 9 && !__builtin_mul_overflow(sum, UINT64_C(10), &sum) &&
		       !__builtin_add_overflow(sum, digit, &sum);
	}
	if (!fits || sum < least || sum > most)
		return wrong(error, "%s \"%s\": a whole number from %llu to %llu is needed", name,
			     show(field).text, (unsigned long long)least, (unsigned long long)most);
	*value = sum;
	return 0;
}

/* A key that is text: sixteen hexadecimal digits are the number that they write, anything else is
 * hashed (FNV-1a with a finishing mix). */
static int key_of(struct field field, uint64_t *key, struct thermo_error *error)
{
	if (!field.len)
		return wrong(error, "key: is empty");
	uint64_t value = 0, hash = UINT64_C(0xcbf29ce484222325);
	bool hex = field.len == 16;
	for (size_t i = 0; i < field.len; i++) {
		unsigned char c = (unsigned char)field.text[i];
		hash = (hash ^ c) * UINT64_C(0x100000001b3);
		if (c >= '0' && c <= '9')
			value = value << 4 | (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (unsigned)(c - 'a' + 10);
		else
			hex = false;
	}
	hash ^= hash >> 32;
	hash *= UINT64_C(0xd6e8feb86659fd93);
	hash ^= hash >> 32;
	*key = hex ? value : hash;
	return 0;
}

int trace_op_parse(const char *text, size_t len, enum trace_op *op)
{
	static const struct {
		const char *name;
		enum trace_op op;
	} ops[] = {
		{"get", TRACE_GET},
		{"set", TRACE_SET},
		{"del", TRACE_DELETE},
		{"delete", TRACE_DELETE},
		{"gets", TRACE_GET},
		{"get_lease", TRACE_GET},
		{"read", TRACE_GET},
		{"write", TRACE_SET},
		{"set_lease", TRACE_SET},
		{"add", TRACE_SET},
		{"replace", TRACE_SET},
		{"cas", TRACE_SET},
		{"append", TRACE_SET},
		{"prepend", TRACE_SET},
		{"incr", TRACE_SET},
		{"decr", TRACE_SET},
		{"delete_lease", TRACE_DELETE},
	};
	struct field field = {text, len};
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (field_is(field, ops[i].name)) {
			*op = ops[i].op;
			return 0;
		}
	}
	return -EINVAL;
}

static int op_of(struct field field, enum trace_op *op, struct thermo_error *error)
{
	if (trace_op_parse(field.text, field.len, op))
		return wrong(error, "op \"%s\": get, set, delete or the like is needed",
			     show(field).text);
	return 0;
}

/* ---- Headers ------------------------------------------------------------------------------- */

static enum trace_column column_of(struct field field)
{
	static const struct {
		const char *name;
		enum trace_column column;
	} columns[] = {
		{"time", COLUMN_TIME},      {"op_time", COLUMN_TIME}, {"key", COLUMN_KEY},
		{"size", COLUMN_SIZE},      {"op", COLUMN_OP},        {"key_size", COLUMN_KEY_SIZE},
		{"op_count", COLUMN_COUNT}, {"ttl", COLUMN_TTL},
	};
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		if (field_is(field, columns[i].name))
			return columns[i].column;
	return COLUMN_IGNORED;
}

int trace_parse_header(const char *line, size_t len, enum trace_format format,
		       struct trace_columns *columns, struct thermo_error *error)
{
	const char *at = line, *end = line + len;
	struct field field;
	unsigned seen = 0;

	columns->n = 0;
	while (field_next(&at, end, &field)) {
		enum trace_column column = column_of(field);
		if (columns->n == TRACE_COLUMNS_MAX)
			return wrong(error, "header: more than %u columns", TRACE_COLUMNS_MAX);
		if (column != COLUMN_IGNORED && seen & 1u << column)
			return wrong(error, "header: column \"%s\" is there twice",
				     show(field).text);
		seen |= 1u << column;
		columns->is[columns->n++] = (uint8_t)column;
	}
	if (!(seen & 1u << COLUMN_KEY))
		return wrong(error,
			     "header: no column \"key\" in \"%s\"; a first line like %s is needed",
			     show((struct field){line, len}).text,
			     format == TRACE_KV ? "op_time,key,key_size,op,op_count,size"
						: "time,key,size,op");
	bool kv = seen & (1u << COLUMN_COUNT | 1u << COLUMN_KEY_SIZE);
	columns->format = format != TRACE_AUTO ? format : kv ? TRACE_KV : TRACE_CSV;
	if (columns->format == TRACE_CSV && kv)
		return wrong(error, "header: has columns of the kv format; use --format kv");
	if (columns->format == TRACE_KV && !(seen & 1u << COLUMN_OP))
		return wrong(error, "header: no column \"op\"; is this the kv format?");
	return 0;
}

static bool printable(const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] < 0x20 && !memchr("\t\r\n", bytes[i], 3))
			return false;
	return true;
}

int trace_guess(const void *bytes, size_t n, enum trace_format *format, struct thermo_error *error)
{
	const char *line = bytes;
	const char *end = memchr(bytes, '\n', n);
	size_t len = end ? (size_t)(end - line) : n;
	unsigned commas = 0;
	size_t record = n < TRACE_ORACLE_RECORD ? n : TRACE_ORACLE_RECORD;
	struct trace_columns columns = {0};

	if (!printable(bytes, len < TRACE_LINE_MAX ? len : TRACE_LINE_MAX)) {
		*format = TRACE_ORACLE;
		return 0;
	}
	if (len > TRACE_LINE_MAX)
		return wrong(error, "longer than %u bytes; is this a text trace?", TRACE_LINE_MAX);
	for (size_t i = 0; i < len; i++)
		commas += line[i] == ',';
	if (len && line[len - 1] == '\r')
		len--;
	if (commas >= 6 && line[0] >= '0' && line[0] <= '9') {
		*format = TRACE_TWITTER;
		return 0;
	}
	int rc = trace_parse_header(line, len, TRACE_AUTO, &columns, error);
	*format = columns.format;
	/* A record's first bytes may look like a short line. */
	if (rc && !printable(bytes, record)) {
		*format = TRACE_ORACLE;
		rc = 0;
	}
	return rc;
}

/* ---- Lines --------------------------------------------------------------------------------- */

static int column_parse(const struct trace_columns *columns, enum trace_column column,
			struct field field, struct trace_request *r, struct thermo_error *error)
{
	uint64_t value = 0;
	int rc = 0;
	switch (column) {
	case COLUMN_TIME:
		return number(field, "time", 0, UINT64_MAX, &r->time, error);
	case COLUMN_KEY:
		if (columns->format == TRACE_KV)
			return key_of(field, &r->key, error);
		return number(field, "key", 0, UINT64_MAX, &r->key, error);
	case COLUMN_SIZE:
		return number(field, "size", 0, TRACE_SIZE_MAX, &r->size, error);
	case COLUMN_OP:
		return op_of(field, &r->op, error);
	case COLUMN_KEY_SIZE:
		rc = number(field, "key_size", 0, TRACE_KEY_SIZE_MAX, &value, error);
		r->key_size = (uint32_t)value;
		return rc;
	case COLUMN_COUNT:
		rc = number(field, "op_count", 1, TRACE_COUNT_MAX, &value, error);
		r->count = (uint32_t)value;
		return rc;
	case COLUMN_TTL:
		return number(field, "ttl", 0, UINT32_MAX, &r->ttl_s, error);
	default:
		return 0;
	}
}

int trace_parse_line(const struct trace_columns *columns, const char *line, size_t len,
		     struct trace_request *r, struct thermo_error *error)
{
	const char *at = line, *end = line + len;
	struct field field;
	unsigned n = 0;

	*r = (struct trace_request){.count = 1};
	for (; field_next(&at, end, &field); n++) {
		if (n == columns->n)
			return wrong(error, "more than the header's %u fields", columns->n);
		int rc = column_parse(columns, (enum trace_column)columns->is[n], field, r, error);
		if (rc)
			return rc;
	}
	if (n < columns->n)
		return wrong(error, "%u fields where the header has %u", n, columns->n);
	r->size += r->key_size; /* 0 in csv, whose size is of both */
	return 0;
}

/* Keys may hold commas: the key is what lies between the first field and the last five. */
int trace_parse_twitter(const char *line, size_t len, struct trace_request *r,
			struct thermo_error *error)
{
	const char *end = line + len, *at = line, *cut = end;
	struct field field, last[5];
	uint64_t key_size, value_size, client;
	int rc;

	*r = (struct trace_request){.count = 1};
	for (unsigned i = 5; i > 0; i--) {
		const char *comma = memrchr(line, ',', (size_t)(cut - line));
		if (!comma)
			return wrong(error,
				     "%u fields where there are seven: time, key, key size, value "
				     "size, client, operation, TTL",
				     6 - i);
		last[i - 1] = (struct field){comma + 1, (size_t)(cut - comma - 1)};
		cut = comma;
	}
	field_next(&at, cut, &field);
	if (!at)
		return wrong(error,
			     "six fields where there are seven: time, key, key size, value size, "
			     "client, operation, TTL");
	rc = number(field, "time", 0, UINT64_MAX, &r->time, error);
	if (!rc)
		rc = key_of((struct field){at, (size_t)(cut - at)}, &r->key, error);
	if (!rc)
		rc = number(last[0], "key size", 0, TRACE_KEY_SIZE_MAX, &key_size, error);
	if (!rc)
		rc = number(last[1], "value size", 0, TRACE_SIZE_MAX, &value_size, error);
	if (!rc)
		rc = number(last[2], "client", 0, UINT64_MAX, &client, error);
	if (!rc)
		rc = op_of(last[3], &r->op, error);
	if (!rc)
		rc = number(last[4], "TTL", 0, UINT32_MAX, &r->ttl_s, error);
	if (rc)
		return rc;
	r->key_size = (uint32_t)key_size;
	r->size = key_size + value_size;
	return 0;
}

static uint64_t little_endian(const unsigned char *bytes, unsigned n)
{
	uint64_t value = 0;
	while (n--)
		value = value << 8 | bytes[n];
	return value;
}

int trace_parse_oracle(const unsigned char record[TRACE_ORACLE_RECORD], struct trace_request *r,
		       struct thermo_error *error)
{
	int64_t next = (int64_t)little_endian(record + 16, 8);
	if (next < -1)
		return wrong(error,
			     "next %lld: -1 or a request's number is needed; not an oracle trace",
			     (long long)next);
	*r = (struct trace_request){
		.time = little_endian(record, 4),
		.key = little_endian(record + 4, 8),
		.size = little_endian(record + 12, 4),
		.count = 1,
	};
	return 0;
}
