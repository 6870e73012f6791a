/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_IMAGE_SPEC_H
#define CMFS_IMAGE_SPEC_H

#include "cmfs/fault.h"
#include "cmfs/image.h"
#include "cmfs/write_log.h"

/*
 * Where an image is, and where its mode comes from. In this order:
 *
 *   1. a live change (cmfs_image_change_cache()), until it is reverted;
 *   2. the mode given with the spec (-o cache=);
 *   3. the one stored on the host file as the xattr user.cmfs.cache;
 *   4. writeback.
 */
struct cmfs_image_spec {
	const char *path; /* of the host file */
	bool readonly;
	bool cache_given;
	enum cmfs_cache_mode cache; /* if given */
	bool keep_sync_flag;	    /* the host's sync flag serves writethrough */
	bool persist;		    /* live changes are stored on the host file */
	bool fixed;		    /* no live changes, and only modes without direct and dsync */
	bool powercut;		    /* the power-cut layer, cmfs/powercut.h */
	uint64_t powercut_memory;   /* its data in memory, in bytes; the rest goes to a file */
	const char *log_writes;	    /* path of a new write log, cmfs/write_log.h; NULL: none */
	const struct cmfs_fault_rules *faults; /* the first ones, cmfs/fault.h; NULL: no layer */
};

/* The key under which a mode is stored, and under which fuse/ shows it. */
#define CMFS_CACHE_XATTR "user.cmfs.cache"

/**
 * cmfs_image_open() - open an image in the mode that it is to start with.
 * @spec: needed during the call only.
 * @err: filled on failure: a sentence that names the path.
 *
 * Errors: those of cmfs_backend_file_open(); -EINVAL for a stored mode that is
 * none. Nothing on the host is changed, but for the sync flag: one that a killed cmfs
 * left is cleared, and one that the spec asks for is set.
 */
int cmfs_image_open(const struct cmfs_image_spec *spec, struct cmfs_image **ret,
		    struct cmfs_err *err);

/**
 * cmfs_image_layers() - the options that put layers between the image and its file, as
 * "powercut=on"; "" for none. Constant.
 *
 * Writers must not bypass a layer: cmfs_image_host_fd() has nothing to give then.
 */
const char *cmfs_image_layers(struct cmfs_image *image);

/** cmfs_image_write_log() - its write log, NULL for none. The image's own. */
struct cmfs_write_log *cmfs_image_write_log(struct cmfs_image *image);

/** cmfs_image_faults() - its fault rules, to be changed at any time; NULL: no layer for them. */
struct cmfs_faults *cmfs_image_faults(struct cmfs_image *image);

/** cmfs_image_cache_is_stored() - did the starting mode come from the host file? */
bool cmfs_image_cache_is_stored(struct cmfs_image *image);

/**
 * cmfs_image_change_cache() - a live change: cmfs_image_set_cache(), stored on
 * the host file too if the spec says persist. When it fails, both are as before.
 */
int cmfs_image_change_cache(struct cmfs_image *image, enum cmfs_cache_mode mode,
			    struct cmfs_err *err);

/**
 * cmfs_image_revert_cache() - undo live changes: go to the mode that mounting the
 * image anew would give. With persist the stored mode is removed first.
 */
int cmfs_image_revert_cache(struct cmfs_image *image, struct cmfs_err *err);

#endif
