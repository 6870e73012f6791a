// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Files of records of an odd length, each record's bytes made from its number.
 *
 * usage: records print COUNT LEN                     all records to stdout
 *        records write FILE COUNT LEN STEP FIRST     records FIRST, FIRST + STEP, ...
 *        records append FILE COUNT LEN               one write each
 *        records watch FILE COUNT LEN                until it has COUNT records
 *        records watch-server FILE COUNT LEN         the same, past the kernel's memory
 * LEN/PAGE for LEN: the last record of each PAGE bytes is shorter, so that none
 * crosses from one to the next.
 * write goes over its records twice and fsyncs now and then. Watching fails if it
 * ever sees a size at which no record ends, or a size that shrinks.
 */
#include "model.h"

#include <linux/stat.h>
#include <sys/syscall.h>

static size_t full_len, page;

static size_t record_start(size_t number)
{
	size_t per_page = page ? (page + full_len - 1) / full_len : 1;

	return page ? number / per_page * page + number % per_page * full_len : number * full_len;
}

static size_t record_len(size_t number)
{
	size_t next = record_start(number + 1) - record_start(number);

	return next < full_len ? next : full_len;
}

static int ends_at(size_t size)
{
	return (page ? size % page : size) % full_len == 0;
}

static void fill(char *record, size_t number)
{
	size_t len = record_len(number);
	unsigned int seed = number + 1;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		record[i] = 'a' + (seed >> 16) % 26;
	}
	record[len - 1] = '\n';
}

static void print(size_t count, char *record)
{
	for (size_t n = 0; n < count; n++) {
		fill(record, n);
		CHECK(fwrite(record, record_len(n), 1, stdout) == 1, "write to stdout");
	}
	CHECK(fclose(stdout) == 0, "close stdout");
}

static void write_some(int fd, size_t count, size_t step, size_t first, char *record)
{
	for (int round = 0; round < 2; round++) {
		for (size_t n = first; n < count; n += step) {
			ssize_t len = record_len(n);

			if (round == 0)
				memset(record, '0', len); /* to be overwritten */
			else
				fill(record, n);
			CHECK(pwrite(fd, record, len, record_start(n)) == len, "record %zu", n);
			if (n / step % 64 == 0)
				CHECK(fdatasync(fd) == 0, "fdatasync");
		}
	}
}

static void append(int fd, size_t count, char *record)
{
	for (size_t n = 0; n < count; n++) {
		fill(record, n);
		CHECK(write(fd, record, record_len(n)) == (ssize_t)record_len(n), "record %zu", n);
	}
}

/* The size as the file's server says it, not as the kernel remembers it. */
static size_t server_size(int fd)
{
	struct statx stx;

	memset(&stx, 0, sizeof(stx));
	CHECK(syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &stx) ==
		      0,
	      "statx");
	return stx.stx_size;
}

static void watch(int fd, size_t count, size_t (*size_of)(int fd))
{
	size_t seen = 0;

	while (seen < record_start(count)) {
		size_t now = size_of(fd);

		CHECK(now >= seen, "the size shrank from %zu to %zu", seen, now);
		CHECK(ends_at(now), "the size was %zu, where no record ends", now);
		seen = now;
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int args = strcmp(what, "print") == 0 ? 4 : strcmp(what, "write") == 0 ? 7 : 5;
	int i = args == 4 ? 2 : 3, fd = -1;
	size_t count;
	char *record, *end;

	if (argc != args) {
		fprintf(stderr, "usage: see the top of %s\n", __FILE__);
		return 2;
	}
	count = strtoul(argv[i], NULL, 10);
	full_len = strtoul(argv[i + 1], &end, 10);
	page = *end == '/' ? strtoul(end + 1, NULL, 10) : 0;
	CHECK(full_len > 0, "a record's length must be positive");
	record = malloc(full_len);
	CHECK(record, "malloc");
	if (args > 4)
		fd = open_or_fail(argv[2], strcmp(what, "append") == 0	    ? O_WRONLY | O_APPEND
					   : strncmp(what, "watch", 5) == 0 ? O_RDONLY
									    : O_WRONLY);
	if (strcmp(what, "print") == 0)
		print(count, record);
	else if (strcmp(what, "write") == 0)
		write_some(fd, count, strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10),
			   record);
	else if (strcmp(what, "append") == 0)
		append(fd, count, record);
	else
		watch(fd, count, strcmp(what, "watch") == 0 ? file_size : server_size);
	CHECK(fd < 0 || close(fd) == 0, "close");
	free(record);
	return 0;
}
