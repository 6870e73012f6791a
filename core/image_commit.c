// SPDX-License-Identifier: GPL-2.0-or-later
/* Committing an image's overlay. */
#include "image_private.h"

#include <errno.h>
#include <string.h>

/* With both locks no opening comes or goes, so the gate stays open meanwhile. */
static int commit_locked(struct cmfs_image *image, struct cmfs_err *err)
{
	int r;

	if (image->dead)
		return cmfs_err_set(err, -EIO, "the image was cut off from power");
	if (!image->layers.overlay)
		return cmfs_err_set(err, -EOPNOTSUPP, "mounted without snapshot=on");
	r = cmfs_backend_write_out(image->be);
	if (r < 0)
		return cmfs_err_set(err, r, "cannot write to the overlay: %s", strerror(-r));
	return cmfs_overlay_commit(image->layers.overlay, err);
}

int cmfs_image_commit(struct cmfs_image *image, struct cmfs_err *err)
{
	int r;

	cmfs_mutex_lock(&image->change_lock);
	cmfs_mutex_lock(&image->switch_lock);
	r = commit_locked(image, err);
	cmfs_mutex_unlock(&image->switch_lock);
	cmfs_mutex_unlock(&image->change_lock);
	return r;
}

int cmfs_image_overlay_status(struct cmfs_image *image, struct cmfs_overlay_status *ret)
{
	int r = -EOPNOTSUPP;

	cmfs_gate_enter(&image->gate);
	if (image->dead)
		r = -EIO;
	else if (image->layers.overlay) {
		*ret = cmfs_overlay_status(image->layers.overlay);
		r = 0;
	}
	cmfs_gate_leave(&image->gate);
	return r;
}
