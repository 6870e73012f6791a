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
static _Noreturn void wait_for_daemon(pid_t pid, int fd, int died)
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
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : died);
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
		wait_for_daemon(pid, fds[0], daemon->died);
	}
	close(fds[0]);
	daemon->pipe = fds[1];
	return 0;
}

int cmfs_daemon_ready(struct cmfs_daemon *daemon, struct cmfs_err *err)
{
	int null;

	if (daemon->pipe < 0)
		return 0;
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
