// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writers that know what was acknowledged and what of it was durable, a power cut
 * under them, and a check of what survived; again and again.
 *
 *   powercut_writer FILE CUTS SEED [OPTION...]
 *
 * FILE is a mounted image of 1 MiB or more with the power-cut layer. Each of four
 * threads has a slice of it and writes runs of its sectors; all words of a write are
 * one number, higher than any before. After a while the power is cut (random or torn,
 * in turn), the threads' requests fail, and each sector must have nothing older
 * than what was durable, nothing that was never written to it, and only one write's.
 *
 *   durable     each acknowledged write is (a sync mode)
 *   fsync       the threads fsync or fdatasync now and then: then all is that was
 *               acknowledged before
 *   rwf         some writes have RWF_DSYNC: they are
 *   ignored     durability is ignored (unsafe): nothing is, whatever is asked for
 *   direct      O_DIRECT
 *   dsync       O_DSYNC: each acknowledged write is durable
 *   kind=WORD   cuts of that kind only: lose, keep, random, torn, prefix
 *
 * Prints "cuts=N acked=N lost=N": the cuts made, writes acknowledged, and sectors in
 * which an acknowledged write was lost. Status 1 if a durable one was.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define THREADS 4
#define SECTOR	512
#define WORDS	(SECTOR / 8)
#define SECTORS 512 /* of a thread */
#define RUN_MAX 24  /* sectors of a write */

static struct {
	const char *path;
	const char *kind; /* NULL: random and torn in turn */
	bool durable, fsync, rwf, ignored;
	int flags;
} opt;

/* A thread's numbers of each of its sectors. */
struct writer {
	pthread_t thread;
	int fd, index;
	unsigned int seed;
	uint64_t number;	   /* the last that was used */
	uint64_t written[SECTORS]; /* at most this one is there */
	uint64_t acked[SECTORS];
	uint64_t durable[SECTORS]; /* at least this one is */
	long acks;
	int error; /* that ended it */
};

static struct writer writers[THREADS];

static off_t place(const struct writer *w, int sector)
{
	return ((off_t)w->index * SECTORS + sector) * SECTOR;
}

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* Returns 0 or an errno. */
static int write_run(struct writer *w, uint64_t *buf)
{
	int start = rand_r(&w->seed) % SECTORS, n = 1 + rand_r(&w->seed) % RUN_MAX;
	bool rwf = opt.rwf && rand_r(&w->seed) % 4 == 0;
	bool durable = !opt.ignored && (opt.durable || rwf || (opt.flags & O_DSYNC));
	struct iovec iov = { .iov_base = buf };
	uint64_t number = ++w->number;

	if (n > SECTORS - start)
		n = SECTORS - start;
	iov.iov_len = (size_t)n * SECTOR;
	for (int i = 0; i < n * WORDS; i++)
		buf[i] = number;
	for (int i = start; i < start + n; i++)
		w->written[i] = number;
	if (pwritev2(w->fd, &iov, 1, place(w, start), rwf ? RWF_DSYNC : 0) != n * SECTOR)
		return errno ? errno : EIO;
	for (int i = start; i < start + n; i++) {
		w->acked[i] = number;
		if (durable)
			w->durable[i] = number;
	}
	w->acks++;
	return 0;
}

static int flush(struct writer *w)
{
	if ((rand_r(&w->seed) % 2 ? fsync(w->fd) : fdatasync(w->fd)) < 0)
		return errno;
	if (!opt.ignored)
		memcpy(w->durable, w->acked, sizeof(w->durable));
	return 0;
}

static void *run(void *arg)
{
	struct writer *w = arg;
	uint64_t *buf = aligned_alloc(4096, RUN_MAX * SECTOR);

	errno = 0;
	w->error = 0;
	while (!w->error) {
		if (opt.fsync && rand_r(&w->seed) % 12 == 0)
			w->error = flush(w);
		else
			w->error = write_run(w, buf);
	}
	free(buf);
	return NULL;
}

