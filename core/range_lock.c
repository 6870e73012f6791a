// SPDX-License-Identifier: GPL-2.0-or-later
#include "range_lock.h"

#include <assert.h>

void cmfs_range_lock_init(struct cmfs_range_lock *locks) CMFS_NO_TSA
{
	*locks = (struct cmfs_range_lock){
		.lock = CMFS_MUTEX_INITIALIZER,
		.released = PTHREAD_COND_INITIALIZER,
	};
}

void cmfs_range_lock_finish(struct cmfs_range_lock *locks) CMFS_NO_TSA
{
	assert(!locks->first);
	pthread_cond_destroy(&locks->released);
	pthread_mutex_destroy(&locks->lock.m);
}

static bool conflicts(const struct cmfs_range *a, const struct cmfs_range *b)
{
	return (a->exclusive || b->exclusive) && a->start < b->end && b->start < a->end;
}

/* Does a request that came before @range stand in its way? */
static bool must_wait(const struct cmfs_range *range)
{
	for (const struct cmfs_range *r = range->prev; r; r = r->prev) {
		if (conflicts(r, range))
			return true;
	}
	return false;
}

void cmfs_range_acquire(struct cmfs_range_lock *locks, struct cmfs_range *range, uint64_t start,
			uint64_t end, bool exclusive)
{
	assert(start < end);
	cmfs_mutex_lock(&locks->lock);
	*range = (struct cmfs_range){
		.start = start,
		.end = end,
		.exclusive = exclusive,
		.prev = locks->last,
	};
	if (locks->last)
		locks->last->next = range;
	else
		locks->first = range;
	locks->last = range;

	locks->waiting++;
	while (must_wait(range))
		cmfs_cond_wait(&locks->released, &locks->lock);
	locks->waiting--;
	cmfs_mutex_unlock(&locks->lock);
}

void cmfs_range_release(struct cmfs_range_lock *locks, struct cmfs_range *range)
{
	cmfs_mutex_lock(&locks->lock);
	if (range->prev)
		range->prev->next = range->next;
	else
		locks->first = range->next;
	if (range->next)
		range->next->prev = range->prev;
	else
		locks->last = range->prev;
	if (locks->waiting > 0)
		pthread_cond_broadcast(&locks->released);
	cmfs_mutex_unlock(&locks->lock);
}
