// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An image's data path: each operation enters the gate, asks the policy what
 * the mode demands, goes down through align.c to the backend, and leaves.
 *
 * P5, a failed flush stays failed: the first flush or durable write that fails
 * marks the image for good. From then on whatever would claim durability answers
 * -EIO. Operations that claim none go on as before.
 */
#include "cmfs/image.h"

#include "align.h"
#include "cmfs/buffer.h"
#include "image_private.h"
#include "policy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Bytes moved at a time when copying by reading and writing. */
#define COPY_CHUNK (1024 * 1024)

/* Bytes copied per call, so that a switch need not wait long for the drain. */
#define COPY_MAX (64 * 1024 * 1024)

struct cmfs_open_how cmfs_image_open_how(enum cmfs_cache_mode mode, bool readonly)
{
	const struct cmfs_cache_props *props = cmfs_cache_props(mode);

	return (struct cmfs_open_how){
		.readonly = readonly,
		.direct = props->direct,
		.dsync = props->dsync,
		.no_flush = !props->flush,
	};
}

int cmfs_image_create(struct cmfs_backend *be, enum cmfs_cache_mode mode, struct cmfs_image **ret,
		      struct cmfs_err *err)
{
	struct cmfs_image *image = malloc(sizeof(*image));

	if (!image)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*image = (struct cmfs_image){
		.readonly = be->how.readonly,
		.fixed_size = be->geo.fixed_size,
		.change_lock = CMFS_MUTEX_INITIALIZER,
		.switch_lock = CMFS_MUTEX_INITIALIZER,
		.bypass_lock = CMFS_MUTEX_INITIALIZER,
		.be = be,
		.mode = mode,
	};
	cmfs_gate_init(&image->gate);
	cmfs_range_lock_init(&image->ranges);
	cmfs_verdicts_init(&image->verdicts);
	*ret = image;
	return 0;
}

/* P12: what is still due before the backend is closed. */
static int finish_content(struct cmfs_image *image)
{
	int r = 0, r2;

	if (image->readonly || image->dead)
		return 0;
	if (cmfs_image_props(image)->flush)
		r = cmfs_image_flush_inside(image, "flush at unmount", false);
	r2 = cmfs_backend_write_out(image->be);
	return r < 0 ? r : r2;
}

int cmfs_image_close(struct cmfs_image *image)
{
	int r;

	if (!image)
		return 0;
	r = finish_content(image);
	cmfs_image_finish_sync_flag(image);
	cmfs_backend_close(image->be);
	cmfs_image_release_layers(&image->layers);
	cmfs_verdicts_finish(&image->verdicts);
	cmfs_range_lock_finish(&image->ranges);
	cmfs_gate_finish(&image->gate);
	pthread_mutex_destroy(&image->bypass_lock.m);
	pthread_mutex_destroy(&image->switch_lock.m);
	pthread_mutex_destroy(&image->change_lock.m);
	free(image);
	return r;
}

enum cmfs_cache_mode cmfs_image_cache(struct cmfs_image *image)
{
	return atomic_load(&image->mode);
}

bool cmfs_image_readonly(struct cmfs_image *image)
{
	return image->readonly;
}

bool cmfs_image_fixed_size(struct cmfs_image *image)
{
	return image->fixed_size;
}

const struct cmfs_cache_props *cmfs_image_props(struct cmfs_image *image)
{
	return cmfs_cache_props(atomic_load(&image->mode));
}

/* ---- failure ---- */

int cmfs_image_set_failed(struct cmfs_image *image, const char *operation, int error)
{
	int no_error = 0;

	/* The error goes first, so that who sees the operation sees it too. */
	if (atomic_compare_exchange_strong(&image->failed_error, &no_error, error))
		atomic_store(&image->failed_operation, operation);
	return error;
}

int cmfs_image_check_failed(struct cmfs_image *image)
{
	return atomic_load_explicit(&image->failed_error, memory_order_acquire) ? -EIO : 0;
}

bool cmfs_image_failure(struct cmfs_image *image, struct cmfs_failure *ret)
{
	const char *operation = atomic_load(&image->failed_operation);

	if (!operation)
		return false;
	*ret = (struct cmfs_failure){
		.operation = operation,
		.error = atomic_load(&image->failed_error),
	};
	return true;
}

bool cmfs_image_take_failure(struct cmfs_image *image, struct cmfs_failure *ret)
{
	return atomic_load(&image->failed_operation) &&
	       !atomic_exchange(&image->failure_taken, true) && cmfs_image_failure(image, ret);
}

void cmfs_image_set_lost(struct cmfs_image *image, int error)
{
	cmfs_image_set_failed(image, "write in the background", error);
}

int cmfs_image_error(struct cmfs_image *image)
{
	return cmfs_image_props(image)->flush ? cmfs_image_check_failed(image) : 0;
}

