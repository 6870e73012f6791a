// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writing an overlay to its image.
 *
 * 1. Open the image for writing. Nothing has changed yet, so a failure here changes
 *    nothing.
 * 2. Cut off what the overlay no longer shows of the image's end, while changes wait.
 * 3. Copy each block that is not the image's own, a chunk at a time and with its range
 *    held; the map then has it as COMMITTED. A change of it, which takes a new mark, makes
 *    it due again. The overlay goes on showing its own copy: nobody sees the image that is
 *    in between.
 * 4. Make that durable, so that little is left to be made durable in the end.
 * 5. While changes wait: copy what has become due again, set the size, make all durable.
 *    Then the image has what the overlay shows.
 * 6. While readers wait, too: forget the overlay.
 *
 * After an error no block counts as COMMITTED any more, as a failed flush does not tell
 * which ones were lost.
 */
#include "overlay_private.h"

#include "align.h"
#include "cmfs/buffer.h"
#include "time_ns.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Bytes copied at a time; bytes made zeroes at a time. */
#define COPY_CHUNK (1024 * 1024)
#define ZERO_CHUNK (256 * 1024 * 1024)

struct commit {
	struct cmfs_overlay *overlay;
	struct cmfs_overlay_opening *from;
	struct cmfs_backend *to;	  /* the image, opened for writing */
	struct cmfs_range_lock to_ranges; /* for align.c; nobody else writes there */
};

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- a chunk; its range is held ---- */

static int copy_data(struct commit *c, uint64_t start, uint64_t end)
{
	char *buf = cmfs_buffer_get(CMFS_BUFFER_OVERLAY, end - start);
	size_t got;
	int r;

	if (!buf)
		return -ENOMEM;
	r = cmfs_align_read(c->from->temp, buf, end - start, start, &got);
	if (r == 0 && got < end - start)
		r = -EIO;
	if (r < 0)
		return r;
	return cmfs_align_write(c->to, &c->to_ranges, buf, end - start, start, CMFS_VOLATILE,
				false);
}

static int write_zeroes(struct commit *c, uint64_t start, uint64_t end)
{
	int r = 0;

	while (r == 0 && start < end) {
		uint64_t len = min(end - start, COPY_CHUNK);
		void *buf = cmfs_buffer_get(CMFS_BUFFER_OVERLAY, len);

		if (!buf)
			return -ENOMEM;
		memset(buf, 0, len);
		r = cmfs_align_write(c->to, &c->to_ranges, buf, len, start, CMFS_VOLATILE, false);
		start += len;
	}
	return r;
}

static int make_zeroes(struct commit *c, enum cmfs_alloc what, uint64_t start, uint64_t end)
{
	int r = cmfs_align_allocate(c->to, &c->to_ranges, what, true, start, end - start);

	return r == -EOPNOTSUPP ? write_zeroes(c, start, end) : r;
}

/* A run of blocks with one state; no byte is written from the end of the content on. */
static int bring_run(struct commit *c, enum cmfs_overlay_state state, uint64_t start, uint64_t end)
{
	uint64_t stop = min(end, atomic_load(&c->overlay->size));
	int r = 0;

	switch (state) {
	case CMFS_OVERLAY_DATA:
		r = copy_data(c, start, stop);
		break;
	case CMFS_OVERLAY_PUNCH:
		r = make_zeroes(c, CMFS_ALLOC_PUNCH, start, stop);
		break;
	case CMFS_OVERLAY_ZERO:
		r = make_zeroes(c, CMFS_ALLOC_ZERO, start, stop);
		break;
	default:
		assert(false);
	}
	if (r == 0)
		r = cmfs_overlay_mark(c->overlay, start, end, state | CMFS_OVERLAY_COMMITTED);
	if (r == 0)
		atomic_fetch_add(&c->overlay->done, end - start);
	return r;
}

static bool is_due(unsigned int in_map)
{
	return in_map != CMFS_OVERLAY_IMAGE && !(in_map & CMFS_OVERLAY_COMMITTED);
}

