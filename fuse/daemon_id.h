/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_DAEMON_ID_H
#define CMFS_DAEMON_ID_H

/*
 * Which process serves a mount, for one who wants to wait for its end: its id, and when
 * it began, so that it is not mistaken for one of another pid namespace or a later one.
 */

/** cmfs_daemon_id() - of this process, "PID STARTTIME"; "" if unknown. Static. Any thread. */
const char *cmfs_daemon_id(void);

/**
 * cmfs_daemon_open() - a pidfd of the process that has that id.
 *
 * Returns a descriptor, -EINVAL for what is no id, -ESRCH if there is no such process.
 */
int cmfs_daemon_open(const char *id);

#endif
