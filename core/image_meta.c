// SPDX-License-Identifier: GPL-2.0-or-later
/* An image's metadata: the backend's, reached from inside the gate. */
#include "image_private.h"

#include <errno.h>

int cmfs_image_getattr(struct cmfs_image *image, struct stat *ret)
{
	int r;

	cmfs_gate_enter(&image->gate);
	r = cmfs_backend_getattr(image->be, ret);
	cmfs_gate_leave(&image->gate);
	return r;
}

/* Call an optional metadata operation inside the gate. */
#define META(image, op, ...)                                                                       \
	({                                                                                         \
		const struct cmfs_backend_meta_ops *meta;                                          \
		__typeof__(meta->op((image)->be, ##__VA_ARGS__)) result;                           \
                                                                                                   \
		cmfs_gate_enter(&(image)->gate);                                                   \
		meta = (image)->be->ops->meta;                                                     \
		result = meta && meta->op ? meta->op((image)->be, ##__VA_ARGS__) : -EOPNOTSUPP;    \
		cmfs_gate_leave(&(image)->gate);                                                   \
		result;                                                                            \
	})

int cmfs_image_chmod(struct cmfs_image *image, mode_t mode)
{
	return image->readonly ? -EROFS : META(image, chmod, mode);
}

int cmfs_image_chown(struct cmfs_image *image, uid_t uid, gid_t gid)
{
	return image->readonly ? -EROFS : META(image, chown, uid, gid);
}

int cmfs_image_utimens(struct cmfs_image *image, const struct timespec times[2])
{
	return image->readonly ? -EROFS : META(image, utimens, times);
}

int cmfs_image_statvfs(struct cmfs_image *image, struct statvfs *ret)
{
	return META(image, statvfs, ret);
}

ssize_t cmfs_image_getxattr(struct cmfs_image *image, const char *name, void *value, size_t size)
{
	return META(image, getxattr, name, value, size);
}

int cmfs_image_setxattr(struct cmfs_image *image, const char *name, const void *value, size_t size,
			int flags)
{
	return image->readonly ? -EROFS : META(image, setxattr, name, value, size, flags);
}

int cmfs_image_removexattr(struct cmfs_image *image, const char *name)
{
	return image->readonly ? -EROFS : META(image, removexattr, name);
}

ssize_t cmfs_image_listxattr(struct cmfs_image *image, char *list, size_t size)
{
	return META(image, listxattr, list, size);
}
