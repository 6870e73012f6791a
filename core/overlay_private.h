/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_OVERLAY_PRIVATE_H
#define CMFS_OVERLAY_PRIVATE_H

#include "block_map.h"
#include "cmfs/overlay.h"
#include "gate.h"
#include "mutex.h"
#include "range_lock.h"

#include <stdatomic.h>

/* Shared by overlay*.c and backend_overlay.c, and by nobody else. */

/*
 * What a host's file system, and most of what is stored in images, has for blocks: they
 * are written whole, without a look at the image.
 */
#define CMFS_OVERLAY_BLOCK 4096

/* What a block shows. */
enum cmfs_overlay_state {
	CMFS_OVERLAY_IMAGE, /* the image's bytes before image_end, and zeroes from there */
	CMFS_OVERLAY_DATA,  /* what @temp has at the same place */
	CMFS_OVERLAY_PUNCH, /* zeroes, a hole */
	CMFS_OVERLAY_ZERO,  /* zeroes, with space for more */
	CMFS_OVERLAY_STATES,
};

/* In the map, with a state: the running commit has brought the block to the image. */
#define CMFS_OVERLAY_COMMITTED ((unsigned int)CMFS_OVERLAY_STATES)

/* One opening of the layer. */
struct cmfs_overlay_opening {
	struct cmfs_backend base;
	struct cmfs_backend *image, *temp; /* owned */
	struct cmfs_overlay *overlay;
	struct cmfs_overlay_opening *next;
};

/*
 * Who looks at or changes content has its blocks by @ranges, which is held across I/O.
 * Writes of whole blocks share them, like reads: where they overlap, either order is
 * right. Whoever changes anything is inside @changes, too; a commit closes that.
 *
 * A block that is DATA is whole in @temp. Content ends at @size, and there are zeroes
 * from there to the end of the block; image_end is never beyond it.
 */
struct cmfs_overlay {
	struct cmfs_mutex lock;	   /* protects the map and the list of openings */
	struct cmfs_block_map map; /* enum cmfs_overlay_state */
	struct cmfs_overlay_opening *openings;

	struct cmfs_gate changes;
	struct cmfs_range_lock ranges;	    /* bytes */
	struct cmfs_range_lock temp_ranges; /* for align.c */

	_Atomic uint64_t size;
	_Atomic uint64_t image_size; /* as it was opened or committed */
	_Atomic uint64_t image_end;  /* what the image has from there on is not shown */
	_Atomic uint64_t cut_at;     /* the smallest size since a commit began */
	atomic_int lost;	     /* -errno: @temp has lost something */

	_Atomic int64_t mtime_ns, ctime_ns; /* CLOCK_REALTIME; 0: the image's */
	_Atomic int64_t atime_ns;

	atomic_bool committing;
	_Atomic uint64_t done, total; /* bytes */
};

static inline uint64_t cmfs_overlay_down(uint64_t pos)
{
	return pos - pos % CMFS_OVERLAY_BLOCK;
}

static inline uint64_t cmfs_overlay_up(uint64_t pos)
{
	return cmfs_overlay_down(pos + CMFS_OVERLAY_BLOCK - 1);
}

/*
 * The map in bytes, all at borders of blocks; @end: UINT64_MAX for the map's own. Each
 * takes the lock for a moment.
 */

/* What the block at @pos has in the map, and how far it goes on. */
unsigned int cmfs_overlay_run(struct cmfs_overlay *overlay, uint64_t pos, uint64_t end,
			      uint64_t *ret_end);

static inline enum cmfs_overlay_state cmfs_overlay_state_of(unsigned int in_map)
{
	return (enum cmfs_overlay_state)(in_map & ~CMFS_OVERLAY_COMMITTED);
}

/* 0 or -ENOMEM: nothing has changed. */
int cmfs_overlay_mark(struct cmfs_overlay *overlay, uint64_t start, uint64_t end,
		      unsigned int in_map);

/* ---- overlay.c: content; contracts as at the backend's operations ---- */

int cmfs_overlay_read(struct cmfs_overlay_opening *o, void *buf, size_t len, uint64_t off,
		      size_t *ret_len);
int cmfs_overlay_write(struct cmfs_overlay_opening *o, const void *buf, size_t len, uint64_t off);
int cmfs_overlay_truncate(struct cmfs_overlay_opening *o, uint64_t size);
int cmfs_overlay_allocate(struct cmfs_overlay_opening *o, enum cmfs_alloc what, bool keep_size,
			  uint64_t off, uint64_t len);
int cmfs_overlay_seek(struct cmfs_overlay_opening *o, enum cmfs_seek whence, uint64_t off,
		      uint64_t *ret);

/* Has @temp lost anything, ever? 0 or -errno. */
int cmfs_overlay_check(struct cmfs_overlay_opening *o);

#endif
