// SPDX-License-Identifier: GPL-2.0-or-later
/* Which requests reach a backend that demands alignment, for chosen writes. */
#include "harness.h"

#include "align_util.h"

#include <errno.h>

static char arena[65536] __attribute__((aligned(4096)));

static const struct cmfs_geometry blocks_of_512 = { 512, 512, 4096 };

static void open_disk(struct align_disk *d, uint64_t size)
{
	align_disk_open(d, &(struct mem_config){
				   .direct = blocks_of_512, .fua = CMFS_FUA_NATIVE, .size = size });
}

struct sent {
	enum mem_op op;
	uint64_t off, len;
};

/* The requests that one write of @len bytes at @off becomes, at this size of content. */
static void check_sent(uint64_t size, uint64_t off, size_t len, const void *buf,
		       const struct sent *expected, size_t n)
{
	struct mem_event log[8];
	struct align_disk d;
	size_t next = 0, logged;

	open_disk(&d, size);
	assert_int_equal(align_disk_write(&d, buf, len, off), 0);
	logged = mem_disk_log(d.disk, log, ARRAY_SIZE(log));
	for (size_t i = 0; i < logged; i++) {
		if (log[i].op == MEM_SIZE)
			continue;
		assert_true(next < n);
		assert_int_equal(log[i].op, expected[next].op);
		assert_int_equal(log[i].off, expected[next].off);
		assert_int_equal(log[i].len, expected[next].len);
		next++;
	}
	assert_int_equal(next, n);
	align_disk_close(&d);
}

#define CHECK_SENT(size, off, len, buf, ...)                                                       \
	do {                                                                                       \
		const struct sent expected[] = { __VA_ARGS__ };                                    \
		check_sent(size, off, len, buf, expected, ARRAY_SIZE(expected));                   \
	} while (0)

static void test_write_of_whole_blocks_goes_as_it_is(void **state)
{
	CHECK_SENT(4096, 512, 1024, arena, { MEM_WRITE, 512, 1024 });
	CHECK_SENT(4096, 512, 1024, arena + 1, { MEM_WRITE, 512, 1024 });
	CHECK_SENT(0, 1024, 512, arena, { MEM_WRITE, 1024, 512 });
	CHECK_SENT(700, 512, 512, arena, { MEM_WRITE, 512, 512 });
}

static void test_write_inside_the_content_is_one_read_modify_write(void **state)
{
	CHECK_SENT(4096, 600, 10, arena, { MEM_READ, 512, 512 }, { MEM_WRITE, 512, 512 });
	CHECK_SENT(4096, 512, 10, arena, { MEM_READ, 512, 512 }, { MEM_WRITE, 512, 512 });
	CHECK_SENT(4096, 1000, 24, arena, { MEM_READ, 512, 512 }, { MEM_WRITE, 512, 512 });
	CHECK_SENT(4096, 600, 512, arena, { MEM_READ, 512, 512 }, { MEM_READ, 1024, 512 },
		   { MEM_WRITE, 512, 1024 });
	CHECK_SENT(1024, 600, 10, arena, { MEM_READ, 512, 512 }, { MEM_WRITE, 512, 512 });
	CHECK_SENT(1024, 512, 10, arena, { MEM_READ, 512, 512 }, { MEM_WRITE, 512, 512 });
	CHECK_SENT(4096, 600, 2000, arena, { MEM_READ, 512, 512 }, { MEM_READ, 2560, 512 },
		   { MEM_WRITE, 512, 2560 });
}

static void test_write_at_the_cut_block_ends_exactly(void **state)
{
	CHECK_SENT(700, 700, 10, arena, { MEM_WRITE_EXACT, 700, 10 });
	CHECK_SENT(700, 512, 10, arena, { MEM_WRITE_EXACT, 512, 10 });
	CHECK_SENT(0, 0, 1, arena, { MEM_WRITE_EXACT, 0, 1 });
	CHECK_SENT(0, 100000, 1, arena, { MEM_WRITE_EXACT, 100000, 1 });
	CHECK_SENT(700, 600, 2000, arena, { MEM_WRITE_EXACT, 600, 2000 });
	CHECK_SENT(1024, 1024, 513, arena, { MEM_WRITE_EXACT, 1024, 513 });
}

