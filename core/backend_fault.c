// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The layer that lets faults happen (fault.h): it asks the rules before each
 * operation, waits if they say so, and fails the operation or passes it on.
 *
 * A write that must be durable is one operation if the backend below can do that
 * by itself. If not, this layer cannot either, and the checked wrapper above sends
 * a flush behind the write, which the rules then see.
 */
#include "backend_filter.h"
#include "cmfs/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fault_backend {
	struct cmfs_filter filter;
	struct cmfs_faults *faults; /* a reference */
};

static struct cmfs_faults *faults_of(struct cmfs_backend *be)
{
	return ((struct fault_backend *)be)->faults;
}

static void sleep_us(uint64_t us)
{
	struct timespec left = { .tv_sec = (time_t)(us / 1000000), .tv_nsec = us % 1000000 * 1000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* Returns the error that the operation is to fail with, or 0. */
static int suffer(struct cmfs_backend *be, enum cmfs_fault_op op, uint64_t off, uint64_t len)
{
	struct cmfs_fault_verdict verdict = cmfs_faults_ask(faults_of(be), op, off, len);

	if (verdict.delay_us > 0)
		sleep_us(verdict.delay_us);
	return verdict.error;
}

static int fault_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
			struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct cmfs_backend *below;
	int r = suffer(be, CMFS_FAULT_REOPEN, 0, 0);

	if (r < 0)
		return cmfs_err_set(err, r, "cannot open it anew: %s (by a fault rule)",
				    strerror(-r));
	r = cmfs_backend_reopen(cmfs_filter_below(be), how, &below, err);
	if (r < 0)
		return r;
	r = cmfs_backend_fault_open(below, faults_of(be), ret, err);
	if (r < 0)
		cmfs_backend_close(below);
	return r;
}

static void fault_close(struct cmfs_backend *be)
{
	cmfs_backend_close(cmfs_filter_below(be));
	cmfs_faults_unref(faults_of(be));
	free(be);
}

static int fault_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	int r = suffer(be, CMFS_FAULT_READ, off, len);

	return r < 0 ? r : cmfs_backend_read(cmfs_filter_below(be), buf, len, off, ret_len);
}

static int fault_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		       enum cmfs_durability durability)
{
	int r = suffer(be, CMFS_FAULT_WRITE, off, len);

	return r < 0 ? r : cmfs_backend_write(cmfs_filter_below(be), buf, len, off, durability);
}

static int fault_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			     enum cmfs_durability durability)
{
	int r = suffer(be, CMFS_FAULT_WRITE, off, len);

	if (r < 0)
		return r;
	return cmfs_backend_write_exact(cmfs_filter_below(be), buf, len, off, durability);
}

/* Where the wrapper above sends the flush, the one below is not to send another. */
static int fault_write_volatile(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
				enum cmfs_durability durability)
{
	return fault_write(be, buf, len, off, CMFS_VOLATILE);
}

static int fault_write_exact_volatile(struct cmfs_backend *be, const void *buf, size_t len,
				      uint64_t off, enum cmfs_durability durability)
{
	return fault_write_exact(be, buf, len, off, CMFS_VOLATILE);
}

static int fault_flush(struct cmfs_backend *be, bool datasync)
{
	int r = suffer(be, CMFS_FAULT_FLUSH, 0, 0);

	return r < 0 ? r : cmfs_backend_flush(cmfs_filter_below(be), datasync);
}

static int fault_truncate(struct cmfs_backend *be, uint64_t size)
{
	int r = suffer(be, CMFS_FAULT_TRUNCATE, size, 1);

	return r < 0 ? r : cmfs_backend_truncate(cmfs_filter_below(be), size);
}

static int fault_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			  uint64_t off, uint64_t len)
{
	static const enum cmfs_fault_op ops[] = {
		[CMFS_ALLOC_ALLOCATE] = CMFS_FAULT_ALLOCATE,
		[CMFS_ALLOC_PUNCH] = CMFS_FAULT_PUNCH,
		[CMFS_ALLOC_ZERO] = CMFS_FAULT_ZERO,
	};
	int r = suffer(be, ops[what], off, len);

	return r < 0 ? r : cmfs_backend_allocate(cmfs_filter_below(be), what, keep_size, off, len);
}

static int fault_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	int r = suffer(be, CMFS_FAULT_SEEK, off, 1);

	return r < 0 ? r : cmfs_backend_seek(cmfs_filter_below(be), whence, off, ret);
}

#define OPS(fua_grade, write_op, write_exact_op)                                                   \
	{                                                                                          \
		.name = "fault", .fua = fua_grade, .meta = &cmfs_filter_meta_ops,                  \
		.reopen = fault_reopen, .close = fault_close, .read = fault_read,                  \
		.write = write_op, .write_exact = write_exact_op, .flush = fault_flush,            \
		.check = cmfs_filter_check, .write_out = cmfs_filter_write_out,                    \
		.size = cmfs_filter_size, .getattr = cmfs_filter_getattr,                          \
		.truncate = fault_truncate, .allocate = fault_allocate, .seek = fault_seek,        \
		.set_sync = cmfs_filter_set_sync, .drop_cache = cmfs_filter_drop_cache,            \
	}

static const struct cmfs_backend_ops fault_ops[] = {
	[CMFS_FUA_EMULATE] =
		OPS(CMFS_FUA_EMULATE, fault_write_volatile, fault_write_exact_volatile),
	[CMFS_FUA_NATIVE] = OPS(CMFS_FUA_NATIVE, fault_write, fault_write_exact),
	[CMFS_FUA_FLUSH] = OPS(CMFS_FUA_FLUSH, fault_write, fault_write_exact),
};

int cmfs_backend_fault_open(struct cmfs_backend *below, struct cmfs_faults *faults,
			    struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct fault_backend *f = malloc(sizeof(*f));

	if (!f)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*f = (struct fault_backend){
		.filter = { .base = cmfs_filter_base(&fault_ops[below->ops->fua], below),
			    .below = below },
		.faults = cmfs_faults_ref(faults),
	};
	*ret = &f->filter.base;
	return 0;
}
