/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour logs for the benchmark: read from the shared data, or made after a published shape. */
#include "tests/codec/bench.h"
#include "tools/mix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

enum field { USER, SECONDS, MICROSECONDS, NUMBER, REAL, REAL4, TEXT, ENUM, VECTOR };

/* The fields of each file, and what a message type would make of them. */
static const struct {
	const char *name;
	unsigned n;
	enum field field[9];
} files[] = {
	{"ml_latest_small", 5, {USER, SECONDS, NUMBER, ENUM, REAL4}},
	{"online_retail", 8, {USER, SECONDS, TEXT, ENUM, NUMBER, REAL, TEXT, TEXT}},
	{"obd_men", 9, {USER, SECONDS, NUMBER, ENUM, MICROSECONDS, NUMBER, REAL, ENUM, VECTOR}},
};

/* An event while it is read: its fields' text. */
struct row {
	uint64_t user;
	int64_t time;
	uint32_t order;
	const char *text[9];
	uint32_t len[9];
};

static void *must(void *memory)
{
	if (!memory) {
		fprintf(stderr, "bench_codec: no memory\n");
		exit(EXIT_FAILURE);
	}
	return memory;
}

static char *read_file(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		return NULL;
	size_t packed_cap = (size_t)64 << 20, cap = (size_t)256 << 20;
	char *packed = must(malloc(packed_cap)), *text = must(malloc(cap));
	size_t packed_len = fread(packed, 1, packed_cap, file);
	fclose(file);
	*len = ZSTD_decompress(text, cap - 1, packed, packed_len);
	free(packed);
	if (ZSTD_isError(*len)) {
		free(text);
		return NULL;
	}
	text[*len] = 0;
	return text;
}

