/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_PLACE_H
#define CMFS_PLACE_H

#include "cmfs/image_spec.h"

/**
 * cmfs_place_probe() - the format that the image's content looks like; raw where it is
 * not to be looked at.
 * @err: as below.
 */
int cmfs_place_probe(const struct cmfs_image_spec *spec, enum cmfs_format *ret,
		     struct cmfs_err *err);

/**
 * cmfs_place_open() - the backend of the place where @spec's image lives.
 * @spec: its format is not auto.
 * @err: filled on failure: a sentence that names the place.
 *
 * Errors: those of the backends' own open functions; -EISDIR, -EINVAL for what can be
 * no image. Nothing has been changed then.
 */
int cmfs_place_open(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
		    struct cmfs_backend **ret, struct cmfs_err *err);

/* The row for formats other than raw: the guest's disk in an image. */
int cmfs_place_open_guest(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
			  struct cmfs_backend **ret, struct cmfs_err *err);

#endif
