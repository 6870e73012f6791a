// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The block device backend on loop devices: exact to the byte in every mode (P9), nothing
 * in the page cache in direct modes (P6), claimed as long as an opening for writing is there.
 */
#include "harness.h"
#include "host_file.h"

#include "cmfs/image.h"
#include "host_aio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define SIZE (96 * 1024)
#define OPS  250

static char device[64];

/* The device of a file in the test directory; its end is the end of the test. */
static void attach(const char *options, uint64_t size)
{
	char command[1024];
	FILE *p;

	snprintf(command, sizeof(command), "losetup --show -f %s '%s' 2>/dev/null", options,
		 host_file_make("disk", 'd', size));
	p = popen(command, "re");
	if (!p || fscanf(p, "%63s", device) != 1)
		device[0] = '\0';
	if (p)
		pclose(p);
	if (device[0])
		return;
	print_message("skipped: cannot set up a loop device (root, losetup)\n");
	skip();
}

static void detach(void)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (device[0] && fd >= 0)
		ioctl(fd, LOOP_CLR_FD, 0);
	if (fd >= 0)
		close(fd);
	device[0] = '\0';
}

static int teardown(void **state)
{
	detach(); /* of a test that has failed */
	return host_dir_teardown(state);
}

static struct cmfs_host_options host; /* aio: the one that is tested */

static struct cmfs_backend *open_how(struct cmfs_open_how how)
{
	struct cmfs_backend *be;
	struct cmfs_err err = { "" };

	if (cmfs_backend_blkdev_open(device, &how, &host, &be, &err) < 0)
		fail_msg("%s", err.msg);
	return be;
}

static struct cmfs_image *open_image(enum cmfs_cache_mode mode)
{
	struct cmfs_image *image;

	assert_int_equal(
		cmfs_image_create(open_how(cmfs_image_open_how(mode, false)), mode, &image, NULL),
		0);
	return image;
}

/* ---- random operations against a model ---- */

struct model {
	struct cmfs_image *image;
	struct rnd rnd;
	uint8_t bytes[SIZE], buf[SIZE + 512];
};

static void random_write(struct model *m, uint64_t off, uint64_t len)
{
	uint8_t *buf = m->buf + rnd_below(&m->rnd, 512);
	enum cmfs_durability asked = (enum cmfs_durability)rnd_below(&m->rnd, 3);
	uint64_t fits = len < SIZE - off ? len : SIZE - off;
	size_t done;

	rnd_fill(&m->rnd, buf, len);
	assert_int_equal(cmfs_image_write(m->image, buf, len, off, asked, &done), 0);
	assert_int_equal(done, fits);
	memcpy(m->bytes + off, buf, fits);
}

static void random_zeroes(struct model *m, uint64_t off, uint64_t len)
{
	enum cmfs_alloc what = rnd_below(&m->rnd, 2) ? CMFS_ALLOC_PUNCH : CMFS_ALLOC_ZERO;
	uint64_t fits = len < SIZE - off ? len : SIZE - off;

	assert_int_equal(cmfs_image_allocate(m->image, what, true, off, len), 0);
	memset(m->bytes + off, 0, fits);
}

static void random_operation(struct model *m)
{
	uint64_t off = rnd_below(&m->rnd, SIZE - 1), len;

	if (rnd_below(&m->rnd, 4) == 0)
		off -= off % 512;
	len = 1 + rnd_below(&m->rnd, rnd_below(&m->rnd, 4) == 0 ? 20000 : 700);
	if (rnd_below(&m->rnd, 3) == 0)
		random_zeroes(m, off, len);
	else
		random_write(m, off, len);
}

static void check_model(struct model *m)
{
	size_t got;

	assert_int_equal(cmfs_image_read(m->image, m->buf + 3, SIZE + 100, 0, &got), 0);
	assert_int_equal(got, SIZE);
	assert_memory_equal(m->buf + 3, m->bytes, SIZE);
	if (cmfs_cache_props(cmfs_image_cache(m->image))->direct &&
	    host_file_cached(device) != -ENOSYS)
		assert_int_equal(host_file_cached(device), 0);
}

static void run_model(struct model *m, enum cmfs_cache_mode mode, bool switches, uint64_t seed)
{
	m->image = open_image(mode);
	memset(m->bytes, 'd', SIZE);
	rnd_init(&m->rnd, seed);
	for (int i = 0; i < OPS; i++) {
		random_operation(m);
		if (switches)
			mode = (enum cmfs_cache_mode)rnd_below(&m->rnd, CMFS_CACHE_MODES);
		if (switches)
			assert_int_equal(cmfs_image_set_cache(m->image, mode, NULL), 0);
		check_model(m);
	}
	assert_int_equal(cmfs_image_close(m->image), 0);
	detach();
	assert_true(host_file_holds(host_path("disk"), 0, m->bytes, SIZE));
}

