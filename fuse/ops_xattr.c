// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Extended attributes. Three kinds by name:
 *
 * - user.cmfs.*: control keys (control.c);
 * - other user.*: the host file's own, passed through;
 * - anything else: there is none, and none can be set. The kernel asks for
 *   security.capability before writes; with FUSE_CAP_HANDLE_KILLPRIV_V2 it
 *   remembers this answer.
 */
#include "cmfs/buffer.h"
#include "control.h"
#include "log.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Answer getxattr or listxattr: size 0 asks how much there is. */
static void reply_value(fuse_req_t req, const char *value, ssize_t len, size_t size)
{
	if (len < 0)
		fuse_reply_err(req, -len);
	else if (size == 0)
		fuse_reply_xattr(req, len);
	else if ((size_t)len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

static void get_control(fuse_req_t req, struct cmfs_file *file, const char *name, size_t size)
{
	const struct cmfs_control_key *key = cmfs_control_find(name);
	char value[CMFS_CONTROL_VALUE_MAX];
	struct cmfs_boot *boot;
	int len;

	if (!key) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	boot = cmfs_boot_get(file);
	len = key->get(file, boot->image, value, sizeof(value));
	cmfs_boot_put(file, boot);
	reply_value(req, value, len, size);
}

/* An attribute of the host file. */
static void get_host(fuse_req_t req, struct cmfs_file *file, const char *name, size_t size)
{
	void *buf = cmfs_buffer_get(CMFS_BUFFER_XATTR, XATTR_SIZE_MAX);
	struct cmfs_boot *boot = cmfs_boot_get(file);
	ssize_t len = -ENOMEM;

	if (buf)
		len = cmfs_image_getxattr(boot->image, name, buf, XATTR_SIZE_MAX);
	cmfs_boot_put(file, boot);
	reply_value(req, buf, len, size);
}

static int set_host(struct cmfs_file *file, const char *name, const char *value, size_t size,
		    int flags)
{
	struct cmfs_boot *boot = cmfs_boot_get(file);
	int r = cmfs_image_setxattr(boot->image, name, value, size, flags);

	cmfs_boot_put(file, boot);
	return r;
}

static int remove_host(struct cmfs_file *file, const char *name)
{
	struct cmfs_boot *boot = cmfs_boot_get(file);
	int r = cmfs_image_removexattr(boot->image, name);

	cmfs_boot_put(file, boot);
	return r;
}

static ssize_t list_host(struct cmfs_file *file, char *list, size_t size)
{
	struct cmfs_boot *boot = cmfs_boot_get(file);
	ssize_t len = cmfs_image_listxattr(boot->image, list, size);

	cmfs_boot_put(file, boot);
	return len;
}

/* Of a control key that tells of the mount; NULL for others. The root may be an image. */
static const char *root_value(fuse_ino_t ino, const char *name)
{
	return ino == FUSE_ROOT_ID ? cmfs_control_root_get(name) : NULL;
}

static void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	const char *value = root_value(ino, name);

	if (has_prefix(name, "system.")) {
		fuse_reply_err(req, EOPNOTSUPP);
	} else if (!has_prefix(name, "user.")) {
		fuse_reply_err(req, ENODATA);
	} else if (value || !file) {
		reply_value(req, value, value ? (ssize_t)strlen(value) : -ENODATA, size);
	} else if (has_prefix(name, CMFS_CONTROL_PREFIX)) {
		get_control(req, file, name, size);
	} else {
		get_host(req, file, name, size);
	}
}

/* Drop from a list of names what is not the host file's own user.* attribute. */
static size_t filter_list(char *list, size_t size)
{
	size_t kept = 0;

	for (size_t i = 0; i < size;) {
		size_t len = strlen(list + i) + 1;

		if (has_prefix(list + i, "user.") && !has_prefix(list + i, CMFS_CONTROL_PREFIX)) {
			memmove(list + kept, list + i, len);
			kept += len;
		}
		i += len;
	}
	return kept;
}

static void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	const char *names;
	size_t root_size;
	ssize_t len = -ENOMEM;
	char *list;

	if (!file) {
		names = cmfs_control_root_list(&root_size);
		reply_value(req, names, root_size, size);
		return;
	}
	list = cmfs_buffer_get(CMFS_BUFFER_XATTR, XATTR_LIST_MAX);
	if (list)
		len = list_host(file, list, XATTR_LIST_MAX);
	if (len == -EOPNOTSUPP)
		len = 0;
	else if (len > 0)
		len = filter_list(list, len);
	reply_value(req, list, len, size);
}

