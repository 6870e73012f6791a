// SPDX-License-Identifier: GPL-2.0-or-later
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- random numbers ---- */

static uint64_t seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void choose_seed(void)
{
	const char *env = getenv("CMFS_TEST_SEED");

	if (env)
		seed = strtoull(env, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint64_t)getpid();
	print_message("CMFS_TEST_SEED=%llu\n", (unsigned long long)seed);
}

void rnd_init(struct rnd *rnd, uint64_t stream)
{
	pthread_once(&seed_once, choose_seed);
	rnd->state = seed ^ (stream * 0xd1342543de82ef95);
	rnd_next(rnd);
}

/* splitmix64 */
uint64_t rnd_next(struct rnd *rnd)
{
	uint64_t z = rnd->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t rnd_below(struct rnd *rnd, uint64_t n)
{
	return rnd_next(rnd) % n;
}

void rnd_fill(struct rnd *rnd, void *buf, size_t len)
{
	uint8_t *p = buf;
	uint64_t word = 0;

	for (size_t i = 0; i < len; i++) {
		word = i % 8 == 0 ? rnd_next(rnd) : word >> 8;
		p[i] = (uint8_t)word;
	}
}

/* ---- threads ---- */

static pthread_mutex_t failure_lock = PTHREAD_MUTEX_INITIALIZER;
static char failure[512];     /* the first one; protected by failure_lock */
static unsigned int unjoined; /* used by the main thread only */

void thread_check(bool ok, const char *what, const char *file, int line)
{
	if (ok)
		return;
	pthread_mutex_lock(&failure_lock);
	if (!failure[0])
		snprintf(failure, sizeof(failure), "%s:%d: in a thread: %s", file, line, what);
	pthread_mutex_unlock(&failure_lock);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	t->run(t->arg);
	atomic_store(&t->done, true);
	return NULL;
}

void thread_start(struct thread *t, void (*run)(void *arg), void *arg)
{
	unjoined++;
	t->run = run;
	t->arg = arg;
	atomic_init(&t->done, false);
	assert_int_equal(pthread_create(&t->pthread, NULL, thread_main, t), 0);
}

bool thread_done(struct thread *t)
{
	return atomic_load(&t->done);
}

void thread_join(struct thread *t)
{
	char text[sizeof(failure)] = "";

	assert_int_equal(pthread_join(t->pthread, NULL), 0);
	/* Not before: the others may still use what is on the test's stack. */
	if (--unjoined > 0)
		return;
	pthread_mutex_lock(&failure_lock);
	memcpy(text, failure, sizeof(text));
	failure[0] = '\0';
	pthread_mutex_unlock(&failure_lock);
	if (text[0])
		fail_msg("%s", text);
}

void linger(void)
{
	usleep(5000);
}
