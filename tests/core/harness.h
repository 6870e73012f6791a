/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_HARNESS_H
#define CMFS_TEST_HARNESS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* What every test of core/ needs: random numbers that repeat, and threads. */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- random numbers ---- */

struct rnd {
	uint64_t state;
};

/*
 * @stream: each use (thread, case) its own. The seed is CMFS_TEST_SEED or else
 * new in every run; it is printed, once, when it is first used.
 */
void rnd_init(struct rnd *rnd, uint64_t stream);
uint64_t rnd_next(struct rnd *rnd);
uint64_t rnd_below(struct rnd *rnd, uint64_t n); /* 0 ... n - 1 */
void rnd_fill(struct rnd *rnd, void *buf, size_t len);

/* ---- threads ---- */

struct thread {
	pthread_t pthread;
	void (*run)(void *arg);
	void *arg;
	atomic_bool done;
};

void thread_start(struct thread *t, void (*run)(void *arg), void *arg);
bool thread_done(struct thread *t);

/* The last one to be joined fails the test if a THREAD_CHECK failed in any. */
void thread_join(struct thread *t);

/* cmocka's assertions jump back to the main thread's stack: not for others. */
#define THREAD_CHECK(cond) thread_check(cond, #cond, __FILE__, __LINE__)
void thread_check(bool ok, const char *what, const char *file, int line);

/*
 * Wait for something that must come about. No timeout: a test that hangs is
 * ended by meson, and its name says what it waited for.
 */
#define WAIT_UNTIL(cond)                                                                           \
	do {                                                                                       \
		while (!(cond))                                                                    \
			usleep(50);                                                                \
	} while (0)

/*
 * Give something that must not happen the time to happen all the same. Nothing
 * depends on how long this takes: a correct program passes at any speed.
 */
void linger(void);

#endif
