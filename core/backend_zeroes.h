/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_BACKEND_ZEROES_H
#define CMFS_BACKEND_ZEROES_H

#include "cmfs/backend.h"

/**
 * cmfs_backend_zeroes_open() - a layer that finds writes of nothing but zeroes, and has
 *	the place below make a range zeroes instead. QEMU's detect-zeroes.
 * @unmap: by a hole, else with its space kept.
 * @ret: owns @below if 0 is returned.
 */
int cmfs_backend_zeroes_open(struct cmfs_backend *below, bool unmap, struct cmfs_backend **ret,
			     struct cmfs_err *err);

#endif
