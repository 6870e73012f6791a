// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A regular file on the host.
 *
 * The mode's meaning becomes real open flags here: direct is O_DIRECT, dsync is
 * O_DSYNC on the descriptor, so that /proc/PID/fdinfo shows what is promised.
 * Durability beyond the descriptor's goes with the write as RWF_DSYNC/RWF_SYNC.
 *
 * A direct backend that may write has a second descriptor without O_DIRECT (but
 * with O_DSYNC, if any), for the block that the end of the file cuts. What goes
 * through it, and what truncate, punch and zero touch at unaligned edges, passes
 * through the page cache: settle() writes that out and drops it.
 *
 * flush() covers the inode, and so both descriptors. An error that the kernel met
 * in writeback is told once to every descriptor that was open then (errseq_t), by
 * whatever call on it asks first: a flush, a durable write, sync_file_range(2). The
 * descriptor that flushes must be the one to be told: settle() uses the other one,
 * and before a descriptor is closed it is flushed or asked (check()).
 */
#include "cmfs/backend.h"
#include "host_aio.h"
#include "host_fs.h"
#include "host_io.h"
#include "host_lock.h"
#include "host_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

struct file_backend {
	struct cmfs_backend base;
	char *path; /* as given, for messages */
	int fd;
	int exact_fd;		     /* without O_DIRECT; -1 unless direct and writable */
	_Atomic uint64_t size_floor; /* of a direct file: it is known to be this long */
	struct cmfs_host_sync *sync; /* shared by all that were reopened from one */
	struct cmfs_host_lock *lock; /* the same */
	struct cmfs_host_options options;
};

static struct file_backend *to_file(struct cmfs_backend *be)
{
	return (struct file_backend *)be;
}

static const struct cmfs_backend_ops file_ops;

/* ---- open, reopen, close ---- */

static int err_no_direct(const char *path, int fd, struct cmfs_err *err)
{
	char fs[64];

	cmfs_host_fs_name(fd, fs, sizeof(fs));
	return cmfs_err_set(err, -EOPNOTSUPP,
			    "%s: its file system (%s) does not support O_DIRECT, which cache=none "
			    "and cache=directsync need; cache=writeback, writethrough and unsafe "
			    "work there",
			    path, fs);
}

/* open(2) says EINVAL both for "no O_DIRECT here" and for other things. */
static int err_open(const char *path, const char *name, const struct cmfs_open_how *how, int error,
		    struct cmfs_err *err)
{
	if (error == -EINVAL && how->direct) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0) {
			int r = err_no_direct(name, fd, err);

			close(fd);
			return r;
		}
	}
	if (!how->readonly && (error == -EACCES || error == -EPERM || error == -EROFS))
		return cmfs_err_set(err, error,
				    "%s: cannot open for writing: %s (-o ro mounts it read-only)",
				    name, strerror(-error));
	return cmfs_err_set(err, error, "%s: cannot open: %s", name, strerror(-error));
}

static void close_descriptors(struct file_backend *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->exact_fd >= 0)
		close(f->exact_fd);
	f->fd = f->exact_fd = -1;
}

static void file_close(struct cmfs_backend *be)
{
	struct file_backend *f = to_file(be);

	close_descriptors(f);
	cmfs_host_sync_unref(f->sync);
	cmfs_host_lock_drop(f->lock, be->how.readonly);
	free(f->path);
	free(f);
}

/*
 * @path is what to open, @name what to call it in messages; takes @sync over. @lock: of
 * the openings there are, NULL if there are none.
 */
