// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The power-cut layer as a backend: what each request means to the history and to the
 * wrapped place. See cmfs/powercut.h for what it models.
 *
 * It shows the wrapped opening's geometry, and so gets the requests that the place
 * would get: what core/align.c makes of a write is cut, too.
 */
#include "powercut_private.h"
#include "time_ns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct cmfs_backend_ops powercut_ops[];

static struct cmfs_powercut_opening *to_opening(struct cmfs_backend *be)
{
	return (struct cmfs_powercut_opening *)be;
}

static struct cmfs_backend *inner_of(struct cmfs_backend *be)
{
	return to_opening(be)->inner;
}

static struct cmfs_powercut *state_of(struct cmfs_backend *be)
{
	return to_opening(be)->pc;
}

struct cmfs_powercut *cmfs_backend_powercut_state(struct cmfs_backend *be)
{
	return state_of(be);
}

/* ---- open, reopen, close ---- */

static void add_opening(struct cmfs_powercut *pc, struct cmfs_powercut_opening *o)
{
	cmfs_mutex_lock(&pc->lock);
	o->pc = pc;
	o->next = pc->openings;
	pc->openings = o;
	cmfs_mutex_unlock(&pc->lock);
}

/* Returns true if it was the last one. */
static bool remove_opening(struct cmfs_powercut_opening *o)
{
	struct cmfs_powercut_opening **at = &o->pc->openings;
	bool last;

	cmfs_mutex_lock(&o->pc->lock);
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	last = !o->pc->openings;
	cmfs_mutex_unlock(&o->pc->lock);
	return last;
}

static struct cmfs_powercut_opening *create_opening(struct cmfs_backend *inner)
{
	struct cmfs_powercut_opening *o = malloc(sizeof(*o));

	if (o)
		*o = (struct cmfs_powercut_opening){
			.base = { .ops = &powercut_ops[inner->ops->fua],
				  .how = inner->how,
				  .geo = inner->geo,
				  .reopen_last = inner->reopen_last },
			.inner = inner,
		};
	return o;
}

int cmfs_backend_powercut_open(struct cmfs_backend *inner, uint64_t memory,
			       struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct cmfs_powercut *pc;
	struct cmfs_powercut_opening *o;
	uint64_t size;
	int r = cmfs_backend_size(inner, &size);

	if (r < 0)
		return cmfs_err_set(err, r, "%s", strerror(-r));
	pc = cmfs_powercut_create(memory);
	o = create_opening(inner);
	if (!pc || !o) {
		free(o);
		if (pc)
			cmfs_powercut_destroy(pc);
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	}
	atomic_store(&pc->view.size, size);
	add_opening(pc, o);
	*ret = &o->base;
	return 0;
}

static int powercut_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
			   struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct cmfs_powercut_opening *o;
	struct cmfs_backend *inner;
	int r = cmfs_backend_reopen(inner_of(be), how, &inner, err);

	if (r < 0)
		return r;
	o = create_opening(inner);
	if (!o) {
		cmfs_backend_close(inner);
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	}
	add_opening(state_of(be), o);
	*ret = &o->base;
	return 0;
}

static int powercut_write_out(struct cmfs_backend *be)
{
	struct cmfs_powercut *pc = state_of(be);
	struct cmfs_powercut_request request = { .exclusive = true };
	int r = cmfs_powercut_enter(pc, &request);

	if (r < 0)
		return 0; /* off: there is nothing any more */
	if (pc->oldest)
		r = cmfs_history_apply(pc, inner_of(be));
	if (r == 0)
		cmfs_history_forget(pc);
	cmfs_powercut_leave(pc, &request);
	return r;
}

static void powercut_close(struct cmfs_backend *be)
{
	struct cmfs_powercut_opening *o = to_opening(be);

	if (remove_opening(o)) {
		/* Whoever wanted to know of errors has called write_out(). */
		if (o->pc->oldest && !o->base.how.readonly)
			powercut_write_out(be);
		cmfs_powercut_destroy(o->pc);
	}
	cmfs_backend_close(o->inner);
	free(o);
}

/* ---- data ---- */

static int powercut_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off,
			 size_t *ret_len)
{
	struct cmfs_powercut *pc = state_of(be);
	struct cmfs_powercut_request request = { .exclusive = false };
	int r = cmfs_powercut_enter(pc, &request);

	if (r < 0)
		return r;
	r = cmfs_view_read(&pc->view, &pc->store, inner_of(be), buf, len, off, ret_len);
	cmfs_powercut_leave(pc, &request);
	return r;
}

