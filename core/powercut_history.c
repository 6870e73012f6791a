// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The history of what is not durable, and the view of it that reads need.
 *
 * A durable write changes the place below, which all changes are played over. For
 * them not to cover it again, it stands in the history, too, as a mark: played, it
 * uncovers its range. So any choice of changes, played in order, gives content in
 * which durable bytes are as they were written. Where no older change has any of the
 * range there is nothing to uncover, and no mark: in a sync mode the history stays
 * empty.
 */
#include "powercut_private.h"

#include "time_ns.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- playing ---- */

void cmfs_change_play(const struct cmfs_change *change, struct cmfs_powercut_view *view,
		      uint64_t start, uint64_t end)
{
	struct cmfs_extent extent = { .start = start, .end = end, .zeroes = CMFS_ALLOC_PUNCH };

	switch (change->kind) {
	case CMFS_CHANGE_WRITE:
		extent.block = change->block;
		extent.block_off = start - change->start;
		break;
	case CMFS_CHANGE_ZERO:
		extent.zeroes = change->zeroes;
		break;
	case CMFS_CHANGE_TRUNCATE:
		break;
	case CMFS_CHANGE_ALLOCATE:
		return;
	case CMFS_CHANGE_DURABLE:
		cmfs_extent_map_clear(&view->map, start, end);
		return;
	}
	cmfs_extent_map_set(&view->map, &extent);
}

void cmfs_change_play_size(const struct cmfs_change *change, struct cmfs_powercut_view *view)
{
	uint64_t size = atomic_load(&view->size);

	if (change->kind == CMFS_CHANGE_TRUNCATE)
		size = change->start;
	else
		size = max(size, change->grow_to);
	atomic_store(&view->size, size);
}

/* ---- the list ---- */

static void count(struct cmfs_powercut *pc, const struct cmfs_change *change, int by)
{
	if (change->kind == CMFS_CHANGE_WRITE)
		pc->writes += by;
	else if (change->kind != CMFS_CHANGE_DURABLE)
		pc->others += by;
}

static void append(struct cmfs_powercut *pc, struct cmfs_change *change)
{
	if (pc->writes + pc->others == 0)
		clock_gettime(CLOCK_REALTIME, &pc->since);
	change->next = NULL;
	change->number = pc->next_number++;
	*pc->newest = change;
	pc->newest = &change->next;
	count(pc, change, 1);
	if (change->start < change->end)
		cmfs_change_play(change, &pc->view, change->start, change->end);
	cmfs_change_play_size(change, &pc->view);
}

static void drop(struct cmfs_powercut *pc, struct cmfs_change *change)
{
	count(pc, change, -1);
	cmfs_store_drop(&pc->store, change->block);
	free(change);
}

int cmfs_history_add(struct cmfs_powercut *pc, const struct cmfs_change *change, const void *data)
{
	struct cmfs_change *new;
	struct timespec now;
	int r = cmfs_extent_map_reserve(&pc->view.map);

	if (r < 0)
		return r;
	new = malloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = *change;
	if (data)
		r = cmfs_store_put(&pc->store, data, change->end - change->start, &new->block);
	if (r < 0) {
		free(new);
		return r;
	}
	append(pc, new);
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	atomic_store(&pc->changed_at_ns, cmfs_time_to_ns(&now));
	return 0;
}

void cmfs_history_forget(struct cmfs_powercut *pc)
{
	cmfs_extent_map_clear_all(&pc->view.map);
	while (pc->oldest) {
		struct cmfs_change *change = pc->oldest;

		pc->oldest = change->next;
		drop(pc, change);
	}
	pc->newest = &pc->oldest;
	pc->next_number = 0;
	atomic_store(&pc->changed_at_ns, 0);
}

/* ---- durable writes ---- */

int cmfs_history_reserve_durable(struct cmfs_powercut *pc, uint64_t start, uint64_t end,
				 struct cmfs_change **ret)
{
	int r = cmfs_extent_map_reserve(&pc->view.map);

	if (r < 0)
		return r;
	*ret = malloc(sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	**ret = (struct cmfs_change){
		.kind = CMFS_CHANGE_DURABLE,
		.start = start,
		.end = end,
		.grow_to = end,
	};
	return 0;
}

/* Is nothing left of the older change @old after the durable write @mark? */
static bool is_covered(const struct cmfs_change *old, const struct cmfs_change *mark)
{
	return old->start >= mark->start && old->end <= mark->end && old->grow_to <= mark->end;
}

static bool overlaps(const struct cmfs_change *a, const struct cmfs_change *b)
{
	return a->start < b->end && b->start < a->end;
}

void cmfs_history_add_durable(struct cmfs_powercut *pc, struct cmfs_change *mark)
{
	struct cmfs_change **at = &pc->oldest;
	bool needed = false;

	while (*at) {
		struct cmfs_change *old = *at;

		if (is_covered(old, mark)) {
			*at = old->next;
			drop(pc, old);
		} else {
			needed |= overlaps(old, mark);
			at = &old->next;
		}
	}
	pc->newest = at;
	if (needed) {
		append(pc, mark);
		return;
	}
	cmfs_change_play(mark, &pc->view, mark->start, mark->end);
	cmfs_change_play_size(mark, &pc->view);
	free(mark);
}
