// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an overlay shows, and what a change does to it (overlay_private.h).
 *
 * A write goes to @temp at the place where it is in the image, and then the map says so:
 * a reader has the old bytes or the new ones. Where a write begins or ends inside of a
 * block that is not in @temp yet, that block is first written there as it is (copy on
 * write), which changes nothing that is seen.
 *
 * What @temp holds of other blocks is of no interest, and need not be zeroes.
 */
#include "overlay_private.h"

#include "align.h"
#include "cmfs/buffer.h"
#include "time_ns.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void lower(_Atomic uint64_t *value, uint64_t to)
{
	uint64_t now = atomic_load(value);

	while (to < now && !atomic_compare_exchange_weak(value, &now, to))
		;
}

static void raise(_Atomic uint64_t *value, uint64_t to)
{
	uint64_t now = atomic_load(value);

	while (to > now && !atomic_compare_exchange_weak(value, &now, to))
		;
}

/* ---- the map ---- */

static uint64_t block_of(uint64_t pos)
{
	return pos == UINT64_MAX ? CMFS_BLOCK_MAP_END : pos / CMFS_OVERLAY_BLOCK;
}

unsigned int cmfs_overlay_run(struct cmfs_overlay *overlay, uint64_t pos, uint64_t end,
			      uint64_t *ret_end)
{
	unsigned int in_map;
	uint64_t block;

	cmfs_mutex_lock(&overlay->lock);
	in_map = cmfs_block_map_run(&overlay->map, block_of(pos), block_of(end), &block);
	cmfs_mutex_unlock(&overlay->lock);
	*ret_end =
		block > UINT64_MAX / CMFS_OVERLAY_BLOCK ? UINT64_MAX : block * CMFS_OVERLAY_BLOCK;
	return in_map;
}

int cmfs_overlay_mark(struct cmfs_overlay *overlay, uint64_t start, uint64_t end,
		      unsigned int in_map)
{
	int r;

	cmfs_mutex_lock(&overlay->lock);
	r = cmfs_block_map_set(&overlay->map, block_of(start), block_of(end), in_map);
	cmfs_mutex_unlock(&overlay->lock);
	return r;
}

static enum cmfs_overlay_state state_at(struct cmfs_overlay *overlay, uint64_t pos)
{
	uint64_t end;

	return cmfs_overlay_state_of(cmfs_overlay_run(overlay, cmfs_overlay_down(pos),
						      cmfs_overlay_down(pos) + CMFS_OVERLAY_BLOCK,
						      &end));
}

/* ---- reading ---- */

/* What a block without data of its own shows: the image's bytes, or zeroes. */
static int read_image(struct cmfs_overlay_opening *o, char *buf, size_t len, uint64_t off)
{
	uint64_t end = atomic_load(&o->overlay->image_end);
	size_t there = off < end ? min(len, end - off) : 0, got = 0;
	int r = there > 0 ? cmfs_align_read(o->image, buf, there, off, &got) : 0;

	if (r == 0)
		memset(buf + got, 0, len - got);
	return r;
}

/* @temp is never shorter than a block that it has. */
static int read_temp(struct cmfs_overlay_opening *o, char *buf, size_t len, uint64_t off)
{
	size_t got;
	int r = cmfs_align_read(o->temp, buf, len, off, &got);

	return r == 0 && got < len ? -EIO : r;
}

/* Its range is held. Wherever content ends. */
static int read_blocks(struct cmfs_overlay_opening *o, char *buf, size_t len, uint64_t off)
{
	uint64_t end = off + len;
	int r = 0;

	while (r == 0 && off < end) {
		uint64_t run_end;
		unsigned int in_map = cmfs_overlay_run(o->overlay, cmfs_overlay_down(off),
						       cmfs_overlay_up(end), &run_end);
		size_t n = min(run_end, end) - off;

		switch (cmfs_overlay_state_of(in_map)) {
		case CMFS_OVERLAY_IMAGE:
			r = read_image(o, buf, n, off);
			break;
		case CMFS_OVERLAY_DATA:
			r = read_temp(o, buf, n, off);
			break;
		default:
			memset(buf, 0, n);
		}
		buf += n;
		off += n;
	}
	return r;
}

