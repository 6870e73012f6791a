/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_BOOT_H
#define CMFS_BOOT_H

#include <stdint.h>

/*
 * From one power cut to the next a file has one image: a boot. A handle stays with the
 * boot in which it was opened; requests without a handle go to the present one. Mounts
 * without the power-cut layer have one boot for each file, to the end.
 */
struct cmfs_file;

struct cmfs_boot {
	struct cmfs_image *image; /* constant; owned */
	unsigned int refs;	  /* protected by the file's lock */
};

/** cmfs_boot_create() - @image becomes its own if it is not NULL that is returned. */
struct cmfs_boot *cmfs_boot_create(struct cmfs_image *image);

/*
 * Any thread. Who gets the present boot, or takes one that it has once more, puts it.
 */
struct cmfs_boot *cmfs_boot_get(struct cmfs_file *file);
struct cmfs_boot *cmfs_boot_take(struct cmfs_file *file, struct cmfs_boot *boot);

/** cmfs_boot_put() - returns what cmfs_image_close() does, if it was the last. */
int cmfs_boot_put(struct cmfs_file *file, struct cmfs_boot *boot);

/** cmfs_boot_replace() - @next is the present one from now on. */
void cmfs_boot_replace(struct cmfs_file *file, struct cmfs_boot *next);

#endif
