// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The log's file (write_log.h). Entries are written by the threads that add them:
 *
 *   reserve   a number and a place, under the lock
 *   write     there, without it, beside others
 *   claim     wait until all entries before it are written, and have the first sector
 *             say so; one thread does that for all that wait
 *
 * An entry that could not be written ends the log: it is never claimed, and so none
 * behind it.
 */
#include "cmfs/write_log.h"
#include "mutex.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR CMFS_WRITE_LOG_SECTOR

/* Most zeroes in an entry: readers take the whole of one into memory. */
#define ZEROES_MAX (UINT64_C(32) << 20)

struct super {
	uint64_t magic, version, entries;
	uint32_t sector_size;
	char fill[SECTOR - 28];
} __attribute__((packed));

struct header {
	uint64_t sector, sectors, flags, text_len;
	char text[SECTOR - 32];
} __attribute__((packed));

static_assert(sizeof(struct super) == SECTOR && sizeof(struct header) == SECTOR, "sectors");
static_assert(sizeof(((struct header *)0)->text) == CMFS_WRITE_LOG_MARK_MAX + 1, "text");

/* An entry that is being written; lives on its thread's stack. */
struct entry {
	uint64_t number, pos;
	struct entry *prev, *next;
};

struct cmfs_write_log {
	atomic_uint refs;
	char *path;
	int fd;
	atomic_bool dropped;
	atomic_bool error_taken;

	struct cmfs_mutex lock;	    /* protects all below */
	struct entry *first, *last; /* being written, in their order */
	uint64_t reserved;	    /* entries that have a place */
	uint64_t end;		    /* the place of the next one, in bytes */
	uint64_t claimed;	    /* entries that the first sector tells of */
	uint64_t limit;		    /* entries that there can ever be */
	bool claiming;		    /* a thread writes the first sector */
	int error;		    /* -errno: stopped */
	pthread_cond_t changed;
};

/* ---- the file ---- */

