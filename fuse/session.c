// SPDX-License-Identifier: GPL-2.0-or-later
/* The FUSE session: mounting, what is agreed with the kernel, the request loop. */
#include "session.h"

#include "log.h"
#include "mountpoint.h"
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* More than the kernel sends at a time: some always wait for the device. */
#define MAX_THREADS    32
#define MAX_WRITE      (1024 * 1024) /* bytes */
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
	/* It acknowledges writes in the kernel: a later sync mode would be a lie (P7). */
	fuse_unset_feature_flag(conn, FUSE_CAP_WRITEBACK_CACHE);
	/* Payloads are needed in memory, aligned. */
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_READ);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_WRITE);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_MOVE);
	conn->max_write = MAX_WRITE;
	conn->max_background = MAX_BACKGROUND;
	conn->no_interrupt = 1;

	if (fs->ready(fs->ready_arg) < 0)
		fuse_session_exit(fs->se);
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
		image = realpath(o->images[0], NULL);
		if (asprintf(&fsname, "fsname=%s", image ? image : o->images[0]) < 0) {
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

int cmfs_session_mount(struct cmfs_fs *fs, const struct cmfs_options *options, struct cmfs_err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = { .init = on_init };
	char *mountpoint;
	int r;

	r = cmfs_mountpoint_prepare(options->mountpoint, &mountpoint, err);
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
	if (r == 0 && mount_quietly(fs->se, mountpoint) != 0) {
		fuse_session_destroy(fs->se);
		fs->se = NULL;
		r = -EIO;
	}
	libfuse_log.keep = false;
	if (r < 0)
		cmfs_err_set(err, r, "cannot mount on %s%s%s", options->mountpoint,
			     libfuse_log.last[0] ? ": " : "", libfuse_log.last);
	fuse_opt_free_args(&args);
	free(mountpoint);
	return r;
}

/* On the signal thread, while requests are still served. */
static void on_stop(void *arg)
{
	struct cmfs_fs *fs = arg;

	cmfs_jobs_stop(&fs->jobs);
	/* Has the kernel write what mappings dirtied; it would be lost with the mount. */
	for (size_t i = 0; i < fs->file_count; i++)
		fuse_lowlevel_notify_inval_inode(fs->se, CMFS_FIRST_IMAGE + i, 0, 0);
	fuse_session_exit(fs->se);
}

/*
 * libfuse starts a second worker as soon as the first has a request, INIT too;
 * it then reads what INIT is still writing. So INIT is served before there are
 * workers.
 */
static int serve_init(struct fuse_session *se)
{
	struct fuse_buf buf = { .mem = NULL };
	int r;

	do
		r = fuse_session_receive_buf(se, &buf);
	while (r == -EINTR && !fuse_session_exited(se));
	if (r > 0)
		fuse_session_process_buf(se, &buf);
	free(buf.mem);
	return r < 0 && r != -EINTR ? r : 0;
}

static int loop(struct fuse_session *se, bool single_thread)
{
	struct fuse_loop_config *config;
	int r;

	if (single_thread)
		return fuse_session_loop(se);
	config = fuse_loop_cfg_create();
	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
	fuse_loop_cfg_set_idle_threads(config, (unsigned int)-1); /* keep them all */
	r = fuse_session_loop_mt(se, config);
	fuse_loop_cfg_destroy(config);
	return r;
}

int cmfs_session_serve(struct cmfs_fs *fs, const struct cmfs_options *options)
{
	struct cmfs_signals signals;
	int r = cmfs_signals_start(&signals, on_stop, fs);

	if (r < 0)
		return r;
	r = serve_init(fs->se);
	if (r == 0)
		r = loop(fs->se, options->single_thread);
	cmfs_signals_stop(&signals);
	cmfs_jobs_stop(&fs->jobs);
	return r < 0 ? r : 0;
}

void cmfs_session_unmount(struct cmfs_fs *fs)
{
	if (!fs->se)
		return;
	fuse_session_unmount(fs->se);
	fuse_session_destroy(fs->se);
	fs->se = NULL;
}
