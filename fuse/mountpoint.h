/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_MOUNTPOINT_H
#define CMFS_MOUNTPOINT_H

#include "cmfs/error.h"

/**
 * cmfs_mountpoint_prepare() - check that @path can be mounted on, and clear away
 * what a killed cmfs left there (P11: mounting again just works).
 * @ret: its absolute path; the caller frees it.
 * @err: filled on failure.
 */
int cmfs_mountpoint_prepare(const char *path, char **ret, struct cmfs_err *err);

#endif
