// SPDX-License-Identifier: GPL-2.0-or-later
/* Opening an image, and where its mode comes from (image_spec.h). */
#include "cmfs/image_spec.h"
#include "image_private.h"
#include "place.h"

#include <errno.h>
#include <string.h>

/* A stored value as it is on the host file; len < 0: -errno, -ENODATA for none. */
struct stored {
	char value[64];
	ssize_t len;
};

static struct stored read_stored(struct cmfs_backend *be)
{
	const struct cmfs_backend_meta_ops *meta = be->ops->meta;
	struct stored s = { .len = -ENODATA };

	if (meta && meta->getxattr)
		s.len = meta->getxattr(be, CMFS_CACHE_XATTR, s.value, sizeof(s.value) - 1);
	return s;
}

static int write_stored(struct cmfs_backend *be, const struct stored *s)
{
	const struct cmfs_backend_meta_ops *meta = be->ops->meta;
	int r;

	if (!meta || !meta->setxattr || !meta->removexattr)
		return -EOPNOTSUPP;
	if (s->len >= 0)
		return meta->setxattr(be, CMFS_CACHE_XATTR, s->value, s->len, 0);
	r = meta->removexattr(be, CMFS_CACHE_XATTR);
	return r == -ENODATA ? 0 : r;
}

/*
 * The mode that opening the image anew would give. @ret_stored: it comes from
 * the host file.
 */
static int starting_cache(const struct cmfs_image_source *source, struct cmfs_backend *be,
			  enum cmfs_cache_mode *ret, bool *ret_stored, struct cmfs_err *err)
{
	struct stored s = read_stored(be);

	if (!source->cache_given && s.len >= 0) {
		*ret_stored = true;
		if ((size_t)s.len == strlen(s.value) && cmfs_cache_mode_parse(s.value, ret) == 0)
			return 0;
		return cmfs_err_set(err, -EINVAL,
				    "its stored xattr " CMFS_CACHE_XATTR
				    " is '%s', which is none of " CMFS_CACHE_MODE_NAMES
				    "; -o cache= overrides it",
				    s.value);
	}
	if (!source->cache_given && s.len == -ERANGE)
		return cmfs_err_set(err, -EINVAL,
				    "its stored xattr " CMFS_CACHE_XATTR
				    " is too long to be one of " CMFS_CACHE_MODE_NAMES
				    "; -o cache= overrides it");
	if (!source->cache_given && s.len != -ENODATA && s.len != -EOPNOTSUPP)
		return cmfs_err_set(err, (int)s.len,
				    "cannot read its stored xattr " CMFS_CACHE_XATTR
				    ": %s; -o cache= overrides it",
				    strerror((int)-s.len));
	*ret_stored = false;
	*ret = source->cache_given ? source->cache : CMFS_CACHE_WRITEBACK;
	return 0;
}

/* The place; with an overlay on it, it is the overlay that is written. */
static bool opens_readonly(const struct cmfs_image_spec *spec)
{
	return spec->readonly || spec->snapshot;
}

/* Move from the plain opening, which told us the mode, to the mode's own. */
static int open_in_mode(const struct cmfs_image_spec *spec, const struct cmfs_image_source *source,
			struct cmfs_backend **be, enum cmfs_cache_mode *mode, bool *stored,
			struct cmfs_err *err)
{
	struct cmfs_open_how how;
	struct cmfs_backend *reopened;
	struct cmfs_err why;
	int r;

	r = starting_cache(source, *be, mode, stored, &why);
	if (r < 0)
		return cmfs_err_set(err, r, "%s: %s", spec->path, why.msg);
	how = cmfs_image_open_how(*mode, opens_readonly(spec));
	if (how.direct == (*be)->how.direct && how.dsync == (*be)->how.dsync &&
	    how.no_flush == (*be)->how.no_flush)
		return 0;
	r = cmfs_backend_reopen(*be, &how, &reopened, err);
	if (r < 0)
		return r;
	cmfs_backend_close(*be);
	*be = reopened;
	return 0;
}

