/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_WRITE_LOG_H
#define CMFS_WRITE_LOG_H

#include "cmfs/backend.h"

/*
 * A write log: every change of an image's content in the order in which it took
 * effect, with the flushes in between, in the format of the kernel's dm-log-writes.
 * Its replay onto a copy of what the image was when the log began gives, at each
 * entry, what the content was then; at each flush, what a power cut right after it
 * would have left at least.
 *
 * In the file, all numbers little-endian, sectors of 512 bytes:
 *
 *   sector 0        magic, version 1, number of entries (64 bits each), sector size (32)
 *   then, for each entry
 *     one sector    sector, number of sectors, flags, length of a mark (64 bits each);
 *                   behind them a mark's text, as long as fits and ended by a zero
 *     its sectors   the data, unless it is a discard
 *
 * The order is that of completion, and overlapping changes are in the order of the
 * content. A flush's place is where it began: what completed while it ran comes
 * behind it, as it need not cover that. (dm-log-writes itself holds writes back until
 * a flush covers them, and so may put a durable write in front of an older one of the
 * same sector.)
 *
 * What is acknowledged is in the log and counted in its first sector, also when the
 * process is killed. The log is made durable when it ends. Whole logs end with the
 * mark CMFS_WRITE_LOG_END.
 *
 * When the log cannot be written it stops for good: what it has then is right, it
 * says how many entries that are, and the mark at its end is missing. The image goes
 * on. Somebody has to tell the user (cmfs_write_log_take_error()).
 *
 * Sources: Linux, drivers/md/dm-log-writes.c (format) and Documentation/admin-guide/
 * device-mapper/log-writes.rst; QEMU, block/blklogwrites.c, whose logs are the same;
 * https://github.com/josefbacik/log-writes, whose replay-log reads them.
 */
#define CMFS_WRITE_LOG_SECTOR	512
#define CMFS_WRITE_LOG_MAGIC	UINT64_C(0x6a736677736872)
#define CMFS_WRITE_LOG_VERSION	UINT64_C(1)
#define CMFS_WRITE_LOG_MARK_MAX 479 /* bytes of text */
#define CMFS_WRITE_LOG_END	"dm-log-writes-end"

enum cmfs_write_log_flags {
	CMFS_LOG_FLUSH = 1 << 0,
	CMFS_LOG_FUA = 1 << 1,
	CMFS_LOG_DISCARD = 1 << 2,
	CMFS_LOG_MARK = 1 << 3,
};

/* Any thread, all of it. Who adds changes that overlap keeps them apart in time. */
struct cmfs_write_log;

/**
 * cmfs_write_log_create() - begin a log in a new file.
 * @path: must not exist: nothing is ever overwritten.
 * @err: filled on failure.
 *
 * Errors: those of open(2) and write(2). The caller has one reference.
 */
int cmfs_write_log_create(const char *path, struct cmfs_write_log **ret, struct cmfs_err *err);
struct cmfs_write_log *cmfs_write_log_ref(struct cmfs_write_log *log);

/**
 * cmfs_write_log_unref() - give a reference back; with the last one the log ends.
 * @log: NULL is fine.
 *
 * Returns 0, or, to who gave back the last one, -errno if the log is not whole.
 */
int cmfs_write_log_unref(struct cmfs_write_log *log);

/** cmfs_write_log_drop() - when the log ends, remove its file: the mount has come to nothing. */
void cmfs_write_log_drop(struct cmfs_write_log *log);

/*
 * Entries. @off, @len: bytes, whole sectors. They return when the entry is counted
 * in the log, or when the log has stopped.
 */

/* @data: NULL for zeroes, which take no space. @flags: 0 or CMFS_LOG_FUA. */
void cmfs_write_log_data(struct cmfs_write_log *log, const void *data, uint64_t len, uint64_t off,
			 unsigned int flags);

/* Its replay may or may not give zeroes: log them too, where that matters. */
void cmfs_write_log_discard(struct cmfs_write_log *log, uint64_t len, uint64_t off);

/* @text: up to CMFS_WRITE_LOG_MARK_MAX bytes. -EINVAL, or why the log has stopped. */
int cmfs_write_log_mark(struct cmfs_write_log *log, const char *text, struct cmfs_err *err);

/*
 * A flush: its place is kept when it begins, by an entry that says nothing, which
 * becomes a flush if it worked and else a mark that tells so.
 */
struct cmfs_log_flush {
	uint64_t pos; /* of its entry in the file; 0: none */
};

struct cmfs_log_flush cmfs_write_log_begin_flush(struct cmfs_write_log *log);
void cmfs_write_log_end_flush(struct cmfs_write_log *log, struct cmfs_log_flush flush, bool worked);

/** cmfs_write_log_stop() - add no more: the content is not known any longer. @error: -errno. */
void cmfs_write_log_stop(struct cmfs_write_log *log, int error);

struct cmfs_write_log_status {
	const char *path; /* as given; the log's own */
	uint64_t entries;
	int error; /* 0, or -errno: it has stopped */
};

struct cmfs_write_log_status cmfs_write_log_status(struct cmfs_write_log *log);

/** cmfs_write_log_take_error() - true for one caller, once the log has stopped. */
bool cmfs_write_log_take_error(struct cmfs_write_log *log, struct cmfs_write_log_status *ret);

/**
 * cmfs_backend_write_log_open() - a layer that logs what is done to @below.
 * @below: owned by the layer when 0 is returned, else still the caller's.
 * @log: the layer takes a reference of its own, and so does what reopen() gives.
 *
 * Changes that are not whole sectors are logged as the sectors that result. A
 * failed change is logged as what it left. A durable write is an entry with FUA.
 * What was data in zeroed and punched ranges is zeroes in the log, behind a discard if
 * it was punched. The size is no content: growth is a write of its last sector, what is cut
 * off is zeroes. Sectors that the content's end cuts are filled up with zeroes.
 *
 * It has no ops->host_fd (kernel passthrough would go past it) and no ops->copy.
 * Metadata is passed on, and not logged. Errors: -ENOMEM.
 */
int cmfs_backend_write_log_open(struct cmfs_backend *below, struct cmfs_write_log *log,
				struct cmfs_backend **ret, struct cmfs_err *err);

#endif
