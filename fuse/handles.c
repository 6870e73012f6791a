// SPDX-License-Identifier: GPL-2.0-or-later
#include "handles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/*
 * Can it write past us without making each write durable by itself? Whether the
 * present mode minds is another matter: the mode may change.
 */
static bool bypasses(enum cmfs_handle_class class, int open_flags)
{
	return class == CMFS_HANDLE_PASSTHROUGH && (open_flags & O_ACCMODE) != O_RDONLY &&
	       !(open_flags & O_DSYNC);
}

static enum cmfs_handle_class choose_locked(struct cmfs_file *file, struct cmfs_image *image,
					    enum cmfs_cache_mode mode, int open_flags)
{
	const struct cmfs_handle_context context = {
		.open_flags = open_flags,
		.can_passthrough = file->backing_id > 0,
		.sync_flag = cmfs_image_sync_flag(image),
		.failed = cmfs_image_error(image) < 0,
		.open_without = file->open_handles[CMFS_HANDLE_CACHED] +
				file->open_handles[CMFS_HANDLE_DIRECT],
		.open_with_passthrough = file->open_handles[CMFS_HANDLE_PASSTHROUGH] +
					 file->open_handles[CMFS_HANDLE_DIRECT_MAPPED],
		.was_mappable = file->was_mappable,
	};

	return cmfs_handle_class_choose(cmfs_cache_props(mode), &context);
}

static void link_locked(struct cmfs_file *file, struct cmfs_handle *handle)
{
	handle->next = file->handles;
	if (handle->next)
		handle->next->prev = handle;
	file->handles = handle;
	file->open_handles[handle->class]++;
	handle->boot->refs++;
}

static void unlink_locked(struct cmfs_file *file, struct cmfs_handle *handle)
{
	if (handle->prev)
		handle->prev->next = handle->next;
	else
		file->handles = handle->next;
	if (handle->next)
		handle->next->prev = handle->prev;
	file->open_handles[handle->class]--;
}

static int open_locked(struct cmfs_file *file, struct cmfs_handle *handle,
		       enum cmfs_cache_mode mode, struct fuse_file_info *fi)
{
	enum cmfs_handle_class class = choose_locked(file, handle->image, mode, fi->flags);
	struct cmfs_handle_flags flags = cmfs_handle_class_flags(class);

	handle->class = class;
	handle->bypasses = bypasses(class, fi->flags);
	if (handle->bypasses) {
		int r = cmfs_image_add_bypasser(handle->image);

		if (r < 0)
			return r;
	}
	if (flags.passthrough && !file->was_mappable) {
		file->was_mappable = true;
		cmfs_image_set_shared(handle->image);
	}
	link_locked(file, handle);
	fi->fh = (uintptr_t)handle;
	fi->direct_io = flags.direct_io;
	fi->keep_cache = flags.keep_cache && !file->was_mappable;
	fi->parallel_direct_writes = flags.parallel_direct_writes;
	fi->backing_id = flags.passthrough ? file->backing_id : 0;
	return 0;
}

int cmfs_handle_open(struct cmfs_file *file, struct cmfs_boot *boot, struct fuse_file_info *fi)
{
	struct cmfs_handle *handle = malloc(sizeof(*handle));
	enum cmfs_cache_mode mode;
	int r;

	if (!handle)
		return -ENOMEM;
	*handle = (struct cmfs_handle){
		.image = boot->image,
		.boot = boot,
		.sync_flags = fi->flags & O_SYNC,
	};
	/* The mode stays as it is until the handle counts for a switch. */
	mode = cmfs_image_hold(boot->image);
	pthread_mutex_lock(&file->lock);
	r = cmfs_image_is_dead(boot->image) ? -EIO : open_locked(file, handle, mode, fi);
	pthread_mutex_unlock(&file->lock);
	cmfs_image_unhold(boot->image);
	if (r < 0)
		free(handle);
	return r;
}

static void release(struct cmfs_file *file, struct cmfs_handle *handle)
{
	pthread_mutex_lock(&file->lock);
	unlink_locked(file, handle);
	pthread_mutex_unlock(&file->lock);
	if (handle->bypasses)
		cmfs_image_remove_bypasser(handle->image);
	/* The last of them is dead, or it would be the file's. */
	cmfs_boot_put(file, handle->boot);
	free(handle);
}

void cmfs_handle_release(struct cmfs_file *file, const struct fuse_file_info *fi)
{
	release(file, (struct cmfs_handle *)(uintptr_t)fi->fh);
}

void cmfs_handle_forget_all(struct cmfs_file *file)
{
	while (file->handles) {
		struct cmfs_handle *handle = file->handles;

		/* Who writes past us goes on doing so, and stays counted. */
		pthread_mutex_lock(&file->lock);
		unlink_locked(file, handle);
		pthread_mutex_unlock(&file->lock);
		cmfs_boot_put(file, handle->boot);
		free(handle);
	}
}

bool cmfs_handle_may_fill_cache(const struct fuse_file_info *fi)
{
	return cmfs_handle_of(fi)->class != CMFS_HANDLE_DIRECT_MAPPED;
}

void cmfs_handle_count(struct cmfs_file *file, unsigned int *ret_kernel, unsigned int *ret_daemon)
{
	pthread_mutex_lock(&file->lock);
	*ret_kernel = file->open_handles[CMFS_HANDLE_PASSTHROUGH];
	*ret_daemon = 0;
	for (int i = 0; i < CMFS_HANDLE_CLASSES; i++)
		*ret_daemon += file->open_handles[i];
	*ret_daemon -= *ret_kernel;
	pthread_mutex_unlock(&file->lock);
}