/* What is due of a chunk now that nobody changes it. */
static int bring_chunk(struct commit *c, uint64_t start, uint64_t end)
{
	struct cmfs_range range;
	int r = 0;

	cmfs_range_acquire(&c->overlay->ranges, &range, start, end, true);
	while (r == 0 && start < end && start < atomic_load(&c->overlay->size)) {
		uint64_t run_end;
		unsigned int in_map = cmfs_overlay_run(c->overlay, start, end, &run_end);

		if (is_due(in_map))
			r = bring_run(c, cmfs_overlay_state_of(in_map), start, run_end);
		start = run_end;
	}
	cmfs_range_release(&c->overlay->ranges, &range);
	return r;
}

static int bring_all(struct commit *c)
{
	uint64_t pos = 0;
	int r = 0;

	while (r == 0 && pos < atomic_load(&c->overlay->size)) {
		uint64_t end;
		unsigned int in_map = cmfs_overlay_run(c->overlay, pos, UINT64_MAX, &end);
		uint64_t chunk = cmfs_overlay_state_of(in_map) == CMFS_OVERLAY_DATA ? COPY_CHUNK
										    : ZERO_CHUNK;

		if (is_due(in_map)) {
			end = min(end, pos + chunk);
			r = bring_chunk(c, pos, end);
		}
		pos = end;
	}
	return r;
}

/* ---- the whole ---- */

/* In one go: a change's new mark is not to be overwritten. */
static void uncommit(struct cmfs_overlay *overlay)
{
	uint64_t pos = 0, end;

	cmfs_mutex_lock(&overlay->lock);
	for (; pos < CMFS_BLOCK_MAP_END; pos = end) {
		unsigned int in_map =
			cmfs_block_map_run(&overlay->map, pos, CMFS_BLOCK_MAP_END, &end);
		int r = 0;

		if (in_map & CMFS_OVERLAY_COMMITTED)
			r = cmfs_block_map_set(&overlay->map, pos, end,
					       cmfs_overlay_state_of(in_map));
		assert(r == 0); /* states differ at both ends */
	}
	cmfs_mutex_unlock(&overlay->lock);
}

static int cut_image(struct commit *c, uint64_t at)
{
	uint64_t size;
	int r = cmfs_backend_size(c->to, &size);

	if (r < 0 || size <= at || c->to->geo.fixed_size)
		return r;
	return cmfs_align_truncate(c->to, &c->to_ranges, at);
}

static int begin(struct commit *c)
{
	struct cmfs_overlay *overlay = c->overlay;
	int r;

	cmfs_gate_close(&overlay->changes);
	atomic_store(&overlay->cut_at, UINT64_MAX);
	r = cut_image(c, atomic_load(&overlay->image_end));
	cmfs_gate_open(&overlay->changes);
	return r;
}

/* What was cut off meanwhile is in the image: perhaps as it was before, and grew again. */
static int cut_again(struct commit *c)
{
	uint64_t at = atomic_load(&c->overlay->cut_at);

	if (at == UINT64_MAX)
		return 0;
	uncommit(c->overlay);
	return cut_image(c, at);
}

static int set_size(struct commit *c)
{
	uint64_t wanted = atomic_load(&c->overlay->size), size;
	int r = cmfs_backend_size(c->to, &size);

	if (r < 0 || size == wanted || c->to->geo.fixed_size)
		return r;
	return cmfs_align_truncate(c->to, &c->to_ranges, wanted);
}

/* Best effort; what changes the content later changes it again. */
static void set_times(struct commit *c)
{
	const struct cmfs_backend_meta_ops *meta = c->to->ops->meta;
	int64_t ns = atomic_load(&c->overlay->mtime_ns);
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		cmfs_time_of_ns(ns),
	};

	if (ns && meta && meta->utimens)
		meta->utimens(c->to, times);
}

