/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_RANGE_LOCK_H
#define CMFS_RANGE_LOCK_H

#include "mutex.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Locks on byte ranges of one image. Writes of whole blocks share: where they
 * overlap, either order is right. A read-modify-write and whatever else reads
 * before it writes is exclusive: a neighbour's bytes written in between would be
 * lost (P9). First come, first served among ranges that conflict, so nobody
 * starves; ranges that do not conflict pass each other.
 *
 * Source: QEMU's block layer calls these serialising requests.
 */
struct cmfs_range_lock {
	struct cmfs_mutex lock;		 /* protects all below */
	struct cmfs_range *first, *last; /* in order of arrival */
	unsigned int waiting;
	pthread_cond_t released;
};

/* One request's hold; lives on its stack. The fields are ours. */
struct cmfs_range {
	uint64_t start, end; /* [start, end) in bytes; UINT64_MAX: no end */
	bool exclusive;
	struct cmfs_range *prev, *next;
};

void cmfs_range_lock_init(struct cmfs_range_lock *locks);
void cmfs_range_lock_finish(struct cmfs_range_lock *locks); /* nothing held */

/* Any thread; a thread holds at most one range at a time. */
void cmfs_range_acquire(struct cmfs_range_lock *locks, struct cmfs_range *range, uint64_t start,
			uint64_t end, bool exclusive);
void cmfs_range_release(struct cmfs_range_lock *locks, struct cmfs_range *range);

#endif
