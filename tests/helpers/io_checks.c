// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads and writes of every kind on an image, checked against a model.
 *
 * usage: io_checks IMAGE HOST MODEL [direct] [direct,dsync]
 *   IMAGE is in a mount, HOST is the file behind it; what IMAGE must hold at the
 *   end goes to MODEL, beside HOST. Handles with the flags at the end are served by
 *   the kernel: they refuse what such handles of MODEL refuse, and nothing else.
 */
#include "model.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

static const char *image, *host, *twin; /* the twin is beside the host file */
static struct model model;
static bool as_host[2]; /* O_DIRECT without and with O_DSYNC */

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

static bool is_as_host(int flags)
{
	return (flags & O_DIRECT) && as_host[!!(flags & O_DSYNC)];
}

/* The errno with which the host refuses a read that is not aligned, or 0. */
static int host_refuses_read(int flags, const struct iovec *iov, int count, off_t off)
{
	int fd = open_or_fail(host, O_RDONLY | flags);
	int r = preadv(fd, iov, count, off) < 0 ? errno : 0;

	CHECK(close(fd) == 0, "%s: close", host);
	return r;
}

/*
 * Open the image. The kernel serves a handle only while no cached one is open, and
 * a handle that was closed is released a moment later: wait for it.
 */
static int open_image(int flags)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	int wanted = is_as_host(flags) ? host_refuses_read(flags & O_DIRECT, &iov, 1, 1) : 0;

	if (wanted == 0)
		return open_or_fail(image, flags);
	for (int i = 0; i < 1000; i++) {
		int probe = open_or_fail(image, flags & ~O_TRUNC);
		bool is_served = preadv(probe, &iov, 1, 1) < 0 && errno == wanted;
		int fd = is_served ? open_or_fail(image, flags) : -1;

		CHECK(close(probe) == 0, "close");
		if (is_served)
			return fd;
		usleep(10000);
	}
	CHECK(false, "a handle with flags %#o is not served by the kernel", flags);
	return -1;
}

static int open_way(const struct way *way)
{
	int fd = open_image(O_RDWR | way->open);

	if (way->setfl)
		CHECK(fcntl(fd, F_SETFL, way->setfl) == 0, "%s: F_SETFL", way->name);
	return fd;
}

static int host_refuses_write(int flags, const struct iovec *iov, int count, off_t off)
{
	int fd = open_or_fail(twin, O_RDWR | O_CREAT | flags);
	int r = pwritev(fd, iov, count, off) < 0 ? errno : 0;

	CHECK(close(fd) == 0, "%s: close", twin);
	return r;
}

/*
 * pwritev2(2), where O_DIRECT is the host's in two steps if the host refuses it: it
 * is refused, and done without O_DIRECT.
 */
static ssize_t write_as_host(int fd, int flags, const struct iovec *iov, int count, off_t off,
			     int rwf)
{
	bool append = (flags & O_APPEND) || (rwf & RWF_APPEND);
	off_t at = append ? (off_t)file_size(fd) : off;
	int wanted = is_as_host(flags) ? host_refuses_write(flags & ~O_APPEND, iov, count, at) : 0;
	ssize_t n = pwritev2(fd, iov, count, off, rwf);

	if (wanted == 0)
		return n;
	CHECK(n < 0 && errno == wanted, "write at %jd: %zd, not refused as on the host (%s)",
	      (intmax_t)at, n, strerrorname_np(wanted));
	fd = open_image(O_RDWR | (flags & ~O_DIRECT));
	n = pwritev2(fd, iov, count, off, rwf);
	CHECK(close(fd) == 0, "close");
	return n;
}

/* model_expect(); in that other handle as well if the host refuses to read this. */
static void expect_as_host(int fd, int flags, size_t off, size_t len, const char *what)
{
	static _Alignas(4096) char buf[MODEL_MAX];
	struct iovec iov = { buf, len };
	int wanted = is_as_host(flags) ? host_refuses_read(flags, &iov, 1, off) : 0;

	if (wanted == 0) {
		model_expect(&model, fd, off, len, what);
		return;
	}
	CHECK(preadv(fd, &iov, 1, off) < 0 && errno == wanted,
	      "%s: read at %zu: not refused as on the host", what, off);
	fd = open_image(O_RDONLY);
	model_expect(&model, fd, off, len, what);
	CHECK(close(fd) == 0, "close");
}

