// SPDX-License-Identifier: GPL-2.0-or-later
#include "log.h"

#include "notify.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

static atomic_bool to_syslog;

void cmfs_log(int level, const char *fmt, ...)
{
	char line[2 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* One line, also when a file's name has more. */
	for (char *p = line; *p; p++) {
		if ((unsigned char)*p < ' ')
			*p = '?';
	}
	if (atomic_load(&to_syslog))
		syslog(level, "%s", line);
	else
		fprintf(stderr, "cmfs: %s\n", line);
	if (level <= LOG_ERR)
		cmfs_notify("STATUS=%s", line);
}

void cmfs_log_to_syslog(void)
{
	openlog("cmfs", LOG_PID, LOG_DAEMON);
	atomic_store(&to_syslog, true);
}
