/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_EXTENT_MAP_H
#define CMFS_EXTENT_MAP_H

#include "cmfs/backend.h"
#include "powercut_store.h"

/*
 * What lies over some content: ranges of bytes, each with data of its own or with
 * zeroes; between them the content below shows through. Ranges are disjoint; a new
 * one replaces what it covers of older ones.
 *
 * Not locked: any number of threads may look, or one may change.
 */
struct cmfs_extent {
	uint64_t start, end;	  /* [start, end) in bytes; end may be CMFS_EXTENT_END */
	struct cmfs_block *block; /* not owned; NULL: zeroes */
	uint64_t block_off;	  /* where in the block the extent starts */
	enum cmfs_alloc zeroes;	  /* how they came about: PUNCH or ZERO */

	struct cmfs_extent *left, *right; /* ours, like the next one */
	uint64_t priority;
};

/* The end of a range without one. */
#define CMFS_EXTENT_END UINT64_MAX

/* One change makes up to three extents: its own, and what is left on both sides. */
#define CMFS_EXTENT_SPARES 3

struct cmfs_extent_map {
	struct cmfs_extent *root;
	struct cmfs_extent *spares[CMFS_EXTENT_SPARES];
	uint64_t random;
};

/* All zeroes is an empty map, too. */
void cmfs_extent_map_finish(struct cmfs_extent_map *map);

/** cmfs_extent_map_clear_all() - back to empty; what is reserved stays so. */
void cmfs_extent_map_clear_all(struct cmfs_extent_map *map);

/**
 * cmfs_extent_map_reserve() - make the next cmfs_extent_map_set() or _clear() one
 * that cannot fail. Returns 0 or -ENOMEM.
 */
int cmfs_extent_map_reserve(struct cmfs_extent_map *map);

/** cmfs_extent_map_set() - @extent (the map's own fields are ignored) covers its range. */
void cmfs_extent_map_set(struct cmfs_extent_map *map, const struct cmfs_extent *extent);

/** cmfs_extent_map_clear() - [start, end) shows the content below again. */
void cmfs_extent_map_clear(struct cmfs_extent_map *map, uint64_t start, uint64_t end);

/** cmfs_extent_map_find() - the first extent that ends after @pos, or NULL. */
const struct cmfs_extent *cmfs_extent_map_find(const struct cmfs_extent_map *map, uint64_t pos);

#endif