/* Admitted. @exact: by the wrapped backend's write_exact(). */
static int write_durably(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			 enum cmfs_durability durability, bool exact)
{
	struct cmfs_powercut *pc = state_of(be);
	struct cmfs_change *mark;
	int r = cmfs_history_reserve_durable(pc, off, off + len, &mark);

	if (r < 0)
		return r;
	r = exact ? cmfs_backend_write_exact(inner_of(be), buf, len, off, durability)
		  : cmfs_backend_write(inner_of(be), buf, len, off, durability);
	if (r < 0)
		free(mark);
	else
		cmfs_history_add_durable(pc, mark);
	return r;
}

static int write_any(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability durability, bool exact)
{
	struct cmfs_powercut *pc = state_of(be);
	bool durable = durability != CMFS_VOLATILE || be->how.dsync;
	struct cmfs_powercut_request request = {
		.exclusive = true, .buf = buf, .len = len, .off = off
	};
	struct cmfs_change change = { .kind = CMFS_CHANGE_WRITE, .start = off, .end = off + len };
	int r = cmfs_powercut_enter(pc, &request);

	if (r < 0)
		return r;
	if (change.end > atomic_load(&pc->view.size))
		change.grow_to = change.end;
	if (durable && be->ops->fua != CMFS_FUA_EMULATE)
		r = write_durably(be, buf, len, off, durability, exact);
	else
		r = cmfs_history_add(pc, &change, buf); /* a flush follows, if need be */
	cmfs_powercut_leave(pc, &request);
	return r;
}

static int powercut_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			  enum cmfs_durability durability)
{
	return write_any(be, buf, len, off, durability, false);
}

static int powercut_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
				enum cmfs_durability durability)
{
	return write_any(be, buf, len, off, durability, true);
}

static int powercut_flush(struct cmfs_backend *be, bool datasync)
{
	struct cmfs_powercut *pc = state_of(be);
	struct cmfs_powercut_request request = { .exclusive = true };
	int r = cmfs_powercut_enter(pc, &request);

	if (r < 0)
		return r;
	if (pc->oldest)
		r = cmfs_history_apply(pc, inner_of(be));
	if (r == 0)
		r = cmfs_backend_flush(inner_of(be), datasync);
	if (r == 0)
		cmfs_history_forget(pc);
	cmfs_powercut_leave(pc, &request);
	return r;
}

static int powercut_check(struct cmfs_backend *be)
{
	return cmfs_backend_check(inner_of(be));
}

/* ---- other changes ---- */

static int add_change(struct cmfs_backend *be, const struct cmfs_change *change, bool keep_size)
{
	struct cmfs_powercut *pc = state_of(be);
	struct cmfs_powercut_request request = { .exclusive = true };
	struct cmfs_change c = *change;
	int r = cmfs_powercut_enter(pc, &request);

	if (r < 0)
		return r;
	if (!keep_size && c.end > atomic_load(&pc->view.size))
		c.grow_to = c.end;
	/* What lies beyond the end is not made zero: it would be, later, in what grew. */
	if (keep_size && c.kind == CMFS_CHANGE_ZERO && c.end > atomic_load(&pc->view.size))
		c.end = atomic_load(&pc->view.size);
	if (c.start < c.end)
		r = cmfs_history_add(pc, &c, NULL);
	cmfs_powercut_leave(pc, &request);
	return r;
}

static int powercut_truncate(struct cmfs_backend *be, uint64_t size)
{
	const struct cmfs_change change = { .kind = CMFS_CHANGE_TRUNCATE,
					    .start = size,
					    .end = CMFS_EXTENT_END };

	return add_change(be, &change, true);
}

static int powercut_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			     uint64_t off, uint64_t len)
{
	const struct cmfs_change change = {
		.kind = what == CMFS_ALLOC_ALLOCATE ? CMFS_CHANGE_ALLOCATE : CMFS_CHANGE_ZERO,
		.start = off,
		.end = off + len,
		.zeroes = what,
	};

	if (what == CMFS_ALLOC_PUNCH && !keep_size)
		return -EOPNOTSUPP; /* as fallocate(2) has it */
	return add_change(be, &change, keep_size);
}

/* ---- questions ---- */

