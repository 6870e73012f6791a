// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest content of an image that is not raw: a qemu-nbd process reads and writes
 * the format, and we are its NBD client.
 *
 * The modes. Whether the host's page cache is bypassed is settled when qemu-nbd opens
 * the image (--cache=none or writeback). All else comes with the requests: a durable
 * write carries FUA, a flush is a FLUSH, and in unsafe there are none. So all openings
 * of an image share one qemu-nbd (qemu_place.c), and most switches leave it alone.
 *
 * A switch between direct and not needs another one, and the old one has to be gone
 * before that opens the image. Requests wait meanwhile; as starting it may fail, it is
 * the last thing that a switch does (reopen_last, backend.h).
 *
 * Metadata is the image file's own. Each opening has one of that file beside it, too,
 * which knows whether O_DIRECT is to be had, and drops its pages.
 */
#include "backend_qemu.h"

#include "backend_filter.h"
#include "qemu_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct qemu_backend {
	struct cmfs_filter filter;     /* below: the image's own bytes, read-only */
	struct cmfs_qemu_place *place; /* a reference */
};

static struct qemu_backend *to_qemu(struct cmfs_backend *be)
{
	return (struct qemu_backend *)be;
}

static const struct cmfs_backend_ops qemu_ops;

/* ---- open, reopen, close ---- */

/* Without a place yet. */
static struct qemu_backend *create_opening(struct cmfs_backend *host,
					   const struct cmfs_open_how *how)
{
	struct qemu_backend *q = malloc(sizeof(*q));

	if (q) {
		*q = (struct qemu_backend){
			.filter = { .base = cmfs_filter_base(&qemu_ops, host), .below = host },
		};
		q->filter.base.how = *how;
		q->filter.base.reopen_last = true;
	}
	return q;
}

/* P6: what others wrote to the image is on disk, so that its pages can be dropped. */
static int flush_host(struct cmfs_backend *host, const char *name, const struct cmfs_open_how *how,
		      struct cmfs_err *err)
{
	int r = how->direct && !how->readonly ? cmfs_backend_flush(host, true) : 0;

	return r < 0 ? cmfs_err_set(err, r, "%s: cannot flush what is in the host's cache: %s",
				    name, strerror(-r))
		     : 0;
}

int cmfs_backend_qemu_open(const struct cmfs_qemu_nbd_spec *spec, const char *name,
			   struct cmfs_backend *host, const struct cmfs_open_how *how,
			   struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct qemu_backend *q = create_opening(host, how);
	int r;

	if (!q)
		return cmfs_err_set(err, -ENOMEM, "%s: out of memory", name);
	r = flush_host(host, name, how, err);
	if (r == 0)
		r = cmfs_qemu_place_open(spec, name, how, &q->place, err);
	if (r < 0) {
		free(q);
		return r;
	}
	q->filter.base.geo = q->place->geo;
	*ret = &q->filter.base;
	return 0;
}

static int qemu_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
		       struct cmfs_backend **ret, struct cmfs_err *err)
{
	const struct cmfs_open_how host_how = { .readonly = true, .direct = how->direct };
	struct cmfs_qemu_place *place = to_qemu(be)->place;
	struct cmfs_backend *host;
	struct qemu_backend *q;
	int r = cmfs_backend_reopen(cmfs_filter_below(be), &host_how, &host, err);

	if (r < 0)
		return r;
	q = create_opening(host, how);
	if (!q)
		r = cmfs_err_set(err, -ENOMEM, "%s: out of memory", place->name);
	if (r == 0)
		r = flush_host(host, place->name, how, err);
	if (r == 0)
		r = cmfs_qemu_place_adapt(place, host, how, err);
	if (r < 0) {
		free(q);
		cmfs_backend_close(host);
		return r;
	}
	q->place = cmfs_qemu_place_ref(place);
	q->filter.base.geo = place->geo;
	*ret = &q->filter.base;
	return 0;
}

static void qemu_close(struct cmfs_backend *be)
{
	struct cmfs_qemu_place *place = to_qemu(be)->place;

	cmfs_backend_close(cmfs_filter_below(be));
	free(be);
	cmfs_qemu_place_unref(place);
}

