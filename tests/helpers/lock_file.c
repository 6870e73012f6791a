// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Take a lock on a file and hold it until stdin ends.
 *
 * usage: lock_file [-s] [-w] [-d] flock|posix|ofd FILE [START LEN]
 *   -s: a shared one, else it is exclusive; -w: wait for it; -d: by a handle with O_DIRECT
 *   Prints "locked" once it has the lock. Exits with 1 if somebody else has it,
 *   with 2 on any other error. flock locks the whole file always.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const struct {
	const char *name;
	int command, waiting_command; /* of fcntl(2) */
} kinds[] = {
	{ "flock", 0, 0 },
	{ "posix", F_SETLK, F_SETLKW },
	{ "ofd", F_OFD_SETLK, F_OFD_SETLKW },
};

static int lock(int fd, size_t kind, bool shared, bool wait, off_t start, off_t len)
{
	struct flock range = {
		.l_type = shared ? F_RDLCK : F_WRLCK,
		.l_start = start,
		.l_len = len,
	};

	if (kind == 0)
		return flock(fd, (shared ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB));
	return fcntl(fd, wait ? kinds[kind].waiting_command : kinds[kind].command, &range);
}

int main(int argc, char **argv)
{
	bool shared = false, wait = false;
	int fd, option, flags = O_RDWR | O_CLOEXEC;
	size_t kind = 0;
	off_t start, len;
	char c;

	while ((option = getopt(argc, argv, "+swd")) != -1) {
		shared |= option == 's';
		wait |= option == 'w';
		flags |= option == 'd' ? O_DIRECT : 0;
	}
	argc -= optind;
	argv += optind;
	while (argc > 0 && kind < 3 && strcmp(argv[0], kinds[kind].name) != 0)
		kind++;
	if ((argc != 2 && argc != 4) || kind == 3) {
		fprintf(stderr, "usage: lock_file [-s] [-w] [-d] flock|posix|ofd FILE "
				"[START LEN]\n");
		return 2;
	}
	start = argc == 4 ? atoll(argv[2]) : 0;
	len = argc == 4 ? atoll(argv[3]) : 0;
	fd = open(argv[1], flags);
	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	if (lock(fd, kind, shared, wait, start, len) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return 1;
		fprintf(stderr, "%s: %s: %s\n", argv[1], argv[0], strerror(errno));
		return 2;
	}
	puts("locked");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
