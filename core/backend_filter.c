// SPDX-License-Identifier: GPL-2.0-or-later
#include "backend_filter.h"

#include <errno.h>

struct cmfs_backend cmfs_filter_base(const struct cmfs_backend_ops *ops,
				     const struct cmfs_backend *below)
{
	return (struct cmfs_backend){
		.ops = ops,
		.how = below->how,
		.geo = below->geo,
		.reopen_last = below->reopen_last,
	};
}

int cmfs_filter_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	return cmfs_backend_read(cmfs_filter_below(be), buf, len, off, ret_len);
}

int cmfs_filter_check(struct cmfs_backend *be)
{
	return cmfs_backend_check(cmfs_filter_below(be));
}

int cmfs_filter_write_out(struct cmfs_backend *be)
{
	return cmfs_backend_write_out(cmfs_filter_below(be));
}

int cmfs_filter_size(struct cmfs_backend *be, uint64_t *ret)
{
	return cmfs_backend_size(cmfs_filter_below(be), ret);
}

int cmfs_filter_getattr(struct cmfs_backend *be, struct stat *ret)
{
	return cmfs_backend_getattr(cmfs_filter_below(be), ret);
}

int cmfs_filter_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	return cmfs_backend_seek(cmfs_filter_below(be), whence, off, ret);
}

int cmfs_filter_set_sync(struct cmfs_backend *be, bool on)
{
	return cmfs_backend_set_sync(cmfs_filter_below(be), on);
}

void cmfs_filter_drop_cache(struct cmfs_backend *be)
{
	cmfs_backend_drop_cache(cmfs_filter_below(be));
}

/* ---- metadata ---- */

/* Call an optional metadata operation of the backend below @be. */
#define META(be, op, ...)                                                                          \
	({                                                                                         \
		struct cmfs_backend *below = cmfs_filter_below(be);                                \
		const struct cmfs_backend_meta_ops *meta = below->ops->meta;                       \
                                                                                                   \
		meta && meta->op ? meta->op(below, ##__VA_ARGS__) : -EOPNOTSUPP;                   \
	})

static int filter_chmod(struct cmfs_backend *be, mode_t mode)
{
	return META(be, chmod, mode);
}

static int filter_chown(struct cmfs_backend *be, uid_t uid, gid_t gid)
{
	return META(be, chown, uid, gid);
}

static int filter_utimens(struct cmfs_backend *be, const struct timespec times[2])
{
	return META(be, utimens, times);
}

static int filter_statvfs(struct cmfs_backend *be, struct statvfs *ret)
{
	return META(be, statvfs, ret);
}

static ssize_t filter_getxattr(struct cmfs_backend *be, const char *name, void *value, size_t size)
{
	return META(be, getxattr, name, value, size);
}

static int filter_setxattr(struct cmfs_backend *be, const char *name, const void *value,
			   size_t size, int flags)
{
	return META(be, setxattr, name, value, size, flags);
}

static int filter_removexattr(struct cmfs_backend *be, const char *name)
{
	return META(be, removexattr, name);
}

static ssize_t filter_listxattr(struct cmfs_backend *be, char *list, size_t size)
{
	return META(be, listxattr, list, size);
}

const struct cmfs_backend_meta_ops cmfs_filter_meta_ops = {
	.chmod = filter_chmod,
	.chown = filter_chown,
	.utimens = filter_utimens,
	.statvfs = filter_statvfs,
	.getxattr = filter_getxattr,
	.setxattr = filter_setxattr,
	.removexattr = filter_removexattr,
	.listxattr = filter_listxattr,
};
