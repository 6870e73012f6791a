/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_BACKEND_H
#define CMFS_BACKEND_H

#include "cmfs/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

/*
 * Backends: where an image's bytes live.
 *
 * A backend is a struct of functions. The layers above call it only through the
 * cmfs_backend_*() wrappers, which assert the contract before and after: a
 * broken contract is a bug of ours, never a user's input.
 *
 * One struct cmfs_backend is one *opening* of the place: its properties
 * (struct cmfs_open_how) never change. A live switch opens a second one on the
 * same place with ops->reopen(), moves over to it and closes the first.
 *
 * Threads: every function but close may be called by any number of threads at
 * the same time. Overlapping requests are the caller's business.
 *
 * Errors: 0 or -errno. Writes are all-or-error: after an error any part of the
 * request may have been done. Reads are all-or-error up to the end of the
 * content: only there may they be short.
 */

/* How strongly an operation must be on stable storage before it returns. */
enum cmfs_durability {
	CMFS_VOLATILE,	   /* a later flush makes it durable */
	CMFS_DURABLE_DATA, /* as O_DSYNC: the data and what is needed to read it back */
	CMFS_DURABLE_ALL,  /* as O_SYNC: timestamps too */
};

struct cmfs_open_how {
	bool readonly;
	bool direct;   /* no host page cache (P6) */
	bool dsync;    /* every write at least CMFS_DURABLE_DATA (P1) */
	bool no_flush; /* nobody will flush, so nothing need be able to (P3) */
};

/* How requests reach the host; QEMU's aio=. */
enum cmfs_aio {
	CMFS_AIO_THREADS,  /* preadv2(2) and pwritev2(2) of the calling thread */
	CMFS_AIO_NATIVE,   /* libaio */
	CMFS_AIO_IO_URING, /* liburing */
	CMFS_AIOS,
};

/* Whether QEMU's locks are taken on the host file (P8); QEMU's locking=. */
enum cmfs_locking {
	CMFS_LOCKING_AUTO, /* where the host can */
	CMFS_LOCKING_ON,   /* or fail */
	CMFS_LOCKING_OFF,
};

/* What stays the same over all openings of a place on the host. */
struct cmfs_host_options {
	enum cmfs_aio aio;
	enum cmfs_locking locking;
};

/* What the backend demands of requests; fixed while it is open. */
struct cmfs_geometry {
	uint32_t align;	    /* offsets and lengths: bytes, power of two; 1: anything goes */
	uint32_t mem_align; /* buffer addresses: bytes, power of two */
	/*
	 * write_exact() may rewrite its neighbourhood up to multiples of this
	 * many bytes: the caller keeps other writes out of it meanwhile.
	 */
	uint32_t exact_block;
	/*
	 * The content is as long as the place is (a block device, an export): no request
	 * changes its size, and none that would reaches the backend. The same for all
	 * openings of the place; that it is another size later on is still possible.
	 */
	bool fixed_size;
};

/* Can one write be durable by itself (FUA), or only by a flush behind it? */
enum cmfs_fua {
	CMFS_FUA_EMULATE, /* the wrapper sends the write, then a flush */
	CMFS_FUA_NATIVE,  /* ops->write() takes a durability */
	CMFS_FUA_FLUSH,	  /* the same, but its way is a flush of its own behind the write */
};

enum cmfs_alloc {
	CMFS_ALLOC_ALLOCATE, /* reserve space; content stays */
	CMFS_ALLOC_PUNCH,    /* deallocate; reads give zeroes */
	CMFS_ALLOC_ZERO,     /* reads give zeroes, space stays reserved */
};

enum cmfs_seek {
	CMFS_SEEK_DATA,
	CMFS_SEEK_HOLE,
};

/* One of several reads that may run side by side. */
struct cmfs_read {
	void *buf;
	size_t len;
	uint64_t off;
	size_t got; /* bytes; less than @len only at the end of the content */
};

/* Of them, this many at a time at most. */
#define CMFS_READ_LIST_MAX 16

struct cmfs_backend;

