// SPDX-License-Identifier: GPL-2.0-or-later
/* aio=native: the kernel's AIO, io_submit(2) and io_getevents(2), by libaio. */
#include "host_engine.h"

#include <errno.h>

#ifdef HAVE_LIBAIO

#include <libaio.h>

static int native_create(void **ret)
{
	io_context_t ctx = NULL;
	int r = io_setup(CMFS_HOST_ROUND_MAX, &ctx);

	*ret = ctx;
	return r;
}

static void native_destroy(void *queue)
{
	io_destroy(queue);
}

static const char *native_explain(int error)
{
	return error == -EAGAIN ? "all that the sysctl fs.aio-max-nr allows is in use" : NULL;
}

static void prepare(struct iocb *cb, struct cmfs_host_request *req)
{
	char *buf = req->buf + req->done;
	size_t len = req->len - req->done;
	long long off = (long long)(req->off + req->done);

	if (req->write)
		io_prep_pwrite(cb, req->fd, buf, len, off);
	else
		io_prep_pread(cb, req->fd, buf, len, off);
	cb->aio_rw_flags = req->rwf;
	cb->data = req;
}

/* How many are in flight then; those that are not have their answer. */
static size_t submit(io_context_t ctx, struct iocb **cbs, size_t count)
{
	size_t at = 0, submitted = 0;

	while (at < count) {
		int n = io_submit(ctx, (long)(count - at), cbs + at);

		if (n > 0) {
			submitted += n;
			at += n;
			continue;
		}
		/* The first of them was refused, the others not looked at. */
		((struct cmfs_host_request *)cbs[at]->data)->answer = n < 0 ? n : -EAGAIN;
		at++;
	}
	return submitted;
}

static void native_round(void *queue, struct cmfs_host_request *const *requests, size_t count)
{
	struct iocb cb[CMFS_HOST_ROUND_MAX], *cbs[CMFS_HOST_ROUND_MAX];
	struct io_event events[CMFS_HOST_ROUND_MAX];
	size_t pending;

	for (size_t i = 0; i < count; i++) {
		prepare(&cb[i], requests[i]);
		cbs[i] = &cb[i];
	}
	pending = submit(queue, cbs, count);
	while (pending > 0) {
		int n = io_getevents(queue, (long)pending, (long)pending, events, NULL);

		for (int i = 0; i < n; i++) {
			struct cmfs_host_request *req = events[i].data;

			req->answer = (long)events[i].res;
		}
		pending -= n > 0 ? n : 0; /* EINTR: again */
	}
}

#else

static int native_create(void **ret)
{
	*ret = NULL;
	return -ENOSYS;
}

static const char *native_explain(int error)
{
	return "this cmfs was built without libaio";
}

static void native_destroy(void *queue)
{
}

static void native_round(void *queue, struct cmfs_host_request *const *requests, size_t count)
{
}

#endif

const struct cmfs_host_engine cmfs_host_native = {
	.name = "native",
	.create = native_create,
	.destroy = native_destroy,
	.explain = native_explain,
	.round = native_round,
};
