/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_SIGNALS_H
#define CMFS_SIGNALS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/*
 * SIGTERM, SIGINT and SIGHUP as a clean end (P12). A thread of its own waits for
 * them, so that what has to happen before the request loop may end (wait for
 * jobs, get dirty pages out of the kernel) runs while the loop still serves.
 */
struct cmfs_signals {
	pthread_t thread, loop_thread;
	void (*stop)(void *arg); /* called once, on the signal thread */
	void *stop_arg;
	atomic_bool loop_ended;
};

/**
 * cmfs_signals_expect_children() - before any child is started. If SIGCHLD is ignored, as
 * whoever started us may have left it, nobody can wait for a child and learn its status.
 */
void cmfs_signals_expect_children(void);

/** cmfs_signals_block() - in main(), before any thread exists. */
void cmfs_signals_block(void);

/**
 * cmfs_signals_start() - wait for signals; the calling thread is the one that
 * will run the request loop: after @stop(@arg) it is woken from its system calls
 * until cmfs_signals_stop(). Returns 0 or -errno.
 */
int cmfs_signals_start(struct cmfs_signals *signals, void (*stop)(void *arg), void *arg);

/**
 * cmfs_signals_wake() - interrupt the system call that @thread waits in, if any. It
 * may be just about to enter one: do it again until the effect is there.
 */
void cmfs_signals_wake(pthread_t thread);

/** cmfs_signals_stop() - the loop has ended. */
void cmfs_signals_stop(struct cmfs_signals *signals);

#endif
