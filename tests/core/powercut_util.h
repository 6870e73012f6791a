/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_POWERCUT_UTIL_H
#define CMFS_TEST_POWERCUT_UTIL_H

#include "cmfs/powercut.h"
#include "mem_backend.h"

/* The power-cut layer over a memory disk. */
struct cut_disk {
	struct mem_disk *disk;
	struct mem_store *store;
	struct cmfs_backend *be; /* the layer's opening */
	struct cmfs_powercut *pc;
};

/* @config: copied. @direct: how it is opened. @memory: of the layer. */
void cut_disk_open(struct cut_disk *d, const struct mem_config *config, bool direct,
		   uint64_t memory);
void cut_disk_close(struct cut_disk *d); /* the opening; then the disk */

/* Cut, settle, and go on with what survived. */
void cut_disk_cut(struct cut_disk *d, enum cmfs_powercut_kind kind, uint64_t number);

/* Write @len bytes of the value @fill at @off. */
int cut_disk_fill(struct cut_disk *d, int fill, size_t len, uint64_t off,
		  enum cmfs_durability durability);

/* Are there @len bytes of @fill at @off, as the layer, and as the disk, has it? */
bool cut_disk_shows(struct cut_disk *d, int fill, size_t len, uint64_t off);
bool cut_disk_holds(struct cut_disk *d, int fill, size_t len, uint64_t off);

uint64_t cut_disk_size(struct cut_disk *d);
struct cmfs_powercut_summary cut_disk_summary(struct cut_disk *d);

#endif
