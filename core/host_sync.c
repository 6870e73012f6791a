// SPDX-License-Identifier: GPL-2.0-or-later
#include "host_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define NOTE "user.cmfs.syncflag"

static bool has_note(int fd)
{
	return fgetxattr(fd, NOTE, NULL, 0) >= 0;
}

/*
 * Buffered writes look at the flag when they are done, direct ones when they
 * start: those must have ended. fallocate(2) of what is allocated changes nothing
 * and waits for direct I/O in flight (ext4, XFS: inode_dio_wait(); btrfs: ordered
 * extents), as no other call does that is safe beside a writer that grows the file.
 */
static int wait_for_direct_writes(int fd)
{
	off_t data = lseek(fd, 0, SEEK_DATA);

	return fallocate(fd, FALLOC_FL_KEEP_SIZE, data < 0 ? 0 : data, 1) < 0 ? -errno : 0;
}

int cmfs_host_sync_set(int fd)
{
	int flags, r;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -errno;
	if (flags & FS_SYNC_FL)
		return wait_for_direct_writes(fd); /* somebody else's, and theirs to clear */
	/* The note first: a note without the flag does no harm after a crash. */
	if (fsetxattr(fd, NOTE, "1", 1, 0) < 0)
		return -errno;
	flags |= FS_SYNC_FL;
	r = ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;
	if (r == 0)
		r = wait_for_direct_writes(fd);
	if (r < 0)
		cmfs_host_sync_clear(fd);
	return r;
}

int cmfs_host_sync_clear(int fd)
{
	int flags;

	if (!has_note(fd))
		return 0;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -errno;
	if (flags & FS_SYNC_FL) {
		flags &= ~FS_SYNC_FL;
		if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
			return -errno;
	}
	return fremovexattr(fd, NOTE) < 0 ? -errno : 0;
}

/*
 * A read lease is granted, fcntl(2) says, only while nobody has the file open for
 * writing, be it through the kernel's passthrough. Should somebody come meanwhile, we
 * are told by a signal that is ignored by default; the lease is given back anyway.
 */
static bool lease(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG) < 0 || fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return false;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}

bool cmfs_host_sync_is_written(int fd)
{
	/* The kernel closes what passthrough had open a moment after its handle. */
	const struct timespec moment = { .tv_nsec = 10 * 1000 * 1000 };

	for (int i = 0; i < 5; i++) {
		if (lease(fd))
			return false;
		nanosleep(&moment, NULL);
	}
	return true;
}
