// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connections to an export, and what becomes of promises when they are lost.
 *
 * A server that is gone may have crashed, and what it acknowledged without a flush is
 * lost then. We cannot know: behind a socket that ended may be a crash, a restart or a
 * broken cable, and behind the next one the same server or another. So:
 *
 * - Changes acknowledged and not yet covered by a flush when a connection is lost count
 *   as lost. From then on no flush reports success (P2, P5), whether or not there is a
 *   connection again: who wants to go on mounts anew, and checks what is there. Sync
 *   modes have no such changes; they, and images that were flushed, go on as before.
 *
 * - Connections are lost together. They make up a generation, to one server as far as we
 *   can see; the loss of one ends it for all of them. With some of them older than
 *   others, a flush on a new one could be taken to cover what an old one had written.
 *   An answer counts only in the generation in which its command was sent.
 *
 * - A command without an answer is sent again in the next generation, if that comes in
 *   time (reconnect_delay_s, as QEMU's reconnect-delay), else it fails. All of them may
 *   be done twice with the same result. A write and the flush behind it that makes it
 *   durable are sent again together. What cannot be excluded, here as in QEMU: a server
 *   that does the first of two sent writes only after the second one was acknowledged
 *   and overwritten. It would have to go on with a connection's requests long after that
 *   connection's end; who fears that leaves the delay at 0 and has nothing sent twice.
 *
 * - Several connections (multi-conn) only where the server says that a flush on one of
 *   them covers all that was acknowledged on any of them.
 *
 * One thread, the watcher, makes new generations. Between that it sleeps on the sockets,
 * so that an idle connection's end is noticed when it comes and not by the request that
 * would fail of it.
 */
#include "nbd_pool.h"

#include "mutex.h"
#include "nbd_ledger.h"

#include <assert.h>
#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS	    16
#define DEFAULT_CONNECTIONS 4

#define CONNECT_TIMEOUT_MS 10000
/* A server may say multi-conn and still not let another one in (qemu-nbd --shared). */
#define EXTRA_TIMEOUT_MS 2000
#define RETRY_FIRST_MS	 50
#define RETRY_MAX_MS	 1000

/* Refs: its slot's, and one for each thread that uses it. Protected by the pool's lock. */
struct member {
	struct cmfs_nbd_conn *conn;
	uint64_t generation;
	unsigned int refs;
};

struct cmfs_nbd_pool {
	atomic_uint refs;
	struct cmfs_nbd_source source; /* its strings are ours */
	struct cmfs_nbd_caps caps;
	pthread_t watcher;
	bool watched; /* the watcher exists */
	int wake_fd;  /* wakes the watcher */

	struct cmfs_mutex lock;
	pthread_cond_t connected; /* a new generation; or the end of waiting for it */
	struct member *members[MAX_CONNECTIONS]; /* protected by lock, as are the others */
	unsigned int count;			 /* 0: lost */
	struct timespec lost_at;		 /* if so */
	bool stopping;
	struct cmfs_nbd_ledger ledger;
};

/* ---- members ---- */

static void put(struct cmfs_nbd_pool *pool, struct member *member)
{
	bool last;

	cmfs_mutex_lock(&pool->lock);
	last = --member->refs == 0;
	cmfs_mutex_unlock(&pool->lock);
	if (last) {
		cmfs_nbd_conn_close(member->conn);
		free(member);
	}
}

static void wake_watcher(struct cmfs_nbd_pool *pool)
{
	eventfd_write(pool->wake_fd, 1);
}

/* The end of a generation, by whoever notices it first. */
static void lose(struct cmfs_nbd_pool *pool, uint64_t generation)
{
	struct member *gone[MAX_CONNECTIONS];
	unsigned int count = 0;

	cmfs_mutex_lock(&pool->lock);
	if (cmfs_nbd_ledger_lose(&pool->ledger, generation)) {
		count = pool->count;
		memcpy(gone, pool->members, count * sizeof(gone[0]));
		pool->count = 0;
		clock_gettime(CLOCK_MONOTONIC, &pool->lost_at);
	}
	cmfs_mutex_unlock(&pool->lock);

	for (unsigned int i = 0; i < count; i++) {
		cmfs_nbd_conn_abort(gone[i]->conn);
		put(pool, gone[i]);
	}
	if (count > 0)
		wake_watcher(pool);
}

static struct member *least_used_locked(struct cmfs_nbd_pool *pool) CMFS_REQUIRES(&pool->lock)
{
	struct member *best = pool->members[0];

	for (unsigned int i = 1; i < pool->count; i++)
		if (pool->members[i]->refs < best->refs)
			best = pool->members[i];
	return best;
}

/* A connection, perhaps after waiting for one to come back. NULL: there is none. */
static struct member *get(struct cmfs_nbd_pool *pool)
{
	struct member *member = NULL;
	int r = 0;

	cmfs_mutex_lock(&pool->lock);
	while (pool->count == 0 && pool->source.reconnect_delay_s > 0 && r == 0) {
		struct timespec until = pool->lost_at;

		until.tv_sec += pool->source.reconnect_delay_s;
		r = pthread_cond_timedwait(&pool->connected, &pool->lock.m, &until);
	}
	if (pool->count > 0) {
		member = least_used_locked(pool);
		member->refs++;
	}
	cmfs_mutex_unlock(&pool->lock);
	return member;
}

/* ---- connecting ---- */

static void close_generation(struct member **members, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		cmfs_nbd_conn_close(members[i]->conn);
		free(members[i]);
	}
}

