/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_SYNC_H
#define CMFS_HOST_SYNC_H

#include <stdbool.h>

/*
 * The host file's sync flag, FS_SYNC_FL of ioctl_iflags(2), as chattr +S sets it:
 * each write to the file, by whomever, is durable before it returns. A note in an
 * xattr says that it was a cmfs who set it, so that it can be cleared after a crash,
 * and that a flag set by others stays. Who needs the flag has a claim on it: a shared
 * lock (fcntl(2), F_OFD_SETLK) on a byte of the file, so that only the last one clears
 * it and a mount does not take the flag of a living cmfs for that of a killed one.
 *
 * A claim belongs to all openings of an image that came from one another. Its calls
 * are one at a time: the caller has a lock for that.
 */
struct cmfs_host_sync;

/* NULL: out of memory. */
struct cmfs_host_sync *cmfs_host_sync_create(void);
struct cmfs_host_sync *cmfs_host_sync_ref(struct cmfs_host_sync *sync);
void cmfs_host_sync_unref(struct cmfs_host_sync *sync); /* with the last, the claim goes */

/**
 * cmfs_host_sync_set() - claim the flag, set it, and wait for writes in flight that
 * did not see it. Errors: those of FS_IOC_SETFLAGS, fsetxattr(2), fallocate(2), locks;
 * then the flag is as before.
 */
int cmfs_host_sync_set(struct cmfs_host_sync *sync, int fd);

/**
 * cmfs_host_sync_clear() - give up the claim, and clear the flag if a note says that it
 * is a cmfs's and nobody else claims it.
 */
int cmfs_host_sync_clear(struct cmfs_host_sync *sync, int fd);

/* Give up the claim, and leave the flag to the next one to mount. */
void cmfs_host_sync_leave(struct cmfs_host_sync *sync);

/**
 * cmfs_host_sync_wait() - for direct writes to the file that are in flight. It may
 * change the file's times.
 */
int cmfs_host_sync_wait(int fd);

/**
 * cmfs_host_sync_is_written() - may somebody have the file open for writing? @fd is
 * for reading, and the caller has it open for writing nowhere. Where the host does not
 * tell, yes.
 */
bool cmfs_host_sync_is_written(int fd);

#endif
