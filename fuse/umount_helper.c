// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Flush while errors can still be told, have umount(8) do its work (it knows who may, and
 * what -f, -l and -r are), and wait until the daemon has ended, with all that it had open.
 *
 * It does not wait if the file system is still there: mounted elsewhere, too, or lazily
 * unmounted while in use. fusectl tells; without it nobody waits.
 */
#include "umount_helper.h"

#include "control.h"
#include "daemon_id.h"
#include "log.h"
#include "mount_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

bool cmfs_is_umount_helper(const char *name)
{
	const char *slash = name ? strrchr(name, '/') : NULL;

	return name && strcmp(slash ? slash + 1 : name, "umount.fuse.cmfs") == 0;
}

struct request {
	const char *dir;
	bool as_it_is; /* not what waits: lazy, by force, in another namespace */
};

static int parse(int argc, char **argv, struct request *ret)
{
	int letter;

	*ret = (struct request){ 0 };
	opterr = 0;
	while ((letter = getopt(argc, argv, "-:flnrvN:t:")) != -1) {
		if (letter == 1 && !ret->dir)
			ret->dir = optarg;
		else if (letter == 1 || letter == ':' || letter == '?')
			return -EINVAL;
		else if (strchr("flN", letter))
			ret->as_it_is = true;
	}
	return ret->dir && optind == argc ? 0 : -EINVAL;
}

/* The same arguments with -i: without a helper. Returns its exit status. */
static int run_umount(int argc, char **argv)
{
	char **args = calloc(argc + 2, sizeof(*args));
	int status = 0, r;
	pid_t pid;

	if (!args)
		return CMFS_MOUNT_FAILED;
	args[0] = "umount";
	args[1] = "-i";
	memcpy(args + 2, argv + 1, (argc - 1) * sizeof(*args));
	r = posix_spawnp(&pid, args[0], NULL, NULL, args, environ);
	free(args);
	if (r != 0) {
		cmfs_log(LOG_ERR, "cannot run umount: %s", strerror(r));
		return CMFS_MOUNT_FAILED;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : CMFS_MOUNT_FAILED;
}

/* What is known of a mount before it is gone. */
struct mount {
	char connection[64]; /* a folder that is there as long as it is */
	int daemon;	     /* pidfd; negative: unknown */
	int sync_error;
};

static void look_at(const char *dir, struct mount *ret)
{
	int fd = open(dir, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char id[64] = "";
	struct stat st;

	*ret = (struct mount){ .daemon = -1 };
	if (fd < 0)
		return; /* its daemon is dead, or we may not look: nothing can be awaited */
	if (fsync(fd) < 0)
		ret->sync_error = errno;
	if (fgetxattr(fd, CMFS_DAEMON_XATTR, id, sizeof(id) - 1) > 0 && fstat(fd, &st) == 0) {
		snprintf(ret->connection, sizeof(ret->connection), "/sys/fs/fuse/connections/%u",
			 minor(st.st_dev));
		if (access(ret->connection, F_OK) == 0)
			ret->daemon = cmfs_daemon_open(id);
	}
	close(fd);
}

static void wait_for(const struct mount *mount)
{
	struct pollfd end = { .fd = mount->daemon, .events = POLLIN };

	if (mount->daemon < 0 || access(mount->connection, F_OK) == 0)
		return;
	while (poll(&end, 1, -1) < 0 && errno == EINTR)
		;
}

int cmfs_umount_helper(int argc, char **argv)
{
	struct request request;
	struct mount mount = { .daemon = -1 };
	int status;

	if (parse(argc, argv, &request) < 0) {
		cmfs_log(LOG_ERR, "usage: umount.fuse.cmfs MOUNTPOINT [-flnrv] [-N NAMESPACE] "
				  "[-t TYPE]");
		return CMFS_MOUNT_USAGE;
	}
	if (!request.as_it_is)
		look_at(request.dir, &mount);
	status = run_umount(argc, argv);
	if (status == 0)
		wait_for(&mount);
	if (mount.daemon >= 0)
		close(mount.daemon);
	if (mount.sync_error)
		cmfs_log(LOG_ERR, "%s: not all of it is durable: %s", request.dir,
			 strerror(mount.sync_error));
	return status || !mount.sync_error ? status : CMFS_MOUNT_FAILED;
}
