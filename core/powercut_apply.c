// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A view and the place below it: reading through, and making the place what the view
 * shows.
 *
 * Extents may begin and end anywhere (half a sector, in a torn write), the place may
 * be opened with O_DIRECT: what goes there goes through core/align.c. Many small
 * pieces that lie close together become one read and one write.
 */
#include "powercut_private.h"

#include "align.h"
#include "cmfs/buffer.h"
#include "time_ns.h"

#include <errno.h>
#include <string.h>

/* Bytes written at a time, and the gap up to which neighbours are written together. */
#define BATCH	(1024 * 1024)
#define GAP_MAX (64 * 1024)

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Copy what the extents have of [off, off + len) to @buf; with their zeroes or without. */
static int overlay(const struct cmfs_powercut_view *view, const struct cmfs_store *store, char *buf,
		   size_t len, uint64_t off)
{
	const struct cmfs_extent *e;
	uint64_t pos = off, end = off + len;
	int r = 0;

	while (r == 0 && pos < end && (e = cmfs_extent_map_find(&view->map, pos)) &&
	       e->start < end) {
		uint64_t from = e->start > pos ? e->start : pos, to = min(e->end, end);

		if (e->block)
			r = cmfs_store_get(store, e->block, e->block_off + (from - e->start),
					   buf + (from - off), to - from);
		else
			memset(buf + (from - off), 0, to - from);
		pos = to;
	}
	return r;
}

int cmfs_view_read(const struct cmfs_powercut_view *view, const struct cmfs_store *store,
		   struct cmfs_backend *inner, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	const struct cmfs_extent *e = cmfs_extent_map_find(&view->map, off);
	uint64_t size = atomic_load(&view->size);
	size_t there = off < size ? min(len, size - off) : 0, got = 0;
	int r = 0;

	if (!e || e->start > off || e->end < off + there)
		r = cmfs_backend_read(inner, buf, len, off, &got);
	if (r == 0 && got < there)
		memset((char *)buf + got, 0, there - got);
	if (r == 0)
		r = overlay(view, store, buf, there, off);
	if (r == 0)
		*ret_len = there;
	return r;
}

/* The same, of what lies below in [off, limit); -ENXIO: not there. */
static int seek_below(struct cmfs_backend *inner, enum cmfs_seek whence, uint64_t off,
		      uint64_t limit, uint64_t *ret)
{
	int r = cmfs_backend_seek(inner, whence, off, ret);

	/* Past its end the place has zeroes to show. */
	if (r == -ENXIO && whence == CMFS_SEEK_HOLE) {
		*ret = off;
		return 0;
	}
	return r == 0 && *ret >= limit ? -ENXIO : r;
}

int cmfs_view_seek(const struct cmfs_powercut_view *view, struct cmfs_backend *inner,
		   enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	uint64_t size = atomic_load(&view->size), pos = off;

	if (off >= size)
		return -ENXIO;
	while (pos < size) {
		const struct cmfs_extent *e = cmfs_extent_map_find(&view->map, pos);
		uint64_t limit = e ? min(e->start, size) : size;
		int r;

		if (e && e->start <= pos) {
			if ((e->block != NULL) == (whence == CMFS_SEEK_DATA)) {
				*ret = pos;
				return 0;
			}
			pos = e->end;
			continue;
		}
		r = seek_below(inner, whence, pos, limit, ret);
		if (r != -ENXIO)
			return r;
		pos = limit;
	}
	*ret = size;
	return whence == CMFS_SEEK_HOLE ? 0 : -ENXIO;
}

/* ---- apply ---- */

struct target {
	struct cmfs_backend *inner;
	struct cmfs_range_lock ranges; /* for align.c; nobody else is here */
	uint64_t size;		       /* of the place, as it becomes */
};

static int write_zeroes(struct target *t, uint64_t start, uint64_t end)
{
	int r = 0;

	while (r == 0 && start < end) {
		uint64_t len = min(end - start, BATCH);
		void *buf = cmfs_buffer_get(CMFS_BUFFER_POWERCUT, len);

		if (!buf)
			return -ENOMEM;
		memset(buf, 0, len);
		r = cmfs_align_write(t->inner, &t->ranges, buf, len, start, CMFS_VOLATILE, false);
		start += len;
	}
	return r;
}

static int apply_zeroes(struct target *t, const struct cmfs_extent *e)
{
	uint64_t end = min(e->end, t->size);
	int r;

	if (e->start >= end)
		return 0;
	r = cmfs_align_allocate(t->inner, &t->ranges, e->zeroes, true, e->start, end - e->start);
	return r == -EOPNOTSUPP ? write_zeroes(t, e->start, end) : r;
}

