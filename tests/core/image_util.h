/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_IMAGE_UTIL_H
#define CMFS_TEST_IMAGE_UTIL_H

#include "cmfs/image.h"
#include "image_private.h"
#include "mem_backend.h"

/* An image on a memory disk, for the tests of core/image*.c. */
struct mem_image {
	struct mem_disk *disk;
	struct mem_store *store;
	struct cmfs_image *image;
};

/* What the tests of the promises are repeated on: each kind of backend there is. */
extern const struct mem_config mem_kinds[];
#define MEM_KINDS 3

/* @kind: copied; may be NULL, then the first of mem_kinds. */
void mem_image_open(struct mem_image *m, enum cmfs_cache_mode mode, const struct mem_config *kind);
void mem_image_open_readonly(struct mem_image *m, enum cmfs_cache_mode mode);

/* Returns what cmfs_image_close() does; the disk stays, for a look at it. */
int mem_image_close(struct mem_image *m);
void mem_image_finish(struct mem_image *m); /* closed or not */

/* Write @len bytes of the value @fill at @off, asking for @asked. */
int mem_image_fill(struct mem_image *m, int fill, size_t len, uint64_t off,
		   enum cmfs_durability asked);

/* Does the disk hold @len bytes of @fill at @off? */
bool mem_image_holds(struct mem_image *m, enum mem_copy which, int fill, size_t len, uint64_t off);

/* How many flushes reached the disk since the log was cleared. */
unsigned int mem_image_flushes(struct mem_image *m);

/* A look into the gate: is a switch draining it; how many requests wait at it? */
bool gate_is_closed(struct cmfs_image *image);
uint64_t gate_waiting(struct cmfs_image *image);

#endif
