// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The threads that serve requests: read one, have libfuse and the operations serve
 * it (which replies), read the next. Who reads when is the roster's business.
 *
 * libfuse's own loop does the same, but keeps all threads waiting in read(), and the
 * kernel wakes the one that has waited longest: each of them with its cold caches,
 * and each with its own megabyte of buffer in memory before long. Here the same few
 * work whenever they suffice.
 *
 * A worker has one buffer:
 *
 *     0             4096 - headers    4096
 *     |   unused    | fuse_in_header, | WRITE: the data; READ: its answer
 *     |             | fuse_write_in   | others: rest of their arguments
 *
 * so that data is page aligned, and O_DIRECT needs no copy of it.
 *
 * The end: whoever finds the session unmounted says so to the main thread; a signal
 * wakes that by signals.c. It then sets `stopping`, lets the parked ones go, and
 * wakes those in read() by a signal that does nothing else, again and again until
 * they are gone: one may be just about to enter read(). A thread that serves a
 * request gets no such signal, so its system calls are not interrupted:
 * `reading` is set around read(), and whoever is seen reading after `stopping` was
 * set begins no other request than the one it may just have got.
 */
#include "workers.h"

#include "cmfs/buffer.h"
#include "fs.h"
#include "signals.h"

#include <errno.h>
#include <linux/fuse.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

/*
 * How many wait in read(): so many requests in a row cost no wake-up but the
 * kernel's own. 4 KiB requests a second at depths 1 and 32 beside 32 that wait: 1
 * reader 0.77 to 0.91, 2 0.94 to 0.98, 4 0.98 to 1.13.
 */
#define READERS_MAX 4

/*
 * Big requests, by payload, and how many are served at once: beside libfuse's loop, reads of
 * 1 MiB at depth 32 reached 0.92 with 4, 0.94 with 8 and 16, writes 1.21, 1.20, 0.98.
 */
#define BIG_BYTES (128 * 1024)
#define BIG_MAX	  8

/* Workers from this number on give memory back after a big request. */
#define WARM_WORKERS BIG_MAX

#define TICK_MS	 50 /* between two looks at big requests that do not end */
#define SHAKE_MS 5  /* between two signals to a thread that is to end */

#define HEADERS	    (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define PAYLOAD_OFF 4096

struct workers;

struct worker {
	struct workers *all;
	bool called_before;   /* touched by whoever the roster told to call it */
	pthread_t thread;     /* once there is one to join */
	atomic_bool joinable; /* its thread exists, and is not joined yet */
	atomic_bool reading;  /* in read(), or close to it */
	atomic_bool ended;
	sem_t called; /* it is parked no more */
};

struct workers {
	struct fuse_session *se;
	struct cmfs_roster roster;
	struct worker worker[CMFS_ROSTER_WORKERS_MAX];
	atomic_bool stopping;
	atomic_bool watching; /* the main thread ticks, or is about to */
	atomic_int error;     /* the first one of the device, or 0 */
	sem_t news;	      /* wakes the main thread */
};

/* ---- one request ---- */

void *cmfs_workers_payload(size_t len)
{
	char *mem = cmfs_buffer_get(CMFS_BUFFER_REQUEST, PAYLOAD_OFF + len);

	return mem ? mem + PAYLOAD_OFF : NULL;
}

/* Where a request is read to, so that its payload lies right. */
static void *request_memory(void)
{
	char *payload = cmfs_workers_payload(CMFS_PAYLOAD_MAX);

	return payload ? payload - HEADERS : NULL;
}

