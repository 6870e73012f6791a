// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Starting and ending qemu-nbd.
 *
 * The socket. We make it, and qemu-nbd gets it by socket activation (LISTEN_FDS): so
 * it is there before qemu-nbd is, and nobody waits for it to appear. Its file is
 * removed at once, and reached through a descriptor: nobody else can connect, and a
 * killed cmfs leaves nothing behind. Only qemu-nbd has it open for listening: when it
 * fails to open the image and ends, our connection is reset.
 *
 * The end. Without --persistent qemu-nbd ends by itself when its last connection is
 * closed, after it has written what it held: on an unmount, a switch, and when we are
 * killed. It must not end any earlier, while requests still come: a terminal's ^C and
 * what a service manager sends to all processes of a service are for us to act upon.
 * So it has a session of its own, and the signals blocked that ask for an end.
 *
 * The lifeline. If we are killed before there is a connection, it would wait for one
 * for ever, with the image locked. (PR_SET_PDEATHSIG is no help: it could never be
 * taken back, and goes by the thread that forked.) So it inherits the reading end of a
 * pipe that sends SIGKILL when the writing end, which only we have, is closed; nothing
 * is in its hands yet that could be lost. Both ends of the arrangement are ours, as
 * the open file is shared: once connected we switch the signal off.
 */
#include "qemu_nbd.h"

#include "qemu_nbd_command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM CMFS_QEMU_NBD

/* Where qemu-nbd finds them. */
#define LISTEN_FD   3 /* as sd_listen_fds(3) has it */
#define LIFELINE_FD 4

struct cmfs_qemu_nbd {
	pid_t pid;
	int socket; /* O_PATH */
	char socket_path[32];
	int lifeline[2]; /* reading, writing; -1 once it is kept */
	int output;	 /* what it prints */
	char *image;	 /* as its command line names it */
};

/* ---- what the child does between fork and exec: async-signal-safe calls only ---- */

#define PID_VARIABLE "LISTEN_PID="

struct child {
	char *const *args;
	char **env;
	char listen_pid[sizeof(PID_VARIABLE) + 20]; /* one of env: only the child knows it */
	int listen, lifeline[2], output, null;
	int status; /* a pipe: errno, if there is no exec */
};

static void write_pid(char *text)
{
	char digits[20], *p = digits + sizeof(digits);

	*--p = '\0';
	for (pid_t pid = getpid(); pid > 0; pid /= 10)
		*--p = (char)('0' + pid % 10);
	strcpy(text + sizeof(PID_VARIABLE) - 1, p);
}

/* False: we have lost our parent already. */
static bool arm_lifeline(int fd)
{
	struct pollfd hangup = { .fd = fd };

	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETSIG, SIGKILL);
	fcntl(fd, F_SETFL, O_ASYNC);
	return poll(&hangup, 1, 0) == 0;
}

static void set_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

static _Noreturn void run_child(struct child *c)
{
	const int above = LIFELINE_FD + 1;
	int listen = fcntl(c->listen, F_DUPFD_CLOEXEC, above);
	int lifeline = fcntl(c->lifeline[0], F_DUPFD_CLOEXEC, above);
	int status = fcntl(c->status, F_DUPFD_CLOEXEC, above), error;

	setsid();
	set_signals();
	dup2(c->null, STDIN_FILENO);
	dup2(c->output, STDOUT_FILENO);
	dup2(c->output, STDERR_FILENO);
	close(c->lifeline[1]);
	if (dup2(listen, LISTEN_FD) >= 0 && dup2(lifeline, LIFELINE_FD) >= 0 &&
	    close_range(above, ~0U, CLOSE_RANGE_CLOEXEC) == 0 && arm_lifeline(LIFELINE_FD)) {
		write_pid(c->listen_pid);
		execvpe(PROGRAM, c->args, c->env);
	}
	error = errno;
	if (write(status, &error, sizeof(error)) < 0)
		_exit(2);
	_exit(1);
}

/* Our environment with LISTEN_FDS and LISTEN_PID; NULL for lack of memory. */
static char **make_env(char *listen_pid)
{
	static char listen_fds[] = "LISTEN_FDS=1";
	size_t n = 0, out = 0;
	char **env;

	while (environ[n])
		n++;
	env = malloc((n + 3) * sizeof(*env));
	for (size_t i = 0; env && i < n; i++) {
		if (strncmp(environ[i], "LISTEN_", 7) != 0)
			env[out++] = environ[i];
	}
	if (env) {
		env[out++] = listen_fds;
		env[out++] = listen_pid;
		env[out] = NULL;
	}
	return env;
}

