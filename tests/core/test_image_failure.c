// SPDX-License-Identifier: GPL-2.0-or-later
/* P5: what has failed to become durable stays failed. */
#include "harness.h"

#include "image_util.h"

#include <errno.h>
#include <string.h>

static const enum cmfs_cache_mode flush_modes[] = { CMFS_CACHE_WRITEBACK, CMFS_CACHE_NONE,
						    CMFS_CACHE_WRITETHROUGH,
						    CMFS_CACHE_DIRECTSYNC };
static const enum cmfs_cache_mode sync_modes[] = { CMFS_CACHE_WRITETHROUGH, CMFS_CACHE_DIRECTSYNC };

static bool is_sync(struct mem_image *m)
{
	return cmfs_cache_props(cmfs_image_cache(m->image))->dsync;
}

static int write_some(struct mem_image *m, enum cmfs_durability asked)
{
	return mem_image_fill(m, 'w', 1000, 300, asked);
}

/* All that a failed image owes, and still gives. */
static void check_failed(struct mem_image *m)
{
	int plain = is_sync(m) ? -EIO : 0;
	char buf[100];
	size_t got;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(cmfs_image_error(m->image), -EIO);
		assert_int_equal(cmfs_image_flush(m->image, false), -EIO);
		assert_int_equal(cmfs_image_flush(m->image, true), -EIO);
		mem_disk_clear_log(m->disk);
		assert_int_equal(write_some(m, CMFS_DURABLE_DATA), -EIO);
		assert_int_equal(write_some(m, CMFS_DURABLE_ALL), -EIO);
		assert_int_equal(mem_disk_count(m->disk, MEM_WRITE), 0); /* not even tried */
		assert_int_equal(write_some(m, CMFS_VOLATILE), plain);
		assert_int_equal(cmfs_image_truncate(m->image, 5000), plain);
		assert_int_equal(cmfs_image_allocate(m->image, CMFS_ALLOC_ZERO, true, 3, 5), plain);
		assert_int_equal(cmfs_image_copy(m->image, 0, m->image, 2000, 99, &got), plain);
		assert_int_equal(cmfs_image_read(m->image, buf, sizeof(buf), 0, &got), 0);
	}
}

static void check_failure_is(struct mem_image *m, const char *operation, int error)
{
	struct cmfs_failure failure = { NULL, 0 };

	assert_true(cmfs_image_take_failure(m->image, &failure));
	assert_non_null(strstr(failure.operation, operation));
	assert_int_equal(failure.error, error);
	failure.operation = NULL;
	assert_false(cmfs_image_take_failure(m->image, &failure)); /* told once */
	assert_null(failure.operation);
	for (int i = 0; i < 2; i++) { /* but known to all who ask */
		assert_true(cmfs_image_failure(m->image, &failure));
		assert_non_null(strstr(failure.operation, operation));
		assert_int_equal(failure.error, error);
	}
}

static void test_flush_when_it_failed_once_never_succeeds_again(void **state)
{
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(flush_modes) * MEM_KINDS; i++) {
		mem_image_open(&m, flush_modes[i / MEM_KINDS], &mem_kinds[i % MEM_KINDS]);
		assert_int_equal(write_some(&m, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -ENOSPC);
		assert_int_equal(cmfs_image_flush(m.image, i % 2 == 0), -ENOSPC);
		check_failure_is(&m, i % 2 == 0 ? "fdatasync" : "fsync", -ENOSPC);
		check_failed(&m);
		assert_int_equal(mem_image_close(&m), -EIO);
		mem_image_finish(&m);
	}
}

static void test_write_in_a_sync_mode_when_it_failed_fails_the_image(void **state)
{
	static const enum mem_op ops[] = { MEM_WRITE, MEM_FLUSH };
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(sync_modes) * ARRAY_SIZE(ops); i++) {
		/* The second kind is the one whose writes are made durable by a flush. */
		mem_image_open(&m, sync_modes[i % 2], &mem_kinds[1]);
		mem_disk_fail(m.disk, ops[i / 2], 0, 1, -EIO);
		assert_int_equal(mem_image_fill(&m, 'w', 8192, 0, CMFS_VOLATILE), -EIO);
		check_failure_is(&m, "write", -EIO);
		check_failed(&m);
		assert_int_equal(mem_image_close(&m), -EIO);
		mem_image_finish(&m);
	}
}

