/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_MEM_BACKEND_H
#define CMFS_TEST_MEM_BACKEND_H

#include "mem_disk.h"

/*
 * A second backend, in memory, which proves that backend.h can be kept by
 * something other than a file, and which shows what the layers above ask of it.
 * Each struct cmfs_backend is one opening of a disk (mem_disk.h).
 *
 * It asserts the contract's other side: no request after or during close,
 * alignment as the opening's geometry has it.
 *
 * write_exact() rewrites its neighbourhood, as a page cache does: it reads all of
 * the blocks of exact_block bytes, and writes them back later with the new bytes
 * in. Whoever lets another write in between loses it.
 */
struct cmfs_backend *mem_backend_open(struct mem_disk *disk, const struct cmfs_open_how *how);

#endif
