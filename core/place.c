// SPDX-License-Identifier: GPL-2.0-or-later
/* The kinds of places that an image may live in, and how to tell them apart. */
#include "place.h"

#include "cmfs/nbd.h"

#include <errno.h>
#include <string.h>

/*
 * What an image's path leads to. What is no path at all, and so nothing that can be
 * looked at, has the mode 0.
 */
static int look_at(const char *path, struct stat *ret, struct cmfs_err *err)
{
	*ret = (struct stat){ 0 };
	if (cmfs_nbd_is_uri(path))
		return 0;
	if (stat(path, ret) < 0)
		return cmfs_err_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	return 0;
}

static bool is_file(const struct cmfs_image_spec *spec, const struct stat *st)
{
	return S_ISREG(st->st_mode);
}

static int open_file(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
		     struct cmfs_backend **ret, struct cmfs_err *err)
{
	return cmfs_backend_file_open(spec->path, how, &spec->host, ret, err);
}

static bool is_blkdev(const struct cmfs_image_spec *spec, const struct stat *st)
{
	return S_ISBLK(st->st_mode);
}

static int open_blkdev(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
		       struct cmfs_backend **ret, struct cmfs_err *err)
{
	return cmfs_backend_blkdev_open(spec->path, how, &spec->host, ret, err);
}

static bool is_nbd(const struct cmfs_image_spec *spec, const struct stat *st)
{
	return cmfs_nbd_is_uri(spec->path);
}

static int open_nbd(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
		    struct cmfs_backend **ret, struct cmfs_err *err)
{
	const struct cmfs_nbd_source source = {
		.uri = spec->path,
		.reconnect_delay_s = spec->reconnect_delay_s,
	};

	return cmfs_backend_nbd_open(&source, how, ret, err);
}

static bool is_guest(const struct cmfs_image_spec *spec, const struct stat *st)
{
	return spec->format != CMFS_FORMAT_RAW && spec->format != CMFS_FORMAT_UNSAID;
}

/* The first one that fits is it. */
static const struct place {
	bool (*is)(const struct cmfs_image_spec *spec, const struct stat *st);
	int (*open)(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
		    struct cmfs_backend **ret, struct cmfs_err *err);
} places[] = {
	{ is_guest, cmfs_place_open_guest },
	{ is_nbd, open_nbd },
	{ is_file, open_file },
	{ is_blkdev, open_blkdev },
};

int cmfs_place_open(const struct cmfs_image_spec *spec, const struct cmfs_open_how *how,
		    struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct stat st;
	int r = look_at(spec->path, &st, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (places[i].is(spec, &st))
			return places[i].open(spec, how, ret, err);
	}
	if (S_ISDIR(st.st_mode))
		return cmfs_err_set(err, -EISDIR, "%s: is a directory, not an image", spec->path);
	return cmfs_err_set(err, -EINVAL, "%s: is neither a regular file nor a block device",
			    spec->path);
}
