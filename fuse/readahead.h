/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_READAHEAD_H
#define CMFS_READAHEAD_H

/**
 * cmfs_readahead_set() - have the kernel read ahead in requests as large as we take,
 * on handles that it caches.
 * @mountpoint: where the mount is; it need not be served yet.
 *
 * FUSE starts with the kernel's default of 128 KiB, and INIT can only lower it: more
 * is asked for as an administrator would, in /sys/class/bdi, which takes root. Where
 * that cannot be, all stays as it is. A larger value that is there already stays.
 *
 * Source: Linux Documentation/ABI/testing/sysfs-class-bdi, fs/fuse/inode.c.
 */
void cmfs_readahead_set(const char *mountpoint);

#endif
