// SPDX-License-Identifier: GPL-2.0-or-later
/* An image's contract at its borders: what is refused, and what does nothing. */
#include "harness.h"

#include "image_util.h"

#include <errno.h>
#include <string.h>

static void test_readonly_image_refuses_changes(void **state)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };
	struct mem_image m, other;
	size_t got;
	char buf[10];

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		mem_image_open_readonly(&m, mode);
		mem_image_open(&other, mode, NULL);
		assert_true(cmfs_image_readonly(m.image));
		assert_false(cmfs_image_readonly(other.image));
		assert_int_equal(mem_image_fill(&m, 'x', 10, 0, CMFS_VOLATILE), -EROFS);
		assert_int_equal(cmfs_image_truncate(m.image, 0), -EROFS);
		assert_int_equal(cmfs_image_allocate(m.image, CMFS_ALLOC_ZERO, true, 0, 10),
				 -EROFS);
		assert_int_equal(cmfs_image_copy(other.image, 0, m.image, 0, 10, &got), -EROFS);
		assert_int_equal(cmfs_image_chmod(m.image, 0600), -EROFS);
		assert_int_equal(cmfs_image_chown(m.image, 0, 0), -EROFS);
		assert_int_equal(cmfs_image_utimens(m.image, times), -EROFS);
		assert_int_equal(cmfs_image_setxattr(m.image, "user.a", "b", 1, 0), -EROFS);
		assert_int_equal(cmfs_image_removexattr(m.image, "user.a"), -EROFS);

		assert_int_equal(cmfs_image_read(m.image, buf, 10, 0, &got), 0);
		assert_int_equal(cmfs_image_copy(m.image, 0, other.image, 0, 10, &got), 0);
		assert_int_equal(cmfs_image_flush(m.image, false), 0);
		assert_int_equal(mem_image_close(&m), 0);
		mem_image_finish(&m);
		mem_image_finish(&other);
	}
}

static void test_requests_of_no_bytes_do_nothing(void **state)
{
	struct mem_image m;
	size_t got;

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		mem_image_open(&m, mode, NULL);
		for (uint64_t off = 0; off < 3000; off += 1111) {
			got = 99;
			assert_int_equal(cmfs_image_read(m.image, NULL, 0, off, &got), 0);
			assert_int_equal(got, 0);
			got = 99;
			assert_int_equal(
				cmfs_image_write(m.image, NULL, 0, off, CMFS_DURABLE_ALL, &got), 0);
			assert_int_equal(got, 0);
			got = 99;
			assert_int_equal(cmfs_image_copy(m.image, off, m.image, off, 0, &got), 0);
			assert_int_equal(got, 0);
			assert_int_equal(
				cmfs_image_allocate(m.image, CMFS_ALLOC_ZERO, false, off, 0),
				-EINVAL); /* as fallocate(2) has it */
		}
		assert_int_equal(mem_store_size(m.store, MEM_NOW), 0);
		mem_image_finish(&m);
	}
}

static void test_requests_at_the_end_of_all_offsets_fail_without_harm(void **state)
{
	static const uint64_t far[] = { INT64_MAX - 9, INT64_MAX, (uint64_t)INT64_MAX + 1,
					UINT64_MAX - 9, UINT64_MAX };
	struct mem_image m;
	char buf[10];
	size_t got;
	uint64_t pos;

	for (int n = 0; n < CMFS_CACHE_MODES * MEM_KINDS; n++) {
		mem_image_open(&m, (enum cmfs_cache_mode)(n / MEM_KINDS),
			       &mem_kinds[n % MEM_KINDS]);
		for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
			assert_int_equal(cmfs_image_read(m.image, buf, 10, far[i], &got), 0);
			assert_int_equal(got, 0);
			assert_int_equal(mem_image_fill(&m, 'x', 10, far[i], CMFS_VOLATILE),
					 -EFBIG);
			assert_int_equal(cmfs_image_truncate(m.image, far[i]), -EFBIG);
			assert_int_equal(
				cmfs_image_allocate(m.image, CMFS_ALLOC_ZERO, false, far[i], 10),
				-EFBIG);
			assert_int_equal(cmfs_image_seek(m.image, CMFS_SEEK_DATA, far[i], &pos),
					 -ENXIO);
			assert_true(cmfs_image_copy(m.image, 0, m.image, far[i], 10, &got) <= 0);
			assert_true(cmfs_image_copy(m.image, far[i], m.image, 0, 10, &got) <= 0);
			assert_int_equal(got, 0);
		}
		/* None of it counts as a failure of the image (P5). */
		assert_int_equal(cmfs_image_error(m.image), 0);
		assert_int_equal(mem_store_size(m.store, MEM_NOW), 0);
		mem_image_finish(&m);
	}
}

static const struct mem_config fixed_kinds[] = {
	{ .direct = { 512, 512, 4096 }, .fixed_size = true, .size = 2048 },
	{ .direct = { 512, 4, 4096 }, .fixed_size = true, .size = 2048, .fua = CMFS_FUA_NATIVE },
	{ .direct = { 1024, 4, 4096 }, .fixed_size = true, .size = 2048, .copy = true },
};

