// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a server's words mean for us.
 *
 *   FLUSH FUA   a durable write       a flush    other changes in a sync mode
 *     x    x    FUA                   FLUSH      and a FLUSH
 *     x         write, then FLUSH     FLUSH      and a FLUSH
 *          x    FUA                   nothing    FUA
 *               impossible: only for those who never flush (unsafe), or never write
 *
 * With FUA alone, what was written without it could never be made durable any more. So
 * each change carries it, in each mode, and a flush finds nothing left to do.
 */
#include "nbd_caps.h"

#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>

/* [caps->flush][caps->fua] */
static const struct row {
	bool durable; /* can anything be? */
	struct cmfs_nbd_plan plan;
} rows[2][2] = {
	{
		{ false, { CMFS_FUA_FLUSH, false, false } },
		{ true, { CMFS_FUA_NATIVE, true, false } },
	},
	{
		{ true, { CMFS_FUA_FLUSH, false, true } },
		{ true, { CMFS_FUA_NATIVE, false, true } },
	},
};

int cmfs_nbd_make_plan(const struct cmfs_nbd_caps *caps, const struct cmfs_open_how *how,
		       struct cmfs_nbd_plan *ret, struct cmfs_err *err)
{
	const struct row *row = &rows[caps->flush][caps->fua];

	if (how->readonly) {
		*ret = rows[0][0].plan; /* nothing is written, nothing to be flushed */
		return 0;
	}
	if (caps->readonly)
		return cmfs_err_set(err, -EROFS,
				    "the server exports it read-only (-o ro mounts it so)");
	if (!row->durable && !how->no_flush)
		return cmfs_err_set(err, -EOPNOTSUPP,
				    "the server can make nothing durable: it offers neither FLUSH "
				    "(NBD_FLAG_SEND_FLUSH) nor FUA (NBD_FLAG_SEND_FUA), one of "
				    "which every mode but unsafe needs; cache=unsafe and -o ro "
				    "work");
	*ret = row->plan;
	return 0;
}

/* Without a word of the server's: as QEMU, which knows what servers do. */
#define OLD_BLOCK   512
#define OLD_PAYLOAD (32U * 1024 * 1024)

static uint32_t min_block(const struct cmfs_nbd_caps *caps)
{
	if (caps->min_block)
		return caps->min_block;
	/* Who has a size of bytes, or extents of bytes, has requests of bytes. */
	return caps->block_status || caps->size % OLD_BLOCK ? 1 : OLD_BLOCK;
}

int cmfs_nbd_make_geometry(const struct cmfs_nbd_caps *caps, struct cmfs_geometry *ret,
			   uint32_t *ret_max, struct cmfs_err *err)
{
	uint32_t min = min_block(caps), max = caps->max_payload ? caps->max_payload : OLD_PAYLOAD;

	if (min & (min - 1) || min > 65536)
		return cmfs_err_set(err, -EINVAL,
				    "the server's minimum block size is %" PRIu32
				    ", not a power of two of at most 65536",
				    min);
	if (max < min)
		return cmfs_err_set(err, -EINVAL,
				    "the server's maximum block size, %" PRIu32
				    ", is below its minimum, %" PRIu32,
				    max, min);
	if (caps->size % min || caps->size > INT64_MAX)
		return cmfs_err_set(err, -EINVAL,
				    "its size, %" PRIu64
				    " bytes, is not a multiple of the server's minimum block size, "
				    "%" PRIu32,
				    caps->size, min);
	*ret = (struct cmfs_geometry){
		.align = min,
		.mem_align = 1,
		.exact_block = min,
		.fixed_size = true,
	};
	if (max > OLD_PAYLOAD)
		max = OLD_PAYLOAD;
	*ret_max = max - max % min;
	return 0;
}

bool cmfs_nbd_same_export(const struct cmfs_nbd_caps *then, const struct cmfs_nbd_caps *now)
{
	/* What it can do may not become less; that it can do more is not used. */
	return now->size == then->size && min_block(now) == min_block(then) &&
	       now->readonly == then->readonly && now->flush == then->flush &&
	       now->fua == then->fua && now->max_payload == then->max_payload &&
	       now->zero >= then->zero && now->block_status >= then->block_status;
}

int cmfs_nbd_seek_extents(const struct cmfs_nbd_extents *extents, enum cmfs_seek whence,
			  uint64_t off, uint64_t *ret)
{
	uint64_t start = off;

	for (size_t i = 0; i + 1 < extents->count; i += 2) {
		/* Unallocated alone is no hole: it may read as anything. */
		bool hole = extents->entries[i + 1] & LIBNBD_STATE_ZERO;

		if (hole == (whence == CMFS_SEEK_HOLE) && extents->entries[i] > 0) {
			*ret = off;
			return 1;
		}
		off += extents->entries[i];
	}
	*ret = off;
	return off > start ? 0 : -EIO;
}
