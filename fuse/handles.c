// SPDX-License-Identifier: GPL-2.0-or-later
#include "handles.h"

#include <fcntl.h>

/* What fi->fh holds. */
struct handle {
	enum cmfs_handle_class class;
	bool bypasses;	/* counted by cmfs_image_add_bypasser() */
	int sync_flags; /* of its open */
};

static uint64_t pack(struct handle h)
{
	return (uint64_t)h.class | (uint64_t)h.bypasses << 8 | (uint64_t)h.sync_flags << 9;
}

static struct handle unpack(uint64_t fh)
{
	return (struct handle){
		.class = fh & 0xff,
		.bypasses = fh >> 8 & 1,
		.sync_flags = (int)(fh >> 9),
	};
}

/*
 * Can it write past us without making each write durable by itself? Whether the
 * present mode minds is another matter: the mode may change.
 */
static bool bypasses(enum cmfs_handle_class class, int open_flags)
{
	return class == CMFS_HANDLE_PASSTHROUGH && (open_flags & O_ACCMODE) != O_RDONLY &&
	       !(open_flags & O_DSYNC);
}

static enum cmfs_handle_class choose_locked(struct cmfs_file *file, enum cmfs_cache_mode mode,
					    int open_flags)
{
	const struct cmfs_handle_context context = {
		.open_flags = open_flags,
		.can_passthrough = file->backing_id > 0,
		.sync_flag = cmfs_image_sync_flag(file->image),
		.failed = cmfs_image_error(file->image) < 0,
		.open_without = file->open_handles[CMFS_HANDLE_CACHED] +
				file->open_handles[CMFS_HANDLE_DIRECT],
		.open_with_passthrough = file->open_handles[CMFS_HANDLE_PASSTHROUGH] +
					 file->open_handles[CMFS_HANDLE_DIRECT_MAPPED],
		.was_mappable = file->was_mappable,
	};

	return cmfs_handle_class_choose(cmfs_cache_props(mode), &context);
}

static int open_locked(struct cmfs_file *file, enum cmfs_cache_mode mode, struct fuse_file_info *fi)
{
	enum cmfs_handle_class class = choose_locked(file, mode, fi->flags);
	struct cmfs_handle_flags flags = cmfs_handle_class_flags(class);
	struct handle handle = {
		.class = class,
		.bypasses = bypasses(class, fi->flags),
		.sync_flags = fi->flags & O_SYNC,
	};

	if (handle.bypasses) {
		int r = cmfs_image_add_bypasser(file->image);

		if (r < 0)
			return r;
	}
	if (flags.passthrough && !file->was_mappable) {
		file->was_mappable = true;
		cmfs_image_set_shared(file->image);
	}
	file->open_handles[class]++;
	fi->fh = pack(handle);
	fi->direct_io = flags.direct_io;
	fi->keep_cache = flags.keep_cache;
	fi->parallel_direct_writes = flags.parallel_direct_writes;
	fi->backing_id = flags.passthrough ? file->backing_id : 0;
	return 0;
}

int cmfs_handle_open(struct cmfs_file *file, struct fuse_file_info *fi)
{
	/* The mode stays as it is until the handle counts for a switch. */
	enum cmfs_cache_mode mode = cmfs_image_hold(file->image);
	int r;

	pthread_mutex_lock(&file->handles_lock);
	r = open_locked(file, mode, fi);
	pthread_mutex_unlock(&file->handles_lock);
	cmfs_image_unhold(file->image);
	return r;
}

void cmfs_handle_release(struct cmfs_file *file, const struct fuse_file_info *fi)
{
	struct handle handle = unpack(fi->fh);

	pthread_mutex_lock(&file->handles_lock);
	file->open_handles[handle.class]--;
	pthread_mutex_unlock(&file->handles_lock);
	if (handle.bypasses)
		cmfs_image_remove_bypasser(file->image);
}

int cmfs_handle_sync_flags(const struct fuse_file_info *fi)
{
	return unpack(fi->fh).sync_flags;
}

bool cmfs_handle_may_fill_cache(const struct fuse_file_info *fi)
{
	return unpack(fi->fh).class != CMFS_HANDLE_DIRECT_MAPPED;
}

void cmfs_handle_count(struct cmfs_file *file, unsigned int *ret_kernel, unsigned int *ret_daemon)
{
	pthread_mutex_lock(&file->handles_lock);
	*ret_kernel = file->open_handles[CMFS_HANDLE_PASSTHROUGH];
	*ret_daemon = 0;
	for (int class = 0; class < CMFS_HANDLE_CLASSES; class ++)
		*ret_daemon += file->open_handles[class];
	*ret_daemon -= *ret_kernel;
	pthread_mutex_unlock(&file->handles_lock);
}