static int err_exec(int error, struct cmfs_err *err)
{
	if (error == ENOENT)
		return cmfs_err_set(err, -ENOENT,
				    PROGRAM " is not installed, which formats other than raw "
					    "need: its package is qemu-utils (Debian, Ubuntu) or "
					    "qemu-img (Fedora)");
	return cmfs_err_set(err, -error, PROGRAM ": cannot be run: %s", strerror(error));
}

/* @child is complete but for its status pipe. */
static int spawn(struct child *child, pid_t *ret_pid, struct cmfs_err *err)
{
	int status[2], error = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(status, O_CLOEXEC) < 0)
		return cmfs_err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	child->status = status[1];
	pid = fork();
	if (pid == 0)
		run_child(child);
	error = errno;
	close(status[1]);
	if (pid < 0) {
		close(status[0]);
		return cmfs_err_set(err, -error, "cannot fork: %s", strerror(error));
	}
	do
		n = read(status[0], &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	close(status[0]);
	if (n == 0) {
		*ret_pid = pid;
		return 0;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err_exec(n == sizeof(error) ? error : EIO, err);
}

/* ---- start ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void free_nbd(struct cmfs_qemu_nbd *nbd)
{
	close_fd(&nbd->socket);
	close_fd(&nbd->lifeline[0]);
	close_fd(&nbd->lifeline[1]);
	close_fd(&nbd->output);
	free(nbd->image);
	free(nbd);
}

/* Returns the listening socket; @ret_path is a descriptor of its file, which is gone. */
static int make_socket(int *ret_path, struct cmfs_err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *tmp = getenv("TMPDIR");
	char dir[sizeof(address.sun_path) - sizeof("/socket") + 1];
	int fd, r = 0;

	/* A unix socket's path is short. */
	if (!tmp || snprintf(dir, sizeof(dir), "%s/cmfs.XXXXXX", tmp) >= (int)sizeof(dir))
		snprintf(dir, sizeof(dir), "/tmp/cmfs.XXXXXX");
	if (!mkdtemp(dir))
		return cmfs_err_set(err, -errno, "%s: cannot make a folder: %s", dir,
				    strerror(errno));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		r = -errno;
	if (r == 0) {
		*ret_path = open(address.sun_path, O_PATH | O_CLOEXEC);
		r = *ret_path < 0 ? -errno : 0;
	}
	unlink(address.sun_path);
	rmdir(dir);
	if (r == 0)
		return fd;
	close_fd(&fd);
	return cmfs_err_set(err, r, "%s: cannot make a socket: %s", dir, strerror(-r));
}

int cmfs_qemu_nbd_check(struct cmfs_err *err)
{
	int path = -1, fd = make_socket(&path, err);

	if (fd < 0)
		return fd;
	close(fd);
	close(path);
	return 0;
}

static int start(struct cmfs_qemu_nbd *nbd, const struct cmfs_qemu_nbd_command *command,
		 struct cmfs_err *err)
{
	struct child child = { .args = command->args, .listen_pid = PID_VARIABLE };
	int r;

	child.listen = make_socket(&nbd->socket, err);
	if (child.listen < 0)
		return child.listen;
	snprintf(nbd->socket_path, sizeof(nbd->socket_path), "/proc/self/fd/%d", nbd->socket);
	child.env = make_env(child.listen_pid);
	child.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	child.output = nbd->output = memfd_create("cmfs-" PROGRAM, MFD_CLOEXEC);
	if (!child.env || child.null < 0 || child.output < 0 ||
	    pipe2(nbd->lifeline, O_CLOEXEC) < 0) {
		r = cmfs_err_set(err, -errno, PROGRAM ": cannot be started: %s", strerror(errno));
	} else {
		memcpy(child.lifeline, nbd->lifeline, sizeof(child.lifeline));
		r = spawn(&child, &nbd->pid, err);
	}
	close_fd(&child.null);
	close_fd(&child.listen);
	free(child.env);
	return r;
}

int cmfs_qemu_nbd_start(const struct cmfs_qemu_nbd_spec *spec, const struct cmfs_open_how *how,
			struct cmfs_qemu_nbd **ret, struct cmfs_err *err)
{
	struct cmfs_qemu_nbd *nbd = malloc(sizeof(*nbd));
	struct cmfs_qemu_nbd_command command;
	int r = cmfs_qemu_nbd_make_command(spec, how, &command);

	if (nbd)
		*nbd = (struct cmfs_qemu_nbd){
			.socket = -1,
			.lifeline = { -1, -1 },
			.output = -1,
			.image = r == 0 ? strdup(command.image) : NULL,
		};
	if (!nbd || !nbd->image)
		r = cmfs_err_set(err, -ENOMEM, "out of memory");
	else
		r = start(nbd, &command, err);
	cmfs_qemu_nbd_finish_command(&command);
	if (r == 0)
		*ret = nbd;
	else if (nbd)
		free_nbd(nbd);
	return r;
}

const char *cmfs_qemu_nbd_socket(const struct cmfs_qemu_nbd *nbd)
{
	return nbd->socket_path;
}

/* Say goodbye in the middle of the handshake, which does not count as a connection. */
static void leave(int fd)
{
	static const char goodbye[] = "\0\0\0\1"	 /* NBD_FLAG_C_FIXED_NEWSTYLE */
				      "IHAVEOPT\0\0\0\2" /* NBD_OPT_ABORT */
				      "\0\0\0\0";	 /* without data */
	char answer[256];

	if (send(fd, goodbye, sizeof(goodbye) - 1, MSG_NOSIGNAL) < 0)
		return;
	while (recv(fd, answer, sizeof(answer), 0) > 0)
		;
}

void cmfs_qemu_nbd_wait(const struct cmfs_qemu_nbd *nbd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct pollfd greeting = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
				   .events = POLLIN };

	memcpy(address.sun_path, nbd->socket_path, sizeof(nbd->socket_path));
	if (greeting.fd < 0)
		return;
	if (connect(greeting.fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		while (poll(&greeting, 1, -1) < 0 && errno == EINTR)
			;
		leave(greeting.fd);
	}
	close(greeting.fd);
}

bool cmfs_qemu_nbd_has_ended(const struct cmfs_qemu_nbd *nbd)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)nbd->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid != 0;
}

