// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cmfs: open the images, mount, serve, and end cleanly.
 *
 * Exit status: 0 all went well, every flush included (P12); 1 something failed;
 * 2 the command line was wrong. As a helper of mount(8) the latter are 32 and 1.
 */
#include "cmfs/image_spec.h"
#include "daemon.h"
#include "handles.h"
#include "log.h"
#include "mount_helper.h"
#include "mountpoint.h"
#include "notify.h"
#include "pid_file.h"
#include "session.h"
#include "signals.h"
#include "umount_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* An image takes up to two descriptors, four during a switch. */
static void allow_many_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/*
 * A write by a user must drop the file's set-user-ID bits. With
 * FUSE_CAP_HANDLE_KILLPRIV_V2 that is our duty, and the host kernel does it for
 * whoever writes without CAP_FSETID.
 */
static void drop_fsetid(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return;
	data[CAP_TO_INDEX(CAP_FSETID)].effective &= ~CAP_TO_MASK(CAP_FSETID);
	data[CAP_TO_INDEX(CAP_FSETID)].permitted &= ~CAP_TO_MASK(CAP_FSETID);
	syscall(SYS_capset, &header, data);
}

/*
 * Two files must not share a name, nor two names a host file. Looked at before @spec is
 * opened, as the lock on the first one (P8) would keep us out as it does others.
 */
static int check_distinct(const struct cmfs_fs *fs, const struct cmfs_options *o,
			  const struct cmfs_image_spec *spec, struct cmfs_err *err)
{
	const char *name = cmfs_image_spec_name(spec);
	struct stat st;
	bool is_file = stat(spec->path, &st) == 0;

	for (size_t i = 0; i < fs->file_count; i++) {
		const struct cmfs_file *f = &fs->files[i];
		const char *other = o->images[i].path;

		/* What is no file of the host's has no number. */
		if (is_file && f->host_ino && f->host_dev == st.st_dev && f->host_ino == st.st_ino)
			return cmfs_err_set(err, -EINVAL, "%s and %s are the same file", other,
					    spec->path);
		if (strcmp(f->name, name) == 0)
			return cmfs_err_set(err, -EINVAL,
					    "%s and %s would both be called '%s' in the mount "
					    "(--drive file=PATH,name=NAME gives another name)",
					    other, spec->path, name);
	}
	return 0;
}

/* Nobody has to know formats, but nobody is to wonder about an ext4 that is not there. */
static void log_format(const struct cmfs_image_spec *spec, struct cmfs_image *image)
{
	const char *looks = cmfs_format_names[cmfs_image_looks_like(image)];

	if (spec->format == CMFS_FORMAT_AUTO)
		cmfs_log(LOG_INFO, "%s: format=%s, as it looks", spec->path, looks);
	else if (cmfs_image_looks_like(image) != CMFS_FORMAT_RAW)
		cmfs_log(LOG_NOTICE,
			 "%s: is shown byte for byte, and looks like %s: format=%s would show the "
			 "disk in it (format=raw says that the bytes are meant)",
			 spec->path, looks, looks);
}

static int open_image(struct cmfs_fs *fs, const struct cmfs_options *o,
		      const struct cmfs_image_spec *spec, struct cmfs_err *err)
{
	struct cmfs_file *file = &fs->files[fs->file_count];
	const char *path = spec->path;
	struct cmfs_image *image;
	struct stat st;
	int r = check_distinct(fs, o, spec, err);

	if (r == 0)
		r = cmfs_image_open(spec, &image, err);
	if (r < 0)
		return r;
	file->boot = cmfs_boot_create(image);
	if (!file->boot) {
		cmfs_image_close(image);
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	}
	fs->file_count++; /* close_images() takes care of it from here on */
	pthread_mutex_init(&file->lock, NULL);
	if (cmfs_image_write_log(image))
		file->write_log = cmfs_write_log_ref(cmfs_image_write_log(image));
	file->entry_timeout = cmfs_file_entry_timeout(cmfs_image_layers(image));
	r = cmfs_image_getattr(image, &st);
	if (r < 0)
		return cmfs_err_set(err, r, "%s: %s", path, strerror(-r));
	file->name = cmfs_image_spec_name(spec);
	file->sync_flag = spec->keep_sync_flag;
	file->host_dev = st.st_dev;
	file->host_ino = st.st_ino;
	if (cmfs_image_notice(image))
		cmfs_log(LOG_WARNING, "%s: %s", path, cmfs_image_notice(image));
	if (cmfs_image_cache_is_stored(image))
		cmfs_log(LOG_INFO,
			 "%s: cache=%s, as stored on the host file (" CMFS_CACHE_XATTR ")", path,
			 cmfs_cache_props(cmfs_image_cache(image))->name);
	log_format(spec, image);
	return 0;
}

