/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HOST_DEV_H
#define CMFS_HOST_DEV_H

#include "cmfs/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Block devices of this host. @fd: open on one, O_PATH will not do. Any thread. */

/**
 * cmfs_host_dev_block() - its logical block size in bytes: the least that it reads or
 * writes, and what O_DIRECT demands of offsets and lengths.
 */
int cmfs_host_dev_block(int fd, uint32_t *ret);

/**
 * cmfs_host_dev_size() - its size in bytes, asked anew: it may be given another one at
 * any time (losetup -c, lvextend).
 * @block: its logical block size. A part of one at the end cannot be reached and does
 *	not count.
 */
int cmfs_host_dev_size(int fd, uint32_t block, uint64_t *ret);

/**
 * cmfs_host_dev_check() - can it be an image?
 * @name: for messages.
 *
 * Errors: -ENOMEDIUM for a device without any content, -EROFS for one that is
 * write-protected unless @readonly, -EOPNOTSUPP for a zoned one.
 */
int cmfs_host_dev_check(int fd, bool readonly, const char *name, struct cmfs_err *err);

/**
 * cmfs_host_dev_err_busy() - the message for a device that cannot be had exclusively.
 *
 * Returns -EBUSY. Somebody's mount of it is named if it is one that we see.
 */
int cmfs_host_dev_err_busy(dev_t dev, const char *name, struct cmfs_err *err);

#endif
