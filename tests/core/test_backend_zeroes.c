// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes of zeroes that become ranges of zeroes or holes. */
#include "harness.h"

#include "backend_zeroes.h"
#include "mem_backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 65536
#define MAX  (2 * SIZE)

static struct mem_disk *disk;
static struct cmfs_backend *be;
static char *buf; /* aligned */

static void start(bool unmap, const struct cmfs_open_how *how, enum cmfs_fua fua)
{
	const struct mem_config config = { .size = SIZE, .fua = fua, .direct = { 512, 512, 4096 } };

	disk = mem_disk_create(&config);
	assert_int_equal(cmfs_backend_zeroes_open(mem_backend_open(disk, how), unmap, &be, NULL),
			 0);
	buf = aligned_alloc(4096, MAX);
	memset(buf, 'x', SIZE);
	mem_store_write(mem_disk_store(disk), buf, SIZE, 0, true);
	memset(buf, 0, MAX);
}

static void finish(void)
{
	free(buf);
	cmfs_backend_close(be);
	mem_disk_destroy(disk);
}

static void write_zeroes(size_t len, uint64_t off, enum cmfs_durability durability)
{
	mem_disk_clear_log(disk);
	assert_int_equal(cmfs_backend_write(be, buf, len, off, durability), 0);
	assert_true(mem_store_holds(mem_disk_store(disk), MEM_NOW, off, buf, len));
}

static void expect_ops(unsigned int allocates, unsigned int writes, unsigned int flushes)
{
	assert_int_equal(mem_disk_count(disk, MEM_ALLOCATE), allocates);
	assert_int_equal(mem_disk_count(disk, MEM_WRITE), writes);
	assert_int_equal(mem_disk_count(disk, MEM_FLUSH), flushes);
}

static uint64_t size(void)
{
	return mem_store_size(mem_disk_store(disk), MEM_NOW);
}

static void test_a_write_when_it_is_zeroes_becomes_a_range_of_them(void **state)
{
	struct mem_event events[4];

	for (int unmap = 0; unmap < 2; unmap++) {
		start(unmap, &(struct cmfs_open_how){ 0 }, CMFS_FUA_NATIVE);
		write_zeroes(16384, 8192, CMFS_VOLATILE);
		expect_ops(1, 0, 0);

		/* Pages that it fills in part are written. */
		write_zeroes(16384, 8191, CMFS_VOLATILE);
		expect_ops(1, 2, 0);
		assert_int_equal(mem_disk_log(disk, events, 4), 4);
		for (int i = 0; i < 4; i++) {
			if (events[i].op == MEM_ALLOCATE) {
				assert_int_equal(events[i].off, 8192);
				assert_int_equal(events[i].len, 12288);
			}
		}
		write_zeroes(4096, 100, CMFS_VOLATILE); /* fills none */
		expect_ops(0, 1, 0);
		write_zeroes(512, 512, CMFS_VOLATILE);
		expect_ops(0, 1, 0);
		finish();
	}
}

static void test_a_write_when_one_byte_is_not_zero_is_written(void **state)
{
	static const size_t places[] = { 0, 1, 63, 64, 65, 4095, 4096, 16383 };

	start(true, &(struct cmfs_open_how){ 0 }, CMFS_FUA_NATIVE);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		buf[places[i]] = 1;
		write_zeroes(16384, 8192, CMFS_VOLATILE);
		expect_ops(0, 1, 0);
		buf[places[i]] = 0;
	}
	write_zeroes(16384, 8192, CMFS_VOLATILE); /* control */
	expect_ops(1, 0, 0);
	finish();
}

static void test_the_end_when_zeroes_are_written_past_it_is_exact(void **state)
{
	for (int unmap = 0; unmap < 2; unmap++) {
		start(unmap, &(struct cmfs_open_how){ 0 }, CMFS_FUA_NATIVE);
		write_zeroes(20000, SIZE - 8192, CMFS_VOLATILE);
		assert_int_equal(size(), SIZE - 8192 + 20000);
		write_zeroes(16384, 69632, CMFS_VOLATILE);
		assert_int_equal(size(), 69632 + 16384);
		expect_ops(1, unmap, 0); /* a hole does not move the end */
		write_zeroes(4096, 98304, CMFS_VOLATILE);
		assert_int_equal(size(), 98304 + 4096);
		finish();
	}
}

