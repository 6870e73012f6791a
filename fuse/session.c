// SPDX-License-Identifier: GPL-2.0-or-later
/* The FUSE session: mounting, what is agreed with the kernel, the request loop. */
#include "session.h"

#include "log.h"
#include "passthrough.h"
#include "readahead.h"
#include "signals.h"
#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* More than the kernel sends at a time: some always wait for the device. */
#define MAX_WORKERS    CMFS_ROSTER_WORKERS_MAX
#define MAX_BACKGROUND 64

/*
 * libfuse explains itself in its log. While mounting, its last line becomes part
 * of our one sentence (P10); later its lines go where ours go.
 */
static struct {
	bool keep;
	char last[1024];
} libfuse_log;

static void note_libfuse_line(const char *line)
{
	snprintf(libfuse_log.last, sizeof(libfuse_log.last), "%s",
		 strncmp(line, "fuse: ", 6) == 0 ? line + 6 : line);
}

static void on_libfuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[1024];
	size_t len;

	vsnprintf(line, sizeof(line), fmt, ap);
	len = strcspn(line, "\n");
	line[len] = '\0';
	if (level == FUSE_LOG_DEBUG)
		fprintf(stderr, "%s\n", line);
	else if (libfuse_log.keep)
		note_libfuse_line(line);
	else if (len > 0)
		cmfs_log(LOG_WARNING, "%s", line);
}

/*
 * fusermount3 explains itself on the standard error that it inherits: that goes
 * into a file meanwhile, and its last line becomes the reason.
 */
static int mount_quietly(struct fuse_session *se, const char *mountpoint)
{
	int file = memfd_create("cmfs-mount-errors", MFD_CLOEXEC);
	int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	char text[1024];
	ssize_t n;
	int r;

	if (file >= 0 && saved >= 0)
		dup2(file, STDERR_FILENO);
	r = fuse_session_mount(se, mountpoint);
	if (saved >= 0)
		dup2(saved, STDERR_FILENO);
	n = file >= 0 ? pread(file, text, sizeof(text) - 1, 0) : 0;
	if (n > 0) {
		while (n > 0 && text[n - 1] == '\n')
			n--;
		text[n] = '\0';
		note_libfuse_line(strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text);
	}
	if (file >= 0)
		close(file);
	if (saved >= 0)
		close(saved);
	return r;
}

static bool has_fixed_size(const struct cmfs_fs *fs)
{
	for (size_t i = 0; i < fs->file_count; i++) {
		if (cmfs_image_fixed_size(fs->files[i].boot->image))
			return true;
	}
	return false;
}

/*
 * Passthrough, or the kernel's write cache: the kernel does not combine them. With
 * the write cache the kernel acknowledges writes by itself, so that a later sync
 * mode would be a lie (P7): only where no mode can be switched, and where writes
 * would otherwise each come to us. And where no image is of fixed size: it would
 * acknowledge what is past the end.
 */
static void choose_data_path(struct cmfs_fs *fs, struct fuse_conn_info *conn)
{
	bool passthrough = fs->passthrough == CMFS_PASSTHROUGH_ON ||
			   (fs->passthrough == CMFS_PASSTHROUGH_AUTO && cmfs_passthrough_allowed());

	fuse_unset_feature_flag(conn, FUSE_CAP_WRITEBACK_CACHE);
	if (passthrough && fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH)) {
		fs->kernel_has_passthrough = true;
		conn->max_backing_stack_depth = 1; /* images on overlayfs, too */
	} else if (fs->fixed_mode && !has_fixed_size(fs)) {
		fs->writeback_cache = fuse_set_feature_flag(conn, FUSE_CAP_WRITEBACK_CACHE);
	}
}

/*
 * O_TRUNC must leave a content of fixed size alone. When the kernel hands it to us with
 * the OPEN, it takes the size for 0 from then on, and drops what mappings dirtied. So it
 * is to ask for the truncation in a request of its own, which comes after the OPEN and
 * whose answer tells the size: set_size() in ops_attr.c.
 */
static void choose_truncation(const struct cmfs_fs *fs, struct fuse_conn_info *conn)
{
	if (has_fixed_size(fs))
		fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	struct cmfs_fs *fs = userdata;

	/* Without it the kernel asks for security.capability before each write. */
	fuse_set_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
	fuse_set_feature_flag(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
	fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
	fuse_set_feature_flag(conn, FUSE_CAP_ASYNC_READ);
	fuse_set_feature_flag(conn, FUSE_CAP_ASYNC_DIO);
	/* We say when pages are stale; our own writes must not make them so. */
	fuse_set_feature_flag(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	fuse_unset_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
	/* Payloads are needed in memory, aligned. */
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_READ);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_WRITE);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_MOVE);
	choose_data_path(fs, conn);
	choose_truncation(fs, conn);
	conn->max_write = CMFS_PAYLOAD_MAX;
	conn->max_background = MAX_BACKGROUND;
	conn->no_interrupt = 1;
	fs->accepted = true;
}

