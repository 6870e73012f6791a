// SPDX-License-Identifier: GPL-2.0-or-later
#include "fs.h"

#include "handles.h"
#include "log.h"

#include <errno.h>
#include <string.h>

struct cmfs_file *cmfs_fs_find(struct cmfs_fs *fs, fuse_ino_t ino)
{
	fuse_ino_t first = cmfs_fs_ino(fs, 0);

	return ino >= first && ino - first < fs->file_count ? &fs->files[ino - first] : NULL;
}

static int getattr(struct cmfs_file *file, const struct fuse_file_info *fi, struct stat *ret)
{
	struct cmfs_boot *boot;
	int r;

	if (fi)
		return cmfs_image_getattr(cmfs_handle_image(fi), ret);
	boot = cmfs_boot_get(file);
	r = cmfs_image_getattr(boot->image, ret);
	cmfs_boot_put(file, boot);
	return r;
}

int cmfs_fs_getattr(struct cmfs_fs *fs, fuse_ino_t ino, const struct fuse_file_info *fi,
		    struct stat *ret)
{
	struct cmfs_file *file = cmfs_fs_find(fs, ino);
	int r;

	if (cmfs_fs_is_directory(fs, ino)) {
		*ret = fs->root;
		return 0;
	}
	if (!file)
		return -ENOENT;
	r = getattr(file, fi, ret);
	if (r == 0) {
		ret->st_ino = ino;
		ret->st_nlink = 1;
	}
	return r;
}

void cmfs_fs_log_failure(struct cmfs_file *file, struct cmfs_image *image)
{
	struct cmfs_failure failure;

	if (cmfs_image_take_failure(image, &failure))
		cmfs_log(LOG_ERR,
			 "%s: %s failed: %s; from now on nothing is reported as durable until the "
			 "image is mounted anew",
			 file->name, failure.operation, strerror(-failure.error));
}

void cmfs_fs_log_stopped(struct cmfs_file *file)
{
	struct cmfs_write_log_status status;

	if (file->write_log && cmfs_write_log_take_error(file->write_log, &status))
		cmfs_log(LOG_ERR,
			 "%s: the write log %s has stopped: %s; its %llu entries are right, what "
			 "comes now is not in it",
			 file->name, status.path, strerror(-status.error),
			 (unsigned long long)status.entries);
}

void cmfs_fs_drop_pages(struct cmfs_fs *fs, struct cmfs_file *file)
{
	fuse_lowlevel_notify_inval_inode(fs->se, cmfs_fs_ino(fs, file - fs->files), 0, 0);
}