/* In steps of exact_block: what is seen of the size while it grows is not some block's end. */
static void test_write_that_grows_the_content_grows_it_in_few_steps(void **state)
{
	CHECK_SENT(700, 600, 9000, arena, { MEM_WRITE_EXACT, 600, 3496 }, { MEM_WRITE, 4096, 4096 },
		   { MEM_WRITE_EXACT, 8192, 1408 });
	CHECK_SENT(1100, 600, 9000, arena, { MEM_READ, 512, 512 }, { MEM_WRITE, 512, 7680 },
		   { MEM_WRITE_EXACT, 8192, 1408 });
	CHECK_SENT(4096, 4096, 5000, arena, { MEM_WRITE, 4096, 4096 },
		   { MEM_WRITE_EXACT, 8192, 904 });
	CHECK_SENT(700, 700, 7492, arena, { MEM_WRITE_EXACT, 700, 3396 },
		   { MEM_WRITE, 4096, 4096 });
}

static void test_write_when_any_alignment_will_do_is_sent_once(void **state)
{
	static const struct mem_config config = { .direct = { 1, 1, 1 }, .size = 100 };
	struct mem_event log[2];
	struct align_disk d;

	align_disk_open(&d, &config);
	assert_int_equal(align_disk_write(&d, arena + 1, 701, 99), 0);
	assert_int_equal(mem_disk_log(d.disk, log, ARRAY_SIZE(log)), 1);
	assert_int_equal(log[0].op, MEM_WRITE);
	assert_ptr_equal(log[0].buf, arena + 1);
	align_disk_close(&d);
}

static void test_write_of_an_aligned_buffer_is_not_copied(void **state)
{
	struct mem_event log[4];
	struct align_disk d;

	open_disk(&d, 4096);
	assert_int_equal(align_disk_write(&d, arena, 4096, 0), 0);
	assert_int_equal(align_disk_write(&d, arena + 1, 4096, 0), 0);
	assert_int_equal(mem_disk_log(d.disk, log, ARRAY_SIZE(log)), 2);
	assert_ptr_equal(log[0].buf, arena);
	assert_ptr_not_equal(log[1].buf, arena + 1);
	align_disk_close(&d);
}

static void test_read_of_an_aligned_buffer_is_not_copied(void **state)
{
	struct mem_event log[4];
	struct align_disk d;
	size_t got;

	open_disk(&d, 4096);
	assert_int_equal(cmfs_align_read(d.be, arena, 1024, 512, &got), 0);
	assert_int_equal(cmfs_align_read(d.be, arena, 1000, 515, &got), 0);
	assert_int_equal(mem_disk_log(d.disk, log, ARRAY_SIZE(log)), 2);
	assert_ptr_equal(log[0].buf, arena);
	assert_int_equal(log[1].off, 512);
	assert_int_equal(log[1].len, 1024);
	align_disk_close(&d);
}

static void test_write_in_parts_asks_the_durability_of_each(void **state)
{
	struct mem_event log[8];
	struct align_disk d;
	size_t n, parts = 0;

	open_disk(&d, 700);
	assert_int_equal(
		cmfs_align_write(d.be, &d.locks, arena, 9000, 600, CMFS_DURABLE_ALL, false), 0);
	n = mem_disk_log(d.disk, log, ARRAY_SIZE(log));
	for (size_t i = 0; i < n; i++) {
		if (log[i].op != MEM_WRITE && log[i].op != MEM_WRITE_EXACT)
			continue;
		assert_int_equal(log[i].durability, CMFS_DURABLE_ALL);
		parts++;
	}
	assert_int_equal(parts, 3);
	assert_true(mem_store_holds(d.store, MEM_DURABLE, 600, arena, 9000));
	align_disk_close(&d);
}

