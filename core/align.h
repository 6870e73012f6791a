/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_ALIGN_H
#define CMFS_ALIGN_H

#include "cmfs/backend.h"
#include "range_lock.h"

/*
 * Requests of any offset, length and buffer address on a backend that demands
 * alignment (O_DIRECT). Exact to the byte (P9): see align.c for how.
 *
 * All of them: any thread; return 0 or -errno; @locks is the one range lock of
 * the backend's content.
 */

/* @ret_len < @len only at the end of the content; 0 past it. */
int cmfs_align_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len);

/*
 * @shared: others change the content past us, by mappings of it too: what is partly
 * overwritten is not read and written back, but left to the backend's write_exact().
 */
int cmfs_align_write(struct cmfs_backend *be, struct cmfs_range_lock *locks, const void *buf,
		     size_t len, uint64_t off, enum cmfs_durability durability, bool shared);

/* Changes of other kinds, kept apart from read-modify-writes of their blocks. */
int cmfs_align_truncate(struct cmfs_backend *be, struct cmfs_range_lock *locks, uint64_t size);
int cmfs_align_allocate(struct cmfs_backend *be, struct cmfs_range_lock *locks,
			enum cmfs_alloc what, bool keep_size, uint64_t off, uint64_t len);

#endif
