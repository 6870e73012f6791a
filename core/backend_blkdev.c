// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A block device on the host: a disk, a partition, a logical volume, a loop device.
 *
 * Read and written as a regular file is (core/backend_file.c), but for what differs:
 *
 * - Its size is the device's, which is asked each time. It ends with a whole logical
 *   block, so that no block is ever cut by the end.
 * - Who writes to it has a claim on it: a descriptor with O_EXCL, which mounts, swap,
 *   LVM, RAID, mkfs and other cmfs ask for as well. The kernel gives one only, so it is
 *   the place's, shared by all openings that came from one another; they themselves
 *   are without. A reader has none: several may read what one has mounted, and what
 *   they see then is as torn as what dd would see.
 * - The claim is without O_DIRECT and never flushed, so it also serves for what goes
 *   through the page cache in direct modes, as exact_fd of a file does.
 * - And only on it may fallocate(2) drop dirty pages of what it makes zero: on others
 *   it fails with EBUSY for a device that is claimed, be it by ourselves.
 *
 * Making zeroes is fallocate(2), which has the kernel choose: PUNCH_HOLE deallocates, and
 * fails where the device cannot or its blocks might not read as zeroes then (BLKDISCARD
 * says nothing about that); ZERO_RANGE keeps the blocks and writes zeroes if it must.
 * Both take whole blocks; the rest of a range is written.
 *
 * The node's own attributes are shown, but as those of a regular file.
 */
#include "cmfs/backend.h"
#include "host_aio.h"
#include "host_dev.h"
#include "host_fs.h"
#include "host_io.h"
#include "host_lock.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/* What all openings of the device share. */
struct claim {
	atomic_uint refs;
	int fd; /* -1: for reading only */
	char *name;
	enum cmfs_aio aio;
};

struct blkdev_backend {
	struct cmfs_backend base;
	int fd;
	uint32_t block; /* logical block size */
	struct claim *claim;
	struct cmfs_host_lock *lock; /* shared like the claim */
};

static struct blkdev_backend *to_blkdev(struct cmfs_backend *be)
{
	return (struct blkdev_backend *)be;
}

static const struct cmfs_backend_ops blkdev_ops;

/* ---- open, reopen, close ---- */

static void claim_unref(struct claim *claim)
{
	if (!claim || atomic_fetch_sub(&claim->refs, 1) > 1)
		return;
	if (claim->fd >= 0)
		close(claim->fd);
	free(claim->name);
	free(claim);
}

static int err_open(const char *name, const struct cmfs_open_how *how, int error,
		    struct cmfs_err *err)
{
	if (!how->readonly && (error == -EACCES || error == -EPERM || error == -EROFS))
		return cmfs_err_set(err, error,
				    "%s: cannot open for writing: %s (-o ro mounts it read-only)",
				    name, strerror(-error));
	return cmfs_err_set(err, error, "%s: cannot open: %s", name, strerror(-error));
}

/* @path is what to open, @name what to call it in messages. */
static int claim_device(const char *path, const char *name, dev_t dev,
			const struct cmfs_open_how *how, struct claim **ret, struct cmfs_err *err)
{
	struct claim *claim = malloc(sizeof(*claim));
	int error;

	if (claim)
		*claim = (struct claim){ .refs = 1, .fd = -1, .name = strdup(name) };
	if (!claim || !claim->name) {
		claim_unref(claim);
		return cmfs_err_set(err, -ENOMEM, "%s: out of memory", name);
	}
	if (!how->readonly) {
		claim->fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
		if (claim->fd < 0) {
			error = -errno;
			claim_unref(claim);
			return error == -EBUSY ? cmfs_host_dev_err_busy(dev, name, err)
					       : err_open(name, how, error, err);
		}
	}
	*ret = claim;
	return 0;
}

static void blkdev_close(struct cmfs_backend *be)
{
	struct blkdev_backend *b = to_blkdev(be);

	if (b->fd >= 0)
		close(b->fd);
	claim_unref(b->claim);
	cmfs_host_lock_drop(b->lock, be->how.readonly);
	free(b);
}