static int add_member(struct cmfs_nbd_pool *pool, struct member **members, unsigned int *count,
		      int timeout_ms, struct cmfs_err *err)
{
	struct member *member = malloc(sizeof(*member));
	int r;

	if (!member)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*member = (struct member){ .refs = 1 };
	r = cmfs_nbd_conn_open(&pool->source, pool->wake_fd, timeout_ms, &member->conn, err);
	if (r < 0) {
		free(member);
		return r;
	}
	members[(*count)++] = member;
	return 0;
}

/* One connection at least, and as many more as the server and the source allow. */
static int connect_generation(struct cmfs_nbd_pool *pool, struct member **members,
			      unsigned int *ret_count, struct cmfs_err *err)
{
	unsigned int count = 0, wanted = pool->source.max_connections;
	const struct cmfs_nbd_caps *caps;
	int r = add_member(pool, members, &count, CONNECT_TIMEOUT_MS, err);

	if (r < 0)
		return r;
	caps = cmfs_nbd_conn_caps(members[0]->conn);
	if (!caps->multi_conn)
		wanted = 1;
	while (count < wanted && add_member(pool, members, &count, EXTRA_TIMEOUT_MS, NULL) == 0)
		if (!cmfs_nbd_same_export(caps, cmfs_nbd_conn_caps(members[count - 1]->conn))) {
			close_generation(members, count);
			return cmfs_err_set(err, -EIO, "the export changes while we connect");
		}
	*ret_count = count;
	return 0;
}

static void install(struct cmfs_nbd_pool *pool, struct member **members, unsigned int count)
{
	cmfs_mutex_lock(&pool->lock);
	for (unsigned int i = 0; i < count; i++) {
		members[i]->generation = pool->ledger.generation;
		pool->members[i] = members[i];
	}
	pool->count = count;
	pthread_cond_broadcast(&pool->connected);
	cmfs_mutex_unlock(&pool->lock);
}

static bool reconnect(struct cmfs_nbd_pool *pool)
{
	struct member *members[MAX_CONNECTIONS];
	unsigned int count;

	if (connect_generation(pool, members, &count, NULL) < 0)
		return false;
	if (!cmfs_nbd_same_export(&pool->caps, cmfs_nbd_conn_caps(members[0]->conn))) {
		close_generation(members, count); /* not ours: keep looking */
		return false;
	}
	install(pool, members, count);
	return true;
}

/* ---- the watcher ---- */

/* What to poll for the end of a connection; returns how many, 0 if lost. */
static unsigned int watch_list(struct cmfs_nbd_pool *pool, struct member **members, bool *ret_stop)
{
	unsigned int count;
	eventfd_t ignored;

	eventfd_read(pool->wake_fd, &ignored); /* whatever it was for is seen below */
	cmfs_mutex_lock(&pool->lock);
	*ret_stop = pool->stopping;
	count = pool->count;
	for (unsigned int i = 0; i < count; i++) {
		members[i] = pool->members[i];
		members[i]->refs++;
	}
	cmfs_mutex_unlock(&pool->lock);
	return count;
}

static void wait_for_end(struct cmfs_nbd_pool *pool, struct member **members, unsigned int count,
			 int timeout_ms)
{
	struct pollfd fds[MAX_CONNECTIONS + 1] = { { .fd = pool->wake_fd, .events = POLLIN } };

	for (unsigned int i = 0; i < count; i++)
		fds[i + 1] = (struct pollfd){ .fd = cmfs_nbd_conn_fd(members[i]->conn),
					      .events = POLLRDHUP };
	if (poll(fds, count + 1, timeout_ms) < 0)
		return; /* EINTR */
	for (unsigned int i = 0; i < count; i++)
		if (fds[i + 1].revents)
			lose(pool, members[i]->generation);
}

