// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writers that reach the host file past the daemon (kernel passthrough).
 *
 * The daemon cannot make their writes durable. Where a mode demands that of
 * them, the host file itself must: its sync flag (FS_SYNC_FL, chattr +S) makes
 * every write as durable as O_DSYNC would. The flag is on exactly while
 *
 *   the mode is a sync mode, and there is a bypassing writer or the mount keeps
 *   the flag on for modes with a cache (-o syncflag=on).
 *
 * It is set before a switch to a sync mode flushes, so that a write in flight is
 * either covered by the flush or flushed itself, and cleared when it is no longer
 * needed. Whether it may be set at all is found out by setting it.
 */
#include "image_private.h"

#include <errno.h>
#include <string.h>

/* Holds bypass_lock. */
static bool needed_locked(struct cmfs_image *image, const struct cmfs_cache_props *mode)
{
	return mode->dsync && (image->bypassers > 0 || (image->keep_sync_flag && !mode->direct));
}

int cmfs_image_update_sync_flag(struct cmfs_image *image, const struct cmfs_cache_props *mode)
{
	bool needed;
	int r = 0;

	cmfs_mutex_lock(&image->bypass_lock);
	needed = needed_locked(image, mode);
	if (needed != image->sync_flag) {
		r = cmfs_backend_set_sync(image->be, needed);
		if (r == 0)
			image->sync_flag = needed;
	}
	cmfs_mutex_unlock(&image->bypass_lock);
	return r;
}

/*
 * Who still writes past us needs the flag (P1), and the next mount clears it. The
 * count of writers may be too high: when a mount ends, the kernel no longer tells of
 * handles that were closed right before. The host file knows.
 */
void cmfs_image_finish_sync_flag(struct cmfs_image *image)
{
	if (image->sync_flag && image->bypassers == 0)
		cmfs_backend_set_sync(image->be, false);
	else if (image->sync_flag)
		cmfs_backend_finish_sync(image->be);
}

enum cmfs_cache_mode cmfs_image_hold(struct cmfs_image *image)
{
	cmfs_gate_enter(&image->gate);
	return atomic_load(&image->mode);
}

void cmfs_image_unhold(struct cmfs_image *image)
{
	cmfs_gate_leave(&image->gate);
}

int cmfs_image_host_fd(struct cmfs_image *image)
{
	return image->be->ops->host_fd ? image->be->ops->host_fd(image->be) : -EOPNOTSUPP;
}

void cmfs_image_set_shared(struct cmfs_image *image)
{
	atomic_store(&image->shared, true);
}

bool cmfs_image_sync_flag(struct cmfs_image *image)
{
	bool on;

	cmfs_mutex_lock(&image->bypass_lock);
	on = image->sync_flag;
	cmfs_mutex_unlock(&image->bypass_lock);
	return on;
}

int cmfs_image_add_bypasser(struct cmfs_image *image)
{
	int r;

	cmfs_mutex_lock(&image->bypass_lock);
	image->bypassers++;
	cmfs_mutex_unlock(&image->bypass_lock);
	r = cmfs_image_update_sync_flag(image, cmfs_image_props(image));
	if (r < 0) {
		cmfs_mutex_lock(&image->bypass_lock);
		image->bypassers--;
		cmfs_mutex_unlock(&image->bypass_lock);
	}
	return r;
}

void cmfs_image_remove_bypasser(struct cmfs_image *image)
{
	cmfs_gate_enter(&image->gate);
	cmfs_mutex_lock(&image->bypass_lock);
	image->bypassers--;
	cmfs_mutex_unlock(&image->bypass_lock);
	/* A flag that cannot be cleared is tried again, at the latest on close. */
	cmfs_image_update_sync_flag(image, cmfs_image_props(image));
	cmfs_gate_leave(&image->gate);
}