int cmfs_image_flush_inside(struct cmfs_image *image, const char *operation, bool datasync)
{
	struct cmfs_verdict verdict;
	int r = cmfs_image_check_failed(image);

	if (r < 0)
		return r;
	cmfs_verdict_ask(&image->verdicts, &verdict);
	r = cmfs_backend_flush(image->be, datasync);
	if (r < 0)
		cmfs_image_set_failed(image, operation, r);
	/* Another thread's request may fail and take the error with it. */
	cmfs_verdict_settle(&image->verdicts, &verdict, r == 0);
	return r < 0 ? r : cmfs_image_check_failed(image);
}

void cmfs_image_check_inside(struct cmfs_image *image)
{
	int r = cmfs_backend_check(image->be);

	if (r < 0)
		cmfs_image_set_failed(image, "write in the background", r);
}

/* ---- data ---- */

/*
 * An error of an operation that claims nothing: no failure of the image, unless what it
 * lives in has gone with changes that were acknowledged.
 */
static int volatile_result(struct cmfs_image *image, int r)
{
	if (r == -EIO)
		cmfs_image_check_inside(image);
	return r;
}

int cmfs_image_read(struct cmfs_image *image, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	int r;

	*ret_len = 0;
	if (len == 0)
		return 0;
	cmfs_gate_enter(&image->gate);
	r = volatile_result(image, cmfs_align_read(image->be, buf, len, off, ret_len));
	cmfs_gate_leave(&image->gate);
	return r;
}

/*
 * May a durable write's own error be told to another request? Not where the write
 * itself waits for the device; a page cache's writeback and a flush are shared.
 */
static bool shares_verdict(const struct cmfs_backend *be, size_t len, uint64_t off)
{
	bool exact = (off | len) & (be->geo.align - 1); /* may be, in part */

	return be->ops->fua != CMFS_FUA_NATIVE || !be->how.direct || exact;
}

static int write_inside(struct cmfs_image *image, const void *buf, size_t len, uint64_t off,
			enum cmfs_durability asked)
{
	enum cmfs_durability durability = cmfs_policy_write(cmfs_image_props(image), asked);
	bool shared = atomic_load_explicit(&image->shared, memory_order_relaxed);
	struct cmfs_verdict verdict;
	int r;

	if (durability == CMFS_VOLATILE)
		return volatile_result(image, cmfs_align_write(image->be, &image->ranges, buf, len,
							       off, durability, shared));

	r = cmfs_image_check_failed(image);
	if (r < 0)
		return r;
	cmfs_verdict_ask(&image->verdicts, &verdict);
	r = cmfs_align_write(image->be, &image->ranges, buf, len, off, durability, shared);
	/* Beyond a file size limit nothing is written: a refusal, no failure. */
	if (r < 0 && r != -EFBIG)
		cmfs_image_set_failed(image, "durable write", r);
	cmfs_verdict_settle(&image->verdicts, &verdict,
			    r == 0 && shares_verdict(image->be, len, off));
	return r < 0 ? r : cmfs_image_check_failed(image);
}

/*
 * Cut @len to what a content of fixed size has room for. That it does not fit is a
 * refusal, no failure of the image (P5), so it is found out before. Inside the gate.
 */
static int fit_inside(struct cmfs_image *image, uint64_t off, uint64_t *len)
{
	uint64_t size;
	int r;

	if (!image->fixed_size)
		return 0;
	r = cmfs_backend_size(image->be, &size);
	if (r < 0)
		return r;
	if (off >= size)
		return -ENOSPC;
	if (*len > size - off)
		*len = size - off;
	return 0;
}

int cmfs_image_write(struct cmfs_image *image, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability asked, size_t *ret_len)
{
	uint64_t fits = len;
	int r;

	*ret_len = 0;
	if (image->readonly)
		return -EROFS;
	if (len == 0)
		return 0;
	cmfs_gate_enter(&image->gate);
	r = fit_inside(image, off, &fits);
	if (r == 0)
		r = write_inside(image, buf, fits, off, asked);
	cmfs_gate_leave(&image->gate);
	if (r == 0)
		*ret_len = fits;
	return r;
}

int cmfs_image_flush(struct cmfs_image *image, bool datasync)
{
	int r = 0;

	cmfs_gate_enter(&image->gate);
	if (cmfs_image_props(image)->flush)
		r = cmfs_image_flush_inside(image, datasync ? "fdatasync" : "fsync", datasync);
	cmfs_gate_leave(&image->gate);
	return r;
}

/* Changes other than writes: the flush that O_DSYNC does not do for them (P1). */
static int begin_change(struct cmfs_image *image)
{
	cmfs_gate_enter(&image->gate);
	return cmfs_policy_change(cmfs_image_props(image)) ? cmfs_image_check_failed(image) : 0;
}

static int end_change(struct cmfs_image *image, const char *flush_operation, int r)
{
	if (r == 0 && cmfs_policy_change(cmfs_image_props(image)))
		r = cmfs_image_flush_inside(image, flush_operation, true);
	cmfs_gate_leave(&image->gate);
	return r;
}

static int check_same_size(struct cmfs_image *image, uint64_t size)
{
	uint64_t now;
	int r = cmfs_backend_size(image->be, &now);

	return r < 0 ? r : size == now ? 0 : -EINVAL;
}