/* With fixed-mode the kernel may acknowledge writes before we see them: P1, P6 are lost. */
static int check_fixed(const struct cmfs_image_spec *spec, enum cmfs_cache_mode mode,
		       struct cmfs_err *err)
{
	const struct cmfs_cache_props *props = cmfs_cache_props(mode);

	if (!spec->fixed || (!props->direct && !props->dsync))
		return 0;
	return cmfs_err_set(err, -EINVAL, "%s: cache=%s: fixed-mode is for writeback and unsafe",
			    spec->path, props->name);
}

static int check_aio(const struct cmfs_image_spec *spec, enum cmfs_cache_mode mode,
		     struct cmfs_err *err)
{
	struct cmfs_err why;
	int r = cmfs_image_check_aio(spec->host.aio, mode, &why);

	return r < 0 ? cmfs_err_set(err, r, "%s: %s", spec->path, why.msg) : 0;
}

/* P6: drop what others left in the host's cache; first flush it, as what is dirty stays. */
static int empty_cache(struct cmfs_backend *be, const char *path, struct cmfs_err *err)
{
	int r = 0;

	if (!be->how.direct)
		return 0;
	if (!be->how.readonly)
		r = cmfs_backend_flush(be, true);
	if (r < 0)
		return cmfs_err_set(err, r, "%s: cannot flush what is in the host's cache: %s",
				    path, strerror(-r));
	cmfs_backend_drop_cache(be);
	return 0;
}

/* What a killed cmfs left is cleared; then what this one needs is set. */
static int start_sync_flag(struct cmfs_image *image, const struct cmfs_image_spec *spec,
			   struct cmfs_err *err)
{
	int r;

	if (spec->readonly)
		return 0;
	r = cmfs_backend_set_sync(image->be, false);
	if (r < 0)
		return cmfs_err_set(err, r,
				    "%s: cannot clear the sync flag that a killed cmfs left on it "
				    "(chattr -S): %s",
				    spec->path, strerror(-r));
	r = cmfs_image_update_sync_flag(image, cmfs_image_props(image));
	if (r < 0)
		return cmfs_err_set(err, r,
				    "%s: syncflag=on: its sync flag (chattr +S) cannot be set: %s",
				    spec->path, strerror(-r));
	return 0;
}

/* Look at the content where the spec does not say what it is. */
static int settle_format(const struct cmfs_image_spec *spec, enum cmfs_format *ret,
			 enum cmfs_format *ret_looks, struct cmfs_err *err)
{
	int r = 0;

	*ret = spec->format;
	*ret_looks = CMFS_FORMAT_RAW;
	if (spec->format == CMFS_FORMAT_AUTO)
		r = cmfs_place_probe(spec, ret_looks, err);
	else if (spec->format == CMFS_FORMAT_UNSAID)
		cmfs_place_probe(spec, ret_looks, NULL); /* for a hint: what fails is no matter */
	if (spec->format == CMFS_FORMAT_AUTO)
		*ret = *ret_looks;
	if (r == 0 && spec->key_file && !cmfs_format_has_key(*ret))
		r = cmfs_err_set(err, -EINVAL,
				 "%s: key-file=%s: it is for images of the formats luks, qcow2 and "
				 "qcow, which have to be named by format=, or auto",
				 spec->path, spec->key_file);
	return r;
}

int cmfs_image_open(const struct cmfs_image_spec *spec, struct cmfs_image **ret,
		    struct cmfs_err *err)
{
	struct cmfs_image_spec placed = *spec;
	struct cmfs_image_source source = {
		.cache_given = spec->cache_given,
		.cache = spec->cache,
		.persist = spec->persist,
		.fixed = spec->fixed,
		.aio = spec->host.aio,
	};
	struct cmfs_open_how how = cmfs_image_open_how(
		spec->cache_given ? spec->cache : CMFS_CACHE_WRITEBACK, opens_readonly(spec));
	struct cmfs_image_layers stack = { "" };
	enum cmfs_cache_mode mode;
	struct cmfs_backend *be;
	struct cmfs_image *image;
	const char *notice;
	enum cmfs_format looks;
	bool stored;
	int r;

