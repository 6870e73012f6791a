/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_QEMU_NBD_H
#define CMFS_QEMU_NBD_H

#include "cmfs/backend.h"
#include "cmfs/image_format.h"

/*
 * A qemu-nbd(8) process, which shows an image's guest content to us as an NBD server.
 * (What is done with the content is backend_qemu.c's business.)
 */
struct cmfs_qemu_nbd;

/* What it is to be started with; strings are needed during the calls only. */
struct cmfs_qemu_nbd_spec {
	const char *path;	 /* absolute */
	bool block_device;	 /* it is one, else a regular file */
	enum cmfs_format format; /* neither raw nor auto */
	const char *key_file; /* absolute; its content is the image's passphrase; NULL: none, or the
				 format has none */
	struct cmfs_host_options host;
};

/**
 * cmfs_qemu_nbd_start() - start one; it opens the image while we go on.
 * @how: readonly and direct matter; durability is asked of it with each request.
 * @err: filled on failure: a sentence without the image's path.
 *
 * Until cmfs_qemu_nbd_keep() it is killed if we die. Errors: -ENOENT where there is no
 * qemu-nbd, those of fork(2) and socket(2).
 */
int cmfs_qemu_nbd_start(const struct cmfs_qemu_nbd_spec *spec, const struct cmfs_open_how *how,
			struct cmfs_qemu_nbd **ret, struct cmfs_err *err);

/**
 * cmfs_qemu_nbd_check() - is there what cmfs_qemu_nbd_start() needs for the socket? To be
 * asked before one is ended for another one. Errors: as there.
 */
int cmfs_qemu_nbd_check(struct cmfs_err *err);

/**
 * cmfs_qemu_nbd_socket() - the path to connect to, good in this process only.
 *
 * Connecting works at once, and then fails if the image cannot be opened.
 */
const char *cmfs_qemu_nbd_socket(const struct cmfs_qemu_nbd *nbd);

/**
 * cmfs_qemu_nbd_wait() - until it has opened the image, or failed to. Opening may take long,
 * where an image has to be repaired first.
 */
void cmfs_qemu_nbd_wait(const struct cmfs_qemu_nbd *nbd);

/** cmfs_qemu_nbd_has_ended() - has it ended, though there are connections? */
bool cmfs_qemu_nbd_has_ended(const struct cmfs_qemu_nbd *nbd);

/** cmfs_qemu_nbd_keep() - a connection works: it lives as long as that, whatever becomes of us. */
void cmfs_qemu_nbd_keep(struct cmfs_qemu_nbd *nbd);

/**
 * cmfs_qemu_nbd_end() - wait for its end, and free. All connections are closed.
 * @err: filled on failure: what it said, or how it ended.
 *
 * 0; -EIO if it failed: it may not have written all that it held then.
 */
int cmfs_qemu_nbd_end(struct cmfs_qemu_nbd *nbd, struct cmfs_err *err);

/**
 * cmfs_qemu_nbd_kill() - end one that nobody could connect to, and free.
 * @err: filled with what it said, unless that is nothing.
 */
void cmfs_qemu_nbd_kill(struct cmfs_qemu_nbd *nbd, struct cmfs_err *err);

/**
 * cmfs_qemu_nbd_explain() - what it printed as one line, without what we say ourselves.
 * @image: as it was named on its command line.
 * @size: of @ret in bytes; what does not fit is cut. Pure.
 */
void cmfs_qemu_nbd_explain(const char *output, const char *image, char *ret, size_t size);

#endif
