// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opens a file twice, for each pair of open flags, the first handle kept open: both
 * opens must succeed, and aligned reads and writes on both handles, which must see
 * each other's bytes. (The kernel answers EIO where kinds of handles do not mix.)
 *
 *   open_pairs FILE HOST plain    all pairs of 18 sets of flags, in the mode in force
 *   open_pairs FILE HOST map      the same, with a shared mapping of the first handle
 *   open_pairs FILE HOST switch   a mode switch in between: all 25 of them, for pairs
 *                                 of fewer flags, with a mapping and without
 *
 * HOST is the file that FILE stands for, or "-". Prints what fails; status 1 then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BLOCK	     4096
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const modes[] = { "writeback", "none", "writethrough", "directsync", "unsafe" };

static const char *path, *from_mode, *to_mode; /* to_mode: NULL if there is no switch */
static int host = -1;
static char *buffer;	   /* BLOCK bytes, aligned for O_DIRECT */
static unsigned char seen; /* what was written last */
static unsigned long pairs, failures;

struct handle {
	int fd, flags;
	char *map; /* NULL: none */
};

static bool may_read(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_WRONLY;
}

static bool may_write(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_RDONLY;
}

static const char *flag_names(int flags)
{
	static char text[2][64];
	static const char *const access[] = { "O_RDONLY", "O_WRONLY", "O_RDWR" };
	static int turn;
	char *s = text[turn++ % 2];

	snprintf(s, sizeof(text[0]), "%s%s%s", access[flags & O_ACCMODE],
		 flags & O_DIRECT ? "|O_DIRECT" : "",
		 (flags & O_SYNC) == O_SYNC ? "|O_SYNC"
		 : flags & O_DSYNC	    ? "|O_DSYNC"
					    : "");
	return s;
}

/* @error: an errno; -1: the bytes are wrong. */
static void failed(const struct handle *first, int second_flags, const char *what, int error)
{
	failures++;
	if (to_mode)
		printf("%s -> %s: ", from_mode, to_mode);
	printf("%s%s, then %s: %s: %s\n", flag_names(first->flags),
	       first->map ? " with a mapping" : "", flag_names(second_flags), what,
	       error < 0 ? "other bytes than were written" : strerrorname_np(error));
}

static bool all_seen(const char *data)
{
	for (int i = 0; i < BLOCK; i++) {
		if ((unsigned char)data[i] != seen)
			return false;
	}
	return true;
}

/* Returns 0 or an errno; -1: the bytes are wrong. */
static int check_read(int fd)
{
	ssize_t n;

	memset(buffer, 0xee, BLOCK);
	n = pread(fd, buffer, BLOCK, 0);
	if (n != BLOCK)
		return n < 0 ? errno : -1;
	return all_seen(buffer) ? 0 : -1;
}

static int write_new(int fd)
{
	ssize_t n;

	seen = seen % 200 + 1;
	memset(buffer, seen, BLOCK);
	n = pwrite(fd, buffer, BLOCK, 0);
	if (n == BLOCK)
		return 0;
	return n < 0 ? errno : -1;
}

/* @r: 0, or as failed() takes it. */
static void check(const struct handle *first, const struct handle *second, const char *what, int r)
{
	if (r)
		failed(first, second->flags, what, r);
}

/* @writer and @other: the two handles, in one order or the other. */
static void check_io(const struct handle *writer, const struct handle *other,
		     const struct handle *first, const struct handle *second)
{
	bool on_first = writer == first;

	if (may_write(writer))
		check(first, second, on_first ? "write on the first" : "write on the second",
		      write_new(writer->fd));
	if (may_read(other))
		check(first, second, on_first ? "read on the second" : "read on the first",
		      check_read(other->fd));
	if (may_read(writer))
		check(first, second, on_first ? "re-read on the first" : "re-read on the second",
		      check_read(writer->fd));
	if (first->map)
		check(first, second, "the mapping", all_seen(first->map) ? 0 : -1);
	if (host >= 0)
		check(first, second, "read of the host file", check_read(host));
}

