// SPDX-License-Identifier: GPL-2.0-or-later
/* The disk in an image of another format than raw; and what an image looks like. */
#include "align.h"
#include "backend_qemu.h"
#include "cmfs/nbd.h"
#include "host_dev.h"
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The image's own bytes, to be looked at: no lock is taken on them. */
static int open_bytes(const struct cmfs_image_spec *spec, bool direct, struct cmfs_backend **ret,
		      struct cmfs_err *err)
{
	const struct cmfs_open_how how = { .readonly = true, .direct = direct };
	struct cmfs_image_spec bytes = *spec;

	bytes.format = CMFS_FORMAT_RAW;
	bytes.host = (struct cmfs_host_options){ .locking = CMFS_LOCKING_OFF };
	return cmfs_place_open(&bytes, &how, ret, err);
}

static int err_remote(const struct cmfs_image_spec *spec, struct cmfs_err *err)
{
	return cmfs_err_set(err, -EINVAL,
			    "%s: format=%s: that is for files and block devices; a server of the "
			    "guest's disk itself is shown with format=raw",
			    spec->path, cmfs_format_names[spec->format]);
}

/* QEMU would say only that permission is denied. */
static int check_writable(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
			  struct cmfs_err *err)
{
	struct stat st;
	int fd;

	if (how->readonly)
		return 0;
	if (faccessat(AT_FDCWD, spec->path, W_OK, AT_EACCESS) < 0)
		return cmfs_err_set(err, -errno,
				    "%s: cannot open for writing: %s (-o ro mounts it read-only)",
				    spec->path, strerror(errno));
	if (stat(spec->path, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	/*
	 * Not a device that is mounted. A claim of ours cannot last, as backend_blkdev.c's
	 * does: what qemu-nbd zeroes would fail with EBUSY.
	 */
	fd = open(spec->path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (fd < 0 && errno == EBUSY)
		return cmfs_host_dev_err_busy(st.st_rdev, spec->path, err);
	if (fd >= 0)
		close(fd);
	return 0;
}

/* They are used again when the daemon is in another folder. */
static int check_paths(const struct cmfs_image_spec *spec, const struct cmfs_qemu_nbd_spec *nbd,
		       struct cmfs_err *err)
{
	if (!nbd->path)
		return cmfs_err_set(err, -errno, "%s: cannot open: %s", spec->path,
				    strerror(errno));
	if (spec->key_file && !nbd->key_file)
		return cmfs_err_set(err, -errno, "%s: key-file=%s: cannot open: %s", spec->path,
				    spec->key_file, strerror(errno));
	return 0;
}

static int open_qemu(const struct cmfs_image_spec *spec, const struct cmfs_qemu_nbd_spec *nbd,
		     const struct cmfs_open_how *how, struct cmfs_backend **ret,
		     struct cmfs_err *err)
{
	struct cmfs_backend *bytes;
	int r;

	r = check_paths(spec, nbd, err);
	if (r == 0)
		r = open_bytes(spec, how->direct, &bytes, err);
	if (r < 0)
		return r;
	r = check_writable(spec, how, err);
	if (r == 0)
		r = cmfs_backend_qemu_open(nbd, spec->path, bytes, how, ret, err);
	if (r < 0)
		cmfs_backend_close(bytes);
	return r;
}

int cmfs_place_open_guest(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
			  struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct stat st;
	struct cmfs_qemu_nbd_spec nbd = {
		.path = realpath(spec->path, NULL),
		.block_device = stat(spec->path, &st) == 0 && S_ISBLK(st.st_mode),
		.format = spec->format,
		.key_file = spec->key_file ? realpath(spec->key_file, NULL) : NULL,
		.host = spec->host,
	};
	int r = cmfs_nbd_is_uri(spec->path) ? err_remote(spec, err)
					    : open_qemu(spec, &nbd, how, ret, err);

	free((char *)nbd.path);
	free((char *)nbd.key_file);
	return r;
}

/* ---- probing ---- */

static int read_ends(struct cmfs_backend *be, struct cmfs_format_ends *ret)
{
	uint64_t size, tail;
	int r = cmfs_backend_size(be, &size);

	if (r < 0)
		return r;
	tail = size > sizeof(ret->tail) ? size - sizeof(ret->tail) : 0;
	r = cmfs_align_read(be, ret->head, sizeof(ret->head), 0, &ret->head_len);
	return r < 0 ? r : cmfs_align_read(be, ret->tail, sizeof(ret->tail), tail, &ret->tail_len);
}

int cmfs_place_probe(const struct cmfs_image_spec *spec, enum cmfs_format *ret,
		     struct cmfs_err *err)
{
	struct cmfs_format_ends ends;
	struct cmfs_backend *be;
	int r;

	*ret = CMFS_FORMAT_RAW;
	if (cmfs_nbd_is_uri(spec->path))
		return spec->format == CMFS_FORMAT_AUTO ? err_remote(spec, err) : 0;
	/* Past the host's cache: what is not in there stays out for a look. */
	r = open_bytes(spec, true, &be, NULL);
	if (r < 0)
		r = open_bytes(spec, false, &be, err);
	if (r < 0)
		return r;
	r = read_ends(be, &ends);
	cmfs_backend_close(be);
	if (r < 0)
		return cmfs_err_set(err, r, "%s: cannot be read: %s", spec->path, strerror(-r));
	*ret = cmfs_format_probe(&ends);
	return 0;
}
