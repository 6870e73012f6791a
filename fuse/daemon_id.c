// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon_id.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In clock ticks after boot, the 22nd field of proc(5)'s stat; 0: there is no such process. */
static unsigned long long start_time(pid_t pid)
{
	char path[64], line[1024] = "", *p;
	unsigned long long start = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	p = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL; /* the name may be odd */
	fclose(f);
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, " %llu", &start) == 1 ? start : 0;
}

static char own_id[64];

static void find_own_id(void)
{
	unsigned long long start = start_time(getpid());

	if (start)
		snprintf(own_id, sizeof(own_id), "%d %llu", (int)getpid(), start);
}

const char *cmfs_daemon_id(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_own_id);
	return own_id;
}

int cmfs_daemon_open(const char *id)
{
	unsigned long long start;
	int fd, pid;

	if (sscanf(id, "%d %llu", &pid, &start) != 2 || pid <= 0)
		return -EINVAL;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	if (start_time(pid) != start) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}
