// SPDX-License-Identifier: GPL-2.0-or-later
#include "harness.h"

#include "nbd_ledger.h"

static void test_loss_without_changes_loses_nothing(void **state)
{
	struct cmfs_nbd_ledger l = { 0 };

	assert_true(cmfs_nbd_ledger_lose(&l, 0));
	assert_false(l.lost);
}

static void test_loss_of_a_change_is_remembered_for_good(void **state)
{
	struct cmfs_nbd_ledger l = { 0 };
	uint64_t covers;

	assert_true(cmfs_nbd_ledger_change(&l, 0));
	assert_true(cmfs_nbd_ledger_lose(&l, 0));
	assert_true(l.lost);
	covers = cmfs_nbd_ledger_begin_flush(&l);
	assert_true(cmfs_nbd_ledger_end_flush(&l, 1, covers));
	assert_true(l.lost);
}

static void test_flushed_changes_are_not_lost(void **state)
{
	struct cmfs_nbd_ledger l = { 0 };

	for (int i = 0; i < 3; i++)
		assert_true(cmfs_nbd_ledger_change(&l, 0));
	assert_true(cmfs_nbd_ledger_end_flush(&l, 0, cmfs_nbd_ledger_begin_flush(&l)));
	assert_true(cmfs_nbd_ledger_lose(&l, 0));
	assert_false(l.lost);
	/* And so on in the next generation. */
	assert_true(cmfs_nbd_ledger_change(&l, 1));
	assert_true(cmfs_nbd_ledger_lose(&l, 1));
	assert_true(l.lost);
}

static void test_flush_does_not_cover_what_came_while_it_ran(void **state)
{
	struct cmfs_nbd_ledger l = { 0 };
	uint64_t covers;

	assert_true(cmfs_nbd_ledger_change(&l, 0));
	covers = cmfs_nbd_ledger_begin_flush(&l);
	assert_true(cmfs_nbd_ledger_change(&l, 0));
	assert_true(cmfs_nbd_ledger_end_flush(&l, 0, covers));
	assert_true(cmfs_nbd_ledger_lose(&l, 0));
	assert_true(l.lost);
}

static void test_flush_that_ends_late_takes_nothing_back(void **state)
{
	struct cmfs_nbd_ledger l = { 0 };
	uint64_t early = cmfs_nbd_ledger_begin_flush(&l);

	assert_true(cmfs_nbd_ledger_change(&l, 0));
	assert_true(cmfs_nbd_ledger_end_flush(&l, 0, cmfs_nbd_ledger_begin_flush(&l)));
	assert_true(cmfs_nbd_ledger_end_flush(&l, 0, early));
	assert_true(cmfs_nbd_ledger_lose(&l, 0));
	assert_false(l.lost);
}

static void test_answers_of_an_earlier_generation_do_not_count(void **state)
{
	struct cmfs_nbd_ledger l = { 0 };

	assert_true(cmfs_nbd_ledger_lose(&l, 0));
	assert_false(cmfs_nbd_ledger_change(&l, 0));
	assert_int_equal(l.changed, 0);
	assert_true(cmfs_nbd_ledger_change(&l, 1));
	assert_false(cmfs_nbd_ledger_end_flush(&l, 0, cmfs_nbd_ledger_begin_flush(&l)));
	assert_int_equal(l.durable, 0);
	/* Somebody who notices late does not end the new one. */
	assert_false(cmfs_nbd_ledger_lose(&l, 0));
	assert_false(l.lost);
	assert_int_equal(l.generation, 1);
}

static void test_start_over_forgets_the_loss_and_not_the_next_one(void **state)
{
	struct cmfs_nbd_ledger l = { 0 };

	assert_true(cmfs_nbd_ledger_change(&l, 0));
	assert_true(cmfs_nbd_ledger_lose(&l, 0));
	cmfs_nbd_ledger_start_over(&l);
	assert_false(l.lost);
	assert_true(cmfs_nbd_ledger_change(&l, 1));
	assert_true(cmfs_nbd_ledger_lose(&l, 1));
	assert_true(l.lost);
	cmfs_nbd_ledger_start_over(&l);
	assert_true(cmfs_nbd_ledger_change(&l, 2));
	assert_true(cmfs_nbd_ledger_end_flush(&l, 2, cmfs_nbd_ledger_begin_flush(&l)));
	assert_true(cmfs_nbd_ledger_lose(&l, 2));
	assert_false(l.lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loss_without_changes_loses_nothing),
		cmocka_unit_test(test_loss_of_a_change_is_remembered_for_good),
		cmocka_unit_test(test_flushed_changes_are_not_lost),
		cmocka_unit_test(test_flush_does_not_cover_what_came_while_it_ran),
		cmocka_unit_test(test_flush_that_ends_late_takes_nothing_back),
		cmocka_unit_test(test_answers_of_an_earlier_generation_do_not_count),
		cmocka_unit_test(test_start_over_forgets_the_loss_and_not_the_next_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
