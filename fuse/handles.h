/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HANDLES_H
#define CMFS_HANDLES_H

#include "fs.h"

/*
 * Open handles: each gets its class when it is opened, and counts until it is
 * released. fi->fh points to it. Any thread.
 */
struct cmfs_handle {
	struct cmfs_image *image; /* of its boot */
	struct cmfs_boot *boot;
	struct cmfs_handle *prev, *next; /* in the file's list */
	int sync_flags;			 /* O_SYNC or O_DSYNC, as it was opened with */
	enum cmfs_handle_class class;
	bool bypasses; /* counted by cmfs_image_add_bypasser() */
};

static inline const struct cmfs_handle *cmfs_handle_of(const struct fuse_file_info *fi)
{
	return (const struct cmfs_handle *)(uintptr_t)fi->fh;
}

static inline struct cmfs_image *cmfs_handle_image(const struct fuse_file_info *fi)
{
	return cmfs_handle_of(fi)->image;
}

/**
 * cmfs_handle_open() - give a new handle its class, and count it.
 * @boot: in which it is opened; the caller's.
 * @fi: flags as the kernel sent them; filled for the reply.
 *
 * Returns 0, or -errno: then it does not count.
 */
int cmfs_handle_open(struct cmfs_file *file, struct cmfs_boot *boot, struct fuse_file_info *fi);

/** cmfs_handle_release() - it is closed for good, or was never handed out. */
void cmfs_handle_release(struct cmfs_file *file, const struct fuse_file_info *fi);

/** cmfs_handle_forget_all() - at the mount's end, those that the kernel did not release. */
void cmfs_handle_forget_all(struct cmfs_file *file);

/**
 * cmfs_handle_may_fill_cache() - may what is read by it stay in the kernel's cache of
 * the mounted file? Not where writes go to the host file past that cache.
 */
bool cmfs_handle_may_fill_cache(const struct fuse_file_info *fi);

/** cmfs_handle_count() - how many are open, by who serves their reads and writes. */
void cmfs_handle_count(struct cmfs_file *file, unsigned int *ret_kernel, unsigned int *ret_daemon);

#endif