static int powercut_size(struct cmfs_backend *be, uint64_t *ret)
{
	if (atomic_load(&state_of(be)->off))
		return -EIO;
	*ret = atomic_load(&state_of(be)->view.size);
	return 0;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static int powercut_getattr(struct cmfs_backend *be, struct stat *ret)
{
	struct cmfs_powercut *pc = state_of(be);
	int64_t ns = atomic_load(&pc->changed_at_ns);
	struct timespec changed = cmfs_time_of_ns(ns);
	int r = atomic_load(&pc->off) ? -EIO : cmfs_backend_getattr(inner_of(be), ret);

	if (r < 0)
		return r;
	ret->st_size = (off_t)atomic_load(&pc->view.size);
	if (ns && is_later(&changed, &ret->st_mtim))
		ret->st_mtim = ret->st_ctim = changed;
	return 0;
}

static int powercut_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off,
			 uint64_t *ret)
{
	struct cmfs_powercut *pc = state_of(be);
	struct cmfs_powercut_request request = { .exclusive = false };
	int r = cmfs_powercut_enter(pc, &request);

	if (r < 0)
		return r;
	r = cmfs_view_seek(&pc->view, inner_of(be), whence, off, ret);
	cmfs_powercut_leave(pc, &request);
	return r;
}

/* To clear what a killed process left, without a layer. */
static int powercut_set_sync(struct cmfs_backend *be, bool on)
{
	return on ? -EOPNOTSUPP : cmfs_backend_set_sync(inner_of(be), false);
}

static void powercut_drop_cache(struct cmfs_backend *be)
{
	cmfs_backend_drop_cache(inner_of(be));
}

/* ---- metadata: the wrapped place's ---- */

#define INNER_META(be, op, ...)                                                                    \
	({                                                                                         \
		const struct cmfs_backend_meta_ops *meta = inner_of(be)->ops->meta;                \
                                                                                                   \
		atomic_load(&state_of(be)->off) ? -EIO                                             \
		: meta && meta->op		? meta->op(inner_of(be), ##__VA_ARGS__)            \
						: -EOPNOTSUPP;                                                  \
	})

static int powercut_chmod(struct cmfs_backend *be, mode_t mode)
{
	return INNER_META(be, chmod, mode);
}

static int powercut_chown(struct cmfs_backend *be, uid_t uid, gid_t gid)
{
	return INNER_META(be, chown, uid, gid);
}

static int powercut_utimens(struct cmfs_backend *be, const struct timespec times[2])
{
	int r = INNER_META(be, utimens, times);

	if (r == 0 && times[1].tv_nsec != UTIME_OMIT)
		atomic_store(&state_of(be)->changed_at_ns, 0);
	return r;
}

static int powercut_statvfs(struct cmfs_backend *be, struct statvfs *ret)
{
	return INNER_META(be, statvfs, ret);
}

static ssize_t powercut_getxattr(struct cmfs_backend *be, const char *name, void *value,
				 size_t size)
{
	return INNER_META(be, getxattr, name, value, size);
}

static int powercut_setxattr(struct cmfs_backend *be, const char *name, const void *value,
			     size_t size, int flags)
{
	return INNER_META(be, setxattr, name, value, size, flags);
}

static int powercut_removexattr(struct cmfs_backend *be, const char *name)
{
	return INNER_META(be, removexattr, name);
}

static ssize_t powercut_listxattr(struct cmfs_backend *be, char *list, size_t size)
{
	return INNER_META(be, listxattr, list, size);
}

static const struct cmfs_backend_meta_ops powercut_meta_ops = {
	.chmod = powercut_chmod,
	.chown = powercut_chown,
	.utimens = powercut_utimens,
	.statvfs = powercut_statvfs,
	.getxattr = powercut_getxattr,
	.setxattr = powercut_setxattr,
	.removexattr = powercut_removexattr,
	.listxattr = powercut_listxattr,
};

#define OPS(grade)                                                                                 \
	{                                                                                          \
		.name = "powercut", .fua = grade, .meta = &powercut_meta_ops,                      \
		.reopen = powercut_reopen, .close = powercut_close, .read = powercut_read,         \
		.write = powercut_write, .write_exact = powercut_write_exact,                      \
		.flush = powercut_flush, .check = powercut_check, .write_out = powercut_write_out, \
		.size = powercut_size, .getattr = powercut_getattr, .truncate = powercut_truncate, \
		.allocate = powercut_allocate, .seek = powercut_seek,                              \
		.set_sync = powercut_set_sync, .drop_cache = powercut_drop_cache,                  \
	}

/* Writes are durable in the way that they are below. */
static const struct cmfs_backend_ops powercut_ops[] = {
	[CMFS_FUA_EMULATE] = OPS(CMFS_FUA_EMULATE),
	[CMFS_FUA_NATIVE] = OPS(CMFS_FUA_NATIVE),
	[CMFS_FUA_FLUSH] = OPS(CMFS_FUA_FLUSH),
};