/* Metadata that only a place with an inode has; any member may be NULL. */
struct cmfs_backend_meta_ops {
	int (*chmod)(struct cmfs_backend *be, mode_t mode);
	int (*chown)(struct cmfs_backend *be, uid_t uid, gid_t gid); /* (uid_t)-1: keep */
	int (*utimens)(struct cmfs_backend *be, const struct timespec times[2]);
	int (*statvfs)(struct cmfs_backend *be, struct statvfs *ret);
	/* As fgetxattr(2), fsetxattr(2), flistxattr(2); >= 0 is a size in bytes. */
	ssize_t (*getxattr)(struct cmfs_backend *be, const char *name, void *value, size_t size);
	int (*setxattr)(struct cmfs_backend *be, const char *name, const void *value, size_t size,
			int flags);
	int (*removexattr)(struct cmfs_backend *be, const char *name);
	ssize_t (*listxattr)(struct cmfs_backend *be, char *list, size_t size);
};

struct cmfs_backend_ops {
	const char *name;
	enum cmfs_fua fua;
	const struct cmfs_backend_meta_ops *meta; /* may be NULL */

	/*
	 * Open the same place once more, differently. Must not disturb @be (but see
	 * reopen_last), and must reach the same content even if its name now leads
	 * elsewhere.
	 */
	int (*reopen)(struct cmfs_backend *be, const struct cmfs_open_how *how,
		      struct cmfs_backend **ret, struct cmfs_err *err);

	/* Close and free. Flushes nothing. No other call is in flight. */
	void (*close)(struct cmfs_backend *be);

	/* @off, @len aligned; @ret_len < @len only at the end of the content. */
	int (*read)(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len);

	/* Optional: each as by read(), side by side where that can be; 0 or the first's error. */
	int (*read_list)(struct cmfs_backend *be, struct cmfs_read *reads, size_t count);

	/* @off, @len aligned. Grows the content when it ends beyond it. */
	int (*write)(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability durability);

	/*
	 * Write at any alignment, and end the content at exactly off + len when
	 * that grows it: never rounded, not even for a moment (P9). May pass
	 * through a host cache but leaves nothing there (P6). Used for blocks
	 * that the end of the content cuts; needed unless align is 1.
	 */
	int (*write_exact)(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			   enum cmfs_durability durability);

	/* All changes acknowledged before become durable; see fdatasync(2), fsync(2). */
	int (*flush)(struct cmfs_backend *be, bool datasync);

	/*
	 * Optional: has an acknowledged change failed that no flush reported yet?
	 * Asked before an opening is closed that was not flushed. Starts no I/O.
	 */
	int (*check)(struct cmfs_backend *be);

	/*
	 * Optional: pass on to the place below what the backend holds back itself,
	 * without a flush. Asked before the last opening of a place is closed.
	 */
	int (*write_out)(struct cmfs_backend *be);

	int (*size)(struct cmfs_backend *be, uint64_t *ret);
	int (*getattr)(struct cmfs_backend *be, struct stat *ret);
	int (*truncate)(struct cmfs_backend *be, uint64_t size); /* not if geo.fixed_size */

	/* @keep_size: do not grow the content. -EOPNOTSUPP where not possible. */
	int (*allocate)(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size, uint64_t off,
			uint64_t len);

	/* As lseek(2) SEEK_DATA/SEEK_HOLE; -ENXIO at or past the end. */
	int (*seek)(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret);

	/*
	 * Optional: copy inside the place or between two of the same ops without
	 * moving the bytes through us; may do less than asked. -EOPNOTSUPP,
	 * -EXDEV or -EINVAL: the caller copies by reading and writing.
	 */
	int (*copy)(struct cmfs_backend *src, uint64_t src_off, struct cmfs_backend *dst,
		    uint64_t dst_off, size_t len, size_t *ret_len);

	/*
	 * Optional: a descriptor of the place itself, for kernel passthrough; it
	 * stays the backend's. -EOPNOTSUPP where there is none.
	 */
	int (*host_fd)(struct cmfs_backend *be);

	/*
	 * Optional: wait for writes to the place past us that are in flight and that
	 * nobody else keeps out of a write_exact().
	 */
	int (*wait_others)(struct cmfs_backend *be);

