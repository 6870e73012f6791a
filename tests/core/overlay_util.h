/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_OVERLAY_UTIL_H
#define CMFS_TEST_OVERLAY_UTIL_H

#include "cmfs/overlay.h"
#include "mem_backend.h"

/* The overlay layer over a memory disk, its data on another one. */
struct overlay_disk {
	struct mem_disk *image, *temp;
	struct cmfs_backend *be; /* the layer's opening */
	struct cmfs_overlay *overlay;
};

/* @image, @temp: copied. @fill: what the image's bytes are at first. */
void overlay_disk_open(struct overlay_disk *d, const struct mem_config *image,
		       const struct mem_config *temp, bool direct, int fill);
void overlay_disk_close(struct overlay_disk *d);

/* Is the image, durably, what @bytes say, and no longer? */
void overlay_disk_expect_image(struct overlay_disk *d, const void *bytes, uint64_t size);

#endif