static int get_geometry(struct blkdev_backend *b, struct cmfs_err *err)
{
	const char *name = b->claim->name;
	struct cmfs_geometry *geo = &b->base.geo;
	int r = cmfs_host_dev_block(b->fd, &b->block);

	if (r < 0)
		return cmfs_err_set(err, r, "%s: cannot tell its block size: %s", name,
				    strerror(-r));
	*geo = (struct cmfs_geometry){ .align = 1, .mem_align = 1, .exact_block = 1 };
	if (b->base.how.direct) {
		r = cmfs_host_fs_dio_geometry(b->fd, geo);
		if (r < 0) /* UNTESTED: each device has O_DIRECT */
			return cmfs_err_set(err, r,
					    "%s: does not support O_DIRECT, which cache=none and "
					    "cache=directsync need",
					    name);
		geo->align = b->block; /* what is found by probing may be more */
	}
	geo->fixed_size = true;
	return 0;
}

/* Takes @claim over. @lock: of the openings there are, NULL: there are none, take one. */
static int open_device(const char *path, const struct cmfs_open_how *how, struct claim *claim,
		       enum cmfs_locking locking, struct cmfs_host_lock *lock,
		       struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct blkdev_backend *b = malloc(sizeof(*b));
	int r;

	if (!b) {
		claim_unref(claim);
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	}
	*b = (struct blkdev_backend){
		.base = { .ops = &blkdev_ops, .how = *how },
		.fd = open(path, cmfs_host_open_flags(how)),
		.claim = claim,
	};
	if (b->fd < 0)
		r = err_open(claim->name, how, -errno, err);
	else if (lock)
		r = cmfs_host_lock_share(lock, how->readonly, claim->name, &b->lock, err);
	else
		r = cmfs_host_lock_take(b->fd, locking, how->readonly, claim->name, &b->lock, err);
	if (r == 0)
		r = get_geometry(b, err);
	if (r == 0 && cmfs_host_lock_is_missing(b->lock))
		b->base.notice = CMFS_HOST_LOCK_MISSING;
	if (r < 0)
		blkdev_close(&b->base);
	else
		*ret = &b->base;
	return r;
}

static int open_checked(const char *path, const char *name, dev_t dev,
			const struct cmfs_open_how *how, const struct cmfs_host_options *options,
			struct cmfs_host_lock *lock, struct cmfs_backend **ret,
			struct cmfs_err *err)
{
	struct claim *claim = NULL;
	struct cmfs_backend *be = NULL;
	int r = cmfs_host_aio_check(options->aio, name, err);

	if (r == 0)
		r = claim_device(path, name, dev, how, &claim, err);
	if (r < 0)
		return r;
	claim->aio = options->aio;
	r = open_device(path, how, claim, options->locking, lock, &be, err);
	if (r < 0)
		return r;
	r = cmfs_host_dev_check(to_blkdev(be)->fd, how->readonly, name, err);
	if (r < 0)
		blkdev_close(be);
	else
		*ret = be;
	return r;
}

int cmfs_backend_blkdev_open(const char *path, const struct cmfs_open_how *how,
			     const struct cmfs_host_options *options, struct cmfs_backend **ret,
			     struct cmfs_err *err)
{
	static const struct cmfs_host_options defaults = { 0 };

	/* O_PATH: opening another kind of file may block, or act on what is behind it. */
	int fd = open(path, O_PATH | O_CLOEXEC), r;
	struct stat st;

	if (fd < 0)
		return cmfs_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		r = cmfs_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	else if (!S_ISBLK(st.st_mode))
		r = cmfs_err_set(err, -ENOTBLK, "%s: is not a block device", path);
	else
		r = open_checked(cmfs_host_path(fd).text, path, st.st_rdev, how,
				 options ? options : &defaults, NULL, ret, err);
	close(fd);
	return r;
}

