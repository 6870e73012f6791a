/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_FS_H
#define CMFS_FS_H

#define FUSE_USE_VERSION 317

#include "cmfs/image.h"
#include "jobs.h"

#include <fuse_lowlevel.h>

/*
 * What is mounted: a root directory with one file per image. The set is fixed
 * from before the mount until after the unmount, so nothing here is locked.
 */

/* An image's inode number is its index + CMFS_FIRST_IMAGE. */
#define CMFS_FIRST_IMAGE (FUSE_ROOT_ID + 1)

struct cmfs_file {
	const char *name; /* in the root directory; points into the command line */
	struct cmfs_image *image;
	dev_t host_dev; /* identity of the host file */
	ino_t host_ino;
};

struct cmfs_fs {
	struct cmfs_file *files;
	size_t file_count;
	struct stat root;	 /* the root directory's attributes */
	struct fuse_session *se; /* set once the session exists */
	struct cmfs_jobs jobs;	 /* work that requests started on threads of its own */
	int (*ready)(void *arg); /* called once, when the kernel has accepted the mount */
	void *ready_arg;
};

/** cmfs_fs_find() - the file of that inode number, or NULL (the root, or none). */
struct cmfs_file *cmfs_fs_find(struct cmfs_fs *fs, fuse_ino_t ino);

/** cmfs_fs_getattr() - attributes as stat(2) shows them, of a file or the root. */
int cmfs_fs_getattr(struct cmfs_fs *fs, fuse_ino_t ino, struct stat *ret);

/** cmfs_fs_log_failure() - log an image's failure (P5) if it is news. */
void cmfs_fs_log_failure(struct cmfs_file *file);

/*
 * Seconds that the kernel may keep what it was told. Names never change. Attributes
 * are asked for anew each time: kept ones can be older than what another process
 * was told while a write was in flight, and the size would be seen to go back (P9).
 */
#define CMFS_ENTRY_TIMEOUT 86400.0
#define CMFS_ATTR_TIMEOUT  0.0

/* The operations, by what they are on; session.c puts them into one table. */
void cmfs_dir_ops(struct fuse_lowlevel_ops *ops);
void cmfs_file_ops(struct fuse_lowlevel_ops *ops);
void cmfs_attr_ops(struct fuse_lowlevel_ops *ops);
void cmfs_xattr_ops(struct fuse_lowlevel_ops *ops);

static inline struct cmfs_fs *cmfs_req_fs(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

#endif
