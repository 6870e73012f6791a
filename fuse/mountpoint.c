// SPDX-License-Identifier: GPL-2.0-or-later
#include "mountpoint.h"

#include <errno.h>
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

/* The path itself cannot be looked at, as its daemon is dead: its parent can. */
static char *absolute_path(const char *path)
{
	char *copy = strdup(path), *slash, *dir, *ret = NULL;
	size_t len = copy ? strlen(copy) : 0;

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	if (!copy)
		return NULL;
	slash = strrchr(copy, '/');
	if (slash)
		*slash = '\0';
	dir = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (dir &&
	    asprintf(&ret, "%s/%s", strcmp(dir, "/") ? dir : "", slash ? slash + 1 : copy) < 0)
		ret = NULL;
	free(dir);
	free(copy);
	return ret;
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

	return stat(path, ret) < 0 || statvfs(path, &fs) < 0 ? -errno : 0;
}

int cmfs_mountpoint_prepare(const char *path, char **ret, struct cmfs_err *err)
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
	if (!S_ISDIR(st.st_mode))
		return cmfs_err_set(err, -ENOTDIR, "%s: cannot mount there: not a directory", path);
	*ret = realpath(path, NULL);
	if (!*ret)
		return cmfs_err_set(err, -errno, "%s: cannot mount there: %s", path,
				    strerror(errno));
	if (is_cmfs_mount(*ret)) {
		free(*ret);
		return cmfs_err_set(
			err, -EBUSY,
			"%s: a cmfs is mounted there already (umount it first; setfattr "
			"switches its mode)",
			path);
	}
	return 0;
}
