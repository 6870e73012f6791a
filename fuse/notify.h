/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_NOTIFY_H
#define CMFS_NOTIFY_H

/*
 * Telling a service manager how it stands, as sd_notify(3) does: a unit of systemd with
 * Type=notify is started when the mount works, and `systemctl status` shows the last
 * error. Nothing happens where nobody asked for it.
 */

/** cmfs_notify_start() - take what $NOTIFY_SOCKET names. Before there are threads. */
void cmfs_notify_start(void);

/** cmfs_notify_stop() - say no more: in the background the command's end is the word. */
void cmfs_notify_stop(void);

/** cmfs_notify() - send "READY=1", "STATUS=...", lines of that kind. Any thread. */
__attribute__((format(printf, 1, 2))) void cmfs_notify(const char *fmt, ...);

#endif
