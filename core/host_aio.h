/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_AIO_H
#define CMFS_HOST_AIO_H

#include "cmfs/backend.h"

/*
 * A descriptor's data by the way that aio= asks for: requests of one thread that are
 * in flight side by side, and large ones in parts. Any thread; each has a queue of its
 * own, made when it first needs one and freed at its end.
 *
 * A thread whose queue cannot be had, though that of cmfs_host_aio_check() could, does
 * its requests one after another, as aio=threads does: slower, and nothing else.
 */

/**
 * cmfs_host_aio_check() - can this be had here and now?
 * @name: of the image; @err says why not, and what would work (P10).
 */
int cmfs_host_aio_check(enum cmfs_aio aio, const char *name, struct cmfs_err *err);

/**
 * cmfs_host_aio_parts_pay() - is a write of @len bytes worth being done in parts?
 * @how: of its descriptor; @rwf: its RWF_*.
 *
 * Only if it is large. Not if it is to be durable: each part would flush the device. Not
 * through the page cache: the parts would wait for each other.
 */
bool cmfs_host_aio_parts_pay(enum cmfs_aio aio, const struct cmfs_open_how *how, int rwf,
			     size_t len);

/* As ops->read() on @fd; in parts if it is large. @align: what O_DIRECT demands, else 1. */
int cmfs_host_aio_read(enum cmfs_aio aio, int fd, uint32_t align, void *buf, size_t len,
		       uint64_t off, size_t *ret_len);

/* As ops->read_list() on @fd. */
int cmfs_host_aio_read_list(enum cmfs_aio aio, int fd, uint32_t align, struct cmfs_read *reads,
			    size_t count);

/**
 * cmfs_host_aio_write() - write all of it.
 * @rwf: RWF_* of pwritev2(2).
 * @in_parts: it may be done in parts, in any order.
 */
int cmfs_host_aio_write(enum cmfs_aio aio, int fd, const void *buf, size_t len, uint64_t off,
			int rwf, bool in_parts);

#endif
