/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sizes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tools/mix.h"

#define FILE_MAX (64u << 20) /* bytes of a distribution's file */

enum size_kind { SIZE_FIXED, SIZE_TRACE, SIZE_DRAWN };

struct size_model {
	enum size_kind kind;
	uint32_t fixed; /* bytes */
	uint32_t n;     /* of the arrays below */
	uint32_t *low;  /* bin i draws from [low[i], high[i]] bytes */
	uint32_t *high;
	double *upto; /* share of the draws that fall in bins 0 to i; the last one is 1 */
};

/*
 * Value sizes of a production social-graph cache: quantiles of the published distribution of Meta's
 * CacheLib cachebench configuration hit_ratio/graph_cache_follower_fbobj (Apache-2.0): median 223,
 * mean 377, largest 206,943 bytes.
 */
static const struct {
	double upto;
	uint32_t low, high;
} published[] = {
	{0.05, 16, 31},         {0.10, 32, 63},         {0.20, 64, 95},       {0.30, 96, 159},
	{0.40, 160, 191},       {0.50, 192, 223},       {0.60, 224, 287},     {0.70, 288, 351},
	{0.80, 352, 415},       {0.90, 416, 607},       {0.95, 608, 991},     {0.975, 992, 1215},
	{0.99, 1216, 2527},     {0.995, 2528, 4319},    {0.9975, 4320, 4511}, {0.999, 4512, 27167},
	{0.9995, 27168, 38783}, {0.9999, 38784, 43679}, {1.00, 43680, 75263},
};

int size_parse(const char *text, uint64_t *bytes)
{
	if (*text < '0' || *text > '9')
		return -EINVAL;
	char *end;
	errno = 0;
	uint64_t whole = strtoull(text, &end, 10);
	if (errno == ERANGE)
		return -ERANGE;
	double fraction = 0;
	if (*end == '.') {
		double place = 0.1;
		if (end[1] < '0' || end[1] > '9')
			return -EINVAL;
		for (end++; *end >= '0' && *end <= '9'; end++, place /= 10)
			fraction += (*end - '0') * place;
	}
	static const char units[] = "KMGT";
	unsigned shift = 0;
	char upper = *end >= 'a' && *end <= 'z' ? (char)(*end - 32) : *end;
	const char *unit = upper ? strchr(units, upper) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (*end == 'i' && end[1] == 'B')
			end++;
	}
	if (*end == 'B')
		end++;
	if (*end || (fraction > 0 && !shift))
		return -EINVAL;
	if (whole > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	*bytes = (whole << shift) + (uint64_t)(fraction * (double)(UINT64_C(1) << shift));
	return *bytes > INT64_MAX ? -ERANGE : 0;
}

char *size_format(uint64_t bytes, char *text)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	unsigned unit = 0;
	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	snprintf(text, 24, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

static int model_reserve(struct size_model *model, uint32_t n)
{
	model->low = calloc(n, sizeof(*model->low));
	model->high = calloc(n, sizeof(*model->high));
	model->upto = calloc(n, sizeof(*model->upto));
	model->n = n;
	return model->low && model->high && model->upto ? 0 : -ENOMEM;
}

static int model_publish(struct size_model *model)
{
	uint32_t n = sizeof(published) / sizeof(published[0]);
	if (model_reserve(model, n))
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		model->low[i] = published[i].low;
		model->high[i] = published[i].high;
		model->upto[i] = published[i].upto;
	}
	return 0;
}

static int file_read(const char *path, char **text, struct thermo_error *error)
{
	FILE *file = fopen(path, "re");
	if (!file) {
		int failed = -errno;
		snprintf(error->text, sizeof(error->text), "%s: %s", path, strerror(-failed));
		return failed;
	}
	int result = 0;
	size_t len = 0;
	char *bytes = malloc(FILE_MAX + 1);
	if (!bytes) {
		result = -ENOMEM;
		snprintf(error->text, sizeof(error->text), "out of memory");
		goto close_file;
	}
	len = fread(bytes, 1, FILE_MAX + 1, file);
	if (ferror(file) || len > FILE_MAX) {
		result = ferror(file) ? -EIO : -EFBIG;
		snprintf(error->text, sizeof(error->text), "%s: %s", path,
			 ferror(file) ? "cannot be read" : "is over 64 MiB, not a sizes file");
		free(bytes);
		goto close_file;
	}
	bytes[len] = 0;
	*text = bytes;
close_file:
	fclose(file);
	return result;
}

