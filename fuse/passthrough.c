// SPDX-License-Identifier: GPL-2.0-or-later
#include "passthrough.h"

#include "cmfs/image_spec.h"
#include "log.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * libfuse registers only on behalf of a request, and there is none yet when the
 * mount is to be reported as ready or failed. Headers before Linux 6.9 lack these.
 */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

/* Values of backing_id that are no errors of the kernel's. */
#define OFF	(-ECANCELED) /* not wanted */
#define LAYERED (-EXDEV)     /* what lies between would be bypassed */
#define NO_FILE (-ENOTBLK)   /* the place is no regular file: the kernel takes no other */

bool cmfs_passthrough_allowed(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}

static int register_image(const struct cmfs_fs *fs, struct cmfs_file *file)
{
	struct backing_map map = { 0 };
	int id;

	if (cmfs_image_layers(file->boot->image)[0])
		return LAYERED;
	if (fs->passthrough == CMFS_PASSTHROUGH_OFF)
		return OFF;
	if (fs->passthrough == CMFS_PASSTHROUGH_AUTO && !cmfs_passthrough_allowed())
		return -EPERM;
	if (!fs->kernel_has_passthrough)
		return -EOPNOTSUPP;
	map.fd = cmfs_image_host_fd(file->boot->image);
	if (map.fd < 0)
		return NO_FILE;
	id = ioctl(fuse_session_fd(fs->se), BACKING_OPEN, &map);
	if (id < 0)
		return -errno;
	return id > 0 ? id : -EIO; /* UNTESTED: the kernel counts from 1 */
}

/* Why the kernel does not serve an image, in words that say what would help. */
static const char *reason(const struct cmfs_file *file, struct cmfs_image *image)
{
	switch (file->backing_id) {
	case OFF:
		return "passthrough=off";
	case LAYERED:
		return cmfs_image_layers(image);
	case NO_FILE:
		return "what it shows is no regular file of the host";
	case -EPERM:
		return "passthrough needs CAP_SYS_ADMIN";
	case -ELOOP:
		return "its file system is stacked itself (FUSE, overlay)";
	case -EOPNOTSUPP:
		return "this kernel has no passthrough";
	default:
		return strerror(-file->backing_id);
	}
}

static int err_refused(const struct cmfs_fs *fs, const struct cmfs_file *file, int error,
		       struct cmfs_err *err)
{
	bool on = fs->passthrough == CMFS_PASSTHROUGH_ON;

	return cmfs_err_set(err, error, "%s: %s: %s; %s", file->name,
			    on ? "passthrough=on" : "syncflag=on", reason(file, file->boot->image),
			    on ? "passthrough=auto does without where it must"
			       : "without passthrough the flag would only slow others down");
}

int cmfs_passthrough_start(struct cmfs_fs *fs, struct cmfs_err *err)
{
	for (size_t i = 0; i < fs->file_count; i++) {
		struct cmfs_file *file = &fs->files[i];
		int id = register_image(fs, file);

		file->backing_id = id;
		file->writeback_cache = fs->writeback_cache;
		if (id < 0 && (fs->passthrough == CMFS_PASSTHROUGH_ON || file->sync_flag))
			return err_refused(fs, file, id, err);
	}
	return 0;
}

void cmfs_passthrough_stop(struct cmfs_fs *fs)
{
	for (size_t i = 0; i < fs->file_count; i++) {
		uint32_t id = (uint32_t)fs->files[i].backing_id;

		if (fs->files[i].backing_id > 0)
			ioctl(fuse_session_fd(fs->se), BACKING_CLOSE, &id);
	}
}

int cmfs_passthrough_describe(const struct cmfs_file *file, struct cmfs_image *image, char *text,
			      size_t size)
{
	if (file->backing_id > 0)
		return snprintf(text, size, "passthrough");
	return snprintf(text, size, "daemon: %s%s", reason(file, image),
			file->writeback_cache ? "; behind the kernel's write cache" : "");
}

void cmfs_passthrough_log(const struct cmfs_fs *fs)
{
	char text[128];

	for (size_t i = 0; i < fs->file_count; i++) {
		cmfs_passthrough_describe(&fs->files[i], fs->files[i].boot->image, text,
					  sizeof(text));
		cmfs_log(LOG_INFO, "%s: data path: %s", fs->files[i].name, text);
	}
}