static void test_write_asked_to_be_durable_when_it_failed_fails_the_image(void **state)
{
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(flush_modes) * MEM_KINDS; i++) {
		mem_image_open(&m, flush_modes[i / MEM_KINDS], &mem_kinds[i % MEM_KINDS]);
		mem_disk_fail(m.disk, MEM_WRITE, 0, 1, -EIO);
		assert_int_equal(mem_image_fill(&m, 'w', 8192, 0, CMFS_DURABLE_DATA), -EIO);
		check_failure_is(&m, "write", -EIO);
		check_failed(&m);
		mem_image_finish(&m);
	}
}

static int do_truncate(struct cmfs_image *image)
{
	return cmfs_image_truncate(image, 5000);
}

static int do_allocate(struct cmfs_image *image)
{
	return cmfs_image_allocate(image, CMFS_ALLOC_PUNCH, true, 5, 50);
}

static int do_copy(struct cmfs_image *image)
{
	size_t got;

	return cmfs_image_copy(image, 0, image, 5000, 50, &got);
}

static void test_change_in_a_sync_mode_when_its_flush_failed_fails_the_image(void **state)
{
	static const struct {
		int (*change)(struct cmfs_image *image);
		const char *operation;
	} changes[] = { { do_truncate, "truncate" },
			{ do_allocate, "fallocate" },
			{ do_copy, "copy" } };
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(changes) * ARRAY_SIZE(sync_modes); i++) {
		/* The last kind: the copy's own write asks for no flush there. */
		mem_image_open(&m, sync_modes[i % 2], &mem_kinds[MEM_KINDS - 1]);
		assert_int_equal(write_some(&m, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -EIO);
		assert_int_equal(changes[i / 2].change(m.image), -EIO);
		check_failure_is(&m, changes[i / 2].operation, -EIO);
		check_failed(&m);
		mem_image_finish(&m);
	}
}

/* What was read from an image that failed is as good as ever; the other way it is not. */
static void test_copy_between_images_when_one_failed_fails_if_it_is_written(void **state)
{
	struct mem_image failed, good;
	size_t got;

	for (size_t i = 0; i < ARRAY_SIZE(sync_modes) * MEM_KINDS; i++) {
		mem_image_open(&failed, sync_modes[i / MEM_KINDS], &mem_kinds[i % MEM_KINDS]);
		mem_image_open(&good, sync_modes[i / MEM_KINDS], &mem_kinds[i % MEM_KINDS]);
		assert_int_equal(write_some(&failed, CMFS_VOLATILE), 0);
		assert_int_equal(write_some(&good, CMFS_VOLATILE), 0);
		mem_disk_fail(failed.disk, MEM_FLUSH, 0, 1, -ENOSPC);
		assert_int_equal(cmfs_image_flush(failed.image, true), -ENOSPC);
		assert_int_equal(cmfs_image_copy(failed.image, 0, good.image, 5000, 999, &got), 0);
		mem_disk_clear_log(failed.disk);
		assert_int_equal(cmfs_image_copy(good.image, 0, failed.image, 5000, 999, &got),
				 -EIO);
		assert_int_equal(mem_disk_count(failed.disk, MEM_COPY), 0); /* not even tried */
		assert_int_equal(mem_disk_count(failed.disk, MEM_WRITE), 0);
		mem_image_finish(&failed);
		mem_image_finish(&good);
	}
}

static void test_plain_write_when_it_failed_is_no_failure_of_the_image(void **state)
{
	struct cmfs_failure failure;
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(flush_modes); i++) {
		mem_image_open(&m, flush_modes[i], NULL);
		if (!is_sync(&m)) {
			mem_disk_fail(m.disk, MEM_WRITE, 0, 1, -EIO);
			assert_int_equal(mem_image_fill(&m, 'w', 8192, 0, CMFS_VOLATILE), -EIO);
			assert_int_equal(cmfs_image_flush(m.image, false), 0);
			assert_false(cmfs_image_take_failure(m.image, &failure));
			assert_false(cmfs_image_failure(m.image, &failure));
		}
		assert_int_equal(mem_image_close(&m), 0);
		mem_image_finish(&m);
	}
}

