// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who uses an image, as QEMU's block/file-posix.c tells others and asks them: by open
 * file description locks (fcntl(2), F_OFD_SETLK) on single bytes of the image, one pair
 * for each permission i of its block layer. A read lock on byte 100 + i says "I use i",
 * one on byte 200 + i "nobody else may use i". They are read locks, so that any number
 * of processes can say so. Who comes first sets its own, then asks for each whether its
 * opposite is locked by somebody else (F_OFD_GETLK for a write lock), and takes its own
 * back if so: of two that come at a time at least one sees the other.
 *
 * We say what QEMU says for an image format on top of a file (its
 * bdrv_default_perms_for_storage()), as we may do all that a format driver may. What
 * QEMU 7.2 locks, as strace has it:
 *
 *	qcow2 for writing, cmfs			100 101 103	201 203
 *	qcow2 for reading, cmfs -o ro		100		201 203
 *	raw disk of a guest			100 101		201
 *	the same, readonly=on			100		201
 *	the same, share-rw=on			100 101
 *	qemu-nbd of raw				100 101		    203
 *	qemu-nbd -r of raw			100		    203
 *	qemu-img convert from raw		100		201 203
 *	qemu-img info of qcow2					201 203
 *	qemu-img resize of raw			100 101 103
 *	qemu-io of raw				100 101
 *	qemu-io -r, qemu-img compare of raw; -U	100
 *	qemu-img info of raw			nothing
 *
 * So a writer excludes all that write and all that keep others from writing, and lets
 * in who reads and does not mind, as does QEMU itself. Byte 0 is libvirt's, and
 * host_sync.c's claim is far behind all of these.
 */
#include "host_lock.h"

#include "host_fs.h"
#include "host_io.h"
#include "mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* QEMU's permissions, by the numbers that go into the bytes. */
static const struct permission {
	const char *name; /* as QEMU's messages have it */
	bool read;	  /* a reader uses it */
	bool write;	  /* a writer uses it */
	bool shared;	  /* others may use it besides us */
} permissions[] = {
	{ "consistent read", true, true, true },
	{ "write", false, true, false },
	{ "write unchanged", false, false, true },
	{ "resize", false, true, false },
};

#define PERMISSIONS (sizeof(permissions) / sizeof(permissions[0]))

/* A byte's bit in a set of bytes: those of use, then those of keeping others away. */
#define USE(i)	(1U << (i))
#define KEEP(i) (1U << (PERMISSIONS + (i)))

static off_t byte_of(unsigned int bit)
{
	return bit < PERMISSIONS ? 100 + bit : 200 + bit - PERMISSIONS;
}

static unsigned int opposite(unsigned int bit)
{
	return bit < PERMISSIONS ? bit + PERMISSIONS : bit - PERMISSIONS;
}

struct cmfs_host_lock {
	struct cmfs_mutex mutex;
	int fd;			       /* -1: nothing is locked */
	bool missing;		       /* and that is the file system's doing */
	unsigned int held;	       /* protected by mutex, as the following: a set of bytes */
	unsigned int readers, writers; /* openings */
};

static void destroy(struct cmfs_host_lock *lock)
{
	if (lock->fd >= 0)
		close(lock->fd);
	free(lock);
}

/* The bytes of a reader, or of a writer. */
static unsigned int wanted(bool readonly)
{
	unsigned int set = 0;

	for (unsigned int i = 0; i < PERMISSIONS; i++) {
		if (readonly ? permissions[i].read : permissions[i].write)
			set |= USE(i);
		if (!permissions[i].shared)
			set |= KEEP(i);
	}
	return set;
}

/* ---- bytes ---- */

/* Who is in the way is told by the byte that they hold, or that it is some other lock. */
#define OTHER_LOCK (2 * PERMISSIONS)

