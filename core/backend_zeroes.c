// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The layer that makes writes of zeroes into what leaves a hole (backend_zeroes.h).
 *
 * Only whole pages of a write are, which a host makes zeroes without touching what is
 * beside them: a write's range is not locked against others' (core/align.c). What is left
 * at both ends is written. A hole cannot move the end of the content, so the last page of
 * a write that grows is written, too, if it is to leave a hole.
 *
 * A write that must be durable ends with a flush then, as O_DSYNC does not cover
 * fallocate(2) (P1).
 */
#include "backend_zeroes.h"

#include "backend_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is less has no space to give back. */
#define PAGE 4096

struct zeroes_backend {
	struct cmfs_filter filter;
	bool unmap;
};

static bool is_zero(const char *buf, size_t len)
{
	static const char zeroes[64];

	if (len <= sizeof(zeroes))
		return memcmp(buf, zeroes, len) == 0;
	/* Where it begins with zeroes and is the same further on, it goes on with them. */
	return memcmp(buf, zeroes, sizeof(zeroes)) == 0 &&
	       memcmp(buf, buf + sizeof(zeroes), len - sizeof(zeroes)) == 0;
}

static uint64_t page_of(const struct cmfs_backend *be)
{
	return be->geo.exact_block > PAGE ? be->geo.exact_block : PAGE;
}

/* @zeroes: the write's own buffer, and so as aligned as need be. */
static int write_part(struct cmfs_backend *below, const void *zeroes, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	return cmfs_backend_write(below, zeroes, end - start, start, CMFS_VOLATILE);
}

/* -EOPNOTSUPP: it is to be written. */
static int write_zeroes(struct cmfs_backend *be, const void *zeroes, size_t len, uint64_t off)
{
	struct cmfs_backend *below = cmfs_filter_below(be);
	bool unmap = ((struct zeroes_backend *)be)->unmap;
	const uint64_t page = page_of(be), end = off + len;
	uint64_t start = (off + page - 1) / page * page, stop = end / page * page, size;
	int r = cmfs_backend_size(below, &size);

	if (r < 0)
		return r;
	if (unmap && stop == end && end > size)
		stop -= page;
	if (start >= stop)
		return -EOPNOTSUPP;
	r = cmfs_backend_allocate(below, unmap ? CMFS_ALLOC_PUNCH : CMFS_ALLOC_ZERO, unmap, start,
				  stop - start);
	if (r == 0)
		r = write_part(below, zeroes, off, start);
	if (r == 0)
		r = write_part(below, zeroes, stop, end);
	return r;
}

/* Where the wrapper above sends the flush, none is due here. */
static enum cmfs_durability due(const struct cmfs_backend *be, enum cmfs_durability durability)
{
	if (be->ops->fua == CMFS_FUA_EMULATE)
		return CMFS_VOLATILE;
	return be->how.dsync && durability == CMFS_VOLATILE ? CMFS_DURABLE_DATA : durability;
}

static int zeroes_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			enum cmfs_durability durability)
{
	struct cmfs_backend *below = cmfs_filter_below(be);
	int r = -EOPNOTSUPP;

	durability = due(be, durability);
	if (len >= PAGE && is_zero(buf, len))
		r = write_zeroes(be, buf, len, off);
	if (r == -EOPNOTSUPP)
		return cmfs_backend_write(below, buf, len, off, durability);
	if (r == 0 && durability != CMFS_VOLATILE)
		r = cmfs_backend_flush(below, durability == CMFS_DURABLE_DATA);
	return r;
}

/* The block that the end of the content cuts: less than a page. */
static int zeroes_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			      enum cmfs_durability durability)
{
	return cmfs_backend_write_exact(cmfs_filter_below(be), buf, len, off, due(be, durability));
}

static int zeroes_flush(struct cmfs_backend *be, bool datasync)
{
	return cmfs_backend_flush(cmfs_filter_below(be), datasync);
}

static int zeroes_truncate(struct cmfs_backend *be, uint64_t size)
{
	return cmfs_backend_truncate(cmfs_filter_below(be), size);
}

static int zeroes_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			   uint64_t off, uint64_t len)
{
	return cmfs_backend_allocate(cmfs_filter_below(be), what, keep_size, off, len);
}

/* ---- open, reopen, close ---- */

static int zeroes_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
			 struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct cmfs_backend *below;
	int r = cmfs_backend_reopen(cmfs_filter_below(be), how, &below, err);

	if (r < 0)
		return r;
	r = cmfs_backend_zeroes_open(below, ((struct zeroes_backend *)be)->unmap, ret, err);
	if (r < 0)
		cmfs_backend_close(below);
	return r;
}

static void zeroes_close(struct cmfs_backend *be)
{
	cmfs_backend_close(cmfs_filter_below(be));
	free(be);
}

#define OPS(fua_grade)                                                                             \
	{                                                                                          \
		.name = "zeroes", .fua = fua_grade, .meta = &cmfs_filter_meta_ops,                 \
		.reopen = zeroes_reopen, .close = zeroes_close, .read = cmfs_filter_read,          \
		.write = zeroes_write, .write_exact = zeroes_write_exact, .flush = zeroes_flush,   \
		.check = cmfs_filter_check, .write_out = cmfs_filter_write_out,                    \
		.size = cmfs_filter_size, .getattr = cmfs_filter_getattr,                          \
		.truncate = zeroes_truncate, .allocate = zeroes_allocate,                          \
		.seek = cmfs_filter_seek, .set_sync = cmfs_filter_set_sync,                        \
		.drop_cache = cmfs_filter_drop_cache,                                              \
	}

/* By what they are below. */
static const struct cmfs_backend_ops zeroes_ops[] = {
	[CMFS_FUA_EMULATE] = OPS(CMFS_FUA_EMULATE),
	[CMFS_FUA_NATIVE] = OPS(CMFS_FUA_FLUSH), /* some are, from here on */
	[CMFS_FUA_FLUSH] = OPS(CMFS_FUA_FLUSH),
};

int cmfs_backend_zeroes_open(struct cmfs_backend *below, bool unmap, struct cmfs_backend **ret,
			     struct cmfs_err *err)
{
	struct zeroes_backend *z = malloc(sizeof(*z));

	if (!z)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*z = (struct zeroes_backend){
		.filter = { .base = cmfs_filter_base(&zeroes_ops[below->ops->fua], below),
			    .below = below },
		.unmap = unmap,
	};
	*ret = &z->filter.base;
	return 0;
}