void cmfs_qemu_nbd_keep(struct cmfs_qemu_nbd *nbd)
{
	fcntl(nbd->lifeline[0], F_SETFL, 0); /* no O_ASYNC, for qemu-nbd's descriptor too */
	close_fd(&nbd->lifeline[0]);
	close_fd(&nbd->lifeline[1]);
}

/* ---- end ---- */

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* What is behind @prefix, if @text begins with it. */
static const char *skip(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

void cmfs_qemu_nbd_explain(const char *output, const char *image, char *ret, size_t size)
{
	const char *text = skip(output, PROGRAM ": "), *behind;
	size_t len, n = 0;

	if (!text)
		text = output;
	behind = skip(text, "Failed to blk_new_open '");
	behind = behind ? skip(behind, image) : NULL;
	behind = behind ? skip(behind, "': ") : NULL;
	if (behind)
		text = behind;
	for (ret[0] = '\0'; *text && n < size; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		n += snprintf(ret + n, size - n, "%s%.*s", n ? "; " : "", (int)len, text);
	}
}

/* False: it has said nothing. */
static bool tell(struct cmfs_qemu_nbd *nbd, int error, struct cmfs_err *err)
{
	char text[sizeof(err->msg)], line[sizeof(err->msg)];
	ssize_t n = pread(nbd->output, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	cmfs_qemu_nbd_explain(text, nbd->image, line, sizeof(line));
	cmfs_err_set(err, error, PROGRAM ": %s", line);
	return true;
}

int cmfs_qemu_nbd_end(struct cmfs_qemu_nbd *nbd, struct cmfs_err *err)
{
	int status = wait_for(nbd->pid), r = 0;

	if (WIFSIGNALED(status))
		r = cmfs_err_set(err, -EIO, PROGRAM " was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0 && !tell(nbd, -EIO, err))
		r = cmfs_err_set(err, -EIO, PROGRAM " ended with status %d", WEXITSTATUS(status));
	else if (WEXITSTATUS(status) != 0)
		r = -EIO;
	free_nbd(nbd);
	return r;
}

void cmfs_qemu_nbd_kill(struct cmfs_qemu_nbd *nbd, struct cmfs_err *err)
{
	kill(nbd->pid, SIGKILL);
	wait_for(nbd->pid);
	tell(nbd, 0, err);
	free_nbd(nbd);
}