static int open_file(const char *path, const char *name, const struct cmfs_open_how *how,
		     const struct cmfs_host_options *options, struct cmfs_host_sync *sync,
		     struct cmfs_host_lock *lock, struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct file_backend *f = malloc(sizeof(*f));
	int r;

	if (!f) {
		cmfs_host_sync_unref(sync);
		return cmfs_err_set(err, -ENOMEM, "%s: out of memory", name);
	}
	*f = (struct file_backend){
		.base = { .ops = &file_ops, .how = *how, .geo = { 1, 1, 1 } },
		.path = strdup(name),
		.fd = open(path, cmfs_host_open_flags(how)),
		.exact_fd = -1,
		.sync = sync,
		.options = *options,
	};
	if (!f->path || !f->sync) {
		r = cmfs_err_set(err, -ENOMEM, "%s: out of memory", name);
		goto close;
	}
	if (f->fd < 0) {
		r = err_open(path, name, how, -errno, err);
		goto close;
	}
	r = lock ? cmfs_host_lock_share(lock, how->readonly, name, &f->lock, err)
		 : cmfs_host_lock_take(f->fd, options->locking, how->readonly, name, &f->lock, err);
	if (r < 0)
		goto close;
	if (how->direct) {
		r = cmfs_host_fs_dio_geometry(f->fd, &f->base.geo);
		if (r < 0) {
			r = err_no_direct(name, f->fd, err);
			goto close;
		}
	}
	if (how->direct && !how->readonly) {
		f->exact_fd = open(path, cmfs_host_open_flags(how) & ~O_DIRECT);
		if (f->exact_fd < 0) {
			r = err_open(path, name, how, -errno, err);
			goto close;
		}
	}
	if (cmfs_host_lock_is_missing(f->lock))
		f->base.notice = CMFS_HOST_LOCK_MISSING;
	*ret = &f->base;
	return 0;
close:
	file_close(&f->base);
	return r;
}

int cmfs_backend_file_open(const char *path, const struct cmfs_open_how *how,
			   const struct cmfs_host_options *options, struct cmfs_backend **ret,
			   struct cmfs_err *err)
{
	static const struct cmfs_host_options defaults = { 0 };

	/* O_PATH: opening a FIFO would block, opening a device may act on it. */
	int fd = open(path, O_PATH | O_CLOEXEC), r;
	struct stat st;

	if (!options)
		options = &defaults;
	if (fd < 0)
		return cmfs_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		r = cmfs_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		r = cmfs_err_set(err, -EISDIR, "%s: is a directory, not an image", path);
	else if (!S_ISREG(st.st_mode))
		r = cmfs_err_set(err, -EINVAL, "%s: is not a regular file", path);
	else
		r = cmfs_host_aio_check(options->aio, path, err);
	if (r == 0)
		r = open_file(cmfs_host_path(fd).text, path, how, options, cmfs_host_sync_create(),
			      NULL, ret, err);
	close(fd);
	return r;
}

static int file_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
		       struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct file_backend *f = to_file(be);

	return open_file(cmfs_host_path(f->fd).text, f->path, how, &f->options,
			 cmfs_host_sync_ref(f->sync), f->lock, ret, err);
}

/* ---- data ---- */

static int file_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct file_backend *f = to_file(be);

	return cmfs_host_aio_read(f->options.aio, f->fd, be->geo.align, buf, len, off, ret_len);
}

static int file_read_list(struct cmfs_backend *be, struct cmfs_read *reads, size_t count)
{
	struct file_backend *f = to_file(be);

	return cmfs_host_aio_read_list(f->options.aio, f->fd, be->geo.align, reads, count);
}

/* By the descriptor that is never flushed: it may be told of an error. */
static void settle(struct file_backend *f, uint64_t off, uint64_t len)
{
	cmfs_host_settle(f->exact_fd, f->base.geo.exact_block, off, len);
}

/*
 * A change that begins or ends inside a page zeroes a part of it, or writes back
 * what was beside it, through the page cache; so does growth with the page in
 * which the file ended.
 */
static void settle_edge(struct file_backend *f, uint64_t pos)
{
	if (f->base.how.direct && pos % f->base.geo.exact_block != 0)
		settle(f, pos, 1);
}