/* Returns how many sectors have lost something acknowledged; ends if it was durable. */
static long check(struct writer *w, int fd)
{
	static uint64_t slice[SECTORS][WORDS];
	long lost = 0;

	if (pread(fd, slice, sizeof(slice), place(w, 0)) != sizeof(slice))
		die("read");
	for (int i = 0; i < SECTORS; i++) {
		const uint64_t *buf = slice[i];
		uint64_t lowest = UINT64_MAX;

		for (int word = 0; word < WORDS; word++) {
			if (buf[word] < lowest)
				lowest = buf[word];
			if (buf[word] >= w->durable[i] && buf[word] <= w->written[i] &&
			    buf[word] == buf[0])
				continue;
			printf("thread %d, sector %d, word %d: %ju; durable %ju, written %ju\n",
			       w->index, i, word, (uintmax_t)buf[word], (uintmax_t)w->durable[i],
			       (uintmax_t)w->written[i]);
			exit(1);
		}
		lost += lowest < w->acked[i];
		/* What is there now is what survived, and no cut takes it. */
		w->durable[i] = w->acked[i] = lowest;
	}
	return lost;
}

/* On the folder: on the file it would wait for writes that are under way. */
static void cut(const char *spec)
{
	char *copy = strdup(opt.path);

	if (!copy || setxattr(dirname(copy), "user.cmfs.powercut", spec, strlen(spec), 0) < 0)
		die("user.cmfs.powercut");
	free(copy);
}

static void cut_at_random(int number, unsigned int seed)
{
	const char *kind = opt.kind ? opt.kind : number % 3 == 2 ? "torn" : "random";
	char spec[64];

	if (strcmp(kind, "lose") == 0 || strcmp(kind, "keep") == 0)
		snprintf(spec, sizeof(spec), "%s", kind);
	else
		snprintf(spec, sizeof(spec), "%s:%u", kind,
			 strcmp(kind, "prefix") == 0 ? seed % 20 : seed);
	cut(spec);
}

/* Zeroes, and durable, in unsafe too. */
static void empty(void)
{
	static const char zeroes[THREADS * SECTORS * SECTOR];
	int fd = open(opt.path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, zeroes, sizeof(zeroes), 0) != sizeof(zeroes))
		die(opt.path);
	cut("keep");
	close(fd);
}

static void boot(void)
{
	for (int i = 0; i < THREADS; i++) {
		writers[i].fd = open(opt.path, opt.flags);
		if (writers[i].fd < 0)
			die(opt.path);
		if (pthread_create(&writers[i].thread, NULL, run, &writers[i]) != 0)
			die("thread");
	}
}

static long end(void)
{
	int fd = open(opt.path, O_RDONLY | O_CLOEXEC);
	long lost = 0;

	if (fd < 0)
		die(opt.path);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(writers[i].thread, NULL);
		if (writers[i].error != EIO) {
			printf("a writer ended with %s\n", strerrorname_np(writers[i].error));
			exit(1);
		}
		close(writers[i].fd);
	}
	for (int i = 0; i < THREADS; i++)
		lost += check(&writers[i], fd);
	close(fd);
	return lost;
}

static void set_option(const char *word)
{
	static const struct {
		const char *word;
		bool *set;
		int flag;
	} options[] = {
		{ "durable", &opt.durable, 0 }, { "fsync", &opt.fsync, 0 },
		{ "rwf", &opt.rwf, 0 },		{ "ignored", &opt.ignored, 0 },
		{ "direct", NULL, O_DIRECT },	{ "dsync", NULL, O_DSYNC },
	};

	if (strncmp(word, "kind=", 5) == 0) {
		opt.kind = word + 5;
		return;
	}
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strcmp(word, options[i].word) != 0)
			continue;
		if (options[i].set)
			*options[i].set = true;
		opt.flags |= options[i].flag;
		return;
	}
	fprintf(stderr, "powercut_writer: %s?\n", word);
	exit(2);
}

int main(int argc, char **argv)
{
	long lost = 0, acks = 0;
	unsigned int seed;
	int cuts;

	if (argc < 4)
		return 2;
	opt.path = argv[1];
	opt.flags = O_RDWR | O_CLOEXEC;
	cuts = atoi(argv[2]);
	seed = (unsigned int)atoi(argv[3]);
	for (int i = 4; i < argc; i++)
		set_option(argv[i]);
	for (int i = 0; i < THREADS; i++) {
		writers[i].index = i;
		writers[i].seed = seed * THREADS + (unsigned int)i;
	}
	empty();
	for (int i = 0; i < cuts; i++) {
		boot();
		usleep(500 + (useconds_t)rand_r(&seed) % 15000);
		cut_at_random(i, (unsigned int)rand_r(&seed));
		lost += end();
	}
	for (int i = 0; i < THREADS; i++)
		acks += writers[i].acks;
	printf("cuts=%d acked=%ld lost=%ld\n", cuts, acks, lost);
	return 0;
}
