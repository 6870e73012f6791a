/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_SYNC_H
#define CMFS_HOST_SYNC_H

#include <stdbool.h>

/*
 * The host file's sync flag, FS_SYNC_FL of ioctl_iflags(2), as chattr +S sets it:
 * each write to the file, by whomever, is durable before it returns. A note in an
 * xattr says that it was us who set it, so that it can be cleared after a crash,
 * and that a flag set by others stays.
 */

/**
 * cmfs_host_sync_set() - set the flag, and wait for writes in flight that did not
 * see it. Errors: those of FS_IOC_SETFLAGS, fsetxattr(2), fallocate(2); then the
 * flag is as before.
 */
int cmfs_host_sync_set(int fd);

/** cmfs_host_sync_clear() - clear the flag if a note says that it is ours. */
int cmfs_host_sync_clear(int fd);

/**
 * cmfs_host_sync_is_written() - may somebody have the file open for writing? @fd is
 * for reading, and the caller has it open for writing nowhere. Where the host does not
 * tell, yes.
 */
bool cmfs_host_sync_is_written(int fd);

#endif
