/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_FS_H
#define CMFS_FS_H

#define FUSE_USE_VERSION 317

#include "boot.h"
#include "cmfs/image.h"
#include "cmfs/write_log.h"
#include "handle_class.h"
#include "jobs.h"
#include "options.h"

#include <fuse_lowlevel.h>

/*
 * What is mounted: a root directory with one file per image, or, where the mountpoint
 * is a file, one image that is itself the root. The set is fixed from before the mount
 * until after the unmount, so nothing here is locked.
 */

struct cmfs_file {
	const char *name; /* in the root directory; points into the options */
	dev_t host_dev;	  /* identity of the host file */
	ino_t host_ino;
	int backing_id;	      /* see passthrough.h; < 0: none, -errno; constant once ready */
	bool sync_flag;	      /* syncflag=on, of no use without passthrough */
	bool writeback_cache; /* the kernel acknowledges cached writes by itself */

	struct cmfs_write_log *write_log; /* constant; NULL: none; a reference */

	double entry_timeout; /* constant; see cmfs_file_entry_timeout() */

	/* Taken after an image is held (cmfs_image_hold()), protects: */
	pthread_mutex_t lock;
	struct cmfs_boot *boot;	     /* the present one */
	uint64_t generation;	     /* counts boots */
	struct cmfs_handle *handles; /* open ones, of all boots */
	unsigned int open_handles[CMFS_HANDLE_CLASSES];
	bool was_mappable; /* one of those with passthrough has been open */
};

struct cmfs_fs {
	struct cmfs_file *files;
	size_t file_count;
	bool root_is_image;		   /* the mountpoint is a file */
	struct stat root;		   /* the root directory's attributes */
	struct fuse_session *se;	   /* set once the session exists */
	struct cmfs_jobs jobs;		   /* work that requests started on threads of its own */
	enum cmfs_passthrough passthrough; /* as wanted */
	bool accepted;			   /* the kernel has accepted the mount */
	bool fixed_mode;		   /* no live switch: see choose_data_path() */
	bool kernel_has_passthrough;
	bool writeback_cache; /* agreed with the kernel, like the one above */
	/* Called once, when the mount works; fills its error. */
	int (*ready)(void *arg, struct cmfs_err *err);
	void *ready_arg;
};

/** cmfs_fs_find() - the file of that inode number, or NULL (the root directory, or none). */
struct cmfs_file *cmfs_fs_find(struct cmfs_fs *fs, fuse_ino_t ino);

/** cmfs_fs_ino() - the inode number of the file with that index. */
static inline fuse_ino_t cmfs_fs_ino(const struct cmfs_fs *fs, size_t index)
{
	return FUSE_ROOT_ID + !fs->root_is_image + index;
}

static inline bool cmfs_fs_is_directory(const struct cmfs_fs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID && !fs->root_is_image;
}

/**
 * cmfs_fs_getattr() - attributes as stat(2) shows them, of a file or the root.
 * @fi: the handle that is asked through; NULL for none.
 */
int cmfs_fs_getattr(struct cmfs_fs *fs, fuse_ino_t ino, const struct fuse_file_info *fi,
		    struct stat *ret);

/** cmfs_fs_log_failure() - log the failure (P5) of one of @file's images if it is news. */
void cmfs_fs_log_failure(struct cmfs_file *file, struct cmfs_image *image);

/**
 * cmfs_fs_drop_pages() - have the kernel write what mappings dirtied, and drop its pages.
 *
 * Not while a cached write may be on its way to an image that goes on being served: its
 * page is in the cache already and not locked. Dropped and read again before the write has
 * arrived, it would show what was there before it, and go on to (P9).
 */
void cmfs_fs_drop_pages(struct cmfs_fs *fs, struct cmfs_file *file);

/** cmfs_fs_log_stopped() - log that a file's write log has stopped if it is news. */
void cmfs_fs_log_stopped(struct cmfs_file *file);

/*
 * Seconds that the kernel may keep what it was told. Names never change. Attributes
 * are asked for anew each time: kept ones can be older than what another process
 * was told while a write was in flight, and the size would be seen to go back (P9).
 * Behind its write cache the kernel knows size and times better than we do, and
 * would ask before each write.
 */
#define CMFS_ENTRY_TIMEOUT 86400.0

/*
 * A power cut ends the life of all that the kernel has of a file: found again, it has
 * another generation, which makes the kernel fail whatever is still open of the old
 * one. So where there can be cuts, the kernel is to ask for the name each time.
 *
 * Source: Linux fs/fuse/inode.c, fuse_iget() and fuse_stale_inode().
 */
static inline double cmfs_file_entry_timeout(const char *layers)
{
	return layers[0] ? 0.0 : CMFS_ENTRY_TIMEOUT;
}

static inline double cmfs_attr_timeout(const struct cmfs_fs *fs)
{
	return fs->writeback_cache ? CMFS_ENTRY_TIMEOUT : 0.0;
}

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
