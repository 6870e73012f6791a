/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_NBD_H
#define CMFS_NBD_H

#include "cmfs/backend.h"

/*
 * Images behind an NBD server. The semantics: the NBD protocol (doc/proto.md of
 * its reference implementation), its URIs (doc/uri.md), libnbd(3).
 */

/* Where an export is: an URI, or a unix socket and the export's name there. */
struct cmfs_nbd_source {
	const char *name;	 /* for messages; NULL: the URI, or the socket's path */
	const char *uri;	 /* NULL: socket_path is given */
	const char *socket_path; /* absolute */
	const char *export_name; /* beside socket_path; NULL: "" */
	/*
	 * How long requests wait for a lost connection to come back, in seconds. 0:
	 * they fail at once; it is still looked for, and later ones may find it.
	 */
	unsigned int reconnect_delay_s;
	unsigned int max_connections; /* where the server allows several; 0: our choice */
};

/**
 * cmfs_backend_nbd_open() - an export as backend.
 * @source: needed during the call only.
 * @how: direct asks for nothing, as nothing is cached on our side.
 * @err: filled on failure: a sentence that begins with the source's name.
 *
 * All connections that will ever be made, unless one is lost, are made when it returns;
 * live as long as this opening and those reopened from it. To be called in the process
 * that uses it: fork(2) afterwards is not possible.
 *
 * Errors: those of connecting; -EOPNOTSUPP where the server's flags do not allow for
 * what @how asks for (P10); -EROFS for an export that is read-only, unless @how is.
 */
int cmfs_backend_nbd_open(const struct cmfs_nbd_source *source, const struct cmfs_open_how *how,
			  struct cmfs_backend **ret, struct cmfs_err *err);

/** cmfs_nbd_is_uri() - does @text begin as an NBD URI does? */
bool cmfs_nbd_is_uri(const char *text);

/**
 * cmfs_nbd_uri_check() - can it be used after the daemon has left its directory?
 *
 * -EINVAL with a sentence for paths in it that are not absolute, and for schemes that
 * begin with nbd but are none.
 */
int cmfs_nbd_uri_check(const char *uri, struct cmfs_err *err);

/**
 * cmfs_nbd_uri_name() - what an export is called in the mount: the last component of its
 * name, or "nbd" where that is empty.
 * @size: of @ret in bytes; a longer name is cut.
 */
void cmfs_nbd_uri_name(const char *uri, char *ret, size_t size);

#endif
