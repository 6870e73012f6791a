// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The overlay as a backend (cmfs/overlay.h): its openings, and what is asked of it
 * besides its content, which is overlay.c's.
 *
 * Each opening has one of the image, readonly, and one of the place for the data. Both
 * are direct if the opening is (P6), and none is dsync, as nothing in the overlay
 * outlives us. Any alignment will do: a block that is written in part needs a copy first,
 * which is this layer's business, and core/align.c does the rest on both sides.
 */
#include "overlay_private.h"

#include "temp_file.h"
#include "time_ns.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cmfs_backend_ops overlay_ops;

static struct cmfs_overlay_opening *to_opening(struct cmfs_backend *be)
{
	return (struct cmfs_overlay_opening *)be;
}

struct cmfs_overlay *cmfs_backend_overlay_state(struct cmfs_backend *be)
{
	return to_opening(be)->overlay;
}

/* ---- open, reopen, close ---- */

int cmfs_overlay_temp_open(bool direct, struct cmfs_backend **ret, struct cmfs_err *err)
{
	const struct cmfs_host_options options = { .locking = CMFS_LOCKING_OFF };
	struct cmfs_open_how how = { .direct = direct };
	int fd = cmfs_temp_file_create(), r = fd;
	char path[32];

	if (fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		r = cmfs_backend_file_open(path, &how, &options, ret, NULL);
		if (r == -EOPNOTSUPP) {
			how.direct = false;
			r = cmfs_backend_file_open(path, &how, &options, ret, NULL);
		}
		close(fd);
	}
	if (r < 0)
		return cmfs_err_set(err, r,
				    "cannot keep an overlay in %s: %s (TMPDIR names "
				    "another folder)",
				    cmfs_temp_file_folder(), strerror(-r));
	return 0;
}

static struct cmfs_overlay *create_overlay(uint64_t size)
{
	struct cmfs_overlay *overlay = malloc(sizeof(*overlay));

	if (!overlay)
		return NULL;
	*overlay = (struct cmfs_overlay){
		.lock = CMFS_MUTEX_INITIALIZER,
		.size = size,
		.image_size = size,
		.image_end = size,
		.cut_at = UINT64_MAX,
	};
	cmfs_block_map_init(&overlay->map);
	cmfs_gate_init(&overlay->changes);
	cmfs_range_lock_init(&overlay->ranges);
	cmfs_range_lock_init(&overlay->temp_ranges);
	return overlay;
}

static void destroy_overlay(struct cmfs_overlay *overlay)
{
	cmfs_range_lock_finish(&overlay->temp_ranges);
	cmfs_range_lock_finish(&overlay->ranges);
	cmfs_gate_finish(&overlay->changes);
	cmfs_block_map_finish(&overlay->map);
	pthread_mutex_destroy(&overlay->lock.m);
	free(overlay);
}

static struct cmfs_overlay_opening *create_opening(const struct cmfs_open_how *how,
						   struct cmfs_backend *image,
						   struct cmfs_backend *temp)
{
	struct cmfs_overlay_opening *o = malloc(sizeof(*o));

	if (o)
		*o = (struct cmfs_overlay_opening){
			.base = { .ops = &overlay_ops,
				  .how = *how,
				  .geo = { 1, 1, 1, image->geo.fixed_size },
				  .reopen_last = image->reopen_last },
			.image = image,
			.temp = temp,
		};
	return o;
}

static void add_opening(struct cmfs_overlay *overlay, struct cmfs_overlay_opening *o)
{
	cmfs_mutex_lock(&overlay->lock);
	o->overlay = overlay;
	o->next = overlay->openings;
	overlay->openings = o;
	cmfs_mutex_unlock(&overlay->lock);
}

/* Returns true if it was the last one. */
static bool remove_opening(struct cmfs_overlay_opening *o)
{
	struct cmfs_overlay_opening **at = &o->overlay->openings;
	bool last;

	cmfs_mutex_lock(&o->overlay->lock);
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	last = !o->overlay->openings;
	cmfs_mutex_unlock(&o->overlay->lock);
	return last;
}

int cmfs_backend_overlay_open(struct cmfs_backend *image, struct cmfs_backend *temp,
			      struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct cmfs_open_how how = image->how;
	struct cmfs_overlay_opening *o;
	struct cmfs_overlay *overlay;
	uint64_t size;
	int r = cmfs_backend_size(image, &size);

	assert(image->how.readonly && !temp->how.readonly && !temp->how.dsync);
	if (r < 0)
		return cmfs_err_set(err, r, "%s", strerror(-r));
	how.readonly = false;
	overlay = create_overlay(size);
	o = create_opening(&how, image, temp);
	if (!overlay || !o) {
		free(o);
		if (overlay)
			destroy_overlay(overlay);
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	}
	add_opening(overlay, o);
	*ret = &o->base;
	return 0;
}

