/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_FS_H
#define CMFS_HOST_FS_H

#include "cmfs/backend.h"

/* What the host file system of an open file is and can do. Any thread. */

/**
 * cmfs_host_fs_name() - its type as in mount(8), for messages.
 * @ret: filled with the name, or "unknown type" when /proc does not tell.
 */
void cmfs_host_fs_name(int fd, char *ret, size_t size);

/**
 * cmfs_host_fs_dio_geometry() - what O_DIRECT demands of requests.
 * @fd: open for reading with O_DIRECT.
 *
 * Errors: -EOPNOTSUPP where direct I/O cannot be had on this file after all.
 * Source: statx(2) STATX_DIOALIGN (Linux 6.1); where that says nothing, probing
 * as QEMU's file-posix does.
 */
int cmfs_host_fs_dio_geometry(int fd, struct cmfs_geometry *ret);

#endif
