// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the file backend makes of a device that fails: a loop device whose own file
 * has no room left, so that writing back what the page cache took fails.
 */
#include "harness.h"
#include "host_file.h"

#include "cmfs/image.h"
#include "host_aio.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/*
 * In a mount namespace of our own, which takes it all with it when we end. The
 * image has blocks on the device, but the device has none for them.
 */
static const char make_device[] =
	"set -e; exec >/dev/null 2>&1\n"
	"mount -t tmpfs -o size=24m none '%1$s'; cd '%1$s'\n"
	"truncate -s 48M disk; mkdir mnt\n"
	"dev=$(losetup -f --show disk)\n"
	"trap 'losetup -d $dev' EXIT\n" /* mounted, it lives on until the umount */
	"mkfs.ext4 -q -b 4096 -O ^has_journal -E lazy_itable_init=0,nodiscard $dev\n"
	"mount -o errors=continue $dev mnt\n"
	"truncate -s 700 mnt/image; fallocate -n -l 1M mnt/image; sync\n"
	"! head -c 32M /dev/zero >fill\n";

static void make_failing_device(void)
{
	char script[2048];

	snprintf(script, sizeof(script), make_device, host_path("."));
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    system(script) != 0) {
		print_message("skipped: cannot set up a loop device (root, losetup, mkfs.ext4)\n");
		umount2(host_path("."), MNT_DETACH);
		skip();
	}
}

static void remove_device(void)
{
	umount2(host_path("mnt"), MNT_DETACH);
	umount2(host_path("."), MNT_DETACH);
}

static struct cmfs_host_options options; /* aio: the one that is tested */

static void check_lost_write_is_reported(enum cmfs_cache_mode mode, uint64_t off, size_t len)
{
	struct cmfs_open_how how = cmfs_image_open_how(mode, false);
	struct cmfs_image *image;
	struct cmfs_backend *be;
	char *buf = calloc(1, len);
	int write, flush;
	size_t done;

	assert_non_null(buf);
	make_failing_device();
	assert_int_equal(cmfs_backend_file_open(host_path("mnt/image"), &how, &options, &be, NULL),
			 0);
	assert_int_equal(cmfs_image_create(be, mode, &image, NULL), 0);
	write = cmfs_image_write(image, buf, len, off, CMFS_VOLATILE, &done);
	flush = cmfs_image_flush(image, true);
	/* One of them must say so, and from then on every flush. */
	assert_true(write < 0 || flush < 0);
	assert_true(flush == 0 || cmfs_image_flush(image, true) == -EIO);
	cmfs_image_close(image);
	remove_device();
	free(buf);
}

static void test_flush_when_the_page_cache_lost_a_write_fails(void **state)
{
	check_lost_write_is_reported(CMFS_CACHE_WRITEBACK, 700, 5);
}

static void test_flush_when_an_exact_end_was_lost_fails(void **state)
{
	check_lost_write_is_reported(CMFS_CACHE_NONE, 700, 5);
}

static void test_flush_when_an_edge_beyond_whole_blocks_was_lost_fails(void **state)
{
	check_lost_write_is_reported(CMFS_CACHE_NONE, 9000, 3);
}

/* The kernel's own error, of whichever part: nothing is made of it on the way. */
static void test_direct_write_that_the_device_refuses_fails(void **state)
{
	const struct cmfs_open_how how = { .direct = true };
	struct cmfs_backend *be;
	char *buf = aligned_alloc(65536, 1024 * 1024);
	uint64_t size = 0;
	int r;

	assert_non_null(buf);
	memset(buf, 1, 1024 * 1024);
	make_failing_device();
	assert_int_equal(cmfs_backend_file_open(host_path("mnt/image"), &how, &options, &be, NULL),
			 0);
	assert_int_equal(cmfs_backend_truncate(be, 1024 * 1024), 0);
	r = cmfs_backend_write(be, buf, 1024 * 1024, 0, CMFS_VOLATILE);
	assert_true(r == -ENOSPC || r == -EIO);
	r = cmfs_backend_write(be, buf, 65536, 65536, CMFS_DURABLE_DATA);
	assert_true(r == -ENOSPC || r == -EIO);
	assert_int_equal(cmfs_backend_size(be, &size), 0);
	assert_int_equal(size, 1024 * 1024);
	cmfs_backend_close(be);
	remove_device();
	free(buf);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, host_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_flush_when_the_page_cache_lost_a_write_fails),
		TEST(test_flush_when_an_exact_end_was_lost_fails),
		TEST(test_flush_when_an_edge_beyond_whole_blocks_was_lost_fails),
		TEST(test_direct_write_that_the_device_refuses_fails),
	};
	int failed = 0;

	for (options.aio = 0; options.aio < CMFS_AIOS; options.aio++) {
		if (cmfs_host_aio_check(options.aio, "aio", NULL) == 0)
			failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
