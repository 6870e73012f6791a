// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads and replays write logs (log_reader.h).
 *
 *   replay_log list LOG                   a line for each entry:
 *                                         NUMBER write|flush|fua|discard|mark|nothing
 *                                         OFFSET LENGTH [TEXT]
 *   replay_log replay LOG TARGET [COUNT]  the first COUNT entries, or all
 *   replay_log each LOG TARGET CMD ARG... all, and CMD ARG... after each flush, with
 *                                         its number in $ENTRY; it must succeed
 *
 * A discard does nothing to the target; with -z before the command, it zeroes.
 */
#include "log_reader.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

static bool discard_zeroes;

static void open_log(struct log_reader *log, const char *path)
{
	if (!log_open(log, open(path, O_RDONLY)))
		errx(1, "%s: %s", path, log->wrong);
}

static void must_be_right(const struct log_reader *log, const char *path)
{
	if (log->wrong)
		errx(1, "%s: entry %llu: %s", path, (unsigned long long)log->next - 1, log->wrong);
}

static const char *kind(const struct log_record *r)
{
	if (r->flags & LOG_MARK)
		return "mark";
	if (r->flags & LOG_FLUSH)
		return "flush";
	if (r->flags & LOG_FUA)
		return "fua";
	if (r->flags & LOG_DISCARD)
		return "discard";
	return r->len ? "write" : "nothing";
}

static void list(const char *path)
{
	struct log_reader log;
	struct log_record r;

	open_log(&log, path);
	while (log_next(&log, &r))
		printf("%llu %s %llu %llu %s\n", (unsigned long long)log.next - 1, kind(&r),
		       (unsigned long long)r.off, (unsigned long long)r.len, r.text);
	must_be_right(&log, path);
}

static void run(char **command, uint64_t entry)
{
	char number[32];
	pid_t pid;
	int status;

	snprintf(number, sizeof(number), "%llu", (unsigned long long)entry);
	setenv("ENTRY", number, 1);
	pid = fork();
	if (pid == 0) {
		execvp(command[0], command);
		err(127, "%s", command[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		errx(1, "entry %s: %s failed", number, command[0]);
}

static void replay(const char *path, const char *target, uint64_t count, char **command)
{
	struct log_reader log;
	struct log_record r;
	int fd = open(target, O_RDWR);

	if (fd < 0)
		err(1, "%s", target);
	open_log(&log, path);
	while (log.next < count && log_next(&log, &r)) {
		if (!log_replay(&log, &r, fd, discard_zeroes))
			break;
		if (command && r.flags & LOG_FLUSH)
			run(command, log.next - 1);
	}
	must_be_right(&log, path);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "-z") == 0) {
		discard_zeroes = true;
		argv++;
		argc--;
	}
	if (argc == 3 && strcmp(argv[1], "list") == 0)
		list(argv[2]);
	else if ((argc == 4 || argc == 5) && strcmp(argv[1], "replay") == 0)
		replay(argv[2], argv[3], argc == 5 ? strtoull(argv[4], NULL, 0) : UINT64_MAX, NULL);
	else if (argc >= 5 && strcmp(argv[1], "each") == 0)
		replay(argv[2], argv[3], UINT64_MAX, argv + 4);
	else
		errx(2, "usage: see the top of replay_log.c");
	return 0;
}