int cmfs_overlay_read(struct cmfs_overlay_opening *o, void *buf, size_t len, uint64_t off,
		      size_t *ret_len)
{
	struct cmfs_overlay *overlay = o->overlay;
	struct cmfs_range range;
	uint64_t size, there;
	int r;

	cmfs_range_acquire(&overlay->ranges, &range, cmfs_overlay_down(off),
			   cmfs_overlay_up(off + len), false);
	size = atomic_load(&overlay->size);
	there = off < size ? min(len, size - off) : 0;
	r = read_blocks(o, buf, there, off);
	cmfs_range_release(&overlay->ranges, &range);
	if (r == 0)
		*ret_len = there;
	return r;
}

/* ---- changing ---- */

static void begin_change(struct cmfs_overlay *overlay, struct cmfs_range *range, uint64_t start,
			 uint64_t end, bool exclusive)
{
	cmfs_gate_enter(&overlay->changes);
	cmfs_range_acquire(&overlay->ranges, range, start, end, exclusive);
}

static void end_change(struct cmfs_overlay *overlay, struct cmfs_range *range, int r)
{
	if (r == 0) {
		int64_t ns = cmfs_now_ns();

		atomic_store(&overlay->mtime_ns, ns);
		atomic_store(&overlay->ctime_ns, ns);
	}
	cmfs_range_release(&overlay->ranges, range);
	cmfs_gate_leave(&overlay->changes);
}

static int write_temp(struct cmfs_overlay_opening *o, const void *buf, size_t len, uint64_t off)
{
	return cmfs_align_write(o->temp, &o->overlay->temp_ranges, buf, len, off, CMFS_VOLATILE,
				false);
}

/* Have the block in @temp as it is shown, so that a part of it can be written. */
static int copy_block(struct cmfs_overlay_opening *o, uint64_t pos)
{
	uint64_t start = cmfs_overlay_down(pos);
	char *buf;
	int r;

	if (state_at(o->overlay, start) == CMFS_OVERLAY_DATA)
		return 0;
	buf = cmfs_buffer_get(CMFS_BUFFER_OVERLAY, CMFS_OVERLAY_BLOCK);
	if (!buf)
		return -ENOMEM;
	r = read_blocks(o, buf, CMFS_OVERLAY_BLOCK, start);
	return r < 0 ? r : write_temp(o, buf, CMFS_OVERLAY_BLOCK, start);
}

/* Its blocks are held, exclusively if it does not fill them. */
static int write_blocks(struct cmfs_overlay_opening *o, const void *buf, size_t len, uint64_t off)
{
	uint64_t start = cmfs_overlay_down(off), end = cmfs_overlay_up(off + len);
	bool head = start < off, tail = off + len < end;
	int r = 0;

	if (head)
		r = copy_block(o, start);
	if (r == 0 && tail && !(head && end - start == CMFS_OVERLAY_BLOCK))
		r = copy_block(o, off + len);
	if (r == 0)
		r = write_temp(o, buf, len, off);
	return r < 0 ? r : cmfs_overlay_mark(o->overlay, start, end, CMFS_OVERLAY_DATA);
}

/* Offsets rounded up to blocks are to stay numbers of bytes. */
static bool fits(uint64_t off, uint64_t len)
{
	return off <= INT64_MAX - CMFS_OVERLAY_BLOCK && len <= INT64_MAX - CMFS_OVERLAY_BLOCK - off;
}

/*
 * Hold the blocks of a write. One that ends beyond the content has them for itself, so
 * that it can take back what it leaves there if it fails; no content becomes shorter
 * while any are held.
 */
static void begin_write(struct cmfs_overlay *overlay, struct cmfs_range *range, uint64_t off,
			uint64_t len)
{
	uint64_t start = cmfs_overlay_down(off), end = cmfs_overlay_up(off + len);
	bool exclusive = start < off || off + len < end || off + len > atomic_load(&overlay->size);

	begin_change(overlay, range, start, end, exclusive);
	if (exclusive || off + len <= atomic_load(&overlay->size))
		return;
	end_change(overlay, range, -EAGAIN); /* it was cut off in between */
	begin_change(overlay, range, start, end, true);
}

