// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An export of an NBD server.
 *
 * The mode's meaning becomes FUA and FLUSH (nbd_caps.c has the table), which the server
 * answers for: what lies below it, a cache of its host's included, is its business.
 * Nothing is cached on our side, so direct (P6) holds by itself.
 *
 * The size is the export's and does not change, as with a device. Openings of one export
 * share its connections (nbd_pool.c): a reopening asks the server for nothing.
 */
#include "cmfs/nbd.h"
#include "nbd_caps.h"
#include "nbd_pool.h"

#include <errno.h>
#include <libnbd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Requests for zeroes and for extents move no data, but servers have their limits. */
#define MAX_ZERO   (32U * 1024 * 1024)
#define MAX_EXTENT (1U << 30)

struct nbd_backend {
	struct cmfs_backend base;
	struct cmfs_nbd_pool *pool;
	struct cmfs_nbd_plan plan;
	uint32_t max; /* longest request for data, in bytes */
	struct timespec opened;
	_Atomic int64_t written; /* seconds since the epoch; 0: never */
};

static struct nbd_backend *to_nbd(struct cmfs_backend *be)
{
	return (struct nbd_backend *)be;
}

static const struct cmfs_nbd_caps *caps_of(struct cmfs_backend *be)
{
	return cmfs_nbd_pool_caps(to_nbd(be)->pool);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- open, reopen, close ---- */

static const struct cmfs_backend_ops nbd_ops[];

/* Takes @pool over, on failure too. */
static int open_pool(struct cmfs_nbd_pool *pool, const struct cmfs_open_how *how,
		     struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct nbd_backend *n = calloc(1, sizeof(*n));
	struct cmfs_err why;
	int r;

	if (!n) {
		r = cmfs_err_set(&why, -ENOMEM, "out of memory");
		goto fail;
	}
	r = cmfs_nbd_make_plan(cmfs_nbd_pool_caps(pool), how, &n->plan, &why);
	if (r == 0)
		r = cmfs_nbd_make_geometry(cmfs_nbd_pool_caps(pool), &n->base.geo, &n->max, &why);
	if (r < 0)
		goto fail;
	n->base.ops = &nbd_ops[n->plan.fua];
	n->base.how = *how;
	n->pool = pool;
	clock_gettime(CLOCK_REALTIME, &n->opened);
	*ret = &n->base;
	return 0;
fail:
	cmfs_err_set(err, r, "%s: %s", cmfs_nbd_pool_name(pool), why.msg);
	cmfs_nbd_pool_unref(pool);
	free(n);
	return r;
}

int cmfs_backend_nbd_open(const struct cmfs_nbd_source *source, const struct cmfs_open_how *how,
			  struct cmfs_backend **ret, struct cmfs_err *err)
{
	const char *name = source->name	 ? source->name
			   : source->uri ? source->uri
					 : source->socket_path;
	struct cmfs_nbd_pool *pool;
	struct cmfs_err why;
	int r = source->uri ? cmfs_nbd_uri_check(source->uri, err) : 0;

	if (r < 0)
		return r;
	r = cmfs_nbd_pool_open(source, &pool, &why);
	if (r < 0)
		return cmfs_err_set(err, r, "%s: cannot connect: %s", name, why.msg);
	return open_pool(pool, how, ret, err);
}

static int nbd_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
		      struct cmfs_backend **ret, struct cmfs_err *err)
{
	int r = open_pool(cmfs_nbd_pool_ref(to_nbd(be)->pool), how, ret, err);

	/*
	 * The commit of an overlay: it alone writes, and after one that failed writes all of it
	 * again. Other writers follow upon writers, and what they lost stays lost (P5).
	 */
	if (r == 0 && be->how.readonly && !how->readonly)
		cmfs_nbd_pool_start_over(to_nbd(be)->pool);
	if (r == 0) {
		to_nbd(*ret)->opened = to_nbd(be)->opened;
		atomic_store(&to_nbd(*ret)->written, atomic_load(&to_nbd(be)->written));
	}
	return r;
}

static void nbd_backend_close(struct cmfs_backend *be)
{
	cmfs_nbd_pool_unref(to_nbd(be)->pool);
	free(be);
}

/* ---- data ---- */

