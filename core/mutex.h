/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_MUTEX_H
#define CMFS_MUTEX_H

#include <pthread.h>

/*
 * pthread mutexes and conditions with clang's thread-safety annotations
 * (clang: "Thread Safety Analysis"), so that a build with -Wthread-safety
 * proves that what is locked is unlocked. (guarded_by on members needs C++ in
 * clang 14: our members say "protected by" in words.)
 *
 * Lock order, the only place where it is written:
 *
 *   image change lock -> switch lock -> gate -> bypass lock -> range lock ->
 *   verdicts -> (backend's own, from the top: faults; the write log's ranges -> the
 *   write log; the power-cut layer; the overlay's gate -> its ranges -> those of its
 *   data or image -> the overlay; the host file's lock; a qemu-nbd's change lock -> its
 *   gate; an NBD pool; libnbd's own of a handle -> that connection)
 *
 * A gate or range, or the power-cut layer (among the backend's own), is "held" by
 * admission, not by its mutex: the mutexes below are held for a few instructions
 * only, never across I/O or a callback. The change lock and the switch lock are held
 * across a whole switch, cut or commit, a qemu-nbd's change lock across its replacement,
 * the bypass lock while the host's sync flag is set or cleared, the power-cut layer's
 * while a cut keeps the data of a write in flight, and the one of the host file's lock
 * while that changes.
 */
#ifdef __clang__
#define CMFS_TSA(x) __attribute__((x))
#else
#define CMFS_TSA(x)
#endif
#define CMFS_ACQUIRE(m)	 CMFS_TSA(acquire_capability(m))
#define CMFS_RELEASE(m)	 CMFS_TSA(release_capability(m))
#define CMFS_REQUIRES(m) CMFS_TSA(requires_capability(m))
#define CMFS_NO_TSA	 CMFS_TSA(no_thread_safety_analysis)

struct CMFS_TSA(capability("mutex")) cmfs_mutex {
	pthread_mutex_t m;
};

#define CMFS_MUTEX_INITIALIZER                                                                     \
	{                                                                                          \
		.m = PTHREAD_MUTEX_INITIALIZER                                                     \
	}

static inline void cmfs_mutex_lock(struct cmfs_mutex *mutex) CMFS_ACQUIRE(mutex) CMFS_NO_TSA
{
	pthread_mutex_lock(&mutex->m);
}

static inline void cmfs_mutex_unlock(struct cmfs_mutex *mutex) CMFS_RELEASE(mutex) CMFS_NO_TSA
{
	pthread_mutex_unlock(&mutex->m);
}

static inline void cmfs_cond_wait(pthread_cond_t *cond, struct cmfs_mutex *mutex)
	CMFS_REQUIRES(mutex)
{
	pthread_cond_wait(cond, &mutex->m);
}

#endif