static int blkdev_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
			 struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct blkdev_backend *b = to_blkdev(be);
	const struct cmfs_host_options options = { .aio = b->claim->aio };
	struct stat st;

	/* A reader becomes a writer, which has a claim. */
	if (!how->readonly && b->claim->fd < 0) {
		if (fstat(b->fd, &st) < 0)
			return cmfs_err_set(err, -errno, "%s: cannot open: %s", b->claim->name,
					    strerror(errno));
		return open_checked(cmfs_host_path(b->fd).text, b->claim->name, st.st_rdev, how,
				    &options, b->lock, ret, err);
	}
	atomic_fetch_add(&b->claim->refs, 1);
	return open_device(cmfs_host_path(b->fd).text, how, b->claim, CMFS_LOCKING_AUTO, b->lock,
			   ret, err);
}

/* ---- data ---- */

static int blkdev_size(struct cmfs_backend *be, uint64_t *ret)
{
	return cmfs_host_dev_size(to_blkdev(be)->fd, to_blkdev(be)->block, ret);
}

static int blkdev_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off,
		       size_t *ret_len)
{
	struct blkdev_backend *b = to_blkdev(be);
	uint64_t size;
	int r = blkdev_size(be, &size);

	if (r < 0)
		return r;
	*ret_len = 0;
	if (off >= size)
		return 0;
	/* What is behind the last whole block is an error to the kernel, no end. */
	if (len > size - off)
		len = size - off;
	return cmfs_host_aio_read(b->claim->aio, b->fd, be->geo.align, buf, len, off, ret_len);
}

static int blkdev_read_list(struct cmfs_backend *be, struct cmfs_read *reads, size_t count)
{
	struct blkdev_backend *b = to_blkdev(be);
	bool over_end = false;
	uint64_t size;
	int r = blkdev_size(be, &size);

	for (size_t i = 0; i < count && r == 0; i++)
		over_end |= reads[i].off + reads[i].len > size;
	if (r == 0 && !over_end)
		return cmfs_host_aio_read_list(b->claim->aio, b->fd, be->geo.align, reads, count);
	for (size_t i = 0; i < count && r == 0; i++)
		r = blkdev_read(be, reads[i].buf, reads[i].len, reads[i].off, &reads[i].got);
	return r;
}

static int blkdev_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			enum cmfs_durability durability)
{
	struct blkdev_backend *b = to_blkdev(be);
	int rwf = cmfs_host_rwf(&be->how, durability);

	return cmfs_host_aio_write(b->claim->aio, b->fd, buf, len, off, rwf,
				   cmfs_host_aio_parts_pay(b->claim->aio, &be->how, rwf, len));
}

static int blkdev_flush(struct cmfs_backend *be, bool datasync)
{
	return cmfs_host_flush(to_blkdev(be)->fd, datasync);
}

static int blkdev_check(struct cmfs_backend *be)
{
	return cmfs_host_check(to_blkdev(be)->fd);
}

/* Through the page cache. */
static int write_and_settle(struct blkdev_backend *b, const void *buf, size_t len, uint64_t off,
			    int flags)
{
	int r = cmfs_host_aio_write(CMFS_AIO_THREADS, b->claim->fd, buf, len, off, flags, false);

	if (r == 0 && b->base.how.direct)
		cmfs_host_settle(b->claim->fd, b->base.geo.exact_block, off, len);
	return r;
}

static int blkdev_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			      enum cmfs_durability durability)
{
	const struct cmfs_open_how claimed = { .dsync = false };
	bool durable = be->how.dsync || durability != CMFS_VOLATILE;
	int r;

	if (durable && durability == CMFS_VOLATILE)
		durability = CMFS_DURABLE_DATA;
	r = write_and_settle(to_blkdev(be), buf, len, off, cmfs_host_rwf(&claimed, durability));
	/* Its error may have been told to another one's settle, on the same descriptor. */
	return r == 0 && durable ? blkdev_check(be) : r;
}

/* Less than a block. */
static int write_zeroes(struct blkdev_backend *b, uint64_t off, uint64_t end)
{
	static const char zeroes[4096];

	while (off < end) {
		size_t len = end - off < sizeof(zeroes) ? end - off : sizeof(zeroes);
		int r = write_and_settle(b, zeroes, len, off, 0);

		if (r < 0)
			return r;
		off += len;
	}
	return 0;
}

