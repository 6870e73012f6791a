/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_PER_THREAD_H
#define CMFS_PER_THREAD_H

#include <pthread.h>
#include <stdlib.h>

/*
 * What each thread has of its own, made when it is first asked for and given to a
 * destructor at the thread's end, which __thread's storage is not. The pointer to it is the
 * user's own __thread variable, so that to have it again costs next to nothing.
 */
struct cmfs_per_thread {
	size_t size;		    /* of it; zeroes at first */
	void (*destroy)(void *own); /* frees it, too */
	pthread_mutex_t lock;	    /* protects: */
	int made;		    /* the key: 1: it is there; < 0: -errno */
	pthread_key_t key;
};

#define CMFS_PER_THREAD(type, destructor)                                                          \
	{                                                                                          \
		.size = sizeof(type), .destroy = (destructor), .lock = PTHREAD_MUTEX_INITIALIZER   \
	}

/** cmfs_per_thread_make() - make the calling thread's own; once for each. NULL: no memory. */
void *cmfs_per_thread_make(struct cmfs_per_thread *slot);

#endif