static void test_fixed_size_write_across_the_end_is_short_and_past_it_refused(void **state)
{
	char bytes[200];
	struct mem_image m;
	size_t done;

	memset(bytes, 'x', sizeof(bytes));
	for (int n = 0; n < CMFS_CACHE_MODES * (int)ARRAY_SIZE(fixed_kinds); n++) {
		mem_image_open(&m, (enum cmfs_cache_mode)(n % CMFS_CACHE_MODES),
			       &fixed_kinds[n / CMFS_CACHE_MODES]);
		assert_true(cmfs_image_fixed_size(m.image));
		for (int asked = CMFS_VOLATILE; asked <= CMFS_DURABLE_ALL; asked++) {
			enum cmfs_durability d = (enum cmfs_durability)asked;

			assert_int_equal(cmfs_image_write(m.image, bytes, 200, 1900, d, &done), 0);
			assert_int_equal(done, 148);
			done = 99;
			assert_int_equal(cmfs_image_write(m.image, bytes, 1, 2048, d, &done),
					 -ENOSPC);
			assert_int_equal(done, 0);
			assert_int_equal(cmfs_image_write(m.image, bytes, 1, 9999, d, &done),
					 -ENOSPC);
		}
		assert_true(mem_image_holds(&m, MEM_NOW, 'x', 148, 1900));
		assert_int_equal(mem_store_size(m.store, MEM_NOW), 2048);
		assert_int_equal(cmfs_image_error(m.image), 0); /* no failure (P5) */
		mem_image_finish(&m);
	}
}

static void test_fixed_size_is_not_changed_by_truncate_allocate_or_copy(void **state)
{
	struct mem_image m;
	size_t done;

	for (int n = 0; n < CMFS_CACHE_MODES * (int)ARRAY_SIZE(fixed_kinds); n++) {
		mem_image_open(&m, (enum cmfs_cache_mode)(n % CMFS_CACHE_MODES),
			       &fixed_kinds[n / CMFS_CACHE_MODES]);
		assert_int_equal(mem_image_fill(&m, 'x', 2048, 0, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_image_truncate(m.image, 2048), 0);
		assert_int_equal(cmfs_image_truncate(m.image, 0), -EINVAL);
		assert_int_equal(cmfs_image_truncate(m.image, 2049), -EINVAL);
		assert_int_equal(mem_disk_count(m.disk, MEM_TRUNCATE), 0);

		assert_int_equal(cmfs_image_allocate(m.image, CMFS_ALLOC_ZERO, false, 2000, 100),
				 -ENOSPC);
		assert_int_equal(cmfs_image_allocate(m.image, CMFS_ALLOC_ZERO, true, 2048, 100), 0);
		assert_true(mem_image_holds(&m, MEM_NOW, 'x', 2048, 0));
		assert_int_equal(cmfs_image_allocate(m.image, CMFS_ALLOC_ZERO, true, 2000, 100), 0);
		assert_true(mem_image_holds(&m, MEM_NOW, 0, 48, 2000));
		assert_int_equal(cmfs_image_allocate(m.image, CMFS_ALLOC_PUNCH, true, 1000, 9999),
				 0);
		assert_true(mem_image_holds(&m, MEM_NOW, 0, 1048, 1000));

		assert_int_equal(cmfs_image_copy(m.image, 0, m.image, 1948, 500, &done), 0);
		assert_int_equal(done, 100);
		assert_true(mem_image_holds(&m, MEM_NOW, 'x', 100, 1948));
		assert_int_equal(cmfs_image_copy(m.image, 0, m.image, 2048, 500, &done), -ENOSPC);
		assert_int_equal(mem_store_size(m.store, MEM_NOW), 2048);
		assert_int_equal(cmfs_image_error(m.image), 0);
		mem_image_finish(&m);
	}
}

static void test_metadata_when_the_backend_has_none_is_not_supported(void **state)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };
	struct mem_image m;
	struct statvfs vfs;
	struct stat st;
	char buf[10];

	mem_image_open(&m, CMFS_CACHE_WRITEBACK, NULL);
	assert_int_equal(mem_image_fill(&m, 'x', 10, 0, CMFS_VOLATILE), 0);
	assert_int_equal(cmfs_image_getattr(m.image, &st), 0);
	assert_int_equal(st.st_size, 10);
	assert_int_equal(cmfs_image_chmod(m.image, 0600), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_chown(m.image, 0, 0), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_utimens(m.image, times), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_statvfs(m.image, &vfs), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_getxattr(m.image, "user.a", buf, 10), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_setxattr(m.image, "user.a", "b", 1, 0), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_removexattr(m.image, "user.a"), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_listxattr(m.image, buf, 10), -EOPNOTSUPP);
	mem_image_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readonly_image_refuses_changes),
		cmocka_unit_test(test_requests_of_no_bytes_do_nothing),
		cmocka_unit_test(test_requests_at_the_end_of_all_offsets_fail_without_harm),
		cmocka_unit_test(test_fixed_size_write_across_the_end_is_short_and_past_it_refused),
		cmocka_unit_test(test_fixed_size_is_not_changed_by_truncate_allocate_or_copy),
		cmocka_unit_test(test_metadata_when_the_backend_has_none_is_not_supported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
