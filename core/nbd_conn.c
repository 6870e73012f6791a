// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One connection: libnbd's handle, and threads that wait for its answers.
 *
 * Any number of commands may be in flight. A thread that runs one sends it (libnbd's
 * asynchronous calls; its handle has a lock of its own) and waits. One of the waiting
 * threads at a time is the leader: it polls the socket and drives libnbd, whose
 * callbacks wake whoever is answered. When its own answer has come it leaves, and
 * another one that waits takes over. So a thread that is alone sleeps in poll(2) and
 * gets its answer itself, without a switch to another one.
 *
 * A command that could not be sent in full needs the leader to poll for writing, too:
 * its thread wakes it. When a connection is lost, libnbd ends all commands in flight with
 * ENOTCONN, in the thread that found out.
 *
 * We poll a duplicate of libnbd's socket: libnbd closes its own when it is lost, and the
 * number may be another file's by then.
 */
#include "nbd_conn.h"

#include "mutex.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct request {
	struct cmfs_nbd_conn *conn;
	bool done;	     /* protected by the connection's lock, as are the others */
	int error;	     /* errno */
	pthread_cond_t wake; /* done, or to become the leader */
	struct request *prev, *next;
};

struct cmfs_nbd_conn {
	struct nbd_handle *nbd;
	int fd;	     /* its socket, our own descriptor */
	int wake_fd; /* the leader is to look again at what to poll for */
	struct cmfs_nbd_caps caps;
	struct cmfs_mutex lock;	 /* never held when libnbd is called: its callbacks take it */
	bool has_leader;	 /* protected by lock */
	struct request *waiting; /* the same */
};

/* ---- connecting ---- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* What libnbd says, without the name of the call. */
static int err_nbd(struct cmfs_err *err)
{
	const char *text = nbd_get_error(), *colon = text ? strstr(text, ": ") : NULL;
	int error = nbd_get_errno();

	if (colon && strncmp(text, "nbd_", 4) == 0)
		text = colon + 2;
	return cmfs_err_set(err, error > 0 ? -error : -EIO, "%s", text ? text : "unknown error");
}

static short poll_events(struct nbd_handle *nbd)
{
	unsigned int direction = nbd_aio_get_direction(nbd);

	return (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
	       (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
}

/* Another thread may have moved on meanwhile: then there is nothing to be notified of. */
static int notify(struct nbd_handle *nbd, short revents)
{
	short wanted = poll_events(nbd);

	if (revents & (POLLHUP | POLLERR))
		revents |= wanted;
	if (revents & wanted & POLLIN)
		return nbd_aio_notify_read(nbd);
	if (revents & wanted & POLLOUT)
		return nbd_aio_notify_write(nbd);
	return 0;
}

static int start_connecting(struct nbd_handle *nbd, const struct cmfs_nbd_source *source)
{
	int r = nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION);

	if (r == 0)
		r = nbd_set_pread_initialize(nbd, false); /* nobody looks at what failed */
	if (r == 0)
		r = nbd_set_uri_allow_local_file(nbd, true);
	if (r == 0 && !source->uri)
		r = nbd_set_export_name(nbd, source->export_name ? source->export_name : "");
	if (r == 0 && source->uri)
		r = nbd_aio_connect_uri(nbd, source->uri);
	else if (r == 0)
		r = nbd_aio_connect_unix(nbd, source->socket_path);
	return r;
}

static int finish_connecting(struct nbd_handle *nbd, int stop_fd, int timeout_ms,
			     struct cmfs_err *err)
{
	int64_t deadline = now_ms() + timeout_ms;

	while (nbd_aio_is_connecting(nbd)) {
		struct pollfd fds[2] = {
			{ .fd = nbd_aio_get_fd(nbd), .events = poll_events(nbd) },
			{ .fd = stop_fd, .events = POLLIN },
		};
		int64_t left = deadline - now_ms();
		int n = poll(fds, 2, left > 0 ? (int)left : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cmfs_err_set(err, -errno, "poll: %s", strerror(errno));
		if (n == 0)
			return cmfs_err_set(err, -ETIMEDOUT,
					    "the server did not answer within %d seconds",
					    timeout_ms / 1000);
		if (fds[1].revents)
			return cmfs_err_set(err, -ECANCELED, "given up");
		if (notify(nbd, fds[0].revents) < 0)
			return err_nbd(err);
	}
	if (!nbd_aio_is_ready(nbd))
		return cmfs_err_set(err, -ECONNRESET, "the server closed the connection");
	return 0;
}

/* A number of the server's, 0 for none; these calls fail only before the handshake. */
static int64_t number(int64_t n)
{
	return n > 0 ? n : 0;
}

static void read_caps(struct nbd_handle *nbd, struct cmfs_nbd_caps *caps)
{
	*caps = (struct cmfs_nbd_caps){
		.size = number(nbd_get_size(nbd)),
		.readonly = nbd_is_read_only(nbd) > 0,
		.flush = nbd_can_flush(nbd) > 0,
		.fua = nbd_can_fua(nbd) > 0,
		.zero = nbd_can_zero(nbd) > 0,
		.multi_conn = nbd_can_multi_conn(nbd) > 0,
		.block_status = nbd_can_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0,
		.min_block = number(nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM)),
		.preferred_block = number(nbd_get_block_size(nbd, LIBNBD_SIZE_PREFERRED)),
		.max_payload = number(nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM)),
	};
}