static int write_all(int fd, struct iovec *iov, int count, uint64_t off)
{
	while (count > 0) {
		ssize_t n = pwritev(fd, iov, count, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO; /* UNTESTED: write(2) knows no such answer for files */
		off += (uint64_t)n;
		for (; count > 0 && (size_t)n >= iov->iov_len; iov++, count--)
			n -= (ssize_t)iov->iov_len;
		if (count > 0) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

static int write_sector(int fd, const void *sector, uint64_t off)
{
	struct iovec iov = { .iov_base = (void *)sector, .iov_len = SECTOR };

	return write_all(fd, &iov, 1, off);
}

static int write_super(int fd, uint64_t entries)
{
	const struct super super = {
		.magic = htole64(CMFS_WRITE_LOG_MAGIC),
		.version = htole64(CMFS_WRITE_LOG_VERSION),
		.entries = htole64(entries),
		.sector_size = htole32(SECTOR),
	};

	return write_sector(fd, &super, 0);
}

static struct header make_header(uint64_t off, uint64_t len, unsigned int flags, const char *text)
{
	size_t text_len = text ? strlen(text) : 0;
	struct header h = {
		.sector = htole64(off / SECTOR),
		.sectors = htole64(len / SECTOR),
		.flags = htole64(flags),
		.text_len = htole64(text_len),
	};

	assert(off % SECTOR == 0 && len % SECTOR == 0 && text_len <= CMFS_WRITE_LOG_MARK_MAX);
	if (text)
		memcpy(h.text, text, text_len);
	return h;
}

/* ---- entries ---- */

/* Returns false when the log has stopped. */
static bool reserve(struct cmfs_write_log *log, struct entry *entry, uint64_t size)
{
	bool open;

	cmfs_mutex_lock(&log->lock);
	open = !log->error;
	if (open) {
		*entry = (struct entry){
			.number = log->reserved++,
			.pos = log->end,
			.prev = log->last,
		};
		log->end += size;
		if (log->last)
			log->last->next = entry;
		else
			log->first = entry;
		log->last = entry;
	}
	cmfs_mutex_unlock(&log->lock);
	return open;
}

/* No more than @entries; holds the lock. */
static void stop_locked(struct cmfs_write_log *log, int error, uint64_t entries)
{
	if (!log->error)
		log->error = error;
	if (entries < log->limit)
		log->limit = entries;
	pthread_cond_broadcast(&log->changed);
}

/* What the first sector may tell of; holds the lock. */
static uint64_t claimable_locked(const struct cmfs_write_log *log)
{
	uint64_t n = log->first ? log->first->number : log->reserved;

	return n < log->limit ? n : log->limit;
}

/* Holds the lock, and lets go of it meanwhile. */
static void write_claim_locked(struct cmfs_write_log *log, uint64_t entries)
	CMFS_REQUIRES(&log->lock)
{
	int r;

	log->claiming = true;
	cmfs_mutex_unlock(&log->lock);
	r = write_super(log->fd, entries);
	cmfs_mutex_lock(&log->lock);
	log->claiming = false;
	if (r < 0)
		stop_locked(log, r, log->claimed);
	else
		log->claimed = entries;
	pthread_cond_broadcast(&log->changed);
}

/* @entry has been written, with the result @r. */
static void finish(struct cmfs_write_log *log, struct entry *entry, int r)
{
	uint64_t number = entry->number;

	cmfs_mutex_lock(&log->lock);
	if (r < 0)
		stop_locked(log, r, number);
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		log->first = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	else
		log->last = entry->prev;
	pthread_cond_broadcast(&log->changed);

	while (log->claimed <= number && number < log->limit) {
		uint64_t n = claimable_locked(log);

		if (log->claiming || n <= log->claimed)
			cmfs_cond_wait(&log->changed, &log->lock);
		else
			write_claim_locked(log, n);
	}
	cmfs_mutex_unlock(&log->lock);
}

/* Returns the entry's place in the file; 0 when the log has stopped before it. */
static uint64_t add(struct cmfs_write_log *log, const struct header *header, const void *data,
		    uint64_t len)
{
	struct iovec iov[] = {
		{ .iov_base = (void *)header, .iov_len = SECTOR },
		{ .iov_base = (void *)data, .iov_len = len },
	};
	struct entry entry;

	if (!reserve(log, &entry, SECTOR + len))
		return 0;
	finish(log, &entry, write_all(log->fd, iov, len ? 2 : 1, entry.pos));
	return entry.pos;
}

/* A hole in the file: only the last sector is written, so that the file ends behind it. */
static void add_zeroes(struct cmfs_write_log *log, uint64_t len, uint64_t off, unsigned int flags)
{
	static const char zeroes[SECTOR];
	const struct header header = make_header(off, len, flags, NULL);
	struct entry entry;
	int r;

	if (!reserve(log, &entry, SECTOR + len))
		return;
	r = write_sector(log->fd, &header, entry.pos);
	if (r == 0)
		r = write_sector(log->fd, zeroes, entry.pos + len);
	finish(log, &entry, r);
}

void cmfs_write_log_data(struct cmfs_write_log *log, const void *data, uint64_t len, uint64_t off,
			 unsigned int flags)
{
	if (data) {
		const struct header header = make_header(off, len, flags, NULL);

		add(log, &header, data, len);
		return;
	}
	while (len > 0) {
		uint64_t part = len < ZEROES_MAX ? len : ZEROES_MAX;

		add_zeroes(log, part, off, flags);
		off += part;
		len -= part;
		if (cmfs_write_log_status(log).error)
			break;
	}
}

void cmfs_write_log_discard(struct cmfs_write_log *log, uint64_t len, uint64_t off)
{
	const struct header header = make_header(off, len, CMFS_LOG_DISCARD, NULL);

	add(log, &header, NULL, 0);
}

int cmfs_write_log_mark(struct cmfs_write_log *log, const char *text, struct cmfs_err *err)
{
	struct cmfs_write_log_status status;
	struct header header;

	if (!*text || strlen(text) > CMFS_WRITE_LOG_MARK_MAX)
		return cmfs_err_set(err, -EINVAL, "a mark has 1 to %d bytes",
				    CMFS_WRITE_LOG_MARK_MAX);
	header = make_header(0, 0, CMFS_LOG_MARK, text);
	add(log, &header, NULL, 0);
	status = cmfs_write_log_status(log);
	if (status.error)
		return cmfs_err_set(err, status.error, "the write log %s has stopped: %s",
				    status.path, strerror(-status.error));
	return 0;
}

struct cmfs_log_flush cmfs_write_log_begin_flush(struct cmfs_write_log *log)
{
	const struct header nothing = make_header(0, 0, 0, NULL);

	return (struct cmfs_log_flush){ .pos = add(log, &nothing, NULL, 0) };
}

void cmfs_write_log_end_flush(struct cmfs_write_log *log, struct cmfs_log_flush flush, bool worked)
{
	const struct header header = worked ? make_header(0, 0, CMFS_LOG_FLUSH, NULL)
					    : make_header(0, 0, CMFS_LOG_MARK, "flush failed");
	int r;

	if (flush.pos == 0)
		return;
	r = write_sector(log->fd, &header, flush.pos);
	if (r < 0)
		cmfs_write_log_stop(log, r); /* UNTESTED: the sector is there already */
}

/* ---- its life ---- */

void cmfs_write_log_stop(struct cmfs_write_log *log, int error)
{
	cmfs_mutex_lock(&log->lock);
	/* What is being written now may be of use. */
	stop_locked(log, error, log->reserved);
	cmfs_mutex_unlock(&log->lock);
}

struct cmfs_write_log_status cmfs_write_log_status(struct cmfs_write_log *log)
{
	struct cmfs_write_log_status status;

	cmfs_mutex_lock(&log->lock);
	status = (struct cmfs_write_log_status){
		.path = log->path,
		.entries = log->claimed,
		.error = log->error,
	};
	cmfs_mutex_unlock(&log->lock);
	return status;
}

bool cmfs_write_log_take_error(struct cmfs_write_log *log, struct cmfs_write_log_status *ret)
{
	*ret = cmfs_write_log_status(log);
	return ret->error && !atomic_exchange(&log->error_taken, true);
}

int cmfs_write_log_create(const char *path, struct cmfs_write_log **ret, struct cmfs_err *err)
{
	struct cmfs_write_log *log = malloc(sizeof(*log));
	int r;

	if (!log)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*log = (struct cmfs_write_log){
		.path = strdup(path),
		.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
		.lock = CMFS_MUTEX_INITIALIZER,
		.end = SECTOR,
		.limit = UINT64_MAX,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	atomic_init(&log->refs, 1);
	r = log->fd < 0 ? -errno : log->path ? write_super(log->fd, 0) : -ENOMEM;
	if (r == 0) {
		*ret = log;
		return 0;
	}
	if (log->fd >= 0) {
		unlink(path);
		close(log->fd);
	}
	free(log->path);
	free(log);
	if (r == -EEXIST)
		return cmfs_err_set(err, r,
				    "%s: a write log begins in a new file, and this one exists "
				    "already",
				    path);
	return cmfs_err_set(err, r, "%s: cannot begin a write log: %s", path, strerror(-r));
}

struct cmfs_write_log *cmfs_write_log_ref(struct cmfs_write_log *log)
{
	atomic_fetch_add(&log->refs, 1);
	return log;
}

void cmfs_write_log_drop(struct cmfs_write_log *log)
{
	atomic_store(&log->dropped, true);
}

/* Nobody else is left. */
static int end_log(struct cmfs_write_log *log)
{
	int r = cmfs_write_log_mark(log, CMFS_WRITE_LOG_END, NULL);

	if (fdatasync(log->fd) < 0 && r == 0)
		r = -errno;
	return r;
}

int cmfs_write_log_unref(struct cmfs_write_log *log)
{
	int r = 0;

	if (!log || atomic_fetch_sub(&log->refs, 1) > 1)
		return 0;
	if (atomic_load(&log->dropped))
		unlink(log->path);
	else
		r = end_log(log);
	close(log->fd);
	pthread_cond_destroy(&log->changed);
	pthread_mutex_destroy(&log->lock.m);
	free(log->path);
	free(log);
	return r;
}
