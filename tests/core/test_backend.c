// SPDX-License-Identifier: GPL-2.0-or-later
/* The checked way into a backend, on the memory backend. */
#include "harness.h"

#include "mem_backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct cmfs_open_how plain = { 0 }, dsync = { .dsync = true };

static struct mem_disk *disk;
static struct cmfs_backend *be;

static void open_disk(enum cmfs_fua fua, bool copy, const struct cmfs_open_how *how)
{
	disk = mem_disk_create(&(struct mem_config){
		.direct = { 512, 512, 512 }, .fua = fua, .copy = copy, .size = 1024 });
	be = mem_backend_open(disk, how);
}

static void close_disk(void)
{
	cmfs_backend_close(be);
	mem_disk_destroy(disk);
}

typedef int write_fn(struct cmfs_backend *backend, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability durability);

static write_fn *const writes[] = { cmfs_backend_write, cmfs_backend_write_exact };
static const enum mem_op write_ops[] = { MEM_WRITE, MEM_WRITE_EXACT };

static void test_write_when_fua_is_emulated_is_followed_by_a_flush(void **state)
{
	/* clang-format off */
	static const struct {
		bool dsync;
		enum cmfs_durability durability;
		bool flush, datasync;
	} table[] = {
		{ false, CMFS_VOLATILE,     false, false },
		{ false, CMFS_DURABLE_DATA, true,  true },
		{ false, CMFS_DURABLE_ALL,  true,  false },
		{ true,  CMFS_VOLATILE,     true,  true },
		{ true,  CMFS_DURABLE_DATA, true,  true },
		{ true,  CMFS_DURABLE_ALL,  true,  false },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(table) * 2; i++) {
		struct mem_event log[4];
		size_t row = i / 2, kind = i % 2, n;

		open_disk(CMFS_FUA_EMULATE, false, table[row].dsync ? &dsync : &plain);
		assert_int_equal(writes[kind](be, "abc", 3, 7, table[row].durability), 0);
		n = mem_disk_log(disk, log, ARRAY_SIZE(log));
		assert_int_equal(n, table[row].flush ? 2 : 1);
		assert_int_equal(log[0].op, write_ops[kind]);
		if (table[row].flush) {
			assert_int_equal(log[1].op, MEM_FLUSH);
			assert_int_equal(log[1].datasync, table[row].datasync);
		}
		assert_int_equal(mem_store_holds(mem_disk_store(disk), MEM_DURABLE, 7, "abc", 3),
				 table[row].flush);
		close_disk();
	}
}

static void test_write_when_fua_is_native_carries_its_durability(void **state)
{
	for (int durability = CMFS_VOLATILE; durability <= CMFS_DURABLE_ALL; durability++) {
		for (size_t kind = 0; kind < 2; kind++) {
			struct mem_event log[4];

			open_disk(CMFS_FUA_NATIVE, false, &plain);
			assert_int_equal(
				writes[kind](be, "abc", 3, 7, (enum cmfs_durability)durability), 0);
			assert_int_equal(mem_disk_log(disk, log, ARRAY_SIZE(log)), 1);
			assert_int_equal(log[0].op, write_ops[kind]);
			assert_int_equal(log[0].durability, durability);
			assert_int_equal(
				mem_store_holds(mem_disk_store(disk), MEM_DURABLE, 7, "abc", 3),
				durability != CMFS_VOLATILE);
			close_disk();
		}
	}
}

static void test_write_when_it_fails_is_not_flushed(void **state)
{
	for (size_t kind = 0; kind < 2; kind++) {
		open_disk(CMFS_FUA_EMULATE, false, &plain);
		mem_disk_fail(disk, write_ops[kind], 0, 1, -ENOSPC);
		assert_int_equal(writes[kind](be, "abc", 3, 7, CMFS_DURABLE_DATA), -ENOSPC);
		assert_int_equal(mem_disk_count(disk, MEM_FLUSH), 0);
		close_disk();
	}
}

static void test_write_when_its_flush_fails_fails(void **state)
{
	for (size_t kind = 0; kind < 2; kind++) {
		open_disk(CMFS_FUA_EMULATE, false, &dsync);
		mem_disk_fail(disk, MEM_FLUSH, 0, 1, -EIO);
		assert_int_equal(writes[kind](be, "abc", 3, 7, CMFS_VOLATILE), -EIO);
		close_disk();
	}
}

static void test_reopen_gives_the_same_content_under_the_new_terms(void **state)
{
	const struct cmfs_open_how how = { .readonly = true, .direct = true, .dsync = true };
	struct cmfs_backend *other;
	char buf[1024] __attribute__((aligned(512)));
	size_t got;

	open_disk(CMFS_FUA_EMULATE, false, &plain);
	assert_int_equal(cmfs_backend_write(be, "abc", 3, 100, CMFS_VOLATILE), 0);
	assert_int_equal(cmfs_backend_reopen(be, &how, &other, NULL), 0);
	assert_int_equal(other->geo.align, 512);
	assert_int_equal(cmfs_backend_read(other, buf, sizeof(buf), 0, &got), 0);
	assert_int_equal(got, 1024);
	assert_memory_equal(buf + 100, "abc", 3);
	cmfs_backend_close(other);
	close_disk();
}

