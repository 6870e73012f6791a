// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * aio=: a request becomes one or more parts, and rounds of them go to the engine until
 * each part is finished: what was short is tried again from where it stopped.
 *
 * Whatever the engine, a request ends before the call does. A worker thread serves one
 * request of the kernel at a time, so what runs side by side is what belongs to it.
 */
#include "host_aio.h"

#include "host_engine.h"
#include "per_thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * About how many bytes a part of a large request has. 1 MiB by O_DIRECT, of one thread,
 * to one part of it (native, io_uring): reads of 2 parts 0.94 and 1.00, 4 0.97 and 1.00, 8
 * 0.95 and 0.99, 16 0.95 and 1.03; writes 0.98 and 0.98, 0.96 and 0.94, 1.01 and 0.94, 0.96
 * and 0.92: on a disk that serves one as fast as many, few parts cost least.
 */
#define PART_BYTES (512 * 1024)

#define PARTS_MAX CMFS_HOST_ROUND_MAX

_Static_assert(CMFS_READ_LIST_MAX <= CMFS_HOST_ROUND_MAX, "a list of reads is one round");

/* aio=threads has none: nothing is in flight but what the thread waits for. */
static const struct cmfs_host_engine *const engines[CMFS_AIOS] = {
	[CMFS_AIO_NATIVE] = &cmfs_host_native,
	[CMFS_AIO_IO_URING] = &cmfs_host_io_uring,
};

/* ---- a thread's queues ---- */

struct queues {
	struct {
		bool tried;
		int error; /* of making it */
		void *queue;
	} of[CMFS_AIOS];
};

static void destroy_queues(void *arg)
{
	struct queues *q = arg;

	for (int i = 0; i < CMFS_AIOS; i++) {
		if (q->of[i].queue)
			engines[i]->destroy(q->of[i].queue);
	}
	free(q);
}

static struct cmfs_per_thread per_thread = CMFS_PER_THREAD(struct queues, destroy_queues);
static __thread struct queues *mine;

static struct queues *my_queues(void)
{
	if (!mine)
		mine = cmfs_per_thread_make(&per_thread);
	return mine;
}

static int my_queue(enum cmfs_aio aio, void **ret)
{
	struct queues *q = my_queues();

	if (!q)
		return -ENOMEM; /* UNTESTED */
	if (!q->of[aio].tried)
		q->of[aio].error = engines[aio]->create(&q->of[aio].queue);
	q->of[aio].tried = true;
	*ret = q->of[aio].queue;
	return q->of[aio].error;
}

int cmfs_host_aio_check(enum cmfs_aio aio, const char *name, struct cmfs_err *err)
{
	const struct cmfs_host_engine *engine = engines[aio];
	const char *why;
	void *queue;
	int r = engine ? my_queue(aio, &queue) : 0;

	if (r == 0)
		return 0;
	why = engine->explain(r);
	return cmfs_err_set(err, r, "%s: aio=%s cannot be had: %s; aio=threads works everywhere",
			    name, engine->name, why ? why : strerror(-r));
}

/* ---- rounds ---- */

static ssize_t do_by_hand(const struct cmfs_host_request *req)
{
	struct iovec iov = { .iov_base = req->buf + req->done, .iov_len = req->len - req->done };
	uint64_t off = req->off + req->done;
	ssize_t n = req->write ? pwritev2(req->fd, &iov, 1, off, req->rwf)
			       : pread(req->fd, iov.iov_base, iov.iov_len, off);

	return n < 0 ? -errno : n;
}

static void fail(struct cmfs_host_request *req, int error)
{
	req->error = error;
	req->finished = true;
}

/* What its answer means for a request. */
static void digest(struct cmfs_host_request *req)
{
	ssize_t n = req->answer;

	if (n == -EAGAIN && !req->by_hand)
		req->by_hand = true;
	else if (n < 0 && n != -EINTR)
		fail(req, (int)n);
	if (n < 0)
		return;
	req->done += n;
	if (req->done == req->len)
		req->finished = true;
	else if (req->write && n == 0)
		fail(req, -EIO); /* UNTESTED: write(2) knows no such answer for files */
	else if (!req->write && (n == 0 || req->done % req->align != 0))
		req->finished = true; /* the end; a direct read ends inside a block there */
}

