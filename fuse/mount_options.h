/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_MOUNT_OPTIONS_H
#define CMFS_MOUNT_OPTIONS_H

#include "options.h"

enum cmfs_option_kind {
	CMFS_OPTION_OURS,   /* has a function */
	CMFS_OPTION_FUSE,   /* for libfuse and the kernel */
	CMFS_OPTION_IGNORE, /* for mount(8), fstab or systemd: accepted, without effect here */
};

/* An option of the mount. */
struct cmfs_mount_option {
	const char *name; /* a trailing '*' stands for anything */
	const char *arg;  /* name of its value for the help; NULL: takes none */
	enum cmfs_option_kind kind;
	int (*apply)(struct cmfs_options *o, const char *value, struct cmfs_err *err);
	bool to_fuse;		  /* OURS, and libfuse gets it too */
	const char *help;	  /* NULL: named in the closing line of the list only */
	const char *const *words; /* its values, if they are words; end with NULL */
};

/** cmfs_mount_option() - the @i-th row; NULL behind the last one. Constant. */
const struct cmfs_mount_option *cmfs_mount_option(size_t i);

/**
 * cmfs_mount_options_parse() - apply "a,b=c,d=e\,f": a backslash takes the meaning from
 * the next character.
 * @err: filled on failure: names the option.
 *
 * Returns 0, -EINVAL or -ENOMEM.
 */
int cmfs_mount_options_parse(struct cmfs_options *o, const char *list, struct cmfs_err *err);

#endif
