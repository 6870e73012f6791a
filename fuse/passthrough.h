/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_PASSTHROUGH_H
#define CMFS_PASSTHROUGH_H

#include "fs.h"

/*
 * Kernel passthrough: the kernel reads and writes a host file by itself, under a
 * backing id that the file was registered with. One id per image, from the mount
 * to its end: all handles of an inode must have the same, and a live switch
 * replaces our descriptor, but not the host file.
 *
 * Source: Linux Documentation/filesystems/fuse/fuse-passthrough.rst.
 */

/** cmfs_passthrough_allowed() - has this process the privilege it takes (CAP_SYS_ADMIN)? */
bool cmfs_passthrough_allowed(void);

/**
 * cmfs_passthrough_start() - register each image, if @fs->passthrough allows.
 * @err: filled on failure.
 *
 * After the kernel's INIT has been answered, before other requests are served.
 * What cannot be had is remembered in the file's backing_id as -errno; that is a
 * failure only where passthrough is CMFS_PASSTHROUGH_ON or @fs->sync_flag is set.
 */
int cmfs_passthrough_start(struct cmfs_fs *fs, struct cmfs_err *err);

/**
 * cmfs_passthrough_stop() - the kernel lets go of the images, when no request is
 * served any more. Handles that are open go on without us.
 */
void cmfs_passthrough_stop(struct cmfs_fs *fs);

/** cmfs_passthrough_log() - say once which data path each image has. */
void cmfs_passthrough_log(const struct cmfs_fs *fs);

/**
 * cmfs_passthrough_describe() - "passthrough", or "daemon: " and why, as snprintf(3).
 * @image: the file's.
 */
int cmfs_passthrough_describe(const struct cmfs_file *file, struct cmfs_image *image, char *text,
			      size_t size);

#endif
