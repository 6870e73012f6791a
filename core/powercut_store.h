/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_POWERCUT_STORE_H
#define CMFS_POWERCUT_STORE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Where the power-cut layer keeps the data of writes: in memory up to a limit, then
 * in a file without a name in $TMPDIR (or /var/tmp), which is sparse where data was
 * dropped.
 *
 * Not locked: any number of threads may read, or one may put and drop.
 */
struct cmfs_store {
	uint64_t limit, used; /* bytes in memory */
	int fd;		      /* -1: no file yet */
	uint64_t file_end;    /* where the next block goes */
	uint64_t file_blocks; /* how many are in the file */
};

/* The data of one write. */
struct cmfs_block {
	uint64_t len;
	void *mem;    /* NULL: in the file */
	uint64_t pos; /* there */
};

void cmfs_store_init(struct cmfs_store *store, uint64_t limit);
void cmfs_store_finish(struct cmfs_store *store); /* all blocks are dropped */

/** cmfs_store_put() - keep a copy of @buf. Returns 0, -ENOMEM or an error of the file's. */
int cmfs_store_put(struct cmfs_store *store, const void *buf, size_t len, struct cmfs_block **ret);

/** cmfs_store_drop() - free @block; NULL is fine. */
void cmfs_store_drop(struct cmfs_store *store, struct cmfs_block *block);

/** cmfs_store_get() - copy [off, off + len) of @block to @buf. Returns 0 or -errno. */
int cmfs_store_get(const struct cmfs_store *store, const struct cmfs_block *block, uint64_t off,
		   void *buf, size_t len);

#endif
