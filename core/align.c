// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Alignment: bounce buffers, read-modify-write, exact ends.
 *
 * A write is cut at block boundaries (a block is the backend's alignment):
 *
 *        head          whole blocks            tail
 *     |....xxxx|xxxxxxxx|xxxxxxxx|xxxxxxxx|xxx.....|
 *
 * - The whole blocks go as they are, from the caller's buffer if that is
 *   aligned in memory, else from a bounce buffer.
 * - A head or tail block inside the content is read, modified and written back,
 *   in one request with the whole blocks beside it.
 * - A head or tail block that the end of the content cuts cannot be written
 *   whole: that would round the size up, and a truncate afterwards would leave
 *   the rounded size to be seen in between or after a crash. Its bytes go
 *   through the backend's write_exact(), and those up to the next multiple of
 *   exact_block with them, so that the size does not grow block by block.
 *
 * Where others write to the place past us, that is not enough for a head or tail
 * inside the content either: bytes that they wrote between the read and the write
 * back would be lost. Those go through write_exact() as well, which changes no other
 * byte, after direct writes in flight have ended; new ones are kept out meanwhile by
 * the kernel, which has our request's file locked.
 *
 * A write with a head or a tail holds its range exclusively, widened to what
 * the backend may touch beside it; writes of whole blocks share. So no write
 * comes between a read and the write back, and the end of the content does not
 * move back below a block that was found to be inside.
 *
 * Reads need no lock: a block that is written back carries its neighbours'
 * bytes unchanged.
 */
#include "align.h"

#include "cmfs/buffer.h"

#include <errno.h>
#include <string.h>

static uint64_t round_down(uint64_t value, uint32_t align)
{
	return value & ~(uint64_t)(align - 1);
}

static uint64_t round_up(uint64_t value, uint32_t align)
{
	return round_down(value + align - 1, align);
}

static bool mem_aligned(struct cmfs_backend *be, const void *buf)
{
	return ((uintptr_t)buf & (be->geo.mem_align - 1)) == 0;
}

/* A range rounded outwards to blocks lies within what offsets can be. */
static bool fits(struct cmfs_backend *be, uint64_t off, uint64_t len)
{
	const uint64_t most = (uint64_t)INT64_MAX - be->geo.align;

	return len <= most && off <= most - len;
}

int cmfs_align_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	uint64_t start = round_down(off, be->geo.align), end = round_up(off + len, be->geo.align);
	size_t skip = off - start, got;
	char *bounce;
	int r;

	if (!fits(be, off, len)) {
		*ret_len = 0; /* no content ends that far */
		return 0;
	}
	if (start == off && end == off + len && mem_aligned(be, buf))
		return cmfs_backend_read(be, buf, len, off, ret_len);

	bounce = cmfs_buffer_get(CMFS_BUFFER_BOUNCE, end - start);
	if (!bounce)
		return -ENOMEM;
	r = cmfs_backend_read(be, bounce, end - start, start, &got);
	if (r < 0)
		return r;
	got = got > skip ? got - skip : 0;
	*ret_len = got < len ? got : len;
	memcpy(buf, bounce + skip, *ret_len);
	return 0;
}

/* The first and the last block of @bounce, which begins at @start, from the content. */
static int read_edges(struct cmfs_backend *be, char *bounce, uint64_t start, uint64_t end,
		      bool first, bool last)
{
	const uint32_t align = be->geo.align;
	struct cmfs_read reads[2];
	size_t count = 0;
	int r;

	if (first)
		reads[count++] = (struct cmfs_read){ bounce, align, start, 0 };
	if (last)
		reads[count++] =
			(struct cmfs_read){ bounce + (end - start - align), align, end - align, 0 };
	r = cmfs_backend_read_list(be, reads, count);
	for (size_t i = 0; i < count && r == 0; i++)
		r = reads[i].got == align ? 0 : -EIO; /* shrunk behind our back */
	return r;
}

/*
 * Write the blocks [start, end), which @buf fills but for the outer parts of the
 * first and the last one.
 */
