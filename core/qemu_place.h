/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_QEMU_PLACE_H
#define CMFS_QEMU_PLACE_H

#include "gate.h"
#include "qemu_nbd.h"

#include <stdatomic.h>

/* One qemu-nbd, and our connections to it. */
struct cmfs_qemu_server {
	struct cmfs_qemu_nbd *process;
	struct cmfs_backend *nbd; /* NULL: there is none */
	bool readonly, direct;
};

/*
 * An image that a qemu-nbd shows, shared by all openings of it. One at a time: two would
 * each have their own idea of the image's metadata, and QEMU's locks do not allow it.
 */
struct cmfs_qemu_place {
	atomic_uint refs;
	char *name;			/* for messages */
	struct cmfs_qemu_nbd_spec spec; /* its strings are owned */
	int folder;			/* of the image, whatever is mounted on it by now */
	struct cmfs_geometry geo;	/* constant, as is the size */
	uint64_t size;
	struct cmfs_mutex change_lock;	/* one change of the server at a time */
	struct cmfs_gate gate;		/* requests are inside; closed during a change */
	struct cmfs_qemu_server server; /* stable for whoever is inside the gate */
};

/** cmfs_qemu_place_open() - start a qemu-nbd. Errors: as cmfs_backend_qemu_open(). */
int cmfs_qemu_place_open(const struct cmfs_qemu_nbd_spec *spec, const char *name,
			 const struct cmfs_open_how *how, struct cmfs_qemu_place **ret,
			 struct cmfs_err *err);

struct cmfs_qemu_place *cmfs_qemu_place_ref(struct cmfs_qemu_place *place);
void cmfs_qemu_place_unref(struct cmfs_qemu_place *place);

/**
 * cmfs_qemu_place_adapt() - have a qemu-nbd that can serve @how, beside the openings that
 * there are: by another one if need be.
 * @host: the image file, to know it by.
 * @err: filled on failure: a sentence that begins with the place's name.
 *
 * When it fails, there is one as before, or none at all: each request gets -EIO then.
 */
int cmfs_qemu_place_adapt(struct cmfs_qemu_place *place, struct cmfs_backend *host,
			  const struct cmfs_open_how *how, struct cmfs_err *err);

/** cmfs_qemu_place_end() - end it; -EIO if it ended badly, or had before. No request follows. */
int cmfs_qemu_place_end(struct cmfs_qemu_place *place);

#endif