/* ---- changing control keys ---- */

/*
 * A control key's change on its way through a job.
 *
 * The kernel has setxattr(2) wait for a write or a flush of the same file that is
 * under way. So what is to come into the middle of those is also taken on the root
 * directory, for all images.
 */
struct change {
	fuse_req_t req;
	struct cmfs_fs *fs;
	struct cmfs_file *file; /* NULL: all */
	struct cmfs_boot *boot; /* of it */
	const struct cmfs_control_key *key;
	bool remove;
	char value[CMFS_CONTROL_VALUE_MAX];
};

static void log_change(const struct change *c, struct cmfs_file *file, struct cmfs_image *image,
		       int r, const struct cmfs_err *err)
{
	char now[CMFS_CONTROL_VALUE_MAX];

	if (r < 0) {
		cmfs_log(LOG_WARNING, "%s: %s not changed: %s", file->name, c->key->name,
			 err->msg[0] ? err->msg : strerror(-r));
	} else if (!c->key->logs) {
		c->key->get(file, image, now, sizeof(now));
		cmfs_log(LOG_INFO, "%s: %s is now %s", file->name, c->key->name, now);
	}
}

/*
 * For setxattr(2) on the file itself the kernel holds the inode's lock, as a write does. On
 * the root directory it does not, and a cached write may be on its way (cmfs_fs_drop_pages()).
 * With the kernel's write cache there is none: pages are written before they are dropped.
 */
static bool may_drop_pages(const struct change *c, const struct cmfs_file *file)
{
	return c->file || file->writeback_cache;
}

static int change_one(const struct change *c, struct cmfs_file *file, struct cmfs_image *image)
{
	struct cmfs_err err = { "" };
	int r;

	if (c->key->takes_pages && may_drop_pages(c, file))
		cmfs_fs_drop_pages(c->fs, file);
	r = c->remove ? c->key->remove(file, image, &err)
		      : c->key->set(c->fs, file, image, c->value, &err);
	cmfs_fs_log_failure(file, image);
	log_change(c, file, image, r, &err);
	/*
	 * Drop the kernel's pages of the file. Pages that a mapping dirtied are written
	 * first, and pages being read are waited for: requests that must be served
	 * meanwhile, so the gate is open again, and this is not a worker thread.
	 */
	if (r == 0 && !c->key->keeps_pages)
		cmfs_fs_drop_pages(c->fs, file);
	return r;
}

/* Returns the first error; the images behind it are as they were. */
static int change_all(const struct change *c)
{
	bool found = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->fs->file_count; i++) {
		struct cmfs_file *file = &c->fs->files[i];
		struct cmfs_boot *boot = cmfs_boot_get(file);

		if (!c->key->is_for || c->key->is_for(boot->image)) {
			found = true;
			r = change_one(c, file, boot->image);
		}
		cmfs_boot_put(file, boot);
	}
	return found ? r : -EOPNOTSUPP;
}

static void do_change(void *arg)
{
	struct change *c = arg;
	int r;

	if (c->file) {
		r = change_one(c, c->file, c->boot->image);
		cmfs_boot_put(c->file, c->boot);
	} else {
		r = change_all(c);
	}
	fuse_reply_err(c->req, -r);
	free(c);
}

