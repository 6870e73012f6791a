/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_BACKEND_QEMU_H
#define CMFS_BACKEND_QEMU_H

#include "qemu_nbd.h"

/**
 * cmfs_backend_qemu_open() - the guest content of an image of another format than raw.
 * @spec: needed during the call only.
 * @name: what messages call the image.
 * @host: the image's own bytes, read-only, and direct as @how; owned by the backend from
 *	here on when 0 is returned, else still the caller's.
 * @err: filled on failure: a sentence that begins with @name.
 *
 * Errors: those of cmfs_qemu_nbd_start(); -EBUSY for an image that somebody else has
 * locked; -EIO for what else qemu-nbd does not open.
 */
int cmfs_backend_qemu_open(const struct cmfs_qemu_nbd_spec *spec, const char *name,
			   struct cmfs_backend *host, const struct cmfs_open_how *how,
			   struct cmfs_backend **ret, struct cmfs_err *err);

#endif
