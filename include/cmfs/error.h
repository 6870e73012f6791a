/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_ERROR_H
#define CMFS_ERROR_H

#include <limits.h>

/*
 * One sentence for the user. Set-up functions fill it beside the -errno they
 * return; the data path never formats strings. core/ does not print it: the
 * caller in fuse/ does, once, where the error stops.
 */
struct cmfs_err {
	char msg[PATH_MAX + 512]; /* names one path, at most */
};

/**
 * cmfs_err_set() - put a sentence into a caller's error.
 * @err: may be NULL: the text is dropped.
 * @error: -errno; returned as it is, so that `return cmfs_err_set(...)` works.
 * @fmt: printf format, no trailing newline or full stop.
 *
 * Any thread; @err belongs to the caller.
 */
int cmfs_err_set(struct cmfs_err *err, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
