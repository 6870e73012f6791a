/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_WORKERS_H
#define CMFS_WORKERS_H

#include "roster.h"

#include <stddef.h>

struct fuse_session;

/* Bytes of data in one READ or WRITE. */
#define CMFS_PAYLOAD_MAX (1024 * 1024)

/**
 * cmfs_workers_serve_init() - serve the kernel's first request, INIT. Before there
 * are workers: a second one would read what INIT is still writing.
 *
 * Returns 0, also when the session has ended meanwhile, or -errno of the device.
 */
int cmfs_workers_serve_init(struct fuse_session *se);

/**
 * cmfs_workers_run() - serve requests on up to @count threads until the session is
 * unmounted or told to end (fuse_session_exit(); then the caller's thread is to be
 * woken, see signals.h). Requests that were begun are finished.
 *
 * Returns 0 or -errno: of the device, or of the first thread.
 */
int cmfs_workers_run(struct fuse_session *se, unsigned int count);

/**
 * cmfs_workers_payload() - on a worker thread: where its request's payload lies, or
 * would, if it had one: @len bytes, page aligned, to put an answer into.
 *
 * Only for requests whose arguments end before it: READ, not those with names. Valid
 * until the request's handler returns. NULL when out of memory.
 */
void *cmfs_workers_payload(size_t len);

#endif