static int add_arguments(struct fuse_args *args, const struct cmfs_options *o)
{
	char *image = NULL, *fsname = NULL, *list = NULL;
	int r = -1;

	if (fuse_opt_add_arg(args, "cmfs") < 0 ||
	    fuse_opt_add_opt(&list, "default_permissions") < 0)
		goto out;
	if (o->mount_options && fuse_opt_add_opt(&list, o->mount_options) < 0)
		goto out;
	if (!o->subtype_given && fuse_opt_add_opt(&list, "subtype=cmfs") < 0)
		goto out;
	if (!o->fsname_given) {
		image = realpath(o->images[0].path, NULL);
		if (asprintf(&fsname, "fsname=%s", image ? image : o->images[0].path) < 0) {
			fsname = NULL;
			goto out;
		}
		if (fuse_opt_add_opt_escaped(&list, fsname) < 0)
			goto out;
	}
	if (o->debug && fuse_opt_add_opt(&list, "debug") < 0)
		goto out;
	r = fuse_opt_add_arg(args, "-o") < 0 || fuse_opt_add_arg(args, list) < 0 ? -1 : 0;
out:
	free(image);
	free(fsname);
	free(list);
	return r;
}

int cmfs_session_mount(struct cmfs_fs *fs, const struct cmfs_options *options,
		       const struct cmfs_mountpoint *mountpoint, struct cmfs_err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = { .init = on_init };
	int r;

	/* Another one may have come while the images were opened. */
	r = cmfs_mountpoint_check_free(mountpoint, err);
	if (r < 0)
		return r;
	cmfs_dir_ops(&ops);
	cmfs_file_ops(&ops);
	cmfs_attr_ops(&ops);
	cmfs_xattr_ops(&ops);

	libfuse_log.keep = true;
	fuse_set_log_func(on_libfuse_log);
	r = add_arguments(&args, options) < 0 ? -ENOMEM : 0;
	if (r == 0) {
		fs->se = fuse_session_new(&args, &ops, sizeof(ops), fs);
		r = fs->se ? 0 : -EINVAL;
	}
	if (r == 0 && mount_quietly(fs->se, mountpoint->path) != 0) {
		fuse_session_destroy(fs->se);
		fs->se = NULL;
		r = -EIO;
	}
	libfuse_log.keep = false;
	if (r < 0)
		cmfs_err_set(err, r, "cannot mount on %s%s%s", options->mountpoint,
			     libfuse_log.last[0] ? ": " : "", libfuse_log.last);
	fuse_opt_free_args(&args);
	return r;
}

/* On the signal thread, while requests are still served. */
static void on_stop(void *arg)
{
	struct cmfs_fs *fs = arg;

	cmfs_jobs_stop(&fs->jobs);
	/* Has the kernel write what mappings dirtied; it would be lost with the mount. */
	for (size_t i = 0; i < fs->file_count; i++)
		cmfs_fs_drop_pages(fs, &fs->files[i]);
	fuse_session_exit(fs->se);
}

/* The kernel has our answer to INIT; no other request is served yet. */
static int get_ready(struct cmfs_fs *fs, const char *mountpoint, struct cmfs_err *err)
{
	int r;

	if (!fs->accepted)
		return cmfs_err_set(err, -ENOTCONN, "the mount was gone before it was ready");
	cmfs_readahead_set(mountpoint);
	r = cmfs_passthrough_start(fs, err);
	if (r == 0)
		r = fs->ready(fs->ready_arg, err);
	if (r == 0)
		cmfs_passthrough_log(fs);
	return r;
}

static int serve(struct cmfs_fs *fs, const struct cmfs_options *options, struct cmfs_err *err)
{
	int r = cmfs_workers_serve_init(fs->se);

	if (r == 0) {
		r = get_ready(fs, options->mountpoint, err);
		if (r < 0)
			return r;
		r = cmfs_workers_run(fs->se, options->single_thread ? 1 : MAX_WORKERS);
	}
	return r < 0 ? cmfs_err_set(err, r, "serving %s: %s", options->mountpoint, strerror(-r))
		     : 0;
}

int cmfs_session_serve(struct cmfs_fs *fs, const struct cmfs_options *options, struct cmfs_err *err)
{
	struct cmfs_signals signals;
	int r = cmfs_signals_start(&signals, on_stop, fs);

	if (r < 0)
		return cmfs_err_set(err, r, "cannot take signals: %s", strerror(-r));
	r = serve(fs, options, err);
	cmfs_signals_stop(&signals);
	cmfs_jobs_stop(&fs->jobs);
	cmfs_passthrough_stop(fs);
	return r;
}

void cmfs_session_unmount(struct cmfs_fs *fs)
{
	if (!fs->se)
		return;
	fuse_session_unmount(fs->se);
	fuse_session_destroy(fs->se);
	fs->se = NULL;
}
