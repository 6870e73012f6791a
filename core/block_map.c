// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A tree like a page table. A slot is either a state, which holds for all that the slot
 * covers, or the address of a node: of slots, or of the states themselves in a leaf.
 *
 * A change first makes slots and leaves begin and end where its range does, which may
 * take memory and changes no state; then it cannot fail.
 */
#include "block_map.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FANOUT_BITS 9
#define FANOUT	    (1U << FANOUT_BITS)
#define LEAF_BITS   13 /* blocks of a leaf */
#define ROOT_LEVEL  5  /* a slot of level 0 covers a leaf */

#define CELL_BITS  4 /* a state in a leaf */
#define WORD_CELLS (64 / CELL_BITS)
#define LEAF_WORDS ((1U << LEAF_BITS) / WORD_CELLS)

_Static_assert(ROOT_LEVEL *FANOUT_BITS + LEAF_BITS == 58, "as CMFS_BLOCK_MAP_END");
_Static_assert(CMFS_BLOCK_STATES <= 1 << CELL_BITS, "a cell holds each state");

static uint64_t span(unsigned int level)
{
	return 1ULL << (LEAF_BITS + level * FANOUT_BITS);
}

static bool is_state(uintptr_t slot)
{
	return slot < CMFS_BLOCK_STATES;
}

static uintptr_t *slots_of(uintptr_t slot)
{
	return (uintptr_t *)slot;
}

static uint64_t *words_of(uintptr_t slot)
{
	return (uint64_t *)slot;
}

/* A word full of one state. */
static uint64_t filled(unsigned int state)
{
	return state * (UINT64_MAX / ((1U << CELL_BITS) - 1));
}

static unsigned int get_cell(const uint64_t *words, uint64_t block)
{
	return words[block / WORD_CELLS] >> (block % WORD_CELLS * CELL_BITS) &
	       ((1U << CELL_BITS) - 1);
}

static void set_cell(uint64_t *words, uint64_t block, unsigned int state)
{
	unsigned int shift = block % WORD_CELLS * CELL_BITS;
	uint64_t mask = (uint64_t)((1U << CELL_BITS) - 1) << shift;
	uint64_t *word = &words[block / WORD_CELLS];

	*word = (*word & ~mask) | (uint64_t)state << shift;
}

/* ---- looking ---- */

/* Where, from @block on, another state than its own comes in the leaf. */
static uint64_t leaf_run(const uint64_t *words, uint64_t block)
{
	unsigned int state = get_cell(words, block);

	do {
		block++;
		while (block % WORD_CELLS == 0 && block < span(0) &&
		       words[block / WORD_CELLS] == filled(state))
			block += WORD_CELLS;
	} while (block < span(0) && get_cell(words, block) == state);
	return block;
}

/* @block's state and how far its piece of the tree says the same. */
static unsigned int find_piece(const struct cmfs_block_map *map, uint64_t block, uint64_t *ret_end)
{
	uintptr_t slot = map->root;
	unsigned int level = ROOT_LEVEL;
	uint64_t first; /* of what the slot covers */

	while (level > 0 && !is_state(slot)) {
		level--;
		slot = slots_of(slot)[block / span(level) % FANOUT];
	}
	first = block - block % span(level);
	if (is_state(slot)) {
		*ret_end = first + span(level);
		return (unsigned int)slot;
	}
	*ret_end = first + leaf_run(words_of(slot), block - first);
	return get_cell(words_of(slot), block - first);
}

unsigned int cmfs_block_map_run(const struct cmfs_block_map *map, uint64_t start, uint64_t end,
				uint64_t *ret_end)
{
	unsigned int state = find_piece(map, start, ret_end);

	assert(start < end && end <= CMFS_BLOCK_MAP_END);
	while (*ret_end < end) {
		uint64_t next;

		if (find_piece(map, *ret_end, &next) != state)
			return state;
		*ret_end = next;
	}
	*ret_end = end;
	return state;
}

/* ---- changing ---- */

/* Make a node of a slot that is a state. */
static int expand(uintptr_t *slot, unsigned int level)
{
	unsigned int state = (unsigned int)*slot;
	void *node;

	if (!is_state(*slot))
		return 0;
	node = malloc(level > 0 ? FANOUT * sizeof(uintptr_t) : LEAF_WORDS * sizeof(uint64_t));
	if (!node)
		return -ENOMEM;
	*slot = (uintptr_t)node;
	if (level > 0) {
		for (unsigned int i = 0; i < FANOUT; i++)
			slots_of(*slot)[i] = state;
	} else {
		for (unsigned int i = 0; i < LEAF_WORDS; i++)
			words_of(*slot)[i] = filled(state);
	}
	return 0;
}

/* Have no slot cover what is on both sides of @block. */
static int split(struct cmfs_block_map *map, uint64_t block)
{
	uintptr_t *slot = &map->root;

	for (unsigned int level = ROOT_LEVEL; block % span(level) != 0; level--) {
		int r = expand(slot, level);

		if (r < 0 || level == 0)
			return r;
		slot = &slots_of(*slot)[block / span(level - 1) % FANOUT];
	}
	return 0;
}

/* Free the node and count its blocks out; the slot is to be set anew. */
static void clear_slot(struct cmfs_block_map *map, uintptr_t slot, unsigned int level)
{
	if (is_state(slot)) {
		map->count[slot] -= span(level);
		return;
	}
	if (level > 0) {
		for (unsigned int i = 0; i < FANOUT; i++)
			clear_slot(map, slots_of(slot)[i], level - 1);
	} else {
		for (uint64_t i = 0; i < span(0); i++)
			map->count[get_cell(words_of(slot), i)]--;
	}
	free((void *)slot);
}

static void set_cells(struct cmfs_block_map *map, uint64_t *words, uint64_t start, uint64_t end,
		      unsigned int state)
{
	for (uint64_t i = start; i < end; i++) {
		map->count[get_cell(words, i)]--;
		set_cell(words, i, state);
	}
	map->count[state] += end - start;
}

/* [start, end) is within what the slot covers, counted from its first block. */
static void set_slot(struct cmfs_block_map *map, uintptr_t *slot, unsigned int level,
		     uint64_t start, uint64_t end, unsigned int state)
{
	if (start == 0 && end == span(level)) {
		clear_slot(map, *slot, level);
		*slot = state;
		map->count[state] += span(level);
		return;
	}
	if (level == 0) {
		set_cells(map, words_of(*slot), start, end, state);
		return;
	}
	while (start < end) {
		uint64_t child = span(level - 1), first = start - start % child;
		uint64_t stop = end < first + child ? end : first + child;

		set_slot(map, &slots_of(*slot)[first / child], level - 1, start - first,
			 stop - first, state);
		start = stop;
	}
}

int cmfs_block_map_set(struct cmfs_block_map *map, uint64_t start, uint64_t end, unsigned int state)
{
	uint64_t same;
	int r;

	assert(start < end && end <= CMFS_BLOCK_MAP_END && state < CMFS_BLOCK_STATES);
	if (cmfs_block_map_run(map, start, end, &same) == state && same == end)
		return 0;
	r = split(map, start);
	if (r == 0)
		r = split(map, end);
	if (r == 0)
		set_slot(map, &map->root, ROOT_LEVEL, start, end, state);
	return r;
}

void cmfs_block_map_init(struct cmfs_block_map *map)
{
	*map = (struct cmfs_block_map){ .root = 0, .count = { CMFS_BLOCK_MAP_END } };
}

void cmfs_block_map_finish(struct cmfs_block_map *map)
{
	clear_slot(map, map->root, ROOT_LEVEL);
	cmfs_block_map_init(map);
}
