// SPDX-License-Identifier: GPL-2.0-or-later
#include "fs.h"

#include "log.h"

#include <errno.h>
#include <string.h>

struct cmfs_file *cmfs_fs_find(struct cmfs_fs *fs, fuse_ino_t ino)
{
	if (ino < CMFS_FIRST_IMAGE || ino - CMFS_FIRST_IMAGE >= fs->file_count)
		return NULL;
	return &fs->files[ino - CMFS_FIRST_IMAGE];
}

int cmfs_fs_getattr(struct cmfs_fs *fs, fuse_ino_t ino, struct stat *ret)
{
	struct cmfs_file *file = cmfs_fs_find(fs, ino);
	int r;

	if (ino == FUSE_ROOT_ID) {
		*ret = fs->root;
		return 0;
	}
	if (!file)
		return -ENOENT;
	r = cmfs_image_getattr(file->image, ret);
	if (r == 0) {
		ret->st_ino = ino;
		ret->st_nlink = 1;
	}
	return r;
}

void cmfs_fs_log_failure(struct cmfs_file *file)
{
	struct cmfs_failure failure;

	if (cmfs_image_take_failure(file->image, &failure))
		cmfs_log(LOG_ERR,
			 "%s: %s failed: %s; from now on nothing is reported as durable until the "
			 "image is mounted anew",
			 file->name, failure.operation, strerror(-failure.error));
}
