// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the command: wait for the daemon's word or its end. */
static _Noreturn void wait_for_daemon(pid_t pid, int fd)
{
	ssize_t n;
	char word;
	int status;

	do
		n = read(fd, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		fprintf(stderr, "cmfs: the daemon was ended by signal %d before it was ready\n",
			WTERMSIG(status));
	/* It ended with 0 if it was unmounted before it could say so. */
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int cmfs_daemon_start(struct cmfs_daemon *daemon, int foreground, struct cmfs_err *err)
{
	int fds[2];
	pid_t pid;

	daemon->pipe = -1;
	if (foreground)
		return 0;
	/* Whatever the shell left open (locks, pipes) must not stay so for our life. */
	close_range(3, ~0U, 0);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return cmfs_err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return cmfs_err_set(err, -errno, "cannot fork: %s", strerror(errno));
	if (pid > 0) {
		close(fds[1]);
		wait_for_daemon(pid, fds[0]);
	}
	close(fds[0]);
	daemon->pipe = fds[1];
	return 0;
}

static int err_pid_file(const struct cmfs_daemon *daemon, struct cmfs_err *err)
{
	int error = errno;

	return cmfs_err_set(err, -error, "%s: cannot write the pid file: %s", daemon->pid_file,
			    strerror(error));
}

/* The last component of the pid file's path. */
static const char *pid_name(const struct cmfs_daemon *daemon)
{
	const char *slash = strrchr(daemon->pid_file, '/');

	return slash ? slash + 1 : daemon->pid_file;
}

/* Is @folder, as it really is, @mountpoint or below it? */
static bool is_inside(const char *folder, const char *mountpoint)
{
	char *f = realpath(folder, NULL), *m = realpath(mountpoint, NULL);
	size_t len = m ? strlen(m) : 0;
	bool inside = f && m && strncmp(f, m, len) == 0 && (f[len] == '/' || f[len] == '\0');

	free(f);
	free(m);
	return inside;
}

int cmfs_daemon_check_pid_file(struct cmfs_daemon *daemon, const char *mountpoint,
			       struct cmfs_err *err)
{
	const char *name;
	char *folder;
	int r = 0;

	if (!daemon->pid_file)
		return 0;
	name = pid_name(daemon);
	folder = name == daemon->pid_file
			 ? strdup(".")
			 : strndup(daemon->pid_file, (size_t)(name - daemon->pid_file));
	if (!folder)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	if (is_inside(folder, mountpoint))
		r = cmfs_err_set(err, -EINVAL,
				 "%s: the pid file would be hidden by the mount on %s",
				 daemon->pid_file, mountpoint);
	else
		daemon->pid_dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(folder);
	if (r < 0)
		return r;
	if (daemon->pid_dir < 0)
		return err_pid_file(daemon, err);
	/* An old one is written over; else the folder must take a new one. */
	if (faccessat(daemon->pid_dir, name, F_OK, AT_EACCESS) == 0)
		r = faccessat(daemon->pid_dir, name, W_OK, AT_EACCESS);
	else
		r = faccessat(daemon->pid_dir, ".", W_OK, AT_EACCESS);
	return r < 0 ? err_pid_file(daemon, err) : 0;
}

static int write_pid_file(struct cmfs_daemon *daemon, struct cmfs_err *err)
{
	int fd = openat(daemon->pid_dir, pid_name(daemon), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0644);
	bool failed;

	if (fd < 0)
		return err_pid_file(daemon, err);
	daemon->pid_written = true;
	failed = dprintf(fd, "%d\n", (int)getpid()) < 0;
	if (close(fd) < 0 || failed)
		return err_pid_file(daemon, err);
	return 0;
}

int cmfs_daemon_ready(struct cmfs_daemon *daemon, struct cmfs_err *err)
{
	int null, r = daemon->pid_file ? write_pid_file(daemon, err) : 0;

	if (r < 0 || daemon->pipe < 0)
		return r;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return cmfs_err_set(err, -errno, "/dev/null: %s", strerror(errno));
	if (chdir("/") < 0)
		return cmfs_err_set(err, -errno, "/: %s", strerror(errno));
	cmfs_log_to_syslog();
	setsid();
	while (write(daemon->pipe, "", 1) < 0 && errno == EINTR)
		;
	close(daemon->pipe);
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	return 0;
}

void cmfs_daemon_finish(struct cmfs_daemon *daemon)
{
	if (daemon->pid_written)
		unlinkat(daemon->pid_dir, pid_name(daemon), 0);
	if (daemon->pid_dir >= 0)
		close(daemon->pid_dir);
}
