/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_IMAGE_FORMAT_H
#define CMFS_IMAGE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

/* What an image file's bytes mean. The names are QEMU's. */
enum cmfs_format {
	CMFS_FORMAT_RAW, /* the disk's own bytes */
	CMFS_FORMAT_AUTO,
	CMFS_FORMAT_QCOW2,
	CMFS_FORMAT_QCOW,
	CMFS_FORMAT_QED,
	CMFS_FORMAT_VMDK,
	CMFS_FORMAT_VDI,
	CMFS_FORMAT_VHDX,
	CMFS_FORMAT_VPC, /* VHD */
	CMFS_FORMAT_PARALLELS,
	CMFS_FORMAT_LUKS,
	CMFS_FORMATS,
	CMFS_FORMAT_UNSAID = CMFS_FORMATS, /* raw, but nobody said so */
};

/* Their names by number; a NULL at the end. */
extern const char *const cmfs_format_names[CMFS_FORMATS + 1];

/** cmfs_format_has_key() - can images of it be encrypted, with a passphrase that we can give? */
bool cmfs_format_has_key(enum cmfs_format format);

/* How much of an image's two ends is looked at; what is shorter is looked at whole. */
#define CMFS_FORMAT_PROBE_SIZE 512

/* An image's first and last bytes, as many as there are up to the size above. */
struct cmfs_format_ends {
	char head[CMFS_FORMAT_PROBE_SIZE], tail[CMFS_FORMAT_PROBE_SIZE];
	size_t head_len, tail_len;
};

/**
 * cmfs_format_probe() - the format that an image looks like; never auto. Pure.
 *
 * A guess: whoever may write a raw disk can make it look like anything.
 * Source: the probe functions and documents of QEMU's block drivers.
 */
enum cmfs_format cmfs_format_probe(const struct cmfs_format_ends *ends);

#endif