/* All changes wait. Reads do from here on, too. */
static int forget(struct commit *c)
{
	struct cmfs_overlay *overlay = c->overlay;
	struct cmfs_range range;
	int r;

	cmfs_range_acquire(&overlay->ranges, &range, 0, UINT64_MAX, true);
	r = cmfs_overlay_mark(overlay, 0, UINT64_MAX, CMFS_OVERLAY_IMAGE);
	assert(r == 0); /* it is all of the map */
	atomic_store(&overlay->image_size, atomic_load(&overlay->size));
	atomic_store(&overlay->image_end, atomic_load(&overlay->size));
	atomic_store(&overlay->mtime_ns, 0);
	atomic_store(&overlay->ctime_ns, 0);
	cmfs_align_truncate(c->from->temp, &overlay->temp_ranges, 0); /* best effort */
	cmfs_range_release(&overlay->ranges, &range);
	return r;
}

static int end(struct commit *c)
{
	int r;

	cmfs_gate_close(&c->overlay->changes);
	r = cut_again(c);
	if (r == 0)
		r = bring_all(c);
	if (r == 0)
		r = set_size(c);
	if (r == 0)
		set_times(c);
	if (r == 0)
		r = cmfs_backend_flush(c->to, false);
	if (r == 0)
		r = cmfs_overlay_check(c->from); /* was all of it there to be read? */
	if (r == 0)
		r = forget(c);
	cmfs_gate_open(&c->overlay->changes);
	return r;
}

/* What a commit that begins now would write; under the lock. */
static uint64_t bytes_due_locked(const struct cmfs_overlay *overlay)
{
	uint64_t blocks = 0;

	for (unsigned int i = 0; i < CMFS_BLOCK_STATES; i++)
		blocks +=
			cmfs_overlay_state_of(i) != CMFS_OVERLAY_IMAGE ? overlay->map.count[i] : 0;
	return blocks * CMFS_OVERLAY_BLOCK;
}

struct cmfs_overlay_status cmfs_overlay_status(struct cmfs_overlay *overlay)
{
	uint64_t size = atomic_load(&overlay->size);
	struct cmfs_overlay_status s = {
		.resized = size != atomic_load(&overlay->image_size) ||
			   size != atomic_load(&overlay->image_end),
		.committing = atomic_load(&overlay->committing),
		.done = atomic_load(&overlay->done),
		.total = atomic_load(&overlay->total),
	};

	cmfs_mutex_lock(&overlay->lock);
	s.uncommitted = bytes_due_locked(overlay);
	cmfs_mutex_unlock(&overlay->lock);
	return s;
}

/* The image is open. */
static int bring_over(struct commit *c, struct cmfs_err *err)
{
	struct cmfs_overlay *overlay = c->overlay;
	int r;

	atomic_store(&overlay->done, 0);
	atomic_store(&overlay->total, cmfs_overlay_status(overlay).uncommitted);
	atomic_store(&overlay->committing, true);
	r = begin(c);
	if (r == 0)
		r = bring_all(c);
	if (r == 0)
		r = cmfs_backend_flush(c->to, true);
	if (r == 0)
		r = end(c);
	if (r < 0)
		uncommit(overlay);
	atomic_store(&overlay->committing, false);
	if (r < 0)
		cmfs_err_set(err, r,
			     "%s: it may be half written now; committing again completes "
			     "it, and until then nothing is lost while this is mounted",
			     strerror(-r));
	return r;
}

int cmfs_overlay_commit(struct cmfs_overlay *overlay, struct cmfs_err *err)
{
	struct commit c = { .overlay = overlay, .from = overlay->openings };
	const struct cmfs_open_how how = { .direct = c.from->image->how.direct };
	struct cmfs_err why = { "" };
	int r = cmfs_overlay_check(c.from);

	if (r < 0)
		return cmfs_err_set(err, r, "the overlay has lost data: %s", strerror(-r));
	r = cmfs_backend_reopen(c.from->image, &how, &c.to, &why);
	if (r == -EACCES || r == -EPERM || r == -EROFS)
		return cmfs_err_set(err, r,
				    "the image cannot be opened for writing: %s; it is "
				    "unchanged",
				    strerror(-r));
	if (r < 0)
		return cmfs_err_set(err, r, "%s; the image is unchanged", why.msg);
	cmfs_range_lock_init(&c.to_ranges);
	r = bring_over(&c, err);
	cmfs_range_lock_finish(&c.to_ranges);
	cmfs_backend_close(c.to);
	return r;
}