/* Fills the bins from the two arrays; says in why what is wrong with them. */
static int model_from_arrays(struct size_model *model, const cJSON *sizes, const cJSON *weights,
			     const char **why)
{
	int n_sizes = cJSON_GetArraySize(sizes), n = cJSON_GetArraySize(weights);
	*why = "valSizeRange must have as many numbers as valSizeRangeProbability, or one more";
	if (!cJSON_IsArray(sizes) || !cJSON_IsArray(weights) || n < 1 ||
	    (n_sizes != n && n_sizes != n + 1))
		return -EINVAL;
	*why = "out of memory";
	if (model_reserve(model, (uint32_t)n))
		return -ENOMEM;
	double total = 0;
	const cJSON *size = sizes->child, *weight = weights->child;
	for (int i = 0; i < n; i++, size = size->next, weight = weight->next) {
		*why = "a size is not a number from 0 to 256 MiB";
		if (!cJSON_IsNumber(size) || !(size->valuedouble >= 0) ||
		    size->valuedouble > THERMO_VALUE_MAX)
			return -EINVAL;
		*why = "a weight is not a number of at least 0";
		if (!cJSON_IsNumber(weight) || !(weight->valuedouble >= 0) ||
		    !isfinite(weight->valuedouble))
			return -EINVAL;
		model->low[i] = model->high[i] = (uint32_t)size->valuedouble;
		if (n_sizes == n + 1) {
			*why = "sizes do not rise";
			if (!cJSON_IsNumber(size->next) ||
			    size->next->valuedouble < size->valuedouble ||
			    size->next->valuedouble > THERMO_VALUE_MAX)
				return -EINVAL;
			model->high[i] = (uint32_t)size->next->valuedouble;
		}
		model->upto[i] = total += weight->valuedouble;
	}
	*why = "the weights are all 0";
	if (!(total > 0) || !isfinite(total))
		return -EINVAL;
	for (int i = 0; i < n; i++)
		model->upto[i] /= total;
	return 0;
}

static int model_load(struct size_model *model, const char *path, struct thermo_error *error)
{
	char *text = NULL;
	int result = file_read(path, &text, error);
	if (result)
		return result;
	cJSON *root = cJSON_Parse(text);
	if (!root) {
		const char *stop = cJSON_GetErrorPtr();
		unsigned line = 1;
		for (const char *c = text; stop && c < stop && *c; c++)
			line += *c == '\n';
		snprintf(error->text, sizeof(error->text), "%s: line %u is not JSON", path, line);
		free(text);
		return -EINVAL;
	}
	const char *why;
	result = model_from_arrays(
		model, cJSON_GetObjectItemCaseSensitive(root, "valSizeRange"),
		cJSON_GetObjectItemCaseSensitive(root, "valSizeRangeProbability"), &why);
	if (result)
		snprintf(error->text, sizeof(error->text), "%s: %s", path, why);
	cJSON_Delete(root);
	free(text);
	return result;
}

int size_model_open(const char *spec, struct size_model **out, struct thermo_error *error)
{
	struct size_model *model = calloc(1, sizeof(*model));
	int result = model ? 0 : -ENOMEM;
	uint64_t bytes;
	if (!model) {
		snprintf(error->text, sizeof(error->text), "out of memory");
		return result;
	}
	if (!strcmp(spec, "trace") || !strcmp(spec, "published")) {
		model->kind = *spec == 't' ? SIZE_TRACE : SIZE_DRAWN;
		result = model_publish(model);
		if (result)
			snprintf(error->text, sizeof(error->text), "out of memory");
	} else if (!strncmp(spec, "dist:", 5)) {
		model->kind = SIZE_DRAWN;
		result = model_load(model, spec + 5, error);
	} else {
		model->kind = SIZE_FIXED;
		result = size_parse(spec, &bytes);
		if (result || bytes > THERMO_VALUE_MAX) {
			snprintf(error->text, sizeof(error->text),
				 "'%s' is not a size up to 256M, trace, published or dist:FILE",
				 spec);
			result = -EINVAL;
		} else {
			model->fixed = (uint32_t)bytes;
		}
	}
	if (result)
		size_model_close(&model);
	else
		*out = model;
	return result;
}

void size_model_close(struct size_model **model)
{
	if (!*model)
		return;
	free((*model)->low);
	free((*model)->high);
	free((*model)->upto);
	free(*model);
	*model = NULL;
}

uint32_t size_model_draw(const struct size_model *model, uint64_t key_hash, uint64_t recorded)
{
	if (model->kind == SIZE_FIXED)
		return model->fixed;
	if (model->kind == SIZE_TRACE && recorded)
		return recorded < THERMO_VALUE_MAX ? (uint32_t)recorded : THERMO_VALUE_MAX;
	uint64_t random = mix64(key_hash ^ UINT64_C(0x5bd1e9955bd1e995));
	double at = mix_unit(random);
	uint32_t first = 0, last = model->n - 1;
	while (first < last) {
		uint32_t middle = first + (last - first) / 2;
		if (at < model->upto[middle])
			last = middle;
		else
			first = middle + 1;
	}
	uint64_t span = (uint64_t)model->high[first] - model->low[first] + 1;
	return model->low[first] + (uint32_t)(mix64(random) % span);
}

int size_model_uses_trace(const struct size_model *model)
{
	return model->kind == SIZE_TRACE;
}
