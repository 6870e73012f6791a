/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_PLACE_H
#define CMFS_PLACE_H

#include "cmfs/image_spec.h"

/**
 * cmfs_place_open() - the backend of the place where @spec's image lives.
 * @err: filled on failure: a sentence that names the place.
 *
 * Errors: those of the backends' own open functions; -EISDIR, -EINVAL for what can be
 * no image. Nothing has been changed then.
 */
int cmfs_place_open(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
		    struct cmfs_backend **ret, struct cmfs_err *err);

#endif
