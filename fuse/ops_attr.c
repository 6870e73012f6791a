// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attributes: the host file's own, read and changed through the mount. The
 * kernel has checked permissions before it asks (default_permissions).
 */
#include "fs.h"
#include "handles.h"

#include <errno.h>

static void attr_get(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int r = cmfs_fs_getattr(cmfs_req_fs(req), ino, fi, &st);

	if (r == -ENOTCONN)
		r = -EIO; /* as in attr_statfs() */
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, cmfs_attr_timeout(cmfs_req_fs(req)));
}

static int set_owner(struct cmfs_image *image, const struct stat *attr, int to_set)
{
	uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	return cmfs_image_chown(image, uid, gid);
}

static struct timespec new_time(int to_set, int set, int now, struct timespec given)
{
	if (to_set & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return to_set & set ? given : (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int set_times(struct cmfs_image *image, const struct stat *attr, int to_set)
{
	const struct timespec times[2] = {
		new_time(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, attr->st_atim),
		new_time(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, attr->st_mtim),
	};

	return cmfs_image_utimens(image, times);
}

/*
 * In a mount with images of fixed size the kernel truncates for O_TRUNC like this, by
 * name and to 0 (session.c): it means nothing there, as with a device.
 */
static int set_size(struct cmfs_image *image, uint64_t size, const struct fuse_file_info *fi)
{
	bool may_be_open = !fi && size == 0;

	if (may_be_open && cmfs_image_fixed_size(image))
		return cmfs_image_readonly(image) ? -EROFS : 0;
	return cmfs_image_truncate(image, size);
}

#define OWNER (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)
#define TIMES                                                                                      \
	(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME |                     \
	 FUSE_SET_ATTR_MTIME_NOW)

static int set_attributes(struct cmfs_image *image, const struct stat *attr, int to_set,
			  const struct fuse_file_info *fi)
{
	int r = 0;

	if (to_set & FUSE_SET_ATTR_SIZE)
		r = set_size(image, attr->st_size, fi);
	if (r == 0 && (to_set & OWNER))
		r = set_owner(image, attr, to_set);
	if (r == 0 && (to_set & FUSE_SET_ATTR_MODE)) /* after chown, which drops bits */
		r = cmfs_image_chmod(image, attr->st_mode & 07777);
	if (r == 0 && (to_set & TIMES))
		r = set_times(image, attr, to_set);
	return r;
}

static void attr_set(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		     struct fuse_file_info *fi)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	struct cmfs_boot *boot;
	struct cmfs_image *image;
	int r;

	if (!file) {
		fuse_reply_err(req, EPERM); /* the root directory is not on any disk */
		return;
	}
	boot = cmfs_boot_get(file);
	image = fi ? cmfs_handle_image(fi) : boot->image;
	r = set_attributes(image, attr, to_set, fi);
	if (r < 0)
		cmfs_fs_log_failure(file, image);
	cmfs_fs_log_stopped(file);
	cmfs_boot_put(file, boot);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		attr_get(req, ino, fi);
}

static void attr_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct cmfs_fs *fs = cmfs_req_fs(req);
	struct cmfs_file *found = cmfs_fs_find(fs, ino), *file = found ? found : &fs->files[0];
	struct cmfs_boot *boot = cmfs_boot_get(file);
	struct statvfs st;
	int r = cmfs_image_statvfs(boot->image, &st);

	cmfs_boot_put(file, boot);
	if (r == -ENOTCONN)
		r = -EIO; /* whose daemon has died is the image's file system: not we have */
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_statfs(req, &st);
}

void cmfs_attr_ops(struct fuse_lowlevel_ops *ops)
{
	ops->getattr = attr_get;
	ops->setattr = attr_set;
	ops->statfs = attr_statfs;
}
