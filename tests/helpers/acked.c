// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A writer that keeps account of what was acknowledged.
 *
 *   acked write FILE ACKS [direct] [dsync]
 *       writes 4 KiB blocks of FILE at random until a write fails; each block is
 *       a number repeated, one more than the block had before. Once the write has
 *       returned, the number goes to the block's place in ACKS, a file that is
 *       shared memory. Prints "COUNT ERRNO" at the end: the writes acknowledged
 *       and why the next one was not, "stopped" after SIGTERM. Several may run
 *       at a time with ACKS of their own and a slice each: ACKS' name ends in .0
 *       to .9, the slice.
 *   acked check FILE ACKS
 *       every acknowledged block is in FILE; one that was being written when the
 *       writer ended may be old or new, each 512 bytes of it for themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK  4096
#define WORDS  (BLOCK / sizeof(uint64_t))
#define BLOCKS 128 /* in a slice: 512 KiB */

static volatile sig_atomic_t stop;

static void on_term(int signal)
{
	stop = signal;
}

static off_t slice(const char *acks)
{
	return (acks[strlen(acks) - 1] - '0') * (off_t)BLOCKS * BLOCK;
}

static _Atomic uint64_t *map_acks(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *map;

	if (fd < 0 || ftruncate(fd, BLOCKS * sizeof(uint64_t)) < 0) {
		perror(path);
		exit(1);
	}
	map = mmap(NULL, BLOCKS * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror(path);
		exit(1);
	}
	return map;
}

static int write_blocks(int fd, off_t off, _Atomic uint64_t *acks)
{
	uint64_t *block = aligned_alloc(BLOCK, BLOCK);
	unsigned int seed = (unsigned int)getpid();
	long count = 0;

	signal(SIGTERM, on_term);
	for (; !stop; count++) {
		int i = rand_r(&seed) % BLOCKS;
		uint64_t number = atomic_load(&acks[i]) + 1;

		for (size_t w = 0; w < WORDS; w++)
			block[w] = number;
		if (pwrite(fd, block, BLOCK, off + (off_t)i * BLOCK) != BLOCK)
			break;
		atomic_store(&acks[i], number);
	}
	printf("%ld %s\n", count, stop ? "stopped" : strerrorname_np(errno));
	free(block);
	return 0;
}

static int check_blocks(int fd, off_t off, _Atomic uint64_t *acks)
{
	uint64_t block[WORDS];
	long total = 0, in_flight = 0;

	for (int i = 0; i < BLOCKS; i++) {
		uint64_t number = atomic_load(&acks[i]);

		if (pread(fd, block, BLOCK, off + (off_t)i * BLOCK) != BLOCK) {
			perror("read");
			return 1;
		}
		for (size_t w = 0; w < WORDS; w++) {
			if (block[w] != number && block[w] != number + 1) {
				printf("block %d of the slice: %ju acknowledged, %ju there\n", i,
				       (uintmax_t)number, (uintmax_t)block[w]);
				return 1;
			}
		}
		total += (long)number;
		in_flight += block[0] != number;
	}
	printf("%ld acknowledged writes are there, %ld that were under way\n", total, in_flight);
	return in_flight > 1; /* a writer has one under way */
}

int main(int argc, char **argv)
{
	int flags = O_RDWR | O_CLOEXEC, fd;

	if (argc < 4)
		return 2;
	for (int i = 4; i < argc; i++)
		flags |= strcmp(argv[i], "direct") == 0 ? O_DIRECT : O_DSYNC;
	fd = open(argv[2], flags);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	if (strcmp(argv[1], "check") == 0)
		return check_blocks(fd, slice(argv[3]), map_acks(argv[3]));
	return write_blocks(fd, slice(argv[3]), map_acks(argv[3]));
}