static int reopen_temp(struct cmfs_backend *temp, bool direct, struct cmfs_backend **ret,
		       struct cmfs_err *err)
{
	struct cmfs_open_how how = { .direct = direct };
	int r = cmfs_backend_reopen(temp, &how, ret, err);

	if (r != -EOPNOTSUPP || !direct)
		return r;
	how.direct = false;
	return cmfs_backend_reopen(temp, &how, ret, err);
}

static int overlay_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
			  struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct cmfs_overlay_opening *o = to_opening(be), *new;
	struct cmfs_open_how image_how = *how;
	struct cmfs_backend *image, *temp;
	int r;

	/* The image comes last: it may be one that is not as before then (reopen_last). */
	r = reopen_temp(o->temp, how->direct, &temp, err);
	if (r < 0)
		return r;
	image_how.readonly = true;
	r = cmfs_backend_reopen(o->image, &image_how, &image, err);
	if (r < 0)
		goto close_temp;
	new = create_opening(how, image, temp);
	if (!new) {
		r = cmfs_err_set(err, -ENOMEM, "out of memory");
		goto close_image;
	}
	add_opening(o->overlay, new);
	*ret = &new->base;
	return 0;
close_image:
	cmfs_backend_close(image);
close_temp:
	cmfs_backend_close(temp);
	return r;
}

static void overlay_close(struct cmfs_backend *be)
{
	struct cmfs_overlay_opening *o = to_opening(be);

	if (remove_opening(o))
		destroy_overlay(o->overlay);
	cmfs_backend_close(o->temp);
	cmfs_backend_close(o->image);
	free(o);
}

/* ---- data ---- */

static int overlay_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off,
			size_t *ret_len)
{
	return cmfs_overlay_read(to_opening(be), buf, len, off, ret_len);
}

static int overlay_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			 enum cmfs_durability durability)
{
	return cmfs_overlay_write(to_opening(be), buf, len, off);
}

static int overlay_flush(struct cmfs_backend *be, bool datasync)
{
	return cmfs_overlay_check(to_opening(be));
}

static int overlay_check(struct cmfs_backend *be)
{
	return cmfs_overlay_check(to_opening(be));
}

static int overlay_truncate(struct cmfs_backend *be, uint64_t size)
{
	return cmfs_overlay_truncate(to_opening(be), size);
}

static int overlay_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			    uint64_t off, uint64_t len)
{
	return cmfs_overlay_allocate(to_opening(be), what, keep_size, off, len);
}

static int overlay_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	return cmfs_overlay_seek(to_opening(be), whence, off, ret);
}

/* Not even what a killed cmfs left on the image is changed. */
static int overlay_set_sync(struct cmfs_backend *be, bool on)
{
	return on ? -EOPNOTSUPP : 0;
}

static void overlay_drop_cache(struct cmfs_backend *be)
{
	cmfs_backend_drop_cache(to_opening(be)->image);
	cmfs_backend_drop_cache(to_opening(be)->temp);
}

/* ---- attributes ---- */

static int overlay_size(struct cmfs_backend *be, uint64_t *ret)
{
	*ret = atomic_load(&to_opening(be)->overlay->size);
	return 0;
}

static void set_time(struct timespec *time, int64_t ns)
{
	if (ns)
		*time = cmfs_time_of_ns(ns);
}

/*
 * Space is a guess, but one that never says "no holes" where there are (cp asks): what
 * both places have, and no more than what is not punched.
 */
static void set_blocks(struct cmfs_overlay_opening *o, struct stat *st, const struct stat *temp)
{
	const uint64_t unit = CMFS_OVERLAY_BLOCK / 512;
	uint64_t most = cmfs_overlay_up((uint64_t)st->st_size) / CMFS_OVERLAY_BLOCK, holes;

	cmfs_mutex_lock(&o->overlay->lock);
	holes = o->overlay->map.count[CMFS_OVERLAY_PUNCH];
	cmfs_mutex_unlock(&o->overlay->lock);
	most = holes < most ? (most - holes) * unit : 0;
	st->st_blocks += temp->st_blocks;
	if ((uint64_t)st->st_blocks > most)
		st->st_blocks = (blkcnt_t)most;
}

