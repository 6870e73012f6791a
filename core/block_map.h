/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_BLOCK_MAP_H
#define CMFS_BLOCK_MAP_H

#include <stdint.h>

/*
 * A state for each block of something: a small number, 0 at first. A bitmap of four
 * bits for each block where states vary, next to nothing where they do not, however
 * far that reaches.
 *
 * Not locked: any number of threads may look, or one may change.
 */
struct cmfs_block_map {
	uintptr_t root;	   /* ours */
	uint64_t count[8]; /* how many blocks are in each state */
};

#define CMFS_BLOCK_STATES 8

/* Blocks are numbered below this. */
#define CMFS_BLOCK_MAP_END (1ULL << 58)

void cmfs_block_map_init(struct cmfs_block_map *map);
void cmfs_block_map_finish(struct cmfs_block_map *map);

/**
 * cmfs_block_map_set() - the blocks [@start, @end) are in @state.
 *
 * Returns 0, or -ENOMEM; then nothing has changed. It does not fail if the range
 * begins and ends where states differ, or at the map's own ends.
 */
int cmfs_block_map_set(struct cmfs_block_map *map, uint64_t start, uint64_t end,
		       unsigned int state);

/**
 * cmfs_block_map_run() - the state of block @start.
 * @ret_end: how far it goes on without a change, but not beyond @end.
 */
unsigned int cmfs_block_map_run(const struct cmfs_block_map *map, uint64_t start, uint64_t end,
				uint64_t *ret_end);

#endif
