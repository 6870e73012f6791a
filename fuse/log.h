/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_LOG_H
#define CMFS_LOG_H

#include <syslog.h>

/*
 * One place where lines for people come out: stderr until the daemon has gone
 * to the background, syslog afterwards. Any thread.
 */

/* @level: LOG_ERR, LOG_WARNING or LOG_INFO; no trailing newline. */
void cmfs_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* From now on to syslog. Called once, when no other thread logs yet. */
void cmfs_log_to_syslog(void);

#endif
