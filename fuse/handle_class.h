/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_HANDLE_CLASS_H
#define CMFS_HANDLE_CLASS_H

#include "cmfs/cache_mode.h"

/*
 * How the kernel treats an open file: chosen per open, fixed until it is closed.
 *
 * The kernel refuses (EIO) to mix, on one inode at one time, cached handles with
 * handles that have a backing id. So the classes are two families, and a new
 * handle joins the one that is open.
 *
 * A mapping of a handle with a backing id is one of the host file, and outlives the
 * handle: nobody tells when it ends. Pages of the kernel's for the mounted file would
 * be a second truth beside it, so once there has been such a handle, none is cached
 * any more while the mount lasts (P9).
 *
 * Source: Linux fs/fuse/iomode.c, Documentation/filesystems/fuse/fuse-io.rst and
 * fuse-passthrough.rst.
 */
enum cmfs_handle_class {
	/* Without passthrough */
	CMFS_HANDLE_CACHED, /* kernel caches pages; writes reach us before they return */
	CMFS_HANDLE_DIRECT, /* each read and write is a request */
	/* With it: a mapping is one of the host file */
	CMFS_HANDLE_DIRECT_MAPPED, /* each read and write is a request */
	CMFS_HANDLE_PASSTHROUGH,   /* the kernel reads and writes the host file itself */
	CMFS_HANDLE_CLASSES,
};

/* What the choice depends on beside the mode. */
struct cmfs_handle_context {
	int open_flags;	      /* the application's, as of open(2) */
	bool can_passthrough; /* kernel, privileges and host file allow it */
	bool sync_flag;	      /* the host file's sync flag is on: all writes are durable */
	bool failed;	      /* nothing may claim durability any more (P5) */
	unsigned int open_without, open_with_passthrough; /* handles open now, by family */
	bool was_mappable; /* there has been one with passthrough in this mount */
};

/* The FUSE open flags that a class stands for. */
struct cmfs_handle_flags {
	bool direct_io;
	/*
	 * Pages stay valid from open to open. Also of a direct handle, which uses none: to
	 * drop them while another handle's cached write is on its way lets a reader fetch,
	 * and keep, what was there before it (P9).
	 */
	bool keep_cache;
	bool parallel_direct_writes; /* no inode lock around direct writes */
	bool passthrough;	     /* a backing id goes with it */
};

/**
 * cmfs_handle_class_choose() - pure: the class of a new handle on an image in @mode.
 *
 * At most one of the two counts of open handles is above 0, as every handle got
 * its class here.
 */
enum cmfs_handle_class cmfs_handle_class_choose(const struct cmfs_cache_props *mode,
						const struct cmfs_handle_context *context);

/** cmfs_handle_class_flags() - pure: what a class means in the FUSE protocol. */
struct cmfs_handle_flags cmfs_handle_class_flags(enum cmfs_handle_class class);

#endif
