// SPDX-License-Identifier: GPL-2.0-or-later
#include "boot.h"

#include "fs.h"

#include <stdlib.h>

struct cmfs_boot *cmfs_boot_create(struct cmfs_image *image)
{
	struct cmfs_boot *boot = malloc(sizeof(*boot));

	if (boot)
		*boot = (struct cmfs_boot){ .image = image, .refs = 1 };
	return boot;
}

struct cmfs_boot *cmfs_boot_get(struct cmfs_file *file)
{
	struct cmfs_boot *boot;

	pthread_mutex_lock(&file->lock);
	boot = file->boot;
	boot->refs++;
	pthread_mutex_unlock(&file->lock);
	return boot;
}

struct cmfs_boot *cmfs_boot_take(struct cmfs_file *file, struct cmfs_boot *boot)
{
	pthread_mutex_lock(&file->lock);
	boot->refs++;
	pthread_mutex_unlock(&file->lock);
	return boot;
}

int cmfs_boot_put(struct cmfs_file *file, struct cmfs_boot *boot)
{
	bool last;
	int r;

	pthread_mutex_lock(&file->lock);
	last = --boot->refs == 0;
	pthread_mutex_unlock(&file->lock);
	if (!last)
		return 0;
	r = cmfs_image_close(boot->image);
	free(boot);
	return r;
}

void cmfs_boot_replace(struct cmfs_file *file, struct cmfs_boot *next)
{
	struct cmfs_boot *old;

	pthread_mutex_lock(&file->lock);
	old = file->boot;
	file->boot = next;
	file->generation++;
	pthread_mutex_unlock(&file->lock);
	cmfs_boot_put(file, old); /* dead: nothing is due */
}