static void test_read_when_it_failed_is_no_failure_of_the_image(void **state)
{
	struct mem_image m;
	char buf[512];
	size_t got;

	for (size_t i = 0; i < ARRAY_SIZE(flush_modes); i++) {
		mem_image_open(&m, flush_modes[i], NULL);
		mem_disk_fail(m.disk, MEM_READ, 0, 1, -EIO);
		assert_int_equal(cmfs_image_read(m.image, buf, sizeof(buf), 0, &got), -EIO);
		assert_int_equal(cmfs_image_error(m.image), 0);
		assert_int_equal(cmfs_image_flush(m.image, false), 0);
		mem_image_finish(&m);
	}
}

static void test_write_beyond_the_size_limit_is_no_failure_of_the_image(void **state)
{
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(flush_modes); i++) {
		mem_image_open(&m, flush_modes[i], NULL);
		assert_int_equal(mem_image_fill(&m, 'w', 512, 4 << 20, CMFS_DURABLE_DATA), -EFBIG);
		assert_int_equal(cmfs_image_error(m.image), 0);
		assert_int_equal(cmfs_image_flush(m.image, false), 0);
		assert_int_equal(mem_image_close(&m), 0);
		mem_image_finish(&m);
	}
}

static void test_unsafe_has_no_failures(void **state)
{
	struct cmfs_failure failure;
	struct mem_image m;

	mem_image_open(&m, CMFS_CACHE_UNSAFE, &mem_kinds[1]);
	mem_disk_fail(m.disk, MEM_FLUSH, 0, 1000, -EIO);
	assert_int_equal(write_some(&m, CMFS_DURABLE_ALL), 0);
	assert_int_equal(cmfs_image_flush(m.image, false), 0);
	assert_int_equal(cmfs_image_truncate(m.image, 10), 0);
	assert_int_equal(cmfs_image_error(m.image), 0);
	assert_false(cmfs_image_take_failure(m.image, &failure));
	assert_int_equal(mem_image_close(&m), 0);
	mem_image_finish(&m);
}

static void test_close_when_its_flush_fails_says_so(void **state)
{
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(flush_modes); i++) {
		mem_image_open(&m, flush_modes[i], NULL);
		assert_int_equal(write_some(&m, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -ENOSPC);
		assert_int_equal(mem_image_close(&m), -ENOSPC);
		assert_int_equal(mem_disk_openings(m.disk), 0);
		mem_image_finish(&m);
	}
}

static void test_switch_when_the_image_failed_leads_to_unsafe_only(void **state)
{
	struct cmfs_err err;
	struct mem_image m;

	mem_image_open(&m, CMFS_CACHE_NONE, NULL);
	mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -EIO);
	assert_int_equal(cmfs_image_flush(m.image, false), -EIO);
	for (enum cmfs_cache_mode to = 0; to < CMFS_CACHE_UNSAFE; to++) {
		assert_int_equal(cmfs_image_set_cache(m.image, to, &err), -EIO);
		assert_int_equal(cmfs_image_cache(m.image), CMFS_CACHE_NONE);
	}
	assert_int_equal(cmfs_image_set_cache(m.image, CMFS_CACHE_UNSAFE, &err), 0);
	assert_int_equal(cmfs_image_flush(m.image, false), 0);
	assert_int_equal(write_some(&m, CMFS_DURABLE_ALL), 0);
	/* Back would be a barrier that cannot be given. */
	assert_int_equal(cmfs_image_set_cache(m.image, CMFS_CACHE_WRITEBACK, &err), -EIO);
	assert_int_equal(cmfs_image_cache(m.image), CMFS_CACHE_UNSAFE);
	mem_image_finish(&m);
}

