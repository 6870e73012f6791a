// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The layer that keeps the write log (write_log.h).
 *
 * A change holds its range, in whole sectors, until it is done below and logged, so
 * that no other change of these sectors comes between: the log has them in the order
 * of the content. What is logged is
 *
 *   what was written, if that was whole sectors;
 *   else the sectors that are there afterwards, read back from below.
 *
 * The latter also after an error, when any part of a change may have been done. If
 * that cannot be read, nobody knows what the content is: the log stops.
 *
 * Zeroing and cutting off reach over ranges that may be large and never were
 * written. Holes read as zeroes already, and are zeroes in a replay already: only
 * the data in the range becomes zeroes in the log.
 */
#include "backend_filter.h"
#include "cmfs/buffer.h"
#include "cmfs/write_log.h"
#include "range_lock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR	   CMFS_WRITE_LOG_SECTOR
#define READ_CHUNK (UINT64_C(1024) * 1024)

/* Shared by all openings. */
struct log_state {
	atomic_uint refs;
	struct cmfs_write_log *log; /* a reference */
	struct cmfs_range_lock ranges;
};

struct log_backend {
	struct cmfs_filter filter;
	struct log_state *state; /* a reference */
};

static struct log_state *state_of(struct cmfs_backend *be)
{
	return ((struct log_backend *)be)->state;
}

static struct cmfs_write_log *log_of(struct cmfs_backend *be)
{
	return state_of(be)->log;
}

static uint64_t sector_down(uint64_t pos)
{
	return pos - pos % SECTOR;
}

static uint64_t sector_up(uint64_t pos)
{
	return sector_down(pos + SECTOR - 1);
}

/* ---- open, reopen, close ---- */

static void state_unref(struct log_state *state)
{
	if (atomic_fetch_sub(&state->refs, 1) > 1)
		return;
	cmfs_range_lock_finish(&state->ranges);
	cmfs_write_log_unref(state->log); /* its maker has another, and looks at the result */
	free(state);
}

/* Takes over the reference of @state when it returns 0. */
static int open_layer(struct cmfs_backend *below, struct log_state *state,
		      struct cmfs_backend **ret, struct cmfs_err *err);

static int log_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
		      struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct log_state *state = state_of(be);
	struct cmfs_backend *below;
	int r = cmfs_backend_reopen(cmfs_filter_below(be), how, &below, err);

	if (r < 0)
		return r;
	atomic_fetch_add(&state->refs, 1);
	r = open_layer(below, state, ret, err);
	if (r < 0) {
		state_unref(state);
		cmfs_backend_close(below);
	}
	return r;
}

static void log_close(struct cmfs_backend *be)
{
	cmfs_backend_close(cmfs_filter_below(be));
	state_unref(state_of(be));
	free(be);
}

/* ---- what is there now ---- */

/* [start, end) of the content, zeroes behind its end; blocks of the backend below. */
static int read_blocks(struct cmfs_backend *below, char *buf, uint64_t start, uint64_t end)
{
	/* What no offset reaches in whole blocks cannot be read; no content ends there. */
	uint64_t limit = INT64_MAX - INT64_MAX % below->geo.align;
	uint64_t last = end < limit ? end : limit;
	size_t got = 0;
	int r = 0;

	if (start < last)
		r = cmfs_backend_read(below, buf, last - start, start, &got);
	if (r == 0)
		memset(buf + got, 0, end - start - got);
	return r;
}

/* Log the sectors [start, end) as they are. */
static void log_content(struct cmfs_backend *be, uint64_t start, uint64_t end, unsigned int flags)
{
	struct cmfs_backend *below = cmfs_filter_below(be);
	const uint64_t align = below->geo.align > SECTOR ? below->geo.align : SECTOR;

	while (start < end) {
		uint64_t from = start - start % align; /* blocks around the chunk */
		uint64_t to = end < from + READ_CHUNK ? end : from + READ_CHUNK;
		uint64_t block_end = to + align - 1 - (to + align - 1) % align;
		char *buf = cmfs_buffer_get(CMFS_BUFFER_LOG, block_end - from);
		int r = buf ? read_blocks(below, buf, from, block_end) : -ENOMEM;

		if (r < 0) {
			cmfs_write_log_stop(log_of(be), r);
			return;
		}
		cmfs_write_log_data(log_of(be), buf + (start - from), to - start, start, flags);
		start = to;
	}
}

/* [start, end) has become zeroes; what else is in its first and last sector stays. */
static void log_zeroes(struct cmfs_backend *be, uint64_t start, uint64_t end)
{
	uint64_t whole_start = sector_up(start), whole_end = sector_down(end);

	if (whole_start > whole_end) { /* inside one sector */
		log_content(be, whole_end, whole_start, 0);
		return;
	}
	if (start < whole_start)
		log_content(be, sector_down(start), whole_start, 0);
	if (whole_start < whole_end)
		cmfs_write_log_data(log_of(be), NULL, whole_end - whole_start, whole_start, 0);
	if (whole_end < end)
		log_content(be, whole_end, sector_up(end), 0);
}

