/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HANDLE_CLASS_H
#define CMFS_HANDLE_CLASS_H

#include "cmfs/cache_mode.h"

/* How the kernel treats an open file: chosen per open, fixed until it is closed. */
enum cmfs_handle_class {
	CMFS_HANDLE_CACHED, /* kernel caches pages; writes reach us before they return */
	CMFS_HANDLE_DIRECT, /* each read and write is a request */
};

/* The FUSE open flags that a class stands for. */
struct cmfs_handle_flags {
	bool direct_io;
	bool keep_cache;	     /* pages stay valid from open to open */
	bool parallel_direct_writes; /* no inode lock around direct writes */
};

/** cmfs_handle_class_choose() - pure: the class of a new handle on an image in @mode. */
enum cmfs_handle_class cmfs_handle_class_choose(const struct cmfs_cache_props *mode);

/** cmfs_handle_class_flags() - pure: what a class means in the FUSE protocol. */
struct cmfs_handle_flags cmfs_handle_class_flags(enum cmfs_handle_class class);

#endif
