// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P5 among requests that run at the same time: the host tells of lost data once,
 * to whichever of them asks first.
 */
#include "harness.h"

#include "image_util.h"
#include "mem_hold.h"

#include <errno.h>

struct asker {
	struct thread thread;
	struct mem_image *m;
	bool write; /* a durable one; else a flush */
	int result;
};

static void ask(void *arg)
{
	struct asker *a = arg;

	a->result = a->write ? mem_image_fill(a->m, 'w', 4096, 8192, CMFS_DURABLE_DATA)
			     : cmfs_image_flush(a->m->image, true);
}

/*
 * The first one is told, and takes its time to return. The second one is told that
 * all is well, and must not believe it.
 */
static void check_both_fail(enum cmfs_cache_mode mode, enum cmfs_fua fua, bool first_writes,
			    bool second_writes)
{
	struct mem_hold hold = MEM_HOLD_INITIALIZER;
	const struct mem_config config = {
		.direct = { 512, 512, 4096 }, .fua = fua, .hook = mem_hold_hook, .hook_arg = &hold
	};
	struct mem_image m;
	struct asker first = { .m = &m, .write = first_writes };
	struct asker second = { .m = &m, .write = second_writes };

	mem_image_open(&m, mode, &config);
	mem_disk_lose(m.disk, -EIO);
	mem_hold_arm(&hold, first_writes && fua == CMFS_FUA_NATIVE ? MEM_WRITE : MEM_FLUSH,
		     MEM_AFTER);
	thread_start(&first.thread, ask, &first);
	mem_hold_wait(&hold);
	thread_start(&second.thread, ask, &second);
	linger();
	mem_hold_release(&hold);
	thread_join(&first.thread);
	thread_join(&second.thread);
	assert_int_equal(first.result, -EIO);
	assert_int_equal(second.result, -EIO);
	mem_image_finish(&m);
}

static void test_flush_while_another_flush_is_told_of_a_loss_fails_too(void **state)
{
	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_UNSAFE; mode++) {
		check_both_fail(mode, CMFS_FUA_NATIVE, false, false);
		check_both_fail(mode, CMFS_FUA_EMULATE, false, false);
	}
}

static void test_flush_while_a_durable_write_is_told_of_a_loss_fails_too(void **state)
{
	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_UNSAFE; mode++) {
		check_both_fail(mode, CMFS_FUA_EMULATE, true, false);
		/* A direct write that is durable by itself is told of its own fate only. */
		if (!cmfs_cache_props(mode)->direct)
			check_both_fail(mode, CMFS_FUA_NATIVE, true, false);
	}
}

/* Where a durable write is one by the flush behind it. */
static void test_durable_write_while_another_is_told_of_a_loss_fails_too(void **state)
{
	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_UNSAFE; mode++) {
		check_both_fail(mode, CMFS_FUA_EMULATE, false, true);
		check_both_fail(mode, CMFS_FUA_EMULATE, true, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_while_another_flush_is_told_of_a_loss_fails_too),
		cmocka_unit_test(test_flush_while_a_durable_write_is_told_of_a_loss_fails_too),
		cmocka_unit_test(test_durable_write_while_another_is_told_of_a_loss_fails_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
