// SPDX-License-Identifier: GPL-2.0-or-later
#include "host_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>

int cmfs_host_open_flags(const struct cmfs_open_how *how)
{
	return (how->readonly ? O_RDONLY : O_RDWR) | (how->direct ? O_DIRECT : 0) |
	       (how->dsync ? O_DSYNC : 0) | O_CLOEXEC;
}

struct cmfs_host_path cmfs_host_path(int fd)
{
	struct cmfs_host_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

int cmfs_host_rwf(const struct cmfs_open_how *how, enum cmfs_durability durability)
{
	switch (durability) {
	case CMFS_VOLATILE:
		break;
	case CMFS_DURABLE_DATA:
		return how->dsync ? 0 : RWF_DSYNC;
	case CMFS_DURABLE_ALL:
		return RWF_SYNC;
	}
	return 0;
}

int cmfs_host_flush(int fd, bool datasync)
{
	return datasync ? CMFS_HOST_RETRIED(fdatasync(fd)) : CMFS_HOST_RETRIED(fsync(fd));
}

int cmfs_host_check(int fd)
{
	return CMFS_HOST_RETRIED(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE));
}

void cmfs_host_settle(int fd, uint32_t page, uint64_t off, uint64_t len)
{
	uint64_t start = off - off % page, end = off + len + page - 1;

	end -= end % page;
	sync_file_range(fd, start, end - start,
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER);
	posix_fadvise(fd, start, end - start, POSIX_FADV_DONTNEED);
}