static void check_map(const struct handle *first, const struct handle *second)
{
	seen = seen % 200 + 1;
	memset(first->map, seen, BLOCK);
	check(first, second, "msync", msync(first->map, BLOCK, MS_SYNC) < 0 ? errno : 0);
	if (may_read(second))
		check(first, second, "read on the second of what was stored by the mapping",
		      check_read(second->fd));
	if (host >= 0)
		check(first, second, "read of the host file", check_read(host));
}

static void set_mode(const char *mode)
{
	if (setxattr(path, "user.cmfs.cache", mode, strlen(mode), 0) < 0) {
		fprintf(stderr, "cache=%s: %s\n", mode, strerrorname_np(errno));
		exit(2);
	}
}

static void map_first(struct handle *h, int second_flags)
{
	int prot = PROT_READ | (may_write(h) ? PROT_WRITE : 0);
	void *map = mmap(NULL, BLOCK, prot, MAP_SHARED, h->fd, 0);

	if (map == MAP_FAILED) {
		failed(h, second_flags, "mmap", errno);
		return;
	}
	h->map = map;
	if (!all_seen(h->map)) /* also has the page there */
		failed(h, second_flags, "the new mapping", -1);
}

static void check_pair(int first_flags, int second_flags, bool map)
{
	struct handle first = { .fd = open(path, first_flags), .flags = first_flags };
	struct handle second = { .fd = -1, .flags = second_flags };

	pairs++;
	if (first.fd < 0) {
		failed(&first, second_flags, "first open", errno);
		return;
	}
	if (map)
		map_first(&first, second_flags);
	if (to_mode)
		set_mode(to_mode);
	second.fd = open(path, second_flags);
	if (second.fd < 0) {
		failed(&first, second_flags, "second open", errno);
	} else {
		check_io(&first, &second, &first, &second);
		check_io(&second, &first, &first, &second);
		if (first.map && may_write(&first))
			check_map(&first, &second);
		close(second.fd);
	}
	if (first.map)
		munmap(first.map, BLOCK);
	close(first.fd);
}

static void check_all(bool map)
{
	static const int access[] = { O_RDONLY, O_WRONLY, O_RDWR }, direct[] = { 0, O_DIRECT },
			 sync[] = { 0, O_DSYNC, O_SYNC };
	int sets[COUNT(access) * COUNT(direct) * COUNT(sync)], n = 0;

	for (size_t a = 0; a < COUNT(access); a++)
		for (size_t d = 0; d < COUNT(direct); d++)
			for (size_t s = 0; s < COUNT(sync); s++)
				sets[n++] = access[a] | direct[d] | sync[s];
	for (int i = 0; i < n; i++) {
		if (map && (sets[i] & O_ACCMODE) == O_WRONLY)
			continue;
		for (int j = 0; j < n; j++)
			check_pair(sets[i], sets[j], map);
	}
}

static void check_switch(const char *from, const char *to)
{
	static const int sets[] = { O_RDONLY, O_RDWR, O_RDWR | O_DIRECT, O_RDWR | O_DSYNC,
				    O_RDWR | O_DIRECT | O_DSYNC };

	from_mode = from;
	to_mode = to;
	for (size_t i = 0; i < COUNT(sets); i++) {
		for (size_t j = 0; j < COUNT(sets); j++) {
			set_mode(from);
			check_pair(sets[i], sets[j], j % 2 == 1);
		}
	}
}

static void start(void)
{
	int fd = open(path, O_RDWR), r;

	if (fd < 0) {
		perror(path);
		exit(2);
	}
	r = write_new(fd);
	close(fd);
	if (r)
		exit(2);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	path = argv[1];
	buffer = aligned_alloc(BLOCK, BLOCK);
	if (!buffer)
		return 2;
	if (strcmp(argv[2], "-") != 0)
		host = open(argv[2], O_RDONLY);
	start();
	if (strcmp(argv[3], "switch") != 0) {
		check_all(strcmp(argv[3], "map") == 0);
	} else {
		for (size_t i = 0; i < COUNT(modes); i++)
			for (size_t j = 0; j < COUNT(modes); j++)
				check_switch(modes[i], modes[j]);
	}
	printf("%lu pairs, %lu failures\n", pairs, failures);
	return failures > 0;
}
