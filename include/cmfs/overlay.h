/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_OVERLAY_H
#define CMFS_OVERLAY_H

#include "cmfs/backend.h"

/*
 * An image to throw away: what is written goes to an overlay, and the place below is
 * only read. QEMU's snapshot=on. What is in the overlay can be committed: written to
 * the place below after all.
 *
 * The overlay lives as long as the openings of the layer, and in two parts: a place
 * without a name for the data, and a map in memory of which blocks are in it. So it is
 * lost when we die, and no promise of durability means anything before a commit: all
 * that a flush tells is whether the overlay has lost something.
 */
struct cmfs_overlay;

struct cmfs_overlay_status {
	uint64_t uncommitted; /* bytes that a commit would write, in whole blocks */
	bool resized;	      /* it would change the size, too */
	bool committing;
	uint64_t done, total; /* bytes, of the commit */
};

/**
 * cmfs_backend_overlay_open() - the layer over @image.
 * @image: opened readonly; it is opened for writing by a commit only.
 * @temp: empty, writable, not dsync: where the data is to be. Direct or not.
 * @ret: owns both if 0 is returned. Its opening is as @image's, and not readonly.
 */
int cmfs_backend_overlay_open(struct cmfs_backend *image, struct cmfs_backend *temp,
			      struct cmfs_backend **ret, struct cmfs_err *err);

/**
 * cmfs_overlay_temp_open() - a file without a name for it (temp_file.h).
 * @direct: where its file system can; else it goes through the host's page cache.
 */
int cmfs_overlay_temp_open(bool direct, struct cmfs_backend **ret, struct cmfs_err *err);

/** cmfs_backend_overlay_state() - the overlay of one of the layer's openings. */
struct cmfs_overlay *cmfs_backend_overlay_state(struct cmfs_backend *be);

/**
 * cmfs_overlay_commit() - write what is in the overlay to the place below.
 * @err: filled on failure.
 *
 * When it returns 0, the place has the content that the overlay showed at one moment
 * before that, with all that was acknowledged before the call, and has it durably; what
 * has not changed since then is in the overlay no more. On failure the overlay shows
 * the same content as before; the place below may be in between, and another commit
 * completes it.
 *
 * One at a time, and not while the layer is opened or closed. Requests go on meanwhile,
 * but for short moments in the beginning and while the end is made durable.
 */
int cmfs_overlay_commit(struct cmfs_overlay *overlay, struct cmfs_err *err);

/** cmfs_overlay_status() - any thread, also during a commit. */
struct cmfs_overlay_status cmfs_overlay_status(struct cmfs_overlay *overlay);

#endif
