// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads and writes of every kind on an image, checked against a model.
 *
 * usage: io_checks IMAGE HOST MODEL
 *   IMAGE is in a mount, HOST is the file behind it; what IMAGE must hold at the
 *   end goes to MODEL.
 */
#include "model.h"

#include <stdint.h>
#include <sys/uio.h>

static const char *image;
static struct model model;

/* A way to write: flags of the open, flags set by F_SETFL, flags of each write. */
static const struct way {
	const char *name;
	int open, setfl, rwf;
} ways[] = {
	{ "plain", 0, 0, 0 },
	{ "O_SYNC", O_SYNC, 0, 0 },
	{ "O_DSYNC", O_DSYNC, 0, 0 },
	{ "O_DIRECT", O_DIRECT, 0, 0 },
	{ "O_DIRECT|O_DSYNC", O_DIRECT | O_DSYNC, 0, 0 },
	{ "O_DIRECT|O_SYNC", O_DIRECT | O_SYNC, 0, 0 },
	{ "O_DIRECT by F_SETFL", 0, O_DIRECT, 0 },
	{ "RWF_DSYNC", 0, 0, RWF_DSYNC },
	{ "RWF_SYNC", 0, 0, RWF_SYNC },
	{ "O_DIRECT, RWF_DSYNC", O_DIRECT, 0, RWF_DSYNC },
};

static int open_way(const struct way *way)
{
	int fd = open_or_fail(image, O_RDWR | way->open);

	if (way->setfl)
		CHECK(fcntl(fd, F_SETFL, way->setfl) == 0, "%s: F_SETFL", way->name);
	return fd;
}

/* Write new bytes; @off's parity makes the buffer's address odd, too. */
static void put(int fd, const struct way *way, size_t off, size_t len)
{
	struct iovec iov = { model.data + off, len };

	model_put(&model, off, len);
	CHECK(pwritev2(fd, &iov, 1, off, way->rwf) == (ssize_t)len, "%s: write %zu at %zu",
	      way->name, len, off);
	model_expect(&model, fd, off > 9000 ? off - 9000 : 0, len + 18000, way->name);
}

static void write_each_way(void)
{
	static const struct {
		size_t off, len;
	} writes[] = { { 0, 4096 },  { 1, 1 },		 { 511, 2 },	  { 4095, 4098 },
		       { 512, 512 }, { 12345, 777 },	 { 8192, 512 },	  { 7, 40000 },
		       { 8191, 1 },  { 100000, 300000 }, { 65536, 65536 } };

	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		int fd = open_way(&ways[w]);

		for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
			put(fd, &ways[w], writes[i].off, writes[i].len);
		put(fd, &ways[w], model.size - 3, 10);	   /* over the end */
		put(fd, &ways[w], model.size, 1);	   /* at the end */
		put(fd, &ways[w], model.size + 1000, 533); /* leaving a gap */
		put(fd, &ways[w], (model.size | 4095) + 1, 4096);
		model_expect_all(&model, fd, ways[w].name);
		CHECK(close(fd) == 0, "%s: close", ways[w].name);
	}
}

static void append_each_way(void)
{
	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		struct way way = ways[w];
		int fd;

		way.open |= O_APPEND;
		way.setfl |= way.setfl ? O_APPEND : 0;
		fd = open_way(&way);
		for (size_t len = 1; len < 10000; len = len * 3 + 1) {
			size_t end = model.size;

			model_put(&model, end, len);
			CHECK(write(fd, model.data + end, len) == (ssize_t)len, "%s: append",
			      way.name);
			model_expect(&model, fd, end - 100, len + 200, way.name);
		}
		CHECK(close(fd) == 0, "%s: close", way.name);

		fd = open_way(&ways[w]);
		model_put(&model, model.size, 101);
		CHECK(pwritev2(fd, &(struct iovec){ model.data + model.size - 101, 101 }, 1, 5,
			       RWF_APPEND | way.rwf) == 101,
		      "%s: RWF_APPEND", way.name);
		model_expect(&model, fd, 0, MODEL_MAX, "RWF_APPEND");
		CHECK(close(fd) == 0, "%s: close", way.name);
	}
}

