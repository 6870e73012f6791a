/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_UMOUNT_HELPER_H
#define CMFS_UMOUNT_HELPER_H

#include <stdbool.h>

/*
 * umount(8) runs /sbin/umount.fuse.cmfs for mounts of that type. The kernel's own unmount
 * is over before the daemon's last flush is; this one waits for it, and tells of errors.
 */

/** cmfs_is_umount_helper() - is @name, the program's, umount.fuse.cmfs? */
bool cmfs_is_umount_helper(const char *name);

/**
 * cmfs_umount_helper() - "DIR [-flnrv] [-N NS] [-t TYPE]".
 *
 * Returns the exit status: that of umount(8), or 32 if something of it is not durable.
 */
int cmfs_umount_helper(int argc, char **argv);

#endif
