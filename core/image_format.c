// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmfs/image_format.h"

#include <string.h>

/* As QEMU's drivers are called. */
const char *const cmfs_format_names[CMFS_FORMATS + 1] = {
	[CMFS_FORMAT_RAW] = "raw",     [CMFS_FORMAT_AUTO] = "auto",
	[CMFS_FORMAT_QCOW2] = "qcow2", [CMFS_FORMAT_QCOW] = "qcow",
	[CMFS_FORMAT_QED] = "qed",     [CMFS_FORMAT_VMDK] = "vmdk",
	[CMFS_FORMAT_VDI] = "vdi",     [CMFS_FORMAT_VHDX] = "vhdx",
	[CMFS_FORMAT_VPC] = "vpc",     [CMFS_FORMAT_PARALLELS] = "parallels",
	[CMFS_FORMAT_LUKS] = "luks",
};

bool cmfs_format_has_key(enum cmfs_format format)
{
	return format == CMFS_FORMAT_LUKS || format == CMFS_FORMAT_QCOW2 ||
	       format == CMFS_FORMAT_QCOW;
}

#define BYTES(text) text, sizeof(text) - 1

/* What stands where in an image of a format. The first row that fits is it. */
static const struct magic {
	enum cmfs_format format;
	bool in_tail; /* among the last 512 bytes, else among the first */
	size_t off;
	const char *bytes;
	size_t len;
} magics[] = {
	{ CMFS_FORMAT_QCOW, false, 0, BYTES("QFI\xfb\0\0\0\1") },
	{ CMFS_FORMAT_QCOW2, false, 0, BYTES("QFI\xfb\0\0\0\2") },
	{ CMFS_FORMAT_QCOW2, false, 0, BYTES("QFI\xfb\0\0\0\3") },
	{ CMFS_FORMAT_QED, false, 0, BYTES("QED\0") },
	{ CMFS_FORMAT_VMDK, false, 0, BYTES("KDMV") },
	{ CMFS_FORMAT_VMDK, false, 0, BYTES("COWD") },
	{ CMFS_FORMAT_VMDK, false, 0, BYTES("# Disk DescriptorFile") },
	{ CMFS_FORMAT_VDI, false, 64, BYTES("\x7f\x10\xda\xbe") }, /* behind a free text */
	{ CMFS_FORMAT_VHDX, false, 0, BYTES("vhdxfile") },
	{ CMFS_FORMAT_PARALLELS, false, 0, BYTES("WithoutFreeSpace") },
	{ CMFS_FORMAT_PARALLELS, false, 0, BYTES("WithouFreSpacExt") },
	{ CMFS_FORMAT_LUKS, false, 0, BYTES("LUKS\xba\xbe") },
	{ CMFS_FORMAT_VPC, false, 0, BYTES("conectix") },
	{ CMFS_FORMAT_VPC, true, 0, BYTES("conectix") }, /* of a fixed size: a footer only */
};

static bool fits(const struct magic *magic, const struct cmfs_format_ends *ends)
{
	const char *end = magic->in_tail ? ends->tail : ends->head;
	size_t len = magic->in_tail ? ends->tail_len : ends->head_len;

	return len >= magic->off + magic->len &&
	       memcmp(end + magic->off, magic->bytes, magic->len) == 0;
}

enum cmfs_format cmfs_format_probe(const struct cmfs_format_ends *ends)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		if (fits(&magics[i], ends))
			return magics[i].format;
	}
	return CMFS_FORMAT_RAW;
}