static void *watch(void *arg)
{
	struct cmfs_nbd_pool *pool = arg;
	struct member *members[MAX_CONNECTIONS];
	int retry_ms = RETRY_FIRST_MS;
	unsigned int count;
	bool stop;

	for (;;) {
		count = watch_list(pool, members, &stop);
		if (count == 0 && !stop && reconnect(pool)) {
			retry_ms = RETRY_FIRST_MS;
			continue;
		}
		if (stop)
			break;
		wait_for_end(pool, members, count, count > 0 ? -1 : retry_ms);
		if (count == 0 && retry_ms < RETRY_MAX_MS)
			retry_ms *= 2;
		for (unsigned int i = 0; i < count; i++)
			put(pool, members[i]);
	}
	for (unsigned int i = 0; i < count; i++)
		put(pool, members[i]);
	return NULL;
}

static void stop_watcher(struct cmfs_nbd_pool *pool)
{
	if (!pool->watched)
		return;
	cmfs_mutex_lock(&pool->lock);
	pool->stopping = true;
	cmfs_mutex_unlock(&pool->lock);
	wake_watcher(pool);
	pthread_join(pool->watcher, NULL);
}

/* ---- open, close ---- */

static bool copy_string(const char **text)
{
	if (*text)
		*text = strdup(*text);
	return *text;
}

static int copy_source(struct cmfs_nbd_source *ret, const struct cmfs_nbd_source *from)
{
	bool ok;

	*ret = *from;
	if (!ret->name)
		ret->name = ret->uri ? ret->uri : ret->socket_path;
	if (!ret->export_name)
		ret->export_name = "";
	ok = copy_string(&ret->name);
	ok = (copy_string(&ret->uri) || !from->uri) && ok;
	ok = (copy_string(&ret->socket_path) || !from->socket_path) && ok;
	ok = copy_string(&ret->export_name) && ok;
	if (ret->max_connections == 0)
		ret->max_connections = DEFAULT_CONNECTIONS;
	if (ret->max_connections > MAX_CONNECTIONS)
		ret->max_connections = MAX_CONNECTIONS;
	return ok ? 0 : -ENOMEM;
}

static void destroy(struct cmfs_nbd_pool *pool)
{
	stop_watcher(pool);
	close_generation(pool->members, pool->count);
	if (pool->wake_fd >= 0)
		close(pool->wake_fd);
	free((char *)pool->source.name);
	free((char *)pool->source.uri);
	free((char *)pool->source.socket_path);
	free((char *)pool->source.export_name);
	pthread_cond_destroy(&pool->connected);
	pthread_mutex_destroy(&pool->lock.m);
	free(pool);
}