/* A range without an end says that nothing of the place beyond is left. */
static int apply_all_zeroes(struct target *t, const struct cmfs_extent_map *map)
{
	const struct cmfs_extent *e = cmfs_extent_map_find(map, CMFS_EXTENT_END - 1);
	int r = 0;

	if (e && e->start < t->size) {
		r = cmfs_align_truncate(t->inner, &t->ranges, e->start);
		t->size = e->start;
	}
	for (e = cmfs_extent_map_find(map, 0); r == 0 && e; e = cmfs_extent_map_find(map, e->end)) {
		if (!e->block)
			r = apply_zeroes(t, e);
	}
	return r;
}

/* How far from @start data can be written in one go. @ret_gaps: not all of it is data. */
static uint64_t batch_end(const struct cmfs_powercut_view *view, uint64_t start, bool *ret_gaps)
{
	uint64_t most = min(start + BATCH, atomic_load(&view->size)), end = start;
	const struct cmfs_extent *e;

	*ret_gaps = false;
	while (end < most && (e = cmfs_extent_map_find(&view->map, end))) {
		if (!e->block || e->start >= most || (e->start > end && e->start - end > GAP_MAX))
			break;
		*ret_gaps |= e->start > end;
		end = min(e->end, most);
	}
	return end;
}

static int apply_batch(struct target *t, const struct cmfs_powercut_view *view,
		       const struct cmfs_store *store, uint64_t start, uint64_t end, bool gaps)
{
	size_t len = end - start, got = 0;
	char *buf = cmfs_buffer_get(CMFS_BUFFER_POWERCUT, len);
	int r = 0;

	if (!buf)
		return -ENOMEM;
	if (gaps) {
		r = cmfs_align_read(t->inner, buf, len, start, &got);
		if (r == 0)
			memset(buf + got, 0, len - got);
	}
	if (r == 0)
		r = overlay(view, store, buf, len, start);
	if (r == 0)
		r = cmfs_align_write(t->inner, &t->ranges, buf, len, start, CMFS_VOLATILE, false);
	return r;
}

static int apply_all_data(struct target *t, const struct cmfs_powercut_view *view,
			  const struct cmfs_store *store)
{
	uint64_t size = atomic_load(&view->size), pos = 0;
	const struct cmfs_extent *e;
	int r = 0;

	while (r == 0 && (e = cmfs_extent_map_find(&view->map, pos)) && e->start < size &&
	       pos < size) {
		uint64_t start = e->start > pos ? e->start : pos, end = e->end;
		bool gaps;

		if (e->block) {
			end = batch_end(view, start, &gaps);
			r = apply_batch(t, view, store, start, end, gaps);
		}
		pos = end;
	}
	return r;
}

int cmfs_view_apply(const struct cmfs_powercut_view *view, const struct cmfs_store *store,
		    struct cmfs_backend *inner)
{
	struct target t = { .inner = inner };
	uint64_t size = atomic_load(&view->size);
	int r = cmfs_backend_size(inner, &t.size);

	if (r < 0)
		return r;
	cmfs_range_lock_init(&t.ranges);
	r = apply_all_zeroes(&t, &view->map);
	if (r == 0)
		r = apply_all_data(&t, view, store);
	if (r == 0)
		r = cmfs_backend_size(inner, &t.size);
	if (r == 0 && t.size != size)
		r = cmfs_align_truncate(inner, &t.ranges, size);
	cmfs_range_lock_finish(&t.ranges);
	return r;
}

/* The place was changed when the layer was, and since then its times may have been set. */
static void set_mtime(struct cmfs_powercut *pc, struct cmfs_backend *inner,
		      const struct stat *before)
{
	const struct cmfs_backend_meta_ops *meta = inner->ops->meta;
	int64_t ns = atomic_load(&pc->changed_at_ns);
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		ns ? cmfs_time_of_ns(ns) : before->st_mtim,
	};

	if (meta && meta->utimens)
		meta->utimens(inner, times); /* best effort */
}

/* Space that was given back later on is not asked for. */
static bool is_given_back(const struct cmfs_change *allocate)
{
	for (const struct cmfs_change *c = allocate->next; c; c = c->next) {
		bool frees = c->kind == CMFS_CHANGE_TRUNCATE ||
			     (c->kind == CMFS_CHANGE_ZERO && c->zeroes == CMFS_ALLOC_PUNCH);

		if (frees && c->start < allocate->end && allocate->start < c->end)
			return true;
	}
	return false;
}

int cmfs_history_apply(struct cmfs_powercut *pc, struct cmfs_backend *inner)
{
	struct stat before;
	int r = cmfs_backend_getattr(inner, &before);

	if (r == 0)
		r = cmfs_view_apply(&pc->view, &pc->store, inner);
	if (r == 0)
		set_mtime(pc, inner, &before);
	for (const struct cmfs_change *c = pc->oldest; r == 0 && c; c = c->next) {
		if (c->kind != CMFS_CHANGE_ALLOCATE || is_given_back(c))
			continue;
		r = cmfs_backend_allocate(inner, CMFS_ALLOC_ALLOCATE, true, c->start,
					  c->end - c->start);
		if (r == -EOPNOTSUPP)
			r = 0; /* space is not part of the content */
	}
	return r;
}
