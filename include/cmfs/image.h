/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_IMAGE_H
#define CMFS_IMAGE_H

#include "cmfs/backend.h"
#include "cmfs/cache_mode.h"
#include "cmfs/overlay.h"
#include "cmfs/powercut.h"

/*
 * An image: content on a backend, held to the promises of a cache mode that can
 * change at any time. This is what fuse/ (or any other front) talks to.
 *
 * Threads: unless a function says otherwise, any number of threads may call it
 * at the same time, during a live switch too: then it waits for the switch.
 *
 * Errors: 0 or -errno. When a flush or a durable write has failed, the image is
 * *failed* for good (P5): see cmfs_image_failure().
 */
struct cmfs_image;

/**
 * cmfs_image_create() - make an image of an opened backend.
 * @be: opened as @mode demands (see cmfs_image_open_how()); owned by the image
 *      from here on when 0 is returned, else still the caller's.
 */
int cmfs_image_create(struct cmfs_backend *be, enum cmfs_cache_mode mode, struct cmfs_image **ret,
		      struct cmfs_err *err);

/** cmfs_image_open_how() - how @mode opens its backend. */
struct cmfs_open_how cmfs_image_open_how(enum cmfs_cache_mode mode, bool readonly);

/**
 * cmfs_image_close() - flush unless the mode ignores flushes, close, free (P12).
 * @image: NULL is fine. No other call is in flight.
 *
 * Returns 0, or -errno when the flush failed or the image had failed before.
 * The image is gone either way.
 */
int cmfs_image_close(struct cmfs_image *image);

/** cmfs_image_cache() - the mode in force. */
enum cmfs_cache_mode cmfs_image_cache(struct cmfs_image *image);

bool cmfs_image_readonly(struct cmfs_image *image);

/** cmfs_image_fixed_size() - is it as long as its place, whatever is asked for? Constant. */
bool cmfs_image_fixed_size(struct cmfs_image *image);

/**
 * cmfs_image_set_cache() - the live switch: a barrier, as P7 has it.
 * @err: filled on failure.
 *
 * When it fails, the old mode holds in full. Switching to the mode in force is
 * a barrier like any other. May take as long as a flush does. Not to be called
 * by a thread whose progress a waiting request needs.
 */
int cmfs_image_set_cache(struct cmfs_image *image, enum cmfs_cache_mode mode, struct cmfs_err *err);

/* What made an image fail. */
struct cmfs_failure {
	const char *operation; /* static */
	int error;	       /* -errno */
};

/**
 * cmfs_image_take_failure() - the first failure, told to one caller only, so
 * that it can be logged once.
 *
 * Returns false when there is none or somebody was told already.
 */
bool cmfs_image_take_failure(struct cmfs_image *image, struct cmfs_failure *ret);

/** cmfs_image_failure() - the first failure, if there was one; any number of times. */
bool cmfs_image_failure(struct cmfs_image *image, struct cmfs_failure *ret);

/**
 * cmfs_image_set_lost() - the image fails (P5): a change was lost that somebody
 * above had acknowledged before it came here.
 * @error: -errno, of the change.
 */
void cmfs_image_set_lost(struct cmfs_image *image, int error);

/**
 * cmfs_image_error() - -EIO for a failed image whose mode honours flushes, else 0.
 */
int cmfs_image_error(struct cmfs_image *image);

/*
 * Data. @off, @len: bytes, any alignment; @buf: any address.
 */

/* @ret_len < @len only at the end of the content; 0 at or past it. */
int cmfs_image_read(struct cmfs_image *image, void *buf, size_t len, uint64_t off, size_t *ret_len);

/*
 * @asked: what the application's own O_DSYNC, O_SYNC or RWF_DSYNC demands (P4).
 * @ret_len < @len only at the end of a content of fixed size; -ENOSPC at or past it, as
 * write(2) has it for devices.
 */
int cmfs_image_write(struct cmfs_image *image, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability asked, size_t *ret_len);

/* fsync(2), or fdatasync(2) if @datasync; nothing at all in unsafe (P2, P3). */
int cmfs_image_flush(struct cmfs_image *image, bool datasync);

/* -EINVAL for another size than a fixed one. */
int cmfs_image_truncate(struct cmfs_image *image, uint64_t size);

/* Of a fixed size: what lies past the end is left out, or -ENOSPC if not @keep_size. */
int cmfs_image_allocate(struct cmfs_image *image, enum cmfs_alloc what, bool keep_size,
			uint64_t off, uint64_t len);