static void test_random_operations_match_the_model(void **state)
{
	static const char *const options[] = { "", "-b 4096" };
	static struct model m;

	for (int n = 0; n < (CMFS_CACHE_MODES + 1) * 2; n++) {
		attach(options[n % 2], SIZE);
		run_model(&m, (enum cmfs_cache_mode)(n / 2 % CMFS_CACHE_MODES),
			  n / 2 == CMFS_CACHE_MODES, (uint64_t)n);
	}
}

/* ---- what it is ---- */

static void test_size_follows_the_device(void **state)
{
	struct cmfs_backend *be;
	struct stat st;
	uint64_t size;
	int fd;

	attach("", SIZE);
	be = open_how((struct cmfs_open_how){ .direct = true });
	assert_true(be->geo.fixed_size);
	assert_int_equal(cmfs_backend_size(be, &size), 0);
	assert_int_equal(size, SIZE);
	host_file_make("disk", 'd', 2 * SIZE);
	fd = open(device, O_RDONLY | O_CLOEXEC);
	assert_int_equal(ioctl(fd, LOOP_SET_CAPACITY, 0), 0);
	close(fd);
	assert_int_equal(cmfs_backend_size(be, &size), 0);
	assert_int_equal(size, 2 * SIZE);
	assert_int_equal(cmfs_backend_getattr(be, &st), 0);
	assert_int_equal(st.st_size, 2 * SIZE);
	assert_int_equal(st.st_rdev, 0);
	assert_true(S_ISREG(st.st_mode));
	cmfs_backend_close(be);
	detach();
}

/* The kernel reaches no part of a block. */
static void test_part_of_a_block_at_the_end_does_not_count(void **state)
{
	char *buf = aligned_alloc(4096, 16384);
	struct cmfs_backend *be;
	uint64_t size;
	size_t got;

	assert_non_null(buf);
	attach("-b 4096", 8192 + 512);
	for (int direct = 0; direct < 2; direct++) {
		be = open_how((struct cmfs_open_how){ .direct = direct });
		assert_int_equal(cmfs_backend_size(be, &size), 0);
		assert_int_equal(size, 8192);
		assert_int_equal(cmfs_backend_read(be, buf, 16384, 0, &got), 0);
		assert_int_equal(got, 8192);
		assert_int_equal(cmfs_backend_read(be, buf, 4096, 8192, &got), 0);
		assert_int_equal(got, 0);
		cmfs_backend_close(be);
	}
	detach();
	free(buf);
}

static void test_geometry_is_of_the_logical_block(void **state)
{
	static const char *const options[] = { "", "-b 4096" };
	struct cmfs_backend *be;

	for (int i = 0; i < 2; i++) {
		attach(options[i], SIZE);
		be = open_how((struct cmfs_open_how){ .direct = true });
		assert_int_equal(be->geo.align, i ? 4096 : 512);
		assert_true(be->geo.mem_align <= be->geo.align);
		assert_true(be->geo.exact_block >= (uint32_t)sysconf(_SC_PAGESIZE));
		cmfs_backend_close(be);
		detach();
	}
}

/* ---- the claim ---- */

static int open_exclusively(void)
{
	int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);

	return fd < 0 ? -errno : close(fd);
}

static void test_claim_lasts_until_the_last_opening_is_closed(void **state)
{
	struct cmfs_backend *be, *second, *other;
	struct cmfs_err err;

	attach("", SIZE);
	be = open_how((struct cmfs_open_how){ .direct = false });
	assert_int_equal(open_exclusively(), -EBUSY);
	assert_int_equal(cmfs_backend_blkdev_open(device, &be->how, NULL, &other, &err), -EBUSY);
	assert_non_null(strstr(err.msg, device));
	assert_int_equal(
		cmfs_backend_reopen(be, &(struct cmfs_open_how){ .direct = true }, &second, &err),
		0);
	cmfs_backend_close(be);
	assert_int_equal(open_exclusively(), -EBUSY);
	cmfs_backend_close(second);
	assert_int_equal(open_exclusively(), 0);
	detach();
}