/* Write new bytes; @off's parity makes the buffer's address odd, too. */
static void put(int fd, const struct way *way, size_t off, size_t len)
{
	struct iovec iov = { model.data + off, len };

	model_put(&model, off, len);
	CHECK(write_as_host(fd, way->open, &iov, 1, off, way->rwf) == (ssize_t)len,
	      "%s: write %zu at %zu", way->name, len, off);
	expect_as_host(fd, way->open, off > 9000 ? off - 9000 : 0, len + 18000, way->name);
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
		expect_as_host(fd, ways[w].open, 0, MODEL_MAX, ways[w].name);
		CHECK(close(fd) == 0, "%s: close", ways[w].name);
	}
}

static void append_each_way(void)
{
	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		struct way way = ways[w];
		struct iovec iov;
		int fd;

		way.open |= O_APPEND;
		way.setfl |= way.setfl ? O_APPEND : 0;
		fd = open_way(&way);
		for (size_t len = 1; len < 10000; len = len * 3 + 1) {
			size_t end = model.size;

			model_put(&model, end, len);
			iov = (struct iovec){ model.data + end, len };
			/* O_APPEND: wherever it is told to */
			CHECK(write_as_host(fd, way.open, &iov, 1, -1, 0) == (ssize_t)len,
			      "%s: append", way.name);
			expect_as_host(fd, way.open, end - 100, len + 200, way.name);
		}
		CHECK(close(fd) == 0, "%s: close", way.name);

		fd = open_way(&ways[w]);
		model_put(&model, model.size, 101);
		iov = (struct iovec){ model.data + model.size - 101, 101 };
		CHECK(write_as_host(fd, ways[w].open, &iov, 1, 5, RWF_APPEND | way.rwf) == 101,
		      "%s: RWF_APPEND", way.name);
		expect_as_host(fd, ways[w].open, 0, MODEL_MAX, "RWF_APPEND");
		CHECK(close(fd) == 0, "%s: close", way.name);
	}
}

static void vectors(int flags)
{
	int fd = open_image(O_RDWR | flags);
	size_t off = 54321, len = 1 + 5000 + 333;
	char a[1], b[5000], c[333], rest[1000];
	struct iovec out[] = { { model.data + off, 1 },
			       { model.data + off + 1, 5000 },
			       { model.data + off + 5001, 333 } };
	struct iovec in[] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };
	struct iovec end[] = { { a, sizeof(a) }, { rest, sizeof(rest) } };

	model_put(&model, off, len);
	CHECK(write_as_host(fd, flags, out, 3, off, 0) == (ssize_t)len, "pwritev");
	if (is_as_host(flags) && host_refuses_read(flags, in, 3, off)) {
		CHECK(preadv(fd, in, 3, off) < 0 && errno == EINVAL, "preadv is not refused");
		CHECK(close(fd) == 0, "close");
		fd = open_image(O_RDONLY);
	}
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
	const struct way way = { "far offsets", flags, 0, 0 };
	static const int64_t before_end[] = { 1, 50, 100, 511, 4096, 5000, 1 << 20 };
	int fd = open_image(O_RDWR | flags);
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
	put(fd, &way, 1000, 1000);
	expect_as_host(fd, flags, 0, MODEL_MAX, "after refused offsets");
	CHECK(close(fd) == 0, "close");
}

static void truncating_open(int flags)
{
	const struct way way = { "O_TRUNC", flags, 0, 0 };
	int fd = open_image(O_RDWR | O_TRUNC | flags);

	model_resize(&model, 0);
	expect_as_host(fd, flags, 0, MODEL_MAX, "O_TRUNC");
	put(fd, &way, 5000, 3 << 20); /* three requests, and unaligned ones */
	put(fd, &way, 1001, 1);
	expect_as_host(fd, flags, 0, MODEL_MAX, "written after O_TRUNC");
	CHECK(close(fd) == 0, "close");
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: io_checks IMAGE HOST MODEL [direct] [direct,dsync]\n");
		return 2;
	}
	image = argv[1];
	host = argv[2];
	twin = argv[3];
	for (int i = 4; i < argc; i++)
		as_host[strcmp(argv[i], "direct,dsync") == 0] = true;
	model = model_load(host);
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
