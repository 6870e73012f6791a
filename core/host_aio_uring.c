// SPDX-License-Identifier: GPL-2.0-or-later
/* aio=io_uring: io_uring_enter(2), by liburing. */
#include "host_engine.h"

#include <assert.h>
#include <errno.h>

#ifdef HAVE_LIBURING

#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Without these it works as well: the kernel then may interrupt the thread to tell it. */
#define FLAGS (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

/*
 * A new ring may lie in memory where another thread's was until its end. The kernel has
 * put the one behind the other; this says so to those who cannot see that (TSan).
 */
static atomic_uint destroyed;

static int create_ring(struct io_uring *ring)
{
	int r = io_uring_queue_init(CMFS_HOST_ROUND_MAX, ring, FLAGS);

	if (r == -EINVAL)
		r = io_uring_queue_init(CMFS_HOST_ROUND_MAX, ring, 0); /* before Linux 6.1 */
	atomic_load_explicit(&destroyed, memory_order_acquire);
	return r;
}

static void destroy_ring(struct io_uring *ring)
{
	atomic_fetch_add_explicit(&destroyed, 1, memory_order_release);
	io_uring_queue_exit(ring);
}

/* Linux 5.6 has what we use. */
static int check_operations(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool found = probe && io_uring_opcode_supported(probe, IORING_OP_READ) &&
		     io_uring_opcode_supported(probe, IORING_OP_WRITE);

	io_uring_free_probe(probe);
	return found ? 0 : -EOPNOTSUPP;
}

static int uring_create(void **ret)
{
	struct io_uring *ring = malloc(sizeof(*ring));
	int r;

	*ret = NULL;
	if (!ring)
		return -ENOMEM;
	r = create_ring(ring);
	if (r < 0)
		goto free;
	r = check_operations(ring);
	if (r < 0)
		goto destroy;
	io_uring_register_ring_fd(ring); /* Linux 5.18; saves a look-up in each call */
	*ret = ring;
	return 0;
destroy:
	destroy_ring(ring);
free:
	free(ring);
	return r;
}

static void uring_destroy(void *queue)
{
	destroy_ring(queue);
	free(queue);
}

static const char *uring_explain(int error)
{
	switch (error) {
	case -EPERM:
		return "not allowed here, by the sysctl kernel.io_uring_disabled or by a filter of "
		       "system calls, as of containers";
	case -ENOSYS:
		return "this kernel has no io_uring";
	case -EOPNOTSUPP:
		return "this kernel's io_uring cannot read and write files yet (Linux 5.6)";
	case -ENOMEM:
		return "no memory for it, or not as much may be locked (ulimit -l)";
	default:
		return NULL;
	}
}

static void prepare(struct io_uring_sqe *sqe, struct cmfs_host_request *req)
{
	char *buf = req->buf + req->done;
	/* A count is 32 bits there; the rest is another round's. */
	size_t left = req->len - req->done, most = 1U << 30;
	unsigned int len = (unsigned int)(left < most ? left : most);

	if (req->write)
		io_uring_prep_write(sqe, req->fd, buf, len, req->off + req->done);
	else
		io_uring_prep_read(sqe, req->fd, buf, len, req->off + req->done);
	sqe->rw_flags = req->rwf;
	io_uring_sqe_set_data(sqe, req);
}

static size_t reap(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned int head;
	size_t count = 0;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		struct cmfs_host_request *req = io_uring_cqe_get_data(cqe);

		req->answer = cqe->res;
		count++;
	}
	io_uring_cq_advance(ring, (unsigned int)count);
	return count;
}

static void uring_round(void *queue, struct cmfs_host_request *const *requests, size_t count)
{
	size_t pending = count;
	int r;

	for (size_t i = 0; i < count; i++)
		prepare(io_uring_get_sqe(queue), requests[i]);
	/*
	 * EINTR, EAGAIN (no memory) and EBUSY pass. What the ring has taken must end
	 * before we may return: its buffers are the kernel's meanwhile.
	 */
	while (pending > 0) {
		r = io_uring_submit_and_wait(queue, (unsigned int)pending);
		assert(r >= 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY);
		pending -= reap(queue);
	}
}

#else

static int uring_create(void **ret)
{
	*ret = NULL;
	return -ENOSYS;
}

static const char *uring_explain(int error)
{
	return "this cmfs was built without liburing";
}

static void uring_destroy(void *queue)
{
}

static void uring_round(void *queue, struct cmfs_host_request *const *requests, size_t count)
{
}

#endif

const struct cmfs_host_engine cmfs_host_io_uring = {
	.name = "io_uring",
	.outlives = true, /* direct I/O; exit_aio() waits, io_uring_files_cancel() does not */
	.create = uring_create,
	.destroy = uring_destroy,
	.explain = uring_explain,
	.round = uring_round,
};
