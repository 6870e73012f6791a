/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_QEMU_NBD_COMMAND_H
#define CMFS_QEMU_NBD_COMMAND_H

#include "qemu_nbd.h"

#define CMFS_QEMU_NBD "qemu-nbd"

/* The command line of a qemu-nbd. */
struct cmfs_qemu_nbd_command {
	char *args[12]; /* owned; end with NULL */
	size_t count;
	const char *image; /* the one that names the image */
};

/** cmfs_qemu_nbd_make_command() - 0 or -ENOMEM; to be finished in either case. Pure. */
int cmfs_qemu_nbd_make_command(const struct cmfs_qemu_nbd_spec *spec,
			       const struct cmfs_open_how *how, struct cmfs_qemu_nbd_command *ret);

void cmfs_qemu_nbd_finish_command(struct cmfs_qemu_nbd_command *command);

#endif