/* A write failed, perhaps half done: there are zeroes again behind the end of the content. */
static void clear_behind_end(struct cmfs_overlay_opening *o, uint64_t off, uint64_t len)
{
	static const char zeroes[CMFS_OVERLAY_BLOCK];
	struct cmfs_overlay *overlay = o->overlay;
	uint64_t size = atomic_load(&overlay->size), end = cmfs_overlay_up(size);
	int none = 0, r;

	if (size == end || size < cmfs_overlay_down(off) || size >= off + len ||
	    state_at(overlay, size) != CMFS_OVERLAY_DATA)
		return;
	r = write_temp(o, zeroes, end - size, size);
	if (r < 0)
		atomic_compare_exchange_strong(&overlay->lost, &none, r);
}

int cmfs_overlay_write(struct cmfs_overlay_opening *o, const void *buf, size_t len, uint64_t off)
{
	struct cmfs_overlay *overlay = o->overlay;
	struct cmfs_range range;
	int r;

	if (!fits(off, len))
		return -EFBIG;
	begin_write(overlay, &range, off, len);
	r = write_blocks(o, buf, len, off);
	if (r == 0)
		raise(&overlay->size, off + len);
	else
		clear_behind_end(o, off, len);
	end_change(overlay, &range, r);
	return r;
}

/* A part of one block becomes zeroes. */
static int zero_part(struct cmfs_overlay_opening *o, uint64_t off, uint64_t end)
{
	static const char zeroes[CMFS_OVERLAY_BLOCK];

	if (off >= end)
		return 0;
	switch (state_at(o->overlay, off)) {
	case CMFS_OVERLAY_PUNCH:
	case CMFS_OVERLAY_ZERO:
		return 0;
	case CMFS_OVERLAY_IMAGE:
		if (off >= atomic_load(&o->overlay->image_end))
			return 0;
		break;
	default:
		break;
	}
	return write_blocks(o, zeroes, end - off, off);
}

/* Whole blocks. */
static int zero_blocks(struct cmfs_overlay_opening *o, enum cmfs_alloc what, uint64_t start,
		       uint64_t end)
{
	struct cmfs_range_lock *ranges = &o->overlay->temp_ranges;
	int r = 0;

	if (what == CMFS_ALLOC_ZERO) {
		r = cmfs_align_allocate(o->temp, ranges, CMFS_ALLOC_ZERO, true, start, end - start);
		if (r < 0 && r != -EOPNOTSUPP)
			return r;
		return cmfs_overlay_mark(o->overlay, start, end, CMFS_OVERLAY_ZERO);
	}
	r = cmfs_overlay_mark(o->overlay, start, end, CMFS_OVERLAY_PUNCH);
	/* Best effort: what cannot be given back costs space, no more. */
	if (r == 0)
		cmfs_align_allocate(o->temp, ranges, CMFS_ALLOC_PUNCH, true, start, end - start);
	return r;
}

static int zero_range(struct cmfs_overlay_opening *o, enum cmfs_alloc what, uint64_t off,
		      uint64_t end)
{
	uint64_t start = cmfs_overlay_up(off);
	/* Beyond the end of the content there is nothing to keep of a block. */
	uint64_t stop = end >= atomic_load(&o->overlay->size) ? cmfs_overlay_up(end)
							      : cmfs_overlay_down(end);
	int r = zero_part(o, off, min(start, end));

	if (r == 0 && start < stop)
		r = zero_blocks(o, what, start, stop);
	if (r == 0)
		r = zero_part(o, max(start, stop), end);
	return r;
}

int cmfs_overlay_allocate(struct cmfs_overlay_opening *o, enum cmfs_alloc what, bool keep_size,
			  uint64_t off, uint64_t len)
{
	struct cmfs_overlay *overlay = o->overlay;
	uint64_t end = off + len, size;
	struct cmfs_range range;
	int r = 0;

	if (what == CMFS_ALLOC_PUNCH && !keep_size)
		return -EOPNOTSUPP; /* as fallocate(2) has it */
	if (!fits(off, len))
		return -EFBIG;
	begin_change(overlay, &range, cmfs_overlay_down(off), cmfs_overlay_up(end), true);
	size = atomic_load(&overlay->size);
	if (what == CMFS_ALLOC_ALLOCATE)
		r = cmfs_align_allocate(o->temp, &overlay->temp_ranges, what, true, off, len);
	else if (!keep_size || off < size)
		r = zero_range(o, what, off, keep_size ? min(end, size) : end);
	if (r == 0 && !keep_size)
		raise(&overlay->size, end);
	end_change(overlay, &range, r);
	return r;
}

