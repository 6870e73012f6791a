/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_MOUNTPOINT_H
#define CMFS_MOUNTPOINT_H

#include "cmfs/error.h"

#include <stdbool.h>

struct cmfs_mountpoint {
	char *path;   /* absolute, without symbolic links; owned */
	bool is_file; /* a regular one; else a directory */
};

/**
 * cmfs_mountpoint_prepare() - check that @path can be mounted on, and clear away
 * what a killed cmfs left there (P11: mounting again just works).
 * @ret: finish it if 0 is returned.
 * @err: filled on failure.
 *
 * An image may lie under the mountpoint, or be it: what is dead is cleared away, and
 * what is alive is refused, before images are opened.
 */
int cmfs_mountpoint_prepare(const char *path, struct cmfs_mountpoint *ret, struct cmfs_err *err);

/** cmfs_mountpoint_check_free() - -EBUSY if a cmfs is mounted there, and @err filled. */
int cmfs_mountpoint_check_free(const struct cmfs_mountpoint *mountpoint, struct cmfs_err *err);

void cmfs_mountpoint_finish(struct cmfs_mountpoint *mountpoint);

#endif
