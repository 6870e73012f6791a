// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A treap: a binary search tree by start that is also a heap by random priorities,
 * and so balanced on average. Splitting one at an offset and merging two are all it
 * takes to replace a range.
 */
#include "extent_map.h"

#include "splitmix64.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ---- the tree ---- */

/* @ret_left gets what starts before @pos. */
static void split(struct cmfs_extent *tree, uint64_t pos, struct cmfs_extent **ret_left,
		  struct cmfs_extent **ret_right)
{
	if (!tree) {
		*ret_left = *ret_right = NULL;
	} else if (tree->start < pos) {
		*ret_left = tree;
		split(tree->right, pos, &tree->right, ret_right);
	} else {
		*ret_right = tree;
		split(tree->left, pos, ret_left, &tree->left);
	}
}

/* All of @left starts before all of @right. */
static struct cmfs_extent *merge(struct cmfs_extent *left, struct cmfs_extent *right)
{
	if (!left || !right)
		return left ? left : right;
	if (left->priority > right->priority) {
		left->right = merge(left->right, right);
		return left;
	}
	right->left = merge(left, right->left);
	return right;
}

static void free_tree(struct cmfs_extent *tree)
{
	if (!tree)
		return;
	free_tree(tree->left);
	free_tree(tree->right);
	free(tree);
}

/* ---- the map ---- */

void cmfs_extent_map_finish(struct cmfs_extent_map *map)
{
	cmfs_extent_map_clear_all(map);
	for (int i = 0; i < CMFS_EXTENT_SPARES; i++)
		free(map->spares[i]);
	*map = (struct cmfs_extent_map){ 0 };
}

void cmfs_extent_map_clear_all(struct cmfs_extent_map *map)
{
	free_tree(map->root);
	map->root = NULL;
}

int cmfs_extent_map_reserve(struct cmfs_extent_map *map)
{
	for (int i = 0; i < CMFS_EXTENT_SPARES; i++) {
		if (!map->spares[i])
			map->spares[i] = malloc(sizeof(*map->spares[i]));
		if (!map->spares[i])
			return -ENOMEM;
	}
	return 0;
}

static struct cmfs_extent *take_spare(struct cmfs_extent_map *map)
{
	for (int i = 0; i < CMFS_EXTENT_SPARES; i++) {
		struct cmfs_extent *spare = map->spares[i];

		map->spares[i] = NULL;
		if (spare)
			return spare;
	}
	abort(); /* not reserved: a bug of ours */
}

static void insert(struct cmfs_extent_map *map, const struct cmfs_extent *extent)
{
	struct cmfs_extent *new = take_spare(map), *left, *right;

	*new = *extent;
	new->left = new->right = NULL;
	map->random = cmfs_splitmix64(map->random);
	new->priority = map->random;
	split(map->root, new->start, &left, &right);
	map->root = merge(merge(left, new), right);
}

/* Have an extent end, and another one begin, at @pos if one lies there. */
static void cut_at(struct cmfs_extent_map *map, uint64_t pos)
{
	struct cmfs_extent *e = (struct cmfs_extent *)cmfs_extent_map_find(map, pos);
	struct cmfs_extent rest;

	if (!e || e->start >= pos)
		return;
	rest = *e;
	rest.start = pos;
	rest.block_off += pos - e->start;
	e->end = pos;
	insert(map, &rest);
}

void cmfs_extent_map_clear(struct cmfs_extent_map *map, uint64_t start, uint64_t end)
{
	struct cmfs_extent *left, *middle, *right;

	assert(start < end);
	cut_at(map, start);
	if (end != CMFS_EXTENT_END)
		cut_at(map, end);
	split(map->root, start, &left, &middle);
	split(middle, end, &middle, &right);
	free_tree(middle);
	map->root = merge(left, right);
}

void cmfs_extent_map_set(struct cmfs_extent_map *map, const struct cmfs_extent *extent)
{
	cmfs_extent_map_clear(map, extent->start, extent->end);
	insert(map, extent);
}

const struct cmfs_extent *cmfs_extent_map_find(const struct cmfs_extent_map *map, uint64_t pos)
{
	const struct cmfs_extent *e = map->root, *found = NULL;

	while (e) {
		if (e->end > pos) {
			found = e;
			e = e->left;
		} else {
			e = e->right;
		}
	}
	return found;
}