static void test_flush_when_a_write_was_lost_in_the_background_fails_for_good(void **state)
{
	struct mem_image m;

	for (size_t i = 0; i < ARRAY_SIZE(flush_modes); i++) {
		mem_image_open(&m, flush_modes[i], NULL);
		assert_int_equal(write_some(&m, CMFS_VOLATILE), 0);
		mem_disk_lose(m.disk, -EIO);
		assert_int_equal(cmfs_image_flush(m.image, true), -EIO);
		check_failure_is(&m, "fdatasync", -EIO);
		check_failed(&m);
		mem_image_finish(&m);
	}
}

/* The switch asks for no flush, and closes the opening that knows of the loss. */
static void test_switch_to_unsafe_when_a_write_was_lost_remembers_it(void **state)
{
	struct mem_image m;

	for (enum cmfs_cache_mode from = 0; from < CMFS_CACHE_MODES; from++) {
		mem_image_open(&m, from, NULL);
		assert_int_equal(write_some(&m, CMFS_VOLATILE), 0);
		mem_disk_lose(m.disk, -EIO);
		assert_int_equal(cmfs_image_set_cache(m.image, CMFS_CACHE_UNSAFE, NULL), 0);
		assert_int_equal(cmfs_image_flush(m.image, true), 0);
		assert_int_equal(cmfs_image_set_cache(m.image, CMFS_CACHE_NONE, NULL), -EIO);
		assert_int_equal(cmfs_image_cache(m.image), CMFS_CACHE_UNSAFE);
		mem_image_finish(&m);
	}
}

struct taker {
	struct thread thread;
	struct cmfs_image *image;
	atomic_int *told;
};

static void take(void *arg)
{
	struct taker *t = arg;
	struct cmfs_failure failure;

	for (int i = 0; i < 1000; i++) {
		cmfs_image_flush(t->image, true);
		if (!cmfs_image_take_failure(t->image, &failure))
			continue;
		THREAD_CHECK(failure.operation && failure.error == -EIO);
		atomic_fetch_add(t->told, 1);
	}
}

static void test_failure_when_many_ask_is_told_to_one(void **state)
{
	struct taker takers[4];
	struct mem_image m;
	atomic_int told;

	for (int round = 0; round < 20; round++) {
		atomic_init(&told, 0);
		mem_image_open(&m, CMFS_CACHE_NONE, NULL);
		mem_disk_fail(m.disk, MEM_FLUSH, 500, 5, -EIO);
		for (size_t i = 0; i < ARRAY_SIZE(takers); i++) {
			takers[i] = (struct taker){ .image = m.image, .told = &told };
			thread_start(&takers[i].thread, take, &takers[i]);
		}
		for (size_t i = 0; i < ARRAY_SIZE(takers); i++)
			thread_join(&takers[i].thread);
		assert_int_equal(atomic_load(&told), 1);
		mem_image_finish(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_when_it_failed_once_never_succeeds_again),
		cmocka_unit_test(test_write_in_a_sync_mode_when_it_failed_fails_the_image),
		cmocka_unit_test(test_write_asked_to_be_durable_when_it_failed_fails_the_image),
		cmocka_unit_test(test_change_in_a_sync_mode_when_its_flush_failed_fails_the_image),
		cmocka_unit_test(test_copy_between_images_when_one_failed_fails_if_it_is_written),
		cmocka_unit_test(test_plain_write_when_it_failed_is_no_failure_of_the_image),
		cmocka_unit_test(test_read_when_it_failed_is_no_failure_of_the_image),
		cmocka_unit_test(test_write_beyond_the_size_limit_is_no_failure_of_the_image),
		cmocka_unit_test(test_unsafe_has_no_failures),
		cmocka_unit_test(test_close_when_its_flush_fails_says_so),
		cmocka_unit_test(test_switch_when_the_image_failed_leads_to_unsafe_only),
		cmocka_unit_test(test_flush_when_a_write_was_lost_in_the_background_fails_for_good),
		cmocka_unit_test(test_switch_to_unsafe_when_a_write_was_lost_remembers_it),
		cmocka_unit_test(test_failure_when_many_ask_is_told_to_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
