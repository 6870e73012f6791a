// SPDX-License-Identifier: GPL-2.0-or-later
#include "host_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define NOTE "user.cmfs.syncflag"

/* Far from where anybody else has locks: QEMU's are on bytes 100 to 203. */
#define CLAIM_BYTE 0x636d667300000000

struct cmfs_host_sync {
	atomic_uint refs;
	int claim; /* a descriptor with the shared lock; -1: none */
};

struct cmfs_host_sync *cmfs_host_sync_create(void)
{
	struct cmfs_host_sync *sync = malloc(sizeof(*sync));

	if (sync)
		*sync = (struct cmfs_host_sync){ .refs = 1, .claim = -1 };
	return sync;
}

struct cmfs_host_sync *cmfs_host_sync_ref(struct cmfs_host_sync *sync)
{
	atomic_fetch_add(&sync->refs, 1);
	return sync;
}

void cmfs_host_sync_leave(struct cmfs_host_sync *sync)
{
	if (sync->claim >= 0)
		close(sync->claim);
	sync->claim = -1;
}

void cmfs_host_sync_unref(struct cmfs_host_sync *sync)
{
	if (!sync || atomic_fetch_sub(&sync->refs, 1) > 1)
		return;
	cmfs_host_sync_leave(sync);
	free(sync);
}

static bool has_note(int fd)
{
	return fgetxattr(fd, NOTE, NULL, 0) >= 0;
}

/* A descriptor of the same file with that lock on it, or -errno. */
static int lock(int fd, short type, bool wait)
{
	struct flock range = { .l_type = type, .l_start = CLAIM_BYTE, .l_len = 1 };
	char path[32];
	int locked, error;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	locked = open(path, (type == F_RDLCK ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (locked < 0)
		return -errno;
	if (fcntl(locked, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range) == 0)
		return locked;
	error = errno;
	close(locked);
	return -error;
}

/*
 * Buffered writes look at the flag when they are done, direct ones when they
 * start: those must have ended. fallocate(2) of what is allocated changes no content
 * and waits for direct I/O in flight (ext4, XFS: inode_dio_wait(); btrfs: ordered
 * extents), as no other call does that is safe beside a writer that grows the file.
 */
int cmfs_host_sync_wait(int fd)
{
	off_t data = lseek(fd, 0, SEEK_DATA);

	return fallocate(fd, FALLOC_FL_KEEP_SIZE, data < 0 ? 0 : data, 1) < 0 ? -errno : 0;
}

/* Has a claim. */
static int set_flag(int fd)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -errno;
	if (!(flags & FS_SYNC_FL)) {
		/* The note first: a note without the flag does no harm after a crash. */
		if (fsetxattr(fd, NOTE, "1", 1, 0) < 0)
			return -errno;
		flags |= FS_SYNC_FL;
		if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
			return -errno;
	}
	return cmfs_host_sync_wait(fd);
}

int cmfs_host_sync_set(struct cmfs_host_sync *sync, int fd)
{
	int r;

	if (sync->claim < 0) {
		sync->claim = lock(fd, F_RDLCK, true); /* who clears it is done in a moment */
		if (sync->claim < 0)
			return sync->claim;
	}
	r = set_flag(fd);
	if (r < 0)
		cmfs_host_sync_clear(sync, fd);
	return r;
}

static int clear_flag(int fd)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -errno;
	if (flags & FS_SYNC_FL) {
		flags &= ~FS_SYNC_FL;
		if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
			return -errno;
	}
	fremovexattr(fd, NOTE); /* a note without the flag does no harm */
	return 0;
}

int cmfs_host_sync_clear(struct cmfs_host_sync *sync, int fd)
{
	int alone, r;

	/* First, so that of two that clear it at a time one is the last. */
	cmfs_host_sync_leave(sync);
	if (!has_note(fd))
		return 0;
	alone = lock(fd, F_WRLCK, false);
	if (alone == -EAGAIN || alone == -EACCES)
		return 0; /* another one's claim */
	if (alone < 0)
		return alone;
	r = clear_flag(fd);
	close(alone);
	return r;
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