/* Returns the request's length, or 0 if there will be no more, or -errno. */
static ssize_t receive(struct fuse_session *se, const atomic_bool *stopping, void *mem)
{
	ssize_t n = 0;

	while (!atomic_load(stopping) && !fuse_session_exited(se)) {
		n = read(fuse_session_fd(se), mem, HEADERS + CMFS_PAYLOAD_MAX);
		if (n >= 0)
			return n < (ssize_t)sizeof(struct fuse_in_header) ? -EIO : n;
		/* Unmounted; or just now, with a request half read. */
		if (errno == ENODEV || errno == ECONNABORTED)
			return 0;
		/* ENOENT: the request was taken back. */
		if (errno != EINTR && errno != EAGAIN && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static bool is_big(const struct fuse_in_header *in, size_t len)
{
	const struct fuse_read_in *read_in = (const void *)(in + 1);

	return len > BIG_BYTES ||
	       (in->opcode == FUSE_READ && len >= sizeof(*in) + sizeof(*read_in) &&
		read_in->size > BIG_BYTES);
}

static void process(struct fuse_session *se, void *request, size_t len)
{
	const struct fuse_buf buf = { .mem = request, .size = len };

	fuse_session_process_buf(se, &buf);
}

/* ---- a worker ---- */

static void *work(void *arg);

/* Also a worker that has no thread yet is parked: it is started when first called. */
static int call_worker(struct workers *all, int number)
{
	struct worker *worker = &all->worker[number];
	int r;

	if (worker->called_before) {
		sem_post(&worker->called);
		return 0;
	}
	worker->called_before = true; /* it may be parked and called again before we go on */
	r = pthread_create(&worker->thread, NULL, work, worker);
	if (r != 0) {
		worker->called_before = false; /* UNTESTED: no more threads */
		cmfs_roster_refuse(&all->roster, number);
		return -r;
	}
	atomic_store(&worker->joinable, true);
	return 0;
}

/* With fewer threads it is slower; that is all. */
static void call_if_any(struct workers *all, int number)
{
	if (number != CMFS_ROSTER_NOBODY)
		call_worker(all, number);
}

static void end_all(struct workers *all, int error)
{
	int none = 0;

	if (error < 0)
		atomic_compare_exchange_strong(&all->error, &none, error);
	fuse_session_exit(all->se);
	sem_post(&all->news);
}

/* False: no more requests. */
static bool serve_one(struct worker *worker, int number, bool *ret_park)
{
	struct workers *all = worker->all;
	void *request = request_memory();
	ssize_t n = -ENOMEM;
	bool big, full;

	if (request) {
		atomic_store(&worker->reading, true);
		n = receive(all->se, &all->stopping, request);
		atomic_store(&worker->reading, false);
	}
	if (n <= 0) {
		end_all(all, (int)n);
		return false;
	}
	big = is_big(request, n);
	call_if_any(all, cmfs_roster_take(&all->roster, big, &full));
	if (full && !atomic_exchange(&all->watching, true))
		sem_post(&all->news);
	process(all->se, request, n);
	if (big && number >= WARM_WORKERS)
		cmfs_buffer_trim();
	*ret_park = !cmfs_roster_done(&all->roster, number, big);
	return true;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	int number = (int)(worker - worker->all->worker);
	bool park;

	pthread_setname_np(pthread_self(), "cmfs-worker");
	while (serve_one(worker, number, &park)) {
		while (park && sem_wait(&worker->called) != 0)
			;
	}
	atomic_store(&worker->ended, true);
	sem_post(&worker->all->news);
	return NULL;
}

/* ---- the main thread ---- */

static struct timespec in_ms(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ms * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void tick(struct workers *all)
{
	bool full;

	call_if_any(all, cmfs_roster_tick(&all->roster, &full));
	if (full)
		return;
	/* Who says "full" from here on, wakes us again. */
	atomic_store(&all->watching, false);
	/* Who said so just before this thought that we still ticked. */
	call_if_any(all, cmfs_roster_tick(&all->roster, &full));
	if (full)
		atomic_store(&all->watching, true);
}

/* Until the session has been told to end. */
static void watch(struct workers *all)
{
	struct timespec t;

	while (!fuse_session_exited(all->se)) {
		if (!atomic_load(&all->watching)) {
			sem_wait(&all->news); /* EINTR: a signal; look again */
			continue;
		}
		t = in_ms(TICK_MS);
		if (sem_clockwait(&all->news, CLOCK_MONOTONIC, &t) != 0 && errno == ETIMEDOUT)
			tick(all);
	}
}

static void join(struct worker *worker)
{
	struct timespec t;

	while (!atomic_load(&worker->ended)) {
		if (atomic_load(&worker->reading))
			cmfs_signals_wake(worker->thread);
		t = in_ms(SHAKE_MS);
		sem_clockwait(&worker->all->news, CLOCK_MONOTONIC, &t);
	}
	pthread_join(worker->thread, NULL);
	atomic_store(&worker->joinable, false);
}

/* Join whom we find until there is none: the last ones may still start others. */
static void join_all(struct workers *all)
{
	bool found;

	do {
		found = false;
		for (int i = 0; i < CMFS_ROSTER_WORKERS_MAX; i++) {
			if (!atomic_load(&all->worker[i].joinable))
				continue;
			join(&all->worker[i]);
			found = true;
		}
	} while (found);
}

static int run(struct workers *all)
{
	int r = call_worker(all, cmfs_roster_call(&all->roster));

	if (r < 0)
		return r;
	watch(all);
	atomic_store(&all->stopping, true);
	for (int i = 0; i < CMFS_ROSTER_WORKERS_MAX; i++)
		sem_post(&all->worker[i].called);
	join_all(all);
	return atomic_load(&all->error);
}

int cmfs_workers_serve_init(struct fuse_session *se)
{
	const atomic_bool stopping = false;
	void *request = request_memory();
	ssize_t n = request ? receive(se, &stopping, request) : -ENOMEM;

	if (n > 0)
		process(se, request, n);
	return n < 0 ? (int)n : 0;
}

int cmfs_workers_run(struct fuse_session *se, unsigned int count)
{
	struct workers all = { .se = se };
	int r;

	cmfs_roster_init(&all.roster, count, READERS_MAX, BIG_MAX);
	sem_init(&all.news, 0, 0);
	for (int i = 0; i < CMFS_ROSTER_WORKERS_MAX; i++) {
		all.worker[i].all = &all;
		sem_init(&all.worker[i].called, 0, 0);
	}
	r = run(&all);
	for (int i = 0; i < CMFS_ROSTER_WORKERS_MAX; i++)
		sem_destroy(&all.worker[i].called);
	sem_destroy(&all.news);
	return r;
}