static int nbd_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct nbd_backend *n = to_nbd(be);
	uint64_t size = caps_of(be)->size;
	size_t done = 0;
	int r = 0;

	len = off < size ? min_u64(len, size - off) : 0;
	while (done < len && r == 0) {
		struct cmfs_nbd_command command = {
			.op = CMFS_NBD_READ,
			.buf = (char *)buf + done,
			.off = off + done,
			.len = min_u64(len - done, n->max),
		};

		r = cmfs_nbd_pool_run(n->pool, &command);
		done += command.len;
	}
	*ret_len = done;
	return r;
}

/* One command that changes something, as durable as it has to be. */
static int change(struct nbd_backend *n, struct cmfs_nbd_command *command,
		  enum cmfs_durability durability)
{
	bool durable = durability != CMFS_VOLATILE || n->base.how.dsync;
	int r;

	if (n->plan.always_fua || (durable && n->plan.fua == CMFS_FUA_NATIVE)) {
		command->flags |= LIBNBD_CMD_FLAG_FUA;
		r = cmfs_nbd_pool_run(n->pool, command);
	} else if (durable) {
		r = cmfs_nbd_pool_change_and_flush(n->pool, command);
	} else {
		r = cmfs_nbd_pool_change(n->pool, command);
	}
	atomic_store_explicit(&n->written, time(NULL), memory_order_relaxed);
	return r;
}

static int nbd_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability durability)
{
	struct nbd_backend *n = to_nbd(be);
	int r = 0;

	for (size_t done = 0; done < len && r == 0;) {
		struct cmfs_nbd_command command = {
			.op = CMFS_NBD_WRITE,
			.buf = (char *)buf + done,
			.off = off + done,
			.len = min_u64(len - done, n->max),
		};

		r = change(n, &command, durability);
		done += command.len;
	}
	return r;
}

/* One block, of which [off, off + len) is new; @buf NULL: zeroes. */
static int rewrite_block(struct cmfs_backend *be, const char *buf, size_t len, uint64_t off,
			 enum cmfs_durability durability)
{
	const uint32_t align = be->geo.align;
	uint64_t start = off - off % align;
	char *block = malloc(align);
	size_t got;
	int r;

	if (!block)
		return -ENOMEM;
	r = nbd_read(be, block, align, start, &got);
	if (r == 0) {
		if (buf)
			memcpy(block + (off - start), buf, len);
		else
			memset(block + (off - start), 0, len);
		r = nbd_write(be, block, align, start, durability);
	}
	free(block);
	return r;
}

/*
 * No end of the content cuts a block here, so it is not needed for what its contract
 * names; it comes from layers that write what they kept.
 */
static int nbd_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			   enum cmfs_durability durability)
{
	const uint32_t align = be->geo.align;
	const char *p = buf;
	int r = 0;

	while (len > 0 && r == 0) {
		uint64_t skip = off % align, chunk = min_u64(len, align - skip);

		if (skip == 0 && len >= align) {
			chunk = len - len % align;
			r = nbd_write(be, p, chunk, off, durability);
		} else {
			r = rewrite_block(be, p, chunk, off, durability);
		}
		p += chunk;
		off += chunk;
		len -= chunk;
	}
	return r;
}

static int nbd_backend_flush(struct cmfs_backend *be, bool datasync)
{
	struct nbd_backend *n = to_nbd(be);

	if (n->plan.send_flush)
		return cmfs_nbd_pool_flush(n->pool);
	return n->plan.always_fua || be->how.readonly ? 0 : -EOPNOTSUPP;
}

static int nbd_check(struct cmfs_backend *be)
{
	return cmfs_nbd_pool_check(to_nbd(be)->pool);
}

/* ---- size and space ---- */

static int nbd_size(struct cmfs_backend *be, uint64_t *ret)
{
	*ret = caps_of(be)->size;
	return 0;
}

/* Whole blocks. */
static int zero_blocks(struct nbd_backend *n, uint64_t off, uint64_t len, uint32_t flags)
{
	uint64_t max = MAX_ZERO - MAX_ZERO % n->base.geo.align;
	int r = 0;

	for (uint64_t done = 0; done < len && r == 0;) {
		struct cmfs_nbd_command command = {
			.op = CMFS_NBD_ZERO,
			.flags = flags,
			.off = off + done,
			.len = min_u64(len - done, max),
		};

		r = change(n, &command, CMFS_VOLATILE);
		done += command.len;
	}
	return r;
}