static int check_owner(fuse_req_t req, struct cmfs_image *image)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	struct stat st;
	int r;

	if (uid == 0)
		return 0;
	r = cmfs_image_getattr(image, &st);
	if (r < 0)
		return r;
	return uid == st.st_uid ? 0 : -EPERM;
}

/* @value: NULL to remove. @boot: the job's from here on if 0 is returned. */
static int start_job(fuse_req_t req, struct cmfs_file *file, struct cmfs_boot *boot,
		     const struct cmfs_control_key *key, const char *value, size_t size)
{
	struct change *c = malloc(sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	*c = (struct change){
		.req = req,
		.fs = cmfs_req_fs(req),
		.file = file,
		.boot = boot,
		.key = key,
		.remove = !value,
	};
	if (value)
		memcpy(c->value, value, size); /* the rest is zeroes */
	r = cmfs_jobs_start(&c->fs->jobs, do_change, c);
	if (r < 0)
		free(c);
	return r;
}

static int check_change(const struct cmfs_control_key *key, const char *value, size_t size)
{
	if (!key)
		return value ? -EINVAL : -ENODATA;
	if (!key->set || (!value && !key->remove))
		return -EROFS;
	if (size >= CMFS_CONTROL_VALUE_MAX || (value && memchr(value, '\0', size)))
		return -EINVAL;
	return 0;
}

/* @value: NULL to remove. */
static int start_change(fuse_req_t req, struct cmfs_file *file, const char *name, const char *value,
			size_t size)
{
	const struct cmfs_control_key *key = cmfs_control_find(name);
	struct cmfs_boot *boot;
	int r = check_change(key, value, size);

	if (r < 0)
		return r;
	boot = cmfs_boot_get(file);
	r = check_owner(req, boot->image);
	if (r == 0)
		r = start_job(req, file, boot, key, value, size);
	if (r < 0)
		cmfs_boot_put(file, boot);
	return r;
}

/* On the root directory. */
static int start_change_of_all(fuse_req_t req, const char *name, const char *value, size_t size)
{
	const struct cmfs_control_key *key = cmfs_control_find(name);
	uid_t uid = fuse_req_ctx(req)->uid;
	int r;

	if (key && !key->on_root)
		key = NULL;
	r = check_change(key, value, size);
	if (r == 0 && uid != 0 && uid != cmfs_req_fs(req)->root.st_uid)
		r = -EPERM;
	return r < 0 ? r : start_job(req, NULL, NULL, key, value, size);
}

static void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		      size_t size, int flags)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	int r;

	if (!has_prefix(name, "user.")) {
		r = -EOPNOTSUPP;
	} else if (root_value(ino, name)) {
		r = -EROFS;
	} else if (!file) {
		r = start_change_of_all(req, name, value, size);
		if (r == 0)
			return;
	} else if (!has_prefix(name, CMFS_CONTROL_PREFIX)) {
		r = set_host(file, name, value, size, flags);
	} else if (flags & XATTR_CREATE) {
		r = cmfs_control_find(name) ? -EEXIST : -EINVAL;
	} else {
		r = start_change(req, file, name, value, size);
		if (r == 0)
			return; /* the job replies */
	}
	fuse_reply_err(req, -r);
}

static void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	int r;

	if (!has_prefix(name, "user.")) {
		r = -ENODATA;
	} else if (root_value(ino, name)) {
		r = -EROFS;
	} else if (!file) {
		r = start_change_of_all(req, name, NULL, 0);
		if (r == 0)
			return;
	} else if (!has_prefix(name, CMFS_CONTROL_PREFIX)) {
		r = remove_host(file, name);
	} else {
		r = start_change(req, file, name, NULL, 0);
		if (r == 0)
			return;
	}
	fuse_reply_err(req, -r);
}

void cmfs_xattr_ops(struct fuse_lowlevel_ops *ops)
{
	ops->getxattr = xattr_get;
	ops->listxattr = xattr_list;
	ops->setxattr = xattr_set;
	ops->removexattr = xattr_remove;
}
