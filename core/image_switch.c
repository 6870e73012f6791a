// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The live switch (P7).
 *
 * 1. Open the backend once more, as the new mode wants it. Nothing has changed
 *    yet, so a failure here changes nothing. A backend that can be open in one way only
 *    (reopen_last) has this between 3 and 4, when all that could still fail is done.
 * 2. Close the gate: new requests wait, those inside finish. Each of them did
 *    its I/O under the old mode, whenever its answer reaches the application.
 * 3. Flush the old backend, so that all of it is durable, unless the new mode
 *    promises nothing. A failure here leaves the old mode in force.
 * 4. Swap, open the gate: who waited goes on under the new mode.
 *
 * Writers that bypass the daemon are neither held up by the gate nor drained: a
 * switch to a sync mode first makes the host file durable by itself for them
 * (image_bypass.c), or is refused.
 *
 * A failed image (P5) cannot pass step 3: it can only be switched to unsafe.
 */
#include "image_private.h"
#include "policy.h"

#include <errno.h>
#include <string.h>

/* QEMU's rule, and the kernel's: without O_DIRECT io_submit(2) does the I/O before it returns. */
int cmfs_image_check_aio(enum cmfs_aio aio, enum cmfs_cache_mode mode, struct cmfs_err *err)
{
	const struct cmfs_cache_props *props = cmfs_cache_props(mode);

	if (aio != CMFS_AIO_NATIVE || props->direct)
		return 0;
	return cmfs_err_set(err, -EINVAL,
			    "aio=native needs O_DIRECT, which cache=%s does not open with: "
			    "cache=none and cache=directsync do; aio=threads and aio=io_uring work "
			    "in every mode",
			    props->name);
}

/* Before the flush, so that it covers what was in flight when the flag was set. */
static int prepare_bypassers(struct cmfs_image *image, const struct cmfs_cache_props *to,
			     struct cmfs_err *err)
{
	int r = to->dsync ? cmfs_image_update_sync_flag(image, to) : 0;

	if (r == 0)
		return 0;
	return cmfs_err_set(err, -EBUSY,
			    "the host file's sync flag (chattr +S), which would make writes by "
			    "kernel passthrough durable for cache=%s, cannot be set: %s; %s",
			    to->name, strerror(-r),
			    image->keep_sync_flag ? "mount without syncflag=on"
						  : "close the files that are open, or mount with "
						    "passthrough=off");
}

/* What the old backend has acknowledged is durable, or its failure is on record. */
static int settle(struct cmfs_image *image, const struct cmfs_cache_props *to, struct cmfs_err *err)
{
	int r = 0;

	if (cmfs_policy_switch(to))
		r = cmfs_image_flush_inside(image, "flush at a mode switch", false);
	else
		cmfs_image_check_inside(image);
	return r < 0 ? cmfs_err_set(err, r, "flush before switching to cache=%s: %s", to->name,
				    strerror(-r))
		     : 0;
}

static int reopen_drained(struct cmfs_image *image, const struct cmfs_open_how *how,
			  struct cmfs_backend **ret, struct cmfs_err *err)
{
	int r = cmfs_backend_reopen(image->be, how, ret, err);

	if (r < 0)
		cmfs_image_check_inside(image); /* the old one may be no more */
	return r;
}

int cmfs_image_set_cache(struct cmfs_image *image, enum cmfs_cache_mode mode, struct cmfs_err *err)
{
	const struct cmfs_cache_props *to = cmfs_cache_props(mode);
	struct cmfs_open_how how = cmfs_image_open_how(mode, image->readonly);
	struct cmfs_backend *be = NULL;
	int r = cmfs_image_check_aio(image->source.aio, mode, err);

	if (r < 0)
		return r;
	cmfs_mutex_lock(&image->switch_lock);
	if (!image->be->reopen_last)
		r = cmfs_backend_reopen(image->be, &how, &be, err);
	if (r < 0)
		goto unlock;

	cmfs_gate_close(&image->gate);
	r = prepare_bypassers(image, to, err);
	if (r < 0)
		goto open_gate;
	r = settle(image, to, err);
	if (r == 0 && !be)
		r = reopen_drained(image, &how, &be, err);
	if (r == 0) {
		struct cmfs_backend *old = image->be;

		image->be = be;
		be = old;
		atomic_store(&image->mode, mode);
		if (to->direct)
			cmfs_backend_drop_cache(image->be); /* P6: what cached modes left */
	}
	/* Of the mode that now holds; where it fails to clear, it is tried again. */
	cmfs_image_update_sync_flag(image, cmfs_image_props(image));
open_gate:
	cmfs_gate_open(&image->gate);
	cmfs_backend_close(be); /* the one not in use */
unlock:
	cmfs_mutex_unlock(&image->switch_lock);
	return r;
}
