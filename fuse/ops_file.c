// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Open files: FUSE requests turned into calls of core/image.
 *
 * On direct handles the kernel sends no FSYNC after an O_DSYNC, O_SYNC or
 * RWF_DSYNC write: the flags come with the WRITE, and asked_durability() reads
 * them (P4). On cached handles a FSYNC follows as well; it finds little to do.
 */
#include "fs.h"
#include "handles.h"
#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

static void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	struct cmfs_boot *boot;
	int r = 0;

	if (!file) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	boot = cmfs_boot_get(file);
	/* Passthrough would write to the host file without asking how that is open. */
	if ((fi->flags & O_ACCMODE) != O_RDONLY && cmfs_image_readonly(boot->image)) {
		r = -EROFS;
	} else if (fi->flags & O_TRUNC) {
		r = cmfs_image_truncate(boot->image, 0);
		cmfs_fs_log_failure(file, boot->image);
		cmfs_fs_log_stopped(file);
	}
	if (r == 0)
		r = cmfs_handle_open(file, boot, fi);
	cmfs_boot_put(file, boot);
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (fuse_reply_open(req, fi) == -ENOENT)
		cmfs_handle_release(file, fi); /* interrupted: no release will come */
}

static void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	cmfs_handle_release(cmfs_fs_find(cmfs_req_fs(req), ino), fi);
	fuse_reply_err(req, 0);
}

/* Reply with -@r as the error, after logging what it may have done to the image. */
static void reply_result(fuse_req_t req, fuse_ino_t ino, struct cmfs_image *image, int r)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);

	if (r < 0)
		cmfs_fs_log_failure(file, image);
	cmfs_fs_log_stopped(file);
	fuse_reply_err(req, -r);
}

static void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	void *buf;
	size_t got;
	int r;

	/* It would be served from there ever after, whatever is written (P9). */
	if (!fi->lock_owner && !cmfs_handle_may_fill_cache(fi)) {
		fuse_reply_err(req, EINVAL); /* as where there is no splice: read(2) instead */
		return;
	}
	buf = cmfs_workers_payload(size);
	r = buf ? cmfs_image_read(cmfs_handle_image(fi), buf, size, off, &got) : -ENOMEM;
	if (r < 0)
		reply_result(req, ino, cmfs_handle_image(fi), r);
	else
		fuse_reply_buf(req, buf, got);
}

static enum cmfs_durability asked_durability(int flags)
{
	if ((flags & O_SYNC) == O_SYNC)
		return CMFS_DURABLE_ALL;
	return flags & O_DSYNC ? CMFS_DURABLE_DATA : CMFS_VOLATILE;
}

/*
 * What does not fit on a device ends a write early. But not where it was acknowledged
 * already; and of a short answer to O_DIRECT the kernel makes EIO (fuse_get_res_by_io()).
 */
static bool must_be_whole(const struct fuse_file_info *fi)
{
	return fi->writepage || fi->flags & O_DIRECT;
}

static void file_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct cmfs_file *file = cmfs_fs_find(cmfs_req_fs(req), ino);
	struct cmfs_image *image = cmfs_handle_image(fi);
	size_t written;
	int r = cmfs_image_write(image, buf, size, off, asked_durability(fi->flags), &written);

	cmfs_fs_log_stopped(file);
	if (r == 0 && written < size && must_be_whole(fi))
		r = -ENOSPC;
	if (r < 0) {
		if (fi->writepage) /* from the kernel's cache: acknowledged already */
			cmfs_image_set_lost(image, r);
		cmfs_fs_log_failure(file, image);
		fuse_reply_err(req, -r);
	} else {
		fuse_reply_write(req, written);
	}
}

/* close(2): owes nothing, but is a chance to tell that the image has failed. */
static void file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, -cmfs_image_error(cmfs_handle_image(fi)));
}

static void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct cmfs_image *image = cmfs_handle_image(fi);

	reply_result(req, ino, image, cmfs_image_flush(image, datasync));
}

/* P4 for changes that are not writes: their requests bring no flags of their own. */
static int finish_change(const struct fuse_file_info *fi, int r)
{
	enum cmfs_durability asked = asked_durability(cmfs_handle_of(fi)->sync_flags);

	if (r < 0 || asked == CMFS_VOLATILE)
		return r;
	return cmfs_image_flush(cmfs_handle_image(fi), asked == CMFS_DURABLE_DATA);
}

static void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
			   struct fuse_file_info *fi)
{
	struct cmfs_image *image = cmfs_handle_image(fi);
	bool keep_size = mode & FALLOC_FL_KEEP_SIZE;
	enum cmfs_alloc what;
	int r;

	switch (mode & ~FALLOC_FL_KEEP_SIZE) {
	case 0:
		what = CMFS_ALLOC_ALLOCATE;
		break;
	case FALLOC_FL_PUNCH_HOLE: /* the kernel demands KEEP_SIZE with it */
		what = CMFS_ALLOC_PUNCH;
		break;
	case FALLOC_FL_ZERO_RANGE:
		what = CMFS_ALLOC_ZERO;
		break;
	default:
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	r = cmfs_image_allocate(image, what, keep_size, off, len);
	reply_result(req, ino, image, finish_change(fi, r));
}

static void file_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		       struct fuse_file_info *fi)
{
	uint64_t found;
	int r;

	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	/* It does not ask the kernel's write cache first: all is data then (P9). */
	if (cmfs_fs_find(cmfs_req_fs(req), ino)->writeback_cache) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	r = cmfs_image_seek(cmfs_handle_image(fi),
			    whence == SEEK_DATA ? CMFS_SEEK_DATA : CMFS_SEEK_HOLE, off, &found);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_lseek(req, found);
}

static void file_copy_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			    struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			    struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct cmfs_image *out = cmfs_handle_image(fi_out);
	size_t copied;
	int r = cmfs_image_copy(cmfs_handle_image(fi_in), off_in, out, off_out, len, &copied);

	r = finish_change(fi_out, r);
	cmfs_fs_log_stopped(cmfs_fs_find(cmfs_req_fs(req), ino_out));
	if (r < 0)
		reply_result(req, ino_out, out, r);
	else
		fuse_reply_write(req, copied);
}

void cmfs_file_ops(struct fuse_lowlevel_ops *ops)
{
	ops->open = file_open;
	ops->release = file_release;
	ops->read = file_read;
	ops->write = file_write;
	ops->flush = file_flush;
	ops->fsync = file_fsync;
	ops->fallocate = file_fallocate;
	ops->lseek = file_lseek;
	ops->copy_file_range = file_copy_range;
}