static void vectors(int flags)
{
	int fd = open_or_fail(image, O_RDWR | flags);
	size_t off = 54321, len = 1 + 5000 + 333;
	char a[1], b[5000], c[333], rest[1000];
	struct iovec out[] = { { model.data + off, 1 },
			       { model.data + off + 1, 5000 },
			       { model.data + off + 5001, 333 } };
	struct iovec in[] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };
	struct iovec end[] = { { a, sizeof(a) }, { rest, sizeof(rest) } };

	model_put(&model, off, len);
	CHECK(pwritev(fd, out, 3, off) == (ssize_t)len, "pwritev");
	CHECK(preadv(fd, in, 3, off) == (ssize_t)len, "preadv");
	CHECK(a[0] == model.data[off] && memcmp(b, model.data + off + 1, 5000) == 0 &&
		      memcmp(c, model.data + off + 5001, 333) == 0,
	      "preadv got other bytes than pwritev wrote");

	CHECK(preadv(fd, end, 2, model.size - 500) == 500, "preadv over the end");
	CHECK(memcmp(rest, model.data + model.size - 499, 499) == 0, "the file's last bytes");
	CHECK(pread(fd, rest, 1, model.size) == 0, "pread at the end");
	CHECK(pread(fd, rest, sizeof(rest), model.size + 1) == 0, "pread after the end");
	CHECK(pread(fd, rest, sizeof(rest), 1ll << 62) == 0, "pread far after the end");
	CHECK(pread(fd, rest, 100, INT64_MAX - 4097) == 0, "pread very far after the end");
	CHECK(pread(fd, rest, 100, INT64_MAX - 100) == 0, "pread at the end of all offsets");
	CHECK(close(fd) == 0, "close");
}

/* Where the host's largest file ends is its own business; what it refuses, we do. */
static void far_offsets(int flags)
{
	static const int64_t before_end[] = { 1, 50, 100, 511, 4096, 5000, 1 << 20 };
	int fd = open_or_fail(image, O_RDWR | flags);
	size_t size = model.size;

	for (size_t i = 0; i < sizeof(before_end) / sizeof(before_end[0]); i++) {
		int64_t off = INT64_MAX - before_end[i];

		if (pwrite(fd, model.data, 100, off) > 0)
			CHECK(ftruncate(fd, size) == 0, "ftruncate");
		else
			CHECK(errno == EFBIG || errno == EINVAL, "pwrite at %#jx", (uintmax_t)off);
		if (fallocate(fd, 0, off, 100) == 0)
			CHECK(ftruncate(fd, size) == 0, "ftruncate");
		else
			CHECK(errno == EFBIG || errno == EINVAL || errno == ENOSPC,
			      "fallocate at %#jx", (uintmax_t)off);
		if (ftruncate(fd, off) == 0)
			CHECK(ftruncate(fd, size) == 0, "ftruncate");
		else
			CHECK(errno == EFBIG || errno == EINVAL, "ftruncate to %#jx",
			      (uintmax_t)off);
	}
	/* None of these was a failure of the image (P5). */
	CHECK(fsync(fd) == 0, "fsync after refused offsets");
	put(fd, &ways[0], 1000, 1000);
	model_expect_all(&model, fd, "after refused offsets");
	CHECK(close(fd) == 0, "close");
}

static void truncating_open(int flags)
{
	int fd = open_or_fail(image, O_RDWR | O_TRUNC | flags);

	model_resize(&model, 0);
	model_expect_all(&model, fd, "O_TRUNC");
	put(fd, &ways[0], 5000, 3 << 20); /* three requests, and unaligned ones */
	put(fd, &ways[0], 1001, 1);
	model_expect_all(&model, fd, "written after O_TRUNC");
	CHECK(close(fd) == 0, "close");
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: io_checks IMAGE HOST MODEL\n");
		return 2;
	}
	image = argv[1];
	model = model_load(argv[2]);
	write_each_way();
	append_each_way();
	vectors(0);
	vectors(O_DIRECT);
	far_offsets(0);
	far_offsets(O_DIRECT);
	truncating_open(0);
	truncating_open(O_DIRECT);
	truncating_open(O_DSYNC);
	model_store(&model, argv[3]);
	return 0;
}
