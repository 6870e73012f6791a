/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_JOBS_H
#define CMFS_JOBS_H

#include <pthread.h>
#include <stdbool.h>

/*
 * Work that a request starts and that must not run on libfuse's worker threads,
 * as it waits for requests that those have to serve: a live switch drains, and
 * has the kernel drop pages, which may first have to be written. Each job has a
 * thread of its own (they are rare), so one that waits does not hold up others.
 */
struct cmfs_jobs {
	pthread_mutex_t lock; /* protects all below */
	pthread_cond_t idle;
	unsigned int running;
	bool stopped;
};

void cmfs_jobs_init(struct cmfs_jobs *jobs);
void cmfs_jobs_finish(struct cmfs_jobs *jobs); /* after cmfs_jobs_stop() */

/**
 * cmfs_jobs_start() - run @work(@arg) on a new thread.
 *
 * Returns 0, -ESHUTDOWN after cmfs_jobs_stop(), or -EAGAIN; then @work does not
 * run and @arg stays the caller's.
 */
int cmfs_jobs_start(struct cmfs_jobs *jobs, void (*work)(void *arg), void *arg);

/** cmfs_jobs_stop() - start no more, wait for those that run. May be repeated. */
void cmfs_jobs_stop(struct cmfs_jobs *jobs);

#endif
