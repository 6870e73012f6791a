// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmfs/error.h"

#include <stdarg.h>
#include <stdio.h>

int cmfs_err_set(struct cmfs_err *err, int error, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
	}
	return error;
}