/* All is held. What is cut off is gone from the map, from @temp, and from the image's. */
static int shrink(struct cmfs_overlay_opening *o, uint64_t size)
{
	static const char zeroes[CMFS_OVERLAY_BLOCK];
	struct cmfs_overlay *overlay = o->overlay;
	uint64_t end = cmfs_overlay_up(size);
	int r = 0;

	if (size < end && state_at(overlay, size) == CMFS_OVERLAY_DATA)
		r = write_temp(o, zeroes, end - size, size);
	if (r == 0)
		r = cmfs_overlay_mark(overlay, end, UINT64_MAX, CMFS_OVERLAY_IMAGE);
	if (r < 0)
		return r;
	lower(&overlay->image_end, size);
	lower(&overlay->cut_at, size);
	atomic_store(&overlay->size, size);
	cmfs_align_truncate(o->temp, &overlay->temp_ranges, end); /* best effort, for its space */
	return 0;
}

int cmfs_overlay_truncate(struct cmfs_overlay_opening *o, uint64_t size)
{
	struct cmfs_overlay *overlay = o->overlay;
	struct cmfs_range range;
	int r = 0;

	if (!fits(size, 0))
		return -EFBIG;
	begin_change(overlay, &range, 0, UINT64_MAX, true);
	if (size < atomic_load(&overlay->size))
		r = shrink(o, size);
	else
		atomic_store(&overlay->size, size);
	end_change(overlay, &range, r);
	return r;
}

/* ---- data and holes ---- */

/* In blocks without data of their own; -ENXIO: not before @end. */
static int seek_image(struct cmfs_overlay_opening *o, enum cmfs_seek whence, uint64_t off,
		      uint64_t end, uint64_t *ret)
{
	uint64_t there = min(end, atomic_load(&o->overlay->image_end));
	int r = -ENXIO;

	if (off < there)
		r = cmfs_backend_seek(o->image, whence, off, ret);
	if (r == 0 && *ret >= there)
		r = -ENXIO;
	/* Behind the image's end there is a hole. */
	if (r == -ENXIO && whence == CMFS_SEEK_HOLE && there < end) {
		*ret = max(off, there);
		r = 0;
	}
	return r;
}

static int seek_blocks(struct cmfs_overlay_opening *o, enum cmfs_seek whence, uint64_t off,
		       uint64_t *ret)
{
	uint64_t size = atomic_load(&o->overlay->size), pos = off;

	if (off >= size)
		return -ENXIO;
	while (pos < size) {
		uint64_t end;
		unsigned int in_map = cmfs_overlay_run(o->overlay, cmfs_overlay_down(pos),
						       cmfs_overlay_up(size), &end);
		enum cmfs_overlay_state state = cmfs_overlay_state_of(in_map);
		int r = -ENXIO;

		if (state == CMFS_OVERLAY_IMAGE) {
			r = seek_image(o, whence, pos, min(end, size), ret);
		} else if ((state == CMFS_OVERLAY_DATA) == (whence == CMFS_SEEK_DATA)) {
			*ret = pos;
			r = 0;
		}
		if (r != -ENXIO)
			return r;
		pos = end;
	}
	*ret = size;
	return whence == CMFS_SEEK_HOLE ? 0 : -ENXIO;
}

int cmfs_overlay_seek(struct cmfs_overlay_opening *o, enum cmfs_seek whence, uint64_t off,
		      uint64_t *ret)
{
	struct cmfs_range range;
	int r;

	cmfs_range_acquire(&o->overlay->ranges, &range, cmfs_overlay_down(off), UINT64_MAX, false);
	r = seek_blocks(o, whence, off, ret);
	cmfs_range_release(&o->overlay->ranges, &range);
	return r;
}

/* ---- what was lost ---- */

int cmfs_overlay_check(struct cmfs_overlay_opening *o)
{
	int none = 0, r = cmfs_backend_check(o->temp);

	if (r < 0)
		atomic_compare_exchange_strong(&o->overlay->lost, &none, r);
	return atomic_load(&o->overlay->lost);
}
