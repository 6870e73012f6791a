// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which qemu-nbd serves an image, and how another one takes its place.
 *
 * A change of its flags closes the gate, flushes and ends the old one, and starts the
 * new one; if that does not start, the old one is started again. If even that fails, the
 * place has no server any more.
 */
#include "qemu_place.h"

#include "cmfs/nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* A killed cmfs' qemu-nbd may have to write a lot before it lets go of the image. */
#define LOCK_TRIES    30
#define LOCK_RETRY_MS 100

/* ---- the server ---- */

static int err_image(const struct cmfs_qemu_place *place, int error, const struct cmfs_err *why,
		     struct cmfs_err *err)
{
	const char *hint = strstr(why->msg, "key-secret") ? " (key-file=FILE gives it)" : "";

	return cmfs_err_set(err, error, "%s: format=%s: %s%s", place->name,
			    cmfs_format_names[place->spec.format], why->msg, hint);
}

/* @err: without the image's name. */
static int try_server(const struct cmfs_qemu_place *place, const char *path,
		      const struct cmfs_open_how *how, struct cmfs_qemu_server *ret,
		      struct cmfs_err *err)
{
	const struct cmfs_open_how nbd_how = { .readonly = how->readonly };
	struct cmfs_nbd_source source = { .name = "qemu-nbd" };
	struct cmfs_qemu_nbd_spec spec = place->spec;
	int r;

	spec.path = path;
	r = cmfs_qemu_nbd_start(&spec, how, &ret->process, err);
	if (r < 0)
		return r;
	cmfs_qemu_nbd_wait(ret->process);
	source.socket_path = cmfs_qemu_nbd_socket(ret->process);
	r = cmfs_backend_nbd_open(&source, &nbd_how, &ret->nbd, err);
	if (r < 0) {
		cmfs_qemu_nbd_kill(ret->process, err);
		return r;
	}
	cmfs_qemu_nbd_keep(ret->process);
	ret->readonly = how->readonly;
	ret->direct = how->direct;
	return 0;
}

/* In QEMU's words: Failed to get "write" lock; Failed to get shared "write" lock */
static bool says_locked(const struct cmfs_err *why)
{
	const char *failed = strstr(why->msg, "Failed to get ");

	return failed && strstr(failed, "\" lock");
}

/* @path: of the image, as qemu-nbd gets it. */
static int start_server(const struct cmfs_qemu_place *place, const char *path,
			const struct cmfs_open_how *how, struct cmfs_qemu_server *ret,
			struct cmfs_err *err)
{
	const struct timespec interval = { .tv_nsec = LOCK_RETRY_MS * 1000000L };
	struct cmfs_err why;
	int r;

	for (int tries = LOCK_TRIES;; tries--) {
		r = try_server(place, path, how, ret, &why);
		if (r == 0)
			return 0;
		if (!says_locked(&why))
			return err_image(place, r == -ENOENT || r == -ENOMEM ? r : -EIO, &why, err);
		if (tries == 0)
			return err_image(place, -EBUSY, &why, err);
		nanosleep(&interval, NULL);
	}
}

static int end_server(struct cmfs_qemu_server *server, struct cmfs_err *err)
{
	struct cmfs_qemu_server ended = *server;

	*server = (struct cmfs_qemu_server){ .nbd = NULL };
	if (!ended.nbd)
		return -EIO;
	cmfs_backend_close(ended.nbd);
	return cmfs_qemu_nbd_end(ended.process, err);
}

/* ---- changing it ---- */

static const char *base_name(const struct cmfs_qemu_place *place)
{
	return strrchr(place->spec.path, '/') + 1;
}

/*
 * qemu-nbd opens the image by its path: does that still lead to the same file? The image
 * may be below our own mount by now, and our gate closed: nothing is asked of the mount.
 */
static int check_path(const struct cmfs_qemu_place *place, struct cmfs_backend *host,
		      struct cmfs_err *err)
{
	struct statx now;
	struct stat then;
	int r = cmfs_backend_getattr(host, &then);

	if (r < 0)
		return cmfs_err_set(err, r, "%s: %s", place->name, strerror(-r));
	if (statx(place->folder, base_name(place), AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW,
		  STATX_INO, &now) < 0)
		return cmfs_err_set(err, -errno, "%s: cannot be opened anew: %s", place->name,
				    strerror(errno));
	if (makedev(now.stx_dev_major, now.stx_dev_minor) != then.st_dev ||
	    now.stx_ino != then.st_ino)
		return cmfs_err_set(err, -ESTALE,
				    "%s: cannot be opened anew: another file is in its place or "
				    "mounted over it",
				    place->name);
	return 0;
}

/* As start_server(), for a place that has openings. */
static int start_again(struct cmfs_qemu_place *place, const struct cmfs_open_how *how,
		       struct cmfs_err *err)
{
	struct cmfs_qemu_server server;
	const struct cmfs_geometry *geo;
	uint64_t size;
	char *path;
	int r;

	/* A relative name of a backing file starts at the folder, in this way too. */
	if (asprintf(&path, "/proc/%d/fd/%d/%s", getpid(), place->folder, base_name(place)) < 0)
		return cmfs_err_set(err, -ENOMEM, "%s: out of memory", place->name);
	r = start_server(place, path, how, &server, err);
	free(path);
	if (r < 0)
		return r;
	geo = &server.nbd->geo;
	r = cmfs_backend_size(server.nbd, &size);
	if (r == 0 && size == place->size && geo->align == place->geo.align &&
	    geo->exact_block == place->geo.exact_block) {
		place->server = server;
		return 0;
	}
	/* UNTESTED: for that somebody must write to an image that is locked */
	end_server(&server, NULL);
	return cmfs_err_set(err, -EIO, "%s: its size has changed", place->name);
}

