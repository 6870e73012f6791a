/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_LOCK_H
#define CMFS_HOST_LOCK_H

#include "cmfs/backend.h"

#include <stdbool.h>

/*
 * The lock on a host file or block device that QEMU, its tools and other cmfs respect
 * (P8); which bytes, and why those, is in host_lock.c. It belongs to the place: all
 * openings of it that came from one another share it, and it is held from before the
 * first one until after the last one is closed, through every live switch. While one
 * of them is for writing it is a writer's lock, else a reader's.
 *
 * It stands on a descriptor of its own (read-only, never used for I/O), as locks of
 * this kind end with their open file description: with the last close, and so with
 * the daemon, however it dies (P11).
 *
 * Any thread.
 */
struct cmfs_host_lock;

/**
 * cmfs_host_lock_take() - for the first opening of a place.
 * @fd: open on it in whatever way (O_PATH too); stays the caller's.
 * @readonly: how that opening is.
 * @name: the place's, for messages.
 *
 * With CMFS_LOCKING_OFF, and with CMFS_LOCKING_AUTO where the file system has no such
 * locks, there is nothing to hold, and all succeeds. Errors: -EBUSY if somebody else's
 * lock excludes ours, and does so for a tenth of a second; -EOPNOTSUPP with CMFS_LOCKING_ON where
 * there are no such locks; those of open(2) and fcntl(2). Nothing is changed or left behind then.
 */
int cmfs_host_lock_take(int fd, enum cmfs_locking locking, bool readonly, const char *name,
			struct cmfs_host_lock **ret, struct cmfs_err *err);

/**
 * cmfs_host_lock_share() - for one more opening. Where it is the first one for writing,
 * a reader's lock becomes a writer's, or stays what it is: errors as above.
 * @ret: @lock, for the new opening to drop.
 */
int cmfs_host_lock_share(struct cmfs_host_lock *lock, bool readonly, const char *name,
			 struct cmfs_host_lock **ret, struct cmfs_err *err);

/**
 * cmfs_host_lock_drop() - an opening is closed. With the last one for writing it becomes
 * a reader's lock, with the last one at all it is gone. NULL is fine.
 */
void cmfs_host_lock_drop(struct cmfs_host_lock *lock, bool readonly);

/* Is there none because the file system has none (CMFS_LOCKING_AUTO)? Then say so. */
bool cmfs_host_lock_is_missing(const struct cmfs_host_lock *lock);

#define CMFS_HOST_LOCK_MISSING                                                                     \
	"not locked, as its file system has no such locks: nothing keeps others from writing to "  \
	"it (locking=off says that this is known)"

#endif
