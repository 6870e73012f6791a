// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does single file operations as told, a command a line on stdin, and keeps
 * files and mappings open in between: what a shell cannot. Answers each command
 * with one line: a number (bytes done, or 0), the name of an errno, or what the
 * command says below. tests/lib/fileop.sh drives it.
 *
 *   open H PATH FLAG...       handle H (a digit): rdonly wronly direct dsync sync trunc append
 *   close H
 *   write H OFF LEN CHAR [dsync|sync]   with RWF_DSYNC, RWF_SYNC
 *   read H OFF LEN            "N CHAR" if all N bytes are the same, else "N mixed"
 *   writes H OFF LEN N CHAR   N of them, one after the other's end
 *   reads H OFF LEN N
 *   fsync H | fdatasync H | truncate H SIZE
 *   fallocate H alloc|keep|punch|zero|collapse OFF LEN
 *   copy H OFF H2 OFF2 LEN    copy_file_range(2) from H to H2
 *   mmap H OFF LEN            a shared mapping of H, one per handle
 *   poke H OFF LEN CHAR       store into it; OFF counts from its start
 *   peek H OFF LEN            as read, from it
 *   msync H | munmap H
 *   cache H MODE              set user.cmfs.cache
 *   mark H NAME               ask for the xattr user.mark.NAME: seen in an strace
 *   cachestat H               pages of it in the page cache (cachestat(2))
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

#define MAX_WORDS   10
#define MAX_HANDLES 10
#define MAX_LEN	    (4 * 1024 * 1024)

static struct handle {
	int fd;
	char *map;
	size_t map_len;
} handles[MAX_HANDLES];

static char *buffer; /* MAX_LEN bytes, aligned for O_DIRECT */

static struct handle *handle(const char *word)
{
	if (word[0] < '0' || word[0] > '9' || word[1])
		exit(2);
	return &handles[word[0] - '0'];
}

static long number(const char *word)
{
	char *end;
	long n = strtol(word, &end, 0);

	if (*end || n < 0)
		exit(2);
	return n;
}

struct word_flag {
	const char *word;
	int flag;
};

static int find_flag(const struct word_flag *table, const char *word)
{
	for (; table->word; table++) {
		if (strcmp(table->word, word) == 0)
			return table->flag;
	}
	fprintf(stderr, "fileop: %s?\n", word);
	exit(2);
}

static long op_open(char **w, int n)
{
	static const struct word_flag table[] = {
		{ "direct", O_DIRECT }, { "dsync", O_DSYNC },	{ "sync", O_SYNC },
		{ "trunc", O_TRUNC },	{ "append", O_APPEND }, { NULL, 0 },
	};
	int flags = O_RDWR | O_CLOEXEC;

	for (int i = 3; i < n; i++) {
		if (strcmp(w[i], "rdonly") == 0)
			flags &= ~O_RDWR;
		else if (strcmp(w[i], "wronly") == 0)
			flags ^= O_RDWR ^ O_WRONLY;
		else
			flags |= find_flag(table, w[i]);
	}
	handle(w[1])->fd = open(w[2], flags);
	return handle(w[1])->fd < 0 ? -1 : 0;
}

static long op_close(char **w, int n)
{
	return close(handle(w[1])->fd);
}

static long op_write(char **w, int n)
{
	static const struct word_flag table[] = {
		{ "dsync", RWF_DSYNC },
		{ "sync", RWF_SYNC },
		{ NULL, 0 },
	};
	struct iovec iov = { .iov_base = buffer, .iov_len = number(w[3]) };

	if (iov.iov_len > MAX_LEN)
		exit(2);
	memset(buffer, w[4][0], iov.iov_len);
	return pwritev2(handle(w[1])->fd, &iov, 1, number(w[2]),
			n > 5 ? find_flag(table, w[5]) : 0);
}

/* "N CHAR" or "N mixed"; prints, so the result is -2: nothing more to say. */
static long describe(const char *data, long len)
{
	long same = 0;

	while (same < len && data[same] == data[0])
		same++;
	if (same < len)
		printf("%ld mixed\n", len);
	else if (len > 0 && data[0])
		printf("%ld %c\n", len, data[0]);
	else
		printf("%ld 0\n", len);
	return -2;
}

static long op_read(char **w, int n)
{
	long len = number(w[3]) <= MAX_LEN ? number(w[3]) : MAX_LEN;

	len = pread(handle(w[1])->fd, buffer, len, number(w[2]));
	return len < 0 ? -1 : describe(buffer, len);
}

static long op_writes(char **w, int n)
{
	long len = number(w[3]), count = number(w[4]), done = 0;

	if (len > MAX_LEN)
		exit(2);
	memset(buffer, w[5][0], len);
	for (; done < count; done++) {
		if (pwrite(handle(w[1])->fd, buffer, len, number(w[2]) + done * len) != len)
			return -1;
	}
	return done;
}

