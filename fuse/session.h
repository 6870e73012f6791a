/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_SESSION_H
#define CMFS_SESSION_H

#include "fs.h"
#include "mountpoint.h"
#include "options.h"

/**
 * cmfs_session_mount() - mount @fs as @options say, on @mountpoint.
 * @err: filled on failure: one sentence that names the mountpoint.
 *
 * Sets fs->se. Returns 0 or -errno; then nothing is mounted.
 */
int cmfs_session_mount(struct cmfs_fs *fs, const struct cmfs_options *options,
		       const struct cmfs_mountpoint *mountpoint, struct cmfs_err *err);

/**
 * cmfs_session_serve() - serve requests until unmounted or told to end by
 * SIGTERM, SIGINT or SIGHUP. fs->ready() is called from within.
 *
 * @err: filled on failure.
 *
 * Returns 0, or -errno when it could not get ready or the loop broke.
 */
int cmfs_session_serve(struct cmfs_fs *fs, const struct cmfs_options *options,
		       struct cmfs_err *err);

/** cmfs_session_unmount() - unmount if still mounted, and free. */
void cmfs_session_unmount(struct cmfs_fs *fs);

#endif
