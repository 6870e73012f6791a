// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ways to an image that the kernel serves past the daemon, beside ways that it does
 * not: all must see one content, and none may take back what another one wrote.
 *
 *   coherence outlive FILE FLAGS MODE   a mapping lives longer than its handle (FLAGS:
 *                                       plain, dsync); MODE is switched to in between
 *   coherence map-edges FILE WRITES [direct]
 *                                       stores to a mapping, beside unaligned writes;
 *                                       while an O_DIRECT handle is open
 *   coherence aio-edges FILE WRITES     asynchronous O_DIRECT writes, beside unaligned
 *                                       ones
 *   coherence splice FILE               splice(2), beside O_DIRECT writes
 *   coherence opens FILE WRITES MODE    writes and reads of a handle from before the switch
 *                                       to MODE, beside other readers and opens
 *   coherence commits FILE WRITES WHERE the same, beside commits set on WHERE
 */
#include "model.h"

#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define BLOCK 4096
#define WORD  200 /* where in block 0 the first writer's own bytes are */

static const char *path;

static char *map_file(int fd)
{
	char *map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED, "mmap");
	return map;
}

static char first_byte(int fd)
{
	char c;

	CHECK(pread(fd, &c, 1, 0) == 1, "pread");
	return c;
}

static void outlive(int flags, const char *mode)
{
	int fd = open_or_fail(path, O_RDWR | flags), other;
	char *mine, *others;

	CHECK(pwrite(fd, "A", 1, 0) == 1, "pwrite");
	mine = map_file(fd);
	CHECK(mine[0] == 'A', "the mapping shows another byte than was written");
	CHECK(close(fd) == 0, "close");
	CHECK(setxattr(path, "user.cmfs.cache", mode, strlen(mode), 0) == 0, "cache=%s", mode);
	usleep(100000); /* the handle is released a moment later */

	other = open_or_fail(path, O_RDWR);
	CHECK(first_byte(other) == 'A', "another byte than the mapping's");
	others = map_file(other);
	CHECK(others[0] == 'A', "another byte in the other mapping");
	mine[0] = 'B';
	CHECK(msync(mine, BLOCK, MS_SYNC) == 0, "msync");
	CHECK(first_byte(other) == 'B', "a handle reads what was before the store");
	CHECK(close(other) == 0, "close");
	other = open_or_fail(path, O_RDONLY);
	CHECK(first_byte(other) == 'B', "a new handle reads what was before the store");
	others[1] = 'C';
	CHECK(msync(others, BLOCK, MS_SYNC) == 0, "msync of the other mapping");
	CHECK(first_byte(other) == 'B', "storing another byte took the store back");
	CHECK(mine[1] == 'C', "the first mapping does not see the other's store");
	CHECK(close(other) == 0, "close");
	munmap(mine, BLOCK);
	munmap(others, BLOCK);
}

/* Writes bytes 0 to 99 so many times, while the other one does what it does. */
struct neighbour {
	pthread_t thread;
	unsigned long writes;
	atomic_bool done;
};

static void *write_edges(void *arg)
{
	struct neighbour *n = arg;
	int fd = open_or_fail(path, O_RDWR);
	char data[100];

	for (unsigned long i = 0; i < n->writes; i++) {
		memset(data, 'a' + (int)(i % 26), sizeof(data));
		CHECK(pwrite(fd, data, sizeof(data), 0) == sizeof(data), "unaligned write");
	}
	CHECK(close(fd) == 0, "close");
	atomic_store(&n->done, true);
	return NULL;
}

static void start(struct neighbour *n)
{
	CHECK(pthread_create(&n->thread, NULL, write_edges, n) == 0, "pthread_create");
}

static void finish(struct neighbour *n)
{
	int fd;

	pthread_join(n->thread, NULL);
	fd = open_or_fail(path, O_RDWR);
	CHECK(fsync(fd) == 0, "fsync afterwards");
	CHECK(close(fd) == 0, "close");
}

static void map_edges(unsigned long writes, bool with_direct)
{
	int direct = with_direct ? open_or_fail(path, O_RDWR | O_DIRECT) : -1;
	int fd = open_or_fail(path, O_RDWR);
	volatile uint64_t *word = (void *)(map_file(fd) + WORD);
	struct neighbour n = { .writes = writes };

	start(&n);
	for (uint64_t i = 1; !atomic_load(&n.done); i++) {
		*word = i;
		for (int k = 0; k < 100; k++)
			CHECK(*word == i, "store %ju was taken back: %ju", (uintmax_t)i,
			      (uintmax_t)*word);
	}
	finish(&n);
	CHECK(close(fd) == 0, "close");
	if (direct >= 0)
		close(direct);
}

static void submit(aio_context_t context, int fd, char *block)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = fd,
		.aio_buf = (uintptr_t)block,
		.aio_nbytes = BLOCK,
	};
	struct iocb *list[] = { &cb };
	struct io_event event;

	CHECK(syscall(SYS_io_submit, context, 1, list) == 1, "io_submit");
	CHECK(syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1, "io_getevents");
	CHECK(event.res == BLOCK, "asynchronous write");
}

