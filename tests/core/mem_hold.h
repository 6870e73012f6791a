/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_MEM_HOLD_H
#define CMFS_TEST_MEM_HOLD_H

#include "mem_backend.h"

#include <pthread.h>

/*
 * A hook that stops one request in the memory backend until it is let go, so
 * that a test can look at what others do meanwhile.
 */
struct mem_hold {
	pthread_mutex_t lock; /* protects all below */
	pthread_cond_t changed;
	enum mem_op op;
	enum mem_stage stage;
	bool armed, held;
};

#define MEM_HOLD_INITIALIZER                                                                       \
	{                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER             \
	}

mem_hook mem_hold_hook; /* its argument is the struct mem_hold */

/* Stop the next request of the kind @op when it gets to @stage. */
void mem_hold_arm(struct mem_hold *hold, enum mem_op op, enum mem_stage stage);
void mem_hold_wait(struct mem_hold *hold); /* till one stands there */
void mem_hold_release(struct mem_hold *hold);

#endif
