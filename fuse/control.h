/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_CONTROL_H
#define CMFS_CONTROL_H

#include "fs.h"

/*
 * Control keys: the extended attributes user.cmfs.* by which a mounted image is
 * watched and steered. They are not listed on images, as archivers would carry
 * them along; the root directory's user.cmfs.keys names them.
 */
#define CMFS_CONTROL_PREFIX "user.cmfs."

/* Who serves the mount (daemon_id.h). Of each image and of the root directory. */
#define CMFS_DAEMON_XATTR CMFS_CONTROL_PREFIX "daemon"

/*
 * On an image: the file's present one when the request came. set and remove may block
 * for long and run as a job (jobs.h).
 */
struct cmfs_control_key {
	const char *name;
	/* The value, on one line; not longer than @size; returns its length. */
	int (*get)(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size);
	/* NULL: read-only. Errors: -EINVAL for a bad value; @err says why. */
	int (*set)(struct cmfs_fs *fs, struct cmfs_file *file, struct cmfs_image *image,
		   const char *value, struct cmfs_err *err);
	/* NULL: cannot be removed. */
	int (*remove)(struct cmfs_file *file, struct cmfs_image *image, struct cmfs_err *err);
	bool logs;	  /* set() logs itself what it has done */
	bool takes_pages; /* what mappings have dirtied is to come before a change */
	bool keeps_pages; /* a change says nothing of the kernel's, or set() has seen to them */
	bool on_root;	  /* set on the root directory it is of all images */
	/* Of those, which ones it is for; NULL: all. */
	bool (*is_for)(struct cmfs_image *image);
};

/* The longest value of any key, in bytes. */
#define CMFS_CONTROL_VALUE_MAX 4096

/** cmfs_control_find() - an image's key of that full name, or NULL. */
const struct cmfs_control_key *cmfs_control_find(const char *name);

/** cmfs_control_root_get() - a root key's value, or NULL for an unknown one. Static. */
const char *cmfs_control_root_get(const char *name);

/** cmfs_control_root_list() - the root's keys, as listxattr(2) gives them. Static. */
const char *cmfs_control_root_list(size_t *ret_size);

#endif
