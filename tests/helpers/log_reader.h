/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOG_READER_H
#define LOG_READER_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A reader of write logs, made from the kernel's description of the format alone
 * (admin-guide/device-mapper/log-writes.rst and the comments in dm-log-writes.c) and
 * stricter than others: what a log should not have is an error. It includes nothing
 * of the program that writes the logs.
 */
enum log_flags {
	LOG_FLUSH = 1,
	LOG_FUA = 2,
	LOG_DISCARD = 4,
	LOG_MARK = 8,
	LOG_METADATA = 16, /* only of the kernel's own logs */
};

struct log_reader {
	int fd;
	uint64_t entries; /* that there are */
	uint64_t next;	  /* the number of the next one */
	uint64_t pos;	  /* its place, in bytes */
	uint64_t size;	  /* of the file */
	uint32_t sector_size;
	const char *wrong; /* what is */
};

struct log_record {
	uint64_t off, len; /* in bytes */
	uint64_t flags;
	uint64_t data; /* place of the data, in bytes; 0: none */
	char text[512];
};

static inline bool log_wrong(struct log_reader *log, const char *what)
{
	log->wrong = what;
	return false;
}

static inline bool log_all_zero(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i])
			return false;
	}
	return true;
}

/* @fd: open for reading. On failure, log->wrong says what is wrong. */
static inline bool log_open(struct log_reader *log, int fd)
{
	char sector[512];
	struct stat st;
	uint64_t words[3];

	*log = (struct log_reader){ .fd = fd };
	if (fd < 0)
		return log_wrong(log, "no such log");
	if (pread(fd, sector, sizeof(sector), 0) != sizeof(sector))
		return log_wrong(log, "shorter than a sector");
	/* After that: it may still grow. */
	if (fstat(fd, &st) < 0)
		return log_wrong(log, "no size");
	log->size = (uint64_t)st.st_size;
	memcpy(words, sector, sizeof(words));
	memcpy(&log->sector_size, sector + 24, 4);
	if (le64toh(words[0]) != 0x6a736677736872)
		return log_wrong(log, "bad magic");
	if (le64toh(words[1]) != 1)
		return log_wrong(log, "bad version");
	log->entries = le64toh(words[2]);
	log->sector_size = le32toh(log->sector_size);
	if (log->sector_size != 512)
		return log_wrong(log, "bad sector size");
	if (!log_all_zero(sector + 28, sizeof(sector) - 28))
		return log_wrong(log, "dirt in the first sector");
	log->pos = 512;
	return true;
}

static inline bool log_check(struct log_reader *log, const struct log_record *r, uint64_t text_len)
{
	if (r->flags & ~(uint64_t)(LOG_FLUSH | LOG_FUA | LOG_DISCARD | LOG_MARK))
		return log_wrong(log, "unknown flags");
	if (r->flags & LOG_MARK) {
		if (r->flags != LOG_MARK || r->len || !text_len || text_len >= 480)
			return log_wrong(log, "not a proper mark");
		if (strlen(r->text) != text_len)
			return log_wrong(log, "a mark of another length");
	} else if (text_len) {
		return log_wrong(log, "text without a mark");
	}
	if (!log_all_zero(r->text + text_len, 480 - text_len))
		return log_wrong(log, "dirt behind an entry");
	if (r->flags & LOG_FLUSH && (r->flags != LOG_FLUSH || r->len || r->off))
		return log_wrong(log, "not a proper flush");
	if (r->flags & LOG_DISCARD && (r->flags != LOG_DISCARD || !r->len))
		return log_wrong(log, "not a proper discard");
	if (log->pos > log->size)
		return log_wrong(log, "the file ends before its entries do");
	return true;
}

/* False at the end, and when something is wrong: then log->wrong is set. */
static inline bool log_next(struct log_reader *log, struct log_record *r)
{
	char sector[512];
	uint64_t words[4];

	if (log->next >= log->entries)
		return false;
	if (pread(log->fd, sector, sizeof(sector), (off_t)log->pos) != sizeof(sector))
		return log_wrong(log, "the file ends before its entries do");
	memcpy(words, sector, sizeof(words));
	*r = (struct log_record){
		.off = le64toh(words[0]) * 512,
		.len = le64toh(words[1]) * 512,
		.flags = le64toh(words[2]),
	};
	memcpy(r->text, sector + 32, 480);
	log->pos += 512;
	if (r->len && !(r->flags & LOG_DISCARD)) {
		r->data = log->pos;
		log->pos += r->len;
	}
	log->next++;
	return log_check(log, r, le64toh(words[3]));
}

/* Do to @fd what the entry says; discards do nothing, or zero if @discard_zeroes. */
static inline bool log_replay(struct log_reader *log, const struct log_record *r, int fd,
			      bool discard_zeroes)
{
	static __thread char buf[65536];
	bool discard = r->flags & LOG_DISCARD;

	if (discard && !discard_zeroes)
		return true;
	if (discard)
		memset(buf, 0, sizeof(buf));
	for (uint64_t done = 0; done < r->len;) {
		size_t part = r->len - done < sizeof(buf) ? r->len - done : sizeof(buf);

		if (!discard && pread(log->fd, buf, part, (off_t)(r->data + done)) != (ssize_t)part)
			return log_wrong(log, "data cannot be read");
		if (pwrite(fd, buf, part, (off_t)(r->off + done)) != (ssize_t)part)
			return log_wrong(log, "the target cannot be written");
		done += part;
	}
	return true;
}

#endif
