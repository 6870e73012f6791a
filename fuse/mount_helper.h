/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_MOUNT_HELPER_H
#define CMFS_MOUNT_HELPER_H

#include "cmfs/error.h"

#include <stdbool.h>
#include <stdio.h>

/*
 * mount(8) runs /sbin/mount.TYPE for a type that is not the kernel's, with a command
 * line of its own kind and exit statuses that it passes on: see its EXTERNAL HELPERS
 * and EXIT STATUS. cmfs under such a name takes the one and gives the others.
 */
#define CMFS_MOUNT_USAGE  1  /* "incorrect invocation or permissions" */
#define CMFS_MOUNT_FAILED 32 /* "mount failure" */

/** cmfs_is_mount_helper() - is @name, the program's, mount.cmfs or mount.fuse.cmfs? */
bool cmfs_is_mount_helper(const char *name);

/* The same request as a command line of cmfs. */
struct cmfs_mount_helper {
	char **argv; /* ends with NULL; the strings are the caller's */
	int argc;
	bool fake;    /* -f: only look at it */
	bool verbose; /* -v */
};

/**
 * cmfs_mount_helper_parse() - read "SPEC DIR [-sfnv] [-N NS] [-t TYPE] [-o OPTIONS]".
 * @err: filled on failure: one sentence that names what is wrong.
 *
 * Returns 0, -EINVAL or -ENOMEM. Not for two threads: it is getopt(3), which is ready for
 * another command line afterwards. cmfs_mount_helper_finish() is due either way.
 */
int cmfs_mount_helper_parse(int argc, char **argv, struct cmfs_mount_helper *ret,
			    struct cmfs_err *err);
void cmfs_mount_helper_finish(struct cmfs_mount_helper *helper);

/** cmfs_mount_helper_print() - the command line, as mount -v shows it. */
void cmfs_mount_helper_print(const struct cmfs_mount_helper *helper, FILE *out);

#endif