static void test_write_when_a_part_fails_fails(void **state)
{
	static const struct {
		uint64_t size;
		enum mem_op op;
		unsigned int skip;
	} parts[] = {
		/* head inside the content, whole blocks, tail beyond it */
		{ 1100, MEM_SIZE, 0 },
		{ 1100, MEM_READ, 0 },
		{ 1100, MEM_WRITE, 0 },
		{ 1100, MEM_WRITE_EXACT, 0 },
		/* head and tail beyond it */
		{ 700, MEM_WRITE_EXACT, 0 },
		{ 700, MEM_WRITE, 0 },
		{ 700, MEM_WRITE_EXACT, 1 },
		/* both inside */
		{ 20000, MEM_READ, 0 },
		{ 20000, MEM_READ, 1 },
	};
	struct align_disk d;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		open_disk(&d, parts[i].size);
		mem_disk_fail(d.disk, parts[i].op, parts[i].skip, 1, -EIO);
		assert_int_equal(align_disk_write(&d, arena, 9000, 600), -EIO);
		/* The range is free again. */
		assert_int_equal(align_disk_write(&d, arena, 9000, 600), 0);
		align_disk_close(&d);
	}
}

static void test_read_when_the_backend_fails_fails(void **state)
{
	struct align_disk d;
	size_t got;

	open_disk(&d, 4096);
	mem_disk_fail(d.disk, MEM_READ, 0, 2, -EIO);
	assert_int_equal(cmfs_align_read(d.be, arena, 512, 0, &got), -EIO);
	assert_int_equal(cmfs_align_read(d.be, arena, 5, 3, &got), -EIO);
	align_disk_close(&d);
}

static void test_requests_at_the_end_of_all_offsets_are_refused(void **state)
{
	static const uint64_t far[] = { INT64_MAX - 511, INT64_MAX - 10, INT64_MAX,
					(uint64_t)INT64_MAX + 1, UINT64_MAX - 10 };
	struct align_disk d;
	size_t got;

	open_disk(&d, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
		assert_int_equal(align_disk_write(&d, arena, 10, far[i]), -EFBIG);
		got = 99;
		assert_int_equal(cmfs_align_read(d.be, arena, 10, far[i], &got), 0);
		assert_int_equal(got, 0);
	}
	assert_int_equal(mem_store_size(d.store, MEM_NOW), 4096);
	align_disk_close(&d);
}

static void test_requests_of_all_lengths_there_are_are_refused(void **state)
{
	static const struct mem_config any_alignment = { .direct = { 1, 1, 1 }, .size = 100 };
	static const size_t lens[] = { INT64_MAX - 1, INT64_MAX, (size_t)INT64_MAX + 1, SIZE_MAX };
	struct align_disk d;
	size_t got;

	for (size_t i = 0; i < ARRAY_SIZE(lens) * 2; i++) {
		size_t len = lens[i / 2];

		if (i % 2)
			align_disk_open(&d, &any_alignment);
		else
			open_disk(&d, 100);
		assert_int_equal(align_disk_write(&d, arena, len, 0), -EFBIG);
		assert_int_equal(align_disk_write(&d, arena, len, 1000), -EFBIG);
		assert_int_equal(align_disk_write(&d, arena, len, UINT64_MAX), -EFBIG);
		assert_int_equal(cmfs_align_read(d.be, arena, len, INT64_MAX, &got), 0);
		assert_int_equal(got, 0);
		assert_int_equal(cmfs_align_read(d.be, arena, len, UINT64_MAX, &got), 0);
		assert_int_equal(got, 0);
		assert_int_equal(mem_store_size(d.store, MEM_NOW), 100);
		align_disk_close(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_of_whole_blocks_goes_as_it_is),
		cmocka_unit_test(test_write_inside_the_content_is_one_read_modify_write),
		cmocka_unit_test(test_write_at_the_cut_block_ends_exactly),
		cmocka_unit_test(test_write_that_grows_the_content_grows_it_in_few_steps),
		cmocka_unit_test(test_write_when_any_alignment_will_do_is_sent_once),
		cmocka_unit_test(test_write_of_an_aligned_buffer_is_not_copied),
		cmocka_unit_test(test_read_of_an_aligned_buffer_is_not_copied),
		cmocka_unit_test(test_write_in_parts_asks_the_durability_of_each),
		cmocka_unit_test(test_write_when_a_part_fails_fails),
		cmocka_unit_test(test_read_when_the_backend_fails_fails),
		cmocka_unit_test(test_requests_at_the_end_of_all_offsets_are_refused),
		cmocka_unit_test(test_requests_of_all_lengths_there_are_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
