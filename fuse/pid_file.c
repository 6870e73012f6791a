// SPDX-License-Identifier: GPL-2.0-or-later
#include "pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The longest content of a pid file: a 32-bit number and a newline. */
#define PID_TEXT_MAX 12

static int err_write(const struct cmfs_pid_file *p, struct cmfs_err *err)
{
	int error = errno;

	return cmfs_err_set(err, -error, "%s: cannot write the pid file: %s", p->path,
			    strerror(error));
}

/* The last component of the path. */
static const char *name_of(const struct cmfs_pid_file *p)
{
	const char *slash = strrchr(p->path, '/');

	return slash ? slash + 1 : p->path;
}

/* Is @path, as it really is, @mountpoint or below it? */
static bool is_inside(const char *path, const char *mountpoint)
{
	char *p = realpath(path, NULL), *m = realpath(mountpoint, NULL);
	size_t len = m ? strlen(m) : 0;
	bool inside = p && m && strncmp(p, m, len) == 0 && (p[len] == '/' || p[len] == '\0');

	free(p);
	free(m);
	return inside;
}

/* Open the folder, unless the mount would hide it and so the pid file. */
static int open_folder(struct cmfs_pid_file *p, const char *mountpoint, struct cmfs_err *err)
{
	const char *name = name_of(p);
	char *folder = name == p->path ? strdup(".") : strndup(p->path, (size_t)(name - p->path));
	int r = 0;

	if (!folder)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	if (is_inside(folder, mountpoint) || is_inside(p->path, mountpoint)) {
		r = cmfs_err_set(err, -EINVAL,
				 "%s: the pid file would be hidden by the mount on %s", p->path,
				 mountpoint);
	} else {
		p->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (p->folder < 0)
			r = err_write(p, err);
	}
	free(folder);
	return r;
}

/*
 * What stands there: 0 for nothing or an empty file, > 0 for the process id in a
 * pid file, -EEXIST for anything else, or what reading it gave. @ret_locked: its
 * daemon is alive.
 */
static long read_old(const struct cmfs_pid_file *p, bool *ret_locked)
{
	int fd = openat(p->folder, name_of(p), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char text[PID_TEXT_MAX + 2] = "", *end;
	struct stat st;
	ssize_t n;
	long pid;

	if (fd < 0)
		return errno == ENOENT ? 0 : errno == ELOOP ? -EEXIST : -errno;
	if (fstat(fd, &st) < 0)
		st.st_mode = 0;
	n = S_ISREG(st.st_mode) ? read(fd, text, sizeof(text) - 1) : -1;
	*ret_locked = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (n < 0 || n > PID_TEXT_MAX)
		return -EEXIST;
	if (n == 0)
		return 0;
	pid = strtol(text, &end, 10);
	return pid > 0 && strspn(text, "0123456789") == (size_t)(end - text) &&
			       strcmp(end, *end ? "\n" : "") == 0
		       ? pid
		       : -EEXIST;
}

int cmfs_pid_file_check(struct cmfs_pid_file *pid_file, const char *mountpoint,
			struct cmfs_err *err)
{
	bool locked = false;
	long old;
	int r;

	if (!pid_file->path)
		return 0;
	r = open_folder(pid_file, mountpoint, err);
	if (r < 0)
		return r;
	old = read_old(pid_file, &locked);
	if (old == -EEXIST)
		return cmfs_err_set(err, -EEXIST, "%s: exists and is no pid file; it is left alone",
				    pid_file->path);
	if (old >= 0 && locked)
		return cmfs_err_set(err, -EBUSY,
				    "%s: is the pid file of a cmfs that is running (process %ld)",
				    pid_file->path, old);
	if (old < 0) {
		errno = (int)-old;
		return err_write(pid_file, err);
	}
	if (faccessat(pid_file->folder, ".", W_OK, AT_EACCESS) < 0)
		return err_write(pid_file, err);
	return 0;
}

int cmfs_pid_file_write(struct cmfs_pid_file *pid_file, struct cmfs_err *err)
{
	if (!pid_file->path)
		return 0;
	pid_file->fd = openat(pid_file->folder, name_of(pid_file),
			      O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	/* Locked before it is touched: another may have come first since the check. */
	if (pid_file->fd < 0 || flock(pid_file->fd, LOCK_EX | LOCK_NB) < 0) {
		int r = err_write(pid_file, err);

		if (pid_file->fd >= 0)
			close(pid_file->fd);
		pid_file->fd = -1;
		return r;
	}
	if (ftruncate(pid_file->fd, 0) < 0 || dprintf(pid_file->fd, "%d\n", (int)getpid()) < 0)
		return err_write(pid_file, err);
	return 0;
}

void cmfs_pid_file_remove(struct cmfs_pid_file *pid_file)
{
	if (pid_file->fd >= 0) {
		unlinkat(pid_file->folder, name_of(pid_file), 0);
		close(pid_file->fd);
	}
	if (pid_file->folder >= 0)
		close(pid_file->folder);
	pid_file->fd = pid_file->folder = -1;
}