/* ---- data ---- */

/* Call an operation of the server's from inside the gate. */
#define SERVED(be, op, ...)                                                                        \
	({                                                                                         \
		struct cmfs_qemu_place *place = to_qemu(be)->place;                                \
		int result = -EIO;                                                                 \
                                                                                                   \
		cmfs_gate_enter(&place->gate);                                                     \
		if (place->server.nbd)                                                             \
			result = cmfs_backend_##op(place->server.nbd, ##__VA_ARGS__);              \
		cmfs_gate_leave(&place->gate);                                                     \
		result;                                                                            \
	})

static int qemu_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	return SERVED(be, read, buf, len, off, ret_len);
}

/* Our server is not open for one durability: each write says what it needs (P1). */
static enum cmfs_durability at_least(const struct cmfs_backend *be, enum cmfs_durability asked)
{
	return be->how.dsync && asked < CMFS_DURABLE_DATA ? CMFS_DURABLE_DATA : asked;
}

static int qemu_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		      enum cmfs_durability durability)
{
	return SERVED(be, write, buf, len, off, at_least(be, durability));
}

static int qemu_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			    enum cmfs_durability durability)
{
	return SERVED(be, write_exact, buf, len, off, at_least(be, durability));
}

static int qemu_flush(struct cmfs_backend *be, bool datasync)
{
	return SERVED(be, flush, datasync);
}

/* What a qemu-nbd held that ended before its time is lost. */
static int qemu_check(struct cmfs_backend *be)
{
	struct cmfs_qemu_place *place = to_qemu(be)->place;
	int r = -EIO;

	cmfs_gate_enter(&place->gate);
	if (place->server.nbd && !cmfs_qemu_nbd_has_ended(place->server.process))
		r = cmfs_backend_check(place->server.nbd);
	cmfs_gate_leave(&place->gate);
	return r;
}

/*
 * QEMU holds metadata back, and writes it out at its end without telling whether that
 * worked; a flush tells. It also flushes then itself, so there is nothing to be saved.
 */
static int qemu_write_out(struct cmfs_backend *be)
{
	int r = SERVED(be, flush, false), r2 = cmfs_qemu_place_end(to_qemu(be)->place);

	return r < 0 ? r : r2;
}

static int qemu_size(struct cmfs_backend *be, uint64_t *ret)
{
	*ret = to_qemu(be)->place->size;
	return 0;
}

static int qemu_getattr(struct cmfs_backend *be, struct stat *ret)
{
	int r = cmfs_filter_getattr(be, ret);

	if (r == 0)
		ret->st_size = (off_t)to_qemu(be)->place->size;
	return r;
}

static int qemu_truncate(struct cmfs_backend *be, uint64_t size)
{
	return SERVED(be, truncate, size);
}

static int qemu_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			 uint64_t off, uint64_t len)
{
	return SERVED(be, allocate, what, keep_size, off, len);
}

static int qemu_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	return SERVED(be, seek, whence, off, ret);
}

/* Nobody writes to the content past us. What a killed cmfs left on the file is cleared. */
static int qemu_set_sync(struct cmfs_backend *be, bool on)
{
	return on ? 0 : cmfs_filter_set_sync(be, false);
}

static const struct cmfs_backend_ops qemu_ops = {
	.name = "qemu-nbd",
	.fua = CMFS_FUA_FLUSH,
	.meta = &cmfs_filter_meta_ops,
	.reopen = qemu_reopen,
	.close = qemu_close,
	.read = qemu_read,
	.write = qemu_write,
	.write_exact = qemu_write_exact,
	.flush = qemu_flush,
	.check = qemu_check,
	.write_out = qemu_write_out,
	.size = qemu_size,
	.getattr = qemu_getattr,
	.truncate = qemu_truncate,
	.allocate = qemu_allocate,
	.seek = qemu_seek,
	.set_sync = qemu_set_sync,
	.drop_cache = cmfs_filter_drop_cache,
};