static int connect_handle(struct cmfs_nbd_conn *conn, const struct cmfs_nbd_source *source,
			  int stop_fd, int timeout_ms, struct cmfs_err *err)
{
	int r;

	if (start_connecting(conn->nbd, source) < 0)
		return err_nbd(err);
	r = finish_connecting(conn->nbd, stop_fd, timeout_ms, err);
	if (r < 0)
		return r;
	read_caps(conn->nbd, &conn->caps);
	conn->fd = fcntl(nbd_aio_get_fd(conn->nbd), F_DUPFD_CLOEXEC, 0);
	if (conn->fd < 0)
		return cmfs_err_set(err, -errno, "%s", strerror(errno));
	return 0;
}

int cmfs_nbd_conn_open(const struct cmfs_nbd_source *source, int stop_fd, int timeout_ms,
		       struct cmfs_nbd_conn **ret, struct cmfs_err *err)
{
	struct cmfs_nbd_conn *conn = malloc(sizeof(*conn));
	int r;

	if (!conn)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*conn = (struct cmfs_nbd_conn){
		.nbd = nbd_create(),
		.fd = -1,
		.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.lock = CMFS_MUTEX_INITIALIZER,
	};
	if (!conn->nbd)
		r = err_nbd(err);
	else if (conn->wake_fd < 0)
		r = cmfs_err_set(err, -errno, "eventfd: %s", strerror(errno));
	else
		r = connect_handle(conn, source, stop_fd, timeout_ms, err);
	if (r < 0) {
		cmfs_nbd_conn_close(conn);
		return r;
	}
	*ret = conn;
	return 0;
}

void cmfs_nbd_conn_close(struct cmfs_nbd_conn *conn)
{
	assert(!conn->waiting);
	if (conn->nbd && nbd_aio_is_ready(conn->nbd))
		nbd_aio_disconnect(conn->nbd, 0);
	nbd_close(conn->nbd);
	if (conn->fd >= 0)
		close(conn->fd);
	if (conn->wake_fd >= 0)
		close(conn->wake_fd);
	pthread_mutex_destroy(&conn->lock.m);
	free(conn);
}

const struct cmfs_nbd_caps *cmfs_nbd_conn_caps(const struct cmfs_nbd_conn *conn)
{
	return &conn->caps;
}

int cmfs_nbd_conn_fd(const struct cmfs_nbd_conn *conn)
{
	return conn->fd;
}

void cmfs_nbd_conn_abort(struct cmfs_nbd_conn *conn)
{
	shutdown(conn->fd, SHUT_RDWR);
}

/* ---- commands ---- */

/* libnbd calls it with its handle locked, in any thread. */
static int on_done(void *arg, int *error)
{
	struct request *request = arg;
	struct cmfs_mutex *lock = &request->conn->lock;

	cmfs_mutex_lock(lock);
	request->error = *error;
	request->done = true;
	pthread_cond_signal(&request->wake);
	cmfs_mutex_unlock(lock);
	return 1; /* libnbd may forget it */
}