/* ---- writes ---- */

/* Is it durable by itself? If the wrapper above sends a flush, that is logged. */
static unsigned int fua_flag(struct cmfs_backend *be, enum cmfs_durability durability)
{
	bool durable = durability != CMFS_VOLATILE || be->how.dsync;

	return be->ops->fua != CMFS_FUA_EMULATE && durable ? CMFS_LOG_FUA : 0;
}

typedef int write_function(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			   enum cmfs_durability durability);

static int write_logged(struct cmfs_backend *be, write_function *write, const void *buf, size_t len,
			uint64_t off, enum cmfs_durability durability)
{
	uint64_t start = sector_down(off), end = sector_up(off + len);
	struct cmfs_range range;
	int r;

	cmfs_range_acquire(&state_of(be)->ranges, &range, start, end, true);
	r = write(cmfs_filter_below(be), buf, len, off, durability);
	if (r < 0)
		log_content(be, start, end, 0);
	else if (start < off || off + len < end)
		log_content(be, start, end, fua_flag(be, durability));
	else
		cmfs_write_log_data(log_of(be), buf, len, off, fua_flag(be, durability));
	cmfs_range_release(&state_of(be)->ranges, &range);
	return r;
}

static int log_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability durability)
{
	return write_logged(be, cmfs_backend_write, buf, len, off, durability);
}

static int log_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			   enum cmfs_durability durability)
{
	return write_logged(be, cmfs_backend_write_exact, buf, len, off, durability);
}

/* Where the wrapper above sends the flush, the one below is not to send another. */
static int log_write_volatile(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			      enum cmfs_durability durability)
{
	return log_write(be, buf, len, off, CMFS_VOLATILE);
}

static int log_write_exact_volatile(struct cmfs_backend *be, const void *buf, size_t len,
				    uint64_t off, enum cmfs_durability durability)
{
	return log_write_exact(be, buf, len, off, CMFS_VOLATILE);
}

static int log_flush(struct cmfs_backend *be, bool datasync)
{
	struct cmfs_log_flush flush = cmfs_write_log_begin_flush(log_of(be));
	int r = cmfs_backend_flush(cmfs_filter_below(be), datasync);

	cmfs_write_log_end_flush(log_of(be), flush, r == 0);
	return r;
}

/* ---- other changes ---- */

/* Where there was data in a range before a change. */
struct extents {
	struct extent {
		uint64_t start, end;
	} * at;
	size_t count, room;
};

static bool add_extent(struct extents *e, uint64_t start, uint64_t end)
{
	if (e->count == e->room) {
		size_t room = e->room ? 2 * e->room : 16;
		struct extent *at = reallocarray(e->at, room, sizeof(*at));

		if (!at)
			return false;
		e->at = at;
		e->room = room;
	}
	e->at[e->count++] = (struct extent){ start, end };
	return true;
}

/* The first data at or behind @pos and before @end; what cannot be told is data. */
static struct extent next_data(struct cmfs_backend *below, uint64_t pos, uint64_t end)
{
	struct extent e;
	int r = cmfs_backend_seek(below, CMFS_SEEK_DATA, pos, &e.start);

	if (r == -ENXIO || (r == 0 && e.start >= end))
		return (struct extent){ end, end };
	if (r < 0)
		return (struct extent){ pos, end };
	r = cmfs_backend_seek(below, CMFS_SEEK_HOLE, e.start, &e.end);
	if (r < 0 || e.end > end || e.end <= e.start)
		e.end = end;
	return e;
}

/* A change of a range and of the size, on its way. */
struct change {
	struct cmfs_range range;
	uint64_t old_size;
	struct extents zeroed; /* data that is to become zeroes */
};

/*
 * @start, @end: what it touches. @zero_end: its data from @start up to there becomes
 * zeroes. Holds the range even if it fails.
 */
static int begin_change(struct cmfs_backend *be, struct change *c, uint64_t start, uint64_t end,
			uint64_t zero_end)
{
	struct cmfs_backend *below = cmfs_filter_below(be);
	int r;

	*c = (struct change){ 0 };
	/* The byte before @start: growth to there logs its sector. */
	cmfs_range_acquire(&state_of(be)->ranges, &c->range, sector_down(start ? start - 1 : 0),
			   end, true);
	r = cmfs_backend_size(below, &c->old_size);
	if (r < 0)
		return r;
	if (zero_end > c->old_size)
		zero_end = c->old_size;
	while (start < zero_end) {
		struct extent e = next_data(below, start, zero_end);

		if (e.start < e.end && !add_extent(&c->zeroed, e.start, e.end))
			return -ENOMEM;
		start = e.end;
	}
	return 0;
}