static int write_blocks(struct cmfs_backend *be, const char *buf, size_t len, uint64_t off,
			uint64_t start, uint64_t end, enum cmfs_durability durability)
{
	const uint32_t align = be->geo.align;
	uint64_t from = off > start ? off : start; /* what of the caller's range is in here */
	uint64_t to = off + len < end ? off + len : end;
	char *bounce;
	int r;

	buf += from - off;
	if (from == start && to == end && mem_aligned(be, buf))
		return cmfs_backend_write(be, buf, end - start, start, durability);

	bounce = cmfs_buffer_get(CMFS_BUFFER_BOUNCE, end - start);
	if (!bounce)
		return -ENOMEM;
	r = read_edges(be, bounce, start, end, from > start,
		       to < end && (end - start > align || from == start));
	if (r < 0)
		return r;
	memcpy(bounce + (from - start), buf, to - from);
	return cmfs_backend_write(be, bounce, end - start, start, durability);
}

static int write_exact(struct cmfs_backend *be, const char *buf, uint64_t off, uint64_t start,
		       uint64_t end, enum cmfs_durability durability)
{
	return cmfs_backend_write_exact(be, buf + (start - off), end - start, start, durability);
}

/* A write with a head or a tail; its range is held exclusively. */
static int write_edges(struct cmfs_backend *be, const char *buf, size_t len, uint64_t off,
		       enum cmfs_durability durability, bool shared)
{
	const uint32_t align = be->geo.align, exact = be->geo.exact_block;
	uint64_t end = off + len;
	uint64_t start_block = round_down(off, align), end_block = round_up(end, align);
	uint64_t size, head_end = off, tail_start = end;
	int r = cmfs_backend_size(be, &size);

	if (r < 0)
		return r;
	if (off > start_block && (shared || start_block + align > size)) {
		start_block = round_up(off, exact);
		head_end = start_block < end ? start_block : end;
	}
	if (end < end_block && (shared || end_block > size) && end_block > start_block) {
		end_block = round_down(end, exact);
		if (end_block < start_block)
			end_block = start_block;
		tail_start = end_block > head_end ? end_block : head_end;
	}

	if (head_end > off)
		r = write_exact(be, buf, off, off, head_end, durability);
	if (r == 0 && start_block < end_block)
		r = write_blocks(be, buf, len, off, start_block, end_block, durability);
	if (r == 0 && tail_start < end)
		r = write_exact(be, buf, off, tail_start, end, durability);
	return r;
}

int cmfs_align_write(struct cmfs_backend *be, struct cmfs_range_lock *locks, const void *buf,
		     size_t len, uint64_t off, enum cmfs_durability durability, bool shared)
{
	const uint32_t align = be->geo.align, exact = be->geo.exact_block;
	struct cmfs_range range;
	bool edges;
	int r;

	if (!fits(be, off, len))
		return -EFBIG;
	if (align == 1)
		return cmfs_backend_write(be, buf, len, off, durability);

	edges = round_down(off, align) != off || round_down(off + len, align) != off + len;
	if (edges) {
		cmfs_range_acquire(locks, &range, round_down(off, exact),
				   round_up(off + len, exact), true);
		if (shared)
			cmfs_backend_wait_others(be); /* best effort: not every host can */
		r = write_edges(be, buf, len, off, durability, shared);
	} else {
		cmfs_range_acquire(locks, &range, off, off + len, false);
		r = write_blocks(be, buf, len, off, off, off + len, durability);
	}
	cmfs_range_release(locks, &range);
	return r;
}

int cmfs_align_truncate(struct cmfs_backend *be, struct cmfs_range_lock *locks, uint64_t size)
{
	struct cmfs_range range;
	int r;

	if (be->geo.align == 1)
		return cmfs_backend_truncate(be, size);
	/* From 0: growing moves the end, shrinking cuts blocks; both are rare. */
	cmfs_range_acquire(locks, &range, 0, UINT64_MAX, true);
	r = cmfs_backend_truncate(be, size);
	cmfs_range_release(locks, &range);
	return r;
}

int cmfs_align_allocate(struct cmfs_backend *be, struct cmfs_range_lock *locks,
			enum cmfs_alloc what, bool keep_size, uint64_t off, uint64_t len)
{
	struct cmfs_range range;
	int r;

	if (be->geo.align == 1)
		return cmfs_backend_allocate(be, what, keep_size, off, len);
	cmfs_range_acquire(locks, &range, round_down(off, be->geo.exact_block),
			   round_up(off + len, be->geo.exact_block), true);
	r = cmfs_backend_allocate(be, what, keep_size, off, len);
	cmfs_range_release(locks, &range);
	return r;
}
