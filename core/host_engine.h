/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_ENGINE_H
#define CMFS_HOST_ENGINE_H

#include "cmfs/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What core/host_aio.c and the ways of doing host I/O (aio=) owe each other. */

/* A read or a write of one descriptor; what is left of it. */
struct cmfs_host_request {
	bool write;
	int fd;
	char *buf;
	size_t len;
	uint64_t off;
	int rwf;	/* RWF_*, of a write */
	uint32_t align; /* what O_DIRECT on @fd demands, else 1 */
	size_t done;	/* bytes so far */
	int error;	/* -errno, once it has failed */
	bool finished;	/* all of it, or up to the end of the content, or failed */
	bool by_hand;	/* the kernel could not queue it: do it as aio=threads does */
	ssize_t answer; /* of its last round: bytes or -errno */
};

/* Requests of one round at most, and so in flight for one thread. */
#define CMFS_HOST_ROUND_MAX 16

struct cmfs_host_engine {
	const char *name; /* as aio= has it */

	/*
	 * A process that is killed does not wait for what it has in flight, so a write
	 * could land on what the next one has written (P11): writes are done by hand.
	 */
	bool outlives;

	/* Make a thread's own queue for CMFS_HOST_ROUND_MAX requests. 0 or -errno. */
	int (*create)(void **ret);
	void (*destroy)(void *queue);

	/* What an error of create() means to the user; NULL: no more than errno does. */
	const char *(*explain)(int error);

	/*
	 * Give what is left of all of these to the kernel, wait for all of them, set
	 * each one's answer. -EAGAIN: it could not be queued. Buffers and descriptors
	 * are the kernel's no more when it returns.
	 */
	void (*round)(void *queue, struct cmfs_host_request *const *requests, size_t count);
};

extern const struct cmfs_host_engine cmfs_host_native, cmfs_host_io_uring;

#endif
