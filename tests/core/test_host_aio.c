// SPDX-License-Identifier: GPL-2.0-or-later
/* aio=: the same answers whatever does the host I/O, on real files. */
#include "harness.h"
#include "host_file.h"

#include "host_aio.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>

#define MIB (1024 * 1024)

static enum cmfs_aio aio; /* the one that is tested */

/* Opened with O_DIRECT where the directory can; @ret_align: what that demands. */
static int open_file(const char *path, uint32_t *ret_align)
{
	bool direct = host_has_direct();
	int fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));

	assert_true(fd >= 0);
	*ret_align = direct ? 4096 : 1;
	return fd;
}

static char *new_buffer(size_t len, int fill)
{
	char *buf = aligned_alloc(65536, (len + 65535) / 65536 * 65536);

	assert_non_null(buf);
	memset(buf, fill, len);
	return buf;
}

/* ---- data ---- */

/* From below a part to several of them, with a rest that is one block or a large part. */
static const size_t lengths[] = {
	4096,
	65536,
	512 * 1024,
	512 * 1024 + 4096,
	768 * 1024 - 4096,
	768 * 1024,
	768 * 1024 + 4096,
	MIB,
	MIB + 8192,
	3 * MIB + 4096,
	20 * MIB,
};

static void test_what_is_written_in_parts_is_read_in_parts(void **state)
{
	const char *path = host_file_make("image", 'x', 24 * MIB);
	char *out = new_buffer(20 * MIB, 0), *in = new_buffer(20 * MIB, 0);
	uint32_t align;
	int fd = open_file(path, &align);
	struct rnd rnd;
	size_t got;

	rnd_init(&rnd, aio);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint64_t off = 4096 * (1 + rnd_below(&rnd, 500));

		rnd_fill(&rnd, out, lengths[i]);
		assert_int_equal(cmfs_host_aio_write(aio, fd, out, lengths[i], off, 0, true), 0);
		assert_true(host_file_holds(path, off, out, lengths[i]));
		memset(in, 0, lengths[i]);
		assert_int_equal(cmfs_host_aio_read(aio, fd, align, in, lengths[i], off, &got), 0);
		assert_int_equal(got, lengths[i]);
		assert_memory_equal(in, out, lengths[i]);
	}
	assert_int_equal(host_file_size(path), 24 * MIB);
	close(fd);
	free(out);
	free(in);
}

/* Wherever among its parts the content ends, also right between two. */
static void test_read_over_the_end_is_short_by_what_is_missing(void **state)
{
	static const size_t sizes[] = {
		0, 1, 4096, 5000, 512 * 1024 - 1, 512 * 1024, 512 * 1024 + 1, 700001, MIB, MIB + 17,
	};
	char *buf = new_buffer(2 * MIB, 0), *expected = new_buffer(2 * MIB, 'x');
	uint32_t align;
	size_t got;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *path = host_file_make("image", 'x', sizes[i]);
		int fd = open_file(path, &align);

		got = 77;
		assert_int_equal(cmfs_host_aio_read(aio, fd, align, buf, 2 * MIB, 0, &got), 0);
		assert_int_equal(got, sizes[i]);
		assert_memory_equal(buf, expected, got);
		assert_int_equal(cmfs_host_aio_read(aio, fd, align, buf, 4096, 4 * MIB, &got), 0);
		assert_int_equal(got, 0);
		close(fd);
	}
	free(buf);
	free(expected);
}

