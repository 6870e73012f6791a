/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_IO_H
#define CMFS_HOST_IO_H

#include "cmfs/backend.h"

#include <errno.h>
#include <unistd.h>

/*
 * Descriptors of places on this host, as the backends of files and of block devices need
 * them; their data is host_aio.h's. Any thread.
 */

/* -errno for a system call that failed, else 0. */
static inline int cmfs_host_result(int r)
{
	return r < 0 ? -errno : 0;
}

/* A signal that ends our wait for requests may come into a call, too. */
#define CMFS_HOST_RETRIED(call) cmfs_host_result((int)TEMP_FAILURE_RETRY(call))

/** cmfs_host_open_flags() - @how as flags of open(2). */
int cmfs_host_open_flags(const struct cmfs_open_how *how);

/* What is open behind a descriptor (which may be O_PATH), whatever its name is now. */
struct cmfs_host_path {
	char text[32];
};

struct cmfs_host_path cmfs_host_path(int fd);

/**
 * cmfs_host_rwf() - the flags that make a write as durable as @durability.
 * @how: of its descriptor, which gives O_DSYNC without asking.
 */
int cmfs_host_rwf(const struct cmfs_open_how *how, enum cmfs_durability durability);

/** cmfs_host_flush() - fdatasync(2) or fsync(2). */
int cmfs_host_flush(int fd, bool datasync);

/** cmfs_host_check() - wait for what is on its way, start nothing: see ops->check. */
int cmfs_host_check(int fd);

/**
 * cmfs_host_settle() - leave nothing of [off, off + len) in the page cache (P6).
 * @fd: one that is never flushed.
 * @page: the range is widened to multiples of this many bytes; a power of two.
 *
 * Best effort: an error here costs memory, not data. It must not take that error
 * from the next flush, which has to report it: sync_file_range(2) marks an error
 * as seen by its descriptor.
 */
void cmfs_host_settle(int fd, uint32_t page, uint64_t off, uint64_t len);

#endif