int cmfs_image_seek(struct cmfs_image *image, enum cmfs_seek whence, uint64_t off, uint64_t *ret);

/* copy_file_range(2): may do less than asked; overlapping ranges give -EINVAL. */
int cmfs_image_copy(struct cmfs_image *src, uint64_t src_off, struct cmfs_image *dst,
		    uint64_t dst_off, size_t len, size_t *ret_len);

/*
 * Kernel passthrough: writers that reach the host file past the daemon. Who
 * opens one holds the image (no live switch comes between), chooses, and counts
 * it in if its own flags do not make each of its writes durable.
 */

/* Keep the mode as it is, and say what it is; short: a switch waits meanwhile. */
enum cmfs_cache_mode cmfs_image_hold(struct cmfs_image *image);
void cmfs_image_unhold(struct cmfs_image *image);

/* The host file's descriptor, the image's own; or -EOPNOTSUPP. While held. */
int cmfs_image_host_fd(struct cmfs_image *image);

/*
 * While held: somebody gets to the host file past us, and may map it, of which nobody
 * tells the end. From now on no byte is written but those that a request brings.
 */
void cmfs_image_set_shared(struct cmfs_image *image);

/* Is the host file's sync flag on, so that any write to it is durable? */
bool cmfs_image_sync_flag(struct cmfs_image *image);

/* While held. When it fails, the writer must not be let past. */
int cmfs_image_add_bypasser(struct cmfs_image *image);
void cmfs_image_remove_bypasser(struct cmfs_image *image); /* not while held */

/*
 * Power cuts, of images with the layer for it.
 */

/**
 * cmfs_image_cut() - cut the power (cmfs/powercut.h).
 * @ret_next: the image of the next boot, on what survived, with the same mode and
 *	options; NULL if the cut was not made.
 * @err: filled on failure.
 *
 * From here on @image is dead: each request that was in flight or comes later fails
 * with -EIO, in unsafe too, and closing it is no failure. It is still the caller's to
 * close. Errors: -EOPNOTSUPP without the layer, -EIO for an image that is dead, others
 * of the host; where @ret_next is not NULL then, it has failed (P5). Not to be called by
 * a thread whose progress a waiting request needs.
 */
int cmfs_image_cut(struct cmfs_image *image, const struct cmfs_powercut_spec *spec,
		   struct cmfs_image **ret_next, struct cmfs_err *err);

/** cmfs_image_is_dead() - was it cut? While held (cmfs_image_hold()). */
bool cmfs_image_is_dead(struct cmfs_image *image);

/** cmfs_image_powercut_summary() - 0; -EOPNOTSUPP without the layer; -EIO if dead. */
int cmfs_image_powercut_summary(struct cmfs_image *image, struct cmfs_powercut_summary *ret);

/*
 * Overlays, of images with the layer for it.
 */

/**
 * cmfs_image_commit() - write the overlay to the image's place (cmfs/overlay.h).
 * @err: filled on failure.
 *
 * Errors: -EOPNOTSUPP without the layer, -EIO for an image that was cut, those of
 * cmfs_overlay_commit(). Live changes wait until it is done. Not to be called by a
 * thread whose progress a waiting request needs.
 */
int cmfs_image_commit(struct cmfs_image *image, struct cmfs_err *err);

/** cmfs_image_overlay_status() - 0; -EOPNOTSUPP without the layer; -EIO if dead. */
int cmfs_image_overlay_status(struct cmfs_image *image, struct cmfs_overlay_status *ret);

/*
 * Metadata; -EOPNOTSUPP where the backend has none. Contracts as at struct
 * cmfs_backend_meta_ops.
 */
int cmfs_image_getattr(struct cmfs_image *image, struct stat *ret);
int cmfs_image_chmod(struct cmfs_image *image, mode_t mode);
int cmfs_image_chown(struct cmfs_image *image, uid_t uid, gid_t gid);
int cmfs_image_utimens(struct cmfs_image *image, const struct timespec times[2]);
int cmfs_image_statvfs(struct cmfs_image *image, struct statvfs *ret);
ssize_t cmfs_image_getxattr(struct cmfs_image *image, const char *name, void *value, size_t size);
int cmfs_image_setxattr(struct cmfs_image *image, const char *name, const void *value, size_t size,
			int flags);
int cmfs_image_removexattr(struct cmfs_image *image, const char *name);
ssize_t cmfs_image_listxattr(struct cmfs_image *image, char *list, size_t size);

#endif