static void test_a_list_of_reads_reads_each(void **state)
{
	const char *path = host_file_make("image", 'x', 3 * 4096 + 100);
	struct cmfs_read reads[CMFS_READ_LIST_MAX];
	char *buf = new_buffer(65536, 0);
	uint32_t align;
	int fd = open_file(path, &align);

	for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
		reads[i] = (struct cmfs_read){ buf + i * 4096, 4096, i * 4096, 77 };
	assert_int_equal(cmfs_host_aio_read_list(aio, fd, align, reads, ARRAY_SIZE(reads)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
		assert_int_equal(reads[i].got, i < 3 ? 4096 : i == 3 ? 100 : 0);
	for (size_t i = 0; i < 3 * 4096 + 100; i++)
		assert_int_equal(buf[i], 'x');
	assert_int_equal(cmfs_host_aio_read_list(aio, fd, align, reads, 0), 0);
	close(fd);
	free(buf);
}

/* Durability has no sign that a test can see here; the flags must be taken, and no other. */
static void test_flags_of_a_write_reach_the_kernel(void **state)
{
	const char *path = host_file_make("image", 'x', 65536);
	char *buf = new_buffer(65536, 'y');
	uint32_t align;
	int fd = open_file(path, &align);

	assert_int_equal(cmfs_host_aio_write(aio, fd, buf, 4096, 0, RWF_DSYNC, false), 0);
	assert_int_equal(cmfs_host_aio_write(aio, fd, buf, 4096, 4096, RWF_SYNC, false), 0);
	assert_true(host_file_holds(path, 0, buf, 8192));
	assert_int_equal(cmfs_host_aio_write(aio, fd, buf, 4096, 0, 1 << 30, false), -EOPNOTSUPP);
	close(fd);
	free(buf);
}

/* ---- errors ---- */

static void test_errors_of_the_descriptor_are_told(void **state)
{
	const char *path = host_file_make("image", 'x', MIB);
	int readonly = open(path, O_RDONLY | O_CLOEXEC);
	int writeonly = open(path, O_WRONLY | O_CLOEXEC);
	struct cmfs_read reads[2];
	char *buf = new_buffer(MIB, 'y');
	size_t got;

	assert_int_equal(cmfs_host_aio_write(aio, readonly, buf, MIB, 0, 0, true), -EBADF);
	assert_int_equal(cmfs_host_aio_read(aio, writeonly, 1, buf, MIB, 0, &got), -EBADF);
	reads[0] = reads[1] = (struct cmfs_read){ buf, 512, 0, 0 };
	assert_int_equal(cmfs_host_aio_read_list(aio, writeonly, 1, reads, 2), -EBADF);
	close(readonly);
	close(writeonly);
	free(buf);
}

/* The limit cuts the second part: it is short, and what is left of it cannot be written. */
static void test_a_part_that_is_short_is_gone_on_with_until_its_error(void **state)
{
	const char *path = host_file_make("image", 'x', 2 * MIB);
	const size_t limit = 512 * 1024 + 128 * 1024;
	const struct rlimit short_files = { limit, RLIM_INFINITY };
	const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	char *buf = new_buffer(MIB, 'y');
	uint32_t align;
	int fd = open_file(path, &align);

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &short_files), 0);
	assert_int_equal(cmfs_host_aio_write(aio, fd, buf, MIB, 0, 0, true), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &any), 0);
	assert_true(host_file_holds(path, 0, buf, limit));
	assert_true(host_file_holds(path, limit, "xxxx", 4));
	close(fd);
	free(buf);
}

static atomic_uint signals;

static void count_signal(int number)
{
	signals++;
}

/* A signal may end a wait for the kernel, but not the request. */
static void test_signals_meanwhile_change_nothing(void **state)
{
	const struct sigaction action = { .sa_handler = count_signal };
	const struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	const char *path = host_file_make("image", 'x', 4 * MIB);
	char *buf = new_buffer(4 * MIB, 0), *in = new_buffer(4 * MIB, 0);
	uint32_t align;
	int fd = open_file(path, &align);
	size_t got;

	signals = 0;
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	for (int i = 0; i < 500 && (i < 10 || signals < 100); i++) {
		memset(buf, i, 4 * MIB);
		assert_int_equal(cmfs_host_aio_write(aio, fd, buf, 4 * MIB, 0, 0, true), 0);
		assert_int_equal(cmfs_host_aio_read(aio, fd, align, in, 4 * MIB, 0, &got), 0);
		assert_int_equal(got, 4 * MIB);
		assert_memory_equal(in, buf, 4 * MIB);
	}
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_true(signals > 0);
	signal(SIGALRM, SIG_DFL);
	close(fd);
	free(buf);
	free(in);
}