static void init_condition(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

static int connect_first(struct cmfs_nbd_pool *pool, struct cmfs_err *err)
{
	struct member *members[MAX_CONNECTIONS];
	unsigned int count;
	int r = connect_generation(pool, members, &count, err);

	if (r < 0)
		return r;
	pool->caps = *cmfs_nbd_conn_caps(members[0]->conn);
	install(pool, members, count);
	return 0;
}

int cmfs_nbd_pool_open(const struct cmfs_nbd_source *source, struct cmfs_nbd_pool **ret,
		       struct cmfs_err *err)
{
	struct cmfs_nbd_pool *pool = malloc(sizeof(*pool));
	int r;

	if (!pool)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*pool = (struct cmfs_nbd_pool){
		.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.lock = CMFS_MUTEX_INITIALIZER,
	};
	atomic_init(&pool->refs, 1);
	init_condition(&pool->connected);
	r = copy_source(&pool->source, source);
	if (r < 0)
		cmfs_err_set(err, r, "out of memory");
	else if (pool->wake_fd < 0)
		r = cmfs_err_set(err, -errno, "eventfd: %s", strerror(errno));
	else
		r = connect_first(pool, err);
	if (r == 0) {
		r = -pthread_create(&pool->watcher, NULL, watch, pool);
		pool->watched = r == 0;
		if (r < 0)
			cmfs_err_set(err, r, "cannot start a thread: %s", strerror(-r));
	}
	if (r < 0) {
		destroy(pool);
		return r;
	}
	*ret = pool;
	return 0;
}

struct cmfs_nbd_pool *cmfs_nbd_pool_ref(struct cmfs_nbd_pool *pool)
{
	atomic_fetch_add(&pool->refs, 1);
	return pool;
}

void cmfs_nbd_pool_unref(struct cmfs_nbd_pool *pool)
{
	if (pool && atomic_fetch_sub(&pool->refs, 1) == 1)
		destroy(pool);
}

const struct cmfs_nbd_caps *cmfs_nbd_pool_caps(const struct cmfs_nbd_pool *pool)
{
	return &pool->caps;
}

const char *cmfs_nbd_pool_name(const struct cmfs_nbd_pool *pool)
{
	return pool->source.name;
}

/* ---- commands ---- */

/* Until a generation has answered; @ret_generation: which. */
static int run(struct cmfs_nbd_pool *pool, struct cmfs_nbd_command *command,
	       uint64_t *ret_generation)
{
	int r;

	do {
		struct member *member = get(pool);

		if (!member)
			return -EIO;
		*ret_generation = member->generation;
		r = cmfs_nbd_conn_run(member->conn, command);
		if (r == CMFS_NBD_LOST)
			lose(pool, *ret_generation);
		put(pool, member);
	} while (r == CMFS_NBD_LOST && pool->source.reconnect_delay_s > 0);
	return r == CMFS_NBD_LOST ? -EIO : r;
}

/* What answered was an earlier generation, whose answers have stopped to count. */
static int too_late(const struct cmfs_nbd_pool *pool)
{
	return pool->source.reconnect_delay_s > 0 ? -EAGAIN : -EIO;
}

int cmfs_nbd_pool_run(struct cmfs_nbd_pool *pool, struct cmfs_nbd_command *command)
{
	uint64_t generation;

	return run(pool, command, &generation);
}

int cmfs_nbd_pool_change(struct cmfs_nbd_pool *pool, struct cmfs_nbd_command *command)
{
	uint64_t generation;
	int r;

	do {
		r = run(pool, command, &generation);
		if (r < 0)
			return r;
		cmfs_mutex_lock(&pool->lock);
		if (!cmfs_nbd_ledger_change(&pool->ledger, generation))
			r = too_late(pool);
		cmfs_mutex_unlock(&pool->lock);
	} while (r == -EAGAIN);
	return r;
}

static uint64_t begin_flush(struct cmfs_nbd_pool *pool)
{
	uint64_t covers;

	cmfs_mutex_lock(&pool->lock);
	covers = cmfs_nbd_ledger_begin_flush(&pool->ledger);
	cmfs_mutex_unlock(&pool->lock);
	return covers;
}

static int end_flush(struct cmfs_nbd_pool *pool, uint64_t generation, uint64_t covers)
{
	int r = 0;

	cmfs_mutex_lock(&pool->lock);
	if (!cmfs_nbd_ledger_end_flush(&pool->ledger, generation, covers))
		r = too_late(pool);
	if (pool->ledger.lost)
		r = -EIO;
	cmfs_mutex_unlock(&pool->lock);
	return r;
}

/* @ret_generation: the one that it was done in, which still lasts. */
static int flush(struct cmfs_nbd_pool *pool, uint64_t *ret_generation)
{
	struct cmfs_nbd_command command = { .op = CMFS_NBD_FLUSH };
	int r;

	do {
		uint64_t covers = begin_flush(pool);

		r = cmfs_nbd_pool_check(pool);
		if (r == 0)
			r = run(pool, &command, ret_generation);
		if (r == 0)
			r = end_flush(pool, *ret_generation, covers);
	} while (r == -EAGAIN);
	return r;
}

int cmfs_nbd_pool_change_and_flush(struct cmfs_nbd_pool *pool, struct cmfs_nbd_command *command)
{
	uint64_t written, flushed;
	int r;

	do {
		r = run(pool, command, &written);
		if (r == 0)
			r = flush(pool, &flushed);
		if (r == 0 && written != flushed)
			r = too_late(pool);
	} while (r == -EAGAIN);
	return r;
}

int cmfs_nbd_pool_flush(struct cmfs_nbd_pool *pool)
{
	uint64_t generation;

	return flush(pool, &generation);
}

int cmfs_nbd_pool_check(struct cmfs_nbd_pool *pool)
{
	bool lost;

	cmfs_mutex_lock(&pool->lock);
	lost = pool->ledger.lost;
	cmfs_mutex_unlock(&pool->lock);
	return lost ? -EIO : 0;
}

void cmfs_nbd_pool_start_over(struct cmfs_nbd_pool *pool)
{
	cmfs_mutex_lock(&pool->lock);
	cmfs_nbd_ledger_start_over(&pool->ledger);
	cmfs_mutex_unlock(&pool->lock);
}