static int set_byte(int fd, unsigned int bit, short type)
{
	struct flock range = { .l_type = type, .l_start = byte_of(bit), .l_len = 1 };

	if (fcntl(fd, F_OFD_SETLK, &range) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

/* Giving back cannot fail but for reasons that leave nothing to do about it. */
static void release_locked(struct cmfs_host_lock *lock, unsigned int set)
	CMFS_REQUIRES(&lock->mutex)
{
	for (unsigned int bit = 0; bit < 2 * PERMISSIONS; bit++) {
		if (set & lock->held & (1U << bit))
			set_byte(lock->fd, bit, F_UNLCK);
	}
	lock->held &= ~set;
}

static int hold_locked(struct cmfs_host_lock *lock, unsigned int set, unsigned int *ret_other)
	CMFS_REQUIRES(&lock->mutex)
{
	for (unsigned int bit = 0; bit < 2 * PERMISSIONS; bit++) {
		int r;

		if (!(set & ~lock->held & (1U << bit)))
			continue;
		r = set_byte(lock->fd, bit, F_RDLCK);
		if (r < 0) {
			*ret_other = OTHER_LOCK;
			return r;
		}
		lock->held |= 1U << bit;
	}
	return 0;
}

/*
 * Does anybody else hold the opposite of one of @set? Then -EAGAIN. Those who use
 * something come first: a writer is told as one that writes.
 */
static int test(int fd, unsigned int set, unsigned int *ret_other)
{
	for (unsigned int i = 0; i < 2 * PERMISSIONS; i++) {
		unsigned int bit = opposite(i);
		struct flock range = { .l_type = F_WRLCK, .l_start = byte_of(i), .l_len = 1 };

		if (!(set & (1U << bit)))
			continue;
		if (fcntl(fd, F_OFD_GETLK, &range) < 0)
			return -errno;
		if (range.l_type != F_UNLCK) {
			*ret_other = i;
			return -EAGAIN;
		}
	}
	return 0;
}

/* From what is held to @set, or not at all. */
static int change_locked(struct cmfs_host_lock *lock, unsigned int set, unsigned int *ret_other)
	CMFS_REQUIRES(&lock->mutex)
{
	unsigned int before = lock->held;
	int r = hold_locked(lock, set, ret_other);

	if (r == 0 && (set & ~before))
		r = test(lock->fd, set, ret_other);
	release_locked(lock, r < 0 ? ~before : ~set);
	return r;
}

/* ---- openings ---- */

static int add_opening(struct cmfs_host_lock *lock, bool readonly, unsigned int *ret_other)
{
	int r = 0;

	cmfs_mutex_lock(&lock->mutex);
	if (lock->fd >= 0)
		r = change_locked(lock, wanted(readonly && lock->writers == 0), ret_other);
	if (r == 0)
		++*(readonly ? &lock->readers : &lock->writers);
	cmfs_mutex_unlock(&lock->mutex);
	return r;
}

/* @hint: what else would work. */
static int err_refused(int r, unsigned int other, const char *name, const char *hint,
		       struct cmfs_err *err)
{
	char what[64] = "has locked it";

	if (r != -EAGAIN)
		return cmfs_err_set(err, r, "%s: cannot be locked: %s", name, strerror(-r));
	if (other != OTHER_LOCK)
		snprintf(what, sizeof(what), "%s the \"%s\" lock on it",
			 other < PERMISSIONS ? "holds" : "lets nobody else have",
			 permissions[other % PERMISSIONS].name);
	return cmfs_err_set(err, -EBUSY,
			    "%s: is in use: another process %s (a running QEMU, qemu-img, qemu-nbd "
			    "or cmfs); %slocking=off opens it all the same",
			    name, what, hint);
}

int cmfs_host_lock_share(struct cmfs_host_lock *lock, bool readonly, const char *name,
			 struct cmfs_host_lock **ret, struct cmfs_err *err)
{
	unsigned int other;
	int r = add_opening(lock, readonly, &other);

	if (r < 0)
		return err_refused(r, other, name, "", err);
	*ret = lock;
	return 0;
}

void cmfs_host_lock_drop(struct cmfs_host_lock *lock, bool readonly)
{
	bool last;

	if (!lock)
		return;
	cmfs_mutex_lock(&lock->mutex);
	--*(readonly ? &lock->readers : &lock->writers);
	last = lock->readers == 0 && lock->writers == 0;
	if (!last && lock->fd >= 0)
		release_locked(lock, ~wanted(lock->writers == 0));
	cmfs_mutex_unlock(&lock->mutex);
	if (last)
		destroy(lock);
}

/* ---- the first one ---- */

/* What fcntl(2) says where there are no such locks: old kernels, NFS, others. */
static bool says_missing(int r)
{
	return r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP || r == -ENOSYS;
}

static int err_missing(int r, const char *name, int fd, struct cmfs_err *err)
{
	char fs[64];

	cmfs_host_fs_name(fd, fs, sizeof(fs));
	return cmfs_err_set(err, -EOPNOTSUPP,
			    "%s: locking=on: its file system (%s) has no open file description "
			    "locks (%s); locking=auto and locking=off do without",
			    name, fs, strerror(-r));
}

/*
 * Who was killed, or has just ended, lets go a moment after its mount is gone (P11: mounting
 * again just works); and many only have a look (qemu-img info).
 */
static int add_first(struct cmfs_host_lock *lock, bool readonly, unsigned int *ret_other)
{
	const struct timespec moment = { .tv_nsec = 20 * 1000 * 1000 };
	int r = add_opening(lock, readonly, ret_other);

	for (int i = 0; i < 5 && r == -EAGAIN; i++) {
		nanosleep(&moment, NULL);
		r = add_opening(lock, readonly, ret_other);
	}
	return r;
}

static int take(struct cmfs_host_lock *lock, enum cmfs_locking locking, bool readonly,
		const char *name, struct cmfs_err *err)
{
	unsigned int other, bit;
	int r = add_first(lock, readonly, &other);
	bool shares;

	if (r == 0)
		return 0;
	if (says_missing(r) && locking == CMFS_LOCKING_AUTO) {
		close(lock->fd);
		lock->fd = -1;
		lock->missing = true;
		return add_opening(lock, readonly, &other);
	}
	if (says_missing(r))
		return err_missing(r, name, lock->fd, err);
	shares = !readonly && r == -EAGAIN && test(lock->fd, wanted(true), &bit) == 0;
	return err_refused(r, other, name, shares ? "-o ro shares it with that one, " : "", err);
}

int cmfs_host_lock_take(int fd, enum cmfs_locking locking, bool readonly, const char *name,
			struct cmfs_host_lock **ret, struct cmfs_err *err)
{
	struct cmfs_host_lock *lock = malloc(sizeof(*lock));
	int r;

	if (!lock)
		return cmfs_err_set(err, -ENOMEM, "%s: out of memory", name);
	*lock = (struct cmfs_host_lock){ .mutex = CMFS_MUTEX_INITIALIZER, .fd = -1 };
	if (locking != CMFS_LOCKING_OFF) {
		lock->fd = open(cmfs_host_path(fd).text, O_RDONLY | O_CLOEXEC);
		if (lock->fd < 0) {
			r = cmfs_err_set(err, -errno, "%s: cannot open to lock it: %s", name,
					 strerror(errno));
			goto destroy;
		}
	}
	r = take(lock, locking, readonly, name, err);
	if (r < 0)
		goto destroy;
	*ret = lock;
	return 0;
destroy:
	destroy(lock);
	return r;
}

bool cmfs_host_lock_is_missing(const struct cmfs_host_lock *lock)
{
	return lock->missing;
}