/* ---- threads ---- */

struct work {
	struct thread thread;
	int fd, fill;
	uint32_t align;
};

static void write_and_read(void *arg)
{
	struct work *w = arg;
	const size_t len = MIB + 8192;
	uint64_t off = (uint64_t)w->fill * 2 * MIB;
	char *buf = new_buffer(len, 0), *in = new_buffer(len, 0);
	size_t got = 0;

	for (int i = 0; i < 10; i++) {
		memset(buf, w->fill * 10 + i, len);
		THREAD_CHECK(cmfs_host_aio_write(aio, w->fd, buf, len, off, 0, true) == 0);
		THREAD_CHECK(cmfs_host_aio_read(aio, w->fd, w->align, in, len, off, &got) == 0);
		THREAD_CHECK(got == len && memcmp(in, buf, len) == 0);
	}
	free(buf);
	free(in);
}

/* What of the process' memory belongs to queues of the kernel. */
static size_t queue_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[1024];
	size_t n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "[aio]") || strstr(line, "[io_uring]");
	fclose(f);
	return n;
}

static void test_each_thread_has_a_queue_until_its_end(void **state)
{
	const char *path = host_file_make("image", 'x', 16 * MIB);
	struct work work[8];
	uint32_t align;
	int fd = open_file(path, &align);
	size_t before = host_descriptors(), mappings = queue_mappings();

	assert_int_equal(mappings > 0, aio != CMFS_AIO_THREADS); /* the main thread's */
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(work); i++) {
			work[i] = (struct work){ .fd = fd, .fill = (int)i, .align = align };
			thread_start(&work[i].thread, write_and_read, &work[i]);
		}
		for (size_t i = 0; i < ARRAY_SIZE(work); i++)
			thread_join(&work[i].thread);
		assert_int_equal(host_descriptors(), before);
		assert_int_equal(queue_mappings(), mappings);
	}
	close(fd);
}

/* ---- is it there? ---- */

static void test_parts_are_for_large_volatile_direct_writes(void **state)
{
	const struct cmfs_open_how direct = { .direct = true }, cached = { 0 };
	const struct cmfs_open_how dsync = { .direct = true, .dsync = true };

	assert_int_equal(cmfs_host_aio_parts_pay(aio, &direct, 0, MIB), aio == CMFS_AIO_NATIVE);
	assert_false(cmfs_host_aio_parts_pay(aio, &direct, 0, 512 * 1024));
	assert_false(cmfs_host_aio_parts_pay(aio, &direct, RWF_DSYNC, MIB));
	assert_false(cmfs_host_aio_parts_pay(aio, &dsync, 0, MIB));
	assert_false(cmfs_host_aio_parts_pay(aio, &cached, 0, MIB));
}

static bool skip_without(void)
{
	struct cmfs_err err = { "" };
	int r = cmfs_host_aio_check(aio, "image", &err);

	assert_true(r == 0 || strstr(err.msg, "image: aio="));
	if (r < 0)
		print_message("skipped: %s\n", err.msg);
	return r < 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, host_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_written_in_parts_is_read_in_parts),
		TEST(test_read_over_the_end_is_short_by_what_is_missing),
		TEST(test_a_list_of_reads_reads_each),
		TEST(test_flags_of_a_write_reach_the_kernel),
		TEST(test_errors_of_the_descriptor_are_told),
		TEST(test_a_part_that_is_short_is_gone_on_with_until_its_error),
		TEST(test_signals_meanwhile_change_nothing),
		TEST(test_each_thread_has_a_queue_until_its_end),
		TEST(test_parts_are_for_large_volatile_direct_writes),
	};
	int failed = 0;

	for (aio = 0; aio < CMFS_AIOS; aio++) {
		if (!skip_without())
			failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