/* One round of what is not finished; false if there is nothing. */
static bool run_round(const struct cmfs_host_engine *engine, void *queue,
		      struct cmfs_host_request *requests, size_t count)
{
	struct cmfs_host_request *round[CMFS_HOST_ROUND_MAX];
	size_t n = 0;
	bool left = false;

	for (size_t i = 0; i < count; i++) {
		struct cmfs_host_request *req = &requests[i];

		if (req->finished)
			continue;
		left = true;
		if (queue && !req->by_hand) {
			round[n++] = req;
			continue;
		}
		req->answer = do_by_hand(req);
		digest(req);
	}
	if (n > 0)
		engine->round(queue, round, n);
	for (size_t i = 0; i < n; i++)
		digest(round[i]);
	return left;
}

static void run(enum cmfs_aio aio, struct cmfs_host_request *requests, size_t count)
{
	void *queue = NULL;

	assert(count <= CMFS_HOST_ROUND_MAX);
	if (engines[aio] && my_queue(aio, &queue) < 0)
		queue = NULL;
	while (run_round(engines[aio], queue, requests, count))
		;
}

/* ---- requests ---- */

static bool is_large(enum cmfs_aio aio, size_t len)
{
	return engines[aio] && len >= PART_BYTES + PART_BYTES / 2;
}

bool cmfs_host_aio_parts_pay(enum cmfs_aio aio, const struct cmfs_open_how *how, int rwf,
			     size_t len)
{
	return is_large(aio, len) && !engines[aio]->outlives && how->direct && !how->dsync &&
	       rwf == 0;
}

/* The last part is never less than half of one: what is left goes with the one before. */
static size_t cut(enum cmfs_aio aio, const struct cmfs_host_request *whole,
		  struct cmfs_host_request *parts)
{
	size_t part = PART_BYTES, count = 0, left = whole->len, len;

	while (whole->len > part * PARTS_MAX)
		part *= 2;
	if (!is_large(aio, whole->len))
		part = whole->len;
	for (; left > 0; left -= len) {
		len = left < part + part / 2 ? left : part;
		parts[count] = *whole;
		parts[count].buf += whole->len - left;
		parts[count].off += whole->len - left;
		parts[count].len = len;
		count++;
	}
	return count;
}

static int first_error(const struct cmfs_host_request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (requests[i].error < 0)
			return requests[i].error;
	}
	return 0;
}

int cmfs_host_aio_read(enum cmfs_aio aio, int fd, uint32_t align, void *buf, size_t len,
		       uint64_t off, size_t *ret_len)
{
	const struct cmfs_host_request whole = {
		.fd = fd,
		.buf = buf,
		.len = len,
		.off = off,
		.align = align,
	};
	struct cmfs_host_request parts[PARTS_MAX];
	size_t count = cut(aio, &whole, parts), done = 0;
	int r;

	run(aio, parts, count);
	r = first_error(parts, count);
	if (r < 0)
		return r;
	/* The content ended in the first part that is short, though it may have grown since. */
	for (size_t i = 0; i < count; i++) {
		done += parts[i].done;
		if (parts[i].done < parts[i].len)
			break;
	}
	*ret_len = done;
	return 0;
}

int cmfs_host_aio_read_list(enum cmfs_aio aio, int fd, uint32_t align, struct cmfs_read *reads,
			    size_t count)
{
	struct cmfs_host_request requests[CMFS_READ_LIST_MAX];
	int r;

	for (size_t i = 0; i < count; i++)
		requests[i] = (struct cmfs_host_request){
			.fd = fd,
			.buf = reads[i].buf,
			.len = reads[i].len,
			.off = reads[i].off,
			.align = align,
		};
	run(aio, requests, count);
	r = first_error(requests, count);
	for (size_t i = 0; i < count && r == 0; i++)
		reads[i].got = requests[i].done;
	return r;
}

int cmfs_host_aio_write(enum cmfs_aio aio, int fd, const void *buf, size_t len, uint64_t off,
			int rwf, bool in_parts)
{
	const struct cmfs_host_request whole = {
		.write = true,
		.fd = fd,
		.buf = (char *)buf,
		.len = len,
		.off = off,
		.rwf = rwf,
		.align = 1,
		.by_hand = engines[aio] && engines[aio]->outlives,
	};
	struct cmfs_host_request parts[PARTS_MAX];
	size_t count = cut(in_parts ? aio : CMFS_AIO_THREADS, &whole, parts);

	run(aio, parts, count);
	return first_error(parts, count);
}