static void test_readers_share_the_device_with_a_claim(void **state)
{
	struct cmfs_backend *reader;
	int claim;

	attach("", SIZE);
	claim = open(device, O_RDWR | O_EXCL | O_CLOEXEC);
	assert_true(claim >= 0);
	reader = open_how((struct cmfs_open_how){ .readonly = true });
	close(claim);
	assert_int_equal(open_exclusively(), 0);
	cmfs_backend_close(reader);
	detach();
}

/* ---- what is refused ---- */

static int refused(const char *path, bool readonly, const char *reason)
{
	struct cmfs_err err = { "" };
	struct cmfs_backend *be;
	int r = cmfs_backend_blkdev_open(path, &(struct cmfs_open_how){ .readonly = readonly },
					 NULL, &be, &err);

	if (!strstr(err.msg, path) || !strstr(err.msg, reason))
		fail_msg("%s", err.msg);
	return r;
}

static void test_what_cannot_be_an_image_is_refused(void **state)
{
	char detached[sizeof(device)];

	attach("", SIZE);
	strcpy(detached, device);
	detach();
	assert_int_equal(refused(detached, false, "no size"), -ENOMEDIUM);
	assert_int_equal(refused(host_path("disk"), false, "not a block device"), -ENOTBLK);
	assert_int_equal(refused("/dev/null", false, "not a block device"), -ENOTBLK);
	assert_int_equal(refused(host_path("nothing"), false, "No such file"), -ENOENT);

	attach("-r", SIZE);
	assert_int_equal(refused(device, false, "write-protected"), -EROFS);
	cmfs_backend_close(open_how((struct cmfs_open_how){ .readonly = true }));
	detach();
}

static void test_metadata_is_the_hosts_business(void **state)
{
	struct cmfs_backend *be;
	struct statvfs vfs;

	attach("", SIZE);
	be = open_how((struct cmfs_open_how){ .direct = false });
	assert_int_equal(be->ops->meta->chmod(be, 0600), -EPERM);
	assert_int_equal(be->ops->meta->chown(be, 0, 0), -EPERM);
	assert_int_equal(be->ops->meta->statvfs(be, &vfs), 0);
	assert_int_equal(vfs.f_blocks * vfs.f_frsize, SIZE);
	assert_int_equal(vfs.f_bfree, 0);
	cmfs_backend_close(be);
	detach();
}

/* Where a part or one of a list begins beyond it, too. */
static void test_reads_and_writes_at_the_end_of_the_device(void **state)
{
	const size_t mib = 1024 * 1024;
	char *buf = aligned_alloc(65536, 2 * mib);
	struct cmfs_backend *be;
	struct cmfs_read reads[3];
	size_t got;

	assert_non_null(buf);
	attach("", mib + 65536);
	be = open_how((struct cmfs_open_how){ .direct = true });
	memset(buf, 'e', 2 * mib);
	assert_int_equal(cmfs_backend_write(be, buf, mib, 65536, CMFS_VOLATILE), 0);
	assert_int_equal(cmfs_backend_write(be, buf, 2 * mib, 0, CMFS_VOLATILE), -ENOSPC);
	memset(buf, 0, 2 * mib);
	assert_int_equal(cmfs_backend_read(be, buf, 2 * mib, 0, &got), 0);
	assert_int_equal(got, mib + 65536);
	assert_int_equal(buf[got - 1], 'e');
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
		reads[i] = (struct cmfs_read){ buf + i * 65536, 65536, mib + i * 65536, 77 };
	assert_int_equal(cmfs_backend_read_list(be, reads, 3), 0);
	assert_int_equal(reads[0].got, 65536);
	assert_int_equal(reads[1].got, 0);
	assert_int_equal(reads[2].got, 0);
	assert_int_equal(cmfs_backend_read_list(be, reads, 1), 0);
	assert_int_equal(reads[0].got, 65536);
	cmfs_backend_close(be);
	detach();
	free(buf);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_random_operations_match_the_model),
		TEST(test_size_follows_the_device),
		TEST(test_part_of_a_block_at_the_end_does_not_count),
		TEST(test_geometry_is_of_the_logical_block),
		TEST(test_claim_lasts_until_the_last_opening_is_closed),
		TEST(test_readers_share_the_device_with_a_claim),
		TEST(test_what_cannot_be_an_image_is_refused),
		TEST(test_metadata_is_the_hosts_business),
		TEST(test_reads_and_writes_at_the_end_of_the_device),
	};

	int failed = 0;

	for (host.aio = 0; host.aio < CMFS_AIOS; host.aio++) {
		if (cmfs_host_aio_check(host.aio, "aio", NULL) == 0)
			failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
