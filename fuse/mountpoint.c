// SPDX-License-Identifier: GPL-2.0-or-later
#include "mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Is the topmost mount on the absolute path one of ours? */
static bool is_cmfs_mount(const char *path)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	bool found = false;

	if (!f)
		return false;
	while ((entry = getmntent(f))) {
		if (strcmp(entry->mnt_dir, path) == 0)
			found = strcmp(entry->mnt_type, "fuse.cmfs") == 0;
	}
	endmntent(f);
	return found;
}

/* As root by umount(2), as a user through libfuse's set-user-ID helper. */
static int detach(const char *path)
{
	char *argv[] = { "fusermount3", "-u", "-z", "-q", "--", (char *)path, NULL };
	pid_t pid;
	int status;

	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		return -EPERM;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/*
 * Where @path leads to, through symbolic links. Its file system cannot be asked, as its
 * daemon is dead: a descriptor with O_PATH asks nobody.
 */
static char *absolute_path(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	char link[32], target[PATH_MAX];
	ssize_t n;

	if (fd < 0)
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target));
	close(fd);
	return n > 0 && (size_t)n < sizeof(target) ? strndup(target, n) : NULL;
}

static int clear_dead_mount(const char *path, struct cmfs_err *err)
{
	char *absolute = absolute_path(path);
	int r = -ENOTCONN;

	if (absolute && is_cmfs_mount(absolute))
		r = detach(absolute);
	free(absolute);
	if (r < 0)
		return cmfs_err_set(err, r,
				    "%s: a FUSE mount whose daemon has died is still there "
				    "(fusermount3 -u -z %s removes it)",
				    path, path);
	return 0;
}

/*
 * stat(2) may be answered from the kernel's cache for a while after the daemon
 * has died; statfs(2) never is.
 */
static int look_at(const char *path, struct stat *ret)
{
	struct statvfs fs;

	if (stat(path, ret) < 0)
		return -errno;
	return statvfs(path, &fs) < 0 && errno == ENOTCONN ? -ENOTCONN : 0;
}

static int check_kind(const char *path, mode_t mode, struct cmfs_err *err)
{
	if (S_ISDIR(mode) || S_ISREG(mode))
		return 0;
	return cmfs_err_set(err, -ENOTDIR,
			    "%s: cannot mount there: it is neither a directory nor, for one image, "
			    "a regular file",
			    path);
}

int cmfs_mountpoint_prepare(const char *path, struct cmfs_mountpoint *ret, struct cmfs_err *err)
{
	struct stat st;
	int r = look_at(path, &st);

	/* More than one may be there, one upon the other. */
	while (r == -ENOTCONN) {
		r = clear_dead_mount(path, err);
		if (r < 0)
			return r;
		r = look_at(path, &st);
	}
	if (r < 0)
		return cmfs_err_set(err, r, "%s: cannot mount there: %s", path, strerror(-r));
	r = check_kind(path, st.st_mode, err);
	if (r < 0)
		return r;
	ret->is_file = S_ISREG(st.st_mode);
	ret->path = realpath(path, NULL);
	if (!ret->path)
		return cmfs_err_set(err, -errno, "%s: cannot mount there: %s", path,
				    strerror(errno));
	r = cmfs_mountpoint_check_free(ret, err);
	if (r < 0)
		cmfs_mountpoint_finish(ret);
	return r;
}

int cmfs_mountpoint_check_free(const struct cmfs_mountpoint *mountpoint, struct cmfs_err *err)
{
	if (!is_cmfs_mount(mountpoint->path))
		return 0;
	return cmfs_err_set(err, -EBUSY,
			    "%s: a cmfs is mounted there already (umount it first; setfattr "
			    "switches its mode)",
			    mountpoint->path);
}

void cmfs_mountpoint_finish(struct cmfs_mountpoint *mountpoint)
{
	free(mountpoint->path);
	mountpoint->path = NULL;
}