static int on_extents(void *arg, const char *context, uint64_t off, uint32_t *entries, size_t count,
		      int *error)
{
	struct cmfs_nbd_command *command = arg;
	const size_t most = sizeof(command->entries) / sizeof(command->entries[0]);

	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || off != command->off)
		return 0;
	command->entry_count = count < most ? count : most;
	memcpy(command->entries, entries, command->entry_count * sizeof(entries[0]));
	return 0;
}

static int64_t send_command(struct nbd_handle *nbd, struct cmfs_nbd_command *c,
			    nbd_completion_callback done)
{
	const nbd_extent_callback extents = { .callback = on_extents, .user_data = c };

	switch (c->op) {
	case CMFS_NBD_READ:
		return nbd_aio_pread(nbd, c->buf, c->len, c->off, done, c->flags);
	case CMFS_NBD_WRITE:
		return nbd_aio_pwrite(nbd, c->buf, c->len, c->off, done, c->flags);
	case CMFS_NBD_ZERO:
		return nbd_aio_zero(nbd, c->len, c->off, done, c->flags);
	case CMFS_NBD_FLUSH:
		return nbd_aio_flush(nbd, done, c->flags);
	case CMFS_NBD_BLOCK_STATUS:
		c->entry_count = 0;
		return nbd_aio_block_status(nbd, c->len, c->off, extents, done, c->flags);
	}
	return -1;
}

static bool is_over(struct nbd_handle *nbd)
{
	return nbd_aio_is_dead(nbd) || nbd_aio_is_closed(nbd);
}

static void drive(struct cmfs_nbd_conn *conn)
{
	struct pollfd fds[2] = {
		{ .fd = conn->fd, .events = poll_events(conn->nbd) },
		{ .fd = conn->wake_fd, .events = POLLIN },
	};
	eventfd_t ignored;

	if (poll(fds, 2, -1) < 0)
		return; /* EINTR */
	if (fds[1].revents)
		eventfd_read(conn->wake_fd, &ignored);
	notify(conn->nbd, fds[0].revents);
}

static void link_locked(struct cmfs_nbd_conn *conn, struct request *request)
	CMFS_REQUIRES(&conn->lock)
{
	request->next = conn->waiting;
	if (request->next)
		request->next->prev = request;
	conn->waiting = request;
}

static void unlink_locked(struct cmfs_nbd_conn *conn, struct request *request)
	CMFS_REQUIRES(&conn->lock)
{
	if (request->prev)
		request->prev->next = request->next;
	else
		conn->waiting = request->next;
	if (request->next)
		request->next->prev = request->prev;
}

/* Wait for the answer; as the leader, if there is none. */
static void wait_for_answer(struct cmfs_nbd_conn *conn, struct request *request)
{
	cmfs_mutex_lock(&conn->lock);
	link_locked(conn, request);
	while (!request->done) {
		if (conn->has_leader) {
			cmfs_cond_wait(&request->wake, &conn->lock);
			continue;
		}
		conn->has_leader = true;
		cmfs_mutex_unlock(&conn->lock);
		drive(conn);
		cmfs_mutex_lock(&conn->lock);
		conn->has_leader = false;
	}
	unlink_locked(conn, request);
	if (!conn->has_leader && conn->waiting)
		pthread_cond_signal(&conn->waiting->wake);
	cmfs_mutex_unlock(&conn->lock);
}

static bool means_lost(int error)
{
	return error == ENOTCONN || error == ESHUTDOWN; /* ended by libnbd; by the server */
}

int cmfs_nbd_conn_run(struct cmfs_nbd_conn *conn, struct cmfs_nbd_command *command)
{
	struct request request = { .conn = conn, .wake = PTHREAD_COND_INITIALIZER };
	const nbd_completion_callback done = { .callback = on_done, .user_data = &request };

	if (send_command(conn->nbd, command, done) < 0) {
		int error = nbd_get_errno();

		return is_over(conn->nbd) ? CMFS_NBD_LOST : error > 0 ? -error : -EIO;
	}
	if (poll_events(conn->nbd) & POLLOUT)
		eventfd_write(conn->wake_fd, 1);
	wait_for_answer(conn, &request);
	pthread_cond_destroy(&request.wake);
	return means_lost(request.error) ? CMFS_NBD_LOST : -request.error;
}