static int by_user_and_time(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static uint64_t text_hash(const char *text, uint32_t len)
{
	uint64_t hash = len;
	for (uint32_t i = 0; i < len; i++)
		hash = mix64(hash ^ (uint8_t)text[i]);
	return hash;
}

static uint32_t split_rows(char *text, const enum field *field, unsigned fields, struct row *rows)
{
	uint32_t n = 0;
	char *at = strchr(text, '\n');
	for (at = at ? at + 1 : text + strlen(text); *at; n++) {
		struct row *row = &rows[n];
		for (unsigned f = 0; f < fields; f++) {
			row->text[f] = at;
			row->len[f] = (uint32_t)strcspn(at, "\t\n");
			at += row->len[f];
			*at++ = 0;
		}
		row->order = n;
		row->time = strtoll(row->text[1], NULL, 10);
		for (unsigned f = 0; f < fields; f++)
			if (field[f] == MICROSECONDS)
				row->time = row->time * 1000000 + strtoll(row->text[f], NULL, 10);
		row->user = text_hash(row->text[0], row->len[0]);
	}
	return n;
}

/* Texts become the numbers 0, 1, ... in order of first appearance. */
static int64_t enumerate(const struct row *row, unsigned f, const char **known, unsigned *n)
{
	for (unsigned i = 0; i < *n; i++)
		if (strcmp(known[i], row->text[f]) == 0)
			return i;
	known[*n] = row->text[f];
	return (*n)++;
}

static void fill_column(struct log *log, uint32_t c, const struct row *rows, unsigned f,
			enum field field)
{
	struct codec_column *column = &log->columns[c];
	uint64_t *words = must(malloc((size_t)log->n * 8 + 8));
	const char *known[64];
	unsigned n_known = 0;
	for (uint32_t i = 0; i < log->n; i++) {
		const char *text = rows[i].text[f];
		if (field == REAL)
			words[i] = word_of_double(strtod(text, NULL));
		else if (field == REAL4)
			((float *)words)[i] = strtof(text, NULL);
		else
			words[i] = field == SECONDS ? (uint64_t)rows[i].time
				   : field == ENUM
					   ? (uint64_t)enumerate(&rows[i], f, known, &n_known)
					   : (uint64_t)strtoll(text, NULL, 10);
		log->is_signed[c] |= field == NUMBER && (int64_t)words[i] < 0;
	}
	log->schema.type[c] = field == REAL    ? CODEC_DOUBLE
			      : field == REAL4 ? CODEC_FLOAT
					       : CODEC_INT64;
	column->values = words;
}

/* Texts, and vectors as packed floats. */
static void fill_bytes(struct log *log, uint32_t c, const struct row *rows, unsigned f, bool vector)
{
	uint32_t *offsets = must(calloc((size_t)log->n + 1, sizeof(*offsets)));
	size_t bytes = 1;
	for (uint32_t i = 0; i < log->n; i++)
		bytes += vector ? 4 * (size_t)rows[i].len[f] : rows[i].len[f];
	uint8_t *values = must(malloc(bytes));
	for (uint32_t i = 0; i < log->n; i++) {
		uint32_t at = offsets[i];
		if (!vector) {
			memcpy(values + at, rows[i].text[f], rows[i].len[f]);
			at += rows[i].len[f];
		}
		for (const char *text = rows[i].text[f]; vector && *text; at += 4) {
			char *end;
			float v = strtof(text, &end);
			memcpy(values + at, &v, 4);
			text = *end ? end + 1 : end;
		}
		offsets[i + 1] = at;
	}
	log->schema.type[c] = CODEC_BYTES;
	log->columns[c].values = values;
	log->columns[c].offsets = offsets;
}

bool log_read(struct log *log, const char *dir, const char *name)
{
	char path[4096];
	size_t len;
	unsigned k = 0;
	while (k < 2 && strcmp(files[k].name, name) != 0)
		k++;
	snprintf(path, sizeof(path), "%s/%s.tsv.zst", dir, name);
	char *text = read_file(path, &len);
	if (!text) {
		fprintf(stderr, "bench_codec: cannot read %s\n", path);
		return false;
	}
	size_t lines = 0;
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	struct row *rows = must(calloc(lines + 1, sizeof(*rows)));
	*log = (struct log){.name = name, .n = split_rows(text, files[k].field, files[k].n, rows)};
	qsort(rows, log->n, sizeof(*rows), by_user_and_time);
	bool micro = false;
	for (unsigned f = 0; f < files[k].n; f++) {
		enum field field = files[k].field[f];
		micro |= field == MICROSECONDS;
		if (field == USER || field == MICROSECONDS)
			continue;
		if (field == TEXT || field == VECTOR)
			fill_bytes(log, log->schema.columns++, rows, f, field == VECTOR);
		else
			fill_column(log, log->schema.columns++, rows, f, field);
	}
	int64_t day = micro ? INT64_C(86400000000) : 86400;
	log->starts = must(calloc((size_t)log->n + 1, sizeof(uint32_t)));
	for (uint32_t i = 0; i < log->n; i++)
		if (!i || rows[i].user != rows[i - 1].user ||
		    rows[i].time / day != rows[i - 1].time / day)
			log->starts[log->blocks++] = i;
	log->starts[log->blocks] = log->n;
	free(rows);
	free(text);
	return true;
}

void log_free(struct log *log)
{
	for (uint32_t c = 0; c < log->schema.columns; c++) {
		free((void *)(uintptr_t)log->columns[c].values);
		free((void *)(uintptr_t)log->columns[c].offsets);
	}
	free(log->starts);
}

/* ---- The short-video log ---- */

/* How many videos have exactly c exposures, and the gaps in ms between a user's batches, as
 * published. */
static const double exposures[][2] = {
	{1, 17306814}, {2, 4341464}, {3, 2153872}, {4, 1371751}, {5, 941513},    {7, 533632},
	{10, 287324},  {15, 142480}, {20, 88412},  {30, 43773},  {50, 18109},    {100, 5273},
	{200, 1440},   {500, 247},   {1000, 34},   {2000, 5},    {60000, 0.002},
};
static const double gaps[][3] = {
	{1e3, 1e4, 5.18},   {1e4, 6e4, 17.75},    {6e4, 3e5, 21.06},
	{3e5, 1.8e6, 7.44}, {1.8e6, 7.2e6, 2.19}, {7.2e6, 8.64e7, 1.88},
};
#define EVENTS_PUBLISHED 322278385.0
#define KNOTS (sizeof(exposures) / sizeof(exposures[0]))
#define CLASSES 400u /* log-spaced numbers of exposures */
#define DAYS 30u     /* a video is in use for days after its birth: drift */
#define GENRES 60u
#define TRIES 4 /* at a video of a genre that the user likes: taste */

struct catalogue {
	double sum[CLASSES]; /* of events, up to and with the class */
	uint64_t base[CLASSES], videos[CLASSES];
};

/* scale: of the published log's videos; so many times its events give each as many exposures as
 * published. */
static void catalogue_make(struct catalogue *catalogue, double scale)
{
	double total = 0, last = 0;
	uint64_t base = 0;
	for (unsigned k = 0; k < CLASSES; k++) {
		double c = exp(log(60000) * (k + 1) / CLASSES), count = 0;
		for (double x = floor(last) + 1; x <= floor(c); x++) {
			unsigned j = 1;
			while (j < KNOTS - 1 && exposures[j][0] < x)
				j++;
			double f = log(x / exposures[j - 1][0]) /
				   log(exposures[j][0] / exposures[j - 1][0]);
			double videos =
				exposures[j - 1][1] * pow(exposures[j][1] / exposures[j - 1][1], f);
			count += videos;
			total += videos * x;
		}
		last = c;
		catalogue->sum[k] = total;
		catalogue->base[k] = base;
		catalogue->videos[k] = (uint64_t)(count * scale) + 1;
		base += catalogue->videos[k];
	}
}

static double normal(uint64_t *random)
{
	double u = mix_unit(mix_next(random)), v = mix_unit(mix_next(random));
	return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
}

static uint64_t draw_video(const struct catalogue *catalogue, uint64_t *random, uint64_t user,
			   unsigned day)
{
	uint64_t video = 0;
	for (int i = 0; i < TRIES; i++) {
		double x = mix_unit(mix_next(random)) * catalogue->sum[CLASSES - 1];
		unsigned lo = 0, hi = CLASSES - 1;
		while (lo < hi) {
			unsigned middle = (lo + hi) / 2;
			if (catalogue->sum[middle] < x)
				lo = middle + 1;
			else
				hi = middle;
		}
		/* Born some days ago, most often few. */
		unsigned age = (unsigned)(-2 * log(1 - mix_unit(mix_next(random))));
		uint64_t each = catalogue->videos[lo] / DAYS + 1,
			 born = (day + DAYS - age % DAYS) % DAYS;
		video = catalogue->base[lo] +
			(mix_next(random) % each * DAYS + born) % catalogue->videos[lo];
		uint64_t genre = mix64(video) % 3000 % GENRES;
		if (mix64(user * GENRES + genre) % 8 == 0)
			break;
	}
	return video;
}

static int64_t draw_gap(uint64_t *random)
{
	double x = mix_unit(mix_next(random)) * 55.5, r = mix_unit(mix_next(random));
	unsigned k = 0;
	if (mix_unit(mix_next(random)) < 0.828)
		return 0;
	while (k < 5 && x >= gaps[k][2])
		x -= gaps[k++][2];
	return (int64_t)(gaps[k][0] * pow(gaps[k][1] / gaps[k][0], r));
}

static int64_t draw_action(uint64_t *random)
{
	static const int64_t action[] = {0, 1, 3, 5, 9, 17, 33, 65};
	static const double upto[] = {.60, .72, .97, .983, .991, .995, .999, 1};
	double x = mix_unit(mix_next(random));
	unsigned k = 0;
	while (k < 7 && x >= upto[k])
		k++;
	return action[k];
}

void log_generate(struct log *log, const char *name, uint32_t n, bool sparse, bool hashed)
{
	static struct catalogue catalogue;
	uint64_t random = 20261127;
	int64_t *column[5];
	catalogue_make(&catalogue, sparse ? 1 : n / EVENTS_PUBLISHED);
	*log = (struct log){
		.name = name,
		.n = n,
		.schema = {5, {CODEC_INT64, CODEC_INT64, CODEC_INT64, CODEC_INT64, CODEC_INT64}}};
	log->starts = must(calloc((size_t)n + 1, sizeof(uint32_t)));
	for (int c = 0; c < 5; c++)
		log->columns[c].values = column[c] = must(malloc((size_t)n * 8));
	uint32_t left = 0;
	int64_t time = 0, day = -1;
	for (uint64_t i = 0, user = 0; i < n; i++) {
		if (!left) {
			user++;
			left = (uint32_t)fmin(fmax(8600 * exp(0.82 * normal(&random)), 100),
					      228000);
			time = INT64_C(1649351999602) + (int64_t)(mix_next(&random) % 86400000);
			day = -1;
		}
		left--;
		time += draw_gap(&random);
		if (time / 86400000 != day)
			log->starts[log->blocks++] = (uint32_t)i;
		day = time / 86400000;
		uint64_t video = draw_video(&catalogue, &random, user, (unsigned)(day % DAYS));
		int64_t action = draw_action(&random);
		/* Of the logarithm: medians of 14 and 1.5 seconds. */
		double dwell = action                              ? exp(9.547 + normal(&random))
			       : mix_unit(mix_next(&random)) < .45 ? 0
								   : exp(7.313 + normal(&random));
		column[0][i] = time;
		/* Ids are in no order of popularity: a bijection of the catalogue's range. */
		column[1][i] = (int64_t)(hashed ? mix64(video) : video * 2654435761 % 33554393);
		column[2][i] = (int64_t)(mix64(video) % 3000);
		column[3][i] = action;
		column[4][i] = (int64_t)dwell;
	}
	log->starts[log->blocks] = n;
}