/* Who mounted it may write to the overlay, whatever he may do to the image. */
static void set_mode(struct stat *st)
{
	uid_t uid = geteuid();

	if (uid == 0 || (uid == st->st_uid && (st->st_mode & S_IWUSR)))
		return;
	st->st_uid = uid;
	st->st_gid = getegid();
	st->st_mode |= S_IRUSR | S_IWUSR;
}

static int overlay_getattr(struct cmfs_backend *be, struct stat *ret)
{
	struct cmfs_overlay_opening *o = to_opening(be);
	struct cmfs_overlay *overlay = o->overlay;
	struct stat temp;
	int r = cmfs_backend_getattr(o->image, ret);

	if (r == 0)
		r = cmfs_backend_getattr(o->temp, &temp);
	if (r < 0)
		return r;
	ret->st_size = (off_t)atomic_load(&overlay->size);
	set_blocks(o, ret, &temp);
	set_mode(ret);
	if (atomic_load(&overlay->ctime_ns))
		ret->st_mode &= ~(mode_t)(S_ISUID | S_ISGID); /* as any write drops them */
	set_time(&ret->st_atim, atomic_load(&overlay->atime_ns));
	set_time(&ret->st_mtim, atomic_load(&overlay->mtime_ns));
	set_time(&ret->st_ctim, atomic_load(&overlay->ctime_ns));
	return 0;
}

static void keep_time(_Atomic int64_t *ns, const struct timespec *time)
{
	if (time->tv_nsec == UTIME_NOW)
		atomic_store(ns, cmfs_now_ns());
	else if (time->tv_nsec != UTIME_OMIT)
		atomic_store(ns, cmfs_time_to_ns(time));
}

/* In memory: the kernel's write cache sends times, and must not fail with them. */
static int overlay_utimens(struct cmfs_backend *be, const struct timespec times[2])
{
	struct cmfs_overlay *overlay = to_opening(be)->overlay;

	keep_time(&overlay->atime_ns, &times[0]);
	keep_time(&overlay->mtime_ns, &times[1]);
	atomic_store(&overlay->ctime_ns, cmfs_now_ns());
	return 0;
}

/* What else an inode has is the image's, which is never changed. */

static int overlay_chmod(struct cmfs_backend *be, mode_t mode)
{
	return -EROFS;
}

static int overlay_chown(struct cmfs_backend *be, uid_t uid, gid_t gid)
{
	return -EROFS;
}

static int overlay_setxattr(struct cmfs_backend *be, const char *name, const void *value,
			    size_t size, int flags)
{
	return -EROFS;
}

static int overlay_removexattr(struct cmfs_backend *be, const char *name)
{
	return -EROFS;
}

/* Call an optional metadata operation of the image's. */
#define IMAGE_META(be, op, ...)                                                                    \
	({                                                                                         \
		struct cmfs_backend *image = to_opening(be)->image;                                \
		const struct cmfs_backend_meta_ops *meta = image->ops->meta;                       \
                                                                                                   \
		meta && meta->op ? meta->op(image, ##__VA_ARGS__) : -EOPNOTSUPP;                   \
	})

static int overlay_statvfs(struct cmfs_backend *be, struct statvfs *ret)
{
	return IMAGE_META(be, statvfs, ret);
}

static ssize_t overlay_getxattr(struct cmfs_backend *be, const char *name, void *value, size_t size)
{
	return IMAGE_META(be, getxattr, name, value, size);
}

static ssize_t overlay_listxattr(struct cmfs_backend *be, char *list, size_t size)
{
	return IMAGE_META(be, listxattr, list, size);
}

static const struct cmfs_backend_meta_ops overlay_meta_ops = {
	.chmod = overlay_chmod,
	.chown = overlay_chown,
	.utimens = overlay_utimens,
	.statvfs = overlay_statvfs,
	.getxattr = overlay_getxattr,
	.setxattr = overlay_setxattr,
	.removexattr = overlay_removexattr,
	.listxattr = overlay_listxattr,
};

static const struct cmfs_backend_ops overlay_ops = {
	.name = "overlay",
	.fua = CMFS_FUA_NATIVE, /* there is nothing that a flush would do for a write */
	.meta = &overlay_meta_ops,
	.reopen = overlay_reopen,
	.close = overlay_close,
	.read = overlay_read,
	.write = overlay_write,
	.flush = overlay_flush,
	.check = overlay_check,
	.size = overlay_size,
	.getattr = overlay_getattr,
	.truncate = overlay_truncate,
	.allocate = overlay_allocate,
	.seek = overlay_seek,
	.set_sync = overlay_set_sync,
	.drop_cache = overlay_drop_cache,
};
