// SPDX-License-Identifier: GPL-2.0-or-later
#include "align_util.h"

void align_disk_open(struct align_disk *d, const struct mem_config *config)
{
	d->disk = mem_disk_create(config);
	d->store = mem_disk_store(d->disk);
	d->be = mem_backend_open(d->disk, &(struct cmfs_open_how){ .direct = true });
	cmfs_range_lock_init(&d->locks);
}

void align_disk_close(struct align_disk *d)
{
	cmfs_range_lock_finish(&d->locks);
	cmfs_backend_close(d->be);
	mem_disk_destroy(d->disk);
}

int align_disk_write(struct align_disk *d, const void *buf, size_t len, uint64_t off)
{
	return cmfs_align_write(d->be, &d->locks, buf, len, off, CMFS_VOLATILE, false);
}

int align_disk_truncate(struct align_disk *d, uint64_t size)
{
	return cmfs_align_truncate(d->be, &d->locks, size);
}

unsigned int align_disk_waiting(struct align_disk *d)
{
	unsigned int waiting;

	cmfs_mutex_lock(&d->locks.lock);
	waiting = d->locks.waiting;
	cmfs_mutex_unlock(&d->locks.lock);
	return waiting;
}