static void test_a_durable_write_when_it_is_zeroes_is_flushed(void **state)
{
	static const enum cmfs_fua grades[] = { CMFS_FUA_NATIVE, CMFS_FUA_EMULATE };

	for (size_t i = 0; i < ARRAY_SIZE(grades); i++) {
		start(i, &(struct cmfs_open_how){ 0 }, grades[i]);
		write_zeroes(16384, 8192, CMFS_DURABLE_DATA);
		expect_ops(1, 0, 1);
		assert_true(mem_store_is_durable(mem_disk_store(disk)));
		write_zeroes(16384, 8192 + 512, CMFS_DURABLE_ALL);
		expect_ops(1, 2, 1);
		assert_true(mem_store_is_durable(mem_disk_store(disk)));
		finish();
	}
	for (int direct = 0; direct < 2; direct++) {
		const struct cmfs_open_how how = { .direct = direct, .dsync = true };

		start(true, &how, CMFS_FUA_NATIVE);
		write_zeroes(16384, 8192, CMFS_VOLATILE);
		expect_ops(1, 0, 1);
		assert_true(mem_store_is_durable(mem_disk_store(disk)));
		buf[0] = 1;
		write_zeroes(16384, 8192, CMFS_VOLATILE); /* it is O_DSYNC's own business */
		expect_ops(0, 1, 0);
		finish();
	}
}

static void test_a_flush_when_it_fails_behind_zeroes_fails_the_write(void **state)
{
	start(true, &(struct cmfs_open_how){ .dsync = true }, CMFS_FUA_NATIVE);
	mem_disk_fail(disk, MEM_FLUSH, 0, 1, -EIO);
	assert_int_equal(cmfs_backend_write(be, buf, 16384, 0, CMFS_VOLATILE), -EIO);
	finish();
}

static void test_zeroes_when_the_place_cannot_make_them_are_written(void **state)
{
	for (int unmap = 0; unmap < 2; unmap++) {
		start(unmap, &(struct cmfs_open_how){ .dsync = true }, CMFS_FUA_NATIVE);
		mem_disk_fail(disk, MEM_ALLOCATE, 0, 1, -EOPNOTSUPP);
		write_zeroes(16384, 8192, CMFS_VOLATILE);
		expect_ops(1, 1, 0);
		assert_true(mem_store_is_durable(mem_disk_store(disk)));
		mem_disk_fail(disk, MEM_ALLOCATE, 0, 1, -ENOSPC);
		assert_int_equal(cmfs_backend_write(be, buf, 16384, 0, CMFS_VOLATILE), -ENOSPC);
		finish();
	}
}

static void test_reopened_when_it_is_unmap_is_so_still(void **state)
{
	struct cmfs_backend *next;

	start(true, &(struct cmfs_open_how){ 0 }, CMFS_FUA_NATIVE);
	assert_int_equal(
		cmfs_backend_reopen(be, &(struct cmfs_open_how){ .direct = true }, &next, NULL), 0);
	cmfs_backend_close(be);
	be = next;
	write_zeroes(8192, SIZE, CMFS_VOLATILE); /* grows: told by the write at the end */
	expect_ops(1, 1, 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_write_when_it_is_zeroes_becomes_a_range_of_them),
		cmocka_unit_test(test_a_write_when_one_byte_is_not_zero_is_written),
		cmocka_unit_test(test_the_end_when_zeroes_are_written_past_it_is_exact),
		cmocka_unit_test(test_a_durable_write_when_it_is_zeroes_is_flushed),
		cmocka_unit_test(test_a_flush_when_it_fails_behind_zeroes_fails_the_write),
		cmocka_unit_test(test_zeroes_when_the_place_cannot_make_them_are_written),
		cmocka_unit_test(test_reopened_when_it_is_unmap_is_so_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