static void test_reopen_when_it_fails_leaves_ret_untouched(void **state)
{
	struct cmfs_backend *other = be;
	struct cmfs_err err = { "" };

	open_disk(CMFS_FUA_EMULATE, false, &plain);
	other = be;
	mem_disk_fail(disk, MEM_REOPEN, 0, 1, -EACCES);
	assert_int_equal(cmfs_backend_reopen(be, &dsync, &other, &err), -EACCES);
	assert_ptr_equal(other, be);
	assert_string_not_equal(err.msg, "");
	assert_int_equal(mem_disk_openings(disk), 1);
	close_disk();
}

static void test_read_at_the_end_is_short(void **state)
{
	char buf[2048];
	size_t got;

	open_disk(CMFS_FUA_EMULATE, false, &plain);
	assert_int_equal(cmfs_backend_read(be, buf, 100, 1000, &got), 0);
	assert_int_equal(got, 24);
	assert_int_equal(cmfs_backend_read(be, buf, 100, 1024, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(cmfs_backend_read(be, buf, 100, (uint64_t)INT64_MAX - 100, &got), 0);
	assert_int_equal(got, 0);
	close_disk();
}

static void test_copy_when_the_backends_differ_or_cannot_is_not_supported(void **state)
{
	struct cmfs_backend *other;
	struct mem_disk *other_disk;
	size_t got;

	open_disk(CMFS_FUA_EMULATE, false, &plain);
	assert_int_equal(cmfs_backend_copy(be, 0, be, 512, 100, &got), -EOPNOTSUPP);
	other_disk = mem_disk_create(&(struct mem_config){ .copy = true, .size = 512 });
	other = mem_backend_open(other_disk, &plain);
	assert_int_equal(cmfs_backend_copy(be, 0, other, 0, 100, &got), -EOPNOTSUPP);
	assert_int_equal(cmfs_backend_copy(other, 0, be, 0, 100, &got), -EOPNOTSUPP);
	assert_int_equal(mem_disk_count(disk, MEM_COPY), 0);
	assert_int_equal(cmfs_backend_copy(other, 0, other, 600, 100, &got), 0);
	assert_int_equal(got, 100);
	cmfs_backend_close(other);
	mem_disk_destroy(other_disk);
	close_disk();
}

static void test_seek_and_size_tell_where_the_content_ends(void **state)
{
	uint64_t pos, size;

	open_disk(CMFS_FUA_EMULATE, false, &plain);
	assert_int_equal(cmfs_backend_size(be, &size), 0);
	assert_int_equal(size, 1024);
	assert_int_equal(cmfs_backend_seek(be, CMFS_SEEK_HOLE, 10, &pos), 0);
	assert_int_equal(pos, 1024);
	assert_int_equal(cmfs_backend_seek(be, CMFS_SEEK_DATA, 1024, &pos), -ENXIO);
	close_disk();
}

static void test_close_when_given_null_does_nothing(void **state)
{
	cmfs_backend_close(NULL);
}

/* A backend without one of its own: one by one, up to the first that fails. */
static void test_list_of_reads_is_made_of_reads(void **state)
{
	char buf[512], other[512];
	struct cmfs_read reads[] = { { buf, 512, 512, 77 }, { other, 512, 768, 77 } };

	open_disk(CMFS_FUA_NATIVE, false, &plain);
	assert_int_equal(cmfs_backend_write(be, "abc", 3, 800, CMFS_VOLATILE), 0);
	assert_int_equal(cmfs_backend_read_list(be, reads, 2), 0);
	assert_int_equal(reads[0].got, 512);
	assert_int_equal(reads[1].got, 256);
	assert_memory_equal(buf + 800 - 512, "abc", 3);
	assert_memory_equal(other + 800 - 768, "abc", 3);
	mem_disk_fail(disk, MEM_READ, 1, 1, -EIO);
	assert_int_equal(cmfs_backend_read_list(be, reads, 2), -EIO);
	mem_disk_fail(disk, MEM_READ, 0, 1, -ENOMEM);
	assert_int_equal(cmfs_backend_read_list(be, reads, 2), -ENOMEM);
	assert_int_equal(mem_disk_count(disk, MEM_READ), 5);
	close_disk();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_of_reads_is_made_of_reads),
		cmocka_unit_test(test_write_when_fua_is_emulated_is_followed_by_a_flush),
		cmocka_unit_test(test_write_when_fua_is_native_carries_its_durability),
		cmocka_unit_test(test_write_when_it_fails_is_not_flushed),
		cmocka_unit_test(test_write_when_its_flush_fails_fails),
		cmocka_unit_test(test_reopen_gives_the_same_content_under_the_new_terms),
		cmocka_unit_test(test_reopen_when_it_fails_leaves_ret_untouched),
		cmocka_unit_test(test_read_at_the_end_is_short),
		cmocka_unit_test(test_copy_when_the_backends_differ_or_cannot_is_not_supported),
		cmocka_unit_test(test_seek_and_size_tell_where_the_content_ends),
		cmocka_unit_test(test_close_when_given_null_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