	/*
	 * Optional: have each write that reaches the place past us be durable
	 * before it returns (@on), or as its writer asked (not @on, also to clear
	 * what a killed process left). When it returns 0 for @on, no write is in
	 * flight that is not. Never undoes what others set.
	 */
	int (*set_sync)(struct cmfs_backend *be, bool on);

	/*
	 * Optional, and only close() may follow: set_sync() off, if nobody has the
	 * place open for writing any more. -EBUSY if somebody has.
	 */
	int (*finish_sync)(struct cmfs_backend *be);

	/* Optional: drop what host caches hold of the content (all of it clean). */
	void (*drop_cache)(struct cmfs_backend *be);
};

/* Embedded first by every backend. */
struct cmfs_backend {
	const struct cmfs_backend_ops *ops;
	struct cmfs_open_how how;
	struct cmfs_geometry geo;
	const char *notice; /* what its user should be told; static; NULL: nothing */
	/*
	 * The place can be open in one way only: ops->reopen() changes that for all its
	 * openings, which wait meanwhile. So a switch does it last, drained and flushed:
	 * nothing behind it fails. When reopen() itself fails, all is as before, or
	 * check() says that it is not.
	 */
	bool reopen_last;
};

/* The checked wrappers: contracts as at the members above. */
int cmfs_backend_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
			struct cmfs_backend **ret, struct cmfs_err *err);
void cmfs_backend_close(struct cmfs_backend *be); /* NULL is fine */
int cmfs_backend_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off,
		      size_t *ret_len);
int cmfs_backend_read_list(struct cmfs_backend *be, struct cmfs_read *reads, size_t count);
int cmfs_backend_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		       enum cmfs_durability durability);
int cmfs_backend_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			     enum cmfs_durability durability);
int cmfs_backend_flush(struct cmfs_backend *be, bool datasync);
int cmfs_backend_check(struct cmfs_backend *be);
int cmfs_backend_write_out(struct cmfs_backend *be);
int cmfs_backend_size(struct cmfs_backend *be, uint64_t *ret);
int cmfs_backend_getattr(struct cmfs_backend *be, struct stat *ret);
int cmfs_backend_truncate(struct cmfs_backend *be, uint64_t size);
int cmfs_backend_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			  uint64_t off, uint64_t len);
int cmfs_backend_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret);
int cmfs_backend_copy(struct cmfs_backend *src, uint64_t src_off, struct cmfs_backend *dst,
		      uint64_t dst_off, size_t len, size_t *ret_len);
int cmfs_backend_wait_others(struct cmfs_backend *be);
int cmfs_backend_set_sync(struct cmfs_backend *be, bool on);
int cmfs_backend_finish_sync(struct cmfs_backend *be);
void cmfs_backend_drop_cache(struct cmfs_backend *be);

/**
 * cmfs_backend_file_open() - a regular file as backend.
 * @path: host path; the file must exist.
 * @options: kept for what is reopened from it; NULL: the defaults.
 * @err: filled on failure.
 *
 * Errors: those of open(2); -EOPNOTSUPP where @how asks for direct and the host
 * file system has no O_DIRECT (P10); -EISDIR, -EINVAL for other kinds of file; those of
 * the lock (P8, core/host_lock.h), -EBUSY above all. It is for reopen() for writing, too,
 * where all openings before were for reading.
 * Source of the semantics: open(2), PROMISES' table of host open flags.
 */
int cmfs_backend_file_open(const char *path, const struct cmfs_open_how *how,
			   const struct cmfs_host_options *options, struct cmfs_backend **ret,
			   struct cmfs_err *err);

/**
 * cmfs_backend_blkdev_open() - a block device as backend. Arguments as above.
 *
 * For writing, it is claimed (O_EXCL) until the last of its openings is closed.
 *
 * Errors: those of open(2); -EBUSY if somebody else has a claim, as a mount has;
 * -ENOTBLK for other kinds of file; -ENOMEDIUM, -EROFS, -EOPNOTSUPP for devices of no
 * size, write-protected and zoned ones.
 */
int cmfs_backend_blkdev_open(const char *path, const struct cmfs_open_how *how,
			     const struct cmfs_host_options *options, struct cmfs_backend **ret,
			     struct cmfs_err *err);

#endif
