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

	if (!key)
		fuse_reply_err(req, ENODATA);
	else
		reply_value(req, value, key->get(file, value, sizeof(value)), size);
}

static void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	const char *value;
	void *buf;

	if (has_prefix(name, "system.")) {
		fuse_reply_err(req, EOPNOTSUPP);
	} else if (!has_prefix(name, "user.")) {
		fuse_reply_err(req, ENODATA);
	} else if (!file) {
		value = cmfs_control_root_get(name);
		reply_value(req, value, value ? (ssize_t)strlen(value) : -ENODATA, size);
	} else if (has_prefix(name, CMFS_CONTROL_PREFIX)) {
		get_control(req, file, name, size);
	} else {
		buf = cmfs_buffer_get(CMFS_BUFFER_XATTR, XATTR_SIZE_MAX);
		reply_value(req, buf,
			    buf ? cmfs_image_getxattr(file->image, name, buf, XATTR_SIZE_MAX)
				: -ENOMEM,
			    size);
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
		len = cmfs_image_listxattr(file->image, list, XATTR_LIST_MAX);
	if (len == -EOPNOTSUPP)
		len = 0;
	else if (len > 0)
		len = filter_list(list, len);
	reply_value(req, list, len, size);
}

/* ---- changing control keys ---- */

/* A control key's change on its way through a job. */
struct change {
	fuse_req_t req;
	struct cmfs_fs *fs;
	struct cmfs_file *file;
	const struct cmfs_control_key *key;
	bool remove;
	char value[CMFS_CONTROL_VALUE_MAX];
};

static void do_change(void *arg)
{
	struct change *c = arg;
	struct cmfs_err err = { "" };
	int r;

	r = c->remove ? c->key->remove(c->file, &err) : c->key->set(c->file, c->value, &err);
	cmfs_fs_log_failure(c->file);
	if (r < 0) {
		cmfs_log(LOG_WARNING, "%s: %s not changed: %s", c->file->name, c->key->name,
			 err.msg[0] ? err.msg : strerror(-r));
	} else {
		char now[CMFS_CONTROL_VALUE_MAX];

		c->key->get(c->file, now, sizeof(now));
		cmfs_log(LOG_INFO, "%s: %s is now %s", c->file->name, c->key->name, now);
		/*
		 * Drop the kernel's pages of the file. Pages that a mapping
		 * dirtied are written first, and pages being read are waited for:
		 * requests that must be served meanwhile, so the gate is open
		 * again, and this is not a worker thread.
		 */
		fuse_lowlevel_notify_inval_inode(c->fs->se,
						 CMFS_FIRST_IMAGE + (c->file - c->fs->files), 0, 0);
	}
	fuse_reply_err(c->req, -r);
	free(c);
}

static int check_owner(fuse_req_t req, struct cmfs_file *file)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	struct stat st;
	int r;

	if (uid == 0)
		return 0;
	r = cmfs_image_getattr(file->image, &st);
	if (r < 0)
		return r;
	return uid == st.st_uid ? 0 : -EPERM;
}

/* @value: NULL to remove. */
static int start_change(fuse_req_t req, struct cmfs_file *file, const char *name, const char *value,
			size_t size)
{
	const struct cmfs_control_key *key = cmfs_control_find(name);
	struct change *c;
	int r;

	if (!key)
		return value ? -EINVAL : -ENODATA;
	if (!key->set)
		return -EROFS;
	r = check_owner(req, file);
	if (r < 0)
		return r;
	if (size >= CMFS_CONTROL_VALUE_MAX || (value && memchr(value, '\0', size)))
		return -EINVAL;
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct change){
		.req = req,
		.fs = cmfs_req_fs(req),
		.file = file,
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

static void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		      size_t size, int flags)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	int r;

	if (!has_prefix(name, "user.")) {
		r = -EOPNOTSUPP;
	} else if (!file) {
		r = cmfs_control_root_get(name) ? -EROFS : -EINVAL;
	} else if (!has_prefix(name, CMFS_CONTROL_PREFIX)) {
		r = cmfs_image_setxattr(file->image, name, value, size, flags);
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
	} else if (!file) {
		r = cmfs_control_root_get(name) ? -EROFS : -ENODATA;
	} else if (!has_prefix(name, CMFS_CONTROL_PREFIX)) {
		r = cmfs_image_removexattr(file->image, name);
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
