/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_ALIGN_UTIL_H
#define CMFS_TEST_ALIGN_UTIL_H

#include "align.h"
#include "mem_backend.h"

/* A memory disk, opened direct, and its range lock: what core/align.c works on. */
struct align_disk {
	struct mem_disk *disk;
	struct mem_store *store;
	struct cmfs_backend *be;
	struct cmfs_range_lock locks;
};

void align_disk_open(struct align_disk *d, const struct mem_config *config);
void align_disk_close(struct align_disk *d);

/* core/align.c's functions on it; @durability is CMFS_VOLATILE */
int align_disk_write(struct align_disk *d, const void *buf, size_t len, uint64_t off);
int align_disk_truncate(struct align_disk *d, uint64_t size);

/* How many requests wait for their range. */
unsigned int align_disk_waiting(struct align_disk *d);

#endif