int cmfs_image_truncate(struct cmfs_image *image, uint64_t size)
{
	int r;

	if (image->readonly)
		return -EROFS;
	if (size > INT64_MAX)
		return -EFBIG;
	r = begin_change(image);
	if (r == 0)
		r = image->fixed_size ? check_same_size(image, size)
				      : cmfs_align_truncate(image->be, &image->ranges, size);
	return end_change(image, "flush after truncate", r);
}

static int allocate_inside(struct cmfs_image *image, enum cmfs_alloc what, bool keep_size,
			   uint64_t off, uint64_t len)
{
	uint64_t fits = len;
	int r = fit_inside(image, off, &fits);

	/* Zeroes it must become (P9); with discard=ignore, the space is not given back. */
	if (what == CMFS_ALLOC_PUNCH && image->discard == CMFS_DISCARD_IGNORE)
		what = CMFS_ALLOC_ZERO;
	if (r == 0 && fits < len && !keep_size)
		r = -ENOSPC;
	if (r == -ENOSPC && keep_size)
		return 0; /* there is nothing past the end, and nothing to come */
	return r < 0 ? r
		     : cmfs_align_allocate(image->be, &image->ranges, what, keep_size, off, fits);
}

int cmfs_image_allocate(struct cmfs_image *image, enum cmfs_alloc what, bool keep_size,
			uint64_t off, uint64_t len)
{
	int r;

	if (image->readonly)
		return -EROFS;
	if (len == 0)
		return -EINVAL;
	if (off > INT64_MAX || len > INT64_MAX - off)
		return -EFBIG;
	r = begin_change(image);
	if (r == 0)
		r = allocate_inside(image, what, keep_size, off, len);
	return end_change(image, "flush after fallocate", r);
}

int cmfs_image_seek(struct cmfs_image *image, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	int r;

	if (off > INT64_MAX)
		return -ENXIO;
	cmfs_gate_enter(&image->gate);
	r = cmfs_backend_seek(image->be, whence, off, ret);
	cmfs_gate_leave(&image->gate);
	return r;
}

/* ---- copy ---- */

static int copy_by_hand(struct cmfs_image *src, uint64_t src_off, struct cmfs_image *dst,
			uint64_t dst_off, size_t len, size_t *ret_len)
{
	size_t done = 0;
	uint64_t size;
	int r = cmfs_backend_size(src->be, &size);

	if (r < 0)
		return r;
	/* Up to where the source ends now: the copy itself may move that end. */
	size = src_off < size ? size - src_off : 0;
	if (len > size)
		len = size;
	while (done < len) {
		size_t chunk = len - done < COPY_CHUNK ? len - done : COPY_CHUNK, got;
		void *buf = cmfs_buffer_get(CMFS_BUFFER_COPY, chunk);

		if (!buf)
			return -ENOMEM;
		r = cmfs_align_read(src->be, buf, chunk, src_off + done, &got);
		if (r < 0 || got == 0)
			break;
		r = write_inside(dst, buf, got, dst_off + done, CMFS_VOLATILE);
		if (r < 0)
			break;
		done += got;
	}
	*ret_len = done;
	return done > 0 ? 0 : r; /* what was copied counts, as with write(2) */
}

static int copy_inside(struct cmfs_image *src, uint64_t src_off, struct cmfs_image *dst,
		       uint64_t dst_off, uint64_t len, size_t *ret_len)
{
	int r = cmfs_policy_change(cmfs_image_props(dst)) ? cmfs_image_check_failed(dst) : 0;

	if (r == 0)
		r = fit_inside(dst, dst_off, &len);
	if (r < 0)
		return r;
	r = cmfs_backend_copy(src->be, src_off, dst->be, dst_off, len, ret_len);
	if (r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL)
		r = copy_by_hand(src, src_off, dst, dst_off, len, ret_len);
	if (r == 0 && cmfs_policy_change(cmfs_image_props(dst)))
		r = cmfs_image_flush_inside(dst, "flush after copy", true);
	return r;
}

int cmfs_image_copy(struct cmfs_image *src, uint64_t src_off, struct cmfs_image *dst,
		    uint64_t dst_off, size_t len, size_t *ret_len)
{
	/* Gate order: lower address first (gate.h). */
	struct cmfs_image *first = src < dst ? src : dst, *second = src < dst ? dst : src;
	int r;

	*ret_len = 0;
	if (dst->readonly)
		return -EROFS;
	if (src_off > INT64_MAX || len > INT64_MAX - src_off || dst_off > INT64_MAX ||
	    len > INT64_MAX - dst_off)
		return -EFBIG;
	if (src == dst && src_off < dst_off + len && dst_off < src_off + len)
		return -EINVAL;
	if (len == 0)
		return 0;
	if (len > COPY_MAX)
		len = COPY_MAX;
	cmfs_gate_enter(&first->gate);
	if (second != first)
		cmfs_gate_enter(&second->gate);
	r = copy_inside(src, src_off, dst, dst_off, len, ret_len);
	if (second != first)
		cmfs_gate_leave(&second->gate);
	cmfs_gate_leave(&first->gate);
	return r;
}
