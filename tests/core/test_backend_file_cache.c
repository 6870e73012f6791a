// SPDX-License-Identifier: GPL-2.0-or-later
/* P6: in direct modes nothing of the image stays in the host's page cache. */
#include "harness.h"
#include "host_file.h"

#include "cmfs/image.h"

#include <errno.h>
#include <string.h>

static const enum cmfs_cache_mode direct_modes[] = { CMFS_CACHE_NONE, CMFS_CACHE_DIRECTSYNC };

static struct cmfs_image *open_image(const char *path, enum cmfs_cache_mode mode)
{
	struct cmfs_open_how how = cmfs_image_open_how(mode, false);
	struct cmfs_image *image;
	struct cmfs_backend *be;
	struct cmfs_err err = { "" };

	if (cmfs_backend_file_open(path, &how, NULL, &be, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(cmfs_image_create(be, mode, &image, NULL), 0);
	return image;
}

static void skip_unless_it_can_be_seen(const char *path)
{
	if (!host_has_direct()) {
		print_message("skipped: no O_DIRECT in the test directory (see CMFS_TEST_DIR)\n");
		skip();
	}
	if (host_file_cached(path) == -ENOSYS) {
		print_message("skipped: no cachestat(2) in this kernel\n");
		skip();
	}
	if (host_file_cached(path) > 0) {
		print_message("skipped: the test directory's files live in the page cache\n");
		skip();
	}
}

enum kind {
	WRITE,
	READ,
	TRUNCATE,
	PUNCH,
	ZERO,
	ALLOCATE,
};

struct request {
	enum kind kind;
	uint64_t off, len;
};

static int send_request(struct cmfs_image *image, const struct request *q)
{
	static char buf[16384];
	size_t got;

	switch (q->kind) {
	case WRITE:
		return cmfs_image_write(image, buf, q->len, q->off, CMFS_VOLATILE, &got);
	case READ:
		return cmfs_image_read(image, buf, q->len, q->off, &got);
	case TRUNCATE:
		return cmfs_image_truncate(image, q->off);
	case PUNCH:
		return cmfs_image_allocate(image, CMFS_ALLOC_PUNCH, true, q->off, q->len);
	case ZERO:
		return cmfs_image_allocate(image, CMFS_ALLOC_ZERO, false, q->off, q->len);
	case ALLOCATE:
		return cmfs_image_allocate(image, CMFS_ALLOC_ALLOCATE, false, q->off, q->len);
	}
	return -EINVAL;
}

/* Each request on an uncached image of 20000 bytes, in both modes. */
static void check_leaves_nothing(const struct request *requests, size_t n)
{
	const char *path = host_file_make("image", 'x', 20000);

	skip_unless_it_can_be_seen(path);
	for (size_t i = 0; i < n * ARRAY_SIZE(direct_modes); i++) {
		const struct request *q = &requests[i / 2];
		struct cmfs_image *image;
		int64_t cached;
		int r;

		host_file_make("image", 'x', 20000);
		assert_int_equal(host_file_cached(path), 0);
		image = open_image(path, direct_modes[i % 2]);
		r = send_request(image, q);
		assert_true(r == 0 || r == -EOPNOTSUPP);
		cached = host_file_cached(path);
		if (cached != 0)
			fail_msg("request %zu (kind %d, off %llu, len %llu) left %lld bytes", i / 2,
				 q->kind, (unsigned long long)q->off, (unsigned long long)q->len,
				 (long long)cached);
		assert_int_equal(cmfs_image_close(image), 0);
	}
}

static void test_writes_leave_nothing_in_the_cache(void **state)
{
	static const struct request requests[] = {
		{ WRITE, 4096, 4096 },	{ WRITE, 512, 512 },	{ WRITE, 100, 10 },
		{ WRITE, 100, 9000 },	{ WRITE, 19990, 100 },	{ WRITE, 20000, 1 },
		{ WRITE, 20000, 480 },	{ WRITE, 16384, 9000 }, { WRITE, 0, 16001 },
		{ WRITE, 51200, 1024 }, { WRITE, 49152, 4096 }, { WRITE, 50000, 10 },
	};

	check_leaves_nothing(requests, ARRAY_SIZE(requests));
}

static void test_reads_leave_nothing_in_the_cache(void **state)
{
	static const struct request requests[] = {
		{ READ, 0, 4096 },
		{ READ, 100, 10 },
		{ READ, 100, 9000 },
		{ READ, 19990, 100 },
	};

	check_leaves_nothing(requests, ARRAY_SIZE(requests));
}

static void test_truncates_leave_nothing_in_the_cache(void **state)
{
	static const struct request requests[] = {
		{ TRUNCATE, 0 },     { TRUNCATE, 4096 },  { TRUNCATE, 100 },   { TRUNCATE, 9001 },
		{ TRUNCATE, 19999 }, { TRUNCATE, 20000 }, { TRUNCATE, 512 },   { TRUNCATE, 8704 },
		{ TRUNCATE, 20480 }, { TRUNCATE, 50000 }, { TRUNCATE, 51200 }, { TRUNCATE, 49152 },
		{ TRUNCATE, 20001 },
	};

	check_leaves_nothing(requests, ARRAY_SIZE(requests));
}

static void test_allocations_leave_nothing_in_the_cache(void **state)
{
	static const struct request requests[] = {
		{ PUNCH, 4096, 4096 },	{ PUNCH, 100, 10 },	   { PUNCH, 100, 9000 },
		{ ZERO, 4096, 4096 },	{ ZERO, 100, 10 },	   { ZERO, 4096, 100 },
		{ ALLOCATE, 0, 20000 }, { ALLOCATE, 100, 10000 },  { PUNCH, 512, 1024 },
		{ PUNCH, 512, 9216 },	{ ZERO, 512, 512 },	   { ZERO, 512, 9216 },
		{ ZERO, 19000, 9000 },	{ ALLOCATE, 30000, 1000 }, { ALLOCATE, 32768, 4096 },
	};

	check_leaves_nothing(requests, ARRAY_SIZE(requests));
}

static void test_switch_to_a_direct_mode_empties_the_cache(void **state)
{
	static const struct request cached[] = { { WRITE, 100, 9000 }, { READ, 0, 16384 } };
	const char *path = host_file_make("image", 'x', 20000);

	skip_unless_it_can_be_seen(path);
	for (enum cmfs_cache_mode from = 0; from < CMFS_CACHE_MODES; from++) {
		for (size_t i = 0; i < ARRAY_SIZE(direct_modes); i++) {
			struct cmfs_image *image = open_image(path, from);

			assert_int_equal(send_request(image, &cached[0]), 0);
			assert_int_equal(send_request(image, &cached[1]), 0);
			assert_int_equal(host_file_cached(path) == 0,
					 cmfs_cache_props(from)->direct);
			assert_int_equal(cmfs_image_set_cache(image, direct_modes[i], NULL), 0);
			assert_int_equal(host_file_cached(path), 0);
			assert_int_equal(cmfs_image_close(image), 0);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, host_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_writes_leave_nothing_in_the_cache),
		TEST(test_reads_leave_nothing_in_the_cache),
		TEST(test_truncates_leave_nothing_in_the_cache),
		TEST(test_allocations_leave_nothing_in_the_cache),
		TEST(test_switch_to_a_direct_mode_empties_the_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