static int open_images(struct cmfs_fs *fs, const struct cmfs_options *o, struct cmfs_err *err)
{
	int r = 0;

	fs->files = calloc(o->image_count, sizeof(*fs->files));
	if (!fs->files)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < o->image_count && r == 0; i++)
		r = open_image(fs, o, &o->images[i], err);
	return r;
}

/*
 * Its image, and behind that its write log, which has the image's last flush.
 * @served: the mount has worked. Returns the first error.
 */
static int close_file(struct cmfs_file *file, bool served)
{
	const char *name = file->name ? file->name : "image";
	int r, log_r;

	cmfs_handle_forget_all(file);
	if (file->write_log && !served)
		cmfs_write_log_drop(file->write_log); /* P10 */
	r = cmfs_boot_put(file, file->boot);
	log_r = cmfs_write_log_unref(file->write_log);
	pthread_mutex_destroy(&file->lock);
	if (r < 0)
		cmfs_log(LOG_ERR, "%s: not all of it is durable: %s", name, strerror(-r));
	if (log_r < 0)
		cmfs_log(LOG_ERR, "%s: its write log is not whole: %s", name, strerror(-log_r));
	return r < 0 ? r : log_r;
}

/* P12: flushes. Returns the first error. */
static int close_images(struct cmfs_fs *fs, bool served)
{
	int error = 0;

	for (size_t i = 0; i < fs->file_count; i++) {
		int r = close_file(&fs->files[i], served);

		if (r < 0 && error == 0)
			error = r;
	}
	free(fs->files);
	fs->files = NULL;
	fs->file_count = 0;
	return error;
}

static void init_root(struct cmfs_fs *fs)
{
	fs->root = (struct stat){
		.st_ino = FUSE_ROOT_ID,
		.st_mode = S_IFDIR | 0755,
		.st_nlink = 2,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_blksize = 4096,
	};
	clock_gettime(CLOCK_REALTIME, &fs->root.st_mtim);
	fs->root.st_atim = fs->root.st_ctim = fs->root.st_mtim;
}

struct start {
	struct cmfs_daemon daemon;
	struct cmfs_pid_file pid_file;
	bool ready; /* the mount has worked */
};

static int on_ready(void *arg, struct cmfs_err *err)
{
	struct start *start = arg;
	int r = cmfs_pid_file_write(&start->pid_file, err);

	if (r == 0)
		r = cmfs_daemon_ready(&start->daemon, err);
	start->ready = r == 0;
	if (r == 0)
		cmfs_notify("READY=1\nSTATUS=Serving");
	return r;
}

/* The mountpoint comes first: an image may lie under what is cleared away there. */
static int mount_images(struct cmfs_fs *fs, const struct cmfs_options *o, struct cmfs_err *err)
{
	struct cmfs_mountpoint mountpoint;
	int r = cmfs_mountpoint_prepare(o->mountpoint, &mountpoint, err);

	if (r < 0)
		return r;
	fs->root_is_image = mountpoint.is_file;
	if (mountpoint.is_file)
		r = cmfs_options_check_file_mount(o, err);
	if (r == 0)
		r = open_images(fs, o, err);
	if (r == 0)
		r = cmfs_session_mount(fs, o, &mountpoint, err);
	cmfs_mountpoint_finish(&mountpoint);
	return r;
}