static int blkdev_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			   uint64_t off, uint64_t len)
{
	static const int modes[] = {
		[CMFS_ALLOC_PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		[CMFS_ALLOC_ZERO] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	struct blkdev_backend *b = to_blkdev(be);
	uint64_t end = off + len, start = off + b->block - 1, stop = end - end % b->block;
	int r;

	if (what == CMFS_ALLOC_ALLOCATE || (what == CMFS_ALLOC_PUNCH && !keep_size))
		return -EOPNOTSUPP; /* as fallocate(2) has it, of devices and of all files */
	start -= start % b->block;
	if (start >= stop)
		return write_zeroes(b, off, end);
	/* First, as the device may not be able to; then nothing has changed. */
	r = CMFS_HOST_RETRIED(fallocate(b->claim->fd, modes[what], start, stop - start));
	if (r == 0)
		r = write_zeroes(b, off, start);
	return r == 0 ? write_zeroes(b, stop, end) : r;
}

/* Devices do not tell holes. */
static int blkdev_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	uint64_t size;
	int r = blkdev_size(be, &size);

	if (r < 0)
		return r;
	if (off >= size)
		return -ENXIO;
	*ret = whence == CMFS_SEEK_DATA ? off : size;
	return 0;
}

static void blkdev_drop_cache(struct cmfs_backend *be)
{
	posix_fadvise(to_blkdev(be)->fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* ---- metadata ---- */

static int blkdev_getattr(struct cmfs_backend *be, struct stat *ret)
{
	uint64_t size;
	int r = blkdev_size(be, &size);

	if (r == 0)
		r = cmfs_host_result(fstat(to_blkdev(be)->fd, ret));
	if (r < 0)
		return r;
	ret->st_mode = S_IFREG | (ret->st_mode & 07777);
	ret->st_rdev = 0;
	ret->st_size = (off_t)size;
	ret->st_blocks = (blkcnt_t)(size / 512);
	return 0;
}

/* Who may open the device is the host's business (udev's rules, as a rule). */
static int blkdev_chmod(struct cmfs_backend *be, mode_t mode)
{
	return -EPERM;
}

static int blkdev_chown(struct cmfs_backend *be, uid_t uid, gid_t gid)
{
	return -EPERM;
}

static int blkdev_utimens(struct cmfs_backend *be, const struct timespec times[2])
{
	return cmfs_host_result(futimens(to_blkdev(be)->fd, times));
}

/* Of the device, not of the file system that its node is on: full. */
static int blkdev_statvfs(struct cmfs_backend *be, struct statvfs *ret)
{
	uint32_t block = to_blkdev(be)->block;
	uint64_t size;
	int r = blkdev_size(be, &size);

	if (r < 0)
		return r;
	*ret = (struct statvfs){
		.f_bsize = block,
		.f_frsize = block,
		.f_blocks = size / block,
		.f_files = 1,
		.f_namemax = 255,
	};
	return 0;
}

/* There are none, and none can be set: user.* is for files and directories, see xattr(7). */
static ssize_t blkdev_getxattr(struct cmfs_backend *be, const char *name, void *value, size_t size)
{
	ssize_t n = fgetxattr(to_blkdev(be)->fd, name, value, size);

	return n < 0 ? -errno : n;
}

static const struct cmfs_backend_meta_ops blkdev_meta_ops = {
	.chmod = blkdev_chmod,
	.chown = blkdev_chown,
	.utimens = blkdev_utimens,
	.statvfs = blkdev_statvfs,
	.getxattr = blkdev_getxattr,
};

static const struct cmfs_backend_ops blkdev_ops = {
	.name = "blkdev",
	.fua = CMFS_FUA_NATIVE,
	.meta = &blkdev_meta_ops,
	.reopen = blkdev_reopen,
	.close = blkdev_close,
	.read = blkdev_read,
	.read_list = blkdev_read_list,
	.write = blkdev_write,
	.write_exact = blkdev_write_exact,
	.flush = blkdev_flush,
	.check = blkdev_check,
	.size = blkdev_size,
	.getattr = blkdev_getattr,
	.allocate = blkdev_allocate,
	.seek = blkdev_seek,
	.drop_cache = blkdev_drop_cache,
};
