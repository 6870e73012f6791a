/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_NBD_CAPS_H
#define CMFS_NBD_CAPS_H

#include "cmfs/backend.h"

/* What a server said of an export when we connected. */
struct cmfs_nbd_caps {
	uint64_t size;
	bool readonly, flush, fua, zero, multi_conn;
	bool block_status;		     /* of base:allocation */
	uint32_t min_block, preferred_block; /* bytes; 0: not said */
	uint32_t max_payload;		     /* the same */
};

/* How an opening keeps its promises with what the server has. */
struct cmfs_nbd_plan {
	enum cmfs_fua fua; /* a durable write carries FUA (native), or is flushed */
	bool always_fua;   /* no flush at all: each change is durable by itself, in all modes */
	bool send_flush;   /* else a flush has nothing to do */
};

/**
 * cmfs_nbd_make_plan() - the modes as FUA and FLUSH. Pure.
 * @err: filled on failure: a sentence without the export's name.
 *
 * -EROFS: writing is asked for and not allowed. -EOPNOTSUPP: flushes will be asked for
 * (all modes but unsafe) and the server has no way to make anything durable.
 */
int cmfs_nbd_make_plan(const struct cmfs_nbd_caps *caps, const struct cmfs_open_how *how,
		       struct cmfs_nbd_plan *ret, struct cmfs_err *err);

/**
 * cmfs_nbd_make_geometry() - what requests must look like. Pure.
 * @ret_max: the longest request in bytes; a multiple of the alignment.
 *
 * -EINVAL with a sentence for block sizes that the protocol does not allow.
 */
int cmfs_nbd_make_geometry(const struct cmfs_nbd_caps *caps, struct cmfs_geometry *ret,
			   uint32_t *ret_max, struct cmfs_err *err);

/** cmfs_nbd_same_export() - may @now, found after a reconnect, stand for @then? Pure. */
bool cmfs_nbd_same_export(const struct cmfs_nbd_caps *then, const struct cmfs_nbd_caps *now);

/* An answer to NBD_CMD_BLOCK_STATUS: pairs of length and flags, as libnbd has them. */
struct cmfs_nbd_extents {
	const uint32_t *entries;
	size_t count; /* of uint32_t's */
};

/**
 * cmfs_nbd_seek_extents() - look for data or a hole in an answer. Pure.
 * @off: where the answer begins.
 * @ret: where it is, or where the answer ends without it.
 *
 * 1: found; 0: not, go on at @ret; -EIO: no answer at all.
 */
int cmfs_nbd_seek_extents(const struct cmfs_nbd_extents *extents, enum cmfs_seek whence,
			  uint64_t off, uint64_t *ret);

#endif