/* Each of the two has bytes of its own, and both write them in whole blocks or not. */
static void aio_edges(unsigned long writes)
{
	static _Alignas(BLOCK) char block[BLOCK], seen[BLOCK];
	int fd = open_or_fail(path, O_RDWR | O_DIRECT);
	struct neighbour n = { .writes = writes };
	aio_context_t context = 0;

	CHECK(syscall(SYS_io_setup, 8, &context) == 0, "io_setup");
	start(&n);
	for (uint64_t i = 1; !atomic_load(&n.done); i++) {
		memcpy(block + WORD, &i, sizeof(i));
		submit(context, fd, block);
		for (int k = 0; k < 3; k++) {
			CHECK(pread(fd, seen, BLOCK, 0) == BLOCK, "pread");
			CHECK(memcmp(seen + WORD, &i, sizeof(i)) == 0,
			      "asynchronous write %ju was taken back", (uintmax_t)i);
		}
	}
	finish(&n);
	CHECK(syscall(SYS_io_destroy, context) == 0, "io_destroy");
	CHECK(close(fd) == 0, "close");
}

/* Returns the first byte as splice(2) has it, or 0 where there is no splice. */
static char spliced(int fd)
{
	static char block[BLOCK];
	int ends[2];
	loff_t off = 0;
	ssize_t n;

	CHECK(pipe(ends) == 0, "pipe");
	n = splice(fd, &off, ends[1], NULL, BLOCK, 0);
	if (n > 0)
		CHECK(read(ends[0], block, BLOCK) == n, "read of the pipe");
	else
		CHECK(n < 0 && errno == EINVAL, "splice");
	close(ends[0]);
	close(ends[1]);
	return n > 0 ? block[0] : 0;
}

static void splice_beside_direct(void)
{
	static _Alignas(BLOCK) char block[BLOCK];
	int direct = open_or_fail(path, O_RDWR | O_DIRECT), plain = open_or_fail(path, O_RDWR);

	for (int i = 0; i < 10; i++) {
		char c = (char)('0' + i), got;

		memset(block, c, BLOCK);
		CHECK(pwrite(direct, block, BLOCK, 0) == BLOCK, "pwrite");
		got = spliced(plain);
		CHECK(got == c || got == 0, "splice gives %c after %c was written", got, c);
		CHECK(first_byte(plain) == c, "read gives other bytes than were written");
	}
	CHECK(close(direct) == 0 && close(plain) == 0, "close");
}

static atomic_bool writes_done;

static void *open_and_close(void *arg)
{
	while (!atomic_load(&writes_done))
		close(open_or_fail(path, O_RDONLY));
	return NULL;
}

static void *commit_again(void *arg)
{
	const char *where = arg;

	while (!atomic_load(&writes_done))
		CHECK(setxattr(where, "user.cmfs.commit", "now", 3, 0) == 0, "commit");
	return NULL;
}

static void *read_all(void *arg)
{
	static char all[16 * BLOCK];
	int fd = *(int *)arg;

	while (!atomic_load(&writes_done))
		CHECK(pread(fd, all, sizeof(all), 0) >= 0, "pread");
	return NULL;
}

/* By @fd, beside reads by @reader and @disturb(@arg); both are closed then. */
static void write_beside(int fd, int reader, unsigned long writes, void *(*disturb)(void *),
			 void *arg)
{
	static char block[BLOCK], got[BLOCK];
	pthread_t threads[2];

	CHECK(pthread_create(&threads[0], NULL, disturb, arg) == 0, "pthread_create");
	CHECK(pthread_create(&threads[1], NULL, read_all, &reader) == 0, "pthread_create");
	for (unsigned long i = 0; i < writes; i++) {
		off_t off = (off_t)(i % 16) * BLOCK;

		memset(block, (int)i, BLOCK);
		CHECK(pwrite(fd, block, BLOCK, off) == BLOCK, "pwrite");
		CHECK(pread(fd, got, BLOCK, off) == BLOCK, "pread");
		CHECK(memcmp(block, got, BLOCK) == 0,
		      "write %lu: its handle reads what was there before it", i);
	}
	atomic_store(&writes_done, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	CHECK(close(fd) == 0 && close(reader) == 0, "close");
}

static void opens_beside_writes(unsigned long writes, const char *mode)
{
	int fd = open_or_fail(path, O_RDWR), reader = open_or_fail(path, O_RDONLY);

	CHECK(setxattr(path, "user.cmfs.cache", mode, strlen(mode), 0) == 0, "cache=%s", mode);
	write_beside(fd, reader, writes, open_and_close, NULL);
}

static void commits_beside_writes(unsigned long writes, char *where)
{
	int fd = open_or_fail(path, O_RDWR), reader = open_or_fail(path, O_RDONLY);

	write_beside(fd, reader, writes, commit_again, where);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	path = argv[2];
	if (strcmp(argv[1], "outlive") == 0 && argc == 5)
		outlive(strcmp(argv[3], "dsync") == 0 ? O_DSYNC : 0, argv[4]);
	else if (strcmp(argv[1], "map-edges") == 0 && argc >= 4)
		map_edges(strtoul(argv[3], NULL, 10), argc > 4);
	else if (strcmp(argv[1], "aio-edges") == 0 && argc == 4)
		aio_edges(strtoul(argv[3], NULL, 10));
	else if (strcmp(argv[1], "splice") == 0)
		splice_beside_direct();
	else if (strcmp(argv[1], "opens") == 0 && argc == 5)
		opens_beside_writes(strtoul(argv[3], NULL, 10), argv[4]);
	else if (strcmp(argv[1], "commits") == 0 && argc == 5)
		commits_beside_writes(strtoul(argv[3], NULL, 10), argv[4]);
	else
		return 2;
	return 0;
}