/* Growth cannot be told: a write of the new last sector makes a replay grow. */
static void log_growth(struct cmfs_backend *be, uint64_t old_size)
{
	uint64_t size;
	int r = cmfs_backend_size(cmfs_filter_below(be), &size);

	if (r < 0)
		cmfs_write_log_stop(log_of(be), r);
	else if (size > old_size)
		log_content(be, sector_down(size - 1), sector_up(size), 0);
}

/* Behind it come the zeroes: they have the last word, whatever a discard leaves. */
static void log_discard(struct cmfs_backend *be, const struct extent *e)
{
	uint64_t start = sector_up(e->start), end = sector_down(e->end);

	if (start < end)
		cmfs_write_log_discard(log_of(be), end - start, start);
}

/* @r: its result. @keep_size: whoever changes the size meanwhile is somebody else. */
static void end_change(struct cmfs_backend *be, struct change *c, bool keep_size, bool discard,
		       int r)
{
	for (size_t i = 0; i < c->zeroed.count; i++) {
		const struct extent *e = &c->zeroed.at[i];

		if (r == 0 && discard)
			log_discard(be, e);
		if (r == 0)
			log_zeroes(be, e->start, e->end);
		else
			log_content(be, sector_down(e->start), sector_up(e->end), 0);
	}
	if (!keep_size)
		log_growth(be, c->old_size);
}

static void release_change(struct cmfs_backend *be, struct change *c)
{
	free(c->zeroed.at);
	cmfs_range_release(&state_of(be)->ranges, &c->range);
}

static int log_truncate(struct cmfs_backend *be, uint64_t size)
{
	struct change c;
	int r = begin_change(be, &c, size, UINT64_MAX, UINT64_MAX);

	if (r == 0) {
		r = cmfs_backend_truncate(cmfs_filter_below(be), size);
		end_change(be, &c, false, false, r);
	}
	release_change(be, &c);
	return r;
}

static int log_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size, uint64_t off,
			uint64_t len)
{
	uint64_t end = off + len;
	/* Growth moves the end, and writes its sector. */
	uint64_t touched = keep_size ? sector_up(end) : UINT64_MAX;
	struct change c;
	int r = begin_change(be, &c, off, touched, what == CMFS_ALLOC_ALLOCATE ? off : end);

	if (r == 0) {
		r = cmfs_backend_allocate(cmfs_filter_below(be), what, keep_size, off, len);
		end_change(be, &c, keep_size, what == CMFS_ALLOC_PUNCH, r);
	}
	release_change(be, &c);
	return r;
}

#define OPS(fua_grade, write_op, write_exact_op)                                                   \
	{                                                                                          \
		.name = "log-writes", .fua = fua_grade, .meta = &cmfs_filter_meta_ops,             \
		.reopen = log_reopen, .close = log_close, .read = cmfs_filter_read,                \
		.write = write_op, .write_exact = write_exact_op, .flush = log_flush,              \
		.check = cmfs_filter_check, .write_out = cmfs_filter_write_out,                    \
		.size = cmfs_filter_size, .getattr = cmfs_filter_getattr,                          \
		.truncate = log_truncate, .allocate = log_allocate, .seek = cmfs_filter_seek,      \
		.set_sync = cmfs_filter_set_sync, .drop_cache = cmfs_filter_drop_cache,            \
	}

static const struct cmfs_backend_ops log_ops[] = {
	[CMFS_FUA_EMULATE] = OPS(CMFS_FUA_EMULATE, log_write_volatile, log_write_exact_volatile),
	[CMFS_FUA_NATIVE] = OPS(CMFS_FUA_NATIVE, log_write, log_write_exact),
	[CMFS_FUA_FLUSH] = OPS(CMFS_FUA_FLUSH, log_write, log_write_exact),
};

static int open_layer(struct cmfs_backend *below, struct log_state *state,
		      struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct log_backend *l = malloc(sizeof(*l));

	if (!l)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*l = (struct log_backend){
		.filter = { .base = cmfs_filter_base(&log_ops[below->ops->fua], below),
			    .below = below },
		.state = state,
	};
	*ret = &l->filter.base;
	return 0;
}

int cmfs_backend_write_log_open(struct cmfs_backend *below, struct cmfs_write_log *log,
				struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct log_state *state = malloc(sizeof(*state));
	int r;

	if (!state)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*state = (struct log_state){ .log = cmfs_write_log_ref(log) };
	atomic_init(&state->refs, 1);
	cmfs_range_lock_init(&state->ranges);
	r = open_layer(below, state, ret, err);
	if (r < 0)
		state_unref(state);
	return r;
}