/* The gate is closed. When it fails, the old server is there as before, or none is. */
static int replace_server(struct cmfs_qemu_place *place, const struct cmfs_open_how *how,
			  struct cmfs_err *err)
{
	const struct cmfs_open_how old_how = { .readonly = place->server.readonly,
					       .direct = place->server.direct };
	struct cmfs_err why, why_old;
	int r;

	/* What it cannot write out now it could not at its end, and would not tell. */
	r = old_how.readonly ? 0 : cmfs_backend_flush(place->server.nbd, false);
	if (r < 0)
		return cmfs_err_set(err, r, "%s: flush before qemu-nbd is started anew: %s",
				    place->name, strerror(-r));
	/* The folder for sockets may be gone or full by now; for the old one, too. */
	r = cmfs_qemu_nbd_check(&why);
	if (r < 0)
		return err_image(place, r, &why, err);
	end_server(&place->server, NULL); /* with nothing in its hands */
	r = start_again(place, how, &why);
	if (r == 0)
		return 0;
	if (start_again(place, &old_how, &why_old) == 0)
		return cmfs_err_set(err, r, "%s", why.msg);
	return cmfs_err_set(err, r, "%s; nor can it be opened as before, so it has failed: %s",
			    why.msg, why_old.msg);
}

int cmfs_qemu_place_adapt(struct cmfs_qemu_place *place, struct cmfs_backend *host,
			  const struct cmfs_open_how *how, struct cmfs_err *err)
{
	const struct cmfs_open_how wanted = {
		.readonly = how->readonly && place->server.readonly,
		.direct = how->direct,
	};
	int r = 0;

	cmfs_mutex_lock(&place->change_lock);
	if (!place->server.nbd) {
		r = cmfs_err_set(err, -EIO, "%s: its qemu-nbd is gone", place->name);
	} else if (wanted.readonly != place->server.readonly ||
		   wanted.direct != place->server.direct) {
		r = check_path(place, host, err);
		if (r == 0) {
			cmfs_gate_close(&place->gate);
			r = replace_server(place, &wanted, err);
			cmfs_gate_open(&place->gate);
		}
	}
	cmfs_mutex_unlock(&place->change_lock);
	return r;
}

int cmfs_qemu_place_end(struct cmfs_qemu_place *place)
{
	return end_server(&place->server, NULL);
}

/* ---- life ---- */

static void free_place(struct cmfs_qemu_place *place)
{
	end_server(&place->server, NULL);
	if (place->folder >= 0)
		close(place->folder);
	cmfs_gate_finish(&place->gate);
	pthread_mutex_destroy(&place->change_lock.m);
	free((char *)place->spec.path);
	free((char *)place->spec.key_file);
	free(place->name);
	free(place);
}

static struct cmfs_qemu_place *create_place(const struct cmfs_qemu_nbd_spec *spec, const char *name)
{
	struct cmfs_qemu_place *place = malloc(sizeof(*place));

	if (!place)
		return NULL;
	*place = (struct cmfs_qemu_place){
		.refs = 1,
		.name = strdup(name),
		.spec = *spec,
		.folder = -1,
		.change_lock = CMFS_MUTEX_INITIALIZER,
	};
	cmfs_gate_init(&place->gate);
	place->spec.path = strdup(spec->path);
	place->spec.key_file = spec->key_file ? strdup(spec->key_file) : NULL;
	if (place->name && place->spec.path && (place->spec.key_file || !spec->key_file))
		return place;
	free_place(place);
	return NULL;
}

static int open_folder(struct cmfs_qemu_place *place, struct cmfs_err *err)
{
	int len = (int)(base_name(place) - place->spec.path);
	char *folder;

	if (asprintf(&folder, "%.*s", len, place->spec.path) < 0)
		return cmfs_err_set(err, -ENOMEM, "%s: out of memory", place->name);
	place->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(folder);
	return place->folder < 0 ? cmfs_err_set(err, -errno, "%s: its folder cannot be opened: %s",
						place->name, strerror(errno))
				 : 0;
}

static int start_first(struct cmfs_qemu_place *place, const struct cmfs_open_how *how,
		       struct cmfs_err *err)
{
	int r = start_server(place, place->spec.path, how, &place->server, err);

	if (r < 0)
		return r;
	place->geo = place->server.nbd->geo;
	r = cmfs_backend_size(place->server.nbd, &place->size);
	return r < 0 ? cmfs_err_set(err, r, "%s: %s", place->name, strerror(-r)) : 0;
}

int cmfs_qemu_place_open(const struct cmfs_qemu_nbd_spec *spec, const char *name,
			 const struct cmfs_open_how *how, struct cmfs_qemu_place **ret,
			 struct cmfs_err *err)
{
	struct cmfs_qemu_place *place = create_place(spec, name);
	int r;

	if (!place)
		return cmfs_err_set(err, -ENOMEM, "%s: out of memory", name);
	r = open_folder(place, err);
	if (r == 0)
		r = start_first(place, how, err);
	if (r < 0)
		free_place(place);
	else
		*ret = place;
	return r;
}

struct cmfs_qemu_place *cmfs_qemu_place_ref(struct cmfs_qemu_place *place)
{
	atomic_fetch_add(&place->refs, 1);
	return place;
}

void cmfs_qemu_place_unref(struct cmfs_qemu_place *place)
{
	if (atomic_fetch_sub(&place->refs, 1) == 1)
		free_place(place);
}
