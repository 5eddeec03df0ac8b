/* SPDX-License-Identifier: Apache-2.0 */
/* See error.h. */
#include "alloc/error.h"

#include <stdarg.h>
#include <stdio.h>

/* One line, whatever bytes of the caller's or of a file are quoted in it. */
static void flatten(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
}

int error_set(struct thermo_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	flatten(error->text);
	return code;
}
