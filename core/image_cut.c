// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A power cut of an image that has the layer for it (cmfs/powercut.h).
 *
 * 1. Make the next boot's image on one more opening of the stack. Nothing has
 *    changed yet, so a failure here changes nothing.
 * 2. Switch the layer off: what waits in it gets -EIO, and so does what still comes.
 *    It cannot be the gate that goes first: it waits for requests to end well.
 * 3. Close the gate and drain.
 * 4. Make the place below what survived, and switch the layer on again: the next
 *    boot's opening works.
 * 5. The old image is dead: its backend is one that answers -EIO to everything. It has
 *    failed, too, and is in a mode with flushes, so that unsafe does not answer
 *    a flush by itself. So nothing on the data path asks whether an image is dead.
 */
#include "image_private.h"

#include <errno.h>
#include <string.h>

/* ---- a backend without power ---- */

static int dead_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
		       struct cmfs_backend **ret, struct cmfs_err *err)
{
	return cmfs_err_set(err, -EIO, "the image was cut off from power");
}

static void dead_close(struct cmfs_backend *be)
{
}

static int dead_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	return -EIO;
}

static int dead_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		      enum cmfs_durability durability)
{
	return -EIO;
}

static int dead_flush(struct cmfs_backend *be, bool datasync)
{
	return -EIO;
}

static int dead_size(struct cmfs_backend *be, uint64_t *ret)
{
	return -EIO;
}

static int dead_getattr(struct cmfs_backend *be, struct stat *ret)
{
	return -EIO;
}

static int dead_truncate(struct cmfs_backend *be, uint64_t size)
{
	return -EIO;
}

static int dead_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			 uint64_t off, uint64_t len)
{
	return -EIO;
}

static int dead_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	return -EIO;
}

static const struct cmfs_backend_ops dead_ops = {
	.name = "dead",
	.fua = CMFS_FUA_NATIVE,
	.reopen = dead_reopen,
	.close = dead_close,
	.read = dead_read,
	.write = dead_write,
	.write_exact = dead_write,
	.flush = dead_flush,
	.size = dead_size,
	.getattr = dead_getattr,
	.truncate = dead_truncate,
	.allocate = dead_allocate,
	.seek = dead_seek,
};

/* Never changed, so one will do for all. */
static struct cmfs_backend dead_backend = { .ops = &dead_ops, .geo = { 1, 1, 1 } };

/* ---- the cut ---- */

/* Holds the change lock and the switch lock. */
static int create_next_locked(struct cmfs_image *image, struct cmfs_image **ret,
			      struct cmfs_err *err)
{
	enum cmfs_cache_mode mode = atomic_load(&image->mode);
	struct cmfs_open_how how = cmfs_image_open_how(mode, image->readonly);
	struct cmfs_backend *be;
	int r = cmfs_backend_reopen(image->be, &how, &be, err);

	if (r < 0)
		return r;
	r = cmfs_image_create(be, mode, ret, err);
	if (r < 0) {
		cmfs_backend_close(be);
		return r;
	}
	(*ret)->source = image->source;
	(*ret)->stored_cache = image->stored_cache;
	(*ret)->discard = image->discard;
	(*ret)->looks = image->looks;
	(*ret)->layers = cmfs_image_share_layers(&image->layers);
	(*ret)->keep_sync_flag = image->keep_sync_flag;
	return 0;
}

/* Its gate is closed. Returns its backend. */
static struct cmfs_backend *kill_image(struct cmfs_image *image)
{
	struct cmfs_backend *be = image->be;

	image->dead = true;
	image->be = &dead_backend;
	if (!cmfs_image_props(image)->flush)
		atomic_store(&image->mode, CMFS_CACHE_WRITEBACK);
	cmfs_image_set_failed(image, "power cut", -EIO);
	return be;
}

/* A replay cannot know what survives. */
static void stop_write_log(struct cmfs_write_log *log)
{
	if (!log)
		return;
	cmfs_write_log_mark(log, "power cut", NULL);
	cmfs_write_log_stop(log, -ECANCELED);
}

static int cut_locked(struct cmfs_image *image, const struct cmfs_powercut_spec *spec,
		      struct cmfs_image **ret_next, struct cmfs_err *err)
{
	struct cmfs_powercut *pc = image->layers.powercut;
	struct cmfs_image *next;
	struct cmfs_backend *be;
	int r, r2;

	if (image->dead)
		return cmfs_err_set(err, -EIO, "the image was cut off from power");
	if (!pc)
		return cmfs_err_set(err, -EOPNOTSUPP, "mounted without powercut=on");
	r = create_next_locked(image, &next, err);
	if (r < 0)
		return r;

	stop_write_log(image->layers.write_log);
	atomic_store(&image->failure_taken, true); /* what fails now is no news */
	r = cmfs_powercut_off(pc, spec);
	cmfs_gate_close(&image->gate);
	r2 = cmfs_powercut_settle(pc);
	r = r < 0 ? r : r2;
	r2 = cmfs_powercut_on(pc);
	r = r < 0 ? r : r2;
	be = kill_image(image);
	cmfs_gate_open(&image->gate);
	cmfs_backend_close(be);

	if (r < 0) {
		cmfs_err_set(err, r, "cut, but what survived could not be made out: %s",
			     strerror(-r));
		cmfs_image_set_failed(next, "power cut", r);
	}
	*ret_next = next;
	return r;
}

int cmfs_image_cut(struct cmfs_image *image, const struct cmfs_powercut_spec *spec,
		   struct cmfs_image **ret_next, struct cmfs_err *err)
{
	int r;

	*ret_next = NULL;
	cmfs_mutex_lock(&image->change_lock);
	cmfs_mutex_lock(&image->switch_lock);
	r = cut_locked(image, spec, ret_next, err);
	cmfs_mutex_unlock(&image->switch_lock);
	cmfs_mutex_unlock(&image->change_lock);
	return r;
}

bool cmfs_image_is_dead(struct cmfs_image *image)
{
	return image->dead;
}

int cmfs_image_powercut_summary(struct cmfs_image *image, struct cmfs_powercut_summary *ret)
{
	int r = -EOPNOTSUPP;

	cmfs_gate_enter(&image->gate);
	if (image->dead)
		r = -EIO;
	else if (image->layers.powercut)
		r = cmfs_powercut_summarize(image->layers.powercut, ret);
	cmfs_gate_leave(&image->gate);
	return r;
}