/*
 * Both are NBD_CMD_WRITE_ZEROES, of which only NO_HOLE says whether the server may give
 * the space back; NBD_CMD_TRIM promises no zeroes. Nothing reserves space.
 */
static int nbd_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size, uint64_t off,
			uint64_t len)
{
	static const uint32_t flags[] = {
		[CMFS_ALLOC_PUNCH] = 0,
		[CMFS_ALLOC_ZERO] = LIBNBD_CMD_FLAG_NO_HOLE,
	};
	const uint32_t align = be->geo.align;
	uint64_t end = off + len, first, last;
	int r = 0;

	if (what == CMFS_ALLOC_ALLOCATE || !caps_of(be)->zero)
		return -EOPNOTSUPP;
	first = off + (align - off % align) % align;
	last = end - end % align;
	if (first > last) /* inside one block */
		return rewrite_block(be, NULL, end - off, off, CMFS_VOLATILE);
	if (off < first)
		r = rewrite_block(be, NULL, first - off, off, CMFS_VOLATILE);
	if (r == 0 && first < last)
		r = zero_blocks(to_nbd(be), first, last - first, flags[what]);
	if (r == 0 && last < end)
		r = rewrite_block(be, NULL, end - last, last, CMFS_VOLATILE);
	return r;
}

static int nbd_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	const uint32_t align = be->geo.align;
	uint64_t size = caps_of(be)->size, pos = off - off % align;

	if (off >= size)
		return -ENXIO;
	if (!caps_of(be)->block_status) {
		*ret = whence == CMFS_SEEK_DATA ? off : size;
		return 0;
	}
	while (pos < size) {
		struct cmfs_nbd_command command = {
			.op = CMFS_NBD_BLOCK_STATUS,
			.off = pos,
			.len = min_u64(size - pos, MAX_EXTENT),
		};
		struct cmfs_nbd_extents extents = { .entries = command.entries };
		int r = cmfs_nbd_pool_run(to_nbd(be)->pool, &command);

		if (r < 0)
			return r;
		extents.count = command.entry_count;
		r = cmfs_nbd_seek_extents(&extents, whence, pos, &pos);
		if (r < 0)
			return r;
		if (r > 0)
			break;
	}
	if (pos >= size && whence == CMFS_SEEK_DATA)
		return -ENXIO;
	pos = min_u64(pos, size);
	*ret = pos > off ? pos : off;
	return 0;
}

/* ---- metadata ---- */

/* As a file of the one who mounts, with what times there are. */
static int nbd_getattr(struct cmfs_backend *be, struct stat *ret)
{
	struct nbd_backend *n = to_nbd(be);
	const struct cmfs_nbd_caps *caps = caps_of(be);
	time_t written = atomic_load_explicit(&n->written, memory_order_relaxed);

	*ret = (struct stat){
		.st_mode = S_IFREG | (be->how.readonly ? 0400 : 0600),
		.st_nlink = 1,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_size = (off_t)caps->size,
		.st_blocks = (blkcnt_t)(caps->size / 512),
		.st_blksize = caps->preferred_block ? (blksize_t)caps->preferred_block : 4096,
		.st_atim = n->opened,
		.st_mtim = written ? (struct timespec){ .tv_sec = written } : n->opened,
	};
	ret->st_ctim = ret->st_mtim;
	return 0;
}

static int nbd_statvfs(struct cmfs_backend *be, struct statvfs *ret)
{
	*ret = (struct statvfs){
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = caps_of(be)->size / 4096,
		.f_files = 1,
		.f_namemax = 255,
	};
	return 0;
}

static const struct cmfs_backend_meta_ops nbd_meta_ops = {
	.statvfs = nbd_statvfs,
};

#define OPS(grade)                                                                                 \
	{                                                                                          \
		.name = "nbd", .fua = grade, .meta = &nbd_meta_ops, .reopen = nbd_reopen,          \
		.close = nbd_backend_close, .read = nbd_read, .write = nbd_write,                  \
		.write_exact = nbd_write_exact, .flush = nbd_backend_flush, .check = nbd_check,    \
		.size = nbd_size, .getattr = nbd_getattr, .allocate = nbd_allocate,                \
		.seek = nbd_seek,                                                                  \
	}

static const struct cmfs_backend_ops nbd_ops[] = {
	[CMFS_FUA_NATIVE] = OPS(CMFS_FUA_NATIVE),
	[CMFS_FUA_FLUSH] = OPS(CMFS_FUA_FLUSH),
};
