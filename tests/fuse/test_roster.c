// SPDX-License-Identifier: GPL-2.0-or-later
#include "roster.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define NOBODY CMFS_ROSTER_NOBODY

static bool is_full; /* what the last step said */

static int take(struct cmfs_roster *r, bool big)
{
	return cmfs_roster_take(r, big, &is_full);
}

static int tick(struct cmfs_roster *r)
{
	return cmfs_roster_tick(r, &is_full);
}

static void test_call_when_parked_then_lowest_first(void **state)
{
	struct cmfs_roster r;

	cmfs_roster_init(&r, 3, 3, 8);
	for (int i = 0; i < 3; i++)
		assert_int_equal(i, cmfs_roster_call(&r));
	assert_int_equal(NOBODY, cmfs_roster_call(&r));
	cmfs_roster_refuse(&r, 1);
	assert_int_equal(1, cmfs_roster_call(&r));
}

static void test_take_when_last_reader_then_calls_one(void **state)
{
	struct cmfs_roster r;

	cmfs_roster_init(&r, 4, 2, 8);
	assert_int_equal(0, cmfs_roster_call(&r));
	assert_int_equal(1, take(&r, false)); /* 0 serves, 1 reads */
	assert_true(cmfs_roster_done(&r, 0, false));
	assert_int_equal(NOBODY, take(&r, false)); /* one of the two is left */
	assert_int_equal(2, take(&r, false));
	assert_true(cmfs_roster_done(&r, 0, false));
	assert_false(cmfs_roster_done(&r, 1, false)); /* 0 and 2 read */
	assert_int_equal(1, cmfs_roster_call(&r));
}

static void test_take_when_all_serve_then_who_is_done_reads(void **state)
{
	struct cmfs_roster r;

	cmfs_roster_init(&r, 2, 1, 8);
	assert_int_equal(0, cmfs_roster_call(&r));
	assert_int_equal(1, take(&r, false));
	assert_int_equal(NOBODY, take(&r, false));
	assert_true(cmfs_roster_done(&r, 1, false));
	assert_false(cmfs_roster_done(&r, 0, false));
}

static void test_take_when_too_many_big_then_nobody_reads_until_one_ends(void **state)
{
	struct cmfs_roster r;

	cmfs_roster_init(&r, 8, 1, 2);
	assert_int_equal(0, cmfs_roster_call(&r));
	assert_int_equal(1, take(&r, true));
	assert_false(is_full);
	assert_int_equal(2, take(&r, false));
	assert_int_equal(NOBODY, take(&r, true));
	assert_true(is_full);
	assert_false(cmfs_roster_done(&r, 1, false)); /* a small one */
	assert_true(cmfs_roster_done(&r, 0, true));
	assert_int_equal(NOBODY, tick(&r));
	assert_false(is_full);
}

static void test_tick_when_big_ones_stall_then_others_are_read(void **state)
{
	struct cmfs_roster r;

	cmfs_roster_init(&r, 8, 1, 2);
	assert_int_equal(0, cmfs_roster_call(&r));
	assert_int_equal(1, take(&r, true));
	assert_int_equal(NOBODY, take(&r, true));
	assert_int_equal(NOBODY, tick(&r)); /* not yet */
	assert_true(is_full);
	assert_int_equal(2, tick(&r));
	assert_true(is_full);
	assert_int_equal(3, take(&r, true)); /* without a bound */
	assert_int_equal(4, take(&r, false));
	assert_int_equal(NOBODY, tick(&r)); /* somebody reads */
	assert_int_equal(5, take(&r, false));

	/* One ends: the bound holds again, with two of three still there. */
	assert_false(cmfs_roster_done(&r, 0, true));
	assert_int_equal(NOBODY, take(&r, false));
	assert_false(cmfs_roster_done(&r, 3, false));
	assert_int_equal(NOBODY, tick(&r));
	assert_true(is_full);
	assert_true(cmfs_roster_done(&r, 1, true));
}

static void test_tick_when_big_ones_end_then_the_bound_stays(void **state)
{
	struct cmfs_roster r;

	cmfs_roster_init(&r, 8, 1, 2);
	assert_int_equal(0, cmfs_roster_call(&r));
	assert_int_equal(1, take(&r, true));
	assert_int_equal(NOBODY, take(&r, true));
	for (int i = 0; i < 10; i++) {
		assert_int_equal(NOBODY, tick(&r));
		assert_true(cmfs_roster_done(&r, i % 2, true));
		assert_int_equal(NOBODY, take(&r, true));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_when_parked_then_lowest_first),
		cmocka_unit_test(test_take_when_last_reader_then_calls_one),
		cmocka_unit_test(test_take_when_all_serve_then_who_is_done_reads),
		cmocka_unit_test(test_take_when_too_many_big_then_nobody_reads_until_one_ends),
		cmocka_unit_test(test_tick_when_big_ones_stall_then_others_are_read),
		cmocka_unit_test(test_tick_when_big_ones_end_then_the_bound_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
