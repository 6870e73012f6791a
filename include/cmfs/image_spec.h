/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_IMAGE_SPEC_H
#define CMFS_IMAGE_SPEC_H

#include "cmfs/fault.h"
#include "cmfs/image.h"
#include "cmfs/image_format.h"
#include "cmfs/write_log.h"

/* What becomes of a discard; QEMU's discard=. */
enum cmfs_discard {
	CMFS_DISCARD_UNMAP,  /* the host gets its space back */
	CMFS_DISCARD_IGNORE, /* it becomes zeroes, and the host's space is kept */
};

/* What becomes of a write of zeroes; QEMU's detect-zeroes=. */
enum cmfs_detect_zeroes {
	CMFS_DETECT_ZEROES_OFF,	  /* a write */
	CMFS_DETECT_ZEROES_ON,	  /* zeroes, and the host's space is kept */
	CMFS_DETECT_ZEROES_UNMAP, /* a hole */
};

/*
 * Everything that is settled about an image before it is opened: where it is, and how
 * it is to be shown. On the command line this is what QEMU's -drive is to a disk,
 * "file=disk.raw,cache=none"; one table of keys (image_spec.c) says what there is.
 *
 * Where its mode comes from, in this order:
 *
 *   1. a live change (cmfs_image_change_cache()), until it is reverted;
 *   2. the mode given with the spec;
 *   3. the one stored on the host file as the xattr user.cmfs.cache;
 *   4. writeback.
 */
struct cmfs_image_spec {
	const char *path; /* of the host file or block device, or an NBD URI */
	const char *name; /* in the mount; NULL: the last part of the path */
	bool name_given;  /* it is not the default for such a path; once complete */
	bool readonly;
	bool cache_given;
	enum cmfs_cache_mode cache; /* if given */
	struct cmfs_host_options host;
	unsigned int reconnect_delay_s; /* of an NBD server's, cmfs/nbd.h */
	bool keep_sync_flag;		/* the host's sync flag serves writethrough */
	bool persist;			/* live changes are stored on the host file */
	bool fixed;    /* no live changes, and only modes without direct and dsync */
	bool snapshot; /* changes go to an overlay, cmfs/overlay.h */
	enum cmfs_discard discard;
	enum cmfs_detect_zeroes detect_zeroes;
	bool powercut;		  /* the power-cut layer, cmfs/powercut.h */
	uint64_t powercut_memory; /* its data in memory, in bytes; the rest goes to a file */
	const char *log_writes;	  /* path of a new write log, cmfs/write_log.h; NULL: none */
	bool fault;		  /* the layer for faults, cmfs/fault.h */
	struct cmfs_fault_rules fault_rules; /* the first ones */

	enum cmfs_format format; /* what is shown of it: its bytes, or the disk in them */
	const char *key_file;	 /* its passphrase is in there; NULL: it needs none */
};

/* As the help says. */
#define CMFS_POWERCUT_MEMORY_DEFAULT (UINT64_C(256) * 1024 * 1024)

/* What is so unless the command line says otherwise. */
#define CMFS_IMAGE_SPEC_INITIALIZER                                                                \
	((struct cmfs_image_spec){ .powercut_memory = CMFS_POWERCUT_MEMORY_DEFAULT,                \
				   .format = CMFS_FORMAT_UNSAID })

/* A key of the command line's, for help and messages. */
struct cmfs_image_key {
	const char *name;
	const char *arg; /* name of its value */
	const char *help;
	bool of_one; /* makes no sense for all images at once */
};

/** cmfs_image_key() - the @i-th key; NULL behind the last one. Constant. */
const struct cmfs_image_key *cmfs_image_key(size_t i);

/** cmfs_image_key_words() - values of the @i-th key, end with NULL; NULL: they are not words. */
const char *const *cmfs_image_key_words(size_t i);

/**
 * cmfs_image_spec_set() - set one key.
 * @key: its name, in the table.
 * @value: NULL: none was given, as in "readonly", which is "readonly=on".
 * @err: filled on failure: names the key, the value and what works.
 *
 * Returns 0, -EINVAL or -ENOMEM. @spec owns what was set
 * in this way: cmfs_image_spec_finish() frees it.
 */
int cmfs_image_spec_set(struct cmfs_image_spec *spec, const char *key, const char *value,
			struct cmfs_err *err);

/**
 * cmfs_image_spec_parse() - set the keys of "file=disk.raw,cache=none", as in QEMU's
 * -drive: a doubled comma is one in a value.
 *
 * @spec: the defaults, and then the image. Errors as above, and a missing file=.
 */
int cmfs_image_spec_parse(struct cmfs_image_spec *spec, const char *text, struct cmfs_err *err);

/**
 * cmfs_image_spec_complete() - fill in what was not given and is not simply a default: the
 * name of an NBD export. 0 or -ENOMEM.
 */
int cmfs_image_spec_complete(struct cmfs_image_spec *spec, struct cmfs_err *err);

/** cmfs_image_spec_check() - is it without contradictions? 0 or -EINVAL. */
int cmfs_image_spec_check(const struct cmfs_image_spec *spec, struct cmfs_err *err);

/** cmfs_image_spec_copy() - @ret: with strings of its own. 0 or -ENOMEM. */
int cmfs_image_spec_copy(const struct cmfs_image_spec *spec, struct cmfs_image_spec *ret);

void cmfs_image_spec_finish(struct cmfs_image_spec *spec);

/** cmfs_image_spec_name() - its name in the mount; @spec's own. */
const char *cmfs_image_spec_name(const struct cmfs_image_spec *spec);

/** cmfs_image_spec_layer() - the first option that puts a layer on its place, or NULL. */
const char *cmfs_image_spec_layer(const struct cmfs_image_spec *spec);

/* The key under which a mode is stored, and under which fuse/ shows it. */
#define CMFS_CACHE_XATTR "user.cmfs.cache"

/**
 * cmfs_image_open() - open an image in the mode that it is to start with.
 * @spec: needed during the call only.
 * @err: filled on failure: a sentence that names the path.
 *
 * Errors: those of cmfs_backend_file_open() and its like; -EINVAL for a stored mode that is
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

/** cmfs_image_notice() - what its user should be told at the start, or NULL. Static. */
const char *cmfs_image_notice(struct cmfs_image *image);

/**
 * cmfs_image_looks_like() - the format that its content seemed to have when it was
 * opened; raw if the spec said what it is. Constant.
 */
enum cmfs_format cmfs_image_looks_like(struct cmfs_image *image);

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