static long op_reads(char **w, int n)
{
	long len = number(w[3]), count = number(w[4]), done = 0;

	if (len > MAX_LEN)
		exit(2);
	for (; done < count; done++) {
		if (pread(handle(w[1])->fd, buffer, len, number(w[2]) + done * len) != len)
			return -1;
	}
	return done;
}

static long op_fsync(char **w, int n)
{
	return fsync(handle(w[1])->fd);
}

static long op_fdatasync(char **w, int n)
{
	return fdatasync(handle(w[1])->fd);
}

static long op_truncate(char **w, int n)
{
	return ftruncate(handle(w[1])->fd, number(w[2]));
}

static long op_fallocate(char **w, int n)
{
	static const struct word_flag table[] = {
		{ "alloc", 0 },
		{ "keep", FALLOC_FL_KEEP_SIZE },
		{ "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE },
		{ "zero", FALLOC_FL_ZERO_RANGE },
		{ "collapse", FALLOC_FL_COLLAPSE_RANGE },
		{ NULL, 0 },
	};

	return fallocate(handle(w[1])->fd, find_flag(table, w[2]), number(w[3]), number(w[4]));
}

static long op_copy(char **w, int n)
{
	off_t from = number(w[2]), to = number(w[4]);

	return copy_file_range(handle(w[1])->fd, &from, handle(w[3])->fd, &to, number(w[5]), 0);
}

static long op_mmap(char **w, int n)
{
	struct handle *h = handle(w[1]);
	void *map =
		mmap(NULL, number(w[3]), PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, number(w[2]));

	if (map == MAP_FAILED)
		return -1;
	h->map = map;
	h->map_len = number(w[3]);
	return 0;
}

static long op_poke(char **w, int n)
{
	memset(handle(w[1])->map + number(w[2]), w[4][0], number(w[3]));
	return 0;
}

static long op_peek(char **w, int n)
{
	return describe(handle(w[1])->map + number(w[2]), number(w[3]));
}

static long op_msync(char **w, int n)
{
	return msync(handle(w[1])->map, handle(w[1])->map_len, MS_SYNC);
}

static long op_munmap(char **w, int n)
{
	return munmap(handle(w[1])->map, handle(w[1])->map_len);
}

static long op_cache(char **w, int n)
{
	return fsetxattr(handle(w[1])->fd, "user.cmfs.cache", w[2], strlen(w[2]), 0);
}

static long op_mark(char **w, int n)
{
	char name[64];

	snprintf(name, sizeof(name), "user.mark.%s", w[2]);
	return fgetxattr(handle(w[1])->fd, name, NULL, 0) < 0 && errno != ENODATA ? -1 : 0;
}

static long op_cachestat(char **w, int n)
{
	struct {
		uint64_t off, len;
	} range = { 0, 0 }; /* to the end */
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted;
	} stat;

	if (syscall(SYS_cachestat, handle(w[1])->fd, &range, &stat, 0) < 0)
		return -1;
	return (long)stat.cached;
}

static const struct command {
	const char *name;
	int words; /* at least, itself included */
	long (*run)(char **w, int n);
} commands[] = {
	{ "open", 3, op_open },		  { "close", 2, op_close },
	{ "write", 5, op_write },	  { "read", 4, op_read },
	{ "writes", 6, op_writes },	  { "reads", 5, op_reads },
	{ "fsync", 2, op_fsync },	  { "fdatasync", 2, op_fdatasync },
	{ "truncate", 3, op_truncate },	  { "fallocate", 5, op_fallocate },
	{ "copy", 6, op_copy },		  { "mmap", 4, op_mmap },
	{ "poke", 5, op_poke },		  { "peek", 4, op_peek },
	{ "msync", 2, op_msync },	  { "munmap", 2, op_munmap },
	{ "cache", 3, op_cache },	  { "mark", 3, op_mark },
	{ "cachestat", 2, op_cachestat },
};

static long run(char *line)
{
	char *w[MAX_WORDS];
	int n = 0;

	for (char *p = strtok(line, " \n"); p && n < MAX_WORDS; p = strtok(NULL, " \n"))
		w[n++] = p;
	for (size_t i = 0; n > 0 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, w[0]) == 0 && n >= commands[i].words)
			return commands[i].run(w, n);
	}
	fprintf(stderr, "fileop: %s?\n", n > 0 ? w[0] : "");
	exit(2);
}

int main(void)
{
	char line[8192];

	buffer = aligned_alloc(4096, MAX_LEN);
	if (!buffer)
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		long r = run(line);

		if (r >= 0)
			printf("%ld\n", r);
		else if (r == -1)
			printf("%s\n", strerrorname_np(errno));
		fflush(stdout);
	}
	return 0;
}
