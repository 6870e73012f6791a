// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mappings of an image against read(), write(), other mappings and the host file.
 *
 * usage: map_checks IMAGE HOST MODEL
 *   IMAGE is in a mount, HOST is the file behind it. The last stores are left
 *   without an msync; what IMAGE must hold once it is unmounted goes to MODEL.
 */
#include "model.h"

#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096

static const char *image, *host;
static struct model model;

static char *map(int fd, int flags)
{
	char *p = mmap(NULL, model.size, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(p != MAP_FAILED, "mmap, flags %#x", (unsigned int)flags);
	return p;
}

static void unmap(char *p)
{
	CHECK(munmap(p, model.size) == 0, "munmap");
}

/* Store new bytes through a mapping. */
static void store(char *p, size_t off, size_t len)
{
	model_put(&model, off, len);
	memcpy(p + off, model.data + off, len);
}

static void expect_map(const char *p, const char *what)
{
	for (size_t i = 0; i < model.size; i++)
		CHECK(p[i] == model.data[i], "%s: byte %zu of the mapping is %#x, not %#x", what, i,
		      p[i] & 0xffu, model.data[i] & 0xffu);
}

/* Through a handle of its own. */
static void expect_read(const char *path, const char *what)
{
	int fd = open_or_fail(path, O_RDONLY);

	model_expect_all(&model, fd, what);
	close(fd);
}

static void shared_then_msync(void)
{
	int fd = open_or_fail(image, O_RDWR);
	char *p = map(fd, MAP_SHARED);

	expect_map(p, "shared, untouched");
	store(p, 5000, 10000);
	CHECK(msync(p, model.size, MS_SYNC) == 0, "msync");
	model_expect_all(&model, fd, "read() on its handle after msync");
	expect_read(image, "read() on another handle after msync");
	expect_read(host, "the host file after msync");
	store(p, 5001, 3);
	model_expect_all(&model, fd, "read() on its handle after a store");
	expect_read(image, "read() on another handle after a store");
	unmap(p);
	CHECK(close(fd) == 0, "close");
}

static void private_stays_private(void)
{
	int fd = open_or_fail(image, O_RDWR);
	char *p = map(fd, MAP_PRIVATE);

	expect_map(p, "private, untouched");
	memset(p + PAGE, 'P', 3 * PAGE);
	model_expect_all(&model, fd, "read() after private stores");
	unmap(p);
	CHECK(close(fd) == 0, "close");
	expect_read(host, "the host file after private stores");
}

static void put(int fd, size_t off, size_t len)
{
	model_put(&model, off, len);
	CHECK(pwrite(fd, model.data + off, len, off) == (ssize_t)len, "pwrite");
}

static void mixed_with_write(void)
{
	int fd = open_or_fail(image, O_RDWR), other = open_or_fail(image, O_WRONLY);
	char *p = map(fd, MAP_SHARED);

	expect_map(p, "before the write");
	put(fd, 3 * PAGE + 7, 2 * PAGE);
	expect_map(p, "after a write on its handle");
	put(other, 7 * PAGE - 1, 77);
	expect_map(p, "after a write on another handle");
	store(p, 10 * PAGE + 10, 10);
	put(fd, 10 * PAGE + 2000, 10);
	put(other, 10 * PAGE + 1000, 10);
	store(p, 10 * PAGE + 3000, 10);
	expect_map(p, "stores and writes in one page");
	model_expect_all(&model, fd, "read() after stores and writes in one page");
	close(other);
	unmap(p);
	CHECK(close(fd) == 0, "close");
}

/* Wait until the other process says so; the pipe holds one byte per word. */
static void await(int fd)
{
	char c;

	CHECK(read(fd, &c, 1) == 1, "the other process went away");
}

static void tell(int fd)
{
	CHECK(write(fd, "", 1) == 1, "write to a pipe");
}

static void two_processes(void)
{
	int fd = open_or_fail(image, O_RDWR), up[2], down[2], status;
	pid_t child;

	CHECK(pipe(up) == 0 && pipe(down) == 0, "pipe");
	child = fork();
	CHECK(child >= 0, "fork");
	if (child == 0) {
		int own = open_or_fail(image, O_RDWR);
		char *p = map(own, MAP_SHARED);

		store(p, 20 * PAGE + 1, 5000);
		tell(up[1]);
		model_put(&model, 22 * PAGE, 500); /* what the parent stores */
		await(down[0]);
		expect_map(p, "the child's, after the parent's store");
		exit(0);
	} else {
		char *p = map(fd, MAP_SHARED);

		model_put(&model, 20 * PAGE + 1, 5000); /* the same bytes: the same seed */
		await(up[0]);
		expect_map(p, "the parent's, after the child's store");
		store(p, 22 * PAGE, 500);
		tell(down[1]);
		CHECK(waitpid(child, &status, 0) == child && status == 0, "the child failed");
		unmap(p);
	}
	model_expect_all(&model, fd, "read() after two processes' stores");
	CHECK(close(fd) == 0, "close");
}

/* The last page is mapped whole; what lies beyond the end is not in the file. */
static void odd_end(void)
{
	int fd = open_or_fail(image, O_RDWR);
	char *p = map(fd, MAP_SHARED);

	CHECK(model.size % PAGE > 0 && model.size % PAGE < PAGE - 200, "an odd size is needed");
	store(p, model.size - 3, 3);
	memset(p + model.size, 'x', 100);
	CHECK(msync(p, model.size, MS_SYNC) == 0, "msync");
	model_expect_all(&model, fd, "after a store beyond the end");
	unmap(p);
	CHECK(ftruncate(fd, model.size + 200) == 0, "ftruncate");
	model_resize(&model, model.size + 200);
	model_expect_all(&model, fd, "grown over a store beyond the end");
	expect_read(host, "the host file, grown over a store beyond the end");
	CHECK(close(fd) == 0, "close");
}

static void stores_left_behind(void)
{
	int fd = open_or_fail(image, O_RDWR);
	char *p = map(fd, MAP_SHARED);

	store(p, 30 * PAGE - 5, 3 * PAGE);
	unmap(p);
	CHECK(close(fd) == 0, "close");

	fd = open_or_fail(image, O_RDWR);
	p = map(fd, MAP_SHARED);
	CHECK(close(fd) == 0, "close");
	store(p, 40 * PAGE - 5, 3 * PAGE);
	unmap(p);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: map_checks IMAGE HOST MODEL\n");
		return 2;
	}
	image = argv[1];
	host = argv[2];
	model = model_load(host);
	shared_then_msync();
	private_stays_private();
	mixed_with_write();
	two_processes();
	odd_end();
	stores_left_behind();
	model_store(&model, argv[3]);
	return 0;
}