static uint64_t size_or_zero(struct file_backend *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Not beyond the end: a later part that is done first would show the content with a hole (P9). */
static bool may_write_in_parts(struct file_backend *f, size_t len, uint64_t off, int rwf)
{
	return cmfs_host_aio_parts_pay(f->options.aio, &f->base.how, rwf, len) &&
	       off + len <= size_or_zero(f);
}

static int file_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		      enum cmfs_durability durability)
{
	struct file_backend *f = to_file(be);
	bool may_grow = be->how.direct && off > atomic_load(&f->size_floor);
	uint64_t old_size = may_grow ? size_or_zero(f) : off;
	int rwf = cmfs_host_rwf(&be->how, durability);
	int r = cmfs_host_aio_write(f->options.aio, f->fd, buf, len, off, rwf,
				    may_write_in_parts(f, len, off, rwf));

	if (r < 0 || !may_grow)
		return r;
	if (old_size < off)
		settle_edge(f, old_size); /* XFS, btrfs */
	atomic_store(&f->size_floor, old_size > off ? old_size : off);
	return 0;
}

static int file_flush(struct cmfs_backend *be, bool datasync)
{
	return cmfs_host_flush(to_file(be)->fd, datasync);
}

static int file_check(struct cmfs_backend *be)
{
	return cmfs_host_check(to_file(be)->fd);
}

static int file_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			    enum cmfs_durability durability)
{
	struct file_backend *f = to_file(be);
	uint64_t old_size = size_or_zero(f);
	int r = cmfs_host_aio_write(CMFS_AIO_THREADS, f->exact_fd, buf, len, off,
				    cmfs_host_rwf(&be->how, durability), false);

	if (r < 0)
		return r;
	settle(f, off, len);
	if (old_size < off)
		settle_edge(f, old_size);
	/* Its error may have been told to another one's settle(), on the same descriptor. */
	return be->how.dsync || durability != CMFS_VOLATILE ? file_check(be) : 0;
}

static int file_size(struct cmfs_backend *be, uint64_t *ret)
{
	struct stat st;

	if (fstat(to_file(be)->fd, &st) < 0)
		return -errno;
	*ret = st.st_size;
	return 0;
}

static int file_getattr(struct cmfs_backend *be, struct stat *ret)
{
	return cmfs_host_result(fstat(to_file(be)->fd, ret));
}

static int file_truncate(struct cmfs_backend *be, uint64_t size)
{
	struct file_backend *f = to_file(be);
	uint64_t old_size = size_or_zero(f);
	int r;

	if (size < atomic_load(&f->size_floor))
		atomic_store(&f->size_floor, size);
	r = CMFS_HOST_RETRIED(ftruncate(f->fd, size));
	if (r < 0)
		return r;
	settle_edge(f, size);
	settle_edge(f, old_size);
	return 0;
}

static int file_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			 uint64_t off, uint64_t len)
{
	static const int modes[] = {
		[CMFS_ALLOC_ALLOCATE] = 0,
		[CMFS_ALLOC_PUNCH] = FALLOC_FL_PUNCH_HOLE,
		[CMFS_ALLOC_ZERO] = FALLOC_FL_ZERO_RANGE,
	};
	struct file_backend *f = to_file(be);
	int mode = modes[what] | (keep_size ? FALLOC_FL_KEEP_SIZE : 0);
	uint64_t old_size = size_or_zero(f);
	int r = CMFS_HOST_RETRIED(fallocate(f->fd, mode, off, len));

	if (r < 0)
		return r;
	settle_edge(f, off);
	settle_edge(f, off + len);
	settle_edge(f, old_size);
	return 0;
}

static int file_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	/* Moves the descriptor's position, which nothing else uses. */
	off_t pos = lseek(to_file(be)->fd, off, whence == CMFS_SEEK_DATA ? SEEK_DATA : SEEK_HOLE);

	if (pos < 0)
		return -errno;
	*ret = pos;
	return 0;
}

