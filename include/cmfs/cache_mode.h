/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_CACHE_MODE_H
#define CMFS_CACHE_MODE_H

#include <stdbool.h>

/* QEMU's five -drive cache= modes, with QEMU's meaning. */
enum cmfs_cache_mode {
	CMFS_CACHE_WRITEBACK,
	CMFS_CACHE_NONE,
	CMFS_CACHE_WRITETHROUGH,
	CMFS_CACHE_DIRECTSYNC,
	CMFS_CACHE_UNSAFE,
	CMFS_CACHE_MODES,
};

/*
 * What a mode means. This row is all that the rest of the tree may ask of a
 * mode: nothing else looks at which mode it is.
 */
struct cmfs_cache_props {
	const char *name;
	const char *alias; /* a second accepted name, or NULL */
	bool direct;	   /* bypasses the host page cache (P6) */
	bool dsync;	   /* an acknowledged change is durable (P1) */
	bool flush;	   /* flush requests are honoured (P2), not ignored (P3) */
};

/**
 * cmfs_cache_props() - the meaning of @mode (never NULL; static).
 *
 * Any thread.
 */
const struct cmfs_cache_props *cmfs_cache_props(enum cmfs_cache_mode mode);

/**
 * cmfs_cache_mode_parse() - find a mode by name or alias.
 * @name: exact, lower case, NUL-terminated.
 * @ret: untouched on failure.
 *
 * Returns 0, or -EINVAL for a name that is no mode. Any thread.
 * Source: qemu(1), -drive cache=.
 */
int cmfs_cache_mode_parse(const char *name, enum cmfs_cache_mode *ret);

/* All mode names for messages: "writeback, none, ...". Static. */
#define CMFS_CACHE_MODE_NAMES "writeback, none, writethrough, directsync, unsafe"

#endif
