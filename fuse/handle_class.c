// SPDX-License-Identifier: GPL-2.0-or-later
#include "handle_class.h"

enum cmfs_handle_class cmfs_handle_class_choose(const struct cmfs_cache_props *mode)
{
	/* A mode that bypasses the host's cache has none in the kernel's FUSE either. */
	return mode->direct ? CMFS_HANDLE_DIRECT : CMFS_HANDLE_CACHED;
}

struct cmfs_handle_flags cmfs_handle_class_flags(enum cmfs_handle_class class)
{
	static const struct cmfs_handle_flags flags[] = {
		[CMFS_HANDLE_CACHED] = { .keep_cache = true },
		[CMFS_HANDLE_DIRECT] = { .direct_io = true, .parallel_direct_writes = true },
	};

	return flags[class];
}