static int file_copy(struct cmfs_backend *src, uint64_t src_off, struct cmfs_backend *dst,
		     uint64_t dst_off, size_t len, size_t *ret_len)
{
	off_t in = src_off, out = dst_off;
	ssize_t n;

	/*
	 * The kernel's fallback goes through the page cache (P6). And on an O_DSYNC
	 * descriptor it may end short for an error that it keeps to itself (P5).
	 */
	if (src->how.direct || dst->how.direct || dst->how.dsync)
		return -EOPNOTSUPP;
	n = copy_file_range(to_file(src)->fd, &in, to_file(dst)->fd, &out, len, 0);
	if (n < 0)
		return -errno;
	*ret_len = n;
	return 0;
}

static void file_drop_cache(struct cmfs_backend *be)
{
	posix_fadvise(to_file(be)->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int file_host_fd(struct cmfs_backend *be)
{
	return to_file(be)->fd;
}

static int file_set_sync(struct cmfs_backend *be, bool on)
{
	struct file_backend *f = to_file(be);

	return on ? cmfs_host_sync_set(f->sync, f->fd) : cmfs_host_sync_clear(f->sync, f->fd);
}

static int file_wait_others(struct cmfs_backend *be)
{
	return cmfs_host_sync_wait(to_file(be)->fd);
}

static int file_finish_sync(struct cmfs_backend *be)
{
	struct file_backend *f = to_file(be);
	int fd = open(cmfs_host_path(f->fd).text, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	close_descriptors(f); /* ours are for writing, too */
	cmfs_host_sync_leave(f->sync);
	r = cmfs_host_sync_is_written(fd) ? -EBUSY : cmfs_host_sync_clear(f->sync, fd);
	close(fd);
	return r;
}

/* ---- metadata ---- */

static int file_chmod(struct cmfs_backend *be, mode_t mode)
{
	return cmfs_host_result(fchmod(to_file(be)->fd, mode));
}

static int file_chown(struct cmfs_backend *be, uid_t uid, gid_t gid)
{
	return cmfs_host_result(fchown(to_file(be)->fd, uid, gid));
}

static int file_utimens(struct cmfs_backend *be, const struct timespec times[2])
{
	return cmfs_host_result(futimens(to_file(be)->fd, times));
}

static int file_statvfs(struct cmfs_backend *be, struct statvfs *ret)
{
	return cmfs_host_result(fstatvfs(to_file(be)->fd, ret));
}

static ssize_t file_getxattr(struct cmfs_backend *be, const char *name, void *value, size_t size)
{
	ssize_t n = fgetxattr(to_file(be)->fd, name, value, size);

	return n < 0 ? -errno : n;
}

static int file_setxattr(struct cmfs_backend *be, const char *name, const void *value, size_t size,
			 int flags)
{
	return cmfs_host_result(fsetxattr(to_file(be)->fd, name, value, size, flags));
}

static int file_removexattr(struct cmfs_backend *be, const char *name)
{
	return cmfs_host_result(fremovexattr(to_file(be)->fd, name));
}

static ssize_t file_listxattr(struct cmfs_backend *be, char *list, size_t size)
{
	ssize_t n = flistxattr(to_file(be)->fd, list, size);

	return n < 0 ? -errno : n;
}

static const struct cmfs_backend_meta_ops file_meta_ops = {
	.chmod = file_chmod,
	.chown = file_chown,
	.utimens = file_utimens,
	.statvfs = file_statvfs,
	.getxattr = file_getxattr,
	.setxattr = file_setxattr,
	.removexattr = file_removexattr,
	.listxattr = file_listxattr,
};

static const struct cmfs_backend_ops file_ops = {
	.name = "file",
	.fua = CMFS_FUA_NATIVE,
	.meta = &file_meta_ops,
	.reopen = file_reopen,
	.close = file_close,
	.read = file_read,
	.read_list = file_read_list,
	.write = file_write,
	.write_exact = file_write_exact,
	.flush = file_flush,
	.check = file_check,
	.size = file_size,
	.getattr = file_getattr,
	.truncate = file_truncate,
	.allocate = file_allocate,
	.seek = file_seek,
	.copy = file_copy,
	.host_fd = file_host_fd,
	.wait_others = file_wait_others,
	.set_sync = file_set_sync,
	.finish_sync = file_finish_sync,
	.drop_cache = file_drop_cache,
};