/* @failed: the command's exit status if the daemon dies without one. */
static int run(const struct cmfs_options *o, int failed)
{
	struct start start = {
		.daemon = { .pipe = -1, .died = failed },
		.pid_file = { .path = o->pid_file, .folder = -1, .fd = -1 },
	};
	struct cmfs_fs fs = {
		.passthrough = o->passthrough,
		.fixed_mode = o->fixed_mode,
		.ready = on_ready,
		.ready_arg = &start,
	};
	struct cmfs_err err;
	int r, closed;

	if (!o->foreground)
		cmfs_notify_stop();
	r = cmfs_daemon_start(&start.daemon, o->foreground, &err);
	if (r < 0) {
		cmfs_log(LOG_ERR, "%s", err.msg);
		return r;
	}
	cmfs_signals_block();
	allow_many_files();
	drop_fsetid();
	cmfs_jobs_init(&fs.jobs);
	init_root(&fs);

	r = cmfs_pid_file_check(&start.pid_file, o->mountpoint, &err);
	if (r == 0)
		r = mount_images(&fs, o, &err);
	if (r == 0)
		r = cmfs_session_serve(&fs, o, &err);
	if (r < 0)
		cmfs_log(LOG_ERR, "%s", err.msg);
	cmfs_notify("STOPPING=1%s", r == 0 ? "\nSTATUS=Flushing" : "");
	/* Before the unmount: once the mount is gone, all is durable. */
	closed = close_images(&fs, start.ready);
	cmfs_session_unmount(&fs);
	cmfs_jobs_finish(&fs.jobs);
	cmfs_pid_file_remove(&start.pid_file);
	return r < 0 ? r : closed;
}

/* An image must never become descriptor 0, 1 or 2, where messages go. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

struct invocation {
	int argc;
	char **argv;
	int usage, failed; /* exit statuses */
	bool fake;	   /* look at the command line, do nothing */
};

static int command(const struct invocation *in)
{
	struct cmfs_options options;
	struct cmfs_err err;
	int status = 0;

	if (cmfs_options_parse(in->argc, in->argv, &options, &err) < 0) {
		cmfs_log(LOG_ERR, "%s", err.msg);
		status = in->usage;
	} else if (options.help) {
		cmfs_options_help(stdout);
	} else if (options.version) {
		printf("cmfs %s (libfuse %s)\n", CMFS_VERSION, fuse_pkgversion());
	} else if (options.completions) {
		cmfs_options_completions(stdout);
	} else if (!in->fake) {
		status = run(&options, in->failed) < 0 ? in->failed : 0;
	}
	cmfs_options_finish(&options);
	return status;
}

static int mount_helper(int argc, char **argv)
{
	struct cmfs_mount_helper helper;
	struct cmfs_err err;
	int status = CMFS_MOUNT_USAGE;

	if (cmfs_mount_helper_parse(argc, argv, &helper, &err) < 0) {
		cmfs_log(LOG_ERR, "%s", err.msg);
	} else {
		if (helper.verbose)
			cmfs_mount_helper_print(&helper, stdout);
		status = command(&(struct invocation){
			.argc = helper.argc,
			.argv = helper.argv,
			.usage = CMFS_MOUNT_USAGE,
			.failed = CMFS_MOUNT_FAILED,
			.fake = helper.fake,
		});
	}
	cmfs_mount_helper_finish(&helper);
	return status;
}

int main(int argc, char **argv)
{
	fill_standard_descriptors();
	cmfs_signals_expect_children();
	if (cmfs_is_mount_helper(argv[0]))
		return mount_helper(argc, argv);
	if (cmfs_is_umount_helper(argv[0]))
		return cmfs_umount_helper(argc, argv);
	cmfs_notify_start();
	return command(&(struct invocation){ argc, argv, .usage = 2, .failed = 1 });
}
