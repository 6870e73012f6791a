// SPDX-License-Identifier: GPL-2.0-or-later
/* The root directory: fixed names, nothing to create, rename or remove. */
#include "fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t generation_of(struct cmfs_file *file)
{
	uint64_t generation;

	pthread_mutex_lock(&file->lock);
	generation = file->generation;
	pthread_mutex_unlock(&file->lock);
	return generation;
}

static void dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct cmfs_fs *fs = cmfs_req_fs(req);
	struct fuse_entry_param entry = {
		.attr_timeout = cmfs_attr_timeout(fs),
	};
	int r;

	if (!cmfs_fs_is_directory(fs, parent)) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	for (size_t i = 0; i < fs->file_count; i++) {
		if (strcmp(name, fs->files[i].name) != 0)
			continue;
		entry.ino = cmfs_fs_ino(fs, i);
		entry.entry_timeout = fs->files[i].entry_timeout;
		r = cmfs_fs_getattr(fs, entry.ino, NULL, &entry.attr);
		/* Afterwards: an answer of this boot is not to be taken for the last one's. */
		entry.generation = generation_of(&fs->files[i]);
		if (r < 0)
			fuse_reply_err(req, -r);
		else
			fuse_reply_entry(req, &entry);
		return;
	}
	fuse_reply_err(req, ENOENT);
}

/* Entries by position: ".", "..", then the images. */
static const char *entry_at(struct cmfs_fs *fs, off_t position, struct stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->st_ino = FUSE_ROOT_ID;
	ret->st_mode = S_IFDIR;
	if (position < 2)
		return position == 0 ? "." : "..";
	if ((size_t)position - 2 >= fs->file_count)
		return NULL;
	ret->st_ino = cmfs_fs_ino(fs, position - 2);
	ret->st_mode = S_IFREG;
	return fs->files[position - 2].name;
}

static void dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	struct cmfs_fs *fs = cmfs_req_fs(req);
	size_t used = 0;
	char *buf;

	if (!cmfs_fs_is_directory(fs, ino)) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	buf = malloc(size);
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (;; off++) {
		struct stat st;
		const char *name = entry_at(fs, off, &st);
		size_t need;

		if (!name)
			break;
		need = fuse_add_direntry(req, buf + used, size - used, name, &st, off + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

/* fsync of the directory: all that `sync MOUNTPOINT` can reach us with. */
static void dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct cmfs_fs *fs = cmfs_req_fs(req);
	int error = 0;

	for (size_t i = 0; i < fs->file_count; i++) {
		struct cmfs_boot *boot = cmfs_boot_get(&fs->files[i]);
		int r = cmfs_image_flush(boot->image, datasync);

		cmfs_fs_log_failure(&fs->files[i], boot->image);
		cmfs_boot_put(&fs->files[i], boot);
		if (r < 0 && !error)
			error = -r;
	}
	fuse_reply_err(req, error);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			 dev_t rdev)
{
	fuse_reply_err(req, EPERM);
}

static void refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	fuse_reply_err(req, EPERM);
}

static void refuse_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
			  const char *newname, unsigned int flags)
{
	fuse_reply_err(req, EPERM);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	fuse_reply_err(req, EPERM);
}

static void refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			  struct fuse_file_info *fi)
{
	fuse_reply_err(req, EPERM);
}

void cmfs_dir_ops(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = dir_lookup;
	ops->readdir = dir_readdir;
	ops->fsyncdir = dir_fsync;
	ops->mknod = refuse_mknod;
	ops->mkdir = refuse_mkdir;
	ops->unlink = refuse_remove;
	ops->rmdir = refuse_remove;
	ops->symlink = refuse_symlink;
	ops->rename = refuse_rename;
	ops->link = refuse_link;
	ops->create = refuse_create;
}
