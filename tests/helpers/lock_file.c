// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Take an exclusive lock on a file and hold it until stdin ends.
 *
 * usage: lock_file flock|posix|ofd FILE [START LEN]
 *   Prints "locked" once it has the lock. Exits with 1 if somebody else has it,
 *   with 2 on any other error. flock locks the whole file always.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int lock_range(int fd, int command, off_t start, off_t len)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = start, .l_len = len };

	return fcntl(fd, command, &lock);
}

int main(int argc, char **argv)
{
	off_t start = argc == 5 ? atoll(argv[3]) : 0, len = argc == 5 ? atoll(argv[4]) : 0;
	int fd, r;
	char c;

	if (argc != 3 && argc != 5) {
		fprintf(stderr, "usage: lock_file flock|posix|ofd FILE [START LEN]\n");
		return 2;
	}
	fd = open(argv[2], O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
		return 2;
	}
	if (strcmp(argv[1], "flock") == 0)
		r = flock(fd, LOCK_EX | LOCK_NB);
	else if (strcmp(argv[1], "posix") == 0)
		r = lock_range(fd, F_SETLK, start, len);
	else
		r = lock_range(fd, F_OFD_SETLK, start, len);
	if (r < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return 1;
		fprintf(stderr, "%s: %s: %s\n", argv[2], argv[1], strerror(errno));
		return 2;
	}
	puts("locked");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
