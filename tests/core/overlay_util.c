// SPDX-License-Identifier: GPL-2.0-or-later
#include "overlay_util.h"

#include "harness.h"

#include <stdlib.h>
#include <string.h>

void overlay_disk_open(struct overlay_disk *d, const struct mem_config *image,
		       const struct mem_config *temp, bool direct, int fill)
{
	const struct cmfs_open_how image_how = { .readonly = true, .direct = direct };
	const struct cmfs_open_how temp_how = { .direct = direct };
	char *bytes = malloc(image->size + 1);

	d->image = mem_disk_create(image);
	d->temp = mem_disk_create(temp);
	memset(bytes, fill, image->size);
	mem_store_write(mem_disk_store(d->image), bytes, image->size, 0, true);
	free(bytes);
	assert_int_equal(cmfs_backend_overlay_open(mem_backend_open(d->image, &image_how),
						   mem_backend_open(d->temp, &temp_how), &d->be,
						   NULL),
			 0);
	d->overlay = cmfs_backend_overlay_state(d->be);
}

void overlay_disk_close(struct overlay_disk *d)
{
	cmfs_backend_close(d->be);
	mem_disk_destroy(d->temp);
	mem_disk_destroy(d->image);
}

void overlay_disk_expect_image(struct overlay_disk *d, const void *bytes, uint64_t size)
{
	struct mem_store *store = mem_disk_store(d->image);

	assert_int_equal(mem_store_size(store, MEM_NOW), size);
	assert_true(mem_store_holds(store, MEM_NOW, 0, bytes, size));
	assert_true(mem_store_is_durable(store));
}