	r = settle_format(spec, &placed.format, &looks, err);
	if (r < 0)
		return r;
	r = cmfs_place_open(&placed, &how, &be, err);
	if (r < 0)
		return r;
	notice = be->notice;
	r = open_in_mode(spec, &source, &be, &mode, &stored, err);
	if (r == 0)
		r = check_aio(spec, mode, err);
	if (r == 0)
		r = check_fixed(spec, mode, err);
	if (r == 0)
		r = empty_cache(be, spec->path, err);
	if (r == 0)
		r = cmfs_image_open_layers(spec, &be, &stack, err);
	if (r == 0)
		r = cmfs_image_create(be, mode, &image, err);
	if (r < 0) {
		cmfs_backend_close(be);
		cmfs_image_drop_layers(&stack);
		return r;
	}
	image->source = source;
	image->layers = stack;
	image->discard = spec->discard;
	image->keep_sync_flag = spec->keep_sync_flag;
	r = start_sync_flag(image, spec, err);
	if (r < 0) {
		if (stack.write_log)
			cmfs_write_log_drop(stack.write_log);
		cmfs_image_close(image);
		return r;
	}
	image->stored_cache = stored;
	image->notice = notice;
	image->looks = looks;
	*ret = image;
	return 0;
}

const char *cmfs_image_notice(struct cmfs_image *image)
{
	return image->notice;
}

enum cmfs_format cmfs_image_looks_like(struct cmfs_image *image)
{
	return image->looks;
}

bool cmfs_image_cache_is_stored(struct cmfs_image *image)
{
	return image->stored_cache;
}

/* Store first, as that is easily undone; then switch. Holds the change lock. */
static int store_and_switch_locked(struct cmfs_image *image, const struct stored *new,
				   enum cmfs_cache_mode mode, struct cmfs_err *err)
{
	struct stored old = read_stored(image->be);
	int r;

	/* What cannot be put back is not replaced. */
	if (old.len < 0 && old.len != -ENODATA)
		return cmfs_err_set(err, (int)old.len,
				    "cannot read the stored " CMFS_CACHE_XATTR ": %s",
				    strerror((int)-old.len));
	r = write_stored(image->be, new);
	if (r < 0)
		return cmfs_err_set(err, r,
				    "cannot store " CMFS_CACHE_XATTR " on the host file: %s",
				    strerror(-r));
	r = cmfs_image_set_cache(image, mode, err);
	if (r < 0 && write_stored(image->be, &old) < 0)
		cmfs_err_set(err, r,
			     "not switched, and the stored " CMFS_CACHE_XATTR
			     " cannot be put back: the next mount may start in another mode");
	return r;
}

static int check_changeable(struct cmfs_image *image, struct cmfs_err *err)
{
	return image->source.fixed ? cmfs_err_set(err, -EROFS, "mounted with fixed-mode") : 0;
}

int cmfs_image_change_cache(struct cmfs_image *image, enum cmfs_cache_mode mode,
			    struct cmfs_err *err)
{
	const char *name = cmfs_cache_props(mode)->name;
	struct stored new = { .len = (ssize_t)strlen(name) };
	int r = check_changeable(image, err);

	if (r < 0)
		return r;
	memcpy(new.value, name, new.len);
	cmfs_mutex_lock(&image->change_lock);
	if (image->source.persist)
		r = store_and_switch_locked(image, &new, mode, err);
	else
		r = cmfs_image_set_cache(image, mode, err);
	cmfs_mutex_unlock(&image->change_lock);
	return r;
}

int cmfs_image_revert_cache(struct cmfs_image *image, struct cmfs_err *err)
{
	const struct stored none = { .len = -ENODATA };
	enum cmfs_cache_mode mode;
	bool stored;
	int r = check_changeable(image, err);

	if (r < 0)
		return r;
	cmfs_mutex_lock(&image->change_lock);
	if (image->source.persist) {
		mode = image->source.cache_given ? image->source.cache : CMFS_CACHE_WRITEBACK;
		r = store_and_switch_locked(image, &none, mode, err);
	} else {
		r = starting_cache(&image->source, image->be, &mode, &stored, err);
		if (r == 0)
			r = cmfs_image_set_cache(image, mode, err);
	}
	cmfs_mutex_unlock(&image->change_lock);
	return r;
}
